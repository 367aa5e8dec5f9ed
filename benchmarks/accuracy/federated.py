"""Four hospitals as four clients: federated models beside local, pooled and personalised ones.

Heart disease (shared data): patients of Cleveland, Hungary, Switzerland and Long Beach, ten
features, sick or healthy; .36 to .94 are sick. Columns are scaled by numbers that stand in this
script, and missing values are 0 after it, so that no hospital needs to show its means. In each of
20 draws a hospital trains on 20 of its patients, or on half of them (at least two of each class),
and is scored on the others. All models of a draw see the same patients. Intervals are Student's
over the draws, which share patients; differences are paired, and the mean of the four hospitals.

*local* is logistic regression on a hospital's own patients (C=1), *pooled* on those of all
together. *FedADMM*, *FedAvg* and *FedProx* are `TransferLogisticRegression` in a federation, the
first until its clients agree, the others for 10 rounds. *personalised* is
`TransferLogisticRegression` (defaults) on a hospital's own patients, with the model of FedADMM as
its source. Networks (one hidden layer of 16) start from one that is fitted in Cleveland. The excess
is the objective of the pooled fit, per sample, relative to its optimum. Ridge regression of the
highest pulse on the other nine features, on all patients, is compared with the pooled fit as well.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks._measure import make_parser, one_thread, write

one_thread()

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge

from skltransfer import FineTunedClassifier, TransferLogisticRegression, TransferRidge
from skltransfer.federated import client_app, server_app, simulate
from skltransfer.model_selection import mean_interval

NEEDS = ("flwr",)
DATA = ("heart_uci",)
CLAIMS = [
    {
        "claim": "Federated ridge regression: largest distance from the pooled coefficients",
        "beside": "limit",
        "value": ["ridge", "FedADMM"],
        "at_most": 1e-6,
        "unit": "",
    },
    {
        "claim": "Federated logistic regression: excess over the pooled optimum, worst draw",
        "beside": "limit",
        "value": ["excess", "FedADMM", "worst"],
        "at_most": 1e-3,
        "unit": "",
    },
    {
        "claim": "Four hospitals, 20 patients each: accuracy of the federated model, lower end",
        "beside": "local",
        "value": ["20 patients", "FedADMM minus local", "accuracy", "low"],
        "at_least": 0,
        "unit": "points",
    },
    {
        "claim": "Four hospitals, half of the patients: accuracy personalised, lower end",
        "beside": "FedADMM",
        "value": ["half of the patients", "personalised minus FedADMM", "accuracy", "low"],
        "at_least": 0,
        "unit": "points",
    },
    {
        "claim": "Four hospitals, half of the patients: accuracy personalised, lower end",
        "beside": "local",
        "value": ["half of the patients", "personalised minus local", "accuracy", "low"],
        "at_least": 0,
        "unit": "points",
    },
    {
        "claim": "Four hospitals, half of the patients: log loss personalised, upper end",
        "beside": "local",
        "value": ["half of the patients", "personalised minus local", "log loss", "high"],
        "at_most": 0,
        "unit": "nats",
    },
]

N_DRAWS = 20
# Centre and scale of each column, as a physician might write them down.
COLUMNS = {
    "age": (55, 10), "sex": (0.5, 0.5), "cp": (3, 1), "trestbps": (130, 20), "chol": (240, 60),
    "fbs": (0.2, 0.4), "restecg": (0.5, 0.8), "thalach": (140, 25), "exang": (0.5, 0.5),
    "oldpeak": (1, 1),
}  # fmt: skip
ROUNDS = {"FedAvg": 10, "FedProx": 10, "FedADMM": "auto"}


def hospitals(data: Path) -> dict:
    """Return scaled features and labels of each hospital."""
    heart = pd.read_csv(data / "heart_uci" / "heart.csv")
    heart["chol"] = heart["chol"].replace(0, np.nan)
    center, scale = np.array(list(COLUMNS.values()), dtype=float).T
    sites = {}
    for name, part in heart.groupby("site"):
        X = (part[list(COLUMNS)].to_numpy(float) - center) / scale
        sites[name] = np.nan_to_num(X), (part["num"] > 0).to_numpy(int)
    return sites


def draw(y, n_train, rng):
    """Return the patients to train on, at least two of each class, and the others."""
    order = rng.permutation(len(y))
    first = np.concatenate([order[y[order] == label][:2] for label in (0, 1)])
    order = np.concatenate([first, order[~np.isin(order, first)]])
    n = len(y) // 2 if n_train is None else n_train
    return order[:n], order[n:]


def federated(estimator, parts, name, **settings):
    """Return the model of clients with these parts."""
    client = client_app(estimator, lambda c: parts[c.node_config["partition-id"]])
    server = server_app(
        estimator,
        n_clients=len(parts),
        strategy=name.lower(),
        n_rounds=ROUNDS[name],
        **settings,
    )
    return simulate(client, server, len(parts))


def excess(model, pooled, X, y) -> float:
    """Return by how much a model's objective exceeds that of the pooled fit, relative to it."""

    def objective(fit):
        margin = np.where(y == 1, 1, -1) * (X @ fit.coef_[0] + fit.intercept_[0])
        return np.logaddexp(0, -margin).sum() + 0.5 * (fit.coef_**2).sum()

    return objective(model) / objective(pooled) - 1


def models_of(parts, with_networks: bool):
    """Return the models of a draw, each as a list for the hospitals, and their excess."""
    X, y = (np.concatenate(values) for values in zip(*parts, strict=True))
    pooled = LogisticRegression(tol=1e-10, max_iter=10_000).fit(X, y)
    models, gaps = {"pooled": [pooled] * len(parts)}, {}
    models["local"] = [LogisticRegression(max_iter=10_000).fit(*part) for part in parts]
    for name in ROUNDS:
        model = federated(TransferLogisticRegression(), parts, name, classes=[0, 1])
        models[name], gaps[name] = [model] * len(parts), excess(model, pooled, X, y)
    source = models["FedADMM"][0]
    models["personalised"] = [TransferLogisticRegression(source).fit(*part) for part in parts]
    if with_networks:
        start = FineTunedClassifier(hidden_layer_sizes=(16,)).fit(*parts[0])
        whole = FineTunedClassifier(hidden_layer_sizes=(16,)).fit(X, y)
        models["network in Cleveland"] = [start] * len(parts)
        models["network pooled"] = [whole] * len(parts)
        for name in ("FedAvg", "FedProx"):
            models[f"network {name}"] = [federated(start, parts, name)] * len(parts)
    return models, gaps


def score(model, X, y) -> dict[str, float]:
    """Return accuracy in percent, and the mean log loss."""
    p = np.clip(model.predict_proba(X)[:, 1], 1e-15, 1 - 1e-15)
    return {
        "accuracy": 100 * float(np.mean((p > 0.5) == y)),
        "log loss": float(-np.mean(np.log(np.where(y == 1, p, 1 - p)))),
    }


def interval(values, n_digits: int) -> dict[str, float]:
    """Return mean and interval."""
    mean, low, high = (float(value) for value in mean_interval(values))
    return {
        "mean": round(mean, n_digits), "low": round(low, n_digits), "high": round(high, n_digits)
    }  # fmt: skip


def ridge(sites) -> dict[str, float]:
    """Return the distances of federated coefficients from those of all patients together."""
    pulse = list(COLUMNS).index("thalach")
    parts = [(np.delete(X, pulse, axis=1), X[:, pulse]) for X, _ in sites.values()]
    X, y = (np.concatenate(values) for values in zip(*parts, strict=True))
    pooled = Ridge().fit(X, y)
    found = {}
    for name in ROUNDS:
        model = federated(TransferRidge(), parts, name)
        moved = np.append(model.coef_ - pooled.coef_, model.intercept_ - pooled.intercept_)
        found[name] = float(np.abs(moved).max())
    return found


def main(options) -> None:
    """Score all models on all draws."""
    sites, every_gap = hospitals(options.data), {name: [] for name in ROUNDS}
    record = {"draws": 2 if options.quick else N_DRAWS, "ridge": ridge(sites)}
    for title, n_train in {"20 patients": 20, "half of the patients": None}.items():
        scores = {}
        for number in range(record["draws"]):
            rng = np.random.default_rng([number, n_train or 0])
            cuts = [draw(y, n_train, rng) for _, y in sites.values()]
            parts = [
                (X[train], y[train])
                for (X, y), (train, _) in zip(sites.values(), cuts, strict=True)
            ]
            models, gaps = models_of(parts, n_train is None)
            for name, gap in gaps.items():
                every_gap[name].append(gap)
            for name, fits in models.items():
                for site, fit, (_, test) in zip(sites, fits, cuts, strict=True):
                    X, y = sites[site]
                    for metric, value in score(fit, X[test], y[test]).items():
                        scores.setdefault((name, metric), {}).setdefault(site, []).append(value)
        record[title] = summary(scores, list(sites))
        print(title, record[title], flush=True)
    record["excess"] = {
        name: {"mean": float(np.mean(gaps)), "worst": float(np.max(np.abs(gaps)))}
        for name, gaps in every_gap.items()
    }
    write(__file__, record, options)


def summary(scores: dict, sites: list[str]) -> dict:
    """Return the scores of each model by hospital, and paired differences of their means."""
    of = {key: np.array([values[site] for site in sites]) for key, values in scores.items()}
    digits, found = {"accuracy": 2, "log loss": 4}, {}
    for (name, metric), values in of.items():
        row = found.setdefault(name, {}).setdefault(metric, {})
        row["mean"] = round(float(values.mean()), digits[metric])
        row |= {
            site: round(float(v), digits[metric])
            for site, v in zip(sites, values.mean(axis=1), strict=True)
        }
    pairs = [("FedADMM", "local"), ("FedADMM", "pooled"), ("FedADMM", "FedAvg")]
    pairs += [("FedADMM", "FedProx"), ("personalised", "local"), ("personalised", "FedADMM")]
    pairs += [("network FedProx", other) for other in
              ("network FedAvg", "network in Cleveland", "network pooled")]  # fmt: skip
    for one, other in pairs:
        if (one, "accuracy") in of:
            found[f"{one} minus {other}"] = {
                metric: interval((of[one, metric] - of[other, metric]).mean(axis=0), n)
                for metric, n in digits.items()
            }
    return found


if __name__ == "__main__":
    main(make_parser(__doc__, data=True).parse_args())
