"""Missing values, in whatever form a user passes them."""

from __future__ import annotations

import numpy as np


def is_missing(value) -> bool:
    """Tell whether an entry of a list or column is missing: NaN, None or one of pandas' marks."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))
