"""Transfer components: directions of large scatter along which two domains agree."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh, svd

from skltransfer._arrays import in_float64, moved_to, namespace_of
from skltransfer._blas import threads_by, threads_for, threads_for_product
from skltransfer._solvers._block_krylov import leading_right_vectors
from skltransfer._solvers._factors import triangle

# Up to this size, or with more components than this part of it, all vectors are computed.
_DENSE_SIZE, _DENSE_PART = 200, 1 / 8
# Eigenvalues below this part of the largest are rounding.
_ROUNDING = 1e-13
# Components of less scatter than this part of the largest are invisible beside the others.
_VISIBLE = 1e-12
# Sizes of entries whose squares need no scaling.
_SAFE_SIZES = (1e-50, 1e50)
# Beyond these, relative to the root of the regularization, an eigenvalue leaves float64.
_SMALLEST, _LARGEST = 1e-140, 1e140
_TOO_LARGE = (
    "Squares of the kernel values, or of the features, leave the range of floats. Scale the "
    "features of X and X_target, for example by a StandardScaler before this estimator, or set a "
    "regularization of their order."
)


def domain_differences(
    n_source: int, n_target: int, source_classes=None, target_classes=None
) -> np.ndarray:
    """Return the columns of L, where ``M = L L'`` has Frobenius norm 1.

    Up to a factor, ``L' F`` is the mean of the source rows of F less the mean of the target rows:
    of all rows, and of each class (Long et al. 2013, section 3). A class that is missing in one
    domain has no column.

    Parameters
    ----------
    n_source, n_target : int
    source_classes, target_classes : ndarray of int, default=None
        Codes of classes, in the order of the rows. A negative code is no class.

    Returns
    -------
    L : ndarray of shape (n_source + n_target, n_differences)
    """
    columns = [np.r_[np.full(n_source, 1 / n_source), np.full(n_target, -1 / n_target)]]
    if source_classes is not None:
        for code in np.intersect1d(source_classes, target_classes):
            if code >= 0:
                source, target = source_classes == code, target_classes == code
                columns.append(np.r_[source / source.sum(), target / -target.sum()])
    L = np.column_stack(columns)
    return L / np.sqrt(np.linalg.norm(L.T @ L))


class Components(NamedTuple):
    """Solutions of the generalised eigenproblem, largest eigenvalue first.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n_components,)
    weights : ndarray of shape (size, n_components)
        Eigenvectors W, scaled so that ``W' B W = I``.
    residual : float
        Largest relative residual, see `ReducedProblem.solve_reduced`.
    visible_residual : float
        The same without the components whose scatter is below 1e-12 of the largest.
    """

    eigenvalues: np.ndarray
    weights: np.ndarray
    residual: float
    visible_residual: float


class ReducedProblem:
    """The eigenproblem of transfer components, given by small matrices.

    ``F' H F w = theta (regularization I + F' L L' F) w`` for the largest theta, where H subtracts
    the mean of each column: F is the kernel matrix of all rows (Pan et al. 2011, section III) or
    the rows themselves (Long et al. 2013, section 3). The columns of L sum to 0.

    Parameters
    ----------
    R : ndarray of shape (r, size)
        Any matrix with ``R' R = F' H F``, for F in units of `unit`.
    unit : float
    """

    def __init__(self, R: np.ndarray, unit: float):
        self._R, self.unit, self.size = R, unit, R.shape[1]

    @threads_by(lambda self, *_, **__: self._R.size)
    def solve_reduced(
        self, U: np.ndarray, regularization: float, n_components: int, tol: float
    ) -> Components:
        """Return the largest eigenvalues and their vectors.

        Parameters
        ----------
        U : ndarray of shape (size, n_differences)
            Matrix ``F' L``, for F in units of `unit`.
        regularization : float
        n_components : int
        tol : float
            Relative residual at which the solver stops: with ``B = regularization I + F' L L' F``,
            the norm of ``B^{-1/2} (F' H F w - theta B w)`` over ``theta |B^{1/2} w|``. It bounds
            the relative error of the eigenvalue. For theta below 1e-13 of the largest, it is
            relative to that bound; for a component without scatter, to the largest theta.

        Raises
        ------
        ValueError
            If the entries of F are too large or small for the regularization.
        """
        unit = self.unit / np.sqrt(regularization)
        if not _SMALLEST < unit < _LARGEST:
            raise ValueError(_TOO_LARGE)
        operator = _Operator(self._R, _InverseRoot(U, unit))
        for find in self._methods(operator, n_components, tol / 2):
            z = find()
            if z is not None:
                theta, residuals = operator.certify(z)
                if residuals.max(initial=0.0) <= tol:
                    break
        weights = with_signs(operator.root(z) / np.sqrt(regularization))
        visible = theta >= _VISIBLE * theta.max(initial=0.0)
        largest = [float(part.max(initial=0.0)) for part in (residuals, residuals[visible])]
        return Components(theta * unit * unit, weights, *largest)

    def _methods(self, operator, k, tol):
        """Yield functions that find the vectors: the fastest first, the most precise last."""
        if self.size > _DENSE_SIZE and k <= _DENSE_PART * self.size:
            yield partial(leading_right_vectors, operator, k, tol)
        yield partial(operator.dense_vectors, k)
        # The rounding of the largest eigenvalues hides the smallest: avoid the squares.
        yield partial(operator.accurate_vectors, k)


class TransferProblem(ReducedProblem):
    """The eigenproblem of transfer components of a matrix, for any differences of the domains.

    Parameters
    ----------
    F : array of shape (n_rows, size)
        Matrix F, of any library. Its columns are centred in place, and scaled if entries are very
        large or small.
    """

    def __init__(self, F):
        xp, (n_rows, size) = namespace_of(F), F.shape
        largest = float(max(xp.max(F), -xp.min(F)))
        if not np.isfinite(largest):
            raise ValueError(_TOO_LARGE)
        is_safe = largest == 0 or _SAFE_SIZES[0] < largest < _SAFE_SIZES[1]
        unit = 1.0 if is_safe else largest
        if not is_safe:
            F /= largest
        self.means = xp.mean(F, axis=0)
        F -= self.means
        self.F = F
        # Where F = Q R is tall, R has the same right singular vectors.
        with threads_for(n_rows * size):
            R = triangle(F) if n_rows > 1.2 * size else in_float64(F)
        super().__init__(R, unit)

    def mapped(self, weights, n_rows: int) -> np.ndarray:
        """Return the first rows of F, as they were given, times weights."""
        with threads_for_product(n_rows, *weights.shape):
            mapped = self.F[:n_rows] @ weights
            mapped += self.means @ weights
        return mapped * self.unit if self.unit != 1 else mapped

    @threads_by(lambda self, *_, **__: self._R.size)
    def solve(
        self, L: np.ndarray, regularization: float, n_components: int, tol: float
    ) -> Components:
        """Return the largest eigenvalues and their vectors (`solve_reduced`).

        Parameters
        ----------
        L : ndarray of shape (n_rows, n_differences)
        regularization : float
        n_components : int
        tol : float
        """
        U = in_float64(self.F.T @ moved_to(self.F, L))
        return self.solve_reduced(U, regularization, n_components, tol)


class _Operator:
    """``A = H F B^{-1/2}``, whose right singular vectors are sought."""

    def __init__(self, F: np.ndarray, root: _InverseRoot):
        self._F, self.root, self.shape = F, root, F.shape

    def forward(self, V) -> np.ndarray:
        """Return ``A V``."""
        return self._F @ self.root(V)

    def backward(self, U) -> np.ndarray:
        """Return ``A' U``."""
        return self.root((U.T @ self._F).T)  # faster than F.T @ U

    def dense_vectors(self, k: int) -> np.ndarray | None:
        """Return the leading right singular vectors from ``A' A``; None if some are not found."""
        transposed, size = self.root(self._F.T), self.shape[1]
        T, wanted = transposed @ transposed.T, (size - k, size - 1)
        V = eigh(T, subset_by_index=wanted, check_finite=False, overwrite_a=True)[1]
        # Of many equal eigenvalues, LAPACK may return fewer than it was asked for.
        return V[:, ::-1] if V.shape[1] == k else None

    def accurate_vectors(self, k: int) -> np.ndarray:
        """Return the leading right singular vectors from A itself."""
        transposed = self.root(self._F.T)
        return svd(transposed, full_matrices=False, check_finite=False, overwrite_a=True)[0][:, :k]

    def certify(self, z) -> tuple[np.ndarray, np.ndarray]:
        """Return the eigenvalues of vectors, and their relative residuals."""
        image = self.forward(z)
        theta = np.einsum("ij,ij->j", image, image)
        errors = self.backward(image)
        errors -= theta * z
        errors = np.linalg.norm(errors, axis=0)
        largest = theta.max(initial=0.0)
        scale = np.maximum(theta, _ROUNDING * largest)
        scale[theta <= _ROUNDING**2 * largest] = largest  # no scatter: there is nothing to tell
        return theta, np.divide(errors, scale, out=np.zeros_like(errors), where=scale > 0)


class _InverseRoot:
    """``(I + unit^2 U U')^{-1/2}``, applied without a square matrix."""

    def __init__(self, U, unit):
        self.Q, S, _ = np.linalg.svd(U, full_matrices=False)
        self._damped = self.Q * (1 - 1 / np.hypot(1.0, unit * S))

    def __call__(self, V) -> np.ndarray:
        return V - self._damped @ (self.Q.T @ V)


def with_signs(weights: np.ndarray) -> np.ndarray:
    """Return columns whose entry of largest size is positive; they are changed in place."""
    largest = weights[np.abs(weights).argmax(axis=0), np.arange(weights.shape[1])]
    weights *= np.where(largest < 0, -1.0, 1.0)
    return weights
