"""What is learned: labels as targets, the loss between targets and outputs, and the way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight

from skltransfer._torch._losses import binary_loss, softmax_loss, squared_loss


@dataclass
class Problem(ABC):
    """Labels as a loss sees them.

    Parameters
    ----------
    targets : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    n_outputs : int
        Outputs of the network.
    attributes : dict
        Fitted attributes that come from the labels.
    codes : ndarray of int of shape (n_samples,), optional
        Number of each row's class.
    """

    targets: np.ndarray
    n_outputs: int
    attributes: dict = field(default_factory=dict)
    codes: np.ndarray | None = None

    def subset(self, rows: np.ndarray) -> Problem:
        """Return the problem of some rows."""
        codes = None if self.codes is None else self.codes[rows]
        return replace(self, targets=self.targets[rows], codes=codes)

    def learn(self, weights: np.ndarray | None) -> None:  # noqa: B027  (most learn nothing)
        """Learn from all rows what the loss needs; `weights` may be None."""

    def row_weights(self, sample_weight) -> np.ndarray | None:
        """Return the weight that each row has by its class."""
        return None

    @abstractmethod
    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of each row, shape (n,)."""

    def mean_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of rows that count alike."""
        return self.loss(outputs, targets).mean()

    def tensor(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Return the targets on a device."""
        return torch.tensor(self.targets, dtype=dtype, device=device)


@dataclass
class Classes(Problem):
    """Two or more classes, of which each row has one; or labels, of which it has any number.

    Parameters
    ----------
    label_smoothing : float
    class_weight : dict, "balanced" or None
    is_multilabel : bool
    """

    label_smoothing: float = 0.0
    class_weight: object = None
    is_multilabel: bool = False

    @property
    def likelihood(self) -> str:
        """What outputs are: logits of exclusive classes, or of independent labels."""
        return "softmax" if self.is_softmax else "binary"

    @property
    def is_softmax(self) -> bool:
        """Tell whether outputs are logits of exclusive classes."""
        return self.n_outputs > 1 and not self.is_multilabel

    def row_weights(self, sample_weight) -> np.ndarray | None:
        """Return the weight that each row has by its class."""
        if self.class_weight is None:
            return None
        classes = self.attributes["classes_"]
        given = np.ones(len(self.codes)) if sample_weight is None else sample_weight
        used = given > 0
        weights = np.zeros(len(self.codes))
        present = np.unique(self.codes[used])
        if isinstance(self.class_weight, dict):
            unknown = set(self.class_weight) - set(classes.tolist())
            if unknown:
                raise ValueError(
                    f"class_weight names {sorted(unknown, key=str)}, and the classes are "
                    f"{classes.tolist()}."
                )
            by_class = np.array([self.class_weight.get(c, 1.0) for c in classes[present].tolist()])
            if not (np.isfinite(by_class).all() and (by_class >= 0).all() and by_class.any()):
                raise ValueError(
                    f"class_weight={self.class_weight!r} has to hold finite numbers of at least 0, "
                    "not all of them 0."
                )
        else:
            by_class = compute_class_weight(
                self.class_weight,
                classes=present,
                y=self.codes[used],
                sample_weight=given[used],
            )
        weights[used] = by_class[np.searchsorted(present, self.codes[used])]
        return weights

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of each row."""
        if self.is_softmax:
            return softmax_loss(outputs, targets, self.label_smoothing)
        return binary_loss(outputs, targets, self.label_smoothing)

    def mean_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy."""
        if self.is_softmax:  # in one kernel, which a small network notices
            return softmax_loss(outputs, targets, self.label_smoothing, "mean")
        return super().mean_loss(outputs, targets)

    def tensor(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Return class numbers, or zeros and ones."""
        if self.is_softmax:
            return torch.tensor(self.targets, dtype=torch.long, device=device)
        return super().tensor(device, dtype)


@dataclass
class Numbers(Problem):
    """One or more numbers for each row, learned in units of their standard deviation.

    Parameters
    ----------
    mean, scale : ndarray of shape (n_outputs,) or None
        ``None``: learned from the rows.
    """

    mean: np.ndarray | None = None
    scale: np.ndarray | None = None

    def learn(self, weights: np.ndarray | None) -> None:
        """Learn mean and standard deviation of each output, unless they are known."""
        if self.mean is None:
            self.mean = np.average(self.targets, axis=0, weights=weights)
            away = self.targets - self.mean
            largest = np.abs(away).max(axis=0)
            largest[largest == 0] = 1.0  # squares of what is left neither overflow nor vanish
            variance = np.average((away / largest) ** 2, axis=0, weights=weights)
            self.scale = np.where(variance > 0, largest * np.sqrt(variance), 1.0)
            smallest = np.finfo(np.float64).tiny
            self.scale = np.where(self.scale > smallest, self.scale, 1.0)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return half the squared error of each row."""
        return squared_loss(outputs, targets)

    def tensor(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Return the standardised targets."""
        standardised = (self.targets - self.mean) / self.scale
        return torch.tensor(standardised, dtype=dtype, device=device)
