"""The beginning of every two-domain `fit`: which data of the target there are."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_array

from skltransfer._arrays import as_numpy
from skltransfer._warnings import warn
from skltransfer.domains._data import (
    DomainDataWarning,
    check_same_length,
    concatenate_rows,
    known_labels,
    missing_labels,
    unwrap,
)


def given_target(X_target, y_target) -> tuple:
    """Return the target's samples and labels as they were given, None where there are none.

    Sparse samples are in CSR format, of which single samples can be taken.

    Raises
    ------
    ValueError
        If there are labels without samples.
    """
    X_target, y_target = unwrap(X_target), unwrap(y_target)
    if X_target is None and y_target is not None:
        raise ValueError("y_target was given without X_target. Pass the target's rows too.")
    if sparse.issparse(X_target):
        X_target = X_target.tocsr()
    return X_target, y_target


def given_weighted_target(X_target, y_target, target_sample_weight) -> tuple:
    """Return the target's samples, labels and weights, None where there are none.

    Samples of weight 0 are left out: nothing is learned from them, not even how the domains
    differ. Weights that are all 1 are None.

    Raises
    ------
    ValueError
        If there are labels or weights without samples, or the weights are no weights of them.
    """
    X_target, y_target = given_target(X_target, y_target)
    weights = unwrap(target_sample_weight)
    if weights is None:
        return X_target, y_target, None
    if X_target is None:
        raise ValueError(
            "target_sample_weight was given without X_target. Pass the target's rows too."
        )
    names = ("X_target", "y_target", "target_sample_weight")
    return weighed_rows(X_target, y_target, weights, names)


def weighed_rows(X, y, sample_weight, names: tuple[str, str, str]) -> tuple:
    """Return the samples, labels (or None) and weights of the samples that do not weigh 0.

    Parameters
    ----------
    X, y, sample_weight : array-likes
    names : tuple of three str
        Their names in messages.

    Returns
    -------
    X, y, sample_weight : array-likes
        Weights that are all 1 are None.
    """
    rows_name, labels_name, name = names
    weights = check_array(
        as_numpy(sample_weight),
        ensure_2d=False,
        dtype=np.float64,
        input_name=name,
        ensure_min_samples=0,
    )
    if weights.ndim != 1 or len(weights) != _num_samples(X):
        raise ValueError(
            f"{name} has the shape {weights.shape}, but {rows_name} has {_num_samples(X)} rows. "
            "Pass one number for each."
        )
    if (weights < 0).any():
        raise ValueError(f"{name} holds numbers below 0. Pass weights of at least 0.")
    used = weights > 0
    if not used.any():
        raise ValueError(
            f"{name} is 0 for all rows of {rows_name}. Sample weights must contain at least one "
            f"non-zero number. Give some rows weight, or leave {name} out."
        )
    if not used.all():
        rows = np.flatnonzero(used)
        if y is not None:
            check_same_length(y, X, labels_name, rows_name)
            y = _safe_indexing(y, rows)
        X, weights = _safe_indexing(X, rows), weights[rows]
    return X, y, None if (weights == 1).all() else weights


def warn_without_target(
    estimator,
    consequence: str,
    *,
    missing: str = "no X_target",
    keywords: str = "X_target=...",
) -> None:
    """Warn that an estimator was given no target samples.

    Parameters
    ----------
    estimator : estimator
    consequence : str
        Predicate of a sentence about the estimator, such as "is fitted without adaptation".
    missing : str
        Missing data, as the object of the sentence.
    keywords : str
        Remedy: the keywords to pass.
    """
    _warn_of_missing(estimator, f"was given {missing} and {consequence}", keywords)


def warn_without_labels(estimator, consequence: str, *, keywords: str = "y_target=...") -> None:
    """Warn that an estimator was given target samples, and no label of one.

    Parameters
    ----------
    estimator : estimator
    consequence : str
        Predicate of a sentence about the estimator, such as "boosts the source alone".
    keywords : str
        Remedy: the keywords to pass.
    """
    keywords += ", with at least one known label,"
    _warn_of_missing(estimator, f"was given no label of a target row and {consequence}", keywords)


def _warn_of_missing(estimator, sentence: str, keywords: str) -> None:
    name = type(estimator).__name__
    warn(
        f"{name} {sentence}. Pass {keywords} to fit, or put WithTarget or WithSource, with data, "
        f"around {name} or its pipeline.",
        DomainDataWarning,
    )


def has_known_label(y_target) -> bool:
    """Tell whether any label of the target is known."""
    return y_target is not None and not missing_labels(y_target).all()


def labelled_rows(X_target, y_target, y=None, target_sample_weight=None) -> tuple:
    """Return the target samples whose label is known, with these labels and their weights.

    Parameters
    ----------
    X_target : array-like of shape (n_target_samples, n_features)
    y_target : array-like of shape (n_target_samples,) or (n_target_samples, n_outputs), or None
    y : array-like, optional
        Labels of the source, whose type the labels take on.
    target_sample_weight : ndarray of shape (n_target_samples,), optional
        Without it, each sample weighs 1.

    Returns
    -------
    rows, labels, weights : array-like and ndarrays, or three times None without any
        The weights are None if all samples weigh 1.
    """
    known, labels = known_labels(y_target, X_target, y)
    if not known.any():
        return None, None, None
    weights = None if target_sample_weight is None else target_sample_weight[known]
    rows = X_target if known.all() else _safe_indexing(X_target, np.flatnonzero(known))
    return rows, labels, weights


def weights_of_target(source_weights, weights, target_weight) -> np.ndarray:
    """Return what target samples weigh beside the source samples.

    Parameters
    ----------
    source_weights : ndarray of shape (n_samples,)
    weights : ndarray of shape (n_labelled_target,)
    target_weight : float or "balanced"
        Factor of the weights; or the one with which both domains have the same sum of weights.
    """
    if isinstance(target_weight, str):
        return weights * (source_weights.sum() / weights.sum())
    return weights * target_weight


def weights_of_both(source_weights, weights, target_weight) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of source samples and of target samples in one fit.

    Balanced weights keep the sum over both domains, so that a penalty in the fit keeps its
    strength: `n_s` source and `n_t` target samples of weight 1 then weigh ``n / (2 n_s)`` and
    ``n / (2 n_t)`` with ``n = n_s + n_t``. The parameters are those of :func:`weights_of_target`.
    """
    target = weights_of_target(source_weights, weights, target_weight)
    if not isinstance(target_weight, str):
        return source_weights, target
    total = source_weights.sum()
    factor = (total + weights.sum()) / (2 * total)
    return factor * source_weights, factor * target


def join_labelled(X, y, sample_weight, labelled: tuple, target_weight=1.0) -> tuple:
    """Stack the target samples whose label is known under the source samples.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,), or None
    labelled : tuple
        Samples, labels and weights of the target, as :func:`labelled_rows` returns them.
    target_weight : float or "balanced", default=1.0
        See :func:`weights_of_both`.

    Returns
    -------
    X, y, sample_weight : stacked, or as they were given where no label is known
        The weights are None if all samples weigh 1.
    """
    rows, labels, weights = labelled
    if rows is None:
        return X, y, sample_weight
    if not (sample_weight is None and weights is None and target_weight == 1):
        if sample_weight is None:
            sample_weight = np.ones(_num_samples(X))
        weights = np.ones(len(labels)) if weights is None else weights
        sample_weight = np.concatenate(weights_of_both(sample_weight, weights, target_weight))
    return concatenate_rows(X, rows), np.concatenate([np.asarray(y), labels]), sample_weight
