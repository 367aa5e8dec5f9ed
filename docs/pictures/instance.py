"""Draw the pictures of the guide's page on instance-based transfer.

Run from the root of the checkout: ``python docs/pictures/instance.py``. Needs matplotlib.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression

import skltransfer as skt

FOLDER = Path(__file__).parents[1] / "images" / "instance"
SOURCE, WEIGHTED, TARGET = "#9aa5b1", "#c8553d", "#2f6f9f"
STYLE = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}


def shifted(n_source=300, n_target=200):
    """Return source and target rows: a covariate shift in two columns."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(n_source, 2)), rng.normal(size=(n_target, 2)) * 0.6 + [1.0, 0.3]


def save(figure, name: str) -> None:
    """Write a picture."""
    figure.savefig(FOLDER / f"{name}.png", dpi=90)
    plt.close(figure)


def weights(name: str, title: str, reweighter) -> None:
    """Draw rows of both domains, the source's with areas by weight."""
    X, X_target = shifted()
    w = reweighter.fit(X, X_target=X_target).sample_weight_
    figure, ax = plt.subplots(figsize=(3.4, 2.6), layout="constrained")
    ax.scatter(*X_target.T, s=5, color=TARGET, alpha=0.5, linewidths=0, label="target")
    ax.scatter(*X.T, s=3, color=SOURCE, linewidths=0)
    ax.scatter(*X.T, s=14 * w, color=WEIGHTED, alpha=0.45, linewidths=0, label="source, by weight")
    size = reweighter.effective_sample_size_
    ax.set_title(f"{title}: {len(X)} source rows, worth {size:.0f}", loc="left", fontsize=8)
    ax.set(xlim=(-3.2, 3.2), ylim=(-2.8, 2.8))
    ax.legend(frameon=False, loc="lower left", handletextpad=0.1)
    save(figure, name)


def label_shift() -> None:
    """Draw class shares of the source, estimated ones of the target, and the true ones."""
    rng = np.random.default_rng(0)
    shares, true = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.3, 0.5])
    y, y_target = (rng.choice(3, n, p=p) for n, p in ((600, shares), (400, true)))
    centers = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 1.8]])
    X, X_target = (centers[labels] + rng.normal(size=(len(labels), 2)) for labels in (y, y_target))
    model = skt.LabelShiftReweighter(LogisticRegression()).fit(X, y, X_target=X_target)
    figure, ax = plt.subplots(figsize=(3.4, 2.6), layout="constrained")
    bars = {
        "source": (np.bincount(y) / len(y), SOURCE),
        "target, estimated": (model.target_class_prior_, WEIGHTED),
        "target, true": (np.bincount(y_target) / len(y_target), TARGET),
    }
    for number, (label, (values, color)) in enumerate(bars.items()):
        ax.bar(np.arange(3) + 0.27 * (number - 1), values, 0.25, color=color, label=label)
    ax.set_xticks(range(3), [f"class {label}" for label in model.classes_])
    ax.set_ylabel("share of the rows")
    ax.legend(frameon=False, loc="upper center")
    save(figure, "label_shift")


def selection() -> None:
    """Draw which source rows are kept."""
    X, X_target = shifted()
    support = skt.SourceSelector().fit(X, X_target=X_target).support_
    figure, ax = plt.subplots(figsize=(3.4, 2.6), layout="constrained")
    ax.scatter(*X_target.T, s=5, color=TARGET, alpha=0.5, linewidths=0, label="target")
    ax.scatter(*X[~support].T, s=8, color=SOURCE, linewidths=0.5, marker="x", label="left out")
    ax.scatter(*X[support].T, s=14, color=WEIGHTED, alpha=0.6, linewidths=0, label="kept")
    ax.set_title(f"{support.sum()} of {len(X)} source rows kept", loc="left", fontsize=8)
    ax.set(xlim=(-3.2, 3.2), ylim=(-2.8, 2.8))
    ax.legend(frameon=False, loc="lower left", handletextpad=0.1)
    save(figure, "selection")


def boosting(name: str, model, y_of, wrong_of) -> None:
    """Draw how the weights of right and of misleading source rows develop."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(300, 2)), rng.normal(size=(100, 2))
    y, wrong = y_of(X), np.arange(300) < 120
    y = np.where(wrong, wrong_of(X), y)
    model.fit(X, y, X_target=X_target, y_target=y_of(X_target))
    history = model.sample_weight_history_
    figure, ax = plt.subplots(figsize=(3.4, 2.6), layout="constrained")
    ax.set_title(type(model).__name__, loc="left", fontsize=8)
    parts = {
        "target": (slice(300, None), TARGET),
        "source, as in the target": (np.flatnonzero(~wrong), WEIGHTED),
        "source, another rule": (np.flatnonzero(wrong), SOURCE),
    }
    for label, (rows, color) in parts.items():
        ax.plot(history[:, rows].mean(axis=1), color=color, label=label)
    ax.set_xlabel("round")
    ax.set_ylabel("mean weight of a row")
    ax.legend(frameon=False)
    save(figure, name)


def two_stage() -> None:
    """Draw the error on the target's folds over the share of the weight that the target has."""
    rng = np.random.default_rng(0)
    X, X_target = rng.normal(size=(200, 1)), rng.normal(size=(30, 1))
    y, y_target = (Z[:, 0] + 0.3 * rng.normal(size=len(Z)) for Z in (X, X_target))
    y += 0.4
    model = skt.TwoStageTrAdaBoostRegressor(n_estimators=10, n_steps=10, cv=5, random_state=0)
    model.fit(X, y, X_target=X_target, y_target=y_target)
    figure, ax = plt.subplots(figsize=(3.4, 2.6), layout="constrained")
    shares, errors = 100 * model.target_shares_, model.cv_errors_
    ax.plot(shares, errors, "o-", markersize=3, color=WEIGHTED)
    best = model.best_step_
    ax.plot(shares[best], errors[best], "o", color=TARGET, label="chosen")
    ax.set_xlabel("target's share of the weight (%)")
    ax.set_ylabel("error on target folds")
    ax.legend(frameon=False)
    save(figure, "two_stage")


def main() -> None:
    """Draw all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        weights("kmm", "KMM", skt.KMMReweighter())
        weights("kliep", "KLIEP", skt.KLIEPReweighter())
        weights("ulsif", "uLSIF", skt.ULSIFReweighter())
        weights("rulsif", "RuLSIF", skt.ULSIFReweighter(alpha=0.1))
        weights("discriminative", "discriminative", skt.DiscriminativeReweighter())
        weights("neighbors", "neighbours", skt.NearestNeighborsReweighter())
        weights("gaussian", "Gaussian", skt.GaussianReweighter())
        weights("kernel_density", "kernel density", skt.KernelDensityReweighter())
        label_shift()
        selection()
        boosting(
            "tradaboost",
            skt.TrAdaBoostClassifier(n_estimators=20, random_state=0),
            lambda X: (X.sum(axis=1) > 0).astype(int),
            lambda X: (X.sum(axis=1) <= 0).astype(int),
        )
        boosting(
            "tradaboost_regressor",
            skt.TrAdaBoostRegressor(n_estimators=20, random_state=0),
            lambda X: X[:, 0],
            lambda X: -X[:, 0],
        )
        two_stage()


if __name__ == "__main__":
    main()
