"""Signs that samples of two domains do not come from the same stage of a pipeline."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from skltransfer._arrays import as_numpy
from skltransfer._warnings import warn
from skltransfer.domains._data import (
    DomainDataWarning,
    column_names,
    n_columns,
    warn_of_left_out,
)
from skltransfer.domains._routing import names_its_columns
from skltransfer.domains._surroundings import makes_arrays

# Standard deviations from the mean, and ratio of standard deviations, beyond which a column is far.
_FAR, _FAR_RATIO = 10.0, 20.0
_FAR_SHARE = 1 / 3  # of the columns
_FEWEST_ROWS, _MOST_ROWS = 10, 1000
_BLOCK = 1000  # columns whose moments are computed together
_ROUNDING = 1e-12  # deviations below it, in units of the mean, are rounding errors


def at_one_stage(wrapper: str, X, X_held, held_name: str):
    """Check that held samples are in the form of the samples that a wrapper was given.

    Parameters
    ----------
    wrapper : str
        Name of the wrapper's class.
    X, X_held : array-like
    held_name : str

    Returns
    -------
    X_held : array-like
        As an array if a meta-estimator has made an array of `X` too.

    Warns
    -----
    DomainDataWarning
        If the columns are so far apart that a scaler may lie between them.

    Raises
    ------
    ValueError
        If the samples certainly are not of one stage.
    """
    remedy = (
        f"{wrapper} belongs outermost, around the whole pipeline, because the steps before it do "
        f"not map {held_name}: {wrapper}(make_pipeline(step, ..., adapter), {held_name})."
    )
    if column_names(X_held) is not None and column_names(X) is None and hasattr(X, "shape"):
        if not makes_arrays():
            raise ValueError(
                f"X is an array and {held_name} a data frame with column names: X has gone through "
                f"a step that {held_name} has not. {remedy} Without such a step, pass both as "
                "data frames or both as arrays."
            )
        X_held = np.asarray(X_held)
    given, held = n_columns(X), n_columns(X_held)
    if column_names(X) is not None and column_names(X_held) is None and held is not None:
        raise ValueError(
            f"X has column names and {held_name} has none, so that its columns "
            f"cannot be matched. Pass both as data frames or both as arrays. {remedy}"
        )
    named = column_names(X) is not None or column_names(X_held) is not None
    if not named and given is not None and held is not None and given != held:
        raise ValueError(
            f"{held_name} has {held} features, but X has {given}. {remedy} So does feature "
            "selection (SequentialFeatureSelector, RFE): put the selector inside, as a step of "
            f"that pipeline. Inside a ColumnTransformer pass DataFrames."
        )
    if _are_texts(X_held) and getattr(X, "ndim", 1) == 2 and column_names(X) is None:
        raise ValueError(
            f"X is a matrix and {held_name} holds texts: X has gone through a step that "
            f"{held_name} has not. {remedy}"
        )
    if _are_far_apart(X, X_held):
        warn(
            f"The columns of {held_name} lie far from those of X, as if X had gone through a step, "
            f"such as a scaler, that {held_name} has not. {remedy}",
            DomainDataWarning,
        )
    return X_held


def warn_of_columns(X, X_held, names: tuple[str, str], estimator) -> None:
    """Warn if a frame has columns that the other lacks, so that they play no part.

    Parameters
    ----------
    X, X_held : array-like
        Samples given to a wrapper, and those held by it.
    names : tuple of two str
        Names of the samples that the estimator is fitted on, and of the others. Columns that the
        others lack are for the estimator to refuse, which may not use them.
    estimator : estimator
        Nothing is said if it begins by a ColumnTransformer that names its columns.
    """
    columns = column_names(X), column_names(X_held)
    if None in columns or set(columns[0]) == set(columns[1]) or names_its_columns(estimator):
        return
    fitted, other = columns if names[0] == "X" else columns[::-1]
    extra = [name for name in other if name not in set(fitted)]
    if names[0] != "X":  # held samples are brought to the columns of X
        unused = [name for name in fitted if name not in set(other)]
        if unused and not extra:
            extra, names = unused, names[::-1]
    if extra:
        warn_of_left_out(extra, name=names[1], first_name=names[0])


def _are_texts(rows) -> bool:
    if column_names(rows) is not None or sparse.issparse(rows):
        return False
    if not isinstance(rows, list | tuple):
        if getattr(rows, "ndim", 1) != 1:
            return False
        rows = np.asarray(as_numpy(rows))
        if rows.ndim != 1:
            return False
    return len(rows) > 0 and isinstance(rows[0], str)


def _are_far_apart(X, X_held) -> bool:
    """Tell whether many columns are far apart, in location or in scale."""
    names = column_names(X)
    if names is not None:
        if column_names(X_held) is None:
            return False
        names = [name for name in names if name in set(column_names(X_held))]
        X, X_held = (_safe_indexing(rows, names, axis=1) for rows in (X, X_held))
    pairs = [_moments(rows, names) for rows in (X, X_held)]
    if any(pair is None for pair in pairs) or pairs[0].shape != pairs[1].shape:
        return False
    (mean, deviation, is_number), (held_mean, held_deviation, held_is_number) = pairs
    used = (is_number > 0) & (held_is_number > 0) & (deviation > 0)
    if not used.any():
        return False
    far = np.abs(held_mean - mean)[used] > _FAR * deviation[used]
    if min(map(_num_samples, (X, X_held))) >= _FEWEST_ROWS:
        ratio = held_deviation[used] / deviation[used]
        far |= (ratio > _FAR_RATIO) | ((ratio > 0) & (ratio < 1 / _FAR_RATIO))
    return bool(far.mean() > _FAR_SHARE)


def _moments(rows, names) -> np.ndarray | None:
    """Return mean, standard deviation and usability of each column; None for anything else."""
    if sparse.issparse(rows) or _num_samples(rows) < 2:
        return None
    step = -(-_num_samples(rows) // _MOST_ROWS)
    if names is None:
        if isinstance(rows, list | tuple) and n_columns(rows) is None:
            return None
        rows = rows[::step] if hasattr(rows, "shape") else np.asarray(rows)[::step]
        values = np.asarray(as_numpy(rows))
        if values.ndim != 2 or values.dtype.kind not in "iuf":
            return None
        blocks = [values[:, i : i + _BLOCK] for i in range(0, values.shape[1], _BLOCK)]
    else:
        rows = _safe_indexing(rows, np.arange(0, _num_samples(rows), step))
        blocks = [np.asarray(_safe_indexing(rows, name, axis=1)).reshape(-1, 1) for name in names]
    return np.concatenate([np.zeros((3, 0)), *map(_moments_of_numbers, blocks)], axis=1)


def _moments_of_numbers(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind not in "iuf":
        return np.zeros((3, values.shape[1]))
    values = values.astype(np.float64)
    known = np.isfinite(values)
    n_known = known.sum(axis=0)
    with np.errstate(all="ignore"):
        mean = np.where(known, values, 0.0).sum(axis=0) / n_known
        deviation = np.sqrt(np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / n_known)
        deviation[deviation <= _ROUNDING * np.abs(mean)] = 0.0  # a constant
    moments = np.stack([mean, deviation, np.ones(len(mean))])
    return np.where((n_known > 1) & np.isfinite(moments), moments, 0.0)
