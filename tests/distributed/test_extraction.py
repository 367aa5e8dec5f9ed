"""Parts of collections: cut, extracted, taken up again; without a cluster."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedFeatureTransformer
from skltransfer.distributed import ray_extract
from tests.rounding import assert_within_rounding


@pytest.fixture
def flowers(tmp_path):
    """Return a frame, and a folder of two Parquet files with several row groups."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(100, 3)), columns=["a", "b", "c"])
    frame["id"] = [f"n{i}" for i in range(100)]
    folder = tmp_path / "flowers"
    (folder / "more").mkdir(parents=True)
    frame[:70].to_parquet(folder / "0.parquet", row_group_size=20)
    frame[70:].to_parquet(folder / "more" / "1.parquet")
    return frame, folder


@pytest.fixture
def pictures(tmp_path):
    """Return a folder of images, one of which cannot be read."""
    rng, folder = np.random.default_rng(0), tmp_path / "pictures"
    for i in range(7):
        path = folder / ("even", "odd")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    (folder / "even" / "broken.png").write_bytes(b"no image")
    return folder


def extract(estimator, source, destination, *, rows=30, **settings):
    """Extract the parts that are missing, in this process; return how many there were."""
    settings = {"rows_per_part": rows, "n_workers": 0} | settings
    return ray_extract(estimator, source, destination, **settings).n_new_parts


class Interrupted(StandardScaler):
    """A scaler that fails after some calls."""

    n_left = 2

    def transform(self, X):
        """Scale, or fail."""
        if self.n_left == 0:
            raise KeyboardInterrupt
        self.n_left -= 1
        return super().transform(X)


def test_every_row_is_extracted_once_whatever_the_parts(flowers, tmp_path):
    frame, folder = flowers
    scaler, to = StandardScaler().fit(frame[["a", "b", "c"]]), tmp_path / "out"
    columns = ["a", "b", "c"]
    with pytest.raises(KeyboardInterrupt):
        extract(Interrupted().fit(frame[columns]), folder, to, columns=columns, rows=20)
    assert sum(map(len, map(pd.read_parquet, to.iterdir()))) == 40
    (file, *_) = sorted(to.iterdir())
    file.unlink()
    assert extract(scaler, folder, to, columns=columns, rows=7) == 3 + 5 + 5
    assert extract(scaler, folder, to, columns=columns) == 0
    result = pd.read_parquet(to).set_index("id").loc[frame.id]
    expected = scaler.transform(frame[columns])
    np.testing.assert_array_equal(result[columns].to_numpy(), expected)
    assert len(result) == len(frame)


def test_rows_that_come_later_are_extracted_too(flowers, tmp_path):
    frame, folder = flowers
    columns, to = ["a", "b", "c"], tmp_path / "out"
    scaler = StandardScaler().fit(frame[columns])
    extract(scaler, folder, to, columns=columns)
    frame[:5].assign(id="new").to_parquet(folder / "a_new.parquet")
    assert extract(scaler, folder, to, columns=columns) == 1
    assert (pd.read_parquet(to).id == "new").sum() == 5
    frame[:9].to_parquet(folder / "0.parquet")
    with pytest.raises(ValueError, match="'0.parquet' has changed since"):
        extract(scaler, folder, to, columns=columns)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ("predict", ["prediction"]),
        ("predict_proba", ["probability_no", "probability_yes"]),
        ("decision_function", ["decision"]),
    ],
)
def test_predictions_have_names(flowers, tmp_path, method, names):
    frame, folder = flowers
    X, y = frame[["a", "b"]], np.where(frame.c > 0, "yes", "no")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    to = tmp_path / "out"
    extract(model, folder, to, columns=["a", "b"], keep=["id"], method=method)
    result = pd.read_parquet(to).set_index("id").loc[frame.id]
    assert list(result) == names
    expected = getattr(model, method)(X).reshape(len(X), -1)
    if method == "predict":
        np.testing.assert_array_equal(result.to_numpy(), expected)
    else:  # products of some samples and of all may be rounded differently
        assert_within_rounding(result.to_numpy(), expected)


def test_images_that_cannot_be_read_are_listed(pictures, tmp_path):
    paths = sorted(str(path) for path in pictures.glob("*/?.png"))
    features = PretrainedFeatureTransformer("tiny").fit(paths[:1])
    model, to = make_pipeline(features, PCA(2).fit(features.transform(paths))), tmp_path / "out"
    with pytest.raises(ValueError, match=r"even/broken.png: .*on_error='skip'"):
        extract(model, pictures, to, rows=4)
    assert len(list(to.iterdir())) == 1  # the part before it is finished
    assert extract(model, pictures, to, rows=3, on_error="skip") == 2
    assert extract(model, pictures, to, rows=3, on_error="skip") == 0
    result = pd.read_parquet(to).sort_values("path")
    assert [str(pictures / path) for path in result.path] == paths
    assert result.label.tolist() == ["even"] * 4 + ["odd"] * 3
    expected = model.transform(paths)
    np.testing.assert_allclose(result[["pca0", "pca1"]], expected, atol=1e-4)
    result = ray_extract(model, pictures, to, on_error="skip", n_workers=0)
    assert result.unreadable["sample"].tolist() == ["even/broken.png"]
    assert (
        "cannot" in result.unreadable["reason"][0]
        or "not an image" in result.unreadable["reason"][0]
    )
    assert pd.read_parquet(to / "_unreadable.parquet").equals(result.unreadable)
    assert features.store == "memory"  # the estimator is as it was


def test_a_part_of_unreadable_images_alone_is_finished(pictures, tmp_path):
    features = PretrainedFeatureTransformer("tiny").fit([str(pictures / "odd" / "1.png")])
    for path in pictures.glob("*/?.png"):
        path.unlink()
    assert extract(features, pictures, tmp_path / "out", on_error="skip") == 1
    assert extract(features, pictures, tmp_path / "out", on_error="skip") == 0
    assert pd.read_parquet(tmp_path / "out").shape == (0, 2 + 768)


def test_bytes_and_texts_of_a_column(pictures, tmp_path):
    paths = sorted(pictures.glob("*/?.png"))
    rows = pd.DataFrame({"number": range(7), "image": [path.read_bytes() for path in paths]})
    rows.to_parquet(tmp_path / "images.parquet", row_group_size=3)
    features = PretrainedFeatureTransformer("tiny").fit(list(rows.image[:1]))
    expected = features.transform(list(rows.image))
    extract(features, tmp_path / "images.parquet", tmp_path / "out", rows=4, columns="image")
    result = pd.read_parquet(tmp_path / "out").sort_values("number")
    assert "image" not in result
    np.testing.assert_allclose(result.iloc[:, 1:], expected, atol=1e-5)


def test_outputs_of_two_estimators_do_not_meet(flowers, tmp_path):
    frame, folder = flowers
    columns, to = ["a", "b", "c"], tmp_path / "out"
    X = frame[columns]
    extract(StandardScaler().fit(X), folder, to, columns=columns)
    (file, *_) = sorted(to.iterdir())
    file.unlink()
    n_files = len(list(to.iterdir()))
    with pytest.raises(ValueError, match="extracted by another estimator or method"):
        extract(StandardScaler(with_mean=False).fit(X), folder, to, columns=columns)
    with pytest.raises(ValueError, match="extracted by another estimator or method"):
        extract(PCA(3).fit(X), folder, to, columns=columns)
    assert len(list(to.iterdir())) == n_files


def test_an_interrupted_part_leaves_nothing_that_counts(flowers, tmp_path):
    class Fails(StandardScaler):
        def transform(self, X):
            raise MemoryError("no room")

    frame, folder = flowers
    columns, to = ["a", "b", "c"], tmp_path / "out"
    with pytest.raises(MemoryError):
        extract(Fails().fit(frame[columns]), folder, to, columns=columns)
    assert not any(to.iterdir())
    # What a process leaves that has been killed.
    (to / ".rows-0-0.parquet.abc").mkdir()
    (to / ".rows-0-0.parquet.abc" / "rows-0-0.parquet").write_bytes(b"half")
    assert extract(StandardScaler().fit(frame[columns]), folder, to, columns=columns) == 4
    assert not list(to.glob(".*"))


def test_bad_places_are_named(flowers, pictures, tmp_path):
    frame, folder = flowers
    scaler, to = StandardScaler().fit(frame[["a"]]), tmp_path / "out"
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.parquet").write_bytes(b"no")
    for source, error in (
        (tmp_path / "nowhere", "source: there is no file or folder"),
        ([tmp_path / "nowhere.parquet"], "source: there is no file"),
        ([], "source is an empty list"),
        (tmp_path / "empty", "there is no image in"),
        (tmp_path / "broken.parquet", "source: .*broken.parquet.* is no Parquet file"),
    ):
        with pytest.raises((OSError, ValueError), match=error):
            extract(scaler, source, to, columns=None if source == tmp_path / "empty" else ["a"])
    for changed, error in (
        ({"columns": ["a", "z"]}, "has no column 'z', only"),
        ({"columns": ["a"], "keep": ["a"]}, "Column 'a' is kept, and an output has the same name"),
        ({"columns": []}, r"columns=\[\]"),
        ({"rows": 0}, "rows_per_part=0"),
        ({"on_error": "nan"}, "on_error='nan'"),
        ({"columns": ["a"], "n_workers": -1}, "n_workers=-1"),
    ):
        with pytest.raises(ValueError, match=error):
            extract(scaler, folder, to, **changed)
    with pytest.raises(ValueError, match="not with a folder of images"):
        extract(scaler, pictures, to, columns="a")
    with pytest.raises(ValueError, match="fitted without names of columns. Pass columns="):
        extract(StandardScaler().fit([[0.0]]), folder, to)
    with pytest.raises(ValueError, match="1.parquet is no part of an extraction"):
        extract(scaler, folder / "0.parquet", folder / "more")
    with pytest.raises(ValueError, match="holds a file of the source"):
        extract(scaler, folder, folder)
    with pytest.raises(NotADirectoryError, match="destination=.* is a file"):
        extract(scaler, folder, folder / "0.parquet")
    with pytest.raises(NotFittedError):
        extract(StandardScaler(), folder, to)
    with pytest.raises(TypeError, match="StandardScaler has no predict"):
        extract(scaler, folder, to, method="predict")
    assert not to.exists() or not any(to.iterdir())


def test_a_file_says_what_it_holds(flowers, tmp_path):
    frame, folder = flowers
    extract(PCA(1).fit(frame[["a", "b"]]), folder, tmp_path / "out", columns=["a", "b"], rows=50)
    abouts = [
        json.loads(pq.read_metadata(path).metadata[b"skltransfer"])
        for path in sorted((tmp_path / "out").iterdir())
    ]
    rows = sorted((about["file"], about["start"], about["stop"]) for about in abouts)
    assert rows == [("0.parquet", 0, 50), ("0.parquet", 50, 70), ("more/1.parquet", 0, 30)]
