"""Images with the channels of a pixel side by side in memory, beside one channel after the other.

The same network passes the same batch in both orders, in evaluation and with gradients. Weights are
random but for the networks that come with weights: speed does not depend on them. The outputs are
equal within rounding.
"""

from __future__ import annotations

import copy

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import torch

from skltransfer import load_backbone
from skltransfer.backbones._extractors import extractor

torch.set_num_threads(1)

# Network, weights, batch size and side of the images.
CASES = (
    ("tiny", "default", 64, 32),
    ("efficientnet_lite0", "default", 4, 224),
    ("mobilenet_v2", None, 32, 64),
    ("resnet18", None, 32, 64),
    ("resnet18", None, 4, 224),
    ("resnet50", None, 16, 64),
)
CLAIMS = [
    {
        "claim": "features of ResNet-18 at 224 pixels, channels of a pixel side by side",
        "beside": "one channel after the other",
        "value": ["rows", {"network": "resnet18, 224 px"}, "times_as_fast", "features"],
        "at_least": 1.06,
    },
    {
        "claim": "features of EfficientNet-Lite0 at 224 pixels, channels of a pixel side by side",
        "beside": "one channel after the other",
        "value": ["rows", {"network": "efficientnet_lite0, 224 px"}, "times_as_fast", "features"],
        "at_least": 1.06,
    },
    {
        "claim": "gradients of `tiny`, channels of a pixel side by side",
        "beside": "one channel after the other",
        "value": ["rows", {"network": "tiny, 32 px"}, "times_as_fast", "gradients"],
        "at_least": 1.06,
    },
    {
        "claim": "gradients of ResNet-18 at 224 pixels, channels of a pixel side by side",
        "beside": "one channel after the other",
        "value": ["rows", {"network": "resnet18, 224 px"}, "times_as_fast", "gradients"],
        "at_least": 1.0,
    },
]


def passes(network, record, x, *, with_gradients: bool) -> dict:
    """Return a pass of the batch in each order of memory.

    For gradients, both hold their weights as a trained network does, channel by channel.
    """

    def run(features, by_pixel: bool):
        features.runs_by_pixel = by_pixel
        if not with_gradients:
            with torch.inference_mode():
                return features(x)
        features.zero_grad()
        outputs = features(x)
        outputs.square().mean().backward()
        return outputs.detach()

    plain = network.with_module(copy.deepcopy(record.module).requires_grad_(with_gradients))
    own = plain if with_gradients else network
    return {"by pixel": lambda: run(own, True), "by channel": lambda: run(plain, False)}


def main(options) -> None:
    """Time each network, and check that both orders give the same."""
    rows = []
    for name, weights, n, side in CASES[:1] if options.quick else CASES:
        record = load_backbone(name, weights)
        network = extractor(record, precision="float32", device="cpu").network
        x = torch.randn((n, 3, side, side), generator=torch.Generator().manual_seed(0))
        times_as_fast = {}
        for kind in ("features", "gradients"):
            contenders = passes(network, record, x, with_gradients=kind == "gradients")
            found = interleave(contenders, rounds(9, options))
            own, other = (found[order].pop("result") for order in contenders)
            torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-4 * other.abs().max().item())
            seconds = [found[order]["cpu_seconds"] for order in contenders]
            times_as_fast[kind] = seconds[1] / seconds[0]
        rows.append({"network": f"{name}, {side} px", "n": n, "times_as_fast": times_as_fast})
        print(rows[-1], flush=True)
    write(__file__, {"rows": rows}, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
