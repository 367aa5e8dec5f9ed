"""Things that are made once per process and shared by its threads."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from skltransfer._locks import ThreadLock

_ABSENT = object()


class SharedCache:
    """The entries used last; one thread makes an entry for all.

    Parameters
    ----------
    max_entries : int
        The entry that was used least recently goes first.
    making : ThreadLock, default=None
        Held while an entry is made. None: a lock of its own.
    """

    def __init__(self, max_entries: int, making=None):
        self.max_entries = max_entries
        self._making = ThreadLock() if making is None else making
        self._looking = ThreadLock()  # held for a moment: entries are found while another is made
        self._entries: OrderedDict = OrderedDict()

    def get(self, key: Hashable, make: Callable):
        """Return the entry of `key`; it is ``make()`` if there is none yet."""
        entry = self._find(key)
        if entry is _ABSENT:
            with self._making:
                entry = self._find(key)
                if entry is _ABSENT:
                    entry = make()
                    self._put(key, entry)
        return entry

    def clear(self) -> list:
        """Forget all entries, and return them."""
        with self._looking:
            entries, self._entries = self._entries, OrderedDict()
            return list(entries.values())

    def _find(self, key):
        with self._looking:
            if key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key, _ABSENT)

    def _put(self, key, entry) -> None:
        with self._looking:
            self._entries[key] = entry
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)
