"""Distances between domains, and scores that tell how well features suit a task."""

from skltransfer import _face

__all__, __getattr__, __dir__ = _face("metrics")
