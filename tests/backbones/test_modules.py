"""Networks that a user holds as modules: their features, and the preprocessing of their weights."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import ResNet18_Weights, get_model

from skltransfer import (
    FineTunedClassifier,
    Preprocessing,
    PretrainedFeatureTransformer,
    SelfSupervisedTransformer,
    load_backbone,
)

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
# Of published weights at 32 pixels.
SMALL = Preprocessing((32, 32), 32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5"]
)
def test_a_module_of_torchvision_gives_the_features_of_its_name(name, tmp_path):
    torch.manual_seed(0)
    module = get_model(name, weights=None)
    torch.save(module.state_dict(), tmp_path / "w.pth")
    record = load_backbone(module, preprocessing=SMALL)
    named = load_backbone(name, tmp_path / "w.pth", preprocessing=SMALL)
    assert (record.layers, record.n_features) == (named.layers, named.n_features)
    assert record.stages == named.stages
    given, expected = (
        PretrainedFeatureTransformer(r, store=None).fit_transform(IMAGES) for r in (record, named)
    )
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)
    if record.n_features is not None:
        assert given.shape[1] == record.n_features
    assert module.training  # the user's own is left alone


def test_estimators_agree_on_the_width():
    module = get_model("shufflenet_v2_x0_5", weights=None)
    model = FineTunedClassifier(module, strategy="linear_probe").fit(IMAGES, [0, 1, 0, 1])
    assert model.network_.head.output.in_features == 1024
    assert model.transform(IMAGES).shape == (4, 1024)
    learned = SelfSupervisedTransformer(module, max_epochs=1, batch_size=2).fit(IMAGES)
    assert learned.transform(IMAGES).shape == (4, 1024)


def test_a_network_whose_output_layer_is_gone_gives_its_output():
    module = get_model("alexnet", weights=None)
    module.classifier[-1] = nn.Identity()
    record = load_backbone(module)
    assert record.layers == ()
    module = get_model("resnet18", weights=None)
    module.fc = nn.Sequential(nn.Dropout(), nn.Linear(512, 7))
    assert load_backbone(module).n_features == 512
    module.conv1 = nn.Conv2d(1, 64, 7, 2, 3)
    assert load_backbone(module).layers == ("penultimate",)


class Trained(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.norm.running_mean.fill_(0.5)

    def forward(self, x):
        return self.norm(self.conv(x)).mean((2, 3))


def test_pixels_without_preprocessing_are_warned_about(tmp_path):
    module = Trained()
    torch.save(module.state_dict(), tmp_path / "w.pth")
    message = "preprocessing of Trained's weights is not known.*load_backbone.*preprocessing="
    for estimator in (
        PretrainedFeatureTransformer(module),
        PretrainedFeatureTransformer(Trained, weights=tmp_path / "w.pth"),
        FineTunedClassifier(module, strategy="linear_probe", max_epochs=1),
    ):
        with pytest.warns(UserWarning, match=message):
            estimator.fit(IMAGES, [0, 1, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PretrainedFeatureTransformer(module).fit(IMAGES / 255)  # its user has scaled them
        for preprocessing in (None, SMALL):
            record = load_backbone(module, preprocessing=preprocessing)
            PretrainedFeatureTransformer(record).fit(IMAGES)


def test_a_stated_preprocessing_is_used():
    module = Trained().eval()
    record = load_backbone(module, preprocessing=SMALL)
    given = PretrainedFeatureTransformer(record, store=None).fit_transform(IMAGES)
    mean, std = (np.array(v).reshape(1, 1, 1, 3) for v in (SMALL.mean, SMALL.std))
    x = torch.tensor(((IMAGES / 255 - mean) / std).transpose(0, 3, 1, 2), dtype=torch.float32)
    with torch.no_grad():
        np.testing.assert_allclose(given, module(x).numpy(), atol=1e-5)
    preset = load_backbone("tiny", preprocessing=ResNet18_Weights.DEFAULT.transforms())
    assert preset.preprocessing.crop_size == 224
    assert load_backbone("tiny").preprocessing.crop_size == 32
    with pytest.raises(TypeError, match="preprocessing='imagenet' is a str"):
        load_backbone(module, preprocessing="imagenet")
