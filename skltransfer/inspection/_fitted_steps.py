"""The steps of a fitted estimator, and rows of both domains on their way through them."""

from __future__ import annotations

from collections.abc import Iterator

from sklearn.pipeline import Pipeline

# Where meta-estimators with one fitted estimator keep it.
_HOLDERS = ("best_estimator_", "estimator_", "regressor_")
# Attributes of aligners, reweighters and ensembles, which are followed no further.
_STEPS = ("transform_source", "sample_weight_", "estimators_")


def fitted_steps(part) -> Iterator:
    """Yield the fitted steps in `part`, in order, without steps that do nothing."""
    if part is None or isinstance(part, str):
        return
    if isinstance(part, Pipeline):
        for _, step in part.steps:
            yield from fitted_steps(step)
        return
    if not any(
        hasattr(part, name) for name in ("transform_source", "sample_weight_", "estimators_")
    ):
        for name in _HOLDERS:
            if hasattr(part, name):
                yield from fitted_steps(getattr(part, name))
                return
    yield part


def map_both(step, source, target, remedy: str) -> tuple:
    """Map rows of both domains by a fitted step, each as its own.

    An aligner maps source rows by ``transform_source`` and target rows by ``transform``; any other
    step has one map for both. A domain without rows is None.

    Parameters
    ----------
    step : transformer
    source, target : array-like, or None
    remedy : str
        End of the message if the source cannot be followed.
    """
    if not hasattr(step, "transform_source"):
        inside = [v for v in step.get_params().values() if hasattr(v, "transform_source")]
        if inside:
            raise TypeError(
                f"{type(step).__name__} holds {type(inside[0]).__name__}, and source rows cannot "
                f"be followed inside of it. {remedy}"
            )
    map_source = getattr(step, "transform_source", step.transform)
    return map_source(source), None if target is None else step.transform(target)
