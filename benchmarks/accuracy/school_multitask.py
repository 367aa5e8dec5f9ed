"""Multi-task learning on the School data: exam scores of 15362 pupils in 139 schools.

Ten splits 75/25 stratified by school. Every strategy that has a strength chooses it by the same
five inner folds, stratified by school, by the mean of their squared errors; "single-task ridge"
chooses one for all schools, and "own alpha" one for each by leave-one-out. Columns are scaled on
the training rows. RMSE and explained variance are over all test rows; differences are paired, and
the intervals are Student's over the splits, with and without Nadeau and Bengio's correction for
splits of one data set. "network" is one hidden layer for all schools, trained by 60 iterations of
L-BFGS, far from its optimum; its strength is the weight decay. Needs the shared data (school_mtl).
"""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

from benchmarks._measure import make_parser, one_thread, write

one_thread()

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import explained_variance_score, root_mean_squared_error
from sklearn.model_selection import GridSearchCV, StratifiedKFold, StratifiedShuffleSplit
from sklearn.preprocessing import StandardScaler

from skltransfer import MultiTaskRegressor
from skltransfer.model_selection import mean_interval

DATA = ("school_mtl",)
CLAIMS = [
    {
        "claim": "School data, RMSE of mean_regularized: difference, upper end",
        "beside": "single-task ridge",
        "value": ["rows", "mean_regularized", "rmse", "minus single-task ridge", "interval", 2],
        "at_most": 0,
        "unit": "RMSE",
    },
    {
        "claim": "School data, RMSE of trace_norm: difference, upper end",
        "beside": "single-task ridge",
        "value": ["rows", "trace_norm", "rmse", "minus single-task ridge", "interval", 2],
        "at_most": 0,
        "unit": "RMSE",
    },
    {
        "claim": "School data, RMSE of network: difference, upper end",
        "beside": "single-task ridge",
        "value": ["rows", "network", "rmse", "minus single-task ridge", "interval", 2],
        "at_most": 0,
        "unit": "RMSE",
    },
]

N_SPLITS, TEST_SIZE = 10, 0.25
ALPHAS = np.logspace(-1, 4, 11)
TRACE_ALPHAS = np.logspace(2, 4, 9)
DECAYS = np.logspace(-2, -1, 3)
BASELINE = "single-task ridge"


class TaskMean(RegressorMixin, BaseEstimator):
    """The mean of the task in the last column."""

    def fit(self, X, y):
        """Remember the means."""
        self.means_ = {task: y[X[:, -1] == task].mean() for task in np.unique(X[:, -1])}
        return self

    def predict(self, X):
        """Return the mean of each row's task."""
        return np.array([self.means_[task] for task in X[:, -1]])


class Pooled(RegressorMixin, BaseEstimator):
    """One ridge regression for all rows, which does not see the task."""

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def fit(self, X, y):
        """Fit one model."""
        self.model_ = Ridge(self.alpha).fit(X[:, :-1], y)
        return self

    def predict(self, X):
        """Predict by it."""
        return self.model_.predict(X[:, :-1])


class SingleTask(RegressorMixin, BaseEstimator):
    """A ridge regression for each task in the last column; ``alpha=None`` chooses one for each."""

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def fit(self, X, y):
        """Fit each task alone."""
        model = RidgeCV(ALPHAS) if self.alpha is None else Ridge(self.alpha)
        self.models_ = {}
        for task in np.unique(X[:, -1]):
            rows = X[:, -1] == task
            self.models_[task] = clone(model).fit(X[rows, :-1], y[rows])
        return self

    def predict(self, X):
        """Predict each row by its task's model."""
        predicted = np.empty(len(X))
        for task in np.unique(X[:, -1]):
            rows = X[:, -1] == task
            predicted[rows] = self.models_[task].predict(X[rows, :-1])
        return predicted


STRATEGIES = {
    "task mean": (TaskMean(), {}),
    "pooled ridge": (Pooled(), {"alpha": ALPHAS}),
    "pooled ridge, own intercepts": (
        MultiTaskRegressor(task_column=-1, alpha=1e12),
        {"shared_alpha": ALPHAS},
    ),
    BASELINE: (SingleTask(), {"alpha": ALPHAS}),
    "single-task ridge, own alpha": (SingleTask(alpha=None), {}),
    "mean_regularized": (MultiTaskRegressor(task_column=-1), {"alpha": ALPHAS}),
    "trace_norm": (MultiTaskRegressor("trace_norm", task_column=-1), {"alpha": TRACE_ALPHAS}),
    "network": (
        MultiTaskRegressor(
            "network", task_column=-1, optimizer="lbfgs", max_epochs=60, device="cpu"
        ),
        {"weight_decay": DECAYS},
    ),
}
# What differences are taken to.
OTHERS = (BASELINE, "pooled ridge", "pooled ridge, own intercepts")


def main(options) -> None:
    """Score the strategies on all splits."""
    if options.quick and options.only:
        raise SystemExit("--only keeps rows of all splits, which a quick run does not have.")
    n_splits = 2 if options.quick else N_SPLITS
    warnings.simplefilter("ignore", ConvergenceWarning)  # of the network, stopped early on purpose
    school = np.load(options.data / "school_mtl" / "school.npz")
    task, y = school["task"], school["y"].astype(float)
    features = school["X"][:, :-1].astype(float)  # the last column is constant
    splitter = StratifiedShuffleSplit(n_splits, test_size=TEST_SIZE, random_state=0)
    strategies = STRATEGIES
    if options.quick:  # the network alone takes minutes
        strategies = {name: made for name, made in STRATEGIES.items() if name != "network"}
    runs = {name: {"rmse": [], "explained_variance": [], "alpha": []} for name in strategies}
    seconds = dict.fromkeys(strategies, 0.0)
    chosen = strategies
    if options.only:
        chosen = {options.only: STRATEGIES[options.only]}
        committed = json.loads(Path(__file__).with_suffix(".json").read_text())["rows"]
        for name in runs.keys() - chosen.keys():
            row = committed[name]
            runs[name] = {
                metric: row[metric]["splits"] for metric in ("rmse", "explained_variance")
            }
            runs[name]["alpha"] = row["alpha"]
            seconds[name] = row["cpu_seconds_per_split"] * n_splits
    for number, (train, test) in enumerate(splitter.split(features, task)):
        X = np.column_stack([StandardScaler().fit(features[train]).transform(features), task])
        inner = StratifiedKFold(5, shuffle=True, random_state=number)
        folds = list(inner.split(train, task[train]))
        for name, (model, grid) in chosen.items():
            start = time.process_time()
            if grid:
                model = GridSearchCV(
                    model, grid, cv=folds, scoring="neg_mean_squared_error", error_score="raise"
                )
            model = clone(model).fit(X[train], y[train])
            predicted = model.predict(X[test])
            seconds[name] += time.process_time() - start
            print(number, name, getattr(model, "best_params_", ""), flush=True)
            runs[name]["rmse"].append(root_mean_squared_error(y[test], predicted))
            runs[name]["explained_variance"].append(explained_variance_score(y[test], predicted))
            if grid:
                runs[name]["alpha"].append(float(model.best_params_[next(iter(grid))]))
    rows = {}
    for name, run in runs.items():
        row = {"cpu_seconds_per_split": seconds[name] / n_splits, "alpha": run["alpha"]}
        for metric in ("rmse", "explained_variance"):
            values = np.array(run[metric])
            row[metric] = dict(zip(("mean", "low", "high"), mean_interval(values), strict=True))
            row[metric]["splits"] = values.tolist()
            for other in OTHERS:
                if name == other:
                    continue
                difference = values - np.array(runs[other][metric])
                ratio = TEST_SIZE / (1 - TEST_SIZE)
                row[metric][f"minus {other}"] = {
                    "interval": mean_interval(difference),
                    "corrected": mean_interval(difference, test_to_train=ratio),
                    "splits_better": int(
                        ((difference < 0) if metric == "rmse" else (difference > 0)).sum()
                    ),
                }
        rows[name] = row
    write(__file__, {"splits": n_splits, "rows": rows}, options)


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--only", choices=STRATEGIES, help="keep the committed rows of the others")
    main(parser.parse_args())
