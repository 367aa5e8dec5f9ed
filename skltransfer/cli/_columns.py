"""What the cells of a table mean: numbers, marks of missing values, yes and no, or texts."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from skltransfer.cli._errors import import_extra, shorten
from skltransfer.cli._table_files import FileTable

# Marks of a missing value in any column; pandas has the same, and the question mark beside them.
_MISSING = {"", "?", "#N/A", "#N/A N/A", "#NA", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a"}
_MISSING |= {"nan", "null", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"}
# Marks of a missing value among numbers, in lower case: among texts they may be a class.
_MISSING_NUMBER = {mark.lower() for mark in _MISSING} | {
    *("??", "-", "--", "---", "–", "—", "*", "**", ".", "..", "...", "/", "\\n"),
    *("n.a.", "n.a", "na.", "nil", "nd", "n.d.", "nat", "missing", "unknown", "unk"),
    *("not available", "undefined", "#value!", "#ref!", "#div/0!", "#name?", "#num!", "#null!"),
    *("inf", "-inf", "+inf", "infinity", "-infinity"),
}
# A column of mostly numbers is numbers if it holds more of them than an encoding of categories
# tells apart, and at most this share of its other cells.
_MAX_CATEGORIES, _MAX_ODD = 20, 0.1
# Fewer rows say nothing about ids.
_MIN_ROWS = 20
_BOOLS = {"true": 1.0, "false": 0.0}
_CURRENCIES = "$€£¥"
_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_GROUPS = re.compile(r"(?<=\d)[ '\u00a0\u202f\u2019](?=\d{3}(?!\d))")  # 1 000, 1'000
_DATES = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))"
    r"([T ]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?[AaPp][Mm])?(Z|[+-]\d{2}:?\d{2})?)?"
)
_DAYS = re.compile(r"(19|20)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_MOST_DATES = 0.9


def _number(decimal: str) -> re.Pattern:
    """Return the form of a number with a decimal mark, and the other mark between thousands."""
    mark, other = re.escape(decimal), re.escape("," if decimal == "." else ".")
    whole = rf"(?:\d{{1,3}}(?:{other}\d{{3}})+|\d+)"
    return re.compile(rf"[+-]?(?:{whole}(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?")


_NUMBERS = {decimal: _number(decimal) for decimal in ".,"}
# One mark with three digits behind it may stand for decimals or between thousands.
_AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}")


@dataclass
class _Column:
    """A column of one file: its distinct cells, and what they mean."""

    path: str
    cells: np.ndarray  # distinct cells, without blanks around them, (n_distinct,) of str
    rows: np.ndarray  # position in `cells`, (n_rows,)
    plain: np.ndarray  # numbers, NaN for a cell that Python does not take for one, (n_distinct,)
    is_mark: np.ndarray  # cells that stand for a missing number, (n_distinct,)
    values: np.ndarray | None = None  # numbers, NaN for a cell that is none, (n_distinct,)
    is_odd: np.ndarray | None = None  # cells that are neither numbers nor marks, (n_distinct,)

    @property
    def counts(self) -> np.ndarray:
        """Number of occurrences of each cell, shape (n_distinct,)."""
        return np.bincount(self.rows, minlength=len(self.cells))

    def numbers(self) -> np.ndarray:
        """Return the numbers, whole ones as integers, shape (n_rows,)."""
        return (self.plain if self.plain.dtype.kind in "iu" else self.values)[self.rows]

    def marks(self) -> Counter:
        """Return the cells that are taken for missing numbers, and their numbers."""
        is_missing = np.isnan(self.values)
        return Counter(
            dict(zip(self.cells[is_missing], self.counts[is_missing].tolist(), strict=True))
        )

    def texts(self) -> np.ndarray:
        """Return the texts, shape (n_rows,); 1.0 is 1, as another file may write it."""
        cells = [np.nan if cell in _MISSING else _WHOLE.sub(r"\1", cell) for cell in self.cells]
        return np.array(cells, dtype=object)[self.rows]

    @property
    def are_dates(self) -> bool:
        """Tell whether nearly all cells are dates, written with signs between their parts."""
        cells = self.cells[~self.is_mark]
        return len(cells) > 1 and _share(_DATES, cells) > _MOST_DATES

    @property
    def are_packed_dates(self) -> bool:
        """Tell whether nearly all cells are numbers such as 20240131."""
        cells = self.cells[~self.is_mark]
        return len(cells) > 1 and len(cells[0]) == 8 and _share(_DAYS, cells) > _MOST_DATES


def _share(form: re.Pattern, cells) -> float:
    return sum(form.fullmatch(cell) is not None for cell in cells) / len(cells)


@dataclass(frozen=True)
class Kinds:
    """What the columns of a table are, apart from the label."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...]  # categories, and columns of texts
    dates: tuple[str, ...]  # those of the texts that are dates


def interpret(
    tables: list[FileTable],
    label: str | None,
    text: str | None,
    notes: list[str],
    known: Kinds | None = None,
) -> tuple[list, Kinds]:
    """Return the columns of all files as numbers or texts, by one rule for all.

    A column that several files have is numbers in all or texts in all. Missing values are NaN.
    Notes say which cells are taken for missing, which columns hold dates or ids, and how numbers
    are written.

    Parameters
    ----------
    tables : list of FileTable
    label : str or None
        Column to predict.
    text : str or None
        Column whose texts are kept as they are.
    notes : list of str
        Notes are appended.
    known : Kinds or None, default=None
        What the columns are, if a model has learned it from other files. Cells among numbers that
        are none are then missing.

    Returns
    -------
    frames : list of data frames
    kinds : Kinds
    """
    pandas = import_extra("pandas")
    columns = [{name: _column(table, name) for name in table.cells.columns} for table in tables]
    decimals = [_decimal(*pair, notes) for pair in zip(tables, columns, strict=True)]
    for own, decimal in zip(columns, decimals, strict=True):
        for column in own.values():
            _read_numbers(column, decimal)
    frames: list[dict] = [{} for _ in tables]
    missing: list[dict] = [{} for _ in tables]
    numbers, texts, dates = [], [], []
    for name in dict.fromkeys(name for own in columns for name in own):
        found = [number for number, own in enumerate(columns) if name in own]
        alike = [columns[number][name] for number in found]
        is_feature = name not in (label, text)
        n_notes = len(notes)
        if known is None:
            are_numbers = _are_numbers(alike, name, is_feature=is_feature, notes=notes)
        else:
            are_numbers = name in known.numbers
        for number, column in zip(found, alike, strict=True):
            if are_numbers:
                frames[number][name] = pandas.Series(column.numbers())
                if known is not None or not np.isnan(column.values).all():
                    missing[number][name] = column.marks()
            elif name == text:
                cells = tables[number].cells[name]
                cells = cells.where(cells.str.strip() != "").to_numpy()
                frames[number][name] = pandas.Series(cells, dtype=object)
            else:
                frames[number][name] = pandas.Series(column.texts(), dtype=object)
        if name != label:
            (numbers if are_numbers else texts).append(name)
        if is_feature and not are_numbers and any(column.are_dates for column in alike):
            dates.append(name)
        elif is_feature and known is None and len(notes) == n_notes:
            _note_ids(alike, name, are_numbers, notes)
            if not are_numbers:
                _note_apart(alike, name, notes)
    for table, marks in zip(tables, missing, strict=True):
        _note_missing(table.path, {n: m for n, m in marks.items() if m and n != label}, notes)
    frames = [
        pandas.DataFrame({name: frame[name] for name in table.cells.columns})
        for table, frame in zip(tables, frames, strict=True)
    ]
    return frames, Kinds(tuple(numbers), tuple(texts), tuple(dates))


def _column(table: FileTable, name: str) -> _Column:
    pandas = import_extra("pandas")
    rows, cells = pandas.factorize(table.cells[name].str.strip().to_numpy(dtype=object))
    plain = pandas.to_numeric(pandas.Series(cells, dtype=object), errors="coerce").to_numpy()
    is_mark = np.zeros(len(cells), dtype=bool)
    others = np.flatnonzero(~np.isfinite(plain))
    is_mark[others] = [cell.lower() in _MISSING_NUMBER for cell in cells[others]]
    return _Column(table.path, cells, rows, plain, is_mark)


def _is(decimal: str, cell: str) -> bool:
    return _NUMBERS[decimal].fullmatch(cell) is not None


def _bare(cell: str) -> str:
    """Return a number without its currency or percent sign, and without gaps between thousands."""
    cell = cell.strip(_CURRENCIES).strip()
    cell = cell[:-1].strip() if cell.endswith("%") else cell
    return _GROUPS.sub("", cell)


def _decimal(table: FileTable, columns: dict[str, _Column], notes: list[str]) -> str:
    """Return the decimal mark of a file: a comma if some numbers need it and none a point."""
    with_commas, has_points = [], False
    for name, column in columns.items():
        cells = column.cells[~column.is_mark]
        if np.isfinite(column.plain[~column.is_mark]).all():
            has_points |= any("." in cell and not _AMBIGUOUS.fullmatch(cell) for cell in cells)
            continue
        cells = [_bare(cell) for cell in cells]
        if all(_is(",", cell) or _is(".", cell) for cell in cells):
            sure = [cell for cell in cells if not _AMBIGUOUS.fullmatch(cell)]
            in_doubt = not sure and table.separator == ";" and any("," in cell for cell in cells)
            if in_doubt or any(not _is(".", cell) for cell in sure):
                with_commas.append(name)
            has_points |= any(not _is(",", cell) for cell in sure)
    if not with_commas or has_points:
        return "."
    notes.append(f"{table.path} writes numbers with decimal commas, as in {shorten(with_commas)}")
    return ","


def _read_numbers(column: _Column, decimal: str) -> None:
    """Find the cells of a column that are numbers, and those that are odd among numbers."""
    values = np.asarray(column.plain, dtype=float).copy()
    values[np.isinf(values)] = np.nan
    others = np.flatnonzero(~column.is_mark & (np.isnan(values) | (decimal == ",")))
    cells = column.cells[others]
    if len({sign for cell in cells for sign in _CURRENCIES if sign in cell}) <= 1:
        values[others] = [_value(cell, decimal) for cell in cells]
    known = values[~np.isnan(values)]
    bools = others[[cell.lower() in _BOOLS for cell in cells]] if len(others) else others
    if len(bools) and set(known) <= {0.0, 1.0}:
        values[bools] = [_BOOLS[cell.lower()] for cell in column.cells[bools]]
    column.values = values
    column.is_odd = np.isnan(values) & ~column.is_mark


def _value(cell: str, decimal: str) -> float:
    bare = _bare(cell)
    if not _is(decimal, bare):
        return np.nan
    value = float(bare.replace("," if decimal == "." else ".", "").replace(",", "."))
    value = value / 100 if cell.strip(_CURRENCIES).rstrip().endswith("%") else value
    return value if np.isfinite(value) else np.nan


def _are_numbers(columns: list[_Column], name: str, *, is_feature: bool, notes: list[str]) -> bool:
    """Tell whether a column is numbers in all files; odd cells among many numbers are missing."""
    known = [column.values[~np.isnan(column.values)] for column in columns]
    distinct = np.unique(np.concatenate(known))
    if not any(column.is_odd.any() for column in columns):
        # A single number beside marks, such as "1" and "-", says what the marks say.
        cells = {cell for column in columns for cell in column.cells[column.is_mark]}
        return len(distinct) != 1 or cells <= _MISSING - {"?"}
    if not is_feature:
        return False
    n_odd = np.array([column.counts[column.is_odd].sum() for column in columns])
    n_numbers = np.array([column.counts[~np.isnan(column.values)].sum() for column in columns])
    n_known = n_odd + n_numbers
    if (
        len(distinct) > _MAX_CATEGORIES
        and n_odd.sum() <= _MAX_ODD * n_known.sum()
        and (n_odd <= n_numbers).all()
    ):
        return True
    if n_numbers.sum() > 0.5 * n_known.sum() or ((n_odd == 0) & (n_numbers > 0)).any():
        column = columns[int(np.argmax(n_odd > 0))]
        notes.append(
            f"column {name!r} is taken for categories, because some of its cells in {column.path} "
            f"are no numbers: {shorten(column.cells[column.is_odd])}"
        )
    return False


def _note_missing(path: str, marks: dict[str, Counter], notes: list[str]) -> None:
    total = sum(marks.values(), Counter())  # the columns of numbers that have any
    if total:
        words = [f"{mark!r} ({n})" if mark else f"blank ({n})" for mark, n in total.most_common()]
        shown = ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
        notes.append(f"missing numbers of {path} in {shorten(marks)}: {shown}")


def _note_apart(columns: list[_Column], name: str, notes: list[str]) -> None:
    """Note a column of categories without a value that two files share."""
    known = [{cell for cell in column.cells if cell not in _MISSING} for column in columns]
    if len(known) > 1 and all(known) and not set.intersection(*known):
        shown = " and ".join(
            f"{shorten(sorted(cells))} in {column.path}"
            for cells, column in zip(known, columns, strict=True)
        )
        notes.append(f"column {name!r} has no value that the files share: {shown}")


def _note_ids(columns: list[_Column], name: str, are_numbers: bool, notes: list[str]) -> None:
    """Note a column that is empty, that holds dates without signs, or that may be an id."""
    for column in columns:
        if column.is_mark.all():
            notes.append(f"column {name!r} of {column.path} is empty")
            return
    column = columns[0]
    if are_numbers and column.are_packed_dates:
        notes.append(
            f"column {name!r} holds dates, which are taken for numbers; write them as 2024-01-31, "
            f"or leave the column out by --drop {name}"
        )
        return
    n_rows, cells = len(column.rows), column.cells[~column.is_mark]
    if n_rows < _MIN_ROWS or len(cells) < n_rows:
        return
    if not are_numbers:
        notes.append(
            f"column {name!r} has another text in each row of {column.path}; if it is a name or an "
            f"id, leave it out by --drop {name}"
        )
    elif column.plain.dtype.kind in "iu":
        steps = np.diff(column.plain[column.rows])
        if (steps > 0).all() or (steps < 0).all():
            notes.append(
                f"column {name!r} rises or falls with the rows of {column.path}; if it is an id, "
                f"leave it out by --drop {name}, because it tells the order of the rows"
            )
