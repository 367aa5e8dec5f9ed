"""Training of a network on samples without labels."""

from __future__ import annotations

import numpy as np

from skltransfer._networks._built import build
from skltransfer._networks._fitting import (
    Data,
    batches_of_one_explained,
    joined,
    train_in_steps,
)
from skltransfer._networks._plan import Plan
from skltransfer._torch._batches import IndexStream, Inputs, RowBatches
from skltransfer._torch._depth import Freezing, norms_that_keep
from skltransfer._torch._extraction import network_lock
from skltransfer._torch._fingerprint import digest_of
from skltransfer._torch._process_group import same_everywhere
from skltransfer._torch._rows import Rows
from skltransfer.backbones import Backbone
from skltransfer.backbones._random import seeded
from skltransfer.feature._pretext import PretextTask


class Pretraining:
    """Build and train the network of a self-supervised estimator.

    Parameters
    ----------
    plan : Plan
    task : PretextTask
    record : Backbone or None
        Network to start from. ``None`` is a table network with random weights.
    rows : Rows
    """

    def __init__(self, plan: Plan, task: PretextTask, record: Backbone | None, rows: Rows):
        self.plan, self.rows = plan, rows
        self.built, _ = build(plan, record, rows)
        with seeded(plan.seed_of_head):
            self.objective = task.objective(plan, self.built, rows)
        self.objective.head.to(device=plan.device, dtype=plan.dtype)
        self.history: list[dict] = []

    def train(self, reports) -> None:
        """Train the network, and the head of the task."""
        plan, built, n = self.plan, self.built, len(self.rows)
        network = built.network
        inputs = Inputs(self.rows, network.preprocessing, plan.device, plan.dtype)
        stream = IndexStream(n, plan.generator())
        targets, weights = Data(self.rows).tensors(plan.device, plan.dtype)
        parameters = [*network.parameters(), *self.objective.head.parameters()]
        stages = len(built.depth.stages)
        kept = norms_that_keep(built.record.module, plan.norm_statistics)
        key = digest_of((plan.seeds, n, self.rows.subset(np.array([0, n - 1])).digests()))
        with (
            seeded(plan.seed_of_chance, plan.device),
            same_everywhere(network, key),
            self.objective,
            batches_of_one_explained(),
        ):
            self.history = train_in_steps(
                plan,
                *joined(network, self.objective),
                RowBatches(inputs, targets, weights, plan.batch_size, stream),
                [{"name": "network", "params": parameters, "lr": plan.lr}],
                self.objective.pulls,
                reports=reports,
                freezing=Freezing(network.features, built.backbone, built.depth, stages, kept=kept),
            ).history

    def attributes(self) -> dict:
        """Return the fitted attributes, with a copy of the network as it is now."""
        with network_lock:
            record = self.built.trained_record()
            record.module.cpu()
        return {
            "backbone_": record,
            "history_": list(self.history),
            "n_iter_": max(1, len(self.history)),
            "_precision": self.plan.precision,
            "_n_features_out": self.built.n_features,
        }
