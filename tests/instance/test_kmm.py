"""KMMReweighter: the weights, the weighted fit, and what it refuses."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import laplacian_kernel as laplacian
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from skltransfer import DomainDataWarning, KMMReweighter, PooledEstimator
from skltransfer._solvers import _kmm, _kmm_columns
from skltransfer._solvers._kernel_choice import scale_gamma
from skltransfer._solvers._kernels import SPARSE_KERNELS, KernelMatrix
from skltransfer.instance._rows import distinct_rows, sorted_rows


@pytest.fixture(scope="module")
def domains():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(120, 3)), rng.normal([0.8, 0, 0], 0.7, size=(80, 3))
    y, y_target = ((Z**2)[:, 0] - Z[:, 1] for Z in (X, X_target))
    return X, y, X_target, y_target


# --- the weights -----------------------------------------------------------------------


def test_weights_move_the_source_mean_to_the_target(domains):
    """Fails if the weights are constant."""
    X, _, X_target, _ = domains
    kmm = KMMReweighter().fit(X, X_target=X_target)
    before = np.linalg.norm(X.mean(axis=0) - X_target.mean(axis=0))
    after = np.linalg.norm(
        np.average(X, axis=0, weights=kmm.sample_weight_) - X_target.mean(axis=0)
    )
    assert after < before / 10
    assert kmm.sample_weight_.std() > 0.5
    assert kmm.dual_gap_ <= 1e-6
    assert kmm.effective_sample_size_ < 0.8 * len(X)


def test_weights_equal_those_of_the_quadratic_programme(domains):
    """A brute-force projected gradient method, run to the end, gives the same weights."""
    X, _, X_target, _ = domains
    kmm = KMMReweighter(gamma=0.5, max_weight=4, sum_tolerance=0.05, tol=1e-10)
    weights = kmm.fit(X, X_target=X_target).sample_weight_
    squared = ((X[:, None] - np.vstack([X, X_target])[None]) ** 2).sum(axis=2)
    K = np.exp(-0.5 * squared)
    K, kappa = K[:, : len(X)], len(X) * K[:, len(X) :].mean(axis=1)

    def projected(b):
        low, high = b.min() - 4, b.max()
        for _ in range(200):  # bisection on the multiplier of the sum
            middle = (low + high) / 2
            low, high = (
                (middle, high)
                if np.clip(b - middle, 0, 4).sum() > np.clip(total, 114, 126)
                else (low, middle)
            )
        return np.clip(b - low, 0, 4)

    b, step = np.ones(len(X)), 1 / np.linalg.eigvalsh(K)[-1]
    for _ in range(20000):
        b = b - step * (K @ b - kappa)
        total = np.clip(b, 0, 4).sum()
        b = np.clip(b, 0, 4) if 114 <= total <= 126 else projected(b)
    np.testing.assert_allclose(weights, b, atol=2e-2)
    assert kmm.objective_ == pytest.approx(0.5 * b @ K @ b - kappa @ b, rel=1e-7)


def test_constraints_hold_where_they_bind(domains):
    X, _, X_target, _ = domains
    weights = (
        KMMReweighter(max_weight=1.5, sum_tolerance=0.01).fit(X, X_target=X_target).sample_weight_
    )
    assert weights.max() == pytest.approx(1.5, abs=1e-8)
    assert abs(weights.sum() / len(X) - 1) <= 0.01 + 1e-8


def test_row_order_is_irrelevant(domains):
    X, _, X_target, _ = domains
    rng = np.random.default_rng(3)
    order, target_order = rng.permutation(len(X)), rng.permutation(len(X_target))
    for kernel in ("rbf", "linear"):  # the linear programme has many solutions
        first = KMMReweighter(kernel=kernel).fit(X, X_target=X_target).sample_weight_
        second = KMMReweighter(kernel=kernel).fit(X[order], X_target=X_target[target_order])
        np.testing.assert_array_equal(first[order], second.sample_weight_)


def test_equal_domains_need_no_weights(domains):
    X = domains[0]
    np.testing.assert_allclose(KMMReweighter().fit(X, X_target=X).sample_weight_, 1, atol=1e-2)


def test_a_weight_of_two_is_a_repeated_row(domains):
    X, _, X_target, _ = domains
    counts = np.arange(len(X)) % 3
    weighted = KMMReweighter(max_weight=3).fit(X, sample_weight=counts, X_target=X_target)
    repeated = KMMReweighter(max_weight=3).fit(np.repeat(X, counts, axis=0), X_target=X_target)
    rows = np.repeat(np.arange(len(X)), counts)
    np.testing.assert_allclose(
        weighted.sample_weight_,
        np.bincount(rows, weights=repeated.sample_weight_, minlength=len(X)),
        atol=1e-9,
    )
    assert (weighted.sample_weight_[counts == 0] == 0).all()


def test_equal_rows_get_equal_weights(domains):
    X, _, X_target, _ = domains
    weights = KMMReweighter().fit(np.vstack([X, X[:20]]), X_target=X_target).sample_weight_
    np.testing.assert_array_equal(weights[:20], weights[len(X) :])


def test_the_linear_kernel_matches_means_exactly(domains):
    X, _, X_target, _ = domains
    weights = (
        KMMReweighter(kernel="linear", sum_tolerance=0.0).fit(X, X_target=X_target).sample_weight_
    )
    np.testing.assert_allclose(
        np.average(X, axis=0, weights=weights), X_target.mean(axis=0), atol=1e-4
    )


def test_one_row_and_one_column():
    assert KMMReweighter().fit([[1.0]], X_target=[[2.0]]).sample_weight_.shape == (1,)
    same = KMMReweighter().fit(np.ones((5, 1)), X_target=np.ones((3, 1)))
    np.testing.assert_allclose(same.sample_weight_, 1, atol=1e-6)


# --- the weighted fit ------------------------------------------------------------------


@pytest.mark.parametrize("inner", [Ridge(), make_pipeline(StandardScaler(), Ridge())])
def test_the_estimator_is_fitted_with_the_weights(domains, inner):
    X, y, X_target, _ = domains
    model = KMMReweighter(inner).fit(X, y, X_target=X_target)
    key = "sample_weight" if isinstance(inner, Ridge) else "ridge__sample_weight"
    expected = inner.fit(X, y, **{key: model.sample_weight_})
    np.testing.assert_array_equal(model.predict(X_target), expected.predict(X_target))


def test_known_target_labels_join_with_weight_one(domains):
    X, y, X_target, y_target = domains
    partial = np.where(np.arange(len(y_target)) % 4 == 0, y_target, np.nan)
    known = ~np.isnan(partial)
    model = KMMReweighter(Ridge()).fit(X, y, X_target=X_target, y_target=partial)
    expected = Ridge().fit(
        np.vstack([X, X_target[known]]),
        np.concatenate([y, y_target[known]]),
        sample_weight=np.concatenate([model.sample_weight_, np.ones(known.sum())]),
    )
    np.testing.assert_array_equal(model.estimator_.coef_, expected.coef_)
    assert model.sample_weight_.shape == (len(X),)


def test_a_label_that_the_source_lacks_becomes_a_class(domains):
    X, y, X_target, _ = domains
    names = np.where(y > 0, "high", "low")
    y_target = np.array(["new", "low"] + [None] * 78, dtype=object)
    model = KMMReweighter(LogisticRegression())
    with pytest.warns(DomainDataWarning, match=r"holds the classes \['new'\], which y"):
        model.fit(X, names, X_target=X_target, y_target=y_target)
    assert list(model.classes_) == ["high", "low", "new"]


def test_several_outputs(domains):
    X, y, X_target, y_target = domains
    both, both_target = np.column_stack([y, -y]), np.column_stack([y_target, -y_target])
    both_target[::2, 1] = np.nan  # a row with a missing output is a row without a label
    model = KMMReweighter(Ridge()).fit(X, both, X_target=X_target, y_target=both_target)
    expected = Ridge().fit(
        np.vstack([X, X_target[1::2]]),
        np.vstack([both, both_target[1::2]]),
        sample_weight=np.concatenate([model.sample_weight_, np.ones(40)]),
    )
    np.testing.assert_allclose(model.predict(X_target), expected.predict(X_target))


def test_weighting_helps_a_misspecified_model(domains):
    """A straight line fits the target's part of a parabola only if it is told where to look."""
    X, y, X_target, y_target = domains
    plain = Ridge().fit(X, y).score(X_target, y_target)
    weighted = KMMReweighter(Ridge()).fit(X, y, X_target=X_target).score(X_target, y_target)
    assert weighted > plain + 0.2


def test_source_weights_multiply(domains):
    X, y, X_target, _ = domains
    weights = np.linspace(0.5, 2, len(X))
    model = KMMReweighter(Ridge()).fit(X, y, weights, X_target=X_target)
    ratio = model.sample_weight_ / weights
    assert ratio.max() <= 1000
    expected = Ridge().fit(X, y, sample_weight=model.sample_weight_)
    np.testing.assert_array_equal(model.estimator_.coef_, expected.coef_)


def test_nothing_given_is_changed(domains):
    arrays = [array.copy() for array in domains]
    for array in arrays:
        array.flags.writeable = False
    X, y, X_target, y_target = arrays
    inner = Ridge()
    KMMReweighter(inner).fit(X, y, np.ones(len(X)), X_target=X_target, y_target=y_target)
    assert not hasattr(inner, "coef_")


# --- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kernel": "gauss"}, "kernel='gauss' is not one of rbf"),
        ({"gamma": -1}, "gamma=-1 is neither 'scale' nor"),
        ({"gamma": "median"}, "gamma='median' is neither"),
        ({"max_weight": 0.5}, "max_weight=0.5 is not a finite number of at least 1"),
        ({"sum_tolerance": -0.1}, "sum_tolerance=-0.1"),
        ({"tol": 0}, "tol=0"),
        ({"tol": np.inf}, "tol=inf"),
        ({"max_iter": 1.5}, "max_iter=1.5"),
        ({"dtype": "float16"}, "dtype='float16' is not one of 'auto', 'float64', 'float32'"),
        ({"degree": "three"}, "degree='three' is not a finite number"),
        ({"coef0": np.inf}, "coef0=inf is not a finite number"),
        ({"kernel": "additive_chi2"}, "additive_chi2 is not positive semi-definite: chi2 is"),
        ({"kernel": "chi2"}, r"kernel='chi2' needs values of at least 0.*MinMaxScaler"),
    ],
)
def test_bad_parameters_are_refused_by_name(domains, parameters, message):
    X, _, X_target, _ = domains
    with pytest.raises(ValueError, match=message):
        KMMReweighter(**parameters).fit(X, X_target=X_target)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"X_target": np.ones((4, 2))}, "X_target has 2 features.*3.*WithTarget"),
        ({"X_target": np.ones((0, 3))}, "X_target has 0 rows"),
        ({"X_target": np.full((4, 3), np.nan)}, "Input X_target contains NaN"),
        ({"X_target": np.ones((4, 3)), "y_target": [1.0]}, "y_target has 1 entries.*4 rows"),
        ({"y_target": [1.0]}, "y_target was given without X_target"),
        ({"X_target": np.ones((2, 3)), "y_target": ["a", "b"]}, "Write the labels of both domains"),
        ({"X_target": np.ones((2, 3)), "y_target": np.ones((2, 2))}, "labels of the same form"),
        ({"sample_weight": -np.ones(120), "X_target": np.ones((2, 3))}, "[Nn]egative"),
    ],
)
def test_bad_data_is_refused_by_name(domains, data, message):
    X, y, _, _ = domains
    with pytest.raises(ValueError, match=message):
        KMMReweighter(Ridge()).fit(X, y, **data)


def test_missing_source_labels_are_refused(domains):
    X, y, X_target, _ = domains
    with pytest.raises(ValueError, match="Input y contains NaN.*only y_target may"):
        KMMReweighter(Ridge()).fit(X, np.where(y > 1, np.nan, y), X_target=X_target)


def test_an_estimator_without_weights_is_refused(domains):
    X, y, X_target, _ = domains
    for inner in (KNeighborsClassifier(), make_pipeline(StandardScaler(), KNeighborsClassifier())):
        with pytest.raises(TypeError, match="KNeighborsClassifier does not support sample_weight"):
            KMMReweighter(inner).fit(X, y > 0, X_target=X_target)


def test_a_gap_above_the_tolerance_warns(domains):
    X, _, X_target, _ = domains
    with pytest.warns(ConvergenceWarning, match="certified to a gap of"):
        KMMReweighter(max_iter=1, tol=1e-12).fit(X, X_target=X_target)


def test_a_kernel_that_overflows_is_refused():
    rows = np.array([[1e200], [1.0]])
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match="kernel of these rows is not finite. Scale"),
    ):
        KMMReweighter(kernel="linear").fit(rows, X_target=rows)
    with pytest.raises(ValueError, match="gamma='scale' cannot be computed"):
        KMMReweighter().fit(rows, X_target=rows)
    KMMReweighter(kernel="cosine").fit(rows, X_target=rows)  # which has no width


def test_without_a_target_it_warns_and_fits_the_base(domains):
    X, y, _, _ = domains
    with pytest.warns(DomainDataWarning, match="KMMReweighter was given no X_target") as caught:
        model = KMMReweighter(Ridge()).fit(X, y)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    np.testing.assert_array_equal(model.estimator_.coef_, Ridge().fit(X, y).coef_)
    np.testing.assert_array_equal(model.sample_weight_, 1)


def test_a_second_fit_forgets_the_first(domains):
    X, y, X_target, _ = domains
    model = KMMReweighter(LogisticRegression()).fit(X, y > 0, X_target=X_target)
    model.set_params(estimator=None).fit(X, X_target=X_target)
    assert not hasattr(model, "predict")
    assert not hasattr(model, "classes_")


def test_the_estimator_alone_predicts(domains):
    X, y, X_target, _ = domains
    weights_only = KMMReweighter().fit(X, X_target=X_target)
    assert not hasattr(weights_only, "predict")
    assert not hasattr(KMMReweighter(Ridge()), "predict_proba")
    assert hasattr(KMMReweighter(LogisticRegression()), "predict_proba")


# --- kernels, sparse rows, precision -----------------------------------------------------


def power(A, B, degree=2):
    return (0.3 * A @ B.T + 1) ** degree


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        ({"kernel": "poly", "gamma": 0.3, "degree": 2}, {"kernel": power}),
        ({"kernel": "poly", "gamma": 0.3}, {"kernel": power, "kernel_params": {"degree": 3}}),
        ({"kernel": "polynomial", "gamma": 0.3, "degree": 2}, {"kernel": power}),
        ({"kernel": "rbf", "gamma": 0.5}, {"kernel": RBF(1.0)}),
        ({"kernel": "laplacian", "gamma": 0.5}, {"kernel": lambda A, B: laplacian(A, B, 0.5)}),
        ({"kernel": "linear"}, {"kernel": lambda A, B: A @ B.T}),
    ],
    ids=lambda given: str({k: v for k, v in given.items() if not callable(v)}),
)
def test_a_callable_equals_the_name(domains, settings, same):
    X, _, X_target, _ = domains
    named = KMMReweighter(max_weight=5, **settings).fit(X, X_target=X_target)
    called = clone(KMMReweighter(max_weight=5, **same)).fit(X, X_target=X_target)
    assert called.objective_ == pytest.approx(named.objective_, rel=1e-6)
    if settings["kernel"] in ("rbf", "laplacian"):  # the others leave the weights open
        np.testing.assert_allclose(called.sample_weight_, named.sample_weight_, atol=1e-2)
    assert called.sample_weight_.std() > 0.5


@pytest.mark.parametrize("kernel", ["chi2", "cosine"])
def test_histograms(kernel):
    """Weights move the mean histogram to the target's."""
    rng = np.random.default_rng(0)
    X, X_target = rng.dirichlet([1, 1, 1, 1], 150), rng.dirichlet([4, 2, 1, 1], 100)
    kmm = KMMReweighter(kernel=kernel).fit(X, X_target=X_target)
    assert kmm.dual_gap_ <= 1e-6
    after = np.average(X, axis=0, weights=kmm.sample_weight_) - X_target.mean(axis=0)
    assert np.abs(after).max() < np.abs(X.mean(axis=0) - X_target.mean(axis=0)).max() / 4
    scaled = KMMReweighter(kernel=kernel).fit(100 * X, X_target=100 * X_target)
    np.testing.assert_allclose(scaled.sample_weight_, kmm.sample_weight_, atol=1e-2)


def test_a_kernel_that_is_indefinite_warns_and_stays_feasible(domains):
    X, _, X_target, _ = domains
    kmm = KMMReweighter(kernel="sigmoid", gamma=0.5, max_weight=4, sum_tolerance=0.1)
    with pytest.warns(ConvergenceWarning, match="'sigmoid' is not positive semi-definite"):
        kmm.fit(X, X_target=X_target)
    assert kmm.dual_gap_ == np.inf
    assert 0 <= kmm.sample_weight_.min() <= kmm.sample_weight_.max() <= 4
    assert abs(kmm.sample_weight_.mean() - 1) <= 0.1 + 1e-8
    K, kappa = np.tanh(0.5 * X @ X.T + 1), 120 * np.tanh(0.5 * X @ X_target.T + 1).mean(axis=1)
    assert kmm.objective_ <= 0.5 * K.sum() - kappa.sum()  # no worse than no weights


@pytest.mark.filterwarnings("ignore:The kernel of KMMReweighter is constant")  # nearly, for sigmoid
@pytest.mark.parametrize("kernel", SPARSE_KERNELS)
def test_sparse_rows_equal_dense_ones(kernel, monkeypatch):
    rng = np.random.default_rng(0)
    X, X_target = rng.poisson(0.5, (90, 8)) * 1.0, rng.poisson(0.8, (60, 8)) * 1.0
    X = np.vstack([X, X[:10]])  # equal rows
    settings = {"kernel": kernel, "max_weight": 5, "gamma": 0.05, "coef0": 2.0}
    if kernel == "sigmoid":
        monkeypatch.setattr(KernelMatrix, "is_surely_indefinite", lambda self: False)
        settings |= {"gamma": 1e-6, "tol": 10.0}
    weights = 1.0 + np.arange(100) % 2
    dense = KMMReweighter(**settings).fit(X, sample_weight=weights, X_target=X_target)
    monkeypatch.setattr(sparse.csr_array, "toarray", refuse_rows(sparse.csr_array.toarray, X))
    for form in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array):
        kmm = KMMReweighter(**settings)
        kmm.fit(form(X), sample_weight=weights, X_target=form(X_target))
        assert kmm.objective_ == pytest.approx(dense.objective_, rel=1e-6)
        assert kmm.n_features_in_ == 8
        np.testing.assert_array_equal(
            kmm.sample_weight_[:10] / weights[:10], kmm.sample_weight_[90:] / weights[90:]
        )
        if kernel in ("rbf", "laplacian"):
            np.testing.assert_allclose(kmm.sample_weight_, dense.sample_weight_, atol=2e-2)
    mixed = KMMReweighter(**settings).fit(sparse.csr_array(X), None, weights, X_target=X_target)
    assert mixed.objective_ == pytest.approx(dense.objective_, rel=1e-6)


def refuse_rows(toarray, X):
    """Return a method that makes arrays dense, but not the rows."""

    def checked(self, *args, **kwargs):
        assert self.shape[1] != X.shape[1], "the rows were made dense"
        return toarray(self, *args, **kwargs)

    return checked


def test_sparse_rows_that_are_stored_differently_are_equal():
    data = [1.0, 2.0, 2.0, 1.0, 0.0, 1.0, 1.0, 2.0]
    X = sparse.csr_array((data, [0, 2, 2, 0, 1, 0, 0, 2], [0, 2, 5, 8]), shape=(3, 3))
    before = X.copy()
    distinct, group = distinct_rows(X)
    assert distinct.shape == (2, 3)
    assert group[0] == group[1] != group[2]
    np.testing.assert_array_equal(distinct[group].toarray(), X.toarray())
    np.testing.assert_array_equal(sorted_rows(X).toarray(), distinct.toarray()[np.sort(group)])
    np.testing.assert_array_equal(X.data, before.data)
    np.testing.assert_array_equal(X.indices, before.indices)


def test_order_of_sparse_rows_is_irrelevant():
    rng = np.random.default_rng(0)
    X, X_target = (sparse.csr_array(rng.poisson(0.5, (n, 6)) * 1.0) for n in (90, 50))
    order = rng.permutation(90)
    first = KMMReweighter(gamma=0.1).fit(X, X_target=X_target).sample_weight_
    second = KMMReweighter(gamma=0.1).fit(X[order], X_target=X_target[::-1]).sample_weight_
    np.testing.assert_array_equal(first[order], second)


def test_sparse_rows_fit_an_estimator():
    rng = np.random.default_rng(0)
    X, X_target = (sparse.csr_array(rng.poisson(0.5, (n, 6)) * 1.0) for n in (90, 50))
    y = X[:, [0]].toarray().ravel()
    model = KMMReweighter(Ridge()).fit(X, y, X_target=X_target, y_target=np.full(50, np.nan))
    expected = Ridge().fit(X, y, sample_weight=model.sample_weight_)
    np.testing.assert_allclose(model.predict(X_target), expected.predict(X_target))


@pytest.mark.parametrize("form", [sparse.coo_matrix, sparse.dia_array, sparse.bsr_array])
def test_sparse_rows_of_any_format(form):
    rng = np.random.default_rng(0)
    X, X_target = (rng.poisson(0.5, (n, 6)) * 1.0 for n in (40, 30))
    y, y_target = X[:, 0], np.where(np.arange(30) < 5, X_target[:, 0], np.nan)
    expected = KMMReweighter(Ridge()).fit(
        sparse.csr_array(X), y, X_target=sparse.csr_array(X_target), y_target=y_target
    )
    model = KMMReweighter(Ridge()).fit(form(X), y, X_target=form(X_target), y_target=y_target)
    np.testing.assert_array_equal(model.sample_weight_, expected.sample_weight_)
    np.testing.assert_array_equal(model.predict(form(X)), expected.predict(sparse.csr_array(X)))


def test_tags_tell_where_sparse_rows_are_taken():
    def takes(*args, **settings):
        return get_tags(KMMReweighter(*args, **settings)).input_tags.sparse

    assert takes()
    assert takes(Ridge())
    assert not takes(HistGradientBoostingRegressor())
    assert not takes(kernel="chi2")
    assert not takes(kernel=power)
    X = sparse.csr_array(np.eye(4))
    for kernel in ("chi2", power):
        with pytest.raises(TypeError, match="^X is sparse, and KMMReweighter needs.* kernels rbf"):
            KMMReweighter(kernel=kernel).fit(X, X_target=X)
        with pytest.raises(TypeError, match="^X_target is sparse, and KMMReweighter needs"):
            KMMReweighter(kernel=kernel).fit(np.eye(4), X_target=X)


def test_float32_is_accounted_for(domains):
    X, _, X_target, _ = domains
    exact = KMMReweighter(tol=1e-9).fit(X, X_target=X_target)
    gaps = {}
    for dtype in ("float64", "float32", "auto"):
        kmm = KMMReweighter(tol=1e-2, dtype=dtype).fit(X, X_target=X_target)
        w = kmm.sample_weight_
        K, kappa = written_out(X, X_target, scale_gamma(X, np.ones(len(X)), X_target))
        above = 0.5 * w @ K @ w - kappa @ w - exact.objective_
        assert above <= kmm.dual_gap_ * abs(kmm.objective_) <= 1e-2 * abs(kmm.objective_)
        gaps[dtype] = kmm.dual_gap_
    assert gaps["auto"] == gaps["float32"] != gaps["float64"]
    with pytest.warns(ConvergenceWarning, match="dtype='float64'"):
        kmm = KMMReweighter(dtype="float32").fit(X, X_target=X_target)
    assert 1e-6 < kmm.dual_gap_ < 1e-2
    assert KMMReweighter().fit(X, X_target=X_target).dual_gap_ <= 1e-6


def test_the_default_tolerance_is_looser_for_many_samples():
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(2001, 2)), rng.normal(0.5, 0.7, size=(200, 2))
    for n, tol in ((2000, 1e-6), (2001, 1e-3)):
        kmm = KMMReweighter().fit(X[:n], X_target=X_target)
        assert kmm.tol_ == tol
        assert kmm.dual_gap_ <= tol
        # A copy is no other sample, and neither is one of weight 0.
        copied = KMMReweighter().fit(np.vstack([X[:n], X[:9]]), X_target=X_target)
        assert copied.tol_ == tol
        if n > 2000:
            weights = np.ones(n)
            weights[0] = 0
            assert KMMReweighter().fit(X, None, weights, X_target=X_target).tol_ == 1e-6
            given = KMMReweighter(tol=1e-6).fit(X, X_target=X_target)
            assert given.tol_ == 1e-6
            assert given.dual_gap_ <= 1e-6
            assert given.objective_ < kmm.objective_


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_many_rows_are_weighed_like_few(dtype):
    """Beyond 2000 rows no matrix is formed; one row more or less changes next to nothing."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(2004, 2)), rng.normal(0.5, 0.7, size=(500, 2))
    fits = [
        KMMReweighter(tol=1e-3, max_weight=20, dtype=dtype).fit(X[:n], X_target=X_target)
        for n in (1999, 2000, 2001, 2004)
    ]
    for kmm in fits:
        assert kmm.dual_gap_ <= 1e-3
        mean = np.average(X[: len(kmm.sample_weight_)], axis=0, weights=kmm.sample_weight_)
        np.testing.assert_allclose(mean, X_target.mean(axis=0), atol=0.03)
        relative = kmm.objective_ / len(kmm.sample_weight_) ** 2
        assert relative == pytest.approx(fits[0].objective_ / 1999**2, rel=2e-3)


def test_a_working_set_that_grows_too_large_warns(domains, monkeypatch):
    monkeypatch.setattr(_kmm, "LARGEST_MATRIX", 0)
    monkeypatch.setattr(_kmm_columns, "_FIRST_ROWS", 30)
    monkeypatch.setattr(_kmm_columns, "_LARGEST_WORKING_SET", 50)
    X, _, X_target, _ = domains
    with pytest.warns(ConvergenceWarning, match="certified to a gap of"):
        kmm = KMMReweighter(gamma=0.5, max_weight=10, tol=1e-12).fit(X, X_target=X_target)
    assert 1e-12 < kmm.dual_gap_ < np.inf


# --- the pool --------------------------------------------------------------------------


def test_the_pool_is_the_sum_of_both_losses(domains):
    X, y, X_target, y_target = domains
    model = PooledEstimator(Ridge()).fit(X, y, X_target=X_target, y_target=y_target)
    expected = Ridge().fit(np.vstack([X, X_target]), np.concatenate([y, y_target]))
    np.testing.assert_array_equal(model.estimator_.coef_, expected.coef_)
    weights = np.linspace(0, 2, len(X))
    weighted = PooledEstimator(Ridge()).fit(X, y, weights, X_target=X_target, y_target=y_target)
    expected = Ridge().fit(
        np.vstack([X, X_target]),
        np.concatenate([y, y_target]),
        sample_weight=np.concatenate([weights, np.ones(len(X_target))]),
    )
    np.testing.assert_array_equal(weighted.estimator_.coef_, expected.coef_)


def test_the_pool_takes_estimators_without_weights(domains):
    X, y, X_target, y_target = domains
    model = PooledEstimator(KNeighborsClassifier(1))
    model.fit(X, y > 0, X_target=X_target, y_target=y_target > 0)
    assert model.score(X_target, y_target > 0) == 1.0


def test_the_pool_without_target_labels_warns(domains):
    X, y, X_target, y_target = domains
    for labels in (None, np.full(len(y_target), np.nan)):
        with pytest.warns(DomainDataWarning, match="no label of a target row"):
            model = PooledEstimator(Ridge()).fit(X, y, X_target=X_target, y_target=labels)
        np.testing.assert_array_equal(model.estimator_.coef_, Ridge().fit(X, y).coef_)


# --- hard problems ---------------------------------------------------------------------


def written_out(X, X_target, gamma):
    """Return the quadratic programme's matrices from differences, without rounding tricks."""
    rows = np.vstack([X, X_target])
    K = np.exp(-gamma * ((X[:, None] - rows[None]) ** 2).sum(axis=2))
    return K[:, : len(X)], len(X) * K[:, len(X) :].mean(axis=1)


@pytest.mark.parametrize("far", [1e7, 1e9, 1e10, 1e15])
@pytest.mark.parametrize("n_far", [1, 60])
def test_far_rows_leave_the_certificate_true(far, n_far):
    """In squared norms, the distances between the other rows would be lost."""
    clarabel = pytest.importorskip("clarabel")
    from scipy import sparse

    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(100, 2)), rng.normal(1, 0.5, size=(80, 2))
    X[-n_far:] += far
    kmm = KMMReweighter(gamma=1.0, max_weight=5).fit(X, X_target=X_target)
    K, kappa = written_out(X, X_target, 1.0)
    w = kmm.sample_weight_
    value = 0.5 * w @ K @ w - kappa @ w
    np.testing.assert_allclose(kmm.objective_, value, rtol=1e-9)
    n, tolerance = len(X), (np.sqrt(len(X)) - 1) / np.sqrt(len(X))
    rows = sparse.csc_matrix(np.vstack([np.ones(n), -np.ones(n), np.eye(n), -np.eye(n)]))
    bounds = np.concatenate(
        [[n * (1 + tolerance), -n * (1 - tolerance)], np.full(n, 5.0), np.zeros(n)]
    )
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-12
    solver = clarabel.DefaultSolver(
        sparse.csc_matrix(np.triu(K)), -kappa, rows, bounds,
        [clarabel.NonnegativeConeT(len(bounds))], settings,
    )  # fmt: skip
    optimum = solver.solve().obj_val
    assert value - optimum <= 1e-6 * abs(optimum) + 1e-9


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kernel", ["linear", "cosine"])
def test_domains_that_are_equal_on_average_keep_their_rows(kernel):
    """The optimum is 0, which equal weights attain: no gap is small beside it."""
    rng = np.random.default_rng(0)
    X, X_target = (
        (Z - Z.mean(axis=0)) / Z.std(axis=0)
        for Z in (rng.normal(size=(100, 5)), rng.normal(size=(80, 5)))
    )
    if kernel == "cosine":  # of equal rows, so that their directions have one mean
        X_target = X[rng.permutation(100)]
    kmm = KMMReweighter(kernel=kernel).fit(X, X_target=X_target)
    assert kmm.objective_ <= 1e-6
    assert kmm.effective_sample_size_ > 50
    w = kmm.sample_weight_
    if kernel == "linear":
        np.testing.assert_allclose(w @ X / w.sum(), 0, atol=1e-5)


@pytest.mark.parametrize("kernel", ["linear", "polynomial"])
@pytest.mark.parametrize(
    "X", [[[1.0], [-1.0]], [[0.0], [0.0]], [[1.0, -1.0], [-1.0, 1.0], [2.0, -2.0]]]
)
def test_rows_that_cancel_out_raise_no_warning(kernel, X):
    X_target = np.ones((2, np.shape(X)[1])) * 0.3
    kmm = KMMReweighter(kernel=kernel, gamma=0.1).fit(X, X_target=X_target)
    assert np.isfinite(kmm.sample_weight_).all()
    assert kmm.n_iter_ < 100


def test_repeated_target_rows_count(domains):
    X, _, X_target, _ = domains
    repeated = np.vstack([X_target, X_target[:20], X_target[:20]])
    plain = KMMReweighter(gamma=0.5).fit(X, X_target=X_target).sample_weight_
    kmm = KMMReweighter(gamma=0.5).fit(X, X_target=repeated)
    assert np.abs(kmm.sample_weight_ - plain).max() > 0.1
    K, kappa = written_out(X, repeated, 0.5)
    w = kmm.sample_weight_
    np.testing.assert_allclose(kmm.objective_, 0.5 * w @ K @ w - kappa @ w, rtol=1e-9)


def test_a_bound_that_cannot_bind_changes_nothing(domains):
    X, _, X_target, _ = domains
    total = len(X)
    for tolerance in (0.0, 0.5):
        fits = [
            KMMReweighter(max_weight=bound, sum_tolerance=tolerance).fit(X, X_target=X_target)
            for bound in (2.0 * total, 1e300)
        ]
        np.testing.assert_allclose(fits[0].sample_weight_, fits[1].sample_weight_, atol=1e-4)
        assert abs(fits[1].sample_weight_.sum() / total - 1) <= tolerance + 1e-8


@pytest.mark.filterwarnings("ignore:The kernel of KMMReweighter is an identity")
def test_the_default_tolerance_is_that_of_the_literature():
    """Rows that resemble no target row: the sum falls as far as it may, to sqrt(n)."""
    X, X_target = np.arange(25.0)[:, None], np.full((4, 1), 1e3)
    kmm = KMMReweighter(gamma=10.0).fit(X, X_target=X_target)
    np.testing.assert_allclose(kmm.sample_weight_.sum(), 5.0, rtol=1e-8)


def test_missing_values_are_refused_whatever_the_estimator_takes(domains):
    X, y, X_target, _ = domains
    model = KMMReweighter(HistGradientBoostingRegressor())
    assert not get_tags(model).input_tags.allow_nan
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.where(X > 2, np.nan, X), y, X_target=X_target)


def test_gamma_of_another_kind_is_named(domains):
    X, _, X_target, _ = domains
    for gamma in (np.array([1.0, 2.0]), "wide", None):
        with pytest.raises(ValueError, match="gamma=.* is neither 'scale' nor a number"):
            KMMReweighter(gamma=gamma).fit(X, X_target=X_target)


def test_words_among_the_columns_are_refused_with_the_remedy():
    rows = np.array([["a", 1.0], ["b", 2.0]], dtype=object)
    with pytest.raises(ValueError, match="KMMReweighter compares rows as numbers. Encode them"):
        KMMReweighter().fit(rows, X_target=rows)


def test_weights_that_are_all_zero_are_refused():
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="gives every source row the weight 0"):
            KMMReweighter(gamma=1.0, sum_tolerance=1.0).fit(X, X_target=X + 1e3)
