"""MultiTaskRegressor and MultiTaskClassifier: the ends, the two forms of data, what goes wrong."""

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import MultiTaskClassifier, MultiTaskRegressor

METHODS = ["mean_regularized", "trace_norm"]
SCHOOLS = np.array(["ash", "birch", "cedar", "date"])


def make_long(seed=0, n=120, d=5):
    """Return rows of four tasks with related models, the task's number, and real labels."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=d) + 0.4 * rng.normal(size=(4, d))
    task = rng.permutation(np.append(np.arange(n - 20) % 4, np.full(20, 2)))
    X = rng.normal(size=(n, d))
    y = (X * w[task]).sum(axis=1) + 3 * task + 0.5 * rng.normal(size=n)
    return X, task, y


def make_wide(seed=0, n=60, d=5, n_tasks=4):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=d) + 0.4 * rng.normal(size=(n_tasks, d))
    X = rng.normal(size=(n, d))
    return X, X @ w.T + np.arange(n_tasks) + 0.5 * rng.normal(size=(n, n_tasks))


def with_column(X, column):
    return np.column_stack([X, column])


# --- the ends of the path --------------------------------------------------------------


def test_a_free_common_model_far_away_is_one_ridge_for_each_task():
    X, task, y = make_long()
    weights = np.arange(120) % 3 / 2
    model = MultiTaskRegressor(task_column=-1, alpha=2.0, shared_alpha=1e12)
    model.fit(with_column(X, task), y, weights)
    for t in range(4):
        rows = task == t
        alone = Ridge(alpha=2.0).fit(X[rows], y[rows], weights[rows])
        np.testing.assert_allclose(model.coef_[t], alone.coef_, atol=1e-8)
        np.testing.assert_allclose(model.intercept_[t], alone.intercept_, atol=1e-8)
        np.testing.assert_allclose(
            model.predict(with_column(X, task))[rows], alone.predict(X[rows]), atol=1e-8
        )
    np.testing.assert_allclose(model.shared_coef_, 0, atol=1e-8)


def test_tasks_held_together_are_one_ridge_with_an_intercept_for_each():
    X, task, y = make_long()
    model = MultiTaskRegressor(task_column=-1, alpha=1e10, shared_alpha=2.0)
    model.fit(with_column(X, task), y)
    centred = [X[task == t] - X[task == t].mean(axis=0) for t in range(4)]
    targets = [y[task == t] - y[task == t].mean() for t in range(4)]
    pooled = Ridge(alpha=2.0, fit_intercept=False).fit(np.vstack(centred), np.concatenate(targets))
    np.testing.assert_allclose(model.coef_, np.tile(pooled.coef_, (4, 1)), atol=1e-7)
    np.testing.assert_allclose(model.shared_coef_, pooled.coef_, atol=1e-7)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_ends_of_the_classifier(n_classes):
    X, task, y = make_long()
    y = SCHOOLS[np.digitize(y - 3 * task, [-0.5, 0.8][: n_classes - 1])]
    rows = with_column(X, task)
    settings = {"task_column": -1, "tol": 1e-10}
    alone = MultiTaskClassifier(alpha=2.0, shared_alpha=1e12, **settings).fit(rows, y)
    pooled = MultiTaskClassifier(alpha=1e10, shared_alpha=2.0, **settings).fit(rows, y)
    for t in range(4):
        own = task == t
        reference = LogisticRegression(C=0.5, solver="newton-cholesky", tol=1e-10)
        reference.fit(X[own], y[own])
        np.testing.assert_allclose(alone.coef_[t], reference.coef_, atol=1e-6)
        np.testing.assert_allclose(
            alone.predict_proba(rows[own]), reference.predict_proba(X[own]), atol=1e-6
        )
    dummies = 100 * np.eye(4)[task]  # intercepts without a penalty to speak of
    reference = LogisticRegression(
        C=0.5, solver="newton-cholesky", tol=1e-12, fit_intercept=False, max_iter=1000
    ).fit(np.column_stack([X, dummies]), y)
    np.testing.assert_allclose(pooled.coef_[0], reference.coef_[:, :5], atol=1e-3)
    np.testing.assert_allclose(pooled.coef_, np.stack([pooled.coef_[0]] * 4), atol=1e-6)


def test_trace_norm_lowers_the_rank_until_only_means_are_left():
    X, y = make_wide(n_tasks=6)
    ranks = []
    for alpha in (1e-3, 60.0, 1e6):
        model = MultiTaskRegressor("trace_norm", alpha=alpha, tol=1e-8).fit(X, y)
        ranks.append(np.linalg.matrix_rank(model.coef_, tol=1e-6))
        assert model.optimality_gap_ <= 1e-8
    assert ranks[0] == 5 > ranks[1] > ranks[2] == 0
    np.testing.assert_allclose(model.predict(X), np.tile(y.mean(axis=0), (60, 1)), rtol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_sharing_helps_where_tasks_are_alike(method):
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(2, 20))
    w = rng.normal(size=(30, 2)) @ basis if method == "trace_norm" else basis[:1]
    task = np.repeat(np.arange(30), 12)
    X, X_test = rng.normal(size=(2, 360, 20))
    w = np.broadcast_to(w, (30, 20))[task]
    y, y_test = (X * w).sum(axis=1) + rng.normal(size=360), (X_test * w).sum(axis=1)
    search = GridSearchCV(
        MultiTaskRegressor(method, task_column=-1),
        {"alpha": [1.0, 10.0, 30.0, 100.0]},
        cv=list(StratifiedKFold(3).split(X, task)),
        error_score="raise",
    ).fit(with_column(X, task), y)
    alone = max(
        MultiTaskRegressor(task_column=-1, alpha=alpha, shared_alpha=1e12)
        .fit(with_column(X, task), y)
        .score(with_column(X_test, task), y_test)
        for alpha in (0.1, 1.0, 10.0)
    )
    assert search.score(with_column(X_test, task), y_test) > alone + 0.1


# --- long and wide ---------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_long_and_wide_agree_on_complete_rows(method):
    X, y = make_wide()
    long_X = np.vstack([with_column(X, np.full(60, t)) for t in range(4)])
    for model, labels in (
        (MultiTaskRegressor(method), y),
        (MultiTaskClassifier(method), (y > np.median(y, axis=0)).astype(int)),
    ):
        wide = model.fit(X, labels)
        long = clone(model).set_params(task_column=-1).fit(long_X, labels.T.ravel())
        np.testing.assert_allclose(wide.coef_, long.coef_, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(
            wide.predict(X).shape, long.predict(long_X).reshape(4, 60).T.shape
        )
        np.testing.assert_allclose(wide.predict(X), long.predict(long_X).reshape(4, 60).T)


@pytest.mark.parametrize("method", METHODS)
def test_missing_values_of_the_wide_form_are_rows_that_are_absent(method):
    X, y = make_wide()
    missing = np.random.default_rng(1).uniform(size=y.shape) < 0.4
    rows, tasks = np.nonzero(~missing)
    long_X = with_column(X[rows], tasks)
    wide = MultiTaskRegressor(method).fit(X, np.where(missing, np.nan, y))
    long = MultiTaskRegressor(method, task_column=-1).fit(long_X, y[rows, tasks])
    np.testing.assert_allclose(wide.coef_, long.coef_, rtol=1e-7, atol=1e-9)
    objects = np.where(missing, None, y)
    np.testing.assert_array_equal(MultiTaskRegressor(method).fit(X, objects).coef_, wide.coef_)
    labels = SCHOOLS[(y > np.median(y, axis=0)).astype(int)]
    wide = MultiTaskClassifier(method).fit(X, np.where(missing, None, labels))
    long = MultiTaskClassifier(method, task_column=-1).fit(long_X, labels[rows, tasks])
    np.testing.assert_allclose(wide.coef_, long.coef_, rtol=1e-6, atol=1e-9)
    assert set(wide.predict(X).ravel()) == {"ash", "birch"}
    frame = pd.DataFrame(y, columns=list("abcd")).astype("Float64").mask(missing)
    from_frame = MultiTaskRegressor(method).fit(X, frame)
    assert list(from_frame.tasks_) == list("abcd")
    expected = MultiTaskRegressor(method).fit(X, objects).coef_
    np.testing.assert_array_equal(from_frame.coef_, expected)


def test_a_1_d_y_is_a_single_task():
    X, y = make_wide(n_tasks=1)
    one = MultiTaskRegressor(alpha=2.0, shared_alpha=2.0).fit(X, y[:, 0])
    # The penalties are in series: min a v^2 + a0 w0^2 with w0 + v = w is a a0 / (a + a0) w^2.
    np.testing.assert_allclose(one.coef_[0], Ridge(alpha=1.0).fit(X, y[:, 0]).coef_)
    assert one.predict(X).shape == (60,)
    assert MultiTaskRegressor().fit(X, y).predict(X).shape == (60, 1)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("method", METHODS)
def test_tasks_named_by_strings_in_a_column_of_a_frame(frame, method):
    X, task, y = make_long()
    columns = {f"x{i}": X[:, i] for i in range(3)}
    columns["school"] = SCHOOLS[task].tolist()
    columns |= {f"x{i}": X[:, i] for i in (3, 4)}
    rows = frame(columns)
    model = MultiTaskRegressor(method, task_column="school").fit(rows, y)
    expected = MultiTaskRegressor(method, task_column=0).fit(with_column(task, X), y)
    np.testing.assert_array_equal(model.coef_, expected.coef_)
    np.testing.assert_array_equal(model.predict(rows), expected.predict(with_column(task, X)))
    assert list(model.tasks_) == list(SCHOOLS)
    assert model.n_features_in_ == 6 and list(model.feature_names_in_) == list(columns)
    by_position = MultiTaskRegressor(method, task_column=-3).fit(rows, y)
    np.testing.assert_array_equal(by_position.coef_, model.coef_)
    scores = cross_val_score(model, rows, y, cv=KFold(4, shuffle=True, random_state=0))
    assert scores.min() > 0.5
    labels = np.where(y > 3 * task, "high", "low")
    classifier = MultiTaskClassifier(method, task_column="school").fit(rows, labels)
    assert classifier.score(rows, labels) > 0.85


def test_rows_as_lists_and_objects():
    X, task, y = make_long()
    rows = [[*row, SCHOOLS[t]] for row, t in zip(X.tolist(), task, strict=True)]
    expected = MultiTaskRegressor(task_column=-1).fit(with_column(X, task), y)
    for form in (rows, np.array(rows, dtype=object)):
        model = MultiTaskRegressor(task_column=-1).fit(form, y.tolist())
        np.testing.assert_allclose(model.coef_, expected.coef_)
        np.testing.assert_allclose(model.predict(form), expected.predict(with_column(X, task)))


@pytest.mark.parametrize("method", METHODS)
def test_a_task_that_was_not_fitted_has_the_shared_model(method):
    X, task, y = make_long()
    known = task < 3
    model = MultiTaskRegressor(method, task_column=-1)
    model.fit(with_column(X, task)[known], y[known])
    predicted = model.predict(with_column(X, task))
    new = X[~known] @ model.shared_coef_ + model.shared_intercept_
    np.testing.assert_allclose(predicted[~known], new)
    if method == "trace_norm":
        np.testing.assert_allclose(model.shared_coef_, model.coef_.mean(axis=0))
    # Where the columns have their zero does not matter.
    moved = clone(model).fit(with_column(X + 50, task)[known], y[known])
    np.testing.assert_allclose(moved.predict(with_column(X + 50, task)), predicted, rtol=1e-5)
    classifier = MultiTaskClassifier(method, task_column=-1)
    classifier.fit(with_column(X, task)[known], y[known] > 3)
    expected = X[~known] @ classifier.shared_coef_[0] + classifier.shared_intercept_[0]
    np.testing.assert_allclose(classifier.decision_function(with_column(X, task))[~known], expected)


@pytest.mark.parametrize("method", METHODS)
def test_searches_and_pipelines_need_nothing_else(method):
    X, task, y = make_long()
    frame = pd.DataFrame(10 * X + 3, columns=list("abcde")).assign(school=SCHOOLS[task])
    scale = make_column_transformer((StandardScaler(), list("abcde")), remainder="passthrough")
    pipeline = make_pipeline(scale, MultiTaskRegressor(method, task_column=-1))
    search = GridSearchCV(
        pipeline,
        {"multitaskregressor__alpha": [0.1, 1.0, 1e4]},
        cv=list(StratifiedKFold(3).split(X, task)),
        error_score="raise",
    ).fit(frame, y)
    assert search.best_score_ > 0.9
    assert search.cv_results_["mean_test_score"][2] < search.best_score_ - 0.01
    assert cross_val_predict(pipeline, frame, y, cv=3).shape == (120,)
    frames = clone(pipeline).set_output(transform="pandas")
    frames.set_params(multitaskregressor__task_column="remainder__school").fit(frame, y)
    np.testing.assert_allclose(frames.predict(frame), pipeline.fit(frame, y).predict(frame))


def test_cross_validation_of_the_wide_form_with_missing_values():
    X, y = make_wide()
    y[::3, 0] = y[1::4, 2] = np.nan
    assert cross_val_score(MultiTaskRegressor(), X, y, cv=4, error_score="raise").min() > 0.5
    labels = np.where(np.isnan(y), np.nan, y > 1)
    scores = cross_val_score(MultiTaskClassifier(), X, labels, cv=KFold(4), error_score="raise")
    assert scores.min() > 0.7


# --- scores ----------------------------------------------------------------------------


def test_masked_score_of_the_regressor_by_hand():
    X, y = make_wide(n_tasks=3)
    model = MultiTaskRegressor().fit(X, y)
    np.testing.assert_allclose(model.score(X, y), r2_score(y, model.predict(X)))
    y = y + np.random.default_rng(3).normal(size=y.shape)
    y[:30, 0] = np.nan
    y[1:, 1] = np.nan  # a single known value has no variance
    weights = np.arange(60) % 4 + 1.0
    predicted = model.predict(X)
    scores = []
    for t, known in ((0, np.arange(60) >= 30), (2, np.ones(60, bool))):
        v, w, p = y[known, t], weights[known], predicted[known, t]
        total = w @ (v - np.average(v, weights=w)) ** 2
        scores.append(1 - w @ (v - p) ** 2 / total)
    np.testing.assert_allclose(model.score(X, y, weights), np.mean(scores))
    assert model.score(X, y, weights) != model.score(X, y)


def test_masked_score_of_the_classifier_by_hand():
    X, y = make_wide(n_tasks=2)
    labels = np.where(y > 0.5, "up", "down").astype(object)
    model = MultiTaskClassifier().fit(X, labels)
    labels[:7, 0] = labels[50:, 1] = None
    labels[10:14] = "down"
    weights = np.arange(60) % 4 + 1.0
    predicted = model.predict(X)
    right = total = 0.0
    for i in range(60):
        for t in range(2):
            if labels[i, t] is not None:
                total += weights[i]
                right += weights[i] * (predicted[i, t] == labels[i, t])
    np.testing.assert_allclose(model.score(X, labels, weights), right / total)
    assert right < total
    with pytest.raises(ValueError, match="y has 1 columns, and 2 tasks were fitted"):
        model.score(X, labels[:, :1])


# --- classes ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_each_column_has_its_own_classes(method):
    X, y = make_wide(n=200)
    columns = [
        np.array(["a", "b", "c"])[np.digitize(y[:, 0], [-1, 1])],
        np.array(["b", "c"])[(y[:, 1] > 1).astype(int)],
        (y[:, 2] > 2).astype(int),
        np.full(200, 7),
    ]
    labels = np.empty((200, 4), dtype=object)
    for t, column in enumerate(columns):
        labels[:, t] = column.tolist()
    labels[3, 1] = None
    model = MultiTaskClassifier(method).fit(X, labels)
    assert [classes.tolist() for classes in model.classes_] == [
        ["a", "b", "c"], ["b", "c"], [0, 1], [7],
    ]  # fmt: skip
    predicted = model.predict(X)
    for t, (p, log_p) in enumerate(
        zip(model.predict_proba(X), model.predict_log_proba(X), strict=True)
    ):
        assert p.shape == (200, len(model.classes_[t]))
        np.testing.assert_allclose(p.sum(axis=1), 1)
        np.testing.assert_allclose(np.exp(log_p), p)
        np.testing.assert_array_equal(model.classes_[t][p.argmax(axis=1)], predicted[:, t])
        assert (predicted[:, t] == columns[t]).mean() > 0.8
    assert not hasattr(model, "decision_function")
    weights = clone(model).set_params(task_weight=[1.0, 1.0, 1.0, 5.0]).fit(X, labels)
    np.testing.assert_array_equal(weights.coef_, model.coef_)  # nothing to learn in the last
    # Labels in common are what mean_regularized shares.
    if method == "mean_regularized":
        held = clone(model).set_params(alpha=1e8).fit(X, labels[:, :2])
        np.testing.assert_allclose(held.coef_[0], held.coef_[1], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_task_may_lack_a_class(method, n_classes):
    X, task, y = make_long()
    codes = np.digitize(y - 3 * task, [-0.5, 0.8][: n_classes - 1])
    kept = (task != 1) | (codes != 0)
    rows = with_column(X, task)
    model = MultiTaskClassifier(method, task_column=-1, alpha=0.5)
    model.fit(rows[kept], SCHOOLS[codes[kept]])
    p = model.predict_proba(rows)
    assert np.isfinite(model.intercept_).all()
    assert 0 < p[task == 1, 0].max() < 0.9
    assert p[task == 1, 0].mean() < p[task != 1, 0].mean()
    np.testing.assert_allclose(np.exp(model.predict_log_proba(rows)), p)
    if n_classes == 2:
        assert (model.predict(rows[task == 1]) == "birch").mean() > 0.5


# --- weights ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("form", ["long", "wide"])
@pytest.mark.parametrize("task_weight", [None, "balanced"])
def test_a_weight_is_a_repeated_row(method, form, task_weight):
    counts = np.arange(120) % 3
    X, task, y = make_long()
    X = with_column(X, task) if form == "long" else X
    if form == "wide":
        y = np.column_stack([y, y**2 / 10])
        y[::5, 0] = np.nan
    settings = {"task_weight": task_weight, "task_column": -1 if form == "long" else None}
    again = np.repeat(np.arange(120), counts)
    regressor = MultiTaskRegressor(method, **settings)
    weighted = clone(regressor).fit(X, y, counts)
    repeated = clone(regressor).fit(X[again], y[again])
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-7)
    labels = np.where(np.isnan(y), np.nan, y > 4)
    if form == "long":
        labels = labels.astype(int)
    classifier = MultiTaskClassifier(method, class_weight="balanced", **settings)
    weighted = clone(classifier).fit(X, labels, counts)
    repeated = clone(classifier).fit(X[again], labels[again])
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("estimator", [MultiTaskRegressor, MultiTaskClassifier])
@pytest.mark.parametrize("method", METHODS)
def test_weights_of_tasks_multiply_those_of_their_rows(estimator, method):
    X, task, y = make_long()
    rows = with_column(X, task)
    y = y if estimator is MultiTaskRegressor else (y > 3 * task).astype(int)
    plain = estimator(method, task_column=-1).fit(rows, y)
    sizes = np.bincount(task)
    factors = 120 / (4 * sizes)
    by_hand = clone(plain).fit(rows, y, factors[task])
    assert not np.allclose(by_hand.coef_, plain.coef_, atol=1e-3)
    for task_weight in ("balanced", factors, dict(enumerate(factors))):
        model = clone(plain).set_params(task_weight=task_weight).fit(rows, y)
        np.testing.assert_allclose(model.coef_, by_hand.coef_, rtol=1e-6, atol=1e-8)
    doubled = clone(plain).set_params(task_weight={2: 2.0}).fit(rows, y)
    expected = clone(plain).fit(rows, y, np.where(task == 2, 2.0, 1.0))
    np.testing.assert_allclose(doubled.coef_, expected.coef_, rtol=1e-6, atol=1e-8)


def test_weights_of_classes_multiply_those_of_rows():
    X, task, y = make_long()
    y, rows = np.where(y > 5, "up", "down"), with_column(X, task)
    plain = MultiTaskClassifier(task_column=-1).fit(rows, y)
    expected = clone(plain).fit(rows, y, np.where(y == "up", 3.0, 1.0))
    model = clone(plain).set_params(class_weight={"up": 3.0}).fit(rows, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9)
    assert not np.allclose(model.coef_, plain.coef_, atol=1e-2)
    wide = np.column_stack([y, np.where(X[:, 0] > 1, "up", "down")])
    balanced = MultiTaskClassifier(class_weight="balanced").fit(X, wide)
    assert not np.allclose(balanced.coef_, MultiTaskClassifier().fit(X, wide).coef_, atol=1e-2)
    predicted = balanced.predict(X)[:, 1]  # the rare class is found more often
    assert (predicted == "up").sum() > (wide[:, 1] == "up").sum()


# --- no option is without effect, nothing is changed -----------------------------------


@pytest.mark.parametrize("estimator", [MultiTaskRegressor, MultiTaskClassifier])
@pytest.mark.parametrize(
    "method, changed",
    [
        ("mean_regularized", {"alpha": 30.0}),
        ("mean_regularized", {"shared_alpha": 30.0}),
        ("mean_regularized", {"fit_intercept": False}),
        ("mean_regularized", {"method": "trace_norm"}),
        ("trace_norm", {"alpha": 20.0}),
        ("trace_norm", {"fit_intercept": False}),
        ("trace_norm", {"tol": 1e-1}),
    ],
)
def test_every_option_does_something(estimator, method, changed):
    X, y = make_wide()
    y = y if estimator is MultiTaskRegressor else (y > 1).astype(int)
    plain = estimator(method).fit(X, y)
    other = clone(plain).set_params(**changed).fit(X, y)
    assert np.abs(plain.coef_ - other.coef_).max() > 1e-4
    if "fit_intercept" in changed:
        np.testing.assert_array_equal(other.intercept_, 0.0)
        np.testing.assert_array_equal(other.shared_intercept_, 0.0)


@pytest.mark.parametrize("method", METHODS)
def test_arrays_of_the_caller_are_only_read(method):
    X, task, y = make_long()
    rows, weights = with_column(X, task), np.arange(120) % 3 + 1.0
    wide = np.column_stack([y, y])
    wide[::4, 0] = np.nan
    arrays = [rows, X, y, weights, wide]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    MultiTaskRegressor(method, task_column=-1).fit(rows, y, weights).predict(rows)
    model = MultiTaskRegressor(method).fit(X, wide, weights)
    model.score(X, wide, weights)
    labels = np.where(np.isnan(wide), np.nan, wide > 3)
    labels.flags.writeable = False
    MultiTaskClassifier(method).fit(X, labels, weights).score(X, labels, weights)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    again = clone(model).fit(X, wide, weights)
    np.testing.assert_array_equal(again.coef_, model.fit(X, wide, weights).coef_)


def test_no_label_leaks_through_a_clone():
    rng = np.random.default_rng(0)
    X, task, y = rng.normal(size=(120, 40)), np.arange(120) % 3, rng.integers(0, 2, 120)
    rows = with_column(X, task)
    model = MultiTaskClassifier(task_column=-1, alpha=0.01, shared_alpha=0.01).fit(rows, y)
    assert model.score(rows, y) == 1.0
    assert abs(cross_val_score(model, rows, y, cv=5).mean() - 0.5) < 0.15


@pytest.mark.parametrize("estimator", [MultiTaskRegressor, MultiTaskClassifier])
@pytest.mark.parametrize("form", ["long", "wide"])
def test_attributes_of_each_method(estimator, form):
    X, y = make_wide()
    frame = pd.DataFrame(X, columns=list("abcde"))
    y = (y > 1).astype(int)
    linear = estimator()
    network = estimator("network", hidden_layer_sizes=(), task_weight="uncertainty")
    fitted = []
    for model in (linear, network):
        if form == "long":
            model.set_params(task_column="a").fit(frame.assign(a=np.arange(60) % 3), y[:, 0])
        else:
            model.fit(frame, y)
        fitted.append({name for name in vars(model) if name.endswith("_") and name[0] != "_"})
    of_network = {"network_", "stages_", "history_", "task_variance_"}
    assert fitted[1] - fitted[0] == of_network
    assert all(
        name in ("optimality_gap_",) or "coef" in name or "intercept" in name
        for name in fitted[0] - fitted[1]
    )


@pytest.mark.parametrize("method", METHODS)
def test_survives_pickle(method):
    X, task, y = make_long()
    rows = with_column(X, task)
    model = MultiTaskClassifier(method, task_column=-1).fit(rows, y > 3)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(rows), model.predict_proba(rows))


def test_the_guide_shows_what_the_benchmark_measured():
    root = Path(__file__).resolve().parents[2]
    rows = json.loads((root / "benchmarks" / "accuracy" / "school_multitask.json").read_text())[
        "rows"
    ]
    guide = (root / "docs" / "guide" / "multi_task.md").read_text()
    labels = {
        "task mean": "mean of the school",
        "pooled ridge": "one ridge for all",
        "pooled ridge, own intercepts": "one ridge for all, an intercept for each school",
        "trace_norm": '`"trace_norm"`',
        "mean_regularized": '`"mean_regularized"`',
        "network": '`"network"`',
    }
    for name, label in labels.items():
        rmse = rows[name]["rmse"]
        mean, low, high = rmse["minus single-task ridge"]["interval"]
        line = f"| {label} | {rmse['mean']:.2f} | {mean:+.2f} ({low:+.2f}, {high:+.2f}) |"
        assert line in guide
    for method in (*METHODS, "network"):  # multi-task learning beats tasks on their own
        assert rows[method]["rmse"]["minus single-task ridge"]["corrected"][2] < 0


# --- bad input -------------------------------------------------------------------------


def test_a_task_column_that_is_not_there():
    X, task, y = make_long()
    frame = pd.DataFrame(X, columns=list("abcde")).assign(school=task)
    with pytest.raises(ValueError, match="task_column='shool' is not a column.*mean 'school'"):
        MultiTaskRegressor(task_column="shool").fit(frame, y)
    with pytest.raises(ValueError, match="is a name, and X has no column names"):
        MultiTaskRegressor(task_column="school").fit(X, y)
    for position in (6, -7):
        with pytest.raises(ValueError, match=f"task_column={position} is out of range: X has 6"):
            MultiTaskRegressor(task_column=position).fit(frame, y)
    model = MultiTaskRegressor(task_column="school").fit(frame, y)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.drop(columns="school"))
    with pytest.raises(ValueError, match="5 features.*expecting 6"):
        MultiTaskRegressor(task_column=-1).fit(with_column(X, task), y).predict(X)


def test_tasks_and_features_that_cannot_be_read():
    X, task, y = make_long()
    names = SCHOOLS[task].astype(object)
    names[:3] = None
    frame = pd.DataFrame(X, columns=list("abcde"))
    with pytest.raises(ValueError, match="The task of 3 rows is missing"):
        MultiTaskRegressor(task_column="school").fit(frame.assign(school=names), y)
    names[:3] = 5
    with pytest.raises(ValueError, match="cannot be sorted among each other"):
        MultiTaskRegressor(task_column=-1).fit(np.column_stack([X.astype(object), names]), y)
    text = frame.assign(school=task, a="red")
    with pytest.raises(ValueError, match="beside task_column must hold numbers.*OneHotEncoder"):
        MultiTaskRegressor(task_column="school").fit(text, y)
    with pytest.raises(ValueError, match="X has only the column of the tasks"):
        MultiTaskRegressor(task_column=0).fit(task[:, None], y)
    hole = frame.assign(school=task)
    hole.iloc[0, 0] = np.nan
    with pytest.raises(ValueError, match="X contains NaN"):
        MultiTaskRegressor(task_column="school").fit(hole, y)


def test_labels_of_a_wrong_form():
    X, task, y = make_long()
    rows, wide = with_column(X, task), np.column_stack([y, y])
    with pytest.raises(ValueError, match="Pass a 1-D y"):
        MultiTaskRegressor(task_column=-1).fit(rows, wide)
    with pytest.raises(ValueError, match="X has 120 rows, and y has 119"):
        MultiTaskRegressor().fit(X, wide[1:])
    with pytest.raises(ValueError, match="requires y"):
        MultiTaskRegressor().fit(X, None)
    for y_bad in (np.where(task, y, np.nan), np.where(task, y, np.inf)):
        with pytest.raises(ValueError, match="y contains"):
            MultiTaskRegressor(task_column=-1).fit(rows, y_bad)
    wide[5, 0] = np.inf
    with pytest.raises(ValueError, match="y contains infinity"):
        MultiTaskRegressor().fit(X, wide)
    wide[:, 0] = np.nan
    with pytest.raises(ValueError, match=r"columns \[0\] of y have no known value"):
        MultiTaskRegressor().fit(X, wide)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        MultiTaskClassifier().fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="one class, 'up'"):
        MultiTaskClassifier(task_column=-1).fit(rows, ["up"] * 120)
    with pytest.raises(ValueError, match="a column of y with at least 2 classes"):
        MultiTaskClassifier().fit(X, np.ones((120, 2), dtype=int))


def test_parameters_of_a_wrong_kind():
    X, task, y = make_long()
    rows, classes = with_column(X, task), (y > 4).astype(int)
    for changed, match in (
        ({"method": "trace"}, "method='trace' is not one of .*mean 'trace_norm'"),
        ({"alpha": -1.0}, "alpha=-1.0"),
        ({"alpha": [1.0]}, "alpha="),
        ({"shared_alpha": np.nan}, "shared_alpha=nan"),
        ({"method": "trace_norm", "alpha": 0.0}, "needs a positive alpha"),
        ({"tol": 0.0}, "tol=0.0"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"task_weight": "even"}, "task_weight='even' is neither"),
        ({"task_weight": [1.0, 2.0]}, r"task_weight has shape \(2,\), and there are 4 tasks"),
        ({"task_weight": {1: 0.0}}, "does not consist of positive numbers"),
    ):
        for estimator, labels in ((MultiTaskRegressor, y), (MultiTaskClassifier, classes)):
            with pytest.raises(ValueError, match=match):
                estimator(task_column=-1).set_params(**changed).fit(rows, labels)
    with pytest.raises(ValueError, match="class_weight='even' is neither"):
        MultiTaskClassifier(class_weight="even").fit(X, classes)
    with pytest.raises(ValueError, match=r"class_weight names \[5\], and the classes are \[0, 1\]"):
        MultiTaskClassifier(class_weight={5: 1.0}).fit(X, classes)


@pytest.mark.parametrize("method", METHODS)
def test_says_when_tol_is_not_reached(method):
    X, y = make_wide()
    with pytest.warns(ConvergenceWarning, match="certified to a gap of"):
        MultiTaskClassifier(method, max_iter=2, tol=1e-12).fit(X, (y > 1).astype(int))


# --- numbers of any size ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["mean_regularized", "trace_norm"])
def test_numbers_of_any_size(method):
    rng = np.random.default_rng(0)
    tasks, X = np.repeat([0, 1, 2], 20), rng.normal(size=(60, 3))
    y = X @ rng.normal(size=3) + tasks
    settings = {"method": method, "task_column": 0, "tol": 1e-5}

    def fitted(X, y, unit=1.0, label_unit=1.0):
        scale = unit * label_unit if method == "trace_norm" else unit**2
        model = MultiTaskRegressor(alpha=scale, shared_alpha=unit**2, **settings)
        return model.fit(np.column_stack([tasks, X]), y)

    plain = fitted(X, y)
    for unit, label_unit in ((1e140, 1.0), (1e-140, 1e100), (1e60, 1e149)):
        model = fitted(unit * X, label_unit * y, unit, label_unit)
        np.testing.assert_allclose(model.coef_ * unit / label_unit, plain.coef_, rtol=1e-6)
    far = fitted(np.column_stack([X, np.full(60, 1e150)]), y)  # a constant column says nothing
    np.testing.assert_allclose(far.coef_[:, :3], plain.coef_, rtol=1e-6)
    if method == "mean_regularized":
        with pytest.warns(UserWarning, match="vary so much more than others"):
            model = fitted(np.column_stack([X, 1e149 * rng.normal(size=60)]), y)
        assert np.isfinite(model.coef_).all()
    with pytest.raises(ValueError, match="X holds numbers beyond"):
        fitted(1e151 * X, y)
    with pytest.raises(ValueError, match="y holds numbers beyond"):
        fitted(X, 1e151 * y)
    classes = MultiTaskClassifier(alpha=1e280, shared_alpha=1e280, **settings)
    if method == "mean_regularized":
        labels = (y > y.mean()).astype(int)
        classes.fit(np.column_stack([tasks, 1e140 * X]), labels)
        expected = MultiTaskClassifier(**settings).fit(np.column_stack([tasks, X]), labels)
        np.testing.assert_allclose(1e140 * classes.coef_, expected.coef_, rtol=1e-6)
