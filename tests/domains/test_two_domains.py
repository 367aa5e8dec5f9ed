"""The beginning of every two-domain fit, and where its warnings point."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    DomainDataWarning,
    KMMReweighter,
    PooledEstimator,
    TrAdaBoostClassifier,
    WithSource,
    WithTarget,
)
from skltransfer.domains._two_domains import given_target, join_labelled, labelled_rows

X, Y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1])
TARGET = np.array([[5.0], [6.0], [7.0]])


def test_the_target_is_unwrapped_and_labels_alone_are_refused():
    assert given_target(None, None) == (None, None)
    X_target, y_target = given_target((TARGET,), ([0, 1, None],))
    assert X_target is TARGET
    assert y_target == [0, 1, None]
    for rows in (sparse.csc_matrix(TARGET), sparse.coo_array(TARGET)):
        assert given_target(rows, None)[0].format == "csr"
    with pytest.raises(ValueError, match="y_target was given without X_target"):
        given_target(None, [0])


def test_labelled_rows_are_those_with_a_known_label_of_the_type_of_the_source():
    rows, labels, weights = labelled_rows(TARGET, [np.nan, 1.0, 0.0], Y, np.array([1.0, 2, 3]))
    np.testing.assert_array_equal(rows, [[6.0], [7.0]])
    np.testing.assert_array_equal(labels, [1, 0])
    np.testing.assert_array_equal(weights, [2, 3])
    assert labels.dtype == Y.dtype
    for unknown in (None, [None] * 3, [np.nan] * 3):
        assert labelled_rows(TARGET, unknown, Y) == (None, None, None)


def test_labelled_target_rows_join_the_source_with_weight_one():
    weights = np.array([1.0, 2.0, 0.0, 3.0])
    labelled = labelled_rows(TARGET, [None, 1, None], Y)
    joined = join_labelled(X, Y, weights, labelled)
    np.testing.assert_array_equal(joined[0], [[0.0], [1.0], [2.0], [3.0], [6.0]])
    np.testing.assert_array_equal(joined[1], [0, 1, 0, 1, 1])
    np.testing.assert_array_equal(joined[2], [1, 2, 0, 3, 1])
    assert join_labelled(X, Y, None, labelled)[2] is None
    assert join_labelled(X, Y, weights, (None, None, None)) == (X, Y, weights)


ESTIMATORS = {
    "reweighter": KMMReweighter(LogisticRegression()),
    "pooled": PooledEstimator(LogisticRegression()),
    "boosting": TrAdaBoostClassifier(n_estimators=2),
    "pipeline": make_pipeline(StandardScaler(), PooledEstimator(LogisticRegression())),
    "wrapper": WithTarget(LogisticRegression()),
    "in a wrapper": WithSource(PooledEstimator(LogisticRegression())),
    "search": GridSearchCV(PooledEstimator(LogisticRegression()), {"estimator__C": [1.0]}, cv=2),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_missing_domain_is_reported_at_the_line_that_calls_fit(name):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ESTIMATORS[name].fit(X, Y)
    found = [each for each in caught if each.category is DomainDataWarning]
    assert found
    assert {each.filename for each in found} == {__file__}


@pytest.mark.parametrize("name", ["pooled", "boosting"])
def test_a_target_without_labels_is_reported_at_the_line_that_calls_fit(name):
    for y_target in (None, [None] * 3):
        with pytest.warns(DomainDataWarning, match="no label of a target row") as caught:
            ESTIMATORS[name].fit(X, Y, X_target=TARGET, y_target=y_target)
        assert [each.filename for each in caught] == [__file__]
