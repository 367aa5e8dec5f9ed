"""Objectives of learning without labels, each with a head of its own."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from skltransfer._networks._built import Built
from skltransfer._networks._objective import Objective
from skltransfer._networks._plan import Plan
from skltransfer._torch._layers import Standardize
from skltransfer._torch._preprocessing import unit_range
from skltransfer._torch._rows import Rows
from skltransfer.backbones._table import as_table
from skltransfer.feature._views import (
    ImageViews,
    Noise,
    PolicyViews,
    SwappedColumns,
    patch_mask,
)

# Added to standard deviations, so that constant outputs have no correlation.
_SMALLEST_SCALE = 1e-6
# Weight of the reconstruction beside the estimate of the mask.
_RECONSTRUCTION_WEIGHT = 2.0
# Largest side, in pixels, of the images that are restored.
_LARGEST_SIDE = 32
_PATCHES_A_SIDE = 7
# Meaning of "auto": a share of the columns or patches, or the standard deviation of the noise.
_CORRUPTION = {
    ("views", "swap"): 0.6,  # Bahri et al. 2022
    ("denoising", "swap"): 0.3,
    ("masked", "swap"): 0.3,  # Yoon et al. 2020
    ("views", "gaussian"): 0.5,
    ("denoising", "gaussian"): 0.5,
    ("denoising", "pixels"): 0.3,
    ("masked", "patches"): 0.6,
}


class Pretext(Objective):
    """A task for the features of a network and a head that is dropped after training.

    Views and losses are computed in full precision, because they need more digits than the network
    and the head, which run in the precision of the training.

    Parameters
    ----------
    head : Module
        Module that takes the features.
    """

    def __init__(self, head: nn.Module):
        self.head = head

    def modules(self) -> tuple[nn.Module, ...]:
        """Return the head."""
        return (self.head,)

    def __call__(self, network, batch, features=None):
        """Return the terms of the loss; the given features are not used, for views replace them."""
        kind = batch.inputs.device.type
        dtype, is_mixed = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)

        def outputs_of(x: torch.Tensor) -> torch.Tensor:
            with torch.autocast(kind, dtype, enabled=is_mixed):
                outputs = self.head(network.embed(x))
            return outputs.to(network.dtype)

        with torch.autocast(kind, enabled=False):
            return self.terms(outputs_of, unit_range(batch.inputs, network.dtype))

    @abstractmethod
    def terms(self, outputs_of: Callable, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the terms of the loss.

        Parameters
        ----------
        outputs_of : callable
            Function that passes samples through network and head.
        x : Tensor of shape (n, ...)
            Columns, or pixels in [0, 1].
        """


def projection_head(n_features: int, sizes: tuple[int, ...]) -> nn.Sequential:
    """Return linear layers with batch normalisation and ReLU between them."""
    layers = []
    for size in sizes[:-1]:
        layers += [nn.Linear(n_features, size, bias=False), nn.BatchNorm1d(size), nn.ReLU()]
        n_features = size
    return nn.Sequential(*layers, nn.Linear(n_features, sizes[-1]))


class TwoViews(Pretext):
    """The loss of two views of each sample.

    Parameters
    ----------
    views : pair of callable
        Functions that take and return columns, or pixels in [0, 1].
    loss : callable
        Function of the outputs for both views.
    head : Module
    """

    def __init__(self, views: tuple[Callable, Callable], loss: Callable, head: nn.Module):
        super().__init__(head)
        self.views, self.loss = views, loss

    def terms(self, outputs_of, x):
        """Return the loss of each sample, or the mean loss."""
        # One pass, so that batch normalisation sees both views.
        z = outputs_of(torch.cat([view(x) for view in self.views]))
        return {"view_loss": self.loss(*z.chunk(2))}


class Rotation(Pretext):
    """Predict the multiple of 90 degrees by which an image was turned.

    Equations 2 and 3 of Gidaris et al., "Unsupervised Representation Learning by Predicting Image
    Rotations", ICLR 2018. Each image enters in all four positions.
    """

    def __init__(self, n_features: int):
        super().__init__(nn.Linear(n_features, 4))

    def terms(self, outputs_of, x):
        """Return the loss of each image."""
        outputs = outputs_of(torch.cat([x.rot90(turns, (2, 3)) for turns in range(4)]))
        turns = torch.arange(4, device=x.device).repeat_interleave(len(x))
        losses = functional.cross_entropy(outputs, turns, reduction="none")
        return {"rotation_loss": losses.reshape(4, len(x)).mean(0)}


class DenoisedColumns(Pretext):
    """Restore samples of a table from corrupted ones, with errors in standard deviations.

    Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders", ICML
    2008, with the squared error.

    Parameters
    ----------
    n_features : int
    corrupt : callable
    columns : Standardize
        Mean and scale of the columns of the training samples.
    """

    outputs_per_column = 1

    def __init__(self, n_features: int, corrupt: Callable, columns: Standardize):
        n_outputs = self.outputs_per_column * len(columns.mean)
        super().__init__(reconstruction_head(n_features, n_outputs))
        self.corrupt, self.columns = corrupt, columns

    def terms(self, outputs_of, x):
        """Return the loss of each sample."""
        error = masked_error(outputs_of(self.corrupt(x)), self.columns(x))
        return {"reconstruction_loss": error}


class MaskedColumns(DenoisedColumns):
    """Predict which columns were replaced, and restore their values.

    Equations 4 to 6 of Yoon et al., "VIME: Extending the Success of Self- and Semi-supervised
    Learning to Tabular Domain", NeurIPS 2020. The mask holds the entries that
    differ after the replacement.
    """

    outputs_per_column = 2

    def terms(self, outputs_of, x):
        """Return the losses of each sample, for its mask and for its columns."""
        corrupted = self.corrupt(x)
        mask, values = outputs_of(corrupted).chunk(2, dim=1)
        changed = (corrupted != x).to(x.dtype)
        estimate = functional.binary_cross_entropy_with_logits(mask, changed, reduction="none")
        return {
            "mask_loss": estimate.mean(1),
            "reconstruction_loss": _RECONSTRUCTION_WEIGHT * masked_error(values, self.columns(x)),
        }


class DenoisedImages(Pretext):
    """Restore images from noisy ones, at no more than 32 pixels a side.

    Parameters
    ----------
    n_features : int
    corrupt : callable
    shape : tuple of int
        (channels, height, width) of the images as they enter the network.
    """

    def __init__(self, n_features: int, corrupt: Callable, shape: tuple[int, int, int]):
        self.shape = (shape[0], *(min(side, _LARGEST_SIDE) for side in shape[1:]))
        super().__init__(reconstruction_head(n_features, math.prod(self.shape)))
        self.corrupt = corrupt

    def _small(self, x: torch.Tensor) -> torch.Tensor:
        return functional.adaptive_avg_pool2d(x, self.shape[1:])

    def terms(self, outputs_of, x):
        """Return the loss of each image."""
        outputs = outputs_of(self.corrupt(x)).reshape(-1, *self.shape)
        return {"reconstruction_loss": masked_error(outputs, self._small(x))}


class MaskedImages(DenoisedImages):
    """Restore the patches that were covered with the image's mean.

    The loss counts the covered patches alone, as in He et al., "Masked Autoencoders Are Scalable
    Vision Learners", CVPR 2022 (section 3). The network sees the whole image, so that any network
    can be trained.

    Parameters
    ----------
    n_features : int
    share : float
        Share of the patches that is covered.
    shape : tuple of int
        (channels, height, width) of the images as they enter the network.
    """

    def __init__(self, n_features: int, share: float, shape: tuple[int, int, int]):
        super().__init__(n_features, lambda x: x, shape)
        self.share, self.patch = share, max(2, min(shape[1:]) // _PATCHES_A_SIDE)

    def terms(self, outputs_of, x):
        """Return the loss of each image."""
        mask = patch_mask(x, self.share, self.patch)
        covered = torch.where(mask > 0, x.mean((2, 3), keepdim=True), x)
        outputs = outputs_of(covered).reshape(-1, *self.shape)
        return {"reconstruction_loss": masked_error(outputs, self._small(x), self._small(mask))}


def reconstruction_head(n_features: int, n_outputs: int) -> nn.Sequential:
    """Return a decoder with one hidden layer."""
    width = min(512, max(64, n_features))
    return nn.Sequential(nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, n_outputs))


def nt_xent(z_a: torch.Tensor, z_b: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the normalised temperature-scaled cross-entropy of each sample.

    Equation 1 of Chen et al., "A Simple Framework for Contrastive Learning of Visual
    Representations", ICML 2020, with either view as the anchor. Its mean over the
    samples is the loss of the paper.

    Parameters
    ----------
    z_a, z_b : Tensor of shape (n, n_outputs)
        Outputs for two views of the same samples, in the same order.
    temperature : float

    Returns
    -------
    losses : Tensor of shape (n,)
    """
    n = len(z_a)
    z = functional.normalize(torch.cat([z_a, z_b]), dim=1)
    similarity = z @ z.T / temperature  # (2n, 2n)
    itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    similarity = similarity.masked_fill(itself, -torch.inf)
    other_view = torch.arange(2 * n, device=z.device).roll(n)
    losses = functional.cross_entropy(similarity, other_view, reduction="none")
    return (losses[:n] + losses[n:]) / 2


def barlow_twins(z_a: torch.Tensor, z_b: torch.Tensor, redundancy_weight: float) -> torch.Tensor:
    """Return the distance between the correlation matrix of two views and the identity.

    Equations 1 and 2 of Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy
    Reduction", ICML 2021.

    Parameters
    ----------
    z_a, z_b : Tensor of shape (n, n_outputs)
        Outputs for two views of the same samples, in the same order.
    redundancy_weight : float
        Weight of the entries off the diagonal, lambda in the paper.

    Returns
    -------
    loss : Tensor of shape ()
    """
    z_a, z_b = ((z - z.mean(0)) / (z.std(0, unbiased=False) + _SMALLEST_SCALE) for z in (z_a, z_b))
    correlation = z_a.T @ z_b / len(z_a)  # (n_outputs, n_outputs)
    diagonal = correlation.diagonal()
    off_diagonal = (correlation**2).sum() - (diagonal**2).sum()
    return ((1 - diagonal) ** 2).sum() + redundancy_weight * off_diagonal


def masked_error(
    outputs: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the mean squared error of each sample, over all entries or over a mask.

    Parameters
    ----------
    outputs, targets : Tensor of shape (n, ...)
    mask : Tensor of shape (n, ...), optional
        Weights of the entries, from 0 to 1. A sample with an empty mask has the loss 0.

    Returns
    -------
    losses : Tensor of shape (n,)
    """
    errors = ((outputs - targets) ** 2).flatten(1)
    if mask is None:
        return errors.mean(1)
    mask = mask.to(errors.dtype).expand_as(targets).flatten(1)
    return (errors * mask).sum(1) / mask.sum(1).clamp_min(1)


@dataclass(frozen=True, kw_only=True)
class PretextTask:
    """Choice of a task, by parameters of `SelfSupervisedTransformer`.

    Parameters
    ----------
    policies : list or None
        Policies that `augment` names, or ``None`` for "default".
    """

    method: str
    policies: list | None
    strength: float
    corruption: float | str
    noise: str
    temperature: float
    redundancy_weight: float
    projection_sizes: tuple[int, ...]

    def objective(self, plan: Plan, built: Built, rows: Rows) -> Pretext:
        """Return the objective for the features of a network, with a head of random weights."""
        n = built.n_features
        if self.method in ("simclr", "barlow"):
            loss = (
                partial(nt_xent, temperature=self.temperature)
                if self.method == "simclr"
                else partial(barlow_twins, redundancy_weight=self.redundancy_weight)
            )
            head = projection_head(n, tuple(self.projection_sizes))
            return TwoViews(self._views(plan, rows), loss, head)
        if plan.is_table:
            kind = MaskedColumns if self.method == "masked" else DenoisedColumns
            return kind(n, self._corrupt_columns(self.method, plan, rows), _columns(plan, rows))
        shape = tuple(rows.batch([0], built.network.preprocessing).shape[1:])
        if self.method == "rotation":
            if shape[-1] != shape[-2]:
                raise ValueError(
                    f"method='rotation' turns images by 90 degrees, and the images of X have "
                    f"{shape[-2]} x {shape[-1]} pixels. Cut them to squares, or set input_size if "
                    "the backbone has a preprocessing."
                )
            return Rotation(n)
        if self.method == "masked":
            return MaskedImages(n, self._corruption("masked", "patches"), shape)
        return DenoisedImages(n, Noise(self._corruption("denoising", "pixels"), clip=True), shape)

    def _views(self, plan: Plan, rows: Rows) -> tuple:
        if self.policies is not None:
            views = PolicyViews(self.policies, not plan.is_table)
        elif plan.is_table:  # one view is the row itself, as in SCARF
            return (lambda x: x), self._corrupt_columns("views", plan, rows)
        else:
            views = ImageViews(self.strength)
        return views, views

    def _corrupt_columns(self, purpose: str, plan: Plan, rows: Rows):
        if self.noise == "gaussian" and purpose != "masked":
            scale = self._corruption(purpose, "gaussian") * _columns(plan, rows).scale
            return Noise(scale, clip=False)
        return SwappedColumns(self._corruption(purpose, "swap"))

    def _corruption(self, purpose: str, kind: str) -> float:
        given = self.corruption
        if isinstance(given, str):
            return _CORRUPTION[purpose, kind]
        if kind in ("swap", "patches") and given > 1:
            what = "columns" if kind == "swap" else "patches"
            raise ValueError(
                f"corruption={given!r} is a share of the {what} with method={self.method!r}. Pass "
                "a number up to 1, or 'auto'."
            )
        return float(given)


def _columns(plan: Plan, rows: Rows) -> Standardize:
    """Return mean and scale of the columns of the training samples."""
    table = torch.tensor(as_table(rows))
    columns = Standardize(table.shape[1], of_one_kind=False).double()
    columns.learn(table)
    return columns.to(device=plan.device, dtype=plan.dtype)
