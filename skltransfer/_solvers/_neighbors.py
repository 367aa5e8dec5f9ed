"""Nearest neighbours of rows, and the weight of all rows within a radius of each.

Distances are those of the rows themselves, so that ties are found: a distance is taken for the
same one if it differs by no more than `SLACK`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.neighbors import BallTree, KDTree, NearestNeighbors

from skltransfer._blas import threads_for_product
from skltransfer._solvers._distances import sparse_squared_distances

# A distance computed twice is taken for the same one.
SLACK = 1e-12
# Up to so many columns a tree is faster than all distances.
_TREE_FEATURES = 6
# Distances at a time, some megabytes.
_BLOCK_SIZE = 2**20
# Rows and columns of a tile of products, which fits into the cache.
_TILE = (256, 512)


def all_distances(A, B, metric) -> np.ndarray:
    """Return the distances of rows, dense or sparse, shape (n, m).

    Parameters
    ----------
    A, B : {ndarray, CSR array} of shape (n, n_features) and (m, n_features)
    metric : str or callable
        A name that scikit-learn and scipy share, "manhattan", or a function of two dense rows.
    """
    if not (sparse.issparse(A) or sparse.issparse(B)):
        return cdist(A, B, "cityblock" if metric == "manhattan" else metric)
    if isinstance(metric, str) and metric == "euclidean":
        return np.sqrt(sparse_squared_distances(A, B))
    # Other distances are sums over all features: by dense rows, some at a time.
    A, B = sparse.csr_array(A), sparse.csr_array(B)
    distances, step = np.empty((A.shape[0], B.shape[0])), max(1, _BLOCK_SIZE // A.shape[1])
    for i in range(0, A.shape[0], step):
        rows = A[i : i + step].toarray()
        for j in range(0, B.shape[0], step):
            part = B[j : j + step].toarray()
            distances[i : i + step, j : j + step] = all_distances(rows, part, metric)
    return distances


def chosen_algorithm(rows, metric) -> str:
    """Return the algorithm that suits some rows: a tree for few columns.

    A tree also suits a callable, whose calls are slow: the fewer the better. Sparse rows have none.
    """
    is_named = isinstance(metric, str)
    if sparse.issparse(rows) or (is_named and rows.shape[1] > _TREE_FEATURES):
        return "brute"
    return "kd_tree" if is_named and metric in KDTree.valid_metrics else "ball_tree"


def neighbor_index(rows, counts=None, *, metric="euclidean", algorithm=None) -> NeighborIndex:
    """Return rows in a form in which neighbours are found.

    Parameters
    ----------
    rows : {ndarray, CSR array} of shape (n, n_features)
    counts : ndarray of shape (n,), default=None
        Weights of the rows. None weighs each by 1.
    metric : str or callable, default="euclidean"
        As in :func:`all_distances`.
    algorithm : {"kd_tree", "ball_tree", "brute"}, default=None
        None is the one that suits the rows.
    """
    algorithm = algorithm or chosen_algorithm(rows, metric)
    if algorithm == "kd_tree":
        return _Tree(rows, counts, KDTree(rows, metric=metric))
    if algorithm == "ball_tree":
        return _Tree(rows, counts, BallTree(rows, metric=metric))
    if isinstance(metric, str) and metric == "euclidean" and not sparse.issparse(rows):
        return _Products(rows, counts)
    return _AllDistances(rows, counts, metric)


class NeighborIndex:
    """Weighted rows, whose neighbours of any rows are found.

    A subclass defines how distances are computed.

    Parameters
    ----------
    rows : {ndarray, CSR array} of shape (n, n_features)
    counts : ndarray of shape (n,), or None
    """

    # Numbers in memory for each row that is asked for, beside its neighbours.
    _width = 2**8

    def __init__(self, rows, counts):
        self.rows = rows
        self.counts = np.ones(rows.shape[0]) if counts is None else counts
        self.total = self.counts.sum()
        self.is_unweighted = bool((self.counts == 1).all())

    def nearest(self, rows, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances of the nearest rows, in ascending order, and their indices."""
        blocks = _blocks(rows.shape[0], max(n_neighbors, self._width))
        found = [self._nearest(rows[block], n_neighbors) for block in blocks]
        distances, index = zip(*found, strict=True)
        return np.concatenate(distances), np.concatenate(index)

    def radius_and_weight(self, rows, k: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the distance at which the nearest rows weigh `k`, and the weight of all within.

        Parameters
        ----------
        rows : {ndarray, CSR array} of shape (m, n_features)
        k : float
            At most the weight of all rows.

        Returns
        -------
        radius, weight : ndarray of shape (m,)
            Rows as near as the last one are within.
        """
        # One row more tells whether any is as near as the last one.
        searched = min(len(self.counts), int(np.ceil(k)) + 1)
        blocks = _blocks(rows.shape[0], max(searched, self._width))
        parts = [self._of_block(rows[block], k, searched) for block in blocks]
        radius, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
        return radius, weight

    def _of_block(self, rows, k, searched):
        n = len(self.counts)
        radius, weight = np.full(rows.shape[0], np.inf), np.full(rows.shape[0], np.nan)
        while True:
            left = np.flatnonzero(np.isinf(radius))
            distances, index = self._nearest(rows[left], searched)
            sums = self._sums(index)
            radius[left] = _reached(distances, sums, k)
            if searched == n:  # all rows, where rounding lacks one
                radius[left] = np.minimum(radius[left], distances[:, -1])
            within = distances <= radius[left, None] * (1 + SLACK)
            last = within.sum(axis=1)
            is_known = (last < searched) | (searched == n)
            known = left[is_known]
            weight[known] = sums[is_known, last[is_known] - 1]
            if searched == n or np.isfinite(radius).all():
                break
            searched = min(n, 2 * searched)  # light rows: more of them weigh k
        tied = np.flatnonzero(np.isnan(weight) & np.isfinite(radius))
        if len(tied):
            weight[tied] = self.weight_within(rows[tied], radius[tied])
        return radius, weight

    def _sums(self, index) -> np.ndarray:
        if self.is_unweighted:
            return np.broadcast_to(np.arange(1.0, index.shape[1] + 1), index.shape)
        return np.cumsum(self.counts[index], axis=1)

    def weight_within(self, rows, radius) -> np.ndarray:
        """Return the weight of the rows that lie within a radius of each of some others.

        Parameters
        ----------
        rows : {ndarray, CSR array} of shape (m, n_features)
        radius : ndarray of shape (m,)
        """
        radius = radius * (1 + SLACK)
        blocks = _blocks(rows.shape[0], self._width)
        return np.concatenate([self._weight_within(rows[block], radius[block]) for block in blocks])

    def _nearest(self, rows, n_neighbors):
        raise NotImplementedError

    def _weight_within(self, rows, radius):
        raise NotImplementedError


class _AllDistances(NeighborIndex):
    """Rows, all distances to which are computed."""

    def __init__(self, rows, counts, metric: str | Callable):
        super().__init__(rows, counts)
        self.metric, self._width = metric, len(self.counts)

    def _nearest(self, rows, n_neighbors):
        return _smallest(all_distances(rows, self.rows, self.metric), n_neighbors)

    def _weight_within(self, rows, radius):
        near = all_distances(rows, self.rows, self.metric) <= radius[:, None]
        return _weight_of(near, self.counts, self.is_unweighted)


class _Products(NeighborIndex):
    """Dense rows, the Euclidean distances to which come from matrix products.

    A product of rows far from 0 loses the digits of small distances. Where that may matter, the
    distances are computed from differences instead.
    """

    def __init__(self, rows, counts):
        super().__init__(rows, counts)
        self.center = np.median(rows, axis=0)
        centered = rows - self.center
        with np.errstate(over="ignore"):
            self._right = np.hstack([centered, np.einsum("ij,ij->i", centered, centered)[:, None]])
        self._search = NearestNeighbors(algorithm="brute").fit(centered)
        self._plain = _AllDistances(rows, counts, "euclidean")

    def _nearest(self, rows, n_neighbors):
        centered = rows - self.center
        with np.errstate(over="ignore", invalid="ignore"):
            index = self._search.kneighbors(centered, n_neighbors, return_distance=False)
        distances = np.empty(index.shape)
        for block in _blocks(len(rows), n_neighbors * rows.shape[1]):
            difference = self.rows[index[block]] - rows[block, None]
            with np.errstate(over="ignore"):
                squared = np.einsum("ijk,ijk->ij", difference, difference)
            distances[block] = np.sqrt(squared)
        order = np.argsort(distances, axis=1, kind="stable")
        distances, index = (np.take_along_axis(part, order, axis=1) for part in (distances, index))
        unsafe = np.flatnonzero(self._loses_digits(centered, distances[:, -1]))
        if len(unsafe):
            distances[unsafe], index[unsafe] = self._plain.nearest(rows[unsafe], n_neighbors)
        return distances, index

    def _weight_within(self, rows, radius):
        centered, weight = rows - self.center, np.zeros(len(rows))
        unsafe = self._loses_digits(centered, radius)
        height, width = _TILE
        with np.errstate(over="ignore", invalid="ignore"):
            bound = radius**2 - np.einsum("ij,ij->i", centered, centered)
            left = np.hstack([-2 * centered, np.ones((len(rows), 1))])
            with threads_for_product(*_TILE, left.shape[1]):
                for i in range(0, len(rows), height):
                    for j in range(0, len(self.rows), width):
                        tile = left[i : i + height] @ self._right[j : j + width].T
                        near = tile <= bound[i : i + height, None]
                        counts = self.counts[j : j + width]
                        weight[i : i + height] += _weight_of(near, counts, self.is_unweighted)
        if unsafe.any():
            of_unsafe = radius[unsafe] / (1 + SLACK)
            weight[unsafe] = self._plain.weight_within(rows[unsafe], of_unsafe)
        return weight

    def _loses_digits(self, centered, radius) -> np.ndarray:
        """Tell where rounding of a product may exceed half of what counts as a tie.

        A row near the radius is at most so far from 0 as the sum of both.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            norm = np.sqrt(np.einsum("ij,ij->i", centered, centered))
            sizes = norm**2 + (norm + radius) ** 2
            error = 2 * (centered.shape[1] + 4) * np.finfo(float).eps * sizes
            return ~(error <= SLACK * radius**2)


class _Tree(NeighborIndex):
    """Dense rows in a tree."""

    def __init__(self, rows, counts, tree):
        super().__init__(rows, counts)
        self.tree = tree

    def _nearest(self, rows, n_neighbors):
        return self.tree.query(rows, k=n_neighbors)

    def _weight_within(self, rows, radius):
        if self.is_unweighted:
            return self.tree.query_radius(rows, radius, count_only=True).astype(float)
        return np.array([self.counts[i].sum() for i in self.tree.query_radius(rows, radius)])


def _blocks(n_rows: int, width: int) -> Iterator[slice]:
    """Cut rows into blocks that have few enough numbers."""
    step = max(1, _BLOCK_SIZE // width)
    for start in range(0, n_rows, step):
        yield slice(start, start + step)


def _reached(distances, sums, k: float) -> np.ndarray:
    """Return the distances, sorted in each row, at which the sums reach `k`.

    It is infinite if they do not.
    """
    reached = sums >= k * (1 - SLACK)
    first = reached.argmax(axis=1)
    radius = np.take_along_axis(distances, first[:, None], axis=1)[:, 0]
    return np.where(reached.any(axis=1), radius, np.inf)


def _smallest(distances, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest values of each row in ascending order, and their columns."""
    index = np.argpartition(distances, n - 1, axis=1)[:, :n]
    smallest = np.take_along_axis(distances, index, axis=1)
    order = np.argsort(smallest, axis=1, kind="stable")
    return tuple(np.take_along_axis(part, order, axis=1) for part in (smallest, index))


def _weight_of(near, counts, is_unweighted: bool) -> np.ndarray:
    return np.count_nonzero(near, axis=1) if is_unweighted else near @ counts
