"""A fitted estimator as one module, from tensors of samples to predictions."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skltransfer._messages import explained
from skltransfer._networks._built import TransferNetwork
from skltransfer._networks._estimators import NetworkClassifier, NetworkRegressor
from skltransfer._torch._extraction import Extractor, lay_out_weights, network_lock
from skltransfer._torch._preprocessing import Preprocessing, unit_range
from skltransfer._torch._rows import Rows, TableRows
from skltransfer._torch._text import TextPreprocessing, TextRows
from skltransfer.feature import PretrainedFeatureTransformer


class Features(nn.Module):
    """Rows as tensors to features, normalisation included.

    Parameters
    ----------
    network : FeatureNetwork
    preprocessing : Preprocessing, TextPreprocessing or None
    dtype : torch.dtype
        Type of the network's parameters.
    white : float
        Value of white in pixels, 255 or 1.
    """

    def __init__(self, network: nn.Module, preprocessing, dtype: torch.dtype, white: float):
        super().__init__()
        self.network, self.dtype = network, dtype
        self.is_text = isinstance(preprocessing, TextPreprocessing)
        self.is_image = isinstance(preprocessing, Preprocessing)
        if self.is_image:
            mean, std = (
                np.array(v)[:, None, None] for v in (preprocessing.mean, preprocessing.std)
            )
            self.register_buffer("shift", torch.tensor(-mean / std).to(dtype))
            self.register_buffer("scale", torch.tensor(1 / (white * std)).to(dtype))

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the features, shape (n, n_features)."""
        if self.is_text:
            x = torch.stack(inputs, dim=1)
        elif self.is_image:
            x = torch.addcmul(self.shift, inputs[0].to(self.dtype), self.scale)
        else:
            x = unit_range(inputs[0], self.dtype)
        return self.network(x)


class ClassifierOutputs(nn.Module):
    """Features to the number of the class, and the probabilities; labels one by one."""

    def __init__(self, head: nn.Module, dtype: torch.dtype, is_binary: bool, is_multilabel: bool):
        super().__init__()
        self.head, self.dtype = head, dtype
        self.is_binary, self.is_multilabel = is_binary, is_multilabel

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return numbers, shape (n,) or (n, n_labels), and probabilities."""
        outputs = self.head(features.to(self.dtype)).double()
        if self.is_multilabel:
            return (outputs > 0).long(), outputs.sigmoid()
        if self.is_binary:
            probabilities = torch.cat([(-outputs).sigmoid(), outputs.sigmoid()], dim=1)
            return (outputs[:, 0] > 0).long(), probabilities
        return outputs.argmax(1), outputs.softmax(1)


class RegressorOutputs(nn.Module):
    """Features to numbers in the units of ``y``."""

    def __init__(self, head: nn.Module, dtype: torch.dtype, mean, scale, is_flat: bool):
        super().__init__()
        self.head, self.dtype, self.is_flat = head, dtype, is_flat
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the numbers, shape (n,) or (n, n_outputs)."""
        outputs = self.head(features.to(self.dtype)).double() * self.scale + self.mean
        return outputs[:, 0] if self.is_flat else outputs


class FeatureGraph(nn.Module):
    """Features and the steps that follow."""

    def __init__(self, features: Features, last: nn.Module):
        super().__init__()
        self.features, self.last = features, last


class TensorGraph(FeatureGraph):
    """Takes one tensor."""

    def forward(self, x: torch.Tensor):
        """Return the predictions of the estimator."""
        return self.last(self.features(x))


class TextGraph(FeatureGraph):
    """Takes token ids and their mask."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor):
        """Return the predictions of the estimator."""
        return self.last(self.features(input_ids, attention_mask))


@dataclass
class Graph:
    """A module to export, with its inputs and outputs.

    Parameters
    ----------
    module : Module
        Module on the CPU.
    inputs : dict of str to Tensor
        At least two samples, in the order of the arguments.
    outputs : list of str
    classes : ndarray or None
        Classes that the numbers in ``label`` stand for.
    is_table : bool
    max_length : int or None
        Largest length of a text in tokens.
    """

    module: nn.Module
    inputs: dict[str, torch.Tensor]
    outputs: list[str]
    classes: np.ndarray | None
    is_table: bool
    max_length: int | None

    @property
    def dynamic_shapes(self) -> tuple[dict, ...]:
        """Return the axes of any length, samples and tokens."""
        axes = {0: torch.export.Dim("n")}
        if len(self.inputs) == 2:
            axes[1] = torch.export.Dim("length", max=self.max_length)
        return tuple(axes for _ in self.inputs)

    def exported(self) -> torch.export.ExportedProgram:
        """Trace the module for any number of rows, and of tokens; else raise a ValueError."""
        with (
            network_lock,
            torch.no_grad(),
            explained(
                "The network cannot be traced by torch.export",
                "Networks whose forward depends on values, not on shapes alone, cannot be "
                "exported.",
            ),
        ):
            return torch.export.export(
                self.module, tuple(self.inputs.values()), dynamic_shapes=self.dynamic_shapes
            )


def graph_of(estimator, X, *, features_only: bool = False) -> Graph:
    """Describe a fitted estimator with a network as a graph; `X` says in which form rows come."""
    check_is_fitted(estimator)
    rows, fitted = rows_of(estimator, X)
    if len(rows) == 0:
        raise ValueError("X has 0 sample(s). At least one row is needed to trace the network.")
    rows = rows.subset(np.arange(2) % len(rows))  # a single row would be taken for a constant
    inputs = tensors_of(rows, fitted.preprocessing)
    first = next(iter(inputs.values()))
    white = 255.0 if first.dtype == torch.uint8 else 1.0
    last, outputs, classes = nn.Identity(), ["features"], None
    if isinstance(fitted, Extractor):
        network = fitted.network
        if fitted.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"precision={estimator.precision!r} cannot be exported. Set 'float32' or 'float64'."
            )
    else:
        network = fitted.features
        if not features_only:
            last, outputs, classes = _last_of(estimator)
    with network_lock:
        network, last = copy.deepcopy(network).cpu(), copy.deepcopy(last).cpu()
        lay_out_weights(network, torch.contiguous_format)  # torch.export writes no others
    features = Features(network, fitted.preprocessing, fitted.dtype, white)
    kind = TextGraph if len(inputs) == 2 else TensorGraph
    module = kind(features, last).eval().requires_grad_(False)
    max_length = getattr(fitted.preprocessing, "max_length", None)
    return Graph(module, inputs, outputs, classes, isinstance(rows, TableRows), max_length)


def _last_of(estimator):
    """Return the steps after the features, the names of the outputs, and the classes."""
    network, labels = estimator.network_, estimator._labels
    head, dtype = network.head, network.head_dtype
    if isinstance(estimator, NetworkClassifier):
        last = ClassifierOutputs(head, dtype, labels.is_binary, labels.is_multilabel)
        classes = None if labels.is_multilabel else estimator.classes_
        return last, ["label", "probabilities"], classes
    last = RegressorOutputs(head, dtype, labels.mean, labels.scale, estimator._is_flat)
    return last, ["prediction"], None


def has_network(estimator) -> bool:
    """Tell whether an estimator is exported by its network."""
    if isinstance(estimator, PretrainedFeatureTransformer):
        return estimator.backbone is not None
    return any(
        isinstance(estimator, kind) and type(estimator).predict is kind.predict
        for kind in (NetworkClassifier, NetworkRegressor)
    )


def rows_of(estimator, X) -> tuple[Rows, Extractor | TransferNetwork]:
    """Return the samples of `X` as the estimator reads them, and their preprocessing."""
    rows = estimator._rows(X, reset=False)
    if isinstance(estimator, PretrainedFeatureTransformer):
        return rows, estimator._backbone_and_extractor(rows)[1]
    return rows, estimator.network_


def tensors_of(rows: Rows, preprocessing) -> dict[str, torch.Tensor]:
    """Return rows as the tensors that a graph takes, by name."""
    batch = rows.batch(list(range(len(rows))), preprocessing).contiguous()
    if isinstance(rows, TextRows):
        return {
            "input_ids": batch[:, 0].contiguous(),
            "attention_mask": batch[:, 1].contiguous(),
        }
    return {"X" if isinstance(rows, TableRows) else "pixels": batch}


def innermost(estimator):
    """Return the fitted estimator inside a search, a frozen estimator or a pipeline of one step."""
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, Pipeline) and len(_steps_of(estimator)) == 1:
            estimator = _steps_of(estimator)[0]
        else:
            return estimator


def _steps_of(pipeline: Pipeline) -> list:
    """Return the steps of a pipeline and of the pipelines inside it."""
    steps = []
    for _, step in pipeline.steps:
        if step is None or isinstance(step, str):  # "passthrough"
            continue
        step = step.estimator if isinstance(step, FrozenEstimator) else step
        steps += _steps_of(step) if isinstance(step, Pipeline) else [step]
    return steps


def split_steps(estimator) -> tuple:
    """Return the steps before the network, the step with the network, and the steps after it.

    Raises
    ------
    TypeError
        If there is no step with a network, or more than one.
    """
    estimator = innermost(estimator)
    steps = _steps_of(estimator) if isinstance(estimator, Pipeline) else [estimator]
    with_network = [i for i, step in enumerate(steps) if has_network(step)]
    inner = next((s.estimator_ for s in steps if has_network(getattr(s, "estimator_", None))), None)
    if inner is not None and not with_network:
        raise TypeError(
            f"{type(estimator).__name__} holds its network in a {type(inner).__name__}, which an "
            "export takes: pass its attribute estimator_, which predicts the same."
        )
    if len(with_network) != 1:
        raise TypeError(
            f"{type(estimator).__name__} has {len(with_network)} steps with a network, and an "
            "export needs one. Pass a FineTunedClassifier, FineTunedRegressor or "
            "PretrainedFeatureTransformer with a backbone, alone or as a step of a Pipeline. "
            "Export other pipelines by skl2onnx."
        )
    number = with_network[0]
    return steps[:number] or None, steps[number], steps[number + 1 :] or None
