"""Read a user's tables, and check them before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from skltransfer._messages import first_line
from skltransfer.cli._columns import Kinds, interpret
from skltransfer.cli._errors import CommandError, check_column, list_names, shorten
from skltransfer.cli._labels import as_classes, check_classes, compare_classes, is_classification
from skltransfer.cli._preprocessing import default_model, note_of_dates, preprocessing
from skltransfer.cli._table_files import FileTable, read_file

# Fewer labelled rows are too few for folds.
_MIN_ROWS = 6


@dataclass(frozen=True)
class TableRequest:
    """What a command says about its tables."""

    target: str
    label: str | None = None
    source: str | None = None
    domain: str | None = None  # COLUMN or COLUMN=VALUE
    text: str | None = None
    drop: tuple[str, ...] = ()
    group: str | None = None
    align_columns: bool = False
    task: str | None = None


@dataclass(frozen=True)
class TableData:
    """Rows to predict on, and perhaps rows of another domain."""

    name: str  # of the target, in titles
    label: str
    X: object  # data frame (n_samples, n_features), the rows with a label
    y: np.ndarray  # (n_samples,)
    X_unlabelled: object  # data frame (n_unlabelled, n_features)
    unlabelled_rows: np.ndarray  # their numbers in the file, from 1
    X_source: object | None
    y_source: np.ndarray | None
    groups: np.ndarray | None  # (n_samples,)
    is_classification: bool
    kinds: Kinds
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def steps(self):
        """Preprocessing of the columns."""
        frames = [self.X, self.X_unlabelled, self.X_source]
        return preprocessing([frame for frame in frames if frame is not None], self.kinds)

    @property
    def model(self):
        """The linear model that every strategy trains."""
        return default_model(self.is_classification)


def read_tables(request: TableRequest) -> TableData:
    """Read and check the files of a comparison.

    Raises
    ------
    CommandError
        If a file, a column or the labels cannot be used.
    """
    notes: list[str] = []
    tables = _domains(request, notes)
    label = _check_label(request, tables, notes)
    tables, groups = _taken(tables, request.group, label)
    tables = _without(tables, request)
    if len(tables) > 1:
        tables = _common_columns(tables, label, request.align_columns, notes)
    if list(tables[0].cells.columns) in ([label], []):
        raise CommandError(
            f"{request.target} has no column besides the label {label!r} to predict it from."
        )
    if request.text is not None:
        tables = _column_of_texts(tables, label, request.text, notes)
    frames, kinds = interpret(tables, label, request.text, notes)
    note_of_dates(kinds, notes)
    target, *source = [_split(*pair, label) for pair in zip(frames, tables, strict=True)]
    if not len(target.y):
        return _without_labels(request, tables, target, source, kinds, notes)
    _note_unlabelled(target, tables[0], label, notes)
    if source:
        _check_source(source[0], tables[1], label, notes)
    if len(target.y) < _MIN_ROWS:
        raise CommandError(
            f"{tables[0].path} has {len(target.y)} labelled rows, and folds need at least "
            f"{_MIN_ROWS}."
        )
    labels, of_classes = _labels([target, *source], tables, request.task, notes)
    X_source, y_source = (source[0].X, labels[1]) if source else (None, None)
    return TableData(
        tables[0].path,
        label,
        target.X,
        labels[0],
        target.X_unlabelled,
        target.unlabelled_rows,
        X_source,
        y_source,
        None if groups is None else groups[target.is_labelled],
        of_classes,
        kinds,
        tuple(notes),
    )


def _domains(request: TableRequest, notes: list[str]) -> list[FileTable]:
    """Return the table of the target, and that of the source if there is one."""
    tables = [read_file(request.target, notes)]
    if request.domain is not None:
        if request.source is not None:
            raise CommandError("--domain is for one file with both domains; leave out --source.")
        return _split_domains(tables[0], request, notes)
    if request.source is not None:
        tables.append(read_file(request.source, notes))
    return tables


def _split_domains(table: FileTable, request: TableRequest, notes: list[str]) -> list[FileTable]:
    """Cut one table in two by a column; its target is the value named, or the less labelled."""
    names = list(table.cells.columns)
    column, _, value = request.domain.partition("=")
    if request.domain in names:  # a name may hold the sign
        column, value = request.domain, ""
    check_column(column, names, table.path)
    values = table.cells[column].str.strip()
    known = sorted(set(values) - {""})
    if value and value not in known:
        raise CommandError(
            f"column {column!r} of {table.path!r} never holds {value!r}. It holds "
            f"{list_names(known)}."
        )
    if len(known) < 2 or (not value and len(known) > 2):
        raise CommandError(
            f"column {column!r} of {table.path!r} holds {list_names(known)}, and two domains are "
            f"needed. Name the target by --domain {column}=VALUE; all other rows are the source."
        )
    if not value:
        is_labelled = values != ""
        if request.label in names:
            is_labelled = table.cells[request.label].str.strip() != ""
        counts = {name: int((is_labelled & (values == name)).sum()) for name in known}
        value = min(known, key=counts.get)
        notes.append(
            f"the target is {column!r} = {value!r}, which has fewer labelled rows "
            f"({counts[value]}); name the other one by --domain {column}=VALUE"
        )
    n_missing = int((values == "").sum())
    if n_missing:
        notes.append(f"{n_missing} rows of {table.path} have no {column!r} and are left out")
    others = [name for name in known if name != value]
    source = others[0] if len(others) == 1 else f"not {value}"
    cells = table.cells.drop(columns=column)
    return [
        replace(table, path=f"{table.path} ({column}={name})", cells=cells[rows])
        for name, rows in ((value, values == value), (source, values.isin(others)))
    ]


def _check_label(request: TableRequest, tables: list[FileTable], notes: list[str]) -> str:
    """Return the label; a target without the column has no labels, if a source has it."""
    label, target = request.label, tables[0]
    if label is None:
        raise CommandError(
            f"--label is missing: which column of {request.target} is to be predicted? It has "
            f"{list_names(target.cells.columns)}."
        )
    for table in tables[1:]:
        check_column(label, table.cells.columns, table.path)
    if label not in target.cells.columns:
        if len(tables) == 1:
            check_column(label, target.cells.columns, target.path)
        notes.append(f"{target.path} has no column {label!r}, so none of its rows has a label")
        tables[0] = replace(target, cells=target.cells.assign(**{label: ""}))
    return label


def _taken(tables: list[FileTable], group: str | None, label: str):
    """Take the column of groups out of all tables; return it as it stands in the target's."""
    if group is None:
        return tables, None
    names = [name for name in tables[0].cells.columns if name != label]
    check_column(group, names, tables[0].path, " besides the label")
    groups = tables[0].cells[group].str.strip().to_numpy(dtype=object).copy()
    alone = np.flatnonzero(groups == "")  # a row without a group is one of its own
    groups[alone] = [f"row {number + 1} without a group" for number in alone]
    tables = [
        replace(table, cells=table.cells.drop(columns=group, errors="ignore")) for table in tables
    ]
    return tables, groups


def _without(tables: list[FileTable], request: TableRequest) -> list[FileTable]:
    """Leave out the columns that the command drops; each must be in one of the files."""
    names = list(dict.fromkeys(name for table in tables for name in table.cells.columns))
    for name in request.drop:
        check_column(name, names, request.target, " to drop")
        if name == request.label:
            raise CommandError(f"--drop {name}: this is the label.")
    drop = list(request.drop)
    return [replace(t, cells=t.cells.drop(columns=drop, errors="ignore")) for t in tables]


def _common_columns(
    tables: list[FileTable], label: str, align: bool, notes: list[str]
) -> list[FileTable]:
    """Let both tables have the same columns, in the order of the target's."""
    target, source = tables
    common = [name for name in target.cells.columns if name in set(source.cells.columns)]
    if common == [label]:
        raise CommandError(
            f"{target.path!r} and {source.path!r} have no column in common besides the label. "
            "Rename the columns that mean the same."
        )
    extra = {
        table.path: [name for name in table.cells.columns if name not in common] for table in tables
    }
    extra = {path: names for path, names in extra.items() if names}
    if extra and not align:
        words = "; ".join(f"only {path} has {shorten(names)}" for path, names in extra.items())
        raise CommandError(
            f"the domains have other columns: {words}. Rename those that mean the same, or leave "
            "out what only one has, by --align-columns."
        )
    notes += [f"only {path} has {shorten(names)}: left out" for path, names in extra.items()]
    return [replace(table, cells=table.cells[common]) for table in tables]


def _column_of_texts(
    tables: list[FileTable], label: str, text: str, notes: list[str]
) -> list[FileTable]:
    """Keep the label and the column of texts."""
    names = [name for name in tables[0].cells.columns if name != label]
    check_column(text, names, tables[0].path, " besides the label, in all files")
    others = [name for name in names if name != text]
    if others:
        notes.append(f"only the texts in {text!r} are used, not {shorten(others)}")
    return [replace(table, cells=table.cells[[text, label]]) for table in tables]


@dataclass(frozen=True)
class _Rows:
    """The rows of one table, cut into those with a label and those without."""

    X: object
    y: np.ndarray
    X_unlabelled: object
    is_labelled: np.ndarray  # (n_rows,) of bool
    unlabelled_rows: np.ndarray  # numbers in the file, from 1


def _split(frame, table: FileTable, label: str) -> _Rows:
    known = frame[label].notna().to_numpy()
    X = frame.drop(columns=label)
    return _Rows(
        X[known].reset_index(drop=True),
        frame[label][known].to_numpy(),
        X[~known].reset_index(drop=True),
        known,
        table.cells.index.to_numpy()[~known] + 1,
    )


def _note_unlabelled(rows: _Rows, table: FileTable, label: str, notes: list[str]) -> None:
    n_missing = len(rows.X_unlabelled)
    if n_missing:
        notes.append(
            f"{n_missing} rows of {table.path} have no label{_marks(rows, table, label)}: they "
            "serve as unlabelled rows, and predictions are written for them"
        )


def _marks(rows: _Rows, table: FileTable, label: str) -> str:
    """Return what stands in the place of a label, unless the cells are empty."""
    cells = table.cells[label].to_numpy()[~rows.is_labelled]
    marks = sorted({cell.strip() for cell in cells} - {""})
    return f" ({label!r} is {shorten(marks)})" if marks else ""


def _check_source(rows: _Rows, table: FileTable, label: str, notes: list[str]) -> None:
    if not len(rows.y):
        raise CommandError(
            f"column {label!r} of {table.path!r} is empty, and there is nothing to learn from."
        )
    if len(rows.X_unlabelled):
        notes.append(
            f"{len(rows.X_unlabelled)} rows of {table.path} have no label and are left out"
            + _marks(rows, table, label)
        )


def _labels(rows: list[_Rows], tables, task: str | None, notes: list[str]):
    """Return the labels of all tables in one form, and whether they are classes."""
    labels, paths = [part.y for part in rows], [table.path for table in tables]
    if not is_classification(labels, task):
        return [_as_numbers(part, path) for part, path in zip(labels, paths, strict=True)], False
    labels = as_classes(labels)
    check_classes(labels, paths)
    if len(labels) > 1:
        compare_classes(*labels, *paths, notes)
    return labels, True


def _as_numbers(y, path: str) -> np.ndarray:
    try:
        return y.astype(float)
    except (TypeError, ValueError) as error:
        raise CommandError(
            f"the labels in {path!r} are not numbers ({first_line(error)}). Correct them, or add "
            "--task classification."
        ) from error


def _without_labels(request, tables, target: _Rows, source, kinds: Kinds, notes) -> TableData:
    """Return a target without any label beside a labelled source."""
    if not source:
        raise CommandError(
            f"column {request.label!r} of {tables[0].path!r} is empty, and there is nothing to "
            "learn from. Add labelled rows of another domain by --source."
        )
    _check_source(source[0], tables[1], request.label, notes)
    labels, of_classes = _labels(source, tables[1:], request.task, notes)
    return TableData(
        tables[0].path,
        request.label,
        target.X,
        labels[0][:0],
        target.X_unlabelled,
        target.unlabelled_rows,
        source[0].X,
        labels[0],
        None,
        of_classes,
        kinds,
        tuple(notes),
    )
