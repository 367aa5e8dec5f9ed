"""Gradient steps on the support set of a task, through which an outer gradient can go."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from skltransfer._networks._built import Built, n_trained_stages
from skltransfer._networks._objective import Objective
from skltransfer._torch._depth import norms_that_keep
from skltransfer.relation._episodes import EpisodeBatch


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


class MAMLLoss(Objective):
    """Mean loss of the query samples after each task has adapted to its support samples.

    Parameters
    ----------
    network : TransferNetwork
    parts : tuple
        Names of the parameters and of the batch norms that a task adapts.
    loss : callable
        Takes outputs and targets, and returns a number.
    has_classes : bool
        Whether the output layer starts at zero in every task.
    n_steps, lr, first_order
        As for :func:`adapt`.
    at_once : bool
        Whether the tasks of a batch are computed side by side, if all modules allow it.
    key : tuple
        Stands for the episodes.
    """

    def __init__(
        self, network, parts, loss, *, has_classes, n_steps, lr, first_order, at_once, key
    ):
        self.names, norms = parts
        self.loss, self.has_classes, self.at_once = loss, has_classes, at_once
        self.settings = {"n_steps": n_steps, "lr": lr, "first_order": first_order}
        self._statistics = SupportStatistics([network.get_submodule(name) for name in norms])
        self._key = key

    def key(self) -> tuple:
        """Return the part of a checkpoint's key for this objective."""
        return (type(self).__name__, tuple(self.settings.items()), self._key)

    def __enter__(self):
        self._statistics.__enter__()
        return super().__enter__()

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        self._statistics.__exit__(*error)

    def __call__(self, network, batch: EpisodeBatch, features=None):
        """Return the mean loss of the tasks."""
        start = starting_point(network, self.names, zero_head=self.has_classes)
        self._statistics.n_support = batch.support.targets.shape[1]
        of_task, tasks = partial(self.of_task, network, start), []
        for part in (batch.support, batch.query):
            tasks += [part.inputs, part.targets]
        if self.at_once:
            try:
                return {"query_loss": vmap(of_task, randomness="different")(*tasks).mean()}
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:  # of a module that vmap cannot run; other errors come back below
                self.at_once = False
        losses = [of_task(*task) for task in zip(*tasks, strict=True)]
        return {"query_loss": torch.stack(losses).mean()}

    def of_task(self, network, start, inputs, targets, query_inputs, query_targets):
        """Return the loss of the query samples of one task."""
        loss = partial(_in_full_precision, self.loss, targets=targets)
        adapted = adapt(network, start, inputs, loss, **self.settings)
        both = torch.cat([inputs, query_inputs]) if self._statistics.norms else query_inputs
        outputs = functional_call(network, adapted, (both,))[-len(query_inputs) :]
        return _in_full_precision(self.loss, outputs, targets=query_targets)


def _in_full_precision(loss, outputs, *, targets):
    if outputs.dtype in (torch.bfloat16, torch.float16):
        outputs = outputs.float()
    return loss(outputs, targets)


def starting_point(network, names: tuple[str, ...], *, zero_head: bool) -> dict[str, torch.Tensor]:
    """Return the parameters with which each task begins, by name."""
    parameters = dict(network.named_parameters())
    start = {name: parameters[name] for name in names}
    if zero_head:
        start |= {n: torch.zeros_like(p) for n, p in start.items() if n.startswith("head.")}
    return start
