"""A network that is pretrained on the source: two estimators in a row."""

from __future__ import annotations

from typing import Self

from sklearn.base import BaseEstimator, clone

from skltransfer.domains._delegation import DelegatingMixin
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._two_domains import given_weighted_target, labelled_rows
from skltransfer.domains._weights import fit_weighted


class PretrainedOnSource(DelegatingMixin, BaseEstimator):
    """Fit one estimator on source rows, and hand it as the backbone to another one.

    Parameters
    ----------
    estimator : estimator
        Is fitted on the target rows with a label; has a parameter ``backbone``.
    pretrained : estimator
        Is fitted on the source rows.
    """

    __metadata_request__fit = {"X_target": True, "y_target": True, "target_sample_weight": True}

    def __init__(self, estimator, pretrained):
        self.estimator = estimator
        self.pretrained = pretrained

    @fits_anew
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        X_target=None,
        y_target=None,
        target_sample_weight=None,
    ) -> Self:
        """Fit both; without a labelled target row, the first alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source rows.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Their weights.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target rows.
        y_target : array-like of shape (n_target_samples,), default=None
            Labels of target rows, NaN where unknown.
        target_sample_weight : array-like of shape (n_target_samples,), default=None
            Weights of target rows.

        Returns
        -------
        self : estimator

        Raises
        ------
        TypeError
            If there are weights for an estimator that takes none.
        """
        target = given_weighted_target(X_target, y_target, target_sample_weight)
        fitted = clone(self.pretrained)
        fit_weighted(fitted, X, y, sample_weight)
        if target[0] is not None:
            rows, labels, weights = labelled_rows(*target[:2], y, target[2])
            if rows is not None:
                fitted = clone(self.estimator).set_params(backbone=fitted)
                fit_weighted(fitted, rows, labels, weights)
        self._adopt(fitted)
        return self
