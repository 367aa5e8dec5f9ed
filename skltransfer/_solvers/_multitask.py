"""Rows of tasks, losses and solutions of linear multi-task learning.

Every task ``t`` has rows ``x_i``, weights ``s_i`` and a model ``W_t x + b_t`` with `k` outputs. A
task's columns are centred by their weighted means, so that intercepts and slopes hardly interact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.special import expit, logsumexp

# Numbers up to this size, and down to its inverse, are left as they are.
_LARGEST_SIZE = 1e50


@dataclass(frozen=True)
class TaskRows:
    """Rows of one task.

    Attributes
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
        Numbers, or codes of classes.
    weights : ndarray of shape (n,)
        Positive.
    allowed : ndarray of shape (k,), bool, or None
        Classes of the task, over which the softmax runs. None is all classes.
    intercept_penalty : float
        Strength of the penalty on the task's intercepts.
    """

    X: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    allowed: np.ndarray | None = None
    intercept_penalty: float = 0.0

    def mean(self) -> np.ndarray:
        """Return the weighted mean of the rows, shape (d,)."""
        return np.average(self.X, axis=0, weights=self.weights)


class MultiTaskSolution(NamedTuple):
    """Coefficients of all tasks with their certificate."""

    coef: np.ndarray  # (T, k, d)
    intercept: np.ndarray  # (T, k)
    shared_coef: np.ndarray  # (k, d), for a task that nobody has seen
    objective: float
    gap: float  # (objective - optimum) / objective, at most
    n_iter: int


def unit_of(arrays) -> float:
    """Return the power of two that brings the largest number near 1; 1 where it is not extreme."""
    largest = max((np.abs(array).max(initial=0.0) for array in arrays), default=0.0)
    if largest == 0 or 1 / _LARGEST_SIZE <= largest <= _LARGEST_SIZE:
        return 1.0
    return float(np.ldexp(1.0, int(-np.frexp(largest)[1])))


def largest_matrix(tasks, n_outputs: int) -> int:
    """Return the numbers in the largest matrix that a solver of all tasks works on."""
    n_features = tasks[0].X.shape[1]
    return max(*(task.X.size for task in tasks), (n_outputs * n_features) ** 2)


def column_means(tasks, fit_intercept: bool) -> list[np.ndarray]:
    """Return the means that are subtracted from the rows of each task."""
    return [task.mean() if fit_intercept else np.zeros(task.X.shape[1]) for task in tasks]


def centered_blocks(tasks, fit_intercept: bool) -> tuple[list, list, np.ndarray | None]:
    """Return the centred rows of each task, the means of its columns, and a basis (d, r) or None.

    Ridge and trace norm never leave the span of the rows. Where an orthonormal basis of all rows
    saves columns, the centred rows are given in it.
    """
    means = column_means(tasks, fit_intercept)
    blocks = [task.X - mean for task, mean in zip(tasks, means, strict=True)]
    if sum(len(block) for block in blocks) >= blocks[0].shape[1]:
        return blocks, means, None
    basis = linalg.qr(np.vstack(blocks).T, mode="economic")[0]
    return [block @ basis for block in blocks], means, basis


def logistic_loss(logits, codes, weights):
    """Return the weighted loss of each row (n,), its derivatives by the logits, and probabilities.

    One column of logits stands for two classes.
    """
    if logits.shape[1] == 1:
        eta = logits[:, 0]
        losses = np.logaddexp(0.0, eta) - codes * eta
        P = expit(logits)
        residual = P - codes[:, None]
    else:
        total = logsumexp(logits, axis=1)
        losses = total - logits[np.arange(len(codes)), codes]
        P = np.exp(logits - total[:, None])
        residual = P.copy()
        residual[np.arange(len(codes)), codes] -= 1.0
    return weights * losses, weights[:, None] * residual, P


def logistic_curvature(P, weights):
    """Return the second derivatives of the loss by the logits, shape (n, k, k)."""
    if P.shape[1] == 1:
        return (weights[:, None] * P * (1 - P))[:, :, None]
    bend = -P[:, :, None] * P[:, None, :]
    classes = np.arange(P.shape[1])
    bend[:, classes, classes] += P
    return weights[:, None, None] * bend


def free_directions(curvature, allowed, has_penalty: bool):
    """Return the curvature of intercepts, positive also along directions flat in the loss.

    Adding one number to all logits changes nothing, nor does an output that a task does not know;
    the gradient vanishes along both, so that any curvature will do.
    """
    k = len(curvature)
    curvature = curvature.copy()
    diagonal = np.arange(k)
    scale = max(curvature[diagonal, diagonal].mean(), np.finfo(float).tiny ** 0.5)
    known = np.ones(k, dtype=bool) if allowed is None else allowed
    if not has_penalty:
        if k > 1:
            curvature += scale * np.outer(known, known) / known.sum()
        curvature[diagonal, diagonal] += np.where(known, 1e-13 * scale, scale)
    return curvature
