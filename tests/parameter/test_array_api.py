"""Ridge regression near a source, of tensors: the numbers of numpy, where the samples are."""

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.linear_model import Ridge

from skltransfer import (
    TransferLogisticRegression,
    TransferRidge,
    TransferRidgeCV,
    WithSource,
    WithTarget,
)
from tests.arrays import assert_same, place, refuse_numpy, sizes_moved

SHAPES = {"tall": (60, 6), "wide": (12, 30)}
RNG = np.random.default_rng(0)
FITTED = ("coef_", "source_coef_")


def task(shape="tall"):
    n, d = SHAPES[shape]
    X, coef = RNG.normal(size=(n, d)) * RNG.uniform(0.5, 2, d) + 1, RNG.normal(size=(2, d))
    y = X @ (coef + 0.3).T + RNG.normal(size=(n, 2)) + 2
    return X, y, coef, RNG.integers(0, 3, n).astype(float)


def models(coef):
    alphas = np.linspace(0.1, 2, coef.shape[1])
    return {
        "auto": TransferRidge(coef),
        "number": TransferRidge(coef, alpha=3.0),
        "one for each feature": TransferRidge(coef, alpha=alphas),
        "least squares": TransferRidge(coef, alpha=0.0),
        "intercept pulled": TransferRidge(coef, alpha=3.0, penalize_intercept=True),
        "no intercept": TransferRidge(coef, alpha=3.0, fit_intercept=False),
        "folds": TransferRidgeCV(coef),
        "folds, another score": TransferRidgeCV(coef, scoring="r2"),
        "folds, penalties of features": TransferRidgeCV(coef, alphas=[alphas, 10 * alphas]),
    }


def assert_as_numpy(model, X, y, weights, asarray, **tolerance):
    model.fit(X, y, weights)
    expected = {name: getattr(model, name) for name in FITTED}
    intercept, predicted, score = model.intercept_, model.predict(X), model.score(X, y)
    rows, labels = asarray(X), asarray(y)
    given = None if weights is None else asarray(weights)
    with config_context(array_api_dispatch=True):
        model.fit(rows, labels, given)
        for name, value in expected.items():
            assert_same(getattr(model, name), value, rows, **tolerance)
        if y.ndim == 2:
            assert_same(model.intercept_, intercept, rows, **tolerance)
        else:
            assert model.intercept_ == pytest.approx(intercept)
        assert_same(model.predict(rows), predicted, rows, **tolerance)
        assert model.score(rows, labels) == pytest.approx(score)


@pytest.mark.parametrize("library", ["cpu", "array_api_strict"])
@pytest.mark.parametrize(("dtype", "weighted"), [("float64", True), ("float32", False)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", models(np.ones((2, 1))))
def test_results_are_those_of_numpy(name, shape, weighted, dtype, library, monkeypatch):
    asarray = place(library)
    refuse_numpy(monkeypatch)
    X, y, coef, weights = task(shape)
    X, y, weights = X.astype(dtype), y.astype(dtype), weights if weighted else None
    assert_as_numpy(models(coef)[name], X, y, weights, asarray)
    assert_as_numpy(models(coef[:1])[name], X, y[:, 0], weights, asarray)


@pytest.mark.parametrize("name", ["number", "one for each feature", "intercept pulled"])
def test_samples_stay_where_they_are(name, monkeypatch):
    X, y, coef, _ = task()
    sizes = sizes_moved(monkeypatch)
    with config_context(array_api_dispatch=True):
        model = models(coef)[name].fit(torch.tensor(X), torch.tensor(y))
        assert max(sizes) == y.size
        sizes.clear()
        model.predict(torch.tensor(X))
        assert not sizes


@pytest.mark.gpu
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", models(np.ones((2, 1))))
def test_results_on_a_gpu_are_those_of_numpy(name, shape):
    X, y, coef, weights = task(shape)
    assert_as_numpy(models(coef)[name], X, y, weights, place("cuda"), rtol=1e-7, atol=1e-8)


def test_labels_weights_and_source_follow_the_samples(monkeypatch):
    X, y, coef, weights = task()
    source = Ridge().fit(X[::-1], y)
    expected = TransferRidge(source, alpha=2.0).fit(X, y, weights).coef_
    refuse_numpy(monkeypatch)
    rows = torch.tensor(X)
    with config_context(array_api_dispatch=True):
        model = TransferRidge(source, alpha=2.0).fit(rows, y, weights)
        assert_same(model.coef_, expected, rows)
        model.source = Ridge(solver="svd").fit(torch.tensor(X[::-1].copy()), torch.tensor(y))
        assert_same(model.fit(rows, y, weights).coef_, expected, rows)
        model.source = torch.tensor(coef)
        model.fit(X, torch.tensor(y), torch.tensor(weights))
    assert isinstance(model.coef_, np.ndarray)
    np.testing.assert_allclose(model.coef_, TransferRidge(coef, alpha=2.0).fit(X, y, weights).coef_)


@pytest.mark.parametrize("Model", [TransferRidge, TransferRidgeCV])
def test_two_domains_may_be_tensors(Model, monkeypatch):
    X, y, _, weights = task()
    X_target, y_target = X[::-1] + 0.1, y[::-1, 0] + 1
    y_target[:10] = np.nan
    held = {"X_target": X_target, "y_target": y_target, "target_sample_weight": weights}
    expected = Model().fit(X, y[:, 0], **held).coef_
    plain = Model().fit(X, y[:, 0], X_target=X_target, y_target=y_target).coef_
    refuse_numpy(monkeypatch)
    rows, labels = torch.tensor(X), torch.tensor(y[:, 0])
    held = {name: torch.tensor(value.copy()) for name, value in held.items()}
    with config_context(array_api_dispatch=True):
        assert_same(Model().fit(rows, labels, **held).coef_, expected, rows)
        target = held["X_target"], held["y_target"]
        model = WithTarget(Model(), *target).fit(rows, labels)
        assert_same(model.estimator_.coef_, plain, rows)
        model = WithSource(Model(), rows, labels).fit(*target)
        assert_same(model.estimator_.coef_, plain, rows)
        with pytest.raises(ValueError, match="X lies in numpy.* and X_target in torch"):
            Model().fit(X, y[:, 0], X_target=target[0], y_target=target[1])


def test_a_fitted_model_stays_where_it_was_fitted():
    X, y, coef, _ = task()
    with config_context(array_api_dispatch=True):
        model = TransferRidge(coef).fit(torch.tensor(X), torch.tensor(y))
        with pytest.raises(ValueError, match=r"predict\(\) must use the same namespace"):
            model.predict(X)
    with pytest.raises(ValueError, match="fitted on arrays of torch.*config_context"):
        model.predict(X)


def test_numbers_beyond_the_range_are_refused_by_name():
    X, y, coef, _ = task()
    X[3, 2] = 1e160
    with (
        config_context(array_api_dispatch=True),
        pytest.raises(ValueError, match="X holds numbers beyond"),
    ):
        TransferRidge(coef).fit(torch.tensor(X), torch.tensor(y))


def test_tags_say_which_models_take_tensors():
    assert TransferRidgeCV().__sklearn_tags__().array_api_support
    assert not TransferLogisticRegression().__sklearn_tags__().array_api_support
