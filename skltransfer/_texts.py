"""One text per row, in whatever form a user passes it."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import validate_data

from skltransfer._missing import is_missing


def remember_column(estimator, X, reset: bool) -> None:
    """Let the estimator remember, or check, the name of its one column."""
    if reset or (hasattr(X, "columns") and hasattr(estimator, "feature_names_in_")):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    if reset:
        estimator.n_features_in_ = 1


def as_texts(X, taker: str) -> list[str]:
    """Return the texts of a list, Series, one-column frame or array; raise an error for others.

    Parameters
    ----------
    X : array-like
    taker : str
        Name of the estimator in messages.
    """
    remedy = "Pass a list, Series or one-column frame of strings"
    if isinstance(X, str | bytes):
        raise TypeError(f"X is one {type(X).__name__}. Pass a list of texts, even if of one: [X].")
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape) != 1 and (len(shape) != 2 or shape[1] != 1):
        raise ValueError(
            f"X has shape {tuple(shape)}, and {taker!r} takes one text per row. {remedy}; "
            "a ColumnTransformer picks the column of a table."
        )
    if hasattr(X, "columns"):
        X = X.iloc[:, 0] if hasattr(X, "iloc") else X[X.columns[0]]
    items = list(X) if isinstance(X, list | tuple) else np.asarray(X).ravel().tolist()
    if not items:
        raise ValueError(
            f"Found array with 0 sample(s) while a minimum of 1 is required by {taker!r}."
        )
    return [_checked(row, item, taker, remedy) for row, item in enumerate(items)]


def _checked(row: int, item, taker: str, remedy: str) -> str:
    if isinstance(item, str):
        try:
            item.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"Row {row} is not valid Unicode ({error.reason}). Read the file in its own "
                "encoding, or replace the characters that do not fit."
            ) from error
        return str(item)
    if is_missing(item):
        raise ValueError(
            f"Row {row} is missing ({item!r}), and {taker!r} takes texts. Drop the row, or "
            "fill it, for example by X.fillna('')."
        )
    raise ValueError(f"Row {row} is a {type(item).__name__}, and {taker!r} takes texts. {remedy}.")
