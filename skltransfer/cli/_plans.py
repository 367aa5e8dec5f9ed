"""What a command compares: the samples, the baseline and the strategies."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skltransfer import Preprocessing, PretrainedFeatureTransformer, load_backbone
from skltransfer._messages import first_line, how_to_install, near_names
from skltransfer._table_columns import TableColumns
from skltransfer.backbones._packaged import EFFICIENTNET_LITE0, EXTRA, MINILM, is_installed
from skltransfer.cli._errors import CommandError, shown
from skltransfer.cli._image_data import ImageData
from skltransfer.cli._preprocessing import default_model
from skltransfer.cli._scoring import Scoring, scoring_of
from skltransfer.cli._table_data import TableData
from skltransfer.cli._text_data import TextData
from skltransfer.domains import DomainDataWarning
from skltransfer.model_selection import (
    Strategy,
    TransferTask,
    compare_strategies,
    image_strategies,
    mixture_strategies,
    table_strategies,
    text_strategies,
)
from skltransfer.model_selection._menu import without_slow
from skltransfer.model_selection._mixture import spread_folds

N_FOLDS = 5
# Labels a class of the learning curve on images; all there are come last.
LABELS_PER_CLASS = (1, 5, 20)
# Labels of all classes together from which on a comparison says something.
_MIN_LABELS = 10
# Networks whose images are larger are trained on request only.
_MAX_TRAINED_SIZE = 64
# Minutes after which weaker strategies on images and on large tables are given up, unless the
# command says otherwise.
_BUDGET = 10.0
# Rows of a table, of both domains, up to which all strategies take less than that.
_MAX_ROWS_WITHOUT_BUDGET = 2000
# Height and width of the pixels that are the baseline of images.
_PIXELS = 32


@dataclass
class Plan:
    """A comparison to make."""

    title: str
    estimator: Any
    X: Any
    y: np.ndarray
    strategies: list  # of Strategy, or of names for tables; the baseline first
    scoring: Scoring
    X_source: Any = None
    y_source: np.ndarray | None = None
    X_unlabelled: Any = None
    unlabelled_rows: Any = ()
    groups: np.ndarray | None = None
    once: bool = False  # one repetition of the folds
    learning_curve: list[int] | None = None
    budget: float | None = None  # minutes
    columns: TableColumns | None = None
    notes: list[str] = field(default_factory=list)

    def compare(self, *, n_jobs: int, seed: int, progress):
        """Return the comparison, with a note for each warning about the data."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                comparison = compare_strategies(
                    self.estimator,
                    self.X,
                    self.y,
                    X_source=self.X_source,
                    y_source=self.y_source,
                    X_unlabelled=self.X_unlabelled,
                    strategies=self.strategies,
                    cv=self._folds(seed),
                    groups=self.groups,
                    scoring=self.scoring.scorer,
                    learning_curve=self.learning_curve,
                    n_jobs=n_jobs,
                    budget=None if self.budget is None else 60 * self.budget,
                    progress=progress,
                    random_state=seed,
                )
            except ValueError as error:
                raise CommandError(f"{shown(self.title)}: {first_line(error)}.") from error
        comparison.title, comparison.metric = self.title, self.scoring.name
        said = [str(w.message) for w in caught if issubclass(w.category, DomainDataWarning)]
        comparison.notes[:0] = [f"{note}." for note in self.notes]
        comparison.notes += [text for text in dict.fromkeys(said) if "are left out" not in text]
        return comparison

    def _folds(self, seed: int):
        """Return the folds of one repetition, if one is asked for."""
        if not self.once:
            return None
        if self.groups is not None:
            return min(N_FOLDS, len(np.unique(self.groups)))
        is_number = self.y.dtype.kind == "f"
        dealt = np.zeros(len(self.y)) if is_number else self.y
        n_folds = min(N_FOLDS, len(self.y))
        fold = spread_folds(dealt, n_folds, np.random.default_rng(seed))
        rows = np.arange(len(self.y))
        return [(rows[fold != k], rows[fold == k]) for k in range(n_folds)]


def table_plan(data: TableData, options) -> Plan:
    """Return the comparison of strategies on tables."""
    estimator = make_pipeline(data.steps, data.model)
    task = TransferTask(estimator, data.X_source, data.y_source)
    menu, shared = mixture_strategies(task), _shared(data)
    frames = (data.X, data.X_unlabelled, data.X_source)
    n_rows = sum(len(frame) for frame in frames if frame is not None)
    if not options.quick or options.strategies:
        kind = "classification" if data.is_classification else "regression"
        names = {strategy.name for strategy in menu}
        menu += [s for s in table_strategies(kind, n_rows) if s.name not in names]
    if not options.strategies:
        menu, notes = without_slow(menu, n_rows)
        shared["notes"] += [note.removesuffix(".") for note in notes]
    budget = options.budget
    if budget is None and n_rows > _MAX_ROWS_WITHOUT_BUDGET:
        budget = _BUDGET
    return Plan(
        shown(data.name),
        estimator,
        data.X,
        data.y,
        # By name, so that the cheap ones are mixed.
        [s.name for s in _chosen(menu, options.strategies, has_source=data.X_source is not None)],
        scoring_of(options.metric, options.positive, data.y, data.is_classification),
        once=options.quick,
        budget=budget,
        columns=TableColumns(list(data.X.columns), list(data.kinds.numbers)),
        **shared,
    )


def text_plan(data: TextData, column: str, backbones, options) -> Plan:
    """Return the comparison of TF-IDF with encoders of texts."""
    menu = text_strategies([(name, weights) for name, weights, _ in backbones])
    if options.quick:
        menu = [strategy for strategy in menu if not strategy.is_control]
    shared = _shared(data)
    if not backbones:
        shared["notes"].append(
            "TF-IDF stands alone here, because no encoder of texts is installed. Add one by "
            f"{_option(MINILM)}, --backbone hf:NAME, or --backbone hf:FOLDER"
        )
    shared |= {
        name: None if shared[name] is None else shared[name].tolist()
        for name in ("X_source", "X_unlabelled")
    }
    return Plan(
        shown(data.name),
        make_pipeline(TfidfVectorizer(), default_model(data.is_classification)),
        data.X.tolist(),
        data.y,
        _chosen(menu, options.strategies, has_source=data.X_source is not None),
        scoring_of(options.metric, options.positive, data.y, data.is_classification),
        once=options.quick,
        budget=options.budget,
        columns=TableColumns([column], [], column),
        **shared,
    )


def _shared(data: TableData) -> dict[str, Any]:
    return {
        "X_source": data.X_source,
        "y_source": data.y_source,
        "X_unlabelled": data.X_unlabelled if len(data.X_unlabelled) else None,
        "unlabelled_rows": data.unlabelled_rows,
        "groups": data.groups,
        "notes": list(data.notes),
    }


def image_plan(images: ImageData, folder: str, backbones, options) -> Plan:
    """Return the comparison of pixels with pretrained networks, on paths of images."""
    pixels = pixel_features()
    model = LogisticRegression(max_iter=2000)
    baseline = make_pipeline(pixels, StandardScaler(), model)
    sizes = {name: record.preprocessing.crop_size for name, _, record in backbones}
    menu = [Strategy("pixels", lambda task: baseline, "baseline")]
    for strategy in image_strategies([(name, weights) for name, weights, _ in backbones])[1:]:
        is_small = sizes[strategy.backbone] <= _MAX_TRAINED_SIZE
        may_train = is_small or options.fine_tune
        if not strategy.trains_network or (may_train and not options.quick):
            menu.append(strategy)
    menu = _chosen(menu, options.strategies)
    notes = list(images.notes)
    left_out = [
        name for name in sizes if not any(s.trains_network and s.backbone == name for s in menu)
    ]
    if left_out and not options.quick and not options.strategies:
        notes.append(
            f"{', '.join(left_out)} is not trained here, because it takes long without a GPU; add "
            "--fine-tune to see it"
        )
    if images.look_like_photographs and "tiny" in sizes:
        notes.append(_photographs(others=len(sizes) > 1))
    budget = options.budget
    if budget is None and any(strategy.trains_network for strategy in menu):
        budget = _BUDGET
    return Plan(
        shown(folder),
        baseline,
        np.array(images.paths, dtype=object),
        images.y,
        menu,
        scoring_of(options.metric, options.positive, images.y, True),
        once=True,
        learning_curve=None if options.quick else label_counts(images.y),
        budget=budget,
        notes=notes,
    )


def pixel_features() -> PretrainedFeatureTransformer:
    """Return a transformer of images of any size into the pixels of small ones."""
    preprocessing = Preprocessing((_PIXELS, _PIXELS), _PIXELS, mean=(0.0,) * 3, std=(1.0,) * 3)
    record = load_backbone(nn.Flatten(), preprocessing=preprocessing)
    return PretrainedFeatureTransformer(record)


def label_counts(y) -> list[int]:
    """Return numbers of labels of a learning curve that the training folds can give."""
    _, counts = np.unique(y, return_counts=True)
    largest = len(y) - int(np.ceil(counts / N_FOLDS).sum())
    sizes = [n * len(counts) for n in LABELS_PER_CLASS]
    return [size for size in sizes if _MIN_LABELS <= size < largest]


def with_images(strategies: list[Strategy], images: dict) -> list[Strategy]:
    """Return strategies that are told how images are given."""

    def told(strategy: Strategy) -> Strategy:
        return replace(strategy, build=lambda task: strategy.build(replace(task, images=images)))

    return [told(strategy) for strategy in strategies]


def _chosen(menu: list[Strategy], names: list[str] | None, *, has_source=False) -> list[Strategy]:
    """Return the baseline and the strategies that the command names, or all that are possible."""
    if not names:
        return [strategy for strategy in menu if has_source or not strategy.needs_source]
    known = {strategy.name: strategy for strategy in menu}
    for name in names:
        if name not in known:
            raise CommandError(
                f"--strategies {name!r}: there is no such strategy.{near_names(name, known)} There "
                f"are {', '.join(map(repr, known))}."
            )
        if known[name].needs_source and not has_source:
            raise CommandError(
                f"--strategies {name!r} needs another domain. Add --source SOURCE, or --domain "
                "COLUMN."
            )
    return [known[name] for name in dict.fromkeys([menu[0].name, *names])]


def _photographs(*, others: bool) -> str:
    note = (
        "these look like photographs (no plain background), and tiny is a network for characters "
        "and shapes, not for photographs. It may do worse than pixels or random weights"
    )
    if others:
        return note
    return (
        f"{note}. Take a network trained on photographs by {_option(EFFICIENTNET_LITE0)}, "
        "--backbone resnet18 (downloads 45 MB once), or --backbone NAME --weights FILE with a file "
        "of its weights"
    )


def _option(name: str) -> str:
    """Return the option that names a packaged network, and how to install it where it is not."""
    after = "" if is_installed(name) else f" (after {how_to_install(EXTRA)})"
    return f"--backbone {name}{after}"
