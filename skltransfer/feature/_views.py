"""Random views of images and of samples of tables, which keep their meaning."""

from __future__ import annotations

import torch
from torch.nn import functional
from torchvision.transforms import v2

from skltransfer._torch._augmentation import MIXES, Augmentation, names_of
from skltransfer._torch._batches import Batch
from skltransfer._torch._preprocessing import unit_range

# Largest changes at strength 1; rotation and shear in radians, shift in parts of the side.
_ZOOM, _ROTATION, _SHEAR, _SHIFT = 0.25, 0.26, 0.2, 0.12
_CONTRAST, _BRIGHTNESS, _CHANNEL, _NOISE = 0.4, 0.2, 0.1, 0.06


class ImageViews:
    """Zoom, turn, shear and shift each image a little, and change its brightness.

    Images are not mirrored, because characters lose their meaning. All images of a batch
    change in one pass. Random numbers come from torch's global generator, which the training seeds
    and restores.

    Parameters
    ----------
    strength : float
        Size of the changes, relative to the usual size. 0 changes nothing.
    """

    def __init__(self, strength: float):
        self.strength = strength

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return one view of each image.

        Parameters
        ----------
        x : Tensor of shape (n, channels, height, width)
            Values in [0, 1].
        """
        if self.strength == 0:
            return x
        return self._recoloured(self._moved(x))

    def _uniform(self, x: torch.Tensor, bound: float, *shape: int) -> torch.Tensor:
        draws = torch.rand((len(x), *shape), dtype=x.dtype, device=x.device)
        return (2 * draws - 1) * bound * self.strength

    def _moved(self, x: torch.Tensor) -> torch.Tensor:
        angle, shear = self._uniform(x, _ROTATION), self._uniform(x, _SHEAR)
        zoom = self._uniform(x, _ZOOM, 2).exp()
        shift = 2 * self._uniform(x, _SHIFT, 2)  # the grid has side 2
        cos, sin = angle.cos(), angle.sin()
        rows = [cos, shear * cos - sin, shift[:, 0], sin, shear * sin + cos, shift[:, 1]]
        matrix = torch.stack(rows, dim=1).reshape(-1, 2, 3)
        matrix = torch.cat([matrix[:, :, :2] * zoom[:, :, None], matrix[:, :, 2:]], dim=2)
        grid = functional.affine_grid(matrix, x.shape, align_corners=False)
        return functional.grid_sample(x, grid, padding_mode="border", align_corners=False)

    def _recoloured(self, x: torch.Tensor) -> torch.Tensor:
        contrast = 1 + self._uniform(x, min(_CONTRAST, 1 / self.strength), 1, 1, 1)
        shift = self._uniform(x, _BRIGHTNESS, 1, 1, 1)
        if x.shape[1] > 1:
            shift = shift + self._uniform(x, _CHANNEL, x.shape[1], 1, 1)
        mean = x.mean((1, 2, 3), keepdim=True)
        noise = self._uniform(x, _NOISE, 1, 1, 1) * torch.randn_like(x)
        return ((x - mean) * contrast + mean + shift + noise).clamp(0, 1)


class PolicyViews:
    """Views by named policies, transforms of ``torchvision.transforms.v2`` or functions.

    Parameters
    ----------
    policies : list of str or callable
        See :func:`checked_policies`.
    are_images : bool
    """

    def __init__(self, policies: list, are_images: bool):
        each = [_EachRow(p) if isinstance(p, v2.Transform) else p for p in policies]
        self._augmentation = Augmentation(each, are_images)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return one view of each sample."""
        view = self._augmentation(Batch(x, x.new_zeros(len(x)))).inputs
        return unit_range(view, x.dtype)


class _EachRow:
    """A transform of torchvision that is drawn anew for each image."""

    def __init__(self, transform: v2.Transform):
        self._transform = transform

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self._transform(image) for image in x])


def checked_policies(augment) -> list | None:
    """Return the policies that `augment` names; None for "default"."""
    if isinstance(augment, str) and augment == "default":
        return None
    policies = names_of(augment)
    mixes = [policy for policy in policies if isinstance(policy, str) and policy in MIXES]
    if mixes:
        raise ValueError(
            f"augment={augment!r}: {mixes[0]!r} mixes samples, and a view shows one sample. Leave "
            "it out."
        )
    return policies


class SwappedColumns:
    """Replace some columns of each sample by values of other samples (swap noise).

    The values come from random samples of the batch, so that each column keeps its distribution.

    Parameters
    ----------
    share : float
        Share of the columns that is replaced. At least one column is.
    """

    def __init__(self, share: float):
        self.share = share

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return a corrupted copy, shape (n, n_columns)."""
        n_rows, n_columns = x.shape
        n_replaced = max(1, round(self.share * n_columns))
        chosen = torch.rand(x.shape, device=x.device).argsort(1)[:, :n_replaced]
        donors = torch.randint(n_rows, (n_rows, n_replaced), device=x.device)
        return x.scatter(1, chosen, x[donors, chosen])


class Noise:
    """Add normal noise.

    Parameters
    ----------
    scale : float or Tensor of shape (n_columns,)
        Standard deviation of the noise, in the units of the samples.
    clip : bool
        Whether values stay in [0, 1], as pixels do.
    """

    def __init__(self, scale, clip: bool):
        self.scale, self.clip = scale, clip

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return a corrupted copy."""
        x = x + torch.randn_like(x) * self.scale
        return x.clamp(0, 1) if self.clip else x


def patch_mask(x: torch.Tensor, share: float, patch: int) -> torch.Tensor:
    """Draw square patches of each image, at least one, and not all of several.

    Parameters
    ----------
    x : Tensor of shape (n, channels, height, width)
    share : float
        Share of the patches that is drawn.
    patch : int
        Side of a patch in pixels. Patches at the right and lower edge may be cut.

    Returns
    -------
    mask : Tensor of shape (n, 1, height, width)
        1 inside the patches that were drawn.
    """
    n, _, height, width = x.shape
    rows, columns = -(-height // patch), -(-width // patch)
    n_patches = rows * columns
    n_drawn = min(max(1, round(share * n_patches)), max(1, n_patches - 1))
    drawn = torch.rand((n, n_patches), device=x.device).argsort(1)[:, :n_drawn]
    mask = x.new_zeros((n, n_patches)).scatter(1, drawn, 1.0).reshape(n, 1, rows, columns)
    mask = mask.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)
    return mask[:, :, :height, :width]
