"""The mixture of strategies on 62 real pairs of domains and 6 controls.

Of each pair, 10, 30 and 100 target samples with a label are drawn five times, and the rest of the
target is scored: accuracy, or the root of the mean squared error in percent of the standard
deviation, with a minus. ``TransferClassifier`` and ``TransferRegressor`` around a scaled logistic
regression or ridge regression stand beside no transfer, which is the same pipeline on the labelled
samples alone, untuned and with its penalty chosen by cross-validation, the source alone, both
domains pooled, and the strategy of the menu that is best in hindsight: the one with the best mean
over the draws of a pair. Regret is the distance to it. A pair is hurt beyond chance if the loss is
more than twice its standard error over the draws. The record also holds the estimator's own scores,
their bias, and how often its intervals cover. A simulation draws a source whose labels mean
nothing, so that nothing can help.

Needs the shared data (amazon_review_400, heart_uci, mnist_usps, office_caltech_surf, school_mtl,
wine). A run that was stopped goes on where it was: finished draws lie in a file beside the record.
"""

from __future__ import annotations

import json
import time
import warnings

from benchmarks._measure import in_columns, make_parser, one_thread, output_folder, write

one_thread()

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.accuracy._pairs_of_domains import N_LABELS, draw, pairs
from skltransfer import TransferClassifier, TransferRegressor
from skltransfer.model_selection._mixture import class_probabilities, spread_folds

DATA = (
    "amazon_review_400",
    "heart_uci",
    "mnist_usps",
    "office_caltech_surf",
    "school_mtl",
    "wine",
)
# fmt: off
CLAIMS = [
    {"claim": "Pairs with classes, 10 labels: regret", "beside": "best strategy in hindsight",
     "value": ["summary", {"kind": "classification", "n_labels": 10}, "regret"],
     "at_most": 3.2, "unit": "points"},
    {"claim": "Pairs with classes, 30 labels: regret", "beside": "best strategy in hindsight",
     "value": ["summary", {"kind": "classification", "n_labels": 30}, "regret"],
     "at_most": 1.4, "unit": "points"},
    {"claim": "Pairs with classes, 100 labels: regret", "beside": "best strategy in hindsight",
     "value": ["summary", {"kind": "classification", "n_labels": 100}, "regret"],
     "at_most": 0.7, "unit": "points"},
    {"claim": "Pairs with classes, 10 labels: gain", "beside": "no transfer",
     "value": ["summary", {"kind": "classification", "n_labels": 10}, "gain"],
     "at_least": 9.5, "unit": "points"},
    {"claim": "Pairs with classes, 30 labels: gain", "beside": "no transfer",
     "value": ["summary", {"kind": "classification", "n_labels": 30}, "gain"],
     "at_least": 7.4, "unit": "points"},
    {"claim": "Pairs with classes, 100 labels: gain", "beside": "no transfer",
     "value": ["summary", {"kind": "classification", "n_labels": 100}, "gain"],
     "at_least": 2.5, "unit": "points"},
    {"claim": "Pairs with classes, 10 labels: hurt by more than 2", "beside": "no transfer",
     "value": ["summary", {"kind": "classification", "n_labels": 10}, "hurt > 2"],
     "at_most": 1, "unit": "pairs"},
    {"claim": "Pairs with classes, 30 labels: hurt by more than 2", "beside": "no transfer",
     "value": ["summary", {"kind": "classification", "n_labels": 30}, "hurt > 2"],
     "at_most": 1, "unit": "pairs"},
    {"claim": "Pairs with classes, 100 labels: hurt by more than 2", "beside": "no transfer",
     "value": ["summary", {"kind": "classification", "n_labels": 100}, "hurt > 2"],
     "at_most": 0, "unit": "pairs"},
    {"claim": "Pairs with classes, 10 labels: log loss worse by .01", "beside": "no transfer",
     "value": ["summary", {"kind": "classification", "n_labels": 10}, "log loss hurt"],
     "at_most": 3, "unit": "pairs"},
    {"claim": "Pairs with classes, 30 labels: log loss worse by .01", "beside": "no transfer",
     "value": ["summary", {"kind": "classification", "n_labels": 30}, "log loss hurt"],
     "at_most": 1, "unit": "pairs"},
    {"claim": "Pairs with classes, 100 labels: log loss worse by .01", "beside": "no transfer",
     "value": ["summary", {"kind": "classification", "n_labels": 100}, "log loss hurt"],
     "at_most": 1, "unit": "pairs"},
    {"claim": "Pairs with numbers, 10 labels: gain", "beside": "no transfer",
     "value": ["summary", {"kind": "regression", "n_labels": 10}, "gain"],
     "at_least": 24, "unit": "% of the deviation"},
    {"claim": "Pairs with numbers, 30 labels: gain", "beside": "no transfer",
     "value": ["summary", {"kind": "regression", "n_labels": 30}, "gain"],
     "at_least": 8, "unit": "% of the deviation"},
    {"claim": "Pairs with numbers, 100 labels: gain", "beside": "no transfer",
     "value": ["summary", {"kind": "regression", "n_labels": 100}, "gain"],
     "at_least": 2, "unit": "% of the deviation"},
    {"claim": "Pairs with numbers, 10 labels: worst pair", "beside": "no transfer",
     "value": ["summary", {"kind": "regression", "n_labels": 10}, "worst pair"],
     "at_least": -0.5, "unit": "% of the deviation"},
    {"claim": "Pairs with numbers, 30 labels: worst pair", "beside": "no transfer",
     "value": ["summary", {"kind": "regression", "n_labels": 30}, "worst pair"],
     "at_least": -0.5, "unit": "% of the deviation"},
    {"claim": "Pairs with numbers, 100 labels: worst pair", "beside": "no transfer",
     "value": ["summary", {"kind": "regression", "n_labels": 100}, "worst pair"],
     "at_least": -0.5, "unit": "% of the deviation"},
    {"claim": "Own score, 30 labels: bias, few classes", "beside": "accuracy",
     "value": ["summary", {"kind": "classification", "n_labels": 30}, "bias, few classes"],
     "within": [0, 2], "unit": "points"},
    {"claim": "Own gain, 30 labels: intervals that cover", "beside": "limit",
     "value": ["summary", {"kind": "classification", "n_labels": 30}, "gain covered"],
     "at_least": 0.93, "unit": "of the draws"},
    {"claim": "Own score, 100 labels: bias, few classes", "beside": "accuracy",
     "value": ["summary", {"kind": "classification", "n_labels": 100}, "bias, few classes"],
     "within": [0, 2], "unit": "points"},
    {"claim": "Own gain, 100 labels: intervals that cover", "beside": "limit",
     "value": ["summary", {"kind": "classification", "n_labels": 100}, "gain covered"],
     "at_least": 0.93, "unit": "of the draws"},
    {"claim": "Heart flipped labels, 10 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "heart flipped labels", "n_labels": 10}, "gain"],
     "at_least": -8, "unit": "points"},
    {"claim": "Heart flipped labels, 30 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "heart flipped labels", "n_labels": 30}, "gain"],
     "at_least": -1, "unit": "points"},
    {"claim": "Heart flipped labels, 100 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "heart flipped labels", "n_labels": 100}, "gain"],
     "at_least": -1, "unit": "points"},
    {"claim": "Amazon flipped labels, 10 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "amazon flipped labels", "n_labels": 10}, "gain"],
     "at_least": -8, "unit": "points"},
    {"claim": "Amazon flipped labels, 30 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "amazon flipped labels", "n_labels": 30}, "gain"],
     "at_least": -1, "unit": "points"},
    {"claim": "Amazon flipped labels, 100 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "amazon flipped labels", "n_labels": 100}, "gain"],
     "at_least": -1, "unit": "points"},
    {"claim": "Heart random labels, 10 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "heart random labels", "n_labels": 10}, "gain"],
     "at_least": -0.5, "unit": "points"},
    {"claim": "Heart random labels, 30 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "heart random labels", "n_labels": 30}, "gain"],
     "at_least": -0.5, "unit": "points"},
    {"claim": "Heart random labels, 100 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "heart random labels", "n_labels": 100}, "gain"],
     "at_least": -0.5, "unit": "points"},
    {"claim": "Wine random labels, 10 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "wine random labels", "n_labels": 10}, "gain"],
     "at_least": -0.5, "unit": "% of the deviation"},
    {"claim": "Wine random labels, 30 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "wine random labels", "n_labels": 30}, "gain"],
     "at_least": -0.5, "unit": "% of the deviation"},
    {"claim": "Wine random labels, 100 labels: gain", "beside": "no transfer",
     "value": ["controls", {"control": "wine random labels", "n_labels": 100}, "gain"],
     "at_least": -0.5, "unit": "% of the deviation"},
    {"claim": "Simulation, useless source: gain covered", "beside": "limit",
     "value": ["simulation", "gain covered"],
     "at_least": 0.93, "unit": "of the draws"},
    {"claim": "Simulation, useless source: verdicts that it helps", "beside": "limit",
     "value": ["simulation", "false help"],
     "at_most": 0.05, "unit": "of the draws"},
]
# fmt: on

N_DRAWS, N_SIMULATIONS = 5, 200
C_VALUES = 10.0 ** np.arange(-3, 3)
ALPHAS = 10.0 ** np.arange(-2, 5)
HURT, HURT_LOG_LOSS = 2.0, 0.01


def pipeline(model):
    """Return imputation and scaling before a model."""
    steps = SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    return make_pipeline(*steps, model)


def tuned(pair, y):
    """Return the same pipeline with its penalty chosen on the labelled samples."""
    if not pair.is_classification:
        return pipeline(RidgeCV(ALPHAS))
    fold = spread_folds(y, min(5, len(y)), np.random.default_rng(0))
    folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold)]
    model = pipeline(LogisticRegression(max_iter=1000))
    return GridSearchCV(model, {"logisticregression__C": C_VALUES}, cv=folds, error_score=0)


def score_draw(pair, n_labels: int, number: int) -> dict:
    """Fit the mixture and the tuned baseline, and score them and all strategies."""
    data = draw(pair, n_labels, number)
    if pair.is_classification:
        mixture = TransferClassifier(pipeline(LogisticRegression(C=pair.C, max_iter=1000)))
    else:
        mixture = TransferRegressor(pipeline(Ridge()))
    started = time.process_time()
    mixture.fit(data.X_source, data.y_source, X_target=data.X, y_target=data.y)
    seconds = time.process_time() - started
    spread = pair.target[1].std()

    def score(model):
        predicted = model.predict(data.X_test)
        if pair.is_classification:
            return 100 * float(np.mean(predicted == data.y_test))
        return -100 * float(np.sqrt(np.mean((predicted - data.y_test) ** 2)) / spread)

    def loss(model):
        if not pair.is_classification:
            return float(np.mean((model.predict(data.X_test) - data.y_test) ** 2) / spread**2)
        p = class_probabilities(model, data.X_test, mixture.classes_)
        return float(log_loss(data.y_test, p, labels=mixture.classes_))

    best_tuned = tuned(pair, data.y).fit(data.X, data.y)
    baseline = mixture.estimators_["no transfer"]
    return {
        "mixture": score(mixture),
        "tuned": score(best_tuned),
        "strategies": {name: score(model) for name, model in mixture.estimators_.items()},
        "weights": mixture.weights_,
        "losses": {
            "mixture": loss(mixture), "no transfer": loss(baseline), "tuned": loss(best_tuned)
        },
        "own": {
            name: list(getattr(mixture, f"{name}_")) for name in ("score", "baseline_score", "gain")
        },
        "seconds": seconds,
    }  # fmt: skip


def simulate(n_draws: int) -> dict:
    """Return what the intervals say where the source is noise: 30 labels, 5 columns."""
    results = []
    for number in range(n_draws):
        rng = np.random.default_rng(number)
        X_source, X = rng.normal(size=(100, 5)), rng.normal(size=(2030, 5))
        y = (X[:, 0] + rng.normal(size=len(X)) > 0).astype(int)
        y_source = rng.integers(2, size=100)
        model = TransferClassifier(pipeline(LogisticRegression()), random_state=number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a source that is worse than chance by chance
            model.fit(X_source, y_source, X_target=X[:30], y_target=y[:30])
        test = X[30:], y[30:]
        alone = model.estimators_["no transfer"].score(*test)
        results.append((*model.gain_, model.score(*test) - alone, model.comparison_.outcome))
    gain = float(np.mean([result[3] for result in results]))
    return {
        "draws": n_draws,
        "gain, points": round(100 * gain, 2),
        "gain covered": round(
            float(np.mean([low <= gain <= high for _, low, high, *_ in results])), 3
        ),
        "false help": round(float(np.mean([result[4] == "helps" for result in results])), 3),
    }


def main(options) -> None:
    """Score all pairs, draws that are known excepted."""
    path = output_folder(__file__, options) / "choosing.part.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {}
    if path.exists():
        for line in path.read_text().splitlines():
            pair, n_labels, number, result = json.loads(line)
            known[pair, n_labels, number] = result
    n_draws = 1 if options.quick else options.draws
    rows = []
    for pair in pairs(options.data):
        if options.groups and pair.group not in options.groups:
            continue
        for n_labels in pair.n_labels[:1] if options.quick else pair.n_labels:
            draws = []
            for number in range(n_draws):
                key = pair.name, n_labels, number
                if key not in known:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # columns without a number in few rows
                        known[key] = score_draw(pair, n_labels, number)
                    with path.open("a") as file:
                        file.write(json.dumps([*key, known[key]]) + "\n")
                draws.append(known[key])
            rows.append(summary_of_pair(pair, n_labels, draws))
            print(rows[-1], flush=True)
    record = {"n_draws": n_draws, "groups": options.groups or "all"}
    record |= {"summary": summaries(rows), "controls": controls(rows)}
    record["simulation"] = simulate(5 if options.quick else N_SIMULATIONS)
    table = [{name: value for name, value in row.items() if name != "own"} for row in rows]
    write(__file__, {**record, **in_columns(table, 3)}, options)
    path.unlink()


def summary_of_pair(pair, n_labels: int, draws: list[dict]) -> dict:
    """Return the means over the draws of one pair."""
    names = [n for n in draws[0]["strategies"] if all(n in d["strategies"] for d in draws)]
    scores = {name: np.array([d["strategies"][name] for d in draws]) for name in names}
    scores["mixture"] = np.array([d["mixture"] for d in draws])
    scores["tuned"] = np.array([d["tuned"] for d in draws])
    best = max(names, key=lambda name: scores[name].mean())
    gains = scores["mixture"] - scores["no transfer"]
    error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0
    loss = {name: np.array([d["losses"][name] for d in draws]) for name in draws[0]["losses"]}
    row = {
        "group": pair.group,
        "pair": pair.name,
        "kind": "classification" if pair.is_classification else "regression",
        "n_classes": len(np.unique(pair.target[1])) if pair.is_classification else 0,
        "n_labels": n_labels,
        "no transfer": float(scores["no transfer"].mean()),
        "tuned": float(scores["tuned"].mean()),
        "mixture": float(scores["mixture"].mean()),
        "source only": float(scores["source only"].mean()),
        "pooled": float(scores["pooled"].mean()),
        "best": float(scores[best].mean()),
        "best strategy": best,
        "gain": float(gains.mean()),
        "gain over tuned": float((scores["mixture"] - scores["tuned"]).mean()),
        "error": error,
        "regret": float(scores[best].mean() - scores["mixture"].mean()),
        "gain in loss": float((loss["no transfer"] - loss["mixture"]).mean()),
        "gain in loss over tuned": float((loss["tuned"] - loss["mixture"]).mean()),
        "seconds": float(np.mean([d["seconds"] for d in draws])),
    }
    if pair.is_classification:
        own = {key: 100 * np.array([d["own"][key] for d in draws]) for key in draws[0]["own"]}
        row["own"] = {
            "bias": own["score"][:, 0] - scores["mixture"],
            "covers gain": (own["gain"][:, 1] <= gains.mean())
            & (gains.mean() <= own["gain"][:, 2]),
            "covers score": (own["score"][:, 1] <= scores["mixture"].mean())
            & (scores["mixture"].mean() <= own["score"][:, 2]),
            "false help": (own["gain"][:, 1] > 0) & (gains.mean() <= 0),
        }
    return row


def summaries(rows: list[dict]) -> list[dict]:
    """Return means and counts over the pairs that are no controls."""
    found = []
    for kind in ("classification", "regression"):
        for n_labels in N_LABELS:
            chosen = [
                row
                for row in rows
                if (row["kind"], row["n_labels"]) == (kind, n_labels) and row["group"] != "control"
            ]
            if not chosen:
                continue
            column = {
                name: np.array([row[name] for row in chosen])
                for name in chosen[0]
                if isinstance(chosen[0][name], float)
            }
            gains, tuned_gains = column["gain"], column["gain over tuned"]
            record = {"kind": kind, "n_labels": n_labels, "n_pairs": len(chosen)}
            for name in (
                *("no transfer", "tuned", "mixture", "source only", "pooled", "best", "regret"),
                *("gain", "gain over tuned", "gain in loss", "gain in loss over tuned"),
            ):
                record[name] = round(float(column[name].mean()), 3)
            record |= {
                "worst pair": round(float(gains.min()), 2),
                "hurt > 0.5": int((gains < -0.5).sum()),
                "hurt > 2": int((gains < -HURT).sum()),
                "hurt beyond chance": int((gains < -0.5 - 2 * column["error"]).sum()),
                "worst pair beside tuned": round(float(tuned_gains.min()), 2),
                "hurt > 2 beside tuned": int((tuned_gains < -HURT).sum()),
                "log loss hurt": int((column["gain in loss"] < -HURT_LOG_LOSS).sum()),
                "log loss hurt beside tuned": int(
                    (column["gain in loss over tuned"] < -HURT_LOG_LOSS).sum()
                ),
            }
            if kind == "classification":
                record |= _own_scores(chosen)
            found.append(record)
    return found


def _own_scores(rows: list[dict]) -> dict:
    """Return what the estimators' own scores were worth."""
    few = [row["own"]["bias"] for row in rows if row["n_classes"] <= 3]
    every = {key: np.concatenate([row["own"][key] for row in rows]) for key in rows[0]["own"]}
    return {
        "bias, few classes": (round(float(np.concatenate(few).mean()), 2) if few else None),
        "bias, all classes": round(float(every["bias"].mean()), 2),
        "intervals": len(every["bias"]),
        "gain covered": round(float(every["covers gain"].mean()), 3),
        "score covered": round(float(every["covers score"].mean()), 3),
        "false help": round(float(every["false help"].mean()), 3),
    }


def controls(rows: list[dict]) -> list[dict]:
    """Return the gains on the controls."""
    return [
        {"control": row["pair"], "n_labels": row["n_labels"], "gain": round(row["gain"], 2)}
        for row in rows
        if row["group"] == "control"
    ]


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--groups", nargs="+", default=None, help="groups of pairs")
    parser.add_argument("--draws", type=int, default=N_DRAWS, help="draws of each pair")
    main(parser.parse_args())
