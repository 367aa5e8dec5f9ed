"""Kernel values between rows, and their means, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import pairwise_kernels

from skltransfer._blas import threads_for, threads_for_product

KERNELS = ("rbf", "laplacian", "linear", "poly", "polynomial", "sigmoid", "cosine", "chi2")
# Kernels that scikit-learn computes from sparse rows.
SPARSE_KERNELS = ("rbf", "laplacian", "linear", "poly", "polynomial", "sigmoid", "cosine")
# Kernels of which every matrix is positive semi-definite, whatever the parameters.
_SURELY_PSD = ("rbf", "laplacian", "linear", "cosine", "chi2")

# Tiles of the rbf kernel fit into the cache; tiles of other kernels outweigh the cost of a call.
_RBF_TILE, _TILE = (256, 512), (512, 2048)
# Largest rounding error of an exponent.
_LARGEST_ERROR = 1e-10
# Rows on which a kernel is tested for being positive semi-definite.
_TEST_ROWS = 300


class Kernel(NamedTuple):
    """A kernel: a name of scikit-learn's or a callable, with its parameters."""

    metric: str | Callable
    gamma: float | None = None
    degree: float = 3
    coef0: float = 1
    params: Mapping | None = None

    @property
    def name(self) -> str:
        """Name of the kernel in messages."""
        return self.metric if isinstance(self.metric, str) else repr(self.metric)

    def between(self, A, B) -> np.ndarray:
        """Return the values for all pairs of rows, shape (n_a, n_b)."""
        if isinstance(self.metric, str):
            given = {"gamma": self.gamma, "degree": self.degree, "coef0": self.coef0}
            with np.errstate(over="ignore", invalid="ignore"):
                return pairwise_kernels(A, B, metric=self.metric, filter_params=True, **given)
        values = np.asarray(self.metric(A, B, **(self.params or {})), dtype=np.float64)
        shape = (A.shape[0], B.shape[0])
        if values.shape != shape:
            raise ValueError(
                f"kernel={self.name} returned values of shape {values.shape}. A callable has to "
                f"return the kernel matrix of two arrays of rows, here of shape {shape}."
            )
        return values


class KernelMatrix:
    """The kernel matrix of the rows of one array, whose values are computed when asked for.

    Parameters
    ----------
    kernel : Kernel
    X : ndarray or CSR array of shape (n, n_features)
    """

    def __init__(self, kernel: Kernel, X):
        self.kernel, self.X = kernel, X
        self.shape = (X.shape[0], X.shape[0])
        self._tile = _TILE
        self._left = self._right = X
        if kernel.metric == "rbf":
            self._tile = _RBF_TILE
            if sparse.issparse(X):
                self._check_digits(X)
            elif not loses_digits(X, X[:0], kernel.gamma):
                self._left, self._right = rbf_factors(X, kernel.gamma)

    def block(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the values between two lists of rows, shape (n_rows, n_columns)."""
        values = np.empty((len(rows), len(columns)))
        self._fill(values, self._left[rows], self._right[columns])
        return self._finite(values)

    def matrix(self) -> np.ndarray:
        """Return all values, shape (n, n)."""
        n, step = self.shape[0], self._tile[1]
        K = np.empty(self.shape)
        if self._left is not self.X:  # cheaper than mirroring one half
            self._fill(K, self._left, self._right)
            np.fill_diagonal(K, 1.0)
            return K
        for i in range(0, n, step):
            rows = slice(i, min(i + step, n))
            self._fill(K[rows, i:], self._left[rows], self._right[i:])
            K[i + step :, rows] = K[rows, i + step :].T
        if self.kernel.metric == "rbf":
            np.fill_diagonal(K, 1.0)
        return self._finite(K)

    def product(self, support: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return ``K[:, support] @ values``, shape (n,), without an n x n matrix."""
        total = np.zeros(self.shape[0])
        height, width = self._tile
        with self._threads():
            for j in range(0, len(support), width):
                right, part = self._right[support[j : j + width]], values[j : j + width]
                for i in range(0, self.shape[0], height):
                    total[i : i + height] += self._values(self._left[i : i + height], right) @ part
        return self._finite(total)

    def mean(self, T, weights: np.ndarray | None = None) -> np.ndarray:
        """Return ``mean_j k(x_i, t_j)`` for every row, without an n x m matrix, shape (n,).

        The mean is weighted, if rows of `T` have weights.
        """
        right = T
        if self.kernel.metric == "rbf" and sparse.issparse(T):
            self._check_digits(T)
        elif self._left is not self.X:
            if loses_digits(T, T[:0], self.kernel.gamma):
                return KernelMatrix._plain(self.kernel, self.X).mean(T, weights)
            right = rbf_factors(T, self.kernel.gamma)[1]
        return self._finite(self._mean(self._left, right, weights))

    def mean_in_float32(self, T, weights=None) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean of the rbf kernel, computed in float32, and a bound on its error.

        An exponent is a sum of d + 2 products, whose rounding is at most (d + 4) eps times the
        sum of their sizes, ``gamma (|x| + |t|)^2``; 40 eps cover the exponential and the sum of a
        tile; weights take 4 more. Tiles are added up in float64.
        """
        gamma, d = self.kernel.gamma, self.X.shape[1]
        left, right = self._left.astype(np.float32), rbf_factors(T, gamma)[1].astype(np.float32)
        mean = self._mean(left, right, weights)
        norms = [np.sqrt(np.einsum("ij,ij->i", rows, rows)) for rows in (self.X, T)]
        sizes = gamma * (norms[0] + norms[1].max()) ** 2
        of_values = 40 if weights is None else 44
        return mean, mean * ((d + 4) * sizes + of_values) * 2.0**-24

    def float32_error(self, T) -> float:
        """Bound the relative error of `mean_in_float32`; inf if it cannot be computed."""
        if self._left is self.X or sparse.issparse(T):
            return np.inf
        largest = [np.einsum("ij,ij->i", rows, rows).max() for rows in (self.X, T)]
        size = self.kernel.gamma * np.sum(np.sqrt(largest)) ** 2
        return float(((self.X.shape[1] + 4) * size + 40) * 2.0**-24)

    def diagonal(self) -> np.ndarray:
        """Return ``k(x_i, x_i)``, shape (n,)."""
        n, step = self.shape[0], 64
        if self.kernel.metric in ("rbf", "laplacian", "chi2"):
            return np.ones(n)
        parts = []
        for i in range(0, n, step):
            rows = self.X[i : i + step]
            parts.append(self.kernel.between(rows, rows).diagonal())
        return self._finite(np.concatenate(parts))

    def is_surely_indefinite(self) -> bool:
        """Tell whether some of the rows show that the kernel is no inner product."""
        if self.kernel.metric in _SURELY_PSD:
            return False
        n = self.shape[0]
        rows = np.unique(np.linspace(0, n - 1, min(n, _TEST_ROWS)).astype(np.intp))
        values = self.block(rows, rows)
        with threads_for(values.size):
            eigenvalues = np.linalg.eigvalsh((values + values.T) / 2)
        asymmetry = np.abs(values - values.T).max()
        rounding = 1e-9 * max(abs(eigenvalues[0]), abs(eigenvalues[-1]))
        return bool(eigenvalues[0] < -rounding or asymmetry > rounding)

    @classmethod
    def _plain(cls, kernel, X) -> KernelMatrix:
        """Return the same without the products that lose digits."""
        rows = cls(kernel, X)
        rows._left = rows._right = X
        return rows

    def _threads(self):
        """Return the context for the products of tiles."""
        return threads_for_product(*self._tile, self._left.shape[1])

    def _mean(self, left, right, weights) -> np.ndarray:
        n, m = left.shape[0], right.shape[0]
        height, width = self._tile
        if weights is not None:
            counts = (weights * (m / weights.sum())).astype(left.dtype)
        total = np.zeros(n)
        with self._threads():
            for i in range(0, n, height):
                rows = left[i : i + height]
                for j in range(0, m, width):
                    values = self._values(rows, right[j : j + width])
                    if weights is not None:
                        values = values * counts[j : j + width]
                    total[i : i + height] += values.sum(axis=1)
        return total / m

    def _fill(self, out, left, right) -> None:
        height, width = self._tile
        with self._threads():
            for i in range(0, left.shape[0], height):
                rows = left[i : i + height]
                for j in range(0, right.shape[0], width):
                    part = out[i : i + height, j : j + width]
                    if self._left is not self.X:
                        np.exp(rows @ right[j : j + width].T, out=part)
                    else:
                        part[:] = self._values(rows, right[j : j + width])

    def _values(self, left, right) -> np.ndarray:
        """Return one tile."""
        if self._left is not self.X:
            tile = left @ right.T
            return np.exp(tile, out=tile)
        if self.kernel.metric == "rbf":
            with np.errstate(over="ignore", invalid="ignore"):
                return _rbf(left, right, self.kernel.gamma)
        return self.kernel.between(left, right)

    def _check_digits(self, X) -> None:
        if loses_digits(X, X[:0], self.kernel.gamma):
            raise ValueError(
                "Sparse rows lie too far from 0 for the rbf kernel. Scale the features (by a "
                "MaxAbsScaler), lower gamma, or pass dense rows."
            )

    def _finite(self, values: np.ndarray) -> np.ndarray:
        if self._left is self.X and not np.isfinite(values).all():
            raise ValueError(
                f"The {self.kernel.name} kernel of these rows is not finite. Scale the features of "
                "X and X_target (for example by a StandardScaler before this estimator)."
            )
        return values


def loses_digits(A, B, gamma: float) -> bool:
    """Tell whether rows lie so far from 0 that rounding of squared norms hides small distances."""
    largest = max(_squared_norms(rows).max(initial=0.0) for rows in (A, B))
    return gamma * largest * np.finfo(float).eps > _LARGEST_ERROR


def _squared_norms(rows) -> np.ndarray:
    with np.errstate(over="ignore"):
        if sparse.issparse(rows):
            return np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
        return np.einsum("ij,ij->i", rows, rows)


def rbf_factors(X: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return L(X) and R(X) such that ``-gamma |x - y|^2`` is the product of ``L(x)`` and ``R(y)``.

    One matrix product then gives the exponents of a tile, norms included.
    """
    norms, ones = -gamma * _squared_norms(X)[:, None], np.ones((len(X), 1))
    return np.hstack([2 * gamma * X, norms, ones]), np.hstack([X, ones, norms])


def _rbf(A, B, gamma: float) -> np.ndarray:
    """Return the rbf kernel of sparse rows, or of rows whose squared norms lose digits."""
    if sparse.issparse(A):
        tile = (A @ B.T).toarray()
        tile *= 2.0
        tile -= _squared_norms(A)[:, None]
        tile -= _squared_norms(B)
        np.minimum(tile, 0.0, out=tile)  # rounding makes squared distances negative
    else:
        tile = -cdist(A, B, "sqeuclidean")
    tile *= gamma
    return np.exp(tile, out=tile)
