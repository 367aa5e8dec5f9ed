"""Linear transfer: the whole path of alpha over all folds at once, against one fit after the other.

``TransferRidgeCV`` and ``TransferLogisticRegressionCV`` stand beside the same estimators fitted for
every alpha and fold in turn (and at the chosen alpha on all rows), with the same scores. In small
logistic problems calls cost more than arithmetic; at about 200 unknowns and more the batch does the
same arithmetic as single fits. The contenders get the same 15 alphas, 5 folds and scoring, written
out as a plain loop of fits and scores, without the bookkeeping of a search. Where the source is
zero, scikit-learn's LogisticRegressionCV solves the same problems and stands beside them. One
thread, process CPU time, median of rounds in which the contenders take turns.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold

from skltransfer import (
    TransferLogisticRegression,
    TransferLogisticRegressionCV,
    TransferRidge,
    TransferRidgeCV,
)

CLAIMS = [
    {
        "claim": "TransferRidgeCV, 50 x 20",
        "beside": "one fit after the other",
        "value": ["rows", {"estimator": "TransferRidgeCV", "n": 50, "n_features": 20}, "ratio_cpu"],
        "at_least": 5,
    },
    {
        "claim": "TransferRidgeCV, 200 x 20",
        "beside": "one fit after the other",
        "value": [
            "rows",
            {"estimator": "TransferRidgeCV", "n": 200, "n_features": 20},
            "ratio_cpu",
        ],
        "at_least": 5,
    },
    {
        "claim": "TransferRidgeCV, 200 x 500",
        "beside": "one fit after the other",
        "value": [
            "rows",
            {"estimator": "TransferRidgeCV", "n": 200, "n_features": 500},
            "ratio_cpu",
        ],
        "at_least": 5,
    },
    {
        "claim": "TransferRidgeCV, 1000 x 50",
        "beside": "one fit after the other",
        "value": [
            "rows",
            {"estimator": "TransferRidgeCV", "n": 1000, "n_features": 50},
            "ratio_cpu",
        ],
        "at_least": 5,
    },
    {
        "claim": "TransferLogisticRegressionCV, 50 x 20, 2 classes",
        "beside": "one fit after the other",
        "value": ["rows", {"n": 50, "n_features": 20, "n_classes": 2}, "ratio_cpu"],
        "at_least": 5,
    },
    {
        "claim": "TransferLogisticRegressionCV, 200 x 20, 2 classes",
        "beside": "one fit after the other",
        "value": ["rows", {"n": 200, "n_features": 20, "n_classes": 2}, "ratio_cpu"],
        "at_least": 5,
    },
    {
        "claim": "TransferLogisticRegressionCV, 200 x 20, 5 classes",
        "beside": "one fit after the other",
        "value": ["rows", {"n": 200, "n_features": 20, "n_classes": 5}, "ratio_cpu"],
        "at_least": 5,
    },
    {
        "claim": "TransferLogisticRegressionCV, 200 x 500, 2 classes",
        "beside": "one fit after the other",
        "value": ["rows", {"n": 200, "n_features": 500, "n_classes": 2}, "ratio_cpu"],
        "at_least": 5,
    },
    {
        "claim": "TransferLogisticRegressionCV, 1000 x 50, 2 classes",
        "beside": "one fit after the other",
        "value": ["rows", {"n": 1000, "n_features": 50, "n_classes": 2}, "ratio_cpu"],
        "at_least": 5,
    },
    {
        "claim": "TransferLogisticRegressionCV, 1000 x 50, 5 classes",
        "beside": "one fit after the other",
        "value": ["rows", {"n": 1000, "n_features": 50, "n_classes": 5}, "ratio_cpu"],
        "at_least": 5,
    },
]

ALPHAS = [10.0 ** (step / 2) for step in range(-4, 11)]
SHAPES = ((50, 20, 2), (200, 20, 2), (200, 20, 5), (200, 500, 2), (1000, 50, 2), (1000, 50, 5))


def task(n: int, n_features: int, n_classes: int):
    """Return rows, numbers, classes and a source's coefficients for both."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, n_features))
    W = rng.normal(size=(n_classes, n_features)) / np.sqrt(n_features)
    y = X @ W[0] + 0.5 * rng.normal(size=n)
    codes = (3 * X @ W.T + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    source = W + 0.3 * rng.normal(size=W.shape) / np.sqrt(n_features)
    return X, y, codes, source[0], source[1:] - source[:1] if n_classes == 2 else source


def one_by_one(estimator, folds, X, y, score):
    """Fit for each alpha and fold in turn, then the best on all rows; return all the scores."""
    scores = np.empty((len(ALPHAS), len(folds)))
    for i, alpha in enumerate(ALPHAS):
        estimator.set_params(alpha=alpha)
        for j, (train, test) in enumerate(folds):
            scores[i, j] = score(estimator.fit(X[train], y[train]), X[test], y[test])
    estimator.set_params(alpha=ALPHAS[int(scores.mean(axis=1).argmax())]).fit(X, y)
    return scores


def main(options) -> None:
    """Measure regression and classification on tasks of several shapes."""
    rows = []
    n_rounds = rounds(5, options)
    for n, n_features, n_classes in SHAPES[:1] if options.quick else SHAPES:
        X, y, codes, w, W = task(n, n_features, n_classes)
        if n_classes == 2:
            folds = list(KFold(5).split(X))
            rows.append(
                measure(
                    {"estimator": "TransferRidgeCV", "n": n, "n_features": n_features},
                    lambda w=w, X=X, y=y: (
                        TransferRidgeCV(w, alphas=ALPHAS, cv=KFold(5)).fit(X, y).cv_scores_
                    ),
                    lambda w=w, X=X, y=y, folds=folds: one_by_one(
                        TransferRidge(w), folds, X, y,
                        lambda m, X, y: -mean_squared_error(y, m.predict(X)),
                    ),
                    {}, n_rounds,
                )
            )  # fmt: skip
        folds = list(StratifiedKFold(5).split(X, codes))
        classes = np.unique(codes)
        contenders = {}
        if n_classes == 2:  # scikit-learn's solves the same problem where the source is zero
            contenders["scikit-learn, source zero"] = lambda X=X, y=codes, folds=folds: (
                LogisticRegressionCV(
                    Cs=[1 / alpha for alpha in ALPHAS], cv=folds, scoring="neg_log_loss",
                    solver="newton-cholesky", tol=1e-8, max_iter=1000,
                    use_legacy_attributes=False, l1_ratios=(0,),
                ).fit(X, y)
            )  # fmt: skip
        rows.append(
            measure(
                {
                    "estimator": "TransferLogisticRegressionCV",
                    "n": n,
                    "n_features": n_features,
                    "n_classes": n_classes,
                },
                lambda W=W, X=X, y=codes, folds=folds: (
                    TransferLogisticRegressionCV(W, alphas=ALPHAS, cv=folds).fit(X, y).cv_scores_
                ),
                lambda W=W, X=X, y=codes, folds=folds, classes=classes: one_by_one(
                    TransferLogisticRegression(W), folds, X, y,
                    lambda m, X, y: -log_loss(y, m.predict_proba(X), labels=classes),
                ),
                contenders, n_rounds,
            )
        )  # fmt: skip
    write(__file__, {"rows": rows}, options)


def measure(what: dict, path, sequential, others: dict, n_rounds: int) -> dict:
    """Let the contenders take turns, and check that the first two agree."""
    contenders = {"path": path, "one by one": sequential, **others}
    results = interleave(contenders, n_rounds)
    scores = [results[name].pop("result") for name in ("path", "one by one")]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-6)
    for name in others:
        results[name].pop("result")
    seconds = {name: result["cpu_seconds"] for name, result in results.items()}
    ratios = {"ratio_cpu": seconds["one by one"] / seconds["path"]}
    for name in others:
        ratios[f"ratio_cpu, {name}"] = seconds[name] / seconds["path"]
    return {**what, **ratios, **results}


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
