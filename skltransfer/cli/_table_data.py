"""Read a user's CSV files, and check them before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skltransfer._messages import first_line
from skltransfer.cli._columns import interpret
from skltransfer.cli._csv_files import CSVTable, read_csv
from skltransfer.cli._errors import CommandError, check_column, list_names, shorten

# A column of whole numbers with at most so many values is taken for classes.
_MAX_CLASSES = 20


@dataclass(frozen=True)
class TableData:
    """A table to predict on, and perhaps one of another domain."""

    X: object  # data frame (n_samples, n_features)
    y: np.ndarray  # (n_samples,)
    X_source: object | None
    y_source: np.ndarray | None
    is_classification: bool
    notes: tuple[str, ...]

    @property
    def steps(self) -> ColumnTransformer:
        """Return the preprocessing: impute, scale numbers, encode the rest."""
        frames = [frame for frame in (self.X, self.X_source) if frame is not None]
        numeric = [
            name
            for name in self.X.columns
            if all(frame[name].dtype.kind in "iuf" for frame in frames)
        ]
        other = [name for name in self.X.columns if name not in numeric]
        numbers = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
        )
        categories = make_pipeline(
            SimpleImputer(strategy="constant", fill_value="missing", keep_empty_features=True),
            OneHotEncoder(
                handle_unknown="infrequent_if_exist", max_categories=20, sparse_output=False
            ),
        )
        return ColumnTransformer([("numbers", numbers, numeric), ("categories", categories, other)])

    @property
    def model(self):
        """Return the linear model that every strategy trains."""
        return LogisticRegression(max_iter=2000) if self.is_classification else Ridge()


def read_tables(
    target: str, label: str | None, source: str | None, task: str | None, text: str | None = None
) -> TableData:
    """Read and check the files of a comparison.

    Parameters
    ----------
    target, label, source, task, text : str or None
        Arguments of the command of the same names.

    Raises
    ------
    CommandError
        If a file, a column or the labels cannot be used.
    """
    notes: list[str] = []
    tables = [read_csv(target, notes)]
    if label is None:
        raise CommandError(
            f"--label is missing: which column of {target} is to be predicted? It has "
            f"{list_names(tables[0].cells.columns)}."
        )
    check_column(label, tables[0].cells.columns, target)
    if source is not None:
        tables.append(read_csv(source, notes))
        check_column(label, tables[1].cells.columns, source)
        tables = _common_columns(tables, label, notes)
    if tables[0].cells.shape[1] == 1:
        raise CommandError(
            f"{target} has no column besides the label {label!r} to predict it from."
        )
    if text is not None:
        tables = _column_of_texts(tables, label, text, notes)
    frames = interpret(tables, label, text, notes)
    parts = [_split(*pair, label, notes) for pair in zip(frames, tables, strict=True)]
    frames, labels = ([part[i] for part in parts] for i in (0, 1))
    paths, y = [table.path for table in tables], labels[0]
    if len(y) < 6:
        raise CommandError(f"{target} has {len(y)} labelled rows, and folds need at least 6.")
    is_classification = _is_classification(labels, task)
    if is_classification:
        labels = _as_classes(labels)
        for part, path in zip(labels, paths, strict=True):
            _check_classes(part, path)
        if source is not None:
            _compare_classes(*labels, target, source, notes)
    else:
        labels = [_as_numbers(part, path) for part, path in zip(labels, paths, strict=True)]
    X_source, y_source = (frames[1], labels[1]) if source is not None else (None, None)
    return TableData(frames[0], labels[0], X_source, y_source, is_classification, tuple(notes))


def _column_of_texts(
    tables: list[CSVTable], label: str, text: str, notes: list[str]
) -> list[CSVTable]:
    """Keep the label and the column of texts."""
    names = [name for name in tables[0].cells.columns if name != label]
    check_column(text, names, tables[0].path, " besides the label, in all files")
    others = [name for name in names if name != text]
    if others:
        notes.append(f"only the texts in {text!r} are used, not {shorten(others)}")
    return [replace(table, cells=table.cells[[text, label]]) for table in tables]


def _split(frame, table: CSVTable, label: str, notes: list[str]):
    """Return the columns and the label of the rows that have one."""
    known = frame[label].notna()
    if not known.any():
        raise CommandError(
            f"column {label!r} of {table.path!r} is empty, and there is nothing to learn from."
        )
    if not known.all():
        marks = sorted(set(table.cells.loc[~known, label].str.strip()) - {""})
        shown = f": {label!r} is {shorten(marks)}" if marks else ""
        notes.append(
            f"{int((~known).sum())} rows of {table.path} have no label and are left out{shown}"
        )
    frame = frame[known].reset_index(drop=True)
    return frame.drop(columns=label), frame[label].to_numpy()


def _common_columns(tables: list[CSVTable], label: str, notes: list[str]) -> list[CSVTable]:
    """Keep the columns that both files have, in the order of the target's."""
    target, source = tables
    common = [name for name in target.cells.columns if name in set(source.cells.columns)]
    if common == [label]:
        raise CommandError(
            f"{target.path!r} and {source.path!r} have no column in common besides the label. "
            "Rename the columns that mean the same."
        )
    for table in tables:
        extra = [name for name in table.cells.columns if name not in common]
        if extra:
            notes.append(f"only {table.path} has {shorten(extra)}: left out")
    return [replace(table, cells=table.cells[common]) for table in tables]


def _is_classification(labels, task: str | None) -> bool:
    if task is not None:
        return task == "classification"
    if any(part.dtype.kind not in "iuf" for part in labels):
        return True
    values = np.unique(np.concatenate([part.astype(float) for part in labels]))
    return len(values) <= _MAX_CLASSES and bool((values == np.round(values)).all())


def _as_classes(labels) -> list[np.ndarray]:
    """Write the classes of all files in one way: as whole numbers where they are, else strings."""
    numeric = all(part.dtype.kind in "iufb" for part in labels)
    if numeric and all((part.astype(float) % 1 == 0).all() for part in labels):
        labels = [part.astype(int) for part in labels]
        if set(labels[-1]) <= set(labels[0]):
            return labels
        # Else WithSource might take the numbers for those that an ensemble gave to the classes.
    kind = (lambda label: f"{label:g}") if numeric else str
    return [np.array([kind(label) for label in part]) for part in labels]


def _check_classes(y, path: str) -> None:
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise CommandError(
            f"all labels in {path!r} are {str(classes[0])!r}, and there is nothing to tell apart."
        )
    if len(classes) > len(y) / 2:
        raise CommandError(
            f"{path!r} has {len(classes)} classes in {len(y)} rows. Is this a number to predict? "
            "Then add --task regression."
        )


def _compare_classes(y, y_source, target: str, source: str, notes: list[str]) -> None:
    """Refuse files without a class in common, and note the classes that only one has."""
    classes, classes_source = (dict.fromkeys(np.unique(part).tolist()) for part in (y, y_source))
    if not classes.keys() & classes_source.keys():
        raise CommandError(
            f"no label is in both files: {target!r} has {shorten(classes)}, and {source!r} has "
            f"{shorten(classes_source)}. Write the labels of both in one way."
        )
    for own, other, path in ((classes, classes_source, target), (classes_source, classes, source)):
        extra = [label for label in own if label not in other]
        if extra:
            notes.append(f"only {path} has the labels {shorten(extra)}")


def _as_numbers(y, path: str) -> np.ndarray:
    try:
        return y.astype(float)
    except (TypeError, ValueError) as error:
        raise CommandError(
            f"the labels in {path!r} are not numbers ({first_line(error)}). Correct them, or add "
            "--task classification."
        ) from error
