"""A digest of everything that decides what a module computes."""

from __future__ import annotations

import pickle
from itertools import chain
from types import CodeType, FunctionType, MethodType
from uuid import uuid4

import numpy as np
import torch
import xxhash
from torch import nn

_LIBRARIES = ("torch", "torchvision", "timm", "transformers")
_PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def fingerprint(module: nn.Module) -> str:
    """Return a hexadecimal digest of a module's tensors, structure, settings and code.

    Equal for two copies of a module. Different where any parameter or buffer differs, a
    setting (a plain attribute), or the code of a class outside the known libraries. What code
    reads from elsewhere, a global variable for example, is not seen.
    """
    digest = xxhash.xxh3_128()
    for name, part in module.named_modules():
        kind = type(part)
        digest.update(f"{name}={kind.__module__}.{kind.__qualname__}({part.extra_repr()})".encode())
        for base in kind.__mro__:
            if base.__module__.split(".")[0] not in (*_LIBRARIES, "builtins"):
                for attribute, value in sorted(vars(base).items()):
                    if isinstance(value, FunctionType):
                        digest.update(attribute.encode())
                        _update_with_code(digest, value.__code__)
        for attribute, value in sorted(vars(part).items()):
            if attribute in _HOOKS or not (attribute.startswith("_") or attribute == "training"):
                digest.update(attribute.encode())
                _update_with_value(digest, value)
    tensors = chain(
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    )
    for name, tensor in tensors:
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(_tensor_bytes(tensor))
    return digest.hexdigest()


def _tensor_bytes(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _update_with_code(digest, code: CodeType) -> None:
    digest.update(code.co_code)
    digest.update(repr(code.co_names).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _update_with_code(digest, constant)
        else:
            digest.update(repr(constant).encode())


def _update_with_value(digest, value) -> None:
    if isinstance(value, _PLAIN):
        digest.update(repr(value).encode())
    elif isinstance(value, list | tuple | set):
        for entry in value:
            _update_with_value(digest, entry)
    elif isinstance(value, dict):
        for key, entry in value.items():
            digest.update(repr(key).encode())
            _update_with_value(digest, entry)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).view(np.uint8))
    elif isinstance(value, torch.Tensor):
        digest.update(_tensor_bytes(value))
    elif isinstance(value, MethodType):
        _update_with_code(digest, value.__func__.__code__)
    elif isinstance(value, FunctionType):
        _update_with_code(digest, value.__code__)
        for cell in value.__closure__ or ():
            _update_with_value(digest, cell.cell_contents)
    else:
        try:
            digest.update(pickle.dumps(value))
        except Exception:  # unknown and unpicklable: equal to nothing else
            digest.update(uuid4().bytes)
