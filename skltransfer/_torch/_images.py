"""One image, as a path, encoded bytes or a PIL image: read, checked, and as a viewer shows it."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import numpy as np
import xxhash
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from skltransfer._messages import first_line
from skltransfer._missing import is_missing
from skltransfer._warnings import warn

# Types of one image in a list of images.
IMAGE_TYPES = (str, bytes, bytearray, memoryview, os.PathLike, Image.Image)
# Pillow's other formats start programs (EPS), are no pictures, or have no mark to be known by.
# HEIF is read where pillow-heif has registered it.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "MPO", "JPEG2000", "AVIF", "HEIF")
MAX_BYTES = 2**30
# Cameras of 12 bits write such values into files of 16 bits, whose white is 65535.
_DARK = 4096


class UnreadableImage(ValueError):
    """An image is missing or cannot be decoded.

    Parameters
    ----------
    row : int
    reason : str
        Sentence, without its full stop.
    remedy : str
        Sentences.
    """

    def __init__(self, row: int, reason: str, remedy: str):
        super().__init__(row, reason, remedy)
        self.row, self.reason, self.remedy = row, reason, remedy

    def __str__(self):
        return f"Row {self.row}: {self.reason}. {self.remedy}"


class UnreadableImageWarning(UserWarning):
    """Images could not be read, and their features are NaN.

    Estimators with ``on_error="nan"`` raise it once per call for all images.

    Examples
    --------
    >>> import warnings
    >>> from skltransfer import PretrainedFeatureTransformer, UnreadableImageWarning
    >>> from PIL import Image
    >>> features = PretrainedFeatureTransformer("tiny", on_error="nan")
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", UnreadableImageWarning)
    ...     rows = features.fit_transform([Image.new("RGB", (32, 32)), b"no image"])
    >>> bool(rows[0, 0] == rows[0, 0]), bool(rows[1, 0] == rows[1, 0])
    (True, False)
    """


def digest_of_image(item, row: int) -> bytes:
    """Return a digest of an image's content; a file is known by that, not by its path."""
    if not isinstance(item, Image.Image):
        return xxhash.xxh3_128_digest(_encoded(item, row))
    _load(item, row, _name(item))
    digest = xxhash.xxh3_128(f"{item.mode}{item.size}".encode())
    digest.update(item.tobytes())
    digest.update(repr(item.getpalette()).encode())
    shown = (_orientation(item), item.info.get("transparency"), _white(item))
    if shown != (1, None, 255):
        digest.update(repr(shown).encode())
    return digest.digest()


def image_pixels(item, row: int, value_range, *, as_float: bool, grey: bool | None) -> np.ndarray:
    """Return the pixels of an image as a viewer shows it.

    It is turned as its orientation tag says, and laid on white where it is transparent.

    Parameters
    ----------
    item : path, bytes or PIL image
    row : int
        Number of the image, for messages.
    value_range : (float, float) or None
        Values of black and of white in the file. None is the range of the file's format.
    as_float : bool
        Whether the result is float32 from 0 to 1, not uint8.
    grey : bool or None
        Whether the result has one channel, not three. None: if the image is grey.

    Returns
    -------
    pixels : ndarray of shape (height, width, channels)

    Raises
    ------
    UnreadableImage
        If there is no such image, or it cannot be decoded.
    ValueError
        If its values do not fit `value_range`.
    """
    image = item if isinstance(item, Image.Image) else _opened(item, row)
    samples = repr(getattr(image, "tile", ()))  # gone when it is loaded
    _load(image, row, _name(item))
    white = _white(image)
    try:
        image = _upright(image)
        is_deep = image.mode.startswith("I;16") or image.mode in ("I", "F")
        if grey is None:
            grey = is_deep or image.mode in ("1", "L")
        if is_deep:
            values, alpha = np.asarray(image)[..., None], None
        else:
            values, alpha = _shallow(image, grey)
    except MemoryError:
        raise
    except Exception as error:  # Pillow has no way from some modes, such as LAB, to RGB
        raise UnreadableImage(
            row,
            f"{_name(item)} has mode {image.mode!r}, which cannot be converted "
            f"({first_line(error)})",
            "Convert it to RGB.",
        ) from error
    if value_range is not None:
        low, high = value_range
        _check_within(item, row, values, value_range, is_deep)
    elif white is None:
        raise UnreadableImage(
            row,
            f"the image has mode {image.mode!r}, which does not say how bright white is",
            "Pass value_range=(black, white).",
        )
    else:
        low, high = 0, white
        if (white == 65535 and is_deep) or ";16" in samples:
            _warn_if_dark(values, _DARK if is_deep else _DARK // 256)
    if not as_float and (low, high) == (0, 255) and alpha is None:
        pixels = values.astype(np.uint8)
    else:
        unit = (values.astype(np.float64) - low) / (high - low)
        if alpha is not None:
            unit = alpha * unit + (1 - alpha)
        pixels = unit.astype(np.float32) if as_float else np.rint(255 * unit).astype(np.uint8)
    return np.repeat(pixels, 3, axis=2) if is_deep and not grey else pixels


def shorten_name(item) -> str:
    """Return a path, or a text in place of one, for a message."""
    text = str(item)
    length = 500 if _looks_like_path(item) else 60
    return repr(text if len(text) <= length else text[:length] + "...")


def _looks_like_path(item) -> bool:
    text = str(item)
    return bool(Path(text).suffix) and " " not in Path(text).suffix


def _name(item) -> str:
    if isinstance(item, str | os.PathLike):
        return shorten_name(item)
    if isinstance(item, Image.Image):
        path = getattr(item, "filename", "")
        return f"the PIL image{f' of {shorten_name(path)}' if path else ''}"
    return f"what its {len(item)} bytes hold"


def _encoded(item, row: int) -> bytes:
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item)
    if not isinstance(item, str | os.PathLike):
        if is_missing(item):
            raise UnreadableImage(row, f"the image is missing ({item!r})", "Drop the row.")
        raise TypeError(
            f"Row {row} is a {type(item).__name__}. Images are paths, PIL images, encoded "
            "bytes, dictionaries of bytes and path, or arrays."
        )
    try:
        return _read(Path(item))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        reason = f"the image {shorten_name(item)} cannot be read ({why})"
        remedy = "Pass the paths of images, PIL images, encoded bytes or an array."
        if os.path.isdir(item):
            remedy = (
                "skltransfer.datasets.load_image_folder(FOLDER) returns the paths of the images "
                "in a folder, and their classes."
            )
        elif not _looks_like_path(item):
            reason += ". Text needs a text encoder, not an image backbone"
        raise UnreadableImage(row, reason, remedy) from error


def _read(path: Path) -> bytes:
    """Return the content of a file; never wait for a pipe, or read a device without end."""
    _check_regular(path.stat())
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    with open(os.open(path, flags), "rb") as file:
        _check_regular(os.fstat(file.fileno()))  # it may be another one by now
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise OSError(f"it is larger than {MAX_BYTES} bytes")
    return content


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise OSError("it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is a pipe or a device, not a regular file")
    if status.st_size > MAX_BYTES:
        raise OSError(f"it has {status.st_size} bytes, more than {MAX_BYTES}")


def _opened(item, row: int) -> Image.Image:
    """Return an image whose pixels are not read yet."""
    encoded = _encoded(item, row)
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        return Image.open(io.BytesIO(encoded), formats=formats)
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds
        # Pillow's own words for it name an object in memory.
        is_unknown = isinstance(error, UnidentifiedImageError)
        reason = "of no format that is known" if is_unknown else error
        remedy = "Drop the row."
        if is_unknown:
            remedy = f"Drop the row, or convert it to one of {', '.join(FORMATS)}."
        if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
            remedy = "Make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS where you trust it."
        raise UnreadableImage(
            row, f"{_name(item)} is not an image that can be decoded ({reason})", remedy
        ) from error


def _load(image: Image.Image, row: int, name: str) -> None:
    if image.format == "EPS" and getattr(image, "tile", None):  # not loaded yet
        raise UnreadableImage(
            row,
            f"{name} is an EPS, which a program would have to draw",
            "Convert it, or call image.load() yourself where you trust it.",
        )
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        reason = f"is not an image that can be decoded ({first_line(error)})"
        remedy = "Drop the row."
        if getattr(image, "fp", None) is None or image.fp.closed:
            reason = f"was closed before its pixels were read ({first_line(error)})"
            remedy = "Call image.load() before its file is closed, or pass the path of the file."
        raise UnreadableImage(row, f"{name} {reason}", remedy) from error


def _orientation(image: Image.Image) -> int:
    """Return the orientation tag of a loaded image; 1 if there is none, or none to be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # of damaged metadata many kinds; viewers pass over them
        return 1
    return orientation if orientation in range(2, 9) else 1


def _upright(image: Image.Image) -> Image.Image:
    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


def _white(image: Image.Image) -> int | None:
    """Return the value of white; None if nothing says it."""
    if image.mode.startswith("I;16"):
        bits = getattr(image, "tag_v2", {}).get(258, (16,))  # BitsPerSample of TIFF
        return 2 ** int(bits[0]) - 1 if isinstance(bits, tuple) and 8 < bits[0] < 16 else 65535
    if image.mode == "I":
        return 65535 if image.format in ("PPM", "PNG") else None  # Pillow scales PGM so
    return None if image.mode == "F" else 255


def _shallow(image: Image.Image, grey: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the values of an image of 8 bits, and its opacity from 0 to 1; None if it is full."""
    if not image.has_transparency_data:
        return _planes(image.convert("L" if grey else "RGB")), None
    image = image.convert("RGBA")
    alpha = _planes(image.getchannel("A")) / 255
    return _planes(image.convert("L" if grey else "RGB")), alpha


def _planes(image: Image.Image) -> np.ndarray:
    pixels = np.array(image)
    return pixels.reshape(*pixels.shape[:2], -1)


def _check_within(item, row: int, values: np.ndarray, value_range, is_deep: bool) -> None:
    low, high = value_range
    if not is_deep and high > 255:
        raise ValueError(
            f"Row {row}: value_range={tuple(value_range)!r}, and {_name(item)} is read with 8 bits "
            "per channel, whose white is 255. Leave value_range=None for such images, or pass "
            "their values as arrays."
        )
    smallest, largest = values.min(), values.max()
    if not (smallest >= low and largest <= high):  # NaN fails as well
        raise ValueError(
            f"Row {row}: the pixel values of {_name(item)} run from {smallest} to {largest}, "
            f"outside of {low} to {high}. Set value_range to the values of black and white."
        )


def _warn_if_dark(values: np.ndarray, limit: int) -> None:
    if 0 < values.max() < limit:
        warn(
            "An image of 16 bits per channel has values below 4096 only: it is nearly black if "
            "white is 65535. If its camera writes 12 bits or fewer, pass value_range=(black, "
            "white), with images of several channels as arrays.",
            UserWarning,
        )
