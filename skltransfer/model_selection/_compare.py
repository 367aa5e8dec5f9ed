"""Does transfer pay, and which strategy: compare_strategies."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.utils import check_random_state
from sklearn.utils.validation import _num_samples

from skltransfer.domains._data import check_same_length
from skltransfer.model_selection._checkpoint import FitFolder
from skltransfer.model_selection._compared_data import compared_data
from skltransfer.model_selection._comparison import Comparison
from skltransfer.model_selection._contest import Contest
from skltransfer.model_selection._folds import curve_sizes, target_folds
from skltransfer.model_selection._menu import menu_of
from skltransfer.model_selection._metrics import Metric
from skltransfer.model_selection._task import TransferTask


def compare_strategies(
    estimator,
    X,
    y,
    *,
    X_source=None,
    y_source=None,
    X_unlabelled=None,
    strategies: Any = "auto",
    cv=None,
    groups=None,
    scoring: str | Callable | None = None,
    learning_curve=None,
    n_jobs: int | None = None,
    budget: float | None = None,
    checkpoint=None,
    progress: Callable | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> Comparison:
    """Compare ways to use another domain or a pretrained network, on folds of the target.

    All strategies are fitted on the same training samples and scored on the same test samples,
    which belong to the target. The cheap ones are also mixed, by weights from losses on samples
    that were left out, and the mixture is scored on samples that had no part in its weights. The
    verdict is about the mixture against the estimator itself.

    Parameters
    ----------
    estimator : classifier or regressor
        Your own model or pipeline. It is the baseline, fitted on the target alone; other strategies
        train its last step behind its first steps.
    X : array-like of shape (n_samples, n_features)
        Target samples. Also texts or images, if the estimator or the strategies read them.
    y : array-like of shape (n_samples,)
        Labels. A missing label is marked by ``NaN``, or in arrays of objects also by ``None`` or
        ``pandas.NA``.
    X_source : array-like of shape (n_source_samples, n_features), default=None
        Samples of the other domain. Those that equal a labelled target sample are left out, with a
        warning.
    y_source : array-like of shape (n_source_samples,), default=None
        Their labels, all known.
    X_unlabelled : array-like of shape (n_unlabelled_samples, n_features), default=None
        More target samples without a label. Like unlabelled samples of `X`, they join the training
        samples of every fold for the strategies that use them.
    strategies : "auto", "cheap", list or dict, default="auto"
        ``"auto"`` takes all strategies for tables that suit the data, ``"cheap"`` only those of
        :class:`~skltransfer.TransferClassifier`. Strategies whose fits take more than about ten
        seconds are not among them; a note of the result names them. A list holds names of such, or
        :class:`Strategy` objects, as :func:`image_strategies` returns them; a dict holds unfitted
        estimators for target samples by name. "no transfer", the estimator itself, is always
        compared, unless another strategy of the family "baseline" needs no source.
    cv : int, splitter or iterable, default=None
        Folds of the labelled target samples. ``None`` stands for 5 folds, twice, over which each
        class is dealt in turn, so that a rare class is no error. An int, a splitter or pairs of
        indices are what they are in scikit-learn.
    groups : array-like of shape (n_samples,), default=None
        Groups of the target samples, such as patients. No group is cut by a fold.
    scoring : str or callable, default=None
        Metric, as in scikit-learn; accuracy or R^2 by default. R^2 refers to the variance of all
        known labels.
    learning_curve : sequence of int or bool, default=None
        Numbers of target labels at which all strategies are fitted as well, on nested subsets of
        the training samples. True stands for 10, 30, 100, 300, ...
    n_jobs : int, default=None
        Number of processes, as in joblib. Each fit takes one thread, so that the scores do not
        depend on it. Networks of images and texts are the exception: they take the cores that
        other processes leave to them, and the last digits of their scores may differ.
    budget : float, default=None
        Time for all fits in seconds. The cheap strategies come first. Others are fitted on few
        folds first, and are left out if they are clearly behind. What was left out is reported.
        The time of the baseline is not limited.
    checkpoint : str or Path, default=None
        Folder in which finished fits are stored, without pickles. A comparison with the same data
        and settings goes on where it was stopped.
    progress : callable, default=None
        Is called after each fit with an object that has the attributes ``running``, ``done``,
        ``total`` and ``seconds_left``.
    random_state : int, RandomState instance or None, default=0
        Seed of the folds.

    Returns
    -------
    comparison : Comparison

    Raises
    ------
    ValueError
        If the data do not suit each other, if the baseline cannot be fitted or scored, or if
        `checkpoint` holds another comparison. The failure of another strategy is reported in its
        result.

    Warns
    -----
    DomainDataWarning
        If samples of the source equal labelled samples of the target, or if the target has classes
        that the source lacks.

    See Also
    --------
    TransferClassifier : The mixture of the cheap strategies as an estimator.

    Notes
    -----
    Intervals come from the samples where the metric is a mean over samples (accuracy, log loss,
    squared and absolute errors, R^2), with variance ``s^2 / n * K / (K - 1)``; else from the folds,
    by the correction of Nadeau and Bengio [1]_. Samples of one group count as one observation.
    P-values are corrected for the number of strategies by Holm's method. What depends on the source
    alone is computed once, and a frozen network that begins a pipeline sees each sample once.

    References
    ----------
    .. [1] C. Nadeau, Y. Bengio, "Inference for the Generalization Error", Machine Learning 52,
       2003.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skltransfer.datasets import load_biased_breast_cancer
    >>> from skltransfer.model_selection import compare_strategies
    >>> data = load_biased_breast_cancer(n_source=100, random_state=0)
    >>> comparison = compare_strategies(
    ...     make_pipeline(StandardScaler(), LogisticRegression()),
    ...     data.X_target[:40], data.y_target[:40],
    ...     X_source=data.X_source, y_source=data.y_source,
    ...     strategies=["no transfer", "source only", "pooled", "balanced"],
    ... )
    >>> sorted(comparison.results)
    ['balanced', 'mixture', 'no transfer', 'pooled', 'source only']
    """
    _check(estimator, budget)
    if groups is not None:
        check_same_length(groups, X, "groups", "X")
    seed, is_classification = _seed(random_state), is_classifier(estimator)
    deadline = None if budget is None else time.time() + budget
    data = compared_data(X, y, X_source, y_source, X_unlabelled, is_classification)
    task = TransferTask(estimator, data.X_source, data.y_source)
    menu, cheap, notes = menu_of(strategies, task, _num_samples(data.X_all))
    folds = target_folds(data.y, cv, groups, is_classification, seed, data.rows, data.X)
    contest = Contest(data, task, menu, cheap, folds, Metric.of(scoring, data.y, data.classes))
    sizes = curve_sizes(learning_curve, folds)
    contest.folds_of_size |= folds.subsets(sizes, data.y, is_classification, seed)
    folder = None
    if checkpoint is not None:
        folder = FitFolder(checkpoint, contest.key(groups))
    fits = contest.fits(n_jobs, folder, progress, deadline)
    reasons = contest.run(fits)
    comparison = contest.comparison(fits, reasons, seed)
    comparison.notes[:0] = notes
    return comparison


def _check(estimator, budget) -> None:
    if not is_classifier(estimator) and not is_regressor(estimator):
        raise TypeError(
            f"estimator={estimator!r} is no classifier and no regressor. Pass the model that you "
            "would fit on the target."
        )
    if budget is not None and not budget > 0:
        raise ValueError(f"budget={budget!r} is no positive number of seconds.")


def _seed(random_state) -> int | None:
    if random_state is None or isinstance(random_state, int | np.integer):
        return None if random_state is None else int(random_state)
    return int(check_random_state(random_state).randint(2**31))
