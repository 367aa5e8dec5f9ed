"""One fit without labels: a task that the samples set themselves, and the training on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from skltransfer._networks._built import Built, build
from skltransfer._networks._fitting import Data, joined, norms_that_keep, train_in_steps
from skltransfer._networks._plan import Plan
from skltransfer._torch._batches import IndexStream, Inputs, RowBatches
from skltransfer._torch._depth import Freezing
from skltransfer._torch._extraction import network_lock
from skltransfer._torch._layers import Standardize
from skltransfer._torch._rows import Rows
from skltransfer.backbones import Backbone
from skltransfer.backbones._random import seeded
from skltransfer.backbones._table import as_table
from skltransfer.feature._pretext import (
    DenoisedColumns,
    DenoisedImages,
    MaskedColumns,
    MaskedImages,
    Pretext,
    Rotation,
    TwoViews,
    barlow_twins,
    nt_xent,
    projection_head,
)
from skltransfer.feature._views import ImageViews, Noise, PolicyViews, SwappedColumns

# What "auto" corrupts: part of the columns or patches, or standard deviation of noise.
_CORRUPTION = {
    ("views", "swap"): 0.6,  # Bahri et al. 2022
    ("denoising", "swap"): 0.3,
    ("masked", "swap"): 0.3,  # Yoon et al. 2020
    ("views", "gaussian"): 0.5,
    ("denoising", "gaussian"): 0.5,
    ("denoising", "pixels"): 0.3,
    ("masked", "patches"): 0.6,
}


@dataclass(frozen=True, kw_only=True)
class PretextTask:
    """Which task the samples set themselves: parameters of `SelfSupervisedTransformer`.

    Parameters
    ----------
    policies : list or None
        What `augment` names; ``None`` for "default".
    """

    method: str
    policies: list | None
    strength: float
    corruption: float | str
    noise: str
    temperature: float
    redundancy_weight: float
    projection_sizes: tuple[int, ...]

    def objective(self, plan: Plan, built: Built, rows: Rows) -> Pretext:
        """Return the objective for the features of a network, with a head of random weights."""
        n = built.n_features
        if self.method in ("simclr", "barlow"):
            loss = (
                partial(nt_xent, temperature=self.temperature)
                if self.method == "simclr"
                else partial(barlow_twins, redundancy_weight=self.redundancy_weight)
            )
            head = projection_head(n, tuple(self.projection_sizes))
            return TwoViews(self._views(plan, rows), loss, head)
        if plan.is_table:
            kind = MaskedColumns if self.method == "masked" else DenoisedColumns
            return kind(n, self._corrupt_columns(self.method, plan, rows), _columns(plan, rows))
        shape = tuple(rows.batch([0], built.network.preprocessing).shape[1:])
        if self.method == "rotation":
            if shape[-1] != shape[-2]:
                raise ValueError(
                    f"method='rotation' turns images by 90 degrees, and these are "
                    f"{shape[-2]} x {shape[-1]} pixels. Cut them to squares, or set "
                    "input_size where the backbone has a preprocessing."
                )
            return Rotation(n)
        if self.method == "masked":
            return MaskedImages(n, self._corruption("masked", "patches"), shape)
        return DenoisedImages(n, Noise(self._corruption("denoising", "pixels"), clip=True), shape)

    def _views(self, plan: Plan, rows: Rows) -> tuple:
        if self.policies is not None:
            views = PolicyViews(self.policies, not plan.is_table)
        elif plan.is_table:  # one view is the row itself, as in SCARF
            return (lambda x: x), self._corrupt_columns("views", plan, rows)
        else:
            views = ImageViews(self.strength)
        return views, views

    def _corrupt_columns(self, purpose: str, plan: Plan, rows: Rows):
        if self.noise == "gaussian" and purpose != "masked":
            scale = self._corruption(purpose, "gaussian") * _columns(plan, rows).scale
            return Noise(scale, clip=False)
        return SwappedColumns(self._corruption(purpose, "swap"))

    def _corruption(self, purpose: str, kind: str) -> float:
        given = self.corruption
        if isinstance(given, str):
            return _CORRUPTION[purpose, kind]
        if kind in ("swap", "patches") and given > 1:
            what = "columns" if kind == "swap" else "patches"
            raise ValueError(
                f"corruption={given!r} is a part of the {what} with method={self.method!r}. Pass "
                "a number up to 1, or 'auto'."
            )
        return float(given)


def _columns(plan: Plan, rows: Rows) -> Standardize:
    """Return mean and scale of the columns of the training rows."""
    table = torch.tensor(as_table(rows))
    columns = Standardize(table.shape[1], of_one_kind=False).double()
    columns.learn(table)
    return columns.to(device=plan.device, dtype=plan.dtype)


class Pretraining:
    """Build and train the network of a self-supervised estimator.

    Parameters
    ----------
    plan : Plan
    task : PretextTask
    record : Backbone or None
        Where weights come from; ``None``: a table network with random ones.
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
        kept = norms_that_keep(plan, built.record)
        with seeded(plan.seed_of_chance, plan.device), self.objective:
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
