"""Read a user's CSV files, and check them before anything is computed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skltransfer._messages import first_line
from skltransfer.cli._errors import CommandError, check_column, import_extra, list_names, shorten

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


def read_tables(target: str, label: str | None, source: str | None, task: str | None) -> TableData:
    """Read and check the files of a comparison.

    Raises
    ------
    CommandError
        If a file, a column or the labels cannot be used.
    """
    notes: list[str] = []
    frame = _read(target, notes)
    if label is None:
        raise CommandError(
            f"--label is missing: which column of {target} is to be predicted? It has "
            f"{list_names(frame.columns)}."
        )
    X, y = _split(frame, label, target, notes)
    paths, frames, labels = [target], [X], [y]
    if source is not None:
        X_source, y_source = _split(_read(source, notes), label, source, notes)
        frames = _common_columns(X, X_source, target, source, notes)
        paths.append(source)
        labels.append(y_source)
    if frames[0].shape[1] == 0:
        raise CommandError(
            f"{target} has no column besides the label {label!r} to predict it from."
        )
    frames = _write_alike(frames)
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


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Raise a CommandError for errors of pandas and pyarrow inside the block."""
    try:
        yield
    except CommandError:
        raise
    except UnicodeError as error:
        raise CommandError(
            f"{path!r} is not a text in UTF-8 ({first_line(error)}). Save it as CSV in UTF-8."
        ) from error
    except Exception as error:  # of many kinds
        raise CommandError(f"{path!r} cannot be read: {first_line(error)}.") from error


def check_distinct(names: list[str], path: str) -> None:
    """Raise a CommandError if columns of a file have the same name."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CommandError(f"{path!r} has several columns named {shorten(twice)}. Rename them.")


def _read(path: str, notes: list[str]):
    pandas = import_extra("pandas")
    if not Path(path).is_file():
        raise CommandError(f"there is no file {path!r}.")
    with reading(path):
        separator = separator_of(path)
        frame = pandas.read_csv(path, sep=separator, index_col=False)
        if separator != "," and _has_decimal_commas(frame):
            frame = pandas.read_csv(path, sep=separator, decimal=",", index_col=False)
        header = pandas.read_csv(path, sep=separator, header=None, nrows=1, dtype=str).iloc[0]
    check_distinct([str(name).strip() for name in header.dropna()], path)
    if not len(frame):
        raise CommandError(f"{path!r} has a header and no rows.")
    frame.columns = [str(name).strip() for name in frame.columns]
    unnamed = list(frame.columns[: len(header)][header.isna()])
    if unnamed and len(unnamed) < frame.shape[1]:
        notes.append(f"{len(unnamed)} columns of {path} have no name and are left out")
        frame = frame.drop(columns=unnamed)
    return frame.assign(**{name: _plain(frame[name]) for name in frame.columns})


def _plain(column):
    """Return numbers as they are, yes and no as 1 and 0, and all else as objects."""
    if column.dtype.kind in "iuf":
        return column
    known = column[column.notna()]
    if len(known) and all(isinstance(value, bool | np.bool_) for value in known):
        return column.map({True: 1.0, False: 0.0}).astype(float)
    return column.astype(object)


def _has_decimal_commas(frame) -> bool:
    """Tell whether some column holds numbers with a decimal comma, and none with a point."""
    if any((frame[name].dropna() % 1 != 0).any() for name in frame.select_dtypes("float")):
        return False
    return any(
        len(known := frame[name].dropna().astype(str))
        and known.str.fullmatch(r"\s*[+-]?\d*,?\d+\s*").all()
        and known.str.contains(",").any()
        for name in frame.columns
        if frame[name].dtype.kind not in "iufb"
    )


def separator_of(path: str) -> str:
    """Return the separator of which the header holds most outside of quotes; else a comma."""
    with open(path, encoding="utf-8", errors="replace") as file:
        header = re.sub(r'"[^"]*"', "", file.readline())
    return max(",;\t|", key=header.count)


def _write_alike(frames) -> list:
    """Write a column that is not a number in all files as texts in all."""
    texts = [
        name
        for name in frames[0].columns
        if any(frame[name].dtype.kind not in "iuf" for frame in frames)
    ]
    return [
        frame.assign(
            **{name: frame[name].astype(object).map(_as_text, na_action="ignore") for name in texts}
        )
        for frame in frames
    ]


def _as_text(value) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _split(frame, label: str, path: str, notes: list[str]):
    check_column(label, frame.columns, path)
    known = frame[label].notna()
    if not known.any():
        raise CommandError(
            f"column {label!r} of {path!r} is empty, and there is nothing to learn from."
        )
    if not known.all():
        notes.append(f"{int((~known).sum())} rows of {path} have no label and are left out")
    frame = frame[known].reset_index(drop=True)
    return frame.drop(columns=label), frame[label].to_numpy()


def _common_columns(X, X_source, target: str, source: str, notes: list[str]):
    common = [name for name in X.columns if name in set(X_source.columns)]
    if not common:
        raise CommandError(
            f"{target!r} and {source!r} have no column in common besides the label. Rename the "
            "columns that mean the same."
        )
    for frame, path in ((X, target), (X_source, source)):
        extra = [name for name in frame.columns if name not in common]
        if extra:
            notes.append(f"only {path} has {shorten(extra)}: left out")
    return [X[common], X_source[common]]


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
            f"the labels in {path!r} are not numbers ({error}). Add --task classification."
        ) from error
