"""Frozen ImageNet features on photographs of ants and bees, against random weights.

Accuracy on the validation photographs of a linear model on features of MobileNetV2; with random
weights the mean of five seeds. Needs the shared data (hymenoptera, MobileNetV2
weights).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks._measure import make_parser, write
from skltransfer import PretrainedFeatureTransformer

DATA = ("hymenoptera", "weights")
CLAIMS = [
    {
        "claim": "ants and bees, frozen MobileNetV2 with ImageNet weights",
        "beside": "limit",
        "value": ["imagenet"],
        "at_least": 0.92,
        "unit": "",
    },
    {
        "claim": "ants and bees, the same network with random weights",
        "beside": "limit",
        "value": ["random_mean"],
        "at_most": 0.70,
        "unit": "",
    },
]

CLASSES = ("ants", "bees")


def photographs(folder: Path, every: int):
    """Return paths and labels of every so many photographs of a folder with one folder a class."""
    paths = [path for name in CLASSES for path in sorted((folder / name).glob("*.jpg"))[::every]]
    return paths, [path.parent.name for path in paths]


def accuracy(data: Path, quick: bool, **settings) -> float:
    """Train the head on the training photographs and score it on the others."""
    (X, y), (X_test, y_test) = (
        photographs(data / "hymenoptera" / part, every=8 if quick else 1)
        for part in ("train", "val")
    )
    model = make_pipeline(
        PretrainedFeatureTransformer("mobilenet_v2", **settings),
        StandardScaler(),
        LogisticRegression(C=0.01, max_iter=2000),
    )
    return model.fit(X, y).score(X_test, y_test)


def main(options) -> None:
    """Score ImageNet weights and five random initialisations."""
    weights = options.data / "weights" / "mobilenet_v2_imagenet_fp16.safetensors"
    n_seeds = 1 if options.quick else 5
    score = partial(accuracy, options.data, options.quick)
    random = [score(weights=None, random_state=seed) for seed in range(n_seeds)]
    record = {
        "imagenet": score(weights=weights),
        "random_mean": sum(random) / len(random),
        "random": random,
    }
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__, data=True).parse_args())
