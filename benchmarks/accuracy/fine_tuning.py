"""Fine-tuning, L2-SP, linear probes and training from scratch, with few labels a class.

    python -m benchmarks.accuracy.fine_tuning [--data PATH] [--task NAME ...] [--summary]

Four transfers: ``tiny`` (pretrained on formula images) to scikit-learn's digits and to USPS; the
shared ResNet-20 to photographs of CIFAR-10, which is *the task it was trained on*: the same ten
classes, and the rows to label are from its own training set, so that this transfer has nothing to
learn but a new output layer; and the shared MobileNetV2 (ImageNet) to ants and bees, at 96 x 96
pixels. Five draws of 5, 20 and 100 labels a class; each method is given the same rows, and is
scored on the same test rows (USPS: 1000 of them).

All settings are the defaults, but for the number of epochs (``EPOCHS``), which is reduced to keep
the run short. Nothing is tuned on test rows; the ``alpha`` of "L2-SP, alpha searched" is found by
3-fold GridSearchCV on the labelled rows; a third L2-SP has ``alpha=1``. "Scratch" is the same
network with random weights, trained wholly at the rates that are its default.

Every fit is written to a file of lines as it ends, and is not repeated: the script can be stopped
and started again, and tasks can run side by side. ``--summary`` writes ``fine_tuning.json`` from
these lines. Intervals are Student's over draws, which share test rows; differences are paired.
Needs the shared data (mnist_usps, cifar10_2000, hymenoptera, weights).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks._measure import make_parser, one_thread, output_folder, write

one_thread()

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from benchmarks.accuracy._resnet20 import resnet20
from skltransfer import FineTunedClassifier, Preprocessing, RegularizedTransferClassifier
from skltransfer.model_selection import mean_interval

DATA = ("mnist_usps", "cifar10_2000", "hymenoptera", "weights")
CLAIMS = [
    {
        "claim": "fine-tuned tiny on digits, 5 labels a class: gain",
        "beside": "trained from scratch",
        "value": [
            "rows", {"task": "tiny > digits", "n_labels": 5},
            "methods", "fine-tuning", "minus scratch", "mean",
        ],
        "at_least": 8,
        "unit": "points",
    },
]  # fmt: skip

N_DRAWS, N_LABELS = 5, (5, 20, 100)
N_TEST_OF_USPS = 1000
SIZE_OF_PHOTOGRAPHS = 96
STRONG_ALPHA = 1.0
ALPHAS = (0.1, 1.0, 10.0)
# Epochs by labels a class; the default is 100, 72 and 16, and for two classes 100, 100 and 72.
EPOCHS = {5: 25, 20: 15, 100: 4}
EPOCHS_OF_RANDOM_TINY = {5: 100, 20: 40, 100: 8}
EPOCHS_OF_PHOTOGRAPHS = {5: 20, 20: 10, 100: 3}
SEARCHED = {"tiny > digits": (5,)}
STRONG, SEARCH = f"L2-SP, alpha={STRONG_ALPHA:g}", "L2-SP, alpha searched"
METHODS = ("linear probe", "scratch", "fine-tuning", "LP-FT", "L2-SP", STRONG, SEARCH)


@dataclass
class Task:
    """Rows that may be labelled, test rows, and the network that is carried over."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    pretrained: dict
    random: dict


def digits(data: Path) -> Task:
    """Scikit-learn's digits: 1297 rows to label, 500 to score."""
    bunch = load_digits()
    X, X_test, y, y_test = train_test_split(
        (bunch.images / 16).astype(np.float32),
        bunch.target,
        train_size=1297,
        stratify=bunch.target,
        random_state=0,
    )
    return Task(X, y, X_test, y_test, {"backbone": "tiny"}, {"backbone": "tiny", "weights": None})


def usps(data: Path) -> Task:
    """Digits from American envelopes."""
    file = np.load(data / "mnist_usps" / "usps.npz")
    test = np.random.default_rng(0).permutation(len(file["y_test"]))[:N_TEST_OF_USPS]
    return Task(
        file["X_train"],
        file["y_train"],
        file["X_test"][test],
        file["y_test"][test],
        {"backbone": "tiny"},
        {"backbone": "tiny", "weights": None},
    )


def cifar(data: Path) -> Task:
    """Photographs of the classes that the network was trained on."""
    file = np.load(data / "cifar10_2000" / "cifar10_2000.npz")
    record = resnet20(data / "weights" / "resnet20_cifar10.safetensors")
    # A record carries its weights; random ones are to have the default rate of random weights.
    return Task(
        file["X_train"],
        file["y_train"],
        file["X_test"],
        file["y_test"],
        {"backbone": record},
        {"backbone": resnet20, "backbone_lr_ratio": 1.0},
    )


def hymenoptera(data: Path) -> Task:
    """Photographs of ants and bees; 100 labels a class are nearly all of the 244."""
    parts = [photographs(data / "hymenoptera" / part) for part in ("train", "val")]
    weights = data / "weights" / "mobilenet_v2_imagenet_fp16.safetensors"
    common = {"backbone": "mobilenet_v2", "input_size": SIZE_OF_PHOTOGRAPHS}
    return Task(*parts[0], *parts[1], common | {"weights": weights}, common | {"weights": None})


def photographs(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the photographs of two class folders, resized and cropped once, and their classes."""
    paths = [path for name in ("ants", "bees") for path in sorted((folder / name).glob("*.jpg"))]
    size = SIZE_OF_PHOTOGRAPHS
    resize = Preprocessing(size, size, mean=(0.0,) * 3, std=(1.0,) * 3).resize
    images = []
    for path in paths:
        pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)
        images.append(resize(pixels).permute(1, 2, 0).numpy())
    return np.stack(images), np.array([path.parent.name for path in paths])


TASKS = {
    "tiny > digits": digits,
    "tiny > USPS": usps,
    "ResNet-20 > CIFAR-10": cifar,
    "MobileNetV2 > ants and bees": hymenoptera,
}


def draw_rows(y: np.ndarray, n_labels: int, draw: int) -> np.ndarray:
    """Return rows with labels, equally many of each class; the same for every method."""
    rng = np.random.default_rng([draw, n_labels])
    return np.concatenate(
        [rng.choice(np.flatnonzero(y == label), n_labels, replace=False) for label in np.unique(y)]
    )


def epochs_of(name: str, method: str, n_labels: int) -> int:
    """Return the passes over the rows of a method that trains the network."""
    if name.startswith("MobileNetV2"):
        return EPOCHS_OF_PHOTOGRAPHS[n_labels]
    is_random_tiny = name.startswith("tiny") and method == "scratch"
    return (EPOCHS_OF_RANDOM_TINY if is_random_tiny else EPOCHS)[n_labels]


def make_model(method: str, task: Task, seed: int, epochs: int):
    """Return the unfitted model of a method."""
    if method == "scratch":
        network = dict(task.random)
        if callable(network["backbone"]):
            network["backbone"] = network["backbone"](None, seed)
        return FineTunedClassifier(**network, max_epochs=epochs, random_state=seed)
    settings = task.pretrained | {"random_state": seed}
    if method == "linear probe":
        return FineTunedClassifier(strategy="linear_probe", **settings)
    if method == "fine-tuning":
        return FineTunedClassifier(**settings, max_epochs=epochs)
    if method == "LP-FT":
        return FineTunedClassifier(strategy="lp_ft", **settings, max_epochs=epochs)
    model = RegularizedTransferClassifier(**settings, max_epochs=epochs)
    if method == STRONG:
        model.set_params(alpha=STRONG_ALPHA)
    return GridSearchCV(model, {"alpha": ALPHAS}, cv=3) if method == SEARCH else model


def run(names: list[str], data: Path, lines: Path, n_draws: int, all_labels: tuple) -> None:
    """Fit and score what `lines` does not hold yet, few labels first."""
    tasks = {name: TASKS[name](data) for name in names}
    for n_labels in all_labels:
        for name, task in tasks.items():
            for draw in range(n_draws):
                rows = draw_rows(task.y, n_labels, draw)
                for method in METHODS:
                    if method == SEARCH and n_labels not in SEARCHED.get(name, ()):
                        continue
                    key = {"task": name, "n_labels": n_labels, "draw": draw, "method": method}
                    if any(key.items() <= record.items() for record in read(lines)):
                        continue
                    model = make_model(method, task, draw, epochs_of(name, method, n_labels))
                    start, start_wall = time.process_time(), time.perf_counter()
                    model.fit(task.X[rows], task.y[rows])
                    record = key | {
                        "cpu_seconds": round(time.process_time() - start, 2),
                        "wall_seconds": round(time.perf_counter() - start_wall, 2),
                        "accuracy": round(100 * model.score(task.X_test, task.y_test), 4),
                    }
                    if hasattr(model, "best_params_"):
                        record["alpha"] = model.best_params_["alpha"]
                    with lines.open("a") as file:
                        file.write(json.dumps(record) + "\n")
                    print(record, flush=True)


def read(lines: Path) -> list[dict]:
    """Return the fits so far."""
    return [json.loads(line) for line in lines.open()] if lines.is_file() else []


def interval(values: np.ndarray) -> dict[str, float]:
    """Return the mean and its interval; the mean alone of a single draw."""
    mean, low, high = mean_interval(values)
    if len(values) == 1:
        return {"mean": round(mean, 2)}
    return {"mean": round(mean, 2), "low": round(low, 2), "high": round(high, 2)}


def summarise(records: list[dict]) -> list[dict]:
    """Return one row a task and number of labels, with all methods."""
    rows = []
    for name in TASKS:
        for n_labels in N_LABELS:
            row = {"task": name, "n_labels": n_labels, "methods": {}}
            row["max_epochs"] = {
                kind: epochs_of(name, kind, n_labels) for kind in ("scratch", "fine-tuning")
            }
            fits = {
                method: {
                    record["draw"]: record
                    for record in records
                    if (record["task"], record["n_labels"], record["method"])
                    == (name, n_labels, method)
                }
                for method in METHODS
            }
            for method, by_draw in fits.items():
                if not by_draw:
                    continue
                accuracy = [by_draw[draw]["accuracy"] for draw in sorted(by_draw)]
                cell = interval(np.array(accuracy)) | {"draws": len(accuracy), "all": accuracy}
                for other in ("linear probe", "scratch"):
                    common = sorted(by_draw.keys() & fits[other].keys())
                    if method != other and common:
                        gains = [
                            by_draw[draw]["accuracy"] - fits[other][draw]["accuracy"]
                            for draw in common
                        ]
                        cell[f"minus {other}"] = interval(np.array(gains))
                seconds = [record["cpu_seconds"] for record in by_draw.values()]
                cell["cpu_seconds_per_fit"] = round(float(np.median(seconds)), 2)
                alphas = [record["alpha"] for record in by_draw.values() if "alpha" in record]
                row["methods"][method] = cell | ({"alphas": alphas} if alphas else {})
            if row["methods"]:
                rows.append(row)
    return rows


def main(options) -> None:
    """Run some tasks, or summarise what has been run; a quick run does both, on digits."""
    if options.quick:
        folder = output_folder(__file__, options)
        folder.mkdir(parents=True, exist_ok=True)
        options.output, options.lines = folder, folder / "fine_tuning.jsonl"
        run(["tiny > digits"], options.data, options.lines, n_draws=1, all_labels=(5,))
    elif not options.summary:
        run(options.task, options.data, options.lines, N_DRAWS, N_LABELS)
        return
    record = {
        "metric": "accuracy in percent on test rows",
        "same_classes": "ResNet-20 was trained on CIFAR-10's classes, and on these rows",
        "test_rows": {"usps": N_TEST_OF_USPS},
        "input_size": {"hymenoptera": SIZE_OF_PHOTOGRAPHS},
        "alphas_searched": ALPHAS,
        "rows": summarise(read(options.lines)),
    }
    write(__file__, record, options)


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--lines", type=Path, default=Path("fine_tuning.jsonl"), help="all fits")
    parser.add_argument("--summary", action="store_true", help="write fine_tuning.json")
    main(parser.parse_args())
