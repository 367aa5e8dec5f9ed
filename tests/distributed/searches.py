"""Searches that are the same on every engine of joblib."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
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


def searches():
    """Return searches over frozen features, over two domains and over a trained network."""
    features = PretrainedFeatureTransformer("tiny", image_shape=(8, 8), store=FeatureStore())
    pipeline = make_pipeline(features, StandardScaler(), LogisticRegression())
    aligned = make_pipeline(StandardScaler(), CORAL(), LogisticRegression())
    source = FineTunedClassifier(max_epochs=3, optimizer="adamw").fit(X, Y)
    return {
        "features": GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1]}, cv=2),
        "two domains": GridSearchCV(
            WithTarget(aligned, X_target=X[20:] + 0.1),
            {"estimator__logisticregression__C": [0.1, 1]},
            cv=2,
        ),
        "trained": GridSearchCV(
            TableBackbone(source, optimizer="adamw", batch_size=16, max_epochs=2),
            {"lr": [1e-3, 1e-2]},
            cv=2,
        ),
    }


def results_of(search):
    """Fit a search, and return its scores with the predictions of the best estimator."""
    search.fit(X, Y)
    scores = [search.cv_results_[f"split{i}_test_score"] for i in range(2)]
    return np.array(scores), search.predict_proba(X)
