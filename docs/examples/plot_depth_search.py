"""
How deep to fine-tune?
======================

The number of stages that are trained is a parameter like any other, and a grid search chooses it.
We search it for a pretrained network and for the same network with random weights.
"""

# %%
# Eighty labelled digits. The embedded network ``tiny``, which has never seen a digit, has four
# stages and a head.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from skltransfer import FineTunedClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=80, stratify=y, random_state=0)

# %%
# ``"head"`` trains the head alone; 1, 2 and 3 are stages from the top; ``"all"`` is everything.
# Stages that are not trained keep their weights, bit for bit. Every candidate makes twelve passes
# in batches of sixteen.
depths = ["head", 1, 2, 3, "all"]
searches = {}
for name, weights in {"pretrained": "default", "random weights": None}.items():
    model = FineTunedClassifier(
        "tiny",
        weights=weights,
        max_epochs=12,
        optimizer="adamw",
        batch_size=16,
        image_shape=(8, 8),
        value_range=(0, 16),
    )
    searches[name] = GridSearchCV(model, {"unfreeze": depths}, cv=3).fit(X_train, y_train)
    print(f"{name}: unfreeze={searches[name].best_params_['unfreeze']!r}")

# %%
# Each point is a fold, and the lines are their means. The chosen depth is marked.
fig, ax = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
places = np.arange(len(depths))
for (name, search), colour, shift in zip(
    searches.items(), ("#2f6f9f", "#c8553d"), (-0.04, 0.04), strict=True
):
    results = search.cv_results_
    folds = 100 * np.array([results[f"split{fold}_test_score"] for fold in range(3)])
    ax.plot(places + shift, folds.T, ".", color=colour, alpha=0.5)
    ax.plot(places + shift, folds.mean(axis=0), "-", color=colour, linewidth=2)
    best = search.best_index_
    ax.plot(
        best + shift,
        folds[:, best].mean(),
        "o",
        color=colour,
        markersize=11,
        label=f"{name}; chosen: {100 * search.score(X_test, y_test):.1f} % on unseen digits",
    )
ax.set_xticks(places, ["head", "top stage", "top 2", "top 3", "all 4"])
ax.set_xlabel("what is trained")
ax.set_ylabel("accuracy in 3-fold cross-validation (%)")
ax.set_title("80 labelled digits", loc="left", fontweight="bold")
ax.grid(axis="y", alpha=0.3)
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)
plt.show()

# %%
# From pretrained weights every depth is good, and three folds of some 27 digits cannot tell them
# apart: the search picks one of several equals. From random weights the folds agree that deeper
# training does worse. So few digits do not teach a network to see, and a random projection with a
# trained head is the best choice. The start matters most.
