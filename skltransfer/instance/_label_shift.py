"""Weights of source samples by the change of the class shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import LinAlgWarning
from scipy.special import softmax
from sklearn.base import is_regressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import _safe_indexing, column_or_1d, get_tags, indexable
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_consistent_length, validate_data

from skltransfer._parameters import Choice, Count, Folds, Number
from skltransfer._solvers._classes import fit_scale_and_bias
from skltransfer._solvers._label_shift import (
    bbse_covariance,
    rlls_error_bound,
    solve_bbse,
    solve_em,
    solve_rlls,
)
from skltransfer._warnings import warn, warn_unless_certified
from skltransfer.domains._data import column_names, select_columns
from skltransfer.instance._base import BaseReweighter, unit_weights
from skltransfer.instance._collapse import EffectiveSampleSizeWarning, named, warn_of_few_samples
from skltransfer.instance._cross_fitting import LabelledRows
from skltransfer.instance._rows import row_groups

_SMALLEST_PROBABILITY = 1e-12
# A confusion matrix beyond this condition number multiplies sampling errors as much.
_LARGEST_CONDITION = 50.0
# Smaller ratios are rounding errors of 0.
_SMALLEST_RATIO = 1e-6


class LabelShiftReweighter(BaseReweighter):
    r"""Weigh source samples by the change of the class shares between the domains.

    It corrects *label shift*: the shares of the classes differ between the domains, and the samples
    of each class are distributed in the same way. A source sample of class ``c`` weighs
    ``p_target(c) / p_source(c)``. The ratios follow from the predictions of a classifier. Let
    ``C[i, j]`` be the share of source samples with prediction ``i`` and class ``j``, and ``mu[i]``
    the share of target samples with prediction ``i``. Then

    .. math::

        C w = \mu

    holds whatever errors the classifier makes.

    Parameters
    ----------
    estimator : estimator, default=None
        Classifier whose ``fit`` takes ``sample_weight``, or a pipeline that ends in one. It is
        cloned before it is fitted. With ``None`` only the weights are computed.
    classifier : classifier, default=None
        Classifier that makes the predictions. It needs ``predict_proba`` for ``method="em"``.
        ``None`` is a clone of `estimator`, or a logistic regression on standardised features if
        there is no estimator.
    method : {"em", "bbse", "rlls"}, default="em"
        Estimate of the ratios. ``"em"`` maximises the likelihood of the target samples given
        calibrated probabilities [3]_ [4]_, and is usually the most exact. ``"bbse"`` solves the
        equation and sets negative ratios to 0 [1]_. It has standard errors and needs no
        probabilities. ``"rlls"`` solves the equation with a penalty on the distance of the ratios
        from 1 [2]_, for few samples or many classes. The penalty changes nothing if the equation is
        well conditioned.
    cv : int, splitter or iterable, default=5
        Folds of the source samples. An integer of at least 2 is the largest number of folds; fewer
        are made if a class has fewer distinct samples. A splitter or an iterable splits the source
        samples of positive weight. It has to keep equal samples in one fold, as
        :class:`~sklearn.model_selection.StratifiedGroupKFold` does.
    calibration : "bcts" or None, default="bcts"
        Calibration of the probabilities for ``"em"``: bias-corrected temperature scaling, fitted to
        the held-out source samples, or none.
    regularization : float, default=0.01
        Penalty of ``"rlls"``, at least 0, as a multiple of the bound on the error of `C`. The
        default is the authors' choice.
    max_iter : int, default=100
        Largest number of Newton steps of ``"em"``.
    tol : float, default=1e-8
        Distance of the mean log-likelihood of ``"em"`` from its maximum, to certify.
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
    source_classes_ : ndarray of shape (n_classes,)
        Classes of the source. The following attributes are in this order, and are set if target
        samples are given.
    class_prior_ratio_ : ndarray of shape (n_classes,)
        Ratios ``p_target(c) / p_source(c)``.
    class_prior_ratio_std_err_ : ndarray of shape (n_classes,)
        Standard errors of the ratios for the given classifiers, by the delta method, before
        negative ratios are set to 0. For ``"rlls"`` they do not include the bias of its penalty.
        ``nan`` for ``"em"``.
    target_class_prior_ : ndarray of shape (n_classes,)
        Shares of the classes in the target. Their sum is 1.
    n_iter_ : int
        Number of Newton steps of ``"em"``, at least 1. It is 1 for the other methods.
    confusion_matrix_ : ndarray of shape (n_classes, n_classes)
        Matrix ``C``, with predictions in rows and true classes in columns. Its sum is 1.
    estimator_ : estimator
        The fitted clone. Not set if `estimator` is None.
    classes_ : ndarray of shape (n_classes,)
        Classes of the estimator: the classes of the source and of known target labels.
    n_features_in_ : int
        Number of features seen during `fit`. Set if the estimator has it.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`. Set if all feature names of ``X`` are strings.

    Warns
    -----
    LinAlgWarning
        If the classifier confuses classes so much that the equation hardly determines the ratios.
    ConvergenceWarning
        If ``"em"`` ends further from the maximum than `tol`.
    EffectiveSampleSizeWarning
        If the share of a class in the target is estimated as 0. The message names the class.
    DomainDataWarning
        If no target samples are given.

    See Also
    --------
    KMMReweighter : For covariate shift, where the features are distributed differently.

    Notes
    -----
    The samples are dealt to folds, stratified by class, equal samples together. The classifier of
    each fold predicts the source samples of the fold and all target samples. The shares are means
    over the folds, so that the errors of the same classifiers stand on both sides of the equation.
    ``"em"`` maximises the likelihood of all these predictions. This is the maximum that expectation
    maximisation finds [3]_, computed by Newton's method. The weights depend on the labels only: two
    samples of a class weigh the same.

    If the standard errors are as large as the distance of the ratios from 1, weights do more harm
    than good. ``"rlls"`` with a `regularization` of 0.1 or more is then the safest choice.

    Known target labels join the fit, but do not enter the ratios. A class that the source lacks has
    no ratio, and the target samples of this class are predicted as other classes.

    The time is that of the fits of the classifier, one a fold, and of their predictions. Memory
    grows like the number of samples times that of classes.

    References
    ----------
    .. [1] Z. C. Lipton, Y.-X. Wang, A. J. Smola, "Detecting and Correcting for Label Shift with
       Black Box Predictors", ICML 2018.
    .. [2] K. Azizzadenesheli, A. Liu, F. Yang, A. Anandkumar, "Regularized Learning for Domain
       Adaptation under Label Shifts", ICLR 2019.
    .. [3] M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the Outputs of a Classifier to New
       a Priori Probabilities", Neural Computation 14, 2002.
    .. [4] A. Alexandari, A. Kundaje, A. Shrikumar, "Maximum Likelihood with Bias-Corrected
       Calibration is Hard-To-Beat at Label Shift Adaptation", ICML 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer import LabelShiftReweighter
    >>> rng = np.random.default_rng(0)
    >>> y, y_target = np.repeat([0, 1], [500, 500]), np.repeat([0, 1], [100, 900])
    >>> X, X_target = (rng.normal(2.0 * labels)[:, None] for labels in (y, y_target))
    >>> model = LabelShiftReweighter(LogisticRegression()).fit(X, y, X_target=X_target)
    >>> model.class_prior_ratio_.round(1)
    array([0.2, 1.8])
    """

    _parameters = {
        "method": Choice("em", "bbse", "rlls"),
        "cv": Folds(),
        "calibration": Choice("bcts", None),
        "regularization": Number(0),
        "max_iter": Count(),
        "tol": Number(0, low_open=True),
    }

    def __init__(
        self,
        estimator=None,
        *,
        classifier=None,
        method: str = "em",
        cv: Any = 5,
        calibration: str | None = "bcts",
        regularization: float = 0.01,
        max_iter: int = 100,
        tol: float = 1e-8,
        target_weight: float | str = 1.0,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.estimator = estimator
        self.classifier = classifier
        self.method = method
        self.cv = cv
        self.calibration = calibration
        self.regularization = regularization
        self.max_iter = max_iter
        self.tol = tol
        self.target_weight = target_weight
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if hasattr(self.classifier, "fit"):
            taken = get_tags(self.classifier).input_tags
            tags.input_tags.sparse &= taken.sparse
            tags.input_tags.allow_nan &= taken.allow_nan
        return tags

    def _weigh(self, X, y, sample_weight, X_target, target_sample_weight):
        self.n_iter_ = 1
        if self.estimator is None and self.classifier is None:
            X = validate_data(self, X)
        elif self.estimator is None:
            validate_data(self, X, skip_check_array=True)  # the classifier knows what it takes
        weights = unit_weights(X, sample_weight)
        if X_target is None:
            return weights
        classifier = self._classifier()
        self.source_classes_, labels = _class_numbers(X, y, type(self).__name__)
        if getattr(X, "shape", (0, 1))[1:] == (0,):
            raise ValueError(
                f"X has 0 feature(s) (shape={X.shape}) while a minimum of 1 is required."
            )
        (X_target,) = indexable(select_columns(X_target, column_names(X)))
        order = np.argsort(row_groups(X_target), kind="stable")
        X_target = _safe_indexing(X_target, order)
        if target_sample_weight is not None:
            target_sample_weight = target_sample_weight[order]
        used = np.flatnonzero(weights > 0)
        present, codes = np.unique(labels[used], return_inverse=True)
        self.source_classes_ = self.source_classes_[present]
        if len(present) < 2:
            raise ValueError(
                f"y holds one class alone ({self.source_classes_.tolist()[0]!r}), whose share "
                "cannot shift. Pass rows of every class, or use KMMReweighter."
            )
        data = LabelledRows.sorted_by("groups", _safe_indexing(X, used), codes, weights[used])
        predictions = self._held_out_predictions(data, classifier, X_target)
        self._estimate(data, *predictions, target_sample_weight)
        ratio = np.zeros(len(weights))
        ratio[used] = self.class_prior_ratio_[codes]
        return weights * ratio

    def _warn_of_collapse(self, y, weights, known_labels, known_weights):
        """Say which classes are lost. Small shares that are estimates are no collapse."""
        absent = self.source_classes_[self.class_prior_ratio_ < _SMALLEST_RATIO].tolist()
        if absent:
            warn(
                "LabelShiftReweighter estimates a share of 0 in the target (target_class_prior_) "
                f"for {named(absent)}, and gives no weight to its source rows. If the target does "
                "hold such rows, pass a better classifier=..., or choose method='rlls' with "
                "regularization=0.1 or more.",
                EffectiveSampleSizeWarning,
            )
        else:
            warn_of_few_samples(type(self).__name__, self.sample_weight_, weights)

    def _classifier(self):
        classifier = self.classifier if self.classifier is not None else self.estimator
        if classifier is None:
            return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        if is_regressor(classifier):
            raise TypeError(
                f"{type(classifier).__name__} is not a classifier, and cannot show a label shift. "
                "Pass one as classifier=..., or use KMMReweighter."
            )
        needed = "predict_proba" if self.method == "em" else "predict"
        if not hasattr(classifier, needed):
            raise TypeError(
                f"method={self.method!r} needs a classifier with {needed}, and "
                f"{type(classifier).__name__} has none. Pass another one as classifier=..."
                + (", or choose method='bbse'." if self.method == "em" else ".")
            )
        return classifier

    def _held_out_predictions(self, data, classifier, X_target):
        """Return predictions of held-out source samples and, for each fold, of the target samples.

        Hard predictions are rows of the identity matrix. The shapes are (n_samples, n_classes) and
        (n_folds, n_target_samples, n_classes).
        """
        fold = data.folds(self.cv, self.random_state)
        if fold is None:
            pairs = np.unique(np.column_stack([data.groups, data.labels]), axis=0)
            counts = np.bincount(pairs[:, 1])
            scarce = self.source_classes_.tolist()[np.argmin(counts)]
            raise ValueError(
                f"Class {scarce!r} has too few distinct source rows ({counts.min()}) to hold some "
                "out. Each class needs at least 2. Drop the class, or merge it with another."
            )
        n_classes, n_folds = len(self.source_classes_), fold.max() + 1
        held_out, target = np.empty((len(fold), n_classes)), []
        for number in range(n_folds):
            train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            fitted = data.fit(classifier, train, self.source_classes_)
            held_out[test] = self._predicted(fitted, _safe_indexing(data.X, test))
            target.append(self._predicted(fitted, X_target))
        return held_out, np.array(target)

    def _predicted(self, classifier, X) -> np.ndarray:
        if self.method == "em":
            return classifier.predict_proba(X)
        predicted = np.searchsorted(self.source_classes_, classifier.predict(X))
        return np.eye(len(self.source_classes_))[predicted]

    def _estimate(self, data, held_out, target, target_weights) -> None:
        n_classes, total = len(self.source_classes_), data.weights.sum()
        hard = np.eye(n_classes)[held_out.argmax(axis=1)]
        counts = np.zeros((n_classes, n_classes))
        np.add.at(counts.T, data.labels, hard * data.weights[:, None])
        C = self.confusion_matrix_ = counts / total
        if self.method == "em":
            ratio = self._by_likelihood(data, held_out, target, target_weights)
            variances = np.full(n_classes, np.nan)
        else:
            self._warn_of_confusion(counts)
            by_row = target.mean(axis=0)  # (n_target, n_classes)
            mu = np.average(by_row, axis=0, weights=target_weights)
            if self.method == "bbse":
                ratio, inverse = solve_bbse(C, mu)
            else:
                rho = self.regularization * rlls_error_bound(n_classes, total)
                ratio, inverse = solve_rlls(C, mu, rho)
            deviations = by_row - mu
            counts_of_target = np.ones(len(by_row)) if target_weights is None else target_weights
            target_covariance = (deviations.T * counts_of_target) @ deviations
            target_covariance /= counts_of_target.sum() ** 2
            variances = np.diag(bbse_covariance(inverse, ratio, counts, target_covariance))
        self.class_prior_ratio_ = ratio
        self.class_prior_ratio_std_err_ = np.sqrt(variances)
        prior = np.bincount(data.labels, weights=data.weights) / total * ratio
        self.target_class_prior_ = prior / prior.sum()

    def _by_likelihood(self, data, held_out, target, target_weights) -> np.ndarray:
        if target_weights is not None:
            target_weights = np.tile(target_weights, len(target))  # each fold predicts all of them
        log_source, log_target = (
            np.log(np.maximum(p, _SMALLEST_PROBABILITY)) for p in (held_out, np.concatenate(target))
        )
        if self.calibration is not None:
            scale, bias = fit_scale_and_bias(log_source, data.labels, data.weights)
            log_source, log_target = scale * log_source + bias, scale * log_target + bias
        p_source = np.average(softmax(log_source, axis=1), axis=0, weights=data.weights)
        prior, gap, self.n_iter_ = solve_em(
            softmax(log_target, axis=1),
            p_source,
            weights=target_weights,
            max_iter=self.max_iter,
            tol=self.tol,
        )
        warn_unless_certified("The likelihood", gap, self.tol, "Raise max_iter or tol.")
        ratio = prior / p_source
        shares = np.bincount(data.labels, weights=data.weights) / data.weights.sum()
        return ratio / (shares @ ratio)

    def _warn_of_confusion(self, counts) -> None:
        by_class = counts / counts.sum(axis=0)
        values = np.linalg.svd(by_class, compute_uv=False)
        # Singular value that a guessing classifier reaches by chance.
        chance = np.sqrt(len(counts) / counts.sum())
        if values[-1] < max(chance, values[0] / _LARGEST_CONDITION):
            never = self.source_classes_[counts.sum(axis=1) == 0].tolist()
            reason = f" (it never predicts {', '.join(map(repr, never))})" if len(never) else ""
            warn(
                f"The classifier hardly tells some classes apart{reason}. The class ratios are "
                "uncertain. Use a better classifier, class_weight='balanced', or method='rlls'.",
                LinAlgWarning,
            )


def _class_numbers(X, y, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes and, for each label, the number of its class."""
    if y is None:
        raise ValueError(f"{name} needs the labels of the source. y should be a 1d array. Pass y.")
    check_consistent_length(X, y)
    y = column_or_1d(y)
    kind = type_of_target(y, input_name="y")
    if kind not in ("binary", "multiclass"):
        raise ValueError(
            f"Unknown label type: {name} needs classes, and y is {kind}. Use KMMReweighter."
        )
    return np.unique(y, return_inverse=True)
