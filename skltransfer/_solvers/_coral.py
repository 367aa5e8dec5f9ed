"""Correlation alignment (Sun, Feng and Saenko 2016), without matrices that rows do not fill."""

from __future__ import annotations

import numpy as np

from skltransfer._solvers._principal import covariance_spectrum, safe_unit


def coral_map(source, target, shrinkage, reg: float) -> list:
    """Return the factors of ``A = (C_s + reg I)^(-1/2) (C_t + reg I)^(1/2)`` (Algorithm 1).

    Where the columns outnumber the rows of a domain, its factor is kept as a multiple of the
    identity plus a term of the rank of those rows.

    Parameters
    ----------
    source, target : ndarray of shape (n, d) and (m, d)
        Centred rows, at least two in each domain.
    shrinkage : float or "ledoit_wolf"
        Each covariance S becomes ``(1 - shrinkage) S + shrinkage trace(S) / d I`` first.
    reg : float
        Added to the diagonal of both.

    Returns
    -------
    factors : list of ndarray of shape (d, d), or of tuples for `apply_map`
    """
    whiten = _power(source, shrinkage, reg, -0.5)
    color = _power(target, shrinkage, reg, 0.5)
    if isinstance(whiten, np.ndarray) and isinstance(color, np.ndarray):
        return [whiten @ color]
    return [whiten, color]


def apply_map(rows: np.ndarray, factors: list) -> np.ndarray:
    """Return ``rows A`` from the factors of A."""
    for factor in factors:
        if isinstance(factor, np.ndarray):
            rows = rows @ factor
        else:
            rest, vectors, gains = factor
            rows = rest * rows + ((rows @ vectors) * gains) @ vectors.T
    return rows


def _power(centered, shrinkage, reg, power):
    """Return a power of the regularised covariance; of what has no variance at all, zero."""
    n, d = centered.shape
    unit = safe_unit(np.abs(centered).max(), np.sqrt(reg))
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
        return root @ root.T  # of one matrix: half of the products
    rest = rest**power * unit ** (2 * power) if rest > 0 else 0.0
    return rest, vectors, gains - rest


def ledoit_wolf_intensity(centered, values) -> float:
    """Return Ledoit and Wolf's shrinkage towards a multiple of the identity.

    Parameters
    ----------
    centered : ndarray of shape (n, d)
    values : ndarray of shape (r,)
        The eigenvalues of the covariance of ``n - 1`` that are not 0.

    Returns
    -------
    shrinkage : float
        From 0 to 1, as :func:`sklearn.covariance.ledoit_wolf` has it.
    """
    n, d = centered.shape
    values = values * (n - 1) / n  # their covariance is that of n
    squares = (values**2).sum()
    fourth = (np.einsum("ij,ij->i", centered, centered) ** 2).sum()
    noise = (fourth / n - squares) / n
    distance = squares - values.sum() ** 2 / d
    return float(min(max(noise / distance, 0.0), 1.0)) if distance > 0 else 0.0
