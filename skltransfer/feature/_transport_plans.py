"""Transport plans and maps by POT's solvers: nothing printed, no warning let through."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from scipy.special import xlogy

from skltransfer._messages import require

# Beyond this range of exponents the scalings of Sinkhorn's algorithm would overflow.
_LARGEST_EXPONENT = 600.0
# Rounds of the conditional gradient method, and the gap (relative) that counts as solved.
_MAX_ROUNDS, _LARGEST_GAP = 200, 1e-4
_TINY = np.finfo(float).tiny
# POT imports these frameworks where they are installed, unless its variable says not to.
_BACKENDS = {
    "torch": "POT_BACKEND_DISABLE_PYTORCH",
    "jax": "POT_BACKEND_DISABLE_JAX",
    "cupy": "POT_BACKEND_DISABLE_CUPY",
    "tensorflow": "POT_BACKEND_DISABLE_TENSORFLOW",
}


class Plan(NamedTuple):
    """A transport plan, and how it was reached."""

    values: np.ndarray  # (n, m), sums to 1
    n_iter: int
    problem: str | None = None  # failure of the solver, beside the marginals


def import_pot(name: str):
    """Return POT's package ``ot``; `name` is the estimator that needs it."""
    with warnings.catch_warnings(), _without_backends():
        warnings.simplefilter("ignore")
        return require("ot", "ot", name)


@contextmanager
def _without_backends():
    """Let POT import no framework that is not in use already: seconds, and memory, for nothing."""
    unused = [key for name, key in _BACKENDS.items() if name not in sys.modules]
    added = [key for key in unused if "ot" not in sys.modules and key not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


@contextmanager
def _quiet():
    """Suppress POT's warnings: the plan itself is checked."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        yield caught


def exact_plan(ot, cost: np.ndarray, max_iter: int) -> Plan:
    """Return the plan of least cost, by the network simplex method."""
    n, m = cost.shape
    with _quiet():
        plan, log = ot.emd(
            np.full(n, 1 / n), np.full(m, 1 / m), cost, numItermax=max_iter, log=True
        )
    problem = None if log["warning"] is None else "is not the cheapest"
    return Plan(plan, 1, problem)


def entropic_plan(ot, cost: np.ndarray, entropy: float, max_iter: int, tol: float) -> Plan:
    """Return the plan that minimises cost + entropy * sum P log P, by Sinkhorn's algorithm."""
    n, m = cost.shape
    options = {
        "reg": entropy,
        "numItermax": max_iter,
        "stopThr": tol / np.sqrt(m),  # POT bounds the 2-norm of the error, `tol` the 1-norm
        "log": True,
        "warn": False,
    }
    a, b = np.full(n, 1 / n), np.full(m, 1 / m)
    cost = cost - cost.min()  # the plan is the same
    if cost.max() / entropy <= _LARGEST_EXPONENT:
        with _quiet() as caught:
            plan, log = ot.sinkhorn(a, b, cost, method="sinkhorn", **options)
        if not caught and np.isfinite(plan).all():
            return Plan(plan, log["niter"] + 1)
    with _quiet():
        plan, log = ot.sinkhorn(a, b, cost, method="sinkhorn_log", **options)
    return Plan(plan, log["niter"] + 1)


def group_lasso_plan(
    ot, cost, groups, entropy: float, penalty: float, max_iter: int, tol: float
) -> Plan:
    """Return the entropic plan in which a column takes its mass from few groups of rows.

    It minimises ``<P, cost> + entropy * sum P log P + penalty * sum_jc |P[rows of c, j]|_2``
    (Courty et al. 2017, group sparsity with p = 1 and q = 2) by POT's generalised conditional
    gradient method. POT's own ``sinkhorn_l1l2_gl`` leaves the entropy out of the line search, and
    can stop early.

    Parameters
    ----------
    cost : ndarray of shape (n, m)
    groups : ndarray of shape (n,), int
        Group of each row, 0..k-1.
    """
    n, m = cost.shape
    members = np.eye(groups.max() + 1)[groups]  # (n, k)

    def norms(P):
        return np.sqrt(members.T @ P**2)  # (k, m)

    def gradient(P):
        return P / np.maximum(norms(P), _TINY)[groups]

    def objective(P):
        return (P * cost).sum() + entropy * xlogy(P, P).sum() + penalty * norms(P).sum()

    def solve(a, b, linear, **_):
        return entropic_plan(ot, linear, entropy, max_iter, tol).values, {}

    def search(_, P, direction, linear, *args, **__):
        slope = linear + entropy * (1 + np.log(np.maximum(P, _TINY)))
        return ot.optim.line_search_armijo(objective, P, direction, slope, objective(P))

    with _quiet():
        plan, log = ot.optim.generic_conditional_gradient(
            np.full(n, 1 / n), np.full(m, 1 / m), cost, lambda P: norms(P).sum(), gradient,
            penalty, None, solve, search, numItermax=_MAX_ROUNDS, stopThr=1e-9, stopThr2=0.0,
            log=True,
        )  # fmt: skip
        linear = cost + penalty * gradient(plan)
        best = solve(None, None, linear)[0]
    # The objective is at least its tangent in the linear part, of which `best` is the minimum.
    gap = (linear * (plan - best)).sum() + entropy * (xlogy(plan, plan) - xlogy(best, best)).sum()
    relative = gap / abs(objective(plan))
    problem = None
    if relative > _LARGEST_GAP:
        problem = f"may lie {relative:.1e} (relative) above the least objective"
    return Plan(plan, len(log["loss"]) - 1, problem)


def gaussian_map(ot, mean, covariance, target_mean, target_covariance) -> tuple:
    """Return ``A, b`` of the map ``x A + b`` that carries one Gaussian to another at least cost."""
    with _quiet():
        try:
            A, b = ot.gaussian.bures_wasserstein_mapping(
                mean[None], target_mean[None], covariance, target_covariance
            )
        except (np.linalg.LinAlgError, ValueError):  # an inverse that does not exist
            return np.full_like(covariance, np.nan), target_mean
    return np.real(A), np.real(b)[0]
