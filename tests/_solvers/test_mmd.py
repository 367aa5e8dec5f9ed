"""The discrepancy of two samples, against double loops and known values."""

import numpy as np
import pytest

from skltransfer._solvers._kernel_choice import median_gamma
from skltransfer._solvers._mmd import squared_mmd

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(23, 3)), RNG.normal(0.7, 1.3, size=(17, 3))


def by_loops(X, T, gamma, unbiased):
    def mean(A, B, same):
        values = [
            np.exp(-gamma * ((a - b) ** 2).sum())
            for i, a in enumerate(A)
            for j, b in enumerate(B)
            if not (same and unbiased and i == j)
        ]
        return np.mean(values)

    return mean(X, X, True) + mean(T, T, True) - 2 * mean(X, T, False)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize("gamma", [0.01, 0.5, 20.0])
@pytest.mark.parametrize("far", [0.0, 1e6])
def test_it_is_the_double_sum(unbiased, gamma, far):
    expected = by_loops(X, T, gamma, unbiased)
    # Far from 0, a distance itself has few digits.
    rounding = 1e-12 if not far else 1e-8
    assert squared_mmd(X + far, T + far, gamma, unbiased=unbiased) == pytest.approx(
        expected, abs=rounding
    )


def test_tiles_make_no_difference():
    many, others = RNG.normal(size=(1300, 2)), RNG.normal(0.3, size=(700, 2))
    K = [
        np.exp(-0.5 * ((A[:, None] - B) ** 2).sum(axis=2))
        for A, B in ((many, many), (others, others), (many, others))
    ]
    expected = K[0].mean() + K[1].mean() - 2 * K[2].mean()
    assert squared_mmd(many, others, 0.5, unbiased=False) == pytest.approx(expected, abs=1e-12)


def test_equal_samples_and_equal_distributions():
    assert squared_mmd(X, X[::-1].copy(), 0.3, unbiased=False) == pytest.approx(0, abs=1e-15)
    values = [
        squared_mmd(RNG.normal(size=(30, 2)), RNG.normal(size=(20, 2)), 0.5) for _ in range(200)
    ]
    spread = np.std(values) / np.sqrt(200)
    assert abs(np.mean(values)) < 4 * spread
    biased = [
        squared_mmd(RNG.normal(size=(30, 2)), RNG.normal(size=(20, 2)), 0.5, unbiased=False)
        for _ in range(200)
    ]
    assert np.mean(biased) > 10 * spread


def test_two_gaussians_have_a_known_discrepancy():
    many, others = RNG.normal(size=(4000, 1)), RNG.normal(1.0, 1.0, size=(4000, 1))
    gamma = 0.5
    # E k(x, y) for x - y normal with mean d and variance 2 is exp(-d^2 gamma / c) / sqrt(c).
    c = 1 + 4 * gamma
    expected = 2 / np.sqrt(c) * (1 - np.exp(-gamma / c))
    assert squared_mmd(many, others, gamma) == pytest.approx(expected, rel=0.1)


def test_the_median_width():
    stacked = np.vstack([X, T])
    squares = [((a - b) ** 2).sum() for i, a in enumerate(stacked) for b in stacked[:i]]
    assert median_gamma(X, T) == pytest.approx(1 / np.median(squares))
    assert median_gamma(10 * X, 10 * T) == pytest.approx(median_gamma(X, T) / 100)
    many = RNG.normal(size=(3000, 2))
    assert median_gamma(many, many) == pytest.approx(1 / (4 * np.log(2)), rel=0.1)
    mostly_zero = np.vstack([np.zeros((10, 2)), np.ones((2, 2))])
    assert np.isfinite(median_gamma(mostly_zero, mostly_zero))
    assert median_gamma(np.ones((1, 2)), np.ones((1, 2))) == 1.0
