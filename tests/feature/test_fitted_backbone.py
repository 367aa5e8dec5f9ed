"""A fitted estimator in front of a model: its trained network goes through clones as it is."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from torch import nn

from skltransfer import (
    FineTunedClassifier,
    MultiTaskClassifier,
    PretrainedFeatureTransformer,
    SelfSupervisedTransformer,
)
from tests.rounding import assert_within_rounding

X, y = load_digits(return_X_y=True)
X, y = X[:240] / 16, y[:240]
OLD = X[y < 5], y[y < 5]
NEW = X[y >= 5], y[y >= 5]
SETTINGS = {"hidden_layer_sizes": (12,), "max_epochs": 30}


@pytest.fixture(scope="module")
def source():
    return FineTunedClassifier(**SETTINGS).fit(*OLD)


def model_on(backbone, **settings):
    features = PretrainedFeatureTransformer(backbone, precision="float64", **settings)
    return make_pipeline(features, LogisticRegression(max_iter=500))


def test_clone_shares_a_fitted_backbone_and_an_unfitted_one(source):
    transformer = clone(PretrainedFeatureTransformer(source))
    assert transformer.backbone is source
    features = transformer.set_params(precision="float64").fit_transform(NEW[0])
    assert_within_rounding(features, source.transform(NEW[0]))
    unfitted = FineTunedClassifier()
    assert clone(PretrainedFeatureTransformer(unfitted)).backbone is unfitted


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_cross_validation_is_that_of_explicit_features(source, n_jobs):
    explicit = source.transform(NEW[0])
    expected = cross_val_predict(
        LogisticRegression(max_iter=500), explicit, NEW[1], cv=3, method="predict_proba"
    )
    model = model_on(source)
    found = cross_val_predict(model, *NEW, cv=3, method="predict_proba", n_jobs=n_jobs)
    assert_within_rounding(found, expected)
    # Neither pixels nor the untrained network give that.
    untrained = clone(source).set_params(max_epochs=1, lr=1e-30, optimizer="adamw").fit(*OLD)
    for other in (None, untrained):
        scores = cross_val_predict(model_on(other), *NEW, cv=3, method="predict_proba")
        assert np.abs(scores - expected).max() > 1e-3


def test_a_search_behind_a_fitted_backbone_is_that_of_explicit_features(source):
    grid = {"C": [0.001, 0.1, 10.0]}
    expected = GridSearchCV(LogisticRegression(max_iter=500), grid, cv=3, error_score="raise")
    expected.fit(source.transform(NEW[0]), NEW[1])
    grid = {f"logisticregression__{name}": values for name, values in grid.items()}
    search = GridSearchCV(model_on(source), grid, cv=3, error_score="raise").fit(*NEW)
    for name in ("mean_test_score", "std_test_score", "rank_test_score"):
        np.testing.assert_array_equal(search.cv_results_[name], expected.cv_results_[name])
    assert search.best_estimator_[0].backbone is source


def test_a_search_over_fitted_backbones_takes_them_frozen(source):
    """A search clones its candidates, which would be fitted no more."""
    wide = FineTunedClassifier(hidden_layer_sizes=(24,), max_epochs=30).fit(*OLD)
    grid = {"pretrainedfeaturetransformer__backbone": [source, wide]}
    with pytest.raises(NotFittedError, match=r"wrap a fitted candidate in a .*FrozenEstimator"):
        GridSearchCV(model_on(None), grid, cv=3, error_score="raise").fit(*NEW)
    grid = {name: [FrozenEstimator(value) for value in values] for name, values in grid.items()}
    search = GridSearchCV(model_on(None), grid, cv=3, error_score="raise").fit(*NEW)
    expected = [
        cross_val_score(
            LogisticRegression(max_iter=500), backbone.transform(NEW[0]), NEW[1], cv=3
        ).mean()
        for backbone in (source, wide)
    ]
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], expected)


def test_parameters_of_a_held_estimator_are_not_set_through_its_holders(source):
    """Clones share it: a search would change the caller's estimator, and no feature."""
    for holder in (PretrainedFeatureTransformer(source), FineTunedClassifier(source)):
        assert not any(name.startswith("backbone__") for name in holder.get_params())
        assert holder.get_params()["backbone"] is source
        with pytest.raises(ValueError, match=r"'backbone__max_epochs' is a parameter of the est"):
            clone(holder).set_params(backbone__max_epochs=1)
    grid = {"pretrainedfeaturetransformer__backbone__max_epochs": [1, 2]}
    with pytest.raises(ValueError, match="which clones share as it was fitted"):
        GridSearchCV(model_on(source), grid, cv=3, error_score="raise").fit(*NEW)
    assert source.max_epochs == SETTINGS["max_epochs"]
    with pytest.raises(ValueError, match="Invalid parameter 'backbones'"):
        PretrainedFeatureTransformer(source).set_params(backbones=None)


def test_a_fitted_pipeline_is_pickled_with_its_backbone(source):
    model = model_on(source).fit(*NEW)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.predict_proba(NEW[0]), model.predict_proba(NEW[0]))


def test_a_backbone_that_was_fitted_again_is_noticed():
    source = FineTunedClassifier(**SETTINGS).fit(*OLD)
    model = model_on(source).fit(*NEW)
    source.fit(*NEW)
    with pytest.raises(ValueError, match="not the weights that this transformer was fitted"):
        model.predict(NEW[0])
    before = joblib.hash(source.transform(NEW[0]))
    clone(model).fit(*NEW)
    assert joblib.hash(source.transform(NEW[0])) == before


@pytest.mark.parametrize("other", [X[:, :1], X[:, :5], X.reshape(-1, 1, 64), X.reshape(-1, 8, 8)])
def test_rows_of_another_width_are_refused(source, other):
    """Nor is the only column repeated, or each line of an image taken for a row of the table."""
    for backbone in (source, SelfSupervisedTransformer(max_epochs=1).fit(X)):
        with pytest.raises(ValueError, match="cannot take rows of shape .*was trained on 64 col"):
            PretrainedFeatureTransformer(backbone).fit(other)


def test_a_network_for_several_tasks_is_a_backbone():
    tasks = np.column_stack([OLD[1] % 2, OLD[1] > 2])
    source = MultiTaskClassifier("network", **SETTINGS).fit(OLD[0], tasks)
    transformer = PretrainedFeatureTransformer(source, precision="float64")
    features = clone(transformer).fit_transform(NEW[0])
    assert features.shape == (len(NEW[0]), 12)
    scores = cross_val_predict(model_on(source), *NEW, cv=3, method="predict_proba")
    expected = cross_val_predict(
        LogisticRegression(max_iter=500), features, NEW[1], cv=3, method="predict_proba"
    )
    assert_within_rounding(scores, expected)


def test_a_module_is_shared_and_not_changed():
    module = nn.Sequential(nn.Linear(64, 8), nn.Tanh())
    assert module.training
    transformer = clone(PretrainedFeatureTransformer(module))
    assert transformer.backbone is module
    before = [p.detach().clone() for p in module.parameters()]
    transformer.fit_transform(NEW[0].astype(np.float32))
    assert module.training and all(p.requires_grad for p in module.parameters())
    assert all((a == b).all() for a, b in zip(before, module.parameters(), strict=True))
