"""Images that cannot be read, among others that can."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from skltransfer._torch._rows import (
    EncodedImageRows,
    Rows,
    UnreadableImage,
    UnreadableImageWarning,
)


def leading_readable(rows: Rows) -> Rows:
    """Return rows that begin with one that can be read; all rows if the first can be.

    Raises
    ------
    ValueError
        If none can be read.
    """
    if not isinstance(rows, EncodedImageRows):
        return rows
    reasons = rows.unreadable(until_first_readable=True)
    if len(reasons) == len(rows):
        raise ValueError(f"No image of {len(rows)} can be read. {reasons[0]}")
    return rows.subset(np.arange(len(reasons), len(rows)))


def extract_readable(
    rows: Rows, extract: Callable[[Rows], np.ndarray], n_features: int, dtype
) -> np.ndarray:
    """Return the features of all rows, NaN where an image cannot be read, with one warning.

    Parameters
    ----------
    rows : Rows
    extract : callable
        From rows to their features, shape (len(rows), n_features).
    n_features : int
    dtype : dtype
        Of the features.
    """
    try:
        return extract(rows)
    except UnreadableImage:  # only now is each row tried by itself
        reasons = rows.unreadable()
    readable = np.setdiff1d(np.arange(len(rows)), list(reasons))
    features = np.full((len(rows), n_features), np.nan, dtype)
    if len(readable):
        features[readable] = extract(rows.subset(readable))
    first = " ".join(list(reasons.values())[:3])
    warnings.warn(
        f"{len(reasons)} of {len(rows)} images cannot be read, and their rows are NaN. {first}"
        f"{' ...' if len(reasons) > 3 else ''}",
        UnreadableImageWarning,
        stacklevel=4,
    )
    return features
