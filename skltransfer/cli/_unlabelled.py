"""A target without any label: how far the domains are apart, and what the source's model says."""

from __future__ import annotations

import textwrap
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import stats
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

import skltransfer
from skltransfer._messages import first_line
from skltransfer._table_columns import TableColumns
from skltransfer.cli._errors import CommandError, import_extra, shown
from skltransfer.cli._models import predictions, saved, write_predictions
from skltransfer.cli._output import Written, write_files, write_json
from skltransfer.cli._table_data import TableData
from skltransfer.model_selection import mean_interval
from skltransfer.model_selection._report import ReportTable, write_page_without_scores

_REWEIGHTERS = {
    "KMM": "KMMReweighter",
    "KLIEP": "KLIEPReweighter",
    "uLSIF": "ULSIFReweighter",
    "discriminative": "DiscriminativeReweighter",
    "nearest neighbours": "NearestNeighborsReweighter",
    "Gaussian": "GaussianReweighter",
    "kernel density": "KernelDensityReweighter",
    "label shift": "LabelShiftReweighter",
}
_N_FOLDS = 5
# Rows of a table in the terminal, and columns in the picture.
_N_SHOWN, _N_DRAWN = 10, 20
# A classifier that tells the domains apart more often than this is a reason to doubt.
_FAR = 0.75


@dataclass(frozen=True)
class ColumnShift:
    """How the values of one column differ between the domains.

    The distance is 0 for equal values and 1 for values that do not overlap: the statistic of
    Kolmogorov and Smirnov for numbers, the total variation for categories.
    """

    column: str
    kind: str
    distance: float
    source: str
    target: str
    missing_source: float
    missing_target: float


@dataclass(frozen=True)
class EffectiveSize:
    """Number of equally weighted source samples that the weights of a method leave."""

    method: str
    size: float | None
    failure: str | None = None


@dataclass(frozen=True)
class DomainComparison:
    """Two domains side by side, where no label of the target is known."""

    title: str
    verdict: str
    n_source: int
    n_target: int
    auc: float  # of a classifier that tells the domains apart, on samples it was not fitted on
    auc_low: float
    auc_high: float
    columns: list[ColumnShift]
    sizes: list[EffectiveSize]
    notes: list[str]

    def to_dict(self) -> dict:
        """Return all numbers and texts in a form that JSON can hold."""
        content = asdict(self)
        bounds = ("auc", "auc_low", "auc_high")
        return content | {name: _known(content[name]) for name in bounds}


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def report_domains(data: TableData, options, folder: Path) -> Written:
    """Compare the domains and write the files."""
    for option in ("metric", "positive", "strategies", "group"):
        if getattr(options, option):
            raise CommandError(
                f"--{option} goes with a target that has labels, and {shown(data.name)} has none."
            )
    compared = compare_domains(data, options.seed)
    model = source_model(data)
    predicted = predictions(
        model,
        data.X_unlabelled,
        data.unlabelled_rows,
        "row",
        with_probabilities=data.is_classification,
    )
    columns = TableColumns(list(data.X_source.columns), list(data.kinds.numbers))
    notes = [f"{note}." for note in compared.notes]
    content = saved(model, columns, notes)
    tables = _tables(compared, predicted)
    writers = {
        "report.html": lambda path: write_page_without_scores(
            path, title=compared.title, verdict=compared.verdict, tables=tables, notes=notes
        ),
        "shift.csv": lambda path: _write_shifts(compared, path),
        "summary.json": lambda path: write_json(compared.to_dict(), path),
        "comparison.png": lambda path: _draw(compared, path),
        "predictions.csv": lambda path: write_predictions(predicted, path),
    }
    if content is not None:
        writers["model.skops"] = lambda path: path.write_bytes(content)
    write_files(folder, writers)
    return Written(compared.to_dict(), compared.verdict, _as_text(compared), list(writers))


def _as_text(compared: DomainComparison) -> str:
    """Return the verdict and the first rows of the tables for the terminal."""
    lines = [compared.title, compared.verdict, ""]
    for table in _tables(compared):
        rows = (table.columns, *table.rows[:_N_SHOWN])
        cells = [[_cell(value) for value in row[:3]] for row in rows]
        widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
        for row in cells:
            padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append("  ".join(padded).rstrip())
        lines.append("")
    return "\n".join([*lines, *(f"Note: {note}." for note in compared.notes)])


def _cell(value) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _tables(compared: DomainComparison, predicted=None) -> list[ReportTable]:
    tables = [
        ReportTable(
            "How far the columns are apart",
            (
                "column",
                "distance",
                "kind",
                "source",
                "target",
                "missing, source",
                "missing, target",
            ),
            [
                (
                    c.column,
                    c.distance,
                    c.kind,
                    c.source,
                    c.target,
                    c.missing_source,
                    c.missing_target,
                )
                for c in compared.columns
            ],
            "0 is equal, 1 is no value in common: the statistic of Kolmogorov and Smirnov for "
            "numbers, the total variation for categories.",
        ),
        ReportTable(
            "What weights would leave of the source",
            ("method", "effective samples", "of"),
            [
                (s.method, s.failure if s.size is None else round(s.size, 1), compared.n_source)
                for s in compared.sizes
            ],
            "The number of equally weighted samples of like worth (Kish). If it is a small part of "
            "the source, the domains hardly overlap.",
        ),
    ]
    if predicted is not None:
        shown_rows = predicted.head(_N_SHOWN)
        tables.append(
            ReportTable(
                "Predictions of the source's model",
                tuple(predicted.columns),
                [tuple(row) for row in shown_rows.itertuples(index=False)],
                f"The first {len(shown_rows)} of {len(predicted)}; all are in predictions.csv.",
            )
        )
    return tables


def _write_shifts(compared: DomainComparison, path: Path) -> None:
    frame = import_extra("pandas").DataFrame([asdict(shift) for shift in compared.columns])
    frame.to_csv(path, index=False)


def _draw(compared: DomainComparison, path: Path) -> None:
    """Draw the distances of the columns into a PNG file, the largest on top."""
    figure_module = import_extra("matplotlib.figure")
    shifts = compared.columns[:_N_DRAWN][::-1]
    figure = figure_module.Figure(figsize=(6.4, 1.2 + 0.28 * len(shifts)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(shifts)), [shift.distance for shift in shifts], color="#2f6f9f")
    names = [textwrap.shorten(shown(shift.column), 34, placeholder="...") for shift in shifts]
    axes.set_yticks(range(len(shifts)), names, parse_math=False)
    axes.set_xlim(0, 1)
    axes.set_xlabel("distance of source and target (0: equal, 1: apart)")
    axes.set_title(textwrap.fill(compared.title, 50), loc="left", fontsize=10, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", dpi=160)


def compare_domains(data: TableData, seed: int) -> DomainComparison:
    """Compare a labelled source with a target without labels."""
    steps = clone(data.steps).fit(data.X_source)
    source, target = steps.transform(data.X_source), steps.transform(data.X_unlabelled)
    auc = _separability(source, target, seed)
    sizes = [
        _effective_size(method, kind, data, source, target)
        for method, kind in _REWEIGHTERS.items()
        if data.is_classification or method != "label shift"
    ]
    shifts = [_shift(data, name) for name in data.X_source.columns]
    shifts.sort(key=lambda shift: -shift.distance)
    return DomainComparison(
        f"{data.name}: no labels, so no scores",
        _verdict(data, auc, shifts),
        len(source),
        len(target),
        *auc,
        shifts,
        sizes,
        list(data.notes),
    )


def source_model(data: TableData):
    """Return the model of the source, fitted."""
    return make_pipeline(clone(data.steps), data.model).fit(data.X_source, data.y_source)


def _separability(source, target, seed: int) -> tuple[float, float, float]:
    X = np.vstack([source, target])
    domain = np.repeat([0, 1], [len(source), len(target)])
    n_folds = min(_N_FOLDS, len(source), len(target))
    if n_folds < 2:
        return np.nan, np.nan, np.nan
    folds = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    model = LogisticRegression(class_weight="balanced", max_iter=2000)
    scores = cross_val_score(model, X, domain, cv=folds, scoring="roc_auc")
    mean, low, high = mean_interval(scores, test_to_train=1 / (n_folds - 1))
    return mean, max(low, 0.0), min(high, 1.0)


def _effective_size(method, kind, data: TableData, source, target) -> EffectiveSize:
    reweighter = getattr(skltransfer, kind)(data.model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a small size says the same
            reweighter.fit(source, data.y_source, X_target=target)
    except ValueError as error:
        return EffectiveSize(method, None, first_line(error))
    return EffectiveSize(method, float(reweighter.effective_sample_size_))


def _shift(data: TableData, name: str) -> ColumnShift:
    source, target = data.X_source[name], data.X_unlabelled[name]
    missing = float(source.isna().mean()), float(target.isna().mean())
    source, target = source.dropna(), target.dropna()
    if not len(source) or not len(target):
        distance = float(bool(len(source)) != bool(len(target)))
        return ColumnShift(name, "empty", distance, "", "", *missing)
    if name in data.kinds.numbers:
        distance = float(stats.ks_2samp(source.astype(float), target.astype(float)).statistic)
        shown = [f"{part.mean():.3g} ± {part.std(ddof=0):.3g}" for part in (source, target)]
        return ColumnShift(name, "number", distance, *shown, *missing)
    shares = [part.value_counts(normalize=True) for part in (source, target)]
    both = shares[0].index.union(shares[1].index)
    aligned = [part.reindex(both, fill_value=0.0) for part in shares]
    distance = float(np.abs(aligned[0] - aligned[1]).sum() / 2)
    shown = [f"{part.index[0]} ({part.iloc[0]:.0%})" for part in shares]
    return ColumnShift(name, "category", distance, *shown, *missing)


def _verdict(data: TableData, auc, shifts) -> str:
    mean, low, high = auc
    said = f"No row of {data.name} has a label, so nothing can be scored."
    if np.isnan(mean):
        return f"{said} One row of a domain does not say how far apart the domains are."
    how = "hardly differ" if low <= 0.5 else "differ much" if mean > _FAR else "differ"
    most = ", ".join(f"{shift.column} ({shift.distance:.2f})" for shift in shifts[:3])
    return (
        f"{said} The domains {how}: a classifier tells them apart with an AUC of {mean:.2f} (95 % "
        f"interval: {low:.2f} to {high:.2f}; .5 is chance), and most by {most}. The predictions "
        "are those of the source's model; label some rows to see whether it can be trusted."
    )
