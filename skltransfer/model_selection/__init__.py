"""Comparison of transfer strategies on paired draws."""

from skltransfer.model_selection._intervals import mean_interval
from skltransfer.model_selection._strategies import Strategy, image_strategies, table_strategies

__all__ = ["Strategy", "image_strategies", "mean_interval", "table_strategies"]
