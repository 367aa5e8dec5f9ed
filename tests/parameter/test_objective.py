"""The seam of training: further modules, named terms, and a network that is put back."""

import numpy as np
import pytest
import torch
from sklearn.datasets import make_classification
from torch.nn import functional

from skltransfer import FineTunedClassifier
from skltransfer._networks._objective import LabelLoss

X, y = make_classification(90, 6, n_informative=4, random_state=0)
STEPS = {"optimizer": "adamw", "lr": 0.02, "max_epochs": 15, "hidden_layer_sizes": (8,)}


class WithCritic(LabelLoss):
    """The loss of the labels, and that of a critic that guesses them from the features as well."""

    def __init__(self, fitting, seen):
        super().__init__(fitting.data.labels)
        self.built, self.seen = fitting.built, seen
        torch.manual_seed(0)
        self.critic = torch.nn.Linear(fitting.built.n_features, 1).double()

    def modules(self):
        return (self.critic,)

    def __enter__(self):
        self.seen.append("attach")
        return super().__enter__()

    def __exit__(self, *error):
        super().__exit__(*error)
        self.seen.append("detach")

    def __call__(self, network, batch, features=None):
        features = network.embed(batch.inputs)
        guess = self.critic(features.detach())[:, 0]
        loss = functional.binary_cross_entropy_with_logits(guess, batch.targets.double())
        return super().__call__(network, batch, features) | {"critic_loss": loss}


class Criticised(FineTunedClassifier):
    def _objective(self, fitting):
        self.seen, self.objective = [], None
        self.objective = WithCritic(fitting, self.seen)
        self.start = [p.detach().clone() for p in self.objective.critic.parameters()]
        return self.objective


@pytest.fixture(autouse=True)
def _own_chance():
    with torch.random.fork_rng():
        yield


@pytest.mark.parametrize(
    "settings", [STEPS, {"max_epochs": 30, "hidden_layer_sizes": (8,)}], ids=["steps", "full batch"]
)
def test_further_modules_are_trained_and_dropped(settings):
    model = Criticised(**settings).fit(X, y)
    history = model.history_
    assert history[-1]["critic_loss"] < 0.9 * history[0]["critic_loss"]
    assert all(
        (p != start).any()
        for p, start in zip(model.objective.critic.parameters(), model.start, strict=True)
    )
    assert not any(name.startswith("further") for name in model.network_.state_dict())
    assert model.seen == ["attach", "detach"]
    if settings is STEPS:
        for record in history:
            total = record["label_loss"] + record["critic_loss"]
            assert record["train_loss"] == pytest.approx(total, rel=1e-10)
            assert record["lr_objective"] == record["lr_head"]


def test_a_critic_that_gives_no_gradient_changes_nothing_else():
    plain = FineTunedClassifier(**STEPS).fit(X, y)
    criticised = Criticised(**STEPS).fit(X, y)
    np.testing.assert_allclose(
        criticised.decision_function(X), plain.decision_function(X), rtol=1e-9, atol=1e-9
    )


def test_partial_fit_has_the_terms_too():
    model = Criticised(lr=0.01, hidden_layer_sizes=(8,)).partial_fit(X, y, classes=[0, 1])
    assert {"label_loss", "critic_loss", "lr_objective"} <= set(model.history_[-1])
    assert model.seen == ["attach", "detach"]


def test_the_network_is_put_back_when_training_breaks_off():
    class Breaks(WithCritic):
        def __call__(self, network, batch, features=None):
            raise KeyboardInterrupt

    class Broken(Criticised):
        def _objective(self, fitting):
            self.seen = []
            return Breaks(fitting, self.seen)

    model = Broken(**STEPS)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.seen == ["attach", "detach"]
    assert not hasattr(model, "network_")
