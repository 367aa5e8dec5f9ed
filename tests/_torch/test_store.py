"""The feature store: what it keeps, forgets and counts."""

import pickle
import threading

import numpy as np
import pytest

from skltransfer._torch._store import FeatureStore


def rows(n, width=4, start=0):
    values = np.arange(start, start + n, dtype=np.float32)[:, None] * np.ones(width, np.float32)
    return [str(i).encode() for i in range(start, start + n)], values


def test_found_rows_come_back_in_the_order_asked():
    store = FeatureStore()
    digests, values = rows(10)
    store.put("a", digests, values)
    found, result = store.get("a", [digests[7], b"unknown", digests[2], digests[7]])
    np.testing.assert_array_equal(found, [True, False, True, True])
    np.testing.assert_array_equal(result[:, 0], [7, 2, 7])
    assert (store.hits, store.misses, len(store)) == (3, 1, 10)


def test_namespaces_are_apart():
    store = FeatureStore()
    digests, values = rows(3)
    store.put("a", digests, values)
    store.put("b", digests, values[:, :2] + 100)
    assert store.get("a", digests)[1].shape == (3, 4)
    np.testing.assert_array_equal(store.get("b", digests)[1][:, 0], [100, 101, 102])
    assert store.get("c", digests)[1] is None


def test_a_known_row_is_not_overwritten():
    store = FeatureStore()
    digests, values = rows(3)
    store.put("a", digests, values)
    store.put("a", digests, values + 1)
    np.testing.assert_array_equal(store.get("a", digests)[1], values)
    assert len(store) == 3


def test_values_are_copies():
    store = FeatureStore()
    digests, values = rows(3)
    store.put("a", digests, values)
    values[:] = -1
    store.get("a", digests)[1][:] = -2
    np.testing.assert_array_equal(store.get("a", digests)[1], rows(3)[1])


def test_the_oldest_rows_are_forgotten_first():
    digests, values = rows(45, width=2**20 // 10)  # ten of them in 4 MiB
    max_bytes = values[:30].nbytes
    store = FeatureStore(max_bytes)
    for i in range(45):
        store.put("a", digests[i : i + 1], values[i : i + 1])
        assert store.nbytes <= max_bytes
    found, kept = store.get("a", digests)
    oldest = int(found.argmax())
    assert 45 - 30 <= oldest <= 45 - 20
    assert found[oldest:].all()
    np.testing.assert_array_equal(kept, values[oldest:])
    store.put("b", digests[:10], values[:10])
    assert not store.get("a", digests)[0][: oldest + 1].any()
    assert store.nbytes <= max_bytes


def test_memory_grows_with_the_rows():
    store = FeatureStore()
    digests, values = rows(1000)
    for i in range(0, 1000, 8):
        store.put("a", digests[i : i + 8], values[i : i + 8])
        assert store.nbytes <= 2 * values[: i + 8].nbytes
    np.testing.assert_array_equal(store.get("a", digests)[1], values)


def test_a_lower_bound_takes_effect():
    store = FeatureStore()
    digests, values = rows(100)
    for i in range(100):
        store.put("a", digests[i : i + 1], values[i : i + 1])
    store.max_bytes = 320
    store.put("b", *rows(1))
    assert store.nbytes <= 320
    with pytest.raises(ValueError, match="max_bytes=-1"):
        FeatureStore(-1)


def test_rows_wider_than_the_store_are_not_kept():
    store = FeatureStore(max_bytes=10)
    store.put("a", *rows(3))
    assert (len(store), store.nbytes) == (0, 0)
    store.put("a", [], np.empty((0, 4)))


def test_clear():
    store = FeatureStore()
    store.put("a", *rows(3))
    store.get("a", rows(3)[0])
    store.clear()
    assert (len(store), store.nbytes, store.hits, store.misses) == (0, 0, 0, 0)
    assert store.get("a", rows(3)[0])[1] is None


def test_another_process_starts_empty():
    store = FeatureStore(max_bytes=77)
    store.put("a", *rows(3))
    again = pickle.loads(pickle.dumps(store))
    assert (again.max_bytes, len(again)) == (77, 0)


def test_threads_see_whole_rows():
    digests, values = rows(300, width=2**20 // 30)  # thirty of them in 4 MiB
    store = FeatureStore(max_bytes=values[:100].nbytes)
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(60):
            picked = rng.integers(0, 300, 6)
            found, result = store.get("a", [digests[i] for i in picked])
            if result is not None and not np.array_equal(result, values[picked[found]]):
                wrong.append(picked)
            store.put("a", [digests[i] for i in picked], values[picked])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 0 < store.nbytes <= store.max_bytes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_type_of_the_features_is_kept(dtype):
    store = FeatureStore()
    store.put("a", [b"1"], np.ones((1, 3), dtype))
    assert store.get("a", [b"1"])[1].dtype == dtype
