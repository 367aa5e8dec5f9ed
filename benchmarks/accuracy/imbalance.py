"""Networks for tables with 95 rows of one class to 5 of the other: what the options do.

Two real tables are made imbalanced. *breast cancer* (bundled with scikit-learn): 190 benign
tumours and 10 malignant ones. *heart* (shared data, four hospitals, ten features): 285 healthy
patients and 15 ill ones. The other rows are scored by balanced accuracy. Each of 10 draws gives
all settings the same rows. ``balanced_batches`` needs mini-batches, which are AdamW's, where the
default is L-BFGS on all rows: differences are therefore also taken to AdamW without options.
Intervals are Student's over the draws, which share test rows; differences are paired.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks._measure import make_parser, one_thread, write

one_thread()

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline

from skltransfer import FineTunedClassifier
from skltransfer.model_selection import mean_interval

DATA = ("heart_uci",)
CLAIMS = [
    {
        "claim": "breast cancer, 95 to 5: gain of both options, lower end",
        "beside": "no option",
        "value": ["rows", {"table": "breast cancer"}, "both", "minus no option", "low"],
        "at_least": 0,
        "unit": "points",
    },
    {
        "claim": "heart disease, 95 to 5: gain of both options, lower end",
        "beside": "no option",
        "value": ["rows", {"table": "heart"}, "both", "minus no option", "low"],
        "at_least": 0,
        "unit": "points",
    },
]

N_DRAWS = 10
HEART_COLUMNS = [
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak"),
]
SETTINGS = {
    "no option": {},
    "class_weight='balanced'": {"class_weight": "balanced"},
    "AdamW": {"optimizer": "adamw"},
    "AdamW, class_weight='balanced'": {"optimizer": "adamw", "class_weight": "balanced"},
    "balanced_batches=True": {"balanced_batches": True},
    "both": {"class_weight": "balanced", "balanced_batches": True},
}


def tables(data: Path):
    """Yield the name, rows, labels (1 is the rare class) and rows to train on of each class."""
    X, y = load_breast_cancer(return_X_y=True)
    yield "breast cancer", X, 1 - y, (190, 10)
    path = data / "heart_uci" / "heart.csv"
    if not path.is_file():
        print("heart: left out, its data are absent")
        return
    heart = pd.read_csv(path)
    heart["chol"] = heart["chol"].replace(0, np.nan)
    yield "heart", heart[HEART_COLUMNS].to_numpy(float), (heart["num"] > 0).to_numpy(int), (285, 15)


def draw_rows(y, counts, rng):
    """Return the rows to train on, and the others."""
    train = np.concatenate(
        [rng.choice(np.flatnonzero(y == label), n, replace=False) for label, n in enumerate(counts)]
    )
    return train, np.setdiff1d(np.arange(len(y)), train)


def interval(values) -> dict[str, float]:
    """Return mean and interval in percent."""
    mean, low, high = mean_interval(100 * np.asarray(values))
    return {"mean": round(mean, 2), "low": round(low, 2), "high": round(high, 2)}


def main(options) -> None:
    """Score every setting on every draw."""
    n_draws = 2 if options.quick else N_DRAWS
    rows = []
    for name, X, y, counts in tables(options.data):
        scores, seconds = {}, {}
        for number in range(n_draws):
            train, test = draw_rows(y, counts, np.random.default_rng(number))
            for setting, parameters in SETTINGS.items():
                model = make_pipeline(
                    SimpleImputer(strategy="median", keep_empty_features=True),
                    FineTunedClassifier(random_state=number, **parameters),
                )
                start = time.process_time()
                model.fit(X[train], y[train])
                seconds.setdefault(setting, []).append(time.process_time() - start)
                score = balanced_accuracy_score(y[test], model.predict(X[test]))
                scores.setdefault(setting, []).append(score)
        scores = {setting: np.array(values) for setting, values in scores.items()}
        row = {"table": name, "n_train": counts, "n_test": len(test)}
        row["n_test_rare"] = int(y[test].sum())
        for setting, values in scores.items():
            row[setting] = interval(values) | {"all": (100 * values).round(2).tolist()}
            for other in ("no option", "AdamW"):
                if setting != other:
                    row[setting][f"minus {other}"] = interval(values - scores[other])
            row[setting]["cpu_seconds"] = round(float(np.median(seconds[setting])), 2)
        rows.append(row)
    record = {"draws": n_draws, "metric": "balanced accuracy in percent", "rows": rows}
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__, data=True).parse_args())
