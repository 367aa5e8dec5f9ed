"""A comparison of strategies on a large table: what its networks cost, alone and in two processes.

5000 labelled rows of each domain, 10 columns. Above 2000 rows a strategy trains its networks in
steps, for their default number of epochs; 100 epochs, which suit the few iterations of a small
table, stand beside it, with the accuracy of both on 5000 further target rows. Then the same
comparison of networks runs in one process and in two: with equal scores, in less wall time where
there are cores.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
import torch
from joblib.externals.loky import get_reusable_executor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer.model_selection import TransferTask, compare_strategies, table_strategies

torch.set_num_threads(1)
MODEL = make_pipeline(StandardScaler(), LogisticRegression())
NETWORKS = ("network, no transfer", "fine-tuned network", "L2-SP network")

CLAIMS = [
    {
        "claim": "network, no transfer on 5000 + 5000 rows, epochs by default",
        "beside": "100 epochs",
        "value": ["networks", {"strategy": "network, no transfer"}, "times_as_fast"],
        "at_least": 5,
    },
    {
        "claim": "fine-tuned network on 5000 + 5000 rows, epochs by default",
        "beside": "100 epochs",
        "value": ["networks", {"strategy": "fine-tuned network"}, "times_as_fast"],
        "at_least": 5,
    },
    {
        "claim": "L2-SP network on 5000 + 5000 rows, epochs by default",
        "beside": "100 epochs",
        "value": ["networks", {"strategy": "L2-SP network"}, "times_as_fast"],
        "at_least": 5,
    },
    {
        "claim": "network, no transfer on 5000 + 5000 rows: accuracy lost by fewer epochs",
        "beside": "100 epochs",
        "value": ["networks", {"strategy": "network, no transfer"}, "accuracy_lost"],
        "at_most": 1,
        "unit": "points",
    },
    {
        "claim": "fine-tuned network on 5000 + 5000 rows: accuracy lost by fewer epochs",
        "beside": "100 epochs",
        "value": ["networks", {"strategy": "fine-tuned network"}, "accuracy_lost"],
        "at_most": 1,
        "unit": "points",
    },
    {
        "claim": "L2-SP network on 5000 + 5000 rows: accuracy lost by fewer epochs",
        "beside": "100 epochs",
        "value": ["networks", {"strategy": "L2-SP network"}, "accuracy_lost"],
        "at_most": 1,
        "unit": "points",
    },
    {
        "claim": "a comparison of networks in two processes, wall time",
        "beside": "one process",
        "value": ["processes", "times_as_fast"],
        "at_least": 1.4,
    },
]


def domains(n: int, seed: int):
    """Return rows of 10 columns, and labels by a rule that a linear model cannot learn."""
    rng = np.random.default_rng(seed)
    X, X_source = rng.normal(0.3, 0.9, (n, 10)), rng.normal(size=(n, 10))

    def labels(X, weight):
        score = X[:, 0] * X[:, 1] + weight * X[:, 2] + np.sin(2 * X[:, 3])
        return (score + 0.5 * rng.normal(size=len(X)) > 0).astype(int)

    return X, labels(X, 0.5), X_source, labels(X_source, 0.8)


def networks(options) -> list[dict]:
    """Fit each network by both numbers of epochs."""
    n, rows = 1200 if options.quick else 5000, []
    X, y, X_source, y_source = domains(n, 0)
    X_test, y_test, *_ = domains(n, 1)
    task = TransferTask(MODEL, X_source, y_source)
    menus = {
        "100 epochs": table_strategies("classification"),
        "default": table_strategies("classification", 2 * n),
    }
    for name in NETWORKS:
        contenders = {
            epochs: lambda strategy=strategy: strategy.fit(task, X, y).score(X_test, y_test)
            for epochs, menu in menus.items()
            for strategy in menu
            if strategy.name == name
        }
        found = interleave(contenders, rounds(3, options))
        scores = {epochs: run.pop("result") for epochs, run in found.items()}
        seconds = {epochs: run["cpu_seconds"] for epochs, run in found.items()}
        rows.append(
            {
                "strategy": name,
                "n": n,
                "times_as_fast": seconds["100 epochs"] / seconds["default"],
                "accuracy": scores,
                "accuracy_lost": 100 * (scores["100 epochs"] - scores["default"]),
                "cpu_seconds": seconds,
            }
        )
        print(rows[-1], flush=True)
    return rows


def processes(options) -> dict:
    """Compare networks in one process and in two."""
    n = 300 if options.quick else 5000
    X, y, X_source, y_source = domains(n, 0)
    names = ["no transfer", *NETWORKS]

    def compared(n_jobs):
        return compare_strategies(
            MODEL, X, y, X_source=X_source, y_source=y_source, strategies=names, n_jobs=n_jobs
        )

    contenders = {"one process": lambda: compared(1), "two processes": lambda: compared(2)}
    found = interleave(contenders, 1)
    one, two = (found[name].pop("result") for name in contenders)
    for name in names:
        np.testing.assert_array_equal(one.results[name].fold_scores, two.results[name].fold_scores)
    get_reusable_executor().shutdown()
    seconds = {name: run["wall_seconds"] for name, run in found.items()}
    return {
        "n": n,
        "times_as_fast": seconds["one process"] / seconds["two processes"],
        "wall_seconds": seconds,
    }


def main(options) -> None:
    """Measure both."""
    record = {"networks": networks(options), "processes": processes(options)}
    write(__file__, record, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
