"""A comparison: scores, their cost and notes."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.markup import escape
from scipy.linalg import LinAlgWarning
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer, get_scorer_names, r2_score

from skltransfer import EffectiveSampleSizeWarning, KernelWidthWarning
from skltransfer._messages import first_line
from skltransfer.cli._errors import CommandError, import_extra, shorten

# Warnings that are counted, with their wording after the name of a strategy.
_NOTED = {
    EffectiveSampleSizeWarning: "left hardly any effective source rows, or of a class,",
    KernelWidthWarning: "had a kernel that hardly tells the rows apart",
    LinAlgWarning: "confused classes so much that their shares are uncertain",
}


@dataclass
class Comparison:
    """A finished comparison with its scores."""

    name: str
    title: str
    caption: str
    metric: str
    strategies: list[str]
    scores: Any  # data frame with columns setting, strategy, draw, score, seconds
    setting_name: str = ""
    test_to_train: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def scale(self) -> float:
        """Return 100 for shares, which are shown in percent, else 1."""
        return 100.0 if "accuracy" in self.metric else 1.0

    @property
    def axis_label(self) -> str:
        """Return the metric with its unit."""
        return f"{self.metric} (%)" if self.scale == 100 else self.metric

    def show(self, interval: tuple[float, float, float], *, sign: bool = False) -> str:
        """Format a score or a difference with half of its interval."""
        mean, _, high = (value * self.scale for value in interval)
        digits = 1 if self.scale == 100 else 3
        return f"{mean:{'+' if sign else ''}.{digits}f} ± {high - mean:.{digits}f}"


class Scores:
    """Scores of strategies with their cost and notes.

    Parameters
    ----------
    fits : iterable of (setting, strategy, draw, model, data)
        Fits to score, the baseline's first. `strategy` is a name, and `data` is
        (X_train, y_train, X_test, y_test).
    n_fits : int
        Number of fits.
    progress : Progress
    title : str
        Name of the progress bar.
    metric : str or None
        Scorer of a user's data. ``None``: the models' own score.

    Raises
    ------
    CommandError
        If the baseline cannot be scored by `metric`. Other strategies may fail, with a note.
    """

    def __init__(self, fits, n_fits: int, progress, title: str, metric: str | None = None):
        self.rows = []
        self._noted, self._failed, self._n_fits = Counter(), {}, Counter()
        self._unsettled: dict[str, list[str]] = {}  # warnings of convergence, one a fit
        scorer = None if metric is None else get_scorer(metric)
        bar = progress.add_task(escape(title), total=n_fits)
        for setting, strategy, draw, model, data in fits:
            self._n_fits[strategy] += 1
            try:
                self._add(setting, strategy, draw, model, data, scorer)
            except (ValueError, TypeError, AttributeError) as error:
                if metric is None:
                    raise
                if strategy == next(iter(self._n_fits)):  # the metric, or the data
                    raise CommandError(
                        f"{strategy!r} cannot be scored by {metric}: {first_line(error)}."
                    ) from error
                self._failed.setdefault(strategy, []).append(first_line(error))
            progress.advance(bar)

    def _add(self, setting, strategy: str, draw: int, model, data, scorer) -> None:
        X_train, y_train, X_test, y_test = data
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            for category in _NOTED:
                warnings.simplefilter("always", category)
            warnings.simplefilter("always", ConvergenceWarning)
            warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")
            model.fit(X_train, y_train)
        self._noted.update({(strategy, w.category) for w in caught if w.category in _NOTED})
        unsettled = [w.message for w in caught if w.category is ConvergenceWarning]
        if unsettled:
            reason = first_line(unsettled[0]).split(". ")[0].rstrip(".")
            self._unsettled.setdefault(strategy, []).append(reason)
        for warning in caught:
            if warning.category not in (*_NOTED, ConvergenceWarning):
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
        value = float(
            model.score(X_test, y_test) if scorer is None else scorer(model, X_test, y_test)
        )
        seconds = time.perf_counter() - start
        self.rows.append((setting, strategy, draw, value, seconds))

    def notes(self) -> list[str]:
        """Return notes for readers of the scores."""
        noted = [
            f"{strategy} {_NOTED[category]} in {count} of {self._n_fits[strategy]} fits."
            for (strategy, category), count in self._noted.items()
        ]
        unsettled = [
            f"{strategy} came with a warning in {len(reasons)} of {self._n_fits[strategy]} fits "
            f"({reasons[0]})."
            for strategy, reasons in self._unsettled.items()
        ]
        failed = [
            f"{strategy} could not be fitted in {len(reasons)} of {self._n_fits[strategy]} fits "
            f"({reasons[0]})."
            for strategy, reasons in self._failed.items()
        ]
        return noted + unsettled + failed

    def frame(self):
        columns = ["setting", "strategy", "draw", "score", "seconds"]
        return import_extra("pandas").DataFrame(self.rows, columns=columns)


def check_metric(metric: str, y) -> None:
    """Raise a CommandError if labels do not suit a metric of numbers, or of one class of two."""
    classes = np.unique(y).tolist()
    function = get_scorer(metric)._score_func
    if isinstance(classes[0], str) and function.__module__ == r2_score.__module__:
        raise CommandError(
            f"--metric {metric} is for numbers, and the labels are classes. Choose one such as "
            "balanced_accuracy or f1_macro."
        )
    if f"{metric}_macro" in get_scorer_names() and (len(classes) != 2 or 1 not in classes):
        raise CommandError(
            f"--metric {metric} scores the class 1 of two classes, and the classes are "
            f"{shorten(classes)}. Write the classes as 0 and 1, or choose an averaged metric such "
            f"as {metric}_macro."
        )
