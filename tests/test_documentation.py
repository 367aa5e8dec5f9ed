"""The pages link to each other and to the outside as they should, and say what the code does."""

import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from sklearn.base import BaseEstimator

import skltransfer
from benchmarks.size.extras import LEFT_OUT
from skltransfer._documentation import ADDRESS
from skltransfer.cli._arguments import parser

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
URLS = PYPROJECT["project"]["urls"]
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture
def docs(monkeypatch):
    """Import modules that lie in the folder of the documentation."""
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module


def estimators():
    values = (getattr(skltransfer, name) for name in skltransfer.__all__)
    return [v for v in values if isinstance(v, type) and issubclass(v, BaseEstimator)]


@pytest.mark.parametrize("kind", estimators(), ids=lambda kind: kind.__name__)
def test_diagrams_link_to_the_page_of_the_reference(kind, docs):
    place = docs("api_reference").places()[kind.__name__]
    assert kind.__new__(kind)._get_doc_link() == f"{ADDRESS}/generated/{place}.html"


def test_a_diagram_shows_the_link():
    assert f'href="{ADDRESS}/generated/skltransfer.feature.CORAL.html"' in (
        skltransfer.CORAL()._repr_html_()
    )


def anchors(page):
    """Return the anchors of the headings of a page, as Markdown makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_of_the_readme_lead_somewhere():
    links = LINK.findall((ROOT / "README.md").read_text())
    assert len(links) > 10
    for link in links:
        path, _, anchor = link.partition("#")
        assert "//" in link or (ROOT / path).is_file(), link
        assert not anchor or anchor in anchors(ROOT / path)


def test_the_readme_of_the_package_index_has_whole_addresses():
    hook = PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = (ROOT / "README.md").read_text()
    for rule in hook["substitutions"]:
        text, count = re.subn(rule["pattern"], rule["replacement"], text)
        assert count
    links = LINK.findall(text)
    assert all(link.startswith("https://") for link in links)
    assert f"]({URLS['Source']}/raw/main/docs/images/comparison.png)" in text
    assert f"]({ADDRESS}/guide/compare.html)" in text


def test_one_address_everywhere():
    assert URLS["Documentation"] == ADDRESS
    assert URLS["Changelog"] == f"{ADDRESS}/changelog.html"
    assert URLS["Issues"].startswith(URLS["Source"] + "/")
    assert f"<{URLS['Source']}/security/advisories/new>" in (ROOT / "SECURITY.md").read_text()


def test_the_citation_is_that_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == skltransfer.__version__
    assert citation["license"] == PYPROJECT["project"]["license"]
    assert citation["url"] == ADDRESS
    assert citation["repository-code"] == URLS["Source"]
    assert citation["message"] and citation["title"] and citation["authors"][0]["name"]
    assert set(citation["keywords"]) == set(PYPROJECT["project"]["keywords"])
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert f"{citation['title']}, version {citation['version']}." in readme


def test_the_current_version_is_mended():
    minor = skltransfer.__version__.rpartition(".")[0]
    assert f"| {minor} | yes |" in (ROOT / "SECURITY.md").read_text()


def actions():
    (commands,) = (a for a in parser()._actions if hasattr(a, "choices") and a.choices)
    for name, command in commands.choices.items():
        for action in command._actions:
            yield name, action


def test_the_page_of_commands_has_every_command_and_option(docs):
    text = docs("command_line").commands()
    sections = dict(re.findall(r"^## `skltransfer (\w+)`\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    for command, action in actions():
        names = action.option_strings or [action.metavar]
        assert re.search(rf"^- `(.*, )?{re.escape(names[-1])}\b", sections[command], re.M), names
        words = action.help.split("%")[0].split("'")[0].split("*")[0].split("_")[0].strip()
        assert words in sections[command]


def test_the_page_of_sizes_has_every_estimator_that_was_measured(docs):
    record = (ROOT / "benchmarks" / "speed" / "scale.json").read_text()
    table = docs("scale_table").scale_table(record)
    head, _, *lines = table.splitlines()
    rows = json.loads(record)["rows"]
    assert [line.split("|")[1].strip() for line in lines] == [row["name"] for row in rows]
    assert {line.count("|") for line in lines} == {head.count("|")}
    (coral,) = (row for row in rows if row["name"] == "CORAL")
    (line,) = (line for line in lines if line.startswith("| CORAL |"))
    assert f"{coral['seconds']['1000000']:.2g} s" in line


def test_pages_name_options_that_exist():
    """Options in the lines that call a command, and those that stand alone."""
    known = {"--help", "--version"} | {n for _, a in actions() for n in a.option_strings}
    commands = "|".join({command for command, _ in actions()})
    n_named = 0
    for page in [ROOT / "README.md", *DOCS.glob("guide/*.md")]:
        text = page.read_text()
        calls = " ".join(re.findall(rf"skltransfer (?:{commands}) [^\n`]*", text))
        named = {*re.findall(r" (--[a-z-]+)", calls), *re.findall(r"`(--[a-z-]+)", text)}
        assert named <= known, (page.name, named - known)
        n_named += len(named)
    assert n_named > 30


def test_the_page_of_extras_shows_what_was_measured():
    record = json.loads((ROOT / "benchmarks" / "size" / "extras.json").read_text())
    rows = {(row["extra"], row["torch"]): row for row in record["rows"]}
    page = (DOCS / "guide" / "extras.md").read_text()
    extras = set(PYPROJECT["project"]["optional-dependencies"]) - LEFT_OUT
    core = rows["", "cpu"]
    for extra in extras:
        row = rows[extra, "cpu"]
        sizes = [f"{row[key] - core[key]} MB" for key in ("download_mb", "disk_mb")]
        cells = " | ".join([str(row["further_packages"]), *sizes])
        assert re.search(rf"^\| `{extra}` \| .+ \| {cells} \|$", page, re.M), extra
    for torch, name in (
        ("cuda", "torch of the package index (CUDA)"),
        ("cpu", "torch's CPU build"),
    ):
        row = rows["", torch]
        sizes = [f"{row[key]} MB" for key in ("download_mb", "disk_mb")]
        assert " | ".join([f"| {name}", str(row["packages"]), *sizes]) + " |" in page


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("KMMReweighter", "instance.KMMReweighter"),
        ("skltransfer.save", "persistence.save"),
        ("skltransfer.instance.KMMReweighter", "instance.KMMReweighter"),
        ("persistence.save", "persistence.save"),
        ("FineTunedClassifier(old, lr=1)", "parameter.FineTunedClassifier"),
        ("joblib.load", None),
        ("KMMReweighters", None),
        ("KMMReweighter.fit", None),
        ("skltransfer compare", None),
        ("main", None),
    ],
)
def test_inline_code_that_is_a_public_name(text, place, docs):
    pytest.importorskip("sphinx")
    full_name = docs("api_links").ApiNames().full_name(text)
    assert full_name == (place and f"skltransfer.{place}")


GUIDE = """``KMMReweighter``
=================

See ``KMMReweighter``, ``CORAL()`` and ``LogisticRegression``.

>>> from skltransfer import CORAL, TCA
"""
REFERENCE = """{name}
=============

.. py:class:: {place}

.. guide-pages:: {place}
"""


@pytest.mark.filterwarnings("ignore")  # of Sphinx and its packages; its own fail the build
def test_names_link_to_their_pages_and_back(tmp_path, docs):
    build = pytest.importorskip("sphinx.application").Sphinx
    inventory = pytest.importorskip("sphinx.util.inventory").InventoryFile
    kinds = ("instance.KMMReweighter", "feature.CORAL", "feature.TCA")
    places = [f"skltransfer.{kind}" for kind in kinds]
    for folder in ("guide", "generated"):
        (tmp_path / folder).mkdir()
    (tmp_path / "index.rst").write_text(
        "Top\n===\n\n.. toctree::\n   :glob:\n\n   guide/*\n   generated/*\n"
    )
    (tmp_path / "guide" / "page.rst").write_text(GUIDE)
    for place in places:
        text = REFERENCE.format(name=place.rpartition(".")[2], place=place)
        (tmp_path / "generated" / f"{place}.rst").write_text(text)
    html = tmp_path / "html"
    build(
        tmp_path,
        None,
        html,
        tmp_path / "doctrees",
        "html",
        {"extensions": ["api_links"], "project": "a"},
        status=None,
        exception_on_warning=True,
        warningiserror=True,
    ).build()

    page = (html / "guide" / "page.html").read_text()
    heading, body = page[page.index("<h1>") :].split("</h1>", 1)
    assert "generated" not in heading
    for place, text in zip(places, ("KMMReweighter", "CORAL()"), strict=False):
        href = rf'href="\.\./generated/{re.escape(place)}\.html#{re.escape(place)}"'
        assert re.search(rf"<a [^>]*{href}[^>]*><code [^>]*><span[^>]*>{re.escape(text)}<", body)
    assert 'class="code-link" href="../generated/skltransfer.feature.CORAL.html"' in body
    assert "LogisticRegression</span></a>" not in body
    for place in places:
        back = (html / "generated" / f"{place}.html").read_text()
        assert 'In the guide: <a class="reference internal" href="../guide/page.html">' in back
    known = inventory.loads((html / "objects.inv").read_bytes(), uri="").data["py:class"]
    assert {"skltransfer.CORAL", *places} <= set(known)


def test_faults_of_built_pages_are_found(tmp_path, docs, capsys):
    check = docs("check_links").main
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "other.html").write_text('<h1 id="there">x</h1><img src="../a.png?v=1">')
    (tmp_path / "a.png").write_bytes(b"")
    good = (
        '<a href="sub/other.html#there">x</a><a href="#">x</a><a href="https://far.example">x</a>'
    )
    (tmp_path / "index.html").write_text(good)
    assert check(str(tmp_path)) == 0
    bad = {
        "sub/none.html": "there is no such file",
        "sub/other.html#nowhere": "the page has no such anchor",
        "../../../etc/passwd": "leads out of the pages",
    }
    links = "".join(f'<a href="{address}">x</a>' for address in bad)
    outside = '<script src="https://cdn.example/a.js"></script>'
    (tmp_path / "bad.html").write_text(links + outside)
    capsys.readouterr()
    assert check(str(tmp_path)) == 1
    said = capsys.readouterr().out
    for address, fault in bad.items():
        assert f"bad.html: {address}: {fault}" in said
    assert "bad.html: https://cdn.example/a.js: is loaded from outside" in said
    assert "3 pages, 4 faults" in said
    (tmp_path / "empty").mkdir()
    assert check(str(tmp_path / "empty")) == 1


@pytest.mark.parametrize("path", sorted(DOCS.glob("inventories/*.inv")), ids=lambda p: p.stem)
def test_kept_inventories_name_what_exists(path):
    inventory = pytest.importorskip("sphinx.util.inventory")
    content = inventory.InventoryFile.loads(path.read_bytes(), uri="https://a.example")
    names = [name for items in content.data.values() for name in items]
    assert names
    for name in names:
        value, parts = None, name.split(".")
        for n in range(len(parts) - 1, -1, -1):
            try:
                value = importlib.import_module(".".join(parts[:n]) if n else "builtins")
            except ImportError:
                continue
            for part in parts[n:]:
                value = getattr(value, part)
            break
        assert value is not None, name
