"""Tasks whose coefficients span few directions: the trace norm, with a certificate.

Ji and Ye, "An Accelerated Gradient Method for Trace Norm Minimization", ICML 2009; Pong, Tseng, Ji
and Ye, "Trace Norm Regularization: Reformulations, Algorithms, and Multi-Task Learning", SIAM J.
Optimization 20, 2010::

    minimise  F(W, b) = sum_t loss_t(W_t, b_t) + a ||W||_*

``W`` holds the coefficients of all tasks and outputs as rows. With ``G`` the gradient of the loss
at its best intercepts, convexity and ``a ||W*||_* <= F - f_min`` bound the distance to the
optimum::

    F(W) - F* <= <G, W> + a ||W||_* + max(0, ||G||_2 - a) (F(W) - f_min) / a
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from skltransfer._blas import threads_by
from skltransfer._solvers._logistic import SMALLEST_LOSS
from skltransfer._solvers._multitask import (
    MultiTaskSolution,
    centered_blocks,
    free_directions,
    largest_matrix,
    logistic_curvature,
    logistic_loss,
)

# Iterations between two looks at the certificate.
_INTERVAL = 10
_MAX_INTERCEPT_STEPS = 50


@threads_by(lambda tasks, *_, **__: largest_matrix(tasks, 1))
def trace_norm_ridge(tasks, alpha, fit_intercept=True, *, tol, max_iter) -> MultiTaskSolution:
    """Solve the least-squares form; ``f_min`` is the loss of least squares alone.

    Parameters
    ----------
    tasks : list of TaskRows
    alpha : float, positive
    fit_intercept : bool, default=True
    tol : float
        Relative gap of the objective.
    max_iter : int
        Largest number of steps.
    """
    blocks, means, basis = centered_blocks(tasks, fit_intercept)
    y_means = [np.average(t.y, weights=t.weights) if fit_intercept else 0.0 for t in tasks]
    loss = _SquaredErrors(tasks, blocks, y_means)
    W, b, objective, gap, n_iter = _accelerated(loss, alpha, tol, max_iter)
    return _unfold(W[:, None], b + np.array(y_means)[:, None], means, basis, objective, gap, n_iter)


@threads_by(lambda tasks, n_outputs, *_, **__: largest_matrix(tasks, n_outputs))
def trace_norm_logistic(
    tasks, n_outputs, alpha, fit_intercept=True, *, tol, max_iter
) -> MultiTaskSolution:
    """Solve the logistic form, with ``f_min = 0``.

    Parameters
    ----------
    tasks : list of TaskRows
    n_outputs : int
        Number of classes, 1 for two.
    alpha : float, positive
    fit_intercept : bool, default=True
    tol : float
        Relative gap of the objective.
    max_iter : int
        Largest number of steps.
    """
    blocks, means, basis = centered_blocks(tasks, fit_intercept)
    loss = _Logistic(tasks, blocks, n_outputs, fit_intercept)
    W, b, objective, gap, n_iter = _accelerated(loss, alpha, tol, max_iter)
    W = W.reshape(len(tasks), n_outputs, -1)
    return _unfold(W, b, means, basis, objective, gap, n_iter)


def _unfold(W, b, means, basis, objective, gap, n_iter):
    """Return the solution in the columns that were given, with intercepts where they cross zero."""
    coef = W if basis is None else W @ basis.T
    intercept = b - np.einsum("tkd,td->tk", coef, np.stack(means))
    return MultiTaskSolution(coef, intercept, coef.mean(axis=0), objective, gap, n_iter)


class _SquaredErrors:
    """``sum_i s_i (y_i - x_i w_t)^2`` of centred rows: intercepts are best where they are, at 0."""

    def __init__(self, tasks, blocks, y_means):
        self.rows, self.targets, self.f_min = [], [], 0.0
        for task, block, y_mean in zip(tasks, blocks, y_means, strict=True):
            root = np.sqrt(task.weights)
            A, y = root[:, None] * block, root * (task.y - y_mean)
            if len(A) > A.shape[1]:  # as many rows as columns say the same
                Q, A = linalg.qr(A, mode="economic")
                along = Q.T @ y
                self.f_min += max(y @ y - along @ along, 0.0)
                y = along
            self.rows.append(A)
            self.targets.append(y)
        self.weight = sum(task.weights.sum() for task in tasks)
        self.lipschitz = 2 * max(linalg.norm(A, 2) ** 2 for A in self.rows)
        self.shape = len(tasks), blocks[0].shape[1]

    def start(self):
        return np.zeros((len(self.rows), 1))

    def evaluate(self, W, b):
        """Return the loss and its gradients by `W` and `b`."""
        value, G = self.f_min, np.empty_like(W)
        for t, (A, y) in enumerate(zip(self.rows, self.targets, strict=True)):
            errors = A @ W[t] - y
            value += errors @ errors
            G[t] = 2 * (errors @ A)
        return value, G, np.zeros_like(b)

    def best_intercepts(self, W, b):
        return b


class _Logistic:
    """The logistic loss of centred rows, and a penalty on some intercepts.

    The rows of all tasks stand in turn, so that one call of the loss serves all.
    """

    f_min = 0.0

    def __init__(self, tasks, blocks, k, fit_intercept):
        self.tasks, self.blocks, self.k, self.fit_intercept = tasks, blocks, k, fit_intercept
        bound = 0.25 if k == 1 else 0.5  # of the curvature by the logits
        self.lipschitz = max(
            max(
                bound * linalg.norm(np.sqrt(task.weights)[:, None] * block, 2) ** 2,
                fit_intercept * (bound * task.weights.sum() + task.intercept_penalty),
            )
            for task, block in zip(tasks, blocks, strict=True)
        )
        self.shape = len(tasks) * k, blocks[0].shape[1]
        lengths = [len(block) for block in blocks]
        ends = np.cumsum(lengths)
        self.starts = ends - lengths
        self.rows = [slice(*ends) for ends in zip(self.starts, ends, strict=True)]
        self.task_of_row = np.repeat(np.arange(len(tasks)), lengths)
        self.codes = np.concatenate([task.y for task in tasks])
        self.weights = np.concatenate([task.weights for task in tasks])
        self.weight = self.weights.sum()
        self.penalty = np.array([[task.intercept_penalty] for task in tasks])
        known = np.array([np.ones(k, bool) if t.allowed is None else t.allowed for t in tasks])
        self.unknown = None if known.all() else ~known[self.task_of_row]

    def start(self):
        return np.zeros((len(self.tasks), self.k))

    def _slopes(self, W):
        """Return the logits of all rows without their intercepts, shape (n, k)."""
        models = W.reshape(len(self.tasks), self.k, -1)
        slopes = np.empty((len(self.codes), self.k))
        for rows, X, model in zip(self.rows, self.blocks, models, strict=True):
            slopes[rows] = X @ model.T
        if self.unknown is not None:
            slopes[self.unknown] = -np.inf
        return slopes

    def _at_intercepts(self, slopes, b):
        """Return the loss of each task, its gradient by `b`, and residuals and probabilities."""
        losses, residual, P = logistic_loss(slopes + b[self.task_of_row], self.codes, self.weights)
        values = np.add.reduceat(losses, self.starts) + 0.5 * (self.penalty * b**2).sum(axis=1)
        return values, np.add.reduceat(residual, self.starts) + self.penalty * b, residual, P

    def evaluate(self, W, b):
        """Return the loss and its gradients by `W` and `b`."""
        values, on_b, residual, _ = self._at_intercepts(self._slopes(W), b)
        blocks = zip(self.rows, self.blocks, strict=True)
        G = np.stack([residual[rows].T @ X for rows, X in blocks]).reshape(W.shape)
        return values.sum(), G, on_b if self.fit_intercept else np.zeros_like(b)

    def best_intercepts(self, W, b):
        """Return the intercepts that are best for `W`, by Newton's method in all tasks at once."""
        if not self.fit_intercept:
            return b
        slopes = self._slopes(W)
        values, gradient, _, P = self._at_intercepts(slopes, b)
        enough = 1e-12 * np.add.reduceat(self.weights, self.starts)
        for _ in range(_MAX_INTERCEPT_STEPS):
            if (np.abs(gradient).max(axis=1) <= enough).all():
                break
            bends = np.add.reduceat(logistic_curvature(P, self.weights), self.starts)
            bends = bends + self.penalty[:, :, None] * np.eye(self.k)
            bends = [
                free_directions(bend, task.allowed, task.intercept_penalty > 0)
                for bend, task in zip(bends, self.tasks, strict=True)
            ]
            step = -np.linalg.solve(np.stack(bends), gradient[:, :, None])[:, :, 0]
            length = np.ones((len(b), 1))
            while True:
                moved = b + length * step
                moved_values, gradient, _, P = self._at_intercepts(slopes, moved)
                rises = moved_values > values * (1 + 1e-13)  # more than by rounding
                if not rises.any():
                    break
                length[rises] = np.where(length[rises] < 1e-6, 0.0, 0.5 * length[rises])
            is_stuck = (moved == b).all()
            b, values = moved, moved_values
            if is_stuck:
                break
        return b


def _shrunk(W, threshold):
    """Return the proximal point of ``threshold ||W||_*``, and its trace norm."""
    U, s, Vt = linalg.svd(W, full_matrices=False, check_finite=False)
    s = np.maximum(s - threshold, 0.0)
    return (U * s) @ Vt, s.sum()


def _is_rounding(step, values):
    return np.abs(step).max() <= np.finfo(float).eps * np.abs(values).max()


def _accelerated(loss, alpha, tol, max_iter):
    """Proximal gradient steps with momentum, restarted where the momentum points uphill.

    They end where a step is lost in rounding, whatever the gap: on badly scaled columns nothing
    would become better by more of them.

    Returns
    -------
    W, b, objective, gap, n_iter
    """
    L = max(loss.lipschitz, np.finfo(float).tiny ** 0.5)
    W, b = np.zeros(loss.shape), loss.start()
    V, c, momentum, norm = W, b, 1.0, 0.0
    best, is_stuck = None, False
    for n_iter in range(max_iter + 1):
        is_last = is_stuck or n_iter == max_iter
        if n_iter % _INTERVAL == 0 or is_last:
            at = loss.best_intercepts(W, b)
            value, G, _ = loss.evaluate(W, at)
            objective = value + alpha * norm
            slack = max(linalg.norm(G, 2) - alpha, 0.0) * (objective - loss.f_min) / alpha
            gap = max((G * W).sum() + alpha * norm, 0.0) + slack
            gap /= max(objective, SMALLEST_LOSS * loss.weight + np.finfo(float).tiny)
            if best is None or gap < best[3]:
                best = W, at, objective, gap
            if gap <= tol or is_last:
                break
        _, G, on_c = loss.evaluate(V, c)
        moved, norm = _shrunk(V - G / L, alpha / L)
        moved_b = c - on_c / L
        is_stuck = _is_rounding(moved - V, moved) and _is_rounding(moved_b - c, moved_b)
        uphill = ((V - moved) * (moved - W)).sum() + ((c - moved_b) * (moved_b - b)).sum() > 0
        following = 1.0 if uphill else 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
        share = 0.0 if uphill else (momentum - 1) / following
        V, c = moved + share * (moved - W), moved_b + share * (moved_b - b)
        W, b, momentum = moved, moved_b, following
    return *best, max(n_iter, 1)
