"""Strategies on the same folds: which are compared, how they are fitted, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec

import numpy as np
import sklearn
from joblib import hash as digest
from sklearn.base import clone

import skltransfer
from skltransfer._messages import first_line, how_to_install
from skltransfer.model_selection._code import python_code
from skltransfer.model_selection._compared_data import ComparedData
from skltransfer.model_selection._comparison import MIXTURE, Comparison, TargetData
from skltransfer.model_selection._fits import Contender, Fits, Job
from skltransfer.model_selection._folds import Folds
from skltransfer.model_selection._frozen import Forms
from skltransfer.model_selection._metrics import Metric
from skltransfer.model_selection._mixture import mixture_weights
from skltransfer.model_selection._remarks import notes_on
from skltransfer.model_selection._results import Paired, Scoring, Track, best_of, mixed, results_of
from skltransfer.model_selection._schedule import in_order, make_within_budget
from skltransfer.model_selection._strategies import mixture_strategies
from skltransfer.model_selection._strategy import Strategy
from skltransfer.model_selection._task import TransferTask

# Settings of the mixture of TransferClassifier.
_WEIGHING = ("prior_rows", "baseline_share", "min_weight")


@dataclass(eq=False)
class Contest:
    """Strategies that are fitted on the same folds.

    Parameters
    ----------
    data : ComparedData
    task : TransferTask
    menu : list of Strategy
        The baseline first.
    cheap : set of str
        Names of the strategies that are mixed, which are fitted for the task without a network
        that begins the estimator.
    folds : Folds
    metric : Metric
    """

    data: ComparedData
    task: TransferTask
    menu: list[Strategy]
    cheap: set[str]
    folds: Folds
    metric: Metric
    folds_of_size: dict[int | None, Folds] = field(default_factory=dict)

    def __post_init__(self):
        self.baseline = self.menu[0].name
        self.folds_of_size = {None: self.folds}
        self._strategies = {strategy.name: strategy for strategy in self.menu}
        self.estimators, self._unbuilt = self._build()

    def _build(self) -> tuple[dict, dict[str, str]]:
        """Build the estimator of each strategy; those that cannot be are failures."""
        estimators, failures = {}, {}
        for strategy in self.menu:
            if strategy.needs is not None and find_spec(strategy.needs) is None:
                failures[strategy.name] = f"it needs {how_to_install(strategy.needs)}"
                continue
            try:
                estimators[strategy.name] = strategy.build(self.task)
            except Exception as error:
                if strategy.name == self.baseline:
                    raise
                failures[strategy.name] = f"{type(error).__name__}: {first_line(error)}"
        return estimators, failures

    @property
    def held(self) -> dict:
        """Data by the names that they have in code."""
        return {"X_source": self.data.X_source, "y_source": self.data.y_source}

    def key(self, groups) -> dict:
        """Return what stands for the data and the settings of the comparison."""
        data, folds = self.data, self.folds_of_size
        splits = [[part for split in f.splits for part in split] for f in folds.values()]
        versions = (skltransfer.__version__, sklearn.__version__, np.__version__)
        return {
            "samples and labels": digest([data.X_all, data.y_all, data.X_source, data.y_source]),
            "folds (cv, groups, learning_curve, random_state)": digest(
                [list(folds), splits, groups]
            ),
            "scoring": self.metric.name,
            "strategies": {name: self._written(name) for name in self.estimators},
            "versions": list(versions),
        }

    def _written(self, name: str) -> str:
        try:
            return python_code(self.estimators[name], self.held)
        except ValueError:  # a function without a name, for example
            return digest(self.estimators[name])

    def fits(self, n_jobs, folder, progress, deadline) -> Fits:
        """Return an object that makes the fits."""
        forms = Forms(self.data.X_all, self.data.X_source)
        task, form = forms.of_task(self.task)
        contenders = {}
        for name, estimator in self.estimators.items():
            strategy = self._strategies[name]
            if name in self.cheap or strategy.adapt is not None:
                contenders[name] = Contender(strategy, task, None, form)
            else:
                contenders[name] = Contender(strategy, None, *forms.of_estimator(estimator))
        if task.X_source is not None and any(c.task is not None for c in contenders.values()):
            _ = task.source_rows  # made once, before processes get copies
        return Fits(
            contenders, forms.target, self._cut, self.metric, self.data.classes, self.baseline,
            n_jobs, folder, progress, deadline,
        )  # fmt: skip

    def _cut(self, job: Job):
        """Return positions of training and test samples among all, and their labels."""
        data = self.data
        train, test = self.folds_of_size[job.n_labels].splits[job.fold]
        y_train, rows = data.y[train], data.rows[train]
        if self._strategies[job.strategy].uses_unlabelled and len(data.unlabelled):
            free = data.unlabelled[self.folds.may_join(data.unlabelled, test)]
            if len(free):
                rows = np.concatenate([rows, free])
                y_train = data.y_all[rows]
        return rows, y_train, data.rows[test], data.y[test]

    def run(self, fits: Fits) -> dict[str, str]:
        """Make the fits; return why strategies lack some."""
        names = in_order(fits.contenders, self.cheap, self.baseline)
        n_splits = len(self.folds.splits)
        sizes = [size for size in self.folds_of_size if size is not None]
        if fits.deadline is None:
            fits.make(
                Job(name, fold, size)
                for size in (None, *sizes)
                for name in names
                for fold in range(n_splits)
            )
            return {}
        reasons = make_within_budget(
            fits,
            names,
            self.cheap,
            self.folds.n_folds,
            n_splits,
            lambda: self._standing(fits),
        )
        for size in sizes:
            complete = [name for name in names if name not in reasons]
            fits.make(Job(name, fold, size) for name in complete for fold in range(n_splits))
        return reasons

    def _tracks(self, fits: Fits, size=None, reasons=None) -> dict[str, Track]:
        """Return the fits of each strategy, at one number of labels."""
        n_splits, reasons = len(self.folds.splits), {**self._unbuilt, **(reasons or {})}
        return {
            strategy.name: Track(
                strategy.name,
                strategy.family,
                strategy.settings,
                [fits.made.get(Job(strategy.name, fold, size)) for fold in range(n_splits)],
                reasons.get(strategy.name),
            )
            for strategy in self.menu
        }

    def _scoring(self, size=None) -> Scoring:
        data = self.data
        return Scoring(self.folds_of_size[size], self.metric, data.X, data.y, data.classes)

    def _paired(self, fits: Fits, size=None, reasons=None) -> tuple[Paired, dict[str, float]]:
        """Return the paired scores of all strategies and of their mixture, and its weights."""
        tracks, scoring = self._tracks(fits, size, reasons), self._scoring(size)
        members = {
            name: track
            for name, track in tracks.items()
            if name in self.cheap and track.is_complete
        }
        weights = {}
        if self.baseline in members and len(members) > 1 and self.task.X_source is not None:
            tracks[MIXTURE], weights = mixed(scoring, members, self._weigh, size)
        return Paired(scoring, tracks), weights

    @property
    def _weigh(self):
        settings = self._mixture_kind().get_params(deep=False)
        settings = {name: settings[name] for name in _WEIGHING}
        return partial(mixture_weights, is_classification=self.task.is_classification, **settings)

    def _standing(self, fits: Fits) -> tuple[dict[str, float], set[str]]:
        """Return mean scores so far, and the strategies that are clearly worse than the best."""
        paired, _ = self._paired(fits)
        known = [name for name, track in paired.tracks.items() if track.done]
        gains = {name: paired.evidence(name, self.baseline).mean for name in known}
        best = max(known, key=gains.__getitem__)
        behind = {name for name in known if name != best and paired.evidence(best, name).low > 0}
        scores = {name: paired.score(name).mean for name in self.estimators}
        return {name: -np.inf if np.isnan(s) else s for name, s in scores.items()}, behind

    def comparison(self, fits: Fits, reasons, seed) -> Comparison:
        """Return the result."""
        data, task = self.data, self.task
        paired, weights = self._paired(fits, None, reasons)
        results = results_of(paired, self.baseline, weights)
        estimators = dict(self.estimators)
        if MIXTURE in results:
            members = None if set(weights) == self._whole_mixture else list(weights)
            estimators[MIXTURE] = self._mixture_estimator(members, seed)
        with_unlabelled = frozenset(s.name for s in self.menu if s.uses_unlabelled)
        model = type(task.model).__name__
        return Comparison(
            title=f"{model}: does the other domain help?" if data.n_source else model,
            metric=self.metric.name,
            baseline=self.baseline,
            results=results,
            n_labelled=len(data.y),
            n_unlabelled=len(data.unlabelled),
            n_source=data.n_source,
            n_folds=self.folds.n_folds,
            n_repeats=self.folds.n_repeats,
            is_classification=task.is_classification,
            notes=notes_on(self._scoring(), paired.tracks, data, self.baseline),
            curve=self._curve(fits, reasons, results),
            best_=best_of(paired, self.baseline, estimators.keys() - self._controls),
            estimators=estimators,
            with_unlabelled=with_unlabelled,
            target=TargetData(data.X, data.y, data.X_all, data.y_all),
            held=self.held,
        )

    @property
    def _controls(self) -> set[str]:
        return {strategy.name for strategy in self.menu if strategy.is_control}

    @property
    def _whole_mixture(self) -> set[str]:
        return {strategy.name for strategy in mixture_strategies(self.task)}

    @property
    def _mixture_kind(self):
        kind = "TransferClassifier" if self.task.is_classification else "TransferRegressor"
        return getattr(skltransfer, kind)

    def _mixture_estimator(self, members, seed):
        settings = {} if members is None else {"strategies": members}
        mixture = self._mixture_kind(clone(self.task.estimator), random_state=seed, **settings)
        return skltransfer.WithSource(mixture, self.data.X_source, self.data.y_source)

    def _curve(self, fits: Fits, reasons, results) -> dict | None:
        if len(self.folds_of_size) == 1:
            return None
        curve = {}
        for size in self.folds_of_size:
            if size is None:
                continue
            paired, _ = self._paired(fits, size)
            scores = {name: paired.score(name) for name in paired.tracks}
            curve[size] = {
                name: (estimate.mean, estimate.low, estimate.high)
                for name, estimate in scores.items()
                if not np.isnan(estimate.mean)
            }
        whole = round(np.mean([len(train) for train, _ in self.folds.splits]))
        curve[whole] = {
            name: (result.score, result.low, result.high)
            for name, result in results.items()
            if not np.isnan(result.score)
        }
        return curve
