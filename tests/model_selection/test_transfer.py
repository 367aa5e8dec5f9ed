"""The mixture of strategies: weights and scores against the same written out, and its traps."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeCV,
)
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from skltransfer import (
    DomainDataWarning,
    KMMReweighter,
    PooledEstimator,
    TransferClassifier,
    TransferRegressor,
    WithSource,
)
from skltransfer.model_selection import Strategy, TransferTask, mixture_strategies
from skltransfer.model_selection._mixture import class_probabilities, spread_folds


def draw(n_source=60, n=20, n_classes=2, seed=0, shift=0.5):
    """Return samples whose classes follow the first columns, with another threshold each."""
    rng = np.random.default_rng(seed)
    X_source = rng.normal(size=(n_source, 4))
    X = rng.normal(shift, 1.2, size=(n, 4))
    labels = [
        np.argmax(rows[:, :n_classes] + 0.7 * rng.normal(size=(len(rows), n_classes)), axis=1)
        for rows in (X_source, X)
    ]
    return X_source, labels[0], X, labels[1]


def pipeline(C=1.0):
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000))


def fit(model, X_source, y_source, X, y, **kwargs):
    return model.fit(X_source, y_source, X_target=X, y_target=y, **kwargs)


def posterior(losses, n):
    """Return what the weights are proportional to, from losses of all strategies."""
    pairs = (losses[:, None] - losses[None]).var(axis=2, ddof=1)
    noise = pairs.sum(axis=1) / (len(losses) - 1)
    gaps = losses.mean(axis=1) - losses.mean()
    return np.exp(-n * gaps / (1 + 20 * noise / n))


def by_hand(strategies, task, X, y, classes, fold):
    """Return the weights, and the mixture's probabilities on samples left out, one by one."""
    p = np.empty((len(strategies), len(y), len(classes)))
    for i, strategy in enumerate(strategies):
        for k in np.unique(fold):
            model = strategy.build(task).fit(X[fold != k], y[fold != k])
            given = model.predict_proba(X[fold == k])
            for column, label in enumerate(classes):
                position = np.flatnonzero(model.classes_ == label)
                own = given[:, position[0]] if len(position) else 0.0
                p[i, fold == k, column] = 0.98 * own + 0.02 / len(classes)
    code = np.array([list(classes).index(label) for label in y])
    losses = -np.log(p[:, np.arange(len(y)), code])

    def weigh(losses, n):
        raw = posterior(losses, n)
        weights = 0.8 * raw / raw.sum()
        weights[0] += 0.2
        weights[1:][weights[1:] < 0.03] = 0
        return weights / weights.sum()

    mixed = np.empty(p.shape[1:])
    for row in range(len(y)):
        others = fold != fold[row]
        mixed[row] = weigh(losses[:, others], len(y)) @ p[:, row]
    return weigh(losses, len(y)), mixed, p[0]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_and_scores_are_those_written_out(n_classes):
    X_source, y_source, X, y = draw(n_classes=n_classes, n=24)
    names = np.array(["no", "maybe", "yes"])
    y_source, y = names[y_source], names[y]
    model = fit(TransferClassifier(pipeline(), cv=3), X_source, y_source, X, y)
    task = TransferTask(pipeline(), X_source, y_source)
    strategies = mixture_strategies(task)
    rng = np.random.RandomState(0)
    fold = spread_folds(y, 3, rng)
    weights, mixed, alone = by_hand(strategies, task, X, y, np.unique(y), fold)
    assert list(model.weights_) == [strategy.name for strategy in strategies]
    np.testing.assert_allclose(list(model.weights_.values()), weights, atol=1e-6)
    hits, alone = (np.unique(y)[p.argmax(axis=1)] == y for p in (mixed, alone))
    assert model.score_.value == pytest.approx(hits.mean())
    assert model.baseline_score_.value == pytest.approx(alone.mean())
    gains = hits.astype(float) - alone
    margin = stats.t.ppf(0.975, 23) * np.sqrt((gains.var(ddof=1) + 1 / 23) / 24 * 3 / 2)
    expected = (gains.mean(), gains.mean() - margin, gains.mean() + margin)
    assert model.gain_ == pytest.approx(expected)
    members = {s.name: s.build(task).fit(X, y) for s in strategies}
    p = sum(
        weight * class_probabilities(members[name], X + 1, model.classes_)
        for name, weight in model.weights_.items()
    )
    np.testing.assert_allclose(model.predict_proba(X + 1), p, atol=1e-6)
    assert model.predict(X).tolist() == names_of(model, X)


def names_of(model, X):
    return model.classes_[model.predict_proba(X).argmax(axis=1)].tolist()


@pytest.mark.parametrize("is_classification", [True, False])
def test_members_predict_as_the_strategies_by_themselves(is_classification):
    X_source, y_source, X, y = draw()
    if is_classification:
        model, own = TransferClassifier(pipeline()), pipeline()
    else:
        own = make_pipeline(StandardScaler(), Ridge())
        model, y_source, y = TransferRegressor(own), X_source @ [1, 2, 0, 0], X @ [1, 1, 0, 0] + 1
    fit(model, X_source, y_source, X, y)
    task = TransferTask(own, X_source, y_source)
    answer = "predict_proba" if is_classification else "predict"
    for strategy in mixture_strategies(task):
        expected = getattr(strategy.build(task).fit(X, y), answer)(X + 1)
        found = getattr(model.estimators_[strategy.name], answer)(X + 1)
        np.testing.assert_allclose(found, expected, atol=1e-8, err_msg=strategy.name)
    alone = own.fit(X, y)
    np.testing.assert_array_equal(
        getattr(model.estimators_["no transfer"], answer)(X), getattr(alone, answer)(X)
    )


def test_weights_of_regression_are_those_of_a_likelihood():
    X_source, _, X, _ = draw(n=25)
    rng = np.random.default_rng(1)
    y_source, y = X_source.sum(axis=1), X.sum(axis=1) + 1 + rng.normal(size=25)
    names = ["no transfer", "source only", "pooled"]
    model = fit(TransferRegressor(strategies=names, min_weight=0), X_source, y_source, X, y)
    fold = spread_folds(y, 5, np.random.RandomState(0), is_classification=False)
    task = TransferTask(Ridge(), X_source, y_source)
    strategies = {s.name: s for s in mixture_strategies(task)}
    errors = np.empty((3, 25))
    for i, name in enumerate(names):
        for k in range(5):
            fitted = strategies[name].build(task).fit(X[fold != k], y[fold != k])
            errors[i, fold == k] = (fitted.predict(X[fold == k]) - y[fold == k]) ** 2
    raw = posterior(errors / (2 * errors.mean(axis=1).min()), 25)
    expected = 0.8 * raw / raw.sum() + [0.2, 0, 0]
    np.testing.assert_allclose(list(model.weights_.values()), expected)
    p = sum(w * model.estimators_[name].predict(X) for name, w in model.weights_.items())
    np.testing.assert_allclose(model.predict(X), p)
    # The unit of the labels changes nothing.
    other = fit(
        TransferRegressor(Ridge(), strategies=names, min_weight=0),
        X_source,
        1e6 * y_source,
        X,
        1e6 * y,
    )
    np.testing.assert_allclose(list(other.weights_.values()), expected, rtol=1e-6)


class Counting(LogisticRegression):
    """Counts its fits by the number of samples."""

    sizes: list = []

    def fit(self, X, y, sample_weight=None):
        self.sizes.append(len(y))
        return super().fit(X, y, sample_weight)


def test_there_are_few_fits_and_one_on_the_source():
    X_source, y_source, X, y = draw(n_source=61)
    Counting.sizes.clear()
    fit(TransferClassifier(make_pipeline(StandardScaler(), Counting())), X_source, y_source, X, y)
    assert Counting.sizes.count(61) == 1
    # The anchored strategies and the recalibrated source's model are other classes: 18 fits.
    assert len(Counting.sizes) == 5 * 6 + 1
    assert len(Counting.sizes) + 18 == 49


def test_the_source_is_used_and_helps_where_labels_are_few():
    X_source, y_source, X, y = draw(n_source=300, n=400, shift=0)
    own = pipeline().fit(X[:10], y[:10]).score(X[10:], y[10:])
    model = fit(TransferClassifier(pipeline()), X_source, y_source, X[:10], y[:10])
    assert model.score(X[10:], y[10:]) > own + 0.05
    other = fit(TransferClassifier(pipeline()), X_source[::-1], y_source, X[:10], y[:10])
    assert not np.allclose(model.predict_proba(X), other.predict_proba(X))


def test_flipped_labels_of_the_source_cost_little():
    X_source, y_source, X, y = draw(n_source=300, n=430, shift=0)
    own = pipeline().fit(X[:30], y[:30]).score(X[30:], y[30:])
    with pytest.warns(DomainDataWarning, match="right on . of 30 .* Do the labels mean the same"):
        model = fit(TransferClassifier(pipeline()), X_source, 1 - y_source, X[:30], y[:30])
    assert model.weights_["source only"] == 0
    assert model.score(X[30:], y[30:]) > own - 0.03


def test_its_own_score_knows_chance():
    """Labels without meaning: the intervals cover chance."""
    covered = []
    names = ["no transfer", "source only", "pooled"]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X_source, X = rng.normal(size=(60, 3)), rng.normal(size=(30, 3))
        y_source, y = rng.integers(2, size=60), np.arange(30) % 2
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DomainDataWarning)  # worse than chance by chance
            model = fit(
                TransferClassifier(strategies=names, random_state=seed),
                *(X_source, y_source, X, y),
            )
        covered.append(model.score_.low <= 0.5 <= model.score_.high)
    assert np.mean(covered) >= 0.9


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_copies_of_target_samples_are_left_out(kind):
    X_source, y_source, X, y = draw(n_source=150, n=30)
    expected = fit(TransferClassifier(pipeline()), X_source, y_source, X, y).weights_
    X_copied, y_copied = np.vstack([X_source, X]), np.concatenate([y_source, y])
    if kind == "frame":
        X_copied, X = (pd.DataFrame(rows, columns=list("abcd")) for rows in (X_copied, X))
    with pytest.warns(DomainDataWarning, match="30 of 180 source samples equal") as caught:
        model = fit(TransferClassifier(pipeline()), X_copied, y_copied, X, y)
    assert len(caught) == 1
    np.testing.assert_allclose(list(model.weights_.values()), list(expected.values()), atol=1e-9)
    assert "30 source samples equal" in model.comparison_.notes[0]


def test_samples_that_are_equal_by_chance_stay():
    rng = np.random.default_rng(0)
    X_source, X = rng.integers(2, size=(80, 2)), rng.integers(2, size=(30, 2))
    model = fit(TransferClassifier(), X_source, X_source[:, 0], X, X[:, 0])
    assert model.comparison_.n_source == 80


def test_the_comparison_of_a_fit_says_where_the_strategies_are():
    model = fit(TransferClassifier(pipeline(), strategies=["pooled"]), *draw())
    with pytest.raises(ValueError, match="strategies are in estimators_"):
        model.comparison_.code("pooled")
    with pytest.raises(ValueError, match="strategies are in estimators_"):
        _ = model.comparison_.best_estimator_


def test_a_source_of_copies_is_no_source():
    X_source, y_source, X, y = draw()
    with pytest.warns(DomainDataWarning, match="No source sample is left"):
        model = fit(TransferClassifier(pipeline()), X, y, X, y)
    assert model.weights_ == {"no transfer": 1.0}
    expected = pipeline().fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_the_names_of_classes_do_not_matter():
    X_source, y_source, X, y = draw(n_source=100, n=33, n_classes=3)
    strategies = ["no transfer", "source only", "pooled", "anchored"]
    p = [
        fit(
            TransferClassifier(pipeline(), strategies=strategies),
            *(X_source, names[y_source], X, names[y]),
        ).predict_proba(X)
        for names in (np.arange(3), np.arange(1, 4), np.array(["a", "b", "c"]))
    ]
    for other in p[1:]:
        np.testing.assert_allclose(other, p[0], atol=1e-10)


def test_ten_labels_of_ten_classes():
    rng = np.random.default_rng(0)
    centers = 3 * rng.normal(size=(10, 6))
    y_source, y = np.repeat(np.arange(10), 12), np.arange(10)
    X_source, X = (centers[labels] + rng.normal(size=(len(labels), 6)) for labels in (y_source, y))
    model = fit(TransferClassifier(pipeline()), X_source, y_source, X, y)
    assert model.score(centers, np.arange(10)) > 0.8
    assert "10 of 10 classes have one labelled sample" in model.comparison_.notes[0]


def test_a_class_in_one_domain_only_and_a_class_with_one_sample():
    X_source, y_source, X, y = draw(n=20)
    y_source, y = y_source.astype(object), y.astype(object)
    y_source[y_source == 1], y[y == 1] = "b", "b"
    y_source[y_source == 0], y[y == 0] = "a", "a"
    y_source[:8], y[0] = "of the source", "of the target"
    with pytest.warns(DomainDataWarning, match="'of the target'.*which y .source. lacks"):
        model = fit(TransferClassifier(pipeline()), X_source, y_source, X, y)
    assert model.classes_.tolist() == ["a", "b", "of the source", "of the target"]
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)
    assert all(weight >= 0 for weight in model.weights_.values())


def test_labels_of_one_class():
    X_source, y_source, X, _ = draw()
    model = fit(TransferClassifier(pipeline()), X_source, y_source, X, np.ones(20, dtype=int))
    assert model.estimators_["no transfer"].predict(X).tolist() == [1] * 20
    assert model.classes_.tolist() == [0, 1]
    one = fit(TransferClassifier(pipeline()), X_source, y_source, X[:1], [1])
    assert np.isnan(one.score_.value) and one.comparison_ is None
    assert sum(one.weights_.values()) == pytest.approx(1)


def test_a_source_of_one_class_can_still_be_pooled():
    X_source, _, X, y = draw()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit(TransferClassifier(pipeline()), X_source, np.ones(60, dtype=int), X, y)
    messages = [str(warning.message) for warning in caught]
    assert any("cannot be fitted are left out: source only" in message for message in messages)
    assert {"no transfer", "pooled", "balanced", "augmented"} <= model.weights_.keys()
    with pytest.raises(ValueError, match="y and y_target hold one class, 1"):
        fit(TransferClassifier(), X_source, np.ones(60), X, np.ones(20))


def test_without_labels_the_source_decides_alone():
    X_source, y_source, X, _ = draw()
    expected = pipeline().fit(X_source, y_source).predict_proba(X)
    with pytest.warns(DomainDataWarning, match="no label .*importance_weighted_scorer"):
        model = fit(TransferClassifier(pipeline()), X_source, y_source, X, np.full(20, np.nan))
    assert model.weights_ == {"source only": 1.0}
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    with pytest.warns(DomainDataWarning, match="no X_target"):
        model = TransferClassifier(pipeline()).fit(X_source, y_source)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert np.isnan(model.gain_.value)


def test_unlabelled_samples_are_of_use_to_strategies_that_say_so():
    X_source, y_source, X, y = draw(n=30)
    some = np.where(np.arange(30) < 15, y, np.nan)
    with_all, with_some = (
        fit(TransferClassifier(pipeline()), X_source, y_source, *target)
        for target in ((X, some), (X[:15], y[:15]))
    )
    assert with_all.weights_ == with_some.weights_
    assert with_all.comparison_.n_unlabelled == 15
    kmm = [
        fit(TransferClassifier(pipeline(), strategies=["KMM"], cv=3), X_source, y_source, *target)
        for target in ((X, some), (X[:15], y[:15]))
    ]
    assert kmm[0].weights_ != kmm[1].weights_


def test_strategies_by_name_object_and_estimator():
    X_source, y_source, X, y = draw()
    own = Strategy("mine", lambda task: clone(task.estimator).set_params(C=0.01), "yours")
    model = TransferClassifier(
        LogisticRegression(),
        strategies=["pooled", own, KMMReweighter(LogisticRegression())],
        cv=KFold(4),
        min_weight=0,
    )
    fit(model, X_source, y_source, X, y)
    assert list(model.weights_) == ["no transfer", "pooled", "mine", "KMMReweighter"]
    expected = WithSource(KMMReweighter(LogisticRegression()), X_source, y_source).fit(X, y)
    np.testing.assert_allclose(
        model.estimators_["KMMReweighter"].predict_proba(X), expected.predict_proba(X)
    )
    folds = KFold(4).split(X)
    p = [clone(own.build(TransferTask(LogisticRegression()))).fit(X[a], y[a]) for a, _ in folds]
    hits = [m.score(X[b], y[b]) for m, (_, b) in zip(p, KFold(4).split(X), strict=True)]
    assert model.comparison_.results["mine"].score == pytest.approx(np.mean(hits))


def test_what_the_parameters_may_be():
    X_source, y_source, X, y = draw()
    for settings, message in (
        ({"strategies": ["pool"]}, "'pool', which is no strategy. Did you mean 'pooled'"),
        ({"strategies": "pooled"}, "neither 'auto' nor a list"),
        ({"strategies": [3]}, "holds 3, which is no name"),
        ({"strategies": ["KMM", "KMM"]}, "'KMM'. more than once"),
        ({"baseline_share": 2}, "baseline_share=2 is not"),
        ({"prior_rows": -1}, "prior_rows=-1 is not"),
        ({"cv": 1}, "cv=1 is not"),
        ({"cv": [(np.arange(10), np.arange(10, 20))]}, "does not test each of the 20"),
    ):
        with pytest.raises(ValueError, match=message):
            fit(TransferClassifier(**settings), X_source, y_source, X, y)
    with pytest.raises(TypeError, match="LinearSVC, which has no predict_proba"):
        fit(TransferClassifier(LinearSVC()), X_source, y_source, X, y)
    with pytest.raises(TypeError, match="Ridge, which is no classifier. .* TransferRegressor"):
        fit(TransferClassifier(Ridge()), X_source, y_source, X, y)
    with pytest.raises(TypeError, match="LogisticRegression, which is no regressor"):
        fit(TransferRegressor(LogisticRegression()), X_source, y_source, X, y)
    with pytest.raises(ValueError, match="X_target has 3 features"):
        fit(TransferClassifier(), X_source, y_source, X[:, :3], y)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        fit(TransferClassifier(), np.where(X_source > 2, np.nan, X_source), y_source, X, y)
    with pytest.raises(ValueError, match="Input X_target contains NaN"):
        fit(TransferClassifier(), X_source, y_source, np.where(X > 2, np.nan, X), y)
    with pytest.raises(NotFittedError):
        TransferClassifier().predict(X)


def test_a_share_stays_with_no_transfer():
    X_source, y_source, X, y = draw(n_source=300, n=10, shift=0)
    shares = [
        fit(
            TransferClassifier(
                pipeline(), strategies=["pooled"], baseline_share=share, min_weight=0
            ),
            *(X_source, y_source, X, y),
        ).weights_["no transfer"]
        for share in (0.0, 0.4, 1.0)
    ]
    assert shares[1] == pytest.approx(0.4 + 0.6 * shares[0])
    assert shares[2] == 1.0


def test_the_weights_of_the_source_count():
    X_source, y_source, X, y = draw()
    weights = np.arange(60) % 3
    rows = np.repeat(np.arange(60), weights)
    base = TransferClassifier(LogisticRegression(tol=1e-8, max_iter=1000), cv=2)
    weighted = fit(base, X_source, y_source, X, y, sample_weight=weights)
    repeated = fit(clone(base), X_source[rows], y_source[rows], X, y)
    np.testing.assert_allclose(
        list(weighted.weights_.values()), list(repeated.weights_.values()), atol=1e-5
    )
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-5)
    plain = fit(clone(base), X_source, y_source, X, y)
    assert not np.allclose(weighted.predict_proba(X), plain.predict_proba(X), atol=1e-3)


def test_processes_change_nothing():
    X_source, y_source, X, y = draw()
    names = ["no transfer", "source only", "pooled", "anchored"]
    alone, together = (
        fit(TransferClassifier(pipeline(), strategies=names, n_jobs=n), X_source, y_source, X, y)
        for n in (None, 2)
    )
    assert alone.weights_ == together.weights_
    np.testing.assert_array_equal(alone.predict_proba(X), together.predict_proba(X))


def test_it_composes_as_other_estimators_do():
    X_source, y_source, X, y = draw(n=30, n_classes=3)
    y = y.copy()
    y[y == 2] = 1
    y[0] = 2  # a class of one sample
    names = ["no transfer", "source only", "pooled"]
    model = WithSource(TransferClassifier(pipeline(), strategies=names), X_source, y_source)
    assert np.isfinite(cross_val_score(model, X, y, cv=KFold(3))).all()
    grid = {
        "estimator__baseline_share": [0.2, 0.9],
        "estimator__estimator__logisticregression__C": [1],
    }
    search = GridSearchCV(model, grid, cv=KFold(2)).fit(X, y)
    twin = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(twin.predict_proba(X), search.predict_proba(X))
    assert (
        twin.estimator_.comparison_.verdict == search.best_estimator_.estimator_.comparison_.verdict
    )
    assert clone(model).estimator.get_params()["strategies"] == names
    behind = make_pipeline(StandardScaler(), TransferClassifier(strategies=names))
    assert WithSource(behind, X_source, y_source).fit(X, y).score(X, y) > 0.5


def test_a_boosted_model_has_linear_ones_beside_it():
    X_source, y_source, X, y = draw(n_source=80, n=24)
    X_source[0, 0] = np.nan
    own = HistGradientBoostingClassifier(max_iter=3)
    with pytest.warns(DomainDataWarning, match="same for all 24 .* min_samples_leaf"):
        model = fit(TransferClassifier(own, cv=2), X_source, y_source, X, y)
    assert {"no transfer, linear", "pooled, linear", "balanced, linear"} <= model.weights_.keys()
    assert "anchored" not in model.weights_
    linear = model.estimators_["no transfer, linear"]
    assert len(np.unique(linear.predict_proba(X)[:, 0])) == 24


def test_the_penalty_of_anchored_strategies_is_the_model_s():
    X_source, y_source, X, y = draw()
    number = X_source[:, 0]
    new = {"l1_ratios": (0,), "use_legacy_attributes": False, "scoring": "neg_log_loss"}
    for own, labels, expected in (
        (LogisticRegression(C=0.1), y_source, 10.0),
        (LogisticRegressionCV(Cs=[0.25], **new), y_source, 4.0),
        (Ridge(3.0), number, 3.0),
        (RidgeCV([7.0]), number, 7.0),
    ):
        task = TransferTask(own, X_source, labels)
        strategies = {s.name: s for s in mixture_strategies(task)}
        for strategy, factor in (("anchored", 1), ("anchored strongly", 10)):
            anchored = strategies[strategy].adapt(task)
            assert anchored.alpha == pytest.approx(factor * expected)
            assert anchored.source_alpha == pytest.approx(expected)


def test_a_strategy_that_fails_is_named_and_left_out():
    X_source, y_source, X, y = draw()

    def refuse(task):
        raise RuntimeError("no such luck")

    bad = Strategy("bad", refuse, "yours")
    with pytest.warns(DomainDataWarning, match=r"left out: bad \(RuntimeError: no such luck\)"):
        model = fit(TransferClassifier(strategies=["pooled", bad]), X_source, y_source, X, y)
    assert list(model.weights_) == ["no transfer", "pooled"]


def test_a_strategy_that_overflows_is_left_out():
    """Where numbers are near the largest, one model may be finite and another not."""

    class Overflowing(DummyRegressor):
        def predict(self, X):
            return np.full(len(X), np.inf)

    X_source, y_source, X, y = draw()
    bad = Strategy("bad", lambda task: Overflowing(), "yours")
    mixture = TransferRegressor(strategies=["pooled", bad])
    with pytest.warns(DomainDataWarning, match=r"left out: bad \(ValueError: .* not finite"):
        model = fit(mixture, X_source, y_source.astype(float), X, y.astype(float))
    assert list(model.weights_) == ["no transfer", "pooled"]
    assert np.isfinite(model.predict(X)).all()
    with pytest.raises(ValueError, match="not finite; scale the features"):
        fit(TransferRegressor(Overflowing()), X_source, y_source.astype(float), X, y.astype(float))


def test_frames_of_two_domains():
    X_source, y_source, X, y = draw()
    frame, other = (pd.DataFrame(rows, columns=list("abcd")) for rows in (X_source, X))
    model = TransferClassifier(pipeline(), strategies=["pooled", "augmented", "source score"])
    expected = clone(model).fit(X_source, y_source, X_target=X, y_target=y).predict_proba(X)
    model = WithSource(model, frame, y_source).fit(other[["d", "c", "b", "a"]], y)
    assert model.feature_names_in_.tolist() == list("dcba")
    np.testing.assert_allclose(
        model.predict_proba(other[["d", "c", "b", "a"]]), expected, atol=1e-6
    )


def test_pooling_is_one_of_the_strategies():
    X_source, y_source, X, y = draw()
    model = fit(
        TransferClassifier(LogisticRegression(), strategies=["pooled"]), X_source, y_source, X, y
    )
    pooled = PooledEstimator(LogisticRegression()).fit(X_source, y_source, X_target=X, y_target=y)
    np.testing.assert_allclose(
        model.estimators_["pooled"].predict_proba(X), pooled.predict_proba(X)
    )


def test_the_weights_of_the_target_count():
    X_source, y_source, X, y = draw()
    weights = np.arange(20) % 4
    model = TransferClassifier(LogisticRegression(), strategies=["pooled"], min_weight=0)
    fit(model, X_source, y_source, X, y, target_sample_weight=weights)
    X, y, weights = X[weights > 0], y[weights > 0], weights[weights > 0]
    fold = spread_folds(y, 5, np.random.RandomState(0))
    losses, hits = np.empty((2, 15)), np.empty((2, 15))
    for k in range(5):
        a, b = fold != k, fold == k
        alone = LogisticRegression().fit(X[a], y[a], weights[a])
        pooled = LogisticRegression().fit(
            np.vstack([X_source, X[a]]),
            np.concatenate([y_source, y[a]]),
            np.concatenate([np.ones(60), weights[a]]),
        )
        for i, own in enumerate([alone, pooled]):
            p = 0.98 * own.predict_proba(X[b])[np.arange(b.sum()), y[b]] + 0.01
            losses[i, b], hits[i, b] = -np.log(p), p > 0.5
    raw = posterior(losses * weights / weights.mean(), weights.sum())
    expected = 0.8 * raw / raw.sum() + [0.2, 0]
    np.testing.assert_allclose(list(model.weights_.values()), expected, rtol=1e-6)
    assert model.baseline_score_.value == pytest.approx(np.average(hits[0], weights=weights))
    alone = LogisticRegression().fit(X, y, weights)
    np.testing.assert_allclose(
        model.estimators_["no transfer"].predict_proba(X), alone.predict_proba(X)
    )
