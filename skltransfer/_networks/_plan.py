"""Defaults that depend on the data: the optimiser, its rate and the number of epochs."""

from __future__ import annotations

import math

from torch import nn
from torchvision.ops import StochasticDepth

# Full-batch training is for tables up to this size; features of frozen networks are smaller work.
_MAX_ROWS_OF_TABLE, MAX_ROWS_OF_FEATURES = 2000, 20_000
_RATES = {"adamw": 1e-3, "sgd": 1e-2}
# Enough steps for a few rows, few passes over many.
_N_STEPS, _MIN_EPOCHS, _MAX_EPOCHS, MAX_ITERATIONS = 500, 10, 100, 500


def needs_steps(estimator, *, of_head: bool) -> list[str]:
    """Return the parameters that ask for mini-batches, each with its value.

    Parameters
    ----------
    estimator : estimator
    of_head : bool
        Whether only the head is trained, to which the rates of stages mean nothing.
    """
    plain = {
        "augment": None,
        "dropout": 0.0,
        "balanced_batches": False,
        "early_stopping": False,
        "ema_decay": None,
        "clip_norm": None,
        "checkpoint": None,
    }
    if not of_head:
        plain |= {"gradual_unfreezing": 0, "layer_decay": 1.0}
    asked = [
        f"{name}={getattr(estimator, name)!r}"
        for name, value in plain.items()
        if getattr(estimator, name, value) != value
    ]
    if not of_head and estimator.precision in ("bfloat16", "float16"):
        asked.append(f"precision={estimator.precision!r}")
    if not of_head and estimator.backbone_lr_ratio not in ("auto", 1.0):
        asked.append(f"backbone_lr_ratio={estimator.backbone_lr_ratio!r}")
    for name in ("lr", "batch_size"):
        if getattr(estimator, name) != "auto":
            asked.append(f"{name}={getattr(estimator, name)!r}")
    return asked


def is_random_or_batchwise(part: nn.Module) -> bool:
    """Tell whether what a layer does in training depends on chance or on the batch."""
    if isinstance(part, nn.modules.batchnorm._BatchNorm):
        return True
    if isinstance(part, nn.modules.dropout._DropoutNd | StochasticDepth):
        return part.p > 0
    return False


def uses_full_batch(estimator, n_rows: int, trained_parts, *, of_head: bool, is_table: bool):
    """Decide between L-BFGS on all rows and steps on mini-batches.

    Parameters
    ----------
    estimator : estimator
    n_rows : int
    trained_parts : iterable of Module
    of_head : bool
        Whether only the head is trained, on features that do not change.
    is_table : bool

    Raises
    ------
    ValueError
        If ``optimizer="lbfgs"`` meets a parameter, or a layer, that asks for mini-batches.
    """
    asked = needs_steps(estimator, of_head=of_head)
    layers = sorted({type(p).__name__ for p in trained_parts if is_random_or_batchwise(p)})
    if estimator.optimizer == "lbfgs":
        if asked or layers:
            raise ValueError(
                f"optimizer='lbfgs' takes all rows at once, without chance, which does not go with "
                f"{', '.join([*asked, *layers])}. Choose optimizer='adamw', or leave these out."
            )
        return True
    if estimator.optimizer != "auto" or asked or layers:
        return False
    return n_rows <= (MAX_ROWS_OF_FEATURES if of_head else _MAX_ROWS_OF_TABLE) and (
        of_head or is_table
    )


def rate_of(estimator, name: str) -> float:
    """Return the learning rate of the head."""
    return _RATES[name] if estimator.lr == "auto" else float(estimator.lr)


def epochs_for(estimator, n_batches: int | None) -> int:
    """Return the number of epochs; of iterations where `n_batches` is None."""
    if estimator.max_epochs != "auto":
        return int(estimator.max_epochs)
    if n_batches is None:
        return MAX_ITERATIONS
    return min(_MAX_EPOCHS, max(_MIN_EPOCHS, math.ceil(_N_STEPS / n_batches)))
