"""Files that are written whole or not at all, and read only where they are files."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

# Bytes of a name that go into the name of the folder beside it, which may not be much longer.
_NAME_BYTES = 60


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Give the path of a file to write, of the same name; it becomes `path` if the block ends well.

    It lies in a new folder beside `path`, which goes in any case, so that a reader of `path` finds
    the old file or the new one, and nothing is left behind by an error.

    Raises
    ------
    OSError
        If the file cannot be written, because the disk is full for example, or if `path` is a
        folder or a device. The error names `path`.
    """
    _check_replaceable(path)
    prefix = os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])
    folder = None
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{prefix}.") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            os.replace(temporary, path)
    except OSError as error:
        # Of this file it knows a name for a moment only, or none: a full disk has no name.
        if error.errno is None or not _is_of(error.filename, folder, path):
            raise
        raise OSError(error.errno, f"{error.strerror}, writing", str(path)) from error


def _check_replaceable(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, and not the path of a file", str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is a device or a pipe, which cannot be replaced", str(path))


def _is_of(name, folder: str | None, path: Path) -> bool:
    if name is None:
        return True
    name = os.fsdecode(name)
    return name.startswith(str(path.parent / ".") if folder is None else folder)


def check_regular(path: Path, name: str) -> None:
    """Raise an OSError if there is no file of this path that can be read from start to end.

    Parameters
    ----------
    path : Path
    name : str
        Name of the argument; the message begins with it.
    """
    if path.is_file():
        return
    if path.is_dir():
        raise IsADirectoryError(f"{name}={str(path)!r} is a folder. Pass the path of a file.")
    if path.exists():
        raise OSError(
            f"{name}={str(path)!r} is a device or a pipe, which may have no end. Pass the path of "
            "a file."
        )
    raise FileNotFoundError(f"{name}={str(path)!r}: there is no such file.")


def check_stored(archive: ZipFile, n_bytes: int) -> None:
    """Raise a ValueError if members of a zip file take more memory than the file on the disk.

    Parameters
    ----------
    archive : ZipFile
    n_bytes : int
        Size of the file.
    """
    members = archive.infolist()
    if any(member.compress_type != ZIP_STORED for member in members):
        raise ValueError("its members are compressed")
    if sum(member.file_size for member in members) > n_bytes:
        raise ValueError("its members are larger than the file")
