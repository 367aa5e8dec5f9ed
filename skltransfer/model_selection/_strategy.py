"""A strategy: a way to use, or not to use, another domain or a pretrained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import Any

from sklearn.pipeline import Pipeline

import skltransfer
from skltransfer.domains._routing import fit_with_target
from skltransfer.domains._weights import fit_weighted
from skltransfer.model_selection._task import TransferTask

NO_TRANSFER, SOURCE_ONLY = "no transfer", "source only"
FAMILIES = ("baseline", "instance", "feature", "parameter", "relation", "network", "yours")


@dataclass(frozen=True)
class Strategy:
    """A way to use, or not to use, another domain or a pretrained network.

    Parameters
    ----------
    name : str
        Name in tables and plots.
    build : callable
        Function of a :class:`TransferTask` that returns an unfitted estimator for target samples:
        ``strategy.build(task).fit(X, y)``.
    family : {"baseline", "instance", "feature", "parameter", "relation", "network", "yours"}
        What is carried over: nothing or the source's own model; samples; a representation;
        coefficients; a network that is trained; or whatever an estimator of the user's own does.
    needs_source : bool, default=False
        Whether it needs samples of another domain.
    uses_unlabelled : bool, default=False
        Whether target samples without a label are of use: ``y`` may hold missing labels.
    trains_network : bool, default=False
        Whether each fit trains a network on images or texts, which takes seconds.
    task : {"classification", "regression"} or None, default=None
        Kind of task; ``None`` stands for both.
    backbone : str or None, default=None
        Name of the pretrained network, if any.
    needs : str or None, default=None
        Module of an extra that it imports.
    settings : str or None, default=None
        Settings in which its estimator differs from the defaults of the class, as they are written
        in the call.
    adapt : callable or None, default=None
        Function of a :class:`TransferTask` that returns the unfitted two-domain estimator, which
        asks for ``X_target``, behind the task's first steps.
    ignores_target : bool, default=False
        Whether it is the task's estimator, fitted on the source alone.
    is_control : bool, default=False
        Whether it only shows what another strategy owes to pretrained weights, by random ones. It
        is compared, but never recommended: the best of many random networks is best by luck.
    ignores_source : bool, default=False
        Whether ``adapt(task)`` holds all it needs of the source, and is fitted on the target.
    max_rows : int or None, default=None
        Number of samples of both domains above which a comparison leaves it out unless it is named,
        because a fit takes more than about ten seconds.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from skltransfer.model_selection import Strategy, TransferTask
    >>> strategy = Strategy("no transfer", lambda task: task.estimator, "baseline")
    >>> strategy.build(TransferTask(Ridge()))
    Ridge()
    """

    name: str
    build: Callable[[TransferTask], Any]
    family: str
    needs_source: bool = False
    uses_unlabelled: bool = False
    trains_network: bool = False
    task: str | None = None
    backbone: str | None = None
    needs: str | None = None
    settings: str | None = None
    adapt: Callable[[TransferTask], Any] | None = None
    ignores_target: bool = False
    is_control: bool = False
    ignores_source: bool = False
    max_rows: int | None = None

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise ValueError(f"family={self.family!r} is none of {', '.join(map(repr, FAMILIES))}.")

    def fit(self, task: TransferTask, X, y, sample_weight=None):
        """Fit the strategy on target samples, without work that was done on the source before.

        The predictions are those of ``build(task).fit(X, y)``. The source is mapped once in the
        life of the task, and the task's estimator is fitted on the source alone once.

        Parameters
        ----------
        task : TransferTask
            The user's model, and the source.
        X : array-like of shape (n_samples, n_features)
            Target samples, as they enter the task's estimator.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : ndarray of shape (n_samples,), default=None
            Their weights.

        Returns
        -------
        estimator : estimator
            Fitted, for target samples as they enter the task's estimator.
        """
        if self.ignores_target:
            return task.source_model
        if self.adapt is None:
            return _fitted(self.build(task), X, y, sample_weight)
        return task.for_raw_rows(self.fit_mapped(task, task.map(X), y, sample_weight))

    def fit_mapped(self, task: TransferTask, rows, y, sample_weight=None):
        """Fit ``adapt(task)`` on target samples as they enter the last step of the estimator.

        Parameters
        ----------
        task : TransferTask
            The user's model, and the source.
        rows : array-like of shape (n_samples, n_features)
            Target samples, mapped by ``task.map``.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : ndarray of shape (n_samples,), default=None
            Their weights.

        Returns
        -------
        estimator : estimator
            Fitted, for target samples that are mapped so.
        """
        estimator = self.adapt(task)
        is_pipeline = isinstance(estimator, Pipeline)
        steps = [step for _, step in estimator.steps] if is_pipeline else [estimator]
        if self.ignores_source:
            for step in steps[:-1]:
                rows = step.fit_transform(rows, y)
            fit_weighted(steps[-1], rows, y, sample_weight)
            return estimator
        X, y_source, weights = task.source_rows, task.y_source, task.source_sample_weight
        if all(_asks_for_target(step) for step in steps):
            # Metadata routing would take longer than many fits.
            for step in steps[:-1]:
                X = step.fit_transform(X, y_source, X_target=rows)
                rows = step.transform(rows)
            given = {"sample_weight": weights, "target_sample_weight": sample_weight}
            given = {name: value for name, value in given.items() if value is not None}
            steps[-1].fit(X, y_source, X_target=rows, y_target=y, **given)
        else:
            target = {"X_target": rows, "y_target": y, "target_sample_weight": sample_weight}
            fit_with_target(estimator, X, y_source, sample_weight=weights, **target)
        return estimator

    @classmethod
    def two_domain(cls, name: str, family: str, adapt, *, use_y: bool = True, **options):
        """Return a strategy that fits ``adapt(task)`` on both domains, behind the task's steps.

        Parameters
        ----------
        name, family : str
            Name in tables and plots, and family of methods.
        adapt : callable
            Function of a task; see the class.
        use_y : bool, default=True
            Whether labels of the target are used.
        **options : dict
            Further fields of the strategy.
        """

        def build(task):
            return skltransfer.WithSource(
                task.behind_steps(adapt(task)),
                task.X_source,
                task.y_source,
                source_sample_weight=task.source_sample_weight,
                use_y=use_y,
            )

        if not use_y or options.get("ignores_target"):
            return cls(name, build, family, needs_source=True, **options)
        return cls(name, build, family, needs_source=True, adapt=adapt, **options)

    @classmethod
    def alone(cls, name: str, family: str, estimator, **options):
        """Return a strategy that fits ``estimator(task)`` on the target, behind the task's steps.

        Parameters
        ----------
        name, family : str
            Name in tables and plots, and family of methods.
        estimator : callable
            Function of a task that returns an unfitted estimator.
        **options : dict
            Further fields of the strategy.
        """
        return cls(name, lambda task: task.behind_steps(estimator(task)), family, **options)


def _fitted(estimator, X, y, sample_weight):
    fit_weighted(estimator, X, y, sample_weight)
    return estimator


def _asks_for_target(step) -> bool:
    """Tell whether the class of a step itself takes target samples."""
    return _takes_target(type(step))


@cache
def _takes_target(kind: type) -> bool:
    return "X_target" in signature(kind.fit).parameters
