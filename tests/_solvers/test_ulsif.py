"""uLSIF and RuLSIF: exact leave-one-out scores against brute force."""

import numpy as np
import pytest

from skltransfer._solvers._ulsif import (
    Pairs,
    draw_pairs,
    leave_one_out_errors,
    second_moments,
    solve_ulsif,
)
from tests._solvers.test_kliep import kernel
from tests._solvers.test_kmm import shifted_rows

REGS = np.array([1e-3, 1e-2, 0.1, 1.0, 10.0])


def kernels(n_source, n_target, n_centers=15, gamma=0.3):
    X, T = shifted_rows(n_source, n_target, 3)
    return kernel(X, T[:n_centers], gamma), kernel(T, T[:n_centers], gamma)


def left_out(S, T, pairs, alpha, reg):
    """Solve anew for each pair that is left out: a row of `S` and a row of `T`."""
    errors = []
    for i, j in zip(pairs.source, pairs.target, strict=True):
        s, t = np.delete(S, i, axis=0), np.delete(T, j, axis=0)
        H = (1 - alpha) * s.T @ s / len(s) + alpha * t.T @ t / len(t)
        theta = np.maximum(np.linalg.solve(H + reg * np.eye(len(H)), t.mean(axis=0)), 0)
        errors.append(
            (1 - alpha) * (S[i] @ theta) ** 2 / 2 + alpha * (T[j] @ theta) ** 2 / 2 - T[j] @ theta
        )
    return np.mean(errors)


def scores(S, T, weights, pairs, alpha, regs=REGS):
    moments = second_moments(S, weights), second_moments(T), T.mean(axis=0)
    return leave_one_out_errors(S, T, *moments, weights.sum(), pairs, alpha, regs)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(("n_source", "n_target"), [(60, 60), (60, 45), (45, 60), (2, 20)])
def test_leaving_one_out_equals_brute_force(alpha, n_source, n_target):
    S, T = kernels(n_source, n_target)
    pairs = draw_pairs(np.ones(n_source), np.ones(n_target), np.random.RandomState(0))
    assert len(pairs.source) == min(n_source, n_target)
    found = scores(S, T, np.ones(n_source), pairs, alpha)
    expected = [left_out(S, T, pairs, alpha, reg) for reg in REGS]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    assert np.ptp(found) > 1e-3


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
def test_pairs_in_the_order_of_the_rows(alpha):
    """The pairs of the literature: row i of one with row i of the other, to the shorter's end."""
    S, T = kernels(60, 45)
    pairs = Pairs(np.arange(45), np.arange(45), np.ones(45), np.ones(45), 60, 45)
    expected = [left_out(S, T, pairs, alpha, reg) for reg in REGS]
    np.testing.assert_allclose(
        scores(S, T, np.ones(60), pairs, alpha), expected, rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("n_target", [30, 300])
def test_a_weight_of_two_is_two_rows_left_out_one_by_one(alpha, n_target):
    S, T = kernels(60, n_target)
    counts = 1 + np.arange(60) % 3
    repeated = np.repeat(S, counts, axis=0)
    weighted_pairs = draw_pairs(counts.astype(float), np.ones(n_target), np.random.RandomState(0))
    pairs = draw_pairs(np.ones(len(repeated)), np.ones(n_target), np.random.RandomState(0))
    np.testing.assert_array_equal(np.repeat(np.arange(60), counts)[pairs.source], weighted_pairs[0])
    np.testing.assert_array_equal(pairs.target, weighted_pairs.target)
    np.testing.assert_array_equal(weighted_pairs.mass, 1)
    found = scores(S, T, counts.astype(float), weighted_pairs, alpha)
    expected = [left_out(repeated, T, pairs, alpha, reg) for reg in REGS]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_fractions_of_weight_are_left_out_as_documented(alpha):
    S, T = kernels(40, 90)
    weights = np.random.default_rng(0).uniform(0.2, 2.7, size=40)
    pairs = draw_pairs(weights, np.ones(90), np.random.RandomState(0))
    total, units = weights.sum(), int(np.ceil(weights).sum())
    assert pairs.n_units == units == len(pairs.source)
    np.testing.assert_allclose(np.bincount(pairs.source, weights=pairs.mass), weights)
    assert pairs.mass.max() <= 1
    for reg, found in zip(REGS, scores(S, T, weights, pairs, alpha), strict=True):
        on_source, on_target = [], []
        for i, j, mass in zip(pairs.source, pairs.target, pairs.mass, strict=True):
            rest, t = weights.copy(), np.delete(T, j, axis=0)
            rest[i] -= mass
            scale = total * (units - 1) / units  # as if all units had the mean weight
            H = (1 - alpha) * (S.T * rest) @ S / scale + alpha * t.T @ t / len(t)
            theta = np.maximum(np.linalg.solve(H + reg * np.eye(15), t.mean(axis=0)), 0)
            on_source.append((1 - alpha) * (S[i] @ theta) ** 2 / 2)
            on_target.append(alpha * (T[j] @ theta) ** 2 / 2 - T[j] @ theta)
        expected = np.average(on_source, weights=pairs.mass) + np.mean(on_target)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_blocks_of_pairs_change_nothing():
    S, T = kernels(700, 600)
    pairs = draw_pairs(np.ones(700), np.ones(600), np.random.RandomState(0))
    parts = [
        pairs._replace(
            source=pairs.source[i::6],
            target=pairs.target[i::6],
            mass=pairs.mass[i::6],
            target_mass=pairs.target_mass[i::6],
        )
        for i in range(6)  # a hundred pairs at a time
    ]
    expected = np.mean([scores(S, T, np.ones(700), part, 0.1) for part in parts], axis=0)
    np.testing.assert_allclose(scores(S, T, np.ones(700), pairs, 0.1), expected, rtol=1e-12)


def test_pairs_are_spread_over_both_domains():
    for n_source, n_target in ((10, 1000), (1000, 10), (7, 7), (1, 3)):
        pairs = draw_pairs(np.ones(n_source), np.ones(n_target), np.random.RandomState(0))
        n_pairs = min(n_source, n_target)
        for part, n in ((pairs.source, n_source), (pairs.target, n_target)):
            assert len(np.unique(part)) == n_pairs
            assert part.max() < n
            assert np.diff(np.sort(part)).max(initial=0) <= n // n_pairs + 1
    shuffled = draw_pairs(np.ones(50), np.ones(50), np.random.RandomState(0)).target
    assert (np.diff(shuffled) < 0).any()
    for weights in (np.full(5, 1e300), np.full(5, 1e-300), np.array([1e-300, 1e300])):
        pairs = draw_pairs(weights, np.ones(20), np.random.RandomState(0))
        assert np.isfinite(pairs.mass).all()
        assert pairs.source.max() < len(weights)


def test_the_solution_is_that_of_the_equations():
    S, T = kernels(60, 45)
    counts = 1.0 + np.arange(60) % 3
    repeated = np.repeat(S, counts.astype(int), axis=0)
    H, h = second_moments(S, counts), T.mean(axis=0)
    np.testing.assert_allclose(H, repeated.T @ repeated / len(repeated), rtol=1e-12)
    np.testing.assert_allclose(second_moments(T), T.T @ T / 45, rtol=1e-12)
    theta = solve_ulsif(H, h, 0.1)
    expected = np.linalg.solve(H + 0.1 * np.eye(15), h)
    np.testing.assert_allclose(theta, np.maximum(expected, 0), rtol=1e-9)
    assert (expected < 0).any()
