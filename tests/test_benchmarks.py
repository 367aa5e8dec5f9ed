"""The benchmarks' claims are declared once, and the docs show what the committed files say."""

import ast
import json
import re

import pytest

from benchmarks.__main__ import PAGE, main, missing, page
from benchmarks._claims import FOLDER, Script, find, judge, scripts
from benchmarks._measure import ROOT, as_json, in_columns, make_parser, output_folder, write

EVERY = scripts()


def test_the_page_shows_what_the_committed_files_say():
    assert PAGE.read_text() == page(), "run python -m benchmarks --table"


def test_every_committed_record_has_its_script_and_the_reverse():
    records = {path.with_suffix("") for path in FOLDER.rglob("*.json")}
    assert records == {script.path.with_suffix("") for script in EVERY}
    helpers = {"_resnet20", "formula_images", "network", "pairs_of_tables"}
    modules = {path for path in FOLDER.rglob("[!_]*.py") if path.parent != FOLDER}
    assert {path.stem for path in modules} - {script.path.stem for script in EVERY} <= helpers


@pytest.mark.parametrize("script", EVERY, ids=lambda script: script.name)
def test_every_script_has_a_quick_run(script):
    text = script.path.read_text()
    assert "options.quick" in text or "rounds(" in text
    assert re.search(r"\bwrite\(\s*(__file__|script),\s", text)
    assert "make_parser(__doc__" in text


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_scripts_import_what_the_package_has(path):
    """Peers are absent here, so that many scripts cannot be run."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "skltransfer":
            for name in node.names:
                exec(f"from {node.module} import {name.name}", {})


def test_misses_are_shown_as_misses():
    missed = [claim for script in EVERY for claim in script.claims if not claim.is_met]
    assert page().count("| **no** |") == len(missed)


@pytest.mark.parametrize(
    ("bar", "value", "asked", "is_met"),
    [
        ({"at_least": 5}, 4.95, "≥ 5x", False),
        ({"at_least": 5}, 5.0, "≥ 5x", True),
        ({"at_most": 1.1, "unit": "ms"}, 1.2, "≤ 1.1 ms", False),
        ({"at_most": 1000, "unit": "s"}, 999.0, "≤ 1 000 s", True),
        ({"within": [46.3, 0.7], "unit": "%"}, 47.1, "46.3 ± 0.7 %", False),
        ({"within": [46.3, 0.7], "unit": "%"}, 45.7, "46.3 ± 0.7 %", True),
    ],
)
def test_a_claim_is_held_against_its_bar(bar, value, asked, is_met):
    claim = judge({"claim": "it", "beside": "them", "value": ["a"], **bar}, {"a": value})
    assert (claim.asked, claim.number, claim.is_met) == (asked, value, is_met)


def test_a_misspelt_key_of_a_claim_is_named():
    with pytest.raises(ValueError, match="at_leats"):
        judge({"claim": "it", "beside": "them", "value": ["a"], "at_leats": 5}, {"a": 4})


def test_a_claim_finds_its_number():
    record = {"rows": [{"n": 1, "x": 2.0}, {"n": 2, "x": 3.0}], "all": [4.0, 5.0]}
    assert find(record, ["rows", {"n": 2}, "x"]) == 3.0
    assert find(record, ["all", 1]) == 5.0
    with pytest.raises(ValueError, match="0 records"):
        find(record, ["rows", {"n": 3}, "x"])


def test_records_are_written_whole_and_read_back_equal(tmp_path):
    record = {"a": [1.25, 2.5], "rows": [[1, None], ["x [ y ]", "z"]], "empty": []}
    assert json.loads(as_json(record)) == record
    assert '"a": [1.25, 2.5]' in as_json({"a": [1.25, 2.5]})
    options = make_parser("").parse_args(["--quick", "--output", str(tmp_path)])
    write("anywhere/script.py", record, options, threads=3)
    written = json.loads((tmp_path / "script.json").read_text())
    assert written.pop("machine")["threads"] == 3
    assert written == record
    assert [path.name for path in tmp_path.iterdir()] == ["script.json"]


def test_columns_keep_every_value():
    rows = [{"name": "a", "gain": {"low": 0.12345678, "high": 1.0}}, {"name": "b", "mean": 2}]
    assert in_columns(rows) == {
        "columns": ["name", "gain, low", "gain, high", "mean"],
        "rows": [["a", 0.123457, 1.0, None], ["b", None, None, 2]],
    }


def test_a_quick_run_does_not_write_beside_committed_records(tmp_path):
    script = EVERY[0].path
    refused = make_parser("").parse_args(["--quick", "--output", str(script.parent)])
    with pytest.raises(SystemExit, match="does not write beside"):
        output_folder(str(script), refused)
    assert FOLDER not in output_folder(str(script), make_parser("").parse_args(["--quick"])).parents
    assert output_folder(str(script), make_parser("").parse_args([])) == script.parent


def test_what_is_absent_is_named(tmp_path):
    script = Script(EVERY[0].path, "", ("numpy", "no_such_package"), ("no_such_data",), ())
    assert missing(script, tmp_path) == ["no_such_package", "no_such_data"]


def test_one_script_runs_quickly(tmp_path, capsys):
    assert main(["--quick", "--only", "speed/jda", "--output", str(tmp_path)]) == 0
    assert "speed/jda: ran in" in capsys.readouterr().out
    assert json.loads((tmp_path / "speed" / "jda.json").read_text())["rows"][0]["N"] == 100
    with pytest.raises(SystemExit):
        main(["--only", "speed/no_such_script"])


TEXTS = [
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "docs" / "guide").glob("*.md"),
    *(ROOT / "docs" / "examples").glob("*.py"),
    ROOT / "README.md",
]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_scripts_that_the_docs_name_exist(path):
    text = path.read_text()
    named = re.findall(r"benchmarks/([\w/]+\.(?:py|json))", text)
    named += [f"{name}.py" for name in re.findall(r"`((?:speed|accuracy|recipes)/[\w/]+)`", text)]
    assert [name for name in named if not (FOLDER / name).is_file()] == []


README_TABLE = {
    "KMM, certified": [("speed/kmm", "rows", {"n": 1000, "tol": 1e-6}, "ratio_cpu", "adapt")],
    "KMM, default": [("speed/kmm", "rows", {"n": 1000, "tol": 5e-3}, "ratio_cpu", "skada default")],
    "KLIEP": [("speed/density_ratios", "rows", {"method": "KLIEP, 5 widths"}, "ratio_cpu")],
    "TCA": [("speed/tca", "rows", {"n": 500}, "ratio_cpu", peer) for peer in ("adapt", "skada")],
    "CORAL": [("speed/coral", "sizes", {"columns": 512}, "adapt / skltransfer")],
    "training": [
        (
            "speed/training",
            "skorch",
            {"network": "784-128-10", "batch_size": 64},
            "times_as_fast",
            p,
        )
        for p in ("skorch", "skorch, fused AdamW")
    ],
    "JPEG": [
        ("speed/jpeg", "pipelines", f"skltransfer, {engine}", "speed_up_cpu")
        for engine in ("onnxruntime", "torch")
    ],
}


@pytest.mark.parametrize("task", README_TABLE)
def test_the_readme_shows_what_the_scripts_measured(task):
    row = next(
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith(f"| {task}")
    )
    _, _, peer, times, script, _ = (cell.strip() for cell in row.split("|"))
    measured = []
    for name, *path in README_TABLE[task]:
        assert script == f"`{name}`"
        measured.append(
            f"{find(json.loads((FOLDER / name).with_suffix('.json').read_text()), path):.1f}"
        )
    assert re.findall(r"\d+\.\d", times) == measured, peer
