"""Ratio of two nearest-neighbour density estimates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse
from sklearn.neighbors import KDTree

from skltransfer._parameters import Choice, Count, Either, Function
from skltransfer._solvers._neighbors import SLACK, chosen_algorithm, neighbor_index
from skltransfer.instance._density_ratio import TOO_FAR_APART, DensityRatioReweighter
from skltransfer.instance._rows import counted_rows, in_one_form

METRICS = ("euclidean", "manhattan", "chebyshev", "canberra", "hamming")


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
        features or a callable `metric`, and all distances, in blocks (``"brute"``), otherwise.
        Sparse samples need ``"auto"`` or ``"brute"``.
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
    algorithm_ : {"kd_tree", "ball_tree", "brute"}
        Search in use. Set if target samples are given.
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

    *Time and memory.* With ``"brute"``, time grows with the number of pairs of samples, and the
    Euclidean distances of dense samples come from matrix products: 100 000 samples of 10 features
    in each domain take some two minutes on one core, other distances several times as long. Trees
    take time like ``n ** 1.5`` with ``n_neighbors="sqrt"``. Memory is that of the samples and of
    blocks of some 50 MB.

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
        self.algorithm_ = self.algorithm
        if self.algorithm == "auto":
            self.algorithm_ = chosen_algorithm(rows, self.metric)
        return self._ratio(distinct)[group]

    def _remedy_of_no_overlap(self):
        counts = self._source[1]
        if self.n_neighbors_ <= counts.min() * (1 + SLACK):
            return (
                f"n_neighbors={self.n_neighbors!r} reaches no other row, because a row of X is its "
                "own nearest neighbour, as often as its weight says. Raise n_neighbors, or scale "
                "sample_weight to a mean of 1."
            )
        return f"Raise n_neighbors={self.n_neighbors!r}, here {self.n_neighbors_} rows."

    def _resolved_neighbors(self, counts) -> int:
        total = counts.sum()
        k = max(round(np.sqrt(total)), 1) if self.n_neighbors == "sqrt" else self.n_neighbors
        asks_for_all = k >= total * (1 - SLACK) and len(counts) > k
        if k > total * (1 + SLACK) or asks_for_all:
            raise ValueError(
                f"n_neighbors={self.n_neighbors!r} asks for {k} neighbours among source rows whose "
                f"weights sum up to {total:.6g}. Choose fewer, or scale sample_weight."
            )
        return k

    def _index(self, rows, counts):
        return neighbor_index(rows, counts, metric=self.metric, algorithm=self.algorithm_)

    def _ratio(self, rows):
        if sparse.issparse(rows) and not sparse.issparse(self._source[0]):
            rows = rows.toarray()  # the form of the fit
        source, target = self._index(*self._source), self._index(*self._target)
        radius, near_source = source.radius_and_weight(rows, self.n_neighbors_)
        if not np.isfinite(radius).all():
            raise ValueError(TOO_FAR_APART)
        near_target = target.weight_within(rows, radius)
        return (near_target / target.total) / (near_source / source.total)
