"""The base class of density ratios that are sums of Gaussian kernels."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from skltransfer._parameters import Count, Either, ListOf, Number
from skltransfer._solvers._kernel_choice import (
    center_gamma,
    draw_centers,
    squared_distances,
)
from skltransfer._solvers._kernel_width import spread_rows, warn_of_values
from skltransfer.instance._density_ratio import TOO_FAR_APART, DensityRatioReweighter
from skltransfer.instance._rows import counted_rows, in_one_form, lexicographic_order

# Candidates where the data decide, as multiples of the median's gamma.
GAMMA_FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)
POSITIVE = Number(0, np.inf, low_open=True, high_open=True)
# New rows whose kernels are held at a time.
_BLOCK_ROWS = 4096


class Distances(NamedTuple):
    """Squared distances of the samples of both domains to the centres."""

    source: np.ndarray  # (n_distinct, n_centers), of different source rows
    weights: np.ndarray  # (n_distinct,), of these, above 0
    target: np.ndarray  # (n_target_samples, n_centers), of the target rows, sorted
    target_weights: np.ndarray | None  # (n_target_samples,), of these, above 0; None: all 1
    center_rows: np.ndarray  # (n_centers,), which of the sorted target rows each centre is
    target_order: np.ndarray  # (n_target_samples,), which row as given each sorted one is


class KernelRatioReweighter(DensityRatioReweighter):
    """Estimate the ratio by ``sum_l coef_l exp(-gamma |x - c_l|^2)``, centred on target samples.

    A subclass finds the coefficients in `_fit_coefficients` and computes the ratio in
    `_of_distances` from distances to the centres.
    """

    _parameters = {
        "gamma": Either(POSITIVE, ListOf(POSITIVE), unset=("cv", "median")),
        "n_centers": Count(),
    }
    _compares_sparse_rows = True

    def _fit_ratio(self, rows, weights, target_rows, target_weights):
        rows, target_rows = in_one_form(rows, target_rows)
        distinct, counts, group = counted_rows(rows, weights)
        target_order = lexicographic_order(target_rows)
        target_rows = target_rows[target_order]
        target_weights = None if target_weights is None else target_weights[target_order]
        rng = check_random_state(self.random_state)
        center_rows = draw_centers(target_rows, self.n_centers, rng, target_weights)
        self.centers_ = target_rows[center_rows]
        self.gammas_ = self._candidates_of_gamma(distinct, counts, target_rows, target_weights)
        largest = float(self.gammas_.max())
        source, target = (
            squared_distances(part, self.centers_, largest) for part in (distinct, target_rows)
        )
        if not np.isfinite(largest * float(max(source.max(), target.max()))):
            raise ValueError(TOO_FAR_APART)
        distances = Distances(source, counts, target, target_weights, center_rows, target_order)
        self._fit_coefficients(distances, rng)
        self._warn_of_width(source, target, center_rows)
        return self._of_distances(source)[group]

    def _candidates_of_gamma(self, rows, weights, target_rows, target_weights) -> np.ndarray:
        if not isinstance(self.gamma, str):
            return np.atleast_1d(np.asarray(self.gamma, dtype=np.float64))
        factors = np.array(GAMMA_FACTORS if self.gamma == "cv" else (1.0,))
        return factors * center_gamma(rows, weights, target_rows, self.centers_, target_weights)

    def _ratio(self, rows):
        ratio = np.empty(rows.shape[0])
        for start in range(0, rows.shape[0], _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            with np.errstate(over="ignore"):  # beyond the largest number the ratio is 0 anyway
                ratio[block] = self._of_distances(
                    squared_distances(rows[block], self.centers_, self.gamma_)
                )
        return ratio

    def _warn_of_width(self, source, target, center_rows) -> None:
        seen = spread_rows(np.arange(len(target)))
        own = seen[:, None] == center_rows
        distances = [spread_rows(source), np.where(own, np.nan, target[seen])]
        distances = np.concatenate(distances)
        values = np.exp(-self.gamma_ * distances)
        warn_of_values(self, values, distances == 0, narrower="Raise gamma", wider="lower gamma")

    @abstractmethod
    def _fit_coefficients(self, distances: Distances, rng) -> None:
        """Choose among `gammas_` and find the coefficients."""

    @abstractmethod
    def _of_distances(self, distances) -> np.ndarray:
        """Return the ratio from squared distances to the centres, shape (n_samples,)."""


def best_candidate(scores: np.ndarray, *candidates: np.ndarray) -> tuple[int, ...]:
    """Return the position of the highest score, or of the middle candidates if there is no score.

    Parameters
    ----------
    scores : ndarray of shape (n_first, n_second, ...)
        Score of each combination of candidates; ``nan`` if it could not be computed.
    *candidates : ndarray of shape (n_first,), (n_second,), ...
        Values along each axis.
    """
    if np.isnan(scores).all():
        return tuple(int(np.argsort(values)[len(values) // 2]) for values in candidates)
    return np.unravel_index(np.nanargmax(scores), scores.shape)
