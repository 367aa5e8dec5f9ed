"""A comparison as a page of HTML that needs no other file: no script, no link, no picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import skltransfer
from skltransfer._messages import first_line, require
from skltransfer.model_selection._comparison import MIXTURE, POOLED
from skltransfer.model_selection._plot import (
    axis_limits,
    curve_names,
    family_of,
    has_interval,
    is_beyond_chance,
    listed,
)

# Rows of the leaderboard that are not folded.
_N_SHOWN = 10
# Families with a colour in the template.
_FAMILIES = (MIXTURE, "baseline", "instance", "feature", "parameter", "relation", "network")
# Width, height and margins (left, top, right, bottom) of the learning curves, in pixels of a phone.
_CURVE_SIZE, _CURVE_MARGINS = (350, 250), (40, 10, 12, 38)


@dataclass(frozen=True)
class ReportTable:
    """A table of a report, beside what a comparison knows.

    Parameters
    ----------
    heading : str
        Heading above the table.
    columns : sequence of str
        Names of the columns; the first column names the rows.
    rows : sequence of sequence
        Cells: texts as they are, numbers rounded to four digits.
    text : str, default=""
        Paragraph between the heading and the table.
    """

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    text: str = ""


def write_report(comparison, path, *, tables: Sequence[ReportTable] = ()) -> None:
    """Write the report of one comparison, or of several on one page.

    Parameters
    ----------
    comparison : Comparison or sequence of Comparison
    path : str or Path
        File to write.
    tables : sequence of ReportTable, default=()
        Further tables, at the end.

    Raises
    ------
    ImportError
        If jinja2 is not installed.
    """
    parts = [_described(part) for part in listed(comparison)]
    title = parts[0]["title"] if len(parts) == 1 else "Does transfer pay?"
    _write(path, title=title, comparisons=parts, tables=tables)


def write_page_without_scores(
    path, *, title: str, verdict: str, tables: Sequence[ReportTable] = (), notes: Sequence[str] = ()
) -> None:
    """Write the report of a target without a label, for which nothing can be scored.

    Parameters
    ----------
    path : str or Path
        File to write.
    title, verdict : str
        Heading, and what can be said.
    tables : sequence of ReportTable, default=()
        Such as the distance of the domains, effective sample sizes, and predictions.
    notes : sequence of str, default=()
        Remarks.

    Raises
    ------
    ImportError
        If jinja2 is not installed.
    """
    _write(path, title=title, verdict=verdict, tables=tables, notes=notes)


def _write(path, **content) -> None:
    empty = {"verdict": "", "comparisons": [], "notes": []}
    page = _template().render(empty | content | {"version": skltransfer.__version__})
    Path(path).write_text(page, encoding="utf-8")


@cache
def _template():
    jinja2 = require("jinja2", "cli", "report.html")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("skltransfer.model_selection"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["cell"] = _cell
    return environment.get_template("report.html")


def _cell(value) -> str:
    """Return a cell of a table as text."""
    is_number = isinstance(value, float | np.floating)
    return "" if value is None else f"{value:.4g}" if is_number else str(value)


def _described(comparison) -> dict[str, Any]:
    """Return what the template shows of a comparison."""
    scored = [result for result in comparison.ranking if not np.isnan(result.score)]
    shown, folded = _shown_and_folded(comparison, scored)
    axis = _Axis(comparison)
    return {
        "title": comparison.title,
        "verdict": comparison.verdict,
        "outcome": comparison.outcome.replace(" ", "-"),
        "figures": _figures(comparison),
        "axis_label": comparison.axis_label,
        "loss_name": comparison.loss_name,
        "baseline": comparison.baseline,
        "has_pooled": any(result.pooled_difference is not None for result in scored),
        "axis": axis,
        "shown": [_row(comparison, result, axis) for result in shown],
        "folded": [_row(comparison, result, axis) for result in folded],
        "families": list(dict.fromkeys(map(_family, scored))),
        "failures": [r for r in comparison.ranking if r.failure],
        "settings": [r for r in comparison.ranking if r.settings],
        "weights": _weights(comparison),
        "best": comparison.best_,
        "code": _code(comparison),
        "curve": _Curve(comparison) if comparison.curve else None,
        "measured": _measured(comparison),
        "notes": comparison.notes,
    }


def _shown_and_folded(comparison, scored: list) -> tuple[list, list]:
    """Return the ten best strategies, those that everybody looks for among them, and the others."""
    wanted = (comparison.baseline, comparison.best_, MIXTURE, POOLED)
    by_need = sorted(scored, key=lambda result: result.name not in wanted)  # else as they are
    shown = {result.name for result in by_need[:_N_SHOWN]}
    return (
        [result for result in scored if result.name in shown],
        [result for result in scored if result.name not in shown],
    )


def _family(result) -> str:
    return family if (family := family_of(result)) in _FAMILIES else "other"


def _figures(comparison) -> list[dict]:
    """Return the numbers at the top: baseline, mixture or best strategy, and their difference."""
    baseline, label = comparison.results[comparison.baseline], comparison.axis_label
    result = comparison.results.get(MIXTURE, comparison.results.get(comparison.best_))
    figures = {f"{baseline.name}, {label}": comparison.show(baseline.score, baseline.high)}
    if result is not None and result.difference is not None:
        figures[f"{result.name}, {label}"] = comparison.show(result.score, result.high)
        gain = comparison.show(result.difference, result.difference_high, sign=True)
        figures[f"{label}, paired difference"] = gain
        if has_interval(result.loss_difference_low, result.loss_difference_high):
            figures |= _loss_figure(comparison, result)
    return [{"label": name, "text": text or "no score"} for name, text in figures.items()]


def _loss_figure(comparison, result) -> dict[str, str]:
    """Return the difference of losses, which decides the verdict: in nats, or in percent."""
    scale, unit = 1.0, "nats"
    if not comparison.is_classification:
        scale, unit = 100 / comparison.results[comparison.baseline].loss, "%"
    mean = scale * result.loss_difference
    half = scale * (result.loss_difference_high - result.loss_difference)
    digits = 3 if comparison.is_classification else 1
    label = f"{comparison.loss_name}, paired difference ({unit})"
    return {label: f"{mean:+z.{digits}f} ± {half:.{digits}f}"}


class _Axis:
    """Horizontal axis of the intervals, in percent of its width."""

    def __init__(self, comparison):
        self._low, self._high = axis_limits(comparison)
        pooled = comparison.results.get(POOLED)
        self.zero = self.place(0.0)
        self.pooled = None if pooled is None else self.place(pooled.difference)
        scale = comparison.scale
        self.ticks = [
            (self.place(value), f"{value * scale:+.6g}".replace("-", "−") if value else "0")
            for value in ticks(self._low, self._high, 5)
        ]

    def place(self, value: float | None) -> float | None:
        """Return the place of a value, at the edge if it lies outside."""
        if value is None or np.isnan(value):
            return None
        share = (value - self._low) / (self._high - self._low)
        return round(100 * float(np.clip(share, 0.015, 0.985)), 2)

    def is_cut(self, *values) -> tuple[bool, bool]:
        """Return whether some values lie to the left, and to the right of the axis."""
        known = [value for value in values if value is not None and np.isfinite(value)]
        return min(known) < self._low, max(known) > self._high


def ticks(low: float, high: float, n_ticks: int) -> list[float]:
    """Return about `n_ticks` round numbers between two bounds."""
    step = (high - low) / n_ticks
    power = 10.0 ** np.floor(np.log10(step))
    step = power * next(round_ for round_ in (1, 2, 2.5, 5, 10) if round_ * power >= step)
    first = int(np.ceil(low / step))
    return [float(f"{k * step:.12g}") for k in range(first, int(np.floor(high / step)) + 1)]


def _row(comparison, result, axis: _Axis) -> dict[str, Any]:
    """Return a row of the leaderboard: texts, exact numbers, and places on the axis."""
    row = {
        "name": result.name,
        "family": _family(result),
        "remarks": _remarks(comparison, result),
        "is_best": result.name == comparison.best_,
        "score": (result.score, comparison.show(result.score, result.high)),
        "difference": (
            result.difference,
            comparison.show(result.difference, result.difference_high, sign=True),
        ),
        "pooled_difference": (
            result.pooled_difference,
            comparison.show(result.pooled_difference, result.pooled_difference_high, sign=True),
        ),
        "p_value": (result.p_value, _probability(result.p_value)),
        "weight": (result.weight, "" if result.weight is None else f"{100 * result.weight:.0f} %"),
        "seconds": (result.seconds, f"{result.seconds:.1f}"),
    }
    return row | {"picture": _picture(result, axis), "words": _words(comparison, result)}


def _remarks(comparison, result) -> str:
    """Return the family of a strategy, and what it is in this comparison."""
    remarks = {
        family_of(result): result.name != MIXTURE,
        "reference": result.name == POOLED,
        "recommended": result.name == comparison.best_,
    }
    return ", ".join(remark for remark, applies in remarks.items() if applies)


def _picture(result, axis: _Axis) -> dict[str, Any] | None:
    if result.difference is None or np.isnan(result.difference):
        return None
    low, high = result.difference_low, result.difference_high
    is_known = has_interval(low, high)
    bounds = (low, high) if is_known else ()
    cut_left, cut_right = axis.is_cut(result.difference, *bounds)
    return {
        "mean": axis.place(result.difference),
        "low": axis.place(low) if is_known else 0,
        "high": axis.place(high) if is_known else 100,
        "is_known": is_known,
        "is_filled": is_beyond_chance(result),
        "cut_left": cut_left,
        "cut_right": cut_right,
    }


def _words(comparison, result) -> str:
    """Return what the picture of a row shows, for those who cannot see it."""
    if result.difference is None:
        return f"{result.name} is what the others are compared with"
    low, high = result.difference_low, result.difference_high
    bounds = "interval unknown"
    if has_interval(low, high):
        bounds = f"{comparison.show(low, sign=True)} to {comparison.show(high, sign=True)}"
    gain = comparison.show(result.difference, sign=True)
    return f"{gain} against {comparison.baseline}, {bounds}"


def _probability(value: float | None) -> str:
    if value is None or np.isnan(value):
        return ""
    return "< .001" if value < 0.001 else f"{value:.3f}".replace("0.", ".", 1)


def _weights(comparison) -> list[dict]:
    """Return the shares of the mixture, the largest first, with the place of each bar's end."""
    shares = sorted(comparison.weights.items(), key=lambda item: -item[1])
    shares = [(name, share) for name, share in shares if share > 0]
    largest = max((share for _, share in shares), default=1.0)
    return [
        {
            "name": name,
            "family": _family(comparison.results[name]),
            "share": share,
            "text": f"{100 * share:.1f} %",
            "length": round(100 * share / largest, 2),
        }
        for name, share in shares
    ]


def _code(comparison) -> str:
    if comparison.best_ is None or comparison.best_ not in comparison.estimators:
        return ""
    try:
        return comparison.code(comparison.best_)
    except ValueError as error:  # a part of the estimator cannot be written
        return f"# {first_line(error)}."


def _measured(comparison) -> str:
    """Say how the scores came about."""
    results = comparison.results.values()
    n_fits, seconds = sum(r.n_fits for r in results), sum(r.seconds for r in results)
    unlabelled = source = ""
    if comparison.n_unlabelled:
        unlabelled = f" {comparison.n_unlabelled} further target samples have no label."
    if comparison.n_source:
        source = f" beside {comparison.n_source} source samples"
    repeats = "once" if comparison.n_repeats == 1 else f"{comparison.n_repeats} times"
    return (
        f"{comparison.n_labelled} target samples with a label{source}. They were divided into "
        f"{comparison.n_folds} folds, {repeats}. Every strategy was fitted without a fold and "
        f"scored on it, on the same folds as all others.{unlabelled} This took {n_fits} fits and "
        f"{seconds:.1f} seconds."
    )


class _Curve:
    """Learning curves as coordinates of a drawing, and as a table."""

    def __init__(self, comparison):
        self.label = comparison.axis_label
        self.width, self.height = _CURVE_SIZE
        left, top, right, bottom = _CURVE_MARGINS
        self.left, self.right = left, self.width - right
        self.top, self.bottom = top, self.height - bottom
        self.numbers = sorted(comparison.curve)
        names = curve_names(comparison)
        drawn = [
            [value for value in comparison.curve[number][name] if np.isfinite(value)]
            for number in self.numbers
            for name in names
            if name in comparison.curve[number]
        ]
        values = [value * comparison.scale for part in drawn for value in part] or [0.0]
        bounds = (0.0, 100.0) if comparison.scale == 100 else (-np.inf, np.inf)
        low, high = np.clip([min(values), max(values)], *bounds)
        margin = 0.04 * (high - low) or 1.0
        self._low, self._high = low - margin, high + margin
        beside = 1 if len(self.numbers) == 1 else 0  # one number stands in the middle
        self._first = np.log(self.numbers[0]) - beside
        self._last = np.log(self.numbers[-1]) + beside
        self.x_ticks = [(self._x(number), number) for number in self.numbers]
        self.y_ticks = [(self._y(v), f"{v:.6g}") for v in ticks(self._low, self._high, 5)]
        self.lines = [self._line(comparison, name, k) for k, name in enumerate(names)]
        self.rows = [
            (name, [self._text(comparison, number, name) for number in self.numbers])
            for name in dict.fromkeys(n for k in self.numbers for n in comparison.curve[k])
        ]

    def _x(self, number: float) -> float:
        share = (np.log(number) - self._first) / (self._last - self._first)
        inner = 14  # the outermost points stand clear of the axes
        return round(float(self.left + inner + share * (self.right - self.left - 2 * inner)), 1)

    def _y(self, value: float) -> float:
        share = np.clip((value - self._low) / (self._high - self._low), 0, 1)
        return round(float(self.bottom - share * (self.bottom - self.top)), 1)

    def _line(self, comparison, name: str, number: int) -> dict[str, Any]:
        points = []
        for n_labels in self.numbers:
            if name not in comparison.curve[n_labels]:
                continue
            mean, low, high = np.multiply(comparison.curve[n_labels][name], comparison.scale)
            if np.isfinite(mean):
                ends = (self._y(low), self._y(high)) if has_interval(low, high) else None
                points.append((self._x(n_labels) + 3 * (number - 2), self._y(mean), ends))
        return {"name": name, "number": number, "points": points}

    @staticmethod
    def _text(comparison, number: int, name: str) -> tuple[float | None, str]:
        if name not in comparison.curve[number]:
            return None, ""
        mean, _, high = comparison.curve[number][name]
        return mean, comparison.show(mean, high)
