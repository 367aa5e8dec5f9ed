"""From fits of folds to results: means, paired differences, intervals, and the mixture."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import stdtr, stdtrit
from sklearn.utils import _safe_indexing

from skltransfer._messages import first_line
from skltransfer.model_selection._comparison import MIXTURE, POOLED, StrategyResult
from skltransfer.model_selection._folds import Folds
from skltransfer.model_selection._intervals import holm, mean_interval, row_interval
from skltransfer.model_selection._metrics import Metric, Predicted
from skltransfer.model_selection._mixture import sample_losses

LEVEL = 0.05


@dataclass(eq=False)
class FoldFit:
    """What the fit of one strategy in one fold gave.

    Parameters
    ----------
    score : float, default=nan
    values : ndarray of shape (n_test,) or None, default=None
        Parts of the score, if it is a mean over samples.
    outputs : ndarray of shape (n_test, n_classes) or (n_test,), or None, default=None
        Probabilities of the classes, or predicted numbers.
    seconds : float, default=0.0
    failure : str or None, default=None
        First line of the error.
    remarks : list of str, default=[]
        Warnings.
    """

    score: float = np.nan
    values: np.ndarray | None = None
    outputs: np.ndarray | None = None
    seconds: float = 0.0
    failure: str | None = None
    remarks: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Track:
    """The fits of one strategy.

    Parameters
    ----------
    name, family : str
    settings : str or None
    fits : list of (FoldFit or None)
        A fit for each fold; None if there was none.
    failure : str or None, default=None
        Why there is no fit at all, or none in some folds.
    """

    name: str
    family: str
    settings: str | None
    fits: list[FoldFit | None]
    failure: str | None = None

    @property
    def done(self) -> list[FoldFit]:
        """The fits that were made and did not fail."""
        return [fit for fit in self.fits if fit is not None and fit.failure is None]

    @property
    def is_complete(self) -> bool:
        """Whether each fold has predictions."""
        return len(self.done) == len(self.fits) and all(f.outputs is not None for f in self.done)

    @property
    def reason(self) -> str | None:
        """Why folds have no score."""
        failed = [fit.failure for fit in self.fits if fit is not None and fit.failure is not None]
        if failed:
            return f"failed in {len(failed)} of {len(self.fits)} folds ({failed[0]})"
        return self.failure

    def parts(self, attribute: str) -> list:
        """Return an attribute of each fit, None where there is none."""
        return [
            None if fit is None or fit.failure is not None else getattr(fit, attribute)
            for fit in self.fits
        ]


@dataclass(frozen=True, eq=False)
class Scoring:
    """The samples that fits are scored on, and how.

    Parameters
    ----------
    folds : Folds
    metric : Metric
    X : array-like
        Labelled samples, for metrics that look at them.
    y : ndarray of shape (n_samples,)
        Labels.
    classes : ndarray of shape (n_classes,) or None
        All classes, sorted; None in regression.
    sample_weight : ndarray of shape (n_samples,) or None, default=None
        Weights of the samples, with mean 1. None if all are 1.
    """

    folds: Folds
    metric: Metric
    X: object
    y: np.ndarray
    classes: np.ndarray | None
    sample_weight: np.ndarray | None = None

    @property
    def coded(self) -> np.ndarray:
        """The labels as numbers of classes, or as floats."""
        if self.classes is None:
            return np.asarray(self.y, dtype=float)
        return np.searchsorted(self.classes, self.y)

    def losses(self, track: Track) -> list[np.ndarray | None]:
        """Return the loss of each test sample of each fold."""
        coded = self.coded
        return [
            None if outputs is None else self._weighed(sample_losses(outputs, coded[test]), test)
            for (_, test), outputs in zip(self.folds.splits, track.parts("outputs"), strict=True)
        ]

    def score(self, outputs, test) -> tuple[float, np.ndarray | None]:
        """Return the score of predictions for test samples, and the part of each sample."""
        model, rows = Predicted(outputs, self.classes), _safe_indexing(self.X, test)
        score, values = self.metric(model, rows, self.y[test], outputs)
        if self.sample_weight is None or values is None:
            return score, values
        values = self._weighed(values, test)
        return float(values.sum() / self.sample_weight[test].sum()), values

    def _weighed(self, values, test):
        return values if self.sample_weight is None else values * self.sample_weight[test]


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval and the p-value of its being 0."""

    mean: float
    low: float
    high: float
    p_value: float


def of_samples(values, folds: Folds, step: float = 0.0) -> Estimate:
    """Estimate a mean over samples, of which some may be NaN.

    Samples of one group are one observation: its deviations are summed.
    """
    known = ~np.isnan(values)
    values, mean = values[known], np.mean(values[known]) if known.any() else np.nan
    if folds.groups is not None and known.any():
        _, group = np.unique(folds.groups[known], return_inverse=True)
        sums = np.bincount(group, weights=values - mean)
        values = mean + sums * len(sums) / len(values)
    return _with_p_value(row_interval(values, folds.n_folds, step=step), len(values))


def of_folds(values, folds: Folds) -> Estimate:
    """Estimate a mean from the scores of folds."""
    values = np.asarray(values, dtype=float)
    interval = mean_interval(values, test_to_train=folds.test_to_train)
    return _with_p_value(interval, int((~np.isnan(values)).sum()))


def _with_p_value(interval, n_values: int) -> Estimate:
    mean, low, high = interval
    if n_values < 2 or not np.isfinite(high):
        return Estimate(mean, low, high, np.nan)
    if mean == 0:
        return Estimate(mean, low, high, 1.0)
    with np.errstate(divide="ignore"):
        statistic = np.abs(mean) / np.float64(high - mean) * stdtrit(n_values - 1, 0.975)
    return Estimate(mean, low, high, float(2 * stdtr(n_values - 1, -statistic)))


class Paired:
    """Scores and losses of tracks, and their paired differences.

    Parameters
    ----------
    scoring : Scoring
    tracks : dict of str to Track
    """

    def __init__(self, scoring: Scoring, tracks: dict[str, Track]):
        self.scoring, self.folds = scoring, scoring.folds
        self.tracks = tracks
        self._parts = {
            "loss": {name: scoring.losses(track) for name, track in tracks.items()},
            "score": {name: track.parts("values") for name, track in tracks.items()},
        }
        self._kept: dict[tuple, np.ndarray | Estimate] = {}

    @property
    def _is_mean(self) -> bool:
        return self.scoring.metric.by_sample is not None

    def fold_scores(self, name: str) -> np.ndarray:
        """Return the score of each fold, NaN where there is none."""
        parts = self.tracks[name].parts("score")
        return np.array([np.nan if part is None else part for part in parts])

    def _of_samples(self, kind: str, name: str, reference: str | None = None) -> Estimate:
        """Estimate the mean loss or score, or its difference to another strategy."""
        key = kind, name, reference
        if key not in self._kept:
            step = self.scoring.metric.step if kind == "score" else 0.0
            self._kept[key] = of_samples(self._by_sample(*key), self.folds, step)
        return self._kept[key]

    def _by_sample(self, kind: str, name: str, reference: str | None) -> np.ndarray:
        parts = self._parts[kind]
        if reference is None:
            if (kind, name) not in self._kept:
                self._kept[kind, name] = self.folds.by_sample(parts[name])
            return self._kept[kind, name]
        pair = parts[name], parts[reference]
        if any(part is None for side in pair for part in side):
            differences = [
                None if a is None or b is None else a - b for a, b in zip(*pair, strict=True)
            ]
            return self.folds.by_sample(differences)
        return self._by_sample(kind, name, None) - self._by_sample(kind, reference, None)

    def score(self, name: str) -> Estimate:
        """Return the mean score of a strategy."""
        if self._is_mean:
            return self._of_samples("score", name)
        return of_folds(self.fold_scores(name), self.folds)

    def difference(self, name: str, reference: str) -> Estimate:
        """Return the mean paired difference of scores."""
        if self._is_mean:
            return self._of_samples("score", name, reference)
        return of_folds(self.fold_scores(name) - self.fold_scores(reference), self.folds)

    def loss(self, name: str) -> float | None:
        """Return the mean loss of a strategy."""
        mean = self._of_samples("loss", name).mean
        return None if np.isnan(mean) else mean

    def loss_difference(self, name: str, reference: str) -> Estimate | None:
        """Return the mean paired difference of losses, None where they are not known."""
        estimate = self._of_samples("loss", name, reference)
        return None if np.isnan(estimate.mean) else estimate

    def evidence(self, name: str, reference: str) -> Estimate:
        """Return the gain over another strategy, of losses where they are known."""
        loss = self.loss_difference(name, reference)
        if loss is None:
            return self.difference(name, reference)
        return Estimate(-loss.mean, -loss.high, -loss.low, loss.p_value)

    def adjusted(self, reference: str, names=None) -> dict[str, float]:
        """Return the p-values of all differences to a strategy, corrected by Holm's method."""
        names = [name for name in names or self.tracks if name != reference]
        values = holm([self.evidence(name, reference).p_value for name in names])
        return dict(zip(names, values.tolist(), strict=True))


def mixed(
    scoring: Scoring, members: dict[str, Track], weigh, n_samples: int | None = None
) -> tuple[Track, dict[str, float]]:
    """Mix strategies, for each fold by the losses of its training samples.

    Parameters
    ----------
    scoring : Scoring
    members : dict of str to Track
        Complete ones, the baseline's first.
    weigh : callable
        ``weigh(losses, n_samples=n)`` returns weights, from losses of shape (n_members, n_given)
        that stand for `n_samples` samples.
    n_samples : int or None, default=None
        Number of labels of a learning curve; None for all.

    Returns
    -------
    track : Track
        The mixture, on samples that had no part in its weights.
    weights : dict of str to float
        Share of each member, from all losses.
    """
    folds = scoring.folds
    losses = np.array([folds.by_sample(scoring.losses(track)) for track in members.values()])
    known = ~np.isnan(losses).any(axis=0)
    n_samples = n_samples or int(known.sum())
    fits = []
    for number, (train, test) in enumerate(folds.splits):
        weights = weigh(losses[:, train[known[train]]], n_samples=n_samples)
        outputs = np.tensordot(
            weights, [track.fits[number].outputs for track in members.values()], axes=1
        )
        seconds = sum(track.fits[number].seconds for track in members.values())
        fit = FoldFit(outputs=outputs, seconds=seconds)
        try:
            fit.score, fit.values = scoring.score(outputs, test)
        except Exception as error:  # of a metric that wants more of a model than predictions
            fit.failure = f"{type(error).__name__}: {first_line(error)}"
        fits.append(fit)
    weights = weigh(losses[:, known], n_samples=n_samples)
    track = Track(MIXTURE, MIXTURE, None, fits)
    return track, dict(zip(members, weights.tolist(), strict=True))


def best_of(paired: Paired, baseline: str, candidates) -> str:
    """Return the strategy to use.

    It is the mixture, unless others are better beyond chance. Without a mixture it is the one with
    the lowest loss, or the highest score where losses are not known.

    Parameters
    ----------
    paired : Paired
    baseline : str
    candidates : collection of str
        Strategies that may be chosen.

    Returns
    -------
    name : str
    """
    complete = [
        name
        for name, track in paired.tracks.items()
        if name in candidates and len(track.done) == len(track.fits)
    ]
    reference = MIXTURE if MIXTURE in complete else baseline
    gains = {name: paired.evidence(name, reference) for name in complete if name != reference}
    if reference == MIXTURE:
        p_values = paired.adjusted(MIXTURE, complete)
        gains = {name: gain for name, gain in gains.items() if p_values[name] < LEVEL}
    better = {name: gain.mean for name, gain in gains.items() if gain.mean > 0}
    return max(better, key=better.get) if better else reference


def results_of(paired: Paired, baseline: str, weights: dict[str, float]) -> dict:
    """Return the result of each strategy.

    Parameters
    ----------
    paired : Paired
    baseline : str
    weights : dict of str to float
        Shares in the mixture.

    Returns
    -------
    results : dict of str to StrategyResult
    """
    p_values = paired.adjusted(baseline)
    has_pool = POOLED in paired.tracks and bool(paired.tracks[POOLED].done)
    pooled = paired.adjusted(POOLED) if has_pool else {}
    results = {}
    for name, track in paired.tracks.items():
        score = paired.score(name)
        result = StrategyResult(
            name,
            track.family,
            paired.fold_scores(name),
            score.mean,
            score.low,
            score.high,
            loss=paired.loss(name),
            weight=weights.get(name),
            seconds=sum(fit.seconds for fit in track.fits if fit is not None),
            n_fits=len(track.done) if name != MIXTURE else 0,
            failure=track.reason,
            settings=track.settings,
        )
        results[name] = result
        if not track.done:
            continue
        if name != baseline:
            _put(result, "difference", paired.difference(name, baseline))
            _put(result, "loss_difference", paired.loss_difference(name, baseline))
            result.p_value = _or_none(p_values[name])
        if has_pool and name != POOLED:
            _put(result, "pooled_difference", paired.difference(name, POOLED))
            result.pooled_p_value = _or_none(pooled[name])
    return results


def _put(result: StrategyResult, name: str, estimate: Estimate | None) -> None:
    if estimate is not None and not np.isnan(estimate.mean):
        setattr(result, name, estimate.mean)
        setattr(result, f"{name}_low", estimate.low)
        setattr(result, f"{name}_high", estimate.high)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value
