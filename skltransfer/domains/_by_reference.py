"""Parameters that a clone shares instead of copying."""

from __future__ import annotations

from copy import deepcopy

from sklearn.base import clone


class HoldsByReference:
    """Holds some parameters by reference: a clone shares them as they are, fitted state included.

    A subclass names them in `_held`.
    """

    _held: tuple[str, ...] = ()

    def __sklearn_clone__(self):
        params = {
            name: value if name in self._held else clone(value, safe=False)
            for name, value in self.get_params(deep=False).items()
        }
        twin = type(self)(**params)
        for name in ("_metadata_request", "_sklearn_output_config"):  # as clone itself does
            if hasattr(self, name):
                setattr(twin, name, deepcopy(getattr(self, name)))
        if hasattr(self, "_skl_callbacks"):
            twin._skl_callbacks = self._skl_callbacks
        return twin
