"""A fit, or a transform, and its parts, as scikit-learn's callbacks see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sklearn import config_context

from skltransfer._decorators import with_callbacks
from skltransfer._processes import is_first

Item = TypeVar("Item")
Result = TypeVar("Result")


class FitTask:
    """A fit, or a part of one, that has begun.

    The method that begins a fit is decorated by scikit-learn's ``with_callbacks``.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
    data : dict
        Arguments of the hooks: estimator, X, y and metadata.
    """

    def __init__(self, context, data: dict):
        self._context, self._data = context, data
        context.call_on_fit_task_begin(**data)

    @classmethod
    def begin(
        cls,
        estimator,
        X,
        y=None,
        sample_weight=None,
        *,
        name: str = "fit",
        max_subtasks: int | None = 0,
    ):
        """Begin the fit of an estimator.

        Parameters
        ----------
        estimator : estimator
            Supports callbacks.
        X, y, sample_weight : array-like
            Arguments of its `fit`.
        name : str, default="fit"
            Method that is called.
        max_subtasks : int or None, default=0
            Largest number of parts; ``None`` if it is not known.

        Returns
        -------
        task : FitTask
            Silent where another process of the same training reports.
        """
        if not is_first():
            return _Silent()
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        context = estimator._init_callback_context(name, max_subtasks=max_subtasks)
        return cls(context, {"estimator": estimator, "X": X, "y": y, "metadata": metadata})

    def part(self, name: str, *, max_subtasks: int | None = 0) -> FitTask:
        """Begin a part of this task."""
        context = self._context.subcontext(task_name=name, max_subtasks=max_subtasks)
        return FitTask(context, self._data)

    def each_batch(self, batches: Iterable[Item], n_batches: int) -> Iterator[Item]:
        """Yield batches; work on one of the first `n_batches` is a part of a part of this task."""
        whole = self.part("batches", max_subtasks=n_batches)
        for number, batch in enumerate(batches):
            part = whole.part("batch") if number < n_batches else None
            yield batch
            if part is not None:
                part.end()
        whole.end()

    @contextmanager
    def hand_on(self, estimator) -> Iterator[None]:
        """Make the fit of an inner estimator, in the body, a part of this task.

        Callbacks that propagate see it. Without an estimator (None) there is no such part.
        """
        if estimator is None:
            yield
            return
        context = self._context.subcontext(task_name="fit-estimator")
        with context.propagate_callback_context(estimator):
            # Begins here, so that a callback that propagates sees one begin and one end.
            part = FitTask(context, self._data)
            yield
            part.end()

    def end(self, fitted: Callable[[], dict] | dict | None = None) -> bool:
        """End the task, and return whether a callback asks to stop.

        Parameters
        ----------
        fitted : dict, or callable that returns one, default=None
            Attributes with which the estimator could predict by now, beside those it has;
            ``None`` if it could not. A callable is called only if a callback asks.
        """
        # Inside WithTarget routing is on, and a monitor's scorer has no request for the weights.
        with config_context(enable_metadata_routing=False):
            return self._context.call_on_fit_task_end(
                **self._data, reconstruction_attributes=fitted
            )


class _Silent(FitTask):
    """A fit that no callback sees."""

    def __init__(self):
        pass

    def part(self, name: str, *, max_subtasks: int | None = 0) -> FitTask:
        return self

    @contextmanager
    def hand_on(self, estimator) -> Iterator[None]:
        yield

    def end(self, fitted: Callable[[], dict] | dict | None = None) -> bool:
        return False


def reporting(estimator, X, compute: Callable[[Callable | None], Result]) -> Result:
    """Transform samples in batches, and report each to the callbacks of an estimator.

    A copy of the estimator takes part, because threads may share a fitted one.

    Parameters
    ----------
    estimator : estimator
        Supports callbacks.
    X : array-like
        Samples.
    compute : callable
        Function that transforms them. Its argument is None, or a function of the batches and of
        their largest number that hands them on, one after the other.

    Returns
    -------
    result : object
        What `compute` returns.
    """
    # A callback in the middle of a fit that asks for a transform has heard of the fit.
    is_fitting = hasattr(estimator, "_skl_callbacks_to_teardown")
    if is_fitting or not getattr(estimator, "_skl_callbacks", None):
        return compute(None)

    @with_callbacks
    def report(reporter):
        task = FitTask.begin(reporter, X, name="transform", max_subtasks=None)
        result = compute(task.each_batch)
        task.end()
        return result

    reporter = object.__new__(type(estimator))
    vars(reporter).update(vars(estimator))
    return report(reporter)
