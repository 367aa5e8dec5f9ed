"""Instance-based transfer: source rows, re-weighted for the target."""

from skltransfer.instance._kmm import KMMReweighter
from skltransfer.instance._pooled import PooledEstimator

__all__ = ["KMMReweighter", "PooledEstimator"]
