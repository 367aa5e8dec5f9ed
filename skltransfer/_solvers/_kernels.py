"""Kernel matrices and their means, block by block."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.metrics.pairwise import pairwise_kernels

KERNELS = ("rbf", "laplacian", "linear", "polynomial", "cosine")
_USES_GAMMA = ("rbf", "laplacian", "polynomial")

# Rows and columns of a block: small enough for the cache, large enough for the matrix product.
_BLOCK_ROWS, _BLOCK_COLUMNS = 1024, 2048
# Largest rounding error of an exponent.
_LARGEST_ERROR = 1e-10


def loses_digits(A: np.ndarray, B: np.ndarray, gamma: float) -> bool:
    """Tell whether rows lie so far out that squared norms leave nothing of a small distance."""
    largest = max(np.einsum("ij,ij->i", rows, rows).max(initial=0.0) for rows in (A, B))
    return gamma * largest * np.finfo(float).eps > _LARGEST_ERROR


def _rbf_block(A: np.ndarray, B: np.ndarray, gamma: float) -> np.ndarray:
    """Return ``exp(-gamma |a - b|^2)`` for all pairs of rows, computed in place."""
    if loses_digits(A, B, gamma):
        block = -cdist(A, B, "sqeuclidean")
    else:
        block = A @ B.T
        block *= 2.0
        block -= np.einsum("ij,ij->i", A, A)[:, None]
        block -= np.einsum("ij,ij->i", B, B)
        np.minimum(block, 0.0, out=block)  # rounding makes squared distances negative
    block *= gamma
    return np.exp(block, out=block)


def _block(A, B, kernel: str, gamma: float) -> np.ndarray:
    if kernel == "rbf":
        return _rbf_block(A, B, gamma)
    parameters = {"gamma": gamma} if kernel in _USES_GAMMA else {}
    return pairwise_kernels(A, B, metric=kernel, **parameters)


def kernel_matrix(X: np.ndarray, kernel: str, gamma: float) -> np.ndarray:
    """Return the symmetric kernel matrix of the rows of `X`, shape (n, n)."""
    K = np.empty((len(X), len(X)))
    for i in range(0, len(X), _BLOCK_ROWS):
        rows = X[i : i + _BLOCK_ROWS]
        for j in range(i, len(X), _BLOCK_ROWS):  # the upper triangle; the lower one mirrors it
            block = _block(rows, X[j : j + _BLOCK_ROWS], kernel, gamma)
            K[i : i + len(rows), j : j + block.shape[1]] = block
            K[j : j + block.shape[1], i : i + len(rows)] = block.T
    if kernel == "rbf":
        np.fill_diagonal(K, 1.0)
    return K


def kernel_mean(X: np.ndarray, T: np.ndarray, kernel: str, gamma: float) -> np.ndarray:
    """Return ``mean_j k(x_i, t_j)`` for every row of `X` without an n x m matrix, shape (n,)."""
    total = np.zeros(len(X))
    for i in range(0, len(X), _BLOCK_ROWS):
        rows = X[i : i + _BLOCK_ROWS]
        for j in range(0, len(T), _BLOCK_COLUMNS):
            block = _block(rows, T[j : j + _BLOCK_COLUMNS], kernel, gamma)
            total[i : i + len(rows)] += block.sum(axis=1)
    return total / len(T)


def scale_gamma(X: np.ndarray, counts: np.ndarray, T: np.ndarray) -> float:
    """Return ``1 / (n_features * variance)`` of the stacked rows, as in scikit-learn's SVC.

    A row of `X` counts as often as `counts` says.
    """
    rows = np.concatenate([X, T])
    weights = np.concatenate([counts, np.ones(len(T))])
    mean = np.average(rows.mean(axis=1), weights=weights)
    variance = np.average(((rows - mean) ** 2).mean(axis=1), weights=weights)
    return float(1 / (rows.shape[1] * variance)) if variance > 0 else 1.0
