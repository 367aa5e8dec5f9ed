"""Density ratios by least squares, plain and relative."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import LinAlgError

from skltransfer._parameters import Either, ListOf, Number
from skltransfer._solvers._ulsif import (
    draw_pairs,
    leave_one_out_errors,
    second_moments,
    solve_ulsif,
)
from skltransfer.instance._kernel_ratio import (
    POSITIVE,
    KernelRatioReweighter,
    best_candidate,
)

# Candidates of the ridge where the data decide.
REGULARIZATIONS = (0.001, 0.01, 0.1, 1.0, 10.0)


class ULSIFReweighter(KernelRatioReweighter):
    r"""Weigh source samples by uLSIF's or RuLSIF's density ratio, and fit an estimator with them.

    The ratio of densities is a sum of Gaussian kernels on target samples,
    :math:`r(x) = \sum_l \theta_l \exp(-\gamma |x - c_l|^2)`, fitted to the true ratio by least
    squares in closed form. With ``alpha=0`` this is uLSIF [1]_. With ``alpha > 0`` it is RuLSIF
    [2]_: the ratio of the target density to the *mixture* of ``alpha`` parts of the target and
    ``1 - alpha`` parts of the source, which never exceeds ``1 / alpha``:

    .. math::

        \theta = \max(0, (H + \lambda I)^{-1} h), \quad
        H = (1 - \alpha) \, \tfrac1n \sum_i k(x_i) k(x_i)^\top
        + \alpha \, \tfrac1m \sum_j k(t_j) k(t_j)^\top, \quad
        h = \tfrac1m \sum_j k(t_j)

    with the kernels :math:`k(x)` of a sample on the centres. It corrects *covariate shift*: the
    samples are distributed differently in the two domains, and labels depend on the features in the
    same way.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier or regressor whose ``fit`` takes ``sample_weight``, or a pipeline that ends in
        one. It is cloned before it is fitted. With ``None`` only the weights are computed.
    alpha : float, default=0.0
        Part of the target in the denominator, from 0 to below 1. Values from 0.1 to 0.5 bound the
        weights and keep more samples in use.
    gamma : {"cv", "median"}, float or list of float, default="cv"
        Width of the kernel. A larger value is a narrower kernel. ``"median"`` is ``1 / (2 median)``
        of the squared distances of the samples of both domains to the centres. From a list, the
        value with the smallest error on left-out samples is chosen. ``"cv"`` is the list of 0.1,
        0.3, 1, 3 and 10 times the median's value.
    regularization : "cv", float or list of float, default="cv"
        Ridge penalty (:math:`\lambda`), greater than 0. A list is searched together with `gamma`.
        ``"cv"`` is the list of 0.001, 0.01, 0.1, 1 and 10.
    n_centers : int, default=100
        Number of kernels. They lie on as many distinct target samples, drawn at random, or on all
        of them if there are fewer.
    target_weight : float or "balanced", default=1.0
        Weight in the fit of each target sample with a known label, where source samples weigh 1 on
        average. ``"balanced"`` gives both domains the same sum of weights, and keeps the sum over
        both. With few labels beside a large source, no other setting matters as much.
    random_state : int, RandomState instance or None, default=0
        Seed of the centres, and of the pairs of a source and a target sample that are left out
        together.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source samples: the `sample_weight` given to `fit` (or ones), multiplied by
        the ratio and scaled back to the same sum.
    effective_sample_size_ : float
        Number of equally weighted samples that the weighted source is worth,
        ``sum(w)^2 / sum(w^2)``. A sample with a `sample_weight` of 2 counts once.
    gamma_ : float
        Width of the kernel. This and the attributes up to `objective_` are set if target samples
        are given.
    regularization_ : float
        Ridge penalty.
    gammas_ : ndarray of shape (n_gammas,)
        Candidates of `gamma`.
    regularizations_ : ndarray of shape (n_regularizations,)
        Candidates of `regularization`.
    scores_ : ndarray of shape (n_gammas, n_regularizations)
        Negative squared error on left-out samples, up to a constant; larger is better. ``nan`` for
        a single candidate, and if a domain has only one sample. In the latter case the middle
        candidates are taken.
    centers_ : {ndarray, CSR array} of shape (n_centers, n_features)
        Target samples that the kernels lie on.
    coef_ : ndarray of shape (n_centers,)
        Coefficients of the kernels, at least 0.
    objective_ : float
        Squared error on the samples, without the ridge penalty and up to a constant.
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
    KernelWidthWarning
        If the kernel is nearly constant over the samples, or an identity.

    See Also
    --------
    KLIEPReweighter : The likelihood in place of least squares.
    KMMReweighter : Weights without a density ratio.
    WithTarget : Holds the target samples.

    Notes
    -----
    If `gamma` or `regularization` is searched, a source sample and a target sample, paired at
    random, are left out together, and the exact solution without them is judged on them [1]_. A
    source sample of weight 2 is two units, which are left out one by one like two equal samples. A
    weight below 1, or the fraction of a larger weight, is left out as a whole.

    The result does not depend on the order of the source or target samples. The ratio is cut off at
    ``1 / alpha``, which the true ratio never exceeds. Scale the features first, because the kernel
    weighs all of them alike. Sparse matrices and arrays are accepted.

    *Time and memory.* The kernel is computed between all samples and the centres. Both time and
    memory grow like the number of samples times `n_centers`; with 100 000 samples in each domain
    the kernel matrices take some 600 MB. Time is also proportional to the number of candidates for
    `gamma`; those for `regularization` cost little.

    References
    ----------
    .. [1] T. Kanamori, S. Hido, M. Sugiyama, "A Least-squares Approach to Direct Importance
       Estimation", Journal of Machine Learning Research 10, 2009, section 3.
    .. [2] M. Yamada, T. Suzuki, T. Kanamori, H. Hachiya, M. Sugiyama, "Relative Density-Ratio
       Estimation for Robust Distribution Comparison", Neural Computation 25, 2013, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import ULSIFReweighter
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 1)), rng.normal(1.0, 0.5, size=(100, 1))
    >>> ulsif = ULSIFReweighter().fit(X, X_target=X_target)
    >>> weighted_mean = np.average(X, axis=0, weights=ulsif.sample_weight_)
    >>> bool(abs(weighted_mean - X_target.mean(axis=0)) < 0.2)
    True
    >>> ulsif.density_ratio([[1.0], [-1.0]]).round()
    array([3., 0.])

    Relative weights are bounded:

    >>> relative = ULSIFReweighter(alpha=0.5).fit(X, X_target=X_target)
    >>> bool(relative.density_ratio(X).max() <= 2)
    True

    Around a classifier, with the target samples in the keyword:

    >>> from sklearn.linear_model import LogisticRegression
    >>> y = (X[:, 0] > 1).astype(int)
    >>> model = ULSIFReweighter(LogisticRegression()).fit(X, y, X_target=X_target)
    >>> model.predict([[0.5], [1.5]])
    array([0, 1])
    """

    _parameters = {
        "alpha": Number(0, 1, high_open=True),
        "regularization": Either(POSITIVE, ListOf(POSITIVE), unset=("cv",)),
    }

    def __init__(
        self,
        estimator=None,
        *,
        alpha: float = 0.0,
        gamma: str | float | Sequence[float] = "cv",
        regularization: str | float | Sequence[float] = "cv",
        n_centers: int = 100,
        target_weight: float | str = 1.0,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.estimator = estimator
        self.alpha = alpha
        self.gamma = gamma
        self.regularization = regularization
        self.n_centers = n_centers
        self.target_weight = target_weight
        self.random_state = random_state

    def _fit_coefficients(self, distances, rng):
        given = REGULARIZATIONS if isinstance(self.regularization, str) else self.regularization
        self.regularizations_ = np.atleast_1d(np.asarray(given, dtype=np.float64))
        weights = distances.weights
        target_weights = distances.target_weights
        of_rows = np.ones(len(distances.target)) if target_weights is None else target_weights
        pairs = draw_pairs(weights, of_rows, rng)
        self.scores_ = np.full((len(self.gammas_), len(self.regularizations_)), np.nan)
        if self.scores_.size > 1 and len(pairs.source) > 1:
            for k, gamma in enumerate(self.gammas_):
                S, T = np.exp(-gamma * distances.source), np.exp(-gamma * distances.target)
                self.scores_[k] = -leave_one_out_errors(
                    S,
                    T,
                    second_moments(S, weights),
                    second_moments(T, target_weights) if self.alpha > 0 else None,
                    np.average(T, axis=0, weights=target_weights),
                    weights.sum(),
                    pairs,
                    self.alpha,
                    self.regularizations_,
                )
        best_gamma, best_reg = best_candidate(self.scores_, self.gammas_, self.regularizations_)
        self.gamma_ = float(self.gammas_[best_gamma])
        self.regularization_ = float(self.regularizations_[best_reg])
        S, T = np.exp(-self.gamma_ * distances.source), np.exp(-self.gamma_ * distances.target)
        H = (1 - self.alpha) * second_moments(S, weights)
        h = np.average(T, axis=0, weights=target_weights)
        if self.alpha > 0:
            H += self.alpha * second_moments(T, target_weights)
        try:
            self.coef_ = solve_ulsif(H, h, self.regularization_)
        except LinAlgError:
            raise ValueError(
                f"regularization={self.regularization_:.1e} is too small. The kernels on the "
                "centres are nearly linearly dependent. Raise it, or choose a larger gamma."
            ) from None
        self.objective_ = float(0.5 * self.coef_ @ H @ self.coef_ - h @ self.coef_)

    def _of_distances(self, distances):
        ratio = np.exp(-self.gamma_ * distances) @ self.coef_
        return np.minimum(ratio, 1 / self.alpha) if self.alpha > 0 else ratio
