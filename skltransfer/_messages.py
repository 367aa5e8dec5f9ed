"""Parts of messages: close names, the first line of an error, and the package that is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
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


class _Said(Exception):
    """An error whose message names arguments.

    Parameters
    ----------
    *parts : str or (str, object)
        Parts of the message: words, or the name and the value of an argument. In Python an argument
        is written as ``name=value``; the command line writes it as an option.
    """

    def __init__(self, *parts):
        super().__init__(*parts)
        self.parts = parts

    def __str__(self):
        return self.said(lambda name, value: f"{name}={value!r}")

    def said(self, write: Callable[[str, object], str]) -> str:
        """Return the message with each argument as `write` returns it for its name and value."""
        return "".join(part if isinstance(part, str) else write(*part) for part in self.parts)


class ArgumentError(_Said, ValueError):
    """The value of an argument is wrong."""


class NotDownloaded(_Said, ConnectionError):
    """A network is not on this machine, and there is no connection to fetch it."""


class MissingPackage(_Said, ImportError):
    """A package that an extra installs is missing."""


@contextmanager
def explained(problem: str | tuple, remedy: str = "", kind: type = ValueError) -> Iterator[None]:
    """Raise for any error of the block one of `kind`: the problem, the reason and the remedy.

    A problem in parts, with arguments among them, makes an :class:`ArgumentError`.
    """
    try:
        yield
    except Exception as error:
        reason = f" ({first_line(error)}). {remedy}".rstrip()
        if isinstance(problem, tuple):
            raise ArgumentError(*problem, reason) from error
        raise kind(f"{problem}{reason}") from error


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra of this package."""
    return f'pip install "skltransfer[{extra}]"'


def missing_package(module: str, extra: str, user: str | tuple[str, object]) -> MissingPackage:
    """Return the error of :func:`require` for a module that is not installed."""
    return MissingPackage(
        user,
        f" needs {module.partition('.')[0]}, which is not installed. Run: {how_to_install(extra)}",
    )


def require(module: str, extra: str, user: str | tuple[str, object]) -> ModuleType:
    """Return a module that an extra of this package installs.

    Parameters
    ----------
    module : str
        Dotted name.
    extra : str
        The extra's name.
    user : str or (str, object)
        Function or command that needs the module, or the name and the value of an argument. The
        message begins with it.

    Raises
    ------
    ImportError
        If the module cannot be imported; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise missing_package(module, extra, user) from error
