"""Numbers that a network cannot compute with, and batches that normalisation cannot learn from."""

import numpy as np
import pandas as pd
import pytest
from torch import nn

from skltransfer import (
    DeepCORALClassifier,
    FineTunedClassifier,
    MultiTaskRegressor,
    PretrainedFeatureTransformer,
    RegularizedTransferRegressor,
    SelfSupervisedTransformer,
)
from skltransfer.persistence import export_onnx

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.arange(12) % 2
LARGE = X.copy()
LARGE[3, 1] = 1e39
ONE = {"precision": "float32", "max_epochs": 1}


class Normalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(3, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.layer(x))


@pytest.mark.parametrize(
    "fit",
    [
        lambda: FineTunedClassifier(**ONE).fit(LARGE, Y),
        lambda: FineTunedClassifier(strategy="linear_probe", **ONE).fit(LARGE, Y),
        lambda: FineTunedClassifier(**ONE).fit(X, Y).predict(LARGE),
        lambda: FineTunedClassifier(**ONE).partial_fit(LARGE, Y, classes=[0, 1]),
        lambda: RegularizedTransferRegressor(**ONE).fit(LARGE, Y),
        lambda: SelfSupervisedTransformer(**ONE).fit(LARGE),
        lambda: MultiTaskRegressor("network", task_column=2, **ONE).fit(
            np.column_stack([LARGE[:, :2], Y]), Y
        ),
        lambda: DeepCORALClassifier(FineTunedClassifier(**ONE)).fit(X, Y, X_target=LARGE),
        lambda: PretrainedFeatureTransformer(Normalised).fit(LARGE),
        lambda: PretrainedFeatureTransformer(Normalised).fit(X).transform(LARGE),
    ],
)
def test_columns_beyond_float32_are_refused(fit):
    with pytest.raises(ValueError, match="Column 1 of X .*float32.*StandardScaler.*float64"):
        fit()


def test_the_column_is_named_and_float64_takes_it():
    frame = pd.DataFrame(LARGE, columns=["a", "b", "c"])
    with pytest.raises(ValueError, match="Column 'b' of X"):
        FineTunedClassifier(**ONE).fit(frame, Y)
    model = FineTunedClassifier(max_epochs=1).fit(frame, Y)
    assert np.isfinite(model.predict_proba(frame)).all()
    features = PretrainedFeatureTransformer(Normalised, precision="float64").fit_transform(LARGE)
    assert np.isfinite(features).all()


def test_features_that_overflow_name_their_row():
    module = nn.Linear(3, 2)
    nn.init.constant_(module.weight, 1e3)
    large = X.copy()
    large[5] = 1e37
    with pytest.raises(ValueError, match="NaN or infinity for row 5, in float32.*wider precision"):
        PretrainedFeatureTransformer(module).fit_transform(large)


@pytest.mark.parametrize("n_target", [1, 2])
def test_one_sample_of_a_domain_is_too_few_for_batch_normalisation(n_target):
    model = DeepCORALClassifier(FineTunedClassifier(Normalised, max_epochs=1))
    if n_target == 2:
        assert model.fit(X, Y, X_target=X[:2]).predict(X).shape == (12,)
        return
    with pytest.raises(ValueError, match="one of its domain.*norm_statistics='keep'"):
        model.fit(X, Y, X_target=X[:1])
    with pytest.raises(ValueError, match="A batch has one sample"):
        FineTunedClassifier(Normalised, max_epochs=1, batch_size=1, optimizer="adamw").fit(X, Y)


def test_an_export_of_deep_coral_says_what_to_export(tmp_path):
    model = DeepCORALClassifier(FineTunedClassifier(max_epochs=1)).fit(X, Y, X_target=X[:4])
    with pytest.raises(TypeError, match="pass its attribute estimator_"):
        export_onnx(model, tmp_path / "model.onnx", X)
