"""Docstrings say what the code does, and the reference lists every public name."""

import hashlib
import importlib
import inspect
import json
import pkgutil
import sys
from pathlib import Path

import numpy as np
import pytest
from numpydoc.docscrape import FunctionDoc
from numpydoc.validate import validate
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression

import skltransfer
from skltransfer import KMMReweighter, load_backbone
from skltransfer.backbones._packaged import PACKAGED, packaged_path
from skltransfer.domains._routing import consumed_keywords
from tests.packaged import needs_networks

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sorted(
    module.name
    for module in pkgutil.iter_modules(skltransfer.__path__)
    if module.ispkg and not module.name.startswith("_")
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


def public_estimators():
    values = (getattr(skltransfer, name) for name in skltransfer.__all__)
    return [v for v in values if inspect.isclass(v) and issubclass(v, BaseEstimator)]


# Parameters beside those that make every fit short.
SETTINGS = {
    "GeodesicFlowKernel": {"n_components": 1},
    "PooledEstimator": {"estimator": LogisticRegression()},
    "SourceScoreTransformer": {"source": LogisticRegression()},
    "SourceSelector": {"estimator": LogisticRegression()},
    "TCA": {"kernel": "rbf"},
    "TwoStageTrAdaBoostRegressor": {"n_steps": 2, "cv": 2},
    "SubspaceAlignment": {"n_components": 1},
    "WithSource": {"estimator": KMMReweighter(LogisticRegression())},
    "WithTarget": {"estimator": KMMReweighter(LogisticRegression())},
    "WordVectorTransformer": {"vectors": {"a": [1.0]}},
}
SHORT = {"max_epochs": 2, "n_estimators": 3, "episodes_per_epoch": 1}


def fitted(kind):
    """Return fitted estimators of a class that have, together, all the attributes they can have."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    X = pandas.DataFrame(rng.normal(size=(30, 2)), columns=["a", "b"])
    target = {
        "X_target": pandas.DataFrame(rng.normal(size=(20, 2)), columns=["a", "b"]),
        "y_target": np.arange(20) % 2,
    }
    y = (X["a"] > 0).to_numpy().astype(int)
    name, parameters = kind.__name__, inspect.signature(kind).parameters
    estimator = kind(
        **{key: value for key, value in SHORT.items() if key in parameters}
        | ({"estimator": LogisticRegression()} if name.endswith("Reweighter") else {})
        | SETTINGS.get(name, {})
    )
    if name == "SourceScoreTransformer":
        estimator.source.fit(X, y)
    if name == "WithSource":
        return [estimator.set_params(X_source=X, y_source=y).fit(target["X_target"])]
    if name == "WithTarget":
        return [estimator.set_params(X_target=target["X_target"]).fit(X, y)]
    if name == "WordVectorTransformer":
        return [estimator.fit(pandas.DataFrame({"text": ["a", "a b"]}))]
    if "task_weight" in parameters:
        network = clone(estimator).set_params(method="network", task_weight="uncertainty")
        return [each.fit(X, np.column_stack([y, 1 - y])) for each in (estimator, network)]
    known = {key: target[key] for key in consumed_keywords(estimator, "fit")}
    return [estimator.fit(X, y, **known)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", public_estimators(), ids=lambda kind: kind.__name__)
def test_documented_attributes_are_those_that_fit_sets(kind):
    documented = {parameter.name for parameter in FunctionDoc(kind)["Attributes"]}
    names = {name for estimator in fitted(kind) for name in vars(estimator)}
    names |= {name for name in documented if isinstance(getattr(kind, name, None), property)}
    assert documented == {n for n in names if n.endswith("_") and not n.startswith("_")}


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
    record = json.loads((ROOT / "benchmarks" / "recipes" / "tiny" / "probe.json").read_text())
    card = (ROOT / "docs" / "tiny.md").read_text()
    table = card[card.index(CARD_SECTIONS[data]) :].split("\n\n", 2)[1]
    for name, label in CARD_ROWS.items():
        cells = [
            f"{s['mean']:.1f}" + (f" ± {s['std']:.1f}" if shots != "all" else "")
            for shots, s in record["accuracy"][name][data].items()
        ]
        assert "| " + " | ".join([label, *cells]) + " |" in table


NETWORK_ROWS = {
    "pixels": "pixels at 32 x 32",
    "tiny": "`tiny`, frozen",
    "random": "the same network with random weights, frozen",
    "frozen": "**`efficientnet_lite0`**, frozen",
    "frozen, 96 pixels": "the same, at 96 pixels",
    "LP-FT, 96 pixels": "the same, fine-tuned (`lp_ft`), at 96 pixels",
    "target only, 96 pixels": ("the same architecture, trained on the target alone, at 96 pixels"),
}


def test_the_card_of_the_networks_shows_what_their_script_measured():
    record = json.loads((ROOT / "benchmarks" / "accuracy" / "networks.json").read_text())
    card = (ROOT / "docs" / "networks.md").read_text()
    for name, label in NETWORK_ROWS.items():
        found = [by_method.get(name) for by_method in record["means"].values()]
        cells = [f and f"{f['mean']:.1f} ({f['low']:.1f} to {f['high']:.1f})" for f in found]
        assert "| " + " | ".join([label, *(cell or "" for cell in cells)]) + " |" in card
    assert f"Frozen features reach {record['published']['frozen']:.1f} %" in card
    assert sum(score < 94 for score in record["splits"]["all"]["frozen"]) == 1


@needs_networks
def test_the_card_of_the_networks_names_their_sizes_and_sums():
    card = (ROOT / "docs" / "networks.md").read_text()
    files = packaged_path("efficientnet_lite0"), packaged_path("minilm") / "model.safetensors"
    for path in files:
        assert f"{path.stat().st_size:,} bytes" in card
        assert hashlib.sha256(path.read_bytes()).hexdigest() in card
        assert f"`{path.name}`" in card
    for name in PACKAGED:
        module = load_backbone(name, weights=None).module
        assert f"{sum(p.numel() for p in module.parameters()):,}" in card


def test_the_page_of_families_names_every_estimator():
    page = (ROOT / "docs" / "families.md").read_text()
    for name in set(skltransfer.__all__) - {"__version__"}:
        if hasattr(getattr(skltransfer, name), "fit"):
            assert f"`{name}`" in page


ATTACKS = [
    *("none", "noise", "fgsm", "pgd", "pgd on public weights, linear probe"),
    *("pgd on public weights, fine-tuned", "pgd on random weights"),
]


def test_the_page_on_security_shows_what_its_scripts_measured():
    page = (ROOT / "docs" / "guide" / "security.md").read_text()
    folder = ROOT / "benchmarks" / "robustness"
    for row in json.loads((folder / "attacks.json").read_text())["rows"]:
        cells = [f"{row[attack]['accuracy']['mean']:.1f}" for attack in ATTACKS]
        line = "| " + " | ".join([row["victim"], *cells]) + " |"
        assert (line in page) == (row["epsilon"] == 0.1)
    rows = json.loads((folder / "flipped_labels.json").read_text())["rows"]
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        alone = own[0]["target only"]["accuracy"]["mean"]
        table = page[page.index(f"*{task}* (target only: {alone:.1f} %") :].split("\n\n", 2)[1]
        names = [name for name, value in own[0].items() if isinstance(value, dict)]
        for name in names:
            if name == "target only":
                continue
            gains = [row[name]["gain"] for row in own]
            cells = [f"{g['mean']:+.1f} ± {(g['high'] - g['low']) / 2:.1f}" for g in gains]
            assert "| " + " | ".join([name, *cells]) + " |" in table
    wrong = [row for row in rows if (row["flips"], row["share"]) == ("targeted", 0.4)]
    for name in ["target only", *(name for name in names if name != "target only")]:
        recalls = [f"{row[name]['recall']['mean']:.1f}" for row in wrong]
        assert "| " + " | ".join([name, *recalls]) + " |" in page
