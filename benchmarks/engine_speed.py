"""Frozen networks run by ONNX Runtime and by OpenVINO against eager torch.

Claim: with either, ``PretrainedFeatureTransformer`` extracts the features of ResNet-18 at least 1.3
times as fast as with torch, at 64 and at 224 pixels, on one thread. Other networks, a table network
and a text encoder as found. Weights are random. ``build_seconds`` is what the first `fit` costs
more than one with torch, with the check against torch in it.
"""

from __future__ import annotations

import tempfile
import time

from _measure import interleave, one_thread, write

one_thread()

import numpy as np
import torch
from torch import nn

from skltransfer import PretrainedFeatureTransformer
from skltransfer._torch._engines import ENGINES

torch.set_num_threads(1)

WORDS = [f"word{i}" for i in range(500)]


class TableNetwork(nn.Sequential):
    """Fifty columns, two hidden layers."""

    def __init__(self):
        super().__init__(
            nn.Linear(50, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 64)
        )


def text_encoder(folder: str) -> str:
    """Write an encoder of MiniLM's size (6 blocks of width 384) with random weights."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast

    tokenizer = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(["[PAD]", "[UNK]", *WORDS])}, "[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=256
    ).save_pretrained(folder)
    AutoModel.from_config(
        BertConfig(
            vocab_size=len(WORDS) + 2,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
        )
    ).save_pretrained(folder)
    return f"hf:{folder}"


def cases(folder: str):
    """Return name, settings, rows, and number of rounds."""
    rng = np.random.default_rng(0)

    def images(n, size):
        return rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)

    yield "resnet18, 64 px", "resnet18", {"weights": None, "input_size": 64}, images(256, 64), 9
    yield "resnet18, 224 px", "resnet18", {"weights": None}, images(32, 224), 9
    yield "resnet50, 224 px", "resnet50", {"weights": None}, images(16, 224), 5
    yield "mobilenet_v3_small, 224 px", "mobilenet_v3_small", {"weights": None}, images(64, 224), 7
    yield "vit_b_16, 224 px", "vit_b_16", {"weights": None}, images(8, 224), 3
    yield "tiny, 32 px", "tiny", {}, images(1024, 32), 7
    table = rng.normal(size=(20_000, 50)).astype(np.float32)
    yield "table network, 50 columns", TableNetwork, {}, table, 7
    texts = [" ".join(rng.choice(WORDS, n)) for n in rng.integers(5, 200, 64)]
    yield "BERT of 6 x 384, 5 to 200 tokens", text_encoder(folder), {}, texts, 5


def main() -> None:
    """Measure all networks, and check that the features agree to 1e-4."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, backbone, settings, X, n_rounds in cases(folder):
            fitted, fit_seconds = {}, {}
            for engine in ENGINES:
                start = time.perf_counter()
                fitted[engine] = PretrainedFeatureTransformer(
                    backbone, engine=engine, store=None, device="cpu", **settings
                ).fit(X[:1])
                fit_seconds[engine] = time.perf_counter() - start
                assert fitted[engine].engine_ == engine
            results = interleave(
                {engine: lambda m=model, X=X: m.transform(X) for engine, model in fitted.items()},
                n_rounds,
            )
            expected = results["torch"].pop("result")
            row = {"network": name, "n": len(X)}
            for engine in ENGINES[1:]:
                found = results[engine].pop("result")
                error = float(np.abs(found - expected).max() / np.abs(expected).max())
                assert error < 1e-4, (name, engine, error)
                row[engine] = {
                    "speed_up_cpu": results["torch"]["cpu_seconds"]
                    / results[engine]["cpu_seconds"],
                    "speed_up_wall": results["torch"]["wall_seconds"]
                    / results[engine]["wall_seconds"],
                    "largest_difference": error,
                    "build_seconds": fit_seconds[engine] - min(fit_seconds["torch"], 0.1),
                    **results[engine],
                }
            rows.append({**row, "torch": results["torch"]})
            print(row["network"], {e: row[e]["speed_up_cpu"] for e in ENGINES[1:]}, flush=True)
    write(__file__, {"claim": "speed_up_cpu >= 1.3 for resnet18", "rows": rows})


if __name__ == "__main__":
    main()
