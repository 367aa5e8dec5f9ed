"""What WithTarget and WithSource add to a fit: their checks, and scikit-learn's metadata routing.

Scaler, CORAL and a logistic regression on 100 + 100 samples with 10 features, where a fit is little
more than its fixed costs. By hand, the same pipeline is fitted with metadata routing switched on
and ``transform_input``, or its steps one after the other, without routing. All predict the same.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import CORAL, WithSource, WithTarget

CLAIMS = [
    {
        "claim": "a small fit inside WithTarget",
        "beside": "the pipeline by hand, with routing",
        "value": ["rows", {"fit": "WithTarget"}, "ratio_to_pipeline"],
        "at_most": 1.2,
    },
    {
        "claim": "a small fit inside WithSource",
        "beside": "the pipeline by hand, with routing",
        "value": ["rows", {"fit": "WithSource"}, "ratio_to_pipeline"],
        "at_most": 1.2,
    },
    {
        "claim": "what WithTarget adds to a small fit",
        "beside": "its steps, one after the other",
        "value": ["rows", {"fit": "WithTarget"}, "ms_over_steps"],
        "at_most": 3,
        "unit": "ms",
    },
    {
        "claim": "what WithSource adds to a small fit",
        "beside": "its steps, one after the other",
        "value": ["rows", {"fit": "WithSource"}, "ms_over_steps"],
        "at_most": 3,
        "unit": "ms",
    },
]


def main() -> None:
    """Fit by each way in turn, and write the record."""
    options = make_parser(__doc__).parse_args()
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(100, 10)), rng.normal(0.5, 1, (100, 10))
    y, y_target = ((rows[:, 0] > 0).astype(int) for rows in (X, X_target))
    pipeline = make_pipeline(StandardScaler(), CORAL(), LogisticRegression())
    by_hand = clone(pipeline).set_params(transform_input=["X_target"])
    with_target, with_source = WithTarget(pipeline, X_target), WithSource(pipeline, X, y)

    def steps():
        scaler, aligner, classifier = (clone(step) for _, step in pipeline.steps)
        scaled = scaler.fit_transform(X)
        aligned = aligner.fit_transform(scaled, y, X_target=scaler.transform(X_target))
        classifier.fit(aligned, y)
        return make_pipeline(scaler, aligner, classifier)

    def routed():
        with config_context(enable_metadata_routing=True):
            return clone(by_hand).fit(X, y, X_target=(X_target,))

    contenders = {
        "steps": steps,
        "pipeline": routed,
        "WithTarget": lambda: clone(with_target).fit(X, y),
        "WithSource": lambda: clone(with_source).fit(X_target, y_target),
    }
    results = interleave(contenders, rounds(100, options))
    expected = results["steps"]["result"].predict_proba(X_target)
    for result in results.values():
        np.testing.assert_allclose(result["result"].predict_proba(X_target), expected)
    ms = {name: 1e3 * result["cpu_seconds"] for name, result in results.items()}
    rows = [
        {
            "fit": name,
            "milliseconds_cpu": ms[name],
            "ms_over_steps": ms[name] - ms["steps"],
            "ratio_to_pipeline": ms[name] / ms["pipeline"],
        }
        for name in contenders
    ]
    write(__file__, {"rows": rows}, options)


if __name__ == "__main__":
    main()
