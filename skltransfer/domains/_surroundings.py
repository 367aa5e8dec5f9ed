"""Which meta-estimators of scikit-learn are fitting: read from the stack of calls.

An estimator is not told inside of what it is fitted. Frames show it, in the processes of joblib
too, because the function that fits a member runs there.
"""

from __future__ import annotations

import sys

# Modules whose meta-estimators number the classes 0..k-1 before their members see them.
_NUMBERS = tuple(f"sklearn.ensemble._{name}" for name in ("base", "voting", "stacking", "bagging"))
# Modules whose meta-estimators change y in another way.
_CHANGES = ("sklearn.multiclass", "sklearn.multioutput", "sklearn.compose._target")
# Modules whose meta-estimators hand frames on as arrays.
_MAKES_ARRAYS = ("sklearn.ensemble._bagging", "sklearn.ensemble._weight_boosting")
# The module of ColumnTransformer, which hands keywords on with all of their columns.
_SELECTS_COLUMNS = ("sklearn.compose._column_transformer",)


def numbers_classes() -> bool:
    """Tell whether voting, stacking or bagging is fitting its members."""
    return _is_running(_NUMBERS)


def changes_labels() -> bool:
    """Tell whether a meta-estimator is fitting that hands its members labels of its own."""
    return _is_running(_CHANGES)


def makes_arrays() -> bool:
    """Tell whether a meta-estimator is fitting that takes the column names from its samples."""
    return _is_running(_MAKES_ARRAYS)


def selects_columns() -> bool:
    """Tell whether a ColumnTransformer is fitting its members on some of the columns."""
    return _is_running(_SELECTS_COLUMNS)


def _is_running(modules) -> bool:
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") in modules:
            return True
        frame = frame.f_back
    return False
