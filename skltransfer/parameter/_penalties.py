"""Penalties that keep a network near its source, on weights, feature maps and features."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import nn

from skltransfer._networks._built import Built
from skltransfer._networks._objective import LabelLoss, Pull
from skltransfer._torch._extraction import FeatureNetwork, network_lock

_MAX_FISHER_ROWS = 200
# Number of outputs up to which the expectation over labels is exact. Others draw one per sample.
_MAX_EXACT = 4


class PullToZero(LabelLoss):
    """The loss of the labels, with a pull of weight matrices to zero.

    Biases and normalisation layers are not pulled.

    Parameters
    ----------
    fitting : Fitting
    head_alpha : float
        Strength of the pull of the head.
    alpha : float, default=0.0
        Strength of the pull of the carried weights.
    """

    def __init__(self, fitting, head_alpha: float, alpha: float = 0.0):
        super().__init__(fitting.data.labels)
        self.built: Built = fitting.built
        self.head_alpha, self.alpha = head_alpha, alpha

    def pulls(self, group: dict) -> list[Pull]:
        """Return the pulls of the parameters of a group."""
        if not group["is_head"]:
            return self.pulls_of_carried(group["params"])
        return [Pull([p for p in group["params"] if p.ndim > 1], None, self.head_alpha)]

    def pulls_of_carried(self, parameters: list[nn.Parameter]) -> list[Pull]:
        """Return the pulls of carried parameters."""
        return [Pull([p for p in parameters if p.ndim > 1], None, self.alpha)]


class PullToSource(PullToZero):
    """The loss of the labels, with a pull of carried weights to the source's weights (L2-SP)."""

    def pulls_of_carried(self, parameters: list[nn.Parameter]) -> list[Pull]:
        """Return the pulls of carried parameters."""
        given = dict(self.built.record.module.named_parameters())
        name_of = {id(p): name for name, p in self.built.backbone.named_parameters()}
        anchors = [
            given[name_of[id(p)]].detach().to(p.device, p.dtype, copy=True) for p in parameters
        ]
        return [Pull(parameters, anchors, self.alpha, self.curvature(parameters))]

    def curvature(self, parameters: list[nn.Parameter]) -> list[torch.Tensor] | None:
        """Return the relative strength of the pull of each entry, or None for 1."""
        return None


class PullByFisher(PullToSource):
    """L2-SP with each weight pulled in proportion to its Fisher information.

    Parameters
    ----------
    fitting : Fitting
    head_alpha, alpha : float
    fisher_of : callable
        Function of the fitting that returns the information by the id of the parameter. It is
        called once, when the information is needed.
    """

    def __init__(self, fitting, head_alpha: float, alpha: float, fisher_of: Callable):
        super().__init__(fitting, head_alpha, alpha)
        self._fitting, self._fisher_of = fitting, fisher_of

    @cached_property
    def _fisher(self) -> dict[int, torch.Tensor]:
        return self._fisher_of(self._fitting)

    def curvature(self, parameters: list[nn.Parameter]) -> list[torch.Tensor]:
        """Return the Fisher information of parameters."""
        return [self._fisher[id(p)] for p in parameters]


class FeatureMaps(PullToZero):
    r"""Half the squared distance of feature maps from the source's, added to each sample's loss.

    The squared difference of each stage is summed over channels and averaged over positions. This
    is the behavioural penalty of DELTA (Li et al., ICLR 2019, equation 3), with equal weights for
    all channels.

    Parameters
    ----------
    fitting : Fitting
    head_alpha : float
        Strength of the pull of the head.
    strength : float
        Strength of the penalty on feature maps.
    """

    reads_inputs = True

    def __init__(self, fitting, head_alpha: float, strength: float):
        super().__init__(fitting, head_alpha)
        self.strength = strength
        self._source, self._own = None, None

    def _make_maps(self) -> None:
        network, record = self.built.network, self.built.record
        parts = dict(record.module.named_modules()) | record.aliases
        self._names = [stage for stage in self.built.depth.stages if stage in parts]
        stages = [record.aliases.get(stage, stage) for stage in self._names]
        self._source = copy.deepcopy(network).eval().requires_grad_(False)
        given = dict(record.module.state_dict())
        self._source.features.module.load_state_dict(
            {name: given[name] for name in self._source.features.module.state_dict()}
        )
        self._plain = network.features
        self._source.features = self._source_maps = StageMaps(self._source.features, stages)
        self._own = StageMaps(self._plain, stages)
        self._source_maps.attach()
        self._source.eval()

    def __enter__(self):
        # Inside, the network gives its feature maps beside its features.
        if self._own is None:
            self._make_maps()
        self._own.attach()
        self.built.network.features = self._own
        return super().__enter__()

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        self._own.detach()
        self.built.network.features = self._plain

    def __call__(self, network, batch, features=None):
        """Return the loss of each sample, and its penalty by stage."""
        terms = super().__call__(network, batch, features)
        with torch.no_grad():
            self._source.embed(batch.inputs)
        pairs = zip(self._own.maps, self._source_maps.maps, strict=True)
        for name, (own, source) in zip(self._names or ["features"], pairs, strict=True):
            n_channels = self._plain.channels_first(own).shape[1 if own.ndim in (2, 4) else -1]
            n_positions = max(1, own[0].numel() // n_channels)
            distance = ((own - source) ** 2).flatten(1).sum(1) / n_positions
            loss = self.strength / 2 * distance.to(terms["label_loss"].dtype)
            terms[f"map_loss_{name}"] = loss
        return terms


class SmallSingularValues(PullToZero):
    r"""Push the smallest singular values of a batch's features towards zero.

    Batch spectral shrinkage (Chen et al., NeurIPS 2019, equation 4):
    :math:`\alpha \sum_{i=1}^{k} \sigma_{-i}^2` of the matrix of features, (n, n_features).

    Parameters
    ----------
    fitting : Fitting
    head_alpha : float
        Strength of the pull of the head.
    strength : float
        Strength of the penalty on singular values.
    n_values : int
        Number of singular values that are penalised, the smallest ones.
    """

    def __init__(self, fitting, head_alpha: float, strength: float, n_values: int):
        super().__init__(fitting, head_alpha)
        self.strength, self.n_values = strength, n_values

    def __call__(self, network, batch, features=None):
        """Return the loss of each sample, and the penalty of the batch."""
        if features is None:
            features = network.embed(batch.inputs)
        terms = super().__call__(network, batch, features)
        penalty = small_singular_values(features, self.n_values)
        return terms | {"spectral_loss": self.strength * penalty}


def small_singular_values(features: torch.Tensor, n_values: int) -> torch.Tensor:
    """Return the sum of the squares of the `n_values` smallest singular values of a matrix."""
    matrix = features if features.dtype == torch.float64 else features.float()
    values = torch.linalg.svdvals(matrix)  # in falling order
    return (values[-n_values:] ** 2).sum()


class StageMaps(nn.Module):
    """A feature network that also keeps the output of each stage of its last batch.

    Parameters
    ----------
    features : FeatureNetwork
        Network whose tensors are shared.
    stages : list of str
        Names of the stages inside the module. An empty list makes the features the only map.
    """

    def __init__(self, features: FeatureNetwork, stages: list[str]):
        super().__init__()
        module, nodes, *settings = features._made_from
        self._handles, self.maps = [], []
        self._wanted, self._nodes = stages, list(nodes.values())
        if nodes:
            together = {name: name for name in dict.fromkeys([*stages, *self._nodes])}
            self.network = FeatureNetwork(module, together, *settings)
        else:
            self.network = features

    def attach(self) -> None:
        """Put hooks into the module, unless its layers are taken by name."""
        if not self._nodes:
            parts = dict(self.module.named_modules())
            hooked = [parts[stage] for stage in self._wanted]
            self._handles = [part.register_forward_hook(self._keep) for part in hooked]

    @property
    def module(self) -> nn.Module:
        """Return the module that the network is made of."""
        return self.network.module

    def _keep(self, _module, _inputs, output) -> None:
        self.maps.append(output[0] if isinstance(output, tuple) else output)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features, shape (n, n_features), and keep the stages' outputs in ``maps``."""
        self.maps = []
        if self._nodes:
            outputs = self.network.run(x)
            self.maps = [outputs[stage] for stage in self._wanted]
            pooled = [self.network.pooled(outputs[node]) for node in self._nodes]
            features = torch.cat(pooled, dim=1)
        else:
            features = self.network(x)
        if not self._wanted:
            self.maps = [features]
        return features

    def detach(self) -> None:
        """Take the hooks out of the module."""
        for handle in self._handles:
            handle.remove()
        self._handles = []


def fisher_of_source(fitting, rows, estimator) -> dict[int, torch.Tensor]:
    """Return the Fisher information of each carried parameter, with mean 1 over all, by its id.

    Parameters
    ----------
    fitting : Fitting
    rows : Rows
    estimator : FineTuning or None
        Fitted estimator that is the source. Its predictions are the likelihood. Without an
        estimator, or if its head was trained on other features, the features are taken as means of
        normal variables with unit variance.
    """
    built, device = fitting.built, fitting.plan.device
    network = copy.deepcopy(built.network).eval().requires_grad_(True)
    given = dict(built.record.module.named_parameters())
    backbone = network.features.module
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            parameter.copy_(given[name])
    kind, outputs_of = "gaussian", network.embed
    if estimator is not None and _same_features(built, estimator._built):
        head = copy.deepcopy(estimator._built.network.head).to(device, network.dtype).eval()
        labels = estimator._labels
        kind = getattr(labels, "likelihood", "gaussian")

        def outputs_of(x):
            return head(network.embed(x))

    generator = torch.Generator().manual_seed(fitting.plan.seed_of_chance)
    chosen = np.arange(len(rows))
    if len(rows) > _MAX_FISHER_ROWS:
        order = torch.randperm(len(rows), generator=generator)
        chosen = order[:_MAX_FISHER_ROWS].numpy()
    batches = [rows.batch([i], network.preprocessing).to(device) for i in chosen.tolist()]
    batches = [x.to(network.dtype) if x.is_floating_point() else x for x in batches]
    names, parameters = zip(*backbone.named_parameters(), strict=True)
    diagonal = fisher_diagonal(outputs_of, list(parameters), batches, kind, generator)
    mean = sum(float(f.sum()) for f in diagonal) / sum(f.numel() for f in diagonal)
    if not mean > 0:
        raise ValueError(
            "The Fisher information is zero for every weight, because the network's outputs do not "
            "depend on the weights for these samples. Choose penalty='l2_sp'."
        )
    by_name = dict(zip(names, diagonal, strict=True))
    return {
        id(parameter): by_name[name].to(parameter.dtype) / mean
        for name, parameter in built.backbone.named_parameters()
    }


def _same_features(built, source) -> bool:
    """Tell whether a network takes the features that the source's head was given."""
    own, given = (
        (network.nodes, network.pooling, network.n_features) for network in (built, source)
    )
    return own == given


def fisher_diagonal(
    outputs_of: Callable[[torch.Tensor], torch.Tensor],
    parameters: list[nn.Parameter],
    rows: list[torch.Tensor],
    kind: str,
    generator: torch.Generator,
) -> list[torch.Tensor]:
    r"""Estimate :math:`F_j = E[(\partial \log p(y \mid x) / \partial w_j)^2]`.

    The expectation is over the given samples and over the labels that the network predicts
    (Kirkpatrick et al., PNAS 2017, equation 3), so that no labels are needed. With
    :math:`J` the derivative of the outputs and :math:`H` the second derivative of the loss by them,
    the estimate is the mean diagonal of :math:`J^T H J`.

    Parameters
    ----------
    outputs_of : callable
        The network in evaluation mode, a function from (1, ...) to (1, n_outputs).
    parameters : list of Parameter
    rows : list of Tensor of shape (1, ...)
    kind : {"softmax", "binary", "gaussian"}
        Meaning of the outputs. ``"softmax"`` are logits of exclusive classes, ``"binary"`` are
        logits of independent labels, and ``"gaussian"`` are means with unit variance.
    generator : torch.Generator

    Returns
    -------
    diagonal : list of Tensor
        Estimates in the shapes of `parameters`.
    """
    total = [torch.zeros_like(p) for p in parameters]
    with network_lock, torch.enable_grad():
        for x in rows:
            outputs = outputs_of(x)
            for direction, share in _directions(outputs.detach()[0], kind, generator):
                slopes = torch.autograd.grad(
                    outputs[0] @ direction, parameters, retain_graph=True, allow_unused=True
                )
                for sum_, slope in zip(total, slopes, strict=True):
                    if slope is not None:
                        sum_.addcmul_(slope, slope, value=share / len(rows))
    return [sum_.detach() for sum_ in total]


def _directions(outputs: torch.Tensor, kind: str, generator: torch.Generator):
    """Return vectors and shares whose weighted sum of squares is the loss's second derivative."""
    n = len(outputs)
    unit = torch.eye(n, dtype=outputs.dtype, device=outputs.device)
    if kind == "softmax":
        p = outputs.softmax(0)
        if n <= _MAX_EXACT:
            return [(unit[c] - p, float(p[c])) for c in range(n)]
        drawn = int(torch.multinomial(p.double().cpu(), 1, generator=generator))
        return [(unit[drawn] - p, 1.0)]
    spread = torch.ones_like(outputs)
    if kind == "binary":
        p = outputs.sigmoid()
        spread = (p * (1 - p)).sqrt()
    if n <= _MAX_EXACT:
        return [(unit[k] * spread[k], 1.0) for k in range(n)]
    signs = torch.randint(0, 2, (n,), generator=generator).to(outputs) * 2 - 1
    return [(signs * spread, 1.0)]
