"""save and load: the same predictions, data only, nothing foreign, never half a file."""

import json
from collections import OrderedDict

import numpy as np
import pytest
import torch
from sklearn.base import clone, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn

import skltransfer
from skltransfer import (
    FineTunedClassifier,
    PretrainedFeatureTransformer,
    WithSource,
    WithTarget,
)
from skltransfer._torch._fingerprint import fingerprint
from skltransfer.domains._routing import consumed_keywords
from skltransfer.persistence._modules import ModuleData
from tests.packaged import needs_networks
from tests.persistence.models import (
    COLUMNS,
    DIGITS,
    IMAGES,
    LABELS,
    MODELS,
    NUMBERS,
    SHORT,
    TEXTS,
    TRUSTED,
    Columns,
    build_columns,
    outputs,
    seeded,
)
from tests.test_sklearn_checks import ESTIMATORS, FIRST_OF_ITS_CLASS, takes_two_domains
from tests.tiny_bert import save_tiny_bert

OF_THE_CHECKS = [
    f"tests.doubles.{name}"
    for name in ("TableNetwork", "MeanAligner", "NumbersAsText", "SignClassifier", "SumRegressor")
]


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
    path = skltransfer.save(estimator, tmp_path / "model.skops")
    assert repr(skltransfer.load(path, trusted=OF_THE_CHECKS)) == repr(estimator)


@pytest.mark.filterwarnings("ignore")  # of fits on so few samples
@pytest.mark.parametrize("estimator", FIRST_OF_ITS_CLASS, ids=lambda e: type(e).__name__)
def test_every_estimator_of_the_package_is_loaded_as_it_was_fitted(estimator, tmp_path):
    estimator = clone(estimator)
    if "max_epochs" in estimator.get_params():
        estimator.set_params(max_epochs=2)
    regresses = is_regressor(estimator)
    source, target = COLUMNS[:40, :4], COLUMNS[40:, :4]
    y, y_target = (v if regresses else (v > 140).astype(int) for v in (NUMBERS[:40], NUMBERS[40:]))
    if isinstance(estimator, WithSource):
        estimator.set_params(X_source=source, y_source=y).fit(target, y_target)
    elif isinstance(estimator, WithTarget):
        estimator.set_params(X_target=target).fit(source, y)
    elif takes_two_domains(estimator):
        labels = {"y_target": y_target} if consumed_keywords(estimator, "fit", ["y_target"]) else {}
        estimator.fit(source, y, X_target=target, **labels)
    else:
        estimator.fit(source, y)
    twin = skltransfer.load(
        skltransfer.save(estimator, tmp_path / "model.skops"), trusted=OF_THE_CHECKS
    )
    for name in ("predict", "predict_proba", "transform"):
        assert hasattr(twin, name) == hasattr(estimator, name)
        if hasattr(estimator, name):
            given, wanted = (getattr(model, name)(target) for model in (twin, estimator))
            np.testing.assert_array_equal(*(np.asarray(v) for v in (given, wanted)))
    if hasattr(estimator, "sample_weight_"):
        np.testing.assert_array_equal(twin.sample_weight_, estimator.sample_weight_)


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


def test_an_encoder_that_another_version_of_transformers_wrote(tmp_path):
    name = save_tiny_bert(tmp_path / "encoder")
    settings = tmp_path / "encoder" / "config.json"
    content = json.loads(settings.read_text())
    settings.write_text(json.dumps(content | {"transformers_version": "4.8.2"}))
    model = FineTunedClassifier(name, **SHORT).fit(TEXTS, [1, 0, 0, 1] * 4)
    twin = skltransfer.load(skltransfer.save(model, tmp_path / "model.skops"))
    np.testing.assert_array_equal(twin.predict_proba(TEXTS), model.predict_proba(TEXTS))


@needs_networks
@pytest.mark.parametrize("name", ["efficientnet_lite0", "minilm"])
def test_networks_of_packages(name, tmp_path):
    X = TEXTS if name == "minilm" else np.kron(DIGITS[:16].reshape(-1, 8, 8) / 16, np.ones((4, 4)))
    y = [1, 0, 0, 1] * 4
    size = {} if name == "minilm" else {"input_size": 32}
    frozen = make_pipeline(PretrainedFeatureTransformer(name, **size), LogisticRegression())
    tuned = FineTunedClassifier(name, unfreeze=1, max_epochs=1, **size)
    for model, n_bytes in ((frozen, 100_000), (tuned, 100_000_000)):
        path = skltransfer.save(model.fit(X, y), tmp_path / "model.skops")
        assert path.stat().st_size < n_bytes  # of the frozen network the name
        twin = skltransfer.load(path)
        np.testing.assert_array_equal(twin.predict_proba(X), model.predict_proba(X))


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

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        skltransfer.save(PCA(), path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("action", ["save", "load"])
def test_a_missing_skops_names_the_extra(action, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skops.io", None)
    with pytest.raises(ImportError, match=r'pip install "skltransfer\[export\]"'):
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
