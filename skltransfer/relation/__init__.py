"""Relation-based transfer: the relation of the domains is learned with the model."""

from skltransfer import _face

__all__, __getattr__, __dir__ = _face("relation")
