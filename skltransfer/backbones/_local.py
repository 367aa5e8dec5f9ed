"""Networks from a file of weights with the name of their architecture in it or beside it."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path

from safetensors import safe_open

from skltransfer._messages import ArgumentError, explained, first_line, near_names
from skltransfer._torch._fingerprint import fingerprint
from skltransfer._torch._preprocessing import Preprocessing
from skltransfer.backbones._packaged import MINILM
from skltransfer.backbones._record import Backbone, UnknownBackbone
from skltransfer.backbones._weight_files import is_default

_SUFFIXES = (".safetensors", ".pt2", ".pt", ".pth")
_KEYS = ("architecture", "preprocessing")
_EXAMPLE = '{"architecture": "resnet18"}'


def is_file_name(backbone) -> bool:
    """Tell whether `backbone` is the path of a file of weights."""
    if isinstance(backbone, os.PathLike):
        return True
    return isinstance(backbone, str) and _has_suffix(backbone)


@lru_cache(maxsize=64)
def _has_suffix(name: str) -> bool:
    return Path(name).suffix in _SUFFIXES


def load_file_backbone(path, weights, random_state: int, load_named) -> Backbone:
    """Build the network that a file names, with its weights.

    Parameters
    ----------
    path : str or Path
        The file of weights.
    weights : str or None
        ``"default"``: those in the file; ``None``: random ones for the same architecture.
    random_state : int
    load_named : callable
        Builds a network by its name: (name, weights, random_state) to a record.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise ArgumentError(
            ("backbone", str(path)),
            f" is a folder. Pass 'hf:{path}' for a network of transformers, 'st:{path}' for one of "
            "sentence-transformers, or the path of a file of weights.",
        )
    if path.suffix not in _SUFFIXES:
        raise ArgumentError(
            ("backbone", str(path)),
            f" is no file of weights: their names end in {', '.join(_SUFFIXES)}.",
        )
    if not path.is_file():
        raise FileNotFoundError(f"backbone={str(path)!r}: there is no such file.")
    if not (weights is None or is_default(weights)):
        raise ArgumentError(
            ("weights", weights),
            ", but ",
            ("backbone", str(path)),
            " is already a file of weights. Pass ",
            ("weights", "default"),
            ", or ",
            ("weights", None),
            " for random weights.",
        )
    described, source = _description(path)
    architecture = _checked(described, source)
    try:
        record = load_named(architecture, None if weights is None else path, random_state)
    except UnknownBackbone as error:
        raise UnknownBackbone(
            f"{source} names an architecture that is not known. {error.problem}",
            error.pattern,
            error.remedy,
        ) from error
    settings = described.get("preprocessing")
    if settings is not None:
        record = replace(record, preprocessing=_preprocessing(settings, source))
    return replace(record, name=path.name, fingerprint=fingerprint(record.module))


def _description(path: Path) -> tuple[dict, str]:
    """Return what is said about a file of weights, and where."""
    beside = path.with_suffix(".json")
    if beside.is_file():
        remedy = f"It has to say which network the weights in {path.name} are for: {_EXAMPLE}."
        with explained(f"{beside} cannot be read", remedy):
            described = json.loads(beside.read_text("utf-8"))
            if not isinstance(described, dict):
                raise ValueError("it holds no object")
            return described, str(beside)
    inside = {}
    if path.suffix == ".safetensors":
        problem = (("backbone", str(path)), " cannot be read as a .safetensors file")
        with explained(problem, "Copy or download it again."), safe_open(path, "pt") as file:
            inside = file.metadata() or {}
    if "architecture" in inside:
        described = {key: inside[key] for key in _KEYS if key in inside}
        if "preprocessing" in described:
            with explained(f"The preprocessing in {path} is no JSON"):
                described["preprocessing"] = json.loads(described["preprocessing"])
        return described, f"The metadata of {path}"
    program = (
        " Of a program of torch.export the weights alone are read, since loading it would run code "
        "that it may hold."
        if path.suffix == ".pt2"
        else ""
    )
    raise ArgumentError(
        ("backbone", str(path)),
        f" does not say which network its weights are for.{program} Write "
        f"{_EXAMPLE} into {beside}, with a name of torchvision or 'timm:NAME'"
        + (", or into the metadata of the file" if path.suffix == ".safetensors" else "")
        + ". For a network of your own pass the module, and ",
        ("weights", str(path)),
        ".",
    )


def _checked(described: dict, source: str) -> str:
    for key in described:
        if key not in _KEYS:
            raise ValueError(
                f"{source} has an unknown key {key!r}.{near_names(key, _KEYS)} Known are "
                f"{' and '.join(_KEYS)}."
            )
    architecture = described.get("architecture")
    if not isinstance(architecture, str) or is_file_name(architecture):
        raise ValueError(
            f"{source} names the architecture {architecture!r}. It has to be a name of "
            f"torchvision or 'timm:NAME', as in {_EXAMPLE}."
        )
    if architecture == MINILM or architecture.startswith(("hf:", "st:")):
        remedy = f"backbone={architecture!r} and weights='PATH'"
        if not architecture.startswith("hf:"):
            remedy = "the folder of the encoder with its weights, as backbone='st:FOLDER'"
        raise ValueError(
            f"{source} names the architecture {architecture!r}, whose folder holds its weights: "
            f"pass {remedy}."
        )
    return architecture


def _preprocessing(settings, source: str) -> Preprocessing:
    known = [field.name for field in fields(Preprocessing)]
    remedy = f"{source} has a preprocessing of {settings!r}. It takes {', '.join(known)}"
    if not isinstance(settings, dict):
        raise ValueError(f"{remedy}.")
    try:
        return Preprocessing(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{remedy} ({first_line(error)}).") from error
