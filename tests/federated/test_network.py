"""Networks: rounds are those of the papers, and a federation learns what no client knows."""

import copy

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from torch import nn

from skltransfer import FineTunedClassifier, FineTunedRegressor, RegularizedTransferClassifier
from skltransfer.federated import client_app, server_app
from tests.federated.fields import federated, loader, regression, stacked

pytest.importorskip("flwr")


@pytest.fixture(scope="module")
def digits():
    """Return samples of a server, of three clients with other classes, and of a test."""
    X, y = load_digits(return_X_y=True)
    X, y = X[y < 6] / 16, y[y < 6]
    server, test = (X[:60], y[:60]), (X[600:], y[600:])
    rows = np.arange(60, 360)
    client = y[rows] // 2
    return server, [(X[rows[client == k]], y[rows[client == k]]) for k in range(3)], test


def weights_of(estimator):
    return {name: p.detach().numpy().copy() for name, p in estimator.network_.named_parameters()}


def assert_weights(estimator, expected, atol=1e-9):
    for name, found in weights_of(estimator).items():
        np.testing.assert_allclose(found, expected[name], rtol=0, atol=atol, err_msg=name)


def test_a_round_of_fedavg_is_the_mean_of_fits_that_go_on():
    parts = regression(d=3)
    base = FineTunedRegressor(hidden_layer_sizes=(4,), max_epochs=3).fit(*parts[0])
    start = copy.deepcopy(weights_of(base))
    model = federated(base, parts, strategy="fedavg", n_rounds=1)
    fits = []
    for X, y in parts:
        fit = copy.deepcopy(base).set_params(warm_start=True, random_state=1)
        fits.append(weights_of(fit.fit(X, y)))
    counts = [len(y) for _, y in parts]
    mean = {n: np.average([fit[n] for fit in fits], axis=0, weights=counts) for n in start}
    assert_weights(model, mean)
    assert max(np.abs(mean[name] - start[name]).max() for name in start) > 1e-3
    assert_weights(base, start, atol=0)
    assert model.predict(parts[0][0]).shape == (40,)


def linear_network(parts):
    """Return a network without hidden layers, and what it learns from, as numbers."""
    base = FineTunedRegressor(hidden_layer_sizes=(), weight_decay=0.0, tol=1e-10).fit(*parts[0])
    network, labels = base._built.network, base._labels

    def inputs(X):
        with torch.no_grad():
            return network.head.features(network.embed(torch.tensor(X))).numpy()

    return base, inputs, lambda y: (y - labels.mean[0]) / labels.scale[0]


def test_fedprox_is_the_recursion_of_the_paper():
    """A network without hidden layers is linear: its rounds have normal equations."""
    parts, mu = regression(d=3), 0.4
    base, inputs, outputs = linear_network(parts)
    start = weights_of(base)
    w = np.append(start["head.output.weight"], start["head.output.bias"])
    for _ in range(2):
        fits = []
        for X, y in parts:
            Z = np.column_stack([inputs(X), np.ones(len(y))])
            H = Z.T @ Z / len(y) + mu * np.eye(4)
            fits.append(np.linalg.solve(H, Z.T @ outputs(y) / len(y) + mu * w))
        w = np.average(fits, axis=0, weights=[len(y) for _, y in parts])
    model = federated(base, parts, strategy="fedprox", proximal_mu=mu, n_rounds=2)
    found = weights_of(model)
    found = np.append(found["head.output.weight"], found["head.output.bias"])
    np.testing.assert_allclose(found, w, atol=1e-6)


def test_a_strong_pull_keeps_the_server_and_none_is_fedavg():
    parts = regression(d=3)
    base = FineTunedRegressor(hidden_layer_sizes=(4,), max_epochs=3).fit(*parts[0])
    kept = federated(base, parts, strategy="fedprox", proximal_mu=1e9, n_rounds=1)
    assert_weights(kept, weights_of(base), atol=1e-4)
    free = federated(base, parts, strategy="fedprox", proximal_mu=0, n_rounds=1)
    assert_weights(free, weights_of(federated(base, parts, strategy="fedavg", n_rounds=1)))


@pytest.mark.parametrize("kind", [FineTunedClassifier, RegularizedTransferClassifier])
def test_clients_with_other_classes_learn_more_than_the_server_knows(digits, kind):
    server, parts, (X, y) = digits
    base = kind(hidden_layer_sizes=(16,), max_epochs=5).fit(*server)
    model = federated(base, parts, n_rounds=5)
    before = log_loss(y, base.predict_proba(X))
    assert log_loss(y, model.predict_proba(X)) < 0.8 * before
    assert model.classes_.tolist() == list(range(6))
    local = copy.deepcopy(base).set_params(warm_start=True)
    local._fit_further(*parts[0], None, lambda own, fitting: own)
    assert log_loss(y, model.predict_proba(X)) < log_loss(y, local.predict_proba(X))


def test_steps_of_adamw_and_the_pull_go_together(digits):
    server, parts, (X, y) = digits
    base = FineTunedClassifier(
        hidden_layer_sizes=(16,), optimizer="adamw", max_epochs=2, batch_size=32
    ).fit(*server)
    near = federated(base, parts, n_rounds=1, strategy="fedprox", proximal_mu=1e6)
    far = federated(base, parts, n_rounds=1, strategy="fedavg")
    start = weights_of(base)

    def distance(model):
        return max(np.abs(found - start[name]).max() for name, found in weights_of(model).items())

    assert distance(near) < 0.2 * distance(far)


def test_personalisation_goes_on_from_the_global_model(digits):
    server, parts, _ = digits
    base = FineTunedClassifier(hidden_layer_sizes=(16,), max_epochs=5).fit(*server)
    model = federated(base, parts, n_rounds=2)
    X, y = parts[0]
    present = np.isin(model.classes_, y)
    own = RegularizedTransferClassifier(model, hidden_layer_sizes=(16,)).fit(X, y)
    assert own.classes_.tolist() == model.classes_[present].tolist()
    assert own.score(X, y) >= model.score(X, y)


def test_the_global_network_is_saved_and_goes_on(digits, tmp_path):
    pytest.importorskip("skops")
    import skltransfer

    server, parts, (X, y) = digits
    base = FineTunedClassifier(hidden_layer_sizes=(8,), max_epochs=3).fit(*server)
    path = tmp_path / "model.skops"
    model = federated(base, parts, n_rounds=1, save_to=path)
    np.testing.assert_array_equal(skltransfer.load(path).predict_proba(X), model.predict_proba(X))
    further = copy.deepcopy(model).set_params(warm_start=True).fit(*stacked(parts))
    assert log_loss(y, further.predict_proba(X)) < log_loss(y, model.predict_proba(X))


class Normed(nn.Module):
    """A small network with batch normalisation."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)
        self.second = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    def forward(self, x):
        return self.second(torch.relu(self.norm(self.first(x))))


def sent_names(estimator):
    from skltransfer.federated._network import NetworkLearner

    return set(NetworkLearner(estimator).start(None, {}))


def test_only_what_is_trained_is_sent():
    X, y = stacked(regression(d=3))
    head = {"head.output.weight", "head.output.bias"}
    settings = {"backbone": Normed, "weights": None, "max_epochs": 1}
    probe = FineTunedRegressor(strategy="linear_probe", **settings).fit(X, y)
    assert sent_names(probe) == head
    top = FineTunedRegressor(unfreeze=1, **settings).fit(X, y)
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in sent_names(top) - head} == {"0"}
    everything = sent_names(FineTunedRegressor(**settings).fit(X, y))
    assert any(name.endswith("norm.running_mean") for name in everything)
    assert not any("num_batches" in name or "features.mean" in name for name in everything)


def test_networks_that_cannot_be_averaged():
    X, y = stacked(regression(d=3))
    base = FineTunedRegressor(hidden_layer_sizes=(4,), max_epochs=2).fit(X, y)
    with pytest.raises(ValueError, match="strategy='fedadmm' agrees on the optimum of a convex"):
        server_app(base, n_clients=2, strategy="fedadmm")
    with pytest.raises(ValueError, match="feature_names is for linear models"):
        server_app(base, n_clients=2, feature_names=["a"])
    with pytest.raises(ValueError, match="classes=.*are not those that estimator was fitted"):
        server_app(base, n_clients=2, classes=[0, 1])
    lora = copy.deepcopy(base).set_params(strategy="lora")
    with pytest.raises(ValueError, match="strategy='lora'"):
        client_app(lora, loader())
    other = FineTunedRegressor(hidden_layer_sizes=(5,), max_epochs=2).fit(X, y)
    from skltransfer.federated import simulate

    client = client_app(other, loader((X, y)))
    with pytest.raises(ValueError, match="server's weights are not those of this client"):
        simulate(client, server_app(base, n_clients=1), 1)
