"""``skltransfer predict``: predictions of a saved model for the rows of a file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from skltransfer import load
from skltransfer._messages import first_line, near_names
from skltransfer._table_columns import TableColumns
from skltransfer.cli._columns import Kinds, interpret
from skltransfer.cli._errors import CommandError, import_extra, shorten, shown
from skltransfer.cli._image_data import find_images
from skltransfer.cli._models import predictions, write_predictions
from skltransfer.cli._table_files import FileTable, read_file


def predict(options) -> None:
    """Predict for the rows that the command names, and write all predictions or none."""
    import_extra("pandas")
    path = Path(options.output).expanduser()
    _check_output(path, options.force)
    model = _load(options.model)
    notes: list[str] = []
    if Path(options.input).is_dir():
        rows, X, names = _images(options.input)
    else:
        rows, X, names = _rows(model, options, notes)
    frame = predictions(model, X, rows, names, with_probabilities=options.proba)
    for note in notes:
        print(f"Note: {shown(note)}.", file=sys.stderr)
    write_predictions(frame, path)
    print(f"{len(frame)} predictions: {shown(path)}")


def _check_output(path: Path, force: bool) -> None:
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise CommandError(
            f"--output {shown(path)}: the name of the file ends in .csv or .parquet."
        )
    if path.exists() and not force:
        raise CommandError(
            f"--output {shown(path)}: the file exists. Add --force to replace it, or choose "
            "another one."
        )
    if not path.absolute().parent.is_dir():
        raise CommandError(f"--output {shown(path)}: there is no folder {shown(path.parent)!r}.")


def _load(path: str):
    try:
        return load(path)
    except FileNotFoundError as error:
        raise CommandError(f"there is no file {shown(path)!r}.") from error
    except (ValueError, TypeError, OSError) as error:
        raise CommandError(
            f"{shown(path)!r} is no model to predict with: {first_line(error)}."
        ) from error


def _images(folder: str):
    paths = find_images(folder)
    return paths, np.array([str(Path(folder, path)) for path in paths], dtype=object), "path"


def _rows(model, options, notes: list[str]):
    """Return the numbers of the rows, the rows as the model takes them, and a name for numbers."""
    columns = columns_of(model)
    if columns is None:
        raise CommandError(
            f"{shown(options.model)!r} does not say which columns it takes. Models of 'skltransfer "
            "compare' on tables do; for a model of images, name a folder."
        )
    table = read_file(options.input, notes)
    check_columns(columns, table, notes)
    names = [columns.text] if columns.text is not None else list(columns.columns)
    table = FileTable(table.path, table.separator, table.cells[names])
    numbers = tuple(columns.numbers)
    texts = tuple(name for name in names if name not in numbers)
    (frame,), _ = interpret([table], None, columns.text, notes, Kinds(numbers, texts, ()))
    return table.cells.index.to_numpy() + 1, frame, "row"


def columns_of(model) -> TableColumns | None:
    """Return the columns that a model of tables takes, which stand before it."""
    first = model.steps[0][1] if hasattr(model, "steps") else None
    return first if isinstance(first, TableColumns) else None


def check_columns(columns: TableColumns, table: FileTable, notes: list[str]) -> None:
    """Raise a CommandError if a table lacks columns of a model."""
    names = [columns.text] if columns.text is not None else list(columns.columns)
    there = list(table.cells.columns)
    missing = [name for name in names if name not in there]
    if missing:
        close = near_names(missing[0], [name for name in there if name not in names])
        raise CommandError(
            f"{table.path!r} lacks columns of the model: {shorten(missing)}.{close} It has "
            f"{shorten(there)}."
        )
