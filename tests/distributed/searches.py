"""A search that is the same on every engine of joblib."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    CORAL,
    FeatureStore,
    FineTunedClassifier,
    PretrainedFeatureTransformer,
    WithTarget,
)

X, Y = load_digits(n_class=3, return_X_y=True)
X, Y = X[:60] / 16, Y[:60]


class TableBackbone(FineTunedClassifier):
    """A name of its own, so that the class is pickled by reference to this module."""


def search():
    """Return a search over frozen features, over two domains and over a trained network.

    One search, because each starts workers of its own on some engines.
    """
    features = PretrainedFeatureTransformer("tiny", image_shape=(8, 8), store=FeatureStore())
    frozen = make_pipeline(features, StandardScaler(), LogisticRegression())
    aligned = make_pipeline(StandardScaler(), CORAL(), LogisticRegression())
    source = FineTunedClassifier(max_epochs=3, optimizer="adamw").fit(X, Y)
    trained = TableBackbone(source, optimizer="adamw", batch_size=16, max_epochs=2)
    grid = [
        {"model": [frozen], "model__logisticregression__C": [0.1, 1]},
        {
            "model": [WithTarget(aligned, X_target=X[20:] + 0.1)],
            "model__estimator__logisticregression__C": [0.1, 1],
        },
        {"model": [trained], "model__lr": [1e-3, 1e-2]},
    ]
    return GridSearchCV(Pipeline([("model", frozen)]), grid, cv=2)


def scores_of(search):
    """Fit a search, and return the scores of its fits, shape (n_candidates, 2)."""
    search.fit(X, Y)
    scores = np.column_stack([search.cv_results_[f"split{i}_test_score"] for i in range(2)])
    assert scores.shape == (6, 2)
    assert np.isfinite(scores).all()
    return scores
