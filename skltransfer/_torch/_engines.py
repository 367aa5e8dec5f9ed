"""Other ways to run frozen feature networks than torch's own: built once, checked, and shared."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import torch

from skltransfer._locks import ThreadLock
from skltransfer._messages import first_line, require
from skltransfer._torch._engine_cuda_graph import CudaGraph
from skltransfer._torch._engine_onnx import feature_graph
from skltransfer._warnings import warn

ON_CPU = ("onnxruntime", "openvino")
ENGINES = ("torch", *ON_CPU, "cuda_graph")
# Largest difference to torch, relative to the largest feature of a layer.
TOLERANCE = 1e-4


class EngineWarning(RuntimeWarning):
    """An engine cannot run a network, and torch runs it."""


class Engine:
    """A compiled feature network, for batches of one shape; one thread runs it at a time.

    Its `key` tells its features from another engine's features.

    Parameters
    ----------
    name : {"onnxruntime", "openvino"}
    graph : bytes
        The network in ONNX.
    n_threads : int
        Threads that it may use.
    """

    def __init__(self, name: str, graph: bytes, n_threads: int):
        self.key = f"{name} {version(name)}"
        self._run = _COMPILERS[name](graph, n_threads)
        self._in_use = ThreadLock()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features of a batch, float32 of shape (n, n_features)."""
        with self._in_use:
            return torch.from_numpy(np.array(self._run(x.numpy())))


def _onnxruntime(graph: bytes, n_threads: int) -> Callable:
    """Return a function from a batch to its features, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions
    # Threads that wait would take the time of other workers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def _openvino(graph: bytes, n_threads: int) -> Callable:
    """Return a function from a batch to its features, on the CPU."""
    import openvino

    core = openvino.Core()
    # Not bfloat16, which it prefers where the processor has it; and a processor's core is not
    # taken for itself, which other workers would take as well.
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": n_threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    request = core.compile_model(core.read_model(graph), "CPU", settings).create_infer_request()
    return lambda x: request.infer([x], share_inputs=True)[0]


_COMPILERS = {"onnxruntime": _onnxruntime, "openvino": _openvino}


def check_engine(engine, precision, device) -> None:
    """Raise an error if an engine is not installed or does not take a precision or a device.

    Parameters
    ----------
    engine : {"torch", "onnxruntime", "openvino", "cuda_graph"}
    precision : str
    device : str or torch.device
    """
    if engine == "torch":
        return
    if engine == "cuda_graph":
        name = str(device)
        if not (torch.cuda.is_available() if name == "auto" else name.startswith("cuda")):
            raise ValueError(
                f"engine='cuda_graph' runs on a GPU, and device={name!r} is none here. Set "
                "device='cuda' where there is one, or engine='torch'."
            )
        return
    if precision != "float32":
        raise ValueError(
            f"engine={engine!r} computes in float32, and precision={precision!r}. Set "
            "precision='float32', or engine='torch'."
        )
    if str(device) not in ("auto", "cpu"):
        raise ValueError(
            f"engine={engine!r} runs on the CPU, and device={str(device)!r}. Set device='cpu', or "
            "engine='torch'."
        )
    for package in (engine, "onnx", "onnxscript"):
        require(package, "engines", ("engine", engine))


def build_engine(name: str, network, shape: tuple[int, ...], max_length: int | None):
    """Return an engine that runs a network on batches of one shape, on as many threads as torch.

    Parameters
    ----------
    name : {"onnxruntime", "openvino", "cuda_graph"}
    network : FeatureNetwork
        In float32 on the CPU, or on a GPU for "cuda_graph". It is traced or recorded, and no other
        thread may run it meanwhile.
    shape : tuple of int
        Shape of a batch.
    max_length : int or None
        Largest length of a text in tokens; None for other rows.

    Returns
    -------
    engine : Engine, CudaGraph or None
        None if it cannot be built or disagrees with torch; a warning says why.
    """
    engine = _build(name, network, shape, max_length)
    if not isinstance(engine, str):
        return engine
    warn(
        f"engine={name!r} cannot run this network, and torch runs it: {engine} "
        "Pass engine='torch' to do so without this warning.",
        EngineWarning,
    )
    return None


def _build(
    name: str, network, shape: tuple[int, ...], max_length: int | None
) -> Engine | CudaGraph | str:
    """Return an engine; what is in the way, if there is something."""
    probe = _probe(shape, max_length)
    if name == "cuda_graph":
        if max_length is not None:
            return "its batches of texts differ in length, and a graph is recorded for one shape."
    try:
        if name == "cuda_graph":
            probe = probe.to(next(network.parameters()))
            engine = CudaGraph(network, probe)
        else:
            graph = feature_graph(network, probe, max_length)
            engine = Engine(name, graph, torch.get_num_threads())
        features = engine(probe)
        reversed_features = engine(probe.flip(0).contiguous())
    except Exception as error:  # torch.export, the converters and the engines raise many kinds
        said = f"{type(error).__name__}: {first_line(error)}"
        return f"it cannot be exported, compiled or recorded ({said})."
    with torch.inference_mode():
        blocks = network.blocks(probe)
    widths = [block.shape[1] for block in blocks]
    if features.shape != (len(probe), sum(widths)):
        return f"it gives features of shape {tuple(features.shape)}."
    for block, given in zip(blocks, features.split(widths, dim=1), strict=True):
        scale = float(block.abs().max())
        difference = float((block - given).abs().max())
        if not difference <= TOLERANCE * scale:  # NaN as well
            return (
                f"its features differ from torch by {difference / (scale or 1):.0e} of "
                f"the largest on a probe, more than {TOLERANCE:.0e}."
            )
    # Within rounding: of one row, other places in a batch may give other last bits.
    moved = (reversed_features.flip(0) - features).abs().max()
    if not moved <= TOLERANCE / 10 * features.abs().max():
        return "its features of a row depend on the place of the row in a batch."
    return engine


def _probe(shape: tuple[int, ...], max_length: int | None) -> torch.Tensor:
    """Return a batch that looks like one of normalised pixels, or of texts."""
    generator = torch.Generator().manual_seed(0)
    if max_length is None:
        return torch.randn(shape, generator=generator)
    length = min(16, max_length)
    n_tokens = torch.randint(1, length, (shape[0], 1), generator=generator)
    mask = (torch.arange(length) < n_tokens).long()
    ids = torch.randint(0, 2, mask.shape, generator=generator)
    return torch.stack([ids * mask, mask], dim=1)
