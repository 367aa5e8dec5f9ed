"""save and load: the same predictions, data only, nothing foreign, never half a file."""

import io
import json
import re
import zipfile
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import skops.io
import torch
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

import skltransfer
from skltransfer import FineTunedClassifier, PretrainedFeatureTransformer
from skltransfer._torch._fingerprint import fingerprint
from skltransfer.persistence import _file
from skltransfer.persistence._modules import ModuleData
from tests.persistence.models import (
    DIGITS,
    IMAGES,
    LABELS,
    MODELS,
    SHORT,
    TEXTS,
    TRUSTED,
    Columns,
    build_columns,
    outputs,
    seeded,
)
from tests.test_sklearn_checks import ESTIMATORS


def touch(path):
    """Leave a trace: what a hostile file would like to call."""
    open(path, "w").close()


class Foreign(TransformerMixin, BaseEstimator):
    """A step of the user's own."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_predicts_bit_for_bit(name, tmp_path):
    make, X = MODELS[name]
    model = make(tmp_path / "encoder")
    expected = outputs(model, X)
    path = skltransfer.save(model, tmp_path / "model.skops")
    for _ in range(2):  # and once more, from what has been loaded
        model = skltransfer.load(path, trusted=TRUSTED.get(name, ()))
        np.testing.assert_array_equal(outputs(model, X), expected)
        path = skltransfer.save(model, tmp_path / "again.skops")


@pytest.mark.parametrize("name", TRUSTED)
def test_a_class_or_function_of_the_user_has_to_be_trusted(name, tmp_path):
    path = skltransfer.save(MODELS[name][0](tmp_path), tmp_path / "model.skops")
    with pytest.raises(TypeError, match=rf"{TRUSTED[name][0]}.*not trusted|not trusted.*") as error:
        skltransfer.load(path)
    assert TRUSTED[name][0] in str(error.value) and "trusted=[" in str(error.value)
    kind = build_columns if name == "function" else Columns
    skltransfer.load(path, trusted=[kind])  # the object in place of its name


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_every_estimator_of_the_package_survives_unfitted(estimator, tmp_path):
    trusted = [
        "tests.doubles.TableNetwork",
        "tests.doubles.MeanAligner",
    ]
    path = skltransfer.save(estimator, tmp_path / "model.skops")
    assert repr(skltransfer.load(path, trusted=trusted)) == repr(estimator)


@pytest.mark.parametrize("scoring", [None, "balanced_accuracy", "neg_log_loss"])
def test_a_pipeline_and_a_search(scoring, tmp_path):
    columns = ColumnTransformer([("all", StandardScaler(), slice(0, 64))])
    search = GridSearchCV(
        make_pipeline(columns, PCA(8, random_state=0), FineTunedClassifier(**SHORT)),
        {"finetunedclassifier__head": ["linear", "mlp"]},
        cv=2 if scoring is None else StratifiedKFold(2),
        scoring=scoring,
    ).fit(DIGITS, LABELS)
    twin = skltransfer.load(skltransfer.save(search, tmp_path / "model.skops"))
    np.testing.assert_array_equal(twin.predict_proba(DIGITS), search.predict_proba(DIGITS))
    assert twin.best_params_ == search.best_params_
    twin.fit(DIGITS, LABELS)
    np.testing.assert_array_equal(twin.predict_proba(DIGITS), search.predict_proba(DIGITS))


def test_features_of_a_frozen_network_before_a_model(tmp_path):
    model = make_pipeline(
        PretrainedFeatureTransformer("tiny", **IMAGES), LogisticRegression(max_iter=500)
    ).fit(DIGITS, LABELS)
    path = skltransfer.save(model, tmp_path / "model.skops")
    twin = skltransfer.load(path)
    np.testing.assert_array_equal(twin.predict_proba(DIGITS), model.predict_proba(DIGITS))
    assert path.stat().st_size < 100_000  # the name of the network, not its weights


def test_a_network_is_in_the_file_once(tmp_path):
    """A search holds its backbone, and so does the best estimator, by reference."""
    backbone = nn.Sequential(nn.Linear(64, 1000))
    search = GridSearchCV(FineTunedClassifier(backbone, **SHORT), {"dropout": [0.0]}, cv=2)
    path = skltransfer.save(search.fit(DIGITS, LABELS), tmp_path / "model.skops")
    modules = (backbone, search.best_estimator_.network_)
    n_bytes = sum(t.nbytes for module in modules for t in module.state_dict().values())
    assert n_bytes < path.stat().st_size < n_bytes + 200_000
    twin = skltransfer.load(path)
    assert twin.estimator.backbone is twin.best_estimator_.backbone
    assert twin.best_estimator_.network_ is twin.best_estimator_._built.network


def test_training_goes_on_after_loading(tmp_path):
    model = FineTunedClassifier("tiny", **SHORT, **IMAGES).fit(DIGITS, LABELS)
    twin = skltransfer.load(skltransfer.save(model, tmp_path / "model.skops"))
    for estimator in (model, twin):
        estimator.partial_fit(DIGITS, LABELS)
    np.testing.assert_array_equal(twin.predict_proba(DIGITS), model.predict_proba(DIGITS))
    old = FineTunedClassifier(model, **SHORT, **IMAGES).fit(DIGITS, LABELS)
    new = FineTunedClassifier(twin, **SHORT, **IMAGES).fit(DIGITS, LABELS)
    np.testing.assert_array_equal(new.predict_proba(DIGITS), old.predict_proba(DIGITS))


def test_the_encoder_of_a_saved_text_classifier_may_be_gone(tmp_path):
    import shutil

    model = MODELS["text"][0](tmp_path / "encoder")
    path = skltransfer.save(model, tmp_path / "model.skops")
    expected = model.predict_proba(TEXTS)
    shutil.rmtree(tmp_path / "encoder")
    np.testing.assert_array_equal(skltransfer.load(path).predict_proba(TEXTS), expected)


def _torchvision(name):
    from torchvision.models import get_model

    return seeded(lambda: get_model(name, weights=None, num_classes=7)).eval()


@pytest.mark.parametrize(
    "name",
    [
        *("resnet18", "mobilenet_v2", "vit_b_32", "swin_t", "convnext_tiny", "densenet121"),
        *("efficientnet_b0", "shufflenet_v2_x0_5", "squeezenet1_0", "regnet_y_400mf", "mnasnet0_5"),
    ],
)
def test_networks_of_torchvision_are_data(name):
    module = _torchvision(name)
    twin = ModuleData.of(module).restore()
    assert type(twin) is type(module) and fingerprint(twin) == fingerprint(module)
    x = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(twin(x), module(x))


def test_shared_frozen_and_hidden_tensors_stay_so():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    second.weight = first.weight
    module = nn.Sequential(OrderedDict(a=first, b=second, c=first)).eval()
    module.a.bias.requires_grad_(False)
    module.register_buffer("hidden", torch.arange(3), persistent=False)
    module.register_buffer("none", None)
    twin = ModuleData.of(module).restore()
    assert twin.a is twin.c and twin.a.weight is twin.b.weight
    assert not twin.a.bias.requires_grad and twin.b.bias.requires_grad
    assert "hidden" not in twin.state_dict() and torch.equal(twin.hidden, torch.arange(3))
    assert twin.none is None and not twin.training


def test_what_is_no_data_is_refused_at_save(tmp_path):
    hooked = nn.Sequential(nn.Linear(64, 4))
    hooked[0].register_forward_hook(print)
    odd = nn.Sequential(nn.Linear(64, 4))
    odd.function = lambda x: x
    local = type("Local", (nn.Sequential,), {})(nn.Linear(64, 4))
    for module, words in ((hooked, "hooks"), (odd, r"Sequential\.function"), (local, "Local")):
        path = tmp_path / "model.skops"
        path.write_text("old")
        with pytest.raises(TypeError, match=words):
            skltransfer.save(PretrainedFeatureTransformer(module), path)
        assert path.read_text() == "old"  # nothing was written in its place
    with pytest.raises(TypeError, match="cannot be saved as data"):
        skltransfer.save(FunctionTransformer(kw_args={"generator": (i for i in ())}), path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.skops"]


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = skltransfer.save(StandardScaler(), tmp_path / "model.skops")
    before = path.read_bytes()

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_file.os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        skltransfer.save(PCA(), path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def rewrite(path, change):
    """Write the members of a file anew, each as `change(name, content)` has it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            content = change(name, content)
            if content is not None:
                archive.writestr(name, content)


def saved(tmp_path, estimator=None):
    if estimator is None:
        estimator = FineTunedClassifier(**SHORT).fit(DIGITS, LABELS)
    return skltransfer.save(estimator, tmp_path / "model.skops")


def test_a_foreign_step_is_named(tmp_path):
    path = saved(tmp_path, make_pipeline(Foreign(), PCA(2)).fit(DIGITS))
    with pytest.raises(TypeError, match=r"tests\.persistence\.test_file\.Foreign.*trusted=\["):
        skltransfer.load(path)
    name = f"{Foreign.__module__}.Foreign"
    assert isinstance(skltransfer.load(path, trusted=[name])[0], Foreign)
    assert isinstance(skltransfer.load(path, trusted=name)[0], Foreign)


@pytest.mark.parametrize("hostile", ["function", "partial", "class"])
def test_a_hostile_file_runs_nothing(hostile, tmp_path):
    trace = tmp_path / "trace"
    function = FunctionTransformer(partial(touch, str(trace)) if hostile == "partial" else touch)
    path = saved(tmp_path, function)

    def change(name, content):
        if name != "schema.json":
            return content
        text = content.decode()
        assert "touch" in text
        text = text.replace('"__module__": "tests.persistence.test_file"', '"__module__": "os"')
        text = text.replace('"touch"', '"system"')
        if hostile == "class":
            text = text.replace("FunctionNode", "TypeNode")
        return text

    rewrite(path, change)
    with pytest.raises(TypeError, match=r"os\.system"):
        skltransfer.load(path)
    assert not trace.exists()


def hostile_structure(path, change):
    """Change the description of the network in a file, and make its digest right again."""

    def rewritten(name, content):
        if name != "schema.json":
            return content
        schema = json.loads(content)
        (node,) = [n for n in _nodes(schema) if n.get("__class__") == "ModuleData"]
        attributes = node["content"]["content"]
        structure = change(json.loads(json.loads(attributes["structure"]["content"])))
        attributes["structure"]["content"] = json.dumps(json.dumps(structure))
        arrays = np.load(io.BytesIO(members[attributes["tensors"]["file"]]))
        digest = ModuleData(json.dumps(structure), arrays, "cpu").digest
        attributes["digest"]["content"] = json.dumps(digest)
        return json.dumps(schema)

    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    rewrite(path, rewritten)


def _nodes(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _nodes(entry)


def test_a_hostile_description_of_a_network_runs_nothing(tmp_path):
    estimator = PretrainedFeatureTransformer(seeded(build_columns))

    def with_class(name):
        return lambda structure: structure | {"class": name}

    def with_setting(value):
        return lambda structure: structure | {"settings": {"x": value}}

    trace = str(tmp_path / "trace")
    for change, kind, words in (
        (with_class("os.system"), TypeError, r"os\.system.*not trusted"),
        (with_class("subprocess.Popen"), TypeError, "not trusted"),
        (with_class("torch.nn.modules.module.torch"), (TypeError, ValueError), None),
        (with_class("torch.nn.modules.linear.math"), (TypeError, ValueError), None),
        (with_class("torch.fx.graph_module.GraphModule"), TypeError, "not trusted"),
        (with_class("torch.jit._script.ScriptModule"), TypeError, "not trusted"),
        (with_class("skltransfer.cli.main"), TypeError, "not trusted"),
        (with_setting({"partial": [{"class": "os.system"}, [], {}]}), TypeError, "not trusted"),
        (with_setting({"partial": ["touch", {"tuple": [trace]}, {"dict": []}]}), ValueError, None),
        (with_setting({"function": "torch.load"}), ValueError, "unknown kind"),
        (with_setting({"call": "touch"}), ValueError, "unknown kind"),
        (lambda s: s | {"settings": {"forward": 1}}, ValueError, "no setting 'forward'"),
        (lambda s: s | {"settings": {"__class__": 1}}, ValueError, "no setting"),
        (lambda s: s | {"settings": {"_forward_hooks": 1}}, ValueError, "no setting"),
        (lambda s: [], ValueError, "cannot be read"),
        (lambda s: s | {"tensors": [["parameter", "p", "99", True]]}, ValueError, "cannot be read"),
    ):
        path = saved(tmp_path, estimator)
        hostile_structure(path, change)
        with pytest.raises(kind, match=words):
            skltransfer.load(path)
    assert not (tmp_path / "trace").exists()


def test_replaced_tensors_are_noticed(tmp_path):
    path = saved(tmp_path)

    def change(name, content):
        if not name.endswith(".npy"):
            return content
        array = np.load(io.BytesIO(content))
        if array.dtype != np.uint8:
            return content
        tensors = {name: tensor + 1 for name, tensor in tensors_of(array.tobytes()).items()}
        buffer = io.BytesIO()
        np.save(buffer, np.frombuffer(bytes_of(tensors), np.uint8))
        return buffer.getvalue()

    rewrite(path, change)
    with pytest.raises(ValueError, match="not those that were saved"):
        skltransfer.load(path)


def test_damaged_and_foreign_files(tmp_path):
    whole = saved(tmp_path).read_bytes()
    path = tmp_path / "bad.skops"
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    for content in (b"", b"no zip", whole[: len(whole) // 2], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.skops cannot be read: it is damaged"):
            skltransfer.load(path)
    for lost in ("schema.json", ".npy"):
        path.write_bytes(whole)
        rewrite(path, lambda name, content, lost=lost: None if name.endswith(lost) else content)
        with pytest.raises(ValueError, match="cannot be read"):
            skltransfer.load(path)
    skops.io.dump(StandardScaler(), path)
    with pytest.raises(ValueError, match=r"not written by skltransfer\.save"):
        skltransfer.load(path)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        skltransfer.load(tmp_path / "nothing.skops")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        skltransfer.save(StandardScaler(), tmp_path / "nowhere" / "model.skops")


def test_a_later_format_names_the_version_that_wrote_it(tmp_path):
    path = saved(tmp_path)

    def change(name, content):
        if name != "skltransfer.json":
            return content
        return json.dumps(json.loads(content) | {"format": 99, "skltransfer": "7.1"})

    rewrite(path, change)
    with pytest.raises(ValueError, match=re.escape("skltransfer 7.1 in format 99")):
        skltransfer.load(path)


@pytest.mark.parametrize("action", ["save", "load"])
def test_a_missing_skops_names_the_extra(action, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skops.io", None)
    with pytest.raises(ImportError, match=r"pip install skltransfer\[export\]"):
        if action == "save":
            skltransfer.save(StandardScaler(), tmp_path / "model.skops")
        else:
            skltransfer.load(tmp_path / "model.skops")


@pytest.mark.gpu
def test_a_network_on_a_gpu_goes_back_to_it(tmp_path):
    model = FineTunedClassifier("tiny", device="cuda", **SHORT, **IMAGES).fit(DIGITS, LABELS)
    twin = skltransfer.load(skltransfer.save(model, tmp_path / "model.skops"))
    assert next(twin.network_.parameters()).device.type == "cuda"
    np.testing.assert_array_equal(twin.predict_proba(DIGITS), model.predict_proba(DIGITS))
