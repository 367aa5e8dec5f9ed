"""Image networks of timm by name, with its weights, a local file's, or random ones."""

from __future__ import annotations

import math
import warnings

from torch import nn

from skltransfer._messages import (
    ArgumentError,
    NotDownloaded,
    first_line,
    how_to_install,
    near_names,
    require,
)
from skltransfer._torch._pooling import OWN
from skltransfer._torch._preprocessing import Preprocessing
from skltransfer.backbones._packaged import (
    EFFICIENTNET_LITE0,
    EXTRA,
    WITHOUT_CONNECTION,
    packaged_path,
)
from skltransfer.backbones._random import seeded
from skltransfer.backbones._record import Backbone, UnknownBackbone
from skltransfer.backbones._state import load_state
from skltransfer.backbones._weight_files import given_state, is_default, read_state

TIMM = "timm:"


def timm_names() -> list[str]:
    """Return the names of timm's networks with their prefix; none if it is not installed."""
    try:
        timm = import_timm("")
    except ImportError:
        return []
    return [f"{TIMM}{name}" for name in timm.list_models()]


def load_timm(name: str, weights, random_state: int) -> Backbone:
    """Build the network `name`; see :func:`~skltransfer.backbones.load_backbone`."""
    timm = import_timm(name)
    spec = name.removeprefix(TIMM)
    _check_name(timm, name, spec)
    try:
        state = given_state(weights, name)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error} Published weights of timm are named in the backbone, such as "
            "'timm:resnet18.a1_in1k'."
        ) from error
    with warnings.catch_warnings(), seeded(random_state):
        warnings.simplefilter("ignore")
        if is_default(weights):
            module = _download(timm, name, spec)
        else:
            # Without its last layer, which features do not need.
            module = timm.create_model(spec, pretrained=False, num_classes=0)
    if state is not None:
        load_state(module, state, name, weights, unused=output_layers(module))
    module.eval().requires_grad_(False)
    return _record(name, module, _preprocessing(timm, name, module))


def load_efficientnet_lite0(weights, random_state: int) -> Backbone:
    """Build timm's EfficientNet-Lite0, by default with the weights of a package of their own."""
    name = EFFICIENTNET_LITE0
    timm = import_timm(name, EXTRA)
    path = packaged_path(name) if is_default(weights) else weights
    state = read_state(path, name) if is_default(weights) else given_state(weights, name)
    with seeded(random_state):
        module = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    if state is not None:
        state = _with_names_of_timm(state, module, path)
        load_state(module, state, name, path, unused=output_layers(module))
    module.eval().requires_grad_(False)
    return _record(name, module, _preprocessing(timm, name, module))


def _with_names_of_timm(state: dict, module: nn.Module, source) -> dict:
    """Return the package's tensors by timm's names; both list their layers from input to output.

    A file of other names is returned as it is.
    """
    if "_conv_stem.weight" not in state:
        return state
    # The output layer comes last, and `module` has none.
    named = zip(module.state_dict().items(), state.items(), strict=False)
    for (name, own), (given, tensor) in named:
        same_kind = name.rpartition(".")[2] == given.rpartition(".")[2]
        if not same_kind or own.shape != tensor.shape:
            raise ValueError(
                f"The weights of {EFFICIENTNET_LITE0!r} in {source} have the tensor {given} "
                f"{tuple(tensor.shape)} in the place of {name} {tuple(own.shape)}. The tensors "
                f"have to be those of the extra {EXTRA!r}, in its order: {how_to_install(EXTRA)}"
            )
    return dict(zip(module.state_dict(), state.values(), strict=False))


def describe_timm(name: str, module: nn.Module) -> Backbone:
    """Return the record of a network of timm that a user holds, without its output layer."""
    if getattr(module, "num_classes", 0):
        module.reset_classifier(0)
    try:
        preprocessing = _preprocessing(import_timm(""), name, module)
        first = next(part for part in module.modules() if isinstance(part, nn.Conv2d))
        if first.in_channels != len(preprocessing.mean):
            preprocessing = None
    except Exception:  # changed so that its configuration does not say it
        preprocessing = None
    return _record(name, module.eval().requires_grad_(False), preprocessing)


def output_layers(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the layers of a network of timm that features do not need."""
    layers = getattr(module, "pretrained_cfg", {}).get("classifier") or ()
    return (layers,) if isinstance(layers, str) else tuple(layers)


def _record(name: str, module: nn.Module, preprocessing: Preprocessing | None) -> Backbone:
    return Backbone(
        name,
        module,
        preprocessing,
        stages=_stages(module),
        pooling=OWN,
        n_features=getattr(module, "head_hidden_size", None) or module.num_features,
        channels_last=getattr(module, "output_fmt", "NCHW") == "NHWC",
        prefix_tokens=_prefix_tokens(module),
    )


def import_timm(name: str, extra: str = "hub"):
    """Return timm with ``timm.data``; raise an error that says how to install it."""
    require("timm.data", extra, ("backbone", name))
    return require("timm", extra, ("backbone", name))


def _check_name(timm, name: str, spec: str) -> None:
    architecture, _, tag = spec.partition(".")
    if not timm.is_model(architecture):
        known = [f"{TIMM}{known}" for known in timm.list_models()]
        raise UnknownBackbone(
            f"Unknown backbone {name!r}: timm {timm.__version__} has no such network."
            f"{near_names(f'{TIMM}{architecture}', known)}",
            f"{TIMM}*",
        )
    if "." in spec:
        tagged = timm.list_models(f"{architecture}.*", pretrained=True)
        if spec not in tagged:
            raise UnknownBackbone(
                f"Unknown backbone {name!r}: timm has no weights {tag!r} of {architecture!r}. Its "
                f"weights are: {', '.join(f'{TIMM}{known}' for known in tagged) or 'none'}.",
                f"{TIMM}*",
            )


def _download(timm, name: str, spec: str) -> nn.Module:
    ways = (
        "Pass ",
        ("weights", "PATH"),
        " with a .safetensors or .pth file of them, ",
        *WITHOUT_CONNECTION,
        ", or ",
        ("weights", None),
        " for random weights.",
    )
    probe = timm.get_pretrained_cfg(spec)
    if probe is None or not probe.has_weights:
        raise ArgumentError(f"timm has no published weights of {name!r}. ", *ways)
    if probe.custom_load:
        # Files of numpy, or with code of their own: timm's loaders of them are not ours to trust.
        raise ValueError(
            f"The published weights of {name!r} are in a format of their own. Load them by timm "
            "where you trust them, and pass the module as the backbone."
        )
    try:
        if probe.hf_hub_id:  # timm asks a hub that is not there for a minute
            from huggingface_hub import snapshot_download

            snapshot_download(probe.hf_hub_id.partition("@")[0], allow_patterns=[])
        return timm.create_model(spec, pretrained=True, num_classes=0)
    except Exception as error:
        raise NotDownloaded(
            f"The weights of {name!r} are not in the hub's cache and cannot be downloaded "
            f"({first_line(error)}). Connect once, without HF_HUB_OFFLINE. ",
            *ways,
        ) from None  # the errors of several libraries are a long chain


def _preprocessing(timm, name: str, module: nn.Module) -> Preprocessing:
    config = timm.data.resolve_data_config({}, model=module)
    _, height, width = config["input_size"]
    mode = config.get("crop_mode") or "center"
    if height != width or mode not in ("center", "squash"):
        raise ValueError(
            f"The images of {name!r} are resized in a way ({height} x {width} pixels, {mode}) that "
            "a Preprocessing cannot say. Pass a Backbone record of its module with one of your own."
        )
    resize_size = math.floor(height / config["crop_pct"])
    return Preprocessing(
        resize_size if mode == "center" else (resize_size, resize_size),
        height,
        tuple(map(float, config["mean"])),
        tuple(map(float, config["std"])),
        config["interpolation"] if config["interpolation"] != "random" else "bicubic",
    )


def _stages(module: nn.Module) -> tuple[str, ...]:
    """Name the layers that timm lists as features; the children where it lists none."""
    info = getattr(module, "feature_info", None) or ()
    info = getattr(info, "info", info)
    parts = dict(module.named_modules())
    names = [entry.get("module") for entry in info if isinstance(entry, dict)]
    stages = tuple(dict.fromkeys(name for name in names if name in parts))
    return stages or tuple(name for name, _ in module.named_children())


def _prefix_tokens(module: nn.Module) -> tuple[str, ...] | None:
    n_tokens = getattr(module, "num_prefix_tokens", None)
    if n_tokens is None:
        return None
    has_cls = getattr(module, "cls_token", None) is not None
    others = int(n_tokens) - has_cls
    return ("cls",) * has_cls + ("register",) * others
