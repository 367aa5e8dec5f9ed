"""Samples in every accepted form: how they are read, as tensors and as digests of their content."""

from __future__ import annotations

import copy

import numpy as np
import torch
import xxhash
from sklearn.utils.validation import check_array, validate_data

from skltransfer._texts import as_texts, remember_column
from skltransfer._torch._image_columns import (
    as_array,
    as_items,
    as_missing_items,
    check_not_single,
)
from skltransfer._torch._images import UnreadableImage, digest_of_image, image_pixels
from skltransfer._torch._preprocessing import Preprocessing
from skltransfer._torch._text import TextRows

IMAGE_CHANNELS = (1, 3, 4)


class TableRows:
    """Rows of a numeric table: (n, n_columns) in, the same out.

    Parameters
    ----------
    table : ndarray of shape (n, n_columns)
    names : ndarray of str of shape (n_columns,), optional
        Names of the columns, for messages.
    """

    def __init__(self, table: np.ndarray, names=None):
        self._table, self._names = np.ascontiguousarray(table), names
        self.form = f"table:{table.dtype.str}:{table.shape[1:]}"
        self.shape = table.shape[1:]

    def __len__(self) -> int:
        return len(self._table)

    def subset(self, indices: np.ndarray) -> TableRows:
        """Return some of the rows."""
        return TableRows(self._table[indices], self._names)

    def digests(self) -> list[bytes]:
        """Return one digest per row."""
        return _digests(self._table)

    def check_range(self, dtype: torch.dtype) -> None:
        """Raise a ValueError if a value is too large for a network of type `dtype`."""
        # Half of it, so that the difference to a mean is finite as well.
        limit = torch.finfo(dtype).max / 2
        if dtype == torch.float64 or not self._table.size:
            return
        too_large = ~(np.abs(self._table).max(axis=0) <= limit)
        if too_large.any():
            column = int(np.flatnonzero(too_large)[0])
            name = column if self._names is None else repr(str(self._names[column]))
            raise ValueError(
                f"Column {name} of X holds values beyond {limit:.1e}, which the network cannot "
                f"compute with in {str(dtype).removeprefix('torch.')}. Scale the columns, for "
                "example by a StandardScaler before it, or set precision='float64'."
            )

    def batch(self, indices, preprocessing: Preprocessing | None) -> torch.Tensor:
        """Return the rows at `indices`, shape (len(indices), n_columns)."""
        rows = self._table[indices]
        return torch.from_numpy(rows if rows.dtype == np.float32 else rows.astype(np.float64))


class ImageArrayRows:
    """Images in one array: (n, height, width) with channels first, last or absent.

    Parameters
    ----------
    images : ndarray of shape (n, height, width), (n, height, width, c) or (n, c, height, width)
        Integers or bools, or floats.
    value_range : (float, float) or None
        Values of black and of white. None is (0, 255) for integers and (0, 1) for the rest.
    """

    def __init__(self, images: np.ndarray, value_range=None):
        if images.dtype.kind not in "uifb":
            raise TypeError(
                f"Images have dtype {images.dtype}. Pass numbers: integers from 0 to 255, or "
                "floats."
            )
        self.channel_axis = channel_axis(images.shape[1:])
        self._images = np.ascontiguousarray(images)
        self._range = _checked_range(self._images, value_range)
        self.form = (
            f"images:{images.dtype.str}:{images.shape[1:]}:{self.channel_axis}:{self._range}"
        )
        height_width = [n for i, n in enumerate(images.shape[1:]) if i != self.channel_axis]
        channels = 1 if self.channel_axis is None else images.shape[1 + self.channel_axis]
        self.shape = (channels, *height_width)

    @property
    def value_range(self) -> tuple[float, float]:
        """Return the values of black and of white."""
        return self._range

    @property
    def are_integers(self) -> bool:
        """Tell whether pixels are integers, as in files."""
        return self._images.dtype.kind in "ui"

    def __len__(self) -> int:
        return len(self._images)

    def subset(self, indices: np.ndarray) -> ImageArrayRows:
        """Return some of the images."""
        chosen = copy.copy(self)
        chosen._images = self._images[indices]
        return chosen

    def digests(self) -> list[bytes]:
        """Return one digest per image."""
        return _digests(self._images)

    def batch(self, indices, preprocessing: Preprocessing | None) -> torch.Tensor:
        """Return the resized images at `indices`, (n, channels, height, width)."""
        images = self._images[indices]
        low, high = self._range
        if images.dtype.kind in "ui" and (low, high) == (0, 255):
            images = images.astype(np.uint8, copy=False)
        else:
            images = ((images.astype(np.float64) - low) / (high - low)).astype(np.float32)
        pixels = torch.from_numpy(images)  # indexing has copied them
        if self.channel_axis is None:
            pixels = pixels.unsqueeze(1)
        elif self.channel_axis == 2:
            pixels = pixels.permute(0, 3, 1, 2)
        return pixels if preprocessing is None else preprocessing.resize(pixels)

    def shifted(self, change: np.ndarray) -> np.ndarray:
        """Return the images with a change of their values, in their own form and type.

        Integers are rounded towards what they were. Values stay in the range.

        Parameters
        ----------
        change : ndarray of shape (n, channels, height, width)
            In parts of the range from black to white.
        """
        low, high = self._range
        change = change * (high - low)
        if self.channel_axis is None:
            change = change[:, 0]
        elif self.channel_axis == 2:
            change = change.transpose(0, 2, 3, 1)
        if self.are_integers:  # 8 levels of 255 were a little less in float32
            change = np.trunc(change + np.sign(change) * 1e-3)
        values = np.clip(self._images + change, low, high)
        return values.astype(np.float64 if self._images.dtype.kind == "b" else self._images.dtype)


class EncodedImageRows:
    """Images one by one, of any size: paths, encoded bytes, PIL images or arrays.

    Parameters
    ----------
    items : list
    value_range : (float, float) or None
        Values of black and of white in files and arrays. None is the range of a file's format, and
        as in :class:`ImageArrayRows` for arrays.
    """

    def __init__(self, items: list, value_range=None):
        self._items = items
        self._range = None if value_range is None else _as_range(value_range)
        # All batches are of one type: bytes, or numbers from 0 to 1 where these are too coarse.
        self._as_float = self._range not in (None, (0, 255)) or any(
            isinstance(item, np.ndarray) and item.dtype.kind not in "ui" for item in items
        )
        is_plain = self._range is None and not self._as_float
        self.form = "encoded images" + ("" if is_plain else f":{self._range}:{self._as_float}")
        self.shape = None

    def __len__(self) -> int:
        return len(self._items)

    def subset(self, indices: np.ndarray) -> EncodedImageRows:
        """Return some of the images."""
        chosen = copy.copy(self)
        chosen._items = [self._items[i] for i in indices]
        return chosen

    def digests(self) -> list[bytes]:
        """Return one digest per image; a file is known by its content, not by its path."""
        return [self._digest(row) for row in range(len(self._items))]

    def _digest(self, row: int) -> bytes:
        item = self._items[row]
        if isinstance(item, np.ndarray):
            digest = xxhash.xxh3_128(f"array{item.dtype.str}{item.shape}".encode())
            digest.update(np.ascontiguousarray(item))
            return digest.digest()
        return digest_of_image(item, row)

    def batch(self, indices, preprocessing: Preprocessing | None) -> torch.Tensor:
        """Return the resized images at `indices`, (n, channels, height, width)."""
        decoded = {row: self._pixels(row, preprocessing) for row in set(indices)}
        sizes = {tuple(pixels.shape) for pixels in decoded.values()}
        if len(sizes) > 1:
            raise ValueError(
                f"The images have different shapes (channels, height, width), such as "
                f"{sorted(sizes)[:3]}, and this backbone has no preprocessing that resizes them. "
                "Set input_size, or resize the images."
            )
        return torch.stack([decoded[row] for row in indices])

    def unreadable(self, until_first_readable: bool = False) -> dict[int, UnreadableImage]:
        """Return the rows that cannot be read, each with its error, in the order of the rows."""
        errors = {}
        for row in range(len(self)):
            try:
                self._pixels(row, None)
            except UnreadableImage as error:
                errors[row] = error
                continue
            if until_first_readable:
                break
        return errors

    def _pixels(self, row: int, preprocessing: Preprocessing | None) -> torch.Tensor:
        item = self._items[row]
        n_channels = None if preprocessing is None else len(preprocessing.mean)
        if isinstance(item, np.ndarray):
            pixels = self._of_array(item, row, n_channels)
        else:
            pixels = image_pixels(
                item,
                row,
                self._range,
                as_float=self._as_float,
                grey=None if n_channels is None else n_channels == 1,
            )
            pixels = torch.from_numpy(pixels).permute(2, 0, 1)
        return pixels if preprocessing is None else preprocessing.resize(pixels)

    def _of_array(self, item: np.ndarray, row: int, n_channels: int | None) -> torch.Tensor:
        if item.ndim not in (2, 3):
            raise ValueError(
                f"Row {row} holds an array of shape {item.shape}. An image is (height, width), "
                "(height, width, channels) or (channels, height, width)."
            )
        try:
            pixels = ImageArrayRows(item[None], self._range).batch([0], None)[0]
        except (TypeError, ValueError) as error:
            raise type(error)(f"Row {row}: {error}") from error
        if n_channels is not None and len(pixels) not in (1, n_channels):
            raise ValueError(
                f"Row {row}: the image has {len(pixels)} channels, and the backbone takes "
                f"{n_channels} (or 1, which is repeated)."
            )
        if self._as_float and pixels.dtype == torch.uint8:
            pixels = pixels.float() / 255
        return pixels if n_channels is None else pixels.expand(n_channels, -1, -1)


Rows = TableRows | ImageArrayRows | EncodedImageRows | TextRows


def _digests(array: np.ndarray) -> list[bytes]:
    rows = array.reshape(len(array), -1).view(np.uint8) if array.size else array
    return [xxhash.xxh3_128_digest(row) for row in rows]


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """Tell which axis of an image's shape holds the channels: 0, 2, or None for grey images."""
    if len(shape) == 2:
        return None
    first, last = shape[0] in IMAGE_CHANNELS, shape[2] in IMAGE_CHANNELS
    if first and last:
        raise ValueError(
            f"Images of shape {shape} may have their channels first or last. Pass them as PIL "
            "images, or resize them to at least 5 pixels a side."
        )
    if not first and not last:
        raise ValueError(
            f"Images of shape {shape} have neither 1, 3 nor 4 channels in their first or last "
            "axis. Pass (n, height, width), (n, height, width, channels) or (n, channels, height, "
            "width)."
        )
    return 0 if first else 2


def _checked_range(images: np.ndarray, value_range) -> tuple[float, float]:
    if value_range is None:
        low, high = (0, 255) if images.dtype.kind in "ui" else (0, 1)
    else:
        low, high = _as_range(value_range)
    limits = np.iinfo(images.dtype) if images.dtype.kind in "ui" else None
    if images.size and (limits is None or limits.min < low or limits.max > high):
        smallest, largest = images.min(), images.max()
        if not (smallest >= low and largest <= high):  # NaN fails as well
            raise ValueError(
                f"Pixel values run from {smallest} to {largest}, outside of {low} to {high}. Set "
                "value_range to the values of black and white, for example value_range=(0, 16) for "
                "scikit-learn's digits."
            )
    return low, high


def _as_range(value_range) -> tuple[float, float]:
    try:
        low, high = value_range
        is_range = bool(low < high)
    except (TypeError, ValueError):
        is_range = False
    if not is_range:
        raise ValueError(
            f"value_range={value_range!r} has to be (black, white) with black < white."
        )
    return low, high


def read_rows(
    estimator, X, *, reset: bool, image_shape=None, value_range=None, is_text=False
) -> Rows:
    """Read `X` in whatever form it comes, and let the estimator remember or check its width.

    Parameters
    ----------
    estimator : BaseEstimator
        Gets ``n_features_in_`` and ``feature_names_in_``, or has them.
    X : array-like
    reset : bool
        Whether the estimator is being fitted.
    image_shape, value_range : tuple or None
        How images are given, see :class:`~skltransfer.PretrainedFeatureTransformer`.
    is_text : bool, default=False
        Whether strings are texts, not paths of images; nothing else is accepted then.
    """
    if is_text:
        backbone = getattr(estimator, "backbone", None)
        texts = as_texts(X, str(getattr(backbone, "name", backbone)))
        remember_column(estimator, X, reset)
        return TextRows(texts)
    # An array of numbers is nothing else; one column alone may be of missing images.
    is_numbers = isinstance(X, np.ndarray) and X.dtype.kind in "biuf" and X.ndim > 1
    if not is_numbers or X.ndim == 2 and X.shape[1] == 1:
        check_not_single(X)
        if isinstance(X, list | tuple) and not X:
            raise ValueError("Found array with 0 sample(s) while a minimum of 1 is required.")
        items = as_items(X) or as_missing_items(X)
        if items is not None:
            remember_column(estimator, X, reset)
            return EncodedImageRows(items, value_range)
        X = as_array(X)
        if hasattr(X, "detach"):  # a tensor, on any device
            X = X.detach().cpu()
            X = (X.float() if X.dtype.itemsize == 2 and X.is_floating_point() else X).numpy()
    if n_dimensions(X) > 2:
        if not (type(X) is np.ndarray and X.dtype.kind in "biu" and len(X)):  # nothing to refuse
            X = check_array(X, allow_nd=True, dtype=None, input_name="X")
        if X.ndim > 4:
            raise ValueError(
                f"X has {X.ndim} dimensions. Pass images as (n, height, width), "
                "(n, height, width, channels) or (n, channels, height, width)."
            )
        if reset:
            estimator.n_features_in_ = int(np.prod(X.shape[1:]))
            estimator.__dict__.pop("feature_names_in_", None)
        return ImageArrayRows(X, value_range)
    X = validate_data(estimator, X, reset=reset)
    if image_shape is None:
        return TableRows(X, getattr(estimator, "feature_names_in_", None))
    shape = tuple(image_shape)
    if len(shape) not in (2, 3) or np.prod(shape) != X.shape[1]:
        raise ValueError(
            f"image_shape={image_shape!r} does not describe rows of {X.shape[1]} values. "
            "Pass (height, width), (height, width, channels) or (channels, height, width)."
        )
    return ImageArrayRows(X.reshape(len(X), *shape), value_range)


def check_images_for(backbone_name: str, preprocessing, rows: Rows) -> None:
    """Raise a ValueError if a network that takes images is given rows of a table."""
    if isinstance(rows, TableRows) and preprocessing is not None:
        raise ValueError(
            f"X has shape {(len(rows), *rows.shape)}, and {backbone_name!r} takes images. For "
            "images flattened into rows pass image_shape=(height, width), or pass them as "
            "arrays of 3 or 4 dimensions, paths, PIL images or encoded bytes."
        )


def n_dimensions_of_images(X) -> int | None:
    """Return the number of dimensions of an array of images, None for other rows."""
    return X.ndim if getattr(X, "ndim", 0) > 2 else None


def check_dimensions(fitted: int | None, X) -> None:
    """Raise a ValueError if images have another number of dimensions than in `fit`."""
    given = n_dimensions_of_images(X)
    if fitted is not None and given is not None and fitted != given:
        raise ValueError(
            f"X has {given} dimensions, and this estimator was fitted on images in an array "
            f"of {fitted}. Pass a single image as X[None], and grey images among colour ones "
            "as X[..., None]."
        )


def n_dimensions(X) -> int:
    """Return the number of dimensions of an array-like."""
    if hasattr(X, "ndim"):
        return X.ndim
    try:
        return np.asarray(X).ndim
    except ValueError as error:
        raise ValueError(
            "X holds arrays of different shapes. Resize them to one shape, or pass PIL images, "
            "paths or encoded bytes."
        ) from error
