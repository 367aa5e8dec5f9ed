"""Fits on drawn hostile tables: finite answers, or an error of a kind that is promised.

Two domains are drawn by hypothesis: sizes from one sample on, columns of any scale and offset below
1e150, constants, copies, extreme values, missing and infinite values, containers and dtypes of all
sorts, labels and weights likewise. An estimator either answers with finite numbers, if it was given
finite numbers, or refuses with an error of `PROMISED`. It never changes what it was given. A fit
that fails leaves no fitted attribute.

python -m benchmarks.robustness.fuzzing [--quick] [--examples 1000] [--only NAME ...]
"""

from __future__ import annotations

if __name__ == "__main__":
    from benchmarks._measure import one_thread

    one_thread()

import time
import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone, is_regressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

import skltransfer as skl
from benchmarks._measure import make_parser, write
from skltransfer.domains._composition import consumed_keywords

CLAIMS = [
    {
        "claim": "answers that are not finite, to finite input below 1e150",
        "beside": "limit",
        "value": ["all", "not_finite"],
        "at_most": 0,
        "unit": "answers",
    },
    {
        "claim": "errors other than ValueError, TypeError, OSError, MemoryError",
        "beside": "limit",
        "value": ["all", "other_errors"],
        "at_most": 0,
        "unit": "errors",
    },
    {
        "claim": "arrays of the caller that a fit changed",
        "beside": "limit",
        "value": ["all", "changed_input"],
        "at_most": 0,
        "unit": "inputs",
    },
    {
        "claim": "failed fits that left a fitted attribute",
        "beside": "limit",
        "value": ["all", "half_fitted"],
        "at_most": 0,
        "unit": "fits",
    },
    {
        "claim": "inputs of the cheap class that had the fewest",
        "beside": "limit",
        "value": ["fewest_inputs"],
        "at_least": 1000,
        "unit": "inputs",
    },
]
NEEDS = ["hypothesis"]

PROMISED = (ValueError, TypeError, OSError, MemoryError)
LARGEST = 1e150
METHODS = ("predict", "predict_proba", "decision_function", "transform", "density_ratio")


class _Told:
    """Notes whether all that it was given is finite: scikit-learn's linear models overflow too."""

    def fit(self, X, y, sample_weight=None):
        given = (X, y, sample_weight)
        self.was_given_finite_ = all(_all_finite(part) for part in given if part is not None)
        return super().fit(X, y, sample_weight)


class ToldLogisticRegression(_Told, LogisticRegression):
    """Logistic regression that notes what it is given."""


class ToldRidge(_Told, Ridge):
    """Ridge regression that notes what it is given."""


def _all_finite(answer) -> bool:
    if sparse.issparse(answer):
        answer = answer.toarray()
    answer = np.asarray(answer)
    return answer.dtype.kind not in "fc" or bool(np.isfinite(answer).all())


# Few epochs and folds: the input is what is tried here, not the training.
CHEAP = [
    skl.CORAL(),
    skl.CORAL(shrinkage="ledoit_wolf", match_means=False),
    skl.SubspaceAlignment(),
    skl.GeodesicFlowKernel(),
    skl.FeatureAugmenter(),
    skl.TCA(),
    skl.TCA(kernel="rbf"),
    skl.JDA(),
    skl.OptimalTransportMapper("exact"),
    skl.OptimalTransportMapper("linear"),
    skl.OptimalTransportMapper("sinkhorn", max_iter=100),
    skl.KMMReweighter(ToldLogisticRegression()),
    skl.KMMReweighter(ToldRidge(), kernel="laplacian", dtype="float32"),
    skl.KLIEPReweighter(ToldLogisticRegression(), cv=2),
    skl.ULSIFReweighter(ToldRidge()),
    skl.DiscriminativeReweighter(ToldLogisticRegression(), cv=2),
    skl.NearestNeighborsReweighter(ToldLogisticRegression()),
    skl.GaussianReweighter(ToldRidge()),
    skl.KernelDensityReweighter(ToldLogisticRegression()),
    skl.LabelShiftReweighter(ToldLogisticRegression(), cv=2),
    skl.PooledEstimator(ToldLogisticRegression()),
    skl.SourceSelector(ToldLogisticRegression()),
    skl.TrAdaBoostClassifier(n_estimators=3),
    skl.TrAdaBoostRegressor(n_estimators=3),
    skl.TwoStageTrAdaBoostRegressor(ToldRidge(), n_estimators=2, n_steps=2, cv=2),
    skl.InContextTransferClassifier(),
    skl.InContextTransferRegressor(),
    skl.TransferClassifier(ToldLogisticRegression(), cv=2),
    skl.TransferRegressor(ToldRidge(), cv=2),
    skl.TransferLogisticRegression(),
    skl.TransferLogisticRegressionCV(alphas=[0.1, 10.0], cv=2),
    skl.TransferRidge(),
    skl.TransferRidgeCV(alphas=[0.1, 10.0], cv=2),
    skl.MultiTaskRegressor(),
    skl.MultiTaskRegressor("trace_norm"),
    skl.MultiTaskClassifier(),
    skl.PretrainedFeatureTransformer(),
    skl.WithTarget(make_pipeline(StandardScaler(), skl.KMMReweighter(ToldLogisticRegression()))),
    skl.WithSource(make_pipeline(StandardScaler(), skl.PooledEstimator(ToldLogisticRegression()))),
]
DEAR = [
    skl.FineTunedClassifier(max_epochs=5),
    skl.FineTunedRegressor(max_epochs=5),
    skl.RegularizedTransferClassifier(max_epochs=5),
    skl.RegularizedTransferRegressor(max_epochs=5),
    skl.SelfSupervisedTransformer(max_epochs=2),
    skl.CDANClassifier(skl.FineTunedClassifier(max_epochs=2)),
    skl.DANClassifier(skl.FineTunedClassifier(max_epochs=2)),
    skl.DANNClassifier(skl.FineTunedClassifier(max_epochs=2)),
    skl.DANNRegressor(skl.FineTunedRegressor(max_epochs=2)),
    skl.DANRegressor(skl.FineTunedRegressor(max_epochs=2)),
    skl.DeepCORALClassifier(skl.FineTunedClassifier(max_epochs=2)),
    skl.DeepCORALRegressor(skl.FineTunedRegressor(max_epochs=2)),
    skl.MCCClassifier(skl.FineTunedClassifier(max_epochs=2)),
    skl.PrototypicalClassifier(skl.FineTunedClassifier(max_epochs=2), episodes_per_epoch=4),
    skl.MAMLClassifier(skl.FineTunedClassifier(max_epochs=2), episodes_per_epoch=4),
    skl.MAMLRegressor(skl.FineTunedRegressor(max_epochs=2), episodes_per_epoch=4),
]


@dataclass
class Problem:
    """Two domains as they are handed to ``fit``, and whether their numbers are ordinary."""

    X: object
    y: object
    X_target: object
    y_target: object
    sample_weight: object
    is_finite: bool


SIZES = [1, 2, 3, 5, 8, 8, 12, 12, 20, 20, 20, 30, 30, 40]
RECIPES = st.lists(
    st.tuples(
        st.sampled_from(["normal", "constant", "two", "integers", "outlier", "ties", "drawn"]),
        st.sampled_from([0] * 8 + [1, -3, 6, -8, 20, -20, 75, -75, 140, -150, -300]),  # scale
        st.sampled_from([None] * 8 + [0, 6, 9, 12, 100, 149]),  # offset
    ),
    min_size=1,
    max_size=4,
)


def _filled(draw, recipe, n_samples, generator):
    """Return one column; scale and offset are powers of ten."""
    shape, scale, offset = recipe
    values = {
        "normal": lambda: generator.normal(size=n_samples),
        "constant": lambda: np.full(n_samples, generator.normal()),
        "two": lambda: generator.integers(0, 2, n_samples).astype(float),
        "integers": lambda: generator.integers(-9, 10, n_samples).astype(float),
        "outlier": lambda: np.where(
            np.arange(n_samples) == 0, 1e6, generator.normal(size=n_samples)
        ),
        "ties": lambda: np.repeat(generator.normal(size=n_samples), 3)[:n_samples],
        "drawn": lambda: np.array(
            draw(
                st.lists(
                    st.floats(-LARGEST, LARGEST, allow_nan=False),
                    min_size=n_samples,
                    max_size=n_samples,
                )
            )
        ),
    }[shape]()
    if shape != "drawn":
        values = values * 10.0**scale
    if offset is not None:
        values = values + 10.0**offset
    return np.clip(values, -0.999 * LARGEST, 0.999 * LARGEST)


def _spoilt(draw, table, generator):
    """Return a copy with one value that is missing or infinite, or beyond the bound."""
    table = table.copy()
    where = tuple(generator.integers(0, size) for size in table.shape)
    table[where] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e160, 1e308]))
    return table


def _contained(draw, table):
    """Return the table in one of the containers that users pass."""
    with np.errstate(all="ignore"):
        small = bool(np.abs(table).max(initial=0.0) < 100 and np.isfinite(table).all())
        container = draw(
            st.sampled_from(
                ["array"] * 12
                + ["fortran", "frozen", "strided", "list", "frame", "csr", "coo", "csc array"]
                + ["float32", "float16", "int64", "uint8", "bool", "object"] * small
            )
        )
        return {
            "array": lambda: table.copy(),
            "fortran": lambda: np.asfortranarray(table),
            "frozen": lambda: _frozen(table),
            "strided": lambda: np.repeat(table, 2, axis=0)[::2],
            "list": table.tolist,
            "frame": lambda: pd.DataFrame(table, columns=[f"x{i}" for i in range(table.shape[1])]),
            "csr": lambda: sparse.csr_matrix(table),
            "coo": lambda: sparse.coo_matrix(table),
            "csc array": lambda: sparse.csc_array(table),
            "object": lambda: table.astype(object),
        }.get(container, lambda: table.astype(container))()


def _frozen(table):
    table = table.copy()
    table.flags.writeable = False
    return table


def _labels(draw, n_samples, generator, kind):
    if kind == "regression":
        shape = draw(st.sampled_from(["normal", "constant", "integers", "drawn"]))
        scale = draw(st.sampled_from([0, 0, 0, 9, -9, 100, -100, 148]))
        return _filled(draw, (shape, scale, None), n_samples, generator)
    n_classes = draw(st.sampled_from([2, 2, 2, 2, 3, 3, 4, 1]))
    codes = generator.integers(0, n_classes, n_samples)
    names = draw(
        st.sampled_from(
            [
                np.arange(4),
                np.arange(4) - 1,
                np.arange(4) / 1.0,
                np.array(["a", "b", "c", "d"]),
                np.array(["a", "b", "c", "d"], dtype=object),
                np.array([False, True, False, True]),
                np.array([10**12, -5, 7, 0]),
            ]
        )
    )
    return names[codes]


def _weights(draw, n_samples, generator):
    kind = draw(
        st.sampled_from(
            ["none"] * 14
            + ["ones", "uniform", "some zero", "one", "zero", "tiny", "huge", "negative", "nan"]
        )
    )
    return {
        "none": lambda: None,
        "ones": lambda: np.ones(n_samples),
        "uniform": lambda: generator.uniform(size=n_samples),
        "some zero": lambda: generator.integers(0, 2, n_samples).astype(float),
        "one": lambda: (np.arange(n_samples) == 0).astype(float),
        "zero": lambda: np.zeros(n_samples),
        "tiny": lambda: np.full(n_samples, 1e-300),
        "huge": lambda: np.full(n_samples, 1e150),
        "negative": lambda: -np.ones(n_samples),
        "nan": lambda: np.full(n_samples, np.nan),
    }[kind]()


@st.composite
def problems(draw, kind="classification"):
    """Draw two domains.

    Parameters
    ----------
    kind : {"classification", "regression"}, default="classification"
        Kind of the labels.

    Returns
    -------
    strategy : SearchStrategy of Problem
    """
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    n_source = draw(st.sampled_from(SIZES))
    n_target = draw(st.sampled_from(SIZES))
    recipes = draw(RECIPES)
    X = np.column_stack([_filled(draw, recipe, n_source, generator) for recipe in recipes])
    related = draw(st.sampled_from(["alike", "alike", "equal", "moved", "other", "far"]))
    if related == "equal":
        X_target = X[generator.integers(0, n_source, n_target)]
    else:
        if related == "other":
            recipes = recipes[::-1]
        X_target = np.column_stack([_filled(draw, r, n_target, generator) for r in recipes])
        if related == "moved":
            X_target = X_target + X.std(axis=0)
        elif related == "far":
            X_target = X_target * 1e3 + 1e3
        X_target = np.clip(X_target, -0.999 * LARGEST, 0.999 * LARGEST)
    if X.shape[1] > 1 and draw(st.booleans()):
        X[:, -1] = X[:, 0]  # collinear
    is_finite = True
    spoilt = draw(st.sampled_from([None] * 16 + ["X", "X_target"]))
    if spoilt is not None:
        is_finite = False
        if spoilt == "X":
            X = _spoilt(draw, X, generator)
        else:
            X_target = _spoilt(draw, X_target, generator)
    y, y_target = (_labels(draw, n, generator, kind) for n in (n_source, n_target))
    if draw(st.booleans()):  # one set of classes, as is usual
        y_target = y[generator.integers(0, n_source, n_target)]
    known = draw(st.sampled_from(["all", "all", "some", "none", "no keyword"]))
    if known == "no keyword":
        y_target = None
    elif known != "all":
        unknown = np.ones(n_target, bool) if known == "none" else generator.random(n_target) < 0.5
        y_target = y_target.astype(float if y_target.dtype.kind in "fib" else object)
        y_target[unknown] = np.nan if y_target.dtype.kind == "f" else None
    weights = _weights(draw, n_source, generator)
    return Problem(_contained(draw, X), y, _contained(draw, X_target), y_target, weights, is_finite)


@dataclass
class Tally:
    """What became of the drawn inputs of one class."""

    counts: Counter = field(default_factory=Counter)
    refusals: Counter = field(default_factory=Counter)
    faults: list = field(default_factory=list)

    def add(self, fault, text):
        """Count a fault, and keep its text."""
        self.counts[fault] += 1
        self.faults.append(f"{fault}: {text}")


def _content(part):
    """Return the bytes of what was handed over."""
    if sparse.issparse(part):
        part = part.tocoo()
        return [array.tobytes() for array in (part.data, part.row, part.col)]
    if isinstance(part, pd.DataFrame):
        return part.to_numpy().tobytes()
    if isinstance(part, np.ndarray) and part.dtype != object:
        return part.tobytes()
    return repr(part)


def _fit(estimator, problem):
    if isinstance(estimator, skl.WithTarget):
        estimator.set_params(X_target=problem.X_target)
        return estimator.fit(problem.X, problem.y, sample_weight=problem.sample_weight)
    if isinstance(estimator, skl.WithSource):
        estimator.set_params(X_source=problem.X, y_source=problem.y)
        return estimator.fit(problem.X_target, problem.y_target)
    given = {"X_target": problem.X_target, "y_target": problem.y_target}
    keywords = {name: given[name] for name in consumed_keywords(estimator, "fit")}
    if isinstance(estimator, skl.MultiTaskClassifier | skl.MultiTaskRegressor):
        two_tasks = np.column_stack([problem.y, problem.y[::-1]])
        return estimator.fit(problem.X, two_tasks, sample_weight=problem.sample_weight)
    if has_fit_parameter(estimator, "sample_weight"):
        keywords["sample_weight"] = problem.sample_weight
    return estimator.fit(problem.X, problem.y, **keywords)


def _base_fails(estimator, methods, X) -> bool:
    """Return whether predictions alone are not finite, of a base that was given finite samples."""
    if not set(methods) <= set(METHODS[:3]):
        return False
    members = [estimator]
    if isinstance(estimator, skl.TransferClassifier | skl.TransferRegressor):
        weighed = [m for name, m in estimator.estimators_.items() if estimator.weights_[name] > 0]
        members = [
            m for m in weighed if not all(_all_finite(getattr(m, name)(X)) for name in methods)
        ]
    return bool(members) and all(
        getattr(_innermost(m), "was_given_finite_", False) for m in members
    )


def _innermost(estimator):
    """Return the fitted estimator inside of wrappers and pipelines."""
    while hasattr(estimator, "estimator_") or hasattr(estimator, "steps"):
        inner = getattr(estimator, "estimator_", None)
        estimator = estimator.steps[-1][1] if inner is None else inner
    return estimator


def try_on(estimator, problem, tally):
    """Fit an estimator on a drawn problem, ask it for all its answers, and count what happened.

    Parameters
    ----------
    estimator : estimator
        Unfitted; a clone of it is fitted.
    problem : Problem
        What it is given.
    tally : Tally
        Where the outcome is counted.
    """
    estimator = clone(estimator)
    before = {name: _content(part) for name, part in vars(problem).items()}
    tally.counts["inputs"] += 1
    try:
        _fit(estimator, problem)
        tally.counts["fitted"] += 1
        answered = True
    except PROMISED as error:
        tally.counts["refused"] += 1
        tally.refusals[f"{type(error).__name__}: {str(error)[:100]}"] += 1
        answered = False
        if left := [name for name in vars(estimator) if name.endswith("_")]:
            tally.add("half_fitted", f"{left} after {error!r}")
    except Exception as error:
        tally.add("other_errors", f"fit: {error!r}")
        answered = False
    if answered:
        answers = {"sample_weight_": getattr(estimator, "sample_weight_", 0.0)}
        for method in METHODS:
            if not hasattr(estimator, method):
                continue
            try:
                answers[method] = getattr(estimator, method)(problem.X_target)
            except PROMISED as error:
                tally.counts["refused_later"] += 1
                tally.refusals[f"{method}: {type(error).__name__}: {str(error)[:100]}"] += 1
            except Exception as error:
                tally.add("other_errors", f"{method}: {error!r}")
        bad = [name for name, answer in answers.items() if not _all_finite(answer)]
        if bad and problem.is_finite:
            if _base_fails(estimator, bad, problem.X_target):
                tally.counts["not_finite_of_base"] += 1
            else:
                tally.add("not_finite", f"{bad}: {problem}")
    for name, part in vars(problem).items():
        if _content(part) != before[name]:
            tally.add("changed_input", name)


def kind_of(estimator):
    """Return the kind of labels that an estimator learns."""
    inner = getattr(estimator, "estimator", None)
    if is_regressor(estimator) or (inner is not None and is_regressor(inner)):
        return "regression"
    return "classification"


def tally_of(estimator, n_inputs, random_seed=0):
    """Try an estimator on drawn problems.

    Parameters
    ----------
    estimator : estimator
        Unfitted.
    n_inputs : int
        Number of problems.
    random_seed : int, default=0
        Seed of the drawing.

    Returns
    -------
    tally : Tally
    """
    tally = Tally()

    @seed(random_seed)
    @settings(
        max_examples=n_inputs,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(problems(kind_of(estimator)))
    def run(problem):
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try_on(estimator, problem, tally)

    run()
    return tally


def main():
    """Write the record."""
    parser = make_parser(__doc__)
    parser.add_argument("--examples", type=int, default=1000, help="inputs of a cheap class")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="classes")
    options = parser.parse_args()
    n_inputs = 10 if options.quick else options.examples
    rows, total = [], Counter()
    for estimator in CHEAP + DEAR:
        name = type(estimator).__name__
        if options.only and name not in options.only:
            continue
        start = time.perf_counter()
        tally = tally_of(estimator, n_inputs if estimator in CHEAP else max(n_inputs // 10, 2))
        seconds = time.perf_counter() - start
        print(f"{estimator!r:.70}: {dict(tally.counts)} {seconds:.0f} s", flush=True)
        for fault in sorted(tally.faults, key=lambda text: text.startswith("not_finite"))[:4]:
            print("   ", fault[:1500], flush=True)
        rows.append({"estimator": repr(estimator), "cheap": estimator in CHEAP, **tally.counts})
        total += tally.counts
    names = (
        "inputs",
        "fitted",
        "refused",
        "not_finite",
        "other_errors",
        "changed_input",
        "half_fitted",
    )
    record = {
        "all": {name: total[name] for name in names},
        "fewest_inputs": min((row["inputs"] for row in rows if row["cheap"]), default=0),
        "estimators": [
            {"estimator": row["estimator"]} | {name: row.get(name, 0) for name in names}
            for row in rows
        ],
    }
    if not options.only:
        write(__file__, record, options)


if __name__ == "__main__":
    main()
