"""Predictions of a source's model as columns, against the same written out."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.svm import LinearSVC

from skltransfer import SourceScoreTransformer


def draw(n_classes=2):
    rng = np.random.default_rng(0)
    X_source, X = rng.normal(2, 3, size=(80, 3)), rng.normal(1, 2, size=(30, 3))
    return X_source, np.arange(80) % n_classes, X, np.arange(30) % n_classes


@pytest.mark.parametrize("n_classes", [2, 3])
def test_scores_are_centred_logarithms_behind_the_columns_of_the_last_step(n_classes):
    X_source, y_source, X, y = draw(n_classes)
    source = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_source, y_source)
    transformer = SourceScoreTransformer(source).fit(X[:20])
    logs = np.log(source.predict_proba(X))
    logs = logs - logs.mean(axis=1, keepdims=True)
    logs = logs[:, 1:] if n_classes == 2 else logs
    spread = np.sqrt(((logs[:20] - logs[:20].mean(axis=0)) ** 2).mean())
    expected = np.hstack([source[0].transform(X), logs / spread])
    np.testing.assert_allclose(transformer.transform(X), expected)
    np.testing.assert_allclose(SourceScoreTransformer(source).fit_transform(X[:20]), expected[:20])
    alone = SourceScoreTransformer(source, passthrough=False).fit(X[:20]).transform(X)
    np.testing.assert_allclose(alone, expected[:, 3:])


def test_a_regressor_predicts_a_column():
    X_source, y_source, X, _ = draw()
    source = Ridge().fit(X_source, y_source)
    columns = SourceScoreTransformer(source).fit_transform(X)
    np.testing.assert_array_equal(columns[:, :3], X)
    predicted = source.predict(X)
    np.testing.assert_allclose(columns[:, 3], predicted / predicted.std())


def test_a_decision_function_stands_in_for_probabilities():
    X_source, y_source, X, _ = draw()
    source = LinearSVC().fit(X_source, y_source)
    column = SourceScoreTransformer(source, passthrough=False).fit_transform(X)[:, 0]
    decisions = source.decision_function(X)
    np.testing.assert_allclose(column, decisions / decisions.std())


def test_a_probability_of_zero_has_a_score():
    class Sure(LogisticRegression):
        def predict_proba(self, X):
            return np.round(super().predict_proba(X))

    X_source, y_source, X, _ = draw()
    source = Sure().fit(X_source, X_source[:, 0] > 2)
    assert np.isfinite(SourceScoreTransformer(source).fit_transform(X)).all()


def test_names_of_columns_and_frames():
    X_source, y_source, X, _ = draw(3)
    labels = np.array(["a", "b", "c"])[y_source]
    frame = pd.DataFrame(X_source, columns=["x", "y", "z"])
    new = frame.iloc[:5].rename(index=lambda row: row + 100)
    source = make_pipeline(StandardScaler().set_output(transform="pandas"), LogisticRegression())
    transformer = SourceScoreTransformer(source.fit(frame, labels)).fit(new)
    names = ["x", "y", "z", "source_score_a", "source_score_b", "source_score_c"]
    assert transformer.get_feature_names_out().tolist() == names
    columns = transformer.transform(new)
    assert columns.columns.tolist() == names
    assert columns.index.tolist() == new.index.tolist()
    binary = LogisticRegression().fit(pl.DataFrame(frame.to_dict("list")), labels != "a")
    columns = SourceScoreTransformer(binary).fit_transform(pl.DataFrame(new.to_dict("list")))
    assert columns.columns == [*names[:3], "source_score_True"]
    number = SourceScoreTransformer(Ridge().fit(frame, y_source), passthrough=False).fit(new)
    assert number.get_feature_names_out().tolist() == ["source_prediction_0"]


def test_sparse_samples_stay_sparse():
    X_source, y_source, X, _ = draw()
    source = make_pipeline(MaxAbsScaler(), LogisticRegression())
    source.fit(sparse.csr_matrix(X_source), y_source)
    columns = SourceScoreTransformer(source).fit_transform(sparse.csr_matrix(X))
    dense = SourceScoreTransformer(
        make_pipeline(MaxAbsScaler(), LogisticRegression()).fit(X_source, y_source)
    ).fit_transform(X)
    assert sparse.issparse(columns)
    np.testing.assert_allclose(columns.toarray(), dense)


def test_few_labels_are_enough_to_recalibrate():
    """The source's probabilities are upside down, and five labels of each class tell."""
    X_source, _, X, _ = draw()
    y_source, y = X_source[:, 0] > 2, X[:, 0] < 2
    source = LogisticRegression().fit(X_source, y_source)
    scores = SourceScoreTransformer(source, passthrough=False)
    model = make_pipeline(scores, LogisticRegression()).fit(X[:10], y[:10])
    assert model.score(X, y) > 0.9 > 0.1 > source.score(X, y)


def test_the_source_is_held_by_reference():
    X_source, y_source, X, y = draw()
    source = LogisticRegression().fit(X_source, y_source)
    coef = source.coef_.copy()
    transformer = SourceScoreTransformer(source)
    assert clone(transformer).source is source
    assert np.isfinite(
        cross_val_score(make_pipeline(transformer, LogisticRegression()), X, y)
    ).all()
    np.testing.assert_array_equal(source.coef_, coef)
    transformer.fit(X)
    again = pickle.loads(pickle.dumps(transformer)).transform(X)
    np.testing.assert_array_equal(again, transformer.transform(X))


def test_what_cannot_be_a_source():
    _, _, X, _ = draw()
    with pytest.raises(NotFittedError):
        SourceScoreTransformer(LogisticRegression()).fit(X)
    with pytest.raises(TypeError, match="source is a StandardScaler, which does not predict"):
        SourceScoreTransformer(StandardScaler().fit(X)).fit(X)
    with pytest.raises(ValueError, match="passthrough='no' is neither True nor False"):
        SourceScoreTransformer(Ridge().fit(X, X[:, 0]), passthrough="no").fit(X)
