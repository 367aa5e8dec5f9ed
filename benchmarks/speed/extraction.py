"""Extraction against a bare loop over the same batches.

``PretrainedFeatureTransformer`` works without a store. The loop, in ``inference_mode``, does the
same preprocessing; it normalises in two passes in place, which is the fastest way that torch has by
hand. Where a row costs microseconds in the network, what is done for each row weighs more: the
embedded network ``tiny`` and a table network as found.
"""

from __future__ import annotations

import copy

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
import torch
from torch import nn
from torchvision.models import ResNet18_Weights
from torchvision.transforms.v2 import functional as F

from skltransfer import PretrainedFeatureTransformer, load_backbone

torch.set_num_threads(1)


CLAIMS = [
    {
        "claim": "features of ResNet-18 at 64 pixels",
        "beside": "bare loop",
        "value": ["rows", {"network": "resnet18, 64 px"}, "ratio_cpu"],
        "at_most": 1.03,
    },
    {
        "claim": "features of ResNet-18 at 224 pixels",
        "beside": "bare loop",
        "value": ["rows", {"network": "resnet18, 224 px"}, "ratio_cpu"],
        "at_most": 1.03,
    },
]


class TableNetwork(nn.Sequential):
    """Fifty columns, two hidden layers."""

    def __init__(self):
        super().__init__(
            nn.Linear(50, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64)
        )


def image_loop(network, pixels, size, batch, mean, std):
    """Extract as one would by hand."""
    scale, shift = 1 / (255 * std), -mean / std
    out = []
    with torch.inference_mode():
        for start in range(0, len(pixels), batch):
            x = torch.from_numpy(pixels[start : start + batch]).permute(0, 3, 1, 2)
            x = F.center_crop(F.resize(x, [size], antialias=True), [size, size])
            x = x.to(torch.float32, memory_format=torch.contiguous_format)
            out.append(network(x.mul_(scale).add_(shift)))
    return torch.cat(out).numpy()


def table_loop(network, table, batch):
    """Extract as one would by hand."""
    with torch.inference_mode():
        parts = torch.from_numpy(table).split(batch)
        return torch.cat([network(part) for part in parts]).numpy()


def cases(quick: bool):
    """Yield name, a transformer, its rows, the loop, and the number of rounds."""
    rng = np.random.default_rng(0)
    preset = ResNet18_Weights.DEFAULT.transforms()
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (preset.mean, preset.std))
    network = copy.deepcopy(load_backbone("resnet18", weights=None).module)
    network.fc = nn.Identity()
    for size, n, batch in ((64, 64, 32),) if quick else ((64, 512, 32), (224, 64, 8)):
        pixels = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
        transformer = PretrainedFeatureTransformer(
            "resnet18", weights=None, input_size=size, batch_size=batch, store=None
        )
        yield (
            f"resnet18, {size} px",
            transformer,
            pixels,
            lambda p=pixels, s=size, b=batch: image_loop(network, p, s, b, mean, std),
            15,
        )
    record = load_backbone("tiny")
    mean, std = (
        torch.tensor(v)[None, :, None, None]
        for v in (record.preprocessing.mean, record.preprocessing.std)
    )
    pixels = rng.integers(0, 256, (128 if quick else 2048, 32, 32, 3), dtype=np.uint8)
    transformer = PretrainedFeatureTransformer("tiny", layers=None, batch_size=64, store=None)
    transformer.fit(pixels[:1])
    tiny = transformer._backbone_and_extractor(transformer._rows(pixels, reset=True))[1].network
    yield (
        "tiny, 32 px",
        transformer,
        pixels,
        lambda: image_loop(tiny, pixels, 32, 64, mean, std),
        15,
    )
    table = rng.normal(size=(1024 if quick else 20_480, 50)).astype(np.float32)
    transformer = PretrainedFeatureTransformer(TableNetwork, batch_size=256, store=None)
    module = load_backbone(TableNetwork, random_state=0).module
    yield (
        "table network, 50 columns",
        transformer,
        table,
        lambda: table_loop(module, table, 256),
        15,
    )


def main(options) -> None:
    """Measure all, and check that the features are the same."""
    rows = []
    for name, transformer, X, loop, n_rounds in cases(options.quick):
        transformer.fit(X)
        results = interleave(
            {"bare loop": loop, "skltransfer": lambda t=transformer, X=X: t.transform(X)},
            rounds(n_rounds, options),
        )
        ours, theirs = (results[name].pop("result") for name in ("skltransfer", "bare loop"))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())
        ours, theirs = (results[name]["cpu_seconds"] for name in ("skltransfer", "bare loop"))
        rows.append(
            {
                "network": name,
                "n": len(X),
                "ratio_cpu": ours / theirs,
                "extra_microseconds_per_row": 1e6 * (ours - theirs) / len(X),
                **results,
            }
        )
        print(name, rows[-1]["ratio_cpu"], flush=True)
    write(__file__, {"rows": rows}, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
