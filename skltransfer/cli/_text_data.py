"""Predict from the texts of a column: TF-IDF against encoders."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from skltransfer.cli._errors import CommandError
from skltransfer.cli._table_data import TableData


@dataclass(frozen=True)
class TextData(TableData):
    """Texts to predict on, as Series of str, and perhaps texts of another domain."""

    steps = None


def texts_of(table: TableData, column: str) -> TextData:
    """Return the texts of one column, an empty one where it is missing."""
    if table.kinds.numbers:
        raise CommandError(f"column {column!r} of {table.name!r} holds numbers, not texts.")
    notes = list(table.notes)
    n_empty = int(table.X[column].isna().sum())
    if n_empty:
        notes.append(
            f"{n_empty} rows of {table.name} have no text, which is taken for an empty one"
        )
    frames = {name: getattr(table, name) for name in ("X", "X_unlabelled", "X_source")}
    texts = {
        name: None if frame is None else frame[column].fillna("").astype(str)
        for name, frame in frames.items()
    }
    kept = {entry.name: getattr(table, entry.name) for entry in fields(TableData)}
    return TextData(**(kept | texts | {"notes": tuple(notes)}))


def note_of_cut_texts(name: str, max_length: int, n_cut: int, n_texts: int) -> str:
    """Return a note on texts that are longer than an encoder reads."""
    return (
        f"{name} reads the first {max_length} tokens of a text; {n_cut} of {n_texts} texts "
        f"({n_cut / n_texts:.0%}) are longer and are cut"
    )


def with_notes_of_cut_texts(table: TextData, backbones) -> TextData:
    """Return the texts with a note for each encoder that does not read all of them to the end."""
    texts = [
        text
        for part in (table.X, table.X_unlabelled, table.X_source)
        if part is not None
        for text in part
    ]
    notes = list(table.notes)
    for name, _, record in backbones:
        n_cut = int(record.preprocessing.is_cut(texts).sum())
        if n_cut:
            max_length = record.preprocessing.max_length
            notes.append(note_of_cut_texts(name, max_length, n_cut, len(texts)))
    return replace(table, notes=tuple(notes))
