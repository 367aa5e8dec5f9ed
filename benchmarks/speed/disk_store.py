"""A store on disk: a search that is repeated, processes that share rows, and the cost of a row.

12 settings x 5 folds behind ResNet-18 at 64 pixels, ``n_jobs=1``: without a store (one round),
with a new store on disk, and with the rows of an earlier run. Two processes extract the same
images at the same time, in opposite order. Weights are random: speed does not depend on them.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import DiskFeatureStore, FeatureStore, PretrainedFeatureTransformer
from skltransfer._torch._extraction import FeatureNetwork
from skltransfer._torch._rows import ImageArrayRows

NEEDS = ("lmdb",)
CLAIMS = [
    {
        "claim": "a search of 60 fits behind ResNet-18, with the store of an earlier run",
        "beside": "the same search without a store",
        "value": ["search", "ratio_cpu_warm"],
        "at_least": 40,
    },
    {
        "claim": "two processes with one store on disk: images computed twice",
        "beside": "limit",
        "value": ["two_processes", "computed_twice"],
        "at_most": 0,
        "unit": "images",
    },
    {
        "claim": "a new store on disk: time of looking up, claiming and writing",
        "beside": "one pass of ResNet-18 at 64 pixels",
        "value": ["row", "share_of_pass"],
        "at_most": 0.02,
        "unit": "",
    },
    {
        "claim": "an image of 224 pixels from the store on disk, with its digest, fastest round",
        "beside": "limit",
        "value": ["row", "hit_microseconds"],
        "at_most": 10,
        "unit": "µs",
    },
    {
        "claim": "512 float32 on disk, beside their own size",
        "beside": "limit",
        "value": ["row", "bytes_over_features"],
        "at_most": 1.25,
        "unit": "",
    },
]

BATCH = 32


class RowCount:
    """Counts the distinct images of each batch that enters the network."""

    def __init__(self):
        self.n_rows, forward = 0, FeatureNetwork.forward

        def counted(network, x):
            self.n_rows += len({row.tobytes() for row in x.numpy()})
            return forward(network, x)

        FeatureNetwork.forward = counted


def features_of(store) -> PretrainedFeatureTransformer:
    """Return the transformer of all parts."""
    return PretrainedFeatureTransformer(
        "resnet18", weights=None, input_size=64, batch_size=BATCH, store=store
    )


def images(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels; a dark band tells the classes apart."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    y = np.arange(n) % 4
    for label in range(4):
        X[y == label, 16 * label : 16 * label + 16] //= 3
    return X, y


def measure_search(folder: Path, options) -> dict:
    """Return times of the searches, whose scores are equal."""
    n, n_settings, n_folds = (64, 2, 2) if options.quick else (160, 12, 5)
    X, y = images(n)
    count = RowCount()
    passed, number = {}, iter(range(100))

    def search(name, store):
        before = count.n_rows
        model = make_pipeline(
            features_of(store), StandardScaler(), LogisticRegression(max_iter=500)
        )
        grid = {"logisticregression__C": np.logspace(-4, 2, n_settings)}
        result = GridSearchCV(model, grid, cv=n_folds, error_score="raise").fit(X, y)
        passed[name] = count.n_rows - before
        return result

    start = time.process_time(), time.perf_counter()
    naive = search("naive", None)
    naive_cpu = time.process_time() - start[0]
    naive_wall = time.perf_counter() - start[1]
    earlier = folder / "earlier"
    search("first", earlier)
    results = interleave(
        {
            "new": lambda: search("new", folder / f"new-{next(number)}"),
            "warm": lambda: search("warm", earlier),
            "memory": lambda: search("memory", FeatureStore()),
        },
        n_rounds=rounds(5, options),
    )
    scores = naive.cv_results_["mean_test_score"]
    for part in results.values():
        found = part.pop("result").cv_results_["mean_test_score"]
        np.testing.assert_array_equal(found, scores)
    assert (passed["new"], passed["warm"], passed["memory"]) == (n, 0, n), passed
    return {
        "n": n,
        "n_settings": n_settings,
        "n_folds": n_folds,
        "naive_cpu_seconds": naive_cpu,
        "naive_wall_seconds": naive_wall,
        "naive_images": passed["naive"],
        "ratio_cpu_new": naive_cpu / results["new"]["cpu_seconds"],
        "ratio_cpu_warm": naive_cpu / results["warm"]["cpu_seconds"],
        **results,
    }


def extract(folder: str, n: int, is_reversed: bool, barrier, queue) -> None:
    """Extract images in a process of its own; report how many it has computed."""
    X, _ = images(n)
    count = RowCount()
    transformer = features_of(folder).fit(X[:1])
    barrier.wait()
    order = slice(None, None, -1 if is_reversed else 1)
    features = transformer.transform(X[order])[order]
    queue.put((count.n_rows, features))


def measure_two_processes(folder: Path, options) -> dict:
    """Return how many images each of two processes has computed."""
    n = 64 if options.quick else 240
    context = multiprocessing.get_context("spawn")
    barrier, queue = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=extract, args=(str(folder / "two"), n, bool(i), barrier, queue))
        for i in range(2)
    ]
    for process in processes:
        process.start()
    (first, a), (second, b) = (queue.get(timeout=600) for _ in processes)
    for process in processes:
        process.join()
    np.testing.assert_array_equal(a, b)
    return {"n": n, "computed": [first, second], "computed_twice": first + second - n}


def measure_row(folder: Path, options) -> dict:
    """Return what a row costs: to look up and write, to pass the network, to find."""
    n = 256 if options.quick else 1024
    X, _ = images(n)
    digests = ImageArrayRows(X).digests()
    rng = np.random.default_rng(0)
    values = rng.random((n, 512), np.float32)
    number = iter(range(100))

    def store_new():
        store = DiskFeatureStore(folder / f"row-{next(number)}")
        features = np.empty_like(values)
        assert store.get("a", digests)[1] is None
        for batch in store.batches("a", digests, [np.arange(n)], BATCH, features):
            features[batch] = values[batch]
            store.put("a", [digests[i] for i in batch], features[batch])
        np.testing.assert_array_equal(features, values)
        return store

    transformer = features_of(None).fit(X[:1])
    n_passed = 64 if options.quick else 256
    results = interleave(
        {"store": store_new, "pass": lambda: transformer.transform(X[:n_passed])},
        n_rounds=rounds(5, options),
    )
    store = results["store"]["result"]
    stored = results["store"]["cpu_seconds"] / n
    passed = results["pass"]["cpu_seconds"] / n_passed

    large = rng.integers(0, 256, (64 if options.quick else 512, 224, 224, 3), dtype=np.uint8)
    hits = DiskFeatureStore(folder / "hits")
    expected = rng.random((len(large), 512), np.float32)
    hits.put("a", ImageArrayRows(large).digests(), expected)
    rows = ImageArrayRows(large)
    found = interleave(
        {"digests": rows.digests, "hits": lambda: hits.get("a", rows.digests())[1]},
        n_rounds=rounds(25, options),
    )
    np.testing.assert_array_equal(found["hits"]["result"], expected)
    return {
        "n": n,
        "stored_microseconds": 1e6 * stored,
        "stored_wall_microseconds": 1e6 * results["store"]["wall_seconds"] / n,
        "pass_microseconds": 1e6 * passed,
        "share_of_pass": stored / passed,
        "hit_microseconds": 1e6 * min(found["hits"]["cpu_seconds_all"]) / len(large),
        "hit_microseconds_median": 1e6 * found["hits"]["cpu_seconds"] / len(large),
        "digest_microseconds": 1e6 * min(found["digests"]["cpu_seconds_all"]) / len(large),
        "digest_microseconds_median": 1e6 * found["digests"]["cpu_seconds"] / len(large),
        "bytes_over_features": store.nbytes / values.nbytes,
        "bytes_over_features_one_row_a_value": one_row_a_value(folder, digests, values),
    }


def one_row_a_value(folder: Path, digests, values) -> float:
    """Return the size on disk beside that of the features if each row were a value of its own."""
    import lmdb

    with lmdb.open(str(folder / "single"), map_size=2**28, sync=False) as files:
        with files.begin(write=True) as txn:
            for digest, row in zip(digests, values, strict=True):
                txn.put(b"n" * 16 + digest, bytes(8) + row.tobytes())
        stat = files.stat()
    pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
    return pages * stat["psize"] / values.nbytes


def main(options) -> None:
    """Measure all parts in a folder that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        record = {
            "row": measure_row(folder, options),
            "two_processes": measure_two_processes(folder, options),
            "search": measure_search(folder, options),
        }
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
