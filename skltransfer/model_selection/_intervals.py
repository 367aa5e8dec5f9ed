"""Intervals for a mean over draws or folds."""

from __future__ import annotations

import numpy as np
from scipy import stats


def mean_interval(values, *, test_to_train=0.0, confidence=0.95) -> tuple[float, float, float]:
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
    margin = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1) * error)
    return mean, mean - margin, mean + margin
