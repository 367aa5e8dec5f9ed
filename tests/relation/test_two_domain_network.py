"""Deep CORAL: its distance against numpy, its training against its estimator alone."""

import os
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_moons
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from skltransfer import (
    DeepCORALClassifier,
    DomainDataWarning,
    FineTunedClassifier,
    FineTunedRegressor,
    RegularizedTransferClassifier,
    WithTarget,
)
from skltransfer.relation._discrepancy import coral_distance
from tests.doubles import TableNetwork

STEPS = {"optimizer": "adamw", "lr": 0.01, "max_epochs": 4, "hidden_layer_sizes": (8,)}


def turned_moons(seed, n=200, degrees=30):
    """Return labelled moons, and others that are turned about their centre."""
    X, y = make_moons(n, noise=0.1, random_state=seed)
    X_target, y_target = make_moons(n, noise=0.1, random_state=seed + 100)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    centre = X.mean(0)
    return X, y, (X_target - centre) @ [[cos, sin], [-sin, cos]] + centre, y_target


X, Y, X_TARGET, Y_TARGET = turned_moons(0, 80)


# --- the distance --------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_the_distance_is_that_of_numpy(weighted):
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(30, 4)) @ rng.normal(size=(4, 4)), rng.normal(size=(20, 4))
    weights = rng.integers(1, 4, size=30) if weighted else None
    own = np.cov(source.T, bias=True, fweights=weights)
    expected = ((own - np.cov(target.T, bias=True)) ** 2).sum() / (4 * 4**2)
    given = None if weights is None else torch.tensor(weights / weights.mean())
    found = coral_distance(torch.tensor(source), torch.tensor(target), given)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_the_gradient_of_the_distance():
    rng = torch.Generator().manual_seed(0)
    source, target = (
        torch.randn(n, 3, generator=rng, dtype=torch.float64, requires_grad=True) for n in (7, 5)
    )
    weights = torch.rand(7, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: coral_distance(a, b, weights), (source, target))


def test_equal_covariances_are_at_no_distance():
    source = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(coral_distance(source, source + 5.0)) == pytest.approx(0.0, abs=1e-24)


# --- the training --------------------------------------------------------------------------


def test_turned_moons_are_told_apart():
    """5 points above the source alone, over 5 draws."""
    gains = []
    for seed in range(5):
        X, y, X_target, y_target = turned_moons(seed)
        network = FineTunedClassifier(
            hidden_layer_sizes=(32, 32),
            optimizer="adamw",
            lr=0.01,
            max_epochs=60,
            random_state=seed,
        )
        model = DeepCORALClassifier(network, trade_off=1000.0).fit(X, y, X_target=X_target)
        gains.append(
            model.score(X_target, y_target) - clone(network).fit(X, y).score(X_target, y_target)
        )
    assert np.mean(gains) > 0.05
    assert min(gains) > 0


@pytest.mark.parametrize(
    "network",
    [
        FineTunedClassifier(max_epochs=20),
        FineTunedClassifier(TableNetwork, strategy="lp_ft", dropout=0.2, max_epochs=3),
        FineTunedClassifier(balanced_batches=True, early_stopping=True, augment="mixup", **STEPS),
    ],
    ids=["full batch", "two phases", "steps"],
)
def test_without_trade_off_it_is_its_estimator(network):
    model = DeepCORALClassifier(network, trade_off=0).fit(X, Y, X_target=X_TARGET)
    assert (model.decision_function(X) == clone(network).fit(X, Y).decision_function(X)).all()


def test_the_size_of_the_target_changes_neither_steps_nor_order():
    """With next to no trade-off the steps are those of the estimator, for every target."""
    network = FineTunedClassifier(**STEPS)
    expected = clone(network).fit(X, Y)
    for n in (3, 80, 400):
        X_target = np.resize(X_TARGET, (n, 2))
        model = DeepCORALClassifier(network, trade_off=1e-300).fit(X, Y, X_target=X_target)
        np.testing.assert_allclose(
            model.decision_function(X), expected.decision_function(X), rtol=1e-9
        )
        for own, alone in zip(model.history_, expected.history_, strict=True):
            assert own["lr_head"] == alone["lr_head"]
            assert own["label_loss"] == pytest.approx(alone["train_loss"], rel=1e-2)


@pytest.mark.parametrize("settings", [STEPS, {"max_epochs": 20}], ids=["steps", "full batch"])
def test_the_history_has_every_term(settings):
    model = DeepCORALClassifier(FineTunedClassifier(**settings), trade_off=50.0)
    model.fit(X, Y, X_target=X_TARGET)
    for record in model.history_:
        assert record["coral_loss"] > 0
        if settings is STEPS:
            total = record["label_loss"] + record["coral_loss"]
            assert record["train_loss"] == pytest.approx(total, rel=1e-10)
        else:  # L-BFGS adds the weight decay
            assert record["train_loss"] > record["label_loss"] + record["coral_loss"]
    assert model.history_ is model.estimator_.history_


def test_the_features_come_nearer():
    distances = []
    for trade_off in (0.0, 1000.0):
        model = DeepCORALClassifier(FineTunedClassifier(**STEPS), trade_off=trade_off)
        model.fit(X, Y, X_target=X_TARGET)
        features = (torch.tensor(model.transform(rows)) for rows in (X, X_TARGET))
        distances.append(float(coral_distance(*features)))
    assert distances[1] < 0.8 * distances[0]


def test_a_weight_of_two_is_a_sample_given_twice():
    weights = np.random.default_rng(0).integers(1, 3, len(X))
    X_repeated, y_repeated = np.repeat(X, weights, axis=0), np.repeat(Y, weights)
    model = DeepCORALClassifier(FineTunedClassifier(max_epochs=20), trade_off=50.0)
    weighted = clone(model).fit(X, Y, weights, X_target=X_TARGET)
    repeated = clone(model).fit(X_repeated, y_repeated, X_target=X_TARGET)
    assert (weighted.decision_function(X) == repeated.decision_function(X)).all()


def test_known_target_labels_join_the_loss():
    y_target = np.where(np.arange(len(Y_TARGET)) < 20, Y_TARGET.astype(float), np.nan)
    model = DeepCORALClassifier(FineTunedClassifier(**STEPS), trade_off=0)
    model.fit(X, Y, X_target=X_TARGET, y_target=y_target)
    joined = FineTunedClassifier(**STEPS)
    joined.fit(np.concatenate([X, X_TARGET[:20]]), np.concatenate([Y, Y_TARGET[:20]]))
    assert (model.decision_function(X) == joined.decision_function(X)).all()


def test_the_penalties_of_its_estimator_stay():
    source = FineTunedClassifier(**STEPS).fit(X, Y)
    settings = {name: value for name, value in STEPS.items() if name != "hidden_layer_sizes"}
    near = RegularizedTransferClassifier(source, penalty="delta", alpha=1.0, **settings)
    model = DeepCORALClassifier(near, trade_off=10.0).fit(X, Y, X_target=X_TARGET)
    terms = {"label_loss", "map_loss_hidden1", "coral_loss"}
    assert terms <= set(model.history_[-1])
    assert type(model.estimator_.network_.features).__name__ == "FeatureNetwork"
    pulled = DeepCORALClassifier(
        RegularizedTransferClassifier(source, alpha=1e6, **settings), trade_off=10.0
    ).fit(X, Y, X_target=X_TARGET)
    np.testing.assert_allclose(pulled.transform(X), source.transform(X), atol=1e-4)


def test_images_of_two_domains():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (12, 16, 16, 3)).astype(np.uint8)
    y = np.arange(12) % 2
    images[y == 1] //= 3
    network = FineTunedClassifier("tiny", max_epochs=2, unfreeze=1, augment="flip")
    model = DeepCORALClassifier(network).fit(images, y, X_target=images[:7] // 2)
    assert model.predict(images).shape == (12,)
    assert all(np.isfinite(record["coral_loss"]) for record in model.history_)


# --- the estimator -------------------------------------------------------------------------


def test_an_interrupted_training_goes_on_with_its_own_target(tmp_path, monkeypatch):
    def model(trade_off=5.0):
        network = FineTunedClassifier(checkpoint=tmp_path, **STEPS)
        return DeepCORALClassifier(network, trade_off=trade_off)

    expected = DeepCORALClassifier(FineTunedClassifier(**STEPS), trade_off=5.0)
    expected.fit(X, Y, X_target=X_TARGET)
    replace, saved = os.replace, []

    def dies(source, target):
        replace(source, target)
        saved.append(target)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", dies)
        model().fit(X, Y, X_target=X_TARGET)
    (file,) = tmp_path.iterdir()
    model().fit(X, Y, X_target=X_TARGET[:50])  # other data, and another loss, start anew
    model(6.0).fit(X, Y, X_target=X_TARGET)
    assert list(tmp_path.iterdir()) == [file]
    resumed = model().fit(X, Y, X_target=X_TARGET)
    assert not list(tmp_path.iterdir())
    assert (resumed.decision_function(X) == expected.decision_function(X)).all()


def test_parameters_of_its_estimator_are_searched():
    model = DeepCORALClassifier(FineTunedClassifier(max_epochs=5), trade_off=1.0)
    grid = {"estimator__unfreeze": ["head", "all"], "trade_off": [0.0, 10.0]}
    search = GridSearchCV(WithTarget(model, X_TARGET), {f"estimator__{k}": grid[k] for k in grid})
    search.fit(X, Y)
    assert set(search.best_params_) == {"estimator__estimator__unfreeze", "estimator__trade_off"}


def test_without_a_target_it_warns_and_trains_its_estimator():
    network = FineTunedClassifier(max_epochs=20)
    with pytest.warns(DomainDataWarning, match="DeepCORALClassifier was given no X_target"):
        model = DeepCORALClassifier(network).fit(X, Y)
    assert (model.decision_function(X) == clone(network).fit(X, Y).decision_function(X)).all()


def test_what_it_delegates():
    model = DeepCORALClassifier()
    assert is_classifier(model)
    with pytest.raises(NotFittedError):
        model.predict(X)
    model.set_params(estimator=FineTunedClassifier(max_epochs=5)).fit(X, Y, X_target=X_TARGET)
    inner = model.estimator_
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        assert (getattr(model, method)(X) == getattr(inner, method)(X)).all()
    assert (model.transform(X) == inner.transform(X)).all()
    assert model.score(X, Y) == inner.score(X, Y)
    assert model.classes_.tolist() == [0, 1] and model.n_features_in_ == 2
    assert len(model.get_feature_names_out()) == model.transform(X).shape[1]
    again = FineTunedClassifier(model, max_epochs=5).fit(X, Y)
    assert again.score(X, Y) > 0.8


def test_data_frames_are_matched_by_name():
    pandas = pytest.importorskip("pandas")
    source = pandas.DataFrame(X, columns=["a", "b"])
    target = pandas.DataFrame(X_TARGET[:, ::-1], columns=["b", "a"])
    model = DeepCORALClassifier(FineTunedClassifier(max_epochs=5), trade_off=10.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = clone(model).fit(source, Y, X_target=target)
    plain = clone(model).fit(X, Y, X_target=X_TARGET)
    assert (named.predict_proba(source) == plain.predict_proba(X)).all()


@pytest.mark.parametrize(
    "model, fit, error, words",
    [
        (DeepCORALClassifier(trade_off=-1), {}, ValueError, "trade_off=-1 is not"),
        (DeepCORALClassifier(LogisticRegression()), {}, TypeError, "not a classifier that trains"),
        (DeepCORALClassifier(FineTunedRegressor()), {}, TypeError, "not a classifier that trains"),
        (DeepCORALClassifier(), {"X_target": X[:0]}, ValueError, "X_target has 0 rows"),
        (DeepCORALClassifier(), {"X_target": X[:, :1]}, ValueError, "X_target has 1 features"),
        (
            DeepCORALClassifier(),
            {"X_target": None, "y_target": Y},
            ValueError,
            "y_target was given without X_target",
        ),
        (
            DeepCORALClassifier(),
            {"X_target": np.full((3, 2), np.nan)},
            ValueError,
            "contains NaN",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_input(model, fit, error, words):
    with pytest.raises(error, match=words):
        model.fit(X, Y, **{"X_target": X_TARGET} | fit)
