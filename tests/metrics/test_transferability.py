"""Transferability scores against brute force."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from skltransfer.metrics import h_score, leep_score, logme_score, nce_score, transrate_score

RNG = np.random.default_rng(0)
N = 40
LABELS = RNG.integers(3, size=N)
WORDS = np.array(["cat", "dog", "emu"])[LABELS]


def features(n_features, signal=1.0):
    centres = np.random.default_rng(1).normal(size=(3, n_features))
    return np.random.default_rng(2).normal(size=(N, n_features)) + signal * centres[LABELS]


def largest_evidence(F, y):
    """The density of the labels under the marginal distribution, maximised over both precisions."""

    def negative(logs):
        a, b = np.exp(np.clip(logs, -25, 25))
        covariance = np.eye(len(F)) / b + F @ F.T / a
        squared = y @ np.linalg.solve(covariance, y) + np.linalg.slogdet(2 * np.pi * covariance)[1]
        return squared / 2 / len(F)

    settings = {"xatol": 1e-8, "fatol": 1e-13, "maxiter": 400}
    return -min(
        minimize(negative, start, method="Nelder-Mead", options=settings).fun
        for start in [(0.0, 2.0), (5.0, 2.0)]
    )


@pytest.mark.parametrize("n_features", [1, 5, 60])
def test_logme_is_the_largest_marginal_likelihood(n_features):
    F = features(n_features)
    by_class = [largest_evidence(F, (LABELS == c).astype(float)) for c in range(3)]
    assert logme_score(F, WORDS) == pytest.approx(np.mean(by_class), abs=1e-8)


def test_logme_of_a_regression():
    F = features(6)
    y = F @ RNG.normal(size=(6, 2)) + RNG.normal(size=(N, 2))
    each = [largest_evidence(F, column) for column in y.T]
    assert logme_score(F, y) == pytest.approx(np.mean(each), abs=1e-8)
    assert logme_score(F, y[:, 0]) == pytest.approx(each[0], abs=1e-8)
    whole = np.round(y[:, 0])
    as_numbers = logme_score(F, whole, task="regression")
    assert as_numbers == pytest.approx(largest_evidence(F, whole), abs=1e-8)
    assert logme_score(F, whole) != as_numbers  # whole numbers are classes unless told otherwise


def test_logme_knows_good_features_and_no_scale():
    good, noise = features(8), features(8, signal=0.0)
    assert logme_score(good, LABELS) > logme_score(noise, LABELS)
    assert logme_score(1e6 * good, LABELS) == pytest.approx(logme_score(good, LABELS), abs=1e-9)
    turned = good @ np.linalg.qr(RNG.normal(size=(8, 8)))[0]
    assert logme_score(turned, LABELS) == pytest.approx(logme_score(good, LABELS), abs=1e-9)
    with_zeros = np.hstack([good, np.zeros((N, 3))])
    assert logme_score(with_zeros, LABELS) == pytest.approx(logme_score(good, LABELS), abs=1e-9)
    repeated = np.hstack([good, good])
    assert logme_score(repeated, LABELS) == pytest.approx(logme_score(good, LABELS), abs=1e-9)


def test_logme_at_its_limits_is_finite():
    y = RNG.normal(size=N)
    zeros = logme_score(np.zeros((N, 4)), y)
    assert zeros == pytest.approx(-0.5 * (np.log(2 * np.pi * np.mean(y**2)) + 1))
    exact = logme_score(np.column_stack([y, RNG.normal(size=N)]), y)
    assert np.isfinite(exact)
    assert exact > 10
    assert np.isfinite(logme_score(RNG.normal(size=(N, 3 * N)), y))


def leep_by_loops(p, labels):
    n, k = p.shape
    joint = {(y, z): p[labels == y, z].sum() / n for y in set(labels) for z in range(k)}
    total = 0.0
    for i in range(n):
        mixture = 0.0
        for z in range(k):
            mass = p[:, z].sum() / n
            if mass > 0:
                mixture += joint[labels[i], z] / mass * p[i, z]
        total += np.log(mixture)
    return total / n


def test_leep_is_the_triple_sum():
    p = RNG.dirichlet(np.ones(5), size=N)
    assert leep_score(p, WORDS) == pytest.approx(leep_by_loops(p, WORDS), abs=1e-12)
    one_hot = np.eye(7)[RNG.integers(4, size=N)]  # three source classes without mass
    assert leep_score(one_hot, WORDS) == pytest.approx(leep_by_loops(one_hot, WORDS), abs=1e-12)
    assert np.isfinite(leep_score(one_hot.astype(np.float32), LABELS))


def test_nce_is_the_conditional_entropy():
    source = RNG.integers(4, size=N)
    expected = 0.0
    for z in set(source):
        for y in set(LABELS):
            both = np.mean((source == z) & (y == LABELS))
            if both:
                expected += both * np.log(both / np.mean(source == z))
    assert nce_score(source, LABELS) == pytest.approx(expected, abs=1e-12)
    assert nce_score(np.array(list("abcd"))[source], WORDS) == pytest.approx(expected, abs=1e-12)
    # LEEP of certain predictions is the same.
    assert leep_score(np.eye(4)[source], LABELS) == pytest.approx(expected, abs=1e-12)
    shares = np.bincount(LABELS) / N
    assert nce_score(np.zeros(N), LABELS) == pytest.approx((shares * np.log(shares)).sum())


@pytest.mark.parametrize("n_features", [2, 6, 70])
@pytest.mark.parametrize("shrinkage", ["ledoit_wolf", 0.3, 0])
def test_h_score_is_the_trace(n_features, shrinkage):
    F = features(n_features)
    centred = F - F.mean(axis=0)
    covariance = centred.T @ centred / N
    means = np.stack([centred[label == LABELS].mean(axis=0) for label in LABELS])
    alpha = LedoitWolf().fit(F).shrinkage_ if shrinkage == "ledoit_wolf" else shrinkage
    sigma = np.trace(covariance) / n_features
    shrunk = (1 - alpha) * covariance + alpha * sigma * np.eye(n_features)
    inverse = np.linalg.pinv(shrunk, rcond=1e-12)
    expected = np.trace(inverse @ ((1 - alpha) * means.T @ means / N))
    assert h_score(F, WORDS, shrinkage=shrinkage) == pytest.approx(expected, abs=1e-8)


def test_h_score_leaves_constant_features_out():
    F = features(4)
    with_constant = np.hstack([F, np.full((N, 2), 7.0)])
    without = h_score(F, LABELS, shrinkage=0)
    assert h_score(with_constant, LABELS, shrinkage=0) == pytest.approx(without, abs=1e-9)
    assert np.isfinite(h_score(with_constant, LABELS))


@pytest.mark.parametrize("n_features", [3, 50])
def test_transrate_is_the_difference_of_coding_rates(n_features):
    F = features(n_features)
    Z = F - F.mean(axis=0)

    def rate(part):
        scaled = part.T @ part / (len(part) * 0.01)
        return 0.5 * np.linalg.slogdet(np.eye(n_features) + scaled)[1]

    within = sum(np.mean(LABELS == c) * rate(Z[LABELS == c]) for c in range(3))
    ours = transrate_score(F, WORDS, distortion=0.01)
    assert ours == pytest.approx(rate(Z) - within, abs=1e-9)


@pytest.mark.parametrize("score", [logme_score, h_score, transrate_score])
def test_every_score_prefers_features_that_tell_the_classes(score):
    assert score(features(5, 2.0), WORDS) > score(features(5, 0.0), WORDS) + 0.01


@pytest.mark.parametrize("score", [logme_score, h_score, transrate_score])
@pytest.mark.parametrize("labels", [WORDS, WORDS.tolist(), LABELS, LABELS.astype(float), -LABELS])
def test_the_kind_of_labels_does_not_matter(score, labels):
    expected = score(features(3), LABELS)
    assert score(features(3), labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("score", [logme_score, h_score, transrate_score])
def test_features_of_a_fitted_transformer(score):
    F = features(6)
    pca = PCA(3, random_state=0).fit(F)
    expected = score(pca.transform(F), LABELS)
    assert score(F, LABELS, transformer=pca) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(TypeError, match="has no transform"):
        score(F, LABELS, transformer="tiny")


def test_probabilities_of_a_fitted_source():
    F = features(4)
    source = LogisticRegression().fit(F, RNG.integers(5, size=N))
    assert leep_score(F, LABELS, source=source) == leep_score(source.predict_proba(F), LABELS)
    with pytest.raises(TypeError, match="has no predict_proba.*nce_score"):
        leep_score(F, LABELS, source=PCA())


SCORES = {
    "logme": lambda y: logme_score(features(3), y),
    "h": lambda y: h_score(features(3), y),
    "transrate": lambda y: transrate_score(features(3), y),
    "leep": lambda y: leep_score(np.full((N, 2), 0.5), y),
    "nce": lambda y: nce_score(LABELS, y),
}


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_labels_that_cannot_be_used_are_named(score):
    with pytest.raises(ValueError, match="y has one class, 'cat'"):
        score(["cat"] * N)
    with pytest.raises(ValueError, match="y has 1 missing labels"):
        score([None, *WORDS[1:]])
    with pytest.raises(ValueError, match="y has 39 entries, but"):
        score(WORDS[1:])
    with pytest.raises(ValueError, match="y mixes int and str"):
        score([1, *WORDS[1:]])


def test_other_bad_input_is_named():
    F = features(3)
    with pytest.raises(ValueError, match="row 0 has the sum 2"):
        leep_score(np.ones((N, 2)), LABELS)
    with pytest.raises(ValueError, match="no classes.*KBinsDiscretizer"):
        h_score(F, LABELS + 0.5)
    with pytest.raises(ValueError, match="y is 3 for every sample"):
        logme_score(F, np.full(N, 3.0), task="regression")
    with pytest.raises(ValueError, match="output 1 of y is 0"):
        logme_score(F, np.column_stack([F[:, 0], np.zeros(N)]))
    with pytest.raises(ValueError, match="No feature of X varies"):
        h_score(np.ones((N, 2)), LABELS)
    with pytest.raises(ValueError, match="task='regresion'.*Did you mean 'regression'"):
        logme_score(F, LABELS, task="regresion")
    with pytest.raises(ValueError, match="shrinkage=2"):
        h_score(F, LABELS, shrinkage=2)
    with pytest.raises(ValueError, match="distortion=0"):
        transrate_score(F, LABELS, distortion=0)
    with pytest.raises(ValueError, match="NaN"):
        logme_score(np.full((N, 2), np.nan), LABELS)


def test_arrays_of_the_caller_stay_as_they_are():
    F, y = features(4), WORDS.copy()
    F.setflags(write=False)
    y.setflags(write=False)
    for score in (logme_score, h_score, transrate_score):
        score(F, y)
