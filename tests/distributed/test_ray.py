"""Searches and extraction on a Ray cluster of two workers on this machine."""

import pytest

from tests.distributed import ray_checks
from tests.distributed.checks import names_of, results_of


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    return results_of(ray_checks, folder, RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")


@pytest.mark.parametrize("check", names_of(ray_checks))
def test_on_two_workers(results, check):
    assert not results[check], results[check]
