"""The rows of a fit, with their labels and weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from skltransfer._torch._batches import IndexStream, RowBatches
from skltransfer._torch._rows import Rows
from skltransfer._torch._training import mean_loss


@dataclass
class Data:
    """Rows to train or validate on.

    Parameters
    ----------
    rows : Rows
    targets : ndarray
    weights : ndarray of shape (n,) or None
    codes : ndarray of shape (n,) or None
    """

    rows: Rows
    targets: np.ndarray
    weights: np.ndarray | None
    codes: np.ndarray | None

    def __len__(self) -> int:
        return len(self.targets)

    def subset(self, indices: np.ndarray) -> Data:
        """Return some of the rows."""
        weights, codes = (None if v is None else v[indices] for v in (self.weights, self.codes))
        return Data(self.rows.subset(indices), self.targets[indices], weights, codes)

    def relative_weights(self, dtype: torch.dtype, device: torch.device) -> torch.Tensor | None:
        """Return the weights relative to their mean, on a device."""
        if self.weights is None:
            return None
        return torch.tensor(self.weights / self.weights.mean(), dtype=dtype, device=device)


def loss_on(module, objective, inputs, targets, weights) -> Callable[[], float]:
    """Return a function that computes the mean loss of rows, without training on them.

    Parameters
    ----------
    module : Module
    objective : callable
        See :func:`~skltransfer._torch._training.train`.
    inputs : Inputs or Tensor
    targets : Tensor
    weights : Tensor or None
    """
    n_rows = len(targets)
    batches = RowBatches(inputs, targets, weights, 256, IndexStream(n_rows, None))

    def validate() -> float:
        total = 0.0
        with torch.inference_mode():
            for batch in batches:
                total += float(mean_loss(objective(module, batch), batch)) * len(batch)
        return total / n_rows

    return validate
