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

from skltransfer._solvers._multitask import (
    SMALLEST_LOSS,
    MultiTaskSolution,
    column_means,
    free_directions,
    logistic_curvature,
    logistic_loss,
    span_of_rows,
)

# Iterations between two looks at the certificate.
_INTERVAL = 10
_MAX_INTERCEPT_STEPS = 50


def trace_norm_ridge(tasks, alpha, fit_intercept=True, *, tol, max_iter) -> MultiTaskSolution:
    """Solve the least-squares form; ``f_min`` is what least squares alone leave.

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
    means = column_means(tasks, fit_intercept)
    blocks = [task.X - mean for task, mean in zip(tasks, means, strict=True)]
    basis = span_of_rows(blocks)
    if basis is not None:
        blocks = [block @ basis for block in blocks]
    y_means = [np.average(t.y, weights=t.weights) if fit_intercept else 0.0 for t in tasks]
    loss = _SquaredErrors(tasks, blocks, y_means)
    W, b, objective, gap, n_iter = _accelerated(loss, alpha, tol, max_iter)
    return _unfold(W[:, None], b + np.array(y_means)[:, None], means, basis, objective, gap, n_iter)


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
    means = column_means(tasks, fit_intercept)
    blocks = [task.X - mean for task, mean in zip(tasks, means, strict=True)]
    basis = span_of_rows(blocks)
    if basis is not None:
        blocks = [block @ basis for block in blocks]
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
    """The logistic loss of centred rows, and a penalty on some intercepts."""

    f_min = 0.0

    def __init__(self, tasks, blocks, k, fit_intercept):
        self.tasks, self.blocks, self.k, self.fit_intercept = tasks, blocks, k, fit_intercept
        self.weight = sum(task.weights.sum() for task in tasks)
        bound = 0.25 if k == 1 else 0.5  # of the curvature by the logits
        self.lipschitz = max(
            max(
                bound * linalg.norm(np.sqrt(task.weights)[:, None] * block, 2) ** 2,
                fit_intercept * (bound * task.weights.sum() + task.intercept_penalty),
            )
            for task, block in zip(tasks, blocks, strict=True)
        )
        self.shape = len(tasks) * k, blocks[0].shape[1]

    def start(self):
        return np.zeros((len(self.tasks), self.k))

    def _logits(self, t, slopes, b):
        logits = slopes + b
        if self.tasks[t].allowed is not None:
            logits[:, ~self.tasks[t].allowed] = -np.inf
        return logits

    def evaluate(self, W, b):
        """Return the loss and its gradients by `W` and `b`."""
        value, G, on_b = 0.0, np.empty_like(W), np.zeros_like(b)
        for t, (task, X) in enumerate(zip(self.tasks, self.blocks, strict=True)):
            rows = slice(t * self.k, (t + 1) * self.k)
            logits = self._logits(t, X @ W[rows].T, b[t])
            loss, residual, _ = logistic_loss(logits, task.y, task.weights)
            value += loss
            G[rows] = residual.T @ X
            if self.fit_intercept:
                value += 0.5 * task.intercept_penalty * (b[t] ** 2).sum()
                on_b[t] = residual.sum(axis=0) + task.intercept_penalty * b[t]
        return value, G, on_b

    def best_intercepts(self, W, b):
        """Return the intercepts that are best for `W`, by Newton's method task by task."""
        if not self.fit_intercept:
            return b
        b = b.copy()
        for t, (task, X) in enumerate(zip(self.tasks, self.blocks, strict=True)):
            slopes = X @ W[t * self.k : (t + 1) * self.k].T
            b[t] = self._best_intercept(t, task, slopes, b[t])
        return b

    def _best_intercept(self, t, task, slopes, b):
        def value(b):
            loss, residual, P = logistic_loss(self._logits(t, slopes, b), task.y, task.weights)
            return loss + 0.5 * task.intercept_penalty * (b @ b), residual, P

        objective, residual, P = value(b)
        for _ in range(_MAX_INTERCEPT_STEPS):
            gradient = residual.sum(axis=0) + task.intercept_penalty * b
            if np.abs(gradient).max() <= 1e-13 * task.weights.sum():
                break
            bend = logistic_curvature(P, task.weights).sum(axis=0)
            bend = bend + task.intercept_penalty * np.eye(self.k)
            bend = free_directions(bend, task.allowed, task.intercept_penalty > 0)
            step = -np.linalg.solve(bend, gradient)
            length = 1.0
            while length > 1e-6:
                moved = value(b + length * step)
                if moved[0] <= objective * (1 + 1e-15):
                    break
                length *= 0.5
            else:
                break
            b, (objective, residual, P) = b + length * step, moved
        return b


def _shrunk(W, threshold):
    """Return the proximal point of ``threshold ||W||_*``, and its trace norm."""
    U, s, Vt = linalg.svd(W, full_matrices=False, check_finite=False)
    s = np.maximum(s - threshold, 0.0)
    return (U * s) @ Vt, s.sum()


def _accelerated(loss, alpha, tol, max_iter):
    """Proximal gradient steps with momentum, restarted where the momentum points uphill.

    Returns
    -------
    W, b, objective, gap, n_iter
    """
    L = max(loss.lipschitz, np.finfo(float).tiny ** 0.5)
    W, b = np.zeros(loss.shape), loss.start()
    V, c, momentum, norm = W, b, 1.0, 0.0
    best = None
    for n_iter in range(max_iter + 1):
        if n_iter % _INTERVAL == 0 or n_iter == max_iter:
            at = loss.best_intercepts(W, b)
            value, G, _ = loss.evaluate(W, at)
            objective = value + alpha * norm
            slack = max(linalg.norm(G, 2) - alpha, 0.0) * (objective - loss.f_min) / alpha
            gap = max((G * W).sum() + alpha * norm, 0.0) + slack
            gap /= max(objective, SMALLEST_LOSS * loss.weight + np.finfo(float).tiny)
            if best is None or gap < best[3]:
                best = W, at, objective, gap
            if gap <= tol or n_iter == max_iter:
                break
        _, G, on_c = loss.evaluate(V, c)
        moved, norm = _shrunk(V - G / L, alpha / L)
        moved_b = c - on_c / L
        uphill = ((V - moved) * (moved - W)).sum() + ((c - moved_b) * (moved_b - b)).sum() > 0
        following = 1.0 if uphill else 0.5 * (1 + np.sqrt(1 + 4 * momentum**2))
        share = 0.0 if uphill else (momentum - 1) / following
        V, c = moved + share * (moved - W), moved_b + share * (moved_b - b)
        W, b, momentum = moved, moved_b, following
    return *best, max(n_iter, 1)
