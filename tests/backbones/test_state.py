"""Files of weights as training writes them: with prefixes, in checkpoints, without a head."""

import argparse
import json
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from skltransfer import Backbone, load_backbone
from skltransfer.backbones._state import load_state
from skltransfer.backbones._weight_files import read_state


class Net(nn.Module):
    """A body of two layers, and an output layer."""

    def __init__(self, n_classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5))
        self.fc = nn.Linear(5, n_classes)

    def forward(self, x):
        return self.fc(self.body(x))


def made(seed=1, **parameters):
    torch.manual_seed(seed)
    return Net(**parameters)


def assert_loaded(module, state, keys=None):
    given = module.state_dict()
    for key in keys or state:
        assert torch.equal(given[key], state[key]), key


PREFIXES = ["", "module.", "_orig_mod.", "backbone.", "encoder.", "model.", "net.encoder_q."]
PREFIXES += ["module._orig_mod.", "_orig_mod.module.model."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict", "network"])
def test_prefixes_and_checkpoints(tmp_path, prefix, key):
    state = made().state_dict()
    saved = {prefix + name: value for name, value in state.items()}
    if key is not None:
        options = argparse.Namespace(lr=np.float64(0.1))
        moments = {"state": {0: {"exp_avg": torch.ones(5, 4)}}, "param_groups": [{"lr": 0.1}]}
        saved = {key: saved, "epoch": 3, "optimizer": moments, "args": options}
        saved |= {"best": np.float32(0.5), "n": np.int64(3), "seen": np.arange(3.0)}
    torch.save(saved, tmp_path / "w.pth")
    module = load_backbone(made(0), tmp_path / "w.pth").module
    assert_loaded(module, state)


@pytest.mark.parametrize("prefix", ["", "backbone."])
@pytest.mark.parametrize("n_classes", [None, 7])
def test_features_need_no_output_layer(prefix, n_classes):
    state = made(n_classes=n_classes or 3).state_dict()
    body = [key for key in state if key.startswith("body")]
    saved = {prefix + key: state[key] for key in (state if n_classes else body)}
    module = made(0)
    own = module.fc.weight.clone()
    with pytest.warns(UserWarning, match=r"no output layer for 'net' \(fc.weight, fc.bias\)"):
        load_state(module, saved, "net", unused=["fc"])
    assert_loaded(module, state, body)
    assert torch.equal(module.fc.weight, own)
    with pytest.raises(ValueError, match=r"fc.weight.*Identity\(\) in place of an output layer"):
        load_state(made(0), saved, "net")  # its features are the output layer's


def test_an_output_layer_that_the_network_lacks_is_left_out():
    module = made(0)
    del module.fc
    state = made().state_dict()
    load_state(module, state, "net")
    assert_loaded(module, state, ["body.0.weight"])
    with pytest.raises(ValueError, match="1 unknown, such as more.weight"):
        load_state(module, state | {"more.weight": torch.ones(2)}, "net")
    with pytest.raises(ValueError, match="1 unknown, such as body.2.weight"):  # a deeper network
        load_state(module, state | {"body.2.weight": torch.ones(2)}, "net")


def test_two_networks_in_a_file_are_not_chosen_between():
    state = made().state_dict()
    both = {f"{p}.{key}": value for p in ("student", "teacher") for key, value in state.items()}
    with pytest.raises(ValueError, match="hold 'net' 2 times, under 'student.', 'teacher.'"):
        load_state(made(0), both, "net")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    broken = made().eval()
    with torch.no_grad():
        broken.body[0].weight[2, 1] = value
    torch.save(broken.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w.pth' hold NaN or infinity, in the tensor body.0.wei"):
        load_backbone(Net, tmp_path / "w.pth")
    for given in (broken, lambda: broken):
        with pytest.raises(ValueError, match="hold NaN or infinity, in the tensor body.0.weight"):
            load_backbone(given)
    broken = made().eval()
    broken.register_buffer("mask", torch.tensor([0, -float("inf")]))  # as of attention
    assert Backbone("masked", broken).fingerprint
    broken.body[1].running_var[0] = value
    with pytest.raises(ValueError, match="in the tensor body.1.running_var"):
        Backbone("broken", broken)


def test_a_compiled_or_parallel_module_is_taken_as_what_is_inside():
    module = made().eval()
    for given in (torch.compile(module), nn.DataParallel(module)):
        record = load_backbone(given)
        assert type(record.module) is Net
        assert_loaded(record.module, module.state_dict())


def test_numbers_run_no_code_and_other_types_are_refused(tmp_path):
    torch.save({"w": torch.ones(1), "x": np.array([{}], dtype=object)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        read_state(tmp_path / "w.pth", "net")
    before = set(torch.serialization.get_safe_globals())
    torch.save({"w": np.ones(2, np.float32), "best": np.float64(1)}, tmp_path / "w.pth")
    assert torch.equal(read_state(tmp_path / "w.pth", "net")["w"], torch.ones(2))
    assert set(torch.serialization.get_safe_globals()) == before  # of the user


@pytest.mark.parametrize("suffix", [".pth", ".pt2"])
def test_what_unpacks_to_far_more_is_refused(tmp_path, suffix):
    with zipfile.ZipFile(tmp_path / f"w{suffix}", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data/0", bytes(10**6))
    with pytest.raises(ValueError, match="unpacks to 1000000 bytes, far more than it has"):
        load_backbone("tiny", tmp_path / f"w{suffix}")


def test_a_tensor_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    meta = {
        "dtype": 7,
        "sizes": [{"as_int": 10**13}],
        "strides": [{"as_int": 0}],
        "storage_offset": {"as_int": 0},
    }
    entry = {"use_pickle": False, "tensor_meta": meta, "path_name": "0"}
    with zipfile.ZipFile(tmp_path / "w.pt2", "w") as archive:
        name = "w/data/weights/model_weights_config.json"
        archive.writestr(name, json.dumps({"config": {"stem": entry}}))
        archive.writestr("w/data/weights/0", bytes(4))
    with pytest.raises(ValueError, match="the tensor stem is larger than what the file holds"):
        load_backbone("tiny", tmp_path / "w.pt2")
