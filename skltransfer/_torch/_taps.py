"""The outputs of layers inside a network, on the way to its own."""

from __future__ import annotations

import copy
from contextlib import ExitStack, suppress

import torch
from torch import nn
from torchvision.models.feature_extraction import DualGraphModule, create_feature_extractor

# Their forward passes depend on shapes and settings in ways that torch.fx cannot follow.
_NOT_TRACED = ("timm.", "transformers.")


class _AllSeen(Exception):
    """Ends a pass once the last layer that is asked for has been run."""


class TracedLayers(DualGraphModule):
    """The graphs of a network up to some of its layers, one for training and one for evaluation.

    Both are compiled once. The class of torchvision compiles anew whenever the mode changes, which
    takes as long as a step of a small network.

    Parameters
    ----------
    root : Module
        Network whose parts are called.
    train_graph, eval_graph : Graph
    class_name : str, default="TracedLayers"
    """

    def __init__(self, root, train_graph, eval_graph, class_name="TracedLayers"):
        super().__init__(root, train_graph, eval_graph, class_name)
        # Every instance of a graph has a class of its own.
        compiled = {True: type(self).forward}
        self.graph = eval_graph
        compiled[False] = type(self).forward
        self._compiled = compiled
        self.train()

    def train(self, mode: bool = True):
        """Set the mode, and the graph that is run."""
        if "_compiled" in vars(self):
            type(self).forward = self._compiled[mode]
        return nn.Module.train(self, mode)


class HookedLayers(nn.Module):
    """A network up to some of its submodules, whatever its code is.

    Hooks are there during a pass only, so that the network stays as it is.

    Parameters
    ----------
    module : Module
    nodes : list of str
        Names of submodules. If one is run several times, its first output is taken.
    """

    def __init__(self, module: nn.Module, nodes: list[str]):
        super().__init__()
        self.module, self.nodes = module, nodes

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the output of each layer by its name."""
        outputs: dict[str, torch.Tensor] = {}

        def hook_of(node):
            def hook(_module, _inputs, output):
                if node not in outputs:
                    output = output[0] if isinstance(output, tuple) else output
                    output = getattr(output, "last_hidden_state", output)
                    # The next layer may work in place.
                    outputs[node] = output.clone() if isinstance(output, torch.Tensor) else output
                # An export has no way to stop.
                if len(outputs) == len(self.nodes) and not torch.compiler.is_exporting():
                    raise _AllSeen

            return hook

        with ExitStack() as hooks, suppress(_AllSeen):
            for node in self.nodes:
                part = self.module.get_submodule(node)
                hooks.enter_context(part.register_forward_hook(hook_of(node)))
            self.module(x)
        for node in self.nodes:
            if node not in outputs:
                raise ValueError(
                    f"The layer {node!r} is not run in a forward pass. Name another layer, or the "
                    "part that contains it."
                )
        return outputs


class Unpooled(nn.Module):
    """A network of timm up to its last tokens or feature maps, without its head.

    Parameters
    ----------
    module : Module
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, tokens, n_features) or feature maps."""
        return self.module.forward_features(x)


def is_timm(module: nn.Module) -> bool:
    """Tell whether a network is one of timm's."""
    return type(module).__module__.startswith("timm.") and hasattr(module, "forward_features")


def tapped(module: nn.Module, nodes: list[str], twin: nn.Module | None = None) -> nn.Module:
    """Return what gives the outputs of layers by their names: a graph if that can be traced.

    Parameters
    ----------
    module : Module
    nodes : list of str
    twin : Module, optional
        The same of a copy of the module, whose graphs are taken over.
    """
    if isinstance(twin, TracedLayers):
        return TracedLayers(module, *map(copy.deepcopy, (twin.train_graph, twin.eval_graph)))
    parts = dict(module.named_modules())
    can_hook = all(node in parts for node in nodes)
    if can_hook and any(type(p).__module__.startswith(_NOT_TRACED) for p in parts.values()):
        return HookedLayers(module, nodes)
    try:
        traced = create_feature_extractor(
            module, {node: node for node in nodes}, suppress_diff_warning=True
        )
        return TracedLayers(module, traced.train_graph, traced.eval_graph)
    except Exception:  # torch.fx raises many kinds
        if not can_hook:
            raise
        return HookedLayers(module, nodes)
