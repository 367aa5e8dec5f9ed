"""Carry the data of the other domain, and the weights, to the steps that ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
from sklearn import config_context
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.metrics import get_scorer, get_scorer_names
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
from sklearn.utils.metadata_routing import MetadataRouter, get_routing_for_object
from sklearn.utils.validation import _check_sample_weight, has_fit_parameter

from skltransfer.domains._data import column_names, known_labels

DOMAIN_KEYWORDS = ("X_target", "y_target")

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


def consumed_keywords(estimator, method: str, keywords=DOMAIN_KEYWORDS) -> set[str]:
    """Return the subset of `keywords` that `estimator` or one of its steps asks for in `method`."""
    with config_context(enable_metadata_routing=True):
        try:
            return set(get_routing_for_object(estimator).consumes(method, keywords))
        except NotImplementedError:  # a meta-estimator without metadata routing
            return set()


def _is_router(estimator) -> bool:
    try:
        return isinstance(get_routing_for_object(estimator), MetadataRouter)
    except NotImplementedError:
        return False


def _estimators_in(value) -> Iterator:
    """Yield the estimators in a parameter value: the value itself, or entries of its containers."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _estimators_in(entry)
    elif hasattr(value, "fit") and not isinstance(value, type):
        yield value


def _children(estimator) -> Iterator:
    """Yield the estimators to which `estimator` routes metadata (candidates of a grid included).

    A reweighter is not a router, because it fits its estimator itself, with routing off.
    """
    if _is_router(estimator):
        yield from _estimators_in(list(estimator.get_params(deep=False).values()))


def _routed_parts(estimator) -> Iterator:
    yield estimator
    for child in _children(estimator):
        yield from _routed_parts(child)


def name_steps(estimator) -> str:
    """Describe an estimator by the class names of its steps, for messages."""
    if isinstance(estimator, Pipeline):
        return ", ".join(name_steps(step) for _, step in estimator.steps)
    return estimator if isinstance(estimator, str) else type(estimator).__name__


def fit_with_target(
    estimator,
    X,
    y,
    *,
    X_target,
    y_target=None,
    sample_weight=None,
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
    sample_domain : ndarray of shape (n_samples,), int, optional
        Numbers of several source domains.
    method : {"fit", "fit_transform"}
        Method to call.

    Returns
    -------
    result : object
        The result of `method`.
    """
    # In 1-tuples the data have as many entries as there are other domains: no splitter cuts them.
    keywords = {"X_target": (X_target,)}
    if y_target is not None and "y_target" in consumed_keywords(estimator, method):
        keywords["y_target"] = (y_target,)
    if sample_domain is not None and consumed_keywords(estimator, method, ["sample_domain"]):
        keywords["sample_domain"] = sample_domain
    with config_context(enable_metadata_routing=True):
        for part in _routed_parts(estimator):
            _check_passes_keywords_on(part, method, y, X_target, keywords)
            if isinstance(part, ColumnTransformer):
                sees_X = any(part is first for first in _first_parts(estimator))
                _check_columns(part, method, sees_X and column_names(X) is not None)
            if isinstance(part, Pipeline) and consumed_keywords(part, method, ["X_target"]):
                part.transform_input = sorted({*(part.transform_input or ()), "X_target"})
        if sample_weight is not None:
            _request_weights(estimator, is_last=True)
            if consumed_keywords(estimator, method, ["sample_weight"]):
                keywords["sample_weight"] = sample_weight
            else:
                X, y = repeat_rows(estimator, X, y, sample_weight, method=method)
                if "sample_domain" in keywords:
                    keywords["sample_domain"] = np.repeat(sample_domain, np.intp(sample_weight))
        return getattr(estimator, method)(X, y, **keywords)


def _check_passes_keywords_on(part, method, y, X_target, keywords) -> None:
    """Refuse a meta-estimator that would hand on the keywords, or the labels, wrongly."""
    if not _is_router(part):
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


def _request_weights(estimator, *, is_last: bool) -> None:
    """Let the steps that use the target, and the last one, receive ``sample_weight``.

    Requests that the user has set stay as they are.
    """
    uses_target = bool(consumed_keywords(estimator, "fit", ["X_target"]))
    if hasattr(estimator, "fit") and has_fit_parameter(estimator, "sample_weight"):
        _request_unless_set(estimator, "fit", is_last or uses_target)
    if _is_router(estimator) and hasattr(estimator, "scoring"):
        estimator.scoring = _without_weights(estimator.scoring)
    for child in _children(estimator):
        last = child is estimator.steps[-1][1] if isinstance(estimator, Pipeline) else True
        _request_weights(child, is_last=is_last and last)


def _request_unless_set(consumer, method: str, wanted: bool) -> None:
    with suppress(NotImplementedError, AttributeError):
        request = getattr(consumer._get_metadata_request(), method)
        if request.requests.get("sample_weight") is None:
            getattr(consumer, f"set_{method}_request")(sample_weight=wanted)


def _without_weights(scoring):
    """Let scorers decline weights, as a search does when metadata routing is off."""
    if isinstance(scoring, str):
        if scoring not in get_scorer_names():  # for scikit-learn to refuse, or to resolve
            return scoring
        scoring = get_scorer(scoring)
    elif isinstance(scoring, list | tuple | set):
        scoring = {name: name for name in scoring}
    if isinstance(scoring, dict):
        return {name: _without_weights(scorer) for name, scorer in scoring.items()}
    if scoring is None or not hasattr(scoring, "set_score_request"):
        return ScoreWithoutRouting(scoring)
    _request_unless_set(scoring, "score", False)
    return scoring


class ScoreWithoutRouting:
    """Score as a search does with metadata routing off, because a pipeline cannot decline weights.

    Parameters
    ----------
    scoring : callable or None
        Function of an estimator, samples and labels. ``None`` is the estimator's own ``score``.
    """

    def __init__(self, scoring=None):
        self.scoring = scoring

    def __call__(self, estimator, X, y=None):
        with config_context(enable_metadata_routing=False):
            return estimator.score(X, y) if self.scoring is None else self.scoring(estimator, X, y)

    def __repr__(self):
        return repr(self.scoring)


def weight_keyword(estimator) -> str | None:
    """Return the keyword by which ``estimator.fit`` takes sample weights, or None if it takes none.

    For a pipeline, inside a search or not, the keyword belongs to the last step, such as
    ``logisticregression__sample_weight``.
    """
    prefix = ""
    while True:
        if isinstance(estimator, Pipeline):
            name, estimator = estimator.steps[-1]
            prefix += f"{name}__"
        elif isinstance(estimator, BaseSearchCV):
            estimator = estimator.estimator
        elif isinstance(estimator, TransformedTargetRegressor) and estimator.regressor is not None:
            estimator = estimator.regressor
        else:
            break
    return f"{prefix}sample_weight" if has_fit_parameter(estimator, "sample_weight") else None


def fit_weighted(estimator, X, y, sample_weight=None, *, method: str = "fit"):
    """Fit `estimator` with sample weights for its last step, whatever the routing mode is.

    For an estimator that takes no weights, samples are repeated by integer weights.
    """
    fit = getattr(estimator, method)
    if sample_weight is None:
        return fit(X, y)
    keyword = weight_keyword(estimator)
    if keyword is None:
        return fit(*repeat_rows(estimator, X, y, sample_weight, method=method))
    with config_context(enable_metadata_routing=False):
        return fit(X, y, **{keyword: sample_weight})


def repeat_rows(estimator, X, y, sample_weight, *, method: str = "fit") -> tuple:
    """Return `X` and `y` with each sample repeated as often as its weight says.

    This serves an estimator that takes no weights, for weights that are whole numbers.
    """
    weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
    if (weights != np.floor(weights)).any():
        raise TypeError(no_weights_message(estimator))
    if method == "fit_transform" and (weights != 1).any():
        raise TypeError(
            f"{name_steps(estimator)} takes no sample_weight, and fit_transform cannot repeat rows "
            "in its stead. Call fit with the weights, or leave them out."
        )
    if (weights != 1).any() and _makes_folds(estimator):
        raise TypeError(
            f"{name_steps(estimator)} takes no sample_weight, and rows repeated in its stead would "
            "lie on both sides of its folds. Use one that does, or leave the weights out."
        )
    rows = np.repeat(np.arange(len(weights)), weights.astype(int))
    return _safe_indexing(X, rows), None if y is None else _safe_indexing(y, rows)


def _makes_folds(estimator) -> bool:
    return any(
        name.split("__")[-1] == "cv" and not hasattr(value, "fit")  # "cv" may be a step's name
        for name, value in estimator.get_params(deep=True).items()
    )


def check_takes_weights(estimator) -> None:
    """Raise a TypeError if an estimator (None for no estimator) takes no sample weights."""
    if estimator is not None and weight_keyword(estimator) is None:
        raise TypeError(no_weights_message(estimator))


def no_weights_message(estimator) -> str:
    """Return the message that `estimator` takes no weights, with the remedy."""
    return (
        f"The estimator {name_steps(estimator)} does not support sample_weight in fit. Use one "
        "that does, such as LogisticRegression, Ridge, SVC or a tree ensemble."
    )
