"""A pretrained network with an output layer of the task's own."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import torch
from torch import nn

from skltransfer._messages import near_names
from skltransfer._torch._depth import DepthMap, map_depth
from skltransfer._torch._extraction import Extractor, FeatureNetwork
from skltransfer._torch._layers import HEADS, Standardize
from skltransfer._torch._persisted import HoldsNetworks
from skltransfer._torch._preprocessing import unit_range
from skltransfer._torch._rows import Rows
from skltransfer.backbones import Backbone
from skltransfer.backbones._extractors import resolve_layers, resolve_pooling
from skltransfer.backbones._random import seeded
from skltransfer.backbones._table import check_shape


class TransferNetwork(nn.Module):
    """Rows as they come in batches to outputs: preprocessing, features, head.

    Parameters
    ----------
    features : FeatureNetwork
    head : Module
        May be of another floating-point type than `features`.
    preprocessing : Preprocessing or None
    dtype : torch.dtype
        Of `features`.
    """

    def __init__(self, features: FeatureNetwork, head: nn.Module, preprocessing, dtype):
        super().__init__()
        self.features, self.head = features, head
        self.preprocessing, self.dtype = preprocessing, dtype

    @property
    def head_dtype(self) -> torch.dtype:
        """Return the floating-point type of the head; of the features if it has no tensors."""
        tensors = chain(self.head.parameters(), self.head.buffers())
        return next((t.dtype for t in tensors if t.is_floating_point()), self.dtype)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features of a batch, shape (n, n_features)."""
        if self.preprocessing is None:
            x = unit_range(x, self.dtype)
        else:
            x = self.preprocessing.normalize(x, self.dtype)
        return self.features(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs of a batch, shape (n, n_outputs)."""
        features = self.embed(x)
        if not torch.is_autocast_enabled(features.device.type):
            features = features.to(self.head_dtype)
        return self.head(features)


@dataclass
class Built(HoldsNetworks):
    """A network that is ready to be trained, and what it was made of.

    Parameters
    ----------
    network : TransferNetwork
    record : Backbone
        Where its weights come from.
    depth : DepthMap
    nodes : dict of str to str
    pooling : str
    n_features : int
    """

    network: TransferNetwork
    record: Backbone
    depth: DepthMap
    nodes: dict[str, str]
    pooling: str
    n_features: int = 0

    def without_source(self) -> Built:
        """Return the same with a record that describes its network and does not hold it."""
        return replace(self, record=self.record._without_module())

    def with_source(self, record: Backbone | None) -> Built:
        """Return the same with the network that it started from, taken from `record` if needed."""
        if self.record.module is not None:
            return self
        if record.fingerprint != self.record.fingerprint:
            raise ValueError(
                f"backbone={record.name!r} is no longer the network that this estimator started "
                "from: its weights or its code have changed. Give back the file or module it had, "
                "or fit a new estimator."
            )
        return replace(self, record=record)

    def trained_record(self) -> Backbone:
        """Return the network as it is now, without its head, as a record of its own."""
        module = copy.deepcopy(self.backbone).eval().requires_grad_(False)
        return replace(
            self.record,
            name=f"trained {self.record.name.removeprefix('trained ')}",
            module=module,
            preprocessing=self.network.preprocessing,
            layers=tuple(self.nodes),
            pooling=self.pooling,
            n_features=self.n_features,
            fingerprint="",
        )

    @property
    def backbone(self) -> nn.Module:
        """Return the module whose parts `depth` names."""
        return self.network.features.module


def distinct_rows(table: np.ndarray, targets: np.ndarray, weights: np.ndarray | None):
    """Sort the rows of a table, and take equal ones with equal targets as one.

    Training on all rows at once then depends on neither their order nor on whether a row is given
    twice or weighs two, bit for bit; rounding would otherwise grow from step to step.

    Returns
    -------
    first : ndarray of int
        Where each distinct row stands in the table.
    weights : ndarray or None
        Their weights; ``None`` if all are 1.
    """
    labelled = np.column_stack([table, targets.reshape(len(targets), -1)])
    _, first, inverse = np.unique(labelled, axis=0, return_index=True, return_inverse=True)
    if weights is None and len(first) == len(table):
        return first, None
    return first, np.bincount(inverse.ravel(), weights)


def copy_network(
    record: Backbone,
    rows: Rows,
    *,
    layers,
    pooling: str,
    preprocessing,
    device: torch.device,
    dtype: torch.dtype,
) -> Built:
    """Copy a backbone so that it can be trained; the head is still missing."""
    nodes = resolve_layers(record, layers)
    pooling = resolve_pooling(record, pooling)
    module = copy.deepcopy(record.module).to(device=device, dtype=dtype)
    module.requires_grad_(True).eval()
    features = FeatureNetwork(module, nodes, pooling, record.channels_last, record.prefix_tokens)
    network = TransferNetwork(features, nn.Identity(), preprocessing, dtype).to(device).eval()
    x = rows.batch([0], preprocessing).to(device)
    x = unit_range(x, dtype) if preprocessing is None else preprocessing.normalize(x, dtype)
    depth = check_shape(
        record,
        tuple(x.shape[1:]),
        lambda: map_depth(module, record.stages, x, features.used_parameters(x)),
    )
    return Built(network, record, depth, nodes, pooling)


def make_head(head, n_features: int, n_outputs: int, dropout: float, seed: int) -> nn.Module:
    """Build the output layer.

    Parameters
    ----------
    head : {"linear", "mlp", "cosine"} or callable
        A callable takes the numbers of features and outputs and returns a module.
    n_features, n_outputs : int
    dropout : float
        Of the built-in ones.
    seed : int
    """
    with seeded(seed):
        if isinstance(head, str) and head in HEADS:
            return HEADS[head](n_features, n_outputs, dropout)
        if not callable(head):
            raise ValueError(
                f"head={head!r} is not one of {', '.join(HEADS)}, and no function of "
                "(n_features, n_outputs) that returns a torch.nn.Module."
            )
        module = head(n_features, n_outputs)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"head={head!r} returned a {type(module).__name__}. It has to return a torch.nn.Module."
        )
    return module


def learn_scale(head: nn.Module, features: torch.Tensor, weights: torch.Tensor | None) -> None:
    """Let the built-in heads standardise features as they are before training."""
    if isinstance(getattr(head, "features", None), Standardize):
        head.features.learn(features, weights)


def n_trained_stages(unfreeze, depth: DepthMap, name: str) -> int:
    """Return how many stages, from the deepest, `unfreeze` means."""
    stages = depth.stages
    if isinstance(unfreeze, str):
        if unfreeze == "all":
            return len(stages)
        if unfreeze == "head":
            return 0
        if unfreeze not in stages:
            raise ValueError(
                f"unfreeze={unfreeze!r}: {name!r} has no such stage."
                f"{near_names(unfreeze, stages)} Pass 'head', 'all', a number of stages from the "
                f"top, or the shallowest stage to train: {', '.join(stages)}."
            )
        return len(stages) - stages.index(unfreeze)
    if not isinstance(unfreeze, int | np.integer) or isinstance(unfreeze, bool) or unfreeze < 0:
        raise ValueError(
            f"unfreeze={unfreeze!r} is not 'head', 'all', the name of a stage or a number of "
            "stages from the top."
        )
    if unfreeze > len(stages):
        raise ValueError(
            f"unfreeze={unfreeze} is deeper than {name!r}, which has {len(stages)} stages: "
            f"{', '.join(stages)}. Pass at most {len(stages)}, or 'all'."
        )
    return int(unfreeze)


def make_extractor(network: TransferNetwork, device, key: str) -> Extractor:
    """Return what takes features in evaluation mode, in batches."""
    precision = "float64" if network.dtype == torch.float64 else "float32"
    return Extractor(network.features, network.preprocessing, device, precision, key)
