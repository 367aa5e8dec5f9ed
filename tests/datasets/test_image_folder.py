"""Folders of images: what is found, and what is said about the rest."""

import numpy as np
import pytest
from PIL import Image

from skltransfer import PretrainedFeatureTransformer
from skltransfer.datasets import load_image_folder


def write(folder, *paths):
    for number, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        if path.endswith((".png", ".JPG")):
            Image.new("RGB", (32, 32), (number * 20, 99, 7)).save(folder / path)
        else:
            (folder / path).write_text("no image")


def test_classes_are_the_folders(tmp_path):
    write(tmp_path, "b/1.png", "a/2.JPG", "b/deep/0.png", "b/notes.txt", "a/.hidden.png", "c/x.txt")
    images = load_image_folder(tmp_path)
    assert images.filenames.tolist() == ["a/2.JPG", "b/1.png", "b/deep/0.png"]
    assert images.data.tolist() == [str(tmp_path / path) for path in images.filenames]
    assert images.target.tolist() == [0, 1, 1]
    assert images.target_names == ["a", "b"]
    X, y = load_image_folder(str(tmp_path), return_X_y=True)
    assert X.tolist() == images.data.tolist()
    assert np.array_equal(y, images.target)
    features = PretrainedFeatureTransformer("tiny", store=None)
    given = features.fit_transform(X)
    pixels = np.stack([np.asarray(Image.open(path)) for path in X])
    assert np.allclose(given, features.fit_transform(pixels), atol=1e-5)


def test_images_beside_the_folders_are_warned_about(tmp_path):
    write(tmp_path, "a/1.png", "0.png", "2.png")
    with pytest.warns(UserWarning, match="2 images of .* lie in no folder of a class"):
        assert load_image_folder(tmp_path).filenames.tolist() == ["a/1.png"]


@pytest.mark.parametrize(
    ("paths", "error", "message"),
    [
        (["train/a/1.png", "Val/a/1.png"], ValueError, "parts of a data set and no classes.*Name"),
        (["a/1.txt"], ValueError, "there is no image in .*: no file ends in .avif"),
        (["1.png"], ValueError, "no folders with images"),
        ([], NotADirectoryError, "there is no such folder"),
    ],
)
def test_other_folders_are_refused(tmp_path, paths, error, message):
    write(tmp_path / "X", *paths)
    with pytest.raises(error, match=message):
        load_image_folder(tmp_path / "X")
