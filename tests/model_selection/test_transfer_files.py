"""A fitted mixture in a file."""

import numpy as np

from skltransfer import TransferClassifier, WithSource, load, save


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
    assert own.comparison_ is not None and mixture.comparison_ is None  # it holds the samples
