"""The cost of a comparison of strategies, beside the sum of its fits.

The fits alone are the loop that anybody would write: each strategy on each fold, with the source's
own work done once, and the predictions that are scored. scikit-learn's ``cross_validate`` is given
the estimators of the strategies, which work on the source in each fold. All three give the same
scores. Rows that pass a frozen network and fits on the source alone are counted.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import FeatureStore, PretrainedFeatureTransformer
from skltransfer.datasets import load_biased_breast_cancer
from skltransfer.model_selection import TransferTask, compare_strategies, mixture_strategies

CLAIMS = [
    {
        "claim": "a comparison of the nine cheap strategies beside its fits alone, 280 + 100 rows",
        "beside": "limit",
        "value": ["beside_its_fits"],
        "at_most": 1.1,
    },
    {
        "claim": "the same beside the cross-validation of each strategy",
        "beside": "scikit-learn's `cross_validate`",
        "value": ["beside_cross_validate"],
        "at_most": 1.1,
    },
    {
        "claim": "passes of each row through a frozen network in a whole comparison",
        "beside": "limit",
        "value": ["passes_of_a_row"],
        "at_most": 1,
        "unit": "",
    },
    {
        "claim": "fits on the source alone in a whole comparison",
        "beside": "limit",
        "value": ["fits_on_the_source"],
        "at_most": 1,
        "unit": "",
    },
]
MODEL = make_pipeline(StandardScaler(), LogisticRegression())
N_SOURCE, N_TARGET, N_ROUNDS = 280, 100, 7


class Counted(LogisticRegression):
    """A logistic regression that counts its fits on so many rows as the source has."""

    n_fits = 0

    def fit(self, X, y, sample_weight=None):
        """Fit and count."""
        Counted.n_fits += len(X) == N_SOURCE
        return super().fit(X, y, sample_weight)


def splits_of(n_rows: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return five folds, twice."""
    folds, rng = [], np.random.default_rng(0)
    for _ in range(2):
        order = rng.permutation(n_rows)
        folds += [(np.setdiff1d(order, part), np.sort(part)) for part in np.array_split(order, 5)]
    return folds


def main(options) -> None:
    """Time the three on tumours, and count on tumours and digits."""
    data = load_biased_breast_cancer(n_source=N_SOURCE, random_state=0)
    X, y = data.X_target[:N_TARGET], data.y_target[:N_TARGET]
    source = {"X_source": data.X_source, "y_source": data.y_source}
    splits = splits_of(N_TARGET)
    strategies = mixture_strategies(TransferTask(MODEL, **source))

    def comparison(model=MODEL):
        return compare_strategies(model, X, y, **source, strategies="cheap", cv=splits)

    def fits_alone():
        task, scores = TransferTask(MODEL, **source), {}
        for strategy in strategies:
            for train, test in splits:
                fitted = strategy.fit(task, X[train], y[train])
                fitted.predict_proba(X[test])
                hits = fitted.predict(X[test]) == y[test]
                scores.setdefault(strategy.name, []).append(hits.mean())
        return scores

    def cross_validated():
        task = TransferTask(MODEL, **source)
        return {s.name: cross_validate(s.build(task), X, y, cv=splits) for s in strategies}

    contenders = {
        "comparison": comparison,
        "fits alone": fits_alone,
        "cross_validate": cross_validated,
    }
    found = interleave(contenders, rounds(N_ROUNDS, options))
    results, alone, validated = (found[name].pop("result") for name in contenders)
    for name, scores in alone.items():
        np.testing.assert_allclose(results.results[name].fold_scores, scores)
        np.testing.assert_allclose(validated[name]["test_score"], scores)
    comparison(make_pipeline(StandardScaler(), Counted()))
    seconds = {name: run["cpu_seconds"] for name, run in found.items()}
    record = {
        "n_fits": len(strategies) * len(splits),
        "beside_its_fits": seconds["comparison"] / seconds["fits alone"],
        "beside_cross_validate": seconds["comparison"] / seconds["cross_validate"],
        "passes_of_a_row": passes_of_a_row(),
        "fits_on_the_source": Counted.n_fits,
        "runs": found,
    }
    write(__file__, record, options)


def passes_of_a_row() -> float:
    """Return the number of passes through the network by the number of distinct rows."""
    X, y = load_digits(return_X_y=True)
    X, X_source, y, y_source = X[:60], 16 - X[60:160], y[:60], y[60:160]
    store = FeatureStore()
    images = {"image_shape": (8, 8), "value_range": (0, 16)}
    features = PretrainedFeatureTransformer("tiny", store=store, **images)
    model = make_pipeline(features, StandardScaler(), LogisticRegression())
    source = {"X_source": X_source, "y_source": y_source}
    compare_strategies(model, X, y, **source, strategies="cheap", cv=3)
    return store.misses / len(np.unique(np.concatenate([X, X_source]), axis=0))


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
