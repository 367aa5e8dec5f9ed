"""Transfer components of a kernel matrix that is known by its values at some rows alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.linalg import eigh

from skltransfer._blas import threads_by, threads_for, threads_for_product
from skltransfer._solvers._kernels import KernelMatrix
from skltransfer._solvers._transfer_components import Components, ReducedProblem, with_signs

# Kernel values that are held at a time.
_BLOCK_VALUES = 2**22
# Eigenvalues of the landmarks' kernel matrix below this part of the largest are rounding.
_ROUNDING = 1e-14


class LandmarkSpace:
    """The kernel matrix of all rows, in the Nystroem approximation of some of them, the landmarks.

    With the kernel C between all rows and the landmarks, and P among the landmarks, K is
    approximated by ``C P^+ C'`` (C. K. I. Williams, M. Seeger, "Using the Nystroem Method to Speed
    Up Kernel Machines", NIPS 2000). No matrix of all rows is kept: C is computed block by block
    whenever it is needed, so that memory grows with the number of landmarks, squared.

    With ``P = V D V'``, rows have the features ``Z = C V |D|^{-1/2}``, and ``C P^+ C' = Z J Z'``
    for the signs J of D, all 1 if the kernel is positive semi-definite. With ``Z = Q S``, solutions
    of the eigenproblem lie in the span of Q, ``w = Q q``, and it is that of ``F = Z J S'`` for q.

    Parameters
    ----------
    matrix : KernelMatrix
        Kernel matrix of all rows.
    landmarks : ndarray of shape (n_landmarks,)
        Positions of the landmarks.
    P : ndarray of shape (n_landmarks, n_landmarks)
        Kernel matrix of the landmarks.

    Attributes
    ----------
    error : float
        Sum of ``|k(x, x) - c(x)' P^+ c(x)|`` over all rows, relative to that of ``|k(x, x)|``. If
        the kernel is positive semi-definite, it is the trace norm of the error of K relative to
        that of K, and the Frobenius norm and each eigenvalue have no larger one, relative to the
        trace.
    """

    def __init__(self, matrix: KernelMatrix, landmarks: np.ndarray, P: np.ndarray):
        self._matrix, self._landmarks = matrix, landmarks
        self._unit = float(np.abs(P).max()) or 1.0
        with threads_for(P.size):
            D, V = eigh((P + P.T) / (2 * self._unit), check_finite=False, driver="evd")
        sizes = np.abs(D)
        kept = sizes > len(D) * _ROUNDING * sizes.max()
        self._signs = np.where(D < 0, -1.0, 1.0)
        self._to_features = V / np.sqrt(np.where(kept, sizes, np.inf)) / self._unit
        means, centered, self.error = self._factors()
        with threads_for(P.size):
            S = np.linalg.qr(np.vstack([means, centered]), mode="r")
        self._centered = centered
        self._basis = self._signs[:, None] * S.T  # J S': features times it are F
        self._problem = ReducedProblem(centered @ self._basis, self._unit)

    def solve(self, L, regularization: float, k: int, tol: float) -> Components:
        """Return the components of the approximation; weights are those of the landmarks."""
        sums = np.zeros((len(self._landmarks), L.shape[1]))
        with threads_for_product(_BLOCK_VALUES, L.shape[1]):
            for rows, C in self._blocks():
                sums += C.T @ L[rows]
        U = self._basis.T @ (self._to_features.T @ sums)
        found = self._problem.solve_reduced(U, regularization, k, tol)
        weights = self._to_features @ (self._basis @ found.weights) * self._unit
        return found._replace(weights=with_signs(weights))

    def principal(self, k: int, tol: float) -> tuple[Components, np.ndarray]:
        """Return the kernel principal components of the approximation, and their offset."""
        R, p = self._centered, len(self._landmarks)
        inner = (R * self._signs) @ R.T
        with threads_for(inner.size):
            values, V = eigh(inner, check_finite=False, driver="evd")
        values, V = values[: -k - 1 : -1], V[:, : -k - 1 : -1]
        largest = max(values[0], 0.0)
        errors = np.linalg.norm(inner @ V - V * values, axis=0)
        residual = (errors / np.maximum(values, 1e-7 * largest)).max() if largest > 0 else 0.0
        kept = values > p * np.finfo(float).eps * largest
        weights = self._signs[:, None] * (R.T @ (V / np.sqrt(np.where(kept, values, np.inf))))
        weights = with_signs(self._to_features @ weights * np.sqrt(self._unit))
        found = np.where(kept, values, 0.0) * self._unit
        sums = sum(C.sum(axis=0) for _, C in self._blocks())
        offset = sums @ weights / self._matrix.shape[0]
        return Components(found, weights, float(residual), float(residual)), offset

    def mapped(self, weights, n_rows: int) -> np.ndarray:
        """Return the first rows mapped."""
        out = np.empty((n_rows, weights.shape[1]))
        with threads_for_product(_BLOCK_VALUES, weights.shape[1]):
            for rows, C in self._blocks(n_rows):
                out[rows] = C @ weights
        return out

    def _blocks(self, n_rows: int | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the kernel between some rows and the landmarks, until all were there."""
        n, p = self._matrix.shape[0] if n_rows is None else n_rows, len(self._landmarks)
        height = max(_BLOCK_VALUES // p, 2 * p)
        for start in range(0, n, height):
            rows = np.arange(start, min(start + height, n))
            yield slice(start, start + len(rows)), self._matrix.block(rows, self._landmarks)

    @threads_by(lambda self: min(_BLOCK_VALUES, self._matrix.shape[0] * len(self._landmarks)))
    def _factors(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the sum of the features over the root of n, R with R'R = Z'HZ, and the error.

        A column of ones in front of Z takes up the means: the triangle of ``[1 Z]`` has both, and
        it is computed from those of blocks of rows.
        """
        p = len(self._landmarks)
        R, error, total = np.zeros((0, p + 1)), 0.0, 0.0
        diagonal = self._matrix.diagonal() / self._unit
        for rows, C in self._blocks():
            block = np.ones((len(C), p + 1))
            np.matmul(C, self._to_features, out=block[:, 1:])
            approximation = (block[:, 1:] ** 2) @ self._signs
            error += np.abs(diagonal[rows] - approximation).sum()
            total += np.abs(diagonal[rows]).sum()
            R = np.linalg.qr(np.vstack([R, block]), mode="r")
        triangle = np.zeros((p + 1, p + 1))
        triangle[: len(R)] = R
        return triangle[0, 1:], triangle[1:, 1:], float(error / total) if total > 0 else 0.0
