"""Scorers by labelled samples of the source, which stand for the target: weighted, or circular."""

from __future__ import annotations

from collections.abc import Callable
from pickle import PicklingError

import numpy as np
from joblib import hash as hash_of_content
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.utils.validation import _num_samples

from skltransfer._persisted import LeftOut
from skltransfer._shared_cache import SharedCache
from skltransfer.domains import WithSource, WithTarget
from skltransfer.domains._composition import consumed_keywords
from skltransfer.domains._data import check_no_missing_labels, check_not_empty, check_same_length
from skltransfer.domains._sources import one_stack
from skltransfer.instance import DiscriminativeReweighter
from skltransfer.model_selection._scorers import (
    DomainScorer,
    check_metric,
    chosen,
    in_fitted_order,
    metric_scorer,
    wrappers,
)
from skltransfer.model_selection._source_samples import as_source, last_features

# Weights by the content of what they are learned from: candidates of a search share folds.
_learned = SharedCache(64)
# A mean of weights this far from 1 is not chance.
_STANDARD_ERRORS = 3


class SourceScorer(DomainScorer):
    """A scorer that needs labelled samples of the source and samples of the target."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        check_metric(self.metric, weighted=self._is_weighted)
        if (self.X_source is None) != (self.y_source is None):
            given, lacking = ("X_source", "y_source")[:: 1 if self.y_source is None else -1]
            raise ValueError(f"{given} was given without {lacking}. Pass both, or neither.")
        if self.X_source is not None:
            check_not_empty(self.X_source, "X_source")
            check_same_length(self.y_source, self.X_source, "y_source", "X_source")
            check_no_missing_labels(self.y_source)

    # Whether samples of the source are weighted in the metric.
    _is_weighted = False

    def _both_domains(self, estimator, X, y) -> tuple:
        """Return samples and labels of the source, and samples of the target."""
        held = self._held_target(estimator)
        X_target = X if held is None else held
        if self.X_source is not None:
            return in_fitted_order(estimator, self.X_source, "X_source"), self.y_source, X_target
        if wrappers(estimator, WithSource):
            return *self._held_source(estimator, X), X_target
        if held is None:
            raise ValueError(
                f"{self._maker} needs samples of both domains, and {type(estimator).__name__} "
                f"holds none of the target. Pass {self._maker}(X_target=...) if scikit-learn "
                "splits the source, and X_source=... with y_source=... if it splits the target."
            )
        if y is None:
            raise ValueError(f"{self._maker} needs the labels of the source. Pass y.")
        return X, y, held

    def _held_source(self, estimator, X) -> tuple:
        """Return samples and labels of the source in a WithSource, if they can be scored on."""
        raise ValueError(
            "WithSource has fitted the estimator to all of its source, whose errors are no longer "
            f"those of new samples. Keep labelled samples of the source aside, and pass them to "
            f"{self._maker}(X_source=..., y_source=...)."
        )


class _ImportanceWeightedScorer(SourceScorer):
    _maker = "importance_weighted_scorer"
    _is_weighted = True

    def __call__(self, estimator, X, y=None) -> float:
        X, y, X_target = self._both_domains(estimator, X, y)
        as_of_source = as_source(estimator)
        ratio = self._ratio(*self._features(estimator, as_of_source, X, X_target))
        weights = _with_control_variate(ratio) if self.control_variate else ratio
        return metric_scorer(self.metric, estimator)(as_of_source, X, y, sample_weight=weights)

    def _features(self, estimator, as_of_source, X, X_target) -> tuple:
        """Return what the ratio of the densities is a function of, for both domains."""
        return X, X_target

    def _ratio(self, X, X_target) -> np.ndarray:
        """Return the ratio of the densities at samples of the source."""
        reweighter = self.reweighter
        if reweighter is None:
            reweighter = DiscriminativeReweighter()
        learned = hasattr(reweighter, "fit")
        ratio = _learned_weights(reweighter, X, X_target) if learned else reweighter(X)
        ratio, n = np.asarray(ratio, dtype=np.float64), _num_samples(X)
        if ratio.shape != (n,) or not np.isfinite(ratio).all() or (ratio < 0).any():
            raise ValueError(
                f"reweighter={self.reweighter!r} has to give a finite weight of at least 0 to each "
                f"of the {n} samples of the source, and gives an array of shape {ratio.shape} or "
                "other numbers."
            )
        if not ratio.any():
            raise ValueError(
                f"reweighter={self.reweighter!r} gives weight 0 to all {n} samples of the source "
                "that are scored: none of them resembles the target. Use fewer folds."
            )
        return ratio


def _learned_weights(reweighter, X, X_target) -> np.ndarray:
    """Return the weights of a clone of a reweighter, fitted once for all candidates of a fold."""

    def learn():
        return clone(reweighter).fit(X, None, X_target=X_target).sample_weight_

    try:
        key = hash_of_content((reweighter, X, X_target))
    except (PicklingError, AttributeError, TypeError):  # a function of the user's, say
        return learn()
    return _learned.get(key, learn)


def _with_control_variate(ratio: np.ndarray) -> np.ndarray:
    """Return weights whose mean of any losses has the control variate of You et al. in it.

    ``mean(w l) + eta (mean(w) - 1)`` with ``eta = -cov(w l, w) / var(w)`` is linear in the losses.
    Their weights sum to the number of samples. What is far from a mean of 1 is no ratio of
    densities, and is returned as it is.
    """
    mean, variance = ratio.mean(), ratio.var()
    if abs(mean - 1) > _STANDARD_ERRORS * np.sqrt(variance / len(ratio)):
        return ratio
    return ratio * (1 - (ratio - mean) * (mean - 1) / variance) if variance > 0 else ratio


def importance_weighted_scorer(
    metric: str | Callable | None = None,
    *,
    X_target=None,
    X_source=None,
    y_source=None,
    reweighter=None,
    control_variate: bool = True,
):
    r"""Make a scorer on labelled source samples, weighted so that they stand for the target.

    If the domains differ in the distribution of the features alone (covariate shift), a mean over
    the target is a weighted mean over the source [1]_:

    .. math::

        E_t[\ell(x, y)] = E_s[w(x) \, \ell(x, y)], \qquad w(x) = \frac{p_t(x)}{p_s(x)}

    Parameters
    ----------
    metric : str, callable or None, default=None
        Name of a scikit-learn scorer whose metric takes weights, or a scorer ``metric(estimator, X,
        y, sample_weight=w)``. ``None`` is the accuracy of a classifier, and minus the mean squared
        error of a regressor.
    X_target : array-like of shape (n_target_samples, n_features), default=None
        Samples of the target. ``None`` takes those that a :class:`~skltransfer.WithTarget` holds,
        or in a :class:`~skltransfer.WithSource` the ones that scikit-learn holds out. Held by
        reference.
    X_source : array-like of shape (n_source_samples, n_features), default=None
        Samples of the source to score on, which no fit may have seen. ``None`` takes the ones that
        scikit-learn holds out for a :class:`~skltransfer.WithTarget`. Needed for a
        :class:`~skltransfer.WithSource`. Held by reference.
    y_source : array-like of shape (n_source_samples,), default=None
        Labels of `X_source`. Held by reference.
    reweighter : reweighter or callable, default=None
        Any reweighter, without an estimator. A clone of it is fitted to the source samples that are
        scored and to the target samples, once for all candidates of a search; its weights have mean
        1 or nearly so. Or a function that
        takes samples and returns the ratio of the densities, such as the method ``density_ratio``
        of a fitted reweighter: then the ratio is learned once, from all samples. ``None`` is
        :class:`~skltransfer.DiscriminativeReweighter`.
    control_variate : bool, default=True
        Whether to use that the weights should have mean 1 [2]_. This lowers the variance with a
        ratio that is known, or was learned from other samples. With False, and where the mean is
        further from 1 than three standard errors, so that the ratio is wrong, the metric divides by
        the sum of the weights.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)`` for classifiers and regressors. Labels of the target are
        not looked at.

    Raises
    ------
    ValueError
        If one of `X_source` and `y_source` is given alone, or `metric` is no scorer or takes no
        weights.

    See Also
    --------
    deep_embedded_validation_scorer : Weights by the features of the last step.
    target_scorer : Uses labels of the target.

    Notes
    -----
    With the exact ratio the score has no bias but one of the order of 1 / n, from the division or
    the control variate; its variance grows with that of the weights. If the domains hardly overlap,
    a few samples decide, and the score is noise: an
    :class:`~skltransfer.EffectiveSampleSizeWarning` of the reweighter says so. If labels depend on
    the features in another way in the target, no weights help.

    Aligners map the scored samples as samples of the source (``transform_source``), unlike
    ``predict``. A linear model behind a map that can be undone (:class:`~skltransfer.CORAL`)
    predicts the source as it would without: this score cannot rank such aligners.

    With the control variate a few weights may be negative; a metric that refuses them needs
    ``control_variate=False``.

    The ratio is a function of the samples as the estimator is given them. If they are no numbers,
    choose a reweighter that takes them, such as ``DiscriminativeReweighter(classifier=...)``.

    References
    ----------
    .. [1] M. Sugiyama, M. Krauledat, K.-R. Mueller, "Covariate Shift Adaptation by Importance
       Weighted Cross Validation", Journal of Machine Learning Research 8, 2007.
    .. [2] K. You, X. Wang, M. Long, M. Jordan, "Towards Accurate Model Selection in Deep
       Unsupervised Domain Adaptation", ICML 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.model_selection import cross_val_score
    >>> from skltransfer import GaussianReweighter, WithTarget, importance_weighted_scorer
    >>> rng = np.random.default_rng(0)
    >>> X_old, X_new = rng.normal(size=(300, 1)), rng.normal(1.0, 0.5, size=(200, 1))
    >>> model = WithTarget(GaussianReweighter(Ridge()), X_target=X_new)
    >>> ratio = GaussianReweighter().fit(X_old, X_target=X_new).density_ratio
    >>> scorer = importance_weighted_scorer("neg_mean_squared_error", reweighter=ratio)
    >>> scores = cross_val_score(model, X_old, X_old[:, 0] ** 2, scoring=scorer)
    >>> fitted = model.fit(X_old, X_old[:, 0] ** 2)
    >>> error = np.mean((fitted.predict(X_new) - X_new[:, 0] ** 2) ** 2)
    >>> bool(abs(error + scores.mean()) < 0.1)
    True
    """
    return _ImportanceWeightedScorer(
        metric=metric,
        X_target=X_target,
        X_source=X_source,
        y_source=y_source,
        reweighter=reweighter,
        control_variate=control_variate,
    )


class _DeepEmbeddedValidationScorer(_ImportanceWeightedScorer):
    _maker = "deep_embedded_validation_scorer"

    def _features(self, estimator, as_of_source, X, X_target) -> tuple:
        return last_features(as_of_source, X), last_features(estimator, X_target)


def deep_embedded_validation_scorer(
    metric: str | Callable | None = None,
    *,
    X_target=None,
    X_source=None,
    y_source=None,
    reweighter=None,
    control_variate: bool = True,
):
    """Make an importance-weighted scorer whose weights compare the features of the last step.

    What the last step of a pipeline is given, and in a network its output layer, lies closer
    together in the two domains than the samples themselves, so that weights are less extreme [1]_.
    All else is as in :func:`importance_weighted_scorer`.

    Parameters
    ----------
    metric : str, callable or None, default=None
        Name of a scikit-learn scorer whose metric takes weights, or a scorer ``metric(estimator, X,
        y, sample_weight=w)``. ``None`` is the accuracy of a classifier, and minus the mean squared
        error of a regressor.
    X_target : array-like of shape (n_target_samples, n_features), default=None
        Samples of the target. ``None`` takes those that a :class:`~skltransfer.WithTarget` holds,
        or in a :class:`~skltransfer.WithSource` the ones that scikit-learn holds out. Held by
        reference.
    X_source : array-like of shape (n_source_samples, n_features), default=None
        Samples of the source to score on, which no fit may have seen. ``None`` takes the ones that
        scikit-learn holds out for a :class:`~skltransfer.WithTarget`. Needed for a
        :class:`~skltransfer.WithSource`. Held by reference.
    y_source : array-like of shape (n_source_samples,), default=None
        Labels of `X_source`. Held by reference.
    reweighter : reweighter or callable, default=None
        Any reweighter, without an estimator, of which a clone is fitted to the features of both
        domains; or a function that takes features and returns the ratio of the
        densities. ``None`` is :class:`~skltransfer.DiscriminativeReweighter`, a classifier of
        domains as in the paper, whose predictions are cross-fitted.
    control_variate : bool, default=True
        Whether to use that the weights should have mean 1. The weights of a reweighter that is
        fitted here have it.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)`` for classifiers and regressors. Labels of the target are
        not looked at.

    Raises
    ------
    ValueError
        If one of `X_source` and `y_source` is given alone, or `metric` is no scorer or takes no
        weights.

    See Also
    --------
    importance_weighted_scorer : Weights by the samples themselves.

    Notes
    -----
    Features of samples that took part in training differ from those of new ones. The scored samples
    of the source have to be new, and the target samples have usually been used for the adaptation:
    a flexible network then tells them apart for this reason alone. Features that hide the domain
    have equal weights, whether the classes fit together or not. The score is then the accuracy on
    the source, and an adaptation that has mixed up the classes of the target has a good one. Where
    no step comes before the last one, the samples themselves are compared.

    References
    ----------
    .. [1] K. You, X. Wang, M. Long, M. Jordan, "Towards Accurate Model Selection in Deep
       Unsupervised Domain Adaptation", ICML 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer import CORAL, WithTarget, deep_embedded_validation_scorer
    >>> rng = np.random.default_rng(0)
    >>> X_old = rng.normal(size=(100, 2))
    >>> y_old = (X_old[:, 0] > 0).astype(int)
    >>> model = WithTarget(make_pipeline(CORAL(), LogisticRegression()), X_target=X_old + 1)
    >>> scorer = deep_embedded_validation_scorer("accuracy")
    >>> bool(cross_val_score(model, X_old, y_old, scoring=scorer).mean() > 0.8)
    True
    """
    return _DeepEmbeddedValidationScorer(
        metric=metric,
        X_target=X_target,
        X_source=X_source,
        y_source=y_source,
        reweighter=reweighter,
        control_variate=control_variate,
    )


class _CircularValidationScorer(SourceScorer):
    _maker = "circular_validation_scorer"

    def __call__(self, estimator, X, y=None) -> float:
        self._check_classifier(estimator)
        X_source, y_source, X_target = self._both_domains(estimator, X, y)
        guessed = np.asarray(estimator.predict(X_target))
        if (guessed == guessed[0]).all():
            reverse = DummyClassifier()  # few classifiers can be fitted to one class
        else:
            reverse = clone(self._inside(estimator))
            if "X_target" in consumed_keywords(reverse, "fit"):
                reverse = WithTarget(reverse, X_target=X_source)
        reverse.fit(X_target, guessed)
        return metric_scorer(self.metric, reverse)(reverse, X_source, y_source)

    def _inside(self, estimator):
        """Return the estimator that is fitted to both domains, without its wrapper."""
        estimator = chosen(estimator)
        if isinstance(estimator, WithTarget | WithSource):
            return estimator.estimator
        if wrappers(estimator, WithTarget | WithSource):
            raise TypeError(
                f"{self._maker} fits the estimator with the domains exchanged, and "
                f"{type(estimator).__name__} holds a wrapper with data. Put the wrapper outermost."
            )
        return estimator

    def _held_source(self, estimator, X):
        wrapper = wrappers(estimator, WithSource)[0]
        names = ("X_source", "y_source", "source_sample_weight")
        source = one_stack(wrapper.X_source, wrapper.y_source, like=X, names=names)
        if source.X is None or source.y is None or isinstance(wrapper.X_source, LeftOut):
            raise ValueError(
                f"The WithSource that is scored holds no labelled source. Pass {self._maker}"
                "(X_source=..., y_source=...)."
            )
        return in_fitted_order(estimator, source.X, "X_source"), source.y


def circular_validation_scorer(
    metric: str | Callable | None = None, *, X_target=None, X_source=None, y_source=None
):
    """Make a scorer that goes to the target and back.

    The classifier predicts labels of the target. With them the target becomes the source of a
    second classifier, of the same settings, which is adapted to the source without its labels and
    predicts them. The score is how well it does [1]_ [2]_ (also called reverse validation).

    Parameters
    ----------
    metric : str, callable or None, default=None
        Name of a scikit-learn scorer, or a scorer ``metric(estimator, X, y)``. ``None`` is the
        accuracy.
    X_target : array-like of shape (n_target_samples, n_features), default=None
        Samples of the target. ``None`` takes those that a :class:`~skltransfer.WithTarget` holds,
        or in a :class:`~skltransfer.WithSource` the ones that scikit-learn holds out. Held by
        reference.
    X_source : array-like of shape (n_source_samples, n_features), default=None
        Samples of the source to predict. ``None`` takes the ones that scikit-learn holds out for a
        :class:`~skltransfer.WithTarget`, or those that a :class:`~skltransfer.WithSource` holds.
        Held by reference.
    y_source : array-like of shape (n_source_samples,), default=None
        Labels of `X_source`. Held by reference.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)`` for classifiers. A call fits one more estimator. Labels of
        the target are not looked at.

    Raises
    ------
    ValueError
        If one of `X_source` and `y_source` is given alone, or `metric` is no scorer.

    See Also
    --------
    importance_weighted_scorer : Needs no further fit.

    Notes
    -----
    What goes wrong in the same way on both ways remains unseen: a classifier that exchanges two
    classes on the target exchanges them again, and has a perfect score. If all predictions are of
    one class, the second classifier predicts this class throughout. With unequal classes that has a
    good accuracy: choose ``metric="balanced_accuracy"``.

    References
    ----------
    .. [1] L. Bruzzone, M. Marconcini, "Domain Adaptation Problems: A DASVM Classification Technique
       and a Circular Validation Strategy", IEEE Transactions on Pattern Analysis and Machine
       Intelligence 32, 2010.
    .. [2] E. Zhong, W. Fan, Q. Yang, O. Verscheure, J. Ren, "Cross Validation Framework to Choose
       amongst Models and Datasets for Transfer Learning", ECML PKDD 2010.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from skltransfer import CORAL, WithTarget, circular_validation_scorer
    >>> rng = np.random.default_rng(0)
    >>> X_old = rng.normal(size=(60, 2))
    >>> y_old = (X_old[:, 0] > 0).astype(int)
    >>> model = WithTarget(make_pipeline(CORAL(), LogisticRegression()), X_target=2 * X_old + 1)
    >>> bool(cross_val_score(model, X_old, y_old, scoring=circular_validation_scorer()).min() > 0.8)
    True
    """
    check_metric(metric)
    return _CircularValidationScorer(
        metric=metric, X_target=X_target, X_source=X_source, y_source=y_source
    )
