"""Losses without labels, against their equations written out in numpy."""

import math

import numpy as np
import pytest
import torch

from skltransfer.feature._pretext import barlow_twins, masked_error, nt_xent

A, B = np.random.default_rng(0).normal(size=(2, 7, 5))


def tensors(*arrays):
    return [torch.tensor(array) for array in arrays]


def nt_xent_by_loops(a, b, temperature):
    """Equation 1 of Chen et al. 2020, pair by pair."""
    z, n = np.concatenate([a, b]), len(a)

    def similarity(i, j):
        return z[i] @ z[j] / (np.linalg.norm(z[i]) * np.linalg.norm(z[j]))

    def loss(i, j):
        others = [k for k in range(2 * n) if k != i]
        total = sum(math.exp(similarity(i, k) / temperature) for k in others)
        return -math.log(math.exp(similarity(i, j) / temperature) / total)

    return [(loss(i, n + i) + loss(n + i, i)) / 2 for i in range(n)]


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_is_its_equation(temperature):
    found = nt_xent(*tensors(A, B), temperature)
    np.testing.assert_allclose(found, nt_xent_by_loops(A, B, temperature), rtol=1e-12)


def test_nt_xent_tells_which_views_belong_together():
    matched = nt_xent(*tensors(A, A + 0.01 * B), 0.1).mean()
    assert matched < nt_xent(*tensors(A, np.roll(A, 1, axis=0)), 0.1).mean() - 1
    assert nt_xent(*tensors(A[:1], B[:1]), 0.1).item() == 0  # one row has nothing to differ from


@pytest.mark.parametrize("weight", [0.0, 0.005, 1.0])
def test_barlow_twins_is_its_equation(weight):
    correlation = np.corrcoef(A.T, B.T)[:5, 5:]
    expected = sum(
        (1 - correlation[i, j]) ** 2 if i == j else weight * correlation[i, j] ** 2
        for i in range(5)
        for j in range(5)
    )
    assert barlow_twins(*tensors(A, B), weight).item() == pytest.approx(expected, rel=1e-5)


def test_barlow_twins_survives_what_does_not_vary():
    constant = torch.ones((7, 5), dtype=torch.float64, requires_grad=True)
    loss = barlow_twins(constant, torch.tensor(B), 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(5.0) and constant.grad.isfinite().all()


def test_masked_error_is_the_mean_over_the_mask():
    mask = (np.random.default_rng(1).random(A.shape) < 0.4).astype(float)
    mask[0] = 0
    expected = [
        np.mean([(A[i, j] - B[i, j]) ** 2 for j in range(5) if mask[i, j]] or [0]) for i in range(7)
    ]
    np.testing.assert_allclose(masked_error(*tensors(A, B, mask)), expected, rtol=1e-12)
    np.testing.assert_allclose(masked_error(*tensors(A, B)), ((A - B) ** 2).mean(1), rtol=1e-12)
