"""Samples of the source on their way through a fitted estimator, whose methods take target ones."""

from __future__ import annotations

from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline

from skltransfer.domains._delegation import DelegatingMixin
from skltransfer.domains._isolation import is_sampler

# Where compositions keep fitted parts under a name without "_" at its end.
_PARTS = ("steps", "transformer_list")


def as_source(estimator):
    """Return a twin of a fitted estimator that takes samples for samples of the source.

    Aligners map source samples by ``transform_source``. The parts of the twin that hold no aligner
    are those of the estimator, which stays as it is.

    Parameters
    ----------
    estimator : estimator
        A fitted one.

    Returns
    -------
    twin : estimator
        The estimator itself if it holds no aligner.

    Raises
    ------
    TypeError
        If source samples cannot be followed to an aligner.
    """
    inside = [value for value in estimator.get_params().values() if _is_aligner(value)]
    twin = _twin(estimator)
    if inside and twin is estimator:
        raise TypeError(
            f"{type(estimator).__name__} holds {type(inside[0]).__name__}, and samples of the "
            "source cannot be followed to it. Put the aligner into a pipeline inside of a "
            "WithTarget or WithSource."
        )
    return twin


def _is_aligner(value) -> bool:
    return isinstance(value, BaseEstimator) and hasattr(value, "transform_source")


def _twin(part):
    """Return a part of a fitted composition, with the maps of the source where it aligns."""
    if isinstance(part, list | tuple):
        if not part or not isinstance(part[0], BaseEstimator | tuple | str):
            return part
        twins = [_twin(entry) for entry in part]
        is_same = all(a is b for a, b in zip(part, twins, strict=True))
        return part if is_same else type(part)(twins)
    if not isinstance(part, BaseEstimator):
        return part
    if _is_aligner(part):
        return _with(part, {"transform": part.transform_source})
    is_frozen = isinstance(part, FrozenEstimator)
    found = {
        name: _twin(value)
        for name, value in vars(part).items()
        if name.endswith("_") or name in _PARTS or (is_frozen and name == "estimator")
    }
    changed = {name: value for name, value in found.items() if value is not vars(part)[name]}
    return _with(part, changed) if changed else part


def _with(part, attributes: dict):
    """Return a copy that shares all but some attributes."""
    twin = object.__new__(type(part))
    vars(twin).update(vars(part) | attributes)
    return twin


def last_features(estimator, X):
    """Return samples as they reach the last step of a fitted estimator.

    Of a network, these are the features that its output layer is given.

    Parameters
    ----------
    estimator : estimator
        A fitted one, or its twin by :func:`as_source`.
    X : array-like of shape (n_samples, n_features)

    Returns
    -------
    features : array-like of shape (n_samples, n_features_out)
    """
    part = estimator
    while True:
        if hasattr(part, "__skltransfer_backbone__"):
            return part.transform(X)
        if isinstance(part, Pipeline):
            *before, (_, last) = part.steps
            for _, step in before:
                if hasattr(step, "transform") and not is_sampler(step):  # "passthrough" has none
                    X = step.transform(X)
            part = last
        elif isinstance(part, DelegatingMixin):
            X, part = part._as_fitted(X), part.estimator_
        elif isinstance(part, BaseSearchCV):
            part = part.best_estimator_
        elif isinstance(part, FrozenEstimator):
            part = part.estimator
        else:
            return X
