"""One fit without labels: a copy of the network, a task for it, and its training."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial

import torch
from sklearn.utils import check_random_state
from torch import nn

from skltransfer._torch._arithmetic import arithmetic
from skltransfer._torch._batches import IndexStream, Inputs, RowBatches
from skltransfer._torch._depth import norms_with_statistics
from skltransfer._torch._extraction import FeatureNetwork, network_lock
from skltransfer._torch._layers import Standardize
from skltransfer._torch._optimizers import Schedule, make_optimizer
from skltransfer._torch._pretext_losses import barlow_twins, nt_xent
from skltransfer._torch._rows import Rows
from skltransfer._torch._training import Training, train
from skltransfer.backbones import Backbone
from skltransfer.backbones._extractors import (
    extractor,
    resolve_device,
    resolve_layers,
    resolve_pooling,
)
from skltransfer.backbones._random import seeded
from skltransfer.backbones._table import as_table, check_shape, is_table, table_record
from skltransfer.feature._pretext import (
    DenoisedColumns,
    DenoisedImages,
    MaskedColumns,
    MaskedImages,
    PretextNetwork,
    Rotation,
    TwoViews,
    projection_head,
    reconstruction_head,
)
from skltransfer.feature._views import (
    ImageViews,
    Noise,
    PolicyViews,
    SwappedColumns,
    checked_policies,
)

CONTRASTIVE = ("simclr", "barlow")
METHODS = (*CONTRASTIVE, "rotation", "denoising", "masked")
_RATES = {"adamw": 1e-3, "sgd": 3e-2}
# Enough steps for a few rows, few passes over many.
_N_STEPS, _MIN_EPOCHS, _MAX_EPOCHS = 1000, 10, 100
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


class Pretraining:
    """Build and train the network of a self-supervised estimator.

    Parameters
    ----------
    estimator : SelfSupervisedTransformer
        Read, never changed.
    record : Backbone or None
        Where weights come from; ``None``: a table network with random ones.
    rows : Rows
    """

    def __init__(self, estimator, record: Backbone | None, rows: Rows):
        self.estimator, self.rows = estimator, rows
        self.device = resolve_device(estimator.device)
        self.is_table = is_table(rows)
        self.precision, self.dtype, self.autocast = arithmetic(
            estimator.precision, self.is_table, self.device
        )
        seeds = check_random_state(estimator.random_state).randint(2**31 - 1, size=4)
        seed, self._seed_of_head, self._seed_of_order, self._seed_of_chance = map(int, seeds)
        if record is None:
            record = table_record(rows, tuple(estimator.hidden_layer_sizes), seed, None)
        self.record = record
        self.nodes = resolve_layers(record, estimator.layers)
        self.pooling = resolve_pooling(record, estimator.pooling)
        taps = extractor(
            record,
            layers=estimator.layers,
            pooling=estimator.pooling,
            input_size=estimator.input_size,
            device=self.device,
            precision=self.precision,
        )
        self.preprocessing = taps.preprocessing
        taps.check_channels(rows)
        x = rows.batch([0], self.preprocessing)
        self.shape = tuple(x.shape[1:])
        widths = check_shape(record, self.shape, lambda: taps.widths(rows))
        self.n_features = sum(widths.values())
        self.module = copy.deepcopy(record.module).to(device=self.device, dtype=self.dtype)
        self.module.requires_grad_(True)
        self.history: list[dict] = []

    # --- the task ------------------------------------------------------------------------

    def _task(self):
        """Return the objective, and the head that it needs."""
        e = self.estimator
        if e.method in CONTRASTIVE:
            loss = (
                partial(nt_xent, temperature=e.temperature)
                if e.method == "simclr"
                else partial(barlow_twins, redundancy_weight=e.redundancy_weight)
            )
            sizes = tuple(e.projection_sizes)
            return TwoViews(self._views(), loss), projection_head(self.n_features, sizes)
        if e.method == "rotation":
            if self.shape[-1] != self.shape[-2]:
                raise ValueError(
                    f"method='rotation' turns images by 90 degrees, and these are "
                    f"{self.shape[-2]} x {self.shape[-1]} pixels. Cut them to squares, or set "
                    "input_size where the backbone has a preprocessing."
                )
            return Rotation(), nn.Linear(self.n_features, Rotation.n_outputs)
        if self.is_table:
            kind = MaskedColumns if e.method == "masked" else DenoisedColumns
            objective = kind(self._corrupt_columns(e.method), self._columns())
        elif e.method == "masked":
            objective = MaskedImages(self._corruption("masked", "patches"), self.shape)
        else:
            noise = Noise(self._corruption("denoising", "pixels"), clip=True)
            objective = DenoisedImages(noise, self.shape)
        return objective, reconstruction_head(self.n_features, objective.n_outputs)

    def _views(self) -> tuple:
        e = self.estimator
        policies = checked_policies(e.augment)
        if policies is not None:
            views = PolicyViews(policies, not self.is_table)
            return views, views
        if self.is_table:  # one view is the row itself, as in SCARF
            return (lambda x: x), self._corrupt_columns("views")
        views = ImageViews(e.strength)
        return views, views

    def _corrupt_columns(self, purpose: str):
        if self.estimator.noise == "gaussian" and purpose != "masked":
            scale = self._corruption(purpose, "gaussian") * self._columns().scale
            return Noise(scale, clip=False)
        return SwappedColumns(self._corruption(purpose, "swap"))

    def _corruption(self, purpose: str, kind: str) -> float:
        given = self.estimator.corruption
        if isinstance(given, str):
            return _CORRUPTION[purpose, kind]
        if kind in ("swap", "patches") and given > 1:
            what = "columns" if kind == "swap" else "patches"
            raise ValueError(
                f"corruption={given!r} is a part of the {what} with method="
                f"{self.estimator.method!r}. Pass a number up to 1, or 'auto'."
            )
        return float(given)

    def _columns(self) -> Standardize:
        """Return mean and scale of the columns of the training rows."""
        columns = Standardize(self.shape[0], of_one_kind=False).double()
        columns.learn(torch.tensor(as_table(self.rows)))
        return columns.to(device=self.device, dtype=self.dtype)

    # --- the training --------------------------------------------------------------------

    def train(self, reports) -> None:
        """Train the network, and its head, on the one training loop."""
        e = self.estimator
        with seeded(self._seed_of_head):
            objective, head = self._task()
        features = FeatureNetwork(
            self.module,
            self.nodes,
            self.pooling,
            self.record.channels_last,
            self.record.prefix_tokens,
        )
        network = PretextNetwork(features, head, self.preprocessing, self.dtype, self.autocast)
        network.to(device=self.device, dtype=self.dtype)

        def in_full_precision(network, batch):
            with torch.autocast(self.device.type, enabled=False):
                return objective(network, batch)

        inputs = Inputs(self.rows, self.preprocessing, self.device, self.dtype)
        n_rows = len(self.rows)
        order = torch.Generator().manual_seed(self._seed_of_order)
        batches = RowBatches(
            inputs,
            torch.zeros(n_rows, device=self.device),
            None,
            128 if e.batch_size == "auto" else int(e.batch_size),
            IndexStream(n_rows, order),
        )
        optimizer = self._optimizer(network)
        n_epochs = _epochs(e, len(batches))
        with seeded(self._seed_of_chance, self.device):
            training: Training = train(
                network,
                in_full_precision,
                batches,
                optimizer=optimizer,
                n_epochs=n_epochs,
                schedule=Schedule(optimizer, e.schedule, n_epochs * len(batches), e.warmup),
                freezing=_KeptStatistics(self.module, self.record),
                clip_norm=e.clip_norm,
                autocast=self.autocast,
                reports=_Recorded(reports, self.history),
            )
        self.history = training.history

    def _optimizer(self, network: PretextNetwork) -> torch.optim.Optimizer:
        e = self.estimator
        lr = _RATES[e.optimizer] if e.lr == "auto" else float(e.lr)
        parameters = list(network.parameters())
        matrices = [p for p in parameters if p.ndim > 1]
        others = [p for p in parameters if p.ndim <= 1]
        groups = [
            {"params": matrices, "lr": lr, "weight_decay": e.weight_decay},
            {"params": others, "lr": lr, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        groups[0]["names"] = [("network", len(groups[0]["params"]))]
        return make_optimizer(e.optimizer, groups, e.momentum)

    # --- the result ----------------------------------------------------------------------

    def attributes(self) -> dict:
        """Return the fitted attributes, with a copy of the network as it is now."""
        with network_lock:
            module = copy.deepcopy(self.module).cpu().eval().requires_grad_(False)
        record = replace(
            self.record,
            name=f"trained {self.record.name.removeprefix('trained ')}",
            module=module,
            preprocessing=self.preprocessing,
            layers=tuple(self.nodes),
            pooling=self.pooling,
            n_features=self.n_features,
            fingerprint="",
        )
        return {
            "backbone_": record,
            "history_": list(self.history),
            "n_iter_": max(1, len(self.history)),
            "_precision": self.precision,
            "_n_features_out": self.n_features,
        }


class _KeptStatistics:
    """Training mode, but for norms whose statistics a source has learned."""

    def __init__(self, module: nn.Module, record: Backbone):
        names = norms_with_statistics(record.module, learned=True)
        self._kept = [module.get_submodule(name) for name in names]

    def apply(self, network: nn.Module, epoch: int) -> None:
        network.train()
        for part in self._kept:
            part.eval()


class _Recorded:
    """Keep the records of epochs while training goes on, for callbacks that ask."""

    def __init__(self, reports, history: list[dict]):
        self._reports, self._history = reports, history

    def begin(self) -> None:
        self._reports.begin()

    def end(self, record: dict) -> bool:
        self._history.append(record)
        return self._reports.end(record)


def _epochs(estimator, n_batches: int) -> int:
    if estimator.max_epochs != "auto":
        return int(estimator.max_epochs)
    return min(_MAX_EPOCHS, max(_MIN_EPOCHS, math.ceil(_N_STEPS / n_batches)))
