"""Few-shot learning: new classes and new functions from a handful of labelled samples.

Omniglot: the characters of three alphabets (Balinese, Early Aramaic, Greek), each turned by 0, 90,
180 and 270 degrees as four classes, are the source. An episode of the test draws 5 characters of
two other alphabets (Korean, Latin), with one labelled image and 15 images to be recognised each.
All methods see the same episodes. Images have 28 x 28 pixels, and the networks 4 convolutional
blocks of 64 maps with max pooling: with batch normalisation for prototypes, and with group
normalisation and features of length 8 for MAML. Beside them is the nearest class mean on raw pixels
and on the features of the same networks with random weights. The intervals are Student's over the
episodes; a network is trained once.

Sinusoids, as in the paper of MAML (Finn et al. 2017, section 5.1): amplitudes from 0.1 to 5, phases
from 0 to pi, inputs from -5 to 5, a network with two hidden layers of 40 units. The source has
1000 functions of 50 samples each. A new function is learned from 10 samples, and the mean squared
error is taken at 100 points. Beside MAML is the same network trained on all source samples at once,
as it is and fine-tuned on the 10 samples, and trained on these alone.

Needs the shared data (omniglot).
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path

from benchmarks._measure import make_parser, one_thread, write

one_thread()

import numpy as np
import torch
from PIL import Image
from torch import nn

from skltransfer import (
    FineTunedClassifier,
    FineTunedRegressor,
    MAMLClassifier,
    MAMLRegressor,
    PrototypicalClassifier,
)
from skltransfer.model_selection import mean_interval

DATA = ("omniglot",)
CLAIMS = [
    {
        "claim": "prototypical network, unseen alphabets, 5-way 1-shot: accuracy",
        "beside": "limit",
        "value": ["omniglot", "rows", {"method": "PrototypicalClassifier"}, "mean"],
        "at_least": 93,
        "unit": "%",
    },
    {
        "claim": "MAML, unseen alphabets, 5-way 1-shot: accuracy",
        "beside": "limit",
        "value": ["omniglot", "rows", {"method": "MAMLClassifier"}, "mean"],
        "at_least": 88,
        "unit": "%",
    },
    {
        "claim": "prototypical network: CPU time of the training",
        "beside": "limit",
        "value": ["omniglot", "rows", {"method": "PrototypicalClassifier"}, "cpu_minutes"],
        "at_most": 20,
        "unit": "minutes",
    },
    {
        "claim": "MAML: CPU time of the training",
        "beside": "limit",
        "value": ["omniglot", "rows", {"method": "MAMLClassifier"}, "cpu_minutes"],
        "at_most": 20,
        "unit": "minutes",
    },
    {
        "claim": "MAML, sinusoids from 10 samples, 1 step: squared error",
        "beside": "joint training, fine-tuned",
        "value": ["sinusoids", "ratio to joint training, fine-tuned"],
        "at_most": 0.5,
        "unit": "of it",
    },
]
N_SOURCE_ALPHABETS = 3
N_WAY, N_QUERY, N_EPISODES = 5, 15, 400
EPOCHS = {"PrototypicalClassifier": 14, "MAMLClassifier": 8}
N_FUNCTIONS, N_SAMPLES, N_SHOT, N_NEW_FUNCTIONS = 1000, 50, 10, 50


def block(n_in: int, n_out: int, norm: nn.Module) -> nn.Sequential:
    """Return a convolutional block, which halves the image."""
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2))


class BatchNormed(nn.Sequential):
    """Four convolutional blocks with batch normalisation (Vinyals et al. 2016)."""

    def __init__(self):
        widths = (1, 64, 64, 64, 64)
        blocks = [block(a, b, nn.BatchNorm2d(b)) for a, b in zip(widths, widths[1:], strict=False)]
        super().__init__(*blocks, nn.Flatten())


class GroupNormed(nn.Sequential):
    """Four convolutional blocks with group normalisation, and features of one length."""

    def __init__(self):
        widths = (1, 64, 64, 64, 64)
        blocks = [block(a, b, nn.GroupNorm(8, b)) for a, b in zip(widths, widths[1:], strict=False)]
        super().__init__(*blocks, nn.Flatten(), nn.LayerNorm(64, elementwise_affine=False))


# --- characters --------------------------------------------------------------------------


def read_characters(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images (n, 28, 28) with white ink, the name of each character, and its alphabet."""
    images, characters, alphabets = [], [], []
    with zipfile.ZipFile(data / "omniglot" / "images_background_small1.zip") as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".png")):
            with Image.open(io.BytesIO(archive.read(name))) as image:
                small = image.convert("L").resize((28, 28), Image.Resampling.BILINEAR)
            images.append(255 - np.asarray(small))
            _, alphabet, character, _ = name.split("/")
            characters.append(f"{alphabet} {character}")
            alphabets.append(alphabet)
    return np.array(images), np.array(characters), np.array(alphabets)


def turned(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images turned by multiples of 90 degrees, each as a class of its own."""
    turns = range(4)
    images = np.concatenate([np.rot90(X, k, axes=(1, 2)) for k in turns])
    return images, np.concatenate([np.char.add(y, f" turned {90 * k}") for k in turns])


def draw_episodes(y: np.ndarray, n_episodes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return numbers of support samples (n_way,) and of query samples, episode by episode."""
    rng = np.random.default_rng(0)
    rows_of = [np.flatnonzero(y == character) for character in np.unique(y)]
    episodes = []
    for _ in range(n_episodes):
        classes = rng.choice(len(rows_of), N_WAY, replace=False)
        rows = [rng.choice(rows_of[k], 1 + N_QUERY, replace=False) for k in classes]
        episodes.append((np.array([r[0] for r in rows]), np.concatenate([r[1:] for r in rows])))
    return episodes


def nearest_mean(features: np.ndarray, y: np.ndarray, support, query) -> float:
    """Return the accuracy of the nearest support sample, one for each class."""
    lengths = (features[support] ** 2).sum(1)
    scores = 2 * features[query] @ features[support].T - lengths
    return float((y[support][scores.argmax(1)] == y[query]).mean())


def adapted(model, X: np.ndarray, y: np.ndarray, support, query) -> float:
    """Return the accuracy of a meta-learner that is fitted to the support set."""
    model.adapt(X[support], y[support])
    return float((model.predict(X[query]) == y[query]).mean())


def characters(data: Path, quick: bool, learner: str) -> list[dict]:
    """Return the accuracies on the episodes of a meta-learner and of the nearest class mean."""
    images, names, alphabets = read_characters(data)
    is_source = np.isin(alphabets, np.unique(alphabets)[:N_SOURCE_ALPHABETS])
    X, y = turned(images[is_source], names[is_source])
    X_new, y_new = images[~is_source], names[~is_source]
    episodes = draw_episodes(y_new, 5 if quick else N_EPISODES)
    first, _ = episodes[0]
    target = {"X_target": X_new[first], "y_target": y_new[first]}
    size = {"n_way": 20, "n_shot": 1, "n_query": 5, "tasks_per_step": 1}
    size["episodes_per_epoch"] = 2 if quick else 50
    kind = {"PrototypicalClassifier": BatchNormed, "MAMLClassifier": GroupNormed}[learner]
    n_epochs = 1 if quick else EPOCHS[learner]
    network = FineTunedClassifier(kind, weights=None, lr=1e-3, max_epochs=n_epochs)
    if learner == "MAMLClassifier":
        model = MAMLClassifier(network, inner_lr=3.0, n_inner_steps=1, **size)
    else:
        model = PrototypicalClassifier(network, **size)

    def of_nearest_mean(features: np.ndarray) -> list[float]:
        return [nearest_mean(features, y_new, *episode) for episode in episodes]

    untrained = PrototypicalClassifier(network, episodes_per_epoch=0).fit(X, y)
    accuracies = {
        "nearest mean, raw pixels": of_nearest_mean(X_new.reshape(len(X_new), -1) / 255),
        f"nearest mean, network of {learner}, random weights": of_nearest_mean(
            untrained.transform(X_new)
        ),
    }
    started = time.process_time()
    model.fit(X, y, **target)
    seconds = time.process_time() - started
    print(f"{learner}: {seconds:.0f} s, {model.history_[-1]['train_loss']:.3f}", flush=True)
    if learner == "MAMLClassifier":
        accuracies[learner] = [adapted(model, X_new, y_new, *episode) for episode in episodes]
    else:
        accuracies[learner] = of_nearest_mean(model.transform(X_new))
        for episode, accuracy in list(zip(episodes, accuracies[learner], strict=True))[:20]:
            assert abs(adapted(model, X_new, y_new, *episode) - accuracy) < 0.02
    rows = []
    for name, values in accuracies.items():
        mean, low, high = mean_interval(100 * np.array(values))
        row = {"method": name, "mean": mean, "low": low, "high": high}
        if name == learner:
            row |= {"cpu_minutes": seconds / 60, "training_episodes": 50 * network.max_epochs}
        rows.append(row)
    return rows


# --- sinusoids ---------------------------------------------------------------------------


def functions(n: int, n_samples: int, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs (n, n_samples) and outputs of sinusoids, and functions of an input."""
    amplitude, phase = rng.uniform(0.1, 5, (n, 1)), rng.uniform(0, np.pi, (n, 1))
    x = rng.uniform(-5, 5, (n, n_samples))
    return x, amplitude * np.sin(x - phase), (amplitude, phase)


def sinusoids(quick: bool) -> dict:
    """Return the squared errors on new functions."""
    rng = np.random.default_rng(0)
    n = 20 if quick else N_FUNCTIONS
    x, y, _ = functions(n, N_SAMPLES, rng)
    X, y, tasks = x.reshape(-1, 1), y.ravel(), np.repeat(np.arange(n), N_SAMPLES)
    n_new = 3 if quick else N_NEW_FUNCTIONS
    x_few, y_few, (amplitude, phase) = functions(n_new, N_SHOT, rng)
    grid = np.linspace(-5, 5, 100)
    truth = amplitude * np.sin(grid - phase)
    network = FineTunedRegressor(
        hidden_layer_sizes=(40, 40),
        optimizer="adamw",
        weight_decay=0.0,
        lr=3e-3,
        max_epochs=2 if quick else 40,
    )
    model = MAMLRegressor(
        network,
        inner_lr=0.1,
        n_inner_steps=1,
        n_shot=N_SHOT,
        n_query=N_SHOT,
        episodes_per_epoch=50 if quick else 2000,
        tasks_per_step=25,
    )
    errors, started = {}, time.process_time()
    target = {"X_target": x_few[0][:, np.newaxis], "y_target": y_few[0]}
    model.fit(X, y, groups=tasks, **target)
    seconds = time.process_time() - started
    print(f"MAMLRegressor: {seconds:.0f} s, {model.history_[-1]['train_loss']:.4f}", flush=True)
    for n_steps in (1, 5, 10):
        model.set_params(n_target_steps=n_steps)
        errors[f"MAMLRegressor, {n_steps} steps"] = squared_errors(
            lambda a, b: model.adapt(a, b).predict, x_few, y_few, grid, truth
        )
    joint = FineTunedRegressor(
        hidden_layer_sizes=(40, 40),
        optimizer="adamw",
        batch_size=250,
        max_epochs=1 if quick else 30,
    ).fit(X, y)
    alone = FineTunedRegressor(hidden_layer_sizes=(40, 40))
    near = FineTunedRegressor(joint)
    for name, make in {
        "joint training": lambda a, b: joint.predict,
        "joint training, fine-tuned": lambda a, b: near.fit(a, b).predict,
        "the 10 samples alone": lambda a, b: alone.fit(a, b).predict,
    }.items():
        errors[name] = squared_errors(make, x_few, y_few, grid, truth)
    rows = []
    for name, values in errors.items():
        mean, low, high = mean_interval(values)
        rows.append({"method": name, "mean": mean, "low": low, "high": high})
    means = {row["method"]: row["mean"] for row in rows}
    ratio = means["MAMLRegressor, 1 steps"] / means["joint training, fine-tuned"]
    return {
        "rows": rows,
        "cpu_minutes": seconds / 60,
        "ratio to joint training, fine-tuned": ratio,
    }


def squared_errors(fitted, x_few, y_few, grid, truth) -> np.ndarray:
    """Return the mean squared error on each function, of what is fitted to its samples."""
    errors = []
    for x, y, values in zip(x_few, y_few, truth, strict=True):
        predict = fitted(x[:, np.newaxis], y)
        errors.append(((predict(grid[:, np.newaxis]) - values) ** 2).mean())
    return np.array(errors)


PARTS = ("PrototypicalClassifier", "MAMLClassifier", "sinusoids")


def main(options) -> None:
    """Run the parts."""
    torch.set_num_threads(1)
    path = Path(__file__).with_suffix(".json")
    keeps_rest = options.part and not options.quick and path.is_file()
    record = json.loads(path.read_text()) if keeps_rest else {"omniglot": {"rows": []}}
    for part in PARTS if options.part is None else (options.part,):
        if part == "sinusoids":
            record[part] = sinusoids(options.quick)
            continue
        rows = {row["method"]: row for row in record["omniglot"]["rows"]}
        rows |= {row["method"]: row for row in characters(options.data, options.quick, part)}
        record["omniglot"]["rows"] = list(rows.values())
    record |= {"test_episodes": N_EPISODES, "new_functions": N_NEW_FUNCTIONS}
    write(__file__, record, options)


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--part", choices=PARTS, help="run this alone, keep the rest")
    main(parser.parse_args())
