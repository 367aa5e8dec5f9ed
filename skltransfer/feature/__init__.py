"""Feature-based transfer: a representation, carried over."""

from skltransfer._torch._store import FeatureStore, feature_store
from skltransfer.feature._pretrained import PretrainedFeatureTransformer
from skltransfer.feature._word_vector_transformer import WordCoverageWarning, WordVectorTransformer

__all__ = [
    "FeatureStore",
    "PretrainedFeatureTransformer",
    "WordCoverageWarning",
    "WordVectorTransformer",
    "feature_store",
]
