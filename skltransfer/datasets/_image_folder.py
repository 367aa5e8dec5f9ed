"""Images in a folder with one folder for each class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from skltransfer._warnings import warn

IMAGE_SUFFIXES = frozenset(
    ".avif .bmp .gif .heic .heif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff "
    ".webp".split()
)
# Folders of a data set that has been split.
_PARTS = {"train", "training", "val", "valid", "validation", "test", "testing"}


def load_image_folder(folder, *, return_X_y: bool = False):
    """Find the images in a folder with one folder for each class.

    The images are not read: `data` holds their paths, which every estimator for images takes. Files
    are images by their suffixes, such as ``.jpg`` and ``.png``. Hidden files and folders are passed
    over, and links to folders are followed once.

    Parameters
    ----------
    folder : str or Path
        Folder whose folders are the classes. Their images may lie in further folders inside.
    return_X_y : bool, default=False
        Whether to return ``(data, target)``, not a Bunch.

    Returns
    -------
    data : Bunch
        ``data`` is an array of paths (n_images,), sorted. ``target`` (n_images,) holds the number
        of each image's class, and ``target_names`` (n_classes,) the names of the folders, sorted.
        ``filenames`` are the paths relative to `folder`.

    Raises
    ------
    NotADirectoryError
        If there is no such folder.
    ValueError
        If it holds no image in a folder, or if its folders are parts of a data set, such as
        ``train`` and ``val``, and no classes.

    Warns
    -----
    UserWarning
        If images lie beside the folders of the classes. They are left out.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from skltransfer import PretrainedFeatureTransformer
    >>> from skltransfer.datasets import load_image_folder
    >>> with TemporaryDirectory() as folder:
    ...     for name, grey in (("dark", 50), ("light", 200)):
    ...         Path(folder, name).mkdir()
    ...         Image.new("L", (32, 32), grey).save(Path(folder, name, "0.png"))
    ...     images = load_image_folder(folder)
    ...     features = PretrainedFeatureTransformer("tiny").fit_transform(images.data)
    >>> features.shape, images.target, images.target_names
    ((2, 768), array([0, 1]), ['dark', 'light'])
    """
    if not os.path.isdir(folder):
        raise NotADirectoryError(f"folder={os.fspath(folder)!r}: there is no such folder.")
    found = find_images(folder)
    paths = [path for path in found if class_of(path) is not None]
    if not paths:
        raise ValueError(
            f"{os.fspath(folder)!r} has images, but no folders with images. Put the images of each "
            "class into a folder of their own."
        )
    classes = [class_of(path) for path in paths]
    check_no_parts(classes, folder)
    if len(paths) < len(found):
        warn(
            f"{len(found) - len(paths)} images of {os.fspath(folder)!r} lie in no folder of a "
            "class and are left out.",
            UserWarning,
        )
    names, target = np.unique(classes, return_inverse=True)
    data = np.array([os.path.join(folder, path) for path in paths], dtype=object)
    if return_X_y:
        return data, target
    filenames = np.array(paths, dtype=object)
    return Bunch(data=data, target=target, target_names=names.tolist(), filenames=filenames)


def find_images(folder) -> list[str]:
    """Return the paths of the images in a folder and its folders, relative to it and sorted.

    Raises
    ------
    ValueError
        If there are none.
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
        raise ValueError(f"there is no image in {os.fspath(folder)!r}: no file ends in {suffixes}.")
    return sorted(found)


def class_of(path: str) -> str | None:
    """Return the folder that an image lies in, of those at the top; None if it lies in none."""
    folder, slash, _ = path.partition("/")
    return folder if slash else None


def check_no_parts(classes, folder) -> None:
    """Raise a ValueError if folders are parts of a data set, such as train and val."""
    names = sorted(set(classes))
    if {name.lower() for name in names} <= _PARTS:
        raise ValueError(
            f"the folders in {os.fspath(folder)!r} are {', '.join(map(repr, names))}, parts of a "
            f"data set and no classes. Name one of them: {Path(folder, names[0]).as_posix()}"
        )
