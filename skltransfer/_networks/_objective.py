"""What training minimises, and what pulls parameters beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn

from skltransfer._networks._labels import Labels
from skltransfer._torch._batches import Batch

_STEPS_PER_PULL = 8


@dataclass
class Pull:
    """Parameters that are pulled alike.

    Parameters
    ----------
    parameters : list of Parameter
    anchors : list of Tensor or None
        Where they are pulled to; ``None``: to zero.
    strength : float
    curvature : list of Tensor, optional
        Relative strength of each entry.
    """

    parameters: list[nn.Parameter]
    anchors: list[torch.Tensor] | None
    strength: float
    curvature: list[torch.Tensor] | None = None


class DistancePenalty:
    r"""Half of a sum of squared distances, :math:`\sum_j \frac{a_j}{2} (w_j - w^0_j)^2`.

    Parameters
    ----------
    pulls : list of list of Pull
        For each parameter group of the optimiser, in its order.
    """

    def __init__(self, pulls: list[list[Pull]]):
        self.pulls = [
            [pull for pull in group if pull.strength > 0 and pull.parameters] for group in pulls
        ]
        # Sum of the rates of the steps that are not followed by a pull yet, for each group.
        self._rates, self._n_waiting = [0.0] * len(pulls), 0

    def __bool__(self) -> bool:
        return any(self.pulls)

    @torch.no_grad()
    def add_gradient(self) -> float:
        """Add the penalty's gradient to ``.grad``, in place; return its value."""
        value = 0.0
        for pull in chain(*self.pulls):
            moved = [p for p in pull.parameters if p.grad is not None]
            if not moved:
                continue
            keep = [i for i, p in enumerate(pull.parameters) if p.grad is not None]
            away = [p.detach().clone() for p in moved]
            if pull.anchors is not None:
                torch._foreach_sub_(away, [pull.anchors[i] for i in keep])
            slope = away
            if pull.curvature is not None:
                slope = torch._foreach_mul(away, [pull.curvature[i] for i in keep])
            torch._foreach_add_([p.grad for p in moved], slope, alpha=pull.strength)
            value += sum(float((a * s).sum()) for a, s in zip(away, slope, strict=True)) * (
                pull.strength / 2
            )
        return value

    @torch.no_grad()
    def scales(self, parameters: list[nn.Parameter]) -> list[torch.Tensor]:
        """Return units for `parameters` in which the penalty's curvature is at most 1."""
        units = {id(p): torch.ones_like(p) for p in parameters}
        for pull in chain(*self.pulls):
            for i, parameter in enumerate(pull.parameters):
                strength = pull.strength
                if pull.curvature is not None:
                    strength = strength * pull.curvature[i]
                units[id(parameter)] /= (
                    1 + torch.as_tensor(strength, dtype=parameter.dtype)
                ) ** 0.5
        return [units[id(p)] for p in parameters]

    @torch.no_grad()
    def pull(self, optimizer: torch.optim.Optimizer) -> None:
        """Follow a step of the optimiser by an implicit step of the penalty, in place.

        Of every few steps one pull is made, as strong as one after each of them, for speed; those
        of an epoch are complete after :meth:`settle`.

        ``w <- (w + r a w0) / (1 + r a)`` is stable for any strength `a`, where the explicit step
        diverges from ``r a = 2`` on. The rate `r` is that with which the optimiser follows a
        steady gradient, so that the sum of loss and penalty has its fixed point: divided by one
        minus the momentum of SGD, and by AdamW's root mean square of the loss's gradient.
        """
        for number, group in enumerate(optimizer.param_groups):
            self._rates[number] += group["lr"]
        self._n_waiting += 1
        if self._n_waiting == _STEPS_PER_PULL:
            self.settle(optimizer)

    @torch.no_grad()
    def settle(self, optimizer: torch.optim.Optimizer) -> None:
        """Make the pull for the steps that wait for it."""
        if self._n_waiting == 0:
            return
        is_adam = isinstance(optimizer, torch.optim.AdamW)
        for number, (group, pulls) in enumerate(
            zip(optimizer.param_groups, self.pulls, strict=True)
        ):
            rate, self._rates[number] = self._rates[number], 0.0
            for pull in pulls:
                if not pull.parameters[0].requires_grad:  # a stage that is still frozen stays
                    continue
                if is_adam:
                    self._shrink_in_units(pull, rate * pull.strength, group, optimizer.state)
                else:
                    self._shrink(pull, rate / (1 - group["momentum"]) * pull.strength)
        self._n_waiting = 0

    @staticmethod
    def _shrink(pull: Pull, amount: float) -> None:
        parameters = pull.parameters
        if pull.curvature is not None:
            factor = torch._foreach_mul(pull.curvature, amount)
            torch._foreach_add_(factor, 1.0)
            torch._foreach_sub_(parameters, pull.anchors)
            torch._foreach_div_(parameters, factor)
            torch._foreach_add_(parameters, pull.anchors)
        elif pull.anchors is None:
            torch._foreach_mul_(parameters, 1 / (1 + amount))
        else:
            torch._foreach_lerp_(parameters, pull.anchors, amount / (1 + amount))

    @staticmethod
    def _shrink_in_units(pull: Pull, amount: float, group: dict, state: dict) -> None:
        """Shrink each entry at the rate that AdamW has for it."""
        stepped = [i for i, p in enumerate(pull.parameters) if p in state]
        if not stepped:
            return
        parameters = [pull.parameters[i] for i in stepped]
        correction = (1 - group["betas"][1] ** float(state[parameters[0]]["step"])) ** 0.5
        # The part a / (u + a) of the way to the anchor, for the unit u and the amount a.
        total = torch._foreach_sqrt([state[p]["exp_avg_sq"] for p in parameters])
        torch._foreach_add_(total, correction * (group["eps"] + amount))
        way = parameters
        if pull.anchors is not None:
            way = torch._foreach_sub(parameters, [pull.anchors[i] for i in stepped])
        if pull.curvature is not None:  # amounts differ: a c in the place of a
            curvature = [pull.curvature[i] for i in stepped]
            torch._foreach_add_(total, curvature, alpha=correction * amount)
            torch._foreach_sub_(total, correction * amount)
            way = torch._foreach_mul(way, curvature)
        torch._foreach_addcdiv_(parameters, way, total, value=-correction * amount)


class Objective(AbstractContextManager, ABC):
    """The sum of named terms, which a call gives for one batch.

    Training happens inside of ``with objective:``. What an objective does to the network on entry,
    such as hooks, it undoes on exit.
    """

    _is_entered = False
    # Whether inputs pass another network as well, which has to begin with them.
    reads_inputs = False

    @abstractmethod
    def __call__(
        self, network: nn.Module, batch: Batch, features: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the terms of the loss by name.

        Parameters
        ----------
        network : TransferNetwork
        batch : Batch
        features : Tensor of shape (n, n_features), optional
            Features of the batch, if the caller has passed it through ``network.embed``.

        Returns
        -------
        terms : dict of str to Tensor
            Losses of the samples, shape (n,), or a scalar each. See
            :func:`~skltransfer._torch._training.total_loss`.
        """

    def modules(self) -> tuple[nn.Module, ...]:
        """Return further modules that are trained, at the rate of the head, and then dropped.

        They are on the device and in the arithmetic of the network.
        """
        return ()

    def pulls(self, group: dict) -> list[Pull] | None:
        """Return what pulls the parameters of a group; None leaves them to `weight_decay`.

        Parameters
        ----------
        group : dict
            ``params``, and ``is_head``.
        """
        return None

    def key(self) -> tuple:
        """Return what stands for this objective, beside the estimator, in a checkpoint's key."""
        return ()

    def advance(self, progress: float) -> None:
        """Take note, before each step, of the part of all steps that are done.

        It is not called where training takes all samples at once.
        """

    def __enter__(self):
        self._is_entered = True
        return self

    def __exit__(self, *error) -> None:
        self._is_entered = False

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Put the network back as it was inside the block, as for a copy while training goes on."""
        is_entered = self._is_entered
        if is_entered:
            self.__exit__()
        try:
            yield
        finally:
            if is_entered:
                self.__enter__()


class LabelLoss(Objective):
    """The loss of the labels alone.

    Parameters
    ----------
    labels : Labels
    """

    def __init__(self, labels: Labels):
        self.labels = labels

    def __call__(self, network, batch, features=None):
        """Return the loss of each sample, or the mean where samples count alike.

        `network` may be a head, and the inputs of the batch its features.
        """
        if features is None:
            outputs = network(batch.inputs)
        else:
            outputs = network.outputs(features)
        labels = self.labels
        if outputs.dtype in (torch.bfloat16, torch.float16):
            outputs = outputs.float()
        if outputs.ndim != 2 or outputs.shape[1] != labels.n_outputs:
            raise ValueError(
                f"The network gives outputs of shape {tuple(outputs.shape)} for {len(batch)} rows, "
                f"and the labels need ({len(batch)}, {labels.n_outputs}). Let head= make "
                "that many outputs."
            )
        if batch.weights is None and batch.partners is None:
            return {"label_loss": labels.mean_loss(outputs, batch.targets)}
        losses = labels.loss(outputs, batch.targets)
        if batch.partners is not None:  # of a mixture, each has its share
            partner = labels.loss(outputs, batch.partners)
            losses = losses * batch.share + partner * batch.partner_share
        return {"label_loss": losses}


class ObjectiveAround(Objective):
    """An objective that adds to another one.

    Parameters
    ----------
    of_source : Objective
        The other one. It is the source's where there are two domains.
    """

    def __init__(self, of_source: Objective):
        self.of_source = of_source

    @property
    def reads_inputs(self) -> bool:
        """Whether inputs pass another network as well."""
        return self.of_source.reads_inputs

    def modules(self) -> tuple[nn.Module, ...]:
        """Return further modules that are trained."""
        return self.of_source.modules()

    def pulls(self, group: dict) -> list[Pull] | None:
        """Return what pulls the parameters of a group."""
        return self.of_source.pulls(group)

    def advance(self, progress: float) -> None:
        """Take note of the part of all steps that are done."""
        self.of_source.advance(progress)

    def key(self) -> tuple:
        """Return what stands for this objective in a checkpoint's key."""
        return (type(self).__name__, self.of_source.key())

    def __enter__(self):
        self.of_source.__enter__()
        return super().__enter__()

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        self.of_source.__exit__(*error)


class TwoDomainObjective(ObjectiveAround):
    """An objective for samples of two domains, around one for the source."""
