"""Fine-tuning the last stage of a network, with and without what its frozen stages gave.

ResNet-18 at 64 pixels, random weights; ``layer4`` and the head are trained for ten epochs on 96
images. One fit begins with an empty store. In a search candidates, folds and scores share what is
kept. The fit on two views of each image has half as many epochs, and as many steps. Without a store
the frozen stages are run in every epoch and for every score, and features before training are
computed in every fit.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV

from skltransfer import FineTunedClassifier
from skltransfer.feature import FeatureStore

torch.set_num_threads(1)

CLAIMS = [
    {
        "claim": "one fit of `layer4` of ResNet-18 and a head, 64 pixels, 10 epochs",
        "beside": "every epoch from the images",
        "value": ["fit", "speed_up_cpu"],
        "at_least": 1.6,
    },
    {
        "claim": "the same in a search of 2 candidates and 2 folds",
        "beside": "every epoch from the images",
        "value": ["search", "speed_up_cpu"],
        "at_least": 1.85,
    },
    {
        "claim": "largest difference of a predicted probability after an epoch",
        "beside": "every epoch from the images",
        "value": ["fit", "largest_difference"],
        "at_most": 1e-3,
        "unit": "probability",
    },
    {
        "claim": "one fit on two augmented views of each image",
        "beside": "every epoch from the views",
        "value": ["views", "speed_up_cpu"],
        "at_least": 1.6,
    },
]


def images(n: int):
    """Return images of 64 pixels, and labels that can be told from them."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 4
    X = rng.integers(0, 200, (n, 64, 64, 3)) + 12 * y[:, None, None, None]
    return X.astype(np.uint8), y


def model(store, n_epochs: int, **settings) -> FineTunedClassifier:
    """Return the estimator; statistics of random weights are taken as they are."""
    return FineTunedClassifier(
        "resnet18",
        weights=None,
        input_size=64,
        unfreeze="layer4",
        norm_statistics="keep",
        max_epochs=n_epochs,
        store=store,
        **settings,
    )


def compare(run, n_rounds: int) -> tuple[dict, list]:
    """Return the times of a run with an empty store and without one, and both results."""
    results = interleave(
        {"kept": lambda: run(FeatureStore()), "from the images": lambda: run(None)}, n_rounds
    )
    record = {name: {k: v for k, v in r.items() if k != "result"} for name, r in results.items()}
    seconds = [results[name]["cpu_seconds"] for name in ("from the images", "kept")]
    record["speed_up_cpu"] = seconds[0] / seconds[1]
    return record, [results[name]["result"] for name in ("kept", "from the images")]


def difference_after_one_epoch(X, y, **settings) -> float:
    """Return the largest difference of a probability, with rounding not yet amplified by steps."""
    fitted = [model(store, 1, **settings).fit(X, y) for store in (FeatureStore(), None)]
    difference = np.abs(np.subtract(*[each.predict_proba(X) for each in fitted])).max()
    assert difference <= 1e-3
    return float(difference)


def main() -> None:
    """Time, compare, and write the record."""
    options = make_parser(__doc__).parse_args()
    n, n_epochs = (24, 2) if options.quick else (96, 10)
    X, y = images(n)

    fit, fitted = compare(lambda store: model(store, n_epochs).fit(X, y), rounds(3, options))
    assert [each.cached_stage_ for each in fitted] == ["layer3", None]
    fit["largest_difference"] = difference_after_one_epoch(X, y)

    def fit_to_views(store):
        return model(store, n_epochs // 2, augment="flip", n_views=2).fit(X, y)

    views, fitted = compare(fit_to_views, rounds(3, options))
    assert [each.cached_stage_ for each in fitted] == ["layer3", None]
    views["largest_difference"] = difference_after_one_epoch(X, y, augment="flip", n_views=2)

    def search(store):
        grid = {"lr": [3e-4, 1e-3]}
        return GridSearchCV(model(store, n_epochs), grid, cv=2).fit(X, y)

    searched, searches = compare(search, rounds(3, options))
    scores = [each.cv_results_["mean_test_score"] for each in searches]
    np.testing.assert_allclose(*scores, atol=0.03)  # a sample of a fold
    searched["scores"] = [each.tolist() for each in scores]
    record = {"n_samples": n, "n_epochs": n_epochs, "fit": fit, "views": views, "search": searched}
    write(__file__, record, options)


if __name__ == "__main__":
    main()
