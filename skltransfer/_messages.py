"""Parts of messages: close names, the first line of an error, and the package that is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType


def near_names(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the names closest to `name`, or "" if none is close."""
    close = get_close_matches(str(name), [str(entry) for entry in known], n=3)
    return f" Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""


def first_line(error: Exception) -> str:
    """Return the first line of an error without its full stop; its type if it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def explained(problem: str, remedy: str = "", kind: type = ValueError) -> Iterator[None]:
    """Raise for any error of the block one of `kind`: the problem, the reason and the remedy."""
    try:
        yield
    except Exception as error:
        raise kind(f"{problem} ({first_line(error)}). {remedy}".rstrip()) from error


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra of this package."""
    return f'pip install "skltransfer[{extra}]"'


def require(module: str, extra: str, user: str) -> ModuleType:
    """Return a module that an extra of this package installs.

    Parameters
    ----------
    module : str
        Dotted name.
    extra : str
        The extra's name.
    user : str
        Name of the function or command that needs the module. The message begins with it.

    Raises
    ------
    ImportError
        If the module cannot be imported; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{user} needs {module.partition('.')[0]}, which is not installed. Run: "
            f"{how_to_install(extra)}"
        ) from error
