"""Metadata routing for the routers that carry our keywords, and for no other estimator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, wraps
from numbers import Number

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import MetadataRequest, MetadataRouter
from sklearn.utils.metaestimators import available_if

from skltransfer._shared_cache import SharedCache

_FITS = ("fit", "fit_transform", "fit_predict", "fit_resample", "partial_fit")
# Requests by the class that declares them: to read them off its signatures is dear.
_declared_requests = SharedCache(256)


def isolate(part) -> None:
    """Fit a part with metadata routing off, as outside of a wrapper, and route it what it names.

    Parts inside of it see no routing, which nobody has configured them for. `part` belongs to a
    clone. Its class is exchanged for a subclass, until :func:`release`, because compositions clone
    and pickle their parts before they fit them.
    """
    _exchange(part, "isolated")


def route_without_copies(router) -> None:
    """Let a router build its requests without copies of them, which nobody changes in a fit.

    A pipeline builds them anew at each step that the target goes through.
    """
    _exchange(router, "routing")


def skip_samplers(pipeline: Pipeline) -> None:
    """Let a pipeline of imbalanced-learn map the target through its transformers alone.

    It asks a slice of itself to do so, and a slice that ends in a sampler cannot.
    """
    if any(is_sampler(step) for _, step in pipeline.steps):
        _exchange(pipeline, "slicing")


def is_sampler(step) -> bool:
    """Tell whether a step of a pipeline changes the samples, as those of imbalanced-learn do."""
    return hasattr(step, "fit_resample")


def has_requests(estimator) -> bool:
    """Tell whether the user has set a metadata request on an estimator or a part of it."""
    return any("_metadata_request" in vars(part) for part in _estimators_within(estimator, set()))


@contextmanager
def metadata_routing(estimator) -> Iterator[None]:
    """Switch metadata routing on for a fit that isolates parts and sets requests.

    Afterwards the parts have their own classes, and the requests that the user has set, even if the
    fit fails.

    Parameters
    ----------
    estimator : estimator
        The caller's clone.
    """
    drop_requests = not has_requests(estimator)
    try:
        with config_context(enable_metadata_routing=True):
            yield
    finally:
        release(estimator, drop_requests=drop_requests)


def release(fitted, *, drop_requests: bool) -> None:
    """Give all parts of a fitted estimator their own classes again.

    Parameters
    ----------
    fitted : estimator
    drop_requests : bool
        Whether to remove all metadata requests, because the user has set none.
    """
    for part in _estimators_within(fitted, set()):
        part.__class__ = plain_class(type(part))
        if drop_requests:
            vars(part).pop("_metadata_request", None)


def _exchange(part, kind: str) -> None:
    if _is_twin(type(part)) or isinstance(part, FrozenEstimator):  # its clones are the user's own
        return
    try:
        part.__class__ = _twin(type(part), kind)
    except TypeError:  # a class of a compiled extension, or one that refuses subclasses
        pass


@cache
def _twin(cls: type, kind: str) -> type:
    """Return a subclass that passes for `cls`, with some methods exchanged."""
    names = {name: getattr(cls, name) for name in ("__module__", "__qualname__", "__doc__")}
    twin = type(cls)(cls.__name__, (cls,), {**names, "_skltransfer_twin_of": cls})
    twin.__reduce_ex__ = _reduce_of(twin, kind)
    # Set afterwards: scikit-learn would wrap methods in the body for their output once more.
    for name, method in _METHODS[kind](twin).items():
        setattr(twin, name, method)
    if hasattr(cls, "_sklearn_auto_wrap_output_keys"):
        twin._sklearn_auto_wrap_output_keys = cls._sklearn_auto_wrap_output_keys
    return twin


def _is_twin(cls: type) -> bool:
    return "_skltransfer_twin_of" in vars(cls)


def plain_class(cls: type) -> type:
    """Return the class that a part has outside of the fit."""
    return vars(cls).get("_skltransfer_twin_of", cls)


def _reduce_of(twin: type, kind: str):
    def __reduce_ex__(self, protocol):
        build, arguments, *state = super(twin, self).__reduce_ex__(protocol)
        arguments = tuple(plain_class(twin) if each is twin else each for each in arguments)
        return (_rebuild, (kind, build, arguments), *state)

    return __reduce_ex__


def _rebuild(kind: str, build, arguments):
    part = build(*arguments)
    _exchange(part, kind)
    return part


def _isolated_methods(twin: type) -> dict:
    cls = plain_class(twin)
    methods = {
        name: available_if(_has(twin, name))(_without_routing(twin, name))
        for name in _FITS
        if hasattr(cls, name)
    }
    if hasattr(cls, "_get_metadata_request"):
        methods["get_metadata_routing"] = own_requests
    return methods


def own_requests(self) -> MetadataRequest:
    """Return the requests of an isolated part: those of its own, not of parts inside of it."""
    cls = plain_class(type(self))
    try:
        if hasattr(self, "_metadata_request") or not _only_declares(cls):
            return self._get_metadata_request()
        methods = tuple(vars(MetadataRequest(owner=None)))  # imbalanced-learn adds one
        return _declared_requests.get((cls, methods), lambda: _declared_by(self))
    except ValueError:  # a router of scikit-learn that has none of its own, such as RFECV
        return MetadataRequest(owner=self)


def _only_declares(cls: type) -> bool:
    """Tell whether the class decides the requests, unless the user has set others."""
    return getattr(cls, "_get_metadata_request", None) is BaseEstimator._get_metadata_request


def _declared_by(part) -> MetadataRequest:
    requests = part._get_metadata_request()
    name = plain_class(type(part)).__name__  # for messages; the part itself would live on
    for each in (requests, *vars(requests).values()):
        if hasattr(each, "owner"):
            each.owner = name
    if type(requests) is MetadataRequest:
        requests.__class__ = _UncopiedRequests
    return requests


def uncopied_routing(self):
    """Return the requests of a router, which scikit-learn does not copy."""
    routing = plain_class(type(self)).get_metadata_routing(self)
    if type(routing) is MetadataRouter:
        routing.__class__ = _UncopiedRouter
    return routing


class _UncopiedRequests(MetadataRequest):
    def __sklearn_clone__(self):
        return self


class _UncopiedRouter(MetadataRouter):
    def __sklearn_clone__(self):
        return self


def _has(twin: type, name: str):
    return lambda self: hasattr(super(twin, self), name)


def _without_routing(twin: type, name: str):
    @wraps(getattr(plain_class(twin), name))
    def method(self, *args, **kwargs):
        with config_context(enable_metadata_routing=False):
            return getattr(super(twin, self), name)(*args, **kwargs)

    return method


def _slicing_method(twin: type) -> dict:
    def __getitem__(self, index):
        part = super(twin, self).__getitem__(index)
        if isinstance(index, slice):
            part.__class__ = plain_class(twin)
            part.steps = [
                (name, "passthrough" if is_sampler(step) else step) for name, step in part.steps
            ]
        return part

    return {"__getitem__": __getitem__, **_routing_method(twin)}


def _routing_method(twin: type) -> dict:
    return {"get_metadata_routing": uncopied_routing}


_METHODS = {
    "isolated": _isolated_methods,
    "routing": _routing_method,
    "slicing": _slicing_method,
}


def _is_data(values: list) -> bool:
    first = values[0] if values else 0
    return isinstance(first, str | Number) or (isinstance(first, list) and _is_data(first))


def _estimators_within(value, seen: set[int]) -> Iterator:
    """Yield a fitted estimator and the estimators in its attributes, and so on."""
    if isinstance(value, type | FrozenEstimator) or id(value) in seen:
        return
    if isinstance(value, dict):
        entries = list(value.values())
    elif isinstance(value, tuple) or (isinstance(value, list) and not _is_data(value)):
        entries = value
    elif isinstance(value, np.ma.MaskedArray):  # candidates, in the results of a search
        entries = value.compressed().tolist() if value.dtype.kind == "O" else ()
    elif hasattr(value, "get_params"):
        yield value
        entries = list(vars(value).values())
    else:
        return
    seen.add(id(value))
    for entry in entries:
        yield from _estimators_within(entry, seen)
