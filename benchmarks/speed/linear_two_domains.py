"""Linear transfer from a source's samples, against scikit-learn's path on the source alone.

The two-domain ``TransferLogisticRegressionCV`` chooses the source's strength among 15 and the
target's among 16. Beside it stands LogisticRegressionCV of default settings on the source alone
(ten strengths), for texts of 5000 words in unit norm (dense, and for us also sparse), the same
standardised. The model of the source is compared with scikit-learn's at the chosen
strength. One thread, process CPU time, median of rounds in which the contenders take turns.
"""

from __future__ import annotations

from benchmarks._measure import interleave, make_parser, one_thread, rounds, write

one_thread()

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.preprocessing import StandardScaler

from skltransfer import TransferLogisticRegressionCV

CLAIMS = [
    {
        "claim": "TransferLogisticRegressionCV, 750 + 50 x 5000, texts, time",
        "beside": "LogisticRegressionCV on the source",
        "value": ["rows", {"n": 750, "n_features": 5000, "kind": "texts"}, "two domains over one"],
        "at_most": 1.1,
    },
    {
        "claim": "TransferLogisticRegressionCV, 750 + 50 x 5000, standardised, time",
        "beside": "LogisticRegressionCV on the source",
        "value": [
            "rows",
            {"n": 750, "n_features": 5000, "kind": "standardised texts"},
            "two domains over one",
        ],
        "at_most": 1.1,
    },
]

# Samples of the source and of the target, features, kind of features.
SHAPES = (
    (750, 50, 5000, "texts"),
    (750, 50, 5000, "standardised texts"),
)


def two_domains(n: int, n_target: int, n_features: int, kind: str):
    """Return samples and labels of a source and a target, whose coefficients differ a little."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=n_features) * (rng.random(n_features) < 0.1)
    domains = []
    for size, coef in ((n, w), (n_target, w + 0.3 * rng.normal(size=n_features) * (w != 0))):
        y = rng.integers(0, 2, size)
        frequency = 1 / np.arange(1, n_features + 1) ** 0.9
        X = np.empty((size, n_features))
        for label in (0, 1):
            share = frequency * np.exp((label - 0.5) * coef)
            X[y == label] = rng.multinomial(60, share / share.sum(), (y == label).sum())
        X = np.log1p(X) / np.linalg.norm(np.log1p(X), axis=1, keepdims=True)
        domains.append((X, y))
    if kind.startswith("standardised"):
        scaler = StandardScaler().fit(domains[0][0])
        domains = [(scaler.transform(X), y) for X, y in domains]
    return domains


def measure_two_domains(shape, n_rounds: int) -> dict:
    """Let the two-domain form and scikit-learn on the source take turns; compare the source."""
    (X, y), (X_target, y_target) = two_domains(*shape)
    contenders = {
        "two domains": lambda: TransferLogisticRegressionCV().fit(
            X, y, X_target=X_target, y_target=y_target
        ),
        "scikit-learn, source alone": lambda: LogisticRegressionCV(
            use_legacy_attributes=False, l1_ratios=(0,), max_iter=1000
        ).fit(X, y),
        "two domains, sparse": lambda: TransferLogisticRegressionCV().fit(
            sparse.csr_array(X), y, X_target=sparse.csr_array(X_target), y_target=y_target
        ),
    }
    if shape[-1] != "texts":
        del contenders["two domains, sparse"]
    results = interleave(contenders, n_rounds)
    models = {name: results[name].pop("result") for name in contenders}
    model = models["two domains"]
    alone = TransferLogisticRegressionCV(np.zeros(X.shape[1]), alphas=np.logspace(-2, 5, 15)).fit(
        X, y
    )
    expected = LogisticRegression(C=1 / alone.alpha_, tol=1e-9, max_iter=10000).fit(X, y)
    np.testing.assert_allclose(model.source_coef_, alone.coef_, atol=1e-7)
    size = np.abs(expected.coef_).max()
    np.testing.assert_allclose(model.source_coef_, expected.coef_, atol=1e-4 * size)
    if "two domains, sparse" in models:
        np.testing.assert_allclose(model.coef_, models["two domains, sparse"].coef_, atol=1e-6)
    seconds = {name: result["cpu_seconds"] for name, result in results.items()}
    names = ("n", "n_target", "n_features", "kind")
    record = dict(zip(names, shape, strict=True))
    for name in contenders:
        if name.startswith("two"):
            ratio = seconds[name] / seconds["scikit-learn, source alone"]
            record[f"{name} over one"] = ratio
    return {**record, **results}


def main(options) -> None:
    """Measure all shapes."""
    shapes = ((100, 20, 300, "texts"),) if options.quick else SHAPES
    n_rounds = rounds(2, options)
    write(__file__, {"rows": [measure_two_domains(s, n_rounds) for s in shapes]}, options)


if __name__ == "__main__":
    main(make_parser(__doc__).parse_args())
