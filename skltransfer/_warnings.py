"""Warnings that point at the line of the user, however deep they are raised."""

from __future__ import annotations

import sys
import warnings

from sklearn.exceptions import ConvergenceWarning

# They call estimators on behalf of the user.
_PACKAGES = ("skltransfer", "sklearn", "joblib")


def warn(message: str, category: type[Warning]) -> None:
    """Warn, with the innermost line outside of this package and scikit-learn as the place.

    Parameters
    ----------
    message : str
    category : type of warning
    """
    frame, stacklevel = sys._getframe(1), 2
    while frame.f_back is not None and _is_inside(frame):
        frame, stacklevel = frame.f_back, stacklevel + 1
    warnings.warn(message, category, stacklevel=stacklevel)


def warn_unless_certified(result: str, gap: float, tol: float, remedy: str) -> None:
    """Warn if a solution is not certified to `tol`.

    Parameters
    ----------
    result : str
        Name of the solution; the message begins with it.
    gap, tol : float
        Gap that is certified, and the one that was wanted.
    remedy : str
    """
    if not gap <= tol:
        warn(
            f"{result} is certified to a gap of {gap:.1e}, not to tol={tol:.1e}. {remedy}",
            ConvergenceWarning,
        )


def _is_inside(frame) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in _PACKAGES
