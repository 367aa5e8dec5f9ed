"""Prototypical networks: their means and distances against numpy, their training against none."""

import copy
import os
import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, softmax
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_moons
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

import skltransfer
from skltransfer import (
    DomainDataWarning,
    FineTunedClassifier,
    FineTunedRegressor,
    MAMLClassifier,
    PretrainedFeatureTransformer,
    PrototypicalClassifier,
    WithSource,
    WithTarget,
)
from skltransfer._torch._batches import Batch
from skltransfer.relation._distances import METRICS
from skltransfer.relation._episodes import EpisodeBatch, EpisodeSize
from skltransfer.relation._prototypical import PrototypicalLoss
from tests.doubles import TableNetwork

OF_SCIPY = {"manhattan": "cityblock"}
STEPS = {"max_epochs": 4, "hidden_layer_sizes": (16,), "lr": 0.01}


def family(seed, n_classes=12, n=20, n_columns=10):
    """Return samples of classes that differ in two columns of large noise elsewhere."""
    rng = np.random.default_rng(seed)
    centres = np.zeros((n_classes, n_columns))
    centres[:, :2] = 4 * rng.normal(size=(n_classes, 2))
    X = (
        np.repeat(centres, n, axis=0)
        + rng.normal(size=(n_classes * n, n_columns))
        * np.r_[np.full(2, 0.3), np.full(n_columns - 2, 4.0)]
    )
    return X, np.repeat(np.arange(n_classes), n)


X, Y = family(0)
X_NEW, CODES = family(1, 4)
NAMES = np.array(["ash", "birch", "cedar", "date"])
Y_NEW = NAMES[CODES]
FEW = np.concatenate([np.flatnonzero(CODES == k)[: 2 + k] for k in range(4)])
SUPPORT = {"X_target": X_NEW[FEW], "y_target": Y_NEW[FEW]}
REST = np.setdiff1d(np.arange(len(CODES)), FEW)


def prototypical(network, **settings):
    return PrototypicalClassifier(network, **{"episodes_per_epoch": 5} | settings)


def means(features, labels, weights=None):
    weights = np.ones(len(labels)) if weights is None else weights
    names = np.unique(labels)
    return np.array([np.average(features[labels == k], 0, weights[labels == k]) for k in names])


# --- distances and losses -----------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_distances_are_those_of_scipy(metric):
    rng = np.random.default_rng(0)
    a, b = rng.normal(3, 1, size=(2, 7, 4)), rng.normal(3, 1, size=(2, 5, 4))
    found = METRICS[metric](torch.tensor(a), torch.tensor(b)).numpy()
    expected = [cdist(p, q, OF_SCIPY.get(metric, metric)) for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    same = torch.tensor(a, requires_grad=True)
    METRICS[metric](same, same[:, :3]).sum().backward()
    assert same.grad.isfinite().all()


@pytest.mark.parametrize("metric", METRICS)
def test_the_gradient_of_the_distances(metric):
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 3, generator=rng, dtype=torch.float64) for n in (4, 3))
    pair = (a.requires_grad_(), b.requires_grad_())
    assert torch.autograd.gradcheck(METRICS[metric], pair)


@pytest.mark.parametrize("metric", METRICS)
def test_the_loss_of_an_episode_is_that_of_numpy(metric):
    rng = np.random.default_rng(1)
    support, query = rng.normal(size=(2, 6, 4)), rng.normal(size=(2, 3, 4))
    loss = 0.0
    for own, asked in zip(support, query, strict=True):
        d = cdist(
            asked, own.reshape(3, 2, 4).mean(1), {"manhattan": "cityblock"}.get(metric, metric)
        )
        loss -= np.diag(log_softmax(-d / 0.7, axis=1)).mean() / 2
    batch = EpisodeBatch(
        Batch(torch.tensor(support), torch.arange(3).repeat_interleave(2).expand(2, 6)),
        Batch(torch.tensor(query), torch.arange(3).expand(2, 3)),
    )
    network = nn.Identity()
    network.embed = network.forward
    terms = PrototypicalLoss(metric, 0.7, EpisodeSize(3, 2, 1), ())(network, batch)
    assert float(terms["query_loss"]) == pytest.approx(loss, rel=1e-10)


# --- the support set ----------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("metric", METRICS)
def test_prototypes_are_the_class_means_of_the_features(metric, n_classes):
    few = FEW[CODES[FEW] < n_classes]
    model = prototypical(FineTunedClassifier(**STEPS), metric=metric, temperature=2.0)
    model.fit(X, Y, X_target=X_NEW[few], y_target=Y_NEW[few])
    expected = means(model.transform(X_NEW[few]), Y_NEW[few])
    np.testing.assert_allclose(model.prototypes_, expected, rtol=1e-12, atol=1e-12)
    assert model.classes_.tolist() == NAMES[:n_classes].tolist()
    distances = cdist(model.transform(X_NEW), expected, OF_SCIPY.get(metric, metric))
    np.testing.assert_allclose(
        model.predict_proba(X_NEW), softmax(-distances / 2.0, axis=1), rtol=1e-7, atol=1e-12
    )
    assert (model.predict(X_NEW) == NAMES[distances.argmin(1)]).all()


def test_without_episodes_it_is_the_nearest_class_mean():
    model = PrototypicalClassifier(FineTunedClassifier(TableNetwork), episodes_per_epoch=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X_NEW[FEW], Y_NEW[FEW])
    features = PretrainedFeatureTransformer(TableNetwork, precision="float64").fit(X_NEW)
    centroids = NearestCentroid().fit(features.transform(X_NEW[FEW]), Y_NEW[FEW])
    assert (model.predict(X_NEW) == centroids.predict(features.transform(X_NEW))).all()
    assert model.history_ == []
    with_source = clone(model).fit(X, Y, **SUPPORT)
    assert (with_source.prototypes_ == model.prototypes_).all()


def test_a_weight_of_two_is_a_sample_given_twice():
    weights = np.random.default_rng(0).integers(0, 3, len(FEW))
    weights[::3] = 2
    twice = FEW[np.repeat(np.arange(len(FEW)), weights)]
    model = prototypical(FineTunedClassifier(**STEPS), n_shot=1)
    weighted = clone(model).fit(X, Y, **SUPPORT, target_sample_weight=weights)
    repeated = clone(model).fit(X, Y, X_target=X_NEW[twice], y_target=Y_NEW[twice])
    np.testing.assert_allclose(weighted.prototypes_, repeated.prototypes_, rtol=1e-12)
    again = clone(model).fit(X, Y, **SUPPORT).adapt(X_NEW[FEW], Y_NEW[FEW], weights)
    np.testing.assert_allclose(again.prototypes_, repeated.prototypes_, rtol=1e-12)


def test_samples_without_a_label_are_no_support():
    codes = CODES[FEW].astype(float)
    codes[[0, 5]] = np.nan
    known = ~np.isnan(codes)
    model = prototypical(FineTunedClassifier(**STEPS))
    some = clone(model).fit(X, Y, X_target=X_NEW[FEW], y_target=codes)
    only = clone(model).fit(X, Y, X_target=X_NEW[FEW][known], y_target=CODES[FEW][known])
    assert (some.prototypes_ == only.prototypes_).all()
    assert some.classes_.dtype.kind == "i"


def test_classes_and_samples_are_added_without_training():
    model = prototypical(FineTunedClassifier(**STEPS), n_shot=1, n_way=3)
    first = FEW[CODES[FEW] < 2]
    added = clone(model).fit(X, Y, X_target=X_NEW[first], y_target=Y_NEW[first])
    before = copy.deepcopy(added.estimator_.network_.features.state_dict())
    assert added.classes_.tolist() == ["ash", "birch"]
    added.partial_fit(X_NEW[FEW[CODES[FEW] > 1]], Y_NEW[FEW[CODES[FEW] > 1]])
    added.partial_fit(X_NEW[REST[:9]], Y_NEW[REST[:9]], sample_weight=np.arange(9))
    rows = np.r_[FEW, REST[:9]]
    weights = np.r_[np.ones(len(FEW)), np.arange(9)]
    expected = means(added.transform(X_NEW[rows]), Y_NEW[rows], weights)
    np.testing.assert_allclose(added.prototypes_, expected, rtol=1e-10)
    assert added.classes_.tolist() == NAMES.tolist()
    after = added.estimator_.network_.features.state_dict()
    assert all((after[name] == before[name]).all() for name in before)
    whole = clone(model).fit(
        X, Y, X_target=X_NEW[rows], y_target=Y_NEW[rows], target_sample_weight=weights
    )
    np.testing.assert_allclose(whole.predict_proba(X_NEW), added.predict_proba(X_NEW), rtol=1e-6)


def test_partial_fit_begins_with_the_backbone_as_it_is():
    model = PrototypicalClassifier(FineTunedClassifier(TableNetwork))
    model.partial_fit(X_NEW[FEW[:5]], Y_NEW[FEW[:5]], classes=NAMES).partial_fit(
        X_NEW[FEW[5:]], Y_NEW[FEW[5:]]
    )
    at_once = clone(model).set_params(episodes_per_epoch=0).fit(X_NEW[FEW], Y_NEW[FEW])
    np.testing.assert_allclose(model.prototypes_, at_once.prototypes_, rtol=1e-10)
    with pytest.raises(ValueError, match="y holds .'ash'., which is not among classes"):
        model.partial_fit(X_NEW[FEW], Y_NEW[FEW], classes=NAMES[1:])
    with pytest.raises(
        ValueError, match="y holds labels like 0, and the classes so far are like 'a"
    ):
        model.partial_fit(X_NEW[FEW], CODES[FEW])
    assert model.classes_.tolist() == NAMES.tolist()
    with pytest.raises(ValueError, match="y holds one class, 'ash', and a support set needs"):
        clone(model).partial_fit(X_NEW[:2], Y_NEW[:2])


# --- the training -------------------------------------------------------------------------


def test_training_in_episodes_beats_no_training():
    """Classes differ in 2 of 10 columns. Only training can tell which."""
    gains = []
    for seed in range(2):
        (X_s, y_s), (X_t, y_t) = family(seed), family(seed + 50, 5)
        few = np.flatnonzero(np.arange(len(y_t)) % 20 == 0)
        network = FineTunedClassifier(hidden_layer_sizes=(32,), lr=0.01, random_state=seed)
        model = PrototypicalClassifier(network)
        given = {"X_target": X_t[few], "y_target": y_t[few]}
        trained = clone(model).fit(X_s, y_s, **given)
        without = clone(model).set_params(episodes_per_epoch=0).fit(X_s, y_s, **given)
        gains.append(trained.score(X_t, y_t) - without.score(X_t, y_t))
        assert trained.history_[-1]["train_loss"] < trained.history_[0]["train_loss"] / 2
    assert min(gains) > 0.15


def test_the_features_do_not_depend_on_the_support_set():
    sizes = {"n_way": 4, "n_shot": 1, "n_query": 5}
    model = prototypical(FineTunedClassifier(**STEPS), **sizes)
    first = clone(model).fit(X, Y, **SUPPORT)
    second = clone(model).fit(X, Y, X_target=X_NEW[REST], y_target=CODES[REST])
    assert (first.transform(X_NEW) == second.transform(X_NEW)).all()
    again = second.adapt(X_NEW[FEW], Y_NEW[FEW])
    assert (again.predict_proba(X_NEW) == first.predict_proba(X_NEW)).all()
    other = clone(model).set_params(estimator__random_state=1).fit(X, Y, **SUPPORT)
    assert (other.transform(X_NEW) != first.transform(X_NEW)).any()


@pytest.mark.parametrize("settings", [{"unfreeze": "head"}, {"strategy": "linear_probe"}])
def test_a_frozen_network_is_not_trained(settings):
    network = FineTunedClassifier(TableNetwork, **settings)
    model = PrototypicalClassifier(network).fit(X, Y, **SUPPORT)
    without = PrototypicalClassifier(network, episodes_per_epoch=0).fit(X, Y, **SUPPORT)
    assert model.history_ == []
    assert (model.prototypes_ == without.prototypes_).all()


def test_stages_and_settings_of_the_estimator_count():
    source = FineTunedClassifier(hidden_layer_sizes=(8, 8), max_epochs=20).fit(X, Y)
    network = FineTunedClassifier(source, unfreeze=1, max_epochs=2, layer_decay=0.5)
    model = PrototypicalClassifier(network, tasks_per_step=3, episodes_per_epoch=6)
    model.fit(X, Y, **SUPPORT)
    before, after = (
        source.network_.features.state_dict(),
        model.estimator_.network_.features.state_dict(),
    )
    changed = {name for name in after if (before[name] != after[name]).any()}
    assert changed == {name for name in after if "hidden2" in name}
    assert len(model.history_) == 2 and "lr_hidden2" in model.history_[0]


class BatchNormed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.LazyLinear(8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1))


def test_batch_normalisation_learns_its_statistics_in_training():
    model = PrototypicalClassifier(FineTunedClassifier(BatchNormed, max_epochs=3))
    model.fit(X, Y, **SUPPORT)
    norm = dict(model.estimator_.network_.named_modules())["features.trunk.1"]
    assert (norm.running_mean != 0).all()
    one_by_one = np.concatenate([model.predict_proba(row[None]) for row in X_NEW[:5]])
    np.testing.assert_allclose(one_by_one, model.predict_proba(X_NEW)[:5], rtol=1e-5)


def test_images_are_augmented_and_texts_of_labels_come_back():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (24, 16, 16, 3)).astype(np.uint8)
    y = np.arange(24) % 4
    images[y == 1] //= 3
    network = FineTunedClassifier("tiny", max_epochs=1, unfreeze=1, augment=["flip", "crop"])
    model = PrototypicalClassifier(network, episodes_per_epoch=2)
    model.fit(images, y, X_target=images[:8], y_target=list("abcdabcd"))
    assert set(model.predict(images)) <= set("abcd")


def test_an_interrupted_training_draws_the_same_episodes(tmp_path, monkeypatch):
    def model(**settings):
        return prototypical(FineTunedClassifier(checkpoint=tmp_path, **STEPS), **settings)

    expected = prototypical(FineTunedClassifier(**STEPS)).fit(X, Y, **SUPPORT)
    replace, saved = os.replace, []

    def dies(source, target):
        replace(source, target)
        saved.append(target)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", dies)
        model().fit(X, Y, **SUPPORT)
    (file,) = tmp_path.iterdir()
    model(metric="cosine").fit(X, Y, **SUPPORT)  # another training
    model().fit(X, Y, **SUPPORT, groups=Y % 2)
    assert list(tmp_path.iterdir()) == [file]
    resumed = model().fit(X, Y, **SUPPORT)
    assert not list(tmp_path.iterdir())
    assert (resumed.prototypes_ == expected.prototypes_).all()


# --- the estimator ------------------------------------------------------------------------


def test_cross_validation_runs_over_support_sets():
    model = prototypical(FineTunedClassifier(**STEPS))
    cv = StratifiedShuffleSplit(3, train_size=12, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = cross_val_score(WithSource(model, X, Y), X_NEW, Y_NEW, cv=cv, error_score="raise")
        piped = make_pipeline(StandardScaler(), model)
        grid = {"estimator__prototypicalclassifier__metric": ["sqeuclidean", "cosine"]}
        search = GridSearchCV(WithSource(piped, X, Y), grid, cv=cv, error_score="raise")
        search.fit(X_NEW, Y_NEW)
        held = WithTarget(model, X_NEW[FEW], Y_NEW[FEW]).fit(X, Y)
    assert len(scores) == 3 and search.predict(X_NEW).dtype.kind == "U"
    assert (held.predict(X_NEW) == clone(model).fit(X, Y, **SUPPORT).predict(X_NEW)).all()


def test_several_sources_are_groups():
    sources = [X[Y < 6], X[Y >= 6]], [Y[Y < 6], Y[Y >= 6]]
    model = prototypical(FineTunedClassifier(**STEPS))
    several = WithSource(model, *sources).fit(X_NEW[FEW], Y_NEW[FEW])
    grouped = clone(model).fit(X, Y, **SUPPORT, groups=np.where(Y < 6, "first", "second"))
    plain = clone(model).fit(X, Y, **SUPPORT)
    assert (several.transform(X_NEW) == grouped.transform(X_NEW)).all()
    assert (plain.transform(X_NEW) != grouped.transform(X_NEW)).any()


@pytest.mark.parametrize("target", [{}, {"X_target": X_NEW}], ids=["no target", "no labels"])
def test_without_a_support_set_it_warns_and_takes_the_source(target):
    model = prototypical(FineTunedClassifier(**STEPS))
    with pytest.warns(DomainDataWarning, match="PrototypicalClassifier was given no"):
        model.fit(X, Y, **target)
    assert model.classes_.tolist() == list(range(12))
    np.testing.assert_allclose(model.prototypes_, means(model.transform(X), Y), rtol=1e-12)


def test_what_it_delegates():
    model = prototypical(FineTunedClassifier(**STEPS))
    assert is_classifier(model)
    for call in (model.predict, model.transform):
        with pytest.raises(NotFittedError):
            call(X)
    with pytest.raises(NotFittedError):
        model.adapt(X, Y)
    model.fit(X, Y, **SUPPORT)
    inner = model.estimator_
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        assert (getattr(model, method)(X) == getattr(inner, method)(X)).all()
    assert model.score(X_NEW, Y_NEW) == inner.score(X_NEW, Y_NEW)
    assert len(model.get_feature_names_out()) == model.transform(X).shape[1]
    again = FineTunedClassifier(model, strategy="linear_probe").fit(X_NEW, Y_NEW)
    assert (again.transform(X) == model.transform(X)).all()


def test_it_is_saved_and_loaded(tmp_path):
    pytest.importorskip("skops")
    model = prototypical(FineTunedClassifier(**STEPS)).fit(X, Y, **SUPPORT)
    again = skltransfer.load(skltransfer.save(model, tmp_path / "model.skops"))
    assert (again.predict_proba(X_NEW) == model.predict_proba(X_NEW)).all()
    for each in (again, model):
        each.partial_fit(X_NEW[REST], Y_NEW[REST])
    assert (again.predict_proba(X_NEW) == model.predict_proba(X_NEW)).all()


def test_data_frames_are_matched_by_name():
    pandas = pytest.importorskip("pandas")
    names = [f"column{i}" for i in range(X.shape[1])]
    source, target = (pandas.DataFrame(rows, columns=names) for rows in (X, X_NEW[FEW]))
    model = prototypical(FineTunedClassifier(**STEPS))
    named = clone(model).fit(source, Y, X_target=target[names[::-1]], y_target=Y_NEW[FEW])
    assert (named.prototypes_ == clone(model).fit(X, Y, **SUPPORT).prototypes_).all()


NETWORK = FineTunedClassifier(**STEPS)


@pytest.mark.parametrize("kind", [PrototypicalClassifier, MAMLClassifier])
@pytest.mark.parametrize(
    "settings, fit, error, words",
    [
        (
            {},
            {"y_target": np.full(len(FEW), "a")},
            ValueError,
            "y_target holds one class, 'a'",
        ),
        ({}, {"X_target": X_NEW[:0]}, ValueError, "X_target has 0 rows"),
        ({}, {"X_target": X_NEW[FEW, :3]}, ValueError, "X_target has 3 features"),
        ({}, {"X_target": None}, ValueError, "y_target was given without X_target"),
        ({}, {"X_target": np.full((len(FEW), 10), np.nan)}, ValueError, "X_target contains NaN"),
        ({}, {"y_target": Y_NEW[:3]}, ValueError, "y_target has 3 entries"),
        ({}, {"y": np.full(len(Y), 3)}, ValueError, "y holds one class"),
        ({}, {"y": np.eye(12, dtype=int)[Y]}, ValueError, "y has several labels per sample"),
        ({}, {"y": np.where(Y == 2, np.nan, Y)}, ValueError, "y contains NaN"),
        ({}, {"groups": Y[:5]}, ValueError, "groups has 5 entries"),
        (
            {},
            {"groups": Y, "sample_domain": Y + 1},
            ValueError,
            "groups and sample_domain were",
        ),
        ({}, {"groups": Y}, ValueError, "at most 1 classes in one group. Lower n_way"),
        ({"n_way": 13}, {}, ValueError, "n_way=13, and the source has at most 12 classes"),
        ({"n_shot": 20}, {}, ValueError, "An episode needs n_shot . n_query = 20 . 1 samples"),
        ({"n_way": 1}, {}, ValueError, "n_way=1 is not"),
        ({"estimator": LogisticRegression()}, {}, TypeError, "is not a FineTunedClassifier"),
        ({"estimator": FineTunedRegressor()}, {}, TypeError, "is not a FineTunedClassifier"),
        ({"estimator__optimizer": "lbfgs"}, {}, ValueError, "not go with training in episodes"),
        ({"estimator__early_stopping": True}, {}, ValueError, "estimator has early_stopping=True"),
        ({"estimator__head": "mlp"}, {}, ValueError, "estimator has head='mlp', which .* does not"),
        ({"estimator__strategy": "lp_ft"}, {}, ValueError, "has strategy='lp_ft', and"),
        ({"estimator__augment": "mixup"}, {}, ValueError, "augment='mixup', which mixes"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_input(kind, settings, fit, error, words):
    model = clone(kind(NETWORK)).set_params(**settings)
    given = {"X": X, "y": Y} | SUPPORT | fit
    if "X_target" in fit and fit["X_target"] is not None:
        given["y_target"] = Y_NEW[FEW][: len(fit["X_target"])]
    with pytest.raises(error, match=words):
        model.fit(**given)


def test_moons_are_told_apart_by_default():
    moons, y = make_moons(200, noise=0.1, random_state=0)
    model = PrototypicalClassifier(episodes_per_epoch=20)
    with pytest.warns(DomainDataWarning):
        model.fit(moons[:100], y[:100])
    assert model.score(moons[100:], y[100:]) > 0.8
