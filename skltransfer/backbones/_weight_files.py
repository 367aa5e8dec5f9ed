"""Weights from files: safetensors, or files of torch without any code in them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from zipfile import ZipFile

import torch
from safetensors.torch import load_file
from torch import nn

from skltransfer._messages import ArgumentError, first_line


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
        elif path.suffix == ".pt2":
            state = read_program_weights(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files make torch raise many kinds
        reason = first_line(error)
        if isinstance(error, pickle.UnpicklingError):  # torch advises to run the code in it
            reason = "it is damaged, or holds more than tensors, and a pickle can run any code"
        raise ArgumentError(
            ("weights", str(path)),
            f" cannot be read as weights of {name!r}: {reason}. "
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


def _unwrap(state, path: Path) -> dict[str, torch.Tensor]:
    """Find the tensors in a training checkpoint, and drop the prefix of DataParallel."""
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
    ):
        raise ArgumentError(
            ("weights", str(path)),
            " holds no state dict. Save one by torch.save(module.state_dict(), path).",
        )
    if all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return state


def load_state(module: nn.Module, state: dict[str, torch.Tensor], name: str, path=None) -> None:
    """Load tensors into a module, all of them and no others.

    Counters of batch normalisation may be missing: they do not enter the output.

    Parameters
    ----------
    module : Module
    state : dict of str to Tensor
    name : str
        The network's, for messages.
    path : str or Path, optional
        The file that `state` is from, for messages.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    surplus = [key for key in state if key not in own]
    changed = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    problems = [
        f"{len(keys)} {what}, such as {keys[0]}"
        for what, keys in (
            ("missing", missing),
            ("unknown", surplus),
            ("of another shape", changed),
        )
        if keys
    ]
    if problems:
        source = "The weights" if path is None else f"The weights in {str(path)!r}"
        raise ValueError(
            f"{source} are for another architecture than {name!r}: tensors "
            f"{'; '.join(problems)}. Name the network that they were saved from; for one of your "
            "own, pass the module, or what builds it, together with weights='PATH'."
        )
    module.load_state_dict(state, strict=False)


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
    flat = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
    return flat.as_strided(size, stride, about["storage_offset"]["as_int"]).clone()
