"""The linear model of a source, converted to the features and classes of a task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, NuSVC
from sklearn.utils.validation import check_array, check_is_fitted

from skltransfer._arrays import as_numpy, in_float64


@dataclass(frozen=True)
class LinearModel:
    """Coefficients of a linear model, one row for each output or class.

    Attributes
    ----------
    coef : ndarray of shape (k, n_features)
        Coefficients; for two classes one row, of the second class.
    intercept : ndarray of shape (k,) or None
        Intercepts, None if the model has none.
    classes : ndarray or None
        Classes, None for a regressor and for an array of coefficients.
    feature_names : ndarray of str or None
    """

    coef: np.ndarray
    intercept: np.ndarray | None
    classes: np.ndarray | None = None
    feature_names: np.ndarray | None = None


def read_source(source, name: str = "source") -> LinearModel:
    """Return the linear model in the argument `name`: a fitted estimator, or an array.

    Raises
    ------
    TypeError
        If it has no coefficients of the features that it was fitted on.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted.
    """
    if not hasattr(source, "fit"):
        coef = check_array(
            as_numpy(source), ensure_2d=False, allow_nd=True, dtype=np.float64, input_name=name
        )
        if coef.ndim > 2:
            raise ValueError(
                f"{name} has {coef.ndim} dimensions. Pass shape (n_features,) or (k, n_features)."
            )
        return LinearModel(np.atleast_2d(coef), None)
    check_is_fitted(source)
    model = _innermost(source)
    if isinstance(model, Pipeline):
        raise TypeError(
            f"{name} is a Pipeline, whose coefficients belong to the columns that its steps make. "
            f"Pass {name}[-1], behind the fitted steps: FrozenEstimator({name}[:-1])."
        )
    if isinstance(model, SVC | NuSVC) and len(model.classes_) > 2:
        raise TypeError(
            f"{name} is a {type(model).__name__} of {len(model.classes_)} classes, whose rows of "
            "coef_ tell pairs of classes apart. Pass a LinearSVC or LogisticRegression."
        )
    if isinstance(model, PoissonRegressor | GammaRegressor | TweedieRegressor):
        raise TypeError(
            f"{name} is a {type(model).__name__}, whose predictions are not linear in the "
            "columns. Pass a linear model, such as Ridge."
        )
    if not hasattr(model, "coef_"):
        raise TypeError(
            f"{name} is a {type(source).__name__}, which has no coef_. Pass a fitted linear model, "
            "such as LogisticRegression or Ridge, or an array of coefficients."
        )
    coef = model.coef_.toarray() if sparse.issparse(model.coef_) else model.coef_
    coef = np.atleast_2d(in_float64(coef))
    intercept = getattr(model, "intercept_", None)
    if intercept is not None:
        intercept = np.broadcast_to(in_float64(intercept), len(coef)).copy()
    if getattr(model, "fit_intercept", True) is False and not np.any(intercept):
        intercept = None
    if hasattr(model, "_x_mean"):  # partial least squares: coefficients of centred columns
        intercept = intercept - coef @ model._x_mean
    names = getattr(model, "feature_names_in_", getattr(source, "feature_names_in_", None))
    if names is not None and len(names) != coef.shape[1]:
        names = None
    return LinearModel(coef, intercept, getattr(model, "classes_", None), names)


def _innermost(estimator):
    """Return the model that does the work in a wrapper or a search."""
    while not hasattr(estimator, "coef_"):
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "estimator_"):
            estimator = estimator.estimator_
        else:
            break
    return estimator


def match_features(
    model: LinearModel, feature_names, n_features: int, name: str = "source", other: str = "X"
) -> np.ndarray:
    """Return the coefficients of the features of the task, 0 for features that the model lacks.

    Parameters
    ----------
    model : LinearModel
    feature_names : ndarray of str or None
        Features of the task. If both have names, features are matched by name.
    n_features : int
        Number of features of the task.
    name, other : str
        Arguments that hold the model and the task, in messages.

    Returns
    -------
    coef : ndarray of shape (k, n_features)
    """
    if model.feature_names is None or feature_names is None:
        if model.coef.shape[1] != n_features:
            raise ValueError(
                f"{name} has coefficients for {model.coef.shape[1]} features, and {other} has "
                f"{n_features}. Give both the same columns, or pass DataFrames to both fits."
            )
        return model.coef
    position = {column: i for i, column in enumerate(model.feature_names)}
    shared = [i for i, column in enumerate(feature_names) if column in position]
    if not shared:
        raise ValueError(
            f"{name} was fitted on the columns {list(model.feature_names[:5])} and {other} has "
            f"{list(feature_names[:5])}, and none is shared. Give both the same names."
        )
    coef = np.zeros((len(model.coef), n_features))
    coef[:, shared] = model.coef[:, [position[feature_names[i]] for i in shared]]
    return coef


def match_classes(
    coef: np.ndarray, intercept: np.ndarray | None, known: np.ndarray | None, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Convert coefficients of the classes `known` to coefficients of `classes`.

    Coefficients of a class that is not known are 0. A class that is not in `classes` is left out.

    Parameters
    ----------
    coef : ndarray of shape (k, n_features)
    intercept : ndarray of shape (k,) or None
    known : ndarray of shape (n_known,) or None
        Classes of the rows of `coef`, None if these are `classes`.
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    coef : ndarray of shape (n_classes, n_features), or (1, n_features) for two classes
    intercept : ndarray of as many entries, or None
    """
    n_outputs = 1 if len(classes) == 2 else len(classes)
    if known is None:
        if len(coef) != n_outputs:
            raise ValueError(
                f"source has {len(coef)} rows of coefficients, and y has {len(classes)} classes, "
                f"which need {n_outputs}. Pass one for each sorted class, or a fitted classifier."
            )
        return coef, intercept
    if np.array_equal(known, classes):
        return coef, intercept
    if not set(known.tolist()) & set(classes.tolist()):
        raise ValueError(
            f"source knows the classes {known.tolist()[:5]} and y has {classes.tolist()[:5]}. None "
            "is shared, so that nothing can be carried over. Write the labels of both in one way."
        )
    has_intercept = intercept is not None
    columns = np.column_stack([coef, intercept if has_intercept else np.zeros(len(coef))])
    if len(known) == 2:  # half for, half against
        columns = np.vstack([-0.5 * columns[0], 0.5 * columns[0]])
    row_of = {label: i for i, label in enumerate(known.tolist())}
    matched = np.zeros((len(classes), columns.shape[1]))
    for i, label in enumerate(classes.tolist()):
        if label in row_of:
            matched[i] = columns[row_of[label]]
    if len(classes) == 2:
        matched = matched[1:] - matched[:1]
    return matched[:, :-1], matched[:, -1] if has_intercept else None
