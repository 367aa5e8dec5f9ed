"""Files of word vectors: mapped into memory, or converted to an array that can be mapped."""

from __future__ import annotations

import gzip
import mmap
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xxhash

from skltransfer._files import write_whole
from skltransfer._messages import near_names
from skltransfer._shared_cache import SharedCache
from skltransfer.feature._word_vector_formats import Layout, WordIndex, index_words, layout_of
from skltransfer.feature._word_vectors import IndexedVectors, WordVectors

# Files that a process keeps open, and the bytes of parsed lines that one of them keeps.
_MAX_OPEN = 4
_MAX_PARSED_BYTES = 2**27
_open_files = SharedCache(_MAX_OPEN)
# Raised when the layout of converted copies changes.
_COPY_VERSION = 1


class MappedFile(IndexedVectors):
    """A file of GloVe or word2vec as it is: words by an index, vectors where they lie.

    Parameters
    ----------
    file : binary file
        File of at least one byte.
    file_format : {"auto", "glove", "word2vec", "word2vec_binary"}
    decode_error : {"strict", "ignore", "replace"}
    name : str
        Name of the file in messages.
    """

    def __init__(self, file, file_format: str, decode_error: str, name: str):
        self.name = name
        self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._layout: Layout = layout_of(self._content, file_format, name)
        self._decode_error = decode_error
        self.index = index_words(self._content, self._layout, decode_error, name)
        self.dim = self._layout.dim
        content = xxhash.xxh3_128_hexdigest(self._content)
        self.digest = f"{self._layout.kind} {self.dim} {content}"
        self._parsed: dict[int, np.ndarray] = {}

    def word(self, entry: int) -> str:
        begin = int(self.index.word_at[entry])
        word = self._content[begin : begin + int(self.index.word_size[entry])]
        return word.decode("utf-8", self._decode_error)

    def vectors(self, entries: np.ndarray) -> np.ndarray:
        """Return the vectors of entries of the index, shape (n_entries, dim)."""
        out = np.empty((len(entries), self.dim), np.float32)
        read = self._binary_vector if self._layout.is_binary else self._parsed_vector
        for row, entry in zip(out, entries, strict=True):
            row[:] = read(int(entry))
        return out

    def _binary_vector(self, entry: int) -> np.ndarray:
        return np.frombuffer(self._content, "<f4", self.dim, int(self.index.vector_at[entry]))

    def _parsed_vector(self, entry: int) -> np.ndarray:
        """Parse a line, once: folds and candidates ask for the same words again."""
        vector = self._parsed.get(entry)
        if vector is None:
            begin = int(self.index.vector_at[entry])
            end = self._content.find(b"\n", begin)
            line = self._content[begin : end if end >= 0 else len(self._content)]
            fields = line.rstrip(b" \t\r").split(self._layout.separator)
            try:
                vector = np.array([float(field) for field in fields], dtype=np.float32)
            except ValueError as error:
                raise ValueError(
                    f"The vector of the word {self.word(entry)!r} in {self.name} is not made of "
                    f"numbers ({error}). Repair the line, or remove it."
                ) from error
            if len(self._parsed) * 4 * self.dim > _MAX_PARSED_BYTES:
                self._parsed.clear()
            self._parsed[entry] = vector
        return vector


def open_file(path: Path, *, file_format: str, decode_error: str, cache_dir) -> WordVectors:
    """Open a file of word vectors, which all of a process share.

    Parameters
    ----------
    path : Path
        Path of the file, plain or packed by gzip.
    file_format : {"auto", "glove", "word2vec", "word2vec_binary"}
    decode_error : {"strict", "ignore", "replace"}
    cache_dir : str, Path or None
        Folder for a converted copy.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If the path is not a file. The message suggests files with similar names.
    ValueError
        If the file is empty, damaged or of another kind.
    """
    name = f"vectors={str(path)!r}"
    _check_is_file(path, name)
    status = path.stat()
    cache_dir = None if cache_dir is None else Path(cache_dir).expanduser().resolve()
    settings = (file_format, decode_error)
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns, *settings)

    def read() -> MappedFile:
        return _mapped(path, *settings, name)

    def make() -> WordVectors:
        if cache_dir is None:
            return read()
        return open_converted(read, cache_dir, path.name, key, name)

    return _open_files.get((*key, status.st_ino, cache_dir), make)


def _check_is_file(path: Path, name: str) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{name} is a folder. Name one of its files.")
    if not path.is_file():
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileNotFoundError(
            f"{name} does not exist.{near_names(path.name, names)} If the file has moved, "
            "set_params(vectors=...) names its new place, also after fit."
        )


def _mapped(path: Path, file_format: str, decode_error: str, name: str) -> MappedFile:
    with path.open("rb") as file, tempfile.TemporaryFile() as unpacked:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if is_packed:
            try:
                with gzip.open(file) as reader:
                    shutil.copyfileobj(reader, unpacked, 2**20)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(
                    f"{name} cannot be unpacked: {error} The file is truncated or damaged: get it "
                    "again."
                ) from error
            unpacked.flush()
            file = unpacked
        if not os.fstat(file.fileno()).st_size:
            raise ValueError(f"{name} is empty. Get the file again.")
        return MappedFile(file, file_format, decode_error, name)


class ConvertedVectors(IndexedVectors):
    """A converted copy: a mapped array, and the index of its words."""

    def __init__(self, matrix: Path, index: Path, name: str):
        self.name = name
        self._matrix = np.load(matrix, mmap_mode="r")
        with index.open("rb") as file, np.load(file) as parts:
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
        Function that opens the file itself.
    folder : Path
        Folder of the copies. It is created if it does not exist.
    file_name : str
    key : tuple
        Description of the file and the settings, on which the content of the copy depends.
    name : str
        Name of the file in messages.
    """
    digest = xxhash.xxh3_64_hexdigest(repr((_COPY_VERSION, key)).encode("utf-8", "replace"))
    matrix = folder / f"{file_name}-{digest}.npy"
    index = matrix.with_suffix(".npz")
    try:
        return ConvertedVectors(matrix, index, name)
    except Exception:  # missing, or damaged in one of many ways
        _convert(read(), matrix, index)
    return ConvertedVectors(matrix, index, name)


def _convert(reader: IndexedVectors, matrix: Path, index: Path) -> None:
    """Write the vectors as one array that can be mapped, and the index of the words beside it.

    The index takes its place last.
    """
    matrix.parent.mkdir(parents=True, exist_ok=True)
    n_words = len(reader.index.hashes)
    in_file_order = np.argsort(reader.index.vector_at, kind="stable")
    with write_whole(index) as new_index, write_whole(matrix) as new_matrix:
        rows = np.lib.format.open_memmap(new_matrix, "w+", np.float32, (n_words, reader.dim))
        words, starts = [], np.zeros(n_words, np.int64)
        row_of_entry = np.empty(n_words, np.int64)
        position = 0
        for row, entry in enumerate(in_file_order):
            word = reader.word(entry).encode()
            words.append(word)
            starts[entry], row_of_entry[entry] = position, row
            position += len(word)
            rows[row] = reader.vectors([entry])[0]
        rows.flush()
        del rows
        sizes = np.empty(n_words, np.int32)
        sizes[in_file_order] = [len(word) for word in words]
        np.savez(
            new_index,
            hashes=reader.index.hashes,
            vector_at=row_of_entry,
            word_at=starts,
            word_size=sizes,
            words=np.frombuffer(b"".join(words), np.uint8),
            digest=np.array(reader.digest),
        )
