"""CORAL against adapt and skada, and where columns outnumber rows.

Gaussian domains of different random covariances, centred columns (adapt and skada map means along
with the rows). One thread, process CPU time, median of rounds in which the contenders take turns;
each is given both domains and returns the mapped source rows.

What is asserted: mapped rows equal adapt's at its default regularisation, and skada's where neither
shrinks; and the covariance of the mapped rows is the target's to 1e-8.
"""

from __future__ import annotations

import os

from benchmarks._measure import interleave, make_parser, one_thread, write

one_thread()
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
from adapt.feature_based import CORAL as AdaptCORAL
from skada import CORALAdapter

from skltransfer import CORAL

NEEDS = ("adapt", "skada")
CLAIMS = [
    {
        "claim": "CORAL, 512 features, 3000 rows a side",
        "beside": "adapt",
        "value": ["sizes", {"columns": 512}, "adapt / skltransfer"],
        "at_least": 3,
    },
]


def domains(n_rows: int, n_columns: int, seed: int = 0):
    """Return centred source and target rows."""
    rng = np.random.default_rng(seed)
    pair = []
    for _ in range(2):
        mixing = rng.normal(size=(n_columns, n_columns)) / np.sqrt(n_columns)
        rows = rng.normal(size=(n_rows, n_columns)) @ (mixing + np.eye(n_columns))
        pair.append(rows - rows.mean(axis=0))
    return pair


def of_skada(X, X_target, reg):
    """Return the source rows as skada's adapter maps them."""
    domain = np.repeat([1, -1], [len(X), len(X_target)])
    adapter = CORALAdapter(reg=reg)
    rows = np.vstack([X, X_target])
    mapped = adapter.fit_transform(rows, sample_domain=domain)
    return np.asarray(mapped[0] if isinstance(mapped, tuple) else mapped)[: len(X)]


def difference(A, B) -> float:
    """Return the largest difference, relative to the largest entry."""
    return float(np.abs(A - B).max() / np.abs(B).max())


def compare(n_rows: int, n_columns: int, n_rounds: int) -> dict:
    """Time all three at one size, and check that their rows are equal."""
    X, X_target = domains(n_rows, n_columns)
    contenders = {
        "skltransfer": lambda: CORAL(reg_covar=1e-5).fit_transform(X, X_target=X_target),
        "adapt": lambda: AdaptCORAL(lambda_=1e-5, verbose=0).fit_transform(X, X_target),
        "skltransfer, no regularisation": lambda: CORAL(reg_covar=0).fit_transform(
            X, X_target=X_target
        ),
        "skltransfer, Ledoit-Wolf": lambda: CORAL(
            shrinkage="ledoit_wolf", reg_covar=0
        ).fit_transform(X, X_target=X_target),
        "skada, Ledoit-Wolf": lambda: of_skada(X, X_target, "auto"),
    }
    times = interleave(contenders, n_rounds)
    mapped = {name: row.pop("result") for name, row in times.items()}
    wanted = np.cov(X_target.T)
    exact = np.cov(mapped["skltransfer, no regularisation"].T)
    checks = {
        "rows, against adapt": difference(mapped["skltransfer"], mapped["adapt"]),
        "rows, against skada without shrinkage": difference(
            mapped["skltransfer, no regularisation"], of_skada(X, X_target, None)
        ),
        "covariance, against the target's": difference(exact, wanted),
    }
    for name, error in checks.items():
        assert error < 1e-8, (name, error)
    ours = times["skltransfer"]["cpu_seconds"]
    return {
        "rows in each domain": n_rows,
        "columns": n_columns,
        "adapt / skltransfer": times["adapt"]["cpu_seconds"] / ours,
        "skada / skltransfer, both Ledoit-Wolf": times["skada, Ledoit-Wolf"]["cpu_seconds"]
        / times["skltransfer, Ledoit-Wolf"]["cpu_seconds"],
        "relative errors": checks,
        "times": times,
    }


def wide(n_rows: int, n_columns: int, n_rounds: int) -> dict:
    """Time fewer rows than columns, beside adapt."""
    X, X_target = domains(n_rows, n_columns)
    contenders = {
        "skltransfer": lambda: CORAL().fit_transform(X, X_target=X_target),
        "adapt": lambda: AdaptCORAL(lambda_=1.0, verbose=0).fit_transform(X, X_target),
    }
    times = interleave(contenders, n_rounds)
    mapped = {name: row.pop("result") for name, row in times.items()}
    error = difference(mapped["skltransfer"], mapped["adapt"])
    assert error < 1e-8, error
    return {
        "rows in each domain": n_rows,
        "columns": n_columns,
        "adapt / skltransfer": times["adapt"]["cpu_seconds"] / times["skltransfer"]["cpu_seconds"],
        "relative errors": {"rows, against adapt": error},
        "times": times,
    }


def main(options) -> None:
    """Measure the claim's size, a small one, and rows fewer than columns."""
    if options.quick:
        sizes, few_rows = [compare(600, 64, 1)], [wide(60, 200, 1)]
    else:
        sizes, few_rows = [compare(3000, 512, 9), compare(5000, 50, 9)], [wide(300, 1000, 3)]
    write(__file__, {"sizes": sizes, "fewer rows than columns": few_rows}, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
