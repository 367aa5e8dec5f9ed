"""How deep each part of a network lies, and which parts are frozen when."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from skltransfer._torch._extraction import network_lock


@dataclass(frozen=True)
class DepthMap:
    """The stages of a network that have parameters, shallow to deep.

    Parameters
    ----------
    stages : tuple of str
        Their names.
    parts : dict of str to int
        The stage of each submodule that was run, by its name.
    unused : tuple of str
        Parameters that features do not depend on, such as the old output layer's. They
        belong to no stage.
    """

    stages: tuple[str, ...]
    parts: dict[str, int]
    unused: tuple[str, ...] = ()

    def stage_of(self, part: str) -> int:
        """Return the stage of a submodule, or of its parent if it is never called."""
        while part not in self.parts and part:
            part = part.rpartition(".")[0]
        return self.parts.get(part, 0)

    def parameters(self, module: nn.Module) -> list[list[nn.Parameter]]:
        """Return the parameters of each stage that are used, shallow to deep, each once."""
        by_stage, seen = [[] for _ in self.stages], set()
        for name, parameter in module.named_parameters():
            if id(parameter) not in seen and name not in self.unused:
                seen.add(id(parameter))
                by_stage[self.stage_of(name.rpartition(".")[0])].append(parameter)
        return by_stage


def map_depth(module: nn.Module, stages: tuple[str, ...], x: torch.Tensor, used=None) -> DepthMap:
    """Run a network once and note which parts come before the end of which stage.

    A part belongs to the first stage that has not ended when the part is first called: that holds
    for any network, whatever it calls its layers.

    Parameters
    ----------
    module : Module
        In evaluation mode; its tensors do not change.
    stages : tuple of str
        Names of submodules, shallow to deep; other names are taken to come last.
    x : Tensor
        A row or more that it can take.
    used : iterable of Parameter, optional
        Those that features depend on; ``None``: all of them.
    """
    used = None if used is None else {id(parameter) for parameter in used}
    unused = tuple(
        name for name, p in module.named_parameters() if used is not None and id(p) not in used
    )
    parts = dict(module.named_modules())
    named = [name for name in stages if name in parts]
    first_call: dict[str, int] = {}
    n_ended = 0

    def start(name, _module, _inputs):
        first_call.setdefault(name, n_ended)

    def end(number, _module, _inputs, _output):
        nonlocal n_ended
        n_ended = max(n_ended, number + 1)

    with ExitStack() as hooks, network_lock, torch.no_grad():
        for name, part in parts.items():
            hooks.enter_context(part.register_forward_pre_hook(partial(start, name)))
        for i, name in enumerate(named):
            hooks.enter_context(parts[name].register_forward_hook(partial(end, i)))
        module(x)
    names = [*named, *(name for name in stages if name not in parts)] or ["network"]
    last = len(names) - 1
    depth = DepthMap(tuple(names), {name: min(i, last) for name, i in first_call.items()}, unused)
    return _without_empty_stages(depth, module)


def _without_empty_stages(depth: DepthMap, module: nn.Module) -> DepthMap:
    """Leave out the stages without parameters.

    A stage of norms alone, such as the last one of a transformer, joins the stage before it.
    """
    by_stage = depth.parameters(module)
    number_of, stages = [], []
    for name, parameters in zip(depth.stages, by_stage, strict=True):
        has_layers = any(parameter.ndim > 1 for parameter in parameters)
        if has_layers or (parameters and not stages):
            stages.append(name)
        number_of.append(max(0, len(stages) - 1))
    return DepthMap(
        tuple(stages) or depth.stages[-1:],
        {name: number_of[i] for name, i in depth.parts.items()},
        depth.unused,
    )


class Freezing:
    """Schedule of the stages that are trained; the others do not change, buffers included.

    Parameters
    ----------
    features : Module
        Module that gives features: `backbone` itself, or a module made of its parts.
    backbone : Module
        The network whose parts `depth` names.
    depth : DepthMap
    n_trained : int
        Number of stages, from the deepest, that are trained in the end.
    epochs_per_stage : int, default=0
        Unfreeze one more stage every so many epochs, beginning with none; 0: all from the start.
    kept : tuple of str, default=()
        Names of the norms whose running statistics stay as they are wherever they lie; their
        parameters are trained with their stage.
    """

    def __init__(
        self,
        features: nn.Module,
        backbone: nn.Module,
        depth: DepthMap,
        n_trained: int,
        epochs_per_stage: int = 0,
        kept: tuple[str, ...] = (),
    ):
        self._features = features
        self.depth, self.n_trained = depth, n_trained
        self.epochs_per_stage = epochs_per_stage
        self.n_done = 0  # epochs before the first
        self._parameters = depth.parameters(backbone)
        self._parts = []
        if self.first_trained(0) > 0:  # a part is frozen as a whole only if its deepest piece is
            self._parts = [
                (part, max(depth.stage_of(name) for name in _owners(name, part)))
                for name, part in backbone.named_modules()
            ]
        self._kept = list(map(backbone.get_submodule, kept))

    def first_trained(self, epoch: int) -> int:
        """Return the number of the shallowest stage that is trained in an epoch."""
        n_trained = self.n_trained
        if self.epochs_per_stage:
            n_trained = min(n_trained, (self.n_done + epoch) // self.epochs_per_stage)
        return len(self.depth.stages) - n_trained

    def exempt(self, parameters: list[nn.Parameter]) -> None:
        """Leave parameters alone that are trained in stages that are frozen: adapters."""
        exempted = {id(parameter) for parameter in parameters}
        self._parameters = [
            [parameter for parameter in stage if id(parameter) not in exempted]
            for stage in self._parameters
        ]

    def apply(self, module: nn.Module, epoch: int) -> None:
        """Put `module` into training mode and its frozen parts back into evaluation mode."""
        first = self.first_trained(epoch)
        module.train()
        for part, deepest in self._parts:
            if deepest < first:
                part.eval()
        for part in self._kept:
            part.eval()
        if first == len(self.depth.stages):
            self._features.eval()
        for stage, parameters in enumerate(self._parameters):
            for parameter in parameters:
                parameter.requires_grad_(stage >= first)


def _owners(name: str, part: nn.Module) -> list[str]:
    """Return the names of the submodules that own tensors, or the part's own name."""
    owners = [
        f"{name}.{inner}".strip(".")
        for inner, piece in part.named_modules()
        if next(piece.parameters(recurse=False), None) is not None
        or next(piece.buffers(recurse=False), None) is not None
    ]
    return owners or [name]


def norms_that_keep(module: nn.Module, norm_statistics: str) -> tuple[str, ...]:
    """Return the names of the batch norms that keep the source's running statistics.

    Parameters
    ----------
    module : Module
        The source.
    norm_statistics : {"auto", "keep", "learn"}
        "auto" leaves out those whose statistics are still the 0 and 1 that they were made with, as
        in a network with random weights.
    """
    if norm_statistics == "learn":
        return ()
    learned = norm_statistics == "auto"
    return tuple(
        name
        for name, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm)
        and part.running_mean is not None
        and not (learned and (part.running_mean == 0).all() and (part.running_var == 1).all())
    )
