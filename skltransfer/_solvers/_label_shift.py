"""Ratios of class priors between domains, from the predictions of a classifier.

``C[i, j]`` is the share of the source rows that are predicted as class ``i`` and are of class
``j``; ``mu[i]`` is the share of the target rows that are predicted as ``i``; ``w[j]`` is the ratio
``p_target(j) / p_source(j)``. Where labels alone shift, ``C w = mu``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar, nnls

from skltransfer._solvers._kliep import solve_kliep


class PriorRatio(NamedTuple):
    """Ratios, with the linear map from which their standard errors follow.

    Attributes
    ----------
    ratio : ndarray of shape (n_classes,)
        At least 0, and ``p_source @ ratio`` is 1.
    inverse : ndarray of shape (n_classes, n_classes)
        Linear map from ``mu`` to the ratio, apart from the bound at 0.
    """

    ratio: np.ndarray
    inverse: np.ndarray


def solve_bbse(C, mu) -> PriorRatio:
    """Black-box shift estimation (Lipton et al. 2018): solve ``C w = mu``.

    If `C` is singular, `w` is the solution nearest to 1. Negative ratios become 0.
    """
    inverse = np.linalg.pinv(C)
    w = np.maximum(1 + inverse @ (mu - C.sum(axis=1)), 0)
    return PriorRatio(_normalised(w, C), inverse)


def solve_rlls(C, mu, rho: float) -> PriorRatio:
    """Regularised estimation (Azizzadenesheli et al. 2019).

    Minimises ``|C (1 + theta) - mu| + rho |theta|``, norms not squared, over ``theta >= -1``. The
    minimum lies on the path of ridge solutions, along which the objective has one valley: a convex
    function on the frontier of the two norms.
    """
    identity = np.eye(len(C))

    def theta(penalty):
        system = np.vstack([C, np.sqrt(penalty) * identity])
        return nnls(system, np.append(mu, np.full(len(C), np.sqrt(penalty))))[0] - 1

    def objective(t):
        return np.linalg.norm(C @ (1 + t) - mu) + rho * np.linalg.norm(t)

    penalties = [0.0]
    if rho > 0:
        scale = np.linalg.norm(C, 2) ** 2

        def along_the_path(exponent):
            return objective(theta(scale * np.exp(exponent)))

        grid = np.linspace(-40, 20, 61)
        start = grid[np.argmin([along_the_path(exponent) for exponent in grid])]
        best = minimize_scalar(
            along_the_path, bounds=(start - 1, start + 1), method="bounded",
            options={"xatol": 1e-9},
        )  # fmt: skip
        penalties += [scale * np.exp(best.x)]
    solutions = [(theta(penalty), penalty) for penalty in penalties]
    if rho > 0:
        solutions.append((np.zeros(len(C)), np.inf))
    t, penalty = min(solutions, key=lambda solution: objective(solution[0]))
    if np.isinf(penalty):
        inverse = np.zeros_like(C)
    else:
        inverse = np.linalg.pinv(C.T @ C + penalty * identity) @ C.T
    return PriorRatio(_normalised(1 + t, C), inverse)


def rlls_error_bound(n_classes: int, n_rows: float, delta: float = 0.05) -> float:
    """Return the bound that the error of `C` exceeds with probability `delta` (the same paper)."""
    log_term = 2 * np.log(2 * n_classes / delta)
    return float(3 * (log_term / (3 * n_rows) + np.sqrt(log_term / n_rows)))


def solve_em(
    p_target, p_source, *, weights=None, max_iter: int, tol: float
) -> tuple[np.ndarray, float, int]:
    """Maximise the likelihood of the target rows over its class priors (Saerens et al. 2002).

    ``mean_t log sum_c pi_c p_target[t, c] / p_source_c`` is the likelihood of a mixture of known
    densities, as in KLIEP. Newton's method finds in a few steps the maximum for which
    expectation maximisation needs thousands of rounds where classes overlap.

    Parameters
    ----------
    p_target : ndarray of shape (n, n_classes)
        Probabilities under the source's priors.
    p_source : ndarray of shape (n_classes,)
        The source's priors, above 0.
    weights : ndarray of shape (n,), default=None
        Weight of each target row, above 0. ``None`` is 1.
    max_iter : int
        Largest number of Newton steps.
    tol : float
        Largest distance of the mean log-likelihood from its maximum.

    Returns
    -------
    prior : ndarray of shape (n_classes,)
        The target's priors.
    gap : float
        Certified bound on that distance.
    n_iter : int
        At least 1.
    """
    with np.errstate(divide="ignore"):
        log_likelihood = np.log(p_target / p_source)
    solution = solve_kliep(log_likelihood, weights=weights, tol=tol, max_iter=max_iter)
    return solution.mixture, solution.gap, max(solution.n_iter, 1)


def bbse_covariance(inverse, ratio, source_counts, target_covariance) -> np.ndarray:
    """Return the covariance of the solution of ``C w = mu``, by the delta method.

    Parameters
    ----------
    inverse : ndarray of shape (n_classes, n_classes)
        Inverse of `C`, or its replacement in a regularised solution.
    ratio : ndarray of shape (n_classes,)
    source_counts : ndarray of shape (n_classes, n_classes)
        Number of source rows for each prediction and class.
    target_covariance : ndarray of shape (n_classes, n_classes)
        Covariance of ``mu``.
    """
    n = source_counts.sum()
    weighted = source_counts @ ratio / n  # mean over source rows of w(y) e(prediction)
    second = np.diag(source_counts @ ratio**2 / n)
    noise = target_covariance + (second - np.outer(weighted, weighted)) / n
    return inverse @ noise @ inverse.T


def _normalised(w, C) -> np.ndarray:
    return w / (C.sum(axis=0) @ w)
