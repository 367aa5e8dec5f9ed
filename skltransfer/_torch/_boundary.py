"""The boundary between the frozen stages of a network, which are run once per row, and the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import fx, nn

from skltransfer._shared_cache import SharedCache
from skltransfer._torch._extraction import Extractor, FeatureNetwork, network_lock
from skltransfer._torch._fingerprint import digest_of
from skltransfer._torch._rows import Rows
from skltransfer._torch._taps import TracedLayers

_boundaries = SharedCache(16, network_lock)
# Largest difference between a pass in two parts and a whole one, relative to the largest feature.
_TOLERANCE = 1e-4


class Boundary:
    """A traced network in two parts: what no trained part comes before, and the rest.

    The outputs of the first part that the rest needs lie side by side in one vector per row.

    Parameters
    ----------
    first : Graph
    rests : dict of bool to Graph
        The rest in training and in evaluation.
    trunk : TracedLayers
        Network whose graphs were cut.
    """

    def __init__(self, first: fx.Graph, rests: dict[bool, fx.Graph], trunk: TracedLayers):
        self._code = first.python_code("self").src
        self._names = sorted({n.target for n in first.nodes if n.op in ("call_module", "get_attr")})
        self._first = _compiled(first, trunk)
        self._rests = {mode: _compiled(rest, trunk) for mode, rest in rests.items()}
        self.shapes: list[torch.Size] = []

    @classmethod
    def of(
        cls, network: FeatureNetwork, is_frozen: Callable[[str], bool], x: torch.Tensor, key: tuple
    ) -> Boundary | None:
        """Return the boundary in a network; None if there is none, or it cannot be found.

        Parameters
        ----------
        network : FeatureNetwork
            In evaluation mode.
        is_frozen : callable
            Tells of the name of a submodule whether it never changes, nor what it computes.
        x : Tensor
            Two rows or more, as they enter the network.
        key : tuple
            Stands for all of these but the values of `x`. What is found is remembered.
        """
        if not isinstance(network.trunk, TracedLayers):
            return None
        key = (*key, tuple(x.shape[1:]), x.dtype, network.runs_by_pixel)
        return _boundaries.get(key, lambda: cls._found(network, is_frozen, x))

    @classmethod
    def _found(cls, network, is_frozen, x) -> Boundary | None:
        trunk = network.trunk
        parts = {
            mode: _cut(graph, is_frozen)
            for mode, graph in ((True, trunk.train_graph), (False, trunk.eval_graph))
        }
        if None in parts.values():
            return None
        codes = {first.python_code("self").src for first, _ in parts.values()}
        if len(codes) > 1:  # something in the frozen part is random in training
            return None
        rests = {mode: rest for mode, (_, rest) in parts.items()}
        boundary = cls(parts[False][0], rests, trunk)
        return boundary if boundary._holds_for(network, x) else None

    def _holds_for(self, network: FeatureNetwork, x: torch.Tensor) -> bool:
        """Note the shapes of what is kept, and tell whether both parts make up the network."""
        with torch.no_grad():
            expected = network(x)
            kept = self._run_first(network, x)
            if not all(
                isinstance(part, torch.Tensor)
                and part.dtype == expected.dtype
                and part.ndim >= 2
                and len(part) == len(x)
                for part in kept
            ):
                return False
            self.shapes = [part.shape[1:] for part in kept]
            given = self.features(network, _in_rows(kept, network.runs_by_pixel))
        return bool((given - expected).abs().max() <= _TOLERANCE * expected.abs().max())

    @property
    def width(self) -> int:
        """Number of values that are kept for each row."""
        return sum(shape.numel() for shape in self.shapes)

    def fingerprint(self, network: FeatureNetwork) -> str:
        """Return a digest of everything in the first part, with the weights as they are now."""
        parts = [(name, _attribute(network.trunk, name)) for name in self._names]
        return digest_of((self._code, parts))

    def rows(self, network: FeatureNetwork, x: torch.Tensor) -> torch.Tensor:
        """Return what is kept of a batch as it enters the network, shape (n, width)."""
        return _in_rows(self._run_first(network, x), network.runs_by_pixel)

    def _run_first(self, network: FeatureNetwork, x: torch.Tensor) -> tuple:
        return network.run(x, partial(self._first, network.trunk))

    def features(self, network: FeatureNetwork, rows: torch.Tensor) -> torch.Tensor:
        """Return the features of a batch of which `rows` were kept, shape (n, n_features).

        In training the feature maps are laid out channel by channel. The last stages have small
        maps of many channels, whose gradients take 1.2 to 1.7 times as long the other way.
        """
        kept, start = [], 0
        for shape in self.shapes:
            part = rows[:, start : start + shape.numel()]
            start += shape.numel()
            if len(shape) == 3 and network.runs_by_pixel:
                n_channels, height, width = shape
                part = part.reshape(-1, height, width, n_channels).permute(0, 3, 1, 2)
                if torch.is_grad_enabled():
                    part = part.contiguous()
            kept.append(part.reshape(-1, *shape) if part.ndim == 2 else part)
        trunk = network.trunk
        return network.features_of(self._rests[trunk.training](trunk, *kept))

    def extractor(
        self, network: FeatureNetwork, preprocessing, device: torch.device, precision: str
    ) -> Extractor:
        """Return what gives the rows that are kept; their key stands for the frozen weights."""
        key = repr(("boundary", self.fingerprint(network), preprocessing, str(device), precision))
        widths = {"boundary": self.width}
        first = _Part(network, self.rows)
        return Extractor(first, preprocessing, device, precision, key, widths)

    def rest_of(self, source: Extractor, rows: Rows) -> Extractor:
        """Return what gives the features of `source` for :class:`KeptRows`, under the same key.

        Its features have the bits of `source` in batches of the same size.
        """
        rest = _Part(source.network, self.features)
        precision = "float64" if source.output_dtype == np.float64 else "float32"
        return Extractor(rest, None, source.device, precision, source.key, source.widths(rows))


class KeptRows:
    """Rows of which the outputs of the frozen stages are known.

    Parameters
    ----------
    rows : Rows
    kept : Tensor of shape (n, width)
    """

    def __init__(self, rows: Rows, kept: torch.Tensor):
        self._rows, self._kept = rows, kept
        self.form, self.shape = rows.form, (kept.shape[1],)

    def __len__(self) -> int:
        return len(self._rows)

    def digests(self) -> list[bytes]:
        """Return one digest per row, of its own content."""
        return self._rows.digests()

    def batch(self, indices, _preprocessing) -> torch.Tensor:
        """Return what is kept of the rows at `indices`, shape (len(indices), width)."""
        return self._kept[list(indices)]


class _Part(nn.Module):
    """A part of a feature network, in the place of the whole."""

    def __init__(self, network: FeatureNetwork, run: Callable):
        super().__init__()
        self._network, self._run = (network,), run
        self.trunk, self.names = network.trunk, ["boundary"]

    @property
    def runs_by_pixel(self) -> bool:
        return self._network[0].runs_by_pixel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._run(self._network[0], x)


def _cut(graph: fx.Graph, is_frozen: Callable[[str], bool]) -> tuple[fx.Graph, fx.Graph] | None:
    """Return a graph in two: all that is frozen, and the rest; None if nothing is saved so."""
    frozen, varying = set(), set()
    for node in graph.nodes:
        parents = node.all_input_nodes
        if node.op == "placeholder" or any(parent in varying for parent in parents):
            varying.add(node)
        name = {"call_module": node.target, "get_attr": str(node.target).rpartition(".")[0]}
        own = node.op != "output" and (node.op not in name or is_frozen(name[node.op]))
        if own and all(parent in frozen for parent in parents):
            frozen.add(node)
    kept = [
        node
        for node in graph.nodes
        if node in frozen & varying and any(user not in frozen for user in node.users)
    ]
    if not kept or any(node.op == "placeholder" for node in kept):
        return None
    first, rest, ours, theirs = fx.Graph(), fx.Graph(), {}, {}
    for node in kept:
        theirs[node] = rest.placeholder(f"kept_{len(theirs)}")
    for node in graph.nodes:
        if node in frozen:
            ours[node] = first.node_copy(node, ours.__getitem__)
        if node not in theirs and not (node in frozen and node in varying):
            theirs[node] = rest.node_copy(node, theirs.__getitem__)
    first.output(tuple(ours[node] for node in kept))
    return first, rest


def _compiled(graph: fx.Graph, trunk: nn.Module) -> Callable:
    """Return a function of a network, with the parts that the graph names, and its inputs."""
    return type(fx.GraphModule(trunk, graph)).forward


def _attribute(module: nn.Module, name: str):
    for part in name.split("."):
        module = getattr(module, part)
    return module


def _in_rows(kept: tuple, by_pixel: bool) -> torch.Tensor:
    """Return tensors side by side, feature maps in the order in which they lie in memory."""
    ordered = [p.permute(0, 2, 3, 1) if by_pixel and p.ndim == 4 else p for p in kept]
    return torch.cat([part.flatten(1) for part in ordered], dim=1)
