"""The quadratic programme of kernel mean matching, solved exactly and with a certificate.

Huang, Smola, Gretton, Borgwardt and Schoelkopf, "Correcting Sample Selection Bias by Unlabeled
Data", NIPS 2006, equation (12), for rows that may count more than once::

    minimise    f(b) = 1/2 b'Kb - kappa'b
    subject to  0 <= b <= upper,   lower_sum <= sum(b) <= upper_sum

Since f is convex, the bounds on the sum matter only where the minimiser over the box breaks one,
and then the sum lies on that bound. So the problem is solved over the box first, and, if need
be, over the box with the sum fixed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

# Steps of the accelerated projected gradient method that starts the pivoting.
_START_STEPS = 40
# Pivoting steps that exchange all violators without reducing their number.
_GRACE_STEPS = 3
# Consecutive single exchanges after which the interior-point method takes over.
_MAX_SINGLE_STEPS = 40
# Working sets that are tried before the interior-point method runs on all rows.
_MAX_WORKING_SETS = 30
# Ridge on the free block, relative to the largest eigenvalue of K.
_RIDGE = 1e-11
# The gap is taken relative to no less than this part of ``n trace(K) / 2``.
_SMALLEST_SCALE = 1e-8


class KMMSolution(NamedTuple):
    """Weights and what proves them."""

    weights: np.ndarray  # (n,), feasible
    objective: float
    gap: float  # certified bound on (f(b) - f*) / |f(b)|; see _SMALLEST_SCALE
    n_iter: int


class _Problem(NamedTuple):
    K: np.ndarray  # (n, n), symmetric, positive semi-definite
    kappa: np.ndarray  # (n,)
    upper: np.ndarray  # (n,), positive
    lower_sum: float
    upper_sum: float

    def with_sum(self, lower_sum: float, upper_sum: float) -> _Problem:
        return self._replace(lower_sum=lower_sum, upper_sum=upper_sum)


class _Best:
    """The feasible point of the lowest objective so far, and the highest lower bound."""

    def __init__(self, problem: _Problem):
        self.problem = problem
        self.weights, self.objective, self.bound, self.gap = None, np.inf, -np.inf, np.inf
        # Where the optimum is 0 in exact arithmetic, no gap is small beside it.
        self.smallest_scale = _SMALLEST_SCALE * 0.5 * len(problem.K) * np.trace(problem.K)

    def offer(self, point: np.ndarray) -> float:
        """Project `point`, keep it if it is the best, and return the gap of the best."""
        b = project(point, self.problem.upper, self.problem.lower_sum, self.problem.upper_sum)
        Kb = _product(self.problem.K, b)
        objective = 0.5 * b @ Kb - self.problem.kappa @ b
        gap = optimality_gap(
            b,
            Kb - self.problem.kappa,
            self.problem.upper,
            self.problem.lower_sum,
            self.problem.upper_sum,
        )
        if self.weights is None or objective < self.objective:
            self.weights, self.objective = b, objective
        if objective - gap > self.bound:
            self.bound = objective - gap
        gap = max(self.objective - self.bound, 0.0)
        self.gap = gap / max(abs(self.objective), self.smallest_scale) if gap else 0.0
        return self.gap


def _product(K: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return ``K b`` from the columns that matter; solutions are sparse."""
    support = np.flatnonzero(b)
    if 2 * len(support) > len(b):
        return K @ b
    return b[support] @ K[support]


def optimality_gap(b, gradient, upper, lower_sum, upper_sum) -> float:
    """Bound ``f(b) - f*`` by ``g'b - min g'v`` over the feasible v, in O(n log n).

    The linear programme is a fractional knapsack: fill the boxes in the order of `gradient`
    until the sum is reached.
    """
    order = np.argsort(gradient)
    g, room = gradient[order], upper[order]
    total = min(max(room[g < 0].sum(), lower_sum), upper_sum)
    filled = np.clip(total - (np.cumsum(room) - room), 0.0, room)
    return max(float(gradient @ b - g @ filled), 0.0)


def project(point, upper, lower_sum, upper_sum) -> np.ndarray:
    """Project onto ``0 <= b <= upper, lower_sum <= sum(b) <= upper_sum``, exactly."""
    b = np.clip(point, 0.0, upper)
    total = b.sum()
    bound = min(max(total, lower_sum), upper_sum)
    if bound == total:
        return b
    # sum(clip(point - tau, 0, upper)) falls in tau, with kinks at point - upper and point.
    kinks = np.concatenate([point - upper, point])
    order = np.argsort(kinks)
    kinks = kinks[order]
    slopes = np.cumsum(np.where(order < len(point), -1.0, 1.0))
    sums = upper.sum() + np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(kinks))])
    tau = np.interp(-bound, -sums, kinks)
    return np.clip(point - tau, 0.0, upper)


def solve_kmm(
    K, kappa, upper, lower_sum, upper_sum, *, tol: float = 1e-6, max_iter: int = 500
) -> KMMSolution:
    """Minimise ``1/2 b'Kb - kappa'b`` over a box and bounds on the sum.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        Symmetric and positive semi-definite.
    kappa : ndarray of shape (n,)
    upper : ndarray of shape (n,)
        Upper bounds, all positive. Their sum is at least `lower_sum`.
    lower_sum, upper_sum : float
        Bounds on the sum.
    tol : float
        Relative gap at which a solution counts as certified.
    max_iter : int
        Largest number of pivoting steps, and of interior-point steps.

    Returns
    -------
    KMMSolution
        Its `gap` is at most `tol` where the solution is certified.
    """
    # No weight exceeds the sum: where `upper` allows more, nothing but rounding would come of it.
    upper = np.minimum(upper, max(upper_sum, np.finfo(float).tiny))
    problem = _Problem(K, kappa, upper, lower_sum, upper_sum)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # offers of no use
        return _solve_box_then_sum(problem, tol, max_iter)


def _solve_box_then_sum(problem: _Problem, tol: float, max_iter: int) -> KMMSolution:
    K, _, upper, lower_sum, upper_sum = problem
    lipschitz = 1.05 * _largest_eigenvalue(K)
    box = problem.with_sum(0.0, upper.sum())
    start = _accelerated_gradient(box, lipschitz)
    solution = _solve(box, None, start, lipschitz, tol, max_iter)
    total = solution.weights.sum()
    bound = min(max(total, lower_sum), upper_sum)
    if bound == total:
        return solution
    n_iter = solution.n_iter
    start = project(solution.weights, upper, bound, bound)
    solution = _solve(problem.with_sum(bound, bound), bound, start, lipschitz, tol, max_iter)
    best = _Best(problem)  # certify among all sums allowed, not only those on the bound
    best.offer(solution.weights)
    return KMMSolution(best.weights, best.objective, best.gap, n_iter + solution.n_iter)


def _solve(problem, total, start, lipschitz, tol, max_iter) -> KMMSolution:
    """Pivot; where that is not certified, go through the interior: of a face, then of all."""
    best = _Best(problem)
    best.offer(start)
    n_iter = _block_pivoting(problem, total, start, lipschitz, tol, max_iter, best)
    if best.gap > tol:
        n_iter += _interior_of_working_set(problem, total, lipschitz, tol, max_iter, best)
    if best.gap > tol:
        n_iter += _interior_point(problem, total, lipschitz, tol, max_iter, best)
    return KMMSolution(best.weights, best.objective, best.gap, n_iter)


def _largest_eigenvalue(K: np.ndarray, n_steps: int = 20) -> float:
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


def _accelerated_gradient(problem: _Problem, lipschitz: float) -> np.ndarray:
    """Take a few steps of FISTA with restart, to find most of the active set."""
    K, kappa, upper, *sums = problem
    b = momentum = project(upper / max(upper.max(), 1.0), upper, *sums)
    t = 1.0
    for _ in range(_START_STEPS):
        gradient = K @ momentum - kappa
        new = project(momentum - gradient / lipschitz, upper, *sums)
        if gradient @ (new - b) > 0:  # uphill: restart
            t, momentum = 1.0, new
        else:
            t, previous = 0.5 * (1 + np.sqrt(1 + 4 * t * t)), t
            momentum = new + (previous - 1) / t * (new - b)
        b = new
    return b


def _block_pivoting(problem, total, start, lipschitz, tol, max_iter, best) -> int:
    """Exchange indices between "at 0", "free" and "at the upper bound" until none violates.

    Kim and Park, "Fast Nonnegative Matrix Factorization", SIAM J. Sci. Comput. 2011: all
    violators at once while their number falls, else only the one of the largest index. Where
    `total` is given, the sum is held there by a multiplier.
    """
    upper = problem.upper
    at_upper = start >= upper * (1 - 1e-12)
    free = (start > 0) & ~at_upper
    fewest, grace, n_single = len(upper) + 1, _GRACE_STEPS, 0
    for n_iter in range(1, max_iter + 1):
        if total is not None and not free.any():
            _free_one(problem, total, free, at_upper)
        try:
            b, gradient = _solve_free(problem, total, free, at_upper, lipschitz)
        except LinAlgError:
            return n_iter
        gap = best.offer(b)
        slack = 1e-9 * max(1.0, np.abs(gradient[free]).max(initial=0.0))
        below, above = free & (b < 0), free & (b > upper)
        enters = ~free & ~at_upper & (gradient < -slack)
        leaves = at_upper & (gradient > slack)
        violators = np.flatnonzero(below | above | enters | leaves)
        if not len(violators) or (gap <= tol and len(violators) >= fewest):
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
        free = (free & ~(moved & (below | above))) | (moved & (enters | leaves))
        at_upper = (at_upper & ~(moved & leaves)) | (moved & above)
    return max_iter


def _limit_newcomers(violators, free, gradient) -> np.ndarray:
    """Keep all that leave the free block and the strongest that enter it."""
    entering = violators[~free[violators]]
    limit = max(50, int(free.sum()) // 4)
    if len(entering) <= limit:
        return violators
    strongest = entering[np.argsort(-np.abs(gradient[entering]), kind="stable")[:limit]]
    return np.concatenate([violators[free[violators]], strongest])


def _free_one(problem, total, free, at_upper) -> None:
    """Free the index that can best move the sum towards `total`."""
    gradient = _product(problem.K, np.where(at_upper, problem.upper, 0.0)) - problem.kappa
    if problem.upper[at_upper].sum() < total:
        index = np.argmin(np.where(at_upper, np.inf, gradient))
    else:
        index = np.argmax(np.where(at_upper, gradient, -np.inf))
    free[index], at_upper[index] = True, False


def _solve_free(problem, total, free, at_upper, lipschitz):
    """Solve for the free block; return the point and its (shifted) gradient."""
    K, kappa = problem.K, problem.kappa
    b = np.where(at_upper, problem.upper, 0.0)
    multiplier = 0.0
    F = np.flatnonzero(free)
    if len(F):
        right = kappa[F] - _product(K, b)[F] if at_upper.any() else kappa[F]
        block = K[np.ix_(F, F)]
        ridged = block.copy()
        ridged[np.diag_indices_from(ridged)] += _RIDGE * lipschitz
        factor = cho_factor(ridged, overwrite_a=True, check_finite=False)
        free_part = cho_solve(factor, right, check_finite=False)
        free_part += cho_solve(factor, right - block @ free_part, check_finite=False)
        b[F] = free_part
        if total is not None:
            direction = cho_solve(factor, np.ones(len(F)), check_finite=False)
            multiplier = (b.sum() - total) / direction.sum()
            b[F] -= multiplier * direction
    return b, _product(K, b) - kappa + multiplier


def _interior_of_working_set(problem, total, lipschitz, tol, max_iter, best) -> int:
    """Run the interior-point method on the rows that matter, and add violators to them.

    Solutions are sparse, and a step costs the cube of the number of rows. Gives up (to the
    method on all rows) when half of the rows matter.
    """
    n, n_iter = len(problem.upper), 0
    working = best.weights > 1e-6 * problem.upper
    for _ in range(_MAX_WORKING_SETS):
        W = np.flatnonzero(working)
        if not len(W) or len(W) > n // 2 or (total is not None and problem.upper[W].sum() <= total):
            break
        part = problem._replace(
            K=problem.K[np.ix_(W, W)], kappa=problem.kappa[W], upper=problem.upper[W]
        )
        if total is None:
            part = part.with_sum(0.0, part.upper.sum())
        inner = _Best(part)
        n_iter += _interior_point(part, total, lipschitz, tol / 10, max_iter, inner)
        b = np.zeros(n)
        b[W] = inner.weights
        if best.offer(b) <= tol:
            break
        gradient = _product(problem.K, b) - problem.kappa
        if total is not None:  # at the optimum the gradient of free rows is minus the multiplier
            free = (b > 1e-3 * b.max()) & (b < problem.upper * (1 - 1e-3))
            gradient -= np.median(gradient[free]) if free.any() else 0.0
        violators = np.flatnonzero(~working & (gradient < 0))
        if not len(violators):
            break
        strongest = violators[np.argsort(gradient[violators], kind="stable")]
        working[strongest[: max(100, len(W) // 2)]] = True
    return n_iter


def _interior_point(problem, total, lipschitz, tol, max_iter, best) -> int:
    """Mehrotra's predictor-corrector method: one Cholesky factorisation per step."""
    K, kappa, upper = problem.K, problem.kappa, problem.upper
    n = len(kappa)
    b = upper * (0.5 if total is None else np.clip(total / upper.sum(), 1e-3, 1 - 1e-3))
    scale = max(np.abs(K @ b - kappa).max(), 1e-8 * lipschitz)
    z, w, multiplier = np.full(n, scale), np.full(n, scale), 0.0
    for n_iter in range(1, max_iter + 1):
        if best.offer(b) <= tol:
            return n_iter
        room = upper - b
        dual_residual = K @ b - kappa + multiplier - z + w
        mu = (b @ z + room @ w) / (2 * n)
        M = K.copy()
        M[np.diag_indices_from(M)] += z / b + w / room + 1e-14 * lipschitz
        try:
            factor = cho_factor(M, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return n_iter
        ones = None if total is None else cho_solve(factor, np.ones(n), check_finite=False)

        def newton(target_z, target_w, b=b, room=room, z=z, w=w, r=dual_residual, f=factor, o=ones):
            """Solve for the step that brings b z and room w to their targets."""
            right = -r + (target_z / b - z) - (target_w / room - w)
            db = cho_solve(f, right, check_finite=False)
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
