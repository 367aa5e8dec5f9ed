"""What a network learns without labels: a linear probe on its features, with few labels.

Digits: a small convolutional network is trained on images without labels (USPS, or MNIST reduced
to 16 x 16), and its features, standardised, go into a logistic regression fitted on 10 labelled
images a class; scored on images that nothing was trained on. Beside it the same network with its
random weights, as they are and with the statistics of its batch normalisation taken from the
unlabelled images, and raw pixels. "USPS > MNIST" is trained on USPS and probed on MNIST. Five
seeds, each with weights, order, views and labelled rows of its own; gains are paired, and the
intervals Student's over the seeds.

Tables (wine quality, heart disease): the table network is trained on the columns of all rows but
those scored; ridge or logistic regression on its features, on raw columns, and on the features of
the same network with random weights, from 50 labelled rows. Ten draws of all rows. Losses are part
of the table.

Needs the shared data (mnist_usps, wine, heart_uci).
"""

from __future__ import annotations

import gzip
import json
import time
import warnings
from pathlib import Path

from benchmarks._measure import make_parser, one_thread, write

one_thread()

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skltransfer import PretrainedFeatureTransformer, SelfSupervisedTransformer
from skltransfer.model_selection import mean_interval

DATA = ("mnist_usps", "wine", "heart_uci")
CLAIMS = [
    {
        "claim": "SimCLR, USPS: gain with 10 labels a class, lower end",
        "beside": "random weights",
        "value": [
            "digits",
            "rows",
            {"task": "USPS > USPS", "features": "simclr"},
            "gain over random weights",
            "low",
        ],
        "at_least": 5,
        "unit": "points",
    },
    {
        "claim": "SimCLR, USPS: gain with 10 labels a class, lower end",
        "beside": "random weights, calibrated",
        "value": [
            "digits",
            "rows",
            {"task": "USPS > USPS", "features": "simclr"},
            "gain over random weights, calibrated",
            "low",
        ],
        "at_least": 5,
        "unit": "points",
    },
    {
        "claim": "SimCLR, USPS to MNIST: gain with 10 labels a class, lower end",
        "beside": "random weights",
        "value": [
            "digits",
            "rows",
            {"task": "USPS > MNIST", "features": "simclr"},
            "gain over random weights",
            "low",
        ],
        "at_least": 5,
        "unit": "points",
    },
    {
        "claim": "SimCLR, USPS to MNIST: gain with 10 labels a class, lower end",
        "beside": "random weights, calibrated",
        "value": [
            "digits",
            "rows",
            {"task": "USPS > MNIST", "features": "simclr"},
            "gain over random weights, calibrated",
            "low",
        ],
        "at_least": 5,
        "unit": "points",
    },
    {
        "claim": "SimCLR, MNIST: gain with 10 labels a class, lower end",
        "beside": "random weights",
        "value": [
            "digits",
            "rows",
            {"task": "MNIST > MNIST", "features": "simclr"},
            "gain over random weights",
            "low",
        ],
        "at_least": 5,
        "unit": "points",
    },
    {
        "claim": "SimCLR, MNIST: gain with 10 labels a class, lower end",
        "beside": "random weights, calibrated",
        "value": [
            "digits",
            "rows",
            {"task": "MNIST > MNIST", "features": "simclr"},
            "gain over random weights, calibrated",
            "low",
        ],
        "at_least": 5,
        "unit": "points",
    },
]

SEEDS, LABELS_A_CLASS, EPOCHS = range(5), 10, 10
DRAWS_OF_TABLE, LABELS_OF_TABLE = range(10), 50
METHODS = ("simclr", "barlow", "rotation", "denoising", "masked")
TAPS = {"layers": ["stage2", "stage3"], "pooling": "grid2", "store": None}
RANDOM, CALIBRATED = "random weights", "random weights, calibrated"


def read_digits(data: Path) -> dict:
    """Return unlabelled and labelled images, their labels, and images and labels to score on."""

    def idx(name: str, offset: int) -> np.ndarray:
        packed = gzip.open(data / "mnist_usps" / name).read()
        return np.frombuffer(packed, np.uint8, offset=offset)

    images = idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    pixels = torch.from_numpy(images.copy()).float()
    small = nn.functional.interpolate(pixels, size=(16, 16), mode="bilinear", antialias=True)
    images = small[:, 0].round().clamp(0, 255).to(torch.uint8).numpy()
    labels = idx("t10k-labels-idx1-ubyte.gz", 8)
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = order[:7000], order[7000:]
    usps = np.load(data / "mnist_usps" / "usps.npz")
    return {
        "USPS": tuple(usps[name] for name in ("X_train", "y_train", "X_test", "y_test")),
        "MNIST": (images[train], labels[train], images[test], labels[test]),
    }


def small_network(seed: int) -> nn.Sequential:
    """Return three strided convolutions with random weights."""

    def stage(n_in: int, n_out: int) -> nn.Sequential:
        convolution = nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU())

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential()
        for number, (n_in, n_out) in enumerate([(1, 32), (32, 64), (64, 128)], start=1):
            network.add_module(f"stage{number}", stage(n_in, n_out))
    return network.eval()


def calibrated(network: nn.Module, images: np.ndarray) -> nn.Module:
    """Let batch normalisation take its statistics from images, and nothing else change."""
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over batches
    network.train()
    with torch.no_grad():
        for batch in torch.from_numpy(images[:4096]).split(128):
            network(batch.unsqueeze(1) / 255)
    return network.eval()


def probe(features_of, domain: tuple, seed: int) -> float:
    """Score a linear model fitted on a few labelled rows."""
    X, y, X_test, y_test = domain
    rng = np.random.default_rng(seed)
    few = np.concatenate(
        [rng.permutation(np.flatnonzero(y == c))[:LABELS_A_CLASS] for c in np.unique(y)]
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(features_of(X[few]), y[few])
    return model.score(features_of(X_test), y_test)


def digits(data: Path, quick: bool) -> list[dict]:
    """Return one row for each method, training set and probed set."""
    domains = read_digits(data)
    scores: dict[tuple, list] = {}
    seconds: dict[tuple, list] = {}
    n_epochs = 1 if quick else EPOCHS
    for seed in SEEDS[:2] if quick else SEEDS:
        for source, methods in (("USPS", METHODS), ("MNIST", ("simclr",))):
            images = domains[source][0][: 500 if quick else None]
            random = {
                RANDOM: small_network(seed),
                CALIBRATED: calibrated(small_network(seed), images),
            }
            features = {
                name: PretrainedFeatureTransformer(network, **TAPS).fit(images).transform
                for name, network in random.items()
            }
            features["raw pixels"] = lambda X: X.reshape(len(X), -1) / 255
            for method in methods:
                started = time.process_time()
                model = SelfSupervisedTransformer(
                    small_network(seed), method, max_epochs=n_epochs, random_state=seed, **TAPS
                ).fit(images)
                seconds.setdefault((source, method), []).append(time.process_time() - started)
                features[method] = model.transform
            for target in ("USPS", "MNIST") if source == "USPS" else ("MNIST",):
                for name, features_of in features.items():
                    score = 100 * probe(features_of, domains[target], seed)
                    scores.setdefault((f"{source} > {target}", name), []).append(score)
    return summary(scores, (RANDOM, CALIBRATED, "raw pixels"), "accuracy in %", seconds)


def read_tables(data: Path) -> dict:
    """Return columns and labels of each table."""
    wine = pd.read_csv(data / "wine" / "winequality_white.csv")
    heart = pd.read_csv(data / "heart_uci" / "heart.csv")
    heart["chol"] = heart["chol"].replace(0, np.nan)
    heart = heart[heart["site"].isin(["cleveland", "hungarian"])]
    columns = ["age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang"]
    columns += ["oldpeak"]
    filled = SimpleImputer(strategy="median").fit_transform(heart[columns])
    return {
        "wine (white)": (wine.drop(columns="quality").to_numpy(), wine["quality"].to_numpy(float)),
        "heart (two sites)": (filled, (heart["num"] > 0).to_numpy(int)),
    }


def tables(data: Path, quick: bool) -> list[dict]:
    """Return one row for each method and table."""
    methods = [method for method in METHODS if method != "rotation"]
    rows = []
    for table, (X, y) in read_tables(data).items():
        is_classification = y.dtype.kind == "i"
        scores: dict[tuple, list] = {}
        for seed in DRAWS_OF_TABLE[:2] if quick else DRAWS_OF_TABLE:
            order = np.random.default_rng(seed).permutation(len(y))
            test, rest = order[: len(y) // 4], order[len(y) // 4 :]
            few = rest[:LABELS_OF_TABLE]
            transformers = {"raw columns": StandardScaler()}
            # The smallest step there is: random weights, and statistics of the columns.
            transformers[RANDOM] = SelfSupervisedTransformer(
                max_epochs=1, lr=1e-30, warmup=0.0, random_state=seed
            )
            for method in methods:
                transformers[method] = SelfSupervisedTransformer(method=method, random_state=seed)
            for name, transformer in transformers.items():
                transformer.fit(X[rest])
                if is_classification:
                    model = LogisticRegressionCV(
                        Cs=np.logspace(-4, 2, 13), cv=5, scoring="neg_log_loss",
                        solver="newton-cholesky", l1_ratios=(0,), use_legacy_attributes=False,
                    )  # fmt: skip
                else:
                    model = RidgeCV(alphas=np.logspace(-2, 5, 15))
                model = make_pipeline(StandardScaler(), model)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    model.fit(transformer.transform(X[few]), y[few])
                metric = accuracy_score if is_classification else r2_score
                score = metric(y[test], model.predict(transformer.transform(X[test])))
                scores.setdefault((table, name), []).append(100 * score)
        metric = "accuracy in %" if is_classification else "R^2 in %"
        rows += summary(scores, (RANDOM, "raw columns"), metric, {})
    return rows


def summary(scores: dict, baselines: tuple, metric: str, seconds: dict) -> list[dict]:
    """Return means, and paired gains over each baseline with their intervals."""
    rows = []
    for (task, name), values in scores.items():
        values = np.array(values)
        mean, low, high = mean_interval(values)
        row = {"task": task, "features": name, "metric": metric}
        row |= {"mean": mean, "low": low, "high": high, "scores": values.round(2).tolist()}
        if name not in baselines:
            for baseline in baselines:
                gain, low, high = mean_interval(values - np.array(scores[task, baseline]))
                row[f"gain over {baseline}"] = {"mean": gain, "low": low, "high": high}
            source = task.split(" > ")[0]
            if (source, name) in seconds:
                row["cpu_seconds_of_fit"] = float(np.median(seconds[source, name]))
        rows.append(row)
    return rows


def main(options) -> None:
    """Probe digits and tables."""
    path = Path(__file__).with_suffix(".json")
    keeps_rest = options.part and not options.quick and path.is_file()
    record = json.loads(path.read_text()) if keeps_rest else {}
    for part, run in (("digits", digits), ("tables", tables)):
        if options.part in (None, part):
            started = time.process_time()
            rows = run(options.data, options.quick)
            record[part] = {"cpu_seconds": time.process_time() - started, "rows": rows}
    record["labels_a_class"], record["labels_of_table"] = LABELS_A_CLASS, LABELS_OF_TABLE
    if not options.quick:
        record["epochs_of_digits"] = EPOCHS
        record["seeds"], record["draws_of_table"] = len(SEEDS), len(DRAWS_OF_TABLE)
    write(__file__, record, options)


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument(
        "--part", choices=("digits", "tables"), help="run this alone, keep the rest"
    )
    main(parser.parse_args())
