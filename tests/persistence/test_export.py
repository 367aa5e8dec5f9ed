"""ONNX files and programs of torch.export say what the estimators say."""

import json

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from torch import nn

from skltransfer import (
    FineTunedClassifier,
    FineTunedRegressor,
    PretrainedFeatureTransformer,
    TransferRidge,
)
from skltransfer.persistence import export_inputs, export_onnx, export_torch
from tests.exports import share_operators
from tests.persistence.models import (
    COLUMNS,
    DIGITS,
    IMAGES,
    LABELS,
    MODELS,
    NUMBERS,
    SHORT,
    TEXTS,
)

share_operators()


def run_onnx(model, path, X, example=None):
    """Export for two rows, run on all of them; return the outputs by name."""
    export_onnx(model, path, X[:2] if example is None else example)
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, export_inputs(model, X)), strict=True))


def run_torch(model, path, X):
    export_torch(model, path, X[:2])
    program = torch.export.load(path).module()
    return program(*(torch.tensor(v) for v in export_inputs(model, X).values()))


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["table", "table, mlp head", "table, cosine head", "tiny", "tiny, probe", "torchvision"]
    + ["sequence", "instance", "record", "estimator", "text"],
)
def test_a_classifier(name, tmp_path):
    make, X = MODELS[name]
    model = make(tmp_path / "encoder")
    expected = model.predict_proba(X)
    assert np.ptp(expected) > 1e-3
    found = run_onnx(model, tmp_path / "model.onnx", X)
    assert list(found) == ["label", "probabilities"]
    close(found["probabilities"], expected)
    assert found["label"].tolist() == model.predict(X).tolist()  # of their own type
    number, probabilities = run_torch(model, tmp_path / "model.pt2", X)
    close(probabilities, expected)
    assert model.classes_[number.numpy()].tolist() == model.predict(X).tolist()


def test_the_classes_lie_in_the_program(tmp_path):
    model = MODELS["table"][0](tmp_path)
    export_torch(model, tmp_path / "model.pt2", DIGITS)
    files = {"classes.json": ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=files)
    assert json.loads(files["classes.json"]) == ["even", "odd", "third"]


@pytest.mark.parametrize(
    "labels",
    [LABELS == "odd", (LABELS == "odd") * 2.0, np.where(LABELS == "odd", "yes", "no")],
    ids=["bool", "float", "str"],
)
def test_two_classes_of_any_kind(labels, tmp_path):
    model = FineTunedClassifier(**SHORT).fit(DIGITS, labels)
    found = run_onnx(model, tmp_path / "model.onnx", DIGITS)
    close(found["probabilities"], model.predict_proba(DIGITS))
    assert found["label"].tolist() == model.predict(DIGITS).tolist()
    assert len(set(found["label"].tolist())) == 2


def test_several_labels_per_row(tmp_path):
    labels = np.column_stack([LABELS == "odd", LABELS != "even", DIGITS[:, 20] > 8]).astype(int)
    model = FineTunedClassifier(**SHORT).fit(DIGITS, labels)
    found = run_onnx(model, tmp_path / "model.onnx", DIGITS)
    close(found["probabilities"], model.predict_proba(DIGITS))
    np.testing.assert_array_equal(found["label"], model.predict(DIGITS))
    close(run_torch(model, tmp_path / "model.pt2", DIGITS)[1], model.predict_proba(DIGITS))


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_regressor_in_the_units_of_y(n_outputs, tmp_path):
    y = NUMBERS if n_outputs == 1 else np.column_stack([NUMBERS, -3 * NUMBERS])
    model = FineTunedRegressor(**SHORT).fit(COLUMNS, y)
    expected = model.predict(COLUMNS)
    assert expected.max() > 100
    found = run_onnx(model, tmp_path / "model.onnx", COLUMNS)["prediction"]
    assert found.shape == expected.shape
    close(found, expected)
    close(run_torch(model, tmp_path / "model.pt2", COLUMNS), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_tables_of_both_types(dtype, precision, tmp_path):
    X = COLUMNS.astype(dtype)
    model = FineTunedRegressor(precision=precision, **SHORT).fit(X, NUMBERS)
    assert export_inputs(model, X)["X"].dtype == dtype
    close(run_onnx(model, tmp_path / "model.onnx", X)["prediction"], model.predict(X))


@pytest.mark.parametrize("kind", ["uint8", "float", "colour"])
def test_pixels_come_as_they_are_and_normalisation_is_inside(kind, tmp_path):
    images = DIGITS.reshape(-1, 8, 8) / 16
    if kind == "uint8":
        images = (images * 255).astype(np.uint8)
    if kind == "colour":
        images = np.stack([images, images**2, 1 - images], axis=-1)
    model = FineTunedClassifier("tiny", **SHORT).fit(images, LABELS)
    pixels = export_inputs(model, images)["pixels"]
    assert pixels.shape == (len(images), 3 if kind == "colour" else 1, 32, 32)
    assert pixels.max() > 250 if kind == "uint8" else pixels.max() <= 1.001
    found = run_onnx(model, tmp_path / "model.onnx", images)
    close(found["probabilities"], model.predict_proba(images))
    close(run_torch(model, tmp_path / "model.pt2", images)[1], model.predict_proba(images))


def test_texts_of_any_length(tmp_path):
    model = MODELS["text"][0](tmp_path / "encoder")
    long = ["a good film " * 15, "bad", *TEXTS]
    export_onnx(model, tmp_path / "model.onnx", TEXTS)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for texts in (TEXTS, long, long[:1]):
        inputs = export_inputs(model, texts)
        close(session.run(["probabilities"], inputs)[0], model.predict_proba(texts))


def test_features(tmp_path):
    model = MODELS["features"][0](tmp_path)
    close(run_onnx(model, tmp_path / "m.onnx", DIGITS)["features"], model.transform(DIGITS))
    close(run_torch(model, tmp_path / "m.pt2", DIGITS), model.transform(DIGITS))


def test_one_row_is_example_enough(tmp_path):
    model = MODELS["table"][0](tmp_path)
    found = run_onnx(model, tmp_path / "model.onnx", DIGITS, example=DIGITS[:1])
    close(found["probabilities"], model.predict_proba(DIGITS))


def test_steps_before_the_network(tmp_path):
    scale = make_pipeline(StandardScaler(), "passthrough", PCA(6, random_state=0))
    model = make_pipeline(scale, FineTunedClassifier(**SHORT)).fit(DIGITS, LABELS)
    for X in (DIGITS, DIGITS.astype(np.float32)):
        found = run_onnx(model, tmp_path / "model.onnx", X)
        close(found["probabilities"], model.predict_proba(X))
        assert found["label"].tolist() == model.predict(X).tolist()


def test_a_frame_with_columns_of_several_kinds(tmp_path):
    frame = pd.DataFrame({"a": COLUMNS[:, 0], "b": COLUMNS[:, 1], "c": list("xyz") * 20})
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), ["a", "b"]), ("names", OneHotEncoder(), ["c"])],
        sparse_threshold=0,
    )
    model = make_pipeline(columns, FineTunedRegressor(**SHORT)).fit(frame, NUMBERS)
    found = run_onnx(model, tmp_path / "model.onnx", frame)
    close(found["prediction"], model.predict(frame))


def test_steps_after_the_network(tmp_path):
    features = PretrainedFeatureTransformer("tiny", **IMAGES)
    last = LogisticRegression(max_iter=1000)
    model = make_pipeline(features, StandardScaler(), last).fit(DIGITS, LABELS)
    found = run_onnx(model, tmp_path / "model.onnx", DIGITS)
    close(found["probabilities"], model.predict_proba(DIGITS))
    assert found["label"].tolist() == model.predict(DIGITS).tolist()
    model = make_pipeline(FrozenEstimator(FineTunedRegressor(**SHORT).fit(COLUMNS, NUMBERS)))
    model = make_pipeline(StandardScaler(), model.steps[0][1], Ridge()).fit(COLUMNS, NUMBERS)
    found = run_onnx(model, tmp_path / "model.onnx", COLUMNS)
    close(found["prediction"].ravel(), model.predict(COLUMNS))


def test_the_best_estimator_of_a_search(tmp_path):
    pipeline = make_pipeline(StandardScaler(), FineTunedClassifier(**SHORT))
    search = GridSearchCV(pipeline, {"finetunedclassifier__head": ["mlp"]}, cv=2)
    search.fit(DIGITS, LABELS)
    found = run_onnx(search, tmp_path / "model.onnx", DIGITS)
    close(found["probabilities"], search.predict_proba(DIGITS))


class Unknown(TransformerMixin, BaseEstimator):
    """A step that nobody has a converter for."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X


@pytest.mark.parametrize("step", [Unknown(), FunctionTransformer(np.abs)], ids=repr)
def test_a_step_without_a_converter_is_named(step, tmp_path):
    model = make_pipeline(StandardScaler(), step, FineTunedClassifier(**SHORT))
    model.fit(DIGITS, LABELS)
    with pytest.raises(TypeError, match=f"step {type(step).__name__} cannot be converted"):
        export_onnx(model, tmp_path / "model.onnx", DIGITS)
    assert not list(tmp_path.iterdir())


def test_what_has_no_network_is_refused(tmp_path):
    ridge = TransferRidge(source=np.ones(10)).fit(COLUMNS, NUMBERS)
    through = PretrainedFeatureTransformer().fit(COLUMNS)
    for model in (ridge, through, make_pipeline(StandardScaler(), Ridge()).fit(COLUMNS, NUMBERS)):
        with pytest.raises(TypeError, match="needs one. Pass a FineTunedClassifier"):
            export_onnx(model, tmp_path / "model.onnx", COLUMNS)
        with pytest.raises(TypeError, match="not a single network"):
            export_torch(model, tmp_path / "model.pt2", COLUMNS)
    images = make_pipeline(
        StandardScaler(), FineTunedClassifier("tiny", **SHORT, image_shape=(8, 8))
    )
    images.set_params(finetunedclassifier__value_range=(-100, 100)).fit(DIGITS, LABELS)
    with pytest.raises(TypeError, match="StandardScaler comes before a network that takes images"):
        export_onnx(images, tmp_path / "model.onnx", DIGITS)


class Fickle(nn.Module):
    """Its way depends on values."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def forward(self, x):
        return self.layer(x) if float(x.sum()) > 0 else self.layer(-x)


def test_a_network_that_cannot_be_traced(tmp_path):
    model = FineTunedClassifier(Fickle, **SHORT).fit(DIGITS, LABELS)
    for export in (export_onnx, export_torch):
        with pytest.raises(ValueError, match="cannot be traced by torch.export"):
            export(model, tmp_path / "model", DIGITS)
    with pytest.raises(ValueError, match="0 sample"):
        export_torch(model, tmp_path / "model", DIGITS[:0])


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "skl2onnx"])
def test_a_missing_package_names_the_extra(package, tmp_path, monkeypatch):
    model = make_pipeline(StandardScaler(), FineTunedClassifier(**SHORT)).fit(DIGITS, LABELS)
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=r'pip install "skltransfer\[export\]"'):
        export_onnx(model, tmp_path / "model.onnx", DIGITS)


def test_the_estimator_stays_as_it_is(tmp_path):
    model = MODELS["tiny"][0](tmp_path)
    before = {name: t.clone() for name, t in model.network_.state_dict().items()}
    expected = model.predict_proba(DIGITS)
    export_onnx(model, tmp_path / "model.onnx", DIGITS)
    export_torch(model, tmp_path / "model.pt2", DIGITS)
    assert all(torch.equal(t, before[name]) for name, t in model.network_.state_dict().items())
    assert all(p.requires_grad for p in model.network_.parameters())
    np.testing.assert_array_equal(model.predict_proba(DIGITS), expected)
