"""Declarations of constructor parameters, and the one check of them at the top of ``fit``.

An estimator declares its parameters in a class attribute, which subclasses add to::

    _parameters = {
        "method": Choice("em", "bbse", "rlls"),
        "max_weight": Number(1),
        "gamma": Either(Number(0, low_open=True), ListOf(Number(0, low_open=True)), unset=("cv",)),
    }

and calls ``check_parameters(self)``. Rules about several parameters stand in its method
``_check_combinations``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache
from math import inf, isfinite
from numbers import Integral, Real

import numpy as np

from skltransfer._messages import ArgumentError, near_names


class Parameter(ABC):
    """The allowed values of a parameter.

    Parameters
    ----------
    unset : tuple, default=()
        Further values that are allowed, such as None or "auto".
    """

    def __init__(self, *, unset: tuple = ()):
        self.unset = unset

    @abstractmethod
    def accepts(self, value) -> bool:
        """Tell whether `value` is of this kind, `unset` aside."""

    @abstractmethod
    def describe(self) -> str:
        """Return a noun phrase for the allowed values, `unset` aside."""

    def check(self, name: str, value) -> None:
        """Raise a ValueError that names the parameter and its allowed values, unless it has one."""
        if not (_is_among(value, self.unset) or self.accepts(value)):
            raise ArgumentError((name, value), f" is {self.negation()}.{self.hint(value)}")

    def hint(self, value) -> str:
        """Return a hint for an error message, or ""."""
        return ""

    def negation(self) -> str:
        """Return what a value is that is not allowed."""
        return f"not {self}"

    def __str__(self) -> str:
        return " or ".join([self.describe(), *map(repr, self.unset)])


class Number(Parameter):
    """A real number in an interval.

    Parameters
    ----------
    low : float, default=None
        Lower bound.
    high : float, default=None
        Upper bound. Without one, infinity is allowed. To exclude it, ``inf`` is the open bound.
    low_open, high_open : bool, default=False
        Whether the bound itself is excluded.
    unset : tuple, default=()
        Further values that are allowed.
    """

    _kind = Real

    def __init__(self, low=None, high=None, *, low_open=False, high_open=False, unset=()):
        super().__init__(unset=unset)
        self.low, self.high = low, high
        self.low_open, self.high_open = low_open, high_open

    def accepts(self, value) -> bool:
        if not isinstance(value, self._kind) or isinstance(value, bool):
            return False
        if self.low is None and self.high is None:
            return isfinite(value)
        low, high = -inf if self.low is None else self.low, inf if self.high is None else self.high
        above = value > low if self.low_open else value >= low
        return above and (value < high if self.high_open else value <= high)

    def describe(self) -> str:
        return f"a {self.phrase('number')}"

    def phrase(self, noun: str) -> str:
        """Return `noun`, with the interval in words."""
        if self.high is None or (self.high == inf and self.high_open):
            finite = "finite " if self.high == inf or self.low is None else ""
            if self.low is None:
                return f"{finite}{noun}"
            return (
                f"{finite}{noun} {'greater than' if self.low_open else 'of at least'} {self.low:g}"
            )
        if self.low is None:
            return f"{noun} {'less than' if self.high_open else 'of at most'} {self.high:g}"
        ends = ((self.low, self.low_open), (self.high, self.high_open))
        low, high = (f"{end:g}" + (" (excluded)" if is_open else "") for end, is_open in ends)
        return f"{noun} from {low} to {high}"


class Count(Number):
    """An integer in an interval.

    Parameters
    ----------
    low : int, default=1
        Smallest value.
    high : int, default=None
        Largest value.
    unset : tuple, default=()
        Further values that are allowed.
    """

    _kind = Integral

    def __init__(self, low=1, high=None, *, unset=()):
        super().__init__(low, high, unset=unset)

    def describe(self) -> str:
        return f"an {self.phrase('integer')}"


class Choice(Parameter):
    """One of some strings (or None).

    Parameters
    ----------
    *values : str or None
    """

    def __init__(self, *values):
        super().__init__()
        self.values = values

    def accepts(self, value) -> bool:
        return _is_among(value, self.values)

    def describe(self) -> str:
        return f"one of {', '.join(map(repr, self.values))}"

    def hint(self, value) -> str:
        return near_names(value, filter(None, self.values)) if isinstance(value, str) else ""


class Flag(Parameter):
    """True or False."""

    def accepts(self, value) -> bool:
        return isinstance(value, bool | np.bool_)

    def describe(self) -> str:
        return "True or False"

    def negation(self) -> str:
        return super().negation() if self.unset else "neither True nor False"


class Function(Parameter):
    """Anything that can be called."""

    def accepts(self, value) -> bool:
        return callable(value)

    def describe(self) -> str:
        return "a callable"


class Folds(Parameter):
    """A number of folds, a splitter, or an iterable of splits.

    Parameters
    ----------
    unset : tuple, default=()
        Further values that are allowed.
    """

    def accepts(self, value) -> bool:
        if isinstance(value, Real | str):
            return Count(2).accepts(value)
        return hasattr(value, "split") or isinstance(value, Iterable)

    def describe(self) -> str:
        return "an integer of at least 2, a splitter or an iterable of splits"


class ListOf(Parameter):
    """A list, a tuple or an array of one dimension, with entries of one kind.

    Parameters
    ----------
    entry : Number
        Allowed values of each entry.
    min_size : int, default=1
        Smallest number of entries.
    unset : tuple, default=()
        Further values that are allowed.
    """

    def __init__(self, entry: Number, *, min_size=1, unset=()):
        super().__init__(unset=unset)
        self.entry, self.min_size = entry, min_size

    def accepts(self, value) -> bool:
        is_list = isinstance(value, list | tuple)
        is_list = is_list or (isinstance(value, np.ndarray) and value.ndim == 1)
        return is_list and len(value) >= self.min_size and all(map(self.entry.accepts, value))

    def describe(self) -> str:
        noun = "integers" if isinstance(self.entry, Count) else "numbers"
        return f"a list of {self.entry.phrase(noun)}"


class Either(Parameter):
    """A value of one of several kinds.

    Parameters
    ----------
    *kinds : Parameter
    unset : tuple, default=()
        Further values that are allowed.
    """

    def __init__(self, *kinds: Parameter, unset=()):
        super().__init__(unset=unset)
        self.kinds = kinds

    def accepts(self, value) -> bool:
        return any(_is_among(value, kind.unset) or kind.accepts(value) for kind in self.kinds)

    def describe(self) -> str:
        return " or ".join(map(str, self.kinds))

    def hint(self, value) -> str:
        return "".join(kind.hint(value) for kind in self.kinds)


# What a target sample weighs beside a source sample of weight 1.
TARGET_WEIGHT = Number(0, inf, low_open=True, high_open=True, unset=("balanced",))


def check_parameters(estimator) -> None:
    """Raise an error for the first parameter of an estimator that has no allowed value.

    Parameters
    ----------
    estimator : estimator
        Its classes declare parameters in `_parameters`. A subclass adds declarations, or replaces
        inherited ones. Its method ``_check_combinations()``, if any, is called afterwards.

    Raises
    ------
    ValueError
        If a parameter is out of range. The message names it and the allowed values.
    """
    for name, parameter in declared_parameters(type(estimator)).items():
        parameter.check(name, getattr(estimator, name))
    if hasattr(estimator, "_check_combinations"):
        estimator._check_combinations()


@cache
def declared_parameters(cls: type) -> dict[str, Parameter]:
    """Return the declarations of a class and its bases, the bases first."""
    declared = {}
    for base in reversed(cls.__mro__):
        declared |= vars(base).get("_parameters", {})
    return declared


def _is_among(value, allowed: tuple) -> bool:
    # An array is compared with nothing: it would answer for each of its entries.
    return value in allowed if isinstance(value, str) else id(value) in map(id, allowed)
