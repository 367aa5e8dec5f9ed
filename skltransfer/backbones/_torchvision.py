"""Networks of torchvision by name, with its weights, a local file's, or random ones."""

from __future__ import annotations

import re
import warnings
from contextlib import ExitStack
from pathlib import Path
from pickle import UnpicklingError
from urllib.error import URLError

import torch
import torchvision
from torch import nn
from torchvision.models import (
    SqueezeNet,
    SwinTransformer,
    VisionTransformer,
    get_model,
    get_model_weights,
    list_models,
)
from torchvision.models._api import WeightsEnum
from torchvision.models.feature_extraction import NodePathTracer

from skltransfer._messages import ArgumentError, NotDownloaded, first_line
from skltransfer._torch._extraction import network_lock
from skltransfer._torch._preprocessing import Preprocessing
from skltransfer.backbones._packaged import WITHOUT_CONNECTION
from skltransfer.backbones._random import seeded
from skltransfer.backbones._record import Backbone
from skltransfer.backbones._state import load_state
from skltransfer.backbones._weight_files import given_state, is_default

PENULTIMATE = "penultimate"
_AUXILIARY = ("AuxLogits", "aux1", "aux2")
_HEADS = ("classifier", "fc", "head", "heads", *_AUXILIARY)


def torchvision_names() -> list[str]:
    """Return the names of torchvision's classification networks."""
    return list_models(module=torchvision.models)


def load_torchvision(name: str, weights, random_state: int) -> Backbone:
    """Build the network `name`; see :func:`~skltransfer.backbones.load_backbone`."""
    preset = _resolve_weights(name, weights)
    state = given_state(weights, name) if preset is None else _download(name, preset)
    described_by = preset or get_model_weights(name).DEFAULT
    preprocessing = Preprocessing.from_torchvision(described_by.transforms())
    module = _build(name, preprocessing, state, random_state, None if preset else weights)
    module.eval().requires_grad_(False)
    head, node, _ = _penultimate(module)
    return _record(name, module, preprocessing, head, node)


def is_torchvision(module: nn.Module) -> bool:
    """Tell whether a network is one of torchvision's classification networks."""
    return any(
        kind.__module__.startswith("torchvision.models.")
        and kind.__module__.count(".") == 2  # not of detection, segmentation or video
        for kind in type(module).__mro__
    )


def describe_torchvision(name: str, module: nn.Module, preprocessing=None) -> Backbone:
    """Return the record of a network of torchvision that a user holds.

    Its features are what enters the last linear layer, where its output is that layer's; a network
    whose output layer has been taken away gives its output.
    """
    plain = Backbone(
        name, module, preprocessing, stages=tuple(name for name, _ in module.named_children())
    )
    try:
        head, node, is_output = _penultimate(module)
        if not is_output and not isinstance(module, SqueezeNet):
            return plain
        return _record(name, module, preprocessing, head if is_output else None, node)
    except Exception:  # changed so that torch.fx, or an image of the usual size, cannot pass
        return plain


def output_layers(module: nn.Module) -> list[str]:
    """Return the names of the layers of a network of torchvision that features do not need."""
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    if isinstance(module, SqueezeNet):
        linear = ["classifier.1"]
    return [*linear[-1:], *_AUXILIARY]


def _record(name: str, module: nn.Module, preprocessing, head, node: str | None) -> Backbone:
    first = next(part for part in module.modules() if isinstance(part, nn.Conv2d))
    size = preprocessing.crop_size if preprocessing else getattr(module, "image_size", 224)
    stages = _stages(module, first.in_channels, size)
    return Backbone(
        name,
        module,
        preprocessing,
        stages=(*stages, PENULTIMATE) if node else stages,
        layers=(PENULTIMATE,) if node else stages[-1:],
        pooling="avg",
        n_features=head.in_features if head is not None else None,
        channels_last=isinstance(module, SwinTransformer),
        aliases={PENULTIMATE: node} if node else {},
        prefix_tokens=("cls",) if isinstance(module, VisionTransformer) else None,
    )


def _resolve_weights(name: str, weights) -> WeightsEnum | None:
    """Return the member of torchvision's weights enum that is meant; None for a file or None."""
    known = get_model_weights(name)
    if weights is None:
        return None
    if isinstance(weights, WeightsEnum):
        if not isinstance(weights, known):
            raise ArgumentError(
                ("weights", weights), f" are not weights of {name!r}: {_names(known)}."
            )
        return weights
    if isinstance(weights, Path):
        return None
    if not isinstance(weights, str):
        raise TypeError(
            f"weights={weights!r} is a {type(weights).__name__}. Pass 'default', one of "
            f"{_names(known)}, the path of a file, or None for random weights."
        )
    if is_default(weights):
        return known.DEFAULT
    short = weights.removeprefix(f"{known.__name__}.")
    if short in known.__members__:
        return known[short]
    if Path(weights).suffix or "/" in weights or Path(weights).is_file():
        return None
    raise ArgumentError(
        ("weights", weights),
        f" is neither a file nor weights of {name!r}: {_names(known)}. Pass one of them, ",
        ("weights", "default"),
        ", or ",
        ("weights", None),
        " for random ones.",
    )


def _names(known) -> str:
    return ", ".join(repr(member.name) for member in known) or "none"


def _download(name: str, weights: WeightsEnum) -> dict[str, torch.Tensor]:
    directory = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        # torchvision itself would unpickle the file.
        return torch.hub.load_state_dict_from_url(
            weights.url, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise NotDownloaded(
            f"The weights of {name!r} cannot be downloaded from {weights.url} ({reason}). Pass ",
            ("weights", "PATH"),
            f" with a .safetensors or .pth file of them, put that file into {directory}, ",
            *WITHOUT_CONNECTION,
            ", or ",
            ("weights", None),
            " for random weights.",
        ) from error
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"The download of {weights.url} is damaged, or holds something else than tensors "
            f"({first_line(error)}). Delete it from {directory} and try again."
        ) from error


def _build(name, preprocessing, state, random_state, path) -> nn.Module:
    settings = {}
    if name.startswith("vit_"):
        settings["image_size"] = preprocessing.crop_size
    if name in ("inception_v3", "googlenet"):
        # Their published weights expect the input normalised once more.
        settings |= {"transform_input": state is not None, "init_weights": state is None}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the coming default of init_weights
        with seeded(random_state):
            module = get_model(name, weights=None, **settings)
            if state is None:
                return module
            n_classes = _n_classes(module, state)
            if n_classes is not None:
                module = get_model(name, weights=None, num_classes=n_classes, **settings)
    if name.startswith("densenet"):  # names of torch 0.3 in the published file
        old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")
        state = {old.sub(r"\1\2.", key): value for key, value in state.items()}
    load_state(module, state, name, path, unused=output_layers(module))
    return module


def _n_classes(module: nn.Module, state) -> int | None:
    """Return the number of classes in the file where it differs from ImageNet's."""
    name = next(
        (n for n, part in reversed(list(module.named_modules())) if isinstance(part, nn.Linear)), ""
    )
    keys = (key for key in state if f".{key}".endswith(f".{name}.weight"))
    weight = state.get(next(keys, ""))
    if weight is None or len(weight) == module.get_submodule(name).out_features:
        return None
    return len(weight)


def _penultimate(module: nn.Module):
    """Find the last linear layer, the graph node that enters it, and if its output is the last."""
    tracer = NodePathTracer()
    with network_lock:
        graph = tracer.trace(module)
    for node in reversed(graph.nodes):
        if node.op == "call_module" and isinstance(module.get_submodule(node.target), nn.Linear):
            last = next(n for n in reversed(graph.nodes) if n.op == "output").args[0]
            name = tracer.node_to_qualname[node.args[0]]
            return module.get_submodule(node.target), name, last is node
    return None, None, False


def _stages(module: nn.Module, n_channels: int, size: int) -> tuple[str, ...]:
    """Find the last block at each resolution, or each block of a transformer."""
    encoder = getattr(module, "encoder", None)
    if isinstance(getattr(encoder, "layers", None), nn.Sequential):
        return tuple(f"encoder.layers.{name}" for name, _ in encoder.layers.named_children())
    candidates = {}
    for name, child in module.named_children():
        if name in _HEADS or isinstance(child, nn.AdaptiveAvgPool2d):
            continue
        if isinstance(child, nn.Sequential | nn.ModuleList):
            candidates |= {f"{name}.{inner}": part for inner, part in child.named_children()}
        candidates[name] = child
    last_at: dict[tuple[int, ...], str] = {}

    def note(name):
        def hook(_module, _inputs, output):
            if isinstance(output, torch.Tensor) and output.ndim == 4:
                channels_last = output.shape[1] == output.shape[2] != output.shape[3]
                last_at[output.shape[1:3] if channels_last else output.shape[2:]] = name

        return hook

    with ExitStack() as hooks, network_lock, torch.inference_mode():
        for name, part in candidates.items():
            hooks.enter_context(part.register_forward_hook(note(name)))
        module(torch.zeros(1, n_channels, size, size))
    return tuple(name for sides, name in last_at.items() if sides != (1, 1))
