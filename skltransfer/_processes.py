"""The processes that train one network together, if there are several."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# A `ProcessGroup` of `_torch`, of this thread: messages of several threads would get mixed up.
_current: ContextVar[Any] = ContextVar("processes", default=None)


def current_group() -> Any:
    """Return the processes that train together; None where this one trains alone."""
    return _current.get()


def is_first() -> bool:
    """Tell whether this is the process that reports and writes files."""
    group = current_group()
    return group is None or group.is_first


@contextmanager
def training_in(group) -> Iterator[None]:
    """Let networks that are trained inside the block be trained by a group of processes."""
    token = _current.set(group)
    try:
        yield
    finally:
        _current.reset(token)
