"""Methods that compare the principal subspaces of two domains."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin

from skltransfer._solvers._alignment import (
    centered_rows,
    covariance_spectrum,
    geodesic_flow,
    n_for_share,
    safe_unit,
    with_fixed_signs,
)
from skltransfer.feature._aligner import BaseAligner


class SubspaceAlignment(ClassNamePrefixFeaturesOutMixin, BaseAligner):
    """Turn the principal axes of the source towards those of the target.

    With the first principal axes ``P_s`` and ``P_t`` of the two domains, each about its own mean,
    `fit_transform` maps source rows to ``(x - mean_s) P_s P_s' P_t`` and `transform` maps target
    rows to ``(x - mean_t) P_t`` [1]_.

    Parameters
    ----------
    n_components : int or float, default=0.5
        How many axes. A float between 0 and 1 takes so many that they have this share of the
        variance in both domains. With as many axes as columns nothing is aligned but the means.

    Attributes
    ----------
    n_components_ : int
        How many axes are used.
    source_mean_ : ndarray of shape (n_features,)
        The mean of the source rows.
    target_mean_ : ndarray of shape (n_features,)
        The mean of the target rows.
    source_components_ : ndarray of shape (`n_components_`, n_features)
        The principal axes of the source, ``P_s'``.
    target_components_ : ndarray of shape (`n_components_`, n_features)
        The principal axes of the target, ``P_t'``.
    alignment_ : ndarray of shape (`n_components_`, `n_components_`)
        ``P_s' P_t``, the matrix M of the paper.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where all are strings.

    See Also
    --------
    GeodesicFlowKernel : Also uses all subspaces between the two.
    CORAL : Aligns covariances, in all columns.

    Notes
    -----
    Axes have their largest entry positive, so that fits of the same rows agree to the sign.

    Mapped source rows shrink by the cosines of the angles between the two subspaces. Where these
    barely meet, neighbours may still be the right ones, but coefficients fitted on shrunken rows
    are far too large for the target's: do not put a regressor behind it without looking.

    Without ``X_target`` it is a principal component analysis of the source.

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

    def __init__(self, n_components=0.5):
        self.n_components = n_components

    def _check_parameters(self) -> None:
        check_n_components(self)

    def _row_checks(self) -> dict:
        return {"ensure_min_samples": 2}

    def _align(self, X, y, X_target, y_target):
        rows = {"X": X} if X_target is None else {"X": X, "X_target": X_target}
        domains = principal_axes(rows, self.n_components)
        self.source_mean_, self.source_components_ = domains[0]
        self.target_mean_, self.target_components_ = domains[-1]
        self.n_components_ = len(self.source_components_)
        self.alignment_ = self.source_components_ @ self.target_components_.T
        to_target = np.eye(self.n_components_) if X_target is None else self.alignment_
        self._source_map = self.source_components_.T @ to_target

    def _map_source(self, X):
        return (X - self.source_mean_) @ self._source_map

    def _map_target(self, X):
        return (X - self.target_mean_) @ self.target_components_.T

    @property
    def _n_features_out(self) -> int:
        return self.n_components_


class GeodesicFlowKernel(ClassNamePrefixFeaturesOutMixin, BaseAligner):
    """Compare rows in all subspaces on the way from the source's to the target's.

    The kernel ``x' G z`` adds up inner products of projections ``Phi(t)' x`` along the shortest
    path of subspaces, from the principal axes of the source (t = 0) to those of the target (t = 1):
    ``G`` is the integral of ``Phi(t) Phi(t)'`` over t from 0 to 1 [1]_, in closed form. Rows are
    mapped by a root of G, so that inner products of mapped rows are the kernel and any estimator
    can follow. Rows of both domains go through the same root, each about the mean of its own.

    Parameters
    ----------
    n_components : int or float, default=0.5
        How many principal axes of each domain. A float between 0 and 1 takes so many that they
        have this share of the variance in both.

    Attributes
    ----------
    n_components_ : int
        How many axes of each domain are used.
    source_mean_ : ndarray of shape (n_features,)
        The mean of the source rows.
    target_mean_ : ndarray of shape (n_features,)
        The mean of the target rows.
    components_ : ndarray of shape (n_features_out, n_features)
        The root F' of the kernel's matrix ``G = F F'``, which is ``components_.T @ components_``.
        It has ``min(2 * n_components_, n_features)`` rows; `n_components_` without ``X_target``.
    principal_angles_ : ndarray of shape (`n_components_`,)
        The angles between the two subspaces, in radians, in rising order.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where all are strings.

    See Also
    --------
    SubspaceAlignment : Uses the two subspaces alone.

    Notes
    -----
    G is the integral itself; the factor of two by which the paper's formula exceeds it changes
    neither neighbours nor angles. The paper standardises each domain, so that both have mean zero;
    here each domain is centred.

    Components come in pairs: first the source's principal vectors, each with its share of the
    direction in which it turns, then those directions. An angle of zero leaves the second of its
    pair at zero. Signs are fixed. At an angle of exactly 90 degrees there is more than one shortest
    path, and one of them is taken. Without ``X_target`` it is a principal component analysis of
    the source.

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

    def __init__(self, n_components=0.5):
        self.n_components = n_components

    def _check_parameters(self) -> None:
        check_n_components(self)

    def _row_checks(self) -> dict:
        return {"ensure_min_samples": 2}

    def _align(self, X, y, X_target, y_target):
        rows = {"X": X} if X_target is None else {"X": X, "X_target": X_target}
        (self.source_mean_, source), *others = principal_axes(rows, self.n_components)
        self.n_components_ = len(source)
        if not others:
            self.target_mean_, self.components_ = self.source_mean_, source
            self.principal_angles_ = np.zeros(self.n_components_)
            return
        ((self.target_mean_, target),) = others
        factor, self.principal_angles_ = geodesic_flow(source.T, target.T)
        self.components_ = factor.T

    def _map_source(self, X):
        return (X - self.source_mean_) @ self.components_.T

    def _map_target(self, X):
        return (X - self.target_mean_) @ self.components_.T

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)


def check_n_components(estimator) -> None:
    """Raise a ValueError unless ``n_components`` is a count or a share of the variance."""
    value = estimator.n_components
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    is_count = is_number and isinstance(value, Integral) and value >= 1
    is_share = is_number and not isinstance(value, Integral) and 0 < value < 1
    if not (is_count or is_share):
        raise ValueError(
            f"n_components={value!r} is neither an integer of at least 1 (how many components) nor "
            "a float between 0 and 1 (the share of the variance that they keep)."
        )


def principal_axes(rows: dict, n_components) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the mean and the first principal axes of each domain.

    Parameters
    ----------
    rows : dict of str to ndarray of shape (n, d)
        Rows of each domain, by the name of their argument.
    n_components : int or float
        How many axes; as a float, so many that they have this share of the variance in every
        domain.

    Returns
    -------
    domains : list of (ndarray of shape (d,), ndarray of shape (n_components, d))
        Axes are orthonormal rows, with their largest entry positive.
    """
    if isinstance(n_components, Integral):
        _check_enough(rows, n_components)
    means, spectra = [], []
    for domain in rows.values():
        mean, centered = centered_rows(domain)
        means.append(mean)
        # Neither axes nor shares of the variance depend on the unit.
        spectra.append(covariance_spectrum(centered / safe_unit(np.abs(centered).max())))
    if not isinstance(n_components, Integral):
        wanted = max(n_for_share(values, n_components) for values, _ in spectra)
        n_components = min(wanted, *(len(values) for values, _ in spectra))
    return [
        (mean, with_fixed_signs(vectors[:, :n_components]).T)
        for mean, (_, vectors) in zip(means, spectra, strict=True)
    ]


def _check_enough(rows: dict, n_components: int) -> None:
    n_most = min(min(len(domain) - 1, domain.shape[1]) for domain in rows.values())
    if n_components > n_most:
        sizes = " and ".join(f"{name} has {len(domain)} rows" for name, domain in rows.items())
        n_columns = next(iter(rows.values())).shape[1]
        raise ValueError(
            f"n_components={n_components} is too many: {sizes}, of {n_columns} columns, and n rows "
            f"span n - 1 directions about their mean. Pass at most {n_most}."
        )
