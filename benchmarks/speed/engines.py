"""Frozen networks run by ONNX Runtime and by OpenVINO against eager torch.

One thread; weights are random. Networks other than ResNet-18 stand beside it as found.
``build_seconds`` is what the first `fit` costs once the network is there, with the check against
torch in it (and imports, in the first row), in wall time on a busy machine.
"""

from __future__ import annotations

import tempfile
import time

from benchmarks._measure import interleave, make_parser, one_thread, write

one_thread()

import numpy as np
import torch
from torch import nn

from skltransfer import PretrainedFeatureTransformer
from skltransfer._torch._engines import ENGINES

torch.set_num_threads(1)

NEEDS = ("onnxruntime", "openvino", "transformers")
CLAIMS = [
    {
        "claim": "ResNet-18 at 64 pixels by ONNX Runtime",
        "beside": "eager torch",
        "value": ["rows", {"network": "resnet18, 64 px"}, "onnxruntime", "speed_up_cpu"],
        "at_least": 1.3,
    },
    {
        "claim": "ResNet-18 at 64 pixels by OpenVINO",
        "beside": "eager torch",
        "value": ["rows", {"network": "resnet18, 64 px"}, "openvino", "speed_up_cpu"],
        "at_least": 1.3,
    },
    {
        "claim": "ResNet-18 at 224 pixels by ONNX Runtime",
        "beside": "eager torch",
        "value": ["rows", {"network": "resnet18, 224 px"}, "onnxruntime", "speed_up_cpu"],
        "at_least": 1.3,
    },
    {
        "claim": "ResNet-18 at 224 pixels by OpenVINO",
        "beside": "eager torch",
        "value": ["rows", {"network": "resnet18, 224 px"}, "openvino", "speed_up_cpu"],
        "at_least": 1.3,
    },
]

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


def cases(folder: str, quick: bool):
    """Yield name, backbone, settings, rows, and number of rounds."""
    rng = np.random.default_rng(0)

    def images(n, size):
        return rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)

    small = {"weights": None, "input_size": 64}
    if quick:
        yield "resnet18, 64 px", "resnet18", small, images(8, 64), 1
        return
    yield "resnet18, 64 px", "resnet18", small, images(256, 64), 9
    yield "resnet18, 224 px", "resnet18", {"weights": None}, images(32, 224), 9
    yield "resnet50, 224 px", "resnet50", {"weights": None}, images(16, 224), 5
    yield "mobilenet_v3_small, 224 px", "mobilenet_v3_small", {"weights": None}, images(64, 224), 7
    yield "vit_b_16, 224 px", "vit_b_16", {"weights": None}, images(8, 224), 3
    yield "tiny, 32 px", "tiny", {}, images(1024, 32), 7
    table = rng.normal(size=(20_000, 50)).astype(np.float32)
    yield "table network, 50 columns", TableNetwork, {}, table, 7
    texts = [" ".join(rng.choice(WORDS, n)) for n in rng.integers(5, 200, 64)]
    yield "BERT of 6 x 384, 5 to 200 tokens", text_encoder(folder), {}, texts, 5


def main(options) -> None:
    """Measure all networks, and check that the features agree to 1e-4."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, backbone, settings, X, n_rounds in cases(folder, options.quick):
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
                    "build_seconds": fit_seconds[engine],
                    **results[engine],
                }
            rows.append({**row, "torch": results["torch"]})
            print(row["network"], {e: row[e]["speed_up_cpu"] for e in ENGINES[1:]}, flush=True)
    write(__file__, {"rows": rows}, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
