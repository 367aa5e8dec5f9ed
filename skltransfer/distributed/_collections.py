"""Collections of samples on a disk, cut into parts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import xxhash

from skltransfer._messages import explained
from skltransfer.datasets._image_folder import class_of, find_images


@dataclass(frozen=True)
class Part:
    """Samples that are extracted together, into one file.

    Parameters
    ----------
    name : str
        Name of the file with the outputs. It stands for the samples.
    n_rows : int
    paths : tuple of str, default=()
        Images of a folder, relative to it.
    file : str, default=""
        File of Parquet, relative to the collection.
    start : int, default=0
        First row in `file`.
    """

    name: str
    n_rows: int
    paths: tuple[str, ...] = ()
    file: str = ""
    start: int = 0


class ImageFolder:
    """The images in a folder, and in the folders inside.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def parts(self, done: list[dict], rows_per_part: int) -> Iterator[Part]:
        """Yield the images that no finished part has, in parts.

        Parameters
        ----------
        done : list of dict
            What is known of finished parts, see :meth:`about`, with their ``paths``.
        rows_per_part : int
        """
        found = {path for about in done for path in about["paths"]}
        paths = find_images(self.folder)
        left = [path for path in paths if path not in found] if found else paths
        for start in range(0, len(left), rows_per_part):
            chosen = tuple(left[start : start + rows_per_part])
            digest = xxhash.xxh3_64_hexdigest("\0".join(chosen).encode(errors="surrogateescape"))
            yield Part(f"images-{digest}.parquet", len(chosen), chosen)

    def about(self, part: Part) -> dict:
        """Return what the file of a part has to say of it; its rows say the rest."""
        return {}

    def first_of(self, about: dict, n: int) -> Part:
        """Return the first samples of a finished part, up to one that is gone."""
        paths = about["paths"][:n]
        paths = tuple(takewhile(lambda path: (self.folder / path).is_file(), paths))
        return Part("", len(paths), paths)

    def batches(self, part: Part, size: int, columns, keep) -> Iterator[tuple]:
        """Yield samples, columns that are kept (a table), and names of the samples."""
        import pyarrow as pa

        for start in range(0, part.n_rows, size):
            paths = part.paths[start : start + size]
            kept = {"path": paths, "label": [class_of(path) for path in paths]}
            kept = pa.table({name: pa.array(v, pa.string()) for name, v in kept.items()})
            yield [str(self.folder / path) for path in paths], kept, list(paths)

    def check(self, columns, keep) -> None:
        """Raise a ValueError if columns are asked for."""
        if columns is not None or keep is not None:
            raise ValueError("columns and keep go with Parquet files, not with a folder of images.")


class ParquetFiles:
    """Rows of one or many Parquet files.

    Parameters
    ----------
    root : Path
        Folder that names of files are relative to.
    files : list of str
    """

    def __init__(self, root: Path, files: list[str]):
        self.root, self.files = root, files

    def _open(self, file: str):
        import pyarrow.parquet as pq

        with explained(f"source: {str(self.root / file)!r} is no Parquet file"):
            return pq.ParquetFile(self.root / file)

    def parts(self, done: list[dict], rows_per_part: int) -> Iterator[Part]:
        """Yield the rows that no finished part has, in parts that lie in one file each."""
        for file in self.files:
            with self._open(file) as opened:
                n_rows = opened.metadata.num_rows
            own = [about for about in done if about["file"] == file]
            for about in own:
                if about["bytes"] != (self.root / file).stat().st_size:
                    raise ValueError(
                        f"source: {file!r} has changed since a part of it was extracted. Pass "
                        "another destination, or delete the files of the part."
                    )
            start, digest = 0, xxhash.xxh3_64_hexdigest(os.fsencode(file))
            intervals = sorted((about["start"], about["stop"]) for about in own)
            for gap_stop, next_start in [*intervals, (n_rows, n_rows)]:
                for first in range(start, gap_stop, rows_per_part):
                    n = min(rows_per_part, gap_stop - first)
                    yield Part(f"rows-{digest}-{first:012d}.parquet", n, file=file, start=first)
                start = max(start, next_start)

    def about(self, part: Part) -> dict:
        """Return what the file of a part has to say of it."""
        return {
            "file": part.file,
            "start": part.start,
            "stop": part.start + part.n_rows,
            "bytes": (self.root / part.file).stat().st_size,
        }

    def first_of(self, about: dict, n: int) -> Part:
        """Return the first samples of a finished part."""
        start = about["start"]
        return Part("", min(n, about["stop"] - start), file=about["file"], start=start)

    def batches(self, part: Part, size: int, columns, keep) -> Iterator[tuple]:
        """Yield samples, columns that are kept (a table), and names of the samples."""
        import pyarrow as pa

        names = [columns] if isinstance(columns, str) else columns
        with self._open(part.file) as opened:
            if keep is None:
                keep = [name for name in opened.schema_arrow.names if name not in names]
            groups, skip = _row_groups(opened.metadata, part.start, part.n_rows)
            left, row = part.n_rows, part.start
            wanted = list(dict.fromkeys([*names, *keep]))
            for batch in opened.iter_batches(size, row_groups=groups, columns=wanted):
                batch, skip = batch[skip:], max(0, skip - len(batch))
                batch = batch[:left]
                if not len(batch):
                    continue
                if isinstance(columns, str):
                    samples = batch.column(columns).to_pylist()
                else:
                    samples = batch.select(names).to_pandas()
                rows = [f"{part.file}:{row + i}" for i in range(len(batch))]
                yield samples, pa.Table.from_batches([batch]).select(keep), rows
                left, row = left - len(batch), row + len(batch)
                if not left:
                    return

    def check(self, columns, keep) -> None:
        """Raise a ValueError if a file lacks a column."""
        names = [columns] if isinstance(columns, str) else columns
        for file in self.files:
            with self._open(file) as opened:
                known = opened.schema_arrow.names
            for name in [*names, *(keep or ())]:
                if name not in known:
                    raise ValueError(f"source: {file!r} has no column {name!r}, only {known}.")


def _row_groups(metadata, start: int, n_rows: int) -> tuple[list[int], int]:
    """Return the groups that rows lie in, and how many rows of the first come before them."""
    groups, skip, first = [], 0, 0
    for number in range(metadata.num_row_groups):
        last = first + metadata.row_group(number).num_rows
        if last > start and first < start + n_rows:
            if not groups:
                skip = start - first
            groups.append(number)
        first = last
    return groups, skip


def open_collection(source) -> ImageFolder | ParquetFiles:
    """Return the samples that a path, or a list of paths, names.

    Raises
    ------
    FileNotFoundError
        If a file or folder is not there.
    ValueError
        If there is neither an image nor a Parquet file.
    """
    if not isinstance(source, str | os.PathLike):
        paths = [Path(path).expanduser().absolute() for path in source]
        if not paths:
            raise ValueError("source is an empty list. Pass paths of Parquet files.")
        for path in paths:
            if not path.is_file():
                raise FileNotFoundError(f"source: there is no file {str(path)!r}.")
        root = Path(os.path.commonpath([path.parent for path in paths]))
        return ParquetFiles(root, [path.relative_to(root).as_posix() for path in paths])
    path = Path(source).expanduser().absolute()
    if path.is_file():
        return ParquetFiles(path.parent, [path.name])
    if not path.is_dir():
        raise FileNotFoundError(f"source: there is no file or folder {str(path)!r}.")
    files = sorted(
        found.relative_to(path).as_posix()
        for found in path.rglob("*.parquet")
        if not any(piece.startswith((".", "_")) for piece in found.relative_to(path).parts)
    )
    return ParquetFiles(path, files) if files else ImageFolder(path)
