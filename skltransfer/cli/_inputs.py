"""Images and texts to take features from, a few rows at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from skltransfer._messages import first_line
from skltransfer.cli._csv_files import check_distinct, csv_format, reading
from skltransfer.cli._errors import (
    CommandError,
    check_column,
    import_extra,
    list_names,
    shown,
)
from skltransfer.cli._image_data import class_of, find_images

# Rows of a CSV file that are looked at together to tell the types of its columns.
_CSV_ROWS = 65_536
# Spellings of a missing value in columns that are kept.
_MISSING = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None"]


@dataclass
class Input:
    """Rows of images or texts, and the columns to keep beside their features."""

    n_rows: int
    # passes(n) yields (kept columns as an Arrow table, paths or texts) for n rows at a time
    passes: Callable[[int], Iterator[tuple]]
    notes: list[str] = field(default_factory=list)


def read_folder(folder: str) -> Input:
    """Return the images of a folder, with their class if each lies in a folder of its class."""
    pyarrow = import_extra("pyarrow")
    paths = find_images(folder)
    odd = next((path for path in paths if not _is_unicode(path)), None)
    if odd is not None:
        raise CommandError(
            f"the name {shown(odd)!r} of an image in {shown(folder)!r} is not a text in UTF-8, and "
            "a table cannot hold it. Rename the file."
        )
    columns = {"path": paths}
    if all(class_of(path) is not None for path in paths):
        columns["label"] = [class_of(path) for path in paths]
    table = pyarrow.table(columns)

    def passes(n_rows: int):
        for start in range(0, len(paths), n_rows):
            part = paths[start : start + n_rows]
            yield table.slice(start, n_rows), [str(Path(folder, path)) for path in part]

    return Input(len(paths), passes)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_table(path: str, column: str | None, *, of_texts: bool) -> Input:
    """Return the texts, or the images or their paths, in a column of a CSV or Parquet file."""
    is_parquet = Path(path).suffix.lower() == ".parquet"
    with reading(path):
        n_rows, tables = (_parquet if is_parquet else _csv)(path, column)
    if n_rows == 0:
        raise CommandError(f"{path!r} has no rows.")
    rows = Input(n_rows, lambda n: _passes(tables(n)))

    def _passes(parts):
        n_empty = 0
        for table in parts:
            items = table[column].to_pylist()
            _check_items(items, path, column, of_texts)
            n_empty += sum(not item for item in items)
            yield table, _items(items, path, of_texts)
        if n_empty and of_texts:
            rows.notes.append(
                f"{n_empty} rows of {path} have no text and get the features of an empty text"
            )

    return rows


def _items(items: list, path: str, of_texts: bool) -> list[str | None]:
    if of_texts:
        return [item or "" for item in items]
    return [_image(item, Path(path).parent) for item in items]


def _image(item, folder: Path):
    """Return the path or the bytes of an image; data sets have both in a structure."""
    if isinstance(item, dict):
        item = item.get("bytes") or item.get("path")
    if isinstance(item, bytes):
        return item
    # The path of an empty name would be the folder.
    return str(folder / item) if item else None


def _check_items(items: list, path: str, column: str, of_texts: bool) -> None:
    def is_known(item) -> bool:
        if item is None or isinstance(item, str):
            return True
        is_record = isinstance(item, dict) and bool({"bytes", "path"} & item.keys())
        return not of_texts and (is_record or isinstance(item, bytes))

    odd = next((item for item in items if not is_known(item)), None)
    if odd is not None:
        raise CommandError(
            f"column {column!r} of {path!r} holds values such as {str(odd)[:60]}, not texts or "
            "paths of images."
        )


def _check_column(column: str | None, names: list[str], path: str) -> None:
    if column is None:
        raise CommandError(
            f"--column is missing: which column of {path} holds the texts, or the paths of the "
            f"images? It has {list_names(names)}."
        )
    check_column(column, names, path)
    check_distinct(names, path)


def _parquet(path: str, column: str | None):
    file = import_extra("pyarrow.parquet").ParquetFile(path)
    names = file.schema_arrow.names
    _check_column(column, names, path)
    table_of = import_extra("pyarrow").Table.from_batches

    def tables(n_rows: int):
        for batch in file.iter_batches(batch_size=n_rows):
            yield table_of([batch])

    return file.metadata.num_rows, tables


def _csv(path: str, column: str | None):
    """Go through the file once for the types of its columns, and again for the rows."""
    pandas, pyarrow = import_extra("pandas"), import_extra("pyarrow")
    written = csv_format(path)
    settings = {"sep": written.separator, "encoding": written.encoding}
    settings |= {"skiprows": written.n_before, "index_col": False, "low_memory": False}
    header = pandas.read_csv(path, **settings, header=None, nrows=1, dtype=str).iloc[0]
    names = [str(name).strip() for name in header.fillna("")]
    _check_column(column, names, path)
    # In a text, "NA" is a word.
    settings |= {"header": 0, "names": names, "keep_default_na": False}
    settings["na_values"] = {name: _MISSING for name in names if name != column}
    kinds, n_rows = {name: set() for name in names}, 0
    with (
        warnings.catch_warnings(),
        pandas.read_csv(path, **settings, dtype={column: "str"}, chunksize=_CSV_ROWS) as reader,
    ):
        warnings.simplefilter("error", pandas.errors.ParserWarning)
        for frame in _checked_lengths(reader, path):
            n_rows += len(frame)
            for name in names:
                if frame[name].notna().any():
                    kinds[name].add(frame[name].dtype.kind)
    dtypes = {name: "str" if name == column else _dtype(kinds[name]) for name in names}
    types = {"str": "string"}
    schema = pyarrow.schema([(name, types.get(dtype, dtype)) for name, dtype in dtypes.items()])

    def tables(n_rows: int):
        with pandas.read_csv(path, **settings, dtype=dtypes, chunksize=n_rows) as reader:
            for frame in reader:
                yield pyarrow.Table.from_pandas(frame, schema=schema, preserve_index=False)

    return n_rows, tables


def _checked_lengths(reader, path: str) -> Iterator:
    """Yield the parts of a file; raise a CommandError if a line is longer than the header."""
    pandas = import_extra("pandas")
    try:
        yield from reader
    except (pandas.errors.ParserError, pandas.errors.ParserWarning) as error:
        raise CommandError(
            f"some lines of {path!r} have more cells than its header ({first_line(error)}). Put "
            "texts that hold the separator into quotes."
        ) from error


def _dtype(kinds: set[str]) -> str:
    """Return the pandas type that holds all chunks of a column."""
    for allowed, dtype in (("i", "int64"), ("u", "uint64"), ("b", "bool"), ("if", "float64")):
        if kinds and kinds <= set(allowed):
            return dtype
    return "str"
