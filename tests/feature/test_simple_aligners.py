"""What CORAL, the subspace methods and the augmenter share."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    CORAL,
    DomainDataWarning,
    FeatureAugmenter,
    GeodesicFlowKernel,
    SubspaceAlignment,
    WithSource,
    WithTarget,
    load,
    save,
)
from tests.rounding import assert_within_rounding

EVERY = [
    CORAL(),
    CORAL(shrinkage="ledoit_wolf", reg_covar=0, match_means=False),
    SubspaceAlignment(n_components=2),
    SubspaceAlignment(n_components=0.8),
    GeodesicFlowKernel(n_components=2),
    GeodesicFlowKernel(n_components=0.6),
    FeatureAugmenter(),
]
every = pytest.mark.parametrize("aligner", EVERY, ids=str)
SETTINGS = {
    CORAL: {"shrinkage": [0.0, 0.5, "ledoit_wolf"]},
    SubspaceAlignment: {"n_components": [1, 2, 3]},
    GeodesicFlowKernel: {"n_components": [1, 2, 3]},
    FeatureAugmenter: {},
}


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    turn = rng.normal(size=(4, 4))
    X = rng.normal(size=(90, 4)) * [4, 3, 1, 0.5] + 2
    X_target = (rng.normal(size=(70, 4)) * [4, 3, 1, 0.5]) @ turn + 5
    y, y_target = X[:, 0] > 2, (X_target - 5) @ np.linalg.inv(turn)[:, 0] > 0
    for rows in (X, X_target, y, y_target):
        rows.flags.writeable = False
    return X, y.astype(int), X_target, y_target.astype(int)


@every
def test_it_changes_rows_and_maps_the_domains_by_their_own_maps(domains, aligner):
    X, _, X_target, _ = domains
    mapped = aligner.fit_transform(X, X_target=X_target)
    as_target = aligner.transform(X)
    np.testing.assert_array_equal(aligner.transform_source(X), mapped)
    assert mapped.shape == as_target.shape == (90, len(aligner.get_feature_names_out()))
    assert mapped.shape != X.shape or np.abs(mapped - X).max() > 0.1
    assert np.abs(mapped - as_target).max() > 0.1


@every
def test_fit_then_transform_is_fit_transform_without_a_target(domains, aligner):
    X = domains[0]
    with pytest.warns(DomainDataWarning, match="was given no X_target and aligns nothing"):
        mapped = clone(aligner).fit_transform(X)
    with pytest.warns(DomainDataWarning):
        fitted = clone(aligner).fit(X)
    assert_within_rounding(fitted.transform(X), mapped)  # by other products
    if isinstance(aligner, CORAL | FeatureAugmenter):
        np.testing.assert_array_equal(mapped, X)


@every
def test_fits_repeat_bit_for_bit_and_change_nothing_given(domains, aligner):
    X, _, X_target, _ = domains
    before = X.copy(), X_target.copy()
    parameters = aligner.get_params()
    first = clone(aligner).fit_transform(X, X_target=X_target)
    fitted = clone(aligner).fit(X[:50], X_target=X_target[:40])
    np.testing.assert_array_equal(fitted.fit_transform(X, X_target=X_target), first)
    assert fitted.get_params() == parameters
    for rows, original in zip((X, X_target), before, strict=True):
        np.testing.assert_array_equal(rows, original)


@every
def test_results_share_no_memory_with_what_was_given(domains, aligner):
    """A step that works in place does not reach the caller's rows."""
    X, X_target = np.array(domains[0]), np.array(domains[2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainDataWarning)
        for target in (X_target, None):
            mapped = clone(aligner).fit_transform(X, X_target=target)
            fitted = clone(aligner).fit(X, X_target=target)
            assert not np.shares_memory(mapped, X)
            assert not np.shares_memory(fitted.transform(X), X)
            assert not np.shares_memory(fitted.transform_source(X), X)


@every
@pytest.mark.parametrize("is_source_held", [True, False])
def test_behind_a_scaler(domains, aligner, is_source_held):
    """The classifier is fitted on mapped source rows and predicts from mapped target rows."""
    X, y, X_target, y_target = domains
    pipeline = make_pipeline(StandardScaler(), aligner, LogisticRegression())
    if is_source_held:
        model = WithSource(pipeline, X_source=X, y_source=y).fit(X_target, y_target)
    else:
        model = WithTarget(pipeline, X_target=X_target).fit(X, y)
    scaler = StandardScaler().fit(X)
    by_hand = clone(aligner)
    mapped = by_hand.fit_transform(scaler.transform(X), X_target=scaler.transform(X_target))
    head = LogisticRegression().fit(mapped, y)
    np.testing.assert_array_equal(model.estimator_[-1].coef_, head.coef_)
    expected = head.predict_proba(by_hand.transform(scaler.transform(X_target)))
    np.testing.assert_array_equal(model.predict_proba(X_target), expected)


@every
def test_wrappers_around_the_aligner_alone(domains, aligner):
    X, _, X_target, _ = domains
    by_hand = clone(aligner)
    mapped = by_hand.fit_transform(X, X_target=X_target)
    np.testing.assert_array_equal(WithTarget(aligner, X_target).fit_transform(X), mapped)
    found = WithSource(aligner, X).fit_transform(X_target)
    np.testing.assert_array_equal(found, by_hand.transform(X_target))


@every
def test_a_search_over_target_folds(domains, aligner):
    X, y, X_target, y_target = domains
    pipeline = make_pipeline(StandardScaler(), aligner, LogisticRegression())
    prefix = f"estimator__{type(aligner).__name__.lower()}__"
    grid = {prefix + name: values for name, values in SETTINGS[type(aligner)].items()}
    grid["estimator__logisticregression__C"] = [0.1, 1.0]
    held = WithSource(pipeline, X_source=X, y_source=y, use_y=False)
    search = GridSearchCV(held, grid, cv=3, error_score="raise").fit(X_target, y_target)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    twin = GridSearchCV(held, grid, cv=3, n_jobs=2).fit(X_target, y_target)
    np.testing.assert_array_equal(
        twin.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )


@every
def test_it_survives_pickle_and_files(domains, aligner, tmp_path):
    X, y, X_target, _ = domains
    model = WithTarget(make_pipeline(clone(aligner), LogisticRegression()), X_target).fit(X, y)
    save(model, tmp_path / "model.skops")
    for copy in (pickle.loads(pickle.dumps(model)), load(tmp_path / "model.skops")):
        np.testing.assert_array_equal(copy.predict_proba(X_target), model.predict_proba(X_target))
        old, new = model.estimator_[0], copy.estimator_[0]
        np.testing.assert_array_equal(new.transform_source(X), old.transform_source(X))


@every
def test_frames_and_names(domains, aligner):
    pandas = pytest.importorskip("pandas")
    X, _, X_target, _ = domains
    columns = ["a", "b", "c", "d"]
    frame = pandas.DataFrame(X, columns=columns)
    target = pandas.DataFrame(X_target, columns=columns)
    expected = clone(aligner).fit_transform(X, X_target=X_target)
    plain = clone(aligner).set_output(transform="pandas")
    mapped = plain.fit_transform(frame, X_target=target[["d", "b", "a", "c"]])
    np.testing.assert_allclose(mapped.to_numpy(), expected, rtol=1e-10, atol=1e-10)
    assert list(mapped.columns) == list(plain.get_feature_names_out())
    source = plain.transform_source(frame)
    np.testing.assert_array_equal(source, mapped)
    assert list(source.columns) == list(mapped.columns)
    if isinstance(aligner, CORAL):
        assert list(mapped.columns) == columns
    if isinstance(aligner, SubspaceAlignment):
        assert mapped.columns[0] == "subspacealignment0"
    with pytest.raises(ValueError, match=r"X_target lacks the columns \['d'\]"):
        clone(aligner).fit(frame, X_target=target[["a", "b", "c"]])


@every
def test_a_single_target_row(domains, aligner):
    X, _, X_target, _ = domains
    if isinstance(aligner, FeatureAugmenter):
        assert clone(aligner).fit_transform(X, X_target=X_target[:1]).shape == (len(X), 12)
    else:
        with pytest.raises(ValueError, match=r"X_target has 1 row\(s\), and .* needs at least 2"):
            clone(aligner).fit(X, X_target=X_target[:1])


@every
@pytest.mark.parametrize(
    "spoil, match",
    [
        (lambda rows: rows[:, :3], "X_target has 3 features, but the estimator is fitted on 4"),
        (lambda rows: rows[:0], "X_target has 0 rows"),
        (lambda rows: np.where(rows > 6, np.nan, rows), "Input X_target contains NaN"),
        (lambda rows: np.where(rows > 6, np.inf, rows), "Input X_target contains infinity"),
        (lambda rows: rows[0], "Expected 2D array, got 1D array"),
    ],
    ids=["width", "empty", "nan", "infinity", "one row"],
)
def test_target_rows_that_do_not_fit(domains, aligner, spoil, match):
    X, _, X_target, _ = domains
    with pytest.raises(ValueError, match=match):
        clone(aligner).fit(X, X_target=spoil(X_target))


@every
def test_float32_and_integers_are_taken(domains, aligner):
    X, _, X_target, _ = domains
    X, X_target = (10 * X).round(), (10 * X_target).round()
    expected = clone(aligner).fit_transform(X, X_target=X_target)
    for dtype in (np.float32, np.int64):
        found = clone(aligner).fit_transform(X.astype(dtype), X_target=X_target.astype(dtype))
        np.testing.assert_array_equal(found, expected)
