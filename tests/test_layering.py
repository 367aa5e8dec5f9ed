"""Who may import whom, and what importing the package does not do."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import skltransfer

PACKAGE = Path(skltransfer.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FAMILIES = ("instance", "feature", "parameter", "relation")
# A part may import from parts of a lower rank, and from itself.
RANK = {
    "_arrays": -1,
    "_documentation": -1,
    "_files": -1,
    "_messages": -1,
    "_locks": -2,
    "_blas": -1,
    "_decorators": -1,
    "_missing": -1,
    "_persisted": -1,
    "_processes": -1,
    "_shared_cache": -1,
    "_parameters": 0,
    "_warnings": -1,
    "_table_columns": 0,
    "_texts": 0,
    "_solvers": 0,
    "_torch": 1,
    "domains": 1,
    "datasets": 1,
    "backbones": 2,
    "metrics": 2,
    "_networks": 3,
}
RANK |= dict.fromkeys(FAMILIES, 4) | {"model_selection": 5, "inspection": 5, "distributed": 5}
RANK |= {"persistence": 5, "federated": 5}
RANK |= {"cli": 6, "__main__": 7}
WITHOUT_TORCH = ("_solvers", "instance", "metrics", "domains", "datasets", "model_selection")
WITHOUT_TORCH += ("inspection", "feature", "parameter", "relation", "federated", "distributed")
# Names whose use loads torch; every other public name works without.
NAMES_WITH_TORCH = {
    "Backbone",
    "CDANClassifier",
    "DANClassifier",
    "DANNClassifier",
    "DANNRegressor",
    "DANRegressor",
    "DeepCORALClassifier",
    "DeepCORALRegressor",
    "FineTunedClassifier",
    "FineTunedRegressor",
    "MAMLClassifier",
    "MAMLRegressor",
    "MCCClassifier",
    "Preprocessing",
    "PretrainedFeatureTransformer",
    "PrototypicalClassifier",
    "RegularizedTransferClassifier",
    "RegularizedTransferRegressor",
    "SelfSupervisedTransformer",
    "TruncatedTextWarning",
    "UnreadableImageWarning",
    "ZeroShotClassifier",
    "list_backbones",
    "load",
    "load_backbone",
    "save",
}
NAMES_WITHOUT_TORCH = {
    "AttributionDisplay",
    "BackboneFailureWarning",
    "CORAL",
    "DiscriminativeReweighter",
    "DiskFeatureStore",
    "DomainDataWarning",
    "DomainShiftDisplay",
    "EffectiveSampleSizeWarning",
    "FeatureAugmenter",
    "FeatureStore",
    "FeatureStoreWarning",
    "GaussianReweighter",
    "GeodesicFlowKernel",
    "InContextTransferClassifier",
    "InContextTransferRegressor",
    "JDA",
    "KLIEPReweighter",
    "KMMReweighter",
    "KernelDensityReweighter",
    "KernelWidthWarning",
    "LabelledKFold",
    "LabelledStratifiedKFold",
    "LabelShiftReweighter",
    "MultiTaskClassifier",
    "MultiTaskRegressor",
    "NearestNeighborsReweighter",
    "OptimalTransportMapper",
    "PooledEstimator",
    "SampleWeightDisplay",
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
    "TwoStageTrAdaBoostRegressor",
    "ULSIFReweighter",
    "WithSource",
    "WithTarget",
    "WordCoverageWarning",
    "WordVectorTransformer",
    "__version__",
    "adversarial_examples",
    "circular_validation_scorer",
    "deep_embedded_validation_scorer",
    "feature_store",
    "importance_weighted_scorer",
    "interpolate_weights",
    "prediction_entropy_scorer",
    "rank_backbones",
    "robustness_report",
    "soft_neighborhood_density_scorer",
    "target_scorer",
    "split_domains",
    "stack_domains",
    "MMDTest",
    "coral_distance",
    "effective_sample_size",
    "h_score",
    "leep_score",
    "logme_score",
    "mmd",
    "mmd_test",
    "nce_score",
    "proxy_a_distance",
    "sliced_wasserstein_distance",
    "transrate_score",
    "word_domain_similarity",
}
PARTS = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    part = part_of(path)
    if part == "__init__":
        return
    assert part in RANK, f"{part} has no rank"
    for name in imported_names(ast.parse(path.read_text())):
        pieces = name.split(".")
        if pieces[0] != "skltransfer" or len(pieces) == 1:  # the lazy top level names anything
            continue
        other = pieces[1]
        assert other == part or RANK[other] < RANK[part], f"{part} imports {name}"


def test_every_public_name_is_importable_from_the_top_and_listed():
    for name in skltransfer.__all__:
        assert getattr(skltransfer, name) is not None
        assert name in dir(skltransfer)
    with pytest.raises(AttributeError, match="NoSuchThing"):
        skltransfer.NoSuchThing  # noqa: B018


def test_importing_touches_nothing(tmp_path):
    """No torch, no other configuration, no other random state, no file: parts one by one."""
    modules = [
        "skltransfer",
        *(f"skltransfer.{p}" for p in sorted(PARTS.intersection(WITHOUT_TORCH))),
    ]
    code = f"""
import importlib, sys, numpy, sklearn
config, state = sklearn.get_config(), numpy.random.get_state()[1].copy()
for name in {modules}:
    importlib.import_module(name)
    assert "torch" not in sys.modules, name
    assert sklearn.get_config() == config, name
    assert (numpy.random.get_state()[1] == state).all(), name
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_that_need_no_network_load_no_torch():
    """Importing a name runs its module: for all names of the list in one fresh process."""
    assert set(skltransfer.__all__) == NAMES_WITH_TORCH | NAMES_WITHOUT_TORCH
    assert not NAMES_WITH_TORCH & NAMES_WITHOUT_TORCH
    code = f"""
import sys
import skltransfer
for name in {sorted(NAMES_WITHOUT_TORCH)}:
    getattr(skltransfer, name)
    assert "torch" not in sys.modules, name
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("package", sorted(skltransfer._PUBLIC))
def test_packages_show_the_names_that_the_top_lists(package):
    module = importlib.import_module(f"skltransfer.{package}")
    names = {name for names in skltransfer._PUBLIC[package].values() for name in names}
    assert names <= set(module.__all__) <= set(dir(module))
    assert all(getattr(module, name) is getattr(skltransfer, name) for name in names)
    with pytest.raises(AttributeError, match=f"skltransfer.{package}.*NoSuchThing"):
        module.NoSuchThing  # noqa: B018
