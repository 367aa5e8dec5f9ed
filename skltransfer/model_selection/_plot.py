"""The picture of a comparison: differences of strategies with their intervals, learning curves."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from skltransfer._messages import require
from skltransfer.model_selection._comparison import MIXTURE, POOLED

# Colours of the families; they differ in lightness too.
COLOURS = {
    MIXTURE: "#1b1e23",
    "baseline": "#6b7684",
    "instance": "#c8553d",
    "feature": "#2f6f9f",
    "parameter": "#4f8a4c",
    "relation": "#1f8a8a",
    "network": "#7a5195",
}
_OTHER_COLOUR = "#8a6d5a"
_INK, _FAINT, _GRID = "#1b1e23", "#6b7684", "#d7dbe0"
_MARKERS = "DsoP^vX"
# Characters of a line of a label, of a failure and of a title.
_LABEL_WIDTH, _FAILURE_WIDTH, _TITLE_WIDTH, _AXIS_WIDTH = 34, 56, 50, 64
# Inches of a line of text, of the space between strategies, of a character, of the axes with the
# intervals, of the legend and the title around them, and of the learning curves.
_LINE, _GAP, _CHARACTER, _INTERVALS, _AROUND, _CURVES = 0.17, 0.1, 0.075, 4.4, 1.75, 3.4
# Times the usual difference (or half of an interval) that the axis reaches; beyond it is an arrow.
_ROOM = 4.0
# Largest number of learning curves with a colour and a name of their own.
_MAX_CURVES = 5


class ComparisonDisplay:
    """Picture of a comparison or a ranking, returned by their method ``plot``.

    Parameters
    ----------
    figure : matplotlib Figure
    axes : tuple of matplotlib Axes
    is_own : bool
        Whether the figure was made for it. Notebooks show such a picture.

    Attributes
    ----------
    figure_ : matplotlib Figure
        Figure.
    axes_ : tuple of matplotlib Axes
        Axes of the differences, and of the learning curves if there are any; of score, time and
        size for a ranking.
    """

    def __init__(self, figure, axes, is_own):
        self.figure_ = figure
        self.axes_ = axes
        self._is_own = is_own

    def _repr_png_(self):
        """Return the picture for a notebook, which shows the figure of given axes by itself."""
        if not self._is_own:
            return None
        buffer = io.BytesIO()
        self.figure_.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()


def plot_comparison(comparison, ax=None) -> ComparisonDisplay:
    """Draw a comparison: paired differences to the baseline, sorted, and learning curves.

    Parameters
    ----------
    comparison : Comparison
    ax : matplotlib Axes, default=None
        A subplot, which is divided if there are learning curves. ``None`` makes a new figure,
        which pyplot does not know.

    Returns
    -------
    display : ComparisonDisplay
        Its figure is ``figure_``, its axes are ``axes_``.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If `ax` is no subplot of a figure and has to be divided.
    """
    require("matplotlib", "cli", "Comparison.plot")
    is_own, rows = ax is None, _rows(comparison)
    if is_own:
        figure = _new_figure([(comparison, rows)])
        ax = figure.subplots()
    return ComparisonDisplay(ax.figure, _draw(comparison, rows, ax), is_own)


def draw_comparison(comparison, path) -> None:
    """Draw one comparison, or several below one another, into a PNG file.

    Parameters
    ----------
    comparison : Comparison or sequence of Comparison
    path : str or Path
        File to write.
    """
    require("matplotlib", "cli", "comparison.png")
    parts = [(part, _rows(part)) for part in listed(comparison)]
    figure = _new_figure(parts)
    heights = [_height(*part) for part in parts]
    axes = figure.subplots(len(parts), squeeze=False, height_ratios=heights)[:, 0]
    for (part, rows), ax in zip(parts, axes, strict=True):
        _draw(part, rows, ax)
    figure.savefig(Path(path), format="png", dpi=160)


def listed(comparison) -> list:
    """Return comparisons as a list, one alone too."""
    return list(comparison) if isinstance(comparison, Sequence) else [comparison]


def wrapped(text: str, width: int) -> str:
    """Return a text in lines of at most `width` characters; longer words are cut."""
    return "\n".join(textwrap.wrap(str(text), width))


def has_interval(low: float | None, high: float | None) -> bool:
    """Return whether both bounds of an interval are known and finite."""
    return low is not None and high is not None and bool(np.isfinite([low, high]).all())


def is_beyond_chance(result) -> bool:
    """Return whether the interval of a strategy's difference to the baseline excludes zero."""
    low, high = result.difference_low, result.difference_high
    return has_interval(low, high) and (low > 0 or high < 0)


def family_of(result) -> str:
    """Return the family that a strategy is drawn as; the mixture is one of its own."""
    return MIXTURE if result.name == MIXTURE else result.family


def curve_names(comparison) -> list[str]:
    """Return the strategies whose learning curves are named: the usual ones, then the best."""
    numbers = sorted(comparison.curve)
    last = comparison.curve[numbers[-1]]
    drawn = {name for number in numbers for name in comparison.curve[number]}
    usual = [name for name in (MIXTURE, comparison.baseline, POOLED) if name in drawn]
    others = [name for name in last if name not in usual and np.isfinite(last[name][0])]
    return (usual + sorted(others, key=lambda name: -last[name][0]))[:_MAX_CURVES]


class _Row:
    """A strategy in the picture: its label, the words beside it, and its height in inches."""

    def __init__(self, comparison, result):
        self.result = result
        self.is_scored = not np.isnan(result.score)
        self.label = wrapped(result.name, _LABEL_WIDTH)
        self.words = comparison.show(result.score, result.high)
        if not self.is_scored:
            reason = f"no score: {result.failure or 'none is known'}"
            self.words = textwrap.shorten(reason, _FAILURE_WIDTH, placeholder=" ...")
        self.height = _LINE * (1 + self.label.count("\n")) + _GAP


def _rows(comparison) -> list[_Row]:
    return [_Row(comparison, result) for result in comparison.ranking]


def _height(comparison, rows) -> float:
    return _AROUND + sum(row.height for row in rows) + (_CURVES if comparison.curve else 0)


def _new_figure(parts):
    from matplotlib.figure import Figure

    def longest(texts):
        return max((len(line) for text in texts for line in text.split("\n")), default=0)

    letters = max(
        longest(row.label for row in rows) + longest(row.words for row in rows if row.is_scored)
        for _, rows in parts
    )
    size = _INTERVALS + _CHARACTER * letters, sum(_height(*part) for part in parts)
    return Figure(figsize=size, layout="constrained")


def _draw(comparison, rows, ax) -> tuple:
    """Draw into a subplot; return its axes."""
    axes = (ax,)
    if comparison.curve:
        grid = ax.get_subplotspec()
        if grid is None:
            raise ValueError(
                "ax has to be a subplot of a figure (plt.subplots), so that it can be divided."
            )
        ax.set_axis_off()
        heights = [_height(comparison, rows) - _CURVES, _CURVES]
        axes = tuple(grid.subgridspec(2, 1, height_ratios=heights).subplots())
        _draw_curves(comparison, axes[1])
    _draw_differences(comparison, rows, axes[0])
    return axes


def _draw_differences(comparison, rows, ax) -> None:
    """Draw the paired difference of each strategy to the baseline, with its interval."""
    scale, limits = comparison.scale, axis_limits(comparison)
    edges = -np.cumsum([0.0, *(row.height for row in rows)])
    places = (edges[:-1] + edges[1:]) / 2
    ax.set(xlim=np.multiply(limits, scale), ylim=(edges[-1] - _GAP, _GAP))
    ax.axvline(0, color=_INK, linewidth=0.9, zorder=1)
    pooled = comparison.results.get(POOLED)
    has_pooled = pooled is not None and pooled.difference is not None
    if has_pooled:
        ax.axvline(pooled.difference * scale, color=_INK, linewidth=0.9, linestyle=":", zorder=1)
    for row, place in zip(rows, places, strict=True):
        if row.is_scored:
            _draw_interval(ax, row.result, place, limits, scale)
        else:
            ax.text(
                0.02, place, row.words, transform=ax.get_yaxis_transform(), va="center",
                fontsize=8, fontstyle="italic", color=_FAINT, parse_math=False,
                bbox={"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
    _label_rows(comparison, rows, places, ax)
    ax.tick_params(axis="x", labelsize=8.5)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color=_GRID, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    label = f"{comparison.axis_label}: difference to {comparison.baseline}, with 95 % interval"
    label = wrapped(label, _AXIS_WIDTH)
    ax.set_xlabel(label, fontsize=9, parse_math=False)
    _add_legend(comparison, has_pooled, ax, below=4.6 + 1.5 * label.count("\n"))
    _title(ax, comparison.title)


def _title(ax, text: str) -> None:
    style = {"loc": "left", "fontsize": 10, "fontweight": "bold", "parse_math": False}
    ax.set_title(wrapped(text, _TITLE_WIDTH), **style)


def axis_limits(comparison) -> tuple[float, float]:
    """Return the range of the axis: means and intervals, but none that would dwarf the others."""
    results = [r for r in comparison.results.values() if r.difference is not None]
    means = np.array([r.difference for r in results if np.isfinite(r.difference)])
    known = [r for r in results if has_interval(r.difference_low, r.difference_high)]
    halves = [(r.difference_high - r.difference_low) / 2 for r in known]
    usual = [np.quantile(np.abs(means), 0.75)] if len(means) else []
    room = _ROOM * max([*usual, np.median(halves) if halves else 0.0])
    room = room or 1 / comparison.scale
    low = max(min([0.0, *means, *(r.difference_low for r in known)]), -room)
    high = min(max([0.0, *means, *(r.difference_high for r in known)]), room)
    if low == high:
        low, high = -room, room
    margin = 0.04 * (high - low)
    return low - margin, high + margin


def _draw_interval(ax, result, place: float, limits, scale: float) -> None:
    """Draw a mean and its interval: dotted where it is unknown, an arrow where it is cut."""
    colour = COLOURS.get(family_of(result), _OTHER_COLOUR)
    if result.difference is None:  # the baseline
        ax.plot(0, place, "s", color=colour, markersize=6.5, zorder=3)
        return
    low, high, mean = result.difference_low, result.difference_high, result.difference
    is_known = has_interval(low, high)
    ends = np.clip([low, high] if is_known else limits, *limits) * scale
    line = {"color": colour, "linewidth": 3 if is_known else 1, "alpha": 0.4, "zorder": 2}
    ax.plot(ends, [place] * 2, "-" if is_known else ":", **line)
    inside = 0.015 * (limits[1] - limits[0])
    left, right = (limits[0] + inside) * scale, (limits[1] - inside) * scale
    if min(mean, low if is_known else mean) < limits[0]:
        ax.plot(left, place, "<", color=colour, markersize=6.5, zorder=3)
    if max(mean, high if is_known else mean) > limits[1]:
        ax.plot(right, place, ">", color=colour, markersize=6.5, zorder=3)
    ax.plot(
        mean * scale, place, "D" if result.name == MIXTURE else "o", color=colour,
        markerfacecolor=colour if is_beyond_chance(result) else "white", markeredgewidth=1.6,
        markersize=6.5, zorder=3,
    )  # fmt: skip


def _label_rows(comparison, rows, places, ax) -> None:
    """Write the names on the left, and the scores on the right."""
    ax.set_yticks(places, [row.label for row in rows], fontsize=9)
    for row, tick in zip(rows, ax.get_yticklabels(), strict=True):
        is_reference = row.result.name in (comparison.baseline, MIXTURE, POOLED)
        tick.set(fontweight="bold" if is_reference else "normal", parse_math=False)
    beside = ax.secondary_yaxis("right")
    scored = [(place, row.words) for row, place in zip(rows, places, strict=True) if row.is_scored]
    beside.set_yticks([place for place, _ in scored], [words for _, words in scored], fontsize=8.5)
    beside.tick_params(length=0, labelcolor=_FAINT)
    beside.spines["right"].set_visible(False)


def _add_legend(comparison, has_pooled: bool, ax, *, below: float) -> None:
    from matplotlib.lines import Line2D

    scored = [result for result in comparison.ranking if not np.isnan(result.score)]
    families = dict.fromkeys(map(family_of, scored))
    handles = [
        Line2D(
            [], [], linestyle="", marker="D" if family == MIXTURE else "o", markersize=5.5,
            color=COLOURS.get(family, _OTHER_COLOUR), label=family,
        )
        for family in families
    ]  # fmt: skip
    if has_pooled:
        handles.append(Line2D([], [], color=_INK, linewidth=0.9, linestyle=":", label=POOLED))
    if any(result.difference is not None for result in scored):
        hollow = {"marker": "o", "color": _FAINT, "markerfacecolor": "white", "linestyle": ""}
        handles.append(Line2D([], [], markersize=5.5, label="hollow: may be chance", **hollow))
    ax.legend(
        handles=handles, frameon=False, fontsize=8, loc="upper center", ncols=4,
        bbox_to_anchor=(0.5, 0), borderaxespad=below, handletextpad=0.3, columnspacing=1.2,
    )  # fmt: skip


def curve_colours(comparison) -> dict[str, str]:
    """Return a colour for each named learning curve: its family's, unless that is taken."""
    colours, free = {}, [*COLOURS.values(), _OTHER_COLOUR]
    for name in curve_names(comparison):
        result = comparison.results.get(name)
        own = COLOURS.get(family_of(result)) if result is not None else None
        colours[name] = own if own in free else free[0]
        free.remove(colours[name])
    return colours


def _draw_curves(comparison, ax) -> None:
    """Draw the score over the number of labels: a few strategies by name, the others in grey."""
    numbers, colours = sorted(comparison.curve), curve_colours(comparison)
    drawn = dict.fromkeys(name for number in numbers for name in comparison.curve[number])
    for name in drawn:
        places = [number for number in numbers if name in comparison.curve[number]]
        scores = np.array([comparison.curve[number][name] for number in places], dtype=float)
        mean, low, high = scores.T * comparison.scale
        if name not in colours:
            ax.plot(places, mean, color="#c3c9d0", linewidth=0.9, zorder=1)
            continue
        order = list(colours).index(name)
        places = np.multiply(places, 1.02 ** (order - (len(colours) - 1) / 2))  # side by side
        known = np.isfinite(low) & np.isfinite(high)
        line = {"color": colours[name], "zorder": 3}
        ax.vlines(places[known], low[known], high[known], linewidth=2.5, alpha=0.35, **line)
        ax.plot(
            places, mean, marker=_MARKERS[order], markersize=5.5, linewidth=1.5,
            label=wrapped(name, _LABEL_WIDTH), **line,
        )  # fmt: skip
    _limit_scores(comparison, ax)
    ax.set_xscale("log")
    ax.set_xticks(numbers, [str(number) for number in numbers], fontsize=8.5)
    ax.minorticks_off()
    ax.tick_params(axis="y", labelsize=8.5)
    ax.set_xlabel("labelled target samples", fontsize=9)
    ax.set_ylabel(comparison.axis_label, fontsize=9, parse_math=False)
    ax.grid(axis="y", color=_GRID, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    legend = ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    for text in legend.get_texts():
        text.set_parse_math(False)
    _title(ax, "Score over the number of labels")


def _limit_scores(comparison, ax) -> None:
    """Leave out what cannot be: shares below 0 and above 100 %, though intervals go there."""
    if comparison.scale == 100:
        low, high = ax.get_ylim()
        ax.set_ylim(max(low, -1.0), min(high, 101.0))
