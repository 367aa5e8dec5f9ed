"""The strategies of a mixture: which they are, and how they are fitted on parts of the target."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples
from threadpoolctl import ThreadpoolController

import skltransfer
from skltransfer._messages import first_line, near_names
from skltransfer.domains._classes import classes_compared
from skltransfer.domains._data import columns_compared, concatenate_rows
from skltransfer.model_selection._mixture import class_probabilities
from skltransfer.model_selection._results import FoldFit
from skltransfer.model_selection._strategies import mixture_strategies, table_strategies
from skltransfer.model_selection._strategy import NO_TRANSFER, Strategy
from skltransfer.model_selection._task import TransferTask


def members(strategies, task: TransferTask, n_target: int) -> list[Strategy]:
    """Return the strategies of a mixture, "no transfer" first.

    Parameters
    ----------
    strategies : "auto" or list of (str, Strategy or estimator)
        Names of strategies, strategies, or two-domain estimators for samples as they are given.
    task : TransferTask
    n_target : int
        Number of target samples.

    Raises
    ------
    ValueError
        If an entry is none of these, or occurs twice.
    """
    cheap = mixture_strategies(task)
    if isinstance(strategies, str) and strategies == "auto":
        return cheap
    if isinstance(strategies, str) or not hasattr(strategies, "__iter__"):
        raise ValueError(
            f"strategies={strategies!r} is neither 'auto' nor a list of names of strategies, "
            "Strategy objects or two-domain estimators."
        )
    kind = "classification" if task.is_classification else "regression"
    known = {s.name: s for s in table_strategies(kind, n_target + _num_samples(task.X_source))}
    known |= {strategy.name: strategy for strategy in cheap}
    chosen = [_strategy(entry, known) for entry in strategies]
    chosen = [known[NO_TRANSFER], *(s for s in chosen if s.name != NO_TRANSFER)]
    names = Counter(strategy.name for strategy in chosen)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(
            f"strategies holds {twice} more than once. Pass Strategy objects with names of their "
            "own."
        )
    return chosen


def _strategy(entry, known: dict[str, Strategy]) -> Strategy:
    if isinstance(entry, Strategy):
        return entry
    if isinstance(entry, str):
        if entry not in known:
            raise ValueError(
                f"strategies holds {entry!r}, which is no strategy.{near_names(entry, known)} "
                f"Choose among {', '.join(known)}."
            )
        return known[entry]
    if not hasattr(entry, "fit"):
        raise ValueError(
            f"strategies holds {entry!r}, which is no name of a strategy, no Strategy and no "
            "two-domain estimator."
        )

    def build(task):
        return skltransfer.WithSource(
            clone(entry),
            task.X_source,
            task.y_source,
            source_sample_weight=task.source_sample_weight,
        )

    return Strategy(type(entry).__name__, build, "yours", needs_source=True, uses_unlabelled=True)


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


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


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
        _controller().limit(limits=1, user_api="blas"),
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
