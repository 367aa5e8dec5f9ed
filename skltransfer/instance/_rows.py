"""Rows in an order of their own, so that the order in which they were given does not matter."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from skltransfer._solvers._distances import dense_order


def distinct_rows(rows) -> tuple[np.ndarray, np.ndarray]:
    """Sort rows and merge equal ones.

    Parameters
    ----------
    rows : ndarray or CSR array of shape (n_rows, n_features), float64

    Returns
    -------
    distinct : ndarray or CSR array of shape (n_distinct, n_features)
    group : ndarray of shape (n_rows,)
        Index of each row in `distinct`.
    """
    rows, order, starts = _ordered(rows)
    group = np.empty(rows.shape[0], dtype=np.intp)
    group[order] = np.cumsum(starts) - 1
    return rows[order[starts]], group


def counted_rows(rows, weights=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort rows, merge equal ones, and add up their weights (1 where none are given).

    Returns
    -------
    distinct : ndarray or CSR array of shape (n_distinct, n_features)
        In lexicographic order, sparse rows too.
    counts : ndarray of shape (n_distinct,), float64
    group : ndarray of shape (n_rows,)
        Index of each row in `distinct`.
    """
    distinct, group = distinct_rows(rows)
    if sparse.issparse(distinct):
        order = dense_order(distinct)
        distinct, group = distinct[order], np.argsort(order)[group]
    if weights is not None:
        # Rounding depends on the order of a sum.
        order = np.lexsort((weights, group))
        counts = np.bincount(group[order], weights=weights[order])
    else:
        counts = np.bincount(group).astype(np.float64)
    return distinct, counts, group


def in_one_form(*parts) -> list:
    """Return rows as CSR arrays if any of the parts is sparse, else as they are."""
    if any(map(sparse.issparse, parts)):
        return [sparse.csr_array(rows) for rows in parts]
    return list(parts)


def lexicographic_order(rows) -> np.ndarray:
    """Return the order of rows by their first feature, then the second and so on, shape (n,).

    Parameters
    ----------
    rows : ndarray or CSR array of shape (n, n_features), float64
    """
    if sparse.issparse(rows):
        return dense_order(_canonical(rows)[0])
    return np.lexsort(rows.T[::-1])


def sorted_rows(rows):
    """Return all rows in the order of `distinct_rows`: for dense rows the lexicographic one."""
    rows, order, _ = _ordered(rows)
    return rows[order]


def row_groups(X) -> np.ndarray:
    """Give each distinct row, of anything that holds rows, a number.

    Parameters
    ----------
    X : array-like, sparse matrix, data frame or list of objects

    Returns
    -------
    group : ndarray of shape (n_rows,), int
        Equal rows have equal numbers. The order of the numbers does not depend on the order of
        the rows.
    """
    if sparse.issparse(X):
        _, keys = _canonical(sparse.csr_array(X))
    else:
        values = np.asarray(X)
        if values.dtype.kind in "biuf":
            values = values.reshape(len(values), -1).astype(np.float64) + 0.0  # -0.0 is 0.0
            values[np.isnan(values)] = np.nan  # of one bit pattern
            keys = [row.tobytes() for row in values]
        else:
            keys = [repr(row.tolist() if isinstance(row, np.ndarray) else row) for row in values]
    numbers = {key: number for number, key in enumerate(sorted(set(keys)))}
    return np.fromiter((numbers[key] for key in keys), dtype=np.intp, count=len(keys))


def _ordered(rows):
    """Return the rows in one form, their order, and where in it a row differs from the last."""
    starts = np.ones(rows.shape[0], dtype=bool)
    if sparse.issparse(rows):
        rows, keys = _canonical(rows)
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.intp)
        starts[1:] = [keys[i] != keys[j] for i, j in zip(order[1:], order[:-1], strict=True)]
        return rows, order, starts
    order = np.argsort(rows[:, 0], kind="stable")
    ordered = rows[order]
    if (ordered[1:, 0] == ordered[:-1, 0]).any():  # else one column decides
        order = np.lexsort(rows.T[::-1])
        ordered = rows[order]
        starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return rows, order, starts


def _canonical(rows) -> tuple[sparse.csr_array, list[tuple[bytes, bytes]]]:
    """Return sparse rows stored in the one canonical way, and a key of each: equal for equal rows.

    Entries are in order, each once, without zeros.
    """
    rows = rows.tocsr(copy=True)  # the caller's entries stay as they are
    rows.sum_duplicates()
    rows.eliminate_zeros()
    ends, indices, data = rows.indptr, rows.indices.astype(np.int64), rows.data.astype(np.float64)
    return rows, [
        (indices[i:j].tobytes(), data[i:j].tobytes())
        for i, j in zip(ends[:-1], ends[1:], strict=True)
    ]
