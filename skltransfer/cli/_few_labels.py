"""Few labels a class: pixels against pretrained networks, on bundled digits and a user's images."""

from __future__ import annotations

import numpy as np
from rich.progress import Progress
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from skltransfer.cli._comparison import Comparison, Scores, check_metric
from skltransfer.cli._errors import shown
from skltransfer.cli._image_data import ImageData
from skltransfer.model_selection import TransferTask, image_strategies
from skltransfer.model_selection._strategies import N_EPOCHS

LABELS_PER_CLASS = (1, 5, 10, 20)
N_DRAWS = 10
# Networks that are trained: so many labels and draws as take half a minute, the same draws.
TRAINED_LABELS_PER_CLASS, N_TRAINED_DRAWS = (1, 5), 5
# Networks whose images are larger are trained on request only.
_MAX_TRAINED_SIZE = 64
# Labels of all classes together from which on a comparison says something.
_MIN_LABELS = 10


def compare_digits(seed: int, progress: Progress) -> Comparison:
    """Compare representations of digits, with few labels a class."""
    X, y = load_digits(return_X_y=True)
    strategies = image_strategies()
    scores = _score_draws(
        [(strategy, X, {"image_shape": (8, 8), "value_range": (0, 16)}) for strategy in strategies],
        y,
        LABELS_PER_CLASS,
        seed,
        progress,
        "digits",
    )
    return Comparison(
        "digits",
        "Handwritten digits with few labels: does a pretrained network help?",
        "The network is tiny, or tiny with random weights. Pixels and linear probe: logistic "
        f"regression, {N_DRAWS} draws of the labels; the others: {N_EPOCHS} epochs, the "
        f"first {N_TRAINED_DRAWS} of these draws, fewer numbers of labels.",
        "accuracy",
        [strategy.name for strategy in strategies],
        scores.frame(),
        setting_name="labels per class",
    )


def _score_draws(entries, y, budgets, seed, progress, title, metric=None) -> Scores:
    """Score strategies on the same draws of labelled images.

    Each of `entries` is a strategy, its images, and how they are given. The images that no draw of
    the largest number of labels takes are those that are scored.
    """
    settings = [
        (entry, n_labels, number)
        for number in range(N_DRAWS)
        for n_labels in budgets
        for entry in entries
        if not entry[0].trains_network
        or (n_labels in TRAINED_LABELS_PER_CLASS and number < N_TRAINED_DRAWS)
    ]
    classes = np.unique(y)

    def fits():
        for (strategy, X, images), n_labels, number in settings:
            rng = np.random.default_rng([seed, number])
            rows = [rng.permutation(np.flatnonzero(y == label)) for label in classes]
            order, rank = np.concatenate(rows), np.concatenate([np.arange(len(r)) for r in rows])
            train, test = order[rank < n_labels], order[rank >= max(budgets)]
            model = strategy.build(TransferTask(LogisticRegression(max_iter=1000), images=images))
            yield n_labels, strategy.name, number, model, (X[train], y[train], X[test], y[test])

    return Scores(fits(), len(settings), progress, title, metric)


def compare_images(
    images: ImageData, folder: str, backbones, metric: str, fine_tune: bool, seed: int, progress
) -> Comparison:
    """Compare pixels with pretrained networks on a user's images, with few labels a class."""
    check_metric(metric, images.y)
    folder = shown(folder)
    sizes = {name: record.preprocessing.crop_size for name, _, record in backbones}
    strategies = [
        strategy
        for strategy in image_strategies([(name, weights) for name, weights, _ in backbones])
        if not strategy.trains_network or fine_tune or sizes[strategy.backbone] <= _MAX_TRAINED_SIZE
    ]
    bar = progress.add_task("resizing images", total=len(backbones) * len(images.paths))
    resized = {
        name: images.resized(record.preprocessing, lambda: progress.advance(bar))
        for name, _, record in backbones
    }
    progress.remove_task(bar)
    entries = [
        (strategy, images.pixels / 255, {})
        if strategy.backbone is None
        else (strategy, resized[strategy.backbone], {"input_size": sizes[strategy.backbone]})
        for strategy in strategies
    ]
    budgets = _budgets(images)
    scores = _score_draws(entries, images.y, budgets, seed, progress, folder, metric)
    trained = sorted({s.backbone for s in strategies if s.trains_network})
    frozen = [name for name, _, _ in backbones if name not in trained]
    if frozen:
        images.notes.append(
            f"{', '.join(frozen)} is not trained here, because it takes long without a GPU. Add "
            "--fine-tune to see it."
        )
    if images.look_like_photographs and "tiny" in sizes:
        images.notes.append(_photographs(others=len(sizes) > 1))
    return Comparison(
        folder,
        f"{folder}: does a pretrained network help?",
        f"{len(images.y)} images of {len(np.unique(images.y))} classes. Pixels, at 32 x 32, and "
        f"linear probe: logistic regression, {N_DRAWS} draws of the labels"
        + (
            f"; {', '.join(trained)} trained: {N_EPOCHS} epochs, the first {N_TRAINED_DRAWS} of "
            "these draws, fewer numbers of labels. "
            if trained
            else ". "
        )
        + "Scored on the images that are left; intervals are over draws.",
        metric,
        [strategy.name for strategy in strategies],
        scores.frame(),
        setting_name="labels per class",
        notes=scores.notes() + images.notes,
    )


def _budgets(images: ImageData) -> list[int]:
    """Return numbers of labels a class that leave half of each class to score.

    A handful of rows in all does not even tell the scale of a feature.
    """
    budgets = [n for n in LABELS_PER_CLASS if 2 * n <= images.n_smallest]
    enough = [n for n in budgets if n * len(np.unique(images.y)) >= _MIN_LABELS]
    return enough or budgets[-1:]


def _photographs(*, others: bool) -> str:
    note = (
        "These look like photographs (no plain background), and tiny is a network for characters "
        "and shapes, not for photographs. It may do worse than pixels or random weights."
    )
    if others:
        return note
    return (
        f"{note} Take a network trained on photographs, such as --backbone resnet18 (downloads 45 "
        "MB once), or --backbone NAME --weights FILE with a file of its weights."
    )
