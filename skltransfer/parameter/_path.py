"""Choose the strength of the pull towards the source: the whole path over all folds at once."""

from __future__ import annotations

from copy import copy
from inspect import signature
from numbers import Real

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils.multiclass import type_of_target

from skltransfer.parameter._linear import check_penalty

_DEFAULT_ALPHAS = tuple(10.0 ** (step / 2) for step in range(-4, 11))  # 0.01 to 1e5
_MOST_FOLDS = 5


def is_path_of_numbers(alphas) -> bool:
    """Tell whether every candidate is one number."""
    return all(isinstance(alpha, Real) for alpha in alphas)


class CrossValidatesAlpha:
    """Choose ``alpha_`` among ``alphas`` for an estimator that solves whole paths.

    A subclass gives, fold by fold, the models of the path (`_fold_models`), and may score them all
    at once (`_quick_scores`).
    """

    def _alpha_of_task(self):
        return None

    def _check_parameters(self) -> None:
        alphas = self._candidates()
        if not alphas:
            raise ValueError("alphas is empty. Pass at least one candidate.")
        for alpha in alphas:
            check_penalty(alpha, "alphas")
        if isinstance(self.scoring, list | tuple | set | dict):
            raise ValueError(f"scoring={self.scoring!r} names several scores. Pass one.")
        if self.source_alpha is not None:
            check_penalty(self.source_alpha, "source_alpha", is_scalar=True)

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
                f"scoring={self.scoring!r} gives no number on any fold. Choose another scoring, or "
                "fewer folds by cv."
            )
        best = len(mean) - 1 - int(np.nanargmax(mean[::-1]))
        self.alpha_ = alphas[best]
        return self.alpha_

    def _folds(self, X, y) -> list:
        if len(X) < 2:
            raise ValueError(
                f"alpha cannot be chosen by cross-validation on {len(X)} labelled row "
                f"(n_samples = {len(X)}). Pass more, or choose alpha yourself with "
                f"{type(self).__name__.removesuffix('CV')}."
            )
        cv = self.cv
        if cv is None:
            cv = _default_folds(y, is_classifier=hasattr(self, "classes_"))
        folds = list(check_cv(cv, y, classifier=hasattr(self, "classes_")).split(X, y))
        if not folds:
            raise ValueError(
                "cv has no folds: a generator is empty when it has been used. Pass a list."
            )
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


def _is_list_of_splits(cv) -> bool:
    return cv is not None and not isinstance(cv, Real) and not hasattr(cv, "split")


def _default_folds(y, *, is_classifier: bool):
    """Return five folds, or as many as the rows (of the rarest class) allow."""
    n_rows = len(y)
    if is_classifier and type_of_target(y) in ("binary", "multiclass"):
        rarest = np.unique(y, return_counts=True)[1].min()
        if rarest >= 2:
            return StratifiedKFold(min(_MOST_FOLDS, rarest))
    return KFold(min(_MOST_FOLDS, n_rows))
