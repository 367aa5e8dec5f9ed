"""Several source domains: given as lists, stacked, and numbered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.utils.validation import _num_samples

from skltransfer.domains._data import (
    as_labels,
    check_not_empty,
    check_same_length,
    check_same_width,
    concatenate_rows,
    n_columns,
)
from skltransfer.domains._frames import frame_library


@dataclass(frozen=True)
class Source:
    """The samples of one source domain, or of several in one stack.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,), or None
    sample_weight : array-like of shape (n_samples,), or None
    sample_domain : ndarray of shape (n_samples,), int, or None
        Number of each sample's domain, from 1. ``None`` if there is one domain.
    """

    X: object
    y: object
    sample_weight: object = None
    sample_domain: np.ndarray | None = None


def one_stack(X, y, sample_weight=None, *, like=None, names: tuple[str, str, str]) -> Source:
    """Return a source as it is given, and several ones stacked.

    Parameters
    ----------
    X : array-like, or list of array-likes
    y : array-like, list of array-likes, or None
    sample_weight : array-like, list of array-likes (or None, for weights of 1), or None
    like : array-like, optional
        Samples of the other domain, which tell a list of matrices from one of images.
    names : tuple of three str
        Names of the first three in messages.
    """
    if not are_several(X, y, like):
        return Source(X, y, sample_weight)
    X_name, y_name, weight_name = names
    if sample_weight is None:
        sample_weight = [None] * len(X)
    for values, name in ((y, y_name), (sample_weight, weight_name)):
        if values is not None and (not isinstance(values, list | tuple) or len(values) != len(X)):
            raise ValueError(
                f"{X_name} is a list of {len(X)} sources. Pass {name} as a list with one entry "
                "for each."
            )
    for number, rows in enumerate(X):
        name = f"{X_name}[{number}]"
        check_not_empty(rows, name)
        check_same_width(rows, X[0], name)
        for values, of in ((y, y_name), (sample_weight, weight_name)):
            if values is not None and values[number] is not None:
                check_same_length(values[number], rows, f"{of}[{number}]", name)
    sizes = [_num_samples(rows) for rows in X]
    stack = X[0]
    for number, rows in enumerate(X[1:], 1):
        stack = concatenate_rows(
            stack, rows, first_name=f"{X_name}[0]", second_name=f"{X_name}[{number}]"
        )
    weights = None
    if any(values is not None for values in sample_weight):
        weights = np.concatenate([
            np.ones(size) if values is None else np.asarray(values, dtype=np.float64)
            for size, values in zip(sizes, sample_weight, strict=True)
        ])  # fmt: skip
    labels = None if y is None else _one_kind([as_labels(part) for part in y], y_name)
    return Source(stack, labels, weights, np.repeat(np.arange(1, len(X) + 1), sizes))


def _one_kind(labels: list[np.ndarray], name: str) -> np.ndarray:
    """Stack labels, unless some are texts and some are numbers."""
    labels = [np.array(part.tolist()) if part.dtype.kind == "O" else part for part in labels]
    texts = [part.dtype.kind in "US" for part in labels]
    if any(texts) and not all(texts):
        text, number = labels[texts.index(True)], labels[texts.index(False)]
        raise ValueError(
            f"{name} holds labels like {text.ravel().tolist()[0]!r} and like "
            f"{number.ravel().tolist()[0]!r}. Write "
            "the labels of all sources in one way."
        )
    return np.concatenate(labels)


def are_several(X, y, like=None) -> bool:
    """Tell whether `X` is a list of the samples of several domains, and not a list of samples.

    The labels decide: they come in a list with an array for each domain, or there are as many as
    samples in all domains, by mistake. Without labels, the entries have to be frames, sparse
    matrices, or matrices as wide as `like`.
    """
    if not isinstance(X, list | tuple) or not len(X) or not all(map(_holds_samples, X)):
        return False
    if y is None:
        return all(
            frame_library(rows) is not None
            or sparse.issparse(rows)
            or (n_columns(rows) is not None and n_columns(rows) == n_columns(like))
            for rows in X
        )
    if not isinstance(y, list | tuple) or len(y) != len(X):
        return len(X) < _num_samples(y) == sum(map(_num_samples, X)) or all(
            frame_library(rows) is not None or sparse.issparse(rows) for rows in X
        )
    if not all(hasattr(part, "__len__") and not isinstance(part, str | bytes) for part in y):
        return False
    return any(len(part) == _num_samples(rows) for part, rows in zip(y, X, strict=True))


def _holds_samples(rows) -> bool:
    if isinstance(rows, list | tuple):
        return len(rows) > 0 and not isinstance(rows[0], int | float | np.number)
    if frame_library(rows) is not None or sparse.issparse(rows):
        return True
    ndim = getattr(rows, "ndim", 0)
    return ndim > 1 or (ndim == 1 and np.asarray(rows).dtype.kind in "UOT")
