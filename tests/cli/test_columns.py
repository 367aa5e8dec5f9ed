"""What the cells of a user's CSV files are taken for: numbers, missing values, texts; and notes."""

import gzip

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skltransfer.cli import _preprocessing
from skltransfer.cli._errors import CommandError
from skltransfer.cli._inputs import read_table
from skltransfer.cli._table_data import TableRequest, read_tables


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(n=60, seed=0, **columns):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "place": rng.choice(["a", "b", "c"], n)})
    return frame.assign(sick=np.where(x > 0, "yes", "no"), **columns)


def read(frame=None, source=None, label="sick", task=None, options=None, **settings):
    """Write the frames as CSV files, and read them again."""
    if frame is not None:
        frame.to_csv("a.csv", index=False, **settings)
    if source is not None:
        source.to_csv("b.csv", index=False)
    request = TableRequest(
        "a.csv", label, None if source is None else "b.csv", task=task, **(options or {})
    )
    return read_tables(request)


def with_cell(frame, column, value, row=7):
    frame = frame.astype({column: object})
    frame.loc[row, column] = value
    return frame


def error_of(**arguments):
    with pytest.raises(CommandError) as caught:
        read(**arguments)
    return str(caught.value)


# --- missing values --------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["?", "NA", "-", " ", "n/a", ".", "Unknown", "inf", "#DIV/0!"])
def test_a_mark_among_numbers_is_a_missing_value_and_said_so(mark):
    data = read(with_cell(table(), "x", mark))
    assert data.X.x.dtype == float
    assert np.flatnonzero(data.X.x.isna()).tolist() == [7]
    name = "blank" if mark == " " else repr(mark)
    assert data.notes == (f"missing numbers of a.csv in 'x': {name} (1)",)


def test_one_question_mark_does_not_change_the_score():
    frame = table(300)
    frame.loc[7, "x"] = np.nan
    scores = []
    for cell in (np.nan, "?"):
        data = read(with_cell(frame, "x", cell))
        model = make_pipeline(data.steps, data.model)
        scores.append(cross_val_score(model, data.X, data.y).mean())
    assert scores[0] == scores[1] > 0.9


def test_all_marks_of_a_file_are_one_note():
    frame = with_cell(with_cell(table(z=range(60)), "x", "?"), "z", "?")
    frame = with_cell(frame, "z", "-", row=9)
    assert read(frame).notes == ("missing numbers of a.csv in 'x', 'z': '?' (2), '-' (1)",)


def test_few_odd_cells_among_many_numbers_are_missing():
    data = read(with_cell(table(), "x", "<0.1"))
    assert data.X.x.isna().sum() == 1
    assert data.notes == ("missing numbers of a.csv in 'x': '<0.1' (1)",)


def test_codes_and_numbers_are_categories_with_a_note():
    data = read(table(code=["1", "2", "E"] * 20))
    assert set(data.X.code) == {"1", "2", "E"}
    assert "column 'code' is taken for categories" in data.notes[0]
    assert "no numbers: 'E'" in data.notes[0]


def test_a_mark_beside_a_single_number_says_something():
    data = read(table(pain=["1", "-", "1"] * 20))
    assert set(data.X.pain) == {"1", "-"}


def test_marks_in_the_label_are_rows_without_a_label():
    data = read(with_cell(table(), "sick", "?"))
    assert len(data.y) == 59
    assert data.notes[0].startswith("1 rows of a.csv have no label ('sick' is '?'): they serve")
    assert data.unlabelled_rows.tolist() == [8]
    assert len(data.X_unlabelled) == 1
    signs = table()
    data = read(signs.assign(sick=np.where(signs.x > 0, "+", "-")))
    assert len(data.y) == 60 and set(data.y) == {"+", "-"}
    costs = read(with_cell(table(cost=np.linspace(0, 1, 60)), "cost", "-"), label="cost")
    assert len(costs.y) == 59 and not costs.is_classification


def test_a_label_that_is_no_number_is_named():
    frame = with_cell(table(cost=np.linspace(0, 1, 60)), "cost", "free")
    assert "'free'" in error_of(frame=frame, label="cost", task="regression")


# --- two files -------------------------------------------------------------------------


def test_a_mark_in_one_file_does_not_make_categories_of_both():
    data = read(table(), with_cell(table(seed=1), "x", "?"))
    assert data.X.x.dtype == data.X_source.x.dtype == float
    assert data.notes == ("missing numbers of b.csv in 'x': '?' (1)",)


def test_numbers_in_one_file_and_texts_in_the_other_are_texts_in_both():
    data = read(table(dose=[1.0, 2.0] * 30), table(dose=["1", "high"] * 30))
    assert set(data.X.dose) == {"1", "2"}
    assert set(data.X_source.dose) == {"1", "high"}
    assert "'dose' is taken for categories" in data.notes[0]
    assert "in b.csv are no numbers: 'high'" in data.notes[0]


def test_true_and_false_in_one_file_are_one_and_zero_in_the_other():
    data = read(table(old=[True, False] * 30), table(old=[0, 1] * 30))
    assert data.X.old.tolist() == [1, 0] * 30
    assert data.X_source.old.tolist() == [0, 1] * 30


def test_categories_that_no_file_shares_are_noted():
    notes = read(table(sex=["m", "f"] * 30), table(sex=["male", "female"] * 30)).notes
    assert notes == (
        "column 'sex' has no value that the files share: 'f', 'm' in a.csv and 'female', 'male' in "
        "b.csv",
    )


def test_labels_spelled_otherwise_in_the_two_files_are_refused():
    source = table(seed=1).replace({"yes": "Yes", "no": "N-O"})
    message = error_of(frame=table(), source=source)
    assert "'no' and 'N-O', 'yes' and 'Yes'" in message
    assert "Write the labels of both in one way" in message
    signs = table().replace({"yes": "1", "no": "-1"})  # a sign before a number is no spelling
    data = read(signs, table(seed=1).replace({"yes": "1", "no": "0"}))
    assert "only a.csv has the labels '-1'" in data.notes


def test_columns_that_one_file_lacks_are_refused_unless_they_are_to_be_left_out():
    frame, source = table(height=range(60)), table(seed=1, size=1.5)
    message = error_of(frame=frame, source=source)
    assert "only a.csv has 'height'; only b.csv has 'size'" in message
    assert "--align-columns" in message
    data = read(frame, source, options={"align_columns": True})
    assert list(data.X) == list(data.X_source) == ["x", "place"]
    assert "only a.csv has 'height': left out" in data.notes
    data = read(frame, source, options={"drop": ("height", "size")})
    assert list(data.X) == ["x", "place"]
    assert "Did you mean 'size'" in error_of(frame=frame, source=source, options={"drop": ("siz",)})


def test_columns_that_are_empty_in_one_file_are_noted_and_fitted():
    data = read(table(void=1.0), table(seed=1, void=np.nan))
    assert "column 'void' of b.csv is empty" in data.notes
    assert np.isfinite(data.steps.fit(data.X_source).transform(data.X)).all()


def test_categories_that_the_other_file_lacks_are_encoded():
    data = read(table(), table(seed=1).replace({"place": {"c": "d"}}))
    assert data.steps.fit(data.X_source).transform(data.X).shape == (60, 4)


# --- domains, groups and rows without a label ------------------------------------------


def test_one_file_with_two_domains():
    frame = table(80, ward=["old", "new", "old", "old"] * 20)
    frame.loc[:9, "sick"] = None
    data = read(frame, options={"domain": "ward"})
    assert (len(data.y), len(data.X_unlabelled), len(data.y_source)) == (17, 3, 53)
    assert data.unlabelled_rows.tolist() == [2, 6, 10]
    assert "ward" not in data.X and "ward" not in data.X_source
    assert "the target is 'ward' = 'new'" in data.notes[0]
    np.testing.assert_array_equal(data.X.x, frame.x[(frame.ward == "new") & frame.sick.notna()])
    named = read(frame, options={"domain": "ward=old"})
    assert len(named.y) == 53 and len(named.y_source) == 17


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domain": "wart"}, "no column 'wart'. Did you mean 'ward'"),
        ({"domain": "ward=other"}, "never holds 'other'. It holds 'a', 'b', 'c'"),
        ({"domain": "ward"}, "holds 'a', 'b', 'c', and two domains are needed"),
        ({"domain": "ward=a", "source": "a.csv"}, "leave out --source"),
    ],
)
def test_errors_of_domains_in_one_file(options, message):
    table(ward=["a", "b", "c"] * 20).to_csv("a.csv", index=False)
    with pytest.raises(CommandError, match=message):
        read_tables(TableRequest("a.csv", "sick", **options))


def test_groups_are_no_features():
    frame = table(patient=np.arange(60) // 3)
    frame.loc[5, "patient"] = np.nan
    data = read(frame, table(seed=1, patient=0), options={"group": "patient"})
    assert "patient" not in data.X and "patient" not in data.X_source
    assert len(np.unique(data.groups)) == 21
    assert "no column 'pat'" in error_of(frame=frame, options={"group": "pat"})


@pytest.mark.parametrize("lacks_column", [True, False])
def test_a_target_without_any_label(lacks_column):
    frame = table().assign(sick=None)
    data = read(frame.drop(columns="sick") if lacks_column else frame, table(seed=1))
    assert len(data.y) == 0 and len(data.X_unlabelled) == 60
    assert set(data.y_source) == {"no", "yes"}
    assert any("has no column 'sick'" in note for note in data.notes) is lacks_column
    if not lacks_column:
        assert "Add labelled rows of another domain by --source" in error_of(frame=frame)


# --- Parquet ---------------------------------------------------------------------------


def test_parquet_is_read_as_the_same_table_in_csv():
    frame = table(whole=range(60), old=[True, False, None] * 20, day=pd.Timestamp("2024-01-31"))
    frame["size"] = pd.array([1, None, 3] * 20, dtype="Int64")
    frame["kind"] = pd.Categorical(["u", "v", None] * 20)
    frame.to_parquet("a.parquet")
    parquet = read_tables(TableRequest("a.parquet", "sick"))
    csv = read(frame)
    pd.testing.assert_frame_equal(parquet.X, csv.X.replace({"2024-01-31": "2024-01-31 00:00:00"}))
    assert parquet.kinds == csv.kinds
    assert parquet.X["size"].isna().sum() == 20


def test_a_file_that_is_no_parquet_and_nested_columns(folder):
    (folder / "a.parquet").write_text("x,sick\n1,yes\n")
    with pytest.raises(CommandError, match="'a.parquet' cannot be read"):
        read_tables(TableRequest("a.parquet", "sick"))
    table(parts=[[1, 2]] * 60).to_parquet("b.parquet")
    data = read_tables(TableRequest("b.parquet", "sick"))
    assert "columns of b.parquet hold lists, records or bytes: 'parts': left out" in data.notes


# --- dates and ids ---------------------------------------------------------------------


@pytest.mark.parametrize("with_skrub", [True, False])
def test_dates_and_ids_are_noted(monkeypatch, with_skrub):
    monkeypatch.setattr(_preprocessing, "has_skrub", lambda: with_skrub)
    days = pd.date_range("2020-01-01", periods=60)
    frame = table(
        number=range(1, 61),
        name=[f"n{i}" for i in range(60)],
        day=days.strftime("%d.%m.%Y"),
        time=days.strftime("%Y-%m-%d 10:00"),
        packed=days.strftime("%Y%m%d"),
        age=np.arange(60) % 17,
        void=np.nan,
    )
    notes = {note.split("'")[1]: note for note in read(frame).notes}
    assert "'day', 'time'" in notes["day"]
    assert ("of skrub" in notes["day"]) is with_skrub
    assert ('pip install "skltransfer[tables]"' in notes["day"]) is not with_skrub
    assert "rises or falls with the rows" in notes["number"]
    assert "has another text in each row" in notes["name"]
    assert "holds dates" in notes["packed"]
    assert all("--drop" in notes[name] for name in ("number", "name", "packed"))
    assert "is empty" in notes["void"]
    assert len(notes) == 5


# --- how numbers are written -----------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_decimal_commas(separator):
    frame = table()
    data = read(frame, sep=separator, decimal=",")
    np.testing.assert_array_equal(data.X.x, frame.x)
    assert data.notes == ("a.csv writes numbers with decimal commas, as in 'x'",)


@pytest.mark.parametrize("written", ["1,234.5", "1 234.5", "1'234.5", "$1,234.5", "123450%"])
def test_marks_between_thousands_and_signs(written):
    frame = table(60, pay=["7", written] * 30)
    np.testing.assert_array_equal(read(frame).X.pay, [7, 1234.5] * 30)


def test_points_between_thousands_beside_decimal_commas():
    frame = table(60, pay=["1.234,5", "2.500"] * 30, x=["0,5", "1,5"] * 30)
    data = read(frame, sep=";")
    np.testing.assert_array_equal(data.X.pay, [1234.5, 2500] * 30)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(encoding):
    frame = table().rename(columns={"x": "größe"})
    pd.testing.assert_series_equal(
        read(frame[["größe", "sick", "place"]], encoding=encoding).X["größe"], frame["größe"]
    )


def test_packed_files_and_declared_separators(folder):
    text = table().to_csv(index=False, sep="|")
    (folder / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert list(read_tables(TableRequest("a.csv.gz", "sick")).X) == ["x", "place"]
    (folder / "c.csv").write_text("sep=|\n" + text)
    assert list(read_tables(TableRequest("c.csv", "sick")).X) == ["x", "place"]
    names = "length, cm;width, cm;sick\n" + "1;2;yes\n3;4;no\n" * 10
    (folder / "d.csv").write_text(names)
    assert list(read_tables(TableRequest("d.csv", "sick")).X) == ["length, cm", "width, cm"]


def test_lines_that_do_not_fit_the_header(folder):
    def written(text):
        (folder / "a.csv").write_text(text)

    lines = "1,2,yes\n3,4,no\n" * 10
    written("a,b,sick\n" + lines + "1,5,2,yes\n")
    assert error_of() == (
        "line 22 of 'a.csv' has 4 cells, and its header has 3. Put numbers with a decimal comma, "
        "and texts that hold the separator, into quotes."
    )
    written("a,b,sick\n" + lines + '1,"2,yes\n' + lines)
    assert "quote in line 22 of 'a.csv' is never closed" in error_of()
    written("a,b,sick\n" + lines.replace("\n", ",\n"))  # a separator at the end of each line
    assert list(read().X) == ["a", "b"]
    written("a,b,sick\n" + lines + "5\n")
    assert read().notes[0] == "1 rows of a.csv end early, and what they lack is missing"
    written("a,b,sick\n" + "".join(f"{i},{line}\n" for i, line in enumerate(lines.split())))
    assert read().X.a.tolist() == [1, 3] * 10  # the names of rows, as R writes them
    written("text,sick\nnot bad,yes\ngood, good,no\n")
    with pytest.raises(CommandError, match="more cells than its header"):
        read_table("a.csv", "text", of_texts=True)
