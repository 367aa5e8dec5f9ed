"""Weights of target samples reach all that learns from these samples, or are refused."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.ensemble import BaggingRegressor, VotingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    CORAL,
    JDA,
    DeepCORALClassifier,
    FeatureAugmenter,
    FineTunedClassifier,
    KMMReweighter,
    MAMLClassifier,
    PooledEstimator,
    PrototypicalClassifier,
    SourceSelector,
    TransferLogisticRegression,
    TransferLogisticRegressionCV,
    TransferRidge,
    TransferRidgeCV,
    WithSource,
    WithTarget,
)
from skltransfer.model_selection._pretrained_on_source import PretrainedOnSource
from tests.doubles import MeanAligner, Recorder

rng = np.random.default_rng(0)
X_OLD, X = rng.normal(size=(50, 3)), rng.normal(0.3, 1.0, size=(20, 3))
Y_OLD, Y = X_OLD @ [1.0, 2.0, 0.0] + rng.normal(size=50), X @ [1.0, 1.0, 1.0] + rng.normal(size=20)
CLASSES_OLD, CLASSES = (Y_OLD > 0).astype(int), (Y > 0).astype(int)
COUNTS, WEIGHTS = rng.integers(0, 4, 20), rng.uniform(0.5, 2.0, 20)
REPEATED = np.repeat(np.arange(20), COUNTS)


def held(estimator, **settings):
    return WithSource(estimator, X_OLD, Y_OLD, **settings)


def held_classes(estimator, **settings):
    return WithSource(estimator, X_OLD, CLASSES_OLD, **settings)


def network(**settings):
    return FineTunedClassifier(hidden_layer_sizes=(4,), max_epochs=30, **settings)


MODELS = {
    "pooled": held(PooledEstimator(Ridge())),
    "scaled and pooled": held(make_pipeline(StandardScaler(), PooledEstimator(Ridge()))),
    "augmented": held(make_pipeline(FeatureAugmenter(), PooledEstimator(Ridge()))),
    "balanced": held(make_pipeline(StandardScaler(), KMMReweighter(Ridge(), tol=1e-10))),
    "selected": held(SourceSelector(KNeighborsRegressor())),
    "without weights": held(PooledEstimator(KNeighborsRegressor())),
    "search": held(GridSearchCV(PooledEstimator(Ridge()), {"estimator__alpha": [0.1, 10.0]}, cv=2)),
    "aligned": held(make_pipeline(CORAL(), Ridge())),
    "aligned by labels": held_classes(make_pipeline(JDA(), LogisticRegression())),
    "ridge": held(TransferRidge(alpha=1.0)),
    "ridge, auto": held(TransferRidge()),
    "logistic": held_classes(TransferLogisticRegression(alpha=1.0)),
    "logistic, auto": held_classes(TransferLogisticRegression()),
    "Deep CORAL": held_classes(DeepCORALClassifier(network(), trade_off=10.0)),
    "prototypes": held_classes(PrototypicalClassifier(network(), n_shot=2, episodes_per_epoch=2)),
    "MAML": held_classes(MAMLClassifier(network(), n_shot=2, episodes_per_epoch=2)),
    "pretrained network": held_classes(PretrainedOnSource(network(), network())),
}


def labels_for(model):
    return CLASSES if model.y_source is CLASSES_OLD else Y


def outputs(model):
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    return getattr(model, method)(X)


@pytest.mark.parametrize("name", MODELS)
def test_a_weight_is_a_number_of_rows(name):
    model = MODELS[name]
    y = labels_for(model)
    weighted = clone(model).fit(X, y, sample_weight=COUNTS)
    repeated = clone(model).fit(X[REPEATED], y[REPEATED])
    np.testing.assert_allclose(outputs(weighted), outputs(repeated), rtol=1e-5, atol=1e-6)
    plain = clone(model).fit(X, y)
    assert np.abs(outputs(weighted) - outputs(plain)).max() > 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_a_row_of_weight_0_is_left_out(name):
    model, used = MODELS[name], np.arange(20) % 4 > 0
    y = labels_for(model)
    weighted = clone(model).fit(X, y, sample_weight=used.astype(float))
    left_out = clone(model).fit(X[used], y[used])
    np.testing.assert_array_equal(outputs(weighted), outputs(left_out))


@pytest.mark.parametrize(
    ("two_domains", "source"),
    [
        (TransferRidgeCV(cv=KFold(4), source_alpha=1.0), Ridge(1.0)),
        (TransferLogisticRegressionCV(cv=KFold(4), source_alpha=1.0), LogisticRegression()),
    ],
)
def test_weights_take_part_in_the_choice_of_a_strength(two_domains, source):
    old, new = (Y_OLD, Y) if isinstance(source, Ridge) else (CLASSES_OLD, CLASSES)
    model = WithSource(two_domains, X_OLD, old).fit(X, new, WEIGHTS).estimator_
    expected = clone(two_domains).set_params(source=clone(source).fit(X_OLD, old))
    expected.fit(X, new, WEIGHTS)
    assert model.alpha_ == expected.alpha_
    np.testing.assert_allclose(model.cv_scores_, expected.cv_scores_, rtol=1e-3)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-3, atol=1e-4)
    plain = WithSource(two_domains, X_OLD, old).fit(X, new).estimator_
    assert np.abs(model.cv_scores_ - plain.cv_scores_).max() > 0.01


# --- how they travel -----------------------------------------------------------------------


class Weighing(Recorder):
    """A two-domain estimator of someone else that takes weights of target samples."""

    __metadata_request__fit = {"target_sample_weight": True}

    def fit(
        self, X, y, sample_weight=None, *, X_target=None, y_target=None, target_sample_weight=None
    ):
        super().fit(X, y, sample_weight, X_target=X_target, y_target=y_target)
        self.seen_["target_sample_weight"] = target_sample_weight
        return self


def test_both_weights_reach_an_estimator():
    model = make_pipeline(StandardScaler(), MeanAligner(), Weighing())
    wrapper = held_classes(model, source_sample_weight=np.arange(50.0))
    seen = wrapper.fit(X, CLASSES, WEIGHTS).estimator_[-1].seen_
    np.testing.assert_array_equal(seen["sample_weight"], np.arange(50.0))
    assert isinstance(seen["target_sample_weight"], tuple)
    np.testing.assert_array_equal(seen["target_sample_weight"][0], WEIGHTS)
    np.testing.assert_array_equal(seen["y_target"], CLASSES)
    assert wrapper.fit(X, CLASSES).estimator_[-1].seen_["target_sample_weight"] is None


def test_rows_of_weight_0_reach_no_step():
    weights = np.where(np.arange(20) < 15, WEIGHTS, 0.0)
    fitted = held_classes(make_pipeline(MeanAligner(), Weighing())).fit(X, CLASSES, weights)
    aligner, model = fitted.estimator_[0], fitted.estimator_[1]
    np.testing.assert_array_equal(aligner.target_rows_, X[:15])
    np.testing.assert_array_equal(model.seen_["target_sample_weight"][0], WEIGHTS[:15])
    np.testing.assert_array_equal(model.seen_["y_target"], CLASSES[:15])


def test_without_labels_of_the_target_weights_still_reach_a_reweighter():
    model = held(KMMReweighter(Ridge()), use_y=False).fit(X, Y, WEIGHTS)
    expected = KMMReweighter(Ridge()).fit(X_OLD, Y_OLD, X_target=X, target_sample_weight=WEIGHTS)
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    assert (model.predict(X) != held(KMMReweighter(Ridge()), use_y=False).fit(X).predict(X)).any()


@pytest.mark.parametrize("routing", [False, True])
def test_cross_validate_hands_weights_on(routing):
    with config_context(enable_metadata_routing=routing):
        model = held(make_pipeline(StandardScaler(), PooledEstimator(Ridge())))
        if routing:
            model.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        folds = KFold(4)
        found = cross_validate(model, X, Y, cv=folds, params={"sample_weight": WEIGHTS})
    scores = []
    for train, test in folds.split(X):
        fitted = held(make_pipeline(StandardScaler(), PooledEstimator(Ridge())))
        scores.append(fitted.fit(X[train], Y[train], WEIGHTS[train]).score(X[test], Y[test]))
    np.testing.assert_allclose(found["test_score"], scores, rtol=1e-12)
    plain = cross_validate(held(PooledEstimator(Ridge())), X, Y, cv=folds)
    assert np.abs(found["test_score"] - plain["test_score"]).max() > 1e-4


def test_a_search_around_hands_weights_on():
    grid = {"estimator__target_weight": [0.5, "balanced"]}
    search = GridSearchCV(held(PooledEstimator(Ridge())), grid, cv=3)
    search.fit(X, Y, sample_weight=WEIGHTS)
    best = clone(search.best_estimator_).fit(X, Y, WEIGHTS)
    np.testing.assert_array_equal(search.predict(X), best.predict(X))


def test_bagging_around_draws_target_rows_for_aligners_too():
    """It hands the counts of its draws as weights: rows drawn twice count twice."""
    bag = BaggingRegressor(held(make_pipeline(CORAL(), Ridge())), n_estimators=3, random_state=0)
    bag.fit(X, Y)
    predictions = [member.predict(X) for member in bag.estimators_]
    for drawn, found in zip(bag.estimators_samples_, predictions, strict=True):
        expected = held(make_pipeline(CORAL(), Ridge())).fit(X[drawn], Y[drawn]).predict(X)
        np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert np.abs(predictions[0] - predictions[1]).max() > 1e-3


# --- what takes none -----------------------------------------------------------------------


def test_the_source_only_baseline_uses_no_weight():
    model = held(make_pipeline(StandardScaler(), KNeighborsRegressor()))
    np.testing.assert_array_equal(
        clone(model).fit(X, Y, WEIGHTS).predict(X), clone(model).fit(X, Y).predict(X)
    )


@pytest.mark.filterwarnings("ignore::skltransfer.DomainDataWarning")
def test_without_a_source_they_are_the_weights_of_the_fit():
    model = WithSource(PooledEstimator(Ridge())).fit(X, Y, WEIGHTS)
    np.testing.assert_array_equal(model.predict(X), Ridge().fit(X, Y, WEIGHTS).predict(X))
    with pytest.raises(TypeError, match="KNeighborsRegressor does not support sample_weight"):
        WithSource(KNeighborsRegressor()).fit(X, Y, WEIGHTS)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (Recorder(), "Recorder would leave out the weights of the target rows"),
        (make_pipeline(MeanAligner(), Ridge()), "MeanAligner would leave out the weights"),
        (PooledEstimator(KNeighborsRegressor()), "KNeighborsRegressor does not support sample_we"),
        (
            VotingClassifier([("a", Weighing()), ("b", Recorder())]),
            "Recorder uses X_target, but takes no target_sample_weight in fit",
        ),
    ],
)
def test_what_would_drop_them_is_refused_by_name(estimator, message):
    with pytest.raises(TypeError, match=message):
        held_classes(estimator).fit(X, CLASSES, WEIGHTS)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (-WEIGHTS, "sample_weight holds numbers below 0"),
        (0 * WEIGHTS, "sample_weight is 0 for all rows of X"),
        (WEIGHTS[1:], r"sample_weight has the shape \(19,\), but X has 20 rows"),
    ],
)
@pytest.mark.parametrize("name", ["pooled", "aligned"])
def test_bad_weights_are_refused(name, weights, message):
    with pytest.raises(ValueError, match=message):
        clone(MODELS[name]).fit(X, Y, weights)


def test_with_target_fits_as_before():
    model = WithTarget(PooledEstimator(Ridge()), X, Y).fit(X_OLD, Y_OLD)
    np.testing.assert_array_equal(
        model.predict(X), held(PooledEstimator(Ridge())).fit(X, Y).predict(X)
    )
