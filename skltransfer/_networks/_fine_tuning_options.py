"""Checks of the parameters that every fine-tuning estimator has."""

from __future__ import annotations

import math
from numbers import Integral

from skltransfer._options import check_choice, check_count, check_number
from skltransfer._torch._augmentation import names_of
from skltransfer._torch._extraction import PRECISIONS
from skltransfer._torch._optimizers import OPTIMIZERS, SCHEDULES

STRATEGIES = ("finetune", "linear_probe", "lp_ft", "lora")


def check_options(estimator) -> None:
    """Raise a ValueError or TypeError for the first parameter that makes no sense."""
    e = estimator
    check_choice(e, "strategy", STRATEGIES if hasattr(e, "lora_rank") else STRATEGIES[:-1])
    check_choice(e, "optimizer", ("auto", *OPTIMIZERS))
    check_choice(e, "schedule", SCHEDULES)
    check_choice(e, "norm_statistics", ("auto", "keep", "learn"))
    check_choice(e, "precision", ("auto", *PRECISIONS))
    check_number(e, "lr", low=0, unset=("auto",), is_open=True)
    check_number(e, "backbone_lr_ratio", low=0, unset=("auto",))
    check_number(e, "layer_decay", low=0, high=1)
    check_number(e, "dropout", low=0, high=1, is_open=True)
    check_number(e, "momentum", low=0, high=1, is_open=True)
    check_number(e, "warmup", low=0, high=1)
    check_number(e, "validation_fraction", low=0, high=1, is_open=True)
    check_number(e, "tol", low=0)
    check_number(e, "clip_norm", low=0, unset=(None,), is_open=True)
    check_number(e, "ema_decay", low=0, high=1, unset=(None,), is_open=True)
    for name in ("weight_decay", "alpha", "head_alpha"):
        if hasattr(e, name):
            check_number(e, name, low=0, high=math.inf, is_open=True)
    if hasattr(e, "lora_alpha"):
        check_number(e, "lora_alpha", low=0, is_open=True)
    if hasattr(e, "label_smoothing"):
        check_number(e, "label_smoothing", low=0, high=1, is_open=True)
    check_count(e, "max_epochs", unset=("auto",))
    check_count(e, "batch_size", unset=("auto",))
    check_count(e, "gradual_unfreezing", low=0)
    for name in ("accumulate", "patience", "lora_rank", "n_singular_values"):
        if hasattr(e, name):
            check_count(e, name)
    if hasattr(e, "penalty"):
        check_choice(e, "penalty", ("l2_sp", "l2_sp_fisher", "delta", "bss", "l2"))
    for name in ("early_stopping", "warm_start", "balanced_batches"):
        if not isinstance(getattr(e, name, False), bool):
            raise ValueError(f"{name}={getattr(e, name)!r} is neither True nor False.")
    names_of(e.augment)
    sizes = e.hidden_layer_sizes
    if not isinstance(sizes, list | tuple) or not all(
        isinstance(size, Integral) and size >= 1 for size in sizes
    ):
        raise ValueError(
            f"hidden_layer_sizes={sizes!r} is not a tuple of integers of at least 1, such as (64,)."
        )
    if e.gradual_unfreezing and e.strategy in ("lora", "linear_probe"):
        raise ValueError(
            f"gradual_unfreezing={e.gradual_unfreezing!r} has nothing to unfreeze with "
            f"strategy={e.strategy!r}. Set it to 0, or choose strategy='finetune' or 'lp_ft'."
        )
    if e.early_stopping and e.schedule == "cosine" and e.patience < 1:
        raise ValueError("patience has to be at least 1.")
