"""The geodesic flow kernel, as features."""

from __future__ import annotations

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin

from skltransfer._solvers._alignment import geodesic_flow
from skltransfer.feature._aligner import BaseAligner
from skltransfer.feature._subspaces import check_n_components, principal_axes


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
