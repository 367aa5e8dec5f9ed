from skltransfer.relation._adversarial import CDANClassifier, DANNClassifier, DANNRegressor
from skltransfer.relation._class_confusion import MCCClassifier
from skltransfer.relation._discrepancy import (
    DANClassifier,
    DANRegressor,
    DeepCORALClassifier,
    DeepCORALRegressor,
)
from skltransfer.relation._in_context import InContextTransferClassifier, InContextTransferRegressor
from skltransfer.relation._maml import MAMLClassifier, MAMLRegressor
from skltransfer.relation._prototypical import PrototypicalClassifier

__all__ = [
    "CDANClassifier",
    "DANClassifier",
    "DANNClassifier",
    "DANNRegressor",
    "DANRegressor",
    "DeepCORALClassifier",
    "DeepCORALRegressor",
    "InContextTransferClassifier",
    "InContextTransferRegressor",
    "MAMLClassifier",
    "MAMLRegressor",
    "MCCClassifier",
    "PrototypicalClassifier",
]
