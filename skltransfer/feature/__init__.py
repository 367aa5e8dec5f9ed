"""Feature-based transfer: a representation, carried over."""

from skltransfer._torch._store import FeatureStore, feature_store
from skltransfer.feature._optimal_transport import OptimalTransportMapper
from skltransfer.feature._pretrained import PretrainedFeatureTransformer

__all__ = [
    "FeatureStore",
    "OptimalTransportMapper",
    "PretrainedFeatureTransformer",
    "feature_store",
]
