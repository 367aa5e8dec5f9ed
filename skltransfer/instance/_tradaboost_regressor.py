"""TrAdaBoost for numbers: TrAdaBoost.R2, and its two-stage form."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import RegressorMixin
from sklearn.model_selection import KFold, check_cv
from sklearn.tree import DecisionTreeRegressor
from sklearn.utils import _safe_indexing

from skltransfer._parameters import Choice, Count, Folds
from skltransfer._solvers._boosting import (
    LOSSES,
    adjusted_losses,
    boost_within_target,
    rounded,
    shrink_source,
    still_in_race,
    vote_of,
    weighted_median,
)
from skltransfer.domains._frames import frame_library
from skltransfer.instance._boosting import TransferBoosting, spread
from skltransfer.instance._rounds import LARGEST_SEED, Rounds, Rule, run_rounds
from skltransfer.instance._tradaboost import TrAdaBoost

# Held-out target samples from which on steps leave the cross-validation early.
_RACE_SAMPLES = 2000


class BoostedRegressor(RegressorMixin, TransferBoosting):
    """Judges learners by adjusted losses, and predicts the weighted median of their predictions."""

    _parameters = {"loss": Choice(*LOSSES)}
    _default_estimator = DecisionTreeRegressor(max_depth=3)

    def predict(self, X):
        """Predict the median of the learners' predictions, weighted by their votes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Predicted values.
        """
        rows = self._check_rows(X)
        voters = self._voters(len(self.estimators_))
        values = np.array([rows.predict(learner) for learner in self.estimators_[voters]])
        return weighted_median(values, self.estimator_weights_[voters])

    def staged_predict(self, X):
        """Predict as if boosting had ended after each of its rounds.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Target samples.

        Yields
        ------
        y : ndarray of shape (n_samples,)
            Predicted values after one more round.
        """
        rows = self._check_rows(X)
        values = np.array([rows.predict(learner) for learner in self.estimators_])
        for n_rounds in range(1, len(values) + 1):
            voters = self._voters(n_rounds)
            yield weighted_median(values[voters], self.estimator_weights_[voters])

    def _check_labels(self, X, y, **checks):
        X, y = self._validated(X, y, y_numeric=True, **checks)
        return X, y.astype(np.float64, copy=False)

    def _rule(self, data) -> Rule:
        return Rule(
            losses=lambda predicted, y: adjusted_losses(predicted - y, self.loss),
            vote=vote_of,
            guessing=0.5,
        )


class TrAdaBoostRegressor(BoostedRegressor, TrAdaBoost):
    r"""Boosted regression that reduces the weights of source samples which contradict the target.

    TrAdaBoost.R2 [1]_ boosts a base regressor on source samples and labelled target samples
    together. In each round, the loss :math:`e_i \in [0, 1]` of a sample is its residual relative to
    the largest residual of all samples. The error :math:`\epsilon_t` is the weighted mean loss of
    the *target* samples alone. Target samples gain weight by their loss, and source samples lose
    weight:

    .. math::

        w_i \leftarrow w_i \, \beta_t^{-e_i} \;\text{(target)}, \quad
        \beta_t = \frac{\epsilon_t}{1 - \epsilon_t}; \qquad
        w_i \leftarrow w_i \, \beta^{e_i} \;\text{(source)}, \quad
        \beta = \frac{1}{1 + \sqrt{2 \ln n / N}}

    for ``n`` source samples and ``N`` rounds. The prediction is the median of the predictions of
    the later half of the learners, :math:`t \ge \lceil N/2 \rceil`, weighted by
    :math:`\ln(1/\beta_t)`.

    Parameters
    ----------
    estimator : regressor, default=None
        Base regressor whose ``fit`` takes ``sample_weight``, or a pipeline that ends in one. It is
        cloned for each round. ``None`` is ``DecisionTreeRegressor(max_depth=3)``.
    n_estimators : int, default=50
        Largest number of rounds (``N``).
    loss : {"linear", "square", "exponential"}, default="linear"
        Loss of a sample with a relative residual of ``r``: ``r``, ``r ** 2`` or ``1 - exp(-r)``.
    store_weights : bool, default=True
        Whether to keep `sample_weight_history_`, which takes 8 bytes per sample and round.
    target_weight : float or "balanced", default=1.0
        Initial weight of each target sample with a known label, where source samples weigh 1.
        ``"balanced"`` gives both domains the same sum of weights, and keeps the sum over both.
    random_state : int, RandomState instance or None, default=0
        Seed of the base regressors, if they have a ``random_state``.

    Attributes
    ----------
    estimators_ : list of regressors
        Learners, one per round.
    estimator_weights_ : ndarray of shape (n_rounds,)
        Votes :math:`\ln(1/\beta_t)` of the learners. Only the later half of the learners votes.
    estimator_errors_ : ndarray of shape (n_rounds,)
        Weighted mean losses of the learners on the target samples.
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source samples after the last round.
    sample_weight_history_ : ndarray of shape (n_rounds + 1, n_samples + n_labelled_target)
        Weights of each round, and the weights after the last round. Source samples come first, then
        the target samples with a known label and a weight above 0. The sum is constant. Set if
        `store_weights` is True.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`. Set if all feature names of ``X`` are strings.

    Warns
    -----
    DomainDataWarning
        If no label of a target sample is known. The source alone is then boosted by AdaBoost.R2.
    ConvergenceWarning
        If the first learner is the only one: it has an error of 1/2 or more, or none on the target,
        or the next one has an error of 1/2 or more.

    See Also
    --------
    TwoStageTrAdaBoostRegressor : Chooses the weight of the source by cross-validation.
    TrAdaBoostClassifier : Boosts classifiers in the same way.

    Notes
    -----
    Boosting stops after a round without an error on the target, which counts as 2.2e-16 in the
    vote. It also stops before a round whose error is 1/2 or more, and this round is left out. If it
    is the first round, its learner is the only one, with a warning. The half that votes is taken of
    the rounds made. Base regressors get the weights, whereas scikit-learn's ``AdaBoostRegressor``
    draws samples by them. A sample with a `sample_weight` of 2 counts twice in ``n``, which
    `target_weight` does not change.

    Time is that of `n_estimators` fits and predictions of the base estimator at most. Memory grows
    like the number of samples, times that of rounds with `store_weights`.

    References
    ----------
    .. [1] D. Pardoe, P. Stone, "Boosting for Regression Transfer", ICML 2010: TrAdaBoost.R2.

    Examples
    --------
    Half of the source follows the opposite rule:

    >>> import numpy as np
    >>> from skltransfer import TrAdaBoostRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(300, 2)), rng.normal(size=(240, 2))
    >>> y, y_target = X[:, 0], X_target[:, 0]
    >>> y = np.where(np.arange(300) < 140, -y, y)
    >>> known = dict(X_target=X_target[:40], y_target=y_target[:40])
    >>> model = TrAdaBoostRegressor(n_estimators=20, random_state=0).fit(X, y, **known)
    >>> model.score(X_target[40:], y_target[40:]) > 0.8
    True
    """

    def __init__(
        self,
        estimator=None,
        *,
        n_estimators: int = 50,
        loss: str = "linear",
        store_weights: bool = True,
        target_weight: float | str = 1.0,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.loss = loss
        self.store_weights = store_weights
        self.target_weight = target_weight
        self.random_state = random_state


class TwoStageTrAdaBoostRegressor(BoostedRegressor):
    r"""Boosted regression that fades the source out as far as cross-validation advises.

    Two-stage TrAdaBoost.R2 [1]_. The first stage makes `n_steps` sets of weights. From set to set,
    source samples with a large loss :math:`e_i \in [0, 1]` (the residual relative to the largest of
    all samples) count less:

    .. math::

        w_i^{t+1} \propto w_i^t \, \beta_t^{e_i^t} \;\text{(source)}, \quad
        w_i^{t+1} \propto w_i^t \;\text{(target)}

    The factor :math:`\beta_t` is chosen so that the target's share of the weights is
    :math:`\frac{m}{n + m} + \frac{t}{S - 1} (1 - \frac{m}{n + m})` for ``n`` source samples, ``m``
    target samples and ``S`` steps, where samples count by their weights. The steps lead from both
    domains pooled to the target alone. The second stage boosts from each set of weights by
    AdaBoost.R2 with the weights of the source frozen, measures the result by cross-validation on
    the target samples, and keeps the best step.

    Parameters
    ----------
    estimator : regressor, default=None
        Base regressor whose ``fit`` takes ``sample_weight``, or a pipeline that ends in one. It is
        cloned for each fit. ``None`` is ``DecisionTreeRegressor(max_depth=3)``.
    n_estimators : int, default=10
        Largest number of boosting rounds (``N``).
    n_steps : int, default=10
        Number of steps (``S``), at least 2.
    cv : int, splitter or iterable, default=5
        Folds of the target samples with a known label. An integer of at least 2 is the number of
        shuffled folds, at most the number of samples.
    loss : {"linear", "square", "exponential"}, default="linear"
        Loss of a sample with a relative residual of ``r``: ``r``, ``r ** 2`` or ``1 - exp(-r)``.
    target_weight : float or "balanced", default=1.0
        Initial weight of each target sample with a known label, where source samples weigh 1.
        ``"balanced"`` gives both domains the same sum of weights, and keeps the sum over both.
    random_state : int, RandomState instance or None, default=0
        Seed of the folds, and of the base regressors if they have a ``random_state``.

    Attributes
    ----------
    best_step_ : int
        Chosen step, from 0 (pooled) to ``n_steps - 1`` (target alone). A tie goes to the first.
    cv_errors_ : ndarray of shape (n_steps,)
        Mean squared errors of the steps on held-out target samples. ``nan`` if there are fewer than
        two.
    cv_folds_ : ndarray of shape (n_steps,), int
        Number of folds that each step was measured on: all of them, unless it left the race (see
        Notes).
    target_shares_ : ndarray of shape (n_steps,)
        Target's share of the weights in each step.
    estimators_ : list of regressors
        Learners of the chosen step, one per round.
    estimator_weights_ : ndarray of shape (n_rounds,)
        Votes of the learners, :math:`\ln((1 - \epsilon)/\epsilon)` for an error :math:`\epsilon`.
    estimator_errors_ : ndarray of shape (n_rounds,)
        Weighted mean losses of the learners on all samples.
    sample_weight_ : ndarray of shape (n_samples,)
        Weights of the source samples in the chosen step.
    sample_weight_history_ : ndarray of shape (n_steps, n_samples + n_labelled_target)
        Weights of each step. Source samples come first, then the target samples with a known label
        and a weight above 0.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features seen during `fit`. Set if all feature names of ``X`` are strings.

    Warns
    -----
    DomainDataWarning
        If no label of a target sample is known. The source alone is then boosted by AdaBoost.R2.
    ConvergenceWarning
        If the first learner of the chosen step is the only one: it has an error of 1/2 or more, or
        none, or the next one has an error of 1/2 or more.

    See Also
    --------
    TrAdaBoostRegressor : A single run of boosting.
    PooledEstimator : The baseline, in which all samples count alike.

    Notes
    -----
    The base regressor is fitted at most ``S - 1 + N + S * n_folds * N`` times, which is 519 times
    by default. Time and memory grow like those of one fit: for trees linearly, but for a logarithm.
    Once 2000 target samples have been held out, the steps race. After each fold those leave that
    are not better than the best one by 1 % of its error, within 3 standard errors of the
    difference. The best step is one of those that were measured on the most folds.

    With a single target sample, which cannot be held out, the first step is taken. If many source
    samples have no loss, the share of a step can be out of reach. The other source samples then get
    weight 0, and in the last step all of them do. Samples of weight 0 are left out of fits.

    The median is taken over all rounds. While the weights of the source are frozen, the target
    samples share the weight of the target anew. Boosting stops as in :class:`TrAdaBoostRegressor`,
    with errors taken on all samples. A sample with a `sample_weight` of 2 counts twice in the
    shares, and a held-out target sample twice in the error.

    References
    ----------
    .. [1] D. Pardoe, P. Stone, "Boosting for Regression Transfer", ICML 2010: two-stage
       TrAdaBoost.R2.

    Examples
    --------
    Half of the source follows the opposite rule:

    >>> import numpy as np
    >>> from skltransfer import TwoStageTrAdaBoostRegressor
    >>> rng = np.random.default_rng(0)
    >>> X, X_target = rng.normal(size=(200, 2)), rng.normal(size=(240, 2))
    >>> y, y_target = X[:, 0], X_target[:, 0]
    >>> y = np.where(np.arange(200) < 100, -y, y)
    >>> known = dict(X_target=X_target[:40], y_target=y_target[:40])
    >>> model = TwoStageTrAdaBoostRegressor(n_estimators=5, n_steps=5, random_state=0)
    >>> model = model.fit(X, y, **known)
    >>> model.score(X_target[40:], y_target[40:]) > 0.8
    True
    >>> bool(model.best_step_ > 0)
    True
    """

    _parameters = {"n_steps": Count(2), "cv": Folds(unset=(None,))}

    def __init__(
        self,
        estimator=None,
        *,
        n_estimators: int = 10,
        n_steps: int = 10,
        cv: Any = 5,
        loss: str = "linear",
        target_weight: float | str = 1.0,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.n_steps = n_steps
        self.cv = cv
        self.loss = loss
        self.target_weight = target_weight
        self.random_state = random_state

    def _boost(self, fits, data, used, task):
        steps, best = [np.ones(len(data.y))], 0
        errors, n_folds = np.array([np.nan]), np.array([0])
        if data.has_target:
            steps = self._fade_source(fits, data, task)
            errors, n_folds = self._cross_validate(fits, data, steps, task)
            finalists = np.flatnonzero(n_folds == n_folds.max())
            best = int(finalists[np.argmin(errors[finalists])]) if n_folds.any() else 0

        def fitted(rounds):
            return self._fitted(rounds, votes_by_half=False)

        part = task.part("boosting", max_subtasks=self.n_estimators)
        rounds = self._second_stage(fits, data, steps[best], task=part, fitted=fitted)
        part.end({})
        vars(self).update(fitted(rounds))
        self.best_step_, self.cv_errors_, self.cv_folds_ = best, errors, n_folds
        weights = data.weights * np.array(steps)
        self.target_shares_ = weights[:, data.n_source :].sum(axis=1) / weights.sum(axis=1)
        self.sample_weight_history_ = spread(weights, used)
        n_samples = len(used) - data.n_target
        self.sample_weight_ = self.sample_weight_history_[best, :n_samples].copy()
        return rounds

    def _n_tasks(self, data):
        if not data.has_target:
            return 1
        if not isinstance(self.cv, Integral):
            return None
        n_folds = min(self.cv, data.n_target) if data.n_target > 1 else 0
        return self.n_steps - 1 + n_folds + 1

    def _fade_source(self, fits, data, task) -> list[np.ndarray]:
        """Return the factors of the initial weights in each step (the first stage)."""
        steps, rule = [np.ones(len(data.y))], self._rule(data)
        first = data.weights[data.n_source :].sum() / data.weights.sum()
        for step in range(1, self.n_steps):
            part, weights = task.part("step"), data.weights * steps[-1]
            learner = fits.fit(data.rows, data.y, weights)
            losses = rule.losses(data.rows.predict(learner), data.y)
            share = first + step / (self.n_steps - 1) * (1 - first)
            factors = shrink_source(weights, losses, data.n_source, share) / data.weights
            steps.append(np.where(factors > 0, rounded(factors), 0.0))
            part.end()
        return steps

    def _second_stage(self, fits, data, factors, **reports) -> Rounds:
        """Boost from the initial weights times `factors`, with the weights of the source frozen."""
        if not (present := factors > 0).all():
            data, factors = data.take(np.flatnonzero(present)), factors[present]

        def update(factors, losses, vote):
            boost_within_target(factors, losses, data.n_source, data.weights, vote)

        return run_rounds(
            fits, data, self._rule(data), self.n_estimators, update, factors=factors, **reports
        )

    def _cross_validate(self, fits, data, steps, task) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean squared error of each step on held-out target samples.

        Also the number of folds that it was measured on. With many samples held out, steps leave
        the race fold by fold.
        """
        racing, n_folds = np.arange(len(steps)), np.zeros(len(steps), dtype=int)
        errors, squares, weights = np.full(len(steps), np.nan), [], []
        for train, test in self._folds(data, fits.rng):
            part = task.part("fold")
            kept = np.concatenate([np.arange(data.n_source), data.n_source + np.sort(train)])
            inner, held_out = data.take(kept), data.take(data.n_source + test)
            of_fold = np.empty((len(steps), len(test)))
            for step in racing:
                rounds = self._second_stage(fits, inner, steps[step][kept])
                values = np.array([held_out.rows.predict(each) for each in rounds.estimators])
                residuals = weighted_median(values, np.array(rounds.votes)) - held_out.y
                of_fold[step] = residuals**2
            part.end()
            squares.append(of_fold)
            weights.append(held_out.weights)
            n_folds[racing] += 1
            losses, of_rows = np.hstack(squares)[racing], np.concatenate(weights)
            errors[racing] = losses @ of_rows / of_rows.sum()
            if len(of_rows) >= _RACE_SAMPLES:
                racing = racing[still_in_race(losses, of_rows)]
            if len(racing) == 1:
                break
        return errors, n_folds

    def _folds(self, data, rng) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the folds of the target samples; none if there are fewer than two."""
        y = data.y[data.n_source :]
        if len(y) < 2:
            return []
        target = data.rows.take(np.arange(data.n_source, len(data.y))).to_predict
        if not isinstance(self.cv, Integral):
            every = np.arange(len(y))  # folds may be given as lists, or as masks
            splits = check_cv(self.cv).split(target, y)
            try:
                return [(every[train], every[test]) for train, test in splits]
            except IndexError:
                raise ValueError(
                    f"cv splits more rows than the {len(y)} of X_target whose label is known. Only "
                    "these are held out. Pass an integer, or splits of these."
                ) from None
        # In an order of their own, so that the one in which they were given does not matter.
        order = _order(target, y)
        folds = KFold(min(self.cv, len(y)), shuffle=True, random_state=rng.randint(LARGEST_SEED))
        return [(order[train], order[test]) for train, test in folds.split(order)]


def _order(rows, y: np.ndarray) -> np.ndarray:
    """Return indices that sort samples and labels."""
    if sparse.issparse(rows):
        rows = rows.toarray()
    if frame_library(rows) is not None:
        columns = [
            np.asarray(_safe_indexing(rows, place, axis=1)) for place in range(rows.shape[1])
        ]
        columns = [each if each.dtype.kind in "biuf" else each.astype(str) for each in columns]
        return np.lexsort([y, *columns[::-1]])
    if rows.ndim == 1:  # texts
        return np.lexsort([y, rows.astype(str)])
    return np.lexsort([y, *rows.T[::-1]])
