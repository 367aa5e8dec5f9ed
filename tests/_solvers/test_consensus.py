"""Parties that solve their own problems agree on the solution of all together."""

import numpy as np
import pytest

from skltransfer._solvers._consensus import Consensus


def quadratics(rng, n_parties, d, condition):
    """Return curvatures and minimisers of ``1/2 (w - c)' H (w - c)``."""
    curvatures = []
    for _ in range(n_parties):
        Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
        curvatures.append(Q @ np.diag(np.geomspace(1 / condition, 1, d)) @ Q.T)
    return np.stack(curvatures), rng.normal(size=(n_parties, d))


def rounds(consensus, H, c, mu, most=200):
    """Run rounds until the residual vanishes; return how many there were."""
    eye = mu * np.eye(H.shape[1])
    for number in range(1, most + 1):
        w = [
            np.linalg.solve(h + eye, h @ point + mu * anchor)
            for h, point, anchor in zip(H, c, consensus.anchors(), strict=True)
        ]
        consensus.update(np.stack(w))
        if consensus.residual < 1e-12:
            return number
    return most


@pytest.mark.parametrize("mu", [0.1, 1.0])
@pytest.mark.parametrize("condition", [1.0, 100.0])
def test_the_fixed_point_is_the_common_optimum(mu, condition):
    rng = np.random.default_rng(0)
    H, c = quadratics(rng, 4, 6, condition)
    shares = np.array([0.1, 0.2, 0.3, 0.4])
    consensus = Consensus(shares, np.zeros(6))
    assert rounds(consensus, H, c, mu) < 200
    total = np.einsum("k,kij->ij", shares, H)
    optimum = np.linalg.solve(total, np.einsum("k,kij,kj->i", shares, H, c))
    np.testing.assert_allclose(consensus.z, optimum, rtol=0, atol=1e-9)
    mean_of_optima = shares @ c
    assert np.abs(mean_of_optima - optimum).max() > 0.01 or condition == 1


def test_a_party_without_a_share_changes_nothing():
    H, c = quadratics(np.random.default_rng(1), 2, 3, 1.0)
    consensus = Consensus(np.array([1.0, 0.0]), np.zeros(3))
    rounds(consensus, H, c, 1.0)
    np.testing.assert_allclose(consensus.z, c[0], atol=1e-9)


def test_a_failed_extrapolation_is_undone():
    consensus = Consensus(np.array([0.5, 0.5]), np.zeros(2))
    first = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert consensus.update(first)
    plain = consensus.v.copy()
    np.testing.assert_allclose(plain, first)
    assert not consensus.update(np.full((2, 2), 1e6))
    np.testing.assert_allclose(consensus.v, plain)
    assert consensus.residual > 1e5
