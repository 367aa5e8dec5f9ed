"""A fitted estimator taken apart: what comes before its network, the network, what comes after."""

from __future__ import annotations

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from skltransfer.persistence._graph import has_network


def innermost(estimator):
    """Return the fitted estimator inside a search, a frozen estimator or a pipeline of one step."""
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, Pipeline) and len(_steps_of(estimator)) == 1:
            estimator = _steps_of(estimator)[0]
        else:
            return estimator


def _steps_of(pipeline: Pipeline) -> list:
    """Return the steps of a pipeline, those of pipelines inside it one by one."""
    steps = []
    for _, step in pipeline.steps:
        if step is None or isinstance(step, str):  # "passthrough"
            continue
        step = step.estimator if isinstance(step, FrozenEstimator) else step
        steps += _steps_of(step) if isinstance(step, Pipeline) else [step]
    return steps


def split_steps(estimator) -> tuple:
    """Return the steps before the network as a list or None, the network's, and those after it.

    Raises
    ------
    TypeError
        If there is no step with a network, or more than one.
    """
    estimator = innermost(estimator)
    steps = _steps_of(estimator) if isinstance(estimator, Pipeline) else [estimator]
    with_network = [i for i, step in enumerate(steps) if has_network(step)]
    if len(with_network) != 1:
        raise TypeError(
            f"{type(estimator).__name__} has {len(with_network)} steps with a network, and an "
            "export needs one: a FineTunedClassifier, FineTunedRegressor or "
            "PretrainedFeatureTransformer with a backbone, alone or as a step of a Pipeline. "
            "Pipelines of scikit-learn alone are exported by skl2onnx."
        )
    number = with_network[0]
    return steps[:number] or None, steps[number], steps[number + 1 :] or None
