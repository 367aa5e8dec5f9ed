"""Aligners on real tables: what each gains over a linear model of the source, and what it loses.

Every task is drawn 10 times: a sample of source rows; target rows to learn from, of which none or a
few have labels; and further target rows to score on. Source only and, where there are labels,
target only and pooled stand beside every method. All share imputation, scaling by the source, and a
linear model. Settings are the defaults, except for optimal transport's max_iter of 1000, and for
TCA and JDA: these have the settings of their papers and are scaled anew, because the scale of their
components is far from one. Gains are paired, and the 95 % intervals are Student's over the draws.
The rows called "mean" average the tasks of a group within each draw first. Losses are part of the
table.

Needs the shared data (heart_uci, wine, office_caltech_surf, amazon_review_400).
"""

from __future__ import annotations

import warnings
from pathlib import Path

from benchmarks._measure import in_columns, make_parser, one_thread, write

one_thread()

import numpy as np
from joblib import Parallel, delayed
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer as skt
from benchmarks.accuracy.instance_transfer import Task, draw, first_of_each_group, mean_of, summary
from benchmarks.accuracy.instance_transfer import tasks as tables

DATA = ("heart_uci", "wine", "office_caltech_surf", "amazon_review_400")

N_DRAWS = 10
# Of Sinkhorn's algorithm: on two pairs of reviews its default accuracy takes half a minute a fit.
MOST_ITERATIONS = 1000
# Settings of the papers of TCA and JDA; ``defaults`` compares them with the default ones.
PAPER = {"form": "dual", "regularization": 1.0, "unit_variance": False}


def tasks(data: Path):
    """Yield the tasks of all groups."""
    yield from tables(data)
    reviews = {}
    for name in ("books", "dvd", "electronics", "kitchen"):
        file = np.load(data / "amazon_review_400" / f"{name}.npz")
        reviews[name] = file["X"], file["y"]
    for source in reviews:
        for target in reviews:
            if source != target:
                pair = reviews[source], reviews[target]
                yield Task("Amazon reviews", f"{source} > {target}", *pair, 500, 250, 20, 100)


def linear_model(task: Task):
    """Return the model behind every aligner."""
    if not task.is_classification:
        return Ridge()
    # Reviews say little each: a stronger penalty than the default's suits source only, too.
    C = 0.01 if task.group == "Amazon reviews" else 1.0
    return LogisticRegression(C=C, max_iter=2000)


def aligners(is_classification: bool) -> dict:
    """Return the steps that use target rows alone, by name."""
    made = {
        "CORAL": [skt.CORAL()],
        "CORAL, means kept": [skt.CORAL(match_means=False)],
        "CORAL, Ledoit-Wolf": [skt.CORAL(shrinkage="ledoit_wolf", reg_covar=0.0)],
        "subspace alignment": [skt.SubspaceAlignment()],
        "geodesic flow": [skt.GeodesicFlowKernel()],
        "TCA": [skt.TCA(None, **PAPER), StandardScaler()],
        "optimal transport": [skt.OptimalTransportMapper(max_iter=MOST_ITERATIONS)],
    }
    if is_classification:
        made["JDA"] = [skt.JDA(None, **PAPER, normalize_rows=True), StandardScaler()]
    return made


def scores(task: Task, number: int) -> dict:
    """Return the score of each method in each regime, on one draw."""
    X, y, X_target, y_target = draw(task, number)
    train, test = slice(task.n_target), slice(task.n_target, None)
    metric = accuracy_score if task.is_classification else r2_score
    known = np.arange(task.n_target) < task.n_labels
    labels = np.where(known, y_target[train], np.nan)

    # What all share is fitted once, on the source.
    shared = [SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()]
    if task.n_components is not None:
        shared.append(PCA(task.n_components, random_state=0))
    first = make_pipeline(*shared)

    def adapted(*steps, use_y: bool) -> float:
        held = skt.WithSource(make_pipeline(*steps), Z, y, use_y=use_y)
        held.fit(Z_target[train], labels if use_y else None)
        return float(metric(y_target[test], held.predict(Z_target[test])))

    model, found = linear_model(task), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a column without values in the source
        Z, Z_target = first.fit_transform(X), first.transform(X_target)
        found["no label", "source only"] = adapted(model, use_y=False)
        for name, steps in aligners(task.is_classification).items():
            found["no label", name] = adapted(*steps, model, use_y=False)
        regime, pooled = "a few labels", skt.PooledEstimator(model)
        found[regime, "source only"] = found["no label", "source only"]
        alone = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), model
        )
        alone.fit(X_target[train][known], y_target[train][known])
        found[regime, "target only"] = float(metric(y_target[test], alone.predict(X_target[test])))
        found[regime, "pooled"] = adapted(pooled, use_y=True)
        found[regime, "augmented, pooled"] = adapted(skt.FeatureAugmenter(), pooled, use_y=True)
        for name, steps in aligners(task.is_classification).items():
            if "," in name:  # a variant
                continue
            found[regime, f"{name}, pooled"] = adapted(*steps, pooled, use_y=True)
    return found


def table(means: list[dict]) -> str:
    """Return the gains of the groups' means over source only as a markdown table."""
    groups = list(dict.fromkeys(row["group"] for row in means))
    cells: dict[tuple, dict] = {}
    for row in means:
        gain = row.get("gain over source only")
        text = f"{100 * row['mean']:.1f}"
        if gain is not None:
            ends = [f"{100 * gain[key]:+.1f}" for key in ("mean", "low", "high")]
            text = f"{text} ({ends[0]}, {ends[1]} to {ends[2]})"
        cells.setdefault((row["regime"], row["method"]), {})[row["group"]] = text
    lines = ["| regime | method | " + " | ".join(groups) + " |", "|---" * (len(groups) + 2) + "|"]
    for (regime, method), found in cells.items():
        lines.append(
            "| " + " | ".join([regime, method, *(found.get(group, "") for group in groups)]) + " |"
        )
    return "\n".join(lines)


def main(options) -> None:
    """Score all methods on all tasks."""
    n_draws = 2 if options.quick else options.draws
    plan = list(tasks(options.data))
    if options.quick:
        plan = first_of_each_group(plan)
    jobs = (delayed(scores)(task, n) for task in plan for n in range(n_draws))
    results = Parallel(options.jobs)(jobs)
    rows, groups = [], {}
    for place, task in enumerate(plan):
        draws = results[place * n_draws : (place + 1) * n_draws]
        rows += summary(task.group, task.name, draws)
        groups.setdefault(task.group, []).append(draws)
    means = []
    for group, parts in groups.items():
        means += summary(group, f"mean of {len(parts)}", mean_of(parts))
    tables = {"means": in_columns(means), "tasks": in_columns(rows)}
    write(__file__, {"draws": n_draws, **tables}, options)
    print(table(means))


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--draws", type=int, default=N_DRAWS)
    main(parser.parse_args())
