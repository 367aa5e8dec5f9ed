"""Networks of transformers and timm, and tokenizers, as data: names, settings and files."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from skltransfer._persisted import AsData
from skltransfer._torch._text import TextPreprocessing
from skltransfer.backbones._huggingface import LOCAL, _quiet, import_transformers
from skltransfer.backbones._random import seeded
from skltransfer.backbones._timm import import_timm

# How a network was loaded, which decides nothing but how transformers would save it.
_NOTES = ("_weight_conversions", "_use_kernels")


def is_transformer(module: nn.Module) -> bool:
    """Tell whether a network is one of transformers', described by its configuration."""
    return type(module).__module__.startswith("transformers.") and hasattr(module, "config")


def describe_transformer(module: nn.Module) -> dict:
    """Return the configuration, and which children of the network have been dropped."""
    config = json.loads(module.config.to_json_string(use_diff=False))
    # That wrote the version installed here; a network of a hub keeps the one that it came with.
    config["transformers_version"] = getattr(module.config, "transformers_version", None)
    return {
        "class": type(module).__name__,
        "config": config,
        "has_type": "model_type" in vars(module.config),
        "dropped": [n for n, child in module.named_children() if type(child) is nn.Identity],
    }


def copy_notes(source: nn.Module, target: nn.Module) -> None:
    """Copy from `source` to `target` how the networks of transformers inside were loaded."""
    for given, built in zip(source.modules(), target.modules(), strict=False):
        if is_transformer(given):
            vars(built).update({n: vars(given)[n] for n in _NOTES if n in vars(given)})


def build_transformer(description: dict) -> nn.Module:
    """Build the network with random weights; code beside its settings is never run."""
    name, settings = description["class"], description["config"]
    named = [key for key, _ in settings_of(settings) if key.endswith("_implementation")]
    if named:  # never written by `describe_transformer`: it may name code to be downloaded
        raise ValueError(f"the settings of {name} choose code, by {named[0]!r}")
    transformers = import_transformers(f"hf:{name}")
    with _quiet(transformers), seeded(0):
        kind = type(transformers.AutoConfig.for_model(settings["model_type"]))
        config = kind.from_dict(settings)
        if not description["has_type"]:  # of the class, not of the object
            vars(config).pop("model_type", None)
        module = transformers.AutoModel.from_config(config, trust_remote_code=False)
    if type(module).__name__ != name:
        raise TypeError(
            f"A {name} of transformers cannot be written as data, only bare encoders. Use pickle "
            "or joblib."
        )
    module.name_or_path = module.config._name_or_path = ""
    for child in description["dropped"]:
        if not isinstance(getattr(module, child, None), nn.Module):
            raise ValueError(f"{name} has no part {child!r}")
        setattr(module, child, nn.Identity())
    return module.eval()


def settings_of(settings) -> Iterator[tuple[str, object]]:
    """Return the names and values of all settings, those inside of others too."""
    if isinstance(settings, dict):
        yield from settings.items()
        settings = list(settings.values())
    if isinstance(settings, list):
        for value in settings:
            yield from settings_of(value)


@dataclass
class TokenizerData(AsData):
    """A tokenizer as the files that it is read from, with the settings of its texts.

    Parameters
    ----------
    files : dict of str to str
        Names of the files, and their contents in base64.
    max_length : int
    digest, prompt : str
    lower_case : bool
    """

    files: dict[str, str]
    max_length: int
    digest: str
    prompt: str = ""
    lower_case: bool = False

    @classmethod
    def of(cls, preprocessing: TextPreprocessing) -> TokenizerData:
        """Describe the preprocessing of a text encoder."""
        with tempfile.TemporaryDirectory() as folder:
            preprocessing.tokenizer.save_pretrained(folder)
            files = {
                path.name: base64.b64encode(path.read_bytes()).decode()
                for path in sorted(Path(folder).iterdir())
                if path.is_file()
            }
        return cls(
            files,
            preprocessing.max_length,
            preprocessing.digest,
            preprocessing.prompt,
            preprocessing.lower_case,
        )

    def restore(self) -> TextPreprocessing:
        """Return the preprocessing with a new tokenizer."""
        transformers = import_transformers("hf:")
        with tempfile.TemporaryDirectory() as folder, _quiet(transformers):
            for name, content in self.files.items():
                if Path(name).name != name:
                    raise ValueError(f"{name!r} is not the name of a tokenizer's file")
                (Path(folder) / name).write_bytes(base64.b64decode(content))
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **LOCAL)
        preprocessing = TextPreprocessing(
            tokenizer, self.max_length, prompt=self.prompt, lower_case=self.lower_case
        )
        if preprocessing.digest != self.digest:
            raise ValueError("The tokenizer in the file is not the one that was saved.")
        return preprocessing


def describe_timm(module: nn.Module) -> dict:
    """Return the settings from which timm builds the network."""
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
