"""Optimal transport: against other solvers, closed forms, and its own marginals."""

import builtins
import os
import pickle
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import LinearConstraint, linear_sum_assignment, linprog, minimize
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer
from skltransfer import DomainDataWarning, OptimalTransportMapper, WithSource, WithTarget
from skltransfer.feature import _optimal_transport
from skltransfer.metrics import mmd
from tests.rounding import assert_within_rounding

PLANS = ("exact", "sinkhorn", "group_lasso")
METHODS = (*PLANS, "linear")


def domains(n=40, m=50, d=3, seed=0):
    """Return two classes in each domain; the target is turned, stretched and moved."""
    rng = np.random.default_rng(seed)
    y, y_target = np.arange(n) % 2, np.arange(m) % 2
    X = rng.normal(size=(n, d)) + 3.0 * y[:, None]
    turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
    X_target = (rng.normal(size=(m, d)) * 0.7 + 3.0 * y_target[:, None]) @ turn + 4.0
    return X, y, X_target, y_target


def fitted(method, X, y, X_target, **settings):
    return OptimalTransportMapper(method, **settings).fit(X, y, X_target=X_target)


def cost_of(mapper, X, X_target):
    return cdist(X, X_target, mapper.metric) / mapper.cost_scale_


@pytest.mark.parametrize("method", PLANS)
@pytest.mark.parametrize("sizes", ["40 55", "55 40", "1 1", "1 7", "7 1", "30 30"])
def test_plans_meet_their_marginals(method, sizes):
    n, m = map(int, sizes.split())
    X, y, X_target, _ = domains(n, m)
    mapper = fitted(method, X, y, X_target)
    assert mapper.plan_.shape == (n, m)
    assert mapper.plan_.min() >= 0
    misses = [np.abs(mapper.plan_.sum(axis=axis) - 1 / k).sum() for axis, k in ((1, n), (0, m))]
    assert mapper.marginal_error_ == pytest.approx(max(misses), abs=1e-15)
    assert mapper.marginal_error_ < (1e-12 if method == "exact" else 1e-6)
    finer = fitted(method, X, y, X_target, tol=1e-10)
    assert finer.marginal_error_ < 1e-10
    cost = cdist(X, X_target, "sqeuclidean")
    assert mapper.transport_cost_ == pytest.approx((mapper.plan_ * cost).sum())


@pytest.mark.parametrize("method", PLANS)
def test_the_image_is_the_mean_of_the_rows_that_receive_the_mass(method):
    X, y, X_target, _ = domains()
    mapper = OptimalTransportMapper(method)
    mapped = mapper.fit_transform(X, y, X_target=X_target)
    expected = [sum(p * t for p, t in zip(row, X_target, strict=True)) for row in mapper.plan_]
    np.testing.assert_allclose(mapped, len(X) * np.array(expected), rtol=1e-7)


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cityblock", "cosine"])
def test_exact_is_the_linear_programme(metric):
    X, y, X_target, _ = domains(9, 7)
    mapper = fitted("exact", X, y, X_target, metric=metric)
    cost = cost_of(mapper, X, X_target)
    marginals = np.vstack([np.kron(np.eye(9), np.ones(7)), np.kron(np.ones(9), np.eye(7))])
    shares = np.concatenate([np.full(9, 1 / 9), np.full(7, 1 / 7)])
    least = linprog(cost.ravel(), A_eq=marginals, b_eq=shares).fun
    assert (mapper.plan_ * cost).sum() == pytest.approx(least, rel=1e-9)
    assert (cost / 63).sum() > 1.01 * least  # the plan that spreads everything is dearer


def test_exact_is_the_assignment_where_sizes_are_equal():
    X, y, X_target, _ = domains(30, 30)
    mapper = OptimalTransportMapper("exact")
    mapped = mapper.fit_transform(X, X_target=X_target)
    _, columns = linear_sum_assignment(cdist(X, X_target, "sqeuclidean"))
    np.testing.assert_allclose(mapped, X_target[columns], rtol=1e-12)


def sinkhorn_by_hand(cost, entropy, n_iter=3000):
    n, m = cost.shape
    K, u, v = np.exp(-cost / entropy), np.ones(n), np.ones(m)
    for _ in range(n_iter):
        u = (1 / n) / (K @ v)
        v = (1 / m) / (K.T @ u)
    return u[:, None] * K * v


@pytest.mark.parametrize("entropy", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("cost_scale", ["median", "max", None])
def test_sinkhorn_is_its_fixed_point(entropy, cost_scale):
    X, y, X_target, _ = domains(8, 6)
    X, X_target = X / 5, X_target / 5
    mapper = fitted("sinkhorn", X, y, X_target, entropy=entropy, cost_scale=cost_scale, tol=1e-10)
    cost = cdist(X, X_target, "sqeuclidean")
    scale = {"median": np.median(cost), "max": cost.max(), None: 1.0}[cost_scale]
    assert mapper.cost_scale_ == pytest.approx(scale)
    expected = sinkhorn_by_hand(cost / scale, entropy)
    np.testing.assert_allclose(mapper.plan_, expected, atol=1e-7)


@pytest.mark.parametrize("method", ["sinkhorn", "group_lasso"])
def test_small_entropy_runs_on_logarithms_and_ends_at_the_exact_plan(method):
    X, X_target, y = np.array([[0.0], [5.0], [100.0]]), np.array([[1.0], [7.0], [90.0]]), [0, 1, 1]
    settings = {"cost_scale": None, "entropy": 0.1, "group_regularization": 0.0}
    small = fitted(method, X, y, X_target, **settings)
    cost = cost_of(small, X, X_target)
    assert not np.exp(-cost / 0.1)[2].any()  # without logarithms there is nothing for the row
    np.testing.assert_allclose(small.plan_, np.eye(3) / 3, atol=1e-12)
    X, y, X_target, _ = domains(12, 12, seed=1)
    spread = fitted("sinkhorn", X, y, X_target, entropy=1e6)
    np.testing.assert_allclose(spread.transform_source(X), [X_target.mean(axis=0)] * 12, rtol=1e-4)


def penalised(cost, groups, entropy, penalty):
    def objective(flat):
        P = flat.reshape(cost.shape)
        norms = sum(np.linalg.norm(P[groups == c], axis=0).sum() for c in set(groups.tolist()))
        safe = np.maximum(P, 1e-300)
        return (P * cost).sum() + entropy * (P * np.log(safe)).sum() + penalty * norms

    return objective


@pytest.mark.parametrize("penalty", [0.0, 0.1, 1.0])
def test_group_lasso_is_the_least_of_its_objective(penalty):
    X, y, X_target, _ = domains(6, 4, seed=3)
    X_target = X_target - X_target.mean(axis=0) + X.mean(axis=0)
    settings = {"entropy": 0.3, "group_regularization": penalty}
    mapper = fitted("group_lasso", X, y, X_target, **settings)
    cost = cost_of(mapper, X, X_target)
    objective = penalised(cost, y, 0.3, penalty)
    marginals = np.vstack([np.kron(np.eye(6), np.ones(4)), np.kron(np.ones(6), np.eye(4))])
    shares = np.concatenate([np.full(6, 1 / 6), np.full(4, 1 / 4)])
    other = minimize(
        objective, np.full(24, 1 / 24), method="SLSQP", bounds=[(1e-9, 1)] * 24,
        constraints=LinearConstraint(marginals[:-1], shares[:-1], shares[:-1]),
        options={"ftol": 1e-12, "maxiter": 1000},
    )  # fmt: skip
    ours = objective(mapper.plan_.ravel())
    assert ours <= other.fun + 1e-6
    assert ours == pytest.approx(other.fun, abs=1e-4)
    assert objective(np.full(24, 1 / 24)) > ours + 1e-3
    if not penalty:
        entropic = fitted("sinkhorn", X, y, X_target, entropy=0.3)
        np.testing.assert_allclose(mapper.plan_, entropic.plan_, atol=1e-6)


def test_group_lasso_does_not_stop_early_as_the_shortcut_of_pot_does():
    import ot

    rng = np.random.default_rng(0)
    y, y_target = rng.integers(0, 5, 60), rng.integers(0, 5, 60)
    centers = 1.5 * rng.normal(size=(5, 5))
    X = centers[y] + rng.normal(size=(60, 5))
    X_target = 1.1 * centers[y_target] + 0.8 * rng.normal(size=(60, 5)) + 0.5
    mapper = fitted("group_lasso", X, y, X_target, tol=1e-10)
    cost, shares = cost_of(mapper, X, X_target), np.full(60, 1 / 60)
    theirs = ot.da.sinkhorn_l1l2_gl(shares, y * 1.0, shares, cost, 0.1, 0.1, numItermax=200)
    objective = penalised(cost, y, 0.1, 0.1)
    assert objective(mapper.plan_.ravel()) < objective(theirs.ravel()) - 1e-3


def mixing(plan, y):
    """Return how much of the mass that target rows receive is not of their main class."""
    received = np.array([plan[y == label].sum(axis=0) for label in np.unique(y)])
    return 1 - received.max(axis=0).sum()


def test_group_lasso_separates_classes():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 2)) + 1.5 * y[:, None]
    X_target = rng.normal(size=(60, 2)) + 1.5 * y[:, None] + [3.0, -1.0]
    without, with_groups = (
        fitted("group_lasso", X, y, X_target, entropy=0.2, group_regularization=penalty).plan_
        for penalty in (0.0, 5.0)
    )
    assert mixing(with_groups, y) < 0.9 * mixing(without, y)


def test_known_target_labels_forbid_pairs():
    X, y, X_target, y_target = domains(30, 30, seed=5)
    y_names, names = np.array(["no", "yes"])[y], np.array(["no", "yes"], dtype=object)[y_target]
    wrong = 1 - y_target  # labels that geometry contradicts
    plain = OptimalTransportMapper("group_lasso").fit(X, y, X_target=X_target)
    held = OptimalTransportMapper("group_lasso").fit(X, y, X_target=X_target, y_target=wrong)
    differs = y[:, None] != wrong
    assert plain.plan_[differs].sum() > 0.5
    assert held.plan_[differs].sum() < 1e-6
    partly = names.copy()
    partly[5:] = None
    some = OptimalTransportMapper("group_lasso")
    some.fit(X, y_names, X_target=X_target, y_target=partly)
    assert some.plan_[:, :5][y_names[:, None] != partly[None, :5]].sum() < 1e-6
    # Nothing known is the same as no labels, and other methods use none.
    nothing = OptimalTransportMapper("group_lasso")
    nothing.fit(X, y, X_target=X_target, y_target=np.full(30, np.nan))
    np.testing.assert_array_equal(nothing.plan_, plain.plan_)
    for method in ("exact", "sinkhorn", "linear"):
        with_labels = OptimalTransportMapper(method)
        mapped = with_labels.fit_transform(X, y, X_target=X_target, y_target=wrong)
        same = OptimalTransportMapper(method).fit_transform(X, X_target=X_target)
        np.testing.assert_array_equal(mapped, same)


def test_known_labels_that_cannot_all_be_respected():
    X, y, X_target, _ = domains(20, 10)
    for known in (np.zeros(10), np.r_[0.0, np.full(9, 7.0)], np.r_[np.zeros(9), np.nan]):
        mapper = OptimalTransportMapper("group_lasso", entropy=0.5)
        told = (
            pytest.warns(DomainDataWarning, match=r"classes \[7") if 7.0 in known else nullcontext()
        )
        with told:
            mapped = mapper.fit_transform(X, y, X_target=X_target, y_target=known)
        assert np.isfinite(mapped).all()
        assert mapper.marginal_error_ < 1e-6
    one_class = OptimalTransportMapper("group_lasso").fit(X, np.zeros(20), X_target=X_target)
    entropic = fitted("sinkhorn", X, y, X_target)
    assert one_class.marginal_error_ < 1e-6
    assert one_class.transport_cost_ == pytest.approx(entropic.transport_cost_, rel=0.1)


def root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def test_linear_is_the_map_between_gaussians():
    X, _, X_target, _ = domains(300, 200, d=5)
    mapper = OptimalTransportMapper("linear", shrinkage=0)
    mapped = mapper.fit_transform(X, X_target=X_target)
    covariance, target = np.cov(X.T, bias=True), np.cov(X_target.T, bias=True)
    half = root(covariance)
    A = np.linalg.solve(half, root(half @ target @ half)) @ np.linalg.inv(half)
    np.testing.assert_allclose(mapper.coef_, A, atol=1e-10)
    np.testing.assert_allclose(np.cov(mapped.T, bias=True), target, atol=1e-8)
    np.testing.assert_allclose(mapped.mean(axis=0), X_target.mean(axis=0), atol=1e-10)
    assert mapper.marginal_error_ < 1e-10
    # Bures' distance is what the moves cost.
    shift = X.mean(axis=0) - X_target.mean(axis=0)
    least = shift @ shift + np.trace(covariance + target - 2 * root(half @ target @ half))
    assert mapper.transport_cost_ == pytest.approx(least)


def test_linear_may_keep_the_mean_of_the_source():
    X, _, X_target, _ = domains(300, 200, d=5)
    moved = OptimalTransportMapper("linear").fit(X, X_target=X_target)
    kept = OptimalTransportMapper("linear", match_means=False)
    mapped = kept.fit_transform(X, X_target=X_target)
    np.testing.assert_allclose(mapped.mean(axis=0), X.mean(axis=0), atol=1e-10)
    shift = X_target.mean(axis=0) - X.mean(axis=0)
    np.testing.assert_allclose(mapped + shift, moved.transform_source(X), atol=1e-10)
    assert kept.transport_cost_ == pytest.approx(moved.transport_cost_ - shift @ shift)
    far = OptimalTransportMapper("linear", match_means=False)
    np.testing.assert_allclose(
        far.fit_transform(X + 1e6, X_target=X_target), mapped + 1e6, atol=1e-5
    )


def test_linear_with_fewer_rows_than_columns_needs_shrinkage():
    X, _, X_target, _ = domains(6, 9, d=12)
    mapped = OptimalTransportMapper("linear").fit_transform(X, X_target=X_target)
    np.testing.assert_allclose(mapped.mean(axis=0), X_target.mean(axis=0), atol=1e-6)
    with pytest.raises(ValueError, match="covariance of the source is singular.*Raise shrinkage"):
        OptimalTransportMapper("linear", shrinkage=0).fit(X, X_target=X_target)


@pytest.mark.parametrize("method", METHODS)
def test_source_rows_move_and_target_rows_stay(method):
    """Fails where the map is the identity, and where it maps both domains alike."""
    X, y, X_target, _ = domains()
    mapper = OptimalTransportMapper(method)
    mapped = mapper.fit_transform(X, y, X_target=X_target)
    np.testing.assert_array_equal(mapper.transform(X_target), X_target)
    before = np.linalg.norm(X.mean(axis=0) - X_target.mean(axis=0))
    assert before > 4
    assert np.linalg.norm(mapped.mean(axis=0) - X_target.mean(axis=0)) < 1e-5 * before
    assert np.abs(mapper.transform(X) - mapped).max() > 3
    # Source rows lie where the target lies, not only at its mean.
    assert mapped.std(axis=0).min() > 0.3 * X_target.std(axis=0).min()


@pytest.mark.parametrize("method", METHODS)
def test_without_a_target_nothing_moves(method):
    X, y, *_ = domains()
    with pytest.warns(DomainDataWarning, match="OptimalTransportMapper was given no X_target"):
        mapped = OptimalTransportMapper(method).fit_transform(X, y)
    np.testing.assert_array_equal(mapped, X)


@pytest.mark.parametrize("method", ["exact", "sinkhorn", "linear"])
def test_equal_domains_stay_where_they_are(method):
    X, y, *_ = domains(20)
    mapped = OptimalTransportMapper(method, entropy=0.03).fit_transform(X, y, X_target=X)
    np.testing.assert_allclose(mapped, X, atol=1e-8 if method in ("exact", "linear") else 1.0)


@pytest.mark.parametrize("method", METHODS)
def test_new_source_rows_move_like_the_nearest_fitted_one(method):
    X, y, X_target, _ = domains()
    mapper = OptimalTransportMapper(method)
    mapped = mapper.fit_transform(X, y, X_target=X_target)
    np.testing.assert_array_equal(mapper.transform_source(X), mapped)
    assert_within_rounding(mapper.transform_source(X[7:9]), mapped[7:9])
    new = X[:3] + 1e-3
    expected = (
        new @ mapper.coef_ + mapper.intercept_ if method == "linear" else mapped[:3] + (new - X[:3])
    )
    np.testing.assert_allclose(mapper.transform_source(new), expected, rtol=1e-12)


def test_the_nearest_row_is_found_in_blocks_and_far_from_zero():
    X, y, X_target, _ = domains()
    X, X_target = X + 1e7, X_target + 1e7
    mapper = OptimalTransportMapper("exact")
    mapped = mapper.fit_transform(X, X_target=X_target)
    np.testing.assert_array_equal(mapper.transform_source(X), mapped)
    n_copies = 4_400_000 // len(X) ** 2  # more distances than one block holds
    many = mapper.transform_source(np.tile(X, (n_copies, 1)))
    np.testing.assert_array_equal(many, np.tile(mapped, (n_copies, 1)))


@pytest.mark.parametrize("method", METHODS)
def test_equal_rows_have_one_image(method):
    X, y, X_target, _ = domains(20, 15)
    X = np.vstack([X, X, X[:5]])
    y = np.concatenate([y, 1 - y, y[:5]])
    mapper = OptimalTransportMapper(method)
    mapped = mapper.fit_transform(X, y, X_target=X_target)
    assert_within_rounding(mapped[:5], mapped[40:])
    assert_within_rounding(mapped[:20], mapped[20:40])
    np.testing.assert_array_equal(mapper.transform_source(X), mapped)
    assert_within_rounding(mapper.transform_source(X[:1]), mapped[:1])
    np.testing.assert_allclose(mapped.mean(axis=0), X_target.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-60, 1e-3, 1e6, 1e60])
def test_the_scale_of_the_columns_does_not_matter(method, scale):
    X, y, X_target, _ = domains()
    mapped = OptimalTransportMapper(method).fit_transform(X, y, X_target=X_target)
    scaled = OptimalTransportMapper(method)
    other = scaled.fit_transform(scale * X, y, X_target=scale * X_target)
    np.testing.assert_allclose(other / scale, mapped, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e100, 1e200])
def test_linear_takes_very_large_and_very_small_rows(scale):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(40, 3)), rng.normal(size=(30, 3)) @ rng.normal(size=(3, 3)) + 1
    mapper = OptimalTransportMapper("linear")
    expected = mapper.fit_transform(X, X_target=X_target)
    mapped = mapper.fit_transform(scale * X, X_target=scale * X_target) / scale
    np.testing.assert_allclose(mapped, expected, atol=1e-8)


# --- many samples ----------------------------------------------------------------------


def turned(n, seed=0):
    """Return two classes in each domain, and the places where source samples belong."""
    rng = np.random.default_rng(seed)
    y, y_target = np.arange(n) % 3, rng.integers(0, 3, n)
    centers, turn = 2.0 * rng.normal(size=(3, 4)), 0.2 * rng.normal(size=(4, 4))
    turn = 0.9 * np.eye(4) + (turn + turn.T) / 2
    X, X_target = centers[y] + rng.normal(size=(n, 4)), centers[y_target] + rng.normal(size=(n, 4))
    return X, y, X_target @ turn + 1.5, y_target, X @ turn + 1.5


@pytest.mark.parametrize(
    ("method", "n"), [("exact", 1200), ("sinkhorn", 1200), ("group_lasso", 400)]
)
def test_a_plan_of_some_samples_comes_close_to_that_of_all(method, n):
    """Fails where other samples than those of the plan stay, or move to the wrong places."""
    X, y, X_target, y_target, places = turned(n)
    all_of_them = OptimalTransportMapper(method, max_samples=None, tol=1e-4)
    some = OptimalTransportMapper(method, max_samples=n // 4, tol=1e-4)
    errors, scores, gaps = [], [], [mmd(X, X_target)]
    for mapper in (all_of_them, some):
        mapped = mapper.fit_transform(X, y, X_target=X_target)
        errors.append(np.linalg.norm(mapped - places) / np.linalg.norm(X - places))
        scores.append(LogisticRegression().fit(mapped, y).score(X_target, y_target))
        gaps.append(mmd(mapped, X_target))
        np.testing.assert_array_equal(mapper.transform_source(X), mapped)
    plain = LogisticRegression().fit(X, y).score(X_target, y_target)
    assert errors[0] < errors[1] < min(2 * errors[0], 0.8)
    assert scores[1] > scores[0] - 0.06
    assert min(scores) > plain
    assert gaps[2] < 0.3 * gaps[0]
    assert all_of_them.plan_shape_ == (n, n) == all_of_them.plan_.shape
    assert (some.plan_shape_, some.plan_) == ((n // 4, n // 4), None)
    assert some.marginal_error_ < 1e-4
    assert some.transport_cost_ == pytest.approx(all_of_them.transport_cost_, rel=0.25)
    assert len(pickle.dumps(some)) < 0.1 * len(pickle.dumps(all_of_them))


def test_samples_of_the_plan_have_the_images_of_the_plan(monkeypatch):
    X, y, X_target, *_ = turned(90)
    mapper = OptimalTransportMapper("exact", max_samples=40)
    mapped = mapper.fit_transform(X, X_target=X_target)
    at_target = cdist(mapped, X_target).min(axis=1) < 1e-9
    assert at_target.sum() == 40
    alone = OptimalTransportMapper("exact", max_samples=40)
    targets = np.unique(cdist(mapped[at_target], X_target).argmin(axis=1))
    alone.fit(X[at_target], X_target=X_target[targets])
    np.testing.assert_allclose(alone.transform_source(X), mapped)
    other = clone(mapper).set_params(random_state=1).fit_transform(X, X_target=X_target)
    assert np.abs(other - mapped).max() > 0.1
    np.testing.assert_array_equal(clone(mapper).fit_transform(X, X_target=X_target), mapped)


@pytest.mark.parametrize(
    ("sizes", "most", "shape"),
    [
        ((40, 50), 2000, (40, 50)),
        ((40, 51), 2000, (40, 50)),
        ((90, 90), 900, (30, 30)),
        ((90, 9), 450, (50, 9)),
        ((9, 90), 450, (9, 50)),
    ],
)
def test_auto_takes_all_samples_below_its_size(sizes, most, shape, monkeypatch):
    monkeypatch.setitem(_optimal_transport.MOST_PAIRS, "sinkhorn", most)
    X, y, X_target, _ = domains(*sizes)
    auto = fitted("sinkhorn", X, y, X_target)
    assert auto.plan_shape_ == shape
    if shape == sizes:
        everything = fitted("sinkhorn", X, y, X_target, max_samples=None)
        np.testing.assert_array_equal(auto.plan_, everything.plan_)
    assert fitted("linear", X, y, X_target, max_samples=3).plan_shape_ is None


def test_target_samples_with_a_known_label_are_drawn_first():
    is_known = np.arange(60) % 9 == 4
    mapper = OptimalTransportMapper("group_lasso", max_samples=20)
    drawn, target_drawn = mapper._draw(60, is_known)
    assert len(drawn) == len(target_drawn) == 20
    assert np.isin(np.flatnonzero(is_known), target_drawn).all()
    few = OptimalTransportMapper("group_lasso", max_samples=3)._draw(60, is_known)[1]
    assert is_known[few].all()


def test_costs_that_overflow_are_refused():
    X, y, X_target, _ = domains()
    with pytest.raises(ValueError, match="sqeuclidean distances .* not finite. Scale the columns"):
        OptimalTransportMapper().fit(X * 1e200, X_target=X_target)
    with pytest.raises(ValueError, match="cosine distances .* leave out rows of zeros"):
        OptimalTransportMapper(metric="cosine").fit(X, X_target=np.zeros((2, 3)))


@pytest.mark.parametrize("method", METHODS)
def test_one_row_of_each_domain_and_rows_in_one_place(method):
    mapper = OptimalTransportMapper(method)
    mapped = mapper.fit_transform([[1.0, 2.0]], [0], X_target=[[5.0, 7.0]])
    np.testing.assert_allclose(mapped, [[5.0, 7.0]])
    place = np.ones((4, 2))
    mapped = mapper.fit_transform(place, [0, 1, 0, 1], X_target=np.ones((3, 2)))
    np.testing.assert_allclose(mapped, place)
    mapped = mapper.fit_transform(place, [0, 1, 0, 1], X_target=np.full((3, 2), 9.0))
    np.testing.assert_allclose(mapped, 9 * place)


def test_a_median_cost_of_zero_gives_way_to_the_mean():
    X = np.r_[np.zeros(9), 1.0][:, None]
    mapper = OptimalTransportMapper().fit(X, X_target=X)
    assert mapper.cost_scale_ == pytest.approx(18 / 100)


@pytest.mark.parametrize("method", METHODS)
def test_fitting_twice_is_fitting_once(method):
    X, y, X_target, y_target = domains()
    mapper = OptimalTransportMapper(method)
    before = mapper.get_params()
    known = {"X_target": X_target, "y_target": y_target}
    first = mapper.fit_transform(X, y, **known)
    cost, other = mapper.transport_cost_, mapper.fit(X_target, y_target, X_target=X, y_target=y)
    assert other is mapper
    np.testing.assert_array_equal(mapper.fit_transform(X, y, **known), first)
    assert mapper.transport_cost_ == cost
    assert mapper.get_params() == before


@pytest.mark.parametrize("method", METHODS)
def test_arguments_stay_as_they_are_and_nothing_is_printed(method, capfd):
    X, y, X_target, y_target = domains()
    given = [X, y, X_target, y_target.astype(float)]
    copies = [a.copy() for a in given]
    for array in given:
        array.setflags(write=False)
    mapper = OptimalTransportMapper(method)
    mapped = mapper.fit_transform(X, y, X_target=X_target, y_target=given[3])
    mapped[:] = 0  # what is returned is the caller's
    assert mapper.transform_source(X).any()
    mapper.transform(X_target)[:] = 0
    for array, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", PLANS)
def test_a_solver_that_was_stopped_says_so_by_our_warning(method, capfd):
    X, y, X_target, _ = domains()
    with pytest.warns(ConvergenceWarning) as caught:
        mapper = fitted(method, X, y, X_target, entropy=0.01, max_iter=2)
    assert [type(w.message) for w in caught] == [ConvergenceWarning]
    assert f"method='{method}'" in str(caught[0].message)
    assert "Raise max_iter" in str(caught[0].message)
    assert caught[0].filename == __file__
    if method != "exact":
        assert f"{mapper.marginal_error_:.1e} of the mass" in str(caught[0].message)
        assert mapper.marginal_error_ > 1e-6
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("held", ["target", "source"])
def test_behind_a_scaler_with_either_domain_held(method, held):
    """Without the mapper the model fails here, and so it would with one map for both domains."""
    X, y, *_ = domains(80)
    X_target = X * 0.5 + 6.0 + np.random.default_rng(1).normal(scale=0.1, size=X.shape)
    y_target = y
    mapper = OptimalTransportMapper(method)
    pipeline = make_pipeline(StandardScaler(), mapper, KNeighborsClassifier(1))
    plain = make_pipeline(StandardScaler(), KNeighborsClassifier(1)).fit(X, y)
    assert plain.score(X_target, y_target) < 0.6
    if held == "target":
        model = WithTarget(pipeline, X_target=X_target).fit(X, y)
    else:
        model = WithSource(pipeline, X, y, use_y=False).fit(X_target, y_target)
    assert model.score(X_target, y_target) > 0.95
    scaler = StandardScaler().fit(X)
    by_hand = clone(mapper)
    mapped = by_hand.fit_transform(scaler.transform(X), y, X_target=scaler.transform(X_target))
    inner = model.estimator_[1]
    np.testing.assert_array_equal(inner.transform_source(scaler.transform(X)), mapped)
    nearest = KNeighborsClassifier(1).fit(mapped, y)
    np.testing.assert_array_equal(
        model.predict(X_target), nearest.predict(scaler.transform(X_target))
    )


def test_a_search_over_methods_scores_on_the_target():
    X, y, X_target, y_target = domains(60, 60)
    names, target_names = np.array(["a", "b"])[y], np.array(["a", "b"])[y_target]
    pipeline = make_pipeline(StandardScaler(), OptimalTransportMapper(), LogisticRegression())
    search = GridSearchCV(
        WithSource(pipeline, X, names),
        {
            "estimator__optimaltransportmapper__method": list(METHODS),
            "estimator__optimaltransportmapper__tol": [1e-6, 1e-3],
        },
        cv=3,
        error_score="raise",
    )
    search.fit(X_target, target_names)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_frames_names_and_containers():
    X, y, X_target, _ = domains()
    frame = pd.DataFrame(X, columns=["a", "b", "c"], index=np.arange(len(X)) + 100)
    target = pd.DataFrame(X_target, columns=["a", "b", "c"])[["c", "a", "b"]]
    mapper = OptimalTransportMapper("exact").set_output(transform="pandas")
    mapped = mapper.fit_transform(frame, X_target=target)
    assert list(mapped.columns) == ["a", "b", "c"] == list(mapper.get_feature_names_out())
    np.testing.assert_array_equal(mapped.index, frame.index)
    assert isinstance(mapper.transform(target[["a", "b", "c"]]), pd.DataFrame)
    pd.testing.assert_frame_equal(mapper.transform_source(frame), mapped)
    plain = OptimalTransportMapper("exact").fit_transform(X, X_target=X_target)
    np.testing.assert_array_equal(mapped.to_numpy(), plain)


@pytest.mark.parametrize("method", METHODS)
def test_pickles_files_and_clones(method, tmp_path):
    X, y, X_target, _ = domains()
    mapper = fitted(method, X, y, X_target)
    skltransfer.save(mapper, tmp_path / "mapper.skl")
    new = X[:5] + 0.1
    for copy in (
        pickle.loads(pickle.dumps(mapper)),
        skltransfer.load(tmp_path / "mapper.skl"),
        clone(mapper).fit(X, y, X_target=X_target),
    ):
        np.testing.assert_array_equal(copy.transform_source(new), mapper.transform_source(new))
        np.testing.assert_array_equal(copy.transform(new), new)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "emd"}, "method='emd' is not one of 'exact', 'sinkhorn'"),
        ({"entropy": 0.0}, "entropy=0.0 is not a number greater than 0"),
        ({"group_regularization": -1}, "group_regularization=-1 is not"),
        ({"group_regularization": np.inf}, "group_regularization=inf is not"),
        ({"metric": "hamming"}, "metric='hamming' is not one of"),
        ({"cost_scale": "mean"}, "cost_scale='mean' is not one of 'median', 'max', None"),
        ({"shrinkage": -0.1}, "shrinkage=-0.1 is not"),
        ({"max_samples": 0}, "max_samples=0 is not an integer of at least 1 or 'auto' or None"),
        ({"max_iter": 0}, "max_iter=0 is not an integer of at least 1 or None"),
        ({"tol": -1}, "tol=-1 is not a number of at least 0"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, message):
    with pytest.raises(ValueError, match=message):
        OptimalTransportMapper(**settings).fit([[0.0]], X_target=[[1.0]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"y": None}, "method='group_lasso' groups source rows by class and needs y"),
        ({"y": [0, 1, 0]}, "inconsistent numbers of samples"),
        ({"y": [0.0, 1.0, np.nan, 0.0]}, "labels of the source have to be known"),
        ({"y": np.zeros((4, 2))}, "y should be a 1d array"),
        ({"y_target": [0, 1]}, "y_target has 2 entries, but X_target has 3 rows"),
        ({"y_target": ["a", "b", None]}, "no class in common"),
        ({"X_target": np.ones((3, 5))}, "X_target has 5 features"),
        ({"X_target": np.ones((0, 2))}, "X_target has 0 rows"),
        ({"X_target": np.full((3, 2), np.nan)}, "X_target contains NaN"),
        ({"X_target": None, "y_target": [0]}, "y_target was given without X_target"),
    ],
)
def test_bad_data_are_refused_by_name(data, message):
    X = np.arange(8.0).reshape(4, 2)
    given = {"y": [0, 1, 0, 1], "X_target": np.ones((3, 2)), **data}
    with pytest.raises(ValueError, match=message):
        OptimalTransportMapper("group_lasso").fit(X, **given)


def test_pot_loads_no_other_framework(tmp_path):
    """In a fresh process: no framework is imported, and the environment stays as it was."""
    for name in ("jax", "tensorflow", "cupy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    code = """
import os, sys
os.environ["POT_BACKEND_DISABLE_CUPY"] = "yes"
before = dict(os.environ)
from skltransfer import OptimalTransportMapper
mapped = OptimalTransportMapper("exact").fit_transform([[0.0], [1.0]], X_target=[[5.0], [6.0]])
assert mapped.tolist() == [[5.0], [6.0]]
assert "ot" in sys.modules
assert not {"torch", "jax", "tensorflow", "cupy"} & set(sys.modules)
assert dict(os.environ) == before
"""
    folders = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": folders}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_without_pot_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "ot"]:
        monkeypatch.delitem(sys.modules, name)
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "ot":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r'pip install "skltransfer\[ot\]"'):
        OptimalTransportMapper().fit([[0.0]], X_target=[[1.0]])
    with pytest.warns(DomainDataWarning):  # what needs no POT does without
        OptimalTransportMapper().fit([[0.0]])
