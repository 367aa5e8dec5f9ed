"""The geodesic flow kernel (Gong, Shi, Sha and Grauman 2012), without the complement's basis."""

from __future__ import annotations

import numpy as np
from scipy.linalg import svd

from skltransfer._solvers._principal import signs_of_columns


def geodesic_flow(source_basis, target_basis) -> tuple[np.ndarray, np.ndarray]:
    """Return F of ``G = F F'``, the integral of ``Phi(t) Phi(t)'`` for t from 0 to 1 (Eq. 5).

    ``Phi(t)`` runs along the shortest path from the source's subspace to the target's. With the
    principal vectors p (source) and q (target) at the angle theta,
    ``Phi(t) = p cos(t theta) + w sin(t theta)`` where ``q = p cos(theta) + w sin(theta)``: the
    paper's ``P_s U_1`` and ``-R_s U_2``. Within each pair (p, w) the integral is a 2 x 2 matrix,
    whose symmetric root is written out.

    Parameters
    ----------
    source_basis, target_basis : ndarray of shape (d, k)
        Orthonormal columns.

    Returns
    -------
    factor : ndarray of shape (d, min(2 k, d))
    angles : ndarray of shape (k,)
        The principal angles in rising order.
    """
    d, k = source_basis.shape
    U, cosines, Vt = svd(source_basis.T @ target_basis, check_finite=False)
    p, q = source_basis @ U, target_basis @ Vt.T
    signs = signs_of_columns(p)
    p, q = p * signs, q * signs
    w = q - p * cosines
    sines = np.linalg.norm(w, axis=0)  # exact for small angles, where cosines are not
    theta = np.arctan2(sines, cosines)
    w = np.divide(w, sines, out=np.zeros_like(w), where=sines > 0)

    # Eqs. 6 and 7, halved: the integrals of cos^2, cos sin and sin^2 of t theta.
    a = 0.5 + 0.5 * np.sinc(2 * theta / np.pi)
    b = 0.5 * np.sin(theta) * np.sinc(theta / np.pi)
    c = 1 - a
    root_det = np.sqrt(np.maximum(a * c - b**2, 0))
    scale = 1 / np.sqrt(1 + 2 * root_det)  # the trace is 1
    along = p * ((a + root_det) * scale) + w * (b * scale)
    across = p * (b * scale) + w * ((c + root_det) * scale)
    # Subspaces of more than half of the dimensions meet: those angles are 0 and w is nothing.
    return np.hstack([along, across[:, max(0, 2 * k - d) :]]), theta
