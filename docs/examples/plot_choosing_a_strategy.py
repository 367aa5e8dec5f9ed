"""
Choosing a strategy
===================

Old data are at hand, and a few labels of the new task. Which method should carry the old data
over, and does it pay at all? We let all of them predict labels that were held back, read the
verdict, and see why scores on the old data cannot tell.
"""

# %%
# The source is the lighter half of the patients in scikit-learn's diabetes data, the target is the
# heavier half, of which 60 have a label. What is predicted is the progression of the disease.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from skltransfer import TransferRegressor, WithSource
from skltransfer.datasets import load_biased_breast_cancer
from skltransfer.model_selection import compare_strategies

X, y = load_diabetes(return_X_y=True)
is_heavy = X[:, 2] > np.median(X[:, 2])
X_old, y_old = X[~is_heavy], y[~is_heavy]
order = np.random.default_rng(0).permutation(is_heavy.sum())
X_new, y_new = X[is_heavy][order], y[is_heavy][order]

# %%
# Strategies side by side, on the same folds of the target. Your own pipeline, fitted on the target
# alone, is the baseline. The mixture averages the cheap strategies, weighted by how well they
# predict labels that were held back.
pipeline = make_pipeline(StandardScaler(), Ridge())
comparison = compare_strategies(
    pipeline,
    X_new[:60],
    y_new[:60],
    X_source=X_old,
    y_source=y_old,
    strategies=[
        "no transfer",
        "source only",
        "recalibrated source",
        "pooled",
        "balanced",
        "anchored",
        "augmented",
        "KMM",
        "CORAL",
    ],
    learning_curve=[10, 20],
)
comparison.title = "Heavy patients: do light ones help?"
print(comparison.verdict)

# %%
# The picture: intervals of the differences to the baseline, sorted by the score. A hollow marker
# may be chance. The dotted line is plain pooling, which other methods have to beat to be worth
# their cost. Below, the same strategies with fewer labels.
fig, ax = plt.subplots(figsize=(8.5, 8.5), layout="constrained")
comparison.plot(ax=ax)
plt.show()

# %%
# The mixture as an estimator, on patients that no fit has seen:
model = WithSource(TransferRegressor(pipeline), X_old, y_old).fit(X_new[:60], y_new[:60])
alone = pipeline.fit(X_new[:60], y_new[:60])
for name, fitted in {"mixture": model, "no transfer": alone}.items():
    error = np.sqrt(np.mean((fitted.predict(X_new[60:]) - y_new[60:]) ** 2))
    print(f"{name:12} root mean squared error {error:.1f}")
print({name: round(share, 2) for name, share in model.estimator_.weights_.items() if share})

# %%
# The trap: a score on folds of the source. A clinic saw mostly small tumours, and its models are to
# serve a hospital that sees all kinds. Each model is fitted on the clinic's samples. Across, the
# accuracy on folds of the clinic's samples; upwards, on the hospital's. Ten draws.
candidates = {
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
    "logistic regression, C=0.01": make_pipeline(StandardScaler(), LogisticRegression(C=0.01)),
    "support vectors": make_pipeline(StandardScaler(), SVC()),
    "tree": DecisionTreeClassifier(max_depth=2, random_state=0),
    "5 neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier()),
    "15 neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier(15)),
    "naive Bayes": GaussianNB(),
}
draws = [load_biased_breast_cancer(n_source=100, bias=3, random_state=k) for k in range(10)]
fig, ax = plt.subplots(figsize=(7, 5), layout="constrained")
for name, candidate in candidates.items():
    on_source, on_target = [], []
    for data in draws:
        on_source.append(cross_val_score(candidate, data.X_source, data.y_source, cv=5).mean())
        fitted = candidate.fit(data.X_source, data.y_source)
        on_target.append(fitted.score(data.X_target, data.y_target))
    place = 100 * np.mean(on_source), 100 * np.mean(on_target)
    ax.plot(*place, "o", color="#2f6f9f", markersize=8)
    ax.annotate(name, place, xytext=(8, -3), textcoords="offset points")
ax.plot([62, 100], [62, 100], color="#9aa5b1", linewidth=1, zorder=0)
ax.annotate("equal scores", (93, 93), xytext=(0, 8), textcoords="offset points", color="#57616d")
ax.set(xlim=(92, 99), ylim=(62, 100))
ax.set_xlabel("accuracy on folds of the source (%)")
ax.set_ylabel("accuracy on the target (%)")
plt.show()

# %%
# On the source all seven lie within five points. On the target they lie 27 points apart: support
# vectors and neighbours fall back to what they know where the clinic has no samples. The best stays
# the best here, but the support vectors, ahead of the tree on the source, are far behind it on the
# target. A few labelled samples of the target would have told: score on folds of the target, with
# the source in :class:`~skltransfer.WithSource`.
