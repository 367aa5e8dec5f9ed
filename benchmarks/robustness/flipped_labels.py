"""Wrong labels in the source: what they cost each way to use it, beside the target alone.

A growing share of the source's labels is wrong. *Random*: a label becomes another class, drawn for
each sample. *Targeted*: labels of one class become one other class, as an attacker would do who
wants that class to be missed; the share is that of the class. Labels of the target are right.

*breast cancer*: 100 tumours of a clinic that saw small ones, 20 labelled ones of the target
(targeted: malignant ones called benign). *digits*: 300 digits of the classes 3, 5, 8 and 9, and 20
labelled ones that are moved to the right by a pixel (targeted: threes called eights). Both are
bundled. *heart*: patients of Cleveland for those of three other hospitals (shared data), 20
labelled patients of the target (targeted: ill ones called healthy), averaged within each draw.

All methods share scaling and logistic regression. Each draw gives all methods and shares the same
samples, and flips grow with the share. Differences to the target alone are paired, intervals are
Student's over the draws.

python -m benchmarks.robustness.flipped_labels [--quick] [--tasks "breast cancer" digits heart]
"""

from __future__ import annotations

import warnings
from pathlib import Path

from benchmarks._measure import Parts, make_parser, one_thread, write

one_thread()

import numpy as np
from sklearn.datasets import load_digits
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.accuracy._pairs_of_domains import _patients
from skltransfer import (
    KMMReweighter,
    PooledEstimator,
    TrAdaBoostClassifier,
    TransferClassifier,
    WithSource,
)
from skltransfer.datasets import load_biased_breast_cancer
from skltransfer.model_selection import mean_interval

DATA = ("heart_uci",)
CLAIMS = [
    {
        "claim": "breast cancer, 40 % of source labels wrong (random): mixture",
        "beside": "target only",
        "value": [
            "rows",
            {"task": "breast cancer", "flips": "random", "share": 0.4},
            "mixture",
            "gain",
            "mean",
        ],
        "at_least": -1,
        "unit": "points",
    },
    {
        "claim": "breast cancer, 40 % of source labels wrong (targeted): mixture",
        "beside": "target only",
        "value": [
            "rows",
            {"task": "breast cancer", "flips": "targeted", "share": 0.4},
            "mixture",
            "gain",
            "mean",
        ],
        "at_least": -1,
        "unit": "points",
    },
    {
        "claim": "digits, 40 % of source labels wrong (random): mixture",
        "beside": "target only",
        "value": [
            "rows",
            {"task": "digits", "flips": "random", "share": 0.4},
            "mixture",
            "gain",
            "mean",
        ],
        "at_least": -1,
        "unit": "points",
    },
    {
        "claim": "digits, 40 % of source labels wrong (targeted): mixture",
        "beside": "target only",
        "value": [
            "rows",
            {"task": "digits", "flips": "targeted", "share": 0.4},
            "mixture",
            "gain",
            "mean",
        ],
        "at_least": -1,
        "unit": "points",
    },
    {
        "claim": "heart, 40 % of source labels wrong (random): mixture",
        "beside": "target only",
        "value": [
            "rows",
            {"task": "heart", "flips": "random", "share": 0.4},
            "mixture",
            "gain",
            "mean",
        ],
        "at_least": -1,
        "unit": "points",
    },
    {
        "claim": "heart, 40 % of source labels wrong (targeted): mixture",
        "beside": "target only",
        "value": [
            "rows",
            {"task": "heart", "flips": "targeted", "share": 0.4},
            "mixture",
            "gain",
            "mean",
        ],
        "at_least": -1,
        "unit": "points",
    },
]

SHARES = (0.0, 0.1, 0.2, 0.4)
N_DRAWS = {"breast cancer": 12, "digits": 6, "heart": 6}
BASELINE = "target only"


def flipped(y, share: float, kind: str, pair: tuple, rng) -> np.ndarray:
    """Return labels of which a share is wrong.

    Parameters
    ----------
    y : ndarray of shape (n,)
    share : float
        Share of all labels (random), or of those of the class that is attacked (targeted).
    kind : {"random", "targeted"}
    pair : tuple
        Class that is attacked, and what it is called.
    rng : numpy.random.Generator
        Of one seed, a larger share flips the same labels and more.
    """
    y, order = y.copy(), rng.permutation(len(y))
    if kind == "targeted":
        order = order[y[order] == pair[0]]
    chosen = order[: round(share * len(order))]
    if kind == "targeted":
        y[chosen] = pair[1]
        return y
    classes, codes = np.unique(y, return_inverse=True)
    steps = rng.integers(1, len(classes), len(y))  # 1 if there are two classes
    y[chosen] = classes[(codes + steps)[chosen] % len(classes)]
    return y


def model():
    """Return imputation, scaling and logistic regression."""
    return make_pipeline(*steps(), LogisticRegression(max_iter=1000))


def steps() -> tuple:
    """Return imputation and scaling."""
    return SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()


def methods() -> dict:
    """Return an unfitted estimator for two domains for each name."""
    last = LogisticRegression(max_iter=1000)
    return {
        "source only": model(),
        "pooled": PooledEstimator(model()),
        "balanced": PooledEstimator(model(), target_weight="balanced"),
        "reweighted (KMM)": make_pipeline(*steps(), KMMReweighter(last)),
        "boosted (TrAdaBoost)": make_pipeline(*steps(), TrAdaBoostClassifier(last)),
        "mixture": TransferClassifier(model()),
    }


def split(X, y, n_labels: int, rng) -> tuple:
    """Return labelled samples with at least one of each class, and the others."""
    order = rng.permutation(len(y))
    first = [order[y[order] == label][0] for label in np.unique(y)]
    order = np.concatenate([first, order[~np.isin(order, first)]])
    known, test = order[:n_labels], order[n_labels:]
    return X[known], y[known], X[test], y[test]


def draws_of(task: str, number: int, data: Path):
    """Yield the pair of classes of a targeted attack, the source and the parts of the target."""
    rng = np.random.default_rng(number)
    if task == "breast cancer":
        both = load_biased_breast_cancer(random_state=number)
        target = split(both.X_target, both.y_target, 20, rng)
        yield (0, 1), both.X_source, both.y_source, *target
    elif task == "digits":
        X, y = load_digits(return_X_y=True)
        order = rng.permutation(np.flatnonzero(np.isin(y, (3, 5, 8, 9))))
        source, rest = order[:300], order[300:]
        moved = np.roll(X[rest].reshape(-1, 8, 8), 1, axis=2)
        moved[:, :, 0] = 0
        yield (3, 8), X[source], y[source], *split(moved.reshape(-1, 64), y[rest], 20, rng)
    else:
        sites = _patients(data)
        for name in sites:
            if name != "cleveland":
                yield (1, 0), *sites["cleveland"], *split(*sites[name], 20, rng)


def scores_of(draw, number: int, kind: str, share: float) -> tuple[dict, dict]:
    """Return the accuracy and the recall of the attacked class of every method, in percent."""
    pair, X_source, y_source, X, y, X_test, y_test = draw
    y_source = flipped(y_source, share, kind, pair, np.random.default_rng([number, 1]))
    accuracy, recall = {}, {}
    fitted = {BASELINE: model().fit(X, y)}
    for name, each in methods().items():
        fitted[name] = WithSource(each, X_source, y_source).fit(X, y)
    for name, each in fitted.items():
        hits = each.predict(X_test) == y_test
        accuracy[name] = 100 * float(hits.mean())
        recall[name] = 100 * float(hits[y_test == pair[0]].mean())
    return accuracy, recall


def interval(values) -> dict[str, float]:
    """Return mean and interval."""
    mean, low, high = mean_interval(values)
    return {"mean": round(mean, 2), "low": round(low, 2), "high": round(high, 2)}


def means_of_draw(task: str, number: int, data: Path, kind: str, share: float) -> list[dict]:
    """Return accuracy and recall of each method, means over the pairs of a draw."""
    with warnings.catch_warnings():
        # Columns without a number in few rows; boosting that stops early.
        warnings.simplefilter("ignore")
        every = [scores_of(draw, number, kind, share) for draw in draws_of(task, number, data)]
    return [
        {name: float(np.mean([each[part][name] for each in every])) for name in every[0][part]}
        for part in range(2)
    ]


def main(options) -> None:
    """Score every method for every kind and share of flips."""
    rows, parts = [], Parts(__file__, options)
    for task in options.tasks:
        n_draws = 2 if options.quick else N_DRAWS[task]
        settings = [("none", 0.0)]
        settings += [(kind, share) for kind in ("random", "targeted") for share in SHARES[1:]]
        settings = settings[::3] if options.quick else settings
        for kind, share in settings:
            found = [
                parts.get(
                    [task, kind, share, number],
                    lambda n=number, kind=kind, share=share, task=task: means_of_draw(
                        task, n, options.data, kind, share
                    ),
                )
                for number in range(n_draws)
            ]
            row = {"task": task, "flips": kind, "share": share, "draws": n_draws}
            for name in found[0][0]:
                accuracy, recall = (
                    np.array([each[part][name] for each in found]) for part in range(2)
                )
                row[name] = {"accuracy": interval(accuracy), "recall": interval(recall)}
                if name != BASELINE:
                    alone = np.array([each[0][BASELINE] for each in found])
                    row[name]["gain"] = interval(accuracy - alone)
            rows.append(row)
            gains = {name: row[name]["gain"]["mean"] for name in found[0][0] if name != BASELINE}
            print(task, kind, share, row[BASELINE]["accuracy"]["mean"], gains, flush=True)
    if set(options.tasks) == set(N_DRAWS):
        write(__file__, {"metric": "accuracy and recall in percent", "rows": rows}, options)
        parts.close()


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument(
        "--tasks",
        nargs="+",
        default=list(N_DRAWS),
        choices=list(N_DRAWS),
        help="some tasks, whose results are kept for a run of all; that one writes the record",
    )
    main(parser.parse_args())
