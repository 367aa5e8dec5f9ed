"""Fitted mixtures and strategies in files."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import TransferClassifier, WithSource, load, save
from skltransfer.model_selection import TransferTask, mixture_strategies, table_strategies


def test_a_mixture_is_saved_with_what_it_knows_of_itself(tmp_path):
    rng = np.random.default_rng(0)
    X_source, X = rng.normal(size=(40, 3)), rng.normal(size=(20, 3))
    y_source, y = np.arange(40) % 2, np.arange(20) % 2
    names = ["source only", "recalibrated source", "pooled", "anchored"]
    model = WithSource(TransferClassifier(strategies=names), X_source, y_source).fit(X, y)
    save(model, tmp_path / "model.skops")
    again = load(tmp_path / "model.skops")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    mixture, own = again.estimator_, model.estimator_
    assert mixture.weights_ == own.weights_
    assert mixture.gain_ == own.gain_ and mixture.gain_.low == own.gain_.low
    assert mixture.comparison_.summary() == own.comparison_.summary()


@pytest.mark.filterwarnings("ignore")  # of fits on so few samples
def test_every_strategy_of_the_menu_is_loaded_as_it_was_fitted(tmp_path):
    """What `compare` recommends is what `predict` has to read."""
    rng = np.random.default_rng(0)
    X_source, X = rng.normal(size=(60, 3)), rng.normal(size=(30, 3))
    y_source, y = (X_source[:, 0] > 0).astype(int), (X[:, 0] > 0).astype(int)
    task = TransferTask(make_pipeline(StandardScaler(), LogisticRegression()), X_source, y_source)
    for strategy in [*table_strategies("classification"), *mixture_strategies(task)]:
        model = strategy.build(task).fit(X, y)
        again = load(save(model, tmp_path / "model.skops"))
        np.testing.assert_array_equal(again.predict(X), model.predict(X), err_msg=strategy.name)
