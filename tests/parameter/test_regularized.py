"""Training near a source: limits, the convex case, and brute-force definitions of the penalties."""

import copy
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from skltransfer import (
    FineTunedClassifier,
    FineTunedRegressor,
    RegularizedTransferClassifier,
    RegularizedTransferRegressor,
    TransferLogisticRegression,
)
from skltransfer._networks._objective import DistancePenalty, Pull
from skltransfer.parameter._penalties import fisher_diagonal, small_singular_values

X, y = make_classification(120, 6, n_informative=4, n_classes=3, random_state=0)
SOURCE = FineTunedClassifier(hidden_layer_sizes=(8,), weight_decay=0.05).fit(X[:60], y[:60])
TASK = X[60:], (y[60:] + 1) % 3
DIGITS, DIGIT = load_digits(return_X_y=True)
IMAGES = {"image_shape": (8, 8), "value_range": (0, 16)}


def weights_of(model):
    return {name: value.clone() for name, value in model.network_.features.state_dict().items()}


def largest_move(model, source=SOURCE):
    before = weights_of(source)
    return max(float((v - before[k]).abs().max()) for k, v in weights_of(model).items())


class Identity(nn.Module):
    """A head that leaves the features as they are: the carried weights are the model."""

    def __init__(self, n_features, n_outputs):
        super().__init__()

    def forward(self, x):
        return x


@pytest.mark.parametrize("optimizer", ["auto", "adamw", "sgd"])
def test_without_strength_it_is_plain_fine_tuning_bit_for_bit(optimizer):
    plain = FineTunedClassifier(SOURCE, weight_decay=0.0, optimizer=optimizer).fit(*TASK)
    for penalty in ("l2_sp", "l2_sp_fisher", "delta", "bss", "l2"):
        model = RegularizedTransferClassifier(
            SOURCE, penalty=penalty, alpha=0.0, head_alpha=0.0, optimizer=optimizer
        ).fit(*TASK)
        assert (model.predict_proba(X) == plain.predict_proba(X)).all()


@pytest.mark.parametrize("optimizer", ["auto", "adamw", "sgd"])
def test_a_strong_pull_returns_the_source(optimizer):
    settings = {
        "optimizer": optimizer,
        "tol": 1e-9,
        "max_epochs": 2000 if optimizer == "auto" else 100,
    }
    model = RegularizedTransferClassifier(SOURCE, alpha=1e9, **settings).fit(*TASK)
    assert largest_move(model) < 1e-6
    assert largest_move(FineTunedClassifier(SOURCE, optimizer=optimizer).fit(*TASK)) > 1e-5
    # With the source's features, only the head is left to learn.
    probe = FineTunedClassifier(SOURCE, strategy="linear_probe", tol=1e-9).fit(*TASK)
    if optimizer == "auto":
        assert np.allclose(model.predict_proba(X), probe.predict_proba(X), atol=1e-4)


def test_a_strong_pull_returns_the_weights_of_a_convolutional_network():
    rows = slice(0, 20)
    model = RegularizedTransferClassifier("tiny", alpha=1e9, max_epochs=2, **IMAGES)
    model.fit(DIGITS[rows], DIGIT[rows])
    record = FineTunedClassifier("tiny", strategy="linear_probe", **IMAGES)
    record.fit(DIGITS[rows], DIGIT[rows])
    source = dict(record.network_.features.named_parameters())
    for name, parameter in model.network_.features.named_parameters():
        assert torch.allclose(parameter, source[name], atol=1e-7)


@pytest.mark.parametrize("alpha", [0.01, 1.0])
def test_linear_network_reaches_the_convex_optimum(alpha):
    torch.manual_seed(0)
    carried = nn.Linear(6, 3).double()
    model = RegularizedTransferClassifier(
        carried, head=Identity, alpha=alpha, optimizer="lbfgs", tol=1e-9, max_epochs=2000
    ).fit(*TASK)
    exact = TransferLogisticRegression(
        carried.weight.detach().numpy(), alpha=alpha * len(TASK[0]), penalize_intercept=True
    )
    # The reference has no intercept of the source to pull to: give it one by a fitted model.
    from sklearn.linear_model import LogisticRegression

    source = LogisticRegression().fit(X, y)
    source.coef_, source.intercept_ = (p.detach().numpy() for p in carried.parameters())
    exact.set_params(source=source).fit(*TASK)
    assert np.allclose(model.predict_proba(X), exact.predict_proba(X), atol=1e-6)
    trained = dict(model.network_.features.module.named_parameters())
    assert np.allclose(trained["weight"].detach(), exact.coef_, atol=1e-5)


def test_stochastic_steps_reach_the_same_optimum_as_the_full_batch():
    """The implicit step has the fixed point of the stated sum, with momentum too."""
    torch.manual_seed(0)
    carried = nn.Linear(6, 3).double()
    settings = {"head": Identity, "alpha": 0.3}
    exact = RegularizedTransferClassifier(carried, tol=1e-9, **settings).fit(*TASK)
    for momentum in (0.0, 0.9):
        steps = RegularizedTransferClassifier(
            carried,
            optimizer="sgd",
            lr=0.5 * (1 - momentum),
            backbone_lr_ratio=1.0,
            schedule="constant",
            momentum=momentum,
            max_epochs=800,
            batch_size=1000,
            **settings,
        ).fit(*TASK)
        # The implicit pull acts after the step: the fixed point moves by the order of the rate.
        assert np.allclose(steps.predict_proba(X), exact.predict_proba(X), atol=1e-5)
    steps = RegularizedTransferClassifier(
        carried,
        optimizer="adamw",
        lr=0.02,
        backbone_lr_ratio=1.0,
        max_epochs=600,
        batch_size=1000,
        **settings,
    ).fit(*TASK)
    assert np.allclose(steps.predict_proba(X), exact.predict_proba(X), atol=1e-5)


def test_pull_is_the_implicit_step_of_its_gradient():
    w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    anchor, curvature = torch.tensor([0.5, 0.5]).double(), torch.tensor([1.0, 4.0]).double()
    optimizer = torch.optim.SGD([w], lr=0.1)
    penalty = DistancePenalty([[Pull([w], [anchor], 3.0, [curvature])]])
    w.grad = torch.zeros_like(w)
    start = w.detach().clone()
    value = penalty.add_gradient()
    assert value == pytest.approx(float((1.5 * curvature * (start - anchor) ** 2).sum()))
    assert torch.allclose(w.grad, 3.0 * curvature * (start - anchor))
    penalty.pull(optimizer)
    penalty.settle(optimizer)
    # w_new = w - rate * gradient at w_new
    gradient_at_new = 3.0 * curvature * (w.detach() - anchor)
    assert torch.allclose(w.detach(), start - 0.1 * gradient_at_new)


@pytest.mark.parametrize("kind", ["softmax", "binary", "gaussian"])
def test_fisher_diagonal_equals_its_definition(kind):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    rows = [torch.randn(1, 4, dtype=torch.float64) for _ in range(7)]
    parameters = list(network.parameters())
    generator = torch.Generator().manual_seed(0)
    diagonal = fisher_diagonal(network, parameters, rows, kind, generator)
    expected = [torch.zeros_like(p) for p in parameters]
    for x in rows:
        o = network(x)[0].detach()
        p = {"softmax": o.softmax(0), "binary": o.sigmoid(), "gaussian": torch.ones(3)}[kind]
        hessian = {
            "softmax": torch.diag(p) - torch.outer(p, p),
            "binary": torch.diag(p * (1 - p)),
            "gaussian": torch.eye(3),
        }[kind].double()
        slopes = [torch.autograd.grad(network(x)[0, k], parameters) for k in range(3)]
        for i in range(len(parameters)):
            J = torch.stack([slopes[k][i].flatten() for k in range(3)])
            expected[i] += torch.einsum("kp,kl,lp->p", J, hessian, J).view_as(expected[i]) / 7
    for ours, theirs in zip(diagonal, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("kind", ["softmax", "gaussian"])
def test_sampled_fisher_is_unbiased(kind):
    torch.manual_seed(0)
    network = nn.Linear(2, 8).double()
    x = torch.randn(1, 2, dtype=torch.float64)
    parameters = list(network.parameters())
    generator = torch.Generator().manual_seed(0)
    sampled = fisher_diagonal(network, parameters, [x] * 4000, kind, generator)[0]
    p = network(x)[0].detach().softmax(0)
    spread = p * (1 - p) if kind == "softmax" else torch.ones(8)
    assert torch.allclose(sampled, spread[:, None] * x**2, rtol=0.15)


def test_fisher_penalty_holds_what_matters_and_lets_the_rest_go():
    """A column that the source never uses has no information, and may change freely."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(200, 4))
    Z[:100, 3] = 0.0  # unseen in the source
    label = (Z[:, 0] > 0).astype(int)
    source = FineTunedClassifier(hidden_layer_sizes=(6,), weight_decay=0.01).fit(
        Z[:100], label[:100]
    )
    task = Z[100:], (Z[100:, 3] > 0).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = RegularizedTransferClassifier(
            source, penalty="l2_sp_fisher", alpha=100.0, fisher_rows=Z[:100]
        ).fit(*task)
    moved = (
        weights_of(model)["trunk.hidden1.0.weight"] - (weights_of(source)["trunk.hidden1.0.weight"])
    )
    assert moved[:, 3].abs().max() > 20 * moved[:, 0].abs().max()


def test_delta_is_the_distance_of_feature_maps():
    """One step of plain gradient on loss + penalty, by hand."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten())
    images = np.random.default_rng(0).random((8, 6, 6)).astype(np.float32)
    label = np.arange(8) % 2
    settings = {
        "optimizer": "sgd",
        "momentum": 0.0,
        "lr": 0.1,
        "backbone_lr_ratio": 1.0,
        "schedule": "constant",
        "warmup": 0.0,
        "batch_size": 8,
        "head_alpha": 0.0,
        "head": lambda n, k: nn.Linear(n, k),
        "max_epochs": 2,
    }
    model = RegularizedTransferClassifier(network, penalty="delta", alpha=0.7, **settings)
    model.fit(images, label)
    plain = FineTunedClassifier(
        network, weight_decay=0.0, **{k: v for k, v in settings.items() if k != "head_alpha"}
    ).fit(images, label)

    reference = copy.deepcopy(network)
    start = plain.set_params(max_epochs=1, lr=1e-30).fit(images, label).network_.head
    head = copy.deepcopy(start)
    pixels = torch.from_numpy(images).unsqueeze(1)
    for _ in range(2):
        parameters = [*reference.parameters(), *head.parameters()]
        for parameter in parameters:
            parameter.grad = None
        first = reference[0](pixels)
        second = reference[2](torch.relu(first))
        with torch.no_grad():
            first_0 = network[0](pixels)
            second_0 = network[2](torch.relu(first_0))
        logits = head(second.flatten(1))[:, 0]
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(label).float()
        )
        for own, source in ((first, first_0), (second, second_0)):
            loss = loss + 0.35 * ((own - source) ** 2).sum(1).mean((1, 2)).mean()
        loss.backward()
        with torch.no_grad():
            for parameter in parameters:
                parameter -= 0.1 * parameter.grad
    ours = dict(model.network_.features.module.named_parameters())
    for name, parameter in reference.named_parameters():
        assert torch.allclose(ours[name], parameter, atol=1e-6), name


def test_bss_is_the_sum_of_small_singular_values():
    torch.manual_seed(0)
    features = torch.randn(10, 3, dtype=torch.float64)
    value = small_singular_values(features, 2)
    squares = torch.linalg.eigvalsh(features.T @ features)  # in rising order
    assert float(value) == pytest.approx(float(squares[:2].sum()), rel=1e-10)


@pytest.mark.parametrize("penalty", ["l2_sp", "l2_sp_fisher", "delta", "bss", "l2"])
def test_every_penalty_changes_the_result_and_is_smaller_with_it(penalty):
    def fit(alpha, **settings):
        model = RegularizedTransferClassifier(SOURCE, penalty=penalty, alpha=alpha, **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return model.fit(*TASK)

    weak, strong = fit(1e-4), fit(3.0 if penalty == "bss" else 0.3)
    assert not np.allclose(weak.predict_proba(X), strong.predict_proba(X), atol=1e-3)
    if penalty in ("l2_sp", "l2_sp_fisher", "delta"):
        assert largest_move(strong) < largest_move(weak)
    if penalty == "bss":
        smallest = [np.linalg.svd(m.transform(TASK[0]))[1][-1] for m in (weak, strong)]
        assert smallest[1] < 0.5 * smallest[0]
    if penalty == "l2":
        sizes = [
            sum(float((p.detach() ** 2).sum()) for p in m.network_.features.parameters())
            for m in (weak, strong)
        ]
        assert sizes[1] < sizes[0]
    steps = {"optimizer": "adamw", "max_epochs": 5}
    assert (fit(0.0, **steps).predict_proba(X) != fit(0.3, **steps).predict_proba(X)).any()


@pytest.mark.parametrize("penalty", ["l2_sp", "delta"])
def test_a_weight_of_two_is_a_row_given_twice(penalty):
    weight = np.random.default_rng(0).integers(1, 4, size=60)
    model = RegularizedTransferClassifier(SOURCE, penalty=penalty, alpha=0.1)
    weighted = clone(model).fit(*TASK, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(TASK[0], weight, 0), np.repeat(TASK[1], weight))
    assert np.allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-7, atol=0)
    assert not np.allclose(weighted.predict_proba(X), clone(model).fit(*TASK).predict_proba(X))


def test_a_stage_that_is_still_frozen_is_not_pulled():
    settings = {"penalty": "l2", "alpha": 0.5, "optimizer": "adamw", "max_epochs": 2}
    frozen = RegularizedTransferClassifier(SOURCE, gradual_unfreezing=5, **settings).fit(*TASK)
    assert largest_move(frozen) == 0
    assert largest_move(RegularizedTransferClassifier(SOURCE, **settings).fit(*TASK)) > 1e-5


def test_regressor_goes_from_the_task_to_the_source():
    Z, t = make_regression(120, 5, noise=5.0, random_state=0)
    source = FineTunedRegressor(hidden_layer_sizes=(8,), weight_decay=0.05).fit(Z[:60], t[:60])
    moves = [
        largest_move(RegularizedTransferRegressor(source, alpha=a).fit(Z[60:], -t[60:]), source)
        for a in (1e-3, 0.1, 1e6)
    ]
    assert moves[0] > moves[1] > moves[2]
    assert moves[2] < 1e-5


def test_delta_leaves_no_hook_and_no_trace():
    model = RegularizedTransferClassifier(SOURCE, penalty="delta", alpha=0.1).fit(*TASK)
    for part in model.network_.modules():
        assert not part._forward_hooks
    assert type(model.network_.features).__name__ == "FeatureNetwork"


def test_source_is_unchanged_and_refit_is_equal():
    before = weights_of(SOURCE)
    model = RegularizedTransferClassifier(SOURCE, penalty="l2_sp_fisher")
    first = model.fit(*TASK).predict_proba(X)
    assert (model.fit(*TASK).predict_proba(X) == first).all()
    assert (clone(model).fit(*TASK).predict_proba(X) == first).all()
    assert all(torch.equal(before[k], v) for k, v in weights_of(SOURCE).items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"penalty": "l3"}, "penalty='l3' is not one of 'l2_sp'"),
        ({"alpha": -1.0}, "alpha=-1.0"),
        ({"alpha": np.inf}, "alpha=inf"),
        ({"strategy": "lora"}, "strategy='lora' is not one of"),
        ({"n_singular_values": 0}, "n_singular_values=0"),
    ],
)
def test_bad_parameters_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        RegularizedTransferClassifier(SOURCE, **settings).fit(*TASK)


def test_a_source_for_other_columns_is_refused():
    with pytest.raises(ValueError, match="columns"):
        RegularizedTransferClassifier(SOURCE).fit(TASK[0][:, :4], TASK[1])
