"""Text and image encoders of transformers, from the hub or from a folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from skltransfer._messages import ArgumentError, NotDownloaded, explained, first_line, require
from skltransfer._torch._extraction import network_lock
from skltransfer._torch._fingerprint import digest_of, fingerprint
from skltransfer._torch._pooling import OWN
from skltransfer._torch._preprocessing import Preprocessing
from skltransfer._torch._text import TextPreprocessing, TokenEncoder
from skltransfer.backbones._packaged import WITHOUT_CONNECTION
from skltransfer.backbones._random import seeded
from skltransfer.backbones._record import Backbone
from skltransfer.backbones._state import load_state
from skltransfer.backbones._two_towers import (
    MODEL_TYPES,
    TOWERS,
    ImageTower,
    is_two_towers,
    split_tower,
    tower_of,
)
from skltransfer.backbones._weight_files import file_stamps, given_state, is_default

PREFIX = "hf:"
# Whatever a folder says, no code in it is run, and nothing else is downloaded.
LOCAL = {"trust_remote_code": False, "local_files_only": True}
# Only settings, tokenizer and tensors of a repository are read, neither code nor pickles.
_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
_MAX_LENGTH = 512
# Names of a class token, in BERT-like and in CLIP-like encoders of images.
_CLASS_TOKENS = ("cls_token", "class_embedding")
# Pillow's numbers, as in preprocessor_config.json. Tensors have no Lanczos: bicubic is closest.
_INTERPOLATIONS = {0: "nearest", 1: "bicubic", 2: "bilinear", 3: "bicubic"}


class ImageEncoder(nn.Module):
    """A network of transformers that takes images: its last tokens or feature maps.

    Parameters
    ----------
    model : Module
        Takes ``pixel_values`` and returns ``last_hidden_state``.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (n, tokens, n_features) or (n, n_features, height, width)."""
        return self.model(pixel_values=x).last_hidden_state


def load_huggingface(name: str, weights, random_state: int) -> Backbone:
    """Build the network `name`; see :func:`~skltransfer.backbones.load_backbone`."""
    transformers = import_transformers(name)
    state = given_state(weights, name)
    network, tower = split_tower(name)
    with _quiet(transformers):
        folder = folder_of(network, weights)
        config = _config(transformers, name, folder)
        if is_two_towers(config):
            tower = tower or TOWERS[0]
        elif tower is not None:
            raise ArgumentError(
                ("backbone", name),
                f": {network!r} is a {config.model_type}, which has no towers of images and texts. "
                "Write ",
                ("backbone", network),
                ".",
            )
        model, missing = _model(transformers, name, folder, config, weights, random_state)
        kind = model.main_input_name
        encoder = model  # the part that the tokens or patches pass
        if tower == "image":
            preprocessing = _image_preprocessing(transformers, name, folder)
            module, pooling = tower_of(model, tower), OWN
            encoder = model.vision_model
        elif tower == "text":
            tokenizer = _tokenizer(transformers, name, folder)
            encoder = model.text_model
            preprocessing = TextPreprocessing(tokenizer, _max_length(encoder, tokenizer))
            module, pooling = tower_of(model, tower, preprocessing.pad_id), OWN
        elif kind == "input_ids":
            tokenizer = _tokenizer(transformers, name, folder)
            preprocessing = TextPreprocessing(tokenizer, _max_length(model, tokenizer))
            module, pooling = TokenEncoder(model), "avg"
        elif kind == "pixel_values":
            preprocessing = _image_preprocessing(transformers, name, folder)
            has_cls = getattr(getattr(model, "embeddings", None), "cls_token", None) is not None
            module, pooling = ImageEncoder(model), "cls" if has_cls else "avg"
        else:
            raise ValueError(
                f"{name!r} takes {kind!r}. Of transformers' networks, encoders of texts and of "
                "images are backbones; build a Backbone record for others."
            )
    unused = _drop_unused(module.eval(), preprocessing)
    _check_complete(name, model, missing)
    if state is not None:
        load_state(model, state, name, weights, unused=unused)
    module.requires_grad_(False)
    return Backbone(
        name,
        module,
        preprocessing,
        stages=_stage_names(model, encoder),
        pooling=pooling,
        n_features=_width(config) if tower is None else _n_outputs(module, preprocessing),
        prefix_tokens=_prefix_tokens(module, encoder, preprocessing),
        # The tokenizer decides the features of a text as much as the weights do.
        fingerprint=digest_of((fingerprint(module), repr(preprocessing))),
    )


def folder_key(name: str) -> tuple | None:
    """Return what stands for a local folder in the cache: its files by name, size and time."""
    folder = Path(split_tower(name)[0].partition(":")[2]).expanduser()
    if not folder.is_dir():
        return None
    return (str(folder.resolve()), file_stamps(*sorted([*folder.iterdir(), *folder.glob("*/*")])))


def text_tower_of(name: str) -> str:
    """Return the name of the text tower of a network that has one; other names as they are."""
    network, _ = split_tower(name)
    transformers = import_transformers(name)
    with _quiet(transformers):
        config = _config(transformers, network, folder_of(network, None))
    return f"{network}#{TOWERS[1]}" if is_two_towers(config) else name


def import_transformers(name: str, extra: str = "hub"):
    """Return transformers; raise an error that says how to install it."""
    return require("transformers", extra, ("backbone", name))


@contextmanager
def _quiet(transformers) -> Iterator[None]:
    """Keep transformers from printing inside the block, and leave its settings as they were."""
    from huggingface_hub import utils

    logging = transformers.utils.logging
    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_has_bars = not utils.are_progress_bars_disabled()
    with warnings.catch_warnings():
        # Also that a variable of the environment decides over the bars.
        warnings.simplefilter("ignore")
        logging.set_verbosity_error()
        logging.disable_progress_bar()  # and the hub's bars
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            if has_bars:
                logging.enable_progress_bar()
            if hub_has_bars:
                utils.enable_progress_bars()
            else:
                utils.disable_progress_bars()


def folder_of(name: str, weights, prefix: str = PREFIX) -> Path:
    """Return a local folder, or the folder in the hub's cache, downloaded if needed."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    spec = name.removeprefix(prefix)
    if not spec.strip():
        raise ArgumentError(
            ("backbone", name), f" names no network: write {prefix}NAME or {prefix}FOLDER."
        )
    local = Path(spec).expanduser()
    if local.is_dir():
        return local
    writer = "save_pretrained" if prefix == PREFIX else "SentenceTransformer.save"
    ways = (
        "Pass a folder that holds it (",
        ("backbone", f"{prefix}/path/to/folder"),
        f", written by {writer}), or ",
        *WITHOUT_CONNECTION,
        ".",
    )
    if spec.startswith((".", "/", "~")):
        raise ArgumentError(("backbone", name), f": there is no folder {str(local)!r}. ", *ways)
    patterns = [p for p in _FILES if is_default(weights) or p != "*.safetensors"]
    try:
        if prefix != PREFIX:  # its modules have folders of their own
            spec = spec if "/" in spec else f"sentence-transformers/{spec}"
            ignored = ["onnx/*", "openvino/*"]
        else:
            ignored = "*/*"
        return Path(snapshot_download(spec, allow_patterns=patterns, ignore_patterns=ignored))
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise ArgumentError(
            ("backbone", name),
            f": the hub has no public repository {spec!r}, and there is no such folder "
            f"({first_line(error)}). ",
            *ways,
        ) from None
    except Exception as error:  # several libraries of connections, each with its own kinds
        raise NotDownloaded(
            f"{name!r} is not in the hub's cache and cannot be downloaded ({first_line(error)}). "
            "Connect once, without HF_HUB_OFFLINE. ",
            *ways,
        ) from None  # their own errors are long chains


def _config(transformers, name: str, folder: Path):
    version = transformers.__version__
    with explained(
        f"{name!r} has no config.json of a network that transformers {version} knows",
        "Code in a repository is never run. Build the module yourself and pass it.",
    ):
        config = transformers.AutoConfig.from_pretrained(folder, **LOCAL)
    if is_two_towers(config):
        return config
    is_of_two_kinds = hasattr(config, "text_config") and hasattr(config, "vision_config")
    if is_of_two_kinds or getattr(config, "is_encoder_decoder", False):
        kind = (
            f"an encoder of two kinds of input other than {', '.join(MODEL_TYPES)}"
            if is_of_two_kinds
            else "an encoder with a decoder"
        )
        raise ValueError(
            f"{name!r} is a {config.model_type}, {kind}. Save one of its encoders by "
            "save_pretrained, together with its tokenizer or image processor, and pass that folder."
        )
    return config


def _model(
    transformers, name: str, folder: Path, config, weights, random_state: int
) -> tuple[nn.Module, list[str]]:
    """Return the network in float32, and the names of tensors that the folder's weights lack.

    Its weights are the folder's by default, and random otherwise.
    """
    missing = []
    with seeded(random_state):
        if is_default(weights):
            model, missing = _pretrained(transformers, name, folder, config)
        else:
            try:
                model = transformers.AutoModel.from_config(config, trust_remote_code=False)
            except ValueError as error:
                raise ValueError(
                    f"{name!r} is a {config.model_type}, for which transformers has no bare "
                    "encoder. Build its module yourself and pass that."
                ) from error
    # Where it was read from decides nothing, and would enter the fingerprint.
    model.name_or_path = model.config._name_or_path = ""
    return model.float(), missing


def _check_complete(name: str, model: nn.Module, missing: list[str]) -> None:
    """Raise a ValueError if the weights in a folder lack tensors that the network has."""
    missing = [key for key in missing if key in model.state_dict()]
    if missing:
        raise ArgumentError(
            f"The weights of {name!r} lack {len(missing)} tensors of a {type(model).__name__}, "
            f"such as {missing[0]}. Pass a complete folder, or ",
            ("weights", None),
            " for random ones.",
        )


def _drop_unused(module: nn.Module, preprocessing) -> list[str]:
    """Replace the parts of a network that its output does not depend on; return their names.

    They are what makes another output of the last layer's, such as the pooler of BERT.
    """
    names, parameters = zip(*module.model.named_parameters(), strict=True)
    with network_lock, torch.enable_grad():
        output = module(preprocessing.blank(torch.float32))
        gradients = torch.autograd.grad(output.sum(), parameters, allow_unused=True)
    used = {n.split(".")[0] for n, g in zip(names, gradients, strict=True) if g is not None}
    parts = dict(module.model.named_children())  # not its own parameters
    unused = sorted({name.split(".")[0] for name in names if name.split(".")[0] in parts} - used)
    for name in unused:
        setattr(module.model, name, nn.Identity().eval())
    return unused


@torch.inference_mode()
def _prefix_tokens(module: nn.Module, encoder: nn.Module, preprocessing) -> tuple[str, ...] | None:
    """Name the tokens that precede the patches' tokens; None if that is not certain."""
    if not isinstance(module, ImageEncoder | ImageTower):
        return None
    config, parts = encoder.config, getattr(encoder, "embeddings", None)
    has_cls = any(getattr(parts, name, None) is not None for name in _CLASS_TOKENS)
    names = ("cls",) if has_cls else ()
    names += ("distillation",) if hasattr(parts, "distillation_token") else ()
    names += ("register",) * int(getattr(config, "num_register_tokens", 0) or 0)
    with network_lock:
        tokens = encoder(pixel_values=preprocessing.blank(torch.float32)).last_hidden_state
    patch = getattr(config, "patch_size", None)
    if tokens.ndim != 3 or not isinstance(patch, int):
        return None
    n_patches = (preprocessing.crop_size // patch) ** 2
    return names if tokens.shape[1] - len(names) == n_patches else None


def _pretrained(transformers, name: str, folder: Path, config) -> tuple[nn.Module, list[str]]:
    if not any(folder.glob("*.safetensors")):
        found = ", ".join(sorted(path.name for path in folder.iterdir() if path.suffix == ".bin"))
        raise ArgumentError(
            f"{name!r} has no .safetensors file{f', only {found}' if found else ''}. Pickled "
            "weights are never read: where you trust them, load them by transformers and convert "
            "them by save_pretrained(folder, safe_serialization=True). ",
            ("weights", None),
            " draws random ones.",
        )
    with explained(
        f"The weights of {name!r} cannot be read",
        "Pass a folder written by save_pretrained; if it was downloaded, delete it from the hub's "
        "cache and try again.",
    ):
        model, report = transformers.AutoModel.from_pretrained(
            folder, config=config, use_safetensors=True, output_loading_info=True, **LOCAL
        )
    return model, sorted(report["missing_keys"])


def _tokenizer(transformers, name: str, folder: Path):
    vocabularies = ("tokenizer.json", "vocab*", "*.model")
    with explained(
        f"{name!r} is a text encoder without a tokenizer that can be read",
        "Write it into the same folder by tokenizer.save_pretrained(folder).",
    ):
        if not any(any(folder.glob(pattern)) for pattern in vocabularies):
            raise OSError("there is no tokenizer.json")
        return transformers.AutoTokenizer.from_pretrained(folder, **LOCAL)


def _max_length(model: nn.Module, tokenizer, limit: int = _MAX_LENGTH) -> int:
    """Return the number of tokens that the tokenizer and the table of positions allow."""
    limits = [limit, tokenizer.model_max_length]
    positions = getattr(model.config, "max_position_embeddings", None)
    if isinstance(positions, int) and positions > 0:
        limits.append(positions)
    for name, part in model.named_modules():
        # RoBERTa counts positions from the one after padding's.
        if name.endswith("position_embeddings") and getattr(part, "padding_idx", None) is not None:
            limits.append(part.num_embeddings - part.padding_idx - 1)
    return int(min(limits))


def _image_preprocessing(transformers, name: str, folder: Path) -> Preprocessing:
    with explained(
        f"{name!r} is an image encoder without a preprocessor_config.json that can be read",
        "Write it into the same folder by image_processor.save_pretrained(folder).",
    ):
        processor = transformers.AutoImageProcessor.from_pretrained(folder, **LOCAL)
    settings = processor.to_dict()
    resize_size, crop_size = _sizes(settings)
    resample = _INTERPOLATIONS.get(int(settings.get("resample") or 0))
    if (
        crop_size is None
        or resample is None
        or not settings.get("do_resize", True)
        or not settings.get("do_rescale", True)
        or abs(settings.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6
        or settings.get("rescale_offset", False)
    ):
        raise ValueError(
            f"The image processor of {name!r} does something else than to resize to a square, "
            "divide by 255 and normalise. Pass a Backbone record of its module with a "
            "Preprocessing of your own."
        )
    mean, std = (0.0,) * 3, (1.0,) * 3
    if settings.get("do_normalize", True):
        mean, std = (tuple(map(float, settings[f"image_{key}"])) for key in ("mean", "std"))
    return Preprocessing(resize_size, crop_size, mean, std, resample, rounding="transformers")


def _sizes(settings: dict) -> tuple[int | tuple[int, int] | None, int | None]:
    """Return the size to resize to and the size of the crop; None where there is no such thing."""
    size = settings.get("size") or {}
    crop = settings.get("crop_size") if settings.get("do_center_crop") else None
    if crop is not None:
        height, width = (crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"])
        crop = height if height == width else -1
    if crop == -1:
        return None, None
    shortest = size if isinstance(size, int) else size.get("shortest_edge")
    if shortest is not None:
        # ConvNeXT: below 384 pixels with a margin, from there on without regard to proportions.
        if crop is None and settings.get("crop_pct") is not None:
            if shortest >= 384:
                return (shortest, shortest), shortest
            return int(shortest / settings["crop_pct"]), shortest
        return shortest, crop or shortest
    sides = size.get("height"), size.get("width")
    if None in sides or (crop is None and sides[0] != sides[1]):
        return None, None
    return sides, crop or sides[0]


def _stages(model: nn.Module) -> list[str]:
    """Name the embeddings and then each block of the longest list of blocks nearest the top."""
    lists = [(n, p) for n, p in model.named_modules() if isinstance(p, nn.ModuleList) and len(p)]
    if not lists:
        return [name for name, _ in model.named_children()]
    depth = min(name.count(".") for name, _ in lists)
    nearest = {name: part for name, part in lists if name.count(".") == depth}
    name = max(nearest, key=lambda name: len(nearest[name]))
    before = []
    for child, part in model.named_children():
        if name.split(".")[0] == child:
            break
        if any(True for _ in part.parameters()):
            before.append(child)
    return [*before, *(f"{name}.{i}" for i in range(len(nearest[name])))]


def _stage_names(model: nn.Module, encoder: nn.Module) -> tuple[str, ...]:
    """Return the names of the stages of `encoder`, a part of `model` or itself, in the module."""
    inside = next(name for name, part in model.named_modules() if part is encoder)
    prefix = f"model.{inside}." if inside else "model."
    return tuple(f"{prefix}{stage}" for stage in _stages(encoder))


@torch.inference_mode()
def _n_outputs(module: nn.Module, preprocessing) -> int:
    with network_lock:
        return module(preprocessing.blank(torch.float32)).shape[1]


def _width(config) -> int | None:
    width = getattr(config, "hidden_size", None)
    sizes = getattr(config, "hidden_sizes", None)
    return width if isinstance(width, int) else sizes[-1] if sizes else None
