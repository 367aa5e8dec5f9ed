"""Networks as data: their structure in JSON, their tensors in the format of safetensors."""

from __future__ import annotations

import json
import re
from contextvars import ContextVar
from functools import partial
from importlib import import_module

import numpy as np
import torch
import xxhash
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import nn
from torch.nn import functional

from skltransfer._networks._built import TransferNetwork
from skltransfer._persisted import AsData
from skltransfer._torch._extraction import FeatureNetwork
from skltransfer._torch._fingerprint import fingerprint
from skltransfer._torch._layers import CosineHead, LinearHead, MLPHead, Standardize, TableNetwork
from skltransfer._torch._preprocessing import Preprocessing
from skltransfer._torch._taps import is_timm
from skltransfer._torch._text import (
    DenseLayer,
    SentenceEncoder,
    TextPreprocessing,
    TokenEncoder,
    UnitLength,
)
from skltransfer.backbones._huggingface import ImageEncoder
from skltransfer.backbones._tiny import ResidualBlock, TinyResNet
from skltransfer.backbones._two_towers import ImageTower, TextTower
from skltransfer.parameter._multitask_network import TaskHeads
from skltransfer.persistence._library_networks import (
    TokenizerData,
    build_timm,
    build_transformer,
    copy_notes,
    describe_timm,
    describe_transformer,
    is_transformer,
    settings_of,
)
from skltransfer.relation._distances import PrototypeHead


def name_of(kind) -> str:
    """Return the full name of a class or a function."""
    return f"{kind.__module__}.{kind.__qualname__}"


_OWN = {
    name_of(kind): kind
    for kind in (
        CosineHead,
        DenseLayer,
        ImageEncoder,
        ImageTower,
        LinearHead,
        MLPHead,
        PrototypeHead,
        ResidualBlock,
        SentenceEncoder,
        Standardize,
        TableNetwork,
        TaskHeads,
        TextTower,
        TinyResNet,
        TokenEncoder,
        TransferNetwork,
        UnitLength,
    )
}
# Networks of libraries by their key in a file: functions that detect, describe and build one.
_LIBRARY_NETWORKS = {
    "transformer": (is_transformer, describe_transformer, build_transformer),
    "timm": (is_timm, describe_timm, build_timm),
}
# Modules of layers and networks. Building one of them runs library code only.
_LIBRARIES = ("torch.nn.modules.", "torchvision.models.", "torchvision.ops.")
_FUNCTIONS = ("relu", "gelu", "silu", "elu", "leaky_relu", "hardswish")
_CONTAINERS = {"list": list, "tuple": tuple, "set": set, "Size": torch.Size}
# Names of parts and tensors. torch.fx writes them into code, between quotes, as they are.
_NAME = re.compile(r"[\w \-+/:]+")
_BOOKKEEPING = {*vars(nn.Module())}
_HOOKS = [name for name in _BOOKKEEPING if name.endswith("_hooks")]
# Classes of the user's own that may be named in the file that is being read.
trusted_classes: ContextVar[frozenset[str]] = ContextVar("trusted_classes", default=frozenset())


class UntrustedClass(TypeError):
    """A file names a class whose code is not trusted."""


class ModuleData(AsData):
    """A network as data.

    Parameters
    ----------
    structure : str
        Classes, settings and places of the tensors, in JSON.
    tensors : ndarray of uint8
        Bytes of the tensors, in the format of safetensors.
    device : str
        Device of the tensors.
    """

    def __init__(self, structure: str, tensors: np.ndarray, device: str):
        self.structure, self.tensors, self.device = structure, tensors, device
        self.digest = self._digest()

    @classmethod
    def of(cls, module: nn.Module) -> ModuleData:
        """Describe a network, and make sure that the description gives the same network.

        Raises
        ------
        TypeError
            If a part of the network cannot be written as data.
        """
        writer = _Writer()
        structure = json.dumps(writer.node(module))
        device = next((str(t.device) for t in writer.tensors.values()), "cpu")
        tensors = {k: t.detach().cpu().contiguous().clone() for k, t in writer.tensors.items()}
        data = cls(structure, np.frombuffer(bytes_of(tensors), np.uint8), device)
        token = trusted_classes.set(frozenset(writer.classes))
        try:
            twin = data.build()
        finally:
            trusted_classes.reset(token)
        copy_notes(module, twin)
        if not _is_same(twin, module):
            raise TypeError(
                f"The network {type(module).__name__} cannot be written as data, because of hooks "
                "or other code. Remove the code, or use pickle or joblib."
            )
        return data

    def build(self) -> nn.Module:
        """Return a new network."""
        if self._digest() != self.digest:
            raise ValueError("The tensors of a network have changed since they were saved.")
        try:
            tensors = tensors_of(self.tensors.tobytes())
            module = _Reader(tensors).module(json.loads(self.structure))
        except (UntrustedClass, ImportError):
            raise
        except Exception as error:  # hostile or damaged data raise many types
            raise ValueError(f"The description of a network cannot be read ({error}).") from error
        device = torch.device(self.device)
        if device.type == "cuda" and torch.cuda.device_count() <= (device.index or 0):
            device = torch.device("cpu")
        return module.to(device)

    def restore(self) -> nn.Module:
        """Return the network, the same object for every attribute that holds it."""
        if not hasattr(self, "_module"):
            self._module = self.build()
        return self._module

    def _digest(self) -> str:
        digest = xxhash.xxh3_128(self.structure.encode())
        digest.update(np.ascontiguousarray(self.tensors))
        return digest.hexdigest()

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_module"}


def _is_same(a: nn.Module, b: nn.Module) -> bool:
    if isinstance(b, TransferNetwork):  # the folder of a tokenizer does not matter
        is_same = a.preprocessing == b.preprocessing and a.dtype == b.dtype
        return is_same and _is_same(a.features, b.features) and _is_same(a.head, b.head)
    if isinstance(b, FeatureNetwork):  # what it has learned of its widths does not matter
        return a._made_from[1:] == b._made_from[1:] and _is_same(a.module, b.module)
    return fingerprint(a) == fingerprint(b)


class _Writer:
    """Write a network as nested dictionaries, with each tensor and part once."""

    def __init__(self):
        self.tensors: dict[str, torch.Tensor] = {}
        self.classes: set[str] = set()
        self._keys: dict[int, str] = {}
        self._numbers: dict[int, int] = {}

    def node(self, module: nn.Module) -> dict:
        if id(module) in self._numbers:
            return {"same": self._numbers[id(module)]}
        self._numbers[id(module)] = len(self._numbers)
        if isinstance(module, FeatureNetwork):
            inner, nodes, pooling, channels_last, prefix_tokens = module._made_from
            return {
                "features": self.node(inner),
                "nodes": list(nodes.items()),
                "pooling": pooling,
                "channels_last": bool(channels_last),
                "prefix_tokens": prefix_tokens,
            }
        for key, (is_one, describe, _) in _LIBRARY_NETWORKS.items():
            if is_one(module):
                tensors = {n: self._own_tensors(p) for n, p in module.named_modules()}
                return {key: describe(module), "tensors": tensors}
        name = self._class(type(module))
        hooked = [hook for hook in _HOOKS if getattr(module, hook)]
        if hooked:
            raise TypeError(
                f"The network {type(module).__name__} has hooks ({hooked[0]}), which are code. "
                "Remove them, or use pickle or joblib."
            )
        for part in (*module._modules, *module._parameters, *module._buffers):
            if not _NAME.fullmatch(part):
                raise TypeError(
                    f"The network {type(module).__name__} has a part named {part!r}. Names in a "
                    "file consist of letters, digits and _ - + / : only. Rename it, or use pickle "
                    "or joblib."
                )
        settings = {
            key: self._value(value, f"{name}.{key}")
            for key, value in vars(module).items()
            if key not in _BOOKKEEPING
        }
        return {
            "class": name,
            "settings": settings,
            "training": module.training,
            "tensors": self._own_tensors(module),
            "children": [
                (key, None if child is None else self.node(child))
                for key, child in module._modules.items()
            ],
        }

    def _own_tensors(self, module: nn.Module) -> list:
        parameters = [
            ("parameter", name, self._key(p), p is not None and p.requires_grad)
            for name, p in module._parameters.items()
        ]
        hidden = module._non_persistent_buffers_set
        buffers = module._buffers.items()
        return parameters + [("buffer", n, self._key(b), n not in hidden) for n, b in buffers]

    def _key(self, tensor: torch.Tensor | None) -> str | None:
        if tensor is None:
            return None
        key = self._keys.setdefault(id(tensor), str(len(self._keys)))
        self.tensors[key] = tensor
        return key

    def _class(self, kind: type) -> str:
        name = name_of(kind)
        self.classes.add(name)
        try:
            found = _find_class(name)
        except (ImportError, AttributeError):
            found = None
        if found is not kind or kind.__module__ == "__main__":
            raise TypeError(
                f"The network's class {name} cannot be imported by that name. Move it to the top "
                "level of a module, or use pickle or joblib."
            )
        return name

    def _value(self, value, where: str):
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if type(value) in (list, tuple, set, torch.Size):
            return {type(value).__name__: [self._value(entry, where) for entry in value]}
        if type(value) is dict:
            return {
                "dict": [(self._value(k, where), self._value(v, where)) for k, v in value.items()]
            }
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, type) and issubclass(value, nn.Module):
            return {"class": self._class(value)}
        if type(value) is partial:
            parts = (value.func, value.args, value.keywords)
            return {"partial": [self._value(part, where) for part in parts]}
        if getattr(functional, getattr(value, "__name__", ""), None) is value:
            if value.__name__ in _FUNCTIONS:
                return {"function": value.__name__}
        if isinstance(value, Preprocessing):
            return {"preprocessing": self._value(dict(vars(value)), where)}
        if isinstance(value, TextPreprocessing):
            return {"tokenizer": vars(TokenizerData.of(value))}
        raise TypeError(
            f"{where} is a {type(value).__name__}, which is neither a setting nor a tensor. The "
            "network cannot be written as data. Use pickle or joblib."
        )


class _Reader:
    """Build a network from dictionaries; only constructors of known classes are called."""

    def __init__(self, tensors: dict[str, torch.Tensor]):
        self._tensors = tensors
        self._parameters: dict[str, nn.Parameter] = {}
        self._parts: list[nn.Module | None] = []

    def module(self, node: dict) -> nn.Module:
        if "same" in node:
            return self._parts[node["same"]]
        number = len(self._parts)
        self._parts.append(None)
        if "features" in node:
            inner = self.module(node["features"])
            prefix = node["prefix_tokens"]
            module = FeatureNetwork(
                inner,
                dict(node["nodes"]),
                node["pooling"],
                node["channels_last"],
                None if prefix is None else tuple(prefix),
            )
        elif key := next((key for key in _LIBRARY_NETWORKS if key in node), None):
            build = _LIBRARY_NETWORKS[key][-1]
            self._check_size(build, node[key])
            module = build(node[key])
            parts = dict(module.named_modules())
            for name, tensors in node["tensors"].items():
                self._fill(parts[name], tensors)
        else:
            module = self._plain(node)
        self._parts[number] = module
        return module

    def _check_size(self, build, description: dict) -> None:
        """Refuse settings of a network with more numbers than the file holds of it.

        The network is built without memory for its tensors first.
        """
        layers = [
            (name, value)
            for name, value in settings_of(description)
            if "layer" in name and isinstance(value, int) and value > len(self._tensors)
        ]
        if layers:
            raise ValueError(f"{layers[0][0]}={layers[0][1]} is more layers than the file holds")
        try:
            with torch.device("meta"):
                module = build(description)
        except (NotImplementedError, RuntimeError):  # a few compute with numbers as they are built
            return
        n_held = sum(tensor.numel() for tensor in self._tensors.values())
        if sum(t.numel() for t in (*module.parameters(), *module.buffers())) > n_held:
            raise ValueError("its settings are of a larger network than the file holds")

    def _plain(self, node: dict) -> nn.Module:
        kind = _trusted_class(node["class"])
        module = kind.__new__(kind)
        nn.Module.__init__(module)
        for name, value in node["settings"].items():
            is_method = callable(getattr(kind, name, None))
            if name in _BOOKKEEPING or name.startswith("__") or is_method:
                raise ValueError(f"{node['class']} has no setting {name!r}")
            module.__dict__[name] = self._value(value)
        module.training = bool(node["training"])
        self._fill(module, node["tensors"])
        for name, child in node["children"]:
            module.add_module(_checked_name(name), None if child is None else self.module(child))
        return module

    def _fill(self, module: nn.Module, tensors: list) -> None:
        for kind, name, key, flag in tensors:
            _checked_name(name)
            tensor = None if key is None else self._tensors[key]
            if kind == "buffer":
                module.__dict__["_buffers"].pop(name, None)
                module.register_buffer(name, tensor, persistent=bool(flag))
                continue
            if key is not None and key not in self._parameters:
                self._parameters[key] = nn.Parameter(tensor, requires_grad=bool(flag))
            module.register_parameter(name, None if key is None else self._parameters[key])

    def _value(self, value):
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        if kind in _CONTAINERS:
            return _CONTAINERS[kind]([self._value(entry) for entry in content])
        if kind == "dict":
            return {self._value(k): self._value(v) for k, v in content}
        if kind == "dtype":
            dtype = getattr(torch, content)
            if not isinstance(dtype, torch.dtype):
                raise ValueError(f"{content!r} is not a type of tensors")
            return dtype
        if kind == "class":
            return _trusted_class(content)
        if kind == "partial":
            function, arguments, keywords = map(self._value, content)
            if not isinstance(function, type) or not issubclass(function, nn.Module):
                raise ValueError("a setting calls something that is not a layer")
            return partial(function, *arguments, **keywords)
        if kind == "function" and content in _FUNCTIONS:
            return getattr(functional, content)
        if kind == "preprocessing":
            return Preprocessing(**self._value(content))
        if kind == "tokenizer":
            return TokenizerData(**content).restore()
        raise ValueError(f"unknown kind of setting {kind!r}")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of a part of a network")
    return name


def _find_class(name: str) -> type:
    """Import a class by its full name."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def _trusted_class(name: str) -> type:
    if name in _OWN:
        return _OWN[name]
    is_user = name in trusted_classes.get()
    if not is_user and not name.startswith(_LIBRARIES):
        raise UntrustedClass(
            f"The file holds a network of the class {name}, which is not trusted. Loading "
            f"it would run its code. If you know who wrote the file, pass trusted=[{name!r}]."
        )
    kind = _find_class(name)
    if not isinstance(kind, type) or not issubclass(kind, nn.Module) or name_of(kind) != name:
        raise TypeError(
            f"The file names {name} as a network, which is not a subclass of torch.nn.Module."
        )
    return kind
