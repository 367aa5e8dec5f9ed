"""The quadratic programme of kernel mean matching, solved exactly and with a certificate.

Huang, Smola, Gretton, Borgwardt and Schoelkopf, "Correcting Sample Selection Bias by Unlabeled
Data", NIPS 2006, equation (12), for rows that may count more than once::

    minimise    f(b) = 1/2 b'Kb - kappa'b
    subject to  0 <= b <= upper,   lower_sum <= sum(b) <= upper_sum

Three methods take turns until one has a certificate: column generation, which needs only the
columns of K that matter, and, on a whole matrix, block pivoting and an interior-point method.
"""

from __future__ import annotations

import numpy as np

from skltransfer._solvers._kernels import KernelMatrix
from skltransfer._solvers._kmm_certificate import (
    Best,
    KMMProblem,
    KMMSolution,
    smallest_scale,
)
from skltransfer._solvers._kmm_columns import generate_columns
from skltransfer._solvers._kmm_dense import StoredMatrix, solve_dense

# Largest number of rows for which the whole matrix is computed.
LARGEST_MATRIX = 2000
# Largest number of rows for which solving for all of them is faster than growing a working set.
_FEW_ROWS = 600
# Rows on which a guess is tried if the whole matrix is not computed.
_TRIED_ROWS = 32


def solve_kmm(
    K, kappa, upper, lower_sum, upper_sum, *, guess=None, kappa_error=0.0, tol=1e-6, max_iter=500
) -> KMMSolution:
    """Minimise ``1/2 b'Kb - kappa'b`` over a box and bounds on the sum.

    Parameters
    ----------
    K : ndarray of shape (n, n) or KernelMatrix
        Symmetric and positive semi-definite. Of kernel values that are computed when asked for,
        no n x n matrix is formed unless n is at most `LARGEST_MATRIX`.
    kappa : ndarray of shape (n,)
    upper : ndarray of shape (n,)
        Upper bounds, all positive. Their sum is at least `lower_sum`.
    lower_sum, upper_sum : float
        Bounds on the sum.
    guess : ndarray of shape (n,), default=None
        Feasible point that may be the solution, and is tried first.
    kappa_error : float or ndarray of shape (n,), default=0.0
        Bound on the rounding of `kappa`, which the gap accounts for.
    tol : float, default=1e-6
        Relative gap at which a solution counts as certified.
    max_iter : int, default=500
        Largest number of pivoting steps, and of interior-point steps, for each working set.

    Returns
    -------
    KMMSolution
        Its `gap` is at most `tol` where the solution is certified.
    """
    # No weight exceeds the sum: where `upper` allows more, nothing but rounding would come of it.
    n = len(kappa)
    upper = np.minimum(upper, max(upper_sum, np.finfo(float).tiny))
    if isinstance(K, KernelMatrix):
        rows = StoredMatrix(K.matrix()) if n <= LARGEST_MATRIX else K
    else:
        rows = StoredMatrix(K)
    problem = KMMProblem(rows, kappa, upper, lower_sum, upper_sum, kappa_error)
    best = Best(problem, smallest_scale(rows.diagonal()))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # offers of no use
        n_iter = 0
        if guess is not None and _may_be_optimal(problem, guess, tol):
            best.offer(guess, rows.product(np.arange(n), guess))
        for method in _portfolio(problem):
            if not best.gap <= tol:
                n_iter += method(problem, tol, max_iter, best)
    return best.solution(n_iter)


def _portfolio(problem: KMMProblem):
    """Return the methods in the order in which they are tried."""
    if not isinstance(problem.K, StoredMatrix):
        return (generate_columns,)
    if len(problem.kappa) <= _FEW_ROWS:
        return (_solve_matrix, generate_columns)
    return (generate_columns, _solve_matrix)


def _solve_matrix(problem: KMMProblem, tol: float, max_iter: int, best: Best) -> int:
    return solve_dense(problem._replace(K=problem.K.K), tol, max_iter, best)


def _may_be_optimal(problem: KMMProblem, guess: np.ndarray, tol: float) -> bool:
    """Tell whether the gradient at a guess is small on a few rows; cheap beside all rows."""
    rows, kappa, *_ = problem
    n = len(kappa)
    if isinstance(rows, StoredMatrix):
        return True
    few = np.linspace(0, n - 1, _TRIED_ROWS).astype(np.intp)
    gradient = rows.block(few, np.arange(n)) @ guess - kappa[few]
    return bool(np.abs(gradient).max() * guess.sum() <= max(tol, 1e-9) * abs(kappa @ guess))
