"""``skltransfer backbones``: list networks, or describe one."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torchvision.models import get_model_weights

from skltransfer._messages import how_to_install, near_names
from skltransfer._torch._text import TextPreprocessing
from skltransfer.backbones import Backbone, list_backbones
from skltransfer.backbones._local import is_file_name
from skltransfer.backbones._packaged import (
    EFFICIENTNET_LITE0,
    EXTRA,
    MINILM,
    PACKAGED,
    is_installed,
)
from skltransfer.backbones._timm import TIMM
from skltransfer.cli._errors import CommandError
from skltransfer.cli._named_networks import load

# Backbones that cannot be listed, because they lie on a hub, in a folder or in code.
_OTHERS = (
    ("hf:NAME, hf:FOLDER", "text and image encoders of transformers, from the hub or a folder"),
    ("st:NAME, st:FOLDER", "sentence-transformers"),
    ("timm:NAME", "image networks of timm; 'timm:*' lists them"),
    ("FILE", "weights that name their network (.safetensors, .pt2, .pt, .pth)"),
    ("NAME --weights FILE", "weights of your own for a network that is named"),
)

# Input size and number of parameters of the networks in packages.
_PACKAGED = {EFFICIENTNET_LITE0: (224, 3_371_008), MINILM: (None, 22_565_376)}


@dataclass
class _Entry:
    """Facts of a network that is not built."""

    name: str
    source: str
    download: str
    input_size: int | None
    parameters: int | None

    def cells(self) -> list[str]:
        size = "" if self.input_size is None else str(self.input_size)
        count = "" if self.parameters is None else f"{self.parameters / 1e6:.1f} M"
        return [self.name, self.source, self.download, size, count]


_HEADER = ("name", "source", "download", "input size", "parameters")


def backbones(options) -> None:
    """List networks, describe the one that is named, or rank some on data."""
    pattern = options.pattern
    if options.rank is not None:
        # Imported here, because it needs the extra of the command line's tables.
        from skltransfer.cli._rank import rank

        names = [] if pattern is None else [pattern] if _is_name(pattern) else _matching(pattern)
        if len(names) > 1:  # networks of images that can be loaded here
            left_out = {MINILM, *(name for name in PACKAGED if not is_installed(name))}
            names = [name for name in names if name not in left_out]
        return rank(options, names)
    for name in ("label", "text", "backbone"):
        if getattr(options, name):
            raise CommandError(f"--{name} goes with --rank DATA.")
    if pattern is not None and _is_name(pattern):
        record = load(pattern, weights=None, option="")
        _print_record(record, options.json)
        return
    entries = [_entry(name) for name in _matching(pattern)]
    if options.json:
        print(json.dumps([asdict(entry) for entry in entries], indent=1))
    elif sys.stdout.isatty():
        _print_table(entries, pattern)
    else:
        for cells in (list(_HEADER), *(entry.cells() for entry in entries)):
            print("\t".join(cells))
    sys.stdout.flush()


def _is_name(pattern: str) -> bool:
    if any(sign in pattern for sign in "*?["):
        return False
    return pattern in list_backbones() or ":" in pattern or is_file_name(pattern)


def _matching(pattern: str | None) -> list[str]:
    found = list_backbones(pattern)
    if not found and pattern.startswith(TIMM) and find_spec("timm") is None:
        raise CommandError(f"timm is not installed. Run: {how_to_install('hub')}")
    if not found:
        raise CommandError(
            f"no backbone is called {pattern!r}.{near_names(pattern, list_backbones())} Patterns "
            "take * and ?, as in 'resnet*'; 'skltransfer backbones' lists all names."
        )
    return found


def _entry(name: str) -> _Entry:
    if name == "tiny":
        return _Entry(name, "embedded", "none", 32, 302_864)
    if name in PACKAGED:
        is_here = "done" if is_installed(name) else f"extra {EXTRA}"
        return _Entry(name, "package", is_here, *_PACKAGED[name])
    if name.startswith(TIMM):
        return _timm_entry(name)
    weights = get_model_weights(name).DEFAULT
    is_here = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name).is_file()
    return _Entry(
        name,
        "torchvision",
        "done" if is_here else f"{weights.meta['_file_size']:.0f} MB",
        weights.transforms().crop_size[0],
        weights.meta["num_params"],
    )


def _timm_entry(name: str) -> _Entry:
    from timm.models import get_pretrained_cfg

    settings = get_pretrained_cfg(name.removeprefix(TIMM))
    is_published = settings is not None and settings.has_weights
    size = None if settings is None else settings.input_size[-1]
    return _Entry(name, "timm", "needed" if is_published else "not published", size, None)


def _print_table(entries: list[_Entry], pattern: str | None) -> None:
    console = Console()
    table = Table()
    for number, title in enumerate(_HEADER):
        table.add_column(title, justify="right" if number > 1 else "left", no_wrap=True)
    for entry in entries:
        table.add_row(*entry.cells())
    console.print(table)
    if pattern is None:
        console.print("Also:", markup=False)
        for written, meaning in _OTHERS:
            console.print(f"  {written:<20} {meaning}", markup=False, highlight=False)
        console.print(
            "skltransfer backbones NAME shows layers, width and preprocessing.", highlight=False
        )


def _print_record(record: Backbone, as_json: bool) -> None:
    module = record.module
    facts = {
        "name": record.name,
        "takes": "texts" if isinstance(record.preprocessing, TextPreprocessing) else "images",
        "stages": list(record.stages),
        "layers": list(record.layers),
        "pooling": record.pooling,
        "n_features": record.n_features or "depends on the layers and the input",
        "preprocessing": _described(record.preprocessing),
        "parameters": sum(part.numel() for part in module.parameters()),
    }
    if as_json:
        print(json.dumps(facts, indent=1))
    else:
        for name, value in facts.items():
            print(f"{name + ':':<15} {_written(value)}")
    sys.stdout.flush()


def _described(preprocessing) -> dict | None:
    if preprocessing is None:
        return None
    if isinstance(preprocessing, TextPreprocessing):
        tokenizer = type(preprocessing.tokenizer).__name__
        return {"tokenizer": tokenizer, "max_length": preprocessing.max_length}
    return asdict(preprocessing)


def _written(value) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(value) or "the network's own output"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_number(part)}" for name, part in value.items())
    return str(value)


def _number(value) -> str:
    return f"({', '.join(map(str, value))})" if isinstance(value, list | tuple) else str(value)
