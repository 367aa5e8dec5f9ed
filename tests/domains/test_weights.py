"""Weights of samples reach every fit inside a composition, or the composition is refused."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import RFE, RFECV, SelectFromModel, SequentialFeatureSelector
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    LogisticRegression,
    RANSACRegressor,
    Ridge,
    RidgeClassifierCV,
    RidgeCV,
)
from sklearn.metrics import get_scorer, make_scorer
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import (
    ClassifierChain,
    MultiOutputClassifier,
    MultiOutputRegressor,
    RegressorChain,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.semi_supervised import SelfTrainingClassifier

from skltransfer import (
    KMMReweighter,
    PooledEstimator,
    SourceSelector,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    WithTarget,
)
from skltransfer.domains._weights import weight_obstacle

N, M = 40, 10
rng = np.random.default_rng(0)
# The whole part of each column is the number of the row: what is drawn or cut stays known.
NUMBERS = np.arange(N + M)[:, None]
ROWS = NUMBERS + rng.uniform(0, 0.9, (N + M, 3))
LABELS = np.arange(N + M) % 3
WEIGHTS = rng.uniform(0.5, 1.5, N)
WEIGHTS_OF_BOTH = np.concatenate([WEIGHTS, np.ones(M)])
FITS = []


class Recording(BaseEstimator):
    def __init__(self, setting=0, is_final=False):
        self.setting = setting
        self.is_final = is_final

    def fit(self, X, y, sample_weight=None):
        rows = np.arange(len(X)) if self.is_final else np.floor(X[:, 0]).astype(int)
        FITS.append((rows, sample_weight))
        self.coef_ = np.linspace(1, 2, X.shape[1])
        self.n_features_in_ = X.shape[1]
        return self


class RecordingClassifier(ClassifierMixin, Recording):
    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return super().fit(X, y, sample_weight)

    def predict_proba(self, X):
        shares = np.column_stack([(X.sum(axis=1) * (k + 1)) % 1 for k in range(len(self.classes_))])
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class RecordingRegressor(RegressorMixin, Recording):
    def predict(self, X):
        return X.sum(axis=1)


class Unchanged(TransformerMixin, BaseEstimator):
    """Asks for the target, and returns the samples as they are."""

    __metadata_request__fit = {"X_target": True}

    def fit(self, X, y=None, *, X_target=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X

    def __sklearn_is_fitted__(self):
        return True


def plain(recording):
    return recording


def in_pipeline(recording):
    return make_pipeline(FunctionTransformer(), recording)


def in_pipelines(recording):
    return Pipeline([("outer", FunctionTransformer()), ("inner", in_pipeline(recording))])


CLASSIFIERS = {
    "calibration": lambda e: CalibratedClassifierCV(e, cv=2),
    "calibration without ensemble": lambda e: CalibratedClassifierCV(e, cv=2, ensemble=False),
    "voting": lambda e: VotingClassifier([("a", e), ("b", RecordingClassifier(1))]),
    "pipeline in voting": lambda e: in_pipeline(VotingClassifier([("a", e)])),
    "stacking": lambda e: StackingClassifier(
        [("a", e), ("b", RecordingClassifier(1))], RecordingClassifier(is_final=True), cv=2
    ),
    "one-vs-rest": OneVsRestClassifier,
    "one-vs-one": OneVsOneClassifier,
    "output codes": lambda e: OutputCodeClassifier(e, random_state=0),
    "grid": lambda e: GridSearchCV(e, {}, cv=2, scoring="accuracy", error_score="raise"),
    "candidates": lambda e: GridSearchCV(
        Pipeline([("first", "passthrough"), ("last", clone(e))]),
        {"first": [FunctionTransformer()], "last": [e]},
        cv=2,
        error_score="raise",
    ),
    "random": lambda e: RandomizedSearchCV(
        VotingClassifier([("a", e)]), {"voting": ["soft", "hard"]}, n_iter=1, cv=2
    ),
    "halving": lambda e: HalvingGridSearchCV(
        VotingClassifier([("a", e)]), {"voting": ["soft"]}, cv=2, random_state=0
    ),
}
BINARY = {
    "fixed threshold": FixedThresholdClassifier,
    "tuned threshold": lambda e: TunedThresholdClassifierCV(e, cv=2, thresholds=4),
}
SEVERAL_LABELS = {
    "outputs": MultiOutputClassifier,
    "chain": lambda e: ClassifierChain(e, random_state=0),
}
REGRESSORS = {
    "voting of numbers": lambda e: VotingRegressor([("a", e)]),
    "stacking of numbers": lambda e: StackingRegressor(
        [("a", e)], RecordingRegressor(is_final=True), cv=2
    ),
    "transformed": lambda e: TransformedTargetRegressor(e, func=np.log1p, inverse_func=np.expm1),
}
SEVERAL_NUMBERS = {
    "outputs of numbers": MultiOutputRegressor,
    "chain of numbers": lambda e: RegressorChain(e, order=[1, 0]),
}
# They read coefficients of the estimator itself.
SELECTORS = {
    "RFE": lambda e: RFE(e, n_features_to_select=2),
    "RFECV": lambda e: RFECV(e, cv=2, min_features_to_select=2),
    "threshold of coefficients": lambda e: SelectFromModel(e),
}
KINDS = [
    (CLASSIFIERS, RecordingClassifier(), LABELS),
    (BINARY, RecordingClassifier(), LABELS % 2),
    (SEVERAL_LABELS, RecordingClassifier(), np.column_stack([LABELS % 2, NUMBERS[:, 0] % 4 > 1])),
    (REGRESSORS, RecordingRegressor(), LABELS * 1.0),
    (SEVERAL_NUMBERS, RecordingRegressor(), np.column_stack([LABELS, NUMBERS]) * 1.0),
    (SELECTORS, RecordingClassifier(), LABELS),
]
COMPOSITIONS = [
    pytest.param(make, recording, y, id=name)
    for makes, recording, y in KINDS
    for name, make in makes.items()
]


def check_fits(weights):
    assert FITS
    for rows, seen in FITS:
        assert seen is not None
        np.testing.assert_array_equal(seen, weights[rows])


@pytest.mark.filterwarnings("ignore::UserWarning")  # of scikit-learn, on classes of few rows
@pytest.mark.parametrize(("make", "recording", "y"), COMPOSITIONS)
def test_weights_reach_every_fit(make, recording, y):
    insides = [plain] if make in SELECTORS.values() else [plain, in_pipelines]
    for inside in insides:
        model = make(inside(recording))
        assert weight_obstacle(model) is None
        FITS.clear()
        known = {"X_target": ROWS[N:], "y_target": y[N:]}
        fitted = PooledEstimator(model).fit(ROWS[:N], y[:N], WEIGHTS, **known).estimator_
        check_fits(WEIGHTS_OF_BOTH)
        assert type(fitted) is type(model)
        FITS.clear()  # by the keyword of the target
        behind = make_pipeline(Unchanged(), model)
        WithTarget(behind, ROWS[N:]).fit(ROWS[:N], y[:N], WEIGHTS)
        check_fits(WEIGHTS)


class TwoDomains:
    """Asks for the target."""

    __metadata_request__fit = {"X_target": True}

    def fit(self, X, y, sample_weight=None, *, X_target=None):
        assert X_target is not None
        return super().fit(X, y, sample_weight)


class TwoDomainClassifier(TwoDomains, RecordingClassifier):
    pass


class TwoDomainRegressor(TwoDomains, RecordingRegressor):
    pass


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("make", "recording", "y"), COMPOSITIONS)
def test_weights_reach_every_fit_on_two_domains(make, recording, y):
    two = TwoDomainRegressor() if isinstance(recording, RegressorMixin) else TwoDomainClassifier()
    inside = two if make in SELECTORS.values() else in_pipeline(two)
    model = WithTarget(make(inside), ROWS[N:])
    FITS.clear()
    if isinstance(model.estimator, StackingClassifier | StackingRegressor):
        with pytest.raises(TypeError, match="around each of its members"):
            model.fit(ROWS[:N], y[:N], WEIGHTS)
        return
    model.fit(ROWS[:N], y[:N], WEIGHTS)
    check_fits(WEIGHTS)


UNWEIGHTED = [
    (VotingClassifier([("a", RecordingClassifier()), ("b", KNeighborsClassifier())]), "KNeigh"),
    (StackingClassifier([("a", RecordingClassifier())], KNeighborsClassifier()), "KNeighbors"),
    (make_pipeline(Unchanged(), OneVsRestClassifier(KNeighborsClassifier())), "KNeighbors"),
    (CalibratedClassifierCV(in_pipeline(KNeighborsClassifier())), "KNeighborsClassifier does"),
    (
        GridSearchCV(
            VotingClassifier([("a", RecordingClassifier())]), {"a": [KNeighborsClassifier()]}
        ),
        "KNeighborsClassifier does not",
    ),
    (in_pipeline(KNeighborsClassifier()), "does not support sample_weight in fit. Use one"),
    (Pipeline([("a", Unchanged()), ("b", "passthrough")]), "does not support sample_weight"),
    (SelfTrainingClassifier(RecordingClassifier()), "Put what weighs them inside"),
    (AdaBoostClassifier(in_pipeline(RecordingClassifier())), "before AdaBoostClassifier"),
    (RANSACRegressor(in_pipeline(RecordingRegressor())), "before RANSACRegressor"),
    (FrozenEstimator(RecordingClassifier()), "without FrozenEstimator"),
    (
        TunedThresholdClassifierCV(
            RecordingClassifier(), scoring=make_scorer(lambda y, predicted: 1.0)
        ),
        "metric <lambda> does not take",
    ),
]


@pytest.mark.parametrize(("inside", "message"), UNWEIGHTED)
def test_what_weights_would_not_reach_is_refused(inside, message):
    y = LABELS[:N] % 2
    FITS.clear()
    for reweighter in (KMMReweighter(inside), SourceSelector(inside, use_weights=True)):
        with pytest.raises(TypeError, match=message):
            reweighter.fit(ROWS[:N], y, X_target=ROWS[N:])
    boost = TrAdaBoostRegressor if isinstance(inside, RegressorMixin) else TrAdaBoostClassifier
    with pytest.raises(TypeError, match=message):
        boost(inside).fit(ROWS[:N], y, X_target=ROWS[N:], y_target=LABELS[N:] % 2)
    with pytest.raises(TypeError, match=message):
        WithTarget(make_pipeline(Unchanged(), inside), ROWS[N:]).fit(ROWS[:N], y, WEIGHTS)
    assert not FITS


def test_samples_are_drawn_by_weights_where_members_take_none():
    weights = (NUMBERS[:N, 0] < 20) * 1.0
    for members in (KNeighborsClassifier(1), in_pipeline(KNeighborsClassifier(1))):
        bagging = BaggingClassifier(members, n_estimators=3, random_state=0)
        for outer in (bagging, VotingClassifier([("bagging", bagging)])):
            model = make_pipeline(Unchanged(), outer)
            fitted = WithTarget(model, ROWS[N:]).fit(ROWS[:N], LABELS[:N], weights).estimator_[-1]
            fitted = fitted if outer is bagging else fitted.estimators_[0]
            assert np.concatenate(fitted.estimators_samples_).max() < 20
    boosted = AdaBoostRegressor(RecordingRegressor(), n_estimators=2, random_state=0)
    FITS.clear()
    known = {"X_target": ROWS[N:], "y_target": LABELS[N:]}
    PooledEstimator(boosted).fit(ROWS[:N], LABELS[:N], weights, **known)
    assert all(((rows < 20) | (rows >= N)).all() for rows, _ in FITS)


def test_a_threshold_is_tuned_on_the_weighted_samples():
    X, y = np.linspace(-1, 1, N)[:, None], NUMBERS[:N, 0] % 3 == 0
    weights = np.where(y, 5.0, 0.5) * WEIGHTS
    tuned = TunedThresholdClassifierCV(LogisticRegression(), cv=2, thresholds=9)
    fitted = PooledEstimator(tuned).fit(X, y, weights, X_target=X[:2], y_target=y[:2]).estimator_
    with config_context(enable_metadata_routing=True):
        by_hand = TunedThresholdClassifierCV(
            LogisticRegression().set_fit_request(sample_weight=True),
            scoring=get_scorer("balanced_accuracy").set_score_request(sample_weight=True),
            cv=2,
            thresholds=9,
        ).fit(
            np.concatenate([X, X[:2]]),
            np.concatenate([y, y[:2]]),
            sample_weight=np.concatenate([weights, [1, 1]]),
        )
    assert fitted.best_threshold_ == by_hand.best_threshold_
    assert fitted.best_score_ == by_hand.best_score_


@pytest.mark.filterwarnings("ignore:.*stops after one round")  # the second one counts here
@pytest.mark.parametrize("name", ["voting", "one-vs-rest"])
def test_each_round_of_boosting_hands_on_its_weights(name):
    y = RecordingClassifier().fit(ROWS, [0, 1]).predict(ROWS) ^ (NUMBERS[:, 0] % 5 == 0)
    FITS.clear()
    make = CLASSIFIERS[name]
    model = TrAdaBoostClassifier(make(in_pipeline(RecordingClassifier())), n_estimators=3)
    model.fit(ROWS[:N], y[:N], WEIGHTS, X_target=ROWS[N:], y_target=y[N:])
    seen = [weights for _, weights in FITS]
    assert len({weights.tobytes() for weights in seen}) == 2
    for weights in seen:
        assert any(np.array_equal(weights, each) for each in model.sample_weight_history_)


def test_a_request_of_the_user_is_kept():
    with config_context(enable_metadata_routing=True):
        declines = RecordingClassifier().set_fit_request(sample_weight=False)
    voting = VotingClassifier([("a", RecordingClassifier(1)), ("b", declines)])
    FITS.clear()
    known = {"X_target": ROWS[N:], "y_target": LABELS[N:]}
    PooledEstimator(voting).fit(ROWS[:N], LABELS[:N], WEIGHTS, **known)
    assert [weights is None for _, weights in FITS] == [False, True]


@pytest.mark.parametrize("make", SELECTORS.values(), ids=SELECTORS)
def test_selectors_in_front_see_the_weights_too(make):
    model = make_pipeline(FunctionTransformer(), make(RecordingClassifier()), RecordingClassifier())
    known = {"X_target": ROWS[N:], "y_target": LABELS[N:]}
    FITS.clear()
    PooledEstimator(model).fit(ROWS[:N], LABELS[:N], WEIGHTS, **known)
    check_fits(WEIGHTS_OF_BOTH)
    FITS.clear()
    WithTarget(make_pipeline(Unchanged(), model), ROWS[N:]).fit(ROWS[:N], LABELS[:N], WEIGHTS)
    check_fits(WEIGHTS)
    model = make_pipeline(SequentialFeatureSelector(KNeighborsClassifier(), cv=2), model[-1])
    PooledEstimator(model).fit(ROWS[:N], LABELS[:N], WEIGHTS, **known)


def test_no_request_is_left_behind():
    voting = VotingClassifier([("a", in_pipeline(LogisticRegression()))])
    known = {"X_target": ROWS[N:], "y_target": LABELS[N:]}
    model = PooledEstimator(voting).fit(ROWS[:N], LABELS[:N], WEIGHTS, **known)
    for part in model.get_params().values():
        assert "_metadata_request" not in getattr(part, "__dict__", {})
    for part in (
        *model.estimator_.estimators_,
        model.estimator_,
        model.estimator_.estimators_[0][-1],
    ):
        assert "_metadata_request" not in vars(part)


def test_frozen_members_need_no_weights():
    frozen = FrozenEstimator(DummyClassifier().fit(ROWS, LABELS))
    weights = np.where(LABELS[:N] == 0, 50.0, 1.0)
    known = {"X_target": ROWS[N:], "y_target": LABELS[N:]}
    model = PooledEstimator(CalibratedClassifierCV(frozen, method="isotonic"))
    model.fit(ROWS[:N], LABELS[:N], weights, **known)
    assert model.predict_proba(ROWS)[:, 0].min() > 0.8


def test_weights_that_vanish_in_single_precision_are_refused():
    X, y = ROWS[:N].astype(np.float32), np.arange(N, dtype=float)
    for tiny in (np.full(N, 1e-300), np.full(N, 1e-50)):
        with pytest.raises(ValueError, match="sample_weight is zero in the precision of X"):
            KMMReweighter(Ridge()).fit(X, y, tiny, X_target=X[:5])
    KMMReweighter(Ridge()).fit(X.astype(float), y, np.full(N, 1e-50), X_target=X[:5].astype(float))


@pytest.mark.parametrize("searcher", [RidgeCV(), RidgeClassifierCV()])
@pytest.mark.parametrize("is_in_pipeline", [False, True])
def test_ridges_with_a_search_of_their_own_take_weights(searcher, is_in_pipeline):
    # Without `scoring`, scikit-learn asks their scorer for requests, which asks them again.
    inner = make_pipeline(FunctionTransformer(), searcher) if is_in_pipeline else searcher
    model = WithTarget(KMMReweighter(inner), X_target=ROWS[:15]).fit(ROWS[:N], LABELS[:N])
    weights = model.estimator_.sample_weight_
    assert np.ptp(weights) > 0.1
    expected = clone(searcher).fit(ROWS[:N], LABELS[:N], sample_weight=weights)
    np.testing.assert_array_equal(model.predict(ROWS), expected.predict(ROWS))
