"""SubspaceAlignment and GeodesicFlowKernel against formulas written another way."""

import numpy as np
import pytest
from scipy.integrate import quad_vec
from scipy.linalg import expm, null_space, orth, subspace_angles, svd
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances

from skltransfer import GeodesicFlowKernel, SubspaceAlignment
from skltransfer._solvers._alignment import covariance_spectrum, geodesic_flow, n_for_share

BOTH = (SubspaceAlignment, GeodesicFlowKernel)


def two_domains(n=60, m=50, d=8, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3
    X_target = rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) - 1
    return X, X_target


def bases(d, k, n_common=0, seed=0):
    """Return two orthonormal bases that share directions."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(d, n_common))
    return [orth(np.hstack([common, rng.normal(size=(d, k - n_common))])) for _ in range(2)]


# --- subspace alignment ----------------------------------------------------------------


@pytest.mark.parametrize("n, m", [(60, 50), (7, 50), (60, 6), (8, 8)])
def test_subspace_alignment_is_that_of_the_paper(n, m):
    """Fails if it is the identity, or if it maps both domains alike."""
    X, X_target = two_domains(n, m)
    source, target = (PCA(3, svd_solver="full").fit(rows) for rows in (X, X_target))
    P_s, P_t = source.components_.T, target.components_.T
    aligner = SubspaceAlignment(n_components=3)
    mapped, mapped_target = aligner.fit_transform(X, X_target=X_target), aligner.transform(X_target)
    signs = np.sign((aligner.target_components_ * P_t.T).sum(axis=1))
    expected = (X - X.mean(axis=0)) @ P_s @ P_s.T @ P_t * signs
    np.testing.assert_allclose(mapped, expected, rtol=1e-9, atol=1e-9)
    expected = (X_target - X_target.mean(axis=0)) @ P_t * signs
    np.testing.assert_allclose(mapped_target, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        aligner.alignment_, aligner.source_components_ @ aligner.target_components_.T, atol=1e-12
    )
    assert np.abs(aligner.transform(X) - mapped).max() > 0.1


def test_the_aligned_axes_minimise_bregman_divergence():
    """Eq. 1 of the paper: no other matrix brings P_s M nearer to P_t."""
    X, X_target = two_domains()
    aligner = SubspaceAlignment(n_components=3).fit(X, X_target=X_target)
    P_s, P_t = aligner.source_components_.T, aligner.target_components_.T
    best = np.linalg.lstsq(P_s, P_t, rcond=None)[0]
    np.testing.assert_allclose(aligner.alignment_, best, atol=1e-12)


def test_source_rows_shrink_by_the_cosines_of_the_angles():
    X, X_target = two_domains()
    aligner = SubspaceAlignment(n_components=3).fit(X, X_target=X_target)
    angles = subspace_angles(aligner.source_components_.T, aligner.target_components_.T)
    shrinking = np.linalg.svd(aligner.alignment_, compute_uv=False)
    np.testing.assert_allclose(np.sort(shrinking), np.sort(np.cos(angles)), atol=1e-12)
    assert shrinking.min() < 0.9


def test_it_brings_the_domains_together():
    """Rows of one distribution in a turned subspace: neighbours have the class again."""
    rng = np.random.default_rng(0)
    spread = np.array([6.0, 3.0, 0.1, 0.1, 0.1, 0.1])
    turn = expm(0.9 * (lambda A: A - A.T)(rng.normal(size=(6, 6)) / 2))
    X, X_target = rng.normal(size=(300, 6)) * spread, rng.normal(size=(300, 6)) * spread @ turn
    y, y_target = X[:, 0] > 0, (X_target @ turn.T)[:, 0] > 0

    def agreement(rows, target_rows):
        return (y[pairwise_distances(target_rows, rows).argmin(axis=1)] == y_target).mean()

    aligner = SubspaceAlignment(n_components=2)
    mapped = aligner.fit_transform(X, X_target=X_target)
    assert agreement(mapped, aligner.transform(X_target)) > agreement(X, X_target) + 0.05


# --- geodesic flow kernel --------------------------------------------------------------


def by_quadrature(P, Q):
    """Return G from Edelman's form of the geodesic (tangent and arctan, no principal vectors)."""
    H = (Q - P @ (P.T @ Q)) @ np.linalg.inv(P.T @ Q)
    U, tangents, Vt = svd(H, full_matrices=False)
    theta = np.arctan(tangents)

    def integrand(t):
        Phi = P @ Vt.T * np.cos(t * theta) + U * np.sin(t * theta)
        return Phi @ Phi.T

    return quad_vec(integrand, 0, 1, epsabs=1e-13)[0]


def by_the_paper(P, Q):
    """Return Eqs. 4 to 7 with the basis R of the complement, halved."""
    R = null_space(P.T)
    U1, gamma, Vt = svd(P.T @ Q)
    minus_U2_sigma = R.T @ Q @ Vt.T
    sigma = np.linalg.norm(minus_U2_sigma, axis=0)
    U2 = -minus_U2_sigma / sigma
    theta = np.arccos(gamma)
    L1 = np.diag(1 + np.sin(2 * theta) / (2 * theta))
    L2 = np.diag((np.cos(2 * theta) - 1) / (2 * theta))
    L3 = np.diag(1 - np.sin(2 * theta) / (2 * theta))
    B = np.hstack([P @ U1, R @ U2])
    return B @ np.block([[L1, L2], [L2, L3]]) @ B.T / 2


@pytest.mark.parametrize(
    "d, k, n_common",
    [(8, 3, 0), (8, 1, 0), (8, 4, 0), (8, 3, 2), (8, 3, 3), (8, 6, 4), (8, 8, 8), (1, 1, 1)],
)
def test_the_kernel_equals_its_integral(d, k, n_common):
    """With angles of zero, the same subspace twice, and more than half of the dimensions."""
    P, Q = bases(d, k, n_common)
    F, angles = geodesic_flow(P, Q)
    assert F.shape == (d, min(2 * k, d))
    np.testing.assert_allclose(F @ F.T, by_quadrature(P, Q), atol=1e-8)
    np.testing.assert_allclose(np.sort(subspace_angles(P, Q)), angles, atol=1e-8)
    np.testing.assert_allclose(angles[:n_common], 0, atol=1e-8)


@pytest.mark.parametrize("angle", [1e-12, 1e-9, 1e-7, 1e-4, 0.5, np.pi / 2 - 1e-6])
def test_the_kernel_equals_its_integral_at_small_and_large_angles(angle):
    P = np.eye(5)[:, :2]
    Q = np.column_stack([np.eye(5)[:, 0], [0, np.cos(angle), np.sin(angle), 0, 0]])
    F, angles = geodesic_flow(P, Q)
    a, c = (0.5 + s * np.sin(2 * angle) / (4 * angle) for s in (1, -1))
    b = np.sin(angle) ** 2 / (2 * angle)
    expected = np.zeros((5, 5))
    expected[0, 0] = 1
    expected[1:3, 1:3] = [[a, b], [b, c]]
    np.testing.assert_allclose(F @ F.T, expected, atol=1e-12)
    np.testing.assert_allclose(angles, [0, angle], rtol=1e-9)


@pytest.mark.parametrize("k", [1, 3, 4])
def test_the_kernel_is_that_of_the_paper(k):
    P, Q = bases(8, k)
    F, _ = geodesic_flow(P, Q)
    np.testing.assert_allclose(F @ F.T, by_the_paper(P, Q), atol=1e-10)


def test_orthogonal_subspaces_have_a_shortest_path_too():
    P, Q = np.eye(4)[:, :2], np.eye(4)[:, 2:]
    F, angles = geodesic_flow(P, Q)
    np.testing.assert_allclose(angles, np.pi / 2)
    np.testing.assert_allclose(np.diag(F @ F.T), 0.5)
    np.testing.assert_allclose(np.abs((F @ F.T)[:2, 2:]).max(axis=1), 1 / np.pi)


@pytest.mark.parametrize("n_components", [1, 3, 6])
def test_inner_products_of_mapped_rows_are_the_kernel(n_components):
    """Fails if it is the identity; each domain is centred, so that the two maps differ."""
    X, X_target = two_domains()
    axes = [PCA(n_components, svd_solver="full").fit(rows).components_.T for rows in (X, X_target)]
    G = by_quadrature(*axes)
    flow = GeodesicFlowKernel(n_components=n_components)
    mapped, mapped_target = flow.fit_transform(X, X_target=X_target), flow.transform(X_target)
    rows, target_rows = X - X.mean(axis=0), X_target - X_target.mean(axis=0)
    np.testing.assert_allclose(mapped @ mapped_target.T, rows @ G @ target_rows.T, atol=1e-7)
    np.testing.assert_allclose(mapped @ mapped.T, rows @ G @ rows.T, atol=1e-7)
    assert mapped.shape[1] == min(2 * n_components, 8)
    np.testing.assert_allclose(flow.components_.T @ flow.components_, G, atol=1e-8)
    assert np.abs(flow.transform(X) - mapped).max() > 0.1


# --- what both have in common ----------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
def test_signs_do_not_depend_on_the_order_of_rows(kind):
    X, X_target = two_domains()
    order = np.random.default_rng(0).permutation(len(X))
    fitted, again = kind(3).fit(X, X_target=X_target), kind(3).fit(X[order], X_target=X_target)
    np.testing.assert_allclose(fitted.transform(X_target), again.transform(X_target), atol=1e-8)
    turned = kind(3).fit(-X, X_target=-X_target)
    np.testing.assert_allclose(turned.transform(-X_target), -fitted.transform(X_target), atol=1e-8)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("n_components", [2, 0.9])
@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e100, 1e200])
def test_very_large_and_very_small_rows(kind, n_components, scale):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(30, 5)), rng.normal(size=(20, 5)) * [5, 4, 3, 2, 1]
    aligner = kind(n_components)
    expected = aligner.fit_transform(X, X_target=X_target)
    mapped = aligner.fit_transform(scale * X, X_target=scale * X_target) / scale
    # Vectors that two subspaces have in common are any basis of what they share.
    np.testing.assert_allclose(mapped @ mapped.T, expected @ expected.T, atol=1e-9)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_share_of_the_variance_is_reached_in_both_domains(kind, share):
    X, X_target = two_domains()
    needed = []
    for rows in (X, X_target):
        ratio = np.cumsum(PCA().fit(rows).explained_variance_ratio_)
        needed.append(np.count_nonzero(ratio < share) + 1)
    assert kind(share).fit(X, X_target=X_target).n_components_ == max(needed)


def test_the_share_of_equal_values_and_of_none():
    values = np.ones(10)
    assert [n_for_share(values, k / 10) for k in range(1, 10)] == list(range(1, 10))
    assert n_for_share(np.zeros(3), 0.5) == 1


@pytest.mark.parametrize("kind", BOTH)
def test_a_share_needs_no_more_axes_than_the_smaller_domain_has(kind):
    X, X_target = two_domains(60, 4)
    fitted = kind(0.99).fit(X, X_target=X_target)
    assert fitted.n_components_ == 3
    assert np.isfinite(fitted.transform(X_target)).all()


@pytest.mark.parametrize("kind", BOTH)
def test_without_a_target_it_is_pca_of_the_source(kind):
    X, _ = two_domains()
    with pytest.warns(match="was given no X_target and aligns nothing"):
        fitted = kind(3).fit(X)
    found, expected = fitted.transform(X), PCA(3).fit_transform(X)
    assert found.shape == expected.shape
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize(
    "n, m, d, most", [(60, 50, 8, 8), (5, 50, 8, 4), (60, 3, 8, 2), (60, 8, 8, 7)]
)
def test_more_components_than_there_are_directions(kind, n, m, d, most):
    X, X_target = two_domains(n, m, d)
    kind(most).fit(X, X_target=X_target)
    message = f"n_components={most + 1} is too many: X has {n} rows and X_target has {m} rows"
    with pytest.raises(ValueError, match=rf"{message}.*Pass at most {most}\."):
        kind(most + 1).fit(X, X_target=X_target)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("value", [0, -1, 1.0, 0.0, 1.5, "mle", None, True, np.nan])
def test_components_are_a_count_or_a_share(kind, value):
    X, X_target = two_domains()
    with pytest.raises(ValueError, match="n_components=.* is not an integer of at least 1"):
        kind(value).fit(X, X_target=X_target)


@pytest.mark.parametrize("n, d", [(50, 8), (8, 50), (9, 9), (10, 9)])
@pytest.mark.parametrize("exact", [False, True])
def test_the_spectrum_is_that_of_the_covariance(n, d, exact):
    X = np.random.default_rng(0).normal(size=(n, d))
    X -= X.mean(axis=0)
    values, vectors = covariance_spectrum(X, exact=exact)
    assert len(values) == min(n - 1, d)
    np.testing.assert_allclose((vectors * values) @ vectors.T, np.cov(X.T), atol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(values)), atol=1e-12)
    assert (np.diff(values) <= 0).all()
