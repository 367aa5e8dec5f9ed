"""Tasks that stay near a common model, solved without a system of all tasks' coefficients.

Evgeniou and Pontil, "Regularized Multi-Task Learning", KDD 2004, equation (4), with other losses::

    minimise  sum_t [ loss_t(w0 + v_t, b_t) + c a ||v_t||^2 ] + c a0 ||w0||^2

with ``c = 1`` for squared errors and ``c = 1/2`` for the logistic loss. Only ``w0`` ties the tasks
together, so that each ``v_t`` is eliminated by a problem of its own size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

from skltransfer._blas import threads_by
from skltransfer._solvers._logistic import SHORT_STEP, SMALLEST_LOSS, SMALLEST_STEP
from skltransfer._solvers._multitask import (
    MultiTaskSolution,
    centered_blocks,
    column_means,
    free_directions,
    largest_matrix,
    logistic_curvature,
    logistic_loss,
)
from skltransfer._solvers._ridge import ridge_path


@threads_by(lambda tasks, *_, **__: largest_matrix(tasks, 1))
def mean_regularized_ridge(tasks, alpha, shared_alpha, fit_intercept=True) -> MultiTaskSolution:
    """Solve the least-squares form directly.

    With ``X_t = U S V'`` the best ``v_t`` leaves ``r' (I + X_t X_t' / a)^-1 r`` of the residual
    ``r = y_t - X_t w0``: ridge regression for ``w0`` on the rows ``sqrt(a / (a + S^2)) S V'``.

    Parameters
    ----------
    tasks : list of TaskRows
    alpha, shared_alpha : float, at least 0
        ``a`` and ``a0``. As `alpha` vanishes, so does ``w0``.
    fit_intercept : bool, default=True
    """
    d = tasks[0].X.shape[1]
    means = column_means(tasks, fit_intercept)
    parts, rows, targets = [], [], []
    for task, x_mean in zip(tasks, means, strict=True):
        y_mean = np.average(task.y, weights=task.weights) if fit_intercept else 0.0
        root = np.sqrt(task.weights)
        U, s, Vt = linalg.svd(root[:, None] * (task.X - x_mean), full_matrices=False)
        rank = s > s.max(initial=0.0) * max(task.X.shape) * np.finfo(float).eps
        s, Vt = s[rank], Vt[rank]
        along = U[:, rank].T @ (root * (task.y - y_mean))
        parts.append((s, Vt, along, x_mean, y_mean))
        left = np.sqrt(alpha / (alpha + s**2))
        rows.append((left * s)[:, None] * Vt)
        targets.append(left * along)
    shared = np.zeros(d)
    if alpha > 0:
        Z, r = np.vstack(rows), np.concatenate(targets)[:, None]
        shared = ridge_path(Z, r, np.array([float(shared_alpha)]))[0, 0]
    coef, intercept, objective = np.empty((len(tasks), 1, d)), np.empty((len(tasks), 1)), 0.0
    for t, (task, (s, Vt, along, x_mean, y_mean)) in enumerate(zip(tasks, parts, strict=True)):
        own = Vt.T @ (s / (s**2 + alpha) * (along - s * (Vt @ shared)))
        coef[t, 0] = shared + own
        intercept[t, 0] = y_mean - coef[t, 0] @ x_mean
        errors = task.y - task.X @ coef[t, 0] - intercept[t, 0]
        objective += task.weights @ errors**2 + alpha * own @ own
    objective += shared_alpha * shared @ shared
    return MultiTaskSolution(coef, intercept, shared[None], objective, 0.0, 1)


@threads_by(lambda tasks, n_outputs, *_, **__: largest_matrix(tasks, n_outputs))
def mean_regularized_logistic(
    tasks, n_outputs, alpha, shared_alpha, fit_intercept=True, *, tol, max_iter
) -> MultiTaskSolution:
    """Solve the logistic form by Newton's method, with one more step after the gap is below `tol`.

    Parameters
    ----------
    tasks : list of TaskRows
    n_outputs : int
        Number of classes, 1 for two.
    alpha, shared_alpha : float, at least 0
    fit_intercept : bool, default=True
    tol : float
        Newton's estimate of the relative gap of the objective.
    max_iter : int
        Largest number of steps.
    """
    blocks, means, basis = centered_blocks(tasks, fit_intercept)
    if alpha == 0:  # ties nothing to w0, which any penalty keeps at 0
        shared_alpha = max(shared_alpha, 1.0)
    parts = [_Part(task, Z, fit_intercept) for task, Z in zip(tasks, blocks, strict=True)]
    problem = _Problem(parts, n_outputs, alpha, shared_alpha)
    point, gap, n_iter, objective = _newton(problem, tol, max_iter)
    shared = point.shared
    coef = np.stack([shared + a @ part.Qt for a, part in zip(point.own, parts, strict=True)])
    if basis is not None:
        shared, coef = shared @ basis.T, coef @ basis.T
    intercept = point.intercept - np.einsum("tkd,td->tk", coef, np.stack(means))
    return MultiTaskSolution(coef, intercept, shared, objective, gap, n_iter)


class _Part:
    """The centred rows ``X = Z Q'`` of a task, with no more columns in ``Z`` than rows."""

    def __init__(self, task, X, fit_intercept):
        self.task, self.X, self.fit_intercept = task, X, fit_intercept
        self.Z, self.Qt = X, np.eye(X.shape[1])
        if len(X) < X.shape[1]:
            Q, triangle = linalg.qr(X.T, mode="economic")
            self.Z, self.Qt = triangle.T, Q.T


class _Point(NamedTuple):
    shared: np.ndarray  # (k, d)
    own: list  # of (k, r_t): v_t in the columns of Z
    intercept: np.ndarray  # (T, k)

    def moved(self, direction, length):
        own = [a + length * step for a, step in zip(self.own, direction.own, strict=True)]
        return _Point(
            self.shared + length * direction.shared,
            own,
            self.intercept + length * direction.intercept,
        )

    def inner(self, other):
        total = (self.shared * other.shared).sum() + (self.intercept * other.intercept).sum()
        return total + sum((a * b).sum() for a, b in zip(self.own, other.own, strict=True))


class _Problem:
    def __init__(self, parts, k, alpha, shared_alpha):
        self.parts, self.k, self.alpha, self.shared_alpha = parts, k, alpha, shared_alpha
        self.d = parts[0].X.shape[1]
        self.weight = sum(part.task.weights.sum() for part in parts)

    def start(self):
        own = [np.zeros((self.k, part.Z.shape[1])) for part in self.parts]
        return _Point(np.zeros((self.k, self.d)), own, np.zeros((len(self.parts), self.k)))

    def evaluate(self, point):
        """Return the objective, its gradient, and the probabilities of each task's rows."""
        objective = 0.5 * self.shared_alpha * (point.shared**2).sum()
        on_shared = self.shared_alpha * point.shared
        on_own, on_intercept, probabilities = [], np.zeros_like(point.intercept), []
        for t, part in enumerate(self.parts):
            task, a, b = part.task, point.own[t], point.intercept[t]
            logits = part.X @ point.shared.T + part.Z @ a.T + b
            if task.allowed is not None:
                logits[:, ~task.allowed] = -np.inf
            losses, residual, P = logistic_loss(logits, task.y, task.weights)
            slope = residual.T @ part.Z
            objective += losses.sum() + 0.5 * self.alpha * (a**2).sum()
            on_shared = on_shared + slope @ part.Qt
            on_own.append(slope + self.alpha * a)
            probabilities.append(P)
            if part.fit_intercept:
                objective += 0.5 * task.intercept_penalty * (b**2).sum()
                on_intercept[t] = residual.sum(axis=0) + task.intercept_penalty * b
        return objective, _Point(on_shared, on_own, on_intercept), probabilities

    def direction(self, point, gradient, probabilities, *, is_bounded=False):
        """Return Newton's direction, or the direction of an upper bound of the curvature.

        With ``h`` the curvature of a task's loss by its slopes, the intercept eliminated, the
        curvature of ``w0`` is ``a0 + sum_t a (h + a)^-1 h`` once the ``v_t`` are eliminated too. It
        is a sum without any difference, accurate for every `a`.
        """
        k, size = self.k, self.k * self.d
        S = self.shared_alpha * np.eye(size)
        right = -self.shared_alpha * point.shared.ravel()
        eliminated = []
        for t, part in enumerate(self.parts):
            h, to_intercept, from_slopes = self._curvature(part, probabilities[t], is_bounded)
            r = part.Z.shape[1]
            slope = gradient.own[t].ravel() - from_slopes.T @ gradient.intercept[t]
            loss_slope = slope - self.alpha * point.own[t].ravel()
            ridge = max(self.alpha, 1e-13 * np.trace(h) / len(h), np.finfo(float).tiny ** 0.5)
            M = h + ridge * np.eye(len(h))
            solved = linalg.solve(M, np.column_stack([slope, h]), assume_a="pos")
            e, E = solved[:, 0], solved[:, 1:]
            left = (self.alpha * E).reshape(k, r, k, r)
            if len(part.Qt) < self.d:
                left = np.einsum("arbs,rd,se->adbe", left, part.Qt, part.Qt, optimize=True)
            S += left.reshape(size, size)
            right += ((h @ e - loss_slope).reshape(k, r) @ part.Qt).ravel()
            eliminated.append((e, E, to_intercept, from_slopes))
        entries = np.arange(size)
        S[entries, entries] += 1e-13 * S[entries, entries].mean() + np.finfo(float).tiny ** 0.5
        shared = linalg.solve(S, right, assume_a="pos").reshape(k, self.d)
        own, intercept = [], np.zeros_like(point.intercept)
        for t, (part, (e, E, to_intercept, from_slopes)) in enumerate(
            zip(self.parts, eliminated, strict=True)
        ):
            carried = (shared @ part.Qt.T).ravel()
            step = -e - E @ carried
            own.append(step.reshape(k, -1))
            intercept[t] = -to_intercept @ gradient.intercept[t] - from_slopes @ (step + carried)
        return _Point(shared, own, intercept)

    def _curvature(self, part, P, is_bounded):
        """Return ``h`` (kr, kr), the inverse (k, k) by the intercepts, and their coupling."""
        k, task, Z = self.k, part.task, part.Z
        if is_bounded:  # Boehning, 1992
            share = 0.25 * np.eye(1) if k == 1 else 0.5 * (np.eye(k) - 1.0 / k)
            bend = task.weights[:, None, None] * share
        else:
            bend = logistic_curvature(P, task.weights)
        r = Z.shape[1]
        h = np.empty((k, r, k, r))
        for c in range(k):
            for other in range(c + 1):
                block = (Z.T * bend[:, c, other]) @ Z
                h[c, :, other], h[other, :, c] = block, block.T
        h = h.reshape(k * r, k * r)
        nothing = np.zeros((k, k)), np.zeros((k, k * r))
        if not part.fit_intercept:
            return h, *nothing
        by_intercept = bend.sum(axis=0) + task.intercept_penalty * np.eye(k)
        by_intercept = free_directions(by_intercept, task.allowed, task.intercept_penalty > 0)
        mixed = np.einsum("nab,nr->abr", bend, Z, optimize=True).reshape(k, k * r)
        inverse = np.linalg.inv(by_intercept)
        tied = inverse @ mixed
        return h - mixed.T @ tied, inverse, tied


def _newton(problem, tol, max_iter):
    point = problem.start()
    objective, gradient, P = problem.evaluate(point)
    gap, n_iter = np.inf, 0
    while n_iter < max_iter:
        n_iter += 1
        direction, slope = _descent(problem, point, gradient, P)
        floor = SMALLEST_LOSS * problem.weight + np.finfo(float).tiny
        gap = max(-0.5 * slope, 0.0) / max(objective, floor)
        is_last = gap <= tol
        moved, values, length = _line_search(problem, point, objective, direction, slope, is_last)
        if length < SHORT_STEP and not is_last:
            safe = point.moved(problem.direction(point, gradient, P, is_bounded=True), 1.0)
            safe_values = problem.evaluate(safe)
            if safe_values[0] < values[0]:
                moved, values = safe, safe_values
        is_stuck = moved is point
        point, (objective, gradient, P) = moved, values
        if is_last or is_stuck:
            break
    return point, gap, n_iter, objective


def _descent(problem, point, gradient, P):
    """Return a direction that descends, Newton's if it can be found, and its slope."""
    for is_bounded in (False, True):
        try:
            direction = problem.direction(point, gradient, P, is_bounded=is_bounded)
        except np.linalg.LinAlgError:
            continue
        slope = gradient.inner(direction)
        if slope <= 0:
            return direction, slope
    return gradient.moved(gradient, -2.0), -gradient.inner(gradient)


def _line_search(problem, point, objective, direction, slope, is_last):
    """Halve the step until the objective falls enough; a last step is taken if it does not rise."""
    length = 1.0
    slack = (1e-9 if is_last else 1e-15) * abs(objective)  # less than rounding shows
    while length >= SMALLEST_STEP:
        moved = point.moved(direction, length)
        values = problem.evaluate(moved)
        if values[0] <= objective + 1e-4 * length * slope + slack:
            return moved, values, length
        length *= 0.5
    return point, problem.evaluate(point), length
