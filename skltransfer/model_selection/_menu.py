"""Which strategies are mixed or compared: what the parameter `strategies` stands for."""

from __future__ import annotations

from sklearn.base import clone

import skltransfer
from skltransfer._messages import near_names
from skltransfer.model_selection._comparison import MIXTURE
from skltransfer.model_selection._strategies import mixture_strategies, table_strategies
from skltransfer.model_selection._strategy import NO_TRANSFER, Strategy
from skltransfer.model_selection._task import TransferTask


def members(strategies, task: TransferTask, n_target: int) -> list[Strategy]:
    """Return the strategies of a mixture, "no transfer" first.

    Parameters
    ----------
    strategies : "auto" or list of (str, Strategy or estimator)
        Names of strategies, strategies, or two-domain estimators for samples as they are given.
    task : TransferTask
    n_target : int
        Number of target samples.

    Raises
    ------
    ValueError
        If an entry is none of these, or occurs twice.
    """
    if isinstance(strategies, str) and strategies == "auto":
        return mixture_strategies(task)
    if isinstance(strategies, str) or not hasattr(strategies, "__iter__"):
        raise ValueError(
            f"strategies={strategies!r} is neither 'auto' nor a list of names of strategies, "
            "Strategy objects or two-domain estimators."
        )
    known, _ = _known(task, n_target)
    chosen = [_member(entry, known) for entry in strategies]
    return _with_different_names(
        [known[NO_TRANSFER], *(s for s in chosen if s.name != NO_TRANSFER)]
    )


def menu_of(
    strategies, task: TransferTask, n_target: int
) -> tuple[list[Strategy], set[str], list[str]]:
    """Return the strategies of a comparison, the baseline first.

    Parameters
    ----------
    strategies : "auto", "cheap", list or dict
    task : TransferTask
    n_target : int
        Number of target samples.

    Returns
    -------
    menu : list of Strategy
    mixed : set of str
        Names of those that are mixed.
    notes : list of str
        What readers of the comparison have to know about the menu.

    Raises
    ------
    ValueError
        If a name is unknown or occurs twice, or if a strategy needs a source and there is none.
    """
    known, of_mixture = _known(task, n_target)
    has_source = task.X_source is not None
    menus, notes = {"auto": known, "cheap": of_mixture}, []
    if isinstance(strategies, str) and strategies in menus:
        menu = [s for s in menus[strategies].values() if has_source or not s.needs_source]
        menu, notes = without_slow(menu, n_target + _n_source(task))
    else:
        menu = _compared(strategies, known)
    for strategy in menu:
        if strategy.needs_source and not has_source:
            raise ValueError(
                f"The strategy {strategy.name!r} needs another domain. Pass X_source and y_source, "
                "or leave it out of strategies."
            )
    own = [s for s in menu if s.family == "baseline" and not s.needs_source]
    baseline = next((s for s in own if s.name == NO_TRANSFER), own[0] if own else None)
    if baseline is None:
        baseline = known[NO_TRANSFER]
    mixed = {s.name for s in menu if s is of_mixture.get(s.name)} | {NO_TRANSFER}
    menu = _with_different_names([baseline, *(s for s in menu if s is not baseline)])
    return menu, mixed, notes


def without_slow(menu: list[Strategy], n_rows: int) -> tuple[list[Strategy], list[str]]:
    """Return the strategies that a number of samples suits, and a note that names the others."""
    kept = [s for s in menu if s.max_rows is None or n_rows <= s.max_rows]
    slow = [s.name for s in menu if s not in kept]
    if not slow:
        return kept, []
    return kept, [
        f"{', '.join(slow)}: left out, because a fit on {n_rows} samples of both domains takes "
        "long. Name them in strategies to compare them."
    ]


def _n_source(task: TransferTask) -> int:
    return 0 if task.X_source is None else len(task.y_source)


def _known(task: TransferTask, n_target: int) -> tuple[dict, dict]:
    """Return all strategies for tables by name, the mixed ones first, and those of the mixture."""
    mixture = {strategy.name: strategy for strategy in mixture_strategies(task)}
    kind = "classification" if task.is_classification else "regression"
    tables = {s.name: s for s in table_strategies(kind, n_target + _n_source(task))}
    return mixture | tables | mixture, mixture


def _member(entry, known: dict[str, Strategy]) -> Strategy:
    if isinstance(entry, str | Strategy):
        return _named(entry, known)
    if not hasattr(entry, "fit"):
        raise ValueError(
            f"strategies holds {entry!r}, which is no name of a strategy, no Strategy and no "
            "two-domain estimator."
        )

    def build(task):
        return skltransfer.WithSource(
            clone(entry),
            task.X_source,
            task.y_source,
            source_sample_weight=task.source_sample_weight,
        )

    return Strategy(type(entry).__name__, build, "yours", needs_source=True, uses_unlabelled=True)


def _compared(strategies, known: dict[str, Strategy]) -> list[Strategy]:
    if isinstance(strategies, dict):
        return [_of_estimator(name, estimator) for name, estimator in strategies.items()]
    if isinstance(strategies, str) or not hasattr(strategies, "__iter__"):
        raise ValueError(
            f"strategies={strategies!r} is not 'auto' or 'cheap', a list of names or of Strategy "
            "objects, or a dict of estimators."
        )
    menu = []
    for entry in strategies:
        if not isinstance(entry, str | Strategy):
            raise ValueError(
                f"strategies holds {entry!r}, which is neither a name nor a Strategy. Pass "
                "estimators as a dict with names."
            )
        if entry != MIXTURE:  # it is there whenever its members are
            menu.append(_named(entry, known))
    if not menu:
        raise ValueError("strategies is empty. Pass 'auto', or at least one strategy.")
    return menu


def _of_estimator(name: str, estimator) -> Strategy:
    if not hasattr(estimator, "fit"):
        raise ValueError(f"strategies[{name!r}] is {estimator!r}, and no estimator.")
    return Strategy(str(name), lambda task: clone(estimator), "yours")


def _named(entry, known: dict[str, Strategy]) -> Strategy:
    if isinstance(entry, Strategy):
        return entry
    if entry not in known:
        raise ValueError(
            f"strategies holds {entry!r}, which is no strategy.{near_names(entry, known)} "
            f"Choose among {', '.join(known)}."
        )
    return known[entry]


def _with_different_names(menu: list[Strategy]) -> list[Strategy]:
    names = [strategy.name for strategy in menu]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"strategies holds {twice} more than once. Give each strategy its own name."
        )
    return menu
