"""The fits of a comparison: strategies, each on the training samples of each fold."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing

from skltransfer._blas import one_blas_thread
from skltransfer._messages import first_line
from skltransfer.domains._classes import classes_compared
from skltransfer.domains._data import columns_compared
from skltransfer.model_selection._metrics import Metric, Responses
from skltransfer.model_selection._mixture import class_probabilities
from skltransfer.model_selection._results import FoldFit
from skltransfer.model_selection._strategy import Strategy
from skltransfer.model_selection._task import TransferTask


@dataclass(frozen=True, order=True)
class Job:
    """A fit that is to be made.

    Parameters
    ----------
    strategy : str
        Name.
    fold : int
    n_labels : int or None, default=None
        Number of training samples of a learning curve; None for all.
    """

    strategy: str
    fold: int
    n_labels: int | None = None


@dataclass(frozen=True, eq=False)
class Contender:
    """A strategy as it is fitted in folds.

    Parameters
    ----------
    strategy : Strategy
    task : TransferTask or None
        The task that it is fitted for by ``strategy.fit``, which repeats no work on the source.
        None: `estimator` is fitted.
    estimator : estimator or None
        Unfitted, for target samples.
    form : str
        Form of the target samples in which they are fitted: as they are given, or the features of
        a frozen network.
    """

    strategy: Strategy
    task: TransferTask | None
    estimator: Any
    form: str

    def fit(self, X, y):
        """Return the fitted strategy."""
        if self.task is not None:
            return self.strategy.fit(self.task, X, y)
        return clone(self.estimator).fit(X, y)


@dataclass(frozen=True, eq=False)
class _Samples:
    """Training and test samples of one fit."""

    X: Any
    y: Any
    X_test: Any
    y_test: Any


@dataclass(frozen=True)
class Progress:
    """How far a comparison has come.

    Parameters
    ----------
    running : str
        Name of the strategy whose fit has just ended.
    done, total : int
        Number of fits that are finished, and of all.
    seconds_left : float or None
        Estimate of the time that the other fits take; None before the first.
    """

    running: str
    done: int
    total: int
    seconds_left: float | None


class Fits:
    """Make fits, in parallel, and remember what they gave.

    Parameters
    ----------
    contenders : dict of str to Contender
    forms : dict of str to array-like
        All target samples in each form.
    samples : callable
        Function of a job that returns the positions of its training and test samples among all
        target samples, and the labels of both.
    metric : Metric
    classes : ndarray or None
    baseline : str
        Strategy whose failure is an error.
    n_jobs : int or None
    folder : FitFolder or None
    progress : callable or None
        Is called with a :class:`Progress`.
    deadline : float or None
        Time of the clock (``time.time``) after which no fit but the baseline's is begun.
    """

    def __init__(
        self,
        contenders,
        forms,
        samples,
        metric,
        classes,
        baseline,
        n_jobs,
        folder,
        progress,
        deadline,
    ):
        self.contenders, self._forms, self._samples = contenders, forms, samples
        self._metric, self._classes, self._baseline = metric, classes, baseline
        self._n_jobs, self._folder, self._progress = n_jobs, folder, progress
        self.deadline = deadline
        self.made: dict[Job, FoldFit] = {}
        self._total = 0

    def seconds_of(self, name: str) -> float | None:
        """Return the mean time of a fit of a strategy; None if there was none."""
        seconds = [fit.seconds for job, fit in self.made.items() if job.strategy == name]
        return float(np.mean(seconds)) if seconds else None

    def make(self, jobs: Iterable[Job]) -> None:
        """Make fits that are not made yet. Those for which no time is left are left out."""
        jobs = [job for job in jobs if job not in self.made]
        self._total = len(self.made) + len(jobs)
        kept = {} if self._folder is None else {job: self._folder.load(job) for job in jobs}
        self.made.update({job: fit for job, fit in kept.items() if fit is not None})
        jobs = [job for job in jobs if job not in self.made]
        # A network of images or texts takes the cores that other processes leave to it.
        trained = {job for job in jobs if self.contenders[job.strategy].strategy.trains_network}
        self._run([job for job in jobs if job not in trained], one_thread=True)
        self._run([job for job in jobs if job in trained], one_thread=False)

    def _run(self, jobs, *, one_thread: bool) -> None:
        if not jobs:
            return
        parallel = Parallel(n_jobs=self._n_jobs, return_as="generator", pre_dispatch="2*n_jobs")
        calls = (
            delayed(_fit_fold)(
                self.contenders[job.strategy].fit,
                self._cut(job),
                self._metric,
                self._classes,
                limits=self._limits(job) if one_thread else nullcontext,
                baseline=self._baseline if job.strategy == self._baseline else None,
                latest=self._latest(job),
            )
            for job in jobs
        )
        waiting = list(jobs)
        for fit in parallel(calls):
            job = waiting.pop(0)
            if fit is not None:
                self.made[job] = fit
                if self._folder is not None:
                    self._folder.store(job, fit)
            self._report(job, waiting)

    def _limits(self, job: Job) -> Callable[[], AbstractContextManager]:
        # Bits must not depend on the number of processes, among which threads are shared.
        is_network = self.contenders[job.strategy].strategy.family == "network"
        return _one_thread_of_torch if is_network else one_blas_thread

    def _cut(self, job: Job) -> _Samples:
        train, y_train, test, y_test = self._samples(job)
        rows = self._forms[self.contenders[job.strategy].form]
        return _Samples(_safe_indexing(rows, train), y_train, _safe_indexing(rows, test), y_test)

    def _latest(self, job: Job) -> float | None:
        if self.deadline is None or job.strategy == self._baseline:
            return None
        return self.deadline - (self.seconds_of(job.strategy) or 0.0)

    def _report(self, job: Job, waiting) -> None:
        if self._progress is None:
            return
        means = {name: self.seconds_of(name) for name in {job.strategy for job in waiting}}
        known = [fit.seconds for fit in self.made.values()]
        usual = float(np.mean(known)) if known else None
        left = None
        if usual is not None:
            seconds = [usual if means[j.strategy] is None else means[j.strategy] for j in waiting]
            left = sum(seconds) / max(effective_n_jobs(self._n_jobs), 1)
            if self.deadline is not None:
                left = min(left, max(self.deadline - time.time(), 0.0))
        done = self._total - len(waiting)
        self._progress(Progress(job.strategy, done, self._total, left))


def _fit_fold(
    fit: Callable,
    samples: _Samples,
    metric: Metric,
    classes,
    *,
    limits: Callable[[], AbstractContextManager],
    baseline: str | None,
    latest: float | None,
) -> FoldFit | None:
    """Fit a strategy and score it; a failure is part of the result, but for the baseline's."""
    if latest is not None and time.time() > latest:
        return None
    result, started = FoldFit(), time.perf_counter()
    with (
        warnings.catch_warnings(record=True) as caught,
        limits(),
        classes_compared(),
        columns_compared(),
    ):
        warnings.simplefilter("default")
        warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")
        try:
            model = Responses(_fitted(fit, samples.X, samples.y, classes))
            result.outputs = _outputs(model, samples.X_test, classes)
            test = samples.X_test, samples.y_test
            result.score, result.values = metric(model, *test, result.outputs)
        except Exception as error:
            if baseline is not None:
                raise ValueError(
                    f"{baseline!r}, the baseline, cannot be fitted or scored: {first_line(error)}. "
                    "Check the estimator, the samples and scoring."
                ) from error
            result = FoldFit(failure=f"{type(error).__name__}: {first_line(error)}")
    result.seconds = time.perf_counter() - started
    result.remarks = [f"{w.category.__name__}: {first_line(w.message)}" for w in caught]
    return result


@contextmanager
def _one_thread_of_torch() -> Iterator[None]:
    """Train a small network on one thread: more would wait for each other."""
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with one_blas_thread():
            yield
    finally:
        torch.set_num_threads(n_threads)


def _fitted(fit: Callable, X, y, classes):
    """Fit; samples of one class make a constant prediction where a classifier wants two."""
    try:
        return fit(X, y)
    except ValueError:
        if classes is None or len(set(np.asarray(y).tolist())) > 1:
            raise
        return DummyClassifier().fit(X, y)


def _outputs(model, X, classes):
    if classes is None:
        return np.ravel(np.asarray(model.predict(X), dtype=float))
    return class_probabilities(model, X, classes) if hasattr(model, "predict_proba") else None
