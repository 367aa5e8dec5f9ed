"""The command line: ``skltransfer compare``, ``extract``, ``backbones`` and ``store``."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module

from skltransfer._messages import first_line
from skltransfer.cli._arguments import parser
from skltransfer.cli._errors import CommandError, reason_of


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    arguments : list of str, default=None
        Arguments after the program's name. None takes the process' arguments.

    Returns
    -------
    status : int
        0 for success, 1 if output cannot be written, 2 for wrong usage, 130 after an interruption,
        141 if the reader of the output has closed it.

    Examples
    --------
    >>> from skltransfer.cli import main
    >>> main(["compare", "no-such-file.csv"])
    2
    """
    words = parser()
    options = words.parse_args(arguments)
    if sys.stdout is None or sys.stderr is None:  # closed before the start
        with open(os.devnull, "w") as nowhere:
            with redirect_stdout(sys.stdout or nowhere), redirect_stderr(sys.stderr or nowhere):
                return _run(words, options)
    return _run(words, options)


def _run(words, options) -> int:
    if options.command is None:
        words.print_help()
        return 0
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack a character: no reason to stop
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        try:
            module, function = options.run.rsplit(".", 1)
            getattr(import_module(module), function)(options)
            return 0
        except CommandError as error:
            return _say(f"error: {error}", 2)
        except KeyboardInterrupt:
            return _say("interrupted; nothing was written.", 130)
        except MemoryError as error:
            return _say(f"error: there is not enough memory ({first_line(error)}).", 1)
        except BrokenPipeError:
            raise
        except OSError as error:
            return _say(f"error: {reason_of(error)}.", 1)
    except BrokenPipeError:  # whoever read the output has closed it; the report is written
        _give_up(sys.stdout)
        _give_up(sys.stderr)
        return 128 + 13  # what a shell says of a program that SIGPIPE has ended


def _say(message: str, status: int) -> int:
    """Print one line to the standard error, and return the exit status."""
    line = " ".join(message.splitlines())
    print(f"skltransfer: {line}", file=sys.stderr, flush=True)
    return status


def _give_up(stream) -> None:
    """Send what Python writes to a closed stream at the end to nowhere."""
    try:
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        pass
