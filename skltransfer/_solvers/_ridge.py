"""Least squares with a quadratic penalty, in closed form: for one penalty, or a path of them."""

from __future__ import annotations

import numpy as np
from scipy import linalg


def ridge_path(Z: np.ndarray, R: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Solve ``min ||R - Z D^T||^2 + alpha ||D||^2`` for every `alpha`, by one decomposition.

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
    U, s, Vt = linalg.svd(Z, full_matrices=False)
    rank = s > (s.max(initial=0.0) * max(Z.shape) * np.finfo(float).eps)
    U, s, Vt = U[:, rank], s[rank], Vt[rank]
    shrunk = s / (s**2 + alphas[:, None])  # (m, r)
    return np.einsum("mr,rk,rp->mkp", shrunk, U.T @ R, Vt, optimize=True)


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
    D = np.empty(penalty.shape)
    rows, row_of = np.unique(penalty, axis=0, return_inverse=True)
    for number, row in enumerate(rows):
        outputs = row_of.ravel() == number
        if (row == row[0]).all():
            D[outputs] = ridge_path(Z, R[:, outputs], row[:1])[0]
            continue
        # The penalties as further rows: no product of Z with itself, which would lose digits.
        augmented = np.vstack([Z, np.diag(np.sqrt(row))])
        targets = np.vstack([R[:, outputs], np.zeros((len(row), outputs.sum()))])
        D[outputs] = linalg.lstsq(augmented, targets)[0].T
    return D
