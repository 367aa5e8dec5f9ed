"""Gradient steps on the support set of a task, through which an outer gradient can go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import nn
from torch.func import functional_call, grad

from skltransfer._networks._built import Built, n_trained_stages
from skltransfer._torch._depth import norms_that_keep


def adapted_parts(
    built: Built, unfreeze, norm_statistics: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the parameters and of the batch norms that a task adapts.

    These are the parameters of the stages that `unfreeze` means and of the head, and the norms of
    these stages whose statistics are not kept.
    """
    network, depth = built.network, built.depth
    first = len(depth.stages) - n_trained_stages(unfreeze, depth, built.record.name)
    stages = depth.parameters(built.backbone)[first:]
    adapted = {id(p) for stage in stages for p in stage}
    adapted |= {id(p) for p in network.head.parameters()}
    kept = norms_that_keep(built.record.module, norm_statistics)
    norms = {
        id(part)
        for name, part in built.backbone.named_modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm)
        and name not in kept
        and depth.stage_of(name) >= first
    }
    return (
        tuple(name for name, p in network.named_parameters() if id(p) in adapted),
        tuple(name for name, part in network.named_modules() if id(part) in norms),
    )


class SupportStatistics(AbstractContextManager):
    """Let batch norms take mean and variance from the support samples alone.

    The support samples come first in a batch, and the query samples after them are normalised by
    the same numbers. A prediction is then a function of its sample and the support set, as it has
    to be for new samples. This is the MetaBN of Bronskill et al. (ICML 2020).

    Parameters
    ----------
    norms : list of Module
        Batch norms. They behave so inside of the block.
    """

    def __init__(self, norms: list[nn.Module]):
        self.norms = norms
        self.n_support: int | None = None
        self.weights: torch.Tensor | None = None
        self.are_kept = False

    def __enter__(self):
        for norm in self.norms:
            norm.forward = partial(self._forward, norm)
        return self

    def __exit__(self, *error) -> None:
        for norm in self.norms:
            del norm.forward

    def _forward(self, norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
        support, dims = x[: self.n_support], [0, *range(2, x.ndim)]
        shape = (1, -1, *[1] * (x.ndim - 2))
        if self.weights is None:
            variance, mean = torch.var_mean(support, dims, correction=0)
        else:
            shares = (self.weights / self.weights.sum()).to(x.dtype)
            shares = shares.reshape(-1, *[1] * (x.ndim - 1)) / support[0, 0].numel()
            mean = (shares * support).sum(dims)
            variance = (shares * (support - mean.reshape(shape)) ** 2).sum(dims)
        if self.are_kept:
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
        factor = torch.rsqrt(variance + norm.eps)
        if norm.affine:
            factor = factor * norm.weight
        shift = -mean * factor
        if norm.affine:
            shift = shift + norm.bias
        return x * factor.reshape(shape) + shift.reshape(shape)


def adapt(
    network: nn.Module,
    start: dict[str, torch.Tensor],
    inputs: torch.Tensor,
    loss: Callable[[torch.Tensor], torch.Tensor],
    *,
    n_steps: int,
    lr: float,
    first_order: bool,
) -> dict[str, torch.Tensor]:
    r"""Return parameters after steps of gradient descent on a task.

    :math:`\theta'_{i+1} = \theta'_i - \alpha \nabla_{\theta'_i} L(f_{\theta'_i})` (Finn et al.
    2017, equation 1).

    Parameters
    ----------
    network : Module
        Its parameters that `start` does not name stay as they are.
    start : dict of str to Tensor
        Parameters before the first step, by name.
    inputs : Tensor of shape (n_support, ...)
    loss : callable
        Takes the outputs for the inputs, and returns a number.
    n_steps : int
    lr : float
        Rate of the steps.
    first_order : bool
        Whether an outer gradient takes the gradients here for constants.
    """

    def support_loss(parameters):
        return loss(functional_call(network, parameters, (inputs,)))

    parameters = start
    for _ in range(n_steps):
        if first_order:
            at = {name: p.detach() for name, p in parameters.items()}
            slope = {name: g.detach() for name, g in grad(support_loss)(at).items()}
        else:
            slope = grad(support_loss)(parameters)
        parameters = {name: p - lr * slope[name] for name, p in parameters.items()}
    return parameters
