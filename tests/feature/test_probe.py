"""What the representations are worth: linear probes with few labels, against the baselines."""

import gzip
import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skltransfer import PretrainedFeatureTransformer
from tests.shared_data import SHARED_DATA


def few_shot(images, y, n_labels, representation, n_draws=10):
    """Return the mean accuracy (%) over draws of `n_labels` labels a class."""
    features = representation.fit_transform(images)
    scores = []
    for draw in range(n_draws):
        rng = np.random.default_rng(draw)
        train = np.concatenate(
            [rng.permutation(np.flatnonzero(y == label))[:n_labels] for label in np.unique(y)]
        )
        test = np.setdiff1d(np.arange(len(y)), train)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        scores.append(model.fit(features[train], y[train]).score(features[test], y[test]))
    return 100 * np.mean(scores)


def tiny(**settings):
    return PretrainedFeatureTransformer("tiny", **settings)


def test_digits_with_five_labels_a_class():
    X, y = load_digits(return_X_y=True)
    images = {"image_shape": (8, 8), "value_range": (0, 16)}
    pretrained = few_shot(X, y, 5, tiny(**images))
    pixels = few_shot(X, y, 5, PretrainedFeatureTransformer(**images))
    random = few_shot(X, y, 5, tiny(weights=None, **images))
    assert pretrained >= 90
    assert pretrained >= max(pixels, random) + 8


def idx(name, offset):
    path = SHARED_DATA / "mnist_usps" / name
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=offset)


@pytest.mark.shared
def test_mnist_with_five_labels_a_class():
    X = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    assert few_shot(X, idx("t10k-labels-idx1-ubyte.gz", 8), 5, tiny()) >= 83


@pytest.mark.shared
def test_usps_with_five_labels_a_class():
    usps = np.load(SHARED_DATA / "mnist_usps" / "usps.npz")
    X = np.concatenate([usps["X_train"], usps["X_test"]])
    y = np.concatenate([usps["y_train"], usps["y_test"]])
    assert few_shot(X.reshape(-1, 16, 16), y, 5, tiny()) >= 89


@pytest.mark.shared
def test_omniglot_five_way_one_shot():
    """Episodes of five characters, one drawing each to learn from and five to recognise."""
    drawings = {}
    with zipfile.ZipFile(SHARED_DATA / "omniglot" / "images_background_small1.zip") as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".png")):
            character = name.rsplit("/", 1)[0]
            image = np.asarray(Image.open(io.BytesIO(archive.read(name))))
            drawings.setdefault(character, []).append(image)
    images = np.concatenate([np.stack(images) for images in drawings.values()])
    labels = np.repeat(np.arange(len(drawings)), [len(images) for images in drawings.values()])
    features = tiny().fit_transform(images)
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(200):
        characters = rng.choice(len(drawings), 5, replace=False)
        rows = np.array([rng.permutation(np.flatnonzero(labels == c))[:6] for c in characters])
        model = make_pipeline(Normalizer(), LogisticRegression(max_iter=1000))
        model.fit(features[rows[:, 0]], np.arange(5))
        scores.append(model.score(features[rows[:, 1:].ravel()], np.repeat(np.arange(5), 5)))
    assert 100 * np.mean(scores) >= 85


def photographs(part):
    folder = SHARED_DATA / "hymenoptera" / part
    paths = [path for name in ("ants", "bees") for path in sorted((folder / name).glob("*.jpg"))]
    return paths, [path.parent.name for path in paths]


@pytest.mark.shared
def test_imagenet_features_tell_ants_from_bees_and_random_ones_do_not():
    (X, y), (X_test, y_test) = photographs("train"), photographs("val")

    def accuracy(**settings):
        model = make_pipeline(
            PretrainedFeatureTransformer("mobilenet_v2", **settings),
            StandardScaler(),
            LogisticRegression(C=0.01, max_iter=2000),
        )
        return model.fit(X, y).score(X_test, y_test)

    weights = SHARED_DATA / "weights" / "mobilenet_v2_imagenet_fp16.safetensors"
    assert accuracy(weights=weights) >= 0.92
    assert np.mean([accuracy(weights=None, random_state=seed) for seed in range(5)]) <= 0.70
