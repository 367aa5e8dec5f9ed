"""Comparison of transfer strategies on paired draws."""

from skltransfer.model_selection._compare import compare_strategies
from skltransfer.model_selection._comparison import Comparison, StrategyResult
from skltransfer.model_selection._intervals import holm, mean_interval, row_interval
from skltransfer.model_selection._strategies import (
    Strategy,
    image_strategies,
    mixture_strategies,
    table_strategies,
    text_strategies,
)
from skltransfer.model_selection._task import TransferTask
from skltransfer.model_selection._transfer import TransferClassifier, TransferRegressor

__all__ = [
    "Comparison",
    "Strategy",
    "StrategyResult",
    "TransferClassifier",
    "TransferRegressor",
    "TransferTask",
    "compare_strategies",
    "holm",
    "image_strategies",
    "mean_interval",
    "mixture_strategies",
    "row_interval",
    "table_strategies",
    "text_strategies",
]
