"""Linear transfer on real tables: heart disease across hospitals, wine red and white.

For every ordered pair of domains, 10, 20 and 50 target rows with labels are drawn 20 times, and the
rest of the target is scored. Target only, source only and pooled stand beside linear transfer; all
share imputation and scaling fitted on the source (target only: on its own rows). Differences to
target only are paired; the intervals are Student's over the draws, which share test rows. Losses
are part of the table. Needs the shared data (heart_uci, wine).
"""

from __future__ import annotations

import warnings
from pathlib import Path

from benchmarks._measure import make_parser, one_thread, write

one_thread()

import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    PooledEstimator,
    TransferLogisticRegressionCV,
    TransferRidgeCV,
    WithSource,
)
from skltransfer.model_selection import mean_interval

DATA = ("heart_uci", "wine")

N_DRAWS, N_LABELS = 20, (10, 20, 50)
HEART_COLUMNS = [
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak"),
]


def tasks(data: Path):
    """Yield the name, source and target of each transfer, and whether labels are classes."""
    heart = pd.read_csv(data / "heart_uci" / "heart.csv")
    heart["chol"] = heart["chol"].replace(0, np.nan)
    sites = {
        name: (part[HEART_COLUMNS].to_numpy(float), (part["num"] > 0).to_numpy(int))
        for name, part in heart.groupby("site")
    }
    for source in sites:
        for target in sites:
            # Of the 123 patients in Switzerland 8 are healthy: ten labels hold one class.
            if source != target and target != "switzerland":
                yield f"heart: {source} > {target}", sites[source], sites[target], True
    wine = {}
    for colour in ("red", "white"):
        frame = pd.read_csv(data / "wine" / f"winequality_{colour}.csv")
        wine[colour] = frame.drop(columns="quality").to_numpy(), frame["quality"].to_numpy(float)
    yield "wine: red > white", wine["red"], wine["white"], False
    yield "wine: white > red", wine["white"], wine["red"], False


def strategies(X_source, y_source, is_classification: bool) -> dict:
    """Return estimators to be fitted on target rows."""

    def steps(model):
        return make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler(), model
        )

    if is_classification:
        plain = LogisticRegressionCV(
            Cs=np.logspace(-5, 2, 15), cv=5, scoring="neg_log_loss", solver="newton-cholesky",
            l1_ratios=(0,), use_legacy_attributes=False,
        )  # fmt: skip
        transfer = TransferLogisticRegressionCV()
    else:
        plain, transfer = RidgeCV(alphas=np.logspace(-2, 5, 15)), TransferRidgeCV()
    return {
        "target only": steps(plain),
        "source only": WithSource(steps(plain), X_source, y_source),
        "pooled": WithSource(steps(PooledEstimator(plain)), X_source, y_source),
        "linear transfer": WithSource(steps(transfer), X_source, y_source),
    }


def draw_rows(y, n_labels: int, is_classification: bool, rng):
    """Return rows with a label, at least five of each class, and rows to score on."""
    order = rng.permutation(len(y))
    if is_classification:
        first = np.concatenate([order[y[order] == label][:5] for label in np.unique(y)])
        order = np.concatenate([first, order[~np.isin(order, first)]])
    return order[:n_labels], order[n_labels:]


def main(options) -> None:
    """Score all strategies on all pairs."""
    n_draws = 2 if options.quick else N_DRAWS
    rows = []
    for name, source, (X, y), is_classification in tasks(options.data):
        for n_labels in N_LABELS[1:2] if options.quick else N_LABELS:
            scores = {}
            for number in range(n_draws):
                rng = np.random.default_rng([number, n_labels])
                train, test = draw_rows(y, n_labels, is_classification, rng)
                for strategy, model in strategies(*source, is_classification).items():
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # LogisticRegressionCV on tiny folds
                        model.fit(X[train], y[train])
                    metric = accuracy_score if is_classification else r2_score
                    scores.setdefault(strategy, []).append(metric(y[test], model.predict(X[test])))
            scores = {strategy: np.array(values) for strategy, values in scores.items()}
            row = {"task": name, "n_labels": n_labels}
            row["metric"] = "accuracy" if is_classification else "R^2"
            for strategy, values in scores.items():
                mean, low, high = mean_interval(values)
                row[strategy] = {"mean": mean, "low": low, "high": high}
                if strategy != "target only":
                    mean, low, high = mean_interval(values - scores["target only"])
                    row[strategy] |= {"gain": mean, "gain_low": low, "gain_high": high}
            rows.append(row)
    write(__file__, {"draws": n_draws, "rows": rows}, options)


if __name__ == "__main__":
    main(make_parser(__doc__, data=True).parse_args())
