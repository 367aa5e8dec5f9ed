"""To and from the ``sample_domain`` convention of other packages."""

from __future__ import annotations

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from skltransfer._missing import is_missing
from skltransfer.domains._data import (
    as_labels,
    check_not_empty,
    check_same_length,
    check_same_width,
    concatenate_rows,
    missing_labels,
)
from skltransfer.domains._sources import one_stack

SOURCE_DOMAIN, TARGET_DOMAIN = 1, -2


def stack_domains(
    X,
    y=None,
    *,
    X_target,
    y_target=None,
    missing_label=None,
    source_domain=None,
    target_domain=None,
):
    """Stack source and target samples, with a domain number for each.

    This is the ``sample_domain`` convention of other packages: positive numbers are source domains,
    negative ones target domains.

    Parameters
    ----------
    X : array-like of shape (n_source_samples, n_features), or list of such
        Source samples. A list holds those of several domains, which are numbered from 1.
    y : array-like of shape (n_source_samples,), or list of such, default=None
        Source labels.
    X_target : array-like of shape (n_target_samples, n_features)
        Target samples.
    y_target : array-like of shape (n_target_samples,), default=None
        Known labels of the target. A missing label is marked by ``NaN``, or in arrays of objects
        also by ``None`` or ``pandas.NA``.
    missing_label : scalar, default=None
        Value written for every missing label. ``None`` writes ``NaN`` beside numbers (which makes
        them floats) and ``None`` beside anything else. Other packages mask classes by ``-1``.
    source_domain : array-like of shape (n_source_samples,), int, default=None
        Numbers of the source domains, as :func:`split_domains` returns them. ``None`` is 1.
    target_domain : array-like of shape (n_target_samples,), int, default=None
        Numbers of the target domains. ``None`` is -2.

    Returns
    -------
    X : array-like of shape (n_source_samples + n_target_samples, n_features)
        Source samples above target samples, in the container of `X`. The columns of frames are
        matched by name, and have one dtype for both domains.
    y : ndarray of shape (n_source_samples + n_target_samples,) or None
        Labels of both domains. ``None`` if no labels were given.
    sample_domain : ndarray of shape (n_source_samples + n_target_samples,), int
        Domain numbers, by default 1 for source samples and -2 for target samples.

    Raises
    ------
    ValueError
        If a domain is empty, the numbers of features differ, labels have another length, or
        `missing_label` is a known label too.

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
    source = one_stack(X, y, like=X_target, names=("X", "y", "sample_weight"))
    X, y = source.X, source.y
    check_not_empty(X, "X")
    check_not_empty(X_target, "X_target")
    check_same_width(X_target, X, "X_target")
    if source_domain is None and source.sample_domain is not None:
        source_domain = source.sample_domain
    sample_domain = np.concatenate([
        _numbers(source_domain, SOURCE_DOMAIN, X, "source_domain", "X"),
        _numbers(target_domain, TARGET_DOMAIN, X_target, "target_domain", "X_target"),
    ])  # fmt: skip
    stacked = concatenate_rows(X, X_target)
    if y is None and y_target is None:
        return stacked, None, sample_domain
    source_labels = _as_objects(y, X, "y", "X")
    target_labels = _as_objects(y_target, X_target, "y_target", "X_target")
    labels = np.concatenate([source_labels, target_labels])
    missing = missing_labels(labels)
    return stacked, _marked(labels, missing, missing_label), sample_domain


def _numbers(given, default: int, rows, name: str, rows_name: str) -> np.ndarray:
    """Return the domain numbers of samples of one side, positive or negative as the default."""
    if given is None:
        return np.full(_num_samples(rows), default)
    given = check_domain_numbers(given, rows, name, rows_name)
    if (np.sign(given) != np.sign(default)).any():
        side = "positive numbers" if default > 0 else "negative numbers"
        raise ValueError(
            f"{name} holds {given[np.sign(given) != np.sign(default)][0]}. Use {side}."
        )
    return given.astype(int)


def check_domain_numbers(given, rows, name: str, rows_name: str) -> np.ndarray:
    """Return domain numbers as an array.

    Raises
    ------
    ValueError
        If they are no whole numbers other than 0, one for each sample of `rows`.
    """
    given = np.asarray(given)
    check_same_length(given, rows, name, rows_name)
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise ValueError(
            f"{name} has dtype {given.dtype} and shape {given.shape}. Pass one whole number per "
            "row."
        )
    if np.isnan(given).any():
        raise ValueError(f"{name} holds NaN. Number every row by its domain.")
    if (given == 0).any():
        raise ValueError(
            f"{name} holds 0. Number source domains above it, and target domains below it."
        )
    return given


def _as_objects(y, rows, y_name, rows_name) -> np.ndarray:
    """Return labels as an array of objects, with ``None`` for the missing ones."""
    if y is None:
        return np.full(_num_samples(rows), None, dtype=object)
    check_same_length(y, rows, y_name, rows_name)
    y = as_labels(y)
    if y.ndim != 1:
        raise ValueError(f"{y_name} has {y.ndim} dimensions. Stack one label per row.")
    labels = np.array(y.tolist() + [None], dtype=object)[:-1]
    labels[missing_labels(y)] = None
    return labels


def _marked(labels: np.ndarray, missing: np.ndarray, missing_label=None) -> np.ndarray:
    """Write a mark for each missing label, and give labels the narrowest type that keeps it.

    Without a mark, numbers take NaN and others None.
    """
    known = np.array(labels[~missing].tolist())
    if not missing.any():
        return known
    labels = labels.copy()
    if missing_label is None or is_missing(missing_label):
        labels[missing] = None
        if known.dtype.kind in "iuf" and _are_floats(known):
            labels[missing] = np.nan
            return labels.astype(float)
        return labels
    if (labels[~missing] == missing_label).any():
        raise ValueError(
            f"missing_label={missing_label!r} is a known label too, and could not be told from it. "
            "Choose another mark."
        )
    labels[missing] = missing_label
    marked = np.array(labels.tolist())
    is_text = isinstance(missing_label, str)  # numpy would write numbers as texts beside it
    return marked if is_text == (known.dtype.kind in "US") or not len(known) else labels


def _are_floats(numbers: np.ndarray) -> bool:
    """Tell whether floats hold the numbers exactly."""
    with np.errstate(invalid="ignore"):
        return np.array_equal(numbers.astype(float).astype(numbers.dtype), numbers)


def split_domains(X, y=None, *, sample_domain, missing_label=None, return_domains: bool = False):
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
    return_domains : bool, default=False
        Whether to return the domain numbers of both sides too, which tell several sources apart.

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
    source_domain : ndarray of shape (n_source_samples,)
        Domain numbers of the source samples. Returned if `return_domains` is True.
    target_domain : ndarray of shape (n_target_samples,)
        Domain numbers of the target samples. Returned if `return_domains` is True.

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
    sample_domain = check_domain_numbers(sample_domain, X, "sample_domain", "X")
    source, target = np.flatnonzero(sample_domain > 0), np.flatnonzero(sample_domain < 0)
    for rows, sign in ((source, "positive (source)"), (target, "negative (target)")):
        if not len(rows):
            raise ValueError(f"sample_domain holds no {sign} number, so that domain is empty.")
    y_source = y_target = None
    if y is not None:
        check_same_length(y, X, "y", "X")
        y = as_labels(y)
        y_source, y_target = _narrowed(y[source]), _narrowed(_unmarked(y[target], missing_label))
    parts = _safe_indexing(X, source), y_source, _safe_indexing(X, target), y_target
    return (*parts, sample_domain[source], sample_domain[target]) if return_domains else parts


def _unmarked(y_target: np.ndarray, missing_label) -> np.ndarray:
    """Replace the mark of a missing label by ``NaN`` or ``None``."""
    if missing_label is None or is_missing(missing_label):
        return y_target
    masked = np.array([label == missing_label for label in y_target.tolist()], dtype=bool)
    if not masked.any():
        return y_target
    if masked.all():
        return np.full(len(y_target), np.nan)
    labels = _as_objects(y_target, y_target, "y", "y")
    return _marked(labels, masked | missing_labels(y_target))


def _narrowed(labels: np.ndarray) -> np.ndarray:
    """Give labels held as objects the type of their values, unless some are missing."""
    missing = missing_labels(labels)
    if labels.dtype.kind == "U" and missing.any():  # numpy has written NaN as a string
        return _as_objects(labels, labels, "y", "y")
    if labels.dtype.kind != "O" or missing.any():
        return labels
    return np.array(labels.tolist())
