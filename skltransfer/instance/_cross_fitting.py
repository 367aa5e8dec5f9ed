"""Classifiers that predict samples which they have not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import has_fit_parameter

from skltransfer.domains._composition import consumed_keywords
from skltransfer.domains._weights import fit_weighted, weight_keyword
from skltransfer.instance._rows import row_groups


@dataclass(frozen=True)
class LabelledRows:
    """Samples with labels and weights.

    Parameters
    ----------
    X : array-like, sparse matrix or data frame with n samples
    labels : ndarray of shape (n,), int
        Numbers of the classes, from 0.
    weights : ndarray of shape (n,)
    groups : ndarray of shape (n,), int
        Equal samples have equal numbers (see ``row_groups``).
    positions : ndarray of shape (n,), int
        Place of each sample in the order in which the samples were given.
    """

    X: object
    labels: np.ndarray
    weights: np.ndarray
    groups: np.ndarray
    positions: np.ndarray

    @classmethod
    def sorted_by(cls, first: str, X, labels, weights) -> LabelledRows:
        """Return samples sorted by "labels" or "groups", then by the other one, then by weight."""
        groups = row_groups(X)
        keys = (groups, labels) if first == "labels" else (labels, groups)
        order = np.lexsort((weights, *keys))
        columns = labels[order], weights[order], groups[order], order
        return cls(_safe_indexing(X, order), *columns)

    def fit(self, classifier, index: np.ndarray, classes: np.ndarray):
        """Fit a clone of a classifier on some of the samples, with weights unless all are 1."""
        weights = None if (self.weights == 1).all() else self.weights[index]
        labels = classes[self.labels[index]]
        return fit_clone(classifier, _safe_indexing(self.X, index), labels, weights)

    def folds(self, cv, random_state, *, name: str = "X") -> np.ndarray | None:
        """Deal the samples to folds, equal samples to one fold.

        Parameters
        ----------
        cv : int, splitter or iterable
            Largest number of folds of :func:`stratified_folds`; or a splitter or splits of the
            samples in the order in which they were given.
        random_state : int, RandomState or None
            Seed of the folds of an integer.
        name : str
            Name of the samples in messages.

        Returns
        -------
        fold : ndarray of shape (n,), int, or None
            Number of each sample's fold. ``None`` if `cv` is an integer and nothing can be held
            out.
        """
        if isinstance(cv, Integral):
            return stratified_folds(self.groups, self.labels, cv, random_state)
        n = len(self.labels)
        order, fold = np.argsort(self.positions), np.full(n, -1)
        labels, groups = self.labels[order], self.groups[order]
        for number, (_, held_out) in enumerate(given_splits(cv, n, name, labels, groups)):
            if (fold[held_out] >= 0).any():
                fold[:] = -1
                break
            fold[held_out] = number
        pairs = np.unique(np.column_stack([groups, fold]), axis=0)
        if (fold < 0).any() or len(pairs) > len(np.unique(groups)):
            raise ValueError(
                f"cv has to hold out each of the {n} samples exactly once, and equal samples "
                "together. Pass an integer, or a splitter such as StratifiedGroupKFold()."
            )
        for number in range(fold.max() + 1):
            if len(np.unique(labels[fold != number])) < len(np.unique(labels)):
                raise ValueError(
                    f"cv leaves no sample of some class outside of fold {number}. Pass an integer."
                )
        return fold[self.positions]


def given_splits(cv, n: int, name: str, labels=None, groups=None) -> Iterator[tuple]:
    """Yield the splits of a splitter or an iterable, as two arrays of indices each.

    Parameters
    ----------
    cv : splitter or iterable
        The parts of an iterable's splits may be lists, and masks.
    n : int
        Number of samples to split.
    name : str
        Name of the samples in messages.
    labels, groups : ndarray of shape (n,), default=None
        Handed to the splitter, the groups if it asks for them.

    Raises
    ------
    ValueError
        If a split is no pair of indices of these samples.
    """
    splits = cv
    if hasattr(cv, "split"):
        keywords = {"groups": groups} if consumed_keywords(cv, "split", ["groups"]) else {}
        splits = cv.split(np.empty((n, 1)), labels, **keywords)
    for split in splits:
        try:
            fitted, held_out = (
                np.arange(n)[np.asarray(part) if np.size(part) else []] for part in split
            )
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"cv splits other rows than the {n} of {name} (rows of weight 0 are left out). "
                "Pass an integer, or pairs of indices of these rows."
            ) from error
        yield fitted, held_out


def fit_clone(classifier, X, y, weights=None):
    """Fit a clone of a classifier, with weights for every step of it that takes them.

    A scaler in front of the classifier also has to count a sample of weight 2 twice.
    """
    classifier = clone(classifier)
    is_weighted_pipeline = (
        weights is not None
        and isinstance(classifier, Pipeline)
        and weight_keyword(classifier) is not None
    )
    if not is_weighted_pipeline:
        return fit_weighted(classifier, X, y, weights)
    keywords = {
        f"{name}__sample_weight": weights
        for name, step in classifier.steps
        if has_fit_parameter(step, "sample_weight")
    }
    keywords[weight_keyword(classifier)] = weights  # where the last step is a search, say
    # A weighted StandardScaler takes the root of a constant column's variance, which rounding made
    # negative, before it sets it to 1.
    with config_context(enable_metadata_routing=False), np.errstate(invalid="ignore"):
        return classifier.fit(X, y, **keywords)


def stratified_folds(groups, labels, n_folds: int, random_state) -> np.ndarray | None:
    """Deal the samples to folds, equal samples to one fold and each label to all folds.

    Parameters
    ----------
    groups : ndarray of shape (n,), int
        Equal samples have equal numbers (see ``row_groups``).
    labels : ndarray of shape (n,), int
        Numbers of the classes.
    n_folds : int
        Largest number of folds. It is reduced to the number of distinct samples of the rarest
        label.
    random_state : int, RandomState or None
        Seed of the folds.

    Returns
    -------
    fold : ndarray of shape (n,), int, or None
        Number of each sample's fold. ``None`` if some label has fewer than two distinct samples, or
        all of its samples in one fold.
    """
    n_groups = groups.max() + 1
    lowest, highest = np.full(n_groups, labels.max()), np.zeros(n_groups, dtype=labels.dtype)
    np.minimum.at(lowest, groups, labels)
    np.maximum.at(highest, groups, labels)
    pairs = np.unique(np.column_stack([groups, labels]), axis=0)
    n_folds = min(n_folds, np.bincount(pairs[:, 1])[np.unique(labels)].min())
    if n_folds < 2:
        return None
    shuffled = check_random_state(random_state).permutation(n_groups)
    order = np.lexsort((shuffled, highest, lowest))  # rows with one pair of labels are neighbours
    dealt = np.empty(n_groups, dtype=np.intp)
    dealt[order] = np.arange(n_groups) % n_folds
    fold = dealt[groups]
    in_one_fold = [len(np.unique(fold[labels == label])) < 2 for label in np.unique(labels)]
    return None if any(in_one_fold) else fold
