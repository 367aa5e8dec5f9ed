"""Which process computes which rows of a store on disk, where several need them at once."""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from skltransfer._torch._store_files import CLAIMS
from skltransfer._torch._store_format import short_digests, short_namespace

# Seconds after which a row that another process computes is computed here as well.
_PATIENCE = 60.0


class Claims:
    """Rows that this process computes, as locks on bytes of a file; those of the dead end.

    Parameters
    ----------
    path : Path
        Folder of the store.
    """

    def __init__(self, path: Path):
        # Closing any descriptor of the file ends the locks, so that there is one for good; a forked
        # child uses the same for locks of its own.
        self._file = os.open(path / CLAIMS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self.held: set[int] = set()

    def take(self, place: int) -> bool:
        """Claim a row, unless another process has."""
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        self.held.add(place)
        return True

    def release(self, places) -> None:
        """Give rows up."""
        for place in self.held.intersection(places):
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)
            self.held.discard(place)


def places_of(namespace: str, digests) -> list[int]:
    """Return the places of the claims on rows."""
    name = int.from_bytes(short_namespace(namespace)[:8])
    return [(name ^ int.from_bytes(digest[:8])) >> 2 for digest in short_digests(digests)]


class Turns:
    """Rows of one extraction that are shared out among the processes that need them.

    Parameters
    ----------
    claims : Claims
    places : list of int
        Place of the claim on each row.
    read : callable
        Takes rows. Fetches those in the store, and returns the others.
    """

    def __init__(self, claims: Claims, places: list[int], read: Callable):
        self._claims, self._places, self._read = claims, places, read
        self._taken: set[int] = set()

    def batches(self, groups, size: int) -> Iterator[np.ndarray]:
        """Yield batches of the rows that this process has to compute and store.

        Parameters
        ----------
        groups : list of ndarray of int
            Rows; batches do not mix groups.
        size : int
            Number of rows in a batch.
        """
        try:
            elsewhere = []
            for group in groups:
                elsewhere.append([])
                yield from self._free(np.asarray(group).tolist(), size, elsewhere[-1])
            for group in elsewhere:
                yield from self._left_by_others(group, size)
        finally:
            self._release(self._taken)

    def _free(self, rows: list[int], size: int, elsewhere: list[int]) -> Iterator[np.ndarray]:
        """Yield batches of rows that nobody computes; list the others."""
        left, batch = deque(rows), []
        while left:
            some = [left.popleft() for _ in range(min(size - len(batch), len(left)))]
            mine, claimed = self._take(some)
            batch += mine
            elsewhere += claimed
            if batch and (len(batch) == size or not left):
                yield np.asarray(batch)
                batch = []

    def _left_by_others(self, rows: list[int], size: int) -> Iterator[np.ndarray]:
        """Wait for rows; yield batches of those whose process was killed, or takes too long."""
        while rows:
            is_free = self._wait(rows[0])
            some, rows = rows[: 16 * size], rows[16 * size :]
            first, some = some[0], self._read(some)
            if first in some:
                mine, claimed = self._take(some[:size]) if is_free else (some[:size], [])
                some = claimed + some[size:]
                if mine:
                    yield np.asarray(mine)
            rows = some + rows

    def _take(self, rows: list[int]) -> tuple[list[int], list[int]]:
        """Return the rows that are now this process's to compute, and those claimed elsewhere."""
        mine = []
        for row in rows:
            self._taken.add(row)
            if self._claims.take(self._places[row]):
                mine.append(row)
        absent = self._read(mine)  # others may have stored the rest before it was claimed
        self._release({*mine} - {*absent})
        return absent, [row for row in rows if row not in {*mine}]

    def _release(self, rows) -> None:
        """Let others compute rows that are not in the store."""
        self._claims.release([self._places[row] for row in rows])

    def _wait(self, row: int) -> bool:
        """Wait until no other process claims a row; return False if that takes too long."""
        end, pause = time.monotonic() + _PATIENCE, 0.002
        while not self._claims.take(self._places[row]):
            if time.monotonic() > end:
                return False
            time.sleep(pause)
            pause = min(1.5 * pause, 0.02)
        self._release([row])
        return True
