"""`skltransfer predict`: the rows of a file, by the columns of a saved model."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline

import skltransfer
from skltransfer._table_columns import TableColumns
from skltransfer.cli import main
from skltransfer.cli._table_data import TableRequest, read_tables
from tests.cli.tables import table


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model of a table, as compare saves it."""
    monkeypatch.chdir(tmp_path)
    frame = table(60, 0, code=["1", "2", "E"] * 20)
    frame.loc[3, "x"] = np.nan
    frame.to_csv("old.csv", index=False)
    data = read_tables(TableRequest("old.csv", "sick"))
    fitted = make_pipeline(data.steps, data.model).fit(data.X, data.y)
    columns = TableColumns(list(data.X), list(data.kinds.numbers))
    save(Pipeline([("columns", columns), ("model", fitted)]))
    table(20, 1, code=["1", "2"] * 10).to_csv("new.csv", index=False)
    return tmp_path


def save(model, name="model.skops"):
    skltransfer.save(model, name)


def run(*arguments):
    return main(["predict", *map(str, arguments)])


def read(name="predictions.csv"):
    return pd.read_csv(name)


def test_predictions_are_those_of_the_model(folder, capsys):
    assert run("model.skops", "new.csv") == 0
    found = read()
    assert list(found) == ["row", "prediction"]
    assert found.row.tolist() == list(range(1, 21))
    data = read_tables(TableRequest("old.csv", "sick"))
    fitted = make_pipeline(data.steps, data.model).fit(data.X, data.y)
    new = pd.read_csv("new.csv", dtype={"code": str})
    assert found.prediction.tolist() == fitted.predict(new).tolist()
    assert capsys.readouterr().out == "20 predictions: predictions.csv\n"
    # In Python, codes that pandas has read as numbers are the same.
    assert (
        found.prediction.tolist()
        == skltransfer.load("model.skops").predict(pd.read_csv("new.csv")).tolist()
    )


def test_columns_go_by_name_and_files_by_content(folder):
    assert run("model.skops", "new.csv", "--output", "a.csv", "--proba") == 0
    frame = pd.read_csv("new.csv")[["code", "place", "z", "x"]].assign(more="?")
    frame.to_csv("turned.csv", index=False, sep=";", decimal=",")
    frame.to_parquet("turned.parquet")
    for name in ("turned.csv", "turned.parquet"):
        assert run("model.skops", name, "--output", "b.csv", "--proba", "--force") == 0
        pd.testing.assert_frame_equal(read("a.csv"), read("b.csv"))
    assert list(read("a.csv")) == ["row", "prediction", "probability of no", "probability of yes"]


def test_marks_of_missing_values_and_unknown_categories(folder, capsys):
    frame = pd.read_csv("new.csv").astype({"x": object})
    frame.loc[2, "x"], frame.loc[3, "place"] = "?", "elsewhere"
    frame.to_csv("new.csv", index=False)
    assert run("model.skops", "new.csv") == 0
    assert read().prediction.notna().all()
    assert "Note: missing numbers of new.csv in 'x': '?' (1)." in capsys.readouterr().err


def test_predictions_as_parquet(folder):
    assert run("model.skops", "new.csv", "--output", "p.parquet") == 0
    assert run("model.skops", "new.csv", "--output", "p.csv") == 0
    pd.testing.assert_frame_equal(pd.read_parquet("p.parquet"), read("p.csv"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.skops", "new.csv"], "there is no file 'none.skops'"),
        (["new.csv", "new.csv"], "'new.csv' is no model to predict with"),
        (["model.skops", "none.csv"], "there is no file 'none.csv'"),
        (["model.skops", "short.csv"], "lacks columns of the model: 'z'. Did you mean 'zz'"),
        (["model.skops", "new.csv", "--output", "old.csv"], "the file exists. Add --force"),
        (["model.skops", "new.csv", "--output", "a.txt"], "ends in .csv or .parquet"),
        (["model.skops", "new.csv", "--output", "no/a.csv"], "there is no folder 'no'"),
        (["bare.skops", "new.csv"], "does not say which columns it takes"),
        (["number.skops", "new.csv", "--proba"], "--proba is for classes"),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(folder, capsys, arguments, message):
    pd.read_csv("new.csv").rename(columns={"z": "zz"}).to_csv("short.csv", index=False)
    X = np.arange(10.0)[:, None]
    save(LogisticRegression().fit(X, np.arange(10) % 2), "bare.skops")
    number = Ridge().fit(pd.DataFrame({"x": X[:, 0]}), X[:, 0])
    save(Pipeline([("columns", TableColumns(["x"], ["x"])), ("m", number)]), "number.skops")
    before = sorted(folder.rglob("*"))
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("skltransfer: error: ") and error.count("\n") == 1
    assert re.search(message, error), error
    assert sorted(folder.rglob("*")) == before


def test_a_row_that_cannot_be_predicted_leaves_no_file(folder, capsys, monkeypatch):
    def fail(*arguments):
        raise ValueError("row 7 is odd")

    monkeypatch.setattr(LogisticRegression, "predict", fail)
    assert run("model.skops", "new.csv") == 2
    assert "the model cannot predict these rows: row 7 is odd" in capsys.readouterr().err
    assert not (folder / "predictions.csv").exists()


def test_a_frame_that_lacks_a_column_is_named_in_python(folder):
    model = skltransfer.load("model.skops")
    with pytest.raises(ValueError, match="X has no column 'z'. Did you mean 'zz'"):
        model.predict(pd.read_csv("new.csv").rename(columns={"z": "zz"}))
    with pytest.raises(ValueError, match="takes a data frame with the columns"):
        model.predict(np.zeros((2, 4)))
