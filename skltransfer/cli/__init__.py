"""The command line: ``skltransfer compare``."""

from __future__ import annotations

import argparse
import os
import sys

import skltransfer
from skltransfer.cli._errors import CommandError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="skltransfer",
        description="Transfer learning as ordinary scikit-learn estimators.",
    )
    parser.add_argument(
        "--version", action="version", version=f"skltransfer {skltransfer.__version__}"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    compare = commands.add_parser(
        "compare",
        help="see whether transfer pays",
        description=(
            "See whether transfer pays. Without arguments, on bundled data: handwritten digits "
            "with few labels, and tumours of which one clinic saw a biased sample. With a CSV "
            "file: on your own table, by folds of its rows, with the rows of --source as the "
            "other domain."
        ),
    )
    compare.add_argument("target", nargs="?", metavar="TARGET.csv", help="rows of the task at hand")
    compare.add_argument("--label", metavar="COLUMN", help="the column to predict")
    compare.add_argument(
        "--source",
        metavar="SOURCE.csv",
        help="labelled rows of another domain, in the same columns",
    )
    compare.add_argument("--metric", help="a scikit-learn scorer; accuracy or r2 if it is left out")
    compare.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="guessed from the labels if it is left out",
    )
    compare.add_argument(
        "--output",
        metavar="FOLDER",
        default="skltransfer-report",
        help="where the scores and the picture go (default: %(default)s)",
    )
    compare.add_argument("--seed", type=_seed, default=0, help="draws and folds (default: 0)")
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2**32 - 1")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    arguments : list of str, default=None
        Words after the program's name; those of the process if None.

    Returns
    -------
    status : int
        0, or 2 for an error of the user's, 1 if output cannot be written, 130 after an
        interruption.

    Examples
    --------
    >>> from skltransfer.cli import main
    >>> main(["compare", "no-such-file.csv"])
    2
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack a character: no reason to stop
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        from skltransfer.cli._compare import compare

        compare(options)
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
