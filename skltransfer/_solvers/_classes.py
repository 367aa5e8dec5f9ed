"""Weights of classes, labels and probabilities from logits, and the calibration of these.

A classifier of two classes has one logit, of the second class. A classifier of more classes has one
logit for each class.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, softmax
from sklearn.utils.class_weight import compute_class_weight

from skltransfer._blas import threads_by


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


def check_several_classes(estimator, classes: np.ndarray) -> None:
    """Raise a ValueError if there is a single class."""
    if len(classes) < 2:
        raise ValueError(
            f"{type(estimator).__name__} needs rows of at least 2 classes, and y holds one class, "
            f"{classes.tolist()[0]!r}."
        )


def decisions(logits: np.ndarray) -> np.ndarray:
    """Return the logits as ``decision_function`` does: of shape (n_samples,) if there is one."""
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


@threads_by(lambda log_p, *_, **__: log_p.size)
def fit_scale_and_bias(log_p, labels, weights) -> tuple[float, np.ndarray]:
    """Fit bias-corrected temperature scaling (Alexandari et al. 2020).

    Minimises the weighted log loss of ``softmax(scale * log_p + bias)``, plus half the mean square
    of the change of the scores. This penalty weighs as one row, and keeps both finite if the
    classes are separated.

    Parameters
    ----------
    log_p : ndarray of shape (n, n_classes)
        Logarithms of the probabilities, finite.
    labels : ndarray of shape (n,), int
    weights : ndarray of shape (n,)

    Returns
    -------
    scale : float
        At least 0; the inverse of the temperature.
    bias : ndarray of shape (n_classes,)
    """
    n, n_classes = log_p.shape
    rows, total = np.arange(n), weights.sum()
    log_p = log_p - log_p.mean(axis=1, keepdims=True)
    mean = weights @ log_p / total
    centered = log_p - mean  # so that the scale does not have to be made up for by the bias
    spread = weights @ (centered**2).sum(axis=1) / total

    def loss(parameters):
        scale, shift = parameters[0], parameters[1:]
        scores = scale * centered + mean + shift
        residual = softmax(scores, axis=1)
        value = -weights @ log_softmax(scores, axis=1)[rows, labels]
        value += 0.5 * (spread * (scale - 1) ** 2 + shift @ shift)
        residual[rows, labels] -= 1
        residual *= weights[:, None]
        slope = (residual * centered).sum() + spread * (scale - 1)
        gradient = np.append(slope, residual.sum(axis=0) + shift)
        return value / total, gradient / total

    bounds = [(0.0, None)] + [(None, None)] * n_classes
    start = np.append(1.0, np.zeros(n_classes))
    solution = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=bounds,
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000},
    ).x  # fmt: skip
    scale = float(solution[0])
    return scale, solution[1:] + (1 - scale) * mean
