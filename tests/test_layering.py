"""Who may import whom, and what importing the package does not do."""

import ast
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
    "_options": 0,
    "_spelling": 0,
    "_texts": 0,
    "_solvers": 0,
    "_torch": 1,
    "domains": 1,
    "metrics": 1,
    "datasets": 1,
    "backbones": 2,
}
RANK |= dict.fromkeys(FAMILIES, 3) | {"model_selection": 4, "inspection": 4, "distributed": 4}
RANK |= {"persistence": 4}
RANK |= {"cli": 5}
WITHOUT_TORCH = ("_solvers", "instance", "metrics", "domains", "datasets", "model_selection")
WITHOUT_TORCH += ("inspection",)
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


@pytest.mark.parametrize("part", sorted({"", *WITHOUT_TORCH} & {"", *PARTS}))
def test_importing_touches_nothing(part, tmp_path):
    """No torch, no other configuration, no other random state, no file."""
    module = f"skltransfer.{part}".rstrip(".")
    code = f"""
import sys, numpy, sklearn
config, state = sklearn.get_config(), numpy.random.get_state()[1].copy()
import {module}
assert "torch" not in sys.modules
assert sklearn.get_config() == config
assert (numpy.random.get_state()[1] == state).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert not list(tmp_path.iterdir())
