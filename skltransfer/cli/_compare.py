"""``skltransfer compare``: strategies side by side, on paired draws."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from sklearn.preprocessing import StandardScaler

from skltransfer._spelling import near_names
from skltransfer.cli._errors import CommandError, first_line, import_extra
from skltransfer.cli._images import ImageTask, read_images
from skltransfer.cli._networks import image_backbones, text_backbones
from skltransfer.cli._report import draw, prepare_folder, print_task, write_scores
from skltransfer.cli._tables import TableTask, read_task
from skltransfer.cli._task import Scores, Task
from skltransfer.cli._texts import TextTask, text_strategies, texts_of
from skltransfer.datasets import load_biased_breast_cancer
from skltransfer.model_selection import image_strategies, table_strategies
from skltransfer.model_selection._strategies import N_EPOCHS

LABELS_PER_CLASS = (1, 5, 10, 20)
N_DIGIT_DRAWS, N_CANCER_DRAWS = 10, 20
# Networks that are trained: so many labels and draws as take half a minute, the same draws.
TRAINED_LABELS_PER_CLASS, N_TRAINED_DRAWS = (1, 5), 5
# Target rows with a label, and further target rows without one, in the tumour task.
N_LABELLED, N_UNLABELLED = 10, 100
# Networks whose images are larger are trained on request only.
_MAX_TRAINED_SIZE = 64
# Labels of all classes together from which on a comparison says something.
_MIN_LABELS = 10
# Options that mean nothing for other data.
_OF_TABLES, _OF_IMAGES = ("label", "source", "task", "text"), ("backbone", "fine_tune")


def compare(options) -> None:
    """Run the comparison that the command asks for, and report it."""
    import_extra("pandas")
    import_extra("matplotlib")
    plan = _plan(options)
    folder = prepare_folder(options.output)
    console = _Terminal()
    started = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with (
        Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress,
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")
        tasks = plan(options.seed, progress)
    # First what lasts: the terminal may be closed.
    draw(tasks, folder / "comparison.png")
    write_scores(tasks, folder / "scores.csv")
    for task in tasks:
        print_task(console, task)
    if options.target is not None and options.source is None and options.text is None:
        if not Path(options.target).is_dir():
            console.print(
                "Only one domain was given. Add --source SOURCE.csv to see whether it helps.\n"
            )
    console.print(
        f"{time.perf_counter() - started:.0f} s. Picture: {folder / 'comparison.png'}  "
        f"Scores: {folder / 'scores.csv'}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    sys.stdout.flush()


def _plan(options):
    """Check what is asked for, and return what computes it: ``plan(seed, progress)``."""
    target = options.target
    if target is None:
        _refuse(options, _OF_TABLES + _OF_IMAGES + ("metric",), "a file or folder of your own")
        return _bundled
    if Path(target).is_dir():
        _refuse(options, _OF_TABLES, "a CSV file, not with a folder of images")
        metric = _metric(options.metric, is_classification=True)
        backbones = image_backbones(options.backbone or [("tiny", "default")])

        def plan(seed, progress):
            bar = progress.add_task("reading images", total=None)
            images = read_images(
                target, seed, lambda n, total: progress.update(bar, completed=n, total=total)
            )
            progress.remove_task(bar)
            return [
                _compare_images(
                    images, target, backbones, metric, options.fine_tune, seed, progress
                )
            ]

        return plan
    if options.text is None:
        _refuse(options, _OF_IMAGES, "a folder of images, or with --text COLUMN")
    _refuse(options, ("fine_tune",), "a folder of images")
    table = read_task(target, options.label, options.source, options.task)
    metric = _metric(options.metric, table.is_classification)
    if options.text is None:
        strategies = table_strategies("classification" if table.is_classification else "regression")
    else:
        backbones = text_backbones(options.backbone)
        table = texts_of(table, options.text, target)
        strategies = text_strategies(backbones)
    return lambda seed, progress: [
        _compare_table(table, target, strategies, metric, seed, progress)
    ]


def _refuse(options, names: tuple[str, ...], place: str) -> None:
    for name in names:
        if getattr(options, name):
            raise CommandError(f"--{name.replace('_', '-')} goes with {place}.")


class _Terminal(Console):
    """Leaves a closed pipe to the caller; rich itself ends the program with an error."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _bundled(seed: int, progress: Progress) -> list[Task]:
    return [_compare_digits(seed, progress), _compare_tumours(seed, progress)]


def _compare_digits(seed: int, progress: Progress) -> Task:
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
    return Task(
        "digits",
        "Handwritten digits with few labels: does a pretrained network help?",
        "The network is tiny, or tiny with random weights. Pixels and linear probe: logistic "
        f"regression, {N_DIGIT_DRAWS} draws of the labels; the others: {N_EPOCHS} epochs, the "
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
    fits = [
        (entry, n_labels, number)
        for number in range(N_DIGIT_DRAWS)
        for n_labels in budgets
        for entry in entries
        if not entry[0].trains_network
        or (n_labels in TRAINED_LABELS_PER_CLASS and number < N_TRAINED_DRAWS)
    ]
    bar = progress.add_task(escape(title), total=len(fits))
    scorer = None if metric is None else get_scorer(metric)
    classes, scores = np.unique(y), Scores()
    for (strategy, X, images), n_labels, number in fits:
        rng = np.random.default_rng([seed, number])
        order = np.concatenate([rng.permutation(np.flatnonzero(y == label)) for label in classes])
        rank = np.concatenate([np.arange(np.sum(y == label)) for label in classes])
        train, test = order[rank < n_labels], order[rank >= max(budgets)]
        model = strategy.build(LogisticRegression(max_iter=1000), **images)
        data = (X[train], y[train], X[test], y[test])
        try:
            scores.add(n_labels, strategy.name, number, model, data, scorer)
        except (ValueError, TypeError, AttributeError) as error:
            if strategy.name == entries[0][0].name or metric is None:
                raise CommandError(_failure(strategy.name, metric, error)) from error
            scores.fail(strategy.name, error)
        progress.advance(bar)
    return scores


def _compare_images(
    images: ImageTask, folder: str, backbones, metric: str, fine_tune: bool, seed: int, progress
) -> Task:
    """Compare pixels with pretrained networks on a user's images, with few labels a class."""
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
            f"{', '.join(frozen)} is not trained here: that takes long without a GPU. Add "
            "--fine-tune to see it."
        )
    if images.look_like_photographs and "tiny" in sizes:
        images.notes.append(_photographs(others=len(sizes) > 1))
    return Task(
        folder,
        f"{folder}: does a pretrained network help?",
        f"{len(images.y)} images of {len(np.unique(images.y))} classes. Pixels, at 32 x 32, and "
        f"linear probe: logistic regression, {N_DIGIT_DRAWS} draws of the labels"
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


def _budgets(images: ImageTask) -> list[int]:
    """Return numbers of labels a class that leave half of each class to score.

    A handful of rows in all does not even tell the scale of a feature.
    """
    budgets = [n for n in LABELS_PER_CLASS if 2 * n <= images.n_smallest]
    enough = [n for n in budgets if n * len(np.unique(images.y)) >= _MIN_LABELS]
    return enough or budgets[-1:]


def _photographs(*, others: bool) -> str:
    note = (
        "These look like photographs (no plain background), and tiny is a network for characters "
        "and shapes, not for photographs: it may do worse than pixels or random weights."
    )
    if others:
        return note
    return (
        f"{note} Take a network trained on photographs, such as --backbone resnet18 (downloads 45 "
        "MB once), or --backbone NAME --weights FILE with a file of its weights."
    )


def _compare_tumours(seed: int, progress: Progress) -> Task:
    """Compare ways to use a biased source sample of tumours."""
    strategies = table_strategies("classification")
    bar = progress.add_task("tumours", total=len(strategies) * N_CANCER_DRAWS)
    scores = Scores()
    for number in range(N_CANCER_DRAWS):
        rng = np.random.default_rng([seed, number])
        data = load_biased_breast_cancer(random_state=int(rng.integers(2**31)))
        first_test = N_LABELLED + N_UNLABELLED
        for strategy in strategies:
            model = strategy.build(
                StandardScaler(), LogisticRegression(max_iter=1000), data.X_source, data.y_source
            )
            # Rows without a label are of use only to what adapts.
            n_rows = first_test if strategy.needs_source else N_LABELLED
            labels = [
                label if row < N_LABELLED else np.nan
                for row, label in enumerate(data.y_target[:n_rows])
            ]
            test = (data.X_target[first_test:], data.y_target[first_test:])
            scores.add("", strategy.name, number, model, (data.X_target[:n_rows], labels, *test))
            progress.advance(bar)
    return Task(
        "tumours",
        "Tumours, of which the source saw mostly small ones: does it help?",
        f"Logistic regression, or a network of one hidden layer. Source: 100 rows, biased; target: "
        f"{N_LABELLED} rows with a label and {N_UNLABELLED} without. {N_CANCER_DRAWS} draws.",
        "accuracy",
        [strategy.name for strategy in strategies],
        scores.frame(),
        notes=scores.notes(),
    )


def _metric(name: str | None, is_classification: bool) -> str:
    if name is None:
        return "accuracy" if is_classification else "r2"
    if name not in get_scorer_names():
        raise CommandError(
            f"--metric {name}: there is no such scorer.{near_names(name, get_scorer_names())} "
            "sklearn.metrics.get_scorer_names() lists them."
        )
    response = getattr(get_scorer(name), "_response_method", "predict")
    if not is_classification and "predict" not in np.atleast_1d(response):
        raise CommandError(
            f"--metric {name} is for classes, and the labels are taken for numbers. Choose one "
            "such as r2 or neg_mean_absolute_error, or add --task classification."
        )
    return name


def _compare_table(
    table: TableTask | TextTask, path: str, strategies, metric: str, seed: int, progress: Progress
) -> Task:
    """Compare ways to use a user's source table, by folds of the target table."""
    for note in table.notes:
        progress.console.print(f"Note: {note}.", markup=False)
    strategies = [
        strategy
        for strategy in strategies
        if table.X_source is not None or not strategy.needs_source
    ]
    folds = _folds(table, path, seed)
    bar = progress.add_task(escape(path), total=len(strategies) * folds.get_n_splits())
    scorer = get_scorer(metric)
    scores = Scores()
    ratios = []
    for number, (train, test) in enumerate(folds.split(table.X, table.y)):
        ratios.append(len(test) / len(train))
        X_train, X_test = table.X.iloc[train], table.X.iloc[test]
        for strategy in strategies:
            model = strategy.build(table.steps, table.model, table.X_source, table.y_source)
            data = (X_train, table.y[train], X_test, table.y[test])
            try:
                scores.add("", strategy.name, number, model, data, scorer)
            except (ValueError, TypeError, AttributeError) as error:
                if strategy.name == strategies[0].name:  # the metric, or the table
                    raise CommandError(_failure(strategy.name, metric, error)) from error
                scores.fail(strategy.name, error)
            progress.advance(bar)
    source = f", {len(table.y_source)} source rows" if table.y_source is not None else ""
    return Task(
        path,
        f"{path}: does the other domain help?" if table.y_source is not None else path,
        f"{type(table.model).__name__} on {len(table.y)} target rows{source}. "
        f"{folds.get_n_splits()} folds of the target.",
        metric,
        [strategy.name for strategy in strategies],
        scores.frame(),
        test_to_train=float(np.mean(ratios)),
        notes=scores.notes(),
    )


def _failure(strategy: str, metric: str | None, error: Exception) -> str:
    hint = ""
    if "pos_label" in str(error) or "binary" in str(error):
        hint = (
            f" Write the classes as 0 and 1, or choose an averaged metric such as {metric}_macro."
        )
    return f"{strategy!r} cannot be scored by {metric}: {first_line(error)}.{hint}"


def _folds(table: TableTask, path: str, seed: int):
    if not table.is_classification:
        return RepeatedKFold(n_splits=min(5, len(table.y) // 2), n_repeats=2, random_state=seed)
    classes, counts = np.unique(table.y, return_counts=True)
    if counts.min() < 2:
        rare = classes[counts.argmin()]
        raise CommandError(
            f"class {str(rare)!r} has a single row in {path!r}; folds need 2 of each. Drop it or "
            "add rows."
        )
    n_splits = min(5, int(counts.min()))
    return RepeatedStratifiedKFold(n_splits=n_splits, n_repeats=2, random_state=seed)
