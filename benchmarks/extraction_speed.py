"""Extraction against a bare loop over the same batches.

Claim: ``PretrainedFeatureTransformer`` (without a store) costs at most 1.05 times a hand-written
loop in ``inference_mode`` that does the same preprocessing, for ResNet-18 at 64 and 224 pixels.
"""

from __future__ import annotations

import copy

from _measure import interleave, one_thread, write

one_thread()

import numpy as np
import torch
from torch import nn
from torchvision.models import ResNet18_Weights
from torchvision.transforms.v2 import functional as F

from skltransfer import PretrainedFeatureTransformer, load_backbone

torch.set_num_threads(1)


def bare_loop(network, pixels, size, batch, mean, std):
    """Extract as one would by hand."""
    out = []
    with torch.inference_mode():
        for start in range(0, len(pixels), batch):
            x = torch.from_numpy(pixels[start : start + batch]).permute(0, 3, 1, 2)
            x = F.center_crop(F.resize(x, [size], antialias=True), [size, size])
            x = (x.float() / 255 - mean) / std
            out.append(network(x.contiguous()))
    return torch.cat(out).numpy()


def main() -> None:
    """Measure at both sizes, and check that the features are the same."""
    preset = ResNet18_Weights.DEFAULT.transforms()
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (preset.mean, preset.std))
    network = copy.deepcopy(load_backbone("resnet18", weights=None).module)
    network.fc = nn.Identity()
    rows = []
    for size, n, batch in ((64, 512, 32), (224, 64, 8)):
        pixels = np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)
        transformer = PretrainedFeatureTransformer(
            "resnet18", weights=None, input_size=size, batch_size=batch, store=None
        ).fit(pixels)
        results = interleave(
            {
                "bare loop": lambda p=pixels, s=size, b=batch: bare_loop(
                    network, p, s, b, mean, std
                ),
                "skltransfer": lambda p=pixels, t=transformer: t.transform(p),
            },
            n_rounds=9,
        )
        ours, theirs = (results[name].pop("result") for name in ("skltransfer", "bare loop"))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())
        rows.append(
            {
                "pixels": size,
                "n": n,
                "batch": batch,
                "ratio_cpu": results["skltransfer"]["cpu_seconds"]
                / results["bare loop"]["cpu_seconds"],
                **results,
            }
        )
    write(__file__, {"claim": "ratio_cpu <= 1.05", "rows": rows})


if __name__ == "__main__":
    main()
