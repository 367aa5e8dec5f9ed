"""FeatureAugmenter against regressions stacked by hand."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import DomainDataWarning, FeatureAugmenter, PooledEstimator, WithSource, WithTarget


@pytest.fixture(scope="module")
def domains():
    """Two domains with one coefficient in common and one of opposite sign."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(80, 2)), rng.normal(size=(60, 2)) + 1
    y, y_target = X @ [1.0, 2.0], X_target @ [1.0, -2.0]
    return X, y, X_target, y_target


def stacked(X, X_target):
    """Return the augmented rows of both domains, by hand."""
    zeros, target_zeros = np.zeros_like(X), np.zeros_like(X_target)
    return np.block([[X, X, zeros], [X_target, target_zeros, X_target]])


def test_source_and_target_rows_side_by_side(domains):
    """Fails if it is the identity, or if it maps both domains alike."""
    X, _, X_target, _ = domains
    augmenter = FeatureAugmenter()
    found = augmenter.fit_transform(X, X_target=X_target), augmenter.transform(X_target)
    np.testing.assert_array_equal(np.vstack(found), stacked(X, X_target))


@pytest.mark.parametrize("n_known", [15, 60])
def test_with_pooled_estimator_it_is_one_stacked_regression(domains, n_known):
    X, y, X_target, y_target = domains
    labels = np.where(np.arange(60) < n_known, y_target, np.nan)
    scaler = StandardScaler().fit(X)
    Z, Z_target = scaler.transform(X), scaler.transform(X_target)
    by_hand = Ridge(0.5).fit(
        stacked(Z, Z_target[:n_known]), np.concatenate([y, y_target[:n_known]])
    )
    expected = by_hand.predict(stacked(Z, Z_target)[len(X) :])
    pipeline = make_pipeline(StandardScaler(), FeatureAugmenter(), PooledEstimator(Ridge(0.5)))
    for model in (
        WithTarget(pipeline, X_target, labels).fit(X, y),
        WithSource(pipeline, X, y).fit(X_target, labels),
    ):
        np.testing.assert_allclose(model.predict(X_target), expected, rtol=1e-10)
        np.testing.assert_allclose(model.estimator_[-1].estimator_.coef_, by_hand.coef_, rtol=1e-9)
    # What it is for: the second coefficient differs, and the pool averages it away.
    pooled = make_pipeline(StandardScaler(), PooledEstimator(Ridge(0.5)))
    worse = WithSource(pooled, X, y).fit(X_target, labels)
    assert WithSource(pipeline, X, y).fit(X_target, labels).score(X_target, y_target) > 0.95
    assert worse.score(X_target, y_target) < 0.8


def test_classification_with_words_for_labels(domains):
    X, y, X_target, y_target = domains
    names, target_names = (np.where(v > 0, "up", "down") for v in (y, y_target))
    pipeline = make_pipeline(FeatureAugmenter(), PooledEstimator(LogisticRegression()))
    model = WithSource(pipeline, X, names).fit(X_target, target_names)
    by_hand = LogisticRegression().fit(stacked(X, X_target), np.concatenate([names, target_names]))
    expected = by_hand.predict(stacked(X, X_target)[len(X) :])
    np.testing.assert_array_equal(model.predict(X_target), expected)
    assert model.score(X_target, target_names) > 0.9


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csr_array, sparse.csc_array])
def test_sparse_rows_stay_sparse(domains, form):
    X, y, X_target, y_target = domains
    X, X_target = (np.where(np.abs(rows) > 0.8, rows, 0) for rows in (X, X_target))
    augmenter = FeatureAugmenter()
    found = augmenter.fit_transform(form(X), X_target=form(X_target))
    found_target = augmenter.transform(form(X_target))
    assert sparse.issparse(found)
    assert found.format == found_target.format == "csr"
    assert (augmenter.transform_source(form(X)) != found).nnz == 0
    assert found.nnz == 2 * np.count_nonzero(X)
    both = sparse.vstack([found, found_target]).toarray()
    np.testing.assert_array_equal(both, stacked(X, X_target))
    pipeline = make_pipeline(FeatureAugmenter(), PooledEstimator(Ridge(solver="sparse_cg")))
    model = WithSource(pipeline, form(X), y).fit(form(X_target), y_target)
    dense = WithSource(pipeline, X, y).fit(X_target, y_target)
    np.testing.assert_allclose(model.predict(form(X_target)), dense.predict(X_target), rtol=0.01)


def test_names_tell_the_blocks(domains):
    pandas = pytest.importorskip("pandas")
    X, _, X_target, _ = domains
    frame, target = (pandas.DataFrame(rows, columns=["a", "b"]) for rows in (X, X_target))
    augmenter = FeatureAugmenter().set_output(transform="pandas").fit(frame, X_target=target)
    names = ["common_a", "common_b", "source_a", "source_b", "target_a", "target_b"]
    assert list(augmenter.get_feature_names_out()) == names
    mapped = augmenter.transform(target)
    assert list(mapped.columns) == names
    np.testing.assert_array_equal(mapped[["common_a", "common_b"]], X_target)
    np.testing.assert_array_equal(mapped[["source_a", "source_b"]], 0)
    unnamed = FeatureAugmenter().fit(X, X_target=X_target)
    assert list(unnamed.get_feature_names_out()[:3]) == ["common_x0", "common_x1", "source_x0"]


def test_without_a_target_rows_and_names_stay(domains):
    X = domains[0]
    augmenter = FeatureAugmenter()
    with pytest.warns(DomainDataWarning, match="FeatureAugmenter was given no X_target"):
        np.testing.assert_array_equal(augmenter.fit_transform(X), X)
    np.testing.assert_array_equal(augmenter.transform(X), X)
    assert list(augmenter.get_feature_names_out()) == ["x0", "x1"]
