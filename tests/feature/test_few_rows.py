"""Few rows cost few rows, and images pass convolutions in the order that is fastest."""

import numpy as np
import pytest
import torch
from torch import nn

from skltransfer import FineTunedClassifier, PretrainedFeatureTransformer, feature_store
from skltransfer._torch._extraction import FeatureNetwork
from skltransfer.backbones import load_backbone
from tests.rounding import assert_within_rounding

# What networks have seen: no part of a class, whose content stands for the network.
SIZES: list[int] = []
BY_PIXEL: list[bool] = []


@pytest.fixture(autouse=True)
def empty_store():
    feature_store.clear()
    SIZES.clear()


def images(n, size=16, n_channels=3):
    rng = np.random.default_rng(0)
    shape = (n, size, size, n_channels) if n_channels > 1 else (n, size, size)
    return rng.integers(1, 256, shape, dtype=np.uint8)


class Counting(nn.Module):
    """Notes the size of each batch that holds something."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        if x.abs().sum() > 0:  # not the empty row that tells the width
            SIZES.append(len(x))
        return self.layer(x)


def product():
    """A product of matrices, whose bits depend on the number of rows."""
    layers = nn.Sequential(nn.Flatten(), nn.Linear(768, 64))
    with torch.no_grad():
        layers[1].weight.copy_(torch.linspace(-9, 9, 768 * 64).reshape(64, 768).sin())
    return Counting(layers)


def sums(side=4):
    """Sums within a row: the same bits in every batch."""
    return Counting(nn.Sequential(nn.AvgPool2d(side), nn.Flatten()))


@pytest.mark.parametrize(("n", "size"), [(1, 1), (2, 8), (8, 8), (9, 64), (64, 64)])
def test_few_rows_are_padded_to_the_next_of_three_sizes(n, size):
    X = images(64)
    transformer = PretrainedFeatureTransformer(product(), store=None).fit(X)
    features = transformer.transform(X)
    SIZES.clear()
    few = transformer.transform(X[:n])
    assert SIZES == [size]
    assert_within_rounding(few, features[:n])


def test_equal_rows_count_as_one():
    X = images(1)
    transformer = PretrainedFeatureTransformer(product(), store=None).fit(X)
    SIZES.clear()
    assert len(transformer.transform(np.repeat(X, 20, axis=0))) == 20
    assert SIZES == [1]


def test_a_batch_size_that_is_given_is_kept():
    X = images(3)
    transformer = PretrainedFeatureTransformer(product(), batch_size=16, store=None).fit(X)
    SIZES.clear()
    transformer.transform(X)
    assert SIZES == [16]


def test_features_never_depend_on_what_the_store_holds():
    X = images(64)
    transformer = PretrainedFeatureTransformer(product()).fit(X)
    alone = transformer.transform(X[5:6])
    feature_store.clear()
    transformer.transform(X)
    np.testing.assert_array_equal(transformer.transform(X[5:6]), alone)
    few = transformer.transform(X[:3])
    feature_store.clear()
    np.testing.assert_array_equal(transformer.transform(X[:3]), few)


def test_rows_with_the_same_bits_in_every_batch_pass_once():
    X = images(64)
    transformer = PretrainedFeatureTransformer(sums()).fit(X)
    other = 255 - X[:1]
    transformer.transform(other)  # with the probe of one row
    features = transformer.transform(X)
    SIZES.clear()
    np.testing.assert_array_equal(transformer.transform(X[7:8]), features[7:8])
    np.testing.assert_array_equal(transformer.transform(other), transformer.transform(other))
    assert SIZES == []


def test_a_probe_is_made_once_and_where_there_is_a_store_only():
    X = images(3)
    transformer = PretrainedFeatureTransformer(sums(8)).fit(X)
    SIZES.clear()
    for row in range(3):
        transformer.transform(X[row : row + 1])
    assert sorted(SIZES) == [1, 1, 1, 1, 1, 64]
    SIZES.clear()
    PretrainedFeatureTransformer(sums(8), store=None).fit(X).transform(X[:1])
    assert SIZES == [1]


# --- the order in memory ------------------------------------------------------------------


class Looking(nn.Module):
    """Two convolutions; notes how their inputs lie in memory."""

    def __init__(self, n_channels=3, flatten=None):
        super().__init__()
        self.one = nn.Conv2d(n_channels, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 8, 3, padding=1)
        self.flatten = flatten

    def forward(self, x):
        first = self.one(x)
        for part in (x, first):
            n, c, h, w = part.shape
            BY_PIXEL.append(part.stride() == (c * h * w, 1, w * c, c))
        x = self.two(first)
        return x.view(len(x), -1) if self.flatten == "view" else x.flatten(1)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_convolutions_get_the_channels_of_a_pixel_side_by_side(n_channels):
    X = images(10, n_channels=n_channels)
    network = Looking(n_channels)
    record = load_backbone(network, preprocessing=None)
    transformer = PretrainedFeatureTransformer(record, store=None)
    BY_PIXEL.clear()
    features = transformer.fit_transform(X)
    assert BY_PIXEL
    assert all(BY_PIXEL)
    x = torch.from_numpy(X).float().div(255)
    x = x.permute(0, 3, 1, 2) if n_channels > 1 else x.unsqueeze(1)
    with torch.inference_mode():
        expected = network(x.contiguous()).numpy()
    assert_within_rounding(features, expected)
    assert all(p.is_contiguous() for p in record.module.parameters())
    double = transformer.set_params(precision="float64").fit_transform(X)
    np.testing.assert_allclose(double, expected, atol=1e-5)


def test_code_that_relies_on_another_order_is_run_as_it_is():
    X = images(10)
    plain, viewing = Looking(), Looking(flatten="view")
    viewing.load_state_dict(plain.state_dict())
    features = [
        PretrainedFeatureTransformer(load_backbone(module, preprocessing=None)).fit_transform(X)
        for module in (plain, viewing)
    ]
    assert_within_rounding(features[1], features[0])
    record = load_backbone(viewing, preprocessing=None)
    model = FineTunedClassifier(record, max_epochs=2).fit(X, np.arange(10) % 2)
    assert np.isfinite(model.predict_proba(X)).all()
    assert not model.network_.features.runs_by_pixel


def test_training_runs_in_that_order_and_leaves_contiguous_weights():
    X = images(10)
    record = load_backbone(Looking(), preprocessing=None)
    BY_PIXEL.clear()
    model = FineTunedClassifier(record, max_epochs=3).fit(X, np.arange(10) % 2)
    assert len(BY_PIXEL) > 8
    assert all(BY_PIXEL[4:])  # before that, a pass looks for the stages
    assert all(p.is_contiguous() for p in model.network_.parameters())


def convolutions(module):
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]


def network_of(transformer, X):
    """Return the network whose features the transformer takes, and the record's module."""
    record, source = transformer._backbone_and_extractor(transformer._rows(X, reset=False))
    return source.network, record.module


def test_extraction_holds_weights_in_the_order_of_images_and_shares_all_others():
    X = images(3, size=32)
    transformer = PretrainedFeatureTransformer("tiny", store=None)
    features = transformer.fit_transform(X)
    network, module = network_of(transformer, X)
    ours, given = convolutions(network.module), convolutions(module)
    assert len(ours) == len(given) == 10
    assert all(p.is_contiguous() for p in module.parameters())
    for part in ours:
        assert part.weight.is_contiguous(memory_format=torch.channels_last)
    copied = {id(part.weight) for part in ours if part.kernel_size != (1, 1)}
    others = {id(p) for p in network.module.parameters()} - copied
    assert others < {id(p) for p in module.parameters()}
    assert {id(b) for b in network.module.buffers()} == {id(b) for b in module.buffers()}
    # torch itself copies weights of another order, so that the bits are those of the record.
    plain = FeatureNetwork(module, *network._made_from[1:])
    record = load_backbone("tiny")
    with torch.inference_mode():
        x = torch.from_numpy(X).permute(0, 3, 1, 2)
        x = record.preprocessing.normalize(record.preprocessing.resize(x), torch.float32)
        x = torch.cat([x, x[:1].repeat(5, 1, 1, 1)])  # few rows are padded to 8
        np.testing.assert_array_equal(features, plain(x)[:3].numpy())


def test_weights_in_that_order_are_those_of_a_copy_on_another_type_too():
    X = images(3, size=32)
    for precision, by_pixel in (("bfloat16", True), ("float64", False)):
        transformer = PretrainedFeatureTransformer("tiny", store=None, precision=precision).fit(X)
        network, module = network_of(transformer, X)
        weight = convolutions(network.module)[0].weight
        assert weight.dtype == getattr(torch, precision)
        assert weight.is_contiguous(memory_format=torch.channels_last) == by_pixel
        assert all(p.is_contiguous() and p.dtype == torch.float32 for p in module.parameters())


def test_code_that_relies_on_another_order_gets_its_weights_in_that_order():
    X = images(10)
    record = load_backbone(Looking(flatten="view"), preprocessing=None)
    transformer = PretrainedFeatureTransformer(record, store=None)
    features = transformer.fit_transform(X)
    network, module = network_of(transformer, X)
    assert not network.runs_by_pixel
    assert all(part.weight.is_contiguous() for part in convolutions(network.module))
    BY_PIXEL.clear()
    transformer.transform(X)
    assert BY_PIXEL
    assert not any(BY_PIXEL)
    with torch.inference_mode():
        x = torch.from_numpy(X).float().div(255).permute(0, 3, 1, 2).contiguous()
        assert_within_rounding(features, module(x).numpy())
