"""Distances and order of sparse rows against those of dense rows."""

import numpy as np
from scipy import sparse
from scipy.spatial.distance import cdist

from skltransfer._solvers._distances import dense_order, sparse_squared_distances


def test_squared_distances_keep_the_digits_of_near_rows():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(30, 12)) * (rng.uniform(size=(30, 12)) < 0.4) * 1e3
    B = np.concatenate([A[:5], A[5:10] + 1e-7, rng.normal(size=(4, 12)), np.zeros((1, 12))])
    squared = sparse_squared_distances(sparse.csr_array(A), sparse.csr_array(B))
    np.testing.assert_allclose(squared, cdist(A, B, "sqeuclidean"), rtol=1e-11)
    assert (squared[np.arange(5), np.arange(5)] == 0).all()
    np.testing.assert_array_equal(sparse_squared_distances(A, sparse.csr_array(B)), squared)


def test_the_order_is_that_of_dense_rows():
    rng = np.random.default_rng(0)
    for n_features in (1, 3, 300):
        X = rng.integers(-2, 3, (200, n_features)) * (rng.uniform(size=(200, n_features)) < 0.5)
        X = X * rng.choice([0.1, 1.0, 1e-300, 1e300], size=n_features)
        rows = sparse.csr_array(X)
        rows.eliminate_zeros()
        np.testing.assert_array_equal(dense_order(rows), np.lexsort(X.T[::-1]))
