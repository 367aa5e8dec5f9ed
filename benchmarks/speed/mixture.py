"""Time of the mixture of strategies, in fits of the pipeline around which it is put.

A ``TransferClassifier`` makes 49 fits, most of them on the samples of both domains, 45 predictions
and its own scores. It is fitted on 300 source and 100 target samples of 10 columns. The pipeline, a
scaler and logistic regression, is fitted on all 400 samples.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import TransferClassifier

CLAIMS = [
    {
        "claim": "TransferClassifier, 300 + 100 samples: time in fits of its pipeline",
        "beside": "the pipeline on 400 samples",
        "value": ["ratio"],
        "at_most": 60,
        "unit": "fits",
    },
]

N_ROUNDS, N_FITS = 15, 20


def main(options) -> None:
    """Measure both in turn."""
    rng = np.random.default_rng(0)
    X_source, X = rng.normal(size=(300, 10)), rng.normal(size=(100, 10))
    y_source, y = (
        (rows[:, 0] + rng.normal(size=len(rows)) > 0).astype(int) for rows in (X_source, X)
    )
    both = np.vstack([X_source, X]), np.concatenate([y_source, y])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    mixture = TransferClassifier(pipeline)
    contenders = {
        "pipeline": lambda: [pipeline.fit(*both) for _ in range(N_FITS)],
        "mixture": lambda: mixture.fit(X_source, y_source, X_target=X, y_target=y),
    }
    results = interleave(contenders, rounds(N_ROUNDS, options))
    seconds = {name: result["cpu_seconds"] for name, result in results.items()}
    seconds["pipeline"] /= N_FITS
    record = {"cpu_seconds": {name: round(value, 5) for name, value in seconds.items()}}
    write(__file__, record | {"ratio": round(seconds["mixture"] / seconds["pipeline"], 1)}, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
