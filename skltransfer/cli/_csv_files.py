"""CSV files as texts: how a file is written, and the cells of its lines."""

from __future__ import annotations

import csv
import gzip
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from skltransfer._messages import first_line
from skltransfer.cli._errors import CommandError, import_extra, shorten

_SEPARATORS = ",;\t|"
# Lines that are looked at to tell the separator.
_N_FIRST_LINES = 50
# What Excel takes for a declaration of the separator.
_DECLARED = re.compile(r"sep=(.)\s*", re.IGNORECASE)
# The longest cell. A quote that nobody closes makes the rest of a file one cell.
_MAX_CELL = 2**24


@dataclass(frozen=True)
class CSVFormat:
    """How a CSV file is written."""

    encoding: str
    separator: str
    # Lines before the header.
    n_before: int


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Raise a CommandError for errors of csv, pandas and pyarrow inside the block."""
    try:
        yield
    except (CommandError, MemoryError):
        raise
    except UnicodeError as error:
        raise CommandError(
            f"{path!r} is not a text in UTF-8 ({first_line(error)}). Save it as CSV in UTF-8."
        ) from error
    except OSError as error:
        raise CommandError(f"{path!r} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # of many kinds
        raise CommandError(f"{path!r} cannot be read: {first_line(error)}.") from error


def check_distinct(names: list[str], path: str) -> None:
    """Raise a CommandError if columns of a file have the same name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CommandError(f"{path!r} has several columns named {shorten(twice)}. Rename them.")


def csv_format(path: str) -> CSVFormat:
    """Return the encoding, the separator and the place of the header of a file.

    The separator is the one that cuts most of the first lines into as many cells as the header.
    """
    with _opened(path, "rb") as file:
        begin = file.read(4)
    encoding = "utf-16" if begin[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8"
    encoding = "utf-8-sig" if begin[:3] == BOM_UTF8 else encoding
    with _opened(path, encoding) as file:
        lines = [line for _, line in zip(range(_N_FIRST_LINES), file, strict=False)]
    if lines and (declared := _DECLARED.fullmatch(lines[0])):
        return CSVFormat(encoding, declared[1], 1)
    return CSVFormat(encoding, max(_SEPARATORS, key=lambda sign: _fit(lines, sign)), 0)


def _fit(lines: list[str], separator: str) -> tuple[bool, float, int]:
    """Return how well a separator suits the first lines of a file."""
    with _long_cells():
        n_cells = [len(record) for record in csv.reader(lines, delimiter=separator) if record]
    # The last one may be cut.
    n_cells = n_cells[:-1] if len(lines) == _N_FIRST_LINES else n_cells
    if not n_cells or n_cells[0] < 2:
        return False, 0.0, 0
    alike = sum(abs(n - n_cells[0]) <= 1 for n in n_cells) / len(n_cells)
    return True, round(alike, 1), n_cells[0]


def read_csv(path: str, notes: list[str]):
    """Return the separator and the cells of a file, a data frame of str.

    Columns without a name are left out, with a note.

    Raises
    ------
    CommandError
        If the file cannot be read, or its lines are longer than its header.
    """
    pandas = import_extra("pandas")
    with reading(path):
        written = csv_format(path)
        with _opened(path, written.encoding) as file, _long_cells():
            for _ in range(written.n_before):
                next(file)
            header, rows = _records(csv.reader(file, delimiter=written.separator), path)
    header = [name.strip() for name in header]
    if not rows:
        raise CommandError(f"{path!r} has a header and no rows.")
    check_distinct([name for name in header if name], path)
    header = _with_row_names(header, rows, path)
    n_short = sum(len(row) < len(header) for row in rows)
    if n_short:
        notes.append(f"{n_short} rows of {path} end early, and what they lack is missing")
    rows = [row[: len(header)] + [""] * (len(header) - len(row)) for row in rows]
    cells = pandas.DataFrame(rows, columns=range(len(header)), dtype=object)
    named = [number for number, name in enumerate(header) if name]
    if 0 < len(named) < len(header):
        notes.append(f"{len(header) - len(named)} columns of {path} have no name and are left out")
        cells = cells[named]
    cells.columns = [header[number] for number in cells.columns]
    return written.separator, cells


def _records(reader, path: str) -> tuple[list[str], list[list[str]]]:
    """Return the cells of the header and of all lines that are not blank."""
    header, rows, first_long, number = None, [], None, 0
    for record in reader:
        begin, number = number + 1, reader.line_num
        if not any(cell.strip() for cell in record) and len(record) < 2:
            continue
        if header is None:
            header = record
            continue
        if first_long is None and len(_trimmed(record)) > len(header):
            first_long = begin, len(record)
        rows.append(record)
    if header is None:
        raise CommandError(f"{path!r} cannot be read: it is empty.")
    if rows and number > begin and len(rows[-1]) < len(header):
        raise CommandError(
            f"a quote in line {begin} of {path!r} is never closed. Close it, or write it twice if "
            "it is a part of the text."
        )
    if first_long is not None and not _has_row_names(header, rows):
        line, n_cells = first_long
        raise CommandError(
            f"line {line} of {path!r} has {n_cells} cells, and its header has {len(header)}. Put "
            "numbers with a decimal comma, and texts that hold the separator, into quotes."
        )
    return header, rows


def _trimmed(record: list[str]) -> list[str]:
    """Return a record without the empty cells at its end."""
    n_cells = len(record)
    while n_cells and not record[n_cells - 1].strip():
        n_cells -= 1
    return record[:n_cells]


def _has_row_names(header: list[str], rows: list[list[str]]) -> bool:
    """Tell whether each line begins with a name of its own, which the header does not mention."""
    return (
        all(len(row) == len(header) + 1 for row in rows)
        and len({row[0] for row in rows}) == len(rows)
        and any(_trimmed(row)[len(header) :] for row in rows)
    )


def _with_row_names(header: list[str], rows: list[list[str]], path: str) -> list[str]:
    return ["", *header] if _has_row_names(header, rows) else header


def _opened(path: str, encoding: str):
    """Open a file, packed by gzip if its name says so, as bytes or as a text."""
    opener = gzip.open if path.lower().endswith(".gz") else open
    if encoding == "rb":
        return opener(path, "rb")
    return opener(path, "rt", encoding=encoding, newline="")


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(_MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)
