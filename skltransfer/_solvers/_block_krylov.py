"""Leading singular vectors, by Krylov spaces grown from several columns at once."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.linalg.lapack import dgeqrf, dorgqr

from skltransfer._blas import threads_by

# Columns that are multiplied at once: a matrix that leaves the cache is read once for all.
_BLOCK, _LARGE_BLOCK, _LARGE_SIZE = 4, 8, 700
# Columns of the largest basis, per vector and beyond.
_LARGEST_BASIS = (10, 200)
# Errors fall ever faster.
_ACCELERATION = 1.1
# A singular value below this part of the largest is rounding.
_ROUNDING = 3e-7
# Eigenvalues of a squared matrix that are larger than that part of the largest have digits enough.
_NEAR = 1e-5
# Singular values closer than that, relatively, may be equal.
_EQUAL = 1e-6
# Steps, and columns, of the search for missed singular values.
_PROBE_STEPS, _PROBE_BLOCK = 3, 4


def leading_right_vectors(operator, k: int, tol: float) -> np.ndarray | None:
    """Return the right singular vectors of the `k` largest singular values of any A.

    Block bidiagonalisation (G. H. Golub, F. T. Luk, M. L. Overton, "A Block Lanczos Method for
    Computing the Singular Values and Corresponding Singular Vectors of a Matrix", ACM Transactions
    on Mathematical Software 7(2), 1981).

    Parameters
    ----------
    operator : object
        Matrix A: ``forward`` multiplies columns by A, ``backward`` by A'; ``shape`` is A's shape.
    k : int
    tol : float
        Largest relative residual ``|A'A v - s^2 v| / s^2``.

    Returns
    -------
    V : ndarray of shape (n_columns, k), or None
        Vectors as columns. None if bases of 10 k + 200 columns, or of half of all, do not suffice,
        or if A has more equal singular values than a block can tell apart.
    """
    n_rows, n_columns = operator.shape
    block = _LARGE_BLOCK if n_columns > _LARGE_SIZE else _BLOCK
    most = min(min(n_rows, n_columns) // 2, _LARGEST_BASIS[0] * k + _LARGEST_BASIS[1])
    limit = most // block * block
    V = np.empty((n_columns, limit + block), order="F")
    U = np.empty((n_rows, limit), order="F")
    B = np.zeros((limit, limit + block))  # U' A V: block bidiagonal
    random = np.random.default_rng(0)
    V[:, :block] = np.linalg.qr(random.standard_normal((n_columns, block)))[0]
    next_check, last = 4 * k + 3 * block, (k, 1.0)
    R, largest = np.zeros((block, block)), 0.0
    for n in range(block, limit + 1, block):
        newest, following = slice(n - block, n), slice(n, n + block)
        P = operator.forward(V[:, newest])
        if n > block:
            P -= U[:, n - 2 * block : n - block] @ R.T
        U[:, newest], S = _orthonormalised(P, U[:, : n - block], largest)
        largest = max(largest, np.abs(S).max())
        P = operator.backward(U[:, newest])
        P -= V[:, newest] @ S.T
        V[:, following], R = _orthonormalised(P, V[:, :n], largest)
        B[newest, newest], B[newest, following] = S, R.T
        if n >= next_check:
            X, s, Y = _leading(B[:n, :n], k)
            if s[0] == 0:
                return V[:, :k]
            errors = np.linalg.norm(R @ X[newest], axis=0)
            error = (errors / np.maximum(s, _ROUNDING * s[0])).max()
            if error <= tol:
                known = V[:, :n]
                return None if _misses(operator, known, s, block) else known @ Y
            next_check, last = _next_check(n, error, last, tol / 2, block), (n, error)
    return None


@threads_by(lambda B, *_, **__: B.size)
def _leading(B, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the leading left singular vectors, values and right vectors of a small matrix."""
    theta, X = np.linalg.eigh(B @ B.T)
    theta, X = theta[: -k - 1 : -1], X[:, : -k - 1 : -1]
    if theta[-1] > _NEAR * theta[0]:
        s = np.sqrt(theta)
        return X, s, B.T @ X / s
    X, s, Yt = np.linalg.svd(B)  # twice as long, and with all digits of the small values
    return X[:, :k], s[:k], Yt[:k].T


@threads_by(lambda P, basis, *_, **__: P.size + basis.size)
def _orthonormalised(P, basis, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return orthonormal columns that span `P` beyond the basis, and their factor R."""
    P -= basis @ (basis.T @ P)
    Q, R = _qr(P)
    if np.abs(R.diagonal()).min() <= 1e-8 * largest:
        # Some columns are left with rounding alone, which need not be orthogonal to the basis.
        for _ in range(2):
            Q -= basis @ (basis.T @ Q)
            Q = _qr(Q)[0]
    return Q, R


def _qr(P) -> tuple[np.ndarray, np.ndarray]:
    """Return the thin factors; numpy's checks take longer than the few columns."""
    factored, tau, _, _ = dgeqrf(P)
    R = factored[: P.shape[1]] * _upper(P.shape[1])
    return dorgqr(factored, tau, overwrite_a=True)[0], R


@cache
def _upper(n: int) -> np.ndarray:
    return np.tri(n).T


def _misses(operator, known, values, block: int) -> bool:
    """Tell whether a singular value as large as those found lies outside the span of `known`.

    Among equal singular values at most one block of columns is found. If a whole block was found,
    there may be more.
    """
    n = len(values) - block + 1
    if n < 1 or np.all(values[-n:] < (1 - _EQUAL) * values[:n]):
        return False
    random, blocks, products = np.random.default_rng(1), [], []
    P = random.standard_normal((known.shape[0], _PROBE_BLOCK))
    for step in range(_PROBE_STEPS):
        if step:
            P = operator.backward(products[-1])
        for basis in (known, *blocks, known):
            P -= basis @ (basis.T @ P)
        blocks.append(np.linalg.qr(P)[0])
        products.append(operator.forward(blocks[-1]))
    return np.linalg.svd(np.hstack(products), compute_uv=False)[0] > max(
        (1 + _EQUAL) * values[-1], _ROUNDING * values[0]
    )


def _next_check(n, error, last, wanted, block) -> int:
    """Return the size of the basis that suffices if errors keep falling at the same rate."""
    grown = n // 3
    if 0 < error < last[1]:
        rate = _ACCELERATION * np.log(last[1] / error) / (n - last[0])
        grown = min(grown, np.log(error / wanted) / rate)
    return n + max(int(grown), block)
