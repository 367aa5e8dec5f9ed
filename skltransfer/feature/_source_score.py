"""Predictions of a source's model, as columns for a model of the task."""

from __future__ import annotations

from copy import deepcopy
from typing import Self

import numpy as np
from scipy import sparse
from sklearn.base import TransformerMixin, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import (
    _check_feature_names_in,
    _num_samples,
    check_is_fitted,
    validate_data,
)

from skltransfer._documentation import DocumentedEstimator
from skltransfer._parameters import Flag, check_parameters
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._data import column_names
from skltransfer.domains._frames import frame_library
from skltransfer.domains._refit import fits_anew

# A probability of zero has no logarithm; of this it is known well enough.
_SMALLEST_PROBABILITY = 1e-4


class SourceScoreTransformer(HoldsByReference, TransformerMixin, DocumentedEstimator):
    """Append the predictions of a model that was fitted on a source, as columns.

    A model of the task behind it corrects the source's model instead of starting anew: without the
    other columns (``passthrough=False``) it recalibrates the source's predictions, which takes
    very few labels; with them it learns what the source's model misses.

    Parameters
    ----------
    source : fitted classifier, regressor or pipeline
        Model of the source, which takes the samples of the task. Held by reference: it is neither
        cloned nor fitted.
    passthrough : bool, default=True
        Whether to keep the columns of the task. They are those that enter the last step of
        `source`, if it is a pipeline.

    Attributes
    ----------
    scale_ : float
        Standard deviation of all scores over the samples of `fit`, by which they are divided, so
        that a penalty behind treats the scores as it treats standardized columns.
    n_features_in_ : int
        Number of features seen in `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    See Also
    --------
    TransferLogisticRegression : Is pulled towards the coefficients of the source's linear model.
    FeatureAugmenter : Fits one model on both domains, with corrections for each.

    Notes
    -----
    The scores of a classifier are the logarithms of its probabilities, or its decision function if
    it has none; their mean over the classes is subtracted. Two classes have one column. The scores
    of a regressor are its predictions. The logarithms are those of probabilities of at least
    0.0001.

    Scores beside the columns of the task are what [1]_ calls updating of a prediction model by
    recalibration and extension.

    References
    ----------
    .. [1] T.-L. Su, T. Jaki, G. L. Hickey, I. Buchan, M. Sperrin, "A Review of Statistical Updating
       Methods for Clinical Prediction Models", Statistical Methods in Medical Research 27, 2018.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skltransfer import SourceScoreTransformer
    >>> from skltransfer.datasets import load_biased_breast_cancer
    >>> data = load_biased_breast_cancer(random_state=0)
    >>> source = make_pipeline(StandardScaler(), LogisticRegression())
    >>> source = source.fit(data.X_source, data.y_source)
    >>> X, y = data.X_target, data.y_target
    >>> scores = SourceScoreTransformer(source, passthrough=False)
    >>> model = make_pipeline(scores, LogisticRegression()).fit(X[:10], y[:10])
    >>> model.score(X[10:], y[10:]) > 0.9
    True
    >>> model[0].transform(X).shape
    (285, 1)
    """

    _held = ("source",)
    _parameters = {"passthrough": Flag()}

    def __init__(self, source, *, passthrough: bool = True):
        self.source = source
        self.passthrough = passthrough

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if hasattr(self.source, "fit"):
            tags.input_tags = deepcopy(get_tags(self.source).input_tags)
        return tags

    @fits_anew
    def fit(self, X, y=None) -> Self:
        """Learn the scale of the scores.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of the task, as `source` takes them.
        y : None
            Ignored.

        Returns
        -------
        self : SourceScoreTransformer
        """
        self._learn(X)
        return self

    def fit_transform(self, X, y=None, **fit_params):
        """Learn the scale of the scores, and return the columns.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of the task, as `source` takes them.
        y : None
            Ignored.
        **fit_params : dict
            Not used.

        Returns
        -------
        X_new : {ndarray, sparse matrix, data frame} of shape (n_samples, n_features_out)
        """
        rows, scores = self._learn(X)
        return self._join(rows, scores)

    @fits_anew
    def _learn(self, X):
        check_parameters(self)
        self._check_source()
        validate_data(self, X, skip_check_array=True)
        rows, scores = self._score(X)
        scale = float(np.sqrt(np.mean((scores - scores.mean(axis=0)) ** 2)))
        self.scale_ = scale if scale > 0 else 1.0
        self._n_scores = scores.shape[1]
        return rows, scores

    def transform(self, X):
        """Return the scores of the source's model, behind the columns of the task.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of the task, as `source` takes them.

        Returns
        -------
        X_new : {ndarray, sparse matrix, data frame} of shape (n_samples, n_features_out)
            In the form in which columns enter the last step of `source`; an array with
            ``passthrough=False``.
        """
        check_is_fitted(self)
        rows, scores = self._score(X)  # refuses what is no matrix
        validate_data(self, X, skip_check_array=True, reset=False)
        return self._join(rows, scores)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input features.

        Returns
        -------
        names : ndarray of str
            Those of the columns that enter the last step of `source`, then
            ``"source_score_LABEL"`` for each class (the second of two), or
            ``"source_prediction_NUMBER"`` for each output.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        passed = []
        if self.passthrough:
            steps, _ = self._parts()
            passed = names if steps is None else steps.get_feature_names_out(names)
        return np.array([*passed, *self._score_names()], dtype=object)

    def _score_names(self) -> list[str]:
        if not is_classifier(self.source):
            return [f"source_prediction_{number}" for number in range(self._n_scores)]
        classes = self.source.classes_
        classes = classes[1:] if len(classes) == 2 else classes
        return [f"source_score_{label}" for label in classes]

    def _check_source(self) -> None:
        source = self.source
        name = type(source).__name__
        if not hasattr(source, "predict"):
            raise TypeError(
                f"source is a {name}, which does not predict. Pass a fitted classifier or "
                "regressor, or a pipeline that ends in one."
            )
        check_is_fitted(source)
        if is_classifier(source) and _response(source) is None:
            raise TypeError(
                f"source is a {name}, which has neither predict_proba nor decision_function. Pass "
                "a classifier that has one, such as LogisticRegression."
            )

    def _parts(self) -> tuple:
        """Return the fitted steps before the last one (None if there are none), and the last."""
        source = self.source
        while isinstance(source, FrozenEstimator):
            source = source.estimator
        if isinstance(source, Pipeline) and len(source.steps) > 1:
            return source[:-1], source[-1]
        return None, source

    def _score(self, X) -> tuple:
        """Return the columns that enter the last step of the source's model, and the scores."""
        steps, model = self._parts()
        rows = X if steps is None else steps.transform(X)
        if is_classifier(model):
            return rows, _class_scores(model, rows)
        predicted = np.asarray(model.predict(rows), dtype=np.float64)
        return rows, predicted.reshape(_num_samples(rows), -1)

    def _join(self, rows, scores):
        scores = scores / self.scale_
        if not self.passthrough:
            return scores
        if sparse.issparse(rows):
            return sparse.hstack([rows, sparse.csr_matrix(scores)], format="csr")
        library = frame_library(rows)
        if library is None or column_names(rows) is None:
            return np.hstack([np.asarray(rows), scores])
        columns = dict(zip(self._score_names(), scores.T, strict=True))
        if library == "polars":
            return rows.with_columns(**columns)
        return rows.assign(**columns)


def _response(model) -> str | None:
    names = "predict_proba", "decision_function"
    return next((name for name in names if hasattr(model, name)), None)


def _class_scores(model, rows) -> np.ndarray:
    """Return the centred scores of the classes; one column for two of them."""
    if _response(model) == "predict_proba":
        probabilities = np.maximum(model.predict_proba(rows), _SMALLEST_PROBABILITY)
        scores = np.log(probabilities)
        scores -= scores.mean(axis=1, keepdims=True)
        return scores[:, 1:] if scores.shape[1] == 2 else scores
    scores = np.asarray(model.decision_function(rows), dtype=np.float64)
    if scores.ndim == 1:
        return scores[:, None] / 2
    return scores - scores.mean(axis=1, keepdims=True)
