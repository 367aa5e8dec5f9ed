"""Breast cancer diagnoses, of which one clinic saw a biased sample."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.utils import Bunch, check_random_state


def load_biased_breast_cancer(
    *,
    n_source: int = 100,
    bias: float = 1.0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Split scikit-learn's breast cancer data into a biased source and an unbiased target.

    A random half of the samples is the target. The source is drawn from the other half without
    replacement, with probabilities proportional to ``exp(-bias * z)``, where ``z`` is the
    standardised mean radius: a clinic that saw mostly small tumours. The choice depends on the
    features alone, so that labels depend on features in the same way in both domains (covariate
    shift).

    Parameters
    ----------
    n_source : int, default=100
        Number of source samples, at most 284.
    bias : float, default=1
        Strength of the bias; 0 is none.
    random_state : int, RandomState instance or None, default=None
        Seed of the random halves and of the source.

    Returns
    -------
    data : Bunch
        ``X_source`` (n_source, 30), ``y_source`` (n_source,), ``X_target`` (285, 30), ``y_target``
        (285,), ``feature_names`` (30,) and ``target_names`` (2,). Label 1 is benign.

    Raises
    ------
    ValueError
        If `n_source` is not from 1 to 284.

    References
    ----------
    Biased sampling follows J. Huang et al., "Correcting Sample Selection
    Bias by Unlabeled Data", NIPS 2006, section 4.2.

    Examples
    --------
    >>> from skltransfer.datasets import load_biased_breast_cancer
    >>> data = load_biased_breast_cancer(random_state=0)
    >>> data.X_source.shape, data.X_target.shape
    ((100, 30), (285, 30))
    >>> bool(data.X_source[:, 0].mean() < data.X_target[:, 0].mean() - 2)  # mean radius
    True
    """
    bundled = load_breast_cancer()
    X, y = bundled.data, bundled.target
    n_pool = len(X) // 2
    if not 1 <= n_source <= n_pool:
        raise ValueError(f"n_source={n_source!r} is not a number from 1 to {n_pool}.")
    rng = check_random_state(random_state)
    pool, target = np.split(rng.permutation(len(X)), [n_pool])
    radius = X[:, 0]
    log_weight = -bias * (radius[pool] - radius.mean()) / radius.std()
    # The largest of log-weights plus Gumbel noise are a weighted draw without replacement.
    keys = log_weight + rng.gumbel(size=n_pool)
    source = pool[np.argsort(-keys)[:n_source]]
    return Bunch(
        X_source=X[source],
        y_source=y[source],
        X_target=X[target],
        y_target=y[target],
        feature_names=bundled.feature_names,
        target_names=bundled.target_names,
    )
