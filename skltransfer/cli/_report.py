"""Show a comparison: tables in the terminal, a picture, and the scores in a file."""

from __future__ import annotations

import tempfile
import textwrap
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from skltransfer._messages import first_line
from skltransfer.cli._errors import CommandError, import_extra, shown
from skltransfer.model_selection import mean_interval

_COLOURS = ("#55606e", "#c8553d", "#2f6f9f", "#4f8a4c", "#b8860b", "#7a5195", "#8a6d5a")
_MARKERS = "osD^vPX"
# Of a strategy in a picture of intervals, in inches.
_ROW_HEIGHT = 0.25
# Largest number of lines with a legend inside the axes; a longer legend stands beside them.
_MAX_INSIDE = 7
# Baseline of methods that use the source.
_POOL = "pooled"
# Ends the names of strategies that start from random weights: drawn like their pretrained twin.
_RANDOM = ", random"


def prepare_folder(folder: str) -> Path:
    """Make the folder for the report, or say why it cannot be one; called before the work."""
    try:
        path = Path(folder).expanduser()
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise CommandError(f"--output {shown(folder)}: {reason}.") from error
    for name in ("comparison.png", "scores.csv"):
        if (path / name).is_dir():
            raise CommandError(f"--output {folder}: {name} is a folder there. Choose another one.")
    return path


def summarize(comparison, baseline: str | None = None) -> list[dict]:
    """Return, for each setting and strategy, mean, interval, difference and cost.

    Differences are those to `baseline`, by default the first strategy.
    """
    scores, reference = comparison.scores, baseline or comparison.strategies[0]
    rows = []
    for setting in dict.fromkeys(scores["setting"]):
        part = scores[scores["setting"] == setting].pivot(index="draw", columns="strategy")
        against = part["score"][reference]
        for strategy in comparison.strategies:
            if strategy not in part["score"]:
                continue
            values = part["score"][strategy].dropna()  # some have fewer draws than the baseline
            spread = {"test_to_train": comparison.test_to_train}
            rows.append(
                {
                    "setting": setting,
                    "strategy": strategy,
                    "score": mean_interval(values, **spread),
                    "difference": mean_interval(values - against[values.index], **spread),
                    "seconds": float(part["seconds"][strategy].sum()),
                }
            )
    return rows


def print_comparison(console: Console, comparison) -> None:
    """Print a table, and the comparison in words."""
    baseline, rows = comparison.strategies[0], summarize(comparison)
    table = Table(title=Text(comparison.title), title_justify="left")
    if comparison.setting_name:
        table.add_column(comparison.setting_name, justify="right")
    table.add_column("strategy")
    table.add_column(comparison.axis_label, justify="right", no_wrap=True)
    table.add_column(f"against {baseline}", justify="right", no_wrap=True)
    table.add_column("seconds", justify="right")
    previous = None
    for row in rows:
        if previous not in (None, row["setting"]):
            table.add_section()
        setting = [str(row["setting"]) if row["setting"] != previous else ""]
        low, high = row["difference"][1:]
        style = "green" if low > 0 else "red" if high < 0 else "default"
        gain = "" if row["strategy"] == baseline else comparison.show(row["difference"], sign=True)
        table.add_row(
            *(setting if comparison.setting_name else []),
            row["strategy"],
            comparison.show(row["score"]),
            f"[{style}]{gain}[/]",
            f"{row['seconds']:.1f}",
        )
        previous = row["setting"]
    console.print(table)
    console.print(
        f"{comparison.caption} ± is half of a 95 % interval; differences are paired.", markup=False
    )
    for note in comparison.notes:
        console.print(f"Note: {note}", markup=False, highlight=False)
    console.print(verdict(comparison, rows) + "\n", highlight=False, style="bold")


def verdict(comparison, rows) -> str:
    """Say which strategies are better, or worse, than the baseline and than the pool."""
    sentences = _beyond_chance(comparison, rows, comparison.strategies[0])
    if _POOL in set(comparison.scores["strategy"]):
        sentences += _beyond_chance(comparison, summarize(comparison, _POOL), _POOL)
    return "\n".join(sentences)


def _beyond_chance(comparison, rows, baseline: str) -> list[str]:
    sentences = []
    for word in ("Better", "Worse"):
        gains = {}
        for row in rows:
            _, low, high = row["difference"]
            if row["strategy"] != baseline and (low > 0 if word == "Better" else high < 0):
                place = f" at {row['setting']}" if comparison.setting_name else ""
                gain = comparison.show(row["difference"], sign=True) + place
                gains.setdefault(row["strategy"], []).append(gain)
        if gains:
            parts = "; ".join(f"{name} ({', '.join(values)})" for name, values in gains.items())
            sentences.append(f"{word} than {baseline}: {parts}.")
    return sentences or [f"No strategy differs from {baseline} beyond chance."]


def draw(comparisons, path: Path) -> None:
    """Draw all comparisons side by side into a PNG file."""
    matplotlib = import_extra("matplotlib")
    figure_module = import_extra("matplotlib.figure")
    with matplotlib.rc_context(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        n_rows = max(0 if c.setting_name else len(c.strategies) for c in comparisons)
        height = max(4.2, 1.2 + _ROW_HEIGHT * n_rows)
        figure = figure_module.Figure(
            figsize=(6.4 * len(comparisons), height), layout="constrained"
        )
        for comparison, axes in zip(
            comparisons, figure.subplots(1, len(comparisons), squeeze=False)[0], strict=True
        ):
            rows = summarize(comparison)
            (_draw_curves if comparison.setting_name else _draw_intervals)(comparison, rows, axes)
            title = textwrap.fill(comparison.title, 50)
            style = {"loc": "left", "fontsize": 10, "fontweight": "bold", "parse_math": False}
            axes.set_title(title, **style)
        figure.savefig(path, format="png", dpi=160)


def _draw_curves(comparison, rows, axes) -> None:
    """Draw the score over the setting, a line per strategy with its interval."""
    settings = list(dict.fromkeys(row["setting"] for row in rows))
    kinds = list(
        dict.fromkeys(strategy.removesuffix(_RANDOM) for strategy in comparison.strategies)
    )
    is_one = len(settings) == 1  # nothing to draw a line between: side by side, with bars
    for position, strategy in enumerate(comparison.strategies):
        own = [row for row in rows if row["strategy"] == strategy]
        if not own:
            continue
        beside = 1.03 ** (position - (len(comparison.strategies) - 1) / 2) if is_one else 1
        places = [row["setting"] * beside for row in own]
        scores = np.array([row["score"] for row in own]) * comparison.scale
        number = kinds.index(strategy.removesuffix(_RANDOM))
        colour, is_random = _COLOURS[number % len(_COLOURS)], strategy.endswith(_RANDOM)
        axes.fill_between(places, scores[:, 1], scores[:, 2], color=colour, alpha=0.15, linewidth=0)
        if is_one:
            axes.vlines(places, scores[:, 1], scores[:, 2], color=colour)
        axes.plot(
            places,
            scores[:, 0],
            color=colour,
            marker=_MARKERS[number % len(_MARKERS)],
            markerfacecolor="white" if is_random else colour,
            linestyle="--" if is_random else "-",
            label=strategy,
        )
    axes.set_xscale("log")
    axes.set_xticks(settings, [str(setting) for setting in settings])
    axes.minorticks_off()
    axes.set_xlabel(comparison.setting_name)
    axes.set_ylabel(comparison.axis_label)
    axes.grid(axis="y", alpha=0.3)
    style = {"frameon": False, "title": "mean and 95 % interval", "title_fontsize": 8}
    if len(comparison.strategies) > _MAX_INSIDE or is_one:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), **style)
    else:
        axes.legend(loc="lower right", **style)


def _draw_intervals(comparison, rows, axes) -> None:
    """Draw each strategy's paired difference to the baseline, with its interval."""
    baseline = comparison.strategies[0]
    others = rows[1:]  # the baseline is first
    means = {row["strategy"]: comparison.show(row["score"]) for row in rows}
    for position, row in enumerate(reversed(others)):
        mean, low, high = (value * comparison.scale for value in row["difference"])
        colour = "#4f8a4c" if low > 0 else "#c8553d" if high < 0 else "#55606e"
        axes.plot([low, high], [position, position], color=colour, linewidth=3, alpha=0.5)
        axes.plot(mean, position, "o", color=colour, markersize=7)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(
        range(len(rows)), [f"{row['strategy']}  {means[row['strategy']]}" for row in reversed(rows)]
    )
    axes.plot(0, len(others), "o", color="black", markersize=7)
    axes.set_ylim(-0.6, len(others) + 0.6)
    axes.set_xlabel(
        f"{comparison.axis_label}: paired difference to\n{baseline}, with 95 % interval"
    )
    axes.grid(axis="x", alpha=0.3)


def write_scores(comparisons, path: Path) -> None:
    """Write every score of every draw as CSV."""
    pandas = import_extra("pandas")
    frames = [c.scores.assign(task=c.name, metric=c.metric) for c in comparisons]
    columns = ["task", "setting", "strategy", "draw", "metric", "score", "seconds"]
    scores = pandas.concat(frames, ignore_index=True)[columns]
    scores.to_csv(path, index=False)
