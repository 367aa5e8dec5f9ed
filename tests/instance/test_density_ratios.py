"""KLIEPReweighter and ULSIFReweighter: weights, choices, and what they refuse."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KNeighborsClassifier

from skltransfer import (
    DomainDataWarning,
    EffectiveSampleSizeWarning,
    KLIEPReweighter,
    ULSIFReweighter,
    WithSource,
    load,
    save,
)
from tests._solvers.test_kliep import kernel

BOTH = [KLIEPReweighter(), ULSIFReweighter(), ULSIFReweighter(alpha=0.3)]
ids = pytest.mark.parametrize("reweighter", BOTH, ids=str)


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    return rng.normal(size=(120, 3)), rng.normal([0.8, 0, 0], 0.7, size=(90, 3))


def weighted_mean(X, reweighter):
    return np.average(X, axis=0, weights=reweighter.sample_weight_)


# --- the ratio -------------------------------------------------------------------------


@ids
def test_weights_move_the_source_to_the_target(domains, reweighter):
    """Fails if the ratio is constant, and if it is inverted."""
    X, X_target = domains
    reweighter.fit(X, X_target=X_target)
    goal = X_target.mean(axis=0)
    before = np.linalg.norm(X.mean(axis=0) - goal)
    assert np.linalg.norm(weighted_mean(X, reweighter) - goal) < 0.6 * before
    assert reweighter.sample_weight_.std() > 0.3
    assert reweighter.sample_weight_.sum() == pytest.approx(len(X))
    assert reweighter.effective_sample_size_ < 0.9 * len(X)


@pytest.mark.parametrize(
    "reweighter",
    [
        *(KLIEPReweighter(gamma=gamma, n_centers=40) for gamma in (0.05, 0.7)),
        *(
            ULSIFReweighter(gamma=0.7, regularization=reg, alpha=a)
            for reg in (0.1, 1.0)
            for a in (0, 0.01)
        ),
    ],
    ids=str,
)
def test_the_ratio_is_the_sum_of_kernels(domains, reweighter):
    X, X_target = domains
    unseen = np.random.default_rng(1).normal(size=(5000, 3))
    reweighter.fit(X, X_target=X_target)
    expected = kernel(unseen, reweighter.centers_, reweighter.gamma_) @ reweighter.coef_
    np.testing.assert_allclose(reweighter.density_ratio(unseen), expected, rtol=1e-9)
    ratio = reweighter.density_ratio(X)
    np.testing.assert_allclose(reweighter.sample_weight_, ratio / ratio.mean(), rtol=1e-12)
    assert (reweighter.coef_ >= 0).all()


def test_kliep_is_certified_and_says_what_it_reached(domains):
    X, X_target = domains
    kliep = KLIEPReweighter().fit(X, X_target=X_target)
    assert kliep.density_ratio(X).mean() == pytest.approx(1, abs=1e-12)
    reached = np.log(kliep.density_ratio(X_target)).mean()
    assert kliep.objective_ == pytest.approx(reached, abs=1e-12)
    assert 0 < kliep.objective_
    # The gradient of the mean log-ratio is nowhere above the multiplier's.
    K = kernel(X_target, kliep.centers_, kliep.gamma_)
    slope = (K / (K @ kliep.coef_)[:, None]).mean(axis=0)
    bound = slope / kernel(X, kliep.centers_, kliep.gamma_).mean(axis=0)
    assert bound.max() - 1 <= 1e-6
    assert bound.max() - 1 == pytest.approx(kliep.dual_gap_, abs=1e-12)


def test_ulsif_is_its_closed_form(domains):
    X, X_target = domains
    for alpha in (0.0, 0.4):
        ulsif = ULSIFReweighter(alpha=alpha, gamma=0.5, regularization=0.2, n_centers=25)
        ulsif.fit(X, X_target=X_target)
        S, T = (kernel(rows, ulsif.centers_, 0.5) for rows in (X, X_target))
        H = (1 - alpha) * S.T @ S / len(S) + alpha * T.T @ T / len(T)
        theta = np.maximum(np.linalg.solve(H + 0.2 * np.eye(25), T.mean(axis=0)), 0)
        np.testing.assert_allclose(ulsif.coef_, theta, rtol=1e-8, atol=1e-12)
        error = theta @ H @ theta / 2 - T.mean(axis=0) @ theta
        assert ulsif.objective_ == pytest.approx(error, rel=1e-9)


def test_the_relative_ratio_is_bounded():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(1000, 1)), rng.normal(2.0, 0.3, size=(500, 1))
    everywhere = np.linspace(-5, 8, 500)[:, None]
    plain = ULSIFReweighter().fit(X, X_target=X_target)
    assert plain.density_ratio(everywhere).max() > 10
    sizes = [plain.effective_sample_size_]
    for alpha in (0.1, 0.5, 0.9):
        relative = ULSIFReweighter(alpha=alpha).fit(X, X_target=X_target)
        largest = relative.density_ratio(everywhere).max()
        assert 0.5 / alpha < largest <= 1 / alpha
        sizes.append(relative.effective_sample_size_)
    assert sizes == sorted(sizes)


@ids
@pytest.mark.parametrize("n_features", [1, 2, 10])
def test_equal_domains_need_no_weights(reweighter, n_features):
    X = np.random.default_rng(0).normal(size=(500, n_features))
    weights = reweighter.fit(X, X_target=X[::-1]).sample_weight_
    assert np.abs(weights - 1).mean() < 0.05
    assert reweighter.effective_sample_size_ > 0.98 * len(X)


# --- rows and weights ------------------------------------------------------------------


@ids
def test_row_order_is_irrelevant(domains, reweighter):
    X, X_target = domains
    rng = np.random.default_rng(3)
    order, target_order = rng.permutation(len(X)), rng.permutation(len(X_target))
    first = clone(reweighter).fit(X, X_target=X_target)
    second = clone(reweighter).fit(X[order], X_target=X_target[target_order])
    # Up to the rounding of the sum that they are scaled to.
    np.testing.assert_allclose(first.sample_weight_[order], second.sample_weight_, rtol=1e-14)
    np.testing.assert_array_equal(first.coef_, second.coef_)
    np.testing.assert_array_equal(first.scores_, second.scores_)
    np.testing.assert_array_equal(first.centers_, second.centers_)


@ids
@pytest.mark.parametrize("n_target", [40, 90])
def test_a_weight_of_two_is_a_repeated_row(domains, reweighter, n_target):
    X, X_target = domains
    X_target = X_target[:n_target]
    counts = np.arange(len(X)) % 3
    repeated_rows = np.repeat(X, counts, axis=0)
    weighted = clone(reweighter).fit(X, sample_weight=counts, X_target=X_target)
    repeated = clone(reweighter).fit(repeated_rows, X_target=X_target)
    assert weighted.gamma_ == repeated.gamma_
    np.testing.assert_allclose(weighted.scores_, repeated.scores_, rtol=1e-12)
    rows = np.repeat(np.arange(len(X)), counts)
    np.testing.assert_allclose(
        weighted.sample_weight_,
        np.bincount(rows, weights=repeated.sample_weight_, minlength=len(X)),
        rtol=1e-12,
    )
    plain = clone(reweighter).fit(X, X_target=X_target)
    assert np.abs(weighted.density_ratio(X) - plain.density_ratio(X)).max() > 0.03


@ids
@pytest.mark.parametrize("scale", [1e-6, 0.37, 1e12])
def test_any_scale_of_weights_works(domains, reweighter, scale):
    X, X_target = domains
    weights = np.random.default_rng(0).uniform(0.1, 3, size=len(X))
    reweighter.fit(X, sample_weight=scale * weights, X_target=X_target)
    assert reweighter.sample_weight_.sum() == pytest.approx(scale * weights.sum())
    assert np.isfinite(reweighter.scores_).all()
    goal = X_target.mean(axis=0)
    before = np.linalg.norm(np.average(X, axis=0, weights=weights) - goal)
    assert np.linalg.norm(weighted_mean(X, reweighter) - goal) < 0.7 * before


@ids
def test_repeated_target_rows_count_and_are_one_centre(domains, reweighter):
    X, X_target = domains
    repeated = np.repeat(X_target, 1 + 4 * (X_target[:, 0] > 1), axis=0)
    reweighter.fit(X, X_target=repeated)
    assert len(np.unique(reweighter.centers_, axis=0)) == len(reweighter.centers_) <= len(X_target)
    high = weighted_mean(X, reweighter)[0]
    assert high > weighted_mean(X, clone(reweighter).fit(X, X_target=X_target))[0] + 0.1


@ids
def test_centres_are_target_rows_drawn_by_the_seed(domains, reweighter):
    X, X_target = domains
    target = {tuple(row) for row in X_target}
    drawn = {}
    for seed in (0, 1):
        fitted = clone(reweighter).set_params(n_centers=30, random_state=seed)
        centers = fitted.fit(X, X_target=X_target).centers_
        assert centers.shape == (30, 3)
        drawn[seed] = {tuple(row) for row in centers}
        assert len(drawn[seed]) == 30
        assert drawn[seed] <= target
    assert drawn[0] != drawn[1]


@ids
@pytest.mark.parametrize(
    ("X", "X_target"),
    [
        (np.arange(12.0)[:, None], [[3.0]]),
        (np.arange(12.0)[:, None], [[3.0], [4.0]]),
        (np.arange(12.0)[:, None], [[3.0], [4.0], [3.0]]),
        (np.ones((1, 2)), np.arange(20.0).reshape(10, 2)),
        (np.ones((1, 1)), np.ones((1, 1))),
        (np.ones((9, 2)), np.ones((4, 2))),
        (np.zeros((9, 2)), np.ones((4, 2))),
        (np.repeat([[0.0], [1.0]], 20, axis=0), np.repeat([[0.0], [1.0]], [5, 30], axis=0)),
        (np.arange(12.0)[:, None] * 1e100, np.arange(9.0)[:, None] * 1e100),
        (np.arange(12.0)[:, None] * 1e-100, np.arange(9.0)[:, None] * 1e-100),
        (np.arange(12.0)[:, None], np.append(np.arange(9.0), 1e15)[:, None]),
    ],
)
@pytest.mark.parametrize("n_centers", [1, 100])
def test_few_rows_and_odd_rows(reweighter, X, X_target, n_centers):
    fitted = clone(reweighter).set_params(n_centers=n_centers).fit(X, X_target=X_target)
    assert np.isfinite(fitted.sample_weight_).all()
    assert fitted.sample_weight_.sum() == pytest.approx(len(X))
    assert np.isfinite(fitted.coef_).all()
    for rows in (X_target, np.asarray(X) + 1e3, np.full_like(X, 1e200)):
        assert np.isfinite(fitted.density_ratio(rows)).all()
    if n_centers > 1 and len(X) == 40:  # two values, whose share is known
        ratio = fitted.density_ratio([[0.0], [1.0]])
        assert ratio[1] > 1.2 * ratio[0]


def test_one_target_row_leaves_nothing_to_hold_out(domains):
    X, X_target = domains
    for reweighter in (KLIEPReweighter(), ULSIFReweighter()):
        reweighter.fit(X, X_target=X_target[:1])
        assert np.isnan(reweighter.scores_).all()
        assert reweighter.gamma_ == reweighter.gammas_[2]
    assert reweighter.regularization_ == 0.1


@ids
def test_domains_far_apart_warn_or_say_what_to_do(domains, reweighter):
    X, X_target = domains
    far = clone(reweighter).set_params(gamma=1.0)
    if isinstance(far, KLIEPReweighter):  # in logarithms no kernel vanishes
        with pytest.warns(EffectiveSampleSizeWarning, match="effective sample of"):
            far.fit(X, X_target=X_target + 100)
        assert np.isfinite(far.density_ratio(X_target + 100)).all()
    else:
        with pytest.raises(ValueError, match="finds no row of X that resembles X_target"):
            far.fit(X, X_target=X_target + 100)


@ids
def test_nothing_given_is_changed(domains, reweighter):
    X, X_target = (array.copy() for array in domains)
    weights = np.linspace(0, 2, len(X))
    for array in (X, X_target, weights):
        array.flags.writeable = False
    gamma = [0.1, 1.0]
    model = clone(reweighter).set_params(estimator=Ridge(), gamma=gamma)
    model.fit(X, X[:, 0], weights, X_target=X_target).density_ratio(X)
    assert not hasattr(model.estimator, "coef_")
    assert gamma == [0.1, 1.0]
    assert model.gamma is gamma


def test_no_global_random_numbers_are_used(domains):
    X, X_target = domains
    state = np.random.get_state()[1].copy()
    for reweighter in BOTH:
        reweighter.fit(X, X_target=X_target)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


# --- choosing --------------------------------------------------------------------------


def test_kliep_chooses_the_width_by_rows_held_out():
    """With rows that repeat nowhere the narrowest kernel fits best and predicts worst."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(200, 2)), rng.normal(0.5, 0.8, size=(100, 2))
    gammas = [0.1, 0.5, 1000.0]
    kliep = KLIEPReweighter(gamma=gammas).fit(X, X_target=X_target)
    fits = [KLIEPReweighter(gamma=g).fit(X, X_target=X_target).objective_ for g in gammas]
    assert np.argmax(fits) == 2
    assert kliep.gamma_ == gammas[np.argmax(kliep.scores_)] != 1000.0
    np.testing.assert_array_equal(kliep.gammas_, gammas)


def test_splits_are_of_the_targets_rows_as_given(domains):
    """A wrong order, or source rows in place of the target's, changes the scores."""
    X, X_target = domains
    splits = list(KFold(3).split(X_target))
    scores = []
    for gamma in (0.2, 1.0):
        held_out = []
        for fitted, held in splits:
            part = KLIEPReweighter(gamma=gamma, tol=1e-10).fit(X, X_target=X_target[fitted])
            held_out.append(np.log(part.density_ratio(X_target[held])))
        scores.append(np.concatenate(held_out).mean())
    for cv in (splits, iter(splits), KFold(3)):
        kliep = KLIEPReweighter(gamma=[0.2, 1.0], cv=cv, tol=1e-10).fit(X, X_target=X_target)
        np.testing.assert_allclose(kliep.scores_, scores, atol=1e-6)


@pytest.mark.filterwarnings("ignore::skltransfer.EffectiveSampleSizeWarning")
def test_ulsif_chooses_the_smallest_error(domains):
    X, X_target = domains
    ulsif = ULSIFReweighter(gamma=[0.1, 1.0, 50.0], regularization=[1e-4, 0.1, 5.0])
    ulsif.fit(X, X_target=X_target)
    assert ulsif.scores_.shape == (3, 3)
    best = np.unravel_index(ulsif.scores_.argmax(), (3, 3))
    assert (ulsif.gamma_, ulsif.regularization_) == (
        ulsif.gammas_[best[0]],
        ulsif.regularizations_[best[1]],
    )
    # It predicts unseen rows better than the extremes.
    rng = np.random.default_rng(1)
    unseen, unseen_target = rng.normal(size=(5000, 3)), rng.normal([0.8, 0, 0], 0.7, (5000, 3))

    def error(model):
        model.fit(X, X_target=X_target)
        on_target = model.density_ratio(unseen_target).mean()
        return (model.density_ratio(unseen) ** 2).mean() / 2 - on_target

    for gamma, reg in ((0.1, 1e-4), (50.0, 5.0)):
        assert error(ulsif) < error(ULSIFReweighter(gamma=gamma, regularization=reg)) - 0.1


@pytest.mark.parametrize("grid", [(0.3, 2.0), [0.3, 2.0], np.array([0.3, 2.0])])
def test_forms_of_a_grid(domains, grid):
    X, X_target = domains
    for reweighter in (
        KLIEPReweighter(gamma=grid),
        ULSIFReweighter(gamma=grid, regularization=grid),
    ):
        reweighter.fit(X, X_target=X_target)
        np.testing.assert_array_equal(reweighter.gammas_, [0.3, 2.0])
        assert np.isfinite(reweighter.scores_).all()


def test_a_single_candidate_is_not_scored(domains):
    X, X_target = domains
    for reweighter in (
        KLIEPReweighter(gamma="median"),
        ULSIFReweighter(gamma="median", regularization=1),
    ):
        reweighter.fit(X, X_target=X_target)
        assert np.isnan(reweighter.scores_).all()
        assert reweighter.scores_.size == 1


# --- as an estimator -------------------------------------------------------------------


@ids
def test_the_estimator_is_fitted_with_the_weights(domains, reweighter):
    X, X_target = domains
    y = X[:, 0] ** 2
    model = clone(reweighter).set_params(estimator=Ridge()).fit(X, y, X_target=X_target)
    expected = Ridge().fit(X, y, sample_weight=model.sample_weight_)
    np.testing.assert_array_equal(model.predict(X_target), expected.predict(X_target))
    truth = X_target[:, 0] ** 2
    assert model.score(X_target, truth) > Ridge().fit(X, y).score(X_target, truth) + 0.2


@ids
def test_copies_and_files_give_the_same_ratio(domains, reweighter, tmp_path):
    X, X_target = domains
    model = clone(reweighter).set_params(estimator=Ridge()).fit(X, X[:, 0], X_target=X_target)
    save(model, tmp_path / "model.skt")
    for copy in (pickle.loads(pickle.dumps(model)), load(tmp_path / "model.skt")):
        np.testing.assert_array_equal(copy.density_ratio(X), model.density_ratio(X))


@ids
def test_a_search_on_the_target_reaches_the_parameters(domains, reweighter):
    X, X_target = domains
    model = WithSource(clone(reweighter).set_params(estimator=Ridge()), X, X[:, 0] ** 2)
    model.set_params(use_y=False)
    grid = {"estimator__gamma": ["cv", "median", [0.1, 1.0]], "estimator__n_centers": [5, 50]}
    search = GridSearchCV(model, grid, cv=3, error_score="raise")
    search.fit(X_target, X_target[:, 0] ** 2)
    assert len(np.unique(search.cv_results_["mean_test_score"])) > 3


@ids
def test_a_fit_without_target_forgets_the_ratio(domains, reweighter):
    X, X_target = domains
    model = clone(reweighter).fit(X, X_target=X_target)
    with pytest.warns(DomainDataWarning, match="was given no X_target"):
        model.fit(X)
    np.testing.assert_array_equal(model.sample_weight_, 1)
    np.testing.assert_array_equal(model.density_ratio(X), 1)
    assert not hasattr(model, "coef_")
    assert not hasattr(model, "gamma_")


# --- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reweighter", "message"),
    [
        *(
            (
                kind(gamma=gamma),
                "gamma=.* is not a finite number .*a list of .* or 'cv' or 'median'",
            )
            for kind in (KLIEPReweighter, ULSIFReweighter)
            for gamma in ("scale", 0, -1.0, np.nan, np.inf, None, True, [], [1.0, -1.0], ["cv"])
        ),
        (ULSIFReweighter(gamma=np.ones((2, 2))), "gamma=array"),
        (
            ULSIFReweighter(regularization="median"),
            "regularization='median' is not .* or 'cv'",
        ),
        (ULSIFReweighter(regularization=[0.0]), r"regularization=\[0.0\] is not"),
        (ULSIFReweighter(alpha=1.0), r"alpha=1.0 is not a number from 0 to 1 \(excluded\)"),
        (ULSIFReweighter(alpha=-0.1), "alpha=-0.1 is not"),
        (ULSIFReweighter(alpha=np.nan), "alpha=nan is not"),
        (KLIEPReweighter(n_centers=0), "n_centers=0 is not an integer of at least 1"),
        (ULSIFReweighter(n_centers=2.0), "n_centers=2.0 is not an integer"),
        (KLIEPReweighter(cv=1), "cv=1 is not an integer of at least 2"),
        (KLIEPReweighter(cv=None), "cv=None is not an integer"),
        (KLIEPReweighter(cv="five"), "cv"),
        (KLIEPReweighter(cv=[([0, 1], [500])]), "cv splits other rows than the 90 of X_target"),
        (KLIEPReweighter(tol=0), "tol=0 is not a number greater than 0"),
        (KLIEPReweighter(max_iter=0), "max_iter=0 is not"),
        (
            ULSIFReweighter(gamma=1e-9, regularization=1e-300),
            "regularization=1.0e-300 is too small.*Raise it",
        ),
    ],
    ids=str,
)
def test_bad_parameters_are_refused_by_name(domains, reweighter, message):
    X, X_target = domains
    with pytest.raises(ValueError, match=message):
        reweighter.fit(X, X_target=X_target)


@ids
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"X_target": np.ones((4, 2))}, "X_target has 2 features.*3"),
        ({"X_target": np.ones((0, 3))}, "X_target has 0 rows"),
        ({"X_target": np.full((4, 3), np.nan)}, "Input X_target contains NaN"),
        ({"X_target": np.full((4, 3), np.inf)}, "Input X_target contains infinity"),
        ({"X_target": np.full((4, 3), 1e200)}, "too large. Scale the columns"),
        ({"X_target": np.ones((4, 3)), "sample_weight": -np.ones(120)}, "[Nn]egative"),
        ({"X_target": np.ones((4, 3)), "sample_weight": np.zeros(120)}, "weight"),
    ],
)
def test_bad_data_are_refused_by_name(domains, reweighter, data, message):
    with pytest.raises(ValueError, match=message):
        reweighter.fit(domains[0], **data)


@ids
def test_an_estimator_without_weights_is_refused(domains, reweighter):
    X, X_target = domains
    model = clone(reweighter).set_params(estimator=KNeighborsClassifier())
    with pytest.raises(TypeError, match="KNeighborsClassifier does not support sample_weight"):
        model.fit(X, X[:, 0] > 0, X_target=X_target)


def test_a_fit_that_is_not_certified_warns(domains):
    X, X_target = domains
    kliep = KLIEPReweighter(gamma=2.0, max_iter=1, tol=1e-12)
    with pytest.warns(ConvergenceWarning, match="log-ratio is certified to") as caught:
        kliep.fit(X, X_target=X_target)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert kliep.dual_gap_ > 1e-12


@ids
@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.coo_array, sparse.csc_array])
def test_sparse_rows_give_the_weights_of_dense_ones(reweighter, container):
    rng = np.random.default_rng(0)
    X, X_target = (rng.poisson(0.3, (n, 20)) * rng.uniform(0.5, 1.5, 20) for n in (90, 60))
    y, y_target = np.arange(90) % 2, np.where(np.arange(60) < 10, np.arange(60) % 2, np.nan)
    model = clone(reweighter).set_params(estimator=LogisticRegression(), n_centers=30)
    weights = np.arange(90) % 3
    model.fit(X, y, weights, X_target=X_target, y_target=y_target)
    dense, ratio, p = model.sample_weight_, model.density_ratio(X_target), model.predict_proba(X)
    given = container(X), container(X_target)
    model.fit(given[0], y, weights, X_target=given[1], y_target=y_target)
    np.testing.assert_allclose(model.sample_weight_, dense, rtol=1e-8, atol=1e-10)
    for rows in (given[1], X_target):
        np.testing.assert_allclose(model.density_ratio(rows), ratio, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(model.predict_proba(sparse.csr_array(X)), p, atol=1e-4)
