"""`skltransfer extract`: what is written is what the transformer gives in memory."""

import os
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from skltransfer import PretrainedFeatureTransformer
from skltransfer.cli import main
from tests.cli.sizes import set_sizes
from tests.tiny_bert import save_tiny_bert

TEXTS = ["a good film", "a bad film", "", "the food was good", "NA", "bad, bad service"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_digits(folder, n_images):
    """Write digits as images, in folders of their class."""
    X, y = load_digits(return_X_y=True)
    for number in range(n_images):
        path = folder / "digits" / str(y[number]) / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((X[number] * 15).astype(np.uint8).reshape(8, 8)).save(path)
    return folder / "digits"


@pytest.fixture
def digits(folder):
    return write_digits(folder, 60)


@pytest.fixture
def many_digits(folder):
    """More images than are read at once."""
    return write_digits(folder, 300)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    place = tmp_path_factory.mktemp("bert")
    save_tiny_bert(place)
    return f"hf:{place}"


def run(*arguments):
    return main(["extract", *map(str, arguments)])


def features_of(frame):
    return frame.loc[:, frame.dtypes == np.float32]


def test_a_folder_gives_the_features_that_the_transformer_gives(digits, capsys, monkeypatch):
    set_sizes(monkeypatch, _PASS=16, _GROUP_ROWS=32)
    assert run("digits", "--output", "features.parquet") == 0
    frame = pd.read_parquet("features.parquet")
    paths = sorted(path.relative_to(digits).as_posix() for path in digits.rglob("*.png"))
    assert frame.path.tolist() == paths
    assert frame.label.tolist() == [path[0] for path in paths]
    transformer = PretrainedFeatureTransformer("tiny", store=None)
    expected = transformer.fit_transform([digits / path for path in paths])
    features = features_of(frame)
    assert list(features) == list(transformer.get_feature_names_out())
    np.testing.assert_array_equal(features, expected)
    models = [
        LogisticRegression(max_iter=2000).fit(X, frame.label) for X in (features.values, expected)
    ]
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
    assert pyarrow.parquet.ParquetFile("features.parquet").num_row_groups == 2
    assert "60 rows, 768 features of tiny: features.parquet" in capsys.readouterr().out


def test_layers_pooling_sizes_and_weights(digits):
    assert (
        run(
            *("digits", "--output", "f.csv", "--layers", "stage1", "stage3", "--pooling", "max"),
            *("--input-size", 24, "--batch-size", 7, "--weights", "none"),
        )
        == 0
    )
    frame = pd.read_csv("f.csv")
    transformer = PretrainedFeatureTransformer(
        "tiny", weights=None, layers=["stage1", "stage3"], pooling="max", input_size=24
    )
    expected = transformer.fit_transform([digits / path for path in frame.path])
    np.testing.assert_allclose(frame.drop(columns=["path", "label"]), expected, rtol=1e-5)


def test_a_folder_without_classes_has_no_labels(digits):
    (digits / "0" / "000.png").rename(digits / "zero.PNG")
    (digits / ".hidden.png").write_bytes(b"")
    (digits / "notes.txt").write_text("no image")
    (digits / "1" / "loop").symlink_to(digits)
    assert run("digits", "--output", "f.parquet") == 0
    frame = pd.read_parquet("f.parquet")
    assert len(frame) == 60
    assert frame.path.iloc[-1] == "zero.PNG"
    assert "label" not in frame


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_texts_of_a_table_and_its_other_columns(folder, bert, capsys, monkeypatch, suffix):
    set_sizes(monkeypatch, _PASS=2, _CSV_ROWS=2)
    table = pd.DataFrame(
        {
            "id": [1, 2, 3, 4, 5, 6],
            "review": TEXTS,
            "price": [1, 2, 3, 4.5, None, 6],
            "code": ["007", "8", "9", "a", None, "b"],
            "sold": [True, False, True, True, False, False],
        }
    )
    if suffix == "csv":
        table.to_csv("reviews.csv", index=False)
    else:
        table.to_parquet("reviews.parquet", index=False)
    arguments = (f"reviews.{suffix}", "--column", "review", "--backbone", bert)
    assert run(*arguments, "--output", "f.parquet") == 0
    frame = pd.read_parquet("f.parquet")
    expected = PretrainedFeatureTransformer(bert, store=None).fit_transform(TEXTS)
    np.testing.assert_array_equal(features_of(frame), expected)
    kept = frame[list(table)]
    assert kept.id.tolist() == table.id.tolist()
    assert kept.review.tolist() == TEXTS
    np.testing.assert_array_equal(kept.price, table.price)
    assert kept.code.fillna("none").tolist() == ["007", "8", "9", "a", "none", "b"]
    assert kept.sold.tolist() == table.sold.tolist()
    assert "1 rows of reviews." in capsys.readouterr().err


def test_texts_that_are_cut_are_a_note(folder, bert, capsys, monkeypatch):
    set_sizes(monkeypatch, _PASS=2)
    texts = ["good", "bad " * 99, "film", "good " * 99]
    pd.DataFrame({"review": texts}).to_csv("reviews.csv", index=False)
    assert run("reviews.csv", "--column", "review", "--backbone", bert, "--output", "f.csv") == 0
    error = capsys.readouterr().err
    assert "64 tokens of a text; 2 of 4 texts (50%) are longer and are cut" in error
    assert "Warning" not in error


def test_paths_in_a_table_are_relative_to_it(digits):
    paths = sorted(path.relative_to(digits).as_posix() for path in digits.rglob("*.png"))[:5]
    pd.DataFrame({"file": paths, "weight": range(5)}).to_csv(digits / "list.csv", index=False)
    assert run("digits/list.csv", "--column", "file", "--output", "f.parquet") == 0
    frame = pd.read_parquet("f.parquet")
    expected = PretrainedFeatureTransformer("tiny").fit_transform([digits / p for p in paths])
    np.testing.assert_array_equal(features_of(frame), expected)
    assert frame.weight.tolist() == [0, 1, 2, 3, 4]


def test_an_output_is_replaced_only_by_force(digits, capsys):
    (digits.parent / "f.parquet").write_text("old")
    assert run("digits", "--output", "f.parquet") == 2
    assert "f.parquet exists. Add --force to replace it" in capsys.readouterr().err
    assert (digits.parent / "f.parquet").read_text() == "old"
    assert run("digits", "--output", "f.parquet", "--force") == 0
    assert len(pd.read_parquet("f.parquet")) == 60


def test_nothing_is_left_by_an_error_in_the_midst(many_digits, capsys):
    bad = sorted(many_digits.rglob("*.png"))[280]
    bad.write_bytes(bad.read_bytes()[:60])
    assert run("digits", "--output", "f.parquet") == 2
    error = capsys.readouterr().err
    assert re.search(rf"row 280: .*{bad.name}' is not an image that can be decoded", error), error
    assert os.listdir(many_digits.parent) == ["digits"]


def test_images_that_cannot_be_read_may_be_rows_of_nan(many_digits, capsys):
    paths = sorted(many_digits.rglob("*.png"))
    for number in (0, 280):
        paths[number].write_bytes(b"no image")
    assert run("digits", "--output", "f.parquet", "--on-error", "nan") == 0
    features = features_of(pd.read_parquet("f.parquet"))
    assert np.flatnonzero(features.isna().all(axis=1)).tolist() == [0, 280]
    assert features.isna().any(axis=1).sum() == 2
    error = capsys.readouterr().err
    assert "Note: 2 images cannot be read, and their features are NaN: " in error
    assert paths[280].name in error
    assert "Warning" not in error


def test_another_engine_gives_the_same_features(digits):
    assert run("digits", "--output", "torch.parquet") == 0
    assert run("digits", "--output", "other.parquet", "--engine", "onnxruntime") == 0
    one, other = (pd.read_parquet(f"{name}.parquet") for name in ("torch", "other"))
    assert one.path.equals(other.path)
    np.testing.assert_allclose(features_of(one), features_of(other), atol=1e-3)
    assert not features_of(one).equals(features_of(other))  # it did run


def test_nothing_is_left_by_an_interruption(many_digits, monkeypatch, capsys):
    transform, calls = PretrainedFeatureTransformer.transform, []

    def interrupted(self, X):
        calls.append(X)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return transform(self, X)

    monkeypatch.setattr(PretrainedFeatureTransformer, "transform", interrupted)
    assert run("digits", "--output", "f.parquet") == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert os.listdir(many_digits.parent) == ["digits"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "--output", "f.parquet"], "there is no file or folder 'none'"),
        (["digits", "--output", "f.txt"], "has to end in .parquet"),
        (["digits", "--output", "no/f.parquet"], "there is no folder 'no'"),
        (["digits", "--output", "f.parquet", "--column", "a"], "--column goes with a CSV or"),
        (
            ["digits", "--output", "f.parquet", "--backbone", "resnt18"],
            "Unknown backbone 'resnt18'.*mean 'resnet18'.*listed by 'skltransfer backbones'",
        ),
        (
            ["digits", "--output", "f.parquet", "--layers", "stage9"],
            "stage9.*no layer|no layer 'stage9'",
        ),
        (["digits", "--output", "f.parquet", "--pooling", "min"], "error: --pooling min is not"),
        (
            ["digits", "--output", "f.parquet", "--weights", "a.pt"],
            "--weights a.pt: there is no",
        ),
        (
            ["digits", "--output", "f.parquet", "--engine", "tensorrt"],
            "error: --engine tensorrt is not",
        ),
        (["empty", "--output", "f.parquet"], "there is no image in 'empty'"),
        (["list.csv", "--output", "f.parquet"], "--column is missing: .* It has 'id', 'file'"),
        (["list.csv", "--output", "f.parquet", "--column", "fle"], "Did you mean 'file'"),
        (["list.csv", "--output", "f.parquet", "--column", "file"], "cannot be read .No such file"),
        (["twice.csv", "--output", "f.parquet", "--column", "a"], "several columns named 'a'"),
        (["header.csv", "--output", "f.parquet", "--column", "a"], "'header.csv' has no rows"),
        (["bad.parquet", "--output", "f.parquet", "--column", "a"], "'bad.parquet' cannot be read"),
        (
            ["numbers.parquet", "--output", "f.parquet", "--column", "a"],
            "holds values such as 1, not texts or paths",
        ),
        (["stage.csv", "--output", "f.parquet", "--column", "a"], "a column 'stage2_0' already"),
        (
            ["digits", "--output", "f.parquet", "--layers", "stem", "--pooling", "flatten"]
            + ["--input-size", "64"],
            "65536 features, more than",
        ),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(digits, capsys, arguments, message):
    folder = digits.parent
    (folder / "empty").mkdir()
    (folder / "list.csv").write_text("id,file\n1,none.png\n")
    (folder / "twice.csv").write_text("a,a\n1,2\n")
    (folder / "header.csv").write_text("a,b\n")
    (folder / "bad.parquet").write_bytes(b"PAR1 and no more")
    (folder / "stage.csv").write_text("a,stage2_0\ndigits/0/000.png,1\n")
    pd.DataFrame({"a": [1, 2]}).to_parquet("numbers.parquet")
    before = sorted(folder.rglob("*"))
    assert run(*arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("skltransfer: error: ")
    assert re.search(message, error), error
    assert "\n" not in error
    assert sorted(folder.rglob("*")) == before


def test_texts_for_images_and_images_for_texts(digits, bert, capsys):
    assert run("digits", "--output", "f.parquet", "--backbone", bert) == 2
    assert "takes texts, and 'digits' is a folder" in capsys.readouterr().err
    pd.DataFrame({"review": ["a good film"]}).to_csv("reviews.csv", index=False)
    assert run("reviews.csv", "--column", "review", "--output", "f.parquet") == 2
    assert "Text needs a text encoder" in capsys.readouterr().err


def test_help_needs_no_torch(tmp_path):
    for command in ("extract", "backbones"):
        code = (
            "import sys\nfrom skltransfer.cli import main\n"
            f"try: main(['{command}', '--help'])\nexcept SystemExit as e: assert e.code == 0\n"
            "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, capture_output=True)


def test_cells_without_a_path(digits, capsys):
    """An empty cell is a missing image, not the folder that the table lies in."""
    path = next(path.relative_to(digits.parent).as_posix() for path in digits.rglob("*.png"))
    pd.DataFrame({"file": [path, "", path]}).to_csv("list.csv", index=False)
    assert run("list.csv", "--column", "file", "--output", "f.parquet") == 2
    assert (
        "row 1: the image is missing (None). Drop it, or add --on-error nan"
        in capsys.readouterr().err
    )
    assert run("list.csv", "--column", "file", "--output", "f.parquet", "--on-error", "nan") == 0
    assert "1 images cannot be read, and their features are NaN: 'row 1, no path'" in (
        " ".join(capsys.readouterr().err.split())
    )
    features = features_of(pd.read_parquet("f.parquet"))
    assert list(features.isna().all(axis=1)) == [False, True, False]


def test_messages_are_in_words_of_commands(digits, capsys):
    assert run("digits", "--backbone", "tyni", "--output", "f.parquet") == 2
    message = capsys.readouterr().err
    assert "list_backbones" not in message
    assert "names of timm by \"skltransfer backbones 'timm:*'\"" in message
    (digits / "0" / "bad.png").write_bytes(b"no image")
    assert run("digits", "--output", "f.parquet") == 2
    message = capsys.readouterr().err
    assert "bad.png' is not an image that can be decoded (of no format that is known)" in message


def test_all_stages(digits):
    output = ["--output", "f.parquet", "--layers", "all_stages", "--pooling", "gem"]
    assert run("digits", *output) == 0
    assert features_of(pd.read_parquet("f.parquet")).shape == (60, 16 + 32 + 64 + 128)


def test_images_inside_of_a_parquet_file(digits, folder):
    """As data sets of the Hugging Face hub keep them: structures of bytes and path, or bytes."""
    paths = sorted(digits.rglob("*.png"))[:6]
    rows = [{"bytes": path.read_bytes(), "path": None} for path in paths[:4]]
    rows += [{"bytes": None, "path": path.relative_to(folder).as_posix()} for path in paths[4:]]
    frame = pd.DataFrame({"image": rows, "raw": [path.read_bytes() for path in paths]})
    frame.to_parquet("images.parquet")
    expected = PretrainedFeatureTransformer("tiny", store=None).fit_transform(paths)
    for column in ("image", "raw"):
        assert run("images.parquet", "--column", column, "--output", f"{column}.parquet") == 0
        features = features_of(pd.read_parquet(f"{column}.parquet"))
        np.testing.assert_allclose(features, expected, atol=1e-5)


def test_images_inside_of_a_table_are_named_by_their_rows(digits, capsys):
    """Neither a message nor a CSV file is the place for the bytes of a picture."""
    good = next(digits.rglob("*.png")).read_bytes()
    bad = b"\x89PNG" + bytes(100_000)
    pd.DataFrame({"raw": [good, bad], "id": [1, 2]}).to_parquet("raw.parquet")
    rows = [{"bytes": good, "path": "a.png"}, {"bytes": bad, "path": "b.png"}]
    pd.DataFrame({"image": rows}).to_parquet("image.parquet")
    for column, kind in (("image", "struct<bytes: binary, path: string>"), ("raw", "bytes")):
        arguments = [f"{column}.parquet", "--column", column, "--on-error", "nan", "--output"]
        assert run(*arguments, "f.parquet", "--force") == 0
        output = " ".join(capsys.readouterr().err.split())
        assert output.endswith("their features are NaN: 'row 1, 100004 bytes'.")
        assert run(*arguments, "f.csv") == 2
        error = capsys.readouterr().err
        assert f"column {column!r} holds {kind}, which no CSV file takes" in error
    assert not [path for path in os.listdir() if "csv" in path]
