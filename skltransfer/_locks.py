"""Locks that no thread of the parent holds in a forked child."""

from __future__ import annotations

import os
from _thread import RLock
from weakref import WeakSet


class ThreadLock(RLock):
    """A reentrant lock that is free in a forked child, whose other threads are gone.

    A lock that another thread held when the process was forked would never be released. What it
    guards has to be whole at every moment, for the same reason. It is entered and left by compiled
    code, which no signal interrupts halfway.
    """

    def __init__(self):
        _all.add(self)

    def _renew(self) -> None:
        if not self._is_owned():  # the thread that forked goes on, and releases its own
            self._at_fork_reinit()


_all: WeakSet[ThreadLock] = WeakSet()


def _renew_all() -> None:
    for lock in list(_all):
        lock._renew()


os.register_at_fork(after_in_child=_renew_all)
