"""Small modules that networks for tables and output layers are made of."""

from __future__ import annotations

import math

import torch
from torch import nn

# Features that hardly vary are not blown up beyond this multiple of the typical one.
_LARGEST_FACTOR = 100.0


class Standardize(nn.Module):
    """Subtract a mean and divide by a scale that are fixed before training.

    Parameters
    ----------
    n_features : int
    of_one_kind : bool
        Whether all are in the same unit, as features of a network are and columns are not.
    """

    def __init__(self, n_features: int, of_one_kind: bool):
        super().__init__()
        self.of_one_kind = of_one_kind
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(n_features))

    @torch.no_grad()
    def learn(self, x: torch.Tensor, weights: torch.Tensor | None = None) -> None:
        """Take mean and standard deviation from rows, shape (n, n_features)."""
        x = x.double()
        weights = torch.ones(len(x), dtype=x.dtype, device=x.device) if weights is None else weights
        weights = (weights.double() / weights.sum()).unsqueeze(1)
        mean = (weights * x).sum(0)
        scale = (weights * (x - mean) ** 2).sum(0).sqrt()
        # A constant column differs from its mean by rounding only.
        varies = scale > 1e-10 * x.abs().amax(0)
        if varies.any():
            typical = scale[varies].median()
            if self.of_one_kind:
                scale = scale.clamp_min(typical / _LARGEST_FACTOR)
            scale = torch.where(varies, scale, typical)
        else:
            scale = torch.ones_like(scale)
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the standardised rows."""
        return (x - self.mean) / self.scale


class TableNetwork(nn.Module):
    """Standardised columns through fully connected layers, its stages: ``hidden1, ...``.

    Parameters
    ----------
    n_columns : int
    hidden_layer_sizes : tuple of int
        Empty: the standardised columns themselves.
    """

    def __init__(self, n_columns: int, hidden_layer_sizes: tuple[int, ...]):
        super().__init__()
        self.columns = Standardize(n_columns, of_one_kind=False)
        self.stages = []
        width = n_columns
        for number, size in enumerate(hidden_layer_sizes, start=1):
            # Smooth, so that L-BFGS converges.
            self.add_module(f"hidden{number}", nn.Sequential(nn.Linear(width, size), nn.SiLU()))
            self.stages.append(f"hidden{number}")
            width = size
        self.n_features = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the activations of the last hidden layer."""
        x = self.columns(x)
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return x


class LinearHead(nn.Module):
    """Standardised features, dropout and one linear layer that starts at zero.

    Parameters
    ----------
    n_features, n_outputs : int
    dropout : float
    """

    def __init__(self, n_features: int, n_outputs: int, dropout: float = 0.0):
        super().__init__()
        self.features = Standardize(n_features, of_one_kind=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(n_features, n_outputs)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs."""
        return self.output(self.dropout(self.features(x)))


class MLPHead(nn.Module):
    """Standardised features through one hidden layer.

    Parameters
    ----------
    n_features, n_outputs : int
    dropout : float
    """

    def __init__(self, n_features: int, n_outputs: int, dropout: float = 0.0):
        super().__init__()
        self.features = Standardize(n_features, of_one_kind=True)
        width = min(256, max(16, n_features))
        self.hidden = nn.Sequential(nn.Linear(n_features, width), nn.SiLU(), nn.Dropout(dropout))
        self.output = nn.Linear(width, n_outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs."""
        return self.output(self.hidden(self.features(x)))


class CosineHead(nn.Module):
    """Cosine between features and one direction per output, times a learned scale.

    The length of the features, which differs between classes with few and many rows, does not
    enter (Gidaris and Komodakis, CVPR 2018, equation 3).

    Parameters
    ----------
    n_features, n_outputs : int
    dropout : float
    """

    def __init__(self, n_features: int, n_outputs: int, dropout: float = 0.0):
        super().__init__()
        self.features = Standardize(n_features, of_one_kind=True)
        self.dropout = nn.Dropout(dropout)
        self.directions = nn.Parameter(torch.empty(n_outputs, n_features))
        nn.init.normal_(self.directions, std=1 / math.sqrt(n_features))
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs."""
        x = nn.functional.normalize(self.dropout(self.features(x)), dim=1)
        directions = nn.functional.normalize(self.directions, dim=1)
        return self.log_scale.exp() * x @ directions.T


HEADS = {"linear": LinearHead, "mlp": MLPHead, "cosine": CosineHead}
