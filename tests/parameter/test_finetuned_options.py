"""Every option of the fine-tuning estimators against what it means."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_pre_hook

from skltransfer import FineTunedClassifier, FineTunedRegressor, load_backbone
from skltransfer._torch._store import feature_store
from tests.parameter.test_finetuned import net, outputs

QUICK = {"optimizer": "adamw", "lr": 0.02, "max_epochs": 3, "batch_size": 16}
IMAGES = {"image_shape": (8, 8), "value_range": (0, 16)}
few_iterations = pytest.mark.filterwarnings("ignore:L-BFGS stopped")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    keep = np.flatnonzero(y < 4)[:96]
    return X[keep], y[keep]


def smooth_net():
    """Return a network for tables whose features are not saturated."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(64, 10), nn.Tanh())
        nn.init.normal_(module[0].weight, std=0.01)
    return module.eval()


def moved(model, start):
    after = model._built.backbone.state_dict()
    return {name for name, value in start.items() if not torch.equal(after[name].to(value), value)}


# --- freezing ------------------------------------------------------------------------------

ALL = {"low", "middle", "top"}


@pytest.mark.parametrize(
    "unfreeze, stages",
    [("head", set()), (0, set()), (1, {"top"}), ("middle", {"middle", "top"}), ("all", ALL)],
)
@pytest.mark.parametrize("strategy", ["finetune", "lp_ft"])
def test_frozen_stages_stay_bit_for_bit(digits, unfreeze, stages, strategy):
    X, y = digits
    module = net()
    settings = QUICK | {"ema_decay": 0.9, "augment": lambda x: x + 0.1}
    settings |= {"norm_statistics": "learn"}
    model = FineTunedClassifier(
        module, unfreeze=unfreeze, strategy=strategy, precision="float32", **settings
    ).fit(X, y)
    found = moved(model, module.state_dict())
    expected = {n for n in module.state_dict() if n.partition(".")[0] in stages}
    assert found == expected  # running statistics included
    assert model.stages_ == ("low", "middle", "top")


@pytest.mark.parametrize(
    "name, unfreeze, stages",
    [
        ("tiny", 2, ("stage2", "stage3")),
        ("tiny", "head", ()),
        ("resnet18", 1, ("layer4",)),
        ("resnet18", "layer3", ("layer3", "layer4")),
    ],
)
def test_frozen_stages_of_networks_for_images(digits, name, unfreeze, stages):
    X, y = digits
    settings = {"max_epochs": 2, "lr": 0.01, "batch_size": 6, "augment": "flip"} | IMAGES
    settings |= {"norm_statistics": "learn"}
    if name == "resnet18":
        settings |= {"input_size": 64, "weights": None}
    model = FineTunedClassifier(name, unfreeze=unfreeze, **settings).fit(X[:12], y[:12])
    start = load_backbone(name, settings.get("weights", "default")).module.state_dict()
    found = moved(model, start)
    assert found == {n for n in start if n.partition(".")[0] in stages}


class Epochs:
    """Keeps the network after every epoch."""

    def __init__(self):
        self.states = []

    def setup(self, estimator, context):
        pass

    teardown = setup

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "epoch":
            self.states.append(fitted_estimator._built.backbone.state_dict())


def test_gradual_unfreezing_epoch_by_epoch(digits):
    X, y = digits
    module, epochs = net(), Epochs()
    model = FineTunedClassifier(
        module,
        gradual_unfreezing=2,
        unfreeze="middle",
        precision="float32",
        **QUICK | {"max_epochs": 6},
    )
    model.set_callbacks(epochs).fit(X, y)
    before, rates = module.state_dict(), []
    for record, state in zip(model.history_, epochs.states, strict=True):
        stages = {n.partition(".")[0] for n in state if not torch.equal(state[n], before[n])}
        open_to = {0: set(), 1: {"top"}, 2: {"middle", "top"}}[(record["epoch"] - 1) // 2]
        assert stages == open_to
        rates.append({s for s in ALL if record.get(f"lr_{s}", 0) > 0})
        assert rates[-1] == open_to
        before = state


@pytest.mark.parametrize("decay, ratio", [(1.0, 0.1), (0.5, 1.0), (0.3, 0.2), (1.0, "auto")])
def test_rates_in_force_of_each_stage(digits, decay, ratio):
    X, y = digits
    seen = []
    hook = register_optimizer_step_pre_hook(
        lambda stepper, *_: seen.append(
            [(p, g["lr"]) for g in stepper.param_groups for p in g["params"]]
        )
    )
    try:
        model = FineTunedClassifier(
            net(), layer_decay=decay, backbone_lr_ratio=ratio, warmup=0.0, **QUICK
        ).fit(X, y)
    finally:
        hook.remove()
    assert len(seen) == 18
    names = {id(p): n for n, p in model._built.backbone.named_parameters()}
    ratio = 0.1 if ratio == "auto" else ratio
    for step, rates in enumerate(seen):
        cosine = (1 + np.cos(np.pi * step / 18)) / 2
        for p, rate in rates:
            stage = names.get(id(p), "head").partition(".")[0]
            depth = {"head": 0, "top": 1, "middle": 2, "low": 3}[stage]
            expected = 0.02 * cosine * (1 if depth == 0 else ratio * decay**depth)
            assert rate == pytest.approx(expected, rel=1e-9)
        assert len(rates) == len(list(model.network_.parameters()))


def test_a_small_rate_moves_a_stage_less(digits):
    X, y = digits
    module = net()
    model = FineTunedClassifier(module, layer_decay=0.01, backbone_lr_ratio=1.0, **QUICK).fit(X, y)
    distance = {}
    for name, p in model._built.backbone.named_parameters():
        if p.ndim == 2:
            distance[name[:3]] = (p - module.get_parameter(name)).abs().mean().item()
    assert 0 < distance["low"] < 0.1 * distance["mid"] < 0.01 * distance["top"] * 1.5


@pytest.mark.parametrize(
    "settings, ratio",
    [
        ({"backbone": None}, 1.0),
        ({"backbone": net()}, 0.1),
        ({"backbone": lambda: net()}, 0.1),
        ({"backbone": "tiny", "weights": None} | IMAGES, 1.0),
        ({"backbone": "tiny"} | IMAGES, 0.1),
        ({"backbone": "tiny", "strategy": "lora"} | IMAGES, 0.3),
    ],
)
def test_the_automatic_ratio(digits, settings, ratio):
    X, y = digits
    model = FineTunedClassifier(**settings, **QUICK | {"max_epochs": 1}).fit(X[:16], y[:16])
    record = model.history_[0]
    assert record[f"lr_{model.stages_[-1]}"] == pytest.approx(ratio * record["lr_head"])


# --- losses --------------------------------------------------------------------------------


def random_head(n_features, n_outputs):
    layer = nn.Linear(n_features, n_outputs)
    nn.init.normal_(layer.weight)
    return layer


def at_the_start(X, y, sample_weight=None, **settings):
    """Return outputs and loss of a network before its first step, on all rows in one batch."""
    # A module of its own: columns and features would be standardised with the weights.
    model = FineTunedClassifier(
        smooth_net(),
        optimizer="adamw",
        max_epochs=1,
        batch_size=len(X),
        head=random_head,
        lr=1e-300,
        **settings,
    ).fit(X, y, sample_weight=sample_weight)
    return torch.tensor(model.decision_function(X)), model.history_[0]["train_loss"]


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_label_smoothing_is_torchs(digits, smoothing, n_classes):
    X, y = digits[0], digits[1] % n_classes
    scores, loss = at_the_start(X, y, label_smoothing=smoothing)
    if n_classes == 2:  # of two classes the logit is the difference of two
        scores = torch.stack([torch.zeros_like(scores), scores], 1)
    expected = functional.cross_entropy(scores, torch.tensor(y), label_smoothing=smoothing)
    assert loss == pytest.approx(float(expected))


def test_class_weights_in_the_loss(digits):
    X, y = digits
    X, y = X[y < 3], y[y < 3]
    scores, target = at_the_start(X, y)[0], torch.tensor(y)
    for given in ({0: 5.0, 2: 0.5}, "balanced"):
        by_class = torch.tensor([5.0, 1.0, 0.5], dtype=torch.float64)
        if given == "balanced":
            by_class = torch.tensor(len(y) / (3 * np.bincount(y)))
        expected = functional.cross_entropy(scores, target, weight=by_class)
        loss = at_the_start(X, y, class_weight=given)[1]
        assert loss == pytest.approx(float(expected))
    weights = np.linspace(0.5, 2, len(y))
    losses = functional.cross_entropy(scores, target, reduction="none").numpy()
    expected = np.average(losses, weights=weights)
    assert at_the_start(X, y, weights)[1] == pytest.approx(expected)


@few_iterations
def test_options_for_imbalanced_classes_help_the_small_one():
    rng = np.random.default_rng(0)
    y = (rng.random(3000) < 0.05).astype(int)
    X = rng.normal(size=(3000, 2)) + y[:, None]
    settings = {"hidden_layer_sizes": (), "lr": 0.02, "optimizer": "adamw", "max_epochs": 20}
    plain = FineTunedClassifier(**settings).fit(X[:600], y[:600])
    recall = plain.predict(X[600:])[y[600:] == 1].mean()
    assert recall < 0.2
    for change in ({"class_weight": "balanced"}, {"balanced_batches": True}):
        model = clone(plain).set_params(**change).fit(X[:600], y[:600])
        predicted = model.predict(X[600:])
        assert predicted[y[600:] == 1].mean() > recall + 0.4
        assert predicted[y[600:] == 0].mean() < 0.35


def test_balanced_batches_show_every_class_equally_often(digits):
    X, y = digits
    rows = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:3]]
    X, y = X[rows].copy(), y[rows]
    X[:, 0] = y
    counts = []

    def note(x):
        counts.append(np.bincount(x[:, 0].int().numpy(), minlength=2))
        return x

    model = FineTunedClassifier(balanced_batches=True, augment=note, **QUICK | {"batch_size": 8})
    model.fit(X, y)
    assert all(abs(a - b) <= 1 for a, b in counts)
    counts.clear()
    model.set_params(balanced_batches=False).fit(X, y)
    assert sum(a for a, _ in counts) > 5 * sum(b for _, b in counts)


# --- heads, dropout, augmentation, optimisers ------------------------------------------------

CHANGES = {
    "dropout": {"dropout": 0.5},
    "label_smoothing": {"label_smoothing": 0.2},
    "mlp": {"head": "mlp"},
    "cosine": {"head": "cosine"},
    "factory": {"head": random_head},
    "augment": {"augment": "mixup"},
    "callable": {"augment": lambda x: x * 1.1},
    "sgd": {"optimizer": "sgd"},
    "momentum": {"optimizer": "sgd", "momentum": 0.0},
    "lr": {"lr": 0.03},
    "weight_decay": {"weight_decay": 0.5},
    "constant": {"schedule": "constant"},
    "warmup": {"warmup": 0.5},
    "max_epochs": {"max_epochs": 4},
    "batch_size": {"batch_size": 20},
    "clip_norm": {"clip_norm": 0.01},
    "ema_decay": {"ema_decay": 0.9},
    "early_stopping": {"early_stopping": True},
    "validation_fraction": {"early_stopping": True, "validation_fraction": 0.3},
    "precision": {"precision": "float32"},
    "bfloat16": {"precision": "bfloat16"},
    "hidden_layer_sizes": {"hidden_layer_sizes": (32,)},
    "linear": {"hidden_layer_sizes": ()},
    "two layers": {"hidden_layer_sizes": (64, 64)},
    "layer_decay": {"layer_decay": 0.5},
    "backbone_lr_ratio": {"backbone_lr_ratio": 0.3},
    "gradual_unfreezing": {"gradual_unfreezing": 1},
    "balanced_batches": {"balanced_batches": True},
    "class_weight": {"class_weight": {0: 2.0}},
    "lp_ft": {"strategy": "lp_ft"},
    "linear_probe": {"strategy": "linear_probe"},
    "head": {"unfreeze": "head"},
    "random_state": {"random_state": 1},
}


def test_no_option_is_without_effect(digits):
    X, y = digits
    base = FineTunedClassifier(**QUICK)
    found = {"": base.fit(X, y).predict_proba(X)}
    for name, change in CHANGES.items():
        found[name] = clone(base).set_params(**change).fit(X, y).predict_proba(X)
    names = list(found)
    for i, a in enumerate(names):
        for b in names[:i]:
            if {a, b} == {"linear_probe", "head"}:  # on rows that do not change the same
                continue
            assert np.abs(found[a] - found[b]).max() > 1e-9, (a, b)


def test_accumulation_is_the_same_fit(digits):
    X, y = digits
    model = FineTunedClassifier(**QUICK).fit(X, y)
    parts = clone(model).set_params(accumulate=5).fit(X, y)
    np.testing.assert_allclose(outputs(parts, X), outputs(model, X), atol=1e-6)


@pytest.mark.parametrize(
    "augment", ["flip", "crop", "trivial", "rand", "auto", "color", "erase", "mixup", "cutmix"]
)
def test_policies_are_for_training_only(digits, augment):
    X, y = digits
    settings = IMAGES | {"max_epochs": 1, "lr": 0.01}
    plain = FineTunedClassifier("tiny", **settings).fit(X[:40], y[:40])
    model = FineTunedClassifier("tiny", augment=augment, **settings).fit(X[:40], y[:40])
    assert not np.array_equal(outputs(model, X), outputs(plain, X))
    np.testing.assert_array_equal(outputs(model, X), outputs(model, X))
    np.testing.assert_array_equal(model.transform(X), model.transform(X))


def test_a_callable_is_given_batches_in_training_only(digits):
    X, y = digits
    shapes = []

    def note(x):
        shapes.append(tuple(x.shape))
        return x

    model = FineTunedClassifier(augment=note, early_stopping=True, **QUICK).fit(X, y)
    assert sum(n for n, _ in shapes) == 3 * (96 - 10) and {w for _, w in shapes} == {64}
    shapes.clear()
    model.predict(X)
    assert not shapes
    FineTunedClassifier("tiny", augment=note, max_epochs=1, **IMAGES).fit(X[:10], y[:10])
    assert shapes[0][1:] == (3, 32, 32) or shapes[0][1:] == (1, 32, 32)


def test_dropout_is_torchs(digits):
    X, y = digits
    heads = {}
    for kind in ("linear", "mlp", "cosine"):
        model = FineTunedClassifier(head=kind, dropout=0.5, **QUICK).fit(X, y)
        heads[kind] = [p.p for p in model.network_.head.modules() if isinstance(p, nn.Dropout)]
        np.testing.assert_array_equal(outputs(model, X), outputs(model, X))
    assert heads == {"linear": [0.5], "mlp": [0.5], "cosine": [0.5]}


def test_the_cosine_head_is_a_cosine(digits):
    X, y = digits
    model = FineTunedClassifier(head="cosine", **QUICK).fit(X, y)
    head = model.network_.head
    features = (model.transform(X) - head.features.mean.numpy()) / head.features.scale.numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    directions = head.directions.detach().numpy()
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    expected = head.log_scale.exp().item() * features @ directions.T
    np.testing.assert_allclose(model.decision_function(X), expected, atol=1e-6)


def test_early_stopping_holds_rows_back_and_keeps_the_best(digits):
    X, y = digits
    model = FineTunedClassifier(
        early_stopping=True, patience=2, **QUICK | {"max_epochs": 60, "lr": 0.3}
    ).fit(X, y)
    losses = [record["valid_loss"] for record in model.history_]
    assert len(losses) < 60
    assert np.argmin(losses) == len(losses) - 3
    regressor = FineTunedRegressor(early_stopping=True, **QUICK).fit(X, y)
    assert all("valid_loss" in record for record in regressor.history_)


# --- linear probes ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("decay", [0.01, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_probe_is_scikit_learns_optimum(digits, n_classes, decay, weighted):
    X, y = digits[0], digits[1] % n_classes
    weights = np.linspace(0.2, 3, len(y)) if weighted else None
    module = smooth_net()
    model = FineTunedClassifier(
        module, strategy="linear_probe", weight_decay=decay, precision="float64", tol=1e-9
    ).fit(X, y, sample_weight=weights)
    with torch.inference_mode():
        features = module.double()(torch.tensor(X)).numpy()
    module.float()
    features = StandardScaler().fit(features, sample_weight=weights).transform(features)
    # Mean loss + decay / 2 ||W||^2, intercept free. Of two classes one vector is fitted.
    total = len(y) if weights is None else weights.sum()
    reference = LogisticRegression(C=1 / (decay * total), tol=1e-12, solver="newton-cholesky")
    reference.fit(features, y, sample_weight=weights)
    np.testing.assert_allclose(model.predict_proba(X), reference.predict_proba(features), atol=1e-6)
    head = model.network_.head.output.weight.detach().numpy()
    np.testing.assert_allclose(head, reference.coef_, atol=1e-6)


@pytest.mark.parametrize("decay", [0.001, 0.3])
def test_a_linear_probe_of_numbers_is_ridge(digits, decay):
    X, y = digits
    module = smooth_net()
    Y = np.column_stack([y, X[:, 20] * 100])
    model = FineTunedRegressor(
        module, strategy="linear_probe", weight_decay=decay, precision="float64", tol=1e-10
    ).fit(X, Y)
    with torch.inference_mode():
        features = module.double()(torch.tensor(X)).numpy()
    features = StandardScaler().fit_transform(features)
    scaler = StandardScaler().fit(Y)
    reference = Ridge(alpha=decay * len(X)).fit(features, scaler.transform(Y))
    expected = scaler.inverse_transform(reference.predict(features))
    np.testing.assert_allclose(model.predict(X), expected, atol=1e-5)


class Counting(nn.Module):
    """Counts the rows that pass."""

    rows = 0

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 8)

    def forward(self, x):
        Counting.rows += len({tuple(row.tolist()) for row in x})
        return self.layer(x).tanh()


@few_iterations
def test_rows_pass_a_frozen_network_once_in_a_search(digits):
    X, y = digits
    X = X + np.random.default_rng(7).normal(size=X.shape)
    feature_store.clear()
    Counting.rows = 0
    model = FineTunedClassifier(Counting(), strategy="linear_probe")
    grid = {"weight_decay": [0.01, 0.1, 1.0, 10.0]}
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    search.predict(X)
    n_looks = 13 * 4  # each fit may look at single rows: their width, and the depth of stages
    assert len(X) <= Counting.rows <= len(X) + n_looks
    Counting.rows = 0
    model.set_params(strategy="finetune", max_epochs=2, optimizer="adamw").fit(X, y)
    assert Counting.rows >= 2 * len(X)


@few_iterations
def test_lp_ft_is_a_probe_and_then_fine_tuning(digits):
    X, y = digits
    module = nn.Sequential(nn.Linear(64, 10), nn.Tanh())
    model = FineTunedClassifier(module, strategy="lp_ft", max_epochs=8).fit(X, y)
    probe = FineTunedClassifier(module, strategy="linear_probe").fit(X, y)  # to its optimum
    n = len(probe.history_)
    assert n > 8
    phases = [record["phase"] for record in model.history_]
    assert phases == ["linear_probe"] * n + ["finetune"] * 8
    losses = [record["train_loss"] for record in model.history_]
    assert losses[:n] == [record["train_loss"] for record in probe.history_]
    assert losses[-1] < losses[n] <= losses[n - 1] + 1e-6


def test_full_batches_reach_a_stationary_point(digits):
    """The gradient of mean loss and half the squared norm of all matrices is zero."""
    X, y = digits
    model = FineTunedClassifier(
        hidden_layer_sizes=(3,), weight_decay=0.05, tol=1e-7, max_epochs=3000
    ).fit(X, y)
    network = model.network_
    loss = functional.cross_entropy(network(torch.tensor(X)), torch.tensor(y))
    loss = loss + 0.025 * sum((p**2).sum() for p in network.parameters() if p.ndim > 1)
    loss.backward()
    assert max(float(p.grad.abs().max()) for p in network.parameters()) < 2e-7


@few_iterations
def test_defaults_of_optimisers(digits):
    X, y = digits
    assert "lr_head" not in FineTunedClassifier(max_epochs=3).fit(X, y).history_[0]
    for change in ({"dropout": 0.1}, {"augment": "mixup"}, {"lr": 0.1}, {"early_stopping": True}):
        model = FineTunedClassifier(max_epochs=1, **change).fit(X, y)
        assert "lr_head" in model.history_[0], change
    steps = FineTunedClassifier(optimizer="adamw").fit(X, y)
    assert steps.n_iter_ == 100 and steps.history_[0]["train_loss"] > 0
    with_norms = FineTunedClassifier(net(), max_epochs=1).fit(X, y)
    assert "lr_head" in with_norms.history_[0]


def test_full_batches_use_one_blas_thread_and_set_the_number_back():
    """Threads that wait for L-BFGS's small steps take the cores from torch's."""
    from threadpoolctl import ThreadpoolController

    blas = ThreadpoolController().select(internal_api="openblas")
    if not blas.lib_controllers:
        pytest.skip("numpy and scipy call another BLAS here")
    seen = []

    def threads():
        return {library["num_threads"] for library in blas.info()}

    class Watching(nn.Linear):
        def forward(self, x):
            if torch.is_grad_enabled():
                seen.append(threads())
            return super().forward(x)

    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 2
    with blas.limit(limits=2):
        before = threads()  # a library may have been built for one thread
        FineTunedClassifier(Watching(2, 3), optimizer="lbfgs", max_epochs=3).fit(X, y)
        assert threads() == before
    assert 2 in before
    assert len(seen) > 3
    assert all(number == {1} for number in seen)


@pytest.mark.parametrize(
    ("settings", "n_epochs", "rate"),
    [
        ({}, 38, 3e-3),  # 1500 steps, of 40 an epoch
        ({"max_epochs": 2}, 2, 1e-3),
        ({"lr": 0.01, "max_epochs": 1}, 1, 0.01),
        ({"optimizer": "sgd", "max_epochs": 1}, 1, 0.01),
        ({"backbone": nn.Linear(4, 8)}, 13, 1e-3),  # 500 steps from given weights
    ],
)
def test_a_table_network_from_random_weights_takes_more_and_longer_steps(settings, n_epochs, rate):
    X = np.random.default_rng(0).normal(size=(2500, 4))
    settings = {"schedule": "constant", "warmup": 0.0} | settings
    model = FineTunedClassifier(**settings).fit(X, X[:, 0] > 0)
    assert model.n_iter_ == n_epochs
    assert model.history_[-1]["lr_head"] == pytest.approx(rate)
