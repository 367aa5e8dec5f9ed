"""A mark for tests of the networks that are packages."""

import pytest

from skltransfer.backbones._packaged import PACKAGED, is_installed

needs_networks = pytest.mark.skipif(
    not all(map(is_installed, PACKAGED)), reason="the extra networks is not installed"
)
