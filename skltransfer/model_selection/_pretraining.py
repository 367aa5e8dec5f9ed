"""Pretrain on the source rows, then fit what carries over on the target's."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import _safe_indexing

from skltransfer.domains._data import known_labels, unwrap
from skltransfer.domains._delegation import DelegatingMixin
from skltransfer.domains._refit import forget


class PretrainedOnSource(DelegatingMixin, BaseEstimator):
    """Fit one estimator on source rows, and hand it as the backbone to another one.

    Parameters
    ----------
    estimator : estimator
        Is fitted on the target rows with a label; has a parameter ``backbone``.
    pretrained : estimator
        Is fitted on the source rows.
    """

    __metadata_request__fit = {"X_target": True, "y_target": True}

    def __init__(self, estimator, pretrained):
        self.estimator = estimator
        self.pretrained = pretrained

    def fit(self, X, y, *, X_target=None, y_target=None):
        """Fit both; without a labelled target row, the first alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        y : array-like of shape (n_samples,)
            Their labels.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows.
        y_target : array-like of shape (n_target_samples,), default=None
            What is known of their labels.

        Returns
        -------
        self : estimator
        """
        X_target, y_target = unwrap(X_target), unwrap(y_target)
        forget(self)
        source = clone(self.pretrained).fit(X, y)
        if X_target is None:
            self._adopt(source)
            return self
        known, labels = known_labels(y_target, X_target, y)
        if known.any():
            rows = _safe_indexing(X_target, np.flatnonzero(known))
            source = clone(self.estimator).set_params(backbone=source).fit(rows, labels)
        self._adopt(source)
        return self
