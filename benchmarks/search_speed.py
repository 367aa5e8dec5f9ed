"""A search over the head of a frozen network: each row passes once.

Claim: 12 settings x 5 folds behind ResNet-18 at 64 pixels (n_jobs=1): exactly N backbone rows,
and at least 15 times as fast as the same search without a store. Random weights: speed does not
depend on them. N is such that every fold fills its batches, so that rows of padding do not blur
the count.
"""

from __future__ import annotations

from _measure import interleave, one_thread, write

one_thread()

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import FeatureStore, PretrainedFeatureTransformer, load_backbone

N, N_SETTINGS, N_FOLDS, BATCH = 160, 12, 5, 32


class RowCount:
    """Counts the images that enter the network."""

    def __init__(self, module):
        self.n_rows = 0
        module.conv1.register_forward_pre_hook(self._count)

    def _count(self, module, inputs):
        self.n_rows += len(inputs[0]) if inputs[0].abs().sum() > 0 else 0


def main() -> None:
    """Measure, and check that both searches find the same."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (N, 64, 64, 3), dtype=np.uint8)
    y = np.arange(N) % 4
    for label in range(4):  # a dark band tells the classes apart
        X[y == label, 16 * label : 16 * label + 16] //= 3
    count = RowCount(load_backbone("resnet18", weights=None).module)

    def search(store):
        features = PretrainedFeatureTransformer(
            "resnet18", weights=None, input_size=64, batch_size=BATCH, store=store
        )
        model = make_pipeline(features, StandardScaler(), LogisticRegression(max_iter=500))
        grid = {"logisticregression__C": np.logspace(-4, 2, N_SETTINGS)}
        return GridSearchCV(model, grid, cv=N_FOLDS, error_score="raise").fit(X, y)

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
        n_rounds=3,
    )
    searches = {name: part.pop("result") for name, part in results.items()}
    scores = {name: s.cv_results_["mean_test_score"] for name, s in searches.items()}
    np.testing.assert_array_equal(scores["naive"], scores["store"])
    assert rows["store"] == N, rows
    write(
        __file__,
        {
            "claim": "store_rows == N and ratio_wall >= 15",
            "n": N,
            "n_settings": N_SETTINGS,
            "n_folds": N_FOLDS,
            "store_rows": rows["store"],
            "naive_rows_with_padding": rows["naive"],
            "ratio_wall": results["naive"]["wall_seconds"] / results["store"]["wall_seconds"],
            "ratio_cpu": results["naive"]["cpu_seconds"] / results["store"]["cpu_seconds"],
            "best_score": float(max(scores["store"])),
            **results,
        },
    )


if __name__ == "__main__":
    main()
