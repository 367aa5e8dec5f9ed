"""Files of weights as backbones, with the architecture in or beside them."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18

import skltransfer
from skltransfer import FineTunedClassifier, Preprocessing, PretrainedFeatureTransformer
from skltransfer.backbones import _load, load_backbone

pytest.importorskip("timm")

BESIDE = {"architecture": "timm:test_resnet"}


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def state():
    record = load_backbone("timm:test_resnet", weights=None, random_state=5)
    return dict(record.module.state_dict())


def write(folder, state, suffix=".safetensors", beside=BESIDE, metadata=None):
    path = folder / f"flowers{suffix}"
    if suffix == ".safetensors":
        save_file(state, path, metadata)
    else:
        torch.save(state, path)
    if beside is not None:
        text = beside if isinstance(beside, str) else json.dumps(beside)
        path.with_suffix(".json").write_text(text)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
@pytest.mark.parametrize("as_string", [True, False])
def test_features_are_those_of_the_weights_in_the_file(tmp_path, state, images, suffix, as_string):
    path = write(tmp_path, state, suffix)
    record = load_backbone(str(path) if as_string else path)
    source = load_backbone("timm:test_resnet", weights=None, random_state=5)
    assert record.fingerprint == source.fingerprint
    assert record.name == path.name
    assert (record.stages, record.pooling) == (source.stages, source.pooling)
    given = PretrainedFeatureTransformer(str(path), store=None).fit_transform(images)
    expected = PretrainedFeatureTransformer(source, store=None).fit_transform(images)
    np.testing.assert_array_equal(given, expected)
    other = load_backbone(path, weights=None, random_state=6)
    assert other.fingerprint != record.fingerprint


def test_the_architecture_may_stand_in_the_metadata(tmp_path, state):
    ours = {"resize_size": 64, "crop_size": 56, "mean": [0.5] * 3, "std": [0.25] * 3}
    metadata = {"architecture": "timm:test_resnet", "preprocessing": json.dumps(ours)}
    path = write(tmp_path, state, beside=None, metadata=metadata | {"format": "pt"})
    assert load_backbone(path).preprocessing == Preprocessing(64, 56, (0.5,) * 3, (0.25,) * 3)
    # The file beside it comes first.
    path.with_suffix(".json").write_text(json.dumps(BESIDE))
    assert load_backbone(path).preprocessing.crop_size == 160


def test_other_numbers_of_classes_and_the_embedded_network(tmp_path):
    state = resnet18(num_classes=3).state_dict()
    path = write(tmp_path, state, beside={"architecture": "resnet18"})
    assert load_backbone(path).module.fc.out_features == 3
    tiny = load_backbone("tiny")
    path = write(tmp_path, tiny.module.state_dict(), beside={"architecture": "tiny"})
    assert load_backbone(path).fingerprint == tiny.fingerprint


class Evil:
    def __reduce__(self):
        return (Path("/nowhere/ran").touch, ())


def test_of_a_program_the_weights_alone_are_read(tmp_path, images, monkeypatch):
    class Alien(nn.Module):
        """The tensors of `tiny`, and another forward pass."""

        def __init__(self):
            super().__init__()
            self.inner = load_backbone("tiny").module

        def forward(self, x):
            return self.inner.stem(x)

    module = load_backbone("tiny").module
    program = torch.export.export(module, (torch.zeros(2, 3, 32, 32),))
    path = tmp_path / "tiny.pt2"
    torch.export.save(program, path)
    with pytest.raises(ValueError, match="weights alone are read, since loading it would run code"):
        load_backbone(path)
    path.with_suffix(".json").write_text('{"architecture": "tiny"}')

    def never(*_arguments, **_settings):
        raise AssertionError("a program was loaded")

    monkeypatch.setattr(torch.export, "load", never)
    monkeypatch.setattr(torch, "load", never)
    assert load_backbone(path).fingerprint == load_backbone("tiny").fingerprint
    given = load_backbone("tiny", weights=path)
    assert given.fingerprint == load_backbone("tiny").fingerprint


def test_pickled_tensors_of_a_program_are_refused(tmp_path):
    """`torch.export.load` would unpickle them."""
    from zipfile import ZipFile

    path = tmp_path / "evil.pt2"
    config = {"config": {"stem.0.weight": {"path_name": "weight_0", "use_pickle": True}}}
    with ZipFile(path, "w") as archive:
        archive.writestr("evil/data/weights/model_weights_config.json", json.dumps(config))
        archive.writestr("evil/data/weights/weight_0", b"cposix\nsystem\n(S'touch ran'\ntR.")
    path.with_suffix(".json").write_text('{"architecture": "tiny"}')
    with pytest.raises(ValueError, match="the tensor stem.0.weight is pickled"):
        load_backbone(path)
    torch.save({"stem.0.weight": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "evil.json").write_text('{"architecture": "tiny"}')
    with pytest.raises(ValueError, match="holds tensors only"):
        load_backbone(tmp_path / "evil.pth")


def test_a_rewritten_file_or_description_is_read_again(tmp_path, state):
    path = write(tmp_path, state)
    first = load_backbone(path)
    assert load_backbone(path) is first
    described = BESIDE | {
        "preprocessing": {"resize_size": 8, "crop_size": 8, "mean": [0, 0, 0], "std": [1, 1, 1]}
    }
    path.with_suffix(".json").write_text(json.dumps(described))
    assert load_backbone(path).preprocessing.crop_size == 8
    changed = state | {"bn1.bias": state["bn1.bias"] + 1}
    time.sleep(0.01)
    save_file(changed, path)
    assert load_backbone(path).fingerprint != first.fingerprint


def test_fine_tuning_and_files(tmp_path, state, images):
    path = write(tmp_path, state)
    settings = {"optimizer": "sgd", "max_epochs": 1, "random_state": 0, "input_size": 32}
    model = FineTunedClassifier(str(path), **settings).fit(images, [0, 1, 0, 1])
    again = skltransfer.load(skltransfer.save(model, tmp_path / "model.skops"))
    features = PretrainedFeatureTransformer(path).fit(images)
    loaded = skltransfer.load(skltransfer.save(features, tmp_path / "features.skops"))
    np.testing.assert_array_equal(loaded.transform(images), features.transform(images))
    os.remove(path)
    np.testing.assert_array_equal(again.predict_proba(images), model.predict_proba(images))


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        (None, r"does not say which network.*flowers.json, with a name of torchvision"),
        ("{", r"flowers.json cannot be read"),
        ("[1]", r"flowers.json cannot be read \(it holds no object\)"),
        ({"architcture": "resnet18"}, "unknown key 'architcture'. Did you mean 'architecture'"),
        ({"architecture": "resnt18"}, "names an architecture that is not known.*mean 'resnet18'"),
        ({"architecture": "timm:test_resnt"}, "architecture that is not known.*'timm:test_resnet'"),
        ({"architecture": "hf:some/where"}, "whose folder holds its weights"),
        ({"architecture": "other.pth"}, "It has to be a name of torchvision"),
        ({"preprocessing": {}}, "names the architecture None"),
        (BESIDE | {"preprocessing": {"resize_size": 8}}, "It takes resize_size, crop_size, mean"),
        ({"architecture": "timm:test_vit"}, "flowers.safetensors' are for another architecture"),
    ],
)
def test_descriptions_that_do_not_fit(tmp_path, state, beside, message):
    with pytest.raises(ValueError, match=message):
        load_backbone(write(tmp_path, state, beside=beside))


def test_files_that_do_not_fit(tmp_path, state):
    path = write(tmp_path, state)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="flowers.safetensors' cannot be read.*again"):
        load_backbone(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(ValueError, match="flowers.safetensors' cannot be read as a .safetensors"):
        load_backbone(path)
    grey = state | {"conv1.0.weight": state["conv1.0.weight"].mean(1, keepdim=True).contiguous()}
    with pytest.raises(ValueError, match=r"\(16, 1, 3, 3\) instead of \(16, 3, 3, 3\)"):
        load_backbone(write(tmp_path, grey))
    _load._loaded.clear()
    (tmp_path / "cut.pt2").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "cut.json").write_text('{"architecture": "tiny"}')
    with pytest.raises(ValueError, match="cut.pt2' cannot be read as weights of 'tiny'"):
        load_backbone(tmp_path / "cut.pt2")


def test_paths_that_are_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone.safetensors': there is no such file"):
        load_backbone(tmp_path / "gone.safetensors")
    with pytest.raises(ValueError, match="is a folder. Pass 'hf:"):
        load_backbone(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match="no file of weights: their names end in"):
        load_backbone(tmp_path / "notes.txt")
    path = write(tmp_path, load_backbone("tiny").module.state_dict())
    with pytest.raises(ValueError, match="is already a file of weights"):
        load_backbone(path, weights="other.safetensors")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "std",
            [0.5, 0.5, 0],
            "std=.* need one number per channel each, and std",
        ),
        ("std", [0.5, 0.5], "need one number per channel"),
        ("mean", ["a", "b", "c"], "mean=.* does not hold one number per channel"),
        ("crop_size", -1, "crop_size=-1 is no size in pixels"),
        ("resize_size", "a", "resize_size='a' is no size in pixels"),
        ("interpolation", "cubic", "interpolation='cubic' is not one of"),
        ("rounding", "pillow", "rounding='pillow' is not one of"),
    ],
)
def test_a_preprocessing_that_makes_no_sense_is_refused(tmp_path, state, name, value, message):
    good = {"resize_size": 8, "crop_size": 8, "mean": [0, 0, 0], "std": [1, 1, 1]}
    path = write(tmp_path, state, beside=BESIDE | {"preprocessing": good | {name: value}})
    with pytest.raises(ValueError, match=f"flowers.json has a preprocessing of .*{message}"):
        load_backbone(path)
