"""`skltransfer compare` on tables: what it writes and prints, its options, and every error."""

import html
import json
import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline

import skltransfer
from skltransfer import CORAL
from skltransfer.cli import _bundled, _compare, main
from skltransfer.cli._output import FILES
from skltransfer.cli._table_data import TableRequest, read_tables
from skltransfer.model_selection._mixture import spread_folds
from tests.cli.tables import SHORT, table, write_both


@pytest.fixture(autouse=True)
def _without_picture(request, monkeypatch):
    """Draw the picture in few tests: it takes a third of the time of a small comparison."""
    if "drawn" not in request.fixturenames and "report" not in request.fixturenames:
        monkeypatch.setattr(_compare, "draw_comparison", lambda parts, path: path.touch())


@pytest.fixture
def drawn():
    """Ask for the picture."""


LABELLED = ("target.csv", "--label", "sick")
BOTH = (*LABELLED, "--source", "source.csv")
WITH_SCORES = {"report.html", "scores.csv", "summary.json", "comparison.png", "model.skops"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def files(folder):
    write_both()
    return folder


def run(*arguments):
    return main(["compare", *map(str, arguments)])


def summary(folder="skltransfer-report"):
    with open(f"{folder}/summary.json") as file:
        return json.load(file)


def scores(folder="skltransfer-report"):
    return pd.read_csv(f"{folder}/scores.csv")


# --- what is written and printed -----------------------------------------------------------


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of one comparison, for several tests."""
    folder = tmp_path_factory.mktemp("report")
    before = os.getcwd()
    os.chdir(folder)
    try:
        write_both()
        assert run(*BOTH, *SHORT, "--output", "out") == 0
    finally:
        os.chdir(before)
    return folder


def test_a_report_has_all_its_files_and_no_other(report):
    assert {path.name for path in (report / "out").iterdir()} == WITH_SCORES | {"predictions.csv"}
    assert (report / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    content = summary(report / "out")
    assert content["verdict"] in html.unescape((report / "out" / "report.html").read_text())
    assert (content["n_labelled"], content["n_unlabelled"], content["n_source"]) == (30, 10, 80)


def test_scores_are_those_computed_by_hand(report):
    data = read_tables(TableRequest(str(report / "target.csv"), "sick", str(report / "source.csv")))
    fold = spread_folds(data.y, 5, np.random.default_rng(0))
    alone = make_pipeline(data.steps, data.model)
    source = clone(alone).fit(data.X_source, data.y_source)
    expected = {"no transfer": [], "source only": []}
    for k in range(5):
        X, y = data.X[fold == k], data.y[fold == k]
        model = clone(alone).fit(data.X[fold != k], data.y[fold != k])
        expected["no transfer"].append(accuracy_score(y, model.predict(X)))
        expected["source only"].append(accuracy_score(y, source.predict(X)))
    found = scores(report / "out").groupby("strategy", sort=False).score
    for name, values in expected.items():
        np.testing.assert_allclose(found.get_group(name), values)


def test_predictions_are_those_of_the_saved_model_for_the_rows_without_a_label(report):
    found = pd.read_csv(report / "out" / "predictions.csv")
    assert found.row.tolist() == list(range(1, 11))
    model = skltransfer.load(report / "out" / "model.skops")
    rows = pd.read_csv(report / "target.csv")[:10]
    assert found.prediction.tolist() == model.predict(rows).tolist()
    shares = found[["probability of no", "probability of yes"]]
    np.testing.assert_allclose(shares, model.predict_proba(rows))
    # The model is that of the best strategy, fitted on all labelled rows.
    assert model[-1].__class__.__name__ in ("Pipeline", "WithSource")


def test_the_model_holds_no_rows_of_the_source(report):
    cells = pd.read_csv(report / "source.csv").x.to_numpy()
    content = (report / "out" / "model.skops").read_bytes()
    assert not any(cells[k : k + 2].tobytes() in content for k in range(len(cells) - 1))


def test_the_verdict_comes_before_the_table_and_the_best_strategy_first(files, capsys):
    assert run(*BOTH, *SHORT) == 0
    output = capsys.readouterr().out
    content = summary()
    assert output.index(content["verdict"]) < output.index("against no transfer")
    ranking = sorted(content["strategies"], key=lambda s: -s["score"])
    places = [re.search(rf"^{s['name']}  ", output, re.MULTILINE).start() for s in ranking]
    assert places == sorted(places)
    assert "In skltransfer-report: report.html, scores.csv" in output


def test_json_and_quiet(files, capsys):
    assert run(*BOTH, *SHORT, "--json", "--output", "a") == 0
    assert json.loads(capsys.readouterr().out) == summary("a")
    assert run(*BOTH, *SHORT, "--quiet", "--output", "b") == 0
    printed = capsys.readouterr()
    assert printed.out == f"{summary('b')['verdict']}\n"
    assert printed.err == ""
    # The same seed gives the same scores.
    pd.testing.assert_frame_equal(scores("a"), scores("b"))


def test_a_folder_with_a_report_is_replaced_with_force_only(files, capsys):
    (files / "out").mkdir()
    (files / "out" / "notes.txt").write_text("mine")
    (files / "out" / "shift.csv").write_text("of an older report")
    assert run(*BOTH, *SHORT, "--output", "out") == 2
    error = capsys.readouterr().err
    assert "--output out holds a report already (shift.csv). Add --force to replace it" in error
    assert run(*BOTH, *SHORT, "--output", "out", "--force") == 0
    names = {path.name for path in (files / "out").iterdir()}
    assert names == WITH_SCORES | {"predictions.csv", "notes.txt"}  # what has no heir is gone


def test_notes_of_the_tables_are_part_of_the_report(files, capsys):
    frame = pd.read_csv("source.csv").assign(number=range(80))
    frame.to_csv("source.csv", index=False)
    assert run(*BOTH, *SHORT, "--align-columns") == 0
    notes = " ".join(summary()["notes"])
    assert "only source.csv has 'number': left out" in notes
    assert "10 rows of target.csv have no label" in notes
    assert "only source.csv has 'number'" in (capsys.readouterr()).out


# --- options -------------------------------------------------------------------------------


def test_one_file_with_both_domains_is_as_two_files(files):
    parts = [pd.read_csv(f"{name}.csv").assign(ward=name) for name in ("target", "source")]
    pd.concat(parts).to_csv("both.csv", index=False)
    assert run(*BOTH, *SHORT, "--output", "a") == 0
    assert run("both.csv", "--label", "sick", "--domain", "ward", *SHORT, "--output", "b") == 0
    pd.testing.assert_frame_equal(scores("a"), scores("b"))
    named = ("both.csv", "--label", "sick", "--domain", "ward=source", *SHORT, "--output", "c")
    assert run(*named) == 0
    assert summary("c")["n_labelled"] == 80


def test_no_fold_cuts_a_group(files, monkeypatch):
    frame = pd.read_csv("target.csv").assign(patient=np.arange(40) % 9)
    frame.to_csv("target.csv", index=False)
    pd.read_csv("source.csv").assign(patient=0).to_csv("source.csv", index=False)
    seen = []
    real = _compare.Plan.compare

    def watched(self, **settings):
        seen.append((self.groups, list(self.X)))
        return real(self, **settings)

    monkeypatch.setattr(_compare.Plan, "compare", watched)
    assert run(*BOTH, *SHORT, "--group", "patient") == 0
    ((groups, columns),) = seen
    assert groups.tolist() == [str(k % 9) for k in range(10, 40)]
    assert columns == ["x", "z", "place"]
    assert summary()["n_folds"] == 5


def test_a_class_may_be_named_for_a_metric_of_one_class(files):
    words = (*BOTH, *SHORT, "--metric", "f1")
    assert run(*words, "--positive", "no", "--output", "out") == 0
    assert set(scores("out").metric) == {"f1 of no"}
    data = read_tables(TableRequest("target.csv", "sick", "source.csv"))
    fold = spread_folds(data.y, 5, np.random.default_rng(0))
    model = make_pipeline(data.steps, data.model).fit(data.X_source, data.y_source)
    expected = [
        f1_score(data.y[fold == k], model.predict(data.X[fold == k]), pos_label="no")
        for k in range(5)
    ]
    found = scores("out")
    np.testing.assert_allclose(found[found.strategy == "source only"].score, expected)


@pytest.mark.parametrize("kind", ["zero and one", "booleans", "floats"])
def test_binary_metrics_work_on_numbered_classes(files, kind):
    for name in ("target", "source"):
        frame = pd.read_csv(f"{name}.csv").dropna()
        sick = frame.sick == "yes"
        frame["sick"] = sick if kind == "booleans" else sick.astype(int)
        if kind == "floats" and name == "target":
            frame.loc[frame.index[0], "sick"] = np.nan
        frame.to_csv(f"{name}.csv", index=False)
    assert run(*BOTH, *SHORT, "--metric", "f1") == 0
    assert scores().score.between(0, 1).all()


def test_regression_by_another_metric(files):
    for name in ("target", "source"):
        frame = pd.read_csv(f"{name}.csv")
        frame.assign(cost=frame.x * 2 + 0.1 * frame.z).drop(columns="sick").to_csv(
            f"{name}.csv", index=False
        )
    words = ("target.csv", "--label", "cost", "--source", "source.csv", *SHORT)
    assert run(*words, "--metric", "neg_mean_absolute_error") == 0
    found = scores()
    assert set(found.metric) == {"neg_mean_absolute_error"}
    assert found[found.strategy == "pooled"].score.mean() > -0.2


def test_without_a_source_only_the_baseline_is_compared(files, capsys):
    assert run(*LABELLED, "--quick") == 0
    assert set(scores().strategy) == {"no transfer"}
    assert "add --source SOURCE, or --domain COLUMN" in capsys.readouterr().out


def test_a_budget_keeps_the_cheap_strategies(files):
    assert run(*BOTH, "--strategies", "pooled", "CORAL", "--budget", "0.0001") == 0
    results = {s["name"]: s for s in summary()["strategies"]}
    assert results["no transfer"]["score"] is not None
    assert "budget" in results["CORAL"]["failure"]
    assert summary()["strategies"][-1]["name"] == "CORAL"  # what lacks folds is not ranked


@pytest.mark.parametrize("n_labels", [10])
def test_few_rows_are_compared_and_said_to_tell_nothing(files, n_labels, capsys):
    table(n_labels, 3, 0.5).to_csv("target.csv", index=False)
    assert run(*BOTH, *SHORT) == 0
    assert f"cannot be told from {n_labels} labels" in capsys.readouterr().out


def test_a_class_of_one_row_is_a_note_and_no_error(files):
    frame = table(30, 3, 0.5)
    frame.loc[4, "sick"] = "perhaps"
    frame.to_csv("target.csv", index=False)
    assert run(*BOTH, *SHORT) == 0
    notes = " ".join(summary()["notes"])
    assert "only target.csv has the labels 'perhaps'" in notes
    assert "have a single labelled sample" in notes


def test_rows_of_the_target_among_the_source_are_left_out_with_a_note(files):
    both = pd.concat([pd.read_csv("source.csv"), pd.read_csv("target.csv").dropna()[:7]])
    both.to_csv("source.csv", index=False)
    assert run(*BOTH, *SHORT) == 0
    content = summary()
    assert content["n_source"] == 80
    assert sum("7 source samples equal" in note for note in content["notes"]) == 1


def test_a_strategy_that_fails_is_reported_and_the_others_go_on(files, monkeypatch, capsys):
    def fail(*arguments, **keywords):
        raise ValueError("no covariance here. More words")

    monkeypatch.setattr(CORAL, "fit_transform", fail)
    monkeypatch.setattr(CORAL, "fit", fail)
    assert run(*BOTH, "--quick", "--strategies", "pooled", "CORAL") == 0
    assert scores().groupby("strategy").score.count()["pooled"] == 5
    assert "CORAL" in (output := capsys.readouterr().out)
    assert "no covariance here" in output


def test_columns_of_dates_and_many_texts_go_through_skrub(files):
    pytest.importorskip("skrub")
    days = pd.date_range("2020-01-01", periods=80)
    for name in ("target", "source"):
        frame = pd.read_csv(f"{name}.csv")
        frame["day"] = days[: len(frame)].strftime("%Y-%m-%d")
        frame["street"] = [f"{k % 50} high street" for k in range(len(frame))]
        frame.to_csv(f"{name}.csv", index=False)
    assert run(*BOTH, *SHORT) == 0
    assert "columns of dates, read by TableVectorizer of skrub: 'day'" in " ".join(
        summary()["notes"]
    )
    rows = pd.read_csv("target.csv")[:10]
    model = skltransfer.load("skltransfer-report/model.skops")
    found = pd.read_csv("skltransfer-report/predictions.csv")
    assert found.prediction.tolist() == model.predict(rows).tolist()


# --- a target without labels ---------------------------------------------------------------


def test_a_target_without_any_label_has_a_report_without_scores(files, capsys):
    frame = table(40, 0, 3.0)
    frame.drop(columns="sick").to_csv("target.csv", index=False)
    assert run(*BOTH, "--output", "out") == 0
    assert {path.name for path in (files / "out").iterdir()} == (
        WITH_SCORES - {"scores.csv"} | {"shift.csv", "predictions.csv"}
    )
    content = summary("out")
    assert content["auc"] > 0.9
    shifts = pd.read_csv("out/shift.csv").set_index("column")
    assert shifts.index[0] == "x" and shifts.distance["x"] > 0.7 > shifts.distance["z"]
    sizes = {size["method"]: size["size"] for size in content["sizes"]}
    assert sizes["KMM"] < 40 and set(sizes) >= {"KLIEP", "label shift"}
    data = read_tables(TableRequest("target.csv", "sick", "source.csv"))
    model = make_pipeline(data.steps, data.model).fit(data.X_source, data.y_source)
    found = pd.read_csv("out/predictions.csv")
    assert found.prediction.tolist() == model.predict(data.X_unlabelled).tolist()
    output = capsys.readouterr().out
    assert output.index("nothing can be scored") < output.index("effective samples")
    assert content["verdict"] in html.unescape((files / "out" / "report.html").read_text())


def test_options_that_need_labels_are_refused_without_any(files, capsys):
    table(40, 0).assign(sick=None).to_csv("target.csv", index=False)
    assert run(*BOTH, "--metric", "f1") == 2
    assert "--metric goes with a target that has labels" in capsys.readouterr().err


# --- bundled data --------------------------------------------------------------------------


def test_without_arguments_it_compares_on_bundled_data(drawn, folder, monkeypatch, capsys):
    plans = _bundled.bundled_plans(0)
    assert [len(plan.y) for plan in plans] == [30, 100]

    def reduced(seed):
        tumours, digits = _bundled.bundled_plans(seed)
        kept = ("no transfer", "pooled", "balanced")
        tumours.strategies = [s for s in tumours.strategies if s in kept]
        tumours.once = True
        digits.strategies = digits.strategies[:2]
        digits.learning_curve = [20]
        return [tumours, digits]

    monkeypatch.setattr(_compare, "bundled_plans", reduced)
    assert run() == 0
    content = summary()
    assert content["title"].startswith("Tumours")
    assert {s["name"] for s in content["strategies"]} == {
        *("no transfer", "pooled", "balanced", "mixture")
    }
    (digits,) = content["others"]
    assert {s["name"] for s in digits["strategies"]} == {"pixels", "linear probe"}
    assert set(digits["curve"]) == {"20", "80"}
    assert scores().comparison.nunique() == 2
    output = capsys.readouterr().out
    assert output.index(content["verdict"]) < output.index(digits["verdict"])
    model = skltransfer.load("skltransfer-report/model.skops")
    predictions = pd.read_csv("skltransfer-report/predictions.csv")
    assert len(predictions) == _bundled.N_UNLABELLED
    X = plans[0].X_unlabelled[plans[0].X.columns[::-1]]  # columns are taken by their names
    assert predictions.prediction.tolist() == model.predict(X).tolist()


# --- errors --------------------------------------------------------------------------------


def write(name, **columns):
    pd.DataFrame(columns).to_csv(name, index=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv", "--label", "y"], "there is no file 'none.csv'"),
        (["target.csv"], "--label is missing: which column of target.csv"),
        (
            ["target.csv", "--label", "sik"],
            "has no column 'sik'. Did you mean 'sick'.{2}It has 'x', 'z'",
        ),
        ([*LABELLED, "--metric", "acuracy"], "no such scorer. Did you mean 'accuracy'"),
        ([*LABELLED, "--source", "none.csv"], "there is no file 'none.csv'"),
        ([*LABELLED, "--source", "other.csv"], "'other.csv' has no column 'sick'"),
        ([*LABELLED, "--source", "apart.csv"], "no column in common"),
        ([*LABELLED, "--source", "wide.csv"], "other columns: only wide.csv has 'more'.*--align"),
        ([*LABELLED, "--output", "target.csv"], "--output target.csv: (File exists|Not a dir)"),
        ([*LABELLED, "--metric", "f1"], "Name it by --positive CLASS, or choose .* f1_macro"),
        ([*LABELLED, "--metric", "f1", "--positive", "yess"], "Did you mean 'yes'"),
        ([*LABELLED, "--positive", "yes"], "accuracy is the same for either class"),
        ([*LABELLED, "--task", "regression"], "are not numbers"),
        ([*LABELLED, "--drop", "zz"], "has no column 'zz' to drop. Did you mean 'z'"),
        ([*LABELLED, "--drop", "sick"], "--drop sick: this is the label"),
        ([*LABELLED, "--strategies", "poold"], "Did you mean 'pooled'"),
        ([*LABELLED, "--strategies", "pooled"], "'pooled' needs another domain. Add --source"),
        (["--label", "sick"], "--label goes with a file or folder of your own"),
        (["--quick"], "--quick goes with a file or folder of your own"),
        (["empty.csv", "--label", "sick"], "cannot be read: "),
        (["header.csv", "--label", "sick"], "has a header and no rows"),
        (["constant.csv", "--label", "sick"], "all labels in 'constant.csv' are 'yes'"),
        (["blank.csv", "--label", "sick"], "column 'sick' of 'blank.csv' is empty.*--source"),
        (["few.csv", "--label", "sick"], "has 4 labelled rows, and folds need at least 6"),
        (["names.csv", "--label", "sick"], "has 8 classes in 8 rows.*--task regression"),
        (["only.csv", "--label", "sick"], "no column besides the label"),
        (
            ["binary.csv", "--label", "sick"],
            "cannot be read: |not a text in UTF-8|has no column 'sick'",
        ),
        (["latin.csv", "--label", "sick"], "not a text in UTF-8 .* Save it as CSV in UTF-8"),
        (["twice.csv", "--label", "a"], "several columns named 'sick'. Rename"),
        (["number.csv", "--label", "sick", "--metric", "roc_auc"], "roc_auc is for classes"),
        (["number.csv", "--label", "sick", "--metric", "f1"], "f1 is for classes"),
        ([*LABELLED, "--metric", "r2"], "r2 is for numbers, and the labels"),
        ([*LABELLED, "--source", "digits.csv"], "no label is in both files"),
        ([*LABELLED, "--source", "spelled.csv"], "'no' and 'NO', 'yes' and 'YES'"),
        ([*LABELLED, "--output", "~nobody-of-that-name/x"], "--output"),
        ([*LABELLED, "--output", "taken"], "scores.csv is a folder"),
    ],
)
def test_errors_are_one_line_without_traceback_and_nothing_is_written(
    files, capsys, arguments, message
):
    write_odd_files(files)
    before = sorted(files.rglob("*"))
    assert run(*arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("skltransfer: error: ")
    assert re.search(message, error), error
    report = files / "skltransfer-report"
    assert not report.exists() or not list(report.iterdir())
    assert [path for path in sorted(files.rglob("*")) if path != report] == before


def write_odd_files(folder):
    write("other.csv", x=[1, 2], y=[1, 2])
    write("apart.csv", u=[1, 2] * 5, sick=["yes", "no"] * 5)
    write("constant.csv", x=range(9), sick=["yes"] * 9)
    write("blank.csv", x=range(9), sick=[None] * 9)
    write("few.csv", x=range(4), sick=["yes", "no"] * 2)
    write("names.csv", x=range(8), sick=list("abcdefgh"))
    write("only.csv", sick=["yes", "no"] * 5)
    table(60, 1, more=1).to_csv("wide.csv", index=False)
    number = table(60, 0)
    number.assign(sick=number.x).to_csv("number.csv", index=False)
    table(60, 1).replace({"yes": 1, "no": 0}).to_csv("digits.csv", index=False)
    table(60, 1).replace({"yes": "YES", "no": "NO"}).to_csv("spelled.csv", index=False)
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("x,sick\n")
    (folder / "binary.csv").write_bytes(bytes(range(256)) * 4)
    (folder / "twice.csv").write_text("a,b,sick, sick\n" + "1,2,yes,no\n" * 20)
    (folder / "latin.csv").write_bytes("größe,sick\n1,ja\n".encode("latin-1") * 2)
    (folder / "taken" / "scores.csv").mkdir(parents=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "-1"], "not a whole number"),
        (["--jobs", "0"], "not a whole number of at least 1"),
        (["--budget", "nan"], "not a number of minutes above 0"),
        (["--json", "--quiet"], "not allowed with"),
    ],
)
def test_options_that_are_none(folder, capsys, words, message):
    with pytest.raises(SystemExit):
        run(*words)
    assert message in capsys.readouterr().err


def test_an_interruption_leaves_nothing_half_written(files, capsys, monkeypatch):
    def interrupt(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(_compare, "draw_comparison", interrupt)
    assert run(*BOTH, *SHORT) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list((files / "skltransfer-report").iterdir())


def test_a_failing_write_keeps_the_old_file(tmp_path):
    from skltransfer._files import write_whole

    path = tmp_path / "scores.csv"
    path.write_text("old")

    with pytest.raises(OSError, match="disk full"), write_whole(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_extra_names_the_command_that_installs_it(files, capsys, monkeypatch):
    for module in ("pandas", "matplotlib", "jinja2"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            assert run(*LABELLED) == 2
        assert f"needs {module}" in (error := capsys.readouterr().err)
        assert 'pip install "skltransfer[cli]"' in error


def test_help_and_version_need_no_torch(tmp_path):
    for arguments in (["--help"], ["compare", "--help"], ["predict", "--help"], ["--version"], []):
        code = (
            "import sys\nfrom skltransfer.cli import main\n"
            f"try: main({arguments})\nexcept SystemExit as e: assert e.code == 0\n"
            "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)


# --- odd files and surroundings ------------------------------------------------------------


def test_markup_in_names_is_text(drawn, files, capsys):
    """Square brackets are not styles, dollar signs not formulas."""
    frame = table(60, 0, 0.5).rename(columns={"z": "glucose [mg/dl]", "x": "[/bold] $x$"})
    frame.assign(**{"pulse [/min]": 1.0}).to_csv("data[old] $a_$.csv", index=False)
    table(80, 1).rename(columns={"z": "glucose [mg/dl]", "x": "[/bold] $x$"}).to_csv(
        "source.csv", index=False
    )
    words = ("data[old] $a_$.csv", "--label", "sick", "--source", "source.csv", "--align-columns")
    assert run(*words, *SHORT) == 0
    printed = capsys.readouterr().out
    assert "data[old] $a_$.csv" in printed
    assert "pulse [/min]" in printed


@pytest.mark.parametrize("kind", ["closed", "full", "ascii"])
def test_the_report_is_written_whatever_becomes_of_the_output(files, kind):
    words = "compare target.csv --label sick --quick --output out".split()
    command = [sys.executable, "-m", "skltransfer", *words]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"} if kind == "ascii" else None
    if kind == "full" and not os.path.exists("/dev/full"):
        pytest.skip("needs a device that is always full")
    with (
        open("/dev/full" if kind == "full" else os.devnull, "wb", buffering=0) as device,
        subprocess.Popen(
            command,
            stdout=device if kind == "full" else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        ) as process,
    ):
        if kind == "closed":
            process.stdout.close()
        error = process.stderr.read()
    assert "Traceback" not in error
    assert process.returncode == {"closed": 141, "full": 1, "ascii": 0}[kind]
    assert set(os.listdir("out")) == WITH_SCORES | {"predictions.csv"} < set(FILES)


# --- how tables are read -------------------------------------------------------------------


def test_a_class_that_one_domain_lacks(files):
    for name, n_classes in (("target", 2), ("source", 3)):
        frame = pd.read_csv(f"{name}.csv")
        frame["sick"] = np.arange(len(frame)) % n_classes
        frame.to_csv(f"{name}.csv", index=False)
    assert run(*BOTH, *SHORT) == 0
    assert scores().score.notna().all()


def test_numbers_with_decimal_commas(folder):
    frame = table(80, 0, 0.5)
    frame.to_csv("points.csv", index=False)
    frame.to_csv("commas.csv", index=False, sep=";", decimal=",")
    points, commas = (read_tables(TableRequest(f"{n}.csv", "sick")) for n in ("points", "commas"))
    pd.testing.assert_frame_equal(points.X, commas.X)
    number = frame.assign(sick=frame.x + 0.25)
    number.to_csv("number.csv", index=False, sep=";", decimal=",")
    assert not read_tables(TableRequest("number.csv", "sick")).is_classification


def test_a_header_with_commas_in_quotes(folder):
    frame = table(60, 0).rename(columns={"x": "a,b,c,d"})
    text = frame.to_csv(index=False, sep=";").replace("a,b,c,d", '"a,b,c,d"', 1)
    (folder / "quoted.csv").write_text(text)
    assert "a,b,c,d" in read_tables(TableRequest("quoted.csv", "sick")).X.columns


def test_columns_that_are_numbers_in_one_file_and_texts_in_the_other(folder):
    target, source = table(60, 0, code=1.0), table(100, 1, code="1")
    source.loc[0, "code"] = "b"
    target.loc[3, "code"] = None
    target.to_csv("target.csv", index=False)
    source.to_csv("source.csv", index=False)
    task = read_tables(TableRequest("target.csv", "sick", "source.csv"))
    assert set(task.X.code.dropna()) == {"1"}
    assert set(task.X_source.code) == {"1", "b"}


def test_yes_and_no_with_empty_cells(folder):
    frame = table(60, 0)
    frame["flag"] = [True, False, None] * 20
    frame.to_csv("target.csv", index=False)
    flag = read_tables(TableRequest("target.csv", "sick")).X.flag
    assert flag.dtype == float
    assert flag.isna().sum() == 20


def test_a_column_without_a_name_is_left_out(folder):
    table(60, 0).to_csv("target.csv")  # with its index
    task = read_tables(TableRequest("target.csv", "sick"))
    assert list(task.X.columns) == ["x", "z", "place"]
    assert "have no name and are left out" in task.notes[0]


def test_classes_that_only_one_file_has_are_noted(folder):
    table(60, 0, 0.5).to_csv("target.csv", index=False)
    source = table(100, 1)
    source.loc[:9, "sick"] = "perhaps"
    source.to_csv("source.csv", index=False)
    notes = read_tables(TableRequest("target.csv", "sick", "source.csv")).notes
    assert notes == ("only source.csv has the labels 'perhaps'",)


def test_codes_with_commas_beside_decimal_points_stay_codes(folder):
    frame = table(60, 0, code=["1,2", "2,1", "1,3"] * 20)
    frame.to_csv("codes.csv", index=False, sep=";")
    X = read_tables(TableRequest("codes.csv", "sick")).X
    assert X.x.dtype == float
    assert set(X.code) == {"1,2", "2,1", "1,3"}


def test_a_column_may_be_called_unnamed(folder):
    table(60, 0).rename(columns={"z": "Unnamed: 0"}).to_csv("target.csv", index=False)
    assert "Unnamed: 0" in read_tables(TableRequest("target.csv", "sick")).X.columns
