"""Feature augmentation: EasyAdapt."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skltransfer.feature._aligner import BaseAligner


class FeatureAugmenter(BaseAligner):
    """Give each sample its features twice: common ones, and ones of its domain.

    `fit_transform` maps source samples to ``[x, x, 0]`` and `transform` maps target samples to
    ``[x, 0, x]`` [1]_. A model fitted on both domains finds common coefficients, and corrections
    for each domain. This needs labelled target samples: put :class:`~skltransfer.PooledEstimator`
    behind it, which receives the mapped target samples and ``y_target``.

    Attributes
    ----------
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    See Also
    --------
    PooledEstimator : Fits an estimator on the mapped samples of both domains.
    TransferRidge : Has the same prior, with fixed coefficients of the source.

    Notes
    -----
    `fit` only learns whether there is a target: without ``X_target`` samples are returned
    unchanged. Sparse input of both domains stays sparse (CSR). An intercept is common to both
    domains; add a feature of ones for an augmented one.

    References
    ----------
    .. [1] H. Daumé III, "Frustratingly Easy Domain Adaptation", ACL 2007, Section 3.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer import FeatureAugmenter, PooledEstimator, WithSource
    >>> augmenter = FeatureAugmenter()
    >>> augmenter.fit_transform([[2.0], [3.0]], X_target=[[4.0]])
    array([[2., 2., 0.],
           [3., 3., 0.]])
    >>> augmenter.transform([[4.0]])
    array([[4., 0., 4.]])
    >>> model = make_pipeline(FeatureAugmenter(), PooledEstimator(Ridge(0.01)))
    >>> model = WithSource(model, X_source=[[0.0], [1.0]], y_source=[0.0, 1.0])
    >>> model.fit([[0.0], [1.0]], [0.0, 3.0]).predict([[1.0]]).round(1)
    array([3.])
    """

    _accept_sparse = "csr"

    def get_feature_names_out(self, input_features=None):
        """Return the names of the features: ``common_a``, ``source_a``, ``target_a``.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features, if `fit` has seen none.

        Returns
        -------
        names : ndarray of str objects
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        if not self._has_target:
            return names
        parts = ("common", "source", "target")
        return np.array([f"{part}_{name}" for part in parts for name in names], dtype=object)

    def _align(self, X, y, X_target, y_target):
        self._has_target = X_target is not None

    def _map_source(self, X):
        return self._augment(X, 1)

    def _map_target(self, X):
        return self._augment(X, 2)

    def _augment(self, X, block: int):
        if not self._has_target:
            return X.copy()
        if sparse.issparse(X):
            blocks = [X, X, X]
            blocks[3 - block] = type(X)(X.shape)
            return sparse.hstack(blocks, format="csr")
        mapped = np.zeros((len(X), 3, X.shape[1]))
        mapped[:, 0] = mapped[:, block] = X
        return mapped.reshape(len(X), -1)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_has_target")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
