"""Docstrings say what the code does, and the reference lists every public name."""

import importlib
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from numpydoc.docscrape import FunctionDoc
from numpydoc.validate import validate
from sklearn.linear_model import LogisticRegression

import skltransfer
from skltransfer import (
    CORAL,
    JDA,
    TCA,
    DiscriminativeReweighter,
    FeatureAugmenter,
    GaussianReweighter,
    GeodesicFlowKernel,
    KernelDensityReweighter,
    KLIEPReweighter,
    KMMReweighter,
    LabelShiftReweighter,
    NearestNeighborsReweighter,
    OptimalTransportMapper,
    PooledEstimator,
    PretrainedFeatureTransformer,
    SelfSupervisedTransformer,
    SourceSelector,
    SubspaceAlignment,
    TrAdaBoostClassifier,
    TrAdaBoostRegressor,
    TwoStageTrAdaBoostRegressor,
    ULSIFReweighter,
    WithSource,
    WithTarget,
    WordVectorTransformer,
)

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "domains",
    "instance",
    "feature",
    "parameter",
    "relation",
    "backbones",
    "model_selection",
    "inspection",
    "persistence",
    "datasets",
    "cli",
)
# What numpydoc asks for beyond the numpydoc format: where a docstring starts, an extended summary,
# See Also and Examples for every method, and unnamed return values.
IGNORED = {"GL01", "GL02", "GL03", "ES01", "SA01", "SA04", "RT02", "RT03", "RT05", "YD01"}
IGNORED_IN_METHODS = IGNORED | {"EX01"}


def public_names():
    for package in PACKAGES:
        module = importlib.import_module(f"skltransfer.{package}")
        for name in getattr(module, "__all__", ["main"]):
            yield f"skltransfer.{package}.{name}"


def public_methods():
    for full_name in public_names():
        module, _, name = full_name.rpartition(".")
        value = getattr(importlib.import_module(module), name)
        if inspect.isclass(value):
            for method, function in inspect.getmembers(value, callable):
                owner = getattr(function, "__module__", None) or ""
                if not method.startswith("_") and owner.startswith("skltransfer"):
                    yield f"{full_name}.{method}"


@pytest.mark.parametrize("name", sorted(public_names()))
def test_public_names_are_documented(name):
    module, _, attribute = name.rpartition(".")
    value = getattr(importlib.import_module(module), attribute)
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        name = f"{type(value).__module__}.{type(value).__name__}"
    problems = [(code, text) for code, text in validate(name)["errors"] if code not in IGNORED]
    assert not problems


@pytest.mark.parametrize("name", sorted(public_methods()))
def test_public_methods_are_documented(name):
    errors = validate(name)["errors"]
    assert not [(code, text) for code, text in errors if code not in IGNORED_IN_METHODS]


def fitted_estimators():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pandas.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"])
    X_target = pandas.DataFrame(rng.normal(size=(20, 2)), columns=["a", "b"])
    y, y_target = (X["a"] > 0).to_numpy().astype(int), np.arange(20) % 2
    kmm = KMMReweighter(LogisticRegression())
    yield kmm.fit(X, y, X_target=X_target)
    yield PooledEstimator(LogisticRegression()).fit(X, y, X_target=X_target, y_target=y_target)
    yield WithTarget(KMMReweighter(LogisticRegression()), X_target).fit(X, y)
    yield WithSource(KMMReweighter(LogisticRegression()), X, y).fit(X_target)
    yield PretrainedFeatureTransformer().fit(X)
    for aligner in (CORAL(), FeatureAugmenter(), GeodesicFlowKernel(1), SubspaceAlignment(1)):
        yield aligner.fit(X, X_target=X_target)
    yield OptimalTransportMapper().fit(X, X_target=X_target)
    yield SelfSupervisedTransformer(max_epochs=2).fit(X)
    yield OptimalTransportMapper().fit(X, X_target=X_target)
    for aligner in (CORAL(), FeatureAugmenter(), GeodesicFlowKernel(1), SubspaceAlignment(1)):
        yield aligner.fit(X, X_target=X_target)
    yield WordVectorTransformer({"a": [1.0]}).fit(pandas.DataFrame({"text": ["a", "a b"]}))
    for kind in (
        KLIEPReweighter,
        ULSIFReweighter,
        DiscriminativeReweighter,
        NearestNeighborsReweighter,
        GaussianReweighter,
        KernelDensityReweighter,
        LabelShiftReweighter,
        SourceSelector,
    ):
        yield kind(LogisticRegression()).fit(X, y, X_target=X_target)
    yield TCA(kernel="rbf").fit(X, X_target=X_target)
    known = {"X_target": X_target, "y_target": y_target}
    yield JDA().fit(X, y, **known)
    for booster in (
        TrAdaBoostClassifier(n_estimators=3),
        TrAdaBoostRegressor(n_estimators=3),
        TwoStageTrAdaBoostRegressor(n_estimators=2, n_steps=2, cv=2),
    ):
        yield booster.fit(X, y, **known)


@pytest.mark.parametrize("estimator", list(fitted_estimators()), ids=lambda e: type(e).__name__)
def test_documented_attributes_are_those_that_fit_sets(estimator):
    documented = {parameter.name for parameter in FunctionDoc(type(estimator))["Attributes"]}
    fitted = {name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")}
    assert documented == fitted


def test_the_reference_lists_every_public_name():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from api_reference import SECTIONS, reference
    finally:
        sys.path.remove(str(ROOT / "docs"))
    text = reference()
    for name in public_names():
        package, _, short = name.rpartition(".")
        assert package in SECTIONS
        assert f"   {short}\n" in text
    assert {f"skltransfer.{p}" for p in PACKAGES} == set(SECTIONS)
    for name in set(skltransfer.__all__) - {"__version__"}:
        assert f"   {name}\n" in text


def test_every_public_name_is_importable_from_the_top_or_its_package():
    """Estimators, and what one needs beside them, from the top; helpers from their package."""
    from_the_top = set(skltransfer.__all__)
    for package in ("domains", "instance", "feature", "parameter", "backbones"):
        module = importlib.import_module(f"skltransfer.{package}")
        assert set(module.__all__) <= from_the_top


CARD_SECTIONS = {
    "digits": "**digits",
    "mnist": "**MNIST",
    "usps": "**USPS",
    "cifar": "**CIFAR-10",
    "hymenoptera": "**Ants and bees",
    "omniglot": "**Omniglot",
}
CARD_ROWS = {
    "raw pixels": "raw pixels",
    "HOG": "HOG",
    "random weights": "same network, random weights",
    "random weights, calibrated": "same network, random weights, BatchNorm calibrated",
    "tiny, seed 0": "**`tiny`** (seed 0, embedded)",
    "tiny, seed 1": "the same recipe, seed 1",
}


@pytest.mark.parametrize("data", CARD_SECTIONS)
def test_the_card_of_tiny_shows_what_its_script_measured(data):
    record = json.loads((ROOT / "benchmarks" / "probe_tiny.json").read_text())
    card = (ROOT / "docs" / "tiny.md").read_text()
    table = card[card.index(CARD_SECTIONS[data]) :].split("\n\n", 2)[1]
    for name, label in CARD_ROWS.items():
        cells = [
            f"{s['mean']:.1f}" + (f" ± {s['std']:.1f}" if shots != "all" else "")
            for shots, s in record["accuracy"][name][data].items()
        ]
        assert "| " + " | ".join([label, *cells]) + " |" in table
