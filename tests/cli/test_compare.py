"""The command line: what it prints and writes, and every error it raises."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score

from skltransfer.cli import _compare, main
from skltransfer.cli._tables import read_task


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


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


def test_without_arguments_it_compares_on_bundled_data(folder, monkeypatch, capsys):
    monkeypatch.setattr(_compare, "N_DIGIT_DRAWS", 2)
    monkeypatch.setattr(_compare, "N_CANCER_DRAWS", 3)
    monkeypatch.setattr(_compare, "LABELS_PER_CLASS", (1, 5))
    assert run() == 0
    output = capsys.readouterr().out
    scores = pd.read_csv("skltransfer-report/scores.csv")
    digits, tumours = (scores[scores.task == name] for name in ("digits", "tumours"))
    assert len(digits) == 3 * 2 * 2
    assert len(tumours) == 5 * 3
    assert set(digits.strategy) == {"pixels", "tiny", "tiny, random"}
    assert set(tumours.strategy) == {
        "no transfer",
        "source only",
        "pooled",
        "KMM",
        "KMM without target labels",
    }
    assert scores.score.between(0, 1).all()
    assert (scores.seconds >= 0).all()
    mean = digits[(digits.strategy == "pixels") & (digits.setting == 5)].score.mean()
    assert f"{100 * mean:.1f} ±" in output
    assert "labels per class" in output
    picture = (folder / "skltransfer-report" / "comparison.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
    assert sorted(p.name for p in (folder / "skltransfer-report").iterdir()) == [
        "comparison.png",
        "scores.csv",
    ]


def test_draws_are_paired_and_follow_the_seed(folder, monkeypatch):
    monkeypatch.setattr(_compare, "N_DIGIT_DRAWS", 2)
    monkeypatch.setattr(_compare, "N_CANCER_DRAWS", 2)
    monkeypatch.setattr(_compare, "LABELS_PER_CLASS", (1,))
    results = []
    for seed in ("0", "0", "1"):
        assert run("--seed", seed, "--output", f"out-{len(results)}") == 0
        results.append(pd.read_csv(f"out-{len(results)}/scores.csv").drop(columns="seconds"))
    assert results[0].equals(results[1])
    assert not results[0].equals(results[2])


# --- a user's tables -------------------------------------------------------------------


def test_a_users_table_is_scored_on_folds_of_the_target(files, capsys):
    assert run("target.csv", "--label", "sick", "--source", "source.csv", "--output", "out") == 0
    scores = pd.read_csv("out/scores.csv")
    assert len(scores) == 5 * 10
    task = read_task("target.csv", "sick", None, None)
    from sklearn.pipeline import make_pipeline

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
    task = read_task("target.csv", "sick", "source.csv", None)
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


def test_without_a_source_only_the_baseline_is_scored(files, capsys):
    assert run("target.csv", "--label", "sick") == 0
    assert set(pd.read_csv("skltransfer-report/scores.csv").strategy) == {"no transfer"}
    assert "Add --source SOURCE.csv" in capsys.readouterr().out


def test_regression(files):
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
        (["--label", "sick"], "--label goes with a CSV file"),
        (["empty.csv", "--label", "sick"], "cannot be read as CSV"),
        (["header.csv", "--label", "sick"], "has a header and no rows"),
        (["constant.csv", "--label", "sick"], "all labels in 'constant.csv' are 'yes'"),
        (["blank.csv", "--label", "sick"], "column 'sick' of 'blank.csv' is empty"),
        (["single.csv", "--label", "sick"], "class 'maybe' has a single row"),
        (["few.csv", "--label", "sick"], "has 4 labelled rows; folds need at least 6"),
        (["names.csv", "--label", "sick"], "has 8 classes in 8 rows.*--task regression"),
        (["only.csv", "--label", "sick"], "no column besides the label"),
        (["binary.csv", "--label", "sick"], "cannot be read as CSV|has no column 'sick'"),
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

    monkeypatch.setattr(_compare, "_compare_table", interrupt)
    assert run("target.csv", "--label", "sick") == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list((files / "skltransfer-report").iterdir())


def test_a_failing_write_keeps_the_old_file(tmp_path):
    from skltransfer.cli._report import _write

    path = tmp_path / "scores.csv"
    path.write_text("old")

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        _write(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_extra_names_the_command_that_installs_it(files, capsys, monkeypatch):
    for module in ("pandas", "matplotlib"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            assert run("target.csv", "--label", "sick") == 2
        assert f"needs {module}" in (error := capsys.readouterr().err)
        assert "pip install 'skltransfer[cli]'" in error


def test_help_and_version_need_no_torch(tmp_path):
    for arguments in (["--help"], ["compare", "--help"], ["--version"], []):
        code = (
            "import sys\nfrom skltransfer.cli import main\n"
            f"try: main({arguments})\nexcept SystemExit as e: assert e.code == 0\n"
            "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)
