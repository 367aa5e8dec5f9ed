"""TransferRidge: against closed forms, scikit-learn's Ridge, and what must hold at the ends."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.ensemble import BaggingRegressor
from sklearn.linear_model import (
    LogisticRegression,
    PoissonRegressor,
    RANSACRegressor,
    Ridge,
)
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import DomainDataWarning, TransferRidge, TransferRidgeCV, WithSource, WithTarget


@pytest.fixture
def tasks():
    """Return source rows and labels, target rows and labels: the coefficients differ a little."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=8)
    X, X_target = rng.normal(size=(200, 8)), rng.normal(size=(30, 8))
    y = X @ w + 1.0 + 0.1 * rng.normal(size=200)
    w_target = w + 0.3 * rng.normal(size=8)
    return X, y, X_target, X_target @ w_target + 2.0 + 0.5 * rng.normal(size=30)


def value(model, X, y, alpha, weights=1.0, on_intercept=0.0):
    """Return the objective, from the fitted attributes alone."""
    errors = (y - X @ model.coef_.T - model.intercept_) ** 2
    moved = model.coef_ - model.source_coef_
    raised = model.intercept_ - model.source_intercept_
    return (weights * errors.T).sum() + (alpha * moved**2).sum() + (on_intercept * raised**2).sum()


def test_equals_the_closed_form(tasks):
    X, y, X_target, y_target = tasks
    source = Ridge().fit(X, y)
    model = TransferRidge(source, alpha=3.0, penalize_intercept=True).fit(X_target, y_target)
    Z = np.column_stack([X_target, np.ones(30)])
    v0 = np.append(source.coef_, source.intercept_)
    v = np.linalg.solve(Z.T @ Z + 3 * np.eye(9), Z.T @ y_target + 3 * v0)
    np.testing.assert_allclose(np.append(model.coef_, model.intercept_), v, rtol=1e-10)
    np.testing.assert_array_equal(model.source_coef_, source.coef_)
    assert not np.allclose(model.coef_, source.coef_, atol=1e-2)


def test_a_source_of_zeros_is_scikit_learns_ridge(tasks):
    _, _, X, y = tasks
    Y = np.column_stack([y, -y, y**2])
    for targets in (y, Y):
        zeros = np.zeros((targets.reshape(30, -1).shape[1], 8))
        model = TransferRidge(zeros, alpha=2.0).fit(X, targets, np.arange(30))
        expected = Ridge(alpha=2.0).fit(X, targets, np.arange(30))
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)
        np.testing.assert_allclose(model.intercept_, expected.intercept_, rtol=1e-9)
        np.testing.assert_allclose(model.predict(X), expected.predict(X))
        assert model.coef_.shape == expected.coef_.shape
        assert np.shape(model.intercept_) == np.shape(expected.intercept_)


@pytest.mark.parametrize("alpha", [1.0, np.arange(8.0), np.array([[1.0], [5.0]])])
@pytest.mark.parametrize(
    "settings",
    [{"penalize_intercept": True}, {"penalize_intercept": False}, {"fit_intercept": False}],
)
def test_no_other_coefficients_are_better(tasks, alpha, settings):
    X, y, X_target, y_target = tasks
    Y, Y_target = np.column_stack([y, y**2]), np.column_stack([y_target, y_target**2])
    weights = np.arange(30) % 4
    model = TransferRidge(Ridge().fit(X, Y), alpha=alpha, **settings)
    model.fit(X_target, Y_target, weights)
    penalty = np.broadcast_to(alpha, (2, 8))
    on_intercept = penalty.mean(axis=1) if settings.get("penalize_intercept") else 0.0
    best = value(model, X_target, Y_target, penalty, weights, on_intercept)
    rng = np.random.default_rng(0)
    for _ in range(50):
        other = clone(model)
        other.source_coef_, other.source_intercept_ = model.source_coef_, model.source_intercept_
        other.coef_ = model.coef_ + 1e-4 * rng.normal(size=(2, 8))
        other.intercept_ = model.intercept_
        if settings.get("fit_intercept", True):
            other.intercept_ = model.intercept_ + 1e-4 * rng.normal(size=2)
        assert value(other, X_target, Y_target, penalty, weights, on_intercept) > best
    if "fit_intercept" in settings:
        np.testing.assert_array_equal(model.intercept_, model.source_intercept_)


def test_the_ends_are_the_task_alone_and_the_source(tasks):
    X, y, X_target, y_target = tasks
    source = Ridge().fit(X, y)
    settings = {"penalize_intercept": True}
    alone = TransferRidge(source, alpha=0.0, **settings).fit(X_target, y_target)
    least_squares = Ridge(alpha=0.0).fit(X_target, y_target)
    np.testing.assert_allclose(alone.coef_, least_squares.coef_, rtol=1e-9)
    for alpha in (1e14, np.inf):
        carried = TransferRidge(source, alpha=alpha, **settings).fit(X_target, y_target)
        np.testing.assert_allclose(carried.coef_, source.coef_, atol=1e-9)
        np.testing.assert_allclose(carried.intercept_, source.intercept_, atol=1e-9)
    free = TransferRidge(source, alpha=1e14, penalize_intercept=False).fit(X_target, y_target)
    shift = (y_target - X_target @ source.coef_).mean()
    np.testing.assert_allclose(free.intercept_, shift, rtol=1e-9)


def test_a_weight_is_a_repeated_row(tasks):
    X, y, X_target, y_target = tasks
    counts = np.arange(30) % 3
    model = TransferRidge(Ridge().fit(X, y), alpha=2.0)
    weighted = clone(model).fit(X_target, y_target, counts)
    repeated = clone(model).fit(np.repeat(X_target, counts, 0), np.repeat(y_target, counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-10)


def test_two_domains_learn_the_source_first(tasks):
    X, y, X_target, y_target = tasks
    known = y_target.copy()
    known[20:] = np.nan
    weights = np.arange(1.0, 201.0)
    model = TransferRidge(alpha=2.0, source_alpha=7.0)
    model.fit(X, y, weights, X_target=X_target, y_target=known)
    source = Ridge(alpha=7.0).fit(X, y, weights)
    np.testing.assert_allclose(model.source_coef_, source.coef_, rtol=1e-9)
    expected = TransferRidge(source, alpha=2.0).fit(X_target[:20], y_target[:20])
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)
    np.testing.assert_allclose(model.intercept_, expected.intercept_, rtol=1e-9)


def test_in_a_pipeline_behind_a_scaler_through_both_wrappers(tasks):
    X, y, X_target, y_target = tasks
    X, X_target = 100 * X + 5, 100 * X_target + 5
    pipeline = make_pipeline(StandardScaler(), TransferRidge(alpha=4.0))
    scaler = StandardScaler().fit(X)
    source = Ridge().fit(scaler.transform(X), y)
    expected = TransferRidge(source, alpha=4.0).fit(scaler.transform(X_target), y_target)
    held = WithSource(pipeline, X, y).fit(X_target, y_target)
    given = WithTarget(pipeline, X_target, y_target).fit(X, y)
    for model in (held, given):
        np.testing.assert_allclose(model.estimator_[-1].coef_, expected.coef_, rtol=1e-9)
    search = GridSearchCV(
        WithSource(pipeline, X, y),
        {"estimator__transferridge__alpha": [0.01, 1.0, 1e9]},
        cv=KFold(5),
        error_score="raise",
    ).fit(X_target, y_target)
    by_hand = [
        TransferRidge(source, alpha=1e9)
        .fit(scaler.transform(X_target[train]), y_target[train])
        .score(scaler.transform(X_target[test]), y_target[test])
        for train, test in KFold(5).split(X_target)
    ]
    means = search.cv_results_["mean_test_score"]
    np.testing.assert_allclose(means[2], np.mean(by_hand), rtol=1e-8)
    assert means[0] != means[1] != means[2]


def test_clones_share_the_source_and_leave_it_fitted(tasks):
    X, y, X_target, y_target = tasks
    source = Ridge().fit(X, y)
    before = source.coef_.copy()
    model = TransferRidge(source)
    assert clone(model).source is source
    search = GridSearchCV(model, {"alpha": [0.1, 1.0]}, error_score="raise")
    search.fit(X_target, y_target)
    np.testing.assert_array_equal(source.coef_, before)


def test_columns_are_matched_by_name(tasks):
    X, y, X_target, y_target = tasks
    names = np.array([f"c{i}" for i in range(8)])
    source = Ridge().fit(pd.DataFrame(X, columns=names), y)
    order = [7, 2, 0, 5]
    frame = pd.DataFrame(X_target[:, order], columns=names[order]).assign(new=y_target)
    model = TransferRidge(source, alpha=1e14).fit(frame, y_target)
    np.testing.assert_allclose(model.coef_, [*source.coef_[order], 0.0], atol=1e-9)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda X, y: GridSearchCV(Ridge(), {"alpha": [1.0]}).fit(X, y),
        lambda X, y: WithSource(Ridge(), X, y).fit(X),
        lambda X, y: Ridge().fit(X, y).coef_,
    ],
    ids=["search", "wrapper", "array"],
)
def test_what_a_source_may_be(tasks, wrap):
    X, y, X_target, y_target = tasks
    model = TransferRidge(wrap(X, y), alpha=1e14).fit(X_target, y_target)
    np.testing.assert_allclose(model.coef_, Ridge().fit(X, y).coef_, atol=1e-9)


@pytest.mark.parametrize("scoring", ["neg_mean_squared_error", "r2", "neg_mean_absolute_error"])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_cv_is_the_search_over_alpha(tasks, scoring, n_outputs):
    X, y, X_target, y_target = tasks
    if n_outputs == 2:
        y, y_target = np.column_stack([y, y**2]), np.column_stack([y_target, y_target**2])
    source = Ridge().fit(X, y)
    alphas = [0.01, 0.1, 1.0, 10.0, 100.0]
    model = TransferRidgeCV(source, alphas=alphas, scoring=scoring).fit(X_target, y_target)
    search = GridSearchCV(TransferRidge(source), {"alpha": alphas}, cv=KFold(5), scoring=scoring)
    search.fit(X_target, y_target)
    folds = [search.cv_results_[f"split{i}_test_score"] for i in range(5)]
    np.testing.assert_allclose(model.cv_scores_, np.transpose(folds), rtol=1e-9)
    assert model.alpha_ == search.best_params_["alpha"]
    np.testing.assert_allclose(model.coef_, search.best_estimator_.coef_, rtol=1e-9)


def test_cv_with_arrays_of_alpha_and_weights(tasks):
    X, y, X_target, y_target = tasks
    source = Ridge().fit(X, y)
    alphas = [np.full(8, 3.0), np.arange(8.0), 50.0]
    weights = np.arange(30) % 3 + 1.0
    model = TransferRidgeCV(source, alphas=alphas, cv=KFold(3)).fit(X_target, y_target, weights)
    for i, alpha in enumerate(alphas):
        for fold, (train, test) in enumerate(KFold(3).split(X_target)):
            one = TransferRidge(source, alpha=alpha)
            one.fit(X_target[train], y_target[train], weights[train])
            errors = (one.predict(X_target[test]) - y_target[test]) ** 2
            score = -np.average(errors, weights=weights[test])
            np.testing.assert_allclose(model.cv_scores_[i, fold], score, rtol=1e-9)


def test_cv_finds_when_the_source_helps(tasks):
    X, y, X_target, y_target = tasks
    good, bad = Ridge().fit(X, y), Ridge().fit(X, -y)
    near = TransferRidgeCV(good).fit(X_target, y_target)
    far = TransferRidgeCV(bad).fit(X_target, y_target)
    assert near.alpha_ >= 10 * far.alpha_


def test_cv_of_two_domains_chooses_both(tasks):
    X, y, X_target, y_target = tasks
    model = TransferRidgeCV().fit(X, y, X_target=X_target, y_target=y_target)
    source = TransferRidgeCV(np.zeros(8)).fit(X, y)
    np.testing.assert_allclose(model.source_coef_, source.coef_, rtol=1e-9)
    expected = TransferRidgeCV(Ridge(source.alpha_).fit(X, y)).fit(X_target, y_target)
    assert model.alpha_ == expected.alpha_
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-8)


def test_without_target_labels_it_is_the_source_and_says_so(tasks):
    X, y, X_target, _ = tasks
    expected = Ridge(alpha=3.0).fit(X, y)
    model = TransferRidge(source_alpha=3.0)
    with pytest.warns(DomainDataWarning, match="neither source nor X_target"):
        model.fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)
    with pytest.warns(DomainDataWarning, match="no label of a target row"):
        model.fit(X, y, X_target=X_target, y_target=np.full(30, np.nan))
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)


@pytest.mark.parametrize(
    "source, error, match",
    [
        (np.zeros(7), ValueError, "source has coefficients for 7 features, and X has 8"),
        (np.zeros((2, 8)), ValueError, "for 2 outputs, and y has 1"),
        (np.zeros((1, 1, 8)), ValueError, "source has 3 dimensions"),
        (np.full(8, np.nan), ValueError, "source contains NaN"),
        (StandardScaler().fit(np.eye(8)), TypeError, "StandardScaler, which has no coef_"),
        (Ridge(), ValueError, "not fitted"),
        (LogisticRegression().fit(np.eye(8), np.arange(8) % 2), TypeError, "is a classifier"),
        (make_pipeline(Ridge()).fit(np.eye(8), np.arange(8)), TypeError, r"source\[-1\]"),
    ],
)
def test_what_a_source_may_not_be(tasks, source, error, match):
    _, _, X, y = tasks
    with pytest.raises(error, match=match):
        TransferRidge(source).fit(X, y)


def test_other_bad_input(tasks):
    X, y, X_target, y_target = tasks
    with pytest.raises(ValueError, match="X_target was given to a TransferRidge with source="):
        TransferRidge(np.zeros(8)).fit(X, y, X_target=X_target, y_target=y_target)
    with pytest.raises(ValueError, match="X_target was given to a TransferRidge with source="):
        WithSource(TransferRidge(np.zeros(8)), X, y).fit(X_target, y_target)
    with pytest.raises(ValueError, match="y_target was given without X_target"):
        TransferRidge().fit(X, y, y_target=y_target)
    with pytest.raises(ValueError, match="X_target has 7 features"):
        TransferRidge().fit(X, y, X_target=X_target[:, 1:], y_target=y_target)
    for alpha in (-1.0, np.nan, "large", [1.0, -1.0]):
        with pytest.raises(ValueError, match="alpha=.* a number of at least 0"):
            TransferRidge(np.zeros(8), alpha=alpha).fit(X, y)
    with pytest.raises(ValueError, match=r"alpha has shape \(7,\), and the coefficients \(1, 8\)"):
        TransferRidge(np.zeros(8), alpha=np.ones(7)).fit(X, y)
    with pytest.raises(ValueError, match="source_alpha="):
        TransferRidge(source_alpha=None).fit(X, y, X_target=X_target, y_target=y_target)
    with pytest.raises(ValueError, match="alphas is empty"):
        TransferRidgeCV(np.zeros(8), alphas=[]).fit(X, y)
    with pytest.raises(ValueError, match="alphas=1.0 is not a list"):
        TransferRidgeCV(np.zeros(8), alphas=1.0).fit(X, y)
    with pytest.raises(ValueError, match="n_samples = 1. Pass more"):
        TransferRidgeCV(np.zeros(8)).fit(X[:1], y[:1])
    with pytest.raises(ValueError, match="none is shared"):
        names = [f"other {i}" for i in range(8)]
        source = Ridge().fit(pd.DataFrame(X, columns=list("abcdefgh")), y)
        TransferRidge(source).fit(pd.DataFrame(X, columns=names), y)


def test_sources_whose_coefficients_need_care(tasks):
    X, y, X_target, y_target = tasks
    source = PLSRegression(2).fit(X + 3, y)
    model = TransferRidge(source, alpha=np.inf, penalize_intercept=True).fit(X_target, y_target)
    np.testing.assert_allclose(model.predict(X_target), source.predict(X_target), atol=1e-8)
    names = list("abcdefgh")
    frame = pd.DataFrame(X, columns=names)
    source = RANSACRegressor(random_state=0).fit(frame, y)
    turned = pd.DataFrame(X_target, columns=names)[names[::-1]]
    model = TransferRidge(source, alpha=np.inf, penalize_intercept=True).fit(turned, y_target)
    np.testing.assert_allclose(model.predict(turned), source.predict(turned[names]), atol=1e-8)
    with pytest.raises(TypeError, match="PoissonRegressor, whose predictions are not linear"):
        TransferRidge(PoissonRegressor().fit(X, np.exp(y / 9))).fit(X_target, y_target)
    bagged = BaggingRegressor(Ridge(), n_estimators=2).fit(X, y)
    with pytest.raises(TypeError, match="BaggingRegressor, which has no coef_"):
        TransferRidge(bagged).fit(X_target, y_target)


def test_cv_takes_a_callable_with_weights_and_folds_without_weight(tasks):
    _, _, X, y = tasks

    def score(estimator, X, y):
        return estimator.score(X, y)

    weights = np.ones(30)
    model = TransferRidgeCV(np.zeros(8), scoring=score).fit(X, y, weights)
    assert np.isfinite(model.cv_scores_).all()
    weights[:6] = 0.0
    model = TransferRidgeCV(np.zeros(8), cv=KFold(5)).fit(X, y, weights)
    assert np.isnan(model.cv_scores_[:, 0]).all()
    assert np.isfinite(model.cv_scores_[:, 1:]).all()
    assert model.cv_scores_[:, 1:].mean(axis=1).argmax() == list(
        10.0 ** (np.arange(-4, 11) / 2)
    ).index(model.alpha_)


def test_cv_that_is_no_splitter(tasks):
    X, y, X_target, y_target = tasks
    model = TransferRidgeCV(np.zeros(8), cv=KFold(3).split(X))
    model.fit(X, y)
    with pytest.raises(ValueError, match="cv has no folds. Pass a list"):
        model.fit(X, y)
    splits = list(KFold(3).split(X_target))
    with pytest.raises(ValueError, match="cannot fit the rows of both domains"):
        TransferRidgeCV(cv=splits).fit(X, y, X_target=X_target, y_target=y_target)
    both = TransferRidgeCV(cv=splits, source_alpha=1.0)
    both.fit(X, y, X_target=X_target, y_target=y_target)
    assert both.cv_scores_.shape == (16, 3)
    with pytest.warns(DomainDataWarning):
        both.fit(X, y)
    assert not hasattr(both, "alpha_")
    with pytest.raises(ValueError, match="names several scores"):
        TransferRidgeCV(np.zeros(8), scoring=["r2"]).fit(X, y)


# --- the strength by default ------------------------------------------------------------


def moments(X, r):
    """Return the penalty on the slopes that a change of the coefficients asks for, in a loop."""
    X, centred = X - X.mean(axis=0), r - r.mean()
    found = variance = expected = 0.0
    for i in range(len(r)):
        for j in range(len(r)):
            if i == j:
                continue
            k = X[i] @ X[j]
            found += centred[i] * k * centred[j]
            variance += 2 * k**2 * centred[i] ** 2 * centred[j] ** 2
            expected += k**2
    change = max(found - np.sqrt(variance), 0.0) / expected
    return np.mean(centred**2) / change if change else np.inf


def test_the_default_strength_is_noise_over_change(tasks):
    X, y, X_target, y_target = tasks
    source = Ridge().fit(X, y)
    alpha = moments(X_target, y_target - source.predict(X_target))
    assert 0.1 < alpha < 100
    model = TransferRidge(source).fit(X_target, y_target)
    expected = TransferRidge(source, alpha=alpha).fit(X_target, y_target)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)
    # Units of features and labels do not matter, and a weight is a repeated sample.
    scaled = Ridge(1e-6).fit(1e-3 * X, 1e5 * y)
    np.testing.assert_allclose(
        TransferRidge(scaled).fit(1e-3 * X_target, 1e5 * y_target).predict(1e-3 * X_target),
        1e5 * model.predict(X_target),
    )
    counts = np.arange(30) % 3
    weighted = TransferRidge(source).fit(X_target, y_target, counts)
    repeated = TransferRidge(source).fit(
        np.repeat(X_target, counts, 0), np.repeat(y_target, counts)
    )
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-8)
    np.testing.assert_allclose(weighted.intercept_, repeated.intercept_, rtol=1e-8)


def test_by_default_noise_leaves_the_source_and_a_level_is_learned(tasks):
    X, y, X_target, _ = tasks
    source = Ridge().fit(X, y)
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(40, 30))
    kept = [
        np.array_equal(
            TransferRidge(source).fit(X_target, source.predict(X_target) + e).coef_, source.coef_
        )
        for e in noise
    ]
    assert np.mean(kept) > 0.7
    one = TransferRidge(source).fit(X_target[:1], y[:1])  # a single sample shows nothing
    assert one.intercept_ == source.intercept_
    level = TransferRidge(source).fit(X_target, source.predict(X_target) + 20 + noise[0])
    np.testing.assert_allclose(level.intercept_, source.intercept_ + 20, atol=1.5)
    tied = TransferRidgeCV(source, penalize_intercept=True)
    tied.fit(X_target, source.predict(X_target) + 20 + noise[0])
    chosen = TransferRidgeCV(source).fit(X_target, source.predict(X_target) + 20 + noise[0])
    truth = source.predict(X) + 20
    assert np.mean((chosen.predict(X) - truth) ** 2) < np.mean((tied.predict(X) - truth) ** 2)


def test_an_intercept_of_its_own_strength_is_the_best_for_it(tasks):
    """The closed form with a penalty of its own for the column of ones."""
    X, y, X_target, y_target = tasks
    source = Ridge().fit(X, y)
    r = y_target - source.predict(X_target)
    outer = np.outer(r, r)
    found = outer.sum() - np.trace(outer)
    squares = np.outer(r**2, r**2)
    change = found - np.sqrt(2 * (squares.sum() - np.trace(squares)))
    penalty = np.append(np.full(8, 3.0), np.var(r) * 30 * 29 / change)
    Z = np.column_stack([X_target, np.ones(30)])
    v = np.linalg.solve(Z.T @ Z + np.diag(penalty), Z.T @ r)
    model = TransferRidge(source, alpha=3.0).fit(X_target, y_target)
    np.testing.assert_allclose(model.coef_ - source.coef_, v[:8], rtol=1e-8)
    np.testing.assert_allclose(model.intercept_ - source.intercept_, v[8], rtol=1e-8)


def test_cv_keeps_the_source_within_one_standard_error(tasks):
    X, y, X_target, _ = tasks
    source = Ridge().fit(X, y)
    labels = source.predict(X_target) + np.random.default_rng(3).normal(size=30)
    model = TransferRidgeCV(source).fit(X_target, labels)
    assert model.alpha_ == np.inf
    np.testing.assert_array_equal(model.coef_, source.coef_)
    mean, best = model.cv_scores_.mean(axis=1), model.cv_scores_.mean(axis=1).argmax()
    assert mean[-1] >= mean[best] - model.cv_scores_[best].std(ddof=1) / np.sqrt(5)
    moved = TransferRidgeCV(source).fit(X_target, X_target @ (source.coef_ + 3.0))
    assert moved.alpha_ < 10
    with pytest.raises(ValueError, match="no finite candidate for the source's own model"):
        TransferRidgeCV(alphas=[np.inf]).fit(X, y, X_target=X_target, y_target=labels)


# --- numbers of any size, and sparse samples --------------------------------------------


@pytest.mark.parametrize("penalize_intercept", [True, False, "auto"])
def test_columns_far_from_zero_and_of_any_size(tasks, penalize_intercept):
    X, y, X_target, y_target = tasks
    rng = np.random.default_rng(5)
    settings = {"penalize_intercept": penalize_intercept}
    plain = TransferRidge(**settings).fit(X, y, X_target=X_target, y_target=y_target)
    for column in (
        1.7e9 + 3e3 * rng.normal(size=230),
        np.full(230, 1e150),
        5e149 * rng.uniform(size=230),
        1e-150 * rng.normal(size=230),
    ):
        wide = np.column_stack([np.vstack([X, X_target]), column])
        model = TransferRidge(**settings).fit(wide[:200], y, X_target=wide[200:], y_target=y_target)
        assert np.isfinite(model.coef_).all()
        np.testing.assert_allclose(model.coef_[:8], plain.coef_, atol=0.4)
        assert model.score(wide[200:], y_target) > 0.8
    huge = TransferRidge(**settings)
    huge.fit(X, 1e140 * y, X_target=X_target, y_target=1e140 * y_target)
    np.testing.assert_allclose(huge.coef_, 1e140 * plain.coef_, rtol=1e-8)
    with pytest.raises(ValueError, match=r"X_target holds numbers beyond 1e\+150"):
        TransferRidge().fit(X, y, X_target=1e151 * X_target, y_target=y_target)
    with pytest.raises(ValueError, match="y holds numbers beyond"):
        TransferRidge(np.zeros(8)).fit(X, 1e160 * y)
    with pytest.raises(ValueError, match="The coefficients of source give rows of X scores beyond"):
        TransferRidge(np.full(8, 1e200)).fit(1e140 * X, y)


FORMATS = ["csr", "csc", "coo", "bsr", "dok", "lil"]


@pytest.mark.parametrize("shape", [(60, 12), (20, 90)])
def test_sparse_samples_are_dense_ones(shape):
    rng = np.random.default_rng(0)
    n, d = shape
    X = rng.normal(size=shape) * (rng.random(shape) < 0.2)
    y, weights = X @ rng.normal(size=d) + 3, rng.integers(0, 3, n)
    Y, source = np.column_stack([y, y**2]), rng.normal(size=(2, d))
    cases = [
        TransferRidge(source),
        TransferRidge(source, alpha=np.linspace(0.5, 2, d), penalize_intercept=True),
        TransferRidge(source, alpha=1e-10, fit_intercept=False),  # by LSQR
        TransferRidgeCV(source, penalize_intercept=False),
    ]
    for number, model in enumerate(cases):
        expected = clone(model).fit(X, Y, weights)
        model.fit(sparse.csr_array(X).asformat(FORMATS[number]), Y, weights)
        np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-5)
        np.testing.assert_allclose(model.intercept_, expected.intercept_, atol=1e-6)
        np.testing.assert_allclose(
            model.predict(sparse.csr_matrix(X).asformat(FORMATS[-number])),
            expected.predict(X),
            atol=1e-4,
        )
    both = {"X_target": X[:9], "y_target": y[:9]}
    expected = TransferRidge().fit(X, y, **both)
    both["X_target"] = sparse.dok_array(X[:9])
    model = TransferRidge().fit(sparse.lil_array(X), y, **both)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-9)


def test_folds_whose_samples_weigh_nothing_are_left_out():
    X = np.random.default_rng(0).normal(size=(8, 2))
    y, weights = X @ [1.0, 2.0], (np.arange(8) < 3).astype(float)
    without_weight = (np.arange(4, 8), np.arange(4))
    folds = [without_weight, (np.arange(2), np.arange(2, 6))]
    model = TransferRidgeCV([1.0, 1.0], alphas=[0.1, 10.0], cv=folds).fit(X, y, weights)
    assert model.cv_scores_.shape == (2, 1)
    with pytest.raises(ValueError, match="sample_weight is 0 for all rows that a fold"):
        TransferRidgeCV([1.0, 1.0], cv=[without_weight]).fit(X, y, weights)


def test_features_whose_squares_vanish_beside_the_penalty():
    X = np.random.default_rng(0).normal(size=(12, 2)) * 1e-170
    model = TransferRidge([1.0, 1.0], alpha=1.0).fit(X, np.arange(12.0))
    np.testing.assert_array_equal(model.coef_, [1.0, 1.0])
    TransferRidgeCV([1.0, 1.0], alphas=[0.1, 10.0], cv=2).fit(X, np.arange(12.0))
