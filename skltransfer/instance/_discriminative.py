"""Density ratio by a classifier that tells the domains apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils import _safe_indexing, get_tags, indexable
from sklearn.utils.validation import _num_samples, validate_data

from skltransfer._blas import LARGE_MATRIX, threads_for
from skltransfer._parameters import Choice, Folds, Number
from skltransfer._solvers._classes import fit_scale_and_bias
from skltransfer._warnings import warn
from skltransfer.domains._composition import name_steps
from skltransfer.domains._data import (
    check_not_empty,
    concatenate_rows,
    select_columns,
)
from skltransfer.instance._collapse import SMALLEST_SAMPLE, EffectiveSampleSizeWarning
from skltransfer.instance._cross_fitting import LabelledRows
from skltransfer.instance._density_ratio import DensityRatioReweighter

# Labels of source and target rows for the classifier.
DOMAINS = np.array([0, 1])
# Up to so many columns their products are features of the default classifier.
_PRODUCT_FEATURES = 20
# Probabilities of 0 and 1 have no logarithm of their odds.
_SMALLEST_PROBABILITY = 1e-6


class DiscriminativeReweighter(DensityRatioReweighter):
    r"""Weigh source samples by a classifier that tells target samples from source samples.

    By Bayes' rule the ratio of the densities is the odds of the target, corrected for the numbers
    of samples [1]_:

    .. math::

        w(x) = \frac{p_t(x)}{p_s(x)} = \frac{n_s}{n_t} \frac{p(\text{target} \mid x)}
        {1 - p(\text{target} \mid x)}

    Probabilities are cross-fitted: the classifier that predicts a sample has seen neither the
    sample nor an equal one. It corrects *covariate shift*: the samples are distributed differently
    in the two domains, and labels depend on the features in the same way.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier or regressor whose ``fit`` takes ``sample_weight``, or a pipeline that ends in
        one. It is cloned before it is fitted. With ``None`` only the weights are computed.
    classifier : classifier, default=None
        Any classifier with ``predict_proba``. It is cloned, and learns 0 for source and 1 for
        target. ``None`` is a logistic regression on standardised features, with their squares and
        products for up to 20 features. This is the exact form of the ratio of two Gaussians. For
        more than 20 features it sees shifts of their means only.
    cv : int, splitter or iterable, default=5
        Folds of the cross-fitting. An integer of at least 2 is the largest number of folds; fewer
        are made if a domain has fewer distinct samples. A splitter or an iterable splits the source
        samples of positive weight, followed by the target samples. It has to keep equal samples in
        one fold, as :class:`~sklearn.model_selection.StratifiedGroupKFold` does.
    calibration : {"sigmoid", "isotonic"} or None, default="sigmoid"
        Calibration of the held-out probabilities of all folds. ``"sigmoid"`` fits a scale and a
        shift of the log-odds, ``"isotonic"`` any increasing function, which needs thousands of
        samples. ``None`` uses the probabilities as they are.
    max_weight : float, default=1000
        Largest ratio, at least 1, so that weights are finite where a classifier is certain.
    target_weight : float or "balanced", default=1.0
        Weight in the fit of each target sample with a known label, where source samples weigh 1 on
        average. ``"balanced"`` gives both domains the same sum of weights, and keeps the sum over
        both. With few labels beside a large source, no other setting matters as much.
    random_state : int, RandomState instance or None, default=0
        Seed of the folds. `classifier` has its own.

    Attributes
    ----------
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source samples: the `sample_weight` given to `fit` (or ones), multiplied by
        the ratio and scaled back to the same sum.
    effective_sample_size_ : float
        Number of equally weighted samples that the weighted source is worth,
        ``sum(w)^2 / sum(w^2)``. A sample with a `sample_weight` of 2 counts once.
    classifier_ : classifier
        The classifier, fitted on all samples, by which `density_ratio` predicts. Set if target
        samples are given, as is `domain_auc_`.
    domain_auc_ : float
        Area under the ROC curve of the held-out probabilities. It is 0.5 if the classifier cannot
        tell the domains apart, and 1 if they do not overlap.
    estimator_ : estimator
        The fitted clone. Not set if `estimator` is None.
    classes_ : ndarray of shape (n_classes,)
        The class labels. Set if `estimator` is a classifier.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`. Set if all feature names of ``X`` are strings.

    Warns
    -----
    EffectiveSampleSizeWarning
        If a few samples have nearly all of the weight, a class has lost nearly all of its weight,
        or the classifier tells the domains apart without an error (`domain_auc_` is 1).
    DomainDataWarning
        If no target samples are given.

    See Also
    --------
    GaussianReweighter : Ratio of two fitted Gaussians.
    ULSIFReweighter : Learns the ratio by least squares.

    Notes
    -----
    Within each fold, the odds are corrected by the numbers of training samples of the fold. If a
    domain has a single distinct sample, nothing can be held out. The probabilities are then the
    uncalibrated ones of `classifier_`. At a source sample, `density_ratio` is close to its weight
    but not equal to it, because `classifier_` has seen the sample.

    All steps of a pipeline whose ``fit`` takes weights get them. A classifier without
    ``sample_weight`` sees a sample of weight 2 twice, and fractional weights are refused. A
    classifier that reweights the classes itself (``class_weight="balanced"``) needs a calibration,
    which corrects the odds.

    *Time and memory.* The classifier is fitted once for each fold, and once on all samples. The
    default one takes time and memory that grow linearly with the number of samples, and like the
    square of the number of features up to 20: 100 000 samples of 10 features in each domain take
    some seconds and 200 MB.

    Missing values and sparse matrices are accepted if both `classifier` and `estimator` accept
    them. A given `classifier` gets a data frame as it is, with its categories and texts, and
    likewise a list of texts. A pipeline of an encoder and a classifier, or
    ``HistGradientBoostingClassifier(categorical_features="from_dtype")``, takes such a frame.

    References
    ----------
    .. [1] S. Bickel, M. Brueckner, T. Scheffer, "Discriminative Learning Under Covariate Shift",
       Journal of Machine Learning Research 10, 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import DiscriminativeReweighter
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 1)), rng.normal(1.0, 0.5, size=(100, 1))
    >>> model = DiscriminativeReweighter().fit(X, X_target=X_target)
    >>> weighted_mean = np.average(X, axis=0, weights=model.sample_weight_)
    >>> bool(abs(weighted_mean - X_target.mean(axis=0)) < 0.1)
    True
    >>> 0.7 < model.domain_auc_ < 0.9
    True
    """

    _parameters = {
        "cv": Folds(),
        "calibration": Choice("sigmoid", "isotonic", None),
        "max_weight": Number(1),
    }

    def __init__(
        self,
        estimator=None,
        *,
        classifier=None,
        cv: Any = 5,
        calibration: str | None = "sigmoid",
        max_weight: float = 1000.0,
        target_weight: float | str = 1.0,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.estimator = estimator
        self.classifier = classifier
        self.cv = cv
        self.calibration = calibration
        self.max_weight = max_weight
        self.target_weight = target_weight
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        for name in ("allow_nan", "sparse"):
            setattr(tags.input_tags, name, self._both_take(name))
        return tags

    def _both_take(self, tag: str) -> bool:
        """Tell whether the classifier, and the estimator if there is one, accept such input."""
        parts = [self.classifier] + [self.estimator] * (self.estimator is not None)
        return all(
            hasattr(part, "fit") and getattr(get_tags(part).input_tags, tag) for part in parts
        )

    def _input_checks(self) -> dict:
        return {
            "accept_sparse": "csr" if self._both_take("sparse") else False,
            "ensure_all_finite": "allow-nan" if self._both_take("allow_nan") else True,
        }

    def _checked_rows(self, X, *, reset: bool = True):
        if not self._hands_on(X):
            return super()._checked_rows(X, reset=reset)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return indexable(X)[0]

    def _checked_target_rows(self, X_target):
        if not self._hands_on(X_target):
            return super()._checked_target_rows(X_target)
        X_target = select_columns(X_target, getattr(self, "feature_names_in_", None))
        check_not_empty(X_target, "X_target")
        return indexable(X_target)[0]

    def _check_combinations(self) -> None:
        super()._check_combinations()
        if self.classifier is not None and not hasattr(self.classifier, "predict_proba"):
            raise TypeError(
                f"classifier={self.classifier!r} has no predict_proba. Use a probabilistic "
                "classifier, or wrap it in CalibratedClassifierCV."
            )

    def _fit_ratio(self, rows, weights, target_rows, target_weights):
        # The default classifier multiplies one matrix hundreds of times.
        n_numbers = LARGE_MATRIX
        if self.classifier is None:
            n_numbers = n_columns(rows.shape[1]) * (_num_samples(rows) + _num_samples(target_rows))
        with threads_for(n_numbers):
            return self._cross_fitted_ratio(rows, weights, target_rows, target_weights)

    def _cross_fitted_ratio(self, rows, weights, target_rows, target_weights) -> np.ndarray:
        n_source, n_target = _num_samples(rows), _num_samples(target_rows)
        if target_weights is None:
            target_weights = np.ones(n_target)
        data = LabelledRows.sorted_by(
            "labels",
            concatenate_rows(rows, target_rows),
            np.repeat([0, 1], [n_source, n_target]),
            np.concatenate([weights, target_weights]),
        )
        classifier = self.classifier
        if classifier is None:
            classifier = default_classifier(rows.shape[1])
        try:
            self.classifier_ = data.fit(classifier, np.arange(n_source + n_target), DOMAINS)
        except ValueError as error:
            if "could not convert string to float" not in str(error):
                raise
            raise ValueError(
                f"{error}. The classifier {name_steps(classifier)} takes numbers alone. Encode "
                "them inside of it, classifier=make_pipeline(encoder, classifier), or in a step "
                "before: WithTarget(make_pipeline(encoder, DiscriminativeReweighter(model)), "
                "X_target)."
            ) from error
        self._log_prior = np.log(weights.sum() / target_weights.sum())
        fold = data.folds(self.cv, self.random_state, name="X and X_target")
        self._calibrator = None
        if fold is None:
            log_ratio = log_odds(self.classifier_, data.X) + self._log_prior
        else:
            log_ratio = self._held_out_log_ratio(data, classifier, fold)
            if self.calibration is not None:
                self._calibrator = self._fitted_calibrator(log_ratio, data)
        self.domain_auc_ = float(roc_auc_score(data.labels, log_ratio, sample_weight=data.weights))
        self._warn_if_separated(data)
        ratio = np.empty(n_source)
        is_source = data.labels == 0
        ratio[data.positions[is_source]] = self._calibrated(log_ratio[is_source])
        return ratio

    def _remedy_of_no_overlap(self):
        return (
            "The classifier takes no row of X for one of the target. Choose calibration='sigmoid', "
            "or leave out the columns that give the domain away."
        )

    def _warn_if_separated(self, data) -> None:
        if self.domain_auc_ == 1 and np.bincount(data.labels).min() >= SMALLEST_SAMPLE:
            warn(
                "The classifier tells every target row from every source row (domain_auc_ is 1). "
                "The weights mean little. Leave out the columns that give the domain away.",
                EffectiveSampleSizeWarning,
            )

    def _held_out_log_ratio(self, data, classifier, fold) -> np.ndarray:
        log_ratio = np.empty(len(data.labels))
        for number in range(fold.max() + 1):
            train, held_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            fitted = data.fit(classifier, train, DOMAINS)
            sums = np.bincount(data.labels[train], weights=data.weights[train])
            rows = _safe_indexing(data.X, held_out)
            log_ratio[held_out] = log_odds(fitted, rows) + np.log(sums[0] / sums[1])
        return log_ratio

    def _fitted_calibrator(self, log_ratio, data):
        if self.calibration == "isotonic":
            calibrator = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
            return calibrator.fit(log_ratio, data.labels, sample_weight=data.weights)
        scores = log_ratio - self._log_prior
        pairs = np.column_stack([np.zeros_like(scores), scores])
        scale, bias = fit_scale_and_bias(pairs, data.labels, data.weights)
        return scale, bias[1] - bias[0]

    def _calibrated(self, log_ratio) -> np.ndarray:
        """Return the ratio, calibrated and at most `max_weight`."""
        if isinstance(self._calibrator, IsotonicRegression):
            p = self._calibrator.predict(log_ratio)
            odds = np.full(len(p), np.inf)
            np.divide(p, 1 - p, out=odds, where=p < 1)
            return np.minimum(odds * np.exp(self._log_prior), self.max_weight)
        if self._calibrator is not None:
            scale, shift = self._calibrator
            log_ratio = scale * (log_ratio - self._log_prior) + shift + self._log_prior
        return np.exp(np.minimum(log_ratio, np.log(self.max_weight)))

    def _ratio(self, rows):
        return self._calibrated(log_odds(self.classifier_, rows) + self._log_prior)


def n_columns(n_features: int) -> int:
    """Return the number of columns that the default classifier makes of some features."""
    if n_features > _PRODUCT_FEATURES:
        return n_features
    return n_features * (n_features + 3) // 2


def default_classifier(n_features: int):
    """Return a logistic regression, on products of the features unless there are many."""
    logistic = LogisticRegression(max_iter=1000, tol=1e-6)
    if n_features > _PRODUCT_FEATURES:
        return make_pipeline(StandardScaler(), logistic)
    return make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), logistic)


def log_odds(classifier, X) -> np.ndarray:
    """Return the logarithm of ``p(target | x) / p(source | x)``, finite, shape (n,)."""
    p = classifier.predict_proba(X)[:, 1]
    p = np.clip(p, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return np.log(p) - np.log1p(-p)
