"""Classifiers that predict rows which they have not seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.validation import has_fit_parameter

from skltransfer.domains._routing import fit_weighted, weight_keyword


@dataclass(frozen=True)
class LabelledRows:
    """Rows with labels and weights.

    Parameters
    ----------
    X : array-like, sparse matrix or data frame with n rows
    labels : ndarray of shape (n,), int
        Numbers of the classes.
    weights : ndarray of shape (n,)
    groups : ndarray of shape (n,), int
        Equal rows have equal numbers (see ``row_groups``).
    """

    X: object
    labels: np.ndarray
    weights: np.ndarray
    groups: np.ndarray

    def take(self, index: np.ndarray) -> LabelledRows:
        """Return some of the rows, in the given order."""
        return LabelledRows(
            _safe_indexing(self.X, index),
            self.labels[index],
            self.weights[index],
            self.groups[index],
        )

    def fit(self, classifier, index: np.ndarray, classes: np.ndarray):
        """Fit a clone of a classifier on some of the rows, with weights unless all are 1."""
        weights = None if (self.weights == 1).all() else self.weights[index]
        labels = classes[self.labels[index]]
        return fit_clone(classifier, _safe_indexing(self.X, index), labels, weights)

    def folds(self, n_folds: int, random_state) -> np.ndarray | None:
        """Deal the rows to folds by :func:`stratified_folds`."""
        return stratified_folds(self.groups, self.labels, n_folds, random_state)


def fit_clone(classifier, X, y, weights=None):
    """Fit a clone of a classifier, with weights for every step of it that takes them.

    A scaler in front of the classifier has to count a row of weight 2 twice as well.
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
    with config_context(enable_metadata_routing=False):
        return classifier.fit(X, y, **keywords)


def stratified_folds(groups, labels, n_folds: int, random_state) -> np.ndarray | None:
    """Deal the rows to folds: equal rows to one fold, each label to all folds.

    Parameters
    ----------
    groups : ndarray of shape (n_rows,), int
        From :func:`row_groups`.
    labels : ndarray of shape (n_rows,), int
    n_folds : int
        Largest number of folds. There are no more folds than distinct rows of any label.
    random_state : int, RandomState or None

    Returns
    -------
    fold : ndarray of shape (n_rows,), int, or None
        ``None`` where a label has fewer than two distinct rows, or none outside of some fold.
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
