"""The command line: what it prints and writes, and every error it raises."""

import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import KFold, RepeatedStratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import CORAL, GaussianReweighter
from skltransfer.cli import _compare, _few_labels, _report, main
from skltransfer.cli._table_data import read_tables
from skltransfer.datasets import load_biased_breast_cancer
from skltransfer.model_selection import table_strategies
from tests.cli.sizes import set_sizes


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


FEW = {"no transfer", "source only", "pooled", "Gaussian", "CORAL", "network, no transfer"}


@pytest.fixture(autouse=True)
def _few_strategies(monkeypatch):
    """Fit a part of the menu: what a table goes through is the same for all."""

    def few(*arguments):
        return [strategy for strategy in table_strategies(*arguments) if strategy.name in FEW]

    monkeypatch.setattr(_compare, "table_strategies", few)
    set_sizes(monkeypatch, N_EPOCHS=2, N_ITERATIONS=5)


@pytest.fixture
def few_digits(monkeypatch):
    X, y = load_digits(return_X_y=True)
    monkeypatch.setattr(_few_labels, "load_digits", lambda return_X_y: (X[:300], y[:300]))


@pytest.fixture
def every_strategy(_few_strategies, monkeypatch):
    monkeypatch.setattr(_compare, "table_strategies", table_strategies)


def table(n, seed, shift=0.0, **columns):
    rng = np.random.default_rng(seed)
    x = rng.normal(shift, 1, n)
    frame = pd.DataFrame({"x": x, "z": rng.normal(size=n), "place": rng.choice(["a", "b", "c"], n)})
    frame["sick"] = np.where(x + 0.5 * rng.normal(size=n) > 0, "yes", "no")
    return frame.assign(**columns)


@pytest.fixture
def files(folder):
    table(60, 0, 0.5).to_csv("target.csv", index=False)
    table(200, 1).to_csv("source.csv", index=False)
    return folder


def run(*arguments):
    return main(["compare", *arguments])


# --- bundled data ------------------------------------------------------------------------------


def test_without_arguments_it_compares_on_bundled_data(
    every_strategy, few_digits, folder, monkeypatch, capsys
):
    set_sizes(monkeypatch, N_DRAWS=2, N_CANCER_DRAWS=3)
    set_sizes(monkeypatch, LABELS_PER_CLASS=(1, 5), TRAINED_LABELS_PER_CLASS=(1,))
    assert run() == 0
    output = capsys.readouterr().out
    scores = pd.read_csv("skltransfer-report/scores.csv")
    digits, tumours = (scores[scores.task == name] for name in ("digits", "tumours"))
    assert len(digits) == 3 * 2 * 2 + 4 * 2
    assert len(tumours) == 26 * 3
    assert set(digits[digits.setting == 5].strategy) == {
        "pixels",
        "linear probe",
        "linear probe, random",
    }
    assert set(digits[digits.setting == 1].strategy) == {
        "pixels",
        "linear probe",
        "fine-tuned",
        "L2-SP",
        "linear probe, random",
        "fine-tuned, random",
        "L2-SP, random",
    }
    assert set(tumours.strategy) == {s.name for s in table_strategies("classification")}
    assert {"KMM", "label shift", "TrAdaBoost", "selected rows"} < set(tumours.strategy)
    assert {"CORAL", "TCA", "JDA", "optimal transport"} < set(tumours.strategy)
    assert scores.score.between(0, 1).all()
    assert (scores.seconds >= 0).all()
    mean = digits[(digits.strategy == "pixels") & (digits.setting == 5)].score.mean()
    assert f"{100 * mean:.1f} ±" in output
    assert "labels per class" in output
    assert re.search(
        r"TrAdaBoost came with a warning in \d of 3 fits \(TrAdaBoostClassifier stops after one",
        " ".join(output.split()),
    )
    picture = (folder / "skltransfer-report" / "comparison.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
    assert sorted(p.name for p in (folder / "skltransfer-report").iterdir()) == [
        "comparison.png",
        "scores.csv",
    ]


def test_draws_are_paired_and_follow_the_seed(few_digits, folder, monkeypatch):
    set_sizes(monkeypatch, N_TRAINED_DRAWS=1, N_DRAWS=2, N_CANCER_DRAWS=2, LABELS_PER_CLASS=(1,))
    results = []
    for seed in ("0", "0", "1"):
        assert run("--seed", seed, "--output", f"out-{len(results)}") == 0
        results.append(pd.read_csv(f"out-{len(results)}/scores.csv").drop(columns="seconds"))
    assert results[0].equals(results[1])
    assert not results[0].equals(results[2])


def test_networks_are_trained_on_fewer_draws_and_paired_on_these(
    few_digits, folder, monkeypatch, capsys
):
    set_sizes(monkeypatch, N_DRAWS=3, N_TRAINED_DRAWS=2, N_CANCER_DRAWS=2)
    set_sizes(monkeypatch, LABELS_PER_CLASS=(1,), TRAINED_LABELS_PER_CLASS=(1,))
    assert run() == 0
    scores = pd.read_csv("skltransfer-report/scores.csv")
    by_draw = scores[scores.task == "digits"].pivot(
        index="draw", columns="strategy", values="score"
    )
    assert by_draw["pixels"].count() == 3
    assert by_draw["fine-tuned"].dropna().index.tolist() == [0, 1]
    gain = (by_draw["fine-tuned"] - by_draw["pixels"]).dropna().mean()
    mean = by_draw["fine-tuned"].mean()
    row = next(r for r in capsys.readouterr().out.splitlines() if "fine-tuned" in r)
    assert f"{100 * mean:.1f} ±" in row
    assert f"{100 * gain:+.1f} ±" in row


def test_scores_on_bundled_data_are_those_computed_by_hand(folder, monkeypatch):
    """Test rows are apart from all that may be trained on, and unknown labels stay unknown."""
    set_sizes(monkeypatch, N_DRAWS=1, N_CANCER_DRAWS=1, TRAINED_LABELS_PER_CLASS=())
    assert run("--seed", "3") == 0
    scores = pd.read_csv("skltransfer-report/scores.csv").set_index(["strategy", "setting"]).score
    rng = np.random.default_rng([3, 0])
    X, y = load_digits(return_X_y=True)
    orders = [rng.permutation(np.flatnonzero(y == label)) for label in range(10)]
    train = np.concatenate([order[:5] for order in orders])
    test = np.concatenate([order[20:] for order in orders])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    expected = model.fit(X[train] / 16, y[train]).score(X[test] / 16, y[test])
    np.testing.assert_allclose(scores["pixels", 5.0], expected, atol=0.004)
    data = load_biased_breast_cancer(
        random_state=int(np.random.default_rng([3, 0]).integers(2**31))
    )
    X, y = data.X_target, data.y_target
    expected = model.fit(X[:10], y[:10]).score(X[110:], y[110:])
    tumours = scores[scores.index.get_level_values("setting").isna()].droplevel("setting")
    assert tumours["no transfer"] == expected
    scaler = StandardScaler().fit(data.X_source)
    rows = scaler.transform(np.vstack([data.X_source, X[:10]]))
    pooled = LogisticRegression(max_iter=1000).fit(rows, np.concatenate([data.y_source, y[:10]]))
    assert tumours["pooled"] == pooled.score(scaler.transform(X[110:]), y[110:])


# --- a user's tables -------------------------------------------------------------------


def test_a_users_table_is_scored_on_folds_of_the_target(files, capsys):
    assert run("target.csv", "--label", "sick", "--source", "source.csv", "--output", "out") == 0
    scores = pd.read_csv("out/scores.csv")
    assert len(scores) == len(FEW) * 10
    task = read_tables("target.csv", "sick", None, None)
    expected = cross_val_score(
        make_pipeline(task.steps, LogisticRegression(max_iter=2000)),
        task.X,
        task.y,
        cv=RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0),
    )
    np.testing.assert_allclose(scores[scores.strategy == "no transfer"].score, expected)
    output = capsys.readouterr().out
    assert "LogisticRegression on 60 target rows, 200 source rows" in output
    assert "against no transfer" in output


def test_source_only_is_the_model_of_the_source(files):
    task = read_tables("target.csv", "sick", "source.csv", None)
    assert run("target.csv", "--label", "sick", "--source", "source.csv", "--output", "out") == 0
    scores = pd.read_csv("out/scores.csv")
    model = task.steps.fit(task.X_source)
    inner = LogisticRegression(max_iter=2000).fit(model.transform(task.X_source), task.y_source)
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0)
    expected = [
        accuracy_score(task.y[test], inner.predict(model.transform(task.X.iloc[test])))
        for _, test in folds.split(task.X, task.y)
    ]
    np.testing.assert_allclose(scores[scores.strategy == "source only"].score, expected)


def test_an_aligner_maps_the_source_and_pools_the_labelled_rows_of_both(files):
    assert run("target.csv", "--label", "sick", "--source", "source.csv", "--output", "out") == 0
    scores = pd.read_csv("out/scores.csv")
    task = read_tables("target.csv", "sick", "source.csv", None)
    steps = task.steps.fit(task.X_source)
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=2, random_state=0)
    expected = []
    for train, test in folds.split(task.X, task.y):
        target = steps.transform(task.X.iloc[train])
        source = CORAL().fit_transform(steps.transform(task.X_source), X_target=target)
        model = LogisticRegression(max_iter=2000)
        model.fit(np.vstack([source, target]), np.concatenate([task.y_source, task.y[train]]))
        expected.append(model.score(steps.transform(task.X.iloc[test]), task.y[test]))
    np.testing.assert_allclose(scores[scores.strategy == "CORAL"].score, expected)


def test_a_strategy_whose_module_is_missing_is_left_out_with_a_note(files, monkeypatch, capsys):
    transport = [s for s in table_strategies() if s.name in ("no transfer", "optimal transport")]
    monkeypatch.setattr(_compare, "table_strategies", lambda *arguments: transport)
    monkeypatch.setitem(sys.modules, "ot", None)
    assert run("target.csv", "--label", "sick", "--source", "source.csv") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert 'Note: optimal transport is left out: it needs pip install "skltransfer[ot]"' in output


def test_without_a_source_only_the_baseline_is_scored(files, capsys):
    assert run("target.csv", "--label", "sick") == 0
    assert set(pd.read_csv("skltransfer-report/scores.csv").strategy) == {
        "no transfer",
        "network, no transfer",
    }
    assert "Add --source SOURCE.csv" in capsys.readouterr().out


def test_regression(every_strategy, files, monkeypatch):
    monkeypatch.setattr(_compare, "RepeatedKFold", lambda **settings: KFold(2))
    for name in ("target", "source"):
        frame = pd.read_csv(f"{name}.csv")
        frame.assign(cost=frame.x * 2 + 0.1 * frame.z).drop(columns="sick").to_csv(
            f"{name}.csv", index=False
        )
    arguments = ("target.csv", "--label", "cost", "--source", "source.csv", "--output", "out")
    assert run(*arguments, "--metric", "neg_mean_absolute_error") == 0
    scores = pd.read_csv("out/scores.csv")
    assert set(scores.metric) == {"neg_mean_absolute_error"}
    assert (scores.score <= 0).all()
    assert scores[scores.strategy == "pooled"].score.mean() > -0.1


def test_missing_values_semicolons_new_categories_and_other_columns(files, capsys):
    target, source = pd.read_csv("target.csv"), pd.read_csv("source.csv")
    target.loc[::7, "x"] = np.nan
    target.loc[::5, "place"] = None
    target.loc[:3, "sick"] = None
    target["note"] = "hello"
    source["place"] = source["place"].replace("c", "d")
    source["z"] = source["z"].astype(str) + " cm"  # numbers here, texts there
    target.to_csv("target.csv", index=False, sep=";")
    source.to_csv("source.csv", index=False)
    assert run("target.csv", "--label", "sick", "--source", "source.csv") == 0
    output = capsys.readouterr()
    notes = output.out + output.err
    assert "4 rows of target.csv have no label and are left out" in notes
    assert "only target.csv has 'note': left out" in notes


@pytest.mark.parametrize("kind", ["zero and one", "booleans", "floats"])
def test_binary_metrics_work_on_numbered_classes(files, kind):
    for name in ("target", "source"):
        frame = pd.read_csv(f"{name}.csv")
        sick = frame.sick == "yes"
        frame["sick"] = sick if kind == "booleans" else sick.astype(int)
        if kind == "floats" and name == "target":
            frame.loc[0, "sick"] = np.nan
        frame.to_csv(f"{name}.csv", index=False)
    assert run("target.csv", "--label", "sick", "--source", "source.csv", "--metric", "f1") == 0
    scores = pd.read_csv("skltransfer-report/scores.csv")
    assert scores.score.between(0, 1).all()
    assert f1_score([1, 0], [1, 0]) == 1


def test_a_class_that_one_domain_lacks(files):
    for name, n_classes in (("target", 2), ("source", 3)):
        frame = pd.read_csv(f"{name}.csv")
        frame["sick"] = np.arange(len(frame)) % n_classes
        frame.to_csv(f"{name}.csv", index=False)
    assert run("target.csv", "--label", "sick", "--source", "source.csv") == 0
    assert pd.read_csv("skltransfer-report/scores.csv").score.notna().all()


# --- errors ----------------------------------------------------------------------------


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
        (
            ["target.csv", "--label", "sick", "--metric", "acuracy"],
            "no such scorer. Did you mean 'accuracy'",
        ),
        (["target.csv", "--label", "sick", "--source", "none.csv"], "there is no file 'none.csv'"),
        (
            ["target.csv", "--label", "sick", "--source", "other.csv"],
            "'other.csv' has no column 'sick'",
        ),
        (["target.csv", "--label", "sick", "--source", "apart.csv"], "no column in common"),
        (
            ["target.csv", "--label", "sick", "--output", "target.csv"],
            "--output target.csv: File exists",
        ),
        (["target.csv", "--label", "sick", "--metric", "f1"], "Write the classes as 0 and 1"),
        (["target.csv", "--label", "sick", "--task", "regression"], "are not numbers"),
        (["--label", "sick"], "--label goes with a file or folder of your own"),
        (["empty.csv", "--label", "sick"], "cannot be read: "),
        (["header.csv", "--label", "sick"], "has a header and no rows"),
        (["constant.csv", "--label", "sick"], "all labels in 'constant.csv' are 'yes'"),
        (["blank.csv", "--label", "sick"], "column 'sick' of 'blank.csv' is empty"),
        (["single.csv", "--label", "sick"], "class 'maybe' has a single row"),
        (["few.csv", "--label", "sick"], "has 4 labelled rows, and folds need at least 6"),
        (["names.csv", "--label", "sick"], "has 8 classes in 8 rows.*--task regression"),
        (["only.csv", "--label", "sick"], "no column besides the label"),
        (
            ["binary.csv", "--label", "sick"],
            "cannot be read: |not a text in UTF-8|has no column 'sick'",
        ),
    ],
)
def test_errors_are_one_line_without_traceback_and_nothing_is_written(
    files, capsys, arguments, message
):
    import re

    write("other.csv", x=[1, 2], y=[1, 2])
    write("apart.csv", u=[1, 2] * 5, sick=["yes", "no"] * 5)
    write("constant.csv", x=range(9), sick=["yes"] * 9)
    write("blank.csv", x=range(9), sick=[None] * 9)
    write("single.csv", x=range(9), sick=["yes", "no"] * 4 + ["maybe"])
    write("few.csv", x=range(4), sick=["yes", "no"] * 2)
    write("names.csv", x=range(8), sick=list("abcdefgh"))
    write("only.csv", sick=["yes", "no"] * 5)
    (files / "empty.csv").write_text("")
    (files / "header.csv").write_text("x,sick\n")
    (files / "binary.csv").write_bytes(bytes(range(256)) * 4)
    assert run(*arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("skltransfer: error: ")
    assert re.search(message, error), error
    report = files / "skltransfer-report"
    assert not report.exists() or not list(report.iterdir())


def test_an_interruption_leaves_nothing_half_written(files, capsys, monkeypatch):
    def interrupt(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(GaussianReweighter, "fit", interrupt)
    assert run("target.csv", "--label", "sick", "--source", "source.csv") == 130
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
    for module in ("pandas", "matplotlib"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            assert run("target.csv", "--label", "sick") == 2
        assert f"needs {module}" in (error := capsys.readouterr().err)
        assert 'pip install "skltransfer[cli]"' in error


def test_help_and_version_need_no_torch(tmp_path):
    for arguments in (["--help"], ["compare", "--help"], ["--version"], []):
        code = (
            "import sys\nfrom skltransfer.cli import main\n"
            f"try: main({arguments})\nexcept SystemExit as e: assert e.code == 0\n"
            "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)


# --- odd files -------------------------------------------------------------------------


def test_markup_in_names_is_text(files, capsys):
    """Square brackets are not styles, dollar signs not formulas."""
    frame = table(60, 0, 0.5).rename(columns={"z": "glucose [mg/dl]", "x": "[/bold] $x$"})
    frame.assign(**{"pulse [/min]": 1.0}).to_csv("data[old] $a_$.csv", index=False)
    table(200, 1).rename(columns={"z": "glucose [mg/dl]", "x": "[/bold] $x$"}).to_csv(
        "source.csv", index=False
    )
    assert run("data[old] $a_$.csv", "--label", "sick", "--source", "source.csv") == 0
    printed = capsys.readouterr()
    assert "data[old] $a_$.csv" in printed.out
    assert "pulse [/min]" in printed.err


def test_numbers_with_decimal_commas(folder):
    frame = table(80, 0, 0.5)
    frame.to_csv("points.csv", index=False)
    frame.to_csv("commas.csv", index=False, sep=";", decimal=",")
    scores = []
    for name in ("points", "commas"):
        assert run(f"{name}.csv", "--label", "sick", "--output", name) == 0
        scores.append(pd.read_csv(f"{name}/scores.csv").score)
    assert scores[0].equals(scores[1])
    number = frame.assign(sick=frame.x + 0.25)
    number.to_csv("number.csv", index=False, sep=";", decimal=",")
    assert not read_tables("number.csv", "sick", None, None).is_classification


def test_a_header_with_commas_in_quotes(folder):
    frame = table(60, 0).rename(columns={"x": "a,b,c,d"})
    text = frame.to_csv(index=False, sep=";").replace("a,b,c,d", '"a,b,c,d"', 1)
    (folder / "quoted.csv").write_text(text)
    assert "a,b,c,d" in read_tables("quoted.csv", "sick", None, None).X.columns


def test_columns_that_are_numbers_in_one_file_and_texts_in_the_other(folder):
    target, source = table(60, 0, code=1.0), table(100, 1, code="1")
    source.loc[0, "code"] = "b"
    target.loc[3, "code"] = None
    target.to_csv("target.csv", index=False)
    source.to_csv("source.csv", index=False)
    task = read_tables("target.csv", "sick", "source.csv", None)
    assert set(task.X.code.dropna()) == {"1"}
    assert set(task.X_source.code) == {"1", "b"}
    assert run("target.csv", "--label", "sick", "--source", "source.csv") == 0


def test_yes_and_no_with_empty_cells(folder):
    frame = table(60, 0)
    frame["flag"] = [True, False, None] * 20
    frame.to_csv("target.csv", index=False)
    flag = read_tables("target.csv", "sick", None, None).X.flag
    assert flag.dtype == float
    assert flag.isna().sum() == 20
    assert run("target.csv", "--label", "sick") == 0


def test_a_column_without_a_name_is_left_out(folder, capsys):
    table(60, 0).to_csv("target.csv")  # with its index
    task = read_tables("target.csv", "sick", None, None)
    assert list(task.X.columns) == ["x", "z", "place"]
    assert "have no name and are left out" in task.notes[0]


def test_classes_that_only_one_file_has_are_noted(folder):
    table(60, 0, 0.5).to_csv("target.csv", index=False)
    source = table(100, 1)
    source.loc[:9, "sick"] = "perhaps"
    source.to_csv("source.csv", index=False)
    notes = read_tables("target.csv", "sick", "source.csv", None).notes
    assert notes == ("only source.csv has the labels 'perhaps'",)


def write_odd_files():
    table(60, 0).to_csv("target.csv", index=False)
    number = table(60, 0)
    number.assign(sick=number.x).to_csv("number.csv", index=False)
    table(60, 1).replace({"yes": 1, "no": 0}).to_csv("digits.csv", index=False)
    with open("twice.csv", "w") as file:
        file.write("a,b,sick, sick\n" + "1,2,yes,no\n" * 20)
    with open("latin.csv", "wb") as file:
        file.write("größe,sick\n1,ja\n".encode("latin-1") * 2)
    table(3, 0).to_csv("few.csv", index=False)


@pytest.mark.parametrize(
    "arguments, match",
    [
        (["twice.csv", "--label", "a"], "several columns named 'sick'. Rename"),
        (["latin.csv", "--label", "sick"], "not a text in UTF-8 .* Save it as CSV in UTF-8"),
        (["few.csv", "--label", "sick"], "3 labelled rows, and folds need at least 6"),
        (["number.csv", "--label", "sick", "--metric", "roc_auc"], "roc_auc is for classes"),
        (["number.csv", "--label", "sick", "--metric", "neg_log_loss"], "is for classes"),
        (["number.csv", "--label", "sick", "--metric", "f1"], "f1 is for classes"),
        (["target.csv", "--label", "sick", "--metric", "r2"], "r2 is for numbers, and the labels"),
        (["target.csv", "--label", "sick", "--source", "digits.csv"], "no label is in both files"),
        (["target.csv", "--label", "sick", "--output", "~nobody-of-that-name/x"], "--output"),
        (["target.csv", "--label", "sick", "--output", "taken"], "scores.csv is a folder"),
    ],
)
def test_errors_of_odd_files(folder, capsys, arguments, match):
    write_odd_files()
    (folder / "taken" / "scores.csv").mkdir(parents=True)
    before = sorted(folder.rglob("*"))
    assert run(*arguments) == 2
    message = capsys.readouterr().err
    assert re.search(match, message), message
    assert message.count("\n") == 1
    assert ".." not in message.replace("...", "")
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("seed", ["-1", "99999999999", "a"])
def test_seeds_that_are_none(folder, capsys, seed):
    with pytest.raises(SystemExit):
        run("--seed", seed)
    assert "not a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["closed", "full", "ascii"])
def test_the_report_is_written_whatever_becomes_of_the_output(files, kind):
    words = "compare target.csv --label sick --output out".split()
    command = [sys.executable, "-m", "skltransfer.cli", *words]
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
    assert sorted(os.listdir("out")) == ["comparison.png", "scores.csv"]


def test_codes_with_commas_beside_decimal_points_stay_codes(folder):
    frame = table(60, 0, code=["1,2", "2,1", "1,3"] * 20)
    frame.to_csv("codes.csv", index=False, sep=";")
    X = read_tables("codes.csv", "sick", None, None).X
    assert X.x.dtype == float
    assert set(X.code) == {"1,2", "2,1", "1,3"}


def test_a_column_may_be_called_unnamed(folder):
    table(60, 0).rename(columns={"z": "Unnamed: 0"}).to_csv("target.csv", index=False)
    assert "Unnamed: 0" in read_tables("target.csv", "sick", None, None).X.columns


# --- strategies that fail or collapse --------------------------------------------------


def test_a_strategy_that_fails_is_a_note_and_the_others_go_on(files, monkeypatch, capsys):
    def fail(*arguments, **keywords):
        raise ValueError("no ratio here. More words")

    monkeypatch.setattr(GaussianReweighter, "fit", fail)
    assert run("target.csv", "--label", "sick", "--source", "source.csv", "--output", "out") == 0
    scores = pd.read_csv("out/scores.csv")
    assert "Gaussian" not in set(scores.strategy)
    assert "CORAL" in set(scores.strategy)
    output = " ".join(capsys.readouterr().out.split())
    assert "Note: Gaussian could not be fitted in 10 of 10 fits (no ratio here" in output


def test_a_collapse_is_a_note(files, capsys):
    far = table(60, 0).assign(z=lambda frame: frame.z + 8)  # from nearly all of the source
    far.to_csv("target.csv", index=False)
    assert run("target.csv", "--label", "sick", "--source", "source.csv", "--output", "out") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert (
        "Note: Gaussian left hardly any effective source rows, or of a class, in 10 of 10 fits."
        in output
    )


def test_the_verdict_names_the_baseline_and_the_pool():
    rng = np.random.default_rng(0)
    base = rng.normal(0.7, 0.05, 20)
    gains = {"no transfer": 0.0, "pooled": 0.1, "good": 0.2, "bad": 0.0, "same": 0.1}
    scores = pd.DataFrame(
        {"setting": "", "strategy": name, "draw": draw, "score": value + gain, "seconds": 0.0}
        for name, gain in gains.items()
        for draw, value in enumerate(base + 1e-3 * rng.normal(size=20))
    )
    task = _compare.Comparison("t", "t", "", "accuracy", list(gains), scores)
    first, second, third = _report.verdict(task, _report.summarize(task)).splitlines()
    assert first.startswith("Better than no transfer: pooled (+10.")
    assert "good (+" in first and "bad" not in first
    assert second.startswith("Better than pooled: good (+")
    assert third.startswith("Worse than pooled: no transfer (-") and "bad (-" in third
    few = scores[scores.strategy.isin(["no transfer", "bad"])]
    alone = _compare.Comparison("t", "t", "", "accuracy", ["no transfer", "bad"], few)
    words = _report.verdict(alone, _report.summarize(alone))
    assert words == "No strategy differs from no transfer beyond chance."
