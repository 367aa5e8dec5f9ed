"""Weights that leave a fit little to learn from."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier, is_regressor

from skltransfer._solvers._sums import effective_sample_size
from skltransfer._warnings import warn
from skltransfer.domains._data import as_labels

# Fewer equal rows than this, and than this part of the source, are a collapse.
SMALLEST_SAMPLE, SMALLEST_SHARE = 10, 0.1
# A class is lost if less than this part of its share of the weight is left.
_SMALLEST_CLASS = 0.1
# Labels of a regression are lost if less than this part of their standard deviation is left.
_SMALLEST_DEVIATION = 0.1
# Classes that a message names.
_MOST_NAMES = 5

_REMEDIES = (
    "Bound the weights (max_weight=10 or less), use fewer or scaled columns, or check that the "
    "domains overlap."
)


class EffectiveSampleSizeWarning(UserWarning):
    """The weights of the source samples leave a fit little to learn from.

    Raised by reweighters in one of three cases:

    - A few samples have nearly all of the weight: the weighted source is worth fewer than 10
      equally weighted samples, and less than a tenth of its worth before.
    - A class of a classifier has lost nearly all of its weight: its share is less than a tenth of
      the share before. Target samples with a known label count.
    - The labels of a regressor have lost nearly all of their spread: their standard deviation under
      the weights is less than a tenth of the one before.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skltransfer import EffectiveSampleSizeWarning, KMMReweighter
    >>> X, X_target = np.linspace(0.0, 1.0, 50)[:, None], np.full((5, 1), 3.0)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = KMMReweighter(gamma=1.0).fit(X, X_target=X_target)
    >>> caught[0].category is EffectiveSampleSizeWarning
    True
    """


def warn_of_collapse(reweighter, y, weights, before, y_known, known_weights) -> None:
    """Warn if the weights of a reweighter leave a fit little to learn from.

    The texts hold no numbers of the fit, so that Python shows each once.

    Parameters
    ----------
    reweighter : reweighter
        Its estimator tells whether labels are classes or numbers.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), or None
        Labels of the source.
    weights, before : ndarray of shape (n_samples,)
        Weights of the source samples, and the weights given to the fit.
    y_known : ndarray of shape (n_known,) or (n_known, n_outputs)
        Labels of target samples in the fit.
    known_weights : ndarray of shape (n_known,)
        Weights of these samples.
    """
    name, estimator = type(reweighter).__name__, reweighter.estimator
    if warn_of_few_samples(name, weights, before):
        return
    if y is None or sparse.issparse(y) or estimator is None:
        return
    columns = as_labels(y).reshape(len(weights), -1).T
    known = np.asarray(y_known).reshape(-1, len(columns)).T
    after, before = (np.concatenate([part, known_weights]) for part in (weights, before))
    columns = [
        np.concatenate([column, of_target]) if len(of_target) else column
        for column, of_target in zip(columns, known, strict=True)
    ]
    if is_classifier(estimator):
        lost = [label for labels in columns for label in lost_classes(labels, before, after)]
        if lost:
            warn(
                f"The weights of {name} leave less than a tenth of its share of the source to "
                f"{named(lost)}, which a model may then never predict. If the target holds such "
                f"rows, prefer other weights or none. {_REMEDIES}",
                EffectiveSampleSizeWarning,
            )
    elif is_regressor(estimator) and any(hardly_differ(part, before, after) for part in columns):
        warn(
            f"The weights of {name} leave rows whose labels hardly differ: less than a tenth of "
            f"the standard deviation of y is left. {_REMEDIES}",
            EffectiveSampleSizeWarning,
        )


def warn_of_few_samples(name: str, weights, before) -> bool:
    """Warn, and say so, if the weights of the reweighter `name` are worth too few samples."""
    size = effective_sample_size(weights)
    is_small = size < SMALLEST_SAMPLE and size < SMALLEST_SHARE * effective_sample_size(before)
    if is_small:
        warn(
            f"The weights of {name} leave an effective sample of fewer than {SMALLEST_SAMPLE} "
            f"source rows (effective_sample_size_). {_REMEDIES}",
            EffectiveSampleSizeWarning,
        )
    return is_small


def lost_classes(labels, before, after) -> list:
    """Return the classes with less than a tenth of their share of the weight.

    Parameters
    ----------
    labels : ndarray of shape (n,)
    before, after : ndarray of shape (n,)
        Weights, at least 0.
    """
    if labels.dtype.kind == "O":
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "f" and (labels % 1).any():
        return []  # no classes, which the estimator will say
    classes, codes = np.unique(labels, return_inverse=True)
    shares = [
        np.bincount(codes, weights=weights / weights.max(), minlength=len(classes))
        for weights in (before, after)
    ]
    had, has = (share / share.sum() for share in shares)
    return classes[(had > 0) & (has < _SMALLEST_CLASS * had)].tolist()


def hardly_differ(labels, before, after) -> bool:
    """Tell whether the weights after leave less than a tenth of the labels' standard deviation."""
    if labels.dtype.kind not in "iuf":
        return False
    deviations = []
    for weights in (before, after):
        with np.errstate(over="ignore", invalid="ignore"):
            mean = np.average(labels, weights=weights)
            deviations.append(np.sqrt(np.average((labels - mean) ** 2, weights=weights)))
    return bool(deviations[1] < _SMALLEST_DEVIATION * deviations[0] < np.inf)


def named(classes: list) -> str:
    """Return a noun phrase for some classes."""
    names = list(map(repr, classes[:_MOST_NAMES]))
    names += ["others"] * (len(classes) > _MOST_NAMES)
    if len(names) == 1:
        return f"class {names[0]}"
    return f"each of the classes {', '.join(names[:-1])} and {names[-1]}"
