"""Feasible points of the quadratic programme of kernel mean matching, and proofs of their worth."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# The gap is taken relative to no less than this part of ``n trace(K) / 2``.
_SMALLEST_SCALE = 1e-8


class KMMProblem(NamedTuple):
    """Minimise ``1/2 b'Kb - kappa'b`` over a box and bounds on the sum."""

    K: object  # (n, n): an array, or a KernelMatrix
    kappa: np.ndarray  # (n,)
    upper: np.ndarray  # (n,), positive
    lower_sum: float
    upper_sum: float
    kappa_error: np.ndarray | float = 0.0  # (n,), bound on the rounding of `kappa`
    constant: float = 0.0  # added to the objective

    @property
    def bounds(self) -> tuple[np.ndarray, float, float]:
        """The box and the bounds on the sum."""
        return self.upper, self.lower_sum, self.upper_sum

    def with_sum(self, lower_sum: float, upper_sum: float) -> KMMProblem:
        """Return the programme with other bounds on the sum."""
        return self._replace(lower_sum=lower_sum, upper_sum=upper_sum)

    def over_box(self) -> KMMProblem:
        """Return the programme whose sum is bounded by the box alone."""
        return self.with_sum(0.0, float(self.upper.sum()))


class KMMSolution(NamedTuple):
    """Weights with their certificate."""

    weights: np.ndarray  # (n,), feasible
    objective: float
    gap: float  # certified bound on (f(b) - f*) / |f(b)|; see _SMALLEST_SCALE
    n_iter: int


class Best:
    """The feasible point of the lowest objective so far, and the highest lower bound."""

    def __init__(self, problem: KMMProblem, smallest_scale: float):
        self.problem = problem
        self.weights, self.gradient, self.objective = None, None, np.inf
        self.own_gap, self.bound, self.gap = np.inf, -np.inf, np.inf
        self.smallest_scale = smallest_scale

    def offer(self, b: np.ndarray, Kb: np.ndarray) -> float:
        """Keep the feasible point `b` if it is the best, and return the gap of the best."""
        kappa, error = self.problem.kappa, self.problem.kappa_error
        objective = float(0.5 * b @ Kb - kappa @ b) + self.problem.constant
        gradient = Kb - kappa
        gap = optimality_gap(b, gradient, *self.problem.bounds, error=error)
        if self.weights is None or objective < self.objective:
            self.weights, self.gradient, self.objective = b, gradient, objective
            self.own_gap = gap
        return self.raise_bound(objective - gap - float(np.sum(error * b)))

    def raise_bound(self, bound: float) -> float:
        """Take note of a lower bound on the optimum, and return the gap of the best."""
        error = self.problem.kappa_error
        self.bound = max(self.bound, bound)
        # Objectives are known up to the rounding of kappa, which a bound from another point adds
        # a second time.
        above_bound = self.objective + float(np.sum(error * self.weights)) - self.bound
        gap = max(min(self.own_gap, above_bound), 0.0)
        self.gap = gap / max(abs(self.objective), self.smallest_scale) if gap else 0.0
        return self.gap

    def solution(self, n_iter: int) -> KMMSolution:
        """Return the best point."""
        return KMMSolution(self.weights, self.objective, self.gap, n_iter)


def smallest_scale(diagonal: np.ndarray) -> float:
    """Return the smallest scale that a gap is relative to, given the diagonal of K.

    If the optimum is 0 in exact arithmetic, no gap is small relative to it.
    """
    return _SMALLEST_SCALE * 0.5 * len(diagonal) * float(diagonal.sum())


def optimality_gap(b, gradient, upper, lower_sum, upper_sum, *, error=0.0) -> float:
    """Bound ``f(b) - f*`` by ``g'b - min g'v`` over the feasible v, in O(n log n).

    The linear programme is a fractional knapsack: fill the boxes in the order of `gradient`
    until the sum is reached. With the true gradient within `error` of the one given, the bound is
    the largest that any such gradient has.
    """
    g = gradient - error
    # Rows that are not filled need no order: most have a positive gradient.
    total = min(max(float(upper[g < 0].sum()), lower_sum), upper_sum)
    candidates = _cheapest(g, upper, total)
    order = candidates[np.argsort(g[candidates])]
    g, room = g[order], upper[order]
    filled = np.clip(total - (np.cumsum(room) - room), 0.0, room)
    return max(float((gradient + error) @ b - g @ filled), 0.0)


def _cheapest(g, upper, total) -> np.ndarray:
    """Return indices that include all rows which a knapsack of size `total` takes."""
    n, n_needed = len(g), 64
    while n_needed < n // 4:
        candidates = np.argpartition(g, n_needed)[:n_needed]
        if upper[candidates].sum() >= total:
            return candidates
        n_needed *= 8
    return np.arange(n)


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


def sum_multiplier(b, gradient, upper) -> float:
    """Return the multiplier of the sum: minus the median gradient of the free rows.

    Without free rows it is minus the middle between the gradients at the bounds.
    """
    free = (b > 1e-3 * b.max(initial=0.0)) & (b < upper * (1 - 1e-3))
    if free.any():
        return -float(np.median(gradient[free]))
    at_upper = b >= upper * (1 - 1e-3)
    lowest = gradient[at_upper].max(initial=-np.inf)
    highest = gradient[~at_upper].min(initial=np.inf)
    ends = [value for value in (lowest, highest) if np.isfinite(value)]
    return -float(np.mean(ends)) if ends else 0.0
