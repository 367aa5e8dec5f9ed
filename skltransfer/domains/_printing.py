"""Held data in print: by their shapes, as rows would fill the page."""

from __future__ import annotations

import sys


def is_printing() -> bool:
    """Tell whether scikit-learn asks for parameters to print them, as text or as HTML."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_name == "get_params":  # of an estimator around
        frame = frame.f_back
    if frame is None:
        return False
    printer = frame.f_globals.get("__name__") == "sklearn.utils._pprint"
    return printer or frame.f_code.co_name == "_get_params_html"


def with_shapes(params: dict, names) -> dict:
    """Return parameters with short descriptions of the data among them."""
    return {
        name: Shape.of(value) if name in names and _has_rows(value) else value
        for name, value in params.items()
    }


def _has_rows(value) -> bool:
    """Tell data from None, and from what stands for samples that were left out of a file."""
    return hasattr(value, "shape") or hasattr(value, "__len__")


class Shape:
    """The description of some data.

    Parameters
    ----------
    text : str
    """

    def __init__(self, text: str):
        self.text = text

    @classmethod
    def of(cls, data) -> Shape:
        """Describe data by type and shape, and the entries of a list of several sources."""
        if not isinstance(data, list | tuple):
            shape = getattr(data, "shape", None)
            return cls(f"<{type(data).__name__} {shape if shape is not None else len(data)}>")
        if len(data) < 10 and all(len(getattr(entry, "shape", ())) > 0 for entry in data):
            return cls(f"[{', '.join(repr(cls.of(entry)) for entry in data)}]")
        return cls(f"<{type(data).__name__} of {len(data)}>")

    def __repr__(self):
        return self.text
