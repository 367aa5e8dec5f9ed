"""Rows through a frozen network, in fixed batches, each distinct row once."""

from __future__ import annotations

import copy
import ctypes
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import nn

from skltransfer._locks import ThreadLock
from skltransfer._shared_cache import SharedCache
from skltransfer._torch._disk_store import DiskFeatureStore
from skltransfer._torch._engines import build_engine
from skltransfer._torch._layers import TableNetwork
from skltransfer._torch._pooling import OWN, pool
from skltransfer._torch._preprocessing import Preprocessing, unit_range
from skltransfer._torch._rows import Rows, TableRows
from skltransfer._torch._store import FeatureStore, in_batches
from skltransfer._torch._taps import HookedLayers, Unpooled, is_timm, tapped
from skltransfer._torch._text import TextPreprocessing, TextRows, TokenEncoder

# torch.fx patches every module, and puts the one it traces into training mode for a moment. While
# one thread traces, no other may run a network.
network_lock = ThreadLock()
_engines = SharedCache(8, network_lock)
# Numbers of rows to which a call with few rows is padded, and whether a network then gives the bits
# of its whole batch.
_FEW_ROWS = (1, 8, 64)
_have_same_bits = SharedCache(128, network_lock)
# Types in which convolutions on a CPU are faster with the channels of a pixel side by side.
_FASTER_BY_PIXEL = (torch.float32, torch.bfloat16)


def _settle_in_child() -> None:
    """Let a forked child compute by its one thread: the others of torch and of engines are gone.

    torch and engines would wait for them forever, engines even when they are deleted.
    """
    for engine in _engines.clear():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


os.register_at_fork(after_in_child=_settle_in_child)

PRECISIONS = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_device(device) -> torch.device:
    """Return the device meant by "auto" (a GPU when there is one), a name or a torch device."""
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device={device!r} is not a torch device. Pass 'auto', 'cpu', 'cuda' or 'cuda:1'."
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r} is not available here. Pass device='auto' or 'cpu'.")
    return resolved


class FeatureNetwork(nn.Module):
    """A frozen network up to some of its layers, pooled and side by side.

    Parameters
    ----------
    module : Module
        In evaluation mode. It is not changed.
    nodes : dict of str to str
        Name of each feature block and the layer it is taken from, in order. Empty: the output of
        the module itself, named ``output``.
    pooling : str
        See :func:`pool`.
    channels_last : bool
        Whether square feature maps with equal second and third axis are (n, h, w, channels).
    prefix_tokens : tuple of str or None, default=None
        See :func:`pool`.
    twin : FeatureNetwork, optional
        The same of a copy of the module. What is known of it needs not be found again.
    """

    def __init__(
        self,
        module: nn.Module,
        nodes: dict[str, str],
        pooling: str,
        channels_last: bool,
        prefix_tokens: tuple[str, ...] | None = None,
        twin: FeatureNetwork | None = None,
    ):
        super().__init__()
        # In a tuple, so that its tensors are not registered twice.
        self._made_from = (module, nodes, pooling, channels_last, prefix_tokens)
        self.channels_last, self.prefix_tokens = channels_last, prefix_tokens
        self.names = list(nodes) or ["output"]
        self.pooling = pooling
        if isinstance(module, TokenEncoder):  # it alone knows which tokens are padding
            module = module.with_pooling(pooling)
        if nodes:
            with network_lock:
                module = tapped(module, list(nodes.values()), twin and twin.trunk)
        elif pooling != OWN and is_timm(module):
            module = Unpooled(module)
        self.nodes = list(nodes.values())
        self.trunk = module
        self.runs_by_pixel = is_convolutional(module) if twin is None else twin.runs_by_pixel
        # Widths of the blocks for rows of each shape that was asked for.
        self.known_widths: dict[tuple[int, ...], dict[str, int]] = {}
        if twin is not None:
            self.known_widths |= twin.known_widths
        self.eval()

    @property
    def module(self) -> nn.Module:
        """Return the module that this network is made of, with the same tensors."""
        return self._made_from[0]

    def with_module(self, module: nn.Module) -> FeatureNetwork:
        """Return the same of a copy of the module, without tracing it."""
        return FeatureNetwork(module, *self._made_from[1:], twin=self)

    def __reduce__(self):
        # The graph of torch.fx cannot be pickled; it is made again.
        return (type(self), self._made_from, {"runs_by_pixel": self.runs_by_pixel})

    def __deepcopy__(self, memo: dict) -> FeatureNetwork:
        memo[id(self)] = twin = self.with_module(copy.deepcopy(self.module, memo))
        return twin

    def run(self, x: torch.Tensor, forward: Callable | None = None):
        """Return what the trunk gives: the outputs of layers by their names, or its own output.

        On a CPU, images pass it with the channels of a pixel side by side in memory
        (``channels_last`` of torch), where convolutions are faster. Other bits come out, equal
        within rounding. A network whose code relies on another order is run as it is from then on.

        Parameters
        ----------
        x : Tensor
        forward : callable, optional
            What is called with the images in the place of the trunk: a part of it.
        """
        forward = self.trunk if forward is None else forward
        is_image = x.ndim == 4 and is_faster_by_pixel(x.device, x.dtype)
        if not (self.runs_by_pixel and is_image) or torch.compiler.is_exporting():
            return forward(x)
        try:
            return forward(_by_pixel(x))
        except RuntimeError as error:
            if "view" not in str(error):  # of a tensor in another order
                raise
        self.runs_by_pixel = False
        lay_out_weights(self.trunk, torch.contiguous_format)  # or outputs followed their order
        return forward(x)

    def blocks(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the pooled output of each layer."""
        return self._blocks_of(self.run(x))

    def _blocks_of(self, outputs) -> list[torch.Tensor]:
        outputs = [outputs[node] for node in self.nodes] if self.nodes else [outputs]
        for name, output in zip(self.names, outputs, strict=True):
            if not isinstance(output, torch.Tensor) or output.ndim not in (2, 3, 4):
                shape = tuple(getattr(output, "shape", ()))
                raise TypeError(
                    f"Layer {name!r} gives {type(output).__name__} {shape}. Choose layers that "
                    "give one vector, one set of tokens or one feature map per row."
                )
        return [output if output.ndim == 2 else self.pooled(output) for output in outputs]

    def pooled(self, output: torch.Tensor) -> torch.Tensor:
        """Return a layer's output as one vector per row."""
        return pool(self.channels_first(output), self.pooling, self.prefix_tokens)

    def channels_first(self, output: torch.Tensor) -> torch.Tensor:
        """Return feature maps as (n, channels, h, w); other outputs as they are."""
        if self.channels_last and output.ndim == 4 and output.shape[1] == output.shape[2]:
            return output.permute(0, 3, 1, 2)
        return output

    def used_parameters(self, x: torch.Tensor) -> list[nn.Parameter]:
        """Return the parameters that the features of `x` depend on."""
        parameters = list(self.trunk.parameters())
        if not isinstance(self.trunk, HookedLayers | Unpooled):
            return parameters
        with network_lock, torch.enable_grad():
            gradients = torch.autograd.grad(self(x).sum(), parameters, allow_unused=True)
        return [p for p, grad in zip(parameters, gradients, strict=True) if grad is not None]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features, shape (n, n_features)."""
        return self.features_of(self.run(x))

    def features_of(self, outputs) -> torch.Tensor:
        """Return the features for what `run` has given, shape (n, n_features)."""
        blocks = self._blocks_of(outputs)
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)


def is_convolutional(module: nn.Module) -> bool:
    """Tell whether a network has several convolutions; one alone cuts an image into patches."""
    return sum(isinstance(part, nn.Conv2d) for part in module.modules()) > 1


def is_faster_by_pixel(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether convolutions are faster with the channels of a pixel side by side."""
    return device.type == "cpu" and dtype in _FASTER_BY_PIXEL


def lay_out_weights(module: nn.Module, memory_format: torch.memory_format) -> None:
    """Let a network hold the weights of its convolutions in another order in memory.

    torch copies them into the order of the images at every pass, if they have another one: for few
    images that takes as long as the pass. A module that shares its weights gets some of its own.
    """
    for part in module.modules():
        # Others may compute with their weights, whose order they rely on.
        if type(part) is not nn.Conv2d or "weight" not in part._parameters:
            continue
        weight = part.weight
        if not weight.is_contiguous(memory_format=memory_format):
            moved = weight.detach().contiguous(memory_format=memory_format)
            part.weight = nn.Parameter(moved, requires_grad=weight.requires_grad)


def _by_pixel(x: torch.Tensor) -> torch.Tensor:
    """Return images with the channels of a pixel side by side in memory."""
    # torch calls images of one channel contiguous in either order: their strides are written anew.
    pixels = x[:, 0].contiguous().unsqueeze(-1) if x.shape[1] == 1 else x.permute(0, 2, 3, 1)
    return pixels.contiguous().permute(0, 3, 1, 2)


def read_ahead(read: Callable, batches: Iterable) -> Iterator[tuple]:
    """Yield batches with what `read` gives for them; the next one is read meanwhile in a thread."""
    with ThreadPoolExecutor(1) as reader:
        current = None
        for batch in batches:
            following = batch, reader.submit(read, batch)
            if current is not None:
                yield current[0], current[1].result()
            current = following
        if current is not None:
            yield current[0], current[1].result()


def _read_in_turn(read: Callable, batches: Iterable) -> Iterator[tuple]:
    """Yield batches with what `read` gives for them."""
    for batch in batches:
        yield batch, read(batch)


class Extractor:
    """A feature network with what its rows need before it.

    Parameters
    ----------
    network : FeatureNetwork
        On `device`, in `precision`.
    preprocessing : Preprocessing, TextPreprocessing or None
    device : torch.device
    precision : {"float32", "float64", "bfloat16", "float16"}
    key : str
        Stands for all of these in the store.
    widths : dict of str to int, optional
        Name and width of each feature block, if they are the same for all rows and known.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        preprocessing: Preprocessing | TextPreprocessing | None,
        device: torch.device,
        precision: str,
        key: str,
        widths: dict[str, int] | None = None,
    ):
        self.dtype = PRECISIONS[precision]
        self.network, self.preprocessing, self.device = network, preprocessing, device
        self.key = key
        # A GPU works beside the process, which can read the next batch meanwhile.
        self.reads_ahead = device.type == "cuda"
        self.output_dtype = np.float64 if precision == "float64" else np.float32
        self._known_widths = widths
        self._shape = None  # without preprocessing, rows decide
        if preprocessing is not None:
            self._shape = tuple(preprocessing.blank(self.dtype).shape[1:])

    def widths(self, rows: Rows) -> dict[str, int]:
        """Return the name and width of each feature block, found with one empty row."""
        if self._known_widths is not None:
            return self._known_widths
        shape = (1, *self.shape(rows))
        known = self.network.known_widths
        if shape not in known:
            try:
                x = self.blank(rows).to(self.device)
                with network_lock, torch.inference_mode(), self._exact_arithmetic():
                    widths = [block.shape[1] for block in self.network.blocks(x)]
            except AssertionError as error:  # what transformers say to images of another size
                raise ValueError(
                    f"The network cannot take rows of shape {shape[1:]} ({error}). Pass images of "
                    "the size that it was made for; input_size=None resizes them to it."
                ) from error
            known[shape] = dict(zip(self.network.names, widths, strict=True))
        return known[shape]

    def blank(self, rows: Rows) -> torch.Tensor:
        """Return one empty row as the network takes it."""
        if self.preprocessing is not None:
            return self.preprocessing.blank(self.dtype)
        return torch.zeros((1, *self.shape(rows)), dtype=self.dtype)

    def shape(self, rows: Rows) -> tuple[int, ...]:
        """Return the shape of one row as the network takes it."""
        if self._shape is not None:
            return self._shape
        return rows.shape or tuple(rows.batch([0], None).shape[1:])

    def check_rows(self, rows: Rows) -> None:
        """Raise a ValueError if the network cannot take the rows.

        Images may have another number of channels, and columns of a table values that are infinite
        in the network's type of numbers.
        """
        if isinstance(rows, TableRows):
            rows.check_range(self.dtype)
        if self.preprocessing is None or rows.shape is None or len(rows.shape) != 3:
            return
        wanted, given = len(self.preprocessing.mean), rows.shape[0]
        if given not in (1, wanted):
            raise ValueError(
                f"The images have {given} channels, and the backbone takes {wanted} (or 1, which "
                f"is repeated). Keep {wanted} of them, for example X[..., :{wanted}]."
            )

    def batch_size(self, rows: Rows) -> int:
        """Return a batch size that depends on the form of the rows only, never on their number."""
        if isinstance(rows, TableRows):
            return 256
        if isinstance(rows, TextRows):
            return 16 if self.device.type == "cpu" else 128
        side = self.preprocessing.crop_size if self.preprocessing else (rows.shape or (3, 224))[-1]
        on_cpu = 8 if side > 128 else 32 if side >= 64 else 64
        return on_cpu if self.device.type == "cpu" else 8 * on_cpu

    def engine(self, rows: Rows, batch_size: int | str, name: str):
        """Return what runs the network on batches of rows: an engine where it can, or itself."""
        if name == "torch":
            return self.network
        size = self.batch_size(rows) if batch_size == "auto" else batch_size
        if isinstance(rows, TextRows):  # of any length
            shape, max_length = (2, 16), self.preprocessing.max_length
        else:
            shape, max_length = self.shape(rows), None
        shape = (size, *shape)
        key = (name, self.key, shape, torch.get_num_threads())

        def build():
            with self._exact_arithmetic():
                return build_engine(name, self.network, shape, max_length)

        engine = _engines.get(key, build)
        return self.network if engine is None else engine

    def extract(
        self,
        rows: Rows,
        *,
        batch_size: int | str = "auto",
        store: FeatureStore | DiskFeatureStore | None = None,
        engine: str = "torch",
        keeps: bool = True,
        each_of: Callable[[Iterable, int], Iterable] | None = None,
    ) -> np.ndarray:
        """Return the features of all rows, shape (len(rows), n_features).

        Every batch has the same size (the last is padded by its first row), and texts of one
        length share it, so that a row's features are a function of the row alone, within
        rounding. Equal rows pass once.

        Parameters
        ----------
        rows : Rows
        batch_size : int or "auto", default="auto"
            "auto" depends on the form of the rows. Few distinct rows are padded to the next of 1, 8
            and 64 (of a table, 1 and 8) instead; where that gives other bits, the store keeps their
            features apart. Features therefore depend on the number of distinct rows, and never on
            the store.
        store : FeatureStore or DiskFeatureStore, optional
            Rows found there do not pass the network; the others are put there.
        engine : {"torch", "onnxruntime", "openvino", "cuda_graph"}, default="torch"
            Runtime; torch replaces an engine that cannot run the network.
        keeps : bool, default=True
            Whether rows that are not found are put into the store. Otherwise they are not padded.
        each_of : callable, optional
            Function of the batches and of their number that hands them on, one after the other.
            There may be more where other processes compute some of the rows.
        """
        self.check_rows(rows)
        if store is None and isinstance(self.network.trunk, TableNetwork):
            # A pass costs less than digests.
            digests = distinct = first = range(len(rows))
        else:
            digests, first = rows.digests(), {}
            for row, digest in enumerate(digests):
                first.setdefault(digest, row)
            distinct = list(first)
        features = np.empty((len(distinct), sum(self.widths(rows).values())), self.output_dtype)
        whole = self.batch_size(rows) if batch_size == "auto" else batch_size
        run, size = self.engine(rows, whole, engine), whole
        if batch_size == "auto" and run is self.network:  # an engine is built for one size
            size = self._size_for(rows, len(distinct), whole)
        namespace = ""
        if store is not None:
            namespace = self._namespace(rows, size, whole, run)
        missing = np.arange(len(distinct))
        if store is not None:
            found, values = store.get(namespace, distinct)
            if values is not None:
                features[found] = values
            missing = np.flatnonzero(~found)
        groups = [missing]
        if isinstance(rows, TextRows):
            indices = [first[distinct[i]] for i in missing]
            groups = [missing[group] for group in rows.groups(indices, self.preprocessing)]
        if store is None or not keeps:
            batches = in_batches(groups, size)
        else:  # without the rows that other processes compute
            batches = store.batches(namespace, distinct, groups, size, features)
        if each_of is not None:
            batches = each_of(batches, sum(-(-len(group) // size) for group in groups))

        def read(batch) -> torch.Tensor:
            places = [first[distinct[i]] for i in batch]
            padding = size - len(places) if keeps else 0
            return self._read(rows, places + places[:1] * padding)

        # Who waits for the rows of another process has to have stored what it has claimed itself.
        is_ahead = self.reads_ahead and not isinstance(store, DiskFeatureStore)
        is_ahead = is_ahead and not getattr(rows, "are_drawn", False)
        for batch, x in (read_ahead if is_ahead else _read_in_turn)(read, batches):
            features[batch] = self._forward(x, run)[: len(batch)]
            if store is not None and keeps:
                store.put(namespace, [distinct[i] for i in batch], features[batch])
        if not np.isfinite(features).all():
            odd = int(np.flatnonzero(~np.isfinite(features).all(axis=1))[0])
            raise ValueError(
                f"The network gives NaN or infinity for row {first[distinct[odd]]}, in "
                f"{str(self.dtype).removeprefix('torch.')}. Scale the columns of a table, choose a "
                "wider precision, or look for what is wrong with its weights."
            )
        if len(distinct) == len(digests):
            return features
        position = {digest: i for i, digest in enumerate(distinct)}
        return features[[position[digest] for digest in digests]]

    def _size_for(self, rows: Rows, n_rows: int, whole: int) -> int:
        """Return the size of the batches of a call with so many distinct rows."""
        # Of a table, folds of a search have as many as 64 rows: they find what larger ones stored.
        sizes = _FEW_ROWS[:2] if isinstance(rows, TableRows) else _FEW_ROWS
        return next((few for few in sizes if 0 < n_rows <= few < whole), whole)

    def _namespace(self, rows: Rows, size: int, whole: int, run) -> str:
        """Return what stands in the store for all that decides the bits of a row's features."""
        if size != whole and self._has_same_bits(rows, size, whole):
            size = whole
        namespace = f"{self.key}:{rows.form}:{size}"
        if run is not self.network:
            return f"{namespace}:{run.key}"
        return f"{namespace}:by pixel" if self.network.runs_by_pixel else namespace

    def _has_same_bits(self, rows: Rows, size: int, whole: int) -> bool:
        """Tell whether images have the same features in batches of either size, by a probe.

        Products of matrices are another matter: their kernels differ by the number of rows.
        """
        if isinstance(rows, TextRows | TableRows):
            return False
        shape = self.shape(rows)

        def probe() -> bool:
            x = torch.rand((whole, *shape), generator=torch.Generator().manual_seed(0))
            x = x.to(self.device, self.dtype)
            with torch.inference_mode(), self._exact_arithmetic():
                together = self.network(x)
                return all(
                    torch.equal(together[part], self.network(x[part]))
                    for part in (slice(size), slice(whole - size, whole))
                )

        key = (self.key, shape, size, whole, torch.get_num_threads())
        return _have_same_bits.get(key, probe)

    def _read(self, rows: Rows, indices: list[int]) -> torch.Tensor:
        """Return a batch as it is read, on its way to the device."""
        x = rows.batch(indices, self.preprocessing)
        if self.device.type == "cuda" and x.device.type == "cpu":
            x = x.pin_memory()
        with self._memory_explained(len(x)):
            return x.to(self.device, non_blocking=True)

    def _forward(self, x: torch.Tensor, run) -> torch.Tensor:
        """Return the features of a batch in main memory."""
        with self._memory_explained(len(x)):
            with network_lock, torch.inference_mode(), self._exact_arithmetic():
                if self.preprocessing is None:
                    x = unit_range(x, self.dtype).contiguous()
                else:
                    x = self.preprocessing.normalize(x, self.dtype)
                if run is self.network:
                    features = run(x)
            if run is not self.network:
                features = run(x)
            return features.to(
                "cpu", torch.float64 if self.output_dtype == np.float64 else torch.float32
            )

    @contextmanager
    def _memory_explained(self, n_rows: int) -> Iterator[None]:
        """Say in the error of a device that is full how to need less."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise torch.OutOfMemoryError(
                f"{self.device} has no memory for a batch of {n_rows} rows. Lower batch_size."
            ) from error

    def _exact_arithmetic(self):
        """Keep convolutions on a GPU in full float32, and deterministic."""
        if self.device.type != "cuda":
            return nullcontext()
        return torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
