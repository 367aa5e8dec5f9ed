"""Tasks that rows set themselves: a head on the network, and the objective of its training."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from skltransfer._torch._batches import Batch
from skltransfer._torch._extraction import FeatureNetwork
from skltransfer._torch._layers import Standardize
from skltransfer._torch._preprocessing import unit_range
from skltransfer._torch._pretext_losses import masked_error
from skltransfer.feature._views import patch_mask

# Weight of the reconstruction beside the estimate of the mask.
_RECONSTRUCTION_WEIGHT = 2.0
# Images are put back together at this size at most, along each side.
_LARGEST_SIDE = 32
_PATCHES_A_SIDE = 7


class PretextNetwork(nn.Module):
    """Rows through the network and a head that is thrown away after training.

    Parameters
    ----------
    features : FeatureNetwork
    head : Module
    preprocessing : Preprocessing or None
    dtype : torch.dtype
        Of all of it.
    autocast : torch.dtype, optional
        Arithmetic of network and head, and of nothing else: views and losses need more digits.
    """

    def __init__(
        self, features: FeatureNetwork, head: nn.Module, preprocessing, dtype, autocast=None
    ):
        super().__init__()
        self.features, self.head = features, head
        self.preprocessing, self.dtype, self.autocast = preprocessing, dtype, autocast

    def numbers(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return a batch as columns, or as pixels in [0, 1]."""
        return unit_range(inputs, self.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs of the head in full precision, for what `numbers` gives."""
        if self.preprocessing is not None:
            x = self.preprocessing.normalize(x, self.dtype)
        with torch.autocast(x.device.type, self.autocast, enabled=self.autocast is not None):
            outputs = self.head(self.features(x))
        return outputs.to(self.dtype)


def projection_head(n_features: int, sizes: tuple[int, ...]) -> nn.Sequential:
    """Return linear layers with batch normalisation and ReLU between them."""
    layers = []
    for size in sizes[:-1]:
        layers += [nn.Linear(n_features, size, bias=False), nn.BatchNorm1d(size), nn.ReLU()]
        n_features = size
    return nn.Sequential(*layers, nn.Linear(n_features, sizes[-1]))


class TwoViews:
    """The loss of two views of each row.

    Parameters
    ----------
    views : pair of callable
        Each takes and returns rows as `PretextNetwork.numbers` gives them.
    loss : callable
        Takes the outputs for either view.
    """

    def __init__(self, views: tuple[Callable, Callable], loss: Callable):
        self.views, self.loss = views, loss

    def __call__(self, network: PretextNetwork, batch: Batch) -> torch.Tensor:
        """Return the loss of each row, or their mean."""
        x = network.numbers(batch.inputs)
        # In one pass: batch normalisation sees both.
        z = network(torch.cat([view(x) for view in self.views]))
        return self.loss(*z.chunk(2))


class Rotation:
    """Tell by which multiple of 90 degrees an image was turned.

    Equations 2 and 3 of Gidaris et al., "Unsupervised Representation Learning by Predicting Image
    Rotations", ICLR 2018: each image enters in all four positions.
    """

    n_outputs = 4

    def __call__(self, network: PretextNetwork, batch: Batch) -> torch.Tensor:
        """Return the loss of each image, shape (n,)."""
        x = network.numbers(batch.inputs)
        outputs = network(torch.cat([x.rot90(turns, (2, 3)) for turns in range(4)]))
        turns = torch.arange(4, device=x.device).repeat_interleave(len(x))
        losses = functional.cross_entropy(outputs, turns, reduction="none")
        return losses.reshape(4, len(x)).mean(0)


class DenoisedColumns:
    """Put rows of a table back together from corrupted ones; errors in standard deviations.

    Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", ICML
    2008, with the squared error.

    Parameters
    ----------
    corrupt : callable
    columns : Standardize
        Of the training rows.
    """

    def __init__(self, corrupt: Callable, columns: Standardize):
        self.corrupt, self.columns = corrupt, columns
        self.n_outputs = len(columns.mean)

    def __call__(self, network: PretextNetwork, batch: Batch) -> torch.Tensor:
        """Return the loss of each row, shape (n,)."""
        x = network.numbers(batch.inputs)
        return masked_error(network(self.corrupt(x)), self.columns(x))


class MaskedColumns(DenoisedColumns):
    """Tell which columns were replaced, and put them back.

    Equations 4 to 6 of Yoon et al., "VIME: Extending the Success of Self- and Semi-supervised
    Learning to Tabular Domain", NeurIPS 2020. The mask is what differs after the replacement.
    """

    def __init__(self, corrupt: Callable, columns: Standardize):
        super().__init__(corrupt, columns)
        self.n_outputs = 2 * len(columns.mean)

    def __call__(self, network: PretextNetwork, batch: Batch) -> torch.Tensor:
        """Return the loss of each row, shape (n,)."""
        x = network.numbers(batch.inputs)
        corrupted = self.corrupt(x)
        mask, values = network(corrupted).chunk(2, dim=1)
        changed = (corrupted != x).to(x.dtype)
        estimate = functional.binary_cross_entropy_with_logits(mask, changed, reduction="none")
        return estimate.mean(1) + _RECONSTRUCTION_WEIGHT * masked_error(values, self.columns(x))


class DenoisedImages:
    """Put images back together from noisy ones, at no more than 32 pixels a side.

    Parameters
    ----------
    corrupt : callable
    shape : tuple of int
        (channels, height, width) of the images as they enter the network.
    """

    def __init__(self, corrupt: Callable, shape: tuple[int, int, int]):
        self.corrupt = corrupt
        self.shape = (shape[0], *(min(side, _LARGEST_SIDE) for side in shape[1:]))
        self.n_outputs = self.shape[0] * self.shape[1] * self.shape[2]

    def _small(self, x: torch.Tensor) -> torch.Tensor:
        return functional.adaptive_avg_pool2d(x, self.shape[1:])

    def __call__(self, network: PretextNetwork, batch: Batch) -> torch.Tensor:
        """Return the loss of each image, shape (n,)."""
        x = network.numbers(batch.inputs)
        outputs = network(self.corrupt(x)).reshape(-1, *self.shape)
        return masked_error(outputs, self._small(x))


class MaskedImages(DenoisedImages):
    """Put the patches back that were covered with the image's mean.

    Loss on the covered patches alone, as in He et al., "Masked Autoencoders Are Scalable Vision
    Learners", CVPR 2022 (section 3); the network sees the whole image, so that any one will do.

    Parameters
    ----------
    share : float
        Part of the patches that is covered.
    shape : tuple of int
        (channels, height, width).
    """

    def __init__(self, share: float, shape: tuple[int, int, int]):
        super().__init__(lambda x: x, shape)
        self.share, self.patch = share, max(2, min(shape[1:]) // _PATCHES_A_SIDE)

    def __call__(self, network: PretextNetwork, batch: Batch) -> torch.Tensor:
        """Return the loss of each image, shape (n,)."""
        x = network.numbers(batch.inputs)
        mask = patch_mask(x, self.share, self.patch)
        covered = torch.where(mask > 0, x.mean((2, 3), keepdim=True), x)
        outputs = network(covered).reshape(-1, *self.shape)
        return masked_error(outputs, self._small(x), self._small(mask))


def reconstruction_head(n_features: int, n_outputs: int) -> nn.Sequential:
    """Return a light decoder."""
    width = min(512, max(64, n_features))
    return nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, n_outputs))
