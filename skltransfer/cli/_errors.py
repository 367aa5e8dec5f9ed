"""Errors that are the user's to mend: a message, no traceback."""

from __future__ import annotations

from importlib import import_module


class CommandError(Exception):
    """Something in the command or its files is wrong; the message says what to do."""


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, without a full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def shorten(words) -> str:
    """Return the first five of some words, quoted."""
    words = [repr(word) for word in words]
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")


def list_names(names) -> str:
    """Return the first eight of some names, quoted, and how many more there are."""
    names = [repr(name) for name in names]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def import_extra(module: str):
    """Import a module of the ``cli`` extra, or say how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise CommandError(
            f"this command needs {module.split('.')[0]}, which is not installed. Run: "
            "pip install 'skltransfer[cli]'"
        ) from error
