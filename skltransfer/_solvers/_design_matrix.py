"""The design matrix of a linear model, dense or sparse, and its products."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse

from skltransfer._arrays import in_float64, moved_to
from skltransfer._blas import threads_for, threads_for_product

# Columns whose largest entry lies within this power of two of 1 are left as they are.
_LARGEST_EXPONENT = 20
# With more unknowns than this in one problem, Newton's direction is found without a Hessian.
MAX_DENSE_UNKNOWNS = 1500
# A stack of small systems is solved in one call; larger ones are worth a Cholesky factor each.
MOST_UNKNOWNS_IN_STACKS = 40
# A Hessian that costs more than this number of products with it is not formed.
_PRODUCTS_FOR_A_HESSIAN = 40
# More axes of the samples than this are not computed.
MOST_AXES = 3000
# Inner products of samples are exact enough for a penalty of this share of the largest one.
DIGITS_OF_GRAM = 1e-9


class DenseRows:
    """A matrix ``Z`` of shape (n, p); `along` and `against` take one of any array library."""

    is_sparse = False

    def __init__(self, Z):
        self.Z, self.shape, self._squares = Z, Z.shape, None

    def along(self, D: np.ndarray) -> np.ndarray:
        """Return ``D Z^T`` for each matrix (k, p) of `D`, shape (..., k, n)."""
        return self._product(D, self.Z.T)

    def against(self, R: np.ndarray) -> np.ndarray:
        """Return ``R Z`` for each matrix (k, n) of `R`, shape (..., k, p)."""
        return self._product(R, self.Z)

    def squares_against(self, R: np.ndarray) -> np.ndarray:
        """Return ``R Z^2``, shape (..., k, p)."""
        if self._squares is None:
            self._squares = self.Z**2
        return self._product(R, self._squares)

    def _product(self, stack, factor):
        """Return the product of each matrix of a stack with a matrix."""
        rows = moved_to(factor, stack.reshape(-1, factor.shape[0]))
        with threads_for_product(stack.size, factor.shape[1]):
            return in_float64(rows @ factor).reshape(*stack.shape[:-1], -1)

    def gram(self, weights, *, of_samples: bool):
        """Return ``sqrt(w) Z Z' sqrt(w)`` (n, n), or ``Z' w Z`` (p, p).

        The second value is the largest entry on its diagonal, which tells its rounding errors.
        """
        Z = self.Z if (weights == 1).all() else np.sqrt(weights)[:, None] * self.Z
        with threads_for_product(Z.size, min(Z.shape)):
            gram = Z @ Z.T if of_samples else Z.T @ Z
        return gram, gram.diagonal().max(initial=0.0)

    def sizes(self) -> np.ndarray:
        """Return the largest absolute value of each column."""
        return np.maximum(self.Z.max(axis=0, initial=0.0), -self.Z.min(axis=0, initial=0.0))

    def scaled(self, exponents: np.ndarray) -> DenseRows:
        """Return the rows with each column multiplied by a power of two."""
        return DenseRows(np.ldexp(self.Z, exponents))


class SparseRows:
    """A sparse matrix whose columns are centred in effect, with a column of ones behind it.

    Parameters
    ----------
    X : CSR matrix of shape (n, d)
    center : ndarray of shape (d,) or None
        Numbers that are subtracted from the columns.
    has_ones : bool
        Whether the last column, of ones, is there.
    """

    is_sparse = True

    def __init__(self, X, center=None, *, has_ones: bool = False):
        self.X, self.center, self.has_ones = X, center, has_ones
        self.shape = X.shape[0], X.shape[1] + has_ones
        self._squares = None

    def along(self, D: np.ndarray) -> np.ndarray:
        """Return ``D Z^T`` for each matrix (k, p) of `D`, shape (..., k, n)."""
        flat = D.reshape(-1, self.shape[1])
        own = np.ascontiguousarray(flat[:, : self.X.shape[1]].T)
        result = (self.X @ own).T
        if self.center is not None:
            result = result - (self.center @ own)[:, None]
        if self.has_ones:
            result = result + flat[:, -1:]
        return result.reshape(*D.shape[:-1], -1)

    def against(self, R: np.ndarray) -> np.ndarray:
        """Return ``R Z`` for each matrix (k, n) of `R`, shape (..., k, p)."""
        flat = R.reshape(-1, self.shape[0])
        result = np.empty((len(flat), self.shape[1]))
        own = result[:, : self.X.shape[1]]
        own[:] = (self.X.T @ np.ascontiguousarray(flat.T)).T
        total = flat.sum(axis=1)
        if self.center is not None:
            own -= total[:, None] * self.center
        if self.has_ones:
            result[:, -1] = total
        return result.reshape(*R.shape[:-1], -1)

    def squares_against(self, R: np.ndarray) -> np.ndarray:
        """Return ``R Z^2``, shape (..., k, p)."""
        if self._squares is None:
            self._squares = SparseRows(self.X.multiply(self.X).tocsr(), has_ones=self.has_ones)
        result = self._squares.against(R)
        if self.center is not None:
            flat = R.reshape(-1, self.shape[0])
            mixed = (self.X.T @ np.ascontiguousarray(flat.T)).T
            own = flat.sum(axis=1)[:, None] * self.center**2 - 2 * mixed * self.center
            own = own.reshape(*R.shape[:-1], -1)
            result[..., : self.X.shape[1]] = np.maximum(result[..., : self.X.shape[1]] + own, 0.0)
        return result

    def gram(self, weights, *, of_samples: bool):
        """Return ``sqrt(w) Z Z' sqrt(w)`` (n, n), or ``Z' w Z`` (p, p), as a dense matrix.

        The second value is the largest entry on the diagonal of what it is computed from, whose
        rounding errors it carries.
        """
        root = np.sqrt(weights)
        X = self.X.multiply(root[:, None]).tocsr()
        if of_samples:
            gram = (X @ X.T).toarray()
            largest = gram.diagonal().max()
            if self.center is not None:
                along = np.outer(root, X @ self.center)
                gram += np.outer(root, root) * (self.center @ self.center) - along - along.T
            if self.has_ones:
                gram += np.outer(root, root)
            return gram, largest
        d, total = self.X.shape[1], weights.sum()
        gram = np.empty((self.shape[1], self.shape[1]))
        gram[:d, :d] = (X.T @ X).toarray()
        largest = gram[:d, :d].diagonal().max(initial=0.0)
        sums = self.X.T @ weights
        if self.center is not None:
            mixed = np.outer(sums, self.center)
            gram[:d, :d] += total * np.outer(self.center, self.center) - mixed - mixed.T
            sums = sums - total * self.center
        if self.has_ones:
            gram[d:, :d], gram[:d, d], gram[d:, d:] = sums, sums, total
            largest = max(largest, total)
        return gram, largest

    def sizes(self) -> np.ndarray:
        """Return the largest absolute value of each column."""
        sizes = np.zeros(self.shape[1])
        own = abs(self.X).max(axis=0).toarray().ravel() if self.X.shape[0] else 0.0
        sizes[: self.X.shape[1]] = own
        if self.center is not None:
            sizes[: self.X.shape[1]] = np.maximum(own, np.abs(self.center))
        if self.has_ones:
            sizes[-1] = 1.0
        return sizes

    def scaled(self, exponents: np.ndarray) -> SparseRows:
        """Return the rows with each column multiplied by a power of two."""
        own = exponents[: self.X.shape[1]]
        X = self.X.tocsr(copy=True)
        X.data = np.ldexp(X.data, own[X.indices])
        center = None if self.center is None else np.ldexp(self.center, own)
        return SparseRows(X, center, has_ones=self.has_ones)


def equilibrated(rows):
    """Bring columns of wild scales near 1, by powers of two, which round nothing.

    Returns
    -------
    rows : DenseRows or SparseRows
    exponents : ndarray of shape (p,), int, or None
        Each column was divided by two to this power. None if no column was.
    """
    sizes = rows.sizes()
    exponents = np.frexp(sizes)[1]
    exponents[(sizes == 0) | (np.abs(exponents) <= _LARGEST_EXPONENT)] = 0
    if not exponents.any():
        return rows, None
    return rows.scaled(-exponents), exponents


def column_means(X, weights: np.ndarray) -> np.ndarray:
    """Return the weighted means of the columns, without weights where these are all 0.

    `X` is sparse, or an array of any library.
    """
    total = weights.sum()
    if not total > 0:
        weights, total = np.ones(X.shape[0]), float(X.shape[0])
    means = moved_to(X, weights / total) @ X
    return in_float64(means).ravel()


def design_rows(X, center, *, has_ones: bool):
    """Return the rows less `center` (or None), with a column of ones behind if asked for."""
    if sparse.issparse(X):
        return SparseRows(X, center, has_ones=has_ones)
    Z = X if center is None else X - center
    return DenseRows(np.column_stack([Z, np.ones(len(Z))]) if has_ones else Z)


class Span:
    """Axes that coefficients under one and the same penalty do not leave.

    Along the principal axes of the samples there are no more coefficients than samples, and the
    diagonal of the curvature is close to the whole of it.

    Parameters
    ----------
    Z : ndarray of shape (n, r)
        Samples along the axes.
    unit : float
        Power of two by which the samples were multiplied before.
    axes : ndarray of shape (d, r), or None
    duals : ndarray of shape (n, r)
        Without `axes`, these are ``rows' duals``.
    rows : DenseRows or SparseRows
        The samples, centred and multiplied.
    """

    def __init__(self, Z, unit, *, axes=None, duals=None, rows=None):
        self.Z, self.unit = Z, unit
        self._axes, self._duals, self._rows = axes, duals, rows

    def unfold(self, shift: np.ndarray) -> np.ndarray:
        """Return coefficients of the features, (..., d), from those of the axes, (..., r)."""
        if self._axes is not None:
            return self.unit * (shift @ self._axes.T)
        return self.unit * self._rows.against(shift @ self._duals.T)


def span(X, center, penalty: float | None, *, n_outputs: int) -> Span | None:
    """Return the axes of the samples, or None where they do not pay or lose digits.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n, d)
    center : ndarray of shape (d,) or None
        Numbers that are subtracted from the columns.
    penalty : float or None
        Smallest penalty on a coefficient. None, if one of a problem differs from another.
    n_outputs : int
        Models that are solved for together.
    """
    n, d = X.shape
    is_sparse, is_wide = sparse.issparse(X), n < d
    if penalty is None or min(n, d) > MOST_AXES or min(n, d) == 0:
        return None
    if not is_wide and (is_sparse or has_hessian(n, d + 1, n_outputs)):
        return None
    rows = design_rows(X, center, has_ones=False)
    sizes = rows.sizes()
    largest, unit = sizes.max(), 1.0
    if largest > 0 and not 2.0**-_LARGEST_EXPONENT <= largest <= 2.0**_LARGEST_EXPONENT:
        exponent = -np.frexp(largest)[1]
        unit = float(np.ldexp(1.0, int(exponent)))
        rows = rows.scaled(np.full(d, exponent))
    if (sizes[sizes > 0] < largest / 2.0**_LARGEST_EXPONENT).any():
        return None  # the axes of large columns would drown the small ones
    if not is_wide:
        gram, _ = rows.gram(np.ones(n), of_samples=False)
        with threads_for(gram.size):
            axes = linalg.eigh(gram)[1]
        return Span(rows.Z @ axes, unit, axes=axes)
    gram, largest = rows.gram(np.ones(n), of_samples=True)
    if penalty * unit * unit >= DIGITS_OF_GRAM * largest:
        with threads_for(gram.size):
            values, vectors = linalg.eigh(gram, driver="evd")
        kept = values > n * np.finfo(float).eps * max(values[-1], 0.0)
        roots = np.sqrt(values[kept])
        return Span(vectors[:, kept] * roots, unit, duals=vectors[:, kept] / roots, rows=rows)
    if is_sparse:
        return None
    with threads_for(rows.Z.size):
        Q, triangle = linalg.qr(rows.Z.T, mode="economic")
        U, s, Vt = linalg.svd(triangle.T)
    return Span(U * s, unit, axes=Q @ Vt.T)


def has_hessian(n: int, p: int, k: int) -> bool:
    """Tell whether forming the Hessians of `k` outputs costs less than many products with them."""
    if k * p <= MOST_UNKNOWNS_IN_STACKS:
        return True
    cost = k * (k + 1) * n * p**2 + (k * p) ** 3 / 3
    return k * p <= MAX_DENSE_UNKNOWNS and cost <= _PRODUCTS_FOR_A_HESSIAN * 4 * n * k * p


def path_scores(X, coefs: np.ndarray, intercepts: np.ndarray) -> np.ndarray:
    """Return the scores of samples by each model of a path, shape (m, n, k).

    Parameters
    ----------
    X : array or CSR matrix of shape (n, d)
    coefs : ndarray of shape (m, k, d)
    intercepts : ndarray of shape (m, k)
    """
    return design_rows(X, None, has_ones=False).along(coefs).swapaxes(1, 2) + intercepts[:, None]
