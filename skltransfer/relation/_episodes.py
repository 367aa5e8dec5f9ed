"""Episodes: small tasks that are drawn from labelled samples, as batches for the training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from skltransfer._torch._batches import Batch, Inputs

# What "auto" takes at most.
_MOST_WAYS, _MOST_QUERIES = 5, 15


@dataclass(frozen=True)
class EpisodeSize:
    """How many samples an episode has.

    Parameters
    ----------
    n_way : int
        Classes. It is 1 if the targets are numbers.
    n_shot, n_query : int
        Support samples and query samples of each class.
    """

    n_way: int
    n_shot: int
    n_query: int

    @property
    def n_needed(self) -> int:
        """Return the number of samples of a class that an episode uses."""
        return self.n_shot + self.n_query


@dataclass(slots=True)
class EpisodeBatch:
    """Episodes of one step, all of one size.

    Parameters
    ----------
    support : Batch
        Inputs (n_episodes, n_way * n_shot, ...), class by class, and their targets.
    query : Batch
        Inputs (n_episodes, n_way * n_query, ...), class by class, and their targets.
    """

    support: Batch
    query: Batch

    # Samples of an episode count alike.
    weights = None

    def __len__(self) -> int:
        return len(self.support)

    def split(self, n_parts: int) -> list[EpisodeBatch]:
        """Return the batch in at most `n_parts` parts with whole episodes."""
        pairs = zip(self.support.split(n_parts), self.query.split(n_parts), strict=True)
        return [EpisodeBatch(*pair) for pair in pairs]


class EpisodeStream:
    """Random numbers of the episodes, whose state a checkpoint holds.

    Parameters
    ----------
    generator : torch.Generator
    """

    def __init__(self, generator: torch.Generator):
        self.generator = generator
        self._rest = torch.empty(0, dtype=torch.long)

    def choose(self, n: int, k: int) -> torch.Tensor:
        """Return `k` different numbers below `n`, in random order."""
        return torch.randperm(n, generator=self.generator)[:k]


class EpisodePools:
    """The samples that episodes are drawn from: by group, and by class within a group.

    Parameters
    ----------
    codes : ndarray of shape (n_samples,), int, or None
        Class of each sample. ``None``: the targets are numbers, and a group is one pool.
    groups : ndarray of shape (n_samples,), int, or None
        Group of each sample. An episode has samples of one group. ``None``: all are of one, which
        have classes.
    """

    def __init__(self, codes: np.ndarray | None, groups: np.ndarray | None):
        self.has_classes = codes is not None
        parts = [np.arange(len(codes))] if groups is None else _rows_by_code(groups)
        if self.has_classes:
            parts = [[rows[own] for own in _rows_by_code(codes[rows])] for rows in parts]
        else:
            parts = [[rows] for rows in parts]
        self.pools = [[torch.from_numpy(rows) for rows in group] for group in parts]

    @property
    def sizes(self) -> list[np.ndarray]:
        """Return the number of samples of each class, for each group."""
        return [np.array([len(rows) for rows in group]) for group in self.pools]

    def size(self, n_way, n_shot, n_query, support: np.ndarray | None) -> EpisodeSize:
        """Return the size of an episode, with "auto" resolved.

        Parameters
        ----------
        n_way, n_shot, n_query : int or "auto"
        support : ndarray of int, or None
            Number of support samples of each class of the target, which "auto" follows.
        """
        most = max(len(group) for group in self.pools)
        if not self.has_classes:
            n_way = 1
        elif n_way == "auto":
            n_way = max(2, min(most, _MOST_WAYS if support is None else len(support)))
        if n_way > most:
            within = "" if len(self.pools) == 1 else " in one group"
            raise ValueError(
                f"n_way={n_way}, and the source has at most {most} classes{within}. Lower n_way."
            )
        # At least half of the classes, in at least half of the groups, are to take part.
        large = [np.sort(sizes)[-n_way] for sizes in self.sizes if len(sizes) >= n_way]
        typical = min(int(np.median(large)), int(np.median(np.concatenate(self.sizes))))
        typical = max(typical, min(2, max(large)))
        if n_shot == "auto":
            n_shot = max(1, typical // 2)
            if support is not None:
                n_shot = min(n_shot, int(support.min()))
        if n_query == "auto":
            n_query = max(1, min(_MOST_QUERIES, typical - n_shot))
        return EpisodeSize(int(n_way), int(n_shot), int(n_query))

    def of_size(self, size: EpisodeSize) -> list[list[torch.Tensor]]:
        """Return the classes with enough samples, of the groups with enough such classes.

        Raises
        ------
        ValueError
            If there are none.
        """
        pools = [[rows for rows in group if len(rows) >= size.n_needed] for group in self.pools]
        usable = [group for group in pools if len(group) >= size.n_way]
        if usable:
            return usable
        samples = f"n_shot + n_query = {size.n_shot} + {size.n_query} samples"
        if not self.has_classes:
            largest = max(int(sizes.max()) for sizes in self.sizes)
            raise ValueError(
                f"An episode needs {samples} of one task, and the largest task of the source has "
                f"n_samples={largest}. Lower n_shot or n_query, or give more samples."
            )
        raise ValueError(
            f"An episode needs {samples} of n_way={size.n_way} classes, and "
            f"{max(map(len, pools))} classes of the source have as many. Lower n_shot, n_query or "
            "n_way, give more samples, or set episodes_per_epoch=0 to leave the network as it is."
        )


def _rows_by_code(codes: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(codes == code) for code in np.unique(codes)]


class EpisodeBatches:
    """Batches of episodes, which are drawn anew in every epoch.

    A group, its classes and their samples are drawn with equal probabilities, and none of them
    twice in an episode.

    Parameters
    ----------
    inputs : Inputs or Tensor
        All samples.
    targets : Tensor of shape (n_samples, ...) or None
        Targets that are numbers. ``None``: the targets are the classes of the episode, 0 to
        ``n_way - 1``, in the order in which they are drawn.
    pools : list of list of Tensor
        Numbers of the samples by group and class.
    size : EpisodeSize
    n_episodes : int
        Episodes of an epoch.
    n_per_step : int
        Episodes of a batch.
    generator : torch.Generator
    device : torch.device
    augment : callable, optional
        Takes and returns a :class:`Batch`, and keeps the samples in their order.
    """

    def __init__(
        self,
        inputs: Inputs | torch.Tensor,
        targets: torch.Tensor | None,
        pools: list[list[torch.Tensor]],
        size: EpisodeSize,
        n_episodes: int,
        n_per_step: int,
        generator: torch.Generator,
        device: torch.device,
        augment: Callable[[Batch], Batch] | None = None,
    ):
        self.inputs, self.targets, self.pools, self.size = inputs, targets, pools, size
        self.n_episodes, self.n_per_step = n_episodes, min(n_per_step, n_episodes)
        self.device, self.augment = device, augment
        self.stream = EpisodeStream(generator)
        self.streams = [self.stream]

    def __len__(self) -> int:
        return math.ceil(self.n_episodes / self.n_per_step)

    def __iter__(self) -> Iterator[EpisodeBatch]:
        """Yield the batches of one epoch, of nearly equal size."""
        for part in torch.arange(self.n_episodes).tensor_split(len(self)):
            yield self.batch(len(part))

    def batch(self, n_episodes: int) -> EpisodeBatch:
        """Draw the episodes of one batch."""
        size = self.size
        drawn = torch.stack([self._episode() for _ in range(n_episodes)])  # (e, n_way, n_needed)
        parts = drawn.split([size.n_shot, size.n_query], dim=2)
        flat = torch.cat([part.reshape(-1) for part in parts]).to(self.device)
        inputs, targets = self.inputs[flat], flat if self.targets is None else self.targets[flat]
        if self.augment is not None:
            changed = self.augment(Batch(inputs, targets))
            inputs, targets = changed.inputs, changed.targets
        n_support = parts[0].numel()
        batches = []
        for rows, part in ((slice(n_support), parts[0]), (slice(n_support, None), parts[1])):
            x, y = inputs[rows], targets[rows]
            shape = (n_episodes, part[0].numel())
            batch = Batch(x.reshape(*shape, *x.shape[1:]), y.reshape(*shape, *y.shape[1:]))
            if self.targets is None:
                own = torch.arange(size.n_way, device=self.device)
                own = own.repeat_interleave(part.shape[2]).expand(shape)
                batch = replace(batch, targets=own)
            batches.append(batch)
        return EpisodeBatch(*batches)

    def _episode(self) -> torch.Tensor:
        """Draw numbers of samples, shape (n_way, n_shot + n_query)."""
        choose, size = self.stream.choose, self.size
        group = self.pools[int(choose(len(self.pools), 1))]
        classes = choose(len(group), size.n_way).tolist()
        return torch.stack([group[k][choose(len(group[k]), size.n_needed)] for k in classes])
