"""Networks by the name that stands in a command."""

from __future__ import annotations

from pathlib import Path

from torchvision.models import get_model_weights

from skltransfer._messages import ArgumentError, MissingPackage, NotDownloaded, first_line
from skltransfer.backbones import Backbone, list_backbones, load_backbone
from skltransfer.backbones._extractors import takes_text
from skltransfer.backbones._local import is_file_name
from skltransfer.backbones._packaged import EFFICIENTNET_LITE0, MINILM, PACKAGED, is_installed
from skltransfer.backbones._record import UnknownBackbone
from skltransfer.cli._errors import CommandError, reason_of

# Errors of networks, weights and rows that are the user's to mend.
REFUSALS = (ValueError, TypeError, ImportError, OSError)


def load(name: str, weights: str | None = "default", *, option: str = "--backbone ") -> Backbone:
    """Load a network, or raise a CommandError that says why it cannot be.

    `option` stands before the name of the network in messages.
    """
    _check_files(name, weights, option)
    try:
        return load_backbone(name, weights)
    except REFUSALS as error:
        raise CommandError(explain(error, option)) from error


def _check_files(name: str, weights: str | None, option: str) -> None:
    """Raise a CommandError if a file that the command names does not exist."""
    if is_file_name(name) and not Path(name).expanduser().exists():
        raise CommandError(f"{option}{name}: there is no such file.")
    if weights in (None, "default") or Path(weights).expanduser().is_file():
        return
    if Path(weights).expanduser().exists():
        raise CommandError(f"--weights {weights} is no regular file.")
    known = []
    if name in list_backbones() and name not in ("tiny", *PACKAGED):
        known = [*get_model_weights(name).__members__, "none"]
    if weights not in known:
        others = f" Names of weights of {name} are {', '.join(known)}." if known else ""
        raise CommandError(f"--weights {weights}: there is no such file.{others}")


def image_backbones(named: list[tuple[str, str]]) -> list[tuple[str, str | None, Backbone]]:
    """Load networks of images, each given by its name and the word for its weights."""
    loaded = _loaded(named)
    for name, _, record in loaded:
        if takes_text(record):
            raise CommandError(
                f"--backbone {name} takes texts, not images. Compare texts of a CSV file by --text "
                "COLUMN."
            )
        if record.preprocessing is None:
            raise CommandError(
                f"--backbone {name} does not say at which size images enter it. Choose one of "
                "'skltransfer backbones'."
            )
    return loaded


def default_network(*, photographs: bool) -> list[tuple[str, str]]:
    """Return the network that images have if the command names none, with the word for its weights.

    Drawings have the embedded network; so have photographs, where no better one is installed.
    """
    name = EFFICIENTNET_LITE0 if photographs and is_installed(EFFICIENTNET_LITE0) else "tiny"
    return [(name, "default")]


def text_backbones(named: list[tuple[str, str]]) -> list[tuple[str, str | None, Backbone]]:
    """Load encoders of texts, each given by its name and the word for its weights.

    Without a name there is minilm, if it is installed, and else none.
    """
    if not named and is_installed(MINILM):
        named = [(MINILM, "default")]
    loaded = _loaded(named)
    for name, _, record in loaded:
        if not takes_text(record):
            raise CommandError(
                f"--backbone {name} takes images, not texts. Name an encoder of texts: minilm, "
                "hf:NAME, hf:FOLDER, or st:NAME."
            )
    return loaded


def _loaded(named) -> list[tuple[str, str | None, Backbone]]:
    names = [name for name, _ in named]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CommandError(f"--backbone {twice} is named twice.")
    words = [(name, weights_of(word)) for name, word in named]
    return [(name, weights, load(name, weights)) for name, weights in words]


def weights_of(word: str) -> str | None:
    """Return the weights that a word in a command stands for; "none" is random ones."""
    return None if word.lower() == "none" else word


def explain(error: Exception, option: str = "--backbone ") -> str:
    """Return an error's message for someone who does not write Python."""
    if isinstance(error, ArgumentError | NotDownloaded | MissingPackage):
        message = error.said(lambda name, value: _option(name, value, option))
        return f"{message.strip().splitlines()[0].rstrip('.')}."
    if isinstance(error, OSError) and error.strerror:
        return f"{reason_of(error)}."
    if isinstance(error, UnknownBackbone):
        listed = f"\"skltransfer backbones '{error.pattern or 'timm:*'}'\""
        if not error.pattern:
            listed = f"'skltransfer backbones', and names of timm by {listed}"
        return f"{error.problem} Names are listed by {listed}."
    return f"{first_line(error)}."


def _option(name: str, value, backbone: str) -> str:
    """Return an argument as an option of the command."""
    option = backbone if name == "backbone" else f"--{name.replace('_', '-')} "
    if value is None and name == "weights":
        return f"{option}none"
    if value is None or value == "default":
        return f"no {option.strip()}"
    words = value if isinstance(value, list | tuple) else [value]
    return option + " ".join(map(str, words))
