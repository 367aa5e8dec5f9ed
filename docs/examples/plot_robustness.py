"""
Networks under attack
=====================

Public weights are known to everybody, to attackers as well. How much does a change of pixels that
is made on the public network harm the network that was fine-tuned from it? Needs the extra
``robustness``.
"""

# %%
# The embedded network ``tiny`` is fine-tuned on 150 digits. An attacker does not have this network,
# but the public weights and 150 digits of their own, on which they train a linear model behind the
# frozen network.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skltransfer import FineTunedClassifier, adversarial_examples, robustness_report

X, y = load_digits(return_X_y=True)
images = {"image_shape": (8, 8), "value_range": (0, 16), "input_size": 16}
network = FineTunedClassifier("tiny", max_epochs=6, **images).fit(X[:150], y[:150])
public = FineTunedClassifier("tiny", strategy="linear_probe", **images).fit(X[150:300], y[150:300])
X_test, y_test = X[300:360], y[300:360]

# %%
# Accuracy on 60 other digits. Each pixel may change by epsilon, a part of the range from black to
# white. Noise moves each pixel by as much as an attack may, in a random direction.
report = robustness_report(
    network, X_test, y_test, source=public, epsilons=[0.03, 0.06, 0.1], n_steps=8
)
print(report)

# %%
# On the left, the fine-tuned network. The red curves are attacks that were made on the public one
# alone. On the right, the public network under its own attacks.
report.plot()
plt.show()

# %%
# The digits themselves, and what the fine-tuned network takes them for: as they are, with noise,
# and changed on the public network.
versions = {
    "as they are": X_test,
    "noise": adversarial_examples(network, X_test, y_test, epsilon=0.1, method="noise"),
    "made on the\npublic network": adversarial_examples(
        public, X_test, y_test, epsilon=0.1, n_steps=8
    ),
}
predicted = {name: network.predict(samples) for name, samples in versions.items()}
right = np.flatnonzero(predicted["noise"] == y_test)
wrong = np.flatnonzero(predicted["made on the\npublic network"] != y_test)
shown = np.intersect1d(right, wrong)[:6]
fig, axes = plt.subplots(
    len(versions), len(shown), figsize=(7.5, 4.4), layout="constrained", squeeze=False
)
for row, (name, samples) in zip(axes, versions.items(), strict=True):
    for ax, digit in zip(row, shown, strict=True):
        ax.imshow(samples[digit].reshape(8, 8), cmap="gray", vmin=0, vmax=16)
        label, is_right = predicted[name][digit], predicted[name][digit] == y_test[digit]
        ax.set_title(f"{label}", fontsize=10, color="#2f6f9f" if is_right else "#c8553d")
        ax.set(xticks=[], yticks=[])
    row[0].set_ylabel(name, fontsize=9)
plt.show()

# %%
# Nothing of the fine-tuned network was needed for the lowest row. The guide page on security has
# the same on several draws, and a control: examples made on a network that shares no weights.
