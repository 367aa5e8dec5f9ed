"""Transfer learning with scikit-learn's own interface.

Every public name can be imported from here; the module that holds it is imported when the
name is first used, so that importing the package imports neither torch nor a solver.
"""

from importlib import import_module as _import_module

__version__ = "0.1.0"

_MODULES = {
    "skltransfer.backbones": ("Backbone", "Preprocessing", "list_backbones", "load_backbone"),
    "skltransfer.domains": (
        "DomainDataWarning",
        "WithSource",
        "WithTarget",
        "split_domains",
        "stack_domains",
    ),
    "skltransfer.feature": (
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
    ),
    "skltransfer.inspection": ("DomainShiftDisplay", "SampleWeightDisplay"),
    "skltransfer.instance": (
        "DiscriminativeReweighter",
        "EffectiveSampleSizeWarning",
        "GaussianReweighter",
        "KLIEPReweighter",
        "KMMReweighter",
        "KernelDensityReweighter",
        "LabelShiftReweighter",
        "NearestNeighborsReweighter",
        "PooledEstimator",
        "SourceSelector",
        "TrAdaBoostClassifier",
        "TrAdaBoostRegressor",
        "TwoStageTrAdaBoostRegressor",
        "ULSIFReweighter",
    ),
    "skltransfer.parameter": (
        "FineTunedClassifier",
        "FineTunedRegressor",
        "MultiTaskClassifier",
        "MultiTaskRegressor",
        "RegularizedTransferClassifier",
        "RegularizedTransferRegressor",
        "TransferLogisticRegression",
        "TransferLogisticRegressionCV",
        "TransferRidge",
        "TransferRidgeCV",
    ),
    "skltransfer.persistence": ("load", "save"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(["__version__", *_MODULE_OF])


def __getattr__(name):
    if name in _MODULE_OF:
        return getattr(_import_module(_MODULE_OF[name]), name)
    raise AttributeError(f"module 'skltransfer' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
