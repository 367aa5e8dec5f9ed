"""A second fit of an estimator starts as the first one did."""

from __future__ import annotations

# Private attributes of scikit-learn, which are settings or belong to the fit that is running.
_OF_SKLEARN = ("_skl", "_sklearn", "_metadata_request", "_callback", "_parent_callback")


def forget(estimator) -> None:
    """Remove the attributes that an earlier fit has set on an estimator.

    Their names end or begin with an underscore. Parameters stay.
    """
    for name in fitted_attributes(estimator):
        delattr(estimator, name)


def fitted_attributes(estimator) -> list[str]:
    """Return the names of the attributes that `fit` has set, private ones included."""
    parameters = estimator.get_params(deep=False)
    return [
        name
        for name in vars(estimator)
        if (name.endswith("_") or name.startswith("_"))
        and not (name.startswith(("__", *_OF_SKLEARN)) or name in parameters)
    ]
