"""A mixture of strategies: weights from losses on samples that were left out, and honest scores.

Everything here works on arrays; what is fitted, and how, is its caller's business.
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

# Part of the uniform distribution in all probabilities: a class that a fold lacks costs much, but
# not infinitely much.
UNIFORM_SHARE = 0.02


def spread_folds(y, n_folds: int, rng, *, is_classification: bool = True) -> np.ndarray:
    """Deal samples over folds, those of each class in turn.

    A class with fewer samples than folds is in some of the folds, and never an error.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels.
    n_folds : int
        Number of folds, of which none is empty if there are at least as many samples.
    rng : numpy.random.Generator
    is_classification : bool, default=True
        Whether labels are classes. Numbers are dealt at random.

    Returns
    -------
    fold : ndarray of shape (n_samples,), int
        Number of the fold in which a sample is left out.
    """
    y = np.asarray(y)
    groups = [np.flatnonzero(y == label) for label in np.unique(y)] if is_classification else []
    groups = groups or [np.arange(len(y))]
    order = np.concatenate([rng.permutation(group) for group in groups])
    fold = np.empty(len(y), dtype=int)
    fold[order] = np.arange(len(y)) % n_folds
    return fold


def class_probabilities(model, X, classes) -> np.ndarray:
    """Return the probabilities that a fitted classifier gives to `classes`, none of them zero.

    Parameters
    ----------
    model : classifier
        Fitted, with ``predict_proba``. It may lack some of `classes`.
    X : array-like of shape (n_samples, n_features)
    classes : ndarray of shape (n_classes,)
        Sorted; all classes of `model` and perhaps others.

    Returns
    -------
    probabilities : ndarray of shape (n_samples, n_classes)
        2 % of each row are spread evenly over the classes.
    """
    given = model.predict_proba(X)
    probabilities = np.zeros((len(given), len(classes)))
    probabilities[:, np.searchsorted(classes, model.classes_)] = given
    return with_uniform_share(probabilities)


def with_uniform_share(probabilities) -> np.ndarray:
    """Return probabilities of which 2 % are spread evenly over the classes."""
    uniform = UNIFORM_SHARE / probabilities.shape[-1]
    return (1 - UNIFORM_SHARE) * probabilities + uniform


def sample_losses(predictions, y) -> np.ndarray:
    """Return the loss of each sample: log loss of probabilities, squared error of numbers.

    Parameters
    ----------
    predictions : ndarray of shape (..., n_samples, n_classes) or (..., n_samples)
        Probabilities if `y` holds whole numbers, else predicted numbers.
    y : ndarray of shape (n_samples,)
        Numbers of the classes (int), or numbers (float).

    Returns
    -------
    losses : ndarray of shape (..., n_samples)
    """
    if y.dtype.kind == "f":
        return (predictions - y) ** 2
    return -np.log(predictions[..., np.arange(len(y)), y])


def exponential_weights(
    losses,
    *,
    prior_rows: float,
    baseline_share: float,
    min_weight: float = 0.0,
    n_samples: float | None = None,
) -> np.ndarray:
    """Weigh strategies by how well they did on samples that were left out.

    The weights are proportional to ``exp(-eta * n * d)``, where ``d`` is the mean loss of a
    strategy over the `n` samples, less that of all strategies, and ``eta = n / (n + prior_rows *
    v)``, where ``v`` is the variance of the difference to the loss of another strategy, on average:
    ``eta * d`` is the mean of ``d`` a posteriori, if its variance is ``1 / prior_rows`` a priori. A
    difference thus counts as far as the samples agree on it. A share is then kept for the baseline,
    whatever its loss.

    Parameters
    ----------
    losses : ndarray of shape (n_strategies, n_samples)
        Log losses, or losses of the same scale, the baseline's first.
    prior_rows : float
        Number of samples at which a difference of losses counts by half, if it varies by 1.
    baseline_share : float
        Share that always stays with the baseline, from 0 to 1.
    min_weight : float, default=0
        Smaller weights become 0, and the others grow in proportion. The baseline stays.
    n_samples : float or None, default=None
        Number of samples for which the losses stand, if some were left out: the sum of the losses
        grows in proportion.

    Returns
    -------
    weights : ndarray of shape (n_strategies,)
        At least 0, with sum 1.
    """
    n_strategies, n_given = losses.shape
    n_samples = n_given if n_samples is None else n_samples
    evidence = np.zeros(n_strategies)
    if n_strategies > 1 and n_given > 1:  # one sample does not tell how much the losses vary
        differences = losses - losses.mean(axis=0)
        own = differences.var(axis=1, ddof=1)
        variance = (own + own.mean()) * n_strategies / (n_strategies - 1)
        eta = n_samples / (n_samples + prior_rows * variance)
        evidence = eta * n_samples * differences.mean(axis=1)
    weights = (1 - baseline_share) * softmax(-evidence)
    weights[0] += baseline_share
    is_small = weights < min_weight
    is_small[0] = False
    weights[is_small] = 0
    return weights / weights.sum()


def mixture_weights(losses, *, is_classification: bool, **settings) -> np.ndarray:
    """Weigh strategies by log losses or squared errors; see :func:`exponential_weights`.

    Squared errors are divided by twice the variance of the noise, so that they are logarithms of a
    likelihood as log losses are. The variance is the smallest mean of all strategies.
    """
    losses = np.asarray(losses)
    if not is_classification and losses.shape[1]:
        noise = losses.mean(axis=1).min()
        losses = losses / (2 * max(noise, np.finfo(float).tiny))
    return exponential_weights(losses, **settings)
