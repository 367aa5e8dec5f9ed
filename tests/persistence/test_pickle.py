"""Fitted estimators through pickle and joblib: the same predictions, each tensor once."""

import copy
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

from skltransfer import FineTunedClassifier, FineTunedRegressor
from tests.persistence.models import (
    COLUMNS,
    DIGITS,
    IMAGES,
    LABELS,
    MODELS,
    NUMBERS,
    SHORT,
    TEXTS,
    outputs,
)
from tests.tiny_bert import save_tiny_bert

FRESH = """
import pickle, sys
import joblib
import numpy as np
import skltransfer
from tests.persistence.models import MODELS, TRUSTED, outputs
import torch
torch.set_num_threads(1)
root, *names = sys.argv[1:]
for name in names:
    folder = f"{root}/{name}"
    expected = np.load(f"{folder}/expected.npy", allow_pickle=True)
    with open(f"{folder}/model.pkl", "rb") as file:
        models = [pickle.load(file), joblib.load(f"{folder}/model.joblib")]
    models.append(skltransfer.load(f"{folder}/model.skops", trusted=TRUSTED.get(name, ())))
    for model in models:
        assert (outputs(model, MODELS[name][1]) == expected).all(), name
"""


def n_bytes(module):
    return sum(t.numel() * t.element_size() for t in module.state_dict().values())


@pytest.mark.parametrize("name", MODELS)
def test_pickle_joblib_and_copies_predict_bit_for_bit(name, tmp_path):
    make, X = MODELS[name]
    model = make(tmp_path / "encoder")
    expected = outputs(model, X)
    joblib.dump(model, tmp_path / "model.joblib")
    twins = [
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model.joblib"),
        copy.deepcopy(model),
    ]
    for twin in twins:
        np.testing.assert_array_equal(outputs(twin, X), expected)
    np.testing.assert_array_equal(outputs(model, X), expected)


def test_a_fresh_process_predicts_bit_for_bit(tmp_path):
    """Files of all three kinds, read in another process, which takes seconds to start."""
    import skltransfer

    names = ["table", "tiny", "sequence", "text", "instance", "features, text", "estimator"]
    for name in names:
        folder = tmp_path / name
        folder.mkdir()
        make, X = MODELS[name]
        model = make(folder / "encoder")
        joblib.dump(model, folder / "model.joblib")
        (folder / "model.pkl").write_bytes(pickle.dumps(model))
        skltransfer.save(model, folder / "model.skops")
        np.save(folder / "expected.npy", outputs(model, X))
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FRESH, str(tmp_path), *names],
        check=True,
        cwd=root,
        env={"PYTHONPATH": str(root), "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )


@pytest.mark.parametrize("name", ["tiny", "tiny, head alone", "tiny, probe", "torchvision"])
def test_a_pickle_holds_each_tensor_once(name, tmp_path):
    model = MODELS[name][0](tmp_path)
    unused = 4 * 513 * 1000 if name == "torchvision" else 0  # its old output layer
    size = len(pickle.dumps(model))
    assert n_bytes(model.network_) < size < 1.02 * n_bytes(model.network_) + unused + 50_000


def test_a_module_is_held_by_the_parameter_and_the_network_only(tmp_path):
    backbone = torch.nn.Sequential(torch.nn.Linear(64, 1000))
    model = FineTunedClassifier(backbone, **SHORT).fit(DIGITS, LABELS)
    kept = n_bytes(backbone) + n_bytes(model.network_)
    assert kept < len(pickle.dumps(model)) < kept + 50_000


def test_the_encoder_of_a_fitted_text_classifier_may_be_gone(tmp_path):
    model = MODELS["text"][0](tmp_path / "encoder")
    expected = model.predict_proba(TEXTS)
    pickled = pickle.dumps(model)
    shutil.rmtree(tmp_path / "encoder")
    np.testing.assert_array_equal(pickle.loads(pickled).predict_proba(TEXTS), expected)


@pytest.mark.parametrize("backbone", [None, "tiny"])
def test_training_goes_on_from_a_pickle_as_from_the_original(backbone):
    rows = IMAGES if backbone else {}
    model = FineTunedClassifier(backbone, warm_start=True, **SHORT, **rows).fit(DIGITS, LABELS)
    twin = pickle.loads(pickle.dumps(model))
    before = twin.predict_proba(DIGITS)
    for estimator in (model, twin):
        estimator.fit(DIGITS, LABELS)
    assert (twin.predict_proba(DIGITS) != before).any()
    np.testing.assert_array_equal(twin.predict_proba(DIGITS), model.predict_proba(DIGITS))
    # The start is read from the backbone again.
    pairs = zip(
        twin._built.record.module.state_dict().values(),
        model._built.record.module.state_dict().values(),
        strict=True,
    )
    assert all(torch.equal(a, b) for a, b in pairs)
    for estimator in (model, pickle.loads(pickle.dumps(twin))):
        estimator.partial_fit(DIGITS, LABELS)


def test_a_changed_source_is_noticed_when_training_goes_on(tmp_path):
    name = save_tiny_bert(tmp_path / "encoder")
    model = FineTunedClassifier(name, warm_start=True, **SHORT).fit(TEXTS, [1, 0, 0, 1] * 4)
    twin = pickle.loads(pickle.dumps(model))
    save_tiny_bert(tmp_path / "encoder", seed=1)
    with pytest.raises(ValueError, match="no longer the network that this estimator started from"):
        twin.fit(TEXTS, [1, 0, 0, 1] * 4)


def test_a_pickled_estimator_is_a_backbone():
    source = FineTunedRegressor(**SHORT).fit(COLUMNS, NUMBERS)
    twin = pickle.loads(pickle.dumps(source))
    fits = [FineTunedRegressor(s, **SHORT).fit(COLUMNS[:30], NUMBERS[:30]) for s in (source, twin)]
    np.testing.assert_array_equal(fits[0].predict(COLUMNS), fits[1].predict(COLUMNS))


def test_an_unfitted_estimator_stays_small():
    assert len(pickle.dumps(FineTunedClassifier("tiny"))) < 2500
