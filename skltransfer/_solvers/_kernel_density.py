"""Kernel sums in logarithms, and the bandwidth that makes left-out rows likeliest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

from skltransfer._blas import one_blas_thread

# Kernel values at a time: few enough for the cache.
_BLOCK_SIZE = 2**15
# Rows that are left out in turn, at most.
_MOST_LEFT_OUT = 2000


def _compact(profile):
    """Return the logarithm of a kernel that is 0 from distance 1 on."""

    def log_kernel(squared):
        values = np.where(squared < 1, profile(np.minimum(squared, 1.0)), 0.0)
        with np.errstate(divide="ignore"):
            return np.log(values, out=values)

    return log_kernel


# log K of the squared distance in bandwidths, up to a constant; scikit-learn's kernels.
LOG_KERNELS = {
    "gaussian": lambda squared: -0.5 * squared,
    "tophat": _compact(np.ones_like),
    "epanechnikov": _compact(lambda squared: 1 - squared),
    "exponential": lambda squared: -np.sqrt(squared),
    "linear": _compact(lambda squared: 1 - np.sqrt(squared)),
    "cosine": _compact(lambda squared: np.cos(0.5 * np.pi * np.sqrt(squared))),
}
# Kernels that vanish nowhere, so that a lone row has a likelihood.
UNBOUNDED_KERNELS = ("gaussian", "exponential")


@one_blas_thread()
def log_kernel_mean(rows, samples, counts, bandwidth: float, kernel: str) -> np.ndarray:
    """Return the logarithm of ``sum_i counts_i K(|x - s_i| / h) / sum_i counts_i``.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
    samples : ndarray of shape (n_samples, n_features)
    counts : ndarray of shape (n_samples,)
    bandwidth : float
    kernel : str
        A key of `LOG_KERNELS`.

    Returns
    -------
    log_mean : ndarray of shape (n,)
        ``-inf`` where no sample is near.
    """
    log_mean = np.empty(len(rows))
    for block in _blocks(len(rows), len(samples)):
        squared = cdist(rows[block], samples, "sqeuclidean")
        squared /= bandwidth**2
        log_mean[block] = _log_sum(LOG_KERNELS[kernel](squared), counts)
    return log_mean - np.log(counts.sum())


@one_blas_thread()
def leave_one_out_log_likelihood(rows, counts, bandwidths, kernel: str) -> np.ndarray:
    """Return the mean log density of each row under the density of the others.

    Equal rows are left out together, because beside its own copy any row would be likeliest under
    a bandwidth of 0. If there are more than 2000 rows, 2000 of them are left out in turn, spread
    evenly.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Distinct rows, at least two, sorted.
    counts : ndarray of shape (n,)
        Weight of each row.
    bandwidths : ndarray of shape (n_bandwidths,)
    kernel : str
        One of `UNBOUNDED_KERNELS`.

    Returns
    -------
    mean_log_density : ndarray of shape (n_bandwidths,)
        Up to a constant that does not depend on the bandwidth.
    """
    log_kernel, total = LOG_KERNELS[kernel], counts.sum()
    n_left_out = min(len(rows), _MOST_LEFT_OUT)
    left_out = ((2 * np.arange(n_left_out) + 1) * len(rows)) // (2 * n_left_out)
    weight = counts[left_out].sum()
    result = -rows.shape[1] * np.log(bandwidths)
    for block in _blocks(n_left_out, len(rows)):
        index = left_out[block]
        squared = cdist(rows[index], rows, "sqeuclidean")
        squared[np.arange(len(index)), index] = np.inf  # its own
        for candidate, bandwidth in enumerate(bandwidths):
            log_sum = _log_sum(log_kernel(squared / bandwidth**2), counts)
            log_density = log_sum - np.log(total - counts[index])
            result[candidate] += counts[index] @ log_density / weight
    return result


def _blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    size = max(1, _BLOCK_SIZE // n_columns)
    for start in range(0, n_rows, size):
        yield slice(start, start + size)


def _log_sum(exponents, counts) -> np.ndarray:
    """Return ``log(exp(exponents) @ counts)`` and overwrite `exponents`."""
    largest = exponents.max(axis=1)
    offset = np.where(np.isfinite(largest), largest, 0.0)
    exponents -= offset[:, None]
    np.exp(exponents, out=exponents)
    with np.errstate(divide="ignore"):
        return np.log(exponents @ counts) + offset
