"""Feature-based transfer: a representation, carried over."""

from skltransfer import _face

__all__, __getattr__, __dir__ = _face("feature")
