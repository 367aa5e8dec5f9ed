"""Continuous integration runs what it says, with the versions that pyproject.toml names."""

import re
import stat
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import skltransfer

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = (".ci/run", ".ci/run-lowest", ".ci/run-wheel")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def jobs():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    return workflow["jobs"]


def test_the_workflow_runs_the_scripts_of_this_repository(jobs):
    steps = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    assert {*SCRIPTS} <= {*steps}
    for script in SCRIPTS:
        assert (ROOT / script).stat().st_mode & stat.S_IXUSR


def test_the_workflow_tests_the_versions_of_python_that_the_package_declares(jobs):
    declared = [
        found[1]
        for text in PROJECT["classifiers"]
        if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", text))
    ]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == declared
    assert PROJECT["requires-python"] == f">={declared[0]}"


def test_the_lowest_versions_are_those_of_the_project():
    lines = (ROOT / ".ci/lowest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    extras, wanted = PROJECT["optional-dependencies"], {}

    def collect(requirements):
        for requirement in map(Requirement, requirements):
            if requirement.name == PROJECT["name"]:
                for extra in requirement.extras:
                    collect(extras[extra])
            else:
                wanted.setdefault(canonicalize_name(requirement.name), []).append(requirement)

    collect([*PROJECT["dependencies"], *extras["test"]])
    for name, requirements in wanted.items():
        bound = max(Version(part.version) for each in requirements for part in each.specifier)
        # The first release of a series may be a later one, such as 3.6.1 for 3.6.
        assert pinned[name] in SpecifierSet(f"=={bound}.*"), f"{name}: write .ci/lowest.txt anew"


def test_the_version_stands_in_one_place():
    assert "version" in PROJECT["dynamic"]
    assert "version" not in PROJECT
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == skltransfer.__version__
