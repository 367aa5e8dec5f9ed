"""Files of word vectors: mapped into memory, or converted to an array that can be mapped."""

from __future__ import annotations

import gzip
import io
import mmap
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
_COPY_VERSION = 2
# Of the checksum that an index begins with; and vectors that are written at a time.
_DIGEST_BYTES, _ROWS_WRITTEN = 16, 1024
# A packed file of numbers unpacks to about three times its size.
_MAX_RATIO = 50


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
    if path.is_file():
        return
    if path.exists():  # reading a pipe or a device may never end
        raise ValueError(f"{name} is no regular file. Write the vectors into one.")
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
            _unpack(file, unpacked, name)
            file = unpacked
        if not os.fstat(file.fileno()).st_size:
            raise ValueError(f"{name} is empty. Get the file again.")
        return MappedFile(file, file_format, decode_error, name)


def _unpack(file, unpacked, name: str) -> None:
    """Unpack a file that gzip has packed."""
    most = _MAX_RATIO * os.fstat(file.fileno()).st_size
    with gzip.open(file) as reader:
        while True:
            try:
                part = reader.read(2**20)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(
                    f"{name} cannot be unpacked: {error} The file is truncated or damaged: get it "
                    "again."
                ) from error
            if not part:
                break
            most -= len(part)
            if most < 0:
                raise ValueError(
                    f"{name} unpacks to more than {_MAX_RATIO} times its size, which word vectors "
                    "never do. Unpack it yourself if you trust it."
                )
            with _naming(f"{name}, unpacked in {tempfile.gettempdir()}"):
                unpacked.write(part)
    with _naming(f"{name}, unpacked in {tempfile.gettempdir()}"):
        unpacked.flush()


@contextmanager
def _naming(place) -> Iterator[None]:
    """Let errors of writing, such as a full disk, name the file."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror or str(error), str(place)) from error


class ConvertedVectors(IndexedVectors):
    """A converted copy: a mapped array, and the index of its words.

    The index carries a checksum of itself, and one of each vector. It is checked when the copy is
    opened, and a vector when it is read, so that opening a large copy takes no time.

    Raises
    ------
    ValueError
        If the index is damaged, or the array has another size.
    """

    def __init__(self, matrix: Path, index: Path, name: str):
        self.name = name
        self._path = matrix
        content = index.read_bytes()
        digest, content = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if xxhash.xxh3_128_digest(content) != digest:
            raise ValueError(f"{str(index)!r} is damaged")
        with np.load(io.BytesIO(content)) as parts:
            self.index = WordIndex(*(parts[field] for field in WordIndex._fields))
            self._words = parts["words"].tobytes()
            self._checksums = parts["checksums"]
            self.digest = str(parts["digest"])
            offset, self.dim = (int(parts[key]) for key in ("offset", "dim"))
        shape = len(self.index.hashes), self.dim
        if matrix.stat().st_size != offset + 4 * shape[0] * shape[1]:
            raise ValueError(f"{str(matrix)!r} has another size than its index says")
        self._matrix = np.memmap(matrix, self.dtype, "r", offset, shape)

    def word(self, entry: int) -> str:
        begin = int(self.index.word_at[entry])
        return self._words[begin : begin + int(self.index.word_size[entry])].decode()

    def vectors(self, entries: np.ndarray) -> np.ndarray:
        """Return the vectors of entries of the index, shape (n_entries, dim)."""
        rows = self.index.vector_at[entries]
        vectors = np.array(self._matrix[rows])
        if not np.array_equal(_checksums(vectors), self._checksums[rows]):
            raise ValueError(
                f"The copy {str(self._path)!r} of {self.name} is damaged. Delete it, and it is "
                "written again."
            )
        return vectors


def _checksums(vectors: np.ndarray) -> np.ndarray:
    """Return a checksum of each vector, shape (n_vectors,), uint32."""
    return np.array([xxhash.xxh32_intdigest(row) for row in vectors], dtype=np.uint32)


def open_converted(
    read: Callable[[], IndexedVectors], folder: Path, file_name: str, key: tuple, name: str
) -> ConvertedVectors:
    """Open the converted copy of a file, and write it first where there is none.

    A copy whose index is damaged, or whose size is wrong, is written again.

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

    Raises
    ------
    OSError
        If the copy cannot be written. The error names the path.
    """
    digest = xxhash.xxh3_64_hexdigest(repr((_COPY_VERSION, key)).encode("utf-8", "replace"))
    matrix = folder / f"{file_name}-{digest}.npy"
    index = matrix.with_suffix(".index")
    try:
        return ConvertedVectors(matrix, index, name)
    except Exception:  # missing, or damaged in one of many ways
        _convert(read(), matrix, index)
    return ConvertedVectors(matrix, index, name)


def _convert(reader: IndexedVectors, matrix: Path, index: Path) -> None:
    """Write the vectors as one array that can be mapped, and the index of the words beside it.

    The index takes its place last. The array is written and not mapped: a full disk is an error
    then, and would kill the process otherwise.
    """
    matrix.parent.mkdir(parents=True, exist_ok=True)
    n_words = len(reader.index.hashes)
    in_file_order = np.argsort(reader.index.vector_at, kind="stable")
    row_of_entry = np.empty(n_words, np.int64)
    row_of_entry[in_file_order] = np.arange(n_words)
    words = [reader.word(entry).encode() for entry in in_file_order]
    sizes = np.array([len(word) for word in words], np.int64)
    checksums = []
    with write_whole(index) as new_index, write_whole(matrix) as new_matrix:
        with _naming(matrix), new_matrix.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (n_words, reader.dim)}
            np.lib.format.write_array_header_1_0(file, header)
            offset = file.tell()
            for start in range(0, n_words, _ROWS_WRITTEN):
                vectors = reader.vectors(in_file_order[start : start + _ROWS_WRITTEN])
                checksums.append(_checksums(vectors))
                file.write(np.ascontiguousarray(vectors, "<f4"))
        content = io.BytesIO()
        np.savez(
            content,
            hashes=reader.index.hashes,
            vector_at=row_of_entry,
            word_at=(np.cumsum(sizes) - sizes)[row_of_entry],
            word_size=sizes[row_of_entry].astype(np.int32),
            words=np.frombuffer(b"".join(words), np.uint8),
            checksums=np.concatenate(checksums),
            digest=np.array(reader.digest),
            offset=np.array(offset),
            dim=np.array(reader.dim),
        )
        with _naming(index), new_index.open("wb") as file:
            file.write(xxhash.xxh3_128_digest(content.getbuffer()))
            file.write(content.getbuffer())
