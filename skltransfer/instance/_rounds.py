"""Rounds of boosting: fit the base estimator, judge it, change the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse
from sklearn.base import clone
from sklearn.tree import BaseDecisionTree
from sklearn.utils import _safe_indexing, check_random_state

from skltransfer._solvers._boosting import rounded
from skltransfer.domains._callbacks import FitTask
from skltransfer.domains._data import concatenate_rows
from skltransfer.domains._frames import frame_library
from skltransfer.domains._weights import check_takes_weights, fit_weighted, weight_keyword

# Below it random states of estimators lie.
LARGEST_SEED = np.iinfo(np.int32).max
# Weights are in single precision: an error is not known better.
_ERROR_OF_ERRORS = 1e-6


class BaseFits:
    """Fits clones of an estimator with weights, each with random states of its own.

    Parameters
    ----------
    template : estimator
        Left as it is.
    random_state : int, RandomState instance or None
        Seeds the parameters of the clones that end in ``random_state``, as scikit-learn's
        ensembles do.
    """

    def __init__(self, template, random_state):
        check_takes_weights(template)
        self.keyword = weight_keyword(template)
        self.template, self.rng = template, check_random_state(random_state)
        self.random_states = [
            name
            for name in sorted(template.get_params(deep=True))
            if name == "random_state" or name.endswith("__random_state")
        ]

    def fit(self, rows: PreparedRows, y: np.ndarray, weights: np.ndarray):
        """Return a new fitted clone."""
        estimator = clone(self.template)
        for name in self.random_states:
            owner, _, parameter = name.rpartition("__")
            owner = estimator.get_params()[owner] if owner else estimator
            setattr(owner, parameter, self.rng.randint(LARGEST_SEED))  # set_params looks around
        if self.keyword is None:  # by metadata routing
            return fit_weighted(estimator, rows.to_fit, y, weights)
        return rows.fit(estimator, y, {self.keyword: weights})


class PreparedRows:
    """Samples in the form that a base estimator accepts without a conversion in each round.

    Trees work in float32, and fit sparse samples by column. All other estimators get the samples as
    they are: frames as frames, texts as an array of strings.

    Parameters
    ----------
    is_tree : bool
        Whether the base estimator is a tree.
    *blocks : ndarrays, sparse matrices or frames
        Samples to be stacked.
    """

    def __init__(self, is_tree: bool, *blocks):
        self.is_tree = is_tree
        if any(sparse.issparse(block) for block in blocks):
            rows = sparse.vstack(blocks, format="csr") if len(blocks) > 1 else blocks[0].tocsr()
            self.to_predict = rows.astype(np.float32) if is_tree else rows
            self.to_fit = self.to_predict.tocsc() if is_tree else rows
            if is_tree:
                self.to_fit.sort_indices()
        else:
            self.to_fit = self.to_predict = _stack(blocks, np.float32 if is_tree else None)
        self._fit_options = {}

    @classmethod
    def for_estimator(cls, estimator, *blocks) -> PreparedRows:
        """Return samples in the form for `estimator`."""
        return cls(isinstance(estimator, BaseDecisionTree), *blocks)

    def take(self, index: np.ndarray) -> PreparedRows:
        """Return some of the samples."""
        return PreparedRows(self.is_tree, _safe_indexing(self.to_predict, index))

    def fit(self, estimator, y: np.ndarray, weights: dict):
        """Fit a clone on these samples; `weights` holds its keyword for weights."""
        estimator.fit(self.to_fit, y, **weights, **self._fit_options)
        if self.is_tree and not self._fit_options:
            # The first tree has checked the input. Those with missing values go on looking.
            values = self.to_fit.data if sparse.issparse(self.to_fit) else self.to_fit
            self._fit_options = {"check_input": not np.isfinite(values).all()}
        return estimator

    def predict(self, estimator) -> np.ndarray:
        """Return the predictions of a fitted clone for these samples."""
        checked = {"check_input": False} if self.is_tree else {}
        return estimator.predict(self.to_predict, **checked)


def _stack(blocks, dtype):
    if frame_library(blocks[0]) is not None:
        return blocks[0] if len(blocks) == 1 else concatenate_rows(*blocks)
    if len(blocks) == 1 and (dtype is None or blocks[0].dtype == dtype):
        return blocks[0]
    dtype = np.result_type(*blocks) if dtype is None else dtype
    rows = np.empty((sum(map(len, blocks)), *blocks[0].shape[1:]), dtype)
    start = 0
    with np.errstate(over="ignore"):  # the tree refuses what is too large, by name
        for block in blocks:
            rows[start : start + len(block)] = block
            start += len(block)
    return rows


@dataclass
class BoostingData:
    """Samples of a fit: source samples of positive weight, then target samples with a label.

    Parameters
    ----------
    rows : PreparedRows
    y : ndarray of shape (n,)
    weights : ndarray of shape (n,)
        Initial weights.
    source_size : float
        Number of source samples, or the sum of the weights given to the fit.
    n_source : int
        Number of source samples. It is 0 if no label of the target is known, so that all samples
        are boosted alike.
    """

    rows: PreparedRows
    y: np.ndarray
    weights: np.ndarray
    source_size: float
    n_source: int

    @property
    def has_target(self) -> bool:
        """Whether there is a target sample with a label."""
        return self.n_source > 0

    @property
    def n_target(self) -> int:
        """Number of target samples with a label."""
        return len(self.y) - self.n_source if self.has_target else 0

    def take(self, index: np.ndarray) -> BoostingData:
        """Return some of the samples, in ascending order."""
        n_source = int(np.count_nonzero(index < self.n_source))
        return replace(
            self,
            rows=self.rows.take(index),
            y=self.y[index],
            weights=self.weights[index],
            n_source=n_source,
        )


@dataclass
class Rounds:
    """The result of rounds of boosting.

    There is one entry per round kept. `weights` has one entry more if they are stored, and
    otherwise only the last one. `end` is why there are no more: "guess" if the last learner was no
    better than a guess, "no error" if it made none, None if the rounds were up.
    """

    estimators: list = field(default_factory=list)
    votes: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    weights: list[np.ndarray] = field(default_factory=list)
    end: str | None = None
    n_judged: int = 0

    @property
    def is_first_guess(self) -> bool:
        """Whether the first learner was no better than a guess already."""
        return self.end == "guess" and self.n_judged == 1


@dataclass(frozen=True)
class Rule:
    """The judgement of a learner.

    Parameters
    ----------
    losses : callable
        Function of predictions and labels that returns losses in [0, 1].
    vote : callable
        Function of the error that returns ``ln(1 / beta_t)``.
    guessing : float
        Smallest error at which a learner is no better than a guess.
    """

    losses: Callable[[np.ndarray, np.ndarray], np.ndarray]
    vote: Callable[[float], float]
    guessing: float


def run_rounds(
    fits: BaseFits,
    data: BoostingData,
    rule: Rule,
    n_rounds: int,
    update: Callable[[np.ndarray, np.ndarray, float], None],
    *,
    judged: slice = slice(None),
    factors: np.ndarray | None = None,
    store_weights: bool = False,
    task: FitTask | None = None,
    fitted: Callable[[Rounds], dict] | None = None,
) -> Rounds:
    """Fit, judge and boost, until a learner makes no error or is no better than a guess.

    Parameters
    ----------
    fits : BaseFits
    data : BoostingData
    rule : Rule
    n_rounds : int
        Largest number of rounds.
    update : callable
        Function of the factors of the initial weights, losses and a vote. It changes the factors.
    judged : slice
        Samples whose losses make the error.
    factors : ndarray of shape (n,), default=None
        Initial factors. ``None`` is 1 for each sample.
    store_weights : bool, default=False
        Whether to keep the weights of all rounds, and not only the last ones.
    task : FitTask, default=None
        Task whose parts are the rounds.
    fitted : callable, default=None
        Function of the rounds so far that returns the attributes for predictions.
    """
    rounds, initial = Rounds(), data.weights
    factors = np.ones(len(initial)) if factors is None else factors.copy()
    total = initial @ factors
    rounds.weights.append(initial * rounded(factors))
    for _ in range(n_rounds):
        part, weights = task and task.part("round"), rounds.weights[-1]
        learner = fits.fit(data.rows, data.y, weights)
        losses = rule.losses(data.rows.predict(learner), data.y)
        error = float(weights[judged] @ losses[judged] / weights[judged].sum())
        is_guess = error >= rule.guessing - _ERROR_OF_ERRORS and error > 0
        rounds.n_judged += 1
        if is_guess:
            rounds.end = "guess"
        elif error <= 0:
            rounds.end = "no error"
        if is_guess and rounds.estimators:
            _end(part, fitted, rounds)
            break
        rounds.estimators.append(learner)
        rounds.errors.append(error)
        # If the first learner guesses, nothing else is there to predict with.
        rounds.votes.append(1.0 if is_guess else float(rounded(rule.vote(error))))
        if not is_guess:
            update(factors, losses, rounds.votes[-1])
            factors *= total / (initial @ factors)
        if not store_weights:
            rounds.weights.clear()
        rounds.weights.append(initial * rounded(factors))
        if _end(part, fitted, rounds) or rounds.end is not None:
            break
    return rounds


def _end(part: FitTask | None, fitted, rounds: Rounds) -> bool:
    """End a round for the callbacks, if any listen, and return whether one asks to stop."""
    return part is not None and part.end(lambda: fitted(rounds))
