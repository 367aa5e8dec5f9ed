"""The columns that a model of tables was fitted on, put before it where it is saved."""

from __future__ import annotations

import re
from typing import Self

from sklearn.base import BaseEstimator, TransformerMixin

from skltransfer._messages import near_names

_WHOLE = re.compile(r"([+-]?\d+)\.0+")


class TableColumns(TransformerMixin, BaseEstimator):
    """Select the columns of a frame by name, as the numbers and texts that a model knows.

    A frame that another program has read may hold codes as numbers (1 for "1"), numbers as texts,
    or further columns.

    Parameters
    ----------
    columns : list of str
        Names of the columns, in the order in which the model was fitted.
    numbers : list of str
        Names of those that are numbers; the others are categories, dates and texts.
    text : str or None, default=None
        Name of the one column whose texts the model takes as a Series; missing ones are empty.
    """

    def __init__(self, columns=(), numbers=(), text=None):
        self.columns = columns
        self.numbers = numbers
        self.text = text

    def fit(self, X=None, y=None) -> Self:
        """Return the transformer; there is nothing to learn.

        Parameters
        ----------
        X, y : ignored

        Returns
        -------
        self : TableColumns
        """
        return self

    def __sklearn_is_fitted__(self):
        return True

    def transform(self, X):
        """Return the columns of the model.

        Parameters
        ----------
        X : data frame of shape (n_samples, n_columns)

        Returns
        -------
        X : data frame of shape (n_samples, n_features), or Series of str

        Raises
        ------
        ValueError
            If a column is missing.
        """
        import pandas as pd

        names = list(self.columns) if self.text is None else [self.text]
        if not hasattr(X, "columns"):
            raise ValueError(f"the model takes a data frame with the columns {names}.")
        there = [str(name) for name in X.columns]
        for name in names:
            if name not in there:
                raise ValueError(f"X has no column {name!r}.{near_names(name, there)}")
        if self.text is not None:
            return pd.Series(X[self.text], dtype=object).fillna("").astype(str)
        columns = {
            name: pd.to_numeric(X[name], errors="coerce")
            if name in self.numbers
            else X[name].astype(object).map(_as_text, na_action="ignore")
            for name in names
        }
        return pd.DataFrame({n: c.to_numpy() for n, c in columns.items()}, index=X.index)


def _as_text(value) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _WHOLE.sub(r"\1", str(value))
