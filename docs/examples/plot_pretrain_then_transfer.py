"""
Pretrain on one table, transfer to another
==========================================

A network is trained on one task that has many labels, and then on a related one that has few. Is
that better than to start from random weights? Twice the same four lines, with two answers.
"""

# %%
# A fitted estimator is the backbone of another one: its trained network is the start, and its
# output layer is replaced. Four ways to use, or not to use, what it has learned:
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from skltransfer import FineTunedClassifier, RegularizedTransferClassifier
from skltransfer.datasets import load_biased_breast_cancer
from skltransfer.model_selection import mean_interval


def candidates(source):
    """Return what is compared, each ready to be fitted on the task's rows."""
    return {
        "from random weights": FineTunedClassifier(),
        "linear probe of the source": FineTunedClassifier(source, strategy="linear_probe"),
        "fine-tuned": FineTunedClassifier(source),
        "L2-SP": RegularizedTransferClassifier(source, alpha=0.1),
    }


# %%
# The first pair of tasks: the network learns to tell the digits 0 to 4 apart, from 64 columns of
# pixels and nine hundred rows. The task is to tell 5 to 9 apart. Not one class is shared.
X, y = load_digits(return_X_y=True)
X = X / 16
old = FineTunedClassifier().fit(X[y < 5], y[y < 5])
X, y = X[y >= 5], y[y >= 5]

digits = {}
for draw in range(10):
    rng = np.random.default_rng(draw)
    rank = np.empty(len(y), dtype=int)
    for label in range(5, 10):
        rows = rng.permutation(np.flatnonzero(y == label))
        rank[rows] = np.arange(len(rows))
    test = rank >= 20
    for n_labels in (1, 2, 5, 10, 20):
        train = rank < n_labels
        for name, model in candidates(old).items():
            score = model.fit(X[train], y[train]).score(X[test], y[test])
            digits.setdefault(name, {}).setdefault(n_labels, []).append(score)

# %%
# The second pair: tumours, benign or malignant, of which the source saw mostly small ones. The
# scaler is that of the source, because its network knows no other scale.
tumours = {}
for draw in range(20):
    data = load_biased_breast_cancer(random_state=draw)
    scaler = StandardScaler().fit(data.X_source)
    source = FineTunedClassifier().fit(scaler.transform(data.X_source), data.y_source)
    X_task, y_task = scaler.transform(data.X_target), data.y_target
    for n_labels in (10, 20, 40):
        for name, model in candidates(source).items():
            score = model.fit(X_task[:n_labels], y_task[:n_labels]).score(
                X_task[110:], y_task[110:]
            )
            tumours.setdefault(name, {}).setdefault(n_labels, []).append(score)

# %%
# What counts is the difference to the same network from random weights on the same rows, with a
# 95 % interval over the draws.
fig, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
panels = [
    (axes[0], digits, "Digits 5 to 9, after 0 to 4", "labels per class"),
    (axes[1], tumours, "Tumours, after a biased sample", "labelled rows"),
]
colours = ["#2f6f9f", "#c8553d", "#4f8a4c"]
for ax, scores, title, label in panels:
    scratch = {n: np.array(values) for n, values in scores["from random weights"].items()}
    places = np.arange(len(scratch))
    for number, (name, colour) in enumerate(zip(list(scores)[1:], colours, strict=True)):
        gains = [
            100 * np.array(mean_interval(np.array(values) - scratch[n]))
            for n, values in scores[name].items()
        ]
        mean, low, high = np.transpose(gains)
        ax.errorbar(
            places + 0.16 * (number - 1),
            mean,
            yerr=(mean - low, high - mean),
            color=colour,
            marker="osD"[number],
            linestyle="none",
            linewidth=2,
            capsize=0,
            label=name,
        )
    ticks = [f"{n}\n({100 * values.mean():.1f} %)" for n, values in scratch.items()]
    ax.set_xticks(places, ticks)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xlabel(f"{label} (accuracy from random weights)")
    ax.set_title(title, loc="left", fontweight="bold")
    ax.grid(axis="y", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("gain of accuracy (points), 95 % interval")
axes[0].legend(frameon=False)
plt.show()

# %%
# RESULT
