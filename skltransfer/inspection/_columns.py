"""Columns of tables as numbers or texts, and whole tables as numbers."""

from __future__ import annotations

from collections import Counter
from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_array

from skltransfer._missing import is_missing
from skltransfer.domains._data import column_names, select_columns

# Texts of a column that become numbers of their own, the most frequent ones.
_MOST_TEXTS = 50


def n_columns(X) -> int | None:
    """Return the number of columns of a table, None for anything else."""
    shape = getattr(X, "shape", None) or np.asarray(X, dtype=object).shape
    return shape[1] if len(shape) == 2 else None


class Column(NamedTuple):
    """A column of a table."""

    values: np.ndarray  # (n,), float64 with NaN, or texts (object) with None for missing ones
    order: list[str] = []  # categories in their order, if the column knows it
    unit: str = ""  # of dates


def column_values(X, index: int) -> Column:
    """Return a column as numbers, or as texts if it holds some.

    Parameters
    ----------
    X : data frame, matrix, sparse matrix or list of lists
    index : int
    """
    if sparse.issparse(X):
        return Column(X.tocsc()[:, [index]].toarray().ravel().astype(np.float64))
    if column_names(X) is not None:
        column = X.iloc[:, index] if hasattr(X, "iloc") else X[:, index]
    elif hasattr(X, "iloc"):  # a frame whose columns have numbers for names
        column = X.iloc[:, index]
    else:
        column = (X if hasattr(X, "dtype") else np.asarray(X, dtype=object))[:, index]
    if hasattr(column, "cat") and hasattr(column.cat, "categories"):
        return Column(_texts(column.tolist()), list(map(str, column.cat.categories)))
    values = np.asarray(column)
    if values.dtype.kind in "biuf":
        return Column(values.astype(np.float64))
    if values.dtype.kind == "M":
        days = (values - np.datetime64(0, "D")) / np.timedelta64(1, "D")
        return Column(days.astype(np.float64), unit="days since 1970-01-01")
    entries = values.tolist()
    try:
        return Column(np.array([np.nan if is_missing(v) else _number(v) for v in entries]))
    except (TypeError, ValueError):
        return Column(_texts(entries))


def _number(value) -> float:
    if isinstance(value, str | Real):
        return float(value)
    raise TypeError(value)


def _texts(entries: list) -> np.ndarray:
    return np.array([None if is_missing(v) else str(v) for v in entries], dtype=object)


def both_as_texts(*columns: np.ndarray) -> list[np.ndarray]:
    """Return columns of two domains as texts if one of them is, else as they are."""
    if all(column.dtype.kind == "f" for column in columns):
        return list(columns)
    return [_texts(column.tolist()) for column in columns]


def as_numbers(X, X_target) -> tuple:
    """Return the rows of both domains as matrices of numbers.

    Texts and categories become columns of 0 and 1. A missing number becomes the median of its
    column, and a further column marks it.

    Parameters
    ----------
    X, X_target : data frames, matrices, sparse matrices or lists of lists

    Returns
    -------
    X, X_target : {ndarray, CSR array} of shape (n, n_features_out) and (m, n_features_out)
    """
    if sparse.issparse(X) or sparse.issparse(X_target):
        return sparse.csr_array(X), sparse.csr_array(X_target)
    if None in (n_columns(X), n_columns(X_target)):
        raise ValueError(
            "feature='domain' compares the columns of tables, and X is none. Pass rows behind the "
            "steps that turn them into columns, with SampleWeightDisplay.from_weights."
        )
    X_target = select_columns(X_target, column_names(X))
    if n_columns(X_target) != n_columns(X):
        raise ValueError(
            f"X has {n_columns(X)} columns and X_target has {n_columns(X_target)}. Pass both in "
            "the same columns."
        )
    pairs = [[column_values(rows, j).values for rows in (X, X_target)] for j in range(n_columns(X))]
    parts = [part for pair in pairs for part in _numeric(*both_as_texts(*pair))]
    rows = check_array(np.column_stack(parts), dtype=np.float64, input_name="X")
    n = len(pairs[0][0])
    return rows[:n], rows[n:]


def _numeric(values, target_values) -> list[np.ndarray]:
    """Return columns of numbers for one column of both domains."""
    every = np.concatenate([values, target_values])
    if every.dtype.kind != "f":
        frequent = [text for text, _ in Counter(every.tolist()).most_common(_MOST_TEXTS)]
        return [(every == text).astype(np.float64) for text in sorted(frequent, key=str)]
    is_unknown = np.isnan(every)
    if not is_unknown.any():
        return [every]
    median = 0.0 if is_unknown.all() else np.median(every[~is_unknown])
    return [np.where(is_unknown, median, every), is_unknown.astype(np.float64)]
