"""What an estimator gives for some samples, as named columns."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skltransfer._parameters import Choice

_METHOD = Choice("transform", "predict", "predict_proba", "decision_function")
# Files and frames with more columns can hardly be worked with.
_MAX_COLUMNS = 20_000


def check_method(estimator, method: str) -> None:
    """Raise an error unless an estimator is fitted and has a method that gives columns."""
    _METHOD.check("method", method)
    if not hasattr(estimator, method):
        raise TypeError(
            f"A {type(estimator).__name__} has no {method}. Pass method= with one that it has."
        )
    check_is_fitted(estimator)


def columns_of(estimator, method: str, X) -> dict[str, np.ndarray]:
    """Return the outputs of a method for samples, by the names of the columns.

    Features have the names of ``get_feature_names_out``; other outputs are named after what they
    are, and after the class or the number of the output where there are several.
    """
    values = getattr(estimator, method)(X)
    if hasattr(values, "toarray"):
        values = values.toarray()
    elif hasattr(values, "detach"):
        values = values.detach().cpu()
    values = np.asarray(values)
    if values.ndim == 1:
        names = {"predict": "prediction", "decision_function": "decision"}
        return {names.get(method, method): values}
    names = _names(estimator, method, values.shape[1])
    if len(names) > _MAX_COLUMNS:
        raise ValueError(
            f"A sample would have {len(names)} columns, more than a table holds well "
            f"({_MAX_COLUMNS}). Choose fewer layers, or a pooling."
        )
    return dict(zip(names, values.T, strict=True))


def _names(estimator, method: str, n: int) -> list[str]:
    if method == "transform":
        return [str(name) for name in estimator.get_feature_names_out()]
    if method == "predict":
        return [f"prediction_{i}" for i in range(n)]
    kind = {"predict_proba": "probability", "decision_function": "decision"}[method]
    return [f"{kind}_{label}" for label in estimator.classes_]


def check_no_clash(kept, names) -> None:
    """Raise a ValueError if a column that is kept has the name of an output."""
    twice = sorted({str(name) for name in kept} & set(names))
    if twice:
        raise ValueError(
            f"Column {twice[0]!r} is kept, and an output has the same name. Rename the column, or "
            "leave it out of keep."
        )


def names_without_samples(estimator, method: str) -> list[str]:
    """Return the names of the outputs of an estimator that predicts one output."""
    if method == "transform":
        return [str(name) for name in estimator.get_feature_names_out()]
    if method == "predict":
        return ["prediction"]
    classes = estimator.classes_
    if method == "predict_proba":
        return [f"probability_{label}" for label in classes]
    return ["decision"] if len(classes) == 2 else [f"decision_{label}" for label in classes]


def columns_to_read(estimator, columns) -> str | list[str]:
    """Return the columns that an estimator is given; a string stands for a list of samples."""
    if columns is None:
        columns = getattr(estimator, "feature_names_in_", None)
        if columns is None:
            raise ValueError(
                f"The {type(estimator).__name__} was fitted without names of columns. Pass "
                "columns=: the name of the column with texts or images, or a list of names."
            )
    if isinstance(columns, str):
        return columns
    columns = list(columns)
    if not columns or not all(isinstance(name, str) for name in columns):
        raise ValueError(f"columns={columns!r} is neither a name nor a list of names.")
    return columns
