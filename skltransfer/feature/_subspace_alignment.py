"""Subspace alignment."""

from __future__ import annotations

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin

from skltransfer.feature._aligner import BaseAligner
from skltransfer.feature._subspaces import check_n_components, principal_axes


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
