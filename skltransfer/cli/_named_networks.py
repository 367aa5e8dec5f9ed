"""Networks by the name that stands in a command."""

from __future__ import annotations

from skltransfer._messages import first_line
from skltransfer.backbones import Backbone, load_backbone
from skltransfer.backbones._extractors import takes_text
from skltransfer.backbones._record import UnknownBackbone
from skltransfer.cli._errors import CommandError

# Errors of networks, weights and rows that are the user's to mend.
REFUSALS = (ValueError, TypeError, ImportError, FileNotFoundError, ConnectionError)


def load(name: str, weights: str | None = "default") -> Backbone:
    """Load a network, or raise a CommandError that says why it cannot be."""
    try:
        return load_backbone(name, weights)
    except REFUSALS as error:
        raise CommandError(explain(error)) from error


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


def text_backbones(named: list[tuple[str, str]]) -> list[tuple[str, str | None, Backbone]]:
    """Load encoders of texts, each given by its name and the word for its weights."""
    if not named:
        raise CommandError(
            "--text needs an encoder to compare with: --backbone hf:NAME, hf:FOLDER, or st:NAME."
        )
    loaded = _loaded(named)
    for name, _, record in loaded:
        if not takes_text(record):
            raise CommandError(
                f"--backbone {name} takes images, not texts. Name an encoder of texts: hf:NAME, "
                "hf:FOLDER, or st:NAME."
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


def explain(error: Exception) -> str:
    """Return an error's message for someone who does not write Python."""
    if isinstance(error, UnknownBackbone):
        listed = f"\"skltransfer backbones '{error.pattern or 'timm:*'}'\""
        if not error.pattern:
            listed = f"'skltransfer backbones', and names of timm by {listed}"
        return f"{error.problem} Names are listed by {listed}."
    return f"{first_line(error)}."
