"""Ratios of class priors, and calibration, against general solvers."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import log_loss

from skltransfer._solvers._classes import fit_scale_and_bias
from skltransfer._solvers._label_shift import rlls_error_bound, solve_bbse, solve_em, solve_rlls


def random_system(rng, k=4):
    C = rng.dirichlet(np.ones(k) * 0.3, size=k).T + 0.8 * np.eye(k)
    C /= C.sum()
    mu = rng.dirichlet(np.ones(k))
    return C, mu


@pytest.mark.parametrize("seed", range(5))
def test_rlls_by_a_cone_solver(seed):
    clarabel = pytest.importorskip("clarabel")
    rng = np.random.default_rng(seed)
    C, mu = random_system(rng)
    k, rho = 4, 10.0 ** rng.uniform(-3, -0.5)
    # variables w, s, t: minimise s + rho t with |C w - mu| <= s, |w - 1| <= t, w >= 0
    zero, identity = np.zeros((k, 2)), np.eye(k)
    rows = np.vstack(
        [
            np.hstack([-identity, zero]),
            np.eye(1, k + 2, k) * -1,
            np.hstack([-C, zero]),
            np.eye(1, k + 2, k + 1) * -1,
            np.hstack([-identity, zero]),
        ]
    )
    bounds = np.concatenate([np.zeros(k), [0], -mu, [0], -np.ones(k)])
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    solver = clarabel.DefaultSolver(
        sparse.csc_matrix((k + 2, k + 2)), np.append(np.zeros(k), [1, rho]),
        sparse.csc_matrix(rows), bounds,
        [clarabel.NonnegativeConeT(k)] + [clarabel.SecondOrderConeT(k + 1)] * 2, settings,
    )  # fmt: skip
    expected = np.array(solver.solve().x)[:k]
    found = solve_rlls(C, mu, rho).ratio
    np.testing.assert_allclose(found, expected / (C.sum(axis=0) @ expected), atol=2e-5)


def test_rlls_goes_from_bbse_to_no_shift():
    rng = np.random.default_rng(0)
    C, mu = random_system(rng)
    ratio, inverse = solve_rlls(C, mu := C @ [1.5, 0.5, 1.2, 0.8], 0)
    np.testing.assert_allclose(ratio, solve_bbse(C, mu).ratio, rtol=1e-7)
    np.testing.assert_allclose(inverse @ C, np.eye(4), atol=1e-8)
    C = 0.1 * C + 0.9 * np.outer(C.sum(axis=1), C.sum(axis=0))  # hardly better than a guess
    mu = C @ [1.5, 0.5, 1.2, 0.8] + [0.01, -0.01, 0.01, -0.01]
    free = 1 + np.linalg.solve(C, mu - C.sum(axis=1))
    assert np.abs(free - 1).max() > 1
    found = [solve_rlls(C, mu, rho).ratio for rho in (0, 0.003, 0.005, 0.01, 1)]
    distances = [np.linalg.norm(ratio - 1) for ratio in found]
    assert np.all(np.diff(distances) < -1e-3)
    np.testing.assert_array_equal(found[-1], 1)


def test_the_bound_of_the_penalty_falls_with_the_root_of_the_rows():
    assert rlls_error_bound(3, 1e6) == pytest.approx(rlls_error_bound(3, 1e8) * 10, rel=0.01)
    assert rlls_error_bound(3, 100) < rlls_error_bound(30, 100)


def test_a_singular_system_takes_the_solution_nearest_to_one():
    C = np.array([[0.25, 0.25], [0.25, 0.25]])
    np.testing.assert_allclose(solve_bbse(C, np.array([0.5, 0.5])).ratio, 1)


def test_em_is_certified():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], size=200)
    prior, gap, _ = solve_em(p, np.full(3, 1 / 3), max_iter=100, tol=1e-9)
    assert gap <= 1e-9
    best = np.log(p @ prior).mean()
    for other in rng.dirichlet(np.ones(3) * 5, size=500):
        assert np.log(p @ other).mean() <= best + 1e-9
    _, gap, n_iter = solve_em(p, np.full(3, 1 / 3), max_iter=1, tol=1e-14)
    assert n_iter == 1
    assert gap > 1e-14


def test_em_is_the_fixed_point_of_expectation_and_maximisation():
    """Rounds of Saerens et al., to where classes overlap too much to end in a thousand of them."""
    rng = np.random.default_rng(1)
    p_source = np.array([0.5, 0.3, 0.2])
    p = p_source * np.exp(0.7 * rng.normal(size=(500, 3)) + [0, 0.2, 0.1])
    p[0, 1] = 0  # a class that a row cannot be of
    p /= p.sum(axis=1, keepdims=True)
    prior = p_source
    for _ in range(3000):
        posterior = p * prior / p_source
        prior = (posterior / posterior.sum(axis=1, keepdims=True)).mean(axis=0)
    found, gap, n_iter = solve_em(p, p_source, max_iter=100, tol=1e-12)
    assert gap <= 1e-12
    assert n_iter < 20
    np.testing.assert_allclose(found, prior, atol=1e-6)

    overlapping = p_source * np.exp(0.03 * rng.normal(size=(5000, 3)))
    overlapping /= overlapping.sum(axis=1, keepdims=True)
    _, gap, n_iter = solve_em(overlapping, p_source, max_iter=100, tol=1e-10)
    assert gap <= 1e-10
    assert n_iter < 20


def test_calibration_minimises_the_log_loss():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(3000, 3))
    truth = np.exp(0.4 * scores + [0.5, 0, -0.5])
    truth /= truth.sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=p) for p in truth])
    counts = rng.integers(0, 3, 3000)
    scale, bias = fit_scale_and_bias(scores, labels, counts.astype(float))
    assert scale == pytest.approx(0.4, abs=0.06)
    np.testing.assert_allclose(bias - bias.mean(), [0.5, 0, -0.5], atol=0.12)

    def loss(scale, bias):
        p = np.exp(scale * scores + bias)
        return log_loss(labels, p / p.sum(axis=1, keepdims=True), sample_weight=counts)

    best = loss(scale, bias)
    for change in (0.05, -0.05):
        assert loss(scale + change, bias) > best
        for shift in np.eye(3) * change:
            assert loss(scale, bias + shift) > best
    repeated = fit_scale_and_bias(
        np.repeat(scores, counts, axis=0), np.repeat(labels, counts), np.ones(counts.sum())
    )
    np.testing.assert_allclose(np.append(*repeated[::-1]), np.append(bias, scale), rtol=1e-5)


def test_calibration_of_separated_classes_is_finite():
    scores = np.array([[0.0, 5.0], [5.0, 0.0]] * 20)
    scale, bias = fit_scale_and_bias(scores, np.array([1, 0] * 20), np.ones(40))
    assert 1 <= scale < 10
    assert np.isfinite(bias).all()
