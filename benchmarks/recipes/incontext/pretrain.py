"""Train the network of ``InContextTransferClassifier`` on pairs of tables made by formula.

    python -m benchmarks.recipes.incontext.pretrain [--seeds 0 1 2] [--weights PATH]

Tasks are drawn once, and their ridge scores computed. For each seed the network is trained on them
by the package's own loop, for a fixed number of steps. The seed with the lowest loss on held-out
tasks, made by formula too, gives the weights, which are written in float16 (safetensors). No real
table is read. The record is ``pretrain.json``. ``pretrain_numbers.py`` is the same for the network
of ``InContextTransferRegressor``.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks._measure import ROOT, make_parser, one_thread, output_folder, write

one_thread()

import numpy as np
import torch
from joblib import Parallel, delayed
from safetensors.torch import save_file
from torch.nn import functional as F

from benchmarks.recipes.incontext.network import InContextNetwork
from benchmarks.recipes.incontext.pairs_of_tables import Random, Shape, draw_tasks
from skltransfer._torch._optimizers import Schedule
from skltransfer._torch._training import train
from skltransfer.relation import _in_context_inputs, _in_context_numbers
from skltransfer.relation._in_context_inputs import Standardization, fit_scores, signs
from skltransfer.relation._in_context_numbers import Units

CLAIMS = [
    {
        "claim": "training of the in-context network, each seed",
        "beside": "limit",
        "value": ["cpu_minutes_per_seed"],
        "at_most": 120,
        "unit": "min",
    },
    {
        "claim": "file of the weights of the in-context network",
        "beside": "limit",
        "value": ["file_bytes"],
        "at_most": 300_000,
        "unit": "bytes",
    },
]
WEIGHTS = ROOT / "skltransfer" / "relation" / "weights"
N_TEST = 64
N_HELD_OUT = 40  # batches for each group of held-out tasks
# Numbers of labelled target samples, as often as they stand here.
N_LABELLED = (0, 5, 10, 10, 10, 20, 30, 30, 30, 50, 100, 100, 200)
FEW_LABELLED = (0, 5, 5, 10, 10, 10, 10, 10, 20, 20, 30, 30, 50, 100, 200)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, beside the seed and the formulas.

    Attributes
    ----------
    n_batches, n_epochs : int
        Batches of tasks that are drawn, and passes over them.
    n_late_batches, n_late_epochs : int
        The same of a second training, on tasks with fewer labels and more features.
    n_sequences : int
        Tasks times classes in a batch.
    n_context : int
        Source samples that the network attends to, at most; scores are of all.
    width, n_layers, n_heads : int
        Of the network.
    learning_rate, late_learning_rate, weight_decay, warm_up, clip_norm : float
        AdamW; ``warm_up`` is the share of steps before the cosine decay begins.
    """

    n_batches: int = 4000
    n_epochs: int = 3
    n_late_batches: int = 3000
    n_late_epochs: int = 2
    n_sequences: int = 48
    n_context: int = 64
    width: int = 48
    n_layers: int = 2
    n_heads: int = 2
    learning_rate: float = 2e-3
    late_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warm_up: float = 0.03
    clip_norm: float = 1.0


@dataclass(frozen=True, eq=False)
class TaskBatch:
    """The inputs of the network for tasks of one shape, one class against the rest in each row.

    Attributes
    ----------
    source, target, test : float16 arrays of shape (n, n_samples, N_SCORES)
        Scores.
    y_source, y_target : float32 arrays of shape (n, n_samples)
        Labels, -1 or 1; or numbers in their units, and their negatives.
    summary : float32 array of shape (n, N_SUMMARY_INPUTS)
    y : tensor of shape (n_tasks, N_TEST)
        Classes of the test samples, or numbers.
    n_classes : int or None
        None if labels are numbers.
    """

    source: np.ndarray
    target: np.ndarray
    test: np.ndarray
    y_source: np.ndarray
    y_target: np.ndarray
    summary: np.ndarray
    y: torch.Tensor
    n_classes: int | None

    def logits(self, network: InContextNetwork, rows: slice = slice(None)) -> torch.Tensor:
        """Return those of the test samples, one class against the rest, (n, N_TEST)."""
        inputs = _in_context_numbers if self.n_classes is None else _in_context_inputs
        tokens = [
            inputs.context_tokens(self.source[rows].astype(np.float32), self.y_source[rows], False),
            inputs.context_tokens(self.target[rows].astype(np.float32), self.y_target[rows], True),
            inputs.query_tokens(self.test[rows].astype(np.float32)),
        ]
        n_context = self.source.shape[1] + self.target.shape[1]
        tokens = torch.from_numpy(np.concatenate(tokens, axis=1))
        return network(tokens, torch.from_numpy(self.summary[rows]), n_context)

    def loss(self, network: InContextNetwork, label: int | None = None) -> torch.Tensor:
        """Return the mean log loss of the test samples, or the Huber loss of numbers.

        Parameters
        ----------
        network : InContextNetwork
        label : {0, 1} or None, default=None
            Of two classes, that whose logit is trained; 1 is the numbers, and 0 their negatives.
            ``None`` is half of the difference of both, which is what is predicted.
        """
        if self.n_classes is None:
            if label is not None:
                wanted = self.y if label else -self.y
                return F.huber_loss(
                    self.logits(network, slice(1 - label, None, 2)), wanted, delta=2
                )
            of_numbers, of_negatives = self.logits(network).unflatten(0, (-1, 2)).unbind(1)
            return F.mse_loss((of_numbers - of_negatives) / 2, self.y)
        if self.n_classes > 2:
            logits = self.logits(network).unflatten(0, (-1, self.n_classes)).transpose(1, 2)
            return F.nll_loss(logits.log_softmax(2).flatten(0, 1), self.y.flatten())
        if label is not None:
            own = (self.y == label).float()
            logits = self.logits(network, slice(label, None, 2))
            return F.binary_cross_entropy_with_logits(logits, own)
        logits = self.logits(network).unflatten(0, (-1, 2))
        difference = (logits[:, 1] - logits[:, 0]) / 2
        return F.binary_cross_entropy_with_logits(difference, self.y.float())


def draw_shape(random: Random, *, is_late: bool = False, has_classes: bool = True) -> Shape:
    """Draw the sizes of tasks, in the second training with fewer labels and more features."""

    def between(low: int, high: int) -> int:
        return round(low * (high / low) ** float(random.uniform(1)))

    n_classes = 2 if random.uniform(1) < 0.65 else between(3, 10)
    sizes = FEW_LABELLED if is_late else N_LABELLED
    n_labelled = sizes[int(random.choice(len(sizes), 1))]
    n_source = between(50, 500)
    n_unlabelled = 64 * int(random.coin(0.5, 1))
    if random.uniform(1) < 0.07:  # one domain alone
        n_source, n_labelled, n_unlabelled = 0, between(10, 300), 0
    n_features = between(2, 100)
    if is_late and random.uniform(1) < 0.5:
        n_features = 20 + int(random.choice(81, 1))
    of_labels = n_classes if has_classes else None
    return Shape(of_labels, n_features, n_source, n_labelled, n_unlabelled, N_TEST)


def draw_batch(
    seed: int, recipe: Recipe, *, is_late: bool = False, has_classes: bool = True, **sizes
) -> TaskBatch:
    """Draw tasks of one shape, of which some sizes may be given."""
    random = Random(seed)
    shape = draw_shape(random, is_late=is_late, has_classes=has_classes)
    shape = replace(shape, **sizes)
    n_columns = shape.n_classes or 2  # numbers, and their negatives
    tasks = draw_tasks(random, shape, max(1, recipe.n_sequences // n_columns))
    source, labelled = (X.double().numpy() for X in (tasks.X_source, tasks.X_labelled))
    standardize = Standardization.of(source, labelled)
    inputs, y_test = _in_context_inputs, tasks.y_test
    if has_classes:
        Y_source, Y_target = (
            signs(y.numpy(), n_columns) for y in (tasks.y_source, tasks.y_labelled)
        )
    else:
        inputs = _in_context_numbers
        y_source, y_labelled = (y.double().numpy() for y in (tasks.y_source, tasks.y_labelled))
        units = Units.of(y_source, y_labelled)
        Y_source, Y_target = units.columns(y_source), units.columns(y_labelled)
        standard = np.clip(units.columns(y_test.double().numpy())[..., 0], -6, 6)
        y_test = torch.from_numpy(standard.astype(np.float32))
    scores, fits = fit_scores(standardize(source), Y_source, standardize(labelled), Y_target)
    unlabelled, test = (
        fits(standardize(X.double().numpy())) for X in (tasks.X_unlabelled, tasks.X_test)
    )
    known = inputs.summary(scores, Y_source, Y_target, unlabelled, shape.n_features)
    kept = slice(0, recipe.n_context)  # rows are in random order

    def by_column(part: np.ndarray, dtype) -> np.ndarray:
        """Put the columns of labels beside the tasks."""
        part = np.moveaxis(part, 2, 1)
        shape = part.shape[0] * n_columns, *part.shape[2:]
        return np.ascontiguousarray(part.reshape(shape), dtype=dtype)

    def small(part: np.ndarray) -> np.ndarray:
        return by_column(np.clip(part, -4, 4), np.float16)

    return TaskBatch(
        small(scores.source[:, kept]),
        small(scores.target),
        small(test),
        by_column(Y_source[:, kept], np.float32),
        by_column(Y_target, np.float32),
        known.reshape(-1, known.shape[-1]).astype(np.float32),
        y_test,
        shape.n_classes,
    )


def _draw(seeds, recipe, sizes) -> list[TaskBatch]:
    torch.set_num_threads(1)
    return [draw_batch(seed, recipe, **sizes) for seed in seeds]


def draw_batches(first_seed: int, n: int, recipe: Recipe, n_jobs: int, **sizes) -> list[TaskBatch]:
    """Draw batches, each with a seed of its own, so that the number of processes is no matter."""
    chunks = np.array_split(np.arange(first_seed, first_seed + n), min(n, 40))
    drawn = Parallel(n_jobs=n_jobs)(
        delayed(_draw)(chunk.tolist(), recipe, sizes) for chunk in chunks
    )
    return [batch for part in drawn for batch in part]


@dataclass(frozen=True, eq=False)
class Step:
    """The tasks of a step, and which of two classes is trained."""

    tasks: TaskBatch
    label: int
    weights = None

    def __len__(self) -> int:
        return len(self.tasks.y)

    def split(self, n_parts: int) -> list[Step]:
        """Return the step whole: the samples of a task belong together."""
        return [self]


class Stream:
    """The batches of an epoch, in an order that is drawn anew for each.

    Parameters
    ----------
    batches : list of TaskBatch
    seed : int
    n_per_epoch : int
        Batches of an epoch of the loop, which writes one record for it.
    """

    device = torch.device("cpu")
    streams = ()

    def __init__(self, batches: list[TaskBatch], seed: int, n_per_epoch: int):
        self.batches, self.n_per_epoch = batches, n_per_epoch
        self._rng, self._left = np.random.default_rng(seed), []

    def __len__(self) -> int:
        return self.n_per_epoch

    def __iter__(self):
        for _ in range(self.n_per_epoch):
            if not self._left:
                self._left = self._rng.permutation(len(self.batches)).tolist()
            yield Step(self.batches[self._left.pop()], int(self._rng.integers(2)))


class HeldOut:
    """Tasks of other seeds, in groups, and the loss on them: of numbers, the mean squared error.

    Parameters
    ----------
    recipe : Recipe
    n : int
        Batches of each group.
    n_jobs : int
    has_classes : bool
    """

    GROUPS = {
        **{f"2 classes, {n} labels": {"n_classes": 2, "n_labelled": n} for n in (0, 10, 30, 100)},
        "5 classes, 30 labels": {"n_classes": 5, "n_labelled": 30},
        "2 classes, 30 labels, one domain": {"n_classes": 2, "n_labelled": 30, "n_source": 0},
    }

    GROUPS_OF_NUMBERS = {
        **{f"{n} labels": {"n_labelled": n} for n in (0, 10, 30, 100)},
        "30 labels, one domain": {"n_labelled": 30, "n_source": 0},
    }

    def __init__(self, recipe: Recipe, n: int, n_jobs: int, has_classes: bool):
        groups = self.GROUPS if has_classes else self.GROUPS_OF_NUMBERS
        self.groups = {
            name: draw_batches(
                10**6 * (1 + number),
                n,
                recipe,
                n_jobs,
                has_classes=has_classes,
                **_with_source(sizes),
            )
            for number, (name, sizes) in enumerate(groups.items())
        }

    @torch.no_grad()
    def losses(self, network: InContextNetwork) -> dict[str, float]:
        """Return the mean loss of each group."""
        return {
            name: round(float(np.mean([float(batch.loss(network)) for batch in batches])), 4)
            for name, batches in self.groups.items()
        }


def _with_source(sizes: dict) -> dict:
    return {"n_source": 200, **sizes}


class Reports:
    """Prints and keeps the record of an epoch of the loop."""

    def __init__(self, network: InContextNetwork, held_out: HeldOut, label: str):
        self.network, self.held_out, self.label, self.curve = network, held_out, label, []

    def begin(self) -> None:
        """Do nothing before an epoch."""

    def end(self, record: dict) -> bool:
        """Take the losses of an epoch."""
        losses = self.held_out.losses(self.network)
        self.curve.append(
            {
                "epoch": record["epoch"],
                "train": round(record["train_loss"], 4),
                "held out": round(float(np.mean(list(losses.values()))), 4),
                **losses,
            }
        )
        print(self.label, self.curve[-1], flush=True)
        return False


def train_network(
    recipe: Recipe,
    seed: int,
    batches: list[TaskBatch],
    late_batches: list[TaskBatch],
    held_out: HeldOut,
) -> tuple[InContextNetwork, list[dict]]:
    """Train a network twice in turn, and return it with its curve."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = InContextNetwork(recipe.width, recipe.n_layers, recipe.n_heads)
    first = train_on(
        network, recipe, seed, batches, recipe.n_epochs, recipe.learning_rate, held_out
    )
    late = recipe.n_late_epochs, recipe.late_learning_rate
    return network, first + train_on(network, recipe, seed, late_batches, *late, held_out)


def train_on(
    network: InContextNetwork,
    recipe: Recipe,
    seed: int,
    batches: list[TaskBatch],
    n_epochs: int,
    learning_rate: float,
    held_out: HeldOut,
) -> list[dict]:
    """Train a network by passes over batches, and return its curve."""
    n_steps = len(batches) * n_epochs
    n_records = min(20, n_steps)
    stream = Stream(batches, seed, math.ceil(n_steps / n_records))
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=learning_rate,
        betas=(0.9, 0.98),
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    reports = Reports(network, held_out, f"seed {seed}")
    train(
        network,
        lambda network, batch: {"loss": batch.tasks.loss(network, batch.label)},
        stream,
        optimizer=optimizer,
        n_epochs=n_records,
        schedule=Schedule(optimizer, "cosine", len(stream) * n_records, recipe.warm_up),
        clip_norm=recipe.clip_norm,
        reports=reports,
    )
    return reports.curve


def write_weights(network: InContextNetwork, metadata: dict[str, str], path: Path) -> None:
    """Write the weights in float16, so that ``path`` is always a complete file."""
    weights = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    save_file(weights, unfinished, metadata=metadata)
    unfinished.chmod(0o644)  # safetensors makes files that only their owner reads
    os.replace(unfinished, path)


def in_half_precision(network: InContextNetwork) -> InContextNetwork:
    """Round the weights, in place, to those that are written."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half())
    return network


def pretrain(options, recipe: Recipe, name: str, *, has_classes: bool, is_quick: bool) -> dict:
    """Draw tasks, train each seed, write the best weights, and return the record.

    Parameters
    ----------
    options : argparse.Namespace
        With those of :func:`add_options`.
    recipe : Recipe
    name : str
        File of the weights.
    has_classes : bool
        Whether labels are classes, or numbers.
    is_quick : bool
        Whether to see only that it runs.
    """
    torch.set_num_threads(1)
    weights, n_held_out = options.weights or WEIGHTS / name, N_HELD_OUT
    if is_quick:
        recipe = replace(recipe, n_batches=8, n_epochs=1, n_sequences=12)
        recipe = replace(recipe, n_late_batches=8, n_late_epochs=1)
        options.output, n_held_out = output_folder(__file__, options), 2
        weights = options.output / name
    kind = {"has_classes": has_classes}
    started = time.perf_counter()
    held_out = HeldOut(recipe, n_held_out, options.n_jobs, **kind)
    batches = draw_batches(0, recipe.n_batches, recipe, options.n_jobs, **kind)
    late = draw_batches(10**5, recipe.n_late_batches, recipe, options.n_jobs, is_late=True, **kind)
    drawing = time.perf_counter() - started
    runs = Parallel(n_jobs=options.n_jobs, mmap_mode="r")(
        delayed(_run)(recipe, seed, batches, late, held_out) for seed in options.seeds
    )
    best = min(runs, key=lambda run: run["loss"])
    metadata = {"n_heads": str(recipe.n_heads), "seed": str(best["seed"])}
    metadata["labels"] = "classes" if has_classes else "numbers"
    write_weights(best.pop("network"), metadata, weights)
    return {
        "recipe": asdict(recipe),
        "seed": best["seed"],
        "n_weights": best["n_weights"],
        "file_bytes": weights.stat().st_size,
        "minutes_of_drawing": round(drawing / 60, 1),
        "cpu_minutes_per_seed": max(run["cpu_minutes"] for run in runs),
        "seeds": [{key: value for key, value in run.items() if key != "network"} for run in runs],
    }


def _run(recipe: Recipe, seed: int, batches, late_batches, held_out: HeldOut) -> dict:
    """Train one seed, and describe it by the losses of the weights that are written."""
    torch.set_num_threads(1)
    started = time.process_time()
    network, curve = train_network(recipe, seed, batches, late_batches, held_out)
    minutes = round((time.process_time() - started) / 60, 1)
    losses = held_out.losses(in_half_precision(network))
    return {
        "seed": seed,
        "network": network,
        "loss": round(float(np.mean(list(losses.values()))), 4),
        "losses": losses,
        "n_weights": sum(parameter.numel() for parameter in network.parameters()),
        "cpu_minutes": minutes,
        "curve": curve,
    }


def add_options(parser):
    """Add those of a recipe of weights to a command line, and return it."""
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--weights", type=Path, help="file to write (default: the package's)")
    parser.add_argument("--n-jobs", type=int, default=2, help="processes")
    return parser


def main(options) -> None:
    """Train the network of classes."""
    name, is_quick = "in_context.safetensors", options.quick
    record = pretrain(options, Recipe(), name, has_classes=True, is_quick=is_quick)
    write(__file__, record, options)


if __name__ == "__main__":
    main(add_options(make_parser(__doc__)).parse_args())
