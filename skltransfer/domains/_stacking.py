"""To and from the ``sample_domain`` convention of other packages."""

from __future__ import annotations

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from skltransfer.domains._data import (
    as_labels,
    check_not_empty,
    check_same_length,
    check_same_width,
    concatenate_rows,
    missing_labels,
)

SOURCE_DOMAIN, TARGET_DOMAIN = 1, -2


def stack_domains(X, y=None, *, X_target, y_target=None, missing_label=None):
    """Stack source and target samples, with a domain number for each.

    This is the ``sample_domain`` convention of other packages: positive numbers are source domains,
    negative ones target domains.

    Parameters
    ----------
    X : array-like of shape (n_source_samples, n_features)
        Source samples.
    y : array-like of shape (n_source_samples,), default=None
        Source labels.
    X_target : array-like of shape (n_target_samples, n_features)
        Target samples.
    y_target : array-like of shape (n_target_samples,), default=None
        Known labels of the target. A missing label is marked by ``NaN``, or in arrays of objects
        also by ``None`` or ``pandas.NA``.
    missing_label : scalar, default=None
        Value written for every missing label. ``None`` writes ``NaN`` beside numbers (which makes
        them floats) and ``None`` beside anything else. Other packages mask classes by ``-1``.

    Returns
    -------
    X : array-like of shape (n_source_samples + n_target_samples, n_features)
        Source samples above target samples, in the container of `X`.
    y : ndarray of shape (n_source_samples + n_target_samples,) or None
        Labels of both domains. ``None`` if no labels were given.
    sample_domain : ndarray of shape (n_source_samples + n_target_samples,), int
        Domain numbers: 1 for source samples and -2 for target samples.

    Raises
    ------
    ValueError
        If a domain is empty, the numbers of features differ, or labels have another length.

    See Also
    --------
    split_domains : The inverse.

    Examples
    --------
    >>> from skltransfer import stack_domains
    >>> X, y, sample_domain = stack_domains([[0.0], [1.0]], [0, 1], X_target=[[5.0]])
    >>> y
    array([ 0.,  1., nan])
    >>> sample_domain
    array([ 1,  1, -2])
    """
    check_not_empty(X, "X")
    check_not_empty(X_target, "X_target")
    check_same_width(X_target, X, "X_target")
    n_source, n_target = _num_samples(X), _num_samples(X_target)
    sample_domain = np.repeat([SOURCE_DOMAIN, TARGET_DOMAIN], [n_source, n_target])
    stacked = concatenate_rows(X, X_target)
    if y is None and y_target is None:
        return stacked, None, sample_domain
    source_labels = _as_objects(y, X, "y", "X")
    target_labels = _as_objects(y_target, X_target, "y_target", "X_target")
    labels = np.concatenate([source_labels, target_labels])
    missing = missing_labels(labels)
    labels[missing] = missing_label
    return stacked, _tidy(labels, missing if missing_label is None else None), sample_domain


def _as_objects(y, rows, y_name, rows_name) -> np.ndarray:
    if y is None:
        return np.full(_num_samples(rows), None, dtype=object)
    check_same_length(y, rows, y_name, rows_name)
    y = as_labels(y)
    if y.ndim != 1:
        raise ValueError(f"{y_name} has {y.ndim} dimensions. Stack one label per row.")
    return np.array(y.tolist() + [None], dtype=object)[:-1]


def _tidy(labels: np.ndarray, missing: np.ndarray | None) -> np.ndarray:
    """Give labels the narrowest type: with missing ones, numbers take NaN and others None."""
    if missing is None or not missing.any():
        return np.array(labels.tolist())
    known = np.array(labels[~missing].tolist())
    if known.dtype.kind in "iuf":
        labels[missing] = np.nan
        return labels.astype(float)
    return labels


def split_domains(X, y=None, *, sample_domain, missing_label=None):
    """Split stacked samples into source and target by their domain numbers.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples of all domains.
    y : array-like of shape (n_samples,), default=None
        Labels of the samples.
    sample_domain : array-like of shape (n_samples,), int
        Domain numbers, positive for source domains and negative for target domains.
    missing_label : scalar, default=None
        Label that marks a missing label of the target. It is replaced by ``NaN`` or ``None``. Other
        packages mask classes by ``-1``, which here is an ordinary label unless it is named.

    Returns
    -------
    X : array-like of shape (n_source_samples, n_features)
        Samples of all source domains, in the container of `X` and in the given order.
    y : ndarray of shape (n_source_samples,) or None
        Labels of the source samples.
    X_target : array-like of shape (n_target_samples, n_features)
        Samples of all target domains.
    y_target : ndarray of shape (n_target_samples,) or None
        Labels of the target samples.

    Raises
    ------
    ValueError
        If a domain number is 0, one side is empty or the lengths differ.

    See Also
    --------
    stack_domains : The inverse.

    Examples
    --------
    >>> from skltransfer import split_domains
    >>> X, y, X_target, y_target = split_domains(
    ...     [[0.0], [5.0], [1.0]], [0, -1, 1], sample_domain=[1, -2, 1], missing_label=-1
    ... )
    >>> y
    array([0, 1])
    >>> y_target
    array([nan])
    """
    sample_domain = np.asarray(sample_domain)
    check_same_length(sample_domain, X, "sample_domain", "X")
    if sample_domain.ndim != 1 or sample_domain.dtype.kind not in "iuf":
        raise ValueError(
            f"sample_domain has dtype {sample_domain.dtype} and shape {sample_domain.shape}. Pass "
            "one whole number per row."
        )
    if np.isnan(sample_domain).any():
        raise ValueError("sample_domain holds NaN. Number every row by its domain.")
    if (sample_domain == 0).any():
        raise ValueError(
            "sample_domain holds 0. Number source domains above it, and target domains below it."
        )
    source, target = np.flatnonzero(sample_domain > 0), np.flatnonzero(sample_domain < 0)
    for rows, sign in ((source, "positive (source)"), (target, "negative (target)")):
        if not len(rows):
            raise ValueError(f"sample_domain holds no {sign} number, so that domain is empty.")
    parts = _safe_indexing(X, source), _safe_indexing(X, target)
    if y is None:
        return parts[0], None, parts[1], None
    check_same_length(y, X, "y", "X")
    y = as_labels(y)
    y_target = y[target]
    if missing_label is not None and (masked := y_target == missing_label).any():
        labels = _as_objects(y_target, y_target, "y", "y")
        labels[masked] = None
        y_target = _tidy(labels, masked) if not masked.all() else np.full(len(target), np.nan)
    return parts[0], _narrowed(y[source]), parts[1], _narrowed(y_target)


def _narrowed(labels: np.ndarray) -> np.ndarray:
    """Give labels held as objects the type of their values, if none is missing."""
    if labels.dtype.kind != "O" or missing_labels(labels).any():
        return labels
    return np.array(labels.tolist())
