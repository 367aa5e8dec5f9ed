"""Scores of predictions, and their parts for each sample where a score is a mean over samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
from sklearn import metrics
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.utils import ClassifierTags, RegressorTags
from sklearn.utils.metaestimators import available_if

from skltransfer._messages import near_names
from skltransfer.model_selection._mixture import sample_losses


def _accuracy(metric, model, X, y, outputs):
    return (np.asarray(model.predict(X)) == y).astype(float)


def _log_loss(metric, model, X, y, outputs):
    if outputs is None:
        raise AttributeError(f"{metric.name} needs an estimator with predict_proba")
    return -sample_losses(outputs, np.searchsorted(metric.classes, y))


def _of_errors(function):
    return lambda metric, model, X, y, outputs: function(outputs - y, metric)


# Scores that are means over samples: the part of each sample, greater is better.
_BY_SAMPLE: dict[Callable, Callable] = {
    metrics.accuracy_score: _accuracy,
    metrics.log_loss: _log_loss,
    metrics.mean_squared_error: _of_errors(lambda error, metric: -(error**2)),
    metrics.mean_absolute_error: _of_errors(lambda error, metric: -np.abs(error)),
    # The part of the variance of all labels, not of those of a fold, which may be two.
    metrics.r2_score: _of_errors(lambda error, metric: 1 - error**2 / metric.variance),
}


@dataclass(frozen=True, eq=False)
class Metric:
    """A score, and how it is taken from a fitted model.

    Parameters
    ----------
    name : str
    scorer : callable
        ``scorer(estimator, X, y)``; greater is better.
    classes : ndarray of shape (n_classes,) or None
        All classes, sorted; None in regression.
    variance : float, default=1.0
        Variance of all known labels, of which R^2 is a share.
    """

    name: str
    scorer: Any
    classes: np.ndarray | None
    variance: float = 1.0

    @classmethod
    def of(cls, scoring, y, classes) -> Metric:
        """Return the metric of a `scoring` parameter, accuracy or R^2 if it is None.

        Raises
        ------
        ValueError
            If there is no scorer of this name.
        """
        if scoring is None:
            scoring = "r2" if classes is None else "accuracy"
        if isinstance(scoring, str):
            if scoring not in get_scorer_names():
                raise ValueError(
                    f"scoring={scoring!r} is no scorer.{near_names(scoring, get_scorer_names())} "
                    "Pass a name such as 'accuracy' or 'r2', or a callable."
                )
            name, scorer = scoring, get_scorer(scoring)
        else:
            if not callable(scoring):
                raise ValueError(f"scoring={scoring!r} is neither a name nor a callable.")
            scorer, function = scoring, getattr(scoring, "_score_func", scoring)
            name = getattr(function, "__name__", type(function).__name__)
        return cls(name, scorer, classes, float(np.var(y)) or 1.0 if classes is None else 1.0)

    @property
    def by_sample(self) -> Callable | None:
        """The function that returns the part of each sample, if the score is a mean of them."""
        if getattr(self.scorer, "_kwargs", None):
            return None
        return _BY_SAMPLE.get(getattr(self.scorer, "_score_func", None))

    @property
    def step(self) -> float:
        """The smallest distance of two parts: 1 for hits, 0 for numbers."""
        return 1.0 if self.by_sample is _accuracy else 0.0

    def __call__(self, model, X, y, outputs) -> tuple[float, np.ndarray | None]:
        """Score a model.

        Parameters
        ----------
        model : estimator
            Fitted model.
        X, y : array-like
            Test samples and their labels.
        outputs : ndarray of shape (n_samples, n_classes) or (n_samples,), or None
            Probabilities of all classes, or predicted numbers.

        Returns
        -------
        score : float
        values : ndarray of shape (n_samples,) or None
            Parts of the samples, whose mean is the score.
        """
        if self.by_sample is None:
            return float(self.scorer(model, X, y)), None
        values = self.by_sample(self, model, X, y, outputs)
        return float(values.mean()), values


class Responses:
    """A fitted model whose predictions for one set of samples are computed once.

    Parameters
    ----------
    model : estimator
    """

    def __init__(self, model):
        self._model, self._kept = model, {}

    def __getattr__(self, name):
        value = getattr(self._model, name)
        if name not in ("predict", "predict_proba", "decision_function", "predict_log_proba"):
            return value

        @wraps(value)
        def respond(X):
            if name not in self._kept:
                self._kept[name] = value(X)
            return self._kept[name]

        return respond


class Predicted(BaseEstimator):
    """A model that predicts what it was given, for scorers.

    Parameters
    ----------
    outputs : ndarray of shape (n_samples, n_classes) or (n_samples,)
        Probabilities of classes, or predicted numbers.
    classes : ndarray of shape (n_classes,), default=None
    """

    def __init__(self, outputs, classes=None):
        self.outputs = outputs
        self.classes = classes

    @property
    def classes_(self):
        """The classes, which a regressor lacks."""
        if self.classes is None:
            raise AttributeError("A regressor has no classes_")
        return self.classes

    def predict(self, X):
        """Return the most probable class, or the number, of each sample."""
        if self.classes is None:
            return self.outputs
        return self.classes[self.outputs.argmax(axis=1)]

    def score(self, X, y):
        """Return the accuracy, or R^2."""
        function = metrics.r2_score if self.classes is None else metrics.accuracy_score
        return function(y, self.predict(X))

    @available_if(lambda self: self.classes is not None)
    def predict_proba(self, X):
        """Return the probabilities."""
        return self.outputs

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self.classes is None:
            tags.estimator_type, tags.regressor_tags = "regressor", RegressorTags()
        else:
            tags.estimator_type, tags.classifier_tags = "classifier", ClassifierTags()
        return tags
