"""The nearest row, for every row of another array."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from skltransfer._blas import one_blas_thread, threads_for_product

# Up to so many pairs of rows, all distances are computed in float64 at once.
_FEW_PAIRS = 2**22
# Trees save distances up to so many columns.
_TREE_COLUMNS = 5
# Rows of a tile of float32, which fits into the cache: of `rows`, and of `among`.
_TILE = 256, 1024


def nearest_rows(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the position of the row of `among` that is nearest to each row, the first of equal.

    Parameters
    ----------
    rows : ndarray of shape (n, n_columns)
    among : ndarray of shape (m, n_columns)

    Returns
    -------
    positions : ndarray of shape (n,)
    """
    if len(rows) * len(among) <= _FEW_PAIRS:
        with threads_for_product(len(rows), len(among), rows.shape[1]):
            products = rows @ among.T
        return (_half_squares(among) - products).argmin(axis=1)
    different, first = np.unique(among, axis=0, return_index=True)
    if rows.shape[1] <= _TREE_COLUMNS:
        return first[cKDTree(different).query(rows)[1]]
    return first[_nearest_by_tiles(rows, different)]


def _half_squares(rows) -> np.ndarray:
    return 0.5 * np.einsum("ij,ij->i", rows, rows)


@one_blas_thread()
def _nearest_by_tiles(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the same from distances in float32, those that may be the least again in float64.

    Of ``|x - y|^2 / 2``, ``h(y) - x'y`` depends on y. In float32 it is a sum of d + 1 products,
    whose rounding, and that of the entries, is at most (d + 8) eps times the sum of their sizes. A
    tile whose least value lies within twice that of the least of all is looked at again.
    """
    (height, width), d = _TILE, rows.shape[1]
    center = among.mean(axis=0)
    scale = np.abs(among - center).max() or 1.0
    rows, among = (rows - center) / scale, (among - center) / scale
    halves = _half_squares(among)
    left = np.hstack([-rows, np.ones((len(rows), 1))]).astype(np.float32)
    right = np.hstack([among, halves[:, None]]).astype(np.float32).T.copy()
    sizes = halves.max() + np.sqrt(2 * halves.max()) * np.sqrt(2 * _half_squares(rows))
    margins = 2 * (d + 8) * 2.0**-24 * sizes
    tiles = [slice(j, min(j + width, len(among))) for j in range(0, len(among), width)]
    positions = np.empty(len(rows), dtype=np.intp)
    for i in range(0, len(rows), height):
        block = slice(i, min(i + height, len(rows)))
        least = np.column_stack([(left[block] @ right[:, tile]).min(axis=1) for tile in tiles])
        may_be = least <= (least.min(axis=1) + margins[block])[:, None]
        best = np.full(len(least), np.inf)
        for tile, candidates in zip(tiles, may_be.T, strict=True):
            which = np.flatnonzero(candidates)
            if len(which):
                values = halves[tile] - rows[i + which] @ among[tile].T
                nearest = values.argmin(axis=1)
                values = values[np.arange(len(which)), nearest]
                better = values < best[which]
                best[which[better]] = values[better]
                positions[i + which[better]] = tile.start + nearest[better]
    return positions
