"""Samples as tensors and other arrays, and what must hold of them."""

import numpy as np
import pytest
import torch
from sklearn.utils._array_api import get_namespace, move_to

# Rounding of float64, in products that two libraries sum up in another order.
EXACT = {"rtol": 1e-9, "atol": 1e-10}


def place(name: str, **settings):
    """Return a function that makes arrays of a library, on a device, of numpy's."""
    if name == "array_api_strict":
        return pytest.importorskip(name).asarray
    return lambda values: torch.asarray(values, device=name, **settings)


def refuse_numpy(monkeypatch):
    """Let tensors on a CPU refuse to become numpy's arrays unasked, as those on a GPU do."""

    def refuse(*_, **__):
        raise TypeError("a tensor was handed to numpy")

    monkeypatch.setattr(torch.Tensor, "__array__", refuse)


def sizes_moved(monkeypatch):
    """Return a list that the sizes of arrays that change their library are appended to."""
    sizes = []

    def move(array, **place):
        sizes.append(np.prod(array.shape))
        return move_to(array, **place)

    monkeypatch.setattr("skltransfer._arrays.move_to", move)
    return sizes


def assert_same(found, expected, like, **tolerance):
    """Compare an array with numpy's, and its library and device with those of another."""
    assert type(found) is type(like)
    assert found.device == like.device
    found = move_to(found, xp=get_namespace()[0], device="cpu")
    np.testing.assert_allclose(found, expected, **(tolerance or EXACT))
