"""Comparison of transfer strategies on paired draws, scorers and splitters."""

from skltransfer.model_selection._intervals import mean_interval
from skltransfer.model_selection._prediction_scorers import (
    prediction_entropy_scorer,
    soft_neighborhood_density_scorer,
)
from skltransfer.model_selection._scorers import target_scorer
from skltransfer.model_selection._source_scorers import (
    circular_validation_scorer,
    deep_embedded_validation_scorer,
    importance_weighted_scorer,
)
from skltransfer.model_selection._splitters import LabelledKFold, LabelledStratifiedKFold
from skltransfer.model_selection._strategies import Strategy, image_strategies, table_strategies

__all__ = [
    "LabelledKFold",
    "LabelledStratifiedKFold",
    "Strategy",
    "circular_validation_scorer",
    "deep_embedded_validation_scorer",
    "image_strategies",
    "importance_weighted_scorer",
    "mean_interval",
    "prediction_entropy_scorer",
    "soft_neighborhood_density_scorer",
    "table_strategies",
    "target_scorer",
]
