"""Folds of the labelled target samples, the same for all strategies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, check_cv
from sklearn.utils import check_random_state

from skltransfer.model_selection._mixture import spread_folds

# Of cv=None.
_N_FOLDS, _N_REPEATS = 5, 2
# Numbers of labels of learning_curve=True.
_CURVE = (10, 30, 100, 300, 1000, 3000)


@dataclass(frozen=True, eq=False)
class Folds:
    """Training and test samples of each fold.

    Parameters
    ----------
    splits : list of (ndarray, ndarray)
        Positions of training and test samples among the labelled ones.
    n_samples : int
        Number of labelled samples.
    n_repeats : int
        Number of repetitions that the folds make up.
    groups : ndarray of shape (n_samples,) or None, default=None
        Group of each sample.
    groups_of_rows : ndarray of shape (n_rows,) or None, default=None
        Group of each target sample, with a label or without.
    """

    splits: list[tuple[np.ndarray, np.ndarray]]
    n_samples: int
    n_repeats: int
    groups: np.ndarray | None = None
    groups_of_rows: np.ndarray | None = None

    @property
    def n_folds(self) -> int:
        """Number of folds in each repetition."""
        return len(self.splits) // self.n_repeats

    @property
    def test_to_train(self) -> float:
        """Number of test samples divided by the number of training samples."""
        return float(np.mean([len(test) / len(train) for train, test in self.splits]))

    def by_sample(self, parts) -> np.ndarray:
        """Return the mean of each sample over the folds that tested it, NaN without such a fold.

        Parameters
        ----------
        parts : list of (ndarray or None)
            For each fold, a number for each test sample; None if there was no fit.

        Returns
        -------
        values : ndarray of shape (n_samples,)
        """
        sums, counts = np.zeros(self.n_samples), np.zeros(self.n_samples)
        for (_, test), part in zip(self.splits, parts, strict=True):
            if part is not None:
                sums[test] += part
                counts[test] += 1
        with np.errstate(invalid="ignore"):
            return sums / counts

    def may_join(self, rows, test) -> np.ndarray:
        """Tell which unlabelled samples may be trained on: those of no group that is tested.

        Parameters
        ----------
        rows : ndarray of shape (n,)
            Positions among all target samples. Those beyond the groups belong to none.
        test : ndarray
            Positions of the test samples among the labelled ones.

        Returns
        -------
        may_join : ndarray of shape (n,), bool
        """
        if self.groups_of_rows is None:
            return np.ones(len(rows), dtype=bool)
        has_group = rows < len(self.groups_of_rows)
        may_join = np.ones(len(rows), dtype=bool)
        own = self.groups_of_rows[rows[has_group]]
        may_join[has_group] = ~np.isin(own, self.groups[test])
        return may_join

    def subsets(self, sizes, y, is_classification: bool, random_state) -> dict[int, Folds]:
        """Return folds with fewer training samples and the same test samples.

        The subsets of one fold are nested, and classes are dealt in turn.

        Parameters
        ----------
        sizes : sequence of int
            Numbers of training samples.
        y : ndarray of shape (n_samples,)
        is_classification : bool
        random_state : int or None

        Returns
        -------
        folds : dict of int to Folds
        """
        orders = []
        for number, (train, _) in enumerate(self.splits):
            rng = np.random.default_rng([random_state or 0, 1 + number])
            orders.append(train[_dealt(y[train], is_classification, rng)])
        return {
            size: replace(
                self,
                splits=[
                    (np.sort(order[:size]), test)
                    for order, (_, test) in zip(orders, self.splits, strict=True)
                ],
            )
            for size in sizes
        }


def _dealt(y, is_classification: bool, rng) -> np.ndarray:
    """Return an order whose beginnings hold the classes in about their shares, each early."""
    shuffled = rng.permutation(len(y))
    if not is_classification:
        return shuffled
    _, codes = np.unique(y[shuffled], return_inverse=True)
    counts, place = np.bincount(codes), np.empty(len(y))
    for code, count in enumerate(counts):
        # The first sample of each class comes first, and the rest evenly.
        place[codes == code] = np.arange(count) / count
    return shuffled[np.argsort(place, kind="stable")]


def target_folds(y, cv, groups, is_classification: bool, random_state, rows, X) -> Folds:
    """Return the folds of a comparison.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Known labels of the target.
    cv : None, int, splitter or iterable
        ``None``: five folds, twice, over which each class is dealt in turn.
    groups : array-like of shape (n_rows,) or None
        Group of each row of the target, with a label or without.
    is_classification : bool
    random_state : int or None
    rows : ndarray of shape (n_samples,)
        Positions of the labelled samples among the rows, to which indices of an iterable refer.
    X : array-like
        The labelled samples.

    Returns
    -------
    folds : Folds

    Raises
    ------
    ValueError
        If there are too few labels, or groups, to make folds.
    """
    if len(y) < 2:
        raise ValueError(
            f"y holds {len(y)} known labels, and a comparison needs at least 2 to fit on one part "
            "and to score on the other. Pass more labelled target samples."
        )
    groups = None if groups is None else np.asarray(groups)
    own_groups = None if groups is None else groups[rows]
    n_repeats = 1
    if own_groups is not None and (cv is None or isinstance(cv, int)):
        n_repeats = _N_REPEATS if cv is None else 1
        splits = _group_splits(y, own_groups, cv, is_classification, random_state, n_repeats)
    elif cv is None:
        n_repeats = _N_REPEATS
        splits = _dealt_splits(y, is_classification, random_state)
    elif hasattr(cv, "split") or isinstance(cv, int):
        splitter = check_cv(cv, y, classifier=is_classification)
        n_repeats = getattr(splitter, "n_repeats", 1)
        splits = list(splitter.split(X, y, own_groups))
    else:
        splits = _own_splits(cv, rows)
    splits = [(np.asarray(train), np.asarray(test)) for train, test in splits]
    if len(splits) < 2 or any(not len(part) for split in splits for part in split):
        raise ValueError(
            f"cv={cv!r} gives {len(splits)} folds with {_smallest(splits)} labelled samples at "
            "least. A comparison needs 2 folds or more, with labelled training and test samples."
        )
    return Folds(splits, len(y), n_repeats, own_groups, groups)


def _smallest(splits) -> int:
    return min((len(part) for split in splits for part in split), default=0)


def _dealt_splits(y, is_classification, random_state) -> list:
    n_folds, everything, splits = min(_N_FOLDS, len(y)), np.arange(len(y)), []
    rng = check_random_state(random_state)
    for _ in range(_N_REPEATS):
        fold = spread_folds(y, n_folds, rng, is_classification=is_classification)
        splits += [(everything[fold != k], everything[fold == k]) for k in range(n_folds)]
    return splits


def _group_splits(y, groups, cv, is_classification, random_state, n_repeats) -> list:
    n_groups = len(np.unique(groups))
    n_folds = min(_N_FOLDS, n_groups) if cv is None else cv
    if n_folds > n_groups or n_folds < 2:
        raise ValueError(
            f"groups has {n_groups} distinct values among the labelled samples, and folds that cut "
            f"no group need at least {max(n_folds, 2)}. Pass fewer folds (cv=), or more groups."
        )
    kind = StratifiedGroupKFold if is_classification else GroupKFold
    splits = []
    for repeat in range(n_repeats):
        seed = None if random_state is None else random_state + repeat
        splitter = kind(n_folds, shuffle=True, random_state=seed)
        splits += list(splitter.split(np.zeros(len(y)), y, groups))
    return splits


def _own_splits(cv, rows) -> list:
    """Return splits of the labelled samples from indices of all rows."""
    position = {int(row): i for i, row in enumerate(rows)}
    try:
        return [
            tuple(
                np.array([position[int(i)] for i in part if int(i) in position], dtype=np.intp)
                for part in (train, test)
            )
            for train, test in cv
        ]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cv={cv!r} is no number of folds, no splitter and no iterable of pairs of indices."
        ) from error


def curve_sizes(learning_curve, folds: Folds) -> list[int]:
    """Return the numbers of labels of a learning curve, ascending.

    Raises
    ------
    ValueError
        If a number is no whole number, or as large as a training set.
    """
    if learning_curve is None or learning_curve is False:
        return []
    largest = min(len(train) for train, _ in folds.splits)
    if learning_curve is True:
        return [size for size in _CURVE if size < largest]
    sizes = sorted({*learning_curve})
    for size in sizes:
        if not isinstance(size, int | np.integer) or not 2 <= size < largest:
            raise ValueError(
                f"learning_curve holds {size!r}. Pass whole numbers of labels from 2 to "
                f"{largest - 1}, which is less than a training set has, or True."
            )
    return [int(size) for size in sizes]
