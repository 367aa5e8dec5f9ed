"""Images in a list, Series, one-column frame or array of objects: what each entry is."""

from __future__ import annotations

import os

import numpy as np
import torch

from skltransfer._missing import is_missing
from skltransfer._torch._images import IMAGE_TYPES


def check_not_single(X) -> None:
    """Raise a TypeError if `X` is one image, or a folder, instead of a list of images."""
    if isinstance(X, np.ndarray) and X.ndim == 0 and X.dtype.kind in "OUS":
        X = X.item()
    if isinstance(X, str | os.PathLike) and os.path.isdir(X):
        raise TypeError(
            f"X is the folder {os.fspath(X)!r}. skltransfer.datasets.load_image_folder(FOLDER) "
            "returns the paths of its images, and their classes: pass the paths."
        )
    if isinstance(X, IMAGE_TYPES):
        raise TypeError(f"X is one {type(X).__name__}. Pass a list of images, even if of one: [X].")


def as_items(X) -> list | None:
    """Return paths, PIL images, encoded bytes or arrays of several shapes; None for other data."""
    entries, is_list = _entries(X)
    known = _first_known(entries)
    if isinstance(known, IMAGE_TYPES):
        return [_without_torch(entry) for entry in entries]
    if isinstance(known, dict):
        return [_of_record(entry, row) for row, entry in enumerate(entries)]
    arrays = _arrays(entries, is_list)
    return None if arrays is None or _can_be_stacked(arrays) else arrays


def as_array(X):
    """Return a list or column of arrays of one shape as one array; anything else as it is."""
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim > 2:
        return np.array(X.tolist())
    arrays = _arrays(*_entries(X))
    return np.stack(arrays) if arrays is not None and _can_be_stacked(arrays) else X


def as_missing_items(X) -> list | None:
    """Return the items of a list or column in which every one is missing; else None."""
    if not isinstance(X, list | tuple):
        X = np.asarray(X) if not isinstance(X, torch.Tensor) else X
        is_column = X.ndim == 1 or (X.ndim == 2 and X.shape[1] == 1)
        if not is_column or not isinstance(X, np.ndarray) or X.dtype.kind not in "Of":
            return None
        X = X.ravel().tolist()
    items = list(X)
    return items if items and all(map(is_missing, items)) else None


def _entries(X) -> tuple[list, bool]:
    """Return what a list or column of objects holds, nothing for others, and if it is a list."""
    if hasattr(X, "columns") and hasattr(X, "shape"):  # a data frame
        if X.shape[1] != 1:
            return [], False
        X = X.iloc[:, 0] if hasattr(X, "iloc") else X[X.columns[0]]
    if isinstance(X, list | tuple):
        return list(X), True
    array = np.asarray(X) if not isinstance(X, torch.Tensor) else None
    if array is None or array.dtype.kind not in "OUS" or array.ndim not in (1, 2):
        return [], False
    if array.dtype.kind == "S":
        raise TypeError(
            f"X has dtype {array.dtype}, in which numpy drops zeros at the end of encoded "
            "images. Pass a list of bytes, or an array of dtype object."
        )
    if array.ndim == 2 and len(getattr(X, "shape", ())) == 1:  # structs of polars
        return X.to_list(), False
    if array.ndim == 2 and array.shape[1] != 1:
        return [], False
    return array.ravel().tolist(), False


def _first_known(entries: list):
    return next((entry for entry in entries if not is_missing(entry)), None)


def _arrays(entries: list, is_list: bool) -> list | None:
    """Return the entries of a list or column of arrays, each as an array; None for other data.

    A list of one-dimensional arrays is a table like any list of rows, and other data.
    """
    kinds = np.ndarray | torch.Tensor if is_list else np.ndarray | torch.Tensor | list | tuple
    if not isinstance(_first_known(entries), kinds):
        return None
    arrays = [_numbers(entry, row) for row, entry in enumerate(entries)]
    first = _first_known(arrays)
    if first.ndim > 1:
        return arrays
    if is_list:
        return None
    for row, entry in enumerate(arrays):
        if np.shape(entry) != first.shape:
            given = f"an array of shape {np.shape(entry)}" if np.ndim(entry) else repr(entry)
            raise ValueError(
                f"Row {row} of X holds {given}, and the rows before hold arrays of shape "
                f"{first.shape}. Drop it, or pass rows of one length."
            )
    return arrays


def _can_be_stacked(arrays: list) -> bool:
    """Tell whether entries are arrays of one shape, and all integers or all not."""
    forms = {
        (entry.shape, entry.dtype.kind in "ui") if isinstance(entry, np.ndarray) else None
        for entry in arrays
    }
    return len(forms) == 1


def _without_torch(entry):
    return entry.detach().cpu().numpy() if isinstance(entry, torch.Tensor) else entry


def _numbers(entry, row: int):
    """Return a tensor, nested lists or arrays of objects as one array; others as they are."""
    if isinstance(entry, torch.Tensor):
        return _without_torch(entry)
    is_nested = isinstance(entry, list | tuple)
    if not is_nested and not (isinstance(entry, np.ndarray) and entry.dtype == object):
        return entry
    try:
        return np.array([_numbers(part, row) for part in entry])
    except ValueError as error:
        raise ValueError(
            f"Row {row} of X holds lists of different lengths. An image is (height, width), "
            "(height, width, channels) or (channels, height, width)."
        ) from error


def _of_record(entry, row: int):
    """Return the image of a dictionary of bytes and path, as in Parquet files of image data."""
    if not isinstance(entry, dict):
        return _without_torch(entry)
    if not {"bytes", "path"} & entry.keys():
        raise TypeError(
            f"Row {row} is a dictionary with the keys {list(entry)[:5]}. An image has the key "
            "'bytes' or 'path'. Pass what holds the image alone."
        )
    encoded = entry.get("bytes")
    return entry.get("path") if is_missing(encoded) else encoded
