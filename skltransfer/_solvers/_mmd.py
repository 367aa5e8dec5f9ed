"""Maximum mean discrepancy with the rbf kernel: three estimates, and their null distributions.

Kernel values are computed tile by tile and added up, so that memory grows with the number of rows
alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.spatial.distance import cdist

from skltransfer._blas import threads_by
from skltransfer._solvers._kernels import loses_digits, rbf_factors

# Rows of a tile in both directions; a tile fits into the cache.
_TILE = 256, 256


class _Rows:
    """Rows of both samples, ready for tiles of their kernel.

    Parameters
    ----------
    X, T : ndarray of shape (n, n_features) and (m, n_features), float64
    gamma : float
    """

    def __init__(self, X: np.ndarray, T: np.ndarray, gamma: float):
        self.gamma, self.n, self.m = gamma, len(X), len(T)
        # No origin matters to the kernel, and near it products lose the fewest digits.
        origin = (X.sum(axis=0) + T.sum(axis=0)) / (self.n + self.m)
        self.plain = np.concatenate([X - origin, T - origin])
        self.left = self.right = self.plain
        self._by_products = not loses_digits(self.plain, self.plain[:0], gamma)
        if self._by_products:
            self.left, self.right = rbf_factors(self.plain, gamma)

    def tile(self, rows: slice, columns: slice) -> np.ndarray:
        """Return the kernel between two ranges of the stacked rows."""
        if self._by_products:
            exponents = self.left[rows] @ self.right[columns].T
        else:
            exponents = -cdist(self.plain[rows], self.plain[columns], "sqeuclidean")
            exponents *= self.gamma
        return np.exp(exponents, out=exponents)

    def tiles(self, rows: range, columns: range) -> Iterator[tuple[slice, slice]]:
        """Yield the places of the tiles of a block, row by row."""
        height, width = _TILE
        for i in range(rows.start, rows.stop, height):
            for j in range(columns.start, columns.stop, width):
                yield (
                    slice(i, min(i + height, rows.stop)),
                    slice(j, min(j + width, columns.stop)),
                )

    def triangle(self, rows: range) -> Iterator[tuple[slice, slice, int]]:
        """Yield tiles that cover a symmetric block, each with how often it occurs in the block."""
        height = _TILE[0]
        for i in range(rows.start, rows.stop, height):
            end = min(i + height, rows.stop)
            yield slice(i, end), slice(i, end), 1
            for place in self.tiles(range(i, end), range(end, rows.stop)):
                yield *place, 2

    @property
    def source(self) -> range:
        return range(self.n)

    @property
    def target(self) -> range:
        return range(self.n, self.n + self.m)


@threads_by(lambda X, *_, **__: X.shape[1] * _TILE[0])
def squared_mmd(X, T, gamma: float, *, unbiased: bool = True) -> float:
    """Return the squared maximum mean discrepancy of two samples, with the rbf kernel.

    It is the V-statistic of Gretton et al. 2012 (equation 5), at least 0, or the unbiased
    U-statistic (equation 3). The U-statistic leaves out pairs of a row with itself, and lies around
    0, on either side, if the distributions are equal.

    Parameters
    ----------
    X, T : ndarray of shape (n, n_features), (m, n_features), float64
        The U-statistic needs at least two rows of each.
    gamma : float
        The kernel is ``exp(-gamma |x - t|^2)``.
    unbiased : bool, default=True
    """
    rows = _Rows(X, T, gamma)
    n, m = rows.n, rows.m
    within = [
        sum(count * rows.tile(i, j).sum() for i, j, count in rows.triangle(side))
        for side in (rows.source, rows.target)
    ]
    between = sum(rows.tile(i, j).sum() for i, j in rows.tiles(rows.source, rows.target))
    return float(_combined(*within, between, n, m, unbiased))


def _combined(within_source, within_target, between, n: int, m: int, unbiased: bool):
    """Return the statistic for sums of the kernel; the kernel of a row with itself is 1."""
    if unbiased:
        value = (within_source - n) / (n * (n - 1)) + (within_target - m) / (m * (m - 1))
        return value - 2 * between / (n * m)
    value = within_source / n**2 + within_target / m**2 - 2 * between / (n * m)
    return np.maximum(value, 0.0)  # rounding may take it below 0


@threads_by(lambda X, *_, **__: X.shape[1] * _TILE[0])
def permuted_squared_mmd(
    X, T, gamma: float, n_permutations: int, rng, *, unbiased: bool = True
) -> np.ndarray:
    """Return the statistic of the samples, and of random divisions of their rows.

    All divisions share one pass over the kernel: a tile is computed once and multiplied with the
    matrix of which row belongs to which side.

    Parameters
    ----------
    X, T : ndarray of shape (n, n_features), (m, n_features), float64
    gamma : float
    n_permutations : int
    rng : RandomState
    unbiased : bool, default=True

    Returns
    -------
    values : ndarray of shape (1 + n_permutations,)
        The value of the given division comes first.
    """
    rows = _Rows(X, T, gamma)
    n, m = rows.n, rows.m
    is_source = np.zeros((n + m, 1 + n_permutations), dtype=bool)  # S
    is_source[:n, 0] = True
    for b in range(1, 1 + n_permutations):
        is_source[rng.permutation(n + m)[:n], b] = True
    within = np.zeros(1 + n_permutations)  # s'Ks, of each column s
    sums = np.zeros(n + m)  # K1
    for i, j, count in rows.triangle(range(n + m)):
        K = rows.tile(i, j)
        sums[i] += K.sum(axis=1)
        if count == 2:
            sums[j] += K.sum(axis=0)
        products = K @ is_source[j].astype(np.float64)
        within += count * np.einsum("ib,ib->b", products, is_source[i])
    of_source = sums @ is_source  # s'K1
    within_target = sums.sum() - 2 * of_source + within
    return _combined(within, within_target, of_source - within, n, m, unbiased)


def linear_time_terms(X, T, gamma: float) -> np.ndarray:
    """Return the independent terms whose mean is the linear-time estimate of the squared MMD.

    ``h_i = k(x, x') + k(t, t') - k(x, t') - k(x', t)`` for two rows of each sample in turn (Gretton
    et al. 2012, section 6). An exchange of x and t changes the sign of a term alone.

    Parameters
    ----------
    X, T : ndarray of shape (n, n_features), (m, n_features), float64
        In random order. The larger one's last rows are left out, and an odd last row.
    gamma : float

    Returns
    -------
    terms : ndarray of shape (min(n, m) // 2,)
    """
    n_pairs = min(len(X), len(T)) // 2
    x, x_next = X[: 2 * n_pairs : 2], X[1 : 2 * n_pairs : 2]
    t, t_next = T[: 2 * n_pairs : 2], T[1 : 2 * n_pairs : 2]

    def kernel(A, B):
        differences = A - B
        return np.exp(-gamma * np.einsum("ij,ij->i", differences, differences))

    return kernel(x, x_next) + kernel(t, t_next) - kernel(x, t_next) - kernel(x_next, t)
