"""Fitted models of a comparison as files, and their predictions."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

from sklearn.pipeline import Pipeline

from skltransfer import TruncatedTextWarning, save
from skltransfer._files import write_whole
from skltransfer._messages import first_line
from skltransfer.cli._errors import CommandError, import_extra


def saved(fitted, columns, notes: list[str]) -> bytes | None:
    """Return a fitted model as skops writes it, behind the columns that it takes.

    A model that has no form as data is a note, and None.
    """
    model = fitted if columns is None else Pipeline([("columns", columns), ("model", fitted)])
    with TemporaryDirectory() as folder:
        try:
            return save(model, Path(folder) / "model.skops").read_bytes()
        except (TypeError, ValueError) as error:
            notes.append(f"model.skops is not written: {first_line(error)}.")
            return None


def predictions(model, X, rows, name: str, *, with_probabilities: bool):
    """Return a data frame with a row for each sample: its number, the prediction, probabilities.

    Parameters
    ----------
    model : fitted estimator
    X : samples
    rows : sequence
        Numbers or paths of the samples.
    name : str
        Name of the column of these.
    with_probabilities : bool
        Whether to add a column for each class.
    """
    pandas = import_extra("pandas")
    columns = {name: rows}
    if with_probabilities and not hasattr(model, "predict_proba"):
        raise CommandError("--proba is for classes, and the model predicts numbers, or no shares.")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=TruncatedTextWarning)
            columns["prediction"] = model.predict(X)
            if with_probabilities:
                shares = model.predict_proba(X)
                for position, label in enumerate(model.classes_):
                    columns[f"probability of {label}"] = shares[:, position]
    except (ValueError, TypeError) as error:
        raise CommandError(f"the model cannot predict these rows: {first_line(error)}.") from error
    return pandas.DataFrame(columns)


def write_predictions(frame, path: Path) -> None:
    """Write predictions as CSV or Parquet, whole or not at all."""
    with write_whole(path) as temporary:
        if path.suffix.lower() == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(temporary, index=False)
