"""The preprocessing that belongs to a network's weights, on batches of pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Integral, Real

import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from skltransfer._parameters import Choice


@dataclass(frozen=True)
class Preprocessing:
    """Resize, centre-crop and normalise, as the weights were trained.

    Parameters
    ----------
    resize_size : int or (int, int)
        Length of the shorter side in pixels, or (height, width) regardless of the proportions.
    crop_size : int
        Height and width of the centre crop in pixels.
    mean, std : tuple of float
        Mean and standard deviation of each channel, for pixels in [0, 1].
    interpolation : str, default="bilinear"
        Interpolation mode of torchvision; antialiasing is always on.
    rounding : {"torchvision", "transformers"}, default="torchvision"
        Library whose rounding is followed. ``"torchvision"`` (also timm) interpolates bicubically
        as Pillow does, and rounds the centre of a crop to the nearest pixel. ``"transformers"``
        interpolates integers as torch does, and rounds the centre down; one pixel in a hundred
        thousand differs by two grey levels, and it takes a quarter of the time.

    Examples
    --------
    >>> from skltransfer import Preprocessing
    >>> grey = Preprocessing(resize_size=32, crop_size=28, mean=(0.5,), std=(0.25,))
    >>> grey.with_input_size(64).crop_size
    64
    """

    resize_size: int | tuple[int, int]
    crop_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bilinear"
    rounding: str = "torchvision"

    def __post_init__(self):
        sizes = (self.resize_size,) if isinstance(self.resize_size, Integral) else self.resize_size
        for name, values in (("resize_size", sizes), ("crop_size", (self.crop_size,))):
            is_sizes = isinstance(values, tuple | list) and len(values) in (1, 2)
            if not is_sizes or not all(isinstance(v, Integral) and v >= 1 for v in values):
                raise ValueError(f"{name}={getattr(self, name)!r} is no size in pixels.")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if not all(isinstance(v, Real) and math.isfinite(v) for v in values):
                raise ValueError(f"{name}={values!r} does not hold one number per channel.")
        if not len(self.mean) or len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ValueError(
                f"mean={self.mean!r} and std={self.std!r} need one number per channel each, and "
                "std has to be greater than 0."
            )
        modes = Choice(*(mode.value for mode in InterpolationMode))
        modes.check("interpolation", self.interpolation)
        Choice("torchvision", "transformers").check("rounding", self.rounding)

    @classmethod
    def from_torchvision(cls, preset) -> Preprocessing:
        """Convert a preset of torchvision.

        Parameters
        ----------
        preset : callable
            Preset, such as ``weights.transforms()`` of torchvision.

        Returns
        -------
        preprocessing : Preprocessing
        """
        return cls(
            preset.resize_size[0],
            preset.crop_size[0],
            tuple(preset.mean),
            tuple(preset.std),
            preset.interpolation.value,
        )

    def with_input_size(self, size: int) -> Preprocessing:
        """Return the preprocessing for another input size, without a margin around the crop.

        Parameters
        ----------
        size : int
            Height and width in pixels.

        Returns
        -------
        preprocessing : Preprocessing
        """
        resize_size = size if isinstance(self.resize_size, int) else (size, size)
        return replace(self, resize_size=resize_size, crop_size=size)

    def resize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Resize and crop.

        Parameters
        ----------
        pixels : Tensor of shape (..., channels, height, width)
            As uint8 or values in [0, 1].

        Returns
        -------
        pixels : Tensor of shape (..., channels, crop_size, crop_size)
            Pixels of the same type.
        """
        size = [self.resize_size] if isinstance(self.resize_size, int) else list(self.resize_size)
        mode = InterpolationMode(self.interpolation)
        is_bicubic = mode is InterpolationMode.BICUBIC
        if self.rounding == "torchvision" and is_bicubic and pixels.dtype == torch.uint8:
            pixels = _bicubic(pixels, size)
        else:
            pixels = transforms.resize(pixels, size, interpolation=mode, antialias=True)
        size = self.crop_size
        height, width = pixels.shape[-2:]
        if self.rounding == "torchvision" or min(height, width) < size:
            return transforms.center_crop(pixels, [size, size])
        top, left = (height - size) // 2, (width - size) // 2
        return pixels[..., top : top + size, left : left + size]

    def blank(self, dtype: torch.dtype) -> torch.Tensor:
        """Return one image without content, as the network takes it.

        Parameters
        ----------
        dtype : torch.dtype
            Type of the result.

        Returns
        -------
        x : Tensor of shape (1, len(mean), crop_size, crop_size)
        """
        return torch.zeros((1, len(self.mean), self.crop_size, self.crop_size), dtype=dtype)

    def normalize(self, pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Turn pixels into what the network takes.

        Parameters
        ----------
        pixels : Tensor of shape (n, channels, height, width)
            As uint8 or values in [0, 1]. One channel is repeated.
        dtype : torch.dtype
            Type of the result.

        Returns
        -------
        x : Tensor of shape (n, len(mean), height, width)
            Contiguous.

        Raises
        ------
        ValueError
            If there are neither ``len(mean)`` channels nor one.
        """
        if pixels.shape[1] not in (1, len(self.mean)):
            raise ValueError(
                f"The images have {pixels.shape[1]} channels, and the backbone takes "
                f"{len(self.mean)} (or 1, which is repeated)."
            )
        white = 255 if pixels.dtype == torch.uint8 else 1
        at_least = torch.promote_types(dtype, torch.float32)  # of a half it is rounded once
        pixels = pixels.to(at_least)
        n, n_channels, height, width = pixels.shape
        shape = (n, len(self.mean), height, width)
        # What is written into a tensor has no gradient.
        x = (
            None
            if pixels.requires_grad
            else torch.empty(shape, dtype=at_least, device=pixels.device)
        )
        planes = []
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            # One pass over a plane: (pixels / white - mean) / std. One for all channels would take
            # several times as long: numbers that differ by channel are no fast case of addcmul.
            shift, scale = (
                torch.tensor(v, dtype=at_least) for v in (-mean / std, 1 / (white * std))
            )
            plane = pixels[:, channel if n_channels > 1 else 0]
            out = None if x is None else x[:, channel]
            planes.append(torch.add(shift.to(plane.device), plane, alpha=scale.item(), out=out))
        x = torch.stack(planes, dim=1) if x is None else x
        return x.to(dtype)


def unit_range(pixels: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Convert uint8 pixels to `dtype` in [0, 1]; cast anything else."""
    if pixels.dtype == torch.uint8:
        return pixels.to(dtype) / 255
    return pixels.to(dtype)


def _bicubic(pixels: torch.Tensor, size: list[int]) -> torch.Tensor:
    """Resize uint8 as Pillow does: the width first, rounded, and then the height."""
    height, width = pixels.shape[-2:]
    if len(size) == 1:  # of the shorter side, as in torchvision
        short, long = size[0], int(size[0] * max(height, width) / min(height, width))
        size = [short, long] if height <= width else [long, short]
    mode = InterpolationMode.BICUBIC
    x = pixels.float()
    for sides in ([height, size[1]], size):
        x = transforms.resize(x, sides, interpolation=mode, antialias=True)
        x = x.round_().clamp_(0, 255)
    return x.to(torch.uint8)
