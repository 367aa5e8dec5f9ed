"""The principal axes of both domains, equally many, for methods that compare subspaces."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np

from skltransfer._solvers._alignment import (
    centered_rows,
    covariance_spectrum,
    n_for_share,
    safe_unit,
    with_fixed_signs,
)


def check_n_components(estimator) -> None:
    """Raise a ValueError unless ``n_components`` is a count or a share of the variance."""
    value = estimator.n_components
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    is_count = is_number and isinstance(value, Integral) and value >= 1
    is_share = is_number and not isinstance(value, Integral) and 0 < value < 1
    if not (is_count or is_share):
        raise ValueError(
            f"n_components={value!r} is neither an integer of at least 1 (how many components) nor "
            "a float between 0 and 1 (the share of the variance that they keep)."
        )


def principal_axes(rows: dict, n_components) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the mean and the first principal axes of each domain.

    Parameters
    ----------
    rows : dict of str to ndarray of shape (n, d)
        Rows of each domain, by the name of their argument.
    n_components : int or float
        How many axes; as a float, so many that they have this share of the variance in every
        domain.

    Returns
    -------
    domains : list of (ndarray of shape (d,), ndarray of shape (n_components, d))
        Axes are orthonormal rows, with their largest entry positive.
    """
    if isinstance(n_components, Integral):
        _check_enough(rows, n_components)
    means, spectra = [], []
    for domain in rows.values():
        mean, centered = centered_rows(domain)
        means.append(mean)
        # Neither axes nor shares of the variance depend on the unit.
        spectra.append(covariance_spectrum(centered / safe_unit(np.abs(centered).max())))
    if not isinstance(n_components, Integral):
        wanted = max(n_for_share(values, n_components) for values, _ in spectra)
        n_components = min(wanted, *(len(values) for values, _ in spectra))
    return [
        (mean, with_fixed_signs(vectors[:, :n_components]).T)
        for mean, (_, vectors) in zip(means, spectra, strict=True)
    ]


def _check_enough(rows: dict, n_components: int) -> None:
    n_most = min(min(len(domain) - 1, domain.shape[1]) for domain in rows.values())
    if n_components > n_most:
        sizes = " and ".join(f"{name} has {len(domain)} rows" for name, domain in rows.items())
        n_columns = next(iter(rows.values())).shape[1]
        raise ValueError(
            f"n_components={n_components} is too many: {sizes}, of {n_columns} columns, and n rows "
            f"span n - 1 directions about their mean. Pass at most {n_most}."
        )
