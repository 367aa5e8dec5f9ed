"""The menu of strategies: each does what its name says."""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    KMMReweighter,
    PooledEstimator,
    PretrainedFeatureTransformer,
    TransferLogisticRegressionCV,
    TransferRidgeCV,
    WithSource,
)
from skltransfer.model_selection import image_strategies, table_strategies


def test_table_strategies():
    rng = np.random.default_rng(0)
    X_source, X = rng.normal(size=(80, 2)), rng.normal(1, 1, size=(30, 2))
    y_source, y = (X_source[:, 0] > 0).astype(int), (X[:, 0] > 1).astype(int)
    models = {
        strategy.name: strategy.build(StandardScaler(), LogisticRegression(), X_source, y_source)
        for strategy in table_strategies()
    }
    assert [s.needs_source for s in table_strategies()] == [False, True, True, True, True, True]
    fitted = {name: model.fit(X, y) for name, model in models.items()}
    assert not isinstance(models["no transfer"], WithSource)
    np.testing.assert_allclose(fitted["no transfer"][0].mean_, X.mean(axis=0))
    np.testing.assert_allclose(fitted["source only"].estimator_[0].mean_, X_source.mean(axis=0))
    assert isinstance(fitted["source only"].estimator_[-1], LogisticRegression)
    assert isinstance(fitted["pooled"].estimator_[-1], PooledEstimator)
    assert isinstance(fitted["KMM"].estimator_[-1], KMMReweighter)
    assert isinstance(fitted["linear transfer"].estimator_[-1], TransferLogisticRegressionCV)
    predictions = {name: tuple(model.predict_proba(X)[:, 1]) for name, model in fitted.items()}
    assert len(set(predictions.values())) == len(predictions)
    labels_unknown = models["KMM without target labels"].fit(X, 1 - y).predict_proba(X)
    np.testing.assert_array_equal(labels_unknown[:, 1], predictions["KMM without target labels"])


def test_linear_transfer_of_numbers_is_a_regression():
    strategy = table_strategies()[-1]
    model = strategy.build(StandardScaler(), Ridge(), np.eye(3), np.arange(3.0))
    assert isinstance(model.estimator[-1], TransferRidgeCV)


def test_image_strategies():
    built = [
        strategy.build(LogisticRegression(), image_shape=(8, 8)) for strategy in image_strategies()
    ]
    features = [model[0] for model in built]
    assert all(isinstance(step, PretrainedFeatureTransformer) for step in features)
    assert [(step.backbone, step.weights) for step in features] == [
        (None, "default"),
        ("tiny", "default"),
        ("tiny", None),
    ]
    assert {step.image_shape for step in features} == {(8, 8)}
