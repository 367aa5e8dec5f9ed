"""Kernel values tile by tile, against scikit-learn's whole matrices and against differences."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.gaussian_process import kernels as gaussian_processes
from sklearn.metrics.pairwise import pairwise_kernels

from skltransfer._solvers import _kernels
from skltransfer._solvers._kernel_choice import scale_gamma
from skltransfer._solvers._kernels import (
    KERNELS,
    SPARSE_KERNELS,
    Kernel,
    KernelMatrix,
)

SETTINGS = {"gamma": 0.3, "degree": 2, "coef0": 0.5}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X, T = rng.random((30, 4)), rng.random((25, 4))
    X[rng.random(X.shape) < 0.4] = 0
    T[rng.random(T.shape) < 0.4] = 0
    return X, T


def values_of(kernel, X, T):
    """Return all that a KernelMatrix computes."""
    values = KernelMatrix(kernel, X)
    some, others = np.arange(3, 20), np.arange(28)
    return [
        values.matrix(),
        values.block(some, others),
        values.product(some, np.linspace(0, 1, len(some))),
        values.mean(T),
        values.diagonal(),
    ]


def expected_values(K, K_target):
    some = np.arange(3, 20)
    return [
        K,
        K[some][:, :28],
        K[:, some] @ np.linspace(0, 1, len(some)),
        K_target.mean(axis=1),
        np.diag(K),
    ]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_tiles_equal_the_whole_kernel(kernel, form, rows, monkeypatch):
    if form is sparse.csr_array and kernel not in SPARSE_KERNELS:
        return
    monkeypatch.setattr(_kernels, "_TILE", (7, 11))
    monkeypatch.setattr(_kernels, "_RBF_TILE", (5, 9))
    X, T = rows
    K = pairwise_kernels(X, metric=kernel, filter_params=True, **SETTINGS)
    K_target = pairwise_kernels(X, T, metric=kernel, filter_params=True, **SETTINGS)
    found = values_of(Kernel(kernel, **SETTINGS), form(X), form(T))
    for value, expected in zip(found, expected_values(K, K_target), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-12)


@pytest.mark.parametrize("degree", [2, 5])
def test_a_callable_gets_its_parameters(degree, rows):
    def power(A, B, *, degree):
        return (A @ B.T) ** degree

    X, T = rows
    found = values_of(Kernel(power, params={"degree": degree}), X, T)
    K, K_target = (X @ X.T) ** degree, (X @ T.T) ** degree
    for value, expected in zip(found, expected_values(K, K_target), strict=True):
        np.testing.assert_allclose(value, expected, atol=1e-12)


def test_kernels_of_gaussian_processes_are_callables(rows):
    X, T = rows
    kernel = gaussian_processes.Matern(length_scale=0.7, nu=1.5)
    for value, expected in zip(
        values_of(Kernel(kernel), X, T), expected_values(kernel(X), kernel(X, T)), strict=True
    ):
        np.testing.assert_allclose(value, expected, atol=1e-12)


def test_far_rows_keep_their_small_distances():
    """In squared norms, the distances between the rows would be lost."""
    X, T = np.array([[1e9], [1e9 + 1], [0.0]]), np.array([[1e9 + 2], [1e9 + 2]])
    K = np.exp(-0.3 * (X - X.T) ** 2)
    K_target = np.exp(-0.3 * (X - T.T) ** 2)
    values = KernelMatrix(Kernel("rbf", 0.3), X)
    np.testing.assert_allclose(values.matrix(), K, atol=1e-12)
    np.testing.assert_allclose(values.mean(T), K_target.mean(axis=1), atol=1e-12)
    near = KernelMatrix(Kernel("rbf", 0.3), X - 1e9)  # only the target is far
    np.testing.assert_allclose(near.mean(T), np.exp(-0.3 * (X - 1e9 - T.T) ** 2).mean(axis=1))
    assert values.float32_error(T) == np.inf


def test_sparse_rows_that_lie_too_far_are_refused():
    X = sparse.csr_array([[1e9], [1.0]])
    with pytest.raises(ValueError, match="MaxAbsScaler"):
        KernelMatrix(Kernel("rbf", 1.0), X)
    with pytest.raises(ValueError, match="MaxAbsScaler"):
        KernelMatrix(Kernel("rbf", 1.0), X[1:]).mean(X)


@pytest.mark.parametrize("metric", ["linear", lambda A, B: np.full((len(A), len(B)), np.nan)])
def test_values_that_are_not_finite_are_refused(metric):
    values = KernelMatrix(Kernel(metric), np.full((3, 1), 1e200))
    for compute in (
        lambda: values.matrix(),
        lambda: values.block(np.arange(2), np.arange(2)),
        lambda: values.product(np.arange(2), np.ones(2)),
        lambda: values.mean(values.X),
        lambda: values.diagonal(),
    ):
        with pytest.raises(ValueError, match="kernel of these rows is not finite. Scale the feat"):
            compute()


def test_a_callable_of_another_shape_is_refused():
    values = KernelMatrix(Kernel(lambda A, B: np.ones(len(A))), np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"shape \(3,\). A callable has to return"):
        values.matrix()


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        (Kernel("rbf", 0.5), False),
        (Kernel("poly", 0.5, 3, 1), False),
        (Kernel("poly", 0.5, 3, -2.0), True),
        (Kernel("sigmoid", 0.5, coef0=1), True),
        (Kernel(lambda A, B: A @ B.T), False),
        (Kernel(lambda A, B: -(A @ B.T)), True),
        (Kernel(lambda A, B: A @ np.arange(A.shape[1] * B.shape[1]).reshape(4, 4) @ B.T), True),
        (Kernel(gaussian_processes.RBF(2.0)), False),
    ],
)
def test_indefinite_kernels_are_detected(kernel, expected, rows):
    assert KernelMatrix(kernel, rows[0] - 0.5).is_surely_indefinite() is expected


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_scale_gamma_is_one_over_the_sum_of_variances(form, rows):
    X, T = rows
    counts = np.arange(30) % 3
    stacked = np.vstack([np.repeat(X, counts, axis=0), T])
    gamma = scale_gamma(form(X), counts, form(T))
    assert gamma == pytest.approx(1 / stacked.var(axis=0).sum())
    standardised = (stacked - stacked.mean(axis=0)) / stacked.std(axis=0)
    of_svc = 1 / (4 * standardised.var())
    assert scale_gamma(form(standardised), np.ones(len(stacked)), form(T[:0])) == pytest.approx(
        of_svc
    )
    shifted = scale_gamma(form(X + [0, 1e6, 0, -3.0]), counts, form(T + [0, 1e6, 0, -3.0]))
    assert shifted == pytest.approx(gamma, rel=1e-8 if form is np.asarray else 1e-2)
    for value in (1.0, 0.1, 1e9 / 3):
        same = form(np.full((3, 2), value)), np.ones(3), form(np.full((2, 2), value))
        assert scale_gamma(*same) == 1.0
