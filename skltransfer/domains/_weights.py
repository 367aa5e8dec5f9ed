"""Sample weights reach every estimator that learns inside a composition, or are refused."""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from inspect import signature
from types import FunctionType

import numpy as np
from sklearn import config_context
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
)
from sklearn.feature_selection import SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import RANSACRegressor
from sklearn.metrics import check_scoring, get_scorer, get_scorer_names
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_sample_weight, has_fit_parameter

from skltransfer.domains._composition import (
    candidates,
    children,
    consumed_keywords,
    is_router,
    isolate_strangers,
    learners,
    name_steps,
)
from skltransfer.domains._isolation import (
    is_sampler,
    isolate,
    metadata_routing,
    route_without_copies,
)

# They draw samples by their weights: their members need not take any.
_DRAWS_BY_WEIGHT = (BaggingClassifier, BaggingRegressor, AdaBoostRegressor)
# They hand weights on by keyword, with metadata routing or without.
_HANDS_ON_BY_KEYWORD = (AdaBoostClassifier, RANSACRegressor)
_SMALLEST_FLOAT32 = np.finfo(np.float32).smallest_subnormal
_REMEDY = "Use one that does, such as LogisticRegression, Ridge, SVC or a tree ensemble."


def fit_weighted(estimator, X, y, sample_weight=None, *, method: str = "fit"):
    """Fit `estimator` with sample weights for all that learns in it, whatever the routing mode is.

    For an estimator that takes no weights, samples are repeated by integer weights. Requests are
    set on `estimator`, which is the caller's clone.
    """
    if sample_weight is None:
        return getattr(estimator, method)(X, y)
    if weight_obstacle(estimator) is not None:
        X, y = repeat_rows(estimator, X, y, sample_weight, method=method)
        return getattr(estimator, method)(X, y)
    if getattr(X, "dtype", None) == np.float32 and np.max(sample_weight) < _SMALLEST_FLOAT32:
        raise ValueError(
            "sample_weight is zero in the precision of X, float32. Multiply all weights by one "
            "constant, or pass X as float64."
        )
    keyword = weight_keyword(estimator)
    if keyword is not None:
        with config_context(enable_metadata_routing=False):
            return getattr(estimator, method)(X, y, **{keyword: sample_weight})
    with metadata_routing(estimator):
        isolate_strangers(estimator)
        request_weights(estimator)
        isolate_bystanders(estimator, ["sample_weight"])
        return getattr(estimator, method)(X, y, sample_weight=sample_weight)


def weight_keyword(estimator) -> str | None:
    """Return the keyword by which ``estimator.fit`` takes sample weights without metadata routing.

    For a pipeline, inside a search or not, the keyword belongs to the last step, such as
    ``logisticregression__sample_weight``. ``None`` if there is none, because the estimator takes no
    weights or takes them by metadata routing alone; see :func:`weight_obstacle`.
    """
    prefix = ""
    while True:
        if isinstance(estimator, Pipeline):
            if any(weighted_selectors(estimator)):
                return None
            name, estimator = estimator.steps[-1]
            prefix += f"{name}__"
        elif isinstance(estimator, BaseSearchCV) and not any(candidates(estimator, learning=True)):
            estimator = estimator.estimator
        elif isinstance(estimator, TransformedTargetRegressor) and estimator.regressor is not None:
            estimator = estimator.regressor
        else:
            break
    if isinstance(estimator, BaseSearchCV) or not _takes_by_itself(estimator):
        return None
    return f"{prefix}sample_weight"


def weighted_selectors(pipeline: Pipeline) -> list:
    """Return the steps before the last that select features by an estimator that takes weights."""
    return [
        step
        for _, step in pipeline.steps[:-1]
        if isinstance(step, SelectorMixin) and learners(step) and _obstacle(step, step) is None
    ]


def _takes_by_itself(estimator) -> bool:
    """Tell whether ``estimator.fit`` names ``sample_weight``, and needs no routing for it."""
    if not _fit_names_weights(estimator):
        return False
    if isinstance(estimator, _DRAWS_BY_WEIGHT) or not is_router(estimator):
        return True
    return all(_fit_names_weights(learner) for learner in learners(estimator))


def check_takes_weights(estimator) -> None:
    """Raise a TypeError if an estimator (None for no estimator) takes no sample weights."""
    if estimator is not None and (obstacle := weight_obstacle(estimator)) is not None:
        raise TypeError(obstacle)


def weight_obstacle(estimator) -> str | None:
    """Return why sample weights would not reach all that learns in `estimator`, with the remedy.

    None if they do.
    """
    if isinstance(estimator, FrozenEstimator) or (
        isinstance(estimator, Pipeline) and isinstance(estimator.steps[-1][1], FrozenEstimator)
    ):
        return (
            f"The estimator {name_steps(estimator)} does not support sample_weight in fit, which "
            "leaves a frozen estimator as it is. Pass it without FrozenEstimator."
        )
    if isinstance(estimator, ColumnTransformer | FeatureUnion):
        reasons = [_obstacle(each, estimator) for each in learners(estimator)]
        return None if None in reasons else _takes_none(estimator, estimator)
    return _obstacle(estimator, estimator)


def _obstacle(part, whole) -> str | None:
    name = type(part).__name__
    if isinstance(part, FrozenEstimator):  # does not learn
        return None
    if isinstance(part, Pipeline):
        for _, step in part.steps[:-1]:
            if is_sampler(step):
                sampler = type(step).__name__
                return (
                    f"{sampler} changes the samples, and their weights cannot follow. Put "
                    f"{sampler} before the estimator that weighs them, not inside: WithTarget("
                    f"make_pipeline({sampler}(), KMMReweighter(model)), X_target), with the "
                    "pipeline of imbalanced-learn; or leave sample_weight out."
                )
    elif isinstance(part, _DRAWS_BY_WEIGHT) and _fit_names_weights(part):
        if not consumed_keywords(part, "fit", ["X_target"]):
            return None
    elif isinstance(part, SelfTrainingClassifier):
        return (
            f"{name} hands its estimator a part of the samples, with the weights of all. Put what "
            f"weighs them inside: {name}(WithTarget(KMMReweighter(model), X_target))."
        )
    elif isinstance(part, _HANDS_ON_BY_KEYWORD):
        for learner in learners(part):
            if not _fit_names_weights(learner):
                return (
                    f"{name} hands sample_weight on by keyword, which the fit of "
                    f"{type(learner).__name__} does not name. Use an estimator that does, and put "
                    f"steps in front of it before {name}."
                )
        return None
    elif isinstance(part, TunedThresholdClassifierCV):
        scorer = check_scoring(part.estimator, scoring=part.scoring)
        metric = getattr(scorer, "_score_func", None)
        if metric is not None and not _names_weights(metric):
            return (
                f"{name} would choose its threshold without sample_weight, which its metric "
                f"{metric.__name__} does not take. Use a metric that does, such as "
                "balanced_accuracy."
            )
    elif not (is_router(part) and learners(part) and _names_weights(part.fit)):
        return None if _fit_names_weights(part) else _takes_none(part, whole)
    inside = learners(part)
    if not inside:  # a pipeline that ends in "passthrough"
        return _takes_none(part, whole)
    reasons = (_obstacle(each, whole) for each in [*inside, *candidates(part, learning=True)])
    return next((reason for reason in reasons if reason is not None), None)


def _takes_none(part, whole) -> str:
    steps = name_steps(whole)
    reason = "" if steps.endswith(name_steps(part)) else f", because {name_steps(part)} does not"
    return f"The estimator {steps} does not support sample_weight in fit{reason}. {_REMEDY}"


def _fit_names_weights(estimator) -> bool:
    """Tell whether ``estimator.fit`` names ``sample_weight``, as ``has_fit_parameter`` does."""
    fit = getattr(type(estimator), "fit", None)
    if isinstance(fit, FunctionType) and "fit" not in getattr(estimator, "__dict__", ()):
        return _function_names_weights(fit)
    return has_fit_parameter(estimator, "sample_weight")


@lru_cache(maxsize=512)  # a look at a signature takes as long as a small fit's checks
def _function_names_weights(fit) -> bool:
    return "sample_weight" in signature(fit).parameters


def _names_weights(function) -> bool:
    parameters = signature(function).parameters
    return "sample_weight" in parameters or any(
        each.kind is each.VAR_KEYWORD for each in parameters.values()
    )


# --- by metadata routing -----------------------------------------------------------------


def request_weights(estimator, *, learns: bool = True) -> None:
    """Let all that learns from the labels, and the steps that use the target, receive weights.

    Requests that the user has set stay as they are.
    """
    uses_target = bool(consumed_keywords(estimator, "fit", ["X_target"]))
    if hasattr(estimator, "fit") and _fit_names_weights(estimator):
        _request_unless_set(estimator, "fit", learns or uses_target)
        if _takes_by_itself(estimator) and not uses_target:
            return
    if isinstance(estimator, TunedThresholdClassifierCV):
        estimator.scoring = check_scoring(estimator.estimator, scoring=estimator.scoring)
        if hasattr(estimator.scoring, "set_score_request"):
            _request_unless_set(estimator.scoring, "score", learns)
    elif is_router(estimator) and hasattr(estimator, "scoring"):
        estimator.scoring = _without_weights(estimator.scoring)
    inside = {id(each) for each in [*learners(estimator), *candidates(estimator, learning=True)]}
    if isinstance(estimator, Pipeline):
        inside |= {id(each) for each in weighted_selectors(estimator)}
    for child in children(estimator):
        request_weights(child, learns=learns and id(child) in inside)


def isolate_bystanders(estimator, keywords) -> None:
    """Isolate all parts but the routers by which one of `keywords` reaches others.

    What takes a keyword itself gets it in isolation.
    """
    for child in list(children(estimator)):
        isolate_bystanders(child, keywords)
    if not is_router(estimator) or _is_end_of_the_way(estimator, keywords):
        isolate(estimator)
    else:
        route_without_copies(estimator)


def _is_end_of_the_way(router, keywords) -> bool:
    domain = [name for name in keywords if name != "sample_weight"]
    inside = list(children(router))
    for method in ("fit", "fit_transform"):
        if domain and any(consumed_keywords(child, method, domain) for child in inside):
            return False
    if "sample_weight" not in keywords or _takes_by_itself(router):
        return True
    if _fit_names_weights(router):
        return False
    return not any(consumed_keywords(child, "fit", ["sample_weight"]) for child in inside)


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


# --- in place of weights -----------------------------------------------------------------


def repeat_rows(estimator, X, y, sample_weight, *, method: str = "fit") -> tuple:
    """Return `X` and `y` with each sample repeated as often as its weight says.

    This serves an estimator that takes no weights, for weights that are whole numbers.
    """
    weights = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
    if (weights != np.floor(weights)).any():
        raise TypeError(weight_obstacle(estimator))
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
