"""Files of a store on disk: who may open them, which database is in use, and its replacement.

A store is a folder. A marker tells that it is one, in which format, and which of its folders holds
the database; a database is replaced by a new folder and a new marker, which is renamed into place.
Whoever is killed at any moment leaves a whole store behind.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from skltransfer._files import write_whole
from skltransfer._messages import require

FORMAT = 1
MARKER = "skltransfer-store.json"
DEFAULT_MAX_BYTES = 2**33
# Trees and free pages want some room, however small the rows are.
LEAST_MAX_BYTES = 2**20
_OPENING = "opening.lock"
CLAIMS = "claims.lock"
_DATA = "data-"
_ROWS, _VALUES = b"rows", b"values"
# Seconds that a process waits for another one that opens or replaces a database.
_PATIENCE = 60


@dataclass(frozen=True)
class Marker:
    """What the marker of a store says."""

    format: int
    max_bytes: int
    data: str  # name of the folder of the database

    @classmethod
    def new(cls, max_bytes: int | None) -> Marker:
        """Return the marker of an empty database."""
        return cls(FORMAT, max_bytes or DEFAULT_MAX_BYTES, f"{_DATA}{uuid4().hex[:12]}")


class DamagedStore(Exception):
    """A database, or the marker of a store, cannot be read."""


def lmdb():
    """Return the package of the database, and raise an ImportError that names its extra."""
    return require("lmdb", "store", "A store on disk")


def check_folder(path: Path) -> None:
    """Raise a ValueError if a path is neither a store nor free for one; nothing is written."""
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise ValueError(
            f"store={str(path)!r} is a file, or lies in one. Pass the path of a folder."
        ) from None
    except OSError:  # opening it will fail, and features are kept in memory
        return
    if MARKER in names:
        try:
            marker = read_marker(path)
        except (DamagedStore, FileNotFoundError):
            return  # is rebuilt
        if marker.format != FORMAT:
            raise ValueError(
                f"store={str(path)!r} was written in format {marker.format} by another version of "
                f"skltransfer, and this version reads format {FORMAT}. Pass another folder, or "
                f"remove its rows by: skltransfer store clear {str(path)!r}"
            )
    elif any(not name.startswith((_OPENING, f".{MARKER}")) for name in names):
        raise ValueError(
            f"store={str(path)!r} is a folder with other files, and no feature store. Pass a "
            "folder that is empty or does not exist."
        )


def is_store(path: Path) -> bool:
    """Tell whether a folder is a store, in whatever format and state."""
    return (path / MARKER).is_file()


def read_marker(path: Path) -> Marker:
    """Return the marker of a store.

    Raises
    ------
    FileNotFoundError
        If there is none.
    DamagedStore
        If it cannot be read.
    """
    content = (path / MARKER).read_bytes()
    try:
        found = json.loads(content)
        marker = Marker(*(found[name] for name in ("format", "max_bytes", "data")))
        is_whole = isinstance(marker.format, int) and (
            marker.format != FORMAT
            or (
                isinstance(marker.max_bytes, int)
                and marker.max_bytes >= LEAST_MAX_BYTES
                and marker.data.startswith(_DATA)
                and Path(marker.data).name == marker.data
            )
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedStore(f"{MARKER} cannot be read") from error
    if not is_whole:
        raise DamagedStore(f"{MARKER} cannot be read")
    return marker


def _write_marker(path: Path, marker: Marker) -> None:
    with write_whole(path / MARKER) as file:
        file.write_text(json.dumps(asdict(marker)))


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Let no other process open or replace the database meanwhile; the system ends what dies."""
    with open(path / _OPENING, "ab") as file:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise TimeoutError(
                        errno.ETIMEDOUT, "another process does not finish opening it", str(path)
                    ) from None
                time.sleep(0.005)
        yield


class Database:
    """The open database of a store.

    Parameters
    ----------
    path : Path
        Folder of the store.
    marker : Marker
    """

    def __init__(self, path: Path, marker: Marker):
        self.path, self.marker = path, marker
        self.folder = path / marker.data
        self.file = self.folder / "data.mdb"
        self._signature = _signature(path)
        self.folder.mkdir(exist_ok=True)
        if self.file.exists() and not self.file.stat().st_size:
            raise DamagedStore("its file is empty")
        self.environment = lmdb().open(
            str(self.folder),
            map_size=marker.max_bytes,
            sync=False,  # values carry checksums
            max_dbs=2,
            max_readers=1024,
            max_spare_txns=0,  # a forked child could not release them
        )
        try:
            self.environment.reader_check()  # those that were killed hold pages back
            self._lengthen()
            with self.environment.begin(write=True) as txn:
                self.rows = self.environment.open_db(_ROWS, txn)
                self.values = self.environment.open_db(_VALUES, txn)
            self._n_bytes = os.stat(self.file).st_size
        except BaseException:
            self.environment.close()
            raise
        self.page_bytes = self.environment.stat()["psize"]
        # Trees are copied where they change, which takes pages as well.
        self.room = marker.max_bytes * 7 // 8

    def _lengthen(self) -> None:
        """Give a file that was cut its length back.

        Reading beyond the end of a mapped file kills the process; pages of zeros are only damaged.
        """
        n_bytes = (self.environment.info()["last_pgno"] + 1) * self.environment.stat()["psize"]
        with open(self.file, "r+b") as file:
            held = os.fstat(file.fileno()).st_size
            if held < n_bytes:
                if n_bytes > self.marker.max_bytes:  # not a length that it has ever had
                    raise DamagedStore("its file has another size than it says")
                if hasattr(os, "posix_fallocate"):  # never cuts what another process appends
                    os.posix_fallocate(file.fileno(), held, n_bytes - held)
                else:
                    os.truncate(file.fileno(), n_bytes)

    def is_current(self) -> bool:
        """Tell whether the store still consists of these files, none of them cut."""
        try:
            n_bytes = os.stat(self.file).st_size
            is_whole = n_bytes >= self._n_bytes and _signature(self.path) == self._signature
        except OSError:
            return False
        self._n_bytes = n_bytes
        return is_whole

    def used_bytes(self, txn) -> int:
        """Return the size of all pages in use, in the view of a transaction."""
        counts = [txn.stat(table) for table in (self.rows, self.values)]
        names = ("branch_pages", "leaf_pages", "overflow_pages")
        return self.page_bytes * sum(count[name] for count in counts for name in names)

    def close(self) -> None:
        """Close the files."""
        self.environment.close()


def _signature(path: Path) -> tuple[int, ...]:
    status = os.stat(path / MARKER)
    return (status.st_dev, status.st_ino, status.st_mtime_ns)


def open_database(path: Path, max_bytes: int | None) -> tuple[Database, str]:
    """Open a store, and make it if it does not exist.

    Parameters
    ----------
    path : Path
    max_bytes : int or None
        Bound of the store from now on, for all its users. None keeps the bound.

    Returns
    -------
    database : Database
    damage : str
        Why the database was replaced by an empty one; "" if it was not.

    Raises
    ------
    ValueError
        If the folder is no store, or one of another format.
    OSError, lmdb.Error
        If the files cannot be opened.
    """
    check_folder(path)
    path.mkdir(parents=True, exist_ok=True)
    damage = ""
    with _opening(path):
        check_folder(path)
        try:
            marker = read_marker(path)
        except FileNotFoundError:
            marker = Marker.new(max_bytes)
            _write_marker(path, marker)
        except DamagedStore as error:
            damage, marker = str(error), Marker.new(max_bytes)
            _write_marker(path, marker)
        if max_bytes not in (None, marker.max_bytes):
            marker = Marker(FORMAT, max_bytes, marker.data)
            _write_marker(path, marker)
        try:
            database = Database(path, marker)
        except errors() as error:
            if not is_damage(error):
                raise
            damage, marker = str(error), Marker.new(marker.max_bytes)
            _write_marker(path, marker)
            database = Database(path, marker)
        _remove_others(path, marker)
    return database, damage


def replace_database(path: Path, replaced: str | None = None) -> None:
    """Let a store begin anew with an empty database.

    Parameters
    ----------
    path : Path
    replaced : str, optional
        Name of the database's folder; nothing happens if another one is in use by now.
    """
    with _opening(path):
        try:
            marker = read_marker(path)
        except (DamagedStore, FileNotFoundError):
            marker = None
        if marker is not None and replaced not in (None, marker.data):
            return
        is_known = marker is not None and marker.format == FORMAT
        marker = Marker.new(marker.max_bytes if is_known else None)
        _write_marker(path, marker)
        _remove_others(path, marker)


def _remove_others(path: Path, marker: Marker) -> None:
    """Remove databases that are not in use any more; who has one open keeps it until its end."""
    for folder in path.glob(f"{_DATA}*"):
        if folder.name != marker.data:
            shutil.rmtree(folder, ignore_errors=True)


def errors() -> tuple[type[Exception], ...]:
    """Return the errors that the use of a database may raise."""
    # Some methods of the package lose the error behind a SystemError.
    return (DamagedStore, lmdb().Error, SystemError)


def is_damage(error: Exception) -> bool:
    """Tell whether an error says that the file of a database is damaged."""
    package = lmdb()
    kinds = (
        DamagedStore,
        SystemError,
        package.BadTxnError,
        package.CorruptedError,
        package.CursorFullError,
        package.IncompatibleError,
        package.InvalidError,
        package.PageFullError,
        package.PageNotFoundError,
        package.PanicError,
        package.VersionMismatchError,
    )
    return isinstance(error, kinds)
