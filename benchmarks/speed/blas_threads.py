"""Small solvers with the BLAS threads that a user's process finds, on a machine that is busy.

The environment names no number of threads, and one other process keeps a core busy. In one child
process, contenders take turns: a fit with the threads as found (in which the solvers limit them
themselves), the same inside of a limit of one thread, the same with the solvers' own limit taken
away, and the peer with the threads as found. Wall time and process CPU time, medians of rounds.

A pause comes before each round: the threads of the contender before it go on spinning for a while.

What is asserted: the results with all numbers of threads agree to 1e-8.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from functools import partial

from benchmarks._measure import ROOT, interleave, make_parser, rounds, write

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

NEEDS = ("adapt",)
_PAUSE = 0.2  # seconds
CLAIMS = [
    {
        "claim": "The slowest small fit with threads as found on a busy machine: CPU time",
        "beside": "one thread",
        "value": ["largest", "found_over_one_thread"],
        "at_most": 1.5,
    },
    {
        "claim": "KMM, 1000 rows a side, threads as found on a busy machine: wall time",
        "beside": "adapt, without batches",
        "value": ["rows", {"fit": "KMM"}, "wall_ratio", "peer over found"],
        "at_least": 1,
    },
    {
        "claim": "uLSIF, 25 candidates, 1000 rows a side, threads as found: wall time",
        "beside": "adapt",
        "value": ["rows", {"fit": "uLSIF"}, "wall_ratio", "peer over found"],
        "at_least": 1,
    },
    {
        "claim": "KLIEP, one width, 1000 rows a side, threads as found: wall time",
        "beside": "adapt",
        "value": ["rows", {"fit": "KLIEP"}, "wall_ratio", "peer over found"],
        "at_least": 1,
    },
    {
        "claim": "TCA, 250 rows a side, threads as found: wall time",
        "beside": "adapt",
        "value": ["rows", {"fit": "TCA"}, "wall_ratio", "peer over found"],
        "at_least": 1,
    },
]

GAMMAS, REGS = [0.02, 0.05, 0.1, 0.2, 0.5], [0.001, 0.01, 0.1, 1.0, 10.0]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def shifted(n: int, n_features: int = 10, seed: int = 0):
    """Return source and target rows, and labels of three classes for both."""
    import numpy as np

    rng = np.random.default_rng(seed)
    T = 0.8 * rng.normal(size=(n, n_features))
    T[:, : n_features // 2] += 0.5
    X = rng.normal(size=(n, n_features))
    return X, T, *(np.digitize(part @ np.ones(n_features), [-2.0, 2.0]) for part in (X, T))


def fits(scale: int) -> dict:
    """Return for each solver our fit, which returns numbers to compare, and the peer's or None.

    Parameters
    ----------
    scale : int
        Divides the numbers of rows.
    """
    from adapt.feature_based import TCA as AdaptTCA
    from adapt.instance_based import KLIEP, KMM, ULSIF

    from skltransfer import (
        JDA,
        TCA,
        DiscriminativeReweighter,
        KLIEPReweighter,
        KMMReweighter,
        TransferLogisticRegressionCV,
        ULSIFReweighter,
    )

    X, T, y, y_target = shifted(1000 // scale)
    few, few_target, few_labels, _ = shifted(250 // scale)
    quiet = {"verbose": 0, "random_state": 0}
    search = {"gamma": GAMMAS, "lambdas": REGS}
    tca = {"kernel": "rbf", "gamma": 0.1, "n_components": 20}
    target, small_target = {"X_target": T}, {"X_target": few_target}
    return {
        "KMM": (
            lambda: KMMReweighter(gamma=0.1, max_weight=1000).fit(X, **target).sample_weight_,
            lambda: KMM(kernel="rbf", gamma=0.1, B=1000, max_size=10**9, verbose=0).fit_weights(
                X, T
            ),
        ),
        "uLSIF": (
            lambda: (
                ULSIFReweighter(gamma=GAMMAS, regularization=REGS).fit(X, **target).sample_weight_
            ),
            lambda: ULSIF(**search, **quiet).fit_weights(X, T),
        ),
        "KLIEP": (
            lambda: KLIEPReweighter(gamma=0.1).fit(X, **target).sample_weight_,
            lambda: KLIEP(gamma=0.1, **quiet).fit_weights(X, T),
        ),
        "discriminative": (
            lambda: DiscriminativeReweighter().fit(X, **target).sample_weight_,
            None,
        ),
        "TCA": (
            lambda: abs(TCA(**tca).fit(few, **small_target).transform(few)),
            lambda: AdaptTCA(mu=1.0, **tca, **quiet).fit_transform(few, few_target),
        ),
        "JDA": (
            lambda: abs(JDA(**tca).fit(few, few_labels, **small_target).transform(few)),
            None,
        ),
        "logistic path": (
            lambda: (
                TransferLogisticRegressionCV()
                .fit(X, y, **target, y_target=y_target)
                .predict_proba(T)
            ),
            None,
        ),
    }


@contextmanager
def without_limits():
    """Let the solvers leave the number of threads as it is."""
    from skltransfer import _blas

    kept = _blas.LARGE_MATRIX, _blas.LARGE_PRODUCT
    _blas.LARGE_MATRIX = _blas.LARGE_PRODUCT = 0
    try:
        yield
    finally:
        _blas.LARGE_MATRIX, _blas.LARGE_PRODUCT = kept


def within(context, run):
    """Return a function that runs inside of a context."""

    def limited():
        with context():
            return run()

    return limited


def measure(scale: int, n_rounds: int) -> dict:
    """Let the contenders of each solver take turns."""
    import numpy as np
    from threadpoolctl import ThreadpoolController

    warnings.simplefilter("ignore")
    every = fits(scale)
    blas = ThreadpoolController().select(user_api="blas")
    found = [library.num_threads for library in blas.lib_controllers]
    rows = []
    for name, (ours, peer) in every.items():
        contenders = {
            "pause": partial(time.sleep, _PAUSE),
            "found": ours,
            "one thread": within(lambda: blas.limit(limits=1), ours),
            "without limits": within(without_limits, ours),
        }
        results = interleave(contenders | ({"peer": peer} if peer else {}), n_rounds)
        del results["pause"]
        kept = {key: part.pop("result") for key, part in results.items()}
        for key in ("one thread", "without limits"):
            np.testing.assert_allclose(kept[key], kept["found"], rtol=1e-6, atol=1e-8)
        row = {"fit": name, "results": results}
        for kind in ("cpu", "wall"):
            of = {key: part[f"{kind}_seconds"] for key, part in results.items()}
            row[f"{kind}_ratio"] = {
                "found over one thread": of["found"] / of["one thread"],
                "without limits over found": of["without limits"] / of["found"],
            }
            if peer:
                row[f"{kind}_ratio"]["peer over found"] = of["peer"] / of["found"]
        rows.append(row)
        print(row, file=sys.stderr, flush=True)
    largest = max(row["cpu_ratio"]["found over one thread"] for row in rows)
    return {"rows": rows, "largest": {"found_over_one_thread": largest}, "threads_found": found}


def main(options) -> None:
    """Keep the machine busy, and measure in a child process."""
    environment = {key: value for key, value in os.environ.items() if key not in THREADS}
    command = [sys.executable, "-m", "benchmarks.speed.blas_threads", "--measure"]
    command += [str(5 if options.quick else 1), str(rounds(3, options))]
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        run = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        )
    finally:
        busy.kill()
        busy.wait()
    record = json.loads(run.stdout.splitlines()[-1])
    write(__file__, record, options, threads="default")


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "--measure", nargs=2, type=int, metavar=("SCALE", "ROUNDS"), help="in this process"
    )
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure)))
    else:
        main(options)
