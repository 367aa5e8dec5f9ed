"""Carry the data of the other domain, and the weights, to the steps that ask for them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from skltransfer.domains._composition import (
    candidates,
    consumed_keywords,
    is_router,
    isolate_strangers,
    name_steps,
    routed_parts,
)
from skltransfer.domains._data import column_names, known_labels
from skltransfer.domains._isolation import metadata_routing, skip_samplers
from skltransfer.domains._weights import (
    isolate_bystanders,
    repeat_rows,
    request_weights,
    weight_obstacle,
)

# They hand their members another y than they were given, which y_target cannot follow.
_RECODES_LABELS = (
    TransformedTargetRegressor,
    OneVsRestClassifier,
    OneVsOneClassifier,
    OutputCodeClassifier,
    MultiOutputClassifier,
    MultiOutputRegressor,
    ClassifierChain,
    RegressorChain,
)
# They number the classes 0..k-1 before their members see them.
_NUMBERS_LABELS = (VotingClassifier, BaggingClassifier)


def fit_with_target(
    estimator,
    X,
    y,
    *,
    X_target,
    y_target=None,
    sample_weight=None,
    target_sample_weight=None,
    sample_domain=None,
    method: str = "fit",
):
    """Fit `estimator` on source samples, with target samples for the steps that ask for them.

    Metadata routing is on only in here. Requests are set on `estimator`, which is the caller's
    clone.

    Parameters
    ----------
    estimator : estimator
        Asks for ``X_target`` (see :func:`consumed_keywords`).
    X, y : array-likes
        Source samples and labels.
    X_target, y_target : array-likes
        Target samples, and their known labels.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of the source samples, for the steps that ask for ``X_target`` and the last one.
    target_sample_weight : ndarray of shape (n_target_samples,), optional
        Weights of the target samples, above 0, for the steps that ask for them.
    sample_domain : ndarray of shape (n_samples,), int, optional
        Numbers of several source domains.
    method : {"fit", "fit_transform"}
        Method to call.

    Returns
    -------
    result : object
        The result of `method`.
    """
    with metadata_routing(estimator):
        isolate_strangers(estimator)
        asks_for_weights = target_sample_weight is not None and consumed_keywords(
            estimator, method, ["target_sample_weight"]
        )
        if target_sample_weight is not None and not asks_for_weights:
            target = X_target, y_target, target_sample_weight
            X_target, y_target = _repeat_target(estimator, method, *target)
        # In 1-tuples the data have as many entries as there are other domains: no splitter cuts
        # them.
        keywords = {"X_target": (X_target,)}
        if asks_for_weights:
            keywords["target_sample_weight"] = (target_sample_weight,)
        if y_target is not None and "y_target" in consumed_keywords(estimator, method):
            keywords["y_target"] = (y_target,)
        if sample_domain is not None and consumed_keywords(estimator, method, ["sample_domain"]):
            keywords["sample_domain"] = sample_domain
        for part in routed_parts(estimator):
            _check_passes_keywords_on(part, method, y, X_target, keywords)
            if isinstance(part, ColumnTransformer):
                sees_X = any(part is first for first in _first_parts(estimator))
                _check_columns(part, method, sees_X and column_names(X) is not None)
            if isinstance(part, Pipeline) and consumed_keywords(part, method, ["X_target"]):
                part.transform_input = sorted({*(part.transform_input or ()), "X_target"})
                skip_samplers(part)
        if sample_weight is not None:
            if weight_obstacle(estimator) is None:
                request_weights(estimator)
                keywords["sample_weight"] = sample_weight
            else:
                X, y = repeat_rows(estimator, X, y, sample_weight, method=method)
                if "sample_domain" in keywords:
                    keywords["sample_domain"] = np.repeat(sample_domain, np.intp(sample_weight))
        isolate_bystanders(estimator, list(keywords))
        return getattr(estimator, method)(X, y, **keywords)


def check_candidates(estimator) -> None:
    """Refuse a search inside whose candidates alone ask for the target."""
    for part in routed_parts(estimator):
        if not isinstance(part, BaseSearchCV) or consumed_keywords(part, "fit", ["X_target"]):
            continue
        for candidate in candidates(part):
            if consumed_keywords(candidate, "fit", ["X_target"]):
                raise TypeError(
                    f"A candidate of {type(part).__name__}, {name_steps(candidate)}, asks for "
                    "X_target, and its estimator does not, so that none gets it. Search around "
                    "the wrapper: GridSearchCV(WithSource(estimator, X, y), {'estimator__...': "
                    "[...]}), or WithTarget likewise."
                )


def _repeat_target(estimator, method, X_target, y_target, target_sample_weight) -> tuple:
    """Return target samples, and labels or None, each as often as its weight says.

    This serves compositions in which the target is used, but no part of it takes its weights.
    """
    if (target_sample_weight != np.floor(target_sample_weight)).any():
        parts = [each for each in routed_parts(estimator) if not is_router(each)]
        users = [each for each in parts if consumed_keywords(each, method, ["X_target"])]
        raise TypeError(
            f"{' and '.join(map(name_steps, users))} would leave out the weights of the target "
            "rows, which count alike there. Pass whole numbers, by which the rows are repeated; "
            "end in an estimator that takes them, such as PooledEstimator(model); or leave the "
            "weights out."
        )
    rows = np.repeat(np.arange(len(target_sample_weight)), target_sample_weight.astype(int))
    y_target = None if y_target is None else _safe_indexing(y_target, rows)
    return _safe_indexing(X_target, rows), y_target


def _check_takes_target_weights(part, method) -> None:
    """Refuse what predicts and uses the target, but would leave out the weights of its samples.

    A transformer may: it brings the domains together, and a later step learns by the weights.
    """
    wanted = {"X_target", "target_sample_weight"}
    if hasattr(part, "predict") and consumed_keywords(part, method, wanted) == {"X_target"}:
        raise TypeError(
            f"{type(part).__name__} uses X_target, but takes no target_sample_weight in {method}, "
            "so that the weights of the target rows would be lost. Leave them out."
        )


def _check_passes_keywords_on(part, method, y, X_target, keywords) -> None:
    """Refuse a meta-estimator that would hand on the keywords, or the labels, wrongly."""
    if not is_router(part):
        if "target_sample_weight" in keywords:
            _check_takes_target_weights(part, method)
        return
    name = type(part).__name__
    if isinstance(part, StackingClassifier | StackingRegressor) and consumed_keywords(part, method):
        raise TypeError(
            f"{name} hands X_target to its final estimator as well, which cannot take it. "
            "Put WithTarget or WithSource around each of its members instead."
        )
    if isinstance(part, BaggingClassifier | BaggingRegressor) and consumed_keywords(part, method):
        if part.bootstrap_features or part.max_features != 1.0:
            raise TypeError(
                f"{name} draws columns of X for its members, and leaves X_target whole. Bag rows "
                "alone (max_features=1.0, bootstrap_features=False)."
            )
    if "y_target" not in keywords or not consumed_keywords(part, method, ["y_target"]):
        return
    if isinstance(part, _RECODES_LABELS):
        raise TypeError(
            f"{name} changes y before its members see it, but not y_target. Put {name} inside the "
            f"reweighter, as in PooledEstimator({name}(...)), or set use_y=False."
        )
    if isinstance(part, _NUMBERS_LABELS):
        _, labels = known_labels(keywords["y_target"][0], X_target)
        if not is_numbered(y) or not np.isin(labels, np.unique(y)).all():
            raise ValueError(
                f"{name} numbers the classes 0..k-1 before its members see them, and leaves "
                "y_target as it is. Encode the labels of both domains by one LabelEncoder first."
            )


def _check_columns(transformer: ColumnTransformer, method, has_names: bool) -> None:
    """Refuse columns that cannot be found in X_target, which arrives whole."""
    for name, part, columns in transformer.transformers:
        if isinstance(part, str) or not consumed_keywords(part, method, ["X_target"]):
            continue
        if isinstance(part, Pipeline) and len(part.steps) > 1:
            raise TypeError(
                f"The pipeline {name!r} inside ColumnTransformer hands all of X_target to its "
                "first step. Put the steps that do not use the target before ColumnTransformer."
            )
        if not (has_names or _are_names(columns) or _are_first(columns)):
            raise TypeError(
                f"ColumnTransformer gives {name!r} the columns {columns!r} of X, and X_target "
                "whole. Pass DataFrames and select columns by name, which X_target is matched by."
            )


def _first_parts(estimator) -> Iterator:
    """Yield the estimators that see the samples as they are given."""
    while estimator is not None:
        yield estimator
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[0][1]
        else:
            estimator = getattr(estimator, "estimator", None)


def names_its_columns(estimator) -> bool:
    """Tell whether an estimator begins by a ColumnTransformer that names the columns it uses."""
    return any(
        isinstance(part, ColumnTransformer)
        and part.remainder == "drop"
        and not any(callable(columns) for _, _, columns in part.transformers)
        for part in _first_parts(estimator)
    )


def _are_names(columns) -> bool:
    if isinstance(columns, slice):
        return isinstance(columns.start, str) or isinstance(columns.stop, str)
    if callable(columns) or isinstance(columns, str):
        return True
    columns = np.atleast_1d(np.asarray(columns, dtype=object))
    return len(columns) > 0 and all(isinstance(column, str) for column in columns)


def _are_first(columns) -> bool:
    """Tell whether `columns` are the first ones in order; the widths show that none is left out."""
    if isinstance(columns, slice):
        return columns.start in (None, 0) and columns.step in (None, 1)
    columns = np.atleast_1d(columns)
    if columns.dtype == bool:
        return bool(columns.all())
    return np.array_equal(columns, np.arange(len(columns)))


def is_numbered(y) -> bool:
    """Tell whether the distinct labels of `y` are exactly the integers 0..k-1."""
    y = np.asarray(y)
    if y.ndim != 1 or y.dtype.kind not in "iuf" or not len(y):
        return False
    return np.array_equal(labels := np.unique(y), np.arange(len(labels)))
