"""The vectors of a text's words, pooled into one."""

from __future__ import annotations

import numpy as np

from skltransfer.feature._tokens import Tokens

# Numbers that are gathered at a time for a maximum.
_BLOCK = 2**24


def weighted_mean(
    tokens: Tokens,
    vectors: np.ndarray,
    weights: np.ndarray,
    is_counted: np.ndarray,
    *,
    over: str,
) -> np.ndarray:
    """Return the weighted mean of the vectors of each text's words, shape (n_texts, dim).

    Parameters
    ----------
    tokens : Tokens
    vectors : ndarray of shape (n_words, dim)
    weights : ndarray of shape (n_words,)
    is_counted : ndarray of shape (n_words,), bool
        Words that enter; a text without any is zero.
    over : {"weights", "words"}
        What the sum is divided by: the sum of the weights, or the number of words.
    """
    weights = np.where(is_counted, weights, 0.0)
    matrix = tokens.matrix(weights)
    sums = matrix @ vectors
    matrix = matrix if over == "weights" else tokens.matrix(is_counted.astype(float))
    totals = (matrix @ np.ones(len(weights)))[:, None]
    return np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0)


def maximum(tokens: Tokens, vectors: np.ndarray, is_counted: np.ndarray) -> np.ndarray:
    """Return the largest entry of the vectors of each text's words, shape (n_texts, dim).

    Parameters
    ----------
    tokens : Tokens
    vectors : ndarray of shape (n_words, dim)
    is_counted : ndarray of shape (n_words,), bool
        Words that enter; a text without any is zero.
    """
    words = tokens.distinct()
    is_in = is_counted[words.indices]
    columns = words.indices[is_in]
    starts = np.concatenate([[0], np.cumsum(is_in)])[words.indptr]
    out = np.zeros((len(tokens), vectors.shape[1]))
    filled = np.flatnonzero(np.diff(starts))
    per_block = max(1, _BLOCK // vectors.shape[1])
    begin = 0
    while begin < len(filled):
        first = starts[filled[begin]]
        # As many texts as fit, at least one.
        end = np.searchsorted(starts[filled + 1], first + per_block, side="right")
        end = max(int(end), begin + 1)
        rows = filled[begin:end]
        block = vectors[columns[first : starts[rows[-1] + 1]]]
        out[rows] = np.maximum.reduceat(block, starts[rows] - first, axis=0)
        begin = end
    return out


def common_component(X: np.ndarray) -> np.ndarray:
    """Return the first right singular vector of `X`, not centred; zeros if `X` is zero.

    This is ``u`` of Arora et al. (2017), Algorithm 1, as an eigenvector of ``X.T @ X``.

    Parameters
    ----------
    X : ndarray of shape (n_texts, dim)

    Returns
    -------
    component : ndarray of shape (dim,)
        Of norm 1; its largest entry is positive.
    """
    scale = np.abs(X).max()
    if not scale:
        return np.zeros(X.shape[1])
    X = X / scale
    component = np.linalg.eigh(X.T @ X)[1][:, -1]
    return component * np.sign(component[np.argmax(np.abs(component))])


def without_component(X: np.ndarray, component: np.ndarray) -> np.ndarray:
    """Return ``X - X u u'`` for ``u = component``, each row by itself, bit for bit."""
    return X - (X * component).sum(axis=1, keepdims=True) * component
