"""The same training on a GPU; skipped where there is none."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from skltransfer import FineTunedClassifier, RegularizedTransferClassifier

pytestmark = pytest.mark.gpu
X, y = load_digits(return_X_y=True)
X, y = X[:60], y[:60]
IMAGES = {"image_shape": (8, 8), "value_range": (0, 16)}


def test_linear_probe_is_that_of_the_cpu():
    on_gpu = FineTunedClassifier("tiny", strategy="linear_probe", device="cuda", **IMAGES)
    on_cpu = FineTunedClassifier("tiny", strategy="linear_probe", device="cpu", **IMAGES)
    p, q = (model.fit(X, y).predict_proba(X) for model in (on_gpu, on_cpu))
    assert np.allclose(p, q, atol=1e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_training_learns_in_every_precision(precision):
    model = FineTunedClassifier("tiny", device="cuda", precision=precision, **IMAGES)
    model.fit(X, y)
    assert next(model.network_.parameters()).is_cuda
    assert model.score(X, y) > 0.95


def test_two_fits_are_equal_and_the_global_generator_is_untouched():
    state = torch.cuda.get_rng_state()
    model = RegularizedTransferClassifier("tiny", device="cuda", dropout=0.2, **IMAGES)
    first = model.fit(X, y).predict_proba(X)
    assert np.allclose(model.fit(X, y).predict_proba(X), first, atol=1e-4)
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_batches_that_do_not_fit_go_through_in_passes():
    class Large(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(64, 8)

        def forward(self, x):
            if len(x) > 20:
                torch.empty(2**45, device=x.device)  # more than any device has
            return self.layer(x)

    model = FineTunedClassifier(Large(), device="cuda", optimizer="adamw", max_epochs=2)
    with pytest.warns(RuntimeWarning, match="accumulate"):
        model.set_params(batch_size=60, head=torch.nn.Linear).fit(X, y)
