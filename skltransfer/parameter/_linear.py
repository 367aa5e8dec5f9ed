"""Linear models near a source: the fit, and the choice of the strength by cross-validation."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from copy import copy
from inspect import signature
from numbers import Real
from typing import NamedTuple, Self

import numpy as np
from scipy import sparse
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skltransfer._arrays import (
    check_one_place,
    check_place_of_fit,
    float_dtype,
    in_float64,
    moved_to,
    namespace_of,
    rows_at,
)
from skltransfer._documentation import DocumentedEstimator
from skltransfer._parameters import Flag, Number, Parameter, check_parameters
from skltransfer._solvers._design_matrix import column_means, design_rows
from skltransfer._solvers._prior_variance import looked_at, variance_of_change
from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._classes import compare_classes
from skltransfer.domains._data import check_target_rows
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._two_domains import (
    given_weighted_target,
    labelled_rows,
    warn_without_labels,
    warn_without_target,
)
from skltransfer.parameter._source import LinearModel, match_features, read_source


class Strength(NamedTuple):
    """Penalties on the change of coefficients and of intercepts.

    Attributes
    ----------
    alpha : float or ndarray
        As the parameter `alpha`.
    on_intercept : float or ndarray of shape (k, 1)
    """

    alpha: float | np.ndarray
    on_intercept: float | np.ndarray


class Penalty(Parameter):
    """A number of at least 0, or an array of such numbers."""

    def accepts(self, value) -> bool:
        try:
            values = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            return False
        return bool((values >= 0).all() and (values.ndim == 0 or np.isfinite(values).all()))

    def describe(self) -> str:
        return "a number of at least 0 or an array of such numbers"


_DEFAULT_ALPHAS = tuple(10.0 ** (step / 2) for step in range(-4, 11))  # 0.01 to 1e5
_TO_BE_CHOSEN = object()
_MOST_FOLDS = 5

PENALTY = Penalty()
PENALTY_OR_AUTO = Penalty(unset=("auto",))
STRENGTH = Number(0, np.inf, high_open=True)
LARGEST_NUMBER = 1e150


class LinearTransfer(HoldsByReference, DocumentedEstimator, metaclass=ABCMeta):
    """Fit a linear model near another one.

    A subclass says how labels are coded and how the coefficients are found.
    """

    __metadata_request__fit = {"X_target": True, "y_target": True, "target_sample_weight": True}

    _held = ("source",)
    _array_api_support = False
    _parameters = {"fit_intercept": Flag(), "penalize_intercept": Flag(unset=("auto",))}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = self._array_api_support
        return tags

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
        """Fit the model.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Samples of the task; if `source` is None, source samples.
        y : array-like of shape (n_samples,)
            Labels of these samples.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of these samples.
        X_target : {array-like, sparse matrix} of shape (n_target_samples, n_features), default=None
            Samples of the task, only if `source` is None. The source's model is then learned from
            ``X, y`` first.
        y_target : array-like of shape (n_target_samples,), default=None
            Labels of these samples. ``NaN``, or ``None`` or ``pandas.NA`` in arrays of objects,
            marks an unknown one. If no label is known, the estimator is the source's model, and a
            :class:`~skltransfer.DomainDataWarning` is issued.
        target_sample_weight : array-like of shape (n_target_samples,), default=None
            Weights of the samples of ``X_target``, at least 0. One of weight 0 is left out.

        Returns
        -------
        self : estimator
        """
        check_parameters(self)
        target = given_weighted_target(X_target, y_target, target_sample_weight)
        self._check_keywords(target[0])
        check_one_place(X, target[0])
        X, y = self._check_rows(X, y)
        check_range(X, "X")
        check_range(y, "y")
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
            sample_weight = in_float64(sample_weight)
            check_range(sample_weight, "sample_weight")
        rows, labels, weights = self._labelled_target_rows(*target, y)
        self._set_outputs(y, labels)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
            self._fit_near_source(X, y, sample_weight, rows, labels, weights)
        check_finite_fit(self.coef_, self.intercept_)
        for name in ("source_coef_", "source_intercept_", "coef_", "intercept_"):
            setattr(self, name, moved_to(X, getattr(self, name)))
        return self

    def _fit_near_source(self, X, y, sample_weight, rows, labels, weights):
        if self.source is not None:
            carried = read_source(self.source)
            rows, labels, weights = X, y, sample_weight
        else:
            carried = self._learn_source(X, y, sample_weight)
        coef = match_features(
            carried, getattr(self, "feature_names_in_", None), self.n_features_in_
        )
        coef, intercept = self._match_outputs(coef, carried)
        self.source_coef_, self.source_intercept_ = self._fitted_form(coef, intercept)
        if labels is not None:
            alpha = getattr(self, "alpha", None)  # None is to be chosen by cross-validation
            coef, intercept = self._solve(rows, labels, weights, coef, intercept, alpha)
        self.coef_, self.intercept_ = self._fitted_form(coef, intercept)

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

        With ``alpha=None`` cross-validation chooses the strength. A :class:`Strength` gives the
        intercept a penalty of its own, with `penalize_intercept` True.

        Returns
        -------
        coef : ndarray of shape (k, n_features)
        intercept : ndarray of shape (k,)
        """

    @abstractmethod
    def _fitted_form(self, coef, intercept) -> tuple:
        """Return ``coef_`` and ``intercept_`` as scikit-learn shapes them."""

    def _strength_of_source(self):
        """Return the strength of the penalty on the source's own model."""
        return self.source_alpha

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

    def _labelled_target_rows(self, X_target, y_target, target_sample_weight, y):
        """Return what :func:`labelled_rows` does, of validated target rows."""
        if X_target is None:
            return None, None, None
        rows = check_target_rows(self, X_target, accept_sparse="csr", dtype=self._dtype(X_target))
        if is_classifier(self):
            compare_classes(y, y_target)
        rows, labels, weights = labelled_rows(rows, y_target, y, target_sample_weight)
        if rows is None:
            warn_without_labels(self, "is the model of the source")
        else:
            check_range(rows, "X_target")
            check_range(labels, "y_target")
        if weights is not None:
            check_range(weights, "target_sample_weight")
        return rows, labels, weights

    def _check_combinations(self) -> None:
        PENALTY_OR_AUTO.check("alpha", self.alpha)
        STRENGTH.check("source_alpha", self.source_alpha)

    def _dtype(self, X):
        return float_dtype(X) if self._array_api_support else np.float64

    def _validated(self, X):
        check_is_fitted(self)
        if self._array_api_support:
            check_place_of_fit(X, self, "coef_", "predict")
        return validate_data(self, X, accept_sparse="csr", dtype=self._dtype(X), reset=False)


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

    def _labelled_target_rows(self, *given):
        rows, labels, weights = super()._labelled_target_rows(*given)
        if rows is not None and self.source_alpha is None and _is_list_of_splits(self.cv):
            raise ValueError(
                "cv is a list of splits, which cannot fit the rows of both domains. Pass a "
                "splitter, or set source_alpha, so that only the target's rows are split."
            )
        return rows, labels, weights

    def _candidates(self) -> list:
        if self.alphas is None:
            return [*_DEFAULT_ALPHAS, np.inf]
        try:
            return list(self.alphas)
        except TypeError:
            raise ValueError(f"alphas={self.alphas!r} is not a list of candidates.") from None

    def _solve(self, X, y, sample_weight, coef, intercept, alpha):
        if alpha is None:
            alphas = self._candidates()
            alpha = self._choose(X, y, sample_weight, coef, intercept, alphas)
        elif alpha is _TO_BE_CHOSEN:  # for a source, whose own source would be nothing at all
            alphas = [alpha for alpha in self._candidates() if not _is_infinite(alpha)]
            if not alphas:
                raise ValueError(
                    f"alphas={self.alphas!r} holds no finite candidate for the source's own model. "
                    "Pass one, or source_alpha."
                )
            alpha = self._choose(X, y, sample_weight, coef, intercept, alphas)
        return super()._solve(X, y, sample_weight, coef, intercept, alpha)

    def _strength_of_source(self):
        return _TO_BE_CHOSEN if self.source_alpha is None else self.source_alpha

    def _choose(self, X, y, sample_weight, coef, intercept, alphas):
        folds = self._folds(X, y, sample_weight)
        scores = np.empty((len(alphas), len(folds)))
        models = self._fold_models(X, y, sample_weight, folds, coef, intercept, alphas)
        for fold, ((_, test), (coefs, intercepts)) in enumerate(zip(folds, models, strict=True)):
            weights = None if sample_weight is None else sample_weight[test]
            if weights is not None and not weights.any():
                scores[:, fold] = np.nan
                continue
            quick = self._quick_scores(rows_at(X, test), y[test], weights, coefs, intercepts)
            if quick is None:
                quick = self._scores(rows_at(X, test), y[test], weights, coefs, intercepts)
            scores[:, fold] = quick
        self.cv_scores_ = moved_to(X, scores)
        scored = ~np.isnan(scores).all(axis=0)
        mean = scores[:, scored].mean(axis=1) if scored.any() else np.full(len(scores), np.nan)
        if np.isnan(mean).all():
            raise ValueError(
                f"scoring={self.scoring!r} gives no number on any fold. Choose another one."
            )
        best = len(mean) - 1 - int(np.nanargmax(mean[::-1]))
        self.alpha_ = alphas[best]
        source = next((i for i, alpha in enumerate(alphas) if _is_infinite(alpha)), None)
        if source is not None:
            # What the source's model loses by may be noise: then the task has taught nothing.
            of_best = scores[best, scored]
            error = np.std(of_best, ddof=1) / np.sqrt(len(of_best)) if len(of_best) > 1 else np.inf
            if mean[source] >= mean[best] - error:
                self.alpha_ = alphas[source]
        return self.alpha_

    def _folds(self, X, y, sample_weight) -> list:
        if len(y) < 2:
            raise ValueError(
                f"alpha cannot be chosen by cross-validation on n_samples = {len(y)}. Pass more, "
                f"or choose alpha yourself with {type(self).__name__.removesuffix('CV')}."
            )
        is_classifier = hasattr(self, "classes_")
        cv = _default_folds(y, is_classifier=is_classifier) if self.cv is None else self.cv
        folds = list(check_cv(cv, y, classifier=is_classifier).split(X, y))
        if not folds:
            raise ValueError("cv has no folds. Pass a list, because a generator serves once.")
        if sample_weight is not None:
            folds = [fold for fold in folds if sample_weight[fold[0]].any()]  # can be fitted
        if not folds:
            raise ValueError(
                "sample_weight is 0 for all rows that a fold of cv would be fitted on. Leave rows "
                "of weight 0 out, or choose alpha yourself."
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
            stand_in.coef_, stand_in.intercept_ = moved_to(X, self._fitted_form(coef, intercept))
            scores.append(scorer(stand_in, X, y, **keywords))
        return scores


def strength_of_slopes(
    X, residual, variance, curvature, sample_weight, largest_change=np.inf
) -> np.ndarray:
    """Return the penalty on coefficients that suits the residuals of the source's model.

    It is the variance of the noise over the estimated variance of the change, see
    :mod:`skltransfer._solvers._prior_variance`.

    Parameters
    ----------
    X : array or CSR matrix of shape (n, d)
    residual : ndarray of shape (n, k)
        Derivatives of the loss by the scores, with the other sign.
    variance : ndarray of shape (g,)
        Variance of the noise: for each output, or one number, if outputs share their penalty.
    curvature : ndarray of shape (n, k)
        Second derivative of the loss.
    sample_weight : ndarray of shape (n,) or None
    largest_change : float, default=inf
        Largest standard deviation of the change of a score, on average over the samples.

    Returns
    -------
    alpha : ndarray of shape (g,)
        Infinite where nothing shows a change.
    """
    residual, curvature, weights, used = _looked_at(residual, curvature, sample_weight)
    X = rows_at(X, used)
    X = X if sparse.issparse(X) else in_float64(X)
    rows = design_rows(X, column_means(X, weights), has_ones=False)
    exponent = -np.frexp(rows.sizes().max(initial=0.0))[1]
    unit = float(np.ldexp(1.0, int(exponent)))
    rows = rows.scaled(np.full(X.shape[1], exponent))
    gram = rows.gram(np.ones(len(used)), of_samples=True)[0]
    residual = residual - np.average(residual, axis=0, weights=weights)
    alpha = _penalties(gram, residual, variance, curvature, weights)
    spread = np.average(gram.diagonal(), weights=weights)
    return np.maximum(alpha, spread / largest_change**2) * unit**-2


def strength_of_intercepts(residual, variance, curvature, sample_weight) -> np.ndarray:
    """Return the penalty on intercepts, like :func:`strength_of_slopes`, shape (g,)."""
    residual, curvature, weights, used = _looked_at(residual, curvature, sample_weight)
    ones = np.ones((len(used), len(used)))
    return _penalties(ones, residual, variance, curvature, weights)


def _looked_at(residual, curvature, sample_weight):
    weights = np.ones(len(residual)) if sample_weight is None else sample_weight
    used = np.flatnonzero(weights > 0)
    used = used[looked_at(len(used))]
    return residual[used], curvature[used], weights[used], used


def _penalties(gram, residual, variance, curvature, weights):
    groups = (np.split(values, len(variance), axis=1) for values in (residual, curvature))
    change = [variance_of_change(gram, r, v, weights) for r, v in zip(*groups, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        alpha = np.asarray(variance) / np.array(change)
    alpha[np.isnan(alpha)] = np.inf  # without noise and change there is nothing to learn
    return alpha


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


def check_range(values, name: str) -> None:
    """Raise a ValueError if a number is too large for its square to be represented.

    Parameters
    ----------
    values : array or sparse matrix
        Finite numbers; labels of other kinds are left alone.
    name : str
        Argument that holds them.
    """
    data = values.data if sparse.issparse(values) else values
    if isinstance(data, np.ndarray) and not (data.dtype.kind == "f" and data.size):
        return
    xp = namespace_of(data)
    if max(float(xp.max(data)), -float(xp.min(data))) > LARGEST_NUMBER:
        raise ValueError(
            f"{name} holds numbers beyond {LARGEST_NUMBER:g} in absolute value, whose squares "
            f"float64 cannot hold. Scale the columns of {name}."
        )


def check_finite_fit(*results) -> None:
    """Raise a ValueError if a fitted number is not finite."""
    if not all(np.isfinite(result).all() for result in results):
        raise ValueError(
            "The coefficients that fit X and y lie beyond the range of float64. Scale the columns "
            "of X, and y."
        )


def check_finite_scores(scores: np.ndarray) -> None:
    """Raise a ValueError if the carried model gives samples scores that are not finite."""
    if not np.isfinite(scores).all():
        raise ValueError(
            "The coefficients of source give rows of X scores beyond the range of float64. Scale "
            "the columns of X as for the source."
        )


def _is_infinite(alpha) -> bool:
    return np.ndim(alpha) == 0 and np.isinf(alpha)


def _is_list_of_splits(cv) -> bool:
    return cv is not None and not isinstance(cv, Real) and not hasattr(cv, "split")


def _default_folds(y, *, is_classifier: bool):
    """Return five folds, or as many as the rows (of the rarest class) allow."""
    if is_classifier and type_of_target(y) in ("binary", "multiclass"):
        rarest = np.unique(y, return_counts=True)[1].min()
        if rarest >= 2:
            return StratifiedKFold(min(_MOST_FOLDS, rarest))
    return KFold(min(_MOST_FOLDS, len(y)))
