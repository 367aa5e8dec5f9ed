"""TCA: components, maps, and what it refuses."""

import pickle

import numpy as np
import pytest
from scipy import sparse
from scipy.linalg import eigh
from sklearn.base import clone
from sklearn.decomposition import PCA, KernelPCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skltransfer import TCA, DomainDataWarning, WithSource, WithTarget
from skltransfer.feature import _kernel_aligner
from skltransfer.metrics import mmd
from tests.shared_data import SHARED_DATA

PARAMETERS = {
    "rbf": {"gamma": 0.3},
    "laplacian": {"gamma": 0.2},
    "linear": {},
    "poly": {"degree": 2, "gamma": 0.2, "coef0": 0.5},
    "sigmoid": {"gamma": 0.1, "coef0": 0.2},
    "cosine": {},
}


def in_paper(n_components=None, **settings):
    """Return TCA with the settings of the paper, which the references below have."""
    paper = {"form": "dual", "regularization": 1.0, "unit_variance": False}
    return TCA(n_components, **paper | settings)


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(50, 4)), rng.normal(0.7, 0.8, size=(30, 4))
    X.flags.writeable = X_target.flags.writeable = False
    return X, X_target


def matrices(K, n, m, regularization):
    """Return both sides of the eigenproblem: M has Frobenius norm 1."""
    e = np.r_[np.full(n, 1 / n), np.full(m, -1 / m)]
    M = np.outer(e, e) / np.linalg.norm(np.outer(e, e))
    H = np.eye(n + m) - 1 / (n + m)
    return K.T @ H @ K, K.T @ M @ K + regularization * np.eye(K.shape[1])


def mapped(tca, X, X_target):
    return np.vstack([tca.fit_transform(X, X_target=X_target), tca.transform(X_target)])


def up_to_signs(actual, expected, **tolerance):
    signs = np.sign(np.einsum("ij,ij->j", actual, expected))
    np.testing.assert_allclose(actual * signs, expected, **tolerance)


# --- the components --------------------------------------------------------------------


@pytest.mark.parametrize("regularization", [1e-2, 1.0, 30.0])
@pytest.mark.parametrize("kernel", list(PARAMETERS))
def test_dual_components_solve_the_generalised_problem(domains, kernel, regularization):
    X, X_target = domains
    Z, n, m, k = np.vstack(domains), len(X), len(X_target), 3
    tca = in_paper(k, kernel=kernel, regularization=regularization, **PARAMETERS[kernel])
    F = mapped(tca, X, X_target)
    K = pairwise_kernels(Z, metric=kernel, **PARAMETERS[kernel])
    A, B = matrices(K, n, m, regularization)
    theta, W = eigh(A, B, subset_by_index=[n + m - k, n + m - 1])
    np.testing.assert_allclose(tca.eigenvalues_, theta[::-1], rtol=1e-8)
    up_to_signs(F, K @ W[:, ::-1], atol=1e-6)
    assert tca.residual_ <= 1e-9
    if kernel != "linear":
        W = tca.weights_
        errors = np.linalg.norm(A @ W - B @ W * tca.eigenvalues_, axis=0)
        assert (errors <= 1e-8 * tca.eigenvalues_ * np.linalg.norm(B @ W, axis=0)).all()


@pytest.mark.parametrize("d", [4, 120])
@pytest.mark.parametrize("regularization", [1e-2, 1.0, 30.0])
def test_primal_components_solve_the_generalised_problem(d, regularization):
    """Fewer columns than rows, and more."""
    rng = np.random.default_rng(1)
    X, X_target = rng.normal(size=(50, d)), rng.normal(0.5, 0.8, size=(30, d)) + 2
    tca = in_paper(3, form="primal", regularization=regularization).fit(X, X_target=X_target)
    A, B = matrices(np.vstack([X, X_target]), 50, 30, regularization)
    W = tca.weights_
    exact = eigh(A, B, eigvals_only=True, subset_by_index=[d - 3, d - 1])[::-1]
    np.testing.assert_allclose(tca.eigenvalues_, exact, rtol=1e-8)
    errors = np.linalg.norm(A @ W - B @ W * tca.eigenvalues_, axis=0)
    assert (errors <= 1e-8 * tca.eigenvalues_ * np.linalg.norm(B @ W, axis=0)).all()
    np.testing.assert_allclose(W.T @ B @ W, np.eye(3), atol=1e-8)


def test_the_linear_kernel_is_that_of_a_callable(domains):
    """In as many dimensions as columns, and in as many as rows."""
    X, X_target = domains
    small = in_paper(3)
    large = in_paper(3, kernel=lambda A, B: A @ B.T)
    np.testing.assert_allclose(
        np.abs(mapped(small, X, X_target)), np.abs(mapped(large, X, X_target)), atol=1e-8
    )
    assert small.weights_.shape == (4, 3) and large.weights_.shape == (80, 3)
    np.testing.assert_allclose(small.eigenvalues_, large.eigenvalues_, rtol=1e-10)


def test_more_columns_than_rows(domains):
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(20, 90)), rng.normal(size=(15, 90)) + 0.5
    tca = in_paper(4)
    F = mapped(tca, X, X_target)
    Z = np.vstack([X, X_target])
    A, B = matrices(Z @ Z.T, 20, 15, 1.0)
    theta, W = eigh(A, B, subset_by_index=[31, 34])
    np.testing.assert_allclose(tca.eigenvalues_, theta[::-1], rtol=1e-8)
    up_to_signs(F, Z @ Z.T @ W[:, ::-1], atol=1e-5)


def test_scatter_of_a_component_is_its_eigenvalue(domains):
    tca = in_paper(3, kernel="rbf")
    F = mapped(tca, *domains)
    np.testing.assert_allclose(((F - F.mean(axis=0)) ** 2).sum(axis=0), tca.eigenvalues_)


def relative_gap(tca, X, X_target):
    """Distance of the means relative to the scatter within all rows."""
    source, target = tca.fit_transform(X, X_target=X_target), tca.transform(X_target)
    scatter = np.vstack([source, target]).std(axis=0)
    return np.linalg.norm((source.mean(axis=0) - target.mean(axis=0)) / scatter)


@pytest.mark.parametrize("form, kernel", [("primal", "linear"), ("dual", "rbf")])
def test_less_regularization_brings_the_domains_closer(domains, form, kernel):
    """Fails where the regularization is ignored, or where nothing is aligned."""
    X, X_target = domains
    gaps = [
        relative_gap(in_paper(2, form=form, kernel=kernel, regularization=r), X, X_target)
        for r in (1e6, 10.0, 1.0, 1e-4)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-2 < 0.4 < gaps[0]


def test_identity_would_leave_the_gap(domains):
    X, X_target = domains
    before = np.linalg.norm((X.mean(axis=0) - X_target.mean(axis=0)) / np.vstack(domains).std(0))
    assert relative_gap(in_paper(3, regularization=1e-3), X, X_target) < 0.05 * before


def test_conversions_to_other_conventions(domains):
    """Eigenvectors of (K L K + mu I)^-1 K H K, and of (I + mu K L K)^-1 K H K."""
    X, X_target = domains
    n, m, mu = len(X), len(X_target), 0.3
    K = pairwise_kernels(np.vstack(domains), metric="rbf", gamma=0.3)
    e = np.r_[np.full(n, 1 / n), np.full(m, -1 / m)]
    H, KLK, one = np.eye(n + m) - 1 / (n + m), K @ np.outer(e, e) @ K, np.eye(n + m)
    for left, regularization in (
        (KLK + mu * one, mu / (1 / n + 1 / m)),
        (one + mu * KLK, 1 / (mu * (1 / n + 1 / m))),
    ):
        tca = in_paper(3, kernel="rbf", gamma=0.3, regularization=regularization)
        W = tca.fit(X, X_target=X_target).weights_
        product = np.linalg.solve(left, K @ H @ K @ W)
        cosines = np.einsum("ij,ij->j", product, W) / (
            np.linalg.norm(product, axis=0) * np.linalg.norm(W, axis=0)
        )
        np.testing.assert_allclose(cosines, 1, rtol=1e-12)


def test_rows_in_another_order_give_the_same_map(domains):
    X, X_target = domains
    tca, rng = in_paper(3, kernel="rbf"), np.random.default_rng(0)
    first = tca.fit(X, X_target=X_target).transform(X)
    order, target_order = rng.permutation(len(X)), rng.permutation(len(X_target))
    second = tca.fit(X[order], X_target=X_target[target_order]).transform(X)
    np.testing.assert_allclose(first, second, atol=1e-7)


def test_domains_change_places(domains):
    X, X_target = domains
    first = in_paper(3, kernel="rbf").fit(X, X_target=X_target)
    second = in_paper(3, kernel="rbf").fit(X_target, X_target=X)
    np.testing.assert_allclose(first.eigenvalues_, second.eigenvalues_, rtol=1e-10)


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly"])
def test_duplicates_and_constant_columns(domains, kernel):
    X, X_target = (np.column_stack([Z, np.full(len(Z), 7.0)]) for Z in domains)
    X, X_target = np.vstack([X, X[:10], X[:10]]), np.vstack([X_target, X_target])
    tca = in_paper(4, kernel=kernel).fit(X, X_target=X_target)
    assert tca.residual_ <= 1e-9
    F = tca.transform(X)
    np.testing.assert_allclose(F[:10], F[50:60], atol=1e-9)
    assert np.isfinite(F).all()


@pytest.mark.parametrize("kind", ["constant", "sum", "one-hot"])
@pytest.mark.parametrize(
    "kernel, form", [("linear", "dual"), ("linear", "primal"), ("rbf", "dual")]
)
def test_components_without_scatter_are_no_reason_to_warn(domains, kind, kernel, form):
    """As many components as columns, of which one is determined by the others."""
    X, X_target = domains
    rng = np.random.default_rng(0)
    if kind == "one-hot":
        X, X_target = (np.eye(4)[rng.integers(4, size=len(Z))] for Z in domains)
    else:
        X, X_target = (
            np.column_stack([Z, np.full(len(Z), 7.0) if kind == "constant" else Z[:, 0] + Z[:, 1]])
            for Z in domains
        )
    tca = in_paper(kernel=kernel, form=form).fit(X, X_target=X_target)
    assert tca.residual_ <= 1e-9
    if kernel == "linear":
        assert tca.eigenvalues_[-1] < 1e-20 * tca.eigenvalues_[0]
        scatter = np.ptp(tca.transform(X)[:, -1])
        assert scatter < 1e-9 * np.ptp(tca.transform(X)[:, 0])


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
@pytest.mark.parametrize("form", ["dual", "primal"])
def test_scales_of_the_columns(domains, form, scale):
    """The regularization, scaled alike, gives the same components."""
    X, X_target = domains
    power = 4 if form == "dual" else 2
    plain = in_paper(3, form=form).fit(X, X_target=X_target)
    scaled = in_paper(3, form=form, regularization=scale**power)
    scaled.fit(scale * X, X_target=scale * X_target)
    np.testing.assert_allclose(scaled.eigenvalues_, plain.eigenvalues_, rtol=1e-8)
    np.testing.assert_allclose(scaled.transform(scale * X), plain.transform(X), atol=1e-6)


def test_rbf_is_invariant_to_where_the_rows_lie(domains):
    X, X_target = domains
    near = in_paper(3, kernel="rbf", gamma=0.3).fit(X, X_target=X_target)
    far = in_paper(3, kernel="rbf", gamma=0.3).fit(X + 1e6, X_target=X_target + 1e6)
    np.testing.assert_allclose(far.transform(X + 1e6), near.transform(X), atol=1e-6)


def test_one_row_in_a_domain(domains):
    X, X_target = domains
    for source, target in ((X, X_target[:1]), (X[:1], X_target), (X[:1], X_target[:1])):
        tca = in_paper(kernel="rbf").fit(source, X_target=target)
        assert np.isfinite(tca.transform(X)).all()
        assert tca.weights_.shape == (len(source) + len(target),) + (tca.n_features_in_,)[:1] or (
            len(source) == len(target) == 1 and tca.weights_.shape == (2, 1)
        )


def test_equal_domains_give_uncentred_components_without_a_penalty(domains):
    """l' K is 0: the components are those of K H K alone."""
    X, _ = domains
    tca = in_paper(3, form="primal").fit(X, X_target=X)
    pca = PCA(3).fit(np.vstack([X, X]))
    up_to_signs(tca.weights_, pca.components_.T, atol=1e-8)


# --- new rows --------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [*PARAMETERS, "chi2", RBF(1.5)], ids=str)
def test_a_fitted_row_is_mapped_as_in_fit(domains, kernel):
    X, X_target = (np.abs(Z) for Z in domains) if kernel == "chi2" else domains
    tca = in_paper(3, kernel=kernel)
    np.testing.assert_allclose(tca.fit_transform(X, X_target=X_target), tca.transform(X), atol=1e-8)


def test_new_rows_in_tiles(domains):
    X, X_target = domains
    tca = in_paper(3, kernel="laplacian").fit(X, X_target=X_target)
    n_copies = 2**23 // (len(X) + len(X_target)) // len(X)  # more than the kernel of one tile
    many = tca.transform(np.tile(X, (n_copies, 1)))
    np.testing.assert_allclose(many, np.tile(tca.transform(X), (n_copies, 1)), atol=1e-12)
    assert tca.transform(X[:1]).shape == (1, 3)


# --- landmarks -------------------------------------------------------------------------


def planted(n, seed=0):
    """Five classes; three columns of the target have moved."""
    rng = np.random.default_rng(seed)
    centers = 1.2 * rng.normal(size=(5, 10))
    y, y_target = rng.integers(5, size=n), rng.integers(5, size=n)
    X = centers[y] + rng.normal(size=(n, 10))
    X_target = centers[y_target] + rng.normal(size=(n, 10))
    X_target[:, :3] += 2
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), y, scaler.transform(X_target), y_target


def test_landmarks_come_close_to_the_exact_components():
    """Fails where nothing is aligned, too."""
    X, y, X_target, y_target = planted(1000)
    scores, gaps = {}, {"none": mmd(X, X_target)}
    scores["none"] = LogisticRegression().fit(X, y).score(X_target, y_target)
    for n_landmarks in (None, 250):
        tca = TCA(kernel="rbf", n_landmarks=n_landmarks)
        F = tca.fit_transform(X, X_target=X_target)
        G = tca.transform(X_target)
        scores[n_landmarks] = LogisticRegression(max_iter=300).fit(F, y).score(G, y_target)
        gaps[n_landmarks] = mmd(F, G)
    assert (tca.n_landmarks_, tca.rows_.shape, tca.weights_.shape) == (250, (250, 10), (250, 20))
    assert 0.05 < tca.kernel_error_ < 0.2
    assert tca.residual_ < 1e-9
    assert scores[250] > scores[None] - 0.02 > scores["none"] + 0.02
    assert gaps[250] < 1.2 * gaps[None] < 0.5 * gaps["none"]
    fewer = TCA(kernel="rbf", n_landmarks=25).fit(X, X_target=X_target)
    assert fewer.kernel_error_ > 2 * tca.kernel_error_


@pytest.mark.parametrize("kernel", ["rbf", "sigmoid", RBF(1.5)], ids=str)
def test_landmarks_map_fitted_and_new_rows_alike(domains, kernel):
    X, X_target = domains
    tca = in_paper(3, kernel=kernel, n_landmarks=20)
    F = tca.fit_transform(X, X_target=X_target)
    np.testing.assert_allclose(F, tca.transform(X), atol=1e-8)
    assert tca.weights_.shape == (20, 3)
    again = pickle.loads(pickle.dumps(tca))
    np.testing.assert_array_equal(again.transform(X_target), tca.transform(X_target))
    other = clone(tca).set_params(random_state=1).fit(X, X_target=X_target)
    assert not np.array_equal(other.rows_, tca.rows_)
    np.testing.assert_array_equal(clone(tca).fit_transform(X, X_target=X_target), F)


def test_landmarks_are_drawn_from_both_domains(domains):
    X, X_target = domains
    for source, target, counts in ((X, X_target, (15, 15)), (X, X_target[:4], (26, 4))):
        tca = in_paper(3, kernel="laplacian", n_landmarks=30).fit(source, X_target=target)
        found = [sum((tca.rows_ == row).all(axis=1).any() for row in Z) for Z in (source, target)]
        assert tuple(found) == counts
    with pytest.warns(DomainDataWarning):
        alone = in_paper(3, kernel="rbf", n_landmarks=40).fit(X)
    with pytest.warns(DomainDataWarning):
        exact = in_paper(3, kernel="rbf").fit(X)
    np.testing.assert_allclose(alone.eigenvalues_, exact.eigenvalues_, rtol=0.1)
    up_to_signs(alone.transform(X), exact.transform(X), atol=0.1)


def test_auto_is_exact_below_its_size_alone(domains, monkeypatch):
    X, X_target = domains
    auto, exact = TCA(3, kernel="rbf"), TCA(3, kernel="rbf", n_landmarks=None)
    np.testing.assert_array_equal(
        auto.fit_transform(X, X_target=X_target), exact.fit_transform(X, X_target=X_target)
    )
    assert (auto.n_landmarks_, auto.kernel_error_) == (None, 0.0)
    more = TCA(3, kernel="rbf", n_landmarks=80).fit(X, X_target=X_target)  # all rows
    assert more.n_landmarks_ is None
    monkeypatch.setattr(_kernel_aligner, "LARGEST_EXACT", 79)
    monkeypatch.setattr(_kernel_aligner, "N_LANDMARKS", 60)
    auto.fit(X, X_target=X_target)
    assert auto.n_landmarks_ == 60 and 0 < auto.kernel_error_ < 0.05
    linear = TCA(3).fit(X, X_target=X_target)
    assert (linear.n_landmarks_, linear.kernel_error_, linear.rows_) == (None, 0.0, None)
    assert exact.fit(X, X_target=X_target).n_landmarks_ is None


# --- without a target ------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly"])
@pytest.mark.parametrize("form", ["dual", "primal"])
def test_without_a_target_it_is_kernel_pca(domains, kernel, form):
    if form == "primal" and kernel != "linear":
        return
    X, X_new = domains
    tca = in_paper(3, kernel=kernel, form=form, **PARAMETERS[kernel])
    with pytest.warns(DomainDataWarning, match="TCA was given no X_target"):
        F = tca.fit_transform(X)
    pca = KernelPCA(3, kernel=kernel, **PARAMETERS[kernel])
    up_to_signs(F, pca.fit_transform(X), atol=1e-8)
    up_to_signs(tca.transform(X_new), pca.transform(X_new), atol=1e-8)
    np.testing.assert_allclose(tca.transform(X), F, atol=1e-9)
    np.testing.assert_allclose(tca.eigenvalues_, pca.eigenvalues_, rtol=1e-10)


def test_eigenvectors_that_lapack_loses_are_found_in_another_way(domains, monkeypatch):
    def lose(matrix, subset_by_index=None, **settings):
        values, vectors = eigh(matrix, subset_by_index=subset_by_index)
        return (values, vectors) if subset_by_index is None else (values[:1], vectors[:, :1])

    X, X_new = domains
    with pytest.warns(DomainDataWarning, match="TCA was given no X_target"):
        expected = TCA(3, kernel="rbf").fit(X)
        monkeypatch.setattr(_kernel_aligner, "eigh", lose)
        found = TCA(3, kernel="rbf").fit(X)
    up_to_signs(found.transform(X_new), expected.transform(X_new), atol=1e-9)


# --- in scikit-learn's company -----------------------------------------------------------


def labelled():
    """A shift along the column that tells nothing, large enough to fool the source's model."""
    rng = np.random.default_rng(0)
    y, y_target = rng.integers(0, 2, 150), rng.integers(0, 2, 120)
    X = rng.normal(size=(150, 5)) * [1, 3, 1, 1, 1]
    X_target = rng.normal(size=(120, 5)) * [1, 3, 1, 1, 1]
    X[:, 0] += 4 * y
    X_target[:, 0] += 4 * y_target
    X_target[:, 2:] += 5
    X[:, 2:] += 1.5 * y[:, None]
    return X, y, X_target, y_target


def test_behind_a_scaler_through_both_wrappers():
    X, y, X_target, y_target = labelled()
    pipeline = make_pipeline(
        StandardScaler(), in_paper(4, regularization=1e-2), LogisticRegression()
    )
    with_target = WithTarget(pipeline, X_target=X_target).fit(X, y)
    with_source = WithSource(pipeline, X_source=X, y_source=y).fit(X_target)
    alone = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    np.testing.assert_array_equal(with_target.predict(X_target), with_source.predict(X_target))
    adapted, plain = with_target.score(X_target, y_target), alone.score(X_target, y_target)
    assert adapted > 0.9 > 0.7 > plain
    scaler = StandardScaler().fit(X)
    by_hand = in_paper(4, regularization=1e-2).fit(
        scaler.transform(X), X_target=scaler.transform(X_target)
    )
    np.testing.assert_array_equal(with_target.estimator_["tca"].eigenvalues_, by_hand.eigenvalues_)


def test_grid_search_over_its_parameters():
    X, y, X_target, y_target = labelled()
    model = WithSource(
        make_pipeline(StandardScaler(), in_paper(4), LogisticRegression()), X_source=X, y_source=y
    )
    grid = {"estimator__tca__regularization": [1e-2, 1e6], "estimator__tca__n_components": [1, 4]}
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(X_target, y_target)
    assert search.best_params_["estimator__tca__regularization"] == 1e-2


def test_clone_pickle_names_and_output(domains):
    pandas = pytest.importorskip("pandas")
    X, X_target = (pandas.DataFrame(Z, columns=list("abcd")) for Z in domains)
    tca = in_paper(2, kernel="rbf").set_output(transform="pandas")
    frame = tca.fit_transform(X, X_target=X_target[["d", "c", "b", "a"]])
    assert list(frame.columns) == ["tca0", "tca1"] == list(tca.get_feature_names_out())
    again = pickle.loads(pickle.dumps(tca))
    pandas.testing.assert_frame_equal(again.transform(X_target), tca.transform(X_target))
    np.testing.assert_array_equal(clone(tca).fit(X, X_target=X_target).weights_, tca.weights_)


def test_defaults_and_gamma(domains):
    X, X_target = domains
    tca = in_paper().fit(X, X_target=X_target)
    assert tca.weights_.shape == (4, 4)
    assert (tca.rows_, tca.gamma_) == (None, None)
    assert in_paper().fit(X[:2], X_target=X_target[:1]).weights_.shape == (4, 2)
    rbf = in_paper(kernel="rbf").fit(X, X_target=X_target)
    assert rbf.gamma_ == pytest.approx(1 / np.vstack(domains).var(axis=0).sum())
    chi2 = in_paper(kernel="chi2").fit(np.abs(X), X_target=np.abs(X_target))
    assert chi2.gamma_ == pytest.approx(1 / np.abs(np.vstack(domains)).sum(axis=1).mean())


# --- what it refuses -------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"n_components": 0}, "n_components=0 is not an integer of at least 1 or None"),
        ({"kernel": "additive_chi2"}, "kernel='additive_chi2' is not one of rbf.*chi2 is"),
        ({"kernel": "chi2"}, "kernel='chi2' needs values of at least 0"),
        ({"form": "primal", "kernel": "rbf"}, "form='primal' .* needs kernel='linear', not 'rbf'"),
        ({"form": "both"}, "form='both' is not one of 'auto', 'dual', 'primal'"),
        ({"gamma": 0}, "gamma=0 is neither 'scale' nor a number above 0"),
        ({"degree": "two"}, "degree='two' is not a finite number"),
        ({"coef0": np.nan}, "coef0=nan is not a finite number"),
        ({"regularization": 0}, "regularization=0 is not a number greater than 0"),
        ({"n_landmarks": 0}, "n_landmarks=0 is not an integer of at least 1 or 'auto' or None"),
        ({"tol": -1}, "tol=-1 is not a number greater than 0"),
        ({"kernel": lambda A, B: A @ B.T + A[:, :1]}, "is not symmetric"),
        ({"kernel": lambda A, B: np.ones(3)}, "returned values of shape"),
    ],
)
def test_unfit_parameters_are_named(domains, parameters, message):
    X, X_target = domains
    with pytest.raises(ValueError, match=message):
        in_paper(**parameters).fit(X, X_target=X_target)


def test_unfit_data_are_named(domains):
    X, X_target = domains
    with pytest.raises(TypeError, match="[Ss]parse"):
        in_paper().fit(sparse.csr_array(X), X_target=X_target)
    with pytest.raises(TypeError, match="[Ss]parse"):
        in_paper().fit(X, X_target=sparse.csr_array(X_target))
    with pytest.raises(ValueError, match="X_target has 3 features"):
        in_paper().fit(X, X_target=X_target[:, :3])
    with pytest.raises(ValueError, match="X_target has 0 rows"):
        in_paper().fit(X, X_target=X_target[:0])
    with pytest.raises(ValueError, match="NaN"):
        in_paper().fit(X, X_target=np.full((3, 4), np.nan))
    for parameters, scale in (
        ({"kernel": "poly"}, 1e200),
        ({"kernel": "poly", "gamma": 1.0}, 1e120),
        ({"form": "primal"}, 1e200),
        ({}, 1e100),
        ({}, 1e200),
    ):
        with pytest.raises(ValueError, match="Scale the features"):
            in_paper(**parameters).fit(scale * X, X_target=scale * X_target)


def test_the_defaults_are_for_tables(domains):
    X, X_target = domains
    tca = TCA()
    F = mapped(tca, X, X_target)
    same = in_paper(4, form="primal", regularization=1 / (1 / 50 + 1 / 30))
    G = mapped(same, X, X_target)
    np.testing.assert_allclose(F, G / tca.scale_)
    assert F[:, 0].std() == pytest.approx(1.0)
    np.testing.assert_allclose(tca.eigenvalues_, same.eigenvalues_)
    assert (tca.n_components, same.scale_) == (20, 1.0)
    rbf = TCA(kernel="rbf", gamma=0.3)
    F = mapped(rbf, X, X_target)
    same = in_paper(20, kernel="rbf", gamma=0.3)
    np.testing.assert_allclose(F, mapped(same, X, X_target) / rbf.scale_, atol=1e-10)
    assert F[:, 0].std() == pytest.approx(1.0)
    kept = TCA(3, unit_variance=False, regularization=1e4).fit(X, X_target=X_target)
    small = TCA(3, regularization=1e4).fit(X, X_target=X_target)
    np.testing.assert_allclose(small.weights_, kept.weights_ / small.scale_)


@pytest.mark.parametrize(("kernel", "n_most"), [("linear", 4), ("rbf", 80)])
def test_there_are_no_more_components_than_can_be(domains, kernel, n_most):
    X, X_target = domains
    tca = TCA(100, kernel=kernel).fit(X, X_target=X_target)
    assert tca.transform(X).shape == (50, n_most)


def test_components_hidden_by_rounding_are_told(domains):
    X, X_target = domains
    large = [1e6, 1, 1, 1]
    with pytest.warns(ConvergenceWarning, match="Rounding hides.*of TCA.*StandardScaler"):
        tca = in_paper(4).fit(X * large, X_target=X_target * large)
    assert tca.residual_ > 1e-3
    scaler = StandardScaler().fit(X * large)  # the remedy of the message
    scaled = (scaler.transform(rows * large) for rows in (X, X_target))
    tca.fit(next(scaled), X_target=next(scaled))
    assert tca.residual_ < 1e-9


def test_a_residual_that_nobody_sees_is_no_warning(domains):
    X, X_target = domains
    tca = in_paper(3, kernel="rbf", tol=1e-30).fit(X, X_target=X_target)
    assert 0 < tca.residual_ < 1e-10
    scaled = X * [1e4, 1, 1, 1], X_target * [1e4, 1, 1, 1]
    poly = in_paper(20, kernel="poly").fit(scaled[0], X_target=scaled[1])
    assert poly.residual_ > poly.tol  # of components without scatter


# --- published numbers -----------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED_DATA / "SHA256SUMS").is_file(), reason="the shared data are absent")
@pytest.mark.parametrize(
    "source, target, accuracy",
    [("dslr", "webcam", 84.75), ("webcam", "dslr", 85.35), ("caltech", "dslr", 43.95)],
)
def test_office_caltech(source, target, accuracy):
    """Primal, 100 components, rows of norm 1 before and after, nearest neighbour.

    The numbers were computed by a dense solver on the textbook's matrices.
    """
    (X, y), (X_target, y_target) = (office(name) for name in (source, target))
    model = make_pipeline(
        Normalizer(), in_paper(100, form="primal"), Normalizer(), KNeighborsClassifier(1)
    )
    score = WithTarget(model, X_target=X_target).fit(X, y).score(X_target, y_target)
    assert 100 * score == pytest.approx(accuracy, abs=1.3)


def office(name):
    """Return bags of visual words: shares of a row, then standardised within the domain."""
    archive = np.load(SHARED_DATA / "office_caltech_surf" / f"{name}.npz")
    X = archive["X"] / archive["X"].sum(axis=1, keepdims=True, dtype=float)
    return StandardScaler().fit_transform(X), archive["y"]
