"""The cost of a clone, a pickle and a hash of an estimator.

A clone shares the module that an estimator holds, and copies none of the data of a wrapper. A
pickle and a hash are small only where the backbone is named.
"""

from __future__ import annotations

import pickle
import statistics
import time

from benchmarks._measure import make_parser, one_thread, write

one_thread()

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skltransfer import KMMReweighter, PretrainedFeatureTransformer, WithSource, load_backbone

CLAIMS = [
    {
        "claim": "clone of a transformer that names ResNet-50",
        "beside": "limit",
        "value": ["rows", {"estimator": "named"}, "clone_ms"],
        "at_most": 1,
        "unit": "ms",
    },
    {
        "claim": "clone of a pipeline with it",
        "beside": "limit",
        "value": ["rows", {"estimator": "pipeline"}, "clone_ms"],
        "at_most": 1,
        "unit": "ms",
    },
    {
        "claim": "clone of WithSource that holds 80 MB",
        "beside": "limit",
        "value": ["rows", {"estimator": "WithSource, 80 MB"}, "clone_ms"],
        "at_most": 1,
        "unit": "ms",
    },
    {
        "claim": "clone of a transformer that holds ResNet-50",
        "beside": "limit",
        "value": ["rows", {"estimator": "module"}, "clone_ms"],
        "at_most": 1,
        "unit": "ms",
    },
]


def median_ms(function, n_rounds: int = 50) -> float:
    """Return the median time of a call in milliseconds."""
    times = []
    for _ in range(n_rounds):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main(options) -> None:
    """Measure ResNet-50 by name and as a module, and a wrapper with 80 MB of rows."""
    images = np.zeros((4, 64, 64, 3), np.uint8)
    named = PretrainedFeatureTransformer("resnet50", weights=None, input_size=64)
    module = PretrainedFeatureTransformer(load_backbone("resnet50", weights=None).module)
    fitted = clone(named).fit(images)
    pipeline = make_pipeline(named, LogisticRegression())
    X_source = np.zeros((10_000, 1_000))
    wrapper = WithSource(KMMReweighter(LogisticRegression()), X_source, np.zeros(10_000))
    assert clone(wrapper).X_source is X_source
    assert clone(module).backbone is module.backbone
    contenders = {
        "named": named,
        "named, fitted": fitted,
        "pipeline": pipeline,
        "WithSource, 80 MB": wrapper,
        "module": module,
    }
    rows = []
    for name, estimator in contenders.items():
        few = 5 if name == "module" or options.quick else 50
        rows.append(
            {
                "estimator": name,
                "clone_ms": median_ms(lambda e=estimator: clone(e), few),
                "pickle_bytes": len(pickle.dumps(estimator)),
                "joblib_hash_ms": median_ms(lambda e=estimator: joblib.hash(e), min(few, 5)),
            }
        )
    write(__file__, {"rows": rows}, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
