"""Locks and caches in a forked child."""

import threading

from skltransfer._locks import ThreadLock
from skltransfer._shared_cache import SharedCache
from tests.forked import in_child


class Holder(threading.Thread):
    """Another thread, which is in the middle of something."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self._call, self.holds, self._may_end = call, threading.Event(), threading.Event()

    def run(self):
        self._call(self._wait)

    def _wait(self):
        self.holds.set()
        self._may_end.wait(60)

    def __enter__(self):
        self.start()
        assert self.holds.wait(60)

    def __exit__(self, *_):
        self._may_end.set()
        self.join()


def test_a_lock_of_another_thread_is_free_in_the_child_and_held_in_the_parent():
    lock = ThreadLock()

    def hold(wait):
        with lock:
            wait()

    def take():
        with lock, lock:
            pass

    with Holder(hold):
        in_child(take)
        taken = threading.Thread(target=take, daemon=True)
        taken.start()
        taken.join(0.2)
        assert taken.is_alive()
    taken.join(60)
    assert not taken.is_alive()


def test_the_thread_that_forks_keeps_its_lock_and_releases_it_in_the_child():
    lock = ThreadLock()

    def release():
        lock.__exit__()
        with lock:
            pass

    with lock:
        in_child(release)
    with lock:
        pass


def test_a_cache_in_which_another_thread_makes_an_entry_makes_it_in_the_child():
    cache = SharedCache(2)
    with Holder(lambda wait: cache.get("entry", wait)):
        in_child(lambda: cache.get("entry", lambda: 1) or 1 / 0)
