"""Estimators that weigh ways to use a source by how well they do on the target."""

from __future__ import annotations

import numpy as np
from scipy import stats
from sklearn.base import ClassifierMixin, RegressorMixin, is_classifier, is_regressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.multiclass import check_classification_targets

from skltransfer._warnings import warn
from skltransfer.domains._data import DomainDataWarning
from skltransfer.model_selection._members import outputs_of
from skltransfer.model_selection._transfer_mixture import TransferMixture

_LEVEL = 0.05


class TransferClassifier(ClassifierMixin, TransferMixture):
    """Weigh ways to use a source by how well they do on the labelled target samples.

    Whether a source helps, and by which method, differs from task to task, and a few labels do not
    tell which is best. This estimator therefore does not choose: it is a mixture of nine cheap
    strategies, from no transfer to the source's model as it is, in which each has the more weight
    the better it predicts target samples that it has not seen. A share always stays with no
    transfer, which is exactly `estimator` fitted on the labelled target samples alone.

    Parameters
    ----------
    estimator : classifier, default=None
        Your own model or pipeline, with ``predict_proba``. Strategies train its last step behind
        the steps before. ``None`` stands for ``LogisticRegression(max_iter=1000)``; put a scaler
        in front where features differ in scale.
    strategies : "auto" or list, default="auto"
        ``"auto"`` stands for no transfer, source only, the source's scores recalibrated, the
        source's scores as further columns, both domains pooled, the same with both domains
        weighing alike, coefficients pulled to the source's (twice), and augmented features. If the
        model is not linear, linear models join in place of the last three. A list holds names of
        strategies, :class:`~skltransfer.model_selection.Strategy` objects, or two-domain estimators
        for samples as they are given. No transfer is always among them.
    cv : int, splitter or iterable, default=5
        Folds of the labelled target samples. An int deals each class over the folds in turn, so
        that a class with few samples is no error. A splitter has to test each sample once.
    baseline_share : float, default=0.2
        Share that stays with no transfer, whatever the others predict. 0.4 is more cautious.
    prior_rows : float, default=20
        Number of labelled samples at which a difference of losses that varies by 1 counts by half.
        More of them trust the losses of few samples less.
    min_weight : float, default=0.03
        Strategies with a smaller weight are left out.
    n_jobs : int, default=None
        Number of processes, as in joblib. The weights do not depend on it.
    random_state : int, RandomState instance or None, default=0
        Seed of the folds.

    Attributes
    ----------
    weights_ : dict of str to float
        Weight of each strategy, with sum 1.
    score_ : Estimate
        Accuracy of the mixture, cross-fitted: neither the models nor the weights have seen the
        samples. An ``Estimate`` is a named tuple ``(value, low, high)`` with a 95 % interval.
    baseline_score_ : Estimate
        Accuracy of no transfer, on the same folds.
    gain_ : Estimate
        Difference of both. With few labels the interval is wide.
    comparison_ : Comparison or None
        All strategies on these folds, with intervals of differences and a verdict, as
        :func:`~skltransfer.model_selection.compare_strategies` returns them, but without their
        estimators, which are in ``estimators_``. None if there was nothing to compare.
    estimators_ : dict of str to estimator
        Each strategy, fitted on all samples, for target samples as they are given.
    classes_ : ndarray of shape (n_classes,)
        Classes of both domains.
    n_features_in_ : int
        Number of features seen in `fit`. Set if the estimator has it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    See Also
    --------
    TransferRegressor : The same for numbers.
    PooledEstimator : The strategy that is hardest to beat.

    Notes
    -----
    The weights are proportional to ``exp(-eta * n * d)`` [1]_, where ``d`` is the mean log loss of
    a strategy over the `n` samples, each from a fit without its fold, less that of all strategies.
    ``eta = n / (n + prior_rows * v)``, where ``v`` is the variance of the difference to the loss of
    another strategy, on average: ``eta * d`` is the mean of ``d`` a posteriori, if its variance is
    ``1 / prior_rows`` a priori. A difference thus counts as far as the samples agree on it. A share
    of `baseline_share` is kept for no transfer.

    The prediction is the weighted mean of the probabilities. 2 % of all probabilities are spread
    evenly over the classes, because a class that a fold lacks would otherwise have an infinite
    loss. There are at most 50 fits, one of them on the source alone.

    Where a class has a single labelled sample, no transfer never sees it when it is tested. Its
    score is then too low, and the gain too large.

    References
    ----------
    .. [1] A. Dalalyan, A. B. Tsybakov, "Aggregation by Exponential Weighting, Sharp PAC-Bayesian
       Bounds and Sparsity", Machine Learning 72, 2008.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skltransfer import TransferClassifier, WithSource
    >>> from skltransfer.datasets import load_biased_breast_cancer
    >>> data = load_biased_breast_cancer(random_state=0)
    >>> X, y = data.X_target, data.y_target
    >>> own = make_pipeline(StandardScaler(), LogisticRegression())
    >>> model = WithSource(TransferClassifier(own), data.X_source, data.y_source)
    >>> model = model.fit(X[:20], y[:20])
    >>> model.score(X[20:], y[20:]) > own.fit(X[:20], y[:20]).score(X[20:], y[20:])
    True
    >>> round(sum(model.estimator_.weights_.values()), 6)
    1.0
    """

    def _base(self):
        return LogisticRegression(max_iter=1000) if self.estimator is None else self.estimator

    def _check_base(self, estimator) -> None:
        if not is_classifier(estimator):
            raise TypeError(
                f"estimator is a {type(estimator).__name__}, which is no classifier. Pass one, or "
                "use TransferRegressor."
            )
        if not hasattr(estimator, "predict_proba"):
            raise TypeError(
                f"estimator is a {type(estimator).__name__}, which has no predict_proba. Pass a "
                "classifier that has it, or CalibratedClassifierCV(estimator)."
            )

    def _checked_labels(self, X, y):
        y = super()._checked_labels(X, y)
        check_classification_targets(y)
        return y

    def _warn_of_source(self, model, samples):
        predicted = outputs_of(model, samples.X, samples.classes).argmax(axis=1)
        true = np.searchsorted(samples.classes, samples.y)
        n_classes, n_samples = len(samples.classes), len(true)
        shares = [
            np.bincount(codes, minlength=n_classes) / n_samples for codes in (predicted, true)
        ]
        n_right = int((predicted == true).sum())
        if stats.binom.cdf(n_right, n_samples, shares[0] @ shares[1]) < _LEVEL:
            warn(
                f"The source's own model is right on {n_right} of {n_samples} labelled target "
                "samples, which is less than chance. Do the labels mean the same in both domains "
                "(which class is 1, for example)?",
                DomainDataWarning,
            )

    def predict_proba(self, X):
        """Predict class probabilities: the weighted mean of those of the strategies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        X = self._as_fitted(X)
        if len(self._weighed) == 1:
            return self._of_one(self.estimators_[self._weighed[0][0]], X)
        return sum(
            weight * outputs_of(self.estimators_[name], X, self.classes_)
            for name, weight in self._weighed
        )

    def _of_one(self, model, X):
        given = model.predict_proba(X)
        probabilities = np.zeros((len(given), len(self.classes_)))
        probabilities[:, np.searchsorted(self.classes_, model.classes_)] = given
        return probabilities

    def predict_log_proba(self, X):
        """Predict logarithms of class probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def predict(self, X):
        """Predict the most probable class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]


class TransferRegressor(RegressorMixin, TransferMixture):
    """Weigh ways to use a source by how well they do on the labelled target samples.

    The regression form of :class:`TransferClassifier`, where the method is described. No transfer
    is exactly `estimator` fitted on the labelled target samples alone, and a share always stays
    with it.

    Parameters
    ----------
    estimator : regressor, default=None
        Your own model or pipeline. Strategies train its last step behind the steps before. ``None``
        stands for ``Ridge()``; put a scaler in front where features differ in scale.
    strategies : "auto" or list, default="auto"
        See :class:`TransferClassifier`.
    cv : int, splitter or iterable, default=5
        Folds of the labelled target samples. An int deals them over the folds at random. A splitter
        has to test each sample once.
    baseline_share : float, default=0.2
        Share that stays with no transfer, whatever the others predict. 0.4 is more cautious.
    prior_rows : float, default=20
        Number of labelled samples at which a difference of losses that varies by 1 counts by half.
        More of them trust the losses of few samples less.
    min_weight : float, default=0.03
        Strategies with a smaller weight are left out.
    n_jobs : int, default=None
        Number of processes, as in joblib. The weights do not depend on it.
    random_state : int, RandomState instance or None, default=0
        Seed of the folds.

    Attributes
    ----------
    weights_ : dict of str to float
        Weight of each strategy, with sum 1.
    score_ : Estimate
        R^2 of the mixture, cross-fitted: neither the models nor the weights have seen the samples.
        It refers to the variance of all known target labels. An ``Estimate`` is a named tuple
        ``(value, low, high)`` with a 95 % interval.
    baseline_score_ : Estimate
        R^2 of no transfer, on the same folds.
    gain_ : Estimate
        Difference of both. With few labels the interval is wide.
    comparison_ : Comparison or None
        All strategies on these folds, as
        :func:`~skltransfer.model_selection.compare_strategies` returns them, but without their
        estimators, which are in ``estimators_``. None if there was nothing to compare.
    estimators_ : dict of str to estimator
        Each strategy, fitted on all samples, for target samples as they are given.
    n_features_in_ : int
        Number of features seen in `fit`. Set if the estimator has it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of these features, if `X` has column names that are all strings.

    See Also
    --------
    TransferClassifier : The same for classes.

    Notes
    -----
    The weights are those of :class:`TransferClassifier`, with the squared errors over twice the
    smallest mean squared error of all strategies in place of the log losses: both are logarithms
    of a likelihood.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import TransferRegressor
    >>> rng = np.random.default_rng(0)
    >>> X_old, X_new = rng.normal(size=(100, 5)), rng.normal(size=(10, 5))
    >>> y_old, y_new = X_old.sum(axis=1), X_new.sum(axis=1) + 1
    >>> model = TransferRegressor().fit(X_old, y_old, X_target=X_new, y_target=y_new)
    >>> model.gain_.value > 0
    True
    """

    def _base(self):
        return Ridge() if self.estimator is None else self.estimator

    def _check_base(self, estimator) -> None:
        if not is_regressor(estimator):
            raise TypeError(
                f"estimator is a {type(estimator).__name__}, which is no regressor. Pass one, or "
                "use TransferClassifier."
            )

    def predict(self, X):
        """Predict numbers: the weighted mean of the predictions of the strategies.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        X = self._as_fitted(X)
        return sum(
            weight * outputs_of(self.estimators_[name], X, None) for name, weight in self._weighed
        )
