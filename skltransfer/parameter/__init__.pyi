from skltransfer.parameter._fine_tuned import FineTunedClassifier, FineTunedRegressor
from skltransfer.parameter._interpolation import interpolate_weights
from skltransfer.parameter._logistic import TransferLogisticRegression, TransferLogisticRegressionCV
from skltransfer.parameter._multitask_classifier import MultiTaskClassifier
from skltransfer.parameter._multitask_regressor import MultiTaskRegressor
from skltransfer.parameter._regularized import (
    RegularizedTransferClassifier,
    RegularizedTransferRegressor,
)
from skltransfer.parameter._ridge import TransferRidge, TransferRidgeCV

__all__ = [
    "FineTunedClassifier",
    "FineTunedRegressor",
    "MultiTaskClassifier",
    "MultiTaskRegressor",
    "RegularizedTransferClassifier",
    "RegularizedTransferRegressor",
    "TransferLogisticRegression",
    "TransferLogisticRegressionCV",
    "TransferRidge",
    "TransferRidgeCV",
    "interpolate_weights",
]
