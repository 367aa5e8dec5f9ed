"""Networks trained on two domains, each against its estimator alone and against its formula."""

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
    CDANClassifier,
    DANClassifier,
    DANNClassifier,
    DANNRegressor,
    DANRegressor,
    DeepCORALClassifier,
    DeepCORALRegressor,
    DomainDataWarning,
    FineTunedClassifier,
    FineTunedRegressor,
    MCCClassifier,
    RegularizedTransferClassifier,
    WithTarget,
)
from skltransfer.persistence import export_torch, load, save
from skltransfer.relation._discrepancy import coral_distance, multi_kernel_mmd
from tests.doubles import TableNetwork

# Each with the names of its own terms.
CLASSIFIERS = {
    CDANClassifier: ["domain_loss"],
    DANClassifier: ["mmd_loss"],
    DANNClassifier: ["domain_loss"],
    DeepCORALClassifier: ["coral_loss"],
    MCCClassifier: ["confusion_loss"],
}
REGRESSORS = {
    DANNRegressor: ["domain_loss"],
    DANRegressor: ["mmd_loss"],
    DeepCORALRegressor: ["coral_loss"],
}
GAMES = (CDANClassifier, DANNClassifier, DANNRegressor)
every = pytest.mark.parametrize("kind", CLASSIFIERS | REGRESSORS)
every_classifier = pytest.mark.parametrize("kind", CLASSIFIERS)

STEPS = {"optimizer": "adamw", "lr": 0.01, "max_epochs": 4, "hidden_layer_sizes": (8,)}


def turned_moons(seed, n=200, degrees=30):
    """Return labelled moons, and others that are turned about their centre."""
    X, y = make_moons(n, noise=0.1, random_state=seed)
    X_target, y_target = make_moons(n, noise=0.1, random_state=seed + 100)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    centre = X.mean(0)
    return X, y, (X_target - centre) @ [[cos, sin], [-sin, cos]] + centre, y_target


X, Y, X_TARGET, Y_TARGET = turned_moons(0, 80)


# --- the training --------------------------------------------------------------------------


def network_of(kind, **settings):
    network = FineTunedClassifier if kind in CLASSIFIERS else FineTunedRegressor
    return network(**(settings or STEPS))


def outputs(model, X=X):
    return model.decision_function(X) if is_classifier(model) else model.predict(X)


@pytest.mark.parametrize(
    "kind, trade_off", [(DANNClassifier, 1.0), (DANClassifier, 1.0), (DeepCORALClassifier, 1000.0)]
)
def test_turned_moons_are_told_apart(kind, trade_off):
    """Two draws; the benchmark has five, and every method."""
    gains = []
    for seed in (0, 2):
        X, y, X_target, y_target = turned_moons(seed)
        network = FineTunedClassifier(
            hidden_layer_sizes=(32, 32),
            optimizer="adamw",
            lr=0.01,
            max_epochs=60,
            random_state=seed,
        )
        model = kind(network, trade_off=trade_off).fit(X, y, X_target=X_target)
        gains.append(
            model.score(X_target, y_target) - clone(network).fit(X, y).score(X_target, y_target)
        )
    assert np.mean(gains) > 0.05


@every
@pytest.mark.parametrize(
    "settings",
    [
        {"max_epochs": 20},
        {"backbone": TableNetwork, "strategy": "lp_ft", "dropout": 0.2, "max_epochs": 3},
        {"early_stopping": True, "augment": "mixup"} | STEPS,
    ],
    ids=["full batch", "two phases", "steps"],
)
def test_without_trade_off_it_is_its_estimator(kind, settings):
    model = kind(network_of(kind, **settings), trade_off=0).fit(X, Y, X_target=X_TARGET)
    network = network_of(kind, **settings)
    if kind in GAMES:  # a game is played in steps
        network.set_params(optimizer="adamw")
    assert model.estimator_.get_params() == network.get_params()
    assert (outputs(model) == outputs(network.fit(X, Y))).all()


@every
def test_the_target_changes_neither_optimiser_nor_order(kind):
    """With next to no trade-off the steps are those of the estimator, for every target."""
    expected = network_of(kind).fit(X, Y)
    for n in (3, 160):
        X_target = np.resize(X_TARGET, (n, 2))
        model = kind(network_of(kind), trade_off=1e-300).fit(X, Y, X_target=X_target)
        np.testing.assert_allclose(outputs(model), outputs(expected), rtol=1e-9)
        for own, alone in zip(model.history_, expected.history_, strict=True):
            assert own["lr_head"] == alone["lr_head"]
            assert own["label_loss"] == pytest.approx(alone["train_loss"], rel=1e-2)
    with pytest.warns(DomainDataWarning):
        without = kind(network_of(kind, max_epochs=2)).fit(X, Y)
    both = kind(network_of(kind, max_epochs=2)).fit(X, Y, X_target=X_TARGET)
    assert without.estimator_.get_params() == both.estimator_.get_params()


@every
def test_the_history_has_every_term(kind):
    model = kind(network_of(kind)).fit(X, Y, X_target=X_TARGET)
    names = ["label_loss", *(CLASSIFIERS | REGRESSORS)[kind]]
    for record in model.history_:
        assert {name for name in record if name.endswith("loss")} == {"train_loss", *names}
        total = sum(record[name] for name in names)
        assert record["train_loss"] == pytest.approx(total, rel=1e-10)
        assert ("domain_accuracy" in record) == (kind in GAMES)
        assert 0 <= record.get("domain_accuracy", 0.5) <= 1
        assert ("lr_objective" in record) == (kind in GAMES)
    assert model.history_ is model.estimator_.history_


@pytest.mark.parametrize("kind", [k for k in CLASSIFIERS if k not in GAMES])
def test_all_samples_at_once(kind):
    """The family's formula: loss + trade_off * distance, minimised by L-BFGS."""
    model = kind(FineTunedClassifier(max_epochs=20), trade_off=2.0).fit(X, Y, X_target=X_TARGET)
    (name,) = CLASSIFIERS[kind]
    last = model.history_[-1]
    assert last["train_loss"] > last["label_loss"] + last[name]  # and the weight decay
    distance = {"coral_loss": coral_distance, "mmd_loss": multi_kernel_mmd}.get(name)
    if distance is not None:
        features = (torch.tensor(model.transform(rows)) for rows in (X, X_TARGET))
        assert last[name] == pytest.approx(2 * float(distance(*features)), rel=1e-6)


@pytest.mark.parametrize("kind", GAMES)
def test_a_game_is_played_in_steps(kind):
    with pytest.raises(ValueError, match="two networks against each other.*'adamw' or 'sgd'"):
        kind(network_of(kind, optimizer="lbfgs")).fit(X, Y, X_target=X_TARGET)
    network = network_of(kind, max_epochs=2)
    assert kind(network).fit(X, Y, X_target=X_TARGET).estimator_.optimizer == "adamw"
    assert network.optimizer == "auto"


def test_the_domain_is_hidden():
    """Without reversal the domain classifier tells turned moons apart, with it hardly."""
    X, y, X_target, _ = turned_moons(0, 120, degrees=60)
    network = FineTunedClassifier(**STEPS | {"max_epochs": 30})
    accuracy = {}
    for trade_off in (1e-300, 3.0):
        model = DANNClassifier(network, trade_off=trade_off).fit(X, y, X_target=X_target)
        accuracy[trade_off] = model.history_[-1]["domain_accuracy"]
    assert accuracy[1e-300] > accuracy[3.0] + 0.03


def test_what_the_domain_classifier_is_told():
    """Each of the two parameters changes what is learned."""
    base = CDANClassifier(network_of(CDANClassifier))
    fits = [
        outputs(clone(base).set_params(**change).fit(X, Y, X_target=X_TARGET))
        for change in (
            {},
            {"entropy_conditioning": False},
            {"domain_hidden_layer_sizes": ()},
            {"trade_off_schedule": "constant"},
        )
    ]
    assert all((fits[0] != other).any() for other in fits[1:])
    again = clone(base).fit(X, Y, X_target=X_TARGET)
    assert (outputs(again) == fits[0]).all()


def test_early_stopping_by_the_target():
    """The best epoch is that of the most informative predictions on the target."""
    settings = STEPS | {"max_epochs": 8, "early_stopping": True, "patience": 2, "lr": 0.1}
    model = DANNClassifier(FineTunedClassifier(**settings), validate_on="target")
    model.fit(X, Y, X_target=X_TARGET)
    found = [record["valid_loss"] for record in model.history_]
    p = model.predict_proba(X_TARGET)
    information = (p * np.log(p)).sum(1).mean() - p.mean(0) @ np.log(p.mean(0))
    assert min(found) == pytest.approx(-information, rel=1e-9)
    # No source sample is set aside.
    plain = DANNClassifier(FineTunedClassifier(**settings | {"early_stopping": False}))
    plain.fit(X, Y, X_target=X_TARGET)
    assert plain.history_[0]["train_loss"] == model.history_[0]["train_loss"]
    on_source = DANNClassifier(FineTunedClassifier(**settings)).fit(X, Y, X_target=X_TARGET)
    assert on_source.history_[0]["valid_loss"] > 0


def test_classes_that_do_not_exclude_each_other():
    labels = np.column_stack([Y, X[:, 0] > 0])
    for kind in (CDANClassifier, MCCClassifier):
        with pytest.raises(ValueError, match="several labels for each sample.*DANNClassifier"):
            kind(network_of(kind)).fit(X, labels, X_target=X_TARGET)
    model = DANNClassifier(network_of(DANNClassifier)).fit(X, labels, X_target=X_TARGET)
    assert model.predict(X_TARGET).shape == (80, 2)


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


class PlainNetwork(torch.nn.Module):
    """A convolution and a layer for 8 x 8 pixels."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(1, 2, 3)
        self.second = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(72, 4))

    def forward(self, x):
        return self.second(self.first(x))


@every_classifier
def test_images_of_two_domains(kind):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (12, 16, 16, 3)).astype(np.uint8)
    y = np.arange(12) % 3
    images[y == 1] //= 3
    network = FineTunedClassifier("tiny", max_epochs=1, unfreeze=1, augment="flip")
    model = kind(network).fit(images, y, X_target=images[:7, ::2, ::2] // 2)  # another size
    assert model.predict(images).shape == (12,)
    for name in CLASSIFIERS[kind]:
        assert all(np.isfinite(record[name]) for record in model.history_)


def test_images_of_a_size_that_the_network_does_not_take():
    images = np.random.default_rng(0).integers(0, 255, (8, 8, 8)).astype(np.uint8)
    model = DANNClassifier(FineTunedClassifier(PlainNetwork, max_epochs=1))
    with pytest.raises(ValueError, match=r"rows of shape \(1, 12, 12\).*Give X_target"):
        model.fit(images, np.arange(8) % 2, X_target=np.pad(images, ((0, 0), (2, 2), (2, 2))))


def test_mixed_precision_and_several_passes():
    settings = {"precision": "bfloat16", "accumulate": 2, "max_epochs": 2, "optimizer": "adamw"}
    for kind in (DANNClassifier, CDANClassifier, DANClassifier, MCCClassifier):
        model = kind(FineTunedClassifier(**settings)).fit(X, Y, X_target=X_TARGET)
        assert all(np.isfinite(record["train_loss"]) for record in model.history_)
    whole = DANNClassifier(network_of(DANNClassifier)).fit(X, Y, X_target=X_TARGET)
    parts = DANNClassifier(network_of(DANNClassifier, accumulate=2, **STEPS))
    parts.fit(X, Y, X_target=X_TARGET)
    np.testing.assert_allclose(outputs(parts), outputs(whole), rtol=1e-6)


# --- the estimator -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [CDANClassifier, DeepCORALClassifier])
def test_an_interrupted_training_goes_on_with_its_own_target(kind, tmp_path, monkeypatch):
    def model(trade_off=5.0):
        network = FineTunedClassifier(checkpoint=tmp_path, **STEPS)
        return kind(network, trade_off=trade_off)

    expected = kind(FineTunedClassifier(**STEPS), trade_off=5.0)
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


@every
def test_without_a_target_it_warns_and_trains_its_estimator(kind):
    with pytest.warns(DomainDataWarning, match=f"{kind.__name__} was given no X_target"):
        model = kind(network_of(kind)).fit(X, Y)
    assert (outputs(model) == outputs(network_of(kind).fit(X, Y))).all()


@every
def test_it_is_a_backbone_and_is_saved_and_exported(kind, tmp_path):
    model = kind(network_of(kind)).fit(X, Y, X_target=X_TARGET)
    save(model, tmp_path / "model.skt")
    loaded = load(tmp_path / "model.skt")
    assert (outputs(loaded) == outputs(model)).all()
    assert (loaded.transform(X) == model.transform(X)).all()
    frozen = network_of(kind, backbone=model, strategy="linear_probe", max_epochs=2).fit(X, Y)
    np.testing.assert_allclose(frozen.transform(X), model.transform(X), rtol=1e-6)
    export_torch(model.estimator_, tmp_path / "model.pt2", X)


@every_classifier
def test_what_it_delegates(kind):
    model = kind()
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
        (DANNClassifier(FineTunedRegressor()), {}, TypeError, "not a classifier that trains"),
        (DANRegressor(FineTunedClassifier()), {}, TypeError, "FineTunedRegressor or a Regularized"),
        (DANNClassifier(trade_off_schedule="x"), {}, ValueError, "trade_off_schedule='x'"),
        (DANNClassifier(domain_hidden_layer_sizes=(0,)), {}, ValueError, "domain_hidden_layer"),
        (MCCClassifier(temperature=0), {}, ValueError, "temperature=0"),
        (CDANClassifier(), {"y": np.zeros(80)}, ValueError, "at least 2 classes"),
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
        model.fit(X, **{"y": Y, "X_target": X_TARGET} | fit)
