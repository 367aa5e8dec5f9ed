"""What a file holds of the samples that an estimator was given."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer
from skltransfer import (
    CORAL,
    KMMReweighter,
    PooledEstimator,
    TransferClassifier,
    WithSource,
    WithTarget,
)

RNG = np.random.default_rng(0)
X, X_HELD = RNG.normal(size=(50, 3)), RNG.normal(0.3, 1, size=(40, 3))
Y, Y_HELD = (X[:, 0] > 0).astype(int), (X_HELD[:, 0] > 0).astype(int)
REWEIGHTED = KMMReweighter(LogisticRegression(), max_weight=10)


def target(X_target=X_HELD):
    return WithTarget(REWEIGHTED, X_target)


def source(X_source=X_HELD):
    return WithSource(PooledEstimator(LogisticRegression()), X_source, Y_HELD)


COMPOSITIONS = {
    "target": target,
    "source": source,
    "weights": lambda: source().set_params(source_sample_weight=X_HELD[:, 0] ** 2),
    "pipeline": lambda: make_pipeline(StandardScaler(), source()),
    "search": lambda: GridSearchCV(source(), {"estimator__estimator__C": [0.1, 1.0]}, cv=2),
    "search inside": lambda: WithTarget(
        GridSearchCV(REWEIGHTED, {"estimator__C": [0.1, 1.0]}, cv=2), X_HELD
    ),
    "voting": lambda: VotingClassifier([("a", source()), ("b", target())], voting="soft"),
    "aligner": lambda: make_pipeline(
        WithTarget(CORAL(), X_HELD), LogisticRegression(), memory=None
    ),
}


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_a_fitted_wrapper_is_saved_without_the_samples_that_it_holds(name, tmp_path):
    model = COMPOSITIONS[name]().fit(X, Y)
    path = skltransfer.save(model, tmp_path / "model")
    content = path.read_bytes()
    assert not any(row.tobytes() in content for row in X_HELD)
    twin = skltransfer.load(path)
    np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))
    skltransfer.load(skltransfer.save(twin, path)).predict(X)  # and once more
    with pytest.raises(ValueError, match=r"left out when it was saved.*set_params\(X_"):
        clone(twin).fit(X, Y)


@pytest.mark.parametrize(
    "kind", [pd.DataFrame, lambda X: pd.DataFrame(X, columns=list("abc")), pl.DataFrame]
)
def test_frames_are_left_out_too(kind, tmp_path):
    frame = kind(X)
    model = WithSource(REWEIGHTED, kind(X_HELD), pd.Series(Y_HELD)).fit(frame, Y)
    path = skltransfer.save(model, tmp_path / "model")
    np.testing.assert_array_equal(skltransfer.load(path).predict(frame), model.predict(frame))
    with pytest.raises(TypeError, match=r"X_source of WithSource is a DataFrame.*keep_data=False"):
        skltransfer.save(model, path, keep_data=True)


def test_a_loaded_wrapper_is_fitted_again_when_it_is_given_the_samples(tmp_path):
    model = source().fit(X, Y)
    twin = skltransfer.load(skltransfer.save(model, tmp_path / "model"))
    assert "X_source=<not saved>" in repr(twin)
    with pytest.raises(ValueError, match="X_source and y_source of this WithSource were left out"):
        twin.fit(X, Y)
    with pytest.raises(NotFittedError):  # as after any fit that fails
        twin.predict(X)
    with pytest.raises(ValueError, match="y_source of this WithSource was left out"):
        twin.set_params(X_source=X_HELD).fit(X, Y)
    twin.set_params(y_source=Y_HELD).fit(X, Y)
    np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, np.ndarray.tolist])
def test_the_samples_are_kept_on_request(kind, tmp_path):
    model = source(kind(X_HELD))
    path = skltransfer.save(model, tmp_path / "model", keep_data=True)
    twin = skltransfer.load(path).fit(kind(X), Y)
    np.testing.assert_array_equal(twin.predict(X), model.fit(kind(X), Y).predict(X))


def test_what_is_not_fitted_and_holds_samples_is_not_saved_without_them(tmp_path):
    for model in (source(), COMPOSITIONS["pipeline"](), COMPOSITIONS["search"]()):
        with pytest.raises(ValueError, match=r"not fitted.*X_source of WithSource.*keep_data=True"):
            skltransfer.save(model, tmp_path / "model")
    skltransfer.save(WithTarget(REWEIGHTED), tmp_path / "model")  # which holds none


def test_the_place_of_what_cannot_be_written_is_named(tmp_path):
    from sklearn.preprocessing import FunctionTransformer

    model = make_pipeline(
        FunctionTransformer(kw_args={"table": pd.DataFrame({"a": [1]})}), StandardScaler()
    )
    with pytest.raises(
        TypeError, match=r"steps\[0\]\[1\].kw_args\['table'\] is a pandas.*DataFrame"
    ):
        skltransfer.save(model, tmp_path / "model")
    model[0].kw_args = {"table": pd.DataFrame([[1]])}  # skops would write it, but not read it
    with pytest.raises(TypeError, match=r"\['table'\] is a pandas.*DataFrame"):
        skltransfer.save(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_mixture_is_saved_with_its_comparison_and_without_samples(tmp_path):
    """Frames have no form as data, and what held one could not be written."""
    rng = np.random.default_rng(0)
    X, X_source = (pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"]) for n in (20, 30))
    mixture = TransferClassifier(LogisticRegression(), strategies=["pooled"], cv=2)
    model = WithSource(mixture, X_source, (X_source.a > 0).to_numpy()).fit(X, X.a > 0)
    again = skltransfer.load(skltransfer.save(model, tmp_path / "mixture.skops"))
    comparisons = [each.estimator_.comparison_.to_frame() for each in (again, model)]
    assert comparisons[0].equals(comparisons[1])
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert X_source.a.to_numpy()[:2].tobytes() not in (tmp_path / "mixture.skops").read_bytes()
