"""One network for several tasks: a shared trunk with a head for each."""

from __future__ import annotations

import numpy as np

from skltransfer._networks._fine_tuning_options import check_options
from skltransfer._networks._fitting import Run
from skltransfer._torch._rows import Rows
from skltransfer.parameter._finetuned_regressor import FineTunedRegressor
from skltransfer.parameter._task_problems import Tasks

# What a multi-task estimator hands on.
PARAMETERS = (
    "backbone",
    "weights",
    "unfreeze",
    "hidden_layer_sizes",
    "optimizer",
    "lr",
    "weight_decay",
    "max_epochs",
    "batch_size",
    "tol",
    "image_shape",
    "value_range",
    "device",
    "precision",
    "random_state",
)


class MultiTaskNetwork(FineTunedRegressor):
    """The network inside of a multi-task estimator, trained on what that one made of the labels."""

    @classmethod
    def of(cls, estimator) -> MultiTaskNetwork:
        """Return an untrained one with the parameters of a multi-task estimator."""
        network = cls(**{name: getattr(estimator, name) for name in PARAMETERS})
        check_options(network)
        return network

    def read(self, X, *, reset: bool) -> Rows:
        """Return rows of any form as the network takes them."""
        return self._rows(X, reset=reset)

    def train(self, rows: Rows, problem: Tasks, weights, reports_of) -> None:
        """Train on the rows of all tasks.

        Parameters
        ----------
        rows : Rows
        problem : Tasks
        weights : ndarray of shape (n,) or None
        reports_of : callable
            Takes a function that returns the fitted attributes of this estimator, and returns what
            is told of the epochs.
        """
        self._problem, self.head = problem, problem.heads
        data, problem = self._checked(rows, problem.targets, weights, None)
        run = Run(self, self._load(data.rows), data, problem, None, None)
        run.train(reports_of(lambda: self._attributes(run, copy=True)))
        self.head = "linear"  # needed no more; a function would only make files foreign
        vars(self).update(self._attributes(run))

    def scores(self, X) -> np.ndarray:
        """Return the outputs of all tasks, shape (n, n_tasks, k)."""
        problem, outputs = self._problem, self._outputs(X)
        if problem.is_uncertain:
            outputs = outputs[:, : -problem.n_tasks]
        n_outputs = outputs.shape[1] // problem.n_tasks
        return problem.in_units(outputs.reshape(len(outputs), problem.n_tasks, n_outputs))

    def variances(self) -> np.ndarray:
        """Return the learned variance of each task."""
        log_variance = self.network_.head.log_variance.detach().double().cpu().numpy()
        return self._problem.variances(log_variance)

    def _rows(self, X, *, reset: bool) -> Rows:
        return X if isinstance(X, Rows) else super()._rows(X, reset=reset)

    def _encode(self, y, earlier, classes, is_partial) -> Tasks:
        return self._problem
