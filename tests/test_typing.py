"""Type checkers and editors see every public name, its parameters and what a fit returns."""

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skltransfer
from tests.stubs import stubs

ROOT = Path(skltransfer.__file__).parents[1]
SHOWN = [
    ("skltransfer", sorted(set(skltransfer.__all__) - {"__version__"})),
    *(
        (f"skltransfer.{package}", sorted(name for names in modules.values() for name in names))
        for package, modules in skltransfer._PUBLIC.items()
    ),
]
CLASSES = [
    name
    for name in SHOWN[0][1]
    if inspect.isclass(value := getattr(skltransfer, name)) and not issubclass(value, Warning)
]
# How the names are used: other values than the defaults have other types, and a fit is a chain.
USE = """
from numpy.random import RandomState
from sklearn.linear_model import LogisticRegression
from skltransfer import (
    CORAL, DANNClassifier, FineTunedClassifier, KMMReweighter, PrototypicalClassifier,
    TransferLogisticRegression, TransferRidge, WithSource, WithTarget, load_backbone,
)

X, y = [[0.0], [1.0]], [0, 1]
kmm: KMMReweighter = KMMReweighter(
    LogisticRegression(), kernel=lambda a, b: a @ b.T, gamma=0.5, target_weight="balanced"
).fit(X, y, X_target=X)
kmm.predict(X)
held: WithTarget = WithTarget(kmm, X_target=X).fit(X, y)
pooled: WithSource = WithSource(kmm, X_source=X, y_source=y).fit(X, y)
held.score(X, y)
tuned: FineTunedClassifier = FineTunedClassifier(
    "tiny", max_epochs=3, lr=1e-3, random_state=RandomState(0), hidden_layer_sizes=(8, 8)
).fit(X, y).partial_fit(X, y)
dann: DANNClassifier = DANNClassifier(trade_off=2).fit(X, y, X_target=X)
few: PrototypicalClassifier = PrototypicalClassifier(n_way=2).fit(X, y)
ridge: TransferRidge = TransferRidge(alpha=0.1).fit(X, y, X_target=X, y_target=y)
logistic: TransferLogisticRegression = TransferLogisticRegression().fit(X, y)
coral: CORAL = CORAL().fit(X, X_target=X)
load_backbone("tiny").name
"""
# One mistake a line.
MISUSE = """
from skltransfer import KMMReweigter
from skltransfer.feature import CORALL
KMMReweighter(max_weigth=3)
KMMReweighter().fit(X, y, X_traget=X)
WithTarget(KMMReweighter(), X_target=X).score()
KMMReweighter().fit(X, y, X_target=X).predcit(X)
"""


def test_stubs_show_the_names_of_the_table():
    for path, text in stubs().items():
        assert path.read_text(encoding="utf-8") == text, "run python -m tests.stubs"


@pytest.fixture(scope="module")
def snippets(tmp_path_factory):
    """Write three modules, and return their folder and the names that have an error per line."""
    folder = tmp_path_factory.mktemp("typing")
    imports = [f"from {module} import {name}" for module, names in SHOWN for name in names]
    (folder / "right.py").write_text("\n".join(imports) + USE)
    wrong_names = [f"from {module} import {name}_" for module, names in SHOWN for name in names]
    (folder / "wrong_names.py").write_text("\n".join(wrong_names) + "\n")
    wrong_arguments = [f"{name}(no_such_parameter=1)" for name in CLASSES]
    (folder / "wrong_arguments.py").write_text(
        "\n".join([*imports, *wrong_arguments, USE]) + MISUSE
    )
    lines = (folder / "wrong_arguments.py").read_text().splitlines()
    first = len(imports) + 1
    misuse = lines.index("from skltransfer import KMMReweigter") + 1
    expected = {
        "right.py": set(),
        "wrong_names.py": set(range(1, len(wrong_names) + 1)),
        "wrong_arguments.py": {*range(first, first + len(CLASSES)), *range(misuse, len(lines) + 1)},
    }
    return folder, expected


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}


def lines_of_code(folder, wrong):
    """Return the text of the lines that stand in `wrong`, a set of lines for each file."""
    texts = {file: (folder / file).read_text().splitlines() for file in wrong}
    return {f"{file}: {texts[file][n - 1]}" for file, numbers in wrong.items() for n in numbers}


def has_constructor_of_sklearn(kind):
    """Say whether a class stands on scikit-learn, and no class of ours in it has a constructor."""
    ours = [base for base in kind.__mro__ if base.__module__.startswith("skltransfer")]
    of_sklearn = any(base.__module__.startswith("sklearn") for base in kind.__mro__)
    return of_sklearn and not any("__init__" in vars(base) for base in ours)


def test_mypy_knows_the_public_names(snippets):
    folder, expected = snippets
    # Packages beside ours take most of the time, and tell nothing about it.
    (folder / "mypy.ini").write_text(
        "[mypy]\nfollow_imports = skip\nignore_missing_imports = true\n"
        "[mypy-skltransfer.*]\nfollow_imports = silent\n"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", "cache"]
    done = subprocess.run(
        [*command, *expected],
        cwd=folder,
        env=environment() | {"MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = {file: set() for file in expected}
    for file, line in re.findall(r"^(\w+\.py):(\d+): error", done.stdout, re.MULTILINE):
        found[file].add(int(line))
    # scikit-learn has no types: what a class inherits from it alone may be anything.
    of_sklearn = {
        f"wrong_arguments.py: {name}(no_such_parameter=1)"
        for name in CLASSES
        if has_constructor_of_sklearn(getattr(skltransfer, name))
    }
    of_sklearn.add("wrong_arguments.py: KMMReweighter().fit(X, y, X_target=X).predcit(X)")
    assert lines_of_code(folder, found) == lines_of_code(folder, expected) - of_sklearn


def test_pyright_knows_the_public_names(snippets):
    folder, expected = snippets
    settings = {"include": list(expected), "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    found = {file: set() for file in expected}
    for problem in json.loads(done.stdout)["generalDiagnostics"]:
        if problem["severity"] == "error":
            found[Path(problem["file"]).name].add(problem["range"]["start"]["line"] + 1)
    assert lines_of_code(folder, found) == lines_of_code(folder, expected)


def test_parameters_with_a_default_say_their_type():
    """Without an annotation a checker takes the type of the default for the only one allowed."""
    silent = []
    for module, names in SHOWN:
        for name in names:
            value = getattr(importlib.import_module(module), name)
            if inspect.isclass(value) and issubclass(value, Warning):
                continue
            for function in functions_of(value):
                for parameter in inspect.signature(function).parameters.values():
                    has_default = parameter.default not in (None, parameter.empty)
                    if has_default and parameter.annotation is parameter.empty:
                        silent.append(f"{function.__qualname__}({parameter.name})")
    assert not silent


def functions_of(value):
    """Yield a public function, or the constructor and public methods that we have written."""
    if inspect.isfunction(value):
        yield value
    elif inspect.isclass(value):
        for name in dir(value):
            if name == "__init__" or not name.startswith("_"):
                method = inspect.getattr_static(value, name)
                method = getattr(method, "__func__", getattr(method, "fn", method))
                method = inspect.unwrap(method) if callable(method) else method
                if inspect.isfunction(method) and method.__module__.startswith("skltransfer"):
                    yield method
