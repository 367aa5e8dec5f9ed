"""The network form of the multi-task estimators: optima, weights, forms of rows, bad input."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score

from skltransfer import FineTunedClassifier, MultiTaskClassifier, MultiTaskRegressor
from tests.doubles import TableNetwork
from tests.parameter.test_multitask import SCHOOLS, make_long, make_wide, with_column
from tests.tiny_bert import save_tiny_bert

ESTIMATORS = [MultiTaskRegressor, MultiTaskClassifier]
LINEAR = {"method": "network", "hidden_layer_sizes": (), "tol": 1e-9}
# A network that is trained a little: quick, and rounding has not yet grown.
SHORT = {"method": "network", "hidden_layer_sizes": (8,), "max_epochs": 15}
short = pytest.mark.filterwarnings("ignore:L-BFGS stopped")


def labels_for(estimator, y):
    if estimator is MultiTaskRegressor:
        return y
    return np.where(np.isnan(y), np.nan, y > np.nanmedian(y, axis=0))


def standardised(X, weights=None):
    mean = np.average(X, axis=0, weights=weights)
    return (X - mean) / np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weights))


def outputs_of(model, X):
    return model.predict(X) if isinstance(model, MultiTaskRegressor) else model.predict_proba(X)


# --- the optimum with heads on the columns themselves ------------------------------------


def test_heads_without_a_trunk_are_one_ridge_for_each_task():
    X, task, y = make_long()
    weights = np.arange(120) % 3 + 0.5
    factors = np.array([1.0, 2.0, 3.0, 4.0])
    model = MultiTaskRegressor(task_column=-1, weight_decay=0.02, task_weight=factors, **LINEAR)
    model.fit(with_column(X, task), y, weights)
    predicted, total = model.predict(with_column(X, task)), weights @ factors[task]
    Z = standardised(X, weights)
    for t in range(4):
        rows = task == t
        alone = Ridge(alpha=0.02 * total).fit(Z[rows], y[rows], factors[t] * weights[rows])
        np.testing.assert_allclose(predicted[rows], alone.predict(Z[rows]), atol=1e-6)


def test_columns_of_other_units_are_alike_in_the_wide_form():
    X, y = make_wide()
    y[::3, 1] = np.nan
    model = MultiTaskRegressor(weight_decay=0.02, **LINEAR).fit(X, y * [1, 1000, 1, 1] + 7)
    Z, predicted = standardised(X), (model.predict(X) - 7) / [1, 1000, 1, 1]
    for t in range(4):
        rows = ~np.isnan(y[:, t])
        alone = Ridge(alpha=0.02 * 220).fit(Z[rows], y[rows, t])
        np.testing.assert_allclose(predicted[:, t], alone.predict(Z), atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_heads_without_a_trunk_are_one_logistic_regression_for_each_task(n_classes):
    X, task, y = make_long()
    y = SCHOOLS[np.digitize(y - 3 * task, [-0.5, 0.8][: n_classes - 1])]
    rows = with_column(X, task)
    model = MultiTaskClassifier(task_column=-1, weight_decay=0.02, **LINEAR).fit(rows, y)
    Z = standardised(X)
    for t in range(4):
        own = task == t
        alone = LogisticRegression(C=1 / (0.02 * 120), solver="newton-cholesky", tol=1e-10)
        expected = alone.fit(Z[own], y[own]).predict_proba(Z[own])
        np.testing.assert_allclose(model.predict_proba(rows[own]), expected, atol=1e-6)


def test_columns_with_classes_of_their_own():
    X, y = make_wide(n=200)
    labels = np.empty((200, 4), dtype=object)
    labels[:, 0] = np.array(["a", "b", "c"])[np.digitize(y[:, 0], [-1, 1])]
    labels[:, 1] = np.array(["b", "d"])[(y[:, 1] > 1).astype(int)]
    labels[:, 2] = (y[:, 2] > 2).astype(int)
    labels[:, 3] = 7
    labels[::4, 1] = None
    model = MultiTaskClassifier(weight_decay=0.01, **LINEAR).fit(X, labels)
    assert [len(classes) for classes in model.classes_] == [3, 2, 2, 1]
    Z, p = standardised(X), model.predict_proba(X)
    for t, n_logits in ((0, 3), (1, 2), (2, 2)):
        known = [label is not None for label in labels[:, t]]
        # Two logits with a penalty on each are one with half of it.
        strength = 0.01 * 550 / (2 if n_logits == 2 else 1)
        alone = LogisticRegression(C=1 / strength, solver="newton-cholesky", tol=1e-10)
        column = np.array(labels[known, t].tolist())
        np.testing.assert_allclose(p[t], alone.fit(Z[known], column).predict_proba(Z), atol=1e-6)
    np.testing.assert_array_equal(p[3], 1)
    predicted = model.predict(X)
    assert predicted[:, 3].tolist() == [7] * 200
    right = sum((predicted[:, t] == labels[:, t]).sum() for t in range(4))
    np.testing.assert_allclose(model.score(X, labels), right / 750)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_task_may_lack_a_class(n_classes):
    X, task, y = make_long()
    codes = np.digitize(y - 3 * task, [-0.5, 0.8][: n_classes - 1])
    kept = (task != 1) | (codes != 0)
    rows = with_column(X, task)
    model = MultiTaskClassifier(task_column=-1, weight_decay=0.02, **LINEAR)
    model.fit(rows[kept], SCHOOLS[codes[kept]])  # and does converge
    p = model.predict_proba(rows)
    assert 0 < p[task == 1, 0].max() < 0.9
    assert p[task == 1, 0].mean() < p[task != 1, 0].mean()
    held = model.network_.head.held.tolist()
    assert held == ([1] if n_classes == 2 else [3, 4, 5])
    # At the optimum the penalised intercept is what the mean residual of its task asks for.
    column = 1 if n_classes == 2 else 0
    own = (task == 1) & kept
    residual = (codes[own] == column) - p[own, column]
    bias = float(model.network_.head.held_bias[0, 0].detach())
    np.testing.assert_allclose(bias, residual.sum() / kept.sum() / 0.02, atol=1e-5)


# --- uncertainty -----------------------------------------------------------------------


def test_learned_variances_of_numbers_are_mean_squared_errors():
    X, task, y = make_long()
    y = y * (1 + 3 * (task == 2))
    rows, weights = with_column(X, task), np.arange(120) % 3 + 1.0
    model = MultiTaskRegressor(task_column=-1, task_weight="uncertainty", **LINEAR)
    model.fit(rows, y, weights)
    errors = (y - model.predict(rows)) ** 2
    expected = [np.average(errors[task == t], weights=weights[task == t]) for t in range(4)]
    np.testing.assert_allclose(model.task_variance_, expected, rtol=1e-5)
    # The same model comes from these weights when they are fixed.
    _, y_wide = make_wide()
    X, y_wide = make_wide()[0], y_wide / y_wide.std(axis=0)
    model = MultiTaskRegressor(task_weight="uncertainty", weight_decay=0.02, **LINEAR)
    model.fit(X, y_wide)
    factors = 1 / model.task_variance_
    fixed = clone(model).set_params(task_weight=factors, weight_decay=0.02 / factors.mean())
    np.testing.assert_allclose(fixed.fit(X, y_wide).predict(X), model.predict(X), atol=1e-5)
    plain = clone(model).set_params(task_weight=None).fit(X, y_wide)
    assert np.abs(plain.predict(X) - model.predict(X)).max() > 1e-2


def test_learned_variances_of_classes_are_twice_the_mean_loss():
    X, y = make_wide(n=200)
    y = y + np.random.default_rng(1).normal(size=y.shape) * [0, 1, 2, 3]
    y = np.column_stack([SCHOOLS[np.digitize(column, [-1, 1])] for column in y.T])
    y = np.column_stack([y, np.full(200, "ash")]).astype(object)
    y[::7, 2] = None
    model = MultiTaskClassifier(task_weight="uncertainty", weight_decay=0.02, **LINEAR).fit(X, y)
    p = model.predict_proba(X)
    for t in range(4):
        known = np.array([label is not None for label in y[:, t]])
        loss = log_loss(y[known, t].astype(str), p[t][known], labels=model.classes_[t])
        np.testing.assert_allclose(model.task_variance_[t], 2 * loss, rtol=1e-5)
    assert np.isnan(model.task_variance_[4])  # nothing to learn
    assert model.task_variance_[0] < model.task_variance_[3]


@short
def test_an_exact_fit_leaves_the_variance_positive():
    X, y = make_wide()
    y[:, 0] = X[:, 0]
    model = MultiTaskRegressor(task_weight="uncertainty", weight_decay=0.0, **LINEAR).fit(X, y)
    assert 0 < model.task_variance_[0] < 2e-4
    assert np.isfinite(model.predict(X)).all()


def test_mini_batches_move_the_variances_far_enough():
    X, y = make_wide(n=400)
    y[:, 0] = X[:, 0] + 0.05 * y[:, 0]
    settings = LINEAR | {"task_weight": "uncertainty", "optimizer": "adamw"}
    model = MultiTaskRegressor(lr=0.01, weight_decay=0.0, **settings).fit(X, y)
    errors = ((y - model.predict(X)) ** 2).mean(axis=0)
    np.testing.assert_allclose(model.task_variance_, errors, rtol=0.3)
    assert model.task_variance_[0] < 0.01


# --- sharing ---------------------------------------------------------------------------


@short
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_trunk_is_shared_and_the_heads_are_not(estimator):
    X, task, y = make_long()
    rows = with_column(X, task)
    y = y - 3 * task
    y = y if estimator is MultiTaskRegressor else (y > 0).astype(int)
    changed = np.where(task == 3, y[::-1], y)
    for sizes, is_shared in (((), False), ((8,), True)):
        model = estimator(task_column=-1, **SHORT | {"hidden_layer_sizes": sizes, "tol": 1e-9})
        if not is_shared:
            model.set_params(max_epochs="auto")
        before = outputs_of(clone(model).fit(rows, y), rows)
        after = outputs_of(clone(model).fit(rows, changed), rows)
        others = np.abs(before - after)[task != 3].max()
        assert (others > 1e-2) == is_shared
        if estimator is MultiTaskClassifier:
            assert others > 1e-2 or others < 1e-5
        assert np.abs(before - after)[task == 3].max() > 1e-2


def test_sharing_helps_where_tasks_see_the_same_features():
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(2, 10))
    X, X_test = rng.normal(size=(40, 10)), rng.normal(size=(500, 10))
    mixes = rng.normal(size=(2, 20))
    y, y_test = (np.tanh(rows @ basis.T) @ mixes for rows in (X, X_test))
    y = y + 0.3 * rng.normal(size=y.shape)
    settings = {"method": "network", "hidden_layer_sizes": (4,), "max_epochs": 100}
    together = MultiTaskRegressor(**settings).fit(X, y).score(X_test, y_test)
    alone = []
    for t in range(5):
        model = MultiTaskRegressor(**settings).fit(X, y[:, t])
        alone.append(model.score(X_test, y_test[:, t]))
    assert together > np.mean(alone) + 0.05


@short
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("task_weight", [None, "balanced", "uncertainty"])
def test_long_and_wide_agree_on_complete_rows(estimator, task_weight):
    X, y = make_wide()
    y = (y - y.mean(axis=0)) / y.std(axis=0)  # of one unit
    y = labels_for(estimator, y)
    long_X = np.vstack([with_column(X, np.full(60, t)) for t in range(4)])
    wide = estimator(task_weight=task_weight, **SHORT).fit(X, y)
    long = clone(wide).set_params(task_column=-1).fit(long_X, y.T.ravel())
    expected = outputs_of(wide, X)
    if estimator is MultiTaskRegressor:
        np.testing.assert_allclose(long.predict(long_X).reshape(4, 60).T, expected, atol=1e-7)
    else:
        np.testing.assert_allclose(long.predict_proba(long_X), np.vstack(expected), atol=1e-7)
        assert long.decision_function(long_X).shape == (240,)
        assert not hasattr(wide, "decision_function")
        np.testing.assert_allclose(np.exp(wide.predict_log_proba(X)[0]), expected[0])
        np.testing.assert_allclose(
            np.exp(long.predict_log_proba(long_X)), long.predict_proba(long_X)
        )


@short
def test_a_task_that_was_not_fitted_is_given_the_mean_of_all():
    X, task, y = make_long()
    model = MultiTaskRegressor(task_column=-1, **SHORT).fit(with_column(X, task), y)
    own = [model.predict(with_column(X, np.full(120, t))) for t in range(4)]
    np.testing.assert_allclose(model.predict(with_column(X, np.full(120, 9))), np.mean(own, axis=0))
    with_new = model.predict(with_column(X, np.where(task == 2, 9, task)))
    np.testing.assert_allclose(with_new[task != 2], model.predict(with_column(X, task))[task != 2])


# --- weights ---------------------------------------------------------------------------


@short
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("form", ["long", "wide"])
@pytest.mark.parametrize("task_weight", [None, "balanced", "uncertainty"])
def test_a_weight_is_a_repeated_row(estimator, form, task_weight):
    counts = np.arange(120) % 3
    X, task, y = make_long()
    X = with_column(X, task) if form == "long" else X
    if form == "wide":
        y = np.column_stack([y, y**2 / 10])
        y[::5, 0] = np.nan
    y = labels_for(estimator, y)
    model = estimator(task_weight=task_weight, task_column=-1 if form == "long" else None, **SHORT)
    if estimator is MultiTaskClassifier:
        model.set_params(class_weight="balanced")
    again = np.repeat(np.arange(120), counts)
    weighted = outputs_of(clone(model).fit(X, y, counts), X)
    repeated = outputs_of(clone(model).fit(X[again], y[again]), X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-7, atol=1e-9)
    assert not np.allclose(weighted, outputs_of(clone(model).fit(X, y), X), atol=1e-3)


@short
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_weights_of_tasks_and_classes_multiply_those_of_rows(estimator):
    X, task, y = make_long()
    rows, factors = with_column(X, task), np.array([1.0, 2.0, 5.0, 1.0])
    y = y if estimator is MultiTaskRegressor else np.where(y > 3 * task, "up", "down")
    plain = estimator(task_column=-1, **LINEAR)
    by_task = clone(plain).set_params(task_weight=dict(enumerate(factors))).fit(rows, y)
    # Columns are standardised by the weights of rows, not by those of tasks, so compare optima.
    Z = standardised(X)
    total = factors[task].sum()
    for t in range(4):
        own, weights = task == t, np.full((task == t).sum(), factors[t])
        alone = Ridge(alpha=0.01 * total)
        if estimator is MultiTaskClassifier:
            alone = LogisticRegression(C=100 / total, solver="newton-cholesky", tol=1e-10)
        alone.fit(Z[own], y[own], weights)
        expected = outputs_like(alone, Z[own])
        np.testing.assert_allclose(outputs_of(by_task, rows[own]), expected, atol=1e-5)
    if estimator is MultiTaskClassifier:
        by_class = clone(plain).set_params(class_weight={"up": 5.0}).fit(rows, y)
        before = clone(plain).fit(rows, y).predict_proba(rows)[:, 1]
        assert by_class.predict_proba(rows)[:, 1].mean() > before.mean() + 0.02


def outputs_like(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


# --- options, state, repetition ----------------------------------------------------------


@short
@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(
    "changed",
    [
        {"backbone": TableNetwork},
        {"unfreeze": "head"},
        {"hidden_layer_sizes": (8, 4)},
        {"optimizer": "adamw"},
        {"lr": 0.01},
        {"weight_decay": 1.0},
        {"max_epochs": 5},
        {"batch_size": 16},
        {"precision": "float32"},
        {"random_state": 1},
        {"task_weight": [1.0, 5.0, 1.0, 1.0]},
        {"task_weight": "uncertainty"},
        {"tol": 0.1},
    ],
    ids=lambda changed: "-".join(changed),
)
def test_every_option_does_something(estimator, changed):
    X, y = make_wide()
    y = labels_for(estimator, y)
    plain = estimator(**SHORT).fit(X, y)
    again = clone(plain).fit(X, y)
    np.testing.assert_array_equal(outputs_of(again, X), outputs_of(plain, X))
    other = clone(plain).set_params(**changed).fit(X, y)
    difference = np.abs(np.array(outputs_of(other, X)) - outputs_of(plain, X)).max()
    assert difference > (0 if "precision" in changed else 1e-3)


@short
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_state_is_kept_by_pickle_and_forgotten_by_the_next_fit(estimator):
    X, y = make_wide()
    y = labels_for(estimator, y)
    model = estimator(task_weight="uncertainty", **SHORT).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(outputs_of(again, X), outputs_of(model, X))
    assert model.n_iter_ == len(model.history_) == 15
    assert model.stages_ == ("hidden1",)
    fitted = {name for name in vars(model) if name.endswith("_") and not name.startswith("_")}
    linear = model.set_params(method="mean_regularized", task_weight=None).fit(X, y)
    assert not hasattr(linear, "network_") and not hasattr(linear, "task_variance_")
    assert linear.coef_.shape == (4, 5) if estimator is MultiTaskRegressor else (4, 1, 5)
    linear.set_params(method="network").fit(X, y)
    assert not hasattr(linear, "coef_") and not hasattr(linear, "optimality_gap_")
    assert fitted - {"task_variance_"} == {
        name for name in vars(linear) if name.endswith("_") and not name.startswith("_")
    }


@short
def test_backbones_are_shared_by_clones_and_not_changed():
    X, y = make_wide(n=200)
    trunk = MultiTaskRegressor(**SHORT).fit(X, y)
    before = trunk.predict(X)
    model = MultiTaskRegressor("network", backbone=trunk, unfreeze="head").fit(X, y)
    assert clone(model).backbone is trunk
    np.testing.assert_array_equal(trunk.predict(X), before)
    # The trunk is what the other learned: heads alone do well on it.
    np.testing.assert_allclose(model.score(X, y), trunk.score(X, y), atol=0.02)
    other = FineTunedClassifier(trunk, strategy="linear_probe").fit(X, y[:, 0] > 0)
    assert other.score(X, y[:, 0] > 0) > 0.85
    assert not hasattr(MultiTaskRegressor().fit(X, y), "__skltransfer_backbone__")


@short
def test_searches_and_frames_need_nothing_else():
    X, task, y = make_long()
    for frame in (pd.DataFrame, pl.DataFrame):
        columns = {f"x{i}": X[:, i] for i in range(5)}
        rows = frame(columns | {"school": SCHOOLS[task].tolist()})
        model = MultiTaskRegressor(task_column="school", **SHORT).fit(rows, y)
        assert model.n_features_in_ == 6 and list(model.feature_names_in_)[-1] == "school"
        expected = MultiTaskRegressor(task_column=-1, **SHORT).fit(with_column(X, task), y)
        np.testing.assert_array_equal(model.predict(rows), expected.predict(with_column(X, task)))
    search = GridSearchCV(
        MultiTaskRegressor(task_column=-1, **SHORT),
        {"weight_decay": [0.01, 10.0], "hidden_layer_sizes": [(), (8,)]},
        cv=list(StratifiedKFold(3).split(X, task)),
        error_score="raise",
    ).fit(with_column(X, task), y)
    assert search.best_params_["weight_decay"] == 0.01 and search.best_score_ > 0.9


@short
@pytest.mark.parametrize("method", ["network", "mean_regularized"])
def test_callbacks_see_this_estimator(method):
    X, task, y = make_long()
    rows, weights = with_column(X, task), np.arange(120) % 3 + 1.0
    model = MultiTaskRegressor(task_column=-1, **SHORT | {"method": method})
    monitor = ScoringMonitor(scoring="r2")
    model.set_callbacks(monitor).fit(rows, y, weights)
    assert pickle.loads(pickle.dumps(model)).score(rows, y) == model.score(rows, y)
    scores = [record["r2"] for record in monitor.get_logs().data]
    assert len(scores) == (16 if method == "network" else 1)
    np.testing.assert_allclose(scores[0], model.score(rows, y, weights))  # of the whole fit
    if method == "network":
        assert scores[-1] == scores[0] and np.all(np.diff(scores[1:]) > 0)


def test_a_callback_may_end_the_training():
    class Stop:
        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context): ...
        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id == 3

    X, y = make_wide()
    model = MultiTaskRegressor("network").set_callbacks(Stop()).fit(X, y)
    assert model.n_iter_ == 4


# --- images and texts ------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:240].reshape(-1, 8, 8), y[:240]


def test_images_in_every_form(digits, tmp_path):
    images, y = digits
    labels = np.column_stack([y % 2, y > 4]).astype(float)
    labels[::5, 0] = np.nan
    settings = {"method": "network", "backbone": "tiny", "value_range": (0, 16), "unfreeze": "head"}
    model = MultiTaskClassifier(**settings).fit(images[:160], labels[:160])
    assert model.n_features_in_ == 64
    assert model.score(images[160:], labels[160:]) > 0.85
    flat = MultiTaskClassifier(image_shape=(8, 8), **settings)
    flat.fit(images[:160].reshape(160, -1), labels[:160])
    expected = model.predict_proba(images[160:])
    np.testing.assert_allclose(flat.predict_proba(images[160:].reshape(80, -1)), expected)
    # Long: pixels beside the column of tasks.
    task = np.arange(240) % 2
    own = np.where(task == 0, y % 2, y > 4)
    rows = with_column(images.reshape(240, -1), task)
    long = clone(flat).set_params(task_column=-1).fit(rows[:160], own[:160])
    assert long.score(rows[160:], own[160:]) > 0.8
    # Long: a column of paths beside that of the tasks.
    paths = []
    for i, image in enumerate(images):
        paths.append(str(tmp_path / f"{i}.png"))
        Image.fromarray((image / 16 * 255).round().astype(np.uint8)).save(paths[-1])
    frame = pd.DataFrame({"task": np.array(["odd", "high"])[task], "path": paths})
    model = MultiTaskClassifier(task_column="task", **settings | {"value_range": None})
    model.fit(frame[:160], own[:160], np.arange(160) % 4)
    assert model.score(frame[160:], own[160:]) > 0.75
    assert list(model.tasks_) == ["high", "odd"] and model.n_features_in_ == 2
    model.fit(paths[:160], labels[:160]) if model.set_params(task_column=None) else None
    assert model.predict(paths[160:]).shape == (80, 2)


def test_a_trunk_of_images_is_trained(digits):
    images, y = digits
    settings = {"backbone": "tiny", "value_range": (0, 16), "max_epochs": 2}
    labels = np.column_stack([y % 2, y > 4]).astype(int)
    whole = MultiTaskClassifier("network", **settings).fit(images, labels)
    head = clone(whole).set_params(unfreeze="head", max_epochs="auto").fit(images, labels)
    a, b = (dict(model.network_.features.named_parameters()) for model in (head, whole))
    assert all(not np.array_equal(a[name].detach(), b[name].detach()) for name in a)
    assert [record["phase"] for record in whole.history_] == ["finetune"] * 2
    scratch = clone(whole).set_params(weights=None).fit(images, labels)
    assert scratch.score(images, labels) < whole.score(images, labels)


def test_texts_in_both_forms(tmp_path):
    name = save_tiny_bert(tmp_path)
    rng = np.random.default_rng(0)
    words = rng.choice(["the", "film", "plot", "was"], size=(80, 4))
    is_good, is_long = rng.integers(2, size=(2, 80))
    words[:, 1] = np.where(is_good, "good", "bad")
    words[:, 3] = np.where(is_long, "great", "dull")
    texts = [" ".join(row) for row in words]
    labels = np.column_stack([is_good, is_long])
    settings = {"method": "network", "backbone": name, "unfreeze": "head", "weight_decay": 0.001}
    wide = MultiTaskClassifier(**settings).fit(texts[:60], labels[:60])
    assert wide.score(texts[60:], labels[60:]) > 0.9
    task = np.arange(80) % 2
    own = labels[np.arange(80), task]
    for frame in (pd.DataFrame, pl.DataFrame):
        rows = frame({"text": texts, "task": np.array(["good", "long"])[task].tolist()})
        long = MultiTaskClassifier(task_column="task", **settings).fit(rows[:60], own[:60])
        assert long.score(rows[60:], own[60:]) > 0.85
    assert cross_val_score(long, pd.DataFrame(rows.to_dict()), own, cv=3).shape == (3,)


# --- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"method": "net"}, r"method='net' is not one of .*'network'"),
        ({"method": "trace_norm", "task_weight": "uncertainty"}, "Pass method='network'"),
        ({"task_weight": "certain"}, "task_weight='certain' is neither"),
        ({"hidden_layer_sizes": 8}, "hidden_layer_sizes=8 is not a list"),
        ({"max_epochs": 0}, "max_epochs=0 is not"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0 is not"),
        ({"optimizer": "lbfgs", "lr": 0.1}, "optimizer='lbfgs' takes all rows at once"),
        ({"unfreeze": 7}, "unfreeze=7 is deeper"),
    ],
)
def test_bad_parameters(settings, message):
    X, y = make_wide()
    with pytest.raises(ValueError, match=message):
        MultiTaskRegressor(**{"method": "network"} | settings).fit(X, y)


def test_bad_rows(tmp_path):
    X, y = make_wide()
    frame = pd.DataFrame({"task": ["a", "b"] * 30, "text": ["good film"] * 60, "other": ["x"] * 60})
    model = MultiTaskRegressor("network", task_column="task")
    with pytest.raises(ValueError, match="a single column may hold paths or texts"):
        model.fit(frame, y[:, 0])
    with pytest.raises(TypeError, match="backbone=None cannot turn into numbers"):
        model.fit(frame[["task", "text"]], y[:, 0])
    with pytest.raises(ValueError, match="must hold numbers"):
        MultiTaskRegressor(task_column="task").fit(frame[["task", "text"]], y[:, 0])
    model = MultiTaskRegressor("network", hidden_layer_sizes=()).fit(X, y)
    with pytest.raises(ValueError, match="X has 4 features, but MultiTaskRegressor is expecting 5"):
        model.predict(X[:, :4])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y[:50, 0])
    with pytest.raises(
        ValueError, match="are \\[2\\] of y have|columns \\[2\\] of y have no known"
    ):
        model.fit(X, np.where(np.arange(4) == 2, np.nan, y))
    with pytest.raises(ValueError, match="Input X contains NaN.\nMultiTaskRegressor"):
        model.fit(np.where(X > 2, np.nan, X), y)
    with pytest.raises(ValueError, match="classes"):
        MultiTaskClassifier("network").fit(X, np.zeros(60))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_arrays_of_the_caller_are_only_read(estimator):
    X, task, y = make_long()
    y = labels_for(estimator, y)
    wide = np.column_stack([y, y])
    wide[::4, 0] = np.nan
    rows, weights = with_column(X, task), np.arange(120) % 3 + 0.0
    arrays = [rows, X, y, weights, wide]
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    settings = {"method": "network", "hidden_layer_sizes": ()}
    estimator(task_column=-1, **settings).fit(rows, y, weights).predict(rows)
    estimator(**settings).fit(X, wide, weights).score(X, wide, weights)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
