"""Running statistics of batch normalisation, kept or learned in fine-tuning."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from skltransfer import FineTunedClassifier, RegularizedTransferClassifier
from tests.parameter.test_finetuned import Net, net

QUICK = {"optimizer": "adamw", "lr": 0.02, "max_epochs": 3, "batch_size": 16}
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    keep = np.flatnonzero(y < 4)[:96]
    return X[keep], y[keep]


def moved(model, start):
    after = model._built.backbone.state_dict()
    return {name for name, value in start.items() if not torch.equal(after[name].to(value), value)}


@pytest.mark.parametrize(
    "norm_statistics, learned, are_kept",
    [
        ("auto", True, True),
        ("auto", False, False),
        ("keep", False, True),
        ("learn", True, False),
    ],
)
@pytest.mark.parametrize("kind", [FineTunedClassifier, RegularizedTransferClassifier])
def test_running_statistics(digits, kind, norm_statistics, learned, are_kept):
    """Kept or learned as asked; the parameters of the norms are trained in any case."""
    X, y = digits
    module = net() if learned else Net().eval()
    settings = QUICK | {"norm_statistics": norm_statistics}
    found = moved(kind(module, **settings).fit(X, y), module.state_dict())
    names = {name for name in module.state_dict() if name.endswith(STATISTICS)}
    assert len(names) == 9
    assert found & names == (set() if are_kept else names)
    assert {"low.1.weight", "low.1.bias", "top.2.weight", "top.2.bias"} <= found


@pytest.mark.parametrize("learned", [True, False])
def test_running_statistics_over_calls_of_partial_fit(digits, learned):
    """What the first call learns, the second goes on learning."""
    X, y = digits
    module = net() if learned else Net().eval()
    model = FineTunedClassifier(module, **QUICK).partial_fit(X, y, classes=np.unique(y))
    counts = [model._built.backbone.low[1].num_batches_tracked.item()]
    counts.append(model.partial_fit(X, y)._built.backbone.low[1].num_batches_tracked.item())
    assert counts == ([1, 1] if learned else [6, 12])


def test_training_with_kept_statistics_is_that_of_fixed_scales(digits):
    """Batch norms that keep theirs are fixed scales: the same network with fixed scales agrees."""

    class Fixed(nn.Module):
        def __init__(self, norm):
            super().__init__()
            self.register_buffer("mean", norm.running_mean)
            self.register_buffer("root", (norm.running_var + norm.eps).sqrt())
            self.weight, self.bias = norm.weight, norm.bias

        def forward(self, x):
            return (x - self.mean) / self.root * self.weight + self.bias

    X, y = digits
    module, other = net(), net()
    for name in ("low.1", "middle.2", "top.2"):
        other.set_submodule(name, Fixed(other.get_submodule(name)))
    a, b = (
        FineTunedClassifier(m, **QUICK | {"weight_decay": 0.0}).fit(X, y) for m in (module, other)
    )
    np.testing.assert_allclose(a.decision_function(X), b.decision_function(X), atol=1e-6)


def test_another_word_is_refused(digits):
    with pytest.raises(ValueError, match="norm_statistics='freeze'.*'keep'"):
        FineTunedClassifier(net(), norm_statistics="freeze").fit(*digits)
