"""Instance-based transfer: source samples, re-weighted or selected for the target."""

from skltransfer._solvers._kernel_width import KernelWidthWarning
from skltransfer.instance._collapse import EffectiveSampleSizeWarning
from skltransfer.instance._discriminative import DiscriminativeReweighter
from skltransfer.instance._gaussian import GaussianReweighter
from skltransfer.instance._kernel_density import KernelDensityReweighter
from skltransfer.instance._kliep import KLIEPReweighter
from skltransfer.instance._kmm import KMMReweighter
from skltransfer.instance._label_shift import LabelShiftReweighter
from skltransfer.instance._neighbors import NearestNeighborsReweighter
from skltransfer.instance._pooled import PooledEstimator
from skltransfer.instance._source_selector import SourceSelector
from skltransfer.instance._tradaboost import TrAdaBoostClassifier
from skltransfer.instance._tradaboost_regressor import (
    TrAdaBoostRegressor,
    TwoStageTrAdaBoostRegressor,
)
from skltransfer.instance._ulsif import ULSIFReweighter

__all__ = [
    "DiscriminativeReweighter",
    "EffectiveSampleSizeWarning",
    "GaussianReweighter",
    "KLIEPReweighter",
    "KMMReweighter",
    "KernelDensityReweighter",
    "KernelWidthWarning",
    "LabelShiftReweighter",
    "NearestNeighborsReweighter",
    "PooledEstimator",
    "SourceSelector",
    "TrAdaBoostClassifier",
    "TrAdaBoostRegressor",
    "TwoStageTrAdaBoostRegressor",
    "ULSIFReweighter",
]
