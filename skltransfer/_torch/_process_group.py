"""What processes that train one network together tell each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from skltransfer._messages import first_line
from skltransfer._processes import current_group


class ProcessGroup:
    """The processes of torch's default group, of which this is one.

    Parameters
    ----------
    rank : int
        Number of this process, from 0.
    world_size : int
        Number of processes, at least 2.
    device : torch.device
        Device of what is no gradient when it is sent.
    """

    def __init__(self, rank: int, world_size: int, device: torch.device):
        self.rank, self.world_size, self.device = rank, world_size, device

    @property
    def is_first(self) -> bool:
        """Tell whether this is the process that reports and writes files."""
        return self.rank == 0

    # --- shares --------------------------------------------------------------------------

    def indices(self, n: int) -> np.ndarray:
        """Return this process's share of `n` samples, in order."""
        return np.array_split(np.arange(n), self.world_size)[self.rank]

    def parts(self, batches) -> Iterator:
        """Yield this process's part of each batch of an epoch.

        Batches that can be cut before they are read have a method ``part(rank, world_size)``; of
        others the whole is read by every process.
        """
        if hasattr(batches, "part"):
            if batches.smallest < self.world_size:
                raise self._too_small(batches.smallest)
            yield from batches.part(self.rank, self.world_size)
            return
        for batch in batches:
            parts = batch.split(self.world_size)
            if len(parts) < self.world_size:
                raise self._too_small(len(batch))
            yield parts[self.rank]

    def _too_small(self, n: int) -> ValueError:
        return ValueError(
            f"A batch of {n} sample(s) or tasks cannot be divided among {self.world_size} "
            "processes. Raise batch_size or tasks_per_step, give more samples, or start fewer "
            "processes."
        )

    # --- sums ----------------------------------------------------------------------------

    @torch.no_grad()
    def average_gradients(self, parameters: list[nn.Parameter], n_samples: int) -> None:
        """Replace gradients by their mean over the samples of all processes.

        Parameters
        ----------
        parameters : list of Parameter
            In the same order everywhere.
        n_samples : int
            How many samples this process's gradients are the mean of.
        """
        for alike in _by_kind(p for p in parameters if p.requires_grad):
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in alike]
            known = alike[0].new_tensor([*(p.grad is not None for p in alike), 1.0])
            # One message: gradients, which of them there are, and the number of samples.
            flat = _flat([*gradients, known]) * n_samples
            with self._together():
                dist.all_reduce(flat)
            flat /= flat[-1].clone()
            for i, (parameter, mean) in enumerate(
                zip(alike, _pieces(flat, gradients), strict=True)
            ):
                if parameter.grad is not None:
                    parameter.grad.copy_(mean)
                elif flat[len(flat) - len(known) + i] > 0:
                    parameter.grad = mean.clone()

    def total(self, values: np.ndarray) -> np.ndarray:
        """Return the sum of the arrays of all processes, bit for bit the same everywhere."""
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        with self._together():
            dist.all_reduce(tensor)
        return tensor.cpu().numpy()

    @torch.no_grad()
    def average_buffers(self, module: nn.Module) -> None:
        """Replace buffers of floating-point numbers, such as running statistics, by their mean."""
        for alike in _by_kind(b for b in module.buffers() if b.is_floating_point()):
            flat = _flat(alike)
            with self._together():
                dist.all_reduce(flat)
            for buffer, total in zip(alike, _pieces(flat, alike), strict=True):
                buffer.copy_(total / self.world_size)

    # --- copies --------------------------------------------------------------------------

    @torch.no_grad()
    def copy_first(self, module: nn.Module) -> None:
        """Give a module the parameters and buffers that it has in the first process."""
        for alike in _by_kind((*module.parameters(), *module.buffers())):
            flat = _flat(alike)
            with self._together():
                dist.broadcast(flat, 0)
            for tensor, value in zip(alike, _pieces(flat, alike), strict=True):
                tensor.copy_(value)

    def of_first(self, value):
        """Return what the first process has given."""
        box = [value]
        with self._together():
            dist.broadcast_object_list(box, 0, device=self.device)
        return box[0]

    def gathered(self, value) -> list:
        """Return what all processes have given, by their numbers."""
        values = [None] * self.world_size
        with self._together():
            dist.all_gather_object(values, value)
        return values

    def joined(self, own: torch.Tensor, n: int) -> torch.Tensor:
        """Return the rows of all `n` samples, of which this process has its share."""
        most = -(-n // self.world_size)
        padded = own.new_zeros((most, *own.shape[1:]))
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in range(self.world_size)]
        with self._together():
            dist.all_gather(parts, padded)
        sizes = [len(part) for part in np.array_split(np.arange(n), self.world_size)]
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def check_same(self, key: str) -> None:
        """Raise a ValueError if another process trains on something else."""
        keys = self.gathered(key)
        if len(set(keys)) > 1:
            other = next(rank for rank, theirs in enumerate(keys) if theirs != keys[0])
            raise ValueError(
                f"Process {other} was given other samples, labels, weights, parameters or seeds "
                "than process 0. Let every process call fit with the same arguments, and set "
                "random_state to an integer."
            )

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Say in the error of a message between processes that another one is missing."""
        try:
            yield
        except RuntimeError as error:
            raise RuntimeError(
                f"Process {self.rank} of {self.world_size} cannot go on: another process has "
                f"failed, or did not answer in time ({first_line(error)}). See its own error."
            ) from error


def _by_kind(tensors: Iterable[torch.Tensor]) -> Iterable[list[torch.Tensor]]:
    """Return tensors in groups of one type and one device."""
    groups: dict[tuple, list[torch.Tensor]] = {}
    for tensor in tensors:
        groups.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    return groups.values()


def _flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Return tensors as one, whatever their layout in memory."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def _pieces(flat: torch.Tensor, tensors: list[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield what :func:`_flat` has put together; more may follow in `flat`."""
    start = 0
    for tensor in tensors:
        yield flat[start : start + tensor.numel()].view(tensor.shape)
        start += tensor.numel()


@contextmanager
def same_everywhere(module: nn.Module, key: str) -> Iterator[None]:
    """Let a module have equal weights in all processes before and after it is trained.

    Parameters
    ----------
    module : Module
    key : str
        Stands for samples and settings, which have to be the same in all processes.
    """
    if (group := current_group()) is None:
        yield
        return
    group.check_same(key)
    group.copy_first(module)
    yield
    group.copy_first(module)
