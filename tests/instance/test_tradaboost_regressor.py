"""TrAdaBoostRegressor and TwoStageTrAdaBoostRegressor: weights by hand, medians, the choice."""

import pickle

import numpy as np
import pytest
from scipy import optimize, sparse
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.callback import ProgressBar
from sklearn.ensemble import AdaBoostRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_validate
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from skltransfer import (
    DomainDataWarning,
    PooledEstimator,
    TrAdaBoostRegressor,
    TwoStageTrAdaBoostRegressor,
    WithSource,
    WithTarget,
)
from skltransfer._solvers._boosting import shrink_source, still_in_race, weighted_median
from skltransfer.instance import _tradaboost_regressor

ignore_one_round = pytest.mark.filterwarnings("ignore:.*stops after one round")

ROUNDED = 1e-6  # weights are in single precision
BOTH = [TrAdaBoostRegressor, TwoStageTrAdaBoostRegressor]


def misleading(seed=0, n=200, n_wrong=100, m=40, d=5):
    """Return a source whose first rows follow another rule, a small target, and a test sample."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n, d)), rng.normal(size=(m + 500, d))
    sign = np.where(np.arange(n) < n_wrong, -1, 1)
    y = sign * X[:, 0] + X[:, 1] + 0.3 * rng.normal(size=n)
    y_target = X_target[:, 0] + X_target[:, 1] + 0.3 * rng.normal(size=m + 500)
    return X, y, X_target[:m], y_target[:m], X_target[m:], y_target[m:]


@pytest.fixture(scope="module")
def domains():
    return misleading()


def fit(model, domains, **changes):
    X, y, X_target, y_target = domains[:4]
    return model.fit(X, y, **{"X_target": X_target, "y_target": y_target, **changes})


def small(kind, **parameters):
    """Return a quick model."""
    steps = {"n_steps": 3, "cv": 2} if kind is TwoStageTrAdaBoostRegressor else {}
    return kind(**{"n_estimators": 4, "random_state": 0, **steps, **parameters})


class Fixed(RegressorMixin, BaseEstimator):
    """Predicts column number `fit count` of the rows: what each round predicts is given."""

    rounds = []

    def fit(self, X, y, sample_weight=None):
        self.column_ = len(Fixed.rounds)
        Fixed.rounds.append(np.array(sample_weight))
        return self

    def predict(self, X):
        return np.asarray(X)[:, self.column_]


def loss_by_hand(residual, largest, loss):
    r = abs(residual) / largest
    return {"linear": r, "square": r**2, "exponential": 1 - np.exp(-r)}[loss]


# --- TrAdaBoost.R2 ---------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["linear", "square", "exponential"])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_after_two_rounds_equal_a_hand_computation(loss, weighted):
    rng = np.random.default_rng(1)
    n, m, n_rounds = 9, 6, 2
    y = rng.normal(size=n + m)
    predictions = y[:, None] + rng.normal(size=(n + m, n_rounds)) ** 3
    w = np.ones(n + m)
    if weighted:
        w[:n] = rng.uniform(0.5, 3, n)
    start, total = w[:n].copy(), w.sum()
    history, errors = [w], []
    beta = 1 / (1 + np.sqrt(2 * np.log(start.sum()) / n_rounds))
    for t in range(n_rounds):
        largest = max(abs(predictions[i, t] - y[i]) for i in range(n + m))
        e = [loss_by_hand(predictions[i, t] - y[i], largest, loss) for i in range(n + m)]
        error = sum(w[i] * e[i] for i in range(n, n + m)) / w[n:].sum()
        beta_t = error / (1 - error)
        w = np.array([w[i] * (beta ** e[i] if i < n else beta_t ** -e[i]) for i in range(n + m)])
        w *= total / w.sum()
        history.append(w)
        errors.append(error)
    Fixed.rounds.clear()
    model = TrAdaBoostRegressor(Fixed(), n_estimators=n_rounds, loss=loss)
    model.fit(
        predictions[:n],
        y[:n],
        start if weighted else None,
        X_target=predictions[n:],
        y_target=y[n:],
    )
    assert max(errors) < 0.5
    np.testing.assert_allclose(model.sample_weight_history_, history, rtol=ROUNDED)
    np.testing.assert_allclose(Fixed.rounds, history[:-1], rtol=ROUNDED)
    np.testing.assert_allclose(model.estimator_errors_, errors, rtol=ROUNDED)
    votes = np.log((1 - np.array(errors)) / errors)
    np.testing.assert_allclose(model.estimator_weights_, votes, rtol=ROUNDED)


def test_the_prediction_is_the_weighted_median_of_the_later_half(domains):
    X_test = domains[4]
    model = fit(TrAdaBoostRegressor(n_estimators=9, random_state=0), domains)
    values = np.array([each.predict(X_test) for each in model.estimators_[4:]])
    votes = model.estimator_weights_[4:]
    assert len(votes) == 5
    for row, predicted in zip(values.T, model.predict(X_test), strict=True):
        reached = [v for v in row if votes[row <= v].sum() >= 0.5 * votes.sum()]
        assert predicted == min(reached)
    stages = list(model.staged_predict(X_test))
    assert len(stages) == 9
    np.testing.assert_array_equal(stages[-1], model.predict(X_test))
    np.testing.assert_array_equal(stages[0], model.estimators_[0].predict(X_test))


def test_weighted_median_by_hand():
    values = np.array([[1.0, 9.0, 5.0], [2.0, 1.0, 5.0], [3.0, 2.0, 6.0]])
    np.testing.assert_array_equal(weighted_median(values, np.array([1.0, 1.0, 1.0])), [2, 2, 5])
    np.testing.assert_array_equal(weighted_median(values, np.array([1.0, 1.0, 5.0])), [3, 2, 6])
    np.testing.assert_array_equal(weighted_median(values, np.array([5.0, 1.0, 1.0])), [1, 9, 5])
    np.testing.assert_array_equal(weighted_median(values[:2], np.array([1.0, 1.0])), [1, 1, 5])


@pytest.mark.parametrize("base", [DecisionTreeRegressor(max_depth=3), Ridge()])
def test_both_let_go_of_the_part_of_the_source_that_is_wrong(base):
    """Better than the pool, and than AdaBoost on the source and on both."""
    scores = {name: [] for name in ("one", "two", "pool", "source", "pooled AdaBoost")}
    for seed in range(3):
        X, y, X_target, y_target, X_test, y_test = misleading(seed)
        ada = AdaBoostRegressor(base, n_estimators=20, random_state=0)
        models = {
            "one": TrAdaBoostRegressor(base, n_estimators=20, random_state=0),
            "two": TwoStageTrAdaBoostRegressor(base, n_estimators=5, n_steps=6, random_state=0),
            "pool": PooledEstimator(base),
            "pooled AdaBoost": PooledEstimator(ada),
        }
        for name, model in models.items():
            model.fit(X, y, X_target=X_target, y_target=y_target)
            scores[name].append(model.score(X_test, y_test))
        scores["source"].append(clone(ada).fit(X, y).score(X_test, y_test))
        assert models["two"].best_step_ > 0
        weights = models["one"].sample_weight_
        assert weights[:100].mean() < 0.85 * weights[100:].mean()
    means = {name: np.mean(values) for name, values in scores.items()}
    for other in ("pool", "source", "pooled AdaBoost"):
        assert min(means["one"], means["two"]) > means[other] + 0.1, means


@ignore_one_round
def test_no_error_at_all_ends_boosting(domains):
    X, _, X_target = domains[:3]
    exact = make_pipeline(LinearRegression())
    with np.errstate(all="raise"):
        model = TrAdaBoostRegressor(DecisionTreeRegressor(), n_estimators=5, random_state=0).fit(
            X, X[:, 0], X_target=X_target, y_target=X_target[:, 0]
        )
    assert len(model.estimators_) == 1
    assert model.estimator_errors_[0] == 0
    assert np.isfinite(model.estimator_weights_).all()
    model = fit(TrAdaBoostRegressor(exact, n_estimators=3), domains)
    assert np.isfinite(model.predict(X)).all()


@ignore_one_round
def test_an_error_of_a_half_ends_boosting():
    y = np.zeros(8)
    columns = np.zeros((8, 3))
    columns[:, 0] = [1, 0, 0, 0, 0.2, 0.2, 0.2, 0.2]  # error 0.2 on the target
    columns[:, 1] = [0, 0, 0, 1, 1, 1, 0.5, 0]  # more than 1/2
    Fixed.rounds.clear()
    model = TrAdaBoostRegressor(Fixed(), n_estimators=3)
    model.fit(columns[:4], y[:4], X_target=columns[4:], y_target=y[4:])
    assert len(Fixed.rounds) == 2
    np.testing.assert_allclose(model.estimator_errors_, [0.2])
    Fixed.rounds.clear()
    with pytest.warns(ConvergenceWarning, match="no better than a guess") as caught:
        model.fit(columns[:4, 1:], y[:4], X_target=columns[4:, 1:], y_target=y[4:])
    assert caught[0].filename == __file__
    assert len(model.estimators_) == 1
    np.testing.assert_array_equal(model.predict(columns[:, 1:]), columns[:, 1])


# --- two stages ------------------------------------------------------------------------


def test_the_first_stage_equals_a_hand_computation():
    rng = np.random.default_rng(2)
    n, m, n_steps = 10, 5, 4
    y = rng.normal(size=n + m)
    predictions = y[:, None] + rng.normal(size=(n + m, 40))
    w, history, shares = np.ones(n + m), [np.ones(n + m)], [m / (n + m)]
    for t in range(1, n_steps):
        residuals = abs(predictions[:, t - 1] - y)
        e = residuals / residuals.max()
        share = m / (n + m) + t / (n_steps - 1) * (1 - m / (n + m))
        shares.append(share)
        if t == n_steps - 1:
            faded = np.zeros(n)
        else:

            def distance(beta, w=w, e=e, share=share):
                source = w[:n] * beta ** e[:n]
                return w[n:].sum() / (w[n:].sum() + source.sum()) - share

            faded = w[:n] * optimize.bisect(distance, 1e-30, 1, xtol=1e-15) ** e[:n]
        w = np.concatenate([faded, w[n:]])
        w *= (n + m) / w.sum()
        history.append(w)
    Fixed.rounds.clear()
    model = TwoStageTrAdaBoostRegressor(Fixed(), n_estimators=1, n_steps=n_steps, cv=2)
    model.fit(predictions[:n], y[:n], X_target=predictions[n:], y_target=y[n:])
    np.testing.assert_allclose(model.sample_weight_history_, history, rtol=1e-5)
    np.testing.assert_allclose(model.target_shares_, shares, rtol=1e-6)
    np.testing.assert_allclose(Fixed.rounds[:3], history[:3], rtol=1e-5)
    assert (model.sample_weight_history_[-1, :n] == 0).all()


@pytest.mark.parametrize("share", [0.4, 0.9, 0.999999])
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6])
def test_the_share_is_met(share, scale):
    rng = np.random.default_rng(0)
    weights, losses = rng.uniform(0.1, 5, 60), scale * rng.uniform(0.01, 1, 60)
    new = shrink_source(weights, losses, 40, share)
    assert new[40:].sum() / new.sum() == pytest.approx(share, rel=1e-9)
    assert new.sum() == pytest.approx(weights.sum())
    ratio = new[:40] / weights[:40]
    order = np.argsort(losses[:40])
    assert (np.diff(ratio[order]) < 0).all()  # the larger the loss, the less is left


def test_rows_without_loss_keep_their_weights_where_the_share_is_out_of_reach():
    weights, losses = np.ones(12), np.zeros(12)
    losses[:2] = 1
    new = shrink_source(weights, losses, 10, 0.9)
    np.testing.assert_allclose(new, np.r_[0, 0, np.full(10, 1.2)])
    np.testing.assert_allclose(shrink_source(weights, losses, 10, 1.0)[:10], 0)


def test_the_second_stage_leaves_the_source_frozen():
    """AdaBoost.R2 by hand: target rows share their weights anew, source rows keep theirs."""
    rng = np.random.default_rng(5)
    n, m = 8, 6
    y = rng.normal(size=n + m)
    predictions = y[:, None] + rng.normal(size=(n + m, 30)) ** 3
    Fixed.rounds.clear()
    folds = [([1, 2, 3, 4, 5], [0])]
    model = TwoStageTrAdaBoostRegressor(Fixed(), n_estimators=2, n_steps=2, cv=folds)
    model.fit(predictions[:n], y[:n], X_target=predictions[n:], y_target=y[n:])
    # The first fit is that of the first stage; then fold by fold and step by step, two rounds.
    first, second = Fixed.rounds[1:3]
    kept = np.r_[:n, n + 1 : n + m]
    np.testing.assert_array_equal(first, 1)
    residuals = abs(predictions[kept, 1] - y[kept])
    e = residuals / residuals.max()
    beta = e.mean() / (1 - e.mean())
    expected = np.ones(len(kept))
    expected[n:] = beta ** (1 - e[n:])
    expected[n:] *= (m - 1) / expected[n:].sum()
    np.testing.assert_allclose(second, expected, rtol=ROUNDED)
    assert len(Fixed.rounds[3]) == m - 1  # the last step is the target alone
    assert len(Fixed.rounds) <= 1 + 2 + 2 * 2


def test_the_step_is_that_of_the_least_error(domains):
    X, y, X_target, y_target, X_test, y_test = domains
    model = fit(TwoStageTrAdaBoostRegressor(n_estimators=3, n_steps=5, random_state=0), domains)
    assert model.cv_errors_.shape == model.target_shares_.shape == (5,)
    assert model.best_step_ == np.argmin(model.cv_errors_)
    assert model.sample_weight_history_.shape == (5, len(X) + len(X_target))
    np.testing.assert_array_equal(
        model.sample_weight_, model.sample_weight_history_[model.best_step_, : len(X)]
    )
    np.testing.assert_array_equal(list(model.staged_predict(X_test))[-1], model.predict(X_test))
    np.testing.assert_allclose(model.target_shares_, np.linspace(40 / 240, 1, 5), rtol=1e-6)


def test_a_good_source_is_kept_and_a_bad_one_dropped():
    steps = {}
    for n_wrong in (0, 200):
        X, y, X_target, y_target, *_ = misleading(1, n_wrong=n_wrong, m=30, d=8)
        model = TwoStageTrAdaBoostRegressor(Ridge(), n_estimators=3, n_steps=6, random_state=0)
        model.fit(X, y, X_target=X_target, y_target=y_target)
        steps[n_wrong] = model.target_shares_[model.best_step_]
    assert steps[0] < steps[200]
    assert steps[200] > 0.6


def test_the_number_of_fits_is_as_documented(domains):
    Fixed.rounds.clear()
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 200)), rng.normal(size=30)
    model = TwoStageTrAdaBoostRegressor(Fixed(), n_estimators=3, n_steps=4, cv=3, random_state=0)
    model.fit(X[:20], y[:20], X_target=X[20:], y_target=y[20:])
    assert 4 - 1 < len(Fixed.rounds) <= 4 - 1 + 3 + 4 * 3 * 3


def test_steps_race_if_many_samples_are_held_out(monkeypatch):
    X, y, X_target, y_target, *_ = misleading(0, n=300, n_wrong=300, m=250)
    known = {"X_target": X_target, "y_target": y_target}
    model = TwoStageTrAdaBoostRegressor(DecisionTreeRegressor(max_depth=2), n_estimators=3)
    every = clone(model).fit(X, y, **known)
    np.testing.assert_array_equal(every.cv_folds_, 5)
    monkeypatch.setattr(_tradaboost_regressor, "_RACE_SAMPLES", 50)
    raced = clone(model).fit(X, y, **known)
    assert raced.cv_folds_.sum() < 0.75 * every.cv_folds_.sum()
    assert raced.cv_folds_[0] < raced.cv_folds_[raced.best_step_] == raced.cv_folds_.max()
    assert every.cv_errors_[raced.best_step_] < 1.02 * every.cv_errors_.min()
    # The first fold is the same, and the source that misleads is found out in it.
    assert raced.cv_errors_[0] > 1.5 * raced.cv_errors_[raced.best_step_]
    monkeypatch.setattr(_tradaboost_regressor, "_RACE_SAMPLES", 251)
    late = clone(model).fit(X, y, **known)
    np.testing.assert_array_equal(late.cv_errors_, every.cv_errors_)


def test_who_stays_in_the_race():
    rng = np.random.default_rng(0)
    best = rng.uniform(0.9, 1.1, size=(1, 400))
    losses = best + [[0.0], [0.005], [0.5], [0.2]]
    losses[3] += 5 * rng.normal(size=400)  # no difference is certain
    stays = still_in_race(losses, np.ones(400))
    # Equal ones leave: they are not better by 1 %.
    np.testing.assert_array_equal(stays, [True, False, False, True])
    # A weight of 2 counts a sample twice in the mean.
    weights = np.where(np.arange(400) < 200, 2.0, 0.0)
    np.testing.assert_array_equal(still_in_race(losses, weights)[:3], [True, False, False])
    np.testing.assert_array_equal(still_in_race(losses[2:3], weights), [True])


def test_cross_validation_can_be_given(domains):
    for cv in (KFold(3), 3, [([0, 1, 2, 3, 4], [5, 6])]):
        model = fit(small(TwoStageTrAdaBoostRegressor, cv=cv), domains)
        assert np.isfinite(model.cv_errors_).all()
    few = domains[0], domains[1], domains[2][:3], domains[3][:3]
    assert np.isfinite(fit(small(TwoStageTrAdaBoostRegressor, cv=5), few).cv_errors_).all()


# --- both ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
def test_a_single_target_row(domains, kind):
    X, y = domains[:2]
    model = small(kind).fit(X, y, X_target=X[-1:], y_target=y[-1:])
    assert np.isfinite(model.predict(X)).all()
    if kind is TwoStageTrAdaBoostRegressor:
        assert model.best_step_ == 0
        assert np.isnan(model.cv_errors_).all()


@pytest.mark.parametrize("kind", BOTH)
def test_without_a_target_it_is_plain_boosting(domains, kind):
    X, y, X_target, _, X_test, _ = domains
    with pytest.warns(DomainDataWarning, match=f"{kind.__name__} was given no X_target") as caught:
        model = small(kind).fit(X, y)
    assert [each.filename for each in caught] == [__file__]
    with pytest.warns(DomainDataWarning, match="no label of a target row"):
        unlabelled = small(kind).fit(X, y, X_target=X_target)
    np.testing.assert_array_equal(model.predict(X_test), unlabelled.predict(X_test))
    # AdaBoost.R2 by hand, learners of the same seeds.
    w, rng, values, votes = np.ones(len(X)), np.random.RandomState(0), [], []
    for _ in range(4):
        tree = DecisionTreeRegressor(max_depth=3, random_state=rng.randint(2**31 - 1))
        predicted = tree.fit(X, y, sample_weight=w).predict(X)
        e = abs(predicted - y) / abs(predicted - y).max()
        beta = (w @ e / w.sum()) / (1 - w @ e / w.sum())
        w = w * beta ** (1 - e)
        w *= len(X) / w.sum()
        values.append(tree.predict(X_test))
        votes.append(np.log(1 / beta))
    np.testing.assert_allclose(
        model.predict(X_test), weighted_median(np.array(values), np.array(votes)), rtol=1e-5
    )


@pytest.mark.parametrize("kind", BOTH)
def test_only_labelled_target_rows_count(domains, kind):
    X, y, X_target, y_target, X_test, _ = domains
    known = np.arange(len(y_target)) % 2 == 0
    partial = np.where(known, y_target, np.nan)
    first = small(kind).fit(X, y, X_target=X_target, y_target=partial)
    second = small(kind).fit(X, y, X_target=X_target[known], y_target=y_target[known])
    np.testing.assert_array_equal(first.predict(X_test), second.predict(X_test))
    everything = fit(small(kind), domains)
    assert (everything.predict(X_test) != first.predict(X_test)).any()


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("base", [Ridge(), DecisionTreeRegressor(max_depth=2)])
def test_row_order_is_irrelevant(domains, kind, base):
    X, y, X_target, y_target, X_test, _ = domains
    rng = np.random.default_rng(3)
    order, target_order = rng.permutation(len(X)), rng.permutation(len(X_target))
    first = fit(small(kind, estimator=base), domains)
    second = small(kind, estimator=base).fit(
        X[order], y[order], X_target=X_target[target_order], y_target=y_target[target_order]
    )
    np.testing.assert_allclose(first.predict(X_test), second.predict(X_test), rtol=1e-5)
    np.testing.assert_allclose(first.sample_weight_[order], second.sample_weight_, rtol=1e-4)


@pytest.mark.parametrize("kind", BOTH)
def test_a_weight_of_two_is_a_repeated_row(domains, kind):
    X, y, X_target, y_target, X_test, _ = domains
    counts = np.arange(len(X)) % 3
    rows = np.repeat(np.arange(len(X)), counts)
    weighted = fit(small(kind), domains, sample_weight=counts)
    repeated = small(kind).fit(X[rows], y[rows], X_target=X_target, y_target=y_target)
    np.testing.assert_allclose(weighted.predict(X_test), repeated.predict(X_test), rtol=1e-5)
    np.testing.assert_allclose(
        weighted.sample_weight_,
        np.bincount(rows, weights=repeated.sample_weight_, minlength=len(X)),
        rtol=1e-4,
    )
    assert weighted.sample_weight_.shape == (len(X),)


@pytest.mark.parametrize("kind", BOTH)
def test_nothing_given_is_changed(domains, kind):
    arrays = [array.copy() for array in domains[:4]] + [np.ones(len(domains[0]))]
    for array in arrays:
        array.flags.writeable = False
    X, y, X_target, y_target, weights = arrays
    base = Ridge()
    small(kind, estimator=base).fit(X, y, weights, X_target=X_target, y_target=y_target)
    assert not hasattr(base, "coef_")


@pytest.mark.parametrize("kind", BOTH)
def test_pipelines_and_sparse_rows_are_taken(domains, kind):
    X, y, X_target, y_target, X_test, y_test = domains
    base = make_pipeline(StandardScaler(), Ridge())
    assert fit(small(kind, estimator=base), domains).score(X_test, y_test) > 0.5
    dense = fit(small(kind), domains)
    rows = small(kind).fit(
        sparse.csr_array(X), y, X_target=sparse.csc_array(X_target), y_target=y_target
    )
    np.testing.assert_allclose(rows.predict(sparse.csr_array(X_test)), dense.predict(X_test))


@pytest.mark.parametrize("kind", BOTH)
def test_compositions(domains, kind):
    X, y, X_target, y_target, X_test, y_test = domains
    inner = make_pipeline(StandardScaler(), small(kind, estimator=Ridge()))
    held = WithTarget(inner, X_target=X_target, y_target=y_target).fit(X, y)
    swapped = WithSource(inner, X, y)
    np.testing.assert_array_equal(
        held.predict(X_test), clone(swapped).fit(X_target, y_target).predict(X_test)
    )
    scores = cross_validate(swapped, X_test[:90], y_test[:90], cv=3, error_score="raise")
    assert scores["test_score"].min() > 0.5
    name = inner.steps[-1][0]
    search = GridSearchCV(
        swapped, {f"estimator__{name}__n_estimators": [1, 4]}, cv=2, error_score="raise"
    ).fit(X_test[:90], y_test[:90])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("kind", BOTH)
def test_clone_pickle_and_callbacks(domains, kind):
    X_test = domains[4]
    model = fit(small(kind), domains)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X_test), model.predict(X_test))
    assert not hasattr(clone(model), "estimators_")
    listening = small(kind).set_callbacks(ProgressBar())
    np.testing.assert_array_equal(fit(listening, domains).predict(X_test), model.predict(X_test))
    first = model.predict(X_test)
    np.testing.assert_array_equal(fit(model, domains).predict(X_test), first)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_estimators": 0}, "n_estimators=0 is not an integer of at least 1"),
        ({"loss": "absolute"}, "loss='absolute' is not one of 'linear', 'square', 'exponential'"),
        ({"n_steps": 1}, "n_steps=1 is not an integer of at least 2"),
        ({"cv": 1}, "cv=1 is not an integer of at least 2"),
        ({"cv": [([0, 1], [500])]}, "cv splits more rows than the .* of X_target whose label"),
    ],
)
def test_bad_parameters_are_refused_by_name(domains, kind, parameters, message):
    if {"n_steps", "cv"} & set(parameters) and kind is TrAdaBoostRegressor:
        return
    with pytest.raises(ValueError, match=message):
        fit(small(kind, **parameters), domains)


@pytest.mark.parametrize("kind", BOTH)
def test_bad_data_is_refused_by_name(domains, kind):
    with pytest.raises(TypeError, match="KNeighborsRegressor does not support sample_weight"):
        fit(small(kind, estimator=KNeighborsRegressor()), domains)
    with pytest.raises(TypeError, match=f"{kind.__name__} boosts a regressor"):
        fit(small(kind, estimator=LogisticRegression()), domains)
    with pytest.raises(ValueError, match="y_target was given without X_target"):
        fit(small(kind), domains, X_target=None)
    with pytest.raises(ValueError, match="X_target has 2 features"):
        fit(small(kind), domains, X_target=np.ones((40, 2)))
    with pytest.raises(ValueError, match="Input y contains NaN"):
        small(kind).fit(domains[0], np.full(200, np.nan))
