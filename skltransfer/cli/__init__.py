"""The command line: ``skltransfer compare``, ``extract`` and ``backbones``."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from skltransfer.cli._arguments import parser
from skltransfer.cli._errors import CommandError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    arguments : list of str, default=None
        Arguments after the program's name. None takes the process' arguments.

    Returns
    -------
    status : int
        0 for success, 1 if output cannot be written, 2 for wrong usage, 130 after an interruption.

    Examples
    --------
    >>> from skltransfer.cli import main
    >>> main(["compare", "no-such-file.csv"])
    2
    """
    words = parser()
    options = words.parse_args(arguments)
    if options.command is None:
        words.print_help()
        return 0
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack a character: no reason to stop
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        module, function = options.run.rsplit(".", 1)
        getattr(import_module(module), function)(options)
    except CommandError as error:
        print(f"skltransfer: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("skltransfer: interrupted; nothing was written.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output has closed it; the report is written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"skltransfer: error: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0
