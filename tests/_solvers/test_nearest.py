"""The nearest row, against all distances in float64."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from skltransfer._solvers import _nearest
from skltransfer._solvers._nearest import nearest_rows


def pairs(d, scale=1.0, offset=0.0, n=300, m=1500):
    rng = np.random.default_rng(d)
    rows, among = rng.normal(size=(n, d)), rng.normal(0.3, size=(m, d))
    return rows * scale + offset, among * scale + offset


@pytest.mark.parametrize("d", [1, 3, 6, 20])
@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1e-40, 0.0), (1e30, 0.0), (1.0, 300.0)])
def test_few_and_many_pairs_equal_all_distances(d, scale, offset, monkeypatch):
    """By one matrix, by a tree, and by tiles of float32."""
    rows, among = pairs(d, scale, offset)
    expected = cdist(rows / scale, among / scale).argmin(axis=1)
    for most in [0] if offset else [0, 1e9]:
        monkeypatch.setattr(_nearest, "_FEW_PAIRS", most)
        np.testing.assert_array_equal(nearest_rows(rows, among), expected)


@pytest.mark.parametrize("d", [2, 8])
def test_of_equal_rows_it_is_the_first(d, monkeypatch):
    monkeypatch.setattr(_nearest, "_FEW_PAIRS", 0)
    rows, among = pairs(d)
    among = np.vstack([among, among[::-1]])
    found = nearest_rows(rows, among)
    np.testing.assert_array_equal(found, cdist(rows, among).argmin(axis=1))
    assert found.max() < 1500


def test_distances_that_float32_cannot_tell_apart(monkeypatch):
    """Each row has a twin, nearer to it than the rounding of float32."""
    monkeypatch.setattr(_nearest, "_FEW_PAIRS", 0)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 8))
    among = np.vstack([rows + 1e-6 * rng.normal(size=rows.shape), rows])
    np.testing.assert_array_equal(nearest_rows(rows, among), np.arange(600, 1200))
    rounded = rows.astype(np.float32), among.astype(np.float32)
    halves = 0.5 * (rounded[1] ** 2).sum(axis=1)
    found = (halves - rounded[0] @ rounded[1].T).argmin(axis=1)
    assert (found < 600).mean() > 0.1
