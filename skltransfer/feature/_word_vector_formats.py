"""The formats of GloVe and word2vec: telling them apart, and finding each word in a file."""

from __future__ import annotations

import re
from array import array
from codecs import BOM_UTF8
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xxhash

FORMATS = ("glove", "word2vec", "word2vec_binary")
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_HEADER = re.compile(rb"\s*(\d{1,18})[ \t]+(\d{1,18})\s*")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_PADDING = b" \t\r"
# The longest line, or word, that is looked for.
_LINE_BYTES, _WORD_BYTES = 2**24, 2**16
_N_FIRST_LINES = 50
_REMEDY = (
    "Pass a file of GloVe (a word and its numbers on each line) or of word2vec (text or binary), "
    "or name its kind by file_format=."
)
# First bytes of other kinds of files, and the remedy for each.
_FOREIGN = (
    (
        re.compile(rb"\x80[\x02-\x05]"),
        "is a pickle, gensim's own format for example, and reading it could run any code. Write "
        "it again by KeyedVectors.save_word2vec_format(path, binary=True).",
    ),
    (re.compile(rb"PK\x03\x04"), "is a zip archive. Unpack it, and pass one of its files."),
    (re.compile(rb"\xba\x16\x4f\x2f"), "is fastText's own format. Pass its .vec file instead."),
    (re.compile(rb"\x93NUMPY"), "is a numpy file. Pass vectors=(words, np.load(path))."),
    (re.compile(rb"\xff\xfe|\xfe\xff"), "is UTF-16. Write it again as UTF-8."),
)


@dataclass(frozen=True)
class Layout:
    """The layout of a file.

    Parameters
    ----------
    kind : {"glove", "word2vec", "word2vec_binary"}
    dim : int
        Numbers in a vector.
    start : int
        Position of the first word in bytes.
    n_words : int or None
        Number of words by the first line.
    separator : bytes
        Separator of the fields of a line.
    """

    kind: str
    dim: int
    start: int
    n_words: int | None
    separator: bytes = b" "

    @property
    def is_binary(self) -> bool:
        """Whether vectors are float32 numbers, the lowest byte first."""
        return self.kind == "word2vec_binary"


class WordIndex(NamedTuple):
    """Positions of words and their vectors; one entry per distinct word, in ascending hash.

    A word costs 28 bytes, whatever its length. If a word repeats, its first entry is kept.
    """

    hashes: np.ndarray  # (n_words,) uint64
    vector_at: np.ndarray  # (n_words,) int64: byte, or row
    word_at: np.ndarray  # (n_words,) int64: byte
    word_size: np.ndarray  # (n_words,) int32: bytes

    @classmethod
    def of(cls, hashes, vector_at, word_at, word_size) -> WordIndex:
        """Sort entries that stand in the order of the file."""
        # Distinct words with one hash of 64 bits: 1 in 10 million files of 2 million words.
        hashes, first = np.unique(np.asarray(hashes, dtype=np.uint64), return_index=True)
        return cls(
            hashes,
            np.asarray(vector_at, dtype=np.int64)[first],
            np.asarray(word_at, dtype=np.int64)[first],
            np.asarray(word_size, dtype=np.int32)[first],
        )

    def find(self, words) -> np.ndarray:
        """Return the entry that has the hash of each word, or -1."""
        wanted = [xxhash.xxh3_64_intdigest(w.encode("utf-8", "surrogatepass")) for w in words]
        wanted = np.array(wanted, dtype=np.uint64)
        entries = np.searchsorted(self.hashes, wanted)
        entries[entries == len(self.hashes)] = 0
        return np.where(self.hashes[entries] == wanted, entries, -1)


def layout_of(content, file_format: str, name: str) -> Layout:
    """Return the layout of a file.

    Parameters
    ----------
    content : mmap
        Whole content of the file, not empty.
    file_format : {"auto", "glove", "word2vec", "word2vec_binary"}
    name : str
        Name of the file in messages.

    Raises
    ------
    ValueError
        If the file is of another kind; the remedy is named.
    """
    for magic, remedy in _FOREIGN:
        if magic.match(content[:8]):
            raise ValueError(f"{name} {remedy}")
    begin = len(BOM_UTF8) if content[: len(BOM_UTF8)] == BOM_UTF8 else 0
    first, start = _line(content, begin)
    header = _HEADER.fullmatch(first)
    if file_format == "auto":
        is_header = header is not None and not _is_one_number_each(header, content, start)
        is_text = _is_text(content, start if is_header else begin)
        if is_header:
            file_format = "word2vec" if is_text else "word2vec_binary"
        elif is_text:
            file_format = "glove"
        else:
            raise ValueError(f"The format of {name} is unknown. {_REMEDY}")
    if file_format == "glove":
        separator, dim = _columns(content, begin, name)
        return Layout("glove", dim, begin, None, separator)
    if header is None or not int(header[2]):
        raise ValueError(
            f"{name} does not begin with the number of its words and of their dimensions, as "
            f"file_format={file_format!r} does, but with {first[:40]!r}. {_REMEDY}"
        )
    second, _ = _line(content, start)
    separator = b"\t" if b"\t" in second and b" " not in second else b" "
    return Layout(file_format, int(header[2]), start, int(header[1]), separator)


def _line(content, position: int) -> tuple[bytes, int]:
    """Return a line without its end, and where the next one begins."""
    end = content.find(b"\n", position, position + _LINE_BYTES)
    end = min(len(content), position + _LINE_BYTES) if end < 0 else end
    return content[position:end], end + 1


def _is_one_number_each(header, content, start: int) -> bool:
    """Tell whether an apparent header is a word and its only number."""
    fields = _line(content, start)[0].rstrip(_PADDING).split(b" ")
    return int(header[2]) != 1 and len(fields) == 2 and bool(_NUMBER.fullmatch(fields[1]))


def _is_text(content, start: int) -> bool:
    """Tell whether the lines that follow end in a number."""
    if _CONTROL.search(content[start : start + 4096]):
        return False
    last = re.split(rb"[ \t]", _line(content, start)[0].rstrip(_PADDING))[-1]
    return start >= len(content) or bool(_NUMBER.fullmatch(last))


def _columns(content, position: int, name: str) -> tuple[bytes, int]:
    """Return the separator of a file without header, and how many numbers most lines have."""
    numbers, separator = Counter(), b" "
    while position < len(content) and numbers.total() < _N_FIRST_LINES:
        line, position = _line(content, position)
        if not numbers:
            separator = b"\t" if b"\t" in line and b" " not in line else b" "
        fields = line.rstrip(_PADDING).split(separator)[:0:-1]
        count = next((i for i, f in enumerate(fields) if not _NUMBER.fullmatch(f)), len(fields))
        numbers[count] += bool(line.strip())
    dim = max(numbers, key=lambda n: (numbers[n], n), default=0)
    if not dim:
        raise ValueError(f"The first lines of {name} have no numbers after the word. {_REMEDY}")
    return separator, dim


def index_words(content, layout: Layout, decode_error: str, name: str) -> WordIndex:
    """Find all words of a file, and check the form of each line.

    Parameters
    ----------
    content : mmap
    layout : Layout
    decode_error : {"strict", "ignore", "replace"}
        Treatment of words that are not UTF-8.
    name : str
        Name of the file in messages.

    Raises
    ------
    ValueError
        If a line has too few or too many numbers, if words are missing or not UTF-8.
    """
    entries = _binary_entries if layout.is_binary else _text_entries
    hashes, vector_at, word_at, sizes = array("Q"), array("q"), array("q"), array("i")
    for number, (begin, end, vector) in enumerate(entries(content, layout, name), 1):
        word = content[begin:end]
        if not word.isascii():
            word = _decoded(word, decode_error, number, name).encode()
        hashes.append(xxhash.xxh3_64_intdigest(word))
        word_at.append(begin)
        sizes.append(end - begin)
        vector_at.append(vector)
    if layout.n_words is not None and layout.n_words != len(hashes):
        raise ValueError(
            f"The first line of {name} promises {layout.n_words} words, and {len(hashes)} follow. "
            "The file is truncated or was changed: get it again, or correct its first line."
        )
    if not hashes:
        raise ValueError(f"{name} holds no word. {_REMEDY}")
    return WordIndex.of(hashes, vector_at, word_at, sizes)


def _decoded(word: bytes, decode_error: str, number: int, name: str) -> str:
    try:
        return word.decode("utf-8", decode_error)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Word {number} of {name}, {word[:40]!r}, is not UTF-8. Write the file again as UTF-8, "
            "or pass decode_error='ignore' or 'replace'."
        ) from error


def _text_entries(content, layout: Layout, name: str):
    """Yield where each word of a text file begins and ends, and where its vector begins."""
    position, number = layout.start, 1 if layout.n_words is None else 2
    dim, separator = layout.dim, layout.separator
    while position < len(content):
        line, after = _line(content, position)
        line = line.rstrip(_PADDING)
        n_numbers = line.count(separator)
        if n_numbers == dim:
            end = position + line.index(separator)
            yield position, end, end + 1
        elif line:  # some words of GloVe 840B have spaces in them
            word, *numbers = line.rsplit(separator, dim)
            is_number = separator in word and _NUMBER.fullmatch(word.rpartition(separator)[2])
            if len(numbers) < dim or is_number:
                raise ValueError(
                    f"Line {number} of {name} has {n_numbers} numbers after its word, and "
                    f"{dim} are expected. Get the file again, or correct the line."
                )
            stripped = word.strip(separator)  # lines may be aligned by further spaces
            begin = position + word.index(stripped)
            yield begin, begin + len(stripped), position + len(word) + 1
        position, number = after, number + 1


def _binary_entries(content, layout: Layout, name: str):
    """Yield where each word of a binary file begins and ends, and where its vector begins."""
    position, size = layout.start, len(content)
    for number in range(1, layout.n_words + 1):
        while content[position : position + 1] == b"\n":  # word2vec.c ends each vector so
            position += 1
        end = content.find(b" ", position, position + _WORD_BYTES)
        if end < 0 or end + 1 + 4 * layout.dim > size:
            raise ValueError(
                f"{name} ends, or is damaged, in word {number} of the {layout.n_words} words, of "
                f"{layout.dim} dimensions each, that its first line promises. Get it again, or "
                "name its kind by file_format=."
            )
        yield position, end, end + 1
        position = end + 1 + 4 * layout.dim
    if content[position : position + _WORD_BYTES].strip(b"\n\r\x00 "):
        raise ValueError(
            f"The first line of {name} promises {layout.n_words} words of {layout.dim} dimensions, "
            "and more follows. The file was changed: get it again, or correct its first line."
        )
