"""PretrainedFeatureTransformer: what comes out, what stays as it was, and what is refused."""

import copy
import io
import pickle

import joblib
import numpy as np
import pytest
import sklearn
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torchvision.models import get_model, get_model_weights
from torchvision.transforms import v2

from skltransfer import (
    Backbone,
    FeatureStore,
    KMMReweighter,
    Preprocessing,
    PretrainedFeatureTransformer,
    WithSource,
    WithTarget,
    feature_store,
    load_backbone,
)
from tests.doubles import TableNetwork
from tests.rounding import assert_within_rounding


@pytest.fixture(autouse=True)
def _empty_store():
    feature_store.clear()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)


def resnet(**parameters):
    return PretrainedFeatureTransformer("resnet18", weights=None, input_size=64, **parameters)


class Counting(nn.Module):
    """Counts the rows that pass it, over all its copies, in evaluation mode only."""

    rows = 0

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 16)
        with torch.no_grad():
            self.linear.weight.copy_(torch.linspace(-1, 1, 1024).reshape(16, 64).sin())
            self.linear.bias.zero_()

    def forward(self, x):
        assert not self.training
        assert not torch.is_grad_enabled()
        if x.abs().sum() > 0:  # not the empty row that tells the width
            Counting.rows += len(x)
        return self.linear(x)


# --- the features are the network's -----------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "inception_v3", "mobilenet_v2", "vit_b_16"])
def test_features_equal_a_plain_forward_pass_of_the_network(name):
    """Pixels through the transforms of the weights and the network without its last layer."""
    preset = get_model_weights(name).DEFAULT.transforms()
    transforms = v2.Compose(
        [
            v2.Resize(preset.resize_size, interpolation=preset.interpolation, antialias=True),
            v2.CenterCrop(preset.crop_size),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(preset.mean, preset.std),
        ]
    )
    pixels = np.random.default_rng(1).integers(0, 256, (2, 240, 260, 3), dtype=np.uint8)
    transformer = PretrainedFeatureTransformer(name, weights=None, batch_size=2)
    features = transformer.fit_transform(pixels)
    network = copy.deepcopy(load_backbone(name, weights=None).module)
    for head in ("fc", "classifier", "heads"):
        if hasattr(network, head):
            layer = getattr(network, head)
            if isinstance(layer, nn.Sequential):
                layer[-1] = nn.Identity()
            else:
                setattr(network, head, nn.Identity())
    with torch.inference_mode():
        expected = network(transforms(torch.tensor(pixels).permute(0, 3, 1, 2))).numpy()
    assert features.shape == expected.shape
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    assert features.std(axis=0).max() > 0


def test_layers_and_poolings_equal_hooks_on_the_network(images):
    network = load_backbone("resnet18", weights=None).module
    preset = Preprocessing.from_torchvision(get_model_weights("resnet18").DEFAULT.transforms())
    outputs = {}
    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda _m, _i, output, name=name: outputs.__setitem__(name, output.clone())
        )
        for name in ("layer1", "layer3")
    ]
    x = torch.tensor(images[:4]).permute(0, 3, 1, 2)
    with torch.inference_mode():
        network(preset.with_input_size(64).normalize(x, torch.float32))
    for handle in handles:
        handle.remove()
    maps = [outputs["layer1"], outputs["layer3"]]
    poolings = {
        "avg": [m.mean((2, 3)) for m in maps],
        "max": [m.amax((2, 3)) for m in maps],
        "flatten": [m.flatten(1) for m in maps],
        "grid2": [
            torch.stack(
                [
                    m[:, :, : m.shape[2] // 2, : m.shape[3] // 2].mean((2, 3)),
                    m[:, :, : m.shape[2] // 2, m.shape[3] // 2 :].mean((2, 3)),
                    m[:, :, m.shape[2] // 2 :, : m.shape[3] // 2].mean((2, 3)),
                    m[:, :, m.shape[2] // 2 :, m.shape[3] // 2 :].mean((2, 3)),
                ],
                dim=2,
            ).flatten(1)
            for m in maps
        ],
    }
    for pooling, expected in poolings.items():
        transformer = resnet(layers=["layer1", "layer3"], pooling=pooling, batch_size=4)
        features = transformer.fit_transform(images[:4])
        widths = [block.shape[1] for block in expected]
        expected = torch.cat(expected, dim=1).numpy()
        np.testing.assert_allclose(features, expected, atol=1e-5 * expected.max())
        names = transformer.get_feature_names_out()
        assert (names[0], names[-1]) == ("layer1_0", f"layer3_{widths[1] - 1}")
        assert len(names) == features.shape[1]


def test_cls_pooling_takes_the_first_token():
    network = load_backbone("vit_b_16", weights=None).module
    pixels = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    parameters = {"weights": None, "batch_size": 2, "input_size": 224}
    tokens = PretrainedFeatureTransformer(
        "vit_b_16", layers="encoder", pooling="cls", **parameters
    ).fit_transform(pixels)
    default = PretrainedFeatureTransformer("vit_b_16", **parameters).fit_transform(pixels)
    np.testing.assert_allclose(tokens, default, atol=1e-6)
    assert tokens.shape == (2, network.heads[-1].in_features)


def test_swin_stages_are_pooled_over_positions():
    network = get_model("swin_t", weights=None)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    transformer = PretrainedFeatureTransformer(
        "swin_t", weights=None, layers=["features.3", "permute"], batch_size=2, input_size=224
    ).fit(pixels)
    assert transformer.feature_widths_ == {
        "features.3": network.features[3][1].mlp[0].in_features,
        "permute": network.norm.normalized_shape[0],
    }


def test_preprocessing_is_that_of_the_weights_within_one_grey_level():
    rng = np.random.default_rng(3)
    smooth = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(smooth).resize((300, 250), Image.Resampling.BICUBIC)
    preset = get_model_weights("mobilenet_v2").DEFAULT.transforms()
    ours = Preprocessing.from_torchvision(preset)
    pixels = torch.tensor(np.array(image)).permute(2, 0, 1)[None]
    difference = ours.normalize(ours.resize(pixels), torch.float32) - preset(image)[None]
    grey_levels = difference * torch.tensor(ours.std).reshape(1, 3, 1, 1) * 255
    assert grey_levels.abs().max() <= 1.01
    assert grey_levels.abs().mean() < 0.1


# --- a row's features are a function of the row ----------------------------------------


@pytest.mark.parametrize(
    ("name", "size", "n"),
    [("resnet18", 64, 40), ("mobilenet_v2", 64, 40), ("tiny", 32, 150), ("vit_b_16", 224, 6)],
)
def test_order_subsets_and_batches_do_not_matter(name, size, n):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    transformer = PretrainedFeatureTransformer(
        name, weights=None, input_size=size, store=None, batch_size=n // 2 - 1
    )
    features = transformer.fit_transform(pixels)
    order = rng.permutation(n)
    assert_within_rounding(transformer.transform(pixels[order]), features[order])
    assert_within_rounding(transformer.transform(pixels[:3]), features[:3])
    assert_within_rounding(transformer.transform(pixels[-1:]), features[-1:])


def test_nothing_moves_in_the_network(images):
    """Not the given module's mode, weights or statistics, and not those of the shared copy."""
    module = get_model("resnet18", weights=None).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    transformer = PretrainedFeatureTransformer(module, layers=["layer2"])
    features = transformer.fit_transform(images)
    shared = load_backbone(module)
    for state in (module.state_dict(), shared.module.state_dict()):
        assert all(torch.equal(before[key], value) for key, value in state.items())
    assert module.training
    assert not shared.module.training
    assert shared.module is not module
    assert all(p.requires_grad for p in module.parameters())
    np.testing.assert_array_equal(transformer.transform(images), features)


def test_dropout_and_batch_statistics_are_off(images):
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.Dropout(0.9),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ).train()
    features = PretrainedFeatureTransformer(module, store=None).fit_transform(images)
    with torch.inference_mode():
        x = torch.tensor(images).permute(0, 3, 1, 2) / 255
        expected = copy.deepcopy(module).eval()(x.contiguous()).numpy()
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


# --- forms of input --------------------------------------------------------------------


def encoded(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def test_every_form_of_the_same_images_gives_the_same_features(images, tmp_path):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    images = images[:5]
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(encoded(image))
    names = [str(path) for path in paths]
    expected = resnet().fit_transform(images)
    channels_first = images.transpose(0, 3, 1, 2)
    forms = {
        "channels first": (channels_first, {}),
        "flattened": (images.reshape(5, -1), {"image_shape": (64, 64, 3)}),
        "flattened, channels first": (
            channels_first.reshape(5, -1),
            {"image_shape": (3, 64, 64)},
        ),
        "integers": (images.astype(np.int64), {}),
        "tensor": (torch.tensor(images), {}),
        "list of arrays": (list(images), {}),
        "paths": (paths, {}),
        "names": (names, {}),
        "array of names": (np.array(names), {}),
        "column of names": (np.array(names, dtype=object)[:, None], {}),
        "series": (pandas.Series(names), {}),
        "frame": (pandas.DataFrame({"file": names}), {}),
        "polars": (polars.DataFrame({"file": names}), {}),
        "PIL": ([Image.fromarray(image) for image in images], {}),
        "bytes": ([encoded(image) for image in images], {}),
        "mixed": ([names[0], paths[1], *(Image.fromarray(image) for image in images[2:])], {}),
    }
    for form, (X, parameters) in forms.items():
        transformer = resnet(store=None, **parameters)
        np.testing.assert_allclose(transformer.fit_transform(X), expected, atol=2e-6, err_msg=form)


def test_grey_images_are_repeated_over_the_channels(images):
    grey = images[:3, :, :, 0]
    expected = resnet(store=None).fit_transform(np.repeat(grey[..., None], 3, axis=3))
    for X in (grey, grey[..., None], grey[:, None], [Image.fromarray(g) for g in grey]):
        np.testing.assert_array_equal(resnet(store=None).fit_transform(X), expected)
    floats = resnet(store=None).fit_transform(grey / 255)
    np.testing.assert_allclose(floats, expected, atol=1e-5)
    sixteenths = grey // 16 * 16
    np.testing.assert_allclose(
        resnet(store=None, value_range=(0, 16)).fit_transform(sixteenths / 256 * 16),
        resnet(store=None).fit_transform(sixteenths / 256),
        atol=1e-5,
    )


def test_images_of_different_sizes_and_modes(images):
    small, large = Image.fromarray(images[0]).resize((50, 40)), Image.fromarray(images[1])
    modes = [
        small,
        large.resize((300, 200)),
        large.convert("L"),
        large.convert("P"),
        large.convert("RGBA"),
    ]
    features = PretrainedFeatureTransformer("tiny", weights=None).fit_transform(modes)
    assert features.shape == (5, 768)
    assert np.isfinite(features).all()


def test_sixteen_bits_are_not_clipped(images, tmp_path):
    grey = images[0, :, :, 0]
    path = tmp_path / "deep.png"
    Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    transformer = PretrainedFeatureTransformer("tiny", weights=None)
    features = transformer.fit_transform([path])
    np.testing.assert_allclose(features, transformer.fit_transform(grey[None]), atol=1e-6)
    with pytest.raises(ValueError, match="mode 'F', which does not say how bright white is"):
        transformer.fit_transform([Image.fromarray(grey.astype(np.float32))])


def test_tables_pass_a_network_of_ones_own():
    X = np.random.default_rng(0).normal(size=(300, 5))
    transformer = PretrainedFeatureTransformer(TableNetwork, precision="float64")
    features = transformer.fit_transform(X)
    module = load_backbone(TableNetwork, input_shape=(5,)).module
    with torch.no_grad():
        expected = copy.deepcopy(module).double()(torch.tensor(X)).numpy()
    np.testing.assert_allclose(features, expected)
    assert features.dtype == np.float64
    hidden = PretrainedFeatureTransformer(TableNetwork, layers="0").fit(X)
    assert hidden.feature_widths_ == {"0": 16}
    assert resnet().precision == "float32"


def test_a_record_of_ones_own_brings_its_preprocessing(images):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    preprocessing = Preprocessing(32, 32, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    record = Backbone("mine", module.eval(), preprocessing)
    transformer = PretrainedFeatureTransformer(record)
    features = transformer.fit_transform(images[:4])
    x = preprocessing.resize(torch.tensor(images[:4]).permute(0, 3, 1, 2))
    with torch.inference_mode():
        expected = module(preprocessing.normalize(x, torch.float32)).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-6)
    assert clone(transformer).backbone is record
    assert list(transformer.get_feature_names_out()[:2]) == ["output_0", "output_1"]


def test_no_backbone_passes_numbers_through(images):
    X = np.random.default_rng(0).normal(size=(10, 3))
    transformer = PretrainedFeatureTransformer()
    np.testing.assert_array_equal(transformer.fit_transform(X), X)
    assert list(transformer.get_feature_names_out()) == ["x0", "x1", "x2"]
    np.testing.assert_array_equal(transformer.fit_transform(images), images.reshape(40, -1))
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abc"))
    transformed = transformer.set_output(transform="pandas").fit_transform(frame)
    assert list(transformed.columns) == ["a", "b", "c"]


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_precision(images, precision):
    expected = resnet().fit_transform(images[:4])
    features = resnet(precision=precision).fit_transform(images[:4])
    assert features.dtype == (np.float64 if precision == "float64" else np.float32)
    tolerance = 1e-4 if precision == "float64" else 0.1
    assert np.abs(features - expected).max() < tolerance * np.abs(expected).max()
    assert np.abs(features - expected).max() > 0


# --- scikit-learn ----------------------------------------------------------------------


def test_output_containers_and_column_transformer(images, tmp_path):
    pandas = pytest.importorskip("pandas")
    paths = []
    for i, image in enumerate(images[:6]):
        paths.append(str(tmp_path / f"{i}.png"))
        (tmp_path / f"{i}.png").write_bytes(encoded(image))
    frame = pandas.DataFrame({"age": np.arange(6.0), "photo": paths}, index=list("uvwxyz"))
    columns = ColumnTransformer(
        [("image", resnet(layers="layer1"), ["photo"]), ("number", StandardScaler(), ["age"])],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    result = columns.fit_transform(frame)
    assert list(result.index) == list("uvwxyz")
    assert list(result.columns[[0, 63, 64]]) == ["layer1_0", "layer1_63", "age"]
    expected = resnet(layers="layer1", store=None).fit_transform(images[:6])
    np.testing.assert_allclose(result.iloc[:, :64], expected, atol=2e-6)


def test_a_grid_over_backbone_and_layer_with_the_baseline():
    X, y = load_digits(return_X_y=True)
    X, y = X[:200], y[:200]
    features = PretrainedFeatureTransformer(weights=None, image_shape=(8, 8), value_range=(0, 16))
    pipeline = make_pipeline(features, StandardScaler(), LogisticRegression(max_iter=1000))
    grid = [
        {"pretrainedfeaturetransformer__backbone": [None]},
        {
            "pretrainedfeaturetransformer__backbone": ["tiny"],
            "pretrainedfeaturetransformer__layers": ["stage1", ["stage1", "stage3"]],
        },
    ]
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    baseline = cross_validate(make_pipeline(StandardScaler(), LogisticRegression()), X, y, cv=2)
    assert search.cv_results_["mean_test_score"][0] == baseline["test_score"].mean()
    assert len(set(search.cv_results_["mean_test_score"])) == 3


def test_images_in_both_domains(images):
    """The target's images pass the network, and then the reweighter sees features."""
    X, X_target = images[:20], images[20:]
    y = np.arange(20) % 2
    pipeline = make_pipeline(
        resnet(layers="layer1"), KMMReweighter(LogisticRegression(max_iter=500))
    )
    model = WithTarget(pipeline, X_target).fit(X, y)
    features = resnet(layers="layer1")
    expected = KMMReweighter().fit(
        features.fit_transform(X), X_target=features.fit_transform(X_target)
    )
    np.testing.assert_allclose(model.estimator_[-1].sample_weight_, expected.sample_weight_)
    assert WithSource(pipeline, X, y).fit(X_target).predict(X_target).shape == (20,)


def test_clone_and_pickle_are_small_and_equal(images):
    transformer = resnet()
    assert len(pickle.dumps(transformer)) < 1000
    assert joblib.hash(transformer) == joblib.hash(resnet())
    features = transformer.fit_transform(images[:4])
    assert len(pickle.dumps(transformer)) < 2000
    again = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(again.transform(images[:4]), features)
    fresh = clone(transformer)
    assert not hasattr(fresh, "feature_widths_")
    np.testing.assert_array_equal(fresh.fit_transform(images[:4]), features)
    module = nn.Sequential(nn.Linear(64, 16))
    fitted = PretrainedFeatureTransformer(module).fit(load_digits().data)
    assert fitted.backbone is module
    X = load_digits().data[:10]
    np.testing.assert_array_equal(clone(fitted).fit(X).transform(X), fitted.transform(X))


def test_configuration_and_random_state_stay(images):
    config, numpy_state = sklearn.get_config(), np.random.get_state()[1].copy()
    torch_state, threads = torch.get_rng_state(), torch.get_num_threads()
    read_only = images[:4].copy()
    read_only.flags.writeable = False
    # weights that no test before has loaded
    PretrainedFeatureTransformer("tiny", weights=None, random_state=99).fit_transform(read_only)
    np.testing.assert_array_equal(read_only, images[:4])
    assert sklearn.get_config() == config
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert torch.get_num_threads() == threads


def test_random_weights_follow_their_seed(images):
    one, two, other = (
        PretrainedFeatureTransformer("tiny", weights=None, random_state=seed).fit_transform(
            images[:2]
        )
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 0.01


# --- the store -------------------------------------------------------------------------


def test_a_row_passes_once_in_a_search_with_folds_and_candidates():
    X, y = load_digits(return_X_y=True)
    X, y = X[:256], y[:256]
    pipeline = make_pipeline(
        PretrainedFeatureTransformer(Counting(), batch_size=1),
        StandardScaler(),
        LogisticRegression(max_iter=2000),
    )
    Counting.rows = 0
    search = GridSearchCV(
        pipeline, {"logisticregression__C": [0.01, 0.1, 1]}, cv=3, error_score="raise"
    ).fit(X, y)
    assert Counting.rows == len(X)
    search.predict(X)
    cross_validate(clone(pipeline), X, y, cv=2)
    assert Counting.rows == len(X)
    without = clone(pipeline).set_params(pretrainedfeaturetransformer__store=None)
    naive = GridSearchCV(without, search.param_grid, cv=3, error_score="raise").fit(X, y)
    assert Counting.rows == (1 + 3 * 3 + 1) * len(X)
    np.testing.assert_array_equal(
        naive.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"]
    )


def test_equal_rows_pass_once():
    X = load_digits().data[[3, 1, 3, 3, 1]]
    Counting.rows = 0
    features = PretrainedFeatureTransformer(Counting(), batch_size=1, store=None).fit_transform(X)
    assert Counting.rows == 2
    np.testing.assert_array_equal(features[[0, 1, 0, 0, 1]], features)


def test_whatever_changes_the_features_misses(images):
    base = {"weights": None, "input_size": 32}
    variants = [
        {},
        {"random_state": 1},
        {"layers": "stage3"},
        {"pooling": "avg"},
        {"input_size": 16},
        {"precision": "float64"},
        {"value_range": (0, 300)},
    ]
    results = []
    for changes in variants:
        transformer = PretrainedFeatureTransformer("tiny", **{**base, **changes})
        stored = transformer.fit_transform(images[:3])
        plain = clone(transformer).set_params(store=None).fit_transform(images[:3])
        np.testing.assert_array_equal(stored, plain)
        results.append(stored)
    assert feature_store.misses == 3 * len(variants)
    assert feature_store.hits == 0
    assert (
        PretrainedFeatureTransformer("tiny", **base).fit_transform(images[:3]).tobytes()
        == results[0].tobytes()
    )
    assert feature_store.hits == 3


def test_rows_of_another_form_are_other_rows():
    """The same bytes as another shape or type of pixels are another image."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 48), dtype=np.uint8)
    transformer = PretrainedFeatureTransformer("tiny", weights=None)
    wide = transformer.fit_transform(pixels)
    tall = transformer.fit_transform(pixels.reshape(2, 48, 16))
    colour = transformer.fit_transform(pixels.reshape(2, 16, 16, 3))
    assert np.abs(wide - tall).max() > 1e-3
    assert np.abs(wide - colour).max() > 1e-3


def test_a_changed_file_is_another_image(tmp_path, images):
    path = tmp_path / "image.png"
    transformer = PretrainedFeatureTransformer("tiny", weights=None)
    results = []
    for image in images[:2]:
        path.write_bytes(encoded(image))
        results.append(transformer.fit_transform([path]))
    np.testing.assert_allclose(results[1], transformer.fit_transform(images[1:2]), atol=1e-6)
    assert np.abs(results[0] - results[1]).max() > 1e-3


def test_clones_share_a_store_of_ones_own():
    store = FeatureStore(max_bytes=10**6)
    X = load_digits().data[:50]
    transformer = PretrainedFeatureTransformer(Counting(), store=store)
    assert clone(transformer).store is store
    transformer.fit_transform(X)
    clone(transformer).fit_transform(X)
    assert (store.misses, store.hits, len(store)) == (50, 50, 50)
    assert len(feature_store) == 0
    assert len(pickle.loads(pickle.dumps(transformer)).store) == 0


def test_a_class_redefined_with_other_code_is_another_network():
    """As in a notebook: the name is the same, the forward is not."""
    results = []
    for body in ("x + 1", "x + 2"):
        scope = {"__name__": "notebook"}
        exec(
            f"from torch import nn\nclass Net(nn.Module):\n def forward(self, x): return {body}",
            scope,
        )
        results.append(PretrainedFeatureTransformer(scope["Net"]()).fit_transform(np.ones((2, 3))))
    assert results[0][0, 0] == 2
    assert results[1][0, 0] == 3


# --- refusals --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"backbone": "resnet81"},
            ValueError,
            "Unknown backbone 'resnet81'. Did you mean 'resnet18'",
        ),
        ({"backbone": 3}, TypeError, "backbone=3 is a int. Pass a name"),
        ({"layers": "layer11"}, ValueError, "no layer 'layer11'. Did you mean .*'layer1'"),
        ({"layers": []}, ValueError, "layers is empty"),
        ({"layers": ["layer1", "layer1"]}, ValueError, "names a layer twice"),
        ({"pooling": "mean"}, ValueError, "pooling='mean' is not 'default' or one of avg"),
        ({"pooling": "cls", "layers": "layer1"}, ValueError, "pooling='cls' needs tokens"),
        ({"precision": "float8"}, ValueError, "precision='float8' is not one of 'float32'"),
        ({"device": "cpuu"}, ValueError, "device='cpuu' is not a torch device"),
        ({"batch_size": 0}, ValueError, "batch_size=0 is not an integer of at least 1 or 'auto'"),
        (
            {"input_size": "64"},
            ValueError,
            "input_size='64' is not an integer of at least 1",
        ),
        (
            {"store": "disk"},
            ValueError,
            "store='disk' is not a path or a FeatureStore or a DiskFeatureStore or 'memory'",
        ),
        ({"random_state": None}, TypeError, "random_state=None is not an int"),
        ({"value_range": (1, 0)}, ValueError, r"value_range=\(1, 0\) has to be \(black, white\)"),
        ({"value_range": 1}, ValueError, r"value_range=1 has to be \(black, white\)"),
        ({"backbone": "hf:"}, ValueError, "backbone='hf:' names no network"),
        ({"weights": "IMAGENET1K_V9"}, ValueError, "neither a file nor weights of 'resnet18'"),
        ({"weights": "none.safetensors"}, FileNotFoundError, "there is no such file"),
        ({"weights": 7}, TypeError, "weights=7 is a int. Pass 'default'"),
    ],
)
def test_bad_parameters_are_refused_by_name(images, parameters, error, message):
    transformer = PretrainedFeatureTransformer(
        **{"backbone": "resnet18", "weights": None, **parameters}
    )
    with pytest.raises(error, match=message):
        transformer.fit(images[:2])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_absent_is_refused(images):
    with pytest.raises(ValueError, match="device='cuda' is not available here"):
        resnet(device="cuda").fit(images[:2])


@pytest.mark.parametrize(
    ("X", "parameters", "error", "message"),
    [
        (np.zeros((2, 64)), {}, ValueError, r"takes images.*image_shape=\(height, width\)"),
        (
            np.zeros((2, 64)),
            {"image_shape": (7, 9)},
            ValueError,
            "does not describe rows of 64 values",
        ),
        (np.zeros((2, 8, 8, 5)), {}, ValueError, "neither 1, 3 nor 4 channels"),
        (np.zeros((2, 8, 8, 4)), {}, ValueError, "4 channels, and the backbone takes 3"),
        (np.zeros((2, 3, 8, 3)), {}, ValueError, "channels first or last"),
        (np.zeros((2, 3, 8, 8, 8)), {}, ValueError, "X has 5 dimensions"),
        (np.zeros((0, 8, 8)), {}, ValueError, "0 sample"),
        (np.full((2, 8, 8), np.nan), {}, ValueError, "NaN"),
        (np.full((2, 8, 8), 16.0), {}, ValueError, r"outside of 0 to 1.*value_range=\(0, 16\)"),
        (np.full((2, 8, 8), 300), {}, ValueError, "outside of 0 to 255"),
        (np.zeros((0, 8, 8), np.uint8), {}, ValueError, "0 sample"),
        (np.full((2, 8, 8), -1, np.int8), {}, ValueError, "outside of 0 to 255"),
        (np.full((2, 8, 8), 17, np.uint8), {"value_range": (0, 16)}, ValueError, "outside of 0 to"),
        (np.zeros((2, 8, 8), np.uint8), {"value_range": (1, 255)}, ValueError, "outside of 1 to"),
        (np.array([["a", "b"]]), {}, ValueError, "numeric"),
        ([np.zeros((8, 8)), np.zeros((9, 9, 5))], {}, ValueError, "Row 1: .*neither 1, 3 nor 4"),
        (["gone.png"], {}, ValueError, "Row 0: the image 'gone.png' cannot be read"),
        ([b"no image"], {}, ValueError, "Row 0: what its 8 bytes hold is not an image that can be"),
        (["A whole sentence, not an image."], {}, ValueError, "Text needs a text encoder"),
        ([Image.new("L", (9, 9)), None], {}, ValueError, r"Row 1: the image is missing \(None\)"),
        ([Image.new("L", (9, 9)), 7], {}, TypeError, "Row 1 is a int"),
        ([], {}, ValueError, "Found array with 0|Expected 2D"),
    ],
)
def test_bad_images_are_refused(X, parameters, error, message):
    transformer = PretrainedFeatureTransformer("tiny", weights=None, **parameters)
    with pytest.raises(error, match=message):
        transformer.fit_transform(X)
    assert len(feature_store) == 0 or error is not FileNotFoundError


def test_channels_are_never_left_out():
    four = np.zeros((2, 8, 8, 4), np.uint8)
    with pytest.raises(ValueError, match="4 channels, and the backbone takes 3"):
        PretrainedFeatureTransformer("tiny", weights=None).fit(four)
    preprocessing = load_backbone("tiny").preprocessing
    with pytest.raises(ValueError, match="2 channels, and the backbone takes 3"):
        preprocessing.normalize(torch.zeros(1, 2, 8, 8), torch.float32)


def test_an_unreadable_image_is_named_by_row_and_path(tmp_path, images):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(encoded(images[0]))
    bad.write_bytes(encoded(images[0])[:200])
    with pytest.raises(ValueError, match=r"Row 1: '.*bad.png' is not an image that can be decoded"):
        PretrainedFeatureTransformer("tiny", weights=None).fit_transform([good, bad])


def test_paths_without_a_backbone_are_refused():
    with pytest.raises(TypeError, match="backbone=None cannot turn into numbers"):
        PretrainedFeatureTransformer().fit(["a.png"])


def test_layers_of_a_module_that_cannot_be_traced():
    """torch.fx cannot follow a branch; hooks can, and say so where a layer is not run."""

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.spare = nn.Linear(3, 8), nn.Linear(3, 8)

        def forward(self, x):
            return self.linear(x).relu() if x.sum() > 0 else self.linear(-x)

    module = Branching()
    X = np.ones((2, 3))
    features = PretrainedFeatureTransformer(module, layers="linear").fit_transform(X)
    with torch.no_grad():
        # The empty row that tells the width takes the other branch.
        expected = module.double().linear(torch.tensor(X)).numpy()
    np.testing.assert_allclose(features, expected, rtol=1e-5)
    assert (expected < 0).any()
    with pytest.raises(ValueError, match="'spare' is not run in a forward pass"):
        PretrainedFeatureTransformer(module, layers="spare").fit(X)


def test_weights_that_changed_since_fit_are_refused(tmp_path, images):
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    save_file(load_backbone("tiny", weights=None).module.state_dict(), path)
    transformer = PretrainedFeatureTransformer("tiny", weights=path).fit(images[:2])
    save_file(load_backbone("tiny", weights=None, random_state=5).module.state_dict(), path)
    with pytest.raises(ValueError, match="not the weights that this transformer was fitted with"):
        transformer.transform(images[:2])


# --- on a GPU --------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "tiny"])
def test_a_gpu_gives_the_features_of_the_cpu(images, name):
    parameters = {"weights": None, "input_size": 64, "store": None}
    on_cpu = PretrainedFeatureTransformer(name, device="cpu", **parameters).fit_transform(images)
    transformer = PretrainedFeatureTransformer(name, device="cuda", **parameters)
    on_gpu = transformer.fit_transform(images)
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-3, atol=1e-4 * np.abs(on_cpu).max())
    order = np.random.default_rng(0).permutation(len(images))
    assert_within_rounding(transformer.transform(images[order]), on_gpu[order])
    assert_within_rounding(transformer.transform(images[:3]), on_gpu[:3])
