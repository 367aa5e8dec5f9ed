"""The in-context regressor: what its network reads, what it is invariant to, what it gains."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import DomainDataWarning, InContextTransferRegressor, WithSource, WithTarget
from skltransfer.relation._in_context_inputs import (
    N_SCORES,
    N_SUMMARY_INPUTS,
    N_TOKEN_INPUTS,
    Scores,
)
from skltransfer.relation._in_context_numbers import (
    Units,
    context_tokens,
    query_tokens,
    summary,
)
from skltransfer.relation._in_context_weights import DEFAULTS


def turned_pair(seed, n_source=200, n_target=15, n_features=6, angle=0.5, n_test=400):
    """Return a source, and a target whose coefficients are turned by an angle."""
    rng = np.random.default_rng(seed)
    own, other = np.linalg.qr(rng.normal(size=(n_features, 2)))[0].T
    X, X_target = (rng.normal(size=(n, n_features)) for n in (n_source, n_target + n_test))
    of_target = np.cos(angle) * own + np.sin(angle) * other
    y, y_target = (
        X @ w + 0.3 * rng.normal(size=len(X)) for X, w in ((X, own), (X_target, of_target))
    )
    known, test = slice(n_target), slice(n_target, None)
    return X, y, X_target[known], y_target[known], X_target[test], y_target[test]


X, Y, X_TARGET, Y_TARGET, X_TEST, Y_TEST = turned_pair(0)
KNOWN = {"X_target": X_TARGET, "y_target": Y_TARGET}


# --- what the network reads ----------------------------------------------------------------


def test_units_let_each_domain_count_alike():
    source, target = np.array([0.0, 2.0, 4.0, 6.0]), np.array([10.0, 12.0])
    units = Units.of(source, target)
    assert units.mean == pytest.approx(7.0)
    assert units.scale == pytest.approx(np.sqrt((21 + 17) / 2))
    columns = units.columns(target)
    np.testing.assert_allclose(columns[:, 0] * units.scale + units.mean, target)
    np.testing.assert_array_equal(columns[:, 1], -columns[:, 0])
    assert Units.of(source[:0], target).mean == pytest.approx(11.0)
    constant = Units.of(np.full(3, 0.1), np.full(2, 0.1))
    assert constant.scale == 0
    np.testing.assert_allclose(constant.columns(np.full(2, 0.1)), 0, atol=1e-15)


def test_tokens_hold_scores_residuals_and_domain():
    scores = np.arange(N_SCORES, dtype=float)[None] / 10
    tokens = context_tokens(scores, np.array([0.5]), is_target=True)
    assert tokens.shape == (1, N_TOKEN_INPUTS)
    np.testing.assert_allclose(tokens[0, :N_SCORES], scores[0])
    np.testing.assert_allclose(tokens[0, N_SCORES : 2 * N_SCORES], 0)
    np.testing.assert_allclose(tokens[0, 2 * N_SCORES : 3 * N_SCORES], scores[0] - 0.5)
    np.testing.assert_allclose(tokens[0, 3 * N_SCORES :], [0, 0, 0.5, 1, 0])
    new = query_tokens(scores)
    np.testing.assert_allclose(new[0, :N_SCORES], scores[0])
    np.testing.assert_allclose(new[0, N_SCORES:], [0] * (N_TOKEN_INPUTS - N_SCORES - 1) + [1])


def test_the_summary_holds_errors_on_both_domains():
    rng = np.random.default_rng(0)
    source, target, others = (rng.normal(size=(n, 2, N_SCORES)) for n in (7, 4, 3))
    Y_source, Y_target = rng.normal(size=(7, 2)), rng.normal(size=(4, 2))
    known = summary(Scores(source, target), Y_source, Y_target, others, 5)
    assert known.shape == (2, N_SUMMARY_INPUTS)
    errors = target[:, 1] - Y_target[:, 1, None]
    parts = known[1, : 6 * N_SCORES].reshape(6, N_SCORES)
    np.testing.assert_allclose(parts[0], errors.mean(axis=0))
    np.testing.assert_allclose(parts[1], np.abs(errors).mean(axis=0))
    np.testing.assert_allclose(parts[2], np.minimum((errors**2).mean(axis=0), 4))
    of_source = ((source[:, 1] - Y_source[:, 1, None]) ** 2).mean(axis=0)
    np.testing.assert_allclose(parts[3], np.minimum(of_source, 4))
    both = np.concatenate([target, others])[:, 1]
    np.testing.assert_allclose(parts[4:], [both.mean(axis=0), both.std(axis=0)])
    np.testing.assert_allclose(known[1, -6:-3], np.log1p([7, 4, 5]) / 5)
    moments = [Y_target[:, 1].mean(), Y_target[:, 1].std(), Y_source[:, 1].mean()]
    np.testing.assert_allclose(known[1, -3:], moments)


# --- invariance ----------------------------------------------------------------------------


@pytest.mark.parametrize(("n_source", "n_members"), [(60, 1), (200, 3)])
@pytest.mark.parametrize("factor", [100.0, -0.01])
def test_order_units_and_sign_do_not_matter(n_source, n_members, factor):
    X, y, X_target, y_target, X_test, _ = turned_pair(1, n_source)
    model = InContextTransferRegressor(n_members=n_members)
    expected = model.fit(X, y, X_target=X_target, y_target=y_target).predict(X_test)
    rng = np.random.default_rng(0)
    rows, others, columns = (rng.permutation(n) for n in (len(X), len(X_target), X.shape[1]))
    scale, shift = np.exp(3 * rng.normal(size=X.shape[1])), 100 * rng.normal(size=X.shape[1])

    def changed(rows):
        return rows[:, columns] * scale + shift

    model.fit(
        changed(X[rows]),
        7 + factor * y[rows],
        X_target=changed(X_target[others]),
        y_target=7 + factor * y_target[others],
    )
    found = (model.predict(changed(X_test)) - 7) / factor
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_the_same_seed_gives_the_same_bits():
    first, second = (InContextTransferRegressor().fit(X, Y, **KNOWN) for _ in range(2))
    np.testing.assert_array_equal(first.predict(X_TEST), second.predict(X_TEST))


def test_a_query_is_alone():
    model = InContextTransferRegressor().fit(X, Y, **KNOWN)
    together = model.predict(X_TEST)
    alone = np.concatenate([model.predict(X_TEST[[row]]) for row in range(20)])
    np.testing.assert_allclose(together[:20], alone, rtol=0, atol=1e-9)


# --- what it learns ------------------------------------------------------------------------


def test_both_domains_count():
    """On average it beats a model of either domain and one of both."""
    errors = {"in context": [], "source": [], "target": [], "pooled": []}
    for seed in range(12):
        X, y, X_target, y_target, X_test, y_test = turned_pair(seed)
        models = {
            "in context": InContextTransferRegressor().fit(
                X, y, X_target=X_target, y_target=y_target
            ),
            "source": Ridge().fit(X, y),
            "target": Ridge().fit(X_target, y_target),
            "pooled": Ridge().fit(np.r_[X, X_target], np.r_[y, y_target]),
        }
        for name, model in models.items():
            errors[name].append(mean_squared_error(y_test, model.predict(X_test)))
    means = {name: np.mean(some) for name, some in errors.items()}
    assert all(means["in context"] < mean for name, mean in means.items() if name != "in context")


@pytest.mark.parametrize(("angle", "n_target", "bound"), [(np.pi, 15, 0.9), (np.pi / 2, 30, 1.3)])
def test_a_source_of_no_use_does_little_harm(angle, n_target, bound):
    """A source against the target is turned around, and one at right angles is not followed."""
    ratios = []
    for seed in range(8):
        X, y, X_target, y_target, X_test, y_test = turned_pair(seed, n_target=n_target, angle=angle)
        model = InContextTransferRegressor().fit(X, y, X_target=X_target, y_target=y_target)
        alone = Ridge().fit(X_target, y_target)
        ratios.append(
            mean_squared_error(y_test, model.predict(X_test))
            / mean_squared_error(y_test, alone.predict(X_test))
        )
    assert np.mean(ratios) < bound


def test_samples_without_a_label_tell_about_the_target():
    labels = np.where(np.arange(15) < 8, Y_TARGET, np.nan)
    some = InContextTransferRegressor().fit(X, Y, X_target=X_TARGET, y_target=labels)
    fewer = InContextTransferRegressor().fit(X, Y, X_target=X_TARGET[:8], y_target=Y_TARGET[:8])
    difference = np.abs(some.predict(X_TEST) - fewer.predict(X_TEST)).max()
    assert 1e-4 < difference < 1


def test_without_any_label_the_source_decides():
    model = InContextTransferRegressor().fit(X, Y, X_target=X_TARGET)
    source = Ridge().fit(X, Y)
    assert np.corrcoef(model.predict(X_TEST), source.predict(X_TEST))[0, 1] > 0.95


def test_without_a_target_it_is_a_regressor_of_one_domain():
    with pytest.warns(DomainDataWarning, match="in the context of X and y alone"):
        model = InContextTransferRegressor().fit(X_TARGET, Y_TARGET)
    alone = Ridge().fit(X_TARGET, Y_TARGET)
    assert model.score(X_TEST, Y_TEST) > alone.score(X_TEST, Y_TEST) - 0.05


# --- data ----------------------------------------------------------------------------------


def test_constant_labels_are_predicted():
    model = InContextTransferRegressor().fit(
        X, np.full(200, 0.1), X_target=X_TARGET, y_target=np.full(15, 0.1)
    )
    np.testing.assert_allclose(model.predict(X_TEST), 0.1, rtol=1e-12)


def test_more_features_than_samples():
    X, y, X_target, y_target, X_test, y_test = turned_pair(2, 60, 20, n_features=120)
    model = InContextTransferRegressor().fit(X, y, X_target=X_target, y_target=y_target)
    alone = Ridge().fit(X_target, y_target)
    assert mean_squared_error(y_test, model.predict(X_test)) < mean_squared_error(
        y_test, alone.predict(X_test)
    )


@pytest.mark.parametrize("n_features", [2, 10])
def test_equal_samples_are_predicted_alike(n_features):
    ones, labels = np.ones((4, n_features)), np.arange(4.0)
    model = InContextTransferRegressor().fit(ones, labels, X_target=ones[:2], y_target=labels[:2])
    assert model.predict(ones).std() < 1e-12


def test_data_that_are_refused():
    with pytest.raises(ValueError, match="y contains NaN"):
        InContextTransferRegressor().fit(X, np.where(np.arange(200) > 0, Y, np.nan), **KNOWN)
    with pytest.raises(ValueError, match="1d array"):
        InContextTransferRegressor().fit(X, np.column_stack([Y, Y]), **KNOWN)
    with pytest.raises(ValueError, match="X_target has 5 features"):
        InContextTransferRegressor().fit(X, Y, X_target=X_TARGET[:, :5], y_target=Y_TARGET)
    with pytest.raises(ValueError, match="trained for classes, not for numbers"):
        InContextTransferRegressor(weights=DEFAULTS["classes"]).fit(X, Y, **KNOWN)


# --- in compositions -----------------------------------------------------------------------


def test_in_cross_validation_behind_a_scaler():
    model = make_pipeline(StandardScaler(), InContextTransferRegressor())
    target = np.concatenate([X_TARGET, X_TEST[:70]]), np.concatenate([Y_TARGET, Y_TEST[:70]])
    assert cross_val_score(WithSource(model, X_source=X, y_source=Y), *target).mean() > 0.75
    held = WithTarget(model, **KNOWN).fit(X, Y)
    expected = InContextTransferRegressor().fit(X, Y, **KNOWN)
    np.testing.assert_allclose(held.predict(X_TEST), expected.predict(X_TEST), atol=1e-6)


def test_neither_fit_nor_prediction_loads_torch():
    script = """
import sys
import numpy as np
from skltransfer import InContextTransferRegressor
X = np.random.default_rng(0).normal(size=(40, 3))
y = X[:, 0]
InContextTransferRegressor().fit(X[:20], y[:20], X_target=X[20:], y_target=y[20:]).predict(X)
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
