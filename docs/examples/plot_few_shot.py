"""
New digits from one image each
==============================

A person who has seen many alphabets learns a new letter from one look. Here a network learns to
tell symbols apart on the digits 0 to 5, and then meets the digits 6 to 9, of which it sees from one
to ten labelled images. Does that beat a model that starts from nothing?
"""

# %%
# The source is every image of the digits 0 to 5, turned by 0, 90, 180 and 270 degrees. A digit that
# is turned is another symbol, so that there are 24 classes. The target's classes are not among
# them.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skltransfer import FineTunedClassifier, MAMLClassifier, PrototypicalClassifier
from skltransfer.model_selection import mean_interval

images, digits = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8) / 16
old = digits < 6
X = np.concatenate([np.rot90(images[old], k, axes=(1, 2)) for k in range(4)]).reshape(-1, 64)
y = np.concatenate([digits[old] + 10 * k for k in range(4)])
X_new = images[~old].reshape(-1, 64)
y_new = np.array(["six", "seven", "eight", "nine"])[digits[~old] - 6]

# %%
# Both meta-learners are trained on episodes: small tasks of ten random classes of the source, with
# one labelled image each. A prototypical network learns features in which the nearest class mean is
# right. MAML learns weights from which a few gradient steps are right. ``adapt`` then fits another
# support set without training again, so that each network is trained once for all draws.
network = FineTunedClassifier(hidden_layer_sizes=(128, 64), lr=2e-3, max_epochs=10)
few = np.unique(y_new, return_index=True)[1]
start = {"X_target": X_new[few], "y_target": y_new[few]}
learners = {
    "prototypical network": PrototypicalClassifier(network, n_way=10, n_query=5).fit(X, y, **start),
    "MAML": MAMLClassifier(network, inner_lr=2.0, n_way=10).fit(X, y, **start),
}

# %%
# Beside them are the nearest class mean on the pixels, and a network of the same size that is
# trained on the labelled images alone. All are scored on the images that no draw has seen.
pixels = FineTunedClassifier(hidden_layer_sizes=())
learners["nearest mean of pixels"] = PrototypicalClassifier(pixels, episodes_per_epoch=0).fit(
    X_new[few], y_new[few]
)
scratch = FineTunedClassifier(hidden_layer_sizes=(128, 64), max_epochs=60)
SHOTS = (1, 2, 5, 10)
scores = {name: {n: [] for n in SHOTS} for name in [*learners, "network from scratch"]}
for draw in range(6):
    rng = np.random.default_rng(draw)
    rank = np.empty(len(y_new), dtype=int)
    for label in np.unique(y_new):
        rows = rng.permutation(np.flatnonzero(y_new == label))
        rank[rows] = np.arange(len(rows))
    test = rank >= max(SHOTS)
    for n_shots in SHOTS:
        support = X_new[rank < n_shots], y_new[rank < n_shots]
        for name, model in learners.items():
            score = model.adapt(*support).score(X_new[test], y_new[test])
            scores[name][n_shots].append(score)
        score = scratch.fit(*support).score(X_new[test], y_new[test])
        scores["network from scratch"][n_shots].append(score)

# %%
# The mean over the draws, with its 95 % interval.
fig, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
colours = ["#2f6f9f", "#c8553d", "#777777", "#4f8a4c"]
for number, (name, by_shots) in enumerate(scores.items()):
    mean, low, high = np.transpose([100 * np.array(mean_interval(s)) for s in by_shots.values()])
    ax.errorbar(
        np.arange(len(SHOTS)) + 0.08 * (number - 1.5),
        mean,
        yerr=(mean - low, high - mean),
        color=colours[number],
        marker="osD^"[number],
        label=name,
    )
ax.set_xticks(np.arange(len(SHOTS)), SHOTS)
ax.set_xlabel("labelled images of each new digit")
ax.set_ylabel("accuracy (%), 95 % interval")
ax.set_title("Digits 6 to 9, after 0 to 5", loc="left", fontweight="bold")
ax.legend(frameon=False, loc="lower right")
ax.grid(axis="y", alpha=0.3)
ax.spines[["top", "right"]].set_visible(False)
plt.show()
