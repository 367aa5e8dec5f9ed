"""Texts as sequences of words, and the vectors of these words pooled into one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

# Contractions apart (do n't, it 's), abbreviations (u.s.), numbers (1,000.5), words.
_POINTED = r"(?:[^\W\d_]\.){2,}|\d+(?:[.,]\d+)+|\w+"
_CONTRACTED = rf"n't\b|'(?:s|re|ve|ll|m|d)\b|{_POINTED}"
_NOT = re.compile(r"n't\b")
# The last one suits any text; the first two give the same result faster, for simpler texts.
_find_plain = re.compile(r"\w+").findall
_find_pointed = re.compile(_POINTED).findall
_find_contracted = re.compile(_CONTRACTED).findall
# Numbers that are gathered at a time for a maximum.
_BLOCK_SIZE = 2**24


@dataclass(frozen=True)
class Tokens:
    """The words of some texts, in their order.

    Parameters
    ----------
    words : list of str
        Distinct words.
    columns : ndarray of shape (n_tokens,), int32
        Position in `words` of each token, text by text.
    starts : ndarray of shape (n_texts + 1,), int64
        Position of the first token of each text.
    """

    words: list[str]
    columns: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def counts(self) -> np.ndarray:
        """Number of occurrences of each word, shape (n_words,)."""
        return np.bincount(self.columns, minlength=len(self.words))

    @property
    def document_frequencies(self) -> np.ndarray:
        """Number of texts that contain each word, shape (n_words,)."""
        return np.bincount(self.distinct().indices, minlength=len(self.words))

    def matrix(self, weights: np.ndarray) -> sparse.csr_array:
        """Return the weights of each text's tokens, shape (n_texts, n_words).

        A word that occurs twice in a text has two entries, in the order of the text. A sum over a
        text then has the same bits whatever the other texts are.
        """
        shape = (len(self), len(self.words))
        return sparse.csr_array((weights[self.columns], self.columns, self.starts), shape=shape)

    def distinct(self) -> sparse.csr_array:
        """Return how often each word occurs in each text, shape (n_texts, n_words)."""
        counts = self.matrix(np.ones(len(self.words)))
        counts = counts.copy()  # `columns` stay as they are
        counts.sum_duplicates()
        return counts


def split_words(text: str) -> list[str]:
    """Split a text into words as the corpora of GloVe are, without the punctuation.

    Examples
    --------
    >>> from skltransfer.feature._tokens import split_words
    >>> split_words("the u.s. doesn't trade at 1,000.5; it's well-known!")
    ['the', 'u.s.', 'does', "n't", 'trade', 'at', '1,000.5', 'it', "'s", 'well', 'known']
    """
    text = text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    if "'" in text:
        return _find_contracted(_NOT.sub(" n't", text))
    return _find_pointed(text) if "." in text or "," in text else _find_plain(text)


def read_tokens(texts: list[str], *, tokenizer, lowercase: bool) -> Tokens:
    """Return the words of texts.

    Parameters
    ----------
    texts : list of str
    tokenizer : callable, str or None
        See :class:`~skltransfer.WordVectorTransformer`.
    lowercase : bool

    Raises
    ------
    TypeError
        If the tokenizer returns anything but words.
    """
    split = _splitter(tokenizer)
    column_of: defaultdict[str, int] = defaultdict()
    column_of.default_factory = column_of.__len__
    columns: list[int] = []
    starts = np.zeros(len(texts) + 1, dtype=np.int64)
    for row, text in enumerate(texts):
        words = split(text.lower() if lowercase else text)
        if tokenizer is not None:
            words = _checked_words(words, row)
        columns.extend([column_of[word] for word in words])
        starts[row + 1] = len(columns)
    return Tokens(list(column_of), np.array(columns, dtype=np.int32), starts)


def _splitter(tokenizer) -> Callable[[str], Iterable[str]]:
    if tokenizer is None:
        return split_words
    if not isinstance(tokenizer, str):
        return tokenizer
    try:
        return re.compile(tokenizer).findall
    except re.error as error:
        raise ValueError(
            f"tokenizer={tokenizer!r} is not a regular expression ({error}). It has to find words, "
            r"as r'\w+' does."
        ) from error


def _checked_words(words, row: int) -> list[str]:
    if not isinstance(words, str | bytes) and isinstance(words, Iterable):
        words = list(words)
        if all(isinstance(word, str) for word in words):
            return words
    raise TypeError(
        f"tokenizer returned {words!r:.80} for row {row}. It has to return a list of strings, the "
        "words of the text; a regular expression has no group, or one."
    )


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
        Words that count. A text without any is zero.
    over : {"weights", "words"}
        Divisor of the sum: the sum of the weights, or the number of words.
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
        Words that count. A text without any is zero.
    """
    words = tokens.distinct()
    is_in = is_counted[words.indices]
    columns = words.indices[is_in]
    starts = np.concatenate([[0], np.cumsum(is_in)])[words.indptr]
    out = np.zeros((len(tokens), vectors.shape[1]))
    filled = np.flatnonzero(np.diff(starts))
    per_block = max(1, _BLOCK_SIZE // vectors.shape[1])
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
        Vector of norm 1, whose largest entry is positive.
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
