"""The beginning of every two-domain `fit`: which data of the target there are."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing

from skltransfer._warnings import warn
from skltransfer.domains._data import (
    DomainDataWarning,
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


def labelled_rows(X_target, y_target, y=None) -> tuple:
    """Return the target samples whose label is known, and these labels; None, None without any.

    Parameters
    ----------
    X_target : array-like of shape (n_target_samples, n_features)
    y_target : array-like of shape (n_target_samples,) or (n_target_samples, n_outputs), or None
    y : array-like, optional
        Labels of the source, whose type the labels take on.
    """
    known, labels = known_labels(y_target, X_target, y)
    if not known.any():
        return None, None
    return _safe_indexing(X_target, np.flatnonzero(known)), labels


def join_labelled(X, y, sample_weight, X_target, y_target) -> tuple:
    """Stack the target samples whose label is known under the source samples.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : ndarray of shape (n_samples,), or None
        A target sample weighs 1.
    X_target : array-like of shape (n_target_samples, n_features)
    y_target : array-like of shape (n_target_samples,) or (n_target_samples, n_outputs), or None

    Returns
    -------
    X, y, sample_weight : stacked, or as they were given where no label is known
    """
    rows, labels = labelled_rows(X_target, y_target, y)
    if rows is None:
        return X, y, sample_weight
    if sample_weight is not None:
        sample_weight = np.concatenate([sample_weight, np.ones(len(labels))])
    return concatenate_rows(X, rows), np.concatenate([np.asarray(y), labels]), sample_weight
