"""What the mixtures of strategies share: fits, weights, and scores of samples left out."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.base import (
    MetaEstimatorMixin,
    is_classifier,
)
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, check_random_state, get_tags, indexable
from sklearn.utils.validation import (
    _check_sample_weight,
    _num_samples,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from skltransfer._documentation import DocumentedEstimator
from skltransfer._messages import first_line
from skltransfer._parameters import Count, Folds, Number, check_parameters
from skltransfer._warnings import warn
from skltransfer.domains._classes import compare_classes
from skltransfer.domains._data import (
    DomainDataWarning,
    as_labels,
    check_finite_labels,
    check_no_missing_labels,
    check_not_empty,
    check_same_width,
    in_one_form,
    known_labels,
    named_rows,
)
from skltransfer.domains._frames import fitted_categories, with_fitted_categories
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._two_domains import (
    given_weighted_target,
    has_known_label,
    warn_without_labels,
    warn_without_target,
)
from skltransfer.model_selection._comparison import MIXTURE, Comparison
from skltransfer.model_selection._copies import is_copy
from skltransfer.model_selection._folds import Folds as TargetFolds
from skltransfer.model_selection._members import TargetSamples, fit_members, outputs_of
from skltransfer.model_selection._menu import members
from skltransfer.model_selection._metrics import Metric
from skltransfer.model_selection._mixture import mixture_weights, spread_folds
from skltransfer.model_selection._results import Paired, Scoring, Track, mixed, results_of
from skltransfer.model_selection._strategy import NO_TRANSFER, SOURCE_ONLY
from skltransfer.model_selection._task import TransferTask


class Estimate(NamedTuple):
    """A score, or a difference of scores, with its 95 % interval.

    Parameters
    ----------
    value : float
        Mean over the samples.
    low, high : float
        Bounds of the interval.
    """

    value: float
    low: float
    high: float


_UNKNOWN = Estimate(np.nan, np.nan, np.nan)


def _estimate(estimate) -> Estimate:
    return Estimate(float(estimate.mean), float(estimate.low), float(estimate.high))


def _overflow(fitted, fits, samples: TargetSamples) -> ValueError | None:
    """Return an error if predictions of labelled target samples are not finite."""
    outputs = [*(fit.outputs for fit in fits), outputs_of(fitted, samples.X, samples.classes)]
    if all(np.isfinite(part).all() for part in outputs):
        return None
    return ValueError(
        "Predictions of labelled target samples are not finite; scale the features, for example "
        "by a StandardScaler in front of the estimator."
    )


class TransferMixture(MetaEstimatorMixin, DocumentedEstimator, metaclass=ABCMeta):
    """Fit a menu of strategies, and weigh them by their losses on target samples left out.

    A subclass says what is predicted.
    """

    __metadata_request__fit = {"X_target": True, "y_target": True, "target_sample_weight": True}

    _parameters = {
        "cv": Folds(),
        "baseline_share": Number(0, 1),
        "prior_rows": Number(0, np.inf, high_open=True),
        "min_weight": Number(0, 1),
        "n_jobs": Count(low=None, unset=(None,)),
    }

    def __init__(
        self,
        estimator=None,
        *,
        strategies: Any = "auto",
        cv: Any = 5,
        baseline_share: float = 0.2,
        prior_rows: float = 20,
        min_weight: float = 0.03,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.estimator = estimator
        self.strategies = strategies
        self.cv = cv
        self.baseline_share = baseline_share
        self.prior_rows = prior_rows
        self.min_weight = min_weight
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if hasattr(self._base(), "fit"):
            inner = get_tags(self._base())
            tags.input_tags = deepcopy(inner.input_tags)
            tags.input_tags.pairwise = False
            if tags.classifier_tags is not None and inner.classifier_tags is not None:
                tags.classifier_tags = deepcopy(inner.classifier_tags)
        return tags

    @abstractmethod
    def _base(self):
        """Return the estimator, or the default one."""

    @abstractmethod
    def _check_base(self, estimator) -> None:
        """Refuse an estimator of another kind."""

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
        """Fit the strategies on both domains, and weigh them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples. Those that equal a labelled target sample are left out.
        y : array-like of shape (n_samples,)
            Source labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the source samples.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples. Without them the estimator is fitted on the source alone.
        y_target : array-like of shape (n_target_samples,), default=None
            Known labels of the target. A missing label is marked by ``NaN``, or in arrays of
            objects also by ``None`` or ``pandas.NA``. If no label is known, nothing can be weighed,
            and the estimator is fitted on the source alone.
        target_sample_weight : array-like of shape (n_target_samples,), default=None
            Weights of the target samples, in the fits, in the losses and in the scores. A sample
            of weight 0 is left out.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a parameter is out of range or the data do not fit together.
        TypeError
            If the estimator is of another kind.

        Warns
        -----
        DomainDataWarning
            If the target has no sample or no label, if source samples equal target samples, if a
            strategy cannot be fitted, or if the labels seem to mean something else in the source.
        """
        check_parameters(self)
        estimator = self._base()
        self._check_base(estimator)
        X_target, y_target, weights = given_weighted_target(
            X_target, y_target, target_sample_weight
        )
        X, y = indexable(X, y)
        y = self._checked_labels(X, y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        if X_target is None:
            warn_without_target(self, "is fitted on X, y alone, without transfer")
            return self._fit_source(TransferTask(estimator, X, y, sample_weight))
        check_not_empty(X_target, "X_target")
        check_same_width(X_target, X, "X_target")
        X, X_target = in_one_form(X, X_target, "X_target")
        if is_classifier(estimator):
            compare_classes(y, y_target)
        with named_rows(X, X_target):
            if not has_known_label(y_target):
                warn_without_labels(
                    self,
                    "is fitted on the source alone. Nothing tells how strategies do on the "
                    "target; scores without labels (importance_weighted_scorer, "
                    "prediction_entropy_scorer and others of skltransfer.model_selection) choose "
                    "among estimators of one kind",
                )
                return self._fit_source(TransferTask(estimator, X, y, sample_weight))
            target = X_target, known_labels(y_target, X_target, y), weights
            self._fit_mixture(estimator, X, y, sample_weight, *target)
        self._categories = fitted_categories(X)
        return self

    def _checked_labels(self, X, y) -> np.ndarray:
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        check_no_missing_labels(y)
        y = as_labels(y)
        if y.dtype.kind == "O":
            y = np.array(y.tolist())
        check_finite_labels(y, "y")
        y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        return y

    def _fit_source(self, task: TransferTask):
        """Fit on the source alone."""
        self.estimators_ = {SOURCE_ONLY: task.source_model}
        self.weights_ = {SOURCE_ONLY: 1.0}
        self.score_ = self.baseline_score_ = self.gain_ = _UNKNOWN
        self.comparison_ = None
        self._set_classes(np.unique(task.y_source))
        self._take_form(task.source_model)
        return self

    def _set_classes(self, classes) -> None:
        if is_classifier(self):
            self.classes_ = classes

    def _take_form(self, fitted) -> None:
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(fitted, name):
                setattr(self, name, getattr(fitted, name))

    def _fit_mixture(self, estimator, X, y, sample_weight, X_target, known, weights) -> None:
        known, labels = known
        classes = None
        if is_classifier(self):
            classes = np.unique(np.concatenate([y, labels]))
            if len(classes) == 1:
                raise ValueError(
                    f"y and y_target hold one class, {classes.tolist()[0]!r}. "
                    f"{type(self).__name__} needs samples of at least 2 classes."
                )
        else:
            y, labels = (np.asarray(part, dtype=np.float64) for part in (y, labels))
        rows, others = np.flatnonzero(known), np.flatnonzero(~known)
        X_known = _safe_indexing(X_target, rows)
        unlabelled = _safe_indexing(X_target, others) if len(others) else None
        kept, n_copies = self._without_copies(X, X_known)
        if n_copies:
            X, y = _safe_indexing(X, kept), y[kept]
            sample_weight = None if sample_weight is None else sample_weight[kept]
        task = TransferTask(estimator, X, y, sample_weight)
        menu = members(self.strategies, task, _num_samples(X_target))
        if not len(kept):
            menu = [strategy for strategy in menu if not strategy.needs_source]
        parts = [None if weights is None else weights[part] for part in (rows, others)]
        samples = TargetSamples(X_known, labels, parts[0], unlabelled, parts[1], classes)
        if any(strategy.needs_source for strategy in menu):
            self._fit_source_once(task)
        folds = self._folds(X_known, labels)
        fits, fitted = fit_members(menu, task, samples, folds, self.n_jobs)
        self._set_classes(classes)
        menu, fits, fitted = self._without_failures(menu, fits, fitted, samples)
        self.estimators_ = {s.name: e for s, e in zip(menu, fitted, strict=True)}
        self._take_form(self.estimators_[NO_TRANSFER])
        self._weigh(menu, fits, samples, folds, n_copies, len(kept))
        self._warn_of_surprises(samples)

    def _without_copies(self, X, X_known) -> tuple[np.ndarray, int]:
        """Return the positions of the source samples that are no copies, and how many are."""
        copied = is_copy(X, X_known)
        n_copies = int(copied.sum())
        if n_copies:
            end = (
                "No source sample is left, and nothing is transferred."
                if copied.all()
                else "They are left out, because their labels would be known when the target "
                "samples are tested."
            )
            warn(
                f"{n_copies} of {len(copied)} source samples equal a labelled target sample. {end}",
                DomainDataWarning,
            )
        return np.flatnonzero(~copied), n_copies

    def _folds(self, X, y) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return positions of training and test samples, of which each is tested once."""
        n_samples = len(y)
        if isinstance(self.cv, int | np.integer):
            if n_samples < 2:
                return []
            rng = check_random_state(self.random_state)
            fold = spread_folds(
                y, min(self.cv, n_samples), rng, is_classification=is_classifier(self)
            )
            order = np.arange(n_samples)
            return [(order[fold != k], order[fold == k]) for k in np.unique(fold)]
        splitter = check_cv(self.cv, y, classifier=is_classifier(self))
        folds = [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(X, y)]
        tested = np.concatenate([test for _, test in folds])
        if not np.array_equal(np.sort(tested), np.arange(n_samples)):
            raise ValueError(
                f"cv={self.cv!r} does not test each of the {n_samples} labelled target samples "
                "once. Pass a number of folds, or a splitter such as StratifiedKFold or "
                "LeaveOneOut; indices refer to the labelled target samples."
            )
        return folds

    def _fit_source_once(self, task: TransferTask) -> None:
        """Fit the source's own model, before processes get copies of it."""
        try:
            _ = task.source_model
        except ValueError:
            # One class has no model of its own; strategies that need one are left out.
            if len(np.unique(task.y_source)) > 1 or not is_classifier(self):
                raise

    def _without_failures(self, menu, fits, fitted, samples) -> tuple[list, list, list]:
        """Leave out strategies that cannot be fitted on all samples, or overflow on them."""
        failures = [
            each if isinstance(each, Exception) else _overflow(each, row, samples)
            for each, row in zip(fitted, fits, strict=True)
        ]
        if failures[0] is not None:
            raise failures[0]
        reasons = [
            f"{strategy.name} ({type(error).__name__}: {first_line(error)})"
            for strategy, error in zip(menu, failures, strict=True)
            if error is not None
        ]
        if reasons:
            warn(
                f"Strategies that cannot be fitted are left out: {'; '.join(reasons)}.",
                DomainDataWarning,
            )
        left = [i for i, error in enumerate(failures) if error is None]
        return tuple([part[i] for i in left] for part in (menu, fits, fitted))

    def _weigh(self, menu, fits, samples: TargetSamples, folds, n_copies, n_source) -> None:
        """Set the weights, and what the mixture and each strategy score without their samples."""
        weigh = partial(
            mixture_weights,
            is_classification=is_classifier(self),
            prior_rows=self.prior_rows,
            baseline_share=self.baseline_share,
            min_weight=self.min_weight,
        )
        if not folds:
            weights = weigh(np.zeros((len(menu), 0)))
            self.weights_ = dict(zip(self.estimators_, weights.tolist(), strict=True))
            self.score_ = self.baseline_score_ = self.gain_ = _UNKNOWN
            self.comparison_ = None
            return
        metric = Metric.of(None, samples.y, samples.classes)
        shares = None if samples.weights is None else samples.weights / samples.weights.mean()
        n_samples = len(samples.y) if shares is None else float(samples.weights.sum())
        scoring = Scoring(
            TargetFolds(folds, len(samples.y), 1),
            metric,
            samples.X,
            samples.y,
            samples.classes,
            shares,
        )
        for row in fits:
            for (_, test), fit in zip(folds, row, strict=True):
                fit.score, fit.values = scoring.score(fit.outputs, test)
        tracks = {
            strategy.name: Track(strategy.name, strategy.family, strategy.settings, row)
            for strategy, row in zip(menu, fits, strict=True)
        }
        tracks[MIXTURE], self.weights_ = mixed(scoring, tracks, weigh, n_samples)
        paired = Paired(scoring, tracks)
        self.score_, self.baseline_score_ = (
            _estimate(paired.score(name)) for name in (MIXTURE, NO_TRANSFER)
        )
        self.gain_ = _estimate(paired.difference(MIXTURE, NO_TRANSFER))
        n_unlabelled = 0 if samples.X_unlabelled is None else _num_samples(samples.X_unlabelled)
        self.comparison_ = Comparison(
            title=f"{type(self).__name__}: does the other domain help?",
            metric=metric.name,
            baseline=NO_TRANSFER,
            results=results_of(paired, NO_TRANSFER, self.weights_),
            n_labelled=len(samples.y),
            n_unlabelled=n_unlabelled,
            n_source=n_source,
            n_folds=len(folds),
            n_repeats=1,
            is_classification=is_classifier(self),
            notes=self._notes(samples, n_copies),
            best_=MIXTURE,
        )

    def _notes(self, samples: TargetSamples, n_copies: int) -> list[str]:
        notes = []
        if n_copies:
            notes.append(f"{n_copies} source samples equal a labelled target sample.")
        if samples.classes is not None:
            labels, counts = np.unique(samples.y, return_counts=True)
            if (counts == 1).any():
                n_rare = int((counts == 1).sum())
                notes.append(
                    f"{n_rare} of {len(labels)} classes have one labelled sample, which no "
                    "transfer never sees when it is tested: its scores are too low, and the gain "
                    "is too large."
                )
        return notes

    def _warn_of_surprises(self, samples: TargetSamples) -> None:
        baseline = outputs_of(self.estimators_[NO_TRANSFER], samples.X, samples.classes)
        if len(np.unique(samples.y)) > 1 and (baseline == baseline[0]).all():
            warn(
                f"no transfer predicts the same for all {len(samples.y)} labelled target samples: "
                "its model learns nothing from so few. Lower what it needs, such as "
                "min_samples_leaf of HistGradientBoosting, which is 20.",
                DomainDataWarning,
            )
        if SOURCE_ONLY in self.estimators_:
            self._warn_of_source(self.estimators_[SOURCE_ONLY], samples)

    def _warn_of_source(self, model, samples: TargetSamples) -> None:
        """Warn if the source's model is worse than chance on the target's labels."""

    @property
    def _weighed(self) -> list[tuple[str, float]]:
        return [(name, weight) for name, weight in self.weights_.items() if weight > 0]

    def _as_fitted(self, X):
        check_is_fitted(self)
        return with_fitted_categories(X, getattr(self, "_categories", None))
