"""The closed forms against normal equations."""

import numpy as np
import pytest

from skltransfer._solvers._ridge import ridge_path, solve_ridge


def normal_equations(Z, R, penalty):
    rows = [
        np.linalg.solve(Z.T @ Z + np.diag(a), Z.T @ r) for a, r in zip(penalty, R.T, strict=True)
    ]
    return np.stack(rows)


@pytest.mark.parametrize("n, p", [(40, 6), (6, 40)])
def test_equals_the_normal_equations(n, p):
    rng = np.random.default_rng(0)
    Z, R = rng.normal(size=(n, p)), rng.normal(size=(n, 3))
    alphas = np.array([1e-2, 1.0, 1e3])
    for alpha, D in zip(alphas, ridge_path(Z, R, alphas), strict=True):
        expected = normal_equations(Z, R, np.full((3, p), alpha))
        np.testing.assert_allclose(D, expected, rtol=1e-9, atol=1e-12)
    penalty = 10.0 ** rng.uniform(-2, 2, size=(3, p))
    penalty[1] = penalty[0]
    penalty[2] = 5.0
    expected = normal_equations(Z, R, penalty)
    np.testing.assert_allclose(solve_ridge(Z, R, penalty), expected, rtol=1e-9, atol=1e-11)


def test_without_a_penalty_it_is_the_least_squares_of_least_norm():
    rng = np.random.default_rng(0)
    Z, R = rng.normal(size=(5, 9)), rng.normal(size=(5, 2))
    Z[4] = Z[3]
    expected = np.linalg.lstsq(Z, R)[0].T
    np.testing.assert_allclose(ridge_path(Z, R, np.zeros(1))[0], expected, atol=1e-10)
    np.testing.assert_allclose(solve_ridge(Z, R, np.zeros((2, 9))), expected, atol=1e-10)
