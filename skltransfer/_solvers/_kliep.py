"""The Kullback-Leibler importance estimation procedure, solved by Newton's method.

Sugiyama, Suzuki, Nakajima, Kashima, von Buenau and Kawanabe, "Direct importance estimation for
covariate shift adaptation", Annals of the Institute of Statistical Mathematics 60, 2008::

    maximise    J(alpha) = sum_j v_j log( sum_l alpha_l k(t_j, c_l) )
    subject to  alpha >= 0,   sum_l alpha_l h_l = 1,   h_l = mean_i k(x_i, c_l)

where the shares ``v_j`` of the target rows are ``1/m``, unless the rows have weights. With
``a_l = alpha_l h_l`` and ``A_jl = k(t_j, c_l) / h_l`` the constraint is that ``a`` lies on the
simplex: the weights of a mixture of known densities relative to the source's. Functions take the
logarithm of A, so that no kernel, however narrow, vanishes.

Since J is concave and ``log`` lies below its tangents, ``q = A'(v r)`` with ``r = 1 / (A a)``
proves how far an ``a`` on the simplex is from the optimum::

    J* - J(a)  <=  max_l q_l - 1
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg.lapack import dposv
from scipy.special import logsumexp

from skltransfer._blas import threads_by

# Smaller logarithms, relative to a row's largest, are raised to this one, so that squares remain
# finite. At the optimum the ratio is at least the m-th part of a row's largest: they do not matter.
_SMALLEST_LOG = -200.0
# Multiplicative steps that thin out the start before the first of Newton's.
_START_STEPS = 5
# Centres that may join the quadratic model in a step.
_NEWCOMERS = 10
# Ridge on the model's Hessian, relative to its mean diagonal.
_RIDGE = 1e-10
_SUFFICIENT_DECREASE = 1e-4
_MAX_HALVINGS = 30
_ROUNDING = 8 * np.finfo(float).eps


class KLIEPSolution(NamedTuple):
    """Coefficients with their certificate."""

    mixture: np.ndarray  # (b,), at least 0, of sum one: alpha_l h_l
    objective: float  # J
    gap: float  # certified bound on J* - J
    n_iter: int


def log_kernel_ratios(
    target_distances: np.ndarray, source_distances: np.ndarray, weights: np.ndarray, gamma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithms of ``A`` and of ``h``.

    Parameters
    ----------
    target_distances : ndarray of shape (m, b)
        Squared distances of target rows to the centres.
    source_distances : ndarray of shape (n, b)
    weights : ndarray of shape (n,)
        Weight of each source row.
    gamma : float

    Returns
    -------
    log_A : ndarray of shape (m, b)
    log_h : ndarray of shape (b,)
    """
    nearest = source_distances.min(axis=0)
    kernel = nearest - source_distances
    kernel *= gamma
    np.exp(kernel, out=kernel)
    log_h = np.log(weights @ kernel / weights.sum()) - gamma * nearest
    return -gamma * target_distances - log_h, log_h


@threads_by(lambda log_A, *_, **__: log_A.size)
def solve_kliep(
    log_A: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    tol: float = 1e-6,
    max_iter: int = 100,
    start: np.ndarray | None = None,
) -> KLIEPSolution:
    """Maximise J over the simplex.

    Parameters
    ----------
    log_A : ndarray of shape (m, b)
    weights : ndarray of shape (m,), default=None
        Weight of each target row, above 0. ``None`` is 1.
    tol : float, default=1e-6
        Bound on ``J* - J`` to certify.
    max_iter : int, default=100
        Largest number of Newton steps.
    start : ndarray of shape (b,), default=None
        First coefficients, at least 0; equal ones by default.

    Returns
    -------
    solution : KLIEPSolution
    """
    scale = log_A.max(axis=1)
    A = np.exp(np.maximum(log_A - scale[:, None], _SMALLEST_LOG))  # at most one
    m, b = A.shape
    w = np.ones(m) if weights is None else weights * (m / weights.sum())
    a = np.full(b, 1 / b)
    for _ in range(_START_STEPS):
        a *= (w / (A @ a)) @ A / m
    if start is not None and start.sum() > 0:
        warm = 0.99 * start / start.sum() + 0.01 * a
        if _mean_log(A @ warm, w) > _mean_log(A @ a, w):
            a = warm
    a /= a.sum()
    best = KLIEPSolution(a, -np.inf, np.inf, 0)
    for n_iter in range(max_iter + 1):
        fitted = A @ a
        q = (w / fitted) @ A / m
        gap = max(float(q.max()) - 1, 0.0)
        if gap < best.gap:
            objective = _mean_log(fitted, w) + float((w * scale).mean())
            best = KLIEPSolution(a, objective, gap, n_iter)
        if gap <= tol or n_iter == max_iter:
            break
        a = _newton_step(A, a, w, fitted, q)
        a /= a.sum()
    return best._replace(n_iter=n_iter)


def _mean_log(values: np.ndarray, w: np.ndarray) -> float:
    with np.errstate(divide="ignore"):
        return float((w * np.log(values)).mean())


def _newton_step(A, a, w, fitted, q) -> np.ndarray:
    """Minimise the quadratic model of ``F(a) = -mean w log(A a) + sum(a)`` and search its line.

    F over ``a >= 0`` and -J over the simplex have the same minimisers. The model covers the
    positive coefficients and the ones that gain most.
    """
    free = a > 0
    outside = np.flatnonzero(~free & (q > 1))
    free[outside[np.argsort(-q[outside], kind="stable")[:_NEWCOMERS]]] = True
    F = np.flatnonzero(free)
    A_F = A[:, F]
    Q = A_F * (np.sqrt(w) / fitted)[:, None] if (w != 1).any() else A_F / fitted[:, None]
    H = Q.T @ Q / len(A)
    ridge = _RIDGE * np.trace(H) / len(H)  # on the step, so that the optimum stays where it is
    H[np.diag_indices_from(H)] += ridge
    # The gradient is 1 - q, and H a = q before the ridge.
    target = _nonnegative_minimum(H, 1 - 2 * q[F] - ridge * a[F], a[F])
    step = target - a[F]
    slope = (1 - q[F]) @ step
    change = A_F @ step
    value = a.sum() - _mean_log(fitted, w)
    value += _ROUNDING * max(1.0, abs(value))  # at the end no decrease is seen any more
    for halvings in range(_MAX_HALVINGS):
        t = 0.5**halvings
        lower = value + _SUFFICIENT_DECREASE * t * slope
        if (a[F] + t * step).sum() - _mean_log(np.maximum(fitted + t * change, 0.0), w) <= lower:
            moved = a.copy()
            moved[F] = np.maximum(a[F] + t * step, 0.0)
            return moved
    return a * q  # the multiplicative step of expectation maximisation never fails


@threads_by(lambda H, *_, **__: H.size)
def _nonnegative_minimum(H, c, start) -> np.ndarray:
    """Minimise ``1/2 x'Hx + c'x`` over ``x >= 0`` by the active-set method from `start`."""
    x, free = start.copy(), start > 0
    slack = 1e-12 * max(1.0, np.abs(c).max())
    for _ in range(3 * len(x) + 10):
        P = np.flatnonzero(free)
        _, z, info = dposv(H[P[:, None], P], -c[P])
        if info:
            return x
        falling = z <= 0
        if falling.any():
            old, new = x[P][falling], z[falling]
            ratios = np.divide(old, old - new, out=np.zeros_like(old), where=old > new)
            t = ratios.min()
            x[P] += t * (z - x[P])
            # All coefficients at the boundary leave, and all that are nearly there.
            leaving = P[falling][ratios <= t + 1e-12]
            x[leaving], free[leaving] = 0.0, False
            if not free.any():
                return start.copy()
            continue
        x[P] = z
        gradient = H @ x + c
        gradient[free] = 0.0
        enters = gradient.argmin()
        if gradient[enters] >= -slack:
            return x
        free[enters] = True
    return x


def held_out_likelihood(
    log_A: np.ndarray,
    splits: list,
    center_rows: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    tol: float,
    max_iter: int,
) -> float:
    """Return the mean log-ratio at target rows that took no part in the fit.

    A centre takes part in a fit only if it is among the fitted rows.

    Parameters
    ----------
    log_A : ndarray of shape (m, b)
    splits : list of (ndarray, ndarray)
        Indices of the target rows to fit, and of those held out.
    center_rows : ndarray of shape (b,)
        Target row of each centre.
    weights, tol, max_iter
        See `solve_kliep`.

    Returns
    -------
    likelihood : float
        ``nan`` where no split leaves rows and centres to fit.
    """
    weights = np.ones(len(log_A)) if weights is None else weights
    total, held_weight, start = 0.0, 0.0, np.zeros(len(center_rows))
    for fitted, held in splits:
        columns = np.flatnonzero(np.isin(center_rows, fitted))
        if not len(columns):
            continue
        part = log_A[:, columns]
        solution = solve_kliep(
            part[fitted],
            weights=weights[fitted],
            tol=tol,
            max_iter=max_iter,
            start=start[columns],
        )
        start[columns] = solution.mixture
        used = solution.mixture > 0
        log_ratio = logsumexp(part[held][:, used], axis=1, b=solution.mixture[used])
        total += float((weights[held] * log_ratio).sum())
        held_weight += float(weights[held].sum())
    return total / held_weight if held_weight else np.nan
