"""What the multi-task estimators share: the forms of data, and models in the order of the tasks."""

from __future__ import annotations

import warnings
from abc import ABCMeta, abstractmethod
from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_X_y
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skltransfer._solvers._multitask import MultiTaskSolution, TaskRows
from skltransfer._spelling import near_names
from skltransfer.domains._data import as_labels
from skltransfer.parameter._linear import check_penalty
from skltransfer.parameter._tasks import (
    check_known_values,
    look_up_tasks,
    number_tasks,
    split_task_column,
    split_wide,
    task_position,
    weights_of_tasks,
)

METHODS = ("mean_regularized", "trace_norm")


class MultiTask(BaseEstimator, metaclass=ABCMeta):
    """Fit one model for each task, all at once.

    A subclass says how labels are coded and which loss is minimised; `method` says what the tasks
    share.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X, y, sample_weight=None):
        """Fit all tasks.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; in the long form with the column of tasks.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Labels: of each row's task (long), or of every task, ``NaN`` (or ``None`` or
            ``pandas.NA`` in arrays of objects) where one is missing (wide).
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : estimator
        """
        self._check_parameters()
        y_array = None if y is None or sparse.issparse(y) else as_labels(y)
        self._is_wide = y_array is not None and y_array.ndim == 2 and self.task_column is None
        if self._is_wide:
            X = validate_data(self, X, dtype=np.float64)
            y, known, names = split_wide(y, len(X))
        else:
            X, y, row_tasks = self._read_long(X, y, y_array)
        used = np.ones(len(X), dtype=bool)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
            used = sample_weight > 0  # a row without weight is as good as absent
            X, y, sample_weight = X[used], y[used], sample_weight[used]
        weights = np.ones(len(X)) if sample_weight is None else sample_weight
        if self._is_wide:
            known = known[used]
            check_known_values(known, names)
            self.tasks_ = names
        else:
            self.tasks_, numbers = number_tasks(row_tasks[used])
            known = numbers[:, None] == np.arange(len(self.tasks_))
        self._set_models(self._tasks_of(X, y, known, weights))
        return self

    def predict(self, X):
        """Predict the label of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; in the long form with the column of tasks. A task that was not fitted is given
            the shared model.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_tasks)
            2-D if the ``y`` given to `fit` was.
        """
        return self._predicted(*self._read_rows(X))

    # --- what a subclass says ----------------------------------------------------------

    @abstractmethod
    def _tasks_of(self, X, y, known, weights) -> list[TaskRows | None]:
        """Return the rows of each task; None for one that has nothing to learn.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        y : ndarray of shape (n,) or (n, n_tasks)
        known : ndarray of shape (n, n_tasks), bool
            Which rows a task has.
        weights : ndarray of shape (n,)
        """

    @abstractmethod
    def _solve(self, tasks) -> MultiTaskSolution:
        """Minimise the loss by `method`."""

    @abstractmethod
    def _set_coefficients(self, coef, intercept, shared_coef, shared_intercept) -> None:
        """Set the fitted attributes from (T, k, d), (T, k), (k, d) and (k,)."""

    @abstractmethod
    def _predicted(self, X, numbers):
        """Return what `predict` does; `numbers` are the tasks of rows, None in the wide form."""

    # --- rows and tasks ----------------------------------------------------------------

    def _read_long(self, X, y, y_array):
        """Return features, labels and the task of each row."""
        if self.task_column is None:
            X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=self._y_is_numeric)
            return X, y, np.zeros(len(X), dtype=int)
        validate_data(self, X, y=y, skip_check_array=True)
        if y_array is not None and y_array.ndim == 2 and y_array.shape[1] > 1:
            raise ValueError(
                f"y has shape {y_array.shape} and task_column={self.task_column!r}. Pass a 1-D y "
                "with the label of each row's task, or task_column=None with a column of y for "
                "each task."
            )
        self._task_position = task_position(self.task_column, X)
        features, row_tasks = split_task_column(X, self._task_position)
        features, y = check_X_y(
            features, y, dtype=np.float64, y_numeric=self._y_is_numeric, estimator=self
        )
        return features, y, row_tasks

    def _read_rows(self, X):
        """Return features and the number of each row's task, -1 for an unknown one."""
        check_is_fitted(self)
        if self.task_column is None:
            X = validate_data(self, X, dtype=np.float64, reset=False)
            return X, None if self._is_wide else np.zeros(len(X), dtype=int)
        if isinstance(X, list | tuple):
            X = np.asarray(X, dtype=object)
        validate_data(self, X, reset=False, skip_check_array=True)
        X, row_tasks = split_task_column(X, self._task_position)
        return X, look_up_tasks(row_tasks, self.tasks_)

    def _weighted(self, tasks):
        """Return the tasks that have rows, with `task_weight` in the weights of these."""
        totals = np.array([0.0 if task is None else task.weights.sum() for task in tasks])
        factors = weights_of_tasks(self.task_weight, self.tasks_, totals)
        return [
            TaskRows(t.X, t.y, factor * t.weights, t.allowed, t.intercept_penalty)
            for t, factor in zip(tasks, factors, strict=True)
            if t is not None
        ]

    # --- models ------------------------------------------------------------------------

    def _set_models(self, tasks):
        with_rows = np.array([task is not None for task in tasks])
        used = self._weighted(tasks)
        solution = self._solve(used)
        self.n_iter_, self.optimality_gap_ = solution.n_iter, float(solution.gap)
        if not solution.gap <= self.tol:
            warnings.warn(
                f"The solver stopped after {solution.n_iter} steps at a relative gap of "
                f"{solution.gap:.1e}, not tol={self.tol:.1e}. Raise max_iter or tol, raise alpha, "
                "or scale the columns.",
                ConvergenceWarning,
                stacklevel=3,
            )
        shared = solution.shared_coef
        # Of all intercepts that which gives the rows of a task the mean score of its own model,
        # on average over the tasks: where the columns have their zero does not matter.
        means = np.stack([task.mean() for task in used])
        own = np.einsum("tkd,td->tk", solution.coef - shared, means) + solution.intercept
        shared_intercept = own.mean(axis=0) if self.fit_intercept else np.zeros(len(shared))
        coef = np.zeros((len(tasks), *shared.shape))
        intercept = np.zeros(coef.shape[:2])
        coef[with_rows], intercept[with_rows] = solution.coef, solution.intercept
        self._set_coefficients(coef, intercept, shared, shared_intercept)

    def _scores(self, X, numbers, coef, intercept, shared_coef, shared_intercept):
        """Return the linear scores of each row by its own task's model, shape (n, k)."""
        scores = np.empty((len(X), len(shared_coef)))
        for number in np.unique(numbers):
            rows = numbers == number
            own = (coef[number], intercept[number]) if number >= 0 else None
            weights, offset = own or (shared_coef, shared_intercept)
            scores[rows] = X[rows] @ weights.T + offset
        return scores

    # --- parameters --------------------------------------------------------------------

    def _check_parameters(self):
        if self.method not in METHODS:
            raise ValueError(
                f"method={self.method!r} is not one of {list(METHODS)}."
                + near_names(self.method, METHODS)
            )
        check_penalty(self.alpha, "alpha", is_scalar=True)
        check_penalty(self.shared_alpha, "shared_alpha", is_scalar=True)
        if self.method == "trace_norm" and self.alpha == 0:
            raise ValueError(
                "alpha=0 leaves nothing to share. method='trace_norm' needs a positive alpha."
            )
        if not (isinstance(self.tol, Real) and self.tol > 0):
            raise ValueError(f"tol={self.tol!r} is not a positive number.")
        if not (isinstance(self.max_iter, Integral) and self.max_iter >= 1):
            raise ValueError(f"max_iter={self.max_iter!r} is not an integer of at least 1.")
