"""Weights that leave a fit little to learn from: what is reported, and what is not."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    EffectiveSampleSizeWarning,
    KMMReweighter,
    LabelShiftReweighter,
    NearestNeighborsReweighter,
    PooledEstimator,
    SourceSelector,
)
from skltransfer.instance._collapse import hardly_differ, lost_classes


@pytest.fixture(scope="module")
def drift():
    """Three clouds, of which the third one's target lies among the source's others."""
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 60)
    X = rng.normal(np.array([[0, 0], [4, 0], [0, 8]])[np.repeat([0, 1, 2], 60)])
    X_target = rng.normal(np.array([[0, 0], [4, 0], [2, 0]])[np.repeat([0, 1, 2], 30)])
    return X, y, X_target


def caught(model, *args, **kwargs):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(*args, **kwargs)
    return [str(w.message) for w in caught if w.category is EffectiveSampleSizeWarning]


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2),
    ],
    ids=["plain", "pipeline", "search"],
)
def test_a_class_without_weight_is_named(drift, estimator):
    X, y, X_target = drift
    model = NearestNeighborsReweighter(estimator)
    (message,) = caught(model, X, y, X_target=X_target)
    assert model.effective_sample_size_ > 50  # many rows are left
    assert "a tenth of its share of the source to class 'c', which" in message


def test_selected_rows_are_reported_too(drift):
    X, y, X_target = drift
    selector = SourceSelector(LogisticRegression(), NearestNeighborsReweighter(), keep=0.5)
    (message,) = caught(selector, X, y, X_target=X_target)
    assert "SourceSelector" in message
    assert "class 'c'" in message


def test_known_labels_of_the_target_keep_a_class_in_the_fit(drift):
    X, y, X_target = drift
    y_target = np.repeat([None, None, "c"], 30)
    model = NearestNeighborsReweighter(LogisticRegression())
    assert caught(model, X, y, X_target=X_target, y_target=y_target) == []


def test_weights_that_keep_all_classes_are_not_reported(drift):
    X, y, X_target = drift
    codes = np.arange(180) % 3  # in each cloud
    for model in (
        NearestNeighborsReweighter(LogisticRegression()),
        PooledEstimator(LogisticRegression()),
    ):
        assert caught(model, X, codes, X_target=X_target, y_target=[np.nan] * 90) == []
    assert caught(NearestNeighborsReweighter(), X, y, X_target=X_target) == []  # no estimator


def test_the_text_does_not_change_with_the_numbers(drift):
    """Python shows a warning once per text."""
    X, y, X_target = drift
    messages = {
        caught(NearestNeighborsReweighter(LogisticRegression()), X[i:], y[i:], X_target=X_target)[0]
        for i in range(3)
    }
    kmm = KMMReweighter(gamma=5.0, max_weight=1000)
    messages |= {caught(kmm, X[i:], X_target=X[50:51])[0] for i in range(3)}
    assert len(messages) == 2


def test_labels_of_a_regression_that_hardly_differ(drift):
    X, _, X_target = drift
    y = np.where(X[:, 1] > 4, X[:, 1], 0.01 * X[:, 0])
    (message,) = caught(NearestNeighborsReweighter(Ridge()), X, y, X_target=X_target)
    assert "labels hardly differ" in message
    assert caught(NearestNeighborsReweighter(Ridge()), X, X[:, 0], X_target=X_target) == []
    both = np.column_stack([X[:, 0], y])
    assert len(caught(NearestNeighborsReweighter(Ridge()), X, both, X_target=X_target)) == 1


def test_shares_by_hand():
    labels, before = np.array([0, 0, 1, 1, 2]), np.array([1.0, 1.0, 1.0, 1.0, 0.0])
    assert lost_classes(labels, before, np.array([9.0, 0.5, 0.5, 0.5, 0.0])) == []  # 2/21 of all
    assert lost_classes(labels, before, np.array([9.0, 10.5, 0.5, 0.4, 0.0])) == [1]
    assert lost_classes(labels.astype(object), before, before * 1e-200) == []
    assert not hardly_differ(np.arange(3.0), np.ones(3), np.array([1.0, 0.0, 1.0]))
    assert hardly_differ(np.arange(3.0), np.ones(3), np.array([1.0, 0.001, 0.0]))
    assert not hardly_differ(np.ones(3), np.ones(3), np.ones(3))


@pytest.mark.parametrize("method", ["em", "bbse", "rlls"])
def test_a_share_estimated_as_zero_is_named(drift, method):
    X, y, _ = drift
    model = LabelShiftReweighter(LogisticRegression(), method=method, regularization=0.0)
    (message,) = caught(model, X, y, X_target=X[:120])
    assert "a share of 0 in the target (target_class_prior_) for class 'c'" in message
    assert model.target_class_prior_[2] == pytest.approx(0, abs=1e-6)
    # A small share is an estimate like another.
    assert caught(model, X, y, X_target=np.concatenate([X[:120], X[120:125]])) == []
