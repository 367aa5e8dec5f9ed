"""Density ratios by the Kullback-Leibler importance estimation procedure."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv

from skltransfer._parameters import Count, Folds, Number
from skltransfer._solvers._kliep import held_out_likelihood, log_kernel_ratios, solve_kliep
from skltransfer._warnings import warn
from skltransfer.instance._density_ratio import finite_exp
from skltransfer.instance._kernel_ratio import KernelRatioReweighter, best_candidate


class KLIEPReweighter(KernelRatioReweighter):
    r"""Weigh source rows by KLIEP's density ratio, and fit an estimator with the weights.

    The ratio of the target's to the source's density is a sum of Gaussian kernels on target rows,
    :math:`r(x) = \sum_l \alpha_l \exp(-\gamma |x - c_l|^2)`, whose product with the source's
    density comes closest, in the sense of Kullback and Leibler, to the target's [1]_:

    .. math::

        \max_{\alpha \geq 0} \; \frac{1}{m} \sum_j \log r(t_j)
        \quad \text{subject to} \quad \frac{1}{n} \sum_i r(x_i) = 1

    It corrects *covariate shift*: the rows are distributed differently in the two domains, while
    labels depend on rows in the same way. The concave problem is solved by Newton's method, and
    `dual_gap_` proves it.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier or regressor whose ``fit`` takes ``sample_weight``, or a pipeline that ends in
        one. It is cloned before it is fitted. ``None`` computes the weights only.
    gamma : {"cv", "median"}, float or list of float, default="cv"
        Width of the kernel, larger is narrower. ``"median"`` is ``1 / (2 median)`` of the squared
        distances of rows of both domains to the centres. From a list the value is chosen under
        which target rows that were held out are likeliest; ``"cv"`` is the list of 0.1, 0.3, 1, 3
        and 10 times the median's.
    n_centers : int, default=100
        Number of kernels, on as many different target rows drawn at random; all of them where
        there are fewer.
    cv : int, cross-validation generator or iterable, default=5
        Number of random folds of the target rows, by which `gamma` is chosen; or what splits the
        target rows, in the order in which they are given.
    tol : float, default=1e-6
        How far the mean log-ratio may lie from its optimum.
    max_iter : int, default=100
        Largest number of Newton steps.
    random_state : int, RandomState instance or None, default=0
        Draws centres and folds.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source rows, times the `sample_weight` given to `fit`, of the same sum as
        these.
    gamma_ : float
        Width of the kernel. This and what follows up to `coef_` is set where target rows are
        given.
    gammas_ : ndarray of shape (n_gammas,)
        The candidates.
    scores_ : ndarray of shape (n_gammas,)
        Mean logarithm of the ratio at held-out target rows, larger is better; ``nan`` for a single
        candidate, and where there is but one target row: then the middle one is taken.
    centers_ : ndarray of shape (n_centers, n_features)
        The target rows that kernels lie on.
    coef_ : ndarray of shape (n_centers,)
        Their coefficients, at least 0; most are 0.
    dual_gap_ : float
        Certified bound on what `objective_` lies below its optimum.
    objective_ : float
        Mean logarithm of the ratio at the target rows: an estimate of the Kullback-Leibler
        divergence of the source from the target, 0 where no target was given.
    n_iter_ : int
        Newton steps of the last fit, at least 1.
    effective_sample_size_ : float
        ``sum(w)^2 / sum(w^2)``: how many equally weighted rows the source is worth.
    estimator_ : estimator
        The fitted clone, unless `estimator` is None.
    classes_ : ndarray of shape (n_classes,)
        The classes, where `estimator` is a classifier.
    n_features_in_ : int
        Number of columns of ``X``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where ``X`` has them.

    Warns
    -----
    ConvergenceWarning
        If the gap certified is larger than `tol`.
    DomainDataWarning
        If no target rows are given.
    EffectiveSampleSizeWarning
        If few rows have nearly all of the weight.

    See Also
    --------
    ULSIFReweighter : Least squares in place of the likelihood; its relative form is bounded.
    KMMReweighter : Weights without a density ratio.
    WithTarget : Holds the target's rows.

    Notes
    -----
    Neither the order of source nor of target rows matters. A source row of weight 2 counts as two
    equal rows. While a fold is held out its rows are no centres either. The likelihood of target
    rows sees too little of the source where it has few rows (some hundreds, or many columns), and
    then favours kernels so narrow that few source rows keep weight: look at
    `effective_sample_size_`, or set `gamma`. Scale the columns first: the kernel weighs all alike.

    References
    ----------
    .. [1] M. Sugiyama, T. Suzuki, S. Nakajima, H. Kashima, P. von Buenau, M. Kawanabe, "Direct
       importance estimation for covariate shift adaptation", Annals of the Institute of
       Statistical Mathematics 60, 2008, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import KLIEPReweighter
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 1)), rng.normal(1.0, 0.5, size=(100, 1))
    >>> kliep = KLIEPReweighter().fit(X, X_target=X_target)
    >>> weighted_mean = np.average(X, axis=0, weights=kliep.sample_weight_)
    >>> bool(abs(weighted_mean - X_target.mean(axis=0)) < 0.1)
    True
    >>> kliep.dual_gap_ <= 1e-6
    True
    >>> kliep.density_ratio([[1.0], [-1.0]]).round()
    array([2., 0.])

    Around a classifier, with the target's rows in the keyword:

    >>> from sklearn.linear_model import LogisticRegression
    >>> y = (X[:, 0] > 1).astype(int)
    >>> model = KLIEPReweighter(LogisticRegression()).fit(X, y, X_target=X_target)
    >>> model.predict([[0.5], [1.5]])
    array([0, 1])
    """

    _parameters = {"cv": Folds(), "tol": Number(0, low_open=True), "max_iter": Count()}

    def __init__(
        self,
        estimator=None,
        *,
        gamma="cv",
        n_centers=100,
        cv=5,
        tol=1e-6,
        max_iter=100,
        random_state=0,
    ):
        self.estimator = estimator
        self.gamma = gamma
        self.n_centers = n_centers
        self.cv = cv
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def _weigh(self, X, y, sample_weight, X_target):
        # Those of the ratio 1, which needs no target.
        self.dual_gap_, self.objective_, self.n_iter_ = 0.0, 0.0, 1
        weights = super()._weigh(X, y, sample_weight, X_target)
        if not self.dual_gap_ <= self.tol:
            warn(
                f"KLIEP's mean log-ratio is certified to {self.dual_gap_:.1e} below its optimum, "
                f"not to tol={self.tol:.1e}. Raise max_iter or tol, or choose another gamma.",
                ConvergenceWarning,
            )
        return weights

    def _fit_coefficients(self, distances, rng):
        given = distances.target, distances.source, distances.weights
        self.scores_ = np.full(len(self.gammas_), np.nan)
        if len(self.gammas_) > 1:
            splits = self._splits(distances.target_order, rng)
            for k, gamma in enumerate(self.gammas_):
                log_A, _ = log_kernel_ratios(*given, gamma)
                self.scores_[k] = held_out_likelihood(
                    log_A, splits, distances.center_rows, tol=self.tol, max_iter=self.max_iter
                )
        (best,) = best_candidate(self.scores_, self.gammas_)
        self.gamma_ = float(self.gammas_[best])
        log_A, log_h = log_kernel_ratios(*given, self.gamma_)
        solution = solve_kliep(log_A, tol=self.tol, max_iter=self.max_iter)
        self._mixture, self._log_h = solution.mixture, log_h
        self.coef_ = solution.mixture * finite_exp(-log_h)
        self.dual_gap_, self.objective_ = solution.gap, solution.objective
        self.n_iter_ = max(solution.n_iter, 1)

    def _splits(self, target_order, rng) -> list:
        """Return which of the sorted target rows to fit and which to hold out, split by split."""
        n = len(target_order)
        if isinstance(self.cv, Integral):
            folds = rng.permutation(n) % self.cv
            held = [folds == k for k in range(min(self.cv, n) if n > 1 else 0)]
            return [(np.flatnonzero(~rows), np.flatnonzero(rows)) for rows in held]
        place = np.argsort(target_order)
        splits = list(check_cv(self.cv).split(np.empty((n, 1))))
        if any(np.max(part, initial=-1) >= n for split in splits for part in split):
            raise ValueError(
                f"cv splits more rows than the {n} of X_target. It is the target's rows that are "
                "held out: pass an integer, or splits of these."
            )
        return [(place[fitted], place[held]) for fitted, held in splits]

    def _of_distances(self, distances):
        # A kernel far from all source rows has a coefficient beyond all numbers: in logarithms.
        used = self._mixture > 0
        log_kernel = -self.gamma_ * distances[:, used] - self._log_h[used]
        return finite_exp(log_kernel) @ self._mixture[used]
