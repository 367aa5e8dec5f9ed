"""Logistic regression with a quadratic penalty, by Newton's method, many problems at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg
from scipy.special import expit, logsumexp

from skltransfer._blas import threads_for, threads_for_product
from skltransfer._solvers._design_matrix import (
    MOST_UNKNOWNS_IN_STACKS,
    DenseRows,
    equilibrated,
    has_hessian,
)

# Numbers in the largest array that is made for the sake of speed.
_BUDGET = 2**24
# Arrays of all samples and unknowns of a problem that conjugate gradients hold.
_ARRAYS_OF_A_PROBLEM = 8
# A line search that has halved its step to this ends where it began.
SMALLEST_STEP = 2.0**-40
# A Newton step cut below this is compared with one that bounds the curvature.
SHORT_STEP = 0.2
# The gap is taken relative to no less than this loss per unit of weight.
SMALLEST_LOSS = 1e-6
# Penalties on columns that are tiny, in units of these columns, end here.
_LARGEST_PENALTY = 1e300


@dataclass(frozen=True)
class LogisticSolution:
    """Minimisers of `b` problems with their certificates.

    Attributes
    ----------
    shift : ndarray of shape (b, k, p)
    objective : ndarray of shape (b,)
    gap : ndarray of shape (b,)
        Newton's estimate of ``(objective - optimum) / objective`` before the last step. It is
        relative to no less than a loss of 1e-6 per unit of weight.
    n_iter : int
        Newton steps of the slowest problem, at least 1.
    """

    shift: np.ndarray
    objective: np.ndarray
    gap: np.ndarray
    n_iter: int


class _Problems:
    """``sum_i v_i loss(o_i + D z_i, y_i) + 1/2 sum a D^2`` for `b` choices of `v` and `a`.

    Parameters
    ----------
    rows : DenseRows or SparseRows
        ``Z``, of shape (n, p)
    offset : ndarray of shape (n, k)
        ``o``. One column stands for two classes.
    codes : ndarray of shape (n,), int
        ``y``: classes 0..k-1, or 0 and 1.
    weights : ndarray of shape (b, n)
        ``v``
    penalty : ndarray of shape (b, k, p)
        ``a``
    """

    def __init__(self, rows, offset, codes, weights, penalty):
        self.rows, self.weights, self.penalty = rows, weights, penalty
        self.offset = np.ascontiguousarray(offset.T)  # (k, n)
        self.is_binary = len(self.offset) == 1
        self.codes = codes
        if self.is_binary:
            self.onehot = codes[None].astype(float)
        else:
            self.onehot = (codes == np.arange(len(self.offset))[:, None]).astype(float)
        # A direction along which the softmax does not change has no curvature. Without a penalty,
        # the gradient along it is 0, and any curvature will do.
        self.flat = ~self.is_binary & (penalty == 0).all(axis=1)  # (b, p)
        self.has_hessian = not rows.is_sparse and has_hessian(*rows.shape, len(self.offset))
        self._products = None
        n, p = rows.shape
        if self.has_hessian and n * p * (p + 1) // 2 <= _BUDGET:
            Z = rows.Z
            self._triangle = np.triu_indices(p)
            self._products = Z[:, self._triangle[0]] * Z[:, self._triangle[1]]

    def subset(self, which) -> _Problems:
        """Return the problems `which`, sharing all that depends on the rows only."""
        twin = object.__new__(_Problems)
        twin.__dict__.update(self.__dict__)
        twin.weights, twin.penalty = self.weights[which], self.penalty[which]
        twin.flat = self.flat[which]
        return twin

    def floor(self):
        """Return the smallest loss to which a gap is relative, shape (b,)."""
        return SMALLEST_LOSS * self.weights.sum(axis=1) + np.finfo(float).tiny

    def evaluate(self, D):
        """Return objectives (b,), probabilities (b, k, n) and gradients (b, k, p) at `D`."""
        logits = self.offset + self.rows.along(D)  # (b, k, n)
        if self.is_binary:
            eta = logits[:, 0]
            losses = np.logaddexp(0.0, eta) - self.onehot * eta
            P = expit(logits)
        else:
            log_total = logsumexp(logits, axis=1)
            losses = log_total - logits[:, self.codes, np.arange(len(self.codes))]
            P = np.exp(logits - log_total[:, None])
        objective = (self.weights * losses).sum(axis=1) + 0.5 * (self.penalty * D**2).sum((1, 2))
        residual = (P - self.onehot) * self.weights[:, None]
        gradient = self.rows.against(residual) + self.penalty * D
        return objective, P, gradient

    def directions(self, P, gradient, objective):
        """Return Newton's directions (b, k, p), and what they leave of the gradient's energy (b,).

        The energy of a residual is twice the fall of the objective that it promises.
        """
        b, k, p = gradient.shape
        if not self.has_hessian:
            return self._conjugate_gradients(P, gradient, objective)
        H = self._hessians(P)
        diagonal = np.arange(k * p)
        entries = H[:, diagonal, diagonal]
        # Keeps an unpenalised problem with dependent columns solvable; vanishes in rounding else.
        H[:, diagonal, diagonal] = np.where(entries > 0, entries * (1 + 1e-13), 1.0)
        right = -gradient.reshape(b, k * p, 1)
        with threads_for((k * p) ** 2):
            solved = _solved(H, right)
            # If the curvature vanishes in rounding, the result is no solution.
            missed = np.linalg.norm(H @ solved - right, axis=(1, 2))
        solved[~(missed <= 1e-6 * np.linalg.norm(right, axis=(1, 2)))] = np.nan
        return solved.reshape(b, k, p), np.zeros(b)

    def bounded_directions(self, gradient, objective):
        """Return the directions of a curvature that is nowhere exceeded (Boehning, 1992).

        The whole step never raises the objective, also where probabilities of 0 and 1 leave
        Newton's method without any curvature.
        """
        k = len(self.offset)
        twin = self.subset(slice(None))
        twin.weights = self.weights * (1.0 if self.is_binary else 0.5 * k)
        share = 0.5 if self.is_binary else 1.0 / k
        P = np.full((len(gradient), k, self.rows.shape[0]), share)
        return twin.directions(P, gradient, objective)[0]

    def _hessians(self, P):
        b, k, n = P.shape
        p = self.rows.shape[1]
        H = np.empty((b, k, p, k, p))
        weighted = self.weights[:, None] * P
        for c in range(k):
            curvature = -weighted[:, c : c + 1] * P[:, : c + 1]  # (b, c + 1, n)
            curvature[:, c] += weighted[:, c]
            blocks = self._gram(curvature.reshape(-1, n)).reshape(b, c + 1, p, p)
            H[:, c, :, : c + 1] = blocks.swapaxes(1, 2)
            H[:, : c + 1, :, c] = blocks
        H = H.reshape(b, k * p, k * p)
        diagonal = np.arange(k * p)
        H[:, diagonal, diagonal] += self.penalty.reshape(b, k * p)
        if self.flat.any():
            scale = H[:, diagonal, diagonal].reshape(b, k, p).mean(axis=1)
            features = np.arange(p)
            lifted = H.reshape(b, k, p, k, p)
            lift = (scale * self.flat / k)[:, None, None]  # (b, 1, 1, p)
            lifted[:, :, features, :, features] += lift.transpose(3, 0, 1, 2)
        return H

    def _gram(self, weights):
        """Return ``Z^T diag(w) Z`` for each row of `weights`, shape (len(weights), p, p)."""
        Z = self.rows.Z
        p = Z.shape[1]
        if self._products is None:
            with threads_for_product(p, *Z.shape):
                return np.stack([(Z.T * w) @ Z for w in weights])
        grams = np.empty((len(weights), p, p))
        with threads_for_product(len(weights), *self._products.shape):
            upper = weights @ self._products
        rows, columns = self._triangle
        grams[:, rows, columns] = upper
        grams[:, columns, rows] = upper
        return grams

    def _conjugate_gradients(self, P, gradient, objective):
        """Solve for Newton's directions by preconditioned conjugate gradients.

        Far from the optimum a direction need not be exact: the residual's energy falls below that
        of the gradient by the gap which this promises, between 1e-2 and 1e-10 (Dembo, Eisenstat and
        Steihaug, "Inexact Newton Methods", SIAM J. Numer. Anal. 19, 1982).
        """
        weighted = self.weights[:, None] * P
        bend = weighted * (1 - P)
        diagonal = self.rows.squares_against(bend) + self.penalty
        diagonal[diagonal <= 0] = 1.0
        directions, left = np.zeros_like(gradient), np.zeros(len(gradient))
        going = np.arange(len(gradient))
        part, D, residual = self, np.zeros_like(gradient), -gradient
        z = residual / diagonal
        step, energy = z, _inner(residual, z)
        gap = 0.5 * energy / np.maximum(objective, self.floor())
        goal = np.clip(gap, 1e-10, 1e-2) * energy
        for _ in range(gradient[0].size):
            along = part.rows.along(step)
            if self.is_binary:
                bent = bend * along
            else:
                bent = weighted * (along - (P * along).sum(axis=1, keepdims=True))
            curved = part.rows.against(bent) + part.penalty * step
            curve = _inner(step, curved)
            length = np.divide(energy, curve, out=np.zeros_like(energy), where=curve > 0)
            D = D + length[:, None, None] * step
            residual = residual - length[:, None, None] * curved
            z = residual / diagonal
            energy, last = _inner(residual, z), energy
            is_done = ~(energy > goal) | (length == 0)
            if is_done.all():
                break
            ratio = np.divide(energy, last, out=np.zeros_like(energy), where=last > 0)
            step = z + ratio[:, None, None] * step
            if 3 * is_done.sum() > len(is_done):  # the others go on without them
                directions[going[is_done]], left[going[is_done]] = D[is_done], energy[is_done]
                on = ~is_done
                going, part, P, weighted, bend = (
                    going[on],
                    part.subset(on),
                    P[on],
                    weighted[on],
                    bend[on],
                )
                D, residual, step, energy = D[on], residual[on], step[on], energy[on]
                diagonal, goal = diagonal[on], goal[on]
        directions[going], left[going] = D, energy
        return directions - self.flat[:, None] * directions.mean(axis=1, keepdims=True), left


def _solved(H, right):
    """Return the solutions of a stack of systems, NaN where one is not positive definite."""
    if H.shape[1] <= MOST_UNKNOWNS_IN_STACKS:
        try:
            return np.linalg.solve(H, right)
        except np.linalg.LinAlgError:  # one of them is singular
            pass
    return np.stack([_solve_positive(*problem) for problem in zip(H, right, strict=True)])


def _solve_positive(H, right):
    _, solution, failed = linalg.lapack.dposv(H, right, lower=True)
    return np.full_like(right, np.nan) if failed else solution


def _inner(A, B):
    return (A * B).sum(axis=(1, 2))


def solve_logistic(
    Z,
    offset: np.ndarray,
    codes: np.ndarray,
    weights: np.ndarray,
    penalty: np.ndarray,
    *,
    tol: float,
    max_iter: int,
) -> LogisticSolution:
    """Minimise ``sum_i v_i loss(o_i + D z_i, y_i) + 1/2 sum a D^2`` for many `v` and `a` at once.

    Newton's method from ``D = 0``, with halved steps where the objective does not fall. Every
    problem takes one more step after its gap has come below `tol`.

    Parameters
    ----------
    Z : ndarray of shape (n, p), DenseRows or SparseRows
    offset : ndarray of shape (n, k)
        Logits of each row at ``D = 0``; one column for two classes.
    codes : ndarray of shape (n,), int
        Classes 0..k-1, or 0 and 1.
    weights : ndarray of shape (b, n)
        Weights of the rows in each problem, at least 0.
    penalty : ndarray of shape (b, k, p)
        At least 0.
    tol : float
        Relative gap of the objective.
    max_iter : int
        Largest number of Newton steps.
    """
    rows = DenseRows(Z) if isinstance(Z, np.ndarray) else Z
    rows, exponents = equilibrated(rows)
    if exponents is not None:
        penalty = np.minimum(np.ldexp(penalty, -2 * exponents), _LARGEST_PENALTY)
    # If the curvature of all problems is a small product, all else is smaller.
    with threads_for_product(penalty.size, *rows.shape):
        solution = _solve(rows, offset, codes, weights, penalty, tol, max_iter)
    if exponents is None:
        return solution
    return replace(solution, shift=np.ldexp(solution.shift, -exponents))


def _solve(rows, offset, codes, weights, penalty, tol, max_iter) -> LogisticSolution:
    b, k, p = penalty.shape
    # Work on as many problems at once as keep the arrays of all rows and classes small.
    of_one = _ARRAYS_OF_A_PROBLEM * k * (rows.shape[0] + p)
    if not rows.is_sparse and has_hessian(*rows.shape, k):
        of_one = rows.shape[0] * k + (k * p) ** 2
    block = max(1, _BUDGET // of_one)
    if block < b:
        parts = [
            _solve(
                rows, offset, codes, weights[i : i + block], penalty[i : i + block], tol, max_iter
            )
            for i in range(0, b, block)
        ]
        return LogisticSolution(
            np.concatenate([part.shift for part in parts]),
            np.concatenate([part.objective for part in parts]),
            np.concatenate([part.gap for part in parts]),
            max(part.n_iter for part in parts),
        )
    problems = _Problems(rows, offset, codes, weights, penalty)
    D = np.zeros((b, k, p))
    gap = np.full(b, np.inf)
    objective, P, gradient = problems.evaluate(D)
    active = np.arange(b)
    n_iter = 0
    while len(active) and n_iter < max_iter:
        n_iter += 1
        part = problems.subset(active)
        f = objective[active]
        direction, left = part.directions(P, gradient, f)
        slope = _inner(gradient, direction)
        failed = ~(slope <= 0)  # not a number as well
        if failed.any():
            direction[failed] = part.subset(failed).bounded_directions(gradient[failed], f[failed])
            slope = _inner(gradient, direction)
        gap[active] = np.maximum(left - slope, 0.0) / (2 * np.maximum(f, part.floor()))
        gap[active[failed]] = np.inf
        is_last = gap[active] <= tol
        before = gradient
        moved, P, gradient, values, length = _line_search(
            part, D[active], f, direction, slope, is_last
        )
        short = np.flatnonzero((length < SHORT_STEP) & ~is_last)
        if len(short):
            bounded = part.subset(short)
            safe = D[active[short]] + bounded.bounded_directions(before[short], f[short])
            safe_values, safe_P, safe_gradient = bounded.evaluate(safe)
            lower = safe_values < values[short]
            which = short[lower]
            moved[which], values[which] = safe[lower], safe_values[lower]
            P[which], gradient[which] = safe_P[lower], safe_gradient[lower]
        stuck = (moved == D[active]).all(axis=(1, 2))
        D[active], objective[active] = moved, values
        going = ~(is_last | stuck)
        active, P, gradient = active[going], P[going], gradient[going]
    return LogisticSolution(D, objective, gap, max(n_iter, 1))


def _line_search(problems, D, objective, direction, slope, is_last):
    """Halve each step until its objective falls enough; a last step is taken if it does not rise.

    Returns
    -------
    D, P, gradient, objective : where each problem is after its step
    length : ndarray of shape (b,)
    """
    length = np.ones(len(D))
    moved = D + direction
    values, P, gradient = problems.evaluate(moved)
    # The last step changes less than rounding shows.
    slack = np.where(is_last, 1e-9, 1e-15) * np.abs(objective)
    while True:
        # An objective that is not a number has not fallen.
        on = np.flatnonzero(
            ~(values <= objective + 1e-4 * length * slope + slack) & (length >= SMALLEST_STEP)
        )
        if not len(on):
            break
        length[on] *= 0.5
        moved[on] = D[on] + length[on, None, None] * direction[on]
        values[on], P[on], gradient[on] = problems.subset(on).evaluate(moved[on])
    stay = np.flatnonzero((length < SMALLEST_STEP) & ~(values <= objective))
    if len(stay):
        moved[stay] = D[stay]
        values[stay], P[stay], gradient[stay] = problems.subset(stay).evaluate(D[stay])
    return moved, P, gradient, values, length
