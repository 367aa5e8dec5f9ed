"""Files of tables, CSV or Parquet, as cells of text, so that one rule reads both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from skltransfer.cli._csv_files import check_distinct, read_csv, reading
from skltransfer.cli._errors import CommandError, import_extra, shorten

_PARQUET = {".parquet", ".pq"}
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class FileTable:
    """The cells of a file, as texts; a cell without a value is empty."""

    path: str
    separator: str
    cells: object  # data frame of str (n_rows, n_columns)


def read_file(path: str, notes: list[str]) -> FileTable:
    """Return the cells of a CSV or Parquet file.

    Parameters
    ----------
    path : str
    notes : list of str
        Notes are appended: columns that are left out, rows that end early.

    Raises
    ------
    CommandError
        If the file cannot be read.
    """
    import_extra("pandas")
    if Path(path).is_dir():
        raise CommandError(f"{path!r} is a folder, not a CSV or Parquet file.")
    if not Path(path).is_file():
        raise CommandError(f"there is no file {path!r}.")
    if _is_parquet(path):
        return FileTable(path, ",", _parquet_cells(path, notes))
    return FileTable(path, *read_csv(path, notes))


def _is_parquet(path: str) -> bool:
    if Path(path).suffix.lower() in _PARQUET:
        return True
    with reading(path), open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def _parquet_cells(path: str, notes: list[str]):
    pandas, pyarrow = import_extra("pandas"), import_extra("pyarrow")
    with reading(path):
        table = import_extra("pyarrow.parquet").read_table(path)
    names = [name.strip() for name in table.schema.names]
    check_distinct(names, path)
    if table.num_rows == 0:
        raise CommandError(f"{path!r} has no rows.")
    cells, nested = {}, []
    for name, column in zip(names, table.columns, strict=True):
        kind = column.type
        if pyarrow.types.is_nested(kind) or _is_binary(pyarrow, kind):
            nested.append(name)
            continue
        values = ["" if value is None else _text(value) for value in column.to_pylist()]
        cells[name] = pandas.Series(values, dtype=object)
    if nested:
        notes.append(f"columns of {path} hold lists, records or bytes: {shorten(nested)}: left out")
    # What pandas writes of an index is no column.
    cells = {n: c for n, c in cells.items() if not n.startswith("__index_level_") and n}
    return pandas.DataFrame(cells)


def _is_binary(pyarrow, kind) -> bool:
    types = pyarrow.types
    return types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)


def _text(value) -> str:
    """Return a value as a CSV file would hold it; NaN is no value."""
    if isinstance(value, float):
        return "" if value != value else repr(value)
    return str(value)
