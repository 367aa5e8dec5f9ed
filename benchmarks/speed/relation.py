"""A step of each method for two domains, beside the same step written by hand.

Two loops train copies of one network with the same target samples, order, optimiser and schedule of
rates: the package's, by the objective of the method, and one of plain torch in which the method is
written out. They end with the same weights up to rounding, which is asserted. The network has two
hidden layers, for tables of 64 columns, or two convolutions for 16 x 16 pixels; batches of 64 + 64
samples. One thread, process CPU time, median of rounds in which the contenders take turns; ratios
are medians of the rounds' ratios. Building batches, the network and the estimator are no part.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import copy
import math
import statistics
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import skltransfer as skt
from skltransfer._networks._labels import Classes
from skltransfer._networks._objective import LabelLoss
from skltransfer._torch._batches import IndexStream, RowBatches, TwoDomainBatches
from skltransfer._torch._optimizers import Schedule
from skltransfer._torch._training import train

CLAIMS = [
    {
        "claim": "DANN, table network: a step",
        "beside": "the step by hand",
        "value": ["rows", {"method": "DANN", "network": "table"}, "ratio_cpu"],
        "at_most": 1.1,
    },
    {
        "claim": "CDAN, table network: a step",
        "beside": "the step by hand",
        "value": ["rows", {"method": "CDAN", "network": "table"}, "ratio_cpu"],
        "at_most": 1.1,
    },
    {
        "claim": "DAN, table network: a step",
        "beside": "the step by hand",
        "value": ["rows", {"method": "DAN", "network": "table"}, "ratio_cpu"],
        "at_most": 1.1,
    },
    {
        "claim": "Deep CORAL, table network: a step",
        "beside": "the step by hand",
        "value": ["rows", {"method": "Deep CORAL", "network": "table"}, "ratio_cpu"],
        "at_most": 1.1,
    },
    {
        "claim": "MCC, table network: a step",
        "beside": "the step by hand",
        "value": ["rows", {"method": "MCC", "network": "table"}, "ratio_cpu"],
        "at_most": 1.1,
    },
    {
        "claim": "DANN, convolutions: a step",
        "beside": "the step by hand",
        "value": ["rows", {"method": "DANN", "network": "convolutions"}, "ratio_cpu"],
        "at_most": 1.1,
    },
    {
        "claim": "DAN, convolutions: a step",
        "beside": "the step by hand",
        "value": ["rows", {"method": "DAN", "network": "convolutions"}, "ratio_cpu"],
        "at_most": 1.1,
    },
]

N_ROWS, BATCH_SIZE, N_CLASSES, RATE, WARMUP = 512, 64, 10, 1e-3, 0.05
MODELS = {
    "DANN": skt.DANNClassifier(),
    "CDAN": skt.CDANClassifier(),
    "DAN": skt.DANClassifier(),
    "Deep CORAL": skt.DeepCORALClassifier(),
    "MCC": skt.MCCClassifier(),
}


class Network(nn.Module):
    """Features and a linear output layer, with the two calls that objectives make."""

    def __init__(self, body: nn.Module, n_features: int):
        super().__init__()
        self.body, self.head = body, nn.Linear(n_features, N_CLASSES)

    def embed(self, x):
        """Return the features."""
        return self.body(x)

    def outputs(self, features):
        """Return the logits."""
        return self.head(features)


def networks() -> dict[str, tuple]:
    """Return network, number of features, and samples of both domains, by name."""
    torch.manual_seed(0)
    table = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
    pixels = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 128),
        nn.ReLU(),
    )
    return {
        "table": (Network(table, 64), 64, torch.randn(N_ROWS, 64), torch.randn(N_ROWS, 64) + 1),
        "convolutions": (
            Network(pixels, 128),
            128,
            torch.randn(N_ROWS, 1, 16, 16),
            torch.randn(N_ROWS, 1, 16, 16) + 1,
        ),
    }


def objective_of(name: str, network, n_features: int, y):
    """Return the objective of a method, around the loss of the labels."""
    labels = Classes(y.numpy(), N_CLASSES)
    plan = SimpleNamespace(seed_of_head=0, device=torch.device("cpu"), dtype=torch.float32)
    fitting = SimpleNamespace(
        plan=plan,
        data=SimpleNamespace(labels=labels),
        built=SimpleNamespace(n_features=n_features, network=network),
    )
    return MODELS[name]._adaptation(LabelLoss(labels), fitting)


class Joined(nn.Module):
    """A network and the domain classifier of an adversarial method."""

    def __init__(self, network, further):
        super().__init__()
        self.network, self.further = network, nn.ModuleList(further)


def by_package(name, network, n_features, X, y, X_target, n_epochs):
    """Train by the package's loop and objective."""
    network = copy.deepcopy(network)
    objective = objective_of(name, network, n_features, y)
    module = Joined(network, objective.modules())

    def batches(x, targets, seed):
        stream = IndexStream(len(x), torch.Generator().manual_seed(seed))
        return RowBatches(x, targets, None, BATCH_SIZE, stream)

    both = TwoDomainBatches(batches(X, y, 0), batches(X_target, torch.zeros(len(X_target)), 1))
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE, fused=True)
    train(
        module,
        lambda module, batch: objective(module.network, batch),
        both,
        optimizer=optimizer,
        n_epochs=n_epochs,
        schedule=Schedule(optimizer, "cosine", n_epochs * len(both), WARMUP),
        advance=objective.advance,
    )
    return network


class Reversal(torch.autograd.Function):
    """The identity, whose gradient is reversed."""

    @staticmethod
    def forward(ctx, x, factor):
        """Return the input."""
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        """Return the reversed gradient."""
        return -ctx.factor * gradient, None


def entropy(p):
    """Return the entropy of each prediction."""
    return -(p * torch.log(p + 1e-30)).sum(1)


def told_apart(classifier, both, n_source, weights, factor):
    """Return the loss of the domain classifier, and its accuracy."""
    logits = classifier(Reversal.apply(both, factor))
    is_source = torch.zeros(len(both))
    is_source[:n_source] = 1
    loss = functional.binary_cross_entropy_with_logits(
        logits, is_source, weight=weights, reduction="sum"
    )
    return loss, ((logits.detach() > 0) == is_source).float().mean()


def dann(network, classifier, own, other, factor):
    """Return the loss of the domain classifier, and its accuracy."""
    both = torch.cat([own, other])
    weights = torch.full((len(both),), 1 / len(both))
    return told_apart(classifier, both, len(own), weights, factor)


def cdan(network, classifier, own, other, factor):
    """Return the same of products of features and predictions, weighted by certainty."""
    both = torch.cat([own, other])
    with torch.no_grad():
        p = network.head(both).softmax(1)
        w = 1 + torch.exp(-entropy(p))
        w = torch.cat([part / part.sum() for part in w.split(len(own))]) / 2
    pairs = (both[:, :, None] * p[:, None, :]).flatten(1)
    return told_apart(classifier, pairs, len(own), w, factor)


def dan(network, classifier, own, other, factor):
    """Return the discrepancy by five kernels."""
    n = len(own)
    both = torch.cat([own, other])
    squares = (both**2).sum(1)
    distances = squares[:, None] + squares - 2 * both @ both.T
    width = distances.detach().mean()
    kernel = sum(torch.exp(-distances / (2.0**m * width)) for m in (-2, -1, 0, 1, 2))
    means = [(k.sum() - k.trace()) / (n * (n - 1)) for k in (kernel[:n, :n], kernel[n:, n:])]
    return (means[0] + means[1] - 2 * kernel[:n, n:].mean()) / 5, None


def coral(network, classifier, own, other, factor):
    """Return the distance of the covariances."""

    def covariance(x):
        centred = x - x.mean(0)
        return centred.T @ centred / len(x)

    difference = covariance(own) - covariance(other)
    return (difference**2).sum() / (4 * own.shape[1] ** 2), None


def mcc(network, classifier, own, other, factor):
    """Return the confusion of classes."""
    p = (network.head(other) / 2.5).softmax(1)
    with torch.no_grad():
        w = 1 + torch.exp(-entropy(p))
        w = len(p) * w / w.sum()
    confusion = (w[:, None] * p).T @ p
    confusion = confusion / confusion.sum(1, keepdim=True)
    return (confusion.sum() - confusion.trace()) / N_CLASSES, None


WRITTEN_OUT = {"DANN": dann, "CDAN": cdan, "DAN": dan, "Deep CORAL": coral, "MCC": mcc}


def by_hand(name, network, n_features, X, y, X_target, n_epochs):
    """Train by a loop written out."""
    network, written = copy.deepcopy(network), WRITTEN_OUT[name]
    modules = [copy.deepcopy(m) for m in objective_of(name, network, n_features, y).modules()]
    classifier = modules[0] if modules else None
    parameters = [*network.parameters(), *(p for m in modules for p in m.parameters())]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, fused=True)
    of_source, of_target = (torch.Generator().manual_seed(seed) for seed in (0, 1))
    n_steps = n_epochs * -(-len(X) // BATCH_SIZE)
    n_warmup, step, history = math.ceil(WARMUP * n_steps), 0, []
    for _ in range(n_epochs):
        network.train()
        order = torch.randperm(len(X), generator=of_source)
        rows, targets = X[order].split(BATCH_SIZE), y[order].split(BATCH_SIZE)
        others = X_target[torch.randperm(len(X_target), generator=of_target)].split(BATCH_SIZE)
        totals = []
        for inputs, labels, unlabelled in zip(rows, targets, others, strict=True):
            if step < n_warmup:
                rate = (step + 1) / n_warmup
            else:
                rate = 0.5 * (1 + math.cos(math.pi * (step - n_warmup) / (n_steps - n_warmup)))
            for group in optimizer.param_groups:
                group["lr"] = RATE * rate
            factor = 2 / (1 + math.exp(-10 * step / n_steps)) - 1
            step += 1
            optimizer.zero_grad()
            own = network.embed(inputs)
            label_loss = functional.cross_entropy(network.head(own), labels)
            other = network.embed(unlabelled)
            further, hits = written(network, classifier, own, other, factor)
            loss = label_loss + further
            loss.backward()
            optimizer.step()
            noted = [loss.detach(), label_loss.detach(), further.detach()]
            totals.append(noted if hits is None else [*noted, hits])
        means = torch.stack([torch.stack(noted) for noted in totals]).mean(0)
        history.append(means.tolist())
    return network


def row_of(name: str, network_name: str, work: tuple, n_rounds: int, n_epochs: int) -> dict:
    """Compare the loops for one method and network."""
    results = interleave(
        {
            "package": lambda: by_package(name, *work, n_epochs),
            "by hand": lambda: by_hand(name, *work, n_epochs),
        },
        n_rounds=n_rounds,
    )
    own, other = (results[side]["result"] for side in ("package", "by hand"))
    start = work[0]
    for a, b, c in zip(own.parameters(), other.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
        assert not torch.equal(a, c)
    pairs = zip(*(results[s]["cpu_seconds_all"] for s in ("package", "by hand")), strict=True)
    n_steps = n_epochs * -(-N_ROWS // BATCH_SIZE)
    row = {
        "method": name,
        "network": network_name,
        "ratio_cpu": statistics.median(a / b for a, b in pairs),
        "microseconds_a_step": {s: 1e6 * r["cpu_seconds"] / n_steps for s, r in results.items()},
    }
    print(row, flush=True)
    return row


def main(options) -> None:
    """Measure every method."""
    y = torch.from_numpy(np.random.default_rng(0).integers(0, N_CLASSES, N_ROWS))
    rows = []
    for network_name, (network, n_features, X, X_target) in networks().items():
        for name in MODELS:
            if network_name == "convolutions" and name not in ("DANN", "DAN"):
                continue
            work = (network, n_features, X, y, X_target)
            n_epochs = 2 if options.quick or network_name == "convolutions" else 5
            rows.append(row_of(name, network_name, work, rounds(15, options), n_epochs))
    write(__file__, {"rows": rows}, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
