"""Frozen ImageNet features on photographs of ants and bees, against random weights.

Claim: accuracy on the validation photographs at least 0.92 with ImageNet weights; with random
weights at most 0.70 in the mean of five seeds. Needs the shared data (hymenoptera, MobileNetV2
weights).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from _measure import write
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedFeatureTransformer

CLASSES = ("ants", "bees")


def photographs(folder: Path):
    """Return paths and labels of a folder with one folder a class."""
    paths = [path for name in CLASSES for path in sorted((folder / name).glob("*.jpg"))]
    return paths, [path.parent.name for path in paths]


def accuracy(data: Path, **settings) -> float:
    """Train the head on the training photographs and score it on the others."""
    (X, y), (X_test, y_test) = (
        photographs(data / "hymenoptera" / part) for part in ("train", "val")
    )
    model = make_pipeline(
        PretrainedFeatureTransformer("mobilenet_v2", **settings),
        StandardScaler(),
        LogisticRegression(C=0.01, max_iter=2000),
    )
    return model.fit(X, y).score(X_test, y_test)


def main() -> None:
    """Score ImageNet weights and five random initialisations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the shared data")
    data = parser.parse_args().data
    weights = data / "weights" / "mobilenet_v2_imagenet_fp16.safetensors"
    random = [accuracy(data, weights=None, random_state=seed) for seed in range(5)]
    write(
        __file__,
        {
            "claim": "imagenet >= 0.92 and random_mean <= 0.70",
            "imagenet": accuracy(data, weights=weights),
            "random_mean": sum(random) / len(random),
            "random": random,
        },
    )


if __name__ == "__main__":
    main()
