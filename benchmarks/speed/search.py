"""A search over the head of a frozen network: each row passes once.

12 settings x 5 folds behind ResNet-18 at 64 pixels (``n_jobs=1``), with a store and without.
Weights are random: speed does not depend on them. N is such that every fold fills its batches, so
that rows of padding do not blur the count.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import FeatureStore, PretrainedFeatureTransformer
from skltransfer._torch._extraction import FeatureNetwork

CLAIMS = [
    {
        "claim": "a search of 60 fits: images that pass the network",
        "beside": "limit",
        "value": ["store_rows"],
        "at_most": 160,
        "unit": "images",
    },
    {
        "claim": "a search of 60 fits behind ResNet-18",
        "beside": "the same search without a store",
        "value": ["ratio_wall"],
        "at_least": 15,
    },
]

BATCH = 32


class RowCount:
    """Counts the images that enter the network."""

    def __init__(self):
        self.n_rows, forward = 0, FeatureNetwork.forward

        def counted(network, x):
            self.n_rows += len(x)
            return forward(network, x)

        FeatureNetwork.forward = counted


def main(options) -> None:
    """Measure, and check that both searches find the same."""
    n, n_settings, n_folds = (64, 2, 2) if options.quick else (160, 12, 5)
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (n, 64, 64, 3), dtype=np.uint8)
    y = np.arange(n) % 4
    for label in range(4):  # a dark band tells the classes apart
        X[y == label, 16 * label : 16 * label + 16] //= 3
    count = RowCount()

    def search(store):
        features = PretrainedFeatureTransformer(
            "resnet18", weights=None, input_size=64, batch_size=BATCH, store=store
        )
        model = make_pipeline(features, StandardScaler(), LogisticRegression(max_iter=500))
        grid = {"logisticregression__C": np.logspace(-4, 2, n_settings)}
        return GridSearchCV(model, grid, cv=n_folds, error_score="raise").fit(X, y)

    rows = {}

    def counted(name, store):
        before = count.n_rows
        result = search(store)
        rows[name] = count.n_rows - before
        return result

    results = interleave(
        {
            "naive": lambda: counted("naive", None),
            "store": lambda: counted("store", FeatureStore()),
        },
        n_rounds=rounds(3, options),
    )
    searches = {name: part.pop("result") for name, part in results.items()}
    scores = {name: s.cv_results_["mean_test_score"] for name, s in searches.items()}
    np.testing.assert_array_equal(scores["naive"], scores["store"])
    assert rows["store"] == n, rows
    write(
        __file__,
        {
            "n": n,
            "n_settings": n_settings,
            "n_folds": n_folds,
            "store_rows": rows["store"],
            "naive_rows_with_padding": rows["naive"],
            "ratio_wall": results["naive"]["wall_seconds"] / results["store"]["wall_seconds"],
            "ratio_cpu": results["naive"]["cpu_seconds"] / results["store"]["cpu_seconds"],
            "best_score": float(max(scores["store"])),
            **results,
        },
        options,
    )


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
