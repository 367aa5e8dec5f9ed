"""Principal axes of centred rows, from whichever product is smaller."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh, svd
from scipy.linalg.blas import dsyrk

# Sizes of entries of which sums of fourth powers neither overflow nor vanish.
_SAFE_SIZES = (1e-70, 1e70)


def centered_rows(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the rows, and the rows less their mean; a constant column becomes 0."""
    mean = X.mean(axis=0)
    mean += (X - mean).mean(axis=0)  # rounding of a sum of many large entries
    return mean, X - mean


def safe_unit(*sizes: float) -> float:
    """Return 1, or the largest of sizes that are too large or small for their powers."""
    largest = max(sizes)
    return 1.0 if largest == 0 or _SAFE_SIZES[0] < largest < _SAFE_SIZES[1] else float(largest)


def covariance_spectrum(centered, *, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors of the covariance of centred rows.

    Parameters
    ----------
    centered : ndarray of shape (n, d)
        Rows of mean zero, at least two. The covariance is that of ``n - 1``.
    exact : bool, default=False
        Whether small eigenvalues need all their digits: forming the covariance squares the
        condition number.

    Returns
    -------
    values : ndarray of shape (r,)
        In falling order, at least 0; r is the smaller one of ``n - 1`` and d. The other
        ``d - r`` eigenvalues are 0.
    vectors : ndarray of shape (d, r)
        Orthonormal columns.
    """
    n, d = centered.shape
    if n > d and not exact:
        # One triangle, and in Fortran's order: nothing is copied or computed twice.
        is_c = centered.flags.c_contiguous
        rows = centered.T if is_c else centered
        C = dsyrk(1 / (n - 1), rows, trans=not is_c, lower=True)
        values, vectors = eigh(C, driver="evd", overwrite_a=True, check_finite=False)
        return np.maximum(values[::-1], 0), vectors[:, ::-1]
    if n > d:
        centered = np.linalg.qr(centered, mode="r")  # the same singular values, d rows
    _, singular, axes = svd(centered, full_matrices=False, check_finite=False)
    r = min(n - 1, d)
    return singular[:r] ** 2 / (n - 1), axes[:r].T


def with_fixed_signs(vectors: np.ndarray) -> np.ndarray:
    """Return columns whose largest entry, by absolute value, is positive."""
    return vectors * signs_of_columns(vectors)


def signs_of_columns(vectors: np.ndarray) -> np.ndarray:
    """Return the sign of each column's largest entry by absolute value, shape (k,)."""
    largest = np.abs(vectors).argmax(axis=0)
    return np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)


def n_for_share(values: np.ndarray, share: float) -> int:
    """Return how many of the first eigenvalues have at least `share` of the sum of all."""
    total = values.sum()
    if total == 0:
        return 1
    return int(np.searchsorted(np.cumsum(values) / total, share * (1 - 1e-12)) + 1)
