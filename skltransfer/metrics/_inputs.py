"""Samples, features and labels as the metrics take them."""

from __future__ import annotations

import numpy as np
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_array

from skltransfer.domains._data import (
    as_labels,
    check_same_length,
    in_one_form,
    missing_labels,
)

# Probabilities in float32 sum to 1 within this.
_ROUNDING = 1e-4


def two_domains(X, X_target, *, min_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples of both domains as float64 matrices with the same columns.

    Raises
    ------
    ValueError
        If they differ in width, or one holds too few samples, NaN or infinity.
    """
    X, X_target = in_one_form(X, X_target, "X_target")
    X, X_target = (
        check_array(
            rows, dtype=np.float64, input_name=name, ensure_min_samples=min_samples,
            estimator=f"a metric of two domains ({name})",
        )
        for rows, name in ((X, "X"), (X_target, "X_target"))
    )  # fmt: skip
    if X.shape[1] != X_target.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features and X_target has {X_target.shape[1]}. Pass the samples "
            "of both domains in the same columns."
        )
    return X, X_target


def features_of(X, transformer) -> np.ndarray:
    """Return features as a float64 matrix.

    Parameters
    ----------
    X : array-like
        Features, or the samples that `transformer` turns into some.
    transformer : fitted transformer, or None
    """
    if transformer is not None:
        if not hasattr(transformer, "transform"):
            raise TypeError(
                f"transformer={transformer!r:.80} has no transform. Pass a fitted transformer or "
                "network estimator; PretrainedFeatureTransformer turns the name of a backbone into "
                "one."
            )
        X = transformer.transform(X)
        X = X.numpy(force=True) if hasattr(X, "numpy") and hasattr(X, "device") else X
    return check_array(X, dtype=np.float64, input_name="X", ensure_min_samples=2)


def probabilities_of(X, source) -> np.ndarray:
    """Return probabilities of the source's classes, shape (n_samples, n_source_classes).

    Parameters
    ----------
    X : array-like
        Probabilities, or the samples that `source` predicts them for.
    source : fitted classifier, or None
    """
    if source is not None:
        if not hasattr(source, "predict_proba"):
            raise TypeError(
                f"source={source!r:.80} has no predict_proba. Pass a fitted classifier that has "
                "one, or score its predicted classes by nce_score."
            )
        X = source.predict_proba(X)
    p = check_array(X, dtype=np.float64, input_name="X")
    if (p < -_ROUNDING).any() or np.abs(p.sum(axis=1) - 1).max() > _ROUNDING:
        row = int(np.argmax(np.maximum(np.abs(p.sum(axis=1) - 1), -p.min(axis=1))))
        raise ValueError(
            f"X has to hold probabilities, and its row {row} has the sum {p[row].sum():.6g} and "
            f"the smallest entry {p[row].min():.6g}. Pass the result of predict_proba, or source=."
        )
    return np.maximum(p, 0.0)


def class_codes(y, rows, *, name: str = "y", at_least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes, sorted, and the number of the class of each sample.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels of any one type: numbers, truth values or strings.
    rows : array-like of length n_samples, or None
    name : str
        Name of the labels in messages.
    at_least : int
        Number of classes that are needed.
    """
    y = as_labels(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.ravel()
    if y.ndim != 1:
        raise ValueError(f"{name} has shape {y.shape}. Pass one class for each sample.")
    if rows is not None:
        check_same_length(y, rows, name, "X")
    if missing_labels(y).any():
        raise ValueError(
            f"{name} has {int(missing_labels(y).sum())} missing labels. Leave their samples out."
        )
    if y.dtype.kind == "f" and (y % 1 != 0).any():
        raise ValueError(
            f"{name} holds numbers such as {y[y % 1 != 0][0]:.6g}, which are no classes. Cut them "
            "into bins (KBinsDiscretizer), or use logme_score, which takes numbers."
        )
    if y.dtype.kind == "O":
        kinds = {type(label) for label in y.tolist()}
        if any(issubclass(kind, str) for kind in kinds) and not all(
            issubclass(kind, str) for kind in kinds
        ):
            names = " and ".join(sorted(kind.__name__ for kind in kinds))
            raise ValueError(f"{name} mixes {names}. Give all labels one type.")
        y = np.array(y.tolist())
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < at_least:
        raise ValueError(
            f"{name} has one class, {classes.tolist()[0]!r}. The score needs at least two: pass "
            "samples of other classes too."
        )
    return classes, codes


def is_continuous(y) -> bool:
    """Tell whether labels are numbers with fractions, or several numbers for each sample."""
    y = as_labels(y)
    if y.ndim == 2 and y.shape[1] > 1:
        return True
    return y.dtype.kind == "f" and type_of_target(y.ravel()).startswith("continuous")


def numbers_to_predict(y, rows) -> np.ndarray:
    """Return the labels of a regression as a float64 matrix whose columns vary."""
    y = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
    check_same_length(y, rows, "y", "X")
    y = y.reshape(len(y), -1)
    constant = np.flatnonzero(np.ptp(y, axis=0) == 0)
    if len(constant):
        which = "y" if y.shape[1] == 1 else f"output {constant[0]} of y"
        raise ValueError(
            f"{which} is {y[0, constant[0]]:g} for every sample, and leaves nothing to predict. "
            "Leave it out."
        )
    return y
