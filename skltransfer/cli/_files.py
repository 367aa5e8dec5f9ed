"""Images in folders."""

from __future__ import annotations

import os
from pathlib import Path

from skltransfer.cli._errors import CommandError

IMAGE_SUFFIXES = frozenset(".bmp .gif .jpeg .jpg .pgm .png .pnm .ppm .tif .tiff .webp".split())


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
