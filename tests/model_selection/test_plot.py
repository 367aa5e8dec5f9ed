"""The picture of a comparison: what is drawn, in which order, and that nothing else changes."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from skltransfer.model_selection._plot import (
    COLOURS,
    axis_limits,
    curve_names,
    draw_comparison,
    plot_comparison,
)
from tests.model_selection.finished import FAMILIES, comparison_of, curve_of


def labels(axes):
    return [tick.get_text().replace("\n", " ") for tick in axes.get_yticklabels()]


def test_strategies_are_sorted_by_their_scores_and_drawn_at_their_differences():
    comparison = comparison_of()
    (axes,) = plot_comparison(comparison).axes_
    ranked = sorted(comparison.results.values(), key=lambda result: -result.score)
    assert labels(axes) == [result.name for result in ranked]
    places = axes.get_yticks()
    assert (np.diff(places) < 0).all()  # the best is on top
    means = {line.get_ydata()[0]: line for line in axes.lines if len(line.get_xdata()) == 1}
    for place, result in zip(places, ranked, strict=True):
        marker = means[place]
        difference = result.difference or 0.0
        assert marker.get_xdata()[0] == pytest.approx(100 * difference)
        family = "mixture" if result.name == "mixture" else result.family
        assert marker.get_color() == COLOURS[family]
        low, high = result.difference_low, result.difference_high
        is_chance = result.difference is not None and low <= 0 <= high
        assert (marker.get_markerfacecolor() == "white") == is_chance


def test_intervals_are_those_of_the_differences():
    comparison = comparison_of()
    (axes,) = plot_comparison(comparison).axes_
    drawn = {
        tuple(np.round(line.get_xdata(), 6))
        for line in axes.lines
        if len(line.get_xdata()) == 2 and line.get_ydata()[0] == line.get_ydata()[1]
    }
    low, high = axis_limits(comparison)
    for result in comparison.results.values():
        if result.difference is not None:
            bounds = np.clip([result.difference_low, result.difference_high], low, high)
            assert tuple(np.round(100 * bounds, 6)) in drawn


def test_one_hopeless_strategy_leaves_the_others_room_and_is_an_arrow():
    comparison = comparison_of()
    usual = axis_limits(comparison)
    worst = comparison.results["anchored"]
    worst.difference, worst.difference_low, worst.difference_high = -0.9, -0.95, -0.85
    low, high = axis_limits(comparison)
    assert -0.9 < low and high - low < 5 * (usual[1] - usual[0])
    (axes,) = plot_comparison(comparison).axes_
    assert "<" in {line.get_marker() for line in axes.lines}


def test_labels_of_any_length_lie_inside_the_picture():
    families = {"no transfer": "baseline", "y" * 150: "feature", "$a_b$ & <c> " * 20: "network"}
    display = plot_comparison(comparison_of(families, title="very " * 60, best_="no transfer"))
    display.figure_.draw_without_rendering()
    (axes,), frame = display.axes_, display.figure_.bbox
    titles = [child for child in axes.get_children() if getattr(child, "get_text", str)()]
    for text in [*axes.get_yticklabels(), *titles]:
        box = text.get_window_extent()
        assert frame.x0 - 1 <= box.x0 and box.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= box.y0 and box.y1 <= frame.y1 + 1
    boxes = [tick.get_window_extent() for tick in axes.get_yticklabels()]
    for above, below in zip(boxes, boxes[1:], strict=False):
        assert below.y1 < above.y0  # no label lies on another


def test_a_strategy_without_a_score_stands_last_with_its_reason():
    (axes,) = plot_comparison(comparison_of(failures=("augmented",))).axes_
    assert labels(axes)[-1] == "augmented"
    assert any("it failed" in text.get_text() for text in axes.texts)


@pytest.mark.parametrize("folds", [1, 10])
def test_one_strategy_and_one_fold_can_be_drawn(folds):
    comparison = comparison_of({"no transfer": "baseline"}, folds=folds, best_="no transfer")
    assert labels(plot_comparison(comparison).axes_[0]) == ["no transfer"]
    assert labels(plot_comparison(comparison_of(folds=folds)).axes_[0])


def test_learning_curves_stand_below():
    comparison = comparison_of()
    comparison.curve = curve_of(comparison)
    _, axes = plot_comparison(comparison).axes_
    names = curve_names(comparison)
    assert names[:3] == ["mixture", "no transfer", "pooled"]
    lines = {line.get_label(): line for line in axes.lines}
    for name in names:
        scores = [100 * comparison.curve[number][name][0] for number in (5, 10, 40)]
        np.testing.assert_allclose(lines[name].get_ydata(), scores)
    assert len(axes.lines) == len(FAMILIES)  # the others are grey
    assert axes.get_xscale() == "log"


def test_pyplot_and_the_configuration_stay_as_they_are(tmp_path):
    settings, figures = dict(mpl.rcParams), plt.get_fignums()
    comparison = comparison_of({"no transfer": "baseline", "pooled": "instance"})
    display = plot_comparison(comparison)
    draw_comparison([comparison, comparison], tmp_path / "comparison.png")
    assert (tmp_path / "comparison.png").read_bytes()[:4] == b"\x89PNG"
    assert display._repr_png_()[:4] == b"\x89PNG"
    assert dict(mpl.rcParams) == settings
    assert plt.get_fignums() == figures


def test_given_axes_are_drawn_on():
    figure, ax = plt.subplots()
    try:
        comparison = comparison_of()
        display = plot_comparison(comparison, ax=ax)
        assert display.axes_ == (ax,) and display.figure_ is figure
        assert display._repr_png_() is None  # a notebook shows the figure by itself
        comparison.curve = curve_of(comparison)
        with pytest.raises(ValueError, match="ax has to be a subplot"):
            plot_comparison(comparison, ax=figure.add_axes((0, 0, 1, 1)))
    finally:
        plt.close(figure)


def test_scores_are_written_with_about_four_digits():
    for size, text in ((0.5, "0.500"), (50, "50.00"), (500, "500.0"), (5e6, "5000000")):
        comparison = comparison_of({"no transfer": "baseline"}, metric="r2")
        comparison.results["no transfer"].score = -size
        assert comparison.show(size) == text
    assert comparison_of().show(-0.0001, sign=True) == "+0.0"
