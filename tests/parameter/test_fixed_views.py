"""A fixed number of augmented views of each sample, drawn once before training."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from torchvision.transforms import v2

from skltransfer import (
    DANNClassifier,
    FineTunedClassifier,
    MAMLClassifier,
    feature_store,
)
from skltransfer._networks._fitting import Data
from skltransfer._networks._fixed_views import FixedViews
from skltransfer._torch._augmentation import Augmentation
from skltransfer._torch._extraction import Extractor, FeatureNetwork
from skltransfer._torch._rows import EncodedImageRows, ImageArrayRows
from skltransfer.backbones._random import seeded
from skltransfer.feature import FeatureStore

N = 40
SETTINGS = {
    "image_shape": (8, 8),
    "value_range": (0, 16),
    "unfreeze": 1,
    "max_epochs": 2,
    "batch_size": 16,
    "norm_statistics": "keep",
}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    keep = np.flatnonzero(y < 3)[:N]
    return X[keep], y[keep]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


def views_of(images, n_views=3, seed=0, policies=("crop", "color")):
    return FixedViews(ImageArrayRows(images), Augmentation([*policies], True), n_views, seed)


def test_a_view_depends_on_its_sample_its_number_and_the_seed(images):
    views = views_of(images)
    x = views.batch(range(18), None)
    assert x.shape == (18, 3, 32, 32)
    assert x.dtype == torch.uint8
    assert len({each.numpy().tobytes() for each in x}) == 18  # all differ
    other_order = views_of(images[::-1]).batch(range(18), None)
    torch.testing.assert_close(other_order.view(3, 6, 3, 32, 32).flip(1).flatten(0, 1), x)
    few = views.subset(np.array([13, 2])).batch([0, 1], None)
    torch.testing.assert_close(few, x[[13, 2]], rtol=0, atol=0)
    assert not torch.equal(views_of(images, seed=1).batch(range(18), None), x)


def test_views_are_those_of_the_policy(images):
    """A view of "flip" is the image or its mirror image, and both occur."""
    views = views_of(images, n_views=10, policies=["flip"]).batch(range(60), None)
    given = torch.from_numpy(images).permute(0, 3, 1, 2).repeat(10, 1, 1, 1)
    is_same = (views == given).flatten(1).all(1)
    is_mirrored = (views == given.flip(3)).flatten(1).all(1)
    assert (is_same ^ is_mirrored).all()
    assert 15 < is_same.sum() < 45


def test_digests_tell_views_apart_and_find_equal_ones(images):
    digests = views_of(images).digests()
    assert len(set(digests)) == 18
    assert digests == views_of(images).digests()
    assert set(digests).isdisjoint(views_of(images, seed=1).digests())
    assert set(digests).isdisjoint(views_of(images, policies=["crop"]).digests())
    assert views_of(images[:2]).digests() == [digests[i] for i in (0, 1, 6, 7, 12, 13)]


def test_views_of_images_one_by_one_are_reproducible(images):
    items = EncodedImageRows(list(images))
    one_by_one = FixedViews(items, Augmentation(["crop"], True), 2, 0).batch(range(12), None)
    # Digests of items and of arrays differ, and so do the views; they are as reproducible.
    again = FixedViews(items, Augmentation(["crop"], True), 2, 0).batch([11, 0], None)
    torch.testing.assert_close(again, one_by_one[[11, 0]], rtol=0, atol=0)


def test_the_global_generator_is_where_it_was(images):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    views_of(images).batch(range(18), None)
    torch.testing.assert_close(torch.rand(2), expected, rtol=0, atol=0)


def test_no_thread_reads_views_ahead(images):
    """A thread that waits for torch's generator would wait for the one that trains forever."""
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4))
    extractor = Extractor(
        FeatureNetwork(network, {}, "avg", False), None, torch.device("cpu"), "float32", "key"
    )
    extractor.reads_ahead = True
    with seeded(0):
        features = extractor.extract(views_of(images), batch_size=4)
    assert features.shape == (18, 4)


def test_training_on_views_is_training_on_their_pixels(digits):
    """The reference draws the views by hand and gives them as samples."""
    X, y = digits
    model = FineTunedClassifier("tiny", augment="crop", n_views=2, **SETTINGS).fit(X, y)
    seed = np.random.RandomState(0).randint(2**31 - 1, size=4)[2]
    rows = ImageArrayRows(X.reshape(-1, 8, 8), (0, 16))
    preprocessing = model._built.network.preprocessing
    views = FixedViews(rows, Augmentation(["crop"], True), 2, int(seed))
    pixels = views.batch(range(2 * N), preprocessing).numpy()
    by_hand = FineTunedClassifier("tiny", **SETTINGS | {"image_shape": None, "value_range": None})
    by_hand.fit(pixels, np.tile(y, 2))
    for own, other in zip(model.network_.parameters(), by_hand.network_.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)
    plain = FineTunedClassifier("tiny", **SETTINGS).fit(X, y)
    assert not np.allclose(plain.predict_proba(X), model.predict_proba(X), atol=1e-3)


@pytest.mark.parametrize("strategy", ["finetune", "lp_ft", "linear_probe"])
def test_views_pass_frozen_stages_once(digits, strategy, monkeypatch):
    X, y = digits
    passes, forward = [], torch.nn.Conv2d.forward

    def counted(self, x):
        if self.weight.shape[:2] == (16, 3):
            passes.append(len(x))
        return forward(self, x)

    settings = SETTINGS | {"strategy": strategy, "augment": "crop", "n_views": 3}
    probed = FineTunedClassifier("tiny", **settings, store=FeatureStore()).fit(X, y)
    monkeypatch.setattr(torch.nn.Conv2d, "forward", counted)
    store = FeatureStore()
    kept = FineTunedClassifier("tiny", **settings, store=store).fit(X, y)
    n_passed = sum(passes)
    assert n_passed <= 3 * N + 64 + 4  # the last batch is padded, and a pair finds the boundary
    assert (kept.cached_stage_ is None) == (strategy == "linear_probe")
    passes.clear()
    FineTunedClassifier("tiny", **settings, store=store).fit(X, y)
    assert sum(passes) <= 4
    monkeypatch.undo()
    without = FineTunedClassifier("tiny", **settings, store=None).fit(X, y)
    for other in (probed, without):
        np.testing.assert_allclose(kept.predict_proba(X), other.predict_proba(X), atol=1e-4)


def test_the_folds_and_candidates_of_a_search_share_views(digits):
    X, y = digits
    store = FeatureStore()
    settings = SETTINGS | {"max_epochs": 1, "augment": "crop", "n_views": 2, "store": store}
    GridSearchCV(FineTunedClassifier("tiny", **settings), {"lr": [1e-3, 1e-2]}, cv=2).fit(X, y)
    whole = len(store)
    FineTunedClassifier("tiny", **settings).fit(X, y)
    assert len(store) == whole


def test_early_stopping_judges_the_samples_themselves(digits):
    """Black views would have another loss."""
    X, y = digits
    settings = SETTINGS | {"early_stopping": True, "validation_fraction": 0.25, "max_epochs": 1}
    model = FineTunedClassifier("tiny", augment=torch.zeros_like, n_views=3, **settings).fit(X, y)
    splitter = StratifiedShuffleSplit(
        1, test_size=N // 4, random_state=np.random.RandomState(0).randint(2**31 - 1)
    )
    _, held_out = next(splitter.split(X, y))
    expected = log_loss(y[held_out], model.predict_proba(X[held_out]), labels=[0, 1, 2])
    assert model.history_[0]["valid_loss"] == pytest.approx(expected, rel=1e-4)


def test_the_views_of_a_sample_have_its_weight(digits):
    """A weight of two counts like the sample given twice, whose views are equal."""
    X, y = digits
    counts = np.where(y == 2, 3, 1)
    images = {"image_shape": (8, 8), "value_range": (0, 16)}
    probe = FineTunedClassifier(
        "tiny", strategy="linear_probe", augment="crop", n_views=2, weight_decay=1.0, **images
    )
    weighted = clone(probe).fit(X, y, counts).predict_proba(X)
    repeated = clone(probe).fit(np.repeat(X, counts, 0), np.repeat(y, counts)).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-4)
    assert np.abs(weighted - clone(probe).fit(X, y).predict_proba(X)).max() > 1e-3


def test_tables_take_a_callable():
    X, y = make_classification(60, random_state=0)
    noisy = FineTunedClassifier(
        augment=lambda x: x + 0.1 * torch.randn_like(x), n_views=4, random_state=0
    )
    first, second = (noisy.fit(X, y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    plain = FineTunedClassifier(random_state=0).fit(X, y).predict_proba(X)
    assert not np.allclose(first, plain, atol=1e-3)


def test_a_transform_of_torchvision_is_drawn_for_each_view(images):
    policies = [v2.RandomHorizontalFlip(0.5)]
    views = views_of(images[:1], 30, policies=policies).batch(range(30), None)
    assert len({view.numpy().tobytes() for view in views}) == 2


def test_adversarial_training_takes_views_of_both_domains(digits, monkeypatch):
    X, y = digits
    drawn, views = [], Data.with_views

    def noted(self, plan):
        drawn.append((len(self), len(views(self, plan))))
        return views(self, plan)

    monkeypatch.setattr(Data, "with_views", noted)
    model = FineTunedClassifier("tiny", augment="crop", n_views=2, **SETTINGS)
    DANNClassifier(model).fit(X, y, X_target=16 - X[:30])
    assert drawn == [(N, 2 * N), (30, 60)]


@pytest.mark.parametrize("augment", ["mixup", ["flip", "cutmix"]])
def test_mixing_samples_has_no_views(digits, augment):
    model = FineTunedClassifier("tiny", augment=augment, n_views=2, **SETTINGS)
    with pytest.raises(ValueError, match=r"n_views=2 draws views of one sample.*n_views=None"):
        model.fit(*digits)


def test_episodes_draw_their_own():
    X, y = make_classification(40, random_state=0)
    model = FineTunedClassifier(augment=lambda x: x, n_views=2)
    with pytest.raises(ValueError, match="n_views=2, which MAMLClassifier does not use"):
        MAMLClassifier(model).fit(X, y, groups=np.arange(40) % 4)


def test_the_store_of_the_process_is_left_as_it_is(digits):
    X, y = digits
    feature_store.clear()
    FineTunedClassifier("tiny", augment="crop", n_views=2, store=None, **SETTINGS).fit(X, y)
    assert len(feature_store) == 0
