"""The base class of TCA and JDA: a kernel, an eigenproblem over both domains, one map."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy.linalg import eigh
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.extmath import svd_flip

from skltransfer._arrays import copy_of, moved_to, namespace_of
from skltransfer._blas import threads_by, threads_for
from skltransfer._parameters import Choice, Count, Flag, Number
from skltransfer._solvers._alignment import largest_size
from skltransfer._solvers._factors import triangle
from skltransfer._solvers._kernel_choice import check_kernel, fitted_gamma
from skltransfer._solvers._kernel_width import warn_of_width
from skltransfer._solvers._kernels import Kernel, KernelMatrix
from skltransfer._solvers._landmarks import LandmarkSpace
from skltransfer._solvers._transfer_components import Components, TransferProblem
from skltransfer._warnings import warn
from skltransfer.feature._aligner import BaseAligner

# Number of kernel values that `transform` holds at a time.
TILE_VALUES = 2**22
# With "auto", all rows are landmarks up to so many rows of both domains, and else so many.
LARGEST_EXACT, N_LANDMARKS = 10_000, 500
# Relative error of an eigenvalue that no user of the components would see.
_CERTAIN = 1e-3


class KernelAligner(ClassNamePrefixFeaturesOutMixin, BaseAligner):
    """Components that are linear in the kernel values between a row and the fitted rows.

    A subclass has the parameters of :class:`~skltransfer.TCA`. Its `_align` calls `_start`, then
    `_solve` as often as it has differences between the domains to remove.
    """

    _parameters = {
        "n_components": Count(unset=(None,)),
        "form": Choice("auto", "dual", "primal"),
        "regularization": Number(0, low_open=True, unset=("auto",)),
        "unit_variance": Flag(),
        "n_landmarks": Count(unset=("auto", None)),
        "tol": Number(0, low_open=True),
    }

    def _check_combinations(self) -> None:
        check_kernel(self)
        if self.form == "primal" and not self._is_linear():
            raise ValueError(
                f"form='primal' projects features and needs kernel='linear', not {self.kernel!r}. "
                "Set form='dual' for other kernels."
            )

    @property
    def _n_features_out(self) -> int:
        return self.weights_.shape[1]

    def _map_source(self, X):
        return self._map_target(X)

    def _map_target(self, X):
        if self.rows_ is None:
            return X @ self.weights_ - self.offset_
        n, mapped = len(self.rows_), np.empty((len(X), self._n_features_out))
        step = max(TILE_VALUES // n, 1)
        for i in range(0, len(X), step):
            part = X[i : i + step] - self._center
            values = KernelMatrix(self._kernel(), np.vstack([part, self.rows_]))
            values = values.block(np.arange(len(part)), np.arange(len(part), len(part) + n))
            mapped[i : i + step] = values @ self.weights_
        return mapped - self.offset_

    def _is_linear(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel == "linear"

    def _kernel(self) -> Kernel:
        return Kernel(self.kernel, self.gamma_, self.degree, self.coef0, self.kernel_params)

    def _start(self, X, X_target) -> _Spaces:
        """Return the eigenproblem, apart from the differences between the domains."""
        Z = copy_of(X) if X_target is None else namespace_of(X).concat([X, X_target])
        self._uncertainty = 0.0
        n_landmarks = self._n_landmarks(Z.shape[0])
        self._count = self._n_wanted(*Z.shape, n_landmarks)
        self.n_landmarks_, self.kernel_error_ = None, 0.0
        if self._is_linear():
            self.rows_, self.gamma_ = None, None
            return _LinearSpaces(Z, "dual" if self.form == "dual" else "primal")
        self._center = np.zeros(Z.shape[1])
        self.gamma_ = fitted_gamma(self, Z, np.ones(len(Z)), Z[:0])
        if self.kernel == "rbf":  # distances lose fewer digits near the origin
            self._center = np.median(Z, axis=0)
            Z -= self._center
        kernel = self._kernel()
        matrix = KernelMatrix(kernel, Z)
        warn_of_width(self, kernel, Z, Z[:0])
        if n_landmarks == len(Z):
            self.rows_ = Z
            return _KernelSpace(self._checked_symmetric(matrix.matrix()))
        drawn = self._draw(len(X), len(Z) - len(X), n_landmarks)
        self.n_landmarks_, self.rows_ = n_landmarks, Z[drawn]
        spaces = LandmarkSpace(matrix, drawn, self._checked_symmetric(matrix.block(drawn, drawn)))
        self.kernel_error_ = spaces.error
        return spaces

    def _checked_symmetric(self, K: np.ndarray) -> np.ndarray:
        """Return a kernel matrix, and refuse a callable that is not symmetric."""
        if callable(self.kernel):
            largest, step = np.abs(K).max(initial=0.0), 512
            for i in range(0, len(K), step):
                rows = K[i : i + step]
                if np.abs(rows - K[:, i : i + step].T).max() > 1e-9 * largest:
                    raise ValueError(
                        f"kernel={self._kernel().name} is not symmetric: k(x, y) differs from "
                        "k(y, x). Pass a symmetric kernel."
                    )
        return K

    def _n_landmarks(self, n_rows: int) -> int:
        """Return the number of rows whose kernel values make the components."""
        if isinstance(self.n_landmarks, str):
            return n_rows if n_rows <= LARGEST_EXACT else N_LANDMARKS
        return n_rows if self.n_landmarks is None else min(self.n_landmarks, n_rows)

    def _draw(self, n: int, m: int, n_landmarks: int) -> np.ndarray:
        """Return the positions of landmarks: half from each domain, or all that one has."""
        of_target = min(m, max(n_landmarks // 2, n_landmarks - n))
        rng = check_random_state(self.random_state)
        drawn = [rng.permutation(n)[: n_landmarks - of_target], n + rng.permutation(m)[:of_target]]
        return np.sort(np.concatenate(drawn))

    def _n_wanted(self, n_rows: int, n_columns: int, n_landmarks: int) -> int:
        n_rows = n_rows if self._is_linear() else n_landmarks
        if self.n_components is None:
            return max(min(n_columns, n_rows - 1), 1)
        n_most = min(n_rows, n_columns) if self._is_linear() else n_rows
        return min(self.n_components, n_most)

    def _solve(self, spaces: _Spaces, L: np.ndarray, n_rows: int) -> np.ndarray:
        """Learn the map that removes the differences `L`; return the first rows mapped."""
        found = spaces.solve(L, self._penalty(L), self._count, float(self.tol))
        variance = float(found.eigenvalues[0]) / len(L)
        scale = float(np.sqrt(variance)) if self.unit_variance and variance > 0 else 1.0
        offset = namespace_of(found.eigenvalues).zeros_like(found.eigenvalues)
        self._keep(found, offset, scale)
        return spaces.mapped(self.weights_, n_rows)

    def _solve_without_target(self, spaces: _Spaces, n_rows: int) -> np.ndarray:
        """Learn kernel principal components; return the rows mapped."""
        found, offset = spaces.principal(self._count, float(self.tol))
        self._keep(found, offset, 1.0)
        return spaces.mapped(self.weights_, n_rows) - offset

    def _penalty(self, L) -> float:
        if not isinstance(self.regularization, str):
            return float(self.regularization)
        if not self._is_linear() or self.form == "dual":
            return 1.0
        return 1 / float(np.sum((L[:, 0] / np.abs(L[:, 0]).sum() * 2) ** 2))  # 1 / (1/n + 1/m)

    def _keep(self, found: Components, offset, scale: float) -> None:
        self.weights_, self.eigenvalues_ = found.weights / scale, found.eigenvalues
        self.scale_ = scale
        self.residual_, self.offset_ = found.residual, offset
        self._uncertainty = max(self._uncertainty, found.visible_residual)

    def _warn_unless_certain(self) -> None:
        if self._uncertainty > max(_CERTAIN, self.tol):
            warn(
                f"Rounding hides some components of {type(self).__name__}, because the kernel "
                "values, or the features, differ too much in scale. Scale the features (by a "
                "StandardScaler before this estimator), or lower n_components.",
                ConvergenceWarning,
            )


class _KernelSpace(TransferProblem):
    """The kernel matrix of all rows."""

    @threads_by(lambda self, *_, **__: self.F.size)
    def principal(self, k, tol) -> tuple[Components, np.ndarray]:
        centered = self.F - self.F.mean(axis=1)[:, None]
        n = len(centered)
        values, V = eigh(centered, subset_by_index=(n - k, n - 1), check_finite=False)
        if len(values) < k:  # LAPACK may lose some of many equal eigenvalues
            values, V = (part[..., -k:] for part in eigh(centered, driver="evd"))
        values, V = values[::-1], svd_flip(V[:, ::-1], None)[0]
        largest = max(values[0], 0.0)
        errors = np.linalg.norm(centered @ V - V * values, axis=0)
        residual = (errors / np.maximum(values, 1e-7 * largest)).max() if largest > 0 else 0.0
        kept = values > n * np.finfo(float).eps * largest
        values = np.where(kept, values, 0.0)
        V -= V.mean(axis=0)
        weights = V / np.sqrt(np.where(kept, values, np.inf)) / np.sqrt(self.unit)
        offset = self.unit * (self.means @ weights)
        return Components(values * self.unit, weights, float(residual), float(residual)), offset


class _LinearSpaces:
    """Rows under the linear kernel: whatever the form, the map is a matrix over columns.

    The rows may be arrays of any library; so are the components then.
    """

    def __init__(self, Z, form):
        self._Z, self._form = Z, form

    @cached_property
    @np.errstate(over="ignore", invalid="ignore")  # TransferProblem looks at what it is given
    def _prepared(self) -> tuple[TransferProblem, np.ndarray | None]:
        """The smallest equivalent problem, and the matrix that its solutions are mapped by."""
        Z, (n, d) = self._Z, self._Z.shape
        xp = namespace_of(Z)
        if self._form == "primal":
            if d <= n:
                return TransferProblem(copy_of(Z)), None
            # Solutions lie in the span of the centred rows.
            with threads_for(n * d):
                basis = xp.linalg.qr((Z - xp.mean(Z, axis=0)).T)[0]
            return TransferProblem(Z @ basis), basis
        if d >= n:
            return TransferProblem(Z @ Z.T), Z.T
        # With Z'Z = S^2, the columns of Z S^-1 are an orthonormal basis of the columns of K = ZZ'.
        # So w = Z S^-1 q turns K into Z S: the dual problem, in as many dimensions as features.
        scale = largest_size(Z) or 1.0
        with threads_for(n * d):
            _, singular, basis = np.linalg.svd(triangle(Z / scale), full_matrices=False)
        root = moved_to(Z, (basis.T * (singular * scale)) @ basis)
        return TransferProblem(Z @ root), root

    def solve(self, L, regularization, k, tol) -> Components:
        problem, basis = self._prepared
        found = problem.solve(L, regularization, k, tol)
        eigenvalues, weights = moved_to(self._Z, (found.eigenvalues, found.weights))
        weights = weights if basis is None else basis @ weights
        return found._replace(eigenvalues=eigenvalues, weights=weights)

    def mapped(self, weights, n_rows: int):
        return self._Z[:n_rows, :] @ weights

    def principal(self, k, tol) -> tuple[Components, np.ndarray]:
        primal = self if self._form == "primal" else _LinearSpaces(self._Z, "primal")
        found = primal.solve(np.zeros((self._Z.shape[0], 1)), 1.0, k, tol)
        return found, namespace_of(self._Z).mean(self._Z, axis=0) @ found.weights


_Spaces = _KernelSpace | _LinearSpaces | LandmarkSpace
