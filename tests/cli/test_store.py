"""``skltransfer store``."""

import json

import numpy as np
import pytest

from skltransfer.cli import main
from skltransfer.feature import DiskFeatureStore

pytest.importorskip("lmdb")


@pytest.fixture
def store(tmp_path):
    store = DiskFeatureStore(tmp_path / "features", max_bytes=2**22)
    for name in ("one network", "another"):
        values = np.random.default_rng(0).random((50, 300))
        store.put(name, [i.to_bytes(16, "big") for i in range(50)], values)
    return store


def said(capsys, *arguments, status=0):
    assert main(["store", *map(str, arguments)]) == status
    captured = capsys.readouterr()
    return captured.err if status else captured.out


def test_info(store, capsys):
    lines = said(capsys, "info", store.path).splitlines()
    facts = dict(line.split(":") for line in lines)
    facts = {name: value.strip() for name, value in facts.items()}
    assert facts["samples"] == "100"
    assert facts["kinds of features"] == "2"
    assert facts["maximum size"] == "4 MiB"
    assert 235 < float(facts["size"].removesuffix(" KiB")) < 400


def test_verify_reads_every_value_and_changes_nothing(store, capsys):
    assert "100 samples in 2 values: all" in said(capsys, "verify", store.path)
    (file,) = store.path.glob("data-*/data.mdb")
    content = bytearray(file.read_bytes())
    content[content.index(np.random.default_rng(0).random(300).tobytes()) + 9] ^= 1
    file.write_bytes(content)
    for _ in range(2):
        assert "1 of 2 values are damaged" in said(capsys, "verify", store.path, status=2)
    assert "100" in said(capsys, "info", store.path)


def test_clear(store, capsys):
    assert "is empty" in said(capsys, "clear", store.path)
    assert len(store) == 0
    assert "samples:            0" in said(capsys, "info", store.path)


def test_stores_of_another_format_and_damaged_ones_can_be_cleared(store, capsys):
    marker = store.path / "skltransfer-store.json"
    for content, reason in (
        (json.dumps({"format": 9, "max_bytes": 1, "data": "x"}), "in format 9"),
        ("{", "is damaged"),
    ):
        marker.write_text(content)
        for action in ("info", "verify"):
            assert reason in said(capsys, action, store.path, status=2)
        assert "is empty" in said(capsys, "clear", store.path)
        assert "samples:            0" in said(capsys, "info", store.path)


def test_other_folders_are_left_alone(tmp_path, capsys):
    (tmp_path / "letter").write_text("dear")
    for action in ("info", "verify", "clear"):
        assert "is no feature store" in said(capsys, action, tmp_path, status=2)
        assert "is no feature store" in said(capsys, action, tmp_path / "absent", status=2)
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]
    with pytest.raises(SystemExit):
        main(["store", "destroy", str(tmp_path)])
