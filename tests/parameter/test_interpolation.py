"""Weights between two models: the ends, the middle by hand, and the function between."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import skltransfer
from skltransfer import (
    FineTunedClassifier,
    FineTunedRegressor,
    PretrainedFeatureTransformer,
    SelfSupervisedTransformer,
    TransferLogisticRegression,
    interpolate_weights,
)

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
Y3 = np.array(["a", "b", "c"])[np.argmax(X @ rng.normal(size=(4, 3)), axis=1)]
Y2 = Y3 == "a"
SIMPLE = {"max_epochs": 3, "random_state": 0}


def small_network():
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Tanh())


@pytest.mark.parametrize("y", [Y2, Y3])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_scores_of_linear_models_are_interpolated(y, share):
    start = LogisticRegression(C=0.01).fit(X, y)
    tuned = TransferLogisticRegression(start, alpha=0.1).fit(X[:20], y[:20])
    before = tuned.coef_.copy()
    model = interpolate_weights(start, tuned, share)
    ends = [m.decision_function(X) for m in (start, tuned)]
    expected = (1 - share) * ends[0] + share * ends[1]
    np.testing.assert_allclose(model.decision_function(X), expected, atol=1e-12)
    assert type(model) is TransferLogisticRegression and (tuned.coef_ == before).all()
    assert np.abs(ends[0] - ends[1]).max() > 0.1


ONE_OUTPUT, TWO_OUTPUTS = np.array([1, 2, 3, 4]), np.array([[1, 5], [2, 6], [3, -7], [4, 8]])


@pytest.mark.parametrize("slopes", [ONE_OUTPUT, TWO_OUTPUTS])
@pytest.mark.parametrize(
    ("start", "tuned"),
    [
        (Ridge(100.0), Ridge(0.1)),
        (Ridge(100.0), Ridge(0.1, fit_intercept=False)),
        (Ridge(100.0), PLSRegression(1)),
        (PLSRegression(1), Ridge(0.1)),
    ],
)
def test_regressors_one_output_or_several(slopes, start, tuned):
    shifted = X + 2
    y = shifted @ slopes + 5
    start, tuned = clone(start).fit(shifted, y), clone(tuned).fit(shifted, y)
    for share in (0.25, 1.0):
        model = interpolate_weights(start, tuned, share)
        expected = (1 - share) * start.predict(shifted) + share * tuned.predict(shifted)
        np.testing.assert_allclose(model.predict(shifted), expected)


def test_classes_and_features_are_matched_by_name():
    frame = pd.DataFrame(X, columns=list("pqrs"))
    start = LogisticRegression(C=0.1).fit(frame[list("srqp")], Y3)
    kept = Y3 != "b"
    tuned = RidgeClassifier().fit(frame[kept], Y3[kept])
    model = interpolate_weights(start, tuned, 0.5)
    difference = (start.coef_[2] - start.coef_[0])[::-1]
    np.testing.assert_allclose(
        np.ravel(model.coef_), 0.5 * difference + 0.5 * np.ravel(tuned.coef_)
    )
    with pytest.raises(ValueError, match=r"start does not know the classes \['b'\]"):
        interpolate_weights(tuned, start)


def test_networks_of_one_structure(tmp_path):
    start = FineTunedClassifier(small_network, strategy="linear_probe", **SIMPLE).fit(X, Y3)
    tuned = FineTunedClassifier(small_network, strategy="lp_ft", **SIMPLE).fit(X, Y3)
    for end, share in ((start, 0.0), (tuned, 1.0)):
        model = interpolate_weights(start, tuned, share)
        np.testing.assert_allclose(model.predict_proba(X), end.predict_proba(X), atol=1e-6)
    middle = interpolate_weights(start, tuned, 0.5)
    for name, tensor in middle.network_.state_dict().items():
        if tensor.is_floating_point():
            ends = [m.network_.state_dict()[name] for m in (start, tuned)]
            torch.testing.assert_close(tensor, (ends[0] + ends[1]) / 2)
    for end in (start, tuned):
        assert np.abs(middle.predict_proba(X) - end.predict_proba(X)).max() > 1e-3
    twin = skltransfer.load(
        skltransfer.save(middle, tmp_path / "model.skops"), trusted=[small_network]
    )
    np.testing.assert_allclose(twin.predict_proba(X), middle.predict_proba(X), atol=1e-6)
    record = middle.__skltransfer_backbone__()
    features = PretrainedFeatureTransformer(record).fit_transform(X.astype(np.float32))
    np.testing.assert_allclose(features, middle.transform(X), atol=1e-5)


def test_frozen_networks_of_other_weights_share_no_features():
    images = np.random.default_rng(1).random((24, 64))
    y = np.arange(24) % 2
    start, tuned = (
        FineTunedClassifier(
            "tiny", strategy="linear_probe", weights=None, image_shape=(8, 8), max_epochs=2,
            random_state=seed,
        ).fit(images, (y + seed) % 2)
        for seed in (0, 1)
    )  # fmt: skip
    ends = [end.predict_proba(images) for end in (start, tuned)]
    for end, share in zip(ends, (0.0, 1.0), strict=True):
        found = interpolate_weights(start, tuned, share).predict_proba(images)
        np.testing.assert_allclose(found, end, atol=1e-5)
    assert np.abs(ends[0] - ends[1]).max() > 0.9


def test_a_linear_model_is_the_output_layer_of_the_start():
    features = PretrainedFeatureTransformer(small_network, store=None)
    tuned = FineTunedClassifier(small_network, **SIMPLE).fit(X, Y2)
    start = make_pipeline(features, LogisticRegression()).fit(X, Y2)
    model = interpolate_weights(start[-1], tuned, 0.0)
    np.testing.assert_allclose(model.predict_proba(X), start.predict_proba(X), atol=1e-5)
    model = interpolate_weights(start[-1], tuned, 1.0)
    np.testing.assert_allclose(model.predict_proba(X), tuned.predict_proba(X), atol=1e-6)
    wide = LogisticRegression().fit(X, Y2)
    with pytest.raises(ValueError, match="coefficients for 4 features, and the network .* has 8"):
        interpolate_weights(wide, tuned)
    other = FineTunedClassifier(small_network, head="mlp", **SIMPLE).fit(X, Y2)
    with pytest.raises(TypeError, match="which can begin only the network"):
        interpolate_weights(start[-1], other)
    with pytest.raises(ValueError, match="The networks of start and tuned differ"):
        interpolate_weights(other, tuned)


def test_what_cannot_be_interpolated():
    line = LogisticRegression().fit(X, Y2)
    with pytest.raises(ValueError, match="share=1.5 is not a number from 0 to 1"):
        interpolate_weights(line, line, 1.5)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y2)
    with pytest.raises(TypeError, match=r"start is a Pipeline.*Pass start\[-1\]"):
        interpolate_weights(pipeline, line)
    search = GridSearchCV(LogisticRegression(), {"C": [1.0]}).fit(X, Y2)
    with pytest.raises(TypeError, match="tuned is a GridSearchCV, which holds its linear model"):
        interpolate_weights(line, search)
    with pytest.raises(ValueError, match="both classifiers, or both regressors"):
        interpolate_weights(Ridge().fit(X, X[:, 0]), line)
    with pytest.raises(ValueError, match="start has 2 outputs, and tuned has 1"):
        interpolate_weights(Ridge().fit(X, X[:, :2]), Ridge().fit(X, X[:, 0]))
    with pytest.raises(TypeError, match="tuned is a SVC, which .* computes its coefficients"):
        interpolate_weights(line, SVC(kernel="linear").fit(X, Y2))
    with pytest.raises(ValueError, match="start has coefficients for 3 features, and tuned has 4"):
        interpolate_weights(LogisticRegression().fit(X[:, :3], Y2), line)
    with pytest.raises(TypeError, match="which can begin only the network of a classifier"):
        number = FineTunedRegressor(small_network, **SIMPLE).fit(X, X[:, 0])
        interpolate_weights(Ridge().fit(X, X[:, 0]), number)
    numbers = [FineTunedRegressor(**SIMPLE).fit(X[:n], X[:n, 0]) for n in (30, 60)]
    with pytest.raises(ValueError, match="standardised their labels in another way"):
        interpolate_weights(*numbers)
    no_labels = SelfSupervisedTransformer(method="masked", max_epochs=1).fit(X)
    with pytest.raises(TypeError, match="tuned is a SelfSupervisedTransformer, which has no coef_"):
        interpolate_weights(no_labels, no_labels)
