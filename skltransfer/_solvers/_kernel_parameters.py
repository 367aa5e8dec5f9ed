"""The parameters that estimators choose a kernel by: their checks, and the width "scale"."""

from __future__ import annotations

from numbers import Real

import numpy as np

from skltransfer._solvers._kernels import KERNELS, scale_gamma


def check_kernel(estimator) -> None:
    """Raise a ValueError unless ``kernel``, ``gamma``, ``degree`` and ``coef0`` make a kernel."""
    kernel, gamma = estimator.kernel, estimator.gamma
    if not callable(kernel) and kernel not in KERNELS:
        hint = " additive_chi2 is not positive semi-definite: chi2 is."
        raise ValueError(
            f"kernel={kernel!r} is not one of {', '.join(KERNELS)}, nor a callable."
            + (hint if kernel == "additive_chi2" else "")
        )
    is_scale = isinstance(gamma, str) and gamma == "scale"
    if not is_scale and not (_is_finite(gamma) and gamma > 0):
        raise ValueError(f"gamma={gamma!r} is neither 'scale' nor a number above 0.")
    for name in ("degree", "coef0"):
        if not _is_finite(getattr(estimator, name)):
            raise ValueError(f"{name}={getattr(estimator, name)!r} is not a finite number.")


def fitted_gamma(estimator, X, counts: np.ndarray, X_target) -> float:
    """Return the number that ``gamma`` stands for on the rows of both domains.

    Parameters
    ----------
    estimator : estimator
        With ``kernel`` and ``gamma``.
    X, X_target : {ndarray, CSR array} of shape (n, n_features) and (m, n_features)
    counts : ndarray of shape (n,)
        How often each row of `X` counts.

    Raises
    ------
    ValueError
        If the kernel is chi2, and a value is below 0; if the variance is beyond all floats.
    """
    is_chi2 = isinstance(estimator.kernel, str) and estimator.kernel == "chi2"
    if is_chi2 and min(rows.min() for rows in (X, X_target) if rows.shape[0]) < 0:
        raise ValueError(
            "kernel='chi2' needs values of at least 0, and X or X_target has smaller ones. "
            "Scale the columns into [0, 1] (MinMaxScaler(clip=True)) or choose another kernel."
        )
    if not isinstance(estimator.gamma, str):
        return float(estimator.gamma)
    if is_chi2:
        return _histogram_gamma(X, counts, X_target)
    with np.errstate(over="ignore", invalid="ignore"):
        gamma = scale_gamma(X, counts, X_target)
    if _uses_gamma(estimator.kernel) and not (np.isfinite(gamma) and gamma > 0):
        raise ValueError(
            "gamma='scale' is not to be had: the variance of X and X_target leaves the range "
            "of floats. Scale the columns (for example by a StandardScaler before)."
        )
    return gamma


def _uses_gamma(kernel) -> bool:
    return isinstance(kernel, str) and kernel not in ("linear", "cosine")


def _histogram_gamma(X, counts, T) -> float:
    """Return 1 over the mean sum of a row, a row of `X` counted as often as `counts` says."""
    sums = np.concatenate([X.sum(axis=1), T.sum(axis=1)])
    mean = np.average(sums, weights=np.concatenate([counts, np.ones(len(T))]))
    return float(1 / mean) if mean > 0 else 1.0


def _is_finite(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and bool(np.isfinite(value))
