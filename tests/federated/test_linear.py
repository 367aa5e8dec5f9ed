"""Linear models: clients reach the optimum of all samples together, or what the papers say."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from skltransfer import TransferLogisticRegression, TransferRidge
from tests.federated.fields import classification, federated, regression, stacked

pytest.importorskip("flwr")


def same_model(one, other, atol):
    np.testing.assert_allclose(one.coef_, other.coef_, rtol=0, atol=atol)
    np.testing.assert_allclose(one.intercept_, other.intercept_, rtol=0, atol=atol)


def objective(model, X, y, alpha, source_coef=0.0, source_intercept=None):
    """Return what the pooled fit minimises, per sample."""
    log_p = model.predict_log_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    penalty = ((model.coef_ - source_coef) ** 2).sum()
    if source_intercept is not None:
        penalty += ((model.intercept_ - source_intercept) ** 2).sum()
    return (-log_p.sum() + alpha / 2 * penalty) / len(y)


# --- the pooled optimum ----------------------------------------------------------------------


def test_ridge_is_that_of_all_samples():
    parts = regression()
    model = federated(TransferRidge(source_alpha=3.0), parts)
    same_model(model, Ridge(alpha=3.0).fit(*stacked(parts)), atol=1e-6)
    assert model.coef_.shape == (6,) and isinstance(model.intercept_, float)
    X, y = stacked(parts)
    assert model.score(X, y) > 0.5 and model.n_features_in_ == 6


@pytest.mark.parametrize("penalize_intercept", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_ridge_near_a_source_is_that_of_all_samples(penalize_intercept, fit_intercept):
    source = Ridge().fit(*regression(seed=1)[0])
    estimator = TransferRidge(
        source,
        alpha=20.0,
        fit_intercept=fit_intercept,
        penalize_intercept=penalize_intercept,
    )
    parts = regression()
    model = federated(estimator, parts)
    same_model(model, TransferRidge(**estimator.get_params()).fit(*stacked(parts)), atol=1e-6)
    np.testing.assert_array_equal(model.source_coef_, source.coef_)
    assert not hasattr(estimator, "coef_")


def test_penalties_by_feature_several_outputs_and_weights():
    parts = regression()
    rng = np.random.default_rng(3)
    parts = [
        (X, np.column_stack([y, X[:, 0] - y]), rng.uniform(0.5, 3, size=len(y))) for X, y in parts
    ]
    source = Ridge().fit(*stacked(regression(seed=1))[:2])
    source.coef_ = np.stack([source.coef_, -source.coef_])
    source.intercept_ = np.array([1.0, 2.0])
    alpha = np.linspace(1, 30, 6)
    estimator = TransferRidge(source, alpha=alpha, penalize_intercept=True)
    model = federated(estimator, parts)
    same_model(model, TransferRidge(**estimator.get_params()).fit(*stacked(parts)), atol=1e-6)


def test_ridge_with_more_features_than_samples_and_sparse_rows():
    rng = np.random.default_rng(0)
    parts = [
        (sparse.csr_array(np.maximum(rng.normal(size=(12, 40)), 0)), rng.normal(size=12))
        for _ in range(3)
    ]
    model = federated(TransferRidge(source_alpha=0.5), parts)
    X, y = sparse.vstack([X for X, _ in parts]), np.concatenate([y for _, y in parts])
    same_model(model, Ridge(alpha=0.5, tol=1e-12).fit(X.toarray(), y), atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_regression_has_the_loss_of_all_samples(n_classes):
    parts = classification(n_classes=n_classes)
    X, y = stacked(parts)
    model = federated(TransferLogisticRegression(), parts, classes=np.arange(n_classes))
    pooled = LogisticRegression(tol=1e-10, max_iter=5000).fit(X, y)
    best = objective(pooled, X, y, 1.0)
    assert abs(objective(model, X, y, 1.0) / best - 1) < 1e-3  # the promise
    assert abs(objective(model, X, y, 1.0) / best - 1) < 1e-7  # what is reached
    np.testing.assert_allclose(model.coef_, pooled.coef_, atol=1e-4)


def test_logistic_regression_near_a_source():
    parts = classification()
    X, y = stacked(parts)
    source = LogisticRegression().fit(*stacked(classification(seed=4)))
    estimator = TransferLogisticRegression(source, alpha=5.0, class_weight={0: 1, 1: 2, 2: 3})
    model = federated(estimator, parts)
    pooled = TransferLogisticRegression(**estimator.get_params()).fit(X, y)
    same_model(model, pooled, atol=1e-6)
    assert np.abs(model.coef_ - source.coef_).max() > 0.01


def test_clients_may_hold_one_class_each():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 4)), np.repeat(["a", "b", "c"], 30)
    X[:, 0] += np.repeat([0, 1, 2], 30)
    parts = [(X[y == label], y[y == label].astype(object)) for label in "abc"]
    model = federated(TransferLogisticRegression(), parts, classes=["a", "b", "c"])
    pooled = LogisticRegression(tol=1e-10, max_iter=5000).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), pooled.predict_proba(X), atol=1e-5)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert (model.predict(X) == pooled.predict(X)).all()


def test_the_strength_of_the_pull_does_not_change_the_result():
    parts = regression()
    models = [federated(TransferRidge(), parts, proximal_mu=mu) for mu in (0.3, 3.0)]
    same_model(*models, atol=1e-6)


def test_one_client_is_its_own_optimum():
    X, y = regression()[0]
    same_model(federated(TransferRidge(), [(X, y)]), Ridge().fit(X, y), atol=1e-6)


def test_columns_are_matched_by_name():
    pandas = pytest.importorskip("pandas")
    names = list("abcdef")
    parts = [(pandas.DataFrame(X, columns=names), y) for X, y in regression()]
    (X, y), *others = parts
    shuffled = [(X[list("fbdcae")], y), *others]
    model = federated(TransferRidge(), shuffled, feature_names=names)
    pooled = Ridge().fit(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    same_model(model, pooled, atol=1e-6)
    assert model.feature_names_in_.tolist() == names
    assert np.abs(federated(TransferRidge(), shuffled).coef_ - pooled.coef_).max() > 0.1
    source = TransferRidge(source=Ridge().fit(X, y), alpha=1.0, penalize_intercept=True)
    same_model(federated(source, shuffled), federated(source, parts), atol=1e-9)


# --- FedAvg and FedProx ----------------------------------------------------------------------


def with_ones(parts):
    return [(np.column_stack([X, np.ones(len(X))]), y) for X, y in parts]


def test_fedavg_is_the_mean_of_optima_weighted_by_counts():
    parts = regression()
    model = federated(TransferRidge(source_alpha=0.0), parts, strategy="fedavg", n_rounds=2)
    fits = [np.linalg.lstsq(X, y)[0] for X, y in with_ones(parts)]
    mean = np.average(fits, axis=0, weights=[len(y) for _, y in parts])
    np.testing.assert_allclose(np.append(model.coef_, model.intercept_), mean, atol=1e-9)


def test_fedavg_goes_on_from_the_servers_weights_where_samples_leave_them_free():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3, 6)), rng.normal(size=3)
    source = rng.normal(size=6)
    estimator = TransferRidge(source, alpha=0.0, fit_intercept=False)
    model = federated(estimator, [(X, y)], strategy="fedavg", n_rounds=1)
    nearest = source + np.linalg.lstsq(X, y - X @ source)[0]
    np.testing.assert_allclose(model.coef_, nearest, atol=1e-9)


def test_fedprox_is_the_recursion_of_the_paper():
    """``w_k = argmin F_k + mu/2 |w - w^t|^2``, then the mean, by its normal equations."""
    parts, mu, w = regression(), 0.7, np.zeros(7)
    for _ in range(4):
        fits = [
            np.linalg.solve(2 * X.T @ X / len(y) + mu * np.eye(7), 2 * X.T @ y / len(y) + mu * w)
            for X, y in with_ones(parts)
        ]
        w = np.average(fits, axis=0, weights=[len(y) for _, y in parts])
    model = federated(
        TransferRidge(source_alpha=0.0), parts, strategy="fedprox", proximal_mu=mu, n_rounds=4
    )
    np.testing.assert_allclose(np.append(model.coef_, model.intercept_), w, atol=1e-9)


def test_neither_is_the_optimum_of_unlike_clients():
    parts = regression()
    pooled = Ridge().fit(*stacked(parts))
    for strategy in ("fedavg", "fedprox"):
        model = federated(TransferRidge(), parts, strategy=strategy, n_rounds=30)
        assert np.abs(model.coef_ - pooled.coef_).max() > 1e-3


def test_a_strategy_of_flower_is_used_as_it_is():
    from flwr.serverapp.strategy import FedMedian

    parts = regression()
    flower = FedMedian(fraction_evaluate=0.0, min_train_nodes=3, min_available_nodes=3)
    model = federated(TransferRidge(source_alpha=0.0), parts, strategy=flower, n_rounds=1)
    fits = [np.linalg.lstsq(X, y)[0] for X, y in with_ones(parts)]
    np.testing.assert_allclose(model.coef_, np.median(fits, axis=0)[:-1], atol=1e-9)


# --- the end, and what is loaded -------------------------------------------------------------


def test_too_few_rounds_are_said():
    with pytest.warns(ConvergenceWarning, match="after 2 rounds.*Raise n_rounds"):
        federated(TransferRidge(), regression(), n_rounds=2)


def test_clients_are_asked_no_further_once_they_agree():
    calls = []
    parts = regression()

    def load_data(context):
        calls.append(context.node_id)
        return parts[context.node_config["partition-id"]]

    from skltransfer.federated import client_app, server_app, simulate

    server = server_app(TransferRidge(), n_clients=3, n_rounds=10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate(client_app(TransferRidge(), load_data), server, 3)
    assert len(calls) < 300


def test_the_model_is_saved(tmp_path):
    pytest.importorskip("skops")
    import skltransfer

    path = tmp_path / "model.skops"
    parts = regression()
    model = federated(TransferRidge(), parts, save_to=path)
    again = skltransfer.load(path)
    np.testing.assert_array_equal(again.predict(parts[0][0]), model.predict(parts[0][0]))


def test_linear_models_load_no_torch_and_importing_loads_no_flower():
    code = """
import sys
import skltransfer.federated
assert "flwr" not in sys.modules
import numpy as np
from skltransfer import TransferRidge
from skltransfer.federated import client_app, server_app, simulate
def load_data(context):
    X = np.eye(3) + context.node_config["partition-id"]
    return X, X.sum(axis=1)
simulate(client_app(TransferRidge(), load_data), server_app(TransferRidge(), n_clients=2), 2)
assert "torch" not in sys.modules and "ray" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
