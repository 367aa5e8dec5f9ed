"""What a strategy is built for: the user's model, and the source."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline

from skltransfer.domains._weights import fit_weighted, weight_keyword


@dataclass(frozen=True, eq=False)
class TransferTask:
    """The user's model and the samples of another domain, for which strategies are built.

    What the source alone decides is computed when it is first asked for, and once.

    Parameters
    ----------
    estimator : estimator
        The user's own model or pipeline, which is never fitted itself. Strategies train its last
        step, behind its first ones.
    X_source : array-like of shape (n_source_samples, n_features), default=None
        Source samples. ``None`` if there is no other domain.
    y_source : array-like of shape (n_source_samples,), default=None
        Source labels.
    source_sample_weight : array-like of shape (n_source_samples,), default=None
        Weights of the source samples.
    images : dict, default={}
        Parameters that tell how images are given, such as `image_shape`, `value_range` and
        `input_size`.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skltransfer.model_selection import TransferTask
    >>> pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    >>> task = TransferTask(pipeline, [[0.0], [2.0]], [0, 1])
    >>> task.is_classification, task.model
    (True, LogisticRegression())
    >>> task.source_rows
    array([[-1.],
           [ 1.]])
    """

    estimator: Any
    X_source: Any = None
    y_source: Any = None
    source_sample_weight: Any = None
    images: dict = field(default_factory=dict)

    @cached_property
    def is_classification(self) -> bool:
        """Whether the estimator is a classifier."""
        return is_classifier(self.estimator)

    @property
    def steps(self) -> Pipeline | None:
        """The steps before the last one, unfitted; None if there are none."""
        if isinstance(self.estimator, Pipeline) and len(self.estimator.steps) > 1:
            return self.estimator[:-1]
        return None

    @property
    def model(self):
        """The last step, unfitted: what strategies train."""
        return self.estimator[-1] if isinstance(self.estimator, Pipeline) else self.estimator

    def behind_steps(self, estimator) -> Pipeline:
        """Return a pipeline of clones of the steps before the last one, and an estimator.

        Parameters
        ----------
        estimator : estimator
            What follows the steps. A pipeline is taken apart.

        Returns
        -------
        pipeline : Pipeline
        """
        first = [] if self.steps is None else self.steps.steps
        steps = [clone(step, safe=False) for _, step in first]
        is_pipeline = isinstance(estimator, Pipeline)
        last = [step for _, step in estimator.steps] if is_pipeline else [estimator]
        return make_pipeline(*steps, *last)

    @cached_property
    def source_model(self):
        """A clone of the estimator that is fitted on the source alone."""
        if not self._steps_come_first:
            return self._fitted_whole
        model = clone(self.model)
        fit_weighted(model, self.source_rows, self.y_source, self.source_sample_weight)
        if self.steps is None:
            return model
        return Pipeline([*self.fitted_steps.steps, (self.estimator.steps[-1][0], model)])

    @property
    def fitted_steps(self) -> Pipeline | None:
        """The steps before the last one, fitted on the source; None if there are none."""
        return self._mapped[0]

    @property
    def source_rows(self):
        """The source samples as they enter the last step."""
        return self._mapped[1]

    @cached_property
    def _mapped(self) -> tuple:
        if self.steps is None:
            return None, self.X_source
        if self._steps_come_first:
            steps = clone(self.steps)
            return steps, steps.fit_transform(self.X_source, self.y_source)
        steps = self._fitted_whole[:-1]
        return steps, steps.transform(self.X_source)

    @property
    def _steps_come_first(self) -> bool:
        """Whether the steps are fitted without the weights of samples."""
        return self.source_sample_weight is None or weight_keyword(self.estimator) is not None

    @cached_property
    def _fitted_whole(self):
        estimator = clone(self.estimator)
        fit_weighted(estimator, self.X_source, self.y_source, self.source_sample_weight)
        return estimator

    def map(self, X):
        """Return samples as they enter the last step.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples as they enter the estimator.

        Returns
        -------
        rows : array-like
            What the steps make of them, which are fitted on the source.
        """
        return X if self.fitted_steps is None else self.fitted_steps.transform(X)

    def for_raw_rows(self, fitted):
        """Return an estimator that was fitted on mapped samples, for samples as they are given.

        Parameters
        ----------
        fitted : estimator
            Fitted on samples that :meth:`map` returned.

        Returns
        -------
        estimator : estimator
            Fitted, for samples as they enter the task's estimator.
        """
        if self.fitted_steps is None:
            return fitted
        return make_pipeline(FrozenEstimator(self.fitted_steps), fitted)
