"""A fit starts from nothing, and one that fails or is interrupted leaves nothing half done."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Fit = TypeVar("Fit", bound=Callable[..., Any])
# Private attributes of scikit-learn, which are settings or belong to the fit that is running.
_OF_SKLEARN = ("_skl", "_sklearn", "_metadata_request", "_callback", "_parent_callback")


def fits_anew(fit: Fit) -> Fit:
    """Decorate a method that fits an estimator from scratch.

    What an earlier fit has set is forgotten first. After an exception, an interruption by the
    keyboard included, the estimator is unfitted. With ``warm_start=True`` the fit goes on from the
    earlier one, as :func:`fits_on` has it.
    """
    goes_on = fits_on(fit)

    @wraps(fit)
    def from_scratch(self, *args, **kwargs):
        if getattr(self, "warm_start", False):
            return goes_on(self, *args, **kwargs)
        try:
            forget(self)
            return fit(self, *args, **kwargs)
        except BaseException:
            forget(self)
            raise

    return from_scratch


def fits_on(fit: Fit) -> Fit:
    """Decorate a method that goes on from an earlier fit, and leaves new objects in its place.

    After an exception the estimator is as it was before.
    """

    @wraps(fit)
    def from_earlier(self, *args, **kwargs):
        before = {name: getattr(self, name) for name in fitted_attributes(self)}
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            forget(self)
            vars(self).update(before)
            raise

    return from_earlier


def forget(estimator) -> None:
    """Remove the attributes that an earlier fit has set on an estimator.

    Their names end or begin with an underscore. Parameters stay.
    """
    for name in fitted_attributes(estimator):
        delattr(estimator, name)


def fitted_attributes(estimator) -> list[str]:
    """Return the names of the attributes that `fit` has set, private ones included."""
    names = [
        name
        for name in vars(estimator)
        if (name.endswith("_") or name.startswith("_"))
        and not name.startswith(("__", *_OF_SKLEARN))
    ]
    if not names:
        return names
    parameters = estimator.get_params(deep=False)
    return [name for name in names if name not in parameters]
