"""Whether a kernel tells the rows of the data apart, and a warning where it does not."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from skltransfer._solvers._kernels import Kernel, KernelMatrix
from skltransfer._warnings import warn

# Rows of each domain that are looked at.
_LOOKED_AT = 150
# A value this close to that of a row with itself, or to 0, tells nothing.
_MARGIN = 1e-3
# Parts of the pairs, and of the rows, that have to be so: single rows may lie elsewhere.
_MOST_PAIRS, _MOST_ROWS = 0.9, 0.95
# Fewer rows lie apart by themselves.
_FEWEST_ROWS = 10


class KernelWidthWarning(UserWarning):
    """A kernel is nearly constant over the samples, or an identity.

    Raised by methods with a kernel if nearly all pairs of different samples have the kernel value
    of a sample with itself, or if nearly no sample has another one near it. The width does not fit
    the data then, and the method learns little or nothing from them.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skltransfer import KernelWidthWarning, KMMReweighter
    >>> X, X_target = np.linspace(0.0, 1.0, 50)[:, None], np.linspace(0.5, 1.0, 20)[:, None]
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = KMMReweighter(gamma=1e-9).fit(X, X_target=X_target)
    >>> caught[0].category is KernelWidthWarning
    True
    """


def spread_rows(rows, n_most: int = _LOOKED_AT):
    """Return at most `n_most` rows, evenly spread over all."""
    n = rows.shape[0]
    return rows if n <= n_most else rows[np.linspace(0, n - 1, n_most).astype(np.intp)]


def warn_of_width(estimator, kernel: Kernel, X, X_target) -> None:
    """Warn if the kernel is constant over the rows of both domains, or an identity.

    Parameters
    ----------
    estimator : estimator
        Estimator with the parameter ``gamma``.
    kernel : Kernel
    X, X_target : {ndarray, CSR array} of shape (n, n_features) and (m, n_features)
    """
    if kernel.metric == "linear":  # an inner product: neither can occur
        return
    parts = [spread_rows(rows) for rows in (X, X_target) if rows.shape[0]]
    is_sparse = any(map(sparse.issparse, parts))
    rows = sparse.csr_array(sparse.vstack(parts)) if is_sparse else np.concatenate(parts)
    with np.errstate(all="ignore"):
        K = KernelMatrix(kernel, rows).matrix()
        norms = np.sqrt(np.abs(K.diagonal()))
        K /= np.where(norms > 0, norms, np.nan)[:, None]
        K /= np.where(norms > 0, norms, np.nan)
    np.fill_diagonal(K, np.nan)
    warn_of_values(estimator, K, equal_rows(rows), narrower="Raise gamma", wider="lower gamma")


def equal_rows(rows) -> np.ndarray:
    """Return which rows are equal, shape (n, n)."""
    if sparse.issparse(rows):
        rows = sparse.csr_array(rows, copy=True)
        rows.sum_duplicates()
        rows.eliminate_zeros()
        ends = zip(rows.indptr[:-1], rows.indptr[1:], strict=True)
        keys = [(rows.indices[i:j].tobytes(), rows.data[i:j].tobytes()) for i, j in ends]
    else:
        keys = [row.tobytes() for row in np.ascontiguousarray(rows) + 0.0]  # -0.0 is 0.0
    numbers: dict = {}
    numbers = np.array([numbers.setdefault(key, len(numbers)) for key in keys])
    return numbers[:, None] == numbers


def warn_of_values(
    estimator, values: np.ndarray, are_equal: np.ndarray, *, narrower: str, wider: str
) -> None:
    """Warn if most values of a kernel are about those of a row with itself, or about 0.

    Parameters
    ----------
    estimator : estimator
    values : ndarray of shape (n, m)
        Kernel between rows, in units of the kernel of a row with itself. NaN marks pairs that do
        not count, such as a row with itself.
    are_equal : ndarray of shape (n, m)
        Whether the rows are equal. Such a pair does not make a kernel constant, but it keeps one
        from being an identity.
    narrower, wider : str
        Remedies, as the beginning and as a part of a sentence.
    """
    counts = ~np.isnan(values)
    different = counts & ~are_equal
    if not different.any():
        return
    name = type(estimator).__name__
    if (values[different] > 1 - _MARGIN).mean() >= _MOST_PAIRS:
        warn(
            f"The kernel of {name} is constant over nearly all pairs of these samples, so that it "
            f"hardly tells them apart. {narrower}, or scale the features (StandardScaler).",
            KernelWidthWarning,
        )
        return
    largest = np.where(counts, np.abs(values), -1.0).max(axis=1)
    largest = largest[largest >= 0]
    if len(largest) >= _FEWEST_ROWS and (largest < _MARGIN).mean() >= _MOST_ROWS:
        warn(
            f"The kernel of {name} is an identity on these samples: it is about 0 between any two "
            f"of them. Scale the features (StandardScaler), use fewer of them, or {wider}.",
            KernelWidthWarning,
        )
