"""Distances between features and prototypes, and the output layer that they make."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional


def _squared(features: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    # About their centre, so that little is lost to rounding where all lie far from zero.
    centre = prototypes.mean(-2, keepdim=True)
    features, prototypes = features - centre, prototypes - centre
    products = features @ prototypes.mT
    lengths = (features**2).sum(-1, keepdim=True) + (prototypes**2).sum(-1).unsqueeze(-2)
    return (lengths - 2 * products).clamp_min(0)


def _euclidean(features: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    # The slope of the root is infinite at zero.
    smallest = torch.finfo(features.dtype).tiny
    return _squared(features, prototypes).clamp_min(smallest).sqrt()


def _manhattan(features: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    return torch.cdist(features, prototypes, p=1)


def _cosine(features: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    features, prototypes = (functional.normalize(x, dim=-1) for x in (features, prototypes))
    return 1 - features @ prototypes.mT


# Features (..., n, d) and prototypes (..., k, d) to distances (..., n, k).
METRICS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "sqeuclidean": _squared,
    "euclidean": _euclidean,
    "manhattan": _manhattan,
    "cosine": _cosine,
}
# Cosines lie within 2 of each other, so that their softmax would be flat.
TEMPERATURES = {"cosine": 0.1}


class PrototypeHead(nn.Module):
    """Negative distances to the prototypes, divided by a temperature, as logits.

    Two classes have one logit, of the second.

    Parameters
    ----------
    prototypes : Tensor of shape (n_classes, n_features)
    metric : {"sqeuclidean", "euclidean", "manhattan", "cosine"}
    temperature : float
    """

    def __init__(self, prototypes: torch.Tensor, metric: str, temperature: float):
        super().__init__()
        self.metric, self.temperature = metric, temperature
        self.register_buffer("prototypes", prototypes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, shape (n, n_classes) or (n, 1)."""
        logits = -METRICS[self.metric](x, self.prototypes) / self.temperature
        return logits if logits.shape[1] != 2 else logits[:, 1:] - logits[:, :1]
