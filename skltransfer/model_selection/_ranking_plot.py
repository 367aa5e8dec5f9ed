"""The picture of a ranking of backbones: scores, times and sizes."""

from __future__ import annotations

import textwrap

import numpy as np

from skltransfer._messages import require
from skltransfer.model_selection._plot import ComparisonDisplay, wrapped

_BLUE, _INK, _FAINT, _GRID = "#2f6f9f", "#1b1e23", "#6b7684", "#d7dbe0"
_LABEL_WIDTH, _FAILURE_WIDTH = 34, 44
# Inches of a line of text, around all rows, and across.
_LINE, _AROUND, _WIDTH = 0.2, 1.1, 8.2


def plot_ranking(ranking, ax=None) -> ComparisonDisplay:
    """Draw a ranking, the best backbone on top.

    Parameters
    ----------
    ranking : BackboneRanking
    ax : matplotlib Axes, default=None
        A subplot, which is divided. ``None`` makes a new figure, which pyplot does not know.

    Returns
    -------
    display : ComparisonDisplay

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If `ax` is no subplot of a figure.
    """
    require("matplotlib", "cli", "BackboneRanking.plot")
    labels = [wrapped(result.name, _LABEL_WIDTH) for result in ranking.results]
    heights = np.array([1.4 + label.count("\n") for label in labels])
    is_own = ax is None
    if is_own:
        from matplotlib.figure import Figure

        size = _WIDTH, _AROUND + _LINE * heights.sum()
        ax = Figure(figsize=size, layout="constrained").subplots()
    grid = ax.get_subplotspec()
    if grid is None:
        raise ValueError(
            "ax has to be a subplot of a figure (plt.subplots), so that it is divided."
        )
    ax.set_axis_off()
    axes = tuple(grid.subgridspec(1, 3, width_ratios=[2, 1, 1], wspace=0.06).subplots(sharey=True))
    edges = -np.cumsum([0.0, *heights])
    places = (edges[:-1] + edges[1:]) / 2
    score_label = {"logme": "LogME", "h_score": "H-score", "transrate": "TransRate"}
    _draw(axes[0], places, [result.score for result in ranking.results])
    axes[0].set_xlabel(
        f"{score_label.get(ranking.score_name, ranking.score_name)} (more is better)",
        fontsize=9, parse_math=False,
    )  # fmt: skip
    costs = {"seconds": "seconds", "megabytes": "size of the weights (MB)"}
    for part, (name, label) in zip(axes[1:], costs.items(), strict=True):
        _draw(part, places, [getattr(result, name) for result in ranking.results], is_cost=True)
        part.set_xlabel(label, fontsize=9)
    axes[0].set_yticks(places, labels, fontsize=9)
    axes[0].set_ylim(edges[-1], 0)
    for tick in axes[0].get_yticklabels():
        tick.set_parse_math(False)
    for result, place in zip(ranking.results, places, strict=True):
        if result.failure is not None:
            reason = textwrap.shorten(result.failure, _FAILURE_WIDTH, placeholder=" ...")
            axes[0].text(
                0.02, place, f"failed: {reason}", transform=axes[0].get_yaxis_transform(),
                va="center", fontsize=8, fontstyle="italic", color=_FAINT, parse_math=False,
            )  # fmt: skip
    return ComparisonDisplay(ax.figure, axes, is_own)


def _draw(ax, places, values, *, is_cost: bool = False) -> None:
    """Draw a dot for each value; an axis of costs begins at 0."""
    from matplotlib.ticker import MaxNLocator

    ax.margins(x=0.08)
    values = np.array(values, dtype=float)
    known = np.isfinite(values)
    lines = {"transform": ax.get_yaxis_transform(), "color": _GRID, "linewidth": 0.8}
    ax.hlines(places[known], 0, 1, **lines)
    colour = _FAINT if is_cost else _BLUE
    ax.plot(values[known], places[known], "o", color=colour, markersize=6.5, clip_on=False)
    if is_cost:
        ax.set_xlim(left=0)
        ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.tick_params(axis="x", labelsize=8.5)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.set_axisbelow(True)
