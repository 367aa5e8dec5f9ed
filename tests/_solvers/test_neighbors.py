"""Nearest neighbours and weights within a radius, against all distances."""

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

from skltransfer._solvers import _neighbors
from skltransfer._solvers._neighbors import chosen_algorithm, neighbor_index

rng = np.random.default_rng(0)
# Squared distances of 1e-8 beside squared norms of 1e9, which products do not resolve.
centers = np.repeat(1e4 * rng.normal(size=(5, 8)), 70, axis=0)
clusters = np.random.default_rng(1).permutation(centers + 1e-4 * rng.normal(size=(350, 8)))
SAMPLES = {
    "few columns": (rng.normal(size=(400, 3)), rng.normal(size=(300, 3))),
    "many columns": (rng.normal(size=(400, 11)), rng.normal(size=(300, 11))),
    # Most distances are ties, and more rows tie with the last neighbour than are searched.
    "grid": (
        rng.integers(0, 2, (300, 9)).astype(float),
        rng.integers(0, 3, (200, 9)).astype(float),
    ),
    "far clusters": (clusters[:200], clusters[200:]),
    "far from 0": tuple(1e7 + rng.normal(size=(n, 8)) for n in (200, 150)),
}
WEIGHTS = {
    "none": lambda n: None,
    "whole": lambda n: np.arange(n) % 3 + 1.0,
    "light": lambda n: np.where(np.arange(n) % 50 == 0, 5.0, 0.01),
}


def by_all_distances(rows, counts, other, k):
    """Return radius and weight as they are defined."""
    counts = np.ones(len(rows)) if counts is None else counts
    radius, weight = np.empty(len(other)), np.empty(len(other))
    for i, distances in enumerate(cdist(other, rows)):
        order = np.argsort(distances)
        reached = np.cumsum(counts[order]) >= k * (1 - 1e-12)
        radius[i] = distances[order][reached.argmax()]
        weight[i] = counts[distances <= radius[i] * (1 + 1e-12)].sum()
    return radius, weight


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree", "brute"])
def test_radius_and_weight_by_definition(algorithm, name, weights, monkeypatch):
    monkeypatch.setattr(_neighbors, "_BLOCK_SIZE", 2**14)  # several blocks
    rows, other = SAMPLES[name]
    counts = WEIGHTS[weights](len(rows))
    index = neighbor_index(rows, counts, algorithm=algorithm)
    for k in (1, 9, 20):
        radius, weight = index.radius_and_weight(other, k)
        expected = by_all_distances(rows, counts, other, k)
        np.testing.assert_allclose(radius, expected[0], rtol=1e-12)
        np.testing.assert_allclose(weight, expected[1], rtol=1e-12)
        np.testing.assert_allclose(index.weight_within(other, radius), weight, rtol=1e-12)
        # Of the other rows themselves, at distances that are no ties.
        near = neighbor_index(other, algorithm=algorithm).weight_within(other, radius * 1.01)
        every = cdist(other, other) <= radius[:, None] * 1.01
        np.testing.assert_array_equal(near, every.sum(axis=1))


@pytest.mark.parametrize("algorithm", ["kd_tree", "brute"])
def test_neighbours_in_ascending_order(algorithm):
    rows, other = SAMPLES["many columns"]
    distances, index = neighbor_index(rows, algorithm=algorithm).nearest(other, 5)
    every = cdist(other, rows)
    np.testing.assert_array_equal(index, np.argsort(every, axis=1)[:, :5])
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :5], rtol=1e-13)


def test_products_are_used_where_they_are_safe(monkeypatch):
    """And only there; fails if all distances are computed for any samples."""
    seen = []
    plain = _neighbors.all_distances
    monkeypatch.setattr(_neighbors, "all_distances", lambda *a: seen.append(a) or plain(*a))
    rows, other = SAMPLES["many columns"]
    neighbor_index(rows).radius_and_weight(other, 9)
    rows, other = SAMPLES["far from 0"]
    neighbor_index(rows).radius_and_weight(other, 9)
    assert not seen
    rows, other = SAMPLES["far clusters"]
    neighbor_index(rows).radius_and_weight(other, 9)
    assert seen


def test_the_algorithm_suits_the_rows():
    assert chosen_algorithm(np.zeros((9, 6)), "euclidean") == "kd_tree"
    assert chosen_algorithm(np.zeros((9, 6)), "canberra") == "ball_tree"
    assert chosen_algorithm(np.zeros((9, 7)), "euclidean") == "brute"
    assert chosen_algorithm(np.zeros((9, 7)), max) == "ball_tree"
    assert chosen_algorithm(sparse.csr_array((9, 2)), "euclidean") == "brute"
