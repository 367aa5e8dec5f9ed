"""
Moons that turn: adversarial training, step by step
====================================================

Labelled samples of one domain, and samples without labels of another one that is turned. What does
a network learn on both, how can one see it, and when does it fail?
"""

# %%
# The source has labels. The target is the same shape, turned by 30 degrees about its centre; its
# labels serve for scores alone.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons

from skltransfer import DANNClassifier, FineTunedClassifier, TrainingDisplay


def turned_moons(degrees, seed=0):
    """Return labelled moons, and others that are turned, with labels to score by."""
    X, y = make_moons(200, noise=0.1, random_state=seed)
    X_target, y_target = make_moons(200, noise=0.1, random_state=seed + 100)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    centre = X.mean(axis=0)
    return X, y, (X_target - centre) @ [[cos, sin], [-sin, cos]] + centre, y_target


X, y, X_target, y_target = turned_moons(30)

# %%
# The estimator defines the network and its training. Alone, it is trained on the source. Inside of
# a :class:`~skltransfer.DANNClassifier`, a domain classifier is trained beside it, and the reversed
# gradient of that classifier makes the features of both domains alike.
network = FineTunedClassifier(
    hidden_layer_sizes=(32, 32), optimizer="adamw", lr=0.01, max_epochs=60, random_state=0
)
alone = FineTunedClassifier(**network.get_params()).fit(X, y)
adapted = DANNClassifier(network).fit(X, y, X_target=X_target)
for name, model in (("source only", alone), ("DANN", adapted)):
    print(f"{name}: {model.score(X_target, y_target):.2f} on the target")

# %%
# The border of the network that was trained on the source alone cuts through the moons of the
# target. With the target's samples, which have no labels, it turns with them.
grid = np.stack(np.meshgrid(np.linspace(-2, 3, 120), np.linspace(-1.6, 2.1, 120)), axis=-1)
fig, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
for ax, model, title in ((axes[0], alone, "Source only"), (axes[1], adapted, "DANN")):
    p = model.predict_proba(grid.reshape(-1, 2))[:, 1].reshape(grid.shape[:2])
    ax.contourf(*grid.transpose(2, 0, 1), p, levels=[0, 0.5, 1], colors=["#c8553d", "#2f6f9f"],
                alpha=0.2)  # fmt: skip
    ax.scatter(*X.T, c="0.6", s=8, label="source")
    colours = np.where(y_target == 1, "#2f6f9f", "#c8553d")
    ax.scatter(*X_target.T, c=colours, s=14, label="target, by its hidden label")
    accuracy = model.score(X_target, y_target)
    ax.set_title(f"{title}: {100 * accuracy:.0f} % of the target", loc="left", fontweight="bold")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].legend(frameon=False, loc="lower left")
plt.show()

# %%
# The history has every term of the loss. The domain classifier tells the domains apart at first;
# as the factor of its reversed gradient rises, its accuracy falls. At one half it can do no better
# than chance. Where it stays near 1, the features still differ.
TrainingDisplay.from_estimator(adapted)
plt.show()

# %%
# Features that are alike need not have the classes in the same places. Turned by 90 degrees, each
# moon of the target lies partly on the other moon of the source, and nothing in the samples says
# which is which. No method without labels can be trusted here.
X, y, X_far, y_far = turned_moons(90)
adapted = DANNClassifier(network).fit(X, y, X_target=X_far)
print(f"source only, 90 degrees: {alone.score(X_far, y_far):.2f}")
print(f"DANN, 90 degrees: {adapted.score(X_far, y_far):.2f}")

# %%
# A few labels of the target join the loss and show which class is which: ``y_target`` holds them,
# with ``NaN`` for those that are not known.
known = np.where(np.arange(len(y_far)) < 10, y_far, np.nan)
labelled = DANNClassifier(network).fit(X, y, X_target=X_far, y_target=known)
print(f"DANN with 10 labels, 90 degrees: {labelled.score(X_far[10:], y_far[10:]):.2f}")
