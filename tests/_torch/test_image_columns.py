"""Images as columns: of arrays, of PIL images, of bytes, of dictionaries, with gaps."""

import io

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image

from skltransfer import PretrainedFeatureTransformer, UnreadableImageWarning

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)


def encoded(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


RAW = [encoded(pixels) for pixels in IMAGES]


def features(X, **parameters):
    transformer = PretrainedFeatureTransformer("tiny", store=None, **parameters)
    return transformer.fit(X).transform(X)


@pytest.fixture(scope="module")
def right():
    return features(IMAGES)


def column(items):
    array = np.empty(len(items), object)
    array[:] = items
    return array


@pytest.mark.parametrize("entry", ["array", "PIL", "bytes", "path", "dict", "lists"])
@pytest.mark.parametrize("form", [list, pd.Series, column, "frame", "2d"])
def test_every_column_of_images(entry, form, right, tmp_path):
    items = {
        "array": lambda: list(IMAGES),
        "PIL": lambda: [Image.fromarray(pixels) for pixels in IMAGES],
        "bytes": lambda: RAW,
        "path": lambda: [str(tmp_path / f"{i}.png") for i in range(3)],
        "dict": lambda: [{"bytes": raw, "path": None} for raw in RAW],
        "lists": lambda: [column([list(row) for row in pixels]) for pixels in IMAGES],
    }[entry]()
    for i, raw in enumerate(RAW):
        (tmp_path / f"{i}.png").write_bytes(raw)
    if entry == "lists" and form is list:
        items = [pixels.tolist() for pixels in IMAGES]
    if form == "frame":
        X = pd.DataFrame({"image": pd.Series(items, dtype=object)})
    elif form == "2d":
        X = column(items).reshape(-1, 1) if entry != "array" else column(items)[:, None]
    else:
        X = form(items)
    assert np.array_equal(features(X), right)


def test_a_dictionary_without_bytes_names_a_path(right, tmp_path):
    (tmp_path / "0.png").write_bytes(RAW[0])
    X = [{"bytes": None, "path": str(tmp_path / "0.png")}, {"bytes": RAW[1], "path": "gone.png"}]
    assert np.array_equal(features(X), right[:2])
    with pytest.raises(ValueError, match="Row 1: the image is missing"):
        features([*X[:1], {"bytes": None, "path": None}])
    with pytest.raises(TypeError, match=r"Row 1 is a dictionary with the keys \['file'\]"):
        features([X[0], {"file": "0.png"}])


def test_polars_columns(right):
    structs = pl.Series("image", [{"bytes": raw, "path": None} for raw in RAW])
    assert np.array_equal(features(structs), right)
    assert np.array_equal(features(pl.DataFrame({"image": structs})), right)
    assert np.array_equal(features(pl.Series("image", RAW)), right)


def test_an_array_of_objects_and_tensors(right):
    assert np.array_equal(features(IMAGES.astype(object)), right)
    assert np.array_equal(features([torch.tensor(pixels) for pixels in IMAGES]), right)


def test_images_of_several_sizes(right):
    X = column([IMAGES[0], np.zeros((40, 30, 3), np.uint8), IMAGES[1].transpose(2, 0, 1)])
    given = features(X)
    assert np.allclose(given[[0, 2]], right[:2], atol=1e-5)
    assert np.allclose(given[1], features(np.zeros((1, 40, 30, 3), np.uint8)), atol=1e-5)


@pytest.mark.parametrize("form", [list, pd.Series, column])
def test_a_gap_among_arrays(form, right):
    X = form([IMAGES[0], None, IMAGES[2]])
    with pytest.raises(ValueError, match="Row 1: the image is missing .*on_error='nan'"):
        features(X)
    with pytest.warns(UnreadableImageWarning, match="1 of 3"):
        given = features(X, on_error="nan")
    assert np.isnan(given[1]).all()
    assert np.allclose(given[[0, 2]], right[[0, 2]], atol=1e-5)


def test_a_column_of_flattened_images(right):
    X = pd.Series([pixels.ravel() for pixels in IMAGES])
    assert np.array_equal(features(X, image_shape=(20, 30, 3)), right)
    with pytest.raises(ValueError, match=r"Row 2 of X holds an array of shape \(4,\)"):
        features(pd.Series([np.zeros(5), np.zeros(5), np.zeros(4)]))
    with pytest.raises(ValueError, match="Row 1 of X holds None"):
        features(pd.Series([np.zeros(5), None]))


def test_the_baseline_takes_columns_of_arrays():
    X = pd.Series(list(IMAGES))
    given = PretrainedFeatureTransformer(None).fit_transform(X)
    assert np.array_equal(given, IMAGES.reshape(3, -1))


def test_a_folder_is_no_list_of_images(tmp_path):
    for X in (tmp_path, str(tmp_path), np.array(str(tmp_path))):
        with pytest.raises(TypeError, match="X is the folder.*load_image_folder"):
            features(X)
