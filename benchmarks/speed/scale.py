"""Time and memory of every estimator that fits tables, as the number of rows grows.

Each fit has n rows of 10 columns in each domain. Labels of the target are known for one row in ten,
where a fit uses them. CPU seconds of one thread and the growth of the largest resident set are
those of a process of its own, forked after a fit of few rows; its address space may grow by 4 GiB.
Sizes that the last two would bring beyond the time limit are left out.

Slopes are those of a line through the logarithms of the last three sizes that take 0.05 s (or grow
by 8 MB). ``largest_n`` is where the last value, growing by that slope, meets 10 minutes or 24 GiB,
whichever is first. A slope of less than 1 counts as 1 there, because all samples are read; it is at
most 100 times the largest size measured.

python -m benchmarks.speed.scale [--only NAME ...] [--sizes N ...]

``--only`` measures some estimators and leaves the rows of all others in the record as they are.
"""

from __future__ import annotations

import argparse
import inspect
import io
import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any, NamedTuple

from benchmarks._measure import ROOT, machine, make_parser, one_thread, output_folder, write

one_thread()

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer

CLAIMS = [
    {
        "claim": "100 000 + 100 000 rows: the slowest of all estimators' fits",
        "beside": "limit",
        "value": ["at_100000", "slowest_seconds"],
        "at_most": 300,
        "unit": "s",
    },
    {
        "claim": "100 000 + 100 000 rows: the largest memory of all estimators' fits",
        "beside": "limit",
        "value": ["at_100000", "largest_growth_mb"],
        "at_most": 4096,
        "unit": "MB",
    },
    {
        "claim": "100 000 + 100 000 rows: estimators that do not fit them",
        "beside": "limit",
        "value": ["at_100000", "n_not_fitted"],
        "at_most": 0,
        "unit": "",
    },
    {
        "claim": "1 000 000 + 1 000 000 rows: linear estimators that do not fit them",
        "beside": "limit",
        "value": ["at_1000000", "n_not_fitted"],
        "at_most": 0,
        "unit": "",
    },
]

SIZES = (1_000, 3_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (300, 900)
WARM_UP_ROWS = 200
N_FEATURES, N_TASKS = 10, 20
MEMORY_LIMIT = 4 * 2**30
# What "largest_n" is extrapolated to.
MOST_SECONDS, MOST_MB = 600.0, 24 * 1024.0
# Times and growths below these are fixed costs and rounding, which have no slope.
LEAST_SECONDS, LEAST_MB = 0.05, 8.0

# Public estimators without rows here, and why.
NOT_OF_TABLES = {
    "SpectrogramTransformer": "sounds",
    "WordVectorTransformer": "texts",
    "ZeroShotClassifier": "images",
}


def estimator(name: str) -> Callable:
    """Return the class of a public name, imported when it is first used."""
    return getattr(skltransfer, name)


class Case(NamedTuple):
    """An estimator with the data that it is fitted on.

    Parameters
    ----------
    make : callable
        Returns the unfitted estimator; takes the data.
    data : str
        "unlabelled" (source and target samples), "source" (source samples with labels, and target
        samples), "both" (one target label in ten known as well), "one" (one domain), "tasks" (one
        domain with a column of tasks), "groups" (source samples in tasks, and some target labels).
    labels : {"classes", "numbers"}
    """

    make: Callable[[dict], Any]
    data: str
    labels: str = "classes"


def table_network():
    """Return a small network that a table passes."""
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Linear(N_FEATURES, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32)]
    return torch.nn.Sequential(*layers)


def plain(name: str, data: str, labels: str = "classes", **parameters) -> Case:
    """Return the case of an estimator with its defaults, but for some parameters."""
    return Case(lambda _: estimator(name)(**parameters), data, labels)


def around(name: str, model, data: str, labels: str = "classes") -> Case:
    """Return the case of an estimator around another one."""
    return Case(lambda _: estimator(name)(model), data, labels)


def fitted_source(data: dict) -> Any:
    """Return a model of the source."""
    return LogisticRegression().fit(data["X"], data["y"])


LOGISTIC, RIDGE = LogisticRegression(), Ridge()
# Variants of an estimator follow a comma.
CASES = {
    # instance
    "KMMReweighter": plain("KMMReweighter", "unlabelled"),
    "KMMReweighter, tol=1e-6": plain("KMMReweighter", "unlabelled", tol=1e-6),
    "KLIEPReweighter": plain("KLIEPReweighter", "unlabelled"),
    "ULSIFReweighter": plain("ULSIFReweighter", "unlabelled"),
    "DiscriminativeReweighter": plain("DiscriminativeReweighter", "unlabelled"),
    "NearestNeighborsReweighter": plain("NearestNeighborsReweighter", "unlabelled"),
    "GaussianReweighter": plain("GaussianReweighter", "unlabelled"),
    "KernelDensityReweighter": plain("KernelDensityReweighter", "unlabelled"),
    "LabelShiftReweighter": around("LabelShiftReweighter", LOGISTIC, "source"),
    "PooledEstimator": around("PooledEstimator", LOGISTIC, "both"),
    "SourceSelector": plain("SourceSelector", "unlabelled"),
    "SourceSelector, neighbors": plain("SourceSelector", "unlabelled", keep="neighbors"),
    "TrAdaBoostClassifier": plain("TrAdaBoostClassifier", "both"),
    "TrAdaBoostRegressor": plain("TrAdaBoostRegressor", "both", "numbers"),
    "TwoStageTrAdaBoostRegressor": plain("TwoStageTrAdaBoostRegressor", "both", "numbers"),
    # feature
    "CORAL": plain("CORAL", "unlabelled"),
    "SubspaceAlignment": plain("SubspaceAlignment", "unlabelled"),
    "GeodesicFlowKernel": plain("GeodesicFlowKernel", "unlabelled"),
    "TCA": plain("TCA", "unlabelled"),
    "TCA, rbf": plain("TCA", "unlabelled", kernel="rbf"),
    "JDA": plain("JDA", "source"),
    "JDA, rbf": plain("JDA", "source", kernel="rbf"),
    "OptimalTransportMapper": plain("OptimalTransportMapper", "source"),
    "OptimalTransportMapper, linear": plain("OptimalTransportMapper", "source", method="linear"),
    "FeatureAugmenter": plain("FeatureAugmenter", "unlabelled"),
    "SourceScoreTransformer": Case(
        lambda data: estimator("SourceScoreTransformer")(fitted_source(data)), "one"
    ),
    "PretrainedFeatureTransformer": Case(
        lambda _: estimator("PretrainedFeatureTransformer")(table_network(), store=None), "one"
    ),
    "SelfSupervisedTransformer": plain("SelfSupervisedTransformer", "one"),
    # parameter
    "TransferRidge": plain("TransferRidge", "both", "numbers"),
    "TransferRidgeCV": plain("TransferRidgeCV", "both", "numbers"),
    "TransferLogisticRegression": plain("TransferLogisticRegression", "both"),
    "TransferLogisticRegressionCV": plain("TransferLogisticRegressionCV", "both"),
    "MultiTaskRegressor": plain("MultiTaskRegressor", "tasks", "numbers", task_column=-1),
    "MultiTaskClassifier": plain("MultiTaskClassifier", "tasks", task_column=-1),
    "FineTunedClassifier": plain("FineTunedClassifier", "one"),
    "FineTunedClassifier, linear probe": Case(
        lambda _: estimator("FineTunedClassifier")(table_network(), strategy="linear_probe"), "one"
    ),
    "FineTunedRegressor": plain("FineTunedRegressor", "one", "numbers"),
    "RegularizedTransferClassifier": plain("RegularizedTransferClassifier", "one"),
    "RegularizedTransferRegressor": plain("RegularizedTransferRegressor", "one", "numbers"),
    # relation
    "DANNClassifier": plain("DANNClassifier", "source"),
    "DANNRegressor": plain("DANNRegressor", "source", "numbers"),
    "CDANClassifier": plain("CDANClassifier", "source"),
    "DANClassifier": plain("DANClassifier", "source"),
    "DANRegressor": plain("DANRegressor", "source", "numbers"),
    "DeepCORALClassifier": plain("DeepCORALClassifier", "source"),
    "DeepCORALRegressor": plain("DeepCORALRegressor", "source", "numbers"),
    "MCCClassifier": plain("MCCClassifier", "source"),
    "MAMLClassifier": plain("MAMLClassifier", "groups"),
    "MAMLRegressor": plain("MAMLRegressor", "groups", "numbers"),
    "PrototypicalClassifier": plain("PrototypicalClassifier", "groups"),
    "InContextTransferClassifier": plain("InContextTransferClassifier", "both"),
    "InContextTransferRegressor": plain("InContextTransferRegressor", "both", "numbers"),
    # compositions
    "TransferClassifier": around("TransferClassifier", LOGISTIC, "both"),
    "TransferRegressor": around("TransferRegressor", RIDGE, "both", "numbers"),
    "WithTarget": Case(
        lambda data: estimator("WithTarget")(
            make_pipeline(StandardScaler(), estimator("CORAL")(), LOGISTIC), X_target=data["T"]
        ),
        "one",
    ),
    "WithSource": Case(
        lambda data: estimator("WithSource")(
            make_pipeline(StandardScaler(), estimator("PooledEstimator")(LOGISTIC)),
            X_source=data["T"],
            y_source=data["y_of_T"],
        ),
        "one",
    ),
    # yardsticks
    "sklearn LogisticRegression": Case(lambda _: LogisticRegression(), "one"),
}
# Estimators whose parameters are coefficients or moments: their fits reach a million rows.
LINEAR = {
    "GaussianReweighter",
    "LabelShiftReweighter",
    "PooledEstimator",
    "CORAL",
    "SubspaceAlignment",
    "GeodesicFlowKernel",
    "TCA",
    "OptimalTransportMapper, linear",
    "FeatureAugmenter",
    "SourceScoreTransformer",
    "PretrainedFeatureTransformer",
    "TransferRidge",
    "TransferRidgeCV",
    "TransferLogisticRegression",
    "TransferLogisticRegressionCV",
    "MultiTaskRegressor",
    "MultiTaskClassifier",
    "WithTarget",
    "WithSource",
    "sklearn LogisticRegression",
}
# Fitted attributes that tell which path ran, beside all that are texts.
PATH_NUMBERS = ("tol_", "dual_gap_", "approximation_error_", "relative_error_")


def check_that_all_are_here() -> None:
    """Refuse to run if a public estimator has neither a case nor a reason to have none."""
    public = {
        name
        for name in skltransfer.__all__
        if inspect.isclass(value := getattr(skltransfer, name)) and issubclass(value, BaseEstimator)
    }
    known = {name.split(",")[0] for name in CASES} | NOT_OF_TABLES.keys()
    if absent := public - known:
        raise SystemExit(f"Public estimators without a case in CASES: {sorted(absent)}.")


def sample(n: int, seed: int = 0) -> dict:
    """Return samples of a Gaussian shift, with labels that depend on them alike."""
    rng = np.random.default_rng(seed)
    X, T = rng.normal(size=(n, N_FEATURES)), 0.8 * rng.normal(size=(n, N_FEATURES))
    T[:, : N_FEATURES // 2] += 0.5
    coefficients = rng.normal(size=N_FEATURES)
    numbers = [part @ coefficients + 0.5 * np.sin(3 * part[:, 0]) for part in (X, T)]
    numbers = [part + 0.5 * rng.normal(size=n) for part in numbers]
    classes = [(part > np.median(numbers[0])).astype(float) for part in numbers]
    known = np.arange(n) % 10 == 0
    return {"X": X, "T": T, "numbers": numbers, "classes": classes, "known": known}


def arguments(case: Case, data: dict) -> tuple[tuple, dict]:
    """Return the arguments of a fit."""
    y, y_target = data[case.labels]
    some = np.where(data["known"], y_target, np.nan)
    tasks = np.arange(len(y)) % N_TASKS
    return {
        "unlabelled": ((data["X"],), {"X_target": data["T"]}),
        "source": ((data["X"], y), {"X_target": data["T"]}),
        "both": ((data["X"], y), {"X_target": data["T"], "y_target": some}),
        "one": ((data["X"], y), {}),
        "tasks": ((np.column_stack([data["X"], tasks]), y), {}),
        "groups": ((data["X"], y), {"X_target": data["T"], "y_target": some, "groups": tasks}),
    }[case.data]


def status(key: str) -> int:
    """Return a number of kilobytes from the description of this process, in bytes."""
    with open("/proc/self/status") as file:
        (line,) = [line for line in file if line.startswith(key + ":")]
    return 1024 * int(line.split()[1])


def forget_the_peak() -> None:
    """Let the largest resident set of this process begin anew, where the system can."""
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass


def fit(name: str, n: int) -> dict:
    """Fit once, and measure."""
    case, data = CASES[name], sample(n)
    data |= {"y": data[case.labels][0], "y_of_T": data[case.labels][1]}
    positional, keywords = arguments(case, data)
    model = case.make(data)
    forget_the_peak()
    before, start = status("VmRSS"), time.process_time()
    model.fit(*positional, **keywords)
    seconds = time.process_time() - start
    shown = {
        key: value
        for key, value in vars(model).items()
        if key.endswith("_") and (isinstance(value, str) or key in PATH_NUMBERS)
    }
    return {
        "cpu_seconds": seconds,
        "growth_mb": max(status("VmHWM") - before, 0) / 2**20,
        "path": shown,
    }


def in_a_fork(name: str, n: int, seconds: float) -> dict:
    """Fit in a child of this process, whose time and memory are limited."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        result, limit = {"error": "time"}, math.ceil(time.process_time() + seconds) + 1
        address_space = status("VmSize") + MEMORY_LIMIT + 2 * n * N_FEATURES * 8 * 3
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        try:
            result = fit(name, n)
        except MemoryError:
            result = {"error": "memory"}
        except RuntimeError as error:  # torch's, which is no MemoryError
            if "memory" not in str(error):
                traceback.print_exc()
            result = {"error": "memory" if "memory" in str(error) else repr(error)[:200]}
        except Exception as error:
            traceback.print_exc()
            result = {"error": repr(error)[:200]}
        finally:
            os.write(writer, json.dumps(result).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        text = file.read()
    _, ended = os.waitpid(child, 0)
    if text:
        return json.loads(text)
    timed_out = os.WIFSIGNALED(ended) and os.WTERMSIG(ended) in (signal.SIGXCPU, signal.SIGKILL)
    return {"error": "time" if timed_out else f"ended with status {ended}"}


def measure(name: str, sizes: list[int], seconds: float) -> None:
    """Fit at growing sizes, as long as the next one is expected within the limits.

    What is known is printed after each of them.
    """
    fits: dict[int, dict] = {}
    fit(name, WARM_UP_ROWS)
    for n in sizes:
        known = [(m, found["cpu_seconds"]) for m, found in fits.items()]
        if len(known) > 1 and extrapolated(known, n, LEAST_SECONDS) > 1.5 * seconds:
            break
        found = in_a_fork(name, n, seconds)
        if "error" in found:
            print(json.dumps({"fits": fits, "stopped_at": n, "error": found["error"]}), flush=True)
            break
        fits[n] = found
        print(json.dumps({"fits": fits}), flush=True)


def slope(points: list[tuple[int, float]], least: float) -> float | None:
    """Return the slope of a line through the logarithms of the last three points that count."""
    points = [point for point in points if point[1] >= least][-3:]
    if len(points) < 2:
        return None
    x, y = np.log(np.array(points)).T
    return float(np.polyfit(x, y, 1)[0])


def exponent(points: list[tuple[int, float]], least: float) -> float:
    """Return the slope by which the last value is taken to grow."""
    return max(slope(points, least) or 1.0, 1.0)


def extrapolated(points: list[tuple[int, float]], n: float, least: float) -> float:
    """Return the value at a size."""
    last_n, last = points[-1]
    return last * (n / last_n) ** exponent(points, least)


def largest(points: list[tuple[int, float]], limit: float, least: float) -> float:
    """Return the size at which the extrapolation meets a limit."""
    last_n, last = points[-1]
    return last_n * (limit / max(last, 1e-9)) ** (1 / exponent(points, least))


def described(name: str, measured: dict) -> dict:
    """Return the row of the record of an estimator, without what follows from its numbers."""
    fits = measured["fits"]
    row: dict[str, Any] = {
        "name": name,
        "seconds": {n: round(found["cpu_seconds"], 3) for n, found in fits.items()},
        "growth_mb": {n: round(found["growth_mb"], 1) for n, found in fits.items()},
    }
    if paths := {n: found["path"] for n, found in fits.items() if found["path"]}:
        row["path"] = paths
    if "error" in measured:
        row["stopped_at"], row["error"] = measured.get("stopped_at"), measured["error"]
    return row | {"cpu": machine()["cpu"]}


def with_slopes(row: dict) -> dict:
    """Return a row with its slopes and the largest size."""
    if not row["seconds"]:
        return row
    points = [
        [(int(n), value) for n, value in row[column].items()] for column in ("seconds", "growth_mb")
    ]
    least = LEAST_SECONDS, LEAST_MB
    slopes = [slope(*each) for each in zip(points, least, strict=True)]
    by_time, by_memory = (
        largest(*each) for each in zip(points, (MOST_SECONDS, MOST_MB), least, strict=True)
    )
    found, most = min(by_time, by_memory), 100 * points[0][-1][0]
    bound = "time" if by_time <= by_memory else "memory"
    return row | {
        "time_slope": slopes[0] and round(slopes[0], 2),
        "memory_slope": slopes[1] and round(slopes[1], 2),
        "largest_n": int(float(f"{min(found, most):.2g}")),
        "bound_by": bound if found < most else "neither",
    }


def at_size(rows: list[dict], n: int, names=None) -> dict:
    """Return the extremes over the fits of one size."""
    key = str(n)
    wanted = [row for row in rows if names is None or row["name"] in names]
    # A variant that its user has to ask for may be out of reach.
    wanted = [row for row in wanted if "tol=" not in row["name"]]
    done = [row for row in wanted if key in row["seconds"]]
    return {
        "slowest_seconds": max((row["seconds"][key] for row in done), default=None),
        "largest_growth_mb": max((row["growth_mb"][key] for row in done), default=None),
        "n_not_fitted": len(wanted) - len(done),
        "not_fitted": [row["name"] for row in wanted if key not in row["seconds"]],
    }


def known_rows(options: argparse.Namespace) -> dict[str, dict]:
    """Return the rows of the record that is there."""
    path = output_folder(__file__, options) / "scale.json"
    if options.quick or not path.is_file():
        return {}
    return {row["name"]: row for row in json.loads(path.read_text())["rows"]}


def main(options: argparse.Namespace) -> None:
    """Measure estimators, one after the other, and write the record after each of them."""
    check_that_all_are_here()
    names = options.only or [*CASES]
    if unknown := set(names) - CASES.keys():
        raise SystemExit(f"--only: unknown {sorted(unknown)}; known: {', '.join(CASES)}")
    for name in names:
        sizes = options.sizes or (QUICK_SIZES if options.quick else SIZES)
        if not options.sizes and name not in LINEAR:
            sizes = [n for n in sizes if n <= 100_000]
        command = [sys.executable, "-m", "benchmarks.speed.scale", "--case", name]
        command += ["--seconds", str(options.seconds), "--sizes", *map(str, sizes)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        known = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
        measured = known[-1] if known else {"fits": {}}
        if run.returncode:
            measured |= {"error": f"ended with status {run.returncode}"}
        row = described(name, measured)
        print(with_slopes(row), file=sys.stderr, flush=True)
        # Read anew, because another process may measure other estimators meanwhile.
        known = known_rows(options) | {name: row}
        rows = [with_slopes(known[each]) for each in CASES if each in known]
        record = {"rows": rows}
        if not options.quick:
            record["at_100000"] = at_size(rows, 100_000)
            record["at_1000000"] = at_size(rows, 1_000_000, LINEAR)
        with redirect_stdout(io.StringIO()):  # too long to be printed after each estimator
            write(__file__, record, options)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="names of CASES")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="N", help="numbers of rows")
    parser.add_argument(
        "--seconds", type=float, default=450.0, help="largest CPU time of a fit (450)"
    )
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        warnings.simplefilter("ignore")
        measure(options.case, options.sizes, options.seconds)
    else:
        main(options)
