"""
Sounds as images: networks that have never heard anything
=========================================================

Seven kinds of sounds are made by formula. Each is turned into a picture of its pitch over time, and
a network that was trained on images gives the features for a linear model. Beside it stand the
same linear model on the picture itself, and on the waveform.
"""

# %%
# Half a second at 8000 samples per second. Pitch, beginning, length, loudness and noise are
# drawn by chance; the kind is in how the pitch and the loudness move.
import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import PretrainedFeatureTransformer, SpectrogramTransformer

RATE, KINDS = 8000, ("tone", "rising", "falling", "warble", "pulses", "chord", "hiss")
TIME = np.arange(RATE // 2) / RATE


def sound(kind, rng):
    """Return one waveform of a kind."""
    pitch, climb = rng.uniform(400, 1200), rng.uniform(600, 1500)
    length, rate = rng.uniform(0.2, 0.4), rng.uniform(8, 16)
    time = TIME - rng.uniform(0, 0.5 - length)
    phase = {
        "rising": pitch * time + climb * time**2 / (2 * length),
        "falling": (pitch + climb) * time - climb * time**2 / (2 * length),
        "warble": pitch * time + climb / (12 * np.pi * rate) * np.sin(2 * np.pi * rate * time),
    }.get(kind, pitch * time)
    wave = np.sin(2 * np.pi * phase)
    if kind == "pulses":
        wave *= np.sin(2 * np.pi * rate * time) > 0
    elif kind == "chord":
        wave = sum(np.sin(2 * np.pi * k * phase) for k in (1, 1.5, 2)) / 3
    elif kind == "hiss":
        wave = rng.normal(size=len(time))
    inside = (time >= 0) & (time < length)
    wave = wave * np.sqrt(np.sin(np.pi * np.clip(time / length, 0, 1))) * inside
    return rng.uniform(0.3, 1) * (wave + rng.uniform(0.05, 0.3) * rng.normal(size=len(time)))


def sounds(n_per_kind, seed):
    """Return waveforms, one per row, and their kinds."""
    rng, y = np.random.default_rng(seed), np.repeat(KINDS, n_per_kind)
    return np.stack([sound(kind, rng) for kind in y]), y


X, y = sounds(80, seed=0)
X_test, y_test = sounds(40, seed=1)

# %%
# A spectrogram is an image with 32 bands of pitch and a column every hundredth of a second.
# ``flatten=False`` gives images, which a network takes, and the default gives rows for any
# estimator.
images = SpectrogramTransformer(RATE, n_mels=32, flatten=False).fit(X)
fig, axes = plt.subplots(1, len(KINDS), figsize=(11, 2.2), layout="constrained", sharey=True)
for ax, kind, image in zip(axes, KINDS, images.transform(X[::80]), strict=True):
    ax.imshow(image, origin="lower", aspect="auto", cmap="magma", extent=(0, 0.5, 0, 32))
    ax.set_title(kind, loc="left")
    ax.set_xlabel("seconds")
axes[0].set_ylabel("band")
plt.show()

# %%
# The same linear model on each kind of features. ``"tiny"`` comes with this package and was
# trained on characters and shapes; ``"efficientnet_lite0"`` was trained on photographs and comes
# with the extra ``networks``. A network with random weights tells what its structure alone does.


def linear(*steps):
    """Return a pipeline that ends in a linear model."""
    return make_pipeline(*steps, StandardScaler(), LogisticRegression(max_iter=1000))


def network(backbone, **parameters):
    """Return a linear model on features of a frozen network."""
    spectrograms = SpectrogramTransformer(RATE, n_mels=32, flatten=False)
    return linear(spectrograms, PretrainedFeatureTransformer(backbone, **parameters))


models = {
    "waveform": linear(),
    "spectrogram": linear(SpectrogramTransformer(RATE, n_mels=32)),
    "tiny, random weights": network("tiny", weights=None),
    "tiny": network("tiny"),
}
try:
    models["efficientnet_lite0"] = network("efficientnet_lite0", input_size=96).fit(
        X[::40], y[::40]
    )
except ImportError:
    print("without the extra networks")

N_LABELS, scores = (1, 3, 10, 40), {}
for name, model in models.items():
    for n_labels in N_LABELS:
        draws = []
        for draw in range(5):
            rng = np.random.default_rng(draw)
            rows = [80 * k + rng.choice(80, n_labels, replace=False) for k in range(len(KINDS))]
            rows = np.concatenate(rows)
            draws.append(model.fit(X[rows], y[rows]).score(X_test, y_test))
        scores.setdefault(name, []).append(100 * np.mean(draws))
    print(f"{name:22}", *(f"{score:5.1f}" for score in scores[name]))

# %%
# The curves are means over five draws of the labels.
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for (name, by_labels), colour in zip(
    scores.items(), ("#888888", "#c8553d", "#d9a441", "#2f6f9f", "#3b7a57"), strict=False
):
    ax.plot(N_LABELS, by_labels, "o-", color=colour, label=name)
ax.axhline(100 / len(KINDS), color="black", linewidth=0.8, linestyle=":", label="chance")
ax.set_xscale("log")
ax.set_xticks(N_LABELS, [str(n) for n in N_LABELS])
ax.minorticks_off()
ax.set_xlabel("labels per kind")
ax.set_ylabel("accuracy (%)")
ax.legend(frameon=False, fontsize=9)
ax.spines[["top", "right"]].set_visible(False)
ax.grid(alpha=0.3)
plt.show()

# %%
# The waveform is at chance for a linear model: equal sounds begin at other times, in other phases.
# The spectrogram alone needs many labels, because it is read pixel by pixel. A network with random
# weights overtakes it with more labels. The network that was trained on characters and shapes is
# ahead at each number of labels, and the network for photographs, if it is installed, stands
# between both.
#
# These sounds were made to differ in the shape of their pictures, which suits a network that knows
# shapes. On recordings a network that was trained on sounds is stronger, and no network is safe to
# be better than spectrograms: compare on your own labels.
