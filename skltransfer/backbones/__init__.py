"""Pretrained networks: load them by name, from files, or bring your own."""

from skltransfer._torch._preprocessing import Preprocessing
from skltransfer.backbones._load import list_backbones, load_backbone
from skltransfer.backbones._record import Backbone

__all__ = ["Backbone", "Preprocessing", "list_backbones", "load_backbone"]
