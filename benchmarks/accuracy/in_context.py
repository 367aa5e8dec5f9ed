"""``InContextTransferClassifier`` beside the mixture of strategies on real pairs of domains.

Of each pair, 10, 30 and 100 target samples with a label are drawn five times, and the rest of the
target is scored: accuracy, log loss and calibration error (10 bins of equal width of the
probability of the predicted class). Beside it stand no transfer, untuned and with its penalty
chosen by cross-validation, the source alone, both domains pooled and balanced, and
``TransferClassifier``, all around the same scaled logistic regression. Nothing of the in-context
classifier is tuned, and its weights have seen no real table. It also joins the mixture as a tenth
member, and is averaged with it.

Differences are paired. A pair counts as the mean of its draws. Intervals redraw families of pairs,
and then pairs within them (2000 times). The families "digits by parity", "diabetes" and "school"
had no part in any choice: they were looked at with the weights that are shipped, and with those of
one later candidate that was not taken.

Needs the shared data (amazon_review_400, heart_uci, mnist_usps, office_caltech_surf, school_mtl,
wine). The results of all other methods are kept in a file beside the record, so that a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import replace

from benchmarks._measure import in_columns, make_parser, one_thread, output_folder, write

one_thread()

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline

from benchmarks.accuracy._pairs_of_domains import N_LABELS, Pair, draw, pairs
from benchmarks.accuracy.choosing import pipeline, tuned
from skltransfer import InContextTransferClassifier, PooledEstimator, TransferClassifier, WithSource
from skltransfer.model_selection import TransferTask, mixture_strategies
from skltransfer.model_selection._mixture import class_probabilities

DATA = (
    "amazon_review_400",
    "heart_uci",
    "mnist_usps",
    "office_caltech_surf",
    "school_mtl",
    "wine",
)
CLAIMS = [
    {
        "claim": "Two classes, 10 labels: gain in log loss",
        "beside": "mixture",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 10, "to": "mixture", "measure": "log loss"},
            "mean",
        ],
        "at_least": 0.02,
        "unit": "nat",
    },
    {
        "claim": "Two classes, 10 labels: the same, lower end",
        "beside": "mixture",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 10, "to": "mixture", "measure": "log loss"},
            "low",
        ],
        "at_least": 0,
        "unit": "nat",
    },
    {
        "claim": "Two classes, 10 labels: gain in accuracy",
        "beside": "mixture",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 10, "to": "mixture", "measure": "accuracy"},
            "mean",
        ],
        "at_least": -0.3,
        "unit": "points",
    },
    {
        "claim": "Two classes, 10 labels: gain in calibration",
        "beside": "mixture",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 10, "to": "mixture", "measure": "calibration"},
            "mean",
        ],
        "at_least": 0,
        "unit": "",
    },
    {
        "claim": "Two classes, 10 labels: worst pair",
        "beside": "no transfer",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 10, "to": "no transfer", "measure": "accuracy"},
            "worst",
        ],
        "at_least": -3,
        "unit": "points",
    },
    {
        "claim": "Heart random labels, 10 labels: gain",
        "beside": "no transfer",
        "value": [
            "controls",
            {"control": "heart random labels", "n_labels": 10},
            "in context, accuracy",
        ],
        "at_least": -2,
        "unit": "points",
    },
    {
        "claim": "Two classes, 30 labels: gain in log loss",
        "beside": "mixture",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 30, "to": "mixture", "measure": "log loss"},
            "mean",
        ],
        "at_least": 0.015,
        "unit": "nat",
    },
    {
        "claim": "Two classes, 30 labels: the same, lower end",
        "beside": "mixture",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 30, "to": "mixture", "measure": "log loss"},
            "low",
        ],
        "at_least": 0,
        "unit": "nat",
    },
    {
        "claim": "Two classes, 30 labels: gain in accuracy",
        "beside": "mixture",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 30, "to": "mixture", "measure": "accuracy"},
            "mean",
        ],
        "at_least": -0.3,
        "unit": "points",
    },
    {
        "claim": "Two classes, 30 labels: gain in calibration",
        "beside": "mixture",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 30, "to": "mixture", "measure": "calibration"},
            "mean",
        ],
        "at_least": 0,
        "unit": "",
    },
    {
        "claim": "Two classes, 30 labels: worst pair",
        "beside": "no transfer",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 30, "to": "no transfer", "measure": "accuracy"},
            "worst",
        ],
        "at_least": -2,
        "unit": "points",
    },
    {
        "claim": "Heart random labels, 30 labels: gain",
        "beside": "no transfer",
        "value": [
            "controls",
            {"control": "heart random labels", "n_labels": 30},
            "in context, accuracy",
        ],
        "at_least": -1,
        "unit": "points",
    },
    {
        "claim": "Two classes, 100 labels: gain in log loss",
        "beside": "mixture",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 100, "to": "mixture", "measure": "log loss"},
            "mean",
        ],
        "at_least": 0,
        "unit": "nat",
    },
    {
        "claim": "Two classes, 100 labels: gain in accuracy",
        "beside": "mixture",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 100, "to": "mixture", "measure": "accuracy"},
            "mean",
        ],
        "at_least": -0.3,
        "unit": "points",
    },
    {
        "claim": "Two classes, 100 labels: gain in calibration",
        "beside": "mixture",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 100, "to": "mixture", "measure": "calibration"},
            "mean",
        ],
        "at_least": 0,
        "unit": "",
    },
    {
        "claim": "Two classes, 100 labels: worst pair",
        "beside": "no transfer",
        "value": [
            "differences",
            {"kind": "two classes", "n_labels": 100, "to": "no transfer", "measure": "accuracy"},
            "worst",
        ],
        "at_least": -2,
        "unit": "points",
    },
    {
        "claim": "Heart random labels, 100 labels: gain",
        "beside": "no transfer",
        "value": [
            "controls",
            {"control": "heart random labels", "n_labels": 100},
            "in context, accuracy",
        ],
        "at_least": -1,
        "unit": "points",
    },
]
N_DRAWS, N_REDRAWS = 5, 2000
IN_CONTEXT, MIXTURE, NO_TRANSFER = "in context", "mixture", "no transfer"
# The in-context classifier as a tenth member of the mixture, and beside it with equal shares.
MEMBER, MEAN = "mixture of ten", "mean of both"
KEPT_ASIDE = ("digits by parity", "diabetes by median", "school by median")


def methods(pair: Pair, data) -> dict:
    """Return all methods but the in-context classifier, to be fitted on target samples."""

    def model():
        return pipeline(LogisticRegression(C=pair.C, max_iter=1000))

    source = {"X_source": data.X_source, "y_source": data.y_source}
    return {
        NO_TRANSFER: model(),
        "tuned": tuned(pair, data.y),
        "source only": WithSource(model(), **source),
        "pooled": WithSource(pipeline(PooledEstimator(model()[-1])), **source),
        "balanced": WithSource(
            pipeline(PooledEstimator(model()[-1], target_weight="balanced")), **source
        ),
        MIXTURE: WithSource(TransferClassifier(model()), **source),
    }


def in_context(weights) -> Pipeline:
    """Return the in-context classifier behind imputation."""
    impute = SimpleImputer(strategy="median", keep_empty_features=True)
    return make_pipeline(impute, InContextTransferClassifier(weights=weights))


def with_member(pair: Pair, data, weights) -> WithSource:
    """Return the mixture with the in-context classifier as a tenth member."""
    model = pipeline(LogisticRegression(C=pair.C, max_iter=1000))
    names = [strategy.name for strategy in mixture_strategies(TransferTask(model))]
    mixture = TransferClassifier(model, strategies=[*names, in_context(weights)])
    return WithSource(mixture, X_source=data.X_source, y_source=data.y_source)


def scores(p, data, classes) -> list[float]:
    """Return accuracy in percent, log loss and calibration error of probabilities."""
    predicted, confidence = classes[p.argmax(axis=1)], p.max(axis=1)
    right = predicted == data.y_test
    bins = np.minimum((10 * confidence).astype(int), 9)
    error = sum(abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in range(10)) / len(
        right
    )
    return [
        100 * float(right.mean()), float(log_loss(data.y_test, p, labels=classes)), float(error)
    ]  # fmt: skip


def score_draw(pair: Pair, n_labels: int, number: int, known: dict, weights) -> tuple[dict, dict]:
    """Fit and score what is not known yet, and what the in-context classifier has a part in.

    Returns
    -------
    scores : dict of str to list of float
        Accuracy, log loss, calibration error and CPU seconds of each method.
    known : dict
        Of the methods that do not depend on the weights; with the mixture's probabilities.
    """
    data = draw(pair, n_labels, number)
    classes = np.unique(np.concatenate([data.y_source, data.y]))

    def fitted(model):
        started = time.process_time()
        p = class_probabilities(model.fit(data.X, data.y), data.X_test, classes)
        return p, [*scores(p, data, classes), time.process_time() - started]

    if not known:
        for name, model in methods(pair, data).items():
            p, known[name] = fitted(model)
        known["probabilities"] = np.round(p, 6).tolist()  # those of the mixture, which is the last
    found = {name: own for name, own in known.items() if name != "probabilities"}
    of_mixture = np.array(known["probabilities"])
    source = {"X_source": data.X_source, "y_source": data.y_source}
    p, found[IN_CONTEXT] = fitted(WithSource(in_context(weights), **source))
    _, found[MEMBER] = fitted(with_member(pair, data, weights))
    seconds = found[IN_CONTEXT][-1] + found[MIXTURE][-1]
    found[MEAN] = [*scores((p + of_mixture) / 2, data, classes), seconds]
    return found, known


def all_pairs(data, *, kept_aside: bool):
    """Yield pairs with classes, controls last; those kept aside have classes made of numbers."""
    for pair in pairs(data):
        if pair.is_classification:
            if pair.group != "digits":
                yield pair
                continue
            yield pair
            if kept_aside:
                yield relabelled(pair, "digits by parity", lambda y, cut: y % 2)
        elif kept_aside and pair.group in ("diabetes", "school"):
            yield relabelled(pair, f"{pair.group} by median", lambda y, cut: (y > cut).astype(int))


def relabelled(pair: Pair, group: str, label) -> Pair:
    """Return a pair with two classes made of its labels; the cut is the source's median."""
    cut = np.median(pair.source[1])
    domains = [(X, label(y, cut)) for X, y in (pair.source, pair.target)]
    return replace(
        pair, group=group, name=f"{pair.name} ({group})", source=domains[0], target=domains[1]
    )


def main(options) -> None:
    """Score all pairs."""
    path = output_folder(__file__, options) / "in_context.part.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {}
    if path.exists():
        for line in path.read_text().splitlines():
            pair, n_labels, number, result = json.loads(line)
            found[pair, n_labels, number] = result
    rows = []
    for pair in all_pairs(options.data, kept_aside=options.kept_aside):
        if options.groups and pair.group not in options.groups:
            continue
        n_classes = len(np.unique(pair.target[1]))
        for n_labels in pair.n_labels[:1] if options.quick else pair.n_labels:
            draws = []
            for number in range(1 if options.quick else options.draws):
                key = pair.name, n_labels, number
                is_new, known = key not in found, found.get(key, {})
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # columns without a number in few rows
                    scored, known = score_draw(pair, n_labels, number, known, options.weights)
                draws.append(scored)
                if is_new:
                    with path.open("a") as file:
                        file.write(json.dumps([*key, known]) + "\n")
            row = {"group": pair.group, "pair": pair.name, "n_classes": n_classes}
            row["n_labels"] = n_labels
            for name in draws[0]:
                values = np.mean([each[name] for each in draws], axis=0)
                row[name] = dict(
                    zip(("accuracy", "log loss", "calibration", "seconds"), values, strict=True)
                )
            rows.append(row)
            if options.verbose:
                print(
                    pair.name,
                    n_labels,
                    *(
                        f"{k} {v['accuracy']:.1f} {v['log loss']:.3f};"
                        for k, v in row.items()
                        if isinstance(v, dict)
                    ),
                    flush=True,
                )
    record = {"n_draws": options.draws, "groups": options.groups or "all"}
    record |= {"summary": summaries(rows), "differences": differences(rows)}
    record["controls"] = controls(rows)
    for part in ("summary", "differences", "controls"):
        for line in record[part]:
            print(line, flush=True)
    if options.record:
        write(__file__, record | in_columns(rows, 4), options)


def kinds(rows: list[dict]) -> dict[str, list[dict]]:
    """Return the rows of pairs with two classes, with more, and of those kept aside."""
    rows = [row for row in rows if row["group"] != "control"]
    known = [row for row in rows if row["group"] not in KEPT_ASIDE]
    return {
        "two classes": [row for row in known if row["n_classes"] == 2],
        "more classes": [row for row in known if row["n_classes"] > 2],
        "two classes, kept aside": [row for row in rows if row["group"] in KEPT_ASIDE],
    }


def summaries(rows: list[dict]) -> list[dict]:
    """Return the means over pairs."""
    found = []
    for kind, some in kinds(rows).items():
        for n_labels in N_LABELS:
            chosen = [row for row in some if row["n_labels"] == n_labels]
            if not chosen:
                continue
            record = {"kind": kind, "n_labels": n_labels, "n_pairs": len(chosen)}
            for name in [key for key, value in chosen[0].items() if isinstance(value, dict)]:
                record[name] = {
                    measure: round(float(np.mean([row[name][measure] for row in chosen])), 4)
                    for measure in chosen[0][name]
                }
            found.append(record)
    return found


def differences(rows: list[dict]) -> list[dict]:
    """Return paired differences of the in-context classifier to the others, better is above 0."""
    found = []
    for kind, some in kinds(rows).items():
        for n_labels in N_LABELS:
            chosen = [row for row in some if row["n_labels"] == n_labels]
            if not chosen:
                continue
            groups = [row["group"] for row in chosen]
            for other in (MIXTURE, NO_TRANSFER, "tuned", MEMBER, MEAN):
                for measure, sign in (("accuracy", 1), ("log loss", -1), ("calibration", -1)):
                    values = np.array(
                        [sign * (row[IN_CONTEXT][measure] - row[other][measure]) for row in chosen]
                    )
                    low, high = interval(values, groups)
                    found.append(
                        {
                            "kind": kind,
                            "n_labels": n_labels,
                            "to": other,
                            "measure": measure,
                            "mean": round(float(values.mean()), 4),
                            "low": round(low, 4),
                            "high": round(high, 4),
                            "worst": round(float(values.min()), 4),
                            "better": int((values > 0).sum()),
                            "of": len(values),
                        }
                    )
    return found


def interval(values, groups) -> tuple[float, float]:
    """Return the 95 % interval of a mean over pairs, families and then pairs redrawn."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(np.array(groups) == group) for group in dict.fromkeys(groups)]
    means = []
    for _ in range(N_REDRAWS):
        families = rng.integers(len(members), size=len(members))
        drawn = [rng.choice(members[family], len(members[family])) for family in families]
        means.append(values[np.concatenate(drawn)].mean())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def controls(rows: list[dict]) -> list[dict]:
    """Return what is gained over no transfer on the controls, in points and in log loss."""
    return [
        {
            "control": row["pair"],
            "n_labels": row["n_labels"],
            **{
                f"{name}, {measure}": round(
                    sign * (row[name][measure] - row[NO_TRANSFER][measure]), 3
                )
                for name in (MIXTURE, IN_CONTEXT)
                for measure, sign in (("accuracy", 1), ("log loss", -1))
            },
        }
        for row in rows
        if row["group"] == "control"
    ]


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--groups", nargs="+", default=None, help="groups of pairs")
    parser.add_argument("--draws", type=int, default=N_DRAWS, help="draws of each pair")
    parser.add_argument("--weights", default="default", help="weights of the network")
    parser.add_argument(
        "--kept-aside", action="store_true", help="look at the families kept aside too"
    )
    parser.add_argument("--verbose", action="store_true", help="print each pair")
    parser.add_argument("--no-record", dest="record", action="store_false", help="print only")
    main(parser.parse_args())
