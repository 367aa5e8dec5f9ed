"""Columns of two data frames in one form: where samples of two domains meet, each has one dtype."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import numpy as np

from skltransfer._warnings import warn

# Kinds of columns of pandas whose values are objects, by the names that pandas gives them.
_KINDS_OF_OBJECTS = {
    "empty": "missing",
    "string": "text",
    "boolean": "boolean",
    "integer": "number",
    "floating": "number",
    "mixed-integer-float": "number",
    "decimal": "number",
    "datetime": "date",
    "mixed": "object",
    "mixed-integer": "object",
}
_UNITS = ["s", "ms", "us", "ns"]  # of times, from the coarsest


def frame_library(X) -> str | None:
    """Return the library of a data frame, "pandas" or "polars", and None for anything else."""
    if hasattr(X, "columns"):
        for base in type(X).__mro__:
            library = base.__module__.partition(".")[0]
            if library in ("pandas", "polars"):
                return library
    return None


def with_one_dtype(first, second, *, names: tuple[str, str], category: type[Warning]) -> tuple:
    """Give the columns that two frames share one dtype in both.

    The columns of `first` keep their dtypes wherever the values of `second` can be written in them.
    Otherwise both take a common one:

    - categories: their union, those of `first` first. Orders of categories are merged if both
      together leave one order only. A column that is a category in one frame becomes one in both;
    - numbers: the common type of numbers. Truth values beside other numbers are 0 and 1;
    - dates: the finer unit, in the time zone of `first`;
    - a column without any value: the dtype of the other.

    Parameters
    ----------
    first, second : data frames of one library, pandas or polars
        They stay as they are.
    names : tuple of two str
        Their names in messages.
    category : type of warning
        Warning that a column of `first` changes its kind, such as from texts to categories.

    Returns
    -------
    first, second : data frames
        The same objects where nothing has to be changed.

    Raises
    ------
    ValueError
        If columns of one name hold different things. The message names the column.
    """
    library = _Polars if frame_library(first) == "polars" else _Pandas
    frames, changed = (first, second), ({}, {})
    for places in _shared_columns(first, second):
        columns = [library.column(*pair) for pair in zip(frames, places, strict=True)]
        if library.are_alike(*columns):
            continue
        label = list(first.columns)[places[0]]
        pair = _Pair(library, columns, label, names)
        for place, old, new, changes in zip(places, columns, pair.agreed(), changed, strict=True):
            if new is not old:
                changes[place] = new
        pair.warn_of_change(changed[0].get(places[0], columns[0]), category)
    return tuple(
        library.replaced(frame, changes) if changes else frame
        for frame, changes in zip(frames, changed, strict=True)
    )


def fitted_categories(X) -> dict:
    """Return the categories of the columns of a frame of pandas, and whether they are ordered.

    Returns
    -------
    categories : dict of str to tuple of (list, bool)
        Empty for anything else. Categories other than texts and numbers are left out.
    """
    if frame_library(X) != "pandas":
        return {}
    return {
        name: (column.cat.categories.tolist(), bool(column.cat.ordered))
        for name, column in X.items()
        if isinstance(name, str)
        and column.dtype.name == "category"
        and _Pandas.kind_of_values(column) in ("text", "number", "boolean")
    }


def with_fitted_categories(X, fitted: dict):
    """Return a frame whose categories have the codes of the frames that were fitted.

    Parameters
    ----------
    X : array-like
        Samples to predict for. Anything but a frame of pandas is returned as it is.
    fitted : dict
        See :func:`fitted_categories`. Categories that the fit has not seen come behind them.
    """
    if not fitted or frame_library(X) != "pandas" or not X.columns.is_unique:
        return X
    changes = {}
    for place, name in enumerate(X.columns):
        if name not in fitted:
            continue
        column, (categories, ordered) = X[name], fitted[name]
        is_category = column.dtype.name == "category"
        if is_category and column.cat.categories.tolist() == categories:
            continue
        if not is_category and _Pandas.kind(column) not in ("text", "number", "boolean"):
            continue
        own, known = _Pandas.categories(column), set(categories)
        new = [value for value in own if value not in known]
        if len({isinstance(value, str) for value in categories + own}) > 1:
            continue  # other things than were fitted: for the estimator to refuse
        column = column if is_category else column.astype("category")
        changes[place] = column.cat.set_categories(categories + new, ordered=ordered and not new)
    return _Pandas.replaced(X, changes) if changes else X


def _shared_columns(first, second) -> list[tuple[int, int]]:
    """Return the places of the columns that both frames have."""
    own, other = list(first.columns), list(second.columns)
    if own == other or not all(isinstance(label, str) for label in own + other):
        return [(place, place) for place in range(min(len(own), len(other)))]
    where = {label: place for place, label in enumerate(other)}
    return [(place, where[label]) for place, label in enumerate(own) if label in where]


class _Pair:
    """Two columns of one name, and the dtype that both are to have."""

    def __init__(self, library, columns, label, names):
        self.library, self.columns, self.label, self.names = library, columns, label, names
        self.kinds = [library.kind(column) for column in columns]

    def agreed(self) -> tuple:
        """Return both columns in one dtype."""
        try:
            return self._agreed()
        except ValueError as error:
            if str(error).startswith("The column"):
                raise
            raise ValueError(self._message()) from error
        except Exception as error:  # of the library, for dtypes that it cannot convert
            raise ValueError(self._message()) from error

    def warn_of_change(self, column, category) -> None:
        """Warn if a selection by dtype that finds the first column would not find `column`."""
        before, after = self.kinds[0], self.library.kind(column)
        if before not in (after, "missing") and after != "missing":
            first, second = (each.dtype for each in self.columns)
            warn(
                f"The column {self.label!r} is {first} in {self.names[0]} and {second} in "
                f"{self.names[1]}. It is read as {column.dtype} in both. Give it one dtype.",
                category,
            )

    def _agreed(self) -> tuple:
        (first, second), (a, b), library = self.columns, self.kinds, self.library
        if "category" in self.kinds:
            return self._as_categories()
        if set(self.kinds) <= {"number", "boolean", "missing"} and a != b:
            if a == "boolean" and library.fits_truth(first, second):
                return first, library.cast(second, first.dtype)
            return library.common_numbers(first, second)
        if b == "missing":
            return first, library.without_values(second, first.dtype)
        if a == "missing":
            return library.without_values(first, second.dtype), second
        if a == b == "number":
            return library.common_numbers(first, second)
        if a == b == "boolean":
            if library.fits_truth(first, second):
                return first, library.cast(second, first.dtype)
            return library.common_numbers(first, second)
        if a == "object" or a == b == "text":
            return first, library.cast(second, first.dtype)
        if a == b == "date":
            if len({library.has_zone(column) for column in self.columns}) > 1:
                raise ValueError(self._message(", one with a time zone and one without"))
            return library.common_times(first, second)
        if a == b == "duration":
            return library.common_times(first, second)
        raise ValueError(self._message())

    def _as_categories(self) -> tuple:
        library = self.library
        kinds = {library.kind_of_values(column) for column in self.columns} - {"missing"}
        if len(kinds) > 1:
            raise ValueError(self._message())
        own, other = map(library.categories, self.columns)
        ordered, other_ordered = map(library.is_ordered, self.columns)
        if ordered and other_ordered:
            categories = self._merged(own, other)
        else:
            known = set(own)
            added = [value for value in other if value not in known]
            if ordered and added:
                problem = f", and its order does not say where {added[:5]!r} belong"
                raise ValueError(self._message(problem))
            categories = own + added
        return library.with_categories(*self.columns, categories, ordered)

    def _merged(self, own: list, other: list) -> list:
        """Merge two orders of categories, if both together leave one order only."""
        problem = f", ordered as {own[:10]!r} and as {other[:10]!r}"
        sorter = TopologicalSorter(dict.fromkeys(own + other, ()))
        for order in (own, other):
            for lower, higher in zip(order, order[1:], strict=False):
                sorter.add(higher, lower)
        try:
            sorter.prepare()
        except CycleError:
            raise ValueError(self._message(problem)) from None
        merged = []
        while sorter.is_active():
            ready = sorter.get_ready()
            if len(ready) > 1:
                problem += f", which leaves the order of {sorted(ready, key=str)[:5]!r} open"
                raise ValueError(self._message(problem))
            merged.extend(ready)
            sorter.done(*ready)
        return merged

    def _message(self, problem: str = "") -> str:
        parts = [
            f"{column.dtype} in {name}{self._example(column)}"
            for column, name in zip(self.columns, self.names, strict=True)
        ]
        return (
            f"The column {self.label!r} is {' and '.join(parts)}{problem}. Write its values in one "
            "way, and with one dtype, in both domains, or leave the column out."
        )

    def _example(self, column) -> str:
        values = self.library.values(column)
        texts = (value for value in values if isinstance(value, str))
        example = next(texts, values[0] if values else None)
        return "" if example is None else f" (such as {example!r})"


class _Pandas:
    """What has to be known about columns of pandas, and done with them."""

    @staticmethod
    def column(frame, place: int):
        return frame.iloc[:, place]

    @staticmethod
    def replaced(frame, changes: dict):
        frame = frame.copy(deep=False)
        for place, column in changes.items():
            frame.isetitem(place, column)
        return frame

    @classmethod
    def are_alike(cls, first, second) -> bool:
        if first.dtype != second.dtype:
            return False
        if cls._holds_objects(first):
            kinds = {cls.kind(first), cls.kind(second)} - {"missing", "object"}
            return len(kinds) < 2
        if cls._is_category(first):  # equal dtypes may have their categories in another order
            return first.cat.categories.equals(second.cat.categories)
        return True

    @staticmethod
    def _is_category(column) -> bool:
        return column.dtype.name == "category"

    @staticmethod
    def _holds_objects(column) -> bool:
        return column.dtype.name == "object"

    @classmethod
    def kind(cls, column) -> str:
        from pandas.api import types

        dtype = column.dtype
        if cls._is_category(column):
            return "category"
        if cls._holds_objects(column):
            return _KINDS_OF_OBJECTS.get(types.infer_dtype(column, skipna=True), "other")
        if types.is_bool_dtype(dtype):
            return "boolean"
        if column.isna().all():
            return "missing"
        if types.is_numeric_dtype(dtype):
            return "number"
        if types.is_datetime64_any_dtype(dtype):
            return "date"
        if types.is_timedelta64_dtype(dtype):
            return "duration"
        return "text" if types.is_string_dtype(dtype) else "other"

    @classmethod
    def kind_of_values(cls, column) -> str:
        if not cls._is_category(column):
            return cls.kind(column)
        return cls.kind(column.cat.categories.to_series())

    @staticmethod
    def values(column) -> list:
        return column.dropna().iloc[:1000].tolist()

    @staticmethod
    def cast(column, dtype):
        return column.astype(dtype)

    @staticmethod
    def without_values(column, dtype):
        import pandas

        return pandas.Series(index=column.index, name=column.name, dtype=dtype)

    @staticmethod
    def fits_truth(first, second) -> bool:
        known = second if isinstance(first.dtype, np.dtype) else second.dropna()
        return bool(known.isin([0, 1]).all())

    @classmethod
    def common_numbers(cls, first, second):
        import pandas

        pair = cls._number(first), cls._number(second)
        if all(isinstance(column.dtype, np.dtype) for column in pair):
            dtype = np.result_type(*(column.dtype for column in pair))
        else:
            dtype = pandas.concat([column.iloc[:1] for column in pair]).dtype
            if not pandas.api.types.is_numeric_dtype(dtype):
                dtype = np.dtype(np.float64)
        return tuple(
            old if old.dtype == dtype else new.astype(dtype)
            for old, new in zip((first, second), pair, strict=True)
        )

    @classmethod
    def _number(cls, column):
        """Return a column of numbers, or of truth values, in a dtype of numbers."""
        kind = cls.kind(column)
        if kind == "number" and not cls._holds_objects(column):
            return column
        if kind == "boolean" and column.notna().all():
            return column.astype(bool)
        if kind == "number" and not cls._holds_objects(column := column.infer_objects()):
            return column
        return column.astype(np.float64)

    @staticmethod
    def has_zone(column) -> bool:
        return column.dt.tz is not None

    @staticmethod
    def common_times(first, second):
        unit = max((column.dt.unit for column in (first, second)), key=_UNITS.index)
        zone = getattr(first.dt, "tz", None)
        if zone is not None:
            second = second.dt.tz_convert(zone)
        dtype = first.dt.as_unit(unit).dtype
        return tuple(
            column if column.dtype == dtype else column.astype(dtype) for column in (first, second)
        )

    @classmethod
    def categories(cls, column) -> list:
        if cls._is_category(column):
            return column.cat.categories.tolist()
        return column.astype("category").cat.categories.tolist()

    @classmethod
    def is_ordered(cls, column) -> bool:
        return cls._is_category(column) and column.cat.ordered

    @classmethod
    def with_categories(cls, first, second, categories, ordered):
        import pandas

        kind = first if cls._is_category(first) else second
        base = kind.cat.categories
        of_numbers = cls.kind_of_values(kind) in ("number", "missing")
        index = pandas.Index(categories, dtype=None if of_numbers and categories else base.dtype)
        return tuple(  # astype would keep the codes of the same categories in another order
            (column if cls._is_category(column) else column.astype("category")).cat.set_categories(
                index, ordered=ordered
            )
            for column in (first, second)
        )


class _Polars:
    """What has to be known about columns of polars, and done with them."""

    @staticmethod
    def column(frame, place: int):
        return frame.to_series(place)

    @staticmethod
    def replaced(frame, changes: dict):
        return frame.with_columns(list(changes.values()))

    @staticmethod
    def are_alike(first, second) -> bool:
        return first.dtype == second.dtype

    @classmethod
    def kind(cls, column) -> str:
        import polars

        dtype = column.dtype
        if isinstance(dtype, polars.Enum | polars.Categorical):
            return "category"
        if dtype == polars.Boolean:
            return "boolean"
        if column.null_count() == len(column):
            return "missing"
        if dtype.is_numeric():
            return "number"
        if dtype == polars.String:
            return "text"
        if dtype in (polars.Datetime, polars.Date):
            return "date"
        if dtype == polars.Duration:
            return "duration"
        return "object" if dtype == polars.Object else "other"

    @classmethod
    def kind_of_values(cls, column) -> str:
        kind = cls.kind(column)
        return "text" if kind == "category" else kind

    @staticmethod
    def values(column) -> list:
        return column.drop_nulls().head(1000).to_list()

    @staticmethod
    def cast(column, dtype):
        return column.cast(dtype)

    @staticmethod
    def without_values(column, dtype):
        import polars

        return polars.Series(column.name, [None] * len(column), dtype=dtype)

    @staticmethod
    def fits_truth(first, second) -> bool:
        return bool(second.cast(int).is_in([0, 1]).all()) and second.dtype.is_integer()

    @classmethod
    def common_numbers(cls, first, second):
        import polars

        if cls.kind(first) == "missing":
            return first.cast(second.dtype), second
        if cls.kind(second) == "missing":
            return first, second.cast(first.dtype)
        empty = [polars.DataFrame({"": column.head(0)}) for column in (first, second)]
        dtype = polars.concat(empty, how="vertical_relaxed").to_series().dtype
        return first.cast(dtype), second.cast(dtype)

    @staticmethod
    def has_zone(column) -> bool:
        return getattr(column.dtype, "time_zone", None) is not None

    @classmethod
    def common_times(cls, first, second):
        if cls.has_zone(first):
            second = second.dt.convert_time_zone(first.dtype.time_zone)
        dtypes = [column.dtype for column in (first, second) if hasattr(column.dtype, "time_unit")]
        dtype = max(dtypes, key=lambda dtype: _UNITS.index(dtype.time_unit))
        return first.cast(dtype), second.cast(dtype)

    @classmethod
    def categories(cls, column) -> list:
        import polars

        if isinstance(column.dtype, polars.Enum):
            return column.dtype.categories.to_list()
        return sorted(column.drop_nulls().cast(polars.String).unique().to_list())

    @staticmethod
    def is_ordered(column) -> bool:
        return False

    @staticmethod
    def with_categories(first, second, categories, ordered):
        import polars

        if any(isinstance(column.dtype, polars.Enum) for column in (first, second)):
            dtype = polars.Enum(categories)
        else:
            is_category = isinstance(first.dtype, polars.Categorical)
            dtype = first.dtype if is_category else second.dtype
        return tuple(
            column if column.dtype == dtype else column.cast(dtype) for column in (first, second)
        )
