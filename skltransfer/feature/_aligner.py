"""Base classes of aligners: learn from the samples of two domains, map each by its own map."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Self

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import (
    _num_samples,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from skltransfer._arrays import check_one_place, check_place_of_fit, copy_of, float_dtype
from skltransfer._documentation import DocumentedEstimator
from skltransfer._parameters import check_parameters
from skltransfer.domains._data import (
    as_labels,
    check_dense,
    check_no_missing_labels,
    check_target_rows,
)
from skltransfer.domains._refit import fits_anew
from skltransfer.domains._two_domains import given_target, warn_without_target


class BaseAligner(TransformerMixin, DocumentedEstimator, metaclass=ABCMeta):
    """Bring the samples of two domains into one space.

    `fit` takes source samples and, as ``X_target``, target samples. `fit_transform` returns the
    mapped source samples; `transform` maps target samples, and `transform_source` source samples.

    A subclass learns its maps in `_align`, and maps samples in `_map_source` and `_map_target`.
    """

    __metadata_request__fit = {"X_target": True}

    _min_samples: int = 1  # of each domain in fit
    _accept_sparse: str | bool = False
    # An attribute that lies in the library and on the device of the fitted samples; None where only
    # numpy's arrays can be aligned.
    _fitted_array: str | None = None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.array_api_support = self._fitted_array is not None
        return tags

    def fit(self, X, y=None, *, X_target=None) -> Self:
        """Learn the maps of both domains.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples.
        y : None
            Ignored.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples. Without them nothing is aligned, and a
            :class:`~skltransfer.DomainDataWarning` is issued.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a parameter or the data are invalid; the message names the remedy.
        """
        self._fit(X, y, X_target, None)
        return self

    def fit_transform(self, X, y=None, *, X_target=None):
        """Learn the maps of both domains, and return the mapped source samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples.
        y : None
            Ignored.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
        """
        return self._fit_transform(X, y, X_target, None)

    def transform(self, X):
        """Map target samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
        """
        return self._map_target(self._checked(X))

    def transform_source(self, X):
        """Map source samples by the map learned in `fit`.

        Samples that were given to `fit` are mapped as by `fit_transform`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
            Array, or the container chosen by ``set_output``.
        """
        mapped = self._map_source(self._checked(X, "transform_source"))
        return _wrap_data_with_container("transform", mapped, X, self)

    @fits_anew
    def _fit(self, X, y, X_target, y_target) -> tuple[np.ndarray, np.ndarray | None]:
        """Fit, and return the validated source rows, and those mapped if that came for free."""
        check_parameters(self)
        X_target, y_target = given_target(X_target, y_target)
        if not self._accept_sparse:
            check_dense(self, X, "X")
            check_dense(self, X_target, "X_target")
        checks = {"accept_sparse": self._accept_sparse, "ensure_min_samples": self._min_samples}
        checks["dtype"] = self._dtype(X)
        check_one_place(X, X_target)
        X = validate_data(self, X, **checks)
        if X_target is None:
            warn_without_target(self, "aligns nothing")
        else:
            if 0 < (n_rows := _num_samples(X_target)) < self._min_samples:
                raise ValueError(
                    f"X_target has {n_rows} row(s), and {type(self).__name__} needs at least "
                    f"{self._min_samples}. Pass more rows of the target."
                )
            X_target = check_target_rows(self, X_target, **checks)
        return X, self._align(X, y, X_target, y_target)

    @fits_anew
    def _fit_transform(self, X, y, X_target, y_target) -> np.ndarray:
        rows, mapped = self._fit(X, y, X_target, y_target)
        return self._map_source(rows) if mapped is None else mapped

    def _dtype(self, X):
        return np.float64 if self._fitted_array is None else float_dtype(X)

    def _checked(self, X, method: str = "transform"):
        """Return rows that are to be mapped as scikit-learn validates them."""
        check_is_fitted(self)
        if self._fitted_array is not None:
            check_place_of_fit(X, self, self._fitted_array, method)
        if not self._accept_sparse:
            check_dense(self, X, "X")
        return validate_data(
            self, X, dtype=self._dtype(X), accept_sparse=self._accept_sparse, reset=False
        )

    @abstractmethod
    def _align(self, X, y, X_target, y_target) -> np.ndarray | None:
        """Learn the maps from validated rows; `X_target` is None where nothing is to be aligned.

        Return the mapped source rows where they come for free, else None.
        """

    @abstractmethod
    def _map_source(self, X: np.ndarray) -> np.ndarray:
        """Map source rows."""

    def _map_target(self, X: np.ndarray) -> np.ndarray:
        """Map target rows; they stay as they are unless a subclass moves them."""
        return copy_of(X)


class LabelledAligner(BaseAligner):
    """An aligner that uses labels of the source, and known labels of the target."""

    __metadata_request__fit = {"X_target": True, "y_target": True}

    def fit(self, X, y=None, *, X_target=None, y_target=None) -> Self:
        """Learn the maps of both domains.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples.
        y : array-like of shape (n_samples,), default=None
            Source labels, if the method uses them.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples. Without them nothing is aligned, and a
            :class:`~skltransfer.DomainDataWarning` is issued.
        y_target : array-like of shape (n_target_samples,), default=None
            Target labels. ``NaN``, or ``None`` or ``pandas.NA`` in arrays of objects, marks an
            unknown one.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a parameter or the data are invalid; the message names the remedy.
        """
        self._fit(X, y, X_target, y_target)
        return self

    def fit_transform(self, X, y=None, *, X_target=None, y_target=None):
        """Learn the maps of both domains, and return the mapped source samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Source samples.
        y : array-like of shape (n_samples,), default=None
            Source labels, if the method uses them.
        X_target : array-like of shape (n_target_samples, n_features), default=None
            Target samples.
        y_target : array-like of shape (n_target_samples,), default=None
            Target labels, of which some may be unknown.

        Returns
        -------
        X_new : ndarray of shape (n_samples, n_features_out)
        """
        return self._fit_transform(X, y, X_target, y_target)


def source_labels(y, X) -> np.ndarray:
    """Return the labels of the source rows, all known, as an array of shape (n_samples,)."""
    check_no_missing_labels(y)
    y = as_labels(y)
    y = column_or_1d(np.array(y.tolist()) if y.dtype.kind == "O" else y, warn=True)
    check_consistent_length(X, y)
    return y


def class_numbers(labels, classes) -> np.ndarray:
    """Return the position of each label among the sorted classes, -1 for others."""
    if len(labels) == 0:
        return np.empty(0, dtype=int)
    positions = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    return np.where(classes[positions] == labels, positions, -1)
