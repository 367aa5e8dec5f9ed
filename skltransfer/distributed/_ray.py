"""Features of collections that are larger than memory, by Ray Data."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sklearn.utils import Bunch

from skltransfer._files import write_whole
from skltransfer._messages import require
from skltransfer._parameters import Choice, Count, Number
from skltransfer.distributed._collections import ParquetFiles, open_collection
from skltransfer.distributed._extraction import (
    Job,
    Worker,
    finished_parts,
    remove_leftovers,
)
from skltransfer.distributed._outputs import check_method, columns_to_read

# Beside the parts; names that begin so are no data to readers of folders of Parquet files.
_UNREADABLE = "_unreadable.parquet"
# Ray keeps a record of each block.
_MAX_BLOCKS = 10_000


def ray_extract(
    estimator,
    source,
    destination,
    *,
    method: str = "transform",
    columns: str | Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    on_error: str = "raise",
    rows_per_part: int = 10_000,
    n_workers: int | str = "auto",
    cpus_per_worker: float = 1,
    gpus_per_worker: float | str = "auto",
    verbose: bool = False,
) -> Bunch:
    """Apply a fitted transformer or model to a collection, by workers of a Ray cluster.

    The collection is cut into parts. A worker, with a device and a copy of the estimator of its
    own, writes each part to one Parquet file beside its name and then renames it. The same call
    after an interruption therefore goes on where it stopped: finished parts are not computed
    again, and no row is there twice. Samples that have come to the collection since are extracted
    as well.

    Parameters
    ----------
    estimator : estimator
        Fitted transformer, predictor or pipeline.
    source : str, Path or list of them
        Folder of images, or folder, file or list of files of Parquet. Every machine of the cluster
        has to see it under this path.
    destination : str or Path
        Folder of the results, which is made if it is not there. Every machine has to see it. One
        call at a time may write to it.
    method : {"transform", "predict", "predict_proba", "decision_function"}, default="transform"
        Method of `estimator` that is called.
    columns : str or list of str, default=None
        Column of the Parquet files with texts, or with the bytes or absolute paths of images; or
        the columns of a table. ``None`` takes those that the estimator was fitted with.
    keep : list of str, default=None
        Columns that stand beside the outputs, such as an id. ``None`` keeps all but `columns`. Of a
        folder of images, ``path`` and ``label`` (its folder at the top) are kept.
    on_error : {"raise", "skip"}, default="raise"
        Treatment of images that cannot be read. ``"raise"`` ends the extraction with an error that
        names the image; finished parts stay. ``"skip"`` leaves them out and lists them.
    rows_per_part : int, default=10000
        Largest number of samples of a part: what an interruption costs at most, per worker.
    n_workers : int or "auto", default="auto"
        Number of workers. ``"auto"`` is one per GPU of the cluster, or per CPU without a GPU. 0
        computes the parts in this process, without Ray.
    cpus_per_worker : float, default=1
        CPUs of a worker, and threads of torch.
    gpus_per_worker : float or "auto", default="auto"
        GPUs of a worker. ``"auto"`` is 1 if the cluster has a GPU, else 0. Workers that share a GPU
        (0.25) decode images while others use it.
    verbose : bool, default=False
        Whether Ray shows its progress.

    Returns
    -------
    result : Bunch
        ``n_rows`` and ``n_parts`` are in `destination` now, ``n_new_rows`` and ``n_new_parts`` of
        them from this call. ``unreadable`` is a frame of the images that were left out, with the
        columns ``sample`` and ``reason``; if there are any, it is also written to
        ``_unreadable.parquet`` in `destination`.

    Raises
    ------
    NotFittedError
        If `estimator` is not fitted.
    TypeError
        If `estimator` lacks the method.
    FileNotFoundError
        If `source` is not there.
    ValueError
        If a column is missing, an image cannot be read, a source file has changed, or `destination`
        holds other files, or outputs of another estimator: the first samples of an earlier part
        are computed again for that.
    ImportError
        If Ray is not installed.

    See Also
    --------
    dask_extract : The same for Dask frames, lazily and without files.

    Notes
    -----
    Outputs equal those of the estimator in one process: bit for bit where it treats samples one by
    one, within rounding where a network takes them in batches. A store of features is not used. The
    order of parts is not that of the source: rows are known by what is kept of them.

    A cluster is joined by ``ray.init(address=...)`` before the call; else Ray starts on this
    machine. A worker that is lost (a machine that fails, memory that runs out) is replaced, and its
    part computed again.

    Each part is read from the start of its first row group: row groups should not be much larger
    than `rows_per_part`.

    Examples
    --------
    The parts of a file are computed in this process; with a cluster, leave out ``n_workers``:

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import pandas as pd
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skltransfer.distributed import ray_extract
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> scaler = StandardScaler().fit(X)
    >>> with TemporaryDirectory() as folder:
    ...     source, destination = Path(folder, "flowers.parquet"), Path(folder, "scaled")
    ...     X.assign(id=X.index).to_parquet(source)
    ...     result = ray_extract(scaler, source, destination, rows_per_part=50, n_workers=0)
    ...     again = ray_extract(scaler, source, destination, n_workers=0)
    ...     scaled = pd.read_parquet(destination)
    >>> result.n_rows, result.n_parts, again.n_new_rows, scaled.columns[0]
    (150, 3, 0, 'id')
    """
    needed = ["pyarrow.parquet", "pandas"]
    for module in needed if n_workers == 0 else [*needed, "ray", "ray.data"]:
        require(module, "distributed", "skltransfer.distributed.ray_extract")
    check_method(estimator, method)
    Choice("raise", "skip").check("on_error", on_error)
    Count().check("rows_per_part", rows_per_part)
    Count(0, unset=("auto",)).check("n_workers", n_workers)
    Number(0, low_open=True).check("cpus_per_worker", cpus_per_worker)
    Number(0, unset=("auto",)).check("gpus_per_worker", gpus_per_worker)
    collection = open_collection(source)
    if isinstance(collection, ParquetFiles):
        columns = columns_to_read(estimator, columns)
    keep = None if keep is None else list(keep)
    collection.check(columns, keep)
    destination = _checked_destination(destination, collection)
    remove_leftovers(destination)
    before = finished_parts(destination, collection)
    parts = list(collection.parts(before, rows_per_part))
    if parts:
        job = Job(method, collection, destination, columns, keep, on_error == "skip")
        finished = next((about for about in before if about["n_rows"]), None)
        if n_workers == 0:
            worker = Worker(copy.deepcopy(estimator), job)
            for part in parts:
                worker.extract(part, finished)
        else:
            needs = (n_workers, cpus_per_worker, gpus_per_worker)
            _run(estimator, job, parts, finished, needs, verbose)
    after = finished_parts(destination, collection)
    return _result(destination, before, after)


def _checked_destination(destination, collection) -> Path:
    path = Path(destination).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"destination={str(path)!r} is a file. Pass a folder.")
    if isinstance(collection, ParquetFiles):
        for file in collection.files:
            if path in (collection.root / file).parents:
                raise ValueError(
                    f"destination={str(path)!r} holds a file of the source, {file!r}. Pass a "
                    "folder of its own."
                )
    path.mkdir(parents=True, exist_ok=True)
    return path


def _workers(ray, n_parts: int, n_workers, cpus: float, gpus) -> dict:
    """Return the number of workers, and what each of them needs."""
    there = ray.cluster_resources()
    if gpus == "auto":
        gpus = 1 if there.get("GPU", 0) >= 1 else 0
    for name, wanted in (("CPU", cpus), ("GPU", gpus)):
        if wanted > there.get(name, 0):
            raise ValueError(
                f"{name.lower()}s_per_worker={wanted}, and the cluster has "
                f"{there.get(name, 0):g}. Lower it, or add machines."
            )
    most = int(there["GPU"] / gpus) if gpus else int(there["CPU"] / cpus)
    if n_workers == "auto":
        n_workers = most
    elif n_workers > most:
        raise ValueError(
            f"n_workers={n_workers}, and the cluster has room for {most}. Lower it, or what each "
            "worker needs."
        )
    return {"n": min(int(n_workers), n_parts), "num_cpus": cpus, "num_gpus": gpus}


class _Actor:
    """A worker, as Ray Data has it."""

    def __init__(self, pickled, job: Job, n_threads: int, finished: dict | None):
        import ray

        # Ray would share arrays between workers, which then cannot be written to.
        estimator = pickle.loads(ray.get(pickled))
        self._worker, self._finished = Worker(estimator, job, n_threads), finished

    def __call__(self, batch: dict) -> dict:
        """Extract one part; an error is a result, because Ray would lose what it says."""
        import ray

        (part,) = batch["part"]
        try:
            self._worker.extract(pickle.loads(part), self._finished)
        except Exception as error:
            try:
                return {"error": [ray.cloudpickle.dumps(error)]}
            except Exception:
                return {"error": [pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))]}
        return {"error": [b""]}


def _run(estimator, job: Job, parts, finished, needs: tuple, verbose: bool) -> None:
    """Extract parts by a pool of actors."""
    import ray
    import ray.data

    if not ray.is_initialized():
        ray.init()
    workers = _workers(ray, len(parts), *needs)
    items = [{"part": pickle.dumps(part)} for part in parts]
    arguments = {
        "pickled": ray.put(ray.cloudpickle.dumps(estimator)),
        "job": job,
        "n_threads": max(1, int(workers["num_cpus"])),
        "finished": finished,
    }
    with _progress(ray, verbose):
        pool = ray.data.ActorPoolStrategy(size=workers["n"])
        done = ray.data.from_items(items, override_num_blocks=min(len(items), _MAX_BLOCKS))
        done = done.map_batches(
            _Actor,
            batch_size=1,
            compute=pool,
            fn_constructor_kwargs=arguments,
            num_cpus=workers["num_cpus"],
            num_gpus=workers["num_gpus"],
        )
        for batch in done.iter_batches(batch_size=None):
            for error in filter(None, batch["error"]):
                raise pickle.loads(error)


@contextmanager
def _progress(ray, verbose: bool) -> Iterator[None]:
    """Let Ray Data show its progress in the block, or not."""
    context = ray.data.DataContext.get_current()
    old = context.enable_progress_bars
    context.enable_progress_bars = verbose
    log = logging.getLogger("ray.data")
    level = log.level
    if not verbose:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = old
        log.setLevel(level)


def _result(destination: Path, before: list[dict], after: list[dict]) -> Bunch:
    import pandas as pd

    failed = [pair for about in after for pair in about["unreadable"]]
    unreadable = pd.DataFrame(failed, columns=["sample", "reason"])
    path = destination / _UNREADABLE
    if failed:
        with write_whole(path) as temporary:
            unreadable.to_parquet(temporary)
    else:
        path.unlink(missing_ok=True)
    n_before, n_after = (sum(about["n_rows"] for about in parts) for parts in (before, after))
    return Bunch(
        n_rows=n_after,
        n_parts=len(after),
        n_new_rows=n_after - n_before,
        n_new_parts=len(after) - len(before),
        unreadable=unreadable,
    )
