"""In which numbers a network is trained."""

from __future__ import annotations

from typing import NamedTuple

import torch

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Arithmetic(NamedTuple):
    """What ``precision`` stands for.

    Parameters
    ----------
    precision : {"float32", "float64"}
        Of the weights.
    dtype : torch.dtype
        The same, as torch has it.
    autocast : torch.dtype or None
        Of products in mixed precision.
    """

    precision: str
    dtype: torch.dtype
    autocast: torch.dtype | None


def arithmetic(precision: str, is_table: bool, device: torch.device) -> Arithmetic:
    """Return what to train in: by "auto", float64 for tables on the CPU, else float32."""
    if precision == "auto":
        precision = "float64" if is_table and device.type == "cpu" else "float32"
    of_weights = "float64" if precision == "float64" else "float32"
    return Arithmetic(of_weights, getattr(torch, of_weights), _AUTOCAST.get(precision))
