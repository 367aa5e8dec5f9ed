"""Least-squares density ratios in closed form, and their exact leave-one-out scores.

Kanamori, Hido and Sugiyama, "A least-squares approach to direct importance estimation", JMLR 10,
2009 (uLSIF, ``alpha = 0``), and Yamada, Suzuki, Kanamori, Hachiya and Sugiyama, "Relative density-
ratio estimation for robust distribution comparison", Neural Computation 25, 2013 (RuLSIF)::

    theta = max(0, (H + reg I)^-1 h),   H = (1 - alpha) S'S / n + alpha T'T / m,   h = mean_j t_j

with ``s_i`` and ``t_j`` the kernels of a source and a target row on the centres.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.linalg.blas import dsyrk

from skltransfer._blas import threads_by, threads_for_product

# Pairs whose left-out solutions are held at a time.
_BLOCK_PAIRS = 256
# More units of weight than this are not told apart.
_MOST_UNITS = 1e9


class Pairs(NamedTuple):
    """Units of weight of both domains that are left out together, in turn."""

    source: np.ndarray  # (n_pairs,), indices of rows
    target: np.ndarray  # (n_pairs,), indices of rows
    mass: np.ndarray  # (n_pairs,), weight that is left out of the source row
    target_mass: np.ndarray  # (n_pairs,), weight left out of the target row, in mean units
    n_units: int  # units of weight of the whole source
    n_target_units: int


def draw_pairs(weights: np.ndarray, target_weights: np.ndarray, rng) -> Pairs:
    """Pair units of source weight with units of target weight at random, each at most once.

    A row of weight 2 is two units, each of weight one, as two equal rows would be. The fractional
    rest of a weight is a unit of its own. If one side is longer, an even selection of it takes
    part.

    Parameters
    ----------
    weights : ndarray of shape (n,)
        Weights of the source rows, above 0.
    target_weights : ndarray of shape (m,)
        Weights of the target rows, above 0.
    rng : RandomState

    Returns
    -------
    pairs : Pairs
    """
    of_source, of_target = _Units(weights), _Units(target_weights)
    n_pairs = min(of_source.n, of_target.n)
    source, mass = of_source.rows(_evenly(of_source.n, n_pairs))
    order = rng.permutation(n_pairs)
    target, target_mass = of_target.rows(_evenly(of_target.n, n_pairs)[order])
    target_mass *= of_target.n / target_weights.sum()
    return Pairs(source, target, mass, target_mass, of_source.n, of_target.n)


class _Units:
    """Weights in units of one, and rests."""

    def __init__(self, weights: np.ndarray):
        self.scale = max(1.0, weights.sum() / _MOST_UNITS)
        self.weights = weights / self.scale
        self.last = np.cumsum(np.ceil(self.weights))
        self.n = int(self.last[-1])

    def rows(self, units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of some units, and the weights of the units."""
        rows = np.searchsorted(self.last, units, side="right")
        later = self.last[rows] - units
        mass = np.minimum(1.0, self.weights[rows] - (np.ceil(self.weights)[rows] - later))
        return rows, mass * self.scale


def _evenly(n: int, n_taken: int) -> np.ndarray:
    return ((2 * np.arange(n_taken) + 1) * n) // (2 * n_taken)


def second_moments(S: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the weighted mean of ``s_i s_i'``, shape (b, b)."""
    rows = S if weights is None else S * np.sqrt(weights)[:, None]
    scale = 1.0 / (len(S) if weights is None else weights.sum())
    with threads_for_product(S.shape[1], *S.shape):
        upper = dsyrk(scale, rows.T)
    return np.triu(upper) + np.triu(upper, 1).T


@threads_by(lambda H, *_, **__: H.size)
def solve_ulsif(H: np.ndarray, h: np.ndarray, reg: float) -> np.ndarray:
    """Return ``max(0, (H + reg I)^-1 h)``, shape (b,)."""
    ridged = H + reg * np.eye(len(H))
    return np.maximum(cho_solve(cho_factor(ridged), h), 0.0)


@threads_by(lambda S, *_, **__: S.shape[1] * max(S.shape[1], _BLOCK_PAIRS))
def leave_one_out_errors(
    S: np.ndarray,
    T: np.ndarray,
    source_moments: np.ndarray,
    target_moments: np.ndarray | None,
    h: np.ndarray,
    total_weight: float,
    pairs: Pairs,
    alpha: float,
    regs: np.ndarray,
) -> np.ndarray:
    """Return the mean squared error of each `reg` on the left-out rows, up to a constant.

    Leaving out a pair changes H by a matrix of rank two (one where ``alpha`` is 0), so that one
    eigendecomposition serves all pairs and all `regs`. Where all units have the same weight the
    result equals solving anew for each pair; otherwise H is scaled as if they had.

    Parameters
    ----------
    S : ndarray of shape (n, b)
        Kernels of the source rows on the centres.
    T : ndarray of shape (m, b)
        Kernels of the target rows.
    source_moments : ndarray of shape (b, b)
        Weighted mean of ``s_i s_i'``.
    target_moments : ndarray of shape (b, b) or None
        Weighted mean of ``t_j t_j'``; not used where `alpha` is 0.
    h : ndarray of shape (b,)
        Weighted mean of ``t_j``.
    total_weight : float
        Sum of the weights of the source rows.
    pairs : Pairs
        At least two units of either domain.
    alpha : float
        From 0 to below 1.
    regs : ndarray of shape (n_regs,)
        Above 0.

    Returns
    -------
    errors : ndarray of shape (n_regs,)
        ``mean_i [(1 - alpha) (s_i'theta_i)^2 / 2 + alpha (t_i'theta_i)^2 / 2 - t_i'theta_i]`` with
        ``theta_i`` found without the pair i; the terms are weighted. Lower is better.
    """
    m, n_units = pairs.n_target_units, pairs.n_units
    M = (1 - alpha) * n_units / (n_units - 1) * source_moments
    if alpha > 0:
        M = M + alpha * m / (m - 1) * target_moments
    e, V = eigh(M, check_finite=False)
    inverses = 1 / (np.maximum(e, 0.0)[:, None] + regs)  # rounding makes eigenvalues negative
    factor = np.sqrt((1 - alpha) * pairs.mass * n_units / (total_weight * (n_units - 1)))
    source_part, target_part = np.zeros(len(regs)), np.zeros(len(regs))
    for start in range(0, len(pairs.source), _BLOCK_PAIRS):
        block = slice(start, start + _BLOCK_PAIRS)
        s, t = S[pairs.source[block]], T[pairs.target[block]]
        mass = pairs.target_mass[block]
        rotated = t @ V  # in the basis of eigenvectors, as v, p and q are
        v = (m * (h @ V) - mass[:, None] * rotated) / (m - 1)
        p = (s @ V) * factor[block, None]
        q = rotated * np.sqrt(alpha * mass / (m - 1))[:, None] if alpha > 0 else None
        on_p, on_q = _coefficients(v, p, q, inverses)
        for k in range(len(regs)):
            left_out = p * on_p[:, k, None]
            left_out += v
            if q is not None:
                left_out += q * on_q[:, k, None]
            theta = left_out @ (V * inverses[:, k]).T
            np.maximum(theta, 0.0, out=theta)
            on_source, on_target = np.vecdot(s, theta), np.vecdot(t, theta)
            source_part[k] += pairs.mass[block] @ on_source**2
            target_part[k] += alpha / 2 * (mass * on_target) @ on_target - (mass * on_target).sum()
    source_part /= pairs.mass.sum()
    return (1 - alpha) / 2 * source_part + target_part / pairs.target_mass.sum()


def _coefficients(v, p, q, inverses):
    """Return a and b of ``(D^-1 - p p' - q q')^-1 v = D (v + a p + b q)``, ``D`` diagonal.

    For each row of `v`, `p` and `q` and each column of `inverses` (the diagonals of D), by the
    formula of Sherman, Morrison and Woodbury.
    """
    pv, pp = (p * v) @ inverses, (p * p) @ inverses
    if q is None:
        return pv / (1 - pp), None
    qv, qq, pq = ((q * other) @ inverses for other in (v, q, p))
    determinant = (1 - pp) * (1 - qq) - pq**2
    return ((1 - qq) * pv + pq * qv) / determinant, (pq * pv + (1 - pp) * qv) / determinant
