"""The in-context classifier: its network against torch, what it is invariant to, what it gains."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.recipes.incontext.network import InContextNetwork as TrainedNetwork
from skltransfer import DomainDataWarning, InContextTransferClassifier, WithSource, WithTarget
from skltransfer.relation._in_context_inputs import N_SUMMARY_INPUTS, N_TOKEN_INPUTS
from skltransfer.relation._in_context_network import InContextNetwork


def turned_pair(seed, n_source=200, n_target=30, n_features=6, angle=0.5, n_test=400):
    """Return a source, and a target whose coefficients are turned by an angle."""
    rng = np.random.default_rng(seed)
    own, other = np.linalg.qr(rng.normal(size=(n_features, 2)))[0].T
    X, X_target = (rng.normal(size=(n, n_features)) for n in (n_source, n_target + n_test))
    of_target = np.cos(angle) * own + np.sin(angle) * other
    y, y_target = (
        (X @ w + 0.3 * rng.normal(size=len(X)) > 0).astype(int)
        for X, w in ((X, own), (X_target, of_target))
    )
    known, test = slice(n_target), slice(n_target, None)
    return X, y, X_target[known], y_target[known], X_target[test], y_target[test]


X, Y, X_TARGET, Y_TARGET, X_TEST, Y_TEST = turned_pair(0)
KNOWN = {"X_target": X_TARGET, "y_target": Y_TARGET}


# --- the network ---------------------------------------------------------------------------


@pytest.mark.parametrize(("n_heads", "factor"), [(2, 1), (4, 1), (2, 1000)])
def test_numpy_computes_what_torch_does(n_heads, factor):
    """Also where products of queries and keys are beyond what exp takes."""
    torch.manual_seed(0)
    trained = TrainedNetwork(16, 3, n_heads).double()
    with torch.no_grad():
        trained.blocks[0].query.weight.mul_(factor)
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(3, 50, N_TOKEN_INPUTS))
    known = rng.normal(size=(3, N_SUMMARY_INPUTS))
    network = InContextNetwork(
        {name: value.numpy() for name, value in trained.state_dict().items()}, n_heads
    )
    found = network.predict(tokens[:, 30:], known, network.read(tokens[:, :30], known))
    with torch.no_grad():
        tokens, known = (torch.from_numpy(part) for part in (tokens, known))
        expected = trained(tokens, known, 30).numpy()
    assert found.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_a_query_is_alone():
    """What is predicted for a sample does not depend on the samples beside it."""
    model = InContextTransferClassifier().fit(X, Y, **KNOWN)
    together = model.predict_proba(X_TEST)
    alone = np.concatenate([model.predict_proba(X_TEST[[row]]) for row in range(20)])
    np.testing.assert_allclose(together[:20], alone, rtol=0, atol=1e-9)


def test_many_samples_are_predicted_in_parts():
    model = InContextTransferClassifier().fit(X, Y, **KNOWN)
    many = np.tile(X_TEST, (25, 1))
    found = model.predict_proba(many)
    np.testing.assert_allclose(found, np.tile(model.predict_proba(X_TEST), (25, 1)), atol=1e-9)


# --- invariance ----------------------------------------------------------------------------


@pytest.mark.parametrize(("n_source", "n_members"), [(100, 1), (200, 3)])
def test_order_and_units_do_not_matter(n_source, n_members):
    X, y, X_target, y_target, X_test, _ = turned_pair(1, n_source)
    model = InContextTransferClassifier(n_members=n_members)
    expected = model.fit(X, y, X_target=X_target, y_target=y_target).predict_proba(X_test)
    rng = np.random.default_rng(0)
    rows, others, columns = (rng.permutation(n) for n in (len(X), len(X_target), X.shape[1]))
    scale, shift = np.exp(3 * rng.normal(size=X.shape[1])), 100 * rng.normal(size=X.shape[1])

    def changed(rows):
        return rows[:, columns] * scale + shift

    model.fit(
        changed(X[rows]), y[rows], X_target=changed(X_target[others]), y_target=y_target[others]
    )
    np.testing.assert_allclose(model.predict_proba(changed(X_test)), expected, rtol=0, atol=1e-6)


def test_names_of_the_classes_do_not_matter():
    expected = InContextTransferClassifier().fit(X, Y, **KNOWN).predict_proba(X_TEST)
    swapped = InContextTransferClassifier().fit(X, 1 - Y, X_target=X_TARGET, y_target=1 - Y_TARGET)
    np.testing.assert_allclose(swapped.predict_proba(X_TEST)[:, ::-1], expected, atol=1e-6)
    named = InContextTransferClassifier().fit(
        X, np.array(["no", "yes"])[Y], X_target=X_TARGET, y_target=np.array(["no", "yes"])[Y_TARGET]
    )
    assert named.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(named.predict_proba(X_TEST), expected)


def test_the_same_seed_gives_the_same_bits():
    first, second = (InContextTransferClassifier().fit(X, Y, **KNOWN) for _ in range(2))
    np.testing.assert_array_equal(first.predict_proba(X_TEST), second.predict_proba(X_TEST))
    other = InContextTransferClassifier(random_state=1).fit(X, Y, **KNOWN)
    difference = np.abs(other.predict_proba(X_TEST) - first.predict_proba(X_TEST)).max()
    assert 0 < difference < 0.1


# --- what it learns ------------------------------------------------------------------------


def test_both_domains_count():
    """On average it beats a model of either domain and one of both."""
    losses = {"in context": [], "source": [], "target": [], "pooled": []}
    for seed in range(12):
        X, y, X_target, y_target, X_test, y_test = turned_pair(seed)
        models = {
            "in context": InContextTransferClassifier().fit(
                X, y, X_target=X_target, y_target=y_target
            ),
            "source": LogisticRegression().fit(X, y),
            "target": LogisticRegression().fit(X_target, y_target),
            "pooled": LogisticRegression().fit(np.r_[X, X_target], np.r_[y, y_target]),
        }
        for name, model in models.items():
            losses[name].append(log_loss(y_test, model.predict_proba(X_test)))
    means = {name: np.mean(some) for name, some in losses.items()}
    assert all(means["in context"] < mean for name, mean in means.items() if name != "in context")


def test_a_source_against_the_target_is_turned_around():
    """A source with flipped labels is worth almost as much as the source itself."""
    gains = []
    for seed in range(8):
        X, y, X_target, y_target, X_test, y_test = turned_pair(seed, n_target=20, angle=np.pi)
        model = InContextTransferClassifier().fit(X, y, X_target=X_target, y_target=y_target)
        alone = LogisticRegression().fit(X_target, y_target)
        gains.append(model.score(X_test, y_test) - alone.score(X_test, y_test))
    assert np.mean(gains) > 0.02


def test_a_source_with_random_labels_does_little_harm():
    losses = []
    for seed in range(8):
        X, y, X_target, y_target, X_test, y_test = turned_pair(seed)
        y = np.random.default_rng(seed).permutation(y)
        model = InContextTransferClassifier().fit(X, y, X_target=X_target, y_target=y_target)
        alone = LogisticRegression().fit(X_target, y_target)
        losses.append(alone.score(X_test, y_test) - model.score(X_test, y_test))
    assert np.mean(losses) < 0.04  # of one draw of noise; real pairs stand in the guide


def test_several_classes():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 4)) * 2
    y, y_target = rng.integers(5, size=200), rng.integers(5, size=320)
    X = centres[y] + rng.normal(size=(200, 4))
    X_target = centres[y_target] + 1 + rng.normal(size=(320, 4))
    model = InContextTransferClassifier().fit(X, y, X_target=X_target[:20], y_target=y_target[:20])
    p = model.predict_proba(X_target[20:])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    source = LogisticRegression().fit(X, y).predict_proba(X_target[20:])
    assert log_loss(y_target[20:], p) < log_loss(y_target[20:], source)


def test_samples_without_a_label_tell_about_the_target():
    labels = np.where(np.arange(30) < 10, Y_TARGET, np.nan)
    some = InContextTransferClassifier().fit(X, Y, X_target=X_TARGET, y_target=labels)
    fewer = InContextTransferClassifier().fit(X, Y, X_target=X_TARGET[:10], y_target=Y_TARGET[:10])
    difference = np.abs(some.predict_proba(X_TEST) - fewer.predict_proba(X_TEST)).max()
    assert 1e-4 < difference < 0.2


def test_without_any_label_the_source_decides():
    model = InContextTransferClassifier().fit(X, Y, X_target=X_TARGET)
    source = LogisticRegression().fit(X, Y)
    assert (model.predict(X_TEST) == source.predict(X_TEST)).mean() > 0.9


def test_without_a_target_it_is_a_classifier_of_one_domain():
    rows, labels = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    rows, labels = rows[order], labels[order]
    with pytest.warns(DomainDataWarning, match="in the context of X and y alone"):
        model = InContextTransferClassifier().fit(rows[:100], labels[:100])
    logistic = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows[:100], labels[:100])
    assert model.score(rows[100:], labels[100:]) > logistic.score(rows[100:], labels[100:]) - 0.02


# --- data ----------------------------------------------------------------------------------


def test_one_class_in_a_domain():
    with pytest.warns(DomainDataWarning, match="which y \\(source\\) lacks"):
        ones = InContextTransferClassifier().fit(X, np.ones(len(X), dtype=int), **KNOWN)
    assert ones.score(X_TEST, Y_TEST) > 0.6
    model = InContextTransferClassifier().fit(
        X, Y, X_target=X_TARGET, y_target=np.ones(30, dtype=int)
    )
    without = InContextTransferClassifier().fit(X, Y, X_target=X_TARGET)
    assert model.predict_proba(X_TEST)[:, 1].mean() > without.predict_proba(X_TEST)[:, 1].mean()


def test_more_features_than_samples():
    """They are rotated into the span of the samples, which changes nothing."""
    X, y, X_target, y_target, X_test, y_test = turned_pair(2, 60, 20, n_features=120)
    model = InContextTransferClassifier().fit(X, y, X_target=X_target, y_target=y_target)
    assert model._directions.shape == (120, 79)  # 80 samples about their mean
    standard = model._standardize(X_test)
    expected = standard @ model._directions @ model._directions.T
    both = model._standardize(np.concatenate([X, X_target]))
    np.testing.assert_allclose(both @ model._directions @ model._directions.T, both, atol=1e-9)
    assert np.abs(expected - standard).max() > 0.1
    alone = LogisticRegression().fit(X_target, y_target)
    assert model.score(X_test, y_test) > alone.score(X_test, y_test)


def test_constant_features_change_nothing():
    expected = InContextTransferClassifier().fit(X, Y, **KNOWN).predict(X_TEST)

    def wider(rows):
        return np.column_stack([rows, np.full(len(rows), 1e7 / 3)])

    model = InContextTransferClassifier().fit(
        wider(X), Y, X_target=wider(X_TARGET), y_target=Y_TARGET
    )
    assert (model.predict(wider(X_TEST)) == expected).mean() > 0.95


@pytest.mark.parametrize("n_features", [2, 10])
def test_equal_samples_are_predicted_alike(n_features):
    ones, labels = np.ones((4, n_features)), np.arange(4) % 2
    model = InContextTransferClassifier().fit(ones, labels, X_target=ones[:2], y_target=labels[:2])
    assert model.predict_proba(ones).std(axis=0).max() < 1e-12


def test_frames():
    names = list("abcdef")
    frame, target = (pd.DataFrame(rows, columns=names) for rows in (X, X_TARGET))
    model = InContextTransferClassifier().fit(
        frame, Y, X_target=target[names[::-1]], y_target=Y_TARGET
    )
    expected = InContextTransferClassifier().fit(X, Y, **KNOWN)
    np.testing.assert_array_equal(
        model.predict_proba(pd.DataFrame(X_TEST, columns=names)), expected.predict_proba(X_TEST)
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(200), "All labels are of one class"),
        (np.arange(200) % 11, "hold 11 classes"),
        (np.where(np.arange(200) > 0, Y, np.nan), "y contains NaN"),
    ],
)
def test_labels_that_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        InContextTransferClassifier().fit(X, labels, X_target=X_TARGET)


def test_domains_that_do_not_fit():
    with pytest.raises(ValueError, match="X_target has 5 features"):
        InContextTransferClassifier().fit(X, Y, X_target=X_TARGET[:, :5], y_target=Y_TARGET)
    with pytest.raises(ValueError, match="have no class in common"):
        InContextTransferClassifier().fit(X, Y, X_target=X_TARGET, y_target=Y_TARGET + 5)
    with pytest.raises(ValueError, match="without X_target"):
        InContextTransferClassifier().fit(X, Y, y_target=Y_TARGET)


# --- weights -------------------------------------------------------------------------------


def test_weights_of_a_file_are_used(tmp_path):
    torch.manual_seed(0)
    network = TrainedNetwork(16, 2, 2)
    path = tmp_path / "own.safetensors"
    save_file(network.state_dict(), path, metadata={"n_heads": "2"})
    own = InContextTransferClassifier(weights=path).fit(X, Y, **KNOWN)
    default = InContextTransferClassifier().fit(X, Y, **KNOWN)
    assert np.abs(own.predict_proba(X_TEST) - default.predict_proba(X_TEST)).max() > 0.1
    assert clone(own).weights == path


@pytest.mark.parametrize(
    ("contents", "metadata", "message"),
    [
        (None, None, "is no file"),
        (b"nothing of the kind", None, "is no safetensors file"),
        ({"token.weight": torch.zeros(4, 4)}, {}, "no n_heads"),
        ({"token.weight": torch.zeros(4, 4)}, {"n_heads": "2"}, "has the shape"),
        ({"head.weight": torch.zeros(4, 4)}, {"n_heads": "2"}, "token.weight is missing"),
    ],
)
def test_files_that_are_refused(tmp_path, contents, metadata, message):
    path = tmp_path / "weights.safetensors"
    if isinstance(contents, bytes):
        path.write_bytes(contents)
    elif contents is not None:
        save_file(contents, path, metadata=metadata)
    with pytest.raises(ValueError, match=message):
        InContextTransferClassifier(weights=str(path)).fit(X, Y, **KNOWN)
    with pytest.raises(ValueError, match="is no path"):
        InContextTransferClassifier(weights=3).fit(X, Y, **KNOWN)


# --- in compositions -----------------------------------------------------------------------


def test_in_cross_validation_behind_a_scaler():
    model = make_pipeline(StandardScaler(), InContextTransferClassifier())
    target = np.concatenate([X_TARGET, X_TEST[:70]]), np.concatenate([Y_TARGET, Y_TEST[:70]])
    found = cross_val_score(WithSource(model, X_source=X, y_source=Y), *target)
    assert found.mean() > 0.75
    held = WithTarget(model, **KNOWN).fit(X, Y)
    expected = InContextTransferClassifier().fit(X, Y, **KNOWN)
    np.testing.assert_allclose(
        held.predict_proba(X_TEST), expected.predict_proba(X_TEST), atol=1e-6
    )


def test_neither_fit_nor_prediction_loads_torch():
    script = """
import sys
import numpy as np
from skltransfer import InContextTransferClassifier
rng = np.random.default_rng(0)
X, y = rng.normal(size=(40, 3)), np.arange(40) % 2
InContextTransferClassifier().fit(X, y, X_target=X[:5], y_target=y[:5]).predict_proba(X)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
