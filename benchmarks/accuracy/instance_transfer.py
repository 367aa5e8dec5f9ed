"""Instance-based transfer on real tables: what each method gains, and what it loses.

Every task is drawn 20 times: a sample of source rows; target rows to learn from, of which none or a
few have labels; and further target rows to score on. Source only and, where there are labels,
target only and pooled stand beside every method; all share imputation, scaling and a linear model.
Gains over source only and over pooled are paired, and the 95 % intervals are Student's over the
draws. The rows called "mean" average the tasks of a group within each draw first. Settings are
the defaults, except KMM's tol of 1e-4. Losses are part of the table.

Needs the shared data (heart_uci, wine, office_caltech_surf) but for breast cancer.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from benchmarks._measure import in_columns, make_parser, one_thread, write

one_thread()

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import zscore
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer as skt
from benchmarks.accuracy.linear_transfer import HEART_COLUMNS
from skltransfer.datasets import load_biased_breast_cancer
from skltransfer.model_selection import mean_interval

DATA = ("heart_uci", "wine", "office_caltech_surf")

N_DRAWS = 20
N_BOOSTS = 10


@dataclass
class Task:
    """A pair of domains, and how it is drawn."""

    group: str
    name: str
    source: tuple  # rows and labels
    target: tuple
    n_source: int
    n_target: int  # target rows to learn from
    n_labels: int  # of these with a label, in the regime with labels
    n_components: int | None = None  # of PCA, fitted on the source
    is_classification: bool = True


def tasks(data: Path):
    """Yield the tasks of all groups but breast cancer, whose sample is drawn each time."""
    heart = pd.read_csv(data / "heart_uci" / "heart.csv")
    heart["chol"] = heart["chol"].replace(0, np.nan)
    sites = {
        name: (part[HEART_COLUMNS].to_numpy(float), (part["num"] > 0).to_numpy(int))
        for name, part in heart.groupby("site")
    }
    for source in sites:
        for target in sites:
            if source != target:
                size = len(sites[target][1]) // 2
                name = f"{source} > {target}"
                yield Task("heart", name, sites[source], sites[target], 10**6, size, 20)
    wine = {}
    for colour in ("red", "white"):
        frame = pd.read_csv(data / "wine" / f"winequality_{colour}.csv")
        wine[colour] = frame.drop(columns="quality").to_numpy(), frame["quality"].to_numpy(float)
    for source, target in (("red", "white"), ("white", "red")):
        pair, name = (wine[source], wine[target]), f"{source} > {target}"
        classes = [(X, (y >= 6).astype(int)) for X, y in pair]
        yield Task("wine, good or not", name, *classes, 1000, 500, 20)
        yield Task("wine, quality", name, *pair, 1000, 500, 20, is_classification=False)
    surf = {}
    for name in ("amazon", "caltech", "dslr", "webcam"):
        file = np.load(data / "office_caltech_surf" / f"{name}.npz")
        X = file["X"].astype(float)
        surf[name] = zscore(X / X.sum(axis=1, keepdims=True)), file["y"]
    for source in surf:
        for target in surf:
            if source != target:
                name, half = f"{source} > {target}", len(surf[target][1]) // 2
                size = min(half, 300)
                yield Task("Office-Caltech", name, surf[source], surf[target], 300, size, 30, 50)


def draw(task: Task, number: int):
    """Return source rows and labels, target rows and labels, and the mask of known labels."""
    rng = np.random.default_rng([number, task.n_target])
    X, y = task.source
    chosen = _in_all_classes(y, task.n_source, task.is_classification, rng)
    X_target, y_target = task.target
    order = _labelled_first(y_target, task.n_labels, task.is_classification, rng)
    return X[chosen], y[chosen], X_target[order], y_target[order]


def _in_all_classes(y, n_rows: int, is_classification: bool, rng) -> np.ndarray:
    if n_rows >= len(y):
        return np.arange(len(y))
    return _labelled_first(y, n_rows, is_classification, rng)[:n_rows]


def _labelled_first(y, n_labels: int, is_classification: bool, rng) -> np.ndarray:
    """Return an order that starts with rows of every class, at most as often as they come."""
    order = rng.permutation(len(y))
    if not is_classification:
        return order
    classes = np.unique(y)
    each = max(1, n_labels // (2 * len(classes)))
    first = np.concatenate([order[y[order] == label][:each] for label in classes])
    return np.concatenate([first, order[~np.isin(order, first)]])


def methods(is_classification: bool) -> dict:
    """Return, for each method, what makes it of the model."""
    made = {
        "source only": lambda model: model,
        "KMM": lambda model: skt.KMMReweighter(model, tol=1e-4),
        "KLIEP": skt.KLIEPReweighter,
        "uLSIF": skt.ULSIFReweighter,
        "RuLSIF": lambda model: skt.ULSIFReweighter(model, alpha=0.1),
        "discriminative": skt.DiscriminativeReweighter,
        "nearest neighbours": skt.NearestNeighborsReweighter,
        "Gaussian": skt.GaussianReweighter,
        "kernel density": skt.KernelDensityReweighter,
        "selected rows": skt.SourceSelector,
    }
    if is_classification:
        made["label shift"] = skt.LabelShiftReweighter
        made["label shift, BBSE"] = lambda model: skt.LabelShiftReweighter(model, method="bbse")
    return made


def boosters(is_classification: bool) -> dict:
    """Return what needs target labels, and the baselines with them."""
    made = {"pooled": skt.PooledEstimator}
    if is_classification:
        made["TrAdaBoost"] = lambda model: skt.TrAdaBoostClassifier(model, n_estimators=N_BOOSTS)
    else:
        made["TrAdaBoost"] = lambda model: skt.TrAdaBoostRegressor(model, n_estimators=N_BOOSTS)
        made["two-stage TrAdaBoost"] = lambda model: skt.TwoStageTrAdaBoostRegressor(
            model, n_estimators=N_BOOSTS, n_steps=5, cv=3
        )
    return made


def scores(task: Task, number: int) -> dict:
    """Return the score of each method in each regime, on one draw."""
    X, y, X_target, y_target = draw(task, number)
    train, test = slice(task.n_target), slice(task.n_target, None)
    model = LogisticRegression(max_iter=2000) if task.is_classification else Ridge()
    metric = accuracy_score if task.is_classification else r2_score
    known = np.arange(task.n_target) < task.n_labels
    labels = np.where(known, y_target[train], np.nan)

    def pipeline(last):
        steps = [SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()]
        if task.n_components is not None:
            steps.append(PCA(task.n_components, random_state=0))
        return make_pipeline(*steps, last)

    def score(estimator, rows, y_rows) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # collapsed weights and gaps: the scores show them
            try:
                estimator.fit(rows, y_rows)
            except ValueError as error:
                if "resembles the target" not in str(error):
                    raise
                return np.nan
        return float(metric(y_target[test], estimator.predict(X_target[test])))

    found = {}
    for name, make in methods(task.is_classification).items():
        held = skt.WithSource(pipeline(make(model)), X, y, use_y=False)
        found["no label", name] = score(held, X_target[train], None)
    regime = "a few labels"
    found[regime, "source only"] = found["no label", "source only"]
    alone = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), model
    )
    found[regime, "target only"] = score(alone, X_target[train][known], y_target[train][known])
    with_labels = boosters(task.is_classification) | methods(task.is_classification)
    for name, make in with_labels.items():
        if name != "source only":
            held = skt.WithSource(pipeline(make(model)), X, y)
            found[regime, name] = score(held, X_target[train], labels)
    return found


def breast_cancer(number: int) -> Task:
    """Return the task whose source is drawn with a bias."""
    data = load_biased_breast_cancer(random_state=number)
    source, target = (data.X_source, data.y_source), (data.X_target, data.y_target)
    name = "small tumours > all"
    return Task("breast cancer, biased sample", name, source, target, 10**6, 110, 10)


def summary(group: str, name: str, draws: list[dict]) -> list[dict]:
    """Return a row for each regime and method: mean, and paired gains with intervals."""
    rows = []
    for regime in ("no label", "a few labels"):
        parts = {key[1]: np.array([d[key] for d in draws]) for key in draws[0] if key[0] == regime}
        for method, values in parts.items():
            row = {"group": group, "task": name, "regime": regime, "method": method}
            row |= dict(zip(("mean", "low", "high"), mean_interval(values), strict=True))
            row["failed_draws"] = int(np.isnan(values).sum())
            for baseline in ("source only", "pooled", "target only"):
                if baseline in parts and method != baseline:
                    interval = mean_interval(values - parts[baseline])
                    row[f"gain over {baseline}"] = dict(
                        zip(("mean", "low", "high"), interval, strict=True)
                    )
            rows.append(row)
    return rows


def mean_of(draws: list[list[dict]]) -> list[dict]:
    """Average the tasks of a group within each draw."""
    return [
        {key: float(np.nanmean([task[number][key] for task in draws])) for key in draws[0][number]}
        for number in range(len(draws[0]))
    ]


def first_of_each_group(plan: list[Task]) -> list[Task]:
    """Return one task of each group, for a quick run."""
    return list({task.group: task for task in reversed(plan)}.values())


def main(options) -> None:
    """Score all methods on all tasks."""
    n_draws = 2 if options.quick else options.draws
    plan = list(tasks(options.data))
    if options.quick:
        plan = first_of_each_group(plan)
    jobs = [[delayed(scores)(task, n) for n in range(n_draws)] for task in plan]
    plan.append(breast_cancer(0))
    jobs.append([delayed(scores)(breast_cancer(n), n) for n in range(n_draws)])
    results = Parallel(options.jobs)(job for part in jobs for job in part)
    draws = [results[i * n_draws : (i + 1) * n_draws] for i in range(len(plan))]
    rows, groups = [], {}
    for task, part in zip(plan, draws, strict=True):
        rows += summary(task.group, task.name, part)
        groups.setdefault(task.group, []).append(part)
    means = []
    for group, parts in groups.items():
        means += summary(group, f"mean of {len(parts)}", mean_of(parts))
    tables = {"means": in_columns(means), "tasks": in_columns(rows)}
    write(__file__, {"draws": n_draws, **tables}, options)


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--draws", type=int, default=N_DRAWS)
    main(parser.parse_args())
