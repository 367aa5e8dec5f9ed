"""A fixed number of augmented views of each row, in the place of the rows."""

from __future__ import annotations

import numpy as np
import torch
import xxhash

from skltransfer._torch._augmentation import Augmentation
from skltransfer._torch._batches import Batch
from skltransfer._torch._fingerprint import digest_of
from skltransfer._torch._preprocessing import Preprocessing
from skltransfer._torch._rows import Rows
from skltransfer.backbones._random import seeded


class FixedViews:
    """Views of rows: each is drawn from its number, the content of its row and a seed.

    Neither the other rows nor their order count, so that folds of a search have views in common.
    The first `len(rows)` views are the first of each row, and so on.

    Parameters
    ----------
    rows : Rows
    augmentation : Augmentation
        Is given one row at a time.
    n_views : int
    seed : int
    """

    # One thread at a time may draw from torch's global generator, and the one that trains does.
    are_drawn = True

    def __init__(self, rows: Rows, augmentation: Augmentation, n_views: int, seed: int):
        self._rows, self._augmentation, self._seed = rows, augmentation, seed
        self._rows_of = np.tile(np.arange(len(rows)), n_views)
        self._views = np.repeat(np.arange(n_views), len(rows))
        self.form, self.shape = f"{rows.form}:views", rows.shape

    def __len__(self) -> int:
        return len(self._rows_of)

    def subset(self, indices: np.ndarray) -> FixedViews:
        """Return some of the views."""
        chosen = object.__new__(FixedViews)
        vars(chosen).update(vars(self))
        chosen._rows_of, chosen._views = self._rows_of[indices], self._views[indices]
        return chosen

    def digests(self) -> list[bytes]:
        """Return one digest per view, of everything that it is made from."""
        key = digest_of(self._augmentation.policies).encode()
        names = self._names(range(len(self)))
        return [xxhash.xxh3_128_digest(name + key) for name in names]

    def _names(self, indices) -> list[bytes]:
        """Return what stands for views: the digests of their rows, their numbers and the seed."""
        rows, views = self._rows_of[indices], self._views[indices]
        distinct, inverse = np.unique(rows, return_inverse=True)
        digests = self._rows.subset(distinct).digests()
        ends = [b"%d %d" % (view, self._seed) for view in views]
        return [digests[place] + end for place, end in zip(inverse, ends, strict=True)]

    def batch(self, indices, preprocessing: Preprocessing | None) -> torch.Tensor:
        """Return the views at `indices`, resized before they are changed."""
        indices = list(indices)
        x = self._rows.batch(self._rows_of[indices].tolist(), preprocessing)
        seeds = [xxhash.xxh3_64_intdigest(name) >> 1 for name in self._names(indices)]
        views, no_target = [], torch.zeros(1)
        with seeded(0):  # and its state as it was afterwards
            for row, seed in zip(x.split(1), seeds, strict=True):
                torch.default_generator.manual_seed(seed)
                views.append(self._augmentation(Batch(row, no_target)).inputs)
        return torch.cat(views)
