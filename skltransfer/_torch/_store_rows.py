"""Rows in the database of a store on disk: found, written and dropped in transactions."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from skltransfer._torch._store_files import DamagedStore, Database
from skltransfer._torch._store_format import (
    PLACE,
    DamagedValue,
    as_numbers,
    decode,
    encode,
    is_whole,
    rows_of_value,
)

_NUMBER_BYTES = 8


def look_up(database: Database, namespace: bytes, digests: list[bytes]):
    """Return which rows are there, those that are, and the numbers of damaged values."""
    found = np.zeros(len(digests), bool)
    damaged: list[bytes] = []
    rows = None
    with database.environment.begin(buffers=True) as txn:
        get, table = txn.get, database.rows
        places = [get(namespace + digest, None, table) for digest in digests]
        if {*map(len, filter(None, places))} - {PLACE.itemsize}:
            raise DamagedStore("places of rows have another size")
        asked = np.arange(len(digests))
        if None in places:
            asked = np.flatnonzero([place is not None for place in places])
            places, digests = ([part[i] for i in asked] for part in (places, digests))
        if not places:
            return found, None, damaged
        where = np.frombuffer(b"".join(places), PLACE)
        wanted = as_numbers(digests)
        numbers, groups = np.unique(where["value"].astype(np.uint64), return_inverse=True)
        order = np.argsort(groups, kind="stable")
        ends = np.cumsum(np.bincount(groups, minlength=len(numbers)))
        for number, members in zip(numbers, np.split(order, ends[:-1]), strict=True):
            key = int(number).to_bytes(_NUMBER_BYTES, "big")
            content = get(key, None, database.values)
            if content is None:
                continue
            try:
                value = decode(content)
            except DamagedValue:
                damaged.append(key)
                continue
            row = where["row"][members].astype(np.intp)
            is_there = row < len(value.rows)
            row[~is_there] = 0
            # A place that is damaged may lead to another row.
            is_there &= (value.digests[row] == wanted[members]).all(axis=1)
            if value.namespace != namespace or not is_there.any():
                continue
            if rows is None:
                rows = np.empty((len(asked), *value.rows.shape[1:]), value.rows.dtype)
            if value.rows.shape[1:] != rows.shape[1:] or value.rows.dtype != rows.dtype:
                continue
            rows[members[is_there]] = value.rows[row[is_there]]
            found[asked[members[is_there]]] = True
    if rows is not None and not found[asked].all():
        rows = rows[found[asked]]
    return found, rows, damaged


def store_rows(
    database: Database, namespace: bytes, digests: list[bytes], rows: np.ndarray
) -> None:
    """Write the rows that are not there yet, in one transaction."""
    with database.environment.begin(write=True) as txn:
        keys, fresh = set(), []
        for i, digest in enumerate(digests):
            if digest not in keys and not _is_there(database, txn, namespace + digest):
                keys.add(digest)
                fresh.append(i)
        cursor = txn.cursor(database.values)
        last = int.from_bytes(cursor.key(), "big") if cursor.last() else 0
        # Of the clock, so that rows of a value that was removed never lead to a later one.
        number = max(last, time.time_ns())
        n_rows = rows_of_value(rows[:1].nbytes)
        for start in range(0, len(fresh), n_rows):
            chosen = fresh[start : start + n_rows]
            number += 1
            key = number.to_bytes(_NUMBER_BYTES, "big")
            names = [digests[i] for i in chosen]
            content = encode(namespace, names, rows[chosen])
            txn.put(key, content, db=database.values, append=True)
            for row, digest in enumerate(names):
                txn.put(namespace + digest, key + row.to_bytes(4, "big"), db=database.rows)


def _is_there(database: Database, txn, key: bytes) -> bool:
    place = txn.get(key, db=database.rows)
    if place is None:
        return False
    cursor = txn.cursor(database.values)
    return cursor.set_key(place[:_NUMBER_BYTES])


def drop_oldest(database: Database, n_bytes: int) -> None:
    """Remove the values that were written first, at least so many bytes of them."""
    with database.environment.begin(write=True) as txn:
        cursor = txn.cursor(database.values)
        while n_bytes > 0 and cursor.first():
            number, content = cursor.item()
            n_bytes -= len(content)
            try:
                value = decode(content)
            except DamagedValue:  # its rows lead nowhere, until they are written again
                pass
            else:
                for digest in value.digests:
                    key = value.namespace + digest.tobytes()
                    place = txn.get(key, db=database.rows)
                    if place is not None and place[:_NUMBER_BYTES] == number:
                        txn.delete(key, db=database.rows)
            cursor.delete()


@dataclass(frozen=True)
class Contents:
    """What a store holds.

    Parameters
    ----------
    n_rows, n_namespaces, n_values, n_damaged : int
        Number of rows, of their namespaces, of the values that hold rows, and of those among them
        whose checksum is wrong.
    used_bytes, max_bytes : int
    """

    n_rows: int
    n_namespaces: int
    n_values: int
    n_damaged: int
    used_bytes: int
    max_bytes: int


def read_all(database: Database, txn, are_checked: bool) -> Contents:
    n_namespaces, cursor = 0, txn.cursor(database.rows)
    is_found = cursor.first()
    while is_found:  # leap from one to the next
        n_namespaces += 1
        is_found = cursor.set_range(bytes(cursor.key()[:16]) + b"\xff" * 17)
    n_rows = sum(1 for _ in txn.cursor(database.rows).iternext())
    n_values = n_damaged = 0
    for content in txn.cursor(database.values).iternext(keys=False):
        n_values += 1
        n_damaged += are_checked and not is_whole(content)
    used, bound = database.used_bytes(txn), database.marker.max_bytes
    return Contents(n_rows, n_namespaces, n_values, n_damaged, used, bound)
