"""Comparison of transfer strategies on paired draws, scorers and splitters."""

from skltransfer.model_selection._compare import compare_strategies
from skltransfer.model_selection._comparison import Comparison, StrategyResult
from skltransfer.model_selection._intervals import holm, mean_interval, row_interval
from skltransfer.model_selection._prediction_scorers import (
    prediction_entropy_scorer,
    soft_neighborhood_density_scorer,
)
from skltransfer.model_selection._rank_backbones import (
    BackboneFailureWarning,
    BackboneRanking,
    RankedBackbone,
    rank_backbones,
)
from skltransfer.model_selection._scorers import target_scorer
from skltransfer.model_selection._source_scorers import (
    circular_validation_scorer,
    deep_embedded_validation_scorer,
    importance_weighted_scorer,
)
from skltransfer.model_selection._splitters import LabelledKFold, LabelledStratifiedKFold
from skltransfer.model_selection._strategies import (
    image_strategies,
    mixture_strategies,
    table_strategies,
    text_strategies,
)
from skltransfer.model_selection._strategy import Strategy
from skltransfer.model_selection._task import TransferTask
from skltransfer.model_selection._transfer import TransferClassifier, TransferRegressor

__all__ = [
    "BackboneFailureWarning",
    "BackboneRanking",
    "Comparison",
    "LabelledKFold",
    "LabelledStratifiedKFold",
    "RankedBackbone",
    "Strategy",
    "StrategyResult",
    "TransferClassifier",
    "TransferRegressor",
    "TransferTask",
    "circular_validation_scorer",
    "compare_strategies",
    "deep_embedded_validation_scorer",
    "holm",
    "image_strategies",
    "importance_weighted_scorer",
    "mean_interval",
    "mixture_strategies",
    "prediction_entropy_scorer",
    "rank_backbones",
    "row_interval",
    "soft_neighborhood_density_scorer",
    "table_strategies",
    "target_scorer",
    "text_strategies",
]
