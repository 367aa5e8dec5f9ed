"""Maximum mean discrepancy: how far two samples are apart, in the means of a kernel."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist

from skltransfer._solvers._kernels import Kernel, KernelRows, scale_gamma

# Rows whose pairs make up the median distance.
_MEDIAN_ROWS = 1000


def squared_mmd(X, T, gamma: float, *, unbiased: bool = True) -> float:
    """Return the squared maximum mean discrepancy of two samples, with the rbf kernel.

    Gretton et al. 2012: the V-statistic (equation 5), at least 0, or the unbiased U-statistic
    (equation 3), which leaves out pairs of a row with itself and lies around 0, on either side,
    where the distributions are equal. Memory is O(n + m): the kernel is summed in tiles, in
    float64.

    Parameters
    ----------
    X, T : ndarray of shape (n, n_features), (m, n_features), float64
        The U-statistic needs at least two rows of each.
    gamma : float
        The kernel is ``exp(-gamma |x - t|^2)``.
    unbiased : bool, default=True
    """
    kernel = Kernel("rbf", gamma)
    rows, target_rows = KernelRows(kernel, X), KernelRows(kernel, T)
    within = [_mean_within(r, A, unbiased) for r, A in ((rows, X), (target_rows, T))]
    value = within[0] + within[1] - 2 * rows.mean(T).mean()
    return float(value if unbiased else max(value, 0.0))  # rounding may take it below 0


def _mean_within(rows: KernelRows, X, unbiased: bool) -> float:
    n = len(X)
    mean = rows.mean(X).mean()
    return (n * mean - 1) / (n - 1) if unbiased else mean  # k(x, x) = 1


def median_gamma(X, T) -> float:
    """Return 1 / the median squared distance between stacked rows (of at most 1000, even spaced).

    Where more than half of the distances are 0, scikit-learn's ``"scale"`` steps in.
    """
    stacked = np.concatenate([X, T])
    if len(stacked) > _MEDIAN_ROWS:
        stacked = stacked[np.linspace(0, len(stacked) - 1, _MEDIAN_ROWS).astype(np.intp)]
    distances = pdist(stacked, "sqeuclidean")
    median = np.median(distances) if len(distances) else 0.0
    return float(1 / median) if median > 0 else scale_gamma(X, np.ones(len(X)), T)
