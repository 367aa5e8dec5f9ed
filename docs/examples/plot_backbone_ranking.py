"""
Which pretrained network, before any training?
==============================================

Scores of transferability rank networks, and the depths of one, from one pass of the samples. Here
the ranking stands beside the accuracy of a linear model that is trained on the same features.
"""

# %%
# Two hundred labelled digits. The candidates are the stages of the embedded network ``tiny``, with
# its weights and with random ones, and the plain pixels.
import matplotlib.pyplot as plt
from scipy.stats import weightedtau
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import (
    AttributionDisplay,
    FineTunedClassifier,
    PretrainedFeatureTransformer,
    rank_backbones,
)

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(
    X, y, train_size=200, test_size=400, stratify=y, random_state=0
)
images = {"image_shape": (8, 8), "value_range": (0, 16)}
candidates = {"pixels": PretrainedFeatureTransformer(None, **images)}
for weights, note in (("default", ""), (None, ", random")):
    for stage in ("stem", "stage1", "stage2", "stage3"):
        candidates[stage + note] = PretrainedFeatureTransformer(
            "tiny", weights=weights, layers=stage, **images
        )

# %%
# Each image passes each network once. Random weights fall behind at every depth but the first.
ranking = rank_backbones(X, y, candidates)
print(ranking)
fig, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
ranking.plot(ax=ax)
plt.show()

# %%
# A linear model on the same features is what the score predicts. The features come from the store,
# so that no image passes a network again for the training samples.
scores, accuracies = [], []
for result in ranking.results:
    probe = make_pipeline(
        candidates[result.name], StandardScaler(), LogisticRegression(C=0.1, max_iter=2000)
    )
    scores.append(result.score)
    accuracies.append(100 * probe.fit(X, y).score(X_test, y_test))
tau = weightedtau(scores, accuracies).statistic
fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(scores, accuracies, "o", color="#2f6f9f")
for result, score, accuracy in zip(ranking.results, scores, accuracies, strict=True):
    ax.annotate(
        result.name, (score, accuracy), xytext=(6, -3), textcoords="offset points", fontsize=8
    )
ax.margins(x=0.2)
ax.set(xlabel="LogME on 200 digits", ylabel="accuracy of a linear model (%)")
ax.set_title(f"weighted Kendall's tau {tau:.2f}")
plt.show()

# %%
# What does the network look at? Grad-CAM on the feature maps of the second stage.
model = FineTunedClassifier("tiny", layers="stage2", strategy="linear_probe", **images).fit(X, y)
AttributionDisplay.from_estimator(model, X_test[:6])
plt.show()
