"""How an object is written as data instead of being pickled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_to_data: ContextVar[Callable | None] = ContextVar("to_data", default=None)


class AsData(ABC):
    """Stand-in for a value in a state that holds nothing but data."""

    @abstractmethod
    def restore(self):
        """Return the value."""


@contextmanager
def states_as_data(to_data: Callable) -> Iterator[None]:
    """Let the states of all such objects be data inside the block.

    Parameters
    ----------
    to_data : callable
        Takes a value of a state; returns it, or what stands for it.
    """
    token = _to_data.set(to_data)
    try:
        yield
    finally:
        _to_data.reset(token)


class SavedAsData:
    """Is pickled as it is, and saved as data: networks by their weights, functions by name."""

    def __getstate__(self):
        state = dict(super().__getstate__())
        to_data = _to_data.get()
        if to_data is None:
            return state
        return {name: to_data(value) for name, value in state.items()}

    def __setstate__(self, state):
        state = {
            name: value.restore() if isinstance(value, AsData) else value
            for name, value in state.items()
        }
        if hasattr(super(), "__setstate__"):
            super().__setstate__(state)
        else:
            self.__dict__.update(state)
