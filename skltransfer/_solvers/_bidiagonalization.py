"""Leading singular vectors of an operator, by block Golub-Kahan bidiagonalisation.

G. H. Golub, F. T. Luk, M. L. Overton, "A Block Lanczos Method for Computing the Singular Values
and Corresponding Singular Vectors of a Matrix", ACM TOMS 7(2), 1981. Bases are kept, and kept
orthonormal.
"""

from __future__ import annotations

import numpy as np

# Columns that are multiplied at once: a matrix that leaves the cache is read once for all.
_BLOCK, _LARGE_BLOCK, _LARGE_SIZE = 4, 8, 700
# Errors fall ever faster.
_ACCELERATION = 1.3
# A singular value below this part of the largest is rounding.
_ROUNDING = 3e-7
# Steps, and columns, of the search for what was missed.
_PROBE_STEPS, _PROBE_BLOCK = 3, 4


def leading_right_vectors(operator, k: int, tol: float) -> np.ndarray | None:
    """Return the right singular vectors of the `k` largest singular values.

    Parameters
    ----------
    operator : object
        Its ``forward`` multiplies columns by A, ``backward`` by A'; its ``shape`` is A's.
    k : int
    tol : float
        Largest relative residual ``|A'A v - s^2 v| / s^2``.

    Returns
    -------
    V : ndarray of shape (n_columns, k), or None
        None where bases of half of all dimensions would not do, or where A has more equal
        singular values than a block can tell apart.
    """
    n_rows, n_columns = operator.shape
    block = _LARGE_BLOCK if n_columns > _LARGE_SIZE else _BLOCK
    limit = min(n_rows, n_columns) // 2 // block * block
    V = np.empty((n_columns, limit + block), order="F")
    U = np.empty((n_rows, limit), order="F")
    B = np.zeros((limit, limit + block))  # U' A V: block bidiagonal
    random = np.random.default_rng(0)
    V[:, :block] = np.linalg.qr(random.standard_normal((n_columns, block)))[0]
    next_check, last = max(3 * k, k + 2 * block), None
    for n in range(block, limit + 1, block):
        newest, following = slice(n - block, n), slice(n, n + block)
        P = operator.forward(V[:, newest])
        if n > block:
            P -= U[:, n - 2 * block : n - block] @ R.T
        U[:, newest], S = _orthonormalised(P, U[:, : n - block])
        P = operator.backward(U[:, newest])
        P -= V[:, newest] @ S.T
        V[:, following], R = _orthonormalised(P, V[:, :n])
        B[newest, newest], B[newest, following] = S, R.T
        if n >= next_check:
            X, s, Yt = np.linalg.svd(B[:n, :n])
            if s[0] == 0:
                return V[:, :k]
            errors = np.linalg.norm(R @ X[newest, :k], axis=0)
            error = (errors / np.maximum(s[:k], _ROUNDING * s[0])).max()
            if error <= tol:
                known = V[:, :n]
                return None if _misses(operator, known, s[k - 1]) else known @ Yt[:k].T
            next_check, last = _next_check(n, error, last, tol / 2, block), (n, error)
    return None


def _orthonormalised(P, basis) -> tuple[np.ndarray, np.ndarray]:
    """Return orthonormal columns that span those of `P` beyond the basis, and their factor R."""
    P -= basis @ (basis.T @ P)
    Q, R = np.linalg.qr(P)
    sizes = np.abs(R.diagonal())
    if sizes.min() <= 1e-8 * max(sizes.max(), 1e-300):
        # Nothing new in some columns: what is left there is rounding, not orthogonal to the basis.
        for _ in range(2):
            Q -= basis @ (basis.T @ Q)
            Q = np.linalg.qr(Q)[0]
    return Q, R


def _misses(operator, known, smallest: float) -> bool:
    """Tell whether a singular value larger than `smallest` lies outside the span of `known`.

    Equal singular values beyond the width of a block leave no trace in the basis.
    """
    random, blocks, products = np.random.default_rng(1), [], []
    P = random.standard_normal((known.shape[0], _PROBE_BLOCK))
    for step in range(_PROBE_STEPS):
        if step:
            P = operator.backward(products[-1])
        for basis in (known, *blocks, known):
            P -= basis @ (basis.T @ P)
        blocks.append(np.linalg.qr(P)[0])
        products.append(operator.forward(blocks[-1]))
    return np.linalg.svd(np.hstack(products), compute_uv=False)[0] > (1 + 1e-6) * smallest


def _next_check(n, error, last, wanted, block) -> int:
    """Return the size of the basis that is to suffice, if errors go on falling as they did."""
    grown = n // 3
    if last is not None and 0 < error < last[1]:
        rate = _ACCELERATION * np.log(last[1] / error) / (n - last[0])
        grown = min(grown, np.log(error / wanted) / rate)
    return n + max(int(grown), block)
