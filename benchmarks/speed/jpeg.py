"""JPEG files to features at 224 pixels against embetter's pipeline, at equal pixels.

Files of 500 x 375 pixels become features of ResNet-18, by ``PretrainedFeatureTransformer`` and by
embetter's ``ImageLoader`` and ``TimmEncoder``.

All have the same random weights, shorter side 256, crop 224 and normalisation. embetter's encoder
never calls ``eval()``, so that its batch normalisation takes statistics of single images: it is put
into evaluation mode, without which its features cannot be compared ("embetter as found" is timed
only). It resizes with Pillow, which differs from torchvision by one grey level in few pixels.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from unittest.mock import patch

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
import timm
import torch
from embetter.vision import ImageLoader, TimmEncoder
from PIL import Image
from sklearn.pipeline import make_pipeline
from timm.data import create_transform
from torchvision.models import ResNet18_Weights

from skltransfer import PretrainedFeatureTransformer, load_backbone
from skltransfer._torch._engines import ENGINES

torch.set_num_threads(1)
NEEDS = ("embetter", "timm", "onnxruntime", "openvino")
CLAIMS = [
    {
        "claim": "JPEG files to features of ResNet-18 by ONNX Runtime",
        "beside": "embetter",
        "value": ["pipelines", "skltransfer, onnxruntime", "speed_up_cpu"],
        "at_least": 1.4,
    },
    {
        "claim": "JPEG files to features of ResNet-18 by OpenVINO",
        "beside": "embetter",
        "value": ["pipelines", "skltransfer, openvino", "speed_up_cpu"],
        "at_least": 1.4,
    },
]


def write_images(folder: str, n_images: int) -> list[str]:
    """Write random smooth images with a little noise; return their paths."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(n_images):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), dtype=float)
        pixels = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        paths.append(str(Path(folder) / f"{i}.jpg"))
        Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


def embetter_encoder() -> TimmEncoder:
    """Return embetter's encoder with our weights and preprocessing, in evaluation mode."""
    create = timm.create_model

    def without_download(name, pretrained, **settings):
        return create(name, pretrained=False, **settings)

    with patch("timm.create_model", without_download):
        encoder = TimmEncoder("resnet18")
    state = load_backbone("resnet18", weights=None).module.state_dict()
    encoder.model.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    preset = ResNet18_Weights.DEFAULT.transforms()
    encoder.transform_img = create_transform(
        input_size=(3, 224, 224),
        crop_pct=224 / 256,
        interpolation="bilinear",
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
    encoder.model.eval()
    return encoder


def main(options) -> None:
    """Measure all, and check that the features are those of embetter."""
    n_images = 4 if options.quick else 48
    encoder = embetter_encoder()
    as_found = copy.deepcopy(encoder)
    as_found.model.train()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(folder, n_images)
        n_bytes = sum(Path(path).stat().st_size for path in paths) / len(paths)
        pipelines = {
            "embetter": make_pipeline(ImageLoader(), encoder),
            "embetter as found": make_pipeline(ImageLoader(), as_found),
        }
        contenders = {
            name: lambda p=pipeline: p.fit_transform(paths) for name, pipeline in pipelines.items()
        }
        for engine in ENGINES:
            model = PretrainedFeatureTransformer(
                "resnet18", weights=None, engine=engine, store=None, device="cpu"
            ).fit(paths[:1])
            assert model.engine_ == engine
            contenders[f"skltransfer, {engine}"] = lambda m=model: m.transform(paths)
        results = interleave(contenders, n_rounds=rounds(9, options))
    expected = results["embetter"]["result"]
    rows = {}
    for name, result in results.items():
        difference = float(np.abs(result.pop("result") - expected).max() / np.abs(expected).max())
        assert name == "embetter as found" or difference < 5e-3, (name, difference)
        rows[name] = {
            "images_per_second": n_images / result["cpu_seconds"],
            "speed_up_cpu": results["embetter"]["cpu_seconds"] / result["cpu_seconds"],
            "speed_up_over_as_found": results["embetter as found"]["cpu_seconds"]
            / result["cpu_seconds"],
            "largest_difference": difference,
            **result,
        }
    record = {"n": n_images, "bytes_per_image": round(n_bytes), "pipelines": rows}
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
