"""Model-agnostic meta-learning: its gradient by hand, its steps, its training against none."""

import copy
import os
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, StratifiedShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional

import skltransfer
from skltransfer import (
    DomainDataWarning,
    FineTunedClassifier,
    FineTunedRegressor,
    MAMLClassifier,
    MAMLRegressor,
    WithSource,
    WithTarget,
)
from skltransfer._torch._batches import Batch
from skltransfer.relation._episodes import EpisodeBatch
from skltransfer.relation._inner_loop import MAMLLoss, SupportStatistics
from tests.doubles import TableNetwork
from tests.relation.test_prototypical import CODES, FEW, NAMES, REST, SUPPORT, X_NEW, Y_NEW, X, Y

CLASSES = FineTunedClassifier(hidden_layer_sizes=(8,), max_epochs=2, lr=0.01)
NUMBERS = FineTunedRegressor(hidden_layer_sizes=(8,), max_epochs=2, lr=0.01)


def lines(seed, n_tasks=30, n=12):
    """Return samples of lines through one point, with slopes of their own."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, size=(n_tasks * n, 2))
    tasks = np.repeat(np.arange(n_tasks), n)
    return X, 5.0 + rng.normal(size=n_tasks)[tasks] * 3 * X[:, 0], tasks


X_LINES, Y_LINES, TASKS = lines(0)
X_LINE = np.random.default_rng(1).uniform(-1, 1, size=(8, 2))
Y_LINE = 5.0 + 6.0 * X_LINE[:, 0]
LINE = {"X_target": X_LINE, "y_target": Y_LINE}


def maml(network, **settings):
    kind = MAMLClassifier if is_classifier(network) else MAMLRegressor
    return kind(network, **{"episodes_per_epoch": 8, "inner_lr": 0.1} | settings)


# --- the gradient -------------------------------------------------------------------------


class Network(nn.Module):
    """A linear map and a head, as a TransferNetwork names them."""

    def __init__(self, n_outputs):
        super().__init__()
        self.features, self.head = nn.Linear(3, 4), nn.Linear(4, n_outputs)
        self.double()

    def forward(self, x):
        return self.head(self.features(x))


def episodes(has_classes, n_tasks=3):
    rng = torch.Generator().manual_seed(0)
    parts = []
    for n in (6, 9):
        inputs = torch.randn(n_tasks, n, 3, generator=rng, dtype=torch.float64)
        targets = torch.randn(n_tasks, n, 1, generator=rng, dtype=torch.float64)
        if has_classes:
            targets = torch.arange(3).repeat_interleave(n // 3).expand(n_tasks, n)
        parts.append(Batch(inputs, targets))
    return EpisodeBatch(*parts)


def squared_error(outputs, targets):
    return ((outputs - targets) ** 2).mean() / 2


def by_hand(network, batch, loss, has_classes, n_steps, lr, first_order):
    """Return the loss and the gradients of MAML, by automatic differentiation task by task."""
    weights = [p.detach().clone().requires_grad_() for p in network.parameters()]

    def outputs(w, x):
        return (x @ w[0].T + w[1]) @ w[2].T + w[3]

    total = 0.0
    for task in range(len(batch)):
        w = list(weights)
        if has_classes:
            w[2:] = [torch.zeros_like(p, requires_grad=True) for p in w[2:]]
        for _ in range(n_steps):
            value = loss(outputs(w, batch.support.inputs[task]), batch.support.targets[task])
            slopes = torch.autograd.grad(value, w, create_graph=not first_order)
            w = [
                p - lr * (g.detach() if first_order else g) for p, g in zip(w, slopes, strict=True)
            ]
        total = total + loss(outputs(w, batch.query.inputs[task]), batch.query.targets[task])
    total = total / len(batch)
    trained = weights[:2] if has_classes else weights
    return total, torch.autograd.grad(total, trained)


@pytest.mark.parametrize("at_once", [True, False], ids=["vmap", "loop"])
@pytest.mark.parametrize("first_order", [False, True], ids=["second order", "first order"])
@pytest.mark.parametrize("has_classes", [True, False], ids=["classes", "numbers"])
def test_the_gradient_is_that_by_hand(has_classes, first_order, at_once):
    torch.manual_seed(0)
    network, batch = Network(3 if has_classes else 1), episodes(has_classes)
    loss = functional.cross_entropy if has_classes else squared_error
    names = tuple(name for name, _ in network.named_parameters())
    settings = {"n_steps": 3, "lr": 0.3, "first_order": first_order}
    network.head.requires_grad_(not has_classes)
    objective = MAMLLoss(
        network, (names, ()), loss, has_classes=has_classes, at_once=at_once, key=(), **settings
    )
    terms = objective(network, batch)
    terms["query_loss"].backward()
    expected, slopes = by_hand(network, batch, loss, has_classes, **settings)
    assert terms["query_loss"].item() == pytest.approx(expected.item(), rel=1e-12)
    trained = [p for p in network.parameters() if p.requires_grad]
    for parameter, slope in zip(trained, slopes, strict=True):
        np.testing.assert_allclose(parameter.grad, slope, rtol=1e-8, atol=1e-12)
    _, others = by_hand(
        network, batch, loss, has_classes, **settings | {"first_order": not first_order}
    )
    assert max(float((a - b).abs().max()) for a, b in zip(slopes, others, strict=True)) > 1e-3


@pytest.mark.parametrize("weights", [None, torch.tensor([2.0, 1.0, 0.5, 1.5], dtype=torch.float64)])
def test_batch_norms_take_the_statistics_of_the_support_samples(weights):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3).double()
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    x = torch.randn(7, 3, 2, 5, dtype=torch.float64) + 3
    repeats = [1] * 4 if weights is None else [4, 2, 1, 3]
    support = torch.cat([x[i : i + 1].expand(n, -1, -1, -1) for i, n in enumerate(repeats)])
    reference = copy.deepcopy(norm)
    reference.train()(support)
    mean = support.mean((0, 2, 3))
    variance = support.var((0, 2, 3), correction=0)
    with SupportStatistics([norm]) as statistics:
        statistics.n_support, statistics.weights, statistics.are_kept = 4, weights, True
        found = norm(x)
    expected = functional.batch_norm(x, mean, variance, norm.weight, norm.bias, eps=norm.eps)
    np.testing.assert_allclose(found.detach(), expected.detach(), rtol=1e-9)
    np.testing.assert_allclose(norm.eval()(x).detach(), expected.detach(), rtol=1e-9)
    assert "forward" not in vars(norm)


# --- the steps on the support set -----------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_support_set_is_learned_in_steps_of_gradient_descent(n_classes):
    few = FEW[CODES[FEW] < n_classes]
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(few))
    model = maml(CLASSES, n_target_steps=4)
    model.fit(X, Y, X_target=X_NEW[few], y_target=Y_NEW[few], target_sample_weight=weights)
    network = copy.deepcopy(model._trained.network_)
    network.head = nn.Linear(8, n_classes).double()
    nn.init.zeros_(network.head.weight), nn.init.zeros_(network.head.bias)
    inputs, targets = torch.tensor(X_NEW[few]), torch.tensor(CODES[few])
    optimizer, shares = torch.optim.SGD(network.parameters(), 0.1), torch.tensor(weights)
    for _ in range(4):
        optimizer.zero_grad()
        losses = functional.cross_entropy(network(inputs), targets, reduction="none")
        ((losses * shares).sum() / shares.sum()).backward()
        optimizer.step()
    with torch.no_grad():
        expected = network(torch.tensor(X_NEW)).softmax(1)
    np.testing.assert_allclose(model.predict_proba(X_NEW), expected, rtol=1e-9)
    assert model.classes_.tolist() == NAMES[:n_classes].tolist()
    assert model.predict(X_NEW).tolist() == NAMES[expected.argmax(1)].tolist()


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_numbers_are_learned_in_steps_from_a_head_that_was_trained(n_outputs):
    Y_two = np.column_stack([Y_LINES, -2 * Y_LINES])[:, :n_outputs]
    target = np.column_stack([Y_LINE, -2 * Y_LINE])[:, :n_outputs]
    model = maml(NUMBERS, n_target_steps=3)
    if n_outputs == 1:
        Y_two, target = Y_two[:, 0], target[:, 0]
    model.fit(X_LINES, Y_two, groups=TASKS, X_target=X_LINE, y_target=target)
    network = copy.deepcopy(model._trained.network_)
    mean, scale = Y_two.mean(0), Y_two.std(0)
    inputs = torch.tensor(X_LINE)
    targets = torch.tensor((target - mean) / scale).reshape(len(X_LINE), -1)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (((network(inputs) - targets) ** 2).sum(1).mean() / 2).backward()
        optimizer.step()
    with torch.no_grad():
        expected = network(torch.tensor(X_LINES)).numpy() * scale + mean
    found = model.predict(X_LINES)
    assert found.shape == Y_two.shape
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-9)


def test_steps_that_diverge_warn_and_are_not_taken():
    model = maml(NUMBERS).fit(X_LINES, Y_LINES, groups=TASKS, **LINE)
    model.set_params(inner_lr=1e9, n_target_steps=100)
    with pytest.warns(ConvergenceWarning, match="Lower inner_lr=1000000000.0"):
        model.adapt(X_LINE, Y_LINE)
    np.testing.assert_array_equal(model.predict(X_LINES), model._trained.predict(X_LINES))


def test_steps_whose_outputs_overflow_are_not_taken():
    """Weights may be finite where outputs are not."""
    model = maml(NUMBERS).fit(X_LINES, Y_LINES, groups=TASKS, **LINE)
    with pytest.warns(ConvergenceWarning, match="diverge"):
        model.set_params(n_target_steps=1).adapt(1e90 * X_LINE, Y_LINE)
    np.testing.assert_array_equal(model.predict(X_LINES), model._trained.predict(X_LINES))


def test_a_weight_of_two_is_a_sample_given_twice():
    twice = np.r_[FEW, FEW[::2]]
    weights = np.where(np.arange(len(FEW)) % 2 == 0, 2.0, 1.0)
    model = maml(FineTunedClassifier(BatchNormed, max_epochs=1, lr=0.01), n_shot=2)
    weighted = clone(model).fit(X, Y, **SUPPORT, target_sample_weight=weights)
    repeated = clone(model).fit(X, Y, X_target=X_NEW[twice], y_target=Y_NEW[twice])
    proba = repeated.predict_proba(X_NEW)
    np.testing.assert_allclose(weighted.predict_proba(X_NEW), proba, rtol=1e-4)
    again = repeated.adapt(X_NEW[FEW], Y_NEW[FEW], weights)
    np.testing.assert_allclose(again.predict_proba(X_NEW), proba, rtol=1e-4)


def test_only_unfrozen_stages_are_adapted():
    source = FineTunedClassifier(hidden_layer_sizes=(8, 8), max_epochs=20).fit(X, Y)
    network = FineTunedClassifier(source, unfreeze=1, max_epochs=2, lr=0.01)
    model = maml(network).fit(X, Y, **SUPPORT)
    states = [m.network_.features.state_dict() for m in (source, model._trained, model.estimator_)]
    for before, after in zip(states, states[1:], strict=False):
        changed = {name for name in after if (before[name] != after[name]).any()}
        assert changed == {name for name in after if "hidden2" in name}
    head = maml(network.set_params(unfreeze="head")).fit(X, Y, **SUPPORT)
    assert head.history_ == []
    assert (head.transform(X_NEW) == source.transform(X_NEW)).all()


# --- the training -------------------------------------------------------------------------


def test_training_beats_no_training_on_lines():
    """Lines through one point: five samples say the slope, if the family is known."""
    network = FineTunedRegressor(hidden_layer_sizes=(16,), max_epochs=15, lr=0.01)
    model = MAMLRegressor(network, inner_lr=0.3, n_inner_steps=2, episodes_per_epoch=40)
    X_test, y_test, tasks = lines(7, 10, 40)
    trained = clone(model).fit(X_LINES, Y_LINES, groups=TASKS, **LINE)
    without = clone(model).set_params(episodes_per_epoch=0).fit(X_LINES, Y_LINES, **LINE)
    scores = [[], []]
    for task in range(10):
        rows = np.flatnonzero(tasks == task)
        for each, into in zip((trained, without), scores, strict=True):
            each.adapt(X_test[rows[:5]], y_test[rows[:5]])
            into.append(((each.predict(X_test[rows[5:]]) - y_test[rows[5:]]) ** 2).mean())
    assert np.mean(scores[0]) < np.mean(scores[1]) / 3
    assert trained.history_[-1]["train_loss"] < trained.history_[0]["train_loss"] / 3


@pytest.mark.parametrize("first_order", [False, True])
def test_training_beats_no_training_on_classes(first_order):
    """Classes differ in 2 of 10 columns. Only training can tell which."""
    network = FineTunedClassifier(hidden_layer_sizes=(32,), max_epochs=10, lr=0.01)
    model = maml(network, episodes_per_epoch=30, inner_lr=0.5, n_way=4, first_order=first_order)
    trained = clone(model).fit(X, Y, **SUPPORT)
    without = clone(model).set_params(episodes_per_epoch=0).fit(X, Y, **SUPPORT)
    gain = trained.score(X_NEW[REST], Y_NEW[REST]) - without.score(X_NEW[REST], Y_NEW[REST])
    assert gain > 0.15


class BatchNormed(nn.Sequential):
    def __init__(self):
        super().__init__(nn.LazyLinear(8), nn.BatchNorm1d(8), nn.ReLU())


class Convolutional(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))


def test_a_prediction_depends_on_its_sample_alone():
    model = maml(FineTunedClassifier(BatchNormed, max_epochs=2)).fit(X, Y, **SUPPORT)
    norm = dict(model.estimator_.network_.named_modules())["features.trunk.1"]
    linear = dict(model.estimator_.network_.named_modules())["features.trunk.0"]
    with torch.no_grad():
        inner = linear(torch.tensor(X_NEW[FEW], dtype=linear.weight.dtype))
    np.testing.assert_allclose(norm.running_mean, inner.mean(0), rtol=1e-5, atol=1e-6)
    one_by_one = np.concatenate([model.predict_proba(row[None]) for row in X_NEW[:5]])
    np.testing.assert_allclose(one_by_one, model.predict_proba(X_NEW)[:5], rtol=1e-5)


def test_as_a_backbone_its_batch_norms_have_the_statistics_of_the_source():
    model = maml(FineTunedClassifier(BatchNormed, max_epochs=2)).fit(X, Y, **SUPPORT)
    again = FineTunedClassifier(model, strategy="linear_probe").fit(X, Y)
    module = again.network_.features.trunk
    with torch.no_grad():
        inner = module[0](torch.tensor(X, dtype=module[0].weight.dtype))
    np.testing.assert_allclose(module[1].running_mean, inner.mean(0), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(module[1].running_var, inner.var(0, correction=0), rtol=1e-3)
    state = model._trained.network_.features.state_dict()
    assert all((state[n] == t).all() for n, t in again.network_.features.state_dict().items())


def test_images_and_a_network_with_batch_normalisation():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (24, 12, 12)).astype(np.uint8)
    y = np.arange(24) % 4
    images[y == 1, :6] //= 4
    images[y == 2, 6:] //= 4
    model = maml(FineTunedClassifier(Convolutional, max_epochs=2), episodes_per_epoch=4)
    model.fit(images, y, X_target=images[:8], y_target=list("abcdabcd"))
    assert set(model.predict(images)) <= set("abcd")
    assert np.isfinite(model.history_[-1]["train_loss"])


def test_an_interrupted_training_draws_the_same_episodes(tmp_path, monkeypatch):
    def model(**settings):
        return maml(clone(CLASSES).set_params(checkpoint=tmp_path, max_epochs=4), **settings)

    expected = maml(clone(CLASSES).set_params(max_epochs=4)).fit(X, Y, **SUPPORT)
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
    model(inner_lr=0.2).fit(X, Y, **SUPPORT)  # another training
    assert list(tmp_path.iterdir()) == [file]
    resumed = model().fit(X, Y, **SUPPORT)
    assert not list(tmp_path.iterdir())
    assert (resumed.predict_proba(X_NEW) == expected.predict_proba(X_NEW)).all()


# --- the estimator ------------------------------------------------------------------------


def test_cross_validation_runs_over_support_sets():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cv = StratifiedShuffleSplit(2, train_size=12, random_state=0)
        piped = make_pipeline(StandardScaler(), maml(CLASSES))
        scores = cross_val_score(WithSource(piped, X, Y), X_NEW, Y_NEW, cv=cv, error_score="raise")
        held = WithTarget(maml(CLASSES), X_NEW[FEW], Y_NEW[FEW]).fit(X, Y)
    assert len(scores) == 2
    expected = maml(CLASSES).fit(X, Y, **SUPPORT)
    assert (held.predict_proba(X_NEW) == expected.predict_proba(X_NEW)).all()


def test_several_sources_are_tasks():
    sources = [[values[TASKS == task] for task in range(30)] for values in (X_LINES, Y_LINES)]
    several = WithSource(maml(NUMBERS), *sources)
    scores = cross_val_score(several, X_LINE, Y_LINE, cv=KFold(2), error_score="raise")
    assert np.isfinite(scores).all()
    grouped = maml(NUMBERS).fit(X_LINES, Y_LINES, groups=TASKS.astype(str), **LINE)
    one = maml(NUMBERS).fit(X_LINES, Y_LINES, **LINE)
    found = several.fit(X_LINE, Y_LINE).predict(X_LINES)
    assert np.isfinite(grouped.predict(X_LINES)).all()
    same = maml(NUMBERS).fit(X_LINES, Y_LINES, sample_domain=TASKS + 1, **LINE)
    assert (found == same.predict(X_LINES)).all()
    assert (found != one.predict(X_LINES)).any()


@pytest.mark.parametrize("target", [{}, {"X_target": X_NEW}], ids=["no target", "no labels"])
def test_without_a_support_set_it_warns_and_takes_the_source(target):
    with pytest.warns(DomainDataWarning, match="MAMLClassifier was given no"):
        model = maml(CLASSES).fit(X, Y, **target)
    assert model.classes_.tolist() == list(range(12))
    again = clone(model)
    with pytest.warns(DomainDataWarning):
        again.fit(X, Y).adapt(X, Y)
    assert (again.predict_proba(X) == model.predict_proba(X)).all()


def test_a_large_source_is_a_support_set_in_part(monkeypatch):
    monkeypatch.setattr("skltransfer.relation._maml._MOST_SOURCE_SAMPLES", 60)
    with pytest.warns(DomainDataWarning):
        model = maml(CLASSES).fit(X, Y)
    assert model.classes_.tolist() == list(range(12))


def test_what_it_delegates():
    assert is_classifier(MAMLClassifier()) and is_regressor(MAMLRegressor())
    model = maml(CLASSES)
    for call in (model.predict, model.transform):
        with pytest.raises(NotFittedError):
            call(X)
    model.fit(X, Y, **SUPPORT)
    inner = model.estimator_
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        assert (getattr(model, method)(X) == getattr(inner, method)(X)).all()
    assert len(model.get_feature_names_out()) == model.transform(X).shape[1]
    before = model.predict_proba(X_NEW)
    other = model.adapt(X_NEW[FEW[CODES[FEW] < 2]], Y_NEW[FEW[CODES[FEW] < 2]])
    assert other.classes_.tolist() == ["ash", "birch"]
    assert (model.adapt(X_NEW[FEW], Y_NEW[FEW]).predict_proba(X_NEW) == before).all()
    with pytest.raises(ValueError, match="y holds one class"):
        model.adapt(X_NEW[:2], Y_NEW[:2])
    assert (model.predict_proba(X_NEW) == before).all()


@pytest.mark.parametrize(
    "network", [CLASSES, NUMBERS, FineTunedClassifier(BatchNormed, max_epochs=1)]
)
def test_it_is_saved_and_loaded(tmp_path, network):
    pytest.importorskip("skops")
    is_numeric = is_regressor(network)
    data = (X_LINES, Y_LINES, LINE) if is_numeric else (X, Y, SUPPORT)
    model = maml(network).fit(*data[:2], **data[2])
    path = skltransfer.save(model, tmp_path / "model.skops")
    again = skltransfer.load(path, trusted=[f"{__name__}.BatchNormed"])
    method = "predict" if is_numeric else "predict_proba"
    assert (getattr(again, method)(data[0]) == getattr(model, method)(data[0])).all()
    for each in (again, model):
        each.adapt(data[0][:9], data[1][:9] if is_numeric else np.arange(9) % 3)
    assert (getattr(again, method)(data[0]) == getattr(model, method)(data[0])).all()


@pytest.mark.parametrize(
    "settings, fit, error, words",
    [
        ({}, {"y_target": Y_LINE[:3]}, ValueError, "y_target has 3 entries"),
        (
            {},
            {"y_target": np.c_[Y_LINE, Y_LINE]},
            ValueError,
            "y_target has 2 outputs, and y",
        ),
        ({}, {"groups": [None] * len(TASKS)}, ValueError, "groups has missing entries"),
        (
            {"n_shot": 12},
            {},
            ValueError,
            "of one task, and the largest .* n_samples=12. Lower",
        ),
        ({"inner_lr": 0}, {}, ValueError, "inner_lr=0 is not"),
        ({"n_inner_steps": 0}, {}, ValueError, "n_inner_steps=0 is not"),
        ({"first_order": "no"}, {}, ValueError, "first_order='no' is neither"),
        ({"estimator": Ridge()}, {}, TypeError, "is not a FineTunedRegressor"),
        ({"estimator": FineTunedClassifier()}, {}, TypeError, "is not a FineTunedRegressor"),
        ({"estimator__strategy": "linear_probe"}, {}, ValueError, "has strategy='linear_probe'"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_input(settings, fit, error, words):
    model = clone(maml(NUMBERS)).set_params(**settings)
    with pytest.raises(error, match=words):
        model.fit(X_LINES, Y_LINES, **{"groups": TASKS} | LINE | fit)


class Branching(TableNetwork):
    def forward(self, x):
        assert x.sum().item() < np.inf  # which vmap refuses
        return super().forward(x)


def test_networks_that_cannot_run_side_by_side_run_one_after_the_other():
    models = [
        maml(FineTunedClassifier(kind, max_epochs=2)).fit(X, Y, **SUPPORT)
        for kind in (TableNetwork, Branching)
    ]
    expected, found = (model.predict_proba(X_NEW) for model in models)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
