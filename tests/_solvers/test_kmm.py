"""The kernel mean matching solver against an independent one, and its certificate by itself."""

import tracemalloc
from types import SimpleNamespace

import clarabel
import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import linprog
from scipy.spatial.distance import pdist

from skltransfer._solvers import _kmm, _kmm_certificate, _kmm_columns, _kmm_dense
from skltransfer._solvers._kernels import Kernel, KernelMatrix
from skltransfer._solvers._kmm import solve_kmm
from skltransfer._solvers._kmm_certificate import optimality_gap, project


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


OPTIMA = {}


def independent_optimum(case, *arguments):
    """Return the optimum of a case, found once for all routes."""
    if case not in OPTIMA:
        OPTIMA[case] = independent_solution(*arguments)
    return OPTIMA[case]


# n_source, n_target, n_features, gamma relative to the median heuristic, max_weight, tolerance
CASES = [
    *[(150, 100, 10, gamma, 1000.0, 0.9) for gamma in (0.01, 0.1, 1.0, 10.0, 100.0)],
    *[(150, 100, 10, gamma, 5.0, 0.01) for gamma in (0.01, 0.1, 1.0, 10.0, 100.0)],
    *[(150, 100, 2, gamma, 2.0, 0.01) for gamma in (0.01, 0.1, 1.0, 10.0, 100.0)],
    *[(150, 300, 1, gamma, max_weight, 0.01) for gamma in (0.1, 100.0) for max_weight in (2, 100)],
    *[(60, 300, 500, gamma, max_weight, 0.1) for gamma in (0.01, 1, 100) for max_weight in (3, 50)],
    *[(300, 40, 3, 1.0, max_weight, 0.05) for max_weight in (1.0, 1.2, 2.0, 10.0, 100.0, 1000.0)],
    *[(200, 200, 5, 1.0, 4.0, tolerance) for tolerance in (0.0, 1e-6, 1e-3, 0.1, 1.0, 10.0)],
    (40, 200, 3, 1.0, 1.0, 0.0),
    (150, 60, 1, 0.01, 1000.0, 0.9),
    (150, 60, 2, 10.0, 1.5, 0.0),
    (150, 60, 50, 10.0, 1000.0, 0.95),
    (150, 100, 3, 100.0, 1000.0, 2.0),
    (1, 5, 2, 1.0, 1.0, 0.0),
    (2, 5, 2, 1.0, 1000.0, 0.0),
]
# Each row three times: the kernel matrix is singular.
REPEATED = [(50, 60, 4, 1.0, 1000.0, 0.9), (50, 60, 4, 10.0, 2.0, 0.01), (50, 60, 1, 0.1, 5.0, 0.0)]


def programme(case, n_repeats=1):
    """Return rows, and the arguments of solve_kmm behind the matrix."""
    n_source, n_target, n_features, relative_gamma, max_weight, tolerance = case
    X, T = shifted_rows(n_source, n_target, n_features)
    X = np.repeat(X, n_repeats, axis=0)
    gamma = relative_gamma / np.median(pdist(np.vstack([X, T]), "sqeuclidean"))
    rows = KernelMatrix(Kernel("rbf", gamma), X)
    n = len(X)
    lower_sum, upper_sum = n * max(0, 1 - tolerance), n * (1 + tolerance)
    return rows, (n * rows.mean(T), np.full(n, float(max_weight)), lower_sum, upper_sum)


class CountingMatrix(KernelMatrix):
    """Knows of how many rows it has computed the kernel at once."""

    most_rows = 0

    def block(self, rows, columns):
        self.most_rows = max(self.most_rows, len(rows))
        return super().block(rows, columns)


def solved_by(route, rows, *arguments, monkeypatch, **options):
    """Solve by the portfolio, or by one of its parts alone."""
    if route == "dense":  # without column generation
        monkeypatch.setattr(_kmm, "generate_columns", lambda *args: 0)
    elif route == "columns":  # without ever forming the matrix
        monkeypatch.setattr(_kmm, "LARGEST_MATRIX", 0)
        monkeypatch.setattr(KernelMatrix, "matrix", None)
        monkeypatch.setattr(_kmm_columns, "_FIRST_ROWS", 20)
    elif route == "interior":
        monkeypatch.setattr(_kmm_dense, "block_pivoting", lambda *args: 0)
    elif route == "pivoting":
        monkeypatch.setattr(_kmm_dense, "interior_point", lambda *args: 0)
    return solve_kmm(rows, *arguments, **options)


@pytest.mark.parametrize("route", ["portfolio", "dense", "columns"])
@pytest.mark.parametrize("case", [*CASES, *(("repeated", *case) for case in REPEATED)], ids=str)
def test_objective_equals_that_of_an_independent_solver(case, route, monkeypatch):
    rows, arguments = programme(case[1:], 3) if case[0] == "repeated" else programme(case)
    K = rows.matrix()
    kappa, upper, lower_sum, upper_sum = arguments
    reference = independent_optimum(case, K, *arguments)
    solution = solved_by(route, rows, *arguments, monkeypatch=monkeypatch)
    b = solution.weights
    objective = 0.5 * b @ K @ b - kappa @ b
    assert solution.objective == pytest.approx(objective, rel=1e-9)
    difference = (objective - reference) / abs(reference)
    assert abs(difference) <= 1e-6
    assert solution.gap <= 1e-6
    assert difference <= solution.gap + 1e-8  # the certificate is no lower than the truth
    assert b.min() >= 0
    assert (b <= upper).all()
    assert lower_sum - 1e-8 <= b.sum() <= upper_sum + 1e-8


@pytest.mark.parametrize("route", ["portfolio", "dense", "columns"])
@pytest.mark.parametrize("max_weight", [1.0, 1.3, 20.0])
@pytest.mark.parametrize("tolerance", [0.0, 0.1, 0.9])
def test_rows_that_count_differently(route, max_weight, tolerance, monkeypatch):
    """A few rows count as often as all others together."""
    rng = np.random.default_rng(0)
    X, T = shifted_rows(240, 100, 3)
    counts = rng.pareto(0.7, size=240) + 0.01
    rows, n = KernelMatrix(Kernel("rbf", 0.3), X), counts.sum()
    lower_sum, upper_sum = n * (1 - tolerance), n * (1 + tolerance)
    arguments = (n * rows.mean(T), max_weight * counts, lower_sum, upper_sum)
    K = rows.matrix()
    reference = independent_optimum((max_weight, tolerance), K, *arguments)
    solution = solved_by(route, rows, *arguments, monkeypatch=monkeypatch)
    b = solution.weights
    objective = 0.5 * b @ K @ b - arguments[0] @ b
    assert abs(objective - reference) <= 1e-6 * abs(reference)
    assert solution.gap <= 1e-6
    assert 0 <= b.min()
    assert (b <= max_weight * counts).all()
    assert lower_sum - 1e-8 * n <= b.sum() <= upper_sum + 1e-8 * n


@pytest.mark.parametrize("case", [CASES[0], CASES[7], CASES[12], CASES[15]], ids=str)
def test_the_interior_point_method_alone_finds_the_same(case, monkeypatch):
    rows, arguments = programme(case)
    expected = solve_kmm(rows, *arguments)
    alone = solved_by("interior", rows, *arguments, monkeypatch=monkeypatch)
    assert alone.gap <= 1e-6
    assert alone.objective == pytest.approx(expected.objective, rel=2e-6)


@pytest.mark.parametrize("max_weight", [1000.0, 3.0])
def test_column_generation_equals_the_dense_solution(max_weight, monkeypatch):
    """Here most rows never join the working set."""
    X, T = shifted_rows(1500, 1000, 4)
    rows = CountingMatrix(Kernel("rbf", 0.1), X)
    arguments = (1500 * rows.mean(T), np.full(1500, max_weight), 1400.0, 1600.0)
    with monkeypatch.context() as patch:
        columns = solved_by("columns", rows, *arguments, monkeypatch=patch)
    largest = rows.most_rows
    dense = solved_by("dense", rows, *arguments, monkeypatch=monkeypatch)
    assert max(columns.gap, dense.gap) <= 1e-6
    assert columns.objective == pytest.approx(dense.objective, rel=2e-6)
    assert largest < 1300


def test_rows_at_their_upper_bound_are_settled_outside_the_working_set():
    # How many rows a tighter tolerance asks for depends on the rounding of the machine.
    X, T = shifted_rows(3000, 1000, 4, seed=1)
    rows = CountingMatrix(Kernel("rbf", 0.1), X)
    arguments = (3000 * rows.mean(T), np.full(3000, 2.0), 2900.0, 3100.0)
    solution = solve_kmm(rows, *arguments, tol=1e-3)
    assert solution.gap <= 1e-3
    assert rows.most_rows < 1000 < (solution.weights == 2.0).sum()


def test_rows_leave_the_working_set_at_their_bound_and_return():
    rows, (kappa, upper, *sums) = programme((150, 100, 2, 1.0, 2.0, 0.01))
    problem = _kmm_certificate.KMMProblem(rows, kappa, upper, *sums)
    working = _kmm_columns.WorkingSet(problem, np.arange(60))
    working.point = np.repeat([2.0, 2.0, 1.0, 0.0, 0.0], 12)
    gradient = np.zeros(150)
    gradient[:60] = np.repeat([-1.0, 1.0, 0.0, 1.0, -1.0], 12)  # the first and the fourth may go
    b, Kb = working.solution()
    assert working.exchange(np.arange(100, 110), gradient, 68) is True
    np.testing.assert_array_equal(working.rows, np.r_[12:36, 48:60, 100:110])
    np.testing.assert_array_equal(np.flatnonzero(working.settled), np.arange(12))
    np.testing.assert_array_equal(working.newcomers, working.rows >= 100)
    np.testing.assert_allclose(working.K, rows.block(working.rows, working.rows))
    assert working.exchange(np.arange(6), gradient, 1000)  # some return, where they stand
    np.testing.assert_array_equal(np.flatnonzero(working.settled), np.arange(6, 12))
    for found, expected in zip(working.solution(), (b, Kb), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-10)
    before = working.rows
    assert working.exchange(np.arange(6, 12), gradient, 10) is False
    assert working.rows is before


def test_the_gap_falls_with_the_tolerance():
    rows, arguments = programme((800, 800, 10, 2.0, 1000.0, 0.9))
    solutions = [solve_kmm(rows, *arguments, tol=tol) for tol in (1e-1, 1e-3, 1e-6)]
    optimum = solutions[-1].objective
    for tol, solution in zip((1e-1, 1e-3), solutions, strict=False):
        assert solution.gap <= tol
        assert (solution.objective - optimum) / abs(optimum) <= solution.gap
    assert (solutions[0].weights > 0).sum() < (solutions[-1].weights > 0).sum()


def test_a_certificate_from_float32_holds_in_float64():
    """The gap reported bounds the true one, whose gradient is computed in float64."""
    X, T = shifted_rows(900, 900, 10)
    rows = KernelMatrix(Kernel("rbf", 0.1), X)
    mean, error = rows.mean_in_float32(T)
    exact = rows.mean(T)
    assert 0 < np.abs(mean - exact).max()
    assert (np.abs(mean - exact) <= error).all()
    assert (error <= rows.float32_error(T) * mean * (1 + 1e-6)).all()
    bounds = (np.full(900, 1000.0), 30.0, 1770.0)
    solution = solve_kmm(rows, 900 * mean, *bounds, kappa_error=900 * error, tol=1e-3)
    assert solution.gap <= 1e-3
    without = solve_kmm(rows, 900 * mean, *bounds, tol=1e-3)
    assert without.gap < solution.gap  # the rounding is accounted for
    K, b = rows.matrix(), solution.weights
    objective = 0.5 * b @ K @ b - 900 * exact @ b
    optimum = solve_kmm(rows, 900 * exact, *bounds, tol=1e-9).objective
    assert objective - optimum <= solution.gap * abs(solution.objective)


def test_no_matrix_of_all_rows_is_formed():
    n = 6000
    X, T = shifted_rows(n, n, 10)
    tracemalloc.start()
    rows = KernelMatrix(Kernel("rbf", 0.1), X)
    solution = solve_kmm(rows, n * rows.mean(T), np.full(n, 1000.0), 80.0, 2.0 * n, tol=1e-2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert solution.gap <= 1e-2
    assert peak < 8 * n * n / 6


def test_pivoting_alone_reaches_the_exact_solution(monkeypatch):
    rows, arguments = programme((400, 400, 10, 2.0, 1000.0, 0.95))
    for upper in (1000.0, 3.0):
        solution = solved_by(
            "pivoting", rows, arguments[0], np.full(400, upper), 20.0, 780.0,
            monkeypatch=monkeypatch, tol=1e-14,
        )  # fmt: skip
        assert solution.gap <= 1e-9


def test_a_solution_without_certificate_says_so():
    rows, arguments = programme((200, 200, 2, 4.0, 5.0, 0.05))
    assert solve_kmm(rows, *arguments, max_iter=1).gap > 1e-6


def test_a_working_set_that_would_grow_too_large_ends_the_search(monkeypatch):
    monkeypatch.setattr(_kmm_columns, "_LARGEST_WORKING_SET", 150)
    rows, arguments = programme((600, 600, 10, 2.0, 1000.0, 0.9))
    solution = solved_by("columns", rows, *arguments, monkeypatch=monkeypatch)
    assert 1e-6 < solution.gap < 1
    assert (solution.weights > 0).sum() <= 150


def test_a_guess_that_is_optimal_is_kept(monkeypatch):
    X, _ = shifted_rows(300, 1, 3)
    rows = KernelMatrix(Kernel("rbf", 0.1), X)
    for route in ("portfolio", "columns"):
        solution = solved_by(
            route, rows, 300 * rows.mean(X), np.full(300, 5.0), 280.0, 320.0,
            guess=np.ones(300), monkeypatch=monkeypatch,
        )  # fmt: skip
        np.testing.assert_array_equal(solution.weights, 1)
        assert solution.gap <= 1e-9


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


def test_more_rows_join_the_working_set_of_a_large_problem():
    """Few rows are left in the working set, and hundreds outside have to be settled anew."""
    n = 100_000
    working = SimpleNamespace(
        settled=np.zeros(n, dtype=bool), rows=np.arange(40), point=np.ones(40)
    )
    gradient = -np.random.default_rng(0).random(n)
    joining = _kmm_columns._joining(working, gradient, np.random.default_rng(0))
    assert len(joining) == n // 400
    assert (np.diff(joining) > 0).all() and joining[0] >= 40
