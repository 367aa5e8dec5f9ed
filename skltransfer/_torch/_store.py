"""The in-memory store: one row of features for each distinct row of input."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from skltransfer._locks import ThreadLock

# Rows are allocated, and forgotten, in chunks of about this size.
_CHUNK_BYTES = 2**22


class _Chunk:
    """Rows of one namespace in the order in which they came."""

    def __init__(self, n_rows: int, row: np.ndarray):
        self.values = np.empty((n_rows, *row.shape), row.dtype)
        self.digests: list[bytes] = []

    @property
    def is_full(self) -> bool:
        return len(self.digests) == len(self.values)


def in_batches(groups, size: int) -> Iterator[np.ndarray]:
    """Yield each group in parts of at most `size` entries."""
    for group in groups:
        for start in range(0, len(group), size):
            yield group[start : start + size]


class FeatureStore:
    """Store of features of frozen networks, in memory, for the life of the process.

    A sample is known by a digest of its content and by a namespace. The namespace stands for
    weights, preprocessing, layers, pooling, precision and the form of the samples. Folds,
    candidates and clones therefore share features. When the store is full, the oldest features
    are dropped.

    Parameters
    ----------
    max_bytes : int, default=2**30
        Maximum size of the stored features in bytes.

    Attributes
    ----------
    nbytes : int
        Size of the stored features in bytes.
    hits, misses : int
        Number of samples found and of distinct samples not found, since the start or `clear`.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer.feature import FeatureStore
    >>> store = FeatureStore()
    >>> store.put("network", [b"row 1"], np.array([[1.0, 2.0]]))
    >>> store.get("network", [b"row 1", b"row 2"])
    (array([ True, False]), array([[1., 2.]]))
    """

    def __init__(self, max_bytes: int = 2**30):
        if max_bytes < 0:
            raise ValueError(f"max_bytes={max_bytes!r} has to be at least 0.")
        self.max_bytes = max_bytes
        self._lock = ThreadLock()
        self.clear()

    def clear(self) -> None:
        """Drop all features and counts."""
        with self._lock:
            # At every moment each slot is the place of a row that is there: a process may be
            # forked, and a thread interrupted, between any two steps.
            self._slots: dict[str, dict[bytes, tuple[int, int]]] = {}
            self._chunks: OrderedDict[tuple[str, int], _Chunk] = OrderedDict()
            self._n_chunks = 0
            self.hits = self.misses = 0

    @property
    def nbytes(self) -> int:
        """Size of the stored features in bytes."""
        return sum(chunk.values.nbytes for chunk in list(self._chunks.values()))

    def __len__(self) -> int:
        """Return the number of samples in the store."""
        return sum(len(slots) for slots in self._slots.values())

    def __sklearn_clone__(self):
        return self  # clones of an estimator share it

    def __reduce__(self):
        return (type(self), (self.max_bytes,))  # another process starts with an empty one

    def get(self, namespace: str, digests) -> tuple[np.ndarray, np.ndarray | None]:
        """Look samples up.

        Parameters
        ----------
        namespace : str
            Key of everything that decides features beside the sample.
        digests : sequence of bytes of length n_samples
            Digests of the samples' content.

        Returns
        -------
        found : ndarray of shape (n_samples,), bool
            Mask of the samples in the store.
        values : ndarray of shape (n_found, n_features) or None
            Features of the samples found; None if there are none.
        """
        with self._lock:
            slots = self._slots.get(namespace, {})
            places = [slots.get(digest) for digest in digests]
            found = np.array([place is not None for place in places], dtype=bool)
            self.hits += int(found.sum())
            self.misses += len(
                {d for d, place in zip(digests, places, strict=True) if place is None}
            )
            if not found.any():
                return found, None
            pairs = np.array([place for place in places if place is not None])
            parts = {number: self._chunks[namespace, number].values for number in set(pairs[:, 0])}
            some = next(iter(parts.values()))
            values = np.empty((len(pairs), *some.shape[1:]), some.dtype)
            for number, chunk in parts.items():
                rows = pairs[:, 0] == number
                values[rows] = chunk[pairs[rows, 1]]
            return found, values

    def put(self, namespace: str, digests, values: np.ndarray) -> None:
        """Store the features of samples that are not in the store yet.

        Parameters
        ----------
        namespace : str
            Key of everything that decides features beside the sample.
        digests : sequence of bytes of length n_samples
            Digests of the samples' content.
        values : ndarray of shape (n_samples, n_features)
            Features, which are copied.
        """
        row_bytes = max(values[:1].nbytes, 1)
        if not len(values) or row_bytes > self.max_bytes:
            return
        most_rows = int(min(max(_CHUNK_BYTES // row_bytes, 1), 4096, self.max_bytes // row_bytes))
        with self._lock:
            while self.nbytes > self.max_bytes:  # it may have been lowered
                self._forget_oldest()
            # As many rows as come now, or as are there already: little is reserved in vain.
            n_held = len(self._slots.get(namespace, ()))
            chunk_rows = min(max(len(values), n_held), most_rows)
            for digest, row in zip(digests, values, strict=True):
                if digest in self._slots.get(namespace, ()):
                    continue
                number, chunk = self._open_chunk(namespace, chunk_rows, row)
                place = len(chunk.digests)
                chunk.values[place] = row
                chunk.digests.append(digest)
                self._slots.setdefault(namespace, {})[digest] = (number, place)

    def batches(self, namespace: str, digests, groups, size: int, features) -> Iterator[np.ndarray]:
        """Return batches of the samples in `groups`, all of which have to be computed and put.

        Parameters
        ----------
        namespace : str
            Key of everything that decides features beside the sample.
        digests : sequence of bytes of length n_samples
            Digests of the samples' content.
        groups : list of ndarray of int
            Samples to compute; batches do not mix groups.
        size : int
            Number of samples in a batch.
        features : ndarray of shape (n_samples, ...)
            Features. No other process writes into them.

        Returns
        -------
        batches : iterator of ndarray of int
            Positions of samples.
        """
        return in_batches(groups, size)

    def _open_chunk(self, namespace, n_rows, row):
        for key in reversed(self._chunks):
            if key[0] == namespace:
                if not self._chunks[key].is_full:
                    return key[1], self._chunks[key]
                break
        chunk = _Chunk(n_rows, row)
        while self._chunks and self.nbytes + chunk.values.nbytes > self.max_bytes:
            self._forget_oldest()
        self._n_chunks += 1
        self._chunks[namespace, self._n_chunks] = chunk
        return self._n_chunks, chunk

    def _forget_oldest(self) -> None:
        (namespace, number), chunk = next(iter(self._chunks.items()))
        slots = self._slots.get(namespace, {})
        for digest in chunk.digests:
            slots.pop(digest, None)
        if not slots:
            self._slots.pop(namespace, None)
        del self._chunks[namespace, number]


feature_store = FeatureStore()
