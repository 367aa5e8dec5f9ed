"""One BLAS thread where matrices are small.

A solver makes hundreds of small BLAS and LAPACK calls. Each call on several threads ends at a
barrier, which waits for the slowest thread. On a machine that does something else as well, this
thread waits for a core, and the call takes many times as long. The rule, for every solver:

- a matrix of less than `LARGE_MATRIX` numbers is factorised, or multiplied again and again, on one
  thread;
- a matrix product of less than `LARGE_PRODUCT` multiplications is computed on one thread;
- whatever is larger keeps the threads that it finds.

The number of threads belongs to the process, not to the thread that sets it (but for OpenBLAS on
OpenMP). So entries are counted: the first one sets the number, and the last one to leave sets it
back.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import get_ident, local
from weakref import WeakSet

from threadpoolctl import LibController, ThreadpoolController

from skltransfer._locks import ThreadLock

# Numbers in a matrix of order 2048, whose factorisation takes 0.1 s on one thread.
LARGE_MATRIX = 2**22
# Multiplications of a product that takes 10 to 30 ms on one thread, more than a barrier costs.
LARGE_PRODUCT = 2**29

_NO_LIBRARY = ThreadpoolController().select(user_api=[])

_lock = ThreadLock()


class _Count:
    """Entries, and the number of threads to set back when the last one leaves."""

    def __init__(self):
        # An entry whose exit was lost to an interrupt dies with its frame, and counts no more.
        self.entries: WeakSet[one_blas_thread] = WeakSet()
        self.found: int | None = None  # None: nothing was changed


class _CountOfThread(local, _Count):
    """A count for each thread."""


class _Library:
    """A BLAS library of this process.

    Parameters
    ----------
    controller : LibController
        threadpoolctl's.
    """

    def __init__(self, controller: LibController):
        self.controller = controller
        # threadpoolctl 3.8 sets the number of a thread where OpenBLAS is built on OpenMP.
        is_of_thread = getattr(controller, "threading_layer", None) == "openmp" and hasattr(
            controller, "clear_controlling_thread"
        )
        self.count = _CountOfThread() if is_of_thread else _Count()

    def settle(self) -> None:
        """Make the number of threads agree with the entries; any number of calls is as good."""
        count, number = self.count, self.controller.num_threads
        if len(count.entries):
            if number > 1 and self._set(1):
                count.found = number
        elif count.found is not None:
            # Another number than one was set by somebody else since.
            if number != 1 or self._set(count.found):
                count.found = None

    def _set(self, number: int) -> bool:
        """Set the number; False if threadpoolctl leaves it to another thread for now."""
        # A limit on no library: its exit lets other threads set numbers again, unless this thread
        # is inside of another limit.
        with _NO_LIBRARY.limit(limits=1):
            self.controller.set_num_threads(number)
        return self.controller.num_threads == number


class _Libraries:
    """The BLAS libraries of this process, looked for again when modules have been imported."""

    def __init__(self):
        self._known: dict[str, _Library] = {}
        self._n_modules = 0

    def found(self, internal_api: str | None) -> list[_Library]:
        """Return the libraries of an implementation (``"openblas"``), or all of them."""
        if self._n_modules != len(sys.modules):
            self._n_modules = len(sys.modules)
            for controller in ThreadpoolController().select(user_api="blas").lib_controllers:
                self._known.setdefault(controller.filepath, _Library(controller))
        return [
            library
            for library in self._known.values()
            if internal_api in (None, library.controller.internal_api)
        ]

    def forget_other_threads(self) -> None:
        """Drop the entries of threads that a forked child lacks."""
        for library in self._known.values():
            for entry in list(library.count.entries):
                if entry.thread != get_ident():
                    library.count.entries.discard(entry)
            library.settle()


_libraries = _Libraries()
os.register_at_fork(after_in_child=_libraries.forget_other_threads)


class one_blas_thread:
    """Context in which BLAS has one thread; an object serves for one entry.

    Contexts may be nested, and entered and left by several threads in any order. Another number
    that is set meanwhile, by other means, remains.

    Parameters
    ----------
    internal_api : str, default=None
        Implementation that is meant, such as ``"openblas"``. None: all of them.
    """

    def __init__(self, internal_api: str | None = None):
        self.internal_api, self.thread = internal_api, None
        self._entered: list[_Library] = []

    def __enter__(self) -> None:
        self.thread = get_ident()
        try:
            with _lock:
                for library in _libraries.found(self.internal_api):
                    self._entered.append(library)
                    library.count.entries.add(self)
                    library.settle()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exception) -> None:
        with _lock:
            for library in self._entered:
                library.count.entries.discard(self)
                library.settle()

    def __call__(self, function: Callable) -> Callable:
        """Decorate a function whose matrices are small whatever it is given."""
        return threads_by(lambda *_, **__: 0)(function)


def threads_for(n_numbers: float) -> AbstractContextManager:
    """Return the context for work on matrices, the largest of which has so many numbers."""
    return one_blas_thread() if n_numbers < LARGE_MATRIX else nullcontext()


def threads_for_product(*lengths: int) -> AbstractContextManager:
    """Return the context for a matrix product, ``lengths`` being (rows, columns, inner)."""
    return one_blas_thread() if math.prod(lengths) < LARGE_PRODUCT else nullcontext()


def threads_by(n_numbers: Callable) -> Callable:
    """Decorate a function whose arguments tell how many numbers its largest matrix has.

    Parameters
    ----------
    n_numbers : callable
        Takes the arguments of the function.
    """

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def limited(*args, **kwargs):
            with threads_for(n_numbers(*args, **kwargs)):
                return function(*args, **kwargs)

        return limited

    return decorate
