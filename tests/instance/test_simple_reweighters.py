"""What the reweighters by Gaussians, kernel densities, neighbours and a classifier share."""

import pickle
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    DiscriminativeReweighter,
    DomainDataWarning,
    EffectiveSampleSizeWarning,
    GaussianReweighter,
    KernelDensityReweighter,
    KLIEPReweighter,
    NearestNeighborsReweighter,
    SourceSelector,
    ULSIFReweighter,
    WithSource,
    WithTarget,
    load,
    save,
)
from tests.rounding import assert_within_rounding

EVERY = [
    GaussianReweighter(),
    GaussianReweighter(covariance="diag", shrinkage=0.2),
    KernelDensityReweighter(),
    KernelDensityReweighter(bandwidth="cv"),
    KernelDensityReweighter(kernel="epanechnikov", bandwidth=0.8),
    NearestNeighborsReweighter(),
    NearestNeighborsReweighter(n_neighbors=7, algorithm="brute", metric="manhattan"),
    DiscriminativeReweighter(),
    DiscriminativeReweighter(calibration="isotonic"),
    DiscriminativeReweighter(classifier=LogisticRegression(tol=1e-8), calibration=None),
]
every = pytest.mark.parametrize("reweighter", EVERY, ids=str)


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(150, 3)), rng.normal([0.8, 0, 0], 0.7, size=(80, 3))
    y, y_target = ((Z**2)[:, 0] - Z[:, 1] for Z in (X, X_target))
    return X, y, X_target, y_target


# --- what all have in common -----------------------------------------------------------


@every
def test_weights_move_the_source_mean_to_the_target(domains, reweighter):
    """Fails if the weights are constant, or the ratio is upside down."""
    X, _, X_target, _ = domains
    weights = reweighter.fit(X, X_target=X_target).sample_weight_
    before = np.linalg.norm(X.mean(axis=0) - X_target.mean(axis=0))
    after = np.linalg.norm(np.average(X, axis=0, weights=weights) - X_target.mean(axis=0))
    assert after < before / 2
    assert weights.sum() == pytest.approx(len(X))
    assert weights.min() >= 0


@every
def test_the_ratio_has_mean_one_over_the_source(reweighter):
    """Whatever the numbers of rows: the ratio itself, not only what is proportional to it."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(900, 2)), rng.normal([0.4, 0], 0.8, size=(300, 2))
    ratio = clone(reweighter).fit(X, X_target=X_target).density_ratio(X)
    assert ratio.mean() == pytest.approx(1, abs=0.15)


@every
def test_row_order_is_irrelevant(domains, reweighter):
    X, _, X_target, _ = domains
    X = np.vstack([X, X[:30]])
    counts = np.linspace(1, 2, len(X)).round(1)
    if isinstance(reweighter, DiscriminativeReweighter):
        counts = np.arange(len(X)) % 3 + 1.0
    rng = np.random.default_rng(3)
    order, target_order = rng.permutation(len(X)), rng.permutation(len(X_target))
    first = clone(reweighter).fit(X, sample_weight=counts, X_target=X_target)
    second = clone(reweighter).fit(
        X[order], sample_weight=counts[order], X_target=X_target[target_order]
    )
    np.testing.assert_allclose(first.sample_weight_[order], second.sample_weight_, rtol=1e-12)
    np.testing.assert_allclose(
        first.density_ratio(X_target), second.density_ratio(X_target), rtol=1e-12
    )


@pytest.mark.parametrize("reweighter", [GaussianReweighter(), ULSIFReweighter(), KLIEPReweighter()])
def test_row_order_is_irrelevant_to_the_last_bit(reweighter):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(3000, 2)).round(1), rng.normal(0.5, 0.8, size=(200, 2))
    weights, order = rng.uniform(0.1, 3, size=3000), rng.permutation(3000)
    fitted = clone(reweighter).fit(X, sample_weight=weights, X_target=X_target)
    moved = clone(reweighter).fit(X[order], sample_weight=weights[order], X_target=X_target)
    np.testing.assert_array_equal(moved.sample_weight_, fitted.sample_weight_[order])
    assert moved.effective_sample_size_ == fitted.effective_sample_size_


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_the_effective_sample_size_does_not_depend_on_the_scale_of_the_weights(domains, scale):
    X, _, X_target, _ = domains
    one, scaled = (
        GaussianReweighter(shrinkage=0).fit(X, sample_weight=np.full(len(X), w), X_target=X_target)
        for w in (1.0, scale)
    )
    assert scaled.effective_sample_size_ == pytest.approx(one.effective_sample_size_)


@every
def test_a_weight_of_two_is_a_repeated_row(domains, reweighter):
    X, _, X_target, _ = domains
    counts = np.arange(len(X)) % 3
    weighted = clone(reweighter).fit(X, sample_weight=counts, X_target=X_target)
    repeated = clone(reweighter).fit(np.repeat(X, counts, axis=0), X_target=X_target)
    rows = np.repeat(np.arange(len(X)), counts)
    rtol = 1e-4 if isinstance(reweighter, DiscriminativeReweighter) else 1e-9
    np.testing.assert_allclose(
        weighted.sample_weight_,
        np.bincount(rows, weights=repeated.sample_weight_, minlength=len(X)),
        rtol=rtol,
        atol=1e-12,  # weights are about 1
    )
    np.testing.assert_allclose(
        weighted.density_ratio(X), repeated.density_ratio(X), rtol=rtol, atol=1e-12
    )
    assert (weighted.sample_weight_[counts == 0] == 0).all()
    plain = clone(reweighter).fit(X, X_target=X_target)
    assert np.abs(weighted.density_ratio(X) / plain.density_ratio(X).clip(1e-9) - 1).max() > 0.01


@every
def test_one_domain_twice_needs_no_weights(domains, reweighter):
    X = domains[0]
    reweighter = clone(reweighter).fit(X, X_target=X)
    atol = 0.7 if isinstance(reweighter, DiscriminativeReweighter) else 1e-12
    np.testing.assert_allclose(reweighter.sample_weight_, 1, atol=atol)
    if not isinstance(reweighter, DiscriminativeReweighter):
        np.testing.assert_allclose(reweighter.density_ratio(X), 1, atol=1e-12)


@every
@pytest.mark.parametrize("n_source", [1, 2, 3])
@pytest.mark.parametrize("n_target", [1, 2, 3])
def test_few_rows(reweighter, n_source, n_target):
    if getattr(reweighter, "n_neighbors", "sqrt") != "sqrt":
        reweighter = clone(reweighter).set_params(n_neighbors=1)
    X, X_target = np.arange(1.0, n_source + 1)[:, None], np.arange(1.0, n_target + 1)[:, None]
    weights = clone(reweighter).fit(X, X_target=X_target).sample_weight_
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(n_source)


@every
def test_constant_and_repeated_columns(domains, reweighter):
    X, _, X_target, _ = domains
    X, X_target = (np.column_stack([Z, Z[:, 0], np.full(len(Z), 1e6)]) for Z in (X, X_target))
    fitted = clone(reweighter).fit(X, X_target=X_target)
    assert np.isfinite(fitted.sample_weight_).all()
    assert fitted.sample_weight_.std() > 0.1


@every
def test_domains_far_apart_leave_finite_weights(domains, reweighter):
    X = domains[0]
    reweighter = clone(reweighter)
    options = reweighter.get_params()
    bounded = options.get("kernel") == "epanechnikov" or options.get("calibration") == "isotonic"
    if isinstance(reweighter, NearestNeighborsReweighter) or bounded:
        with (
            warnings.catch_warnings(),
            pytest.raises(ValueError, match="finds no row of X that resembles X_target"),
        ):
            warnings.simplefilter("ignore", EffectiveSampleSizeWarning)
            reweighter.fit(X, X_target=X + 1000)
        return
    with pytest.warns(EffectiveSampleSizeWarning) as caught:
        weights = reweighter.fit(X, X_target=X + 1000).sample_weight_
    assert caught[0].filename == __file__
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(len(X))
    assert np.isfinite(reweighter.density_ratio(X + 1000)).all()
    assert np.isfinite(reweighter.density_ratio(X * 1e6)).all()


@every
def test_nothing_given_is_changed(domains, reweighter):
    arrays = [array.copy() for array in domains]
    for array in arrays:
        array.flags.writeable = False
    X, y, X_target, y_target = arrays
    model = clone(reweighter).set_params(estimator=Ridge())
    parameters = model.get_params()
    model.fit(X, y, np.ones(len(X)), X_target=X_target, y_target=y_target)
    assert {name: model.get_params()[name] for name in parameters} == parameters
    assert not hasattr(model.estimator, "coef_")


@every
def test_without_a_target_it_warns_and_fits_the_base(domains, reweighter):
    X, y, X_target, _ = domains
    model = clone(reweighter).set_params(estimator=Ridge()).fit(X, y, X_target=X_target)
    learned = set(vars(model))
    with pytest.warns(DomainDataWarning, match="was given no X_target") as caught:
        model.fit(X, y)
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(model.sample_weight_, 1)
    np.testing.assert_array_equal(model.density_ratio(X), 1)
    assert learned - vars(model).keys()
    with pytest.warns(DomainDataWarning):  # private ones are forgotten as well
        assert vars(model).keys() == vars(clone(model).fit(X, y)).keys()


@every
def test_frames_are_matched_by_name(domains, reweighter):
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    X, _, X_target, _ = domains
    plain = clone(reweighter).fit(X, X_target=X_target)
    for library in (pandas, polars):
        columns = ["a", "b", "c"]
        frame = library.DataFrame(dict(zip(columns, X.T, strict=True)))
        target = library.DataFrame(dict(zip(columns, X_target.T, strict=True)))
        fitted = clone(reweighter).fit(frame, X_target=target[["c", "a", "b"]])
        assert list(fitted.feature_names_in_) == columns
        # Columns of a frame lie in memory in another way, and products may round in another one.
        assert_within_rounding(fitted.sample_weight_, plain.sample_weight_)
        assert_within_rounding(fitted.density_ratio(target), plain.density_ratio(X_target))


@every
def test_it_survives_pickle_and_files(domains, reweighter, tmp_path):
    X, y, X_target, _ = domains
    model = clone(reweighter).set_params(estimator=Ridge()).fit(X, y, X_target=X_target)
    save(model, tmp_path / "model.skops")
    for copy in (pickle.loads(pickle.dumps(model)), load(tmp_path / "model.skops")):
        np.testing.assert_array_equal(copy.density_ratio(X_target), model.density_ratio(X_target))
        np.testing.assert_array_equal(copy.predict(X_target), model.predict(X_target))


@every
def test_around_an_estimator_in_a_pipeline(domains, reweighter):
    X, y, X_target, y_target = domains
    model = clone(reweighter).set_params(estimator=Ridge())
    pipeline = make_pipeline(StandardScaler(), model)
    with_target = WithTarget(pipeline, X_target=X_target).fit(X, y)
    scaler = StandardScaler().fit(X)
    scaled, scaled_target = scaler.transform(X), scaler.transform(X_target)
    expected = clone(model).fit(scaled, y, X_target=scaled_target)
    np.testing.assert_array_equal(with_target.predict(X_target), expected.predict(scaled_target))
    ridge = Ridge().fit(scaled, y, sample_weight=expected.sample_weight_)
    np.testing.assert_array_equal(expected.estimator_.coef_, ridge.coef_)
    assert np.abs(ridge.coef_ - Ridge().fit(scaled, y).coef_).max() > 0.01
    partial = np.where(np.arange(len(y_target)) % 4 == 0, y_target, np.nan)
    with_source = WithSource(pipeline, X_source=X, y_source=y).fit(X_target, partial)
    expected.fit(scaled, y, X_target=scaled_target, y_target=partial)
    np.testing.assert_array_equal(with_source.predict(X_target), expected.predict(scaled_target))


@pytest.mark.parametrize("reweighter", [*EVERY, SourceSelector(), KLIEPReweighter()], ids=str)
def test_words_are_refused_with_the_remedy(reweighter):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": [0.0, 1.0, 2.0], "place": ["a", "b", "a"]})
    name = type(reweighter).__name__
    remedy = rf"string to float.*make_pipeline\(encoder, {name}\(model"
    with pytest.raises(ValueError, match=remedy):
        clone(reweighter).fit(frame, X_target=frame)


@every
def test_an_estimator_without_weights_is_refused(domains, reweighter):
    X, y, X_target, _ = domains
    model = clone(reweighter).set_params(estimator=KNeighborsClassifier())
    with pytest.raises(TypeError, match="KNeighborsClassifier does not support sample_weight"):
        model.fit(X, y > 0, X_target=X_target)


@every
@pytest.mark.parametrize(
    ("X_target", "message"),
    [
        (np.ones((4, 2)), "X_target has 2 features.*3.*WithTarget"),
        (np.ones((0, 3)), "X_target has 0 rows"),
        (np.full((4, 3), np.nan), "Input X_target contains NaN"),
    ],
)
def test_bad_target_rows_are_refused(domains, reweighter, X_target, message):
    with pytest.raises(ValueError, match=message):
        clone(reweighter).fit(domains[0], X_target=X_target)


@pytest.mark.parametrize(
    ("reweighter", "message"),
    [
        (GaussianReweighter(covariance="tied"), "covariance='tied' is not one of 'full', 'diag'"),
        (GaussianReweighter(shrinkage=1.5), "shrinkage=1.5 is not a number from 0 to 1"),
        (GaussianReweighter(shrinkage="oas"), "shrinkage='oas' is not .*'ledoit_wolf'"),
        (GaussianReweighter(reg_covar=0), "reg_covar=0 is not a number greater than 0"),
        (KernelDensityReweighter(bandwidth=0), "bandwidth=0 is not a number greater than 0"),
        (KernelDensityReweighter(bandwidth="wide"), "bandwidth='wide' is not .*'scott'"),
        (KernelDensityReweighter(kernel="rbf"), "kernel='rbf' is not one of 'gaussian'"),
        (
            KernelDensityReweighter(kernel="tophat", bandwidth="cv"),
            "bandwidth='cv' needs kernel='gaussian' or 'exponential'.*bandwidth='scott'",
        ),
        (NearestNeighborsReweighter(n_neighbors=0), "n_neighbors=0 is not an integer of at least"),
        (NearestNeighborsReweighter(n_neighbors=2.5), "n_neighbors=2.5 is not .*'sqrt'"),
        (NearestNeighborsReweighter(metric="cosine"), "metric='cosine' is not one of"),
        (NearestNeighborsReweighter(algorithm="tree"), "algorithm='tree' is not one of 'auto'"),
        (
            NearestNeighborsReweighter(algorithm="kd_tree", metric="canberra"),
            "metric='canberra' needs algorithm='ball_tree', not 'kd_tree'",
        ),
        (DiscriminativeReweighter(cv=1), "cv=1 is not an integer of at least 2"),
        (DiscriminativeReweighter(calibration="beta"), "calibration='beta' is not one of"),
        (DiscriminativeReweighter(max_weight=0.5), "max_weight=0.5 is not a number"),
    ],
)
def test_bad_parameters_are_refused_by_name(domains, reweighter, message):
    X, _, X_target, _ = domains
    with pytest.raises(ValueError, match=message):
        reweighter.fit(X, X_target=X_target)


@pytest.mark.parametrize("reweighter", [*EVERY[:-1], KLIEPReweighter(gamma="median")], ids=str)
def test_huge_numbers_give_finite_weights(domains, reweighter):
    """Scales up to 1e150, time stamps, and a column that moves by 1e150 between the domains."""
    X, X_target = domains[0], domains[2]
    moved, stamps, stamps_target = X.copy(), X.copy(), X_target.copy()
    moved[:, 1] += 1e150
    stamps[:, 1], stamps_target[:, 1] = 1.7e9 + stamps[:, 1], 1.7e9 + stamps_target[:, 1]
    weights = np.where(np.arange(len(X)) % 3 == 0, 0.001, 7.0)
    plain = clone(reweighter).fit(X, sample_weight=weights, X_target=X_target).sample_weight_
    for rows, target in (
        (1e150 * X, 1e150 * X_target),
        (moved, X_target),
        (stamps, stamps_target),
        (np.hstack([X, np.full((len(X), 1), 5e15)]), np.hstack([X_target, X_target[:, :1] * 0])),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EffectiveSampleSizeWarning)
            try:
                model = clone(reweighter).fit(rows, sample_weight=weights, X_target=target)
            except ValueError as error:
                assert "finds no row of X that resembles X_target" in str(error)
                continue
        assert np.isfinite(model.sample_weight_).all()
        assert np.isfinite(model.density_ratio(target)).all()
        if rows is stamps:
            np.testing.assert_allclose(model.sample_weight_, plain, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("reweighter", [GaussianReweighter(), KernelDensityReweighter()], ids=str)
def test_sparse_rows_are_refused_with_the_remedy(domains, reweighter):
    X, X_target = sparse.coo_array(domains[0]), sparse.coo_array(domains[2])
    with pytest.raises(TypeError, match="Sparse data was passed for X, .* TruncatedSVD .*toarray"):
        clone(reweighter).fit(X, X_target=X_target)
