"""
Which layer, and how strong a head?
===================================

A grid search over the layer of a frozen network and the regularisation of the linear model behind
it, with the plain pixels as one more candidate. Each image passes the network once per layer,
whatever the number of folds and candidates.
"""

# %%
# Two hundred labelled digits, eight by eight pixels. The embedded network ``tiny`` was trained on
# images made by formula: it has never seen a digit.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import FeatureStore, PretrainedFeatureTransformer

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=200, stratify=y, random_state=0
)

# %%
# ``backbone=None`` passes the pixels through. A store of our own lets us count the rows that
# pass the network; by default one is shared by the whole process.
store = FeatureStore()
model = Pipeline(
    [
        (
            "features",
            PretrainedFeatureTransformer(image_shape=(8, 8), value_range=(0, 16), store=store),
        ),
        ("scale", StandardScaler()),
        ("head", LogisticRegression(max_iter=2000)),
    ]
)
layers = ["stem", "stage1", "stage2", "stage3", ["stage2", "stage3"]]
strengths = np.logspace(-4, 1, 6)
grid = [
    {"features__backbone": [None], "head__C": strengths},
    {"features__backbone": ["tiny"], "features__layers": layers, "head__C": strengths},
]
search = GridSearchCV(model, grid, cv=5).fit(X_train, y_train)
n_fits = len(search.cv_results_["params"]) * 5 + 1
print(f"{n_fits} fits; {store.misses} passes: {len(X_train)} images, {len(layers)} layer choices")

# %%
# Accuracy by cross-validation. The best setting takes the two deepest stages together or one of
# them; the pixels need their own strength of regularisation, and stay behind.
scores = search.cv_results_["mean_test_score"].reshape(1 + len(layers), len(strengths))
names = ["pixels", *(" + ".join([layer] if isinstance(layer, str) else layer) for layer in layers)]
fig, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
image = ax.imshow(100 * scores, cmap="viridis", aspect="auto", vmin=80)
ax.set_xticks(range(len(strengths)), [f"{strength:g}" for strength in strengths])
ax.set_yticks(range(len(names)), names)
ax.set_xlabel("C of the logistic regression (larger: less regularisation)")
for i, j in np.ndindex(*scores.shape):
    best = scores[i, j] == scores.max()
    ax.text(
        j,
        i,
        f"{100 * scores[i, j]:.1f}",
        ha="center",
        va="center",
        color="white" if scores[i, j] < 0.93 else "black",
        fontweight="bold" if best else "normal",
    )
fig.colorbar(image, label="accuracy in 5-fold cross-validation (%)")
ax.set_title("200 labelled digits")
plt.show()

# %%
# On the digits held back, beside the best that the pixels can do.
pixels = model.set_params(head__C=strengths[scores[0].argmax()]).fit(X_train, y_train)
print(f"pixels: {100 * pixels.score(X_test, y_test):.1f} %")
print(f"chosen: {100 * search.score(X_test, y_test):.1f} %, {search.best_params_}")
