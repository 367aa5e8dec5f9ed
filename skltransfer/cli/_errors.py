"""Errors that are the user's to mend: a message, no traceback."""

from __future__ import annotations

import os

from skltransfer._messages import first_line, near_names, require


class CommandError(Exception):
    """Something in the command or its files is wrong; the message says what to do."""


def shown(path) -> str:
    """Return a path in one line and in Unicode, for titles and tables; "\ufffd" is no text."""
    text = os.fsencode(str(path)).decode("utf-8", "replace")
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def reason_of(error: OSError) -> str:
    """Return what an error of the system says, with the path."""
    reason = error.strerror or first_line(error)
    if error.filename is None:
        return f"the output cannot be written: {reason}"
    return f"{shown(error.filename)!r}: {reason}"


def shorten(words) -> str:
    """Return the first five of some words, quoted."""
    words = [repr(word) for word in words]
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")


def list_names(names) -> str:
    """Return the first eight of some names, quoted, and how many more there are."""
    names = [repr(name) for name in names]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def check_column(column: str, names, path: str, where: str = "") -> None:
    """Raise a CommandError that names the columns of a file unless it has this one."""
    if column not in names:
        raise CommandError(
            f"{path!r} has no column {column!r}{where}.{near_names(column, names)} It has "
            f"{list_names(names)}."
        )


def import_extra(module: str):
    """Return a module of the ``cli`` extra; raise an error that says how to install it."""
    try:
        return require(module, "cli", "this command")
    except ImportError as error:
        raise CommandError(str(error)) from error
