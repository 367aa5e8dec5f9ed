"""The settings of one training, resolved once from the parameters of an estimator."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from os import PathLike

import torch
from sklearn.utils import check_random_state
from torch import nn
from torchvision.ops import StochasticDepth

from skltransfer._parameters import Choice, Count, ListOf, Number
from skltransfer._torch._augmentation import Augmentation, names_of
from skltransfer._torch._extraction import PRECISIONS, resolve_device
from skltransfer._torch._optimizers import OPTIMIZERS, SCHEDULES
from skltransfer._torch._rows import Rows, TableRows
from skltransfer._torch._text import TextRows

# Full-batch training is for tables up to this size; features of frozen networks are smaller work.
_MAX_ROWS_OF_TABLE, MAX_ROWS_OF_FEATURES = 2000, 20_000
_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# Enough steps for a few rows, few passes over many.
_MIN_EPOCHS, _MAX_EPOCHS, MAX_ITERATIONS = 10, 100, 500
# A table network begins with random weights: it takes more steps, and longer ones of AdamW.
_STEPS_FROM_RANDOM_WEIGHTS, _RATE_FROM_RANDOM_WEIGHTS = 1500, 3e-3
# Values that go with the full batch; others ask for mini-batches.
_WITHOUT_STEPS = {
    "augment": None,
    "dropout": 0.0,
    "balanced_batches": False,
    "early_stopping": False,
    "ema_decay": None,
    "clip_norm": None,
    "checkpoint": None,
    "lr": "auto",
    "batch_size": "auto",
}
# The same for what means nothing to a head alone.
_WITHOUT_STEPS_OF_STAGES = {
    "gradual_unfreezing": 0,
    "layer_decay": 1.0,
    "precision": ("auto", "float32", "float64"),
    "backbone_lr_ratio": ("auto", 1.0),
}

# What the parameters that every estimator with a network has may be.
TRAINING_PARAMETERS = {
    "optimizer": Choice("auto", *OPTIMIZERS),
    "schedule": Choice(*SCHEDULES),
    "precision": Choice("auto", *PRECISIONS),
    "lr": Number(0, low_open=True, unset=("auto",)),
    "momentum": Number(0, 1, high_open=True),
    "warmup": Number(0, 1),
    "clip_norm": Number(0, low_open=True, unset=(None,)),
    "max_epochs": Count(unset=("auto",)),
    "batch_size": Count(unset=("auto",)),
    "hidden_layer_sizes": ListOf(Count(), min_size=0),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How one network is built and trained; :meth:`of` makes it.

    What has the name of a parameter of :class:`~skltransfer.FineTunedClassifier` is that parameter,
    with "auto" resolved. A default here is for estimators that lack the parameter.

    Parameters
    ----------
    device : torch.device
    is_table : bool
        Whether the samples are numbers of a table.
    shares_backbone : bool
        Whether the backbone was loaded by this package alone, so that nobody else changes it.
    precision : {"float32", "float64"}
        Arithmetic of the weights.
    dtype : torch.dtype
        The same, as torch has it.
    autocast : torch.dtype or None
        Arithmetic of products in mixed precision.
    seed_of_weights, seed_of_head, seed_of_order, seed_of_chance, seed_of_split : int
        Of random weights, of the head's, of the order of samples, of chance in training, and of
        the samples set aside for early stopping.
    optimizer : {"adamw", "sgd"}
        Used where training goes in steps.
    takes_all : bool or None
        Whether L-BFGS trains on all samples at once; ``None``: where nothing asks for steps.
    asks_for_steps, head_asks_for_steps : tuple of str
        Parameters that ask for mini-batches, each with its value; those that mean something where
        the head alone is trained.
    augment : Augmentation or None
    n_views : int or None
        Number of views that `augment` draws of each sample before training; ``None``: it changes
        every batch anew.
    n_steps : int
        Steps that ``max_epochs="auto"`` aims at.
    settings : tuple
        Stands for the estimator in the key of a checkpoint.
    """

    device: torch.device
    is_table: bool
    shares_backbone: bool
    precision: str
    dtype: torch.dtype
    autocast: torch.dtype | None
    seed_of_weights: int
    seed_of_head: int
    seed_of_order: int
    seed_of_chance: int
    seed_of_split: int
    optimizer: str
    takes_all: bool | None
    asks_for_steps: tuple[str, ...] = ()
    head_asks_for_steps: tuple[str, ...] = ()
    lr: float
    backbone_lr_ratio: float = 1.0
    batch_size: int
    augment: Augmentation | None = None
    n_views: int | None = None
    n_steps: int = 500
    settings: tuple = field(default=(), repr=False)
    strategy: str = "finetune"
    unfreeze: object = "all"
    gradual_unfreezing: int = 0
    layer_decay: float = 1.0
    norm_statistics: str = "auto"
    head: object = "linear"
    dropout: float = 0.0
    balanced_batches: bool = False
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.05
    max_epochs: object = "auto"
    accumulate: int = 1
    clip_norm: float | None = None
    ema_decay: float | None = None
    early_stopping: bool = False
    validation_fraction: float = 0.1
    patience: int = 5
    tol: float = 1e-4
    lora_rank: int = 8
    lora_alpha: float = 16.0
    hidden_layer_sizes: tuple[int, ...] = (64,)
    layers: object = None
    pooling: str = "default"
    input_size: int | None = None
    checkpoint: object = None
    store: object = "memory"

    @classmethod
    def of(
        cls,
        estimator,
        rows: Rows,
        *,
        rates=(("adamw", 1e-3), ("sgd", 1e-2)),
        batch_sizes=(64, 32),
        seeds=("head", "order", "chance", "weights"),
        is_one_course: bool = False,
        **resolved,
    ) -> Plan:
        """Resolve the parameters of an estimator for the samples of its `fit`.

        Parameters
        ----------
        estimator : estimator
            Its parameters have been checked.
        rows : Rows
        rates : pairs of str and float
            Learning rate by optimiser that "auto" stands for.
        batch_sizes : (int, int)
            Batch size that "auto" stands for: of tables, of other samples.
        seeds : tuple of str
            Which seed is drawn first.
        is_one_course : bool, default=False
            Whether a table network trains for all the steps that "auto" stands for, which may then
            be more and longer than those of a pretrained one.
        **resolved
            Further fields.
        """
        given = estimator.get_params(deep=False)
        device, of_table = resolve_device(given["device"]), isinstance(rows, TableRows)
        precision = given["precision"]
        if precision == "auto":
            precision = "float64" if of_table and device.type == "cpu" else "float32"
        name = given["optimizer"]
        optimizer = "adamw" if name in ("auto", "lbfgs") else name
        lr, size, rate = given["lr"], given["batch_size"], dict(rates)[optimizer]
        is_random = of_table and given.get("backbone") is None
        if is_one_course and is_random and given["max_epochs"] == "auto":
            resolved.setdefault("n_steps", _STEPS_FROM_RANDOM_WEIGHTS)
            rate = _RATE_FROM_RANDOM_WEIGHTS if optimizer == "adamw" else rate
        if given.get("augment") is not None and "augment" not in resolved:
            resolved["augment"] = _augmentation(given["augment"], rows)
        # Where the seed is a generator, the split has always been the first to draw.
        split = 0
        if given.get("early_stopping"):
            split = check_random_state(given["random_state"]).randint(2**31 - 1)
        drawn = check_random_state(given["random_state"]).randint(2**31 - 1, size=len(seeds))
        own = {f.name: given[f.name] for f in fields(cls) if f.name in given} | {"augment": None}
        # Views that are drawn before training are samples like others.
        asking = given if given.get("n_views") is None else given | {"augment": None}
        head_asks = _asking(asking, _WITHOUT_STEPS)
        of_weights = "float64" if precision == "float64" else "float32"
        own |= {
            "device": device,
            "is_table": of_table,
            "shares_backbone": isinstance(given.get("backbone"), str | PathLike),
            "precision": of_weights,
            "dtype": getattr(torch, of_weights),
            "autocast": _AUTOCAST.get(precision),
            "seed_of_split": int(split),
            **{f"seed_of_{s}": int(seed) for s, seed in zip(seeds, drawn, strict=True)},
            "optimizer": optimizer,
            "takes_all": None if name == "auto" else name == "lbfgs",
            "asks_for_steps": (*head_asks, *_asking(asking, _WITHOUT_STEPS_OF_STAGES)),
            "head_asks_for_steps": head_asks,
            "lr": rate if lr == "auto" else float(lr),
            "backbone_lr_ratio": _lr_ratio(given),
            "batch_size": batch_sizes[not of_table] if size == "auto" else int(size),
            "settings": (
                type(estimator).__name__,
                {k: v for k, v in given.items() if k not in ("backbone", "checkpoint", "store")},
            ),
        }
        return cls(**own | resolved)

    def n_epochs(self, n_batches: int | None) -> int:
        """Return the number of epochs; of iterations where `n_batches` is None."""
        if self.max_epochs != "auto":
            return int(self.max_epochs)
        if n_batches is None:
            return MAX_ITERATIONS
        return min(_MAX_EPOCHS, max(_MIN_EPOCHS, math.ceil(self.n_steps / n_batches)))

    def uses_full_batch(self, n_rows: int, trained_parts, *, of_head: bool) -> bool:
        """Decide between L-BFGS on all rows and steps on mini-batches.

        Parameters
        ----------
        n_rows : int
        trained_parts : iterable of Module
        of_head : bool
            Whether only the head is trained, on features that do not change.

        Raises
        ------
        ValueError
            If ``optimizer="lbfgs"`` meets a parameter, or a layer, that asks for mini-batches.
        """
        if self.takes_all is False:
            return False
        asked = self.head_asks_for_steps if of_head else self.asks_for_steps
        layers = {type(part).__name__ for part in trained_parts if _is_random_or_batchwise(part)}
        if self.takes_all:
            if asked or layers:
                raise ValueError(
                    "optimizer='lbfgs' takes all rows at once, without chance, which does not go "
                    f"with {', '.join([*asked, *sorted(layers)])}. Choose optimizer='adamw', or "
                    "leave these out."
                )
            return True
        most = MAX_ROWS_OF_FEATURES if of_head else _MAX_ROWS_OF_TABLE
        return not asked and not layers and n_rows <= most and (of_head or self.is_table)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return all seeds."""
        return tuple(getattr(self, f.name) for f in fields(self) if f.name.startswith("seed_of_"))

    def generator(self, *, of_target: bool = False) -> torch.Generator:
        """Return the generator of the order of the samples; a target has another one."""
        return torch.Generator().manual_seed(self.seed_of_order ^ of_target)


def _asking(given: dict, plain: dict) -> tuple[str, ...]:
    return tuple(
        f"{name}={given[name]!r}"
        for name, value in plain.items()
        if name in given
        and not (given[name] in value if isinstance(value, tuple) else given[name] == value)
    )


def _augmentation(augment, rows: Rows) -> Augmentation | None:
    if not (policies := names_of(augment)):
        return None
    if isinstance(rows, TextRows):
        raise ValueError(
            f"augment={augment!r} changes numbers, and the rows of X are texts. Set augment=None."
        )
    return Augmentation(policies, not isinstance(rows, TableRows))


def _lr_ratio(given: dict) -> float:
    if given.get("backbone_lr_ratio", "auto") != "auto":
        return float(given["backbone_lr_ratio"])
    backbone = given.get("backbone")
    if backbone is None or given["weights"] is None or isinstance(backbone, type):
        return 1.0
    return 0.3 if given.get("strategy") == "lora" else 0.1


def _is_random_or_batchwise(part: nn.Module) -> bool:
    """Tell whether what a layer does in training depends on chance or on the batch."""
    if isinstance(part, nn.modules.batchnorm._BatchNorm):
        return True
    if isinstance(part, nn.modules.dropout._DropoutNd | StochasticDepth):
        return part.p > 0
    return False
