"""Sentence encoders of sentence-transformers, from the hub or from a folder."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from skltransfer._messages import explained
from skltransfer._torch._fingerprint import digest_of, fingerprint
from skltransfer._torch._pooling import OWN
from skltransfer._torch._text import (
    TOKEN_POOLINGS,
    DenseLayer,
    SentenceEncoder,
    TextPreprocessing,
    TokenEncoder,
    UnitLength,
)
from skltransfer.backbones import _huggingface as hub
from skltransfer.backbones._packaged import EXTRA, MINILM, packaged_path
from skltransfer.backbones._random import seeded
from skltransfer.backbones._record import Backbone
from skltransfer.backbones._state import load_state
from skltransfer.backbones._weight_files import is_default

SENTENCE = "st:"
# Names of its poolings in files of version 5 and before, in the order of their vectors.
_OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS = ("Tanh", "Identity", "ReLU", "GELU", "SiLU", "Sigmoid", "LeakyReLU", "ELU")
# Of an encoder, beside its weights and its tokenizer.
_SETTINGS = ("max_seq_length", "prompts", "default_prompt_name")
_KINDS = "Transformer, Pooling, Dense, LayerNorm, Dropout and Normalize"


def load_sentence(name: str, weights, random_state: int, root: Path | None = None) -> Backbone:
    """Build the encoder `name`; see :func:`~skltransfer.backbones.load_backbone`.

    Its files are in the folder `root`, or where `name` says.
    """
    if weights is not None and not is_default(weights):
        raise TypeError(
            f"weights={weights!r}: the weights of {name!r} lie in its folder. Pass 'default', or "
            "None for random ones."
        )
    transformers = hub.import_transformers(name)
    with hub._quiet(transformers):
        root = hub.folder_of(name, weights, SENTENCE) if root is None else root
        parts = _parts(name, root)
        folder = root / parts[0][1]
        config = hub._config(transformers, name, folder)
        model, missing = hub._model(transformers, name, folder, config, weights, random_state)
        if model.main_input_name != "input_ids":
            raise ValueError(
                f"{name!r} takes {model.main_input_name!r}, but 'st:' loads only encoders of "
                "texts. Save its image encoder by save_pretrained, and pass its folder as 'hf:...'."
            )
        tokenizer = hub._tokenizer(transformers, name, folder)
    described = sorted(folder.glob("sentence_*_config.json"))
    settings = _read(described[0], name) if described else {}
    width = hub._width(config) or getattr(config, "dim", None) or getattr(config, "n_embd", None)
    with seeded(random_state):
        modes, layers, width = _behind(name, root, parts[1:], width, weights)
    # sentence-transformers' own length comes before a tokenizer's.
    own = settings.get("max_seq_length")
    limit = own if isinstance(own, int) else tokenizer.model_max_length
    preprocessing = TextPreprocessing(
        tokenizer,
        hub._max_length(model, tokenizer, limit),
        prompt=_prompt(name, root, parts),
        lower_case=bool(settings.get("do_lower_case", False)),
    )
    hub._drop_unused(TokenEncoder(model).eval(), preprocessing)
    hub._check_complete(name, model, missing)
    module = SentenceEncoder(model, modes, layers).float().eval().requires_grad_(False)
    return Backbone(
        name,
        module,
        preprocessing,
        stages=tuple(f"model.{stage}" for stage in hub._stages(model)),
        pooling=OWN,
        n_features=width,
        fingerprint=digest_of((fingerprint(module), repr(preprocessing))),
    )


def load_minilm(weights, random_state: int) -> Backbone:
    """Build all-MiniLM-L6-v2 from the folder in a package of its own."""
    hub.import_transformers(MINILM, EXTRA)
    return load_sentence(MINILM, weights, random_state, packaged_path(MINILM))


def is_sentence_transformer(backbone) -> bool:
    """Tell whether `backbone` is an encoder of sentence-transformers that a user holds."""
    return _is_of(backbone, "sentence_transformers", "SentenceTransformer")


def load_sentence_object(encoder, weights) -> Backbone:
    """Return the record of an encoder that a user holds: that of the folder it would save.

    The encoder's own weights are taken, as those of any module.
    """
    name = type(encoder).__name__
    if weights is not None and not is_default(weights):
        raise TypeError(
            f"weights={weights!r}, but backbone is a {name}, which has weights already. Pass "
            "weights='default'."
        )
    with tempfile.TemporaryDirectory() as folder:
        with (
            hub._quiet(hub.import_transformers(name)),
            explained(
                f"backbone, a {name}, cannot be saved to be read again",
                "Save it by SentenceTransformer.save(FOLDER), and pass 'st:FOLDER'.",
            ),
        ):
            encoder.save(folder, create_model_card=False, safe_serialization=True)
        return load_sentence(name, "default", 0, Path(folder))


def sentence_key(encoder) -> str:
    """Return what stands for an encoder that a user holds: its weights, tokenizer and settings."""
    settings = [getattr(encoder, name, None) for name in _SETTINGS]
    configs = [str(getattr(part, "config", "")) for part in encoder.modules()]
    tokenizer = TextPreprocessing(copy.deepcopy(encoder.tokenizer), 0).digest
    # Its classes are not known to `fingerprint`, but print what they are made with.
    described = repr((repr(encoder), configs, settings, tokenizer))
    return digest_of((described, list(encoder.state_dict().items())))


def refuse_object(backbone) -> None:
    """Raise a TypeError if `backbone` is an object of a library of texts that is no network."""
    kind = type(backbone).__name__
    if _is_of(backbone, "transformers", "Pipeline"):
        raise TypeError(
            f"backbone is a {kind}, a pipeline of transformers. Save its parts by "
            "pipeline.save_pretrained(FOLDER), and pass 'hf:FOLDER'."
        )
    if _is_of(backbone, "transformers", "PreTrainedTokenizerBase"):
        raise TypeError(
            f"backbone is a {kind}, a tokenizer. Save it beside its network by save_pretrained("
            "FOLDER), and pass 'hf:FOLDER'."
        )
    is_network = _is_of(backbone, "transformers", "PreTrainedModel")
    if is_network and getattr(backbone, "main_input_name", "") == "input_ids":
        raise TypeError(
            f"backbone is a {kind}, a network of texts without its tokenizer. Save both by "
            "model.save_pretrained(FOLDER) and tokenizer.save_pretrained(FOLDER), and pass "
            "'hf:FOLDER'."
        )
    if _is_of(backbone, "sentence_transformers") and not is_sentence_transformer(backbone):
        raise TypeError(
            f"backbone is a {kind} of sentence-transformers, which gives no features of single "
            "texts. Pass a SentenceTransformer, 'st:NAME' or 'st:FOLDER'."
        )


def _is_of(backbone, library: str, name: str = "") -> bool:
    """Tell whether an object is of a class of a library, which need not be installed."""
    return not isinstance(backbone, type) and any(
        base.__module__.partition(".")[0] == library and name in ("", base.__name__)
        for base in type(backbone).__mro__
    )


def _read(path: Path, name: str, default=None):
    if not path.is_file() and default is not None:
        return default
    remedy = "Pass a folder that SentenceTransformer.save has written."
    with explained(f"{name!r}: {path.name} cannot be read", remedy):
        return json.loads(path.read_text("utf-8"))


def _parts(name: str, root: Path) -> list[tuple[str, str]]:
    """Return class and folder of each module; a bare transformer is pooled by the mean."""
    listed = _read(root / "modules.json", name, default=[])
    if not listed:
        return [("Transformer", "."), ("Pooling", "")]
    parts = []
    for entry in listed:
        kind, folder = str(entry["type"]), str(entry.get("path", ""))
        if not (root / folder).resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{name!r}: modules.json names a folder outside of its own, {folder}.")
        if kind.split(".")[0] != "sentence_transformers":
            raise ValueError(
                f"{name!r} has a module {kind}, whose code would have to be run. Code in a "
                "repository is never run. Build the module yourself and pass it."
            )
        parts.append((kind.rpartition(".")[2], folder or "."))
    if parts[0][0] != "Transformer" or len(parts) < 2 or parts[1][0] != "Pooling":
        raise _other_parts(name, [kind for kind, _ in parts])
    return parts


def _other_parts(name: str, kinds) -> ValueError:
    return ValueError(
        f"{name!r} is made of {', '.join(kinds)}, and only {_KINDS} in this order are supported. "
        "Encode the texts by sentence-transformers itself."
    )


def _behind(name: str, root: Path, parts, width: int, weights):
    """Return the poolings, the layers behind them, and the width of what comes out."""
    config = _read(root / parts[0][1] / "config.json", name, default={}) if parts[0][1] else {}
    modes = config.get("pooling_mode") or [
        mode for old, mode in _OLD_POOLINGS.items() if config.get(old)
    ]
    modes = [modes] if isinstance(modes, str) else list(modes) or ["mean"]
    if not set(modes) <= set(TOKEN_POOLINGS):
        raise ValueError(
            f"{name!r} pools by {modes}. Supported poolings are {', '.join(TOKEN_POOLINGS)}."
        )
    width *= len(modes)
    layers = nn.Sequential()
    for kind, folder in parts[1:]:
        layer, width = _layer(name, root, kind, root / folder, width, weights, parts)
        layers.append(layer)
    return modes, layers, width


def _layer(name, root, kind, folder, width, weights, parts) -> tuple[nn.Module, int]:
    if kind == "Normalize":
        return UnitLength(), width
    if kind == "Dropout":
        return nn.Identity(), width
    config = _read(folder / "config.json", name)
    if kind == "Dense":
        activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
        if activation not in _ACTIVATIONS:
            raise ValueError(
                f"{name!r} has a dense layer with {activation}. Supported activations are "
                f"{', '.join(_ACTIVATIONS)}."
            )
        sizes = config["in_features"], config["out_features"]
        linear = nn.Linear(*sizes, bias=config.get("bias", True))
        residual = None
        if config.get("use_residual"):
            is_plain = sizes[0] == sizes[1]
            residual = nn.Identity() if is_plain else nn.Linear(*sizes, bias=False)
        layer = DenseLayer(linear, getattr(nn, activation)(), residual)
        width = sizes[1]
    elif kind == "LayerNorm":
        layer = nn.ModuleDict({"norm": nn.LayerNorm(config["dimension"])})
    else:
        raise _other_parts(name, ["Transformer", *(kind for kind, _ in parts)])
    if is_default(weights):
        load_state(layer, _tensors(name, root, folder), f"{name} {kind}")
    return layer["norm"] if kind == "LayerNorm" else layer, width


def _tensors(name: str, root: Path, folder: Path) -> dict[str, torch.Tensor]:
    path = folder / "model.safetensors"
    with explained(
        f"{name!r}: {path.relative_to(root)} cannot be read",
        "Pickled weights are never read: where you trust them, load them by sentence-transformers "
        "and save them again.",
    ):
        return load_file(path)


def _prompt(name: str, root: Path, parts) -> str:
    """Return what stands before each text by default."""
    settings = _read(root / "config_sentence_transformers.json", name, default={})
    prompt = (settings.get("prompts") or {}).get(settings.get("default_prompt_name") or "") or ""
    pooling = _read(root / parts[1][1] / "config.json", name, default={}) if parts[1][1] else {}
    if prompt and not pooling.get("include_prompt", True):
        raise ValueError(
            f"{name!r} leaves its prompt {prompt!r} out of the pooling, which is not done here. "
            "Encode the texts by sentence-transformers itself."
        )
    return prompt
