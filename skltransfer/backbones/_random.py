"""Random weights from a seed, without touching torch's global generator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from skltransfer._locks import ThreadLock

# Where several locks are held it comes first, the network_lock of `_torch._extraction` second. All
# others guard a dictionary for a moment, while nothing else is waited for: a callback, or a head
# built by a function, runs under both, and may load and use networks of its own.
random_lock = ThreadLock()


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Let torch draw from `seed` inside the block, and go on as before after it.

    Parameters
    ----------
    seed : int
    device : torch.device, optional
        A GPU whose generator is seeded, and put back, as well.
    """
    is_cuda = device is not None and device.type == "cuda"
    # torch has one generator for all threads: they draw one after the other.
    with random_lock, torch.random.fork_rng(devices=[device] if is_cuda else []):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        if is_cuda:
            torch.cuda.set_rng_state(torch.Generator(device).manual_seed(seed).get_state(), device)
        yield
