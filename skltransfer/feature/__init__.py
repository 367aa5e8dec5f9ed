"""Feature-based transfer: a representation, carried over."""

from skltransfer._torch._rows import UnreadableImageWarning
from skltransfer._torch._store import FeatureStore, feature_store
from skltransfer.feature._pretrained import PretrainedFeatureTransformer

__all__ = [
    "FeatureStore",
    "PretrainedFeatureTransformer",
    "UnreadableImageWarning",
    "feature_store",
]
