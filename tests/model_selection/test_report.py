"""The report: its numbers, its parts, that every text is escaped, and that it fetches nothing."""

import re
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest

from skltransfer.model_selection._report import (
    ReportTable,
    ticks,
    write_page_without_scores,
    write_report,
)
from tests.model_selection.finished import FAMILIES, comparison_of, curve_of

VOID = {"meta", "line", "circle", "path", "rect", "polyline", "wbr"}


class Page(HTMLParser):
    """A page as its elements: tag, attributes, text, and the tags around it."""

    def __init__(self, text):
        super().__init__()
        self.elements, self._open, self.problems = [], [], []
        self.feed(text)
        self.problems += [f"<{element['tag']}> stays open" for element in self._open]

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", "inside": [e["tag"] for e in self._open], **dict(attrs)}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self._open or self._open[-1]["tag"] != tag:
            self.problems.append(f"</{tag}> closes nothing")
        else:
            self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, tag, **attributes):
        return [
            e
            for e in self.elements
            if e["tag"] == tag and all(e.get(k.rstrip("_")) == v for k, v in attributes.items())
        ]


def words(text):
    return " ".join(text.split())


def page_of(tmp_path, comparison, **settings):
    write_report(comparison, tmp_path / "report.html", **settings)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not page.problems
    return page


def weights_of(page):
    bars = [k for k, e in enumerate(page.elements) if e["tag"] == "td" and e.get("class") == "bar"]
    return [float(page.elements[k - 1]["value"]) for k in bars]


def rows_of(page):
    """Return the rows of the leaderboards: the name, and each exact number with its text."""
    rows, name = {}, None
    for element in page.elements:
        if element["tag"] == "th" and element.get("role") == "rowheader":
            small = next(
                e for e in page.elements[page.elements.index(element) :] if e["tag"] == "small"
            )
            name = words(element["text"].removesuffix(small["text"]))
            rows[name] = {}
        elif element["tag"] == "td":
            column = element.get("data-label", element.get("class"))
        elif element["tag"] == "h2":
            name = None  # the table has ended
        elif element["tag"] == "data" and name is not None:
            rows[name][column] = float(element["value"]), words(element["text"])
    return rows


def test_numbers_are_those_of_the_frame(tmp_path):
    comparison = comparison_of()
    rows, frame = rows_of(page_of(tmp_path, comparison)), comparison.to_frame()
    assert list(rows) == list(frame.index)
    columns = {
        "score": "score",
        "against no transfer": "difference",
        "against pooled": "pooled_difference",
        "p": "p_value",
        "weight": "weight",
        "seconds": "seconds",
    }
    for name, row in rows.items():
        known = {shown for shown, column in columns.items() if frame[column].notna()[name]}
        assert row.keys() == known
        for column, (value, text) in row.items():
            assert value == frame.loc[name, columns[column]]
            number = float(re.match(r"[-+]?[\d.]+", text).group().replace("−", "-"))
            scale = 1 if column in ("p", "seconds") else 100
            assert number == pytest.approx(scale * value, abs=0.51)
    assert weights_of(page_of(tmp_path, comparison)) == [0.25] * 4
    half = 100 * (frame.loc["pooled", "high"] - frame.loc["pooled", "score"])
    assert rows["pooled"]["score"][1].endswith(f"± {half:.1f}")


def test_the_verdict_comes_first_and_the_parts_follow(tmp_path):
    comparison = comparison_of(failures=("augmented",), notes=["Two columns were left out."])
    comparison.curve = curve_of(comparison)
    page = page_of(tmp_path, comparison)
    text = words(page.all("body")[0]["text"])
    assert text.index(comparison.verdict) < text.index("Strategies")
    assert [words(e["text"]) for e in page.all("h2")] == [
        "Strategies",
        "Without a score in every fold",
        "What the mixture is made of",
        "With fewer labels, and with more",
        "Notes",
        "How it was measured",
    ]
    for part in ("ValueError: it failed", "Two columns were left out.", "40 target samples"):
        assert part in text


def test_ten_strategies_are_shown_and_the_others_folded(tmp_path):
    many = FAMILIES | {f"method {k}": "instance" for k in range(12)}
    comparison = comparison_of(many)
    for result in comparison.results.values():  # those that everybody looks for are the worst
        result.score += result.name.startswith("method")
    page = page_of(tmp_path, comparison)
    folded = [e for e in page.all("th", role="rowheader") if "details" in e["inside"]]
    shown = [e for e in page.all("th", role="rowheader") if "details" not in e["inside"]]
    assert (len(shown), len(folded)) == (10, 8)
    names = " ".join(words(e["text"]) for e in shown)
    for name in ("no transfer", "pooled", "mixture"):
        assert name in names
    assert list(rows_of(page)) != list(comparison.to_frame().index)  # kept among the ten
    assert set(rows_of(page)) == set(comparison.results)


def test_learning_curves_are_a_drawing_and_a_table(tmp_path):
    comparison = comparison_of()
    comparison.curve = curve_of(comparison)
    page = page_of(tmp_path, comparison)
    values = {float(e["value"]) for e in page.all("data")}
    for scores in comparison.curve.values():
        assert {score for score, _, _ in scores.values()} <= values
    points = [e["points"].split() for e in page.all("polyline")]
    assert len(points) == 5 and all(len(line) == 3 for line in points)
    heights = [[float(point.split(",")[1]) for point in line] for line in points]
    assert all(line == sorted(line, reverse=True) for line in heights)  # more labels, higher


def test_every_text_is_escaped(tmp_path):
    nasty = """<b onclick="x('y')">&amp; 'quoted' "twice" </b>"""
    families = {"no transfer": "baseline", nasty: nasty, "pooled": "instance"}
    comparison = comparison_of(families, title=nasty, notes=[nasty], best_=nasty)
    comparison.results["pooled"].failure = comparison.results["pooled"].settings = nasty
    comparison.results[nasty].weight = 0.5
    comparison.curve = curve_of(comparison)
    table = ReportTable(nasty, [nasty, nasty], [[nasty, nasty]], nasty)
    page = page_of(tmp_path, comparison, tables=[table])
    assert not page.all("b")
    assert page.all("h1")[0]["text"] == nasty
    assert page.all("title")[0]["text"] == nasty
    assert not [name for e in page.elements for name in e if name.startswith("on")]
    assert sum(nasty in e["text"] for e in page.all("li")) == 1


def test_the_page_fetches_and_runs_nothing(tmp_path):
    comparison = comparison_of()
    comparison.curve = curve_of(comparison)
    page = page_of(tmp_path, comparison)
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    assert not [e for e in page.elements if e.keys() & {"src", "href", "srcset"}]
    style = page.all("style")[0]["text"]
    assert "url(" not in style and "@import" not in style
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert "default-src 'none'" in policy


def test_the_page_can_be_read_without_seeing_it(tmp_path):
    comparison = comparison_of()
    comparison.curve = curve_of(comparison)
    page = page_of(tmp_path, comparison)
    assert page.all("html")[0]["lang"] == "en"
    for drawing in page.all("svg"):
        if "svg" not in drawing["inside"]:
            assert drawing.get("aria-hidden") == "true" or drawing["aria-label"]
    for heading in page.all("th"):
        assert heading["scope"] in ("col", "row")
    assert len(page.all("caption")) == len(page.all("table"))
    drawn = [e["aria-label"] for e in page.all("svg", role="img") if "td" in e["inside"]]
    result = comparison.results["pooled"]
    assert any(comparison.show(result.difference, sign=True) in label for label in drawn)


def luminance(colour):
    channels = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_contrast_is_enough_on_light_and_dark_pages(tmp_path):
    style = page_of(tmp_path, comparison_of()).all("style")[0]["text"]
    light, dark = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)
    for scheme in (light, dark):
        colours = dict(re.findall(r"--(\w+): (#\w{6});", scheme))
        assert len(colours) == 16
        for name, colour in colours.items():
            if name in ("page", "line", "soft"):
                continue
            needed = 4.5 if name in ("ink", "faint") else 3.0  # of texts, and of drawings (WCAG)
            for ground in ("page", "soft"):
                levels = sorted([luminance(colour), luminance(colours[ground])])
                assert (levels[1] + 0.05) / (levels[0] + 0.05) >= needed, (name, ground)


def test_several_comparisons_share_a_page(tmp_path):
    first, second = comparison_of(), comparison_of(title="Digits", seed=1)
    page = page_of(tmp_path, [first, second])
    assert len(page.all("article")) == 2
    text = words(page.all("body")[0]["text"])
    assert first.verdict in text and second.verdict in text and "Digits" in text


def test_a_page_without_scores(tmp_path):
    write_page_without_scores(
        tmp_path / "report.html",
        title="new.csv",
        verdict="Nothing can be scored.",
        tables=[ReportTable("Domains", ["measure", "value"], [["distance", 0.123456], ["n", 3]])],
        notes=["A note."],
    )
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not page.problems and not page.all("article")
    assert [words(e["text"]) for e in page.all("td")] == ["0.1235", "3"]
    assert words(page.all("p", class_="verdict unknown")[0]["text"]) == "Nothing can be scored."


def test_one_strategy_one_fold_and_failures_have_a_page(tmp_path):
    alone = comparison_of({"no transfer": "baseline"}, folds=1, best_="no transfer")
    assert len(rows_of(page_of(tmp_path, alone))) == 1
    failed = comparison_of(failures=tuple(FAMILIES)[1:], best_="no transfer")
    assert list(rows_of(page_of(tmp_path, failed))) == ["no transfer"]


@pytest.mark.parametrize("bounds", [(-0.013, 0.097), (0, 1), (-1e-9, 2e-9), (-3100, 420)])
def test_ticks_are_few_and_round(bounds):
    places = ticks(*bounds, 5)
    assert 3 <= len(places) <= 6
    assert all(bounds[0] <= place <= bounds[1] for place in places)
    steps = np.diff(places)
    np.testing.assert_allclose(steps, steps[0])
    assert f"{steps[0]:e}"[0] in "125"


def test_the_templates_lie_beside_the_module():
    folder = files("skltransfer.model_selection") / "templates"
    assert {entry.name for entry in folder.iterdir()} == {"report.html", "report.css"}


@pytest.mark.parametrize(
    ("is_classification", "text"), [(True, "-0.050 ± 0.020"), (False, "-10.0 ± 4.0")]
)
def test_the_loss_that_decides_the_verdict_stands_on_top(tmp_path, is_classification, text):
    comparison = comparison_of(is_classification=is_classification)
    comparison.results["no transfer"].loss = 0.5
    mixture = comparison.results["mixture"]
    mixture.loss, mixture.loss_difference = 0.45, -0.05
    mixture.loss_difference_low, mixture.loss_difference_high = -0.07, -0.03
    figures = page_of(tmp_path, comparison).all("dl", class_="figures")[0]["text"]
    assert comparison.loss_name in figures and text in figures
