"""``skltransfer compare``: strategies side by side, on paired draws."""

from __future__ import annotations

import sys
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skltransfer import TruncatedTextWarning
from skltransfer._files import write_whole
from skltransfer._messages import how_to_install, near_names
from skltransfer.cli._comparison import Comparison, Scores, check_metric
from skltransfer.cli._errors import CommandError, import_extra, shown
from skltransfer.cli._few_labels import compare_digits, compare_images
from skltransfer.cli._image_data import read_images
from skltransfer.cli._named_networks import image_backbones, text_backbones
from skltransfer.cli._report import draw, prepare_folder, print_comparison, write_scores
from skltransfer.cli._table_data import TableData, read_tables
from skltransfer.cli._text_data import texts_of, with_notes_of_cut_texts
from skltransfer.datasets import load_biased_breast_cancer
from skltransfer.model_selection import (
    Strategy,
    TransferTask,
    table_strategies,
    text_strategies,
)

N_CANCER_DRAWS = 20
# Source rows, target rows with a label, and further ones without, in the tumour task.
N_SOURCE, N_LABELLED, N_UNLABELLED = 100, 10, 100
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
        warnings.filterwarnings("ignore", category=TruncatedTextWarning)  # a note counts them
        comparisons = plan(options.seed, progress)
    # Files come first, because the terminal may be closed; both or none.
    with (
        write_whole(folder / "comparison.png") as picture,
        write_whole(folder / "scores.csv") as scores,
    ):
        draw(comparisons, picture)
        write_scores(comparisons, scores)
    for comparison in comparisons:
        print_comparison(console, comparison)
    if options.target is not None and options.source is None and options.text is None:
        if not Path(options.target).is_dir():
            console.print(
                "Only one domain was given. Add --source SOURCE.csv to see whether it helps.\n"
            )
    console.print(
        f"{time.perf_counter() - started:.0f} s. Picture: {shown(folder / 'comparison.png')}  "
        f"Scores: {shown(folder / 'scores.csv')}",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    sys.stdout.flush()


def _plan(options):
    """Check the options, and return the function ``plan(seed, progress)`` that compares."""
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
                compare_images(images, target, backbones, metric, options.fine_tune, seed, progress)
            ]

        return plan
    if options.text is None:
        _refuse(options, _OF_IMAGES, "a folder of images, or with --text COLUMN")
    _refuse(options, ("fine_tune",), "a folder of images")
    table = read_tables(target, options.label, options.source, options.task, options.text)
    metric = _metric(options.metric, table.is_classification)
    check_metric(metric, table.y)
    if options.text is None:
        strategies = table_strategies(
            "classification" if table.is_classification else "regression",
            len(table.y) + (0 if table.y_source is None else len(table.y_source)),
        )
    else:
        backbones = text_backbones(options.backbone)
        table = with_notes_of_cut_texts(texts_of(table, options.text, target), backbones)
        strategies = text_strategies([(name, weights) for name, weights, _ in backbones])
    return lambda seed, progress: [
        _compare_table(table, target, strategies, metric, seed, progress)
    ]


def _refuse(options, names: tuple[str, ...], place: str) -> None:
    for name in names:
        if getattr(options, name):
            raise CommandError(f"--{name.replace('_', '-')} goes with {place}.")


class _Terminal(Console):
    """A console that leaves a closed pipe to the caller, where rich would end the program."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _bundled(seed: int, progress: Progress) -> list[Comparison]:
    return [compare_digits(seed, progress), _compare_tumours(seed, progress)]


def _compare_tumours(seed: int, progress: Progress) -> Comparison:
    """Compare ways to use a biased source sample of tumours."""
    first_test = N_LABELLED + N_UNLABELLED
    strategies, missing = _installed(table_strategies("classification", N_SOURCE + first_test))

    def fits():
        for number in range(N_CANCER_DRAWS):
            draw = int(np.random.default_rng([seed, number]).integers(2**31))
            data = load_biased_breast_cancer(n_source=N_SOURCE, random_state=draw)
            estimator = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
            task = TransferTask(estimator, data.X_source, data.y_source)
            test = (data.X_target[first_test:], data.y_target[first_test:])
            for strategy in strategies:
                # Rows without a label are of use to two-domain strategies only.
                n_unlabelled = N_UNLABELLED if strategy.needs_source else 0
                labels = [*data.y_target[:N_LABELLED], *[np.nan] * n_unlabelled]
                train = (data.X_target[: len(labels)], labels)
                yield "", strategy.name, number, strategy.build(task), (*train, *test)

    scores = Scores(fits(), len(strategies) * N_CANCER_DRAWS, progress, "tumours")
    return Comparison(
        "tumours",
        "Tumours, of which the source saw mostly small ones: does it help?",
        f"Logistic regression, or a network of one hidden layer. Source: {N_SOURCE} rows, biased; "
        f"target: {N_LABELLED} rows with a label and {N_UNLABELLED} without. "
        f"{N_CANCER_DRAWS} draws.",
        "accuracy",
        [strategy.name for strategy in strategies],
        scores.frame(),
        notes=missing + scores.notes(),
    )


def _installed(strategies: list[Strategy]) -> tuple[list[Strategy], list[str]]:
    """Return the strategies whose modules are installed, and notes on settings and the others."""
    found = [s for s in strategies if s.needs is None or find_spec(s.needs) is not None]
    set_ones = [f"{s.name} ({s.settings})" for s in found if s.settings is not None]
    notes = [f"Settings that are not the defaults: {', '.join(set_ones)}."] if set_ones else []
    return found, notes + [
        f"{s.name} is left out: it needs {how_to_install(s.needs)}."
        for s in strategies
        if s not in found
    ]


def _metric(name: str | None, is_classification: bool) -> str:
    if name is None:
        return "accuracy" if is_classification else "r2"
    if name not in get_scorer_names():
        usual = "balanced_accuracy, f1_macro" if is_classification else "neg_mean_absolute_error"
        raise CommandError(
            f"--metric {name}: there is no such scorer.{near_names(name, get_scorer_names())} "
            f"Choose a scorer of scikit-learn, such as {usual}."
        )
    response = getattr(get_scorer(name), "_response_method", "predict")
    of_classes = "predict" not in np.atleast_1d(response) or f"{name}_macro" in get_scorer_names()
    if not is_classification and of_classes:
        raise CommandError(
            f"--metric {name} is for classes, and the labels are taken for numbers. Choose one "
            "such as r2 or neg_mean_absolute_error, or add --task classification."
        )
    return name


def _compare_table(
    table: TableData, path: str, strategies, metric: str, seed: int, progress: Progress
) -> Comparison:
    """Compare ways to use a user's source table, by folds of the target table."""
    for note in table.notes:
        progress.console.print(f"Note: {shown(note)}.", markup=False)
    strategies, missing = _installed(
        [s for s in strategies if table.X_source is not None or not s.needs_source]
    )
    folds = _folds(table, path, seed)
    splits = list(folds.split(table.X, table.y))

    steps = [] if table.steps is None else [table.steps]
    task = TransferTask(make_pipeline(*steps, table.model), table.X_source, table.y_source)

    def fits():
        for number, (train, test) in enumerate(splits):
            data = (table.X.iloc[train], table.y[train], table.X.iloc[test], table.y[test])
            for strategy in strategies:
                yield "", strategy.name, number, strategy.build(task), data

    path = shown(path)
    scores = Scores(fits(), len(strategies) * len(splits), progress, path, metric)
    source = f", {len(table.y_source)} source rows" if table.y_source is not None else ""
    return Comparison(
        path,
        f"{path}: does the other domain help?" if table.y_source is not None else path,
        f"{type(table.model).__name__} on {len(table.y)} target rows{source}. "
        f"{len(splits)} folds of the target.",
        metric,
        [strategy.name for strategy in strategies],
        scores.frame(),
        test_to_train=float(np.mean([len(test) / len(train) for train, test in splits])),
        notes=missing + scores.notes(),
    )


def _folds(table: TableData, path: str, seed: int):
    if not table.is_classification:
        return RepeatedKFold(n_splits=min(5, len(table.y) // 2), n_repeats=2, random_state=seed)
    classes, counts = np.unique(table.y, return_counts=True)
    if counts.min() < 2:
        rare = classes[counts.argmin()]
        raise CommandError(
            f"class {str(rare)!r} has a single row in {path!r}, and folds need 2 of each class. "
            "Remove the row, or add rows of the class."
        )
    n_splits = min(5, int(counts.min()))
    return RepeatedStratifiedKFold(n_splits=n_splits, n_repeats=2, random_state=seed)
