"""Transfer learning with scikit-learn's own interface.

Estimators, displays, metrics and scorers can be imported from here. The module that defines a name
is imported when the name is first used, so that importing the package imports neither torch nor a
solver.
"""

from importlib import import_module as _import_module

__version__ = "0.1.0"

# Package that shows the names, module that defines them, names.
_PUBLIC = {
    "backbones": {
        "backbones": ("Backbone", "Preprocessing", "list_backbones", "load_backbone"),
    },
    "domains": {
        "domains": (
            "DomainDataWarning",
            "WithSource",
            "WithTarget",
            "split_domains",
            "stack_domains",
        ),
    },
    "feature": {
        "_torch._images": ("UnreadableImageWarning",),
        "_torch._text": ("TruncatedTextWarning",),
        "_torch._store": ("FeatureStore", "feature_store"),
        "_torch._disk_store": ("DiskFeatureStore", "FeatureStoreWarning"),
        "feature._augmenter": ("FeatureAugmenter",),
        "feature._coral": ("CORAL",),
        "feature._jda": ("JDA",),
        "feature._optimal_transport": ("OptimalTransportMapper",),
        "feature._pretrained": ("PretrainedFeatureTransformer",),
        "feature._self_supervised": ("SelfSupervisedTransformer",),
        "feature._source_score": ("SourceScoreTransformer",),
        "feature._subspaces": ("GeodesicFlowKernel", "SubspaceAlignment"),
        "feature._tca": ("TCA",),
        "feature._spectrogram": ("SpectrogramTransformer",),
        "feature._word_vector_transformer": ("WordCoverageWarning", "WordVectorTransformer"),
        "feature._zero_shot": ("ZeroShotClassifier",),
    },
    "inspection": {
        "inspection": (
            "AttributionDisplay",
            "DomainShiftDisplay",
            "SampleWeightDisplay",
            "TrainingDisplay",
            "adversarial_examples",
            "robustness_report",
        ),
    },
    "instance": {
        "_solvers._kernel_width": ("KernelWidthWarning",),
        "instance": (
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
    },
    "metrics": {
        "metrics._domain_distances": (
            "coral_distance",
            "effective_sample_size",
            "proxy_a_distance",
            "sliced_wasserstein_distance",
            "word_domain_similarity",
        ),
        "metrics._mmd": ("MMDTest", "mmd", "mmd_test"),
        "metrics._transferability": (
            "h_score",
            "leep_score",
            "logme_score",
            "nce_score",
            "transrate_score",
        ),
    },
    "model_selection": {
        "model_selection._transfer": ("TransferClassifier", "TransferRegressor"),
        "model_selection": (
            "BackboneFailureWarning",
            "LabelledKFold",
            "LabelledStratifiedKFold",
            "circular_validation_scorer",
            "deep_embedded_validation_scorer",
            "importance_weighted_scorer",
            "prediction_entropy_scorer",
            "rank_backbones",
            "soft_neighborhood_density_scorer",
            "target_scorer",
        ),
    },
    "parameter": {
        "parameter._fine_tuned": ("FineTunedClassifier", "FineTunedRegressor"),
        "parameter._interpolation": ("interpolate_weights",),
        "parameter._logistic": ("TransferLogisticRegression", "TransferLogisticRegressionCV"),
        "parameter._multitask_classifier": ("MultiTaskClassifier",),
        "parameter._multitask_regressor": ("MultiTaskRegressor",),
        "parameter._regularized": (
            "RegularizedTransferClassifier",
            "RegularizedTransferRegressor",
        ),
        "parameter._ridge": ("TransferRidge", "TransferRidgeCV"),
    },
    "persistence": {
        "persistence": ("load", "save"),
    },
    "relation": {
        "relation._adversarial": ("CDANClassifier", "DANNClassifier", "DANNRegressor"),
        "relation._class_confusion": ("MCCClassifier",),
        "relation._discrepancy": (
            "DANClassifier",
            "DANRegressor",
            "DeepCORALClassifier",
            "DeepCORALRegressor",
        ),
        "relation._in_context": ("InContextTransferClassifier", "InContextTransferRegressor"),
        "relation._maml": ("MAMLClassifier", "MAMLRegressor"),
        "relation._prototypical": ("PrototypicalClassifier",),
    },
}


def _face(package=None):
    """Return ``__all__``, ``__getattr__`` and ``__dir__`` of the top or of one package."""
    shown = _PUBLIC if package is None else {package: _PUBLIC[package]}
    module_of = {
        name: f"{__name__}.{module}"
        for modules in shown.values()
        for module, names in modules.items()
        for name in names
    }
    owner = ".".join(filter(None, (__name__, package)))
    names = sorted(module_of)

    def resolve(name):
        if name in module_of:
            return getattr(_import_module(module_of[name]), name)
        raise AttributeError(f"module {owner!r} has no attribute {name!r}")

    def list_names():
        return sorted({*vars(_import_module(owner)), *names})

    return names, resolve, list_names


__all__, __getattr__, __dir__ = _face()
__all__ = ["__version__", *__all__]
