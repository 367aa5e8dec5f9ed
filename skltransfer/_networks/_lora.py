"""Low-rank adapters beside frozen layers, by peft."""

from __future__ import annotations

import torch
from torch import nn

from skltransfer._messages import require
from skltransfer._torch._depth import DepthMap
from skltransfer.backbones._random import seeded


class Adapters:
    """Low-rank changes of the linear and convolutional layers of some stages (Hu et al., 2022).

    Parameters
    ----------
    features : FeatureNetwork
        Gets the adapters; `merge` adds them to its weights and leaves it as it was made.
    depth : DepthMap
    first_stage : int
        The shallowest stage that gets adapters.
    rank : int
    alpha : float
        The change is scaled by ``alpha / rank``.
    seed : int
    """

    def __init__(self, features, depth: DepthMap, first_stage: int, rank, alpha, seed: int):
        peft = require("peft", "lora", "strategy='lora'")
        self._trunk = features.trunk
        names = [
            name
            for name, part in self._trunk.named_modules()
            if _takes_adapter(part)
            and depth.stage_of(name) >= first_stage
            and not _is_inside_attention(self._trunk, name)
        ]
        if not names:
            raise ValueError(
                "strategy='lora' found no linear or convolutional layer in the stages to train. "
                "Raise unfreeze, or choose strategy='finetune'."
            )
        dtype = next(self._trunk.parameters()).dtype
        device = next(self._trunk.parameters()).device
        config = peft.LoraConfig(
            r=rank, lora_alpha=alpha, target_modules=names, lora_dropout=0.0, bias="none"
        )
        self._trunk.requires_grad_(False)
        with seeded(seed):
            peft.inject_adapter_in_model(config, self._trunk)
        self.names = names
        self.parameters: list[nn.Parameter] = []
        self.stage_of: list[int] = []
        for name, parameter in self._trunk.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.to(device=device, dtype=dtype)
                parameter.requires_grad_(True)
                self.parameters.append(parameter)
                self.stage_of.append(depth.stage_of(name.partition(".lora_")[0]))

    def add(self) -> None:
        """Add the changes to the weights of the plain layers."""
        layers = [self._trunk.get_submodule(name) for name in self.names]
        self._plain = [layer.get_base_layer().weight.detach().clone() for layer in layers]
        for layer in layers:
            layer.merge()

    @torch.no_grad()
    def subtract(self) -> None:
        """Take the changes out of the weights again, bit for bit."""
        for name, plain in zip(self.names, self._plain, strict=True):
            layer = self._trunk.get_submodule(name)
            layer.unmerge()
            layer.get_base_layer().weight.copy_(plain)
        self._plain = None

    def merge(self) -> None:
        """Add the changes to the weights, and put the plain layers back."""
        self.add()
        self._plain = None
        for name in self.names:
            parent = self._trunk.get_submodule(name.rpartition(".")[0])
            base = self._trunk.get_submodule(name).get_base_layer()
            setattr(parent, name.rpartition(".")[2], base)
        if hasattr(self._trunk, "peft_config"):
            del self._trunk.peft_config


def _takes_adapter(part: nn.Module) -> bool:
    if isinstance(part, nn.Conv2d):
        return part.groups == 1
    return type(part) is nn.Linear


def _is_inside_attention(trunk: nn.Module, name: str) -> bool:
    """Tell whether torch's own attention uses the layer's weight without calling the layer."""
    while name:
        name = name.rpartition(".")[0]
        if isinstance(trunk.get_submodule(name), nn.MultiheadAttention):
            return True
    return False
