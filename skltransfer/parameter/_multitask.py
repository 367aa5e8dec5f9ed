"""The base class of multi-task estimators: the forms of data, and models in the order of tasks."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy import sparse
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_X_y
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skltransfer._decorators import available_if, with_callbacks
from skltransfer._documentation import DocumentedEstimator
from skltransfer._parameters import Choice, Count, Flag, Number, check_parameters
from skltransfer._persisted import SavedAsData
from skltransfer._solvers._multitask import MultiTaskSolution, TaskRows, column_means, unit_of
from skltransfer._warnings import warn, warn_unless_certified
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._data import as_labels
from skltransfer.domains._refit import fits_anew
from skltransfer.parameter._linear import STRENGTH, check_finite_fit, check_range
from skltransfer.parameter._tasks import (
    check_known_values,
    look_up_tasks,
    number_tasks,
    split_task_column,
    split_wide,
    task_position,
    weights_of_tasks,
)

if TYPE_CHECKING:  # these load torch
    from skltransfer.backbones import Backbone
    from skltransfer.parameter._multitask_network import Tasks

METHODS = ("mean_regularized", "trace_norm", "network")


def _has_network(estimator) -> bool:
    return estimator.method == "network"


def _is_table(X) -> bool:
    from skltransfer._torch._image_columns import as_array, as_items  # loads torch
    from skltransfer._torch._rows import n_dimensions

    return as_items(X) is None and n_dimensions(as_array(X)) <= 2


class MultiTask(
    SavedAsData, HoldsByReference, CallbackSupportMixin, DocumentedEstimator, metaclass=ABCMeta
):
    """Fit one model for each task, all at once.

    A subclass defines the coding of the labels and the loss. `method` defines the knowledge that
    the tasks share.
    """

    _held = ("backbone",)
    _parameters = {
        "method": Choice(*METHODS),
        "alpha": STRENGTH,
        "shared_alpha": STRENGTH,
        "fit_intercept": Flag(),
        "tol": Number(0, low_open=True),
        "max_iter": Count(),
        "weight_decay": STRENGTH,
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.input_tags.three_d_array = self.method == "network"
        return tags

    @with_callbacks
    @fits_anew
    def fit(self, X, y, sample_weight=None) -> Self:
        """Fit all tasks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples; in the long form with the column of tasks. For ``"network"``, images or texts
            as well; in the long form as a frame with one column beside the tasks.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Labels of each sample's task (long form), or of all tasks (wide form). ``NaN``, or
            ``None`` or ``pandas.NA`` in arrays of objects, marks a missing label.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        self : estimator
        """
        max_subtasks = None if _has_network(self) else 0
        task = FitTask.begin(self, X, y, sample_weight, max_subtasks=max_subtasks)
        check_parameters(self)
        network = None
        if _has_network(self):
            from skltransfer.parameter._multitask_network import MultiTaskNetwork  # loads torch

            network = MultiTaskNetwork.of(self)
        y_array = None if y is None or sparse.issparse(y) else as_labels(y)
        self._is_wide = y_array is not None and y_array.ndim == 2 and self.task_column is None
        if self._is_wide:
            X = self._read(X, network, reset=True)
            y, known, names = split_wide(y, len(X))
        else:
            X, y, row_tasks = self._read_long(X, y, y_array, network)
        used = np.ones(len(X), dtype=bool)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, np.zeros((len(X), 1)), ensure_non_negative=True
            )
            used = sample_weight > 0  # a row without weight is as good as absent
            X = X[used] if network is None else X.subset(np.flatnonzero(used))
            y, sample_weight = y[used], sample_weight[used]
        weights = np.ones(len(X)) if sample_weight is None else sample_weight
        if self._is_wide:
            known = known[used]
            check_known_values(known, names)
            self.tasks_ = names
        else:
            self.tasks_, numbers = number_tasks(row_tasks[used])
            known = numbers[:, None] == np.arange(len(self.tasks_))
        if network is None:
            check_range(X, "X")
            check_range(weights, "sample_weight")
            self._set_models(self._tasks_of(X, y, known, weights))
        else:
            tasks = self._tasks_of(np.empty((len(X), 0)), y, known, weights)
            labels = self._network_labels(self._targets_of(tasks, known, weights), tasks)
            network.fit(self, X, labels, sample_weight, task)
            vars(self).update(self._attributes_of(network))
        task.end({})
        return self

    def predict(self, X):
        """Predict the label of each sample.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples; in the long form with the column of tasks. A task that was not fitted gets the
            shared model.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_tasks)
            Labels, 2-D if the ``y`` given to `fit` was.
        """
        return self._predicted(*self._read_rows(X))

    # --- methods of a subclass ---------------------------------------------------------

    @abstractmethod
    def _tasks_of(self, X, y, known, weights) -> list[TaskRows | None]:
        """Return the rows of each task; None for one that has nothing to learn.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        y : ndarray of shape (n,) or (n, n_tasks)
        known : ndarray of shape (n, n_tasks), bool
            Samples of each task.
        weights : ndarray of shape (n,)
        """

    @abstractmethod
    def _solve(self, tasks, unit, label_unit) -> MultiTaskSolution:
        """Minimise the loss by `method`; features and labels were multiplied by their units."""

    @abstractmethod
    def _set_coefficients(self, coef, intercept, shared_coef, shared_intercept) -> None:
        """Set the fitted attributes from (T, k, d), (T, k), (k, d) and (k,)."""

    @abstractmethod
    def _predicted(self, X, numbers):
        """Return the labels that `predict` returns.

        `numbers` are the tasks of the rows, None in the wide form.
        """

    @abstractmethod
    def _network_labels(self, targets, tasks) -> Tasks:
        """Return the labels as a network learns them."""

    # --- rows and tasks ----------------------------------------------------------------

    def _read(self, X, network, *, reset: bool):
        """Return rows without a column of tasks, as numbers (n, d) or as input of the network."""
        if network is None or (self.backbone is None and _is_table(X)):
            X = validate_data(self, X, dtype=np.float64, reset=reset)
            return X if network is None else network.read(X, reset=reset)
        rows = network.read(X, reset=reset)
        for name in ("n_features_in_", "feature_names_in_"):
            if reset and hasattr(network, name):
                setattr(self, name, getattr(network, name))
        return rows

    def _read_long(self, X, y, y_array, network):
        """Return features, labels and the task of each row."""
        settings = {"y_numeric": self._y_is_numeric, "estimator": self}
        if self.task_column is None:
            X = self._read(X, network, reset=True)
            _, y = check_X_y(np.zeros((len(X), 1)), y, **settings)
            return X, y, np.zeros(len(X), dtype=int)
        validate_data(self, X, y=y, skip_check_array=True)
        if y_array is not None and y_array.ndim == 2 and y_array.shape[1] > 1:
            raise ValueError(
                f"y has shape {y_array.shape} and task_column={self.task_column!r}. Pass a 1-D y, "
                "or task_column=None with a column of y for each task."
            )
        self._task_position = task_position(self.task_column, X)
        features, row_tasks = split_task_column(
            X, self._task_position, takes_items=network is not None
        )
        _, y = check_X_y(np.zeros((len(features), 1)), y, **settings)
        return features if network is None else network.read(features, reset=True), y, row_tasks

    def _read_rows(self, X):
        """Return features and the number of each row's task, -1 for an unknown one."""
        check_is_fitted(self)
        network = getattr(self, "_network", None)
        if self.task_column is None:
            X = self._read(X, network, reset=False)
            return X, None if self._is_wide else np.zeros(len(X), dtype=int)
        if isinstance(X, list | tuple):
            X = np.asarray(X, dtype=object)
        validate_data(self, X, reset=False, skip_check_array=True)
        X, row_tasks = split_task_column(X, self._task_position, takes_items=network is not None)
        X = X if network is None else network.read(X, reset=False)
        return X, look_up_tasks(row_tasks, self.tasks_)

    def _factors(self, tasks):
        """Return the weight of each task by `task_weight`."""
        totals = np.array([0.0 if task is None else task.weights.sum() for task in tasks])
        given = None if self._is_uncertain else self.task_weight
        return weights_of_tasks(given, self.tasks_, totals)

    # --- models ------------------------------------------------------------------------

    def _set_models(self, tasks):
        with_rows = np.array([task is not None for task in tasks])
        factors = self._factors(tasks)
        used = [
            replace(task, weights=factor * task.weights)
            for task, factor in zip(tasks, factors, strict=True)
            if task is not None
        ]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
            solution = self._solved_in_units(used)
        check_finite_fit(solution.coef, solution.intercept, solution.shared_coef)
        self.n_iter_, self.optimality_gap_ = solution.n_iter, float(solution.gap)
        remedy = "Raise max_iter or tol, raise alpha, or scale the columns."
        warn_unless_certified("The solution", solution.gap, self.tol, remedy)
        shared = solution.shared_coef
        # The shared intercept gives the rows of a task, on average over the tasks, the mean score
        # of the task's own model: where the features have their zero does not matter.
        means = np.stack([task.mean() for task in used])
        own = np.einsum("tkd,td->tk", solution.coef - shared, means) + solution.intercept
        shared_intercept = own.mean(axis=0) if self.fit_intercept else np.zeros(len(shared))
        coef = np.zeros((len(tasks), *shared.shape))
        intercept = np.zeros(coef.shape[:2])
        coef[with_rows], intercept[with_rows] = solution.coef, solution.intercept
        self._set_coefficients(coef, intercept, shared, shared_intercept)

    def _solved_in_units(self, tasks):
        """Solve in units of features and labels in which the products of numbers are numbers."""
        for task in tasks:
            check_range(task.y, "y")
        means = column_means(tasks, self.fit_intercept)
        sizes = np.max(
            [np.abs(task.X - mean).max(axis=0) for task, mean in zip(tasks, means, strict=True)],
            axis=0,
        )
        used = sizes[sizes > 0]
        if len(used) and used.max() > used.min() / np.finfo(float).eps:
            warn(
                "Some columns of X vary so much more than others that the penalty leaves nothing "
                "of these. Scale the columns, for example by StandardScaler.",
                UserWarning,
            )
        unit = unit_of([sizes])
        label_unit = unit_of([task.y for task in tasks]) if self._y_is_numeric else 1.0
        if unit == label_unit == 1.0:
            return self._solve(tasks, 1.0, 1.0)
        scaled = [replace(task, X=unit * task.X) for task in tasks]
        if self._y_is_numeric:
            scaled = [replace(task, y=label_unit * task.y) for task in scaled]
        solution = self._solve(scaled, unit, label_unit)
        return solution._replace(
            coef=solution.coef / label_unit * unit,
            shared_coef=solution.shared_coef / label_unit * unit,
            intercept=solution.intercept / label_unit,
        )

    def _own_scores(self, X, numbers):
        """Return the scores of each row by its own task's model, shape (n, k)."""
        if hasattr(self, "_network"):
            return self._network_scores(X, numbers)
        coef = self.coef_ if self.coef_.ndim == 3 else self.coef_[:, None]
        intercept = self.intercept_
        shared_coef, shared_intercept = np.atleast_2d(self.shared_coef_), self.shared_intercept_
        scores = np.empty((len(X), len(shared_coef)))
        for number in np.unique(numbers):
            rows = numbers == number
            own = (coef[number], intercept[number]) if number >= 0 else None
            weights, offset = own or (shared_coef, shared_intercept)
            scores[rows] = X[rows] @ weights.T + offset
        return scores

    # --- the network -------------------------------------------------------------------

    def _targets_of(self, tasks, known, weights) -> np.ndarray:
        """Return labels and their weights, relative to the row's, as `Tasks` describes them."""
        n, n_tasks = known.shape
        targets = np.zeros((n, 2 * n_tasks if self._is_wide else 3))
        for t, (task, factor) in enumerate(zip(tasks, self._factors(tasks), strict=True)):
            if task is None:
                continue
            rows = np.flatnonzero(known[:, t])
            shares = factor * task.weights / weights[rows]
            if self._is_wide:
                if task.allowed is not None:
                    targets[:, t] = np.argmax(task.allowed)  # any class, where none is known
                targets[rows, t], targets[rows, n_tasks + t] = task.y, shares
            else:
                targets[rows] = np.column_stack([np.full(len(rows), t), task.y, shares])
        return targets

    @property
    def _is_uncertain(self) -> bool:
        return isinstance(self.task_weight, str) and self.task_weight == "uncertainty"

    def _attributes_of(self, network) -> dict:
        """Return the fitted attributes that come from the network."""
        names = ("network_", "stages_", "history_", "n_iter_")
        attributes = {name: getattr(network, name) for name in names} | {"_network": network}
        if self._is_uncertain:
            attributes["task_variance_"] = network.variances()
        return attributes

    def _network_scores(self, X, numbers):
        """Return each row's outputs for its task (n, k); for all tasks (n, T, k) if it has none.

        A task that was not fitted is given the mean of all.
        """
        scores = self._network.scores(X)
        if numbers is None:
            return scores
        own = scores[np.arange(len(scores)), np.maximum(numbers, 0)]
        own[numbers < 0] = scores[numbers < 0].mean(axis=1)
        return own

    @available_if(_has_network)
    def __skltransfer_backbone__(self) -> Backbone:
        """Return the trained trunk, without the heads, as a start for another estimator."""
        check_is_fitted(self)
        return self._network.__skltransfer_backbone__()

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_callback_fit_ctx", None)
        return state

    # --- parameters --------------------------------------------------------------------

    def _check_combinations(self):
        if self.method == "trace_norm" and self.alpha == 0:
            raise ValueError(
                "alpha=0 leaves nothing to share. method='trace_norm' needs a positive alpha."
            )
        if self._is_uncertain and self.method != "network":
            raise ValueError(
                f"task_weight='uncertainty' is learned with a network, and method={self.method!r} "
                "has none. Pass method='network', or task_weight='balanced'."
            )
