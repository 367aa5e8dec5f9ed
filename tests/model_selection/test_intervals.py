"""Intervals for means over draws and folds."""

import numpy as np
import pytest
from scipy import stats

from skltransfer.model_selection import mean_interval


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
