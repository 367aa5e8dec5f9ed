"""Splitters for labels of which some are missing: folds of the labelled samples."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.utils import indexable

from skltransfer.domains._data import known_labels


class _LabelledFolds:
    """Split the labelled samples as the next class does, and add the others to the training."""

    def split(self, X, y=None, groups=None):
        """Generate indices to split samples into training and test set.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Labels. A missing one is marked by ``NaN``, or in arrays of objects also by ``None`` or
            ``pandas.NA``.
        groups : array-like of shape (n_samples,), default=None
            Ignored.

        Yields
        ------
        train : ndarray of shape (n_train_samples,), int
            Indices of the training set: labelled samples and all unlabelled ones, in increasing
            order.
        test : ndarray of shape (n_test_samples,), int
            Indices of the test set, whose labels are all known.

        Raises
        ------
        ValueError
            If `y` is not given, or has fewer known labels than there are folds.
        """
        name = type(self).__name__
        if y is None:
            raise ValueError(f"{name} needs y, with NaN or None where a label is missing.")
        X, y = indexable(X, y)
        known, labels = known_labels(y, X, name="y")
        labelled, unlabelled = np.flatnonzero(known), np.flatnonzero(~known)
        if len(labelled) < self.n_splits:
            raise ValueError(
                f"y holds {len(labelled)} known labels, too few for n_splits={self.n_splits} folds "
                f"of {name}. Choose fewer folds, or label more samples; without any label choose "
                "a scorer that needs none, such as importance_weighted_scorer()."
            )
        for train, test in super().split(labelled, labels, groups):
            yield np.sort(np.concatenate([labelled[train], unlabelled])), labelled[test]


class LabelledKFold(_LabelledFolds, KFold):
    """K folds whose test samples are labelled, while unlabelled samples join every training set.

    For :class:`~skltransfer.WithSource`, and any other estimator that learns from samples without
    labels. If labels are missing, scikit-learn refuses an integer ``cv`` ("Input y contains NaN"),
    or makes test sets with unlabelled samples, on which a metric is ``nan``.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Whether to shuffle the labelled samples before they are split.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling.

    See Also
    --------
    LabelledStratifiedKFold : Keeps the shares of the classes in each fold.

    Notes
    -----
    The labelled samples are split as :class:`~sklearn.model_selection.KFold` splits them alone.
    ``cross_val_predict`` asks for every sample to be in a test set, and refuses unlabelled ones.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import LabelledKFold
    >>> X, y = np.zeros((6, 1)), [0.5, np.nan, 1.5, 2.5, np.nan, 3.5]
    >>> for train, test in LabelledKFold(n_splits=2).split(X, y):
    ...     print(train, test)
    [1 3 4 5] [0 2]
    [0 1 2 4] [3 5]
    """


class LabelledStratifiedKFold(_LabelledFolds, StratifiedKFold):
    """Stratified folds with labelled test samples; unlabelled ones join every training set.

    For :class:`~skltransfer.WithSource` around a classifier, and any other classifier that learns
    from samples without labels.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2.
    shuffle : bool, default=False
        Whether to shuffle the labelled samples of each class before they are split.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling.

    See Also
    --------
    LabelledKFold : For a regression, or classes that are too rare to be in every fold.

    Notes
    -----
    The labelled samples are split as :class:`~sklearn.model_selection.StratifiedKFold` splits them
    alone. ``cross_val_predict`` asks for every sample to be in a test set, and refuses unlabelled
    ones.

    Examples
    --------
    >>> import numpy as np
    >>> from skltransfer import LabelledStratifiedKFold
    >>> X, y = np.zeros((6, 1)), ["a", None, "b", "b", None, "a"]
    >>> for train, test in LabelledStratifiedKFold(n_splits=2).split(X, y):
    ...     print(train, test)
    [1 3 4 5] [0 2]
    [0 1 2 4] [3 5]
    """
