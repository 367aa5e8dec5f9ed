"""One fit: a network built for the samples, trained as the plan says, and described."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from torch import nn

from skltransfer._networks._built import (
    Built,
    build,
    make_head,
    n_trained_stages,
)
from skltransfer._networks._fixed_views import FixedViews
from skltransfer._networks._labels import Labels
from skltransfer._networks._lora import Adapters
from skltransfer._networks._objective import DistancePenalty, LabelLoss, Objective, Pull
from skltransfer._networks._plan import MAX_ITERATIONS, MAX_ROWS_OF_FEATURES, Plan
from skltransfer._processes import current_group
from skltransfer._torch._batches import IndexStream, Inputs, RowBatches, TwoDomainBatches
from skltransfer._torch._boundary import Boundary, KeptRows
from skltransfer._torch._checkpoint import Checkpoint
from skltransfer._torch._depth import Freezing, norms_that_keep
from skltransfer._torch._extraction import network_lock
from skltransfer._torch._fingerprint import digest_of
from skltransfer._torch._layers import Standardize
from skltransfer._torch._optimizers import Schedule, make_optimizer
from skltransfer._torch._process_group import same_everywhere
from skltransfer._torch._rows import Rows
from skltransfer._torch._store import feature_store
from skltransfer._torch._store_parameter import resolve_store
from skltransfer._torch._text import TextRows
from skltransfer._torch._training import Training, total_loss, train, train_full_batch
from skltransfer.backbones import Backbone
from skltransfer.backbones._random import seeded
from skltransfer.backbones._table import as_table, check_shape


@dataclass
class Data:
    """Samples to train or validate on, or samples of the target.

    Parameters
    ----------
    rows : Rows
    labels : Labels or None
        ``None``: unknown.
    weights : ndarray of shape (n,) or None
    """

    rows: Rows
    labels: Labels | None = None
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, indices: np.ndarray) -> Data:
        """Return some of the samples."""
        weights = None if self.weights is None else self.weights[indices]
        return Data(self.rows.subset(indices), self.labels.subset(indices), weights)

    def split(self, plan: Plan) -> tuple[Data, Data]:
        """Return samples to train on and, for early stopping, samples to validate on."""
        n, codes = len(self), self.labels.codes
        n_valid = int(np.ceil(plan.validation_fraction * n))
        counts = None if codes is None else np.bincount(codes)
        is_stratified = counts is not None and counts[counts > 0].min() > 1
        is_stratified = is_stratified and min(n_valid, n - n_valid) >= (counts > 0).sum()
        splitter = StratifiedShuffleSplit if is_stratified else ShuffleSplit
        if n_valid == 0:
            raise ValueError(
                f"early_stopping=True with validation_fraction={plan.validation_fraction!r} sets "
                "no row aside. Raise validation_fraction, or set early_stopping=False."
            )
        if n_valid >= n:
            raise ValueError(
                f"early_stopping=True leaves no row of {n} to train on. Lower "
                "validation_fraction, give more rows, or set early_stopping=False."
            )
        splits = splitter(1, test_size=n_valid, random_state=plan.seed_of_split)
        trained, held_out = next(splits.split(np.zeros(n), codes))
        return self.subset(trained), self.subset(held_out)

    def prepared(self, plan: Plan, *, merges: bool = True) -> Data:
        """Return the samples that weigh something, weighted by their classes.

        Parameters
        ----------
        plan : Plan
        merges : bool, default=True
            Whether equal rows of a table may become one, where nothing asks for steps.
        """
        data = self
        if data.weights is not None and not (used := data.weights > 0).all():
            data = data.subset(np.flatnonzero(used))
        of_head = plan.strategy == "linear_probe"
        asks = plan.head_asks_for_steps if of_head else plan.asks_for_steps
        if merges and plan.is_table and not asks and len(data) <= MAX_ROWS_OF_FEATURES:
            data = data.without_repeats()
        return replace(data, weights=data.labels.learn(data.weights))

    def with_views(self, plan: Plan) -> Data:
        """Return the views that the plan draws of each sample, with its label and its weight."""
        rows = FixedViews(self.rows, plan.augment, plan.n_views, plan.seed_of_chance)
        of = np.tile(np.arange(len(self)), plan.n_views)
        labels = None if self.labels is None else self.labels.subset(of)
        return Data(rows, labels, None if self.weights is None else self.weights[of])

    def without_repeats(self) -> Data:
        """Sort the rows of a table, and take equal ones with equal labels as one.

        Training on all rows at once then depends on neither their order nor on whether a row is
        given twice or weighs two, bit for bit; rounding would otherwise grow from step to step.
        """
        table, targets = as_table(self.rows), self.labels.targets
        labelled = np.column_stack([table, targets.reshape(len(targets), -1)])
        _, first, inverse = np.unique(labelled, axis=0, return_index=True, return_inverse=True)
        weights = None
        if self.weights is not None or len(first) < len(table):
            weights = np.bincount(inverse.ravel(), self.weights)
        return Data(self.rows.subset(first), self.labels.subset(first), weights)

    def tensors(self, device: torch.device, dtype: torch.dtype) -> tuple:
        """Return targets, and weights relative to their mean (or None), on a device."""
        if self.labels is None:
            targets = torch.zeros(len(self), device=device)
        else:
            targets = self.labels.tensor(device, dtype)
        if self.weights is None:
            return targets, None
        relative = self.weights / self.weights.mean()
        return targets, torch.tensor(relative, dtype=dtype, device=device)


class Fitting:
    """Build a network for labelled samples, and train it.

    Parameters
    ----------
    plan : Plan
    record : Backbone or None
        Where weights come from; ``None``: a table network with random ones.
    data : Data
    objective_of : callable, optional
        Takes this fitting, with its `plan`, `built` and `data`, and returns the `Objective` of the
        network. Without one it is the loss of the labels. The head alone, on features that do not
        change, is always trained on that.
    validation : Data, optional
        Samples for early stopping. Without labels, predictions are judged by themselves.
    target : Data, optional
        Samples of a target: the objective is then given a :class:`TwoDomainBatch`.
    earlier : Built, optional
        An earlier fit to go on from.
    batches_of : callable, optional
        Takes this fitting and returns the batches that its objective is given, such as episodes.
        The plan then asks for steps, and the head is not trained on its own.
    """

    def __init__(
        self,
        plan: Plan,
        record: Backbone | None,
        data: Data,
        objective_of: Callable[[Fitting], Objective] | None = None,
        *,
        validation: Data | None = None,
        target: Data | None = None,
        earlier: Built | None = None,
        batches_of: Callable[[Fitting], object] | None = None,
    ):
        self.plan, self.data = plan, data
        self.validation, self.target = validation, target
        self.is_first = earlier is None
        if self.is_first:
            self.built, self._source = build(plan, record, data.rows, data.weights)
            if target is not None:
                self._source.check_rows(target.rows)
                self._check_size_of_target(target.rows)
            head = make_head(
                plan.head,
                self.built.n_features,
                data.labels.n_outputs,
                plan.dropout,
                plan.seed_of_head,
            )
            self.built.held.head = head.to(device=plan.device, dtype=plan.dtype)
        else:
            self.built = replace(earlier.with_source(record), key="")
        if plan.augment is not None and plan.n_views is not None:
            self.data = data.with_views(plan)
            self.target = None if target is None else target.with_views(plan)
            self.plan = replace(plan, augment=None)
        self.n_trained = 0
        if plan.strategy != "linear_probe":
            name = self.built.record.name
            self.n_trained = n_trained_stages(plan.unfreeze, self.built.depth, name)
        self.built.is_frozen = self.is_first and self.n_trained == 0
        # Features of a table network that training will change are not worth a look-up.
        is_looked_up = record is not None or not self.n_trained
        self._store = resolve_store(plan.store) if is_looked_up else None
        self.adapters: Adapters | None = None
        self.history: list[dict] = []
        self._kept: dict[int, torch.Tensor] = {}  # by the id of the rows
        self._plain = LabelLoss(data.labels)
        self._objective_of, self._batches_of = objective_of, batches_of
        self.objective: Objective = self._plain

    def _check_size_of_target(self, rows: Rows) -> None:
        """Raise a ValueError if the network takes no images of the size of the target's."""
        built = self.built
        if rows.shape == self.data.rows.shape or built.network.preprocessing is not None:
            return
        x = rows.batch([0], None).to(self.plan.device)

        def forward() -> None:
            with torch.no_grad():
                n_features = built.network.embed(x).shape[1]
            if n_features != built.n_features:
                raise RuntimeError(f"it gives {n_features} features, and {built.n_features} for X")

        check_shape(built.record, tuple(x.shape[1:]), forward, "X_target")

    # --- the phases ----------------------------------------------------------------------

    def train(self, reports) -> None:
        """Train as the plan's strategy says."""
        plan = self.plan
        if not self.is_first:  # the estimator keeps its own until this training has ended
            self.built = replace(self.built, held=copy.deepcopy(self.built.held))
        if self._objective_of is not None:
            self.objective = self._objective_of(self)
        with (
            seeded(plan.seed_of_chance, plan.device),
            same_everywhere(self._trained_network(), self._key_of_processes()),
            batches_of_one_explained(),
        ):
            if self._batches_of is None:
                self._find_boundary()
                self._train_on_samples(reports)
            elif any(group["params"] for group in self._groups()):
                self._fine_tune(reports)
        self.built.held.requires_grad_(True).eval()

    def _trained_network(self) -> nn.Module:
        """Return the network, of which a head alone needs no copy."""
        return self.built.network if self.n_trained else self.built.held

    def _train_on_samples(self, reports) -> None:
        plan, only_head = self.plan, self.n_trained == 0
        probes = plan.strategy == "lp_ft" or (only_head and plan.augment is None)
        features = self._features(self.data) if probes or self._scales else None
        self._learn_scale(features)
        if probes:
            self._probe(features, reports)
        if not only_head or not probes:
            self.built.network.head.to(plan.dtype)
            self._fine_tune(reports)

    def _find_boundary(self) -> None:
        """Keep the outputs of the frozen stages, if they never vary and there is room for them."""
        plan, built, store = self.plan, self.built, self._store
        first = len(built.depth.stages) - self.n_trained
        rows = [part.rows for part in (self.data, self.validation, self.target) if part is not None]
        varies = plan.strategy == "lora" or plan.augment is not None or plan.autocast is not None
        is_dear = not (plan.is_table or isinstance(self.data.rows, TextRows))
        built.boundary, built.cached_stage, self._kept = None, None, {}
        if store is None or varies or not is_dear or not 0 < first < len(built.depth.stages):
            return
        if self.objective.reads_inputs:
            return
        network, depth = built.network, built.depth
        pair = self.data.rows.batch([0, len(self.data) - 1], network.preprocessing)
        boundary = Boundary.of(
            network.features,
            lambda name: depth.stage_of(name) < first,
            network.entered(pair.to(plan.device)),
            (built.record.fingerprint, repr(built.nodes), built.pooling, str(plan.device), first),
        )
        size = sum(map(len, rows)) * plan.dtype.itemsize
        # Some room is left to the features of other networks, and in memory to everything else.
        room = (feature_store if store.max_bytes is None else store).max_bytes // 2
        if boundary is None or size * boundary.width > room:
            return
        built.boundary, built.cached_stage = boundary, depth.stages[first - 1]
        self._kept = {id(part): self._kept_rows(part) for part in rows}

    def _kept_rows(self, rows: Rows) -> torch.Tensor:
        """Return what is kept of rows, of which each process runs its share."""
        group = current_group()
        if group is None or len(rows) < group.world_size:
            return self.built.kept_rows(rows, self._store)
        own = rows.subset(group.indices(len(rows)))
        return group.joined(self.built.kept_rows(own, self._store), len(rows))

    def _inputs(self, rows: Rows):
        """Return what batches of rows are taken from."""
        kept = self._kept.get(id(rows))
        if kept is not None:
            return kept
        return Inputs(rows, self.built.network.preprocessing, self.plan.device, self.plan.dtype)

    def train_one_epoch(self, optimizer, n_done: int) -> torch.optim.Optimizer:
        """Take one pass over the samples at constant rates, and return the optimiser.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer or None
            Optimizer of the pass before. It is copied, together with the network that it moves.
        n_done : int
            Passes that have been before: this one has an order and chance of its own.
        """
        self.plan = plan = replace(
            self.plan,
            seed_of_order=self.plan.seed_of_order + n_done,
            seed_of_chance=self.plan.seed_of_chance + n_done,
        )
        if not self.is_first:  # the estimator keeps its own until this pass has ended
            network, optimizer = copy.deepcopy((self.built.network, optimizer))
            self.built = replace(self.built, held=network)
        with (
            seeded(plan.seed_of_chance, plan.device),
            same_everywhere(self.built.network, self._key_of_processes()),
            batches_of_one_explained(),
        ):
            if self._scales:
                self._learn_scale(self._features(self.data))
            if self._objective_of is not None:
                self.objective = self._objective_of(self)
            batches = self._batches()
            groups = [group for group in self._groups() if group["params"]]
            if optimizer is None:
                optimizer, penalty = optimizer_and_penalty(plan, groups, self.objective.pulls)
            else:
                penalty = self._penalty(groups)
            with self.objective:
                freezing = self._freezing()
                freezing.n_done = n_done
                training = train(
                    *joined(self.built.network, self.objective),
                    batches,
                    optimizer=optimizer,
                    n_epochs=1,
                    freezing=freezing,
                    penalty=penalty,
                    clip_norm=plan.clip_norm,
                    n_passes=plan.accumulate,
                    autocast=plan.autocast,
                )
        self._note("partial_fit", training)
        self.built.is_frozen = False
        self.built.network.requires_grad_(True).eval()
        return optimizer

    def _features(self, data: Data) -> torch.Tensor:
        """Return the features of samples before training."""
        group, rows = current_group(), data.rows
        if group is not None and len(rows) < group.world_size:
            group = None  # too few to share
        if group is not None:
            rows = rows.subset(group.indices(len(rows)))
        if self.is_first:
            source, size, kept = self._source, "auto", self._kept.get(id(data.rows))
            if kept is not None:
                size = source.batch_size(data.rows)  # with which they were made
                source = self.built.boundary.rest_of(source, data.rows)
                rows = KeptRows(rows, kept if group is None else kept[group.indices(len(kept))])
            features = source.extract(rows, batch_size=size, store=self._store)
        else:
            features = self.built.extractor().extract(rows)
        dtype = self.built.held.head_dtype
        features = torch.tensor(features, dtype=dtype, device=self.plan.device)
        return features if group is None else group.joined(features, len(data))

    @property
    def _scales(self) -> bool:
        """Whether a built-in head has to learn the scale of features before training."""
        features = getattr(self.built.held.head, "features", None)
        return self.is_first and isinstance(features, Standardize)

    def _learn_scale(self, features: torch.Tensor | None) -> None:
        """Let the built-in heads standardise features as they are before training."""
        if self._scales:
            weights = self.data.weights
            if weights is not None:
                weights = torch.tensor(weights, device=self.plan.device)
            self.built.held.head.features.learn(features, weights)

    def _probe(self, features: torch.Tensor, reports) -> None:
        """Train the head on features that do not change."""
        plan, head, n = self.plan, self.built.held.head, len(self.data)
        groups = [group for group in self._groups() if group["is_head"]]
        if plan.uses_full_batch(n, head.modules(), of_head=True):
            head.double()
            features = features.double()
            targets, weights = self.data.tensors(plan.device, features.dtype)
            training = train_full_batch(
                head,
                self._plain,
                RowBatches(features, targets, weights, n, IndexStream(n, None)),
                parameters=[p for p in head.parameters() if p.requires_grad],
                n_iterations=max(MAX_ITERATIONS, plan.n_epochs(None)),
                tol=plan.tol,
                is_convex=plan.head == "linear",
                penalty=self._penalty(groups, with_decay=True),
                reports=reports,
            )
        else:
            targets, weights = self.data.tensors(plan.device, features.dtype)
            batches = RowBatches(features, targets, weights, plan.batch_size, self._stream())
            validate = None
            if self.validation is not None:
                validate = self._validate(head, self._features(self.validation))
            training = self._train_in_steps(head, self._plain, batches, groups, reports, validate)
        self._note("linear_probe", training)

    def _fine_tune(self, reports) -> None:
        """Train the whole network."""
        plan = self.plan
        if plan.strategy == "lora":
            self.adapters = Adapters(
                self.built.network.features,
                self.built.depth,
                len(self.built.depth.stages) - self.n_trained,
                plan.lora_rank,
                plan.lora_alpha,
                plan.seed_of_head,
            )
        full = plan.uses_full_batch(len(self.data), self._trained_parts(), of_head=False)
        try:
            with self.objective, self._from_boundary():
                if full:
                    training = self._fine_tune_at_once(reports)
                else:
                    training = self._fine_tune_in_steps(reports)
        finally:
            if self.adapters is not None:
                self.adapters.merge()
        self._note("lora" if plan.strategy == "lora" else "finetune", training)

    @contextmanager
    def _from_boundary(self) -> Iterator[None]:
        """Let the network begin with what is kept of the rows, if anything is."""
        network = self.built.network
        network.boundary = self.built.boundary
        try:
            yield
        finally:
            del network.boundary

    def _fine_tune_in_steps(self, reports) -> Training:
        validate = None
        if self.validation is not None:
            validate = self._validate(self.built.network, self._inputs(self.validation.rows))
        return self._train_in_steps(
            *joined(self.built.network, self.objective),
            self._batches(),
            self._groups(),
            reports,
            validate,
            freezing=self._freezing(),
        )

    def _fine_tune_at_once(self, reports) -> Training:
        plan, groups = self.plan, self._groups()
        module, objective = joined(self.built.network, self.objective)
        batches = self._batches(at_once=True)
        freezing = self._freezing()
        freezing.apply(module, 0)
        return train_full_batch(
            module,
            objective,
            batches,
            parameters=[p for group in groups for p in group["params"]],
            n_iterations=plan.n_epochs(None),
            tol=plan.tol,
            # The head alone on a plain loss is a convex problem.
            is_convex=plan.head == "linear" and len(groups) == 1,
            freezing=freezing,
            penalty=self._penalty(groups, with_decay=True),
            n_passes=plan.accumulate,
            reports=reports,
        )

    def _train_in_steps(
        self, module, objective, batches, groups, reports, validate, freezing=None
    ) -> Training:
        checkpoint = None
        if self.plan.checkpoint is not None:
            checkpoint = Checkpoint(self.plan.checkpoint, self._key_of_training(module))
        return train_in_steps(
            self.plan,
            module,
            objective,
            batches,
            groups,
            self.objective.pulls,
            advance=self.objective.advance,
            reports=reports,
            validate=validate,
            freezing=freezing,
            checkpoint=checkpoint,
        )

    # --- batches -------------------------------------------------------------------------

    def _stream(self) -> IndexStream:
        codes = self.data.labels.codes if self.plan.balanced_batches else None
        return IndexStream(len(self.data), self.plan.generator(), codes)

    def _batches(self, *, at_once: bool = False):
        """Return batches of the samples, each with samples of the target if there are any."""
        if self._batches_of is not None:
            return self._batches_of(self)
        plan = self.plan

        def of(data: Data, *, is_target: bool) -> RowBatches:
            inputs = self._inputs(data.rows)
            targets, weights = data.tensors(plan.device, plan.dtype)
            if at_once:
                return RowBatches(inputs, targets, weights, len(data), IndexStream(len(data), None))
            order = plan.generator(of_target=True)
            stream = IndexStream(len(data), order) if is_target else self._stream()
            return RowBatches(inputs, targets, weights, plan.batch_size, stream, plan.augment)

        source = of(self.data, is_target=False)
        if self.target is None:
            return source
        return TwoDomainBatches(source, of(self.target, is_target=True))

    def _validate(self, module: nn.Module, inputs) -> Callable[[], float]:
        """Return a function that computes the loss of samples that are set aside."""
        dtype, n = self.built.network.head_dtype, len(self.validation)
        targets, weights = self.validation.tensors(self.plan.device, dtype)
        batches = RowBatches(inputs, targets, weights, 256, IndexStream(n, None))

        def validate() -> float:
            if self.validation.labels is None:
                with torch.inference_mode():
                    outputs = torch.cat([module(batch.inputs) for batch in batches])
                return self.data.labels.loss_without_labels(outputs, weights)
            total = 0.0
            with torch.inference_mode():
                for batch in batches:
                    loss = total_loss(self._plain(module, batch), batch)
                    total += float(loss) * len(batch)
            return total / n

        return validate

    def _key_of_processes(self) -> str:
        """Return what has to be the same in all processes; without the content of the samples."""
        if current_group() is None:
            return ""
        domains = [self.data] if self.target is None else [self.data, self.target]
        return digest_of(
            (
                self.plan.seeds,
                (self.plan.strategy, self.plan.lr, self.plan.batch_size, self.plan.max_epochs),
                [(len(data), data.rows.form, data.weights) for data in domains],
                [data.rows.subset(np.array([0, len(data) - 1])).digests() for data in domains],
                self.data.labels.targets,
            )
        )

    def _key_of_training(self, module: nn.Module) -> str:
        """Return what stands for this training: parameters, samples of all domains, the start."""
        start = None if self.is_first else list(module.state_dict().values())
        target = None
        if self.target is not None:
            target = b"".join(self.target.rows.digests()), self.target.weights
        return digest_of(
            (
                self.plan.settings,
                self.objective.key(),
                self.built.record.fingerprint,
                start,
                b"".join(self.data.rows.digests()),
                self.data.labels.targets,
                self.data.weights,
                target,
                type(module).__name__,
                1 if (group := current_group()) is None else group.world_size,
            )
        )

    # --- parameters ----------------------------------------------------------------------

    def _groups(self) -> list[dict]:
        """Return the parameters that are trained, by stage and then the head's, with their rates.

        From each stage to the next shallower one, and from the head to the deepest stage, the rate
        is multiplied by ``layer_decay``. Further modules of the objective come last.
        """
        plan, depth = self.plan, self.built.depth
        n_stages = len(depth.stages)
        by_stage = depth.parameters(self.built.backbone) if self.n_trained else []
        if self.adapters is not None:
            by_stage = [[] for _ in depth.stages]
            for p, stage in zip(self.adapters.parameters, self.adapters.stage_of, strict=True):
                by_stage[stage].append(p)
        groups = [
            {
                "name": depth.stages[stage],
                "params": parameters,
                "lr": plan.lr * plan.backbone_lr_ratio * plan.layer_decay ** (n_stages - stage),
                "is_head": False,
            }
            for stage, parameters in enumerate(by_stage)
            if stage >= n_stages - self.n_trained and parameters
        ]
        params = [p for p in self.built.held.head.parameters() if p.requires_grad]
        groups.append({"name": "head", "params": params, "lr": plan.lr, "is_head": True})
        further = [p for module in self.objective.modules() for p in module.parameters()]
        if further:
            groups.append({"name": "objective", "params": further, "lr": plan.lr, "is_head": False})
        return groups

    def _penalty(self, groups: list[dict], *, with_decay: bool = False) -> DistancePenalty | None:
        """Return what pulls the groups' parameters, without an optimiser.

        Parameters
        ----------
        groups : list of dict
        with_decay : bool, default=False
            Whether weight decay, which an optimiser would see to, is a part of it.
        """
        pulls = []
        for group in groups:
            own = self.objective.pulls(group)
            if own is None and with_decay:
                matrices = [p for p in group["params"] if p.ndim > 1]
                own = [Pull(matrices, None, self.plan.weight_decay)]
            pulls.append(own or [])
        return DistancePenalty(pulls) or None

    def _freezing(self) -> Freezing:
        freezing = Freezing(
            self.built.network.features,
            self.built.backbone,
            self.built.depth,
            0 if self.adapters is not None else self.n_trained,
            self.plan.gradual_unfreezing,
            # Of the record, not the network: `warm_start` and `partial_fit` go on as they began.
            norms_that_keep(self.built.record.module, self.plan.norm_statistics),
        )
        if self.adapters is not None:
            freezing.exempt(self.adapters.parameters)
        return freezing

    def _trained_parts(self) -> list[nn.Module]:
        depth, first = self.built.depth, len(self.built.depth.stages) - self.n_trained
        parts = [*self.built.network.head.modules()]
        parts += [part for module in self.objective.modules() for part in module.modules()]
        if self.adapters is None:
            named = self.built.backbone.named_modules()
            parts += [part for name, part in named if depth.stage_of(name) >= first]
        return parts

    # --- the result ----------------------------------------------------------------------

    def _note(self, phase: str, training: Training) -> None:
        self.history += [record | {"phase": phase} for record in training.history]

    def attributes(self, *, is_running: bool = False) -> dict:
        """Return the fitted attributes; while training goes on, with a copy of the network."""
        built = self._copy_of_built() if is_running else self.built
        labels = self.data.labels
        return {
            "history_": list(self.history),
            "n_iter_": max(1, len(self.history)),
            "stages_": built.depth.stages,
            "_built": built,
            "_labels": replace(labels, targets=labels.targets[:0], codes=None),
        } | labels.attributes

    def _copy_of_built(self) -> Built:
        with network_lock, self.objective.set_aside():
            if self.adapters is not None:
                self.adapters.add()
            network = copy.deepcopy(self.built.held).eval()
            if self.adapters is not None:
                self.adapters.subtract()
        return replace(self.built, held=network)


@contextmanager
def batches_of_one_explained() -> Iterator[None]:
    """Say in an error of batch normalisation which batches are too small, and what helps."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ValueError(
            "A batch has one sample, or one of its domain, and batch normalisation cannot learn "
            "from one. Give at least 2 samples (of each domain) and a batch_size of at least 2, or "
            "keep the statistics of the source by norm_statistics='keep'."
        ) from error


class _Joined(nn.Module):
    """A network and the further modules of an objective, trained as one."""

    def __init__(self, network: nn.Module, modules: tuple[nn.Module, ...]):
        super().__init__()
        self.network, self.further = network, nn.ModuleList(modules)


def joined(network: nn.Module, objective: Objective) -> tuple[nn.Module, Callable]:
    """Return all that is trained as one module, and the objective of that module."""
    if not (modules := objective.modules()):
        return network, objective
    return _Joined(network, modules), lambda module, batch: objective(module.network, batch)


def train_in_steps(
    plan: Plan,
    module: nn.Module,
    objective: Callable,
    batches,
    groups: list[dict],
    pulls: Callable[[dict], list[Pull] | None],
    *,
    advance: Callable[[float], None] | None = None,
    reports=None,
    validate: Callable[[], float] | None = None,
    freezing: Freezing | None = None,
    checkpoint: Checkpoint | None = None,
) -> Training:
    """Train a module on mini-batches with the optimiser, the rates and the length of a plan."""
    optimizer, penalty = optimizer_and_penalty(plan, groups, pulls)
    n_epochs = plan.n_epochs(len(batches))
    return train(
        module,
        objective,
        batches,
        optimizer=optimizer,
        n_epochs=n_epochs,
        schedule=Schedule(optimizer, plan.schedule, n_epochs * len(batches), plan.warmup),
        advance=advance,
        freezing=freezing,
        penalty=penalty,
        clip_norm=plan.clip_norm,
        n_passes=plan.accumulate,
        autocast=plan.autocast,
        ema_decay=plan.ema_decay,
        validate=validate,
        patience=plan.patience if plan.early_stopping else None,
        reports=reports,
        checkpoint=checkpoint,
    )


def optimizer_and_penalty(
    plan: Plan, groups: list[dict], pulls: Callable[[dict], list[Pull] | None]
) -> tuple[torch.optim.Optimizer, DistancePenalty | None]:
    """Return an optimiser over the groups, and what pulls their parameters beside it."""
    groups = [group for group in groups if group["params"]]
    pulls = [pulls(group) for group in groups]
    if any(pull is not None for pull in pulls):
        parts = [_part(group, group["params"], 0.0) for group in groups]
        penalty = DistancePenalty([pull or [] for pull in pulls])
        return make_optimizer(plan.optimizer, parts, plan.momentum), penalty or None
    parts = {}  # by rate and decay, as each group of an optimiser costs time in every step
    strength = plan.weight_decay
    for group in groups:
        for decay in dict.fromkeys((strength, 0.0)):
            # Decay is for matrices, not for biases and norms.
            params = [p for p in group["params"] if decay == (strength if p.ndim > 1 else 0.0)]
            part = parts.setdefault((group["lr"], decay), _part(group, [], decay))
            part["params"] += params
            part["names"] += [(group["name"], len(params))]
    parts = [part for part in parts.values() if part["params"]]
    return make_optimizer(plan.optimizer, parts, plan.momentum), None


def _part(group: dict, params: list, decay: float) -> dict:
    """Return a group of an optimiser, which says whose parameters it holds, in order."""
    names = [(group["name"], len(params))] if params else []
    return {"params": list(params), "lr": group["lr"], "weight_decay": decay, "names": names}
