"""Names close to one that does not exist."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def near_names(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean ...?" with the names closest to `name`, or "" if none is close."""
    close = get_close_matches(str(name), [str(entry) for entry in known], n=3)
    return f" Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
