"""Few-shot learning: new classes and new functions from a handful of labelled samples.

Omniglot: the characters of three alphabets (Balinese, Early Aramaic, Greek), each turned by 0, 90,
180 and 270 degrees as four classes, are the source. An episode of the test draws 5 characters of
two other alphabets (Korean, Latin), with one labelled image and 15 images to be recognised each.
All methods see the same episodes; in a second set all 5 characters are of one alphabet. Images have
28 x 28 pixels. The network has 4 convolutional blocks of 64 maps with batch normalisation and max
pooling, and features of length 8. Training images are turned, scaled, sheared and shifted a little
at random. Beside the meta-learners stand raw pixels, the network without training, and "source
only": the same network, trained as an ordinary classifier of the source on as many images as the
prototypical network, with the nearest class mean of its features. The settings were chosen by
training on two of the three source alphabets and testing on Greek. The number of ways in training
and MAML's rate were taken from earlier trials, whose accuracy on the test alphabets was known (.928
and .867, with other networks and unchanged images).

Intervals are Student's over the episodes, and differences are paired. A network is trained once:
other seeds and other characters are not in the intervals.

Sinusoids, as in the paper of MAML (Finn et al. 2017, section 5.1): amplitudes from 0.1 to 5, phases
from 0 to pi, inputs from -5 to 5, a network with two hidden layers of 40 units. The source has
2000 functions of 40 samples each. A new function is learned from 10 samples, and the mean squared
error is taken at 100 points, after 0, 1 and 10 gradient steps. Beside MAML is the paper's baseline:
the same network trained on all functions at once, by as many steps on the same samples, whose rate
on the 10 samples is the best of six for each number of steps. Both rates were chosen on 100 other
functions. Last come the network trained on the 10 samples alone, and fine-tuned to the end.

Needs the shared data (omniglot).
"""

from __future__ import annotations

import io
import json
import math
import time
import zipfile
from pathlib import Path

from benchmarks._measure import make_parser, one_thread, output_folder, write

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
        "beside": "joint training, 1 step",
        "value": ["sinusoids", "ratio to joint training, 1 step"],
        "at_most": 0.5,
        "unit": "of it",
    },
]
N_SOURCE_ALPHABETS = 3
N_WAY, N_QUERY, N_EPISODES, N_WITHIN = 5, 15, 600, 200
WAYS_OF_TRAINING, QUERIES_OF_TRAINING, EPISODES_PER_EPOCH = 20, 5, 50
EPOCHS = {"PrototypicalClassifier": 30, "MAMLClassifier": 12}
N_FUNCTIONS, N_SAMPLES, N_SHOT, N_NEW_FUNCTIONS = 2000, 40, 10, 100
STEPS_OF_SINUSOIDS, TASKS_PER_STEP = 10_000, 25
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# A rate so small that nothing moves: what the weights give without a step.
NO_RATE = 1e-12
SOURCE_ONLY = "source only, nearest class mean"


class Network(nn.Sequential):
    """Four convolutional blocks (Vinyals et al. 2016), and features of one length."""

    def __init__(self):
        widths, blocks = (1, 64, 64, 64, 64), []
        for n_in, n_out in zip(widths, widths[1:], strict=False):
            convolution = nn.Conv2d(n_in, n_out, 3, padding=1)
            blocks += [convolution, nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2)]
        super().__init__(*blocks, nn.Flatten(), nn.LayerNorm(64, elementwise_affine=False))


def moved(x: torch.Tensor) -> torch.Tensor:
    """Turn (by 10 degrees), scale and shift (by a tenth) and shear images at random."""
    n = len(x)

    def uniform(largest: float, *shape: int) -> torch.Tensor:
        return (2 * torch.rand(n, *shape) - 1) * largest

    turn, scale, shear = uniform(math.pi / 18), 1 + uniform(0.1, 2), uniform(0.15)
    rows = [turn.cos() * scale[:, 0], (shear - turn.sin()) * scale[:, 1]]
    rows += [turn.sin() * scale[:, 0], turn.cos() * scale[:, 1]]
    matrix = torch.cat([torch.stack(rows, 1).reshape(n, 2, 2), uniform(0.16, 2, 1)], dim=2)
    grid = nn.functional.affine_grid(matrix, list(x.shape), align_corners=False)
    pixels = nn.functional.grid_sample(x.float(), grid, align_corners=False)
    return pixels if x.is_floating_point() else pixels.round().to(x.dtype)


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


def n_episodes(quick: bool) -> tuple[int, int]:
    """Return the numbers of episodes of both alphabets, and of one."""
    return (4, 2) if quick else (N_EPISODES, N_WITHIN)


def draw_episodes(y, groups, n: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return numbers of support samples (n_way,) and of query samples, episode by episode.

    The classes of an episode are of one group.
    """
    rng, episodes = np.random.default_rng(seed), []
    pools = [np.unique(y[groups == group]) for group in np.unique(groups)]
    for number in range(n):
        classes = rng.choice(pools[number % len(pools)], N_WAY, replace=False)
        rows = [
            rng.choice(np.flatnonzero(y == name), 1 + N_QUERY, replace=False) for name in classes
        ]
        episodes.append((np.array([r[0] for r in rows]), np.concatenate([r[1:] for r in rows])))
    return episodes


def nearest_mean(features: np.ndarray, y: np.ndarray, support, query) -> int:
    """Return how many samples are nearest to the support sample of their class."""
    lengths = (features[support] ** 2).sum(1)
    scores = 2 * features[query] @ features[support].T - lengths
    return int((y[support][scores.argmax(1)] == y[query]).sum())


def adapted(model, X: np.ndarray, y: np.ndarray, support, query) -> int:
    """Return how many samples a meta-learner has right that is fitted to the support set."""
    model.adapt(X[support], y[support])
    return int((model.predict(X[query]) == y[query]).sum())


def settings_of_network(n_epochs: int) -> dict:
    """Return what all networks of characters have in common."""
    settings = {"backbone": Network, "weights": None, "optimizer": "adamw", "lr": 1e-3}
    return settings | {"augment": moved, "max_epochs": n_epochs}


def characters(data: Path, quick: bool, learner: str) -> list[dict]:
    """Return the accuracies on the episodes of a meta-learner and of what stands beside it."""
    images, names, alphabets = read_characters(data)
    is_source = np.isin(alphabets, np.unique(alphabets)[:N_SOURCE_ALPHABETS])
    X, y = turned(images[is_source], names[is_source])
    X_new, y_new, alphabets = images[~is_source], names[~is_source], alphabets[~is_source]
    n_mixed, n_within = n_episodes(quick)
    episodes = draw_episodes(y_new, np.zeros(len(y_new)), n_mixed, seed=0)
    episodes += draw_episodes(y_new, alphabets, n_within, seed=1)
    first, _ = episodes[0]
    target = {"X_target": X_new[first], "y_target": y_new[first]}
    n_epochs = 1 if quick else EPOCHS[learner]
    size = {"n_way": WAYS_OF_TRAINING, "n_shot": 1, "n_query": QUERIES_OF_TRAINING}
    size["episodes_per_epoch"] = 2 if quick else EPISODES_PER_EPOCH
    size["tasks_per_step"] = 1

    rows = []

    def note(method: str, right: list[int], **more) -> None:
        rows.append({"method": method} | more | {"right": right})
        print(method, more, np.mean(right[:n_mixed]) / (N_WAY * N_QUERY), flush=True)

    def note_nearest_mean(method: str, features: np.ndarray, **more) -> None:
        note(method, [nearest_mean(features, y_new, *each) for each in episodes], **more)

    def timed(model, n_images: int, **given) -> dict:
        started = time.process_time()
        model.fit(X, y, **given)
        minutes = (time.process_time() - started) / 60
        return {"cpu_minutes": minutes, "training_images": n_images}

    n_images = n_epochs * size["episodes_per_epoch"] * size["n_way"] * (1 + size["n_query"])
    if learner == "MAMLClassifier":
        network = FineTunedClassifier(**settings_of_network(n_epochs))
        rate = {"inner_lr": 3.0, "n_inner_steps": 1}
        untrained = MAMLClassifier(network, **rate, **size | {"episodes_per_epoch": 0})
        untrained.fit(X, y, **target)
        model = MAMLClassifier(network, **rate, **size)
        note(
            "MAMLClassifier, no training",
            [adapted(untrained, X_new, y_new, *each) for each in episodes],
        )
        more = timed(model, n_images, **target)
        note(learner, [adapted(model, X_new, y_new, *each) for each in episodes], **more)
        return rows
    network = FineTunedClassifier(**settings_of_network(n_epochs), precision="bfloat16")
    untrained = PrototypicalClassifier(network, episodes_per_epoch=0).fit(X, y)
    note_nearest_mean("raw pixels, nearest class mean", X_new.reshape(len(X_new), -1) / 255)
    note_nearest_mean("random weights, nearest class mean", untrained.transform(X_new))
    # A squared distance of features of length 8 is at most 256.
    model = PrototypicalClassifier(network, temperature=13.0, **size)
    more = timed(model, n_images, **target)
    features = model.transform(X_new)
    note_nearest_mean(learner, features, **more)
    for each in episodes[:5]:  # the estimator's own prediction is the nearest mean
        if abs(adapted(model, X_new, y_new, *each) - nearest_mean(features, y_new, *each)) > 1:
            raise AssertionError("The prototypical network does not predict the nearest mean.")
    n_epochs = max(1, round(n_images / len(X)))
    settings = settings_of_network(n_epochs) | {"batch_size": 120, "precision": "bfloat16"}
    source_only = FineTunedClassifier(**settings)
    more = timed(source_only, n_epochs * len(X))
    note_nearest_mean(SOURCE_ONLY, source_only.transform(X_new), **more)
    return rows


def summarised(rows: list[dict], quick: bool) -> dict:
    """Return the rows with means and intervals in percent, and paired differences."""
    _, n_within = n_episodes(quick)
    percent = {row["method"]: 100 / N_WAY / N_QUERY * np.array(row["right"]) for row in rows}
    for row in rows:
        values = percent[row["method"]]
        row["mean"], row["low"], row["high"] = mean_interval(values[:-n_within])
        within = mean_interval(values[-n_within:])
        row["within one alphabet"] = dict(zip(("mean", "low", "high"), within, strict=True))
    differences = []
    for learner in ("PrototypicalClassifier", "MAMLClassifier"):
        for other in percent:
            if other != learner and learner in percent:
                mean, low, high = mean_interval((percent[learner] - percent[other])[:-n_within])
                difference = {"method": learner, "beside": other}
                differences.append(difference | {"mean": mean, "low": low, "high": high})
    order = ("method", "mean", "low", "high", "within one alphabet")
    rows = [{key: row[key] for key in order} | row for row in rows]
    return {"rows": rows, "differences": differences}


# --- sinusoids ---------------------------------------------------------------------------


class Functions:
    """Sinusoids with samples of each.

    Parameters
    ----------
    n : int
    n_samples : int
        Of each function.
    seed : int
    """

    def __init__(self, n: int, n_samples: int, seed: int):
        rng = np.random.default_rng(seed)
        amplitude, phase = rng.uniform(0.1, 5, (n, 1)), rng.uniform(0, np.pi, (n, 1))
        self.x = rng.uniform(-5, 5, (n, n_samples))
        self.y = amplitude * np.sin(self.x - phase)
        self.grid = np.linspace(-5, 5, 100)
        self.truth = amplitude * np.sin(self.grid - phase)

    def errors(self, fitted) -> np.ndarray:
        """Return the squared error on each function, of what is fitted to its samples."""
        errors = []
        for x, y, truth in zip(self.x, self.y, self.truth, strict=True):
            model = fitted(x[:, np.newaxis], y)
            errors.append(((model.predict(self.grid[:, np.newaxis]) - truth) ** 2).mean())
        return np.array(errors)


def after_steps(model, functions: Functions, n_steps: int, rate: float) -> np.ndarray:
    """Return the errors of a meta-learner after steps on the samples of each function."""
    model.set_params(n_target_steps=max(1, n_steps), inner_lr=rate if n_steps else NO_RATE)
    try:
        return functions.errors(model.adapt)
    except ValueError:  # the steps diverged
        return np.full(len(functions.x), np.inf)


def sinusoids(quick: bool) -> dict:
    """Return the squared errors on new functions."""
    source = Functions(40 if quick else N_FUNCTIONS, N_SAMPLES, seed=0)
    known = Functions(3 if quick else 100, N_SHOT, seed=1)
    new = Functions(3 if quick else N_NEW_FUNCTIONS, N_SHOT, seed=2)
    X, y = source.x.reshape(-1, 1), source.y.ravel()
    given = {"groups": np.repeat(np.arange(len(source.x)), N_SAMPLES)}
    given |= {"X_target": new.x[0][:, np.newaxis], "y_target": new.y[0]}
    n_steps = 20 if quick else STEPS_OF_SINUSOIDS
    size = {"hidden_layer_sizes": (40, 40)}
    network = FineTunedRegressor(
        **size,
        optimizer="adamw",
        weight_decay=0.0,
        lr=3e-3,
        max_epochs=10,
        precision="float32",
    )
    episodes = {"n_shot": N_SHOT, "n_query": N_SHOT, "tasks_per_step": TASKS_PER_STEP}
    episodes["episodes_per_epoch"] = n_steps * TASKS_PER_STEP // 10
    inner_lr, errors, rates = 0.3, {}, {}
    maml = MAMLRegressor(network, inner_lr=inner_lr, n_inner_steps=1, **episodes)
    # Without a step in its episodes it learns all functions at once.
    joint = MAMLRegressor(network, inner_lr=NO_RATE, n_inner_steps=1, first_order=True, **episodes)
    minutes = {}
    for name, model in {"MAMLRegressor": maml, "joint training": joint}.items():
        started = time.process_time()
        model.fit(X, y, **given)
        minutes[name] = (time.process_time() - started) / 60
        for steps in (0, 1, 10):
            own = RATES if model is joint and steps else (inner_lr,)
            best = min(own, key=lambda rate: after_steps(model, known, steps, rate).mean())
            label = f"{name}, {steps} step{'s' if steps != 1 else ''}"
            errors[label] = after_steps(model, new, steps, best)
            rates[label] = best if steps else None
            print(label, best, errors[label].mean(), flush=True)
    joint = FineTunedRegressor(**size, optimizer="adamw", batch_size=250, max_epochs=30).fit(X, y)
    errors["joint training, fine-tuned to the end"] = new.errors(FineTunedRegressor(joint).fit)
    errors["the 10 samples alone"] = new.errors(FineTunedRegressor(**size).fit)
    rows = []
    for name, values in errors.items():
        mean, low, high = mean_interval(values)
        rows.append(
            {"method": name, "mean": mean, "low": low, "high": high, "median": np.median(values)}
            | {"rate": rates.get(name)}
        )
    means = {row["method"]: row["mean"] for row in rows}
    ratio = means["MAMLRegressor, 1 step"] / means["joint training, 1 step"]
    return {"rows": rows, "cpu_minutes": minutes, "ratio to joint training, 1 step": ratio}


PARTS = ("PrototypicalClassifier", "MAMLClassifier", "sinusoids")


def main(options) -> None:
    """Run the parts."""
    torch.set_num_threads(1)
    record = {}
    if options.part and not options.quick:
        path = output_folder(__file__, options) / "few_shot.json"
        if path.is_file():
            record = json.loads(path.read_text())
            record.pop("machine")
    for part in (options.part,) if options.part else PARTS:
        if part == "sinusoids":
            record[part] = sinusoids(options.quick)
            continue
        rows = {row["method"]: row for row in record.get("omniglot", {"rows": []})["rows"]}
        rows |= {row["method"]: row for row in characters(options.data, options.quick, part)}
        record["omniglot"] = summarised(list(rows.values()), options.quick)
    write(__file__, record, options)


if __name__ == "__main__":
    parser = make_parser(__doc__, data=True)
    parser.add_argument("--part", choices=PARTS, help="run this alone, and keep the rest")
    main(parser.parse_args())
