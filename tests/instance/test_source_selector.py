"""SourceSelector: which source rows are kept, and the fit on them."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neighbors import KDTree, KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skltransfer import (
    DiscriminativeReweighter,
    DomainDataWarning,
    EffectiveSampleSizeWarning,
    KLIEPReweighter,
    KMMReweighter,
    NearestNeighborsReweighter,
    PooledEstimator,
    SourceSelector,
    WithSource,
    WithTarget,
)
from skltransfer.instance._base import BaseReweighter
from skltransfer.instance._source_selector import in_neighborhood

ignore_few = pytest.mark.filterwarnings("ignore::skltransfer.EffectiveSampleSizeWarning")
KEEPS = [0.3, "effective", "neighbors"]


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(150, 3)), rng.normal([0.8, 0, 0], 0.6, size=(90, 3))
    y, y_target = ((Z**2)[:, 0] - Z[:, 1] for Z in (X, X_target))
    return X, y, X_target, y_target


def fit(model, domains, **keywords):
    X, y, X_target, _ = domains
    return model.fit(X, y, X_target=X_target, **keywords)


# --- which rows are kept ---------------------------------------------------------------


@ignore_few
@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.777, 1, 1.0])
def test_the_fraction_of_largest_weight_is_kept(domains, fraction):
    model = fit(SourceSelector(keep=fraction), domains)
    weights = fit(DiscriminativeReweighter(), domains).sample_weight_
    expected = np.sort(np.argsort(-weights)[: int(np.ceil(fraction * 150))])
    np.testing.assert_array_equal(np.flatnonzero(model.support_), expected)
    np.testing.assert_array_equal(model.sample_weight_, model.support_.astype(float))


def test_as_many_rows_as_the_weights_are_worth(domains):
    reweighter = DiscriminativeReweighter()
    model = fit(SourceSelector(reweighter=reweighter), domains)
    size = fit(clone(reweighter), domains).effective_sample_size_
    assert model.support_.sum() == np.ceil(size)
    assert 20 < size < 100
    weights = model.reweighter_.sample_weight_
    assert weights[model.support_].min() > weights[~model.support_].max()
    assert not hasattr(reweighter, "sample_weight_")


@pytest.mark.parametrize("k", [1, 3, 20, 500])
def test_neighbors_of_target_rows_are_kept(domains, k):
    X, _, X_target, _ = domains
    model = fit(SourceSelector(keep="neighbors", n_neighbors=k), domains)
    expected = set()
    for row in X_target:
        expected |= set(np.argsort(((X - row) ** 2).sum(axis=1))[:k])
    assert set(np.flatnonzero(model.support_)) == expected
    assert not hasattr(model, "reweighter_")


def test_neighborhoods_in_blocks():
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(2000, 8)), rng.normal(size=(2500, 8))
    _, neighbors = KDTree(X).query(T, k=3)
    for form in (np.asarray, sparse.csr_array):
        is_near = in_neighborhood(form(X), form(T), 3)
        np.testing.assert_array_equal(np.flatnonzero(is_near), np.unique(neighbors))


def test_all_rows_that_tie_are_near():
    """On a grid: as many rows tie as lie on a circle around the target row."""
    X = np.stack(np.meshgrid(*[np.arange(5.0)] * 7), axis=-1).reshape(-1, 7)[::3]
    T = X[[0, 9]] + 1e-3
    is_near = in_neighborhood(X, T, 4)
    squared = np.round(((X[None] - T[:, None]) ** 2).sum(axis=2), 9)
    expected = (squared <= np.sort(squared, axis=1)[:, 3:4]).any(axis=0)
    np.testing.assert_array_equal(is_near, expected)
    assert is_near.sum() > 10


@pytest.mark.parametrize("keep", KEEPS)
def test_the_rows_kept_resemble_the_target(domains, keep):
    """Fails if all rows, or any ones, are kept."""
    X, _, X_target, _ = domains
    kept = X[fit(SourceSelector(keep=keep), domains).support_]
    before, after = (np.linalg.norm(Z.mean(axis=0) - X_target.mean(axis=0)) for Z in (X, kept))
    assert after < 0.75 * before
    assert 10 < len(kept) < 140


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("reweighter", [None, KMMReweighter(max_weight=3)])
def test_row_order_is_irrelevant(domains, keep, reweighter):
    X, y, X_target, _ = domains
    rng = np.random.default_rng(3)
    order, target_order = rng.permutation(len(X)), rng.permutation(len(X_target))
    first = fit(SourceSelector(reweighter=reweighter, keep=keep), domains)
    second = clone(first).fit(X[order], y[order], X_target=X_target[target_order])
    np.testing.assert_array_equal(first.support_[order], second.support_)


@pytest.mark.parametrize("keep", KEEPS)
def test_a_weight_of_two_is_a_repeated_row(domains, keep):
    X, y, X_target, _ = domains
    counts = np.arange(len(X)) % 3
    rows = np.repeat(np.arange(len(X)), counts)
    kmm = KMMReweighter(max_weight=5)
    weighted = fit(SourceSelector(Ridge(), kmm, keep=keep), domains, sample_weight=counts)
    repeated = SourceSelector(Ridge(), kmm, keep=keep).fit(X[rows], y[rows], X_target=X_target)
    np.testing.assert_array_equal(weighted.support_[rows], repeated.support_)
    assert not weighted.support_[counts == 0].any()
    np.testing.assert_allclose(weighted.estimator_.coef_, repeated.estimator_.coef_)
    np.testing.assert_array_equal(weighted.sample_weight_, counts * weighted.support_)


@pytest.mark.parametrize("keep", KEEPS)
def test_ties_are_kept_together(domains, keep):
    X, _, X_target, _ = domains
    twice = np.vstack([X, X[::-1]])
    support = SourceSelector(keep=keep).fit(twice, X_target=X_target).support_
    np.testing.assert_array_equal(support[:150], support[150:][::-1])
    square = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1], [5, 5]])
    corners = SourceSelector(keep="neighbors", n_neighbors=1).fit(square, X_target=[[0.0, 0.0]])
    np.testing.assert_array_equal(corners.support_, [True] * 4 + [False])


class FirstColumn(BaseReweighter):
    """Weighs a row by its first column, or by 0 where that is negative."""

    def __init__(self, estimator=None, target_weight=1.0):
        self.estimator = estimator
        self.target_weight = target_weight

    def _weigh(self, X, y, sample_weight, X_target, target_sample_weight):
        return np.maximum(np.asarray(X)[:, 0], 0)


@pytest.mark.parametrize("keep", [0.9, 1.0])
@pytest.mark.parametrize("use_weights", [False, True])
def test_rows_of_weight_zero_are_never_kept(domains, keep, use_weights):
    model = SourceSelector(reweighter=FirstColumn(), keep=keep, use_weights=use_weights)
    positive = domains[0][:, 0] > 0
    assert 30 < positive.sum() < 120
    np.testing.assert_array_equal(fit(model, domains).support_, positive)


# --- the fit ---------------------------------------------------------------------------


@pytest.mark.parametrize("keep", KEEPS)
def test_an_estimator_without_weights_is_fitted_on_the_rows_kept(domains, keep):
    X, y, X_target, _ = domains
    model = fit(SourceSelector(KNeighborsRegressor(), keep=keep), domains)
    expected = KNeighborsRegressor().fit(X[model.support_], y[model.support_])
    np.testing.assert_array_equal(model.predict(X_target), expected.predict(X_target))
    assert (model.predict(X) != KNeighborsRegressor().fit(X, y).predict(X)).any()


@pytest.mark.parametrize("keep", KEEPS)
def test_with_weights_the_rows_kept_have_those_of_the_reweighter(domains, keep):
    X, y, X_target, y_target = domains
    partial = np.where(np.arange(90) % 3 == 0, y_target, np.nan)
    model = fit(SourceSelector(Ridge(), keep=keep, use_weights=True), domains, y_target=partial)
    weights = fit(DiscriminativeReweighter(), domains).sample_weight_
    np.testing.assert_allclose(model.sample_weight_, weights * model.support_)
    kept = model.support_
    expected = Ridge().fit(
        np.vstack([X[kept], X_target[::3]]),
        np.concatenate([y[kept], y_target[::3]]),
        sample_weight=np.concatenate([weights[kept], np.ones(30)]),
    )
    np.testing.assert_allclose(model.estimator_.coef_, expected.coef_)


def test_all_rows_with_weights_are_the_reweighter(domains):
    model = fit(SourceSelector(Ridge(), keep=1.0, use_weights=True), domains)
    expected = fit(DiscriminativeReweighter(Ridge()), domains)
    np.testing.assert_allclose(model.estimator_.coef_, expected.estimator_.coef_)


def test_all_rows_without_weights_are_the_pool(domains):
    X, y, X_target, y_target = domains
    model = fit(SourceSelector(Ridge(), keep=1.0), domains, y_target=y_target)
    pooled = PooledEstimator(Ridge()).fit(X, y, X_target=X_target, y_target=y_target)
    np.testing.assert_array_equal(model.estimator_.coef_, pooled.estimator_.coef_)


def test_selection_helps_a_misspecified_model(domains):
    X, y, X_target, y_target = domains
    plain = Ridge().fit(X, y).score(X_target, y_target)
    for keep in KEEPS:
        assert fit(SourceSelector(Ridge(), keep=keep), domains).score(X_target, y_target) > (
            plain + 0.1
        )


@ignore_few
@pytest.mark.parametrize("keep", [*KEEPS, 0.01])
def test_each_class_of_the_source_keeps_a_row(domains, keep):
    X, _, X_target, _ = domains
    names = np.where(X[:, 0] < -1.2, "far", np.where(X[:, 0] > 0, "right", "left"))
    model = SourceSelector(KNeighborsClassifier(1), keep=keep, n_neighbors=1)
    model.fit(X, names, X_target=X_target)
    assert list(model.classes_) == ["far", "left", "right"]
    bare = SourceSelector(keep=keep, n_neighbors=1).fit(X, names, X_target=X_target)
    assert not (bare.support_ & (names == "far")).any()
    added = np.flatnonzero(model.support_ & (names == "far"))
    distances = np.sqrt(((X[:, None] - X_target[None]) ** 2).sum(axis=2)).min(axis=1)
    far = np.flatnonzero(names == "far")
    np.testing.assert_array_equal(added, far[[distances[far].argmin()]])


def test_several_outputs(domains):
    X, y, X_target, _ = domains
    both = np.column_stack([y > 0, X[:, 1] > 0]).astype(int)
    model = SourceSelector(KNeighborsClassifier()).fit(X, both, X_target=X_target)
    expected = KNeighborsClassifier().fit(X[model.support_], both[model.support_])
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))


@ignore_few
def test_with_weights_a_class_keeps_a_row_that_has_one(domains):
    X, _, X_target, _ = domains
    labels = X[:, 0] < -0.5
    model = SourceSelector(LogisticRegression(), keep=0.01, use_weights=True)
    model.fit(X, labels, X_target=X_target)
    assert list(model.classes_) == [False, True]
    assert (model.sample_weight_[model.support_] > 0).all()


def test_frames_and_pipelines(domains):
    X, y, X_target, _ = domains
    frame = pd.DataFrame(X, columns=list("abc"))
    target = pd.DataFrame(X_target, columns=list("abc"))[list("cba")]
    base = make_pipeline(StandardScaler(), KNeighborsRegressor())
    model = SourceSelector(base, keep=0.5).fit(frame, pd.Series(y), X_target=target)
    expected = fit(SourceSelector(base, keep=0.5), domains)
    np.testing.assert_array_equal(model.support_, expected.support_)
    np.testing.assert_array_equal(model.predict(frame), expected.predict(X))
    assert list(model.feature_names_in_) == list("abc")


def test_without_a_target_all_rows_are_kept(domains):
    X, y, _, _ = domains
    weights = np.arange(150) % 3
    with pytest.warns(DomainDataWarning, match="SourceSelector was given no X_target") as caught:
        model = SourceSelector(KNeighborsRegressor()).fit(X, y)
    assert [each.filename for each in caught] == [__file__]
    assert model.support_.all()
    with pytest.warns(DomainDataWarning):
        model.fit(X, y, weights)
    np.testing.assert_array_equal(model.support_, weights > 0)
    rows = np.repeat(np.arange(150), weights)
    expected = KNeighborsRegressor().fit(X[rows], y[rows])
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))


def test_a_collapse_is_told_once(domains):
    X, y, X_target, _ = domains
    with pytest.warns(EffectiveSampleSizeWarning) as caught:
        SourceSelector(Ridge(), keep=0.01).fit(X, y, X_target=X_target)
    assert [each.filename for each in caught] == [__file__]
    sharp = KMMReweighter(gamma=1e-3)  # its own weights collapse; the rows kept do not
    fit(SourceSelector(Ridge(), sharp, keep="neighbors", use_weights=False), domains)


def test_nothing_given_is_changed(domains):
    arrays = [array.copy() for array in domains]
    for array in arrays:
        array.flags.writeable = False
    X, y, X_target, y_target = arrays
    inner, reweighter = Ridge(), KMMReweighter(Ridge(), max_weight=5)
    SourceSelector(inner, reweighter).fit(X, y, np.ones(150), X_target=X_target, y_target=y_target)
    assert not hasattr(inner, "coef_")
    assert isinstance(reweighter.estimator, Ridge)


# --- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"keep": 0}, ValueError, r"keep=0 is not a number from 0 \(excluded\) to 1"),
        ({"keep": 1.5}, ValueError, "keep=1.5 is not a number from 0 .* to 1 or 'effective' or"),
        ({"keep": "best"}, ValueError, "keep='best' is not"),
        ({"keep": True}, ValueError, "keep=True is not"),
        ({"n_neighbors": 0}, ValueError, "n_neighbors=0 is not an integer of at least 1"),
        ({"reweighter": Ridge()}, TypeError, r"reweighter=Ridge\(\) is not a reweighter"),
        (
            {"estimator": KNeighborsRegressor(), "use_weights": True},
            TypeError,
            "KNeighborsRegressor does not support sample_weight",
        ),
    ],
)
def test_bad_parameters_are_refused_by_name(domains, parameters, error, message):
    with pytest.raises(error, match=message):
        fit(SourceSelector(**parameters), domains)


def test_what_is_no_estimator_is_refused_before_the_work(domains):
    model = SourceSelector("ridge")
    with pytest.raises(TypeError, match="Cannot clone object ''ridge''"):
        fit(model, domains)
    assert not [name for name in vars(model) if name.endswith("_")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"X_target": np.ones((4, 2))}, "X_target has 2 features.*3.*WithTarget"),
        ({"X_target": np.ones((0, 3))}, "X_target has 0 rows"),
        ({"X_target": np.full((4, 3), np.nan)}, "Input X_target contains NaN"),
        ({"y_target": [1.0]}, "y_target was given without X_target"),
    ],
)
def test_bad_data_is_refused_by_name(domains, data, message):
    X, y, _, _ = domains
    with pytest.raises(ValueError, match=message):
        SourceSelector(Ridge()).fit(X, y, **data)


# --- in compositions -------------------------------------------------------------------


def test_compositions(domains):
    X, y, X_target, y_target = domains
    inner = make_pipeline(StandardScaler(), SourceSelector(KNeighborsRegressor()))
    held = WithTarget(inner, X_target=X_target, y_target=y_target).fit(X, y)
    swapped = WithSource(inner, X, y)
    np.testing.assert_array_equal(
        held.predict(X), clone(swapped).fit(X_target, y_target).predict(X)
    )
    scores = cross_validate(swapped, X_target, y_target, cv=3, error_score="raise")
    assert np.isfinite(scores["test_score"]).all()
    search = GridSearchCV(
        swapped,
        {"estimator__sourceselector__keep": KEEPS},
        cv=2,
        error_score="raise",
    ).fit(X_target, y_target)
    assert len(set(search.cv_results_["mean_test_score"])) > 1


def test_clone_and_pickle(domains):
    model = fit(SourceSelector(KNeighborsRegressor()), domains)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(domains[0]), model.predict(domains[0]))
    assert not hasattr(clone(model), "support_")
    model.set_params(keep="neighbors").fit(domains[0], domains[1], X_target=domains[2])
    assert not hasattr(model, "reweighter_")


@pytest.mark.parametrize(
    "settings",
    [
        {"reweighter": KMMReweighter(gamma=0.1)},
        {"reweighter": KLIEPReweighter(gamma="median"), "use_weights": True},
        {"keep": "neighbors"},
        {"reweighter": NearestNeighborsReweighter(), "keep": 0.01},
    ],
    ids=["kmm", "weights", "neighbors", "few"],
)
@ignore_few
def test_sparse_rows(settings):
    rng = np.random.default_rng(0)
    X, X_target = (rng.poisson(0.4, (n, 12)) * 0.7 for n in (80, 50))
    selector = SourceSelector(LogisticRegression(), **settings)
    y = np.arange(80) % 3
    dense = selector.fit(X, y, X_target=X_target).sample_weight_
    selector.fit(sparse.coo_array(X), y, X_target=sparse.csc_matrix(X_target))
    np.testing.assert_allclose(selector.sample_weight_, dense, rtol=1e-6)
    assert selector.__sklearn_tags__().input_tags.sparse


def test_sparse_rows_of_a_dense_reweighter_are_refused():
    X = sparse.csr_array(np.eye(6))
    with pytest.raises(TypeError, match="Sparse data was passed for X, and SourceSelector needs"):
        SourceSelector(LogisticRegression()).fit(X, np.arange(6) % 2, X_target=X)


@ignore_few
def test_texts_are_selected_by_a_classifier_that_takes_them():
    texts, y = ["good film", "bad film", "good plot", "bad plot"] * 8, [1, 0, 1, 0] * 8
    target = ["good plot", "bad plot"] * 8
    model = make_pipeline(CountVectorizer(), LogisticRegression())
    selector = SourceSelector(model, DiscriminativeReweighter(classifier=model), keep=0.5)
    selector.fit(texts, y, X_target=target)
    assert [text for text, kept in zip(texts, selector.support_, strict=True) if kept] == target
    for other in (SourceSelector(model), SourceSelector(model, keep="neighbors")):
        with pytest.raises(ValueError, match="Encode them in a step before it.*Or select by rew"):
            other.fit(texts, y, X_target=target)


@pytest.mark.parametrize("use_weights", [False, True])
@ignore_few
def test_frames_with_texts_by_a_classifier_that_takes_them(use_weights):
    rng = np.random.default_rng(0)
    X, X_target = (
        pd.DataFrame({"city": rng.choice(list("abc"), n, p=p), "age": rng.normal(size=n)})
        for n, p in ((120, [0.6, 0.3, 0.1]), (80, [0.0, 0.2, 0.8]))
    )
    encode = make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression())
    reweighter = DiscriminativeReweighter(classifier=model)
    selector = SourceSelector(model, reweighter, keep=0.1, use_weights=use_weights)
    y = (X["city"] != "a").to_numpy()
    selector.fit(X, y, X_target=X_target)
    of_a = selector.support_ & (X["city"] == "a").to_numpy()
    ratio = selector.reweighter_.sample_weight_
    assert of_a.sum() == 1  # the class would be lost
    assert ratio[of_a][0] == ratio[(X["city"] == "a").to_numpy()].max()
    assert (X["city"][selector.support_ & ~of_a] == "c").all()
    with pytest.raises(ValueError, match="SourceSelector compares rows as numbers"):
        SourceSelector(model, keep="neighbors").fit(X, y, X_target=X_target)
