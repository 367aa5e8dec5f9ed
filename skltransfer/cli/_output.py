"""What a comparison leaves behind: a folder of files, and words in the terminal."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from skltransfer._files import write_whole
from skltransfer._messages import first_line
from skltransfer.cli._errors import CommandError, shown

# Files of a report; a folder that holds one of them is replaced with --force only.
FILES = (
    "report.html",
    "scores.csv",
    "summary.json",
    "comparison.png",
    "model.skops",
    "predictions.csv",
    "shift.csv",
)


@dataclass(frozen=True)
class Written:
    """A report whose files are written."""

    content: dict  # of summary.json
    verdict: str
    text: str  # for the terminal
    names: list[str]  # of the files


def check_folder(folder: str, force: bool) -> None:
    """Refuse a folder that holds a report, before any work; nothing is made."""
    try:
        path = Path(folder).expanduser()
        held = [name for name in FILES if (path / name).exists()]
        taken = [name for name in held if (path / name).is_dir()]
    except (OSError, RuntimeError, ValueError) as error:
        raise _refused(folder, error) from error
    if taken:
        raise CommandError(
            f"--output {shown(folder)}: {taken[0]} is a folder there. Choose another one."
        )
    if held and not force:
        raise CommandError(
            f"--output {shown(folder)} holds a report already ({', '.join(held)}). Add --force to "
            "replace it, or name another folder by --output."
        )


def made_folder(folder: str) -> Path:
    """Make the folder of the report, or say why it cannot be one."""
    try:
        path = Path(folder).expanduser()
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (OSError, RuntimeError, ValueError) as error:
        raise _refused(folder, error) from error
    return path


def _refused(folder: str, error: Exception) -> CommandError:
    reason = getattr(error, "strerror", None) or first_line(error)
    return CommandError(f"--output {shown(folder)}: {reason}.")


def write_files(folder: Path, writers: dict[str, Callable[[Path], None]]) -> None:
    """Write all files of a report, or none; files of an older report that have no heir go.

    Parameters
    ----------
    folder : Path
    writers : dict of str to callable
        For each name a function of the path that writes the file.
    """
    with ExitStack() as files:
        paths = {name: files.enter_context(write_whole(folder / name)) for name in writers}
        for name, write in writers.items():
            write(paths[name])
    for name in FILES:
        if name not in writers:
            (folder / name).unlink(missing_ok=True)


def write_json(content, path: Path) -> None:
    """Write numbers and texts as JSON."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")


class Terminal(Console):
    """A console that leaves a closed pipe to the caller, where rich would end the program."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def say(self, text: str = "", *, style: str | None = None) -> None:
        """Print lines as they are, however wide the terminal is."""
        self.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


class LiveLine:
    """A line on the standard error: what is fitted, how many fits are done, the time left.

    Parameters
    ----------
    quiet : bool
        Whether to show nothing.
    """

    def __init__(self, quiet: bool):
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
        )
        self._progress = Progress(
            *columns, console=Terminal(file=sys.stderr), transient=True, disable=quiet
        )
        self._bars: dict[str, int] = {}

    def __enter__(self):
        self._progress.__enter__()
        return self

    def __exit__(self, *error):
        return self._progress.__exit__(*error)

    def count(self, title: str, done: int, total: int, left: str = "") -> None:
        """Show how many parts of some work are done."""
        if title not in self._bars:
            self._bars[title] = self._progress.add_task(shown(title), total=total, left="")
        self._progress.update(self._bars[title], completed=done, total=total, left=left)
        if done >= total:
            self._progress.remove_task(self._bars.pop(title))

    def fits_of(self, title: str):
        """Return a function that shows the state of the fits of a comparison."""
        bar = self._progress.add_task(shown(title), total=None, left="")

        def show(state) -> None:
            left = "" if state.seconds_left is None else f"{_time(state.seconds_left)} left"
            running = state.running or ""
            self._progress.update(
                bar,
                description=shown(f"{title}: {running}"),
                completed=state.done,
                total=state.total,
                left=left,
            )

        return show


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
