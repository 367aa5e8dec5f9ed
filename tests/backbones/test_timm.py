"""Networks of timm as backbones, with random weights; no connection."""

import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from skltransfer import (
    FineTunedClassifier,
    PretrainedFeatureTransformer,
    feature_store,
    list_backbones,
    load_backbone,
)
from skltransfer._torch._fingerprint import fingerprint
from skltransfer.backbones import _load, _timm
from tests.rounding import assert_within_rounding

timm = pytest.importorskip("timm")

# A stage, and what timm's own forward_intermediates calls its number.
NETWORKS = {
    "test_resnet": ("layer2", 2),
    "test_vit": ("blocks.2", 2),
    "test_vit3": ("blocks.4", 4),
    "test_convnext": ("stages.1", 1),
    "test_mambaout": ("stages.1", 1),
    "mobilenetv3_small_050": ("blocks.3", 3),
}


@pytest.fixture(autouse=True)
def _empty_store():
    feature_store.clear()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 60, 50, 3), dtype=np.uint8)


def features(name, **parameters):
    parameters = {"store": None} | parameters
    return PretrainedFeatureTransformer(f"timm:{name}", weights=None, **parameters)


def inputs(record, pixels):
    ours = record.preprocessing
    return ours.normalize(ours.resize(torch.tensor(pixels).permute(0, 3, 1, 2)), torch.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_features_equal_the_forward_pass_of_timm(name, images):
    record = load_backbone(f"timm:{name}", weights=None)
    module = record.module
    with torch.inference_mode():
        maps = module.forward_features(inputs(record, images))
        expected = module.forward_head(maps, pre_logits=True).numpy()
    given = features(name).fit_transform(images)
    assert given.shape == (5, record.n_features)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert given.std(axis=0).max() > 0
    pooled = features(name, pooling="flatten").fit_transform(images)
    maps = maps.permute(0, 3, 1, 2) if record.channels_last else maps
    expected = maps.flatten(1).numpy()
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", NETWORKS)
def test_stages_equal_the_intermediates_of_timm(name, images):
    stage, number = NETWORKS[name]
    record = load_backbone(f"timm:{name}", weights=None)
    before = fingerprint(record.module)
    with torch.inference_mode():
        _, maps = record.module.forward_intermediates(inputs(record, images), indices=[number])[:2]
        expected = maps if isinstance(maps, list) else [maps]
        expected = expected[0].mean((2, 3)).numpy()
    assert stage in record.stages
    # Of transformers timm leaves out the prefix tokens.
    given = features(name, layers=stage, pooling="mean_tokens").fit_transform(images)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert fingerprint(record.module) == before


def test_a_hierarchical_transformer_with_channels_last(images):
    name = "swin_tiny_patch4_window7_224"
    record = load_backbone(f"timm:{name}", weights=None)
    x = inputs(record, images[:1])
    with torch.inference_mode():
        head = record.module.forward_head(record.module.forward_features(x), pre_logits=True)
        maps = record.module.forward_intermediates(x, intermediates_only=True)
    model = features(name, layers="all_stages", batch_size=1).fit(images[:1])
    assert model.feature_widths_ == {f"layers.{i}": 96 * 2**i for i in range(4)}
    expected = np.hstack([part.mean((2, 3)) for part in maps])
    np.testing.assert_allclose(model.transform(images[:1]), expected, atol=1e-5)
    given = features(name, batch_size=1).fit_transform(images[:1])
    np.testing.assert_allclose(given, head.numpy(), atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_order_and_batches_do_not_matter(name, images):
    model = features(name, batch_size=4).fit(images)
    before = fingerprint(load_backbone(f"timm:{name}", weights=None).module)
    expected = model.transform(images)
    assert_within_rounding(model.transform(images[::-1]), expected[::-1])
    assert_within_rounding(model.transform(images[1:2]), expected[1:2])
    assert fingerprint(load_backbone(f"timm:{name}", weights=None).module) == before


def test_prefix_tokens_are_known():
    record = load_backbone("timm:test_vit", weights=None)
    assert record.prefix_tokens == ("cls",)
    registers = load_backbone("timm:test_vit3", weights=None)
    assert registers.prefix_tokens == ("register",) * registers.module.num_prefix_tokens
    assert load_backbone("timm:test_resnet", weights=None).prefix_tokens is None


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_vit", "convnext_atto", "vit_base_patch16_siglip_224"]
)
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_preprocessing_is_that_of_timm_within_one_grey_level(name, mode, tmp_path):
    rng = np.random.default_rng(1)
    smooth = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    image = smooth.resize((301, 253), Image.Resampling.BICUBIC).convert(mode)
    path = tmp_path / "image.png"
    image.save(path)
    architecture = timm.create_model(name, num_classes=0) if "siglip" not in name else None
    config = (
        timm.data.resolve_data_config({}, model=architecture)
        if architecture is not None
        else timm.data.resolve_data_config(timm.get_pretrained_cfg(name).to_dict())
    )
    module = architecture or nn.Identity()
    if architecture is None:
        module.pretrained_cfg = module.default_cfg = timm.get_pretrained_cfg(name).to_dict()
    ours = _timm._preprocessing(timm, name, module)
    expected = timm.data.create_transform(**config)(Image.open(path).convert("RGB"))
    pixels = torch.tensor(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None]
    given = ours.normalize(ours.resize(pixels), torch.float32)[0]
    assert given.shape == expected.shape
    levels = (given - expected) * torch.tensor(ours.std).reshape(3, 1, 1) * 255
    assert levels.abs().max() < 1.01
    assert levels.abs().mean() < 0.01
    assert math.isclose(expected.std(), given.std(), rel_tol=0.01)


def test_the_list_names_timm_only_where_it_is_asked_for():
    assert not any(name.startswith("timm:") for name in list_backbones())
    assert "timm:resnet18" in list_backbones("timm:*")
    assert list_backbones("timm:resnet1?") == ["timm:resnet18"]


def test_weights_from_a_file_with_any_number_of_classes(tmp_path, images):
    module = timm.create_model("test_resnet", num_classes=7)
    with torch.no_grad():
        module.conv1[0].weight.mul_(2)
    save_file(module.state_dict(), tmp_path / "weights.safetensors")
    record = load_backbone("timm:test_resnet", weights=tmp_path / "weights.safetensors")
    assert record.module.num_classes == 0
    torch.testing.assert_close(record.module.conv1[0].weight, module.conv1[0].weight.detach())
    assert record.fingerprint != load_backbone("timm:test_resnet", weights=None).fingerprint


def test_random_weights_come_from_the_seed():
    one = load_backbone("timm:test_resnet", weights=None, random_state=1)
    _load._loaded.clear()
    state = torch.get_rng_state()
    again = load_backbone("timm:test_resnet", weights=None, random_state=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.fingerprint == again.fingerprint
    other = load_backbone("timm:test_resnet", weights=None, random_state=2)
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize("layers", [None, "layer2"])
def test_fine_tuning_trains_what_features_depend_on(images, layers):
    y = [0, 1, 0, 1, 0]
    settings = {
        "optimizer": "sgd",
        "lr": 0.001,
        "max_epochs": 1,
        "random_state": 0,
        "batch_size": 4,
    }
    settings |= {"layers": layers, "weights": None}
    model = FineTunedClassifier("timm:test_resnet", **settings).fit(images, y)
    stages = ("act1", "layer1", "layer2", "layer3", "layer4")
    assert model._built.depth.stages == (stages if layers is None else stages[:3])
    source = dict(load_backbone("timm:test_resnet", weights=None).module.named_parameters())
    moved = {
        name.split(".")[0]
        for name, p in model.network_.features.module.named_parameters()
        if not torch.equal(p, source[name])
    }
    assert {"conv1", "layer1", "layer2"} <= moved
    assert ("layer3" in moved) == (layers is None)
    frozen = FineTunedClassifier("timm:test_resnet", unfreeze="layer2", **settings)
    state = frozen.fit(images, y).network_.features.module.state_dict()
    untouched = load_backbone("timm:test_resnet", weights=None).module.state_dict()
    for name, tensor in untouched.items():
        if name.startswith(("conv1", "bn1", "layer1")):
            assert torch.equal(state[name], tensor), name
    width = 96 if layers is None else 48
    assert PretrainedFeatureTransformer(model).fit_transform(images).shape == (5, width)


def test_a_module_of_timm_is_described_as_by_its_name(images):
    module = timm.create_model("test_vit", num_classes=3)
    record = load_backbone(module)
    assert record.stages[0] == "blocks.0"
    assert record.prefix_tokens == ("cls",)
    named = load_backbone("timm:test_vit", weights=None)
    assert record.preprocessing == named.preprocessing
    assert record.n_features == named.n_features == 64
    assert module.num_classes == 3  # the user's own keeps its output layer
    assert PretrainedFeatureTransformer(module).fit_transform(images).shape == (len(images), 64)


@pytest.mark.parametrize(
    ("name", "weights", "error", "message"),
    [
        ("timm:resnet8", None, ValueError, "Did you mean 'timm:resnet18'.*list_backbones"),
        ("timm:resnet18.foo", None, ValueError, "no weights 'foo'.*timm:resnet18.a1_in1k"),
        ("tim:resnet18", None, ValueError, "no source of networks. Did you mean 'timm'"),
        ("timm:test_resnet", "a1_in1k", FileNotFoundError, "named in the backbone"),
        ("timm:test_resnet", 3, TypeError, "pass 'default', None or the path"),
        ("timm:resnet18.", "default", ValueError, "Unknown backbone|no published weights"),
    ],
)
def test_what_does_not_exist_is_refused(name, weights, error, message):
    with pytest.raises(error, match=message):
        load_backbone(name, weights)


def test_rows_that_do_not_fit(images):
    with pytest.raises(ValueError, match="Text needs a text encoder"):
        features("test_resnet").fit_transform(["a film", "a good plot"])
    with pytest.raises(ValueError, match="takes images"):
        features("test_resnet").fit(np.zeros((3, 5)))
    with pytest.raises(ValueError, match="4 channels, and the backbone takes 3"):
        features("test_resnet").fit_transform(np.zeros((3, 8, 8, 4)))
    with pytest.raises(ValueError, match="cannot take rows of shape .*input_size=None"):
        features("vit_tiny_patch16_224", input_size=64).fit(images)


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot_download(name, **settings):
        asked.append(name)
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(ConnectionError, match=r"\(no route to host\). Connect once") as caught:
        load_backbone("timm:test_resnet")
    assert caught.value.__suppress_context__
    assert asked == ["timm/test_resnet.r160_in1k"]


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    _load._loaded.clear()
    with pytest.raises(ImportError, match=r'needs timm, .*pip install "skltransfer\[hub\]"'):
        load_backbone("timm:test_resnet", weights=None)
    assert list_backbones("timm:*") == []
