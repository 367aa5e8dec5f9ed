"""Ratio of two Gaussian densities."""

from __future__ import annotations

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from skltransfer._parameters import Choice, Number
from skltransfer.instance._density_ratio import (
    DensityRatioReweighter,
    finite_exp,
    relative_exp,
    within_scale,
)
from skltransfer.instance._rows import counted_rows


class GaussianReweighter(DensityRatioReweighter):
    r"""Weigh source samples by the ratio of two Gaussian densities.

    A Gaussian is fitted to each domain, and a source sample weighs

    .. math::

        w(x) = \frac{N(x; \mu_t, \Sigma_t)}{N(x; \mu_s, \Sigma_s)}

    This estimate has the smallest variance if both domains are nearly Gaussian, and works with few
    samples. It corrects *covariate shift*: the samples are distributed differently in the two
    domains, and labels depend on the features in the same way.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier or regressor whose ``fit`` takes ``sample_weight``, or a pipeline that ends in
        one. It is cloned before it is fitted. With ``None`` only the weights are computed.
    covariance : {"full", "diag"}, default="full"
        Form of the covariance matrices. ``"diag"`` takes the features to be independent, which
        suits few samples or many features.
    shrinkage : "ledoit_wolf" or float from 0 to 1, default="ledoit_wolf"
        Shrinkage intensity. Each covariance ``S`` of the scaled features becomes ``(1 - shrinkage)
        S + shrinkage mean(diag S) I``. ``"ledoit_wolf"`` estimates the optimal intensity of [1]_
        for each domain. 0 gives the maximum likelihood estimate.
    reg_covar : float, default=1e-6
        Value added to the variances of the scaled features, greater than 0, so that no covariance
        is singular.
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
        Number of equally weighted samples that the weighted source is worth, ``sum(w)^2 /
        sum(w^2)``. A sample with a `sample_weight` of 2 counts once.
    source_mean_ : ndarray of shape (n_features,)
        Mean of the source Gaussian, in the units of ``X``. Set if target samples are given, as are
        the next three.
    target_mean_ : ndarray of shape (n_features,)
        Mean of the target Gaussian, in the units of ``X``.
    source_covariance_ : ndarray of shape (n_features, n_features)
        Covariance of the source Gaussian after shrinkage, in the units of ``X``.
    target_covariance_ : ndarray of shape (n_features, n_features)
        Covariance of the target Gaussian after shrinkage, in the units of ``X``.
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
    DiscriminativeReweighter : Estimates the ratio by a classifier, with weaker assumptions.
    KernelDensityReweighter : Ratio of densities of any form.
    KMMReweighter : Weights with an upper bound.

    Notes
    -----
    Features are divided by the root of the mean of the variances of the two domains before the
    covariances are shrunk, so that their units do not matter. If the target is wider than the
    source, the true ratio grows without bound, and the weights grow with it. The weights are
    computed in logarithms. They are finite however far apart the domains are, and `density_ratio`
    is cut off at ``exp(700)``.

    Time grows like ``n d ** 2`` for ``n`` samples of ``d`` features, memory like ``n d``.

    References
    ----------
    .. [1] O. Ledoit, M. Wolf, "A Well-Conditioned Estimator for Large-Dimensional Covariance
       Matrices", Journal of Multivariate Analysis 88, 2004.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import GaussianReweighter
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 1)), rng.normal(1.0, 0.5, size=(100, 1))
    >>> gaussian = GaussianReweighter().fit(X, X_target=X_target)
    >>> weighted_mean = np.average(X, axis=0, weights=gaussian.sample_weight_)
    >>> bool(abs(weighted_mean - X_target.mean(axis=0)) < 0.1)
    True
    """

    _parameters = {
        "covariance": Choice("full", "diag"),
        "shrinkage": Number(0, 1, unset=("ledoit_wolf",)),
        "reg_covar": Number(0, low_open=True),
    }

    def __init__(
        self,
        estimator=None,
        *,
        covariance: str = "full",
        shrinkage: str | float = "ledoit_wolf",
        reg_covar: float = 1e-6,
        target_weight: float | str = 1.0,
    ):
        self.estimator = estimator
        self.covariance = covariance
        self.shrinkage = shrinkage
        self.reg_covar = reg_covar
        self.target_weight = target_weight

    def _fit_ratio(self, rows, weights, target_rows, target_weights):
        rows, counts, group = counted_rows(rows, weights)
        target_rows, target_counts, _ = counted_rows(target_rows, target_weights)
        self._center, self._scale = within_scale(rows, counts, target_rows, target_counts)
        self._source = self._mean_and_factor(rows, counts)
        self._target = self._mean_and_factor(target_rows, target_counts)
        self.source_mean_, self.source_covariance_ = self._in_units_of_X(*self._source)
        self.target_mean_, self.target_covariance_ = self._in_units_of_X(*self._target)
        return relative_exp(self._log_ratio(rows))[group]

    def _mean_and_factor(self, rows, counts) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of scaled samples and the lower Cholesky factor of their covariance."""
        rows = self._scaled(rows)
        mean = np.average(rows, axis=0, weights=counts)
        covariance = shrunk_covariance(
            rows - mean, counts, self.shrinkage, is_diagonal=self.covariance == "diag"
        )
        covariance[np.diag_indices_from(covariance)] += self.reg_covar
        return mean, cholesky(covariance, lower=True)

    def _in_units_of_X(self, mean, factor) -> tuple[np.ndarray, np.ndarray]:
        covariance = (factor @ factor.T) * np.outer(self._scale, self._scale)
        return self._center + self._scale * mean, covariance

    def _remedy_of_no_overlap(self):
        return "Raise shrinkage or reg_covar."

    def _scaled(self, rows):
        return (rows - self._center) / self._scale

    def _log_ratio(self, rows):
        scaled = self._scaled(rows)
        return log_gaussian(scaled, *self._target) - log_gaussian(scaled, *self._source)

    def _ratio(self, rows):
        return finite_exp(self._log_ratio(rows))


def log_gaussian(rows, mean, factor) -> np.ndarray:
    """Return the logarithm of a Gaussian density without its factor of ``2 pi``, shape (n,).

    `factor` is the lower Cholesky factor of the covariance.
    """
    whitened = solve_triangular(factor, (rows - mean).T, lower=True)
    return -0.5 * (whitened**2).sum(axis=0) - np.log(np.diag(factor)).sum()


def shrunk_covariance(centered, counts, shrinkage, *, is_diagonal: bool) -> np.ndarray:
    """Return the covariance of centred samples, shrunk towards a multiple of the identity.

    Parameters
    ----------
    centered : ndarray of shape (n, n_features)
    counts : ndarray of shape (n,)
        Weight of each sample.
    shrinkage : "ledoit_wolf" or float
        Intensity. ``"ledoit_wolf"`` is estimated from the entries in use.
    is_diagonal : bool
        Whether only the variances are.

    Returns
    -------
    covariance : ndarray of shape (n_features, n_features)
    """
    n = counts.sum()
    S = (centered.T * counts) @ centered / n
    if is_diagonal:
        S = np.diag(np.diag(S))
    target = np.eye(len(S)) * np.trace(S) / len(S)
    if shrinkage == "ledoit_wolf":
        squares = centered**2
        fourth = (squares**2).sum(axis=1) if is_diagonal else squares.sum(axis=1) ** 2
        noise = (counts @ fourth / n - (S**2).sum()) / n  # variance of S, summed over entries
        distance = ((S - target) ** 2).sum()
        shrinkage = min(max(noise / distance, 0.0), 1.0) if distance > 0 else 0.0
    return (1 - shrinkage) * S + shrinkage * target
