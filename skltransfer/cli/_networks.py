"""Networks by the name that stands in a command."""

from __future__ import annotations

from skltransfer.backbones import Backbone, load_backbone
from skltransfer.cli._errors import CommandError, first_line

# What a network, its weights or its rows may be refused with.
REFUSALS = (ValueError, TypeError, ImportError, FileNotFoundError, ConnectionError)


def load(name: str, weights: str | None = "default") -> Backbone:
    """Load a network, or raise a CommandError that says why it cannot be."""
    try:
        return load_backbone(name, weights)
    except REFUSALS as error:
        raise CommandError(in_words_of_commands(error)) from error


def weights_of(word: str) -> str | None:
    """Return the weights that a word in a command stands for; "none" is random ones."""
    return None if word.lower() == "none" else word


def in_words_of_commands(error: Exception) -> str:
    """Return an error's message for someone who does not write Python."""
    return f"{first_line(error)}.".replace("list_backbones()", "'skltransfer backbones'")
