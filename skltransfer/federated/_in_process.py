"""What a run within one process hands over beside the messages."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class InProcess:
    """A run whose server and clients share one process.

    Parameters
    ----------
    errors : list of Exception
        Errors of clients, of which a message tells the type alone.
    model : estimator or None
        The server's result.
    """

    errors: list[Exception] = field(default_factory=list)
    model: object = None


in_process: ContextVar[InProcess | None] = ContextVar("in_process", default=None)
