"""Office-Caltech10 with SURF features: the aligners in the published protocol.

Four domains, twelve tasks, all rows of the source and of the target. Counts are divided by their
sum in each row, then each column is standardised within its domain. Behind the aligners stands
the nearest neighbour, or for CORAL a linear support vector machine; both are also fitted on the
source alone. No setting is searched for: they are those of the numbers that stand beside.

Asserted: the nearest neighbour without adaptation has its published accuracy on every task.

Needs the shared data (office_caltech_surf).
"""

from __future__ import annotations

import warnings
from pathlib import Path

from benchmarks._measure import make_parser, one_thread, write

one_thread()

import numpy as np
from scipy.stats import zscore
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import SVC

from skltransfer import CORAL, JDA, TCA, GeodesicFlowKernel, SubspaceAlignment, WithTarget

DATA = ("office_caltech_surf",)
CLAIMS = [
    {
        "claim": "Office-Caltech, 1-NN on the source alone",
        "beside": "published mean",
        "value": ["accuracy, %", "source only, 1-NN", "mean"],
        "within": [31.4, 0.1],
        "unit": "%",
    },
    {
        "claim": "Office-Caltech, JDA",
        "beside": "published mean",
        "value": ["accuracy, %", "JDA, 5 or 10 rounds, 1-NN", "mean"],
        "within": [46.3, 0.7],
        "unit": "%",
    },
    {
        "claim": "Office-Caltech, TCA",
        "beside": "mean in the data's README",
        "value": ["accuracy, %", "TCA, 1-NN", "mean"],
        "within": [43.6, 0.7],
        "unit": "%",
    },
    {
        "claim": "Office-Caltech, GeodesicFlowKernel",
        "beside": "mean in the data's README",
        "value": ["accuracy, %", "GeodesicFlowKernel, d = 20, 1-NN", "mean"],
        "within": [44.2, 0.7],
        "unit": "%",
    },
    {
        "claim": "Office-Caltech, SubspaceAlignment",
        "beside": "mean in the data's README",
        "value": ["accuracy, %", "SubspaceAlignment, d = 20, 1-NN", "mean"],
        "within": [44.3, 0.7],
        "unit": "%",
    },
    {
        "claim": "Office-Caltech, CORAL",
        "beside": "mean in the data's README",
        "value": ["accuracy, %", "CORAL, linear SVM", "mean"],
        "within": [46.6, 0.7],
        "unit": "%",
    },
    {
        "claim": "Office-Caltech, CORAL",
        "beside": "published mean",
        "value": ["accuracy, %", "CORAL, linear SVM", "mean"],
        "within": [48.8, 0.7],
        "unit": "%",
    },
]

DOMAINS = ("caltech", "amazon", "webcam", "dslr")
TASKS = [
    ("caltech", "amazon"),
    ("caltech", "webcam"),
    ("caltech", "dslr"),
    ("amazon", "caltech"),
    ("amazon", "webcam"),
    ("amazon", "dslr"),
    ("webcam", "caltech"),
    ("webcam", "amazon"),
    ("webcam", "dslr"),
    ("dslr", "caltech"),
    ("dslr", "amazon"),
    ("dslr", "webcam"),
]
# Means that the shared data's README gives for the same protocol, and published ones. The nearest
# neighbour's are the same for each task, too.
REFERENCE = {
    "source only, 1-NN": {"readme": 31.37, "published": 31.37},
    "source only, linear SVM": {"readme": 45.91},
    "SubspaceAlignment, d = 20, 1-NN": {"readme": 44.26},
    "GeodesicFlowKernel, d = 20, 1-NN": {"readme": 44.17},
    "TCA, 1-NN": {"readme": 43.61},
    "JDA, 5 or 10 rounds, 1-NN": {"readme": 46.30, "published": 46.31},
    "JDA, 10 rounds, 1-NN": {},
    "CORAL, linear SVM": {"readme": 46.63, "published": 48.8},
}
NOTES = {
    "SubspaceAlignment, d = 20, 1-NN": "The exact axes. Axes by scikit-learn's randomised solver "
    '("SubspaceAlignment, randomised axes") move the mean above the README\'s and single tasks by '
    "several points: the last of the 20 axes are not well separated.",
    "GeodesicFlowKernel, d = 20, 1-NN": "The exact axes, as with SubspaceAlignment.",
    "TCA, 1-NN": "Primal form, rows divided by their norms before and after, 100 components, "
    "regularization 1.",
    "JDA, 5 or 10 rounds, 1-NN": "Dual form, linear kernel, 100 components, regularization 1. The "
    "authors' program weighs the distance of the domains by the number of classes, which their "
    "paper does not.",
    "JDA, 10 rounds, 1-NN": "Ten rounds throughout; only C > A and A > C can differ from the row "
    "above.",
    "CORAL, linear SVM": "Equal to the README's number. The published one is over two points "
    'higher and was not reproduced by any setting tried ("CORAL, other settings"): the protocol '
    "behind it, such as how C was chosen, is not known in full. The machine alone, without "
    "adaptation, is less than a point behind.",
}
NEAREST = [23.70, 25.76, 25.48, 26.00, 29.83, 25.48, 19.86, 22.96, 59.24, 26.27, 28.50, 63.39]


def read(data: Path, name: str):
    """Return rows and labels of a domain, as the protocol normalises them."""
    file = np.load(data / "office_caltech_surf" / f"{name}.npz")
    X = file["X"].astype(float)
    return zscore(X / X.sum(axis=1, keepdims=True)), file["y"]


def methods(task: tuple) -> dict:
    """Return the estimators by name."""
    nearest, machine = KNeighborsClassifier(1), SVC(kernel="linear", C=1.0)
    few_rounds = 5 if set(task) == {"caltech", "amazon"} else 10

    def joint(n_iter):
        paper = {"form": "dual", "regularization": 1.0, "normalize_rows": True}
        return make_pipeline(Normalizer(), JDA(100, **paper, max_iter=n_iter), nearest)

    return {
        "source only, 1-NN": nearest,
        "source only, linear SVM": machine,
        "SubspaceAlignment, d = 20, 1-NN": make_pipeline(SubspaceAlignment(20), nearest),
        "GeodesicFlowKernel, d = 20, 1-NN": make_pipeline(GeodesicFlowKernel(20), nearest),
        "TCA, 1-NN": make_pipeline(
            Normalizer(), TCA(100, form="primal", regularization=1.0), Normalizer(), nearest
        ),
        "JDA, 5 or 10 rounds, 1-NN": joint(few_rounds),
        "JDA, 10 rounds, 1-NN": joint(10),
        "CORAL, linear SVM": make_pipeline(CORAL(), machine),
    }


def other_settings() -> dict:
    """Return further settings of CORAL and the machine behind it."""
    settings = {}
    for C in (0.001, 0.003, 1.0):
        for name, parameters in {
            "reg_covar=1": {},
            "reg_covar=10": {"reg_covar": 10.0},
            "Ledoit-Wolf": {"shrinkage": "ledoit_wolf", "reg_covar": 0.0},
        }.items():
            machine = SVC(kernel="linear", C=C)
            settings[f"{name}, C={C:g}"] = make_pipeline(CORAL(**parameters), machine)
        settings[f"source only, C={C:g}"] = SVC(kernel="linear", C=C)
    return settings


def randomised_alignment(source, target) -> float:
    """Return the accuracy of subspace alignment whose axes come from a randomised solver."""
    axes = [
        PCA(20, svd_solver="randomized", random_state=0).fit(X).components_.T
        for X in (source[0], target[0])
    ]
    mapped = source[0] @ axes[0] @ axes[0].T @ axes[1]
    nearest = KNeighborsClassifier(1).fit(mapped, source[1])
    return 100 * nearest.score(target[0] @ axes[1], target[1])


def accuracy(estimator, source, target) -> float:
    """Return the accuracy on the target, in percent, of a fit that sees no target label."""
    if isinstance(estimator, KNeighborsClassifier | SVC):
        fitted = estimator.fit(*source)
    else:
        fitted = WithTarget(estimator, X_target=target[0]).fit(*source)
    return 100 * fitted.score(*target)


def table(rows: dict, tasks: list[tuple[str, str]]) -> str:
    """Return the scores as a markdown table, with the reference means beside."""
    short = [f"{source[0].upper()}>{target[0].upper()}" for source, target in tasks]
    lines = [
        "| method | " + " | ".join(short) + " | mean | README | published |",
        "|---" * (len(tasks) + 4) + "|",
    ]
    for name, row in rows.items():
        known = [row.get(kind) for kind in ("readme", "published")]
        cells = [f"{score:.1f}" for score in row["tasks"]] + [f"**{row['mean']:.2f}**"]
        cells += ["" if number is None else f"{number:.2f}" for number in known]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def main(options) -> None:
    """Score every method on the twelve tasks; a quick run takes the two smallest."""
    domains = {name: read(options.data, name) for name in DOMAINS}
    tasks = [("webcam", "dslr"), ("dslr", "webcam")] if options.quick else TASKS
    rows = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, reference in REFERENCE.items():
            scores = [accuracy(methods(t)[name], domains[t[0]], domains[t[1]]) for t in tasks]
            row = {"mean": float(np.mean(scores)), "tasks": scores, **reference}
            if "readme" in row:
                row["difference"] = row["mean"] - row["readme"]
            rows[name] = row | ({"note": NOTES[name]} if name in NOTES else {})
        further = {
            name: float(np.mean([accuracy(made, domains[s], domains[t]) for s, t in tasks]))
            for name, made in other_settings().items()
        }
    randomised = [randomised_alignment(domains[s], domains[t]) for s, t in tasks]
    nearest = rows["source only, 1-NN"]["tasks"]
    published = dict(zip(TASKS, NEAREST, strict=True))
    assert np.allclose(nearest, [published[task] for task in tasks], atol=0.006)
    record = {
        "tasks": [f"{source} > {target}" for source, target in tasks],
        "accuracy, %": rows,
        "CORAL, other settings": further,
        "SubspaceAlignment, randomised axes": {
            "mean": float(np.mean(randomised)),
            "tasks": randomised,
        },
    }
    write(__file__, record, options)
    print(table(rows, tasks))


if __name__ == "__main__":
    main(make_parser(__doc__, data=True).parse_args())
