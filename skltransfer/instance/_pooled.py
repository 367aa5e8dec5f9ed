"""The baseline of the family: source and labelled target samples in one pool."""

from __future__ import annotations

from skltransfer.domains._two_domains import has_known_label, warn_without_labels
from skltransfer.instance._base import BaseReweighter, is_whole, unit_weights


class PooledEstimator(BaseReweighter):
    """Fit an estimator on source samples and labelled target samples together.

    It is the baseline for every reweighter, and often hard to beat. All samples weigh one, unless
    `target_weight` says otherwise. Target samples without a label are not used.

    Parameters
    ----------
    estimator : estimator
        Any classifier or regressor. It is cloned before it is fitted.
    target_weight : float or "balanced", default=1.0
        Weight of each target sample with a known label, where source samples weigh 1.
        ``"balanced"`` gives both domains the same sum of weights, and keeps the sum over both:
        ``n_s`` source and ``n_t`` target samples then weigh ``n / (2 n_s)`` and ``n / (2 n_t)``
        each, for ``n = n_s + n_t``. With few labels beside a large source, no other setting matters
        as much. An estimator that takes no weights is given the target samples several times, if
        the weight is a whole number.

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

    Warns
    -----
    DomainDataWarning
        If no target samples are given, or no label of one is known. The estimator is then fitted on
        the source alone.

    See Also
    --------
    KMMReweighter : Weighs the source samples so that they resemble the target.

    Notes
    -----
    Time and memory are those of the estimator on the samples of both domains.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer import PooledEstimator
    >>> model = PooledEstimator(LogisticRegression())
    >>> model = model.fit([[0.0], [1.0]], [0, 1], X_target=[[2.0], [5.0]], y_target=[0, 1])
    >>> model.predict([[1.0], [4.0]])
    array([0, 1])
    """

    def __init__(self, estimator, *, target_weight: float | str = 1.0):
        self.estimator = estimator
        self.target_weight = target_weight

    def _weigh(self, X, y, sample_weight, X_target, target_sample_weight):
        return unit_weights(X, sample_weight)

    def _check_target_labels(self, y_target):
        if not has_known_label(y_target):
            warn_without_labels(self, "is fitted on the source alone")

    def _warn_of_collapse(self, y, weights, known_labels, known_weights):
        """Do nothing: the weights are those of before."""

    def _needs_weights(self):
        return not is_whole(self.target_weight)

    def _weights_of_fit(self, sample_weight):
        # All-one weights are left out, so that any estimator will do.
        return sample_weight
