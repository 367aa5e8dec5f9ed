"""TrAdaBoost: what it costs beyond the fits of its base, and against adapt's.

Gaussian shift (source N(0, I), target scale 0.8 and mean 0.5 in half of the coordinates), d = 10,
labels by a noisy linear rule, n rows in both domains together (half each) or in each of them, all
labelled; 10 rounds of decision stumps for classes, of trees of depth 3 for numbers. "base fits" are
those trees alone, by plain calls of fit with the rows stacked once, and with the weights and seeds
of our rounds: they are the same trees. One thread, process CPU time, median of rounds in which the
contenders take turns. adapt judges classes by probabilities and has another beta: its weights
differ, its cost is compared only.
"""

from __future__ import annotations

import os
import warnings

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from adapt.instance_based import TrAdaBoost, TrAdaBoostR2
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skltransfer import TrAdaBoostClassifier, TrAdaBoostRegressor

NEEDS = ("adapt",)
CLAIMS = [
    {
        "claim": "TrAdaBoostClassifier, 500 rows",
        "beside": "its base fits alone",
        "value": ["rows", {"kind": "classes", "n_source": 250}, "over_base_fits"],
        "at_most": 1.25,
    },
    {
        "claim": "TrAdaBoostRegressor, 500 rows",
        "beside": "its base fits alone",
        "value": ["rows", {"kind": "numbers", "n_source": 250}, "over_base_fits"],
        "at_most": 1.25,
    },
    {
        "claim": "TrAdaBoostClassifier, 10 000 rows",
        "beside": "its base fits alone",
        "value": ["rows", {"kind": "classes", "n_source": 5000}, "over_base_fits"],
        "at_most": 1.1,
    },
    {
        "claim": "TrAdaBoostRegressor, 10 000 rows",
        "beside": "its base fits alone",
        "value": ["rows", {"kind": "numbers", "n_source": 5000}, "over_base_fits"],
        "at_most": 1.1,
    },
]

N_BOOSTS = 10
# Rows in each domain, rounds.
SIZES = ((250, 41), (500, 41), (5000, 11), (10000, 11))
KINDS = {
    "classes": (DecisionTreeClassifier(max_depth=1), TrAdaBoostClassifier, TrAdaBoost),
    "numbers": (DecisionTreeRegressor(max_depth=3), TrAdaBoostRegressor, TrAdaBoostR2),
}


def shifted(n_source: int, n_target: int, kind: str, n_features: int = 10):
    """Return rows and labels of both domains."""
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(n_source, n_features)), 0.8 * rng.normal(size=(n_target, n_features))
    T[:, : n_features // 2] += 0.5
    y, z = (rows.sum(axis=1) + rng.normal(size=len(rows)) for rows in (X, T))
    return (X, y > 0, T, z > 0) if kind == "classes" else (X, y, T, z)


def contenders(kind: str, n_source: int, n_target: int) -> dict:
    """Return what takes turns."""
    base, ours, theirs = KINDS[kind]
    X, y, T, z = shifted(n_source, n_target, kind)
    y, z = (labels.astype(int if kind == "classes" else float) for labels in (y, z))

    def fit_ours():
        model = ours(base, n_estimators=N_BOOSTS, random_state=0)
        return model.fit(X, y, X_target=T, y_target=z)

    model = fit_ours()
    assert len(model.estimators_) == N_BOOSTS
    rows, labels = np.vstack([X, T]), np.concatenate([y, z])
    weights, seeds = model.sample_weight_history_, [e.random_state for e in model.estimators_]

    def fit_bases():
        fitted = []
        for each, seed in zip(weights, seeds, strict=False):  # the last weights are not fitted
            tree = type(base)(max_depth=base.max_depth, random_state=seed)
            fitted.append(tree.fit(rows, labels, sample_weight=each))
        return fitted

    def fit_theirs():
        model = theirs(base, n_estimators=N_BOOSTS, verbose=0, random_state=0)
        return model.fit(X, y, Xt=T, yt=z)

    for tree, twin in zip(fit_bases(), model.estimators_, strict=True):
        assert (tree.predict(rows) == twin.predict(rows)).all(), "not the same trees"
    return {"base fits": fit_bases, "skltransfer": fit_ours, "adapt": fit_theirs}


def main(options) -> None:
    """Measure."""
    warnings.simplefilter("ignore")
    rows = []
    for kind in KINDS:
        for n, n_rounds in SIZES[:1] if options.quick else SIZES:
            results = interleave(contenders(kind, n, n), rounds(n_rounds, options))
            fitted = {name: part.pop("result") for name, part in results.items()}
            seconds = {name: part["cpu_seconds"] for name, part in results.items()}
            for part in results.values():
                del part["cpu_seconds_all"]
            rows.append(
                {
                    "kind": kind,
                    "n_source": n,
                    "n_target": n,
                    "over_base_fits": seconds["skltransfer"] / seconds["base fits"],
                    "adapt_over_base_fits": seconds["adapt"] / seconds["base fits"],
                    "adapt_rounds": len(fitted["adapt"].estimators_),
                    **results,
                }
            )
    write(__file__, {"rounds_of_boosting": N_BOOSTS, "rows": rows}, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
