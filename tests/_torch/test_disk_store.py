"""The store on disk: shared by processes, and whole whatever happens to them or to its files."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from skltransfer._torch import _disk_store, _store_claims
from skltransfer._torch._store import feature_store
from skltransfer._torch._store_format import DamagedValue, decode, encode
from skltransfer._torch._store_parameter import resolve_store
from skltransfer.feature import DiskFeatureStore, FeatureStoreWarning
from tests.forked import in_child
from tests.full_disk import full_disk

lmdb = pytest.importorskip("lmdb")
WIDTH = 256


@pytest.fixture(autouse=True)
def _empty_memory():
    feature_store.clear()
    yield
    feature_store.clear()


def digest(i):
    return int(i).to_bytes(8, "little") * 2


def row(i, namespace="a"):
    return np.arange(WIDTH, dtype=np.float32) + (1000 * int(i) + ord(namespace))


def rows(numbers, namespace="a"):
    return np.array([row(i, namespace) for i in numbers])


def put(store, numbers, namespace="a"):
    store.put(namespace, [digest(i) for i in numbers], rows(numbers, namespace))


def held(store, numbers, namespace="a"):
    """Return which rows a store holds, and check that none is wrong."""
    found, values = store.get(namespace, [digest(i) for i in numbers])
    if values is not None:
        np.testing.assert_array_equal(values, rows(np.asarray(numbers)[found], namespace))
    return found


def data_file(path):
    (file,) = Path(path).glob("data-*/data.mdb")
    return file


def opened_anew(path):
    """Return a store of a path that this process has not opened."""
    _disk_store._shared_of(Path(os.path.realpath(path))).close()
    _disk_store._stores.pop(os.path.realpath(path))
    return DiskFeatureStore(path)


def run_python(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# --- rows ------------------------------------------------------------------------------


def test_rows_come_back_in_the_order_asked_and_are_counted(tmp_path):
    store = DiskFeatureStore(tmp_path)
    put(store, range(10))
    put(store, range(3), "b")
    digests = [digest(7), b"unknown", digest(2), digest(7)]
    found, values = store.get("a", digests)
    np.testing.assert_array_equal(found, [True, False, True, True])
    np.testing.assert_array_equal(values, rows([7, 2, 7]))
    assert (store.hits, store.misses, len(store)) == (3, 1, 13)
    assert held(store, range(4), "b").tolist() == [True] * 3 + [False]
    assert store.get("c", digests)[1] is None
    store.put("a", [digest(3)], rows([4]))  # known: stays as it is
    assert held(store, range(10)).all()
    store.clear()
    assert (store.hits, store.misses, len(store)) == (0, 0, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("shape", [(), (3,), (8, 5, 5), (0,)])
def test_type_and_shape_of_a_row_are_kept(tmp_path, dtype, shape):
    store = DiskFeatureStore(tmp_path)
    values = np.arange(6 * int(np.prod(shape))).reshape(6, *shape).astype(dtype)
    digests = [b"of any length" * i for i in range(6)]
    store.put("a", digests, values[:, ::-1] if shape == (3,) else values)
    found, given = store.get("a", digests[::-1])
    assert found.all()
    assert given.dtype == dtype
    np.testing.assert_array_equal(given, (values[:, ::-1] if shape == (3,) else values)[::-1])


def test_large_rows_and_large_batches_are_cut_into_values(tmp_path):
    store = DiskFeatureStore(tmp_path)
    values = np.random.default_rng(0).random((7, 300, 300))  # 720 KB a row
    store.put("a", [digest(i) for i in range(7)], values)
    np.testing.assert_array_equal(store.get("a", [digest(i) for i in range(7)])[1], values)
    put(store, range(100, 1100))
    assert held(store, range(100, 1100)).all()


def test_rows_of_a_batch_share_pages(tmp_path):
    store = DiskFeatureStore(tmp_path)
    for start in range(0, 640, 32):
        store.put("a", [digest(i) for i in range(start, start + 32)], np.ones((32, 512), "f4"))
    assert 1 < store.nbytes / (640 * 2048) < 1.25  # one row a value would take twice its size


def test_a_value_is_read_as_it_was_written_or_not_at_all():
    content = encode(b"n" * 16, [digest(1), digest(2)], rows([1, 2]))
    value = decode(content)
    np.testing.assert_array_equal(value.rows, rows([1, 2]))
    assert value.digests.tobytes() == digest(1) + digest(2)
    rng = np.random.default_rng(0)
    for place in [*range(80), *rng.integers(80, len(content), 200)]:
        for bit in (0, 7):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            with pytest.raises(DamagedValue):
                decode(bytes(changed))
    for n_bytes in (0, 20, 60, len(content) - 1):
        with pytest.raises(DamagedValue):
            decode(content[:n_bytes])


# --- size ------------------------------------------------------------------------------


def test_the_oldest_rows_go_first_and_the_file_stays_below_the_bound(tmp_path):
    store = DiskFeatureStore(tmp_path, max_bytes=2**20)
    for start in range(0, 3000, 20):
        put(store, range(start, start + 20))
        assert data_file(tmp_path).stat().st_size <= 2**20
    found = held(store, range(3000))
    oldest = int(found.argmax())
    assert found[oldest:].all()
    assert 500 * 1024 < (3000 - oldest) * 4 * WIDTH < 2**20
    assert len(store) == found.sum()
    assert DiskFeatureStore(tmp_path).nbytes <= 2**20  # the bound stays with the folder


def test_rows_of_many_sizes_fill_a_small_store(tmp_path):
    store = DiskFeatureStore(tmp_path, max_bytes=2**20)
    rng = np.random.default_rng(0)
    values = {}
    for i in range(400):
        n, width = int(rng.integers(1, 9)), int(rng.integers(1, 20_000))
        values[i] = rng.random((n, width), np.float32)
        store.put("a", [digest(10 * i + j) for j in range(n)], values[i])
        for j in rng.integers(0, i + 1, 3):
            found, given = store.get("a", [digest(10 * j + k) for k in range(len(values[j]))])
            assert given is None or np.array_equal(given, values[j][found])
    assert 0 < store.nbytes <= 2**20
    store.put("a", [b"too large"], np.ones((1, 2**20)))
    assert not store.get("a", [b"too large"])[0].any()


def test_another_bound_is_that_of_all_users(tmp_path):
    first = DiskFeatureStore(tmp_path)
    put(first, range(50))
    with pytest.raises(ValueError, match="max_bytes=1000 "):
        DiskFeatureStore(tmp_path, max_bytes=1000)
    second = DiskFeatureStore(tmp_path, max_bytes=2**21)
    assert held(second, range(50)).all()
    assert json.loads((tmp_path / "skltransfer-store.json").read_text())["max_bytes"] == 2**21
    for start in range(50, 5000, 50):
        put(first, range(start, start + 50))
    assert first.nbytes <= 2**21


# --- several users of one folder -------------------------------------------------------


def test_objects_and_paths_share_one_database(tmp_path, monkeypatch):
    store = DiskFeatureStore(tmp_path / "x")
    put(store, range(3))
    (tmp_path / "link").symlink_to(tmp_path / "x")
    monkeypatch.chdir(tmp_path)
    for other in (Path("x"), "link", tmp_path / "x"):
        assert held(resolve_store(other), range(3)).all()
    assert held(pickle.loads(pickle.dumps(store)), range(3)).all()
    assert store.hits == 12


def test_a_later_process_finds_the_rows(tmp_path):
    store = DiskFeatureStore(tmp_path)
    put(store, range(5))
    code = (
        "import sys; from skltransfer.feature import DiskFeatureStore\n"
        "found, values = DiskFeatureStore(sys.argv[1]).get('a', [bytes.fromhex(sys.argv[2])])\n"
        "print(found, values.sum(), 'torch' in sys.modules)"
    )
    given = run_python(code, tmp_path, digest(3).hex())
    assert given.split() == ["[", "True]", str(row(3).sum()), "False"]


def test_a_forked_child_opens_the_database_anew(tmp_path):
    store = DiskFeatureStore(tmp_path)
    put(store, range(5))

    def work():
        assert held(store, range(5)).all()
        put(store, range(5, 10))
        in_child(lambda: put(store, range(10, 15)))

    stop = threading.Event()

    def write():
        i = 100
        while not stop.is_set():
            put(store, range(i, i + 5))
            i += 5

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(3):
            in_child(work)
    finally:
        stop.set()
        thread.join()
    assert held(store, range(15)).all()


def test_threads_see_whole_rows(tmp_path):
    store = DiskFeatureStore(tmp_path, max_bytes=2**20)
    failures = []

    def work(seed):
        rng = np.random.default_rng(seed)
        try:
            for _ in range(40):
                numbers = rng.integers(0, 2000, 40)
                held(store, numbers)
                put(store, numbers)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def _write_until_killed(path, number, n_rows):
    """Read and write rows at random; note each row that has been stored."""
    warnings.simplefilter("error")  # nothing is damaged
    rng = np.random.default_rng(number)
    store = DiskFeatureStore(path)
    with open(path.parent / f"stored-{os.getpid()}", "a", buffering=1) as notes:
        while True:
            numbers = np.unique(rng.integers(0, n_rows, rng.integers(1, 30)))
            found = held(store, numbers)
            put(store, numbers)
            notes.write("".join(f"{i}\n" for i in numbers[~found]))


def test_no_kill_costs_a_row_or_makes_one_wrong(tmp_path):
    path, n_rows = tmp_path / "store", 4000
    rng = np.random.default_rng(0)
    context = multiprocessing.get_context("fork")

    def start(number):
        process = context.Process(target=_write_until_killed, args=(path, number, n_rows))
        process.start()
        return process

    processes = [start(number) for number in range(8)]
    try:
        for number in range(8, 24):
            time.sleep(0.1)
            victim = int(rng.integers(8))
            assert processes[victim].is_alive()  # a wrong row would have ended it
            os.kill(processes[victim].pid, signal.SIGKILL)
            processes[victim].join(10)
            processes[victim] = start(number)
        time.sleep(0.3)
        alive = [process.is_alive() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.join(10)
    assert all(alive)
    notes = [file.read_text().split("\n") for file in tmp_path.glob("stored-*")]
    stored = sorted({int(line) for lines in notes for line in lines[:-1]})
    assert len(stored) > 1000
    store = DiskFeatureStore(path)
    assert held(store, stored).all()
    put(store, range(n_rows))  # no lock is left behind
    assert held(store, range(n_rows)).all()


# --- damage ----------------------------------------------------------------------------


def test_a_flipped_bit_makes_no_wrong_row(tmp_path):
    rng = np.random.default_rng(0)
    store = DiskFeatureStore(tmp_path / "0")
    for start in range(0, 200, 20):
        put(store, range(start, start + 20))
    content = data_file(tmp_path / "0").read_bytes()
    kinds = {"values": 0, "anew": 0, "none": 0}
    # Anywhere, and in the heads of pages that are no values.
    places = [*rng.integers(0, len(content), 15)]
    page = 0
    while page < len(content) // 4096:
        head = content[4096 * page : 4096 * page + 16]
        is_value = int.from_bytes(head[10:12], "little") == 4
        if not is_value:
            places += [4096 * page + int(rng.integers(64)) for _ in range(3)]
        page += int.from_bytes(head[12:16], "little") if is_value else 1
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        store = opened_anew(tmp_path / "0")
        data_file(tmp_path / "0").write_bytes(changed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            held(store, range(200))
            put(store, range(200))
            held(store, range(200))
        said = [str(warning.message) for warning in caught]
        assert all(str(tmp_path / "0") in message for message in said)
        kind = "anew" if "anew" in str(said) else "values" if said else "none"
        kinds[kind] += 1
        store = opened_anew(tmp_path / "0")
        assert held(store, range(200)).all() or kind == "none"
    assert kinds["values"]
    assert kinds["anew"]


def test_a_damaged_value_is_reported_once_and_stored_again(tmp_path):
    store = DiskFeatureStore(tmp_path)
    put(store, range(32))
    put(store, range(32, 64))
    store = opened_anew(tmp_path)
    file = data_file(tmp_path)
    content = bytearray(file.read_bytes())
    content[content.index(row(40).tobytes()) + 5] ^= 1
    file.write_bytes(content)
    with pytest.warns(FeatureStoreWarning, match=r"1 damaged value.*computed again") as caught:
        found = held(store, range(64))
    assert len(caught) == 1
    assert found.tolist() == [True] * 32 + [False] * 32
    put(store, range(64))
    assert held(opened_anew(tmp_path), range(64)).all()


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(20_000), None])
def test_a_file_that_cannot_be_read_is_reported_and_replaced(tmp_path, content):
    put(DiskFeatureStore(tmp_path), range(100))
    store = opened_anew(tmp_path)
    file = data_file(tmp_path)
    file.write_bytes(file.read_bytes()[: 4096 * 3] if content is None else content)
    with pytest.warns(FeatureStoreWarning, match=f"'{tmp_path}' is damaged .*begins anew"):
        assert not held(store, range(100)).any()
    put(store, range(100))
    assert held(opened_anew(tmp_path), range(100)).all()
    assert len(list(tmp_path.glob("data-*"))) == 1


def test_a_file_that_is_cut_while_it_is_open(tmp_path):
    store = DiskFeatureStore(tmp_path)
    for start in range(0, 300, 30):
        put(store, range(start, start + 30))
    file = data_file(tmp_path)
    os.truncate(file, file.stat().st_size // 2)
    with pytest.warns(FeatureStoreWarning):
        assert not held(store, range(300)).all()
    put(store, range(300))
    assert held(store, range(300)).all()


def test_rows_of_a_removed_value_do_not_lead_to_a_later_one(tmp_path):
    store = DiskFeatureStore(tmp_path)
    put(store, range(8))
    database = store._shared.database
    with database.environment.begin(write=True) as txn:
        cursor = txn.cursor(database.values)
        cursor.last()
        cursor.delete()
    put(store, range(100, 108))
    assert not held(store, range(8)).any()
    put(store, range(8))
    assert held(store, range(8)).all()


def test_other_processes_follow_when_a_store_begins_anew_or_is_gone(tmp_path):
    path = tmp_path / "store"
    store = DiskFeatureStore(path)
    put(store, range(5))
    run_python(
        "import sys; from skltransfer.feature import DiskFeatureStore\n"
        "DiskFeatureStore(sys.argv[1]).clear()",
        path,
    )
    assert not held(store, range(5)).any()
    put(store, range(5))
    os.rename(path, tmp_path / "gone")
    assert not held(store, range(5)).any()
    put(store, range(5))
    assert held(opened_anew(path), range(5)).all()


def test_a_damaged_marker_is_reported_and_replaced(tmp_path):
    put(DiskFeatureStore(tmp_path), range(5))
    for content in ("{", "[]", '{"format": 1, "max_bytes": 7, "data": "../.."}'):
        (tmp_path / "skltransfer-store.json").write_text(content)
        with pytest.warns(FeatureStoreWarning, match="begins anew"):
            put(opened_anew(tmp_path), range(5))


# --- folders that are not ours ---------------------------------------------------------


def test_other_folders_are_refused_and_left_as_they_are(tmp_path):
    with lmdb.open(str(tmp_path / "foreign")) as foreign, foreign.begin(write=True) as txn:
        txn.put(b"theirs", b"1")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    (tmp_path / "file").write_text("x")
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*"))
    for name in ("foreign", "home"):
        with pytest.raises(ValueError, match="other files, and no feature store"):
            DiskFeatureStore(tmp_path / name)
    with pytest.raises(ValueError, match="is a file"):
        DiskFeatureStore(tmp_path / "file")
    with pytest.raises(ValueError, match="lies in one"):
        DiskFeatureStore(tmp_path / "file" / "x")
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*")) == before


def test_a_store_of_another_format_is_refused(tmp_path):
    put(DiskFeatureStore(tmp_path), range(5))
    marker = tmp_path / "skltransfer-store.json"
    marker.write_text('{"format": 2, "max_bytes": "?", "data": null}')
    with pytest.raises(ValueError, match="in format 2 by another version.*reads format 1"):
        opened_anew(tmp_path)
    assert data_file(tmp_path).exists()


def test_lmdb_is_an_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(ImportError, match=r'needs lmdb.*pip install "skltransfer\[store\]"'):
        DiskFeatureStore(tmp_path)


# --- disks that are full or cannot be written ------------------------------------------


def test_a_full_disk_costs_one_warning_and_no_row(tmp_path):
    store = DiskFeatureStore(tmp_path)
    put(store, range(50))
    with full_disk(data_file(tmp_path).stat().st_size + 4096):
        with pytest.warns(FeatureStoreWarning, match="cannot be written.*in memory") as caught:
            put(store, range(50, 100))
            put(store, range(100, 150))
        assert len(caught) == 1
        assert held(store, range(160)).tolist() == [True] * 150 + [False] * 10
        assert [*store.batches("a", [digest(1)], [np.array([0])], 1, None)] == [0]
    assert held(opened_anew(tmp_path), range(150)).sum() == 50


@pytest.mark.skipif(os.getuid() != 0, reason="changes the user")
def test_a_folder_that_cannot_be_written_costs_one_warning():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store")
        in_child(lambda: put(DiskFeatureStore(path), range(5)))
        for part in (Path(folder), path):
            part.chmod(0o755)

        def work():
            os.setuid(65534)
            for place in (path, path / "new" if not path.exists() else Path(folder, "new")):
                store = DiskFeatureStore(place)
                with pytest.warns(FeatureStoreWarning, match="cannot be used.*in memory") as caught:
                    put(store, range(5))
                    assert held(store, range(5)).all()
                assert len(caught) == 1
                assert len(store) == 0
                feature_store.clear()

        in_child(work)
        in_child(lambda: held(DiskFeatureStore(path), range(5)).all() or os._exit(1))


# --- rows that several processes need at once ------------------------------------------


def _extract(path, numbers, size, seconds=0.0, computed=()):
    """Return the rows of an extraction, and the numbers of those computed here."""
    store = DiskFeatureStore(path)
    digests = [digest(i) for i in numbers]
    features = np.empty((len(numbers), WIDTH), np.float32)
    found, values = store.get("a", digests)
    if values is not None:
        features[found] = values
    computed = list(computed)
    groups = np.array_split(np.flatnonzero(~found), 2)
    for batch in store.batches("a", digests, groups, size, features):
        assert 0 < len(batch) <= size
        time.sleep(seconds)
        features[batch] = rows([numbers[i] for i in batch])
        computed += [numbers[i] for i in batch]
        store.put("a", [digests[i] for i in batch], features[batch])
    np.testing.assert_array_equal(features, rows(numbers))
    return computed


def _extract_into(queue, *arguments):
    queue.put(_extract(*arguments))


def test_processes_share_the_work_and_none_repeats_it(tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    orders = [list(range(120)), list(range(119, -1, -1)), list(range(30, 150)), list(range(90))]
    arguments = [(queue, tmp_path / "x", order, 8, 0.01) for order in orders]
    processes = [context.Process(target=_extract_into, args=each) for each in arguments]
    for process in processes:
        process.start()
    computed = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(sum(computed, [])) == list(range(150))
    assert sum(map(bool, computed)) > 1


def test_rows_of_a_killed_process_are_computed_by_the_one_that_waits(tmp_path):
    context = multiprocessing.get_context("fork")
    slow = context.Process(target=_extract, args=(tmp_path, list(range(32)), 8, 1000))
    _extract(tmp_path, [99], 1)
    slow.start()
    claims = _disk_store._shared_of(Path(os.path.realpath(tmp_path))).claims()
    end = time.monotonic() + 30
    (place,) = _store_claims.places_of("a", [digest(0)])
    while claims.take(place) and time.monotonic() < end:
        claims.release([place])
        time.sleep(0.01)
    threading.Timer(0.3, slow.kill).start()
    assert sorted(_extract(tmp_path, list(range(32)), 8)) == list(range(32))
    slow.join()


def test_a_process_that_hangs_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(_store_claims, "_PATIENCE", 0.1)
    code = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'r+b')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX); print('held', flush=True); time.sleep(1000)"
    )
    _extract(tmp_path, [99], 1)
    command = [sys.executable, "-c", code, str(tmp_path / "claims.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        assert _extract(tmp_path, list(range(12)), 8) == list(range(12))
        other.kill()


def test_claims_end_with_an_error(tmp_path):
    store = DiskFeatureStore(tmp_path)
    digests = [digest(i) for i in range(4)]
    with pytest.raises(KeyboardInterrupt):
        for _ in store.batches("a", digests, [np.arange(4)], 2, np.empty((4, WIDTH))):
            raise KeyboardInterrupt
    code = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+b')\n"
        "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB); print('free')"
    )
    assert run_python(code, tmp_path / "claims.lock") == "free\n"
