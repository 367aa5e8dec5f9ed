"""The order of fits: cheap strategies first, and halving where time is short."""

from __future__ import annotations

import time
from collections.abc import Callable

from skltransfer.model_selection._fits import Fits, Job
from skltransfer.model_selection._strategy import FAMILIES


def in_order(contenders, cheap, baseline: str) -> list[str]:
    """Return the names of strategies: the baseline, the cheap ones, and the others by family.

    Parameters
    ----------
    contenders : dict of str to Contender
    cheap : collection of str
    baseline : str

    Returns
    -------
    names : list of str
    """

    def place(name: str):
        strategy = contenders[name].strategy
        family = FAMILIES.index(strategy.family)
        return name != baseline, name not in cheap, strategy.trains_network, family

    return sorted(contenders, key=place)


def make_all(fits: Fits, names, n_splits: int) -> None:
    """Make all fits of strategies."""
    fits.make(Job(name, fold) for name in names for fold in range(n_splits))


def make_within_budget(
    fits: Fits,
    names: list[str],
    cheap,
    n_folds: int,
    n_splits: int,
    scores_of: Callable[[], tuple[dict[str, float], set[str]]],
) -> dict[str, str]:
    """Make the fits for which there is time, and halve the expensive strategies.

    The cheap ones come first, on all folds. The others are fitted on one fold, on half of the
    folds, on one repetition, and on all. Before each round, those that are clearly behind are
    dropped, and the worse half while the round would take longer than is left.

    Parameters
    ----------
    fits : Fits
        Its deadline is kept.
    names : list of str
        Strategies in order.
    cheap : collection of str
    n_folds, n_splits : int
        Folds of one repetition, and of all.
    scores_of : callable
        ``scores_of()`` returns the mean score of each strategy on the fits that were made, and the
        names of those that are clearly worse than the best.

    Returns
    -------
    reasons : dict of str to str
        Why strategies were left out, or lack folds.
    """
    first = {names[0], *cheap}  # the baseline, which all others are compared with
    make_all(fits, [name for name in names if name in first], n_splits)
    left, reasons = [name for name in names if name not in first], {}
    for n_done in sorted({1, max(n_folds // 2, 1), n_folds, n_splits}):
        scores, behind = scores_of()
        for name in behind & set(left):
            n_made = _n_made(fits, name, n_splits)
            reasons[name] = f"left out after {n_made} of {n_splits} folds: clearly behind"
        left = [name for name in left if name not in behind]
        left = _halved(fits, left, n_done, reasons, n_splits, scores)
        fits.make(Job(name, fold) for name in left for fold in range(n_done))
    for name in names:
        n_made = _n_made(fits, name, n_splits)
        if n_made < n_splits and name not in reasons:
            reasons[name] = f"the budget was spent after {n_made} of {n_splits} folds"
    return reasons


def _halved(fits: Fits, left: list[str], n_done: int, reasons, n_splits: int, scores) -> list[str]:
    """Drop the worse half of the strategies while the next round takes longer than is left."""
    costs = {}
    for name in left:
        n_missing = n_done - sum(Job(name, fold) in fits.made for fold in range(n_done))
        costs[name] = n_missing * (fits.seconds_of(name) or 0.0)
    while len(left) > 1 and sum(costs[name] for name in left) > fits.deadline - time.time():
        kept = sorted(left, key=scores.__getitem__, reverse=True)[: len(left) // 2]
        for name in set(left) - set(kept):
            n_made = _n_made(fits, name, n_splits)
            reasons[name] = (
                f"left out after {n_made} of {n_splits} folds: not among the better half"
            )
        left = [name for name in left if name in kept]
    return left


def _n_made(fits: Fits, name: str, n_splits: int) -> int:
    return sum(Job(name, fold) in fits.made for fold in range(n_splits))
