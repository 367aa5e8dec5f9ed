"""Networks that are trained near their source: L2-SP and its kin."""

from __future__ import annotations

from sklearn.frozen import FrozenEstimator

from skltransfer._networks._estimators import FineTuning
from skltransfer.backbones._extractors import takes_text
from skltransfer.parameter._penalties import (
    FeatureMapPenalty,
    SmallSingularValues,
    fisher_of_source,
    pull_to_source,
    pull_to_zero,
)


class Regularized:
    """What is pulled where, for the classifier and the regressor."""

    _held = ("backbone", "fisher_rows")

    def _pulls(self, run, group):
        if group["is_head"]:
            return pull_to_zero(group, self.head_alpha)
        if self.penalty == "l2":
            return pull_to_zero(group, self.alpha)
        if self.penalty == "l2_sp":
            return pull_to_source(run, group, self.alpha)
        if self.penalty == "l2_sp_fisher":
            return pull_to_source(run, group, self.alpha, self._curvature(run))
        return []

    def _curvature(self, run):
        if not hasattr(run, "fisher"):
            rows = run.data.rows
            if self.fisher_rows is not None:
                is_text = takes_text(run.built.record)
                rows = self._rows(self.fisher_rows, reset=False, is_text=is_text)
            source = self.backbone
            while isinstance(source, FrozenEstimator):
                source = source.estimator
            is_network = isinstance(source, FineTuning)
            run.fisher = fisher_of_source(run, rows, source if is_network else None)
        return run.fisher

    def _extra_loss(self, run):
        if self.alpha == 0:
            return None
        if self.penalty == "delta":
            return FeatureMapPenalty(run, self.alpha)
        if self.penalty == "bss":
            return SmallSingularValues(self.alpha, self.n_singular_values)
        return None
