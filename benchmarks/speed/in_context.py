"""Cost of ``InContextTransferClassifier`` on 500 source samples and 30 labelled target samples.

A fit and 500 predictions stand beside those of ``TransferClassifier`` with its nine strategies, and
of one pooled logistic regression. 100 000 predictions are made in parts: their time and the memory
that they take beside their input and their output are measured.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import InContextTransferClassifier, PooledEstimator, TransferClassifier

CLAIMS = [
    {
        "claim": "InContextTransferClassifier, 500 + 30 rows: a fit and 500 predictions",
        "beside": "limit",
        "value": ["milliseconds"],
        "at_most": 30,
        "unit": "ms",
    },
    {
        "claim": "The same beside TransferClassifier",
        "beside": "skltransfer, mixture",
        "value": ["mixture_over_in_context"],
        "at_least": 2,
    },
    {
        "claim": "InContextTransferClassifier: 100 000 predictions",
        "beside": "limit",
        "value": ["many", "seconds"],
        "at_most": 10,
        "unit": "s",
    },
    {
        "claim": "InContextTransferClassifier: memory of 100 000 predictions",
        "beside": "limit",
        "value": ["many", "megabytes"],
        "at_most": 100,
        "unit": "MB",
    },
]
N_SOURCE, N_TARGET, N_TEST, N_FEATURES = 500, 30, 500, 20


def main(options) -> None:
    """Measure small fits, and many predictions."""
    rng = np.random.default_rng(0)
    X, X_target, X_test = (rng.normal(size=(n, N_FEATURES)) for n in (N_SOURCE, N_TARGET, N_TEST))
    y, y_target = (rows[:, 0] + rng.normal(size=len(rows)) > 0 for rows in (X, X_target))
    known = {"X_target": X_target, "y_target": y_target}
    logistic = make_pipeline(StandardScaler(), LogisticRegression())

    def fitted(model):
        return lambda: model.fit(X, y, **known).predict_proba(X_test)

    pooled = PooledEstimator(LogisticRegression())
    results = interleave(
        {
            "in context": fitted(InContextTransferClassifier()),
            "mixture": fitted(TransferClassifier(logistic)),
            "pooled": fitted(pooled),
        },
        rounds(15, options),
    )
    seconds = {name: each["cpu_seconds"] for name, each in results.items()}
    n_many = 5000 if options.quick else 100_000
    model = InContextTransferClassifier().fit(X, y, **known)
    many = rng.normal(size=(n_many, N_FEATURES))
    times = []
    for _ in range(rounds(3, options)):
        started = time.process_time()
        p = model.predict_proba(many)
        times.append(time.process_time() - started)
    np.testing.assert_allclose(p[-100:], model.predict_proba(many[-100:]), atol=1e-9)
    tracemalloc.start()
    model.predict_proba(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    record = {
        "milliseconds": round(1e3 * seconds["in context"], 2),
        "mixture_over_in_context": round(seconds["mixture"] / seconds["in context"], 2),
        "in_context_over_pooled": round(seconds["in context"] / seconds["pooled"], 2),
        "many": {
            "n": n_many,
            "seconds": round(statistics.median(times), 3),
            "megabytes": round((peak - p.nbytes) / 1e6, 1),
        },
    }
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
