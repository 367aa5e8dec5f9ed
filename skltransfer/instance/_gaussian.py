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
    r"""Weigh source rows by the ratio of two Gaussian densities.

    A Gaussian is fitted to each domain, and a source row weighs

    .. math::

        w(x) = \frac{N(x; \mu_t, \Sigma_t)}{N(x; \mu_s, \Sigma_s)}

    It is the least wasteful estimate where both domains are nearly Gaussian, and works with few
    rows. It corrects *covariate shift*: the rows are distributed differently in the two domains,
    while labels depend on rows in the same way.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier or regressor whose ``fit`` takes ``sample_weight``, or a pipeline that ends in
        one. It is cloned before it is fitted. ``None`` computes the weights only.
    covariance : {"full", "diag"}, default="full"
        ``"diag"`` takes the columns for independent: for few rows or many columns.
    shrinkage : "ledoit_wolf" or float from 0 to 1, default="ledoit_wolf"
        Each covariance ``S`` becomes ``(1 - shrinkage) S + shrinkage mean(diag S) I``, in scaled
        columns. ``"ledoit_wolf"`` takes the optimal intensity of [1]_, one for each domain. 0 is
        the maximum likelihood estimate.
    reg_covar : float, default=1e-6
        Added to the variances of the scaled columns, so that no covariance is singular.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source rows, times the `sample_weight` given to `fit`, and of the same sum.
    effective_sample_size_ : float
        ``sum(w)^2 / sum(w^2)``: how many equally weighted rows the source is worth. A row of
        `sample_weight` 2 counts as one row here.
    source_mean_ : ndarray of shape (n_features,)
        Mean of the source's Gaussian, in the units of ``X``.
    target_mean_ : ndarray of shape (n_features,)
        That of the target's.
    source_covariance_ : ndarray of shape (n_features, n_features)
        Covariance of the source's Gaussian after shrinkage, in the units of ``X``.
    target_covariance_ : ndarray of shape (n_features, n_features)
        That of the target's.
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
        If a few rows have nearly all of the weight.
    DomainDataWarning
        If no target rows are given.

    See Also
    --------
    DiscriminativeReweighter : Learns the ratio of such densities, with fewer assumptions.
    KernelDensityReweighter : Ratio of densities of any form.
    KMMReweighter : Bounds the weights.

    Notes
    -----
    Columns are divided by the root of the mean of the two domains' variances before the
    covariances are shrunk, so that their units do not matter. Where the target is wider than the
    source the true ratio grows without bound, and so do the weights. They are computed in
    logarithms: weights are finite whatever the distance of the domains, and `density_ratio`
    ends at ``exp(700)``.

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
        self, estimator=None, *, covariance="full", shrinkage="ledoit_wolf", reg_covar=1e-6
    ):
        self.estimator = estimator
        self.covariance = covariance
        self.shrinkage = shrinkage
        self.reg_covar = reg_covar

    def _fit_ratio(self, rows, weights, target_rows):
        rows, counts, group = counted_rows(rows, weights)
        target_rows, target_counts, _ = counted_rows(target_rows)
        self._center, self._scale = within_scale(rows, counts, target_rows, target_counts)
        self._source = self._mean_and_factor(rows, counts)
        self._target = self._mean_and_factor(target_rows, target_counts)
        self.source_mean_, self.source_covariance_ = self._in_units_of_X(*self._source)
        self.target_mean_, self.target_covariance_ = self._in_units_of_X(*self._target)
        return relative_exp(self._log_ratio(rows))[group]

    def _mean_and_factor(self, rows, counts) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of scaled rows and the lower Cholesky factor of their covariance."""
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
    """Return the covariance of centred rows, shrunk towards a multiple of the identity.

    Parameters
    ----------
    centered : ndarray of shape (n, n_features)
    counts : ndarray of shape (n,)
        How often each row counts.
    shrinkage : "ledoit_wolf" or float
        Ledoit and Wolf's intensity is that of the entries that are estimated.
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
