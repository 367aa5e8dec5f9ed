"""Estimators around an estimator that trains a network: what they show of it."""

from __future__ import annotations

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.callback import CallbackSupportMixin
from sklearn.utils.validation import check_is_fitted

import skltransfer
from skltransfer._documentation import DocumentedEstimator
from skltransfer.domains._delegation import DelegatingMixin


class HoldsNetwork(
    CallbackSupportMixin,
    DelegatingMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    DocumentedEstimator,
):
    """The parameter ``estimator`` is trained; ``estimator_`` predicts, and gives features."""

    # Name of the estimator in the place of None.
    _default = "FineTunedClassifier"

    def transform(self, X):
        """Return the features, which are the inputs of the output layer.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of either domain.

        Returns
        -------
        features : ndarray of shape (n_samples, n_features_out)
        """
        check_is_fitted(self)
        return self.estimator_.transform(X)

    @property
    def history_(self):
        """Records of the training, one per epoch."""
        check_is_fitted(self)
        return self.estimator_.history_

    def _to_fit(self):
        return getattr(skltransfer, self._default)() if self.estimator is None else self.estimator

    @property
    def _n_features_out(self) -> int:
        return self.estimator_._n_features_out

    def __getstate__(self):
        state = super().__getstate__()
        state.pop("_callback_fit_ctx", None)
        return state
