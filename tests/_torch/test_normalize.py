"""Pixels to what a network takes, against the formula in double precision."""

import numpy as np
import pytest
import torch

from skltransfer import Preprocessing

MEAN, STD = (0.48, 0.45, 0.1), (0.2, 0.25, 0.5)
PREPROCESSING = Preprocessing(32, 32, MEAN, STD)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("precision", "unit"),
    [("float32", 3e-7), ("float64", 1e-15), ("bfloat16", 4e-3), ("float16", 5e-4)],
)
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_pixels_are_normalised_as_the_formula_says(
    precision, unit, n_channels, kind, channels_last
):
    values = RNG.integers(0, 256, (4, n_channels, 7, 9), dtype=np.uint8)
    exact = values.astype(np.float64) / 255
    pixels = torch.from_numpy(values if kind == "uint8" else exact.astype(kind))
    if channels_last:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
    before = pixels.clone()
    x = PREPROCESSING.normalize(pixels, getattr(torch, precision))
    mean, std = (np.reshape(v, (1, 3, 1, 1)) for v in (MEAN, STD))
    expected = (exact - mean) / std
    assert x.shape == expected.shape
    assert x.dtype == getattr(torch, precision)
    assert x.is_contiguous()
    assert torch.equal(pixels, before)
    # Half a unit in the last place of numbers up to 4, and of float32 pixels on the way.
    unit = max(unit, 3e-7) if kind == "float32" else unit
    np.testing.assert_allclose(x.double().numpy(), expected, atol=4 * unit, rtol=unit)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_pixels_that_ask_for_a_gradient_get_one_and_are_the_same(n_channels):
    pixels = torch.from_numpy(RNG.random((2, n_channels, 7, 9)))
    expected = PREPROCESSING.normalize(pixels, torch.float32)
    x = PREPROCESSING.normalize(pixels.requires_grad_(), torch.float32)
    assert torch.equal(x, expected)
    x.sum().backward()
    by_channel = 1 / np.reshape(STD, (3, 1, 1))
    slopes = by_channel if n_channels == 3 else by_channel.sum(axis=0, keepdims=True)
    np.testing.assert_allclose(
        pixels.grad.numpy(), np.broadcast_to(slopes, pixels.shape), rtol=1e-6
    )
