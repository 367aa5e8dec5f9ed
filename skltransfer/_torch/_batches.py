"""Batches of rows: in which order, from which domain, on which device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch

from skltransfer._torch._preprocessing import Preprocessing
from skltransfer._torch._rows import Rows, TableRows

# Rows are permuted once an epoch, and then sliced, where the copy is small; else picked by batch.
_PERMUTED_BYTES = 2**26
# Decoded and resized images stay in memory up to this size on the CPU ...
_RESIDENT_BYTES = 2**31
# ... and up to this part of what is free on a GPU.
_RESIDENT_PART = 0.5


@dataclass(slots=True)
class Batch:
    """Rows of one step.

    Parameters
    ----------
    inputs : Tensor of shape (n, ...)
    targets : Tensor of shape (n, ...)
    weights : Tensor of shape (n,) or None
        Relative to the mean weight of all rows, so that the mean over an epoch is 1.
    partners : Tensor of shape (n, ...) or None
        Targets of the rows that these are mixed with.
    share, partner_share : Tensor of shape (n,) or None
        Parts of the row's loss that belong to its own target and to its partner's.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor | None = None
    partners: torch.Tensor | None = None
    share: torch.Tensor | None = None
    partner_share: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def split(self, n_parts: int) -> list[Batch]:
        """Return the batch in at most `n_parts` parts, in order."""
        n_parts = min(n_parts, len(self))
        if n_parts == 1:
            return [self]
        tensors = [getattr(self, field.name) for field in fields(self)]
        pieces = [[None] * n_parts if t is None else t.tensor_split(n_parts) for t in tensors]
        return [Batch(*parts) for parts in zip(*pieces, strict=True)]


@dataclass(slots=True)
class TwoDomainBatch:
    """Rows of one step from each of two domains."""

    source: Batch
    target: Batch

    def __len__(self) -> int:
        return len(self.source) + len(self.target)

    def split(self, n_parts: int) -> list[TwoDomainBatch]:
        """Return the batch in at most `n_parts` parts, each with rows of both domains."""
        n_parts = min(n_parts, len(self.source), len(self.target))
        pairs = zip(self.source.split(n_parts), self.target.split(n_parts), strict=True)
        return [TwoDomainBatch(*pair) for pair in pairs]

    @property
    def weights(self) -> torch.Tensor | None:
        """Return the weights of the rows of both domains, source first; None if all are 1."""
        domains = (self.source, self.target)
        if all(batch.weights is None for batch in domains):
            return None
        known = next(batch.weights for batch in domains if batch.weights is not None)
        return torch.cat(
            [known.new_ones(len(b)) if b.weights is None else b.weights for b in domains]
        )


class IndexStream:
    """Endless row numbers: one random permutation after another.

    Parameters
    ----------
    n_rows : int
    generator : torch.Generator or None
        ``None``: in order, without chance.
    classes : ndarray of int of shape (n_rows,), optional
        Draw every class equally often: the rows of a small class come back more often.
    """

    def __init__(self, n_rows: int, generator: torch.Generator | None, classes=None):
        self.n_rows, self.generator = n_rows, generator
        self._pools = None
        if classes is not None:
            self._pools = [
                torch.from_numpy(np.flatnonzero(classes == label)) for label in np.unique(classes)
            ]
        self._rest = torch.empty(0, dtype=torch.long)

    def draw(self, n: int) -> torch.Tensor:
        """Return the next `n` row numbers."""
        parts, n_drawn = [self._rest], len(self._rest)
        while n_drawn < n:
            parts.append(self._permutation())
            n_drawn += len(parts[-1])
        drawn = torch.cat(parts)
        self._rest = drawn[n:]
        return drawn[:n]

    def _permutation(self) -> torch.Tensor:
        if self.generator is None:
            return torch.arange(self.n_rows)
        if self._pools is None:
            return torch.randperm(self.n_rows, generator=self.generator)
        # One row of each class in turn, so that every batch is balanced, not only the epoch.
        n_turns = -(-self.n_rows // len(self._pools))
        columns = []
        for pool in self._pools:
            n_rounds = -(-n_turns // len(pool))
            order = [
                pool[torch.randperm(len(pool), generator=self.generator)] for _ in range(n_rounds)
            ]
            columns.append(torch.cat(order)[:n_turns])
        return torch.stack(columns, dim=1).flatten()


class Inputs:
    """Rows as tensors on a device: kept there if they fit, else made anew for every batch.

    Parameters
    ----------
    rows : Rows
    preprocessing : Preprocessing or None
    device : torch.device
    dtype : torch.dtype
        Of the numbers of a table; pixels and tokens keep their own until they enter the network.
    """

    def __init__(
        self,
        rows: Rows,
        preprocessing: Preprocessing | None,
        device: torch.device,
        dtype: torch.dtype,
    ):
        if isinstance(rows, TableRows):
            rows.check_range(dtype)
        self.rows, self.preprocessing = rows, preprocessing
        self.device, self.dtype = device, dtype
        self.resident = None
        room = _RESIDENT_BYTES
        if device.type == "cuda":
            room = _RESIDENT_PART * torch.cuda.mem_get_info(device)[0]
        first = self._made([0])
        if first.nbytes * len(rows) <= room and not first.dtype == torch.long:
            size = max(1, 2**24 // max(1, first.nbytes))
            parts = [
                self._made(range(start, min(start + size, len(rows))))
                for start in range(0, len(rows), size)
            ]
            self.resident = torch.cat(parts)

    def __len__(self) -> int:
        return len(self.rows)

    def _made(self, indices) -> torch.Tensor:
        x = self.rows.batch(list(indices), self.preprocessing)
        if x.is_floating_point():
            x = x.to(self.dtype)
        return x.to(self.device)

    def __getitem__(self, indices) -> torch.Tensor:
        """Return the rows of a slice or of a tensor of indices, on the device."""
        if self.resident is not None:
            return self.resident[indices]
        if isinstance(indices, slice):
            return self._made(range(*indices.indices(len(self.rows))))
        return self._made(indices.tolist())


class RowBatches:
    """Batches of the rows of one domain, in a new order every epoch.

    An epoch has ``ceil(n_rows / batch_size)`` batches, of nearly equal size: none has a single row
    left over, on which batch normalisation would fail.

    Parameters
    ----------
    inputs : Inputs or Tensor
    targets : Tensor of shape (n_rows, ...)
        On the device.
    weights : Tensor of shape (n_rows,) or None
        Relative to their mean.
    batch_size : int
        Largest number of rows.
    stream : IndexStream
    augment : callable, optional
        Takes and returns a :class:`Batch`.
    """

    def __init__(
        self,
        inputs: Inputs | torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        batch_size: int,
        stream: IndexStream,
        augment: Callable[[Batch], Batch] | None = None,
    ):
        self.inputs, self.targets, self.weights = inputs, targets, weights
        self.stream, self.augment = stream, augment
        self.streams = [stream]
        self.n_rows = len(targets)
        self.batch_size = min(batch_size, self.n_rows)
        self.device = targets.device

    def __len__(self) -> int:
        return -(-self.n_rows // self.batch_size)

    @property
    def smallest(self) -> int:
        """Return the number of rows of the smallest batch."""
        return self.n_rows // len(self)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch."""
        return self.epoch(self.n_rows, len(self))

    def part(self, rank: int, world_size: int) -> Iterator[Batch]:
        """Yield of each batch of one epoch the part of one of several processes."""
        return self.epoch(self.n_rows, len(self), rank, world_size)

    def epoch(
        self, n_rows: int, n_batches: int, rank: int = 0, world_size: int = 1
    ) -> Iterator[Batch]:
        """Yield `n_rows` rows in `n_batches` batches of nearly equal size, or a part of each."""
        if world_size > 1:
            batches = self.stream.draw(n_rows).to(self.device).tensor_split(n_batches)
            parts = [batch.tensor_split(world_size)[rank] for batch in batches]
        elif self.stream.generator is None and n_batches == 1 and n_rows == self.n_rows:
            parts = [slice(None)]
        else:
            order = self.stream.draw(n_rows).to(self.device)
            resident = self.inputs if torch.is_tensor(self.inputs) else self.inputs.resident
            if resident is not None and resident[0].nbytes * n_rows <= _PERMUTED_BYTES:
                weights = None if self.weights is None else self.weights[order]
                batches = _slices(Batch(resident[order], self.targets[order], weights), n_batches)
                yield from batches if self.augment is None else map(self.augment, batches)
                return
            parts = order.tensor_split(n_batches)
        for indices in parts:
            weights = None if self.weights is None else self.weights[indices]
            batch = Batch(self.inputs[indices], self.targets[indices], weights)
            yield batch if self.augment is None else self.augment(batch)


def _slices(batch: Batch, n_parts: int) -> Iterator[Batch]:
    weights = [None] * n_parts if batch.weights is None else batch.weights.tensor_split(n_parts)
    inputs, targets = (t.tensor_split(n_parts) for t in (batch.inputs, batch.targets))
    return map(Batch, inputs, targets, weights)


class TwoDomainBatches:
    """Batches with samples of both domains; an epoch is one pass over the source.

    How many samples the target has changes neither the order of the source nor the number of
    steps.

    Parameters
    ----------
    source, target : RowBatches
        Each with a stream, and a generator, of its own. Each epoch goes on with the target where
        the last one stopped, in a new order whenever it starts again.
    """

    def __init__(self, source: RowBatches, target: RowBatches):
        self.source, self.target = source, target
        self.device = source.device
        self.streams = source.streams + target.streams

    def __len__(self) -> int:
        return len(self.source)

    @property
    def smallest(self) -> int:
        """Return the number of samples of the smaller domain in the smallest batch."""
        return min(self.source.smallest, self._n_target // len(self))

    @property
    def _n_target(self) -> int:
        """Return the number of samples of the target that an epoch takes."""
        n, target = len(self), self.target
        return target.n_rows if len(target) == n else n * target.batch_size

    def __iter__(self) -> Iterator[TwoDomainBatch]:
        """Yield the batches of one epoch."""
        return self.part(0, 1)

    def part(self, rank: int, world_size: int) -> Iterator[TwoDomainBatch]:
        """Yield of each batch of one epoch the part of one of several processes."""
        n = len(self)
        source = self.source.epoch(self.source.n_rows, n, rank, world_size)
        target = self.target.epoch(self._n_target, n, rank, world_size)
        return (TwoDomainBatch(*pair) for pair in zip(source, target, strict=True))
