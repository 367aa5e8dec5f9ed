"""Every composition that the design names, with values that must hold."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import LabelEncoder, StandardScaler

from skltransfer import DomainDataWarning, KMMReweighter, PooledEstimator, WithSource, WithTarget
from tests.doubles import MeanAligner, Recorder

N = 60  # as many rows in each domain: a bare X_target would be cut with the folds


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(1)
    X, X_target = rng.normal(0, 1, (N, 3)), rng.normal(0.6, 0.8, (N, 3))
    labels = [(Z[:, 0] + 0.3 * rng.normal(size=N) > 0.3).astype(int) for Z in (X, X_target)]
    return X, labels[0], X_target, labels[1]


@pytest.fixture(scope="module")
def adapted():
    return make_pipeline(StandardScaler(), KMMReweighter(LogisticRegression(), max_weight=5))


# --- cross-validation and searches around the wrappers ---------------------------------


def test_with_target_gives_source_folds_and_the_whole_target(domains):
    X, y, X_target, _ = domains
    folds = KFold(3)
    result = cross_validate(
        WithTarget(Recorder(), X_target=X_target),
        X,
        y,
        cv=folds,
        return_estimator=True,
        error_score="raise",
    )
    for (train, _), model in zip(folds.split(X), result["estimator"], strict=True):
        np.testing.assert_array_equal(model.estimator_.seen_["X"], X[train])
        assert model.estimator_.seen_["X_target"] is X_target


def test_with_source_gives_target_folds_and_the_whole_source(domains):
    X, y, X_target, y_target = domains
    folds = StratifiedKFold(3)
    result = cross_validate(
        WithSource(Recorder(), X_source=X, y_source=y),
        X_target,
        y_target,
        cv=folds,
        return_estimator=True,
        error_score="raise",
    )
    for i, (train, test) in enumerate(folds.split(X_target, y_target)):
        model = result["estimator"][i]
        seen = model.estimator_.seen_
        assert seen["X"] is X
        np.testing.assert_array_equal(seen["X_target"], X_target[train])
        np.testing.assert_array_equal(seen["y_target"], y_target[train])
        assert result["test_score"][i] == np.mean(model.predict(X_target[test]) == y_target[test])


def test_grid_search_in_two_processes_equals_one(domains, adapted):
    X, y, X_target, y_target = domains
    grid = {"estimator__kmmreweighter__max_weight": [1.5, 3, 100]}
    results = [
        GridSearchCV(
            WithSource(adapted, X_source=X, y_source=y), grid, cv=3, n_jobs=n, error_score="raise"
        ).fit(X_target, y_target)
        for n in (1, 2)
    ]
    for search in results:
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert search.best_estimator_.X_source is X
    np.testing.assert_array_equal(*(r.cv_results_["mean_test_score"] for r in results))
    np.testing.assert_array_equal(*(r.predict_proba(X_target) for r in results))


def test_a_grid_may_mix_adapting_and_plain_candidates(domains):
    X, y, X_target, y_target = domains
    pipeline = Pipeline(
        [("scale", StandardScaler()), ("align", MeanAligner()), ("model", LogisticRegression())]
    )
    grid = {
        "estimator__align": [MeanAligner(), "passthrough"],
        "estimator__model": [KMMReweighter(LogisticRegression()), LogisticRegression()],
    }
    search = GridSearchCV(WithSource(pipeline, X, y), grid, cv=3, error_score="raise")
    search.fit(X_target, y_target)
    candidates = search.cv_results_["params"]
    for row, params in enumerate(candidates):
        model = clone(WithSource(pipeline, X, y)).set_params(**params)
        scores = cross_validate(model, X_target, y_target, cv=3)["test_score"]
        assert search.cv_results_["mean_test_score"][row] == pytest.approx(scores.mean())
    assert len(set(search.cv_results_["mean_test_score"])) > 1
    with pytest.warns(DomainDataWarning, match="asks for X_target"):
        GridSearchCV(WithTarget(pipeline, X_target), grid, cv=3, error_score="raise").fit(X, y)


def test_halving_search_keeps_the_source_whole(domains, adapted):
    X, y, X_target, y_target = domains
    grid = {"estimator__kmmreweighter__max_weight": [1.5, 3, 100]}
    search = HalvingGridSearchCV(
        WithSource(adapted, X, y), grid, cv=2, random_state=0, error_score="raise", min_resources=20
    ).fit(X_target, y_target)
    assert search.best_estimator_.estimator_[-1].sample_weight_.shape == (N,)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_cross_val_predict_and_learning_curve(domains, adapted):
    X, y, X_target, y_target = domains
    wrapper = WithSource(adapted, X, y)
    predicted = cross_val_predict(wrapper, X_target, y_target, cv=3, method="predict_proba")
    for train, test in StratifiedKFold(3).split(X_target, y_target):
        fitted = clone(wrapper).fit(X_target[train], y_target[train])
        np.testing.assert_allclose(predicted[test], fitted.predict_proba(X_target[test]))
    sizes, _, scores = learning_curve(wrapper, X_target, y_target, cv=3, error_score="raise")
    assert scores.shape == (len(sizes), 3)
    assert np.isfinite(scores).all()


def test_a_nested_search_around_a_search(domains, adapted):
    X, y, X_target, y_target = domains
    search = GridSearchCV(
        WithSource(adapted, X, y), {"estimator__kmmreweighter__max_weight": [2, 50]}, cv=2
    )
    scores = cross_validate(search, X_target, y_target, cv=3, error_score="raise")["test_score"]
    assert np.isfinite(scores).all()


# --- a search inside -------------------------------------------------------------------


@pytest.mark.parametrize("wrapper", ["target", "source"])
def test_a_search_inside_does_not_cut_the_target_rows(domains, wrapper):
    X, y, X_target, y_target = domains
    search = GridSearchCV(Recorder(), {"setting": [1, 2]}, cv=3, error_score="raise")
    pipeline = make_pipeline(StandardScaler(), search)
    if wrapper == "target":
        model = WithTarget(pipeline, X_target, y_target).fit(X, y)
    else:
        model = WithSource(pipeline, X, y).fit(X_target, y_target)
    seen = model.estimator_[-1].best_estimator_.seen_
    expected = StandardScaler().fit(X).transform(X_target)
    np.testing.assert_allclose(seen["X_target"], expected)
    np.testing.assert_array_equal(seen["y_target"], y_target)


class WidthOfTarget(Recorder):
    """Scores by the number of target rows that reached its fit."""

    def score(self, X, y, sample_weight=None):
        return float(len(self.seen_["X_target"]))


def test_each_fold_of_an_inner_search_sees_all_target_rows(domains):
    X, y, X_target, y_target = domains
    search = GridSearchCV(WidthOfTarget(), {"setting": [1, 2]}, cv=3, error_score="raise")
    fitted = WithTarget(search, X_target, y_target).fit(X, y, sample_weight=np.ones(N)).estimator_
    np.testing.assert_array_equal(fitted.cv_results_["mean_test_score"], [N, N])


def test_a_pipeline_among_the_candidates_of_an_inner_search_maps_the_target_rows(domains):
    X, y, X_target, _ = domains
    pipeline = Pipeline([("model", KMMReweighter(LogisticRegression()))])
    candidate = make_pipeline(StandardScaler(with_mean=False), Recorder())
    search = GridSearchCV(pipeline, {"model": [candidate]}, cv=2, error_score="raise")
    fitted = WithTarget(search, X_target).fit(X, y).estimator_.best_estimator_
    expected = StandardScaler(with_mean=False).fit(X).transform(X_target)
    np.testing.assert_allclose(fitted[-1][-1].seen_["X_target"], expected)


@pytest.mark.parametrize("scoring", [None, "accuracy", {"a": "accuracy"}, ["accuracy"]])
def test_source_weights_pass_through_an_inner_search(domains, scoring):
    X, y, X_target, _ = domains
    weights = np.linspace(1, 2, N)
    search = GridSearchCV(
        KMMReweighter(LogisticRegression()),
        {"max_weight": [3]},
        cv=3,
        scoring=scoring,
        refit="a" if isinstance(scoring, dict) else "accuracy",
        error_score="raise",
    )
    model = WithTarget(make_pipeline(StandardScaler(), search), X_target).fit(X, y, weights)
    inner = model.estimator_[-1].best_estimator_
    scaler = StandardScaler().fit(X)
    expected = KMMReweighter(max_weight=3).fit(
        scaler.transform(X), sample_weight=weights, X_target=scaler.transform(X_target)
    )
    np.testing.assert_allclose(inner.sample_weight_, expected.sample_weight_, atol=1e-6)


# --- ensembles -------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["strings", "1..10"])
def test_ensembles_around_the_wrappers(coding):
    rng = np.random.default_rng(2)
    k = 2 if coding == "strings" else 10
    y_raw, y_target_raw = np.arange(120) % k, np.arange(80) % k
    X, X_target = (rng.normal(size=(len(t), 2)) * 0.2 + t[:, None] for t in (y_raw, y_target_raw))
    names = np.array(["no", "yes"]) if coding == "strings" else np.arange(1, 11)
    y, y_target = names[y_raw], names[y_target_raw]
    encoder = LabelEncoder().fit(np.concatenate([y, y_target]))
    adapted = make_pipeline(StandardScaler(), KMMReweighter(GaussianNB()))

    def members(code):
        return [
            ("kmm", WithSource(adapted, X, code(y))),
            ("pooled", WithSource(PooledEstimator(GaussianNB()), X, code(y))),
        ]

    ensembles = (
        lambda code: VotingClassifier(members(code), voting="soft"),
        lambda code: StackingClassifier(members(code), GaussianNB(), cv=2),
        lambda code: BaggingClassifier(members(code)[0][1], n_estimators=3, random_state=0),
    )
    for ensemble in ensembles:
        raw = ensemble(lambda labels: labels)
        with pytest.raises(ValueError, match="LabelEncoder"):
            raw.fit(X_target, y_target)
        encoded = ensemble(encoder.transform).fit(X_target, encoder.transform(y_target))
        predicted = encoder.inverse_transform(encoded.predict(X_target))
        assert np.mean(predicted == y_target) > 0.9


def test_voting_averages_its_members(domains, adapted):
    X, y, X_target, y_target = domains
    members = [("a", WithTarget(adapted, X_target)), ("b", WithTarget(adapted, X_target, y_target))]
    voted = VotingClassifier(members, voting="soft").fit(X, y).predict_proba(X_target)
    single = [clone(m).fit(X, y).predict_proba(X_target) for _, m in members]
    assert np.abs(single[0] - single[1]).max() > 1e-3
    np.testing.assert_allclose(voted, np.mean(single, axis=0))


def test_bagging_resamples_source_rows_and_keeps_the_target_whole(domains):
    X, y, X_target, _ = domains
    bagging = BaggingClassifier(
        WithTarget(Recorder(), X_target=X_target), n_estimators=3, random_state=0
    ).fit(X, y)
    for member in bagging.estimators_:
        seen = member.estimator_.seen_
        assert seen["X_target"] is X_target
        assert seen["sample_weight"].sum() == N  # bootstrap counts as weights
        assert len(np.unique(seen["sample_weight"])) > 1


def test_an_ensemble_inside_passes_the_target_to_its_members(domains):
    X, y, X_target, y_target = domains
    voting = VotingClassifier([("a", Recorder(1)), ("b", Recorder(2))])
    pipeline = make_pipeline(StandardScaler(), voting)
    fitted = WithTarget(pipeline, X_target, y_target).fit(X, y).estimator_[-1]
    expected = StandardScaler().fit(X).transform(X_target)
    for member in fitted.estimators_:
        np.testing.assert_allclose(member.seen_["X_target"], expected)
        np.testing.assert_array_equal(member.seen_["y_target"], y_target)
    bagging = BaggingClassifier(Recorder(), n_estimators=2, random_state=0)
    for member in WithTarget(bagging, X_target, y_target).fit(X, y).estimator_.estimators_:
        np.testing.assert_array_equal(member.seen_["X_target"], X_target)
    names = np.array(["no", "yes"])
    for ensemble in (voting, bagging):
        with pytest.raises(ValueError, match="numbers the classes 0..k-1"):
            WithTarget(ensemble, X_target, names[y_target]).fit(X, names[y])


def test_a_mean_of_regressors_inside_receives_the_target_labels_as_they_are(domains):
    X, y, X_target, y_target = domains
    voting = VotingRegressor([("a", PooledEstimator(Ridge())), ("b", PooledEstimator(Ridge(9)))])
    fitted = WithTarget(voting, X_target, y_target * 1.5).fit(X, y * 1.5).estimator_
    expected = Ridge().fit(np.vstack([X, X_target]), np.concatenate([y, y_target]) * 1.5)
    np.testing.assert_allclose(fitted.estimators_[0].estimator_.coef_, expected.coef_)


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        (StackingClassifier([("a", Recorder())]), "Put WithTarget or WithSource around each"),
        (
            OneVsRestClassifier(PooledEstimator(LogisticRegression())),
            "changes y before its members",
        ),
        (TransformedTargetRegressor(PooledEstimator(Ridge())), "changes y before its members"),
    ],
)
def test_what_would_hand_the_data_on_wrongly_is_refused(domains, inner, message):
    X, y, X_target, y_target = domains
    with pytest.raises(TypeError, match=message):
        WithTarget(inner, X_target, y_target).fit(X, y)


def test_unlabelled_target_rows_may_pass_a_meta_estimator_that_recodes_labels(domains):
    X, y, X_target, _ = domains
    model = TransformedTargetRegressor(KMMReweighter(Ridge()), transformer=StandardScaler())
    fitted = WithTarget(model, X_target).fit(X, y * 1.0).estimator_.regressor_
    expected = KMMReweighter().fit(X, X_target=X_target).sample_weight_
    np.testing.assert_allclose(fitted.sample_weight_, expected)


# --- ColumnTransformer, FeatureUnion, data frames --------------------------------------


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_column_transformer_before_the_adapting_step(domains, library):
    frames = pytest.importorskip(library)
    X, y, X_target, y_target = domains
    source, target = (
        frames.DataFrame({"a": Z[:, 0], "b": Z[:, 1], "c": Z[:, 2]}) for Z in (X, X_target)
    )
    columns = ColumnTransformer(
        [("scaled", StandardScaler(), ["c", "a"]), ("kept", "passthrough", ["b"])]
    )
    model = WithTarget(make_pipeline(columns, Recorder()), target, y_target).fit(source, y)
    scaler = StandardScaler().fit(X[:, [2, 0]])
    expected = np.column_stack([scaler.transform(X_target[:, [2, 0]]), X_target[:, 1]])
    np.testing.assert_allclose(model.estimator_[-1].seen_["X_target"], expected)
    scores = cross_validate(
        WithSource(make_pipeline(columns, KMMReweighter(LogisticRegression())), source, y),
        target,
        y_target,
        cv=3,
        error_score="raise",
    )["test_score"]
    assert scores.mean() > 0.7


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_column_transformer_around_an_aligner_selects_the_target_columns_by_name(
    domains, library
):
    frames = pytest.importorskip(library)
    X, y, X_target, _ = domains
    source, target = (
        frames.DataFrame({"a": Z[:, 0], "b": Z[:, 1], "c": Z[:, 2]}) for Z in (X, X_target)
    )
    columns = ColumnTransformer([("moved", MeanAligner(), ["c", "a"])], remainder="passthrough")
    model = WithTarget(make_pipeline(columns, LogisticRegression()), target).fit(source, y)
    aligner = model.estimator_[0].named_transformers_["moved"]
    np.testing.assert_allclose(aligner.target_rows_, X_target[:, [2, 0]])
    moved = X[:, [2, 0]] - X[:, [2, 0]].mean(axis=0) + X_target[:, [2, 0]].mean(axis=0)
    expected = LogisticRegression().fit(np.column_stack([moved, X[:, 1]]), y)
    np.testing.assert_allclose(model.estimator_[-1].coef_, expected.coef_, rtol=1e-5)


def test_a_column_transformer_around_an_aligner_refuses_arrays_of_another_width(domains):
    X, y, X_target, _ = domains
    columns = ColumnTransformer([("moved", MeanAligner(), [0, 1])])
    with pytest.raises(ValueError, match="X_target has 3 features.*2.*pass DataFrames"):
        WithTarget(make_pipeline(columns, LogisticRegression()), X_target).fit(X, y)


@pytest.mark.parametrize(
    "columns",
    [[2, 1, 0], [0, 0, 1], slice(None, None, -1), [True, False, True], 1],
    ids=["swapped", "repeated", "reversed", "masked", "one"],
)
def test_a_column_transformer_that_rearranges_arrays_is_refused(domains, columns):
    """Of equal width, the target's columns would silently be others than the source's."""
    X, y, X_target, _ = domains
    around = ColumnTransformer([("moved", MeanAligner(), columns)])
    for model in (around, make_pipeline(around, LogisticRegression())):
        with pytest.raises(TypeError, match="X_target whole. Pass DataFrames and select"):
            WithTarget(model, X_target).fit(X, y)


@pytest.mark.parametrize("columns", [[0, 1, 2], slice(0, 3), [True] * 3])
def test_a_column_transformer_over_all_columns_of_arrays(domains, columns):
    X, y, X_target, _ = domains
    around = ColumnTransformer([("moved", MeanAligner(), columns)])
    moved = WithTarget(around, X_target).fit_transform(X, y)
    np.testing.assert_allclose(moved, WithTarget(MeanAligner(), X_target).fit_transform(X))


@pytest.mark.parametrize("columns", ["index", "series", slice("a", "b"), [0, 1], slice(0, 2)])
@pytest.mark.parametrize("is_first", [True, False], ids=["first step", "alone"])
def test_every_way_to_name_columns_of_frames(domains, columns, is_first):
    pandas = pytest.importorskip("pandas")
    X, y, X_target, _ = domains
    source, target = (pandas.DataFrame(Z, columns=list("abc")) for Z in (X, X_target))
    if isinstance(columns, str):
        kind = pandas.Index if columns == "index" else pandas.Series
        columns = kind(["a", "b"])
    model = ColumnTransformer([("moved", MeanAligner(), columns)])
    if is_first:
        model = make_pipeline(model, LogisticRegression())
    fitted = WithTarget(model, target).fit(source, y).estimator_
    aligner = (fitted[0] if is_first else fitted).named_transformers_["moved"]
    np.testing.assert_allclose(aligner.target_rows_, X_target[:, :2])


def test_a_step_named_cv_makes_no_folds(domains):
    X, y, X_target, _ = domains
    pipeline = Pipeline([("cv", MeanAligner()), ("knn", KNeighborsClassifier(4))])
    WithTarget(pipeline, X_target).fit(X, y, np.full(len(X), 2)).predict(X_target)


def test_a_pipeline_with_an_aligner_inside_a_column_transformer_is_refused(domains):
    pandas = pytest.importorskip("pandas")
    X, y, X_target, _ = domains
    source, target = (pandas.DataFrame(Z, columns=list("abc")) for Z in (X, X_target))
    inner = make_pipeline(StandardScaler(), MeanAligner())
    columns = ColumnTransformer([("inner", inner, ["a", "b"])])
    with pytest.raises(TypeError, match="pipeline 'inner' inside ColumnTransformer.*before"):
        WithTarget(columns, target).fit(source, y)


@pytest.mark.parametrize("settings", [{"max_features": 0.5}, {"bootstrap_features": True}])
def test_bagging_that_draws_columns_is_refused(domains, settings):
    X, y, X_target, _ = domains
    bagging = BaggingClassifier(KMMReweighter(LogisticRegression()), **settings)
    with pytest.raises(
        TypeError, match="draws columns of X for its members, and leaves X_target whole"
    ):
        WithTarget(bagging, X_target).fit(X, y)


@pytest.mark.parametrize(
    "kind, scoring",
    [
        *[(kind, scoring) for kind in ("grid", "halving") for scoring in (None, "accuracy")],
        *[(kind, "a function") for kind in ("grid", "halving")],
        ("grid", ["accuracy", "f1"]),
    ],
)
def test_a_search_inside_scores_the_same_with_weights_of_one(domains, scoring, kind):
    """With routing on, the score of a pipeline cannot decline weights: all were once NaN."""
    X, y, X_target, y_target = domains
    scoring = score_by_hand if scoring == "a function" else scoring
    pipeline = make_pipeline(StandardScaler(), KMMReweighter(LogisticRegression()))
    grid = {"kmmreweighter__estimator__C": [1e-6, 1.0]}
    settings = {"scoring": scoring, "error_score": "raise", "cv": 3}
    if kind == "grid":
        refit = "accuracy" if isinstance(scoring, list) else True
        search = GridSearchCV(pipeline, grid, refit=refit, **settings)
        name = "mean_test_accuracy" if isinstance(scoring, list) else "mean_test_score"
    else:
        search = HalvingGridSearchCV(pipeline, grid, min_resources=30, random_state=0, **settings)
        name = "mean_test_score"
    ones = np.ones(len(X))
    plain = WithTarget(search, X_target).fit(X, y)
    fits = [
        WithTarget(search, X_target).fit(X, y, ones),
        WithSource(search, X, y, source_sample_weight=ones, use_y=False).fit(X_target, y_target),
    ]
    for fitted in fits:
        np.testing.assert_array_equal(
            fitted.estimator_.cv_results_[name], plain.estimator_.cv_results_[name]
        )
        assert fitted.estimator_.best_params_ == plain.estimator_.best_params_
    assert fits[0].score(X_target, y_target) == plain.score(X_target, y_target)
    pickle.loads(pickle.dumps(fits[0])).predict(X_target)


def score_by_hand(estimator, X, y):
    return estimator.score(X, y)


def test_rows_are_not_repeated_across_inner_folds(domains):
    X, y, X_target, y_target = domains
    search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [1, 25]})
    twice = np.full(len(X), 2)
    with pytest.raises(TypeError, match="both sides of its folds"):
        WithSource(search, X, y, source_sample_weight=twice).fit(X_target, y_target)
    with pytest.raises(TypeError, match="both sides of its folds"):
        PooledEstimator(search).fit(X, y, twice, X_target=X_target, y_target=y_target)
    ones = np.ones(len(X))
    model = WithSource(search, X, y, source_sample_weight=ones).fit(X_target, y_target)
    assert model.estimator_.best_score_ == search.fit(X, y).best_score_


@pytest.mark.parametrize(
    "inner",
    [TransformedTargetRegressor, OneVsRestClassifier, MultiOutputRegressor],
)
def test_what_changes_the_labels_goes_inside_the_reweighter(domains, inner):
    X, y, X_target, y_target = domains
    around = inner(
        PooledEstimator(Ridge() if "Regressor" in inner.__name__ else LogisticRegression())
    )
    labels = (y, y_target)
    if inner is MultiOutputRegressor:
        labels = tuple(np.column_stack([part, -part]) for part in labels)
    with pytest.raises(TypeError, match=rf"PooledEstimator\({inner.__name__}\(\.\.\.\)\)"):
        WithTarget(around, X_target, labels[1]).fit(X, labels[0])
    base = Ridge() if "Regressor" in inner.__name__ else LogisticRegression()
    model = WithTarget(PooledEstimator(inner(base)), X_target, labels[1]).fit(X, labels[0])
    expected = inner(base).fit(np.vstack([X, X_target]), np.concatenate(labels))
    np.testing.assert_allclose(model.predict(X_target), expected.predict(X_target))


def test_columns_in_another_order_are_matched_by_name(domains):
    pandas = pytest.importorskip("pandas")
    X, y, X_target, _ = domains
    source = pandas.DataFrame(X, columns=list("abc"))
    target = pandas.DataFrame(X_target, columns=list("abc"))[["c", "a", "b"]]
    weights = WithTarget(KMMReweighter(), target).fit(source).estimator_.sample_weight_
    np.testing.assert_array_equal(weights, KMMReweighter().fit(X, X_target=X_target).sample_weight_)
    with pytest.raises(ValueError, match=r"lacks the columns \['b'\]"):
        WithTarget(KMMReweighter(), target[["c", "a"]]).fit(source)
    with pytest.raises(ValueError, match="X has column names and X_target has none"):
        WithTarget(KMMReweighter(), X_target).fit(source)


def test_labels_as_data_frames_hold_them(domains):
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    X, y, X_target, y_target = domains
    partial = [int(label) if i % 2 else None for i, label in enumerate(y_target)]
    known = np.arange(N) % 2 == 1
    expected = LogisticRegression().fit(
        np.vstack([X, X_target[known]]), np.concatenate([y, y_target[known]])
    )
    for labels in (
        partial,
        pandas.Series(partial),
        pandas.Series(partial, dtype="Int64"),
        polars.Series(partial),
        np.array(partial, dtype=object),
        np.array(partial, dtype=float),
    ):
        model = WithTarget(PooledEstimator(LogisticRegression()), X_target, labels)
        fitted = model.fit(X, pandas.Series(y)).estimator_.estimator_
        np.testing.assert_array_equal(fitted.coef_, expected.coef_)
        assert fitted.classes_.dtype == y.dtype


def test_frames_keep_their_columns_on_the_way_to_the_inner_estimator(domains):
    X, y, X_target, y_target = domains
    for library in ("pandas", "polars"):
        frames = pytest.importorskip(library)
        source, target = (
            frames.DataFrame({"a": Z[:, 0], "b": Z[:, 1], "c": Z[:, 2]}) for Z in (X, X_target)
        )
        inner = make_pipeline(
            ColumnTransformer([("scaled", StandardScaler(), ["a", "b"])]), LogisticRegression()
        )
        for reweighter in (PooledEstimator(inner), KMMReweighter(inner)):
            model = WithTarget(reweighter, target, y_target).fit(source, y)
            assert list(model.estimator_.estimator_.feature_names_in_) == ["a", "b", "c"]
        pooled = WithTarget(PooledEstimator(inner), target, y_target).fit(source, y)
        expected = clone(inner[-1]).fit(
            StandardScaler().fit_transform(np.vstack([X, X_target])[:, :2]),
            np.concatenate([y, y_target]),
        )
        np.testing.assert_allclose(pooled.estimator_.estimator_[-1].coef_, expected.coef_)


def test_a_feature_union_around_an_aligner(domains):
    X, y, X_target, _ = domains
    union = FeatureUnion([("moved", MeanAligner()), ("scaled", StandardScaler())])
    seen = WithTarget(make_pipeline(union, Recorder()), X_target).fit(X, y).estimator_[-1].seen_
    np.testing.assert_allclose(
        seen["X"][:, :3], X - X.mean(axis=0) + X_target.mean(axis=0), atol=1e-12
    )
    np.testing.assert_allclose(
        seen["X_target"], np.hstack([X_target, StandardScaler().fit(X).transform(X_target)])
    )


def test_a_reweighter_may_hold_a_pipeline(domains):
    """Its inner pipeline is fitted with routing off, where transform_input would raise."""
    X, y, X_target, _ = domains
    inner = make_pipeline(StandardScaler(), LogisticRegression())
    fitted = WithTarget(make_pipeline(StandardScaler(), KMMReweighter(inner)), X_target).fit(X, y)
    reweighter = fitted.estimator_[-1]
    assert reweighter.estimator_.transform_input is None
    Z = StandardScaler().fit_transform(X)
    expected = clone(inner).fit(Z, y, logisticregression__sample_weight=reweighter.sample_weight_)
    np.testing.assert_allclose(reweighter.estimator_[-1].coef_, expected[-1].coef_)


def test_a_reweighter_may_hold_a_search_or_a_forest(domains):
    X, y, X_target, _ = domains
    for inner in (
        GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, cv=2),
        RandomForestClassifier(5, random_state=0),
    ):
        model = WithTarget(KMMReweighter(inner), X_target).fit(X, y)
        assert model.score(X_target, domains[3]) > 0.7


def test_metadata_routing_by_hand_gives_what_with_target_gives(domains):
    X, y, X_target, _ = domains
    expected = WithTarget(make_pipeline(StandardScaler(), KMMReweighter()), X_target).fit(X)
    with sklearn.config_context(enable_metadata_routing=True):
        by_hand = make_pipeline(StandardScaler(), KMMReweighter(), transform_input=["X_target"])
        weights = by_hand.fit(X, X_target=X_target)[-1].sample_weight_
        result = cross_validate(
            make_pipeline(
                StandardScaler(), KMMReweighter(LogisticRegression()), transform_input=["X_target"]
            ),
            X,
            y,
            params={"X_target": (X_target,)},
            return_estimator=True,
            error_score="raise",
        )
    np.testing.assert_array_equal(weights, expected.estimator_[-1].sample_weight_)
    assert all(model[-1].sample_weight_.shape == (48,) for model in result["estimator"])
