"""What target samples weigh in the fits of pooling, reweighters and boosting."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone, is_classifier
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skltransfer import (
    DiscriminativeReweighter,
    DomainDataWarning,
    GaussianReweighter,
    KernelDensityReweighter,
    KLIEPReweighter,
    KMMReweighter,
    LabelShiftReweighter,
    NearestNeighborsReweighter,
    PooledEstimator,
    SourceSelector,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    TwoStageTrAdaBoostRegressor,
    ULSIFReweighter,
)

rng = np.random.default_rng(0)
X, X_TARGET = rng.normal(size=(60, 2)), rng.normal(0.5, 0.8, size=(24, 2))
Y = (X[:, 0] + 0.5 * rng.normal(size=60) > 0).astype(int)
Y_TARGET = (X_TARGET @ [0.7, 1.0] + 0.5 * rng.normal(size=24) > 0.5).astype(float)
Y_TARGET[::4] = np.nan
KNOWN = ~np.isnan(Y_TARGET)
WEIGHTS, WEIGHTS_OF_TARGET = rng.uniform(0.5, 2, 60), rng.uniform(0.5, 2, 24)
TARGET = {"X_target": X_TARGET, "y_target": Y_TARGET}

POOLED = PooledEstimator(LogisticRegression())
REWEIGHTERS = [
    POOLED,
    KMMReweighter(LogisticRegression(), tol=1e-10),
    KMMReweighter(LogisticRegression(), kernel="laplacian", tol=1e-10),
    KMMReweighter(LogisticRegression(), dtype="float32", tol=1e-2),
    KLIEPReweighter(LogisticRegression(), gamma=1.0, tol=1e-10),
    ULSIFReweighter(LogisticRegression()),
    ULSIFReweighter(LogisticRegression(), alpha=0.1, n_centers=10),
    DiscriminativeReweighter(LogisticRegression()),
    NearestNeighborsReweighter(LogisticRegression()),
    GaussianReweighter(LogisticRegression()),
    KernelDensityReweighter(LogisticRegression(), bandwidth="cv"),
    LabelShiftReweighter(LogisticRegression()),
    LabelShiftReweighter(LogisticRegression(), method="bbse"),
    LabelShiftReweighter(LogisticRegression(), method="rlls"),
    SourceSelector(LogisticRegression(), use_weights=True),
    SourceSelector(LogisticRegression(), keep="neighbors"),
]
BOOSTED = [
    TrAdaBoostClassifier(DecisionTreeClassifier(max_depth=3), n_estimators=5),
    TrAdaBoostRegressor(DecisionTreeRegressor(max_depth=2), n_estimators=5),
    TwoStageTrAdaBoostRegressor(Ridge(), n_estimators=3, n_steps=3, cv=2),
]


class Seen(RegressorMixin, BaseEstimator):
    """Keeps what it is fitted on, and predicts the weighted mean."""

    def fit(self, X, y, sample_weight=None):
        self.weights_ = sample_weight
        self.mean_ = np.average(y, weights=sample_weight)
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


class SeenClassifier(ClassifierMixin, Seen):
    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        return super().fit(X, y, sample_weight)


def outputs(model):
    """Return what a fitted model predicts for new rows."""
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    return getattr(model, method)(X[:20])


def labels_for(model):
    """Return labels of both domains: classes, or numbers."""
    if is_classifier(model):
        return Y, Y_TARGET
    return X @ [1.0, 2.0], np.where(KNOWN, X_TARGET @ [1.5, 1.0] + X_TARGET[:, 0] ** 2, np.nan)


def fitted(model, rows=None, **weights):
    """Return a fitted clone; `rows` are the target samples to take."""
    y, y_target = labels_for(model)
    rows = np.arange(24) if rows is None else rows
    target = {"X_target": X_TARGET[rows], "y_target": y_target[rows]}
    return clone(model).fit(X, y, **target, **weights)


def named(model):
    return repr(model).replace("\n", "")


# --- the weights -------------------------------------------------------------------------


def test_weighted_ridge_by_hand():
    y, y_target = X @ [1.0, 2.0], X_TARGET @ [2.0, -1.0]
    y_target[::4] = np.nan
    model = PooledEstimator(Ridge(alpha=3.0), target_weight=2.5)
    model.fit(
        X, y, WEIGHTS, X_target=X_TARGET, y_target=y_target, target_sample_weight=WEIGHTS_OF_TARGET
    )
    rows = np.column_stack([np.vstack([X, X_TARGET[KNOWN]]), np.ones(60 + KNOWN.sum())])
    weights = np.diag(np.concatenate([WEIGHTS, 2.5 * WEIGHTS_OF_TARGET[KNOWN]]))
    penalty = np.diag([3.0, 3.0, 0.0])
    labels = np.concatenate([y, y_target[KNOWN]])
    expected = np.linalg.solve(rows.T @ weights @ rows + penalty, rows.T @ weights @ labels)
    np.testing.assert_allclose(model.estimator_.coef_, expected[:2], rtol=1e-10)
    np.testing.assert_allclose(model.estimator_.intercept_, expected[2], rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_balanced_domains_weigh_alike_and_the_sum_stays(weighted):
    source = WEIGHTS if weighted else np.ones(60)
    target = WEIGHTS_OF_TARGET[KNOWN] if weighted else np.ones(KNOWN.sum())
    given = {"target_sample_weight": WEIGHTS_OF_TARGET} if weighted else {}
    model = PooledEstimator(SeenClassifier(), target_weight="balanced")
    model.fit(X, Y, source if weighted else None, **TARGET, **given)
    seen = model.estimator_.weights_
    total = source.sum() + target.sum()
    np.testing.assert_allclose(seen[:60], source * total / 2 / source.sum(), rtol=1e-12)
    np.testing.assert_allclose(seen[60:], target * total / 2 / target.sum(), rtol=1e-12)
    np.testing.assert_array_equal(model.sample_weight_, source)


@pytest.mark.parametrize("target_weight", [0.3, "balanced"])
@pytest.mark.parametrize("model", REWEIGHTERS, ids=named)
def test_reweighters_hand_the_weights_on(model, target_weight):
    model = clone(model).set_params(estimator=SeenClassifier(), target_weight=target_weight)
    if isinstance(model, LabelShiftReweighter):
        model.set_params(classifier=LogisticRegression())
    model.fit(X, Y, **TARGET, target_sample_weight=WEIGHTS_OF_TARGET)
    source, target = model.sample_weight_, WEIGHTS_OF_TARGET[KNOWN]
    if isinstance(model, SourceSelector):
        source = source[model.support_]
    seen = model.estimator_.weights_
    of_source, of_target = seen[: len(source)], seen[len(source) :]
    factor = 0.3
    if target_weight == "balanced":
        assert of_source.sum() == pytest.approx(of_target.sum())
        assert seen.sum() == pytest.approx(source.sum() + target.sum())
        factor = source.sum() / target.sum()
    np.testing.assert_allclose(
        of_target / of_source.sum(), factor * target / source.sum(), rtol=1e-12
    )
    np.testing.assert_allclose(of_source / of_source.sum(), source / source.sum(), rtol=1e-12)


@pytest.mark.parametrize("model", BOOSTED, ids=named)
def test_boosting_starts_at_the_weights(model):
    given = {"sample_weight": WEIGHTS, "target_sample_weight": WEIGHTS_OF_TARGET}
    source, target = WEIGHTS.sum(), WEIGHTS_OF_TARGET[KNOWN].sum()
    model = clone(model)
    model = fitted(model.set_params(target_weight=3.0), **given)
    first = np.concatenate([WEIGHTS, 3 * WEIGHTS_OF_TARGET[KNOWN]])
    np.testing.assert_allclose(model.sample_weight_history_[0], first, rtol=1e-6)
    model = fitted(model.set_params(target_weight="balanced"), **given)
    first[:60] *= (source + target) / 2 / source
    first[60:] *= (source + target) / 2 / (3 * target)
    np.testing.assert_allclose(model.sample_weight_history_[0], first, rtol=1e-6)


def test_the_source_size_of_boosting_is_that_of_the_source():
    """The factor of TrAdaBoost counts source samples; "balanced" does not make them fewer."""
    model = fitted(clone(BOOSTED[0]).set_params(target_weight="balanced"))
    wrong = model.estimators_[0].predict(X) != Y
    before, after = model.sample_weight_history_[:2, :60]
    ratio = after / before
    beta = 1 / (1 + np.sqrt(2 * np.log(60) / 5))
    np.testing.assert_allclose(ratio[wrong].mean() / ratio[~wrong].mean(), beta, rtol=1e-6)


# --- a weight is a number of rows --------------------------------------------------------

COUNTS = np.random.default_rng(1).integers(0, 4, 24)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("target_weight", [1.0, "balanced"])
@pytest.mark.parametrize("model", [*REWEIGHTERS, *BOOSTED[:2]], ids=named)
def test_a_weight_is_a_number_of_rows(model, target_weight):
    model = clone(model).set_params(target_weight=target_weight)
    weighted = fitted(model, target_sample_weight=COUNTS)
    repeated = fitted(model, np.repeat(np.arange(24), COUNTS))
    tol = 1e-3 if "float32" in repr(model) else 1e-6
    np.testing.assert_allclose(weighted.sample_weight_, repeated.sample_weight_, rtol=tol, atol=tol)
    np.testing.assert_allclose(outputs(weighted), outputs(repeated), rtol=tol, atol=tol)
    unweighted = fitted(model)
    assert np.abs(outputs(weighted) - outputs(unweighted)).max() > 1e-3


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", [*REWEIGHTERS, *BOOSTED], ids=named)
def test_a_row_of_weight_0_is_left_out(model):
    used = np.arange(24) % 5 > 0
    weighted = fitted(model, target_sample_weight=used.astype(float))
    left_out = fitted(model, np.flatnonzero(used))
    np.testing.assert_array_equal(outputs(weighted), outputs(left_out))
    np.testing.assert_array_equal(weighted.sample_weight_, left_out.sample_weight_)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", [*REWEIGHTERS, *BOOSTED], ids=named)
def test_weights_of_one_change_no_bit(model):
    plain, ones = fitted(model), fitted(model, target_sample_weight=np.ones(24))
    np.testing.assert_array_equal(outputs(plain), outputs(ones))


def test_held_out_errors_of_two_stages_are_weighted():
    """Only the row of large weight can decide: with its folds given, its error is the error."""
    folds = [(np.arange(1, 18), [0]), ([0], np.arange(1, 18))]
    model = TwoStageTrAdaBoostRegressor(Ridge(), n_estimators=2, n_steps=3, cv=folds)
    weights = np.ones(24)
    weights[np.flatnonzero(KNOWN)[0]] = 1e9
    both = fitted(model, target_sample_weight=weights).cv_errors_
    alone = fitted(model.set_params(cv=[folds[0]]), target_sample_weight=weights).cv_errors_
    np.testing.assert_allclose(both, alone, rtol=1e-4)


# --- estimators that take no weights -----------------------------------------------------


@pytest.mark.parametrize("wrap", [PooledEstimator, SourceSelector])
def test_whole_numbers_repeat_rows_where_no_weights_are_taken(wrap):
    model = wrap(KNeighborsClassifier(), target_weight=3).fit(X, Y, **TARGET)
    support = getattr(model, "support_", np.ones(60, dtype=bool))
    rows = np.vstack([X[support], np.repeat(X_TARGET[KNOWN], 3, axis=0)])
    labels = np.concatenate([Y[support], np.repeat(Y_TARGET[KNOWN], 3)])
    expected = KNeighborsClassifier().fit(rows, labels).predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@pytest.mark.parametrize("target_weight", [0.5, "balanced"])
@pytest.mark.parametrize("wrap", [PooledEstimator, SourceSelector, KMMReweighter])
def test_other_numbers_need_weights(wrap, target_weight):
    model = wrap(KNeighborsClassifier(), target_weight=target_weight)
    with pytest.raises(TypeError, match="KNeighborsClassifier does not support sample_weight"):
        model.fit(X, Y, **TARGET)
    fractions = PooledEstimator(KNeighborsClassifier())
    with pytest.raises(TypeError, match="KNeighborsClassifier does not support sample_weight"):
        fractions.fit(X, Y, **TARGET, target_sample_weight=WEIGHTS_OF_TARGET)


# --- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize("target_weight", [0, -1, np.inf, np.nan, "balance", None, True])
@pytest.mark.parametrize("model", [POOLED, *BOOSTED[:1]], ids=named)
def test_a_bad_target_weight_is_refused(model, target_weight):
    with pytest.raises(ValueError, match="target_weight.*greater than 0 or 'balanced'"):
        clone(model).set_params(target_weight=target_weight).fit(X, Y, **TARGET)


BAD = [
    (-np.ones(24), "target_sample_weight holds numbers below 0"),
    (np.zeros(24), "target_sample_weight is 0 for all rows of X_target"),
    (np.ones(23), r"target_sample_weight has the shape \(23,\), but X_target has 24 rows"),
    (np.ones((24, 1)), r"target_sample_weight has the shape \(24, 1\)"),
    (np.full(24, np.nan), "target_sample_weight contains NaN"),
]


@pytest.mark.parametrize(("weights", "message"), BAD)
@pytest.mark.parametrize("model", [POOLED, *BOOSTED[:1]], ids=named)
def test_bad_weights_are_refused(model, weights, message):
    with pytest.raises(ValueError, match=message):
        clone(model).fit(X, Y, **TARGET, target_sample_weight=weights)


def test_labels_of_the_target_alone_are_refused():
    with pytest.raises(ValueError, match="y_target was given without y"):
        KMMReweighter(KMeans(2)).fit(X, **TARGET)


def test_weights_without_rows_are_refused():
    with pytest.raises(ValueError, match="target_sample_weight was given without X_target"):
        clone(POOLED).fit(X, Y, target_sample_weight=np.ones(24))


def test_no_labelled_row_of_weight_is_no_label():
    weights = np.where(KNOWN, 0.0, 1.0)
    with pytest.warns(DomainDataWarning, match="no label of a target row"):
        model = clone(POOLED).set_params(target_weight="balanced")
        model.fit(X, Y, **TARGET, target_sample_weight=weights)
    expected = LogisticRegression().fit(X, Y).predict_proba(X[:20])
    np.testing.assert_array_equal(outputs(model), expected)
