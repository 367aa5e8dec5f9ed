"""Squared distances of sparse rows, as precise as those of dense ones."""

from __future__ import annotations

import numpy as np
from scipy import sparse

# Where a squared distance is a smaller part of the squared norms, rounding hides its last digits.
_SMALLEST_PART = 0.01
# Pairs of rows that are subtracted at a time.
_BLOCK_PAIRS = 4096


def sparse_squared_distances(A, B) -> np.ndarray:
    """Return ``|a_i - b_j|^2``, from products of the rows, or from differences of near rows.

    Parameters
    ----------
    A, B : {CSR array, ndarray} of shape (n, n_features) and (m, n_features)

    Returns
    -------
    distances : ndarray of shape (n, m)
    """
    A, B = sparse.csr_array(A), sparse.csr_array(B)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = [np.asarray(rows.multiply(rows).sum(axis=1)).ravel() for rows in (A, B)]
        sums = norms[0][:, None] + norms[1]
        distances = (A @ B.T).toarray()
        distances *= -2.0
        distances += sums
        near_rows, near_columns = np.nonzero(~(distances >= _SMALLEST_PART * sums))
        for start in range(0, len(near_rows), _BLOCK_PAIRS):
            block = slice(start, start + _BLOCK_PAIRS)
            i, j = near_rows[block], near_columns[block]
            difference = A[i] - B[j]
            distances[i, j] = np.asarray(difference.multiply(difference).sum(axis=1)).ravel()
    return distances


def dense_order(rows: sparse.csr_array) -> np.ndarray:
    """Return the order that ``np.lexsort`` would give the same rows in dense form.

    Parameters
    ----------
    rows : CSR array of shape (n, n_features)
        Without zeros and duplicates among the entries, sorted in each row.

    Returns
    -------
    order : ndarray of shape (n,)
        Equal rows stay in their order.
    """
    # Bytes that compare as dense rows do. At the first column where two rows differ, a positive
    # entry is larger and a negative one smaller than the other row's zero, or later entry.
    columns = rows.indices.astype(np.uint64)
    bits = rows.data.astype(np.float64).view(np.uint64)
    is_negative = rows.data < 0
    keys = np.empty((len(columns), 2), dtype=">u8")
    keys[:, 0] = np.where(is_negative, columns, np.uint64(2**63) - columns)
    keys[:, 1] = np.where(is_negative, ~bits, bits | np.uint64(2**63))
    end = np.array(2**62, dtype=">u8").tobytes()
    ends = rows.indptr
    of_rows = [keys[i:j].tobytes() + end for i, j in zip(ends[:-1], ends[1:], strict=True)]
    return np.array(sorted(range(len(of_rows)), key=of_rows.__getitem__), dtype=np.intp)
