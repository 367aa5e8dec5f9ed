"""The base class of reweighters by a density ratio, with common scales and exponentials."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples, check_is_fitted

from skltransfer._solvers._sums import ordered_sum
from skltransfer.domains._data import check_target_rows
from skltransfer.instance._base import BaseReweighter, numeric_rows, only_numbers, unit_weights

TOO_FAR_APART = (
    "The distances between rows of X and X_target are too large. Scale the columns of both, for "
    "example by a StandardScaler in a step before."
)
# Beyond it exp overflows, or nearly so; sums of some such exponentials remain finite.
_LARGEST_LOG = 700.0


class DensityRatioReweighter(BaseReweighter):
    """Weigh source samples by an estimate of ``p_target(x) / p_source(x)``.

    A subclass learns the ratio in `_fit_ratio` and evaluates it in `_ratio`.
    """

    def density_ratio(self, X):
        """Return the estimate of ``p_target(x) / p_source(x)`` at any samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples of either domain.

        Returns
        -------
        ratio : ndarray of shape (n_samples,)
            Estimated ratio, at least 0. It is 1 throughout if `fit` was given no target samples. It
            is not normalised, unlike `sample_weight_`, which keeps the sum of the weights.
        """
        check_is_fitted(self, "sample_weight_")
        rows = self._checked_rows(X, reset=False)
        return self._ratio(rows) if self._is_adapted else np.ones(_num_samples(rows))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner_takes_sparse = self.estimator is None or tags.input_tags.sparse
        tags = only_numbers(tags)
        tags.input_tags.sparse = self._compares_sparse_rows and inner_takes_sparse
        return tags

    # Whether the ratio is computed from sparse rows too.
    _compares_sparse_rows = False

    def _input_checks(self) -> dict:
        """Return settings of scikit-learn's ``check_array`` for the samples of both domains."""
        return {"accept_sparse": "csr" if self._compares_sparse_rows else False}

    def _checked_rows(self, X, *, reset: bool = True):
        """Return validated samples, of the source or new ones."""
        return numeric_rows(self, X, reset=reset, **self._input_checks())

    def _checked_target_rows(self, X_target):
        """Return validated samples of the target, after those of the source."""
        return check_target_rows(self, X_target, **self._input_checks())

    def _weigh(self, X, y, sample_weight, X_target, target_sample_weight):
        rows = self._checked_rows(X)
        weights = unit_weights(rows, sample_weight)
        self._is_adapted = X_target is not None
        if not self._is_adapted:
            return weights
        used = weights > 0  # a sample of weight 0 is not seen
        target_rows = self._checked_target_rows(X_target)
        ratio = self._fit_ratio(
            _safe_indexing(rows, used), weights[used], target_rows, target_sample_weight
        )
        product = np.zeros(len(weights))
        product[used] = weights[used] * ratio
        total = ordered_sum(product)
        if not (np.isfinite(total) and total > 0):
            raise ValueError(
                f"{type(self).__name__} finds no row of X that resembles X_target: all weights are "
                f"0. {self._remedy_of_no_overlap()} Or scale the columns of both, and check that "
                "they have the same units."
            )
        return product * (ordered_sum(weights) / total)

    @abstractmethod
    def _fit_ratio(self, rows, weights, target_rows, target_weights) -> np.ndarray:
        """Learn the ratio, and return it at the source samples.

        Parameters
        ----------
        rows : ndarray of shape (n_samples, n_features)
            Source samples.
        weights : ndarray of shape (n_samples,)
            Their weights, above 0. A sample of weight 2 counts as two equal samples.
        target_rows : ndarray of shape (n_target_samples, n_features)
            Target samples.
        target_weights : ndarray of shape (n_target_samples,), or None
            Their weights, above 0. None weighs each by 1.

        Returns
        -------
        ratio : ndarray of shape (n_samples,)
            At least 0; not normalised.
        """

    def _remedy_of_no_overlap(self) -> str:
        """Return the setting to change, in a sentence, if no source sample has weight."""
        return "Choose a smaller gamma."

    @abstractmethod
    def _ratio(self, rows) -> np.ndarray:
        """Return the ratio at any samples, shape (n_samples,)."""


def within_scale(rows, counts, target_rows, target_counts) -> tuple[np.ndarray, np.ndarray]:
    """Return a centre and a scale for each feature.

    The scale is the root of the mean of the variances of the two domains, so that a distance
    *between* the domains does not widen it. It is 1 for a feature that is constant in both domains,
    or what rounding changes in it, if that is more.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Source samples, whose mean is the centre.
    counts : ndarray of shape (n_samples,)
        Weight of each source sample.
    target_rows, target_counts : ndarrays
        Target samples and their weights.

    Returns
    -------
    center, scale : ndarray of shape (n_features,)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        center, variance = _mean_and_variance(rows, counts)
        _, target_variance = _mean_and_variance(target_rows, target_counts)
        scale = np.sqrt((variance + target_variance) / 2)
    if not np.isfinite(scale).all():
        column = np.flatnonzero(~np.isfinite(scale))[0]
        raise ValueError(
            f"The variance of column {column} is not finite. Scale the columns of X and X_target."
        )
    largest = np.maximum(np.abs(rows).max(axis=0), np.abs(target_rows).max(axis=0))
    rounding = 10 * np.finfo(float).eps * largest
    return center, np.where(scale <= rounding, np.maximum(1.0, rounding), scale)


def _mean_and_variance(rows, counts):
    mean = np.average(rows, axis=0, weights=counts)
    return mean, np.average((rows - mean) ** 2, axis=0, weights=counts)


def finite_exp(log_ratio: np.ndarray) -> np.ndarray:
    """Return ``exp`` of logarithms, cut off so that it is finite throughout."""
    return np.exp(np.minimum(log_ratio, _LARGEST_LOG))


def relative_exp(log_ratio: np.ndarray) -> np.ndarray:
    """Return ``exp`` of logarithms divided by the largest value, for weights to be normalised."""
    largest = log_ratio.max()
    return np.exp(log_ratio - largest) if np.isfinite(largest) else np.exp(log_ratio)
