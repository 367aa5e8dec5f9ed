"""What the in-context network reads where labels are numbers.

A number is predicted twice, from the labels and from their negatives, as one class is beside the
other: both stand in columns, and half of the difference of both answers is predicted. Inputs are
as many as those of classes, so that the network is of the same form.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skltransfer.relation._in_context_inputs import (
    N_SCORES,
    Scores,
    join_context,
    join_query,
    sizes_of_task,
)

_LARGEST = 4.0


class Units(NamedTuple):
    """Mean and scale of the labels, in which each domain counts alike; constants have scale 0."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, y_source, y_target) -> Units:
        """Return those of labels of shape (..., n_source) and (..., n_target)."""
        parts = [part for part in (y_source, y_target) if part.shape[-1]]
        mean = sum(part.mean(axis=-1, keepdims=True) for part in parts) / len(parts)
        squares = sum(((part - mean) ** 2).mean(axis=-1, keepdims=True) for part in parts)
        scale = np.sqrt(squares / len(parts))
        # A constant may have a deviation in rounding.
        return cls(mean, np.where(scale > 1e-12 * np.abs(mean), scale, 0.0))

    def columns(self, y) -> np.ndarray:
        """Return labels in these units and their negatives, of shape (..., n_samples, 2)."""
        # Labels that are constant are predicted by their mean, whatever the network answers.
        standard = (y - self.mean) / np.where(self.scale > 0, self.scale, 1.0)
        return np.stack([standard, -standard], axis=-1)


def clipped(scores) -> np.ndarray:
    """Return scores or labels within the bounds that the network has seen."""
    return np.clip(scores, -_LARGEST, _LARGEST)


def context_tokens(scores, Y, is_target: bool) -> np.ndarray:
    """Return the inputs of context samples of one domain.

    Parameters
    ----------
    scores : ndarray of shape (..., n_scores)
    Y : ndarray of shape (...,)
        Labels in their units.
    is_target : bool

    Returns
    -------
    tokens : ndarray of shape (..., N_TOKEN_INPUTS)
        Scores; scores less the label, in the columns of the domain; label and domain.
    """
    scores, Y = clipped(scores), clipped(Y)
    return join_context(scores, scores - Y[..., None], (Y, 1), is_target)


def query_tokens(scores) -> np.ndarray:
    """Return the inputs of samples to be predicted, of shape (..., N_TOKEN_INPUTS)."""
    return join_query(clipped(scores))


def summary(scores: Scores, Y_source, Y_target, unlabelled_scores, n_features: int) -> np.ndarray:
    """Return what is known about each score, and about the task, for each column of labels.

    Parameters
    ----------
    scores : Scores
    Y_source : ndarray of shape (..., n_source, 2)
    Y_target : ndarray of shape (..., n_target, 2)
    unlabelled_scores : ndarray of shape (..., n_unlabelled, 2, n_scores)
        Of target samples without a label.
    n_features : int

    Returns
    -------
    summary : ndarray of shape (..., 2, N_SUMMARY_INPUTS)
    """
    n_source, n_target = Y_source.shape[-2], Y_target.shape[-2]
    on_source, on_target = clipped(scores.source), clipped(scores.target)
    of_target = np.concatenate([on_target, clipped(unlabelled_scores)], axis=-3)
    nothing = np.zeros((*Y_source.shape[:-2], 2, N_SCORES), dtype=Y_source.dtype)
    parts, moments = [nothing] * 6, [nothing[..., :1]] * 3
    if n_target:
        labels = clipped(Y_target)
        residuals = on_target - labels[..., None]
        parts[0] = residuals.mean(axis=-3)
        parts[1] = np.abs(residuals).mean(axis=-3)
        parts[2] = np.minimum((residuals**2).mean(axis=-3), _LARGEST)
        moments[0] = labels.mean(axis=-2)[..., None]
        moments[1] = labels.std(axis=-2)[..., None]
    if n_source:
        labels = clipped(Y_source)
        squares = ((on_source - labels[..., None]) ** 2).mean(axis=-3)
        parts[3] = np.minimum(squares, _LARGEST)
        moments[2] = labels.mean(axis=-2)[..., None]
    if of_target.shape[-3]:
        parts[4], parts[5] = of_target.mean(axis=-3), of_target.std(axis=-3)
    numbers = [
        np.full_like(moments[0], number) for number in sizes_of_task(n_source, n_target, n_features)
    ]
    return np.concatenate([*parts, *numbers, *moments], axis=-1)
