"""Rankings of backbones by their features, beside the accuracy of the trained networks.

Twelve candidates of 32 x 32 images: tiny, CIFAR-10's ResNet-20 and ImageNet's MobileNetV2, with
their weights and with random ones, cut after several stages. Four targets: digits, USPS, Greek
characters of Omniglot, and CIFAR-10 (whose training images ResNet-20 has seen, though not these
ones). For each target the candidates are ranked by `rank_backbones` on 200 labelled samples. Each
is then

- probed: a logistic regression on its standardised features, on the same samples, and
- fine-tuned: all of its stages, six epochs on the same samples,

and scored on 300 other samples. Weighted Kendall's tau compares each ranking with each accuracy; it
weighs the exchange of good candidates more. What is lost by taking the first of a ranking is the
best fine-tuned accuracy minus its own. One split and one seed. Needs the shared data.
"""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

from benchmarks._measure import in_columns, make_parser, one_thread, write

one_thread()

import numpy as np
import torch
from PIL import Image
from scipy.stats import weightedtau
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.accuracy._resnet20 import resnet20
from skltransfer import FineTunedClassifier, PretrainedFeatureTransformer, rank_backbones

DATA = ("cifar10_2000", "mnist_usps", "omniglot", "weights")
TARGETS = ("digits", "usps", "greek", "cifar10")
SCORES = ("logme", "h_score", "transrate")
CLAIMS = [
    {
        "claim": "targets of four where LogME ranks backbones like their fine-tuned accuracy",
        "beside": "weighted Kendall's tau above 0",
        "value": ["n_positive", "logme, fine-tuned"],
        "at_least": 3,
        "unit": "",
    },
    {
        "claim": "targets of four where LogME ranks backbones like their probed accuracy",
        "beside": "weighted Kendall's tau above 0",
        "value": ["n_positive", "logme, probed"],
        "at_least": 3,
        "unit": "",
    },
]
N_TRAIN, N_TEST, N_EPOCHS, SIZE = 200, 300, 6, 32


def candidates(weights: Path) -> dict[str, dict]:
    """Return the settings of each candidate."""
    of_cifar, of_nothing = resnet20(weights / "resnet20_cifar10.safetensors"), resnet20(None)
    imagenet = {
        "backbone": "mobilenet_v2",
        "weights": weights / "mobilenet_v2_imagenet_fp16.safetensors",
        "input_size": SIZE,
    }
    return {
        "tiny": {"backbone": "tiny"},
        "tiny, stage2": {"backbone": "tiny", "layers": "stage2"},
        "tiny, stage1": {"backbone": "tiny", "layers": "stage1"},
        "tiny, random": {"backbone": "tiny", "weights": None},
        "resnet20": {"backbone": of_cifar},
        "resnet20, layer2": {"backbone": of_cifar, "layers": "layer2"},
        "resnet20, layer1": {"backbone": of_cifar, "layers": "layer1"},
        "resnet20, random": {"backbone": of_nothing},
        "mobilenet_v2": imagenet,
        "mobilenet_v2, features.6": imagenet | {"layers": "features.6"},
        "mobilenet_v2, features.3": imagenet | {"layers": "features.3"},
        "mobilenet_v2, random": imagenet | {"weights": None},
    }


def images_of(data: Path, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images, as 8-bit arrays, and labels."""
    if target == "digits":
        X, y = load_digits(return_X_y=True)
        return (X.reshape(-1, 8, 8) / 16 * 255).astype(np.uint8), y
    if target == "usps":
        usps = np.load(data / "mnist_usps" / "usps.npz")
        return usps["X_test"], usps["y_test"]
    if target == "cifar10":
        cifar = np.load(data / "cifar10_2000" / "cifar10_2000.npz")
        return cifar["X_test"], cifar["y_test"]
    archive = zipfile.ZipFile(data / "omniglot" / "images_background_small1.zip")
    names = sorted(n for n in archive.namelist() if n.endswith(".png"))
    names = [name for name in names if name.split("/")[1].lower() == target]
    pictures = [
        np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("L").resize((SIZE, SIZE)))
        for name in names
    ]
    return np.array(pictures), np.array([name.split("/")[2] for name in names])


def accuracies(settings: dict, train, test, n_epochs: int) -> dict[str, float]:
    """Return the accuracy of a linear model on the features, and of the trained network."""
    probe = make_pipeline(
        PretrainedFeatureTransformer(**settings),
        StandardScaler(),
        LogisticRegression(C=0.01, max_iter=2000),
    )
    network = FineTunedClassifier(
        **settings, optimizer="adamw", lr=1e-3, batch_size=32, max_epochs=n_epochs
    )
    scores = {}
    for name, model in {"probed": probe, "fine-tuned": network}.items():
        start = time.process_time()
        scores[name] = model.fit(*train).score(*test)
        scores[f"{name}, CPU seconds"] = time.process_time() - start
    return scores


def _first(found: dict[str, dict], score: str) -> dict:
    return max(found.values(), key=lambda row: row[score])


def main(options) -> None:
    """Rank, probe and fine-tune on each target."""
    torch.set_num_threads(1)
    n_train, n_test, n_epochs = (60, 60, 1) if options.quick else (N_TRAIN, N_TEST, N_EPOCHS)
    backbones = candidates(options.data / "weights")
    if options.quick:
        backbones = {name: backbones[name] for name in ("tiny", "tiny, random", "resnet20")}
    rows, taus, losses = [], {}, {}
    for target in TARGETS[:1] if options.quick else TARGETS:
        X, y = images_of(options.data, target)
        X, X_test, y, y_test = train_test_split(
            X, y, train_size=min(n_train, len(y) // 2), stratify=y, random_state=0
        )
        X_test, y_test = X_test[:n_test], y_test[:n_test]
        found = {name: {"target": target, "backbone": name} for name in backbones}
        extractors = {
            name: PretrainedFeatureTransformer(**settings) for name, settings in backbones.items()
        }
        for score in SCORES:
            for result in rank_backbones(X, y, extractors, score=score).results:
                found[result.name][score] = result.score
                if score == SCORES[0]:
                    found[result.name] |= {
                        "seconds of features": result.seconds,
                        "megabytes": result.megabytes,
                        "features": result.n_features,
                    }
        for name, settings in backbones.items():
            found[name] |= accuracies(settings, (X, y), (X_test, y_test), n_epochs)
            print(found[name], flush=True)
        rows += found.values()
        taus[target] = {
            f"{score}, {accuracy}": float(
                weightedtau(
                    [row[score] for row in found.values()],
                    [row[accuracy] for row in found.values()],
                ).statistic
            )
            for score in SCORES
            for accuracy in ("fine-tuned", "probed")
        }
        best = max(row["fine-tuned"] for row in found.values())
        losses[target] = {
            score: round(100 * (best - _first(found, score)["fine-tuned"]), 2) for score in SCORES
        }
    pairs = next(iter(taus.values()))
    record = {
        "weighted_tau": taus,
        "n_positive": {pair: sum(of[pair] > 0 for of in taus.values()) for pair in pairs},
        "mean_tau": {pair: float(np.mean([of[pair] for of in taus.values()])) for pair in pairs},
        "loss_of_first": losses,
        "samples": {"train": n_train, "test": n_test, "epochs": n_epochs},
        "results": in_columns(rows, 4),
    }
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__, data=True).parse_args())
