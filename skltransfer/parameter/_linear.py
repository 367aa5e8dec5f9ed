"""Linear models near a source: the fit, and the choice of the strength by cross-validation."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from copy import copy
from inspect import signature
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skltransfer._parameters import Flag, Number, Parameter, check_parameters
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._data import check_target_rows
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._two_domains import (
    given_target,
    labelled_rows,
    warn_without_labels,
    warn_without_target,
)
from skltransfer.parameter._source import LinearModel, match_features, read_source


class Penalty(Parameter):
    """A number of at least 0, or an array of such numbers."""

    def accepts(self, value) -> bool:
        try:
            values = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            return False
        return bool(np.isfinite(values).all() and (values >= 0).all())

    def describe(self) -> str:
        return "a number of at least 0 or an array of such numbers"


_DEFAULT_ALPHAS = tuple(10.0 ** (step / 2) for step in range(-4, 11))  # 0.01 to 1e5
_MOST_FOLDS = 5

PENALTY = Penalty()
STRENGTH = Number(0, np.inf, high_open=True)


class LinearTransfer(HoldsByReference, BaseEstimator, metaclass=ABCMeta):
    """Fit a linear model near another one.

    A subclass says how labels are coded and how the coefficients are found.
    """

    __metadata_request__fit = {"X_target": True, "y_target": True}

    _held = ("source",)
    _parameters = {"fit_intercept": Flag(), "penalize_intercept": Flag()}

    @fits_anew
    def fit(self, X, y, sample_weight=None, *, X_target=None, y_target=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of the task; if `source` is None, source samples.
        y : array-like of shape (n_samples,)
            Labels of these samples.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of these samples. A sample of ``X_target`` weighs 1.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Samples of the task, only if `source` is None. The source's model is then learned from
            ``X, y`` first.
        y_target : array-like of shape (n_target_samples,), default=None
            Labels of these samples. ``NaN``, or ``None`` or ``pandas.NA`` in arrays of objects,
            marks an unknown one. If no label is known, the estimator is the source's model, and a
            :class:`~skltransfer.DomainDataWarning` is issued.

        Returns
        -------
        self : estimator
        """
        check_parameters(self)
        X_target, y_target = given_target(X_target, y_target)
        self._check_keywords(X_target)
        X, y = self._check_rows(X, y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        rows, labels = self._labelled_target_rows(X_target, y_target, y)
        self._set_outputs(y, labels)
        if self.source is not None:
            carried = read_source(self.source)
            rows, labels = X, y
        else:
            carried = self._learn_source(X, y, sample_weight)
            sample_weight = None
        coef = match_features(
            carried, getattr(self, "feature_names_in_", None), self.n_features_in_
        )
        coef, intercept = self._match_outputs(coef, carried)
        self.source_coef_, self.source_intercept_ = self._fitted_form(coef, intercept)
        if labels is not None:
            alpha = getattr(self, "alpha", None)  # None is to be chosen by cross-validation
            coef, intercept = self._solve(rows, labels, sample_weight, coef, intercept, alpha)
        self.coef_, self.intercept_ = self._fitted_form(coef, intercept)
        return self

    # --- methods of a subclass ---------------------------------------------------------

    @abstractmethod
    def _check_rows(self, X, y) -> tuple[np.ndarray, np.ndarray]:
        """Validate rows and labels."""

    @abstractmethod
    def _set_outputs(self, y, y_target) -> None:
        """Remember how many outputs, or which classes, there are."""

    @abstractmethod
    def _match_outputs(self, coef, carried: LinearModel):
        """Return coefficients and intercept of `carried` (or None) for the task's outputs."""

    @abstractmethod
    def _learn_source(self, X, y, sample_weight) -> LinearModel:
        """Fit the source's own model."""

    @abstractmethod
    def _solve(self, X, y, sample_weight, coef, intercept, alpha) -> tuple:
        """Minimise loss and distance from `coef` and `intercept` (None: it has none).

        With ``alpha=None`` cross-validation chooses the strength.

        Returns
        -------
        coef : ndarray of shape (k, n_features)
        intercept : ndarray of shape (k,)
        """

    @abstractmethod
    def _fitted_form(self, coef, intercept) -> tuple:
        """Return ``coef_`` and ``intercept_`` as scikit-learn shapes them."""

    # --- validation --------------------------------------------------------------------

    def _check_keywords(self, X_target) -> None:
        name = type(self).__name__
        if self.source is not None and X_target is not None:
            raise ValueError(
                f"X_target was given to a {name} with source=. With a source, X and y are the "
                "rows of the task. Pass these alone, or leave source out to learn it from X, y."
            )
        if self.source is None and X_target is None:
            warn_without_target(
                self,
                "is fitted on X, y alone, with source_alpha",
                missing="neither source nor X_target",
                keywords=f"source=... to {name}, or X_target=... and y_target=...",
            )

    def _labelled_target_rows(self, X_target, y_target, y):
        """Return the labelled target rows and their labels; None, None if there are none."""
        if X_target is None:
            return None, None
        rows, labels = labelled_rows(check_target_rows(self, X_target), y_target, y)
        if rows is None:
            warn_without_labels(self, "is the model of the source")
        return rows, labels

    def _check_combinations(self) -> None:
        PENALTY.check("alpha", self.alpha)
        STRENGTH.check("source_alpha", self.source_alpha)

    def _validated(self, X) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)


class LinearTransferCV(LinearTransfer):
    """Choose ``alpha_`` among ``alphas``: the whole path over all folds at once.

    A subclass inherits from this class and then from one whose `_solve` fits one ``alpha``.
    """

    # --- methods of a subclass ---------------------------------------------------------

    @abstractmethod
    def _fold_models(self, X, y, sample_weight, folds, coef, intercept, alphas):
        """Yield for each fold the models of all `alphas`, fitted on its training rows.

        Yields
        ------
        coefs : ndarray of shape (n_alphas, k, n_features)
        intercepts : ndarray of shape (n_alphas, k)
        """

    @abstractmethod
    def _quick_scores(self, X, y, sample_weight, coefs, intercepts):
        """Return the scores of all models of a path, shape (n_alphas,).

        None, where `scoring` is another one: scikit-learn's scorer is then called for each model.
        """

    # --- the choice --------------------------------------------------------------------

    def _check_combinations(self) -> None:
        alphas = self._candidates()
        if not alphas:
            raise ValueError("alphas is empty. Pass at least one candidate.")
        for alpha in alphas:
            PENALTY.check("alphas", alpha)
        if isinstance(self.scoring, list | tuple | set | dict):
            raise ValueError(f"scoring={self.scoring!r} names several scores. Pass one.")
        if self.source_alpha is not None:
            STRENGTH.check("source_alpha", self.source_alpha)

    def _labelled_target_rows(self, X_target, y_target, y):
        rows, labels = super()._labelled_target_rows(X_target, y_target, y)
        if rows is not None and self.source_alpha is None and _is_list_of_splits(self.cv):
            raise ValueError(
                "cv is a list of splits, which cannot fit the rows of both domains. Pass a "
                "splitter, or set source_alpha, so that only the target's rows are split."
            )
        return rows, labels

    def _candidates(self) -> list:
        if self.alphas is None:
            return list(_DEFAULT_ALPHAS)
        try:
            return list(self.alphas)
        except TypeError:
            raise ValueError(f"alphas={self.alphas!r} is not a list of candidates.") from None

    def _solve(self, X, y, sample_weight, coef, intercept, alpha):
        if alpha is None:
            alpha = self._choose(X, y, sample_weight, coef, intercept)
        return super()._solve(X, y, sample_weight, coef, intercept, alpha)

    def _choose(self, X, y, sample_weight, coef, intercept):
        alphas = self._candidates()
        folds = self._folds(X, y)
        scores = np.empty((len(alphas), len(folds)))
        models = self._fold_models(X, y, sample_weight, folds, coef, intercept, alphas)
        for fold, ((_, test), (coefs, intercepts)) in enumerate(zip(folds, models, strict=True)):
            weights = None if sample_weight is None else sample_weight[test]
            if weights is not None and not weights.any():
                scores[:, fold] = np.nan
                continue
            quick = self._quick_scores(X[test], y[test], weights, coefs, intercepts)
            if quick is None:
                quick = self._scores(X[test], y[test], weights, coefs, intercepts)
            scores[:, fold] = quick
        self.cv_scores_ = scores
        scored = ~np.isnan(scores).all(axis=0)
        mean = scores[:, scored].mean(axis=1) if scored.any() else np.full(len(scores), np.nan)
        if np.isnan(mean).all():
            raise ValueError(
                f"scoring={self.scoring!r} gives no number on any fold. Choose another one."
            )
        best = len(mean) - 1 - int(np.nanargmax(mean[::-1]))
        self.alpha_ = alphas[best]
        return self.alpha_

    def _folds(self, X, y) -> list:
        if len(X) < 2:
            raise ValueError(
                f"alpha cannot be chosen by cross-validation on n_samples = {len(X)}. Pass more, "
                f"or choose alpha yourself with {type(self).__name__.removesuffix('CV')}."
            )
        is_classifier = hasattr(self, "classes_")
        cv = _default_folds(y, is_classifier=is_classifier) if self.cv is None else self.cv
        folds = list(check_cv(cv, y, classifier=is_classifier).split(X, y))
        if not folds:
            raise ValueError("cv has no folds. Pass a list, because a generator serves once.")
        return folds

    def _scores(self, X, y, sample_weight, coefs, intercepts):
        """Score each model of a path on held-out rows by scikit-learn's scorer."""
        scorer = check_scoring(self, self.scoring)
        keywords = {}
        function = self.score if self.scoring is None else getattr(scorer, "_score_func", scorer)
        if sample_weight is not None and "sample_weight" in signature(function).parameters:
            keywords["sample_weight"] = sample_weight
        stand_in = copy(self)
        scores = []
        for coef, intercept in zip(coefs, intercepts, strict=True):
            stand_in.coef_, stand_in.intercept_ = self._fitted_form(coef, intercept)
            scores.append(scorer(stand_in, X, y, **keywords))
        return scores


def penalty_on_coefficients(alpha, n_outputs: int, n_features: int) -> np.ndarray:
    """Return the penalty on each coefficient, shape (n_outputs, n_features)."""
    alpha = np.asarray(alpha, dtype=np.float64)
    try:
        return np.broadcast_to(alpha, (n_outputs, n_features))
    except ValueError:
        raise ValueError(
            f"alpha has shape {alpha.shape}, and the coefficients ({n_outputs}, {n_features}). "
            "Pass a number, or an array of shape (n_features,) or (n_outputs, 1)."
        ) from None


def _is_list_of_splits(cv) -> bool:
    return cv is not None and not isinstance(cv, Real) and not hasattr(cv, "split")


def _default_folds(y, *, is_classifier: bool):
    """Return five folds, or as many as the rows (of the rarest class) allow."""
    if is_classifier and type_of_target(y) in ("binary", "multiclass"):
        rarest = np.unique(y, return_counts=True)[1].min()
        if rarest >= 2:
            return StratifiedKFold(min(_MOST_FOLDS, rarest))
    return KFold(min(_MOST_FOLDS, len(y)))
