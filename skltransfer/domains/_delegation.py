"""The face of a meta-estimator that predicts with the one estimator it holds."""

from __future__ import annotations

from copy import deepcopy
from typing import Self

from sklearn import config_context
from sklearn.base import MetaEstimatorMixin
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skltransfer._decorators import available_if
from skltransfer.domains._frames import fitted_categories, with_fitted_categories

_PREDICTIONS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


def estimator_has(method: str):
    """Return a check for ``available_if``: the held estimator has `method`."""

    def check(self):
        getattr(self.estimator_ if hasattr(self, "estimator_") else self._to_fit(), method)
        return True

    return check


class DelegatingMixin(MetaEstimatorMixin):
    """Predict, transform and score by the fitted ``estimator_``.

    The type (classifier, regressor, transformer) and the accepted input are read from the tags of
    the held estimator.
    """

    def _to_fit(self):
        """Return the estimator that `fit` fits a clone of."""
        return self.estimator

    def _adopt(self, estimator, X=None) -> None:
        """Set the fitted estimator, and take over its attributes of the form of the data.

        Attributes that this estimator has set in its own `fit` stay. `X` are the samples that were
        fitted, where frames of two domains have met.
        """
        self.estimator_ = estimator
        if categories := fitted_categories(X):
            self._categories = categories
        for name in ("classes_", "n_features_in_", "feature_names_in_"):
            if hasattr(estimator, name) and not hasattr(self, name):
                setattr(self, name, getattr(estimator, name))

    def _as_fitted(self, X):
        """Return samples whose categories have the codes of the fit."""
        return with_fitted_categories(X, getattr(self, "_categories", None))

    def __sklearn_tags__(self):
        estimator = self._to_fit()
        if estimator is None or isinstance(estimator, str):
            return super().__sklearn_tags__()
        tags = deepcopy(get_tags(estimator))
        tags.array_api_support = False
        return tags

    def _ask(self, method: str, X, params: dict):
        """Call a method of the fitted estimator.

        Keywords go to the last step of a pipeline, as scikit-learn hands them on without routing.
        """
        check_is_fitted(self)
        ask = getattr(self.estimator_, method)
        X = self._as_fitted(X)
        if not params:
            return ask(X)
        with config_context(enable_metadata_routing=False):
            return ask(X, **params)

    def _get_metadata_request(self):
        # With routing on, a pipeline around this asks which keywords of predictions it takes.
        requests = super()._get_metadata_request()
        last = self._to_fit()
        while isinstance(last, Pipeline):
            last = last.steps[-1][1]
        if hasattr(last, "_get_metadata_request"):
            inside = last._get_metadata_request()
            for method in _PREDICTIONS:
                for name, alias in getattr(inside, method).requests.items():
                    getattr(requests, method).add_request(param=name, alias=alias)
        return requests

    @available_if(estimator_has("predict"))
    def predict(self, X, **params):
        """Predict with the fitted estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.
        **params : dict
            Keywords of the estimator's own method, such as ``return_std=True``.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Predictions. A keyword may add further results, as in the estimator itself.
        """
        return self._ask("predict", X, params)

    @available_if(estimator_has("predict_proba"))
    def predict_proba(self, X, **params):
        """Predict class probabilities with the fitted estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.
        **params : dict
            Keywords of the estimator's own method, such as ``return_std=True``.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return self._ask("predict_proba", X, params)

    @available_if(estimator_has("predict_log_proba"))
    def predict_log_proba(self, X, **params):
        """Predict logarithms of class probabilities with the fitted estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.
        **params : dict
            Keywords of the estimator's own method, such as ``return_std=True``.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            Logarithms of the probabilities, in the order of ``classes_``.
        """
        return self._ask("predict_log_proba", X, params)

    @available_if(estimator_has("decision_function"))
    def decision_function(self, X, **params):
        """Compute the decision function of the fitted estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.
        **params : dict
            Keywords of the estimator's own method, such as ``return_std=True``.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Decision values, in the order of ``classes_``.
        """
        return self._ask("decision_function", X, params)

    @available_if(estimator_has("score"))
    def score(self, X, y=None, sample_weight=None):
        """Score the fitted estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            True labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            Score of the estimator's own ``score`` method, usually accuracy or R^2.
        """
        check_is_fitted(self)
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        with config_context(enable_metadata_routing=False):
            return self.estimator_.score(self._as_fitted(X), y, **weights)


class DelegatingTransformerMixin(DelegatingMixin):
    """Delegate the methods of a transformer as well."""

    @available_if(estimator_has("transform"))
    def transform(self, X):
        """Transform target samples with the fitted estimator.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            Transformed samples, or the container chosen by ``set_output``.
        """
        check_is_fitted(self)
        return self.estimator_.transform(self._as_fitted(X))

    @available_if(estimator_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features=None):
        """Return the names of the transformed features.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the input features.

        Returns
        -------
        names : ndarray of str
            Names of the output features.
        """
        check_is_fitted(self)
        return self.estimator_.get_feature_names_out(input_features)

    @available_if(estimator_has("set_output"))
    def set_output(self, *, transform: str | None = None) -> Self:
        """Choose the container that ``transform`` and ``fit_transform`` return.

        Parameters
        ----------
        transform : {"default", "pandas", "polars"}, default=None
            ``None`` leaves the choice as it is.

        Returns
        -------
        self : estimator
        """
        self.estimator.set_output(transform=transform)
        if hasattr(self, "estimator_"):
            self.estimator_.set_output(transform=transform)
        return self
