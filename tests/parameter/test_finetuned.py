"""FineTunedClassifier and FineTunedRegressor: what a user of scikit-learn relies on."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from torch import nn
from torch.nn import functional

from skltransfer import (
    FineTunedClassifier,
    FineTunedRegressor,
    KMMReweighter,
    PooledEstimator,
    PretrainedFeatureTransformer,
    WithSource,
)
from skltransfer._networks._built import SharedNetwork

LABELS = np.array(["ash", "birch", "cedar", "date"])
IMAGES = {"image_shape": (8, 8), "value_range": (0, 16)}
# Mini-batches, and few of them.
QUICK = {"optimizer": "adamw", "lr": 0.02, "max_epochs": 4, "batch_size": 16}


class Net(nn.Module):
    """A table network with everything that training may move."""

    def __init__(self, n_columns=64):
        super().__init__()
        self.low = nn.Sequential(nn.Linear(n_columns, 12), nn.BatchNorm1d(12), nn.ReLU())
        self.middle = nn.Sequential(nn.Dropout(0.3), nn.Linear(12, 8), nn.BatchNorm1d(8))
        self.top = nn.Sequential(nn.ReLU(), nn.Linear(8, 6), nn.BatchNorm1d(6))

    def forward(self, x):
        return self.top(self.middle(self.low(x)))


def net(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Net()
        module.train()
        module(torch.randn(50, 64))  # running statistics of its own
    return module.eval()


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    keep = np.flatnonzero(y < 4)[:120]
    X, y = X[keep], y[keep]
    X.setflags(write=False)
    y.setflags(write=False)
    return X, y


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return {name for name in a if torch.equal(a[name], b[name])}


def outputs(model, X):
    return model.decision_function(X) if hasattr(model, "classes_") else model.predict(X)


# --- nothing is changed, everything repeats --------------------------------------------------

MODELS = {
    "table, all rows": FineTunedClassifier(max_epochs=20),
    "table, steps": FineTunedClassifier(dropout=0.3, **QUICK),
    "module": FineTunedClassifier(net(), augment="mixup", **QUICK),
    "lp_ft": FineTunedClassifier(net(), strategy="lp_ft", max_epochs=3, early_stopping=True),
    "images": FineTunedClassifier(
        "tiny", image_shape=(8, 8), value_range=(0, 16), augment=["flip", "cutmix"], max_epochs=1
    ),
    "regressor": FineTunedRegressor(net(), ema_decay=0.9, **QUICK),
}
few_iterations = pytest.mark.filterwarnings("ignore:L-BFGS stopped")


@few_iterations
@pytest.mark.parametrize("name", MODELS)
def test_a_fit_repeats_and_leaves_everything_else_as_it_was(digits, name):
    X, y = digits  # read-only
    model = MODELS[name]
    module = model.backbone if isinstance(model.backbone, nn.Module) else nn.Identity()
    before, was_training = state(module), module.training
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    numpy_config, threads = np.geterr(), torch.get_num_threads()
    weights = np.linspace(1, 2, len(y))
    weights.setflags(write=False)
    first = clone(model).fit(X, y, sample_weight=weights)
    predicted = outputs(first, X)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state[1])
    assert (np.geterr(), torch.get_num_threads()) == (numpy_config, threads)
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()
    torch.manual_seed(77)
    np.random.seed(77)
    second = clone(model).fit(X, y, sample_weight=weights)
    torch.set_rng_state(torch_state)
    np.random.set_state(numpy_state)
    np.testing.assert_array_equal(outputs(second, X), predicted)
    np.testing.assert_array_equal(outputs(first, X), predicted)
    assert same(before, module.state_dict()) == set(before)
    assert module.training == was_training
    assert all(p.requires_grad for p in module.parameters())
    other = clone(model).set_params(random_state=1).fit(X, y, sample_weight=weights)
    if name != "images":
        assert not np.array_equal(outputs(other, X), predicted)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_workers_compute_the_same(digits, backend):
    X, y = digits
    model = FineTunedClassifier(net(), dropout=0.3, augment="mixup", **QUICK)
    expected = cross_val_predict(model, X, y, cv=3, method="decision_function")
    state = torch.get_rng_state()
    with joblib.parallel_config(backend, n_jobs=2):
        found = cross_val_predict(model, X, y, cv=3, method="decision_function")
    np.testing.assert_array_equal(found, expected)
    assert torch.equal(torch.get_rng_state(), state)


@few_iterations
@pytest.mark.parametrize("kind", ["table", "module"])
@pytest.mark.parametrize("strategy", ["finetune", "lp_ft", "linear_probe"])
def test_a_fitted_estimator_leaks_nothing_into_its_clones(kind, strategy):
    """With random labels, a network that has seen the test rows knows them; a clone has not."""
    torch.manual_seed(0)
    backbone = None if kind == "table" else nn.Sequential(nn.Linear(64, 64), nn.Tanh())
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 64)), rng.permutation(120) % 2
    model = FineTunedClassifier(backbone, strategy=strategy, max_epochs=60, weight_decay=1e-4)
    model.fit(X, y)
    assert model.score(X, y) > 0.75
    assert cross_val_score(model, X, y, cv=4).mean() < 0.62
    fresh = FineTunedClassifier(**model.get_params(deep=False)).fit(X[:60], y[:60])
    np.testing.assert_array_equal(outputs(clone(model).fit(X[:60], y[:60]), X), outputs(fresh, X))
    # Even the same object, fitted again, starts from the weights that it was given.
    np.testing.assert_array_equal(outputs(model.fit(X[:60], y[:60]), X), outputs(fresh, X))


@few_iterations
def test_pickles_and_copies_predict_the_same(digits):
    X, y = digits
    for name in ("table, steps", "module", "images"):
        model = clone(MODELS[name]).fit(X, y)
        for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            np.testing.assert_array_equal(outputs(copied, X), outputs(model, X))


# --- labels --------------------------------------------------------------------------------


@few_iterations
@pytest.mark.parametrize(
    "names",
    [
        LABELS,
        LABELS.astype(object),
        np.array([7, -1, 3, 12]),
        np.array([0.0, 2.0, 1.0, 5.0]),
        np.array([False, True, False, True]),
    ],
    ids=["str", "object", "int", "float", "bool"],
)
def test_labels_of_any_kind(digits, names):
    X, y = digits
    model = FineTunedClassifier(max_epochs=30).fit(X, names[y])
    np.testing.assert_array_equal(model.classes_, np.unique(names))
    assert model.predict(X).dtype == model.classes_.dtype
    assert model.score(X, names[y]) == 1
    p = model.predict_proba(X)
    assert p.shape == (len(X), len(model.classes_))
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(p), atol=1e-9)
    scores = model.decision_function(X)
    chosen = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
    np.testing.assert_array_equal(model.classes_[chosen], model.predict(X))


@few_iterations
def test_labels_in_other_containers(digits):
    X, y = digits
    model = FineTunedClassifier(max_epochs=30)
    expected = model.fit(X, LABELS[y]).decision_function(X)
    frame = pd.DataFrame(X, columns=[f"pixel{i}" for i in range(64)])
    for labels in (
        LABELS[y].tolist(),
        pd.Series(LABELS[y], index=np.arange(len(y)) + 1000),
        pd.Series(LABELS[y]).astype("category"),
    ):
        found = model.fit(frame, labels, sample_weight=[1.0] * len(y)).decision_function(frame)
        np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_array_equal(model.feature_names_in_, frame.columns)
    with pytest.warns(DataConversionWarning):
        model.fit(X, LABELS[y][:, None])
    pl = pytest.importorskip("polars")
    model.fit(pl.DataFrame(frame), pl.Series(LABELS[y]))
    np.testing.assert_allclose(model.decision_function(frame), expected, atol=1e-9)
    np.testing.assert_allclose(
        model.fit(torch.tensor(X), torch.tensor(y)).decision_function(torch.tensor(X)), expected
    )


@few_iterations
@pytest.mark.parametrize("settings", [{"max_epochs": 60}, QUICK | {"max_epochs": 60}])
def test_several_labels_a_row(digits, settings):
    X, y = digits
    Y = np.column_stack([y > 1, y % 2, y == 0]).astype(int)
    model = FineTunedClassifier(**settings).fit(X, Y)
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert model.score(X, Y) > 0.95
    p = model.predict_proba(X)
    assert p.shape == Y.shape
    np.testing.assert_array_equal(model.predict(X), (p > 0.5).astype(int))
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(p), atol=1e-9)
    sparse = clone(model).fit(X, sp.csr_matrix(Y))
    np.testing.assert_array_equal(sparse.predict_proba(X), p)
    part = FineTunedClassifier(**QUICK).partial_fit(X, Y).partial_fit(X, Y)
    assert part.predict(X).shape == Y.shape


@few_iterations
def test_several_numbers_a_row(digits):
    X, y = digits
    Y = np.column_stack([y * 1000.0, -y + 0.5])
    model = FineTunedRegressor(max_epochs=60).fit(X, Y)
    assert model.score(X, Y) > 0.9
    one = FineTunedRegressor(max_epochs=60).fit(X, Y[:, 0])
    assert model.predict(X).shape == Y.shape and one.predict(X).shape == (len(X),)
    column = clone(one).fit(X, Y[:, :1])
    np.testing.assert_array_equal(column.predict(X)[:, 0], one.predict(X))


@few_iterations
@pytest.mark.parametrize("unit, origin", [(1e-200, 0.0), (1e250, 0.0), (1.0, 1e9), (0.0, 5.0)])
def test_numbers_of_any_size(digits, unit, origin):
    X, y = digits
    target = y * unit + origin
    reference = FineTunedRegressor(max_epochs=30).fit(X, y.astype(float))
    predicted = FineTunedRegressor(max_epochs=30).fit(X, target).predict(X)
    expected = reference.predict(X) * unit + origin
    np.testing.assert_allclose(predicted, expected, atol=max(1e-5 * unit, 1e-9 * origin))


# --- weights -------------------------------------------------------------------------------

FULL = {
    "table": {},
    "probe": {"backbone": net(), "strategy": "linear_probe"},
    "layers": {"hidden_layer_sizes": (6, 5), "head": "mlp", "max_epochs": 15},
    "cosine": {"head": "cosine", "max_epochs": 15},
    "class weights": {"class_weight": {"ash": 3.0, "date": 0.25}},
    "balanced": {"class_weight": "balanced"},
    "smoothed": {"label_smoothing": 0.2},
    "lp_ft": {"strategy": "lp_ft", "max_epochs": 15},
}


@few_iterations
@pytest.mark.parametrize("case", FULL)
def test_a_weight_of_two_is_a_row_given_twice(digits, case):
    X, y = digits
    y = LABELS[y]
    counts = np.random.default_rng(0).integers(0, 4, len(y))
    model = FineTunedClassifier(**({"max_epochs": 40} | FULL[case]))
    weighted = clone(model).fit(X, y, sample_weight=counts)
    repeated = clone(model).fit(np.repeat(X, counts, 0), np.repeat(y, counts))
    np.testing.assert_allclose(outputs(weighted, X), outputs(repeated, X), atol=1e-7)
    plain = clone(model).fit(X, y)
    assert np.abs(outputs(weighted, X) - outputs(plain, X)).max() > 1e-3
    scaled = clone(model).fit(X, y, sample_weight=counts * 8.0)
    np.testing.assert_allclose(outputs(scaled, X), outputs(weighted, X), atol=1e-6)


@few_iterations
def test_a_weight_of_two_is_a_number_given_twice(digits):
    X, y = digits
    counts = np.random.default_rng(0).integers(0, 4, len(y))
    model = FineTunedRegressor(max_epochs=40)
    weighted = clone(model).fit(X, y, sample_weight=counts).predict(X)
    repeated = clone(model).fit(np.repeat(X, counts, 0), np.repeat(y, counts)).predict(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-7)


@pytest.mark.parametrize("strategy", ["finetune", "linear_probe", "lp_ft"])
def test_weights_reach_every_strategy_in_steps(digits, strategy):
    X, y = digits
    model = FineTunedClassifier(net(), strategy=strategy, **QUICK)
    heavy = clone(model).fit(X, y, sample_weight=np.where(y == 1, 50.0, 1.0))
    light = clone(model).fit(X, y, sample_weight=np.where(y == 1, 0.02, 1.0))
    assert heavy.predict_proba(X)[:, 1].mean() > light.predict_proba(X)[:, 1].mean() + 0.03


# --- a fitted estimator as backbone ----------------------------------------------------------


@few_iterations
def test_pretrain_then_transfer_in_four_lines():
    X, y = load_digits(return_X_y=True)
    old = FineTunedClassifier(max_epochs=100).fit(X[y < 7], y[y < 7])
    X, y = X[y >= 7], y[y >= 7]
    new = FineTunedClassifier(old, max_epochs=100).fit(X[:50], y[:50])
    assert new.score(X[50:], y[50:]) > 0.85
    np.testing.assert_array_equal(new.classes_, [7, 8, 9])
    assert new.decision_function(X).shape[1] == 3  # surplus classes are gone
    # It starts from the network that was learned, and not from its head.
    start = FineTunedClassifier(old, strategy="linear_probe").fit(X[:30], y[:30])
    np.testing.assert_allclose(start.transform(X), old.transform(X), atol=1e-12)
    assert not np.allclose(start.transform(X), FineTunedClassifier().fit(X, y).transform(X))
    features = PretrainedFeatureTransformer(old).fit(X[:30]).transform(X)
    np.testing.assert_allclose(features, old.transform(X), atol=1e-5)


@few_iterations
def test_the_old_estimator_stays_as_it_is(digits):
    X, y = digits
    old = FineTunedClassifier(max_epochs=20).fit(X, y)
    before = old.decision_function(X)
    new = FineTunedRegressor(old, **QUICK).fit(X, y)
    np.testing.assert_array_equal(old.decision_function(X), before)
    assert clone(new).backbone is old
    expected = clone(new).fit(X, y).predict(X)
    np.testing.assert_array_equal(new.predict(X), expected)


def test_the_backbone_follows_later_training(digits):
    X, y = digits
    old = FineTunedClassifier(**QUICK).fit(X, y)
    first = old.__skltransfer_backbone__()
    old.partial_fit(X, y)
    second = old.__skltransfer_backbone__()
    assert first.fingerprint != second.fingerprint
    probe = FineTunedClassifier(old, strategy="linear_probe").fit(X, y)
    np.testing.assert_allclose(probe.transform(X), old.transform(X), atol=1e-12)


def test_a_chain_of_images(digits):
    X, y = digits
    images = X.reshape(-1, 8, 8) / 16
    old = FineTunedClassifier("tiny", max_epochs=1).fit(images, y)
    new = FineTunedClassifier(old, strategy="linear_probe").fit(images, LABELS[y])
    np.testing.assert_allclose(new.transform(images), old.transform(images), atol=1e-6)
    assert new.stages_ == old.stages_
    assert new.score(images, LABELS[y]) > 0.9


# --- one epoch at a time ---------------------------------------------------------------------


def test_partial_fit_goes_on(digits):
    X, y = digits
    model = FineTunedClassifier(net(), **QUICK)
    model.partial_fit(X[:60], y[:60], classes=range(4))
    losses = [model.history_[0]["train_loss"]]
    for _ in range(11):
        model.partial_fit(X[60:], y[60:])
    losses += [record["train_loss"] for record in model.history_]
    assert model.n_iter_ == len(model.history_) == 12
    assert [record["epoch"] for record in model.history_] == list(range(1, 13))
    assert losses[-1] < 0.7 * losses[0]
    assert {record["lr_head"] for record in model.history_} == {0.02}


def test_partial_fit_is_the_loop_written_by_hand(digits):
    """The moments of the optimiser are kept from call to call."""
    X, y = digits
    model = FineTunedClassifier(
        hidden_layer_sizes=(5,), optimizer="adamw", lr=0.01, batch_size=500, weight_decay=0.0
    )
    model.partial_fit(X, y, classes=range(4))
    expected = copy.deepcopy(model.network_)
    for _ in range(3):
        model.partial_fit(X, y)
    fresh = FineTunedClassifier(**model.get_params()).partial_fit(X, y, classes=range(4))
    network = fresh.network_
    start = FineTunedClassifier(**model.get_params())
    # The network before the first call: go back by building it again with a rate of nearly zero.
    start.set_params(lr=1e-300).partial_fit(X, y, classes=range(4))
    network = start.network_.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.0)
    for step in range(4):
        loss = functional.cross_entropy(network(torch.tensor(X)), torch.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 0:
            for a, b in zip(network.parameters(), expected.parameters(), strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=1e-9)
    for a, b in zip(network.parameters(), model.network_.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_each_call_of_partial_fit_has_an_order_of_its_own(digits):
    X, y = digits
    orders = []

    def note(x):
        orders.append(x[:, 20].tolist())
        return x

    model = FineTunedClassifier(augment=note, batch_size=200)
    for _ in range(3):
        model.partial_fit(X, y, classes=range(4))
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1] != orders[2]
    repeated, orders = orders, []
    model = FineTunedClassifier(augment=note, batch_size=200)
    for _ in range(3):
        model.partial_fit(X, y, classes=range(4))
    assert orders == repeated


def test_partial_fit_after_fit_and_its_errors(digits):
    X, y = digits
    model = FineTunedClassifier(**QUICK).fit(X, y)
    before = model.history_
    model.partial_fit(X, y)
    assert len(model.history_) == len(before) + 1
    with pytest.raises(ValueError, match=r"y holds \[4\].*Name all classes in the first call"):
        model.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="classes=.* differ from the first call's"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="X has 60 features, but"):
        model.partial_fit(X[:, :60], y)
    with pytest.raises(ValueError, match="classes= is missing: the first call of partial_fit"):
        FineTunedClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="strategy='lora'.*Use fit"):
        FineTunedClassifier(strategy="lora").partial_fit(X, y, classes=range(4))
    with pytest.raises(ValueError, match="classes= is for classifiers"):
        FineTunedRegressor().partial_fit(X, y, classes=range(4))
    with pytest.raises(ValueError, match="y has 2 outputs, and this estimator goes on from 1"):
        FineTunedRegressor().partial_fit(X, y).partial_fit(X, np.column_stack([y, y]))


@few_iterations
def test_warm_start_goes_on(digits):
    X, y = digits
    cold = FineTunedClassifier(net(), **QUICK).fit(X, y)
    warm = FineTunedClassifier(net(), warm_start=True, **QUICK).fit(X, y)
    np.testing.assert_array_equal(outputs(warm, X), outputs(cold, X))
    network = warm.network_
    losses = [warm.history_[-1]["train_loss"]]
    before = outputs(warm, X)
    warm.fit(X, y)
    losses += [warm.history_[0]["train_loss"]]
    assert abs(losses[1] - losses[0]) < 0.5 * abs(cold.history_[0]["train_loss"] - losses[1])
    assert warm.network_ is not network
    assert np.abs(outputs(warm, X) - before).max() > 0
    np.testing.assert_array_equal(outputs(cold.fit(X, y), X), before)  # without it: anew
    with pytest.raises(ValueError, match="warm_start=True goes on with the classes"):
        warm.fit(X, y + 1)
    with pytest.raises(ValueError, match="X has 60 features, but FineTunedClassifier is expect"):
        warm.fit(X[:, :60], y)


def test_a_failed_warm_start_leaves_the_earlier_fit(digits):
    X, y = digits
    model = FineTunedClassifier(warm_start=True, **QUICK).fit(X, y)
    before = outputs(model, X)

    def fails(x):
        raise KeyboardInterrupt

    model.set_params(augment=fails)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    np.testing.assert_array_equal(outputs(model, X), before)
    model.set_params(warm_start=False)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


# --- interruption ----------------------------------------------------------------------------


class Interrupt:
    """Stops the process in an epoch, as a user does."""

    def __init__(self, epoch):
        self.epoch, self.seen = epoch, 0

    def setup(self, estimator, context):
        pass

    teardown = setup

    def on_fit_task_begin(self, estimator, context):
        if context.task_name == "epoch":
            self.seen += 1
            if self.seen == self.epoch:
                raise KeyboardInterrupt

    def on_fit_task_end(self, estimator, context):
        pass


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": 0.4, "augment": "mixup", "ema_decay": 0.9},
        {"strategy": "lp_ft", "early_stopping": True, "patience": 2, "lr": 0.3},
        {"gradual_unfreezing": 2, "head": lambda a, b: nn.Linear(a, b), "schedule": "plateau"},
        {"balanced_batches": True, "optimizer": "sgd", "backbone": None},
    ],
    ids=["chance", "lp_ft", "gradual", "balanced"],
)
def test_an_interrupted_fit_goes_on_in_another_estimator(digits, tmp_path, settings):
    X, y = digits
    settings = {"backbone": net()} | QUICK | {"max_epochs": 6} | settings

    def model():
        return FineTunedClassifier(**settings, checkpoint=tmp_path)

    expected = FineTunedClassifier(**settings).fit(X, y)
    interrupted = model()
    with pytest.raises(KeyboardInterrupt):
        interrupted.set_callbacks(Interrupt(4)).fit(X, y)
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(NotFittedError):
        interrupted.predict(X)
    resumed = model()
    counter = Interrupt(99)
    resumed.set_callbacks(counter).fit(X, y)
    if settings.get("strategy") != "lp_ft":
        assert counter.seen == 3
    np.testing.assert_array_equal(outputs(resumed, X), outputs(expected, X))
    keys = [k for k in expected.history_[0] if k != "seconds"]
    assert [[r[k] for k in keys if k in r] for r in resumed.history_] == [
        [r[k] for k in keys if k in r] for r in expected.history_
    ]
    assert list(tmp_path.iterdir()) == []


def test_another_fit_does_not_take_the_checkpoint(digits, tmp_path):
    X, y = digits
    model = FineTunedClassifier(checkpoint=tmp_path, **QUICK)
    with pytest.raises(KeyboardInterrupt):
        clone(model).set_callbacks(Interrupt(3)).fit(X, y)
    for change in ({"lr": 0.01}, {"random_state": 1}, {"head": "mlp"}):
        found = clone(model).set_params(**change).fit(X, y)
        expected = clone(model).set_params(checkpoint=None, **change).fit(X, y)
        np.testing.assert_array_equal(outputs(found, X), outputs(expected, X))
    expected = clone(model).set_params(checkpoint=None).fit(X, 3 - y)
    np.testing.assert_array_equal(outputs(clone(model).fit(X, 3 - y), X), outputs(expected, X))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_fit_that_went_on_does_not_take_the_checkpoint_of_a_first_one(digits, tmp_path):
    X, y = digits
    model = FineTunedClassifier(checkpoint=tmp_path, warm_start=True, **QUICK).fit(X, y)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(Interrupt(3)).fit(X, y)
    fresh = FineTunedClassifier(checkpoint=tmp_path, warm_start=True, **QUICK)
    expected = FineTunedClassifier(**QUICK).fit(X, y)
    np.testing.assert_array_equal(outputs(fresh.fit(X, y), X), outputs(expected, X))


# --- callbacks -------------------------------------------------------------------------------


class Stop:
    """Ends the training after some epochs, and predicts with the network as it is then."""

    def __init__(self, after):
        self.after, self.predicted, self.n_epochs = after, [], 0

    def setup(self, estimator, context):
        pass

    teardown = setup

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        if context.task_name != "epoch":
            return None
        self.n_epochs += 1
        self.predicted.append(fitted_estimator.decision_function(X))
        return self.n_epochs >= self.after


@few_iterations
@pytest.mark.parametrize("settings", [QUICK | {"max_epochs": 9}, {"max_epochs": 9}])
def test_a_callback_sees_the_network_of_its_epoch_and_may_stop(digits, settings):
    X, y = digits
    stop = Stop(3)
    model = FineTunedClassifier(**settings).set_callbacks(stop).fit(X, y)
    assert model.n_iter_ == len(model.history_) == stop.n_epochs == 3
    assert not np.array_equal(stop.predicted[0], stop.predicted[1])
    np.testing.assert_allclose(stop.predicted[-1], model.decision_function(X), atol=1e-9)


@few_iterations
def test_watching_does_not_change_the_training(digits):
    X, y = digits
    for settings in ({"max_epochs": 5}, QUICK, QUICK | {"ema_decay": 0.8}):
        model = FineTunedClassifier(net(), **settings)
        watched = clone(model).set_callbacks(Stop(99)).fit(X, y)
        np.testing.assert_array_equal(outputs(watched, X), outputs(model.fit(X, y), X))


def test_progress_bars_and_monitors(digits, capsys):
    X, y = digits
    model = FineTunedClassifier(**QUICK)
    GridSearchCV(model, {"lr": [0.01, 0.1]}, cv=2).set_callbacks(ProgressBar()).fit(X, y)
    assert "FineTunedClassifier" in capsys.readouterr().out
    monitor = ScoringMonitor(scoring="accuracy")
    weights = np.linspace(1, 2, len(y))
    model = FineTunedClassifier(**QUICK).set_callbacks(monitor).fit(X, y, weights)
    epochs = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert len(epochs) == 4
    scores = [row["accuracy"] for row in epochs]
    assert scores[-1] == pytest.approx(accuracy_score(y, model.predict(X), sample_weight=weights))


# --- both domains ------------------------------------------------------------------------------


@few_iterations
@pytest.mark.filterwarnings("ignore::skltransfer.DomainDataWarning")
@pytest.mark.parametrize("form", ["table", "images"])
@pytest.mark.filterwarnings("ignore::skltransfer.EffectiveSampleSizeWarning")
@pytest.mark.parametrize("wrap", [PooledEstimator, KMMReweighter], ids=["pooled", "kmm"])
def test_joint_training_on_source_and_target(digits, form, wrap):
    X, y = digits
    settings = dict(QUICK)
    if form == "images":
        settings |= {
            "backbone": "tiny",
            "image_shape": (8, 8),
            "value_range": (0, 16),
            "max_epochs": 2,
        }
    X_source, y_source = X[:80], y[:80]
    X_target, y_target = 16 - X[80:], y[80:]
    inner = FineTunedClassifier(**settings)
    model = WithSource(wrap(inner), X_source, y_source).fit(X_target, y_target)
    assert model.predict(X_target).shape == y_target.shape
    fitted = model.estimator_.estimator_
    assert isinstance(fitted, FineTunedClassifier)
    alone = clone(inner).fit(X_source, y_source)
    assert not np.array_equal(fitted.decision_function(X), alone.decision_function(X))
    if wrap is PooledEstimator:
        both = clone(inner).fit(np.vstack([X_source, X_target]), np.r_[y_source, y_target])
        assert fitted.decision_function(X).shape == both.decision_function(X).shape
        assert model.score(X_target, y_target) >= alone.score(X_target, y_target)


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"unfreeze": "hiden1"}, "unfreeze='hiden1'.*no such stage.*mean 'hidden1'.*'head', 'all'"),
        ({"unfreeze": 2}, "unfreeze=2 is deeper.*has 1 stages: hidden1. Pass at most 1"),
        ({"unfreeze": True}, "unfreeze=True is not"),
        ({"unfreeze": -1}, "unfreeze=-1 is not"),
        ({"strategy": "probe"}, "strategy='probe' is not one of.*'linear_probe'"),
        ({"head": "deep"}, "head='deep' is not one of linear, mlp, cosine"),
        ({"head": nn.Linear(64, 7).__class__, "hidden_layer_sizes": ()}, None),
        ({"head": lambda a, b: nn.Linear(a, b + 1)}, "Let head= make that many outputs"),
        ({"dropout": 1.0}, "dropout=1.0 is not"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"layer_decay": 1.5}, "layer_decay=1.5"),
        ({"lr": 0}, "lr=0 is not a number greater than 0 or 'auto'"),
        ({"lr": "fast"}, "lr='fast'"),
        ({"lr": np.nan}, "lr=nan"),
        ({"batch_size": 0}, "batch_size=0 is not an integer of at least 1 or 'auto'"),
        ({"max_epochs": 2.5}, "max_epochs=2.5"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"ema_decay": 1.0}, "ema_decay=1.0"),
        ({"early_stopping": 1}, "early_stopping=1 is neither True nor False"),
        ({"early_stopping": True, "validation_fraction": 0.0}, "validation_fraction=0.0 sets no"),
        ({"early_stopping": True, "validation_fraction": 0.999}, "leaves no row of 120"),
        (
            {"hidden_layer_sizes": 64},
            "hidden_layer_sizes=64 is not a list of integers",
        ),
        ({"class_weight": {9: 1.0}}, r"class_weight names \[9\], and the classes are \[0, 1, 2"),
        ({"class_weight": {0: -1.0}}, "class_weight=.* finite numbers of at least 0"),
        ({"class_weight": "even"}, "class_weight"),
        ({"augment": "flip"}, "augment='flip' changes images"),
        ({"optimizer": "lbfgs", "dropout": 0.5}, "optimizer='lbfgs'.*dropout=0.5.*'adamw'"),
        ({"optimizer": "lbfgs", "precision": "bfloat16"}, "precision='bfloat16'"),
        ({"gradual_unfreezing": 1, "strategy": "linear_probe"}, "gradual_unfreezing=1 has nothing"),
        ({"precision": "float8"}, "precision='float8'"),
        ({"device": "abacus"}, "device='abacus'"),
        ({"backbone": nn.Linear(7, 3)}, "'Linear' cannot take rows of shape \\(64,\\)"),
        ({"backbone": "resnet19"}, "resnet19"),
    ],
)
def test_bad_parameters_are_named_with_a_remedy(digits, settings, words):
    X, y = digits
    model = FineTunedClassifier(**settings)
    if words is None:
        model.set_params(max_epochs=200).fit(X, y)
        return
    with pytest.raises(ValueError, match=words):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_bad_rows_and_labels(digits):
    X, y = digits
    model = FineTunedClassifier(max_epochs=3)
    with pytest.raises(
        ValueError, match="needs rows of at least 2 classes, and y holds one cl.* 3"
    ):
        model.fit(X, y * 0 + 3)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.fit(np.where(X > 15, np.nan, X), y)
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero"):
        model.fit(X, y, sample_weight=y * 0)
    with pytest.raises(ValueError, match="MultiOutputClassifier"):
        model.fit(X, np.column_stack([y, y]))
    Y = np.column_stack([y > 1, y > 2]).astype(int)
    with pytest.raises(ValueError, match="class_weight and balanced_batches need one class"):
        model.set_params(class_weight="balanced").fit(X, Y)
    with pytest.raises(TypeError, match="backbone=None cannot turn into numbers. Name a backbone"):
        FineTunedClassifier().fit(["a.png"] * len(y), y)
    with pytest.raises(ValueError, match="'tiny' takes images.*image_shape"):
        FineTunedClassifier("tiny").fit(X, y)
    with pytest.raises(NotFittedError, match="backbone is a FineTunedClassifier that is not fit"):
        FineTunedClassifier(FineTunedClassifier()).fit(X, y)


@few_iterations
@pytest.mark.parametrize("n_columns", [1, 30])
def test_a_source_of_another_shape(digits, n_columns):
    X, y = digits
    source = FineTunedClassifier(max_epochs=3).fit(X, y)
    words = rf"cannot take rows of shape \({n_columns},\): it was trained on 64 columns. Give X"
    with pytest.raises(ValueError, match=words):
        FineTunedClassifier(source).fit(X[:, :n_columns], y)


def test_a_loss_that_is_not_finite(digits):
    X, y = digits
    model = FineTunedRegressor(optimizer="sgd", lr=1e40, max_epochs=5, batch_size=500)
    with pytest.warns(ConvergenceWarning, match="diverges.*as they were at the start.*Lower lr"):
        model.fit(X, y)
    np.testing.assert_allclose(model.predict(X), y.mean())


@few_iterations
def test_columns_without_content(digits):
    X, y = digits
    wide = np.column_stack([X, np.full(len(X), 1e12), np.zeros(len(X)), X[:, :1] * 1e-300])
    model = FineTunedClassifier(max_epochs=60).fit(wide, y)
    assert model.score(wide, y) == 1
    p = FineTunedClassifier().fit(np.ones((8, 2)), np.arange(8) % 2).predict_proba(np.ones((8, 2)))
    np.testing.assert_allclose(p, 0.5, atol=1e-6)
    np.testing.assert_allclose(FineTunedRegressor().fit(X[:1], [2.5]).predict(X[:3]), 2.5)


# --- the copy of the backbone ----------------------------------------------------------------


@pytest.fixture
def copies(monkeypatch):
    """Networks that were copied from a backbone."""
    found, copied = [], SharedNetwork.copied

    def counted(self):
        found.append(copied(self))
        return found[-1]

    monkeypatch.setattr(SharedNetwork, "copied", counted)
    return found


@pytest.mark.parametrize("settings", [{"strategy": "linear_probe"}, {"unfreeze": "head"}])
def test_a_head_alone_copies_no_network_in_a_search(digits, copies, settings):
    X, y = digits
    model = FineTunedClassifier("tiny", **IMAGES, **settings).fit(X, y)
    copies.clear()  # of the first fit in a process, which finds the stages
    search = GridSearchCV(model, {"weight_decay": [1e-3, 1e-2]}, cv=2).fit(X, y)
    expected = outputs(search, X)
    assert not copies
    fitted = search.best_estimator_
    network = fitted.network_
    assert copies == [network]
    assert fitted.network_ is network  # one copy, of which this one is made
    np.testing.assert_array_equal(outputs(fitted, X), expected)
    for copied in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(outputs(copied, X), expected)


def test_what_is_done_to_a_fitted_network_stays_there(digits):
    """Fits share the embedded network until one of them is asked for its own."""
    X, y = digits
    first, second = (
        FineTunedClassifier("tiny", strategy="linear_probe", store=None, **IMAGES).fit(X, y)
        for _ in range(2)
    )
    expected = outputs(second, X)
    parameters = [*first.network_.parameters()]
    assert all(parameter.requires_grad for parameter in parameters)
    with torch.no_grad():
        for parameter in parameters:
            parameter.zero_()
    np.testing.assert_array_equal(outputs(second, X), expected)
    third = FineTunedClassifier("tiny", strategy="linear_probe", store=None, **IMAGES).fit(X, y)
    np.testing.assert_array_equal(outputs(third, X), expected)
    assert third.network_ is not second.network_


def test_a_module_of_the_user_is_copied_in_the_fit(digits):
    """Training it further changes no estimator that was fitted before."""
    X, y = digits
    module = net()
    probe = FineTunedClassifier(module, strategy="linear_probe").fit(X, y)
    expected = outputs(probe, X)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(outputs(probe, X), expected)


def test_an_unfitted_estimator_has_no_network():
    assert not hasattr(FineTunedClassifier("tiny"), "network_")
