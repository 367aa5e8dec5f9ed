"""TransferLogisticRegression: against scikit-learn's solver, and what must hold at the ends."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skltransfer import (
    DomainDataWarning,
    TransferLogisticRegression,
    TransferLogisticRegressionCV,
    WithSource,
    WithTarget,
)

LABELS = np.array(["ash", "birch", "cedar", "date"])


def make_tasks(n_classes, seed=0):
    X, y = make_classification(
        300, 8, n_informative=5, n_classes=n_classes, n_clusters_per_class=1, random_state=seed
    )
    y = LABELS[y]
    return X[:240], y[:240], X[240:] * 1.3 + 0.2, y[240:]


def reference(alpha):
    return LogisticRegression(C=1 / alpha, solver="newton-cholesky", tol=1e-12, max_iter=500)


def value(coef, intercept, X, codes, alpha, coef0, intercept0=None):
    """Return the objective, written out."""
    logits = X @ coef.T + intercept
    if logits.shape[1] == 1:
        logits = np.column_stack([np.zeros(len(X)), logits])
    loss = -log_softmax(logits, axis=1)[np.arange(len(X)), codes].sum()
    loss += 0.5 * (alpha * (coef - coef0) ** 2).sum()
    if intercept0 is not None:
        mean = np.broadcast_to(alpha, coef.shape).mean(axis=1)
        loss += 0.5 * (mean * (intercept - intercept0) ** 2).sum()
    return loss


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("alpha", [0.03, 1.0, 40.0])
def test_a_source_of_zeros_is_scikit_learns(n_classes, alpha):
    _, _, X, y = make_tasks(n_classes)
    weights = np.arange(60) % 4 / 2
    zeros = np.zeros((1 if n_classes == 2 else n_classes, 8))
    model = TransferLogisticRegression(zeros, alpha=alpha).fit(X, y, weights)
    expected = reference(alpha).fit(X, y, weights)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-8)
    np.testing.assert_allclose(
        model.intercept_ - model.intercept_.mean() * (n_classes > 2),
        expected.intercept_ - expected.intercept_.mean() * (n_classes > 2),
        atol=1e-8,
    )
    np.testing.assert_allclose(model.predict_proba(X), expected.predict_proba(X), atol=1e-9)
    np.testing.assert_allclose(
        model.predict_log_proba(X), np.log(model.predict_proba(X)), atol=1e-12
    )
    np.testing.assert_array_equal(model.predict(X), expected.predict(X))
    assert model.coef_.shape == expected.coef_.shape
    assert model.decision_function(X).shape == expected.decision_function(X).shape


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("settings", [{}, {"penalize_intercept": False}, {"fit_intercept": False}])
@pytest.mark.parametrize("form", ["number", "per feature", "per class"])
def test_no_other_coefficients_are_better(n_classes, settings, form):
    X, y, X_target, y_target = make_tasks(n_classes)
    source = LogisticRegression().fit(X, y)
    k = len(source.coef_)
    alpha = {
        "number": 2.0,
        "per feature": np.arange(1.0, 9.0),
        "per class": np.arange(1.0, k + 1)[:, None],
    }[form]
    model = TransferLogisticRegression(source, alpha=alpha, **settings).fit(X_target, y_target)
    codes = np.searchsorted(model.classes_, y_target)
    held = None if settings else source.intercept_
    arguments = (X_target, codes, alpha, source.coef_, held)
    best = value(model.coef_, model.intercept_, *arguments)
    assert best < value(source.coef_, source.intercept_, *arguments) - 0.1
    rng = np.random.default_rng(0)
    for _ in range(50):
        intercept = model.intercept_
        if settings.get("fit_intercept", True):
            intercept = intercept + 1e-4 * rng.normal(size=k)
        assert value(model.coef_ + 1e-4 * rng.normal(size=(k, 8)), intercept, *arguments) > best
    if "fit_intercept" in settings:
        np.testing.assert_array_equal(model.intercept_, source.intercept_)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_optimum_is_reached_to_1e_10(n_classes):
    """A source is an offset: scikit-learn cannot take one, so a long run of ours is no proof.

    The change of coefficients is a problem of its own, whose gradient is written out here.
    """
    X, y, X_target, y_target = make_tasks(n_classes)
    source = LogisticRegression().fit(X, y)
    model = TransferLogisticRegression(source, alpha=0.5).fit(X_target, y_target)
    P = model.predict_proba(X_target)
    P -= y_target[:, None] == model.classes_
    if n_classes == 2:
        P = P[:, 1:]
    on_coef = P.T @ X_target + 0.5 * (model.coef_ - source.coef_)
    on_intercept = P.sum(axis=0) + 0.5 * (model.intercept_ - source.intercept_)
    squared = (on_coef**2).sum() + (on_intercept**2).sum()
    codes = np.searchsorted(model.classes_, y_target)
    best = value(
        model.coef_, model.intercept_, X_target, codes, 0.5, source.coef_, source.intercept_
    )
    # The objective is 0.5-strongly convex: it lies at most |gradient|^2 / (2 * 0.5) too high.
    assert squared / (2 * 0.5) <= 1e-10 * best


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_ends_are_the_task_alone_and_the_source(n_classes):
    X, y, X_target, y_target = make_tasks(n_classes)
    source = LogisticRegression().fit(X, y)
    carried = TransferLogisticRegression(source, alpha=1e13).fit(X_target, y_target)
    np.testing.assert_allclose(carried.coef_, source.coef_, atol=1e-9)
    np.testing.assert_allclose(
        carried.predict_proba(X_target), source.predict_proba(X_target), atol=1e-9
    )
    noisy = np.roll(y_target, 3)  # cannot be separated, so that the optimum is finite
    alone = TransferLogisticRegression(source, alpha=0.0).fit(X_target, noisy)
    expected = reference(1e-9).fit(X_target, noisy)
    np.testing.assert_allclose(
        alone.predict_proba(X_target), expected.predict_proba(X_target), atol=1e-6
    )


@pytest.mark.parametrize("n_classes", [2, 4])
def test_more_columns_than_rows(n_classes):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 90)), LABELS[np.arange(20) % n_classes]
    coef = rng.normal(size=(1 if n_classes == 2 else n_classes, 90))
    by_span = TransferLogisticRegression(coef, alpha=0.7).fit(X, y)
    # The same penalty, written so that the span of the rows cannot be used.
    nearly = np.full(90, 0.7)
    nearly[0] *= 1 + 1e-15
    direct = TransferLogisticRegression(coef, alpha=nearly).fit(X, y)
    np.testing.assert_allclose(by_span.coef_, direct.coef_, atol=1e-8)


def test_a_weight_is_a_repeated_row_and_class_weight_a_weight():
    X, y, X_target, y_target = make_tasks(4)
    counts = np.arange(60) % 3
    model = TransferLogisticRegression(LogisticRegression().fit(X, y))
    weighted = clone(model).fit(X_target, y_target, counts)
    repeated = clone(model).fit(np.repeat(X_target, counts, 0), np.repeat(y_target, counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-9)
    balanced = clone(model).set_params(class_weight={"ash": 3.0}).fit(X_target, y_target)
    by_hand = clone(model).fit(X_target, y_target, np.where(y_target == "ash", 3.0, 1.0))
    np.testing.assert_allclose(balanced.coef_, by_hand.coef_, atol=1e-12)
    assert not np.allclose(balanced.coef_, clone(model).fit(X_target, y_target).coef_, atol=1e-3)


def test_classes_are_matched_by_label():
    X, y, X_target, y_target = make_tasks(4)
    source = LogisticRegression().fit(X, y)
    kept = y_target != "birch"  # the source knows one class more
    three = TransferLogisticRegression(source, alpha=1e13).fit(X_target[kept], y_target[kept])
    np.testing.assert_allclose(three.coef_, source.coef_[[0, 2, 3]], atol=1e-9)
    two = np.isin(y_target, ["cedar", "ash"])
    pair = TransferLogisticRegression(source, alpha=1e13).fit(X_target[two], y_target[two])
    np.testing.assert_allclose(pair.coef_[0], source.coef_[2] - source.coef_[0], atol=1e-9)
    few = np.isin(y, ["ash", "date"])  # the source lacks two classes
    source = LogisticRegression().fit(X[few], y[few])
    four = TransferLogisticRegression(source, alpha=1e13).fit(X_target, y_target)
    w = source.coef_[0] / 2
    np.testing.assert_allclose(four.source_coef_, [-w, 0 * w, 0 * w, w])
    np.testing.assert_allclose(four.coef_, [-w, 0 * w, 0 * w, w], atol=1e-9)
    learned = TransferLogisticRegression(source, alpha=0.1).fit(X_target, y_target)
    assert learned.score(X_target, y_target) > 0.6 > four.score(X_target, y_target)


def test_two_domains_hold_the_labels_of_both():
    X, y, X_target, y_target = make_tasks(4)
    in_source, in_target = y != "date", np.isin(y_target, ["ash", "birch", "date"])
    known = y_target.astype(object)
    known[~in_target] = None
    model = TransferLogisticRegression(alpha=0.1, source_alpha=2.0)
    with pytest.warns(DomainDataWarning, match=r"y_target \(target\) holds the classes \['date'\]"):
        model.fit(X[in_source], y[in_source], X_target=X_target, y_target=known)
    assert list(model.classes_) == ["ash", "birch", "cedar", "date"]
    source = reference(2.0).fit(X[in_source], y[in_source])
    np.testing.assert_allclose(model.source_coef_[:3], source.coef_, atol=1e-8)
    np.testing.assert_array_equal(model.source_coef_[3], 0.0)
    right = model.predict(X_target) == y_target
    # "cedar" is known from the source alone, "date" from the target alone.
    assert right[y_target == "cedar"].any()
    assert right[y_target == "date"].mean() > 0.5


@pytest.mark.parametrize("penalize_intercept", [True, False])
def test_a_class_without_a_row_stays_finite(penalize_intercept):
    X, y, X_target, y_target = make_tasks(2)
    one = y_target == "ash"
    model = TransferLogisticRegression(penalize_intercept=penalize_intercept)
    model.fit(X, y, X_target=X_target[one], y_target=y_target[one])
    assert np.abs(model.intercept_).max() < 10
    assert set(model.predict(X_target)) == {"ash", "birch"}


def test_in_a_pipeline_behind_a_scaler_through_both_wrappers():
    X, y, X_target, y_target = make_tasks(4)
    X, X_target = 100 * X + 5, 100 * X_target + 5
    pipeline = make_pipeline(StandardScaler(), TransferLogisticRegression(alpha=4.0))
    scaler = StandardScaler().fit(X)
    source = reference(1.0).fit(scaler.transform(X), y)
    expected = TransferLogisticRegression(source, alpha=4.0)
    expected.fit(scaler.transform(X_target), y_target)
    held = WithSource(pipeline, X, y).fit(X_target, y_target)
    given = WithTarget(pipeline, X_target, y_target).fit(X, y)
    for model in (held, given):
        np.testing.assert_allclose(model.estimator_[-1].coef_, expected.coef_, atol=1e-7)
        np.testing.assert_array_equal(
            model.predict(X_target), expected.predict(scaler.transform(X_target))
        )
    scores = cross_val_score(WithSource(pipeline, X, y), X_target, y_target, error_score="raise")
    assert scores.mean() > 0.5


def test_no_label_leaks_through_a_clone():
    """Fitted once on all rows with labels drawn at random, its clones still score by chance."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 60)), rng.integers(0, 2, 100)
    model = TransferLogisticRegression(np.zeros(60), alpha=0.01).fit(X, y)
    assert model.score(X, y) == 1.0
    assert abs(cross_val_score(model, X, y, cv=5).mean() - 0.5) < 0.15


@pytest.mark.parametrize("scoring", ["neg_log_loss", "accuracy", None, "roc_auc_ovr"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_cv_is_the_search_over_alpha(scoring, n_classes):
    X, y, X_target, y_target = make_tasks(n_classes)
    source = LogisticRegression().fit(X, y)
    alphas = [0.1, 1.0, 10.0, 100.0, 1000.0]
    cv = StratifiedKFold(4)
    model = TransferLogisticRegressionCV(source, alphas=alphas, cv=cv, scoring=scoring)
    model.fit(X_target, y_target)
    search = GridSearchCV(
        TransferLogisticRegression(source), {"alpha": alphas}, cv=cv, scoring=scoring
    ).fit(X_target, y_target)
    folds = [search.cv_results_[f"split{i}_test_score"] for i in range(4)]
    np.testing.assert_allclose(model.cv_scores_, np.transpose(folds), rtol=1e-7)
    mean = model.cv_scores_.mean(axis=1)
    assert mean[alphas.index(model.alpha_)] == mean.max()
    expected = TransferLogisticRegression(source, alpha=model.alpha_).fit(X_target, y_target)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-9)


def test_cv_finds_when_the_source_helps():
    X, y, X_target, y_target = make_tasks(4)
    good, bad = LogisticRegression().fit(X, y), LogisticRegression().fit(X, np.roll(y, 1))
    bad.coef_ = -good.coef_
    near = TransferLogisticRegressionCV(good).fit(X_target / 1.3, y_target)
    far = TransferLogisticRegressionCV(bad).fit(X_target / 1.3, y_target)
    assert near.alpha_ >= 10 * far.alpha_


def test_cv_of_two_domains_with_few_labels():
    X, y, X_target, y_target = make_tasks(2)
    known = y_target.astype(object)
    known[6:] = None  # some fold of so few may lack a class
    model = TransferLogisticRegressionCV().fit(X, y, X_target=X_target, y_target=known)
    source = TransferLogisticRegressionCV(np.zeros(8)).fit(X, y)
    np.testing.assert_allclose(model.source_coef_, source.coef_, atol=1e-8)
    assert model.cv_scores_.shape[0] == 16
    assert np.isfinite(model.cv_scores_).all()


def test_without_target_labels_it_is_the_source_and_says_so():
    X, y, X_target, _ = make_tasks(4)
    expected = reference(3.0).fit(X, y)
    model = TransferLogisticRegression(source_alpha=3.0)
    with pytest.warns(DomainDataWarning, match="neither source nor X_target"):
        model.fit(X, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-8)
    with pytest.warns(DomainDataWarning, match="no label of a target row"):
        model.fit(X, y, X_target=X_target)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-8)


def test_columns_are_matched_by_name():
    X, y, X_target, y_target = make_tasks(4)
    names = np.array([f"c{i}" for i in range(8)])
    source = LogisticRegression().fit(pd.DataFrame(X, columns=names), y)
    reversed_columns = pd.DataFrame(X_target[:, ::-1], columns=names[::-1])
    model = TransferLogisticRegression(source, alpha=1e13).fit(reversed_columns, y_target)
    np.testing.assert_allclose(model.coef_, source.coef_[:, ::-1], atol=1e-9)


def test_bad_input():
    X, y, X_target, y_target = make_tasks(4)
    with pytest.raises(TypeError, match="source is a regressor"):
        TransferLogisticRegression(Ridge().fit(X, np.arange(240.0))).fit(X_target, y_target)
    with pytest.raises(ValueError, match="source has 1 rows of coefficients, and y has 4 classes"):
        TransferLogisticRegression(np.zeros(8)).fit(X_target, y_target)
    with pytest.raises(ValueError, match="one class, .*ash"):
        TransferLogisticRegression(np.zeros(8)).fit(X[:3], ["ash"] * 3)
    with pytest.raises(ValueError, match="X_target was given to a TransferLogisticRegressionCV"):
        TransferLogisticRegressionCV(np.zeros((4, 8))).fit(X, y, X_target=X, y_target=y)
    with pytest.raises(ValueError, match="no class in common.*Write the labels of both in one way"):
        TransferLogisticRegression().fit(X, y, X_target=X_target, y_target=np.arange(60))
    with pytest.raises(ValueError, match=r"class_weight names \['elm'\]"):
        TransferLogisticRegression(np.zeros((4, 8)), class_weight={"elm": 2.0}).fit(X, y)
    with pytest.raises(ValueError, match="class_weight='even' is neither"):
        TransferLogisticRegression(np.zeros((4, 8)), class_weight="even").fit(X, y)
    with pytest.raises(ValueError, match="class_weight=.* has to hold finite numbers"):
        TransferLogisticRegression(class_weight={y[0]: -1.0}).fit(X, y, X_target=X, y_target=y)
    with pytest.warns(ConvergenceWarning, match="not to tol="):
        TransferLogisticRegression(np.zeros((4, 8)), max_iter=1).fit(X, y)


# --- hard problems ---------------------------------------------------------------------


def test_a_source_that_is_sure_and_wrong():
    """Probabilities of 0 and 1 leave Newton's method without curvature."""
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    for size in (20.0, 38.0, 42.0, 400.0):
        model = TransferLogisticRegression([[-size]], alpha=0.01).fit(X, y)
        arguments = (X, y, 0.01, [[-size]])
        slopes = [
            value(model.coef_ + e, model.intercept_, *arguments)
            - value(model.coef_ - e, model.intercept_, *arguments)
            for e in (1e-4,)
        ]
        assert abs(slopes[0]) / 2e-4 < 1e-4


@pytest.mark.parametrize("seed", range(12))
def test_sources_of_any_size_are_no_obstacle(seed):
    rng = np.random.default_rng(seed)
    n, d, k = rng.integers(20, 70), rng.integers(1, 6), rng.integers(3, 6)
    X, y = rng.normal(size=(n, d)), np.arange(n) % k
    coef = rng.choice([10, 30, 100]) * rng.normal(size=(k, d))
    alpha = 10 ** rng.uniform(-3, 2)
    model = TransferLogisticRegression(coef, alpha=alpha).fit(X, y)  # a warning is an error
    P = model.predict_proba(X) - (y[:, None] == np.arange(k))
    gradient = P.T @ X + alpha * (model.coef_ - coef)
    scale = np.abs(alpha * (model.coef_ - coef)).max() + 1
    assert np.abs(gradient).max() < 1e-4 * scale
    assert np.abs(P.sum(axis=0)).max() < 1e-4 * scale


def test_balanced_weights_where_a_class_has_no_weight():
    _, _, X, y = make_tasks(4)
    weights = (y != "ash").astype(float)
    model = TransferLogisticRegression(np.zeros((4, 8)), class_weight="balanced")
    assert np.isfinite(model.fit(X, y, weights).coef_).all()


def test_sources_that_say_something_else():
    X, y, X_target, y_target = make_tasks(4)
    with pytest.raises(TypeError, match="SVC of 4 classes, whose rows of coef_ tell pairs"):
        TransferLogisticRegression(SVC(kernel="linear").fit(X, y)).fit(X_target, y_target)
    numbers = LogisticRegression().fit(X, np.searchsorted(LABELS, y))
    with pytest.raises(ValueError, match="None is shared, so that nothing can be carried over"):
        TransferLogisticRegression(numbers).fit(X_target, y_target)
    two = np.isin(y, LABELS[:2]), np.isin(y_target, LABELS[:2])
    source = SVC(kernel="linear").fit(X[two[0]], y[two[0]])
    model = TransferLogisticRegression(source, alpha=1e13).fit(X_target[two[1]], y_target[two[1]])
    np.testing.assert_allclose(
        model.decision_function(X_target), source.decision_function(X_target), atol=1e-8
    )
    sparse_source = LogisticRegression().fit(X, y)
    expected = sparse_source.coef_.copy()
    model = TransferLogisticRegression(sparse_source.sparsify(), alpha=1e13)
    np.testing.assert_allclose(model.fit(X_target, y_target).coef_, expected, atol=1e-8)


# --- the strength by default, numbers of any size, sparse samples ------------------------


def test_by_default_noise_leaves_the_source_and_a_change_is_learned():
    X, y, X_target, y_target = make_tasks(4)
    source = LogisticRegression().fit(X, y)
    rng = np.random.default_rng(0)
    P = source.predict_proba(X_target)
    kept = 0
    for _ in range(30):  # labels as the source expects them
        drawn = LABELS[(rng.random((60, 1)) > P.cumsum(axis=1)).sum(axis=1)]
        if len(np.unique(drawn)) == 4:
            kept += np.array_equal(
                TransferLogisticRegression(source).fit(X_target, drawn).coef_, source.coef_
            )
    assert kept >= 20
    turned = TransferLogisticRegression(source).fit(
        X_target, np.roll(LABELS, 1)[np.searchsorted(LABELS, y_target)]
    )
    assert np.abs(turned.coef_ - source.coef_).max() > 0.3
    labels = np.full(60, "ash")
    labels[:3] = LABELS[1:]  # a share of classes that is far from the source's
    level = TransferLogisticRegression(source).fit(X_target, labels)
    assert (level.predict_proba(X_target).mean(axis=0) - P.mean(axis=0))[0] > 0.2


def test_cv_keeps_the_source_within_one_standard_error():
    X, y, X_target, y_target = make_tasks(2)
    source = LogisticRegression().fit(X, y)
    same = TransferLogisticRegressionCV(source).fit(X_target[:20], source.predict(X_target[:20]))
    assert same.alpha_ == np.inf
    np.testing.assert_array_equal(same.coef_, source.coef_)
    np.testing.assert_array_equal(same.intercept_, source.intercept_)
    other = TransferLogisticRegressionCV(source).fit(X_target, LABELS[(y_target == "ash") * 1])
    assert np.isfinite(other.alpha_)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("penalize_intercept", [True, False, "auto"])
def test_columns_far_from_zero_and_of_any_size(n_classes, penalize_intercept):
    X, y, X_target, y_target = make_tasks(n_classes)
    rng = np.random.default_rng(5)
    model = TransferLogisticRegression(alpha=1.0, penalize_intercept=penalize_intercept)
    plain = clone(model).fit(X, y, X_target=X_target, y_target=y_target)
    for column in (
        1.7e9 + 3e3 * rng.normal(size=300),
        np.full(300, 7.0),
        np.full(300, 1e150),
        5e149 * rng.uniform(size=300),
        1e-150 * rng.normal(size=300),
    ):
        wide = np.column_stack([np.vstack([X, X_target]), column])
        model.fit(wide[:240], y, X_target=wide[240:], y_target=y_target)  # warnings are errors
        assert np.isfinite(model.coef_).all()
        assert model.score(wide[240:], y_target) > plain.score(X_target, y_target) - 0.05


def test_a_time_stamp_changes_nothing_but_the_intercept():
    X, y, _, _ = make_tasks(4)
    rng = np.random.default_rng(0)
    hours = rng.normal(size=240)
    plain, stamped = np.column_stack([X, hours]), np.column_stack([X, 1.7e9 + hours])
    zeros = np.zeros((4, 9))
    expected = TransferLogisticRegression(zeros, alpha=1.0).fit(plain, y)
    model = TransferLogisticRegression(zeros, alpha=1.0).fit(stamped, y)
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-6)
    np.testing.assert_allclose(
        model.predict_proba(stamped), expected.predict_proba(plain), atol=1e-6
    )


@pytest.mark.parametrize("n_classes, shape", [(2, (60, 12)), (3, (20, 90))])
def test_sparse_samples_are_dense_ones(n_classes, shape):
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape) * (rng.random(shape) < 0.2) + 0.0
    y, weights = LABELS[np.arange(shape[0]) % n_classes], rng.integers(1, 3, shape[0])
    source = rng.normal(size=(1 if n_classes == 2 else n_classes, shape[1]))
    cases = [
        TransferLogisticRegression(source),
        TransferLogisticRegression(source, alpha=np.linspace(0.5, 2, shape[1])),
        TransferLogisticRegression(source, alpha=2.0, fit_intercept=False),
        TransferLogisticRegressionCV(source),
    ]
    formats = ["csr", "csc", "coo", "lil"]
    for model, name in zip(cases, formats, strict=True):
        expected = clone(model).fit(X, y, weights)
        rows = sparse.csr_array(X).asformat(name)
        model.fit(rows, y, weights)
        np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-7)
        np.testing.assert_allclose(model.intercept_, expected.intercept_, atol=1e-7)
        np.testing.assert_allclose(model.predict_proba(rows), expected.predict_proba(X), atol=1e-7)
    expected = TransferLogisticRegression().fit(X, y, X_target=X[:9], y_target=y[:9])
    model = TransferLogisticRegression().fit(
        sparse.bsr_array(X), y, X_target=sparse.dok_array(X[:9]), y_target=y[:9]
    )
    np.testing.assert_allclose(model.coef_, expected.coef_, atol=1e-7)
