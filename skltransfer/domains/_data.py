"""Checks and selections of the samples and labels of the other domain."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _get_feature_names, _num_samples, check_array

from skltransfer._missing import is_missing


class DomainDataWarning(UserWarning):
    """Data of the other domain is missing, or no step uses it.

    Raised by a two-domain estimator that was given no ``X_target`` (it is then fitted without
    adaptation), by :class:`WithTarget` and :class:`WithSource` without data, and by
    :class:`WithTarget` if no step asks for its data.

    Examples
    --------
    >>> import warnings
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer import DomainDataWarning, WithTarget
    >>> model = WithTarget(LogisticRegression(), X_target=[[0.0], [1.0]])
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = model.fit([[0.0], [1.0]], [0, 1])
    >>> issubclass(caught[0].category, DomainDataWarning)
    True
    """


def unwrap(value):
    """Return the data inside the 1-tuple in which the other domain travels.

    The tuple has as many entries as there are other domains, never as many as ``X`` has samples, so
    that no splitter cuts the data into folds.
    """
    if isinstance(value, tuple) and len(value) == 1:
        return value[0]
    return value


def column_names(X):
    """Return the column names of a data frame as a list, and None for anything else."""
    names = _get_feature_names(X)
    return None if names is None else list(names)


def check_not_empty(rows, name: str) -> None:
    """Raise a ValueError if `rows` is empty."""
    if _num_samples(rows) == 0:
        raise ValueError(
            f"{name} has 0 rows. Pass at least one row of that domain, or leave {name} out."
        )


def check_same_length(values, rows, values_name: str, rows_name: str) -> None:
    """Raise a ValueError unless `values` has one entry per sample of `rows`."""
    n_values, n_rows = _num_samples(values), _num_samples(rows)
    if n_values != n_rows:
        raise ValueError(
            f"{values_name} has {n_values} entries, but {rows_name} has {n_rows} rows. "
            f"Pass one entry per row of {rows_name} (mark an unknown label by NaN or None)."
        )


def check_same_width(X_held, X, held_name: str) -> None:
    """Raise a ValueError if two plain matrices differ in their number of features.

    Data frames are left to the estimator, which selects their columns by name.
    """
    if column_names(X_held) is not None or column_names(X) is not None:
        return
    held, given = _width(X_held), _width(X)
    if held is not None and given is not None and held != given:
        raise ValueError(_width_message(held_name, held, given))


def _width(X) -> int | None:
    """Return the number of features of a matrix or of a list of lists, else None."""
    shape = getattr(X, "shape", None)
    if shape is None and isinstance(X, list | tuple) and len(X):
        try:
            shape = np.shape(X)
        except ValueError:  # rows of different lengths
            return None
    return shape[1] if shape is not None and len(shape) == 2 else None


def _width_message(name: str, n_given: int, n_expected: int) -> str:
    return (
        f"{name} has {n_given} features, but the estimator is fitted on {n_expected}. Both "
        "domains need the same columns at the same stage: behind other steps use WithTarget or "
        "WithSource (or Pipeline(transform_input=['X_target'])), and inside a ColumnTransformer "
        "pass DataFrames, whose columns are selected by name."
    )


def select_columns(X_target, names, *, name: str = "X_target"):
    """Return `X_target` with the columns `names`, in that order.

    Inside a ColumnTransformer a keyword arrives with all columns, and the names tell which to take.
    """
    if names is None:
        return X_target
    given = column_names(X_target)
    if given is None:
        raise ValueError(
            f"X has column names and {name} has none, so that its columns cannot be matched. "
            f"Pass {name} as a DataFrame with the columns of X, or both as arrays."
        )
    missing = [column for column in names if column not in given]
    if missing:
        raise ValueError(
            f"{name} lacks the columns {missing[:5]} that X has. Give both domains the same ones."
        )
    return X_target if given == list(names) else _safe_indexing(X_target, list(names), axis=1)


def in_order_of(X, X_held, held_name: str):
    """Return held samples with their columns in the order of `X`, if both have names."""
    names, held_names = column_names(X), column_names(X_held) if X_held is not None else None
    if names is None or held_names is None or not set(names) <= set(held_names):
        return X_held  # columns that no step uses may be missing: the estimator knows
    return select_columns(X_held, names, name=held_name)


def check_dense(estimator, rows, name: str, *, remedy: str | None = None) -> None:
    """Raise a TypeError if `rows`, the argument `name`, are sparse."""
    if sparse.issparse(rows):
        remedy = remedy or (
            "Reduce both domains to a few dense features in a step before it (TruncatedSVD)"
        )
        raise TypeError(
            f"{name} is sparse, and {type(estimator).__name__} needs dense samples. {remedy}, or "
            f"pass {name}.toarray() if it fits into memory."
        )


def check_target_rows(estimator, X_target, **checks) -> np.ndarray:
    """Validate `X_target` for an estimator whose ``X`` was validated before.

    Parameters
    ----------
    estimator : estimator
    X_target : array-like of shape (n_target_samples, n_features)
    **checks : dict
        Settings of scikit-learn's ``check_array`` in place of float64 and dense input.

    Returns
    -------
    X_target : ndarray of shape (n_target_samples, n_features), float64
    """
    X_target = select_columns(X_target, getattr(estimator, "feature_names_in_", None))
    check_not_empty(X_target, "X_target")
    checks = {"dtype": np.float64, "input_name": "X_target", "estimator": estimator, **checks}
    X_target = check_array(X_target, **checks)
    if X_target.shape[1] != estimator.n_features_in_:
        raise ValueError(_width_message("X_target", X_target.shape[1], estimator.n_features_in_))
    return X_target


def as_labels(y) -> np.ndarray:
    """Return `y` as an array that keeps missing labels apart from strings.

    Otherwise numpy would write the ``NaN`` in a list of strings as ``"nan"``.
    """
    if isinstance(y, list | tuple):
        return np.asarray(y, dtype=object)
    y = np.asarray(y)
    return y.astype(object) if y.dtype.kind == "T" else y  # numpy's own strings


def missing_labels(y) -> np.ndarray:
    """Return a boolean mask of the entries of `y` with a missing label (or any missing output).

    ``NaN`` is a missing label, and so are ``None`` and ``pandas.NA`` in arrays of objects. ``-1``
    is an ordinary label.
    """
    y = as_labels(y)
    if y.dtype.kind == "f":
        missing = np.isnan(y)
    elif y.dtype.kind == "O":
        missing = np.reshape([is_missing(label) for label in y.ravel()], y.shape)
    else:
        missing = np.zeros(y.shape, dtype=bool)
    return missing.reshape(len(y), -1).any(axis=1)


def known_labels(y_target, X_target, y_source=None):
    """Split `y_target` into a mask of the samples with a known label, and these labels.

    Parameters
    ----------
    y_target : array-like of shape (n_target_samples,) or (n_target_samples, n_outputs), or None
        Known labels of the target, with marks for missing ones; see :func:`missing_labels`.
    X_target : array-like of shape (n_target_samples, n_features)
        Target samples.
    y_source : array-like, optional
        Labels of the source. The known labels get their type, which a NaN beside them may have
        changed (``[0, 1, NaN]`` is an array of floats).

    Returns
    -------
    known : ndarray of shape (n_target_samples,), bool
    labels : ndarray of shape (n_known,) or (n_known, n_outputs)
    """
    n_target = _num_samples(X_target)
    if y_target is None:
        return np.zeros(n_target, dtype=bool), np.empty(0)
    check_same_length(y_target, X_target, "y_target", "X_target")
    y_target = as_labels(y_target)
    known = ~missing_labels(y_target)
    labels = y_target[known]
    if labels.dtype.kind == "O":  # infer the type again without the missing entries
        labels = np.array(labels.tolist())
    if y_source is not None and len(labels):
        labels = _as_type_of(labels, as_labels(y_source))
    return known, labels


def different_forms(name: str, labels, y) -> str:
    """Return the message that labels of the other domain have another shape than `y`."""
    shapes = f"{name} has shape {np.shape(labels)} and y has shape {np.shape(y)}."
    return f"{shapes} Give both domains labels of the same form."


def _as_type_of(labels: np.ndarray, y_source: np.ndarray) -> np.ndarray:
    if y_source.dtype.kind == "O":
        y_source = np.array(y_source.tolist())
    if y_source.ndim == 1 and labels.shape[1:] == (1,):  # a column, where y was one
        labels = labels[:, 0]
    if labels.ndim != y_source.ndim or labels.shape[1:] != y_source.shape[1:]:
        raise ValueError(different_forms("y_target", labels, y_source))
    if (labels.dtype.kind in "US") != (y_source.dtype.kind in "US"):
        raise ValueError(
            f"y holds labels like {y_source.ravel()[0]!r} and y_target labels like "
            f"{labels.ravel()[0]!r}. Write the labels of both domains in one way."
        )
    if y_source.dtype.kind in "iub" and labels.dtype.kind == "f":
        cast = labels.astype(y_source.dtype)
        if np.array_equal(cast, labels):
            return cast
    return labels


def check_no_missing_labels(y) -> None:
    """Raise a ValueError if a source label is missing."""
    if y is not None and missing_labels(y).any():
        raise ValueError(
            "Input y contains NaN (or None): the labels of the source have to be known. Drop those "
            "source rows; only y_target may mark labels as missing."
        )


def concatenate_rows(first, second, *, second_name: str = "X_target"):
    """Stack `second` under `first`, in the container of `first`."""
    names = column_names(first)
    if names is not None:
        kinds = [type(rows).__module__.split(".")[0] for rows in (first, second)]
        if kinds[0] != kinds[1] and column_names(second) is not None:
            raise TypeError(
                f"X is a data frame of {kinds[0]} and {second_name} one of {kinds[1]}. Pass both "
                "in one library's frames."
            )
        second = select_columns(second, names, name=second_name)
        if type(first).__module__.startswith("polars"):
            import polars

            return polars.concat([first, second], how="vertical_relaxed")
        import pandas

        return pandas.concat([first, second], ignore_index=True)
    if sparse.issparse(first) or sparse.issparse(second):
        return sparse.vstack([first, second], format="csr")
    if isinstance(first, list):
        return first + list(second)
    return np.concatenate([np.asarray(first), np.asarray(second)])
