"""Kernel sums in logarithms, and the bandwidth that makes left-out rows likeliest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.neighbors import KDTree

from skltransfer._blas import one_blas_thread
from skltransfer._solvers._kernels import Kernel, KernelMatrix

# Kernel values at a time: few enough for the cache.
_BLOCK_SIZE = 2**15
# Up to so many columns a tree is faster than all distances, for a kernel of finite width.
_TREE_FEATURES = 15
# Means below these may have lost values to underflow, in float64 and in float32.
_SMALLEST_MEANS = (1e-280, 1e-30)
# Rows whose relative error may be larger in float32 are summed in float64.
_LARGEST_FLOAT32_ERROR = 1e-3
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
def log_kernel_mean(
    rows, samples, counts, bandwidth: float, kernel: str, algorithm: str = "brute"
) -> tuple[np.ndarray, float]:
    """Return the logarithm of ``sum_i counts_i K(|x - s_i| / h) / sum_i counts_i``.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
    samples : ndarray of shape (n_samples, n_features)
    counts : ndarray of shape (n_samples,)
    bandwidth : float
    kernel : str
        A key of `LOG_KERNELS`.
    algorithm : {"kd_tree", "products", "float32", "brute"}, default="brute"
        One of those that :func:`algorithms_for` returns.

    Returns
    -------
    log_mean : ndarray of shape (n,)
        ``-inf`` where no sample is near.
    error : float
        Bound on the relative rounding error of a mean, where it is more than that of float64.
    """
    scaled, scaled_samples = rows / bandwidth, samples / bandwidth
    if algorithm == "kd_tree":
        return _by_tree(scaled, scaled_samples, counts, LOG_KERNELS[kernel]), 0.0
    if algorithm == "brute":
        return _by_all_pairs(scaled, scaled_samples, counts, LOG_KERNELS[kernel]), 0.0
    return _by_products(scaled, scaled_samples, counts, algorithm == "float32")


def algorithms_for(kernel: str, n_features: int) -> tuple[str, str]:
    """Return the algorithm that suits a kernel, and the one for many pairs of rows.

    A tree leaves out the samples that a kernel of finite width does not reach. It helps the others
    little, whose values at all samples matter.
    """
    if kernel == "gaussian":
        return "products", "float32"
    suits_tree = kernel not in UNBOUNDED_KERNELS and n_features <= _TREE_FEATURES
    return ("kd_tree",) * 2 if suits_tree else ("brute",) * 2


def _by_all_pairs(rows, samples, counts, log_kernel) -> np.ndarray:
    log_mean = np.empty(len(rows))
    for block in _blocks(len(rows), len(samples)):
        squared = cdist(rows[block], samples, "sqeuclidean")
        log_mean[block] = _log_sum(log_kernel(squared), counts)
    return log_mean - np.log(counts.sum())


def _by_tree(rows, samples, counts, log_kernel) -> np.ndarray:
    """Sum over the samples at a distance of less than 1."""
    tree, sums = KDTree(samples), np.empty(len(rows))
    for block in _blocks(len(rows), len(samples), 2**5 * _BLOCK_SIZE):
        near, distances = tree.query_radius(rows[block], 1.0, return_distance=True)
        owner = np.repeat(np.arange(len(near)), [len(each) for each in near])
        values = np.exp(log_kernel(np.concatenate(distances) ** 2))
        values *= counts[np.concatenate(near)]
        sums[block] = np.bincount(owner, weights=values, minlength=len(near))
    with np.errstate(divide="ignore"):
        return np.log(sums) - np.log(counts.sum())


def _by_products(rows, samples, counts, in_float32: bool) -> tuple[np.ndarray, float]:
    """Sum the gaussian kernel, whose exponents are matrix products.

    Rows that are too far from the samples for float32 are summed in float64, and those for which
    all values underflow in logarithms.
    """
    kernel = KernelMatrix(Kernel("rbf", gamma=0.5), rows)
    weights, error = None if (counts == 1).all() else counts, 0.0
    if in_float32 and np.isfinite(kernel.float32_error(samples)):
        mean, errors = kernel.mean_in_float32(samples, weights)
        left = (mean < _SMALLEST_MEANS[1]) | (errors > _LARGEST_FLOAT32_ERROR * mean)
        if not left.all():
            error = float((errors[~left] / mean[~left]).max())
    elif in_float32:
        return _by_products(rows, samples, counts, False)
    else:
        mean = kernel.mean(samples, weights)
        left = mean < _SMALLEST_MEANS[0]
    with np.errstate(divide="ignore"):
        log_mean = np.log(mean)
    if left.any() and in_float32:
        log_mean[left] = _by_products(rows[left], samples, counts, False)[0]
    elif left.any():
        log_mean[left] = _by_all_pairs(rows[left], samples, counts, LOG_KERNELS["gaussian"])
    return log_mean, error


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


def _blocks(n_rows: int, n_columns: int, block_size: int = _BLOCK_SIZE) -> Iterator[slice]:
    size = max(1, block_size // n_columns)
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
