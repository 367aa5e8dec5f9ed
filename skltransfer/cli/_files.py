"""Files that are written whole or not at all, and images in folders."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skltransfer.cli._errors import CommandError

IMAGE_SUFFIXES = frozenset(".bmp .gif .jpeg .jpg .pgm .png .pnm .ppm .tif .tiff .webp".split())


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """Give the path of a new file beside `path`; it takes its place when all has gone well."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    os.close(handle)
    try:
        yield Path(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def find_images(folder: str) -> list[str]:
    """Return the paths of the images in a folder and its folders, relative to it and sorted.

    Hidden files and folders are passed over; links to folders are followed once.
    """
    found, seen = [], set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith("."):
                found.append(Path(place, name).relative_to(folder).as_posix())
    if not found:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise CommandError(f"there is no image in {folder!r}: no file ends in {suffixes}.")
    return sorted(found)


def class_of(path: str) -> str | None:
    """Return the folder that an image lies in, of those at the top; None if it lies in none."""
    folder, slash, _ = path.partition("/")
    return folder if slash else None
