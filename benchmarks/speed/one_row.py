"""One row through a fitted pipeline beside a bare forward pass of one row.

``PretrainedFeatureTransformer`` and a logistic regression predict one image at a time, each a new
one; the store is that of the process. The bare pass does the same preprocessing and runs the
network in ``inference_mode``, as a service would. A whole batch is what one row cost before.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import PretrainedFeatureTransformer, load_backbone
from skltransfer._torch._extraction import FeatureNetwork
from skltransfer.backbones._extractors import resolve_layers

torch.set_num_threads(1)

CLAIMS = [
    {
        "claim": "one image of 224 pixels through ResNet-18 and a head",
        "beside": "a bare forward pass",
        "value": ["rows", {"network": "resnet18, 224 px"}, "ratio_cpu"],
        "at_most": 1.3,
    },
    {
        "claim": "one image of 32 pixels through `tiny` and a head",
        "beside": "a bare forward pass",
        "value": ["rows", {"network": "tiny, 32 px"}, "ratio_cpu"],
        "at_most": 1.3,
    },
]


def case(name: str, weights, size: int, n_calls: int, n_rounds: int) -> dict:
    """Return the times of one network."""
    rng = np.random.default_rng(0)
    record = load_backbone(name, weights)
    network = FeatureNetwork(
        record.module, resolve_layers(record, None), record.pooling, record.channels_last
    )
    network.runs_by_pixel = False  # as it is written by hand
    preprocessing = record.preprocessing

    def new_images(n):
        return rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)

    def bare():
        for image in new_images(n_calls):
            with torch.inference_mode():
                x = torch.from_numpy(image).permute(2, 0, 1)[None]
                features = network(preprocessing.normalize(preprocessing.resize(x), torch.float32))
        return features

    X = new_images(16)
    models = {
        size_of_batch: make_pipeline(
            PretrainedFeatureTransformer(name, weights=weights, batch_size=size_of_batch),
            LogisticRegression(),
        ).fit(X, np.arange(16) % 2)
        for size_of_batch in ("auto", 8 if size > 128 else 64)
    }

    def served(model):
        for image in new_images(n_calls):
            probabilities = model.predict_proba(image[None])
        return probabilities

    few, whole = models.values()
    np.testing.assert_allclose(few.predict_proba(X[:1]), whole.predict_proba(X[:1]), atol=1e-4)
    contenders = {
        "bare pass": bare,
        "pipeline": lambda: served(few),
        "pipeline, whole batch": lambda: served(whole),
    }
    results = interleave(contenders, n_rounds)
    seconds = {name: result["cpu_seconds"] / n_calls for name, result in results.items()}
    return {
        "network": f"{name}, {size} px",
        "milliseconds_cpu": {key: 1e3 * value for key, value in seconds.items()},
        "ratio_cpu": seconds["pipeline"] / seconds["bare pass"],
        "ratio_cpu_whole_batch": seconds["pipeline, whole batch"] / seconds["bare pass"],
    }


def main() -> None:
    """Time each network, and write the record."""
    options = make_parser(__doc__).parse_args()
    cases = [("tiny", "default", 32, 30)]
    if not options.quick:
        cases.append(("resnet18", None, 224, 5))
    rows = [case(*settings, rounds(7, options)) for settings in cases]
    write(__file__, {"rows": rows}, options)


if __name__ == "__main__":
    main()
