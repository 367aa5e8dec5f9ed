"""Checks and selections of the samples and labels of the other domain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _get_feature_names, _num_samples, check_array

from skltransfer._arrays import as_numpy
from skltransfer._missing import is_missing
from skltransfer._warnings import warn
from skltransfer.domains._frames import frame_library, with_one_dtype
from skltransfer.domains._surroundings import selects_columns

# Whether columns that only one domain has need not be named, because a wrapper has done it.
_columns_compared: ContextVar[bool] = ContextVar("columns_compared", default=False)


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
    if isinstance(X, np.ndarray):  # scikit-learn looks long
        return None
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
    held, given = n_columns(X_held), n_columns(X)
    if held is not None and given is not None and held != given:
        raise ValueError(_width_message(held_name, held, given))


def n_columns(X) -> int | None:
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


@contextmanager
def columns_compared(done: bool = True) -> Iterator[None]:
    """Let columns that only one domain has be left out in silence inside of the block."""
    token = _columns_compared.set(done or _columns_compared.get())
    try:
        yield
    finally:
        _columns_compared.reset(token)


def warn_of_left_out(columns: list, *, name: str, first_name: str) -> None:
    """Warn that `name` has columns which `first_name` lacks, so that they play no part."""
    warn(
        f"{name} has the columns {columns[:10]}, which {first_name} lacks. They are left out. "
        "Drop them, or give both domains the same columns.",
        DomainDataWarning,
    )


def select_columns(X_target, names, *, name: str = "X_target", first_name: str = "X"):
    """Return `X_target` with the columns `names`, in that order.

    Inside a ColumnTransformer a keyword arrives with all columns, and the names tell which to take.
    Elsewhere a :class:`DomainDataWarning` names the columns that are left out, unless
    :func:`columns_compared` says that this was done.
    """
    if names is None:
        return X_target
    given, names = column_names(X_target), list(names)
    if given is None:
        raise ValueError(
            f"{first_name} has column names and {name} has none, so that its columns cannot be "
            f"matched. Pass {name} as a DataFrame with the columns of {first_name}, or both as "
            "arrays."
        )
    if given == names:
        return X_target
    missing = [column for column in names if column not in given]
    if missing:
        raise ValueError(
            f"{name} lacks the columns {missing[:5]} that {first_name} has. Give both domains the "
            "same ones."
        )
    extra = [column for column in given if column not in set(names)]
    if extra and not _columns_compared.get() and not selects_columns():
        warn_of_left_out(extra, name=name, first_name=first_name)
    return _safe_indexing(X_target, names, axis=1)


def in_one_form(X, X_held, held_name: str, *, name: str = "X") -> tuple:
    """Return samples of both domains in the columns of `X`, each of one dtype in both.

    This is the rule for frames wherever two domains meet: held columns are matched by name, come in
    the order of `X`, and :func:`with_one_dtype` settles their dtypes. Anything but two frames of
    one library is returned as it is. Columns may be missing, because a step may not use them: the
    estimator knows.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples whose columns, and dtypes where possible, are kept.
    X_held : array-like of shape (n_held_samples, n_features), or None
        Samples of the other domain.
    held_name, name : str
        Names of both in messages.

    Returns
    -------
    X, X_held : array-like
        The same objects where nothing has to be changed.
    """
    library = frame_library(X)
    if library is None or frame_library(X_held) is None:
        return X, X_held
    _check_distinct(X, name)
    _check_distinct(X_held, held_name)
    names, held_names = column_names(X), column_names(X_held)
    if names is None or held_names is None:
        _check_same_numbering(X, X_held, (name, held_name))
    elif set(names) <= set(held_names):
        X_held = select_columns(X_held, names, name=held_name, first_name=name)
    if library != frame_library(X_held):
        return X, X_held
    return with_one_dtype(X, X_held, names=(name, held_name), category=DomainDataWarning)


@contextmanager
def named_rows(X, X_target, names: tuple[str, str] = ("X", "X_target")) -> Iterator[None]:
    """Name the domain whose samples scikit-learn refuses, inside of the block.

    scikit-learn calls the samples of every estimator ``X``, those of the target too.

    Parameters
    ----------
    X, X_target : array-like
        Samples of both domains, as an estimator inside is given them.
    names : tuple of two str
        Their names for the caller.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        text, kind = str(error), TypeError if isinstance(error, TypeError) else ValueError
        for beginning, has_it in _REFUSALS.items():
            if beginning in text:
                holders = [name for name, rows in zip(names, (X, X_target), strict=True)
                           if rows is not None and has_it(rows)]  # fmt: skip
                wrong = _NAME_IN_REFUSAL.search(text)
                if len(holders) == 1 and wrong is not None and wrong[2] != holders[0]:
                    named = text[: wrong.start(2)] + holders[0] + text[wrong.end(2) :]
                    named = named.replace(f" {wrong[2]}.toarray()", f" {holders[0]}.toarray()")
                    raise kind(named) from error
        raise


def _holds(test, rows) -> bool:
    """Tell whether a test is true of any number among samples."""
    try:
        values = rows.data if sparse.issparse(rows) else np.asarray(as_numpy(rows))
    except ValueError:  # samples of different lengths
        return False
    if values.dtype.kind == "O":
        values = [value for value in values.ravel() if isinstance(value, float)]
        values = np.array(values, dtype=np.float64)
    return values.dtype.kind == "f" and bool(test(values).any())


_REFUSALS = {
    "contains NaN": lambda rows: _holds(np.isnan, rows),
    "contains infinity": lambda rows: _holds(np.isinf, rows),
    "Sparse data was passed": sparse.issparse,
    " is sparse, and ": sparse.issparse,
}
_NAME_IN_REFUSAL = re.compile(r"(Input |was passed for |^)(X_target|X)\b")


def _check_distinct(frame, name: str) -> None:
    columns = list(frame.columns)
    if len(set(columns)) < len(columns):
        twice = sorted({column for column in columns if columns.count(column) > 1}, key=str)
        raise ValueError(
            f"{name} has several columns named {twice[:5]}, which cannot be matched. Rename them."
        )


def _check_same_numbering(X, X_held, names) -> None:
    """Refuse columns named by numbers that are in another order: scikit-learn goes by position."""
    own, held = list(X.columns), list(X_held.columns)
    if own != held and sorted(map(str, own)) == sorted(map(str, held)):
        raise ValueError(
            f"{names[0]} and {names[1]} have the same columns in another order, and not all of "
            "their names are strings, so that columns go by position. Name them by strings, or "
            "give both one order."
        )


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
    try:
        X_target = check_array(X_target, **checks)
    except ValueError as error:
        raise _with_the_column(error, X_target, checks) from error
    if X_target.shape[1] != estimator.n_features_in_:
        raise ValueError(_width_message("X_target", X_target.shape[1], estimator.n_features_in_))
    return X_target


def _with_the_column(error: ValueError, X_target, checks) -> ValueError:
    """Return an error that names the column of texts where numbers are wanted."""
    names = column_names(X_target)
    if names is None or checks["dtype"] is None:
        return error
    for name in names:
        column = np.asarray(_safe_indexing(X_target, name, axis=1))
        try:
            column.astype(np.float64)
        except (TypeError, ValueError) as reason:
            return ValueError(
                f"The column {name!r} of X_target holds no numbers ({reason}). Encode it in a step "
                "before, or leave it out, in both domains."
            )
    return error


def as_labels(y) -> np.ndarray:
    """Return `y` as an array that keeps missing labels apart from strings.

    Otherwise numpy would write the ``NaN`` in a list of strings as ``"nan"``.
    """
    if isinstance(y, list | tuple):
        return np.asarray(y, dtype=object)
    y = np.asarray(as_numpy(y))
    return y.astype(object) if y.dtype.kind == "T" else y  # numpy's own strings


def missing_labels(y) -> np.ndarray:
    """Return a boolean mask of the entries of `y` with a missing label (or any missing output).

    ``NaN`` is a missing label, and so are ``None`` and ``pandas.NA`` in arrays of objects. numpy
    writes ``NaN`` in an array of strings as ``"nan"``, which is one there. ``-1`` is an ordinary
    label.
    """
    y = as_labels(y)
    if y.dtype.kind == "f":
        missing = np.isnan(y)
    elif y.dtype.kind == "O":
        missing = np.reshape([is_missing(label) for label in y.ravel()], y.shape)
    elif y.dtype.kind == "U":  # numpy writes NaN so beside strings
        missing = y == "nan"
    else:
        missing = np.zeros(y.shape, dtype=bool)
    return missing.reshape(len(y), -1).any(axis=1)


def known_labels(y_target, X_target, y_source=None, *, name: str = "y_target"):
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
    name : str
        Name of `y_target` in messages.

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
    check_finite_labels(labels, name)
    if y_source is not None and len(labels):
        labels = _as_type_of(labels, as_labels(y_source))
    return known, labels


def check_finite_labels(labels, name: str) -> None:
    """Raise a ValueError if a label is infinite."""
    labels = as_labels(labels)
    if labels.dtype.kind == "O":
        labels = np.array([label for label in labels.ravel() if isinstance(label, float)])
    if labels.dtype.kind == "f" and np.isinf(labels).any():
        raise ValueError(
            f"Input {name} contains infinity. Labels have to be finite; mark unknown ones by NaN."
        )


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
            f"y holds labels like {y_source.ravel().tolist()[0]!r} and y_target labels like "
            f"{labels.ravel().tolist()[0]!r}. Write the labels of both domains in one way."
        )
    if y_source.dtype.kind in "iub" and labels.dtype.kind == "f":
        cast = labels.astype(y_source.dtype)
        if np.array_equal(cast, labels):
            return cast
    return labels


def check_no_missing_labels(y) -> None:
    """Raise a ValueError if a source label is missing."""
    if y is not None and missing_labels(y).any():
        written = (
            " (numpy writes NaN in an array of strings as 'nan'; if it is a class, pass a list.)"
            if as_labels(y).dtype.kind == "U"
            else ""
        )
        raise ValueError(
            "Input y contains NaN (or None): the labels of the source have to be known. Drop those "
            f"source rows; only y_target may mark labels as missing.{written}"
        )


def concatenate_rows(first, second, *, first_name: str = "X", second_name: str = "X_target"):
    """Stack `second` under `first`, in the container of `first`.

    The columns of frames are brought into one form (see :func:`in_one_form`).
    """
    library, other = frame_library(first), frame_library(second)
    for rows, name in ((first, first_name), (second, second_name)):
        if frame_library(rows) is not None:
            _check_distinct(rows, name)
    if library is not None and other not in (None, library):
        raise TypeError(
            f"{first_name} is a data frame of {library} and {second_name} one of {other}. Pass "
            "both in one library's frames."
        )
    if column_names(first) is not None or (library is not None and other == library):
        return _concatenate_frames(first, second, library, (first_name, second_name))
    if sparse.issparse(first) or sparse.issparse(second):
        return sparse.vstack([first, second], format="csr")
    if isinstance(first, list):
        return first + list(second)
    blocks = [np.asarray(first), np.asarray(second)]
    kinds = ["text" if block.dtype.kind in "USOT" else "numbers" for block in blocks]
    if kinds[0] != kinds[1] and not any(block.dtype.kind == "O" for block in blocks):
        raise ValueError(
            f"{first_name} holds {kinds[0]} and {second_name} {kinds[1]}. Write the values of both "
            "domains in one way."
        )
    return np.concatenate(blocks)


def _concatenate_frames(first, second, library: str, names: tuple[str, str]):
    if (labels := column_names(first)) is not None:
        second = select_columns(second, labels, name=names[1], first_name=names[0])
    elif second.shape[1] != first.shape[1]:
        raise ValueError(_width_message(names[1], second.shape[1], first.shape[1]))
    first, second = in_one_form(first, second, names[1], name=names[0])
    if library is None:
        raise TypeError(
            f"{names[0]} is a {type(first).__module__}.{type(first).__name__}, to which rows "
            "cannot be added. Pass frames of pandas or polars, or arrays."
        )
    if library == "polars":
        import polars

        return polars.concat([first, second])
    import pandas

    if column_names(first) is None:
        second = second.set_axis(first.columns, axis=1)
    return pandas.concat([first, second], ignore_index=True)
