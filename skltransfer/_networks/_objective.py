"""What training minimises, and what pulls parameters beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn

from skltransfer._networks._labels import Labels
from skltransfer._torch._batches import Batch
from skltransfer._torch._penalties import Pull


class Objective(AbstractContextManager, ABC):
    """The sum of named terms, which a call gives for one batch.

    Training happens inside of ``with objective:``. What an objective does to the network on entry,
    such as hooks, it undoes on exit.
    """

    _is_entered = False

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
            Those of the batch, where the caller has passed it through ``network.embed``.

        Returns
        -------
        terms : dict of str to Tensor
            Losses of the samples, shape (n,), or a scalar each. See
            :func:`~skltransfer._torch._training.total_loss`.
        """

    def modules(self) -> tuple[nn.Module, ...]:
        """Return further modules that are trained, at the rate of the head, and then dropped."""
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

    def attach(self) -> None:
        """Prepare the network for training."""

    def detach(self) -> None:
        """Put the network back as it was."""

    def __enter__(self):
        self._is_entered = True
        self.attach()
        return self

    def __exit__(self, *error) -> None:
        self._is_entered = False
        self.detach()

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Put the network back as it was inside the block, as for a copy while training goes on."""
        if self._is_entered:
            self.detach()
        try:
            yield
        finally:
            if self._is_entered:
                self.attach()


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
        return {"label_loss": self.losses(outputs, batch)}

    def losses(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the loss of each sample, with its share of a mixture; or the mean."""
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
            return labels.mean_loss(outputs, batch.targets)
        losses = labels.loss(outputs, batch.targets)
        if batch.partners is None:
            return losses
        partner = labels.loss(outputs, batch.partners)
        return losses * batch.share + partner * batch.partner_share


class TwoDomainObjective(Objective):
    """An objective for samples of two domains, around one for those of the source.

    Parameters
    ----------
    of_source : Objective
    """

    def __init__(self, of_source: Objective):
        self.of_source = of_source

    def modules(self) -> tuple[nn.Module, ...]:
        """Return further modules that are trained."""
        return self.of_source.modules()

    def pulls(self, group: dict) -> list[Pull] | None:
        """Return what pulls the parameters of a group."""
        return self.of_source.pulls(group)

    def key(self) -> tuple:
        """Return what stands for this objective in a checkpoint's key."""
        return (type(self).__name__, self.of_source.key())

    def attach(self) -> None:
        """Prepare the network for training."""
        self.of_source.attach()

    def detach(self) -> None:
        """Put the network back as it was."""
        self.of_source.detach()
