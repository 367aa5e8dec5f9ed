"""Feature-based transfer: a representation, carried over."""

from skltransfer._torch._store import FeatureStore, feature_store
from skltransfer.feature._jda import JDA
from skltransfer.feature._pretrained import PretrainedFeatureTransformer
from skltransfer.feature._tca import TCA

__all__ = ["JDA", "TCA", "FeatureStore", "PretrainedFeatureTransformer", "feature_store"]
