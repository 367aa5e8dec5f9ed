"""Density ratios by the Kullback-Leibler importance estimation procedure."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from skltransfer._parameters import Count, Folds, Number
from skltransfer._solvers._kliep import held_out_likelihood, log_kernel_ratios, solve_kliep
from skltransfer._warnings import warn_unless_certified
from skltransfer.instance._cross_fitting import given_splits
from skltransfer.instance._density_ratio import finite_exp
from skltransfer.instance._kernel_ratio import KernelRatioReweighter, best_candidate


class KLIEPReweighter(KernelRatioReweighter):
    r"""Weigh source samples by KLIEP's density ratio, and fit an estimator with the weights.

    The ratio of the target density to the source density is a sum of Gaussian kernels on target
    samples, :math:`r(x) = \sum_l \alpha_l \exp(-\gamma |x - c_l|^2)`. Its product with the source
    density has the smallest Kullback-Leibler divergence from the target density [1]_:

    .. math::

        \max_{\alpha \geq 0} \; \frac{1}{m} \sum_j \log r(t_j)
        \quad \text{subject to} \quad \frac{1}{n} \sum_i r(x_i) = 1

    It corrects *covariate shift*: the samples are distributed differently in the two domains, and
    labels depend on the features in the same way. The concave problem is solved by Newton's method,
    and `dual_gap_` proves it.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier or regressor whose ``fit`` takes ``sample_weight``, or a pipeline that ends in
        one. It is cloned before it is fitted. With ``None`` only the weights are computed.
    gamma : {"cv", "median"}, float or list of float, default="cv"
        Width of the kernel. A larger value is a narrower kernel. ``"median"`` is ``1 / (2 median)``
        of the squared distances of the samples of both domains to the centres. From a list, the
        value with the largest likelihood of held-out target samples is chosen. ``"cv"`` is the list
        of 0.1, 0.3, 1, 3 and 10 times the median's value.
    n_centers : int, default=100
        Number of kernels. They lie on as many distinct target samples, drawn at random, or on all
        of them if there are fewer.
    cv : int, cross-validation generator or iterable, default=5
        Folds of the target samples, by which `gamma` is chosen. An integer is the number of random
        folds. A splitter or an iterable splits the target samples in the order in which they are
        given.
    tol : float, default=1e-6
        Largest distance of the mean log-ratio from its optimum.
    max_iter : int, default=100
        Largest number of Newton steps.
    target_weight : float or "balanced", default=1.0
        Weight in the fit of each target sample with a known label, where source samples weigh 1 on
        average. ``"balanced"`` gives both domains the same sum of weights, and keeps the sum over
        both. With few labels beside a large source, no other setting matters as much.
    random_state : int, RandomState instance or None, default=0
        Seed of the centres and folds.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source samples: the `sample_weight` given to `fit` (or ones), multiplied by
        the ratio and scaled back to the same sum.
    effective_sample_size_ : float
        Number of equally weighted samples that the weighted source is worth,
        ``sum(w)^2 / sum(w^2)``. A sample with a `sample_weight` of 2 counts once.
    gamma_ : float
        Width of the kernel. This and the attributes up to `coef_` are set if target samples are
        given.
    gammas_ : ndarray of shape (n_gammas,)
        Candidates of `gamma`.
    scores_ : ndarray of shape (n_gammas,)
        Mean logarithm of the ratio at held-out target samples for each candidate; larger is better.
        ``nan`` for a single candidate, and if there is only one target sample. In the latter case
        the middle candidate is taken.
    centers_ : {ndarray, CSR array} of shape (n_centers, n_features)
        Target samples that the kernels lie on.
    coef_ : ndarray of shape (n_centers,)
        Coefficients of the kernels, at least 0. Most are 0.
    dual_gap_ : float
        Certified bound on the distance of `objective_` from its optimum.
    objective_ : float
        Mean logarithm of the ratio at the target samples. It estimates the Kullback-Leibler
        divergence of the source from the target, and is 0 if no target samples are given.
    n_iter_ : int
        Number of Newton steps of the last fit, at least 1.
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
    ULSIFReweighter : Least squares in place of the likelihood. Its relative form is bounded.
    KMMReweighter : Weights without a density ratio.
    WithTarget : Holds the target samples.

    Notes
    -----
    The result does not depend on the order of the source or target samples. A source sample of
    weight 2 counts as two equal samples. No centre of a fold is one of its held-out target samples.

    The likelihood of target samples hardly sees the source where the source has few samples (some
    hundreds, or many features). It then favours very narrow kernels, under which few source samples
    keep weight. Check `effective_sample_size_`, or set `gamma`. Scale the features first, because
    the kernel weighs all of them alike. Sparse matrices and arrays are accepted.

    *Time and memory.* The kernel is computed between all samples and the centres. Both time and
    memory grow like the number of samples times `n_centers`; with 100 000 samples in each domain
    the kernel matrices take some 600 MB. Time is also proportional to the number of candidates for
    `gamma`, times the folds.

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

    Around a classifier, with the target samples in the keyword:

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
        gamma: str | float | Sequence[float] = "cv",
        n_centers: int = 100,
        cv: Any = 5,
        tol: float = 1e-6,
        max_iter: int = 100,
        target_weight: float | str = 1.0,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.estimator = estimator
        self.gamma = gamma
        self.n_centers = n_centers
        self.cv = cv
        self.tol = tol
        self.max_iter = max_iter
        self.target_weight = target_weight
        self.random_state = random_state

    def _weigh(self, X, y, sample_weight, X_target, target_sample_weight):
        # Values for a ratio of 1, which needs no target.
        self.dual_gap_, self.objective_, self.n_iter_ = 0.0, 0.0, 1
        weights = super()._weigh(X, y, sample_weight, X_target, target_sample_weight)
        remedy = "Raise max_iter or tol, or choose another gamma."
        warn_unless_certified("KLIEP's mean log-ratio", self.dual_gap_, self.tol, remedy)
        return weights

    def _fit_coefficients(self, distances, rng):
        given = distances.target, distances.source, distances.weights
        settings = {"weights": distances.target_weights, "tol": self.tol, "max_iter": self.max_iter}
        self.scores_ = np.full(len(self.gammas_), np.nan)
        if len(self.gammas_) > 1:
            splits = self._splits(distances.target_order, rng)
            for k, gamma in enumerate(self.gammas_):
                log_A, _ = log_kernel_ratios(*given, gamma)
                self.scores_[k] = held_out_likelihood(
                    log_A, splits, distances.center_rows, **settings
                )
        (best,) = best_candidate(self.scores_, self.gammas_)
        self.gamma_ = float(self.gammas_[best])
        log_A, log_h = log_kernel_ratios(*given, self.gamma_)
        solution = solve_kliep(log_A, **settings)
        self._mixture, self._log_h = solution.mixture, log_h
        self.coef_ = solution.mixture * finite_exp(-log_h)
        self.dual_gap_, self.objective_ = solution.gap, solution.objective
        self.n_iter_ = max(solution.n_iter, 1)

    def _splits(self, target_order, rng) -> list:
        """Return pairs of indices of the sorted target samples: to fit and to hold out."""
        n = len(target_order)
        if isinstance(self.cv, Integral):
            folds = rng.permutation(n) % self.cv
            held = [folds == k for k in range(min(self.cv, n) if n > 1 else 0)]
            return [(np.flatnonzero(~rows), np.flatnonzero(rows)) for rows in held]
        place = np.argsort(target_order)
        splits = given_splits(self.cv, n, "X_target")
        return [(place[fitted], place[held]) for fitted, held in splits]

    def _of_distances(self, distances):
        # A kernel far from all source rows has a coefficient beyond all numbers: in logarithms.
        used = self._mixture > 0
        log_kernel = -self.gamma_ * distances[:, used] - self._log_h[used]
        return finite_exp(log_kernel) @ self._mixture[used]
