"""Word vectors in a file, a mapping, arrays or an object of gensim."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xxhash

from skltransfer.feature._word_vector_formats import WordIndex

# Words whose vectors stand for all of an object in memory.
_N_PROBES = 256


class WordVectors(ABC):
    """Words and the vectors of some of them, read when asked for.

    Attributes
    ----------
    dim : int
        Number of dimensions.
    dtype : dtype
        float32 or float64.
    name : str
        Name in messages.
    """

    dim: int
    dtype: np.dtype
    name: str

    @abstractmethod
    def contains(self, words: Sequence[str]) -> np.ndarray:
        """Tell which words have a vector, shape (n_words,), bool."""

    @abstractmethod
    def _take(self, words: Sequence[str]) -> np.ndarray:
        """Return the vectors of words that have one, shape (n_words, dim)."""

    def take(self, words: Sequence[str]) -> np.ndarray:
        """Return the vectors of words that have one, shape (n_words, dim).

        Raises
        ------
        ValueError
            If a vector holds NaN or infinity.
        """
        vectors = self._take(words)
        is_finite = np.isfinite(vectors).all(axis=1)
        if not is_finite.all():
            word = words[int(np.argmin(is_finite))]
            raise ValueError(
                f"The vector of the word {word!r} in {self.name} holds NaN or infinity. Remove the "
                "word from the vectors, or repair it."
            )
        return vectors

    def probes(self, words: Sequence[str]) -> list[str]:
        """Return the words that `fingerprint` needs, among some that have a vector."""
        return sorted(words)[:_N_PROBES]

    def fingerprint(self, probes: Sequence[str]) -> str:
        """Return a digest of the vectors of some words, or of a whole file."""
        digest = xxhash.xxh3_128(repr((self.dim, list(probes))).encode())
        if self.contains(probes).all():
            digest.update(np.ascontiguousarray(self.take(probes)))
        return digest.hexdigest()


class IndexedVectors(WordVectors):
    """Vectors of a file, found by an index of its words.

    Attributes
    ----------
    index : WordIndex
    digest : str
        Digest of the whole file.
    """

    dtype = np.dtype(np.float32)
    index: WordIndex
    digest: str

    @abstractmethod
    def word(self, entry: int) -> str:
        """Return the word of an entry of the index."""

    @abstractmethod
    def vectors(self, entries: np.ndarray) -> np.ndarray:
        """Return the vectors of entries of the index, shape (n_entries, dim)."""

    def contains(self, words: Sequence[str]) -> np.ndarray:
        return self._entries(words) >= 0

    def probes(self, words: Sequence[str]) -> list[str]:
        return []

    def fingerprint(self, probes: Sequence[str]) -> str:
        return self.digest

    def _take(self, words: Sequence[str]) -> np.ndarray:
        return self.vectors(self._entries(words))

    def _entries(self, words: Sequence[str]) -> np.ndarray:
        entries = self.index.find(words)
        for i in np.flatnonzero(entries >= 0):
            if self.word(entries[i]) != words[i]:
                entries[i] = -1  # another word with the same hash
        return entries


class MappingVectors(WordVectors):
    """A mapping from words to vectors, held by reference."""

    def __init__(self, mapping: Mapping):
        self.name = f"vectors, a {type(mapping).__name__}"
        if not len(mapping):
            raise ValueError(f"{self.name}, is empty. Pass at least one word and its vector.")
        self._mapping = mapping
        word = next(iter(mapping))
        first = np.asarray(mapping[word])
        if not isinstance(word, str) or first.ndim != 1 or not first.size:
            raise ValueError(
                f"{self.name}, maps {word!r} to an array of shape {first.shape}. Map each word, a "
                "string, to its vector, one-dimensional."
            )
        self.dim, self.dtype = first.size, _float_type(first.dtype)

    def contains(self, words: Sequence[str]) -> np.ndarray:
        return np.fromiter((word in self._mapping for word in words), bool, len(words))

    def _take(self, words: Sequence[str]) -> np.ndarray:
        vectors = np.empty((len(words), self.dim), self.dtype)
        for row, word in zip(vectors, words, strict=True):
            vector = np.asarray(self._mapping[word])
            if vector.shape != (self.dim,):
                raise ValueError(
                    f"{self.name}, maps {word!r} to an array of shape {vector.shape}, and its "
                    f"first word to one of shape {(self.dim,)}. Give all words the same width."
                )
            row[:] = vector
        return vectors


class ArrayVectors(WordVectors):
    """One array with a vector in each row, and the row of each word, held by reference."""

    def __init__(self, row_of_word: Mapping[str, int], vectors, name: str):
        self._row_of_word, self._vectors = row_of_word, vectors
        self.name = name
        self.dim, self.dtype = vectors.shape[1], _float_type(vectors.dtype)

    def contains(self, words: Sequence[str]) -> np.ndarray:
        return np.fromiter((word in self._row_of_word for word in words), bool, len(words))

    def _take(self, words: Sequence[str]) -> np.ndarray:
        rows = np.fromiter((self._row_of_word[word] for word in words), np.intp, len(words))
        return np.asarray(self._vectors[rows], dtype=self.dtype)


def open_in_memory(vectors) -> WordVectors:
    """Return a reader of word vectors in memory.

    Parameters
    ----------
    vectors : Mapping, (words, array) or object with ``key_to_index`` and ``vectors``

    Raises
    ------
    TypeError
        If `vectors` is something else.
    ValueError
        If `vectors` is empty, or its words and array differ in length.
    """
    if isinstance(vectors, Mapping):
        return MappingVectors(vectors)
    if hasattr(vectors, "key_to_index") and hasattr(vectors, "vectors"):
        name = f"vectors, a {type(vectors).__name__}"
        return ArrayVectors(vectors.key_to_index, _checked_array(vectors.vectors, name), name)
    if hasattr(vectors, "wv"):
        raise TypeError(f"vectors is a {type(vectors).__name__}, a model. Pass vectors=model.wv.")
    if isinstance(vectors, tuple) and len(vectors) == 2:
        return _of_pair(*vectors)
    raise TypeError(
        f"vectors is a {type(vectors).__name__}, which holds no word vectors. Pass a path, a "
        "mapping from words to vectors, a pair (words, array) or gensim's KeyedVectors."
    )


def _of_pair(words, array) -> ArrayVectors:
    name = "vectors, a pair (words, array)"
    array = _checked_array(array, name)
    words = words if isinstance(words, list | tuple) else np.asarray(words).ravel().tolist()
    if len(words) != len(array):
        raise ValueError(
            f"vectors holds {len(words)} words and {len(array)} rows. Pass one row per word."
        )
    if not all(isinstance(word, str) for word in words):
        kind = next(type(word).__name__ for word in words if not isinstance(word, str))
        raise ValueError(f"The words in vectors must be strings, and one is a {kind}.")
    # From the end, so that the first of equal words wins.
    rows = dict(zip(reversed(words), range(len(words) - 1, -1, -1), strict=True))
    return ArrayVectors(rows, array, name)


def _checked_array(array, name: str) -> np.ndarray:
    array = array if isinstance(array, np.ndarray) else np.asarray(array)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{name}, holds an array of shape {array.shape} and type {array.dtype}. Pass numbers "
            "of shape (n_words, n_dimensions), at least one of each."
        )
    return array


def _float_type(dtype) -> np.dtype:
    is_small = dtype.kind == "f" and dtype.itemsize <= 4
    return np.dtype(np.float32 if is_small else np.float64)


def is_path(vectors) -> bool:
    """Tell whether `vectors` names a file."""
    return isinstance(vectors, str | os.PathLike)


def as_path(vectors) -> Path:
    """Return the path of a file, with ``~`` for the home directory resolved."""
    return Path(vectors).expanduser()
