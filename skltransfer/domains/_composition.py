"""The parts of a composition of estimators."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.metadata_routing import MetadataRouter, get_routing_for_object

from skltransfer._shared_cache import SharedCache
from skltransfer.domains._delegation import DelegatingMixin
from skltransfer.domains._isolation import isolate, own_requests, plain_class, uncopied_routing

# Methods of routers that know routing if all of their parts do: requests are dear to build.
_ROUTE_TO_ALL_PARTS = [
    router.get_metadata_routing for router in (Pipeline, ColumnTransformer, FeatureUnion)
]
# Methods that build the requests which the classes declare, and for fits no others.
_ADD_NONE_TO_FITS = [each._get_metadata_request for each in (BaseEstimator, DelegatingMixin)]
_GRIDS = ("param_grid", "param_distributions")
# Errors of estimators whose requests cannot be built: unwritten, or, for RidgeCV and
# RidgeClassifierCV without `scoring`, asked of a scorer that asks the estimator again.
_WITHOUT_REQUESTS = (NotImplementedError, RecursionError)
# Keywords by the form of a composition: to build its requests takes as long as a small fit.
_consumed = SharedCache(256)


def consumed_keywords(estimator, method: str, keywords=("X_target", "y_target")) -> set[str]:
    """Return the subset of `keywords` that `estimator` or one of its steps asks for in `method`."""
    keywords = frozenset(keywords)
    if not _may_ask(estimator, keywords):
        return set()

    def consumed() -> frozenset[str]:
        part = estimator
        with config_context(enable_metadata_routing=True):
            if not _knows_routing(part):
                part = clone(part, safe=False)
                isolate_strangers(part)
            return frozenset(get_routing_for_object(part).consumes(method, keywords))

    form = _declared_form(estimator)
    if form is None:
        return set(consumed())
    return set(_consumed.get((form, method, keywords), consumed))


def _declared_form(estimator) -> tuple | None:
    """Return what decides the requests of a composition; None if more than classes does.

    Compositions of one form, such as the clones of a search, ask for the same keywords.
    """
    kind = type(estimator)
    if "_metadata_request" in getattr(estimator, "__dict__", ()):
        return None  # set by the user
    if _only_consumes(estimator):
        own = getattr(kind, "_get_metadata_request", None)
        return (kind,) if own is None or own in _ADD_NONE_TO_FITS else None
    if plain_class(kind) is not Pipeline:
        return None
    forms = []
    for name, step in estimator.steps:
        form = step if step is None or isinstance(step, str) else _declared_form(step)
        if form is None and step is not None:
            return None
        forms.append((name, form))
    return kind, tuple(forms), tuple(estimator.transform_input or ())


def _may_ask(estimator, keywords: frozenset) -> bool:
    """Tell, without building the requests, whether an estimator or a part may ask for a keyword."""
    return (
        _class_may_ask(type(estimator), keywords)
        or "_metadata_request" in getattr(estimator, "__dict__", ())
        or any(_may_ask(part, keywords) for part in _parts(estimator))
    )


@cache
def _class_may_ask(cls: type, keywords: frozenset) -> bool:
    own = getattr(cls, "_get_metadata_request", None)
    if own is not None and own not in _ADD_NONE_TO_FITS:
        return True  # requests of its own making
    requested = (
        names
        for base in cls.__mro__
        for attribute, names in vars(base).items()
        if "__metadata_request__" in attribute
    )
    return any(keyword in names for names in requested for keyword in keywords)


def isolate_strangers(estimator) -> None:
    """Isolate the parts that know no metadata routing, with which no composition knows it.

    Parameters
    ----------
    estimator : estimator
        The caller's clone.
    """
    if _knows_routing(estimator):
        return
    for part in _parts(estimator):
        isolate_strangers(part)
    if not _knows_routing(estimator):
        isolate(estimator)


def _knows_routing(estimator) -> bool:
    if _only_consumes(estimator):
        return True
    if _routing_method(estimator) in _ROUTE_TO_ALL_PARTS:
        return all(_knows_routing(part) for part in _parts(estimator))
    try:
        get_routing_for_object(estimator)
    except _WITHOUT_REQUESTS:
        return False
    return True


def is_router(estimator) -> bool:
    """Tell whether an estimator hands metadata on to others."""
    if _only_consumes(estimator):
        return False
    if _routing_method(estimator) in _ROUTE_TO_ALL_PARTS:
        return _knows_routing(estimator)
    try:
        return isinstance(get_routing_for_object(estimator), MetadataRouter)
    except _WITHOUT_REQUESTS:
        return False


def _only_consumes(estimator) -> bool:
    """Tell, without building the requests, whether an estimator has those of its own alone."""
    return _routing_method(estimator) in (None, BaseEstimator.get_metadata_routing, own_requests)


def _routing_method(estimator):
    method = getattr(type(estimator), "get_metadata_routing", None)
    if method is uncopied_routing:
        return plain_class(type(estimator)).get_metadata_routing
    return method


def children(estimator) -> Iterator:
    """Yield the estimators inside of a router (candidates of a grid included).

    A reweighter is not a router, because it fits its estimator itself, with routing off.
    """
    if is_router(estimator):
        yield from _parts(estimator)


def routed_parts(estimator) -> Iterator:
    """Yield an estimator, its children, their children and so on."""
    yield estimator
    for child in children(estimator):
        yield from routed_parts(child)


def learns_new_classes(estimator) -> bool:
    """Tell whether an estimator learns the target's classes anew, whatever the source's are.

    A meta-learner does: it has the attribute ``_learns_new_classes``.
    """
    with config_context(enable_metadata_routing=True):
        return any(getattr(part, "_learns_new_classes", False) for part in routed_parts(estimator))


def name_steps(estimator) -> str:
    """Describe an estimator by the class names of its steps, for messages."""
    if isinstance(estimator, Pipeline):
        return ", ".join(name_steps(step) for _, step in estimator.steps)
    return estimator if isinstance(estimator, str) else type(estimator).__name__


def learners(estimator) -> list:
    """Return the estimators inside of an estimator that learn from the labels in its stead.

    Of a pipeline it is the last step, unless this is a string.
    """
    if isinstance(estimator, Pipeline):
        last = estimator.steps[-1][1]
        return [last] if hasattr(last, "fit") else []
    inside = _parameters_of(estimator)
    if isinstance(estimator, TransformedTargetRegressor):
        inside = {"regressor": estimator.regressor}
    return list(_estimators_in([inside[name] for name in inside if name not in _GRIDS]))


def candidates(search, *, learning: bool | None = None) -> Iterator:
    """Yield the estimators in the grid of a search.

    Parameters
    ----------
    search : estimator
        Without a grid, there is none to yield.
    learning : bool, default=None
        Whether to yield those that take the place of a learner, or those that do not. ``None`` is
        both.
    """
    if not isinstance(search, BaseSearchCV):
        return
    for grid_name in _GRIDS:
        grids = getattr(search, grid_name, None)
        for grid in [grids] if isinstance(grids, dict) else grids or ():
            for name, values in grid.items():
                if learning is None or learning is _is_learner(search.estimator, name):
                    yield from _estimators_in(values)


def _is_learner(estimator, path: str) -> bool:
    """Tell whether the parameter at `path` is a learner of `estimator`, or of one inside of it."""
    head, _, rest = path.partition("__")
    if isinstance(estimator, Pipeline):
        name, inner = estimator.steps[-1]
        if head != name:
            return False
    else:
        inner = estimator.get_params().get(head)
        if not any(inner is learner for learner in learners(estimator)):
            return False
    return not rest or _is_learner(inner, rest)


def _parts(estimator) -> Iterator:
    yield from _estimators_in(list(_parameters_of(estimator).values()))


def _parameters_of(estimator) -> dict:
    return estimator.get_params(deep=False) if hasattr(estimator, "get_params") else {}


def _estimators_in(value) -> Iterator:
    """Yield the estimators in a parameter value: the value itself, or entries of its containers."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _estimators_in(entry)
    elif hasattr(value, "fit") and not isinstance(value, type):
        yield value
