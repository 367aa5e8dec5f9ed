"""Attributions of pixels and tokens, against captum, finite sums and known networks."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch import nn

from skltransfer import (
    AttributionDisplay,
    Backbone,
    FineTunedClassifier,
    FineTunedRegressor,
    Preprocessing,
    WithTarget,
)
from tests.tiny_bert import save_tiny_bert

pytest.importorskip("matplotlib").use("Agg")
captum = pytest.importorskip("captum.attr")
X, Y = load_digits(return_X_y=True)
X, Y = X[:40].reshape(-1, 8, 8) / 16, Y[:40]


class Small(nn.Module):
    """Convolution, ReLU, convolution; `maps` are the last feature maps."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.maps = nn.Conv2d(4, 6, 3, padding=1)

    def forward(self, x):
        return self.maps(torch.relu(self.first(x)))


def record():
    with torch.random.fork_rng():
        module = Small().eval()
    preprocessing = Preprocessing(8, 8, mean=(0.5,), std=(0.25,))
    return Backbone("small", module, preprocessing, stages=("first", "maps"), layers=("maps",))


@pytest.fixture(scope="module")
def model():
    return FineTunedClassifier(record(), strategy="linear_probe").fit(X, Y)


@pytest.fixture(autouse=True)
def _close():
    yield
    from matplotlib import pyplot

    pyplot.close("all")


def test_grad_cam_is_that_of_captum(model):
    display = AttributionDisplay.from_estimator(model, X[:3], label=4)
    network = model._built.network
    x = network.preprocessing.normalize(torch.tensor(X[:3, None]).float(), network.dtype)
    module = network.features.module

    def output(x):
        return network.outputs(module(x).mean((2, 3)))

    expected = captum.LayerGradCam(output, module.maps).attribute(
        x.requires_grad_(), target=4, relu_attributions=True
    )
    np.testing.assert_allclose(
        display.attributions, expected.detach().squeeze(1).numpy(), atol=1e-6
    )
    assert display.labels == ["4"] * 3
    assert expected.max() > 0


@pytest.mark.parametrize("layer", [None, "first"])
def test_the_layers_of_grad_cam(model, layer):
    display = AttributionDisplay.from_estimator(model, X[:2], layer=layer)
    assert display.labels == [str(label) for label in model.predict(X[:2])]
    assert all(values.min() >= 0 for values in display.attributions)
    other = AttributionDisplay.from_estimator(model, X[:2], layer="maps").attributions
    assert np.allclose(display.attributions, other) == (layer is None)


def test_integrated_gradients_sum_up_to_the_change_of_the_output(model):
    display = AttributionDisplay.from_estimator(
        model, X[:3], label=2, method="integrated_gradients", n_steps=200
    )
    logits = model._outputs(np.concatenate([X[:3], np.zeros((1, 8, 8))]))[:, 2]
    sums = [values.sum() for values in display.attributions]
    np.testing.assert_allclose(sums, logits[:3] - logits[3], atol=0.02 * np.abs(logits).max())
    np.testing.assert_allclose(display.gaps, sums - (logits[:3] - logits[3]), atol=1e-4)
    assert np.ptp(sums) > 0


def test_a_pixel_that_does_not_matter_has_no_attribution():
    """Labels by the left half, and a network that sees the halves apart."""

    class Halves(nn.Module):
        def forward(self, x):
            return torch.stack([x[..., :4].mean((1, 2, 3)), x[..., 4:].mean((1, 2, 3))], dim=1)

    rng = np.random.default_rng(0)
    rows = rng.random((80, 8, 8))
    y = np.where(rows[:, :, :4].mean((1, 2)) > 0.5, "light", "dark")
    halves = Backbone("halves", Halves().eval(), Preprocessing(8, 8, (0.0,), (1.0,)))
    binary = FineTunedClassifier(halves, strategy="linear_probe", weight_decay=1e-4).fit(rows, y)
    values = {
        label: np.abs(
            AttributionDisplay.from_estimator(
                binary, rows[:4], label=label, method="integrated_gradients"
            ).attributions
        ).mean((0, 1))
        for label in ("light", "dark")
    }
    assert values["light"][:4].min() > 10 * values["light"][4:].max()
    signed = [
        AttributionDisplay.from_estimator(
            binary, rows[:1], label=label, method="integrated_gradients"
        ).attributions[0]
        for label in ("light", "dark")
    ]
    np.testing.assert_allclose(signed[0], -signed[1], atol=1e-7)  # two sides of one logit
    with pytest.raises(ValueError, match="Grad-CAM needs feature maps.*integrated_gradients"):
        AttributionDisplay.from_estimator(binary, rows[:1])


def test_torchvision_networks_whose_layers_are_traced():
    network = FineTunedClassifier(
        "resnet18", weights=None, input_size=64, strategy="linear_probe"
    ).fit(X[:10], Y[:10])
    for label in network.classes_:  # of random weights, some maps speak for a class
        values = AttributionDisplay.from_estimator(network, X[:1], label=label).attributions[0]
        assert values.shape == (64, 64)
        if values.max() > 0:
            return
    pytest.fail("no class has any attribution")


def test_a_regressor_pipelines_and_wrappers():
    regressor = FineTunedRegressor(record(), strategy="linear_probe").fit(X, Y.astype(float))
    display = AttributionDisplay.from_estimator(regressor, X[:2])
    assert display.labels == ["prediction"] * 2
    pipeline = make_pipeline(FunctionTransformer(lambda x: x[:, ::-1].copy()), regressor)
    pipeline.fit(X, Y.astype(float))
    turned = AttributionDisplay.from_estimator(pipeline, X[:1])
    assert np.allclose(turned.inputs[0][..., 0], X[0, ::-1])
    two = FineTunedRegressor(record(), strategy="linear_probe").fit(X, np.column_stack([Y, -Y]))
    with pytest.raises(ValueError, match="there are 2 outputs"):
        AttributionDisplay.from_estimator(two, X[:1])
    assert AttributionDisplay.from_estimator(two, X[:1], label=1).labels == ["output 1"]


def test_a_network_of_two_domains():
    from skltransfer import DeepCORALClassifier

    inner = FineTunedClassifier(record(), optimizer="adamw", max_epochs=1)
    model = WithTarget(DeepCORALClassifier(inner), X_target=X[20:]).fit(X[:20], Y[:20])
    assert AttributionDisplay.from_estimator(model, X[:1]).attributions[0].max() >= 0


def test_the_tokens_of_a_text_sum_up_to_the_change_of_the_output(tmp_path):
    texts = ["good film", "bad film", "the good plot", "the bad plot", "good", "bad"] * 4
    y = ["glad", "sad"] * 12
    encoder = save_tiny_bert(tmp_path / "bert")
    model = FineTunedClassifier(encoder, strategy="linear_probe").fit(texts, y)
    both = ["the good film", "the bad film"]
    display = AttributionDisplay.from_estimator(model, both, label="glad", n_steps=200)
    assert display.inputs[0] == ["[CLS]", "the", "good", "film", "[SEP]"]
    values = np.array(display.attributions)
    assert values.shape == (2, 5)
    assert not values[:, [0, -1]].any()  # the same in the baseline
    assert values[0, 2] > values[1, 2]
    logits = -model._outputs(both)[:, 0]  # of "glad", the first of two classes
    assert logits[0] > 0 > logits[1]
    # Both texts have one baseline.
    gap = np.diff(display.gaps)
    assert np.diff(values.sum(axis=1)) == pytest.approx(np.diff(logits) + gap, abs=1e-3)
    assert np.abs(display.gaps).max() < 0.1 * np.abs(np.diff(logits))
    with pytest.raises(ValueError, match="gradcam.*needs images"):
        AttributionDisplay.from_estimator(model, ["good"], method="gradcam")


def test_a_plot_has_a_part_for_each_sample(model):
    from matplotlib.figure import Figure

    figure = Figure()
    display = AttributionDisplay.from_estimator(model, X[:8], ax=figure.subplots(1, 2)[1])
    assert display.figure_ is figure
    titles = [ax.get_title() for ax in display.axes_]
    assert titles[:8] == [str(label) for label in model.predict(X[:8])]
    drawn = display.axes_[0].images[1].get_array()
    np.testing.assert_array_equal(drawn, display.attributions[0])
    many = AttributionDisplay(
        inputs=[["word"] * 90],
        attributions=[np.linspace(-1, 1, 90)],
        labels=["glad"],
        method="integrated_gradients",
    ).plot()
    assert len(many.axes_[0].texts) == 91
    assert len({text.get_position()[1] for text in many.axes_[0].texts[1:]}) > 2  # lines


def test_nothing_is_left_behind_in_the_network(model):
    before = model.predict_proba(X)
    hooks = [len(part._forward_hooks) for part in model._built.network.modules()]
    for method in ("gradcam", "integrated_gradients"):
        AttributionDisplay.from_estimator(model, X[:2], method=method)
    assert [len(part._forward_hooks) for part in model._built.network.modules()] == hooks
    assert all(part.grad is None for part in model._built.network.parameters())
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_bad_input_is_named(model, monkeypatch):
    display = AttributionDisplay.from_estimator
    with pytest.raises(ValueError, match="label=11 is none of the classes"):
        display(model, X[:1], label=11)
    with pytest.raises(ValueError, match="method='gradcamm'.*Did you mean 'gradcam'"):
        display(model, X[:1], method="gradcamm")
    with pytest.raises(ValueError, match="no layer 'mapps'.*Did you mean 'maps'"):
        display(model, X[:1], layer="mapps")
    with pytest.raises(ValueError, match="layer='maps' is of Grad-CAM"):
        display(model, X[:1], layer="maps", method="integrated_gradients")
    forest = RandomForestClassifier(2).fit(X.reshape(40, -1), Y)
    with pytest.raises(TypeError, match="RandomForestClassifier trains no network"):
        display(forest, X.reshape(40, -1)[:1])
    table = FineTunedClassifier(max_epochs=2).fit(X.reshape(40, -1), Y)
    with pytest.raises(TypeError, match="no images.*permutation_importance"):
        display(table, X.reshape(40, -1)[:1])
    monkeypatch.setitem(__import__("sys").modules, "captum.attr", None)
    with pytest.raises(ImportError, match=r'pip install "skltransfer\[explain\]"'):
        display(model, X[:1], method="integrated_gradients")
