"""Build, and share within the process, what takes features from a backbone."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import nn

from skltransfer._messages import ArgumentError, explained, near_names
from skltransfer._shared_cache import SharedCache
from skltransfer._torch._extraction import (
    PRECISIONS,
    Extractor,
    FeatureNetwork,
    is_convolutional,
    is_faster_by_pixel,
    lay_out_weights,
    network_lock,
    resolve_device,
)
from skltransfer._torch._pooling import OWN, POOLINGS
from skltransfer._torch._text import TEXT_POOLINGS, TextPreprocessing
from skltransfer.backbones._record import Backbone

ALL_STAGES = "all_stages"
# Building an extractor traces a network.
_built, _moved = SharedCache(16, network_lock), SharedCache(8, network_lock)


def _module_on(backbone: Backbone, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Return the frozen module on a device: itself, or a copy that all extractors share.

    A copy on the same device shares all tensors but the weights of convolutions, which it holds in
    the order of the images (see :meth:`FeatureNetwork.run`).
    """
    module = backbone.module
    tensors = [tensor for tensor in module.parameters() if tensor.is_floating_point()]
    is_there = all(tensor.device == device and tensor.dtype == dtype for tensor in tensors)
    by_pixel = is_faster_by_pixel(device, dtype) and is_convolutional(module)
    if is_there and not by_pixel:
        return module

    def move():
        shared = [*module.parameters(), *module.buffers()] if is_there else []
        moved = copy.deepcopy(module, {id(tensor): tensor for tensor in shared}).eval()
        if not is_there:
            moved = moved.to(device=device, dtype=dtype)
        if by_pixel:
            lay_out_weights(moved, torch.channels_last)
        return moved

    return _moved.get((backbone.fingerprint, str(device), dtype), move)


def resolve_layers(backbone: Backbone, layers) -> dict[str, str]:
    """Return layers by their name for the user, each with its name inside the module.

    ``None`` stands for the record's layers; if there are none, for the network's output.
    ``"all_stages"`` are the record's stages without ``penultimate``.
    """
    if layers is None:
        names = backbone.layers
    elif not isinstance(layers, Iterable):
        raise TypeError(f"layers={layers!r} is neither the name of a layer nor a list of names.")
    else:
        names = (layers,) if isinstance(layers, str) else tuple(layers)
        if not names:
            raise ValueError("layers is empty. Name at least one layer, or pass None.")
        if names == (ALL_STAGES,):
            names = _all_stages(backbone)
    known = set(backbone.stages)
    if not known.issuperset(names):  # a walk over the parts takes as long as a small network
        known.update(name for name, _ in backbone.module.named_modules() if name)
    for name in names:
        if name not in known:
            stages = ", ".join(backbone.stages) or "none"
            raise ArgumentError(
                ("layers", layers),
                f": {backbone.name!r} has no layer {name!r}."
                f"{near_names(str(name), {*known, ALL_STAGES})} Its stages are: {stages}.",
            )
    if names and takes_text(backbone):
        raise ArgumentError(
            ("layers", layers),
            f", but {backbone.name!r} is a text encoder, which gives features of its last layer "
            "only. Pass ",
            ("layers", None),
            ".",
        )
    if len(set(names)) != len(names):
        raise ArgumentError(("layers", layers), " names a layer twice.")
    return {name: backbone.aliases.get(name, name) for name in names}


def _all_stages(backbone: Backbone) -> tuple[str, ...]:
    names = tuple(name for name in backbone.stages if name not in backbone.aliases)
    if not names:
        raise ArgumentError(
            ("layers", ALL_STAGES),
            f", but {backbone.name!r} has no stages. Name its layers, or pass ",
            ("layers", None),
            ".",
        )
    return names


def takes_text(backbone: Backbone) -> bool:
    """Tell whether a network takes texts."""
    return isinstance(backbone.preprocessing, TextPreprocessing)


def resolve_pooling(backbone: Backbone, pooling: str) -> str:
    """Return a pooling; "default" stands for the record's pooling."""
    if pooling == "default":
        return backbone.pooling
    if pooling == OWN and backbone.pooling == OWN:
        return OWN
    if takes_text(backbone) and pooling not in TEXT_POOLINGS:
        raise ArgumentError(
            ("pooling", pooling),
            f", but {backbone.name!r} is a text encoder. Pass 'default' or one of "
            f"{', '.join(TEXT_POOLINGS)}.",
        )
    if pooling not in POOLINGS:
        allowed = f"'default' or one of {', '.join(POOLINGS)}"
        raise ArgumentError(("pooling", pooling), f" is not {allowed}.")
    return pooling


def extractor(
    backbone: Backbone, *, layers=None, pooling="default", input_size=None, device="auto", precision
) -> Extractor:
    """Return an extractor, the same for the same arguments while it is among the 16 used last."""
    nodes = resolve_layers(backbone, layers)
    pooling = resolve_pooling(backbone, pooling)
    device = resolve_device(device)
    preprocessing = backbone.preprocessing
    if input_size is not None:
        if preprocessing is None:
            raise ArgumentError(
                ("input_size", input_size),
                f", but {backbone.name!r} has no preprocessing to change. Resize the images, or "
                "pass a Backbone record with a Preprocessing.",
            )
        if takes_text(backbone):
            raise ArgumentError(
                ("input_size", input_size),
                f" is a size of images, but {backbone.name!r} takes texts. Pass ",
                ("input_size", None),
                ".",
            )
        preprocessing = preprocessing.with_input_size(input_size)
    made_of = (nodes, pooling, backbone.channels_last, backbone.prefix_tokens)
    key = repr((backbone.fingerprint, made_of, preprocessing, str(device), precision))

    def build():
        module = _module_on(backbone, device, PRECISIONS[precision])
        with explained(
            f"The layers {list(nodes)} of {backbone.name!r} cannot be reached: torch.fx cannot "
            "trace its forward",
            "Pass a module whose forward returns the features, and layers=None.",
        ):
            network = FeatureNetwork(module, *made_of)
        return Extractor(network, preprocessing, device, precision, key)

    return _built.get(key, build)
