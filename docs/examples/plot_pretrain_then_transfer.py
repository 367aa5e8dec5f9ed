"""
Pretrain on one table, transfer to another
==========================================

A network is trained on one task that has many labels, and then on a related one that has few. Is
that better than to start from random weights? Two pairs of tasks, and a sober answer.
"""

# %%
# A fitted estimator is the backbone of another one: its trained network is the start, and its
# output layer is replaced. There are four ways to use, or not to use, its weights:
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skltransfer import FineTunedClassifier, RegularizedTransferClassifier
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
# Every candidate is fitted on the same few rows, and scored on rows that none has seen.
LABELS = (1, 2, 5, 10, 20)


def compare(source, X, y):
    """Return the scores of ten draws for each candidate and number of labels."""
    scores = {name: {n: [] for n in LABELS} for name in candidates(source)}
    for draw in range(10):
        rng = np.random.default_rng(draw)
        rank = np.empty(len(y), dtype=int)
        for label in np.unique(y):
            rows = rng.permutation(np.flatnonzero(y == label))
            rank[rows] = np.arange(len(rows))
        test = rank >= max(LABELS)
        for n_labels in LABELS:
            few = rank < n_labels
            for name, model in candidates(source).items():
                score = model.fit(X[few], y[few]).score(X[test], y[test])
                scores[name][n_labels].append(score)
    return scores


# %%
# The first pair of tasks: the network learns the names of the ten digits from 64 columns of pixels
# and nine hundred rows. The task is another question about further rows: is the digit even?
X, y = load_digits(return_X_y=True)
X = X / 16
names = FineTunedClassifier().fit(X[:900], y[:900])
even = compare(names, X[900:], y[900:] % 2)

# %%
# The second pair: it learns to tell the digits 0 to 4 apart, and the task is to tell 5 to 9 apart.
# The columns are the same, and no class is shared.
low = FineTunedClassifier().fit(X[y < 5], y[y < 5])
high = compare(low, X[y >= 5], y[y >= 5])

# %%
# The difference to the same network from random weights on the same rows, with a 95 % interval over
# the draws.
fig, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
panels = [
    (axes[0], even, "Even or odd, after ten names"),
    (axes[1], high, "Digits 5 to 9, after 0 to 4"),
]
colours = ["#2f6f9f", "#c8553d", "#4f8a4c"]
for ax, scores, title in panels:
    scratch = {n: np.array(values) for n, values in scores["from random weights"].items()}
    places = np.arange(len(scratch))
    for number, (name, colour) in enumerate(zip(list(scores)[1:], colours, strict=True)):
        gains = [
            100 * np.array(mean_interval(np.array(values) - scratch[n]))
            for n, values in scores[name].items()
        ]
        mean, lower, upper = np.transpose(gains)
        ax.errorbar(
            places + 0.16 * (number - 1),
            mean,
            yerr=(mean - lower, upper - mean),
            color=colour,
            marker="osD"[number],
            linestyle="none",
            linewidth=2,
            label=name,
        )
    ticks = [f"{n}\n({100 * values.mean():.0f} %)" for n, values in scratch.items()]
    ax.set_xticks(places, ticks)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set_xlabel("labels per class (accuracy from random weights)")
    ax.set_title(title, loc="left", fontweight="bold")
    ax.grid(axis="y", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("gain of accuracy (points), 95 % interval")
axes[0].legend(frameon=False)
plt.show()

# %%
# On tables as small and clean as these a pretrained start is worth little. With one label a class
# fine-tuning gains some points on the even digits; from two labels on nothing is beyond chance,
# and with twenty it loses one or two points. The frozen features (the probe) are as good as
# training anew for another question about the same digits, and far worse for digits that the
# source has never seen. Measure before you trust: the control is one line.
