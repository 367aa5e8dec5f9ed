"""Weights from files: safetensors, or files of torch without any code in them."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import numpy as np
import torch
from safetensors.torch import load_file

from skltransfer._messages import ArgumentError, first_line

# torch writes tensors as they are; what unpacks to much more than the file holds is a trap.
_MAX_INFLATION = 10
# Keys under which training checkpoints keep the network, the first that is there.
_NETWORKS = ("state_dict", "model_state_dict", "model")


def read_state(path: str | Path, name: str) -> dict[str, torch.Tensor]:
    """Read the tensors in a ``.safetensors``, ``.pt2``, ``.pt`` or ``.pth`` file; never run code.

    Parameters
    ----------
    path : str or Path
    name : str
        The network that the weights are for, for messages.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or holds something else than tensors.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"weights={str(path)!r}: there is no such file.")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            _check_inflation(path)
            if path.suffix == ".pt2":
                state = read_program_weights(path)
            else:
                state = _unpickled(path)
    except Exception as error:  # damaged files make torch raise many kinds
        raise ArgumentError(
            ("weights", str(path)),
            f" cannot be read as weights of {name!r}: {first_line(error)}. "
            "Pass a complete .safetensors or .pt2 file, or a .pt or .pth file that holds tensors "
            "only (torch.save(module.state_dict(), path)); copy or download a truncated one again.",
        ) from error
    return _unwrap(state, path)


def given_state(weights, name: str) -> dict[str, torch.Tensor] | None:
    """Read the tensors of the file that a user names; None for "default" and for None.

    Raises
    ------
    TypeError
        If `weights` is something else.
    """
    if weights is None or is_default(weights):
        return None
    if not isinstance(weights, str | Path):
        raise TypeError(
            f"weights={weights!r} is a {type(weights).__name__}. For {name!r} pass 'default', None "
            "or the path of a file."
        )
    return read_state(weights, name)


def file_stamps(*paths: Path) -> tuple:
    """Return what stands for files in a cache: name, size and time of those that exist."""
    stamps = ((str(path.resolve()), path.stat()) for path in paths if path.is_file())
    return tuple((name, status.st_size, status.st_mtime_ns) for name, status in stamps)


def is_default(weights) -> bool:
    """Tell whether the published weights are meant."""
    return isinstance(weights, str) and weights.lower() == "default"


def _plain_types() -> list:
    """Return types of numbers and settings in checkpoints, which run no code when they are read."""
    multiarray = np.array(0).__reduce__()[0].__module__  # by its name in this version of numpy
    types = [np.dtype, np.ndarray, argparse.Namespace]
    types += [type(np.dtype(code)) for code in np.typecodes["All"] if code not in "OVSU"]
    for function in (np.array(0).__reduce__()[0], np.float64(0).__reduce__()[0]):
        # Files have the name in the numpy that wrote them.
        types += [
            (function, f"{package}.multiarray.{function.__name__}")
            for package in {multiarray.rpartition(".")[0], "numpy.core", "numpy._core"}
        ]
    return types


def _unpickled(path: Path):
    try:
        with torch.serialization.safe_globals(_plain_types()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, MemoryError):
        raise
    except Exception as error:  # "pop from empty list" for a table, or advice to run the code in it
        raise ValueError(
            "it is damaged, or holds more than tensors, and a pickle can run any code"
        ) from error


def _check_inflation(path: Path) -> None:
    if not is_zipfile(path):
        return
    with ZipFile(path) as archive:
        n_bytes = sum(entry.file_size for entry in archive.infolist())
    if n_bytes > _MAX_INFLATION * path.stat().st_size:
        raise ValueError(f"it unpacks to {n_bytes} bytes, far more than it has")


def _unwrap(state, path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint by their names, those inside of others with a prefix."""
    while key := next((k for k in _NETWORKS if isinstance(_entry(state, k), dict)), None):
        state = state[key]
    tensors = dict(_tensors(state))
    if not tensors:
        raise ArgumentError(
            ("weights", str(path)),
            " holds no state dict. Save one by torch.save(module.state_dict(), path).",
        )
    return tensors


def _entry(state, key: str):
    return state.get(key) if isinstance(state, dict) else None


def _tensors(state, prefix: str = "", depth: int = 3):
    for key, value in state.items() if isinstance(state, dict) else ():
        if not isinstance(key, str):
            continue
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            value = torch.from_numpy(np.array(value))
        if isinstance(value, torch.Tensor):
            yield prefix + key, value
        elif depth:
            yield from _tensors(value, f"{prefix}{key}.", depth - 1)


# Of torch's numbers of types those that weights are of.
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_CONFIG = "data/weights/model_weights_config.json"


def read_program_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a ``.pt2`` file; neither its graph nor anything pickled is looked at.

    ``torch.export.load`` itself unpickles, and evaluates expressions: it would run code in a file.

    Raises
    ------
    ValueError
        If the file has no such tensors.
    """
    with ZipFile(path) as archive:
        found = [name for name in archive.namelist() if name.endswith(f"/{_CONFIG}")]
        if len(found) != 1:
            raise ValueError("it holds no program of torch.export")
        root = found[0].removesuffix(_CONFIG)
        listed = json.loads(archive.read(found[0]))["config"]
        return {name: _tensor(archive, root, name, entry) for name, entry in listed.items()}


def _tensor(archive: ZipFile, root: str, name: str, entry: dict) -> torch.Tensor:
    if entry["use_pickle"]:
        raise ValueError(f"the tensor {name} is pickled")
    about = entry["tensor_meta"]
    dtype = _DTYPES[about["dtype"]]
    size, stride = ([n["as_int"] for n in about[key]] for key in ("sizes", "strides"))
    content = bytearray(archive.read(f"{root}data/weights/{entry['path_name']}"))
    if math.prod(size) * dtype.itemsize > len(content):
        raise ValueError(f"the tensor {name} is larger than what the file holds of it")
    flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
    return flat.as_strided(size, stride, about["storage_offset"]["as_int"]).clone()
