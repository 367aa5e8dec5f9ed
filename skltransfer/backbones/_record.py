"""The record that describes a pretrained network."""

from __future__ import annotations

from dataclasses import dataclass, field

from sklearn.exceptions import NotFittedError
from torch import nn
from torch.nn.parameter import is_lazy

from skltransfer._persisted import SavedAsData
from skltransfer._torch._fingerprint import fingerprint
from skltransfer._torch._preprocessing import Preprocessing
from skltransfer._torch._text import TextPreprocessing


class UnknownBackbone(ValueError):
    """A name stands for no network.

    Parameters
    ----------
    problem : str
        Sentences.
    pattern : str, default=""
        Argument of `list_backbones` whose list would help.
    remedy : str, default=""
        Further sentences.
    """

    def __init__(self, problem: str, pattern: str = "", remedy: str = ""):
        super().__init__(problem, pattern, remedy)
        self.problem, self.pattern, self.remedy = problem, pattern, remedy

    def __str__(self):
        listed = f"list_backbones({self.pattern!r})" if self.pattern else "list_backbones()"
        return f"{self.problem} {listed} returns the names.{self.remedy}"


@dataclass(frozen=True)
class Backbone(SavedAsData):
    """A network with its weights, preprocessing and layers.

    :func:`load_backbone` returns a record, and every ``backbone`` parameter accepts one. Build one
    by hand for a network with your own preprocessing, layers or pooling. Records are shared and not
    copied: clones of an estimator hold the same record.

    Parameters
    ----------
    name : str
        Name for messages.
    module : torch.nn.Module
        Network in evaluation mode (``module.eval()``). Do not train it in place, because other
        estimators share it.
    preprocessing : Preprocessing or None, default=None
        Size, crop, mean and standard deviation that the weights expect, or the tokenizer of a text
        encoder. ``None``: numbers enter unchanged and images with values in [0, 1].
    stages : tuple of str, default=()
        Layers whose features are useful, from shallow to deep.
    layers : tuple of str, default=()
        Layers of the default features. Empty: the network's output.
    pooling : {"avg", "max", "gem", "cls", "mean_tokens", "grid2", "flatten", "own"}, default="avg"
        Default pooling of a layer's output to one vector per sample. ``"own"`` is the network's own
        pooling, for networks of timm and sentence-transformers.
    n_features : int or None, default=None
        Number of default features. ``None`` if it depends on the input.
    fingerprint : str, default=""
        Digest of weights, structure and code. Computed if left empty.
    channels_last : bool, default=False
        Whether feature maps may have their channels last, as in Swin transformers.
    aliases : dict of str to str, default={}
        Further names of layers, such as ``penultimate``.
    prefix_tokens : tuple of str or None, default=None
        Kinds of the tokens that precede the patches' tokens in a transformer, such as ``("cls",)``
        or ``("cls", "register")``. ``None``: unknown, or no transformer.

    Examples
    --------
    >>> from skltransfer import load_backbone
    >>> backbone = load_backbone("tiny")
    >>> backbone.stages
    ('stem', 'stage1', 'stage2', 'stage3')
    >>> backbone.layers, backbone.pooling, backbone.n_features
    (('stage2', 'stage3'), 'grid2', 768)
    """

    name: str
    module: nn.Module = field(repr=False)
    preprocessing: Preprocessing | TextPreprocessing | None = None
    stages: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    pooling: str = "avg"
    n_features: int | None = None
    fingerprint: str = ""
    channels_last: bool = field(default=False, repr=False)
    aliases: dict[str, str] = field(default_factory=dict, repr=False)
    prefix_tokens: tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self):
        if any(part.training for part in self.module.modules()):
            raise ValueError(
                f"The module of {self.name!r} is in training mode, where features depend on the "
                "batch. Call module.eval() first."
            )
        if not self.fingerprint:
            _check_finite(self.name, self.module)
            object.__setattr__(self, "fingerprint", fingerprint(self.module))

    def _without_module(self) -> Backbone:
        """Return the same without its network, for what can load that again."""
        described = object.__new__(Backbone)
        described.__dict__.update(vars(self), module=None)
        return described

    def __sklearn_clone__(self):
        return self

    def __hash__(self):
        return hash(self.fingerprint)


def _check_finite(name: str, module: nn.Module) -> None:
    """Raise a ValueError if weights are NaN or infinite; constants, such as masks, may be."""
    buffers = dict(module.named_buffers())
    for key, tensor in [*module.named_parameters(), *buffers.items()]:
        if not tensor.is_floating_point() or tensor.is_meta or is_lazy(tensor):
            continue
        is_constant = key in buffers and not key.endswith(("running_mean", "running_var"))
        if not (~tensor.isnan() if is_constant else tensor.isfinite()).all():
            raise ValueError(
                f"The weights of {name!r} hold NaN or infinity, in the tensor {key}. Their "
                "training has diverged, or they are damaged: take an earlier state of them."
            )


def unfitted_backbone(estimator) -> NotFittedError:
    """Return the error for an estimator that is a backbone and has no network yet."""
    return NotFittedError(
        f"backbone is a {type(estimator).__name__} that is not fitted. Fit it first, or pass the "
        "backbone that it is made from. A search clones its candidates: wrap a fitted candidate in "
        "a sklearn.frozen.FrozenEstimator."
    )
