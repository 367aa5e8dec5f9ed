"""Scorers without target labels: the setting that each chooses, and its accuracy on the target.

On each of 24 tasks stand thirteen candidates: source only, and four settings each of CORAL, TCA and
KMM. Every scorer sees two splits of the source samples, and target samples without labels; it
chooses among all candidates, and among the settings of each method. The chosen one is fitted to
all source samples and scored on further target samples. Its regret is what the best candidate in
hindsight has more. Beside the scorers stand the accuracy on held-out source samples, that on 20
labelled target samples (``target_scorer``), source only, and the mean of all candidates, which is a
choice by lot. Samples are drawn once per task; intervals are Student's over the twelve tasks of a
group. All scorers have their defaults. Losses are part of the table.

Needs the shared data (heart_uci, wine, office_caltech_surf, amazon_review_400); uses the last two.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from benchmarks._measure import in_columns, make_parser, one_thread, write

one_thread()

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer as skt
from benchmarks.accuracy.feature_transfer import linear_model, tasks
from benchmarks.accuracy.instance_transfer import Task, draw, first_of_each_group
from skltransfer.model_selection import mean_interval

DATA = ("heart_uci", "wine", "office_caltech_surf", "amazon_review_400")

GROUPS = ("Office-Caltech", "Amazon reviews")
N_LABELS = 20
N_SPLITS = 2


def candidates(task: Task, variance: float) -> dict:
    """Return unfitted two-domain estimators by method and setting.

    `variance` is the sum of the features' variances, by which the width of a kernel is measured.
    """
    model = linear_model(task)
    made = {("source only", ""): model}
    for value in (0.01, 0.1, 1.0, 10.0):
        made["CORAL", f"reg_covar={value:g}"] = make_pipeline(skt.CORAL(reg_covar=value), model)
    for value in (5, 10, 20, 40):
        made["TCA", f"n_components={value}"] = make_pipeline(
            skt.TCA(value), StandardScaler(), model
        )
    for width in (1, 5):
        for value in (3.0, 30.0):
            made["KMM", f"gamma={width} / variance, max_weight={value:g}"] = skt.KMMReweighter(
                model, gamma=width / variance, max_weight=value, tol=1e-3
            )
    return made


def scorers(labelled) -> dict:
    """Return what chooses, by name."""
    return {
        "source score": "accuracy",
        "importance-weighted": skt.importance_weighted_scorer(),
        "importance-weighted, log loss": skt.importance_weighted_scorer("neg_log_loss"),
        "deep embedded validation": skt.deep_embedded_validation_scorer(),
        "prediction entropy": skt.prediction_entropy_scorer(),
        "soft neighbourhood density": skt.soft_neighborhood_density_scorer(),
        "circular validation": skt.circular_validation_scorer(),
        f"{N_LABELS} target labels": skt.target_scorer("accuracy", *labelled),
    }


def choices(task: Task) -> dict:
    """Return the candidates' accuracies and scores on one task."""
    # Source only asks for no target, weights collapse, and eigenproblems have their gaps: the
    # scores show it.
    warnings.simplefilter("ignore", UserWarning)
    X, y, X_target, y_target = draw(task, 0)
    first = make_pipeline(StandardScaler(), PCA(task.n_components, random_state=0))
    Z, Z_target = first.fit_transform(X), first.transform(X_target)
    seen, new = slice(task.n_target), slice(task.n_target, None)
    labelled = Z_target[:N_LABELS], y_target[:N_LABELS]  # of every class, as they are drawn
    made = candidates(task, np.concatenate([Z, Z_target[seen]]).var(axis=0).sum())
    search = GridSearchCV(
        skt.WithTarget(None, Z_target[seen]),
        {"estimator": list(made.values())},
        scoring=scorers(labelled),
        cv=StratifiedShuffleSplit(N_SPLITS, test_size=0.3, random_state=0),
        refit=False,
        error_score="raise",
    ).fit(Z, y)
    accuracy = []
    for estimator in made.values():
        model = skt.WithTarget(estimator, Z_target[seen]).fit(Z, y)
        accuracy.append(100 * model.score(Z_target[new], y_target[new]))
    found = {name: np.asarray(search.cv_results_[f"mean_test_{name}"]) for name in search.scorer_}
    return {"candidates": list(made), "accuracy": np.array(accuracy), "scores": found}


def rows_of(task: Task, found: dict) -> list[dict]:
    """Return a row for each scorer: what it has chosen, and what that is worth."""
    methods = np.array([method for method, _ in found["candidates"]])
    accuracy = found["accuracy"]
    groups = {"all": np.full(len(methods), True)}
    groups |= {m: (methods == m) for m in dict.fromkeys(methods.tolist()) if m != "source only"}
    rows = []

    def add(name, chosen: dict, **further):
        row = {"group": task.group, "task": task.name, "chosen by": name} | further
        row["accuracy"] = chosen["all"]
        row["gain over source only"] = chosen["all"] - accuracy[0]
        row["regret"] = {m: accuracy[mask].max() - chosen[m] for m, mask in groups.items()}
        rows.append(row)

    for name, scores in found["scores"].items():
        best = {m: np.flatnonzero(mask)[scores[mask].argmax()] for m, mask in groups.items()}
        setting = ", ".join(filter(None, found["candidates"][best["all"]]))
        rank = spearmanr(scores, accuracy).statistic if np.ptp(scores) and np.ptp(accuracy) else 0.0
        chosen = {m: accuracy[index] for m, index in best.items()}
        add(name, chosen, choice=setting, rank_correlation=float(rank))
    add("source only", dict.fromkeys(groups, accuracy[0]))
    add("lot (mean of the candidates)", {m: accuracy[mask].mean() for m, mask in groups.items()})
    oracle = ", ".join(filter(None, found["candidates"][accuracy.argmax()]))
    add("hindsight", {m: accuracy[mask].max() for m, mask in groups.items()}, choice=oracle)
    return rows


def summary(rows: list[dict]) -> list[dict]:
    """Average the tasks of each group."""
    means = []
    for group in dict.fromkeys(row["group"] for row in rows):
        part = [row for row in rows if row["group"] == group]
        for name in dict.fromkeys(row["chosen by"] for row in part):
            own = [row for row in part if row["chosen by"] == name]
            gains = np.array([row["gain over source only"] for row in own])
            row = {"group": group, "chosen by": name, "tasks": len(own)}
            row["accuracy"] = float(np.mean([r["accuracy"] for r in own]))
            for column, values in {
                "gain over source only": gains,
                "regret": np.array([r["regret"]["all"] for r in own]),
            }.items():
                interval = mean_interval(values) if len(own) > 1 else (values[0], None, None)
                row[column] = dict(zip(("mean", "low", "high"), interval, strict=True))
            row["worst gain"] = float(gains.min())
            row["regret among settings"] = {
                m: float(np.mean([r["regret"][m] for r in own]))
                for m in own[0]["regret"]
                if m != "all"
            }
            ranks = [r["rank_correlation"] for r in own if "rank_correlation" in r]
            if ranks:
                row["mean rank correlation"] = float(np.mean(ranks))
            means.append(row)
    return means


def table(means: list[dict]) -> str:
    """Return the means of the groups as a markdown table."""
    groups = list(dict.fromkeys(row["group"] for row in means))
    lines = [
        "| chosen by | "
        + " | ".join(f"{g}: accuracy | regret | worst gain" for g in groups)
        + " |",
        "|---" * (3 * len(groups) + 1) + "|",
    ]
    for name in dict.fromkeys(row["chosen by"] for row in means):
        cells = []
        for row in means:
            if row["chosen by"] == name:
                numbers = row["accuracy"], row["regret"]["mean"]
                cells += [f"{n:.1f}" for n in numbers] + [f"{row['worst gain']:+.1f}"]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def task_table(rows: list[dict]) -> str:
    """Return the accuracy of every choice on every task as a markdown table."""
    names = list(dict.fromkeys(row["chosen by"] for row in rows))
    lines = ["| task | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for task in dict.fromkeys((row["group"], row["task"]) for row in rows):
        found = {r["chosen by"]: r["accuracy"] for r in rows if (r["group"], r["task"]) == task}
        lines.append("| " + " | ".join([task[1], *(f"{found[n]:.1f}" for n in names)]) + " |")
    return "\n".join(lines)


def main(options) -> None:
    """Let every scorer choose on every task."""
    plan = [task for task in tasks(Path(options.data)) if task.group in GROUPS]
    if options.quick:
        plan = first_of_each_group(plan)
    rows, accuracies = [], []
    for task, found in zip(plan, Parallel(options.jobs)(map(delayed(choices), plan)), strict=True):
        rows += rows_of(task, found)
        names = [", ".join(filter(None, candidate)) for candidate in found["candidates"]]
        accuracy = dict(zip(names, found["accuracy"].tolist(), strict=True))
        accuracies.append({"group": task.group, "task": task.name, "accuracy": accuracy})
    means = summary(rows)
    record = {
        "candidates": len(accuracies[0]["accuracy"]),
        "splits": N_SPLITS,
        "means": in_columns(means, 3),
        "tasks": in_columns(rows, 3),
        "accuracy of the candidates, %": in_columns(accuracies, 3),
    }
    write(__file__, record, options)
    print(task_table(rows), table(means), sep="\n\n")


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    main(parser.parse_args())
