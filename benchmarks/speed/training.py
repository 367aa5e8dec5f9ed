"""Training: the loop against a hand-written one, whole fits against skorch, the cost of L2-SP.

The loop and a plain loop of torch have the same optimiser, schedule and batches, and give the same
weights, bit for bit. A whole fit of FineTunedClassifier, which validates its input as well, stands
beside the same loop by hand. FineTunedClassifier and skorch's NeuralNetClassifier reach an equal
loss: same initial weights, AdamW, rate, batch size and number of steps; only the order of rows
differs, so that losses are equal where all rows are one batch, and equal in the mean over orders
elsewhere. skorch is measured without callbacks and validation, with the AdamW that torch chooses,
and beside it with the fused one that skltransfer takes by itself. A step of L2-SP stands beside a
step without it, and beside the same penalty in the loss, through autograd. Steps of small networks
for tables are calls and not arithmetic, so that a further call weighs more there. Digits, as 8 x 8
or enlarged to 28 x 28 pixels. One thread, process CPU time, median of rounds in which the
contenders take turns; ratios are medians of the rounds' ratios.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import copy
import math
import statistics
from functools import partial

import numpy as np
import torch
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from torch import nn
from torch.nn import functional

from skltransfer import FineTunedClassifier, RegularizedTransferClassifier, load_backbone
from skltransfer._networks._objective import DistancePenalty, Pull
from skltransfer._torch._batches import IndexStream, RowBatches
from skltransfer._torch._optimizers import Schedule, make_optimizer
from skltransfer._torch._training import train

NEEDS = ("skorch",)
CLAIMS = [
    {
        "claim": "training loop, 784-128-10, batches of 32",
        "beside": "a loop by hand",
        "value": ["loop", {"network": "784-128-10", "batch_size": 32}, "ratio_cpu"],
        "at_most": 1.05,
    },
    {
        "claim": "training loop, 784-128-10, batches of 64",
        "beside": "a loop by hand",
        "value": ["loop", {"network": "784-128-10", "batch_size": 64}, "ratio_cpu"],
        "at_most": 1.05,
    },
    {
        "claim": "training loop, 64-32-10, batches of 32",
        "beside": "a loop by hand",
        "value": ["loop", {"network": "64-32-10", "batch_size": 32}, "ratio_cpu"],
        "at_most": 1.05,
    },
    {
        "claim": "training loop, 64-32-10, batches of 64",
        "beside": "a loop by hand",
        "value": ["loop", {"network": "64-32-10", "batch_size": 64}, "ratio_cpu"],
        "at_most": 1.05,
    },
    {
        "claim": "a whole fit of FineTunedClassifier, 784-128-10, batches of 64",
        "beside": "a loop by hand",
        "value": ["whole_fit", {"network": "784-128-10", "batch_size": 64}, "ratio_cpu"],
        "at_most": 1.1,
    },
    {
        "claim": "a whole fit of FineTunedClassifier, 64-32-10, batches of 64",
        "beside": "a loop by hand",
        "value": ["whole_fit", {"network": "64-32-10", "batch_size": 64}, "ratio_cpu"],
        "at_most": 1.1,
    },
    {
        "claim": "FineTunedClassifier, 784-128-10, batches of 32",
        "beside": "skorch",
        "value": ["skorch", {"network": "784-128-10", "batch_size": 32}, "times_as_fast", "skorch"],
        "at_least": 1.4,
    },
    {
        "claim": "FineTunedClassifier, 784-128-10, batches of 64",
        "beside": "skorch",
        "value": ["skorch", {"network": "784-128-10", "batch_size": 64}, "times_as_fast", "skorch"],
        "at_least": 1.4,
    },
    {
        "claim": "FineTunedClassifier, 64-32-10, batches of 32",
        "beside": "skorch",
        "value": ["skorch", {"network": "64-32-10", "batch_size": 32}, "times_as_fast", "skorch"],
        "at_least": 1.9,
    },
    {
        "claim": "FineTunedClassifier, 64-32-10, batches of 64",
        "beside": "skorch",
        "value": ["skorch", {"network": "64-32-10", "batch_size": 64}, "times_as_fast", "skorch"],
        "at_least": 1.9,
    },
    {
        "claim": "a step with L2-SP, tiny",
        "beside": "a step without",
        "value": ["l2_sp_step", {"network": "tiny"}, "ratio_cpu", "L2-SP in place"],
        "at_most": 1.03,
    },
    {
        "claim": "a step with L2-SP, ResNet-18 at 64 pixels",
        "beside": "a step without",
        "value": ["l2_sp_step", {"network": "resnet18"}, "ratio_cpu", "L2-SP in place"],
        "at_most": 1.03,
    },
    {
        "claim": "a step with L2-SP, 784-128-10",
        "beside": "a step without",
        "value": ["l2_sp_step", {"network": "784-128-10"}, "ratio_cpu", "L2-SP in place"],
        "at_most": 1.03,
    },
    {
        "claim": "a step with L2-SP, 64-32-10",
        "beside": "a step without",
        "value": ["l2_sp_step", {"network": "64-32-10"}, "ratio_cpu", "L2-SP in place"],
        "at_most": 1.03,
    },
]

SIZES = ((784, 128, 10), (64, 32, 10))
BATCH_SIZES = (32, 64)
N_ROWS, N_EPOCHS, RATE, DECAY, WARMUP = 1792, 10, 1e-3, 0.01, 0.05
ALPHA = 0.01


def task(n_columns: int):
    """Return digits of 8 x 8 or 28 x 28 pixels, flattened, and their classes."""
    X, y = load_digits(return_X_y=True)
    images = X[:N_ROWS].reshape(-1, 8, 8).astype(np.float32) / 16
    if n_columns == 784:
        images = np.pad(np.kron(images, np.ones((3, 3), np.float32)), ((0, 0), (2, 2), (2, 2)))
    return images.reshape(N_ROWS, n_columns), y[:N_ROWS].astype(np.int64)


class Network(nn.Module):
    """One hidden layer, with the same weights every time."""

    def __init__(self, n_columns: int, n_hidden: int, n_classes: int, seed_of_order: int = 0):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(n_columns, n_hidden), nn.ReLU())
        self.head = nn.Linear(n_hidden, n_classes)
        torch.manual_seed(seed_of_order)

    def forward(self, x):
        """Return the logits."""
        return self.head(self.body(x))


def loss_of(network, batch):
    """Return the mean loss of a batch, as the estimators do where rows count alike."""
    return functional.cross_entropy(network(batch.inputs), batch.targets)


def groups_of(network) -> list[dict]:
    """Return matrices and biases, the latter without decay."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "lr": RATE, "weight_decay": DECAY},
        {"params": [p for p in parameters if p.ndim == 1], "lr": RATE, "weight_decay": 0.0},
    ]


def by_train(network, X, y, batch_size, n_epochs, penalty=None, objective=loss_of, groups=None):
    """Train a copy by the package's loop."""
    network = copy.deepcopy(network)
    stream = IndexStream(len(X), torch.Generator().manual_seed(0))
    batches = RowBatches(X, y, None, batch_size, stream)
    optimizer = make_optimizer("adamw", (groups or groups_of)(network), 0.9)
    train(
        network,
        lambda network, batch: {"loss": objective(network, batch)},
        batches,
        optimizer=optimizer,
        n_epochs=n_epochs,
        schedule=Schedule(optimizer, "cosine", n_epochs * len(batches), WARMUP),
        penalty=None if penalty is None else penalty(network),
    )
    return network


def by_hand(network, X, y, batch_size, n_epochs):
    """Train a copy by a loop written out."""
    network = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(groups_of(network), fused=True)
    generator = torch.Generator().manual_seed(0)
    n_steps = n_epochs * -(-len(X) // batch_size)
    n_warmup, step = math.ceil(WARMUP * n_steps), 0
    history = []
    for _ in range(n_epochs):
        network.train()
        order = torch.randperm(len(X), generator=generator)
        rows, targets = X[order].split(batch_size), y[order].split(batch_size)
        total = 0.0
        for inputs, labels in zip(rows, targets, strict=True):
            if step < n_warmup:
                factor = (step + 1) / n_warmup
            else:
                progress = (step - n_warmup) / (n_steps - n_warmup)
                factor = 0.5 * (1 + math.cos(math.pi * progress))
            for group in optimizer.param_groups:
                group["lr"] = RATE * factor
            step += 1
            optimizer.zero_grad()
            loss = functional.cross_entropy(network(inputs), labels)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(inputs)
        history.append(float(total) / len(X))
    return network


def fitted(network, X, y, batch_size, **settings):
    """Fit the estimator to the network of the loop."""
    return FineTunedClassifier(
        network.body,
        head=lambda n_features, n_outputs: copy.deepcopy(network.head),
        optimizer="adamw",
        lr=RATE,
        backbone_lr_ratio=1.0,
        max_epochs=N_EPOCHS,
        batch_size=batch_size,
        precision="float32",
        device="cpu",
        **settings,
    ).fit(X, y)


def by_skltransfer(network, X, y, batch_size, seed=0):
    """Fit the estimator as skorch's; return the loss on all rows."""
    settings = {"schedule": "constant", "warmup": 0.0, "weight_decay": 0.0, "random_state": seed}
    model = fitted(network, X, y, batch_size, **settings)
    return -model.predict_log_proba(X)[np.arange(len(y)), y].mean()


def by_skorch(sizes, X, y, batch_size, seed=0, **settings):
    """Fit skorch's classifier; return the loss on all rows."""
    net = NeuralNetClassifier(
        Network,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=0.0,
        lr=RATE,
        max_epochs=N_EPOCHS,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks="disable",
        verbose=0,
        module__n_columns=sizes[0],
        module__n_hidden=sizes[1],
        module__n_classes=sizes[2],
        module__seed_of_order=seed,
        **settings,
    ).fit(X, y)
    return -np.log(net.predict_proba(X)[np.arange(len(y)), y].astype(np.float64)).mean()


def ratios_to(results: dict, reference: str) -> dict[str, float]:
    """Return the median over the rounds of each contender's time by the reference's."""
    base = results[reference]["cpu_seconds_all"]
    return {
        name: statistics.median(a / b for a, b in zip(result["cpu_seconds_all"], base, strict=True))
        for name, result in results.items()
        if name != reference
    }


def seconds_of(results: dict) -> dict[str, float]:
    """Return the median CPU time of each contender."""
    return {name: result["cpu_seconds"] for name, result in results.items()}


def loop_rows(options) -> list[dict]:
    """Compare the loops."""
    rows = []
    for sizes in SIZES[-1:] if options.quick else SIZES:
        X, y = map(torch.from_numpy, task(sizes[0]))
        network = Network(*sizes)
        for batch_size in BATCH_SIZES:
            work = (network, X, y, batch_size, N_EPOCHS)
            results = interleave(
                {
                    "train": lambda work=work: by_train(*work),
                    "by hand": lambda work=work: by_hand(*work),
                },
                n_rounds=rounds(25, options),
            )
            own, other = (results[name]["result"] for name in ("train", "by hand"))
            for a, b in zip(own.parameters(), other.parameters(), strict=True):
                torch.testing.assert_close(a, b, rtol=0, atol=0)
            rows.append(
                {
                    "network": "-".join(map(str, sizes)),
                    "batch_size": batch_size,
                    "ratio_cpu": ratios_to(results, "by hand")["train"],
                    "cpu_seconds": seconds_of(results),
                }
            )
            print(rows[-1], flush=True)
    return rows


def whole_fit_rows(options) -> list[dict]:
    """Compare whole fits of the estimator with the loop by hand, which validates nothing."""
    rows = []
    for sizes in SIZES[-1:] if options.quick else SIZES:
        X, y = task(sizes[0])
        network, tensors = Network(*sizes), (torch.from_numpy(X), torch.from_numpy(y))
        settings = {"warmup": WARMUP, "weight_decay": DECAY}
        # Where the order plays no part.
        own = fitted(network, X, y, N_ROWS, **settings).network_
        other = by_hand(network, *tensors, N_ROWS, N_EPOCHS)
        with torch.no_grad():
            other = other(tensors[0])
            torch.testing.assert_close(own(tensors[0]), other, rtol=1e-4, atol=1e-5)
        for batch_size in BATCH_SIZES:
            results = interleave(
                {
                    "fit": partial(fitted, network, X, y, batch_size, **settings),
                    "by hand": partial(by_hand, network, *tensors, batch_size, N_EPOCHS),
                },
                n_rounds=rounds(25, options),
            )
            rows.append(
                {
                    "network": "-".join(map(str, sizes)),
                    "batch_size": batch_size,
                    "ratio_cpu": ratios_to(results, "by hand")["fit"],
                    "cpu_seconds": seconds_of(results),
                }
            )
            print(rows[-1], flush=True)
    return rows


def skorch_rows(options) -> list[dict]:
    """Compare whole fits."""
    rows = []
    for sizes in SIZES[-1:] if options.quick else SIZES:
        X, y = task(sizes[0])
        network = Network(*sizes)
        for batch_size in BATCH_SIZES:
            whole = by_skltransfer(network, X, y, N_ROWS), by_skorch(sizes, X, y, N_ROWS)
            np.testing.assert_allclose(*whole, rtol=1e-4)  # where order plays no part
            losses = {"FineTunedClassifier": [], "skorch": [], "skorch, fused AdamW": []}

            def note(name, fit, *work, losses=losses, **settings):
                losses[name].append(fit(*work, seed=len(losses[name]), **settings))

            own, other = (network, X, y, batch_size), (sizes, X, y, batch_size)
            results = interleave(
                {
                    "FineTunedClassifier": partial(
                        note, "FineTunedClassifier", by_skltransfer, *own
                    ),
                    "skorch": partial(note, "skorch", by_skorch, *other),
                    "skorch, fused AdamW": partial(
                        note, "skorch, fused AdamW", by_skorch, *other, optimizer__fused=True
                    ),
                },
                n_rounds=5 if options.quick else 9,  # losses are compared by their spread
            )
            a, b = losses["FineTunedClassifier"], losses["skorch"]
            error = math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / len(a))
            assert abs(np.mean(a) - np.mean(b)) < 3 * error, losses
            ratios = ratios_to(results, "FineTunedClassifier")
            rows.append(
                {
                    "network": "-".join(map(str, sizes)),
                    "batch_size": batch_size,
                    "times_as_fast": ratios,
                    "mean_final_loss": {name: float(np.mean(x)) for name, x in losses.items()},
                    "final_loss_all_rows_at_once": [float(loss) for loss in whole],
                    "cpu_seconds": seconds_of(results),
                }
            )
            print(rows[-1], flush=True)
    return rows


class Pulled:
    """The penalty of L2-SP as the estimators set it up, or as a term of the loss."""

    def __init__(self, network):
        self.anchors = [p.detach().clone() for p in network.parameters()]

    def in_place(self, network):
        """Return what moves the weights after each step."""
        return DistancePenalty([[Pull(list(network.parameters()), self.anchors, ALPHA)]])

    def by_autograd(self, network, batch):
        """Return the mean loss with the penalty."""
        pairs = zip(network.parameters(), self.anchors, strict=True)
        return loss_of(network, batch) + ALPHA / 2 * sum(((p - a) ** 2).sum() for p, a in pairs)


def one_group(decay: float):
    """Return a function that puts all parameters into one group."""
    return lambda network: [
        {"params": list(network.parameters()), "lr": RATE, "weight_decay": decay}
    ]


def step_row(name: str, network, X, y, batch_size, n_epochs, n_rounds) -> dict:
    """Compare steps with and without the penalty."""
    pulled, work = Pulled(network), (network, X, y, batch_size, n_epochs)
    plain = one_group(0.0)
    results = interleave(
        {
            "fine-tuning": lambda: by_train(*work, groups=plain),
            "L2-SP in place": lambda: by_train(*work, penalty=pulled.in_place, groups=plain),
            "L2-SP by autograd": lambda: by_train(
                *work, objective=pulled.by_autograd, groups=plain
            ),
        },
        n_rounds=n_rounds,
    )
    n_steps = n_epochs * -(-len(X) // batch_size)
    row = {
        "network": name,
        "n_parameters": sum(p.numel() for p in network.parameters()),
        "batch_size": batch_size,
        "ratio_cpu": ratios_to(results, "fine-tuning"),
        "microseconds_a_step": {k: 1e6 * v / n_steps for k, v in seconds_of(results).items()},
    }
    print(row, flush=True)
    return row


def penalty_rows(options) -> list[dict]:
    """Measure what L2-SP adds to a step of each network."""
    rows = []
    for sizes in SIZES[-1:] if options.quick else SIZES:
        X, y = map(torch.from_numpy, task(sizes[0]))
        rows.append(
            step_row("-".join(map(str, sizes)), Network(*sizes), X, y, 64, 5, rounds(25, options))
        )
    _, y = task(64)
    networks = (("tiny", "default", 32), ("resnet18", None, 64))
    for name, weights, side in networks[:1] if options.quick else networks:
        body = copy.deepcopy(load_backbone(name, weights).module).requires_grad_(True)
        if name == "resnet18":
            body = nn.Sequential(*list(body.children())[:-1])
        X = torch.randn(256, 3, side, side, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            n_features = body.eval()(X[:1]).shape[1]
        parts = (body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_features, 10))
        network = nn.Sequential(*parts)
        rows.append(
            step_row(name, network, X, torch.from_numpy(y[:256]), 32, 1, rounds(5, options))
        )
    return rows


def estimator_rows(options) -> list[dict]:
    """Compare whole fits of the two estimators with the same settings."""
    rows = []
    for sizes in SIZES[-1:] if options.quick else SIZES:
        X, y = task(sizes[0])
        settings = {
            "backbone": Network(*sizes).body,
            "optimizer": "adamw",
            "max_epochs": N_EPOCHS,
            "batch_size": 64,
            "precision": "float32",
            "device": "cpu",
        }
        results = interleave(
            {
                "FineTunedClassifier": lambda s=settings, X=X, y=y: FineTunedClassifier(**s).fit(
                    X, y
                ),
                "RegularizedTransferClassifier": lambda s=settings, X=X, y=y: (
                    RegularizedTransferClassifier(penalty="l2_sp", alpha=ALPHA, **s).fit(X, y)
                ),
            },
            n_rounds=rounds(9, options),
        )
        rows.append(
            {
                "network": "-".join(map(str, sizes)),
                "ratio_cpu": ratios_to(results, "FineTunedClassifier"),
                "cpu_seconds": seconds_of(results),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main(options) -> None:
    """Measure the loop, whole fits, and the cost of the penalty."""
    record = {
        "loop": loop_rows(options),
        "whole_fit": whole_fit_rows(options),
        "skorch": skorch_rows(options),
        "l2_sp_step": penalty_rows(options),
        "l2_sp_fit": estimator_rows(options),
    }
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
