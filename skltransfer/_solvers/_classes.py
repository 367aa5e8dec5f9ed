"""Weights of classes, and labels and probabilities from logits.

A classifier of two classes has one logit, that of the second; a classifier of more has one for
each class.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_softmax, softmax
from sklearn.utils.class_weight import compute_class_weight


def check_class_weight(class_weight, classes) -> None:
    """Raise a ValueError unless `class_weight` is None, "balanced" or a dictionary of classes.

    Parameters
    ----------
    class_weight : object
    classes : sequence
        Labels that a dictionary may name.
    """
    if class_weight is None or (isinstance(class_weight, str) and class_weight == "balanced"):
        return
    if not isinstance(class_weight, dict):
        raise ValueError(
            f"class_weight={class_weight!r} is neither 'balanced', a dictionary nor None."
        )
    classes = np.asarray(classes, dtype=object).tolist()
    unknown = set(class_weight) - set(classes)
    if unknown:
        raise ValueError(
            f"class_weight names {sorted(unknown, key=str)}, and the classes are {classes}."
        )


def weights_by_class(class_weight, y: np.ndarray, sample_weight: np.ndarray) -> np.ndarray:
    """Return the weight that each sample has by its class, 0 where `sample_weight` is 0.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        A class that a dictionary does not name weighs 1. "balanced" counts the samples with their
        weights.
    y : ndarray of shape (n_samples,)
        Label of each sample.
    sample_weight : ndarray of shape (n_samples,)

    Returns
    -------
    weights : ndarray of shape (n_samples,)

    Raises
    ------
    ValueError
        If a dictionary holds other values than finite numbers of at least 0, or only zeros.
    """
    used = sample_weight > 0
    classes, codes = np.unique(y[used], return_inverse=True)
    if isinstance(class_weight, dict):  # it may name classes that no sample has
        by_class = np.array([class_weight.get(label, 1.0) for label in classes.tolist()])
        if not (np.isfinite(by_class).all() and (by_class >= 0).all() and by_class.any()):
            raise ValueError(
                f"class_weight={class_weight!r} has to hold finite numbers of at least 0, not all "
                "of them 0."
            )
    else:
        by_class = compute_class_weight(
            class_weight, classes=classes, y=y[used], sample_weight=sample_weight[used]
        )
    weights = np.zeros(len(y))
    weights[used] = by_class[codes]
    return weights


def decisions(logits: np.ndarray) -> np.ndarray:
    """Return what ``decision_function`` does: (n_samples,) for one logit, else all of them."""
    return logits[:, 0] if logits.shape[1] == 1 else logits


def predicted_codes(logits: np.ndarray) -> np.ndarray:
    """Return the position of the most probable class of each sample, shape (n_samples,)."""
    return (logits[:, 0] > 0).astype(int) if logits.shape[1] == 1 else logits.argmax(axis=1)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the probability of each class, shape (n_samples, n_classes)."""
    if logits.shape[1] == 1:
        return np.column_stack([expit(-logits[:, 0]), expit(logits[:, 0])])
    return softmax(logits, axis=1)


def log_probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the logarithms of `probabilities`, also where these would be 0."""
    if logits.shape[1] == 1:
        return -np.logaddexp(0.0, np.column_stack([logits[:, 0], -logits[:, 0]]))
    return log_softmax(logits, axis=1)
