"""Feature augmentation: EasyAdapt."""

from __future__ import annotations

from typing import Self

import numpy as np
from scipy import sparse
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from skltransfer.domains._stacking import SOURCE_DOMAIN, check_domain_numbers
from skltransfer.feature._aligner import BaseAligner


class FeatureAugmenter(BaseAligner):
    """Give each sample its features twice: common ones, and ones of its domain.

    `fit_transform` maps source samples to ``[x, x, 0]`` and `transform` maps target samples to
    ``[x, 0, x]`` [1]_. A model fitted on both domains finds common coefficients, and corrections
    for each domain. This needs labelled target samples: put :class:`~skltransfer.PooledEstimator`
    behind it, which receives the mapped target samples and ``y_target``.

    Several sources have a block each: samples of the second of two are mapped to
    ``[x, 0, x, 0]`` and target samples to ``[x, 0, 0, x]``. ``sample_domain`` numbers the sources;
    ``WithSource(model, [X_a, X_b], [y_a, y_b])`` passes it on.

    Attributes
    ----------
    source_domains_ : ndarray of shape (n_sources,), int
        Numbers of the sources, in the order of their blocks.
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
    domains; add a feature of ones for an augmented one. `transform` returns three times the memory
    of its input.

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

    __metadata_request__fit = {"X_target": True, "sample_domain": True}

    _accept_sparse = "csr"

    def fit(self, X, y=None, *, X_target=None, sample_domain=None) -> Self:
        """Learn which domains there are.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Source samples.
        y : None
            Ignored.
        X_target : {array-like, sparse matrix} of shape (n_target_samples, n_features), default=None
            Target samples. Without them samples are returned unchanged, with a
            :class:`~skltransfer.DomainDataWarning`.
        sample_domain : array-like of shape (n_samples,), int, default=None
            Numbers of the source domains, above 0. ``None`` stands for one source.

        Returns
        -------
        self : FeatureAugmenter
        """
        self._learn(X, X_target, sample_domain)
        return self

    def fit_transform(self, X, y=None, *, X_target=None, sample_domain=None):
        """Learn which domains there are, and return the mapped source samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Source samples.
        y : None
            Ignored.
        X_target : {array-like, sparse matrix} of shape (n_target_samples, n_features), default=None
            Target samples.
        sample_domain : array-like of shape (n_samples,), int, default=None
            Numbers of the source domains, above 0. ``None`` stands for one source.

        Returns
        -------
        X_new : {ndarray, sparse matrix} of shape (n_samples, n_features_out)
        """
        rows, numbers = self._learn(X, X_target, sample_domain)
        return self._augment(rows, self._blocks(numbers))

    def transform_source(self, X, sample_domain=None):
        """Map source samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Source samples.
        sample_domain : array-like of shape (n_samples,), int, default=None
            Numbers of their domains. It may be left out if `fit` has seen one source.

        Returns
        -------
        X_new : {ndarray, sparse matrix} of shape (n_samples, n_features_out)
            Array, or the container chosen by ``set_output``.
        """
        rows = self._checked(X)
        mapped = self._augment(rows, self._blocks(self._numbers(rows, sample_domain)))
        return _wrap_data_with_container("transform", mapped, X, self)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the features: ``common_a``, ``source_a``, ``target_a``.

        The blocks of several sources are named ``source1_a``, ``source2_a``, by their numbers.

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
        numbers = self.source_domains_ if len(self.source_domains_) > 1 else [""]
        parts = ("common", *(f"source{number}" for number in numbers), "target")
        return np.array([f"{part}_{name}" for part in parts for name in names], dtype=object)

    def _learn(self, X, X_target, sample_domain) -> tuple:
        rows, _ = self._fit(X, None, X_target, None)
        numbers = self._numbers(rows, sample_domain)
        self.source_domains_ = np.array([SOURCE_DOMAIN]) if numbers is None else np.unique(numbers)
        return rows, numbers

    def _align(self, X, y, X_target, y_target):
        self._has_target = X_target is not None

    def _numbers(self, rows, sample_domain) -> np.ndarray | None:
        if sample_domain is None:
            return None
        numbers = check_domain_numbers(sample_domain, rows, "sample_domain", "X")
        if numbers.min() < 0:
            raise ValueError(
                f"sample_domain holds {numbers.min()}. X holds source samples, whose domains are "
                "numbered above 0; pass target samples as X_target."
            )
        return numbers

    def _blocks(self, numbers) -> np.ndarray | int:
        """Return the position of each sample's own block; 0 is the common one."""
        if numbers is None:
            if len(self.source_domains_) > 1:
                raise ValueError(
                    f"fit has seen the source domains {self.source_domains_.tolist()}. Pass their "
                    "numbers as sample_domain."
                )
            return 1
        unknown = np.setdiff1d(numbers, self.source_domains_)
        if len(unknown):
            raise ValueError(
                f"sample_domain holds {unknown.tolist()}, and fit has seen the source domains "
                f"{self.source_domains_.tolist()}."
            )
        return 1 + np.searchsorted(self.source_domains_, numbers)

    def _map_source(self, X):
        return self._augment(X, self._blocks(None))

    def _map_target(self, X):
        return self._augment(X, len(self.source_domains_) + 1)

    def _augment(self, X, blocks: np.ndarray | int):
        if not self._has_target:
            return X.copy()
        n, n_blocks = X.shape[0], len(self.source_domains_) + 2
        blocks = np.broadcast_to(blocks, n)
        if sparse.issparse(X):
            own = [_only(X, blocks == block) for block in range(1, n_blocks)]
            return sparse.hstack([X, *own], format="csr")
        mapped = np.zeros((n, n_blocks, X.shape[1]))
        mapped[:, 0] = mapped[np.arange(n), blocks] = X
        return mapped.reshape(n, -1)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_has_target")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _only(X, kept: np.ndarray):
    """Return a sparse matrix with the kept rows of `X`, and nothing in the others."""
    rows = np.flatnonzero(kept)
    keep = sparse.csr_array((np.ones(len(rows)), (rows, rows)), shape=(len(kept), len(kept)))
    return type(X)(keep @ X)
