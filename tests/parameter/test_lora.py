"""strategy="lora": adapters alone are trained, and nothing of them is left."""

import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from torch import nn

from skltransfer import FineTunedClassifier, load_backbone
from skltransfer._networks._lora import Adapters
from skltransfer._torch._depth import map_depth
from skltransfer._torch._extraction import FeatureNetwork

pytest.importorskip("peft")
QUICK = {"strategy": "lora", "lora_rank": 2, "max_epochs": 3, "optimizer": "adamw", "lr": 0.02}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    keep = np.flatnonzero(y < 3)[:90]
    return X[keep], y[keep]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.low = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Tanh())
        self.top = nn.Sequential(nn.Dropout(0.2), nn.Linear(16, 8), nn.BatchNorm1d(8))

    def forward(self, x):
        return self.top(self.low(x))


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Net().eval()


def changes(module, trained):
    """Return how each tensor of a network differs from where it started."""
    before = module.state_dict()
    return {name: value - before[name].to(value.dtype) for name, value in trained.items()}


BACKBONES = {
    "module": net,
    "traced": lambda: load_backbone("tiny").module,
}


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize("rank", [1, 3])
def test_weights_change_by_a_matrix_of_low_rank_and_nothing_else_does(digits, kind, rank):
    X, y = digits
    module = BACKBONES[kind]()
    settings = QUICK | {"lora_rank": rank, "precision": "float64", "augment": "mixup"}
    if kind == "traced":
        settings |= {"image_shape": (8, 8), "value_range": (0, 16), "max_epochs": 1}
    backbone = module if kind == "module" else "tiny"
    model = FineTunedClassifier(backbone, **settings).fit(X, y)
    trained = model._built.backbone.state_dict()
    assert set(trained) == set(module.state_dict())  # plain layers again
    assert not any("lora" in name for name in model.network_.state_dict())
    assert not any("peft" in type(part).__module__ for part in model.network_.modules())
    parts = dict(module.named_modules())
    n_changed = 0
    for name, change in changes(module, trained).items():
        layer = parts[name.rpartition(".")[0]]
        if isinstance(layer, nn.Linear | nn.Conv2d) and name.endswith("weight"):
            n_changed += 1
            sizes = torch.linalg.svdvals(change.flatten(1))
            assert sizes[0] > 1e-4
            largest = min(change.flatten(1).shape)
            if rank < largest and change.ndim == 2:
                assert sizes[rank] < 1e-9 * sizes[0], name
        else:  # biases, norms, running statistics
            assert not change.any(), name
    assert n_changed >= 2


def test_adapters_learn(digits):
    X, y = digits
    model = FineTunedClassifier(net(), **QUICK | {"max_epochs": 30}).fit(X, y)
    assert model.score(X, y) > 0.95
    probe = FineTunedClassifier(net(), **QUICK | {"max_epochs": 30, "strategy": "linear_probe"})
    probe.fit(X, y)
    assert model.history_[-1]["train_loss"] < 0.8 * probe.history_[-1]["train_loss"]
    assert {record["phase"] for record in model.history_} == {"lora"}


def test_the_deeper_stages_alone(digits):
    X, y = digits
    module = net()
    model = FineTunedClassifier(module, unfreeze=1, **QUICK).fit(X, y)
    moved = {n for n, c in changes(module, model._built.backbone.state_dict()).items() if c.any()}
    assert moved == {"top.1.weight"}


def test_rank_scale_weights_and_rates_matter(digits):
    X, y = digits
    model = FineTunedClassifier(net(), **QUICK)
    expected = model.fit(X, y).decision_function(X)
    np.testing.assert_array_equal(clone(model).fit(X, y).decision_function(X), expected)
    for change in ({"lora_rank": 3}, {"lora_alpha": 1.0}, {"layer_decay": 0.1}):
        found = clone(model).set_params(**change).fit(X, y).decision_function(X)
        assert np.abs(found - expected).max() > 1e-4, change
    weighted = clone(model).fit(X, y, sample_weight=np.where(y == 1, 9.0, 1.0))
    assert np.abs(weighted.decision_function(X) - expected).max() > 1e-2


def test_layer_decay_reaches_adapters(digits):
    X, y = digits
    model = FineTunedClassifier(
        net(), layer_decay=0.5, schedule="constant", warmup=0.0, **QUICK
    ).fit(X, y)
    record = model.history_[0]
    assert record["lr_head"] == 0.02
    assert record["lr_top"] == pytest.approx(0.003)
    assert record["lr_low"] == pytest.approx(0.0015)


class Watch:
    """Asks for the fitted estimator in every epoch."""

    def __init__(self):
        self.last = None

    def setup(self, estimator, context):
        pass

    teardown = setup

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        if context.task_name == "epoch":
            self.last = fitted_estimator.decision_function(X)


@pytest.mark.parametrize("backbone", ["tiny", None])
def test_watching_changes_nothing(digits, backbone):
    X, y = digits
    settings = {} if backbone is None else {"image_shape": (8, 8), "value_range": (0, 16)}
    model = FineTunedClassifier(backbone, **QUICK, **settings)
    watch = Watch()
    watched = clone(model).set_callbacks(watch).fit(X, y).decision_function(X)
    np.testing.assert_allclose(watch.last, watched, atol=1e-5)
    np.testing.assert_array_equal(model.fit(X, y).decision_function(X), watched)


def test_merging_and_unmerging_gives_the_same_bits(digits):
    module = net().double().requires_grad_(True)
    features = FeatureNetwork(module, {}, "avg", False)
    depth = map_depth(module, ("low", "top"), torch.zeros(2, 64).double())
    before = {name: value.clone() for name, value in module.state_dict().items()}
    adapters = Adapters(features, depth, 0, 2, 16.0, 0)
    x = torch.randn(5, 64, dtype=torch.float64)
    with torch.no_grad():
        for parameter in adapters.parameters:
            parameter.normal_()
        expected = features(x)
        for _ in range(3):
            adapters.add()
            torch.testing.assert_close(features(x), expected)
            adapters.subtract()
        torch.testing.assert_close(features(x), expected, rtol=0, atol=0)
        for name, value in module.state_dict().items():
            if "lora" not in name:
                assert torch.equal(value, before[name.replace("base_layer.", "")])
        adapters.merge()
        torch.testing.assert_close(features(x), expected)
    assert set(module.state_dict()) == set(before)


def test_without_peft(digits, monkeypatch):
    X, y = digits
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"needs peft, .*skltransfer\[lora\]"):
        FineTunedClassifier(**QUICK).fit(X, y)


def test_nothing_to_adapt(digits):
    X, y = digits
    with pytest.raises(ValueError, match="found no linear or convolutional layer"):
        FineTunedClassifier(nn.LayerNorm(64), **QUICK).fit(X, y)
