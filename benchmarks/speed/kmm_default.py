"""Kernel mean matching with the default tolerance, against adapt's default.

The data are those of ``kmm.py``. Our tolerance ("auto") is certified: 1e-6 up to 2000 rows, 1e-3
beyond. adapt solves batches of 1000 rows. What is asserted: our objective is no worse than
adapt's. ``true_relative_gap`` is the distance from an objective certified to 1e-6 (1e-5 for 10 000
rows). One thread, process CPU time, medians of rounds in which the two take turns.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, rounds, write
from benchmarks.speed.kmm import GAMMA, MAX_WEIGHT, adapt, objective, shifted
from skltransfer import KMMReweighter

NEEDS = ("adapt", "skada", "cvxopt")
CLAIMS = [
    {
        "claim": "KMM by default, 1000 rows a side",
        "beside": "adapt, default",
        "value": ["rows", {"n": 1000}, "ratio_cpu"],
        "at_least": 10,
    },
    {
        "claim": "KMM by default, 2000 rows a side",
        "beside": "adapt, default",
        "value": ["rows", {"n": 2000}, "ratio_cpu"],
        "at_least": 10,
    },
    {
        "claim": "KMM by default, 3000 rows a side",
        "beside": "adapt, default",
        "value": ["rows", {"n": 3000}, "ratio_cpu"],
        "at_least": 10,
    },
    {
        "claim": "KMM by default, 5000 rows a side, at less than a tenth of the peer's gap",
        "beside": "adapt, default",
        "value": ["rows", {"n": 5000}, "ratio_cpu"],
        "at_least": 10,
    },
    {
        "claim": "KMM by default, 10 000 rows a side, at less than a tenth of the peer's gap",
        "beside": "adapt, default",
        "value": ["rows", {"n": 10000}, "ratio_cpu"],
        "at_least": 10,
    },
]

# Rows, rounds, tolerance of the objective taken for the optimum.
SIZES = ((1000, 5, 1e-6), (2000, 3, 1e-6), (3000, 3, 1e-6), (5000, 3, 1e-6), (10_000, 1, 1e-5))


def fitted(X, T, tol="auto") -> KMMReweighter:
    """Fit the library's estimator."""
    model = KMMReweighter(gamma=GAMMA, max_weight=MAX_WEIGHT, tol=tol).fit(X, X_target=T)
    assert model.dual_gap_ <= model.tol_
    return model


def compare(n: int, n_rounds: int, tol: float) -> dict:
    """Let the two take turns, and check that our objective is no worse."""
    X, T = shifted(n)
    contenders = {
        "adapt": lambda: adapt(X, T, max_size=1000),
        "skltransfer": lambda: fitted(X, T),
    }
    results = interleave(contenders, n_rounds)
    model = results["skltransfer"].pop("result")
    values = {
        "adapt": objective(results["adapt"].pop("result"), X, T),
        "skltransfer": objective(model.sample_weight_, X, T),
    }
    optimum = min(objective(fitted(X, T, tol).sample_weight_, X, T), *values.values())
    for name, part in results.items():
        part["true_relative_gap"] = (values[name] - optimum) / abs(optimum)
    mine, others = (results[name]["true_relative_gap"] for name in ("skltransfer", "adapt"))
    assert mine <= max(others, 1e-9), "our objective is worse"
    return {
        "n": n,
        "tol": model.tol_,
        "certified_gap": model.dual_gap_,
        "ratio_cpu": results["adapt"]["cpu_seconds"] / results["skltransfer"]["cpu_seconds"],
        "results": results,
    }


def main(options) -> None:
    """Measure all sizes."""
    sizes = ((300, 1, 1e-6),) if options.quick else SIZES
    rows = [compare(n, rounds(n_rounds, options), tol) for n, n_rounds, tol in sizes]
    write(__file__, {"rows": rows}, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
