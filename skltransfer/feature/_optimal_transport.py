"""Optimal transport: source rows, carried to where the target has its rows."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.base import OneToOneFeatureMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from skltransfer._parameters import Choice, Count, Flag, Number
from skltransfer._solvers._alignment import centered_rows, safe_unit
from skltransfer._warnings import warn
from skltransfer.domains._classes import compare_classes
from skltransfer.domains._data import known_labels
from skltransfer.feature._aligner import LabelledAligner, class_numbers, source_labels
from skltransfer.feature._transport_plans import (
    Plan,
    entropic_plan,
    exact_plan,
    gaussian_map,
    group_lasso_plan,
    import_pot,
)

METHODS = ("exact", "sinkhorn", "group_lasso", "linear")
METRICS = ("sqeuclidean", "euclidean", "cityblock", "cosine")
# With "auto", a plan is between so many pairs of samples at most.
MOST_PAIRS = {"exact": 25_000_000, "sinkhorn": 25_000_000, "group_lasso": 4_000_000}
_MAX_ITER = {"exact": 1_000_000, "sinkhorn": 10_000, "group_lasso": 10_000}
# Cost of a pair of rows with different known labels, in units of the largest cost.
_FORBIDDEN = 10.0
# Class of a target row whose label is unknown.
_UNKNOWN = -2
# Entries of a block of distances to new rows.
_BLOCK = 4_000_000
# Relative error of the covariance reached by a linear map that rounding alone may cause.
_ROUNDING = 1e-6


class OptimalTransportMapper(OneToOneFeatureMixin, LabelledAligner):
    r"""Move source samples to the target by optimal transport.

    A transport plan says how much mass of each source sample goes to each target sample, at the
    least total cost. All source samples have the same mass, and so have all target samples.
    `fit_transform` maps each source sample to the mean of the target samples that receive its mass
    (its barycentric image). `transform` returns target samples unchanged. The next step thus learns
    from source labels among target samples. POT solves the problem (the extra ``ot``).

    Parameters
    ----------
    method : {"exact", "sinkhorn", "group_lasso", "linear"}, default="sinkhorn"
        - ``"exact"``: the plan of least cost, by the network simplex method. Few target samples
          receive the mass of a source sample; with equal numbers of samples it is one.
        - ``"sinkhorn"``: the plan that minimises cost minus `entropy` times its entropy. Mass is
          spread over many target samples. If `entropy` is so small that numbers would overflow,
          the algorithm runs on logarithms.
        - ``"group_lasso"``: like ``"sinkhorn"`` with a penalty on plans in which a target sample
          receives mass from many classes. It needs the source's labels, and uses known labels of
          the target.
        - ``"linear"``: the linear map that carries a Gaussian with the source's mean and covariance
          to a Gaussian with the target's, at the least squared distance. There is no plan.
    entropy : float, default=0.1
        Weight of the plan's entropy for ``"sinkhorn"`` and ``"group_lasso"``, in units of the
        scaled cost. A small value approaches the exact plan, slowly. With a large value all source
        samples move to the target's mean.
    group_regularization : float, default=0.1
        Weight of the penalty of ``"group_lasso"``, in units of the scaled cost.
    metric : {"sqeuclidean", "euclidean", "cityblock", "cosine"}, default="sqeuclidean"
        Cost of moving a sample to another. ``"linear"`` always uses squared Euclidean distances.
    cost_scale : {"median", "max"} or None, default="median"
        Unit of the costs: the median or the largest cost of all pairs. It gives `entropy` and
        `group_regularization` the same meaning on features of any scale. ``None`` is 1.
    shrinkage : float, default=1e-6
        Number added to the diagonals of both covariances for ``"linear"``, in units of their mean
        variance. With 0 the covariances must have full rank.
    match_means : bool, default=True
        Whether ``"linear"`` moves source samples to the mean of the target samples. If False they
        keep their own mean, and only the covariance becomes the target's. Plans move samples
        themselves, and so always the mean.
    max_samples : int, "auto" or None, default="auto"
        Largest number of samples of each domain between which the plan is computed. If a domain has
        more, they are drawn at random, target samples with a known label first. ``"auto"`` draws
        if the pairs of samples are more than 25 million (5000 times 5000; 4 million for
        ``"group_lasso"``), and then 5000 (2000) of each domain, or more of one if the other has
        fewer. ``None`` takes all. ``"linear"`` always uses all.
    max_iter : int, default=None
        Largest number of iterations of Sinkhorn's algorithm, or of pivots of the simplex method.
        ``"group_lasso"`` runs Sinkhorn's algorithm in each of at most 200 rounds. ``None`` is
        10 000 iterations or 1 000 000 pivots.
    tol : float, default=1e-6
        Largest error of the plan's marginals, as a share of the mass.
    random_state : int, RandomState or None, default=0
        Choice of samples, if a domain has more than `max_samples`.

    Attributes
    ----------
    plan_ : ndarray of shape (n_samples, n_target_samples) or None
        Share of the total mass that goes from each source sample to each target sample. It takes
        ``8 * n_samples * n_target_samples`` bytes. None for ``"linear"``, without target samples,
        and if samples were drawn.
    plan_shape_ : tuple of int or None
        Numbers of source and target samples between which the plan was computed, which are those of
        all samples unless some were drawn. None if there is no plan.
    marginal_error_ : float
        Error of the plan's marginals: the sum of absolute differences from equal shares, of rows
        or columns, whichever is larger. For ``"linear"``, the relative error of the covariance of
        the mapped source samples.
    transport_cost_ : float
        Mean cost of moving a sample by the plan, in the units of `metric`. For ``"linear"``, the
        mean squared distance between samples and their images.
    cost_scale_ : float
        Unit of the costs.
    n_iter_ : int
        Number of iterations of Sinkhorn's algorithm, or of rounds of ``"group_lasso"``; 1 for other
        methods.
    coef_ : ndarray of shape (n_features, n_features) or None
        Matrix of ``"linear"``: samples are mapped to ``x @ coef_ + intercept_``.
    intercept_ : ndarray of shape (n_features,) or None
        Offset of ``"linear"``.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    See Also
    --------
    CORAL : A linear map as well, which matches second moments only.
    TCA : Maps both domains to a common space of few dimensions.

    Notes
    -----
    `transform_source` moves a new source sample by the displacement of the nearest fitted sample
    (Ferradans et al. 2014). Fitted samples get their barycentric image, and equal samples the same
    image. If samples were drawn for the plan, the others are new samples. ``"linear"`` maps every
    sample by its formula.

    Costs, with n source and m target samples of the plan and d features: ``"sinkhorn"`` takes
    O(n m) time in each iteration, ``"exact"`` about O(n m log(n + m)), ``"group_lasso"`` Sinkhorn's
    algorithm in each round; all take about 55 n m bytes. The nearest of n fitted samples costs O(n)
    time for each further sample. ``"linear"`` takes O((n + m) d\ :sup:`2`) time for all samples.

    The plan moves all mass. If class proportions differ between the domains, samples of one class
    are moved to places of another, and a covariate shift of the mean is taken for a change of the
    features: ``"linear"`` then needs ``match_means=False``. Scale the features first, because costs
    are distances.

    POT is imported for NumPy alone: frameworks that are not loaded yet stay out. A program that
    uses POT with tensors imports ``ot`` itself first.

    Images are means: they lie closer together than target samples do, and the more so the larger
    `entropy` is. If all costs are similar (many features, or domains far apart), the same `entropy`
    spreads more mass; :class:`~skltransfer.DomainShiftDisplay` shows it. Nearest neighbours may
    gain by it.

    If labels are known in ``y_target``, a pair of samples with different labels costs ten times
    the largest cost under ``"group_lasso"`` (the limit of POT's semi-supervised plans). Other
    methods use no labels.

    References
    ----------
    N. Courty, R. Flamary, D. Tuia and A. Rakotomamonjy. Optimal transport for domain adaptation.
    IEEE Transactions on Pattern Analysis and Machine Intelligence 39, 2017. The penalty of
    ``"group_lasso"`` is their group sparsity with p = 1 and q = 2. It sums, over target samples
    and classes, the 2-norm of the masses that a target sample receives from a class.

    M. Knott and C. S. Smith. On the optimal mapping of distributions. Journal of Optimization
    Theory and Applications 43, 1984. ``"linear"``: the matrix is ``S^-1 (S C_t S)^(1/2) S^-1`` with
    the root S of the source's covariance and the covariance C_t of the target.

    S. Ferradans, N. Papadakis, G. Peyré and J.-F. Aujol. Regularized discrete optimal transport.
    SIAM Journal on Imaging Sciences 7, 2014. Displacements of new samples.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import OptimalTransportMapper
    >>> X, X_target = np.array([[0.0], [1.0], [2.0]]), np.array([[12.0], [11.0], [10.0]])
    >>> mapper = OptimalTransportMapper("exact")
    >>> mapper.fit_transform(X, X_target=X_target)
    array([[10.],
           [11.],
           [12.]])
    >>> mapper.transform_source([[0.1]])
    array([[10.1]])
    >>> mapper.transform(X_target)
    array([[12.],
           [11.],
           [10.]])
    """

    _parameters = {
        "method": Choice(*METHODS),
        "entropy": Number(0, low_open=True),
        "group_regularization": Number(0, np.inf, high_open=True),
        "metric": Choice(*METRICS),
        "cost_scale": Choice("median", "max", None),
        "shrinkage": Number(0),
        "match_means": Flag(),
        "max_samples": Count(unset=("auto", None)),
        "max_iter": Count(unset=(None,)),
        "tol": Number(0),
    }

    def __init__(
        self,
        method: str = "sinkhorn",
        *,
        entropy: float = 0.1,
        group_regularization: float = 0.1,
        metric: str = "sqeuclidean",
        cost_scale: str | None = "median",
        shrinkage: float = 1e-6,
        match_means: bool = True,
        max_samples: int | str | None = "auto",
        max_iter: int | None = None,
        tol: float = 1e-6,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.method = method
        self.entropy = entropy
        self.group_regularization = group_regularization
        self.metric = metric
        self.cost_scale = cost_scale
        self.shrinkage = shrinkage
        self.match_means = match_means
        self.max_samples = max_samples
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def _align(self, X, y, X_target, y_target):
        self.plan_ = self.coef_ = self.intercept_ = None
        self.marginal_error_, self.transport_cost_ = 0.0, 0.0
        self.cost_scale_, self.n_iter_ = 1.0, 1
        self._source_rows = self._images = self.plan_shape_ = None
        if X_target is None:
            return X.copy()
        ot = import_pot(type(self).__name__)
        if self.method == "linear":
            self._fit_linear(ot, X, X_target)
            images = self._map_source(X)
            with np.errstate(over="ignore"):
                self.transport_cost_ = float(((images - X) ** 2).sum(axis=1).mean())
            return images
        groups, target_groups = self._groups(X, y, X_target, y_target)
        drawn, target_drawn = self._draw(len(X), target_groups != _UNKNOWN)
        rows, target_rows = X[drawn], X_target[target_drawn]
        plan = self._fit_plan(ot, rows, target_rows, groups[drawn], target_groups[target_drawn])
        self.plan_shape_, self.n_iter_ = plan.values.shape, plan.n_iter
        self._check_plan(plan)
        self._source_rows = rows + 0.0  # -0 is 0
        images = _barycentric(plan.values, rows, target_rows)
        self._images = _one_for_equal_rows(self._source_rows, images)
        if plan.values.shape != (len(X), len(X_target)):
            return None
        self.plan_ = plan.values
        return self._images.copy()

    def _map_source(self, X):
        if self.coef_ is not None:
            return X @ self.coef_ + self.intercept_
        if self._images is None:
            return X.copy()
        step = max(1, _BLOCK // len(self._source_rows))
        nearest = [
            cdist(X[i : i + step], self._source_rows, "sqeuclidean").argmin(axis=1)
            for i in range(0, len(X), step)
        ]
        nearest = np.concatenate(nearest)
        return self._images[nearest] + (X - self._source_rows[nearest])

    def _draw(self, n: int, is_known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of the samples of both domains that the plan is for, in order."""
        m, sizes = len(is_known), (self.max_samples, self.max_samples)
        if isinstance(self.max_samples, str):
            most = MOST_PAIRS[self.method]
            side = math.isqrt(most)
            sizes = (None, None) if n * m <= most else (max(side, most // m), max(side, most // n))
        rng = check_random_state(self.random_state)
        drawn, target_drawn = rng.permutation(n)[: sizes[0]], rng.permutation(m)
        target_drawn = target_drawn[np.argsort(~is_known[target_drawn], kind="stable")][: sizes[1]]
        return np.sort(drawn), np.sort(target_drawn)

    def _fit_plan(self, ot, X, X_target, groups, target_groups) -> Plan:
        with np.errstate(over="ignore", invalid="ignore"):
            cost = cdist(X, X_target, self.metric)
        if not np.isfinite(cost).all():
            raise ValueError(
                f"The {self.metric} distances between X and X_target are not finite. Scale the "
                "columns before, and for 'cosine' leave out rows of zeros."
            )
        self.cost_scale_ = _scale(cost, self.cost_scale)
        scaled = cost / self.cost_scale_
        max_iter = _MAX_ITER[self.method] if self.max_iter is None else self.max_iter
        if self.method == "exact":
            plan = exact_plan(ot, scaled, max_iter)
        elif self.method == "sinkhorn":
            plan = entropic_plan(ot, scaled, self.entropy, max_iter, self.tol)
        else:
            _forbid(scaled, groups, target_groups)
            plan = group_lasso_plan(
                ot, scaled, groups, self.entropy, self.group_regularization, max_iter, self.tol
            )
        self.transport_cost_ = float(np.vdot(plan.values, cost))
        return plan

    def _groups(self, X, y, X_target, y_target) -> tuple[np.ndarray, np.ndarray]:
        """Return the classes of the rows of both domains, all unknown if the method uses none.

        Classes are 0..k-1, -1 for one that the source lacks, and `_UNKNOWN`.
        """
        target_groups = np.full(len(X_target), _UNKNOWN)
        if self.method != "group_lasso":
            return np.full(len(X), _UNKNOWN), target_groups
        if y is None:
            raise ValueError(
                "method='group_lasso' groups source rows by class and needs y. Pass the source's "
                "labels, or choose method='sinkhorn'."
            )
        y = source_labels(y, X)
        classes, groups = np.unique(y, return_inverse=True)
        compare_classes(y, y_target)
        known, target_labels = known_labels(y_target, X_target, y)
        target_groups[known] = class_numbers(target_labels, classes)
        return groups, target_groups

    def _check_plan(self, plan: Plan) -> None:
        n, m = plan.values.shape
        misses = [
            np.abs(plan.values.sum(axis=1) - 1 / n).sum(),
            np.abs(plan.values.sum(axis=0) - 1 / m).sum(),
        ]
        self.marginal_error_ = float(max(misses))
        problems = [] if plan.problem is None else [plan.problem]
        if not self.marginal_error_ <= self.tol + 1e-12:
            problems.append(
                f"misses its marginals by {self.marginal_error_:.1e} of the mass (tol={self.tol})"
            )
        if problems:
            remedy = "Raise max_iter" if self.method == "exact" else "Raise max_iter or entropy"
            warn(
                f"The transport plan (method={self.method!r}) {' and '.join(problems)} after its "
                f"iterations. {remedy}, or tol where that is good enough.",
                ConvergenceWarning,
            )

    def _fit_linear(self, ot, X, X_target) -> None:
        (mean, centered), (target_mean, centered_target) = map(centered_rows, (X, X_target))
        # The map does not depend on the unit.
        unit = safe_unit(*(np.abs(rows).max() for rows in (centered, centered_target)))
        covariance, target_covariance = (
            (rows / unit).T @ (rows / unit) / len(rows) for rows in (centered, centered_target)
        )
        d = X.shape[1]
        ridge = self.shrinkage * (np.trace(covariance) + np.trace(target_covariance)) / (2 * d)
        if ridge == 0 and not (covariance.any() or target_covariance.any()):
            ridge = 1.0  # one place in each domain: the map is a shift
        for matrix in (covariance, target_covariance):
            matrix.flat[:: d + 1] += ridge
        A, b = gaussian_map(ot, mean, covariance, target_mean, target_covariance)
        error = np.linalg.norm(A.T @ covariance @ A - target_covariance)
        size = np.linalg.norm(target_covariance)
        self.marginal_error_ = float(error / size) if size else float(error)
        if not self.marginal_error_ <= _ROUNDING:
            raise ValueError(
                "The covariance of the source is singular, or nearly so. No linear map carries it "
                "to the target's. Raise shrinkage, or leave out dependent columns."
            )
        self.coef_ = A
        self.intercept_ = b if self.match_means else mean - mean @ A


def _scale(cost: np.ndarray, by: str | None) -> float:
    """Return the unit of costs; it is the mean if the median is 0."""
    if by is None:
        return 1.0
    for value in (np.median(cost) if by == "median" else cost.max(), cost.mean()):
        if value > 0:
            return float(value)
    return 1.0


def _forbid(cost, groups, target_groups) -> None:
    """Raise the cost of pairs with different known labels, in place.

    Not in a column or row in which every pair is one: there nothing is to be chosen.
    """
    pairs = groups[:, None] != target_groups
    pairs[:, target_groups == _UNKNOWN] = False
    pairs[:, pairs.all(axis=0)] = False
    pairs[pairs.all(axis=1)] = False
    cost[pairs] = _FORBIDDEN * cost.max()


def _barycentric(plan, X, X_target) -> np.ndarray:
    """Return the mean of the target rows that receive a row's mass."""
    mass = plan.sum(axis=1, keepdims=True)
    some = mass > 0  # an unfinished plan may leave a row without any: it stays
    return np.where(some, (plan / np.where(some, mass, 1.0)) @ X_target, X)


def _one_for_equal_rows(rows: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Give equal rows one image, the mean of theirs: the map is then one of rows."""
    _, group, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    if len(counts) == len(rows):
        return images
    group = group.ravel()
    sums = np.zeros((len(counts), images.shape[1]))
    np.add.at(sums, group, images)
    return (sums / counts[:, None])[group]
