"""Feature-based transfer: a representation, carried over."""

from skltransfer._torch._rows import UnreadableImageWarning
from skltransfer._torch._store import FeatureStore, feature_store
from skltransfer.feature._augmenter import FeatureAugmenter
from skltransfer.feature._coral import CORAL
from skltransfer.feature._geodesic_flow import GeodesicFlowKernel
from skltransfer.feature._jda import JDA
from skltransfer.feature._optimal_transport import OptimalTransportMapper
from skltransfer.feature._pretrained import PretrainedFeatureTransformer
from skltransfer.feature._self_supervised import SelfSupervisedTransformer
from skltransfer.feature._subspace_alignment import SubspaceAlignment
from skltransfer.feature._tca import TCA
from skltransfer.feature._word_vector_transformer import WordCoverageWarning, WordVectorTransformer

__all__ = [
    "CORAL",
    "FeatureAugmenter",
    "FeatureStore",
    "GeodesicFlowKernel",
    "JDA",
    "OptimalTransportMapper",
    "PretrainedFeatureTransformer",
    "SelfSupervisedTransformer",
    "SubspaceAlignment",
    "TCA",
    "UnreadableImageWarning",
    "WordCoverageWarning",
    "WordVectorTransformer",
    "feature_store",
]
