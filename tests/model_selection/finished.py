"""Finished comparisons, made of scores instead of fits."""

import numpy as np

from skltransfer.model_selection import mean_interval
from skltransfer.model_selection._comparison import Comparison, StrategyResult

FAMILIES = {
    "no transfer": "baseline",
    "source only": "baseline",
    "pooled": "instance",
    "augmented": "feature",
    "anchored": "parameter",
    "mixture": "mixture",
}


def comparison_of(families=FAMILIES, *, failures=(), folds=10, seed=0, **settings) -> Comparison:
    """Return a comparison of strategies, given with their families, the baseline first."""
    rng = np.random.default_rng(seed)
    shared, results = rng.normal(0.8, 0.05, folds), {}
    for name, family in families.items():
        scores = shared + rng.normal(0.0, 0.02, folds) + 0.03 * rng.normal()
        if name in failures:
            scores[:] = np.nan
        result = StrategyResult(name, family, scores, *mean_interval(scores), seconds=1.25)
        for reference, prefix in ((next(iter(families)), ""), ("pooled", "pooled_")):
            if name not in (reference, *failures) and reference in results:
                gain = mean_interval(scores - results[reference].fold_scores)
                for suffix, value in zip(("", "_low", "_high"), gain, strict=True):
                    setattr(result, f"{prefix}difference{suffix}", value)
        result.p_value = None if result.difference is None else 0.03
        result.failure = "ValueError: it failed" if name in failures else None
        result.weight = 0.25 if name in ("no transfer", "pooled", "anchored", "augmented") else None
        results[name] = result
    given = {
        "title": "Old and new", "metric": "accuracy", "baseline": next(iter(families)),
        "n_labelled": 40, "n_unlabelled": 7, "n_source": 300, "n_folds": 5,
        "n_repeats": folds // 5, "is_classification": True, "best_": "mixture",
    }  # fmt: skip
    return Comparison(results=results, **(given | settings))


def curve_of(comparison, numbers=(5, 10, 40)) -> dict:
    """Return learning curves of the strategies that have a score."""
    return {
        number: {
            name: (result.score - 0.2 / number, result.low - 0.2 / number, result.high)
            for name, result in comparison.results.items()
            if not np.isnan(result.score)
        }
        for number in numbers
    }
