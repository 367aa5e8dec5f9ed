"""Word vectors converted to an array that can be mapped, in a folder where they stay."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xxhash

from skltransfer.feature._word_vector_formats import WordIndex
from skltransfer.feature._word_vectors import IndexedVectors

_VERSION = 1


class ConvertedVectors(IndexedVectors):
    """What `_convert` has written: a mapped array, and the index of its words."""

    def __init__(self, matrix: Path, index: Path, name: str):
        self.name = name
        self._matrix = np.load(matrix, mmap_mode="r")
        with np.load(index) as parts:
            self.index = WordIndex(*(parts[field] for field in WordIndex._fields))
            self._words = parts["words"].tobytes()
            self.digest = str(parts["digest"])
        if self._matrix.shape[0] != len(self.index.hashes) or self._matrix.dtype != self.dtype:
            raise ValueError("the array and the index differ")
        self.dim = self._matrix.shape[1]

    def word(self, entry: int) -> str:
        begin = int(self.index.word_at[entry])
        return self._words[begin : begin + int(self.index.word_size[entry])].decode()

    def vectors(self, entries: np.ndarray) -> np.ndarray:
        return np.asarray(self._matrix[self.index.vector_at[entries]])


def open_converted(
    read: Callable[[], IndexedVectors], folder: Path, file_name: str, key: tuple, name: str
) -> ConvertedVectors:
    """Open the converted copy of a file, and write it first where there is none.

    Parameters
    ----------
    read : callable
        Opens the file itself.
    folder : Path
        Made if it is not there.
    file_name : str
    key : tuple
        What decides the content of the copy.
    name : str
        For messages.
    """
    digest = xxhash.xxh3_64_hexdigest(repr((_VERSION, key)).encode("utf-8", "replace"))
    matrix = folder / f"{file_name}-{digest}.npy"
    index = matrix.with_suffix(".npz")
    try:
        return ConvertedVectors(matrix, index, name)
    except Exception:  # not there, or damaged in one of many ways
        _convert(read(), matrix, index)
    return ConvertedVectors(matrix, index, name)


def _convert(source: IndexedVectors, matrix: Path, index: Path) -> None:
    """Write the vectors as one array that can be mapped, and the index of the words beside it.

    Each file is written beside its place and renamed, the index last.
    """
    matrix.parent.mkdir(parents=True, exist_ok=True)
    n_words = len(source.index.hashes)
    in_file_order = np.argsort(source.index.vector_at, kind="stable")
    with tempfile.TemporaryDirectory(dir=matrix.parent, prefix=f".{matrix.name}.") as folder:
        temporary = Path(folder) / "vectors.npy"
        rows = np.lib.format.open_memmap(temporary, "w+", np.float32, (n_words, source.dim))
        words, starts = [], np.zeros(n_words, np.int64)
        row_of_entry = np.empty(n_words, np.int64)
        position = 0
        for row, entry in enumerate(in_file_order):
            word = source.word(entry).encode()
            words.append(word)
            starts[entry], row_of_entry[entry] = position, row
            position += len(word)
            rows[row] = source.vectors([entry])[0]
        rows.flush()
        del rows
        os.replace(temporary, matrix)
        sizes = np.empty(n_words, np.int32)
        sizes[in_file_order] = [len(word) for word in words]
        temporary = Path(folder) / "index.npz"
        np.savez(
            temporary,
            hashes=source.index.hashes,
            vector_at=row_of_entry,
            word_at=starts,
            word_size=sizes,
            words=np.frombuffer(b"".join(words), np.uint8),
            digest=np.array(source.digest),
        )
        os.replace(temporary, index)
