"""Files to what a network takes, against the transforms that come with the weights."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.models import get_model_weights

from skltransfer import Preprocessing
from skltransfer._torch._rows import EncodedImageRows
from skltransfer.backbones import _huggingface, _timm
from tests.tiny_bert import quiet

timm = pytest.importorskip("timm")
transformers = pytest.importorskip("transformers")


def photograph(seed, height, width):
    """Smooth, with edges: as photographs are."""
    rng = np.random.default_rng(seed)
    smooth = Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    pixels = np.array(smooth.resize((width, height), Image.Resampling.BICUBIC))
    pixels[height // 3 : height // 2, width // 4 : width // 3] = rng.integers(0, 256, 3)
    return Image.fromarray(pixels)


def write(folder, kind):
    """Write an image; return its path."""
    image = photograph(1, 301, 253)
    if kind == "odd size":
        image = photograph(2, 37, 411)
    if kind == "small":
        image = photograph(3, 19, 23)
    modes = {"grey": "L", "palette": "P", "transparent": "RGBA", "bilevel": "1"}
    image = image.convert(modes.get(kind, "RGB"))
    if kind == "transparent":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    path = folder / f"image.{'jpg' if kind in ('jpeg', 'turned', 'odd size') else 'png'}"
    exif = Image.Exif()
    if kind == "turned":
        exif[0x0112] = 6
    image.save(path, exif=exif, **({"quality": 90} if path.suffix == ".jpg" else {}))
    return path


KINDS = ["jpeg", "png", "grey", "palette", "transparent", "bilevel", "odd size", "small", "turned"]


def as_shown(path):
    """Open an image, turned upright and laid on white, as viewers show it."""
    image = ImageOps.exif_transpose(Image.open(path))
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGB", image.size, "white")
    white.paste(image.convert("RGB"), mask=image.convert("RGBA").getchannel("A"))
    return white


def ours(path, preprocessing):
    pixels = EncodedImageRows([path]).batch([0], preprocessing)
    return preprocessing.normalize(pixels, torch.float32)[0]


def assert_within_one_grey_level(given, expected, preprocessing):
    assert given.shape == expected.shape
    std = torch.tensor(preprocessing.std).reshape(-1, 1, 1)
    levels = (given - expected) * std * 255
    assert levels.abs().max() < 1.01
    assert levels.abs().mean() < 0.1
    assert expected.std() > 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_large", "vit_b_16", "swin_t"])
def test_torchvision(tmp_path, kind, name):
    preset = get_model_weights(name).DEFAULT.transforms()
    path = write(tmp_path, kind)
    preprocessing = Preprocessing.from_torchvision(preset)
    expected = preset(as_shown(path))
    given = ours(path, preprocessing)
    assert_within_one_grey_level(given, expected, preprocessing)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "test_resnet"])
def test_timm(tmp_path, kind, name):
    module = timm.create_model(name, num_classes=0)
    config = timm.data.resolve_data_config({}, model=module)
    path = write(tmp_path, kind)
    preprocessing = _timm._preprocessing(timm, name, module)
    expected = timm.data.create_transform(**config)(as_shown(path))
    assert_within_one_grey_level(ours(path, preprocessing), expected, preprocessing)


PROCESSORS = {
    "vit": ("ViTImageProcessor", {"size": {"height": 32, "width": 32}}),
    "bit": ("BitImageProcessor", {"size": {"shortest_edge": 36}, "crop_size": 28}),
    "odd crop": ("BitImageProcessor", {"size": {"shortest_edge": 35}, "crop_size": 28}),
    "clip": ("CLIPImageProcessor", {"size": {"shortest_edge": 64}, "crop_size": 64}),
    "convnext": ("ConvNextImageProcessor", {"size": {"shortest_edge": 64}}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROCESSORS)
def test_transformers(tmp_path, kind, name):
    made, settings = PROCESSORS[name]
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        processor = getattr(transformers, made)(**settings)
        processor.save_pretrained(tmp_path)
        path = write(tmp_path, kind)
        preprocessing = _huggingface._image_preprocessing(transformers, name, tmp_path)
        image = as_shown(path)
        expected = processor(image, return_tensors="pt")["pixel_values"][0]
    assert_within_one_grey_level(ours(path, preprocessing), expected, preprocessing)
