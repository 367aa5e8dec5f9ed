"""
A learned transfer method, as labels come in
============================================

The tumours of another hospital are larger on average, and few of them have a label yet. How much do
the old samples help, and for how long? Three models are fitted on 5 to 80 labels of the target: a
logistic regression on these alone, the mixture of strategies of
:class:`~skltransfer.TransferClassifier`, and :class:`~skltransfer.InContextTransferClassifier`,
which tunes nothing.
"""

# %%
# A source with a bias
# --------------------
# Half of the bundled tumours are the target. Of the other half, small ones are chosen more often:
# the source.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import InContextTransferClassifier, TransferClassifier, WithSource
from skltransfer.datasets import load_biased_breast_cancer

data = load_biased_breast_cancer(n_source=170, bias=3.0, random_state=0)
X, y = data.X_target, data.y_target

# %%
# The models
# ----------
# :class:`~skltransfer.WithSource` holds the source, so that all models are fitted on target
# samples.


def models():
    """Return the three models, unfitted."""
    logistic = make_pipeline(StandardScaler(), LogisticRegression())
    return {
        "no transfer": logistic,
        "mixture": WithSource(TransferClassifier(logistic), data.X_source, data.y_source),
        "in context": WithSource(InContextTransferClassifier(), data.X_source, data.y_source),
    }


# %%
# A learning curve
# ----------------
# Labels are drawn ten times. Each draw has at least one sample of either class. The rest of the
# target is scored.

sizes, n_draws = (5, 10, 20, 40, 80), 10
losses = {name: np.zeros((n_draws, len(sizes))) for name in models()}
for number in range(n_draws):
    rng = np.random.default_rng(number)
    rows = rng.permutation(len(y))
    first = [rows[y[rows] == label][0] for label in (0, 1)]
    rows = np.concatenate([first, rows[~np.isin(rows, first)]])
    for position, size in enumerate(sizes):
        known, rest = rows[:size], rows[max(sizes) :]
        for name, model in models().items():
            p = model.fit(X[known], y[known]).predict_proba(X[rest])
            losses[name][number, position] = log_loss(y[rest], p)

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for name, values in losses.items():
    mean = values.mean(axis=0)
    error = values.std(axis=0, ddof=1) / np.sqrt(n_draws)
    ax.errorbar(sizes, mean, 2 * error, marker="o", capsize=3, label=name)
ax.set(xscale="log", xlabel="labels of the target", ylabel="log loss (lower is better)")
ax.set_xticks(sizes, [str(size) for size in sizes])
ax.minorticks_off()
ax.legend(frameon=False)

# %%
# Bars are two standard errors over the draws. One pair shows how the method is used, and no more:
# the :doc:`table of all pairs </guide/in_context>` shows where it wins and where it loses.

for name, values in losses.items():
    means = zip(sizes, values.mean(axis=0), strict=True)
    print(f"{name:12}", *(f"{size}: {mean:.3f}" for size, mean in means))
