"""How far a task lies from a model of its source: the variance of the change, by its moments.

A change ``delta`` of the coefficients, of mean 0 and variance ``tau^2``, shows in the residuals
``r`` of the source's model, whose derivatives by the scores are ``V``::

    E sum_{i != j} r_i K_ij r_j = tau^2 sum_{i != j} V_i K_ij^2 V_j        with K = X X'

Noise enters neither side, because that of two samples is independent. This is the statistic of the
score test of a variance component (Lin, "Variance Component Testing in Generalised Linear Models
with Random Effects", Biometrika 84, 1997).
"""

from __future__ import annotations

import numpy as np

from skltransfer._blas import threads_by

# Samples that are looked at.
_MOST_SAMPLES = 3000
# Standard errors by which the estimate is lowered: what may be noise moves nothing.
_CAUTION = 1.0


@threads_by(lambda gram, *_, **__: gram.size)
def variance_of_change(gram, residual, curvature, weights) -> float:
    """Return a cautious estimate of ``tau^2``, at least 0.

    A sample of weight two counts like two equal ones.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        ``K``
    residual : ndarray of shape (n, k)
        ``r``; outputs share one variance.
    curvature : ndarray of shape (n, k)
        ``V``, positive.
    weights : ndarray of shape (n,)
        Positive.
    """
    diagonal = gram.diagonal()
    pairs = np.outer(weights, weights) * gram**2
    found = variance = expected = 0.0
    for r, v in zip(residual.T, curvature.T, strict=True):
        found += (weights * r) @ gram @ (weights * r) - weights @ (diagonal * r**2)
        variance += 2 * ((r**2) @ pairs @ (r**2) - weights @ (diagonal**2 * r**4))
        expected += v @ pairs @ v - weights @ (diagonal * v) ** 2
    found -= _CAUTION * np.sqrt(max(variance, 0.0))
    return found / expected if found > 0 and expected > 0 else 0.0


def looked_at(n: int) -> slice:
    """Return which of `n` samples are looked at: all, or some at equal distances."""
    return slice(None, None, max(1, -(-n // _MOST_SAMPLES)))
