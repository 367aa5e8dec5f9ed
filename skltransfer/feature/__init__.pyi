from skltransfer._torch._disk_store import DiskFeatureStore, FeatureStoreWarning
from skltransfer._torch._images import UnreadableImageWarning
from skltransfer._torch._store import FeatureStore, feature_store
from skltransfer._torch._text import TruncatedTextWarning
from skltransfer.feature._augmenter import FeatureAugmenter
from skltransfer.feature._coral import CORAL
from skltransfer.feature._jda import JDA
from skltransfer.feature._optimal_transport import OptimalTransportMapper
from skltransfer.feature._pretrained import PretrainedFeatureTransformer
from skltransfer.feature._self_supervised import SelfSupervisedTransformer
from skltransfer.feature._source_score import SourceScoreTransformer
from skltransfer.feature._spectrogram import SpectrogramTransformer
from skltransfer.feature._subspaces import GeodesicFlowKernel, SubspaceAlignment
from skltransfer.feature._tca import TCA
from skltransfer.feature._word_vector_transformer import WordCoverageWarning, WordVectorTransformer
from skltransfer.feature._zero_shot import ZeroShotClassifier

__all__ = [
    "CORAL",
    "DiskFeatureStore",
    "FeatureAugmenter",
    "FeatureStore",
    "FeatureStoreWarning",
    "GeodesicFlowKernel",
    "JDA",
    "OptimalTransportMapper",
    "PretrainedFeatureTransformer",
    "SelfSupervisedTransformer",
    "SourceScoreTransformer",
    "SpectrogramTransformer",
    "SubspaceAlignment",
    "TCA",
    "TruncatedTextWarning",
    "UnreadableImageWarning",
    "WordCoverageWarning",
    "WordVectorTransformer",
    "ZeroShotClassifier",
    "feature_store",
]
