"""Kernel mean matching on a matrix that is there as a whole: pivoting, then the interior point.

Pivoting asks which rows are at 0, which free and which at their upper bound; it needs few
factorisations, and may cycle. The interior-point method (Mehrotra's predictor and corrector) needs
more, and never cycles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, lapack

from skltransfer._blas import threads_by, threads_for
from skltransfer._solvers._kmm_certificate import Best, KMMProblem, project, sum_multiplier

# Steps of the accelerated projected gradient method that starts the pivoting.
_START_STEPS = 10
# Pivoting steps that exchange all violators without reducing their number.
_GRACE_STEPS = 3
# Consecutive single exchanges after which the pivoting gives up.
_MAX_SINGLE_STEPS = 40
# Ridge on the free block, relative to the largest eigenvalue of K.
_RIDGE = 1e-11


class StoredMatrix:
    """A kernel matrix in memory, with the methods of `KernelMatrix` that the solvers use."""

    def __init__(self, K: np.ndarray):
        self.K = K
        self.shape = K.shape

    def block(self, rows, columns) -> np.ndarray:
        """Return the values between two lists of rows."""
        return self.K[np.ix_(rows, columns)]

    def product(self, support, values) -> np.ndarray:
        """Return ``K[:, support] @ values``."""
        b = np.zeros(len(self.K))
        b[support] = values
        with threads_for(self.K.size):
            return product(self.K, b)

    def diagonal(self) -> np.ndarray:
        """Return the diagonal of the matrix."""
        return self.K.diagonal()


class WarmStart(NamedTuple):
    """The solution of nearly the same programme, to start from."""

    point: np.ndarray  # (n,), feasible or nearly so
    newcomers: np.ndarray  # (n,), bool: rows that were not part of it
    total: float | None  # the bound that the sum stood at


@threads_by(lambda problem, *_, **__: problem.K.size)
def solve_dense(
    problem: KMMProblem, tol: float, max_iter: int, best: Best, start: WarmStart | None = None
) -> int:
    """Solve a programme, and return the number of steps; points go to `best`.

    Since f is convex, a bound on the sum matters only if the minimiser over the box violates it,
    and then the sum lies on that bound. So the problem is solved over the box first, and then, if
    necessary, over the box with the sum fixed. If the sum of an earlier solution was at a bound, it
    is fixed there first, and freed only if its multiplier has the wrong sign.
    """
    K, _, upper, lower_sum, upper_sum, *_ = problem
    lipschitz = 1.05 * largest_eigenvalue(K, 8 if start is None else 4)
    n_iter = 0
    if start is not None and start.total is not None:
        n_iter = _solve_with_sum(problem, start.total, start, lipschitz, tol, max_iter, best)
        if best.gap <= tol:
            return n_iter
        multiplier = sum_multiplier(best.weights, best.gradient, upper)
        if (multiplier > 0) == (start.total == upper_sum) or lower_sum == upper_sum:
            return n_iter
    box = problem.over_box()
    if start is None:
        point = accelerated_gradient(box, lipschitz)
        start = WarmStart(point, np.zeros(len(point), dtype=bool), None)
    inner = Best(box, best.smallest_scale)
    n_iter += _solve(box, None, start, lipschitz, tol, max_iter, inner)
    total = inner.weights.sum()
    bound = min(max(total, lower_sum), upper_sum)
    if bound == total:
        best.offer(inner.weights, inner.gradient + problem.kappa)
        best.raise_bound(inner.bound)
        return n_iter
    start = WarmStart(project(inner.weights, upper, bound, bound), start.newcomers & False, bound)
    return n_iter + _solve_with_sum(problem, bound, start, lipschitz, tol, max_iter, best)


def _solve_with_sum(problem, total, start, lipschitz, tol, max_iter, best) -> int:
    fixed = problem.with_sum(total, total)
    inner = Best(fixed, best.smallest_scale)
    n_iter = _solve(fixed, total, start, lipschitz, tol, max_iter, inner)
    # Certified among all sums allowed, not only those on the bound.
    best.offer(inner.weights, inner.gradient + problem.kappa)
    return n_iter


def _solve(problem, total, start, lipschitz, tol, max_iter, best) -> int:
    """Pivot; where that is not certified, go through the interior."""
    if offer_projected(best, start.point) <= tol:
        return 0
    n_iter = block_pivoting(
        problem, total, start.point, start.newcomers, lipschitz, tol, max_iter, best
    )
    if not best.gap <= tol:
        n_iter += interior_point(problem, total, lipschitz, tol, max_iter, best)
    return n_iter


class _Face(NamedTuple):
    """The rows that a step solves for, and the rows at their upper bound."""

    free: np.ndarray  # (n,), bool
    at_upper: np.ndarray  # (n,), bool


def accelerated_gradient(problem: KMMProblem, lipschitz: float) -> np.ndarray:
    """Take a few steps of FISTA with restart, to find most of the active set."""
    K, kappa, upper, *_ = problem
    b = momentum = project(upper / max(upper.max(), 1.0), *problem.bounds)
    t = 1.0
    for _ in range(_START_STEPS):
        gradient = K @ momentum - kappa
        new = project(momentum - gradient / lipschitz, *problem.bounds)
        if gradient @ (new - b) > 0:  # uphill: restart
            t, momentum = 1.0, new
        else:
            t, previous = 0.5 * (1 + np.sqrt(1 + 4 * t * t)), t
            momentum = new + (previous - 1) / t * (new - b)
        b = new
    return b


def block_pivoting(
    problem: KMMProblem,
    total: float | None,
    start: np.ndarray,
    newcomers: np.ndarray,
    lipschitz: float,
    tol: float,
    max_iter: int,
    best: Best,
) -> int:
    """Exchange indices between "at 0", "free" and "at the upper bound" until none violates.

    Kim and Park, "Fast Nonnegative Matrix Factorization", SIAM J. Sci. Comput. 2011: all
    violators at once while their number falls, else only the one of the largest index. Where
    `total` is given, the sum is held there by a multiplier. Points go to `best`.

    Parameters
    ----------
    problem : KMMProblem
        Programme with the whole matrix in memory.
    total : float or None
    start : ndarray of shape (n,)
        Feasible point, whose active bounds are active at first.
    newcomers : ndarray of shape (n,), bool
        Rows that are free at first, whatever their weight in `start`.
    lipschitz : float
        About the largest eigenvalue of K.
    tol : float
        Gap of `best` at which the exchanges may end before none violates.
    max_iter : int
    best : Best

    Returns
    -------
    n_iter : int
    """
    upper = problem.upper
    at_upper = (start >= upper * (1 - 1e-12)) & ~newcomers
    face = _Face(((start > 0) | newcomers) & ~at_upper, at_upper)
    exact = 1e-11 * np.abs(problem.kappa).max(initial=0.0)
    fewest, grace, n_single = len(upper) + 1, _GRACE_STEPS, 0
    for n_iter in range(1, max_iter + 1):
        if total is not None and not face.free.any():
            _free_one(problem, total, face)
        try:
            b, Kb, multiplier = _solve_face(problem, total, face, lipschitz, tol)
        except LinAlgError:
            return n_iter
        free, at_upper = face
        below, above = free & (b < 0), free & (b > upper)
        gradient = Kb - problem.kappa + multiplier
        misses = total is not None and abs(b.sum() - total) > 1e-12 * max(total, 1.0)
        if below.any() or above.any() or misses:
            gap = offer_projected(best, b)
        else:
            gap = best.offer(b, Kb)
        slack = max(exact, 1e-9 * np.abs(gradient[free]).max(initial=0.0))
        enters = ~free & ~at_upper & (gradient < -slack)
        leaves = at_upper & (gradient > slack)
        violators = np.flatnonzero(below | above | enters | leaves)
        if not len(violators) or gap <= tol:
            return n_iter
        if len(violators) < fewest:
            fewest, grace, n_single = len(violators), _GRACE_STEPS, 0
        elif grace > 0:
            grace -= 1
        else:
            violators, n_single = violators[-1:], n_single + 1
            if n_single > _MAX_SINGLE_STEPS:
                return n_iter
        violators = _limit_newcomers(violators, free, gradient)
        moved = np.zeros_like(free)
        moved[violators] = True
        face = _Face(
            (free & ~(moved & (below | above))) | (moved & (enters | leaves)),
            (at_upper & ~(moved & leaves)) | (moved & above),
        )
    return max_iter


def _limit_newcomers(violators, free, gradient) -> np.ndarray:
    """Keep all that leave the free block and the strongest that enter it."""
    entering = violators[~free[violators]]
    limit = max(50, int(free.sum()) // 4)
    if len(entering) <= limit:
        return violators
    strongest = entering[np.argsort(-np.abs(gradient[entering]), kind="stable")[:limit]]
    return np.concatenate([violators[free[violators]], strongest])


def _free_one(problem: KMMProblem, total: float, face: _Face) -> None:
    """Free the index that can best move the sum towards `total`."""
    free, at_upper = face
    gradient = product(problem.K, np.where(at_upper, problem.upper, 0.0)) - problem.kappa
    if problem.upper[at_upper].sum() < total:
        index = np.argmin(np.where(at_upper, np.inf, gradient))
    else:
        index = np.argmax(np.where(at_upper, gradient, -np.inf))
    free[index], at_upper[index] = True, False


def _solve_face(problem: KMMProblem, total, face: _Face, lipschitz: float, tol: float):
    """Solve for the free block; return the point, K times it, and the multiplier of the sum."""
    K, kappa = problem.K, problem.kappa
    b = np.where(face.at_upper, problem.upper, 0.0)
    F = np.flatnonzero(face.free)
    if not len(F):
        return b, product(K, b), 0.0
    right = kappa[F]
    if face.at_upper.any():
        right = right - product(K, b)[F]
    block = K[np.ix_(F, F)]
    block[np.diag_indices_from(block)] += _RIDGE * lipschitz
    factor = factorised(block)
    b[F] = solved(factor, right)
    multiplier = 0.0
    if total is not None:
        ones = solved(factor, np.ones(len(F)))
        multiplier = (b.sum() - total) / ones.sum()
        b[F] -= multiplier * ones
    Kb = product(K, b)
    residual = kappa[F] - multiplier - Kb[F]
    if np.abs(residual).max() <= 1e-2 * tol * np.abs(kappa).mean():
        return b, Kb, multiplier
    # One step of refinement removes the effect of the ridge.
    change = solved(factor, residual)
    if total is not None:
        shift = (change.sum() + b.sum() - total) / ones.sum()
        multiplier, change = multiplier + shift, change - shift * ones
    b[F] += change
    return b, product(K, b), multiplier


def interior_point(
    problem: KMMProblem,
    total: float | None,
    lipschitz: float,
    tol: float,
    max_iter: int,
    best: Best,
) -> int:
    """Follow the central path, with one Cholesky factorisation per step; return their number.

    Where `total` is given, the sum is held there by a multiplier. Points go to `best`.
    """
    K, kappa, upper = problem.K, problem.kappa, problem.upper
    n = len(kappa)
    b = upper * (0.5 if total is None else np.clip(total / upper.sum(), 1e-3, 1 - 1e-3))
    scale = max(np.abs(K @ b - kappa).max(), 1e-8 * lipschitz)
    z, w, multiplier = np.full(n, scale), np.full(n, scale), 0.0
    for n_iter in range(1, max_iter + 1):
        if offer_projected(best, b) <= tol:
            return n_iter
        room = upper - b
        dual_residual = K @ b - kappa + multiplier - z + w
        mu = (b @ z + room @ w) / (2 * n)
        M = K.copy()
        M[np.diag_indices_from(M)] += z / b + w / room + 1e-14 * lipschitz
        try:
            factor = factorised(M)
        except LinAlgError:
            return n_iter
        ones = None if total is None else solved(factor, np.ones(n))

        def newton(target_z, target_w, b=b, room=room, z=z, w=w, r=dual_residual, f=factor, o=ones):
            """Solve for the step that brings b z and room w to their targets."""
            right = -r + (target_z / b - z) - (target_w / room - w)
            db = solved(f, right)
            dm = 0.0
            if total is not None:
                dm = (db.sum() - (total - b.sum())) / o.sum()
                db = db - dm * o
            return db, target_z / b - z - z / b * db, target_w / room - w + w / room * db, dm

        db, dz, dw, _ = newton(0.0, 0.0)
        step = _step_length((b, db), (room, -db), (z, dz), (w, dw))
        ahead = ((b + step * db) @ (z + step * dz) + (room - step * db) @ (w + step * dw)) / (2 * n)
        sigma = min((ahead / mu) ** 3, 1.0)
        db, dz, dw, dm = newton(sigma * mu - db * dz, sigma * mu + db * dw)
        step = 0.99 * _step_length((b, db), (room, -db), (z, dz), (w, dw))
        b, z, w = b + step * db, z + step * dz, w + step * dw
        multiplier += step * dm
        if step < 1e-12 or not np.isfinite(b).all():
            return n_iter
    return max_iter


def _step_length(*pairs) -> float:
    """Return the largest step in (0, 1] that keeps each value positive along its change."""
    step = 1.0
    for value, change in pairs:
        falling = change < 0
        step = min(step, float((-value[falling] / change[falling]).min(initial=1.0)))
    return step


def product(K: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``K b`` from the columns that matter; solutions are sparse."""
    support = np.flatnonzero(b)
    if 4 * len(support) > len(b):
        return K @ b
    return b[support] @ K[support]


def offer_projected(best: Best, point: np.ndarray) -> float:
    """Offer the feasible point nearest to `point`, and return the gap of the best."""
    b = project(point, *best.problem.bounds)
    return best.offer(b, product(best.problem.K, b))


def largest_eigenvalue(K: np.ndarray, n_steps: int) -> float:
    """Estimate the largest eigenvalue by power iteration."""
    v = 1.0 + 0.1 * np.cos(np.arange(len(K)))
    value = K.diagonal().max()
    for _ in range(n_steps):
        norm = np.linalg.norm(v)
        if norm == 0:
            break
        v = K @ (v / norm)
        value = max(value, np.linalg.norm(v))
    return value if value > 0 else 1.0


def factorised(M: np.ndarray) -> np.ndarray:
    """Overwrite a symmetric C-ordered matrix by its Cholesky factor, for `solved`."""
    # LAPACK's order is the transpose, in which the lower triangle is the faster one.
    factor, failed = lapack.dpotrf(M.T, lower=1, overwrite_a=1, clean=0)
    if failed:
        raise LinAlgError(f"the leading minor of order {failed} is not positive definite")
    return factor


def solved(factor: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve with a factor of `factorised`."""
    return lapack.dpotrs(factor, right, lower=1)[0]
