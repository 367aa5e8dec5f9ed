"""Methods that compare the principal subspaces of two domains."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin

from skltransfer._arrays import moved_to
from skltransfer._parameters import Count, Either, Number
from skltransfer._solvers._alignment import (
    centered_rows,
    covariance_spectrum,
    geodesic_flow,
    largest_size,
    n_for_share,
    safe_unit,
    signs_of_columns,
)
from skltransfer.feature._aligner import BaseAligner


class _CountOrShare(Either):
    def __init__(self):
        super().__init__(Count(), Number(0, 1, low_open=True, high_open=True))

    def describe(self) -> str:
        return (
            "an integer of at least 1 (the number of components) or a float between 0 and 1 (their "
            "share of the variance)"
        )


class _SubspaceAligner(ClassNamePrefixFeaturesOutMixin, BaseAligner):
    """Learn from the principal axes of each domain, `n_components` of them."""

    _min_samples = 2
    _fitted_array = "source_mean_"
    _parameters = {"n_components": _CountOrShare()}

    def __init__(self, n_components: float = 0.5):
        self.n_components = n_components


class SubspaceAlignment(_SubspaceAligner):
    """Rotate the principal axes of the source into the principal axes of the target.

    Let ``P_s`` and ``P_t`` be the first principal axes of the two domains, each about its own
    mean. `fit_transform` maps source samples to ``(x - mean_s) P_s P_s' P_t``. `transform` maps
    target samples to ``(x - mean_t) P_t`` [1]_.

    Parameters
    ----------
    n_components : int or float, default=0.5
        Number of axes. A float between 0 and 1 is a share of the variance: the number of axes is
        the smallest one that explains this share in both domains. With as many axes as features,
        only the means are aligned.

    Attributes
    ----------
    n_components_ : int
        Number of axes.
    source_mean_ : ndarray of shape (n_features,)
        Mean of the source samples.
    target_mean_ : ndarray of shape (n_features,)
        Mean of the target samples.
    source_components_ : ndarray of shape (`n_components_`, n_features)
        Principal axes of the source, ``P_s'``.
    target_components_ : ndarray of shape (`n_components_`, n_features)
        Principal axes of the target, ``P_t'``.
    alignment_ : ndarray of shape (`n_components_`, `n_components_`)
        Matrix ``P_s' P_t``, called M in the paper.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    See Also
    --------
    GeodesicFlowKernel : Also uses the subspaces between the two.
    CORAL : Aligns covariances of all features.

    Notes
    -----
    The largest entry of each axis is positive, so that the signs are reproducible.

    Each domain is centred by its own mean, so that the means always become equal. If they differ
    for a good reason (other class proportions, or a covariate shift along a feature that decides),
    classes are moved apart: use a reweighter there, or :class:`CORAL` with ``match_means=False``.

    Mapped source samples shrink by the cosines of the angles between the two subspaces. If the
    angles are large, nearest neighbours may still be useful, but a regressor fitted on the shrunken
    samples overestimates its coefficients.

    Without ``X_target`` it is a principal component analysis of the source.

    Tensors and other arrays of scikit-learn's array API are mapped in their own library, on
    their device.

    Time grows with the number of samples times the square of the number of features. Memory holds
    the samples about three times.

    References
    ----------
    .. [1] B. Fernando, A. Habrard, M. Sebban, T. Tuytelaars, "Unsupervised Visual Domain Adaptation
       Using Subspace Alignment", ICCV 2013, Algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import SubspaceAlignment
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(60, 5)), rng.normal(size=(40, 5)) * [5, 4, 1, 1, 1]
    >>> aligner = SubspaceAlignment(n_components=2)
    >>> aligner.fit_transform(X, X_target=X_target).shape
    (60, 2)
    >>> aligner.transform(X_target).shape
    (40, 2)
    """

    def _align(self, X, y, X_target, y_target):
        rows = {"X": X} if X_target is None else {"X": X, "X_target": X_target}
        domains = principal_axes(rows, self.n_components)
        (self.source_mean_, source), (self.target_mean_, target) = domains[0], domains[-1]
        self.n_components_ = len(source)
        alignment = source @ target.T
        to_target = np.eye(self.n_components_) if X_target is None else alignment
        self.source_components_, self.target_components_ = moved_to(X, (source, target))
        self.alignment_, self._source_map = moved_to(X, (alignment, source.T @ to_target))

    def _map_source(self, X):
        return (X - self.source_mean_) @ self._source_map

    def _map_target(self, X):
        return (X - self.target_mean_) @ self.target_components_.T

    @property
    def _n_features_out(self) -> int:
        return self.n_components_


class GeodesicFlowKernel(_SubspaceAligner):
    """Compare samples in all subspaces between the source's and the target's.

    The kernel ``x' G z`` integrates inner products of the projections ``Phi(t)' x`` along the
    shortest path of subspaces. The path begins at the principal axes of the source (t = 0) and
    ends at the principal axes of the target (t = 1). ``G`` is the integral of ``Phi(t) Phi(t)'``
    over t from 0 to 1 [1]_, in closed form. Samples are mapped by a root of G, so that inner
    products of mapped samples are the kernel, and any estimator can follow. Each domain is centred
    by its own mean; the root is the same for both.

    Parameters
    ----------
    n_components : int or float, default=0.5
        Number of principal axes of each domain. A float between 0 and 1 is a share of the
        variance: the number of axes is the smallest one that explains this share in both domains.

    Attributes
    ----------
    n_components_ : int
        Number of axes of each domain.
    source_mean_ : ndarray of shape (n_features,)
        Mean of the source samples.
    target_mean_ : ndarray of shape (n_features,)
        Mean of the target samples.
    components_ : ndarray of shape (n_features_out, n_features)
        Root of the kernel's matrix: ``G = components_.T @ components_``. It has
        ``min(2 * n_components_, n_features)`` rows, or `n_components_` without ``X_target``.
    principal_angles_ : ndarray of shape (`n_components_`,)
        Angles between the two subspaces in radians, in ascending order.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    See Also
    --------
    SubspaceAlignment : Uses the two subspaces only.

    Notes
    -----
    Each domain is centred by its own mean, so that the means always become equal, with the risk
    that :class:`SubspaceAlignment` describes. G is the integral itself. The paper's formula is
    twice as large, which changes neither neighbours nor angles. The paper standardises each domain;
    here each domain is centred.

    Components come in pairs: the principal vectors of the source come first, each mixed with the
    direction in which it turns, and the directions follow. If an angle is zero, the second
    component of its pair is zero. Signs are fixed. At an angle of exactly 90 degrees the shortest
    path is not unique, and one of them is taken. Without ``X_target`` it is a principal component
    analysis of the source. Costs, and the kinds of arrays that are taken, are those of
    :class:`SubspaceAlignment`.

    References
    ----------
    .. [1] B. Gong, Y. Shi, F. Sha, K. Grauman, "Geodesic Flow Kernel for Unsupervised Domain
       Adaptation", CVPR 2012, Eqs. 5 to 7.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import GeodesicFlowKernel
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(60, 5)), rng.normal(size=(40, 5)) * [5, 4, 1, 1, 1]
    >>> flow = GeodesicFlowKernel(n_components=2)
    >>> mapped = flow.fit_transform(X, X_target=X_target)
    >>> mapped.shape
    (60, 4)
    >>> G = flow.components_.T @ flow.components_
    >>> centered = X - X.mean(axis=0)
    >>> np.allclose(mapped @ mapped.T, centered @ G @ centered.T)
    True
    """

    def _align(self, X, y, X_target, y_target):
        rows = {"X": X} if X_target is None else {"X": X, "X_target": X_target}
        domains = principal_axes(rows, self.n_components)
        (self.source_mean_, source), (self.target_mean_, target) = domains[0], domains[-1]
        self.n_components_ = len(source)
        if X_target is None:
            factor, angles = source.T, np.zeros(self.n_components_)
        else:
            factor, angles = geodesic_flow(source.T, target.T)
        self.components_, self.principal_angles_ = moved_to(X, (factor.T, angles))

    def _map_source(self, X):
        return (X - self.source_mean_) @ self.components_.T

    def _map_target(self, X):
        return (X - self.target_mean_) @ self.components_.T

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[0]


def principal_axes(rows: dict, n_components) -> list[tuple]:
    """Return the mean and the first principal axes of each domain.

    Parameters
    ----------
    rows : dict of str to array of shape (n, d)
        Rows of each domain, by the name of their argument.
    n_components : int or float
        Number of axes. A float is the share of the variance that they have in every domain.

    Returns
    -------
    domains : list of (array of shape (d,), ndarray of shape (n_components, d))
        Mean, in the library of the rows, and axes of each domain. Axes are orthonormal rows whose
        largest entry is positive.
    """
    if isinstance(n_components, Integral):
        _check_enough(rows, n_components)
    means, spectra = [], []
    for domain in rows.values():
        mean, centered = centered_rows(domain)
        means.append(mean)
        # The unit changes neither axes nor shares of the variance.
        spectra.append(covariance_spectrum(centered / safe_unit(largest_size(centered))))
    if not isinstance(n_components, Integral):
        wanted = max(n_for_share(values, n_components) for values, _ in spectra)
        n_components = min(wanted, *(len(values) for values, _ in spectra))
    axes = [vectors[:, :n_components] for _, vectors in spectra]
    return [(mean, (V * signs_of_columns(V)).T) for mean, V in zip(means, axes, strict=True)]


def _check_enough(rows: dict, n_components: int) -> None:
    n_most = min(min(domain.shape[0] - 1, domain.shape[1]) for domain in rows.values())
    if n_components > n_most:
        sizes = " and ".join(f"{name} has {domain.shape[0]} rows" for name, domain in rows.items())
        n_columns = next(iter(rows.values())).shape[1]
        raise ValueError(
            f"n_components={n_components} is too many: {sizes}, of {n_columns} columns, and n rows "
            f"span n - 1 directions about their mean. Pass at most {n_most}."
        )
