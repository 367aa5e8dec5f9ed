from skltransfer._solvers._kernel_width import KernelWidthWarning
from skltransfer._torch._disk_store import DiskFeatureStore, FeatureStoreWarning
from skltransfer._torch._images import UnreadableImageWarning
from skltransfer._torch._store import FeatureStore, feature_store
from skltransfer._torch._text import TruncatedTextWarning
from skltransfer.backbones import Backbone, Preprocessing, list_backbones, load_backbone
from skltransfer.domains import (
    DomainDataWarning,
    WithSource,
    WithTarget,
    split_domains,
    stack_domains,
)
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
from skltransfer.inspection import (
    AttributionDisplay,
    DomainShiftDisplay,
    SampleWeightDisplay,
    TrainingDisplay,
    adversarial_examples,
    robustness_report,
)
from skltransfer.instance import (
    DiscriminativeReweighter,
    EffectiveSampleSizeWarning,
    GaussianReweighter,
    KernelDensityReweighter,
    KLIEPReweighter,
    KMMReweighter,
    LabelShiftReweighter,
    NearestNeighborsReweighter,
    PooledEstimator,
    SourceSelector,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    TwoStageTrAdaBoostRegressor,
    ULSIFReweighter,
)
from skltransfer.metrics._domain_distances import (
    coral_distance,
    effective_sample_size,
    proxy_a_distance,
    sliced_wasserstein_distance,
    word_domain_similarity,
)
from skltransfer.metrics._mmd import MMDTest, mmd, mmd_test
from skltransfer.metrics._transferability import (
    h_score,
    leep_score,
    logme_score,
    nce_score,
    transrate_score,
)
from skltransfer.model_selection import (
    BackboneFailureWarning,
    LabelledKFold,
    LabelledStratifiedKFold,
    circular_validation_scorer,
    deep_embedded_validation_scorer,
    importance_weighted_scorer,
    prediction_entropy_scorer,
    rank_backbones,
    soft_neighborhood_density_scorer,
    target_scorer,
)
from skltransfer.model_selection._transfer import TransferClassifier, TransferRegressor
from skltransfer.parameter._fine_tuned import FineTunedClassifier, FineTunedRegressor
from skltransfer.parameter._interpolation import interpolate_weights
from skltransfer.parameter._logistic import TransferLogisticRegression, TransferLogisticRegressionCV
from skltransfer.parameter._multitask_classifier import MultiTaskClassifier
from skltransfer.parameter._multitask_regressor import MultiTaskRegressor
from skltransfer.parameter._regularized import (
    RegularizedTransferClassifier,
    RegularizedTransferRegressor,
)
from skltransfer.parameter._ridge import TransferRidge, TransferRidgeCV
from skltransfer.persistence import load, save
from skltransfer.relation._adversarial import CDANClassifier, DANNClassifier, DANNRegressor
from skltransfer.relation._class_confusion import MCCClassifier
from skltransfer.relation._discrepancy import (
    DANClassifier,
    DANRegressor,
    DeepCORALClassifier,
    DeepCORALRegressor,
)
from skltransfer.relation._in_context import InContextTransferClassifier, InContextTransferRegressor
from skltransfer.relation._maml import MAMLClassifier, MAMLRegressor
from skltransfer.relation._prototypical import PrototypicalClassifier

__version__: str
__all__ = [
    "AttributionDisplay",
    "Backbone",
    "BackboneFailureWarning",
    "CDANClassifier",
    "CORAL",
    "DANClassifier",
    "DANNClassifier",
    "DANNRegressor",
    "DANRegressor",
    "DeepCORALClassifier",
    "DeepCORALRegressor",
    "DiscriminativeReweighter",
    "DiskFeatureStore",
    "DomainDataWarning",
    "DomainShiftDisplay",
    "EffectiveSampleSizeWarning",
    "FeatureAugmenter",
    "FeatureStore",
    "FeatureStoreWarning",
    "FineTunedClassifier",
    "FineTunedRegressor",
    "GaussianReweighter",
    "GeodesicFlowKernel",
    "InContextTransferClassifier",
    "InContextTransferRegressor",
    "JDA",
    "KLIEPReweighter",
    "KMMReweighter",
    "KernelDensityReweighter",
    "KernelWidthWarning",
    "LabelShiftReweighter",
    "LabelledKFold",
    "LabelledStratifiedKFold",
    "MAMLClassifier",
    "MAMLRegressor",
    "MCCClassifier",
    "MMDTest",
    "MultiTaskClassifier",
    "MultiTaskRegressor",
    "NearestNeighborsReweighter",
    "OptimalTransportMapper",
    "PooledEstimator",
    "Preprocessing",
    "PretrainedFeatureTransformer",
    "PrototypicalClassifier",
    "RegularizedTransferClassifier",
    "RegularizedTransferRegressor",
    "SampleWeightDisplay",
    "SelfSupervisedTransformer",
    "SourceScoreTransformer",
    "SourceSelector",
    "SpectrogramTransformer",
    "SubspaceAlignment",
    "TCA",
    "TrAdaBoostClassifier",
    "TrAdaBoostRegressor",
    "TrainingDisplay",
    "TransferClassifier",
    "TransferLogisticRegression",
    "TransferLogisticRegressionCV",
    "TransferRegressor",
    "TransferRidge",
    "TransferRidgeCV",
    "TruncatedTextWarning",
    "TwoStageTrAdaBoostRegressor",
    "ULSIFReweighter",
    "UnreadableImageWarning",
    "WithSource",
    "WithTarget",
    "WordCoverageWarning",
    "WordVectorTransformer",
    "ZeroShotClassifier",
    "__version__",
    "adversarial_examples",
    "circular_validation_scorer",
    "coral_distance",
    "deep_embedded_validation_scorer",
    "effective_sample_size",
    "feature_store",
    "h_score",
    "importance_weighted_scorer",
    "interpolate_weights",
    "leep_score",
    "list_backbones",
    "load",
    "load_backbone",
    "logme_score",
    "mmd",
    "mmd_test",
    "nce_score",
    "prediction_entropy_scorer",
    "proxy_a_distance",
    "rank_backbones",
    "robustness_report",
    "save",
    "sliced_wasserstein_distance",
    "soft_neighborhood_density_scorer",
    "split_domains",
    "stack_domains",
    "target_scorer",
    "transrate_score",
    "word_domain_similarity",
]
