"""Networks of timm as data: their names and tensors."""

from __future__ import annotations

from torch import nn

from skltransfer.backbones._random import seeded
from skltransfer.backbones._timm import import_timm


def describe_timm(module: nn.Module) -> dict:
    """Return what timm builds the network from."""
    settings = module.pretrained_cfg
    tag = settings.get("tag")
    return {
        "name": settings["architecture"] + (f".{tag}" if tag else ""),
        "n_classes": module.num_classes,
    }


def build_timm(description: dict) -> nn.Module:
    """Build the network with random weights; nothing is downloaded, whatever its name is."""
    name = description["name"]
    timm = import_timm(f"timm:{name}")
    if not isinstance(name, str) or ":" in name or "/" in name or not timm.is_model(name):
        raise ValueError(f"timm {timm.__version__} has no network {name!r}")
    with seeded(0):
        module = timm.create_model(name, pretrained=False, num_classes=description["n_classes"])
    return module.eval()
