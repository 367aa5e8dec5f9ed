"""Default settings of KMM, TCA, JDA and linear maps, old and new, beside no adaptation.

Tasks, draws and models are those of ``feature_transfer``: samples of source rows, target rows
without labels to learn from, and further target rows to score on. The model stands directly behind
the method, as `skltransfer compare` and the README place it. Beside the methods stand source only
and, from 20 or 30 labelled target rows, target only. "Old" are the settings of the literature,
which were the defaults, and those that `skltransfer compare` once used in their place. Gains are
paired, in points (accuracy) or in hundredths of R²; the 95 % intervals are Student's over the
draws of the groups' means. Losses are part of the table.

Needs the shared data (heart_uci, wine, office_caltech_surf, amazon_review_400).
"""

from __future__ import annotations

import warnings

from benchmarks._measure import in_columns, make_parser, one_thread, write

one_thread()

import numpy as np
from joblib import Parallel, delayed
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer as skt
from benchmarks.accuracy.feature_transfer import linear_model, tasks
from benchmarks.accuracy.instance_transfer import Task, draw, first_of_each_group
from skltransfer.model_selection import mean_interval

DATA = ("heart_uci", "wine", "office_caltech_surf", "amazon_review_400")
CLAIMS = [
    {
        "claim": "mean of four groups, defaults of TCA",
        "beside": "literature's settings",
        "value": ["new over old", {"method": "TCA", "group": "all classes"}, "mean"],
        "at_least": 0,
        "unit": "points",
    },
    {
        "claim": "mean of four groups, defaults of JDA",
        "beside": "literature's settings",
        "value": ["new over old", {"method": "JDA", "group": "all classes"}, "mean"],
        "at_least": 0,
        "unit": "points",
    },
    {
        "claim": "mean of four groups, defaults of KMM",
        "beside": "literature's settings",
        "value": ["new over old", {"method": "KMM", "group": "all classes"}, "mean"],
        "at_least": 0,
        "unit": "points",
    },
]

N_DRAWS = 5
OLD = {
    "TCA": "TCA, literature",
    "JDA": "JDA, literature",
    "KMM": "KMM, literature",
    "optimal transport, linear, means kept": "optimal transport, linear",
    "CORAL, means kept": "CORAL",
}


def methods(task: Task, model) -> dict:
    """Return what is fitted on both domains, by name."""
    literature = {
        "n_components": None,
        "form": "dual",
        "regularization": 1.0,
        "unit_variance": False,
    }
    compared = {
        "n_components": 10,
        "kernel": "rbf",
        "regularization": 1.0,
        "unit_variance": False,
    }
    made = {
        "KMM, literature": [skt.KMMReweighter(model, max_weight=1000.0, tol=1e-4)],
        "KMM": [skt.KMMReweighter(model, tol=1e-4)],
        "TCA, literature": [skt.TCA(**literature), model],
        "TCA, once in compare": [skt.TCA(**compared), model],
        "TCA": [skt.TCA(), model],
        "CORAL": [skt.CORAL(), model],
        "CORAL, means kept": [skt.CORAL(match_means=False), model],
        "optimal transport, linear": [skt.OptimalTransportMapper("linear"), model],
        "optimal transport, linear, means kept": [
            skt.OptimalTransportMapper("linear", match_means=False),
            model,
        ],
    }
    if task.is_classification:
        made["JDA, literature"] = [skt.JDA(**literature, normalize_rows=True), model]
        made["JDA, once in compare"] = [skt.JDA(**compared, estimator=model), model]
        made["JDA"] = [skt.JDA(), model]
    return made


def scores(task: Task, number: int) -> dict:
    """Return the score of each method on one draw, in points."""
    X, y, X_target, y_target = draw(task, number)
    train, test = slice(task.n_target), slice(task.n_target, None)
    metric = accuracy_score if task.is_classification else r2_score
    shared = [SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()]
    if task.n_components is not None:
        shared.append(PCA(task.n_components, random_state=0))
    first, model = make_pipeline(*shared), linear_model(task)
    found = {}

    def score(fitted, rows) -> float:
        return 100 * float(metric(y_target[test], fitted.predict(rows[test])))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the scores show what the warnings tell
        Z, Z_target = first.fit_transform(X), first.transform(X_target)
        found["source only"] = score(model.fit(Z, y), Z_target)
        few = slice(task.n_labels)
        alone = make_pipeline(*shared[:2], model).fit(X_target[few], y_target[few])
        found["target only"] = score(alone, X_target)
        for name, steps in methods(task, model).items():
            adapted = skt.WithTarget(make_pipeline(*steps), X_target=Z_target[train])
            found[name] = score(adapted.fit(Z, y), Z_target)
    return found


def rows_of(groups: dict[str, list[dict]]) -> tuple[list[dict], list[dict]]:
    """Return the table of gains over source only, and the table of new over old."""
    gains, news = [], []
    for group, draws in groups.items():
        parts = {name: np.array([d[name] for d in draws]) for name in draws[0]}
        for name, values in parts.items():
            row = {"group": group, "method": name, "score": float(values.mean())}
            interval = mean_interval(values - parts["source only"])
            gains.append(row | {"gain": dict(zip(("mean", "low", "high"), interval, strict=True))})
        for new, old in OLD.items():
            if new in parts:
                interval = mean_interval(parts[new] - parts[old])
                row = {"group": group, "method": new, "beside": old}
                news.append(row | dict(zip(("mean", "low", "high"), interval, strict=True)))
    return gains, news


def table(gains: list[dict]) -> str:
    """Return the gains over source only as a markdown table."""
    groups = list(dict.fromkeys(row["group"] for row in gains))
    cells: dict[str, dict] = {}
    for row in gains:
        gain = row["gain"]
        text = f"{gain['mean']:+.1f} [{gain['low']:+.1f}, {gain['high']:+.1f}]"
        if row["method"] == "source only":
            text = f"{row['score']:.1f}"
        cells.setdefault(row["method"], {})[row["group"]] = text
    lines = ["| method | " + " | ".join(groups) + " |", "|---" * (len(groups) + 1) + "|"]
    for name, found in cells.items():
        lines.append(f"| {name} | " + " | ".join(found.get(group, "") for group in groups) + " |")
    return "\n".join(lines)


def main(options) -> None:
    """Score old and new settings on all tasks."""
    n_draws = 2 if options.quick else options.draws
    plan = list(tasks(options.data))
    if options.quick:
        plan = first_of_each_group(plan)
    jobs = (delayed(scores)(task, n) for task in plan for n in range(n_draws))
    results = Parallel(options.jobs)(jobs)
    parts: dict[str, list] = {}
    for place, task in enumerate(plan):
        parts.setdefault(task.group, []).append(results[place * n_draws : (place + 1) * n_draws])
    groups = {group: averaged(each) for group, each in parts.items()}
    classes = [draws for draws in groups.values() if "JDA" in draws[0]]
    gains, news = rows_of(groups | {"all classes": averaged(classes)})
    record = {"draws": n_draws, "gains": in_columns(gains, 2), "new over old": news}
    write(__file__, record, options)
    print(table(gains))


def averaged(parts: list[list[dict]]) -> list[dict]:
    """Average tasks, or groups, within each draw."""
    return [
        {name: float(np.mean([part[n][name] for part in parts])) for name in parts[0][0]}
        for n in range(len(parts[0]))
    ]


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--draws", type=int, default=N_DRAWS)
    main(parser.parse_args())
