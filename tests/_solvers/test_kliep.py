"""KLIEP's solver against independent ones, its certificate, and what it holds out."""

import clarabel
import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize

from skltransfer._solvers._kernel_choice import (
    center_gamma,
    draw_centers,
    squared_distances,
)
from skltransfer._solvers._kliep import held_out_likelihood, log_kernel_ratios, solve_kliep
from tests._solvers.test_kmm import shifted_rows


def kernel(A, B, gamma):
    """Return the kernel from differences, without rounding tricks."""
    return np.exp(-gamma * ((A[:, None] - B[None]) ** 2).sum(axis=2))


def problem(n_source, n_target, n_features, n_centers, relative_gamma, seed=0):
    """Return kernels of target rows, mean kernels of source rows, and the logarithms."""
    X, T = shifted_rows(n_source, n_target, n_features, seed)
    C, gamma = T[:n_centers], relative_gamma / (2 * n_features)
    logarithms = log_kernel_ratios(
        squared_distances(T, C, gamma), squared_distances(X, C, gamma), np.ones(n_source), gamma
    )
    return kernel(T, C, gamma), kernel(X, C, gamma).mean(axis=0), logarithms


def by_cones(A, h):
    """Maximise the mean log-ratio by Clarabel's exponential cones, and return it."""
    m, b = A.shape
    # (t_j, 1, (A a)_j) in the cone: t_j <= log (A a)_j
    rows = sparse.lil_matrix((1 + b + 3 * m, b + m))
    bounds = np.zeros(1 + b + 3 * m)
    rows[0, :b], bounds[0] = h, 1.0
    rows[1 : 1 + b, :b] = -np.eye(b)
    for j in range(m):
        first = 1 + b + 3 * j
        rows[first, b + j] = -1.0
        bounds[first + 1] = 1.0
        rows[first + 2, :b] = -A[j]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    cones = [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(b)]
    cones += [clarabel.ExponentialConeT()] * m
    costs = np.concatenate([np.zeros(b), np.full(m, -1 / m)])
    nothing = sparse.csc_matrix((b + m, b + m))
    solver = clarabel.DefaultSolver(nothing, costs, rows.tocsc(), bounds, cones, settings)
    return -solver.solve().obj_val


CASES = [
    (100, 80, 2, 30, 1.0),
    (100, 80, 2, 30, 20.0),
    (100, 80, 10, 30, 0.05),
    (60, 120, 1, 40, 5.0),
    (60, 30, 50, 30, 1.0),
    (60, 5, 3, 5, 1.0),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_optimum_is_that_of_an_independent_solver(case):
    A, h, (log_A, log_h) = problem(*case)
    solution = solve_kliep(log_A, tol=1e-9)
    coef = solution.mixture / h
    assert solution.gap <= 1e-9
    assert (coef >= 0).all()
    assert coef @ h == pytest.approx(1, abs=1e-12)
    assert solution.objective == pytest.approx(np.log(A @ coef).mean(), abs=1e-10)
    assert solution.objective == pytest.approx(by_cones(A, h), abs=1e-7)
    np.testing.assert_allclose(log_h, np.log(h), atol=1e-10)


def test_the_optimum_is_that_of_sequential_programming():
    A, h, (log_A, _) = problem(100, 80, 2, 12, 3.0)
    found = minimize(
        lambda a: -np.log(A @ a).mean(),
        np.full(12, 1 / h.sum()),
        jac=lambda a: -A.T @ (1 / (A @ a)) / len(A),
        bounds=[(0, None)] * 12,
        constraints={"type": "eq", "fun": lambda a: a @ h - 1, "jac": lambda a: h},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    solution = solve_kliep(log_A, tol=1e-10)
    assert solution.objective == pytest.approx(-found.fun, abs=1e-7)
    np.testing.assert_allclose(solution.mixture / h, found.x, atol=1e-3 * found.x.max())


def test_the_optimality_condition_holds_where_written_out():
    """The gradient is the multiplier's at positive coefficients, and no higher at zeros."""
    A, h, (log_A, _) = problem(300, 200, 3, 60, 3.0)
    coef = solve_kliep(log_A, tol=1e-11).mixture / h
    slope = A.T @ (1 / (A @ coef)) / len(A) / h
    assert (coef > 0).sum() > 3
    np.testing.assert_allclose(slope[coef > 1e-9], 1, atol=1e-6)
    assert slope.max() <= 1 + 1e-10
    assert (slope[coef == 0] < 1).all()
    assert coef.std() > 0.5 * coef.mean()  # not the start, nor all equal


def test_the_certificate_bounds_the_error_of_any_point():
    _, _, (log_A, _) = problem(100, 80, 2, 30, 3.0)
    optimum = solve_kliep(log_A, tol=1e-12).objective
    A, rng = np.exp(log_A), np.random.default_rng(0)
    for concentration in (0.05, 1.0):
        for a in rng.dirichlet(np.full(30, concentration), size=50):
            fitted = A @ a
            bound = (A.T @ (1 / fitted) / len(A)).max() - 1
            assert 0 <= optimum - np.log(fitted).mean() <= bound
    unfinished = solve_kliep(log_A, tol=1e-12, max_iter=1)
    assert unfinished.n_iter == 1
    assert unfinished.gap > 1e-12
    assert optimum - unfinished.objective <= unfinished.gap


def test_the_start_is_no_part_of_the_result():
    _, _, (log_A, _) = problem(200, 150, 3, 40, 3.0)
    expected = solve_kliep(log_A, tol=1e-10)
    rng = np.random.default_rng(0)
    for start in (np.zeros(40), np.eye(40)[3], rng.random(40), expected.mixture):
        solution = solve_kliep(log_A, tol=1e-10, start=start)
        np.testing.assert_allclose(solution.mixture, expected.mixture, atol=1e-6)
    assert solution.n_iter <= expected.n_iter


@pytest.mark.parametrize("n_features", [1, 2, 50])
@pytest.mark.parametrize("factor", [1e-4, 0.1, 1.0, 10.0, 1e4])
@pytest.mark.parametrize("shift", [0.0, 3.0, 30.0])
def test_every_problem_is_certified(n_features, factor, shift):
    """Kernels so wide that all are alike, so narrow that they vanish, and domains far apart."""
    for n_source, n_target, n_centers in ((150, 150, 100), (100, 20, 100), (20, 1, 1)):
        X, T = shifted_rows(n_source, n_target, n_features)
        T = np.unique(np.round(T, 2) + shift, axis=0)
        C = T[draw_centers(T, n_centers, np.random.RandomState(0))]
        gamma = factor * center_gamma(X, np.ones(n_source), T, C)
        log_A, _ = log_kernel_ratios(
            squared_distances(T, C, gamma), squared_distances(X, C, gamma), np.ones(n_source), gamma
        )
        solution = solve_kliep(log_A, tol=1e-11)
        assert solution.gap <= 1e-11
        assert np.isfinite(solution.objective)
        assert solution.n_iter <= 20


def test_held_out_rows_and_centres_take_no_part_in_the_fit():
    X, T = shifted_rows(60, 40, 2)
    rng, gamma = np.random.default_rng(0), 2.0
    center_rows = rng.permutation(40)[:15]
    splits = [
        (np.flatnonzero(rng.random(40) < 0.7), held) for held in np.split(rng.permutation(40), 4)
    ]
    splits = [(np.setdiff1d(fitted, held), held) for fitted, held in splits]
    splits.append((np.setdiff1d(np.arange(40), center_rows), center_rows[:3]))  # without a centre
    C = T[center_rows]
    log_A, _ = log_kernel_ratios(
        squared_distances(T, C, gamma), squared_distances(X, C, gamma), np.ones(60), gamma
    )
    found = held_out_likelihood(log_A, splits, center_rows, tol=1e-10, max_iter=100)
    scores = []
    for fitted, held in splits[:-1]:
        centers = T[[row for row in center_rows if row in fitted]]
        h = kernel(X, centers, gamma).mean(axis=0)
        mixture = solve_kliep(np.log(kernel(T[fitted], centers, gamma) / h), tol=1e-10).mixture
        scores.append(np.log(kernel(T[held], centers, gamma) @ (mixture / h)))
    assert found == pytest.approx(np.concatenate(scores).mean(), abs=1e-6)
    assert np.isnan(held_out_likelihood(log_A, splits[-1:], center_rows, tol=1e-6, max_iter=9))


def test_distances_keep_their_digits():
    rng = np.random.default_rng(0)
    for offset in (0.0, 1e9):
        X, C = rng.normal(size=(20, 3)) + offset, rng.normal(size=(7, 3)) + offset
        X[0] = 1e15
        expected = ((X[:, None] - C[None]) ** 2).sum(axis=2)
        np.testing.assert_allclose(squared_distances(X, C, 1.0), expected, rtol=1e-9, atol=1e-12)


def test_the_median_is_that_of_all_distances():
    X, T = shifted_rows(1000, 1000, 3)
    C = T[:50]
    distances = ((np.vstack([X, T])[:, None] - C[None]) ** 2).sum(axis=2)
    expected = 0.5 / np.median(distances[distances > 0])
    assert center_gamma(X, np.ones(1000), T, C) == pytest.approx(expected, rel=1e-12)
    counts = np.arange(1000) % 3
    repeated = np.repeat(X, counts, axis=0)
    weighted = center_gamma(X[counts > 0], counts[counts > 0].astype(float), T, C)
    assert weighted == center_gamma(repeated, np.ones(len(repeated)), T, C)
    assert center_gamma(np.ones((3, 2)), np.ones(3), np.ones((2, 2)), np.ones((1, 2))) == 1.0


def test_centres_are_different_rows():
    T = np.sort(np.repeat(np.arange(30.0), 5))[:, None]
    for n_centers in (1, 10, 30, 100):
        drawn = draw_centers(T, n_centers, np.random.RandomState(0))
        assert len(np.unique(T[drawn])) == len(drawn) == min(n_centers, 30)
