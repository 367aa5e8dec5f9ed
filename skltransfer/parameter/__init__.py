"""Parameter-based transfer: weights learned elsewhere, as a start or as a prior."""

from skltransfer import _face

__all__, __getattr__, __dir__ = _face("parameter")
