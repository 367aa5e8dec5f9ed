"""Optimisers, and the learning rate over time."""

from __future__ import annotations

import math

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

SCHEDULES = ("cosine", "constant", "plateau")
OPTIMIZERS = ("adamw", "sgd", "lbfgs")


def make_optimizer(name: str, groups: list[dict], momentum: float) -> torch.optim.Optimizer:
    """Return AdamW or SGD over `groups`.

    Parameters
    ----------
    name : {"adamw", "sgd"}
    groups : list of dict
        With ``params``, ``lr`` and ``weight_decay``.
    momentum : float
        Of SGD (Nesterov's form); AdamW keeps its own constants.
    """
    # One kernel for all tensors: several times faster than the default on small networks.
    parameters = [parameter for group in groups for parameter in group["params"]]
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    if name == "adamw":
        return torch.optim.AdamW(groups, fused=fused)
    optimizer = torch.optim.SGD(groups, momentum=momentum, nesterov=momentum > 0, fused=fused)
    if momentum > 0:
        # The fused kernel takes no mixture of parameters with and without a momentum, which
        # gradual unfreezing brings. A momentum of zero is what the first gradient replaces.
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


class Schedule:
    """The learning rate of every group over time, relative to the one it starts from.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
    kind : {"cosine", "constant", "plateau"}
        To zero along half a cosine; constant; or a tenth of it whenever the validation loss (the
        training loss without one) has not improved for 3 epochs.
    n_steps : int
        Steps of the whole training.
    warmup : float
        Part of the steps in which the rate rises from zero, in a line.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, kind: str, n_steps: int, warmup: float):
        self.optimizer, self.kind = optimizer, kind
        self.n_steps, self.n_warmup = n_steps, math.ceil(warmup * n_steps)
        self.step_number = 0
        self._initial = [group["lr"] for group in optimizer.param_groups]
        self._plateau = (
            ReduceLROnPlateau(optimizer, factor=0.1, patience=3) if kind == "plateau" else None
        )
        self._varies = kind == "cosine" or self.n_warmup > 0

    def before_step(self) -> None:
        """Set the rates of the next step."""
        if not self._varies:
            return
        done, self.step_number = self.step_number, self.step_number + 1
        if done < self.n_warmup:
            factor = (done + 1) / self.n_warmup
        elif self.kind == "cosine":
            progress = (done - self.n_warmup) / max(1, self.n_steps - self.n_warmup)
            factor = 0.5 * (1 + math.cos(math.pi * progress))
        elif done == self.n_warmup:
            factor = 1.0
        else:  # constant, or left to the plateau
            return
        for group, initial in zip(self.optimizer.param_groups, self._initial, strict=True):
            group["lr"] = initial * factor

    def after_epoch(self, loss: float) -> None:
        """Take note of an epoch's loss."""
        if self._plateau is not None and self.step_number >= self.n_warmup:
            self._plateau.step(loss)

    def state_dict(self) -> dict:
        """Return what a later process needs to go on."""
        plateau = None if self._plateau is None else self._plateau.state_dict()
        return {"step_number": self.step_number, "plateau": plateau}

    def load_state_dict(self, state: dict) -> None:
        """Go on where another schedule stopped."""
        self.step_number = state["step_number"]
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])
