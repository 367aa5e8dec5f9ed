"""Frozen stages pass a row once; what they give is kept, and equal to what they would give anew."""

import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.nn import functional

from skltransfer import (
    FineTunedClassifier,
    FineTunedRegressor,
    RegularizedTransferClassifier,
    feature_store,
)
from skltransfer.backbones import Backbone, load_backbone
from skltransfer.feature import FeatureStore

N = 40
SETTINGS = {
    "image_shape": (8, 8),
    "value_range": (0, 16),
    "unfreeze": 1,
    "max_epochs": 3,
    "batch_size": 16,
}


@pytest.fixture(autouse=True)
def empty_store():
    feature_store.clear()


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    keep = np.flatnonzero(y < 3)[: 2 * N]
    return X[keep], y[keep]


@pytest.fixture
def stem_rows(monkeypatch):
    """Number of rows in each pass through the first convolution."""
    passes, forward = [], nn.Conv2d.forward

    def counted(self, x):
        if self.weight.shape[:2] == (16, 3):
            passes.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    return passes


def pair(kind, X, y, **settings):
    """Return two fits of one estimator, with and without what is kept."""
    settings = SETTINGS | settings
    return [kind("tiny", store=store, **settings).fit(X, y) for store in ("memory", None)]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (FineTunedClassifier, {}),
        (FineTunedClassifier, {"unfreeze": 2, "strategy": "lp_ft", "layer_decay": 0.5}),
        (FineTunedClassifier, {"gradual_unfreezing": 1, "unfreeze": "stage2"}),
        (FineTunedClassifier, {"early_stopping": True, "validation_fraction": 0.3}),
        (FineTunedClassifier, {"norm_statistics": "learn", "accumulate": 2, "ema_decay": 0.5}),
        (FineTunedClassifier, {"layers": "all_stages"}),
        (FineTunedRegressor, {"layers": "stage3", "norm_statistics": "keep"}),
        (RegularizedTransferClassifier, {"alpha": 0.1}),
        (RegularizedTransferClassifier, {"penalty": "l2_sp_fisher"}),
        (RegularizedTransferClassifier, {"penalty": "bss"}),
    ],
)
def test_a_fit_equals_one_from_the_samples(digits, kind, settings):
    X, y = digits
    kept, plain = pair(kind, X[:N], y[:N], **settings)
    depth = SETTINGS["unfreeze"] if "unfreeze" not in settings else settings["unfreeze"]
    assert kept.cached_stage_ == ("stage2" if depth == 1 else "stage1")
    assert plain.cached_stage_ is None
    losses = [[record["train_loss"] for record in model.history_] for model in (kept, plain)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4, atol=1e-5)
    outputs = [
        model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)
        for model in (kept, plain)
    ]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-3)
    moved = [
        (a - b).abs().max() > 0
        for a, b in zip(
            kept.network_.features.module.stage3.parameters(),
            load_backbone("tiny").module.stage3.parameters(),
            strict=True,
        )
    ]
    assert all(moved)


def test_frozen_stages_pass_a_row_once(digits, stem_rows):
    X, y = digits
    kept = FineTunedClassifier("tiny", **SETTINGS).fit(X[:N], y[:N])
    first = sum(stem_rows)
    assert first <= 64 + 6  # one padded batch, and a few rows to look at the network
    stem_rows.clear()
    kept.set_params(lr=0.01).fit(X[:N], y[:N])
    kept.score(X[:N], y[:N])
    assert sum(stem_rows) == 0
    kept.score(X, y)  # the others were not kept
    assert sum(stem_rows) == N
    assert kept.predict(X[:1]).shape == (1,)
    assert stem_rows[1:] == [1]
    stem_rows.clear()
    kept.set_params(store=None).fit(X[:N], y[:N])
    assert sum(stem_rows) >= (1 + SETTINGS["max_epochs"]) * N


def test_candidates_and_folds_share_what_is_kept(digits, stem_rows):
    X, y = digits
    model = FineTunedClassifier("tiny", **SETTINGS)
    search = GridSearchCV(model, {"lr": [0.001, 0.01]}, cv=2).fit(X, y)
    assert search.best_estimator_.cached_stage_ == "stage2"
    # Each fold is trained on once, as one padded batch, and the first to be scored is not kept yet.
    assert sum(stem_rows) <= 2 * 64 + N + 6
    scores = search.cv_results_["mean_test_score"]
    search = GridSearchCV(model.set_params(store=None), {"lr": [0.001, 0.01]}, cv=2).fit(X, y)
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], scores, atol=0.03)


def test_other_frozen_weights_never_find_old_rows(digits, stem_rows):
    X, y = digits
    first = FineTunedClassifier("tiny", **SETTINGS).fit(X[:N], y[:N])
    with torch.no_grad():
        first.network_.features.module.stem[0].weight[3] *= -1
    again = pickle.loads(pickle.dumps(first))  # knows nothing of what is kept
    np.testing.assert_allclose(first.predict_proba(X), again.predict_proba(X), atol=1e-5)
    record = load_backbone("tiny")
    module = copy.deepcopy(record.module)
    with torch.no_grad():
        module.stem[0].weight[3] *= -1
    changed = load_backbone(module, preprocessing=record.preprocessing)
    stem_rows.clear()
    model = FineTunedClassifier(changed, **SETTINGS | {"unfreeze": "stage3"})
    model.set_params(layers=["stage2", "stage3"]).fit(X[:N], y[:N])
    assert sum(stem_rows) >= N
    assert model.cached_stage_ == "stage2"


def test_the_room_of_the_store_is_kept_to(digits):
    X, y = digits
    bytes_of_row = 64 * 8 * 8 * 4
    results = []
    for factor, stage in ((2, "stage2"), (1.9, None)):
        store = FeatureStore(max_bytes=int(factor * N * bytes_of_row))
        model = FineTunedClassifier("tiny", store=store, **SETTINGS).fit(X[:N], y[:N])
        assert model.cached_stage_ == stage
        assert store.nbytes <= store.max_bytes
        results.append(model.predict_proba(X))
    np.testing.assert_allclose(results[0], results[1], atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (FineTunedClassifier, {"augment": "crop"}),
        (FineTunedClassifier, {"precision": "bfloat16"}),
        (FineTunedClassifier, {"unfreeze": "all"}),
        (FineTunedClassifier, {"unfreeze": "head"}),
        (FineTunedClassifier, {"strategy": "linear_probe"}),
        (RegularizedTransferClassifier, {"penalty": "delta"}),
    ],
)
def test_where_inputs_vary_or_are_needed_nothing_is_kept(digits, kind, settings):
    X, y = digits
    settings = SETTINGS | {"max_epochs": 1} | settings
    assert kind("tiny", **settings).fit(X[:N], y[:N]).cached_stage_ is None


class Stages(nn.Module):
    """Stages with a way around one of them; `chance` is that of zeros in training, in any mode."""

    def __init__(self, chance=0.0, around="red"):
        super().__init__()
        self.low, self.high = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.top = nn.Conv2d(9 if around == "red" else 11, 8, 1)
        self.chance, self.around = chance, around

    def forward(self, x):
        low = torch.relu(self.low(x))
        low = functional.dropout(low, self.chance, self.training) if self.chance else low
        around = torch.relu(x[:, :1]) if self.around == "red" else x
        return self.top(torch.cat([self.high(low), around], 1))


@pytest.mark.parametrize(
    ("settings", "stage"), [({}, "low"), ({"chance": 0.2}, None), ({"around": "all"}, None)]
)
def test_a_part_that_is_random_or_reads_the_samples_later_is_run_anew(settings, stage):
    module = Stages(**settings).eval()
    record = Backbone("stages", module, stages=("low", "high", "top"), layers=("top",))
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8), np.arange(20) % 2
    quick = {"unfreeze": 2, "max_epochs": 2}
    kept = FineTunedClassifier(record, **quick).fit(X, y)
    assert kept.cached_stage_ == stage
    plain = FineTunedClassifier(record, store=None, **quick).fit(X, y)
    np.testing.assert_allclose(kept.predict_proba(X), plain.predict_proba(X), atol=1e-4)


def test_a_fit_that_goes_on_knows_the_weights_it_has(digits):
    X, y = digits
    models = pair(FineTunedClassifier, X[:N], y[:N], warm_start=True, unfreeze="all")
    for model in models:  # all stages have moved
        model.set_params(unfreeze=1).fit(X[:N], y[:N])
    assert models[0].cached_stage_ == "stage2"
    outputs = [model.predict_proba(X) for model in models]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-3)


def test_fitted_estimators_are_copied_and_pickled_without_it(digits):
    X, y = digits
    model = FineTunedClassifier("tiny", **SETTINGS).fit(X[:N], y[:N])
    expected = model.predict_proba(X)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_allclose(twin.predict_proba(X), expected, atol=1e-6)
        assert twin.cached_stage_ == "stage2"
    with pytest.raises(ValueError, match="store='disk' is not"):
        model.set_params(store="disk").fit(X, y)
