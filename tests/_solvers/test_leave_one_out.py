"""Leave-one-out predictions of ridge regression against fits without each sample."""

import numpy as np

from skltransfer._solvers._leave_one_out import ridge_leave_one_out


def refitted(Z, Y, weights, penalty, row):
    """Return what the fit without a sample predicts for it."""
    kept = np.arange(len(Z)) != row
    W = np.diag(weights[kept])
    moments = Z[kept].T @ W @ Z[kept] + penalty * np.eye(Z.shape[1])
    return Z[row] @ np.linalg.solve(moments, Z[kept].T @ W @ Y[kept])


def test_predictions_are_those_of_fits_without_the_sample():
    rng = np.random.default_rng(0)
    Z, Y = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    weights = rng.uniform(size=20) * (np.arange(20) % 4 > 0)  # some are 0
    fit = ridge_leave_one_out(Z, Y, weights, 0.5)
    expected = [refitted(Z, Y, weights, 0.5, row) for row in range(20)]
    np.testing.assert_allclose(fit.predictions, expected, rtol=0, atol=1e-12)


def test_a_perfect_fit_does_not_see_its_own_label():
    """With as many features as samples, fitted values follow the labels and these do not."""
    rng = np.random.default_rng(1)
    Z, Y = rng.normal(size=(10, 10)), rng.normal(size=(10, 1))
    fit = ridge_leave_one_out(Z, Y, np.ones(10), 1e-8)
    np.testing.assert_allclose(Z @ fit.coefficients, Y, atol=1e-5)
    changed = Y.copy()
    changed[3] += 100
    again = ridge_leave_one_out(Z, changed, np.ones(10), 1e-8)
    np.testing.assert_allclose(again.predictions[3], fit.predictions[3], rtol=1e-6)


def test_many_problems_at_once():
    rng = np.random.default_rng(2)
    Z, Y, weights = rng.normal(size=(3, 15, 4)), rng.normal(size=(3, 15, 2)), rng.uniform(size=15)
    together = ridge_leave_one_out(Z, Y, weights, 2.0)
    for number in range(3):
        alone = ridge_leave_one_out(Z[number], Y[number], weights, 2.0)
        for several, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(several[number], one, atol=1e-13)
