"""What the linear estimators share: where the source's model comes from, and what is penalised."""

from __future__ import annotations

import warnings
from abc import ABCMeta, abstractmethod
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skltransfer.domains._by_reference import HoldsByReference
from skltransfer.domains._data import (
    DomainDataWarning,
    check_target_rows,
    known_labels,
    unwrap,
)
from skltransfer.parameter._source import LinearModel, match_features, read_source


class LinearTransfer(HoldsByReference, BaseEstimator, metaclass=ABCMeta):
    """Fit a linear model near one that was learned elsewhere.

    A subclass says how labels are coded and how the coefficients are found.
    """

    __metadata_request__fit = {"X_target": True, "y_target": True}

    _held = ("source",)

    def fit(self, X, y, sample_weight=None, *, X_target=None, y_target=None):
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the task, or, if `source` is None, source rows.
        y : array-like of shape (n_samples,)
            Their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of these rows; a row of ``X_target`` weighs 1.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Rows of the task. Only if `source` is None: the source's model is then learned from
            ``X, y`` first.
        y_target : array-like of shape (n_target_samples,), default=None
            What is known of their labels; ``NaN`` (or ``None`` or ``pandas.NA`` in arrays of
            objects) marks a missing one. If none is known, the model is that of the source, with
            a :class:`~skltransfer.DomainDataWarning`.

        Returns
        -------
        self : estimator
        """
        X_target, y_target = unwrap(X_target), unwrap(y_target)
        for name in ("alpha_", "cv_scores_", "n_iter_"):  # of an earlier fit
            self.__dict__.pop(name, None)
        self._check_parameters()
        self._check_keywords(X_target, y_target)
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
            coef, intercept = self._solve(
                rows, labels, sample_weight, coef, intercept, self._alpha_of_task()
            )
        self.coef_, self.intercept_ = self._fitted_form(coef, intercept)
        return self

    # --- what a subclass says ----------------------------------------------------------

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

        With ``alpha=None`` it is chosen by cross-validation.

        Returns
        -------
        coef : ndarray of shape (k, n_features)
        intercept : ndarray of shape (k,)
        """

    @abstractmethod
    def _fitted_form(self, coef, intercept) -> tuple:
        """Return ``coef_`` and ``intercept_`` as scikit-learn shapes them."""

    def _alpha_of_task(self):
        return self.alpha

    # --- validation --------------------------------------------------------------------

    def _check_keywords(self, X_target, y_target) -> None:
        name = type(self).__name__
        if self.source is not None:
            if X_target is not None or y_target is not None:
                raise ValueError(
                    f"X_target was given to a {name} with source=. With a source, X and y are the "
                    "rows of the task: pass those alone, or leave source out to learn it from X, y."
                )
            return
        if X_target is None and y_target is not None:
            raise ValueError("y_target was given without X_target. Pass the target's rows too.")
        if X_target is None:
            warnings.warn(
                f"{name} was given neither source nor X_target: it is fitted on X, y alone, with "
                "source_alpha. Set source=, pass X_target=... and y_target=... to fit, or put "
                f"WithTarget or WithSource, with data, around {name} or its pipeline.",
                DomainDataWarning,
                stacklevel=3,
            )

    def _labelled_target_rows(self, X_target, y_target, y):
        """Return the target rows whose label is known, and the labels; None, None for no row."""
        if X_target is None:
            return None, None
        rows = check_target_rows(self, X_target)
        known, labels = known_labels(y_target, X_target, y)
        if not known.any():
            warnings.warn(
                f"{type(self).__name__} was given no label of a target row: the model is that of "
                "the source. Pass y_target=... with at least one known label.",
                DomainDataWarning,
                stacklevel=3,
            )
            return None, None
        return _safe_indexing(rows, np.flatnonzero(known)), labels

    def _check_parameters(self) -> None:
        check_penalty(self.alpha, "alpha")
        check_penalty(self.source_alpha, "source_alpha", is_scalar=True)

    def _validated(self, X) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)


def check_penalty(alpha, name: str, *, is_scalar: bool = False) -> None:
    """Raise a ValueError unless `alpha` is a number (or an array of numbers) of at least 0."""
    is_number = isinstance(alpha, Real) and not isinstance(alpha, bool)
    if is_scalar and not is_number:
        raise ValueError(f"{name}={alpha!r} is not a number of at least 0.")
    try:
        values = np.asarray(alpha, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array(np.nan)
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError(
            f"{name}={alpha!r} is neither a number of at least 0 nor an array of such numbers."
        )


def penalty_on_coefficients(alpha, n_outputs: int, n_features: int) -> np.ndarray:
    """Return the penalty on each coefficient, shape (n_outputs, n_features)."""
    alpha = np.asarray(alpha, dtype=np.float64)
    try:
        return np.broadcast_to(alpha, (n_outputs, n_features))
    except ValueError:
        raise ValueError(
            f"alpha has shape {alpha.shape}, and the coefficients ({n_outputs}, {n_features}). "
            "Pass a number, one for each feature as shape (n_features,), or one for each output or "
            "class as shape (n_outputs, 1)."
        ) from None
