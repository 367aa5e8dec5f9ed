"""Spectra of features beside labels, and the maximum evidence of linear models (LogME)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.linalg.lapack import dormqr, dsytrd, dsytrd_lwork

from skltransfer._blas import threads_by, threads_for_product

# The ratio t of both precisions is searched from the smaller to the larger of these multiples of
# the largest eigenvalue, and first on so many points.
_SMALLEST, _LARGEST, _N_POINTS = 1e-12, 1e8, 64
# Squared error that is taken for noise at least, relative to the labels.
_LEAST_ERROR = 1e-12
_MAX_STEPS = 60
# Step of log t that ends the search; the evidence is flat there, and exact to its square.
_TOL = 1e-6


class Spectrum(NamedTuple):
    """Eigenvalues of ``F'F``, and labels in the basis of its eigenvectors V.

    Parameters
    ----------
    eigenvalues : ndarray of shape (r,)
        The largest r = min(n_samples, n_features), at least 0.
    squares : ndarray of shape (r, n_columns)
        ``(V'F'Y)^2``.
    """

    eigenvalues: np.ndarray
    squares: np.ndarray


def spectrum_of(F: np.ndarray, Y) -> Spectrum:
    """Return the spectrum of features beside labels, from one matrix of the smaller side.

    Parameters
    ----------
    F : ndarray of shape (n_samples, n_features), float64
    Y : {ndarray, CSR array} of shape (n_samples, n_columns)
    """
    n, d = F.shape
    if d <= n:
        with threads_for_product(n, d, d):
            gram = F.T @ F
        eigenvalues, projected = _in_eigenbasis(gram, (Y.T @ F).T)
        return Spectrum(eigenvalues, projected**2)
    dense = Y.toarray() if hasattr(Y, "toarray") else Y
    with threads_for_product(n, n, d):
        gram = F @ F.T
    eigenvalues, projected = _in_eigenbasis(gram, dense)
    return Spectrum(eigenvalues, eigenvalues[:, None] * projected**2)


@threads_by(lambda G, *_, **__: G.size)
def _in_eigenbasis(G: np.ndarray, C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues of a Gram matrix, and ``V'C`` for its eigenvectors V.

    ``G = Q T Q'`` with a tridiagonal T, and ``T = Z diag(e) Z'``: V = Q Z is never formed, which
    saves a third of the time of an eigendecomposition.
    """
    n = len(G)
    if n < 3:
        e, V = np.linalg.eigh(G)
        return np.maximum(e, 0.0), V.T @ C
    lwork = int(dsytrd_lwork(n, lower=1)[0])
    reflectors, diagonal, off, tau, _ = dsytrd(G.T, lower=1, lwork=lwork)  # G' is in its order
    C = np.array(C, dtype=np.float64, order="F")
    below = np.asfortranarray(reflectors[1:, :-1])
    C[1:] = dormqr("L", "T", below, tau, C[1:], max(1, 64 * C.shape[1]))[0]
    e, Z = eigh_tridiagonal(diagonal, off, check_finite=False)
    return np.maximum(e, 0.0), Z.T @ C


def log_evidence(spectrum: Spectrum, squared_labels: np.ndarray, n: int) -> np.ndarray:
    """Return the largest log evidence per sample of ``y = F w + noise``, for each column of labels.

    ``w ~ N(0, I/a)`` and ``noise ~ N(0, I/b)`` (You et al. 2021). The labels are then normal with
    covariance ``(I + FF'/t)/b``, t = a/b. For a given t the best b is ``n / S(t)``, and

        2 evidence / n = log(n / S(t)) - 1 - log(2 pi) - (1/n) sum log(1 + e/t)
        S(t) = y'(I + FF'/t)^-1 y = y'y - sum z e / (e + t),     z = (V'F'y)^2 / e.

    The maximum over log t is found on a grid, and then by Newton's method between the neighbours
    of the best point, for all columns together.

    Parameters
    ----------
    spectrum : Spectrum
    squared_labels : ndarray of shape (n_columns,)
        ``y'y``, above 0.
    n : int
        Number of samples.
    """
    e, squares = spectrum
    none = np.log(n / squared_labels) - 1 - np.log(2 * np.pi)  # of features without any use
    largest = e.max(initial=0.0)
    is_there = e > largest * len(e) * np.finfo(float).eps
    if not is_there.any():
        return none / 2
    e = e[is_there]
    z = squares[is_there] / e[:, None]
    # Of the best fit; as many independent features as samples fit any labels.
    error = np.maximum(squared_labels - z.sum(axis=0), _LEAST_ERROR * squared_labels)
    error *= len(e) < n

    points = np.log(largest) + np.linspace(np.log(_SMALLEST), np.log(_LARGEST), _N_POINTS)
    t = np.exp(points)[:, None]
    S = (t / (e + t)) @ z + error
    on_grid = -np.log(S) - np.log1p(e / t).sum(axis=1)[:, None] / n
    best = on_grid.argmax(axis=0)
    low, high = points[np.maximum(best - 1, 0)], points[np.minimum(best + 1, _N_POINTS - 1)]
    u = points[best]
    for _ in range(_MAX_STEPS):
        part = 1 / (1 + e[:, None] / np.exp(u))  # t / (e + t)
        rest = 1 - part
        terms = part * z
        S = terms.sum(axis=0) + error
        terms *= rest
        slope_of_S = terms.sum(axis=0)
        terms *= part
        bend_of_S = slope_of_S - 2 * terms.sum(axis=0)
        slope = -slope_of_S / S + rest.sum(axis=0) / n
        rest *= part
        bend = -bend_of_S / S + (slope_of_S / S) ** 2 - rest.sum(axis=0) / n
        low, high = np.where(slope > 0, u, low), np.where(slope > 0, high, u)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = u - slope / bend
        is_newton = (bend < 0) & (step > low) & (step < high)
        previous, u = u, np.where(is_newton, step, (low + high) / 2)
        if np.abs(u - previous).max() < _TOL:
            break
    t = np.exp(u)
    part = 1 / (1 + e[:, None] / t)
    S = (part * z).sum(axis=0) + error
    value = np.log(n / S) - 1 - np.log(2 * np.pi) + np.log(part).sum(axis=0) / n
    return np.maximum(value, none) / 2
