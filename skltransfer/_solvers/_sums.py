"""Sums that do not depend on the order of their terms, not even by rounding."""

from __future__ import annotations

import numpy as np


def ordered_sum(values: np.ndarray) -> float:
    """Return the sum of the values, added in ascending order."""
    return float(np.sort(values).sum())


def effective_sample_size(weights: np.ndarray) -> float:
    """Return ``(sum w)^2 / sum w^2`` (Kish), the number of equally weighted samples of like worth.

    Parameters
    ----------
    weights : ndarray of shape (n_samples,)
        At least 0, and not all 0.
    """
    relative = weights / weights.max()  # the squares themselves may overflow
    return ordered_sum(relative) ** 2 / ordered_sum(relative**2)
