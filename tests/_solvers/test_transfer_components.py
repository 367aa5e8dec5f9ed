"""The eigenproblem of transfer components, against dense solvers and closed forms."""

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.metrics.pairwise import pairwise_kernels

from skltransfer._solvers import _block_krylov, _transfer_components
from skltransfer._solvers._block_krylov import leading_right_vectors
from skltransfer._solvers._transfer_components import TransferProblem, domain_differences

KERNELS = {
    "rbf": {"gamma": 0.2},
    "laplacian": {"gamma": 0.1},
    "linear": {},
    "poly": {"degree": 2, "gamma": 0.2, "coef0": 1},
    "sigmoid": {"gamma": 0.05, "coef0": 0},
}


def rows(n, d=5, seed=0):
    rng = np.random.default_rng(seed)
    target = 0.8 * rng.normal(size=(n // 3, d)) + 0.5
    return np.vstack([rng.normal(size=(n - n // 3, d)), target]), n - n // 3


def matrices(F, L, regularization):
    """Return both sides of the generalised problem, as a textbook has them."""
    H = np.eye(len(F)) - 1 / len(F)
    return F.T @ H @ F, regularization * np.eye(F.shape[1]) + F.T @ L @ L.T @ F


def check(F, L, regularization, k, tol=1e-8):
    """Compare with a dense generalised solver; return the components."""
    A, B = matrices(F, L, regularization)
    found = TransferProblem(F.copy()).solve(L, regularization, k, 1e-9)
    W, theta = found.weights, found.eigenvalues
    exact = eigh(A, B, eigvals_only=True)[::-1][:k]
    np.testing.assert_allclose(theta, exact, rtol=1e-8)
    residuals = np.linalg.norm(A @ W - B @ W * theta, axis=0)
    assert (residuals <= tol * theta * np.linalg.norm(B @ W, axis=0)).all()
    np.testing.assert_allclose(W.T @ B @ W, np.eye(k), atol=1e-7)
    objective = np.trace(np.linalg.solve(W.T @ B @ W, W.T @ A @ W))
    assert objective == pytest.approx(exact.sum(), rel=1e-9)
    assert found.residual <= 1e-9
    return found


@pytest.mark.parametrize("regularization", [1e-3, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("kernel", list(KERNELS))
def test_components_of_a_kernel_equal_those_of_a_dense_solver(kernel, regularization):
    Z, n = rows(90)
    K = pairwise_kernels(Z, metric=kernel, **KERNELS[kernel])
    check(K, domain_differences(n, len(Z) - n), regularization, 5)


@pytest.mark.parametrize("regularization", [1e-2, 1.0, 100.0])
@pytest.mark.parametrize("n_rows", [60, 260, 900])
def test_each_method_equals_the_dense_solver(n_rows, regularization):
    """Dense, Krylov spaces of narrow blocks, and of wide ones."""
    Z, n = rows(n_rows)
    K = pairwise_kernels(Z, metric="rbf", gamma=0.2)
    check(K, domain_differences(n, len(Z) - n), regularization, 10)


@pytest.mark.parametrize("regularization", [1e-3, 1.0, 100.0])
@pytest.mark.parametrize("d", [4, 60, 300])
def test_components_of_columns_equal_those_of_a_dense_solver(d, regularization):
    Z, n = rows(400, d)
    check(Z + 3, domain_differences(n, len(Z) - n), regularization, 4)


@pytest.mark.parametrize("n_rows", [60, 300])
def test_class_differences_equal_the_dense_problem(n_rows):
    Z, n = rows(n_rows)
    rng = np.random.default_rng(1)
    source, target = rng.integers(0, 4, n), rng.integers(0, 4, len(Z) - n)
    L = domain_differences(n, len(Z) - n, source, target)
    assert L.shape == (len(Z), 5)
    check(pairwise_kernels(Z, metric="rbf", gamma=0.2), L, 1.0, 6)


def test_differences_are_those_of_the_paper():
    """M summed up matrix by matrix; class 2 is absent from the target, 3 from the source."""
    source, target = np.array([0, 0, 1, 2, 1, 1]), np.array([1, 0, 3, -1])
    n, m = len(source), len(target)
    e = np.r_[np.full(n, 1 / n), np.full(m, -1 / m)]
    M = np.outer(e, e)
    for c in (0, 1):
        e = np.zeros(n + m)
        e[:n][source == c] = 1 / (source == c).sum()
        e[n:][target == c] = -1 / (target == c).sum()
        M += np.outer(e, e)
    L = domain_differences(n, m, source, target)
    np.testing.assert_allclose(L @ L.T, M / np.linalg.norm(M), atol=1e-15)
    np.testing.assert_allclose(L.sum(axis=0), 0, atol=1e-15)
    alone = domain_differences(n, m)
    np.testing.assert_allclose(alone @ alone.T, np.outer(alone, alone), atol=1e-15)
    assert np.linalg.norm(alone) == pytest.approx(1)


def test_a_loose_tolerance_is_kept_and_a_tight_one_costs_more(monkeypatch):
    Z, n = rows(400)
    K, L = pairwise_kernels(Z, metric="rbf", gamma=1.0), domain_differences(n, len(Z) - n)
    calls = []
    forward = _transfer_components._Operator.forward
    monkeypatch.setattr(
        _transfer_components._Operator,
        "forward",
        lambda self, V: calls.append(V.shape[1]) or forward(self, V),
    )
    columns = []
    for tol in (1e-1, 1e-10):
        calls.clear()
        assert TransferProblem(K.copy()).solve(L, 1.0, 10, tol).residual <= tol
        columns.append(sum(calls))
    assert columns[0] < columns[1] < len(K) / 2  # and nothing dense


def test_small_eigenvalues_do_not_drown_in_the_largest():
    """Eigenvalues over eleven orders: a dense solver of the squared matrix has no digit left."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 6)) * 10.0 ** -np.arange(6)
    n = 200
    L = domain_differences(n, 100)
    found = TransferProblem(Z.copy()).solve(L, 1.0, 6, 1e-9)
    assert found.residual <= 1e-9
    Zc = Z - Z.mean(axis=0)
    # The difference is small against the regularization in all but the first columns.
    scale = 1 / np.sqrt(1 + np.linalg.norm(Zc.T @ L) ** 2)
    singular = np.linalg.svd(Zc, compute_uv=False)
    assert (found.eigenvalues <= singular**2 * (1 + 1e-8)).all()
    assert (found.eigenvalues >= (scale * singular) ** 2).all()


class Matrix:
    """A matrix as an operator, which counts its products."""

    def __init__(self, A):
        self.A, self.shape, self.n_columns = A, A.shape, 0

    def forward(self, V):
        self.n_columns += V.shape[1]
        return self.A @ V

    def backward(self, U):
        return self.A.T @ U


def with_singular_values(s, n=300, seed=0):
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0] for _ in range(2))
    return (left * np.r_[s, np.zeros(n - len(s))]) @ right.T, right


def test_leading_vectors_span_the_singular_space():
    s = 1 / np.arange(1, 301) ** 2
    A, right = with_singular_values(s)
    operator = Matrix(A)
    V = leading_right_vectors(operator, 8, 1e-10)
    np.testing.assert_allclose(np.abs(right[:, :8].T @ V), np.eye(8), atol=1e-7)
    assert operator.n_columns < 120


def test_equal_singular_values_that_a_block_misses_are_noticed(monkeypatch):
    """Twelve equal ones: a block of four sees four of them, and smaller ones behind."""
    s = np.r_[np.full(12, 2.0), 1.5 / np.arange(1, 289) ** 0.5]
    A, _ = with_singular_values(s)
    assert leading_right_vectors(Matrix(A), 5, 1e-3) is None
    monkeypatch.setattr(_block_krylov, "_misses", lambda *_: False)
    V = leading_right_vectors(Matrix(A), 5, 1e-3)
    assert np.linalg.norm(A @ V) ** 2 < 4.9 * 4  # what would have been returned: not five of size 2


def test_a_pair_of_equal_singular_values_is_found():
    s = np.r_[3.0, 2.0, 2.0, 1 / np.arange(1, 298) ** 2]
    A, right = with_singular_values(s)
    V = leading_right_vectors(Matrix(A), 4, 1e-10)
    overlap = np.linalg.norm(right[:, 1:3].T @ V[:, 1:3])
    assert overlap == pytest.approx(np.sqrt(2), rel=1e-9)


@pytest.mark.parametrize("n_found", [0, 2])
def test_eigenvectors_that_lapack_loses_are_found_in_another_way(n_found, monkeypatch):
    """Its solver for a part of the spectrum gives fewer where many eigenvalues are equal."""

    def lose(matrix, subset_by_index, **settings):
        values, vectors = eigh(matrix, subset_by_index=subset_by_index)
        return values[:n_found], vectors[:, :n_found]

    monkeypatch.setattr(_transfer_components, "eigh", lose)
    Z, n = rows(60)
    K = pairwise_kernels(Z, metric="rbf", gamma=0.2)
    check(K, domain_differences(n, len(Z) - n), 1.0, 5)


def test_low_rank_ends_in_an_invariant_space():
    """Rank 10 of 300: the space is exhausted long before the first check."""
    s = np.linspace(2, 1, 10)
    A, right = with_singular_values(s)
    V = leading_right_vectors(Matrix(A), 15, 1e-9)
    np.testing.assert_allclose(V.T @ V, np.eye(15), atol=1e-10)
    np.testing.assert_allclose(np.abs(right[:, :10].T @ V[:, :10]), np.eye(10), atol=1e-7)
    assert np.linalg.norm(A @ V[:, 10:]) < 1e-7


def test_a_zero_matrix_has_zero_components():
    found = TransferProblem(np.zeros((300, 300))).solve(domain_differences(200, 100), 1.0, 5, 1e-9)
    np.testing.assert_array_equal(found.eigenvalues, 0)
    np.testing.assert_allclose(found.weights.T @ found.weights, np.eye(5), atol=1e-12)
    assert found.residual == 0


@pytest.mark.parametrize("scale", [1e-60, 1e-8, 1e8, 1e60])
def test_scale_and_regularization_go_together(scale):
    """F times s and the regularization times s^2 leave the problem as it is."""
    Z, n = rows(250)
    K, L = pairwise_kernels(Z, metric="rbf", gamma=0.2), domain_differences(n, len(Z) - n)
    plain = TransferProblem(K.copy()).solve(L, 1.0, 5, 1e-9)
    scaled = TransferProblem(K * scale).solve(L, scale**2, 5, 1e-9)
    np.testing.assert_allclose(scaled.eigenvalues, plain.eigenvalues, rtol=1e-8)
    np.testing.assert_allclose(scaled.weights * scale, plain.weights, atol=1e-6)


def test_values_beyond_floats_are_refused():
    with pytest.raises(ValueError, match="range of floats.*StandardScaler"):
        TransferProblem(np.eye(5) * 1e160).solve(domain_differences(3, 2), 1.0, 2, 1e-9)


def test_results_repeat_bit_for_bit_and_nothing_global_is_drawn():
    Z, n = rows(300)
    K, L = pairwise_kernels(Z, metric="rbf", gamma=0.2), domain_differences(n, len(Z) - n)
    state = np.random.get_state()[1].copy()
    first, second = (TransferProblem(K.copy()).solve(L, 1.0, 5, 1e-9) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
    assert (np.random.get_state()[1] == state).all()
    largest = np.abs(first.weights).argmax(axis=0)
    assert (first.weights[largest, np.arange(5)] > 0).all()


def test_no_second_matrix_of_all_rows_is_formed():
    import tracemalloc

    Z, n = rows(1200)
    K, L = pairwise_kernels(Z, metric="rbf", gamma=0.2), domain_differences(n, len(Z) - n)
    tracemalloc.start()
    try:
        TransferProblem(K).solve(L, 1.0, 5, 1e-9)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.6 * K.nbytes
