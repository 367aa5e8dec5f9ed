"""Kernel mean matching of many rows: time beside one pass over the kernel, memory, and the gap.

The data are drawn as in ``kmm.py``. Every fit runs in a process of its own, after a fit of few
rows; growth is that of the largest resident set. The pass is ours, in float32 (the faster one) and
in float64. One thread, process CPU time, median of 3 processes (1 for n = 100 000).
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
import warnings

from benchmarks._measure import ROOT, make_parser, one_thread, write

one_thread()

import numpy as np

from skltransfer import KMMReweighter
from skltransfer._solvers._kernels import Kernel, KernelMatrix

CLAIMS = [
    {
        "claim": "KMM, 20 000 rows: time",
        "beside": "one pass over the kernel",
        "value": [
            "rows",
            {"n": 20000, "tol": 0.003, "max_weight": 1000.0},
            "fit_over_float32_pass",
        ],
        "at_most": 2,
    },
    {
        "claim": "KMM, 20 000 rows: memory",
        "beside": "limit",
        "value": ["rows", {"n": 20000, "tol": 0.003, "max_weight": 1000.0}, "growth_mb"],
        "at_most": 400,
        "unit": "MB",
    },
    {
        "claim": "KMM, 20 000 rows: certified gap",
        "beside": "limit",
        "value": ["rows", {"n": 20000, "tol": 0.003, "max_weight": 1000.0}, "certified_gap"],
        "at_most": 3e-3,
        "unit": "",
    },
    {
        "claim": "KMM, 20 000 rows, max_weight=5: time",
        "beside": "one pass over the kernel",
        "value": ["rows", {"n": 20000, "tol": 0.003, "max_weight": 5.0}, "fit_over_float32_pass"],
        "at_most": 2,
    },
    {
        "claim": "KMM, 20 000 rows, max_weight=5: memory",
        "beside": "limit",
        "value": ["rows", {"n": 20000, "tol": 0.003, "max_weight": 5.0}, "growth_mb"],
        "at_most": 400,
        "unit": "MB",
    },
    {
        "claim": "KMM, 20 000 rows, max_weight=5: certified gap",
        "beside": "limit",
        "value": ["rows", {"n": 20000, "tol": 0.003, "max_weight": 5.0}, "certified_gap"],
        "at_most": 3e-3,
        "unit": "",
    },
    {
        "claim": "KMM, 100 000 rows: time",
        "beside": "limit",
        "value": ["rows", {"n": 100000, "tol": 0.01, "max_weight": 1000.0}, "fit_seconds"],
        "at_most": 600,
        "unit": "s",
    },
    {
        "claim": "KMM, 100 000 rows: memory",
        "beside": "limit",
        "value": ["rows", {"n": 100000, "tol": 0.01, "max_weight": 1000.0}, "peak_mb"],
        "at_most": 2048,
        "unit": "MB",
    },
    {
        "claim": "KMM, 100 000 rows: certified gap",
        "beside": "limit",
        "value": ["rows", {"n": 100000, "tol": 0.01, "max_weight": 1000.0}, "certified_gap"],
        "at_most": 1e-2,
        "unit": "",
    },
    {
        "claim": "KMM, 100 000 rows, max_weight=5: time",
        "beside": "limit",
        "value": ["rows", {"n": 100000, "tol": 0.01, "max_weight": 5.0}, "fit_seconds"],
        "at_most": 600,
        "unit": "s",
    },
    {
        "claim": "KMM, 100 000 rows, max_weight=5: memory",
        "beside": "limit",
        "value": ["rows", {"n": 100000, "tol": 0.01, "max_weight": 5.0}, "peak_mb"],
        "at_most": 2048,
        "unit": "MB",
    },
    {
        "claim": "KMM, 100 000 rows, max_weight=5: certified gap",
        "beside": "limit",
        "value": ["rows", {"n": 100000, "tol": 0.01, "max_weight": 5.0}, "certified_gap"],
        "at_most": 1e-2,
        "unit": "",
    },
]

GAMMA = 0.1
# n, tol, max_weight, processes
FITS = (
    (20_000, 3e-3, 1000.0, 3),
    (20_000, 3e-3, 5.0, 3),
    (20_000, 1e-4, 1000.0, 1),
    (100_000, 1e-2, 1000.0, 1),
    (100_000, 1e-2, 5.0, 1),
)


def shifted(n: int, n_features: int = 10, seed: int = 0):
    """Return source and target rows."""
    rng = np.random.default_rng(seed)
    target = 0.8 * rng.normal(size=(n, n_features))
    target[:, : n_features // 2] += 0.5
    return rng.normal(size=(n, n_features)), target


def peak() -> float:
    """Return the largest resident set so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seconds(run) -> float:
    """Return the process CPU time of a call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def fit(n: int, tol: float, max_weight: float) -> dict:
    """Fit once, and measure."""
    X, T = shifted(n)
    few, few_target = shifted(600)
    KMMReweighter(gamma=GAMMA).fit(few, X_target=few_target)
    model = KMMReweighter(gamma=GAMMA, tol=tol, max_weight=max_weight)
    before = peak()
    fit_seconds = seconds(lambda: model.fit(X, X_target=T))
    after = peak()
    rows = KernelMatrix(Kernel("rbf", GAMMA), X)
    return {
        "fit_seconds": fit_seconds,
        "pass_float32_seconds": seconds(lambda: rows.mean_in_float32(T)),
        "pass_float64_seconds": seconds(lambda: rows.mean(T)),
        "growth_mb": after - before,
        "peak_mb": after,
        "certified_gap": model.dual_gap_,
        "n_positive": int((model.sample_weight_ > 0).sum()),
    }


def main(options) -> None:
    """Run every fit in processes of its own."""
    rows = []
    fits = ((2_000, 3e-3, 1000.0, 1),) if options.quick else FITS
    for n, tol, max_weight, n_processes in fits:
        command = [sys.executable, "-m", "benchmarks.speed.kmm_scale", "--fit"]
        command += [str(n), str(tol), str(max_weight)]
        runs = [
            json.loads(
                subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
            )
            for _ in range(n_processes)
        ]
        row = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        row["fit_over_float32_pass"] = row["fit_seconds"] / row["pass_float32_seconds"]
        row["fit_over_float64_pass"] = row["fit_seconds"] / row["pass_float64_seconds"]
        rows.append({"n": n, "tol": tol, "max_weight": max_weight, **row})
        print(rows[-1], flush=True)
    write(__file__, {"rows": rows}, options)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--fit", nargs=3, metavar=("N", "TOL", "MAX_WEIGHT"), help="one fit alone")
    options = parser.parse_args()
    if options.fit:
        warnings.simplefilter("ignore")  # of a collapsed sample: the gap is in the record
        n, tol, max_weight = options.fit
        print(json.dumps(fit(int(n), float(tol), float(max_weight))))
    else:
        main(options)
