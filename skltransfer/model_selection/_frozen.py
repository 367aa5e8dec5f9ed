"""Frozen networks in front of a pipeline: each sample passes them once, whatever the folds are."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from skltransfer.domains import WithSource
from skltransfer.model_selection._task import TransferTask

# The form of the samples as they are given.
GIVEN = "given"


@dataclass(eq=False)
class Forms:
    """The samples of both domains as they are given, and as features of frozen networks.

    What a frozen network makes of a sample depends on this sample alone, so that its features may
    be computed before the folds are cut.

    Parameters
    ----------
    X : array-like
        All samples of the target.
    X_source : array-like or None
    """

    X: Any
    X_source: Any

    def __post_init__(self):
        self.target = {GIVEN: self.X}
        self._source = {GIVEN: self.X_source}

    def of_estimator(self, estimator) -> tuple[Any, str]:
        """Split an unfitted estimator for target samples: what follows the network, and the form.

        Pipelines and :class:`~skltransfer.WithSource` around a pipeline are split; anything else
        is returned as it is, and takes the samples as they are given.
        """
        pipeline = estimator.estimator if type(estimator) is WithSource else estimator
        network, rest = _split(pipeline)
        if network is None:
            return estimator, GIVEN
        if type(estimator) is not WithSource:
            return rest, self._extract(network, with_source=False)
        form = self._extract(network, with_source=estimator.X_source is not None)
        held = {} if estimator.X_source is None else {"X_source": self._source[form]}
        return clone(estimator).set_params(estimator=rest, **held), form

    def of_task(self, task: TransferTask) -> tuple[TransferTask, str]:
        """Return a task for samples of the form in which the task's network leaves them."""
        network, rest = _split(task.estimator)
        if network is None:
            return task, GIVEN
        form = self._extract(network, with_source=task.X_source is not None)
        return replace(task, estimator=rest, X_source=self._source.get(form)), form

    def _extract(self, network, *, with_source: bool) -> str:
        form = str(sorted(network.get_params().items()))
        if form not in self.target:
            self.target[form] = clone(network).fit(self.X).transform(self.X)
        if with_source and form not in self._source:
            self._source[form] = clone(network).fit(self.X_source).transform(self.X_source)
        return form


def _split(estimator) -> tuple[Any, Any]:
    """Return the frozen network that begins a pipeline, and what follows it; or None twice."""
    if type(estimator) is not Pipeline:
        return None, None
    (name, first), *others = estimator.steps
    if _is_frozen(first):
        return (first, Pipeline(others)) if others else (None, None)
    network, rest = _split(first)
    return (None, None) if network is None else (network, Pipeline([(name, rest), *others]))


def _is_frozen(step) -> bool:
    """Tell whether a step is a frozen network; torch is not loaded for the question."""
    module = sys.modules.get("skltransfer.feature._pretrained")
    kind = getattr(module, "PretrainedFeatureTransformer", None)
    return (
        kind is not None
        and type(step) is kind
        and step.backbone is not None
        and (step.on_error == "raise" and step.output == "numpy")
    )
