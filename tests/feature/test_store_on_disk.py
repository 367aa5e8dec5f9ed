"""Estimators whose features lie on disk."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

import skltransfer
from skltransfer import PretrainedFeatureTransformer, SelfSupervisedTransformer, rank_backbones
from skltransfer.feature import DiskFeatureStore, FeatureStore, feature_store

pytest.importorskip("lmdb")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
LABELS = np.arange(40) % 2


@pytest.fixture(autouse=True)
def _empty_memory():
    feature_store.clear()
    yield
    feature_store.clear()


def tiny(store, **settings):
    return PretrainedFeatureTransformer("tiny", layers="stage3", store=store, **settings)


def test_features_come_from_the_disk_bit_for_bit(tmp_path):
    expected = tiny(None, batch_size=8).fit_transform(IMAGES)
    store = DiskFeatureStore(tmp_path)
    for path in (str(tmp_path), tmp_path, store):
        np.testing.assert_array_equal(tiny(path, batch_size=8).fit_transform(IMAGES), expected)
    assert (store.misses, store.hits, len(store)) == (40, 80, 40)
    twice = np.concatenate([IMAGES[5:], IMAGES, IMAGES[:5]])
    np.testing.assert_array_equal(
        tiny(tmp_path, batch_size=8).fit_transform(twice),
        np.concatenate([expected[5:], expected, expected[:5]]),
    )
    assert len(feature_store) == 0


def test_other_weights_never_find_old_rows(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 3), nn.ReLU()).eval()
    table = RNG.normal(size=(30, 5))
    settings = {"store": tmp_path, "precision": "float64"}
    first = PretrainedFeatureTransformer(module, **settings).fit_transform(table)
    with torch.no_grad():
        module[0].weight[0, 0] += 1e-3
    given = PretrainedFeatureTransformer(module, **settings).fit_transform(table)
    expected = PretrainedFeatureTransformer(module, store=None, precision="float64")
    np.testing.assert_array_equal(given, expected.fit_transform(table))
    assert np.abs(given - first).max() > 1e-5
    tiny(tmp_path).fit_transform(IMAGES)
    tiny(tmp_path, input_size=24).fit_transform(IMAGES)
    assert len(DiskFeatureStore(tmp_path)) == 2 * 30 + 2 * 40


def test_a_search_in_processes_computes_each_row_once(tmp_path):
    model = make_pipeline(tiny(str(tmp_path), batch_size=4), LogisticRegression(max_iter=200))
    grid = {"logisticregression__C": [0.01, 1.0]}
    search = GridSearchCV(model, grid, cv=4, n_jobs=2).fit(IMAGES, LABELS)
    store = DiskFeatureStore(tmp_path)
    assert len(store) == 40
    assert store.misses == 0  # the final fit, in this process
    assert clone(search).estimator.get_params()["pretrainedfeaturetransformer__store"] == str(
        tmp_path
    )
    alone = GridSearchCV(model.set_params(pretrainedfeaturetransformer__store=None), grid, cv=4)
    scores = alone.fit(IMAGES, LABELS).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], scores)


def test_a_later_run_computes_nothing(tmp_path):
    tiny(tmp_path).fit_transform(IMAGES)
    np.save(tmp_path.parent / "images.npy", IMAGES)
    code = (
        "import sys, numpy as np\n"
        "from skltransfer import DiskFeatureStore, PretrainedFeatureTransformer\n"
        "store = DiskFeatureStore(sys.argv[1])\n"
        "features = PretrainedFeatureTransformer('tiny', layers='stage3', store=store)\n"
        "features.fit_transform(np.load(sys.argv[2]))\n"
        "print(store.misses, store.hits)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(tmp_path.parent / "images.npy")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "0 40\n"


def test_a_damaged_store_gives_the_same_features(tmp_path):
    expected = tiny(tmp_path).fit_transform(IMAGES)
    (file,) = tmp_path.glob("data-*/data.mdb")
    content = bytearray(file.read_bytes())
    content[content.index(expected[7].tobytes()) + 1] ^= 4
    with open(file, "r+b") as opened:
        opened.write(content)
    with pytest.warns(skltransfer.FeatureStoreWarning, match="damaged value"):
        given = tiny(tmp_path).fit_transform(IMAGES)
    np.testing.assert_array_equal(given, expected)


def test_self_supervised_features_and_rankings_on_disk(tmp_path):
    table = RNG.normal(size=(30, 5))
    model = SelfSupervisedTransformer(max_epochs=1, store=tmp_path).fit(table)
    kept = model.transform(table)
    np.testing.assert_array_equal(model.transform(table), kept)
    store = DiskFeatureStore(tmp_path)
    assert (store.misses, store.hits) == (30, 30)
    ranking = rank_backbones(IMAGES, LABELS, ["tiny"], transformer=tiny(str(tmp_path)))
    again = rank_backbones(IMAGES, LABELS, ["tiny"], transformer=tiny(str(tmp_path)))
    assert store.misses == 70
    assert ranking.results[0].seconds > 0
    assert np.isnan(again.results[0].seconds)


@pytest.mark.parametrize(
    "value", ["disk", "Memory", "memmory", "None", "", 3, ["x"]], ids=lambda value: repr(value)
)
def test_what_is_no_store(value):
    with pytest.raises(ValueError, match="is not a path or a FeatureStore or a DiskFeatureStore"):
        tiny(value).fit(IMAGES)
    with pytest.raises(ValueError, match="is not a path or a FeatureStore"):
        SelfSupervisedTransformer(store=value).fit(np.ones((4, 2)))


def test_a_folder_that_cannot_be_a_store_is_refused_in_fit(tmp_path, monkeypatch):
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(ValueError, match="with other files, and no feature store"):
        tiny(tmp_path).fit(IMAGES)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"write '\./disk'"):
        tiny("disk").fit(IMAGES)
    tiny(os.path.join(".", "disk")).fit_transform(IMAGES)
    assert Path("disk", "skltransfer-store.json").is_file()


def test_a_pickle_keeps_the_folder_and_a_file_does_not(tmp_path):
    store = DiskFeatureStore(tmp_path / "x", max_bytes=2**21)
    model = tiny(store).fit(IMAGES)
    assert clone(model).store is store
    again = pickle.loads(pickle.dumps(model))
    assert (again.store.path, again.store.max_bytes) == (store.path, 2**21)
    assert repr(again.store) == f"DiskFeatureStore('{store.path}', max_bytes={2**21})"
    for value, expected in (
        (store, "memory"),
        (tmp_path / "x", "memory"),
        (str(tmp_path / "x"), "memory"),
        ("memory", "memory"),
        (None, None),
    ):
        model.set_params(store=value)
        path = skltransfer.save(make_pipeline(model), tmp_path / "model.skops")
        loaded = skltransfer.load(path)[0]
        assert loaded.store == expected
        assert model.store is value
        np.testing.assert_array_equal(loaded.transform(IMAGES), model.transform(IMAGES))
        assert str(tmp_path).encode() not in path.read_bytes()
    model.set_params(store=FeatureStore(77))
    assert skltransfer.load(skltransfer.save(model, path)).store.max_bytes == 77
    of_table = SelfSupervisedTransformer(max_epochs=1, store=tmp_path / "x").fit(np.eye(9))
    assert skltransfer.load(skltransfer.save(of_table, path)).store == "memory"
    assert pickle.loads(pickle.dumps(of_table)).store == tmp_path / "x"
