"""The two forms of data for several tasks: a column that names the task, or a column of y for each.

*Long*: every row of ``X`` belongs to one task, named in the column `task_column`; ``y`` is 1-D.
*Wide*: every row belongs to all tasks; ``y`` has a column for each, NaN where a value is missing.
"""

from __future__ import annotations

from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing, check_array
from sklearn.utils.validation import _num_features

from skltransfer._messages import near_names
from skltransfer.domains._data import as_labels, column_names, missing_labels


def task_position(task_column, X) -> int:
    """Return the position of the column of `X` that `task_column` names or indexes.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    n_columns = _num_features(X)
    if isinstance(task_column, Integral) and not isinstance(task_column, bool):
        if not -n_columns <= task_column < n_columns:
            raise ValueError(
                f"task_column={task_column} is out of range: X has {n_columns} columns. Pass the "
                "position of the column that holds the task of each sample."
            )
        return int(task_column) % n_columns
    names = column_names(X)
    if names is None:
        raise ValueError(
            f"task_column={task_column!r} is a name, and X has no column names. Pass a DataFrame, "
            "or the position of the column as an integer."
        )
    if task_column not in names:
        raise ValueError(
            f"task_column={task_column!r} is not a column of X, which has {names[:10]}."
            + near_names(task_column, names)
        )
    return names.index(task_column)


def split_task_column(X, position: int, *, takes_items: bool = False):
    """Return the other columns, and the task of each row (n,).

    Parameters
    ----------
    X : array-like of shape (n, d + 1)
    position : int
        Position of the column of tasks.
    takes_items : bool, default=False
        Whether a single other column may hold paths, images or texts; it is returned as a list.
        All else is returned as numbers, shape (n, d).

    Raises
    ------
    ValueError
        If a task is missing, or another column does not hold numbers.
    """
    if isinstance(X, list | tuple):
        X = np.asarray(X, dtype=object)  # numpy would write the numbers beside a name as text
    if sparse.issparse(X):
        check_array(X)  # says that sparse data is not supported
    others = [i for i in range(_num_features(X)) if i != position]
    if not others:
        raise ValueError("X has only the column of the tasks. Pass the features as well.")
    tasks = as_labels(_safe_indexing(X, [position], axis=1)).ravel()
    if missing_labels(tasks).any():
        raise ValueError(
            f"The task of {missing_labels(tasks).sum()} rows is missing in task_column. Drop those "
            "rows, or give them a task of their own."
        )
    features = _safe_indexing(X, others, axis=1)
    if takes_items:
        from skltransfer._torch._image_columns import as_array, as_items  # loads torch

        if (items := as_items(features)) is not None:
            return items, tasks
        if getattr(array := as_array(features), "ndim", 0) > 2:
            return array, tasks
    try:
        features = np.asarray(features, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The columns of X beside task_column must hold numbers ({error}). Encode the others, "
            "for example by a OneHotEncoder in a ColumnTransformer"
            + ("; a single column may hold paths or texts." if takes_items else ".")
        ) from error
    return check_array(features, dtype=np.float64, input_name="X"), tasks


def number_tasks(tasks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct tasks in sorted order, and the number of each row's task."""
    try:
        return np.unique(tasks, return_inverse=True)
    except TypeError:
        raise ValueError(
            "task_column holds labels that cannot be sorted among each other. Write all tasks as "
            "strings, or all as numbers."
        ) from None


def look_up_tasks(tasks: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the number of the task of each row, -1 for one that is not among `known`."""
    number_of = {label: i for i, label in enumerate(known.tolist())}
    return np.array([number_of.get(label, -1) for label in tasks.tolist()], dtype=int)


def split_wide(
    y, n_rows: int, n_tasks: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the values (n, n_tasks), which of them are known, and the names of the tasks.

    Raises
    ------
    ValueError
        If `y` has another number of rows or columns.
    """
    names = column_names(y)
    y = as_labels(y)
    if y.ndim != 2 or y.shape[1] == 0:
        raise ValueError(
            f"y has shape {y.shape}. Pass one value for each row, or a column for each task."
        )
    if len(y) != n_rows:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n_rows} rows, and "
            f"y has {len(y)}."
        )
    if n_tasks is not None and y.shape[1] != n_tasks:
        raise ValueError(f"y has {y.shape[1]} columns, and {n_tasks} tasks were fitted.")
    known = np.column_stack([~missing_labels(column) for column in y.T])
    tasks = np.arange(y.shape[1]) if names is None else np.asarray(names, dtype=object)
    return y, known, tasks


def check_known_values(known: np.ndarray, tasks: np.ndarray) -> None:
    """Raise a ValueError if a task has no known value."""
    if not (has_any := known.any(axis=0)).all():
        raise ValueError(
            f"The columns {tasks[~has_any].tolist()[:5]} of y have no known value in samples of "
            "positive weight. Leave them out."
        )


def weights_of_tasks(task_weight, tasks: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return the weight of each task, shape (n_tasks,).

    Parameters
    ----------
    task_weight : None, "balanced", dict or array-like
    tasks : ndarray of shape (n_tasks,)
    totals : ndarray of shape (n_tasks,)
        Sum of the weights of each task's rows; 0 for a task that is not fitted.
    """
    if task_weight is None:
        return np.ones(len(tasks))
    if isinstance(task_weight, str):
        if task_weight != "balanced":
            raise ValueError(
                f"task_weight={task_weight!r} is neither None, 'balanced', a dictionary nor array."
            )
        fitted = totals > 0
        mean = totals.sum() / fitted.sum()
        return np.divide(mean, totals, out=np.ones(len(totals)), where=fitted)
    if isinstance(task_weight, dict):
        weights = [task_weight.get(label, 1.0) for label in tasks.tolist()]
    else:
        weights = task_weight
    try:
        weights = np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError):
        weights = np.array(np.nan)
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError(f"task_weight={task_weight!r} does not consist of positive numbers.")
    if weights.shape != (len(tasks),):
        raise ValueError(
            f"task_weight has shape {weights.shape}, and there are {len(tasks)} tasks. Pass one "
            "number for each in the order of tasks_, or a dictionary."
        )
    return weights


def with_own_type(column: np.ndarray) -> np.ndarray:
    """Return an array of objects without missing entries as one of numbers or strings."""
    return np.array(column.tolist()) if column.dtype.kind == "O" else column


def union_of_labels(classes: list[np.ndarray]) -> list:
    """Return the labels of all tasks, sorted where they can be."""
    labels = list(dict.fromkeys(label for own in classes for label in own.tolist()))
    try:
        return sorted(labels)
    except TypeError:  # strings in one column, numbers in another
        return sorted(labels, key=lambda label: (type(label).__name__, label))
