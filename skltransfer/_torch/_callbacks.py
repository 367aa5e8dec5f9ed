"""Training as scikit-learn's callbacks see it: one task per epoch."""

from __future__ import annotations

from collections.abc import Callable


class EpochReports:
    """Tell callbacks when an epoch begins and ends, and pass on that one asks to stop.

    Parameters
    ----------
    estimator : estimator
    context : sklearn.callback.CallbackContext
        Of the fit.
    X, y, sample_weight : array-like
        What the estimator was given.
    snapshot : callable
        Returns the fitted attributes, as a dictionary; called only if a callback asks.
    """

    def __init__(self, estimator, context, X, y, sample_weight, snapshot: Callable[[], dict]):
        self._estimator, self._context, self._snapshot = estimator, context, snapshot
        self._data = {"X": X, "y": y}
        self._metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._task = None

    def begin(self) -> None:
        """Say that an epoch begins."""
        self._task = self._context.subcontext(task_name="epoch")
        self._task.call_on_fit_task_begin(
            estimator=self._estimator, **self._data, metadata=self._metadata
        )

    def end(self, record: dict) -> bool:
        """Say that an epoch has ended; return whether training is to stop.

        The record is no metadata: a monitor would pass it on to its scorer.
        """
        return self._task.call_on_fit_task_end(
            estimator=self._estimator,
            **self._data,
            metadata=self._metadata,
            reconstruction_attributes=self._snapshot,
        )
