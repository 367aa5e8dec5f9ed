"""Transfer components: directions of large scatter along which two domains agree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh, svd

# Up to this size, or with more components than this part of it, all vectors are computed.
_DENSE_SIZE, _DENSE_PART = 120, 1 / 8
# Columns that are multiplied at once: a matrix that leaves the cache is read once for all.
_BLOCK, _LARGE_BLOCK, _LARGE_SIZE = 4, 8, 700
# Eigenvalues below this part of the largest are rounding.
_ROUNDING = 1e-13
# Errors of the Lanczos method fall ever faster.
_ACCELERATION = 1.3
# Sizes of entries whose squares need no scaling.
_SAFE_SIZES = (1e-50, 1e50)
# Beyond these, relative to the root of the regularization, an eigenvalue leaves float64.
_SMALLEST, _LARGEST = 1e-140, 1e140


class Components(NamedTuple):
    """Solutions of the generalised eigenproblem, largest eigenvalue first.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n_components,)
    weights : ndarray of shape (size, n_components)
        With ``W' B W = I``.
    residual : float
        Largest relative residual, see `TransferProblem.solve`.
    """

    eigenvalues: np.ndarray
    weights: np.ndarray
    residual: float


class TransferProblem:
    """The eigenproblem of transfer components, for any number of domain differences.

    ``F' H F w = theta (regularization I + F' L L' F) w`` for the largest theta, where H subtracts
    the mean of each column: F is the kernel matrix of all rows (Pan et al. 2011, section III)
    or the rows themselves (Long et al. 2013, section 3). The columns of L sum to 0.

    Parameters
    ----------
    F : ndarray of shape (n_rows, size)
        Scaled in place where its entries are very large or small.
    is_kernel : bool
        Whether F is symmetric, and to be used as it is; else its columns are centred in place.
    """

    def __init__(self, F: np.ndarray, *, is_kernel: bool):
        largest = float(max(F.max(), -F.min()))
        is_safe = largest == 0 or _SAFE_SIZES[0] < largest < _SAFE_SIZES[1]
        self.unit = 1.0 if is_safe else largest
        if not is_safe:
            F /= largest
        self.F, self.is_kernel = F, is_kernel
        self.size = F.shape[1]
        if not is_kernel:
            F -= F.mean(axis=0)
            self._scatter = F.T @ F

    def solve(
        self, L: np.ndarray, regularization: float, n_components: int, tol: float
    ) -> Components:
        """Return the largest eigenvalues and their vectors.

        Parameters
        ----------
        L : ndarray of shape (n_rows, n_differences)
        regularization : float
        n_components : int
        tol : float
            Relative residual to reach: with ``B = regularization I + F' L L' F``, the norm of
            ``B^{-1/2} (F' H F w - theta B w)`` over ``theta |B^{1/2} w|``. An exact eigenvalue
            lies within that part of theta. Below 1e-13 of the largest theta, relative to that.

        Raises
        ------
        ValueError
            If the entries of F are too large or small for the regularization.
        """
        unit = self.unit / np.sqrt(regularization)
        if not _SMALLEST < unit < _LARGEST:
            raise ValueError(
                f"The kernel values of the rows, or the rows, are of the order of {self.unit:.1e}:"
                " their squares leave the range of floats. Scale the columns of X and X_target "
                "(for example by a StandardScaler before this estimator)."
            )
        root = _InverseRoot(self.F.T @ L, unit)
        z = None
        if self.size > _DENSE_SIZE and n_components <= _DENSE_PART * self.size:
            z = _lanczos(lambda V: self._product(root, V), self.size, n_components, tol)
        if z is None:
            z = self._dense(root, n_components)
        theta, z, residual = self._certified(root, z)
        if residual > tol:
            polished = self._certified(root, self._accurate(root, n_components))
            theta, z, residual = min(polished, (theta, z, residual), key=lambda found: found[2])
        weights = root(z) / np.sqrt(regularization)
        weights *= np.where(_largest_entries(weights) < 0, -1.0, 1.0)
        return Components(theta * unit**2, weights, float(residual))

    def _image(self, V) -> np.ndarray:
        """Return H F V."""
        V = self.F @ V
        if self.is_kernel:
            V -= V.mean(axis=0)
        return V

    def _product(self, root, V) -> np.ndarray:
        """Multiply by ``T = B^{-1/2} F' H F B^{-1/2}``."""
        V = root(V)
        return root(self.F @ self._image(V) if self.is_kernel else self._scatter @ V)

    def _dense(self, root, n_components) -> np.ndarray:
        if self.is_kernel:
            half = root(self.F)  # the transpose of F B^{-1/2}
            half -= half.mean(axis=1)[:, None]
            T = half @ half.T
        else:
            T = root(root(self._scatter).T)
        return eigh(
            T,
            subset_by_index=(self.size - n_components, self.size - 1),
            check_finite=False,
            overwrite_a=True,
        )[1][:, ::-1]

    def _accurate(self, root, n_components) -> np.ndarray:
        """Return vectors whose small eigenvalues do not drown in the rounding of the largest."""
        half = root(self.F.T)
        if self.is_kernel:
            half -= half.mean(axis=1)[:, None]
        return svd(half, full_matrices=False, check_finite=False, overwrite_a=True)[0][
            :, :n_components
        ]

    def _certified(self, root, z) -> tuple[np.ndarray, np.ndarray, float]:
        """Return eigenvalues, vectors and the largest relative residual, by true products."""
        image = self._image(root(z))
        theta = np.einsum("ij,ij->j", image, image)
        product = root(self.F.T @ image)
        product -= theta * z
        errors = np.sqrt(np.einsum("ij,ij->j", product, product))
        floor = _ROUNDING * theta.max(initial=0.0)
        scale = np.maximum(theta, floor)
        residual = np.divide(errors, scale, out=np.zeros_like(errors), where=scale > 0)
        return theta, z, residual.max(initial=0.0)


class _InverseRoot:
    """``(I + unit^2 U U')^{-1/2}``, applied without a square matrix."""

    def __init__(self, U, unit):
        Q, S, _ = np.linalg.svd(U, full_matrices=False)
        self.Q, self.damping = Q, 1 - 1 / np.hypot(1.0, unit * S)[:, None]

    def __call__(self, V) -> np.ndarray:
        return V - self.Q @ (self.damping * (self.Q.T @ V))


def _lanczos(product, size: int, k: int, tol: float) -> np.ndarray | None:
    """Return eigenvectors of the `k` largest eigenvalues by the block Lanczos method.

    The basis is kept, and kept orthonormal. Returns None where half of all dimensions would not
    do.
    """
    block = _LARGE_BLOCK if size > _LARGE_SIZE else _BLOCK
    limit = size // 2 // block * block
    basis = np.empty((size, limit + block), order="F")
    T = np.zeros((limit, limit))  # the product, in the basis
    start = np.random.default_rng(0).standard_normal((size, block))
    basis[:, :block] = np.linalg.qr(start)[0]
    n, next_check, last = block, max(3 * k, k + 2 * block), None
    while n <= limit:
        known, newest = basis[:, :n], basis[:, n - block : n]
        P = product(newest)
        near = slice(max(n - 2 * block, 0), n)  # the others differ from 0 by rounding
        inside = basis[:, near].T @ P
        P -= basis[:, near] @ inside
        T[near, n - block : n] = inside
        P -= known @ (known.T @ P)
        new, R = np.linalg.qr(P)
        if n >= next_check:
            theta, Y = np.linalg.eigh(T[:n, :n], UPLO="U")
            theta, Y = theta[: -k - 1 : -1], Y[:, : -k - 1 : -1]
            errors = np.linalg.norm(R @ Y[-block:], axis=0)
            error = (errors / np.maximum(theta, _ROUNDING * theta[0])).max() if theta[0] > 0 else 0
            if error <= tol / 2:
                return known @ Y
            next_check, last = _next_check(n, error, last, tol / 4, block), (n, error)
        if np.abs(np.diag(R)).min() <= 1e-10 * np.abs(R).max():
            # An invariant subspace: what is left is rounding, and has to be made orthogonal.
            for _ in range(2):
                new -= known @ (known.T @ new)
                new = np.linalg.qr(new)[0]
        if n < limit:
            basis[:, n : n + block] = new
        n += block
    return None


def _next_check(n, error, last, wanted, block) -> int:
    """Return the size of the basis that is to suffice, if errors go on falling as they did."""
    grown = n // 3
    if last is not None and 0 < error < last[1]:
        rate = np.log(last[1] / error) / (n - last[0])
        grown = min(grown, np.log(error / wanted) / (_ACCELERATION * rate))
    return n + max(int(grown), block)


def _largest_entries(weights) -> np.ndarray:
    return weights[np.abs(weights).argmax(axis=0), np.arange(weights.shape[1])]
