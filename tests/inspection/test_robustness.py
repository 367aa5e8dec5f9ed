"""Attacks against closed forms and bounds, and what a report says of two networks."""

import pickle
import sys

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skltransfer import (
    Backbone,
    DANNClassifier,
    FineTunedClassifier,
    FineTunedRegressor,
    Preprocessing,
    RegularizedTransferClassifier,
    adversarial_examples,
    robustness_report,
)
from skltransfer.inspection import AttackResult, RobustnessReport
from skltransfer.inspection._robustness import _share

art = pytest.importorskip("art.attacks.evasion")
DIGITS, LABELS = load_digits(return_X_y=True)
TRAIN, TEST = slice(0, 200), slice(200, 260)


class Small(nn.Module):
    """A convolution with batch normalisation and dropout."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2)
        )

    def forward(self, x):
        return nn.functional.adaptive_avg_pool2d(self.layers(x), 4).flatten(1)


def small(size=8):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Small().eval()
    return Backbone("small", module, Preprocessing(size, size, mean=(0.5,), std=(0.25,)))


@pytest.fixture(scope="module")
def of_images():
    """A network of images that are flat, with values from 0 to 16."""
    model = FineTunedClassifier(small(), max_epochs=15, image_shape=(8, 8), value_range=(0, 16))
    return model.fit(DIGITS[TRAIN], LABELS[TRAIN])


@pytest.fixture(scope="module")
def of_source():
    model = FineTunedClassifier(
        small(), strategy="linear_probe", image_shape=(8, 8), value_range=(0, 16)
    )
    return model.fit(DIGITS[TRAIN], LABELS[TRAIN])


def blobs(n_classes, n=60):
    rng = np.random.default_rng(n_classes)
    y = np.arange(n) % n_classes
    X = rng.normal(size=(n_classes, 5))[y] + rng.normal(size=(n, 5))
    return X * [1.0, 10.0, 0.1, 3.0, 1.0] + [0, 1000.0, 0, -5, 2], y


def linear(X, y):
    return FineTunedClassifier(None, hidden_layer_sizes=(), weight_decay=1e-2).fit(X, y)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("sureness", [1.0, 1e4])
def test_the_fast_gradient_sign_has_a_closed_form_on_a_linear_model(n_classes, sureness):
    """Also where the model is so sure that its probabilities are 0 and 1."""
    X, y = blobs(n_classes)
    model = linear(X, y)
    with torch.no_grad():
        for parameter in model.network_.head.parameters():
            parameter *= sureness
    scores = model.decision_function
    zero = np.zeros((1, 5))
    weights = np.stack([scores(row[None])[0] - scores(zero)[0] for row in np.eye(5)])
    if n_classes == 2:
        direction = np.where(y[:, None] == 1, -1, 1) * np.sign(weights.ravel())
    else:
        logits = scores(X)
        own = np.eye(n_classes, dtype=bool)[y]
        others = softmax(np.where(own, -np.inf, logits), axis=1)
        direction = np.sign(others @ weights.T - weights[:, y].T)
    expected = X + 0.3 * X.std(axis=0) * direction
    for method in ("fgsm", "pgd") if n_classes == 2 else ("fgsm",):
        found = adversarial_examples(model, X, y, epsilon=0.3, method=method)
        np.testing.assert_allclose(found, expected, atol=1e-5 * X.std(axis=0).max())
    assert model.score(expected, y) < model.score(X, y)


def test_more_steps_do_more_harm_and_noise_does_little(of_images):
    X, y = DIGITS[TEST], LABELS[TEST]
    accuracy = {
        method: of_images.score(
            adversarial_examples(of_images, X, y, epsilon=0.08, method=method), y
        )
        for method in ("noise", "fgsm", "pgd")
    }
    clean = of_images.score(X, y)
    assert accuracy["pgd"] <= accuracy["fgsm"] < clean - 0.2
    assert accuracy["noise"] > accuracy["fgsm"] + 0.2


@pytest.mark.parametrize("method", ["noise", "fgsm", "pgd"])
@pytest.mark.parametrize("form", ["flat", "grey", "channels last", "bytes"])
def test_changes_stay_inside_of_epsilon_and_of_the_range(method, form, of_images):
    X, white, epsilon = DIGITS[TEST], 16.0, 0.1
    if form == "flat":
        model = of_images
    else:
        X = X.reshape(-1, 8, 8)
        if form == "bytes":
            X, white = np.round(X / 16 * 255).astype(np.uint8), 255
        if form == "channels last":
            X = X[..., None].astype(np.float32)
        value_range = None if form == "bytes" else (0, 16)
        model = FineTunedClassifier(small(12), max_epochs=5, value_range=value_range)
        model.fit(X, LABELS[TEST])
    found = adversarial_examples(model, X, LABELS[TEST], epsilon=epsilon, method=method, n_steps=5)
    assert found.shape == X.shape and found.dtype == X.dtype
    change = np.abs(found.astype(float) - X)
    assert change.max() <= epsilon * white * (1 + 1e-6)
    assert change.max() > 0.9 * epsilon * white
    assert found.min() >= 0 and found.max() <= white


def test_whole_levels_of_bytes_are_whole(of_images):
    X = np.full((20, 8, 8), 100, dtype=np.uint8)
    X[::2, :, :4] = 160
    model = FineTunedClassifier(small(), max_epochs=3).fit(X, np.arange(20) % 2)
    found = adversarial_examples(model, X, np.arange(20) % 2, epsilon=8 / 255, method="noise")
    assert set(np.unique(found.astype(int) - X)) == {-8, 8}


def test_images_of_a_network_without_a_backbone_keep_their_range():
    settings = {"image_shape": (8, 8), "value_range": (0, 16)}
    model = FineTunedClassifier(None, hidden_layer_sizes=(10,), max_epochs=10, **settings)
    model.fit(DIGITS[TRAIN], LABELS[TRAIN])
    X, y = DIGITS[TEST], LABELS[TEST]
    found = adversarial_examples(model, X, y, epsilon=0.1, n_steps=5)
    assert 0 <= found.min() and found.max() <= 16
    assert np.abs(found - X).max() == pytest.approx(1.6)
    assert model.score(found, y) < model.score(X, y) - 0.3


def test_epsilon_zero_are_the_samples_as_they_are(of_images):
    X, y = DIGITS[TEST], LABELS[TEST]
    np.testing.assert_array_equal(adversarial_examples(of_images, X, y, epsilon=0), X)
    report = robustness_report(of_images, X, y, epsilons=[0, 0.05], methods=["noise", "fgsm"])
    for curve in report.curves().values():
        assert [result.epsilon for result in curve] == [0, 0.05]
        assert curve[0].accuracy == of_images.score(X, y)


def test_neighbours_in_a_batch_do_not_matter(of_images):
    """Batch normalisation and dropout work as in prediction."""
    X, y = DIGITS[TEST], LABELS[TEST]
    every = adversarial_examples(of_images, X, y, epsilon=0.1, n_steps=3)
    some = adversarial_examples(of_images, X[:7], y[:7], epsilon=0.1, n_steps=3, batch_size=2)
    np.testing.assert_allclose(some, every[:7], atol=1e-4)


def test_nothing_of_the_caller_changes(of_images, of_source):
    X, y = DIGITS[TEST].copy(), LABELS[TEST].copy()
    X.flags.writeable = y.flags.writeable = False
    models = of_images, of_source
    before = [pickle.dumps(model) for model in models]
    parameters = [p.requires_grad for m in models for p in m.network_.parameters()]
    np.random.seed(3)
    torch.manual_seed(3)
    expected = np.random.random(), torch.rand(1).item()
    np.random.seed(3)
    torch.manual_seed(3)
    robustness_report(of_images, X, y, source=of_source, epsilons=[0.1], n_steps=2)
    assert (np.random.random(), torch.rand(1).item()) == expected
    assert [pickle.dumps(model) for model in models] == before
    assert parameters == [p.requires_grad for m in models for p in m.network_.parameters()]
    assert all(p.grad is None for m in models for p in m.network_.parameters())
    assert not any(module.training for m in models for module in m.network_.modules())
    np.testing.assert_array_equal(X, DIGITS[TEST])


class Column(nn.Module):
    """One column of a table."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, x):
        return x[:, self.number, None]


def test_attacks_carry_over_as_far_as_the_networks_see_the_same():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 100)
    X = 2 * y[:, None] + rng.normal(size=(100, 2)) * 0.5
    first, other, second = (
        FineTunedClassifier(
            Backbone(f"column {number}", Column(number).eval(), None), strategy="linear_probe"
        ).fit(X, y)
        for number in (0, 0, 1)
    )
    settings = {"epsilons": [0.8], "methods": ["pgd"], "n_steps": 5}
    same = robustness_report(first, X, y, source=other, **settings).curves()
    apart = robustness_report(first, X, y, source=second, **settings).curves()
    clean, own = (result.accuracy for result in same["estimator", "pgd"])
    assert own < clean - 0.3
    assert same["estimator", "pgd on source"][1].accuracy == own
    assert apart["estimator", "pgd"][1].accuracy == own
    assert apart["estimator", "pgd on source"][1].accuracy == clean
    assert apart["source", "pgd"][1].accuracy < clean - 0.3


def test_the_report_scores_what_the_examples_do(of_images, of_source):
    X, y = DIGITS[TEST], LABELS[TEST]
    report = robustness_report(of_images, X, y, source=of_source, epsilons=[0.05], n_steps=4)
    made = adversarial_examples(of_source, X, y, epsilon=0.05, n_steps=4)
    curves = report.curves()
    assert curves["estimator", "pgd on source"][1].accuracy == of_images.score(made, y)
    assert curves["source", "pgd"][1].accuracy == of_source.score(made, y)
    own = ["noise", "fgsm", "pgd"]
    expected = [("estimator", name) for name in [*own, "fgsm on source", "pgd on source"]]
    assert list(curves) == expected + [("source", name) for name in own]
    assert report.unit == "parts of the range of the values"
    assert len(report.to_frame()) == 16
    lines = str(report).splitlines()
    assert lines[1].split() == ["network", "attack", "epsilon", "0", "0.05"]
    assert len(lines) == 10
    shown = f"{of_images.score(made, y):.3f}"
    assert next(line for line in lines if "pgd on source" in line).endswith(shown)


def test_the_picture(of_images):
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    results = [
        AttackResult(network, "pgd", "source", epsilon, 1 - epsilon, 0.0, 1.0)
        for network in ("estimator", "source")
        for epsilon in (0.0, 0.5)
    ]
    axes = RobustnessReport(results, "standard deviations", 10).plot()
    assert [ax.get_title() for ax in axes] == ["estimator", "source"]
    labels = [ax.get_legend_handles_labels()[1] for ax in axes]
    assert labels == [["pgd on source"], ["pgd"]]
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), [1, 0.5])
    pyplot.close("all")


@pytest.mark.parametrize("hits", [0, 3, 20])
def test_intervals_are_those_of_wilson(hits):
    n, z = 20, 1.959963984540054
    share, *bounds = _share(np.arange(n) < hits)
    assert share == hits / n
    # Shares p whose distance from the observed one is z standard errors of p.
    expected = np.sort(np.roots([1 + z**2 / n, -(2 * share + z**2 / n), share**2]))
    np.testing.assert_allclose(bounds, expected, atol=1e-9)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_stay_frames(library):
    frames = pytest.importorskip(library)
    X, y = blobs(2)
    names = list("abcde")
    X[:, 2] = 7.0  # constant
    frame = (
        frames.DataFrame(X, columns=names) if library == "pandas" else frames.DataFrame(X, names)
    )
    model = FineTunedClassifier(None, hidden_layer_sizes=(4,), max_epochs=5).fit(frame, y)
    found = adversarial_examples(model, frame, y, epsilon=0.2, n_steps=3)
    assert type(found) is type(frame) and list(found.columns) == names
    change = np.abs(found.to_numpy() - X) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
    assert change.max() == pytest.approx(0.2)
    assert change[:, 2].max() == 0
    report = robustness_report(model, frame, y, methods=["fgsm"])
    assert report.epsilons == [0, 0.05, 0.1, 0.2, 0.4]
    assert report.unit == "standard deviations"


def test_estimators_around_and_beside_a_network():
    X, y = blobs(2)
    short = {"hidden_layer_sizes": (3,), "max_epochs": 3}
    search = GridSearchCV(FineTunedClassifier(None, **short), {"lr": [0.01, 0.1]}, cv=2).fit(X, y)
    source = FineTunedClassifier(None, **short).fit(X, y)
    penalised = RegularizedTransferClassifier(source, max_epochs=3).fit(X, y)
    adversarial = DANNClassifier(FineTunedClassifier(None, **short)).fit(X, y, X_target=X + 1)
    for model in (search, penalised, adversarial):
        report = robustness_report(model, X, y, epsilons=[1.5], methods=["fgsm"])
        clean, attacked = (result.accuracy for result in report.curves()["estimator", "fgsm"])
        assert attacked < clean == model.score(X, y)


def test_what_cannot_be_attacked_is_named(of_images):
    X, y = blobs(2)
    scaled = make_pipeline(StandardScaler(), FineTunedClassifier(None, max_epochs=2)).fit(X, y)
    with pytest.raises(TypeError, match=r"StandardScaler in front.*model\[-1\]"):
        robustness_report(scaled, X, y)
    linear_model = LogisticRegression(max_iter=10_000).fit(X, y)
    with pytest.raises(TypeError, match="LogisticRegression, which has no network"):
        adversarial_examples(linear_model, X, y, epsilon=0.1)
    numbers = FineTunedRegressor(None, max_epochs=2).fit(X, X[:, 0])
    with pytest.raises(TypeError, match="one class for each sample"):
        adversarial_examples(numbers, X, y, epsilon=0.1)
    model = linear(X, y)
    with pytest.raises(TypeError, match="source is a LogisticRegression"):
        robustness_report(model, X, y, source=linear_model)
    with pytest.raises(ValueError, match=r"y holds \[7\].*classes are \[0, 1\]"):
        adversarial_examples(model, X, np.where(y == 1, 7, 0), epsilon=0.1)
    with pytest.raises(ValueError, match="inconsistent numbers"):
        adversarial_examples(model, X, y[:-1], epsilon=0.1)
    with pytest.raises(ValueError, match="no column"):
        adversarial_examples(model, X[:1], y[:1], epsilon=0.1)
    images = [np.zeros((8, 8)), np.zeros((9, 8))]
    with pytest.raises(TypeError, match="images of several sizes"):
        adversarial_examples(
            FineTunedClassifier(small(), max_epochs=1).fit(images, [0, 1]),
            images,
            [0, 1],
            epsilon=0,
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epsilons": [-0.1]}, "epsilons"),
        ({"epsilons": 0.1}, "epsilons"),
        ({"methods": "pgd"}, "methods='pgd'"),
        ({"methods": ["pdg"]}, "Did you mean 'pgd'"),
        ({"methods": iter(())}, "is no list with one of"),
        ({"n_steps": 0}, "n_steps"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_wrong_settings_are_named(settings, message, of_images):
    with pytest.raises(ValueError, match=message):
        robustness_report(of_images, DIGITS[TEST], LABELS[TEST], **settings)


def test_methods_may_be_an_iterator(of_images):
    X, y = DIGITS[TEST], LABELS[TEST]
    report = robustness_report(of_images, X, y, epsilons=[0.1], methods=iter(["noise"]))
    assert list(report.curves()) == [("estimator", "noise")]


def test_epsilon_has_one_unit_for_both_networks(of_images):
    X, y = DIGITS[TEST], LABELS[TEST]
    settings = {"epsilons": [0.1], "methods": ["fgsm"]}
    as_table = FineTunedClassifier(hidden_layer_sizes=(5,), max_epochs=1)
    brighter = FineTunedClassifier(small(), max_epochs=1, image_shape=(8, 8), value_range=(0, 32))
    for other in (as_table, brighter):
        other.fit(DIGITS[TRAIN], LABELS[TRAIN])
        with pytest.raises(ValueError, match="epsilon has two units"):
            robustness_report(of_images, X, y, source=other, **settings)


def test_the_extra_is_named_where_it_is_missing(monkeypatch, of_images):
    for name in [name for name in sys.modules if name == "art" or name.startswith("art.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "skltransfer\[robustness\]"'):
        adversarial_examples(of_images, DIGITS[TEST], LABELS[TEST], epsilon=0.1)
    adversarial_examples(of_images, DIGITS[TEST], LABELS[TEST], epsilon=0.1, method="noise")


@pytest.mark.gpu
def test_a_network_on_the_gpu_is_attacked_there():
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    X, y = blobs(3)
    model = FineTunedClassifier(None, hidden_layer_sizes=(5,), device="cuda").fit(X, y)
    found = adversarial_examples(model, X, y, epsilon=0.5)
    assert model.score(found, y) < model.score(X, y)
    assert next(model.network_.parameters()).is_cuda
