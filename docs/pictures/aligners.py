"""Draw the pictures of the guide's page on aligners.

Run from the root of the checkout: ``python docs/pictures/aligners.py``. Needs matplotlib and POT.
"""

from io import BytesIO
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

import skltransfer as skt

FOLDER = Path(__file__).parents[1] / "images" / "aligners"
SOURCE, COMMON, TARGET = "#9aa5b1", "#c8553d", "#2f6f9f"
STYLE = {"font.size": 8, "axes.titlesize": 8, "axes.spines.top": False, "axes.spines.right": False}


def turned(n_source=150, n_target=120, n_columns=6):
    """Return two domains: three classes in a plane, which turns, is stretched and moves."""
    rng = np.random.default_rng(0)
    names = np.array(["ant", "bee", "fly"])
    centers = np.array([[0.0, 0.0], [2.2, 0.0], [0.6, 2.2]])
    axes, _ = np.linalg.qr(rng.normal(size=(n_columns, n_columns)))
    other = np.cos(0.9) * axes[:2] + np.sin(0.9) * axes[2:4]
    domains = []
    for n, plane, stretch in ((n_source, axes[:2], 1.0), (n_target, other, [1.6, 0.8])):
        classes = np.arange(n) % 3
        places = centers[classes] * stretch + 0.45 * rng.normal(size=(n, 2))
        rows = places @ plane + 0.35 * rng.normal(size=(n, n_columns))
        domains += [rows, names[classes]]
    domains[2] = domains[2] + axes[4] + 0.6 * axes[0]
    return domains


def save(figure, name: str) -> None:
    """Write a picture, of few colours so that it stays light."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=90)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(64).save(FOLDER / f"{name}.png", optimize=True)


def both_domains(name: str, aligner) -> None:
    """Draw both domains before and after alignment, and print what a linear model gains."""
    X, y, X_target, y_target = turned()
    mapped = aligner.fit_transform(X, y=y, X_target=X_target)
    plain = LogisticRegression().fit(X, y).score(X_target, y_target)
    model = LogisticRegression(max_iter=1000).fit(mapped, y)
    score = model.score(aligner.transform(X_target), y_target)
    print(f"{name}: {100 * plain:.0f} % of target rows right without, {100 * score:.0f} % with")
    figure, ax = plt.subplots(figsize=(6.4, 2.5), layout="constrained")
    skt.DomainShiftDisplay.from_estimator(
        aligner, X, X_target, y_source=y, y_target=y_target, ax=ax
    )
    save(figure, name)


def augmenter() -> None:
    """Draw coefficients that two domains share, and those that each has of its own."""
    rng = np.random.default_rng(0)
    common, own = np.array([2.0, 1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.5, -1.5])
    X, X_target = rng.normal(size=(300, 4)), rng.normal(size=(30, 4))
    y = X @ common + 0.5 * rng.normal(size=300)
    y_target = X_target @ (common + own) + 0.5 * rng.normal(size=30)
    pooled = skt.PooledEstimator(Ridge(1.0, fit_intercept=False))
    model = make_pipeline(skt.FeatureAugmenter(), pooled)
    model = skt.WithSource(model, X, y).fit(X_target, y_target)
    parts = model.estimator_[-1].estimator_.coef_.reshape(3, 4)
    figure, ax = plt.subplots(figsize=(3.4, 2.5), layout="constrained")
    bars = zip(("common", "source's own", "target's own"), parts, (COMMON, SOURCE, TARGET),
               strict=True)  # fmt: skip
    for number, (label, values, color) in enumerate(bars):
        ax.bar(np.arange(4) + 0.27 * (number - 1), values, 0.25, color=color, label=label)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set_xticks(range(4), [f"column {i}" for i in range(4)])
    ax.set_ylabel("coefficient")
    ax.legend(frameon=False)
    save(figure, "augmenter")


def main() -> None:
    """Draw all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        both_domains("coral", skt.CORAL(reg_covar=0.1))
        both_domains("subspace_alignment", skt.SubspaceAlignment(2))
        both_domains("geodesic_flow", skt.GeodesicFlowKernel(2))
        both_domains("tca", skt.TCA(2, form="dual", regularization=0.1))
        both_domains("jda", skt.JDA(3, kernel="rbf", regularization=0.1))
        both_domains("transport", skt.OptimalTransportMapper())
        both_domains("transport_exact", skt.OptimalTransportMapper("exact"))
        both_domains("transport_linear", skt.OptimalTransportMapper("linear"))
        augmenter()


if __name__ == "__main__":
    main()
