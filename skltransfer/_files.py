"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Give the path of a file to write, of the same name; it becomes `path` if the block ends well.

    It lies in a new folder beside `path`, which goes in any case, so that a reader of `path` finds
    the old file or the new one, and nothing is left behind by an error.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)
