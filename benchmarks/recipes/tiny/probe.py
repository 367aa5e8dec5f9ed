"""How good are the frozen features of ``tiny``? Linear probes with few labels.

    python -m benchmarks.recipes.tiny.probe [--weights PATH [PATH ...]] [--data PATH]

Each representation meets the same labels: standardise, then logistic regression, with 1, 5, 10,
20 and all labels per class (10 draws of the labels), and on Omniglot in 5-way episodes. The
result is ``probe.json``. Data that are not bundled with scikit-learn are read from
``--data``, and left out where absent.
"""

from __future__ import annotations

import copy
import gzip
import io
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import skimage
import torch
from PIL import Image
from safetensors import safe_open
from skimage.feature import hog
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from torch import nn
from torch.nn import functional as F

from benchmarks._measure import ROOT, make_parser, write
from benchmarks.recipes.tiny.formula_images import draw_formula_images
from skltransfer import Backbone, PretrainedFeatureTransformer, load_backbone

NEEDS = ("skimage",)
CLAIMS = [
    {
        "claim": "linear probe of tiny, digits, 5 labels a class",
        "beside": "limit",
        "value": ["accuracy", "tiny, seed 0", "digits", "5", "mean"],
        "at_least": 90,
        "unit": "%",
    },
    {
        "claim": "linear probe of tiny, MNIST, 5 labels a class",
        "beside": "limit",
        "value": ["accuracy", "tiny, seed 0", "mnist", "5", "mean"],
        "at_least": 83,
        "unit": "%",
    },
    {
        "claim": "linear probe of tiny, USPS, 5 labels a class",
        "beside": "limit",
        "value": ["accuracy", "tiny, seed 0", "usps", "5", "mean"],
        "at_least": 89,
        "unit": "%",
    },
    {
        "claim": "linear probe of tiny, Omniglot, 5 classes, one label each",
        "beside": "limit",
        "value": ["accuracy", "tiny, seed 0", "omniglot", "1", "mean"],
        "at_least": 85,
        "unit": "%",
    },
]

WEIGHTS = ROOT / "skltransfer" / "backbones" / "weights" / "tiny.safetensors"

SHOTS = (1, 5, 10, 20)
N_DRAWS = 10
MAX_ITER = 1000
N_EPISODES, N_WAYS, EPISODE_SHOTS, N_DRAWERS = 600, 5, (1, 5), 20
CALIBRATION_COUNTS = {
    "glyphs": (100, 10),
    "radial_contours": (30, 10),
    "fractals": (30, 10),
    "textures": (30, 10),
    "shapes": (40, 10),
}
HOG = {"orientations": 9, "pixels_per_cell": (8, 8), "cells_per_block": (2, 2)}

Images = np.ndarray  # float32 in [0, 1], (n, channels, height, width)
Splits = dict[str, tuple[Images, np.ndarray, Images, np.ndarray]]


# Data -------------------------------------------------------------------------------------


def split(X: Images, y: np.ndarray, n_train: int) -> tuple[Images, np.ndarray, Images, np.ndarray]:
    """Split rows into those that may be labelled and those that are scored."""
    parts = train_test_split(X, y, train_size=n_train, stratify=y, random_state=0)
    return parts[0], parts[2], parts[1], parts[3]


def grey(values: np.ndarray, maximum: float) -> Images:
    """Return grey images ``(n, height, width)`` as one channel in [0, 1]."""
    return (values / maximum).astype(np.float32)[:, None]


def idx(path: Path, offset: int) -> np.ndarray:
    """Read the bytes of a gzipped idx file behind its header."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def photographs(folder: Path) -> tuple[Images, np.ndarray]:
    """Return the photographs of some class folders at 32 x 32, and their classes."""
    paths = sorted(folder.glob("*/*.jpg"))
    images = [Image.open(path).convert("RGB").resize((32, 32), Image.BILINEAR) for path in paths]
    pixels = np.stack(images).transpose(0, 3, 1, 2) / np.float32(255)
    return pixels, np.array([path.parent.name for path in paths])


def load_splits(data: Path) -> Splits:
    """Return the data sets that are present: rows to label, their labels, test rows, labels."""
    digits = load_digits()
    splits = {"digits": split(grey(digits.images, 16), digits.target, 1297)}
    folder = data / "mnist_usps"
    if folder.is_dir():
        X = idx(folder / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
        y = idx(folder / "t10k-labels-idx1-ubyte.gz", 8)
        splits["mnist"] = split(grey(X, 255), y, 5000)
        usps = np.load(folder / "usps.npz")
        splits["usps"] = (
            grey(usps["X_train"], 255),
            usps["y_train"],
            grey(usps["X_test"], 255),
            usps["y_test"],
        )
    folder = data / "cifar10_2000"
    if folder.is_dir():
        cifar = np.load(folder / "cifar10_2000.npz")
        X, X_test = (
            (cifar[name].transpose(0, 3, 1, 2) / 255).astype(np.float32)
            for name in ("X_train", "X_test")
        )
        splits["cifar"] = (X, cifar["y_train"], X_test, cifar["y_test"])
    folder = data / "hymenoptera"
    if folder.is_dir():
        splits["hymenoptera"] = (*photographs(folder / "train"), *photographs(folder / "val"))
    for name in ("mnist", "usps", "cifar", "hymenoptera"):
        if name not in splits:
            print(f"{name}: left out, its data are absent")
    return splits


def load_omniglot(data: Path) -> Images | None:
    """Return the images of Omniglot's small background set, 20 per character in turn."""
    path = data / "omniglot" / "images_background_small1.zip"
    if not path.is_file():
        print("omniglot: left out, its data are absent")
        return None
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".png"))
        drawings = [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names]
    return grey(np.stack(drawings), 1)


# Representations --------------------------------------------------------------------------


def to_input(images: Images) -> torch.Tensor:
    """Return images as 3 x 32 x 32, in [0, 1]."""
    resized = F.interpolate(
        torch.from_numpy(images), size=(32, 32), mode="bilinear", antialias=True
    )
    return resized.clamp(0, 1).expand(-1, 3, -1, -1)


def raw_pixels(images: Images) -> np.ndarray:
    """Return the pixels at their own resolution; beyond 32 x 32, at 32 x 32."""
    if images.shape[-1] > 32:
        images = to_input(images)[:, :1].numpy()
    return images.reshape(len(images), -1)


def hog_features(images: Images) -> np.ndarray:
    """Return histograms of oriented gradients of the images at 32 x 32."""
    rows = to_input(images).permute(0, 2, 3, 1).numpy()
    return np.stack([hog(row, channel_axis=-1, **HOG) for row in rows])


def calibrated(record: Backbone, seed: int) -> Backbone:
    """Return a copy whose BatchNorm statistics are the averages over some formula images."""
    network = copy.deepcopy(record.module)
    drawn = draw_formula_images(np.random.default_rng(seed), CALIBRATION_COUNTS, 400)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # a plain average over batches
    order = np.random.default_rng(seed).permutation(len(drawn.images))
    batches = torch.from_numpy(drawn.images[order]).float().div(255).split(300)
    network.train()
    with torch.inference_mode():
        for batch in batches:
            network((batch - 0.5) / 0.25)
    return replace(record, module=network.eval(), fingerprint="")


# Probes -----------------------------------------------------------------------------------


def probe() -> Pipeline:
    """Return an unfitted linear probe."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITER))


def episode_probe() -> Pipeline:
    """Return an unfitted linear probe for a handful of rows, on rows of unit length.

    Five rows say too little about the scale of a feature to standardise by it (Tian et al.
    2020, "Rethinking few-shot image classification", use unit length too).
    """
    return make_pipeline(Normalizer(), LogisticRegression(max_iter=MAX_ITER))


def draw_rows(y: np.ndarray, shots: int, draw: int) -> np.ndarray:
    """Return the rows of ``shots`` labels per class, the same for every representation."""
    rng = np.random.default_rng([draw, shots])
    return np.concatenate(
        [rng.choice(np.flatnonzero(y == label), shots, replace=False) for label in np.unique(y)]
    )


def summary(scores: list[float]) -> dict[str, float]:
    """Return mean and standard deviation in percent."""
    percent = 100 * np.asarray(scores)
    return {"mean": round(float(percent.mean()), 2), "std": round(float(percent.std()), 2)}


def probe_split(
    represent: Callable[[Images], np.ndarray],
    data: tuple[Images, np.ndarray, Images, np.ndarray],
    n_draws: int = N_DRAWS,
) -> dict[str, dict[str, float]]:
    """Return the accuracy for each number of labels per class."""
    X, y, X_test, y_test = data
    Z, Z_test = represent(X), represent(X_test)
    result = {}
    for n_labels in SHOTS:
        draws = [draw_rows(y, n_labels, draw) for draw in range(n_draws)]
        scores = [probe().fit(Z[rows], y[rows]).score(Z_test, y_test) for rows in draws]
        result[str(n_labels)] = summary(scores)
    result["all"] = summary([probe().fit(Z, y).score(Z_test, y_test)])
    return result


def probe_episodes(
    represent: Callable[[Images], np.ndarray], images: Images, n_episodes: int = N_EPISODES
) -> dict[str, dict[str, float]]:
    """Return the accuracy of 5-way episodes: the drawings not labelled are scored."""
    Z = represent(images).reshape(-1, N_DRAWERS, represent(images[:1]).shape[1])
    result = {}
    for shots in EPISODE_SHOTS:
        rng, scores = np.random.default_rng(shots), []
        labels = np.repeat(np.arange(N_WAYS), shots)
        queries = np.repeat(np.arange(N_WAYS), N_DRAWERS - shots)
        for _ in range(n_episodes):
            characters = rng.choice(len(Z), N_WAYS, replace=False)
            episode = Z[characters][:, rng.permutation(N_DRAWERS)]
            support = episode[:, :shots].reshape(len(labels), -1)
            model = episode_probe().fit(support, labels)
            scores.append(model.score(episode[:, shots:].reshape(len(queries), -1), queries))
        result[str(shots)] = summary(scores)
    return result


# Script -----------------------------------------------------------------------------------


def representations(paths: list[Path]) -> dict[str, Callable[[Images], np.ndarray]]:
    """Return the functions to compare, by name."""
    untrained = load_backbone("tiny", weights=None)
    networks = {
        "random weights": PretrainedFeatureTransformer(untrained),
        "random weights, calibrated": PretrainedFeatureTransformer(calibrated(untrained, 0)),
    }
    for path in paths:
        with safe_open(path, "pt") as file:
            name = f"tiny, seed {file.metadata()['seed']}"
        networks[name] = PretrainedFeatureTransformer("tiny", weights=path)
    networked = {name: features.fit_transform for name, features in networks.items()}
    return {"raw pixels": raw_pixels, "HOG": hog_features} | networked


def markdown_table(accuracy: dict[str, dict[str, dict[str, dict[str, float]]]]) -> str:
    """Return the mean accuracies, one row per representation, one column per data set."""
    columns = list(next(iter(accuracy.values())))
    rows = [["representation", *columns], ["---"] * (1 + len(columns))]
    for name, results in accuracy.items():
        cells = ["/".join(f"{s['mean']:.1f}" for s in results[c].values()) for c in columns]
        rows.append([name, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(options) -> None:
    """Probe every representation; a quick run takes digits and few episodes."""
    torch.set_num_threads(options.threads)
    n_draws, n_episodes = (1, 10) if options.quick else (N_DRAWS, N_EPISODES)
    start = time.process_time()
    splits, omniglot = load_splits(options.data), load_omniglot(options.data)
    if options.quick:
        splits = {"digits": tuple(part[:500] for part in splits["digits"])}
        omniglot = None if omniglot is None else omniglot[: 20 * N_DRAWERS]
    accuracy = {}
    for name, represent in representations([WEIGHTS, *options.weights]).items():
        accuracy[name] = {
            data: probe_split(represent, split, n_draws) for data, split in splits.items()
        }
        if omniglot is not None:
            accuracy[name]["omniglot"] = probe_episodes(represent, omniglot, n_episodes)
        print(markdown_table({name: accuracy[name]}).splitlines()[-1], flush=True)
    record = {
        "accuracy": accuracy,
        "rows": {
            data: {"train": len(y), "test": len(y_test)}
            for data, (_, y, _, y_test) in splits.items()
        },
        "protocol": {
            "n_draws": n_draws,
            "probe": f"StandardScaler, LogisticRegression(max_iter={MAX_ITER})",
            "hog": {"image_size": 32, **HOG, "scikit-image": skimage.__version__},
            "omniglot": {
                "n_episodes": n_episodes,
                "n_ways": N_WAYS,
                "classifier": f"Normalizer, LogisticRegression(max_iter={MAX_ITER})",
                "queries": f"all {N_DRAWERS} drawings of each character but those labelled",
            },
        },
        "cpu_seconds": round(time.process_time() - start, 1),
    }
    write(__file__, record, options, threads=options.threads)
    print(markdown_table(accuracy))


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument(
        "--weights", type=Path, nargs="+", default=[], help="weights of further seeds"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    main(parser.parse_args())
