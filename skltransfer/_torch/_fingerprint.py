"""A digest of everything that decides what a module computes."""

from __future__ import annotations

import builtins
import dis
import functools
import pickle
import sys
from itertools import chain
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from uuid import uuid4
from weakref import ReferenceType, WeakKeyDictionary

import numpy as np
import torch
import xxhash
from torch import nn
from torch.fx import Graph, GraphModule

# Their classes count by name: only a new version, in a new process, changes them.
_LIBRARIES = {
    *sys.stdlib_module_names,
    *("torch", "torchvision", "timm", "transformers", "numpy", "scipy", "sklearn", "PIL"),
} - {"__main__"}
_PLAIN = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    bytearray,
    range,
    slice,
    type(None),
    type(Ellipsis),
    torch.dtype,
    torch.device,
    torch.Size,
)
# Global values, beside plain ones, that count where code names them. Lists and dictionaries may
# be logs that a forward pass writes to.
_READABLE = (FunctionType, type, tuple, frozenset, np.ndarray, torch.Tensor)
_READS, _WRITES = {"LOAD_GLOBAL", "LOAD_NAME"}, {"STORE_GLOBAL", "STORE_NAME", "STORE_ATTR"}
# Attributes of every module, and attributes that do not enter its output.
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_BOOKKEEPING = {*vars(nn.Module()), "training"} - {*_HOOKS}
# Of a module that torch.fx has made, whose code says the same.
_GRAPH_BOOKKEEPING = {"_graph", "_code", "_tracer_cls", "_tracer_extras", "meta"}
_unknown: WeakKeyDictionary[object, bytes] = WeakKeyDictionary()

_held: dict[int, tuple[object, bytes]] = {}


def fingerprint(module: nn.Module) -> str:
    """Return a hexadecimal digest of a module's tensors, structure, settings and code.

    Equal for two copies of a module. Different where any parameter or buffer differs, a
    setting (a plain attribute), or code outside the known libraries: methods, defaults, closures,
    class attributes, and the global functions and constants that it names. What it reads from
    elsewhere, a global list or a file for example, is not seen.
    """
    parts = dict(module.named_modules(remove_duplicate=False))
    digest = _Digest()
    for name, part in parts.items():
        digest.write("part", name)
        digest.add_module(part)
    tensors = chain(
        module.named_parameters(remove_duplicate=False),
        module.named_buffers(remove_duplicate=False),
    )
    for name, tensor in tensors:
        digest.write("tensor", name)
        digest.add(tensor)
    return digest.hexdigest()


def digest_of(value) -> str:
    """Return a hexadecimal digest of any value; of functions and classes by their content."""
    digest = _Digest()
    digest.add(value)
    return digest.hexdigest()


def _root(value) -> str:
    """Return the package that defines a class or a function."""
    return (getattr(value, "__module__", None) or "").split(".")[0]


def _is_from_library(value) -> bool:
    if _root(value) == "builtins":  # or made by exec, without a module
        return getattr(builtins, value.__name__, None) is value
    return _root(value) in _LIBRARIES


class _Digest:
    """Hashes values with their kind and length, so that no two of them run into each other."""

    def __init__(self):
        self._hash = xxhash.xxh3_128()
        self._within: set[int] = set()  # what is being hashed: the way out of a cycle
        self._digests: dict[int, tuple[object, str]] = {}  # of functions and classes

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def write(self, kind: str, content: str | bytes | np.ndarray = b"") -> None:
        """Add `content`, marked by its kind and length."""
        if isinstance(content, str):
            content = content.encode()
        self._hash.update(f"{kind}:{len(content)}:".encode())
        self._hash.update(content)

    def add_module(self, part: nn.Module) -> None:
        """Add the class and the settings of one module, without its children and tensors."""
        self.add(type(part))
        self.write("settings", part.extra_repr())
        settings = {name: value for name, value in vars(part).items() if name not in _BOOKKEEPING}
        for name in _HOOKS:  # their keys count up over the whole process
            settings[name] = list(settings[name].values())
        if isinstance(part, GraphModule):
            self.write("graph", part.code)
            settings = {
                name: value
                for name, value in settings.items()
                if name not in _GRAPH_BOOKKEEPING and not isinstance(value, Graph)
            }
        self._add_items("attribute", settings, is_sorted=True)

    def add(self, value) -> None:
        """Add any value."""
        if isinstance(value, _PLAIN):
            self.write(type(value).__name__, repr(value))
        elif isinstance(value, torch.Tensor):
            self.write("tensor", f"{value.dtype}{tuple(value.shape)}")
            if not value.is_meta:
                flat = value.detach().cpu().contiguous().reshape(-1)
                self.write("values", flat.view(torch.uint8).numpy())
        elif isinstance(value, np.ndarray) and value.dtype != object:
            self.write("array", f"{value.dtype.str}{value.shape}")
            self.write("values", np.ascontiguousarray(value).reshape(-1).view(np.uint8))
        elif isinstance(value, FunctionType | type):
            self._add_code_of(value)
        elif isinstance(value, ReferenceType):
            self.write("weak reference")
        elif isinstance(value, BuiltinFunctionType | ModuleType):
            self.write("named", f"{getattr(value, '__module__', '')}.{value.__name__}")
        elif id(value) in self._within:
            self.write("cycle")
        else:
            self._within.add(id(value))
            self._add_compound(value)
            self._within.discard(id(value))

    def _add_compound(self, value) -> None:
        if isinstance(value, list | tuple):
            self.write(type(value).__name__, str(len(value)))
            for entry in value:
                self.add(entry)
        elif isinstance(value, set | frozenset):
            self.write(type(value).__name__, "".join(sorted(self._digest_of(e) for e in value)))
        elif isinstance(value, dict):
            self._add_items(type(value).__name__, value)
        elif isinstance(value, staticmethod | classmethod | MethodType):
            self.write(type(value).__name__)
            self.add(value.__func__)
            if isinstance(value, MethodType):
                self.add(value.__self__)
        elif isinstance(value, property):
            self.write("property")
            for function in (value.fget, value.fset, value.fdel):
                self.add(function)
        elif isinstance(value, functools.partial):
            self.write("partial")
            for entry in (value.func, value.args, value.keywords):
                self.add(entry)
        elif isinstance(value, CodeType):
            self._add_code(value)
        elif isinstance(value, nn.Module):
            for name, part in value.named_modules(remove_duplicate=False):
                self.write("part", name)
                if part is value or id(part) not in self._within:
                    self.add_module(part)
            self._add_items("tensors", value.state_dict(keep_vars=True))
        else:
            self._add_object(value)

    def _add_items(self, kind: str, items: dict, *, is_sorted: bool = False) -> None:
        self.write(kind, str(len(items)))
        for key, value in sorted(items.items()) if is_sorted else list(items.items()):
            self.add(key)
            self.add(value)

    def _add_object(self, value) -> None:
        kind = type(value)
        is_plain = (
            kind.__reduce_ex__ is object.__reduce_ex__ and kind.__reduce__ is object.__reduce__
        )
        if is_plain and kind.__getstate__ is object.__getstate__ and hasattr(value, "__dict__"):
            self.write("object")
            self.add(kind)
            self._add_items("attributes", vars(value), is_sorted=True)
            return
        try:
            self.write("pickle", pickle.dumps(value))
        except Exception:  # unknown and unpicklable: equal to itself only
            self.write("unknown", _identity(value))

    def _add_code_of(self, value) -> None:
        """Add a function or a class by its content; a class of a library by its name."""
        if id(value) not in self._digests:
            if id(value) in self._within:
                self.write("cycle", value.__qualname__)
                return
            self._within.add(id(value))
            twin = _Digest()
            twin._within, twin._digests = self._within, self._digests
            twin.write("named", f"{value.__module__}.{value.__qualname__}")
            if isinstance(value, FunctionType):
                twin._add_function(value)
            elif not _is_from_library(value):
                twin._add_class(value)
            self._within.discard(id(value))
            self._digests[id(value)] = (value, twin.hexdigest())
        self.write("code", self._digests[id(value)][1])

    def _add_class(self, kind: type) -> None:
        members = {n: v for n, v in vars(kind).items() if not _is_bookkeeping(n, v)}
        # A counter that its own methods write to is no setting.
        written = set()
        for member in members.values():
            function = getattr(member, "__func__", member)
            if isinstance(function, FunctionType):
                written |= _names_in(function.__code__, _WRITES)
        members = {
            n: v for n, v in members.items() if n not in written or not isinstance(v, _PLAIN)
        }
        self._add_items("class", members, is_sorted=True)
        for base in kind.__bases__:
            self.add(base)

    def _add_function(self, function: FunctionType) -> None:
        self._add_code(function.__code__)
        self.add(function.__defaults__)
        self.add(function.__kwdefaults__)
        for cell in function.__closure__ or ():
            try:
                self.add(cell.cell_contents)
            except ValueError:  # not filled yet
                self.write("empty cell")
        if _is_from_library(function):
            return
        written = _names_in(function.__code__, _WRITES)
        named = _names_in(function.__code__, _READS) - written
        for name in sorted(named & function.__globals__.keys()):
            value = function.__globals__[name]
            if isinstance(value, (*_PLAIN, *_READABLE)) and not (
                isinstance(value, FunctionType | type) and _is_from_library(value)
            ):
                self.write("global", name)
                self.add(value)

    def _add_code(self, code: CodeType) -> None:
        self.write("bytecode", code.co_code)
        self.add(code.co_names)
        for constant in code.co_consts:
            self.add(constant)

    def _digest_of(self, value) -> str:
        twin = _Digest()
        twin._within, twin._digests = self._within, self._digests
        twin.add(value)
        return twin.hexdigest()


def _is_bookkeeping(name: str, value) -> bool:
    """Tell whether a member of a class is Python's own: documentation, annotations, slots."""
    is_special = name.startswith("__") and name.endswith("__")
    return name == "_abc_impl" or (
        is_special and not isinstance(value, FunctionType | staticmethod | classmethod | property)
    )


def _names_in(code: CodeType, operations: set[str]) -> set[str]:
    """Return the names that code, and the functions inside it, use in `operations`."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in operations}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names_in(constant, operations)
    return names


def _identity(value) -> bytes:
    """Return bytes that stand for this very object for as long as it lives."""
    try:
        return _unknown.setdefault(value, uuid4().bytes)
    except TypeError:  # neither hashable nor weakly referable: held, so that its id stays its own
        return _held.setdefault(id(value), (value, uuid4().bytes))[1]
