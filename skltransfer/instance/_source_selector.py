"""Select source rows for the target instead of weighing them."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.base import clone, is_classifier
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_consistent_length

from skltransfer._parameters import Count, Flag, Number
from skltransfer.domains._data import check_target_rows
from skltransfer.instance._base import (
    BaseReweighter,
    EffectiveSampleSizeWarning,
    numeric_rows,
    only_numbers,
    unit_weights,
)
from skltransfer.instance._discriminative import DiscriminativeReweighter
from skltransfer.instance._rows import distinct_rows

# Rows whose weights differ by no more than this, relatively, are worth the same.
_TIE = 1e-9
# Distances in a block: some tens of megabytes.
_BLOCK_SIZE = 4_000_000


class SourceSelector(BaseReweighter):
    """Keep the source rows that resemble the target, and fit any estimator on them.

    The rows kept are those with the largest weights of a reweighter, or the neighbours of target
    rows. The others are left out of the fit, so that the estimator need not take weights.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier or regressor, cloned before it is fitted. ``None`` selects only.
    reweighter : reweighter, default=None
        Weighs the source rows, such as :class:`KMMReweighter`; cloned, and without an estimator.
        ``None`` is :class:`DiscriminativeReweighter`, whose weights are smooth. Not used by
        ``keep="neighbors"`` without `use_weights`.
    keep : float, "effective" or "neighbors", default="effective"
        A number from 0 (excluded) to 1 keeps that part of the source rows, those of largest weight.
        ``"effective"`` keeps as many rows as the weighted source is worth: its effective sample
        size. ``"neighbors"`` keeps the rows that are among the `n_neighbors` nearest of some target
        row, by Euclidean distance.
    n_neighbors : int, default=5
        Number of neighbours of each target row, for ``keep="neighbors"``. Equal source rows count
        as one.
    use_weights : bool, default=False
        Whether the rows kept enter the fit with the reweighter's weights, rather than alike.

    Attributes
    ----------
    support_ : ndarray of shape (n_samples,), bool
        Which source rows are kept.
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source rows in the fit: 0 for those left out, else the `sample_weight` given
        to `fit`, or 1, or with `use_weights` the reweighter's weight.
    effective_sample_size_ : float
        ``sum(w)^2 / sum(w^2)`` of these weights.
    reweighter_ : reweighter
        The fitted clone, where one is used.
    estimator_ : estimator
        The fitted clone, unless `estimator` is None.
    classes_ : ndarray of shape (n_classes,)
        The classes, where `estimator` is a classifier.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Column names of ``X``, where all are strings.

    Warns
    -----
    EffectiveSampleSizeWarning
        If the rows kept are worth fewer than 10 and a tenth of all.
    DomainDataWarning
        If no target rows are given: all source rows are kept.

    See Also
    --------
    KMMReweighter : Weighs source rows.
    PooledEstimator : Keeps all of them.

    Notes
    -----
    Rows that tie with the last one kept are kept as well, so that the order of the rows does not
    matter; rows of weight 0 never are. A row of `sample_weight` 2 counts as two equal rows. Where
    `estimator` is a classifier, a class of the source that would lose all of its rows keeps the one
    (and its ties) nearest to a target row; with `use_weights`, of those with a weight above 0.
    Target rows whose label is known join the fit with weight 1.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsRegressor
    >>> from skltransfer import SourceSelector
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 1)), rng.normal(1.0, 0.5, size=(100, 1))
    >>> model = SourceSelector(KNeighborsRegressor(), keep=0.3).fit(X, X[:, 0], X_target=X_target)
    >>> int(model.support_.sum())
    60
    >>> bool(abs(X[model.support_].mean() - 1) < 0.2)
    True
    """

    _parameters = {
        "keep": Number(0, 1, low_open=True, unset=("effective", "neighbors")),
        "n_neighbors": Count(),
        "use_weights": Flag(),
    }

    def __init__(
        self,
        estimator=None,
        reweighter=None,
        *,
        keep="effective",
        n_neighbors=5,
        use_weights=False,
    ):
        self.estimator = estimator
        self.reweighter = reweighter
        self.keep = keep
        self.n_neighbors = n_neighbors
        self.use_weights = use_weights

    def __sklearn_tags__(self):
        return only_numbers(super().__sklearn_tags__())

    def _weigh(self, X, y, sample_weight, X_target):
        rows = numeric_rows(self, X)
        weights = unit_weights(rows, sample_weight)
        self.support_ = weights > 0
        if X_target is None:
            return weights
        target_rows = check_target_rows(self, X_target)
        if self.keep != "neighbors" or self.use_weights:
            ratio = self._ratio(X, y, sample_weight, X_target)
        if self.use_weights:
            self.support_ &= ratio > 0
        used = np.flatnonzero(self.support_)
        if self.keep == "neighbors":
            distinct, group = distinct_rows(rows[used])
            kept = in_neighborhood(distinct, target_rows, self.n_neighbors)[0][group]
        else:
            kept = _largest(ratio[used], weights[used], self._size(ratio, weights))
        if y is not None and self.estimator is not None and is_classifier(self.estimator):
            check_consistent_length(rows, y)
            labels = np.asarray(y).reshape(len(rows), -1)[used]
            if labels.shape[1] == 1:
                kept = _with_all_classes(kept, rows[used], labels[:, 0], target_rows)
        self.support_[used] = kept
        return np.where(self.support_, weights * ratio if self.use_weights else weights, 0.0)

    def _ratio(self, X, y, sample_weight, X_target) -> np.ndarray:
        """Return the reweighter's weight of each row, per unit of `sample_weight`."""
        reweighter = DiscriminativeReweighter() if self.reweighter is None else self.reweighter
        reweighter = clone(reweighter).set_params(estimator=None)
        with warnings.catch_warnings():
            # What is worth knowing is how many rows are kept.
            warnings.simplefilter("ignore", EffectiveSampleSizeWarning)
            reweighter.fit(X, y, sample_weight=sample_weight, X_target=X_target)
        self.reweighter_ = reweighter
        weights = unit_weights(X, sample_weight)
        found = reweighter.sample_weight_
        return np.divide(found, weights, out=np.zeros(len(found)), where=weights > 0)

    def _size(self, ratio, weights) -> float:
        """Return how many rows are to be kept, each counted by its `sample_weight`."""
        if self.keep == "effective":
            return (weights @ ratio) ** 2 / (weights @ ratio**2)
        return self.keep * weights.sum()

    def _fit_on_both(self, estimator, X, y, sample_weight, X_target, y_target):
        check_consistent_length(X, y)
        rows = np.flatnonzero(self.support_)
        y = None if y is None else _safe_indexing(y, rows)
        super()._fit_on_both(
            estimator, _safe_indexing(X, rows), y, sample_weight, X_target, y_target
        )

    def _weights_of_fit(self, sample_weight):
        # All-one weights are left out, so that any estimator will do.
        if sample_weight is None and not self.use_weights:
            return None
        return self.sample_weight_[self.support_]

    def _check_combinations(self) -> None:
        super()._check_combinations()
        if not (self.reweighter is None or isinstance(self.reweighter, BaseReweighter)):
            raise TypeError(
                f"reweighter={self.reweighter!r} is no reweighter. Pass one, such as "
                "KMMReweighter(), or None."
            )

    def _needs_weights(self):
        return self.use_weights


def _largest(values: np.ndarray, counts: np.ndarray, size: float) -> np.ndarray:
    """Return a mask of the largest values that count for `size` or more, ties included.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Those of 0 are left out.
    counts : ndarray of shape (n,)
        For how many rows each one counts.
    size : float
    """
    order = np.argsort(-values, kind="stable")
    sums = np.cumsum(counts[order])
    last = min(int(np.searchsorted(sums, size * (1 - _TIE))), len(values) - 1)
    return (values > 0) & (values >= values[order[last]] * (1 - _TIE))


def _with_all_classes(kept, rows, y, target_rows) -> np.ndarray:
    """Return `kept` with the rows nearest to the target of each class that would have none."""
    kept = kept.copy()
    for label in np.setdiff1d(y, y[kept]):
        of_class = np.flatnonzero(y == label)
        distance = in_neighborhood(rows[of_class], target_rows, 1)[1]
        kept[of_class[distance <= distance.min() * (1 + _TIE)]] = True
    return kept


def in_neighborhood(X: np.ndarray, T: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Tell which rows of `X` are among the `k` nearest of some row of `T`.

    Rows as near as the k-th nearest are among them.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    T : ndarray of shape (m, n_features)
    k : int

    Returns
    -------
    inside : ndarray of shape (n,), bool
    distance : ndarray of shape (n,)
        Euclidean distance of each row of `X` from the nearest row of `T`.
    """
    inside, nearest = np.zeros(len(X), dtype=bool), np.full(len(X), np.inf)
    k = min(k, len(X))
    step = max(1, _BLOCK_SIZE // len(X))
    for start in range(0, len(T), step):
        distance = cdist(T[start : start + step], X)
        np.minimum(nearest, distance.min(axis=0), out=nearest)
        kth = np.partition(distance, k - 1, axis=1)[:, k - 1 : k]
        inside |= (distance <= kth * (1 + 1e-12)).any(axis=0)
    return inside, nearest
