"""Columns of a table as features of a linear model."""

from __future__ import annotations

from importlib.util import find_spec

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skltransfer._messages import how_to_install
from skltransfer.cli._columns import Kinds
from skltransfer.cli._errors import shorten

# Categories that get a column of their own; the others share one.
_MAX_CATEGORIES = 20
# Columns of more distinct texts than this are texts to skrub, and no categories.
_MANY_CATEGORIES = 40


def default_model(is_classification: bool):
    """Return the linear model of a comparison."""
    return LogisticRegression(max_iter=2000) if is_classification else Ridge()


def has_skrub() -> bool:
    """Tell whether the extra ``tables`` is installed."""
    return find_spec("skrub") is not None


def note_of_dates(kinds: Kinds, notes: list[str]) -> None:
    """Say what becomes of columns of dates."""
    if not kinds.dates:
        return
    names = shorten(kinds.dates)
    if has_skrub():
        notes.append(f"columns of dates, read by TableVectorizer of skrub: {names}")
    else:
        notes.append(
            f"columns of dates, taken for categories: {names}; {how_to_install('tables')} reads "
            "them as dates, and --drop leaves them out"
        )


def preprocessing(frames, kinds: Kinds) -> ColumnTransformer:
    """Return a transformer that imputes, scales numbers and encodes the rest.

    Dates and columns of many texts go through skrub's TableVectorizer if it is installed.

    Parameters
    ----------
    frames : list of data frames
        Samples of all domains.
    kinds : Kinds
        What their columns are.
    """
    rich = [name for name in kinds.texts if name in kinds.dates or _has_many(frames, name)]
    rich = rich if has_skrub() else []
    categories = [name for name in kinds.texts if name not in rich]
    numbers = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    encoded = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing", keep_empty_features=True),
        OneHotEncoder(
            handle_unknown="infrequent_if_exist",
            max_categories=_MAX_CATEGORIES,
            sparse_output=False,
        ),
    )
    parts = [
        ("numbers", numbers, list(kinds.numbers)),
        ("categories", encoded, categories),
    ]
    if rich:
        from skrub import TableVectorizer

        of_skrub = make_pipeline(
            TableVectorizer(
                cardinality_threshold=_MANY_CATEGORIES,
                low_cardinality=OneHotEncoder(handle_unknown="ignore", sparse_output=False),
            ),
            SimpleImputer(keep_empty_features=True),
            StandardScaler(),
        )
        parts.append(("dates and texts", of_skrub, rich))
    return ColumnTransformer(parts)


def _has_many(frames, name: str) -> bool:
    return len({text for frame in frames for text in frame[name].dropna().unique()}) > (
        _MANY_CATEGORIES
    )
