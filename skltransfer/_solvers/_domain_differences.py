"""Differences of means between two domains: of all rows, and of the rows of each class."""

from __future__ import annotations

import numpy as np


def domain_differences(
    n_source: int, n_target: int, source_classes=None, target_classes=None
) -> np.ndarray:
    """Return the columns of L, where ``M = L L'`` has Frobenius norm 1.

    ``L' F`` is, up to a factor, the mean of the source rows of F less that of the target rows, of
    all rows and class by class (Long et al. 2013, section 3). A class that either
    domain lacks has no column.

    Parameters
    ----------
    n_source, n_target : int
    source_classes, target_classes : ndarray of int, default=None
        Codes of classes, in the order of the rows; negative: no class.

    Returns
    -------
    L : ndarray of shape (n_source + n_target, n_differences)
    """
    columns = [np.r_[np.full(n_source, 1 / n_source), np.full(n_target, -1 / n_target)]]
    if source_classes is not None:
        for code in np.intersect1d(source_classes, target_classes):
            if code >= 0:
                source, target = source_classes == code, target_classes == code
                columns.append(np.r_[source / source.sum(), target / -target.sum()])
    L = np.column_stack(columns)
    return L / np.sqrt(np.linalg.norm(L.T @ L))
