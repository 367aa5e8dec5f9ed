"""Rows of both domains on their way through a fitted estimator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_array, check_is_fitted


class Way(NamedTuple):
    """Both domains where they reach the first aligner, and behind the last transformer."""

    before: tuple[np.ndarray, np.ndarray]  # source, target
    after: tuple[np.ndarray, np.ndarray]
    aligner: str


def follow(estimator, X_source, X_target) -> Way:
    """Map rows of both domains by a fitted estimator, each as its own.

    Nothing is fitted again: an aligner maps source rows by ``transform_source`` and target rows by
    ``transform``; any other step has one map for both.
    """
    check_is_fitted(estimator)
    steps = list(_steps(estimator))
    if steps and hasattr(steps[-1], "predict"):
        steps = steps[:-1]
    source, target, before, names = X_source, X_target, None, []
    for step in steps:
        if hasattr(step, "transform_source"):
            names.append(type(step).__name__)
            before = before or (_matrix(source), _matrix(target))
            source, target = step.transform_source(source), step.transform(target)
        else:
            _check_no_aligner_inside(step)
            source, target = step.transform(source), step.transform(target)
    if before is None:
        raise TypeError(
            f"{type(estimator).__name__} holds no aligner. Pass a fitted aligner (such as CORAL), "
            "or a pipeline, WithTarget or WithSource in which there is one as a step; or mapped "
            "rows to DomainShiftDisplay.from_domains."
        )
    return Way(before, (_matrix(source), _matrix(target)), " and ".join(names))


def _steps(part) -> Iterator:
    """Yield the fitted steps in `part`, in order, without what does nothing."""
    if part is None or isinstance(part, str):
        return
    if isinstance(part, Pipeline):
        for _, step in part.steps:
            yield from _steps(step)
    elif hasattr(part, "transform_source"):
        yield part
    elif hasattr(part, "best_estimator_"):
        yield from _steps(part.best_estimator_)
    elif hasattr(part, "estimator_") and not hasattr(part, "sample_weight_"):
        yield from _steps(part.estimator_)
    else:
        yield part


def _check_no_aligner_inside(step) -> None:
    inside = [v for v in step.get_params().values() if hasattr(v, "transform_source")]
    if inside:
        raise TypeError(
            f"{type(step).__name__} holds {type(inside[0]).__name__} inside, where source rows "
            "cannot be followed. Map the rows of both domains yourself, and pass them to "
            "DomainShiftDisplay.from_domains."
        )


def _matrix(rows) -> np.ndarray:
    return check_array(rows, dtype=np.float64)
