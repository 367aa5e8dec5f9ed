"""The inputs of the in-context network against fits without each sample."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

from skltransfer.relation._in_context_inputs import (
    FITS,
    KERNEL_FITS,
    N_SCORES,
    N_SUMMARY_INPUTS,
    N_TOKEN_INPUTS,
    PENALTIES,
    Standardization,
    context_tokens,
    fit_scores,
    query_tokens,
    signs,
    summary,
    with_intercept,
)

RNG = np.random.default_rng(0)
X_SOURCE, X_TARGET, X_NEW = (RNG.normal(size=(n, 3)) for n in (14, 6, 5))
Y_SOURCE, Y_TARGET = signs(RNG.integers(3, size=14), 3), signs(RNG.integers(3, size=6), 3)


def ridge(X, Y, weights, penalty):
    Z = with_intercept(X)
    moments = (Z.T * weights) @ Z + penalty * np.eye(Z.shape[1])
    return np.linalg.solve(moments, (Z.T * weights) @ Y)


def coefficients(fit, X_source, Y_source, X_target, Y_target, penalty, sizes):
    """Return one of the fits as its definition has it; `sizes` are those of both domains."""
    X, Y = np.concatenate([X_source, X_target]), np.concatenate([Y_source, Y_target])
    n_source, ratio = len(X_source), sizes[1] / sizes[0]
    if fit == "source":
        return ridge(X_source, Y_source, np.ones(n_source), penalty)
    if fit == "target":
        return ridge(X_target, Y_target, np.ones(len(X_target)), penalty)
    if fit == "pooled":
        return ridge(X, Y, np.ones(len(X)), penalty)
    if fit == "balanced":
        weights = np.r_[np.full(n_source, ratio), np.ones(len(X_target))]
        return ridge(X, Y, weights, penalty * (1 + ratio))
    start = ridge(X_source, Y_source, np.ones(n_source), penalty)
    residuals = Y_target - with_intercept(X_target) @ start
    return start + ridge(X_target, residuals, np.ones(len(X_target)), penalty)


@pytest.mark.parametrize("number", range(len(FITS) * len(PENALTIES)))
def test_each_score_is_that_of_a_fit_without_the_sample(number):
    penalty, fit = PENALTIES[number // len(FITS)], FITS[number % len(FITS)]
    found, fits = fit_scores(X_SOURCE, Y_SOURCE, X_TARGET, Y_TARGET)
    whole = coefficients(fit, X_SOURCE, Y_SOURCE, X_TARGET, Y_TARGET, penalty, (14, 6))
    np.testing.assert_allclose(fits.coefficients[..., number], whole, atol=1e-12)
    np.testing.assert_allclose(fits(X_NEW)[..., number], with_intercept(X_NEW) @ whole, atol=1e-12)
    for row in range(14):
        kept = np.arange(14) != row
        own = coefficients(
            fit, X_SOURCE[kept], Y_SOURCE[kept], X_TARGET, Y_TARGET, penalty, (14, 6)
        )
        expected = with_intercept(X_SOURCE[row]) @ own
        np.testing.assert_allclose(found.source[row, :, number], expected, atol=1e-11)
    for row in range(6):
        kept = np.arange(6) != row
        own = coefficients(
            fit, X_SOURCE, Y_SOURCE, X_TARGET[kept], Y_TARGET[kept], penalty, (14, 6)
        )
        expected = with_intercept(X_TARGET[row]) @ own
        np.testing.assert_allclose(found.target[row, :, number], expected, atol=1e-11)


@pytest.mark.parametrize("number", range(len(KERNEL_FITS)))
def test_scores_of_the_kernel(number):
    """All samples are landmarks, so that the fit is kernel ridge regression with an intercept."""
    fit = KERNEL_FITS[number]
    scores, fits = fit_scores(X_SOURCE, Y_SOURCE, X_TARGET, Y_TARGET)
    X, Y = np.concatenate([X_SOURCE, X_TARGET]), np.concatenate([Y_SOURCE, Y_TARGET])
    weights = np.ones(20)
    weights[14:] = {"source": 0, "pooled": 1, "balanced": 14 / 6}[fit]
    penalty = {"source": 3.0, "pooled": 3.0, "balanced": 3 * (1 + 14 / 6)}[fit]

    def gram(A, B):  # the intercept is penalized: a constant is added to the kernel
        return 10 * rbf_kernel(A, B, gamma=1 / (2 * X.shape[1])) + 1

    def predict(rows, new):
        W = np.diag(weights[rows])
        inner = W @ gram(X[rows], X[rows]) + penalty * np.eye(len(rows))
        return gram(new, X[rows]) @ np.linalg.solve(inner, W @ Y[rows])

    found = np.concatenate([scores.source, scores.target])[..., N_SCORES - len(KERNEL_FITS) :]
    np.testing.assert_allclose(
        fits(X_NEW)[..., N_SCORES - len(KERNEL_FITS) + number],
        predict(np.arange(20), X_NEW),
        atol=1e-4,
    )
    for row in range(20):
        expected = predict(np.delete(np.arange(20), row), X[[row]])
        np.testing.assert_allclose(found[[row], :, number], expected, atol=1e-4)


def test_without_one_of_the_domains():
    scores, fits = fit_scores(X_SOURCE, Y_SOURCE, X_TARGET[:0], Y_TARGET[:0])
    source, target, *others = np.moveaxis(fits.coefficients, -1, 0)[: len(FITS)]
    assert not target.any()
    for other in others:
        np.testing.assert_allclose(other, source, atol=1e-12)
    swapped, of_target = fit_scores(X_SOURCE[:0], Y_SOURCE[:0], X_SOURCE, Y_SOURCE)
    np.testing.assert_allclose(of_target.coefficients[..., 1], source, atol=1e-12)
    np.testing.assert_allclose(swapped.target[..., 1], scores.source[..., 0], atol=1e-12)
    assert not of_target.coefficients[..., 0].any()


def test_many_tasks_at_once_are_each_alone():
    X_source, X_target = RNG.normal(size=(2, 14, 3)), RNG.normal(size=(2, 6, 3))
    Ys = np.stack([Y_SOURCE] * 2), np.stack([Y_TARGET] * 2)
    scores, fits = fit_scores(X_source, Ys[0], X_target, Ys[1])
    new = fits(np.stack([X_NEW] * 2))
    for number in range(2):
        alone, own = fit_scores(X_source[number], Y_SOURCE, X_target[number], Y_TARGET)
        for several, one in zip(scores, alone, strict=True):
            np.testing.assert_allclose(several[number], one, atol=1e-9)
        np.testing.assert_allclose(new[number], own(X_NEW), atol=1e-9)


def test_tokens_tell_label_and_domain():
    scores, fits = fit_scores(X_SOURCE, Y_SOURCE, X_TARGET, Y_TARGET)
    source = context_tokens(scores.source, Y_SOURCE, False)
    target = context_tokens(scores.target, Y_TARGET, True)
    query = query_tokens(fits(X_NEW))
    assert {source.shape[-1], target.shape[-1], query.shape[-1]} == {N_TOKEN_INPUTS}
    margins = np.clip(scores.source, -3, 3) * Y_SOURCE[..., None]
    np.testing.assert_allclose(source[..., N_SCORES : 2 * N_SCORES], margins)
    assert not target[..., N_SCORES : 2 * N_SCORES].any()
    kinds = [source[..., -5:], target[..., -5:], query[..., -5:]]
    for kind in kinds:
        assert (kind.sum(axis=-1) == 1).all()
    np.testing.assert_array_equal(kinds[0][..., 1] == 1, Y_SOURCE > 0)
    np.testing.assert_array_equal(kinds[1][..., 3] == 1, Y_TARGET > 0)
    assert (kinds[2][..., 4] == 1).all()


def test_the_summary_has_the_quality_of_each_score():
    scores, fits = fit_scores(X_SOURCE, Y_SOURCE, X_TARGET, Y_TARGET)
    known = summary(scores, Y_SOURCE, Y_TARGET, fits(X_NEW), 3)
    assert known.shape == (3, N_SUMMARY_INPUTS)
    right = np.sign(scores.target) == Y_TARGET[..., None]
    np.testing.assert_allclose(known[:, N_SCORES : 2 * N_SCORES], right.mean(axis=0))
    frequencies = ((Y_TARGET > 0).sum(axis=0) + 1 / 3) / 7
    np.testing.assert_allclose(known[:, -1], frequencies)
    of_target = np.concatenate([scores.target, fits(X_NEW)]).clip(-3, 3)
    np.testing.assert_allclose(known[:, 4 * N_SCORES : 5 * N_SCORES], of_target.mean(axis=0))


def test_constant_features_are_zero():
    X = np.column_stack([np.full(20, 1e9 / 3), np.arange(20.0)])
    standard = Standardization.of(X[:10], X[10:])(X)
    assert not standard[:, 0].any()
    np.testing.assert_allclose(standard[:, 1].std(), 1)
    assert Standardization.of(X[:10], X[10:])(np.array([[5.0, 1e6]])).tolist() == [[0.0, 4.0]]
