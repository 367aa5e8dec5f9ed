"""The parameters of kernels: their checks, widths, and centres."""

from __future__ import annotations

from numbers import Real

import numpy as np
from scipy import sparse
from scipy.spatial.distance import cdist, pdist

from skltransfer._blas import threads_for_product
from skltransfer._solvers._distances import sparse_squared_distances
from skltransfer._solvers._kernels import KERNELS, loses_digits

# Rows of each domain whose distances decide on a median.
_MEDIAN_ROWS = 1000
# Rows of more weight than this, together, are drawn by rounded shares of it.
_MOST_TICKETS = 1_000_000
# Position of such a row in its stride: no simple fraction, so that it is no boundary between rows.
_MEDIAN_OFFSET = 0.382


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


def fitted_gamma(
    estimator, X, counts: np.ndarray, X_target, target_counts: np.ndarray | None = None
) -> float:
    """Return the number that ``gamma`` stands for on the rows of both domains.

    Parameters
    ----------
    estimator : estimator
        Estimator with ``kernel`` and ``gamma``.
    X, X_target : {ndarray, CSR array} of shape (n, n_features) and (m, n_features)
    counts : ndarray of shape (n,)
        Weight of each row of `X`.
    target_counts : ndarray of shape (m,), default=None
        Weight of each row of `X_target`. ``None`` is 1.

    Raises
    ------
    ValueError
        If the kernel is chi2, and a value is below 0; if the variance is beyond all floats.
    """
    is_chi2 = isinstance(estimator.kernel, str) and estimator.kernel == "chi2"
    if is_chi2 and min(rows.min() for rows in (X, X_target) if rows.shape[0]) < 0:
        raise ValueError(
            "kernel='chi2' needs values of at least 0, and X or X_target has smaller ones. "
            "Scale the features into [0, 1] (MinMaxScaler(clip=True)) or choose another kernel."
        )
    if not isinstance(estimator.gamma, str):
        return float(estimator.gamma)
    if is_chi2:
        return _histogram_gamma(X, counts, X_target, target_counts)
    with np.errstate(over="ignore", invalid="ignore"):
        gamma = scale_gamma(X, counts, X_target, target_counts)
    uses_gamma = isinstance(estimator.kernel, str) and estimator.kernel not in ("linear", "cosine")
    if uses_gamma and not (np.isfinite(gamma) and gamma > 0):
        raise ValueError(
            "gamma='scale' cannot be computed from values of this size. Scale the features before."
        )
    return gamma


def _histogram_gamma(X, counts, T, T_counts) -> float:
    """Return 1 over the mean sum of a row, each counted as often as its count says."""
    sums = np.concatenate([X.sum(axis=1), T.sum(axis=1)])
    T_counts = np.ones(len(T)) if T_counts is None else T_counts
    mean = np.average(sums, weights=np.concatenate([counts, T_counts]))
    return float(1 / mean) if mean > 0 else 1.0


def _is_finite(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and bool(np.isfinite(value))


def scale_gamma(X, counts: np.ndarray, T, T_counts: np.ndarray | None = None) -> float:
    """Return 1 over the sum of the columns' variances, of the stacked rows.

    For columns of one mean and variance it is scikit-learn's ``"scale"``. The variances are about
    the mean of each column, so that no origin of a column matters. A row counts as often as its
    count says. Rows may be sparse. It is 1 if nothing varies.
    """
    weights = np.concatenate([counts, np.ones(T.shape[0]) if T_counts is None else T_counts])
    weights /= weights.sum()
    parts = np.split(weights, [X.shape[0]])
    rows = list(zip((X, T), parts, strict=True))
    mean = sum(part.T @ w for part, w in rows)
    if sparse.issparse(X):
        total = sum(_squares_of_sparse(*part, mean) for part in rows) + mean @ mean
    else:
        mean += sum((part - mean).T @ w for part, w in rows)  # rounding of a sum of large entries
        total = sum(float(((part - mean) ** 2).sum(axis=1) @ w) for part, w in rows)
    eps = np.finfo(float).eps
    rounding = (eps if sparse.issparse(X) else (10 * eps) ** 2) * float(mean @ mean)
    return float(1 / total) if total > rounding or not np.isfinite(total) else 1.0


def _squares_of_sparse(rows, weights, mean) -> float:
    """Return the weighted sum of ``(entry - mean)^2`` less that of ``mean^2``."""
    entries = sparse.coo_array(rows)
    column = mean[entries.coords[1]]
    squares = (entries.data - column) ** 2 - column**2
    return float(squares @ weights[entries.coords[0]])


def median_gamma(X, T) -> float:
    """Return 1 / the median squared distance between stacked rows (of at most 1000, even spaced).

    If more than half of the distances are 0, it is scikit-learn's ``"scale"``.
    """
    stacked = np.concatenate([X, T])
    if len(stacked) > _MEDIAN_ROWS:
        stacked = stacked[np.linspace(0, len(stacked) - 1, _MEDIAN_ROWS).astype(np.intp)]
    distances = pdist(stacked, "sqeuclidean")
    median = np.median(distances) if len(distances) else 0.0
    return float(1 / median) if median > 0 else scale_gamma(X, np.ones(len(X)), T)


def draw_centers(
    sorted_target: np.ndarray, n_centers: int, rng, weights: np.ndarray | None = None
) -> np.ndarray:
    """Draw `n_centers` different rows, or all there are.

    Parameters
    ----------
    sorted_target : {ndarray, CSR array} of shape (n_target_samples, n_features)
        In lexicographic order, so that their order as given does not matter.
    n_centers : int
    rng : RandomState
    weights : ndarray of shape (n_target_samples,), default=None
        Weights of the rows, above 0. A row of weight 2 is drawn as one of two equal rows would be.

    Returns
    -------
    drawn : ndarray of shape (<= n_centers,)
        Indices of the rows.
    """
    tickets = np.arange(sorted_target.shape[0])
    if weights is not None:
        shares = weights * min(1.0, _MOST_TICKETS / weights.sum())
        tickets = np.repeat(tickets, np.ceil(shares).astype(np.intp))
    differs = sorted_target[1:] != sorted_target[:-1]
    differs = differs.sum(axis=1) > 0 if sparse.issparse(differs) else differs.any(axis=1)
    group = np.concatenate([[0], np.cumsum(differs)])
    order = tickets[rng.permutation(len(tickets))]
    _, position = np.unique(group[order], return_index=True)  # of equal rows the first drawn
    return order[np.sort(position)[:n_centers]]


def squared_distances(rows, centers, gamma: float) -> np.ndarray:
    """Return ``|x_i - c_j|^2``, precise enough for ``exp(-gamma d)``, shape (n_rows, n_centers)."""
    if sparse.issparse(rows) or sparse.issparse(centers):
        return sparse_squared_distances(rows, centers)
    origin = np.median(centers, axis=0)  # distances lose fewer digits near the origin
    with np.errstate(over="ignore"):
        A, B = rows - origin, centers - origin
        loses = loses_digits(A, B, gamma)
    if loses:
        return cdist(rows, centers, "sqeuclidean")
    with threads_for_product(len(A), *B.shape):
        distances = A @ B.T
    distances *= -2.0
    distances += np.einsum("ij,ij->i", A, A)[:, None]
    distances += np.einsum("ij,ij->i", B, B)
    return np.maximum(distances, 0.0, out=distances)  # rounding makes squared distances negative


def center_gamma(
    rows, weights: np.ndarray, target_rows, centers, target_weights: np.ndarray | None = None
) -> float:
    """Return ``1 / (2 median)`` of the squared distances of rows of both domains to the centres.

    Rows that equal a centre are left out. At most 1000 rows of each domain are looked at, spread
    evenly over the rows in their order, each as often as its weight says.
    """
    looked_at = [_spread(rows, weights), _spread(target_rows, target_weights)]
    if sparse.issparse(centers):
        distances = np.concatenate([sparse_squared_distances(part, centers) for part in looked_at])
    else:
        distances = cdist(np.concatenate(looked_at), centers, "sqeuclidean")
    distances = distances[distances > 0]
    median = float(np.median(distances)) if distances.size else 0.0
    return 0.5 / median if 0 < median < np.inf else 1.0


def _spread(rows, weights: np.ndarray | None = None):
    total = np.cumsum(np.ones(rows.shape[0]) if weights is None else weights)
    places = (np.arange(_MEDIAN_ROWS) + _MEDIAN_OFFSET) / _MEDIAN_ROWS * total[-1]
    return rows[np.minimum(np.searchsorted(total, places, side="right"), rows.shape[0] - 1)]
