"""NearestNeighborsReweighter against counting."""

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist

from skltransfer import (
    NearestNeighborsReweighter,
)


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(150, 3)), rng.normal([0.8, 0, 0], 0.7, size=(80, 3))
    y, y_target = ((Z**2)[:, 0] - Z[:, 1] for Z in (X, X_target))
    return X, y, X_target, y_target


@pytest.mark.parametrize(
    ("algorithm", "metric"),
    [
        (algorithm, metric)
        for algorithm in ("auto", "kd_tree", "ball_tree", "brute")
        for metric in ("euclidean", "manhattan", "chebyshev", "canberra", "hamming", "callable")
        if algorithm != "kd_tree" or metric in ("euclidean", "manhattan", "chebyshev")
    ],
)
def test_neighbours_by_counting(algorithm, metric):
    """On a grid, where most distances are ties, with rows that repeat and rows that weigh 0."""
    rng = np.random.default_rng(0)
    X, X_target, X_new = (rng.integers(0, 6, size=(n, 2)).astype(float) for n in (90, 60, 40))
    counts = np.arange(90) % 3
    k = 12
    function = (lambda a, b: np.abs(a - b).max()) if metric == "callable" else metric
    scipy_name = {"manhattan": "cityblock", "callable": "chebyshev"}.get(metric, metric)
    model = NearestNeighborsReweighter(n_neighbors=k, metric=function, algorithm=algorithm)
    model.fit(X, sample_weight=counts, X_target=X_target)
    repeated = np.repeat(X, counts, axis=0)
    for rows in (X, X_new):
        expected = []
        for row in rows:
            to_source, to_target = (cdist([row], Z, scipy_name)[0] for Z in (repeated, X_target))
            r = np.sort(to_source)[k - 1] + 1e-9
            expected.append((to_target <= r).mean() / (to_source <= r).mean())
        np.testing.assert_allclose(model.density_ratio(rows), expected, rtol=1e-12)


def test_fractions_of_a_neighbour(domains):
    """Weights of a quarter: four times as many rows make up k."""
    X, _, X_target, _ = domains
    quarter = NearestNeighborsReweighter(n_neighbors=5)
    quarter.fit(X, sample_weight=np.full(len(X), 0.25), X_target=X_target)
    whole = NearestNeighborsReweighter(n_neighbors=20).fit(X, X_target=X_target)
    np.testing.assert_allclose(quarter.density_ratio(X), whole.density_ratio(X))


def test_the_number_of_neighbours(domains):
    X, _, X_target, _ = domains
    assert NearestNeighborsReweighter().fit(X, X_target=X_target).n_neighbors_ == 12
    many = NearestNeighborsReweighter(n_neighbors=150).fit(X, X_target=X_target)
    assert many.n_neighbors_ == 150
    with pytest.raises(ValueError, match="n_neighbors=151 .* sum up to 150. Choose fewer"):
        NearestNeighborsReweighter(n_neighbors=151).fit(X, X_target=X_target)
    with pytest.raises(ValueError, match="sum up to 1. .*scale sample_weight"):
        NearestNeighborsReweighter().fit(X, sample_weight=np.full(150, 1 / 150), X_target=X_target)
    few = NearestNeighborsReweighter(n_neighbors=3).fit(X, X_target=X_target)
    assert few.sample_weight_.std() > many.sample_weight_.std()


def test_many_columns_give_the_same_by_tree_and_by_force():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(600, 30)), rng.normal(0.2, 1, size=(200, 30))
    for weights in (None, rng.uniform(0.4, 3, size=600), rng.choice([0.01, 5], size=600)):
        brute, tree = (
            NearestNeighborsReweighter(algorithm=algorithm)
            .fit(X, sample_weight=weights, X_target=X_target)
            .sample_weight_
            for algorithm in ("auto", "ball_tree")
        )
        np.testing.assert_allclose(brute, tree)


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree", "brute"])
def test_rows_too_far_apart_for_any_distance_are_refused(domains, algorithm):
    """They once were searched for ever."""
    X, _, X_target, _ = domains
    model = NearestNeighborsReweighter(algorithm=algorithm)
    with pytest.raises(ValueError, match="too large. Scale the columns"):
        model.fit(X * 1e200, X_target=X_target * 1e200)


def test_one_neighbour_is_the_row_itself(domains):
    X, _, X_target, _ = domains
    with pytest.raises(ValueError, match="n_neighbors=1 reaches no other row, because a row of X"):
        NearestNeighborsReweighter(n_neighbors=1).fit(X, X_target=X_target)
    with pytest.raises(ValueError, match="as often as its weight says. .* scale sample_weight"):
        NearestNeighborsReweighter().fit(X, sample_weight=np.full(150, 1e8), X_target=X_target)
    with pytest.raises(ValueError, match="Raise n_neighbors=2, here 2 rows"):
        NearestNeighborsReweighter(n_neighbors=2).fit(X, X_target=X_target + 50.0)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "canberra", "callable"])
def test_sparse_rows_are_counted_as_dense_ones(metric):
    rng = np.random.default_rng(0)
    X, X_target = (rng.poisson(0.4, (n, 12)) * 0.7 for n in (80, 50))  # with ties and equal rows
    function = (lambda a, b: np.abs(a - b).max()) if metric == "callable" else metric
    model = NearestNeighborsReweighter(n_neighbors=6, metric=function)
    dense = model.fit(X, X_target=X_target).sample_weight_
    sparse_rows, ratio = sparse.coo_array(X), model.density_ratio(X_target)
    model.fit(sparse_rows, X_target=sparse.csc_matrix(X_target))
    np.testing.assert_allclose(model.sample_weight_, dense, rtol=1e-12)
    for rows in (X_target, sparse.coo_matrix(X_target)):
        np.testing.assert_allclose(model.density_ratio(rows), ratio, rtol=1e-12)


def test_trees_hold_dense_rows_only(domains):
    X, _, X_target, _ = domains
    model = NearestNeighborsReweighter(algorithm="ball_tree")
    with pytest.raises(ValueError, match="algorithm='ball_tree' takes dense rows, .*'brute'"):
        model.fit(sparse.csr_array(X), X_target=X_target)
