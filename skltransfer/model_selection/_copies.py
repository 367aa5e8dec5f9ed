"""Source samples that are copies of labelled target samples."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import _num_samples

from skltransfer.domains._data import concatenate_rows
from skltransfer.instance._rows import row_groups


def is_copy(X_source, X) -> np.ndarray:
    """Tell which source samples are copies of target samples.

    A model of the source would know the label of such a sample, and all scores on it would mean
    nothing. Samples of which most occur several times among the source are no copies: with a few
    values in a few columns, samples of two domains are equal by chance.

    Parameters
    ----------
    X_source : array-like of shape (n_source_samples, n_features)
        In the form of `X`.
    X : array-like of shape (n_samples, n_features)
        Target samples with a label.

    Returns
    -------
    is_copy : ndarray of shape (n_source_samples,), bool
    """
    group = row_groups(concatenate_rows(X_source, X))
    n_source = _num_samples(X_source)
    source, target = group[:n_source], group[n_source:]
    copied = np.isin(source, target)
    counts = np.bincount(source)
    # How often samples occur in the source: of those that the target lacks, if there are any.
    counts = counts[np.unique(source if copied.all() else source[~copied])]
    if 2 * counts[counts > 1].sum() > counts.sum():
        return np.zeros(n_source, dtype=bool)
    return copied
