"""Ratio of two nearest-neighbour density estimates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.neighbors import BallTree, KDTree

from skltransfer._parameters import Choice, Count, Either, Function
from skltransfer._solvers._distances import sparse_squared_distances
from skltransfer.instance._density_ratio import TOO_FAR_APART, DensityRatioReweighter
from skltransfer.instance._rows import counted_rows, in_one_form

METRICS = ("euclidean", "manhattan", "chebyshev", "canberra", "hamming")
# Up to so many columns a tree is faster than all distances.
_TREE_FEATURES = 6
# Distances at a time, some megabytes.
_BLOCK_SIZE = 2**20
# A distance computed twice is taken for the same one.
_SLACK = 1e-12


class NearestNeighborsReweighter(DensityRatioReweighter):
    r"""Weigh source samples by the number of target samples among their source neighbours.

    Around a sample, ``r`` is the distance to its k-th nearest source sample (a source sample is its
    own nearest), and the sample weighs [1]_

    .. math::

        w(x) = \frac{|\{j: |x - t_j| \le r\}| \,/\, m}{|\{i: |x - x_i| \le r\}| \,/\, n}

    This is the ratio of two nearest-neighbour densities over the same ball, whose volume cancels.
    The estimate assumes nothing about the form of the densities, and follows steep ones. It
    corrects *covariate shift*: the samples are distributed differently in the two domains, and
    labels depend on the features in the same way.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier or regressor whose ``fit`` takes ``sample_weight``, or a pipeline that ends in
        one. It is cloned before it is fitted. With ``None`` only the weights are computed.
    n_neighbors : int or "sqrt", default="sqrt"
        Number of source neighbours ``k``, at most the number of source samples. More neighbours
        give a smoother ratio of smaller variance. ``"sqrt"`` is the square root of the number of
        source samples, rounded.
    metric : str or callable, default="euclidean"
        Distance between samples: ``"euclidean"``, ``"manhattan"``, ``"chebyshev"``, ``"canberra"``
        or ``"hamming"``. A callable takes two samples and returns a number.
    algorithm : {"auto", "kd_tree", "ball_tree", "brute"}, default="auto"
        Search for neighbours. It does not change the weights. ``"auto"`` uses a tree for up to 6
        features or a callable `metric`, and all distances, in blocks, otherwise. Sparse samples
        need ``"auto"`` or ``"brute"``.
    target_weight : float or "balanced", default=1.0
        Weight in the fit of each target sample with a known label, where source samples weigh 1 on
        average. ``"balanced"`` gives both domains the same sum of weights, and keeps the sum over
        both. With few labels beside a large source, no other setting matters as much.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source samples: the `sample_weight` given to `fit` (or ones), multiplied by
        the ratio and scaled back to the same sum.
    effective_sample_size_ : float
        Number of equally weighted samples that the weighted source is worth,
        ``sum(w)^2 / sum(w^2)``. A sample with a `sample_weight` of 2 counts once.
    n_neighbors_ : int
        Number of neighbours in use. Set if target samples are given.
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
        If a few samples have nearly all of the weight, or a class has lost nearly all of its
        weight.
    DomainDataWarning
        If no target samples are given.

    See Also
    --------
    KernelDensityReweighter : Balls of one size, with smooth edges.
    ULSIFReweighter : Learns the ratio itself, for more features.

    Notes
    -----
    A source sample of weight 2 counts as two neighbours. All source samples at the distance of the
    k-th count, so that ties do not depend on the order of the samples. If both domains are the same
    sample, all weights are 1. A sample without a target sample in its ball weighs 0. Scale the
    features first, because the distance weighs all of them alike. Sparse matrices and arrays are
    accepted.

    References
    ----------
    .. [1] M. Lima, C. E. Cunha, H. Oyaizu, J. Frieman, H. Lin, E. S. Sheldon, "Estimating the
       Redshift Distribution of Photometric Galaxy Samples", Monthly Notices of the Royal
       Astronomical Society 390, 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import NearestNeighborsReweighter
    >>> X, X_target = np.array([[0.0], [1.0], [2.0], [4.0]]), np.array([[3.5], [4.1], [4.2]])
    >>> neighbors = NearestNeighborsReweighter(n_neighbors=2).fit(X, X_target=X_target)
    >>> neighbors.sample_weight_
    array([0., 0., 0., 4.])
    >>> neighbors.density_ratio([[1.5], [3.0]]).round(2)
    array([0.  , 0.67])
    """

    _parameters = {
        "n_neighbors": Count(unset=("sqrt",)),
        "metric": Either(Choice(*METRICS), Function()),
        "algorithm": Choice("auto", "kd_tree", "ball_tree", "brute"),
    }

    def __init__(
        self,
        estimator=None,
        *,
        n_neighbors: int | str = "sqrt",
        metric: str | Callable = "euclidean",
        algorithm: str = "auto",
        target_weight: float | str = 1.0,
    ):
        self.estimator = estimator
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.algorithm = algorithm
        self.target_weight = target_weight

    def _check_combinations(self) -> None:
        super()._check_combinations()
        if self.algorithm == "kd_tree" and not self._suits_kd_tree():
            raise ValueError(f"metric={self.metric!r} needs algorithm='ball_tree', not 'kd_tree'.")

    def _suits_kd_tree(self) -> bool:
        return isinstance(self.metric, str) and self.metric in KDTree.valid_metrics

    _compares_sparse_rows = True

    def _fit_ratio(self, rows, weights, target_rows, target_weights):
        rows, target_rows = in_one_form(rows, target_rows)
        if sparse.issparse(rows) and self.algorithm not in ("auto", "brute"):
            raise ValueError(
                f"algorithm={self.algorithm!r} takes dense rows, and X or X_target is sparse. "
                "Choose algorithm='brute' or 'auto'."
            )
        distinct, counts, group = counted_rows(rows, weights)
        self.n_neighbors_ = self._resolved_neighbors(counts)
        self._source = distinct, counts
        self._target = counted_rows(target_rows, target_weights)[:2]
        return self._ratio(distinct)[group]

    def _remedy_of_no_overlap(self):
        counts = self._source[1]
        if self.n_neighbors_ <= counts.min() * (1 + _SLACK):
            return (
                f"n_neighbors={self.n_neighbors!r} reaches no other row, because a row of X is its "
                "own nearest neighbour, as often as its weight says. Raise n_neighbors, or scale "
                "sample_weight to a mean of 1."
            )
        return f"Raise n_neighbors={self.n_neighbors!r}, here {self.n_neighbors_} rows."

    def _resolved_neighbors(self, counts) -> int:
        total = counts.sum()
        k = max(round(np.sqrt(total)), 1) if self.n_neighbors == "sqrt" else self.n_neighbors
        asks_for_all = k >= total * (1 - _SLACK) and len(counts) > k
        if k > total * (1 + _SLACK) or asks_for_all:
            raise ValueError(
                f"n_neighbors={self.n_neighbors!r} asks for {k} neighbours among source rows whose "
                f"weights sum up to {total:.6g}. Choose fewer, or scale sample_weight."
            )
        return k

    def _index(self, rows, counts):
        algorithm = "brute" if sparse.issparse(rows) else self.algorithm
        if algorithm == "auto":
            tree = "kd_tree" if self._suits_kd_tree() else "ball_tree"
            is_small = rows.shape[1] <= _TREE_FEATURES
            # A callable is slow: the fewer calls the better.
            algorithm = tree if is_small or callable(self.metric) else "brute"
        if algorithm == "brute":
            return _AllDistances(rows, counts, self.metric)
        return _Tree(rows, counts, KDTree if algorithm == "kd_tree" else BallTree, self.metric)

    def _ratio(self, rows):
        if sparse.issparse(rows) and not sparse.issparse(self._source[0]):
            rows = rows.toarray()  # the form of the fit
        source, target = self._index(*self._source), self._index(*self._target)
        n = rows.shape[0]
        ratio = np.empty(n)
        step = max(1, _BLOCK_SIZE // max(len(source.counts), len(target.counts)))
        for start in range(0, n, step):
            block = rows[start : start + step]
            radius = source.radius(block, self.n_neighbors_) * (1 + _SLACK)
            if not np.isfinite(radius).all():
                raise ValueError(TOO_FAR_APART)
            near_source = source.weight_within(block, radius) / source.total
            near_target = target.weight_within(block, radius) / target.total
            ratio[start : start + step] = near_target / near_source
        return ratio


def _radius(distances, counts, k: float) -> np.ndarray:
    """Return the distances, sorted in each row, at which the counts first add up to `k`.

    It is infinite if they do not.
    """
    reached = np.cumsum(counts, axis=1) >= k * (1 - _SLACK)
    first = reached.argmax(axis=1)
    radius = np.take_along_axis(distances, first[:, None], axis=1)[:, 0]
    return np.where(reached.any(axis=1), radius, np.inf)


def all_distances(A, B, metric) -> np.ndarray:
    """Return the distances of rows, dense or sparse, shape (n, m).

    Parameters
    ----------
    A, B : {ndarray, CSR array} of shape (n, n_features) and (m, n_features)
    metric : str or callable
        One of `METRICS`, or a function of two dense rows.
    """
    if not (sparse.issparse(A) or sparse.issparse(B)):
        return cdist(A, B, "cityblock" if metric == "manhattan" else metric)
    if isinstance(metric, str) and metric == "euclidean":
        return np.sqrt(sparse_squared_distances(A, B))
    # Other distances are sums over all features: by dense rows, some at a time.
    A, B = sparse.csr_array(A), sparse.csr_array(B)
    distances, step = np.empty((A.shape[0], B.shape[0])), max(1, _BLOCK_SIZE // A.shape[1])
    for i in range(0, A.shape[0], step):
        rows = A[i : i + step].toarray()
        for j in range(0, B.shape[0], step):
            part = B[j : j + step].toarray()
            distances[i : i + step, j : j + step] = all_distances(rows, part, metric)
    return distances


class _AllDistances:
    """Weighted samples, with all distances to them computed."""

    def __init__(self, rows, counts, metric):
        self.rows, self.counts, self.total, self.metric = rows, counts, counts.sum(), metric

    def _distances(self, rows) -> np.ndarray:
        return all_distances(rows, self.rows, self.metric)

    def radius(self, rows, k: float) -> np.ndarray:
        distances = self._distances(rows)
        # So many rows weigh `k` together, whichever they are.
        searched = int(np.ceil(min(len(self.counts), k / self.counts.min())))
        if (self.counts == 1).all():
            return np.partition(distances, searched - 1, axis=1)[:, searched - 1]
        nearest = np.argpartition(distances, searched - 1, axis=1)[:, :searched]
        near = np.take_along_axis(distances, nearest, axis=1)
        order = np.argsort(near, axis=1)
        near = np.take_along_axis(near, order, axis=1)
        radius = _radius(near, self.counts[np.take_along_axis(nearest, order, axis=1)], k)
        return np.minimum(radius, near[:, -1])  # all rows, where rounding lacks one

    def weight_within(self, rows, radius) -> np.ndarray:
        return (self._distances(rows) <= radius[:, None]) @ self.counts


class _Tree:
    """Weighted samples in a tree."""

    def __init__(self, rows, counts, tree, metric):
        self.counts, self.total = counts, counts.sum()
        self.tree = tree(rows, metric=metric)

    def radius(self, rows, k: float) -> np.ndarray:
        """Search more and more neighbours, until their weights add up to `k`."""
        n, radius = len(self.counts), np.full(len(rows), np.inf)
        searched = min(n, int(np.ceil(k)))
        while True:
            left = np.flatnonzero(radius == np.inf)
            distances, index = self.tree.query(rows[left], k=searched)
            radius[left] = _radius(distances, self.counts[index], k)
            if searched == n:
                radius[left] = np.minimum(radius[left], distances[:, -1])
            if searched == n or (radius < np.inf).all():
                return radius
            searched = min(n, 2 * searched)

    def weight_within(self, rows, radius) -> np.ndarray:
        if (self.counts == 1).all():
            return self.tree.query_radius(rows, radius, count_only=True).astype(float)
        return np.array([self.counts[i].sum() for i in self.tree.query_radius(rows, radius)])
