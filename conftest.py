"""Settings that have to stand before numpy, scipy and torch are imported."""

import gc
import os
import sys

# scikit-learn skips its array API checks without this.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
# Two workers on two cores: one thread each.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Give a test one torch thread, and networks that do not depend on the tests before it."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
        torch.manual_seed(0)  # before fixtures of any scope are made


def pytest_collection_finish():
    """Spare the garbage collector what lives as long as the process: modules, and 17 000 tests."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Skip tests that need what is not here: a GPU, or the shared data."""
    from tests.shared_data import SHARED_DATA

    for item in items:
        if item.get_closest_marker("shared") and not (SHARED_DATA / "SHA256SUMS").is_file():
            item.add_marker(pytest.mark.skip(reason="the shared data are absent"))
        if item.get_closest_marker("gpu"):
            import torch

            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
