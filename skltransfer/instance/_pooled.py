"""The baseline of the family: source and labelled target samples in one pool."""

from __future__ import annotations

from skltransfer.domains._data import unwrap
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._two_domains import has_known_label, warn_without_labels
from skltransfer.instance._base import BaseReweighter, unit_weights


class PooledEstimator(BaseReweighter):
    """Fit an estimator on source samples and labelled target samples together, all of weight one.

    It is the baseline for every reweighter, and often hard to beat. Target samples without a label
    are not used.

    Parameters
    ----------
    estimator : estimator
        Any classifier or regressor. It is cloned before it is fitted.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone.
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source samples: the `sample_weight` given to `fit`, or ones.
    effective_sample_size_ : float
        Number of equally weighted samples that the source is worth, ``sum(w)^2 / sum(w^2)``.
    classes_ : ndarray of shape (n_classes,)
        The class labels. Set if `estimator` is a classifier.
    n_features_in_ : int
        Number of features seen during `fit`. Set if the estimator has it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`. Set if all feature names of ``X`` are strings.

    See Also
    --------
    KMMReweighter : Weighs the source samples so that they resemble the target.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer import PooledEstimator
    >>> model = PooledEstimator(LogisticRegression())
    >>> model = model.fit([[0.0], [1.0]], [0, 1], X_target=[[2.0], [5.0]], y_target=[0, 1])
    >>> model.predict([[1.0], [4.0]])
    array([0, 1])
    """

    def __init__(self, estimator):
        self.estimator = estimator

    @fits_anew
    def fit(self, X, y=None, sample_weight=None, *, X_target=None, y_target=None):
        """Fit the estimator on source samples and labelled target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Source labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the source samples. A target sample weighs 1.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples.
        y_target : array-like of shape (n_target_samples,) or (n_target_samples, n_outputs), \
                default=None
            Known labels of the target. A missing label is marked by ``NaN``, or in arrays of
            objects also by ``None`` or ``pandas.NA``. If no label is known, the estimator is fitted
            on the source alone, with a :class:`~skltransfer.DomainDataWarning`.

        Returns
        -------
        self : PooledEstimator
            The fitted estimator.
        """
        if X_target is not None and not has_known_label(unwrap(y_target)):
            warn_without_labels(self, "is fitted on the source alone")
        return super().fit(X, y, sample_weight, X_target=X_target, y_target=y_target)

    def _weigh(self, X, y, sample_weight, X_target):
        return unit_weights(X, sample_weight)

    def _needs_weights(self):
        return False

    def _weights_of_fit(self, sample_weight):
        # All-one weights are left out, so that any estimator will do.
        return sample_weight
