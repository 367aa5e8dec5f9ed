"""The samples of a comparison: checked, and in one form in both domains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils.validation import _num_samples

from skltransfer._warnings import warn
from skltransfer.domains._classes import compare_classes
from skltransfer.domains._data import (
    DomainDataWarning,
    check_finite_labels,
    check_no_missing_labels,
    check_not_empty,
    check_same_length,
    check_same_width,
    concatenate_rows,
    in_one_form,
    known_labels,
)
from skltransfer.domains._sources import one_stack
from skltransfer.model_selection._copies import is_copy


@dataclass(frozen=True, eq=False)
class ComparedData:
    """Samples of both domains.

    Parameters
    ----------
    X_all : array-like of shape (n_rows, n_features)
        All target samples, with a label or without.
    y_all : ndarray of shape (n_rows,)
        Their labels, NaN where there is none.
    rows : ndarray of shape (n_labelled,)
        Positions of the labelled ones.
    y : ndarray of shape (n_labelled,)
        Known labels.
    X_source, y_source : array-like or None
    classes : ndarray of shape (n_classes,) or None
        Classes of both domains, sorted; None in regression.
    n_copies : int
        Number of source samples that were left out because they equal a target sample.
    """

    X_all: Any
    y_all: np.ndarray
    rows: np.ndarray
    y: np.ndarray
    X_source: Any
    y_source: Any
    classes: np.ndarray | None
    n_copies: int

    @property
    def X(self):
        """The labelled target samples."""
        return _safe_indexing(self.X_all, self.rows)

    @property
    def unlabelled(self) -> np.ndarray:
        """Positions of the unlabelled target samples."""
        return np.setdiff1d(np.arange(len(self.y_all)), self.rows)

    @property
    def n_source(self) -> int:
        """Number of source samples."""
        return 0 if self.X_source is None else _num_samples(self.X_source)


def compared_data(X, y, X_source, y_source, X_unlabelled, is_classification) -> ComparedData:
    """Check the samples of a comparison.

    Parameters
    ----------
    X, y, X_source, y_source, X_unlabelled : array-like
        Arguments of :func:`compare_strategies`.
    is_classification : bool

    Raises
    ------
    ValueError
        If samples or labels are missing, or do not suit those of the other domain.

    Warns
    -----
    DomainDataWarning
        If source samples equal target samples; they are left out.
    """
    check_not_empty(X, "X")
    if (X_source is None) != (y_source is None):
        given, missing = ("X_source", "y_source") if y_source is None else ("y_source", "X_source")
        raise ValueError(f"{given} was given without {missing}. Pass {missing} too.")
    (X,) = indexable(X)
    if X_source is not None:
        names = ("X_source", "y_source", "source_sample_weight")
        source = one_stack(X_source, y_source, like=X, names=names)
        X_source, y_source = source.X, np.asarray(source.y)
        check_not_empty(X_source, "X_source")
        check_same_length(y_source, X_source, "y_source", "X_source")
        check_same_width(X_source, X, "X_source")
        check_no_missing_labels(y_source)
        check_finite_labels(y_source, "y_source")
        X, X_source = in_one_form(X, X_source, "X_source")
    known, labels = known_labels(y, X, y_source, name="y")
    if np.ndim(labels) != 1:
        raise ValueError(f"y has shape {np.shape(y)}. Pass one label for each sample.")
    classes = None
    if is_classification:
        if y_source is not None:
            compare_classes(y_source, y, names=("y_source", "y"))
        classes = np.unique(labels if y_source is None else np.concatenate([y_source, labels]))
    else:
        labels = _as_numbers(labels, "y")
        y_source = None if y_source is None else _as_numbers(y_source, "y_source")
    if X_unlabelled is not None:
        check_not_empty(X_unlabelled, "X_unlabelled")
        check_same_width(X_unlabelled, X, "X_unlabelled")
        X = concatenate_rows(X, X_unlabelled, second_name="X_unlabelled")
    rows = np.flatnonzero(known)
    is_number = labels.dtype.kind in "biuf"
    y_all = np.full(_num_samples(X), np.nan, dtype=np.float64 if is_number else object)
    y_all[rows] = labels
    X_source, y_source, n_copies = _without_copies(X_source, y_source, X, rows)
    return ComparedData(X, y_all, rows, labels, X_source, y_source, classes, n_copies)


def _as_numbers(labels, name: str) -> np.ndarray:
    try:
        return np.asarray(labels, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} holds {np.asarray(labels).ravel()[0]!r}, and the estimator predicts numbers. "
            "Pass a classifier, or labels that are numbers."
        ) from error


def _without_copies(X_source, y_source, X, labelled):
    """Leave out source samples that equal a labelled target sample: they would give it away."""
    if X_source is None:
        return None, None, 0
    copied = is_copy(X_source, _safe_indexing(X, labelled))
    n_copies = int(copied.sum())
    if not n_copies:
        return X_source, y_source, 0
    if copied.all():
        raise ValueError(
            "All samples of X_source are also in X: there is no other domain. Pass other samples."
        )
    warn(
        f"{n_copies} of {len(copied)} source samples equal a labelled target sample. They are left "
        "out, because their labels would be known when the target samples are tested.",
        DomainDataWarning,
    )
    rows = np.flatnonzero(~copied)
    return _safe_indexing(X_source, rows), y_source[rows], n_copies
