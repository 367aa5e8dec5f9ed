"""Which parameters are trained at which rate, and what pulls them."""

from __future__ import annotations

import torch

from skltransfer._networks._plan import rate_of
from skltransfer._torch._optimizers import make_optimizer
from skltransfer._torch._penalties import DistancePenalty, Pull


class ParameterGroups:
    """The trained parameters of a run by stage, as an optimiser takes them.

    Parameters
    ----------
    run : Run
    """

    def __init__(self, run):
        self._run, self._estimator = run, run.estimator
        name = run.estimator.optimizer
        self.optimizer_name = "adamw" if name in ("auto", "lbfgs") else name

    def all(self) -> list[dict]:
        """Return the parameters that are trained, by stage and then the head's, with their rates.

        From each stage to the next shallower one, and from the head to the deepest stage, the rate
        is multiplied by ``layer_decay``.
        """
        e, run, depth = self._estimator, self._run, self._run.built.depth
        rate = rate_of(e, self.optimizer_name) * self._lr_ratio()
        n_stages = len(depth.stages)
        by_stage = depth.parameters(run.built.backbone)
        if run.adapters is not None:
            by_stage = [[] for _ in depth.stages]
            for parameter, stage in zip(
                run.adapters.parameters, run.adapters.stage_of, strict=True
            ):
                by_stage[stage].append(parameter)
        groups = [
            {
                "name": depth.stages[stage],
                "params": parameters,
                "lr": rate * e.layer_decay ** (n_stages - stage),
                "is_head": False,
            }
            for stage, parameters in enumerate(by_stage)
            if stage >= n_stages - run.n_trained and parameters
        ]
        return [*groups, self.of_head()]

    def of_head(self) -> dict:
        """Return the group of the head's parameters."""
        return {
            "name": "head",
            "params": list(self._run.network.head.parameters()),
            "lr": rate_of(self._estimator, self.optimizer_name),
            "is_head": True,
        }

    def _lr_ratio(self) -> float:
        e = self._estimator
        if e.backbone_lr_ratio != "auto":
            return float(e.backbone_lr_ratio)
        if e.backbone is None or e.weights is None or isinstance(e.backbone, type):
            return 1.0
        return 0.3 if e.strategy == "lora" else 0.1

    def optimizer_and_penalty(
        self, groups: list[dict]
    ) -> tuple[torch.optim.Optimizer, DistancePenalty | None]:
        """Return an optimiser over the groups, and what pulls their parameters beside it."""
        groups = [group for group in groups if group["params"]]
        momentum, strength = self._estimator.momentum, getattr(self._estimator, "weight_decay", 0.0)
        pulls = [self._estimator._pulls(self._run, group) for group in groups]
        if any(group is not None for group in pulls):
            parts = [_part(group, group["params"], 0.0) for group in groups]
            penalty = DistancePenalty([group or [] for group in pulls])
            return make_optimizer(self.optimizer_name, parts, momentum), penalty or None
        parts = {}  # by rate and decay, as each group of an optimiser costs time in every step
        for group in groups:
            for decay in dict.fromkeys((strength, 0.0)):
                # Decay is for matrices, not for biases and norms.
                params = [p for p in group["params"] if decay == (strength if p.ndim > 1 else 0.0)]
                part = parts.setdefault((group["lr"], decay), _part(group, [], decay))
                part["params"] += params
                part["names"] += [(group["name"], len(params))]
        parts = [part for part in parts.values() if part["params"]]
        return make_optimizer(self.optimizer_name, parts, momentum), None

    def penalty(self, groups: list[dict], *, with_decay: bool = False) -> DistancePenalty | None:
        """Return what pulls the groups' parameters, without an optimiser.

        Parameters
        ----------
        groups : list of dict
        with_decay : bool, default=False
            Whether weight decay, which an optimiser would see to, is a part of it.
        """
        pulls = []
        for group in groups:
            own = self._estimator._pulls(self._run, group)
            if own is None and with_decay:
                matrices = [p for p in group["params"] if p.ndim > 1]
                own = [Pull(matrices, None, self._estimator.weight_decay)]
            pulls.append(own or [])
        return DistancePenalty(pulls) or None


def _part(group: dict, params: list, decay: float) -> dict:
    """Return a group of an optimiser, which says whose parameters it holds, in order."""
    names = [(group["name"], len(params))] if params else []
    return {"params": list(params), "lr": group["lr"], "weight_decay": decay, "names": names}
