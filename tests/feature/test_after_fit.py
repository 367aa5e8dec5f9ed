"""What has changed since fit is seen: parameters, weights, the form of the rows."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import nn

from skltransfer import Backbone, FeatureStore, PretrainedFeatureTransformer
from skltransfer._torch._rows import EncodedImageRows


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)


def tiny(**parameters):
    return PretrainedFeatureTransformer("tiny", weights=None, **parameters)


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"layers": "stage1"}, "Fit it again after a change of its parameters"),
        ({"pooling": "flatten"}, "Fit it again after a change"),
        ({"random_state": 1}, "are not the weights that this transformer was fitted with"),
        ({"store": "disk"}, "store='disk' is not"),
    ],
)
def test_parameters_set_after_fit(images, changes, match):
    transformer = tiny().fit(images).set_params(**changes)
    with pytest.raises(ValueError, match=match):
        transformer.transform(images)


def test_a_backbone_set_after_fit(images):
    transformer = PretrainedFeatureTransformer().fit(images).set_params(backbone="tiny")
    with pytest.raises(ValueError, match="Fit it again"):
        transformer.transform(images)


def test_a_single_image_is_not_a_batch(images):
    transformer = tiny().fit(images)
    with pytest.raises(ValueError, match=r"X has 3 dimensions.*of 4\. Pass a single image as X\["):
        transformer.transform(images[0])
    image = Image.fromarray(images[0])
    for single in (image, "image.png", b"bytes"):
        with pytest.raises(TypeError, match="X is one .* Pass a list of images"):
            transformer.transform(single)
        with pytest.raises(TypeError, match="X is one .* Pass a list of images"):
            tiny().fit(single)
    np.testing.assert_allclose(transformer.transform([image]), transformer.transform(images[:1]))


def test_images_of_another_size_where_the_width_follows_the_size(images):
    network = nn.Conv2d(3, 2, 3).eval()
    transformer = PretrainedFeatureTransformer(network, pooling="flatten").fit(images)
    with pytest.raises(ValueError, match=r"'output': 288\}.*'output': 392\}"):
        transformer.transform(images[:, :14, :14])


def test_a_frame_of_another_column(images, tmp_path):
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    frame = pd.DataFrame({"picture": [str(tmp_path / "a.png")]})
    transformer = tiny().fit(frame)
    assert list(transformer.feature_names_in_) == ["picture"]
    with pytest.raises(ValueError, match="other"):
        transformer.transform(frame.rename(columns={"picture": "other"}))
    transformer.transform(frame["picture"])


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_encoded_bytes_of_every_type(images, form):
    buffer = io.BytesIO()
    Image.fromarray(images[0]).save(buffer, "BMP")
    encoded = buffer.getvalue()
    expected = tiny().fit_transform(images[:1])
    np.testing.assert_allclose(tiny().fit_transform([form(encoded)]), expected, atol=1e-6)
    with pytest.raises(TypeError, match="numpy drops zeros"):
        tiny().fit(np.array([encoded]))


def test_half_precision_tensors(images):
    X = torch.from_numpy(images / 256.0).to(torch.bfloat16)
    expected = tiny().fit_transform(X.float().numpy())
    np.testing.assert_array_equal(tiny().fit_transform(X), expected)


def test_odd_settings_have_messages(images):
    with pytest.raises(ValueError, match=r"precision=\[\] is not one of"):
        tiny(precision=[]).fit(images)
    with pytest.raises(TypeError, match="layers=3 is neither"):
        tiny(layers=3).fit(images)
    with pytest.raises(ValueError, match="Row 0: .* cannot be read"):
        tiny().fit(["a\0b.png"]).transform(["a\0b.png"])


def test_seeds_of_numpy_are_seeds(images):
    y = np.arange(6) % 2
    search = GridSearchCV(
        make_pipeline(tiny(), LogisticRegression()),
        {"pretrainedfeaturetransformer__random_state": np.arange(2)},
        cv=2,
        error_score="raise",
    ).fit(images, y)
    assert len(search.cv_results_["params"]) == 2


def test_records_that_differ_in_the_order_of_axes_do_not_share_features():
    class Maps(nn.Module):
        def forward(self, x):
            return x[:, :1, None, None].expand(-1, 2, 2, 5)

    module = Maps().eval()
    X = np.random.default_rng(0).normal(size=(3, 2))
    first = PretrainedFeatureTransformer(Backbone("maps", module)).fit_transform(X)
    last = PretrainedFeatureTransformer(Backbone("maps", module, channels_last=True))
    assert (first.shape, last.fit_transform(X).shape) == ((3, 2), (3, 5))


def test_a_module_in_training_mode_is_refused_and_left_alone():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    with pytest.raises(ValueError, match="'mine' is in training mode.*Call module.eval"):
        Backbone("mine", module)
    assert module.training
    module.eval()[1].train()
    with pytest.raises(ValueError, match="in training mode"):
        Backbone("mine", module)


def test_little_is_reserved_for_few_rows(images):
    store = FeatureStore(max_bytes=10**6)
    for layers in ("stem", "stage1", "stage2"):
        tiny(layers=layers, store=store).fit_transform(images)
    assert store.misses == 18
    for layers in ("stem", "stage1", "stage2"):
        tiny(layers=layers, store=store).fit_transform(images)
    assert (store.misses, store.hits) == (18, 18)
    assert store.nbytes == 6 * 4 * 4 * (16 + 32 + 64)


def test_palettes_are_part_of_an_image():
    indices = np.random.default_rng(0).integers(0, 4, (16, 16), dtype=np.uint8)
    features = []
    for palette in ([0, 0, 0] + [255] * 9, [255] * 9 + [0, 0, 0]):
        image = Image.new("P", (16, 16))
        image.putdata(indices.ravel().tolist())
        image.putpalette(palette)
        features.append(tiny().fit_transform([image]))
        np.testing.assert_array_equal(features[-1], tiny(store=None).fit_transform([image]))
    assert np.abs(features[0] - features[1]).max() > 1e-3


def test_another_batch_size_is_another_row_of_the_store(images):
    store = FeatureStore()
    for size in (2, 4):
        tiny(batch_size=size, store=store).fit_transform(images)
    assert store.misses == 2 * len(images)


def test_sixteen_bits_are_mapped_to_the_whole_range():
    """65535 is white: 257 values share a grey level, so that 128 is still black."""
    values = np.array([[0, 128, 129, 65535]], dtype=np.uint16)
    rows = EncodedImageRows([Image.fromarray(values)])
    pixels = rows.batch([0], None)[0]
    np.testing.assert_array_equal(pixels.reshape(-1, 4)[0], [0, 0, 1, 255])
