"""The batched Newton solver against scipy's, and against itself one problem at a time."""

import tracemalloc

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from skltransfer._solvers import _logistic
from skltransfer._solvers._logistic import solve_logistic


def problem(k, *, n=60, p=4, b=5, seed=0):
    rng = np.random.default_rng(seed)
    Z = np.column_stack([rng.normal(size=(n, p - 1)), np.ones(n)])
    offset = rng.normal(size=(n, k))
    codes = np.append(np.arange(max(k, 2)), rng.integers(0, max(k, 2), n - max(k, 2)))
    weights = rng.integers(0, 3, size=(b, n)).astype(float)
    penalty = 10.0 ** rng.uniform(-3, 3, size=(b, k, p))
    penalty[:, :, -1] = 0.0
    penalty[0] = np.repeat(penalty[0, :1], k, axis=0)
    return Z, offset, codes, weights, penalty


def objective(D, Z, offset, codes, v, a):
    logits = offset + Z @ D.reshape(a.shape).T
    if logits.shape[1] == 1:
        logits = np.column_stack([np.zeros(len(Z)), logits])
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(Z)), codes]
    return v @ losses + 0.5 * (a * D.reshape(a.shape) ** 2).sum()


@pytest.mark.parametrize("k", [1, 3, 4])
def test_reaches_the_optimum_of_an_independent_solver(k):
    Z, offset, codes, weights, penalty = problem(k)
    solution = solve_logistic(Z, offset, codes, weights, penalty, tol=1e-10, max_iter=100)
    assert (solution.gap <= 1e-10).all()
    for i in range(len(weights)):
        arguments = (Z, offset, codes, weights[i], penalty[i])
        value = objective(solution.shift[i], *arguments)
        np.testing.assert_allclose(solution.objective[i], value, rtol=1e-12)
        reference = minimize(
            objective, np.zeros(penalty[i].size), arguments, tol=1e-12, options={"maxiter": 5000}
        )
        assert value <= reference.fun * (1 + 1e-10)
        np.testing.assert_allclose(value, reference.fun, rtol=1e-8)
        # The gradient, by central differences, vanishes.
        for j in range(0, penalty[i].size, 3):
            e = np.zeros(penalty[i].size)
            e[j] = 1e-4
            D = solution.shift[i].ravel()
            slope = (objective(D + e, *arguments) - objective(D - e, *arguments)) / 2e-4
            assert abs(slope) < 1e-5


@pytest.mark.parametrize("k", [1, 3])
def test_problems_do_not_disturb_each_other(k):
    Z, offset, codes, weights, penalty = problem(k)
    together = solve_logistic(Z, offset, codes, weights, penalty, tol=1e-12, max_iter=100)
    for i in range(len(weights)):
        alone = solve_logistic(
            Z, offset, codes, weights[i : i + 1], penalty[i : i + 1], tol=1e-12, max_iter=100
        )
        np.testing.assert_allclose(together.shift[i], alone.shift[0], atol=1e-9)


@pytest.mark.parametrize("k", [1, 3])
def test_many_unknowns_are_solved_without_a_hessian(k):
    Z, offset, codes, weights, penalty = problem(k)
    p = Z.shape[1]
    expected = solve_logistic(Z, offset, codes, weights, penalty, tol=1e-12, max_iter=100)
    n_more = 1501  # columns of zeros, whose coefficients are 0
    wide = np.pad(Z, ((0, 0), (0, n_more)))
    penalties = np.pad(penalty, ((0, 0), (0, 0), (0, n_more)), constant_values=1.0)
    tracemalloc.start()
    free = solve_logistic(wide, offset, codes, weights, penalties, tol=1e-12, max_iter=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(free.shift[..., :p], expected.shift, atol=1e-7)
    np.testing.assert_array_equal(free.shift[..., p:], 0)
    assert peak < 8 * (k * n_more) ** 2


@pytest.mark.parametrize("k", [1, 3])
def test_problem_by_problem_without_products(k, monkeypatch):
    arguments = problem(k)
    expected = solve_logistic(*arguments, tol=1e-12, max_iter=100)
    monkeypatch.setattr(_logistic, "_BUDGET", 100)
    small = solve_logistic(*arguments, tol=1e-12, max_iter=100)
    np.testing.assert_allclose(small.shift, expected.shift, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_badly_scaled_columns_converge(scale):
    Z, offset, codes, weights, penalty = problem(3)
    Z = Z * np.array([scale, 1.0, 1 / scale, 1.0])
    solution = solve_logistic(Z, 30 * offset, codes, weights, penalty, tol=1e-10, max_iter=200)
    assert (solution.gap <= 1e-10).all()


def test_without_a_penalty_dependent_columns_are_no_obstacle():
    Z, offset, codes, weights, penalty = problem(3)
    Z = np.column_stack([Z, Z[:, 0]])
    penalty = np.zeros((*penalty.shape[:2], 5))
    solution = solve_logistic(Z, 0 * offset, codes, weights, penalty, tol=1e-9, max_iter=100)
    plain = solve_logistic(
        Z[:, :4], 0 * offset, codes, weights, penalty[..., :4], tol=1e-9, max_iter=100
    )
    np.testing.assert_allclose(solution.objective, plain.objective, rtol=1e-9)


def test_says_when_it_has_not_arrived():
    solution = solve_logistic(*problem(3), tol=1e-12, max_iter=1)
    assert solution.n_iter == 1
    assert (solution.gap > 1e-12).all()
