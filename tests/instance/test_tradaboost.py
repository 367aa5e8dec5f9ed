"""TrAdaBoostClassifier: weights by hand, votes, stops, and what it refuses."""

import pickle
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.callback import ProgressBar
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from skltransfer import (
    DomainDataWarning,
    PooledEstimator,
    TrAdaBoostClassifier,
    WithSource,
    WithTarget,
)

ignore_one_round = pytest.mark.filterwarnings("ignore:.*stops after one round")
ignore_unadapted = pytest.mark.filterwarnings("ignore::skltransfer.DomainDataWarning")
ROUNDED = 1e-6  # weights are in single precision


def misleading(seed=0, n=300, n_wrong=150, m=60, d=10, noise=1.0):
    """Return a source whose first rows follow another rule, a small target, and a test sample."""
    rng = np.random.default_rng(seed)
    X, X_target = rng.normal(size=(n, d)), rng.normal(size=(m + 1000, d))
    signs = np.ones(n)
    signs[:n_wrong] = -1
    y, y_target = (
        (sign * Z[:, 0] + Z[:, 1] + noise * rng.normal(size=len(Z)) > 0).astype(int)
        for Z, sign in ((X, signs), (X_target, 1))
    )
    return X, y, X_target[:m], y_target[:m], X_target[m:], y_target[m:]


@pytest.fixture(scope="module")
def domains():
    return misleading()


def fit(model, domains, **changes):
    X, y, X_target, y_target = domains[:4]
    return model.fit(X, y, **{"X_target": X_target, "y_target": y_target, **changes})


def boosted(n_estimators, **parameters):
    """Return a model that takes all of its rounds on noisy labels."""
    tree = DecisionTreeClassifier(max_depth=3)
    return TrAdaBoostClassifier(tree, n_estimators=n_estimators, random_state=0, **parameters)


class Fixed(ClassifierMixin, BaseEstimator):
    """Predicts column number `fit count` of the rows: what each round predicts is given."""

    rounds = []

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.unique(y)
        self.column_ = len(Fixed.rounds)
        Fixed.rounds.append(np.array(sample_weight))
        return self

    def predict(self, X):
        return np.asarray(X)[:, self.column_].astype(int)


def by_hand(predictions, y, n, n_rounds, n_classes, start):
    """Return weights, errors and votes as the paper's algorithm 1 writes them."""
    w = np.array(start, dtype=float)
    total = w.sum()
    beta = 1 / (1 + np.sqrt(2 * np.log(w[:n].sum()) / n_rounds))
    history, errors, votes = [w], [], []
    for h in predictions:
        p = w / w.sum()
        error = sum(p[i] for i in range(n, len(y)) if h[i] != y[i]) / p[n:].sum()
        beta_t = error / (1 - error) / (n_classes - 1)
        w = np.array(
            [p[i] * (beta if i < n else 1 / beta_t) ** (h[i] != y[i]) for i in range(len(y))]
        )
        w = w * total / w.sum()
        history.append(w)
        errors.append(error)
        votes.append(np.log(1 / beta_t))
    return np.array(history), errors, votes


# --- the algorithm ---------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_after_two_rounds_equal_a_hand_computation(n_classes, weighted):
    rng = np.random.default_rng(n_classes)
    n, m, n_rounds = 12, 8, 3
    y = np.arange(n + m) % n_classes
    columns = np.tile(y[:, None], (1, n_rounds))
    for t in range(n_rounds):  # each learner is wrong on some rows of both domains
        wrong = np.r_[rng.choice(n, 5, replace=False), n + rng.choice(m, 2, replace=False)]
        columns[wrong, t] = (y[wrong] + 1) % n_classes
    start = np.ones(n + m)
    if weighted:
        start[:n] = rng.uniform(0.5, 3, n)
    Fixed.rounds.clear()
    model = TrAdaBoostClassifier(Fixed(), n_estimators=n_rounds)
    X = columns.astype(float)
    model.fit(X[:n], y[:n], start[:n] if weighted else None, X_target=X[n:], y_target=y[n:])
    history, errors, votes = by_hand(columns.T, y, n, n_rounds, n_classes, start)
    np.testing.assert_allclose(model.sample_weight_history_, history, rtol=ROUNDED)
    np.testing.assert_allclose(Fixed.rounds, history[:-1], rtol=ROUNDED)  # what the base is given
    np.testing.assert_allclose(model.estimator_errors_, errors, rtol=ROUNDED)
    np.testing.assert_allclose(model.estimator_weights_, votes, rtol=ROUNDED)
    np.testing.assert_allclose(model.sample_weight_, history[-1, :n], rtol=ROUNDED)
    assert model.sample_weight_history_[1:].std(axis=1).min() > 0.1  # the weights did change


def test_the_base_is_given_weights_of_mean_one(domains):
    history = fit(boosted(8), domains).sample_weight_history_
    np.testing.assert_allclose(history.mean(axis=1), 1, rtol=ROUNDED)
    np.testing.assert_array_equal(history[0], 1)


def test_a_source_of_no_weight_leaves_adaboost_on_the_target(domains):
    _, _, X_target, y_target = domains[:4]
    model = fit(boosted(6), domains, sample_weight=np.full(300, 1e-12))
    ada = AdaBoostClassifier(DecisionTreeClassifier(max_depth=3), n_estimators=6, random_state=0)
    ada.fit(X_target, y_target)
    np.testing.assert_allclose(model.estimator_errors_, ada.estimator_errors_, rtol=1e-4)
    assert len(set(model.estimator_errors_)) == 6


def test_source_rows_never_gain_on_the_target_by_being_wrong(domains):
    """The peers' slip: a source row that is wrong gains weight as in AdaBoost."""
    model = fit(boosted(1), domains)
    X, y = domains[:2]
    wrong = model.estimators_[0].predict(X) != y
    weights = model.sample_weight_
    assert weights[wrong].max() < weights[~wrong].min()


def test_it_lets_go_of_the_part_of_the_source_that_is_wrong():
    """Better than the pool, and than AdaBoost on the source and on both."""
    scores = {name: [] for name in ("ours", "pool", "source", "pooled AdaBoost")}
    base = LogisticRegression()
    for seed in range(5):
        domains = misleading(seed, m=40, n_wrong=200, noise=0.3)
        X, y, X_target, y_target, X_test, y_test = domains
        ada = AdaBoostClassifier(base, n_estimators=20, random_state=0)
        target = {"X_target": X_target, "y_target": y_target}
        models = {
            "ours": TrAdaBoostClassifier(base, n_estimators=20, random_state=0),
            "pool": PooledEstimator(base),
            "pooled AdaBoost": PooledEstimator(ada),
        }
        for name, model in models.items():
            scores[name].append(model.fit(X, y, **target).score(X_test, y_test))
        scores["source"].append(clone(ada).fit(X, y).score(X_test, y_test))
        weights = models["ours"].sample_weight_
        wrong = np.arange(300) < 200
        wrong &= y != (X[:, 0] + X[:, 1] > 0)  # half of the other rule's labels agree
        assert weights[wrong].mean() < 0.7 * weights[~wrong].mean()
    means = {name: np.mean(values) for name, values in scores.items()}
    for other in ("pool", "source", "pooled AdaBoost"):
        assert means["ours"] > means[other] + 0.1, means


@pytest.mark.parametrize(("n", "first"), [(1, 1), (2, 1), (9, 5), (10, 5)])
def test_the_later_half_of_the_learners_votes(domains, n, first):
    X_test = domains[4]
    model = fit(boosted(n), domains)
    assert len(model.estimators_) == n
    votes = np.zeros((len(X_test), 2))
    for t in range(first, n + 1):  # t >= ceil(n / 2), counted from 1
        predicted = model.estimators_[t - 1].predict(X_test)
        votes[np.arange(len(X_test)), predicted] += model.estimator_weights_[t - 1]
    np.testing.assert_array_equal(model.predict(X_test), votes.argmax(axis=1))
    np.testing.assert_allclose(
        model.predict_proba(X_test), votes / votes.sum(axis=1, keepdims=True), atol=1e-12
    )
    shares = model.predict_proba(X_test)
    np.testing.assert_allclose(model.decision_function(X_test), shares[:, 1] - shares[:, 0])
    assert (shares == 0).any()
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X_test)), shares)


def test_stages_end_with_the_prediction(domains):
    X_test = domains[4]
    model = fit(boosted(7), domains)
    stages = list(model.staged_predict(X_test))
    assert len(stages) == len(model.estimators_) == 7
    np.testing.assert_array_equal(stages[-1], model.predict(X_test))
    np.testing.assert_array_equal(stages[0], model.estimators_[0].predict(X_test))
    np.testing.assert_array_equal(
        list(model.staged_predict_proba(X_test))[-1], model.predict_proba(X_test)
    )
    # Stage 4: rounds 2, 3 and 4 vote.
    sums = sum(
        np.eye(2)[model.estimators_[t].predict(X_test)] * model.estimator_weights_[t]
        for t in (1, 2, 3)
    )
    np.testing.assert_array_equal(stages[3], sums.argmax(axis=1))


# --- stops -----------------------------------------------------------------------------


@ignore_one_round
def test_no_error_on_the_target_ends_boosting(domains):
    X, y, X_target, _ = domains[:4]
    with np.errstate(all="raise"):
        model = TrAdaBoostClassifier(DecisionTreeClassifier(random_state=0)).fit(
            X, y, X_target=X_target, y_target=(X_target[:, 0] > 0).astype(int)
        )
    assert len(model.estimators_) == 1
    assert model.estimator_errors_[0] == 0
    assert np.isfinite(model.estimator_weights_).all()
    assert np.isfinite(model.sample_weight_).all()
    np.testing.assert_array_equal(model.predict(X), model.estimators_[0].predict(X))


@ignore_one_round
def test_a_learner_no_better_than_a_guess_is_left_out():
    Fixed.rounds.clear()
    y = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    columns = np.tile(y[:, None], (1, 3)).astype(float)
    columns[[0, 4], 0] = 1 - columns[[0, 4], 0]  # one target row of four is wrong
    columns[4:, 1] = 1 - columns[4:, 1]  # all are
    model = TrAdaBoostClassifier(Fixed(), n_estimators=3)
    model.fit(columns[:4], y[:4], X_target=columns[4:], y_target=y[4:])
    assert len(Fixed.rounds) == 2
    assert len(model.estimators_) == len(model.estimator_weights_) == 1
    assert model.sample_weight_history_.shape == (2, 8)
    np.testing.assert_allclose(model.estimator_errors_, [0.25])


@ignore_one_round
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_wrong", [1, 2, 3])
def test_a_learner_that_comes_again_ends_boosting(n_classes, n_wrong):
    """Whatever rounding makes of its error, which is that of a guess by now."""
    Fixed.rounds.clear()
    y = np.arange(16) % n_classes
    column = y.copy()
    column[[0, 2, *range(9, 9 + n_wrong)]] = (
        column[[0, 2, *range(9, 9 + n_wrong)]] + 1
    ) % n_classes
    X = np.tile(column[:, None].astype(float), (1, 5))
    model = TrAdaBoostClassifier(Fixed(), n_estimators=5)
    model.fit(X[:9], y[:9], X_target=X[9:], y_target=y[9:])
    assert len(model.estimators_) == 1
    weights = model.sample_weight_history_[-1, 9:]
    wrong = np.arange(7) < n_wrong
    assert weights[wrong].sum() / weights.sum() == pytest.approx(1 - 1 / n_classes, rel=1e-6)


def test_a_first_learner_no_better_than_a_guess_is_kept_with_a_warning(domains):
    X, y, X_target, y_target = domains[:4]
    model = boosted(5)
    with pytest.warns(
        ConvergenceWarning, match=r"no better than a guess.*larger target_weight"
    ) as caught:
        model.fit(X, X[:, 0] > 0, X_target=X_target, y_target=X_target[:, 0] < 0)
    assert [each.filename for each in caught] == [__file__]
    assert len(model.estimators_) == 1
    assert model.estimator_errors_[0] >= 0.5
    np.testing.assert_array_equal(model.predict(X), model.estimators_[0].predict(X))


def test_smaller_source_weights_are_the_remedy(domains):
    X, _, X_target, _ = domains[:4]
    y, y_target = X[:, 0] > 0, X_target[:, 0] < 0
    model = boosted(20)
    model.fit(X, y, np.full(len(X), 0.05), X_target=X_target, y_target=y_target)
    assert model.score(X_target, y_target) > 0.9


@ignore_one_round
def test_a_single_target_row(domains):
    X, y, X_target, y_target = domains[:4]
    model = boosted(5)
    model.fit(X[150:], y[150:], X_target=X_target[:1], y_target=y_target[:1])
    assert model.sample_weight_history_.shape[1] == 151
    assert model.predict(X_target[:1]) == y_target[:1]


# --- classes ---------------------------------------------------------------------------


def test_many_classes_with_names():
    rng = np.random.default_rng(0)
    X, X_target = rng.uniform(-1, 1, (600, 8)), rng.uniform(-1, 1, (660, 8))

    def names(Z):
        return np.array(["a", "b", "c", "d"])[2 * (Z[:, 0] > 0) + (Z[:, 1] > 0)]

    y, y_target = names(X), names(X_target)
    truth = y_target[60:]
    y[:200] = rng.permutation(y[:200])
    y_target[:20] = rng.permutation(y_target[:20])
    tree = DecisionTreeClassifier(max_depth=4)
    model = TrAdaBoostClassifier(tree, n_estimators=20, random_state=0)
    model.fit(X, y, X_target=X_target[:60], y_target=y_target[:60])
    assert list(model.classes_) == ["a", "b", "c", "d"]
    assert len(model.estimators_) > 5
    assert model.score(X_target[60:], truth) > 0.75
    shares = model.predict_proba(X_target)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(model.decision_function(X_target), shares)


def test_of_three_classes_a_learner_may_be_wrong_on_more_than_half():
    Fixed.rounds.clear()
    y = np.array([0, 1, 2, 0, 1, 2, 0, 1])
    column = y.copy()
    column[3:6] = (column[3:6] + 1) % 3  # three of five target rows
    model = TrAdaBoostClassifier(Fixed(), n_estimators=1)
    model.fit(column[:3, None], y[:3], X_target=column[3:, None], y_target=y[3:])
    np.testing.assert_allclose(model.estimator_errors_, [0.6])
    np.testing.assert_allclose(model.estimator_weights_, [np.log(2 * 0.4 / 0.6)], rtol=ROUNDED)


@ignore_one_round
@pytest.mark.parametrize("side", ["source only", "target only"])
def test_classes_missing_on_one_side(side):
    rng = np.random.default_rng(1)
    X, X_target = rng.normal(size=(200, 2)), rng.normal(size=(100, 2))
    y, y_target = (np.digitize(Z[:, 0], [-0.5, 0.5]) for Z in (X, X_target))
    if side == "target only":
        X, y = X[y < 2], y[y < 2]
    else:
        X_target, y_target = X_target[y_target < 2], y_target[y_target < 2]
    tree = DecisionTreeClassifier(max_depth=2)
    model = TrAdaBoostClassifier(tree, n_estimators=10, random_state=0)
    said = nullcontext()
    if side == "target only":
        said = pytest.warns(DomainDataWarning, match=r"holds the classes \[2\], which y \(source")
    with said:
        model.fit(X, y, X_target=X_target, y_target=y_target)
    assert list(model.classes_) == [0, 1, 2]
    assert model.predict_proba(X_target).shape[1] == 3
    assert model.score(X_target, y_target) > 0.9
    if side == "target only":
        assert (model.predict(X_target) == 2).any()


def test_a_single_class_is_predicted(domains):
    X, _, X_target, _ = domains[:4]
    model = TrAdaBoostClassifier().fit(
        X, np.ones(len(X)), X_target=X_target, y_target=np.ones(len(X_target))
    )
    assert (model.predict(X) == 1).all()


# --- without a target ------------------------------------------------------------------


def test_without_a_target_it_is_adaboost(domains):
    """scikit-learn's own, learner by learner."""
    X, _, X_test = domains[0], domains[1], domains[4]
    rng = np.random.default_rng(0)
    y = np.digitize(X[:, 0] + 0.5 * X[:, 1] + 0.5 * rng.normal(size=len(X)), [-0.5, 0.5])
    for labels in (y, y > 0):
        with pytest.warns(DomainDataWarning, match="given no X_target") as caught:
            stump = DecisionTreeClassifier(max_depth=1)
            model = TrAdaBoostClassifier(stump, n_estimators=10, random_state=0).fit(X, labels)
        assert [each.filename for each in caught] == [__file__]
        ada = AdaBoostClassifier(n_estimators=10, random_state=0).fit(X, labels)
        np.testing.assert_allclose(model.estimator_errors_, ada.estimator_errors_, rtol=ROUNDED)
        np.testing.assert_allclose(model.estimator_weights_, ada.estimator_weights_, rtol=ROUNDED)
        np.testing.assert_array_equal(model.predict(X_test), ada.predict(X_test))


@pytest.mark.parametrize("labels", [None, "unknown"])
def test_without_a_label_the_target_is_not_used(domains, labels):
    X, y, X_target = domains[:3]
    y_target = None if labels is None else np.full(len(X_target), np.nan)
    with pytest.warns(DomainDataWarning, match="no label of a target row.*y_target=") as caught:
        model = boosted(5).fit(X, y, X_target=X_target, y_target=y_target)
    assert [each.filename for each in caught] == [__file__]
    with pytest.warns(DomainDataWarning):
        plain = boosted(5).fit(X, y)
    np.testing.assert_array_equal(model.sample_weight_history_, plain.sample_weight_history_)
    assert model.sample_weight_history_.shape == (6, len(X))


def test_only_labelled_target_rows_count(domains):
    X, y, X_target, y_target = domains[:4]
    known = np.arange(len(y_target)) % 3 == 0
    partial = np.where(known, y_target, np.nan)
    model = boosted(5)
    first = clone(model).fit(X, y, X_target=X_target, y_target=partial)
    second = clone(model).fit(X, y, X_target=X_target[known], y_target=y_target[known])
    np.testing.assert_array_equal(first.sample_weight_history_, second.sample_weight_history_)
    assert first.classes_.dtype == y.dtype
    objects = np.array(
        [int(v) if k else None for v, k in zip(y_target, known, strict=True)], dtype=object
    )
    third = clone(model).fit(X, y, X_target=(X_target,), y_target=(objects,))
    np.testing.assert_array_equal(first.sample_weight_history_, third.sample_weight_history_)


# --- weights and order -----------------------------------------------------------------


def test_a_weight_of_two_is_a_repeated_row(domains):
    X, y = domains[:2]
    counts = np.arange(len(X)) % 3
    rows = np.repeat(np.arange(len(X)), counts)
    model = boosted(10)
    weighted = fit(clone(model), domains, sample_weight=counts)
    X_target, y_target, X_test = domains[2:5]
    repeated = clone(model).fit(X[rows], y[rows], X_target=X_target, y_target=y_target)
    np.testing.assert_array_equal(weighted.predict(X_test), repeated.predict(X_test))
    np.testing.assert_allclose(
        weighted.sample_weight_,
        np.bincount(rows, weights=repeated.sample_weight_, minlength=len(X)),
        rtol=ROUNDED,
    )
    assert (weighted.sample_weight_[counts == 0] == 0).all()
    assert weighted.sample_weight_history_.shape == (11, len(X) + 60)


@ignore_one_round
@pytest.mark.parametrize("has_target", [False, True])
@ignore_unadapted
def test_rounding_does_not_decide_between_equal_splits(has_target):
    """Many columns split few rows alike, and 50 rounds amplify whatever tells them apart."""
    n_rounds = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        X, X_target, counts = rng.random((16, 30)), rng.random((12, 30)), rng.integers(1, 5, 16)
        y, y_target = ((3 * Z[:, 0]).astype(int) for Z in (X, X_target))
        y[:4], y_target[:3] = 0, 2
        target = {"X_target": X_target, "y_target": y_target} if has_target else {}
        model = TrAdaBoostClassifier(DecisionTreeClassifier(max_depth=1), random_state=0)
        rows = rng.permutation(np.repeat(np.arange(16), counts))
        weighted = clone(model).fit(X, y, counts, **target)
        repeated = clone(model).fit(X[rows], y[rows], **target)
        n_rounds.append(len(weighted.estimators_))
        np.testing.assert_allclose(
            weighted.predict_proba(X_target), repeated.predict_proba(X_target), rtol=1e-9
        )
    assert np.median(n_rounds) == 50


@pytest.mark.parametrize("base", [None, LogisticRegression(), GaussianNB()])
def test_row_order_is_irrelevant(domains, base):
    X, y, X_target, y_target, X_test, _ = domains
    rng = np.random.default_rng(3)
    order, target_order = rng.permutation(len(X)), rng.permutation(len(X_target))
    model = boosted(10) if base is None else TrAdaBoostClassifier(base, n_estimators=10)
    first = fit(clone(model), domains)
    second = clone(model).fit(
        X[order], y[order], X_target=X_target[target_order], y_target=y_target[target_order]
    )
    np.testing.assert_allclose(first.sample_weight_[order], second.sample_weight_, rtol=1e-4)
    np.testing.assert_array_equal(first.predict(X_test), second.predict(X_test))


def test_nothing_given_is_changed(domains):
    arrays = [array.copy() for array in domains[:4]] + [np.ones(len(domains[0]))]
    for array in arrays:
        array.flags.writeable = False
    X, y, X_target, y_target, weights = arrays
    base = LogisticRegression()
    model = TrAdaBoostClassifier(base, n_estimators=3, random_state=0)
    model.fit(X, y, weights, X_target=X_target, y_target=y_target)
    assert not hasattr(base, "coef_")
    state = np.random.get_state()[1].copy()
    boosted(2).fit(X, y, X_target=X_target, y_target=y_target)
    np.testing.assert_array_equal(state, np.random.get_state()[1])


def test_two_fits_equal_one_and_the_weights_need_not_be_stored(domains):
    model = fit(boosted(5), domains)
    first = model.sample_weight_.copy()
    model.set_params(store_weights=False)
    np.testing.assert_array_equal(fit(model, domains).sample_weight_, first)
    assert not hasattr(model, "sample_weight_history_")


def test_base_estimators_have_seeds_of_their_own(domains):
    forest = RandomForestClassifier(5, max_depth=2)
    model = TrAdaBoostClassifier(make_pipeline(StandardScaler(), forest), n_estimators=3)
    first, second, other = (
        fit(clone(model).set_params(random_state=seed), domains) for seed in (0, 0, 1)
    )
    seeds = [each[-1].random_state for each in first.estimators_]
    assert len(set(seeds)) == len(seeds) > 1
    assert seeds == [each[-1].random_state for each in second.estimators_]
    assert seeds != [each[-1].random_state for each in other.estimators_]
    assert forest.random_state is None


# --- what goes in ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "base",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
        RandomForestClassifier(3, max_depth=2),
        GaussianNB(),
    ],
)
def test_any_base_with_weights(domains, base):
    *_, X_test, y_test = domains
    model = fit(TrAdaBoostClassifier(base, n_estimators=4, random_state=0), domains)
    assert model.score(X_test, y_test) > 0.6
    with config_context(enable_metadata_routing=True):
        again = fit(clone(model), domains)
    np.testing.assert_array_equal(model.sample_weight_, again.sample_weight_)


def test_sparse_rows_and_missing_values(domains):
    X, y, X_target, y_target, X_test, _ = domains
    dense = fit(boosted(6), domains)
    for form in (sparse.csr_array, sparse.csc_matrix):
        rows = boosted(6).fit(form(X), y, X_target=form(X_target), y_target=y_target)
        np.testing.assert_array_equal(rows.predict(form(X_test)), dense.predict(X_test))
    mixed = fit(boosted(6), (X, y, sparse.csr_array(X_target), y_target))
    np.testing.assert_array_equal(mixed.predict(X_test), dense.predict(X_test))
    holes = X.copy()
    holes[::7, 3] = np.nan
    model = fit(boosted(6), (holes, *domains[1:]))
    assert np.isfinite(model.sample_weight_).all()
    with pytest.raises(ValueError, match="NaN"):
        fit(TrAdaBoostClassifier(LogisticRegression()), (holes, *domains[1:]))
    with pytest.raises(ValueError, match="infinity"):
        fit(TrAdaBoostClassifier(), (np.where(X > 2, np.inf, X), *domains[1:]))
    with pytest.raises(ValueError, match="too large"):
        fit(TrAdaBoostClassifier(), (np.where(X > 2, 1e300, X), *domains[1:]))


def test_frames_are_matched_by_name(domains):
    X, y, X_target, y_target = domains[:4]
    names = list("abcdefghij")
    frame = pd.DataFrame(X, columns=names)
    target = pd.DataFrame(X_target, columns=names)[names[::-1]].assign(extra=0.0)
    model = boosted(4)
    with pytest.warns(DomainDataWarning, match=r"X_target has the columns \['extra'\], which X la"):
        model.fit(frame, pd.Series(y), X_target=target, y_target=pd.DataFrame(y_target))
    assert list(model.feature_names_in_) == names
    expected = fit(clone(model), domains)
    np.testing.assert_array_equal(model.sample_weight_, expected.sample_weight_)


def test_an_estimator_without_weights_is_refused(domains):
    for base in (KNeighborsClassifier(), make_pipeline(StandardScaler(), KNeighborsClassifier())):
        with pytest.raises(TypeError, match="KNeighborsClassifier does not support sample_weight"):
            fit(TrAdaBoostClassifier(base), domains)


def test_a_regressor_is_refused(domains):
    with pytest.raises(TypeError, match=r"boosts a classifier, and estimator=Ridge\(\) is a regr"):
        fit(TrAdaBoostClassifier(Ridge()), domains)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"X_target": np.ones((4, 2)), "y_target": np.ones(4)}, "X_target has 2 features.*10"),
        ({"X_target": np.ones((0, 10)), "y_target": []}, "X_target has 0 rows"),
        ({"X_target": np.ones((4, 10)), "y_target": [1]}, "y_target has 1 entries.*4 rows"),
        ({"X_target": None}, "y_target was given without X_target"),
        ({"y_target": ["a"] * 60}, "no class in common.*Write the labels of both in one way"),
        ({"y_target": np.ones((60, 2))}, "labels of the same form"),
        ({"sample_weight": -np.ones(300)}, "[Nn]egative"),
        ({"sample_weight": np.zeros(300)}, "zero"),
        ({"X_target": np.full((60, 10), np.inf)}, "Input X_target contains infinity"),
    ],
)
def test_bad_data_is_refused_by_name(domains, data, message):
    with pytest.raises(ValueError, match=message):
        fit(TrAdaBoostClassifier(n_estimators=2), domains, **data)


def test_missing_source_labels_are_refused(domains):
    X, y, X_target, y_target = domains[:4]
    with pytest.raises(ValueError, match="Input y contains NaN.*only y_target may"):
        TrAdaBoostClassifier().fit(
            X, np.where(X[:, 0] > 1, np.nan, y), X_target=X_target, y_target=y_target
        )


def test_bad_parameters_are_refused_by_name(domains):
    for n in (0, 2.5, True, "many"):
        with pytest.raises(ValueError, match="n_estimators=.* is not an integer of at least 1"):
            fit(TrAdaBoostClassifier(n_estimators=n), domains)
    with pytest.raises(NotFittedError):
        TrAdaBoostClassifier().predict(domains[0])


# --- in compositions -------------------------------------------------------------------


def test_with_target_and_with_source(domains):
    X, y, X_target, y_target, X_test, y_test = domains
    inner = make_pipeline(StandardScaler(), boosted(30))
    scaler = StandardScaler()
    direct = boosted(30).fit(
        scaler.fit_transform(X), y, X_target=scaler.transform(X_target), y_target=y_target
    )
    held = WithTarget(inner, X_target=X_target, y_target=y_target).fit(X, y)
    swapped = WithSource(inner, X, y).fit(X_target, y_target)
    expected = direct.predict(scaler.transform(X_test))
    np.testing.assert_array_equal(held.predict(X_test), expected)
    np.testing.assert_array_equal(swapped.predict(X_test), expected)
    assert swapped.score(X_test, y_test) > 0.65


def test_searches_and_cross_validation(domains):
    X, y, _, _, X_test, y_test = domains
    model = WithSource(boosted(10), X, y)
    scores = cross_validate(model, X_test[:120], y_test[:120], cv=3, error_score="raise")
    assert scores["test_score"].min() > 0.5
    search = GridSearchCV(
        model, {"estimator__n_estimators": [2, 20]}, cv=3, error_score="raise"
    ).fit(X_test[:120], y_test[:120])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(set(search.cv_results_["mean_test_score"])) == 2


def test_clone_and_pickle(domains):
    X_test = domains[4]
    model = fit(boosted(5), domains)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.predict_proba(X_test), again.predict_proba(X_test))
    assert not hasattr(clone(model), "estimators_")


class Stopper:
    """Asks to stop after three rounds, and keeps what a round leaves."""

    def __init__(self, X):
        self.X, self.seen, self.names = X, [], []

    def setup(self, estimator, context):
        pass

    teardown = setup

    def on_fit_task_begin(self, estimator, context):
        self.names.append((context.task_name, context.max_subtasks))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "round":
            self.seen.append(fitted_estimator.predict(self.X))
            return len(self.seen) == 3
        return False


def test_rounds_are_tasks_of_callbacks(domains):
    X_test = domains[4]
    stopper = Stopper(X_test)
    model = boosted(10).set_callbacks(stopper)
    fit(model, domains)
    assert len(model.estimators_) == 3
    assert [name for name, _ in stopper.names[1:]] == ["round"] * 3
    assert stopper.names[0][1] == 10
    for stage, seen in zip(model.staged_predict(X_test), stopper.seen, strict=True):
        np.testing.assert_array_equal(stage, seen)


def test_a_progress_bar_changes_nothing(domains):
    model = boosted(4)
    expected = fit(clone(model), domains).sample_weight_
    fit(model.set_callbacks(ProgressBar()), domains)
    np.testing.assert_array_equal(model.sample_weight_, expected)


# --- extremes --------------------------------------------------------------------------


@ignore_one_round
def test_many_rounds_leave_finite_weights():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(400, 2)), rng.normal(size=(20, 2))
    y, y_target = rng.integers(0, 2, 400), rng.integers(0, 2, 20)
    tree = DecisionTreeClassifier(max_depth=2)
    model = TrAdaBoostClassifier(tree, n_estimators=300, random_state=0)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        model.fit(X, y, X_target=X_target, y_target=y_target)
    assert (model.sample_weight_history_ > 0).all()
    assert np.isfinite(model.sample_weight_history_).all()
    np.testing.assert_allclose(model.sample_weight_history_.sum(axis=1), 420, rtol=1e-5)


def test_source_weights_of_a_small_sum(domains):
    """The factor of source rows is that of at least one row."""
    model = fit(
        boosted(3),
        domains,
        sample_weight=np.full(300, 1e-3),
    )
    assert np.isfinite(model.sample_weight_).all()
