"""The cache that threads share."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from skltransfer._shared_cache import SharedCache


def test_the_least_recently_used_entry_goes_first():
    cache, made = SharedCache(2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        assert cache.get(key, lambda key=key: made.append(key) or key.upper()) == key.upper()
    assert made == ["a", "b", "c", "b"]
    cache.clear()
    cache.get("a", lambda: made.append("a"))
    cache.get("a", lambda: made.append("a"))  # None is an entry as well
    assert made == ["a", "b", "c", "b", "a"]


def test_one_thread_makes_an_entry_for_all():
    cache, made, start = SharedCache(8), [], Barrier(4)

    def get(_):
        start.wait(10)
        return cache.get("key", lambda: made.append(1) or object())

    with ThreadPoolExecutor(4) as threads:
        entries = set(threads.map(get, range(4)))
    assert len(entries) == len(made) == 1


def test_entries_are_found_while_another_is_made():
    cache, is_making, may_end = SharedCache(8), Event(), Event()
    cache.get("old", lambda: 1)

    def slow():
        is_making.set()
        return may_end.wait(10)

    with ThreadPoolExecutor(1) as threads:
        new = threads.submit(cache.get, "new", slow)
        assert is_making.wait(10)
        assert cache.get("old", lambda: 2) == 1
        may_end.set()
        assert new.result(10) is True


def test_an_entry_that_cannot_be_made_is_tried_again():
    cache = SharedCache(8)
    with pytest.raises(ZeroDivisionError):
        cache.get("key", lambda: 1 / 0)
    assert cache.get("key", lambda: 1) == 1


def test_making_one_entry_may_ask_for_another():
    cache = SharedCache(8)
    assert cache.get("outer", lambda: cache.get("inner", lambda: 1) + 1) == 2
