"""The kernel mean matching solver against an independent one, and its certificate by itself."""

import clarabel
import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog
from sklearn.metrics.pairwise import pairwise_kernels

from skltransfer._solvers import _kmm
from skltransfer._solvers._kernels import KERNELS, kernel_matrix, kernel_mean, scale_gamma
from skltransfer._solvers._kmm import optimality_gap, project, solve_kmm


def shifted_rows(n_source, n_target, n_features, seed=0):
    rng = np.random.default_rng(seed)
    target = 0.8 * rng.normal(size=(n_target, n_features))
    target[:, : max(1, n_features // 2)] += 0.5
    return rng.normal(size=(n_source, n_features)), target


def independent_solution(K, kappa, upper, lower_sum, upper_sum):
    """Solve the same programme by Clarabel's interior-point method for cones."""
    n = len(kappa)
    constraints = sparse.csc_matrix(
        np.vstack([-np.eye(n), np.eye(n), -np.ones((1, n)), np.ones((1, n))])
    )
    bounds = np.concatenate([np.zeros(n), upper, [-lower_sum, upper_sum]])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    solver = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(K)),
        -kappa,
        constraints,
        bounds,
        [clarabel.NonnegativeConeT(2 * n + 2)],
        settings,
    )
    b = np.array(solver.solve().x)
    return 0.5 * b @ K @ b - kappa @ b


# n_source, n_target, n_features, gamma relative to 1 / (2 n_features), max_weight, sum_tolerance
BINDING = [
    (150, 100, 10, 1.0, 2.0, 0.01),
    (150, 100, 10, 1.0, 5.0, 0.01),
    (150, 100, 2, 0.3, 2.0, 0.01),
    (150, 60, 2, 10.0, 1.5, 0.0),
    (150, 60, 1, 1.0, 1.2, 0.3),
    (150, 300, 1, 100.0, 2.0, 0.01),
    (150, 100, 50, 0.01, 5.0, 0.001),
    (40, 200, 3, 1.0, 1.0, 0.0),
]
LOOSE = [
    (150, 100, 10, 1.0, 1000.0, 0.9),
    (150, 100, 2, 0.1, 1000.0, 0.9),
    (150, 100, 1, 0.01, 1000.0, 0.9),
    (150, 60, 50, 10.0, 1000.0, 0.95),
    (60, 300, 500, 1.0, 1000.0, 0.9),
    (150, 100, 3, 100.0, 1000.0, 2.0),
]


@pytest.mark.parametrize("case", BINDING + LOOSE, ids=str)
def test_objective_equals_that_of_an_independent_solver(case):
    n_source, n_target, n_features, relative_gamma, max_weight, tolerance = case
    X, T = shifted_rows(n_source, n_target, n_features)
    gamma = relative_gamma / (2 * n_features)
    K, kappa = kernel_matrix(X, "rbf", gamma), n_source * kernel_mean(X, T, "rbf", gamma)
    upper = np.full(n_source, max_weight)
    lower_sum, upper_sum = n_source * max(0, 1 - tolerance), n_source * (1 + tolerance)
    solution = solve_kmm(K, kappa, upper, lower_sum, upper_sum)
    reference = independent_solution(K, kappa, upper, lower_sum, upper_sum)
    difference = (solution.objective - reference) / abs(reference)
    assert abs(difference) <= 1e-6
    assert solution.gap <= 1e-6
    assert difference <= solution.gap + 1e-8  # the certificate is no lower than the truth
    assert solution.weights.min() >= 0
    assert (solution.weights <= upper).all()
    assert lower_sum - 1e-8 <= solution.weights.sum() <= upper_sum + 1e-8


@pytest.mark.parametrize("case", [BINDING[2], BINDING[4], LOOSE[2]], ids=str)
def test_the_interior_point_method_alone_finds_the_same(case, monkeypatch):
    n_source, n_target, n_features, relative_gamma, max_weight, tolerance = case
    X, T = shifted_rows(n_source, n_target, n_features)
    gamma = relative_gamma / (2 * n_features)
    K, kappa = kernel_matrix(X, "rbf", gamma), n_source * kernel_mean(X, T, "rbf", gamma)
    problem = (K, kappa, np.full(n_source, max_weight))
    sums = (n_source * max(0, 1 - tolerance), n_source * (1 + tolerance))
    expected = solve_kmm(*problem, *sums)
    monkeypatch.setattr(_kmm, "_block_pivoting", lambda *args: 0)
    alone = solve_kmm(*problem, *sums)
    assert alone.gap <= 1e-6
    assert alone.objective == pytest.approx(expected.objective, rel=1e-6)


def test_pivoting_alone_reaches_the_exact_solution(monkeypatch):
    monkeypatch.setattr(_kmm, "_interior_point", lambda *args: 0)
    X, T = shifted_rows(400, 400, 10)
    K, kappa = kernel_matrix(X, "rbf", 0.1), 400 * kernel_mean(X, T, "rbf", 0.1)
    for upper in (1000.0, 3.0):
        assert solve_kmm(K, kappa, np.full(400, upper), 20.0, 780.0, tol=1e-14).gap <= 1e-9


def test_a_solution_without_certificate_says_so():
    X, T = shifted_rows(200, 200, 2)
    K, kappa = kernel_matrix(X, "rbf", 1.0), 200 * kernel_mean(X, T, "rbf", 1.0)
    solution = solve_kmm(K, kappa, np.full(200, 5.0), 190.0, 210.0, max_iter=1)
    assert solution.gap > 1e-6


def test_certificate_equals_a_linear_programme_and_bounds_the_error():
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = 12
        A = rng.normal(size=(n, n))
        K, kappa, upper = A @ A.T, rng.normal(size=n), rng.uniform(0.5, 2, size=n)
        lower_sum, upper_sum = np.sort(rng.uniform(0.1, 0.9, size=2)) * upper.sum()
        b = project(rng.normal(size=n), upper, lower_sum, upper_sum)
        gradient = K @ b - kappa
        gap = optimality_gap(b, gradient, upper, lower_sum, upper_sum)
        programme = linprog(
            gradient,
            A_ub=np.vstack([np.ones(n), -np.ones(n)]),
            b_ub=[upper_sum, -lower_sum],
            bounds=list(zip(np.zeros(n), upper, strict=True)),
        )
        assert gap == pytest.approx(gradient @ b - programme.fun, abs=1e-9)
        best = independent_solution(K, kappa, upper, lower_sum, upper_sum)
        assert 0.5 * b @ K @ b - kappa @ b - best <= gap + 1e-8


def test_projection_is_the_nearest_feasible_point():
    rng = np.random.default_rng(1)
    for _ in range(20):
        n = 8
        point, upper = rng.normal(size=n) * 3, rng.uniform(0.5, 2, size=n)
        lower_sum, upper_sum = np.sort(rng.uniform(0.05, 0.95, size=2)) * upper.sum()
        b = project(point, upper, lower_sum, upper_sum)
        assert (b >= 0).all() and (b <= upper).all()
        assert lower_sum - 1e-9 <= b.sum() <= upper_sum + 1e-9
        # |b - p|^2 / 2 is the programme with K = I and kappa = p
        distance = 0.5 * ((b - point) ** 2).sum()
        best = independent_solution(np.eye(n), point, upper, lower_sum, upper_sum)
        assert distance == pytest.approx(best + 0.5 * point @ point, abs=1e-7)


@pytest.mark.parametrize("kernel", KERNELS)
def test_blocks_equal_the_whole_kernel(kernel, monkeypatch):
    from skltransfer._solvers import _kernels

    monkeypatch.setattr(_kernels, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(_kernels, "_BLOCK_COLUMNS", 11)
    X, T = shifted_rows(30, 25, 4)
    parameters = {} if kernel in ("linear", "cosine") else {"gamma": 0.3}
    expected = pairwise_kernels(X, metric=kernel, **parameters)
    np.testing.assert_allclose(kernel_matrix(X, kernel, 0.3), expected, atol=1e-12)
    means = pairwise_kernels(X, T, metric=kernel, **parameters).mean(axis=1)
    np.testing.assert_allclose(kernel_mean(X, T, kernel, 0.3), means, atol=1e-12)


def test_scale_gamma_is_that_of_support_vector_machines():
    X, T = shifted_rows(30, 25, 4)
    counts = np.arange(30) % 3
    expected = 1 / (4 * np.vstack([np.repeat(X, counts, axis=0), T]).var())
    assert scale_gamma(X, counts, T) == pytest.approx(expected)
    assert scale_gamma(np.ones((3, 2)), np.ones(3), np.ones((2, 2))) == 1.0
