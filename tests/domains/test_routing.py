"""Metadata routing, which the wrappers switch on, is seen by nothing that does without it."""

import pickle

import numpy as np
import pytest
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import AdaBoostRegressor, RandomForestClassifier, VotingClassifier
from sklearn.feature_selection import RFECV, SelectFromModel, SequentialFeatureSelector
from sklearn.linear_model import BayesianRidge, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler, TargetEncoder
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.metadata_routing import MetadataRouter, get_routing_for_object

from skltransfer import (
    CORAL,
    DomainDataWarning,
    KMMReweighter,
    PooledEstimator,
    TrAdaBoostClassifier,
    WithSource,
    WithTarget,
)
from skltransfer._shared_cache import SharedCache
from skltransfer.domains import _composition, _isolation
from skltransfer.domains._composition import consumed_keywords, is_router
from skltransfer.domains._isolation import (
    has_requests,
    isolate,
    release,
    route_without_copies,
)
from skltransfer.domains._routing import fit_with_target
from skltransfer.domains._weights import fit_weighted
from tests.doubles import MeanAligner, Recorder

rng = np.random.default_rng(0)
X, X_TARGET = rng.normal(size=(60, 3)), rng.normal(0.5, 1, (30, 3))
X[:, 2], X_TARGET[:, 2] = rng.integers(0, 4, 60), rng.integers(0, 4, 30)
Y, Y_TARGET = (X[:, 0] + X[:, 2] > 1).astype(int), (X_TARGET[:, 0] + X_TARGET[:, 2] > 1).astype(int)
WEIGHTS = rng.uniform(0.5, 2, 60)


class SeesRouting(TransformerMixin, BaseEstimator):
    """Notes whether routing is on, and uses routers of its own."""

    def fit(self, X, y):
        self.routing_ = get_config()["enable_metadata_routing"]
        self.encoder_ = TargetEncoder().fit(X[:, 2:], y)
        self.search_ = GridSearchCV(Ridge(), {"alpha": [1.0, 2.0]}, cv=2)
        self.search_.fit(X, y, sample_weight=np.ones(len(X)))
        return self

    def transform(self, X):
        return X


def steps_in_front():
    columns = [("code", TargetEncoder(cv=2), [2]), ("scale", StandardScaler(), [0, 1])]
    return {
        "encoder of a column": ColumnTransformer(columns),
        "encoder": TargetEncoder(cv=2),
        "encoder in a pipeline": make_pipeline(StandardScaler(), ColumnTransformer(columns)),
        "sequential": SequentialFeatureSelector(LogisticRegression(), cv=2, n_features_to_select=2),
        "recursive": RFECV(LogisticRegression(), cv=2, scoring="accuracy"),
        "by coefficients": SelectFromModel(LogisticRegression()),
        "own": SeesRouting(),
    }


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of defaults of scikit-learn
@pytest.mark.parametrize("name", steps_in_front())
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_steps_in_front_are_fitted_as_without_routing(name, weights):
    step = steps_in_front()[name]
    np.random.seed(0)
    expected = clone(step).fit_transform(X, Y)
    model = WithTarget(make_pipeline(step, Recorder()), X_TARGET)
    np.random.seed(0)
    fitted = model.fit(X, Y, sample_weight=weights).estimator_
    seen = fitted[-1].seen_
    np.testing.assert_array_equal(seen["X"], expected)
    np.testing.assert_array_equal(seen["X_target"], fitted[0].transform(X_TARGET))
    if weights is not None:
        np.testing.assert_array_equal(seen["sample_weight"], weights)
    assert type(fitted[0]) is type(step)
    if name == "own":
        assert not fitted[0].routing_


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_routers_inside_of_two_domain_steps_see_no_routing():
    inner = make_pipeline(SeesRouting(), TargetEncoder(cv=2), LogisticRegression())
    for reweighter in (PooledEstimator(inner), KMMReweighter(inner)):
        model = WithSource(make_pipeline(StandardScaler(), reweighter), X, Y)
        fitted = model.fit(X_TARGET, Y_TARGET).estimator_[-1].estimator_
        assert not fitted[0].routing_


def test_what_knows_no_routing_does_not_cost_the_target():
    model = WithSource(make_pipeline(MeanAligner(), AdaBoostRegressor(n_estimators=2)), X, Y)
    fitted = model.fit(X_TARGET, Y_TARGET).estimator_
    np.testing.assert_allclose(fitted[0].target_mean_, X_TARGET.mean(axis=0))
    assert type(fitted[1]) is AdaBoostRegressor
    weighted = WithTarget(make_pipeline(MeanAligner(), AdaBoostRegressor(n_estimators=2)), X_TARGET)
    weighted.fit(X, Y, sample_weight=WEIGHTS)


def classes_in(value):
    if isinstance(value, dict | list | tuple):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from classes_in(entry)
    elif isinstance(value, BaseEstimator):
        yield type(value)
        yield from classes_in(vars(value))


def test_fitted_parts_have_their_own_classes():
    pipeline = Pipeline([("scale", StandardScaler()), ("model", KMMReweighter(Ridge()))])
    grid = {"model": [KMMReweighter(Ridge()), PooledEstimator(Ridge())]}
    search = GridSearchCV(pipeline, grid, cv=2)
    with pytest.warns(DomainDataWarning):
        model = WithTarget(make_pipeline(CORAL(), search), X_TARGET).fit(X, Y * 1.0, WEIGHTS)
    found = list(classes_in(model))
    assert {CORAL, KMMReweighter, StandardScaler, Ridge, Pipeline} <= set(found)
    assert not [each for each in found if "_skltransfer_twin_of" in vars(each)]
    assert not [c for c in model.estimator_[-1].cv_results_["param_model"] if type(c) not in found]
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X_TARGET), model.predict(X_TARGET))


class Refusing(LogisticRegression):
    """Cannot be fitted."""

    def fit(self, X, y, sample_weight=None):
        raise ValueError("refused")


@pytest.mark.parametrize(
    ("model", "fit"),
    [
        (VotingClassifier([("a", make_pipeline(SelectFromModel(Ridge()), Refusing()))]), "weights"),
        (make_pipeline(StandardScaler(), CORAL(), SelectFromModel(Refusing())), "target"),
    ],
    ids=["weights", "target"],
)
def test_a_fit_that_fails_gives_parts_their_own_classes_too(model, fit):
    with pytest.raises(ValueError, match="refused"):
        if fit == "weights":
            fit_weighted(model, X, Y, WEIGHTS)
        else:
            fit_with_target(model, X, Y, X_target=X_TARGET)
    found = list(classes_in(model))
    assert not [each for each in found if "_skltransfer_twin_of" in vars(each)]
    assert not has_requests(model)


def test_isolated_parts_survive_copies_and_processes():
    part = SeesRouting()
    isolate(part)
    for copy in (clone(part), pickle.loads(pickle.dumps(part))):
        assert isinstance(copy, SeesRouting)
        assert type(copy).__name__ == "SeesRouting"
        with config_context(enable_metadata_routing=True):
            assert not copy.fit(X, Y).routing_
        assert pickle.loads(pickle.dumps(copy)).routing_ is False
        release(copy, drop_requests=True)
        assert type(copy) is SeesRouting


def test_candidates_that_alone_ask_for_the_target_are_refused():
    pipeline = Pipeline([("model", "passthrough")])
    grid = {"model": [KMMReweighter(LogisticRegression())]}
    search = GridSearchCV(pipeline, grid, cv=2, scoring="accuracy")
    for model, rows, labels in (
        (WithTarget(search, X_TARGET), X, Y),
        (WithSource(make_pipeline(StandardScaler(), search), X, Y), X_TARGET, Y_TARGET),
    ):
        with pytest.raises(TypeError, match="Search around the wrapper"):
            model.fit(rows, labels)


# --- keywords of predictions ---------------------------------------------------------------


@pytest.mark.parametrize("routing", [False, True])
def test_keywords_of_predictions_pass_through(routing):
    y, y_target = X @ [1.0, 2.0, 0.5], X_TARGET @ [1.0, 2.0, 0.5]
    models = (
        KMMReweighter(BayesianRidge()).fit(X, y, X_target=X_TARGET),
        WithTarget(make_pipeline(StandardScaler(), KMMReweighter(BayesianRidge())), X_TARGET).fit(
            X, y
        ),
        WithSource(PooledEstimator(make_pipeline(StandardScaler(), BayesianRidge())), X, y).fit(
            X_TARGET, y_target
        ),
    )
    tree = WithTarget(KMMReweighter(DecisionTreeClassifier()), X_TARGET).fit(X, Y)
    with config_context(enable_metadata_routing=routing):
        for model in models:
            mean, std = model.predict(X_TARGET, return_std=True)
            np.testing.assert_array_equal(mean, model.predict(X_TARGET))
            assert (std > 0).all()
            with pytest.raises(TypeError, match="return_sdt"):
                model.predict(X_TARGET, return_sdt=True)
        rows = X_TARGET.astype(np.float32)
        np.testing.assert_array_equal(
            tree.predict_proba(rows, check_input=False), tree.predict_proba(rows)
        )


def test_a_pipeline_around_hands_keywords_of_predictions_on():
    y = X @ [1.0, 2.0, 0.5]
    target = {"X_target": X_TARGET}
    plain = KMMReweighter(BayesianRidge()).fit(X, y, **target)
    expected = plain.predict(X_TARGET, return_std=True)
    np.testing.assert_array_equal(
        Pipeline([("model", plain)]).predict(X_TARGET, return_std=True), expected
    )
    with config_context(enable_metadata_routing=True):
        asks = BayesianRidge().set_predict_request(return_std=True)
        model = Pipeline([("model", KMMReweighter(asks))]).fit(X, y, **target)
        np.testing.assert_array_equal(model.predict(X_TARGET, return_std=True), expected)


# --- samplers of imbalanced-learn ----------------------------------------------------------


def samplers():
    under = pytest.importorskip("imblearn.under_sampling")
    over = pytest.importorskip("imblearn.over_sampling")
    return [under.RandomUnderSampler(random_state=0), over.RandomOverSampler(random_state=0)]


def test_target_samples_skip_samplers():
    imbalanced = pytest.importorskip("imblearn.pipeline")
    y = (X[:, 0] > 1).astype(int)
    for sampler in samplers():
        expected, labels = clone(sampler).fit_resample(X, y)
        scaler = StandardScaler().fit(X)
        for front in ([], [StandardScaler()]):
            for behind in ([], [StandardScaler()]):
                pipeline = imbalanced.make_pipeline(*front, sampler, *behind, Recorder())
                for model, rows, y_rows in (
                    (WithTarget(pipeline, X_TARGET, Y_TARGET), X, y),
                    (WithSource(pipeline, X, y), X_TARGET, Y_TARGET),
                ):
                    fitted = model.fit(rows, y_rows).estimator_
                    seen = fitted[-1].seen_
                    np.testing.assert_array_equal(seen["y"], labels)
                    np.testing.assert_array_equal(seen["y_target"], Y_TARGET)
                    if not behind:
                        mapped = scaler.transform if front else np.asarray
                        np.testing.assert_allclose(seen["X"], mapped(expected))
                        np.testing.assert_allclose(seen["X_target"], mapped(X_TARGET))
                    assert len(seen["X_target"]) == len(X_TARGET)
                    assert type(fitted) is imbalanced.Pipeline
                    assert model.predict(X_TARGET).shape == (30,)


def test_samplers_behind_weights_are_refused_by_name():
    imbalanced = pytest.importorskip("imblearn.pipeline")
    ensembles = pytest.importorskip("imblearn.ensemble")
    sampler = samplers()[0]
    pipeline = imbalanced.make_pipeline(sampler, RandomForestClassifier(2))
    known = {"X_target": X_TARGET, "y_target": Y_TARGET}
    for inside in (pipeline, VotingClassifier([("a", pipeline)])):
        PooledEstimator(inside).fit(X, Y, **known)  # no weights
    for fit in (
        KMMReweighter(pipeline).fit,
        KMMReweighter(make_pipeline(StandardScaler(), pipeline)).fit,
        TrAdaBoostClassifier(pipeline).fit,
    ):
        with pytest.raises(TypeError, match="RandomUnderSampler.*weights cannot follow"):
            fit(X, Y, **known)
    with pytest.raises(TypeError, match="RandomUnderSampler"):
        in_front = imbalanced.make_pipeline(sampler, Recorder())
        WithTarget(in_front, X_TARGET).fit(X, Y, WEIGHTS)
    for ensemble in (ensembles.EasyEnsembleClassifier, ensembles.BalancedBaggingClassifier):
        with pytest.raises(TypeError, match="does not support sample_weight"):
            KMMReweighter(ensemble(n_estimators=2)).fit(X, Y, **known)
    for ensemble in (
        ensembles.RUSBoostClassifier(n_estimators=2, random_state=0),
        ensembles.BalancedRandomForestClassifier(2, random_state=0),
    ):
        KMMReweighter(ensemble).fit(X, Y, **known)


def test_requests_are_built_once_for_compositions_of_one_form(monkeypatch):
    """Clones, and other parameters, need no new ones; requests that the user sets do."""
    built = []

    def counted(estimator):
        built.append(estimator)
        return get_routing_for_object(estimator)

    monkeypatch.setattr(_composition, "get_routing_for_object", counted)
    monkeypatch.setattr(_composition, "_consumed", SharedCache(8))
    pipeline = make_pipeline(StandardScaler(), MeanAligner(), Recorder(setting=1))
    both = {"X_target", "y_target"}
    assert consumed_keywords(pipeline, "fit") == both
    n_built = len(built)
    assert n_built > 0
    assert consumed_keywords(clone(pipeline).set_params(recorder__setting=2), "fit") == both
    assert len(built) == n_built
    without = clone(pipeline)
    with config_context(enable_metadata_routing=True):
        without[-1].set_fit_request(y_target=False)
    assert consumed_keywords(without, "fit") == {"X_target"}
    assert consumed_keywords(pipeline.set_params(recorder="passthrough"), "fit") == {"X_target"}
    assert consumed_keywords(make_pipeline(StandardScaler(), Recorder()), "fit") == both


class Declares(StandardScaler):
    """Has requests of both kinds: by a signature, and by an attribute of its class."""

    __metadata_request__transform = {"X_target": True}

    def fit(self, X, y=None, sample_weight=None, groups=None):
        return super().fit(X, y, sample_weight)

    def transform(self, X, copy=None, X_target=None):
        return super().transform(X)


def isolated(part):
    isolate(part)
    return part


def test_requests_of_isolated_parts_are_read_once_for_their_class(monkeypatch):
    """Those that the user sets are read each time, and belong to one part."""
    monkeypatch.setattr(_isolation, "_declared_requests", SharedCache(8))
    read, declared_by = [], _isolation._declared_by
    monkeypatch.setattr(
        _isolation, "_declared_by", lambda part: read.append(part) or declared_by(part)
    )
    expected = Declares().get_metadata_routing()
    for setting in (True, False):
        requests = get_routing_for_object(isolated(Declares(with_mean=setting)))
        assert str(requests) == str(expected)
        assert requests.consumes("transform", ["X_target", "groups"]) == {"X_target"}
        # The part, with all it is fitted to, does not live on.
        assert {requests.owner, requests.fit.owner, requests.transform.owner} == {"Declares"}
    assert len(read) == 1
    with config_context(enable_metadata_routing=True):
        part = Declares().set_fit_request(groups=True)
    assert get_routing_for_object(isolated(part)).consumes("fit", ["groups"]) == {"groups"}
    other = get_routing_for_object(isolated(Declares()))
    assert other.consumes("fit", ["groups"]) == set()
    assert len(read) == 1


def test_metadata_without_a_request_are_refused_in_the_same_words():
    messages = []
    for prepare in (lambda part: part, isolated):
        pipeline = make_pipeline(prepare(Declares()), prepare(Recorder()))
        route_without_copies(pipeline)
        with config_context(enable_metadata_routing=True), pytest.raises(ValueError) as caught:
            pipeline.fit(X, Y, groups=Y)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "Declares.fit" in messages[0]


def test_routers_on_the_way_have_their_requests():
    pipeline = make_pipeline(StandardScaler(), MeanAligner(), Recorder())
    for router in (pipeline, GridSearchCV(pipeline, {"recorder__setting": [1]})):
        twin = clone(router)
        route_without_copies(twin)
        for copy in (twin, clone(twin), pickle.loads(pickle.dumps(twin))):
            assert is_router(copy)
            assert isinstance(copy, type(router))
            with config_context(enable_metadata_routing=True):
                routing = get_routing_for_object(copy)
                assert str(routing) == str(get_routing_for_object(router))
            release(copy, drop_requests=True)
            assert type(copy) is type(router)


def test_requests_of_routers_on_the_way_are_those_of_the_moment():
    pipeline = make_pipeline(StandardScaler(), MeanAligner(), Recorder())
    route_without_copies(pipeline)
    both = {"X_target", "y_target"}
    assert consumed_keywords(pipeline, "fit") == both
    with config_context(enable_metadata_routing=True):
        assert get_routing_for_object(pipeline).consumes("fit", both) == both
        pipeline[-1].set_fit_request(y_target=False)
        assert get_routing_for_object(pipeline).consumes("fit", both) == {"X_target"}
        assert get_routing_for_object(pipeline[:1]).consumes("fit", both) == set()
        pipeline.set_params(meanaligner="passthrough", recorder="passthrough")
        assert get_routing_for_object(pipeline).consumes("fit", both) == set()
    assert consumed_keywords(pipeline, "fit") == set()


def test_a_wrapper_copies_no_requests(monkeypatch):
    """The fit by hand does, at each step that the target goes through."""
    copied, copy = [], MetadataRouter.__sklearn_clone__
    monkeypatch.setattr(
        MetadataRouter, "__sklearn_clone__", lambda self: copied.append(self) or copy(self)
    )
    pipeline = make_pipeline(StandardScaler(), MeanAligner(), LogisticRegression())
    model = WithTarget(pipeline, X_TARGET).fit(X, Y)  # looks up what is known to the next fit
    copied.clear()
    model.fit(X, Y)
    assert not copied
    by_hand = clone(pipeline).set_params(transform_input=["X_target"])
    with config_context(enable_metadata_routing=True):
        by_hand.fit(X, Y, X_target=(X_TARGET,))
    assert copied
    np.testing.assert_array_equal(model.predict_proba(X), by_hand.predict_proba(X))
