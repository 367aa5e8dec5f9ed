"""Kernel mean matching by column generation: solve for the rows that matter, and find out which.

Most rows stand at 0 or, where it binds, at their upper bound. The programme is solved on a
working set W of rows, with the others held where they are; the gradient on all rows then
certifies the solution, or names rows that have to join. Needed are the values of K inside W, and
per round one product of K with the weights that changed, which is computed tile by tile:
O(|W|^2 + n) memory.
"""

from __future__ import annotations

import numpy as np

from skltransfer._solvers._kmm_certificate import Best, KMMProblem, sum_multiplier
from skltransfer._solvers._kmm_dense import WarmStart, solve_dense

# Smallest first working set, and the part of all rows that it holds.
_FIRST_ROWS, _FIRST_PART = 150, 25
# Upper bounds whose sum exceeds the largest sum by this factor are taken not to bind.
_LOOSE = 100
# Rows whose place a first guess leaves open: the part of all rows, and the largest number.
_OPEN_PART, _MOST_OPEN = 20, 4000
# Rows that join in a round, relative to the rows of positive weight in the working set. They are
# drawn from several times as many of the strongest, so that near twins rarely join together.
_GROWTH, _DRAWN_FROM = 0.6, 3
# Fewest rows that join in a round, if there are as many: a number, and a part of all rows. Towards
# the end few rows are in the working set, and hundreds outside have to be settled anew.
_FEWEST_JOINING, _JOINING_PART = 50, 400
# Largest working set: its matrix of float64 takes 1.2 GB.
_LARGEST_WORKING_SET = 12_000
_MAX_ROUNDS = 200


def generate_columns(problem: KMMProblem, tol: float, max_iter: int, best: Best) -> int:
    """Solve a programme on growing working sets, and return the number of steps.

    Points go to `best`. Ends where its gap is at most `tol`, where no row is left to join, or
    where the working set would grow too large.

    Parameters
    ----------
    problem : KMMProblem
        Programme whose ``K`` has the methods of `KernelMatrix`.
    tol : float
    max_iter : int
        Largest number of steps for each working set.
    best : Best
    """
    rng = np.random.default_rng(0)  # the rows are in an order of their own
    working, n_iter = _first_working_set(problem, max_iter, best.smallest_scale, rng)
    inner_tol, bound = 1e-2, None
    for _ in range(_MAX_ROUNDS):
        part = working.part()
        inner = Best(part, best.smallest_scale)
        total = {"lower": part.lower_sum, "upper": part.upper_sum}.get(bound)
        start = WarmStart(working.point, working.newcomers, total)
        n_iter += solve_dense(part, inner_tol, max_iter, inner, start)
        working.point = inner.weights
        multiplier, bound = _price_of_sum(part, inner)
        (b, Kb), last_gap = working.solution(), best.gap
        if best.offer(b, Kb) <= tol:
            break
        gradient = Kb - problem.kappa + multiplier
        joining = _joining(working, gradient, rng)
        if not len(joining):
            if inner_tol <= tol / 100:
                break
            inner_tol /= 10  # not solved well enough
            working.newcomers[:] = False
            continue
        if best.gap > 0.9 * last_gap:  # an inexact solution hides the effect of the new rows
            inner_tol = max(inner_tol / 4, tol / 100)
        inner_tol = min(inner_tol, max(best.gap / 10, tol / 4))
        if not working.exchange(joining, gradient, _LARGEST_WORKING_SET):
            break
    return n_iter


def _first_working_set(problem: KMMProblem, max_iter: int, scale: float, rng):
    """Draw rows; where a bound matters, guess from them where the others stand.

    Returns
    -------
    working : WorkingSet
    n_iter : int
        Steps taken.
    """
    upper, lower_sum = problem.upper, problem.lower_sum
    n = len(upper)
    size = min(n, max(_FIRST_ROWS, n // _FIRST_PART))
    drawn = np.sort(rng.permutation(n)[:size])
    working = WorkingSet(problem, drawn)
    share = upper[drawn].sum() / upper.sum()
    if share > 0.5:  # small enough to solve for all rows
        return WorkingSet(problem, np.arange(n)) if share < 1 else working, 0
    is_feasible = upper[drawn].sum() >= 1.2 * lower_sum
    if is_feasible and upper.sum() > _LOOSE * problem.upper_sum:
        return working, 0
    # The programme of the sample, whose gradient shows where rows outside would stand.
    sample = working.part()
    sample = sample._replace(
        kappa=share * sample.kappa, lower_sum=share * lower_sum, upper_sum=share * problem.upper_sum
    )
    inner = Best(sample, share**2 * scale)
    start = WarmStart(working.point, working.newcomers, None)
    n_iter = solve_dense(sample, 1e-2, max_iter, inner, start)
    b = inner.weights
    binds = (b >= sample.upper * (1 - 1e-3)).mean() > 0.01
    if is_feasible and not binds:
        working.point, working.newcomers[:] = np.minimum(b / share, upper[drawn]), False
        return working, n_iter
    multiplier, _ = _price_of_sum(sample, inner)
    support = np.flatnonzero(b)
    gradient = problem.K.product(drawn[support], b[support]) - share * problem.kappa + multiplier
    return _guessed(problem, gradient), n_iter


def _guessed(problem: KMMProblem, gradient) -> WorkingSet:
    """Leave open the rows whose gradient is smallest, and put the others where its sign says."""
    upper, lower_sum, upper_sum = problem.bounds
    n = len(upper)
    n_open = min(max(_FIRST_ROWS, n // _OPEN_PART), _MOST_OPEN, n)
    is_open = np.zeros(n, dtype=bool)
    is_open[np.argpartition(np.abs(gradient), n_open - 1)[:n_open]] = True
    order = np.argsort(gradient, kind="stable")
    order = order[~is_open[order]]
    sums = np.cumsum(upper[order])
    # Rows from the lowest gradient on are settled at their upper bound: as many as are below 0,
    # but as many as the smallest sum needs, and no more than the largest sum allows.
    needed = lower_sum - 0.5 * upper[is_open].sum()
    n_settled = max(int((gradient[order] < 0).sum()), int(np.searchsorted(sums, needed)) + 1)
    n_settled = min(n_settled, int(np.searchsorted(sums, upper_sum, side="right")))
    settled = np.zeros(n, dtype=bool)
    settled[order[:n_settled]] = True
    # A row that counts for many may leave more missing than the open rows can hold.
    missing = lower_sum - upper[settled | is_open].sum()
    if missing > 0:
        rest = order[n_settled:]
        is_open[rest[: int(np.searchsorted(np.cumsum(upper[rest]), missing)) + 1]] = True
    W = np.flatnonzero(is_open)
    point = np.where(gradient[W] < 0, upper[W], 0.0)
    return WorkingSet(problem, W, settled, point)


def _price_of_sum(part: KMMProblem, inner: Best) -> tuple[float, str | None]:
    """Return the multiplier of the sum, and the bound that the sum stands at."""
    total = inner.weights.sum()
    for name, bound in (("lower", part.lower_sum), ("upper", part.upper_sum)):
        if abs(total - bound) <= 1e-9 * max(abs(part.upper_sum), 1e-300):
            multiplier = sum_multiplier(inner.weights, inner.gradient, part.upper)
            if part.lower_sum == part.upper_sum or (multiplier > 0) == (name == "upper"):
                return multiplier, name
    return 0.0, None


def _joining(working: WorkingSet, gradient, rng) -> np.ndarray:
    """Return rows outside that would lower the objective, in ascending order."""
    gain = np.where(working.settled, gradient, -gradient)
    gain[working.rows] = 0.0
    violators = np.flatnonzero(gain > 0)
    n_positive = np.count_nonzero(working.point)
    # If many rows matter, few rounds are left, and the last ones cost the most.
    growth = _GROWTH if n_positive < len(gain) / 8 else 1.0
    n_joining = max(int(growth * n_positive), _FEWEST_JOINING, len(gain) // _JOINING_PART)
    if len(violators) <= 1.5 * n_joining:
        return violators
    n_drawn_from = min(_DRAWN_FROM * n_joining, len(violators))
    if n_drawn_from < len(violators):
        strongest = np.argpartition(-gain[violators], n_drawn_from)[:n_drawn_from]
        violators = violators[np.sort(strongest)]
    chances = gain[violators] / gain[violators].sum()
    return np.sort(rng.choice(violators, n_joining, replace=False, p=chances))


class WorkingSet:
    """Rows W of a programme that are solved for; the others are 0 or settled at their bound.

    Parameters
    ----------
    problem : KMMProblem
        Programme whose ``K`` has the methods of `KernelMatrix`.
    rows : ndarray of shape (n_working,)
        Indices of the rows in W.
    settled : ndarray of shape (n,), bool, default=None
        Rows outside W that stand at their upper bound.
    point : ndarray of shape (n_working,), default=None
        Weights of the rows in W. Without it, all of them are newcomers.

    Attributes
    ----------
    point : ndarray of shape (n_working,)
        Weights of the rows in W, to be set to the solution of `part`.
    newcomers : ndarray of shape (n_working,), bool
        Rows that were not part of the last solution.
    """

    def __init__(self, problem: KMMProblem, rows, settled=None, point=None):
        n = len(problem.kappa)
        self.problem, self.rows = problem, rows
        self.settled = np.zeros(n, dtype=bool) if settled is None else settled
        self.pull = np.zeros(n)  # K times the settled weights
        self._add_pull(np.flatnonzero(self.settled), 1.0)
        self.K = problem.K.block(rows, rows)
        self.point = np.zeros(len(rows)) if point is None else point
        self.newcomers = np.full(len(rows), point is None)

    def part(self) -> KMMProblem:
        """Return the programme of the rows in W, with the others held where they are."""
        problem, W = self.problem, self.rows
        u = np.where(self.settled, problem.upper, 0.0)
        total = u.sum()
        return KMMProblem(
            self.K,
            problem.kappa[W] - self.pull[W],
            problem.upper[W],
            max(problem.lower_sum - total, 0.0),
            max(problem.upper_sum - total, 0.0),
            constant=float(0.5 * u @ self.pull - problem.kappa @ u),
        )

    def solution(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights of all rows, and K times them."""
        b = np.where(self.settled, self.problem.upper, 0.0)
        b[self.rows] = self.point
        support = np.flatnonzero(self.point)
        Kb = self.pull + self.problem.K.product(self.rows[support], self.point[support])
        return b, Kb

    def exchange(self, joining, gradient, largest: int) -> bool:
        """Let rows join, and let those go that the gradient holds at a bound.

        Returns
        -------
        done : bool
            False where W would hold more than `largest` rows; nothing is changed then.
        """
        W, upper = self.rows, self.problem.upper
        settling = (self.point >= upper[W] * (1 - 1e-12)) & (gradient[W] < 0)
        kept = np.flatnonzero(~settling & ((self.point > 0) | (gradient[W] <= 0)))
        if len(kept) + len(joining) > largest:
            return False
        self._grow(kept, joining)
        returning = joining[self.settled[joining]]
        self._add_pull(W[settling], 1.0)
        self._add_pull(returning, -1.0)
        self.point = np.concatenate(
            [self.point[kept], np.where(self.settled[joining], upper[joining], 0.0)]
        )
        self.settled[W[settling]] = True
        self.settled[returning] = False
        self.rows = np.concatenate([W[kept], joining])
        self.newcomers = np.arange(len(self.rows)) >= len(kept)
        return True

    def _grow(self, kept, joining) -> None:
        """Extend the matrix of the kept rows by the joining rows."""
        n_kept, n_new = len(kept), len(joining)
        grown = np.empty((n_kept + n_new, n_kept + n_new))
        grown[:n_kept, :n_kept] = self.K[np.ix_(kept, kept)]
        columns = self.problem.K.block(self.rows[kept], joining)
        grown[:n_kept, n_kept:] = columns
        grown[n_kept:, :n_kept] = columns.T
        grown[n_kept:, n_kept:] = self.problem.K.block(joining, joining)
        self.K = grown

    def _add_pull(self, rows, sign: float) -> None:
        if len(rows):
            self.pull += self.problem.K.product(rows, sign * self.problem.upper[rows])
