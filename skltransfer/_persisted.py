"""How an object is written as data instead of being pickled, and what is left out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


class AsData(ABC):
    """Stand-in for a value in a state that holds nothing but data."""

    @abstractmethod
    def restore(self):
        """Return the value."""


@dataclass
class Writing:
    """A file that is being written.

    Parameters
    ----------
    to_data : callable
        Takes a value of a state; returns it, or what stands for it.
    keep_data : bool
        Whether samples that an estimator holds as a parameter are written.
    left_out : list of str
        Those that are not, by the names of the estimator and the parameter.
    """

    to_data: Callable
    keep_data: bool = False
    left_out: list[str] = field(default_factory=list)


# Packages whose tables and columns skops cannot write.
FRAMES = ("pandas", "polars", "pyarrow")
_writing: ContextVar[Writing | None] = ContextVar("writing", default=None)


@contextmanager
def states_as_data(writing: Writing) -> Iterator[None]:
    """Let the states of all such objects be data inside the block."""
    token = _writing.set(writing)
    try:
        yield
    finally:
        _writing.reset(token)


def is_saved() -> bool:
    """Tell whether states are taken for a file, and not for a pickle."""
    return _writing.get() is not None


class SavedAsData:
    """Is pickled as it is, and saved as data: networks by their weights, functions by name."""

    def __getstate__(self):
        state = dict(super().__getstate__())
        writing = _writing.get()
        if writing is None:
            return state
        return {name: writing.to_data(value) for name, value in state.items()}

    def __setstate__(self, state):
        state = {
            name: value.restore() if isinstance(value, AsData) else value
            for name, value in state.items()
        }
        if hasattr(super(), "__setstate__"):
            super().__setstate__(state)
        else:
            self.__dict__.update(state)


@dataclass(frozen=True)
class LeftOut:
    """Stands for samples that a file does not hold.

    Parameters
    ----------
    name : str
        Name of the parameter.
    """

    name: str

    def __repr__(self):
        return "<not saved>"


class SavedWithoutSamples:
    """Is pickled as it is, and saved without the samples that some parameters hold.

    A subclass names them in `_held`.
    """

    _held: tuple[str, ...] = ()

    def __getstate__(self):
        state = dict(super().__getstate__())
        writing = _writing.get()
        if writing is None:
            return state
        for name in self._held:
            if state[name] is None or isinstance(state[name], LeftOut):
                continue
            if writing.keep_data:
                self._check_writable(name, state[name])
            else:
                writing.left_out.append(f"{name} of {type(self).__name__}")
                state[name] = LeftOut(name)
        return state

    def _check_writable(self, name: str, value) -> None:
        if type(value).__module__.partition(".")[0] in FRAMES:
            raise TypeError(
                f"{name} of {type(self).__name__} is a {type(value).__name__}, which has no form "
                "as data. Leave it out (keep_data=False), or hold arrays."
            )

    def _check_held(self) -> None:
        """Raise a ValueError if samples are needed that were left out when this was saved."""
        missing = [name for name in self._held if isinstance(getattr(self, name), LeftOut)]
        if missing:
            raise ValueError(
                f"{' and '.join(missing)} of this {type(self).__name__} "
                f"{'was' if len(missing) == 1 else 'were'} left out when it was saved: it "
                f"predicts, and cannot be fitted again. Pass the samples by "
                f"set_params({', '.join(f'{name}=...' for name in missing)}), or save with "
                "keep_data=True."
            )
