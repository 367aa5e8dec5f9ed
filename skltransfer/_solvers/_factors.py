"""Factors of tall matrices of any array library: the work is done there, the factor is numpy's."""

from __future__ import annotations

import numpy as np
from scipy.linalg import svd
from scipy.linalg.blas import dsyrk

from skltransfer._arrays import in_float64, moved_to, namespace_of


def lower_gram(Z, factor: float) -> np.ndarray:
    """Return a matrix whose lower triangle is that of ``factor Z' Z``.

    Parameters
    ----------
    Z : array of shape (n, p)
    factor : float
    """
    if not isinstance(Z, np.ndarray):
        return factor * in_float64(Z.T @ Z)
    # One triangle, and in Fortran's order: nothing is copied or computed twice.
    is_c = Z.flags.c_contiguous
    return dsyrk(factor, Z.T if is_c else Z, trans=not is_c, lower=True)


def triangle(Z) -> np.ndarray:
    """Return R of ``Z = Q R``, which has the singular values of `Z`, shape (min(n, p), p)."""
    if isinstance(Z, np.ndarray):
        return np.linalg.qr(Z, mode="r")
    return in_float64(namespace_of(Z).linalg.qr(Z, mode="reduced")[1])


def singular_axes(Z) -> tuple[np.ndarray, np.ndarray]:
    """Return the singular values of `Z`, and its right singular vectors as rows."""
    if isinstance(Z, np.ndarray):
        return svd(Z, full_matrices=False, check_finite=False)[1:]
    _, singular, axes = namespace_of(Z).linalg.svd(Z, full_matrices=False)
    return in_float64(singular), in_float64(axes)


def as_small_problem(Z, R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a numpy problem of least squares with the solutions of ``min ||R - Z D^T||``.

    Problems of numpy are returned as they are.

    Parameters
    ----------
    Z : array of shape (n, p)
    R : ndarray of shape (n, k)

    Returns
    -------
    Z : ndarray of shape (min(n, p), p)
    R : ndarray of shape (min(n, p), k)
        Up to a constant, the sum of squares is the same for every `D`.
    """
    if isinstance(Z, np.ndarray):
        return Z, R
    if Z.shape[0] <= Z.shape[1]:
        return in_float64(Z), R
    Q, small = namespace_of(Z).linalg.qr(Z, mode="reduced")
    return in_float64(small), in_float64(Q.T @ moved_to(Z, R))
