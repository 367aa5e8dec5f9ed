"""Linear transfer by its defaults, on reviews, patients, wines and schools.

For every pair of domains, samples of the target with labels are drawn several times, and the rest
of the target is scored. The default estimators and their CV forms stand beside the source alone,
the target alone (the same CV around a source of zeros), and ``alpha=1`` with the intercept tied to
it, which was the default before. All share imputation and scaling fitted on the source (target
only: on its own rows). Differences to the source are paired; the intervals are Student's over the
draws, or over the means of the pairs in the summary, and the draws share test rows. Losses are part
of the table. Needs the shared data (amazon_review_400, heart_uci, school_mtl, wine).
"""

from __future__ import annotations

import warnings
from pathlib import Path

from benchmarks._measure import in_columns, make_parser, one_thread, write

one_thread()

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    TransferLogisticRegression,
    TransferLogisticRegressionCV,
    TransferRidge,
    TransferRidgeCV,
)
from skltransfer.model_selection import mean_interval

DATA = ("amazon_review_400", "heart_uci", "school_mtl", "wine")

CLAIMS = [
    {
        "claim": "Linear transfer, default, reviews, 50 labels: gain of accuracy",
        "beside": "source only",
        "value": ["summary", {"group": "reviews", "n_labels": 50}, "default", "gain"],
        "at_least": 0,
        "unit": "points",
    },
    {
        "claim": "Linear transfer, CV, reviews, 50 labels: gain of accuracy",
        "beside": "source only",
        "value": ["summary", {"group": "reviews", "n_labels": 50}, "CV", "gain"],
        "at_least": 0,
        "unit": "points",
    },
    {
        "claim": "Linear transfer, default, patients, 10 labels: gain of accuracy",
        "beside": "source only",
        "value": ["summary", {"group": "patients", "n_labels": 10}, "default", "gain"],
        "at_least": 0,
        "unit": "points",
    },
    {
        "claim": "Linear transfer, CV, patients, 10 labels: gain of accuracy",
        "beside": "source only",
        "value": ["summary", {"group": "patients", "n_labels": 10}, "CV", "gain"],
        "at_least": 0,
        "unit": "points",
    },
]

N_DRAWS = {"reviews": 2, "patients": 10, "wines": 10, "schools": 5}
N_LABELS = {
    "reviews": (50,),
    "patients": (10, 20, 50),
    "wines": (10, 20, 50, 500),
    "schools": (5, 10, 20, 50),
}
N_SCHOOLS = 5  # the largest
HEART_COLUMNS = [
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak"),
]


def tasks(data: Path):
    """Yield the group, name, source and target of each transfer."""
    names = ("books", "dvd", "electronics", "kitchen")
    reviews = {name: np.load(data / "amazon_review_400" / f"{name}.npz") for name in names}
    reviews = {name: (file["X"], file["y"]) for name, file in reviews.items()}
    heart = pd.read_csv(data / "heart_uci" / "heart.csv")
    heart["chol"] = heart["chol"].replace(0, np.nan)
    sites = {
        name: (part[HEART_COLUMNS].to_numpy(float), (part["num"] > 0).to_numpy(int))
        for name, part in heart.groupby("site")
    }
    wines = {}
    for colour in ("red", "white"):
        frame = pd.read_csv(data / "wine" / f"winequality_{colour}.csv")
        wines[colour] = frame.drop(columns="quality").to_numpy(), frame["quality"].to_numpy(float)
    for group, domains in {"wines": wines, "patients": sites, "reviews": reviews}.items():
        for source in domains:
            for target in domains:
                # Of the 123 patients in Switzerland 8 are healthy: ten labels hold one class.
                if source != target and target != "switzerland":
                    yield group, f"{source} > {target}", domains[source], domains[target]
    school = np.load(data / "school_mtl" / "school.npz")
    X, y, number = school["X"], school["y"].astype(float), school["task"]
    for task in np.argsort(-np.bincount(number))[:N_SCHOOLS]:
        own = number == task
        yield "schools", f"others > {task}", (X[~own], y[~own]), (X[own], y[own])


def draw_rows(y, n_labels: int, is_classification: bool, rng):
    """Return rows with a label, at least two of each class, and rows to score on."""
    order = rng.permutation(len(y))
    if is_classification:
        first = np.concatenate([order[y[order] == label][:2] for label in np.unique(y)])
        order = np.concatenate([first, order[~np.isin(order, first)]])
    return order[:n_labels], order[n_labels:]


def scaling():
    """Return imputation and scaling."""
    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )


def fitted_models(source, is_classification: bool, X, y) -> dict:
    """Return models fitted to the labelled samples, near a model of the source."""
    if is_classification:
        plain, search = TransferLogisticRegression, TransferLogisticRegressionCV
    else:
        plain, search = TransferRidge, TransferRidgeCV
    models = {
        "alpha=1": plain(source, alpha=1.0, penalize_intercept=True),
        "default": plain(source),
        "CV": search(source),
    }
    return {"source only": source} | {name: m.fit(X, y) for name, m in models.items()}


def main(options) -> None:
    """Score all strategies on all pairs."""
    rows, carried_models = [], {}
    for group, name, source, (X, y) in tasks(options.data):
        if group not in options.groups:
            continue
        is_classification = y.dtype.kind != "f"
        key = group, name.partition(" > ")[0] if group != "schools" else name
        if key not in carried_models:
            steps = scaling().fit(source[0])
            base = LogisticRegression(max_iter=2000) if is_classification else Ridge()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a hospital without any value of a column
                carried_models[key] = steps, base.fit(steps.transform(source[0]), source[1])
        steps, carried = carried_models[key]
        for n_labels in N_LABELS[group][:1] if options.quick else N_LABELS[group]:
            if n_labels > 0.6 * len(y):
                continue
            scores = {}
            for number in range(2 if options.quick else N_DRAWS[group]):
                rng = np.random.default_rng([number, n_labels])
                train, test = draw_rows(y, n_labels, is_classification, rng)
                args = steps.transform(X[train]), y[train]
                models = fitted_models(carried, is_classification, *args)
                for strategy, model in models.items():
                    value = model.score(steps.transform(X[test]), y[test])
                    scores.setdefault(strategy, []).append(value)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # columns without a number in so few rows
                    alone = scaling().fit(X[train])
                    nothing = np.zeros(X.shape[1])
                    search = TransferLogisticRegressionCV if is_classification else TransferRidgeCV
                    model = search(nothing).fit(alone.transform(X[train]), y[train])
                    value = model.score(alone.transform(X[test]), y[test])
                scores.setdefault("target only", []).append(value)
            scores = {strategy: np.array(values) for strategy, values in scores.items()}
            row = {"group": group, "task": name, "n_labels": n_labels}
            for strategy, values in scores.items():
                row[strategy] = {"mean": float(values.mean())}
                if strategy != "source only":
                    mean, low, high = mean_interval(values - scores["source only"])
                    row[strategy] |= {"gain": mean, "gain_low": low, "gain_high": high}
            rows.append(row)
            print(row, flush=True)
    record = {"groups": options.groups, "summary": summary(rows)}
    write(__file__, {**record, **in_columns(rows, 4)}, options)


def summary(rows: list[dict]) -> list[dict]:
    """Return the gains over the source in percent points, over the pairs of each group."""
    found = []
    for group, n_labels in dict.fromkeys((row["group"], row["n_labels"]) for row in rows):
        chosen = [row for row in rows if (row["group"], row["n_labels"]) == (group, n_labels)]
        record = {"group": group, "n_labels": n_labels, "n_pairs": len(chosen)}
        record["metric"] = "R^2" if group in ("wines", "schools") else "accuracy"
        for strategy in ("target only", "alpha=1", "default", "CV"):
            gains = np.array([100 * row[strategy]["gain"] for row in chosen])
            mean, low, high = mean_interval(gains) if len(gains) > 1 else (gains[0],) * 3
            record[strategy] = {
                "gain": round(float(mean), 2), "low": round(float(low), 2),
                "high": round(float(high), 2), "worst pair": round(float(gains.min()), 2),
                "pairs below": int((gains < 0).sum()),
            }  # fmt: skip
        found.append(record)
    return found


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--groups", nargs="+", choices=N_LABELS, default=list(N_LABELS))
    main(parser.parse_args())
