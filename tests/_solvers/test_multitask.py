"""The multi-task solvers against dense ridge, scipy's minimiser and a semidefinite programme."""

from dataclasses import replace

import clarabel
import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import logsumexp

from skltransfer._solvers._mean_regularized import mean_regularized_logistic, mean_regularized_ridge
from skltransfer._solvers._multitask import TaskRows, logistic_curvature, logistic_loss
from skltransfer._solvers._trace_norm import trace_norm_logistic, trace_norm_ridge


def make_tasks(n_tasks=4, d=5, sizes=(3, 30, 12, 9), k=0, seed=0):
    """Return tasks of numbers (k=0) or of classes, with centres that differ."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(max(k, 1), d))
    tasks = []
    for n in sizes[:n_tasks]:
        X = rng.normal(size=(n, d)) + 3 * rng.normal(size=d)
        scores = (X - X.mean(axis=0)) @ (common + 0.5 * rng.normal(size=common.shape)).T
        if k:
            noisy = scores + rng.gumbel(size=scores.shape)
            y = (noisy[:, 0] > 0).astype(int) if k == 1 else noisy.argmax(axis=1)
            y[: max(k, 2)] = np.arange(max(k, 2))
        else:
            y = scores[:, 0] + 5 + rng.normal(size=n)
        tasks.append(TaskRows(X, y, rng.integers(1, 4, n) / 2))
    return tasks


def expanded(tasks, fit_intercept=True):
    """Return the rows of all tasks in the columns of (w0, v_1, ..., v_T, b)."""
    d, n_tasks = tasks[0].X.shape[1], len(tasks)
    blocks = []
    for t, task in enumerate(tasks):
        block = np.zeros((len(task.X), d * (n_tasks + 1) + fit_intercept * n_tasks))
        block[:, :d] = block[:, d * (t + 1) : d * (t + 2)] = task.X
        if fit_intercept:
            block[:, d * (n_tasks + 1) + t] = 1.0
        blocks.append(block)
    return np.vstack(blocks)


@pytest.mark.parametrize("d", [5, 20])  # fewer and more columns than a task has rows
@pytest.mark.parametrize("alpha, shared_alpha", [(0.3, 2.0), (100.0, 1e-3), (1e-4, 1.0), (2.0, 0)])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_mean_regularized_ridge_is_ridge_on_the_expanded_columns(
    d, alpha, shared_alpha, fit_intercept
):
    tasks = make_tasks(d=d)
    A = expanded(tasks, fit_intercept)
    y = np.concatenate([task.y for task in tasks])
    s = np.concatenate([task.weights for task in tasks])
    penalty = np.zeros(A.shape[1])
    penalty[:d], penalty[d : 5 * d] = shared_alpha, alpha
    rows = np.vstack([np.sqrt(s)[:, None] * A, np.diag(np.sqrt(penalty))])
    right = np.append(np.sqrt(s) * y, np.zeros(len(penalty)))
    best = np.linalg.lstsq(rows, right)[0]
    solution = mean_regularized_ridge(tasks, alpha, shared_alpha, fit_intercept)
    np.testing.assert_allclose(
        solution.objective, ((rows @ best - right) ** 2).sum(), rtol=1e-10, atol=1e-10
    )
    w0, V = best[:d], best[d : 5 * d].reshape(4, d)
    np.testing.assert_allclose(solution.coef[:, 0], w0 + V, rtol=1e-7, atol=1e-8)
    if shared_alpha:
        np.testing.assert_allclose(solution.shared_coef[0], w0, rtol=1e-7, atol=1e-8)
    if fit_intercept:
        np.testing.assert_allclose(solution.intercept[:, 0], best[5 * d :], rtol=1e-6, atol=1e-7)


def test_without_a_pull_each_task_is_least_squares():
    tasks = make_tasks(d=20)
    solution = mean_regularized_ridge(tasks, 0.0, 1.0)
    for task, coef, b in zip(tasks, solution.coef, solution.intercept, strict=True):
        root = np.sqrt(task.weights)
        Z = task.X - task.mean()
        y = task.y - np.average(task.y, weights=task.weights)
        expected = np.linalg.lstsq(root[:, None] * Z, root * y)[0]
        np.testing.assert_allclose(coef[0], expected, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(
            b[0], np.average(task.y - task.X @ coef[0], weights=task.weights), rtol=1e-8
        )


def logistic_objective(theta, tasks, k, alpha, shared_alpha):
    """Return the objective at (w0, v_1, ..., v_T, b), written out, and its gradient."""
    d, n_tasks = tasks[0].X.shape[1], len(tasks)
    theta = theta.reshape(k, -1)
    w0 = theta[:, :d]
    V = theta[:, d : d * (n_tasks + 1)].reshape(k, n_tasks, d)
    B = theta[:, d * (n_tasks + 1) :]
    value = 0.5 * shared_alpha * (w0**2).sum() + 0.5 * alpha * (V**2).sum()
    gradient = np.zeros_like(theta)
    gradient[:, :d] = shared_alpha * w0
    gradient[:, d : d * (n_tasks + 1)] = alpha * V.reshape(k, -1)
    for t, task in enumerate(tasks):
        logits = task.X @ (w0 + V[:, t]).T + B[:, t]
        if k == 1:
            logits = np.column_stack([np.zeros(len(logits)), logits])
        if task.allowed is not None:
            logits[:, ~task.allowed] = -np.inf
        total = logsumexp(logits, axis=1)
        value += task.weights @ (total - logits[np.arange(len(logits)), task.y])
        value += 0.5 * task.intercept_penalty * (B[:, t] ** 2).sum()
        R = np.exp(logits - total[:, None])
        R[np.arange(len(logits)), task.y] -= 1
        R = (task.weights[:, None] * R)[:, -k:]
        gradient[:, :d] += R.T @ task.X
        gradient[:, d * (t + 1) : d * (t + 2)] += R.T @ task.X
        gradient[:, d * (n_tasks + 1) + t] += R.sum(axis=0) + task.intercept_penalty * B[:, t]
    return value, gradient.ravel()


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("d", [4, 14, 60])  # more columns than a task's rows, than all rows
@pytest.mark.parametrize("alpha, shared_alpha", [(0.5, 2.0), (30.0, 0.05), (0.01, 1.0)])
def test_mean_regularized_logistic_is_the_optimum_of_scipy(k, d, alpha, shared_alpha):
    tasks = make_tasks(d=d, k=k, sizes=(8, 20, 12, 10))
    solution = mean_regularized_logistic(tasks, k, alpha, shared_alpha, tol=1e-6, max_iter=200)
    assert solution.gap <= 1e-6
    arguments = (tasks, k, alpha, shared_alpha)
    w0 = solution.shared_coef
    V = (solution.coef - w0).transpose(1, 0, 2).reshape(k, -1)
    theta = np.column_stack([w0, V, solution.intercept.T]).ravel()
    value, gradient = logistic_objective(theta, *arguments)
    np.testing.assert_allclose(solution.objective, value, rtol=1e-10)
    reference = minimize(
        logistic_objective, 0 * theta, arguments, jac=True, method="L-BFGS-B",
        options={"maxiter": 20000, "maxfun": 50000, "ftol": 1e-15, "gtol": 1e-8, "maxcor": 50},
    )  # fmt: skip
    assert value <= reference.fun * (1 + 1e-8)
    np.testing.assert_allclose(value, reference.fun, rtol=1e-7)
    assert (
        np.abs(gradient).max() < 1e-3 * np.abs(logistic_objective(0 * theta, *arguments)[1]).max()
    )


@pytest.mark.parametrize("solve", ["mean", "trace"])
def test_classes_that_a_task_does_not_know_or_lacks(solve):
    """A softmax over the classes that are allowed; a penalised intercept where one has no row."""
    tasks = make_tasks(k=3, sizes=(8, 20, 12, 10))
    y = np.where(tasks[0].y == 1, 2, tasks[0].y)
    allowed = np.array([True, False, True])
    tasks[0] = TaskRows(tasks[0].X, y, tasks[0].weights, allowed)
    y = np.where(tasks[1].y == 2, 0, tasks[1].y)
    tasks[1] = TaskRows(tasks[1].X - tasks[1].mean(), y, tasks[1].weights, None, 0.7)
    if solve == "mean":
        solution = mean_regularized_logistic(tasks, 3, 0.7, 1.0, tol=1e-8, max_iter=100)
        w0 = solution.shared_coef
        V = (solution.coef - w0).transpose(1, 0, 2).reshape(3, -1)
        theta = np.column_stack([w0, V, solution.intercept.T]).ravel()
        value, gradient = logistic_objective(theta, tasks, 3, 0.7, 1.0)
        np.testing.assert_allclose(solution.objective, value, rtol=1e-10)
        assert np.abs(gradient).max() < 1e-5
    else:
        solution = trace_norm_logistic(tasks, 3, 0.7, tol=1e-7, max_iter=20000)
        np.testing.assert_allclose(solution.coef[0, 1], 0.0, atol=1e-12)  # nothing asks for it
    assert solution.gap <= 1e-6
    assert np.isfinite(solution.coef).all() and np.isfinite(solution.intercept).all()


@pytest.mark.parametrize("shared_alpha", [0.0, 1.0])
def test_separable_classes_without_a_penalty_end(shared_alpha):
    X = np.linspace(-1, 1, 10)[:, None]
    tasks = [TaskRows(X, (X[:, 0] > 0).astype(int), np.ones(10))] * 2
    solution = mean_regularized_logistic(tasks, 1, 0.0, shared_alpha, tol=1e-6, max_iter=200)
    np.testing.assert_allclose(solution.shared_coef, 0.0, atol=1e-12)
    assert solution.objective < 1e-3
    assert np.isfinite(solution.coef).all()


def test_columns_without_any_variation_are_no_obstacle():
    tasks = [
        TaskRows(np.column_stack([task.X, np.full(len(task.X), 2.0)]), task.y, task.weights)
        for task in make_tasks(k=1)
    ]
    plain = mean_regularized_logistic(make_tasks(k=1), 1, 1.0, 0.0, tol=1e-8, max_iter=100)
    more = mean_regularized_logistic(tasks, 1, 1.0, 0.0, tol=1e-8, max_iter=100)
    np.testing.assert_allclose(more.objective, plain.objective, rtol=1e-9)


def test_says_when_it_has_not_arrived():
    tasks = make_tasks(k=1)
    solution = mean_regularized_logistic(tasks, 1, 1e-3, 1.0, tol=1e-12, max_iter=1)
    assert solution.n_iter == 1 and solution.gap > 1e-12
    solution = trace_norm_logistic(tasks, 1, 0.1, tol=1e-12, max_iter=5)
    assert solution.n_iter == 5 and solution.gap > 1e-12


def trace_norm_by_a_cone_programme(tasks, alpha):
    """Return the optimum of the least-squares form by clarabel.

    ``||W||_* = min (tr P + tr Q) / 2`` over positive semi-definite ``[[P, W], [W', Q]]``.
    """
    d, n_tasks = tasks[0].X.shape[1], len(tasks)
    m = d + n_tasks
    # Entries of the symmetric matrix as clarabel orders them: the upper triangle by columns.
    place = {}
    for column in range(m):
        for row in range(column + 1):
            place[row, column] = len(place)
    n = len(place) + n_tasks
    P, q = np.zeros((n, n)), np.zeros(n)
    for i in range(m):
        q[place[i, i]] = 0.5 * alpha
    constant = 0.0
    for t, task in enumerate(tasks):
        A = np.zeros((len(task.X), n))
        for j in range(d):
            A[:, place[t, n_tasks + j]] = task.X[:, j]
        A[:, len(place) + t] = 1.0
        P += 2 * (A.T * task.weights) @ A
        q -= 2 * A.T @ (task.weights * task.y)
        constant += task.weights @ task.y**2
    scale = np.array([1.0 if i == j else np.sqrt(2) for i, j in place])
    cone = sparse.hstack([-sparse.diags(scale), sparse.csc_matrix((len(place), n_tasks))])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    solver = clarabel.DefaultSolver(
        sparse.triu(P).tocsc(), q, cone.tocsc(), np.zeros(len(place)),
        [clarabel.PSDTriangleConeT(m)], settings,
    )  # fmt: skip
    return solver.solve().obj_val + constant


@pytest.mark.parametrize("alpha", [0.5, 8.0, 60.0])
def test_trace_norm_ridge_is_the_optimum_of_a_cone_programme(alpha):
    tasks = make_tasks(sizes=(9, 30, 12, 9))
    solution = trace_norm_ridge(tasks, alpha, tol=1e-9, max_iter=100000)
    optimum = trace_norm_by_a_cone_programme(tasks, alpha)
    assert solution.gap <= 1e-9
    np.testing.assert_allclose(solution.objective, optimum, rtol=1e-7)
    value = alpha * np.linalg.svd(solution.coef[:, 0], compute_uv=False).sum()
    for task, coef, b in zip(tasks, solution.coef[:, 0], solution.intercept[:, 0], strict=True):
        value += task.weights @ (task.y - task.X @ coef - b) ** 2
    np.testing.assert_allclose(solution.objective, value, rtol=1e-10)


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("d", [5, 70])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_trace_norm_meets_the_subgradient_condition(k, d, fit_intercept):
    """-G lies in alpha times the subdifferential: U V' on the span of W, at most 1 elsewhere."""
    tasks = make_tasks(d=d, k=k, sizes=(9, 30, 12, 9))
    alpha = {5: {0: 20.0, 1: 3.0, 3: 3.0}, 70: {0: 200.0, 1: 20.0, 3: 10.0}}[d][k]
    limits = {"tol": 1e-10, "max_iter": 200000}
    if k:
        solution = trace_norm_logistic(tasks, k, alpha, fit_intercept, **limits)
    else:
        solution = trace_norm_ridge(tasks, alpha, fit_intercept, **limits)
    assert solution.gap <= 1e-10
    G = []
    for task, coef, b in zip(tasks, solution.coef, solution.intercept, strict=True):
        logits = task.X @ coef.T + b
        if k:
            _, residual, _ = logistic_loss(logits, task.y, task.weights)
        else:
            residual = 2 * (task.weights * (logits[:, 0] - task.y))[:, None]
        if fit_intercept:
            np.testing.assert_allclose(residual.sum(axis=0), 0, atol=1e-6)
        else:
            np.testing.assert_array_equal(b, 0.0)
        G.append(residual.T @ task.X)
    G, W = np.vstack(G), solution.coef.reshape(-1, d)
    U, s, Vt = np.linalg.svd(W, full_matrices=False)
    rank = int((s > 1e-6).sum())
    assert 0 < rank < min(W.shape)
    U, Vt = U[:, :rank], Vt[:rank]
    np.testing.assert_allclose(U.T @ -G, alpha * Vt, atol=2e-3)
    np.testing.assert_allclose(-G @ Vt.T, alpha * U, atol=2e-3)
    outside = (G - U @ (U.T @ G)) @ (np.eye(d) - Vt.T @ Vt)
    assert np.linalg.norm(outside, 2) <= alpha * (1 + 1e-3)


@pytest.mark.parametrize("k", [0, 1])
def test_the_certificate_bounds_the_true_gap(k):
    tasks, alpha = make_tasks(k=k, sizes=(9, 30, 12, 9)), 1.0

    def solve(max_iter, tol=1e-12):
        if k:
            return trace_norm_logistic(tasks, k, alpha, tol=tol, max_iter=max_iter)
        return trace_norm_ridge(tasks, alpha, tol=tol, max_iter=max_iter)

    optimum = solve(50000).objective
    for n_iter in (1, 3, 10, 30, 100, 300):
        solution = solve(n_iter)
        assert solution.objective - optimum <= solution.gap * solution.objective + 1e-10
        assert solution.objective >= optimum * (1 - 1e-10)
    assert solve(50000, 1e-4).gap <= 1e-4
    assert solve(50000, 1e-4).n_iter < solve(50000, 1e-8).n_iter


def test_trace_norm_ends_where_steps_are_lost_in_rounding():
    """A column far smaller than the others has no say, and no iteration would give it one."""
    tasks = make_tasks()
    small = [replace(task, X=task.X * [1.0, 1.0, 1e-60, 1.0, 1e-90]) for task in tasks]
    rest = [replace(task, X=np.delete(task.X, [2, 4], axis=1)) for task in tasks]
    solution = trace_norm_ridge(small, 1e-40, tol=1e-6, max_iter=10000)
    assert solution.gap > 1
    assert solution.n_iter < 5000
    expected = trace_norm_ridge(rest, 1e-40, tol=1e-6, max_iter=10000)
    np.testing.assert_allclose(solution.coef[:, 0, [0, 1, 3]], expected.coef[:, 0], rtol=1e-6)


def test_a_large_trace_norm_leaves_the_means():
    tasks = make_tasks()
    solution = trace_norm_ridge(tasks, 1e6, tol=1e-9, max_iter=100)
    np.testing.assert_array_equal(solution.coef, 0.0)
    means = [np.average(task.y, weights=task.weights) for task in tasks]
    np.testing.assert_allclose(solution.intercept[:, 0], means)


@pytest.mark.parametrize("k", [1, 3])
def test_derivatives_of_the_loss(k):
    rng = np.random.default_rng(0)
    logits, codes = rng.normal(size=(6, k)), rng.integers(0, max(k, 2), 6)
    weights = rng.uniform(1, 2, 6)
    _, residual, P = logistic_loss(logits, codes, weights)
    bend = logistic_curvature(P, weights)
    for c in range(k):
        step = np.zeros(k)
        step[c] = 1e-5
        up, down = (logistic_loss(logits + s * step, codes, weights) for s in (1, -1))
        np.testing.assert_allclose((up[0] - down[0]).sum() / 2e-5, residual[:, c].sum(), rtol=1e-6)
        np.testing.assert_allclose((up[1] - down[1]) / 2e-5, bend[:, :, c], atol=1e-8)
