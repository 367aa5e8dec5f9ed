"""
Old rows, weighted for new ones
===============================

A clinic that saw mostly small tumours lends its labelled rows to a hospital that sees every
kind. Kernel mean matching weighs the clinic's rows so that they resemble the hospital's. We draw
the weights, and compare them with the baselines. Gains and losses are shown alike.
"""

# %%
# The source is a biased sample of scikit-learn's breast cancer data, the target an unbiased
# one. Labels depend on rows in the same way in both: a covariate shift.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import KMMReweighter, PooledEstimator, WithSource
from skltransfer.datasets import load_biased_breast_cancer
from skltransfer.model_selection import mean_interval

data = load_biased_breast_cancer(random_state=0)

# %%
# Weights on the two columns that can be drawn: mean radius and mean texture. The scaler belongs
# to the pipeline, and ``WithSource`` sends the target's rows through it before the reweighter
# sees them.
columns = [0, 1]
X_source, X_target = data.X_source[:, columns], data.X_target[:, columns]
pipeline = make_pipeline(StandardScaler(), KMMReweighter())
kmm = WithSource(pipeline, X_source).fit(X_target).estimator_[-1]
weights = kmm.sample_weight_
print(
    f"certified gap {kmm.dual_gap_:.0e}; {len(weights)} rows worth {kmm.effective_sample_size_:.0f}"
)

fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
left.scatter(*X_target.T, s=8, color="#9aa5b1", label="target, unlabelled")
left.scatter(
    *X_source.T, s=4 + 14 * weights, color="#c8553d", alpha=0.6, label="source, area by weight"
)
left.set_xlabel("mean radius")
left.set_ylabel("mean texture")
left.legend(frameon=False, loc="upper right")
bins = np.linspace(X_target[:, 0].min(), X_target[:, 0].max(), 22)
right.hist(X_target[:, 0], bins, density=True, color="#c9d1d9", label="target")
for label, w, style in (("source", None, ":"), ("source, weighted", weights, "-")):
    right.hist(
        X_source[:, 0],
        bins,
        density=True,
        weights=w,
        histtype="step",
        linestyle=style,
        color="#c8553d",
        linewidth=1.8,
        label=label,
    )
right.set_xlabel("mean radius")
right.set_ylabel("density")
right.legend(frameon=False)
fig.suptitle("Kernel mean matching gives the few large tumours of the source more weight")
plt.show()

# %%
# The gain from the old rows: ten target rows have labels, the others have none. All thirty columns
# are used. There are twenty draws, scored on target rows that no method has seen.
strategies = {
    "target only": None,
    "source only": LogisticRegression(max_iter=1000),
    "KMM, source labels": KMMReweighter(LogisticRegression(max_iter=1000)),
    "KMM, both labels": KMMReweighter(LogisticRegression(max_iter=1000)),
    "pooled": PooledEstimator(LogisticRegression(max_iter=1000)),
}
scores = {name: [] for name in strategies}
for draw in range(20):
    data = load_biased_breast_cancer(random_state=draw)
    labels = np.where(np.arange(110) < 10, data.y_target[:110], np.nan)
    for name, head in strategies.items():
        if head is None:
            model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            model.fit(data.X_target[:10], data.y_target[:10])
        else:
            model = WithSource(
                make_pipeline(StandardScaler(), head),
                data.X_source,
                data.y_source,
                use_y=name != "KMM, source labels",
            ).fit(data.X_target[:110], labels)
        scores[name].append(model.score(data.X_target[110:], data.y_target[110:]))

fig, ax = plt.subplots(figsize=(7.5, 3), layout="constrained")
baseline = np.array(scores["target only"])
for position, values in enumerate(reversed(scores.values())):
    gains = 100 * (np.array(values) - baseline)
    mean, low, high = mean_interval(gains)
    ax.plot(gains, np.full(len(gains), position), "|", color="#9aa5b1", markersize=9)
    ax.plot([low, high], [position, position], color="#2f6f9f", linewidth=3, alpha=0.5)
    ax.plot(mean, position, "o", color="#2f6f9f")
ax.set_yticks(
    range(len(scores)),
    [f"{name} ({100 * np.mean(values):.1f} %)" for name, values in reversed(scores.items())],
)
ax.set_xlabel("accuracy on the target: gain over target only (points), paired, 95 % interval")
plt.show()

# %%
# The old rows pay: every way to use them gains about five points over ten labels alone. The weights
# add nothing here. Thirty columns make a linear model nearly right everywhere, so weights only
# leave fewer rows in use. Weights pay where the model is too simple for the whole source.
