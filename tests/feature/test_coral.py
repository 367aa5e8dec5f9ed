"""CORAL: moments of the mapped rows, the map itself, and rows fewer than columns."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.covariance import LedoitWolf

from skltransfer import CORAL
from skltransfer._solvers._alignment import covariance_spectrum, ledoit_wolf_intensity


def two_domains(n=120, m=90, d=6, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3
    X_target = rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) - 1
    return X, X_target


def reference(X, X_target, *, added=(0.0, 0.0), kept=(1.0, 1.0)):
    """Return the paper's map, by scipy's square roots of whole matrices."""
    C_s, C_t = (
        share * np.cov(rows.T) + extra * np.eye(rows.shape[1])
        for rows, share, extra in zip((X, X_target), kept, added, strict=True)
    )
    return np.linalg.inv(sqrtm(C_s).real) @ sqrtm(C_t).real


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("d", [1, 6, 40])
def test_without_shrinkage_the_covariance_becomes_the_target_s(d):
    """Fails if the map is the identity, and if it takes the target to the source."""
    X, X_target = two_domains(d=d)
    mapped = CORAL(reg_covar=0).fit_transform(X, X_target=X_target)
    wanted = np.atleast_2d(np.cov(X_target.T))
    assert relative_error(np.atleast_2d(np.cov(mapped.T)), wanted) < 1e-8
    assert relative_error(np.atleast_2d(np.cov(X.T)), wanted) > 0.1
    np.testing.assert_allclose(mapped.mean(axis=0), X_target.mean(axis=0), rtol=1e-8)


def test_columns_of_very_different_scale_keep_their_digits():
    """Variances from 1 to 1e-12: the root from the covariance itself is wrong by 1e-4."""
    rng = np.random.default_rng(0)
    Q, R = (np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2))
    scale = np.logspace(0, -6, 4)
    X, X_target = (rng.normal(size=(200, 4)) * scale) @ Q, (rng.normal(size=(99, 4)) * scale) @ R
    mapped = CORAL(reg_covar=0).fit_transform(X, X_target=X_target)
    assert relative_error(np.cov(mapped.T), np.cov(X_target.T)) < 1e-8


@pytest.mark.parametrize("reg", [0.0, 1e-3, 1.0])
def test_the_map_is_that_of_the_paper(reg):
    X, X_target = two_domains()
    A = reference(X, X_target, added=(reg, reg))
    center, mean = X.mean(axis=0), X_target.mean(axis=0)
    mapped = CORAL(reg_covar=reg).fit_transform(X, X_target=X_target)
    np.testing.assert_allclose(mapped, (X - center) @ A + mean, rtol=1e-9, atol=1e-9)
    kept = CORAL(reg_covar=reg, match_means=False).fit_transform(X, X_target=X_target)
    np.testing.assert_allclose(kept, (X - center) @ A + center, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shrinkage", [0.3, 1.0, "ledoit_wolf"])
@pytest.mark.parametrize("n, m, d", [(120, 90, 6), (9, 90, 30), (120, 8, 30), (9, 8, 30)])
@pytest.mark.parametrize("reg", [0.0, 0.5])
def test_fewer_rows_than_columns_and_shrinkage_against_whole_matrices(n, m, d, shrinkage, reg):
    X, X_target = two_domains(n, m, d)
    alphas, added = [], []
    for rows in (X, X_target):
        alpha = LedoitWolf().fit(rows).shrinkage_ if shrinkage == "ledoit_wolf" else shrinkage
        alphas.append(1 - alpha)
        added.append(alpha * np.trace(np.cov(rows.T)) / d + reg)
    A = reference(X, X_target, added=added, kept=alphas)
    mapped = CORAL(shrinkage=shrinkage, reg_covar=reg).fit_transform(X, X_target=X_target)
    expected = (X - X.mean(axis=0)) @ A + X_target.mean(axis=0)
    assert relative_error(mapped, expected) < 1e-9


@pytest.mark.parametrize("n", [4, 20, 21, 22, 200])
def test_the_intensity_is_that_of_ledoit_and_wolf(n):
    X = np.random.default_rng(n).normal(size=(n, 20)) * np.linspace(1, 3, 20)
    X -= X.mean(axis=0)
    found = ledoit_wolf_intensity(X, covariance_spectrum(X)[0])
    assert found == pytest.approx(LedoitWolf(assume_centered=True).fit(X).shrinkage_, rel=1e-10)


@pytest.mark.parametrize("n, m", [(200, 8), (8, 200), (8, 9)])
def test_without_regularisation_a_deficient_covariance_is_inverted_where_it_has_rows(n, m):
    """The root of the source's pseudo-inverse; equal covariances as far as its rows go."""
    X, X_target = two_domains(n, m, 30)
    X[:, 3], X_target[:, 5] = 7.1, 0.1  # no variance at all
    mapped = CORAL(reg_covar=0).fit_transform(X, X_target=X_target)
    values, vectors = np.linalg.eigh(np.cov(X.T))
    rows = vectors[:, values > 1e-10]  # the directions in which source rows vary
    assert rows.shape[1] == min(n - 1, 29)
    root = sqrtm(np.cov(X_target.T)).real
    expected = root @ rows @ rows.T @ root
    np.testing.assert_allclose(np.cov(mapped.T), expected, atol=1e-6 * np.abs(expected).max())
    assert np.isfinite(mapped).all()


def test_a_domain_without_variance():
    X, X_target = two_domains()
    for reg in (0.0, 1.0):
        onto = CORAL(reg_covar=reg).fit_transform(X, X_target=np.ones((5, 6)))
        assert np.isfinite(onto).all()
        of = CORAL(reg_covar=reg).fit_transform(np.ones((5, 6)), X_target=X_target)
        np.testing.assert_allclose(of, np.tile(X_target.mean(axis=0), (5, 1)))
    np.testing.assert_array_equal(CORAL(reg_covar=0).fit_transform(X, X_target=np.ones((5, 6))), 1)


@pytest.mark.parametrize("constant", [0.1, 1000.1, 1234567.891, 1e9 + 0.1])
def test_a_constant_column_far_from_zero_has_no_direction(constant):
    """What rounding leaves of it about its mean is not blown up to the target's scale."""
    X, X_target = two_domains()
    X[:, 1] = constant
    mapped = CORAL(reg_covar=0).fit_transform(X, X_target=X_target)
    np.testing.assert_allclose(mapped.mean(axis=0), X_target.mean(axis=0), atol=1e-8)
    X[:, 1] = 0
    expected = CORAL(reg_covar=0).fit_transform(X, X_target=X_target)
    np.testing.assert_allclose(mapped, expected, atol=1e-8)


@pytest.mark.parametrize("shrinkage", [0.0, 0.3, "ledoit_wolf"])
@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e100, 1e200])
@pytest.mark.parametrize("n", [100, 4])
def test_very_large_and_very_small_rows(n, scale, shrinkage):
    X, X_target = (Z[:n] for Z in two_domains())
    coral = CORAL(reg_covar=0, shrinkage=shrinkage)
    expected = coral.fit_transform(X, X_target=X_target)
    mapped = coral.fit_transform(scale * X, X_target=scale * X_target) / scale
    np.testing.assert_allclose(mapped, expected, atol=1e-8)
    assert np.isfinite(CORAL().fit_transform(scale * X, X_target=scale * X_target)).all()


def test_wide_rows_form_no_matrix_of_their_width():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(20, 20_000)), rng.normal(size=(15, 20_000))
    aligner = CORAL().fit(X, X_target=X_target)  # 20 000 squared would be 3.2 GB
    sizes = [vectors.size for _, vectors, _ in aligner._factors]
    assert sizes == [19 * 20_000, 14 * 20_000]


def test_target_rows_stay_where_they_are():
    X, X_target = two_domains()
    aligner = CORAL().fit(X, X_target=X_target)
    np.testing.assert_array_equal(aligner.transform(X_target), X_target)
    np.testing.assert_array_equal(aligner.transform(X), X)


def test_units_matter_to_reg_covar_and_not_to_shrinkage():
    X, X_target = two_domains()
    for parameters, is_free in (({"shrinkage": 0.5, "reg_covar": 0}, True), ({}, False)):
        one = CORAL(**parameters).fit_transform(X, X_target=X_target)
        scaled = CORAL(**parameters).fit_transform(1000 * X, X_target=1000 * X_target)
        assert np.allclose(scaled, 1000 * one, rtol=1e-6) is is_free


@pytest.mark.parametrize(
    "parameters, match",
    [
        ({"shrinkage": -0.1}, "shrinkage=-0.1 is not a number from 0 to 1 or 'ledoit_wolf'"),
        ({"shrinkage": "auto"}, "shrinkage='auto'"),
        ({"reg_covar": -1}, "reg_covar=-1 is not a finite number of at least 0"),
        ({"match_means": "no"}, "match_means='no' is neither True nor False"),
        ({"reg_covar": np.inf}, "reg_covar=inf is not a finite number of at least 0"),
    ],
)
def test_parameters_out_of_range(parameters, match):
    X, X_target = two_domains()
    with pytest.raises(ValueError, match=match):
        CORAL(**parameters).fit(X, X_target=X_target)


def test_one_row_has_no_covariance():
    X, X_target = two_domains()
    with pytest.raises(ValueError, match=r"1 sample\(s\).*minimum of 2 is required by CORAL"):
        CORAL().fit(X[:1], X_target=X_target)
