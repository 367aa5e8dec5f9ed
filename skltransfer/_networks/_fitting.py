"""One fit: settings resolved against the rows, a network built, trained and described."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import nn

from skltransfer._networks._built import (
    Built,
    copy_network,
    learn_scale,
    make_extractor,
    make_head,
    n_trained_stages,
)
from skltransfer._networks._data import Data, loss_on
from skltransfer._networks._groups import ParameterGroups
from skltransfer._networks._lora import Adapters
from skltransfer._networks._plan import MAX_ITERATIONS, epochs_for, uses_full_batch
from skltransfer._torch._arithmetic import arithmetic
from skltransfer._torch._augmentation import Augmentation, names_of
from skltransfer._torch._batches import Batch, IndexStream, Inputs, RowBatches
from skltransfer._torch._checkpoint import Checkpoint
from skltransfer._torch._depth import Freezing, norms_with_statistics
from skltransfer._torch._extraction import network_lock
from skltransfer._torch._fingerprint import digest_of
from skltransfer._torch._full_batch import train_full_batch
from skltransfer._torch._optimizers import Schedule
from skltransfer._torch._store import feature_store
from skltransfer._torch._text import TextRows
from skltransfer._torch._training import Training, train
from skltransfer.backbones import Backbone
from skltransfer.backbones._extractors import extractor, resolve_device
from skltransfer.backbones._random import seeded
from skltransfer.backbones._table import is_table, table_record


class Run:
    """Build and train the network of an estimator.

    Parameters
    ----------
    estimator : FineTuning
        Read, never changed.
    record : Backbone or None
        Where weights come from; ``None``: a table network with random ones.
    data : Data
    problem : Problem
    validation : Data or None
        Rows for early stopping.
    earlier : (Built, Problem) or None
        An earlier fit to go on from.
    """

    def __init__(self, estimator, record: Backbone | None, data, problem, validation, earlier):
        self.estimator, self.data, self.problem = estimator, data, problem
        self.validation = validation
        self.device = resolve_device(estimator.device)
        self.is_table = is_table(data.rows)
        self.precision, self.dtype, self.autocast = arithmetic(
            estimator.precision, self.is_table, self.device
        )
        seeds = check_random_state(estimator.random_state).randint(2**31 - 1, size=4)
        self._seed_of_head, self._seed_of_order, self._seed_of_chance, seed = map(int, seeds)
        self.extractor = None
        if earlier is None:
            self.built = self._build(record, seed)
        else:
            self.built = earlier[0].with_source(record)
        self.network = self.built.network
        depth = self.built.depth
        self.n_trained = 0
        if estimator.strategy != "linear_probe":
            name = self.built.record.name
            self.n_trained = n_trained_stages(estimator.unfreeze, depth, name)
        self.is_first = earlier is None
        self.is_frozen = self.is_first and self.n_trained == 0
        self.adapters: Adapters | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.history: list[dict] = []
        self.groups = ParameterGroups(self)
        self._extra = None
        policies = names_of(estimator.augment)
        if policies and isinstance(data.rows, TextRows):
            raise ValueError(
                f"augment={estimator.augment!r} changes numbers, and the rows of X are texts. Set "
                "augment=None."
            )
        self._augment = Augmentation(policies, not self.is_table) if policies else None

    def _build(self, record: Backbone | None, seed: int) -> Built:
        e, rows = self.estimator, self.data.rows
        if record is None:
            record = table_record(rows, tuple(e.hidden_layer_sizes), seed, self.data.weights)
        self.extractor = extractor(
            record,
            layers=e.layers,
            pooling=e.pooling,
            input_size=e.input_size,
            device=self.device,
            precision=self.precision,
        )
        built = copy_network(
            record,
            rows,
            layers=e.layers,
            pooling=e.pooling,
            preprocessing=self.extractor.preprocessing,
            device=self.device,
            dtype=self.dtype,
        )
        built.n_features = sum(self.extractor.widths(rows).values())
        head = make_head(
            e.head, built.n_features, self.problem.n_outputs, e.dropout, self._seed_of_head
        )
        built.network.head = head.to(device=self.device, dtype=self.dtype)
        return built

    # --- the plan ----------------------------------------------------------------------

    def train(self, reports) -> None:
        """Train as the estimator's strategy says."""
        strategy = self.estimator.strategy
        if not self.is_first:  # the estimator keeps its own until this training has ended
            self.built = replace(self.built, network=copy.deepcopy(self.network))
            self.network = self.built.network
        only_head = self.n_trained == 0
        probes = strategy == "lp_ft" or (only_head and self._augment is None)
        with seeded(self._seed_of_chance, self.device):
            if probes or self.is_first:
                features = self._features()
                if self.is_first:
                    learn_scale(self.network.head, features, self._tensor(self.data.weights))
            if probes:
                self._probe(features, reports)
            if not only_head or not probes:
                self.network.head.to(self.dtype)
                self._fine_tune(reports)
        self.network.requires_grad_(True).eval()

    def train_one_epoch(self, optimizer, n_done: int) -> None:
        """Take one pass over the rows, at constant rates, on from `optimizer` if there is one.

        `n_done` epochs have been before: this one has an order and chance of its own.
        """
        self._seed_of_order += n_done
        self._seed_of_chance += n_done
        with seeded(self._seed_of_chance, self.device):
            if self.is_first:
                learn_scale(self.network.head, self._features(), self._tensor(self.data.weights))
            batches = self._batches(self._inputs(self.data), self.data)
            self.optimizer = optimizer
            groups = [group for group in self.groups.all() if group["params"]]
            if optimizer is None:
                self.optimizer, penalty = self.groups.optimizer_and_penalty(groups)
            else:
                penalty = self.groups.penalty(groups)
            with self._extra_objective():
                freezing = self._freezing()
                freezing.n_done = n_done
                training = train(
                    self.network,
                    self._objective,
                    batches,
                    optimizer=self.optimizer,
                    n_epochs=1,
                    freezing=freezing,
                    penalty=penalty,
                    clip_norm=self.estimator.clip_norm,
                    n_passes=self.estimator.accumulate,
                    autocast=self.autocast,
                )
        self._note("partial_fit", training)
        self.is_frozen = False
        self.network.requires_grad_(True).eval()

    def _features(self) -> torch.Tensor:
        """Return the features of the training rows before training."""
        if self.is_first:
            features = self.extractor.extract(self.data.rows, store=feature_store)
        else:
            rows = self.data.rows
            features = make_extractor(self.network, self.device, "").extract(rows)
        return torch.tensor(features, dtype=self.network.head_dtype, device=self.device)

    # --- the head on features that do not change ---------------------------------------

    def _probe(self, features: torch.Tensor, reports) -> None:
        e, head = self.estimator, self.network.head
        full = uses_full_batch(
            e, len(self.data), head.modules(), of_head=True, is_table=self.is_table
        )
        if full:
            head.double()
            features = features.double()
        targets = self._targets(self.data, features.dtype)
        weights = self.data.relative_weights(features.dtype, self.device)
        groups = [self.groups.of_head()]
        if full:
            batches = RowBatches(features, targets, weights, len(targets), self._stream(None))
            training = train_full_batch(
                head,
                self._loss_of_head,
                batches,
                parameters=[p for p in head.parameters() if p.requires_grad],
                n_iterations=max(MAX_ITERATIONS, epochs_for(e, None)),
                tol=e.tol,
                is_convex=e.head == "linear",
                penalty=self.groups.penalty(groups, with_decay=True),
                reports=reports,
            )
        else:
            batches = RowBatches(
                features, targets, weights, self._batch_size(), self._stream(self._order())
            )
            training = self._train_in_steps(
                head, self._loss_of_head, batches, groups, reports, self._validate_head()
            )
        self._note("linear_probe", training)

    def _loss_of_head(self, head: nn.Module, batch: Batch) -> torch.Tensor:
        return self._losses(head(batch.inputs), batch)

    def _validate_head(self):
        if self.validation is None:
            return None
        rows = self.validation.rows
        features = torch.tensor(
            self.extractor.extract(rows, store=feature_store)
            if self.is_first
            else make_extractor(self.network, self.device, "").extract(rows),
            dtype=self.network.head_dtype,
            device=self.device,
        )
        return self._validation(self.network.head, features, self._loss_of_head)

    # --- the whole network -------------------------------------------------------------

    def _fine_tune(self, reports) -> None:
        e = self.estimator
        if e.strategy == "lora":
            self.adapters = Adapters(
                self.network.features,
                self.built.depth,
                len(self.built.depth.stages) - self.n_trained,
                e.lora_rank,
                e.lora_alpha,
                self._seed_of_head,
            )
        full = uses_full_batch(
            e, len(self.data), self._trained_parts(), of_head=False, is_table=self.is_table
        )
        try:
            with self._extra_objective():
                if full:
                    training = self._fine_tune_at_once(reports)
                else:
                    training = self._fine_tune_in_steps(reports)
        finally:
            if self.adapters is not None:
                self.adapters.merge()
        self._note("lora" if e.strategy == "lora" else "finetune", training)

    def _fine_tune_in_steps(self, reports) -> Training:
        validate = None
        if self.validation is not None:
            held_out = self._inputs(self.validation)
            validate = self._validation(self.network, held_out, self._plain_objective)
        return self._train_in_steps(
            self.network,
            self._objective,
            self._batches(self._inputs(self.data), self.data),
            self.groups.all(),
            reports,
            validate,
            freezing=self._freezing(),
        )

    def _fine_tune_at_once(self, reports) -> Training:
        e = self.estimator
        inputs = self._inputs(self.data)
        targets = self._targets(self.data, self.dtype)
        weights = self.data.relative_weights(self.dtype, self.device)
        batches = RowBatches(inputs, targets, weights, len(targets), self._stream(None))
        groups = self.groups.all()
        parameters = [p for group in groups for p in group["params"]]
        freezing = self._freezing()
        freezing.apply(self.network, 0)
        return train_full_batch(
            self.network,
            self._objective,
            batches,
            parameters=parameters,
            n_iterations=epochs_for(e, None),
            tol=e.tol,
            is_convex=not any(group["params"] for group in groups[:-1]) and e.head == "linear",
            freezing=freezing,
            penalty=self.groups.penalty(groups, with_decay=True),
            n_passes=e.accumulate,
            reports=reports,
        )

    def _train_in_steps(
        self, module, objective, batches, groups, reports, validate, freezing=None
    ) -> Training:
        e = self.estimator
        self.optimizer, penalty = self.groups.optimizer_and_penalty(groups)
        n_epochs = epochs_for(e, len(batches))
        schedule = Schedule(self.optimizer, e.schedule, n_epochs * len(batches), e.warmup)
        checkpoint = None
        if e.checkpoint is not None:
            checkpoint = Checkpoint(e.checkpoint, self._key_of_training(module))
        training = train(
            module,
            objective,
            batches,
            optimizer=self.optimizer,
            n_epochs=n_epochs,
            schedule=schedule,
            freezing=freezing,
            penalty=penalty,
            clip_norm=e.clip_norm,
            n_passes=e.accumulate,
            autocast=self.autocast,
            ema_decay=e.ema_decay,
            validate=validate,
            patience=e.patience if e.early_stopping else None,
            reports=reports,
            checkpoint=checkpoint,
        )
        self.optimizer = None
        return training

    @contextmanager
    def _extra_objective(self) -> Iterator[None]:
        """Let the estimator's own objective, if it has one, take the place of the plain one."""
        self._extra = self.estimator._extra_loss(self)
        try:
            yield
        finally:
            if self._extra is not None:
                self._extra.close()

    def _objective(self, network: nn.Module, batch: Batch):
        if self._extra is None:
            return self._plain_objective(network, batch)
        return self._extra(network, batch, self._losses)

    def _plain_objective(self, network: nn.Module, batch: Batch):
        return self._losses(network(batch.inputs), batch)

    def _losses(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        if outputs.dtype in (torch.bfloat16, torch.float16):
            outputs = outputs.float()
        if outputs.ndim != 2 or outputs.shape[1] != self.problem.n_outputs:
            raise ValueError(
                f"The network gives outputs of shape {tuple(outputs.shape)} for {len(batch)} rows, "
                f"and the labels need ({len(batch)}, {self.problem.n_outputs}). Let head= make "
                "that many outputs."
            )
        if batch.weights is None and batch.partners is None:
            return self.problem.mean_loss(outputs, batch.targets)
        losses = self.problem.loss(outputs, batch.targets)
        if batch.partners is None:
            return losses
        partner = self.problem.loss(outputs, batch.partners)
        return losses * batch.share + partner * batch.partner_share

    # --- pieces ------------------------------------------------------------------------

    def _freezing(self) -> Freezing:
        e = self.estimator
        freezing = Freezing(
            self.network.features,
            self.built.backbone,
            self.built.depth,
            0 if self.adapters is not None else self.n_trained,
            e.gradual_unfreezing,
            self._norms_that_keep(),
        )
        if self.adapters is not None:
            freezing.exempt(self.adapters.parameters)
        return freezing

    def _norms_that_keep(self) -> tuple[str, ...]:
        """Return the batch norms whose running statistics stay those of the source."""
        if self.estimator.norm_statistics == "learn":
            return ()
        # The record, not the network: `warm_start` and `partial_fit` go on as they began.
        is_auto = self.estimator.norm_statistics == "auto"
        return norms_with_statistics(self.built.record.module, learned=is_auto)

    def _trained_parts(self) -> list[nn.Module]:
        depth, first = self.built.depth, len(self.built.depth.stages) - self.n_trained
        parts = [*self.network.head.modules()]
        if self.adapters is None:
            parts += [
                part
                for name, part in self.built.backbone.named_modules()
                if depth.stage_of(name) >= first
            ]
        return parts

    def _inputs(self, data: Data) -> Inputs:
        return Inputs(data.rows, self.network.preprocessing, self.device, self.dtype)

    def _batches(self, inputs, data: Data) -> RowBatches:
        targets = self._targets(data, self.dtype)
        weights = self.data.relative_weights(self.dtype, self.device)
        return RowBatches(
            inputs,
            targets,
            weights,
            self._batch_size(),
            self._stream(self._order()),
            self._augment,
        )

    def _targets(self, data: Data, dtype: torch.dtype) -> torch.Tensor:
        return replace(self.problem, targets=data.targets).tensor(self.device, dtype)

    def _order(self) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed_of_order)

    def _stream(self, generator: torch.Generator | None) -> IndexStream:
        balanced = getattr(self.estimator, "balanced_batches", False) and generator is not None
        return IndexStream(len(self.data), generator, self.data.codes if balanced else None)

    def _batch_size(self) -> int:
        if self.estimator.batch_size != "auto":
            return int(self.estimator.batch_size)
        return 64 if self.is_table else 32

    def _tensor(self, values: np.ndarray | None) -> torch.Tensor | None:
        return None if values is None else torch.tensor(values, device=self.device)

    def _validation(self, module: nn.Module, inputs, objective):
        dtype = self.network.head_dtype
        weights = self.validation.relative_weights(dtype, self.device)
        return loss_on(module, objective, inputs, self._targets(self.validation, dtype), weights)

    def _key_of_training(self, module: nn.Module) -> str:
        """Return what stands for this training: parameters, rows, labels, weights to start from."""
        e = self.estimator
        parameters = {
            name: value
            for name, value in e.get_params(deep=False).items()
            if name not in ("backbone", "checkpoint")
        }
        start = None if self.is_first else list(module.state_dict().values())
        return digest_of(
            (
                type(e).__name__,
                parameters,
                self.built.record.fingerprint,
                start,
                b"".join(self.data.rows.digests()),
                self.data.targets,
                self.data.weights,
                type(module).__name__,
            )
        )

    def _note(self, phase: str, training: Training) -> None:
        self.history += [record | {"phase": phase} for record in training.history]

    # --- the result --------------------------------------------------------------------

    def attributes(self, *, copy: bool) -> dict:
        """Return the fitted attributes."""
        built = self._copy_of_built() if copy else self.built
        return {
            "network_": built.network,
            "history_": list(self.history),
            "n_iter_": max(1, len(self.history)),
            "stages_": built.depth.stages,
            "_built": built,
            "_problem": replace(self.problem, targets=self.problem.targets[:0], codes=None),
            "_key": self.extractor.key if self.extractor is not None else "",
            "_is_frozen": self.is_frozen,
        }

    def _copy_of_built(self) -> Built:
        with network_lock:
            if self.adapters is not None:
                self.adapters.add()
            features = self.network.features
            self.network.features = getattr(self._extra, "plain", features)
            network = copy.deepcopy(self.network).eval()
            self.network.features = features
            if self.adapters is not None:
                self.adapters.subtract()
        return replace(self.built, network=network)
