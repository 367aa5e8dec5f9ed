"""Least squares with a quadratic penalty, in closed form: for one penalty, or a path of them."""

from __future__ import annotations

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, lsqr

from skltransfer._blas import threads_by, threads_for
from skltransfer._solvers._design_matrix import DIGITS_OF_GRAM, MOST_AXES, SparseRows

# Columns further apart than this lose digits in one common decomposition.
_WIDEST_RANGE = 2.0**20
# With more columns than samples, a system with a sample for each penalty is solved up to here.
_MOST_COLUMNS = 500
# Entries whose squares stay far from overflow and underflow.
_LARGEST_SIZE = 1e100
_MOST_LSQR_STEPS = 20_000


@threads_by(lambda Z, *_, **__: Z.size)
def ridge_path(Z: np.ndarray, R: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Solve ``min ||R - Z D^T||^2 + alpha ||D||^2`` for every `alpha`, by one decomposition.

    Where columns of `Z` differ in size by more than six digits, every `alpha` is solved by itself.

    Parameters
    ----------
    Z : ndarray of shape (n, p)
    R : ndarray of shape (n, k)
    alphas : ndarray of shape (m,), at least 0

    Returns
    -------
    D : ndarray of shape (m, k, p)
        Solutions. For ``alpha = 0`` it is the solution of least norm.
    """
    sizes = np.abs(Z).max(axis=0, initial=0.0)
    largest = sizes.max(initial=0.0)
    is_wild = (sizes[sizes > 0] < largest / _WIDEST_RANGE).any()
    if is_wild and Z.shape[1] <= max(len(Z), _MOST_COLUMNS):
        return np.stack([_augmented(Z, R, np.full(Z.shape[1], alpha)) for alpha in alphas])
    unit = 1.0
    if largest > 0 and not 1 / _LARGEST_SIZE <= largest <= _LARGEST_SIZE:
        unit = float(np.ldexp(1.0, int(-np.frexp(largest)[1])))
        with np.errstate(over="ignore"):  # beyond all bounds, the penalty leaves no solution but 0
            Z, alphas = unit * Z, alphas * unit * unit
    U, s, Vt = linalg.svd(Z, full_matrices=False)
    rank = s > (s.max(initial=0.0) * max(Z.shape) * np.finfo(float).eps)
    U, s, Vt = U[:, rank], s[rank], Vt[rank]
    shrunk = s / (s**2 + alphas[:, None])  # (m, r)
    D = np.einsum("mr,rk,rp->mkp", shrunk, U.T @ R, Vt, optimize=True)
    return D if unit == 1.0 else unit * D


def solve_ridge(Z: np.ndarray, R: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Solve ``min ||R - Z D^T||^2 + sum penalty * D^2`` for a penalty on each entry of `D`.

    Parameters
    ----------
    Z : ndarray of shape (n, p)
    R : ndarray of shape (n, k)
    penalty : ndarray of shape (k, p), at least 0

    Returns
    -------
    D : ndarray of shape (k, p)
    """
    return _by_penalty(
        penalty,
        lambda outputs, alpha: ridge_path(Z, R[:, outputs], np.array([alpha]))[0],
        lambda outputs, row: _augmented(Z, R[:, outputs], row),
    )


def _by_penalty(penalty, uniform, other):
    """Solve for the outputs that share penalties together."""
    D = np.empty(penalty.shape)
    rows, row_of = np.unique(penalty, axis=0, return_inverse=True)
    for number, row in enumerate(rows):
        outputs = np.flatnonzero(row_of.ravel() == number)
        is_uniform = (row == row[:1]).all()
        D[outputs] = uniform(outputs, row[0]) if is_uniform else other(outputs, row)
    return D


@threads_by(lambda Z, *_, **__: Z.size)
def _augmented(Z, R, penalty):
    """Solve by least squares with the penalties as further samples, shape (k, p).

    No product of `Z` with itself loses digits, and columns are brought to one size.
    """
    D = np.zeros((R.shape[1], Z.shape[1]))
    free = np.isfinite(penalty)  # nothing moves the others
    Z, roots = Z[:, free], np.sqrt(penalty[free])
    if not free.any():
        return D
    exponents = -np.frexp(np.maximum(np.abs(Z).max(axis=0, initial=0.0), roots))[1]
    A = np.vstack([np.ldexp(Z, exponents), np.diag(np.ldexp(roots, exponents))])
    targets = np.vstack([R, np.zeros((len(roots), R.shape[1]))])
    D[:, free] = np.ldexp(linalg.lstsq(A, targets)[0].T, exponents)
    return D


# --- sparse samples --------------------------------------------------------------------


def sparse_ridge_path(rows: SparseRows, R, weights, alphas) -> np.ndarray:
    """Solve ``min ||sqrt(w) (R - Z D^T)||^2 + alpha ||D||^2`` for every `alpha`.

    The smaller one of the two matrices of inner products is decomposed once. Where it is large, or
    would lose digits, each `alpha` is solved by LSQR.

    Parameters
    ----------
    rows : SparseRows
        ``Z``, of shape (n, p)
    R : ndarray of shape (n, k)
    weights : ndarray of shape (n,)
        Positive.
    alphas : ndarray of shape (m,), at least 0

    Returns
    -------
    D : ndarray of shape (m, k, p)
    """
    n, p = rows.shape
    D = np.empty((len(alphas), R.shape[1], p))
    left = np.ones(len(alphas), dtype=bool)
    if 0 < min(n, p) <= MOST_AXES:
        root = np.sqrt(weights)[:, None]
        gram, largest = rows.gram(weights, of_samples=n <= p)
        left = ~((alphas >= DIGITS_OF_GRAM * largest) & np.isfinite(largest))
        if not left.all():
            with threads_for(gram.size):
                values, vectors = linalg.eigh(gram, driver="evd")
            values = np.maximum(values, 0.0)
            right = root * R if n <= p else rows.against((weights[:, None] * R).T).T
            along = vectors.T @ right
            for number in np.flatnonzero(~left):
                solved = vectors @ (along / (values[:, None] + alphas[number]))
                D[number] = rows.against((root * solved).T) if n <= p else solved.T
    for number in np.flatnonzero(left):
        D[number] = _by_lsqr(rows, R, weights, np.full(p, alphas[number]))
    return D


def solve_sparse_ridge(rows: SparseRows, R, weights, penalty) -> np.ndarray:
    """Solve ``min ||sqrt(w) (R - Z D^T)||^2 + sum penalty * D^2``, shape (k, p).

    Parameters
    ----------
    rows : SparseRows
        ``Z``, of shape (n, p)
    R : ndarray of shape (n, k)
    weights : ndarray of shape (n,)
        Positive.
    penalty : ndarray of shape (k, p), at least 0
    """
    return _by_penalty(
        penalty,
        lambda outputs, alpha: sparse_ridge_path(rows, R[:, outputs], weights, np.array([alpha]))[
            0
        ],
        lambda outputs, row: _by_lsqr(rows, R[:, outputs], weights, row),
    )


def _by_lsqr(rows, R, weights, penalty):
    """Solve by LSQR (Paige and Saunders, 1982), with columns of one size."""
    n, p = rows.shape
    root = np.sqrt(weights)
    norms = rows.squares_against(weights[None])[0] + penalty
    scale = np.where(norms > 0, 1 / np.sqrt(np.where(norms > 0, norms, 1.0)), 0.0)
    roots = np.where(np.isinf(penalty), 0.0, np.sqrt(penalty) * scale)

    def ahead(v):
        v = v.ravel()
        return np.append(root * rows.along((scale * v)[None])[0], roots * v)

    def back(u):
        u = u.ravel()
        return scale * rows.against((root * u[:n])[None])[0] + roots * u[n:]

    operator = LinearOperator((n + p, p), matvec=ahead, rmatvec=back, dtype=np.float64)
    D = np.empty((R.shape[1], p))
    for output, r in enumerate(R.T):
        right = np.append(root * r, np.zeros(p))
        D[output] = (
            scale
            * lsqr(operator, right, atol=1e-13, btol=1e-13, conlim=0, iter_lim=_MOST_LSQR_STEPS)[0]
        )
    return D
