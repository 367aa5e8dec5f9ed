"""Intervals for a mean over draws, folds or samples, and p-values of several comparisons."""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit  # a tenth of the time of scipy.stats


def mean_interval(
    values, *, test_to_train: float = 0.0, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean of scores or paired differences, and Student's t confidence interval.

    Folds of one data set share most of their training samples, so that their scores vary less than
    scores on fresh data; `test_to_train` corrects for it [1]_.

    Parameters
    ----------
    values : array-like of shape (n,)
        Scores, or differences of scores on the same draws. ``NaN`` is ignored.
    test_to_train : float, default=0
        Number of test samples divided by number of training samples, for folds of one data set.
        0 for separate draws.
    confidence : float, default=0.95
        Probability that the interval covers the mean.

    Returns
    -------
    mean, low, high : float
        Mean and bounds of the interval, which is infinite for a single value.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52,
       2003, section 3.

    Examples
    --------
    >>> from skltransfer.model_selection import mean_interval
    >>> mean, low, high = mean_interval([0.8, 0.9, 1.0])
    >>> round(mean, 3), round(low, 3), round(high, 3)
    (0.9, 0.652, 1.148)
    """
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if not len(values):
        return np.nan, np.nan, np.nan
    mean = float(values.mean())
    if len(values) == 1:
        return mean, -np.inf, np.inf
    error = np.sqrt(values.var(ddof=1) * (1 / len(values) + test_to_train))
    margin = float(stdtrit(len(values) - 1, (1 + confidence) / 2) * error)
    return mean, mean - margin, mean + margin


def row_interval(
    values, n_folds, *, step: float = 0.0, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return the mean over samples of one cross-validation, and its confidence interval.

    It is for scores that are means over samples, such as accuracy and log loss, and for paired
    differences of them: the spread over the samples tells more than the few numbers of the folds.
    The variance of the mean is ``s^2 / n * K / (K - 1)``, with the variance ``s^2`` over the `n`
    samples. The factor makes up for models that were fitted on ``1 - 1 / K`` of the samples and
    share them.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        Score of each sample when it was left out, or difference of two scores. With repeated
        cross-validation, the mean over the repetitions. ``NaN`` is ignored.
    n_folds : int
        Number of folds, at least 2.
    step : float, default=0
        Smallest distance of two values, if they are discrete: 1 for hits and for differences of
        hits. One more deviation of this size enters the variance, because samples that happen to
        agree would otherwise make an interval without width.
    confidence : float, default=0.95
        Probability that the interval covers the mean.

    Returns
    -------
    mean, low, high : float
        Mean and bounds of the interval, which is infinite for a single value.

    See Also
    --------
    mean_interval : From scores of folds or draws.

    Examples
    --------
    >>> from skltransfer.model_selection import row_interval
    >>> mean, low, high = row_interval([1, 1, 0, 1, 1, 0, 1, 1, 1, 1], n_folds=5)
    >>> round(mean, 3), round(low, 3), round(high, 3)
    (0.8, 0.463, 1.137)
    """
    if n_folds < 2:
        raise ValueError(f"n_folds={n_folds} is not at least 2.")
    values = np.asarray(values, dtype=float)
    n_values = max(int((~np.isnan(values)).sum()), 1)
    # The correction of `mean_interval` is added to 1 / n; here the sum is K / (K - 1) / n.
    correction = 1 / (n_values * (n_folds - 1))
    mean, low, high = mean_interval(values, test_to_train=correction, confidence=confidence)
    if step == 0 or not np.isfinite(high):
        return mean, low, high
    quantile = stdtrit(n_values - 1, (1 + confidence) / 2)
    added = step**2 / (n_values - 1) * (1 / n_values + correction)
    margin = float(np.hypot(high - mean, quantile * np.sqrt(added)))
    return mean, mean - margin, mean + margin


def holm(p_values) -> np.ndarray:
    """Adjust the p-values of several comparisons, so that all of them together may be believed.

    If each comparison with an adjusted value of at most 0.05 is called real, then at least one of
    them is not with a probability of at most 5 %, however they depend on each other [1]_.

    Parameters
    ----------
    p_values : array-like of shape (n,)
        ``NaN`` stands for a comparison that was not made.

    Returns
    -------
    adjusted : ndarray of shape (n,)

    References
    ----------
    .. [1] S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal
       of Statistics 6, 1979.

    Examples
    --------
    >>> from skltransfer.model_selection import holm
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p_values = np.asarray(p_values, dtype=float)
    adjusted = np.full(p_values.shape, np.nan)
    order = np.argsort(p_values)[: int((~np.isnan(p_values)).sum())]  # NaN comes last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1)
    return adjusted
