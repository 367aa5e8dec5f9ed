"""Values of a store on disk: rows of one batch side by side, with a checksum."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

import numpy as np
import xxhash

# Rows of one batch are cut into values of about this size. One row of features takes half of a page
# or more alone, and its neighbours are mostly read with it.
VALUE_BYTES = 2**18

# Checksum of all that follows, number of rows, size of their form, namespace.
_HEADER = Struct("<QII16s")
_DIGEST_BYTES = 16
_ALIGNMENT = 16
PLACE = np.dtype([("value", ">u8"), ("row", ">u4")])


class DamagedValue(Exception):
    """The checksum or the size of a value is wrong."""


@dataclass(frozen=True)
class Value:
    """Some rows of one namespace.

    Parameters
    ----------
    namespace : bytes
        16 bytes that stand for a namespace.
    digests : ndarray of shape (n_rows, 2), uint64
        16 bytes of each row.
    rows : ndarray of shape (n_rows, ...)
    """

    namespace: bytes
    digests: np.ndarray
    rows: np.ndarray


def short_namespace(namespace: str) -> bytes:
    """Return 16 bytes that stand for a namespace."""
    return xxhash.xxh3_128_digest(namespace.encode())


def short_digests(digests) -> list[bytes]:
    """Return 16 bytes that stand for each row."""
    if {*map(len, digests)} <= {_DIGEST_BYTES}:
        return list(digests)
    return [d if len(d) == _DIGEST_BYTES else xxhash.xxh3_128_digest(d) for d in digests]


def as_numbers(digests: list[bytes]) -> np.ndarray:
    """Return short digests as an array of shape (n, 2)."""
    return np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2)


def rows_of_value(row_bytes: int) -> int:
    """Return how many rows of a size one value holds at most."""
    return max(VALUE_BYTES // max(row_bytes, 1), 1)


def encode(namespace: bytes, digests: list[bytes], rows: np.ndarray) -> bytes:
    """Return rows as bytes.

    Parameters
    ----------
    namespace : bytes
        As of :func:`short_namespace`.
    digests : list of bytes
        As of :func:`short_digests`.
    rows : ndarray of shape (n_rows, ...)
    """
    rows = np.ascontiguousarray(rows)
    form = f"{rows.dtype.str}:{','.join(map(str, rows.shape[1:]))}".encode()
    head = _HEADER.pack(0, len(rows), len(form), namespace)[8:] + form + b"".join(digests)
    padding = bytes(-(8 + len(head)) % _ALIGNMENT)
    content = b"".join([head, padding, rows.tobytes()])
    return xxhash.xxh3_64_intdigest(content).to_bytes(8, "little") + content


def decode(content) -> Value:
    """Return the rows that :func:`encode` has written, as views.

    Parameters
    ----------
    content : buffer

    Raises
    ------
    DamagedValue
        If the bytes are not those that were written.
    """
    n_bytes = len(content)
    if n_bytes < _HEADER.size:
        raise DamagedValue
    checksum, n_rows, form_bytes, namespace = _HEADER.unpack_from(content)
    start = _HEADER.size + form_bytes
    values_start = start + n_rows * _DIGEST_BYTES
    values_start += -values_start % _ALIGNMENT
    # The size is compared before more is read: a damaged size may lead beyond the file.
    if values_start > n_bytes:
        raise DamagedValue
    try:
        dtype, _, shape = bytes(content[_HEADER.size : start]).decode("ascii").partition(":")
        dtype = np.dtype(dtype)
        shape = (n_rows, *(int(length) for length in shape.split(",") if length))
    except (ValueError, TypeError) as error:
        raise DamagedValue from error
    size = 1
    for length in shape:
        size *= length
    if values_start + size * dtype.itemsize != n_bytes or dtype.hasobject or not dtype.itemsize:
        raise DamagedValue
    if xxhash.xxh3_64_intdigest(content[8:]) != checksum:
        raise DamagedValue
    digests = np.frombuffer(content, np.uint64, 2 * n_rows, start).reshape(n_rows, 2)
    rows = np.frombuffer(content, dtype, size, values_start).reshape(shape)
    return Value(namespace, digests, rows)


def is_whole(content) -> bool:
    """Tell whether a value is as it was written."""
    try:
        decode(content)
    except DamagedValue:
        return False
    return True
