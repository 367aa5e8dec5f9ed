"""Weights of a mixture, against formulas written out row by row."""

import math
import statistics

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from skltransfer.model_selection._mixture import (
    class_probabilities,
    exponential_weights,
    sample_losses,
    spread_folds,
)


def test_classes_are_spread_evenly_over_folds():
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c", "d"], [23, 11, 1, 2])
    fold = spread_folds(y, 5, rng)
    sizes = np.array([np.bincount(fold[y == label], minlength=5) for label in "abcd"])
    assert (np.ptp(sizes, axis=1) <= 1).all()
    assert np.ptp(np.bincount(fold)) <= 1
    again = spread_folds(y, 5, np.random.default_rng(0))
    np.testing.assert_array_equal(fold, again)
    assert not np.array_equal(fold, spread_folds(y, 5, np.random.default_rng(1)))


def test_numbers_are_spread_at_random():
    y = np.arange(12.0)
    fold = spread_folds(y, 5, np.random.default_rng(0), is_classification=False)
    assert sorted(np.bincount(fold)) == [2, 2, 2, 3, 3]
    assert spread_folds(np.arange(3), 3, np.random.default_rng(0)).tolist() != [0, 0, 0]


def test_no_class_has_probability_zero():
    model = DummyClassifier(strategy="prior").fit([[0], [0], [0], [0]], ["b", "b", "b", "d"])
    p = class_probabilities(model, [[0]], np.array(["a", "b", "c", "d"]))
    np.testing.assert_allclose(p, [[0.005, 0.74, 0.005, 0.25]])


def test_losses_of_samples():
    p = np.array([[[0.2, 0.8], [0.5, 0.5]], [[0.7, 0.3], [0.1, 0.9]]])
    losses = sample_losses(p, np.array([1, 0]))
    np.testing.assert_allclose(losses[0], [-math.log(0.8), -math.log(0.5)])
    np.testing.assert_allclose(losses[1, 1], -math.log(0.1))
    errors = sample_losses(np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([1.0, 4.0]))
    assert errors.tolist() == [[0, 4], [1, 16]]


def by_hand(losses, n_samples):
    """Weigh by the mean differences a posteriori, for 20 prior rows, one strategy at a time."""
    raw = []
    for row in losses:
        others = [other for other in losses if other is not row]
        noise = statistics.mean(
            statistics.variance([a - b for a, b in zip(row, other, strict=True)])
            for other in others
        )
        gap = statistics.mean(row) - statistics.mean(map(statistics.mean, losses))
        prior, noise = 1 / 20, noise / n_samples
        raw.append(math.exp(-n_samples * gap * prior / (prior + noise)))
    weights = [0.8 * value / sum(raw) for value in raw]
    weights[0] += 0.2
    return weights


def test_weights_by_hand():
    losses = np.array([[1.0, 2.0, 0.5], [0.2, 0.4, 0.1], [0.9, 0.1, 2.0]])
    expected = by_hand(losses.tolist(), 3)
    weights = exponential_weights(losses, prior_rows=20, baseline_share=0.2)
    np.testing.assert_allclose(weights, expected)
    as_of_six = exponential_weights(losses, prior_rows=20, baseline_share=0.2, n_samples=6)
    np.testing.assert_allclose(as_of_six, by_hand(losses.tolist(), 6))


def test_what_samples_agree_on_counts_more():
    """The same mean differences, the same for all samples, or of one sample alone."""
    agreed = np.array([[0.3] * 10, [0.0] * 10])
    one = np.array([[3.0] + [0.0] * 9, [0.0] * 10])
    settings = {"prior_rows": 20, "baseline_share": 0.0}
    weights = [exponential_weights(losses, **settings)[1] for losses in (agreed, one)]
    assert weights[0] == pytest.approx(1 / (1 + math.exp(-3)))
    assert 0.5 < weights[1] < 0.75


def test_one_sample_tells_nothing():
    weights = exponential_weights(np.array([[5.0], [0.0]]), prior_rows=20, baseline_share=0.2)
    np.testing.assert_allclose(weights, [0.6, 0.4])


def test_small_weights_are_dropped_but_never_the_baseline():
    losses = np.repeat([[900.0], [1.0], [1.1], [5.0]], 2, axis=1)
    weights = exponential_weights(losses, prior_rows=0, baseline_share=0, min_weight=0.03)
    raw = np.exp([-2.0, -2.2])
    np.testing.assert_allclose(weights, [0, *raw / raw.sum(), 0], atol=1e-12)
    weights = exponential_weights(losses, prior_rows=0, baseline_share=0.01, min_weight=0.03)
    small = 0.99 * np.exp(-10) / np.exp(-2 * losses[1:, 0]).sum()
    assert weights[0] == pytest.approx(0.01 / (1 - small))
    alone = exponential_weights(losses[:1], prior_rows=20, baseline_share=0.2, min_weight=0.03)
    assert alone.tolist() == [1.0]
