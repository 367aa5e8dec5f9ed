"""Select source samples for the target instead of weighing them."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils.validation import check_consistent_length, validate_data

from skltransfer._parameters import Count, Flag, Number
from skltransfer._solvers._neighbors import SLACK, all_distances, neighbor_index
from skltransfer.domains._data import check_target_rows
from skltransfer.instance._base import (
    BaseReweighter,
    is_whole,
    numeric_rows,
    only_numbers,
    unit_weights,
)
from skltransfer.instance._collapse import EffectiveSampleSizeWarning
from skltransfer.instance._discriminative import DiscriminativeReweighter
from skltransfer.instance._rows import distinct_rows, in_one_form

# Rows whose weights differ by no more than this, relatively, are worth the same.
_TIE = 1e-9
# Distances in a block: some tens of megabytes.
_BLOCK_SIZE = 4_000_000


class SourceSelector(BaseReweighter):
    """Keep the source samples that resemble the target, and fit any estimator on them.

    The samples with the largest weights of a reweighter are kept, or the neighbours of target
    samples. The other samples are left out of the fit, so that the estimator need not take weights.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier or regressor. It is cloned before it is fitted. With ``None`` samples are only
        selected.
    reweighter : reweighter, default=None
        Reweighter that weighs the source samples, such as :class:`KMMReweighter`. It is cloned, and
        used without an estimator. ``None`` is :class:`DiscriminativeReweighter`, whose weights are
        smooth. Not used by ``keep="neighbors"`` without `use_weights`.
    keep : float, "effective" or "neighbors", default="effective"
        Samples to keep. A number above 0, up to 1, is the part of the source samples, those with
        the largest weights. ``"effective"`` keeps the effective sample size of the weighted source.
        ``"neighbors"`` keeps each sample that is among the `n_neighbors` nearest of some target
        sample, by Euclidean distance.
    n_neighbors : int, default=5
        Number of neighbours of each target sample, for ``keep="neighbors"``. Equal source samples
        count as one.
    use_weights : bool, default=False
        Whether the kept samples enter the fit with the weights of the reweighter. By default they
        all count alike.
    target_weight : float or "balanced", default=1.0
        Weight in the fit of each target sample with a known label, where source samples weigh 1 on
        average. ``"balanced"`` gives both domains the same sum of weights, and keeps the sum over
        both. With few labels beside a large source, no other setting matters as much.

    Attributes
    ----------
    support_ : ndarray of shape (n_samples,), bool
        Mask of the source samples that are kept.
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source samples in the fit. They are 0 for samples left out, and otherwise the
        `sample_weight` given to `fit` (or 1), or the weights of the reweighter with `use_weights`.
    effective_sample_size_ : float
        Number of equally weighted samples that the weighted source is worth,
        ``sum(w)^2 / sum(w^2)``.
    reweighter_ : reweighter
        The fitted clone of the reweighter. Set if one is used.
    estimator_ : estimator
        The fitted clone. Not set if `estimator` is None.
    classes_ : ndarray of shape (n_classes,)
        The class labels. Set if `estimator` is a classifier.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`. Set if all feature names of ``X`` are strings.

    Warns
    -----
    EffectiveSampleSizeWarning
        If the kept samples are worth fewer than 10 and less than a tenth of all, or hardly a sample
        of some class is kept.
    DomainDataWarning
        If no target samples are given. All source samples are then kept.

    See Also
    --------
    KMMReweighter : Weighs source samples.
    PooledEstimator : Keeps all source samples.

    Notes
    -----
    Samples that tie with the last kept one are kept as well, so that the order of the samples does
    not matter. Samples of weight 0 are never kept. A sample with a `sample_weight` of 2 counts as
    two equal samples.

    If `estimator` is a classifier, a source class that would lose all of its samples keeps the
    sample nearest to a target sample, and its ties. With `use_weights` the nearest sample of
    positive weight is kept. Target samples with a known label join the fit with weight 1. Sparse
    matrices and arrays are accepted if `reweighter`, where it is used, accepts them, and so are
    frames with categories or texts (unless ``keep="neighbors"``). Of a lost class the sample of
    largest weight is then kept, because distances need numbers.

    Time and memory are those of the reweighter. ``keep="neighbors"`` searches them in a tree for up
    to 6 features, and otherwise among all pairs of a source and a target sample, whose distances
    come from matrix products: about a minute on one core for 100 000 samples in each domain.

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
        keep: float | str = "effective",
        n_neighbors: int = 5,
        use_weights: bool = False,
        target_weight: float | str = 1.0,
    ):
        self.estimator = estimator
        self.reweighter = reweighter
        self.keep = keep
        self.n_neighbors = n_neighbors
        self.use_weights = use_weights
        self.target_weight = target_weight

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner_takes_sparse = self.estimator is None or tags.input_tags.sparse
        tags = only_numbers(tags)
        tags.input_tags.sparse = self._takes_sparse() and inner_takes_sparse
        return tags

    def _takes_sparse(self) -> bool:
        """Tell whether samples are selected by what takes sparse ones."""
        if isinstance(self.keep, str) and self.keep == "neighbors" and not self.use_weights:
            return True
        if not isinstance(self.reweighter, BaseReweighter):
            return False
        return get_tags(self._weigher()).input_tags.sparse

    def _weigher(self):
        """Return an unfitted clone of the reweighter, without an estimator."""
        reweighter = DiscriminativeReweighter() if self.reweighter is None else self.reweighter
        return clone(reweighter).set_params(estimator=None)

    def _weigh(self, X, y, sample_weight, X_target, target_sample_weight):
        rows, target_rows = self._checked_rows(X, X_target)
        weights = unit_weights(rows, sample_weight)
        self.support_ = weights > 0
        if X_target is None:
            return weights
        if self.keep != "neighbors" or self.use_weights:
            ratio = self._ratio(X, y, sample_weight, X_target, target_sample_weight)
        if self.use_weights:
            self.support_ &= ratio > 0
        used = np.flatnonzero(self.support_)
        if self.keep == "neighbors":
            distinct, group = distinct_rows(rows[used])
            kept = in_neighborhood(distinct, target_rows, self.n_neighbors)[group]
        else:
            kept = _largest(ratio[used], weights[used], self._size(ratio, weights))
        if y is not None and self.estimator is not None and is_classifier(self.estimator):
            check_consistent_length(rows, y)
            labels = np.asarray(y).reshape(len(weights), -1)[used]
            if labels.shape[1] == 1 and target_rows is None:
                kept = _with_likeliest_of_all_classes(kept, ratio[used], labels[:, 0])
            elif labels.shape[1] == 1:
                kept = _with_all_classes(kept, rows[used], labels[:, 0], target_rows)
        self.support_[used] = kept
        return np.where(self.support_, weights * ratio if self.use_weights else weights, 0.0)

    def _checked_rows(self, X, X_target) -> tuple:
        """Return samples of both domains as numbers; those of the target may be None.

        Samples that only a classifier of the reweighter can compare stay as they are, without those
        of the target.
        """
        by_neighbors = isinstance(self.keep, str) and self.keep == "neighbors"
        if not by_neighbors and self._weigher()._hands_on(X):
            validate_data(self, X, skip_check_array=True)
            return X, None
        checks = {"accept_sparse": "csr" if self._takes_sparse() else False}
        rows = numeric_rows(self, X, **checks)
        if X_target is None:
            return rows, None
        return in_one_form(rows, check_target_rows(self, X_target, **checks))

    def _ratio(self, X, y, sample_weight, X_target, target_sample_weight) -> np.ndarray:
        """Return the weights of the reweighter, per unit of `sample_weight`."""
        reweighter = self._weigher()
        with warnings.catch_warnings():
            # A warning about the number of kept rows says more.
            warnings.simplefilter("ignore", EffectiveSampleSizeWarning)
            reweighter.fit(
                X,
                y,
                sample_weight=sample_weight,
                X_target=X_target,
                target_sample_weight=target_sample_weight,
            )
        self.reweighter_ = reweighter
        weights = unit_weights(X, sample_weight)
        found = reweighter.sample_weight_
        return np.divide(found, weights, out=np.zeros(len(found)), where=weights > 0)

    def _size(self, ratio, weights) -> float:
        """Return the number of samples to keep, each counted by its `sample_weight`."""
        if self.keep == "effective":
            return (weights @ ratio) ** 2 / (weights @ ratio**2)
        return self.keep * weights.sum()

    def _fit_on_both(self, estimator, X, y, sample_weight, labelled):
        check_consistent_length(X, y)
        rows = np.flatnonzero(self.support_)
        y = None if y is None else _safe_indexing(y, rows)
        super()._fit_on_both(estimator, _safe_indexing(X, rows), y, sample_weight, labelled)

    def _weights_of_fit(self, sample_weight):
        # All-one weights are left out, so that any estimator will do.
        if sample_weight is None and not self.use_weights:
            return None
        return self.sample_weight_[self.support_]

    def _check_combinations(self) -> None:
        super()._check_combinations()
        if not (self.reweighter is None or isinstance(self.reweighter, BaseReweighter)):
            raise TypeError(
                f"reweighter={self.reweighter!r} is not a reweighter. Pass one, such as "
                "KMMReweighter(), or None."
            )

    def _needs_weights(self):
        return self.use_weights or not is_whole(self.target_weight)


def _largest(values: np.ndarray, counts: np.ndarray, size: float) -> np.ndarray:
    """Return a mask of the largest values that count for `size` or more, ties included.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Values of 0 are left out.
    counts : ndarray of shape (n,)
        Number of samples that each value counts for.
    size : float
        Number of samples to reach.
    """
    order = np.argsort(-values, kind="stable")
    sums = np.cumsum(counts[order])
    last = min(int(np.searchsorted(sums, size * (1 - _TIE))), len(values) - 1)
    return (values > 0) & (values >= values[order[last]] * (1 - _TIE))


def _with_all_classes(kept, rows, y, target_rows) -> np.ndarray:
    """Return `kept` with the samples nearest to the target for each class that would have none."""
    kept = kept.copy()
    if not len(lost := np.setdiff1d(y, y[kept])):
        return kept
    target = neighbor_index(target_rows)
    for label in lost:
        of_class = np.flatnonzero(y == label)
        distance = target.nearest(rows[of_class], 1)[0][:, 0]
        kept[of_class[distance <= distance.min() * (1 + _TIE)]] = True
    return kept


def _with_likeliest_of_all_classes(kept, ratio, y) -> np.ndarray:
    """Return `kept` with the samples of largest ratio for each class that would have none."""
    kept = kept.copy()
    for label in np.setdiff1d(y, y[kept]):
        of_class = np.flatnonzero(y == label)
        kept[of_class[ratio[of_class] >= ratio[of_class].max() * (1 - _TIE)]] = True
    return kept


def in_neighborhood(X, T, k: int) -> np.ndarray:
    """Tell which rows of `X` are among the `k` nearest of some row of `T`, shape (n,), bool.

    Rows as near as the k-th nearest are among them.

    Parameters
    ----------
    X : {ndarray, CSR array} of shape (n, n_features)
    T : {ndarray, CSR array} of shape (m, n_features)
    k : int
    """
    index, n = neighbor_index(X), X.shape[0]
    inside, k = np.zeros(n, dtype=bool), min(k, n)
    # One row more tells whether any is as near as the k-th.
    distances, nearest = index.nearest(T, min(k + 1, n))
    within = distances <= distances[:, k - 1 : k] * (1 + SLACK)
    inside[nearest[within]] = True
    tied = np.flatnonzero(within[:, -1]) if k < n else []
    step = max(1, _BLOCK_SIZE // n)
    for start in range(0, len(tied), step):
        some = tied[start : start + step]
        every = all_distances(T[some], X, "euclidean")
        inside |= (every <= distances[some, k - 1 : k] * (1 + SLACK)).any(axis=0)
    return inside
