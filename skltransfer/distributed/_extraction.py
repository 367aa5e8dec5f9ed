"""Parts of a collection: extracted by a worker, each into one file that is there or not."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skltransfer._files import write_whole
from skltransfer.distributed._collections import ImageFolder, ParquetFiles, Part
from skltransfer.distributed._outputs import (
    check_no_clash,
    columns_of,
    names_without_samples,
)

# What a file says of its part, in its metadata.
_KEY = b"skltransfer"
# Samples between reading and the network; rows of a table cost less.
_IMAGES_AT_ONCE, _ROWS_AT_ONCE = 256, 8192
# Rows of a group of the file.
_GROUP_ROWS, _GROUP_BYTES = 8192, 2**26
# Samples that are computed again to tell whether a destination belongs to an estimator, and the
# largest difference, relative to the largest value: that of two devices is well below it.
_N_CHECKED, _TOLERANCE = 8, 1e-2


@dataclass(frozen=True)
class Job:
    """What is extracted from where to where.

    Parameters
    ----------
    method : str
        Method of the estimator.
    collection : ImageFolder or ParquetFiles
    destination : Path
    columns : str or list of str or None
    keep : list of str or None
    skips : bool
        Whether images that cannot be read are left out.
    """

    method: str
    collection: ImageFolder | ParquetFiles
    destination: Path
    columns: str | Sequence[str] | None
    keep: Sequence[str] | None
    skips: bool

    @property
    def of_frames(self) -> bool:
        """Tell whether the samples are the rows of a table."""
        return not isinstance(self.columns, str) and isinstance(self.collection, ParquetFiles)


class Worker:
    """Extracts parts.

    Parameters
    ----------
    estimator : estimator
        Fitted. It is changed.
    job : Job
    n_threads : int, default=None
        Threads of torch. ``None`` leaves them as they are.
    """

    def __init__(self, estimator, job: Job, n_threads: int | None = None):
        self._estimator, self._job = estimator, job
        values = {"store": None, "on_error": "raise"}  # no sample comes twice
        for name in estimator.get_params():
            if (last := name.rpartition("__")[2]) in values:
                with suppress(ValueError):  # of a FrozenEstimator nothing can be set
                    estimator.set_params(**{name: values[last]})
        if n_threads is not None and "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(n_threads)
        self._is_checked = False

    def extract(self, part: Part, finished: dict | None) -> dict:
        """Write the file of a part, unless it is there, and return what was done.

        Parameters
        ----------
        part : Part
        finished : dict or None
            A part of an earlier run, see :func:`finished_parts`.

        Raises
        ------
        ValueError
            If the earlier part was extracted by another estimator.
        """
        if finished is not None and not self._is_checked:
            self._check(finished)
            self._is_checked = True
        path = self._job.destination / part.name
        if path.exists():  # by a worker that has been lost after it
            return {"n_rows": 0, "n_unreadable": 0}
        with write_whole(path) as temporary:
            return self._write(part, temporary)

    def _write(self, part: Part, path: Path) -> dict:
        import pyarrow as pa
        import pyarrow.parquet as pq

        writer, group, n_rows, unreadable = None, [], 0, []
        file = path.open("wb")
        try:
            for kept, outputs, failed in self._tables(part):
                unreadable += failed
                if writer is None:
                    check_no_clash(kept.column_names, outputs)
                arrays = [pa.array(values) for values in outputs.values()]
                names = [*kept.column_names, *outputs]
                table = pa.Table.from_arrays([*kept.columns, *arrays], names=names)
                if writer is None:
                    texts = [f.name for f in table.schema if pa.types.is_string(f.type)]
                    writer = pq.ParquetWriter(file, table.schema, use_dictionary=texts)
                    most = min(_GROUP_ROWS, max(1, _GROUP_BYTES // (4 * max(1, len(outputs)))))
                group.append(table.cast(writer.schema))
                n_rows += len(table)
                if sum(map(len, group)) >= most:
                    writer.write_table(pa.concat_tables(group).combine_chunks())
                    group.clear()
            if group:
                writer.write_table(pa.concat_tables(group).combine_chunks())
            about = self._job.collection.about(part) | {"unreadable": unreadable}
            writer.add_key_value_metadata({_KEY: json.dumps(about)})
        finally:
            try:
                if writer is not None:
                    writer.close()
            finally:
                file.close()
        return {"n_rows": n_rows, "n_unreadable": len(unreadable)}

    def _tables(self, part: Part):
        """Yield kept columns, outputs, and pairs of a sample that cannot be read and the reason."""
        job = self._job
        size = _ROWS_AT_ONCE if job.of_frames else _IMAGES_AT_ONCE
        for samples, kept, names in job.collection.batches(part, size, job.columns, job.keep):
            failed = {}
            try:
                outputs = columns_of(self._estimator, job.method, samples)
            except Exception as error:
                failed = self._unreadable(samples, names, error)
                readable = [i for i in range(len(names)) if i not in failed]
                kept = kept.take(np.array(readable, np.int64))
                if readable:
                    samples = [samples[i] for i in readable]
                    outputs = columns_of(self._estimator, job.method, samples)
                else:
                    outputs = dict.fromkeys(
                        names_without_samples(self._estimator, job.method), np.empty(0, np.float32)
                    )
            yield kept, outputs, [[names[i], reason] for i, reason in failed.items()]

    def _unreadable(self, samples, names: list[str], error: Exception) -> dict[int, str]:
        """Return which images cannot be read and why; raise an error that has other causes."""
        from skltransfer._torch._images import UnreadableImage
        from skltransfer._torch._rows import EncodedImageRows

        if not isinstance(error, UnreadableImage):
            raise error
        if not self._job.skips:
            raise ValueError(
                f"{names[error.row]}: {error.reason}. Remove it, or set on_error='skip', which "
                "leaves such images out and lists them."
            ) from error
        failed = EncodedImageRows(samples).unreadable()
        return {i: error.reason for i, error in failed.items()}

    def _check(self, finished: dict) -> None:
        """Raise a ValueError if a part of an earlier run has other outputs for its samples."""
        import pyarrow.parquet as pq

        file = self._job.destination / finished["name"]
        part = self._job.collection.first_of(finished, _N_CHECKED)
        with pq.ParquetFile(file) as opened:
            known = set(opened.schema_arrow.names)
            for _, outputs, _ in self._tables(part):
                n = len(next(iter(outputs.values())))
                is_same = known.issuperset(outputs)
                if is_same and n:
                    old = next(opened.iter_batches(n, columns=list(outputs))).to_pydict()
                    is_same = all(_agree(np.array(old[name]), outputs[name]) for name in outputs)
                if not is_same:
                    raise ValueError(
                        f"destination: {file.name} was extracted by another estimator or method, "
                        "or from other samples. Pass another destination, or delete its files."
                    )


def _agree(old: np.ndarray, new: np.ndarray) -> bool:
    if len(old) != len(new):
        return False
    if new.dtype.kind != "f":
        return bool((old == new).all())
    largest = np.abs(old).max(initial=0.0)
    return bool(np.allclose(new, old, rtol=0, atol=_TOLERANCE * largest, equal_nan=True))


def finished_parts(destination: Path, collection) -> list[dict]:
    """Return what is known of the parts that are there: name, rows, unreadable samples.

    Raises
    ------
    ValueError
        If a file there is not of an extraction, or of another kind of collection.
    """
    import pyarrow.parquet as pq

    finished = []
    for path in sorted(destination.glob("*.parquet")):
        if path.name.startswith("_"):
            continue
        metadata = pq.read_metadata(path)
        about = json.loads((metadata.metadata or {}).get(_KEY, b"{}"))
        is_of_files = isinstance(collection, ParquetFiles)
        if "unreadable" not in about or is_of_files != ("file" in about):
            raise ValueError(
                f"destination: {path.name} is no part of an extraction of this source. Pass a "
                "folder of its own."
            )
        if not is_of_files:
            own = pq.read_table(path, columns=["path"]).column("path").to_pylist()
            about["paths"] = own + [name for name, _ in about["unreadable"]]
        finished.append(about | {"name": path.name, "n_rows": metadata.num_rows})
    return finished


def remove_leftovers(destination: Path) -> None:
    """Delete what workers that were killed have left behind."""
    for folder in destination.glob(".*.parquet.*"):
        if folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
