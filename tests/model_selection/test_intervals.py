"""Intervals for means over draws, folds and samples, and p-values of several comparisons."""

import numpy as np
import pytest
from scipy import stats

from skltransfer.model_selection import holm, mean_interval, row_interval


def test_the_interval_is_students():
    values = np.random.default_rng(0).normal(size=12)
    mean, low, high = mean_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((values.mean(), expected.low, expected.high))


def test_it_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    intervals = [mean_interval(rng.normal(3, 2, size=8), confidence=0.9) for _ in range(2000)]
    assert np.mean([low <= 3 <= high for _, low, high in intervals]) == pytest.approx(0.9, abs=0.02)


def test_folds_of_one_data_set_widen_it():
    """Nadeau and Bengio: the variance is multiplied by 1 + n test / train."""
    values = np.random.default_rng(0).normal(size=10)
    _, low, high = mean_interval(values)
    _, wide_low, wide_high = mean_interval(values, test_to_train=0.25)
    assert (wide_high - wide_low) / (high - low) == pytest.approx(np.sqrt(1 + 10 * 0.25))


def test_missing_and_single_values():
    assert mean_interval([1.0, np.nan, 3.0])[0] == 2.0
    assert mean_interval([1.0]) == (1.0, -np.inf, np.inf)
    assert np.isnan(mean_interval([])).all()


def test_the_interval_over_rows_is_students_with_a_wider_variance():
    values = np.random.default_rng(0).normal(size=40)
    mean, low, high = row_interval(values, 5, confidence=0.9)
    margin = stats.t.ppf(0.95, 39) * np.sqrt(values.var(ddof=1) / 40 * 5 / 4)
    assert (mean, low, high) == pytest.approx(
        (values.mean(), values.mean() - margin, values.mean() + margin)
    )
    assert row_interval([*values, np.nan], 5, confidence=0.9) == (mean, low, high)
    assert row_interval([1.0], 2) == (1.0, -np.inf, np.inf)
    with pytest.raises(ValueError, match="n_folds=1 is not at least 2"):
        row_interval(values, 1)


def test_values_that_happen_to_agree_have_an_interval():
    values = np.random.default_rng(0).integers(2, size=30)
    _, low, high = row_interval(values, 5, step=1)
    variance = (((values - values.mean()) ** 2).sum() + 1) / 29
    margin = stats.t.ppf(0.975, 29) * np.sqrt(variance / 30 * 5 / 4)
    assert (high - low) / 2 == pytest.approx(margin)
    assert row_interval(np.zeros(30), 5) == (0, 0, 0)
    _, low, high = row_interval(np.zeros(30), 5, step=1)
    assert low == -high < -0.05


def test_holm_rejects_what_the_step_down_procedure_rejects():
    rng = np.random.default_rng(0)
    for _ in range(50):
        p_values = rng.uniform(size=6) ** 3
        level, rejected = 0.05, np.zeros(6, dtype=bool)
        for rank, i in enumerate(np.argsort(p_values)):  # Holm, section 2: stop at the first
            if p_values[i] > level / (6 - rank):
                break
            rejected[i] = True
        np.testing.assert_array_equal(holm(p_values) <= level, rejected)
    np.testing.assert_allclose(holm([0.5, np.nan, 0.01]), [0.5, np.nan, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).shape == (0,)
