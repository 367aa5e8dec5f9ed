"""Read a user's CSV files, and check them before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skltransfer._spelling import near_names
from skltransfer.cli._errors import CommandError, import_extra

# A column of whole numbers with at most so many values is taken for classes.
_MAX_CLASSES = 20


@dataclass(frozen=True)
class TableTask:
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
            if all(frame[name].dtype.kind in "iufb" for frame in frames)
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


def read_task(target: str, label: str | None, source: str | None, task: str | None) -> TableTask:
    """Read and check the files of a comparison.

    Raises
    ------
    CommandError
        If a file, a column or the labels are not what they have to be.
    """
    frame = _read(target)
    if label is None:
        raise CommandError(
            f"--label is missing: which column of {target} is to be predicted? It has "
            f"{_list_columns(frame)}."
        )
    notes: list[str] = []
    X, y = _split(frame, label, target, notes)
    X_source = y_source = None
    if source is not None:
        X_source, y_source = _split(_read(source), label, source, notes)
        X, X_source = _common_columns(X, X_source, target, source, notes)
    if X.shape[1] == 0:
        raise CommandError(
            f"{target} has no column besides the label {label!r} to predict it from."
        )
    is_classification = _is_classification(y, y_source, task)
    if is_classification:
        y, y_source = _as_classes(y, y_source)
        _check_classes(y, target)
        if y_source is not None:
            _check_classes(y_source, source)
    else:
        y, y_source = _as_numbers(y, target), _as_numbers(y_source, source)
    if len(y) < 6:
        raise CommandError(f"{target} has {len(y)} labelled rows; folds need at least 6.")
    return TableTask(X, y, X_source, y_source, is_classification, tuple(notes))


def _read(path: str):
    pandas = import_extra("pandas")
    if not Path(path).is_file():
        raise CommandError(f"there is no file {path!r}.")
    try:
        frame = pandas.read_csv(path, sep=_separator(path))
    except Exception as error:  # pandas and the csv module raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CommandError(f"{path!r} cannot be read as CSV: {reason}") from error
    frame.columns = [str(name).strip() for name in frame.columns]
    if not len(frame):
        raise CommandError(f"{path!r} has a header and no rows.")
    text = frame.select_dtypes(exclude=["number", "bool"]).columns
    # One kind of object for texts and missing entries, whatever reader made them.
    return frame.assign(**{name: frame[name].astype(object) for name in text})


def _separator(path: str) -> str:
    """Return the separator of which the header holds most; a comma if it holds none."""
    with open(path, encoding="utf-8", errors="replace") as file:
        header = file.readline()
    return max(",;\t|", key=header.count)


def _list_columns(frame) -> str:
    names = [repr(name) for name in frame.columns]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _split(frame, label: str, path: str, notes: list[str]):
    if label not in frame.columns:
        raise CommandError(
            f"{path!r} has no column {label!r}.{near_names(label, frame.columns)} It has "
            f"{_list_columns(frame)}."
        )
    known = frame[label].notna()
    if not known.any():
        raise CommandError(
            f"column {label!r} of {path!r} is empty: there is nothing to learn from."
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
            shown = ", ".join(repr(name) for name in extra[:5]) + (
                ", ..." if len(extra) > 5 else ""
            )
            notes.append(f"only {path} has {shown}: left out")
    return X[common], X_source[common]


def _is_classification(y, y_source, task: str | None) -> bool:
    if task is not None:
        return task == "classification"
    both = [part for part in (y, y_source) if part is not None]
    if any(part.dtype.kind not in "iuf" for part in both):
        return True
    values = np.unique(np.concatenate([part.astype(float) for part in both]))
    return len(values) <= _MAX_CLASSES and bool((values == np.round(values)).all())


def _as_classes(y, y_source):
    """Write the classes of both files in one way: as whole numbers where they are, else strings."""
    both = [part for part in (y, y_source) if part is not None]
    numeric = all(part.dtype.kind in "iufb" for part in both)
    if numeric and all((part.astype(float) == np.round(part.astype(float))).all() for part in both):
        both = [part.astype(int) for part in both]
        if set(both[-1]) <= set(both[0]):
            return tuple(both) if y_source is not None else (both[0], None)
        # Else WithSource might take the numbers for those that an ensemble gave to the classes.
    kind = (lambda label: f"{label:g}") if numeric else str
    both = [np.array([kind(label) for label in part]) for part in both]
    return tuple(both) if y_source is not None else (both[0], None)


def _check_classes(y, path: str) -> None:
    classes, counts = np.unique(y, return_counts=True)
    if len(classes) < 2:
        raise CommandError(
            f"all labels in {path!r} are {str(classes[0])!r}: there is nothing to tell apart."
        )
    if len(classes) > len(y) / 2:
        raise CommandError(
            f"{path!r} has {len(classes)} classes in {len(y)} rows. Is this a number to predict? "
            "Then add --task regression."
        )


def _as_numbers(y, path: str | None):
    if y is None:
        return None
    try:
        return y.astype(float)
    except (TypeError, ValueError) as error:
        raise CommandError(
            f"the labels in {path!r} are not numbers ({error}). Add --task classification."
        ) from error
