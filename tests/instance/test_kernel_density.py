"""KernelDensityReweighter against scikit-learn's densities and brute force."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.neighbors import KernelDensity

from skltransfer import (
    EffectiveSampleSizeWarning,
    KernelDensityReweighter,
)
from skltransfer._solvers._kernel_density import (
    LOG_KERNELS,
    leave_one_out_log_likelihood,
    log_kernel_mean,
)
from skltransfer.instance import _kernel_density
from skltransfer.instance._rows import sorted_rows


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(150, 3)), rng.normal([0.8, 0, 0], 0.7, size=(80, 3))
    y, y_target = ((Z**2)[:, 0] - Z[:, 1] for Z in (X, X_target))
    return X, y, X_target, y_target


KERNELS = ["gaussian", "tophat", "epanechnikov", "exponential", "linear", "cosine"]


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_densities_are_those_of_scikit_learn(domains, kernel):
    X, _, X_target, _ = domains
    X = X * [1, 10, 100]
    X_target = X_target * [1, 10, 100]
    counts = np.arange(len(X)) % 3
    model = KernelDensityReweighter(bandwidth=0.9, kernel=kernel)
    model.fit(X, sample_weight=counts, X_target=X_target)
    repeated = np.repeat(X, counts, axis=0)
    scale = np.sqrt((repeated.var(axis=0) + X_target.var(axis=0)) / 2)
    source, target = (
        KernelDensity(bandwidth=0.9, kernel=kernel).fit(Z / scale) for Z in (repeated, X_target)
    )
    expected = np.exp(target.score_samples(X / scale))
    expected /= np.exp(source.score_samples(X / scale)).clip(1e-300)
    used = counts > 0
    np.testing.assert_allclose(model.density_ratio(X)[used], expected[used], rtol=1e-7)
    weights = counts * expected
    np.testing.assert_allclose(
        model.sample_weight_, weights * counts.sum() / weights.sum(), rtol=1e-7
    )


def test_rules_for_the_bandwidth(domains):
    X, _, X_target, _ = domains  # 150 and 80 rows
    for rule, expected in (("scott", 80 ** (-1 / 7)), ("silverman", (80 * 5 / 4) ** (-1 / 7))):
        fitted = KernelDensityReweighter(bandwidth=rule).fit(X, X_target=X_target)
        assert fitted.bandwidth_ == pytest.approx(expected)


@pytest.mark.parametrize("kernel", ["gaussian", "exponential"])
def test_the_likeliest_bandwidth_by_brute_force(kernel):
    rng = np.random.default_rng(1)
    X, X_target = rng.normal(size=(40, 2)), np.concatenate([rng.normal(size=(25, 2))] * 2)
    X_target[25:] += 4  # two clusters: narrower than Scott's rule
    fitted = KernelDensityReweighter(bandwidth="cv", kernel=kernel).fit(X, X_target=X_target)
    scale = np.sqrt((X.var(axis=0) + X_target.var(axis=0)) / 2)
    scott = 40 ** (-1 / 6)
    scores = []
    for bandwidth in scott * np.geomspace(0.2, 3.2, 13):
        score = 0.0
        for Z in (X / scale, X_target / scale):
            for i in range(len(Z)):
                others = KernelDensity(bandwidth=bandwidth, kernel=kernel).fit(np.delete(Z, i, 0))
                score += others.score_samples(Z[[i]])[0] / len(Z)
        scores.append((score, bandwidth))
    assert fitted.bandwidth_ == pytest.approx(max(scores)[1])
    assert fitted.bandwidth_ < scott


def test_repeated_rows_do_not_shrink_the_likeliest_bandwidth(domains):
    X, _, X_target, _ = domains
    once, twice = (
        KernelDensityReweighter(bandwidth="cv").fit(Z, X_target=X_target).bandwidth_
        for Z in (X, np.vstack([X, X]))
    )
    assert once == twice


def test_a_source_row_weighs_at_most_the_sum(domains):
    X, _, X_target, _ = domains
    X = np.vstack([X, X_target.mean(axis=0, keepdims=True) + 30])
    X_target = np.full_like(X_target, X[-1])
    with pytest.warns(EffectiveSampleSizeWarning):
        model = KernelDensityReweighter(bandwidth=0.1).fit(X, X_target=X_target)
    assert model.density_ratio(X).max() == pytest.approx(len(X))
    assert model.density_ratio(X + 1e3).max() <= len(X) * (1 + 1e-12)


def test_some_of_many_rows_choose_the_bandwidth_that_all_choose():
    rng = np.random.default_rng(0)
    rows = sorted_rows(rng.normal(size=(2600, 2)) * rng.choice([0.3, 2], size=(2600, 1)))
    counts, bandwidths = rng.integers(1, 4, size=2600).astype(float), np.geomspace(0.1, 1, 7)[1:]
    squared, scores = cdist(rows, rows, "sqeuclidean"), np.empty(6)
    np.fill_diagonal(squared, np.inf)
    for i, bandwidth in enumerate(bandwidths):
        density = np.exp(squared / (-2 * bandwidth**2)) @ counts
        log_density = np.log(density / (counts.sum() - counts)) - 2 * np.log(bandwidth)
        scores[i] = np.average(log_density, weights=counts)
    some = leave_one_out_log_likelihood(rows, counts, bandwidths, "gaussian")
    assert some.argmax() == scores.argmax()
    some, scores = some - some.max(), scores - scores.max()
    assert np.abs(some - scores).max() > 1e-4  # from some only
    near = slice(scores.argmax() - 1, scores.argmax() + 4)
    np.testing.assert_allclose(some[near], scores[near], atol=0.06)


@pytest.mark.parametrize("weights", [np.ones(900), np.arange(900) % 4 + 0.5])
@pytest.mark.parametrize(
    ("kernel", "algorithm"),
    [("gaussian", "products"), ("gaussian", "float32"), *[(k, "kd_tree") for k in KERNELS[1:3]]],
)
def test_every_algorithm_gives_the_same_density(kernel, algorithm, weights):
    """Also of rows so far away that the kernel underflows."""
    rng = np.random.default_rng(0)
    rows, samples = rng.normal(size=(700, 4)), rng.normal(size=(900, 4))
    rows[:50] += 30 * rng.uniform(size=(50, 1))
    plain, _ = log_kernel_mean(rows, samples, weights, 0.4, kernel)
    fast, error = log_kernel_mean(rows, samples, weights, 0.4, kernel, algorithm)
    np.testing.assert_array_equal(np.isinf(fast), np.isinf(plain))
    finite = np.isfinite(plain)
    assert np.isinf(plain).any() == (kernel not in ("gaussian",))
    assert (plain < -800).any()  # exp of it is 0, and -inf for kernels of finite width
    difference = np.abs(fast[finite] - plain[finite]).max()
    if algorithm == "float32":
        assert 1e-9 < difference < error < 1e-3
    else:
        assert error == 0.0
        assert difference < 1e-9
    direct = np.exp(LOG_KERNELS[kernel](cdist(rows, samples, "sqeuclidean") / 0.4**2)) @ weights
    np.testing.assert_allclose(np.exp(plain), direct / weights.sum(), rtol=1e-9, atol=1e-300)


def test_many_pairs_are_summed_in_single_precision(domains, monkeypatch):
    X, _, X_target, _ = domains
    double = KernelDensityReweighter().fit(X, X_target=X_target)
    assert (double.algorithm_, double.relative_error_) == ("products", 0.0)
    monkeypatch.setattr(_kernel_density, "MANY_PAIRS", 150 * 230 - 1)
    single = KernelDensityReweighter().fit(X, X_target=X_target)
    assert single.algorithm_ == "float32"
    relative = np.abs(single.density_ratio(X) / double.density_ratio(X) - 1).max()
    assert 1e-9 < relative < single.relative_error_ < 1e-3
    # What the fit decided holds for any number of rows.
    one = [single.density_ratio(X[[i]])[0] for i in range(3)]
    np.testing.assert_allclose(one, single.density_ratio(X)[:3], rtol=1e-5)
    assert KernelDensityReweighter(kernel="tophat").fit(X, X_target=X).algorithm_ == "kd_tree"
    assert KernelDensityReweighter(kernel="exponential").fit(X, X_target=X).algorithm_ == "brute"
