"""Training near sources of every kind: bare modules, several tasks, other features, partial_fit."""

import copy
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from torch import nn

from skltransfer import (
    Backbone,
    FineTunedClassifier,
    MultiTaskClassifier,
    RegularizedTransferClassifier,
    RegularizedTransferRegressor,
)
from skltransfer.parameter import _penalties, _regularized

X, y = make_classification(120, 6, n_informative=4, n_classes=3, random_state=0)
TASK = X[60:], (y[60:] + 1) % 3
DIGITS, DIGIT = load_digits(return_X_y=True)
DIGITS, DIGIT = DIGITS[:40], DIGIT[:40]
IMAGES = {"image_shape": (8, 8), "value_range": (0, 16)}
STEPS = {"optimizer": "adamw", "max_epochs": 5, "lr": 0.01}


def move_of(model, source):
    """Return how far the carried weights are from where they were, as a norm."""
    trained = dict(model.network_.features.module.named_parameters())
    given = dict(source.named_parameters())
    squares = [((trained[n].detach() - given[n].detach()) ** 2).sum() for n in given]
    return float(sum(squares)) ** 0.5


@pytest.fixture(scope="module")
def source():
    return FineTunedClassifier(hidden_layer_sizes=(8,), weight_decay=0.05).fit(X[:60], y[:60])


def fit(backbone, rows=TASK, **settings):
    model = RegularizedTransferClassifier(backbone, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*rows)


def linear():
    torch.manual_seed(0)
    return nn.Linear(6, 4).double()


@pytest.mark.parametrize("optimizer", ["lbfgs", "adamw", "sgd"])
def test_delta_on_a_module_without_parts_is_the_distance_of_its_features(optimizer):
    module = linear()
    settings = {"penalty": "delta", "optimizer": optimizer, "max_epochs": 40}
    if optimizer != "lbfgs":
        settings |= {"backbone_lr_ratio": 1.0, "lr": 0.01}
    free, held, tight = (fit(module, alpha=a, **settings) for a in (0.0, 1.0, 10.0))
    assert np.abs(free.predict_proba(X) - held.predict_proba(X)).max() > 1e-3
    source = torch.from_numpy(TASK[0]) @ module.weight.detach().T + module.bias.detach()
    distances = [
        float(((torch.from_numpy(m.transform(TASK[0])) - source) ** 2).sum(1).mean())
        for m in (free, held, tight)
    ]
    assert distances[0] > distances[1] > distances[2]


def test_delta_on_a_module_without_parts_reaches_the_optimum_of_its_definition():
    """The features of a linear layer are its output: the optimum by scipy, without torch."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    module = linear()
    alpha, head_alpha = 0.5, 0.3

    def head(n_features, n_outputs):
        torch.manual_seed(1)
        return nn.Linear(n_features, n_outputs, bias=False).double()

    model = fit(
        module,
        penalty="delta",
        alpha=alpha,
        head_alpha=head_alpha,
        head=head,
        optimizer="lbfgs",
        max_epochs=3000,
        tol=1e-10,
    )
    Z, t = TASK
    w0, b0 = (p.detach().numpy() for p in module.parameters())

    def objective(theta):
        w, b, h = theta[:24].reshape(4, 6), theta[24:28], theta[28:].reshape(3, 4)
        features = Z @ w.T + b
        loss = -log_softmax(features @ h.T, axis=1)[np.arange(len(Z)), t].mean()
        away = features - (Z @ w0.T + b0)
        return loss + alpha / 2 * (away**2).sum(1).mean() + head_alpha / 2 * (h**2).sum()

    trained = dict(model.network_.features.module.named_parameters())
    ours = np.concatenate(
        [
            trained["weight"].detach().numpy().ravel(),
            trained["bias"].detach().numpy(),
            model.network_.head.weight.detach().numpy().ravel(),
        ]
    )
    found = minimize(objective, ours + 1e-3, method="BFGS", options={"gtol": 1e-9})
    assert objective(ours) == pytest.approx(found.fun, abs=1e-9)
    assert objective(ours) < objective(np.r_[w0.ravel(), b0, ours[28:]]) - 1e-4  # it has moved


def test_delta_with_layers_of_a_module_counts_the_stages():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    results = [
        fit(module, penalty="delta", alpha=a, layers=["0", "2"]).predict_proba(X) for a in (0, 5.0)
    ]
    assert np.abs(results[0] - results[1]).max() > 1e-3


class Rows(nn.Module):
    """Shifts each of 5 channels; the maps are (n, 5, 3, 3), or (n, 3, 3, 5)."""

    def __init__(self, channels_last):
        super().__init__()
        self.channels_last = channels_last
        self.shift = nn.Parameter(torch.zeros(5))

    def forward(self, x):
        maps = x.reshape(-1, 1, 3, 3) + self.shift.reshape(5, 1, 1)
        return maps.permute(0, 2, 3, 1) if self.channels_last else maps


def test_delta_knows_which_axis_is_that_of_the_channels():
    """Sums over channels, means over positions: 2.5 alpha for a shift by one everywhere."""
    Z = np.random.default_rng(0).normal(size=(8, 9))
    label = np.arange(8) % 2
    losses = []
    for channels_last in (False, True):
        module = nn.Sequential(Rows(channels_last)).eval()
        record = Backbone("rows", module, stages=("0",), channels_last=channels_last)
        model = RegularizedTransferClassifier(
            record, penalty="delta", alpha=2.0, optimizer="sgd", max_epochs=1
        ).partial_fit(Z, label, classes=[0, 1])
        with torch.no_grad():
            model.network_.features.module[0].shift.fill_(1.0)
        plain = copy.deepcopy(model).set_params(alpha=0.0).partial_fit(Z, label)
        model.partial_fit(Z, label)
        losses.append(model.history_[-1]["train_loss"] - plain.history_[-1]["train_loss"])
    assert losses == pytest.approx([2.0 * 2.5] * 2, rel=1e-5)


@pytest.fixture(scope="module")
def several_tasks():
    tasks = np.column_stack([y[:60] % 2, y[:60] > 1])
    return MultiTaskClassifier("network", hidden_layer_sizes=(8,), max_epochs=50).fit(X[:60], tasks)


def test_fisher_with_a_network_for_several_tasks_as_backbone(several_tasks):
    source = several_tasks.__skltransfer_backbone__().module
    settings = {"penalty": "l2_sp_fisher"}
    free, held, tight = (fit(several_tasks, alpha=a, **settings) for a in (0.0, 1.0, 1e4))
    moves = [move_of(model, source) for model in (free, held, tight)]
    assert moves[0] > 2 * moves[1] > 4 * moves[2]
    plain = fit(several_tasks, penalty="l2_sp", alpha=1.0)
    assert np.abs(plain.predict_proba(X) - held.predict_proba(X)).max() > 1e-4
    rows = fit(several_tasks, alpha=1.0, fisher_rows=10 * X[:20], **settings)
    assert np.abs(rows.predict_proba(X) - held.predict_proba(X)).max() > 1e-6


def curvature_of(monkeypatch, backbone, rows, **settings):
    """Return the Fisher information that a fit uses, by the names of the parameters."""
    seen = {}
    original = _penalties.fisher_of_source

    def spy(fitting, rows, estimator):
        result = original(fitting, rows, estimator)
        for name, parameter in fitting.built.backbone.named_parameters():
            seen[name] = result[id(parameter)].clone()
        return result

    monkeypatch.setattr(_regularized, "fisher_of_source", spy)
    model = fit(backbone, rows, penalty="l2_sp_fisher", alpha=0.1, **settings)
    return seen, model


def test_fisher_of_several_tasks_takes_features_as_means(monkeypatch):
    """The heads of tasks are no single likelihood: unit variance of each feature is."""
    tasks = np.column_stack([y[:60] % 2, y[:60] > 1])
    source = MultiTaskClassifier("network", hidden_layer_sizes=(3,), max_epochs=50)
    source.fit(X[:60], tasks)
    seen, _ = curvature_of(monkeypatch, source, TASK)
    module = copy.deepcopy(source.__skltransfer_backbone__().module).double().requires_grad_(True)
    names, parameters = zip(*module.named_parameters(), strict=True)
    expected = [torch.zeros_like(p) for p in parameters]
    for x in TASK[0]:
        for k in range(3):
            slopes = torch.autograd.grad(module(torch.from_numpy(x[None]))[0, k], parameters)
            for sum_, slope in zip(expected, slopes, strict=True):
                sum_ += slope**2
    mean = sum(float(f.sum()) for f in expected) / sum(f.numel() for f in expected)
    for name, diagonal in zip(names, expected, strict=True):
        assert torch.allclose(seen[name], diagonal / mean, rtol=1e-8), name


def test_fisher_of_a_frozen_source_is_that_of_the_source(source):
    """A search clones its candidates: there a fitted estimator stands in a FrozenEstimator."""
    settings = {"penalty": "l2_sp_fisher", "alpha": 0.1}
    bare, frozen = (fit(backbone, **settings) for backbone in (source, FrozenEstimator(source)))
    assert (bare.predict_proba(X) == frozen.predict_proba(X)).all()
    module = source.__skltransfer_backbone__().module
    other = fit(module, **settings)  # without the head features are taken as means
    assert np.abs(bare.predict_proba(X) - other.predict_proba(X)).max() > 1e-4


@pytest.mark.parametrize(
    "settings", [{"layers": "stage2"}, {"layers": ["stage1", "stage3"]}, {"pooling": "avg"}]
)
def test_fisher_with_other_features_than_the_source_gave_its_head(settings, monkeypatch):
    source = FineTunedClassifier("tiny", max_epochs=1, **IMAGES).fit(DIGITS[:20], DIGIT[:20] % 2)
    rows = DIGITS[20:], DIGIT[20:]
    common = {"max_epochs": 2, "lr": 0.01, **settings, **IMAGES}
    seen, held = curvature_of(monkeypatch, source, rows, **common)
    assert all(bool((v >= 0).all()) for v in seen.values())
    total, n = sum(float(v.sum()) for v in seen.values()), sum(v.numel() for v in seen.values())
    assert total / n == pytest.approx(1.0, rel=1e-3)
    if settings.get("layers") == "stage2":  # what comes after it decides nothing
        assert all(not v.any() for name, v in seen.items() if name.startswith("stage3"))
        assert any(v.any() for name, v in seen.items() if name.startswith("stage2"))
    free = fit(source, rows, penalty="l2_sp_fisher", alpha=0.0, **common)
    assert np.abs(free.predict_proba(rows[0]) - held.predict_proba(rows[0])).max() > 1e-5


def test_fisher_where_the_same_features_are_wider_than_the_source_had():
    """Images of another size, every value of the map a feature."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3))
    rng = np.random.default_rng(0)
    small, large = (rng.random((12, n, n)).astype(np.float32) for n in (6, 8))
    label = np.arange(12) % 2
    settings = {"pooling": "flatten", "max_epochs": 2, "lr": 0.01}
    source = FineTunedClassifier(network, **settings).fit(small, label)
    results = [
        fit(source, (large, label), penalty="l2_sp_fisher", alpha=a, **settings) for a in (0.0, 1.0)
    ]
    assert (results[0].predict_proba(large) != results[1].predict_proba(large)).any()


def after_partial_fits(backbone, rows, penalty, alpha, *, kind=RegularizedTransferClassifier, **s):
    s = {"n_singular_values": 4} | STEPS | s
    model = kind(backbone, penalty=penalty, alpha=alpha, head_alpha=0.0, **s)
    classes = {"classes": np.unique(rows[1])} if kind is RegularizedTransferClassifier else {}
    for _ in range(5):
        model.partial_fit(*rows, **classes)
    return model


@pytest.mark.parametrize("penalty", ["l2_sp", "l2_sp_fisher", "delta", "bss", "l2"])
def test_partial_fit_minimises_the_penalty_as_well(source, penalty):
    free, held = (
        after_partial_fits(source, TASK, penalty, a, backbone_lr_ratio=1.0) for a in (0.0, 5.0)
    )
    assert np.abs(free.predict_proba(X) - held.predict_proba(X)).max() > 1e-4
    if penalty in ("l2_sp", "l2_sp_fisher"):
        module = source.__skltransfer_backbone__().module
        assert move_of(held, module) < 0.7 * move_of(free, module)
    if penalty == "delta":
        away = [
            np.abs(m.transform(TASK[0]) - source.transform(TASK[0])).mean() for m in (free, held)
        ]
        assert away[1] < 0.7 * away[0]
    if penalty == "bss":
        values = [np.linalg.svd(m.transform(TASK[0]))[1] for m in (free, held)]
        assert values[1][-4:].sum() < 0.9 * values[0][-4:].sum()
    if penalty == "l2":
        sizes = [
            sum(float((p.detach() ** 2).sum()) for p in m.network_.features.parameters())
            for m in (free, held)
        ]
        assert sizes[1] < 0.95 * sizes[0]


@pytest.mark.parametrize("penalty", ["delta", "bss"])
def test_partial_fit_of_a_regressor_minimises_the_penalty_as_well(source, penalty):
    rows = TASK[0], TASK[0][:, 0]
    free, held = (
        after_partial_fits(source, rows, penalty, a, kind=RegularizedTransferRegressor)
        for a in (0.0, 20.0)
    )
    assert np.abs(free.predict(X) - held.predict(X)).max() > 1e-4


@pytest.mark.parametrize("penalty", ["delta", "bss"])
def test_partial_fit_after_fit_goes_on_with_the_penalty_and_leaves_no_trace(source, penalty):
    results = []
    for alpha in (0.0, 20.0):
        model = fit(source, penalty=penalty, alpha=0.0, **STEPS)
        model.set_params(alpha=alpha).partial_fit(*TASK)
        results.append(model.predict_proba(X))
        assert type(model.network_.features).__name__ == "FeatureNetwork"
        assert not any(part._forward_hooks for part in model.network_.modules())
    assert (results[0] != results[1]).any()


@pytest.mark.parametrize("penalty", ["delta", "bss"])
def test_an_interrupted_partial_fit_leaves_no_hook(source, penalty):
    model = fit(source, penalty=penalty, alpha=1.0, **STEPS)
    expected = model.predict_proba(X)

    def fail(x):
        raise KeyboardInterrupt

    model.set_params(augment=fail)
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(*TASK)
    assert type(model.network_.features).__name__ == "FeatureNetwork"
    assert (model.predict_proba(X) == expected).all()
