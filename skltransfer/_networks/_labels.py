"""Labels as a network learns them: targets, the loss between targets and outputs, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch.nn import functional

from skltransfer._solvers._classes import check_class_weight, weights_by_class


@dataclass
class Labels(ABC):
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

    def subset(self, rows: np.ndarray) -> Labels:
        """Return the labels of some samples."""
        codes = None if self.codes is None else self.codes[rows]
        return replace(self, targets=self.targets[rows], codes=codes)

    @abstractmethod
    def learn(self, weights: np.ndarray | None) -> np.ndarray | None:
        """Learn from all rows what the loss needs, and return how much each of them weighs."""

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
class Classes(Labels):
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
    def is_binary(self) -> bool:
        """Tell whether the one output is the logit of the second of two classes."""
        return self.n_outputs == 1 and not self.is_multilabel

    @property
    def is_softmax(self) -> bool:
        """Tell whether outputs are logits of exclusive classes."""
        return self.n_outputs > 1 and not self.is_multilabel

    def learn(self, weights: np.ndarray | None) -> np.ndarray | None:
        """Return the weights of the rows, each times the weight of its class."""
        if self.class_weight is None:
            return weights
        classes = self.attributes["classes_"]
        check_class_weight(self.class_weight, classes)
        given = np.ones(len(self.codes)) if weights is None else weights
        return given * weights_by_class(self.class_weight, classes[self.codes], given)

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of each sample, summed over its labels."""
        if self.is_softmax:
            return functional.cross_entropy(
                outputs, targets, reduction="none", label_smoothing=self.label_smoothing
            )
        targets = targets.to(outputs.dtype).reshape(outputs.shape)
        targets = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        losses = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return losses.sum(1)

    def mean_loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy."""
        if not self.is_softmax:
            return self.loss(outputs, targets).mean()
        # In one kernel, which a small network notices.
        return functional.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)

    def probabilities(self, outputs: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
        """Return the probability of each exclusive class, shape (n, n_classes)."""
        outputs = outputs / temperature
        if self.is_binary:
            outputs = torch.cat([torch.zeros_like(outputs), outputs], 1)
        return outputs.softmax(1)

    def loss_without_labels(self, outputs: torch.Tensor, weights: torch.Tensor | None) -> float:
        """Return minus the mutual information of samples and predicted classes, in nats.

        It is low where each prediction is certain and all classes are predicted.
        """
        p = self.probabilities(outputs.double())
        shares = p.new_ones(len(p)) if weights is None else weights.double()
        shares = (shares / shares.sum())[:, None]
        of_each = (shares * torch.special.entr(p)).sum()
        return float(of_each - torch.special.entr((shares * p).sum(0)).sum())

    def tensor(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Return class numbers, or zeros and ones."""
        dtype = torch.long if self.is_softmax else dtype
        return torch.tensor(self.targets, dtype=dtype, device=device)


@dataclass
class Numbers(Labels):
    """One or more numbers for each row, learned in units of their standard deviation.

    Parameters
    ----------
    mean, scale : ndarray of shape (n_outputs,) or None
        ``None``: learned from the rows.
    """

    mean: np.ndarray | None = None
    scale: np.ndarray | None = None

    def learn(self, weights: np.ndarray | None) -> np.ndarray | None:
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
        return weights

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return half the squared error of each sample, summed over its outputs."""
        return ((outputs - targets.reshape(outputs.shape)) ** 2).sum(1) / 2

    def tensor(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Return the standardised targets."""
        standardised = (self.targets - self.mean) / self.scale
        return torch.tensor(standardised, dtype=dtype, device=device)
