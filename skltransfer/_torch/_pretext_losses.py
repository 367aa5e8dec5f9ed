"""Losses that need no labels: of two views of each row, and of rows put back together."""

from __future__ import annotations

import torch
from torch.nn import functional

# Added to standard deviations: dimensions that do not vary have no correlation.
_SMALLEST_SCALE = 1e-6


def nt_xent(z_a: torch.Tensor, z_b: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the normalised temperature-scaled cross-entropy of each row.

    Equation 1 of Chen et al., "A Simple Framework for Contrastive Learning of Visual
    Representations", ICML 2020, with either view as the anchor; its mean over rows is their loss.

    Parameters
    ----------
    z_a, z_b : Tensor of shape (n, n_outputs)
        Two views of the same rows, in the same order.
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
    """Return how far the correlation of two views is from the identity.

    Equations 1 and 2 of Zbontar et al., "Barlow Twins: Self-Supervised Learning via Redundancy
    Reduction", ICML 2021.

    Parameters
    ----------
    z_a, z_b : Tensor of shape (n, n_outputs)
        Two views of the same rows, in the same order.
    redundancy_weight : float
        Their lambda: the weight of the entries off the diagonal.

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
    """Return the mean squared error of each row, over all entries or those of a mask.

    Parameters
    ----------
    outputs, targets : Tensor of shape (n, ...)
    mask : Tensor of shape (n, ...), optional
        Weights from 0 to 1. A row without any weighs nothing.

    Returns
    -------
    losses : Tensor of shape (n,)
    """
    errors = ((outputs - targets) ** 2).flatten(1)
    if mask is None:
        return errors.mean(1)
    mask = mask.to(errors.dtype).expand_as(targets).flatten(1)
    return (errors * mask).sum(1) / mask.sum(1).clamp_min(1)
