"""Images in a user's folder, read and checked before anything is computed."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skltransfer._torch._preprocessing import Preprocessing
from skltransfer._torch._rows import EncodedImageRows
from skltransfer.cli._errors import CommandError, shorten
from skltransfer.datasets import _image_folder
from skltransfer.datasets._image_folder import IMAGE_SUFFIXES, check_no_parts, class_of

# More images would cost minutes in a large network and hardly change a comparison of few labels.
_MAX_IMAGES = 1000
_MIN_PER_CLASS = 5
# The baseline's pixels, and the size at which pictures are looked at.
_PIXELS = Preprocessing((32, 32), 32, mean=(0.5,) * 3, std=(0.25,) * 3)
# Drawings and characters stand on one colour; in most photographs none covers as much.
_PLAIN = 1 / 3


@dataclass(frozen=True)
class ImageData:
    """Images in folders of their class."""

    paths: list[str]
    y: np.ndarray  # (n_images,) of str
    pixels: np.ndarray  # (n_images, 3, 32, 32), uint8
    notes: list[str]

    @property
    def look_like_photographs(self) -> bool:
        """Tell whether most of the images have no plain background."""
        colours = (self.pixels.astype(np.int64) >> 4).reshape(len(self.pixels), 3, -1)
        codes = colours[:, 0] * 256 + colours[:, 1] * 16 + colours[:, 2]
        return float(np.median([np.bincount(code).max() / len(code) for code in codes])) < _PLAIN


def read_images(folder: str, seed: int, advance) -> ImageData:
    """Read and check the images of a comparison.

    Parameters
    ----------
    folder : str
        Folder with one folder per class.
    seed : int
        Seed of the choice if there are too many images.
    advance : callable
        Function that is called with the number of images read and the number of all images.

    Raises
    ------
    CommandError
        If there are too few classes, or images of one of them.
    """
    found = find_images(folder)
    paths = [path for path in found if class_of(path) is not None]
    _check_classes(paths, folder)
    notes = []
    if len(paths) < len(found):
        notes.append(
            f"{len(found) - len(paths)} images of {folder} lie in no folder of a class and are "
            "left out"
        )
    others = _other_files(folder)
    if others:
        notes.append(
            f"{len(others)} files of {folder} are no images by their names and are passed over: "
            f"{shorten(others)}"
        )
    chosen = _choose(paths, seed)
    if len(chosen) < len(paths):
        notes.append(f"{len(chosen)} of {len(paths)} images are used, chosen by the seed")
    rows = EncodedImageRows([str(Path(folder, path)) for path in chosen])
    pixels, known, unreadable = [], [], []
    for number, path in enumerate(chosen):
        try:
            pixels.append(rows.batch([number], _PIXELS)[0].numpy())
            known.append(path)
        except ValueError:
            unreadable.append(path)
        advance(number + 1, len(chosen))
    if unreadable:
        notes.append(
            f"{len(unreadable)} files cannot be read as images and are left out: "
            f"{shorten(unreadable)}"
        )
        _check_classes(known, folder, f" that can be read, without {shorten(unreadable)}")
    return ImageData(
        [str(Path(folder, path)) for path in known],
        np.array([class_of(path) for path in known]),
        np.stack(pixels),
        notes,
    )


def _other_files(folder: str) -> list[str]:
    """Return the files that are no images by their names, but hidden ones."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(place, name).relative_to(folder).as_posix()
            for name in names
            if not name.startswith(".") and Path(name).suffix.lower() not in IMAGE_SUFFIXES
        ]
    return sorted(found)


def _check_classes(paths: list[str], folder: str, which: str = "") -> None:
    counts = Counter(class_of(path) for path in paths)
    if len(counts) < 2:
        there = f"images in {next(iter(counts))!r} alone" if counts else "no images in folders"
        raise CommandError(
            f"{folder!r} has {there}{which}. Put the images of each class into a folder of their "
            "own; at least 2 are needed."
        )
    try:
        check_no_parts(counts, folder)
    except ValueError as error:
        raise CommandError(str(error)) from error
    rare = min(sorted(counts), key=counts.get)
    if counts[rare] < _MIN_PER_CLASS:
        raise CommandError(
            f"class {rare!r} of {folder!r} has {counts[rare]} images{which}; at least "
            f"{_MIN_PER_CLASS} are needed. Add some, or remove its folder."
        )


def _choose(paths: list[str], seed: int) -> list[str]:
    """Return at most so many images of each class as make `_MAX_IMAGES` of all."""
    if len(paths) <= _MAX_IMAGES:
        return paths
    labels = np.array([class_of(path) for path in paths])
    classes = np.unique(labels)
    n_each = max(_MAX_IMAGES // len(classes), 2 * _MIN_PER_CLASS)
    rng = np.random.default_rng(seed)
    kept = [rng.permutation(np.flatnonzero(labels == label))[:n_each] for label in classes]
    return [paths[row] for row in np.sort(np.concatenate(kept))]


def find_images(folder: str) -> list[str]:
    """Return the paths of the images in a folder and its folders, relative to it and sorted."""
    try:
        return _image_folder.find_images(folder)
    except ValueError as error:
        raise CommandError(str(error)) from error
