"""Feature-based transfer: a representation, carried over."""

from skltransfer._torch._store import FeatureStore, feature_store
from skltransfer.feature._pretrained import PretrainedFeatureTransformer
from skltransfer.feature._self_supervised import SelfSupervisedTransformer

__all__ = [
    "FeatureStore",
    "PretrainedFeatureTransformer",
    "SelfSupervisedTransformer",
    "feature_store",
]
