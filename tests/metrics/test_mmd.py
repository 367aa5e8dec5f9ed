"""Estimates and the test of the maximum mean discrepancy."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import kstest

from skltransfer.metrics import mmd, mmd_test

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(23, 3)), RNG.normal(0.7, 1.3, size=(17, 3))


def kernel(A, B, gamma):
    return np.array([[np.exp(-gamma * ((a - b) ** 2).sum()) for b in B] for a in A])


def by_loops(X, T, gamma, unbiased):
    within = [kernel(A, A, gamma) for A in (X, T)]
    means = [(K.sum() - len(K)) / (len(K) * (len(K) - 1)) if unbiased else K.mean() for K in within]
    return sum(means) - 2 * kernel(X, T, gamma).mean()


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_it_is_the_double_sum(estimator):
    expected = by_loops(X, T, 0.3, estimator == "unbiased")
    assert mmd(X, T, estimator=estimator, gamma=0.3) == pytest.approx(expected, abs=1e-12)


def test_the_widths_by_name():
    stacked = np.vstack([X, T])
    squares = [((a - b) ** 2).sum() for i, a in enumerate(stacked) for b in stacked[:i]]
    assert mmd(X, T) == mmd(X, T, gamma=1 / np.median(squares))
    scale = 1 / stacked.var(axis=0).sum()
    assert mmd(X, T, gamma="scale") == pytest.approx(mmd(X, T, gamma=scale))


def test_the_linear_estimate_is_the_mean_over_pairs_and_near_the_other_one():
    gamma = 0.2
    many, others = RNG.normal(size=(20_001, 2)), RNG.normal(0.5, size=(20_000, 2))
    value = mmd(many, others, estimator="linear", gamma=gamma)
    c = 1 + 4 * gamma  # of two normal distributions with means 0.5 apart in each feature
    expected = 2 / c * (1 - np.exp(-gamma * 0.5 / c))
    assert value == pytest.approx(expected, rel=0.1)
    one_pair = mmd(X[:2], T[:2], estimator="linear", gamma=gamma)
    K = {name: kernel(*pair, gamma) for name, pair in {"x": (X, X), "t": (T, T)}.items()}
    between = kernel(X[:2], T[:2], gamma)
    ways = [between[0, 0] + between[1, 1], between[0, 1] + between[1, 0]]
    assert any(np.isclose(one_pair, K["x"][0, 1] + K["t"][0, 1] - way) for way in ways)


def test_memory_grows_with_the_rows_alone():
    many = RNG.normal(size=(3000, 4))
    tracemalloc.start()
    mmd(many, many[:2500] + 0.1, gamma=0.1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3000 * 2500 * 8 / 10


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_permuted_statistics_are_those_of_the_permuted_rows(estimator):
    result = mmd_test(X, T, estimator=estimator, gamma=0.3, n_permutations=7, random_state=3)
    rng, rows = np.random.RandomState(3), np.vstack([X, T])
    expected = []
    for _ in range(7):
        chosen = np.zeros(len(rows), dtype=bool)
        chosen[rng.permutation(len(rows))[: len(X)]] = True
        expected.append(by_loops(rows[chosen], rows[~chosen], 0.3, estimator == "unbiased"))
    np.testing.assert_allclose(result.permuted, np.maximum(expected, -1), atol=1e-12)
    assert result.statistic == pytest.approx(mmd(X, T, estimator=estimator, gamma=0.3), abs=1e-12)
    assert result.p_value == (1 + (result.permuted >= result.statistic).sum()) / 8


@pytest.mark.parametrize("estimator", ["unbiased", "biased", "linear"])
def test_p_values_are_uniform_if_the_distributions_are_equal(estimator):
    rng, size = np.random.default_rng(1), 60 if estimator == "linear" else 16
    p_values = []
    for seed in range(200):
        rows = rng.exponential(size=(2 * size - 5, 2))
        result = mmd_test(
            rows[:size], rows[size:], estimator=estimator, n_permutations=99, random_state=seed
        )
        # The p-value is one of 0.01, ..., 1, and uniform between two of them by a draw.
        p_values.append(result.p_value - rng.uniform(0, 0.01))
    assert kstest(p_values, "uniform").pvalue > 0.01


@pytest.mark.parametrize("estimator", ["unbiased", "biased", "linear"])
def test_a_difference_is_found(estimator):
    rng, n = np.random.default_rng(2), 400
    rows, others = rng.normal(size=(n, 2)), rng.normal(scale=2.0, size=(n, 2))
    assert mmd_test(rows, others, estimator=estimator).p_value < 0.02


def test_columns_of_frames_are_matched_by_name():
    pandas = pytest.importorskip("pandas")
    source = pandas.DataFrame(X, columns=["a", "b", "c"])
    target = pandas.DataFrame(T, columns=["a", "b", "c"])
    assert mmd(source, target[["c", "a", "b"]]) == pytest.approx(mmd(X, T), rel=1e-9)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="X has 3 features and X_target has 2"):
        mmd(X, T[:, :2])
    with pytest.raises(ValueError, match="X_target has one sample.*estimator='biased'"):
        mmd(X, T[:1])
    assert mmd(X, T[:1], estimator="biased") > 0
    with pytest.raises(ValueError, match="estimator='unbaised'.*Did you mean 'unbiased'"):
        mmd(X, T, estimator="unbaised")
    with pytest.raises(ValueError, match="gamma=0"):
        mmd(X, T, gamma=0)
    with pytest.raises(ValueError, match="n_permutations=0"):
        mmd_test(X, T, n_permutations=0)
    with pytest.raises(ValueError, match="NaN"):
        mmd(X, np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="gamma cannot be computed.*Scale"):
        mmd(1e200 * X, T)
