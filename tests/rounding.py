"""Equality up to rounding: only passes of one shape on one machine have equal bits."""

import numpy as np

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def assert_within_rounding(found, expected, tolerance=None):
    """Compare by the tolerance of the dtype, relative to each number and to the largest one."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype
    rtol = TOLERANCE[found.dtype.name] if tolerance is None else tolerance
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.nanmax(np.abs(expected)))
