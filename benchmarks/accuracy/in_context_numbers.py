"""``InContextTransferRegressor`` beside the mixture of strategies on real pairs of domains.

Of each pair, 10, 30 and 100 target samples with a label are drawn five times, and the rest of the
target is scored by the root of the mean squared error, in percent of the standard deviation of the
target's labels. Beside it stand no transfer, untuned and with its penalty chosen by
cross-validation, the source alone, both domains pooled and balanced, and ``TransferRegressor``, all
around the same scaled ridge regression, and the mean of the mixture and the in-context regressor.
Nothing of the latter is tuned, and its weights have seen no real table.

Differences are paired. A pair counts as the mean of its draws. Intervals redraw families of pairs,
and then pairs within them (2000 times). Families are wine, diabetes and schools; a control has
random labels, or the same domain twice. A simulation has six features and little noise, and a
source whose coefficients are at right angles to the target's: mean squared error over that of ridge
regression on the labelled target samples, 8 draws.

Needs the shared data, of which pairs with classes are passed over.
"""

from __future__ import annotations

import time
import warnings

from benchmarks._measure import in_columns, make_parser, one_thread, write

one_thread()

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.pipeline import make_pipeline

from benchmarks.accuracy._pairs_of_domains import N_LABELS, Pair, draw, pairs
from benchmarks.accuracy.choosing import pipeline, tuned
from benchmarks.accuracy.in_context import IN_CONTEXT, MEAN, MIXTURE, NO_TRANSFER, interval
from skltransfer import InContextTransferRegressor, PooledEstimator, TransferRegressor, WithSource

DATA = (
    "amazon_review_400",
    "heart_uci",
    "mnist_usps",
    "office_caltech_surf",
    "school_mtl",
    "wine",
)
N_DRAWS = 5
# fmt: off
CLAIMS = [
    {"claim": "Numbers, 10 labels: gain", "beside": "mixture",
     "value": ["differences", {"n_labels": 10, "to": "mixture"}, "mean"],
     "at_least": 0, "unit": "points"},
    {"claim": "Numbers, 10 labels: the same, lower end", "beside": "mixture",
     "value": ["differences", {"n_labels": 10, "to": "mixture"}, "low"],
     "at_least": 0, "unit": "points"},
    {"claim": "Numbers, 10 labels: worst pair", "beside": "no transfer",
     "value": ["differences", {"n_labels": 10, "to": "no transfer"}, "worst"],
     "at_least": -3, "unit": "points"},
    {"claim": "Numbers, 30 labels: gain", "beside": "mixture",
     "value": ["differences", {"n_labels": 30, "to": "mixture"}, "mean"],
     "at_least": 0, "unit": "points"},
    {"claim": "Numbers, 30 labels: the same, lower end", "beside": "mixture",
     "value": ["differences", {"n_labels": 30, "to": "mixture"}, "low"],
     "at_least": 0, "unit": "points"},
    {"claim": "Numbers, 30 labels: worst pair", "beside": "no transfer",
     "value": ["differences", {"n_labels": 30, "to": "no transfer"}, "worst"],
     "at_least": -2, "unit": "points"},
    {"claim": "Numbers, 100 labels: gain", "beside": "mixture",
     "value": ["differences", {"n_labels": 100, "to": "mixture"}, "mean"],
     "at_least": 0, "unit": "points"},
    {"claim": "Numbers, 100 labels: the same, lower end", "beside": "mixture",
     "value": ["differences", {"n_labels": 100, "to": "mixture"}, "low"],
     "at_least": 0, "unit": "points"},
    {"claim": "Numbers, 100 labels: worst pair", "beside": "no transfer",
     "value": ["differences", {"n_labels": 100, "to": "no transfer"}, "worst"],
     "at_least": -2, "unit": "points"},
]
# fmt: on


def methods(pair: Pair, data) -> dict:
    """Return all methods, to be fitted on target samples."""
    source = {"X_source": data.X_source, "y_source": data.y_source}
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    pooled, balanced = PooledEstimator(Ridge()), PooledEstimator(Ridge(), target_weight="balanced")
    return {
        NO_TRANSFER: pipeline(Ridge()),
        "tuned": tuned(pair, data.y),
        "source only": WithSource(pipeline(Ridge()), **source),
        "pooled": WithSource(pipeline(pooled), **source),
        "balanced": WithSource(pipeline(balanced), **source),
        MIXTURE: WithSource(TransferRegressor(pipeline(Ridge())), **source),
        IN_CONTEXT: WithSource(make_pipeline(impute, InContextTransferRegressor()), **source),
    }


def score_draw(pair: Pair, n_labels: int, number: int) -> dict[str, list[float]]:
    """Return the error in percent and the CPU seconds of each method."""
    data, predictions, seconds = draw(pair, n_labels, number), {}, {}
    for name, model in methods(pair, data).items():
        started = time.process_time()
        predictions[name] = model.fit(data.X, data.y).predict(data.X_test)
        seconds[name] = time.process_time() - started
    predictions[MEAN] = (predictions[MIXTURE] + predictions[IN_CONTEXT]) / 2
    seconds[MEAN] = seconds[MIXTURE] + seconds[IN_CONTEXT]
    deviation = pair.target[1].std()
    return {
        name: [100 * float(np.sqrt(np.mean((p - data.y_test) ** 2)) / deviation), seconds[name]]
        for name, p in predictions.items()
    }


def ratio_of_errors(n_labels: int, n_draws: int) -> float:
    """Return the mean ratio to no transfer where the source's function is unrelated."""
    ratios = []
    for seed in range(n_draws):
        rng = np.random.default_rng(seed)
        own, other = np.linalg.qr(rng.normal(size=(6, 2)))[0].T
        X, X_target = rng.normal(size=(200, 6)), rng.normal(size=(n_labels + 400, 6))
        y, y_target = (
            rows @ w + 0.3 * rng.normal(size=len(rows)) for rows, w in ((X, own), (X_target, other))
        )
        known, test = slice(n_labels), slice(n_labels, None)
        given = X_target[known], y_target[known]
        model = InContextTransferRegressor().fit(X, y, X_target=given[0], y_target=given[1])
        errors = [
            mean_squared_error(y_target[test], fitted.predict(X_target[test]))
            for fitted in (model, Ridge().fit(*given))
        ]
        ratios.append(errors[0] / errors[1])
    return float(np.mean(ratios))


def main(options) -> None:
    """Score all pairs whose labels are numbers."""
    rows = []
    for pair in pairs(options.data):
        if pair.is_classification:
            continue
        for n_labels in pair.n_labels[:1] if options.quick else pair.n_labels:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # columns without a number in few rows
                draws = [
                    score_draw(pair, n_labels, number)
                    for number in range(1 if options.quick else N_DRAWS)
                ]
            row = {"group": pair.group, "pair": pair.name, "n_labels": n_labels}
            for name in draws[0]:
                error, seconds = np.mean([each[name] for each in draws], axis=0).tolist()
                row[name] = {"error": error, "seconds": seconds}
            rows.append(row)
            print(row, flush=True)
    record = {"n_draws": N_DRAWS, "summary": [], "differences": [], "controls": []}
    names = [name for name, value in rows[0].items() if isinstance(value, dict)]
    for n_labels in N_LABELS:
        chosen = [row for row in rows if row["n_labels"] == n_labels and row["group"] != "control"]
        if not chosen:
            continue
        means = {name: round(np.mean([row[name]["error"] for row in chosen]), 2) for name in names}
        record["summary"].append({"n_labels": n_labels, "n_pairs": len(chosen), **means})
        groups = [row["group"] for row in chosen]
        for name in names:
            if name == IN_CONTEXT:
                continue
            gains = np.array([row[name]["error"] - row[IN_CONTEXT]["error"] for row in chosen])
            low, high = interval(gains, groups)
            record["differences"].append(
                {
                    "n_labels": n_labels,
                    "to": name,
                    "mean": round(float(gains.mean()), 2),
                    "low": round(low, 2),
                    "high": round(high, 2),
                    "worst": round(float(gains.min()), 2),
                    "better": int((gains > 0).sum()),
                    "of": len(gains),
                }
            )
    record["controls"] = [
        {"control": row["pair"], "n_labels": row["n_labels"]}
        | {
            name: round(row[NO_TRANSFER]["error"] - row[name]["error"], 2)
            for name in (MIXTURE, IN_CONTEXT)
        }
        for row in rows
        if row["group"] == "control"
    ]
    record["ratio at right angles"] = [
        {"n_labels": n_labels, "ratio": round(ratio_of_errors(n_labels, 8), 2)}
        for n_labels in N_LABELS
    ]
    write(__file__, record | in_columns(rows, 4), options)


if __name__ == "__main__":
    main(make_parser(__doc__, data=True).parse_args())
