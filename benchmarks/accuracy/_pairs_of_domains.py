"""Real pairs of domains, draws of them, and controls that no choice of a method may get wrong."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.decomposition import PCA

HEART_COLUMNS = [
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak"),
]
N_LABELS = (10, 30, 100)
N_SCHOOLS = 6  # the largest
MAX_TEST_ROWS = 500


@dataclass(frozen=True, eq=False)
class Pair:
    """A source and a target, each as samples and labels.

    Attributes
    ----------
    group, name : str
    source, target : tuple of (ndarray, ndarray)
    n_source : int
        Number of source samples that are drawn.
    C : float
        Inverse penalty of logistic regression.
    n_labels : tuple of int
        Numbers of target labels that are drawn.
    """

    group: str
    name: str
    source: tuple
    target: tuple
    n_source: int = 500
    C: float = 1.0
    n_labels: tuple[int, ...] = N_LABELS

    @property
    def is_classification(self) -> bool:
        """Whether the labels are classes."""
        return self.target[1].dtype.kind != "f"


@dataclass(frozen=True, eq=False)
class Draw:
    """Source samples, target samples with a label, and target samples to score on."""

    X_source: np.ndarray
    y_source: np.ndarray
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


def draw(pair: Pair, n_labels: int, number: int) -> Draw:
    """Draw from a pair: each class has two labels where there is room for them, else one."""
    rng = np.random.default_rng([number, n_labels])
    (X_source, y_source), (X, y) = pair.source, pair.target
    if len(y_source) > pair.n_source:
        rows = rng.permutation(len(y_source))[: pair.n_source]
        X_source, y_source = X_source[rows], y_source[rows]
    order = rng.permutation(len(y))
    chosen = order[:n_labels]
    if pair.is_classification:
        classes = np.unique(y)
        n_each = 2 if n_labels >= 2.5 * len(classes) else 1
        first = np.concatenate([order[y[order] == label][:n_each] for label in classes])
        rest = chosen[~np.isin(chosen, first)][: n_labels - len(first)]
        chosen = np.concatenate([first, rest])
    test = order[~np.isin(order, chosen)][:MAX_TEST_ROWS]
    return Draw(X_source, y_source, X[chosen], y[chosen], X[test], y[test])


def pairs(data: Path):
    """Yield 62 pairs and 6 controls, whose group is ``"control"``."""
    sites, wines, reviews = _patients(data), _wines(data), _reviews(data)
    for source, target in _ordered_pairs(sites):
        n_labels = N_LABELS[:2] if target == "switzerland" else N_LABELS  # which has 123 patients
        yield Pair(
            "heart", f"heart {source}>{target}", sites[source], sites[target], n_labels=n_labels
        )
    yield from _wine_pairs(wines)
    surf = _objects(data)
    for source, target in _ordered_pairs(surf):
        name = f"office {source}>{target}"
        yield Pair("office", name, surf[source], surf[target], n_source=250, C=0.1)
    for source, target in _ordered_pairs(reviews):
        name = f"amazon {source}>{target}"
        yield Pair("amazon", name, reviews[source], reviews[target], C=0.1)
    digits = _digits(data)
    for source, target in _ordered_pairs(digits):
        name = f"digits {source}>{target}"
        yield Pair("digits", name, digits[source], digits[target], n_source=300, C=0.1)
    tumours = load_breast_cancer()
    for strength in (1.0, 3.0):
        source, target = _biased(tumours.data, tumours.target, tumours.data[:, 0], strength)
        yield Pair("cancer", f"cancer bias {strength:g}", source, target)
    yield from _diabetes_pairs()
    yield from _school_pairs(data)
    yield from _controls(sites, reviews, wines)


def _ordered_pairs(domains):
    return [(source, target) for source in domains for target in domains if source != target]


def _biased(X, y, score, strength):
    """Halve the samples, and keep 60 % of one half with a bias by `score`: the source."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(y))
    pool, target = order[: len(y) // 2], order[len(y) // 2 :]
    score = (score - score.mean()) / score.std()
    keys = -strength * score[pool] + rng.gumbel(size=len(pool))
    source = pool[np.argsort(-keys)[: int(0.6 * len(pool))]]
    return (X[source], y[source]), (X[target], y[target])


def _patients(data: Path) -> dict:
    frame = pd.read_csv(data / "heart_uci" / "heart.csv")
    frame["chol"] = frame["chol"].replace(0, np.nan)
    return {
        site: (part[HEART_COLUMNS].to_numpy(float), (part["num"] > 0).to_numpy(int))
        for site, part in frame.groupby("site")
    }


def _wines(data: Path) -> dict:
    wines = {}
    for colour in ("red", "white"):
        frame = pd.read_csv(data / "wine" / f"winequality_{colour}.csv").drop_duplicates()
        wines[colour] = frame.drop(columns="quality").to_numpy(float), frame["quality"].to_numpy()
    return wines


def _wine_pairs(wines):
    labels = {
        "wine2": lambda quality: (quality >= 6).astype(int),
        "wine3": lambda quality: np.clip(quality, 5, 7) - 5,
        "wineR": lambda quality: quality.astype(float),
    }
    for source, target in (("red", "white"), ("white", "red")):
        for kind, label in labels.items():
            domains = [(wines[name][0], label(wines[name][1])) for name in (source, target)]
            yield Pair("wine", f"{kind} {source}>{target}", *domains)
    X, quality = wines["white"]
    for name, sign in (("strong", -1), ("weak", 1)):
        source, target = _biased(X, (quality >= 6).astype(int), sign * X[:, 10], 2.0)
        yield Pair("wine", f"white {name}>all", source, target)


def _objects(data: Path) -> dict:
    """Return 40 components of the SURF features, standardized in each domain."""
    domains = {}
    for name in ("amazon", "caltech", "dslr", "webcam"):
        file = np.load(data / "office_caltech_surf" / f"{name}.npz")
        X = file["X"].astype(float)
        X = X / X.sum(axis=1, keepdims=True)
        domains[name] = (X - X.mean(axis=0)) / (X.std(axis=0) + 1e-9), file["y"].astype(int) - 1
    components = PCA(40, random_state=0).fit(np.vstack([X for X, _ in domains.values()]))
    return {name: (components.transform(X), y) for name, (X, y) in domains.items()}


def _reviews(data: Path) -> dict:
    """Return 50 components of the counts of words."""
    domains = {}
    for name in ("books", "dvd", "electronics", "kitchen"):
        file = np.load(data / "amazon_review_400" / f"{name}.npz")
        domains[name] = file["X"], file["y"].astype(int)
    both = np.vstack([X for X, _ in domains.values()])
    centre, scale = both.mean(axis=0), both.std(axis=0) + 1e-9
    components = PCA(50, random_state=0).fit((both - centre) / scale)
    return {
        name: (components.transform((X - centre) / scale), y) for name, (X, y) in domains.items()
    }


def _digits(data: Path) -> dict:
    """Return three sets of digits at 8 x 8 pixels."""
    digits = load_digits()
    usps = np.load(data / "mnist_usps" / "usps.npz")
    images = _idx(data, "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)[:, 4:24, 4:24]
    labels = _idx(data, "t10k-labels-idx1-ubyte.gz", 8).astype(int)
    return {
        "digits": (digits.data * 16.0, digits.target),
        "usps": (_shrunk(usps["X_train"].reshape(-1, 16, 16)), usps["y_train"].astype(int)),
        "mnist": (_shrunk(images), labels),
    }


def _idx(data: Path, name: str, offset: int) -> np.ndarray:
    with gzip.open(data / "mnist_usps" / name) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def _shrunk(images) -> np.ndarray:
    """Return images as rows of 8 x 8 means."""
    images = np.repeat(np.repeat(images.astype(np.float32), 8, axis=1), 8, axis=2)
    n_images, height, width = images.shape
    blocks = images.reshape(n_images, 8, height // 8, 8, width // 8)
    return blocks.mean(axis=(2, 4)).reshape(n_images, 64)


def _diabetes_pairs():
    data = load_diabetes()
    is_male = data.data[:, 1] > 0
    X, y = np.delete(data.data, 1, axis=1), data.target
    for name, source in (("f>m", ~is_male), ("m>f", is_male)):
        domains = (X[source], y[source]), (X[~source], y[~source])
        yield Pair("diabetes", f"diabetes {name}", *domains)
    for name, sign in (("slim", 1), ("heavy", -1)):
        source, target = _biased(data.data, y, sign * data.data[:, 2], 2.0)
        yield Pair("diabetes", f"diabetes {name}>all", source, target)


def _school_pairs(data: Path):
    """Yield one school against all others."""
    file = np.load(data / "school_mtl" / "school.npz")
    X, y, school = file["X"][:, :-1], file["y"].astype(float).ravel(), file["task"]
    for number in np.argsort(-np.bincount(school), kind="stable")[:N_SCHOOLS]:
        own = school == number
        yield Pair("school", f"school {number}", (X[~own], y[~own]), (X[own], y[own]))


def _controls(sites, reviews, wines):
    rng = np.random.default_rng(1)
    X, y = sites["cleveland"]
    target = sites["hungarian"]
    yield Pair("control", "heart flipped labels", (X, 1 - y), target)
    yield Pair("control", "heart random labels", (X, rng.permutation(y)), target)
    X, y = reviews["books"]
    order = rng.permutation(len(y))
    halves = [(X[rows], y[rows]) for rows in (order[:1000], order[1000:])]
    yield Pair("control", "amazon same domain", *halves, C=0.1)
    X, y = reviews["dvd"]
    yield Pair("control", "amazon flipped labels", (X, 1 - y), reviews["books"], C=0.1)
    X, quality = wines["white"]
    order, y = rng.permutation(len(quality)), quality.astype(float)
    source, rest = order[:2000], order[2000:]
    target = X[rest], y[rest]
    yield Pair("control", "wine same domain", (X[source], y[source]), target)
    yield Pair("control", "wine random labels", (X[source], rng.permutation(y[source])), target)
