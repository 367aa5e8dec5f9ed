"""The weights in a program of torch.export, without the program."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import torch

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
