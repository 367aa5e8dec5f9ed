"""Output layers of several tasks, side by side on the same features."""

from __future__ import annotations

import torch
from torch import nn

from skltransfer._torch._layers import LinearHead

# Steps of AdamW are as long as its rate; the logarithm of a variance has a longer way to go.
_UNIT_OF_LOG_VARIANCE = 10.0


class TaskHeads(LinearHead):
    """One linear layer for each task, and what each task's loss is divided by.

    Parameters
    ----------
    n_features, n_outputs : int
        `n_outputs` counts the outputs of all tasks, and one for each uncertain task.
    n_uncertain : int, default=0
        Tasks whose variance is learned. Its logarithm is the same for all rows; these outputs come
        last.
    held : tuple of int, default=()
        Outputs whose intercept is pulled to zero as the coefficients are.
    """

    def __init__(self, n_features: int, n_outputs: int, n_uncertain: int = 0, held=()):
        super().__init__(n_features, n_outputs - n_uncertain)
        # Matrices are decayed, vectors are not.
        self.held_bias = nn.Parameter(torch.zeros(len(held), 1)) if len(held) else None
        is_free = torch.ones(n_outputs - n_uncertain)
        is_free[list(held)] = 0
        self.register_buffer("is_free", is_free if len(held) else None)
        self.register_buffer("held", torch.tensor(held, dtype=torch.long) if len(held) else None)
        self.log_scale = nn.Parameter(torch.zeros(n_uncertain)) if n_uncertain else None

    @property
    def log_variance(self) -> torch.Tensor:
        """Return the logarithm of each task's variance, shape (n_uncertain,)."""
        return _UNIT_OF_LOG_VARIANCE * self.log_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs of all tasks, shape (n, n_outputs)."""
        x, bias = self.features(x), self.output.bias
        if self.held_bias is not None:
            bias = (bias * self.is_free).index_add(0, self.held, self.held_bias[:, 0])
        outputs = nn.functional.linear(x, self.output.weight, bias)
        if self.log_scale is None:
            return outputs
        log_variance = self.log_variance.to(outputs.dtype).expand(len(x), -1)
        return torch.cat([outputs, log_variance], dim=1)
