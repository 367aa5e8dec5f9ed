"""Nystroem approximations of the eigenproblem, against dense matrices and the exact solution."""

import numpy as np
import pytest
from scipy.linalg import eigh
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics.pairwise import pairwise_kernels

from skltransfer._solvers import _landmarks
from skltransfer._solvers._kernels import Kernel, KernelMatrix
from skltransfer._solvers._landmarks import LandmarkSpace
from skltransfer._solvers._transfer_components import TransferProblem, domain_differences
from tests._solvers.test_transfer_components import KERNELS, rows
from tests.feature.test_tca import up_to_signs

N = 90


def space_of(metric, n_landmarks=N, scale=1.0):
    """Return rows, their kernel matrix (times `scale`), landmarks, and the approximation."""
    Z, _ = rows(N)
    given = KERNELS[metric]
    kernel = Kernel(lambda A, B: scale * pairwise_kernels(A, B, metric=metric, **given))
    matrix = KernelMatrix(kernel, Z)
    drawn = np.sort(np.random.default_rng(0).permutation(N)[:n_landmarks])
    return Z, matrix.matrix(), drawn, LandmarkSpace(matrix, drawn, matrix.block(drawn, drawn))


@pytest.mark.parametrize("regularization", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("metric", list(KERNELS))
def test_with_all_rows_it_is_the_exact_solution(metric, regularization):
    _, K, _, space = space_of(metric)
    L = domain_differences(60, 30, np.arange(60) % 3, np.arange(30) % 3)
    exact = TransferProblem(K.copy()).solve(L, regularization, 5, 1e-9)
    found = space.solve(L, regularization, 5, 1e-9)
    np.testing.assert_allclose(found.eigenvalues, exact.eigenvalues, rtol=1e-6)
    expected = K @ exact.weights
    size = np.abs(expected).max()
    up_to_signs(K @ found.weights / size, expected / size, atol=1e-6)
    np.testing.assert_allclose(space.mapped(found.weights, 70), (K @ found.weights)[:70])
    assert space.error < 1e-9


@pytest.mark.parametrize("height", [2**21, 200])
@pytest.mark.parametrize("metric", ["rbf", "poly", "sigmoid", "linear"])
def test_it_solves_the_problem_of_the_approximated_matrix(metric, height, monkeypatch):
    """In one block of rows, and in several; sigmoid is indefinite, linear is of low rank."""
    monkeypatch.setattr(_landmarks, "_BLOCK_VALUES", height)
    _, K, drawn, space = space_of(metric, 20)
    P = np.linalg.pinv(K[np.ix_(drawn, drawn)], rcond=1e-13, hermitian=True)
    approximated = K[:, drawn] @ P @ K[drawn]
    L = domain_differences(60, 30)
    H = np.eye(N) - 1 / N
    theta, W = eigh(
        approximated @ H @ approximated, np.eye(N) + approximated @ L @ L.T @ approximated
    )
    found = space.solve(L, 1.0, 4, 1e-9)
    np.testing.assert_allclose(found.eigenvalues, theta[: -4 - 1 : -1], rtol=1e-6)
    expected = approximated @ W[:, : -4 - 1 : -1]
    size = np.abs(expected).max()
    up_to_signs(space.mapped(found.weights, N) / size, expected / size, atol=1e-6)
    differences = np.abs(K.diagonal() - approximated.diagonal()).sum()
    assert space.error == pytest.approx(differences / np.abs(K.diagonal()).sum(), abs=1e-8)


@pytest.mark.parametrize("n_landmarks", [5, 20, 60])
@pytest.mark.parametrize("metric", ["rbf", "laplacian"])
def test_the_error_bounds_the_measured_ones(metric, n_landmarks):
    Z, K, drawn, space = space_of(metric, n_landmarks)
    whitening = np.linalg.pinv(K[np.ix_(drawn, drawn)], rcond=1e-13, hermitian=True)
    differences = K - K[:, drawn] @ whitening @ K[drawn]
    trace = np.trace(K)
    assert space.error == pytest.approx(np.linalg.norm(differences, "nuc") / trace, rel=1e-6)
    assert np.linalg.norm(differences) / trace <= space.error
    values = np.linalg.eigvalsh(K) - np.linalg.eigvalsh(K - differences)
    assert np.abs(values).max() / trace <= space.error
    assert 1e-3 < space.error < 0.9
    # scikit-learn's approximation is the same, for the same landmarks.
    theirs = Nystroem(metric, n_components=n_landmarks, **KERNELS[metric])
    theirs.fit(Z[drawn])
    np.testing.assert_allclose(
        theirs.transform(Z) @ theirs.transform(Z).T, K - differences, atol=1e-6
    )


@pytest.mark.parametrize("metric", ["rbf", "poly"])
def test_principal_components_are_those_of_the_approximated_matrix(metric):
    _, K, drawn, space = space_of(metric, 30)
    P = np.linalg.pinv(K[np.ix_(drawn, drawn)], rcond=1e-13, hermitian=True)
    approximated = K[:, drawn] @ P @ K[drawn]
    H = np.eye(N) - 1 / N
    values, V = eigh(H @ approximated @ H)
    found, offset = space.principal(4, 1e-9)
    np.testing.assert_allclose(found.eigenvalues, values[:-5:-1], rtol=1e-7)
    expected = V[:, :-5:-1] * np.sqrt(values[:-5:-1])
    up_to_signs(space.mapped(found.weights, N) - offset, expected, atol=1e-5)
    assert found.residual < 1e-9


@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_scales_of_the_kernel(scale):
    L = domain_differences(60, 30)
    plain = space_of("rbf", 20)[-1].solve(L, 1.0, 3, 1e-9)
    scaled = space_of("rbf", 20, scale)[-1].solve(L, scale**2, 3, 1e-9)
    np.testing.assert_allclose(scaled.eigenvalues, plain.eigenvalues, rtol=1e-6)
    np.testing.assert_allclose(scaled.weights * scale, plain.weights, rtol=1e-5, atol=1e-8)


def test_equal_landmarks_and_a_kernel_of_zeros():
    Z, _ = rows(N)
    Z[1] = Z[0]
    matrix = KernelMatrix(Kernel("rbf", 0.2), Z)
    drawn = np.arange(20)
    L = domain_differences(60, 30)
    space = LandmarkSpace(matrix, drawn, matrix.block(drawn, drawn))
    without = drawn[1:]
    same = LandmarkSpace(matrix, without, matrix.block(without, without))
    found, expected = (s.solve(L, 1.0, 4, 1e-9) for s in (space, same))
    np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, rtol=1e-7)
    zeros = KernelMatrix(Kernel(lambda A, B: np.zeros((len(A), len(B)))), Z)
    nothing = LandmarkSpace(zeros, drawn, np.zeros((20, 20)))
    assert nothing.error == 0 and not nothing.solve(L, 1.0, 2, 1e-9).eigenvalues.any()
