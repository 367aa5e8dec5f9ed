"""The network of a multi-task estimator: a shared trunk, and a head and a loss for each task.

The outputs of all tasks stand side by side, `k` for each. In the long form the targets of a sample
are (task, label, weight). In the wide form they are the labels of all tasks, followed by the
weights of the labels, 0 for a missing label.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from skltransfer._networks._estimators import EpochReports, FittedNetwork
from skltransfer._networks._fitting import Data, Fitting
from skltransfer._networks._labels import Labels
from skltransfer._networks._plan import Plan
from skltransfer._parameters import declared_parameters
from skltransfer._torch._layers import LinearHead
from skltransfer._torch._rows import Rows
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._refit import fitted_attributes
from skltransfer.parameter._fine_tuned import FineTunedRegressor

# A step of AdamW is as long as its rate, and the logarithm of a variance has a longer way to go.
_UNIT_OF_LOG_VARIANCE = 10.0
# If a network fits a task exactly, the logarithm of its variance would fall without end.
_SMALLEST_VARIANCE = {"numbers": 1e-4, "classes": 1e-2}


class TaskHeads(LinearHead):
    """One linear layer for each task, and the variances by which the losses are divided.

    Parameters
    ----------
    n_features, n_outputs : int
        Numbers of features and of outputs. `n_outputs` counts the outputs of all tasks, and one
        for each uncertain task.
    n_uncertain : int, default=0
        Number of tasks whose variance is learned. The logarithm of a variance is the same for all
        samples, and these outputs come last.
    held : tuple of int, default=()
        Outputs whose intercept is pulled to zero like the coefficients.
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


@dataclass
class Tasks(Labels):
    """Labels of several tasks.

    Parameters
    ----------
    n_tasks : int
    is_long : bool
        Whether a sample belongs to one task.
    is_uncertain : bool
        Whether the variance of each task is learned. The loss of a task is divided by its variance.
    held : tuple of int
        Outputs whose intercept is penalised.
    is_learned : ndarray of shape (n_tasks,), bool, or None
        Tasks with labels. ``None`` until it is learned from the samples.
    mean_weight : float
        Mean, over the samples, of the total weight of a sample's labels. It is learned from the
        samples, and makes weights of labels relative.
    """

    n_tasks: int = 1
    is_long: bool = False
    is_uncertain: bool = False
    held: tuple[int, ...] = ()
    is_learned: np.ndarray | None = None
    mean_weight: float = 1.0

    @property
    def heads(self):
        """Return the function that makes the output layer."""
        return partial(
            TaskHeads, n_uncertain=self.n_tasks if self.is_uncertain else 0, held=self.held
        )

    def learn(self, weights: np.ndarray | None) -> np.ndarray | None:
        """Learn which tasks have labels, and the mean weight of a row's."""
        self.is_learned = np.bincount(self.labels()[1], minlength=self.n_tasks) > 0
        shares = self.targets[:, 2 if self.is_long else self.n_tasks :].sum(axis=1)
        self.mean_weight = float(np.average(shares, weights=weights))
        return weights

    def labels(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return sample, task, value and weight of each known label."""
        if self.is_long:
            tasks, values, weights = self.targets.T
            return np.arange(len(tasks)), tasks.astype(int), values, weights
        values, weights = np.hsplit(self.targets, 2)
        rows, tasks = np.nonzero(weights)
        return rows, tasks, values[rows, tasks], weights[rows, tasks]

    def loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum of the losses of each sample's labels, shape (n,)."""
        n, log_variance = len(outputs), None
        if self.is_uncertain:
            outputs, log_variance = outputs[:, : -self.n_tasks], outputs[:, -self.n_tasks :]
        outputs = outputs.reshape(n, self.n_tasks, -1)
        tasks = None
        if self.is_long:
            tasks = targets[:, 0].long()
            values, weights = targets[:, 1:2], targets[:, 2:]
            outputs = outputs[torch.arange(n, device=outputs.device), tasks].unsqueeze(1)
            if log_variance is not None:
                log_variance = log_variance.gather(1, tasks.unsqueeze(1))
        else:
            values, weights = targets.chunk(2, dim=1)
        losses = self.label_losses(outputs, values)
        if log_variance is not None:
            variance = self.smallest_variance + log_variance.exp()
            losses = losses / variance + variance.log() / 2
        return (weights * losses).sum(1) / self.mean_weight

    @abstractmethod
    def label_losses(self, outputs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return the loss of each label: (n, m, k) and (n, m) to (n, m)."""

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs (n, n_tasks, k) in the form for predictions."""
        return outputs

    def variances(self, log_variance: np.ndarray) -> np.ndarray:
        """Return the variance of each task, by which its loss is divided; NaN without labels."""
        variances = self.smallest_variance + np.exp(log_variance)
        return np.where(self.is_learned, variances, np.nan)


@dataclass
class TaskClasses(Tasks):
    """Classes of each task, whose values are class numbers.

    Parameters
    ----------
    allowed : ndarray of shape (n_tasks, k), bool, or None
        Classes that each task has. ``None`` if every task has all classes.
    """

    allowed: np.ndarray | None = None

    smallest_variance = _SMALLEST_VARIANCE["classes"]

    def label_losses(self, outputs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy of each label."""
        if outputs.shape[2] == 1:
            return functional.binary_cross_entropy_with_logits(
                outputs[:, :, 0], values.to(outputs.dtype), reduction="none"
            )
        if self.allowed is not None:
            allowed = torch.from_numpy(self.allowed).to(outputs.device)
            outputs = outputs.masked_fill(~allowed, -torch.inf)
        return functional.cross_entropy(outputs.mT, values.long(), reduction="none")


@dataclass
class TaskNumbers(Tasks):
    """A number of each task, learned as the distance to the task's mean.

    The unit is a standard deviation. In the wide form, whose columns measure different things, each
    task has its own. In the long form, whose tasks measure the same thing, all tasks share the
    standard deviation within the tasks.

    Parameters
    ----------
    mean, scale : ndarray of shape (n_tasks,) or None
        Mean and unit of each task. ``None`` until they are learned from the samples.
    """

    mean: np.ndarray | None = None
    scale: np.ndarray | None = None

    smallest_variance = _SMALLEST_VARIANCE["numbers"]

    def learn(self, weights: np.ndarray | None) -> np.ndarray | None:
        """Learn mean and standard deviation of each task."""
        weights = super().learn(weights)
        rows, tasks, values, shares = self.labels()
        shares = shares if weights is None else shares * weights[rows]
        totals = np.bincount(tasks, shares, self.n_tasks)
        self.mean = np.bincount(tasks, shares * values, self.n_tasks) / totals
        spread = np.bincount(tasks, shares * (values - self.mean[tasks]) ** 2, self.n_tasks)
        if self.is_long:
            spread, totals = np.full(self.n_tasks, spread.sum()), totals.sum()
        scale = np.sqrt(spread / totals)
        # A constant differs from its mean by rounding only.
        self.scale = np.where(scale > 1e-14 * np.abs(values).max(), scale, 1.0)
        return weights

    def label_losses(self, outputs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Return half the squared error of each label."""
        return (outputs[:, :, 0] - values) ** 2 / 2

    def tensor(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Return targets with standardised values."""
        targets = self.targets.copy()
        if self.is_long:
            tasks = targets[:, 0].astype(int)
            targets[:, 1] = (targets[:, 1] - self.mean[tasks]) / self.scale[tasks]
        else:
            values = targets[:, : self.n_tasks]
            is_known = targets[:, self.n_tasks :] > 0
            targets[:, : self.n_tasks] = np.where(is_known, (values - self.mean) / self.scale, 0.0)
        return torch.tensor(targets, dtype=dtype, device=device)

    def in_units(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs in the units of the labels."""
        return outputs * self.scale[:, None] + self.mean[:, None]

    def variances(self, log_variance: np.ndarray) -> np.ndarray:
        """Return the variance of each task in the units of its labels."""
        return super().variances(log_variance) * self.scale**2


class MultiTaskNetwork(FittedNetwork):
    """The network inside a multi-task estimator, which prepares its labels.

    Parameters
    ----------
    backbone, weights, image_shape, value_range, random_state
        Parameters of the multi-task estimator for reading ``X``.
    """

    def __init__(self, backbone, weights, image_shape, value_range, random_state):
        self.backbone, self.weights = backbone, weights
        self.image_shape, self.value_range = image_shape, value_range
        self.random_state = random_state

    @classmethod
    def of(cls, estimator) -> MultiTaskNetwork:
        """Return an untrained network, and check the parameters of the multi-task estimator."""
        for name, parameter in declared_parameters(FineTunedRegressor).items():
            if hasattr(estimator, name):
                parameter.check(name, getattr(estimator, name))
        names = ("backbone", "weights", "image_shape", "value_range", "random_state")
        return cls(**{name: getattr(estimator, name) for name in names})

    def read(self, X, *, reset: bool) -> Rows:
        """Return samples of any form as the network takes them."""
        return self._rows(X, reset=reset)

    def fit(self, estimator, rows: Rows, labels: Tasks, weights, task: FitTask) -> None:
        """Train on the samples of all tasks.

        Parameters
        ----------
        estimator : MultiTask
            Estimator whose parameters are the settings of the training.
        rows : Rows
        labels : Tasks
        weights : ndarray of shape (n,) or None
        task : FitTask
            Fit of the estimator, whose callbacks are called after each epoch.
        """
        plan = replace(Plan.of(estimator, rows), head=labels.heads)
        data = Data(rows, labels, weights).prepared(plan)
        record = self._load(data.rows)
        self._look_at_lengths(record, data.rows)
        fitting = Fitting(plan, record, data)

        def snapshot() -> dict:
            twin = copy.copy(self)
            vars(twin).update(self._attributes(fitting, is_running=True))
            own = {name: vars(estimator)[name] for name in fitted_attributes(estimator)}
            return own | estimator._attributes_of(twin)

        fitting.train(EpochReports(task, snapshot))
        vars(self).update(self._attributes(fitting))

    def scores(self, X) -> np.ndarray:
        """Return the outputs of all tasks, shape (n, n_tasks, k)."""
        labels, outputs = self._labels, self._outputs(X)
        if labels.is_uncertain:
            outputs = outputs[:, : -labels.n_tasks]
        n_outputs = outputs.shape[1] // labels.n_tasks
        return labels.in_units(outputs.reshape(len(outputs), labels.n_tasks, n_outputs))

    def variances(self) -> np.ndarray:
        """Return the learned variance of each task."""
        log_variance = self.network_.head.log_variance.detach().double().cpu().numpy()
        return self._labels.variances(log_variance)

    def _rows(self, X, *, reset: bool, is_text: bool | None = None) -> Rows:
        return X if isinstance(X, Rows) else super()._rows(X, reset=reset, is_text=is_text)
