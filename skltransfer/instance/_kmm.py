"""Kernel mean matching."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from skltransfer._parameters import Choice, Count, Number
from skltransfer._solvers._kernel_choice import check_kernel, fitted_gamma
from skltransfer._solvers._kernel_width import warn_of_width
from skltransfer._solvers._kernels import (
    SPARSE_KERNELS,
    Kernel,
    KernelMatrix,
    loses_digits,
)
from skltransfer._solvers._kmm import LARGEST_MATRIX, KMMSolution, solve_kmm
from skltransfer._warnings import warn, warn_unless_certified
from skltransfer.domains._data import check_dense, check_target_rows
from skltransfer.instance._base import BaseReweighter, numeric_rows, only_numbers, unit_weights
from skltransfer.instance._rows import counted_rows, distinct_rows, sorted_rows

# Gaps of tol="auto": while the kernel matrix of the source samples is in memory, and beyond.
_TIGHT, _LOOSE = 1e-6, 1e-3


class KMMReweighter(BaseReweighter):
    r"""Weigh source samples by kernel mean matching, and fit an estimator with the weights.

    Finds the weights ``b`` that bring the mean of the source samples, in the feature space of a
    kernel, closest to the mean of the target samples [1]_:

    .. math::

        \min_b \; \tfrac12 b^\top K b - \kappa^\top b \quad \text{subject to} \quad
        0 \le b_i \le B, \; |\textstyle\sum_i b_i - n| \le n \epsilon

    with :math:`\kappa_i = \frac{n}{m} \sum_j k(x_i, t_j)`. It corrects *covariate shift*: the
    samples are distributed differently in the two domains, and labels depend on the features in the
    same way. The quadratic programme is solved to a certified gap, `dual_gap_`.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier or regressor whose ``fit`` takes ``sample_weight``, or a pipeline that ends in
        one. It is cloned before it is fitted. With ``None`` only the weights are computed.
    kernel : str or callable, default="rbf"
        Kernel: ``"rbf"``, ``"laplacian"``, ``"linear"``, ``"poly"`` (or ``"polynomial"``),
        ``"sigmoid"``, ``"cosine"`` or ``"chi2"``, as in scikit-learn's ``pairwise_kernels``. A
        callable takes two arrays of samples and returns their kernel matrix, as
        :mod:`sklearn.gaussian_process.kernels` do. The kernel has to be positive semi-definite,
        which ``"sigmoid"`` seldom is. ``"chi2"`` needs values of at least 0.
    gamma : float or "scale", default="scale"
        Width of the rbf, laplacian, polynomial, sigmoid and chi2 kernels. A larger value is a
        narrower kernel. ``"scale"`` is 1 / (sum of the features' variances over the samples of both
        domains). For chi2 it is 1 / (mean sum of a sample), which is 1 for histograms.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Constant of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Keyword arguments of a kernel that is a callable. Other kernels ignore them.
    max_weight : float, default=10
        Largest weight of a sample (``B``), at least 1. Values from 2 to 20 keep many samples in
        use. The value of the literature, 1000, hardly ever binds and leaves few in use.
    sum_tolerance : float, default=None
        Largest distance of the sum of the weights from the number of source samples, relative to
        that number (``epsilon``). ``None`` is the value of the literature,
        ``(sqrt(n) - 1) / sqrt(n)``, which hardly ever binds.
    tol : float or "auto", default="auto"
        Relative optimality gap to certify. ``"auto"`` is 1e-6 for up to 2000 distinct source
        samples, and 1e-3 for more.
    max_iter : int, default=500
        Largest number of pivoting steps, and of interior-point steps, for each set of samples that
        is tried.
    dtype : {"auto", "float64", "float32"}, default="auto"
        Precision of the rbf kernel between dense source and target samples. Everything else is
        computed in float64. ``"auto"`` uses float32 if its rounding error, which `dual_gap_`
        includes, is well below the tolerance. This needs one of about 1e-3 or more.
    target_weight : float or "balanced", default=1.0
        Weight in the fit of each target sample with a known label, where source samples weigh 1 on
        average. ``"balanced"`` gives both domains the same sum of weights, and keeps the sum over
        both. With few labels beside a large source, no other setting matters as much.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source samples, multiplied by the `sample_weight` given to `fit`.
    dual_gap_ : float
        Certified bound on ``(objective_ - optimum) / |objective_|``. If the objective is almost 0,
        the bound is relative to 1e-8 of the kernel's values. It is ``inf`` for a kernel that is not
        positive semi-definite.
    tol_ : float
        Gap that was asked for. Set if target samples are given.
    objective_ : float
        Value of the quadratic programme at the weights. ``nan`` if no target samples are given.
    n_iter_ : int
        Number of pivoting and interior-point steps, at least 1.
    effective_sample_size_ : float
        Number of equally weighted samples that the weighted source is worth,
        ``sum(w)^2 / sum(w^2)``. A sample with a `sample_weight` of 2 counts once.
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
    ConvergenceWarning
        If the certified gap is larger than `tol`.
    DomainDataWarning
        If no target samples are given.
    EffectiveSampleSizeWarning
        If a few samples have nearly all of the weight, or a class has lost nearly all of its
        weight.
    KernelWidthWarning
        If the kernel is nearly constant over the samples, or an identity.

    See Also
    --------
    PooledEstimator : The baseline without weights.
    WithTarget : Holds the target samples.
    WithSource : Holds the source, for cross-validation on the target.

    Notes
    -----
    Equal samples get equal weights, and the weights do not depend on the order of the samples. Many
    weights are 0. Scale the features first, because the kernel weighs all of them alike.

    *Time and memory.* For up to 2000 distinct source samples their kernel matrix is computed (32
    MB). Beyond, no kernel matrix of all samples is formed. The programme is solved for a growing
    set of samples, until a pass over the others proves that none is missing. Time grows with the
    number of pairs of a source and a target sample, and in each pass with the number of pairs of a
    source sample and one of positive weight. Memory grows with the square of the number of samples
    whose weight is neither 0 nor at the upper bound. There are more of them for a smaller `tol` and
    for a narrower kernel; beyond 12 000, which take 3 GB, the search ends with a warning that tells
    the gap reached. With ``tol="auto"``, 100 000 samples of 10 features in each domain take 70
    seconds on one core and 1.8 GB, and with 1e-6 they take 200 seconds. Time grows somewhat faster
    than ``n ** 2``.

    If many weightings are about as good (with the linear kernel, a very wide kernel or a loose
    `tol`), the solution uses few samples. A smaller `max_weight` keeps more of them (see
    `effective_sample_size_`).

    ``X`` and ``X_target`` may be sparse, except for ``"chi2"`` and callables. They are not made
    dense.

    References
    ----------
    .. [1] J. Huang, A. J. Smola, A. Gretton, K. M. Borgwardt, B. Schoelkopf, "Correcting Sample
       Selection Bias by Unlabeled Data", NIPS 2006, equation (12).

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import KMMReweighter
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 1)), rng.normal(1.0, 0.5, size=(100, 1))
    >>> kmm = KMMReweighter().fit(X, X_target=X_target)
    >>> weighted_mean = np.average(X, axis=0, weights=kmm.sample_weight_)
    >>> bool(abs(weighted_mean - X_target.mean(axis=0)) < 0.05)
    True
    >>> kmm.dual_gap_ < 1e-6
    True

    Around a classifier, with the target samples in the keyword:

    >>> from sklearn.linear_model import LogisticRegression
    >>> y = (X[:, 0] > 1).astype(int)
    >>> model = KMMReweighter(LogisticRegression()).fit(X, y, X_target=X_target)
    >>> model.predict([[0.5], [1.5]])
    array([0, 1])
    """

    _parameters = {
        "max_weight": Number(1, np.inf, high_open=True),
        "sum_tolerance": Number(0, np.inf, high_open=True, unset=(None,)),
        "tol": Number(0, np.inf, low_open=True, high_open=True, unset=("auto",)),
        "max_iter": Count(),
        "dtype": Choice("auto", "float64", "float32"),
    }

    def __init__(
        self,
        estimator=None,
        *,
        kernel: str | Callable = "rbf",
        gamma: float | str = "scale",
        degree: float = 3,
        coef0: float = 1,
        kernel_params: dict | None = None,
        max_weight: float = 10.0,
        sum_tolerance: float | None = None,
        tol: float | str = "auto",
        max_iter: int = 500,
        dtype: str = "auto",
        target_weight: float | str = 1.0,
    ):
        self.estimator = estimator
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.max_weight = max_weight
        self.sum_tolerance = sum_tolerance
        self.tol = tol
        self.max_iter = max_iter
        self.dtype = dtype
        self.target_weight = target_weight

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner_takes_sparse = self.estimator is None or tags.input_tags.sparse
        tags = only_numbers(tags)
        tags.input_tags.sparse = self._takes_sparse() and inner_takes_sparse
        return tags

    def _takes_sparse(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel in SPARSE_KERNELS

    def _weigh(self, X, y, sample_weight, X_target, target_sample_weight):
        if not self._takes_sparse():
            remedy = f"Choose one of the kernels {', '.join(SPARSE_KERNELS)}"
            check_dense(self, X, "X", remedy=remedy)
            check_dense(self, X_target, "X_target", remedy=remedy)
        checks = {
            "accept_sparse": "csr" if self._takes_sparse() else False,
            "accept_large_sparse": self.kernel != "laplacian",  # scikit-learn's takes no int64
        }
        rows = numeric_rows(self, X, **checks)
        weights = unit_weights(rows, sample_weight)
        self.dual_gap_, self.objective_, self.n_iter_ = 0.0, np.nan, 1
        if X_target is not None:
            target_rows = check_target_rows(self, X_target, **checks)
            if sparse.issparse(rows) or sparse.issparse(target_rows):
                rows, target_rows = sparse.csr_array(rows), sparse.csr_array(target_rows)
            weights = self._match(rows, weights, target_rows, target_sample_weight)
        return weights

    def _match(self, rows, weights, target_rows, target_weights) -> np.ndarray:
        """Solve the quadratic programme and return the weights of all source samples."""
        used = weights > 0
        distinct, group = distinct_rows(rows[used])
        counts = np.bincount(group, weights=weights[used])
        given = rows[used], target_rows
        self.tol_ = self.tol
        if self.tol == "auto":
            self.tol_ = _TIGHT if len(counts) <= LARGEST_MATRIX else _LOOSE
        if target_weights is None:
            target_rows = sorted_rows(target_rows)
        else:
            target_rows, target_weights, _ = counted_rows(target_rows, target_weights)
        kernel, distinct, target_rows = self._kernel(distinct, counts, target_rows, target_weights)
        matrix = KernelMatrix(kernel, distinct)
        warn_of_width(self, kernel, *given)
        solution = self._solve(matrix, counts, target_rows, target_weights)
        self.dual_gap_, self.objective_ = float(solution.gap), float(solution.objective)
        self.n_iter_ = max(solution.n_iter, 1)
        if solution.gap == np.inf:
            warn(
                f"kernel={self.kernel!r} is not positive semi-definite on these samples. The "
                "weights may be far from the best. Choose another kernel, gamma or coef0.",
                ConvergenceWarning,
            )
        else:
            remedy = "Raise max_iter or tol, choose another gamma, or set dtype='float64'."
            warn_unless_certified("Kernel mean matching", solution.gap, self.tol_, remedy)
        matched = np.zeros_like(weights)
        matched[used] = weights[used] * (solution.weights / counts)[group]
        if not matched.any():
            raise ValueError(
                "KMMReweighter gives every source row the weight 0, because none resembles the "
                "target. Lower gamma or sum_tolerance, scale the columns of both domains, or scale "
                "sample_weight to a mean of 1."
            )
        return matched

    def _kernel(self, distinct, counts, target_rows, target_weights):
        """Return the kernel with its width, and the samples to compute it from."""
        gamma = fitted_gamma(self, distinct, counts, target_rows, target_weights)
        kernel = Kernel(self.kernel, gamma, self.degree, self.coef0, self.kernel_params)
        if self.kernel == "rbf" and not sparse.issparse(distinct):
            # Distances lose fewer digits near the origin.
            center = np.median(distinct, axis=0)
            centered = distinct - center, target_rows - center
            if not loses_digits(*centered, gamma):
                distinct, target_rows = centered
        return kernel, distinct, target_rows

    def _solve(self, rows: KernelMatrix, counts, target_rows, target_weights) -> KMMSolution:
        n, tol = counts.sum(), self.tol_
        error = 0.0
        rounding = 0.0 if self.dtype == "float64" else rows.float32_error(target_rows)
        wanted = self.dtype == "float32" and np.isfinite(rounding)
        if wanted or (self.dtype == "auto" and 50 * rounding <= tol):
            mean, error = rows.mean_in_float32(target_rows, target_weights)
            tol = max(tol, 20 * rounding)  # no smaller gap can be certified
        else:
            mean = rows.mean(target_rows, target_weights)
        tolerance = self.sum_tolerance
        if tolerance is None:
            tolerance = max(0.0, (np.sqrt(n) - 1) / np.sqrt(n))
        solution = solve_kmm(
            rows,
            n * mean,
            self.max_weight * counts,
            n * max(0.0, 1 - tolerance),
            n * (1 + tolerance),
            guess=counts,
            kappa_error=n * error,
            tol=tol,
            max_iter=self.max_iter,
        )
        return solution._replace(gap=np.inf) if rows.is_surely_indefinite() else solution

    def _check_combinations(self) -> None:
        super()._check_combinations()
        check_kernel(self)
