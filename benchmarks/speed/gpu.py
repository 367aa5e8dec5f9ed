"""Extraction and training on a GPU, beside bare loops at equal precision; on the CPU without one.

The loops move batches of eight-bit pixels to the device, normalise them there, and do nothing else.
Weights are random: speed does not depend on them. Wall time, because a GPU works beside the
process; both wait for the device before the clock is read. The record says which device it is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet18

from benchmarks._measure import interleave, make_parser, rounds, write
from skltransfer import FineTunedClassifier, PretrainedFeatureTransformer, load_backbone

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
MEAN, STD = (
    torch.tensor(values, device=DEVICE)[:, None, None]
    for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
)

CLAIMS = [
    {
        "claim": "features of ResNet-18 at 224 pixels on the device of the record, float32",
        "beside": "bare loop",
        "value": ["extraction", {"precision": "float32"}, "ratio_wall"],
        "at_most": 1.11,
    },
    {
        "claim": "features of ResNet-18 at 224 pixels on the device of the record, bfloat16",
        "beside": "bare loop",
        "value": ["extraction", {"precision": "bfloat16"}, "ratio_wall"],
        "at_most": 1.11,
    },
    {
        "claim": "a fit of ResNet-18 at 64 pixels on the device of the record",
        "beside": "bare loop",
        "value": ["training", "ratio_wall"],
        "at_most": 1.1,
    },
]


def settled(compute):
    """Return a function that computes and waits for the device."""

    def run():
        result = compute()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        return result

    return run


def images(n: int, size: int) -> np.ndarray:
    """Return random pixels."""
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def normalized(pixels: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """Return a batch as the network takes it, on the device."""
    x = torch.from_numpy(pixels).to(DEVICE).permute(0, 3, 1, 2).to(torch.float32) / 255
    return ((x - MEAN) / STD).to(dtype, memory_format=torch.channels_last)


def extraction(options) -> list[dict]:
    """Compare features with those of a loop."""
    on_gpu = DEVICE.type == "cuda"
    n, batch = (16, 8) if options.quick else (8192, 128) if on_gpu else (32, 8)
    pixels, rows = images(n, 224), []
    for precision, dtype in PRECISIONS.items():
        dtype = dtype or torch.float32
        network = _with_head(nn.Identity()).to(DEVICE, dtype, memory_format=torch.channels_last)

        def loop(network=network, dtype=dtype):
            with torch.inference_mode():
                starts = range(0, n, batch)
                parts = [network(normalized(pixels[s : s + batch], dtype)) for s in starts]
                return torch.cat(parts).float().cpu().numpy()

        ours = PretrainedFeatureTransformer(
            "resnet18",
            weights=None,
            input_size=224,
            batch_size=batch,
            device=DEVICE,
            precision=precision,
            store=None,
        ).fit(pixels[:1])
        results = interleave(
            {
                "bare loop": settled(loop),
                "skltransfer": settled(lambda ours=ours: ours.transform(pixels)),
            },
            rounds(7 if on_gpu else 3, options),
        )
        found, expected = (results[name].pop("result") for name in ("skltransfer", "bare loop"))
        tolerance = 1e-4 if precision == "float32" else 0.05
        assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
        seconds = {name: result["wall_seconds"] for name, result in results.items()}
        rows.append(
            {
                "precision": precision,
                "n": n,
                "batch_size": batch,
                "ratio_wall": seconds["skltransfer"] / seconds["bare loop"],
                "images_per_second": n / seconds["skltransfer"],
                "wall_seconds": seconds,
            }
        )
        print(rows[-1], flush=True)
    return rows


def graphs(options) -> dict | None:
    """Compare a CUDA graph with kernels that Python starts one by one, in a small network."""
    if DEVICE.type != "cuda":
        return None
    n, batch = (256, 64) if options.quick else (16_384, 64)
    pixels = images(n, 32)
    models = {
        engine: PretrainedFeatureTransformer(
            "tiny", batch_size=batch, device=DEVICE, engine=engine, store=None
        ).fit(pixels[:1])
        for engine in ("torch", "cuda_graph")
    }
    results = interleave(
        {name: settled(lambda m=m: m.transform(pixels)) for name, m in models.items()},
        rounds(7, options),
    )
    found, expected = (results[name].pop("result") for name in ("cuda_graph", "torch"))
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    seconds = {name: result["wall_seconds"] for name, result in results.items()}
    engines = {name: model.engine_ for name, model in models.items()}
    return {
        "n": n,
        "batch_size": batch,
        "engines": engines,
        "times_as_fast": seconds["torch"] / seconds["cuda_graph"],
        "wall_seconds": seconds,
    }


def _with_head(head: nn.Module) -> nn.Module:
    """Return ResNet-18 with the weights of the record and another last layer."""
    network = resnet18(weights=None)
    network.load_state_dict(load_backbone("resnet18", weights=None).module.state_dict())
    network.fc = head
    return network.eval()


def training(options) -> dict:
    """Compare a fit with a loop of as many steps of the same optimiser."""
    on_gpu = DEVICE.type == "cuda"
    n, batch, n_epochs = (64, 32, 1) if options.quick else (4096, 128, 3) if on_gpu else (96, 32, 2)
    pixels, y = images(n, 64), np.arange(n) % 4
    labels = torch.from_numpy(y).to(DEVICE)

    def loop():
        module = _with_head(nn.Linear(512, 4)).to(DEVICE, memory_format=torch.channels_last)
        module.train()
        optimizer = torch.optim.AdamW(module.parameters(), 1e-4, weight_decay=0.0, fused=True)
        generator = torch.Generator().manual_seed(0)
        for _ in range(n_epochs):
            for index in torch.randperm(n, generator=generator).split(batch):
                optimizer.zero_grad()
                x = normalized(pixels[index.numpy()], torch.float32)
                functional.cross_entropy(module(x), labels[index.to(DEVICE)]).backward()
                optimizer.step()
        return module

    def fit():
        return FineTunedClassifier(
            "resnet18",
            weights=None,
            optimizer="adamw",
            lr=1e-4,
            backbone_lr_ratio=1.0,
            weight_decay=0.0,
            schedule="constant",
            warmup=0.0,
            max_epochs=n_epochs,
            batch_size=batch,
            input_size=64,
            norm_statistics="learn",
            device=DEVICE,
            random_state=0,
        ).fit(pixels, y)

    results = interleave(
        {"bare loop": settled(loop), "fit": settled(fit)}, rounds(5 if on_gpu else 3, options)
    )
    assert len(results["fit"]["result"].history_) == n_epochs
    seconds = {name: result["wall_seconds"] for name, result in results.items()}
    return {
        "n": n,
        "batch_size": batch,
        "n_epochs": n_epochs,
        "ratio_wall": seconds["fit"] / seconds["bare loop"],
        "images_per_second": n * n_epochs / seconds["fit"],
        "wall_seconds": seconds,
    }


def main(options) -> None:
    """Measure each, and name the device."""
    name = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu"
    record = {
        "device": name,
        "extraction": extraction(options),
        "training": training(options),
        "graph": graphs(options),
    }
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
