"""``skltransfer extract``: features of images or texts, written to a file."""

from __future__ import annotations

import sys
import time
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from skltransfer import (
    PretrainedFeatureTransformer,
    TruncatedTextWarning,
    UnreadableImageWarning,
)
from skltransfer._files import write_whole
from skltransfer._messages import first_line
from skltransfer._torch._engines import EngineWarning
from skltransfer._torch._images import UnreadableImage
from skltransfer.backbones._extractors import takes_text
from skltransfer.cli._errors import CommandError, import_extra, shorten, shown
from skltransfer.cli._inputs import Input, read_folder, read_table
from skltransfer.cli._named_networks import REFUSALS, explain, load, weights_of
from skltransfer.cli._text_data import note_of_cut_texts

# Rows between two looks at the progress bar; a multiple of a network's batch.
_PASS = 256
# Rows and bytes of features that a group of rows of the file holds at most, and memory so too.
_GROUP_ROWS, _GROUP_BYTES = 8192, 2**26
# Files with more columns can hardly be read again.
_MAX_FEATURES = 20_000


def extract(options) -> None:
    """Write the features of every row of the input."""
    import_extra("pandas"), import_extra("pyarrow")
    output = _checked_output(options.output, force=options.force)
    is_folder = Path(options.input).is_dir()
    if is_folder and options.column is not None:
        raise CommandError("--column goes with a CSV or Parquet file, not with a folder of images.")
    if not is_folder and not Path(options.input).is_file():
        raise CommandError(f"there is no file or folder {options.input!r}.")
    transformer = _transformer(options)
    record = load(transformer.backbone, transformer.weights)
    of_texts = takes_text(record)
    if is_folder:
        if of_texts:
            raise CommandError(
                f"{options.backbone} takes texts, and {options.input!r} is a folder. Name a CSV or "
                "Parquet file and its --column."
            )
        rows = read_folder(options.input)
    else:
        rows = read_table(options.input, options.column, of_texts=of_texts)
    started = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(file=sys.stderr)
    with (
        Progress(*columns, console=console, transient=True) as progress,
        write_whole(output) as path,
    ):
        bar = progress.add_task(options.backbone, total=rows.n_rows)
        n_features = _write(
            transformer,
            record.preprocessing if of_texts else None,
            rows,
            path,
            output.suffix.lower(),
            lambda n: progress.advance(bar, n),
        )
    for note in rows.notes:
        console.print(f"Note: {note}.", markup=False, highlight=False, soft_wrap=True)
    print(
        f"{rows.n_rows} rows, {n_features} features of {options.backbone}: {shown(output)} "
        f"({output.stat().st_size / 1e6:.1f} MB, {time.perf_counter() - started:.0f} s)"
    )
    sys.stdout.flush()


def _checked_output(output: str, *, force: bool) -> Path:
    try:
        path = Path(output).expanduser()
        path.lstat()
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise CommandError(f"--output {shown(output)}: {reason}.") from error
    if path.suffix.lower() not in (".parquet", ".csv"):
        raise CommandError(f"--output {output}: the name has to end in .parquet (or .csv).")
    if path.is_dir():
        raise CommandError(f"--output {output} is a folder.")
    if path.exists() and not force:
        raise CommandError(f"--output {output} exists. Add --force to replace it.")
    if not path.parent.is_dir():
        raise CommandError(f"--output {output}: there is no folder {str(path.parent)!r}.")
    return path


def _transformer(options) -> PretrainedFeatureTransformer:
    names = ("layers", "pooling", "input_size", "batch_size", "engine", "on_error")
    given = {name: getattr(options, name) for name in names}
    return PretrainedFeatureTransformer(
        options.backbone,
        weights=weights_of(options.weights),
        store=None,  # no row comes twice
        **{name: value for name, value in given.items() if value is not None},
    )


def _write(transformer, preprocessing, rows: Input, path: Path, suffix: str, advance) -> int:
    """Write kept columns and features group by group, and return the number of features.

    `preprocessing` is that of an encoder of texts, and None for images.
    """
    pyarrow = import_extra("pyarrow")
    writer, group, n_features, n_done, n_cut = None, [], 0, 0, 0
    unreadable: list[str] = []
    # pyarrow takes only names in UTF-8.
    file = path.open("wb")
    try:
        for kept, items in rows.passes(_PASS):
            features = _features(transformer, items, rows.notes, n_done, is_first=writer is None)
            if transformer.on_error == "nan":
                rows_of_nan = np.flatnonzero(np.isnan(features).all(axis=1))
                unreadable += [_name(items[i], n_done + i) for i in rows_of_nan]
            if preprocessing is not None:
                n_cut += int(preprocessing.was_cut(items).sum())
            if writer is None:
                if suffix == ".csv":
                    _check_fits_csv(kept.schema)
                names = _feature_names(transformer, kept.column_names)
                n_features = len(names)
                fields = [*kept.schema, *(pyarrow.field(n, pyarrow.float32()) for n in names)]
                schema = pyarrow.schema(fields)
                writer = _writer(file, suffix, schema)
                most_rows = min(_GROUP_ROWS, max(_PASS, _GROUP_BYTES // (4 * n_features)))
            arrays = [pyarrow.array(column) for column in features.T.astype("float32")]
            group.append(pyarrow.Table.from_arrays([*kept.columns, *arrays], schema=schema))
            n_done += len(items)
            if sum(map(len, group)) >= most_rows:
                writer.write_table(pyarrow.concat_tables(group).combine_chunks())
                group.clear()
            advance(len(items))
        if group:
            writer.write_table(pyarrow.concat_tables(group).combine_chunks())
    finally:
        try:
            if writer is not None:
                writer.close()
        finally:
            file.close()
    if unreadable:
        rows.notes.append(
            f"{len(unreadable)} images cannot be read, and their features are NaN: "
            f"{shorten(unreadable)}"
        )
    if n_cut:
        max_length = preprocessing.max_length
        rows.notes.append(note_of_cut_texts(transformer.backbone, max_length, n_cut, n_done))
    return n_features


def _name(item: str | bytes | None, row: int) -> str:
    """Return an image's path, or its row where the table holds the image itself or none."""
    if isinstance(item, bytes):
        return f"row {row}, {len(item)} bytes"
    return item or f"row {row}, no path"


def _features(transformer, items, notes: list[str], n_before: int, *, is_first: bool) -> np.ndarray:
    """Return the features of a pass, and add warnings of the network to the notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if is_first:
                transformer.fit(items)
            features = transformer.transform(items)
        except UnreadableImage as error:  # its row counts from the start of the pass
            raise CommandError(
                f"row {error.row + n_before}: {error.reason}. Drop it, or add --on-error nan."
            ) from error
        except REFUSALS as error:
            raise CommandError(explain(error)) from error
        except (MemoryError, RuntimeError) as error:  # torch has no class of its own for it
            raise CommandError(
                f"the network cannot take these rows ({first_line(error)}). Lower --batch-size or "
                "--input-size."
            ) from error
    for warning in caught:
        if issubclass(warning.category, EngineWarning):
            notes.append(
                f"{transformer.engine} cannot run {transformer.backbone}, and torch runs it instead"
            )
        elif not issubclass(warning.category, UnreadableImageWarning | TruncatedTextWarning):
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return features


def _writer(file, suffix: str, schema):
    if suffix == ".csv":
        return import_extra("pyarrow.csv").CSVWriter(file, schema)
    # Features are noise to a dictionary: it would cost time and save nothing.
    texts = [field.name for field in schema if field.type == "string"]
    return import_extra("pyarrow.parquet").ParquetWriter(file, schema, use_dictionary=texts)


def _check_fits_csv(schema) -> None:
    """Raise a CommandError that names the first column which is no column of a CSV file."""
    pyarrow, csv = import_extra("pyarrow"), import_extra("pyarrow.csv")
    for field in schema:
        is_binary = pyarrow.types.is_binary(field.type) or pyarrow.types.is_large_binary(field.type)
        try:
            if not is_binary:  # pyarrow takes bytes, and fails at the first that are no text
                csv.CSVWriter(BytesIO(), pyarrow.schema([field])).close()
                continue
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
            pass
        raise CommandError(
            f"column {field.name!r} holds {'bytes' if is_binary else field.type}, which no CSV "
            "file takes. Let the name of --output end in .parquet."
        )


def _feature_names(transformer, kept: list[str]) -> list[str]:
    names = list(transformer.get_feature_names_out())
    if len(names) > _MAX_FEATURES:
        raise CommandError(
            f"a row would have {len(names)} features, more than a table holds well "
            f"({_MAX_FEATURES}). Choose --pooling avg, or other --layers."
        )
    twice = sorted(set(names) & set(kept))
    if twice:
        raise CommandError(
            f"the input has a column {twice[0]!r} already, which names a feature. "
            "Rename the column."
        )
    return names
