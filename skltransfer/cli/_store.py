"""``skltransfer store``: what a feature store on disk holds, whether it is whole, and its end."""

from __future__ import annotations

import sys
from pathlib import Path

from skltransfer._torch._disk_store import contents_of
from skltransfer._torch._store_files import (
    FORMAT,
    DamagedStore,
    is_store,
    lmdb,
    read_marker,
    replace_database,
)
from skltransfer._torch._store_rows import Contents
from skltransfer.cli._errors import CommandError, shown


def store(options) -> None:
    """Show what a store holds, check it, or empty it."""
    {"info": _info, "verify": _verify, "clear": _clear}[options.action](_folder(options.path))
    sys.stdout.flush()


def _info(path: Path) -> None:
    found = _contents(path, are_checked=False)
    for name, value in (
        ("samples", found.n_rows),
        ("kinds of features", found.n_namespaces),
        ("size", _size(found.used_bytes)),
        ("maximum size", _size(found.max_bytes)),
        ("format", FORMAT),
    ):
        print(f"{name + ':':<19} {value}")


def _verify(path: Path) -> None:
    found = _contents(path, are_checked=True)
    if found.n_damaged:
        raise CommandError(
            f"{shown(path)!r}: {found.n_damaged} of {found.n_values} values are damaged. Their "
            "rows are computed again when they are needed; 'skltransfer store clear' removes all."
        )
    print(f"{found.n_rows} samples in {found.n_values} values: all as they were written.")


def _clear(path: Path) -> None:
    replace_database(path)
    print(f"{shown(path)!r} is empty.")


def _folder(name: str) -> Path:
    try:
        lmdb()
    except ImportError as error:
        raise CommandError(str(error)) from error
    path = Path(name).expanduser()
    if not is_store(path):
        raise CommandError(
            f"{shown(path)!r} is no feature store. Pass the folder that is the parameter store of "
            "an estimator."
        )
    return path


def _contents(path: Path, are_checked: bool) -> Contents:
    try:
        found = read_marker(path).format
        if found != FORMAT:
            raise CommandError(
                f"{shown(path)!r} was written in format {found} by another version of skltransfer, "
                f"and this version reads format {FORMAT}. 'skltransfer store clear' empties it."
            )
        return contents_of(path, are_checked=are_checked)
    except DamagedStore as error:
        raise CommandError(
            f"{shown(path)!r} is damaged: {error}. It begins anew when it is used, or by "
            "'skltransfer store clear'."
        ) from error


def _size(n_bytes: int) -> str:
    power = min(max(n_bytes.bit_length() - 1, 0) // 10, 3)
    return f"{n_bytes / 1024**power:.4g} {('bytes', 'KiB', 'MiB', 'GiB')[power]}"
