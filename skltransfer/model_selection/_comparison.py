"""The result of a comparison: scores of strategies, what they say, and how to go on."""

from __future__ import annotations

import csv
import json
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from skltransfer._files import write_whole
from skltransfer._messages import near_names, require
from skltransfer.model_selection._code import python_code

MIXTURE, POOLED = "mixture", "pooled"
# Labels below which intervals are too narrow (they cover .60 instead of .95 with 10 labels).
MIN_LABELS = 20
# Rows of the table in `summary`.
_N_SHOWN = 10
_LEVEL = 0.05


@dataclass(eq=False)
class StrategyResult:
    """Scores of one strategy, on the same folds as all others.

    Parameters
    ----------
    name, family : str
        Name, and family of methods.
    fold_scores : ndarray of shape (n_repeats * n_folds,)
        Score of each fold, greater is better; NaN where there was no fit.
    score, low, high : float
        Mean score and its 95 % interval; NaN if no fold was scored.
    difference, difference_low, difference_high : float or None, default=None
        Paired difference of scores to the baseline, with its interval. None for the baseline.
    pooled_difference, pooled_difference_low, pooled_difference_high : float or None, default=None
        Paired difference of scores to "pooled", if it was compared.
    p_value, pooled_p_value : float or None, default=None
        P-values of both differences, of losses where they are known, else of scores; corrected for
        the number of strategies by Holm's method.
    loss : float or None, default=None
        Mean log loss in nats, or mean squared error. None without probabilities.
    loss_difference, loss_difference_low, loss_difference_high : float or None, default=None
        Paired difference of losses to the baseline; below 0 is better.
    weight : float or None, default=None
        Share in the mixture.
    seconds : float, default=0.0
        Time of all fits and predictions.
    n_fits : int, default=0
        Number of folds that were fitted.
    failure : str or None, default=None
        Why folds have no score: the error, or the budget.
    settings : str or None, default=None
        Settings that are not the defaults.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer.model_selection import StrategyResult
    >>> result = StrategyResult("pooled", "instance", np.array([0.8, 0.9]), 0.85, 0.2, 1.5)
    >>> result.numbers()["score"]
    0.85
    """

    name: str
    family: str
    fold_scores: np.ndarray
    score: float
    low: float
    high: float
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    pooled_difference: float | None = None
    pooled_difference_low: float | None = None
    pooled_difference_high: float | None = None
    p_value: float | None = None
    pooled_p_value: float | None = None
    loss: float | None = None
    loss_difference: float | None = None
    loss_difference_low: float | None = None
    loss_difference_high: float | None = None
    weight: float | None = None
    seconds: float = 0.0
    n_fits: int = 0
    failure: str | None = None
    settings: str | None = None

    def numbers(self) -> dict[str, Any]:
        """Return everything but the scores of the folds.

        Returns
        -------
        numbers : dict of str to object
            Values by the names of the parameters.
        """
        names = [entry.name for entry in fields(self) if entry.name != "fold_scores"]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False)
class TargetData:
    """Target samples of a comparison, held by reference.

    Parameters
    ----------
    X, y : array-like
        Samples with a label, and their labels.
    X_all, y_all : array-like
        The same and the unlabelled samples, whose labels are missing.
    """

    X: Any
    y: Any
    X_all: Any
    y_all: Any


@dataclass(eq=False, repr=False)
class Comparison:
    """Strategies side by side, on the same folds of labelled target samples.

    :func:`compare_strategies` returns it, and ``comparison_`` of
    :class:`~skltransfer.TransferClassifier` is one.

    Parameters
    ----------
    title : str
        Heading of tables and pictures.
    metric : str
        Name of the score; greater is better.
    baseline : str
        Name of the strategy that the others are compared with.
    results : dict of str to StrategyResult
        Result of each strategy, by name, the baseline first.
    n_labelled, n_unlabelled, n_source : int
        Number of target samples with and without a label, and of source samples.
    n_folds, n_repeats : int
        Folds of each repetition, and repetitions.
    is_classification : bool
        Whether the labels are classes.
    notes : list of str, default=[]
        Remarks for readers.
    curve : dict or None, default=None
        Learning curve: ``{n_labels: {name: (score, low, high)}}``.
    best_ : str or None, default=None
        Name of the strategy to use: the mixture, unless another strategy is better beyond chance.
        Without a mixture it is the strategy with the lowest loss. Networks with random weights are
        never chosen.
    estimators : dict of str to estimator, default={}
        Unfitted estimator of each strategy, for target samples.
    with_unlabelled : frozenset of str, default=frozenset()
        Names of the strategies that are fitted on unlabelled target samples too.
    target : TargetData or None, default=None
        Samples that ``best_estimator_`` is fitted on.
    held : dict of str to array-like, default={}
        Data of the source by the names that `code` gives them.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skltransfer.datasets import load_biased_breast_cancer
    >>> from skltransfer.model_selection import compare_strategies
    >>> data = load_biased_breast_cancer(n_source=100, random_state=0)
    >>> comparison = compare_strategies(
    ...     LogisticRegression(max_iter=2000), data.X_target[:60, :3], data.y_target[:60],
    ...     X_source=data.X_source[:, :3], y_source=data.y_source, strategies="cheap",
    ... )
    >>> comparison.best_
    'mixture'
    >>> comparison.outcome
    'helps'
    """

    title: str
    metric: str
    baseline: str
    results: dict[str, StrategyResult]
    n_labelled: int
    n_unlabelled: int
    n_source: int
    n_folds: int
    n_repeats: int
    is_classification: bool
    notes: list[str] = field(default_factory=list)
    curve: dict[int, dict[str, tuple[float, float, float]]] | None = None
    best_: str | None = None
    estimators: dict[str, Any] = field(default_factory=dict)
    with_unlabelled: frozenset[str] = frozenset()
    target: TargetData | None = None
    held: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> dict[str, float]:
        """Return the share of each strategy in the mixture."""
        shares = {name: result.weight for name, result in self.results.items()}
        return {name: share for name, share in shares.items() if share is not None}

    @property
    def ranking(self) -> list[StrategyResult]:
        """Return the results by score, the best first; those that lack folds come last."""
        results = sorted(self.results.values(), key=lambda result: result.name != MIXTURE)
        # Scores of other folds do not compare, and numpy sorts NaN last; of equal scores the
        # mixture's comes first.
        order = np.lexsort(
            ([-result.score for result in results], [r.failure is not None for r in results])
        )
        return [results[position] for position in order]

    @property
    def loss_name(self) -> str:
        """Return the name of the loss that the verdict is taken from."""
        return "log loss" if self.is_classification else "squared error"

    @property
    def scale(self) -> float:
        """Return 100 for shares, which are shown in percent, else 1."""
        return 100.0 if "accuracy" in self.metric else 1.0

    @property
    def axis_label(self) -> str:
        """Return the metric with its unit."""
        return f"{self.metric} (%)" if self.scale == 100 else self.metric

    @property
    def digits(self) -> int:
        """Return the number of decimals of scores: one for shares, four digits of the others."""
        if self.scale == 100:
            return 1
        scores = [abs(result.score) for result in self.results.values()]
        largest = max((score for score in scores if np.isfinite(score)), default=0.0)
        return int(np.clip(3 - np.floor(np.log10(max(largest, 1.0))), 0, 3))

    def show(self, mean: float | None, high: float | None = None, *, sign: bool = False) -> str:
        """Write a score, or a difference with a sign, and half of its interval.

        Parameters
        ----------
        mean, high : float or None
            Mean and upper bound. A missing mean is an empty text.
        sign : bool, default=False
            Whether to write the sign of positive values.

        Returns
        -------
        text : str
        """
        if mean is None or np.isnan(mean):
            return ""
        text = f"{mean * self.scale:{'+z' if sign else 'z'}.{self.digits}f}"
        if high is None or not np.isfinite(high):
            return text
        return f"{text} ± {(high - mean) * self.scale:.{self.digits}f}"

    def to_frame(self):
        """Return the results as a data frame, a row for each strategy, the best score first.

        Returns
        -------
        frame : pandas.DataFrame
            Indexed by the names of the strategies; the columns are the fields of
            :class:`StrategyResult` but `fold_scores`.
        """
        pandas = require("pandas", "cli", "Comparison.to_frame")
        rows = [result.numbers() for result in self.ranking]
        return pandas.DataFrame(rows).set_index("name").rename_axis("strategy")

    def fold_frame(self):
        """Return the score of each strategy in each fold as a data frame.

        Returns
        -------
        frame : pandas.DataFrame
            Columns ``strategy``, ``repeat``, ``fold``, ``metric`` and ``score``.
        """
        pandas = require("pandas", "cli", "Comparison.fold_frame")
        return pandas.DataFrame(self._fold_rows(), columns=_FOLD_COLUMNS)

    def _fold_rows(self) -> list[tuple]:
        return [
            (name, number // self.n_folds, number % self.n_folds, self.metric, float(score))
            for name, result in self.results.items()
            for number, score in enumerate(result.fold_scores)
        ]

    @property
    def outcome(self) -> str:
        """Tell whether transfer "helps", "hurts", or neither is known: "no evidence", "unknown".

        "unknown" stands for too few labels, or for a comparison without a mixture.
        """
        subject = self._subject
        if subject is None or self.n_labelled < MIN_LABELS:
            return "unknown"
        gain, low, high = self._gain(subject)
        if low > 0:
            return "helps"
        return "hurts" if high < 0 else "no evidence"

    @property
    def _subject(self) -> StrategyResult | None:
        """Return the mixture if it can be compared with the baseline."""
        mixture = self.results.get(MIXTURE)
        return None if mixture is None or mixture.difference is None else mixture

    def _gain(self, result: StrategyResult) -> tuple[float, float, float]:
        """Return the gain of a strategy over the baseline, of the loss where it is known."""
        if result.loss_difference is None:
            return result.difference, result.difference_low, result.difference_high
        low, high = result.loss_difference_low, result.loss_difference_high
        return -result.loss_difference, -high, -low

    @property
    def verdict(self) -> str:
        """Return what the comparison says, in one or two sentences.

        The first is about the mixture against the baseline, the user's own model, and comes from
        log loss or squared error, which tell more than accuracy. The second names what is better
        than plain pooling of both domains.
        """
        sentences = [self._sentence_about_transfer(), self._sentence_about_pooling()]
        return " ".join(filter(None, sentences))

    def _sentence_about_transfer(self) -> str:
        subject, outcome = self._subject, self.outcome
        if subject is None:
            return self._sentence_about_strategies()
        gain = self._written_gain(subject)
        scores = (
            f"{self.metric} {self._percent(subject.score)} instead of "
            f"{self._percent(self.results[self.baseline].score)}"
        )
        if outcome == "unknown":
            return (
                f"Whether transfer helps cannot be told from {self.n_labelled} labels: {gain}; "
                f"{scores}), but intervals mean little with fewer than {MIN_LABELS} labels."
            )
        opening = {
            "helps": "Transfer helps",
            "hurts": "Transfer hurts",
            "no evidence": "No evidence either way",
        }[outcome]
        return f"{opening}: {gain}; {scores}; {self.n_labelled} labels)."

    def _written_gain(self, result: StrategyResult) -> str:
        """Write the gain over the baseline with its interval, and leave a bracket open."""
        values, unit, digits, words = self._gain(result), "", 3, ("lower", "higher")
        name = f"the {result.name}'s {self.loss_name}"
        if result.loss_difference is None:
            name, words = f"the {result.name}'s {self.metric}", ("higher", "lower")
            values, digits = [v * self.scale for v in values], self.digits
            unit = " points" if self.scale == 100 else ""
        elif self.is_classification:
            unit = " nats"
        else:
            reference = self.results[self.baseline].loss
            values, unit, digits = [100 * v / reference for v in values], " %", 1
        mean, low, high = (f"{abs(value):.{digits}f}" for value in values)
        sides = [words[0] if value >= 0 else words[1] for value in values]
        low_side = f" {sides[1]}" if sides[1] != sides[2] else ""
        return (
            f"{name} is {mean}{unit} {sides[0]} than that of {self.baseline} (95 % interval: "
            f"{low}{low_side} to {high} {sides[2]}"
        )

    def _percent(self, score: float) -> str:
        return self.show(score) + (" %" if self.scale == 100 else "")

    def _sentence_about_strategies(self) -> str:
        """Say which strategies are better than the baseline, where there is no mixture."""
        if self.n_labelled < MIN_LABELS:
            return f"{self.n_labelled} labels are too few to tell strategies apart."
        better = self._beyond_chance("p_value", "difference")
        if better:
            return f"Better than {self.baseline}{better}."
        return f"No strategy is better than {self.baseline} beyond chance."

    def _sentence_about_pooling(self) -> str:
        if self.n_labelled < MIN_LABELS or POOLED not in self.results:
            return ""
        if all(result.pooled_p_value is None for result in self.results.values()):
            return ""
        better = self._beyond_chance("pooled_p_value", "pooled_difference")
        if better:
            return f"Better than plain pooling{better}."
        return "Nothing is better than plain pooling beyond chance."

    def _beyond_chance(self, p_value: str, difference: str) -> str:
        """Name the strategies that are better, each with what its p-value is about."""
        reference = self.results[POOLED if difference == "pooled_difference" else self.baseline]
        gains = {}
        for result in self.ranking:
            p = getattr(result, p_value)
            if result.failure is not None or p is None or p >= _LEVEL:
                continue
            has_losses = None not in (result.loss, reference.loss)
            gain = reference.loss - result.loss if has_losses else getattr(result, difference)
            if gain > 0:
                written = self._written_loss(gain, reference) if has_losses else self.show(gain)
                gains[result.name] = written, has_losses
        if not gains:
            return ""
        found = ", ".join(f"{name} ({written})" for name, (written, _) in gains.items())
        if any(has_losses for _, has_losses in gains.values()):
            return f" ({self.loss_name} lower by): {found}"
        return f" ({self.metric} higher by): {found}"

    def _written_loss(self, gain: float, reference: StrategyResult) -> str:
        if self.is_classification:
            return f"{gain:.3f} nats"
        return f"{100 * gain / reference.loss:.1f} %"

    def summary(self) -> str:
        """Return the verdict and a table of the best strategies as text.

        Returns
        -------
        text : str
            Ten strategies by score, the baseline and the mixture among them, and a line for the
            others.
        """
        ranking = [result for result in self.ranking if not np.isnan(result.score)]
        pinned = [result for result in ranking if result.name in (self.baseline, MIXTURE)]
        free = [result for result in ranking if result not in pinned]
        others = free[_N_SHOWN - len(pinned) :]
        shown = [result for result in ranking if result not in others]
        head = (
            "strategy",
            self.axis_label,
            f"against {self.baseline}",
            "against pooled",
            "seconds",
        )
        lines = [self._cells(result) for result in shown]
        if others:
            span = f"{self.show(others[-1].score)} to {self.show(others[0].score)}"
            lines.append((f"the others ({len(others)})", span, "", "", ""))
        table = [head, *lines]
        if POOLED not in self.results:
            table = [(*row[:3], row[4]) for row in table]
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        written = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        written.insert(1, "-" * max(map(len, written)))
        failed = [f"{result.name}: {result.failure}" for result in self.ranking if result.failure]
        return "\n".join(
            [
                self.title,
                self.verdict,
                "",
                *written,
                f"± is half of a 95 % interval; differences are paired. {self._origin}",
                *(f"Without a score in every fold: {line}" for line in failed),
                *(f"Note: {note}" for note in self.notes),
            ]
        )

    def _cells(self, result: StrategyResult) -> tuple[str, ...]:
        return (
            result.name,
            self.show(result.score, result.high),
            self.show(result.difference, result.difference_high, sign=True),
            self.show(result.pooled_difference, result.pooled_difference_high, sign=True),
            f"{result.seconds:.1f}",
        )

    @property
    def _origin(self) -> str:
        source = f", {self.n_source} source samples" if self.n_source else ""
        unlabelled = f" and {self.n_unlabelled} without" if self.n_unlabelled else ""
        return (
            f"{self.n_labelled} target samples with a label{unlabelled}{source}; "
            f"{self.n_repeats} x {self.n_folds} folds."
        )

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return f"<Comparison of {len(self.results)} strategies: {self.verdict}>"

    def code(self, name: str) -> str:
        """Return the Python code that makes and fits the estimator of a strategy.

        Parameters
        ----------
        name : str
            Name of the strategy.

        Returns
        -------
        code : str
            The code takes ``X`` and ``y``, and ``X_source`` and ``y_source`` where the strategy
            needs them. It sets ``model``.
        """
        code = python_code(self._estimator(name), self.held)
        if self._takes_all(name):
            return f"{code}  # all rows; NaN in y where there is no label"
        return code

    def _takes_all(self, name: str) -> bool:
        return self.n_unlabelled > 0 and name in self.with_unlabelled

    def _estimator(self, name: str):
        if not self.estimators:
            raise ValueError(
                "The comparison of a fitted TransferClassifier or TransferRegressor holds results "
                "alone. Its strategies are in estimators_ there, and it is itself the mixture; "
                "compare_strategies returns a comparison with estimators and their code."
            )
        if name not in self.estimators:
            raise ValueError(
                f"There is no strategy named {name!r}.{near_names(name, self.estimators)} "
                f"There are {list(self.estimators)}."
            )
        return self.estimators[name]

    def fitted(self, name: str):
        """Return the estimator of a strategy, fitted on all target samples.

        Parameters
        ----------
        name : str
            Name of the strategy.

        Returns
        -------
        estimator : estimator
        """
        estimator = clone(self._estimator(name))
        if self._takes_all(name):
            return estimator.fit(self.target.X_all, self.target.y_all)
        return estimator.fit(self.target.X, self.target.y)

    @cached_property
    def best_estimator_(self):
        """Return the estimator of ``best_``, fitted on all target samples when first asked for."""
        return self.fitted(self.best_)

    def plot(self, ax=None):
        """Draw the differences to the baseline with their intervals, and learning curves.

        The best score is on top, and colours stand for families of methods.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            A subplot, which is divided if there are learning curves. ``None`` makes a new figure,
            which notebooks show and pyplot does not know.

        Returns
        -------
        display : ComparisonDisplay
            Its figure is ``figure_``, its axes are ``axes_``.
        """
        from skltransfer.model_selection._plot import plot_comparison

        return plot_comparison(self, ax)

    def report(self, path) -> None:
        """Write a page of HTML that needs no other file.

        Parameters
        ----------
        path : str or Path
            File to write, whole or not at all.
        """
        from skltransfer.model_selection._report import write_report

        with write_whole(Path(path).expanduser()) as temporary:
            write_report(self, temporary)

    def save(self, folder) -> None:
        """Write ``scores.csv``, ``summary.json``, ``comparison.png`` and ``report.html``.

        Parameters
        ----------
        folder : str or Path
            Folder of the files, which is made if it is not there. Either all four files are
            written, or none.
        """
        from skltransfer.model_selection._plot import draw_comparison
        from skltransfer.model_selection._report import write_report

        folder = Path(folder).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        writers = {
            "scores.csv": lambda comparison, path: comparison._write_scores(path),
            "summary.json": lambda comparison, path: comparison._write_summary(path),
            "comparison.png": draw_comparison,
            "report.html": write_report,
        }
        with ExitStack() as files:
            paths = {name: files.enter_context(write_whole(folder / name)) for name in writers}
            for name, write in writers.items():
                write(self, paths[name])

    def _write_scores(self, path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([_FOLD_COLUMNS, *self._fold_rows()])

    def _write_summary(self, path: Path) -> None:
        path.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False), encoding="utf-8")

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers and texts in a form that JSON can hold.

        Returns
        -------
        content : dict
            NaN and infinite bounds are None.
        """
        names = (
            "title", "metric", "baseline", "n_labelled", "n_unlabelled", "n_source", "n_folds",
            "n_repeats", "is_classification", "outcome", "verdict", "best_", "notes", "weights",
        )  # fmt: skip
        content = {name.rstrip("_"): getattr(self, name) for name in names}
        content["strategies"] = [
            result.numbers() | {"fold_scores": result.fold_scores.tolist()}
            for result in self.ranking
        ]
        content["curve"] = self.curve
        return _as_json(content)


_FOLD_COLUMNS = ["strategy", "repeat", "fold", "metric", "score"]


def _as_json(value):
    """Return a value in Python's own types, without numbers that JSON does not know."""
    if isinstance(value, dict):
        return {str(name): _as_json(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
