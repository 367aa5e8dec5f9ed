"""Samples in the array library of their user, and on its device (the array API).

With scikit-learn's ``array_api_dispatch``, samples may be tensors of torch, arrays of CuPy, and so
on. Products with all samples are computed there. What comes out, of the size of the features alone,
is factorised as numpy arrays, by the code that serves numpy's samples too, and moved back.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.externals.array_api_compat import is_array_api_obj
from sklearn.utils._array_api import (
    _is_numpy_namespace,
    _max_precision_float_dtype,
    check_same_namespace,
    get_namespace,
    get_namespace_and_device,
    move_to,
)

_NUMPY = get_namespace()[0]


def namespace_of(array):
    """Return the library of an array, as a module of the array API's functions."""
    return _NUMPY if isinstance(array, np.ndarray) else get_namespace(array)[0]


def float_dtype(X):
    """Return the type of numbers that samples are computed in: float64 where the device has it."""
    if not get_config()["array_api_dispatch"]:
        return np.float64
    xp, _, device = get_namespace_and_device(X)
    return _max_precision_float_dtype(xp, device)


def as_numpy(value):
    """Return an array of another library as numpy's, and anything else as it is.

    Numbers keep their type.
    """
    if isinstance(value, np.ndarray) or not get_config()["array_api_dispatch"]:
        return value
    return move_to(value, xp=_NUMPY, device="cpu") if is_array_api_obj(value) else value


def in_float64(array) -> np.ndarray:
    """Return an array of any library as numpy's, in float64."""
    return np.asarray(as_numpy(array), dtype=np.float64)


def moved_to(rows, value):
    """Return numpy's arrays in the library of `rows` and on their device.

    Parameters
    ----------
    rows : array of any library, or sparse matrix
    value : ndarray or number, or list or tuple of such
    """
    if isinstance(rows, np.ndarray) or sparse.issparse(rows):
        return value
    if isinstance(value, list | tuple):
        return type(value)(moved_to(rows, part) for part in value)
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray):
        return value
    xp, _, device = get_namespace_and_device(rows)
    return move_to(value, xp=xp, device=device)


def copy_of(X):
    """Return a copy of an array of any library."""
    return X.copy() if isinstance(X, np.ndarray) else namespace_of(X).asarray(X, copy=True)


def rows_at(X, rows: np.ndarray):
    """Return some rows of an array of any library, or of a sparse matrix.

    Parameters
    ----------
    X : array or sparse matrix
    rows : ndarray of bool or int
        Mask, or positions.
    """
    if isinstance(X, np.ndarray) or sparse.issparse(X):
        return X[rows]
    positions = np.flatnonzero(rows) if rows.dtype == bool else rows
    return namespace_of(X).take(X, moved_to(X, positions), axis=0)


def check_one_place(X, X_target) -> None:
    """Raise a ValueError if the samples of two domains lie in two libraries, or on two devices."""
    if X_target is None or not get_config()["array_api_dispatch"]:
        return
    places = [get_namespace_and_device(rows) for rows in (X, X_target)]
    (xp, _, device), (other, _, other_device) = places
    if _is_numpy_namespace(xp) and _is_numpy_namespace(other):  # lists and frames have no device
        return
    if xp != other or device != other_device:
        raise ValueError(
            f"X lies in {_place(xp, device)} and X_target in {_place(other, other_device)}. Pass "
            "both domains in one library and on one device, for example "
            "X_target=xp.asarray(X_target, device=X.device), where xp is the library of X."
        )


def _place(xp, device) -> str:
    library = xp.__name__.rpartition("array_api_compat.")[2]
    return library if device is None else f"{library} (device {device})"


def check_place_of_fit(X, estimator, attribute: str, method: str) -> None:
    """Raise a ValueError if samples are not where the samples of `fit` were.

    Parameters
    ----------
    X : array-like
    estimator : estimator
    attribute : str
        Fitted attribute that lies where the samples of `fit` lay.
    method : str
        Method that was given `X`.
    """
    fitted = getattr(estimator, attribute)
    if not isinstance(fitted, np.ndarray) and not get_config()["array_api_dispatch"]:
        raise ValueError(
            f"{type(estimator).__name__} was fitted on arrays of {type(fitted).__module__}, with "
            f"scikit-learn's array_api_dispatch. Call {method} inside of "
            "sklearn.config_context(array_api_dispatch=True) too."
        )
    check_same_namespace(X, estimator, attribute=attribute, method=method)
