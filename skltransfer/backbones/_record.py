"""The record that describes a pretrained network."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from skltransfer._torch._fingerprint import fingerprint
from skltransfer._torch._persisted import HoldsNetworks
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
class Backbone(HoldsNetworks):
    """A network with pretrained (or random) weights, and what one must know to use it.

    Returned by :func:`load_backbone`, and accepted wherever a ``backbone`` is: build one by hand
    to bring a network with a preprocessing, layers or a pooling of your own. It is shared, never
    copied: clones of an estimator hold the same record.

    Parameters
    ----------
    name : str
        What messages call it.
    module : torch.nn.Module
        The network in evaluation mode (``module.eval()``). Do not train it in place: other
        estimators share it.
    preprocessing : Preprocessing or None, default=None
        What the weights expect: size, crop, mean and standard deviation. ``None``: numbers go in as
        they are, images with values in [0, 1]. Text encoders have their tokenizer there.
    stages : tuple of str, default=()
        Layers worth taking features from, shallow to deep.
    layers : tuple of str, default=()
        The layers that features are taken from by default. Empty: the network's own output.
    pooling : {"avg", "max", "gem", "cls", "mean_tokens", "grid2", "flatten", "own"}, default="avg"
        How their outputs become vectors by default. ``"own"``: as the network itself does it, for
        networks of timm and sentence-transformers.
    n_features : int or None, default=None
        Width of the default features. ``None``: it depends on the input.
    fingerprint : str, default=""
        Digest of weights, structure and code. Computed if left empty.
    channels_last : bool, default=False
        Whether feature maps may have their channels last, as in Swin transformers.
    aliases : dict of str to str, default={}
        Layers under another name than their own, such as ``penultimate``.
    prefix_tokens : tuple of str or None, default=None
        What a transformer's tokens before those of patches are, such as ``("cls",)`` or ``("cls",
        "register")``; ``()`` if there are none. ``None``: unknown, or no transformer.

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
                f"The module of {self.name!r} is in training mode, in which features depend on the "
                "batch. Call module.eval() first."
            )
        if not self.fingerprint:
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
