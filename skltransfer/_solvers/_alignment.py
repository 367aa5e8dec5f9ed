"""Linear maps between two domains: correlation alignment, and the geodesic flow of subspaces.

Both start from the covariance of each domain, in whichever product is smaller. Rows may be arrays
of any library; spectra and bases are numpy's.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh, svd
from sklearn.utils.extmath import row_norms

from skltransfer._arrays import moved_to, namespace_of
from skltransfer._blas import threads_by, threads_for, threads_for_product
from skltransfer._solvers._factors import lower_gram, singular_axes, triangle

# Sizes of entries of which sums of fourth powers neither overflow nor vanish.
_SAFE_SIZES = (1e-70, 1e70)


def centered_rows(X) -> tuple:
    """Return the mean of the rows, and the rows less their mean; a constant column becomes 0."""
    xp = namespace_of(X)
    mean = xp.mean(X, axis=0)
    mean += xp.mean(X - mean, axis=0)  # rounding of a sum of many large entries
    return mean, X - mean


def largest_size(rows) -> float:
    """Return the largest entry by absolute value."""
    xp = namespace_of(rows)
    return float(xp.max(xp.abs(rows)))


def safe_unit(*sizes: float) -> float:
    """Return 1, or the largest of sizes that are too large or small for their powers."""
    largest = max(sizes)
    return 1.0 if largest == 0 or _SAFE_SIZES[0] < largest < _SAFE_SIZES[1] else float(largest)


def covariance_spectrum(centered, *, exact: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues and eigenvectors of the covariance of centred rows.

    Parameters
    ----------
    centered : array of shape (n, d)
        Rows of mean zero, at least two. The covariance divides by ``n - 1``.
    exact : bool, default=False
        Whether small eigenvalues need all their digits, which forming the covariance, and so
        squaring the condition number, would lose.

    Returns
    -------
    values : ndarray of shape (r,)
        Eigenvalues in descending order, at least 0; r is the smaller one of ``n - 1`` and d. The
        other ``d - r`` eigenvalues are 0.
    vectors : ndarray of shape (d, r)
        Orthonormal columns.
    """
    n, d = centered.shape
    if n > d and not exact:
        with threads_for_product(d, d, n):
            C = lower_gram(centered, 1 / (n - 1))
        with threads_for(C.size):
            values, vectors = eigh(C, driver="evd", overwrite_a=True, check_finite=False)
        return np.maximum(values[::-1], 0), vectors[:, ::-1]
    with threads_for(n * d):
        singular, axes = singular_axes(triangle(centered) if n > d else centered)
    r = min(n - 1, d)
    return singular[:r] ** 2 / (n - 1), axes[:r].T


def signs_of_columns(vectors: np.ndarray) -> np.ndarray:
    """Return the sign of each column's largest entry by absolute value, shape (k,)."""
    largest = np.abs(vectors).argmax(axis=0)
    return np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)


def n_for_share(values: np.ndarray, share: float) -> int:
    """Return the smallest number of leading eigenvalues with at least `share` of their sum."""
    total = values.sum()
    if total == 0:
        return 1
    return int(np.searchsorted(np.cumsum(values) / total, share * (1 - 1e-12)) + 1)


def coral_map(source, target, shrinkage, reg: float) -> list:
    """Return the factors of ``A = (C_s + reg I)^(-1/2) (C_t + reg I)^(1/2)`` (Algorithm 1).

    If a domain has fewer rows than columns, its factor is kept as a multiple of the identity plus
    a term of low rank.

    Parameters
    ----------
    source, target : array of shape (n, d) and (m, d)
        Centred rows, at least two in each domain.
    shrinkage : float or "ledoit_wolf"
        Each covariance S becomes ``(1 - shrinkage) S + shrinkage trace(S) / d I`` first.
    reg : float
        Added to the diagonal of both.

    Returns
    -------
    factors : list of array of shape (d, d), or of tuples for `apply_map`
        In the library of `source`.
    """
    factors = [_power(source, shrinkage, reg, -0.5), _power(target, shrinkage, reg, 0.5)]
    if not any(isinstance(factor, tuple) for factor in factors):
        whiten, color = factors
        with threads_for_product(*whiten.shape, len(whiten)):
            factors = [whiten @ color]
    return moved_to(source, factors)


def apply_map(rows, factors: list):
    """Return ``rows A`` from the factors of A."""
    for factor in factors:
        if not isinstance(factor, tuple):
            with threads_for_product(rows.shape[0], *factor.shape):
                rows = rows @ factor
        else:
            rest, vectors, gains = factor
            with threads_for_product(rows.shape[0], *vectors.shape):
                rows = rest * rows + ((rows @ vectors) * gains) @ vectors.T
    return rows


def _power(centered, shrinkage, reg, power):
    """Return a power of the regularised covariance, 0 in directions without variance."""
    n, d = centered.shape
    unit = safe_unit(largest_size(centered), np.sqrt(reg))
    if unit != 1:
        centered, reg = centered / unit, reg / unit / unit
    is_plain = reg == 0 and not isinstance(shrinkage, str) and shrinkage == 0
    values, vectors = covariance_spectrum(centered, exact=is_plain)
    if isinstance(shrinkage, str):
        shrinkage = ledoit_wolf_intensity(centered, values)
    rest = shrinkage * values.sum() / d + reg
    values = (1 - shrinkage) * values + rest
    if rest == 0:  # the pseudo-inverse: directions without variance are rounding
        has_variance = values > values[0] * (max(n, d) * np.finfo(float).eps) ** 2
        values, vectors = values[has_variance], vectors[:, has_variance]
    gains = values**power * unit ** (2 * power)
    if n > d:
        root = vectors * np.sqrt(gains)
        with threads_for_product(*root.shape, len(root)):
            return root @ root.T  # of one matrix: half of the products
    rest = rest**power * unit ** (2 * power) if rest > 0 else 0.0
    return rest, vectors, gains - rest


def ledoit_wolf_intensity(centered, values) -> float:
    """Return Ledoit and Wolf's shrinkage towards a multiple of the identity.

    Parameters
    ----------
    centered : array of shape (n, d)
    values : ndarray of shape (r,)
        Eigenvalues of the covariance divided by ``n - 1`` that are not 0.

    Returns
    -------
    shrinkage : float
        Intensity from 0 to 1, as :func:`sklearn.covariance.ledoit_wolf` computes it.
    """
    n, d = centered.shape
    values = values * (n - 1) / n  # Ledoit and Wolf divide the covariance by n
    squares = (values**2).sum()
    fourth = float(namespace_of(centered).sum(row_norms(centered, squared=True) ** 2))
    noise = (fourth / n - squares) / n
    distance = squares - values.sum() ** 2 / d
    return float(min(max(noise / distance, 0.0), 1.0)) if distance > 0 else 0.0


@threads_by(lambda source_basis, *_, **__: source_basis.size)
def geodesic_flow(source_basis, target_basis) -> tuple[np.ndarray, np.ndarray]:
    """Return F of ``G = F F'``, the integral of ``Phi(t) Phi(t)'`` for t from 0 to 1 (Eq. 5).

    ``Phi(t)`` runs along the shortest path from the source's subspace to the target's. With the
    principal vectors p (source) and q (target) at the angle theta,
    ``Phi(t) = p cos(t theta) + w sin(t theta)`` where ``q = p cos(theta) + w sin(theta)``: the
    paper's ``P_s U_1`` and ``-R_s U_2``. Within each pair (p, w) the integral is a 2 x 2 matrix,
    whose symmetric root is written out.

    Parameters
    ----------
    source_basis, target_basis : ndarray of shape (d, k)
        Orthonormal columns.

    Returns
    -------
    factor : ndarray of shape (d, min(2 k, d))
    angles : ndarray of shape (k,)
        Principal angles in ascending order.
    """
    d, k = source_basis.shape
    U, cosines, Vt = svd(source_basis.T @ target_basis, check_finite=False)
    p, q = source_basis @ U, target_basis @ Vt.T
    signs = signs_of_columns(p)
    p, q = p * signs, q * signs
    w = q - p * cosines
    sines = np.linalg.norm(w, axis=0)  # exact for small angles, where cosines are not
    theta = np.arctan2(sines, cosines)
    w = np.divide(w, sines, out=np.zeros_like(w), where=sines > 0)

    # Eqs. 6 and 7, halved: the integrals of cos^2, cos sin and sin^2 of t theta.
    a = 0.5 + 0.5 * np.sinc(2 * theta / np.pi)
    b = 0.5 * np.sin(theta) * np.sinc(theta / np.pi)
    c = 1 - a
    root_det = np.sqrt(np.maximum(a * c - b**2, 0))
    scale = 1 / np.sqrt(1 + 2 * root_det)  # the trace is 1
    along = p * ((a + root_det) * scale) + w * (b * scale)
    across = p * (b * scale) + w * ((c + root_det) * scale)
    # Subspaces of more than half of the dimensions meet: there the angles are 0 and w is 0.
    return np.hstack([along, across[:, max(0, 2 * k - d) :]]), theta
