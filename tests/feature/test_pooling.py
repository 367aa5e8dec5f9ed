"""Poolings and layers, by hand; images that cannot be read; tensors."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn

from skltransfer import (
    Backbone,
    FeatureStore,
    FineTunedClassifier,
    MultiTaskClassifier,
    PretrainedFeatureTransformer,
    RegularizedTransferClassifier,
    UnreadableImageWarning,
    feature_store,
    load_backbone,
)
from skltransfer._torch._pooling import POOLINGS, pool
from tests.rounding import assert_within_rounding


@pytest.fixture(autouse=True)
def _empty_store():
    feature_store.clear()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)


# --- poolings, by hand --------------------------------------------------------------------


def by_hand(activations, pooling, n_prefix):
    """One row and one channel after the other, in plain Python."""
    rows = []
    for row in activations.tolist():
        if activations.ndim == 3:
            tokens, prefix = row, n_prefix
            if pooling == "cls":
                rows.append(tokens[0])
                continue
            tokens = tokens[prefix:] if pooling == "mean_tokens" else tokens
            channels = [list(values) for values in zip(*tokens, strict=True)]
        else:
            channels = [[value for line in channel for value in line] for channel in row]
        reduce = {
            "avg": lambda v: sum(v) / len(v),
            "mean_tokens": lambda v: sum(v) / len(v),
            "max": max,
            "gem": lambda v: (sum(max(x, 1e-6) ** 3 for x in v) / len(v)) ** (1 / 3),
        }[pooling]
        rows.append([reduce(values) for values in channels])
    return np.array(rows)


@pytest.mark.parametrize("pooling", ["avg", "max", "gem", "mean_tokens", "cls"])
def test_poolings_of_tokens(pooling):
    tokens = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0))
    given = pool(tokens, pooling, ("cls", "register"))
    np.testing.assert_allclose(given, by_hand(tokens, pooling, 2), rtol=1e-5, atol=1e-7)
    if pooling in ("avg", "max", "gem", "cls"):
        torch.testing.assert_close(pool(tokens, pooling), given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 3, 5])
def test_gem_of_a_row_does_not_depend_on_its_place_in_the_batch(n, dtype):
    """Numbers at the end of an array, which fill no register, are no exception.

    Equal bits in another shape are right here: each operation has one correctly rounded result.
    """
    rows = torch.rand((n, 17, 4, 4), generator=torch.Generator().manual_seed(n), dtype=dtype)
    pooled = pool(rows, "gem")
    for row in range(n):
        assert torch.equal(pool(rows[row : row + 1], "gem")[0], pooled[row])
        assert torch.equal(pool(rows.roll(1, 0), "gem").roll(-1, 0), pooled)


def test_gem_over_sixteen_orders_of_magnitude():
    for dtype, close in ((torch.float16, 1e-3), (torch.float32, 3e-7), (torch.float64, 1e-14)):
        x = torch.logspace(-6, 4 if dtype is torch.float16 else 10, 97).to(dtype)
        pooled = pool(x[:, None, None, None], "gem")[:, 0]
        assert pooled.dtype == dtype
        np.testing.assert_allclose(pooled.double(), x.double().clamp_min(1e-6), rtol=close)


@pytest.mark.parametrize("pooling", ["avg", "max", "gem", "mean_tokens"])
def test_poolings_of_maps(pooling):
    maps = torch.randn(3, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    given = pool(maps, pooling)
    np.testing.assert_allclose(given, by_hand(maps, pooling, 0), rtol=1e-5, atol=1e-7)


def test_poolings_differ_and_vectors_stay():
    tokens = torch.randn(3, 7, 5)
    poolings = [name for name in POOLINGS if name not in ("grid2", "flatten")]
    results = [pool(tokens, name, ("cls",)) for name in poolings]
    for i, one in enumerate(results):
        for other in results[i + 1 :]:
            assert not torch.allclose(one, other, atol=1e-3)
    vectors = torch.randn(3, 5)
    assert all(torch.equal(pool(vectors, name), vectors) for name in POOLINGS)


def test_poolings_that_need_tokens_of_a_kind():
    tokens = torch.zeros(2, 5, 3)
    with pytest.raises(ValueError, match="pooling='mean_tokens' has to know"):
        pool(tokens, "mean_tokens")
    with pytest.raises(ValueError, match="this network has none. Pass pooling='mean_tokens'"):
        pool(tokens, "cls", ("register",))
    with pytest.raises(ValueError, match="pooling='cls' needs tokens"):
        pool(torch.zeros(2, 3, 4, 4), "cls")
    with pytest.raises(ValueError, match="needs feature maps"):
        pool(tokens, "grid2")


def test_tokens_of_patches_in_torchvision(images):
    settings = {"weights": None, "layers": "encoder", "store": None, "batch_size": 2}
    record = load_backbone("vit_b_16", None)
    given = PretrainedFeatureTransformer("vit_b_16", pooling="mean_tokens", **settings)
    given = given.fit_transform(images[:2])
    found = []
    module = record.module
    ours = record.preprocessing
    x = ours.normalize(ours.resize(torch.tensor(images[:2]).permute(0, 3, 1, 2)), torch.float32)
    handle = module.encoder.register_forward_hook(lambda _m, _i, output: found.append(output))
    with torch.inference_mode():
        module(x)
    handle.remove()
    assert found[0].shape == (2, 197, 768)
    np.testing.assert_allclose(given, found[0][:, 1:].mean(1), atol=1e-5)


def test_a_record_of_ones_own_says_which_tokens_are_patches():
    module = nn.Sequential(nn.Flatten(1), nn.Unflatten(1, (4, 3))).eval()
    X = np.random.default_rng(0).random((5, 12))
    record = Backbone("tokens", module, prefix_tokens=("cls",))
    given = PretrainedFeatureTransformer(record, pooling="mean_tokens").fit_transform(X)
    np.testing.assert_allclose(given, X.reshape(5, 4, 3)[:, 1:].mean(1), rtol=1e-6)
    with pytest.raises(ValueError, match="record with prefix_tokens"):
        PretrainedFeatureTransformer(module, pooling="mean_tokens").fit(X)


# --- all stages -----------------------------------------------------------------------------


def test_all_stages_side_by_side(images):
    settings = {"weights": None, "input_size": 64, "store": None}
    model = PretrainedFeatureTransformer("resnet18", layers="all_stages", **settings).fit(images)
    widths = {"relu": 64, "layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
    assert model.feature_widths_ == widths
    names = model.get_feature_names_out()
    assert list(names[[0, 63, 64, -1]]) == ["relu_0", "relu_63", "layer1_0", "layer4_511"]
    parts = [
        PretrainedFeatureTransformer("resnet18", layers=stage, **settings).fit_transform(images)
        for stage in widths
    ]
    np.testing.assert_allclose(model.transform(images), np.hstack(parts), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="has no stages. Name its layers"):
        PretrainedFeatureTransformer(nn.Identity(), layers="all_stages").fit(images)
    with pytest.raises(ValueError, match="Did you mean 'all_stages'"):
        PretrainedFeatureTransformer("resnet18", layers="all_stage", weights=None).fit(images)


# --- images that cannot be read --------------------------------------------------------------


@pytest.fixture
def paths(tmp_path, images):
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:90])
    (tmp_path / "2.png").write_text("no image")
    (tmp_path / "4.png").unlink()
    return [str(tmp_path / f"{i}.png") for i in range(6)]


BAD = [1, 2, 4]
GOOD = [0, 3, 5]


def test_unreadable_images_become_rows_of_nan(paths, images):
    store = FeatureStore()
    model = PretrainedFeatureTransformer("tiny", on_error="nan", store=store)
    expected = PretrainedFeatureTransformer("tiny", store=None).fit_transform(images)
    with pytest.warns(UnreadableImageWarning) as seen:
        features = model.fit_transform(paths)
    assert len(seen) == 1
    message = str(seen[0].message)
    assert message.startswith("3 of 6 images cannot be read, and their rows are NaN. Row 1: ")
    assert all(paths[row] in message for row in BAD)
    assert np.isnan(features[BAD]).all()
    assert_within_rounding(features[GOOD], expected[GOOD])
    assert len(store) == 3
    # The store knows nothing of them: once readable they are features.
    for row in BAD:
        Image.fromarray(images[row]).save(paths[row])
    assert_within_rounding(model.transform(paths), expected)


def test_readable_images_give_no_warning_and_are_decoded_once(paths, images, monkeypatch):
    opened, read = [], Image.open
    monkeypatch.setattr(Image, "open", lambda f, **kw: opened.append(f) or read(f, **kw))
    model = PretrainedFeatureTransformer("tiny", on_error="nan", store=None)
    model.fit([paths[row] for row in GOOD])
    opened.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.transform([paths[row] for row in GOOD])
    assert len(opened) == 3


def test_the_first_row_may_be_unreadable_in_fit(paths):
    module = nn.Sequential(nn.Flatten())
    order = [4, 1, 0, 3]
    for backbone in ("tiny", module):
        model = PretrainedFeatureTransformer(backbone, on_error="nan", store=None)
        with pytest.warns(UnreadableImageWarning, match="2 of 4"):
            features = model.fit_transform([paths[i] for i in order])
        assert list(np.isnan(features).all(axis=1)) == [True, True, False, False]
    with pytest.raises(ValueError, match="No image of 2 can be read. Row 0: "):
        model.fit([paths[1], paths[2]])
    fitted = PretrainedFeatureTransformer("tiny", on_error="nan").fit([paths[0]])
    with pytest.warns(UnreadableImageWarning, match="2 of 2"):
        assert np.isnan(fitted.transform([paths[1], paths[2]])).all()


def test_missing_paths(paths):
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    items = [None, paths[0], paths[3]]
    model = PretrainedFeatureTransformer("tiny", on_error="nan")
    for X in (items, pd.Series(items), pd.DataFrame({"p": items}), pl.DataFrame({"p": items})):
        with pytest.warns(UnreadableImageWarning, match="1 of 3.*Row 0: the image is missing"):
            features = model.fit_transform(X)
        assert list(np.isnan(features).all(axis=1)) == [True, False, False]
    with pytest.raises(ValueError, match="Row 0: the image is missing.*on_error='nan'"):
        clone(model).set_params(on_error="raise").fit_transform(items)


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_column_in_which_every_path_is_missing(paths, missing):
    """A single row to predict may have no image at all."""
    pd = pytest.importorskip("pandas")
    good = pd.DataFrame({"path": [paths[0], paths[3]], "age": [1.0, 2.0]})
    lost = pd.DataFrame({"path": [missing], "age": [3.0]})
    model = PretrainedFeatureTransformer("tiny", on_error="nan").fit(good["path"])
    for X in ([missing], np.array([missing], object), lost["path"], lost[["path"]]):
        with pytest.warns(UnreadableImageWarning, match="1 of 1.*Row 0: the image is missing"):
            assert np.isnan(model.transform(X)).all()
        with pytest.raises(ValueError, match="Row 0: the image is missing"):
            clone(model).set_params(on_error="raise").fit_transform(X)
    columns = ColumnTransformer([("image", clone(model), "path"), ("age", "passthrough", ["age"])])
    with pytest.warns(UnreadableImageWarning):
        features = columns.fit(good).transform(lost)
    assert features.shape == (1, 769)
    assert features[0, -1] == 3


def test_raise_names_row_and_path(paths):
    model = PretrainedFeatureTransformer("tiny")
    with pytest.raises(ValueError, match=r"Row 4: the image '.*4.png' cannot be read"):
        model.fit_transform(paths)
    with pytest.raises(ValueError, match=r"Row 1: '.*1.png' is not an image that can be decoded"):
        model.fit_transform(paths[:2])


def test_an_imputer_behind_and_other_errors(paths):
    features = PretrainedFeatureTransformer("tiny", on_error="nan")
    model = make_pipeline(features, SimpleImputer(), LogisticRegression())
    with pytest.warns(UnreadableImageWarning):
        model.fit(paths, [0, 0, 0, 1, 1, 1])
    with pytest.raises(TypeError, match="Row 1 is a int"):
        features.fit_transform([paths[0], 7])


# --- tensors out -----------------------------------------------------------------------------


def test_tensors_out(images):
    expected = PretrainedFeatureTransformer("tiny").fit_transform(images)
    model = PretrainedFeatureTransformer("tiny", output="torch", device="cpu").fit(images)
    features = model.transform(images)
    assert isinstance(features, torch.Tensor)
    assert features.device.type == "cpu"
    np.testing.assert_array_equal(features.numpy(), expected)
    features.zero_()  # the store keeps its own
    np.testing.assert_array_equal(model.transform(images).numpy(), expected)
    double = clone(model).set_params(precision="float64").fit_transform(images)
    assert double.dtype == torch.float64
    y = [0, 1, 0, 1, 0, 1]
    assert make_pipeline(clone(model), LogisticRegression()).fit(images, y).score(images, y) == 1
    passed = PretrainedFeatureTransformer(output="torch").fit_transform(np.eye(3))
    assert torch.equal(passed, torch.eye(3, dtype=torch.float64))


def test_tensors_and_frames_exclude_each_other(images):
    model = PretrainedFeatureTransformer("tiny", output="torch").set_output(transform="pandas")
    with pytest.raises(ValueError, match="output='torch' gives tensors.*output='numpy'"):
        model.fit_transform(images)
    model.set_output(transform="default").fit_transform(images)


@pytest.mark.parametrize(("name", "value"), [("on_error", "skip"), ("output", "jax")])
def test_other_choices_are_refused(images, name, value):
    for backbone in ("tiny", None):
        with pytest.raises(ValueError, match=f"{name}='{value}' is not one of"):
            PretrainedFeatureTransformer(backbone, **{name: value}).fit(images)


# --- fitted estimators as backbones ----------------------------------------------------------


def test_fitted_estimators_are_backbones(images):
    y = [0, 1, 0, 1, 0, 1]
    short = {"optimizer": "sgd", "max_epochs": 1, "random_state": 0}
    models = [
        FineTunedClassifier("tiny", **short).fit(images, y),
        RegularizedTransferClassifier("tiny", **short).fit(images, y),
        MultiTaskClassifier("network", backbone="tiny", **short).fit(
            images, np.column_stack([y, y[::-1]])
        ),
        PretrainedFeatureTransformer("tiny").fit(images),
    ]
    for model in models:
        given = PretrainedFeatureTransformer(model, store=None).fit_transform(images)
        assert given.shape == (6, 768)
        assert given.std() > 0
    np.testing.assert_array_equal(given, models[-1].transform(images))


def test_a_feature_transformer_brings_layers_pooling_and_size(images):
    inner = PretrainedFeatureTransformer("tiny", layers="stage2", pooling="gem", input_size=24)
    expected = inner.fit_transform(images)
    record = load_backbone(inner)
    assert (record.layers, record.pooling, record.n_features) == (("stage2",), "gem", 64)
    given = PretrainedFeatureTransformer(inner, store=None).fit_transform(images)
    np.testing.assert_array_equal(given, expected)
    model = FineTunedClassifier(inner, optimizer="sgd", max_epochs=1)
    assert model.fit(images, [0, 1] * 3)._built.n_features == 64
    with pytest.raises(Exception, match="not fitted"):
        load_backbone(PretrainedFeatureTransformer("tiny"))
    with pytest.raises(TypeError, match="which has no network. Pass backbone=None itself"):
        load_backbone(PretrainedFeatureTransformer().fit(np.eye(3)))


def test_pipelines_and_other_estimators_are_refused():
    for estimator in (make_pipeline(SimpleImputer(), LogisticRegression()), LogisticRegression()):
        with pytest.raises(TypeError, match=r"not a network. Pass its fitted step.*pipeline\[-1\]"):
            load_backbone(estimator)
