"""Fits that two processes make together, and one alone: a script for torchrun, and a module."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from skltransfer import (
    DANNClassifier,
    FineTunedClassifier,
    FineTunedRegressor,
    PrototypicalClassifier,
    RegularizedTransferClassifier,
    SelfSupervisedTransformer,
    load_backbone,
)
from skltransfer.distributed import data_parallel

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 6))
Y = (X[:, 0] + X[:, 1] ** 2 > 0.8).astype(int) + (X[:, 2] > 1)
IMAGES = RNG.integers(0, 256, (24, 32, 32), dtype=np.uint8)
STEPS = {"optimizer": "sgd", "lr": 0.05, "batch_size": 16, "max_epochs": 3}


class EpochCounter:
    """Counts epochs, and ends the training after two of them."""

    n_epochs = 0

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context):
        self.n_epochs += context.task_name == "epoch"
        return self.n_epochs >= 2


class BrokenLayer(nn.Linear):
    """A layer that fails after a number of passes, if there is one."""

    n_left = None

    def forward(self, x):
        """Count, and apply the layer."""
        if BrokenLayer.n_left is not None and self.training:
            BrokenLayer.n_left -= 1
            if BrokenLayer.n_left < 0:
                raise InterruptedError("the power is gone")
        return super().forward(x)


def table(**settings):
    weights = np.linspace(0.2, 3, len(X))
    return FineTunedClassifier(**STEPS | settings).fit(X, Y, weights).decision_function(X)


def regression():
    model = FineTunedRegressor(schedule="plateau", clip_norm=0.5, accumulate=2, **STEPS)
    return model.fit(X, X[:, 0] * X[:, 1]).predict(X)


def images(**settings):
    settings = STEPS | {"max_epochs": 1} | settings
    model = FineTunedClassifier("tiny", precision="float64", **settings)
    return model.fit(IMAGES, np.arange(24) % 3).decision_function(IMAGES)


def last_stage():
    return images(unfreeze=1)


def probe():
    model = FineTunedClassifier("tiny", strategy="linear_probe")
    return model.fit(IMAGES, np.arange(24) % 3).decision_function(IMAGES)


def stopped_early():
    settings = STEPS | {"max_epochs": 30, "early_stopping": True, "patience": 1}
    model = RegularizedTransferClassifier(**settings).fit(X, Y)
    return np.array([record["valid_loss"] for record in model.history_])


def adversarial(**settings):
    model = DANNClassifier(FineTunedClassifier(**STEPS | settings))
    return model.fit(X[:50], Y[:50], X_target=X[50:]).decision_function(X)


def episodes():
    settings = {
        "n_way": 3,
        "n_shot": 2,
        "n_query": 2,
        "episodes_per_epoch": 10,
        "tasks_per_step": 2,
    }
    model = PrototypicalClassifier(FineTunedClassifier(**STEPS), **settings)
    return model.fit(X, Y, X_target=X[:9], y_target=Y[:9]).predict_proba(X)


def partial():
    model = FineTunedClassifier(**STEPS)
    for _ in range(2):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    return model.decision_function(X)


def from_a_file(path, rank):
    """Return the tensors of a network whose weights, by mistake, differ between the processes."""
    weights = load_backbone("resnet18", weights=None).module.state_dict()
    torch.save({name: (1 + rank) * tensor for name, tensor in weights.items()}, path)
    settings = {"weights": path, "input_size": 32, "unfreeze": 1, "norm_statistics": "learn"}
    model = FineTunedClassifier("resnet18", **settings, **STEPS | {"max_epochs": 1})
    state = model.fit(IMAGES, np.arange(24) % 3).network_.state_dict()
    return np.concatenate([tensor.numpy().ravel() for tensor in state.values()])


FITS = [table, regression, images, last_stage, probe, stopped_early, adversarial, episodes, partial]


def resumed(folder, interrupts):
    """Return the decisions of a fit that is interrupted, in all processes, and then goes on."""
    settings = {"head": BrokenLayer, "checkpoint": folder, "dropout": 0.3}
    if interrupts:
        BrokenLayer.n_left = 8  # of 6 batches an epoch
        with pytest.raises(InterruptedError):
            table(**settings)
        assert len(list(Path(folder).glob("*.pt"))) == 1
        BrokenLayer.n_left = 12
    result = table(**settings)
    BrokenLayer.n_left = None
    return result


def main(folder):
    """Fit all in each process, and let the second one fail in the end."""
    torch.set_num_threads(1)
    folder = Path(folder)
    with pytest.raises(ValueError, match="world_size=3, and there are 2 processes.*torchrun"):
        data_parallel(3).__enter__()
    with data_parallel(world_size=2, timeout=120) as processes:
        outcome = {fit.__name__: fit() for fit in FITS}
        counter = EpochCounter()
        model = FineTunedClassifier(**STEPS).set_callbacks(counter).fit(X, Y)
        outcome["epochs"] = counter.n_epochs, model.n_iter_
        path = folder / f"{processes.rank}.pt"
        outcome["from a file"] = from_a_file(path, processes.rank)
        pretrained = SelfSupervisedTransformer(max_epochs=2).fit(X)
        outcome["self-supervised"] = pretrained.transform(X)
        outcome["whole"] = resumed(folder / "whole", False)
        outcome["resumed"] = resumed(folder / "resumed", True)
        for changed, error in (
            ({"random_state": None}, "other samples, labels, weights, parameters or seeds"),
            ({"batch_size": 1}, "batch of 1 .* cannot be divided among 2 processes"),
        ):
            with pytest.raises(ValueError, match=error):
                table(**changed)
        with pytest.raises(ValueError, match="Process 1 was given other"):
            FineTunedClassifier(**STEPS).fit(X, Y[::-1] if processes.rank else Y)
        outcome["processes"] = processes.rank, processes.world_size, processes.is_first
        (folder / f"{processes.rank}.pkl").write_bytes(pickle.dumps(outcome))
        if not processes.is_first:
            raise ValueError("the samples of this process are lost")
        FineTunedClassifier(**STEPS | {"max_epochs": 1000}).fit(X, Y)


if __name__ == "__main__":
    main(sys.argv[1])
