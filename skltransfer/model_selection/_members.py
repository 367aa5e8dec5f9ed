"""The strategies of a mixture, fitted on parts of the target."""

from __future__ import annotations

import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from skltransfer._blas import one_blas_thread
from skltransfer._messages import first_line
from skltransfer.domains._classes import classes_compared
from skltransfer.domains._data import columns_compared, concatenate_rows
from skltransfer.model_selection._mixture import class_probabilities
from skltransfer.model_selection._results import FoldFit
from skltransfer.model_selection._task import TransferTask


@dataclass(frozen=True, eq=False)
class TargetSamples:
    """Target samples, of which strategies are fitted on parts.

    Parameters
    ----------
    X : array-like of shape (n_labelled, n_features)
        Samples with a label.
    y : ndarray of shape (n_labelled,)
        Their labels.
    weights : ndarray of shape (n_labelled,), or None
        Their weights, None if all are 1.
    X_unlabelled : array-like of shape (n_unlabelled, n_features), or None
        Samples without a label.
    unlabelled_weights : ndarray of shape (n_unlabelled,), or None
        Their weights, None if all are 1.
    classes : ndarray of shape (n_classes,) or None
        Classes of both domains, sorted. None in regression.
    """

    X: Any
    y: np.ndarray
    weights: np.ndarray | None
    X_unlabelled: Any
    unlabelled_weights: np.ndarray | None
    classes: np.ndarray | None

    def mapped(self, task: TransferTask) -> TargetSamples:
        """Return the samples as they enter the last step of the task's estimator."""
        free = None if self.X_unlabelled is None else task.map(self.X_unlabelled)
        return replace(self, X=task.map(self.X), X_unlabelled=free)

    def take(self, rows):
        """Return some of the labelled samples."""
        if isinstance(self.X, np.ndarray):  # many times as fast
            return self.X[rows]
        return _safe_indexing(self.X, rows)

    def part(self, rows, *, with_unlabelled: bool) -> tuple:
        """Return some of the labelled samples, perhaps with all others: rows, labels, weights."""
        X, y = self.take(rows), self.y[rows]
        weights = None if self.weights is None else self.weights[rows]
        if not with_unlabelled or self.X_unlabelled is None:
            return X, y, weights
        n_unlabelled = _num_samples(self.X_unlabelled)
        is_number = y.dtype.kind in "biuf"
        missing = np.full(n_unlabelled, np.nan, dtype=float if is_number else object)
        labels = np.concatenate([y.astype(missing.dtype), missing])
        if weights is not None:
            weights = np.concatenate([weights, self.unlabelled_weights])
        return concatenate_rows(X, self.X_unlabelled), labels, weights


def fit_members(
    strategies, task: TransferTask, samples: TargetSamples, folds, n_jobs
) -> tuple[list[list[FoldFit]], list]:
    """Fit strategies on the training samples of all folds, and on all samples.

    Parameters
    ----------
    strategies : list of Strategy
    task : TransferTask
    samples : TargetSamples
    folds : list of (ndarray, ndarray)
        Positions of training and test samples.
    n_jobs : int or None

    Returns
    -------
    fits : list of list of FoldFit
        For each strategy and fold.
    fitted : list of (estimator or Exception)
        Each strategy fitted on all samples, or why it cannot be.
    """
    everything = np.arange(len(samples.y))
    is_mapped = [s.adapt is not None for s in strategies]
    mapped = samples.mapped(task) if any(is_mapped) else None
    results = Parallel(n_jobs=n_jobs)(
        delayed(_fit)(strategy, task, mapped if maps else samples, train, test)
        for strategy, maps in zip(strategies, is_mapped, strict=True)
        for train, test in [*folds, (everything, None)]
    )
    per_strategy = len(folds) + 1
    rows = [results[i : i + per_strategy] for i in range(0, len(results), per_strategy)]
    return [row[:-1] for row in rows], [row[-1] for row in rows]


def _fit(strategy, task, samples: TargetSamples, train, test):
    """Fit one strategy; predict if there are test samples, else return it.

    Bits must not depend on the number of processes, among which threads are shared.
    """
    is_fold = test is not None
    started = time.perf_counter()
    with (
        warnings.catch_warnings() if is_fold else nullcontext(),
        # The source's own fit has looked at the parameters.
        config_context(skip_parameter_validation=is_fold),
        one_blas_thread(),
        classes_compared(),
        columns_compared(),
    ):
        if is_fold:  # the fit on all samples says the same
            warnings.simplefilter("ignore")
        X, y, weights = samples.part(train, with_unlabelled=strategy.uses_unlabelled)
        known = samples.y[train]
        is_constant = samples.classes is not None and len(np.unique(known)) == 1
        is_mapped, failure = strategy.adapt is not None, None
        try:
            fitted = (strategy.fit_mapped if is_mapped else strategy.fit)(task, X, y, weights)
        except Exception as error:
            failure = error
            own_weights = None if samples.weights is None else samples.weights[train]
            fitted = _frequencies(known, samples.classes, own_weights)
        if not is_fold:
            if failure is not None:
                return fitted if is_constant else failure
            return task.for_raw_rows(fitted) if is_mapped else fitted
        outputs = outputs_of(fitted, samples.take(test), samples.classes)
    remarks = [] if failure is None else [f"{type(failure).__name__}: {first_line(failure)}"]
    seconds = time.perf_counter() - started
    return FoldFit(outputs=outputs, seconds=seconds, remarks=remarks)


def _frequencies(labels, classes, sample_weight):
    """Return a model that predicts the frequencies of the classes, or the mean of the numbers.

    It stands in where a strategy cannot be fitted on a part of the samples, such as on one class.
    """
    kind = DummyRegressor if classes is None else DummyClassifier
    return kind().fit(np.zeros((len(labels), 1)), labels, sample_weight)


def outputs_of(fitted, X, classes) -> np.ndarray:
    """Return the probabilities of all classes, or the predicted numbers."""
    if classes is None:
        return np.asarray(fitted.predict(X), dtype=float).ravel()
    return class_probabilities(fitted, X, classes)
