"""The store on disk: rows of features that processes and later runs share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from skltransfer._locks import ThreadLock
from skltransfer._messages import first_line
from skltransfer._torch._store import feature_store, in_batches
from skltransfer._torch._store_claims import Claims, Turns, places_of
from skltransfer._torch._store_files import (
    LEAST_MAX_BYTES,
    DamagedStore,
    Database,
    check_folder,
    errors,
    is_damage,
    lmdb,
    open_database,
    read_marker,
    replace_database,
)
from skltransfer._torch._store_format import short_digests, short_namespace
from skltransfer._torch._store_rows import Contents, drop_oldest, look_up, read_all, store_rows
from skltransfer._warnings import warn


class FeatureStoreWarning(UserWarning):
    """A store on disk is damaged, or cannot be written.

    Examples
    --------
    >>> import warnings
    >>> from skltransfer.feature import FeatureStoreWarning
    >>> with warnings.catch_warnings():  # an error, rather than to go on in memory
    ...     warnings.simplefilter("error", FeatureStoreWarning)
    """


class _Shared:
    """What all stores of one folder share within a process: one database, its lock, the counts.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path):
        self.path = path
        self.lock = ThreadLock()
        self.max_bytes: int | None = None
        self.hits = self.misses = 0
        self.is_readable = self.is_writable = True
        self.database: Database | None = None
        self._claims: Claims | None = None
        self._warned_of_values = False

    def bound(self, max_bytes: int) -> None:
        """Let the store have another size from its next use on."""
        with self.lock:
            if self.max_bytes != max_bytes:
                self.max_bytes = max_bytes
                self.close()

    # --- opening, damage and failures ----------------------------------------------------

    def opened(self) -> Database | None:
        """Return the database; None if it cannot be opened, of which a warning has told."""
        if self.database is not None and not self.database.is_current():
            self.close()
        if self.database is None and self.is_readable:
            try:
                self.database, damage = open_database(self.path, self.max_bytes)
            except (OSError, *errors()) as error:
                self.is_readable = False
                self._give_up(error)
            else:
                self._report(damage)
        return self.database

    def close(self) -> None:
        """Close the database, which is opened again when it is used."""
        database, self.database = self.database, None
        if database is not None:
            database.close()

    def recover(self, error: Exception) -> None:
        """Do what lets the next attempt succeed after an error of the database."""
        database = self.database
        if is_damage(error) and database is not None:
            self._replace(database)
            self._report(first_line(error))
        elif isinstance(error, lmdb().MapResizedError):  # by a process with a larger bound
            self.close()
        elif isinstance(error, lmdb().ReadersFullError) and database is not None:
            database.environment.reader_check()
        else:
            self.is_readable = False
            self.close()
            self._give_up(error)

    def _replace(self, database: Database) -> None:
        self.close()
        try:
            replace_database(self.path, database.marker.data)
        except OSError as error:
            self.is_readable = False
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        was_writable, self.is_writable = self.is_writable, False
        if was_writable:
            reason = getattr(error, "strerror", None) or first_line(error)
            use = "written" if self.is_readable else "used"
            warn(
                f"The store {str(self.path)!r} cannot be {use} ({reason}). This process keeps "
                "further features in memory.",
                FeatureStoreWarning,
            )

    def _report(self, damage: str) -> None:
        if damage:
            warn(
                f"The store {str(self.path)!r} is damaged ({damage}). It begins anew: its rows are "
                "computed again.",
                FeatureStoreWarning,
            )

    def claims(self) -> Claims | None:
        """Return the claims on rows; None if there can be none."""
        if self._claims is None and self.is_writable and self.opened() is not None:
            try:
                self._claims = Claims(self.path)
            except OSError:
                return None
        return self._claims if self.is_writable else None

    def release_claims(self, places: list[int]) -> None:
        """Give up the claims on rows, as far as there are any."""
        if self._claims is not None:
            self._claims.release(places)

    # --- reading -------------------------------------------------------------------------

    def read(self, namespace: bytes, digests: list[bytes]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return which rows are there, and those that are."""
        for _ in range(3):
            database = self.opened()
            if database is None:
                break
            try:
                found, rows, damaged = look_up(database, namespace, digests)
            except errors() as error:
                self.recover(error)
                continue
            if damaged:
                self._forget(database, damaged)
            return found, rows
        return np.zeros(len(digests), bool), None

    def _forget(self, database: Database, numbers: list[bytes]) -> None:
        """Remove values whose checksum is wrong; their rows are then absent."""
        try:
            with database.environment.begin(write=True) as txn:
                for number in numbers:
                    txn.delete(number, db=database.values)
        except errors() as error:
            self.recover_writing(error)
        if not self._warned_of_values:
            self._warned_of_values = True
            warn(
                f"The store {str(self.path)!r} holds {len(numbers)} damaged value(s). Their rows "
                "are computed again.",
                FeatureStoreWarning,
            )

    # --- writing -------------------------------------------------------------------------

    def write(self, namespace: bytes, digests: list[bytes], rows: np.ndarray) -> bool:
        """Store rows; return whether the store still takes rows."""
        row_bytes = max(rows[:1].nbytes, 1)
        database = self.opened() if self.is_writable else None
        if database is None or row_bytes > database.room // 4:
            return database is not None
        n_rows = max(database.room // 4 // row_bytes, 1)
        return all(
            self._write(namespace, digests[start : start + n_rows], rows[start : start + n_rows])
            for start in range(0, len(rows), n_rows)
        )

    def _write(self, namespace: bytes, digests: list[bytes], rows: np.ndarray) -> bool:
        for attempt in range(5):
            database = self.opened() if self.is_writable else None
            if database is None:
                return False
            try:
                self._make_room(database, rows.nbytes + 64 * len(rows))
                store_rows(database, namespace, digests, rows)
                return True
            except lmdb().MapFullError:
                # Free pages may be held back by readers, or lie apart.
                self._free(database, attempt)
            except errors() as error:
                self.recover_writing(error)
        return self.is_writable

    def recover_writing(self, error: Exception) -> None:
        """Do as :meth:`recover`, but go on reading where only writing has failed."""
        package = lmdb()
        if is_damage(error) or isinstance(
            error, package.MapResizedError | package.ReadersFullError
        ):
            self.recover(error)
        else:
            self._give_up(error)

    def _make_room(self, database: Database, n_bytes: int) -> None:
        limit = database.room
        with database.environment.begin() as txn:
            used = database.used_bytes(txn)
        if used + n_bytes > limit:  # somewhat more, so that it is not done for every batch
            drop_oldest(database, used + n_bytes - limit + limit // 16)

    def _free(self, database: Database, attempt: int) -> None:
        try:
            database.environment.reader_check()
            drop_oldest(database, database.room >> max(3 - attempt, 0))
        except lmdb().MapFullError:  # no page is left to note what is dropped
            self._replace(database)
        except errors() as error:
            self.recover_writing(error)


def contents_of(path: Path, *, are_checked: bool) -> Contents:
    """Return what an existing store holds, and change nothing.

    Parameters
    ----------
    path : Path
    are_checked : bool
        Whether all values are read, and compared with their checksums.

    Raises
    ------
    OSError
        If the files cannot be opened.
    DamagedStore
        If the database cannot be read.
    """
    path = _absolute(path)
    shared = _shared_of(path)
    with shared.lock:
        is_open = shared.database is not None and shared.database.is_current()
        if not is_open:
            shared.close()
        try:
            database = shared.database if is_open else Database(path, read_marker(path))
            try:
                with database.environment.begin(buffers=True) as txn:
                    return read_all(database, txn, are_checked)
            finally:
                if not is_open:
                    database.close()
        except errors() as error:
            raise DamagedStore(first_line(error)) from error


class DiskFeatureStore:
    """Store of features of frozen networks in a folder, for processes and later runs.

    Samples and namespaces are those of :class:`FeatureStore`. Several processes may use a folder at
    the same time: workers of a search, or programs of one computer. Where they need the same sample
    at the same time, one of them computes its features, and the others wait for it. Every value
    carries a checksum. When the store is full, the features written first are dropped.

    Parameters
    ----------
    path : str or Path
        Folder of the store, which is made where it does not exist. A folder with other files is
        refused. It has to lie on a disk of this computer and not on a network drive.
    max_bytes : int, default=None
        Maximum size of the store in bytes, at least 2**20, for all its users from now on. ``None``
        keeps the size of the store, which is 2**33 (8 GiB) for a new one.

    Attributes
    ----------
    nbytes : int
        Size of the stored features on disk in bytes.
    hits, misses : int
        Number of samples found and of distinct samples not found, by this process, in all stores of
        this path.

    Warns
    -----
    FeatureStoreWarning
        If the store is damaged, or if it cannot be written, as on a full disk. Features are
        computed again in the first case, and kept in memory (:data:`feature_store`) in the second.

    See Also
    --------
    FeatureStore : A store in memory.

    Notes
    -----
    The database is LMDB [1]_ (``pip install "skltransfer[store]"``), one per path and process; a
    forked child opens its own. Writing does not wait for the disk. A process that is killed loses
    nothing that it has stored; a power cut may damage the store, which is noticed by the checksums.
    Rows of one batch share a value of at most 256 KiB, because LMDB keeps larger values in whole
    pages of 4 KiB.

    References
    ----------
    .. [1] H. Chu, "MDB: A Memory-Mapped Database and Backend for OpenLDAP", LDAPCon 2011.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from skltransfer.feature import DiskFeatureStore
    >>> folder = tempfile.TemporaryDirectory()
    >>> store = DiskFeatureStore(folder.name)
    >>> store.put("network", [b"row 1"], np.array([[1.0, 2.0]]))
    >>> again = DiskFeatureStore(folder.name)  # in another process as well
    >>> again.get("network", [b"row 1", b"row 2"])
    (array([ True, False]), array([[1., 2.]]))
    >>> folder.cleanup()
    """

    def __init__(self, path, max_bytes: int | None = None):
        if max_bytes is not None and max_bytes < LEAST_MAX_BYTES:
            raise ValueError(
                f"max_bytes={max_bytes!r} has to be at least {LEAST_MAX_BYTES} (1 MiB)."
            )
        lmdb()
        self._settle(path, max_bytes)
        if self._shared.database is None:
            check_folder(self.path)

    def _settle(self, path, max_bytes: int | None) -> None:
        self.path, self.max_bytes = _absolute(path), max_bytes
        self._shared = _shared_of(self.path)
        if max_bytes is not None:
            self._shared.bound(max_bytes)

    def __repr__(self) -> str:
        bound = "" if self.max_bytes is None else f", max_bytes={self.max_bytes}"
        return f"{type(self).__name__}({str(self.path)!r}{bound})"

    def __sklearn_clone__(self):
        return self

    def __reduce__(self):
        # Nothing is looked at: the folder may be missing where a pickle is read, or LMDB.
        return (_restored, (type(self), str(self.path), self.max_bytes))

    @property
    def hits(self) -> int:
        """Number of samples that this process has found."""
        return self._shared.hits

    @property
    def misses(self) -> int:
        """Number of distinct samples that this process has not found."""
        return self._shared.misses

    @property
    def nbytes(self) -> int:
        """Size of the stored features on disk in bytes."""
        return self._ask(lambda database, txn: database.used_bytes(txn))

    def __len__(self) -> int:
        """Return the number of samples in the store."""
        return self._ask(lambda database, txn: txn.stat(database.rows)["entries"])

    def _ask(self, question) -> int:
        shared = self._shared
        with shared.lock:
            for _ in range(3):
                database = shared.opened()
                if database is None:
                    break
                try:
                    with database.environment.begin() as txn:
                        return question(database, txn)
                except errors() as error:
                    shared.recover(error)
        return 0

    def clear(self) -> None:
        """Drop all features, for all users of the store, and the counts of this process."""
        shared = self._shared
        with shared.lock:
            shared.close()
            if self.path.is_dir():
                check_folder(self.path)
                replace_database(self.path)
            shared.hits = shared.misses = 0
            shared.is_readable = shared.is_writable = True

    def get(self, namespace: str, digests) -> tuple[np.ndarray, np.ndarray | None]:
        """Look samples up.

        Parameters
        ----------
        namespace : str
            Key of everything that decides features beside the sample.
        digests : sequence of bytes of length n_samples
            Digests of the samples' content.

        Returns
        -------
        found : ndarray of shape (n_samples,), bool
            Mask of the samples in the store.
        values : ndarray of shape (n_found, n_features) or None
            Features of the samples found; None if there are none.
        """
        found, values = self._get(namespace, digests)
        shared = self._shared
        with shared.lock:
            shared.hits += int(found.sum())
            shared.misses += len({digests[i] for i in np.flatnonzero(~found)})
        return found, values

    def _get(self, namespace: str, digests) -> tuple[np.ndarray, np.ndarray | None]:
        shared = self._shared
        with shared.lock:
            found, values = shared.read(short_namespace(namespace), short_digests(digests))
        if shared.is_writable or found.all():
            return found, values
        missing = np.flatnonzero(~found)
        in_memory, others = feature_store.get(namespace, [digests[i] for i in missing])
        if others is None:
            return found, values
        if values is None:
            return in_memory, others
        both = np.empty((len(digests), *values.shape[1:]), values.dtype)
        both[found], both[missing[in_memory]] = values, others
        found[missing[in_memory]] = True
        return found, both[found]

    def put(self, namespace: str, digests, values: np.ndarray) -> None:
        """Store the features of samples that are not in the store yet.

        Parameters
        ----------
        namespace : str
            Key of everything that decides features beside the sample.
        digests : sequence of bytes of length n_samples
            Digests of the samples' content.
        values : ndarray of shape (n_samples, n_features)
            Features.
        """
        if not len(values):
            return
        shared = self._shared
        with shared.lock:
            is_stored = shared.write(
                short_namespace(namespace), short_digests(digests), np.asarray(values)
            )
            shared.release_claims(places_of(namespace, digests))  # others find the rows now
        if not is_stored:
            feature_store.put(namespace, digests, values)

    def batches(self, namespace: str, digests, groups, size: int, features) -> Iterator[np.ndarray]:
        """Yield batches of the rows that this process has to compute and put.

        Rows that other processes compute meanwhile are written into `features`.

        Parameters
        ----------
        namespace : str
            Key of everything that decides features beside the sample.
        digests : sequence of bytes of length n_samples
            Digests of the samples' content.
        groups : list of ndarray of int
            Samples to compute; batches do not mix groups.
        size : int
            Number of samples in a batch.
        features : ndarray of shape (n_samples, ...)
            Features.

        Yields
        ------
        batch : ndarray of int
            Positions of samples.
        """
        shared = self._shared
        with shared.lock:
            claims = shared.claims()
        if claims is None:
            yield from in_batches(groups, size)
            return

        def read(rows: list[int]) -> list[int]:
            found, values = self._get(namespace, [digests[row] for row in rows])
            rows = np.asarray(rows, dtype=np.intp)
            if values is not None:
                features[rows[found]] = values
            return rows[~found].tolist()

        yield from Turns(claims, places_of(namespace, digests), read).batches(groups, size)


def _absolute(path) -> Path:
    return Path(os.path.realpath(Path(path).expanduser()))


def _shared_of(path: Path) -> _Shared:
    return _stores.get(str(path)) or _stores.setdefault(str(path), _Shared(path))


def _restored(kind: type, path: str, max_bytes: int | None) -> DiskFeatureStore:
    store = kind.__new__(kind)
    store._settle(path, max_bytes)
    return store


# --- one database per folder and process ------------------------------------------------------

_stores: dict[str, _Shared] = {}
_locked: list[_Shared] = []


def _before_fork() -> None:
    # No thread is inside of a database then, so that the child can close what it has inherited.
    for shared in list(_stores.values()):
        if shared.lock.acquire(timeout=5):
            _locked.append(shared)


def _after_fork_in_parent() -> None:
    while _locked:
        _locked.pop().lock.release()


def _after_fork_in_child() -> None:
    for shared in list(_stores.values()):
        if shared in _locked:
            shared.close()
        else:  # a thread that is gone was inside
            _abandoned.append(shared.database)
            shared.database = None
    _after_fork_in_parent()


_abandoned: list[Database | None] = []
os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)
