"""What stands in a file for the values that an estimator holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sklearn.metrics
import sklearn.model_selection
import torch
from sklearn.base import BaseEstimator
from torch import nn
from torchvision.models._api import WeightsEnum

import skltransfer
from skltransfer._networks._built import Built
from skltransfer._networks._labels import Classes, Numbers
from skltransfer._torch._depth import DepthMap
from skltransfer._torch._text import TextPreprocessing
from skltransfer.parameter._multitask_network import MultiTaskNetwork, TaskClasses, TaskNumbers
from skltransfer.persistence._modules import ModuleData
from skltransfer.persistence._transformers import TokenizerData

_DATA = (
    Built,
    Classes,
    DepthMap,
    ModuleData,
    MultiTaskNetwork,
    Numbers,
    TaskClasses,
    TaskNumbers,
    TokenizerData,
)


# What a fitted search holds beside estimators, and skops does not trust by itself.
_SCORERS = ("sklearn.metrics._scorer._PassthroughScorer", "sklearn.metrics._scorer._Scorer")
_METRICS = ("_score", "_loss", "_error")


def to_data_once() -> Callable:
    """Return a function from values of a state to data, each network once."""
    written: dict[int, tuple[object, object]] = {}  # with the value, so that its id stays its own

    def once(value, describe):
        if id(value) not in written:
            written[id(value)] = (value, describe(value))
        return written[id(value)][1]

    def to_data(value):
        if isinstance(value, nn.Module):
            return once(value, ModuleData.of)
        if isinstance(value, TextPreprocessing):
            return once(value, TokenizerData.of)
        if isinstance(value, WeightsEnum | Path | torch.device):  # their names do as well
            return str(value)
        return value

    return to_data


def known_types() -> list[str]:
    """Return the full names of what a file may hold beside the types that skops trusts.

    Those of this package, and of scikit-learn splitters, metrics and their scorers.
    """
    public = [getattr(skltransfer, name) for name in skltransfer.__all__]
    estimators = [v for v in public if isinstance(v, type) and issubclass(v, BaseEstimator)]
    others = (skltransfer.Backbone, skltransfer.FeatureStore, skltransfer.Preprocessing)
    splitters = [
        value
        for value in vars(sklearn.model_selection).values()
        if isinstance(value, type) and hasattr(value, "get_n_splits")
    ]
    metrics = [
        getattr(sklearn.metrics, name)
        for name in sklearn.metrics.__all__
        if name.endswith(_METRICS)
    ]
    kinds = (*estimators, *others, *_DATA, *splitters, *metrics)
    return [*_SCORERS, *(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)]
