"""
Seven ways to weigh old rows, where the truth is known
=======================================================

Two Gaussians: the source is a standard one, the target narrower and moved. Their ratio, which all
reweighters estimate in one way or another, is then known. We compare the weights with it, look at
them with ``SampleWeightDisplay``, and see what weights do to a model that is too simple.
"""

# %%
# The source, the target, and the true ratio of their densities at the source rows.
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import multivariate_normal, spearmanr
from sklearn.linear_model import Ridge

from skltransfer import (
    DiscriminativeReweighter,
    GaussianReweighter,
    KernelDensityReweighter,
    KLIEPReweighter,
    KMMReweighter,
    NearestNeighborsReweighter,
    SampleWeightDisplay,
    ULSIFReweighter,
    WithTarget,
)

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 2))
X_target = 0.8 * rng.normal(size=(600, 2)) + [0.5, 0.0]
truth = multivariate_normal([0.5, 0.0], 0.64 * np.eye(2)).pdf(X) / multivariate_normal(
    [0.0, 0.0], np.eye(2)
).pdf(X)

# %%
# Each panel has the true ratio along, the weight upwards. On the diagonal they agree. Kernel mean
# matching estimates no ratio: it wants the *mean* of the rows to be right, and many weights are 0
# or at the bound.
reweighters = {
    "KMM, max_weight=5": KMMReweighter(max_weight=5),
    "KLIEP": KLIEPReweighter(),
    "uLSIF": ULSIFReweighter(),
    "RuLSIF, alpha=0.1": ULSIFReweighter(alpha=0.1),
    "discriminative": DiscriminativeReweighter(),
    "nearest neighbours, k=50": NearestNeighborsReweighter(n_neighbors=50),
    "kernel density": KernelDensityReweighter(),
    "Gaussian": GaussianReweighter(),
}
fig, axes = plt.subplots(2, 4, figsize=(10, 5.2), sharex=True, sharey=True, layout="constrained")
for ax, (name, reweighter) in zip(axes.ravel(), reweighters.items(), strict=True):
    weights = reweighter.fit(X, X_target=X_target).sample_weight_
    ax.scatter(truth, weights, s=5, color="#c8553d", alpha=0.4, linewidths=0)
    ax.plot([0, 2.6], [0, 2.6], color="#55606e", linewidth=0.8)
    rank = spearmanr(truth, weights).statistic
    size = reweighter.effective_sample_size_
    ax.set_title(f"{name}\nrank corr. {rank:.2f}, worth {size:.0f}", fontsize=9)
    ax.set(xlim=(0, 2.6), ylim=(-0.1, 5.2))
fig.supxlabel("true ratio")
fig.supylabel("weight")
plt.show()

# %%
# The weights of one method over the score that tells the domains apart. The weighted source lies
# over the target, and no single row decides.
SampleWeightDisplay.from_estimator(reweighters["uLSIF"], X, X_target=X_target)
plt.show()

# %%
# A straight line through a parabola: with weights it is right where the target is. The weights are
# worth most to a model that is too simple for the whole source; here all of them help.
y, y_target = (Z[:, 0] ** 2 + 0.1 * rng.normal(size=len(Z)) for Z in (X, X_target))
scores = {"source only": Ridge().fit(X, y).score(X_target, y_target)}
for name, reweighter in reweighters.items():
    model = WithTarget(reweighter.set_params(estimator=Ridge()), X_target=X_target)
    scores[name] = model.fit(X, y).score(X_target, y_target)

fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
names = list(reversed(scores))
ax.barh(names, [scores[name] for name in names], color=["#2f6f9f"] * 8 + ["#9aa5b1"])
ax.set_xlabel("R² on the target")
plt.show()
