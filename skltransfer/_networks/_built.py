"""A copy of a backbone with an output layer of the task's own, and what it gives."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from skltransfer._messages import near_names
from skltransfer._networks._plan import Plan
from skltransfer._persisted import SavedAsData
from skltransfer._shared_cache import SharedCache
from skltransfer._torch._boundary import Boundary, KeptRows
from skltransfer._torch._depth import DepthMap, map_depth
from skltransfer._torch._disk_store import DiskFeatureStore
from skltransfer._torch._extraction import (
    Extractor,
    FeatureNetwork,
    lay_out_weights,
    network_lock,
)
from skltransfer._torch._layers import HEADS
from skltransfer._torch._preprocessing import unit_range
from skltransfer._torch._rows import Rows
from skltransfer._torch._store import FeatureStore
from skltransfer.backbones import Backbone
from skltransfer.backbones._extractors import extractor
from skltransfer.backbones._random import seeded
from skltransfer.backbones._table import check_shape, table_record

# Calls with as few rows do not look for them in the store: they come from a service.
_FEW_ROWS = 8
_depths = SharedCache(32, network_lock)


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

    # While it is set, batches hold what the boundary keeps of the rows.
    boundary: Boundary | None = None

    def __getstate__(self):
        # A copy begins with its rows.
        return {name: value for name, value in vars(self).items() if name != "boundary"}

    @property
    def head_dtype(self) -> torch.dtype:
        """Return the floating-point type of the head; of the features if it has no tensors."""
        return _dtype_of(self.head, self.dtype)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features of a batch, shape (n, n_features)."""
        if self.boundary is not None:
            return self.boundary.features(self.features, x)
        return self.features(self.entered(x))

    def entered(self, x: torch.Tensor) -> torch.Tensor:
        """Return a batch as it enters the features."""
        if self.preprocessing is None:
            return unit_range(x, self.dtype).contiguous()
        return self.preprocessing.normalize(x, self.dtype)

    def outputs(self, features: torch.Tensor) -> torch.Tensor:
        """Return the outputs for features that `embed` gave, shape (n, n_outputs)."""
        if not torch.is_autocast_enabled(features.device.type):
            features = features.to(self.head_dtype)
        return self.head(features)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the outputs of a batch, shape (n, n_outputs)."""
        return self.outputs(self.embed(x))


class SharedNetwork(nn.Module):
    """What becomes a :class:`TransferNetwork` when the copy of the backbone is first asked for.

    Until then the head is trained on features of the backbone as it is.

    Parameters
    ----------
    source : Extractor
        What takes these features.
    """

    def __init__(self, source: Extractor):
        super().__init__()
        self._source, self.head = (source,), nn.Identity()  # no submodule of this one
        self.preprocessing, self.dtype = source.preprocessing, source.dtype

    def __deepcopy__(self, memo: dict) -> SharedNetwork:
        memo[id(self)] = twin = SharedNetwork(self.source)
        twin.head = copy.deepcopy(self.head, memo)
        return twin

    @property
    def source(self) -> Extractor:
        """Return what takes the features of the backbone."""
        return self._source[0]

    @property
    def head_dtype(self) -> torch.dtype:
        """Return the floating-point type of the head; of the features if it has no tensors."""
        return _dtype_of(self.head, self.dtype)

    def copied(self) -> TransferNetwork:
        """Return the network with a copy of the backbone, which can be trained."""
        source = self.source
        module = copy.deepcopy(source.network.module).requires_grad_(True).eval()
        # As a file, and an optimizer on all weights at once, have them.
        lay_out_weights(module, torch.contiguous_format)
        features = source.network.with_module(module)
        network = TransferNetwork(features, self.head, self.preprocessing, self.dtype)
        return network.to(source.device).eval()


def _dtype_of(head: nn.Module, otherwise: torch.dtype) -> torch.dtype:
    for tensors in (operator.attrgetter("_parameters"), operator.attrgetter("_buffers")):
        if (dtype := _first_dtype(head, tensors)) is not None:
            return dtype
    return otherwise


def _first_dtype(module: nn.Module, tensors_of: Callable) -> torch.dtype | None:
    """Return the first floating-point type, without iterators of torch, which are slow."""
    for tensor in tensors_of(module).values():
        if tensor is not None and tensor.is_floating_point():
            return tensor.dtype
    for part in module._modules.values():
        if part is not None and (dtype := _first_dtype(part, tensors_of)) is not None:
            return dtype
    return None


@dataclass
class Built(SavedAsData):
    """A network with its head, and what it was made of.

    Parameters
    ----------
    held : TransferNetwork or SharedNetwork
        The network, or what it is made of when `network` is first read.
    record : Backbone
        Where its weights come from.
    depth : DepthMap
    nodes : dict of str to str
        Layers that features are taken from, each with its name inside the module.
    pooling : str
    n_features : int
    key : str
        Stands for the features of the backbone in the feature store; "" keeps them out of it.
    is_frozen : bool
        Whether training left the features of the backbone alone.
    cached_stage : str or None
        Deepest stage of those whose outputs were kept, so that epochs began behind it.
    """

    # Where that was, in this process; predictions take what is kept of the rows.
    boundary = None

    held: TransferNetwork | SharedNetwork
    record: Backbone
    depth: DepthMap
    nodes: dict[str, str]
    pooling: str
    n_features: int = 0
    key: str = ""
    is_frozen: bool = False
    cached_stage: str | None = None

    def __getstate__(self):
        self.held = self.network
        state = super().__getstate__()
        state.pop("boundary", None)
        return state

    @property
    def network(self) -> TransferNetwork:
        """Return the network with its head."""
        if isinstance(self.held, SharedNetwork):
            with network_lock:
                if isinstance(self.held, SharedNetwork):
                    self.held = self.held.copied()
        return self.held

    @property
    def backbone(self) -> nn.Module:
        """Return the module whose parts `depth` names."""
        return self.network.features.module

    def extractor(self) -> Extractor:
        """Return what takes features in evaluation mode, in batches."""
        if isinstance(self.held, SharedNetwork):
            return self.held.source
        network = self.network
        device = next((t.device for t in network.parameters()), torch.device("cpu"))
        precision = "float64" if network.dtype == torch.float64 else "float32"
        return Extractor(network.features, network.preprocessing, device, precision, self.key)

    def features(self, rows: Rows, store: FeatureStore | DiskFeatureStore | None) -> np.ndarray:
        """Return the features that the head is given, shape (len(rows), n_features).

        Parameters
        ----------
        rows : Rows
        store : FeatureStore or DiskFeatureStore or None
            Store of features of frozen layers.
        """
        if not len(rows):
            return np.empty((0, self.n_features))
        extractor = self.extractor()
        if self.is_frozen:
            return extractor.extract(rows, store=store if self.key else None)
        size = min(extractor.batch_size(rows), len(rows))
        if self.boundary is not None and store is not None and len(rows) > _FEW_ROWS:
            kept = self.kept_rows(rows, store, keeps=False)
            extractor = self.boundary.rest_of(extractor, rows)
            rows = KeptRows(rows, kept)
        return extractor.extract(rows, batch_size=size)

    def kept_rows(
        self, rows: Rows, store: FeatureStore | DiskFeatureStore, *, keeps: bool = True
    ) -> torch.Tensor:
        """Return what is kept at the boundary, shape (len(rows), width).

        Parameters
        ----------
        rows : Rows
        store : FeatureStore or DiskFeatureStore
        keeps : bool, default=True
            Whether rows that are not found are put into the store. What is predicted once is not
            worth its room.
        """
        whole = self.extractor()
        precision = "float64" if whole.output_dtype == np.float64 else "float32"
        first = self.boundary.extractor(
            self.network.features, whole.preprocessing, whole.device, precision
        )
        kept = first.extract(rows, batch_size=whole.batch_size(rows), store=store, keeps=keeps)
        return torch.from_numpy(kept).to(whole.device)

    def outputs(self, rows: Rows, store: FeatureStore | DiskFeatureStore | None) -> np.ndarray:
        """Return the outputs of the head in evaluation mode, shape (len(rows), n_outputs).

        Parameters
        ----------
        rows : Rows
        store : FeatureStore or DiskFeatureStore or None
            Store of features of frozen layers.
        """
        features, head = self.features(rows, store), self.held.head
        like = next(iter([*head.parameters(), *head.buffers()]), torch.empty(0))
        with network_lock, torch.inference_mode():
            outputs = head(torch.tensor(features, dtype=self.held.head_dtype).to(like.device))
        return outputs.double().cpu().numpy()

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


def build(
    plan: Plan, record: Backbone | None, rows: Rows, weights: np.ndarray | None = None
) -> tuple[Built, Extractor]:
    """Copy a backbone so that it can be trained; the head is still missing.

    Parameters
    ----------
    plan : Plan
    record : Backbone or None
        ``None``: a table network with random weights, made for the columns of `rows`.
    rows : Rows
    weights : ndarray of shape (n,) or None
        Of the rows, in the mean and scale of their columns.

    Returns
    -------
    built : Built
    extractor : Extractor
        What takes the features of the backbone as it is.
    """
    if record is None:
        sizes = tuple(plan.hidden_layer_sizes)
        record = table_record(rows, sizes, plan.seed_of_weights, weights)
        if (plan.layers, plan.pooling, plan.input_size) == (None, "default", None):
            return _table_network(plan, record)
    source = extractor(
        record,
        layers=plan.layers,
        pooling=plan.pooling,
        input_size=plan.input_size,
        device=plan.device,
        precision=plan.precision,
    )
    source.check_rows(rows)
    return copy_network(record, rows, source, shares=plan.shares_backbone), source


def _table_network(plan: Plan, record: Backbone) -> tuple[Built, Extractor]:
    """Do the same for a network made for these rows: its layers and stages are known."""
    module = copy.deepcopy(record.module).to(device=plan.device, dtype=plan.dtype)
    module.requires_grad_(True)
    features = FeatureNetwork(module, {}, record.pooling, record.channels_last)
    key = f"{record.fingerprint} {plan.device} {plan.precision}"
    network = TransferNetwork(features, nn.Identity(), None, plan.dtype).to(plan.device).eval()
    stages = record.stages or ("network",)
    depth = DepthMap(stages, dict(zip(stages, range(len(stages)), strict=True)))
    built = Built(network, record, depth, {}, record.pooling, record.n_features, key)
    widths = dict.fromkeys(features.names, record.n_features)
    return built, Extractor(features, None, plan.device, plan.precision, key, widths)


def copy_network(record: Backbone, rows: Rows, source: Extractor, *, shares: bool = False) -> Built:
    """Copy a backbone so that it can be trained; the head is still missing.

    Parameters
    ----------
    record : Backbone
    rows : Rows
    source : Extractor
        What takes the features of the backbone as it is.
    shares : bool, default=False
        Whether it is copied when something else than its features is first asked for.
    """
    _, nodes, pooling, *_ = source.network._made_from
    shape = source.shape(rows)
    n_features = sum(check_shape(record, shape, lambda: source.widths(rows)).values())
    shared = SharedNetwork(source)
    held = shared if shares else shared.copied()

    def depth() -> DepthMap:
        network = shared.copied() if shares else held
        x = network.entered(rows.batch([0], network.preprocessing).to(source.device))
        features = network.features
        return map_depth(features.module, record.stages, x, features.used_parameters(x))

    depth = _depths.get((source.key, record.stages, shape), depth)
    return Built(held, record, depth, nodes, pooling, n_features, source.key)


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
